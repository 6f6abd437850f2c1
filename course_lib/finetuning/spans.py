"""Answers that stand in a passage: questions as rows for a span head, and the best spans of its logits.

A question and its passage become one or more rows, called windows where a long passage takes several. The head gives
each token of a window two numbers, how well an answer starts there and how well it ends there (Devlin et al. 2019).
Place 0, [CLS], stands for "no answer in this window".
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from course_lib.finetuning.recipe import predict, require_readable

NO_ANSWER = 0  # the place of [CLS]
Offsets = Sequence[tuple[int, int] | None]
Example = Mapping[str, Any]


class Span(NamedTuple):
    """Tokens `start` to `end`, both included, and the sum of their two logits."""

    score: float
    start: int
    end: int


class Candidate(NamedTuple):
    """A possible answer: its score, its characters `start` to `end` - 1 of the passage, and their text."""

    score: float
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Prediction:
    """What a model says of one question.

    `candidates` are the best spans, best first; `null_score` is the score of "no answer": that of the window which
    is least sure of it, because the answer needs to stand in one window only.
    """

    candidates: tuple[Candidate, ...]
    null_score: float

    @property
    def margin(self) -> float:
        """By how much the best span beats "no answer"; minus infinity if there is no span."""
        return self.candidates[0].score - self.null_score if self.candidates else -np.inf

    def answer(self, threshold: float | None = 0.0) -> str:
        """The text of the best span where its margin exceeds the threshold, else ""; None always answers."""
        if not self.candidates or (threshold is not None and self.margin <= threshold):
            return ""
        return self.candidates[0].text


def encode_questions(
    tokenizer: Callable,
    examples: Sequence[Example],
    *,
    max_length: int = 128,
    stride: int = 32,
    answers: bool = False,
) -> list[dict[str, Any]]:
    """Turn questions with passages into rows for `fit` and `predict`, as many for each as its passage needs.

    Each row has `input_ids`, `token_type_ids`, `example` (the number of its question) and `offsets`: for each token
    its characters in the passage, None for [CLS], [SEP] and the question. With `answers` it has `start_positions` and
    `end_positions` too, of the first right answer, or 0 and 0 where that does not stand in the window as a whole.

    Args:
        tokenizer: one of transformers', a fast one.
        examples: mappings in SQuAD's form, with `question`, `context` and, where asked for, `answers`.
        max_length: tokens of a window, question and special tokens included.
        stride: tokens of the passage that a window shares with the one before. An answer of at most stride + 1
            tokens stands in one window as a whole.

    Raises:
        TypeError: a question or passage that is not a string.
        ValueError: no examples, an empty question or passage, a question that leaves no room, or an answer that does
            not stand in its passage where it is said to.
    """
    _check_examples(examples, answers)
    require_readable(tokenizer, max_length, least=5)
    if stride < 0:
        raise ValueError(f"stride={stride} must not be negative: it is the overlap of two windows")
    questions = [example["question"] for example in examples]
    for index, ids in enumerate(tokenizer(questions, add_special_tokens=False)["input_ids"]):
        if max_length - len(ids) - 3 <= stride:
            raise ValueError(
                f"question {index} has {len(ids)} tokens: in windows of max_length={max_length} it leaves "
                f"{max(0, max_length - len(ids) - 3)} for the passage, and stride={stride} needs more than that"
            )
    encoded = tokenizer(
        questions,
        [example["context"] for example in examples],
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    rows = []
    for index, number in enumerate(encoded["overflow_to_sample_mapping"]):
        parts = encoded.sequence_ids(index)
        offsets = [
            pair if part == 1 else None for pair, part in zip(encoded["offset_mapping"][index], parts, strict=True)
        ]
        row = {name: encoded[name][index] for name in ("input_ids", "token_type_ids")}
        row |= {"example": number, "offsets": offsets}
        if answers:
            row["start_positions"], row["end_positions"] = locate(offsets, *_target(examples[number]))
        rows.append(row)
    return rows


def _check_examples(examples: Sequence[Example], answers: bool) -> None:
    if not len(examples):
        raise ValueError("examples is empty: there is nothing to encode")
    for index, example in enumerate(examples):
        for name in ("question", "context"):
            if not isinstance(example[name], str):
                raise TypeError(f"the {name} of example {index} is {type(example[name]).__name__}, not a string")
            if not example[name].strip():
                raise ValueError(f"the {name} of example {index} is empty: drop it before encoding")
        if not answers:
            continue
        texts, starts = example["answers"]["text"], example["answers"]["answer_start"]
        if len(texts) != len(starts):
            raise ValueError(f"example {index} has {len(texts)} answers and {len(starts)} places of answers")
        for text, start in zip(texts, starts, strict=True):
            if not text or start < 0 or example["context"][start : start + len(text)] != text:
                raise ValueError(f"example {index}: the answer {text!r} does not stand in the passage at {start}")


def _target(example: Example) -> tuple[int, int]:
    """First character and end of the first right answer; (0, 0) if there is none."""
    if not example["answers"]["text"]:
        return 0, 0
    start = example["answers"]["answer_start"][0]
    return start, start + len(example["answers"]["text"][0])


def locate(offsets: Offsets, start: int, end: int) -> tuple[int, int]:
    """First and last token that hold the characters `start` to `end` - 1; (0, 0) if the window lacks any of them.

    Where a token is longer than the answer, "1911," say, the whole token is taken.
    """
    inside = [
        token
        for token, pair in enumerate(offsets)
        if pair is not None and pair[0] < end and pair[1] > start  # they overlap
    ]
    if not inside or offsets[inside[0]][0] > start or offsets[inside[-1]][1] < end:
        return NO_ANSWER, NO_ANSWER
    return inside[0], inside[-1]


def best_spans(
    start_logits: ArrayLike, end_logits: ArrayLike, allowed: ArrayLike, n: int = 20, max_tokens: int = 15
) -> list[Span]:
    """The `n` spans with the largest sum of start and end logit, best first.

    A span starts and ends at allowed tokens, does not end before it starts, and has at most `max_tokens` tokens.
    Every such span is looked at, not only those of the best starts and ends.

    Raises:
        ValueError: lengths that differ, or `n` or `max_tokens` below 1.
    """
    start, end, allowed = np.asarray(start_logits), np.asarray(end_logits), np.asarray(allowed, dtype=bool)
    if not start.shape == end.shape == allowed.shape or start.ndim != 1:
        raise ValueError(f"start {start.shape}, end {end.shape} and allowed {allowed.shape} must be equally long rows")
    for name, value in (("n", n), ("max_tokens", max_tokens)):
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    possible = np.triu(allowed[:, None] & allowed) & ~np.triu(np.ones((len(start),) * 2, dtype=bool), max_tokens)
    starts, ends = np.nonzero(possible)
    scores = start[starts] + end[ends]
    best = np.argsort(-scores, kind="stable")[:n]  # of equal spans the one that starts, then ends, earlier
    return [Span(float(scores[i]), int(starts[i]), int(ends[i])) for i in best]


def predict_answers(
    model: nn.Module,
    tokenizer: Callable,
    examples: Sequence[Example],
    *,
    max_length: int = 128,
    stride: int = 32,
    n: int = 20,
    max_tokens: int = 15,
    batch_size: int = 64,
) -> list[Prediction]:
    """Read each passage in windows and collect the `n` best answers to its question over all of them.

    The arguments are those of `encode_questions` and `best_spans`. Raises as these.
    """
    rows = encode_questions(tokenizer, examples, max_length=max_length, stride=stride)
    logits = predict(model, rows, batch_size=batch_size)
    return [
        combine([rows[i] for i in members], [logits[i] for i in members], examples[number]["context"], n, max_tokens)
        for number, members in _windows(rows)
    ]


def _windows(rows: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, list[int]]]:
    """Each question's number with the rows that are its windows."""
    groups: dict[int, list[int]] = {}
    for index, row in enumerate(rows):
        groups.setdefault(row["example"], []).append(index)
    yield from sorted(groups.items())


