"""Exercises of notebook 06: planted mistakes get their own message, unusual right answers pass."""

import copy
import heapq
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib import layers
from course_lib.attention import causal_mask
from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, judge
from course_lib.positions import sinusoidal
from tests.judged import accepted, rejected

READ = EXERCISES["06.6"].reference


# --- 06.1 ---------------------------------------------------------------------------------------------------


def no_ignored(labels, pad_id):
    return labels.masked_fill(labels == -100, pad_id)


def shifted(labels, bos_id, pad_id=0):
    bos = torch.full_like(labels[:, :1], bos_id)
    return torch.cat((bos, no_ignored(labels[:, :-1], pad_id)), dim=1)


def in_place(labels, bos_id, pad_id=0):
    labels[:, 1:] = labels[:, :-1].clone()
    labels[:, 0] = bos_id
    return no_ignored(labels, pad_id)


def rolled_with_bos(labels, bos_id, pad_id=0):
    rolled = no_ignored(labels, pad_id).roll(1, dims=1)
    rolled[:, 0] = bos_id
    return rolled


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda y, b, p: no_ignored(y, p), "not-shifted", "very token"),
        (lambda y, b, p: no_ignored(y, p).roll(1, 1), "rolled", "roll"),
        (lambda y, b, p: torch.cat((torch.full_like(y[:, :1], b), y[:, :-1]), 1), "ignored-label", "-100"),
        (lambda y, b, p: torch.cat((shifted(y, b, p), no_ignored(y[:, -1:], p)), 1), "last-kept", "Drop it"),
        (
            lambda y, b, p: F.pad(no_ignored(y, p)[:, 1:], (0, 1), value=p),
            "shifted-left",
            "to the left",
        ),
        (lambda y, b, p: F.pad(no_ignored(y, p)[:, :-1], (1, 0), value=p), "no-bos", "<bos> belongs there"),
        (
            lambda y, b, p: F.pad(no_ignored(y, p)[:, :-1], (0, 1), value=b),
            "bos-last",
            "reads first",
        ),
        (in_place, "in-place", "input 1"),
        (lambda y, b: shifted(y, b), "exception", "TypeError"),
        (lambda y, b, p: shifted(y, b, p) + 1, "value", "should be"),
    ],
)
def test_shift_right_rejects(answer, misconception, word):
    rejected("06.1", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        shifted,
        rolled_with_bos,
        lambda labels, bos_id, pad_id=0, extra=None: [
            [bos_id, *(pad_id if label == -100 else label for label in row[:-1])] for row in labels.tolist()
        ],
        lambda labels, bos_id, pad_id: np.concatenate(
            (np.full((len(labels), 1), bos_id), np.where(labels == -100, pad_id, labels)[:, :-1]), axis=1
        ),
    ],
)
def test_shift_right_accepts(answer):
    accepted("06.1", answer)


# --- 06.2 ---------------------------------------------------------------------------------------------------


def triangle(ids):
    return causal_mask(ids.shape[1]).expand(len(ids), -1, -1)


def keys(ids, pad):
    return (ids != pad)[:, None, :].expand(-1, ids.shape[1], -1)


def right_mask(ids, pad_id=0):
    return triangle(ids) & keys(ids, pad_id)


def mask_by_loops(target_ids, pad_id=0, device=None):
    rows = target_ids.tolist()
    n = range(len(rows[0]))
    return [[[key <= query and row[key] != pad_id for key in n] for query in n] for row in rows]


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda ids, pad: triangle(ids), "no-padding", "padding may still"),
        (lambda ids, pad: causal_mask(ids.shape[1]), "one-for-all", "differs from sentence"),
        (lambda ids, pad: keys(ids, pad), "no-causal", "the future is not"),
        (lambda ids, pad: ~right_mask(ids, pad), "inverted", "may attend"),
        (lambda ids, pad: triangle(ids) & (ids != pad)[:, :, None], "masks-queries", "as a key"),
        (lambda ids, pad: right_mask(ids, pad) & (ids != pad)[:, :, None], "masks-queries", "0 / 0"),
        (lambda ids, pad: triangle(ids) | keys(ids, pad), "or", "`&`, not `|`"),
        (lambda ids, pad: triangle(ids).mT & keys(ids, pad), "transposed", "upper"),
        (lambda ids, pad: triangle(ids).tril(-1) & keys(ids, pad), "without-diagonal", "It may"),
        (lambda ids, pad: right_mask(ids, 0), "pad-id", "`pad_id`"),
        (lambda ids, pad: triangle(ids) & ~keys(ids, pad), "padding-inverted", "`!=`"),
        (lambda ids, pad: torch.zeros(right_mask(ids, pad).shape).masked_fill(~right_mask(ids, pad), -math.inf),
         "additive", "minus infinity"),
        (lambda ids, pad: right_mask(ids, pad)[:, None], "shape", "heads"),
        (lambda ids, pad: right_mask(ids, pad) & (ids[:, None] != 8), "value", "may attend"),
        (lambda ids, pad: ids != pad, "shape", "the mask"),
    ],
)  # fmt: skip
def test_decoder_mask_rejects(answer, misconception, word):
    rejected("06.2", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        right_mask,
        mask_by_loops,
        lambda ids, pad_id=0: right_mask(ids, pad_id).int(),
        lambda ids, pad_id: np.tril(np.ones((ids.shape[1],) * 2, dtype=bool)) & (ids.numpy() != pad_id)[:, None],
    ],
)
def test_decoder_mask_accepts(answer):
    accepted("06.2", answer)


