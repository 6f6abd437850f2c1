"""Exercises of notebook 13: planted mistakes get their own message, unusual right answers pass."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from course_lib.exercises import NOT_ATTEMPTED, judge
from tests.judged import accepted, rejected

LN2, LN3, LN5 = math.log(2), math.log(3), math.log(5)


# 13.1 softmax by hand


def by_hand(function, **changed):
    logits = {"two": [0, LN3], "three": [0, LN2, LN5], "shifted": [1000, 1000 + LN3]}
    return {key: function(torch.tensor(z, dtype=torch.float64)).tolist() for key, z in logits.items()} | changed


def softmax(z):
    return z.softmax(0)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (by_hand(lambda z: z / z.sum()), "no-exponential", "exponential of each one first"),
        (by_hand(lambda z: 2 ** (z - z.min()) / (2 ** (z - z.min())).sum()), "base-2", "exp(ln 3) = 3"),
        (by_hand(lambda z: (z - z.min()).exp()), "not-normalised", "adds up to 1"),
        (by_hand(lambda z: 100 * z.softmax(0)), "percent", "per cent"),
        (by_hand(torch.sigmoid), "sigmoid-each", "shares out 1"),
        (by_hand(lambda z: z.softmax(0).flip(0)), "order", "wrong places"),
        (by_hand(softmax, three=[0.1, 0.2, 0.7]), "value", "check each exp(z)"),
        (by_hand(softmax, shifted=[0, 1]), "shift", "only differences count"),
        (by_hand(softmax, shifted=[0.4997, 0.5003]), "no-exponential", "`shifted`"),
        (by_hand(softmax, shifted=[0.5, 0.5]), "shift", "cancels"),
        (by_hand(softmax, shifted=[math.nan, math.nan]), "overflow", "exp(1000) overflows"),
        (by_hand(softmax, three=[1 / 8, 7 / 8]), "shape", "(2,) instead of (3,)"),
        (by_hand(softmax, three=[0.125, ..., ...]), "not-finished", "not filled in yet"),
        ({"two": [0.25, 0.75]}, "not-finished", "'three'"),
        ([0.25, 0.75], "wrong-type", "dictionary"),
    ],
)
def test_softmax_by_hand_rejects(answer, misconception, word):
    assert word in rejected("13.1", answer, misconception)


@pytest.mark.parametrize(
    "answer",
    [
        by_hand(softmax),
        by_hand(softmax, three=np.array([1, 2, 5]) / 8),
        {"two": (0.25, 0.75), "three": torch.tensor([1, 2, 5]) / 8, "shifted": [Fraction(1, 4), 3 / 4]},
    ],
)
def test_softmax_by_hand_accepts(answer):
    accepted("13.1", answer)


# 13.2 num_labels


def stars(**changed):
    right = {
        "weight_shape": (5, 384),
        "logits_shape": (7, 5),
        "new_parameters": 1925,
        "blind_probability": 0.2,
        "single_label_probability": 1.0,
    }
    return right | changed


@pytest.mark.parametrize(
    ("changed", "misconception"),
    [
        ({"weight_shape": (384, 5)}, "transposed"),
        ({"weight_shape": (2, 384)}, "default"),
        ({"weight_shape": (5, 768)}, "shape"),
        ({"weight_shape": "5 x 384"}, "wrong-type"),
        ({"weight_shape": 1920}, "wrong-type"),
        ({"logits_shape": (5, 7)}, "transposed"),
        ({"logits_shape": (7, 2)}, "default"),
        ({"logits_shape": (7, 384)}, "pooled"),
        ({"logits_shape": [1, 5]}, "one-review"),
        ({"new_parameters": 1920}, "no-bias"),
        ({"new_parameters": 770}, "default"),
        ({"new_parameters": 384}, "one-row"),
        ({"new_parameters": 22_700_000}, "value"),
        ({"blind_probability": 0.5}, "two-classes"),
        ({"blind_probability": 0}, "zero"),
        ({"single_label_probability": 0.5}, "sigmoid"),
        ({"single_label_probability": 0.0}, "zero"),
        ({"single_label_probability": ...}, "not-finished"),
    ],
)
def test_num_labels_rejects(changed, misconception):
    rejected("13.2", stars(**changed), misconception)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"weight_shape": torch.Size([5, 384]), "logits_shape": [7, 5], "new_parameters": 1925.0},
        {"weight_shape": torch.nn.Linear(384, 5).weight.shape, "blind_probability": Fraction(1, 5)},
        {"blind_probability": torch.zeros(5).softmax(0)[3], "single_label_probability": 1},
    ],
)
def test_num_labels_accepts(changed):
    accepted("13.2", stars(**changed))


def test_a_partly_filled_table_is_not_blank():
    assert judge("13.2", dict.fromkeys(stars(), ...)).misconception == NOT_ATTEMPTED
    rejected("13.2", dict.fromkeys(stars(), ...) | {"weight_shape": (5, 384)}, "not-finished")


# 13.3 which keys are new?


def differences(model, checkpoint):
    return set(model) - set(checkpoint), set(checkpoint) - set(model)


def bare(keys):
    return {key.removeprefix("bert.") for key in keys}


def removes_from_its_input(model, checkpoint):
    missing, unexpected = differences(bare(model), bare(checkpoint))
    model.clear()
    return missing, unexpected


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (differences, "prefix", "whole body counts as missing"),
        (lambda m, c: differences(bare(c), bare(m)), "swapped", "exchanged"),
        (lambda m, c: (bare(m) ^ bare(c), bare(m) ^ bare(c)), "symmetric", "goes one way only"),
        (lambda m, c: (bare(m) & bare(c), bare(c) - bare(m)), "intersection", "those are loaded"),
        (lambda m, c: (bare(m) - bare(c), set()), "unexpected", "`cls.predictions.bias`"),
        (lambda m, c: (bare(m) - bare(c), bare(c)), "unexpected", "should be"),
        (lambda m, c: ({"classifier.weight"}, bare(c) - bare(m)), "missing", "`classifier.bias`"),
        (lambda m, c: ({"classifier.weight", "classifier.bias"}, bare(c) - bare(m)), "missing", "pooler"),
        (lambda m, c: bare(m) - bare(c), "wrong-type", "no order"),
        (lambda m, c: "classifier.weight", "wrong-type", "two collections"),
        (lambda m, c: (2, 0), "wrong-type", "two collections"),
        (removes_from_its_input, "in-place", "work on copies"),
    ],
)
def test_load_report_rejects(answer, misconception, word):
    assert word in rejected("13.3", answer, misconception)


def by_loops(model_keys, checkpoint_keys, prefix="bert."):
    def stripped(key):
        return key[len(prefix) :] if key.startswith(prefix) else key

    missing = [key for key in model_keys if stripped(key) not in [stripped(other) for other in checkpoint_keys]]
    unexpected = [key for key in checkpoint_keys if stripped(key) not in [stripped(other) for other in model_keys]]
    return [missing, unexpected]


def with_the_prefix_put_on(model_keys, checkpoint_keys):
    if not any(key.startswith("bert.") for key in checkpoint_keys):
        checkpoint_keys = ["bert." + key for key in checkpoint_keys]
    missing, unexpected = differences(model_keys, checkpoint_keys)
    return sorted(missing), frozenset(unexpected)


@pytest.mark.parametrize("answer", [by_loops, with_the_prefix_put_on])
def test_load_report_accepts(answer):
    accepted("13.3", answer)


# 13.4 cross-entropy


def picked(p, labels):
    return p[torch.arange(len(labels)), labels]


def log_of_softmax(z, y):
    exps = z.exp()
    return -picked(exps / exps.sum(1, keepdim=True), y).log().mean()


def writes_into_logits(z, y):
    z -= z.amax(1, keepdim=True)
    return F.cross_entropy(z, y)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda z, y: F.cross_entropy(z.softmax(1), y), "double-softmax", "twice"),
        (lambda z, y: F.nll_loss(z, y), "no-softmax", "log Σ exp"),
        (lambda z, y: F.cross_entropy(z, y, reduction="sum"), "sum", "the loss is the mean"),
        (lambda z, y: -F.cross_entropy(z, y), "sign", "-log p"),
        (lambda z, y: F.cross_entropy(z, y) / LN2, "base-2", "bits"),
        (lambda z, y: -z.softmax(1).amax(1).log().mean(), "argmax", "its label"),
        (lambda z, y: -picked(z.softmax(0), y).log().mean(), "wrong-axis", "dim=1"),
        (lambda z, y: -picked(z.softmax(1), y).mean().log(), "log-of-mean", "the mean after"),
        (lambda z, y: 1 - picked(z.softmax(1), y).mean(), "no-logarithm", "1 - p"),
        (lambda z, y: F.cross_entropy(z, y, reduction="none"), "per-answer", "their mean"),
        (log_of_softmax, "overflow", "torch.logsumexp"),
        (lambda z, y: -picked(z.softmax(1), y).log().mean(), "overflow", "torch.logsumexp"),
        (lambda z, y: F.mse_loss(z.softmax(1), F.one_hot(y, z.shape[1]).float()), "value", "mean of -log p"),
        (writes_into_logits, "in-place", "input 1"),
    ],
)
def test_loss_rejects(answer, misconception, word):
    assert word in rejected("13.4", answer, misconception)


def in_plain_python(logits, labels, reduction="mean"):
    losses = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        highest = max(row)
        losses.append(highest + math.log(sum(math.exp(z - highest) for z in row)) - row[label])
    return sum(losses) / len(losses)


def as_one_hot(logits, labels):
    return -(F.log_softmax(logits.double(), -1) * F.one_hot(labels, logits.shape[1])).sum() / len(labels)


def in_numpy(logits, labels):
    z = logits.numpy() - logits.numpy().max(axis=1, keepdims=True)
    return (np.log(np.exp(z).sum(1)) - np.take_along_axis(z, labels.numpy()[:, None], 1)[:, 0]).mean()


@pytest.mark.parametrize("answer", [in_plain_python, as_one_hot, in_numpy, F.cross_entropy])
def test_loss_accepts(answer):
    accepted("13.4", answer)


# 13.5 temperature


def searched(logits, labels, among=None, score=None, best=min):
    among = torch.logspace(-1.3, 1.5, 400).tolist() if among is None else among
    score = score or (lambda z: F.cross_entropy(z, labels).item())
    return best(among, key=lambda temperature: score(logits / temperature))


def accuracy_first(z, y):
    return searched(z, y, [1.0, 0.5, 2.0, 3.0], lambda scaled: (scaled.argmax(1) == y).float().mean().item(), max)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda z, y: 1 / searched(z, y), "inverse", "divided by T"),
        (lambda z, y: math.log(searched(z, y)), "logarithm", "T itself"),
        (accuracy_first, "accuracy", "no T changes it"),
        (lambda z, y: searched(z, y, score=lambda s: s.softmax(1).amax(1).mean(), best=max), "sharpest", "confident"),
        (lambda z, y: searched(z, y, best=min, score=lambda s: s.softmax(1).amax(1).mean()), "flattest", "equally"),
        (lambda z, y: -searched(z, y), "not-positive", "positive"),
        (lambda z, y: 0, "not-positive", "positive"),
        (lambda z, y: 1.5 * searched(z, y), "value", "small enough steps"),
        (lambda z, y: (2.0, 0.4), "wrong-type", "number"),
    ],
)
def test_temperature_rejects(answer, misconception, word):
    assert word in rejected("13.5", answer, misconception)


def by_newton(logits, labels):
    """Newton's method on the inverse temperature, in which the loss is convex."""
    z, inverse = logits.double(), 0.1
    for _ in range(30):
        p = (z * inverse).softmax(1)
        mean = (p * z).sum(1)
        slope = (mean - picked(z, labels)).mean()
        curvature = ((p * z**2).sum(1) - mean**2).mean()
        inverse = max(float(inverse - slope / curvature), inverse / 2)
    return torch.tensor([1 / inverse])


