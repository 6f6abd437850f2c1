"""Exercises of notebook 18: planted mistakes get their own message, unusual right answers pass."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch.utils.data import DistributedSampler

from course_lib.exercises import EXERCISES, judge
from tests.judged import accepted, rejected

REFERENCES = {f"18.{number}": EXERCISES[f"18.{number}"].reference for number in range(1, 7)}


@pytest.mark.parametrize("id", REFERENCES)
def test_references_pass(id):
    accepted(id, REFERENCES[id])


# --- 18.1 ---------------------------------------------------------------------------------------------------


def topped(order, world_size):
    each = math.ceil(len(order) / world_size)
    return [*order, *order[: each * world_size - len(order)]], each


def in_blocks(order, rank, world_size):
    dealt, each = topped(order, world_size)
    return dealt[rank * each : (rank + 1) * each]


def last_repeated(order, rank, world_size):
    _, each = topped(order, world_size)
    return [*order, *[order[-1]] * (each * world_size - len(order))][rank::world_size]


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda order, rank, world_size: order[rank::world_size], "uneven", "wait for it for ever"),
        (
            lambda order, rank, world_size: order[: len(order) // world_size * world_size][rank::world_size],
            "dropped",
            "nobody gets the last",
        ),
        (in_blocks, "blocks", "one to each in turn"),
        (lambda order, rank, world_size: topped(order, world_size)[0][0::world_size], "same-for-all", "use `rank`"),
        (last_repeated, "last-repeated", "first"),
        (lambda order, rank, world_size: topped(order, world_size)[0][rank::world_size][::-1], "value", "process 0"),
        (lambda order, rank, world_size: 3, "shape", "one list"),
    ],
)
def test_my_share_rejects(answer, misconception, word):
    rejected("18.1", answer, misconception, word)


def by_sampler(order, rank, world_size, **_):
    return torch.tensor(order)[list(DistributedSampler(order, world_size, rank, shuffle=False))]


def by_loop(order, rank, world_size):
    dealt = list(order)
    while len(dealt) % world_size:
        dealt.append(order[len(dealt) - len(order)])
    return np.array([one for position, one in enumerate(dealt) if position % world_size == rank])


@pytest.mark.parametrize("answer", [by_sampler, by_loop])
def test_my_share_accepts(answer):
    accepted("18.1", answer)


# --- 18.2 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda gradients, counts: torch.stack(gradients).mean(0), "mean-of-means", "weigh each gradient"),
        (lambda gradients, counts: sum(gradients), "sum", "grow with the processes"),
        (
            lambda gradients, counts: sum(g * n for g, n in zip(gradients, counts, strict=True)),
            "not-divided",
            "sum of the counts",
        ),
        (
            lambda gradients, counts: sum(g * n for g, n in zip(gradients, counts, strict=True)) / len(counts),
            "divided-by-processes",
            "number of examples",
        ),
        (lambda gradients, counts: gradients[0], "value", "another one"),
    ],
)
def test_combine_rejects(answer, misconception, word):
    rejected("18.2", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        lambda gradients, counts: np.average(torch.stack(gradients).numpy(), axis=0, weights=counts),
        lambda gradients, counts, extra=1: (
            torch.einsum("r,r...->...", torch.tensor(counts, dtype=torch.double), torch.stack(gradients).double())
            / sum(counts)
        ),
    ],
)
def test_combine_accepts(answer):
    accepted("18.2", answer)


# --- 18.3 ---------------------------------------------------------------------------------------------------


def share_with(seed_of, pick=lambda order, rank, world_size: order[rank::world_size]):
    def epoch_share(num_examples, rank, world_size, epoch, seed=0):
        generator = torch.Generator().manual_seed(seed_of(seed, epoch, rank))
        return pick(torch.randperm(num_examples, generator=generator).tolist(), rank, world_size)

    return epoch_share


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (share_with(lambda seed, epoch, rank: seed + rank), "own-permutation", "seen by nobody"),
        (share_with(lambda seed, epoch, rank: seed + epoch + rank), "own-permutation", "same permutation"),
        (share_with(lambda seed, epoch, rank: seed), "same-every-epoch", "epoch to epoch"),
        (share_with(lambda seed, epoch, rank: epoch), "seed-ignored", "`seed`"),
        (
            lambda num_examples, rank, world_size, epoch, seed=0: torch.randperm(num_examples)[rank::world_size],
            "not-reproducible",
            "fixed seed",
        ),
        (
            lambda num_examples, rank, world_size, epoch, seed=0: [
                (i + epoch) % num_examples for i in range(rank, num_examples, world_size)
            ],
            "not-shuffled",
            "ascending",
        ),
    ],
)
def test_epoch_share_rejects(answer, misconception, word):
    rejected("18.3", answer, misconception, word)


def by_distributed_sampler(num_examples, rank, world_size, epoch, seed=0):
    sampler = DistributedSampler(range(num_examples), world_size, rank, seed=seed)
    sampler.set_epoch(epoch)
    return list(sampler)


@pytest.mark.parametrize(
    "answer",
    [
        by_distributed_sampler,
        lambda n, rank, world_size, epoch, seed=0: np.random.default_rng((seed, epoch)).permutation(n)[
            rank::world_size
        ],
        share_with(
            lambda seed, epoch, rank: 1000 * seed + epoch,
            lambda order, rank, size: order[rank * len(order) // size : (rank + 1) * len(order) // size],
        ),
    ],
)
def test_epoch_share_accepts(answer):
    accepted("18.3", answer)


# --- 18.4 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda correct, n: np.mean(list(itertools.chain(*correct))), "counted-twice", "count twice"),
        (lambda correct, n: sum(map(sum, correct)) / n, "counted-twice", "still among"),
        (lambda correct, n: sum(list(itertools.chain(*correct))[:n]) / n, "wrong-order", "last *dealt*"),
        (
            lambda correct, n: sum([one for turn in zip(*correct, strict=True) for one in turn][:n]),
            "not-divided",
            "divide it",
        ),
        (lambda correct, n: 0.123, "value", "0.123"),
    ],
)
def test_honest_accuracy_rejects(answer, misconception, word):
    rejected("18.4", answer, misconception, word)


def by_position(correct, num_examples):
    size = len(correct)
    return sum(correct[i % size][i // size] for i in range(num_examples)) / num_examples


@pytest.mark.parametrize(
    "answer",
    [by_position, lambda correct, n: torch.tensor(correct).T.flatten()[:n].double().mean()],
)
def test_honest_accuracy_accepts(answer):
    accepted("18.4", answer)


# --- 18.5 and 18.6 ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda p, n: (n - 1) / n * p, "one-round", "go round as well"),
        (lambda p, n: 2 * (n - 1) * p, "whole-vector", "a piece"),
        (lambda p, n: (n - 1) * p, "to-everybody", "one neighbour"),
        (lambda p, n: 2 * p, "one-step-too-many", "visited everybody"),
        (lambda p, n: 2 * (n - 1) / n * p if n > 1 else p, "single-process", "sends nothing"),
        (lambda p, n: 17, "value", "17"),
    ],
)
def test_numbers_sent_rejects(answer, misconception, word):
    rejected("18.5", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [lambda p, n: p * (n - 1) * 2 / n, lambda p, n: np.float64(sum(p / n for _ in range(2 * (n - 1))))],
)
def test_numbers_sent_accepts(answer):
    accepted("18.5", answer)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda p, n, sharded: 4 * p / (n if sharded else 1), "weights-only", "gradients"),
        (lambda p, n, sharded: 8 * p / (n if sharded else 1), "no-optimiser", "Adam keeps two"),
        (lambda p, n, sharded: 12 * p / (n if sharded else 1), "one-mean", "two running means"),
        (lambda p, n, sharded: 16 * p / n, "sharding", "nothing is divided"),
        (lambda p, n, sharded: 16 * p, "sharding", "keeps a part"),
        (lambda p, n, sharded: 5, "value", "not 5"),
    ],
)
def test_bytes_per_process_rejects(answer, misconception, word):
    rejected("18.6", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        lambda num_parameters, world_size, sharded: 16 * num_parameters / world_size**sharded,
        lambda p, n, sharded: np.int64(p) * 16 // (n if sharded else 1),
    ],
)
def test_bytes_per_process_accepts(answer):
    accepted("18.6", answer)


@pytest.mark.parametrize("id", [id for id in REFERENCES if id != "18.3"])
def test_blank(id):
    def blank(*arguments): ...

    assert judge(id, blank).misconception == "not-attempted"
