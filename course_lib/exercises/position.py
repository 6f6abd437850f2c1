"""Notebook 04: what attention knows of order, and sinusoidal, learned and rotary positions."""

import math
import random
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .engine import Choice, Question, Rejected, exercise, quiz
from .judging import Mistake, call, close, compare, function, random_tensor, reject_if, tensor

_HERE = "course_lib.exercises.references.position"
_PACKAGE = "course_lib.positions"


@exercise(
    "04.1",
    title="The dog bites man test",
    minutes=8,
    difficulty=3,
    hints=(
        "A layer that is blind to order still gives each token its own output. If the tokens come in another order, "
        "in which order do the outputs come?",
        "Take an order such as `torch.randperm(n)`. Encode the tokens in that order, and compare with the outputs of "
        "the original, put into the same order. Floats: compare with `torch.allclose`.",
        "`not torch.allclose(encode(x[order]), encode(x)[order], atol=1e-4)`, for one order that is neither a "
        "reversal nor a rotation, or better for several.",
    ),
    reference=f"{_HERE}:sees_order",
)
def judge_sees_order(answer):
    test = function(answer, "sees_order")
    for seed, n in enumerate((5, 7)):
        x = 3 + 0.7 * random_tensor(seed, n, 11)
        said = {name: _said_of(test, encode, x, seed) for name, encode in _ENCODERS.items()}
        right = {name: name not in _BLIND for name in _ENCODERS}
        reject_if(
            all(said[name] != right[name] for name in right),
            "every answer is turned round: True means that the order matters",
            "inverted",
        )
        reject_if(
            not any(said.values()),
            "you say False even of a layer that adds a position to each token: does your order differ from the "
            "original one?",
            "never",
        )
        reject_if(
            said["each token alone"],
            "you say True of a layer that treats each token by itself. Its outputs come in the order of the tokens: "
            "compare `encode(x[order])` with `encode(x)[order]`, not with `encode(x)`",
            "not-undone",
        )
        reject_if(
            said["sum of all tokens"] or said["attention"],
            "you say True of a layer that only adds up all tokens: a sum in another order differs in its last digit. "
            "Compare with a tolerance, as `torch.allclose` does",
            "exact-equality",
        )
        reject_if(
            not said["positions added"],
            "you say False of `x + table`, which adds another vector at each place: its sum and its mean are the same "
            "in every order, its rows are not. Compare row by row",
            "pooled",
        )
        reject_if(
            not said["same from both ends"],
            "one layer adds the distance from the middle, which is the same when the sentence is reversed: you say "
            "False of it. A reversal is not enough; try an order without symmetry",
            "reversal-only",
        )
        reject_if(
            not said["neighbours on a ring"],
            "one layer adds to each token its left neighbour, and to the first the last: you say False of it. Moving "
            "all tokens on by the same number of places is not enough; try an order without symmetry",
            "rotation-only",
        )
        for name in right:
            reject_if(
                said[name] != right[name], f"of the layer '{name}' you say {said[name]}; it is {right[name]}", "value"
            )
    return "equivariant to permutations or not: the outputs move with the tokens, or they change"


