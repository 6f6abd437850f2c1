"""Notebook 12: what stands behind a pipeline; which class is chosen; batches, means, entities and answers by hand."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from .engine import Choice, Question, exercise, quiz
from .judging import Mistake, call, compare, function, number, random_tensor, reject_if, tensor

_HERE = "course_lib.exercises.references.hugging_face_tour"


# 12.1 ----------------------------------------------------------------------------------------------------


@exercise(
    "12.1",
    title="A pipeline from its logits",
    minutes=8,
    difficulty=2,
    hints=(
        "Which function turns scores without a unit into numbers that are positive and sum to 1?",
        "Softmax over the classes; then sort the classes by probability, largest first; then take the names from "
        "`id2label`, and as many as `top_k` says, or all for None.",
        "`p = torch.softmax(logits, dim=-1)`, `order = p.argsort(descending=True)[:top_k]`, and for each `i` of "
        '`order.tolist()` the dictionary `{"label": id2label[i], "score": p[i].item()}`. A slice `[:None]` takes all.',
    ),
    reference=f"{_HERE}:label_scores",
)
def judge_label_scores(answer):
    label_scores = function(answer, "label_scores")
    for seed, (count, top_k) in enumerate([(3, 1), (5, 2), (7, None), (2, None), (5, 5)]):
        logits = 3 * random_tensor(seed, count)
        names = {i: f"class {chr(ord('p') + (3 * i + seed) % 11)}" for i in range(count)}
        found = _label_scores(call(label_scores, logits, dict(names), top_k), names)
        _judge_ranking(found, logits.double(), names, top_k)
    huge = torch.tensor([1000.0, 1001.0])
    found = _label_scores(call(label_scores, huge, {0: "no", 1: "yes"}, None), {0: "no", 1: "yes"})
    reject_if(
        any(math.isnan(score) for _, score in found),
        "for the logits (1000, 1001) your scores are nan, because exp(1000) is too large a number: use torch.softmax, "
        "or subtract the largest logit first",
        "overflow",
    )
    _judge_ranking(found, huge.double(), {0: "no", 1: "yes"}, None)
    return "softmax, sort, names: that is the last of a pipeline's three steps"


def _label_scores(value: Any, names: Mapping[int, str]) -> list[tuple[str, float]]:
    """The learner's list as pairs; dictionaries with `label` and `score`, and pairs, are read."""
    reject_if(isinstance(value, Mapping), "one dictionary came back; a list of them is asked for", "wrong-type")
    reject_if(not isinstance(value, Sequence) or isinstance(value, str), "a list is asked for", "wrong-type")
    pairs = []
    for row in value:
        if isinstance(row, Mapping):
            reject_if(not {"label", "score"} <= row.keys(), "each row needs `label` and `score`", "keys")
            row = (row["label"], row["score"])
        reject_if(not isinstance(row, Sequence) or len(row) != 2, "each row needs a label and a score", "wrong-type")
        label, score = row
        reject_if(
            not isinstance(label, str),
            f"a label is {label!r}; give its name, `id2label[i]`",
            "no-name",
        )
        reject_if(label not in names.values(), f"{label!r} is not among the names in `id2label`", "no-name")
        pairs.append((label, number(score, "a score")))
    return pairs


def _judge_ranking(found: list[tuple[str, float]], logits: Tensor, names: Mapping[int, str], top_k: int | None) -> None:
    right = torch.softmax(logits, dim=-1)
    asked = len(right) if top_k is None else top_k
    reject_if(
        len(found) != asked,
        f"of {len(right)} classes {len(found)} came back for top_k={top_k}; {asked} are asked for",
        "top-k",
    )
    ids = {name: i for i, name in names.items()}
    scores = torch.tensor([score for _, score in found], dtype=torch.float64)
    mine = [ids[label] for label, _ in found]
    expected = right[mine]
    compare(
        scores,
        expected,
        [
            Mistake(logits[mine], "no-softmax", "these are the logits themselves; softmax makes probabilities of them"),
            Mistake(
                logits[mine].exp(),
                "not-normalised",
                "your scores are positive and do not sum to 1: divide each exp by the sum of all",
            ),
            Mistake(
                logits[mine].sigmoid(),
                "sigmoid",
                "this is a sigmoid of each logit by itself; classes that exclude each other share one sum: softmax",
            ),
            Mistake(right[mine].log(), "logarithm", "these are log-probabilities; take softmax, not log_softmax"),
            Mistake(
                logits[mine].softmax(dim=-1),
                "after-cutting",
                "you took the best classes first and the softmax over these alone: the others count in the sum too",
            ),
            Mistake(
                right.sort(descending=True).values[: len(mine)],
                "names-mixed",
                "the scores are right and stand beside the wrong names: sort ids and scores together",
            ),
        ],
        "the scores are not the softmax of the logits",
    )
    best = right.argsort(descending=True)[: len(mine)].tolist()
    if mine == best:
        return
    reject_if(mine == list(range(len(mine))), "the classes stand in the order of their ids; best first", "not-sorted")
    reject_if(mine == right.argsort()[: len(mine)].tolist(), "the least probable class comes first", "ascending")
    reject_if(True, "the classes are not sorted by probability, largest first", "not-sorted")


