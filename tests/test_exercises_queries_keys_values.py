"""Exercises of notebook 02: planted mistakes get their own message, unusual right answers pass."""

import copy
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, judge
from tests.judged import accepted, rejected

RIGHT_NUMBERS = EXERCISES["02.1"].reference


def numbers(**changed):
    return {**copy.deepcopy(RIGHT_NUMBERS), **changed}


# --- 02.1 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (numbers(scores=[0, -2 * math.log(2), 2 * math.log(2)]), "units", "multiples of ln 2"),
        (numbers(scores=[4, 1, 5]), "sum-of-key", "multiply"),
        (numbers(scores=[0, -1, 1]), "scaled-too-early", "divided by 2 already"),
        (numbers(scores=[0, 2, 2]), "value", "`reads`"),
        (numbers(scaled=[0, -2, 2]), "not-scaled", "divide them by √d_k"),
        (numbers(scaled=[0, -0.5, 0.5]), "divided-by-d_k", "square root"),
        (numbers(scaled=[0, -2 / math.sqrt(3), 2 / math.sqrt(3)]), "number-of-keys", "√3"),
        (numbers(weights=[1, 0.5, 2]), "not-normalised", "7/2"),
        (numbers(weights=[4 / 21, 1 / 21, 16 / 21]), "not-scaled", "unscaled"),
        (numbers(weights=[0.2447, 0.0900, 0.6652]), "base-e", "2^m"),
        (numbers(output=[7, 17.5, 35]), "not-normalised", "sum to 1"),
        (numbers(output=[6, 1, 9]), "rows-for-columns", "whole values"),
        (numbers(output=[7 / 3, 14 / 3, 7]), "plain-average", "plain average"),
        (numbers(output=[0, 7, 14]), "hard-lookup", "mixes"),
        (numbers(output=[2, 5, 11]), "value", "number 3"),
        (numbers(weights=[2 / 7, ..., 4 / 7]), "not-finished", "`weights`"),
        (numbers(output=...), "not-finished", "`output`"),
        (numbers(output=[2, 5]), "shape", "(2,)"),
        ({"scores": [0, -2, 2]}, "missing", "`scaled`"),
        ([0, -2, 2], "wrong-type", "dictionary"),
    ],
)
def test_twelve_numbers_rejects(answer, misconception, word):
    rejected("02.1", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        numbers(weights=[0.29, 0.14, 0.57]),
        {name: np.array([float(x) for x in row]) for name, row in RIGHT_NUMBERS.items()},
        numbers(scaled=(Fraction(0), Fraction(-1), Fraction(1)), output=torch.tensor([2, 5, 10])),
    ],
)
def test_twelve_numbers_accepts(answer):
    accepted("02.1", answer)


def test_twelve_numbers_blank():
    blank = {name: [..., ..., ...] for name in RIGHT_NUMBERS}
    assert judge("02.1", blank).misconception == NOT_ATTEMPTED


def test_twelve_numbers_are_attention():
    """The hand-made row against torch."""
    q = math.log(2) * torch.tensor([[1, -1, 2, 0]], dtype=torch.float64)
    k = torch.tensor([[2, 0, -1, 3], [1, 1, -1, 0], [0, 2, 2, 1]], dtype=torch.float64)
    v = torch.tensor([[7, 0, 7], [0, 7, 0], [0, 7, 14]], dtype=torch.float64)
    output = F.scaled_dot_product_attention(q, k, v)[0]
    torch.testing.assert_close(output, torch.tensor(RIGHT_NUMBERS["output"], dtype=torch.float64))


# --- 02.2 ---------------------------------------------------------------------------------------------------


def without_keepdim(scores, dim=-1):
    exps = torch.exp(scores - scores.amax(dim, keepdim=True))
    return exps / exps.sum(dim)


def maximum_without_keepdim(scores, dim=-1):
    exps = torch.exp(scores - scores.amax(dim))
    return exps / exps.sum(dim, keepdim=True)


