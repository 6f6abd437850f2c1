"""Exercises of notebook 16: planted mistakes get their own message, unusual right answers pass."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch

from course_lib.evaluation import squad_scores
from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, judge
from course_lib.finetuning import spans, tokens
from tests.judged import accepted, rejected

IDS = [f"16.{number}" for number in range(1, 6)]


@pytest.mark.parametrize("id", IDS)
def test_the_reference_passes_and_the_stub_is_blank(id):
    accepted(id, EXERCISES[id].reference)

    def stub(*arguments):
        """What is asked."""
        ...

    assert judge(id, stub).misconception == NOT_ATTEMPTED


# --- 16.1 -------------------------------------------------------------------------------------------------------


def aligned(special=-100, further=lambda label: -100, last=False):
    """An alignment with any choice of mistakes."""

    def align_labels(word_ids, labels):
        found = []
        for i, word in enumerate(word_ids):
            if word is None:
                found.append(special)
                continue
            neighbour = i + 1 if last else i - 1
            edge = not 0 <= neighbour < len(word_ids) or word_ids[neighbour] != word
            found.append(labels[word] if edge else further(labels[word]))
        return found

    return align_labels


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (aligned(further=lambda label: label), "every-piece", "second entity"),
        (aligned(further=lambda label: 0), "further-labelled", "outside (0)"),
        (aligned(special=0), "special-labelled", "no words"),
        (aligned(special=0, further=lambda label: label), "special-labelled", "[CLS]"),
        (aligned(last=True), "last-piece", "the last piece"),
        (lambda ids, labels: [*labels, *[-100] * (len(ids) - len(labels))], "by-position", "n-th label"),
        (lambda ids, labels: [*labels, *[0] * (len(ids) - len(labels))], "by-position", "n-th label"),
        (lambda ids, labels: labels, "one-per-word", "each piece"),
        (lambda ids, labels: [labels[i] for i in ids if i is not None], "length", "special tokens included"),
        (lambda ids, labels: [None if i is None else labels[i] for i in ids], "none-in-list", "-100"),
        (lambda ids, labels: [-100] * len(ids), "value", "first one of word 0"),
        (lambda ids, labels: "labels", "wrong-type", "list"),
        (lambda ids, labels: [labels[i] for i in ids], "exception", "TypeError"),
    ],
)
def test_align_rejects(answer, misconception, word):
    rejected("16.1", answer, misconception, word)


def by_search(word_ids, labels, ignore=-100):
    out = np.full(len(word_ids), ignore)
    for word, label in enumerate(labels):
        if word in word_ids:
            out[word_ids.index(word)] = label
    return out


@pytest.mark.parametrize(
    "answer", [tokens.align_labels, by_search, lambda ids, labels: torch.tensor(by_search(ids, labels))]
)
def test_align_accepts(answer):
    accepted("16.1", answer)


# --- 16.2 -------------------------------------------------------------------------------------------------------


def f1_with(shared=lambda one, other: (Counter(one) & Counter(other)).total(), combine=None):
    """Any count of shared words, any mean; empty lists are treated rightly."""

    def word_f1(predicted, right):
        if not predicted or not right:
            return float(predicted == right)
        p, r = shared(predicted, right) / len(predicted), shared(predicted, right) / len(right)
        return combine(p, r) if combine else 2 * p * r / (p + r) if p + r else 0.0

    return word_f1


def jaccard(predicted, right):
    one, other = Counter(predicted), Counter(right)
    return (one & other).total() / (one | other).total() if one | other else 1.0


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (f1_with(combine=lambda p, r: p), "precision", "precision alone"),
        (f1_with(combine=lambda p, r: r), "recall", "recall alone"),
        (f1_with(combine=lambda p, r: (p + r) / 2), "arithmetic-mean", "harmonic"),
        (f1_with(lambda one, other: len({*one} & {*other})), "sets", "set"),
        (f1_with(lambda one, other: sum(word in other for word in one)), "repeats-counted", "as often"),
        (jaccard, "jaccard", "Jaccard"),
        (lambda one, other: float(one == other), "exact-match", "part"),
        (f1_with(lambda one, other: sum(map(str.__eq__, one, other))), "by-position", "place"),
        (f1_with(combine=lambda p, r: 200 * p * r / (p + r) if p + r else 0.0), "percent", "0 to 1"),
        (lambda one, other: f1_with()(one, other) if one and other else 0.0, "empty", "1 if both are empty"),
        (lambda one, other: f1_with()(one, other) if one and other else 1.0, "empty", "all or nothing"),
        (lambda one, other: 0.123, "value", "words are shared"),
        (lambda one, other: len(one) / 0, "exception", "ZeroDivisionError"),
        (lambda one, other: 2 * (Counter(one) & Counter(other)).total() / (len(one) + len(other)), "empty", "treat it"),
        (lambda one, other: "1", "wrong-type", "number"),
    ],
)
def test_word_f1_rejects(answer, misconception, word):
    rejected("16.2", answer, misconception, word)


def by_removing(predicted, right):
    left, shared = list(right), 0
    for word in predicted:
        if word in left:
            left.remove(word)
            shared += 1
    return torch.tensor(2 * shared / (len(predicted) + len(right)) if predicted or right else 1.0)


def by_squad(predicted, right):
    # Letters such as "a" are articles to SQuAD: every word is given an ending first.
    one, other = (" ".join(f"{word}x" for word in words) for words in (predicted, right))
    return squad_scores([one], [[other]]).f1[0]


@pytest.mark.parametrize("answer", [by_removing, by_squad])
def test_word_f1_accepts(answer):
    accepted("16.2", answer)


# --- 16.3 -------------------------------------------------------------------------------------------------------


def greedy(start, end, max_tokens):
    first = int(start.argmax())
    return first, first + int(end[first : first + max_tokens].argmax())


def searching(longer=0, backwards=False, behind=0):
    def best_span(start, end, max_tokens):
        pairs = [
            (i, j)
            for i in range(len(start))
            for j in range(len(end))
            if (backwards or i <= j) and j - i < max_tokens + longer
        ]
        i, j = max(pairs, key=lambda pair: start[pair[0]] + end[pair[1]])
        return i, j + behind

    return best_span


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda s, e, n: (int(s.argmax()), int(e.argmax())), "independent", "ends before it starts"),
        (searching(backwards=True), "independent", "by itself"),
        (greedy, "greedy", "far better end"),
        (searching(longer=1), "independent", "tokens"),
        (lambda s, e, n: searching(-1)(s, e, n) if n > 2 else searching()(s, e, n), "one-too-short", "allowed"),
        (searching(behind=1), "exclusive", "not the one behind"),
        (lambda s, e, n: (2, 1), "backwards", "before it starts"),
        (lambda s, e, n: (0, 99), "outside", "0 to 3"),
        (lambda s, e, n: (0, 0), "value", "scores"),
        (lambda s, e, n: (0, 1, 2), "shape", "two numbers"),
        (lambda s, e, n: 3, "wrong-type", "list"),
    ],
)
def test_best_span_rejects(answer, misconception, word):
    rejected("16.3", answer, misconception, word)


def by_table(start, end, max_tokens):
    table = torch.as_tensor(start)[:, None] + torch.as_tensor(end)
    near = torch.ones_like(table, dtype=torch.bool).triu().tril(max_tokens - 1)
    return torch.tensor(divmod(int(table.masked_fill(~near, -math.inf).argmax()), len(start)))


def by_library(start, end, max_tokens):
    (best,) = spans.best_spans(start, end, [True] * len(start), n=1, max_tokens=max_tokens)
    return [best.start, best.end]


@pytest.mark.parametrize("answer", [by_table, by_library])
def test_best_span_accepts(answer):
    accepted("16.3", answer)


# --- 16.4 -------------------------------------------------------------------------------------------------------


def cut(step=lambda size, overlap: size - overlap, stop=lambda start, length, size, overlap: start + size >= length):
    """Windows with another step or another end."""

    def windows(length, size, overlap):
        found, start = [], 0
        while start < length:
            found.append((start, min(start + size, length)))
            if stop(start, length, size, overlap):
                break
            start += max(1, step(size, overlap))
        return found

    return windows


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (cut(lambda size, overlap: overlap), "stride-is-step", "stride"),
        (cut(lambda size, overlap: size), "no-overlap", "do not overlap"),
        (cut(lambda size, overlap: size - overlap + 1), "step", "7 tokens after"),
        (cut(stop=lambda *_: False), "nothing-new", "stop at the first"),
        (lambda length, size, overlap: cut()(length, size, overlap)[:-1], "end-lost", "in no window"),
        (lambda n, size, overlap: [(a, a + size) for a, _ in cut()(n, size, overlap)], "behind-the-end", "ends at"),
        (lambda n, size, overlap: [(a, b - 1) for a, b in cut()(n, size, overlap)], "inclusive", "slice"),
        (lambda length, size, overlap: [], "no-window", "at least one"),
        (lambda length, size, overlap: [0, 7, 14], "wrong-type", "pairs"),
        (lambda length, size, overlap: [(0, length)], "value", "expected"),
        (lambda length, size, overlap: range(length / size), "exception", "TypeError"),
    ],
)
def test_windows_rejects(answer, misconception, word):
    rejected("16.4", answer, misconception, word)


def test_windows_names_one_too_many_only_behind_an_exact_fit():
    def one_too_many(length, size, overlap):
        return cut(stop=lambda start, *_: start + size > length)(length, size, overlap)

    rejected("16.4", one_too_many, "nothing-new", "holds nothing")


def by_formula(length, size, overlap):
    count = 1 + max(0, -(-(length - size) // (size - overlap)))
    starts = np.arange(count) * (size - overlap)
    return np.stack([starts, np.minimum(starts + size, length)], axis=1)


def by_recursion(length, size, overlap, start=0):
    end = min(start + size, length)
    yield start, end
    if end < length:
        yield from by_recursion(length, size, overlap, start + size - overlap)


@pytest.mark.parametrize("answer", [by_formula, by_recursion])
def test_windows_accepts(answer):
    accepted("16.4", answer)


# --- 16.5 -------------------------------------------------------------------------------------------------------


def trying(candidates=lambda m: [-math.inf, *m], decide=lambda margin, t: margin > t, give=lambda t, score: t, sign=1):
    """A search with other candidates, another rule, or another goal."""

    def best_threshold(margins, answered, silent):
        def mean(t):
            rows = zip(margins, answered, silent, strict=True)
            return sum(a if decide(m, t) else s for m, a, s in rows) / len(margins)

        best = max(candidates(margins), key=lambda t: sign * mean(t))
        return give(best, mean(best))

    return best_threshold


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (trying(decide=lambda margin, t: margin >= t), "not-strict", "margin > threshold"),
        (trying(lambda m: m, decide=lambda margin, t: margin < t), "reversed", "speaks for the span"),
        (trying(sign=-1), "always-answers", "unanswerable question is lost"),
        (trying(give=lambda t, score: score), "score-returned", "best mean score"),
        (lambda margins, answered, silent: -math.inf, "always-answers", "always answers"),
        (lambda margins, answered, silent: 0.0, "zero", "alike"),
        (lambda margins, answered, silent: math.nan, "value", "not a number"),
        (trying(lambda margins: margins), "not-strict", "Minus infinity"),
        (lambda margins, answered, silent: 99.0, "never-answers", "never answers"),
        (lambda margins, answered, silent: [1], "wrong-type", "number"),
        (lambda margins, answered, silent: margins.pop(99), "exception", "IndexError"),
    ],
)
def test_threshold_rejects(answer, misconception, word):
    rejected("16.5", answer, misconception, word)


def by_sorting(margins, answered, silent):
    order = np.argsort(margins)
    gains = (np.asarray(silent) - np.asarray(answered))[order]
    totals = np.concatenate([[0.0], np.cumsum(gains)])
    best = int(totals.argmax())
    return margins[order[best - 1]] if best else min(margins) - 1


def in_the_middle(margins, answered, silent):
    """Half-way between two margins is as good."""
    places = sorted(margins)
    middles = [places[0] - 1, *((a + b) / 2 for a, b in itertools.pairwise(places)), places[-1] + 1]
    return torch.tensor(trying(lambda _: middles)(margins, answered, silent), dtype=torch.float64)


@pytest.mark.parametrize("answer", [by_sorting, in_the_middle])
def test_threshold_accepts(answer):
    accepted("16.5", answer)
