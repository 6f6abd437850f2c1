"""Notebook 19: settings that are refused, the cheapest baseline, two models on the same examples, how many examples
an interval takes, exchanged names, and the review of somebody else's project."""

import hashlib
import math
import re
from collections.abc import Iterable

import numpy as np
import torch

from .engine import Choice, Question, Rejected, exercise, quiz
from .judging import Mistake, call, compare, function, number, reject_if

_HERE = "course_lib.exercises.references.capstone"


def _scalar(value: float) -> torch.Tensor:
    return torch.tensor(float(value), dtype=torch.float64)


_DIFFERENCE = "three numbers: the difference, and the low and the high end of its interval"
_COUNTS = {"two": 2, "three": 3}


def _numbers(result: object, count: str, wanted: str) -> list[float]:
    """The numbers of an answer that should be `count` of them, `wanted` in words."""
    is_list = isinstance(result, Iterable) and not isinstance(result, str | dict)
    result = list(result) if is_list else []
    reject_if(len(result) != _COUNTS[count], f"return {wanted}", "wrong-type")
    return [number(one, f"each of the {count}") for one in result]


# --- 19.1 ---------------------------------------------------------------------------------------------------

_CORPORA = ("movie-reviews", "sms-spam", "trec-questions")
_GOOD = {"corpus": "sms-spam", "epochs": 2, "learning_rate": 2e-4, "seed": 0}
# (settings, the wrong ones, misconception, why): in the order in which they are tried.
_SETTINGS = (
    (_GOOD, [], "too-strict", "every setting is allowed"),
    ({}, [], "too-strict", "a setting that is missing has its default, and defaults are fine"),
    ({"corpus": "imdb"}, ["corpus"], "corpus", "the corpus is none of the three"),
    ({"epochs": 0}, ["epochs"], "epochs", "no epoch at all trains nothing"),
    ({"learning_rate": -0.1}, ["learning_rate"], "learning-rate", "the learning rate must be more than 0"),
    ({"learning_rate": 0}, ["learning_rate"], "learning-rate", "the learning rate must be more than 0"),
    ({"learning_rate": 2}, ["learning_rate"], "learning-rate", "the learning rate must be less than 1"),
    ({"seed": -1}, ["seed"], "seed", "the seed must be at least 0"),
    ({"seed": 0, "epochs": 1}, [], "too-strict", "the smallest numbers allowed are 0 for the seed and 1 for epochs"),
    ({"epochs": 1.5}, ["epochs"], "type", "half an epoch is no whole number"),
    ({"epochs": "3"}, ["epochs"], "type", 'a text is no number, even if it looks like one: it was written "3"'),
    ({"learning_rate": "2e-4"}, ["learning_rate"], "type", "a text is no number, even if it looks like one"),
    ({"epochs": True}, ["epochs"], "bool", "in Python `True` is an int: `isinstance(True, int)`; refuse it first"),
    ({"learning_rate": math.nan}, ["learning_rate"], "nan",
     "every comparison with NaN is False, so `rate <= 0` lets it pass; ask for what is right, `0 < rate < 1`, "
     "instead of what is wrong"),
    ({"epoch": 3}, ["epoch"], "unknown", "there is no such setting: a misspelt one would be ignored in silence"),
    ({"corpus": "SMS", "epochs": 0, "seed": 5, "learning_rate": 9}, ["corpus", "epochs", "learning_rate"],
     "first-only", "name all that is wrong, sorted, so that one look mends everything"),
)  # fmt: skip


@exercise(
    "19.1",
    title="A config that says no",
    minutes=10,
    difficulty=3,
    hints=(
        "For each setting: which values are right? It is safer to ask for what is right than for what is wrong.",
        "Go through the items of the dictionary. A name that you do not know is wrong; for a known one evaluate its "
        "rule. `isinstance(value, bool)` must be asked before `isinstance(value, int)`.",
        "With `whole = isinstance(value, int) and not isinstance(value, bool)`: epochs are right if "
        "`whole and value >= 1`, the rate if it is an int or float, no bool, and `0 < value < 1`. Collect the names, "
        "`return sorted(names)`.",
    ),
    reference=f"{_HERE}:wrong_settings",
)
def judge_wrong_settings(answer):
    answer = function(answer, "wrong_settings")
    for settings, right, misconception, why in _SETTINGS:
        result = call(answer, dict(settings))
        reject_if(
            isinstance(result, str) or not isinstance(result, Iterable),
            "give a list of names, empty where nothing is wrong",
            "wrong-type",
        )
        found = list(result)
        if found == right:
            continue
        if sorted(map(str, found)) == right:
            raise Rejected(f"for {settings} the right names come in another order; sort them", "order")
        reject_if(
            any(not isinstance(name, str) or name not in settings for name in found),
            f"for {settings} you return {found}: give the names of wrong settings, such as {right or ['epochs']}",
            "not-names",
        )
        raise Rejected(f"for {settings} the wrong settings are {right}, and yours {found}: {why}", misconception)
    return "what is misspelt or makes no sense is found before anything is trained"