def of_the_mean(scores, dim=-1):
    exps = torch.exp(scores - scores.mean())
    return exps / exps.sum(dim, keepdim=True)


def minus_global_maximum(scores, dim=-1):
    exps = torch.exp(scores - scores.max())
    return exps / exps.sum(dim, keepdim=True)


def in_place_softmax(scores, dim=-1):
    scores -= scores.amax(dim, keepdim=True)
    return torch.softmax(scores, dim)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda s, dim=-1: s.exp() / s.exp().sum(dim, keepdim=True), "overflow", "exp(1000)"),
        (lambda s, dim=-1: torch.softmax(s, 0), "wrong-axis", "axis 0"),
        (lambda s, dim=-1: torch.softmax(s, -1), "wrong-axis", "dim=0"),
        (lambda s, dim=-1: torch.exp(s), "not-normalised", "divide"),
        (lambda s, dim=-1: s.exp() / s.exp().sum(), "sum-of-everything", "each row"),
        (lambda s, dim=-1: torch.log_softmax(s, dim), "logarithm", "logarithm"),
        (lambda s, dim=-1: s / s.sum(dim, keepdim=True), "value", "not the softmax"),
        (lambda s, dim=-1: torch.softmax(s.clamp(max=80), dim), "value", "1000"),
        (without_keepdim, "keepdim", "keepdim"),
        (maximum_without_keepdim, "keepdim", "keepdim"),
        (minus_global_maximum, "global-maximum", "own largest"),
        (in_place_softmax, "in-place", "copy"),
    ],
)
def test_softmax_rejects(answer, misconception, word):
    rejected("02.2", answer, misconception, word)


def softmax_in_plain_python(scores, dim=-1, verbose=False):
    def row(numbers):
        largest = max(numbers)
        powers = [math.exp(number - largest) for number in numbers]
        return [power / sum(powers) for power in powers]

    return np.apply_along_axis(lambda numbers: np.array(row(list(numbers))), dim, np.asarray(scores))


@pytest.mark.parametrize(
    "answer",
    [
        softmax_in_plain_python,
        lambda scores, dim: torch.exp(scores - torch.logsumexp(scores, dim, keepdim=True)),
        lambda x, axis: F.softmax(x.to(torch.float64), dim=axis).numpy(),
        lambda s, dim=-1: (lambda e: e / (e.sum(dim, keepdim=True) + 1e-9))(
            (s - s.max(dim, keepdim=True).values).exp()
        ),
    ],
)
def test_softmax_accepts(answer):
    accepted("02.2", answer)


# --- 02.3 ---------------------------------------------------------------------------------------------------


def attention_with(divider=lambda q, k, v: math.sqrt(q.shape[-1]), axis=-1, mix=lambda w, k, v: w @ v):
    def attention(q, k, v):
        weights = torch.softmax(q @ k.transpose(-2, -1) / divider(q, k, v), axis)
        return mix(weights, k, v), weights

    return attention


def naive_attention(q, k, v):
    exps = torch.exp(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]))
    weights = exps / exps.sum(-1, keepdim=True)
    return weights @ v, weights


def matrices_only(q, k, v):
    weights = torch.softmax(q @ k.permute(*reversed(range(k.dim()))) / math.sqrt(q.shape[-1]), -1)
    return weights @ v, weights


def mixes_with_scores(q, k, v):
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    return scores @ v, torch.softmax(scores, -1)