def in_coarse_numpy(logits, labels, steps=80):
    z, y = logits.numpy(), labels.numpy()

    def loss(temperature):
        scaled = z / temperature - z.max(axis=1, keepdims=True) / temperature
        return np.mean(np.log(np.exp(scaled).sum(1)) - scaled[np.arange(len(y)), y])

    return min(np.geomspace(0.05, 20, steps), key=loss)


@pytest.mark.parametrize("answer", [by_newton, in_coarse_numpy, searched])
def test_temperature_accepts(answer):
    accepted("13.5", answer)


# 13.6 calibration error


def binned(confidence, correct, num_bins, keep_one=True):
    """(share, mean confidence, accuracy) of each bin that is not empty."""
    rows = []
    for index in range(num_bins):
        low, high = index / num_bins, (index + 1) / num_bins
        inside = (confidence > low) & (confidence <= high if keep_one else (confidence < high))
        if inside.any():
            share = inside.double().mean()
            rows.append(torch.stack([share, confidence[inside].double().mean(), correct[inside].double().mean()]))
    return torch.stack(rows).unbind(1)


def from_bins(formula, **options):
    def answer(confidence, correct, num_bins=10):
        return formula(*binned(confidence, correct, num_bins, **options), num_bins)

    return answer


def with_empty_bins(confidence, correct, num_bins=10):
    total = 0.0
    for index in range(num_bins):
        inside = (confidence > index / num_bins) & (confidence <= (index + 1) / num_bins)
        total += inside.double().mean() * (confidence[inside].mean() - correct[inside].double().mean()).abs()
    return total


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (from_bins(lambda s, c, a, n: (c - a).abs().mean()), "unweighted", "share of the answers"),
        (from_bins(lambda s, c, a, n: (c - a).abs().sum() / n), "unweighted", "share of the answers"),
        (from_bins(lambda s, c, a, n: (c - a).abs().sum()), "unweighted", "share of the answers"),
        (from_bins(lambda s, c, a, n: (c - a).abs().max()), "maximum", "largest gap"),
        (from_bins(lambda s, c, a, n: (s * (c - a)).sum()), "signed", "absolute value"),
        (from_bins(lambda s, c, a, n: (s * (a - c)).sum()), "signed", "absolute value"),
        (lambda c, k, n=10: (c.mean() - k.float().mean()).abs(), ("signed", "one-bin"), ""),
        (from_bins(lambda s, c, a, n: (s * (c - a) ** 2).sum()), "squared", "squared"),
        (from_bins(lambda s, c, a, n: (s * (c - a) ** 2).sum().sqrt()), "squared", "squared"),
        (from_bins(lambda s, c, a, n: (s * (c - a).abs()).sum(), keep_one=False), "last-edge", "exactly 1"),
        (with_empty_bins, "empty-bins", "Skip them"),
        (lambda c, k, n=10: c.mean(), "value", "calibration error is"),
        (lambda c, k, n=10: binned(c, k, 10)[0], "wrong-type", "one number"),
    ],
)
def test_calibration_error_rejects(answer, misconception, word):
    verdict = judge("13.6", answer)
    names = misconception if isinstance(misconception, tuple) else (misconception,)
    assert not verdict.passed and verdict.misconception in names, verdict.message
    assert word in verdict.message


