"""Exercises of notebook 01: planted mistakes get their own message, unusual right answers pass."""

import copy
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course_lib import grammar
from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, judge
from course_lib.grammar import Clause, NounPhrase, Sentence, lexicon
from tests.judged import accepted, rejected

BY_HAND = EXERCISES["01.2"].reference
STEPS = EXERCISES["01.4"].reference
ALIGNED = EXERCISES["01.5"].reference


# --- 01.1 ---------------------------------------------------------------------------------------------------


def lookup_with(kernel, normalise=True):
    """A kernel-weighted lookup from a function of distance and width."""

    def kernel_lookup(query, keys, values, width):
        counts = kernel(query - keys, width)
        total = (counts * values).sum()
        return total / counts.sum() if normalise else total

    return kernel_lookup


def gauss(distance, width):
    return torch.exp(-(distance**2) / (2 * width**2))


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lookup_with(gauss, normalise=False), "not-normalised", "divided by their sum"),
        (lambda q, k, v, h: (gauss(q - k, h) * v).mean(), "divided-by-count", "number of entries"),
        (lookup_with(lambda d, h: torch.exp(-(d**2) / h**2)), "no-half", "2"),
        (lookup_with(lambda d, h: torch.exp(-(d**2) / (2 * h))), "width-not-squared", "squared"),
        (lookup_with(lambda d, h: gauss(d, 1.0)), "width-ignored", "0.6"),
        (lookup_with(lambda d, h: torch.exp(-d.abs() / (2 * h**2))), "not-squared", "square"),
        (lookup_with(lambda d, h: 1 / gauss(d, h)), "sign", "negative"),
        (lookup_with(lambda d, h: d**2 / (2 * h**2)), "no-exp", "exp"),
        (lambda q, k, v, h: v[(q - k).abs().argmin()], "nearest", "every entry"),
        (lambda q, k, v, h: v.mean(), "mean", "query"),
        (lambda q, k, v, h: gauss(q - k, h) / gauss(q - k, h).sum() * v, "not-summed", "one number"),
        (lambda q, k, v, h: torch.ones(2, 2), "shape", "(2, 2)"),
        (lambda q, k, v, h: 0.0, "value", "width 1.0"),
        (lambda q, k, v, h: k.sub_(q).sum(), "in-place", "input 2"),
        (lambda q, k, v: v.mean(), "exception", "TypeError"),
    ],
)
def test_kernel_lookup_rejects(answer, misconception, word):
    rejected("01.1", answer, misconception, word)


def lookup_by_loop(query, keys, values, width, unused=None):
    counts = [math.exp(-((query - key) ** 2) / (2 * width**2)) for key in keys.tolist()]
    return sum(count * value for count, value in zip(counts, values.tolist(), strict=True)) / sum(counts)


def lookup_in_numpy(query, keys, values, width):
    counts = np.exp(-0.5 * ((query - np.asarray(keys)) / width) ** 2)
    return np.average(np.asarray(values), weights=counts)


def lookup_by_density(query, keys, values, width):
    counts = torch.distributions.Normal(keys, width).log_prob(torch.as_tensor(query)).softmax(dim=0)
    return (counts @ values).reshape(1).float()


@pytest.mark.parametrize("answer", [lookup_with(gauss), lookup_by_loop, lookup_in_numpy, lookup_by_density])
def test_kernel_lookup_accepts(answer):
    accepted("01.1", answer)


def test_kernel_lookup_of_the_text():
    plant = torch.tensor([1.0, 2, 4]), torch.tensor([1.0, 7, 12])
    lookup = EXERCISES["01.1"].reference
    assert float(lookup(3, *plant, 1 / math.sqrt(2 * math.log(2)))) == pytest.approx(9)
    assert float(lookup(3, *plant, 1.0)) == pytest.approx(8.65, abs=5e-3)


# --- 01.2 ---------------------------------------------------------------------------------------------------