def scales_in_place(q, k, v):
    q /= math.sqrt(q.shape[-1])
    return attention_with(lambda *_: 1)(q, k, v)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (attention_with(lambda q, k, v: 1), "not-scaled", "√d_k"),
        (attention_with(lambda q, k, v: q.shape[-1]), "divided-by-d_k", "square root"),
        (attention_with(lambda q, k, v: math.sqrt(k.shape[-2])), "root-of-key-length", "number of keys"),
        (attention_with(lambda q, k, v: math.sqrt(q.shape[-2])), "root-of-query-length", "number of queries"),
        (attention_with(lambda q, k, v: math.sqrt(v.shape[-1])), "root-of-d_v", "√d_v"),
        (attention_with(lambda q, k, v: 1 / math.sqrt(q.shape[-1])), "multiplied", "divide"),
        (attention_with(axis=-2), "softmax-axis", "softmax runs over the keys, the last axis"),
        (attention_with(axis=1), "softmax-axis", "softmax runs over the keys, the last axis"),
        (attention_with(mix=lambda w, k, v: w @ k), "keys-for-values", "sum of values"),
        (lambda q, k, v: (q @ k.mT / math.sqrt(5) @ v, q @ k.mT / math.sqrt(5)), "no-softmax", "softmax turns them"),
        (lambda q, k, v: attention_with()(q, k, v)[0], "return-both", "output, weights"),
        (lambda q, k, v: attention_with()(q, k, v)[::-1], "swapped", "swapped"),
        (lambda q, k, v: (F.scaled_dot_product_attention(q, k, v), torch.sigmoid(q @ k.mT / 5**0.5)), "sigmoid", "1"),
        (mixes_with_scores, "output-of-scores", "use the weights"),
        (matrices_only, "batch-axes", "k.transpose(-2, -1)"),
        (naive_attention, "overflow", "largest score"),
        (scales_in_place, "in-place", "copy"),
        (lambda q, k, v: (q @ k @ v, q), "exception", "RuntimeError"),
    ],
)
def test_attention_rejects(answer, misconception, word):
    rejected("02.3", answer, misconception, word)


def attention_by_loops(q, k, v, mask=None, dropout_p=0.0):
    if q.dim() > 2:
        parts = [attention_by_loops(*one) for one in zip(q, k, v, strict=True)]
        return torch.stack([part[0] for part in parts]), torch.stack([part[1] for part in parts])
    weights = torch.zeros(len(q), len(k), dtype=torch.float64)
    for i in range(len(q)):
        scores = [sum(a * b for a, b in zip(q[i].tolist(), row, strict=True)) / len(q[i]) ** 0.5 for row in k.tolist()]
        largest = max(scores)
        exps = [math.exp(score - largest) for score in scores]
        weights[i] = torch.tensor([e / sum(exps) for e in exps])
    return weights @ v.double(), weights


def attention_by_einsum(queries, keys, values):
    scores = torch.einsum("...qd,...kd->...qk", queries, keys) * keys.size(-1) ** -0.5
    weights = scores.softmax(-1)
    return [torch.einsum("...qk,...kv->...qv", weights, values), weights]


def attention_in_numpy(q, k, v):
    q, k, v = (np.asarray(x, dtype=np.float64) for x in (q, k, v))
    scores = q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1])
    exps = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights = exps / exps.sum(axis=-1, keepdims=True)
    return weights @ v, weights


@pytest.mark.parametrize("answer", [attention_by_loops, attention_by_einsum, attention_in_numpy])
def test_attention_accepts(answer):
    accepted("02.3", answer)


