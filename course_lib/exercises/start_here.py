"""Notebook 00: the first three answers, on the width, the average and the cosine of word vectors."""

import torch

from .engine import Choice, Question, exercise, quiz
from .judging import Mistake, call, compare, function, number, random_tensor, reject_if, tensor

_HERE = "course_lib.exercises.references.start_here"


@exercise(
    "00.1",
    title="The width of a word vector",
    minutes=1,
    difficulty=1,
    hints=(
        "The table has one row for each word piece. What do its columns count?",
        "`table.shape` holds two numbers, rows and columns; you want the columns.",
        "`width = table.shape[1]`",
    ),
    reference=f"{_HERE}:width",
)
def judge_width(answer):
    found = number(answer, "the width of a word vector")
    reject_if(
        found == 30522,
        "30522 is the number of rows, one for each word piece; the width is the number of columns",
        "rows",
    )
    reject_if(
        found == 30522 * 384,
        "that is how many numbers the whole table holds; one word vector is one row of it",
        "whole-table",
    )
    reject_if(
        found in (1, 2), "that is the number of axes or of words; count the numbers in one row of the table", "axes"
    )
    reject_if(
        found != 384, f"one row of the table does not hold {found:g} numbers; what does `table.shape` say?", "value"
    )
    return "a word vector of this model is 384 numbers"


@exercise(
    "00.2",
    title="Fix the average",
    minutes=4,
    difficulty=1,
    hints=(
        "Run the cell below with the two vectors [0, 0] and [2, 4]. Which number do you expect in each place, "
        "and which number comes out?",
        "A sum over the words must be divided by how many words were summed. Which axis of `vectors` counts words?",
        "`vectors.shape` is `(words, d_model)`. The function divides by `vectors.shape[1]`; "
        "the number of words is `vectors.shape[0]`.",
    ),
    reference=f"{_HERE}:mean_vector",
    starts_broken=True,
)
def judge_mean_vector(answer):
    mean = function(answer, "mean_vector")
    for seed, (words, width) in enumerate([(3, 3), (2, 5), (7, 3), (1, 4)]):
        vectors = random_tensor(seed, words, width)
        found = tensor(call(mean, vectors))
        total = vectors.double().sum(dim=0)
        mistakes = [
            Mistake(
                vectors.mean(dim=1),
                "wrong-axis",
                "you average over the numbers of each word; average over the words, so that one vector is left",
            ),
            Mistake(total, "sum", "this is the sum of the word vectors; the average divides it by the number of words"),
            Mistake(
                total / width,
                "divides-by-width",
                f"{words} vectors of {width} numbers were summed and divided by {width}; "
                f"an average over {words} words divides by {words}",
            ),
        ]
        reject_if(
            found.shape not in ((width,), (words,)),
            f"for {words} words with {width} numbers each your result has shape {tuple(found.shape)}; "
            f"one vector of {width} numbers is asked for",
            "shape",
        )
        compare(
            found, total / words, mistakes, f"for {words} vectors of {width} numbers the result is not their average"
        )
    return "the average of n word vectors divides by n, whatever their width"


@exercise(
    "00.3",
    title="Cosine similarity",
    minutes=8,
    difficulty=2,
    hints=(
        "Two vectors that point the same way have cosine 1 whatever their lengths. "
        "What must you divide the dot product by?",
        "The dot product is `(a * b).sum()`. The length of `a` is the square root of its dot product with itself.",
        "Divide the dot product by the product of both lengths: `(a * b).sum() / (a.norm() * b.norm())`.",
    ),
    reference=f"{_HERE}:cosine",
)
def judge_cosine(answer):
    cosine = function(answer, "cosine")
    for seed, width in enumerate([2, 3, 5, 11]):
        a, b = random_tensor(seed, width), random_tensor(seed + 100, width)
        found = number(call(cosine, a, b), "the cosine of two vectors")
        dot, length_a, length_b = (a.double() @ b.double()), a.double().norm(), b.double().norm()
        right = torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0)
        compare(
            torch.tensor(found, dtype=torch.float64),
            right,
            [
                Mistake(
                    dot,
                    "dot-product",
                    "this is the dot product: it grows with the lengths of the vectors. Divide by both lengths",
                ),
                Mistake(
                    dot / (length_a * length_b) ** 2,
                    "squared-lengths",
                    "you divide by the squared lengths: take the square root of each vector's dot product with itself",
                ),
                *(
                    Mistake(
                        dot / length,
                        "one-length",
                        "you divide by one of the two lengths; a vector twice as long, either one, "
                        "must not change the cosine",
                    )
                    for length in (length_a, length_b)
                ),
                Mistake(
                    1 - right, "distance", "this is the cosine distance, 1 - cosine; the cosine itself is asked for"
                ),
            ],
            f"for two vectors of {width} numbers it gives {found:.3g} where the cosine is {right:.3g}",
        )
    return "1 for the same direction, 0 for a right angle, -1 for opposite directions"


quiz(
    "00",
    Question(
        "You run a check on a cell that you have not filled in. What does the rest of the notebook run on?",
        (
            Choice("Nothing: it stops", "A check never stops a notebook, so Run All always reaches the end."),
            Choice("Your empty function", "It would fail in the next cell; `check` returns something that works."),
            Choice(
                "The course's reference answer",
                "`check` returns your answer once it is right, and the reference until then.",
            ),
        ),
        right=2,
    ),
    Question(
        "A check says that your rows do not sum to 1. What was compared?",
        (
            Choice(
                "A property of your result",
                "Judges look at what your code computes: shapes, sums, known values from independent code.",
            ),
            Choice("The text of your code", "You may write it as you like; only what it computes is judged."),
            Choice("Your result with the course's own", "The judge never calls the reference it would confirm."),
        ),
        right=0,
    ),
    Question(
        "The room's wifi fails after `python course.py fetch --all`. What still works?",
        (
            Choice("Only the notebooks without a model", "Weights and texts are in the cache as well."),
            Choice(
                "Every notebook",
                "Packages are installed and all weights and texts are cached; no cell needs the network.",
            ),
            Choice("Nothing", "JupyterLab runs on your own computer, and so does every model."),
        ),
        right=1,
    ),
    Question(
        "How many times does `hint` say something new about one exercise?",
        (
            Choice("Once", "Call it again: there is more."),
            Choice(
                "Three times",
                "The first asks a question, the second names the step, the third nearly writes it.",
            ),
            Choice("As often as you call it", "After the third comes `solution`, which shows the whole answer."),
        ),
        right=1,
    ),
    Question(
        "Two word vectors have the cosine 0. What do you know?",
        (
            Choice("They are equal", "Equal directions have the cosine 1."),
            Choice("One of them is zero", "The cosine of a zero vector is not defined: its length is 0."),
            Choice(
                "They are at a right angle",
                "Their dot product is 0, and neither says anything along the other.",
            ),
        ),
        right=2,
    ),
)