def by_hand(**changed):
    """The right answers with some replaced; `one`, `half`, `cold`, `hot` and `times` stand for the entries."""
    names = dict(zip(("one", "half", "cold", "hot", "times"), BY_HAND, strict=True))
    return {**copy.deepcopy(BY_HAND), **{names[name]: value for name, value in changed.items()}}


SCORES = math.log(2) * torch.tensor([2.0, 1.0, 0.0])


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (by_hand(one=[4, 2, 1]), "not-normalised", "sum"),
        (by_hand(one=torch.softmax(torch.tensor([2.0, 1.0, 0.0]), 0)), "base-e", "4, 2 and 1"),
        (by_hand(one=[2 / 3, 1 / 3, 0]), "no-exp", "exponentials"),
        (by_hand(one=[0.5, 0.2, 0.1]), "sum", "0.8"),
        (by_hand(one=[0.2, 0.2, 0.6]), "value", "`T = 1`"),
        (by_hand(half=torch.softmax(SCORES / 2, 0)), "multiplied", "doubles"),
        (by_hand(half=[4 / 7, 2 / 7, 1 / 7]), "ignored", "at T = 1"),
        (by_hand(half=[16, 4, 1]), "not-normalised", "sum"),
        (by_hand(cold=[1 / 3, 1 / 3, 1 / 3]), "swapped", "pickier"),
        (by_hand(hot=[1, 0, 0]), "swapped", "alike"),
        (by_hand(hot=[0, 0, 0]), "sum", "sum to 1"),
        (by_hand(times=3), "inverse", "ratio"),
        (by_hand(times=1 / 6), "half", "two"),
        (by_hand(times=6), "exponent", "2/T"),
        (by_hand(times=math.log(64)), "logarithm", "solve"),
        (by_hand(times=1), "value", "64"),
        (by_hand(half=[16 / 21, ..., ...]), "not-finished", "`T = 1/2`"),
        (by_hand(times=...), "not-finished", "`64 times`"),
        (by_hand(one=[4 / 7, 3 / 7]), "shape", "(2,)"),
        ({"T = 1": BY_HAND["T = 1"]}, "missing", "`T = 1/2`"),
        ([4 / 7], "wrong-type", "dictionary"),
    ],
)
def test_temperature_rejects(answer, misconception, word):
    rejected("01.2", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        by_hand(one=[0.57, 0.29, 0.14], half=[0.76, 0.19, 0.05], hot=[0.33, 0.33, 0.33], times=0.33),
        by_hand(one=torch.softmax(SCORES, 0), half=np.array([16, 4, 1]) / 21, cold=(1.0, 0.0, 0.0)),
        by_hand(times=Fraction(2, 6)),
    ],
)
def test_temperature_accepts(answer):
    accepted("01.2", answer)


def test_temperature_blank():
    blank = {name: [..., ..., ...] for name in BY_HAND} | {"64 times": ...}
    assert judge("01.2", blank).misconception == NOT_ATTEMPTED


# --- 01.3 ---------------------------------------------------------------------------------------------------


def looked_up(warm, cold=None):
    """A soft lookup from what it does above zero and at zero (None: the right thing)."""

    def soft_lookup(query, keys, values, temperature):
        scores = keys @ query
        if temperature == 0:
            return (cold or (lambda s, v: v[s == s.max()].mean(dim=0)))(scores, values)
        return warm(scores, values, temperature)

    return soft_lookup


def right(scores, values, temperature):
    return torch.softmax(scores / temperature, dim=0) @ values