# --- 02.4 and 02.5 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda n: torch.ones(n, n).triu().bool(), "transposed", "upper triangle"),
        (lambda n: torch.ones(n, n).tril(-1).bool(), "without-diagonal", "diagonal"),
        (lambda n: torch.ones(n, n).triu(1).bool(), "inverted", "may attend"),
        (lambda n: torch.ones(n, n).tril(), "not-boolean", "booleans"),
        (lambda n: np.tril(np.ones((n, n), dtype=int)), "not-boolean", "-2"),
        (lambda n: torch.full((n, n), -math.inf).triu(1), "additive", "additive"),
        (lambda n: torch.ones(n, n).tril(1).bool(), "value", "of 25 places 4"),
        (lambda n: torch.ones(n).bool(), "shape", "(5,)"),
        (lambda n: torch.ones(5, 5).tril().bool(), "shape", "(1, 1)"),
    ],
)
def test_causal_mask_rejects(answer, misconception, word):
    rejected("02.4", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        lambda n: [[j <= i for j in range(n)] for i in range(n)],
        lambda n, device=None: np.tri(n, dtype=bool),
        lambda n: torch.arange(n) <= torch.arange(n)[:, None],
    ],
)
def test_causal_mask_accepts(answer):
    accepted("02.4", answer)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda lengths, n: torch.arange(n) < lengths[:, None], "no-query-axis", "(5, 1, 7)"),
        (lambda lengths, n: (torch.arange(n) < lengths[:, None])[:, :, None], "masks-queries", "as a query"),
        (lambda lengths, n: torch.arange(n) >= lengths[:, None, None], "inverted", "may attend"),
        (lambda lengths, n: torch.arange(n) <= lengths[:, None, None], "one-too-many", "length - 1"),
        (lambda lengths, n: torch.arange(n) < lengths[:, None, None] - 1, "one-too-few", "last real token"),
        (lambda lengths, n: torch.arange(n) >= n - lengths[:, None, None], "left-padding", "at the end"),
        (lambda lengths, n: torch.arange(int(lengths.max())) < lengths[:, None, None], "ignores-n", "n=5"),
        (lambda lengths, n: (torch.arange(n) < lengths[:, None, None]).float(), "not-boolean", "booleans"),
        (lambda lengths, n: torch.ones(len(lengths), 1, n).bool(), "value", "places"),
        (lambda lengths, n: torch.arange(n) < lengths, "exception", "RuntimeError"),
    ],
)
def test_padding_mask_rejects(answer, misconception, word):
    rejected("02.5", answer, misconception, word)


def padding_mask_by_filling(lengths, n, device="cpu"):
    mask = torch.zeros(len(lengths), 1, n, dtype=torch.bool, device=device)
    for row, length in enumerate(lengths):
        mask[row, 0, :length] = True
    return mask


@pytest.mark.parametrize(
    "answer",
    [
        padding_mask_by_filling,
        lambda lengths, n: [[[j < length for j in range(n)]] for length in lengths.tolist()],
        lambda lengths, n: np.arange(n)[None, None, :] < lengths.numpy()[:, None, None],
    ],
)
def test_padding_mask_accepts(answer):
    accepted("02.5", answer)


# --- 02.6 ---------------------------------------------------------------------------------------------------


def bugged(after_softmax=False, upper=False, on_queries=False, fill=-math.inf, causal=True, padding=True, add=False):
    """The function of the exercise with any choice of its bugs."""

    def attention(q, k, v, lengths):
        n = q.shape[-2]
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        square = torch.ones(n, n, dtype=torch.bool)
        triangle = (square.triu() if upper else square.tril()) if causal else square
        real = torch.arange(n) < lengths[:, None, None]
        mask = triangle & ((real.mT if on_queries else real) if padding else square)
        if add:
            weights = torch.softmax(scores + mask, -1)
        elif after_softmax:
            weights = torch.softmax(scores, -1) * mask
        else:
            weights = torch.softmax(scores.masked_fill(~mask, fill), -1)
        return weights @ v, weights

    return attention


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (bugged(after_softmax=True, upper=True, on_queries=True), "mask-after-softmax", "too late"),
        (bugged(after_softmax=True), "mask-after-softmax", "before the softmax"),
        (bugged(upper=True, on_queries=True), "transposed", "key ≤ query"),
        (bugged(upper=True), "transposed", "triangle"),
        (bugged(on_queries=True), "masks-queries", "as a key"),
        (bugged(on_queries=True, fill=-1e9), "masks-queries", "as a key"),
        (lambda *a: tuple(x.nan_to_num(0) for x in bugged(on_queries=True)(*a)), "masks-queries", "as a key"),
        (bugged(padding=False), "padding-seen", "2, 5, 3"),
        (bugged(causal=False), "no-effect", "the future included"),
        (bugged(add=True), "no-effect", "0 and 1"),
    ],
)
def test_mask_bugs_rejects(answer, misconception, word):
    rejected("02.6", answer, misconception, word)