# --- 19.2 ---------------------------------------------------------------------------------------------------

_LABELS = (
    ([0] * 13 + [1] * 4, [0] * 7 + [1] * 4),
    ([2] * 5 + [0] * 3 + [1] * 4, [0] * 6 + [1] * 2 + [2] * 3),
    ([1] * 29 + [0] * 2, [1] * 17 + [0] * 2),
)


def _f1(predictions: list, labels: list, one) -> float:
    hits = sum(p == y == one for p, y in zip(predictions, labels, strict=True))
    return 2 * hits / max(predictions.count(one) + labels.count(one), 1)


@exercise(
    "19.2",
    title="The least that a model must beat",
    minutes=8,
    difficulty=2,
    hints=(
        "Somebody says the same class for every example. Which one, and from which of the two lists may it be chosen?",
        "Take the most common class of `train_labels`. Accuracy: its share of `test_labels`. Macro F1: the mean of F1 "
        "over all classes of the test labels; a class that is never predicted has F1 = 0.",
        "With the share `a` of the common class in the test: its precision is `a` and its recall 1, so its F1 is "
        "`2 * a / (a + 1)`; divide by the number of classes, `len(set(test_labels))`.",
    ),
    reference=f"{_HERE}:majority_scores",
)
def judge_majority_scores(answer):
    answer = function(answer, "majority_scores")
    for train, test in _LABELS:
        result = call(answer, list(train), list(test))
        found = [_scalar(one) for one in _numbers(result, "two", "two numbers, accuracy and macro F1")]
        classes = sorted(set(test))
        common = max(sorted(set(train)), key=train.count)
        in_test = max(classes, key=test.count)
        constant = [common] * len(test)
        accuracy = test.count(common) / len(test)
        each = [_f1(constant, test, one) for one in classes]
        case = f"training labels {_counts(train)} and test labels {_counts(test)}"
        compare(
            found[0],
            _scalar(accuracy),
            [
                Mistake(
                    _scalar(test.count(in_test) / len(test)),
                    "chosen-on-test",
                    f"{case}: you choose the most common class of the *test* set; nobody who predicts knows it. "
                    f"Choose from the training labels: class {common}",
                ),
                Mistake(
                    _scalar(train.count(common) / len(train)),
                    "share-of-train",
                    f"{case}: this is the share in the training labels; the score is that on the test labels",
                ),
                Mistake(
                    _scalar(1 / len(classes)),
                    "chance",
                    f"{case}: this is guessing at random; always saying the most common class is better",
                ),
                Mistake(_scalar(100 * accuracy), "percent", "give a share from 0 to 1, not per cent"),
            ],
            f"{case}: always saying class {common} is right in {accuracy:.3f} of the test, not {float(found[0]):.3f}",
        )
        weighted = sum(f * test.count(one) for f, one in zip(each, classes, strict=True)) / len(test)
        compare(
            found[1],
            _scalar(sum(each) / len(each)),
            [
                Mistake(
                    _scalar(max(each)),
                    "one-class",
                    f"{case}: the accuracy is right. Your F1 is that of the common class alone; the others have "
                    f"F1 = 0, and the mean runs over all {len(classes)}",
                ),
                Mistake(
                    _scalar(accuracy),
                    "micro",
                    f"{case}: the accuracy is right. Your F1 equals it: that is the micro average, which counts every "
                    "example the same. Macro counts every class the same",
                ),
                Mistake(
                    _scalar(weighted),
                    "weighted",
                    f"{case}: the accuracy is right. You weigh each class by its rows; in macro F1 every class counts "
                    "the same",
                ),
            ],
            f"{case}: the accuracy is right; the macro F1 is {sum(each) / len(each):.3f}, not {float(found[1]):.3f}",
        )
    return "an accuracy may look good; the macro F1 shows that only one class is ever found"


def _counts(labels: list) -> str:
    return ", ".join(f"{labels.count(one)} of class {one}" for one in sorted(set(labels)))