# 12.2 ----------------------------------------------------------------------------------------------------

_CHOSEN = {
    "decided_by": "model_type",
    "class": "BertForTokenClassification",
    "new": {"classifier.weight", "classifier.bias"},
    "weight_shape": (9, 384),
    "left_out": "pooler",
}


@exercise(
    "12.2",
    title="What an Auto class chooses",
    minutes=6,
    difficulty=2,
    hints=(
        "Which line of `config.json` says what kind of model this is, and which part of the Auto class's name says "
        "what it is for?",
        "The kind of model and the purpose together make the name of the class. A tagger gives every token as many "
        "logits as there are labels, and asks nothing about the text as a whole.",
        'Decided by `model_type`; the class is `"Bert" + "ForTokenClassification"`; its head is called `classifier`, '
        "with weight `[num_labels, hidden_size]`; and it has no use for the layer on top of [CLS], the `pooler`.",
    ),
    reference=f"{_HERE}:chosen",
)
def judge_chosen(answer):
    reject_if(not isinstance(answer, Mapping), "a dictionary with five entries is asked for", "wrong-type")
    for name in _CHOSEN:
        reject_if(name not in answer, f"the entry `{name}` is missing", "missing")
        blank = answer[name] is ... or answer[name] is None
        reject_if(
            blank, f"`{name}` still has an empty place; what stands above it in the list is right", "not-finished"
        )
        _CHOSEN_JUDGES[name](answer[name])
    return "model_type and task make the class; what the file lacks is new; what the class lacks is left out"


def _judge_decided_by(value: Any) -> None:
    said = _word(value)
    reject_if(
        said == "architectures",
        "`architectures` records which class wrote the file, here BertModel. An Auto class for another task is still "
        "found: it goes by the family",
        "architectures",
    )
    reject_if(said == "hidden_size", "`hidden_size` is a size; GPT-2 can have the same", "size")
    reject_if(said != _CHOSEN["decided_by"], f"{said!r} does not say which family this is", "value")


def _judge_class(value: Any) -> None:
    said = _word(value)
    for wrong, name, message in (
        ("BertModel", "body", "that is what `AutoModel` gives, the body without a head"),
        (
            "BertForSequenceClassification",
            "sequence",
            "that head says one thing about the whole text; a tagger says something about every token",
        ),
        ("AutoModelForTokenClassification", "auto", "an Auto class is never made; which class does it make here?"),
    ):
        reject_if(said == wrong, message, name)
    reject_if(said != _CHOSEN["class"], f"{said!r} is not what family and task make together", "value")


def _judge_new(value: Any) -> None:
    reject_if(
        isinstance(value, str) or not isinstance(value, Iterable), "a list of two names is asked for", "wrong-type"
    )
    said = {_word(one) for one in value}
    reject_if(
        any("pooler" in one for one in said),
        "the pooler is in the file; what is new is in the model and not in the file",
        "pooler",
    )
    reject_if(said == {"classifier.weight"}, "the head has a bias too", "no-bias")
    reject_if(said != _CHOSEN["new"], f"{sorted(said)} are not the parameters of the head", "value")


