"""Exercises of notebook 14: planted mistakes get their own message, unusual right answers pass."""

import collections
import itertools
import random

import numpy as np
import pytest
import torch

from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, judge
from tests.judged import accepted, rejected

REFERENCES = {f"14.{number}": EXERCISES[f"14.{number}"].reference for number in range(1, 6)}


def key(text):
    return " ".join(text.lower().split())


@pytest.mark.parametrize("id", REFERENCES)
def test_references_pass(id):
    accepted(id, REFERENCES[id])


@pytest.mark.parametrize("id", ["14.1", "14.2", "14.3", "14.5"])
def test_blank(id):
    def blank(*arguments): ...

    assert judge(id, blank).misconception == NOT_ATTEMPTED


def test_blank_card():
    assert judge("14.4", ...).misconception == NOT_ATTEMPTED


# --- 14.1 ---------------------------------------------------------------------------------------------------


def first_by(make_key):
    return lambda texts: [i for i, text in enumerate(texts) if make_key(text) not in map(make_key, texts[:i])]


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (first_by(lambda text: text), "exact", "capitals"),
        (first_by(str.lower), "spaces", "white space"),
        (
            lambda texts: [i for i, t in enumerate(texts) if [*map(key, texts)].count(key(t)) == 1],
            "all-copies-removed",
            "",
        ),
        (lambda texts: [i for i, t in enumerate(texts) if key(t) not in map(key, texts[i + 1 :])], "last", "the first"),
        (lambda texts: [texts[i] for i in first_by(key)(texts)], "texts", "positions"),
        (lambda texts: first_by(key)(texts)[::-1], "order", "another order"),
        (lambda texts: [0], "value", "should stay"),
        (lambda texts: 3, "wrong-type", "list"),
    ],
)
def test_dedupe_rejects(answer, misconception, word):
    rejected("14.1", answer, misconception, word)


def by_dictionary(texts):
    first = {}
    for position, text in enumerate(texts):
        first.setdefault(key(text), position)
    return tuple(first.values())


@pytest.mark.parametrize(
    "answer",
    [by_dictionary, lambda texts: np.sort(np.unique([key(t) for t in texts], return_index=True)[1])],
)
def test_dedupe_accepts(answer):
    accepted("14.1", answer)


# --- 14.2 ---------------------------------------------------------------------------------------------------


def share(of, known, make_key=key):
    known = {make_key(text) for text in known}
    return sum(make_key(text) in known for text in of) / len(of)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda train, test: share(test, train, lambda text: text), "exact", "as in 14.1"),
        (lambda train, test: share(train, test), "of-train", "*training*"),
        (lambda train, test: share([*{key(t) for t in test}], train), "distinct", "counts twice"),
        (lambda train, test: share(test, train) * len(test), "count", "divide"),
        (lambda train, test: 1 - share(test, train), "complement", "does not leak"),
        (lambda train, test: 0.77, "value", "0.770"),
    ],
)
def test_leaked_share_rejects(answer, misconception, word):
    rejected("14.2", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        lambda train, test: np.mean([key(t) in {key(s) for s in train} for t in test]),
        lambda train, test, extra=None: (
            torch.tensor([any(key(s) == key(t) for s in train) for t in test]).float().mean()
        ),
    ],
)
def test_leaked_share_accepts(answer):
    accepted("14.2", answer)


# --- 14.3 ---------------------------------------------------------------------------------------------------


def reads_all(stream, buffer_size, seed):
    items = list(itertools.islice(stream, 10_000))
    random.Random(seed).shuffle(items)
    yield from items


def buffered(stream, buffer_size, seed, rest=True, chance=None):
    chance = chance or random.Random(seed)
    buffer = list(itertools.islice(stream, buffer_size))
    for item in stream:
        place = chance.randrange(len(buffer))
        yield buffer[place]
        buffer[place] = item
    if rest:
        chance.shuffle(buffer)
        yield from buffer


ONE_FOR_ALL = random.Random(5)