# --- 19.3 ---------------------------------------------------------------------------------------------------


def _answers(seed: int, examples: int, gain: float) -> tuple[np.ndarray, np.ndarray]:
    """Right or not, of two models that fail at mostly the same examples; the first is `gain` better at the others."""
    random = np.random.default_rng(seed)
    hard = random.random(examples) < 0.4
    first = np.where(random.random(examples) < 0.06, hard, ~hard)
    second = np.where(random.random(examples) < 0.06 + gain, hard, ~hard)
    return first.astype(int), second.astype(int)


@exercise(
    "19.3",
    title="Two models, the same examples",
    minutes=12,
    difficulty=4,
    hints=(
        "Both models answered the *same* examples, and what is hard for one is mostly hard for the other. What would "
        "be lost if you drew examples for each of them separately?",
        "Take the difference of the two for each example: 1, 0 or -1. Resample these differences, with replacement, as "
        "many as there are, and take the mean; do so `resamples` times. The interval is from the 2.5 to the 97.5 "
        "per cent quantile.",
        "`chance = np.random.default_rng(seed)`; `d = np.array(first) - np.array(second)`; means "
        "`[d[chance.integers(len(d), size=len(d))].mean() for _ in range(resamples)]`; "
        "`np.quantile(means, [0.025, 0.975])`.",
    ),
    reference=f"{_HERE}:difference_interval",
)
def judge_difference_interval(answer):
    answer = function(answer, "difference_interval")
    for seed, examples, gain in ((1, 331, 0.06), (2, 503, 0.0), (3, 211, 0.1)):
        first, second = _answers(seed, examples, gain)
        found = _numbers(call(answer, first.tolist(), second.tolist(), 600, seed), "three", _DIFFERENCE)
        case = f"{examples} examples, accuracies {first.mean():.3f} and {second.mean():.3f}"
        difference = first - second
        right = float(difference.mean())
        deviation = float(difference.std()) / math.sqrt(examples)
        apart = math.sqrt(sum(p * (1 - p) for p in (first.mean(), second.mean())) / examples)
        estimate, low, high = found
        compare(
            _scalar(estimate),
            _scalar(right),
            [
                Mistake(_scalar(-right), "sign", f"{case}: subtract the second from the first, not the other way"),
                Mistake(_scalar(100 * right), "percent", f"{case}: give shares, not per cent"),
                Mistake(_scalar(first.mean()), "one-model", f"{case}: this is the accuracy of the first model"),
            ],
            f"{case}: the difference is {right:.4f}, and you give {estimate:.4f}. The estimate is that of the examples "
            "themselves, before any resampling",
        )
        _judge_width(case, right, low, high, deviation, apart)
        again = _numbers(call(answer, first.tolist(), second.tolist(), 600, seed), "three", _DIFFERENCE)
        reject_if(
            again != found,
            f"{case}: the same seed gives another interval; draw everything from one `np.random.default_rng(seed)`",
            "seed",
        )
    return "paired: what is hard for both models cancels out, and the interval is as narrow as it can honestly be"


def _judge_width(case: str, right: float, low: float, high: float, deviation: float, apart: float) -> None:
    width, due = high - low, 2 * 1.96 * deviation
    reject_if(width < 0, f"{case}: the low end, {low:.3f}, is above the high end, {high:.3f}", "ends-exchanged")
    reject_if(
        width < 0.05 * due,
        f"{case}: the interval has no width. Draw with replacement: without it, every resample is the same examples "
        "in another order",
        "no-replacement",
    )
    unpaired = 2 * 1.96 * apart
    reject_if(
        abs(width - unpaired) < 0.2 * unpaired,
        f"{case}: the interval is {width:.3f} wide, {width / due:.1f} times what it could be: you draw examples for "
        "each model separately. Draw once, and take both answers to each example drawn",
        "unpaired",
    )
    reject_if(
        abs(width - 2 * deviation) < 0.2 * 2 * deviation,
        f"{case}: the interval is one standard deviation to each side, about 68 %; take the quantiles 0.025 and 0.975",
        "one-deviation",
    )
    reject_if(
        abs(width - due) > 0.2 * due or abs((low + high) / 2 - right) > 0.35 * due,
        f"{case}: the interval from {low:.3f} to {high:.3f} does not hold the middle 95 % of the resampled "
        f"differences; it should be about {due:.3f} wide, around {right:.3f}",
        "value",
    )


# --- 19.4 ---------------------------------------------------------------------------------------------------