def _judge_weight_shape(value: Any) -> None:
    said = tuple(tensor(value, (2,), "`weight_shape`").int().tolist())
    labels, width = _CHOSEN["weight_shape"]
    reject_if(said == (width, labels), "nn.Linear holds its weight as [out, in]: labels first", "transposed")
    reject_if(said == (2, width), "two labels is the default; nine were asked for", "default-labels")
    reject_if(said != (labels, width), f"{said} does not lead from {width} numbers to {labels}", "value")


def _judge_left_out(value: Any) -> None:
    said = _word(value).removeprefix("bert.").split(".")[0]
    reject_if(
        said == "classifier",
        "the head is in the model and not in the file; here it is the other way round",
        "classifier",
    )
    reject_if(said in {"embeddings", "encoder"}, "a tagger needs that part", "value")
    reject_if(said != _CHOSEN["left_out"], f"the file has no part {said!r}", "value")


_CHOSEN_JUDGES: dict[str, Callable[[Any], None]] = {
    "decided_by": _judge_decided_by,
    "class": _judge_class,
    "new": _judge_new,
    "weight_shape": _judge_weight_shape,
    "left_out": _judge_left_out,
}


def _word(value: Any) -> str:
    """A name, given as a string or as the class of that name."""
    said = value.__name__ if isinstance(value, type) else value
    reject_if(not isinstance(said, str), f"{value!r} is no name; write it as a string", "wrong-type")
    return said.strip()


# 12.3 ----------------------------------------------------------------------------------------------------


@exercise(
    "12.3",
    title="A batch with its mask",
    minutes=8,
    difficulty=2,
    hints=(
        "A tensor has rows of one length. How long must they be at least, and what stands at the end of a short row?",
        "Fill each row with `pad_id` up to the longest. The mask has a 1 for each id that was there, whatever its "
        "value, and a 0 for each that you added.",
        "`n = max(map(len, sequences))`; ids: `[[*s, *[pad_id] * (n - len(s))] for s in sequences]`; mask: "
        "`[[1] * len(s) + [0] * (n - len(s)) for s in sequences]`; both through `torch.tensor`.",
    ),
    reference=f"{_HERE}:pad_batch",
)
def judge_pad_batch(answer):
    pad_batch = function(answer, "pad_batch")
    cases = [
        ([[5, 3, 2], [7], [2, 11, 13, 17, 19]], 0),
        ([[5, 3, 0, 2], [7, 0]], 1),
        ([[9, 4, 9], [9], [4, 4]], 9),
        ([[6, 2], [3, 8]], 0),
    ]
    for sequences, pad_id in cases:
        given = [list(row) for row in sequences]
        ids, mask = _batch(call(pad_batch, given, pad_id))
        reject_if(given != sequences, "the lists that came in were changed: make new ones", "in-place")
        _judge_batch(ids, mask, sequences, pad_id)
    return "padded to the longest, and the mask knows what is real even where a real id equals the padding"


def _batch(value: Any) -> tuple[Tensor, Tensor]:
    if isinstance(value, Mapping):
        reject_if(
            not {"input_ids", "attention_mask"} <= value.keys(), "give `input_ids` and `attention_mask`", "wrong-type"
        )
        value = value["input_ids"], value["attention_mask"]
    reject_if(
        not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2,
        "two things are asked for: the ids and the mask",
        "no-mask",
    )
    return tensor(value[0], what="the ids (rows of one length)"), tensor(value[1], what="the mask").double()


