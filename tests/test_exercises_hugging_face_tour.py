"""The judges of notebook 12: wrong answers with what each must be told, and right answers written differently."""

import re

import numpy as np
import pytest
import torch

from course_lib.exercises import EXERCISES, NOT_ATTEMPTED
from course_lib.exercises.references import hugging_face_tour as right
from tests.judged import accepted, rejected

IDS = [f"12.{i}" for i in range(1, 7)]


@pytest.mark.parametrize("id", IDS)
def test_the_reference_passes(id):
    accepted(id, EXERCISES[id].reference)


def blank(*arguments, **keywords): ...


@pytest.mark.parametrize("id", [id for id in IDS if id != "12.2"])
def test_a_blank_stub_is_told_so(id):
    rejected(id, blank, NOT_ATTEMPTED)


# 12.1 -----------------------------------------------------------------------------------------------------


def scored(scores, order=lambda p: p.argsort(descending=True)):
    def label_scores(logits, id2label, top_k=1):
        p = scores(logits)
        return [{"label": id2label[i], "score": p[i].item()} for i in order(p)[:top_k].tolist()]

    return label_scores


def softmax(logits):
    return logits.softmax(-1)


def cut_first(logits, id2label, top_k=1):
    values, ids = logits.sort(descending=True)
    p = values[:top_k].softmax(-1)
    return [{"label": id2label[i], "score": s} for i, s in zip(ids[:top_k].tolist(), p.tolist(), strict=True)]


def scores_sorted_alone(logits, id2label, top_k=1):
    p = logits.softmax(-1).sort(descending=True).values[:top_k]
    return [{"label": id2label[i], "score": s} for i, s in enumerate(p.tolist())]


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (scored(lambda z: z), "no-softmax", "logits themselves"),
        (scored(torch.exp), "not-normalised", "do not sum to 1"),
        (scored(torch.sigmoid), "sigmoid", "exclude each other"),
        (scored(lambda z: z.log_softmax(-1)), "logarithm", "log_softmax"),
        (scored(softmax, lambda p: torch.arange(len(p))), "not-sorted", "best first"),
        (scored(softmax, lambda p: p.argsort()), "ascending", "least probable"),
        (scored(lambda z: z.exp() / z.exp().sum()), "overflow", "1000"),
        (cut_first, "after-cutting", "others count"),
        (scores_sorted_alone, "names-mixed", "sort ids and scores together"),
        (lambda z, names, k: scored(softmax)(z, names, None), "top-k", "top_k=1"),
        (lambda z, names, k: scored(softmax)(z, names, k)[0], "wrong-type", "list"),
        (lambda z, names, k: [{"label": 0, "score": 0.5}], "no-name", "id2label"),
        (lambda z, names, k: [{"name": "x", "score": 0.5}], "keys", "`label` and `score`"),
    ],
)
def test_label_scores_rejects(answer, misconception, word):
    rejected("12.1", answer, misconception, word)


def in_numpy(logits, id2label, top_k=1, extra=None):
    z = logits.double().numpy()
    p = np.exp(z - z.max())
    p /= p.sum()
    rows = sorted(zip(p, id2label.values(), strict=True), key=lambda row: -row[0])
    return [(label, score) for score, label in rows][: len(rows) if top_k is None else top_k]


def by_topk(logits, id2label, top_k=1):
    p, ids = logits.softmax(0).topk(len(logits) if top_k is None else top_k)
    return [{"score": s, "label": id2label[int(i)]} for s, i in zip(p, ids, strict=True)]


@pytest.mark.parametrize("answer", [in_numpy, by_topk])
def test_label_scores_accepts(answer):
    accepted("12.1", answer)


# 12.2 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "misconception", "word"),
    [
        ({"decided_by": "architectures"}, "architectures", "family"),
        ({"decided_by": "hidden_size"}, "size", "GPT-2"),
        ({"class": "BertModel"}, "body", "without a head"),
        ({"class": "BertForSequenceClassification"}, "sequence", "every token"),
        ({"class": "AutoModelForTokenClassification"}, "auto", "never made"),
        ({"new": ["classifier.weight"]}, "no-bias", "bias"),
        ({"new": ["pooler.dense.weight", "pooler.dense.bias"]}, "pooler", "not in the file"),
        ({"new": ["head.weight", "head.bias"]}, "value", "head"),
        ({"weight_shape": (384, 9)}, "transposed", "[out, in]"),
        ({"weight_shape": (2, 384)}, "default-labels", "nine"),
        ({"weight_shape": (9, 768)}, "value", "384"),
        ({"left_out": "classifier"}, "classifier", "other way round"),
        ({"left_out": "encoder"}, "value", "needs"),
        ({"left_out": ...}, "not-finished", "`left_out`"),
        ({"class": 3}, "wrong-type", "string"),
    ],
)
def test_chosen_rejects(change, misconception, word):
    rejected("12.2", right.chosen | change, misconception, word)