def by_counting(confidence, correct, num_bins=10, verbose=False):
    sums = {}
    for c, right in zip(confidence.tolist(), correct.tolist(), strict=True):
        sums.setdefault(min(int(c * num_bins), num_bins - 1), []).append(c - right)
    return sum(abs(sum(gaps)) for gaps in sums.values()) / len(confidence)


def by_digitize(confidence, correct, num_bins=10):
    confidence, correct = confidence.double().numpy(), correct.numpy()
    index = np.digitize(confidence, np.linspace(0, 1, num_bins + 1)[1:-1], right=True)
    return np.mean([abs(np.mean((confidence - correct)[index == at])) for at in index])


@pytest.mark.parametrize(
    "answer", [by_counting, by_digitize, from_bins(lambda s, c, a, n: (s * (c - a).abs()).sum().float())]
)
def test_calibration_error_accepts(answer):
    accepted("13.6", answer)


# 13.7 two rows or one


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda w, b: (w[1], b[1]), "one-class", "difference to class 0"),
        (lambda w, b: (w[0] - w[1], b[0] - b[1]), "other-class", "row 1 minus row 0"),
        (lambda w, b: (w[1] - w[0], 0.0), "bias", "bias is the difference"),
        (lambda w, b: (w[1] - w[0], b[1]), "bias", "bias is the difference"),
        (lambda w, b: ((w[1] - w[0]) / 2, (b[1] - b[0]) / 2), "half", "whole difference"),
        (lambda w, b: (w.sum(0), b.sum()), "sum", "only their difference"),
        (lambda w, b: (w.mean(0), b.mean()), "value", "for every h"),
        (lambda w, b: (w, b), "shape", "hidden size of 3"),
        (lambda w, b: (w[1] - w[0], b), "wrong-type", "the bias"),
        (lambda w, b: w[1] - w[0], "wrong-type", "two things"),
    ],
)
def test_one_row_rejects(answer, misconception, word):
    assert word in rejected("13.7", answer, misconception)