def _judge_batch(ids: Tensor, mask: Tensor, sequences: list[list[int]], pad_id: int) -> None:
    lengths = [len(row) for row in sequences]
    longest = max(lengths)
    reject_if(ids.dim() != 2 or len(ids) != len(lengths), f"the ids have shape {tuple(ids.shape)}", "shape")
    reject_if(
        ids.shape[1] == min(lengths) != longest, "rows are cut to the shortest; words are lost. Pad instead", "cut"
    )
    reject_if(
        ids.shape[1] > longest,
        f"rows of {ids.shape[1]} places, and the longest text has {longest}: what is beyond costs time for nothing",
        "too-long",
    )
    reject_if(ids.shape[1] != longest, f"rows of {ids.shape[1]} places, and the longest text has {longest}", "shape")

    def filled(with_id: int, left: bool = False) -> Tensor:
        empty = [[with_id] * (longest - length) for length in lengths]
        return torch.tensor(
            [[*pad, *row] if left else [*row, *pad] for row, pad in zip(sequences, empty, strict=True)]
        ).double()

    compare(
        ids,
        filled(pad_id),
        [
            Mistake(
                filled(pad_id, left=True),
                "left",
                "the padding stands in front; BERT counts positions from the left, so put it behind",
            ),
            Mistake(filled(0), "pad-id", f"you fill with 0; this tokenizer's padding is {pad_id}: use `pad_id`"),
        ],
        "the ids are not the sequences, each filled up behind",
    )
    reject_if(mask.shape != ids.shape, f"the mask has shape {tuple(mask.shape)}, the ids {tuple(ids.shape)}", "shape")
    real = torch.tensor([[float(place < length) for place in range(longest)] for length in lengths])
    compare(
        mask,
        real,
        [
            Mistake(1 - real, "inverted", "your mask is 1 at the padding; 1 means: a real token"),
            Mistake(
                (filled(pad_id) != pad_id).double(),
                "from-ids",
                f"a real token may have the id {pad_id} as well, and your mask hides it: go by the lengths",
            ),
            Mistake((filled(pad_id) != 0).double(), "from-ids", "an id of 0 is not always padding: go by the lengths"),
            Mistake(torch.ones_like(real), "all-ones", "your mask is 1 everywhere; where padding stands it must be 0"),
        ],
        "the mask is not 1 at the real tokens and 0 at the padding",
    )


# 12.4 ----------------------------------------------------------------------------------------------------


@exercise(
    "12.4",
    title="The mean of the real tokens",
    minutes=8,
    difficulty=2,
    hints=(
        "The same text in another batch has more padding behind it. What must its vector then be?",
        "Multiply by the mask, which makes the padding's vectors zeros; sum over the tokens; divide by how many real "
        "tokens there were in *that* row.",
        "`m = attention_mask.unsqueeze(-1)`; `(hidden * m).sum(dim=1) / m.sum(dim=1)`.",
    ),
    reference=f"{_HERE}:mean_of_tokens",
)
def judge_mean_of_tokens(answer):
    mean_of_tokens = function(answer, "mean_of_tokens")
    for seed, (lengths, width, dtype) in enumerate(
        [((5, 2, 3), 7, torch.int64), ((1, 4), 3, torch.int64), ((6, 6), 2, torch.float32), ((2, 7, 1), 5, torch.int64)]
    ):
        places = max(lengths) + 1  # every row has padding
        hidden = random_tensor(seed, len(lengths), places, width) + 1
        mask = (torch.arange(places) < torch.tensor(lengths)[:, None]).to(dtype)
        found = tensor(call(mean_of_tokens, hidden, mask), (len(lengths), width))
        h, m = hidden.double(), mask.double().unsqueeze(-1)
        right = torch.stack([row[:length].mean(0) for row, length in zip(h, lengths, strict=True)])
        compare(
            found,
            right,
            [
                Mistake(
                    h.mean(1),
                    "padding-counted",
                    "the padding's vectors are in the mean: a text's vector then depends on the others in its batch",
                ),
                Mistake(
                    (h * m).mean(1),
                    "divided-by-length",
                    "the padding is left out of the sum, and then counted in the division: divide by the real tokens",
                ),
                Mistake((h * m).sum(1), "not-divided", "this is the sum; divide it by the number of real tokens"),
                Mistake(h[:, 0], "first-token", "this is the vector of the first token alone; the mean is over all"),
                Mistake(
                    (h * m).sum(1) / m.sum(), "whole-batch", "each row is divided by its own number of real tokens"
                ),
                Mistake((h * (1 - m)).sum(1) / (1 - m).sum(1), "inverted", "this is the mean of the padding"),
                Mistake(h.masked_fill(m == 0, -torch.inf).amax(1), "maximum", "this is the maximum; the mean is asked"),
            ],
            f"for texts of {', '.join(map(str, lengths))} tokens it is not the mean over each one's own tokens",
        )
    return "the same vector alone and in any batch"


# 12.5 ----------------------------------------------------------------------------------------------------