# --- 06.3 ---------------------------------------------------------------------------------------------------


def parts(logits, labels):
    """Log-probabilities of all tokens, of the right one, and of the others on average, for the labels that count."""
    counted = labels != -100
    log_probs = logits[counted].log_softmax(-1)
    right = log_probs.gather(1, labels[counted][:, None])[:, 0]
    return log_probs, right, (log_probs.sum(-1) - right) / (log_probs.shape[1] - 1)


def all_positions(logits, labels, epsilon):
    log_probs = logits.log_softmax(-1)
    right = log_probs.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return log_probs, right, -((1 - epsilon) * right + epsilon * log_probs.mean(-1))


def smoothed(logits, labels, epsilon):
    return F.cross_entropy(logits.flatten(0, -2), labels.flatten(), label_smoothing=epsilon)


def others_only(logits, labels, epsilon):
    _, right, others = parts(logits, labels)
    return -((1 - epsilon) * right + epsilon * others).mean()


def not_divided(logits, labels, epsilon):
    log_probs, right, _ = parts(logits, labels)
    return -((1 - epsilon) * right + epsilon * log_probs.sum(-1)).mean()


def above_one(logits, labels, epsilon):
    log_probs, right, _ = parts(logits, labels)
    return -(right + epsilon * log_probs.mean(-1)).mean()


def without_log(logits, labels, epsilon):
    log_probs, right, _ = parts(logits, labels)
    return -((1 - epsilon) * right.exp() + epsilon * log_probs.exp().mean(-1)).mean()


def second_term_everywhere(logits, labels, epsilon):
    log_probs, right, _ = all_positions(logits, labels, epsilon)
    counted = labels != -100
    return -((1 - epsilon) * right * counted + epsilon * log_probs.mean(-1)).sum() / counted.sum()


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda z, y, e: smoothed(z, y, 0.0), "not-smoothed", "no part"),
        (others_only, "others-only", "the right token included"),
        (not_divided, "not-divided", "epsilon / vocab_size"),
        (above_one, "sum-above-one", "1 + epsilon"),
        (lambda z, y, e: smoothed(z, y, 1 - e), "swapped", "changed places"),
        (lambda z, y, e: smoothed(z, y, e) * (y != -100).sum(), "sum", "the mean"),
        (lambda z, y, e: smoothed(z, y, e) * (y != -100).sum() / y.numel(), "padding-counted", "all positions"),
        (lambda z, y, e: smoothed(z, y.clamp(min=0), e), "ignored-counted", "token 0"),
        (second_term_everywhere, "ignored-counted", "out of both"),
        (lambda z, y, e: -smoothed(z, y, e), "sign", "negative"),
        (without_log, "no-log", "`log_softmax`"),
        (lambda z, y, e: smoothed(z, y, 0.1), "value", "epsilon = 0.3"),
        (lambda z, y, e: F.cross_entropy(z.flatten(0, -2), y.flatten(), reduction="none"), "wrong-type", "one number"),
    ],
)
def test_smoothed_loss_rejects(answer, misconception, word):
    rejected("06.3", answer, misconception, word)