def unstable(scores, values, temperature):
    powers = torch.exp(scores / temperature)
    return powers / powers.sum() @ values


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (looked_up(lambda s, v, t: torch.softmax(s * t, 0) @ v), "multiplied", "divide"),
        (looked_up(lambda s, v, t: torch.softmax(s, 0) @ v), "temperature-ignored", "0.5"),
        (
            lambda q, k, v, t: torch.softmax(k @ q / max(t, 1e-9) / math.sqrt(len(q)), 0) @ v,
            "scaled-twice",
            "√d_k",
        ),
        (looked_up(lambda s, v, t: torch.exp(s / t) @ v), "not-normalised", "sum to 1"),
        (looked_up(lambda s, v, t: s / t @ v), "no-softmax", "softmax"),
        (looked_up(lambda s, v, t: torch.softmax(s / t, 0)), "weights", "weighted by them"),
        (looked_up(lambda s, v, t: v[s.argmax()]), "hard", "have a say"),
        (looked_up(lambda s, v, t: v.mean(0)), "mean", "query"),
        (looked_up(lambda s, v, t: v.sum(0)), "value", "T = 1.0"),
        (looked_up(lambda s, v, t: (torch.softmax(s / t, 0) @ v).sum()), "shape", "()"),
        (looked_up(right, lambda s, v: right(s, v, 0)), "divided-by-zero", "T = 0"),
        (looked_up(right, lambda s, v: v[s.argmax()]), "tie", "one half"),
        (looked_up(right, lambda s, v: v[s == s.max()].sum(0)), "tie-summed", "average"),
        (looked_up(right, lambda s, v: v.mean(0)), "mean", "best entry"),
        (looked_up(right, lambda s, v: right(s, v, 1)), "not-the-limit", "T = 1"),
        (looked_up(right, lambda s, v: v[s == s.max()]), "shape", "(1, 2)"),
        (looked_up(unstable), "overflow", "infinite"),
        (looked_up(lambda s, v, t: right(s, v, t) + (t < 0.01)), "value", "T = 0.001"),
        (lambda query, keys, values: values[0], "exception", "TypeError"),
    ],
)
def test_soft_lookup_rejects(answer, misconception, word):
    rejected("01.3", answer, misconception, word)


def by_tiny_temperature(query, keys, values, temperature):
    return torch.softmax(keys.double() @ query.double() / max(temperature, 1e-9), dim=0) @ values.double()


def by_loop(query, keys, values, temperature, verbose=False):
    scores = [sum(q * k for q, k in zip(query.tolist(), key, strict=True)) for key in keys.tolist()]
    best = max(scores)
    if temperature == 0:
        counts = [float(score == best) for score in scores]
    else:
        counts = [math.exp((score - best) / temperature) for score in scores]
    columns = zip(*values.tolist(), strict=True)
    return [sum(c * v for c, v in zip(counts, column, strict=True)) / sum(counts) for column in columns]


def by_torch_attention(query, keys, values, temperature):
    scale = 1e9 if temperature == 0 else 1 / temperature
    parts = (part.double()[None, None] for part in (query[None], keys, values))
    return F.scaled_dot_product_attention(*parts, scale=scale)[0, 0, 0]


@pytest.mark.parametrize(
    "answer",
    [looked_up(right), by_tiny_temperature, by_loop, by_torch_attention, lambda *a: looked_up(right)(*a).numpy()],
)
def test_soft_lookup_accepts(answer):
    accepted("01.3", answer)


def test_soft_lookup_of_the_text():
    lookup, entries = EXERCISES["01.3"].reference, (torch.eye(2), torch.tensor([[10.0], [20.0]]))
    assert float(lookup(torch.tensor([1.0, 0]), *entries, 1.0)) == pytest.approx(12.69, abs=5e-3)
    assert [float(lookup(torch.tensor([1.0, 0]), *entries, 0)), float(lookup(torch.zeros(2), *entries, 0))] == [10, 15]


# --- 01.4 ---------------------------------------------------------------------------------------------------