@exercise(
    "12.5",
    title="From tags to entities",
    minutes=10,
    difficulty=3,
    hints=(
        "When exactly does an entity begin? Think of two names that stand side by side.",
        "It begins at every B-, and at an I- whose kind is not that of the entity just before it. It goes on while I- "
        "of the same kind follow. Do not forget the one that the text ends with.",
        "Keep a list. For each `i, tag`: for O, or where a new one begins, close the open one. A shorter way: if the "
        "tag continues the last entry (`I-`, same kind, and that entry ends at i), move its end by one; else if it is "
        "not O, append `[kind, i, i + 1]`.",
    ),
    reference=f"{_HERE}:entities",
)
def judge_entities(answer):
    entities = function(answer, "entities")
    cases = [
        "O B-person I-person O B-place O",
        "B-person I-place I-place O I-person",
        "B-person B-person I-person O",
        "O B-place I-place",
        "O O O",
        "B-geo-loc I-geo-loc O B-geo-loc B-film I-film I-film",
        "I-person I-person B-person I-person",
    ]
    for case in cases:
        tags = case.split()
        found = _triples(call(entities, list(tags)))
        right = _entities(tags, lambda i: True)
        if found == right:
            continue
        shown = f"for the tags {tags} you found {found}; "
        for wrong, name, message in _entity_mistakes(tags):
            reject_if(found == wrong and wrong != right, shown + message, name)
        reject_if(True, f"{shown}expected were {right}", "value")
    return "neighbours stay apart, kinds are not mixed, and the last one is not lost"


def _triples(value: Any) -> list[tuple[str, int, int]]:
    reject_if(isinstance(value, str) or not isinstance(value, Iterable), "a list of triples is asked for", "wrong-type")
    triples = []
    for row in value:
        reject_if(
            isinstance(row, str) or not isinstance(row, Sequence) or len(row) != 3 or not isinstance(row[0], str),
            f"each entity is (kind, start, end), and one of yours is {row!r}",
            "wrong-type",
        )
        triples.append((row[0], *(int(number(place, "a place")) for place in row[1:])))
    return triples


def _entities(tags: Sequence[str], kept: Callable[[int], bool]) -> list[tuple[str, int, int]]:
    """By cutting: a text of one letter a tag is searched for a beginning and what continues it."""
    kinds = [tag[2:] for tag in tags]
    starts = "".join(
        "o" if tag == "O" else "b" if tag[0] == "B" or i == 0 or tags[i - 1] == "O" or kinds[i - 1] != kinds[i] else "i"
        for i, tag in enumerate(tags)
    )
    return [(kinds[m.start()], *m.span()) for m in re.finditer("bi*", starts) if kept(m.end())]


def _entity_mistakes(tags: Sequence[str]) -> list[tuple[list[tuple[str, int, int]], str, str]]:
    right = _entities(tags, lambda i: True)
    runs = [(m.start(), m.end()) for m in re.finditer("x+", "".join("o" if tag == "O" else "x" for tag in tags))]
    same_kind = _entities([tag if tag == "O" else f"I-{tag[2:]}" for tag in tags], lambda i: True)
    only_b = [one for one in right if tags[one[1]][0] == "B"]
    reaching: list[tuple[str, int, int]] = []
    for i, tag in enumerate(tags):
        if tag[0] == "I" and reaching:
            reaching[-1] = (*reaching[-1][:2], i + 1)
        elif tag != "O":
            reaching.append((tag[2:], i, i + 1))
    return [
        (
            [one for one in right if one[2] < len(tags)],
            "last-lost",
            "the entity that the text ends with is missing: nothing after it closes it",
        ),
        ([(kind, a, b - 1) for kind, a, b in right], "end-included", "`end` is the place behind the last word"),
        ([(tags[a], a, b) for _, a, b in right], "prefix", "the kind still has its B- or I- in front"),
        (same_kind, "neighbours-joined", "a B- begins a new entity even right behind another of the same kind"),
        ([(tags[a][2:], a, b) for a, b in runs], "kinds-mixed", "where the kind changes, a new entity begins"),
        (
            [(tag[2:], i, i + 1) for i, tag in enumerate(tags) if tag != "O"],
            "word-by-word",
            "an I- that continues an entity belongs to it: make one of them",
        ),
        (only_b, "stray-inside", "an I- that continues nothing begins an entity as well"),
        (
            reaching,
            "inside-reaches-back",
            "an I- continues the last entity only if that is of the same kind and ends right before it; else it begins "
            "one",
        ),
    ]  # fmt: skip