def smoothed_by_loops(logits, labels, epsilon, ignore=-100):
    losses = []
    for row, label in zip(logits.flatten(0, -2).tolist(), labels.flatten().tolist(), strict=True):
        if label != ignore:
            total = math.log(sum(map(math.exp, row)))
            target = [epsilon / len(row) + (1 - epsilon) * (i == label) for i in range(len(row))]
            losses.append(-sum(q * (z - total) for q, z in zip(target, row, strict=True)))
    return sum(losses) / len(losses)


def smoothed_by_divergence(logits, labels, epsilon):
    counted = labels != -100
    vocab = logits.shape[-1]
    q = (1 - epsilon) * F.one_hot(labels[counted], vocab) + epsilon / vocab
    entropy = -torch.special.xlogy(q, q).sum(-1).mean()
    return (F.kl_div(logits[counted].log_softmax(-1), q.float(), reduction="batchmean") + entropy).item()


@pytest.mark.parametrize("answer", [smoothed, smoothed_by_loops, smoothed_by_divergence])
def test_smoothed_loss_accepts(answer):
    accepted("06.3", answer)


# --- 06.4 ---------------------------------------------------------------------------------------------------


def translator(mask=causal_mask, source=lambda m: m, read=None, loss=None, positions=1.0):
    class TinyTranslator(nn.Module):
        def __init__(self, vocab_size, d_model, num_heads, bos_id=2):
            super().__init__()
            self.bos_id = bos_id
            self.embedding = layers.TokenEmbedding(vocab_size, d_model)
            self.block = layers.DecoderBlock(d_model, num_heads, 4 * d_model)
            self.generator = nn.Linear(d_model, vocab_size)

        def forward(self, target_ids, memory, source_mask):
            n = target_ids.shape[1]
            x = self.embedding(target_ids) + positions * sinusoidal(n, memory.shape[-1])
            return self.generator(self.block(x, memory, mask(n), source(source_mask)))

        def loss(self, labels, memory, source_mask):
            inputs = (read or (lambda labels, bos: shifted(labels, bos)))(labels, self.bos_id)
            logits = self(inputs, memory, source_mask)
            return (loss or (lambda z, y: F.cross_entropy(z.flatten(0, 1), y.flatten())))(logits, labels)

    return TinyTranslator


def without_memory():
    class Deaf(translator()):
        def forward(self, target_ids, memory, source_mask):
            x = self.embedding(target_ids) + sinusoidal(target_ids.shape[1], memory.shape[-1])
            return self.generator(self.block(x, x, causal_mask(x.shape[1]), causal_mask(x.shape[1])))

    return Deaf


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (
            translator(mask=lambda n: causal_mask(n).T, source=lambda m: None, read=lambda y, b: y.clamp(min=0)),
            "transposed",
            "triangle",
        ),
        (translator(mask=lambda n: None), "sees-future", "the future"),
        (translator(mask=lambda n: torch.eye(n, dtype=torch.bool)), "past-unseen", "the past"),
        (translator(source=lambda m: None), "source-padding", "`source_mask`"),
        (translator(source=lambda m: ~m), "mask-inverted", "wrong way round"),
        (without_memory(), "memory-ignored", "`memory`"),
        (translator(positions=0.0), "no-positions", "positions"),
        (translator(read=lambda y, b: y.clamp(min=0)), "not-shifted", "copy it"),
        (translator(read=lambda y, b: F.pad(y.clamp(min=0)[:, 1:], (0, 1))), "shifted-left", "to the left"),
        (translator(read=lambda y, b: y.clamp(min=0).roll(1, 1)), "rolled", "brought round"),
        (translator(read=lambda y, b: shifted(y, 0)), "no-bos", "`self.bos_id`"),
        (
            translator(loss=lambda z, y: F.cross_entropy(z.flatten(0, 1), y.clamp(min=0).flatten())),
            "padding-counted",
            "token 0",
        ),
        (
            translator(loss=lambda z, y: F.cross_entropy(z.flatten(0, 1), y.flatten(), reduction="sum")),
            "sum",
            "the mean",
        ),
        (
            translator(loss=lambda z, y: F.cross_entropy(z.flatten(0, 1), y.flatten()).detach()),
            "no-gradient",
            "gradient",
        ),
        (translator(read=lambda y, b: F.pad(y[:, :-1], (1, 0), value=b)), "exception", "ValueError"),
        (translator()(7, 6, 3), "wrong-type", "without calling it"),
        (lambda *sizes: nn.Linear(3, 5), "wrong-type", "`loss`"),
    ],
)
def test_translator_rejects(answer, misconception, word):
    rejected("06.4", answer, misconception, word)