@exercise(
    "19.4",
    title="How many examples for this interval?",
    minutes=6,
    difficulty=2,
    hints=(
        "An accuracy is the mean of zeros and ones. What is the variance of one of them, and of the mean of n?",
        "The standard deviation of the mean is the root of p (1 - p) / n, and 95 % lie within 1.96 of them. Solve "
        "1.96 · √(p (1 - p) / n) = half_width for n.",
        "`n = 1.96**2 * accuracy * (1 - accuracy) / half_width**2`, rounded up.",
    ),
    reference=f"{_HERE}:examples_needed",
)
def judge_examples_needed(answer):
    answer = function(answer, "examples_needed")
    for accuracy, half_width in ((0.8, 0.025), (0.5, 0.1), (0.97, 0.01), (0.75, 0.03)):
        found = number(call(answer, accuracy, half_width))
        variance = accuracy * (1 - accuracy)
        right = 1.96**2 * variance / half_width**2
        case = f"accuracy {accuracy}, half width {half_width}"
        if abs(found - right) <= 1.001:  # rounded up, rounded, or with 1.95996
            reject_if(found < right - 1, f"{case}: round up, so that the interval is not wider than asked", "rounding")
            continue
        mistakes = (
            (right / 4, "full-width", "you take half_width for the whole width; it is the distance to *each* side"),
            (right * 4, "half-again", "you halve the half width once more"),
            (right / 1.96**2, "one-deviation", "one standard deviation to each side holds 68 %; 95 % take 1.96"),
            (math.sqrt(right), "no-square", "to halve an interval takes four times the examples: square"),
            (1.96 * variance / half_width**2, "z-not-squared", "square 1.96 too"),
            (1.96**2 * math.sqrt(variance) / half_width**2, "deviation", "p (1 - p) is the variance: no root"),
            (1.96**2 * accuracy / half_width**2, "no-failures", "the variance of a 0 or 1 is p (1 - p), not p"),
        )
        for value, name, message in mistakes:
            reject_if(abs(found - value) <= 1.001 + 0.002 * value, f"{case}: {message}", name)
        raise Rejected(f"{case}: about {math.ceil(right):,} examples are needed, not {found:,.0f}", "value")
    return "half the width takes four times the examples"


# --- 19.5 ---------------------------------------------------------------------------------------------------