# 12.6 ----------------------------------------------------------------------------------------------------


@exercise(
    "12.6",
    title="Decode a span",
    minutes=12,
    difficulty=4,
    hints=(
        "The best start and the best end, each chosen by itself, may be an end that stands before its start. What is "
        "it that should be best?",
        "Look at every pair of a start and an end: both in the passage (their offset is not None), the end not before "
        "the start, at most `longest` tokens. The pair with the largest sum of its two logits wins. Then cut the "
        "passage from the first character of the one to the last of the other.",
        "Two loops: `for i in range(n)`, `for j in range(i, min(i + longest, n))`; skip where `offsets[i]` or "
        "`offsets[j]` is None; keep the largest `start[i] + end[j]`; return `passage[offsets[i][0] : offsets[j][1]]`.",
    ),
    reference=f"{_HERE}:best_answer",
)
def judge_best_answer(answer):
    best_answer = function(answer, "best_answer")
    for seed in range(12):
        start, end, offsets, passage, longest = _span_case(seed)
        found = call(best_answer, start, end, list(offsets), passage, longest)
        reject_if(
            not isinstance(found, str),
            f"a text is asked for and this is of type {type(found).__name__}: cut it out of the passage",
            "wrong-type",
        )
        right = _cut(passage, offsets, _best_pair(start, end, offsets, longest))
        if found == right:
            continue
        for wrong, name, message in _span_mistakes(start, end, offsets, passage, longest):
            reject_if(found == wrong, message, name)
        reject_if(True, f"you answer {found!r}; the span with the largest sum is {right!r}", "value")
    return "every allowed span was compared, by the sum of its two logits"


def _span_case(seed: int) -> tuple[Tensor, Tensor, list[tuple[int, int] | None], str, int]:
    """Logits for [CLS], a question, [SEP], a passage and [SEP]; each case is made to catch one misunderstanding."""
    passage = "the old mill by the river Senna was bought in 1911 by two sisters from Lyon"
    places = [m.span() for m in re.finditer(r"\S+", passage)]
    offsets = [None] * 5 + places + [None]
    start, end = random_tensor(seed, len(offsets)), random_tensor(seed + 100, len(offsets))
    for scores in (start, end):  # outside the passage nothing scores well, but in one kind of case
        scores[:5], scores[-1] = -5.0, -5.0
    first, longest = 5, 4
    i = first + 3 + seed % 5
    kind = seed % 4
    if kind == 0:  # the best end stands before the best start
        start[i + 3], end[i] = 8.0, 8.0
    elif kind == 1:  # the question and [CLS] score highest
        start[2], end[3], start[0], end[0] = 9.0, 9.0, 8.0, 8.0
    elif kind == 2:  # the best pair is too long
        start[i - 2], end[i + 5] = 8.0, 8.0
    else:  # a plain span of two words
        start[i], end[i + 1] = 8.0, 8.0
    return start, end, offsets, passage, longest


def _best_pair(
    start: Tensor, end: Tensor, offsets: Sequence, longest: int | None, anywhere: bool = False
) -> tuple[int, int]:
    """From the table of all sums, with what is not allowed at minus infinity."""
    total = start.double()[:, None] + end.double()[None, :]
    inside = torch.tensor([anywhere or pair is not None for pair in offsets])
    place = torch.arange(len(offsets))
    gap = place[None, :] - place[:, None]
    allowed = inside[:, None] & inside[None, :] & (gap >= 0)
    if longest is not None:
        allowed &= gap < longest
    return divmod(int(total.masked_fill(~allowed, -torch.inf).argmax()), len(offsets))


def _cut(passage: str, offsets: Sequence, pair: tuple[int, int]) -> str:
    first, last = (offsets[place] for place in pair)
    return passage[first[0] : last[1]] if first and last else ""