def in_chunks(stream, buffer_size, seed):
    chance = random.Random(seed)
    while chunk := list(itertools.islice(stream, buffer_size)):
        chance.shuffle(chunk)
        yield from chunk


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (reads_all, "reads-too-much", "may be endless"),
        (lambda stream, size, seed: buffered(stream, size, seed, rest=False), "rest-lost", "still in the buffer"),
        (in_chunks, "chunks", "one bufferful after the other"),
        (lambda stream, size, seed: buffered(stream, size, 0), "seed-ignored", "another seed"),
        (
            lambda stream, size, seed: buffered(stream, size, 0, chance=ONE_FOR_ALL),
            "seed",
            "same seed",
        ),
        (lambda stream, size, seed: stream, "not-shuffled", "old one"),
        (lambda stream, size, seed: itertools.islice(buffered(stream, size, seed), 9), "stops-early", "stops before"),
        (lambda stream, size, seed: (min(item, 3) for item in stream), "not-all", "twice"),
    ],
)
def test_shuffled_rejects(answer, misconception, word):
    rejected("14.3", answer, misconception, word)


def by_deque(stream, buffer_size, seed):
    chance, buffer = np.random.default_rng(seed), collections.deque()
    for item in stream:
        buffer.append(item)
        if len(buffer) > buffer_size:
            buffer.rotate(int(chance.integers(buffer_size)))
            yield buffer.popleft()
    rest = list(buffer)
    yield from (rest[i] for i in chance.permutation(len(rest)))


@pytest.mark.parametrize("answer", [buffered, by_deque, lambda stream, size, seed: list_of_first(stream, size, seed)])
def test_shuffled_accepts(answer):
    accepted("14.3", answer)


def list_of_first(stream, buffer_size, seed):
    """Another way to write it: a class with __iter__ instead of a generator."""

    class Shuffled:
        def __iter__(self):
            return buffered(stream, buffer_size, seed + 1)

    return Shuffled()


# --- 14.4 ---------------------------------------------------------------------------------------------------

CARD = REFERENCES["14.4"]


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (CARD.replace("---\n", "", 1), "no-head", "---"),
        (CARD.replace("license: unknown", "licence: unknown"), "no-license", "`license:`"),
        (CARD.replace("language: en\n", ""), "no-language", "`language:`"),
        (CARD.replace("language: en", "language: fr"), "language", "English"),
        (CARD.replace("license: unknown", "license: mit"), "licence-invented", "not yours"),
        (CARD.replace("## Limits", "## Use"), "no-section", "## Limits"),
        (CARD.replace("4305", "many"), "no-numbers", "4305"),
        (CARD.partition("## Limits")[0] + "## Limits\n\nNone.\n", "too-short", "too little"),
        (["license: unknown"], "wrong-type", "text"),
    ],
)
def test_card_rejects(answer, misconception, word):
    rejected("14.4", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        CARD.replace("4305", "4,305").replace("language: en", 'language:\n- en\npretty_name: "Questions"'),
        CARD.replace("## Limits", "## Known limits").replace("license: unknown", "license: other"),
    ],
)
def test_card_accepts(answer):
    accepted("14.4", answer)


# --- 14.5 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda cached, remote: list(remote), "everything", "equal bytes"),
        (lambda cached, remote: [name for name in remote if name not in cached], "missing", "compare the ETags"),
        (
            lambda cached, remote: [n for n in remote if n in cached and cached[n] != remote[n]],
            "changed-only",
            "not what is missing",
        ),
        (
            lambda cached, remote: [n for n in {**cached, **remote} if cached.get(n) != remote.get(n)],
            "gone",
            "does not have",
        ),
        (
            lambda cached, remote: [n for n, e in remote.items() if e not in cached.values()],
            "by-etag",
            "belongs to a name",
        ),
        (lambda cached, remote: ["vocab.txt"], "value", "must be fetched"),
        (lambda cached, remote: "config.json", "wrong-type", "list"),
    ],
)
def test_to_download_rejects(answer, misconception, word):
    rejected("14.5", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        lambda cached, remote: {name for name, _ in set(remote.items()) - set(cached.items())},
        lambda cached, remote: (name for name in remote if name not in cached or cached[name] != remote[name]),
    ],
)
def test_to_download_accepts(answer):
    accepted("14.5", answer)
