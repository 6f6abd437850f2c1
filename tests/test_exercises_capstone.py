"""Exercises of notebook 19: planted mistakes get their own message, unusual right answers pass."""

import math
import random
import statistics
from collections import Counter

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, capstone, judge
from tests.judged import accepted, rejected

REFERENCES = {f"19.{number}": EXERCISES[f"19.{number}"].reference for number in range(1, 7)}


@pytest.mark.parametrize("id", REFERENCES)
def test_references_pass(id):
    accepted(id, REFERENCES[id])


@pytest.mark.parametrize("id", ["19.1", "19.2", "19.3", "19.4", "19.5"])
def test_blank(id):
    def blank(*arguments): ...

    assert judge(id, blank).misconception == NOT_ATTEMPTED


def test_blank_review():
    assert judge("19.6", dict.fromkeys(REFERENCES["19.6"], (..., ...))).misconception == NOT_ATTEMPTED


# --- 19.1 ---------------------------------------------------------------------------------------------------


def wrong_settings(settings, **changed):
    """Right, unless a rule is changed: the rules are right values of each setting."""

    def whole(value, least):
        return type(value) is int and value >= least

    rules = {
        "corpus": lambda value: value in ("movie-reviews", "sms-spam", "trec-questions"),
        "epochs": lambda value: whole(value, 1),
        "learning_rate": lambda value: type(value) in (int, float) and 0 < value < 1,
        "seed": lambda value: whole(value, 0),
    } | changed
    return sorted(name for name, value in settings.items() if name not in rules or not rules[name](value))


def changed(**rules):
    return lambda settings: wrong_settings(settings, **rules)


def careless_type(value):
    return isinstance(value, int) and value >= 1


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (changed(corpus=lambda value: True), "corpus", "none of the three"),
        (changed(epochs=lambda value: type(value) is int), "epochs", "no epoch"),
        (changed(epochs=lambda value: type(value) is int and value > 1), "too-strict", "1 for epochs"),
        (changed(seed=lambda value: type(value) is int and value > 0), "too-strict", "allowed"),
        (changed(seed=lambda value: type(value) is int), "seed", "at least 0"),
        (changed(learning_rate=lambda value: value != 0 and value < 1), "learning-rate", "more than 0"),
        (changed(learning_rate=lambda value: value > 0), "learning-rate", "less than 1"),
        (changed(epochs=lambda value: float(value) >= 1), "type", "no whole number"),
        (changed(epochs=lambda value: type(value) is str or careless_type(value)), "type", "a text is no number"),
        (changed(epochs=careless_type), "bool", "is an int"),
        (changed(learning_rate=lambda v: type(v) in (int, float) and not (v <= 0 or v >= 1)), "nan", "comparison"),
        (changed(epoch=lambda value: True), "unknown", "misspelt"),
        (lambda settings: wrong_settings(settings)[:1], "first-only", "all that is wrong"),
        (lambda settings: wrong_settings(settings)[::-1], "order", "sort"),
        (lambda settings: wrong_settings({"corpus": "", **settings}), "not-names", "give the names"),
        (lambda settings: [f"{name} is bad" for name in wrong_settings(settings)], "not-names", "give the names"),
        (lambda settings: "epochs", "wrong-type", "list"),
        (lambda settings: not wrong_settings(settings), "wrong-type", "list"),
    ],
)
def test_wrong_settings_rejects(answer, misconception, word):
    rejected("19.1", answer, misconception, word)


def by_table(settings, extra=None):
    kinds = {"corpus": str, "epochs": int, "learning_rate": (int, float), "seed": int}
    limits = {"epochs": (0, math.inf), "learning_rate": (0, 1), "seed": (-1, math.inf)}
    bad = []
    for name in settings:
        value = settings[name]
        if name not in kinds or not isinstance(value, kinds[name]) or isinstance(value, bool):
            bad += [name]
        elif name == "corpus":
            bad += [] if value.split("-")[-1] in ("reviews", "spam", "questions") else [name]
        elif not limits[name][0] < value < limits[name][1]:
            bad += [name]
    return tuple(sorted(bad))


