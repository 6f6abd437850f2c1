"""Exercises of notebook 00: planted mistakes get their own message, unusual right answers pass."""

import math

import numpy as np
import pytest
import torch

from tests.judged import accepted, rejected


@pytest.mark.parametrize(
    ("answer", "misconception"),
    [
        (30522, "rows"),
        (30522 * 384, "whole-table"),
        (2, "axes"),
        (768, "value"),
        ((30522, 384), "wrong-type"),
        (lambda: 384, "wrong-type"),
    ],
)
def test_width_rejects(answer, misconception):
    rejected("00.1", answer, misconception)


@pytest.mark.parametrize("answer", [384, 384.0, np.int64(384), torch.tensor(384), torch.tensor([384])])
def test_width_accepts(answer):
    accepted("00.1", answer)


def changes_its_input(vectors):
    vectors /= vectors.shape[0]
    return vectors.sum(0)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda x: x.sum(0) / x.shape[1], "divides-by-width", "divides by 2"),
        (lambda x: x.mean(1), "wrong-axis", "over the words"),
        (lambda x: x.sum(0), "sum", "the sum"),
        (lambda x: x.mean(), "shape", "shape ()"),
        (lambda x: x.mean(0, keepdim=True), "shape", "(1, 3)"),
        (lambda x: x.median(0).values, "value", "not their average"),
        (changes_its_input, "in-place", "in place"),
        (torch.zeros(3), "wrong-type", "without calling it"),
    ],
)
def test_mean_rejects(answer, misconception, word):
    rejected("00.2", answer, misconception, word)


def mean_by_loops(vectors, precise=False):
    rows = vectors.tolist()
    return [sum(row[column] for row in rows) / len(rows) for column in range(len(rows[0]))]


@pytest.mark.parametrize(
    "answer",
    [
        mean_by_loops,
        lambda x: x.double().mean(dim=-2),
        lambda x: np.asarray(x).mean(axis=0),
        lambda x: torch.einsum("wd,w->d", x, torch.full((len(x),), 1 / len(x))),
    ],
)
def test_mean_accepts(answer):
    accepted("00.2", answer)


@pytest.mark.parametrize(
    ("answer", "misconception"),
    [
        (lambda a, b: (a * b).sum(), "dot-product"),
        (lambda a, b: (a * b).sum() / ((a * a).sum() * (b * b).sum()), "squared-lengths"),
        (lambda a, b: (a * b).sum() / a.norm(), "one-length"),
        (lambda a, b: (a * b).sum() / b.norm(), "one-length"),
        (lambda a, b: 1 - (a * b).sum() / (a.norm() * b.norm()), "distance"),
        (lambda a, b: (a * b).sum() / (a.norm() + b.norm()), "value"),
        (lambda a, b: a * b / (a.norm() * b.norm()), "wrong-type"),
        (lambda a, b: print(a @ b), "no-return"),
    ],
)
def test_cosine_rejects(answer, misconception):
    rejected("00.3", answer, misconception)


def cosine_in_plain_python(a, b, eps=0.0):
    dot = sum(x * y for x, y in zip(a.tolist(), b.tolist(), strict=True))
    return dot / (math.hypot(*a.tolist()) * math.hypot(*b.tolist()) + eps)


@pytest.mark.parametrize(
    "answer",
    [
        cosine_in_plain_python,
        lambda a, b: torch.nn.functional.cosine_similarity(a, b, dim=0),
        lambda a, b: np.dot(a.numpy(), b.numpy()) / np.linalg.norm(a.numpy()) / np.linalg.norm(b.numpy()),
        lambda a, b: (a / a.norm()) @ (b / b.norm()),
    ],
)
def test_cosine_accepts(answer):
    accepted("00.3", answer)