def _span_mistakes(
    start: Tensor, end: Tensor, offsets: Sequence, passage: str, longest: int
) -> list[tuple[str | None, str, str]]:
    right = _best_pair(start, end, offsets, longest)
    inside = torch.tensor([pair is not None for pair in offsets])
    each = tuple(int(scores.masked_fill(~inside, -torch.inf).argmax()) for scores in (start, end))
    first_then_end = (
        each[0],
        int(end.masked_fill(~inside, -torch.inf)[each[0] : each[0] + longest].argmax()) + each[0],
    )
    one_more = _best_pair(start, end, offsets, longest + 1)
    anywhere = _best_pair(start, end, offsets, longest, anywhere=True)
    outside = any(offsets[place] is None for place in anywhere)
    return [
        (
            "" if outside else None,
            "outside",
            "your answer is empty: is its place in the question or at [CLS], where offsets are None? Leave these out",
        ),
        (
            _cut(passage, offsets, each),
            "each-by-itself",
            "you take the best start and the best end, each by itself. Together they must be a span that does not end "
            "before it starts and is not too long: compare the sums of pairs",
        ),
        (
            _cut(passage, offsets, _best_pair(start, end, offsets, None)),
            "too-long",
            f"your span has more than longest={longest} tokens",
        ),
        (
            passage[offsets[right[0]][0] : offsets[right[1]][0]],
            "last-word-lost",
            "the last word is missing: cut up to the end of the last token's offset, `offsets[j][1]`",
        ),
        (
            passage[offsets[right[0]][0] : offsets[right[1]][0]].rstrip(),
            "last-word-lost",
            "the last word is missing: cut up to the end of the last token's offset, `offsets[j][1]`",
        ),
        (
            _cut(passage, offsets, first_then_end),
            "greedy",
            "you take the best start and then the best end behind it; another start may have a better sum",
        ),
        (_cut(passage, offsets, one_more), "too-long", f"your span has more than longest={longest} tokens"),
    ]


quiz(
    "12",
    Question(
        "A pipeline for text classification answers 'positive, 0.998'. Which of its three steps made the 0.998?",
        (
            Choice("The first, which tokenises", "It gives ids and a mask, no number that depends on the model."),
            Choice("The second, the model", "The model ends with logits, which need not lie between 0 and 1."),
            Choice("The third, which takes the softmax", "Softmax of the two logits; the name comes from id2label."),
            Choice("None: it is stored in config.json", "config.json holds the names of the classes, not the answers."),
        ),
        right=2,
    ),
    Question(
        "You call AutoModelForSequenceClassification on a folder whose config.json says model_type: bert and "
        "architectures: [BertForMaskedLM]. What do you get?",
        (
            Choice("An error", "The family is known and has such a class, so it is made."),
            Choice("A BertForMaskedLM", "The Auto class decides the task, model_type the family."),
            Choice(
                "A BertForSequenceClassification with a new head",
                "And the load report lists the head as MISSING: it has to be trained before it means something.",
            ),
            Choice("A trained classifier", "The file holds no classifier; one is drawn at random."),
        ),
        right=2,
    ),
    Question(
        "You batch texts of 5 and 50 tokens and forget the attention mask. What happens?",
        (
            Choice("Nothing, padding is ignored", "Only the mask says what padding is; without it all ids are read."),
            Choice(
                "The short text's result changes",
                "Its tokens attend to 45 padding tokens as if they were words. No error tells you.",
            ),
            Choice("An error", "Shapes fit, so nothing complains: that is what makes the mistake common."),
            Choice("The long text's result changes", "It has no padding, so for it nothing is different."),
        ),
        right=1,
    ),
    Question(
        'In transformers 5, what does pipeline("summarization") do?',
        (
            Choice("It loads BART", "That was the default of version 4."),
            Choice(
                "It raises an error: the task is gone",
                "As are question answering and translation: call a model and generate, or decode the span yourself.",
            ),
            Choice("It asks a chat model", "There is no such redirection; the name is unknown."),
            Choice("It returns the first sentence", "That is a good baseline, and nobody's pipeline."),
        ),
        right=1,
    ),
    Question(
        "Which frameworks does transformers 5 run in?",
        (
            Choice("PyTorch, TensorFlow and JAX alike", "So it was from version 2 or 3 to version 4."),
            Choice(
                "PyTorch; other programs can read its files",
                "The TensorFlow and JAX classes are gone. A safetensors file is read by NumPy, JAX or anything else.",
            ),
            Choice("TensorFlow only", "TensorFlow classes are the ones that were removed."),
            Choice("Whichever is installed", "Version 4 chose between the classes so; in 5 there is one kind."),
        ),
        right=1,
    ),
)