def steps(**changed):
    return {**STEPS, **{name.replace("_", " "): value for name, value in changed.items()}}


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (steps(RNN_reads=1), "parallel", "the one before"),
        (steps(RNN_reads=999), "off-by-one", "first token"),
        (steps(attention_reads=1000), "sequential", "together"),
        (steps(attention_reads=1_000_000), "work", "waits"),
        (steps(RNN_path=1000), "off-by-one", "999"),
        (steps(RNN_path=1), "direct", "RNN"),
        (steps(convolution_layers=1), "direct", "two tokens"),
        (steps(convolution_layers=999), "one-a-layer", "two places"),
        (steps(convolution_layers=499), "rounded-down", "one place is left"),
        (steps(convolution_layers=499.5), "rounded-down", "half a layer"),
        (steps(convolution_layers=200), "window", "one side"),
        (steps(attention_generates=1), "parallel", "chosen"),
        (steps(attention_generates=999), "off-by-one", "first word"),
        (steps(scores=1000), "one-query", "1,000 keys"),
        (steps(scores=500_500), "causal", "mask"),
        (steps(scores=499_500), "unordered", "itself"),
        (steps(scores=999_000), "not-itself", "itself"),
        (steps(scores=7), "value", "`scores`"),
        (steps(scores=...), "not-finished", "`scores`"),
        (steps(scores=True), "wrong-type", "bool"),
        ({"RNN reads": 1000}, "missing", "`attention reads`"),
        (1000, "wrong-type", "dictionary"),
    ],
)
def test_steps_rejects(answer, misconception, word):
    rejected("01.4", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        steps(),
        steps(scores=1e6, convolution_layers=math.ceil(999 / 2)),
        {name: torch.tensor(count) for name, count in STEPS.items()},
    ],
)
def test_steps_accepts(answer):
    accepted("01.4", answer)


def test_steps_blank():
    assert judge("01.4", dict.fromkeys(STEPS, ...)).misconception == NOT_ATTEMPTED


def test_steps_of_a_convolution_by_trying():
    reach = torch.zeros(1, 1, 1000)
    reach[..., 0] = 1
    layers = 0
    while not reach[..., -1]:
        reach, layers = (F.conv1d(reach, torch.ones(1, 1, 5), padding=2) > 0).float(), layers + 1
    assert layers == STEPS["convolution layers"]


# --- 01.5 ---------------------------------------------------------------------------------------------------


def aligned(**changed):
    return {**ALIGNED, **changed}


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (aligned(carottes="green", vertes="carrots"), "in-order", "colour"),
        (aligned(nous=1, vendons=2, mes=3, carottes=5, vertes=4), "from-one", "count from 0"),
        (aligned(mes="we"), "value", "'mes'"),
        (aligned(vertes=9), "value", "9"),
        (aligned(nous="they"), "unknown-word", "'they'"),
        (aligned(crossings=0), "no-crossing", "changed places"),
        (aligned(crossings=2), "twice", "pairs"),
        (aligned(crossings=5), "crossings", "draw"),
        (aligned(crossings=...), "not-finished", "`crossings`"),
        ({"nous": "we"}, "missing", "`vendons`"),
        (["we"], "wrong-type", "dictionary"),
    ],
)
def test_alignment_rejects(answer, misconception, word):
    rejected("01.5", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        aligned(),
        {"nous": 0, "vendons": 1, "mes": 2, "carottes": 4, "vertes": 3, "crossings": 1},
        aligned(nous="We", carottes=" carrots.", vertes=np.int64(3), crossings=torch.tensor(1)),
    ],
)
def test_alignment_accepts(answer):
    accepted("01.5", answer)


def test_alignment_blank():
    assert judge("01.5", dict.fromkeys(ALIGNED, ...)).misconception == NOT_ATTEMPTED


def test_alignment_is_that_of_the_grammar():
    green = lexicon.ADJECTIVES["green"]
    carrots = NounPhrase(lexicon.NOUNS["carrot"], "my", plural=True, adjectives=(green,))
    pair = grammar.translate(Sentence(Clause(lexicon.PRONOUNS["we"], lexicon.VERBS["sell"], carrots)))
    links = {(pair.source[i], pair.target[j]) for i, j in pair.alignment}
    assert links - {(".", ".")} == {(word, french) for french, word in ALIGNED.items() if french != "crossings"}
