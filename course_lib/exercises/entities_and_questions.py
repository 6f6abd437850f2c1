"""Notebook 16: labels of pieces, the F1 of an answer's words, the best span, windows, and when to be silent."""

import itertools
import math
from collections import Counter
from typing import Any

import torch

from .engine import Choice, Question, Rejected, exercise, quiz
from .judging import call, function, number, random_tensor, reject_if

_HERE = "course_lib.exercises.references.entities_and_questions"


def _integers(value: Any, what: str) -> list[int]:
    """A list, tuple, array or tensor of whole numbers as a list of int."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    reject_if(
        not isinstance(value, list | tuple), f"{what} should be a list and is a {type(value).__name__}", "wrong-type"
    )
    found = []
    for entry in value:
        reject_if(entry is None, f"{what} has a None in it; a label that does not count is -100", "none-in-list")
        whole = number(entry, f"an entry of {what}")
        reject_if(not math.isfinite(whole) or whole != int(whole), f"{what} holds {entry}: whole numbers", "wrong-type")
        found.append(int(whole))
    return found


# --- 16.1 -------------------------------------------------------------------------------------------------------


@exercise(
    "16.1",
    title="Align the labels",
    minutes=8,
    difficulty=2,
    hints=(
        "Walk along the pieces. How can you tell from `word_ids` that a piece is the first one of its word?",
        "A piece counts if its word is not None and is another one than that of the piece before. Then its label is "
        "that of its word; everywhere else it is -100.",
        "`for word in word_ids:` append `labels[word] if word is not None and word != before else -100`, then "
        "`before = word`.",
    ),
    reference=f"{_HERE}:align_labels",
)
def judge_align_labels(answer):
    align = function(answer, "align_labels")
    cases = [
        ([1, 3, 1, 2], [0, 4, 0, 9]),
        ([1, 1, 1], [5, 3, 7]),
        ([2, 1], [6, 6]),
        ([1, 0, 2, 1], [3, 8, 5, 0]),  # word 1 has no piece at all
        ([4], [2]),
    ]
    for counts, labels in cases:
        words = [word for word, count in enumerate(counts) for _ in range(count)]
        for word_ids in ([None, *words, None], [None, *words, None, None, None], words):
            result = call(align, list(word_ids), list(labels))
            _judge_aligned(_integers(result, "your result"), word_ids, labels)
    return "each word is labelled once, at its first piece; what is -100 costs nothing and teaches nothing"


def _judge_aligned(found: list[int], word_ids: list, labels: list[int]) -> None:
    places = list(enumerate(word_ids))
    first = {i for i, word in places if word is not None and (i == 0 or word_ids[i - 1] != word)}
    last = {i for i, word in places if word is not None and (i == len(word_ids) - 1 or word_ids[i + 1] != word)}
    right = [labels[word] if i in first else -100 for i, word in places]
    if found == right:
        return
    case = f"for word_ids {word_ids} and labels {labels} you return {found}"
    reject_if(
        len(found) == len(labels) != len(word_ids),
        f"{case}: one label a word. The model gives logits for each piece: return one label for each of the "
        f"{len(word_ids)} entries of word_ids",
        "one-per-word",
    )
    reject_if(
        len(found) != len(word_ids),
        f"{case}: {len(found)} labels for {len(word_ids)} pieces; each piece needs one, special tokens included",
        "length",
    )
    by_place = [labels[i] if i < len(labels) else None for i, _ in places]
    reject_if(
        all(want is None or got == want for got, want in zip(found, by_place, strict=True)),
        f"{case}: the n-th piece got the n-th label. [CLS] comes first and words are cut, so they drift apart: ask "
        "word_ids which word a piece belongs to",
        "by-position",
    )
    # Take apart the pieces that should have been ignored.
    special = [found[i] for i, word in places if word is None]
    further = [(found[i], labels[word]) for i, word in places if word is not None and i not in first]
    reject_if(
        found == [labels[word] if i in last else -100 for i, word in places],
        f"{case}: you label the last piece of each word; the convention, and what we read at prediction, is the first",
        "last-piece",
    )
    kept = all(found[i] == right[i] for i in first)
    reject_if(
        kept and any(label != -100 for label in special),
        f"{case}: [CLS], [SEP] and padding (word None) are no words: label them -100, so that the loss ignores them",
        "special-labelled",
    )
    reject_if(
        kept and any(got == own != -100 for got, own in further),
        f"{case}: a further piece carries its word's label again. With B- that marks a second entity: use -100 there",
        "every-piece",
    )
    reject_if(
        kept and any(got != -100 for got, _ in further),
        f"{case}: further pieces got labels of their own; outside (0) is an answer too, and a false one: use -100",
        "further-labelled",
    )
    lost = next((i for i in sorted(first) if found[i] != right[i]), None)
    reject_if(lost is None, f"{case}; expected {right}", "value")
    word = word_ids[lost]
    reject_if(True, f"{case}: piece {lost} is the first one of word {word}, whose label is {labels[word]}", "value")


# --- 16.2 -------------------------------------------------------------------------------------------------------


@exercise(
    "16.2",
    title="The F1 of an answer",
    minutes=8,
    difficulty=2,
    hints=(
        "How many words do the two lists share, if a word that stands twice in both counts twice?",
        "`Counter(predicted) & Counter(right)` keeps the smaller count of each word. Precision divides the shared "
        "words by the predicted ones, recall by the right ones. Treat empty lists first.",
        "`if not predicted or not right: return float(predicted == right)`, then "
        "`2 * shared / (len(predicted) + len(right))`.",
    ),
    reference=f"{_HERE}:word_f1",
)
def judge_word_f1(answer):
    word_f1 = function(answer, "word_f1")
    cases = [
        ("a b c d e", "x b y c d f g"),
        ("the quay", "the old quay"),
        ("in may", "may"),
        ("six", "seven"),
        ("a b c d e", "c d e f g h i"),
        ("no no no yes", "no no yes yes yes"),
        ("very very cold", "very cold"),
        ("b a", "a b"),
        ("", ""),
        ("", "seven"),
        ("seven", ""),
    ]
    for predicted, right in ((one.split(), other.split()) for one, other in cases):
        try:
            found = number(call(word_f1, list(predicted), list(right)), "your F1")
        except Rejected as rejection:
            if rejection.misconception == "exception" and not (predicted and right):
                raise Rejected(
                    f"for predicted={predicted} and right={right} {rejection.message}: with an empty list it is all or "
                    "nothing, so treat it first",
                    "empty",
                ) from rejection
            raise
        _judge_f1(found, predicted, right)
    return "the words that both share, against all words of both; two silences agree"


def _judge_f1(found: float, predicted: list[str], right: list[str]) -> None:
    case = f"for predicted={predicted} and right={right} you return {found:.3g}"
    if not predicted or not right:
        expected = float(predicted == right)
        reject_if(
            abs(found - expected) > 1e-4,
            f"{case}: with an empty list it is all or nothing, 1 if both are empty and 0 if one is",
            "empty",
        )
        return
    shared = (Counter(predicted) & Counter(right)).total()
    expected = 2 * shared / (len(predicted) + len(right))
    if abs(found - expected) <= 1e-4:
        return
    one, other = set(predicted), set(right)
    known = [
        (shared / len(predicted), "precision", "that is precision alone: short answers would always win"),
        (shared / len(right), "recall", "that is recall alone: the whole passage would be the perfect answer"),
        (
            (shared / len(predicted) + shared / len(right)) / 2,
            "arithmetic-mean",
            "that is the plain mean of precision and recall; F1 is the harmonic one, 2PR / (P + R)",
        ),
        (
            2 * len(one & other) / (len(one) + len(other)),
            "sets",
            "you compare sets; a word that stands twice counts twice, as often as both have it",
        ),
        (
            2 * sum(word in right for word in predicted) / (len(predicted) + len(right)),
            "repeats-counted",
            "a repeated word is counted as often as it is predicted; it counts at most as often as the right answer "
            "has it",
        ),
        (2 * len(one & other) / (len(predicted) + len(right)), "sets", "the shared words are counted as a set"),
        (shared / (Counter(predicted) | Counter(right)).total(), "jaccard", "that is shared / all, the Jaccard index"),
        (float(predicted == right), "exact-match", "that is exact match; F1 gives credit for a part"),
        (
            sum(a == b for a, b in zip(predicted, right, strict=False)) * 2 / (len(predicted) + len(right)),
            "by-position",
            "you compare word by word at the same place; the place does not matter, only how often a word occurs",
        ),
        (100 * expected, "percent", "that is a percentage; return a number from 0 to 1"),
    ]
    for value, name, message in known:
        reject_if(abs(found - value) <= 1e-4, f"{case}: {message}", name)
    reject_if(
        True, f"{case}; {shared} words are shared, so it is 2 · {shared} / ({len(predicted)} + {len(right)})", "value"
    )


# --- 16.3 -------------------------------------------------------------------------------------------------------


@exercise(
    "16.3",
    title="The best span",
    minutes=10,
    difficulty=3,
    hints=(
        "Which pairs (first, last) are spans at all? Write down for three tokens those with at most two.",
        "Two loops: `first` over all tokens, `last` from `first` to `first + max_tokens - 1` or the end of the "
        "passage. Keep the pair with the largest start[first] + end[last].",
        "`for last in range(first, min(first + max_tokens, len(end)))` inside `for first in range(len(start))`; "
        "compare with the best score so far, which begins at `-math.inf`.",
    ),
    reference=f"{_HERE}:best_span",
)
def judge_best_span(answer):
    best_span = function(answer, "best_span")
    by_hand = [
        ([0.0, 5.0, 1.0, 2.0], [6.0, 0.0, 3.0, 1.0], 4),  # the best end stands before the best start
        ([4.0, 0.0, 0.0, 3.5], [0.0, 1.0, 0.0, 5.0], 4),
        ([4.0, 0.0, 3.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 5.0], 3),  # the best pair is one token too long
        ([1.0, 5.0, 0.0, 4.5], [0.0, -9.0, -8.0, 4.0], 2),  # the best start has no good end
        ([-3.0, -7.0], [-2.0, -1.0], 2),  # all scores are negative
        ([1.0], [1.0], 5),
    ]
    drawn = []
    for seed in range(12):
        length = (5, 7, 11, 13)[seed % 4]
        start, end = random_tensor(seed, length).tolist(), random_tensor(seed + 50, length).tolist()
        drawn.append((start, end, (1, 2, 3, 20)[seed % 4]))
    for start, end, max_tokens in by_hand + drawn:
        result = call(best_span, torch.tensor(start), torch.tensor(end), max_tokens)
        found = _integers(result, "your result")
        reject_if(len(found) != 2, f"return two numbers, first and last token, not {len(found)}", "shape")
        _judge_span(tuple(found), start, end, max_tokens)
    return "all pairs that are spans compete as pairs: the best start and the best end need not fit together"


def _best_of(pairs: list[tuple[int, int]], start: list[float], end: list[float]) -> tuple[int, int]:
    return max(pairs, key=lambda pair: start[pair[0]] + end[pair[1]])


def _judge_span(found: tuple[int, int], start: list[float], end: list[float], max_tokens: int) -> None:
    length = len(start)
    every = [(i, j) for i in range(length) for j in range(length)]
    forward = [(i, j) for i, j in every if i <= j]
    spans = [(i, j) for i, j in forward if j - i < max_tokens]
    right = _best_of(spans, start, end)
    if found == right:
        return
    listed = f"start {[round(x, 1) for x in start]}, end {[round(x, 1) for x in end]}, max_tokens={max_tokens}"
    case = f"for {listed} you return {found}"
    reject_if(
        found == (right[0], right[1] + 1), f"{case}: `last` is the last token itself, not the one behind", "exclusive"
    )
    both = (start.index(max(start)), end.index(max(end)))
    backward = found[1] < found[0]
    reject_if(
        found == both and (backward or found not in spans),
        f"{case}: these are the best start and the best end, each by itself, and together they are no span: "
        + ("it ends before it starts" if backward else f"it has {found[1] - found[0] + 1} tokens"),
        "independent",
    )
    reject_if(backward, f"{case}: it ends before it starts", "backwards")
    reject_if(not 0 <= found[0] <= found[1] < length, f"{case}: the tokens are 0 to {length - 1}", "outside")
    too_long = found[1] - found[0] >= max_tokens
    reject_if(
        too_long and found[1] - found[0] == max_tokens,
        f"{case}: from {found[0]} to {found[1]}, both included, are {max_tokens + 1} tokens",
        "one-too-long",
    )
    reject_if(too_long, f"{case}: that span has {found[1] - found[0] + 1} tokens", "too-long")
    greedy = _best_of([pair for pair in spans if pair[0] == both[0]], start, end)
    reject_if(
        found == greedy,
        f"{case}: you fix the best start and then look for an end. A slightly worse start may have a far better end: "
        f"{right} scores {start[right[0]] + end[right[1]]:.1f}, yours {start[found[0]] + end[found[1]]:.1f}",
        "greedy",
    )
    shorter = [pair for pair in spans if pair[1] - pair[0] < max_tokens - 1]
    reject_if(
        bool(shorter) and found == _best_of(shorter, start, end),
        f"{case}: a span of exactly max_tokens tokens is allowed, and {right} is better",
        "one-too-short",
    )
    reject_if(
        True,
        f"{case}, with the score {start[found[0]] + end[found[1]]:.1f}; {right} scores "
        f"{start[right[0]] + end[right[1]]:.1f}",
        "value",
    )


# --- 16.4 -------------------------------------------------------------------------------------------------------


@exercise(
    "16.4",
    title="Windows over a long passage",
    minutes=10,
    difficulty=3,
    hints=(
        "If a window starts at 0, has 10 tokens, and the next shares 3 of them: where does the next start?",
        "Each window starts size - overlap tokens after the one before. Stop at the first that reaches the end: a "
        "further one would hold nothing new.",
        "`while True:` append `(start, min(start + size, length))`; return if `start + size >= length`; "
        "`start += size - overlap`.",
    ),
    reference=f"{_HERE}:windows",
)
def judge_windows(answer):
    windows = function(answer, "windows")
    for length, size, overlap in [
        (23, 10, 3),
        (24, 10, 3),
        (25, 10, 3),
        (17, 7, 0),
        (14, 7, 0),
        (11, 5, 4),
        (31, 12, 7),
        (7, 10, 3),
        (10, 10, 3),
        (11, 10, 3),
        (1, 5, 2),
    ]:
        result = call(windows, length, size, overlap)
        result = result.tolist() if hasattr(result, "tolist") else result
        try:
            pairs = [tuple(pair) for pair in result]
        except TypeError:
            pairs = None
        reject_if(
            pairs is None or any(len(pair) != 2 for pair in pairs),
            "return a list of pairs (start, end), one for each window",
            "wrong-type",
        )
        found = [tuple(_integers(pair, "a window")) for pair in pairs]
        _judge_windows(found, length, size, overlap)
    return "each answer of up to overlap + 1 tokens stands in one of the windows as a whole"


def _judge_windows(found: list[tuple[int, int]], length: int, size: int, overlap: int) -> None:
    count = max(0, math.ceil((length - size) / (size - overlap))) + 1
    right = [(k * (size - overlap), min(k * (size - overlap) + size, length)) for k in range(count)]
    if found == right:
        return
    case = f"for length={length}, size={size}, overlap={overlap} you return {found}"
    reject_if(not found, f"{case}: a passage has at least one window, even if it is short", "no-window")
    reject_if(
        any(end > length for _, end in found),
        f"{case}: a window ends behind the last token; the passage ends at {length}",
        "behind-the-end",
    )
    lasts = [(start, end - 1) for start, end in right]
    reject_if(found == lasts, f"{case}: `end` is the place behind the last token, as in a slice", "inclusive")
    covered = {token for start, end in found for token in range(start, end)}
    steps = {later[0] - earlier[0] for earlier, later in itertools.pairwise(found)}
    if steps and steps != {size - overlap}:
        step = min(steps)
        reject_if(
            steps == {overlap} and overlap > 0,
            f"{case}: each window starts {step} tokens after the one before, so they share {size - step}. Here "
            f"{overlap} is the overlap; papers call the step the stride, tokenizers the overlap",
            "stride-is-step",
        )
        reject_if(
            steps == {size},
            f"{case}: the windows do not overlap; an answer across a border would stand in none as a whole",
            "no-overlap",
        )
        reject_if(True, f"{case}: a window should start {size - overlap} tokens after the one before", "step")
    reject_if(
        found[: len(right)] == right,
        f"{case}: {found[-1]} holds nothing that the window before lacks: stop at the first that reaches {length}",
        "nothing-new",
    )
    missing = sorted(set(range(length)) - covered)
    reject_if(
        bool(missing),
        f"{case}: tokens {missing} are in no window; the last window may be shorter than {size}",
        "end-lost",
    )
    reject_if(True, f"{case}; expected {right}", "value")


# --- 16.5 -------------------------------------------------------------------------------------------------------


@exercise(
    "16.5",
    title="When to be silent",
    minutes=10,
    difficulty=3,
    hints=(
        "Only a few thresholds lead to different decisions. Which numbers are worth trying?",
        "Between two neighbouring margins nothing changes, so the margins themselves, and minus infinity for 'always "
        "answer', are all there is to try. For each, average `answered` where the margin is larger and `silent` "
        "elsewhere.",
        "`max([-math.inf, *margins], key=mean_score)` with `mean_score(t)` the mean of "
        "`a if m > t else s for m, a, s in zip(margins, answered, silent)`.",
    ),
    reference=f"{_HERE}:best_threshold",
)
def judge_best_threshold(answer):
    choose = function(answer, "best_threshold")
    cases = [
        ([3.0, 1.0, -2.0, 0.4], [1.0, 0.0, 0.0, 0.8], [0.0, 1.0, 1.0, 0.0]),
        ([3.0, 1.0, 2.0], [1.0, 0.5, 0.7], [0.0, 0.0, 0.0]),  # always answer
        ([3.0, 1.0, 2.0], [0.0, 0.0, 0.0], [1.0, 0.0, 1.0]),  # never answer
        ([-3.0, -5.0, -4.0, -9.0], [1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]),  # all margins are negative
        ([5.0, 6.0, 7.0, 8.0], [0.0, 0.0, 0.9, 1.0], [1.0, 1.0, 0.0, 0.0]),
    ]
    for seed in range(6):
        margins = (3 * random_tensor(seed, 13)).tolist()
        there = [
            margin + noise > 0 for margin, noise in zip(margins, random_tensor(seed + 9, 13).tolist(), strict=True)
        ]
        answered = [
            abs(math.sin(7 * margin)) if is_there else 0.0 for margin, is_there in zip(margins, there, strict=True)
        ]
        cases.append((margins, answered, [float(not is_there) for is_there in there]))
    for margins, answered, silent in cases:
        threshold = number(call(choose, list(margins), list(answered), list(silent)), "your threshold")
        reject_if(math.isnan(threshold), "your threshold is not a number", "value")
        _judge_threshold(threshold, margins, answered, silent)
    return "a threshold is chosen by the score it leads to, on questions that the report does not use"


def _judge_threshold(threshold: float, margins: list[float], answered: list[float], silent: list[float]) -> None:
    def mean(decide) -> float:
        return sum(a if decide(m) else s for m, a, s in zip(margins, answered, silent, strict=True)) / len(margins)

    scores = {t: mean(lambda m, t=t: m > t) for t in (-math.inf, *margins)}
    best, found = max(scores.values()), mean(lambda m: m > threshold)
    if abs(found - best) <= 1e-6:
        return
    case = (
        f"for margins {[round(m, 1) for m in margins]} your threshold {threshold:.3g} gives the mean score "
        f"{found:.3g}, and {best:.3g} can be had"
    )
    reject_if(
        abs(threshold - best) <= 1e-6,
        f"{case}: you return the best mean score; return the threshold that leads to it",
        "score-returned",
    )
    reject_if(
        abs(mean(lambda m: m >= threshold) - best) <= 1e-6,
        f"{case}: you seem to answer where margin >= threshold; the rule is margin > threshold, so one question too "
        "few is answered. Minus infinity is a threshold too",
        "not-strict",
    )
    reject_if(
        found == scores[-math.inf],
        f"{case}: it always answers, and then every unanswerable question is lost",
        "always-answers",
    )
    backwards = [(mean(lambda m, t=t: m <= t), mean(lambda m, t=t: m < t)) for t in (-math.inf, *margins)]
    own = (mean(lambda m: m <= threshold), mean(lambda m: m < threshold))
    best_backwards = (max(column) for column in zip(*backwards, strict=True))
    is_reversed = any(abs(one - other) <= 1e-6 for one, other in zip(own, best_backwards, strict=True))
    reject_if(
        is_reversed or found <= min(scores.values()) + 1e-6,
        f"{case}: it answers where it should be silent. A large margin speaks for the span: answer where margin > t",
        "reversed",
    )
    reject_if(
        not any(m > threshold for m in margins),
        f"{case}: it never answers. Is minus infinity, or a small margin, among the thresholds that you try?",
        "never-answers",
    )
    reject_if(
        threshold == 0,
        f"{case}: 0 is where span and silence score alike, which need not be the best place to decide",
        "zero",
    )
    reject_if(True, f"{case}: try every margin, and minus infinity", "value")


quiz(
    "16",
    Question(
        "A tagger that says O for every word of these tweets has a token accuracy of 0.96. What is its entity F1?",
        (
            Choice("0.96", "that is the share of words outside entities, which F1 does not look at"),
            Choice("0", "right: it finds no entity, so recall is 0, and with it F1"),
            Choice("0.5", "F1 is no chance level: without one entity found it cannot be above 0"),
        ),
        1,
    ),
    Question(
        "The word 'Oslo' is cut into 'os' and '##lo' and its tag is B-geo-loc. What do the two pieces get?",
        (
            Choice("B-geo-loc and B-geo-loc", "that would mark two places, one after the other"),
            Choice("B-geo-loc and O", "O is an answer as well: it would teach that the middle of names is outside"),
            Choice("B-geo-loc and -100", "right: the word is labelled once, and the loss ignores the other piece"),
        ),
        2,
    ),
    Question(
        "Why does the best span not simply join the best start and the best end?",
        (
            Choice("They may form no span", "right: the end may stand before the start, or far behind it"),
            Choice("The sum of two logits is no probability", "true, but for choosing the largest it does not matter"),
            Choice("It would be too slow", "two maxima are the fastest thing one can do; the result is what is wrong"),
        ),
        0,
    ),
    Question(
        "A question has no answer in the passage and the model returns 'Tuesday'. What are EM and F1 by SQuAD 2?",
        (
            Choice("0 and 0", "right: for a question without an answer only silence scores, and it scores 1"),
            Choice("It is not counted", "SQuAD 2 added such questions in order to count them"),
            Choice("0 and a little", "there is no right word to share, so F1 is all or nothing"),
        ),
        0,
    ),
    Question(
        "You cut a passage into windows that share 30 tokens. Which answers stand in one window as a whole, for sure?",
        (
            Choice("All", "one of 200 tokens does not fit into a window of 100"),
            Choice("Those of at most 31 tokens", "right: one more than the overlap, wherever they start"),
            Choice("Those of at most 15 tokens", "these too, but longer ones as well, up to the overlap and one more"),
        ),
        1,
    ),
)