@pytest.mark.parametrize("answer", [wrong_settings, by_table])
def test_wrong_settings_accepts(answer):
    accepted("19.1", answer)


def test_the_settings_judged_are_judged_as_the_course_does():
    from course_lib.project import ConfigError, RunConfig

    for settings, wrong, *_ in capstone._SETTINGS:
        try:
            RunConfig.from_dict(settings)
            found = []
        except ConfigError as error:
            found = sorted(line.split(" ")[0].rstrip(":") for line in str(error).splitlines())
        assert found == wrong


# --- 19.2 ---------------------------------------------------------------------------------------------------


def constant_scores(train, test, average="macro"):
    common = statistics.mode(train)
    return test.count(common) / len(test), f1_score(test, [common] * len(test), average=average, zero_division=0)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda train, test: constant_scores(test, test), "chosen-on-test", "nobody who predicts"),
        (lambda train, test: (constant_scores(train, train)[0], 0.5), "share-of-train", "on the test labels"),
        (lambda train, test: (1 / len(set(test)), 0.5), "chance", "guessing at random"),
        (lambda train, test: (100 * constant_scores(train, test)[0], 1), "percent", "not per cent"),
        (lambda train, test: constant_scores(train, test, "micro"), "micro", "every class the same"),
        (lambda train, test: constant_scores(train, test, "weighted"), "weighted", "by its rows"),
        (lambda train, test: (a := constant_scores(train, test)[0], 2 * a / (a + 1)), "one-class", "others have"),
        (lambda train, test: (0.123, 0.5), "value", "is right in"),
        (lambda train, test: (constant_scores(train, test)[0], 0.123), "value", "the macro F1 is"),
        (lambda train, test: 0.5, "wrong-type", "two numbers"),
        (lambda train, test: "no", "wrong-type", "two numbers"),
    ],
)
def test_majority_scores_rejects(answer, misconception, word):
    rejected("19.2", answer, misconception, word)


def by_counter(train, test):
    common, _ = Counter(train).most_common(1)[0]
    share = np.mean(np.array(test) == common)
    return torch.tensor([share, np.mean([2 * share / (1 + share) * (one == common) for one in set(test)])])


@pytest.mark.parametrize("answer", [constant_scores, by_counter])
def test_majority_scores_accepts(answer):
    accepted("19.2", answer)


# --- 19.3 ---------------------------------------------------------------------------------------------------


def resampled(draw, quantiles=(0.025, 0.975), estimate=None):
    def interval(first, second, resamples, seed):
        chance = np.random.default_rng(seed)
        first, second = np.array(first), np.array(second)
        means = [draw(chance, first, second) for _ in range(resamples)]
        difference = first.mean() - second.mean()
        return (difference if estimate is None else estimate(first, second), *np.quantile(means, quantiles))

    return interval


def paired(chance, first, second):
    drawn = chance.integers(len(first), size=len(first))
    return first[drawn].mean() - second[drawn].mean()


def unpaired(chance, first, second):
    n = len(first)
    return first[chance.integers(n, size=n)].mean() - second[chance.integers(n, size=n)].mean()


def permuted(chance, first, second):
    return (first - second)[chance.permutation(len(first))].mean()


def one_deviation(first, second, resamples, seed):
    estimate, low, high = resampled(paired)(first, second, resamples, seed)
    return estimate, estimate - (high - low) / 3.92, estimate + (high - low) / 3.92


def without_seed(first, second, resamples, seed):
    return resampled(paired)(first, second, resamples, random.randrange(10**9))


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (resampled(unpaired), "unpaired", "for each model separately"),
        (resampled(permuted), "no-replacement", "with replacement"),
        (resampled(lambda chance, a, b: paired(chance, b, a), estimate=lambda a, b: b.mean() - a.mean()), "sign", ""),
        (resampled(paired, estimate=lambda a, b: 100 * (a.mean() - b.mean())), "percent", "shares"),
        (resampled(paired, estimate=lambda a, b: a.mean()), "one-model", "of the first model"),
        (resampled(paired, estimate=lambda a, b: a.mean() - b.mean() + 0.01), "value", "before any resampling"),
        (resampled(paired, (0.975, 0.025)), "ends-exchanged", "above"),
        (resampled(paired, (0.25, 0.75)), "value", "middle 95 %"),
        (resampled(paired, (0.0, 0.975)), "value", "middle 95 %"),
        (one_deviation, "one-deviation", "68 %"),
        (without_seed, "seed", "same seed"),
        (lambda a, b, resamples, seed: 0.5, "wrong-type", "three numbers"),
        (lambda a, b, resamples, seed: (0.5, 0.6), "wrong-type", "three numbers"),
    ],
)
def test_difference_interval_rejects(answer, misconception, word):
    rejected("19.3", answer, misconception, word)


