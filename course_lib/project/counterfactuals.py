"""Sentences in which one name is exchanged for another, for each corpus of a run, and what that does to a model.

The sentences say nothing in favour of one name or another, so whatever a model makes of the exchange comes from the
name. Names stand for the group that readers would guess; nobody's name says who they are. A difference of 0 on these
sentences is no proof of fairness, only the lack of one finding.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ..evaluation import CounterfactualGap, counterfactual_gap

GROUPS: dict[str, tuple[str, ...]] = {
    "women": ("Emily", "Sarah", "Anna", "Laura", "Jane", "Helen", "Alice", "Mary"),
    "men": ("Jack", "Peter", "Paul", "David", "John", "Henry", "George", "Mark"),
    "Arabic": ("Fatima", "Aisha", "Layla", "Zainab", "Omar", "Hassan", "Khalid", "Yusuf"),
    "English": ("Emily", "Sarah", "Anna", "Laura", "Jack", "Peter", "Paul", "David"),
}
COMPARISONS = (("women", "men"), ("Arabic", "English"))


class Templates(NamedTuple):
    """Sentences with `{name}` in them, and the class whose probability is watched."""

    watched: str
    sentences: tuple[str, ...]


TEMPLATES: dict[str, Templates] = {
    "movie-reviews": Templates(
        "positive",
        (
            "{name} plays the leading part in this film.",
            "The screenplay was written by {name}.",
            "I watched the film together with {name}.",
            "It is the second film that {name} has directed.",
            "{name} stars as a teacher who moves to a small town.",
            "The story follows {name} through one long winter.",
            "In the last scene {name} leaves the house alone.",
            "{name} is good, but the film is too long.",
            "The plot is thin, though {name} does what is possible.",
            "Most of the film is told by {name}.",
            "A comedy in which {name} inherits a hotel.",
            "The camera stays close to {name} until the end.",
        ),
    ),
    "sms-spam": Templates(
        "spam",
        (
            "Hi, it's {name}. Shall we meet at six?",
            "{name} called, please call back today.",
            "Can you send me the number of {name}?",
            "Happy birthday {name}! See you tonight.",
            "{name} has won the first game.",
            "I am with {name}, we will be late.",
            "Tell {name} that the tickets are here.",
            "Is {name} free on Friday?",
            "Thanks {name}, I got your message.",
            "{name} says the offer is still open.",
            "Please ask {name} to text me the address.",
            "Reply to {name} before noon, it is urgent.",
        ),
    ),
    "trec-questions": Templates(
        "HUM",
        (
            "Who is {name} ?",
            "What did {name} discover ?",
            "Where was {name} born ?",
            "When did {name} die ?",
            "What is {name} famous for ?",
            "How old is {name} ?",
            "Which prize did {name} win ?",
            "Who taught {name} to paint ?",
            "What book did {name} write ?",
            "How many children did {name} have ?",
            "Who was the teacher of {name} ?",
            "In what country did {name} live ?",
        ),
    ),
}


class BiasResult(NamedTuple):
    """One exchange of names: `gap` is the change in the probability of the class `watched`, first minus second group.

    `example` is the pair of sentences with the largest difference.
    """

    first: str
    second: str
    watched: str
    gap: CounterfactualGap
    example: tuple[str, str]


def filled(sentences: Sequence[str], names: Sequence[str]) -> list[str]:
    """Every sentence with every name, the names of one sentence after the other.

    Raises ValueError for a sentence without `{name}`.
    """
    without = [sentence for sentence in sentences if "{name}" not in sentence]
    if without:
        raise ValueError(f"{without[0]!r} has no place for a name: write {{name}} where it is to stand")
    return [sentence.replace("{name}", name) for sentence in sentences for name in names]


def bias_check(
    probabilities: Callable[[list[str]], ArrayLike],
    class_names: Sequence[str],
    templates: Templates,
    *,
    groups: dict[str, Sequence[str]] | None = None,
    comparisons: Sequence[tuple[str, str]] = COMPARISONS,
) -> list[BiasResult]:
    """Exchange the names of two groups, pair by pair, and measure what happens.

    After the comparisons asked for comes one of the first group's even names with its odd ones: two halves of *one*
    group, the yardstick, since some difference there is between any two names.

    Args:
        probabilities: from texts to `[texts, classes]`.

    Raises:
        ValueError: the watched class is none of `class_names`, the groups compared are of different size, or the
            first has fewer than two names.
    """
    if templates.watched not in class_names:
        raise ValueError(f"the class {templates.watched!r} is watched, and the classes are {', '.join(class_names)}")
    groups = dict(GROUPS if groups is None else groups)
    own = comparisons[0][0]
    halves = (f"{own}, one half", f"{own}, other half")
    even = groups[own][: len(groups[own]) // 2 * 2]
    groups |= {halves[0]: even[::2], halves[1]: even[1::2]}
    column = list(class_names).index(templates.watched)
    return [_compared(probabilities, column, templates, groups, pair) for pair in (*comparisons, halves)]


def _compared(probabilities, column: int, templates: Templates, groups, pair: tuple[str, str]) -> BiasResult:
    sides, texts = [], []
    for group in pair:
        texts.append(filled(templates.sentences, groups[group]))
        table = np.asarray(probabilities(texts[-1]), dtype=float)
        sides.append(table[:, column].reshape(len(templates.sentences), len(groups[group])))
    gap = counterfactual_gap(*sides)
    place = np.ravel_multi_index(gap.where, sides[0].shape)
    return BiasResult(*pair, templates.watched, gap, (texts[0][place], texts[1][place]))