class WithTorch(nn.Module):
    """torch's decoder layer, whose masks are the other way round, scaled embeddings, and a loss by hand."""

    def __init__(self, vocab_size, d_model, num_heads, bos_id=2, dropout=0.1):
        super().__init__()
        self.bos_id, self.scale = bos_id, d_model**0.5
        self.embedding = nn.Embedding(vocab_size, d_model)
        self.layer = nn.TransformerDecoderLayer(d_model, num_heads, 4 * d_model, dropout, batch_first=True)
        self.generator = nn.Linear(d_model, vocab_size)

    def forward(self, target_ids, memory, source_mask, **_):
        x = self.scale * self.embedding(target_ids) + sinusoidal(target_ids.shape[1], memory.shape[-1])
        future = ~causal_mask(target_ids.shape[1])
        x = self.layer(x, memory, tgt_mask=future, memory_key_padding_mask=~source_mask[:, 0])
        return self.generator(x)

    def loss(self, labels, memory, source_mask):
        log_probs = self(shifted(labels, self.bos_id, 1), memory, source_mask).log_softmax(-1)
        real = labels != -100
        return -log_probs[real].gather(1, labels[real][:, None]).mean()


@pytest.mark.parametrize("answer", [translator(), WithTorch])
def test_translator_accepts(answer):
    accepted("06.4", answer)


# --- 06.5 ---------------------------------------------------------------------------------------------------


def searching(
    width=lambda k: k,
    score=lambda total, length, penalty: total / length**penalty,
    rank=lambda ids, total, last: total,
    take=lambda ids: ids,
    one_child=False,
    only_ended=False,
    first=False,
    ask=tuple,
):
    """A beam search with any choice of mistakes."""

    def beam_search(next_log_probs, num_beams, length_penalty, max_length, eos):
        beams, finished = [((), 0.0)], []
        for step in range(1, max_length + 1):
            candidates = []
            for ids, total in beams:
                row = list(next_log_probs(ask(ids)))
                tokens = [row.index(max(row))] if one_child and step > 1 else range(len(row))
                candidates += [((*ids, t), total + row[t], row[t]) for t in tokens]
            candidates.sort(key=lambda c: -rank(*c))
            beams = []
            for ids, total, _ in candidates[: width(num_beams)]:
                if ids[-1] == eos or (step == max_length and not only_ended):
                    finished.append((take(ids), score(total, len(ids), length_penalty)))
                elif step < max_length:
                    beams.append((ids, total))
            if first and finished:
                break
        return max(finished, key=lambda one: one[1], default=((), 0.0))

    return beam_search


def never_ends(next_log_probs, num_beams, length_penalty, max_length, eos):
    beams = [((), 0.0)]
    for _ in range(max_length):
        beams = [((*ids, t), total + p) for ids, total in beams for t, p in enumerate(next_log_probs(ids))]
        beams = sorted(beams, key=lambda b: -b[1])[:num_beams]
    return beams[0]


def too_long(next_log_probs, num_beams, length_penalty, max_length, eos):
    return searching()(next_log_probs, num_beams, length_penalty, max_length + 1, eos)


def raw_score(next_log_probs, num_beams, length_penalty, max_length, eos):
    ids, score = searching()(next_log_probs, num_beams, length_penalty, max_length, eos)
    return ids, score * len(ids) ** length_penalty


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (searching(width=lambda k: 1), "greedy", "greedy"),
        (searching(score=lambda total, n, a: total), "no-penalty", "divided by"),
        (searching(score=lambda total, n, a: total * n**a), "penalty-inverted", "Divide"),
        (searching(one_child=True), "one-child", "same parent"),
        (searching(first=True), "first-finished", "overtake"),
        (searching(only_ended=True), "unfinished-dropped", "without eos"),
        (searching(take=lambda ids: ids[:-1]), "without-eos", "eos"),
        (searching(rank=lambda ids, total, last: last), "last-token-only", "last token"),
        (searching(score=lambda total, n, a: total / max(n - 1, 1) ** a), "length-without-eos", "eos"),
        (never_ends, "extends-finished", "has ended"),
        (too_long, "too-long", "max_length"),
        (raw_score, "score-not-divided", "score"),
        (lambda *a: (searching()(*a)[0], -searching()(*a)[1]), "sign", "negative"),
        (lambda *a: searching()(*a)[0], "wrong-type", "pair"),
        (searching(ask=lambda ids: "x"), "wrong-type", "one sequence"),
        (lambda *a: ((0,), -1.0), "value", "the best"),
    ],
)
def test_beam_search_rejects(answer, misconception, word):
    rejected("06.5", answer, misconception, word)