def test_chosen_is_a_dictionary():
    rejected("12.2", ["model_type"], "wrong-type", "dictionary")
    rejected("12.2", {"decided_by": "model_type"}, "missing", "`class`")
    rejected("12.2", dict.fromkeys(right.chosen, ...), NOT_ATTEMPTED)


class BertForTokenClassification:
    """A class of this name."""


@pytest.mark.parametrize(
    "change",
    [
        {"class": BertForTokenClassification, "new": {"classifier.bias", "classifier.weight"}},
        {"weight_shape": torch.Size([9, 384]), "left_out": "bert.pooler"},
        {"weight_shape": [9, 384], "left_out": "pooler.dense"},
    ],
)
def test_chosen_accepts(change):
    accepted("12.2", right.chosen | change)


# 12.3 -----------------------------------------------------------------------------------------------------


def padded(left=False, mask=None, pad=None, length=None):
    def pad_batch(sequences, pad_id=0):
        n = (length or max)([len(row) for row in sequences])
        filler = pad_id if pad is None else pad
        rows = [list(row)[:n] for row in sequences]
        fill = [[filler] * (n - len(row)) for row in rows]
        ids = torch.tensor([[*f, *row] if left else [*row, *f] for row, f in zip(rows, fill, strict=True)])
        real = torch.tensor([[place < len(row) for place in range(n)] for row in rows]).long()
        return ids, real if mask is None else mask(ids, real, pad_id)

    return pad_batch


def grown(sequences, pad_id=0):
    n = max(map(len, sequences))
    mask = torch.tensor([[1] * len(row) + [0] * (n - len(row)) for row in sequences])
    for row in sequences:
        row += [pad_id] * (n - len(row))
    return torch.tensor(sequences), mask


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (padded(left=True), "left", "in front"),
        (padded(pad=0), "pad-id", "`pad_id`"),
        (padded(mask=lambda ids, real, pad_id: 1 - real), "inverted", "1 means"),
        (padded(mask=lambda ids, real, pad_id: (ids != pad_id).long()), "from-ids", "lengths"),
        (padded(mask=lambda ids, real, pad_id: (ids != 0).long()), "from-ids", "lengths"),
        (padded(mask=lambda ids, real, pad_id: torch.ones_like(ids)), "all-ones", "padding"),
        (padded(length=min), "cut", "shortest"),
        (padded(length=lambda lengths: 8), "too-long", "for nothing"),
        (padded(mask=lambda ids, real, pad_id: real[:, :1]), "shape", "mask"),
        (lambda sequences, pad_id: padded()(sequences, pad_id)[0], "no-mask", "two things"),
        (lambda sequences, pad_id: (sequences, sequences), "wrong-type", "one length"),
        (grown, "in-place", "changed"),
    ],
)
def test_pad_batch_rejects(answer, misconception, word):
    rejected("12.3", answer, misconception, word)


def as_torch_does(sequences, pad_id=0):
    rows = [torch.tensor(row) for row in sequences]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad_id)
    lengths = torch.tensor([len(row) for row in sequences])
    return {"input_ids": ids, "attention_mask": torch.arange(ids.shape[1]) < lengths[:, None]}


def as_lists(sequences, pad_id=0):
    ids, mask = right.pad_batch(sequences, pad_id)
    return [ids.tolist(), mask.numpy()]


@pytest.mark.parametrize("answer", [as_torch_does, as_lists])
def test_pad_batch_accepts(answer):
    accepted("12.3", answer)


# 12.4 -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda h, m: h.mean(1), "padding-counted", "others in its batch"),
        (lambda h, m: (h * m[..., None]).mean(1), "divided-by-length", "division"),
        (lambda h, m: (h * m[..., None]).sum(1), "not-divided", "sum"),
        (lambda h, m: h[:, 0], "first-token", "first token"),
        (lambda h, m: (h * m[..., None]).sum(1) / m.sum(), "whole-batch", "each row"),
        (lambda h, m: right.mean_of_tokens(h, 1 - m), "inverted", "padding"),
        (lambda h, m: h.masked_fill(m[..., None] == 0, -1e9).amax(1), "maximum", "mean"),
        (lambda h, m: right.mean_of_tokens(h, m)[:, :1], "shape", "(3, 1)"),
        (lambda h, m: right.mean_of_tokens(h.mul_(2), m), "in-place", "input 1"),
        (lambda h, m: h.sum(1), "value", "own tokens"),
    ],
)
def test_mean_of_tokens_rejects(answer, misconception, word):
    rejected("12.4", answer, misconception, word)


def by_loop(hidden, attention_mask):
    return torch.stack([row[mask.bool()].mean(0) for row, mask in zip(hidden, attention_mask, strict=True)])


def by_einsum(hidden, attention_mask, eps=1e-9):
    mask = attention_mask.double()
    return torch.einsum("btd,bt->bd", hidden.double(), mask / mask.sum(1, keepdim=True).clamp(min=eps)).numpy()