def by_torch(first, second, resamples, seed):
    difference = torch.tensor(first).double() - torch.tensor(second).double()
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(len(difference), (resamples, len(difference)), generator=generator)
    means = difference[drawn].mean(dim=1)
    return torch.stack([difference.mean(), *torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.double))])


def by_loop(first, second, resamples, seed):
    chance, n, means = random.Random(seed), len(first), []
    for _ in range(resamples):
        drawn = chance.choices(range(n), k=n)
        means.append(sum(first[i] - second[i] for i in drawn) / n)
    means.sort()
    at = round(0.025 * resamples)
    return (sum(first) - sum(second)) / n, means[at], means[-at - 1]


@pytest.mark.parametrize("answer", [resampled(paired), by_torch, by_loop])
def test_difference_interval_accepts(answer):
    accepted("19.3", answer)


# --- 19.4 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda p, h: 1.96**2 * p * (1 - p) / (2 * h) ** 2, "full-width", "each"),
        (lambda p, h: 1.96**2 * p * (1 - p) / (h / 2) ** 2, "half-again", "halve"),
        (lambda p, h: p * (1 - p) / h**2, "one-deviation", "1.96"),
        (lambda p, h: 1.96 * math.sqrt(p * (1 - p)) / h, "no-square", "square"),
        (lambda p, h: 1.96 * p * (1 - p) / h**2, "z-not-squared", "1.96 too"),
        (lambda p, h: 1.96**2 * math.sqrt(p * (1 - p)) / h**2, "deviation", "no root"),
        (lambda p, h: 1.96**2 * p / h**2, "no-failures", "not p"),
        (lambda p, h: 1000, "value", "are needed"),
        (lambda p, h: "many", "wrong-type", "number"),
    ],
)
def test_examples_needed_rejects(answer, misconception, word):
    rejected("19.4", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        lambda p, h: 1.96**2 * p * (1 - p) / h**2,
        lambda p, h: math.ceil((statistics.NormalDist().inv_cdf(0.975) / h) ** 2 * p * (1 - p)),
        lambda p, h: torch.tensor(1.96 / h) ** 2 * (p - p * p),
    ],
)
def test_examples_needed_accepts(answer):
    accepted("19.4", answer)


# --- 19.5 ---------------------------------------------------------------------------------------------------


def changes(predict, sentences, pairs, places=-1):
    return [
        predict(one.replace("{name}", a, places)) - predict(one.replace("{name}", b, places))
        for one in sentences
        for a, b in pairs
    ]


def of(found, mean=None, largest=None):
    """Right, but for what is given."""
    right = statistics.fmean(found), max(found, key=abs)
    return right[0] if mean is None else mean, right[1] if largest is None else largest