def as_a_matrix_product(weight, bias, positive=1):
    contrast = torch.tensor([[-1.0, 1.0]], dtype=weight.dtype)
    return contrast @ weight, contrast @ bias


def in_lists(weight, bias):
    return [one - zero for zero, one in zip(*weight.tolist(), strict=True)], float(bias[1] - bias[0])


@pytest.mark.parametrize("answer", [as_a_matrix_product, in_lists])
def test_one_row_accepts(answer):
    accepted("13.7", answer)


# blank stubs, as they stand in the notebook


def negative_log_likelihood(logits, labels):
    """[batch, num_labels], [batch] -> the mean of -log p[label]"""
    ...


def expected_calibration_error(confidence, correct, num_bins=10):
    """[n], [n] -> one number"""
    ...


@pytest.mark.parametrize(
    ("id", "stub"),
    [
        ("13.1", {"two": [..., ...], "three": [..., ..., ...], "shifted": [..., ...]}),
        ("13.2", dict.fromkeys(stars(), ...)),
        ("13.3", lambda model_keys, checkpoint_keys: ...),
        ("13.4", negative_log_likelihood),
        ("13.5", lambda logits, labels: ...),
        ("13.6", expected_calibration_error),
        ("13.7", lambda weight, bias: ...),
    ],
)
def test_blank_stub(id, stub):
    assert judge(id, stub).misconception == NOT_ATTEMPTED