@pytest.mark.parametrize("answer", [by_loop, by_einsum])
def test_mean_of_tokens_accepts(answer):
    accepted("12.4", answer)


# 12.5 -----------------------------------------------------------------------------------------------------


def changed(change):
    return lambda tags: change(right.entities(tags), tags)


def each_word(tags):
    return [(tag[2:], i, i + 1) for i, tag in enumerate(tags) if tag != "O"]


def as_inside(tags):
    return right.entities([tag if tag == "O" else f"I{tag[1:]}" for tag in tags])


def reaching_back(tags):
    found = []
    for i, tag in enumerate(tags):
        if tag.startswith("I-") and found:
            found[-1][2] = i + 1
        elif tag != "O":
            found.append([tag[2:], i, i + 1])
    return found


def runs(tags):
    text = "".join("o" if tag == "O" else "x" for tag in tags)
    return [(tags[m.start()][2:], *m.span()) for m in re.finditer("x+", text)]


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (changed(lambda found, tags: [one for one in found if one[2] < len(tags)]), "last-lost", "ends with"),
        (changed(lambda found, tags: [(k, a, b - 1) for k, a, b in found]), "end-included", "behind"),
        (changed(lambda found, tags: [(tags[a], a, b) for _, a, b in found]), "prefix", "in front"),
        (as_inside, "neighbours-joined", "B-"),
        (runs, "kinds-mixed", "kind changes"),
        (each_word, "word-by-word", "make one"),
        (changed(lambda found, tags: [one for one in found if tags[one[1]][0] == "B"]), "stray-inside", "continues"),
        (reaching_back, "inside-reaches-back", "same kind"),
        (changed(lambda found, tags: []), "value", "expected"),
        (changed(lambda found, tags: [one[:2] for one in found] or [("x",)]), "wrong-type", "(kind, start, end)"),
        (lambda tags: 3, "wrong-type", "triples"),
    ],
)
def test_entities_rejects(answer, misconception, word):
    rejected("12.5", answer, misconception, word)


def entities_by_state(tags):
    found, opened = [], None
    for i, tag in enumerate([*tags, "O"]):
        if opened is not None and tag != f"I-{tags[opened][2:]}":
            found.append([tags[opened][2:], opened, i])
            opened = None
        if opened is None and tag != "O":
            opened = i
    return found


@pytest.mark.parametrize("answer", [entities_by_state, lambda tags: iter(right.entities(tags))])
def test_entities_accepts(answer):
    accepted("12.5", answer)


# 12.6 -----------------------------------------------------------------------------------------------------


def table(start, end, offsets, longest, anywhere=False):
    total = start[:, None] + end[None, :]
    allowed = torch.triu(torch.ones_like(total)).bool()
    if longest:
        allowed &= ~torch.triu(torch.ones_like(total), longest).bool()
    inside = torch.tensor([anywhere or pair is not None for pair in offsets])
    allowed &= inside[:, None] & inside
    return divmod(int(total.masked_fill(~allowed, -torch.inf).argmax()), len(offsets))


def cut(passage, offsets, i, j):
    return passage[offsets[i][0] : offsets[j][1]] if offsets[i] and offsets[j] else ""


def each_by_itself(start, end, offsets, passage, longest=15):
    inside = torch.tensor([pair is not None for pair in offsets])
    i, j = (int(x.masked_fill(~inside, -torch.inf).argmax()) for x in (start, end))
    return cut(passage, offsets, i, j)


def no_limit(start, end, offsets, passage, longest=15):
    return cut(passage, offsets, *table(start, end, offsets, None))


def question_too(start, end, offsets, passage, longest=15):
    return cut(passage, offsets, *table(start, end, offsets, longest, anywhere=True))


def last_word_lost(start, end, offsets, passage, longest=15):
    i, j = table(start, end, offsets, longest)
    return passage[offsets[i][0] : offsets[j][0]].strip()


def by_table(start, end, offsets, passage, longest=15):
    return cut(passage, offsets, *table(start, end, offsets, longest))


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (each_by_itself, "each-by-itself", "sums of pairs"),
        (no_limit, "too-long", "longest=4"),
        (question_too, "outside", "None"),
        (last_word_lost, "last-word-lost", "last word"),
        (lambda s, e, o, p, n: by_table(s, e, o, p, n + 1), "too-long", "longest=4"),
        (lambda s, e, o, p, n: by_table(e, s, o, p, n), "value", "largest sum"),
        (lambda s, e, o, p, n: table(s, e, o, n), "wrong-type", "tuple"),
        (lambda s, e, o, p, n: p[o[0][0] :], "exception", "TypeError"),
    ],
)
def test_best_answer_rejects(answer, misconception, word):
    rejected("12.6", answer, misconception, word)


@pytest.mark.parametrize(
    "answer", [by_table, lambda s, e, o, p, longest: right.best_answer(s * 2, e * 2, o, p, longest)]
)
def test_best_answer_accepts(answer):
    accepted("12.6", answer)