def _made_up(text: str) -> float:
    """A probability that depends on every letter of the text, and on nothing else."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") / 2**32


_EXCHANGES = (
    (["{name} sings.", "A film by {name}.", "Only {name} laughs at {name}."], [("Ann", "Tom"), ("Eve", "Max")]),
    (["{name}!"], [("Ida", "Ole"), ("Eva", "Jan"), ("Mia", "Tim"), ("Lea", "Ben"), ("Pia", "Uwe")]),
    (["Where is {name}?", "{name} is here."], [("Ada", "Leo")]),
)


@exercise(
    "19.5",
    title="Exchange the names",
    minutes=10,
    difficulty=3,
    hints=(
        "A pair of texts that differ in one name only: the rest cannot be the reason for what changes. How many such "
        "pairs are there for 3 sentences and 2 pairs of names?",
        "For every sentence and every pair: `predict` with the first name minus `predict` with the second. Keep the "
        "sign in the mean; for the largest, compare the absolute values and return the change itself.",
        "`changes = [predict(t.replace('{name}', a)) - predict(t.replace('{name}', b)) for t in sentences "
        "for a, b in pairs]`; `return sum(changes) / len(changes), max(changes, key=abs)`.",
    ),
    reference=f"{_HERE}:exchange",
)
def judge_exchange(answer):
    answer = function(answer, "exchange")
    for sentences, pairs in _EXCHANGES:
        result = call(answer, _made_up, list(sentences), list(pairs))
        both = _numbers(result, "two", "two numbers: the mean change and the largest")
        mean, largest = map(_scalar, both)
        _judge_changes(mean, largest, sentences, pairs)
    return "only the name differs, so only the name can be the reason"


def _judge_changes(mean: torch.Tensor, largest: torch.Tensor, sentences: list, pairs: list) -> None:
    changes = _changes(sentences, pairs)
    case = f"{len(sentences)} sentences, {len(pairs)} pairs of names"
    absolute = [abs(change) for change in changes]
    untouched = _changes(sentences, pairs, once=True)
    crossed = _changes(sentences, [(a, b) for a, _ in pairs for _, b in pairs])
    mistakes = [
        (sum(absolute) / len(changes), "absolute-mean",
         "this is the mean of the absolute changes, which is never 0; keep the signs, so that what goes both ways "
         "cancels out"),
        (-sum(changes) / len(changes), "sign", "subtract the second name's from the first name's, not the other way"),
        (sum(changes), "sum", "this is the sum; divide by the number of pairs of texts"),
        (sum(_changes(sentences[:1], pairs)) / len(pairs), "first-sentence", "only the first sentence is used"),
        (sum(_changes(sentences, pairs[:1])) / len(sentences), "first-pair", "only the first pair of names is used"),
        (sum(untouched) / len(untouched), "first-place", "a name may stand twice in a sentence; exchange both"),
        (0.0, "not-filled", "the change is 0: is the name really put into the sentence, in place of `{name}`?"),
    ]  # fmt: skip
    compare(
        mean,
        _scalar(sum(changes) / len(changes)),
        [Mistake(_scalar(value), name, f"{case}: {message}") for value, name, message in mistakes],
        f"{case}: the mean change is {sum(changes) / len(changes):.4f}, and yours is {float(mean):.4f}",
    )
    mistakes = [
        (max(absolute), "unsigned-largest", "return the change itself, with its sign, not its absolute value"),
        (max(changes), "largest-increase", "this is the largest increase; a decrease may be larger: compare `abs`"),
        (min(changes), "largest-decrease", "this is the smallest number; compare the absolute values"),
        (max(crossed, key=abs), "crossed", "each name meets every name of the other side; take the pairs as given"),
    ]
    compare(
        largest,
        _scalar(max(changes, key=abs)),
        [Mistake(_scalar(value), name, f"{case}: the mean is right; {message}") for value, name, message in mistakes],
        f"{case}: the mean is right; the largest change is {max(changes, key=abs):.4f}, not {float(largest):.4f}",
    )


def _changes(sentences: list, pairs: list, once: bool = False) -> list[float]:
    places = 1 if once else -1
    return [
        _made_up(sentence.replace("{name}", first, places)) - _made_up(sentence.replace("{name}", second, places))
        for sentence in sentences
        for first, second in pairs
    ]


# --- 19.6 ---------------------------------------------------------------------------------------------------

# Criterion -> levels that its card in the notebook can be given, numbers or words of it to point at, what to see.
_REVIEW = {
    "data": (
        {0, 1},
        ("4837", "3869", "968"),
        "4,837 messages were split at random, and notebook 14 found copies among exactly these",
    ),
    "baselines": (
        {0, 1},
        ("0.5", "50", "0.864", "86.4", "0.86", "86", "836"),
        "a coin is no baseline where 836 of 968 messages are ham: always saying ham reaches 0.864",
    ),
    "choice": (
        {0},
        ("12",),
        "12 learning rates were compared on the test set itself, so its best score is too good",
    ),
    "uncertainty": (
        {0, 1},
        ("968", "0.986", "98.6", "0.981", "98.1", "0.005", "0.5"),
        "0.986 and 0.981 stand without an interval, though both come from 968 messages",
    ),
    "bias": (
        {0, 1},
        ("2", "two"),
        "2 names in one sentence were looked at, and nothing was measured",
    ),
    "reproducibility": (
        {1, 2},
        ("0.981", "98.1", "0.986", "98.6", "9", "nine"),
        "9 settings are listed and the seed is not, and a second run gave 0.981 instead of 0.986",
    ),
    "card": (
        {0, 1},
        ("0", "mit", "licence", "license", "limit", "limits", "none"),
        "it says that there are no limits, and gives a licence for texts that are not theirs",
    ),
}
_FEWEST_WORDS = 6


@exercise(
    "19.6",
    title="Review a project",
    minutes=20,
    difficulty=3,
    hints=(
        "Take the criteria one at a time, and read the card only for this one. What does it say, in numbers, and what "
        "would level 3 ask for?",
        "Write the reason first, quoting a number of the card, and choose the level after it. How many learning rates "
        "were tried, and on which split? What would always saying ham reach?",
        "The baseline, 0.50, is that of a coin, while 836 of 968 are ham; 12 learning rates were chosen on the test "
        "set; 0.986 has no interval; 2 names are no check; the second run gave 0.981; no seed; no limits stated.",
    ),
    reference=f"{_HERE}:review",
)
def judge_review(answer):
    reject_if(not isinstance(answer, dict), "a dictionary from criterion to (level, reason) is asked for", "wrong-type")
    unknown = [key for key in answer if key not in _REVIEW]
    reject_if(bool(unknown), f"{unknown[:1]} is no criterion of the rubric: {', '.join(_REVIEW)}", "unknown-criterion")
    missing = [criterion for criterion in _REVIEW if criterion not in answer]
    reject_if(bool(missing), f"the review is not complete: {', '.join(missing)} is missing", "incomplete")
    seen: dict[str, str] = {}
    for criterion, (levels, evidence, remark) in _REVIEW.items():
        level, reason = _level_and_reason(criterion, answer[criterion])
        words = re.findall(r"[a-z]+|\d[\d,]*(?:\.\d+)?", reason.lower())
        found = {word.replace(",", "") for word in words}
        found |= {word.rstrip("0") for word in found if "." in word}
        reject_if(
            len(words) < _FEWEST_WORDS,
            f"{criterion}: the reason has {len(words)} words; say what the card states and what it lacks",
            "too-short",
        )
        same = " ".join(words)
        reject_if(
            same in seen,
            f"{criterion}: the same sentence stands at {seen.get(same)}; each criterion has a reason of its own",
            "repeated",
        )
        seen[same] = criterion
        pointing = "a word or number" if criterion == "card" else "a number"
        reject_if(
            not found & set(evidence),
            f"{criterion}: point at {pointing} of the card, so that its author can look there and disagree",
            "no-evidence",
        )
        reject_if(
            level not in levels,
            f"{criterion}: level {level} is {'too generous' if level > max(levels) else 'too strict'}: {remark}",
            "too-generous" if level > max(levels) else "too-strict",
        )
    return "complete, and every level rests on something that can be checked"


def _level_and_reason(criterion: str, entry) -> tuple[int, str]:
    reject_if(
        not isinstance(entry, tuple | list) or len(entry) != 2,
        f"{criterion}: write (level, reason), a number and a text",
        "wrong-type",
    )
    level, reason = entry
    reject_if(level is ... or reason is ..., f"{criterion}: still to be filled in", "incomplete")
    reject_if(not isinstance(reason, str), f"{criterion}: the reason is a text", "wrong-type")
    value = number(level, f"the level of {criterion}")
    reject_if(value not in (0, 1, 2, 3), f"{criterion}: the levels are 0, 1, 2 and 3, not {value:g}", "no-level")
    return int(value), reason


quiz(
    "19",
    Question(
        "A model is ahead of the baseline by 0.02, with a 95 % paired interval from -0.01 to 0.05. What may you write?",
        (
            Choice("The model is better", "The interval holds 0: so large a difference comes from chance often."),
            Choice("They are equally good", "It holds 0.05 too. Not shown is not the same as shown to be 0."),
            Choice(
                "On this test set we cannot tell whether it is better; it may be by up to 0.05",
                "Right: that is what the interval says, and how many examples it would take can be computed.",
            ),
        ),
        2,
    ),
    Question(
        "You tried eight learning rates. On which split do you compare them?",
        (
            Choice("Training", "There the rate that memorises most wins."),
            Choice("Validation; the test split is used once, at the end", "Right: what was chosen on is too good."),
            Choice("Test, since this is what counts", "Then the best of eight includes the luck of eight draws."),
        ),
        1,
    ),
    Question(
        "The mean change when names are exchanged is 0.001, with an interval around 0. Is the model fair?",
        (
            Choice("Yes, it was measured", "It was measured on these sentences with these names, and in the mean."),
            Choice("No, a model cannot be", "That was not measured either."),
            Choice(
                "No difference was found here; look at the largest one, and at other groups and sentences",
                "Right: changes in both directions cancel out in a mean, and what was not asked is not known.",
            ),
        ),
        2,
    ),
    Question(
        "The same config gave other predictions on another computer. What is the most likely reason?",
        (
            Choice("The seed was not set", "It is in the config, and everything random is drawn from it."),
            Choice(
                "Sums are added up in another order there, and training makes last digits larger",
                "Right: same bytes are promised on the same machine with the same versions and threads.",
            ),
            Choice("The model was not converged", "A longer training would make the last digits differ more."),
        ),
        1,
    ),
    Question(
        "Why is the report made by a program from the run's files, and not typed into the card?",
        (
            Choice("It is quicker", "Once it is; the reason is another."),
            Choice(
                "A number that is copied by hand belongs to another run sooner or later",
                "Right: and a reader can follow each number back to the run that it comes from.",
            ),
            Choice("The Hub demands it", "The Hub takes any text; it reads the head of the card if there is one."),
        ),
        1,
    ),
)
