"""Exercises of notebook 07: planted mistakes get their own message, unusual right answers pass."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib import layers
from course_lib.attention import causal_mask
from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, QUIZZES, judge
from course_lib.positions import LearnedPositions
from tests.judged import accepted, rejected


def stub(*arguments, **keywords):
    """What the notebook gives."""
    ...


@pytest.mark.parametrize("id", ["07.1", "07.2", "07.4", "07.5", "07.6", "07.7"])
def test_blank_stub_and_reference(id):
    assert judge(id, stub).misconception == NOT_ATTEMPTED
    accepted(id, EXERCISES[id].reference)


def test_quiz():
    assert len(QUIZZES["07"]) == 5


# --- 07.1 perplexity ----------------------------------------------------------------------------------------


def flat(logits, labels):
    return logits.flatten(0, -2), labels.flatten()


def token_losses(logits, labels):
    losses = F.cross_entropy(*flat(logits, labels), reduction="none")
    return losses[labels.flatten() != -100]


def by_numpy(logits, labels, base=2.0):
    """In bits, token by token."""
    logits, labels = np.asarray(logits, dtype=float), np.asarray(labels)
    bits = []
    for place in np.ndindex(labels.shape):
        if labels[place] >= 0:
            p = np.exp(logits[place] - logits[place].max())
            bits.append(-np.log(p[labels[place]] / p.sum()) / np.log(base))
    return base ** np.mean(bits)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda x, y: token_losses(x, y).mean(), "no-exp", "ln 7"),
        (lambda x, y: token_losses(x, y).mean() / math.log(2), "no-exp", "log2 7"),
        (lambda x, y: token_losses(x, y).sum().exp(), "not-averaged", "mean"),
        (lambda x, y: (-token_losses(x, y).mean()).exp(), "inverse", "minus"),
        (lambda x, y: 2 ** token_losses(x, y).mean(), "base", "natural logarithm"),
        (lambda x, y: math.exp(token_losses(x, y).mean() / math.log(2)), "base", "natural logarithm"),
        (
            lambda x, y: (-x.flatten(0, -2).gather(1, y.flatten().clamp(min=0)[:, None]).mean()).exp(),
            "no-softmax",
            "log_softmax",
        ),
        (
            lambda x, y: F.cross_entropy(*flat(x, y), reduction="sum").div(y.numel()).exp(),
            "ignored-counted",
            "in their number",
        ),
        (lambda x, y: F.cross_entropy(*flat(x, y.clamp(min=0))).exp(), "ignored-counted", "taken for a token"),
        (lambda x, y: F.cross_entropy(*flat(x, y % x.shape[-1])).exp(), "ignored-counted", "taken for a token"),
        (lambda x, y: 1 / (-token_losses(x, y)).exp().mean(), "mean-of-probabilities", "average the probabilities"),
        (lambda x, y: token_losses(x, y).exp().mean(), "mean-of-perplexities", "over the tokens"),
        (
            lambda x, y: (
                torch.stack([token_losses(*row).mean() for row in zip(x, y, strict=True)]).mean().exp()
                if y.dim() == 2
                else token_losses(x, y).mean().exp()
            ),
            "mean-of-perplexities",
            "over the sequences",
        ),
        (lambda x, y: 7.0 if x.shape == (3, 7) else 3.0, "value", "exp of the mean"),
        (lambda x, y: 12.0, "value", "have the perplexity 7"),
        (lambda x, y: "seven", "wrong-type", "number"),
        (lambda x: 7.0, "exception", "TypeError"),
    ],
)
def test_perplexity_rejects(answer, misconception, word):
    rejected("07.1", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        by_numpy,
        lambda x, y: by_numpy(x, y, base=10.0),
        lambda x, y: F.cross_entropy(*flat(x.double(), y)).exp(),
        lambda x, y: np.exp(F.cross_entropy(*flat(x, y)).item()),
    ],
)
def test_perplexity_accepts(answer):
    accepted("07.1", answer)


# --- 07.2 the bigram baseline -------------------------------------------------------------------------------


def counted(ids, vocab_size, add=0.0):
    counts = torch.full((vocab_size, vocab_size), float(add))
    for i in range(len(ids) - 1):
        counts[ids[i], ids[i + 1]] += 1
    return counts


def rows(table):
    return table / table.sum(1, keepdim=True)


def wrapping(ids, vocab_size, add=1.0):
    return rows(counted(torch.cat((ids, ids[:1])), vocab_size, add))


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda ids, v, add=1.0: counted(ids, v, add), "counts", "divide each row"),
        (lambda ids, v, add=1.0: counted(ids, v), "counts", "add `add`"),
        (lambda ids, v, add=1.0: rows(counted(ids, v, add).T), "transposed", "what follows token i"),
        (lambda ids, v, add=1.0: rows(counted(ids, v, add)).T, "transposed", "other way round"),
        (lambda ids, v, add=1.0: rows(counted(ids, v, add).T).T, "columns", "columns sum to 1"),
        (lambda ids, v, add=1.0: counted(ids, v, add) / counted(ids, v, add).sum(), "joint", "each row sums to 1"),
        (lambda ids, v, add=1.0: rows(counted(ids, v)).nan_to_num(), "no-smoothing", "impossible"),
        (lambda ids, v, add=1.0: counted(ids, v, add) / (len(ids) - 1), "value", "its sum"),
        (lambda ids, v, add=1.0: rows(counted(ids, v, 1.0)), "add-ignored", "add=0.5"),
        (wrapping, "wraps", "torch.roll"),
        (
            lambda ids, v, add=1.0: (
                (ids.bincount(minlength=v) + add) / (ids.bincount(minlength=v) + add).sum()
            ).expand(v, v),
            "unigram",
            "the token before",
        ),
        (lambda ids, v, add=0.5: rows(counted(ids, v, add)), "default", "third argument"),
        (lambda ids, v, add=1.0: rows(counted(ids, v - 1, add)), "shape", "(5, 5)"),
    ],
)
def test_bigram_rejects(answer, misconception, word):
    rejected("07.2", answer, misconception, word)


def test_bigram_names_a_sum_without_the_added():
    def half(ids, vocab_size, add=1.0):
        counts = counted(ids, vocab_size)
        return torch.where(counts.sum(1, keepdim=True) > 0, (counts + add) / counts.sum(1, keepdim=True), 0.2)

    rejected("07.2", half, "value")


def test_bigram_without_smoothing_has_nan():
    rejected("07.2", lambda ids, v, add=1.0: rows(counted(ids, v)), "value")


def with_lists(ids, vocab_size, add=1):
    table = [[add] * vocab_size for _ in range(vocab_size)]
    for one, other in zip(ids.tolist(), ids.tolist()[1:], strict=False):
        table[one][other] += 1
    return [[value / sum(row) for value in row] for row in table]


@pytest.mark.parametrize(
    "answer",
    [
        with_lists,
        lambda ids, v, add=1.0: rows(counted(ids, v, add).double()),
        lambda ids, v, add=1.0: np.array(with_lists(ids, v, add)),
        lambda ids, v, add=1.0, verbose=False: rows((F.one_hot(ids[:-1], v).T @ F.one_hot(ids[1:], v)).float() + add),
    ],
)
def test_bigram_accepts(answer):
    accepted("07.2", answer)


# --- 07.3 too good to be true -------------------------------------------------------------------------------


class Model(nn.Module):
    """The right model; each planted bug overrides one thing."""

    def __init__(self, vocab_size, d_model, num_heads, max_len):
        super().__init__()
        self.token = layers.TokenEmbedding(vocab_size, d_model)
        self.position = LearnedPositions(max_len, d_model)
        self.block = layers.EncoderBlock(d_model, num_heads, 4 * d_model)
        self.head = nn.Linear(d_model, vocab_size)

    def mask(self, n):
        return causal_mask(n)

    def places(self, n):
        return self.position(torch.arange(n))

    def forward(self, ids):
        n = ids.shape[1]
        return self.head(self.block(self.token(ids) + self.places(n), self.mask(n)))

    def pairs(self, logits, ids):
        return logits[:, :-1], ids[:, 1:]

    def loss(self, ids):
        logits, labels = self.pairs(self(ids), ids)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def broken(**methods):
    return type("TinyLanguageModel", (Model,), methods)


def only_itself(self, n):
    return torch.eye(n, dtype=torch.bool)


def divided_by_n(self, ids):
    logits, labels = self.pairs(self(ids), ids)
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum") / ids.numel()


class FromOutside(nn.Module):
    """Attention that never sees the token at its own place."""

    def __init__(self, vocab_size, d_model, num_heads, max_len):
        super().__init__()
        self.inner = Model(vocab_size, d_model, num_heads, max_len)

    def forward(self, ids):
        shifted = torch.cat((torch.zeros_like(ids[:, :1]), ids[:, :-1]), dim=1)
        return self.inner(shifted)

    def loss(self, ids):
        return F.cross_entropy(self(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten())


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (broken(mask=lambda self, n: causal_mask(n) | True), "future", "hides it"),
        (broken(mask=lambda self, n: causal_mask(n).T), "future", "what comes later"),
        (broken(mask=lambda self, n: ~causal_mask(n)), "future", "what comes later"),
        (broken(mask=only_itself), "past-hidden", "up to its own place"),
        (FromOutside, "present-hidden", "most useful"),
        (broken(places=lambda self, n: 0.0), "no-positions", "positions"),
        (broken(pairs=lambda self, x, ids: (x, ids)), "not-shifted", "has just read"),
        (broken(pairs=lambda self, x, ids: (x[:, :-1], ids[:, :-1])), "not-shifted", "nothing is shifted"),
        (broken(pairs=lambda self, x, ids: (x[:, 1:], ids[:, 1:])), "not-shifted", "nothing is shifted"),
        (broken(pairs=lambda self, x, ids: (x[:, 1:], ids[:, :-1])), "shifted-back", "t + 1"),
        (broken(pairs=lambda self, x, ids: (x, ids.roll(-1, 1))), "wraps", "torch.roll"),
        (broken(loss=divided_by_n), "divided", "n - 1"),
        (
            broken(loss=lambda self, ids: (ids.numel() - len(ids)) * Model.loss(self, ids)),
            "not-averaged",
            "the mean",
        ),
        (broken(loss=lambda self, ids: 3.0 * Model.loss(self, ids)), "value", "the token behind"),
        (broken(loss=lambda self, ids: Model.loss(self, ids).item()), "no-gradient", "tensor"),
        (broken(forward=lambda self, ids: self.token(ids)), "shape", "the logits"),
        (Model(5, 8, 2, 4), "wrong-type", "the class itself"),
        (lambda *sizes: 3, "wrong-type", "no nn.Module"),
        (7, "wrong-type", "class"),
    ],
)
def test_leak_rejects(answer, misconception, word):
    rejected("07.3", answer, misconception, word)


def log_softmax_loss(self, ids):
    log_probs = self(ids).log_softmax(-1)[:, :-1]
    return -log_probs.gather(-1, ids[:, 1:, None]).mean()


@pytest.mark.parametrize(
    "answer",
    [
        Model,
        EXERCISES["07.3"].reference,
        broken(mask=lambda self, n: torch.ones(n, n).tril() > 0),
        broken(loss=log_softmax_loss),
        broken(loss=lambda self, ids: F.cross_entropy(self(ids[:, :-1]).transpose(1, 2), ids[:, 1:])),
    ],
)
def test_leak_accepts(answer):
    accepted("07.3", answer)


# --- 07.4 top-k ---------------------------------------------------------------------------------------------


def keep(logits, kept, other=-torch.inf):
    return logits.where(kept, torch.tensor(other))


def ranks(logits):
    return logits.argsort(-1, descending=True).argsort(-1)


def top(logits, k):
    return keep(logits, ranks(logits) < k)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda x, k: keep(x, ranks(x) < k, 0.0), "zero-logit", "e⁰ = 1"),
        (lambda x, k: top(x, k).softmax(-1), "probabilities", "logits are asked for"),
        (lambda x, k: x.softmax(-1) * (ranks(x) < k), "probabilities", "logits are asked for"),
        (lambda x, k: top(x, k).log_softmax(-1), "log-probabilities", "as they are"),
        (lambda x, k: top(x, k - 1), "one-too-few", "<="),
        (lambda x, k: top(x, k + 1), "one-too-many", "instead of 3"),
        (lambda x, k: -top(-x, k), "value", "largest of each row"),
        (lambda x, k: keep(x, ranks(-x) < k), "smallest", "the smallest"),
        (lambda x, k: keep(x, ranks(x) >= k), "smallest", "should stay"),
        (
            lambda x, k: keep(x, x >= x.flatten().topk(min(k, x.numel())).values[-1]),
            "whole-tensor",
            "its own k largest",
        ),
        (lambda x, k: top(x.sort(-1, descending=True).values, k), "sorted", "place of its token"),
        (lambda x, k: x.topk(min(k, x.shape[-1])).values, "shape", "-inf"),
        (lambda x, k: ranks(x) < k, "mask", "mask"),
        (lambda x, k: keep(x, x >= x.topk(k).values[..., -1:]), "more-than-vocabulary", "everything stays"),
        (lambda x, k: top(x, k) if k < 50 else top(x, 1), "more-than-vocabulary", "leave everything"),
        (lambda x, k: x / 0 * 0, "nan", "NaN"),
    ],
)
def test_top_k_rejects(answer, misconception, word):
    rejected("07.4", answer, misconception, word)


def top_k_loop(logits, top_k):
    result = np.full(logits.shape, -np.inf)
    for row in np.ndindex(logits.shape[:-1]):
        for token in np.argsort(-logits[row].numpy())[:top_k]:
            result[row][token] = logits[row][token]
    return result


@pytest.mark.parametrize("answer", [top, top_k_loop, lambda x, k: keep(x.double(), ranks(x) < k, -1e9)])
def test_top_k_accepts(answer):
    accepted("07.4", answer)


# --- 07.5 top-p ---------------------------------------------------------------------------------------------


def in_order(logits):
    probabilities, order = logits.softmax(-1).sort(dim=-1, descending=True)
    return probabilities, order, probabilities.cumsum(-1)


def removed(logits, choose, back=True):
    probabilities, order, total = in_order(logits)
    gone = choose(probabilities, total)
    return torch.zeros_like(gone).scatter(-1, order, gone) if back else gone


def cut(choose, back=True, other=-torch.inf):
    return lambda x, p: keep(x, ~removed(x, lambda q, total: choose(q, total, p), back), other)


def right_cut(q, total, p):
    return total - q >= p


def from_below(logits, p):
    probabilities, order = logits.softmax(-1).sort(dim=-1)
    gone = probabilities.cumsum(-1) > p
    return keep(logits, ~torch.zeros_like(gone).scatter(-1, order, gone))


def one_more(q, total, p):
    before = (total - q).roll(1, -1)
    before[..., 0] = 0
    return before >= p


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (cut(lambda q, total, p: total > p), "crossing-token", "the token with which"),
        (
            lambda x, p: top(x, 0) if p == 0.7 else cut(right_cut)(x, p),
            "crossing-token",
            "always stays",
        ),
        (cut(right_cut, back=False), "not-back-in-place", "scatter"),
        (cut(lambda q, total, p: total > p, back=False), "not-back-in-place", "scatter"),
        (
            lambda x, p: keep(x.sort(descending=True).values, ~removed(x, lambda q, t: t - q >= p, back=False)),
            "sorted",
            "place of its token",
        ),
        (cut(one_more), "one-too-many", "had reached p"),
        (from_below, "ascending", "descending=True"),
        (lambda x, p: keep(x, x.softmax(-1) >= p), "one-by-one", "by itself"),
        (cut(right_cut, other=0.0), "zero-logit", "-inf"),
        (lambda x, p: cut(right_cut)(x, p).softmax(-1), "probabilities", "logits are asked for"),
        (lambda x, p: cut(right_cut)(x, p).log_softmax(-1), "log-probabilities", "as they are"),
        (lambda x, p: x, "value", "numbers of tokens left"),
        (lambda x, p: x[..., :1], "shape", "all 11 places"),
    ],
)
def test_top_p_rejects(answer, misconception, word):
    rejected("07.5", answer, misconception, word)


def top_p_loop(logits, top_p):
    result = np.full(logits.shape, -np.inf)
    for row in np.ndindex(logits.shape[:-1]):
        p = logits[row].double().softmax(-1).numpy()
        total = 0.0
        for token in np.argsort(-p):
            if total >= top_p and top_p < 1:
                break
            result[row][token] = logits[row][token]
            total += p[token]
    return result


@pytest.mark.parametrize("answer", [top_p_loop, cut(right_cut), lambda x, p: cut(right_cut, other=-1e9)(x.double(), p)])
def test_top_p_accepts(answer):
    accepted("07.5", answer)


# --- 07.6 one step with a cache -----------------------------------------------------------------------------


def step(scale=None, past=True, itself=True, axis=-1, soft=True, front=False, extend=True):
    """A cached step with any choice of mistakes."""

    def cached_step(q, k, v, cached_k, cached_v):
        order = (lambda old, new: (new, old)) if front else (lambda old, new: (old, new))
        all_k, all_v = torch.cat(order(cached_k, k), -2), torch.cat(order(cached_v, v), -2)
        seen_k, seen_v = all_k, all_v
        if not itself and cached_k.shape[-2]:
            seen_k, seen_v = cached_k, cached_v
        if not past:
            seen_k, seen_v = k, v
        scores = q @ seen_k.transpose(-2, -1) / (math.sqrt(q.shape[-1]) if scale is None else scale(seen_k))
        weights = scores.softmax(axis) if soft else scores
        return weights @ seen_v, *((all_k, all_v) if extend else (cached_k, cached_v))

    return cached_step


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (step(itself=False), "without-itself", "look at itself"),
        (step(past=False), "no-past", "the cached ones too"),
        (step(extend=False), "not-extended", "for the next step"),
        (step(front=True), "prepended", "append"),
        (step(scale=lambda k: 1.0), "no-scaling", "√d_k"),
        (step(scale=lambda k: k.shape[-1]), "wrong-scaling", "its root"),
        (step(scale=lambda k: math.sqrt(k.shape[-2])), "wrong-scaling", "number of keys"),
        (step(soft=False), "no-softmax", "softmax"),
        (step(axis=1), "wrong-axis", "last axis"),
        (lambda q, k, v, ck, cv: step()(q, k, v, ck, cv)[0], "three-results", "three things"),
        (lambda q, k, v, ck, cv: (step()(q, k, v, ck, cv)[0][:, 0], *step()(q, k, v, ck, cv)[1:]), "shape", "keep"),
        (
            lambda q, k, v, ck, cv: (v, torch.cat((ck, k), -1) if ck.shape[1] else k, torch.cat((cv, v), -2)),
            "wrong-axis",
            "the last but one",
        ),
        (lambda q, k, v, ck, cv: (v, torch.cat((ck, k, k), -2), torch.cat((cv, v), -2)), "wrong-axis", "grows by 1"),
        (lambda q, k, v, ck, cv: (v, torch.cat((ck, -k), -2), torch.cat((cv, v), -2)), "cache", "cached ones"),
        (
            lambda q, k, v, ck, cv: (
                torch.cat((cv, v), -2).mean(-2, keepdim=True),
                torch.cat((ck, k), -2),
                torch.cat((cv, v), -2),
            ),
            "no-query",
            "plain mean",
        ),
    ],
)
def test_cached_step_rejects(answer, misconception, word):
    rejected("07.6", answer, misconception, word)


def by_torch(q, k, v, cached_k, cached_v):
    k, v = torch.cat((cached_k, k), 1), torch.cat((cached_v, v), 1)
    return [F.scaled_dot_product_attention(q, k, v), k, v]


def head_by_head(q, k, v, cached_k, cached_v):
    k, v = torch.cat((cached_k, k), 1).double(), torch.cat((cached_v, v), 1).double()
    outputs = []
    for head in range(len(q)):
        scores = k[head] @ q[head, 0].double() / q.shape[-1] ** 0.5
        weights = scores.exp() / scores.exp().sum()
        outputs.append((weights[:, None] * v[head]).sum(0, keepdim=True))
    return torch.stack(outputs), k, v


@pytest.mark.parametrize("answer", [by_torch, head_by_head, step()])
def test_cached_step_accepts(answer):
    accepted("07.6", answer)


# --- 07.7 how large is the cache ----------------------------------------------------------------------------


def size(times=lambda **s: 1):
    def cache_bytes(num_layers, num_heads, num_kv_heads, d_model, length, batch=1, bytes_each=4):
        sizes = {"layers": num_layers, "heads": num_heads, "kv": num_kv_heads, "n": length, "b": batch, "e": bytes_each}
        return 2 * batch * num_layers * num_kv_heads * d_model * length * bytes_each * times(**sizes) / num_heads

    return cache_bytes


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (size(lambda **s: 1 / 2), "factor-two", "values"),
        (size(lambda heads, kv, **s: heads / kv), "query-heads", "6 heads"),
        (size(lambda heads, **s: heads), "d-model", "d_model / num_heads"),
        (size(lambda kv, **s: 1 / kv), "one-head", "of its own"),
        (size(lambda layers, **s: 1 / layers), "one-layer", "each of the 5 layers"),
        (size(lambda e, **s: 1 / e), "numbers", "4 bytes"),
        (size(lambda b, **s: 1 / b), "one-row", "batch"),
        (size(lambda n, **s: n), "quadratic", "square"),
        (size(lambda **s: 11), "value", "you count"),
        (
            lambda layers, heads, kv, d, n, batch=2, each=4: size()(layers, heads, kv, d, n, batch, each),
            "default",
            "one text",
        ),
    ],
)
def test_cache_bytes_rejects(answer, misconception, word):
    rejected("07.7", answer, misconception, word)


def measured(num_layers, num_heads, num_kv_heads, d_model, length, batch=1, bytes_each=4):
    one = torch.empty(
        batch, num_kv_heads, length, d_model // num_heads, dtype={2: torch.half, 4: torch.float}[bytes_each]
    )
    return num_layers * 2 * one.nbytes


@pytest.mark.parametrize("answer", [size(), measured])
def test_cache_bytes_accepts(answer):
    accepted("07.7", answer)
