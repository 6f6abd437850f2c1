"""Exercises of notebook 04: planted mistakes get their own message, unusual right answers pass."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch

from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, judge
from tests.judged import accepted, rejected

RIGHT_SCORES = EXERCISES["04.4"].reference


def scores(**changed):
    return {**copy.deepcopy(RIGHT_SCORES), **changed}


# --- 04.1 ---------------------------------------------------------------------------------------------------


def differs_in(reorder, undo=True, close=True):
    """A test that tries the one order `reorder(tokens)`."""

    def sees_order(encode, x):
        after, before = encode(reorder(x)), encode(x)
        before = reorder(before) if undo else before
        return not torch.allclose(after, before, atol=1e-4) if close else not torch.equal(after, before)

    return sees_order


def shuffled(x):
    return x[[2, 0, 3, 1, *range(4, len(x))]]


def by_mean(encode, x):
    return not torch.allclose(encode(shuffled(x)).mean(0), encode(x).mean(0), atol=1e-4)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (differs_in(shuffled, undo=False), "not-undone", "encode(x[order])"),
        (differs_in(shuffled, close=False), "exact-equality", "tolerance"),
        (differs_in(lambda x: x.flip(0)), "reversal-only", "reversed"),
        (differs_in(lambda x: x.roll(1, 0)), "rotation-only", "same number of places"),
        (differs_in(lambda x: x), "never", "differ from the original"),
        (lambda encode, x: not differs_in(shuffled)(encode, x), "inverted", "turned round"),
        (by_mean, "pooled", "row by row"),
        (lambda encode, x: True, "not-undone", "each token by itself"),
        (lambda encode, x: encode(x), "shape", "one True or False"),
        (lambda encode, x: "yes", "wrong-type", "str"),
        (lambda encode, x: x.sort(), "wrong-type", "True or False"),
        (lambda encode, x: encode(x)[len(x)], "exception", "IndexError"),
    ],
)
def test_dog_bites_man_rejects(answer, misconception, word):
    rejected("04.1", answer, misconception, word)


def all_orders(encode, x, verbose=False):
    outputs = encode(x).numpy()
    for order in itertools.islice(itertools.permutations(range(len(x))), 30):
        if not np.allclose(encode(x[list(order)]).numpy(), outputs[list(order)], atol=1e-3):
            return np.bool_(True)
    return np.bool_(False)


def with_a_matrix(layer, tokens):
    P = torch.eye(len(tokens))[torch.randperm(len(tokens))]
    return (layer(P @ tokens) - P @ layer(tokens)).abs().max() > 1e-3


def swap_of_two(encode, x):
    swapped = x.clone()
    swapped[0], swapped[1] = x[1], x[0]
    after, before = encode(swapped), encode(x)
    return int(((after[0] - before[1]).norm() + (after[2:] - before[2:]).norm()).item() > 1e-3)


@pytest.mark.parametrize("answer", [all_orders, with_a_matrix, swap_of_two, differs_in(shuffled)])
def test_dog_bites_man_accepts(answer):
    accepted("04.1", answer)


# --- 04.2 ---------------------------------------------------------------------------------------------------


def table_with(exponent=lambda i, d: 2 * i / d, first=0, sine=torch.sin, cosine=torch.cos, join="turns"):
    def sinusoidal_table(length, d_model):
        i = torch.arange(d_model // 2)
        angles = torch.arange(first, first + length)[:, None] / 10000.0 ** exponent(i, d_model)
        if join == "halves":
            return torch.cat((sine(angles), cosine(angles)), dim=1)
        return torch.stack((sine(angles), cosine(angles)), dim=-1).flatten(1)

    return sinusoidal_table


def own_frequencies(length, d_model):
    angles = torch.arange(length)[:, None] / 10000.0 ** (torch.arange(d_model) / d_model)
    return torch.where(torch.arange(d_model) % 2 == 0, angles.sin(), angles.cos())


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (table_with(join="halves"), "concatenated", "take turns"),
        (table_with(sine=torch.cos, cosine=torch.sin), "cosine-first", "changed places"),
        (own_frequencies, "own-frequency", "share one"),
        (table_with(lambda i, d: i / d), "half-exponent", "half as large"),
        (table_with(lambda i, d: -2 * i / d), "frequencies-grow", "divide the position"),
        (table_with(lambda i, d: 2 * i), "without-d_model", "not divided by d_model"),
        (table_with(first=1), "from-one", "count from 0"),
        (lambda length, d: table_with()(length, d).T, "transposed", "one row for each position"),
        (lambda length, d: table_with()(length, d)[:, : d // 2], "shape", "instead of (2, 6)"),
        (lambda length, d: torch.zeros(length, d), "value", "position 0, column 1: 0 instead of 1"),
        (lambda length, d: torch.zeros(length).expand(d), "exception", "RuntimeError"),
    ],
)
def test_sinusoidal_rejects(answer, misconception, word):
    rejected("04.2", answer, misconception, word)


def table_by_loops(length, d_model, base=10_000):
    return [
        [(math.cos if c % 2 else math.sin)(p / base ** ((c - c % 2) / d_model)) for c in range(d_model)]
        for p in range(length)
    ]


def table_in_numpy(n, d):
    table = np.zeros((n, d))
    angles = np.outer(np.arange(n), np.exp(-np.log(10000.0) * np.arange(0, d, 2) / d))
    table[:, 0::2], table[:, 1::2] = np.sin(angles), np.cos(angles)
    return table


def table_by_complex_powers(length, d_model):
    turn = torch.exp(1j * 10000.0 ** (-torch.arange(0, d_model, 2, dtype=torch.float64) / d_model))
    turned = turn ** torch.arange(length)[:, None]
    return torch.stack((turned.imag, turned.real), dim=2).reshape(length, d_model)


@pytest.mark.parametrize("answer", [table_by_loops, table_in_numpy, table_by_complex_powers, table_with()])
def test_sinusoidal_accepts(answer):
    accepted("04.2", answer)


# --- 04.3 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda lengths, n: [sum(x == p for x in lengths) for p in range(n)], "histogram", "rows 0 to 4"),
        (lambda lengths, n: [sum(x - 1 == p for x in lengths) for p in range(n)], "histogram", "ends"),
        (lambda lengths, n: [sum(x >= p for x in lengths) for p in range(n)], "one-too-many", "rows 0, 1 and 2"),
        (lambda lengths, n: [sum(x - 1 > p for x in lengths) for p in range(n)], "one-too-few", "length - 1"),
        (lambda lengths, n: [len(lengths)] * n, "padding-counted", "padding"),
        (lambda lengths, n: [sum(p < x <= n for x in lengths) for p in range(n)], "long-left-out", "cut"),
        (
            lambda lengths, n: np.bincount([t % n for x in lengths for t in range(x)], minlength=n),
            "wrapped",
            "cut off",
        ),
        (lambda lengths, n: [max(lengths) > p for p in range(n)], "not-counted", "number of sequences"),
        (lambda lengths, n: [sum(x > p for x in lengths) for p in range(max(lengths))], "length-of-data", "7 rows"),
        (lambda lengths, n: [0] * n, "value", "[2, 5, 3, 3]"),
        (lambda lengths, n: sum(lengths), "shape", "(7,)"),
        (lambda lengths, n: [1 / (x - x) for x in lengths], "exception", "ZeroDivisionError"),
    ],
)
def test_trained_rows_rejects(answer, misconception, word):
    rejected("04.3", answer, misconception, word)


def rows_by_counting(lengths, max_len):
    counts = torch.zeros(max_len)
    for length in lengths:
        counts[:length] += 1
    return counts


def rows_by_gradient(lengths, max_len):
    table = torch.zeros(max_len, requires_grad=True)
    sum(table[:length].sum() for length in lengths).backward()
    return table.grad


@pytest.mark.parametrize(
    "answer",
    [
        rows_by_counting,
        rows_by_gradient,
        lambda lengths, max_len: (np.array(lengths)[:, None] > np.arange(max_len)).sum(axis=0),
    ],
)
def test_trained_rows_accepts(answer):
    accepted("04.3", answer)


# --- 04.4 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (scores(query=[2, 1]), "not-turned", "turn it 3 times"),
        (scores(query=[-2, -1]), "one-turn-short", "count from 0"),
        (scores(query=[6, 3]), "multiplied", "keeps its length"),
        (scores(query=[-1, 2]), "direction", "to the left"),
        (scores(key=[4, -1]), "one-turn-too-many", "2 turns"),
        (scores(key=[-4, 1]), "one-turn-short", "turned 1 times"),
        (scores(key=[1, -4]), "value", "(1, -4)"),
        (scores(scores=[6, 6, 6, 6]), "not-turned", "before they are turned"),
        (scores(scores=[-7, 7, -7, 6]), "direction", "-1 + 8"),
        (scores(scores=[9, 7, -7, 6]), "value", "which is not 9"),
        (scores(scores=[7, 240, -7, 6]), "absolute-position", "only that counts"),
        (scores(scores=[7, 7, 7, 6]), "unsigned-distance", "-1, not 1"),
        (scores(scores=[7, 7, 5, 6]), "value", "query twice"),
        (scores(scores=[7, 7, -7, 0]), "zero-at-distance-zero", "plain dot product"),
        (scores(scores=[7, 7, -7, 1]), "value", "not 1"),
        (scores(scores=[7, ..., -7, 6]), "not-finished", "`scores`"),
        (scores(key=[1, 2, 3]), "shape", "(3,)"),
        ({"query": [1, -2]}, "missing", "`key`"),
        ([7, 7, -7, 6], "wrong-type", "dictionary"),
    ],
)
def test_rotary_scores_rejects(answer, misconception, word):
    rejected("04.4", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        {name: np.array(numbers, dtype=float) for name, numbers in RIGHT_SCORES.items()},
        {name: torch.tensor(numbers) for name, numbers in RIGHT_SCORES.items()},
        scores(query=(1.0, -2.0), note="any other entry"),
    ],
)
def test_rotary_scores_accepts(answer):
    accepted("04.4", answer)


def test_rotary_scores_blank():
    blank = {name: [...] * len(numbers) for name, numbers in RIGHT_SCORES.items()}
    assert judge("04.4", blank).misconception == NOT_ATTEMPTED


def test_rotary_scores_are_those_of_complex_numbers():
    """A quarter turn to the left is a multiplication by i; the dot product is the real part of q times conj(k)."""
    query, key = complex(2, 1), complex(1, 4)
    pairs = ((3, 2), (103, 102), (2, 3), (5, 5))
    turned = [(query * 1j**m * (key * 1j**n).conjugate()).real for m, n in pairs]
    assert RIGHT_SCORES["scores"] == pytest.approx(turned)


# --- 04.5 ---------------------------------------------------------------------------------------------------


def angles_of(positions, d, base=10000.0):
    return positions[:, None] * base ** (-torch.arange(0, d, 2) / d)


def rope_with(combine, angles=angles_of):
    def rope(x, positions, base=10000.0):
        a, b = x.chunk(2, dim=-1)
        turned = angles(positions, x.shape[-1], base)
        return torch.cat(combine(a, b, turned.cos(), turned.sin()), dim=-1)

    return rope


def turn(a, b, cos, sin):
    return a * cos - b * sin, b * cos + a * sin


def neighbours(x, positions, base=10000.0):
    a, b = x[..., 0::2], x[..., 1::2]
    turned = angles_of(positions, x.shape[-1], base)
    return torch.stack(turn(a, b, turned.cos(), turned.sin()), dim=-1).flatten(-2)


def first_axis(x, positions, base=10000.0):
    turned = positions.view(-1, *[1] * (x.dim() - 1)) * base ** (-torch.arange(0, x.shape[-1], 2) / x.shape[-1])
    return torch.cat(turn(*x.chunk(2, -1), turned.cos(), turned.sin()), dim=-1)


def in_place(x, positions, base=10000.0):
    x *= 1.0
    x[..., 0] += positions
    return x


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (neighbours, "neighbours", "x[i + d/2]"),
        (rope_with(lambda a, b, c, s: turn(a, b, c, -s)), "direction", "other way"),
        (rope_with(lambda a, b, c, s: (a * c + b * s, b * c + a * s)), "no-minus", "keeps lengths"),
        (rope_with(lambda a, b, c, s: (a * c - b * s, a * c + b * s)), "partner-mixed-up", "b cos + a sin"),
        (rope_with(lambda a, b, c, s: (a * c - b * s, b)), "half-turned", "both halves"),
        (rope_with(lambda a, b, c, s: (a * c + a * s, b * c + b * s)), "no-partner", "partner"),
        (rope_with(lambda a, b, c, s: (a + s, b + c)), "added", "turn x instead"),
        (rope_with(turn, lambda p, d, base: angles_of(torch.arange(len(p)), d, base)), "ignores-positions", "31"),
        (rope_with(turn, lambda p, d, base: angles_of(p + 1, d, base)), "from-one", "position 0"),
        (
            rope_with(turn, lambda p, d, base: p[:, None] * base ** (-torch.arange(d // 2) / d)),
            "half-exponent",
            "half as large",
        ),
        (
            rope_with(turn, lambda p, d, base: p[:, None].float().expand(-1, d // 2)),
            "one-frequency",
            "same speed",
        ),
        (rope_with(turn, lambda p, d, base: angles_of(p, d)), "ignores-base", "use the argument"),
        (lambda x, positions, base=10000.0: x, "no-change", "nothing is turned"),
        (lambda x, positions, base=10000.0: x * 2, "value", "yours does not"),
        (first_axis, "batch-axes", "count from the end"),
        (in_place, "in-place", "copy"),
        (lambda x, positions: rope_with(turn)(x, positions), "exception", "base"),
        (lambda x, positions, base=1.0: x[..., :3], "shape", "(5, 3)"),
    ],
)
def test_rotary_rejects(answer, misconception, word):
    rejected("04.5", answer, misconception, word)


def rope_by_loops(x, positions, base=10000.0, verbose=False):
    x, d = x.double(), x.shape[-1]
    turned = x.clone()
    for row, position in enumerate(positions.tolist()):
        for i in range(d // 2):
            angle = position / base ** (2 * i / d)
            a, b = x[..., row, i], x[..., row, i + d // 2]
            turned[..., row, i] = math.cos(angle) * a - math.sin(angle) * b
            turned[..., row, i + d // 2] = math.sin(angle) * a + math.cos(angle) * b
    return turned


def rope_as_transformers_writes_it(x, position_ids, base=10000.0):
    d = x.size(-1)
    angles = torch.outer(position_ids.float(), 1.0 / base ** (torch.arange(0, d, 2).float() / d))
    angles = torch.cat((angles, angles), dim=-1)
    rotated = torch.cat((-x[..., d // 2 :], x[..., : d // 2]), dim=-1)
    return x * angles.cos() + rotated * angles.sin()


def rope_in_numpy(x, positions, base=10000.0):
    x, d = np.asarray(x, dtype=np.float64), x.shape[-1]
    angles = np.outer(np.asarray(positions), base ** (-np.arange(0, d, 2) / d))
    z = (x[..., : d // 2] + 1j * x[..., d // 2 :]) * np.exp(1j * angles)
    return np.concatenate((z.real, z.imag), axis=-1)


@pytest.mark.parametrize("answer", [rope_by_loops, rope_as_transformers_writes_it, rope_in_numpy])
def test_rotary_accepts(answer):
    accepted("04.5", answer)