def _said_of(test: Callable, encode: Callable, x: Tensor, seed: int) -> bool:
    """What the answer says of one layer; its own chance is seeded, so that a verdict can be had again."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)
    found = call(test, lambda rows: encode(torch.as_tensor(rows, dtype=torch.float32)), x)
    if isinstance(found, Tensor | np.ndarray | np.generic):
        found = torch.as_tensor(found)
        reject_if(found.numel() != 1, f"return one True or False; this has shape {tuple(found.shape)}", "shape")
        found = found.item()
    reject_if(
        not isinstance(found, int) or found not in (0, 1),
        f"return True or False; this is of type {type(found).__name__}",
        "wrong-type",
    )
    return bool(found)


def _attend(x: Tensor, mask: Tensor | None = None) -> Tensor:
    return F.scaled_dot_product_attention(x @ _MAP, x, x, mask)


def _sum_one_by_one(x: Tensor) -> Tensor:
    # One after another, in float32: another order gives another last digit on every processor.
    total = torch.zeros_like(x[0])
    for row in x:
        total = total + row
    return total.expand_as(x)


def _from_the_middle(x: Tensor) -> Tensor:
    places = torch.arange(len(x), dtype=x.dtype)
    return (places - (len(x) - 1) / 2).abs()[:, None]


_MAP = 0.3 * random_tensor(99, 11, 11)
_TABLE = 2 * random_tensor(98, 7, 11)
_BLIND = {"each token alone", "sum of all tokens", "attention"}
_ENCODERS: dict[str, Callable[[Tensor], Tensor]] = {
    "each token alone": lambda x: x * 2 + 1,
    "sum of all tokens": _sum_one_by_one,
    "attention": _attend,
    "positions added": lambda x: x + _TABLE[: len(x)],
    "positions, then attention": lambda x: _attend(x + _TABLE[: len(x)]),
    "causal attention": lambda x: _attend(x, torch.ones(len(x), len(x), dtype=torch.bool).tril()),
    "same from both ends": lambda x: x + _from_the_middle(x),
    "neighbours on a ring": lambda x: x + 0.5 * x.roll(1, 0),
}


@exercise(
    "04.2",
    title="The sinusoidal table",
    minutes=8,
    difficulty=3,
    hints=(
        "Columns 0 and 1 share one frequency, columns 2 and 3 the next. How many different frequencies are there?",
        "One frequency for each pair: ω_i = 10000^(-2i / d_model) for i = 0 … d_model/2 - 1. The angles are positions "
        "times frequencies, [length, d_model / 2]; their sines fill the even columns, their cosines the odd ones.",
        "`angles = torch.arange(length)[:, None] * 10000.0 ** (-torch.arange(0, d_model, 2) / d_model)`, then "
        "`table[:, 0::2] = angles.sin()` and `table[:, 1::2] = angles.cos()`.",
    ),
    reference=f"{_PACKAGE}:sinusoidal",
)
def judge_sinusoidal(answer):
    table = function(answer, "sinusoidal_table")
    for length, d_model in [(2, 6), (7, 6), (5, 14), (13, 22), (1, 2), (3, 4)]:
        found = tensor(call(table, length, d_model))
        reject_if(
            found.shape == (d_model, length) and length != d_model,
            f"the table has shape ({d_model}, {length}): one row for each position is asked for, ({length}, {d_model})",
            "transposed",
        )
        compare(
            tensor(found, (length, d_model), "the table"),
            _table(range(length), d_model),
            _sinusoidal_mistakes(length, d_model),
            f"for length {length} and d_model {d_model} the table differs from the formula first {_place(found)}",
        )
    return "each pair of columns is a hand of a clock: fast pairs first, slow ones last"


def _table(positions, d_model: int, exponent: float = 2.0, first=math.sin, second=math.cos) -> Tensor:
    """The formula, one number at a time: column 2i holds `first`, column 2i + 1 `second`."""
    rows = []
    for position in positions:
        angles = [position * 10000 ** (-exponent * pair / d_model) for pair in range(d_model // 2)]
        rows.append([wave(angle) for angle in angles for wave in (first, second)])
    return torch.tensor(rows, dtype=torch.float64)


def _sinusoidal_mistakes(length: int, d_model: int) -> list[Mistake]:
    places = range(length)
    right = _table(places, d_model)
    own = [[(math.cos if c % 2 else math.sin)(p * 10000 ** (-c / d_model)) for c in range(d_model)] for p in places]
    return [
        Mistake(
            torch.cat((right[:, 0::2], right[:, 1::2]), dim=1),
            "concatenated",
            "all sines stand first, then all cosines; here they take turns: sine in column 2i, cosine in 2i + 1",
        ),
        Mistake(
            _table(places, d_model, first=math.cos, second=math.sin),
            "cosine-first",
            "sine and cosine have changed places: position 0 should be 0, 1, 0, 1, …",
        ),
        Mistake(
            torch.tensor(own, dtype=torch.float64),
            "own-frequency",
            "each column has a frequency of its own; columns 2i and 2i + 1 share one, else they are no pair that turns",
        ),
        Mistake(
            _table(places, d_model, exponent=1.0),
            "half-exponent",
            "the exponent is half as large as it should be: it is 2i / d_model for pair i, and reaches almost 1",
        ),
        Mistake(
            _table(places, d_model, exponent=-2.0),
            "frequencies-grow",
            "your frequencies grow with i: divide the position by 10000^(2i / d_model)",
        ),
        Mistake(
            _table(places, d_model, exponent=2.0 * d_model),
            "without-d_model",
            "the exponent is 2i, not divided by d_model: all pairs but the first stand still",
        ),
        Mistake(
            _table(range(1, length + 1), d_model),
            "from-one",
            "your first row is position 1; positions count from 0, and position 0 is 0, 1, 0, 1, …",
        ),
    ]


def _place(found: Tensor) -> str:
    """Where a table of the right shape first differs."""
    right = _table(range(found.shape[0]), found.shape[-1]) if found.dim() == 2 and found.shape[-1] % 2 == 0 else found
    if right.shape != found.shape:
        return "in its shape"
    differs = (~torch.isclose(found, right, atol=1e-4)).nonzero()
    if not len(differs):
        return "nowhere"
    row, column = differs[0].tolist()
    return f"at position {row}, column {column}: {found[row, column]:.3g} instead of {right[row, column]:.3g}"


@exercise(
    "04.3",
    title="Which rows of a learned table are trained?",
    minutes=5,
    difficulty=2,
    hints=(
        "A sequence of 3 tokens uses the rows 0, 1 and 2. Which sequences use row 4?",
        "Row p gets a gradient from each sequence with more than p tokens. What is longer than the table is cut, so "
        "it uses every row.",
        "`[sum(length > p for length in lengths) for p in range(max_len)]`",
    ),
    reference=f"{_HERE}:trained_rows",
)
def judge_trained_rows(answer):
    count = function(answer, "trained_rows")
    for lengths, max_len in [([2, 5, 3, 3], 7), ([11, 4, 8], 5), ([1], 3), ([6, 6, 2, 9, 13], 11)]:
        found = tensor(call(count, list(lengths), max_len), what="your result")
        right = _counts(max_len, lambda p, lengths=lengths: sum(length > p for length in lengths))
        reject_if(
            found.dim() == 1 and len(found) == max(lengths) != max_len,
            f"there are {found.numel()} numbers, as many as the longest sequence has tokens; the table has {max_len} "
            "rows, and each is asked for",
            "length-of-data",
        )
        found = tensor(found, (max_len,), "your result").double()
        compare(
            found,
            right,
            _row_mistakes(lengths, max_len, right),
            f"for the lengths {lengths} and max_len={max_len} the counts are not {[int(x) for x in found.tolist()]}"
            if bool(found.isfinite().all())
            else "the counts are not finite",
        )
    return "late rows are trained by few sequences, and rows past the longest one by none"


def _counts(max_len: int, of_row: Callable[[int], int]) -> Tensor:
    return torch.tensor([of_row(p) for p in range(max_len)], dtype=torch.float64)


def _row_mistakes(lengths: list[int], max_len: int, right: Tensor) -> list[Mistake]:
    fits = [length for length in lengths if length <= max_len]
    return [
        Mistake(
            _counts(max_len, lambda p: sum(length == p for length in lengths)),
            "histogram",
            "you count the sequences of exactly p tokens; a sequence of 5 tokens uses the rows 0 to 4, all of them",
        ),
        Mistake(
            _counts(max_len, lambda p: sum(length == p + 1 for length in lengths)),
            "histogram",
            "you count only where each sequence ends; it uses every row before as well",
        ),
        Mistake(
            _counts(max_len, lambda p: sum(length >= p for length in lengths)),
            "one-too-many",
            "one row too many for each sequence: positions count from 0, so 3 tokens use the rows 0, 1 and 2",
        ),
        Mistake(
            _counts(max_len, lambda p: sum(length > p + 1 for length in lengths)),
            "one-too-few",
            "one row too few for each sequence: the last token stands at position length - 1",
        ),
        Mistake(
            _counts(max_len, lambda p: len(lengths)),
            "padding-counted",
            "every row has every sequence: padding has no part in the loss, so its rows get no gradient",
        ),
        Mistake(
            _counts(max_len, lambda p: sum(length > p for length in fits)),
            "long-left-out",
            "sequences longer than the table are left out; they are cut to its length, and use every row",
        ),
        Mistake(
            _counts(max_len, lambda p: sum(len(range(p, length, max_len)) for length in lengths)),
            "wrapped",
            "tokens past the end of the table start again at row 0 in your count; here they are cut off",
        ),
        Mistake(
            (right > 0).double(),
            "not-counted",
            "this says whether a row is trained; the number of sequences that train it is asked for",
        ),
    ]


# One pair of coordinates and a quarter turn to the left for each position: (a, b) becomes (-b, a).
_QUERY, _KEY = (2, 1), (1, 4)
_PLACES = ((3, 2), (103, 102), (2, 3), (5, 5))


@exercise(
    "04.4",
    title="A rotary score on paper",
    minutes=6,
    difficulty=2,
    hints=(
        "(a, b) turned once is (-b, a). What is it turned twice, and four times?",
        "Turn the query three times and the key twice, then take the dot product. For the other scores you need only "
        "the difference of the two positions: turn the key by it and leave the query alone.",
        "The query at 3 is (1, -2), the key at 2 is (-1, -4). For the pair 2 and 3 the query is (-2, -1) and the key "
        "(4, -1).",
    ),
    reference=f"{_HERE}:rotary_scores",
)
def judge_rotary_scores(answer):
    reject_if(not isinstance(answer, dict), "a dictionary with three lists is asked for", "wrong-type")
    for name, vector, turns in (("query", _QUERY, 3), ("key", _KEY, 2)):
        _judge_turned(answer, name, vector, turns)
    found = _read(answer, "scores", 4)
    right = torch.tensor([_score(*pair) for pair in _PLACES], dtype=torch.float64)
    plain = float(np.dot(_QUERY, _KEY))
    reject_if(
        close(found, torch.full((4,), plain, dtype=torch.float64)),
        "these are the dot products of the vectors before they are turned; turn both by their positions first",
        "not-turned",
    )
    compare(found[:1], right[:1], [
        Mistake(-right[:1], "direction", "the sign of the first score is turned round: (1, -2) · (-1, -4) = -1 + 8"),
    ], f"the first score is (1, -2) · (-1, -4), which is not {found[0]:.3g}")  # fmt: skip
    reject_if(
        not close(found[1], right[1]),
        "the second score is not the first: 103 and 102 are one place apart as 3 and 2 are, and only that counts",
        "absolute-position",
    )
    reject_if(
        close(found[2], right[0]),
        "the third score has the query before the key: the distance is -1, not 1, and a turn to the other side gives "
        "another score",
        "unsigned-distance",
    )
    reject_if(
        not close(found[2], right[2]),
        f"the third score, query at 2 and key at 3, is not {found[2]:.3g}: turn the query twice and the key three "
        "times",
        "value",
    )
    reject_if(
        close(found[3], torch.zeros((), dtype=torch.float64)),
        "in the same place the difference is 0, so nothing is turned; the score is then the plain dot product, not 0",
        "zero-at-distance-zero",
    )
    reject_if(
        not close(found[3], right[3]),
        f"in the same place both vectors are turned alike, and the score is the plain dot product, not {found[3]:.3g}",
        "value",
    )
    return "equal distance, equal score; and the two directions differ"


def _turned(vector: tuple[int, int], turns: int) -> tuple[int, int]:
    for _ in range(turns % 4):
        vector = (-vector[1], vector[0])
    return vector


def _score(query_at: int, key_at: int) -> int:
    return int(np.dot(_turned(_QUERY, query_at), _turned(_KEY, key_at)))


def _read(answer: dict, name: str, count: int) -> Tensor:
    """One list of 04.4."""
    reject_if(name not in answer, f"the list `{name}` is missing", "missing")
    numbers = answer[name]
    blank = numbers is ... or numbers is None or (isinstance(numbers, list | tuple) and any(x is ... for x in numbers))
    reject_if(blank, f"`{name}` still has an empty place; what is above it is right", "not-finished")
    return tensor(numbers, (count,), f"`{name}`").double()


def _judge_turned(answer: dict, name: str, vector: tuple[int, int], turns: int) -> None:
    found = _read(answer, name, 2)

    def mistake(by: int, misconception: str, message: str) -> Mistake:
        return Mistake(torch.tensor(_turned(vector, by), dtype=torch.float64), misconception, message)

    compare(
        found,
        torch.tensor(_turned(vector, turns), dtype=torch.float64),
        [
            mistake(0, "not-turned", f"`{name}` stands at position {turns}: turn it {turns} times"),
            mistake(
                turns - 1,
                "one-turn-short",
                f"`{name}` is turned {turns - 1} times: positions count from 0, position {turns} is {turns} turns",
            ),
            mistake(
                turns + 1, "one-turn-too-many", f"`{name}` is turned once too often: position {turns} is {turns} turns"
            ),
            mistake(
                -turns,
                "direction",
                f"`{name}` is turned to the right: a quarter turn to the left makes (a, b) into (-b, a)",
            ),
            Mistake(
                turns * torch.tensor(vector, dtype=torch.float64),
                "multiplied",
                f"`{name}` is multiplied by its position; a rotation keeps its length",
            ),
        ],
        f"`{name}` turned {turns} times to the left is not ({found[0]:.3g}, {found[1]:.3g}): (a, b) becomes (-b, a)",
    )


@exercise(
    "04.5",
    title="Rotary positions",
    minutes=10,
    difficulty=4,
    hints=(
        "Which number is the partner of x[..., 0] in a vector of d numbers, if the first half is paired with the "
        "second half?",
        "Angles: positions times frequencies, [seq, d / 2]. Split x into two halves a and b; the new halves are "
        "a cos - b sin and b cos + a sin; join them again.",
        "`a, b = x.chunk(2, dim=-1)`, then "
        "`torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)`, with `cos` and `sin` of "
        "`positions[:, None] * base ** (-torch.arange(0, d, 2) / d)`.",
    ),
    reference=f"{_PACKAGE}:rotary",
)
def judge_rotary(answer):
    rope = function(answer, "rope")
    _judge_rotary_of(rope, random_tensor(0, 5, 6), torch.tensor([0, 1, 2, 3, 4]), None)
    _judge_rotary_of(rope, random_tensor(1, 7, 10), torch.tensor([3, 4, 9, 2, 2, 31, 0]), None)
    try:
        for seed, batch in enumerate([(2,), (2, 3)], start=2):
            _judge_rotary_of(rope, random_tensor(seed, *batch, 5, 14), torch.arange(11, 16), None)
    except Rejected as rejection:
        reject_if(
            rejection.misconception in ("exception", "shape", "value"),
            f"for one matrix it is right; with batch and heads in front, {rejection.message}. The sequence is the "
            "axis before the last, the width the last: count from the end",
            "batch-axes",
        )
        raise
    _judge_rotary_of(rope, random_tensor(5, 3, 6), torch.tensor([1, 5, 2]), 500.0)
    return "equal to a multiplication of complex numbers by e^(i p ω)"


def _judge_rotary_of(rope: Callable, x: Tensor, positions: Tensor, base: float | None) -> None:
    seq, d = x.shape[-2:]
    found = call(rope, x, positions) if base is None else call(rope, x, positions, base=base)
    used = 10000.0 if base is None else base
    exact = x.double()
    right = _turn_halves(exact, _angles(positions, d, used))
    angles = _angles(positions, d, used)
    cos, sin = angles.cos(), angles.sin()
    a, b = exact.chunk(2, dim=-1)
    pairs = torch.view_as_complex(exact.unflatten(-1, (-1, 2)).contiguous()) * torch.exp(1j * angles)
    mistakes = [
        Mistake(exact, "no-change", "nothing is turned: the result is x itself"),
        Mistake(
            torch.view_as_real(pairs).flatten(-2),
            "neighbours",
            "you pair neighbours, x[0] with x[1], as the paper does; here, as in Llama, the first half is paired with "
            "the second: x[i] with x[i + d/2]",
        ),
        Mistake(
            _turn_halves(exact, -angles),
            "direction",
            "you turn the other way: a cos - b sin comes first, then b cos + a sin",
        ),
        Mistake(
            torch.cat((a * cos + b * sin, b * cos + a * sin), dim=-1),
            "no-minus",
            "one sign is missing: a rotation is a cos - b sin and b cos + a sin, and it keeps lengths",
        ),
        Mistake(
            torch.cat((a * cos - b * sin, a * cos + b * sin), dim=-1),
            "partner-mixed-up",
            "the second half should be b cos + a sin: the cosine belongs to the number itself, the sine to its partner",
        ),
        Mistake(
            torch.cat((a * cos - b * sin, b), dim=-1), "half-turned", "the second half is as before; both halves turn"
        ),
        Mistake(
            torch.cat((a * cos + a * sin, b * cos + b * sin), dim=-1),
            "no-partner",
            "each number is combined with itself; a rotation combines it with its partner in the other half",
        ),
        Mistake(
            exact + torch.cat((sin, cos), dim=-1),
            "added",
            "you add sines and cosines to x; rotary positions turn x instead",
        ),
        Mistake(
            _turn_halves(exact, _angles(torch.arange(seq), d, used)),
            "ignores-positions",
            f"the rows are turned by 0, 1, 2, …; the positions here are {positions.tolist()}",
        ),
        Mistake(
            _turn_halves(exact, _angles(positions + 1, d, used)),
            "from-one",
            "every row is turned one position too far: position 0 is not turned at all",
        ),
        Mistake(
            _turn_halves(exact, positions[:, None] * used ** (-torch.arange(d // 2, dtype=torch.float64) / d)),
            "half-exponent",
            "the exponent is half as large as it should be: pair i turns by base^(-2i / d), and there are d/2 pairs",
        ),
        Mistake(
            _turn_halves(exact, positions[:, None].double().expand(seq, d // 2)),
            "one-frequency",
            "all pairs turn at the same speed; pair i turns by base^(-2i / d) for each position",
        ),
        Mistake(
            _turn_halves(exact, _angles(positions, d, 10000.0)),
            "ignores-base",
            f"with base={used:g} the result is that of base=10000: use the argument",
        ),
    ]
    found = tensor(found, x.shape)
    compare(
        found,
        right,
        [mistake for mistake in mistakes if not close(mistake.value, right)],
        f"for x of shape {tuple(x.shape)} the result is not x turned: {_lengths(found, exact)}",
    )


def _angles(positions: Tensor, d: int, base: float) -> Tensor:
    return positions[:, None].double() * base ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)


def _turn_halves(x: Tensor, angles: Tensor) -> Tensor:
    """Coordinates i and i + d/2 as one complex number, multiplied by e^(i angle)."""
    turned = torch.complex(*x.chunk(2, dim=-1)) * torch.exp(1j * angles)
    return torch.cat((turned.real, turned.imag), dim=-1)


def _lengths(found: Tensor, x: Tensor) -> str:
    if close(found.norm(dim=-1), x.norm(dim=-1)):
        return "the lengths of all rows are kept, so the angles are what is left to look at"
    return "a rotation keeps the length of every row, and yours does not"


quiz(
    "04",
    Question(
        "A stack of six encoder blocks has no positions and no causal mask. Can it tell 'dog bites man' from 'man "
        "bites dog'?",
        (
            Choice(
                "Yes, after six blocks the order has seeped in",
                "Each block moves its outputs with its inputs, so a stack of any height does so too.",
            ),
            Choice(
                "No: each word has the same output in both, and so has their average",
                "A permutation of the tokens permutes the outputs, whatever the weights are.",
            ),
            Choice("Yes, if it is trained for it", "The statement holds for all weights, trained ones included."),
        ),
        right=1,
    ),
    Question(
        "What does 'the shift of the sinusoidal table is a rotation' mean?",
        (
            Choice(
                "The table is multiplied by a rotation before attention",
                "It is added to the embeddings. Rotary positions are those that are multiplied.",
            ),
            Choice("The scores depend on distance only", "They may: but words and weights are mixed in before."),
            Choice(
                "Moving on by k places is the same linear map wherever one starts",
                "It is one 2 × 2 rotation by k ω for each pair of columns, and p does not occur in it.",
            ),
        ),
        right=2,
    ),
    Question(
        "BERT has a learned table of 512 rows. What happens to a text of 600 tokens?",
        (
            Choice(
                "It must be cut or split: there is no row 512",
                "Nothing in the table says what position 512 would be. Notebook 16 slides a window over long texts.",
            ),
            Choice("Its last 88 tokens are taken as padding", "Padding is marked by a mask; these are real tokens."),
            Choice("Rows 512 to 599 are computed from the earlier ones", "That would be a formula; this is a table."),
        ),
        right=0,
    ),
    Question(
        "In one head the query at position 9 and the key at position 4 have the rotary score 1.7. Both words move on "
        "by 100 places. What is the score?",
        (
            Choice("Smaller, since the angles are larger", "Both are turned further, by the same angle: it cancels."),
            Choice("It depends on the base", "The base sets the angles; their difference is still that of 5 places."),
            Choice(
                "0, past the length of training", "The formula has no end; what training made of it is another matter."
            ),
            Choice("1.7", "The score depends on the two vectors and on the distance 9 - 4 alone."),
        ),
        right=3,
    ),
    Question(
        "You load published rotary weights, and the model talks nonsense although every shape fits. Which mistake "
        "is typical?",
        (
            Choice("The table of positions was not loaded", "There is none: the angles are computed from a formula."),
            Choice(
                "Neighbours are paired where the weights were trained with halves",
                "Both layouts are sound, and each needs its own order of the columns of the query and key maps.",
            ),
            Choice("The rotation was applied to the queries and the keys", "That is as it should be."),
        ),
        right=1,
    ),
)