def exchanged(predict, sentences, pairs):
    return of(changes(predict, sentences, pairs))


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda p, s, n: of(c := changes(p, s, n), mean=statistics.fmean(map(abs, c))), "absolute-mean", "signs"),
        (lambda p, s, n: exchanged(p, s, [(b, a) for a, b in n]), "sign", "subtract the second"),
        (lambda p, s, n: of(c := changes(p, s, n), mean=sum(c)), "sum", "divide"),
        (lambda p, s, n: exchanged(p, s[:1], n), "first-sentence", "first sentence"),
        (lambda p, s, n: exchanged(p, s, n[:1]), "first-pair", "first pair"),
        (lambda p, s, n: of(changes(p, s, n, places=1)), "first-place", "twice"),
        (lambda p, s, n: exchanged(lambda text: p("x"), s, n), "not-filled", "really put"),
        (lambda p, s, n: of(c := changes(p, s, n), largest=max(map(abs, c))), "unsigned-largest", "sign"),
        (lambda p, s, n: of(c := changes(p, s, n), largest=max(c)), "largest-increase", "decrease"),
        (lambda p, s, n: of(c := changes(p, s, n), largest=min(c)), "largest-decrease", "absolute"),
        (lambda p, s, n: exchanged(p, s, [(a, b) for a, _ in n for _, b in n]), "crossed", "pairs as given"),
        (lambda p, s, n: (0.123, 0.5), "value", "the mean change is"),
        (lambda p, s, n: of(changes(p, s, n), largest=0.999), "value", "the largest change is"),
        (lambda p, s, n: 0.5, "wrong-type", "two numbers"),
    ],
)
def test_exchange_rejects(answer, misconception, word):
    rejected("19.5", answer, misconception, word)


def by_array(predict, sentences, pairs):
    table = np.array([[[predict(s.format(name=n)) for n in pair] for pair in pairs] for s in sentences])
    change = table[..., 0] - table[..., 1]
    return np.array([change.mean(), change.flat[np.abs(change).argmax()]])


@pytest.mark.parametrize("answer", [exchanged, by_array])
def test_exchange_accepts(answer):
    accepted("19.5", answer)


# --- 19.6 ---------------------------------------------------------------------------------------------------


def reviewed(**entries):
    return {**REFERENCES["19.6"], **entries}


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        ({name: entry for name, entry in reviewed().items() if name != "bias"}, "incomplete", "bias is missing"),
        (reviewed(bias=(..., ...)), "incomplete", "bias: still to be filled in"),
        (reviewed(style=(1, "The style of the 2 names is fine by me.")), "unknown-criterion", "style"),
        (reviewed(choice=(2, "They tried 12 learning rates and took the best one.")), "too-generous", "test set"),
        (reviewed(baselines=(3, "They compare with 0.50, which is what a coin gets.")), "too-generous", "0.864"),
        (reviewed(reproducibility=(0, "A second run gave 0.981 and the seed is lost.")), "too-strict", "9 settings"),
        (reviewed(choice=(0, "The best learning rate was chosen on the test set.")), "no-evidence", "choice"),
        (reviewed(uncertainty=(0, "There is no interval anywhere on this card, sadly.")), "no-evidence", "a number"),
        (reviewed(card=(1, "The colleague could have written more about it all.")), "no-evidence", "word or number"),
        (reviewed(choice=(0, "12 tried, on test.")), "too-short", "4 words"),
        (reviewed(card=reviewed()["choice"]), "repeated", "stands at choice"),
        (reviewed(bias=1), "wrong-type", "level, reason"),
        (reviewed(bias=(1, 2)), "wrong-type", "a text"),
        (reviewed(bias=(7, "Only 2 names were tried in one single sentence.")), "no-level", "not 7"),
        (reviewed(bias=("1", "Only 2 names were tried in one single sentence.")), "wrong-type", "level of bias"),
        ("fine", "wrong-type", "dictionary"),
    ],
)
def test_review_rejects(answer, misconception, word):
    rejected("19.6", answer, misconception, word)


OTHER_WORDS = {
    "data": [0, "Of 4837 messages nobody counted the copies; 968 random ones are the test."],
    "baselines": [1, "A coin (50 %) is a baseline of a kind, but ham alone gives 86 %."],
    "choice": [0, "Twelve (12) rates, best test score reported: chosen on the test split!"],
    "uncertainty": [1, "Two runs, 98.6 % and 98.1 %, hint at a spread; no interval is given."],
    "bias": [0.0, "Two names, no measurement at all, so nothing was checked here."],
    "reproducibility": [2, "All nine settings but the seed; rerun differs by half a point."],
    "card": [1, "It claims no limits. I do not believe a word of that."],
}


@pytest.mark.parametrize("answer", [OTHER_WORDS, dict(reversed(REFERENCES["19.6"].items()))])
def test_review_accepts(answer):
    accepted("19.6", answer)