def masked_by_addition(q, k, v, lengths, eps=0.0):
    n = q.size(1)
    bias = torch.zeros(len(q), n, n, dtype=torch.float64)
    for b, length in enumerate(lengths.tolist()):
        for i in range(n):
            for j in range(n):
                bias[b, i, j] = 0 if j <= i and j < length else -1e9
    weights = torch.softmax(torch.einsum("bqd,bkd->bqk", q, k).double() / q.size(-1) ** 0.5 + bias, -1)
    return weights @ v.double(), weights


def masked_after_and_renormalised(q, k, v, lengths):
    n = q.shape[-2]
    mask = torch.ones(n, n).tril() * (torch.arange(n) < lengths[:, None, None])
    weights = torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1) * mask
    weights = weights / weights.sum(-1, keepdim=True)
    return (weights @ v).numpy(), weights.numpy()


@pytest.mark.parametrize("answer", [bugged(), bugged(fill=-1e9), masked_by_addition, masked_after_and_renormalised])
def test_mask_bugs_accepts(answer):
    accepted("02.6", answer)


# --- 02.7 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda p: p * (1 - p), "only-diagonal", "3 × 3"),
        (lambda p: torch.diag(p * (1 - p)), "only-diagonal", "-p_i p_j"),
        (lambda p: torch.outer(p, p) - torch.diag(p), "sign", "turned round"),
        (lambda p: torch.diag(p) + torch.outer(p, p), "sign", "subtracted"),
        (lambda p: -torch.outer(p, p), "no-diagonal-term", "first term"),
        (lambda p: torch.outer(p, p), "no-diagonal-term", "subtracted"),
        (lambda p: torch.eye(len(p)) - torch.outer(p, p), "ones-on-diagonal", "p_i (1 - p_i)"),
        (
            lambda p: torch.autograd.functional.jacobian(lambda s: torch.softmax(s, -1), p),
            "softmax-twice",
            "already, after the softmax",
        ),
        (lambda p: torch.diag(p), "value", "sum to 0"),
    ],
)
def test_jacobian_rejects(answer, misconception, word):
    rejected("02.7", answer, misconception, word)


def jacobian_by_loops(p, verbose=False):
    p = p.tolist()
    return [[p[i] * ((i == j) - p[j]) for j in range(len(p))] for i in range(len(p))]


@pytest.mark.parametrize(
    "answer",
    [
        jacobian_by_loops,
        lambda p: torch.autograd.functional.jacobian(lambda s: torch.softmax(s, -1), p.double().log()),
        lambda p: np.diag(p.numpy()) - np.einsum("i,j->ij", p.numpy(), p.numpy()),
    ],
)
def test_jacobian_accepts(answer):
    accepted("02.7", answer)


# --- 02.8 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda w, t: w ** (1 / t), "not-normalised", "divide each row"),
        (lambda w, t: w**t / (w**t).sum(-1, keepdim=True), "inverse", "more equal"),
        (lambda w, t: torch.softmax(w / t, -1), "weights-as-scores", "logarithms"),
        (lambda w, t: w / t / (w / t).sum(-1, keepdim=True), "no-change", "nothing changes"),
        (lambda w, t: w / t, "not-normalised", "sum to 1"),
        (lambda w, t: w ** (1 / t) / (w ** (1 / t)).sum(), "sum-of-everything", "by itself"),
        (lambda w, t: torch.ones_like(w) / w.shape[-1], "value", "temperature 0.5"),
    ],
)
def test_temperature_rejects(answer, misconception, word):
    rejected("02.8", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        lambda w, t: torch.softmax(w.double().log() / t, -1),
        lambda weights, temperature=1.0, eps=0.0: F.normalize(weights ** (1 / temperature), p=1, dim=-1),
        lambda w, t: (np.asarray(w) ** (1 / t)) / (np.asarray(w) ** (1 / t)).sum(-1, keepdims=True),
    ],
)
def test_temperature_accepts(answer):
    accepted("02.8", answer)