def keeps_places_filled(next_log_probs, num_beams, length_penalty, max_length, eos, verbose=False):
    """A sequence that ends leaves its place to the next best, as in several libraries; heaps, tensors and lists."""
    beams, finished = [([], torch.tensor(0.0, dtype=torch.float64))], []
    for step in range(max_length):
        candidates = []
        for ids, total in beams:
            row = torch.tensor(next_log_probs(torch.tensor(ids, dtype=torch.long)), dtype=torch.float64)
            candidates += [([*ids, t], total + p) for t, p in enumerate(row)]
        best = heapq.nlargest(2 * num_beams, candidates, key=lambda one: one[1])
        beams = []
        for rank, (ids, total) in enumerate(best):
            ends = ids[-1] == eos or step == max_length - 1
            if ends and rank < num_beams:
                finished.append({"ids": ids, "score": total / len(ids) ** length_penalty})
            elif not ends and len(beams) < num_beams:
                beams.append((ids, total))
    winner = max(finished, key=lambda one: one["score"])
    return [torch.tensor(winner["ids"]), winner["score"]]


def stops_when_full(next_log_probs, num_beams, length_penalty, max_length, eos):
    beams, finished = {(): 0.0}, {}
    while beams and len(finished) < num_beams:
        candidates = {(*ids, t): total + p for ids, total in beams.items() for t, p in enumerate(next_log_probs(ids))}
        kept = sorted(candidates, key=candidates.get)[-num_beams:]
        ended = {ids for ids in kept if ids[-1] == eos or len(ids) == max_length}
        finished |= {ids: candidates[ids] / len(ids) ** length_penalty for ids in ended}
        beams = {ids: candidates[ids] for ids in kept if ids not in ended}
    winner = max(finished, key=finished.get)
    return np.array(winner), np.float64(finished[winner])


@pytest.mark.parametrize("answer", [searching(), keeps_places_filled, stops_when_full])
def test_beam_search_accepts(answer):
    accepted("06.5", answer)


# --- 06.6 ---------------------------------------------------------------------------------------------------


def read(**changed):
    return {**copy.deepcopy(READ), **changed}


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (read(reads=[0, 2, 1, 3, 5, 4, 6]), "columns", "largest of each row"),
        (read(reads=[1, 3, 2, 5, 6, 5, 7]), "from-one", "from 0"),
        (read(reads=[0, 1, 2, 3, 4, 5, 6]), "diagonal", "moved"),
        (read(reads=[0, 2, 1, 4, 5, 5, 6]), "value", "'pas'"),
        (read(reads=[0, 2, 1]), "shape", "seven"),
        (read(reads=[0, 2, 1, ..., 5, 4, 6]), "not-finished", "`reads`"),
        (read(reads=["the", "oies", "white", "not", "sleep", "not", "."]), "no-word", "'oies'"),
        (read(unread=4), "unread", "never"),
        (read(unread="not"), "unread", "never"),
        (read(crossings=1), "one", "besides"),
        (read(crossings=4), "twice", "two links"),
        (read(crossings=3), "crossings", "one word"),
        (read(unread=...), "not-finished", "`unread`"),
        ({"reads": [0]}, "missing", "`unread`"),
        ([0, 2], "wrong-type", "dictionary"),
    ],
)
def test_alignment_rejects(answer, misconception, word):
    rejected("06.6", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        read(reads=["the", "geese", "white", "not", "sleep", "not", "."], unread="do"),
        read(reads=torch.tensor(READ["reads"]), crossings=2.0),
        read(reads=np.array(READ["reads"]), unread=" Do"),
        {**{name: np.int64(READ[name]) for name in ("unread", "crossings")}, "reads": tuple(READ["reads"])},
    ],
)
def test_alignment_accepts(answer):
    accepted("06.6", answer)


@pytest.mark.parametrize(
    "blank",
    [{"reads": [...] * 7, "unread": ..., "crossings": ...}, {"reads": ..., "unread": None, "crossings": ...}],
)
def test_alignment_blank(blank):
    assert judge("06.6", blank).misconception == NOT_ATTEMPTED