def combine(
    rows: Sequence[Mapping[str, Any]], logits: Sequence[ArrayLike], context: str, n: int = 20, max_tokens: int = 15
) -> Prediction:
    """One prediction from the windows of a question; a span that two windows hold counts once, with its better score.

    Args:
        rows: the windows, from `encode_questions`.
        logits: for each `[length, 2]`, start and end.

    Raises:
        ValueError: no windows, or another number of logits than of tokens.
    """
    if not len(rows) or len(rows) != len(logits):
        raise ValueError(f"{len(rows)} windows and logits for {len(logits)}: they must be pairs, at least one")
    found: dict[tuple[int, int], float] = {}
    null_scores = []
    for row, window in zip(rows, logits, strict=True):
        start, end = np.asarray(window, dtype=float).T
        offsets = row["offsets"]
        if len(start) != len(offsets):
            raise ValueError(f"a window of {len(offsets)} tokens has logits for {len(start)}")
        null_scores.append(start[NO_ANSWER] + end[NO_ANSWER])
        for span in best_spans(start, end, [pair is not None for pair in offsets], n, max_tokens):
            place = (offsets[span.start][0], offsets[span.end][1])
            found[place] = max(span.score, found.get(place, -np.inf))
    best = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:n]
    candidates = tuple(Candidate(score, *place, context[slice(*place)]) for place, score in best)
    return Prediction(candidates, float(min(null_scores)))
