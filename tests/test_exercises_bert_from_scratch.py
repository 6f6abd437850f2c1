"""Exercises of notebook 09: planted mistakes get their own message, unusual right answers pass."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.attention import MultiHeadAttention
from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, judge
from course_lib.exercises.references import bert_from_scratch as right
from course_lib.layers import FeedForward, LayerNorm
from tests.judged import accepted, rejected


def blank(*_):
    """A stub."""
    ...


@pytest.mark.parametrize("id", ["09.1", "09.3", "09.4", "09.5", "09.6", "09.7"])
def test_blank(id):
    assert judge(id, blank).misconception == NOT_ATTEMPTED


@pytest.mark.parametrize("id", [id for id in EXERCISES if id.startswith("09.")])
def test_references_pass(id):
    accepted(id, EXERCISES[id].reference)


# --- 09.1 ---------------------------------------------------------------------------------------------------


def ids_of(first, second, cls_id, sep_id):
    return [cls_id, *first, sep_id, *second, sep_id]


@pytest.mark.parametrize(
    ("ids", "segments", "misconception", "word"),
    [
        (ids_of, lambda a, b: [0] * (a + 1) + [1] * (b + 2), "separator-second", "closes the first"),
        (ids_of, lambda a, b: [0] * (a + 2) + [1] * b + [0], "last-separator", "closes the second"),
        (ids_of, lambda a, b: [1] * (a + 2) + [0] * (b + 1), "swapped", "other way round"),
        (ids_of, lambda a, b: [0] * (a + b + 3), "one-segment", "cannot tell"),
        (ids_of, lambda a, b: [0] + [1] * (a + 1) + [2] * (b + 1), "cls-apart", "0 and 1"),
        (ids_of, lambda a, b: [0] * a + [1] * b, "shape", "special tokens have a segment"),
        (ids_of, lambda a, b: [2] * (a + b + 3), "value", "should be"),
        (lambda f, s, c, e: [*f, e, *s, e], lambda a, b: [], "no-cls", "stands for the whole pair"),
        (lambda f, s, c, e: [c, *f, e, *s], lambda a, b: [], "no-last-separator", "behind the second"),
        (lambda f, s, c, e: [c, *f, *s, e], lambda a, b: [], "no-separator", "between"),
        (lambda f, s, c, e: [c, *f, e, c, *s, e], lambda a, b: [], "two-cls", "one [CLS]"),
        (lambda f, s, c, e: [c, *s, e, *f, e], lambda a, b: [], "order", "wrong order"),
        (lambda f, s, c, e: [e, *f, c, *s, e], lambda a, b: [], "value", "should be [CLS]"),
    ],
)
def test_assemble_rejects(ids, segments, misconception, word):
    def assemble(first, second, cls_id, sep_id):
        return ids(first, second, cls_id, sep_id), segments(len(first), len(second))

    rejected("09.1", assemble, misconception, word)


def test_assemble_rejects_one_result():
    rejected("09.1", ids_of, "wrong-type", "2 things")


def by_appending(first, second, cls_id, sep_id, max_length=None):
    ids, segments = [cls_id], [0]
    for segment, sentence in enumerate((first, second)):
        for token in (*sentence, sep_id):
            ids.append(token)
            segments.append(segment)
    return [np.array(ids), np.array(segments)]


def with_tensors(first, second, cls_id, sep_id):
    ids = torch.tensor([cls_id, *first, sep_id, *second, sep_id])
    return ids, (torch.arange(len(ids)) > len(first) + 1).long()


@pytest.mark.parametrize("answer", [by_appending, with_tensors])
def test_assemble_accepts(answer):
    accepted("09.1", answer)


# --- 09.2 ---------------------------------------------------------------------------------------------------


def numbers(**changed):
    return {**right.masking_in_numbers, **changed}


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (numbers(**{"[MASK]": 9600}), "of-all-tokens", "1800 chosen"),
        (numbers(random=1200), "of-all-tokens", "1800 chosen"),
        (numbers(unchanged=10200), "not-chosen", "that stay"),
        (numbers(targets=1440), "mask-only", "copy every token"),
        (numbers(targets=1620), "changed-only", "count too"),
        (numbers(hidden=1500), "value", "1,500"),
        (numbers(targets=...), "not-finished", "`targets`"),
        ({"hidden": 1800}, "missing", "`[MASK]`"),
        ([1800], "wrong-type", "dictionary"),
    ],
)
def test_numbers_reject(answer, misconception, word):
    rejected("09.2", answer, misconception, word)


@pytest.mark.parametrize(
    "answer", [numbers(hidden=0.15 * 12000), {name: Fraction(value) for name, value in numbers().items()}]
)
def test_numbers_accept(answer):
    accepted("09.2", answer)


def test_numbers_blank():
    assert judge("09.2", dict.fromkeys(right.masking_in_numbers, ...)).misconception == NOT_ATTEMPTED


# --- 09.3 ---------------------------------------------------------------------------------------------------


def masked(ids, special, u, v, random_ids, mask_id, rate, *, where=None, shown=None, labels=None):
    chosen = (u < rate) & ~special if where is None else where(u, special, rate)
    shown = shown or (lambda ids, r, m, v: torch.where(v < 0.8, m, torch.where(v < 0.9, r, ids)))
    hidden = torch.where(chosen, shown(ids, random_ids, mask_id, v), ids)
    return hidden, labels(chosen, ids, hidden, v) if labels else torch.where(chosen, ids, -100)


def mistaken(**parts):
    return lambda ids, special, u, v, random_ids, mask_id, rate=0.15: masked(
        ids, special, u, v, random_ids, mask_id, rate, **parts
    )


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (mistaken(where=lambda u, special, rate: u < rate), "special", "never asked for"),
        (mistaken(where=lambda u, special, rate: (u > rate) & ~special), "complement", "below 0.15"),
        (mistaken(labels=lambda c, ids, h, v: torch.where(c & (v < 0.8), ids, -100)), "mask-only", "as well"),
        (mistaken(labels=lambda c, ids, h, v: torch.where(c & (v < 0.9), ids, -100)), "changed-only", "stay"),
        (mistaken(labels=lambda c, ids, h, v: torch.where(c, h, -100)), "labels-of-hidden", "what was there"),
        (mistaken(labels=lambda c, ids, h, v: ids), "everything", "copying"),
        (mistaken(labels=lambda c, ids, h, v: torch.where(c, -100, ids)), "inverted", "wrong way round"),
        (mistaken(labels=lambda c, ids, h, v: torch.where(c, ids, 0)), "zeros", "-100"),
        (mistaken(labels=lambda c, ids, h, v: ids + 1), "value", "the labels are not"),
        (mistaken(shown=lambda ids, r, m, v: m), "always-mask", "80 %"),
        (mistaken(shown=lambda ids, r, m, v: torch.where(v < 0.8, m, r)), "no-unchanged", "should stay"),
        (mistaken(shown=lambda ids, r, m, v: torch.where(v < 0.8, m, ids)), "no-random", "random token"),
        (
            mistaken(shown=lambda ids, r, m, v: torch.where(v < 0.8, m, torch.where(v < 0.9, ids, r))),
            "swapped",
            "0.8",
        ),
        (mistaken(shown=lambda ids, r, m, v: ids), "nothing", "still shows"),
        (mistaken(shown=lambda ids, r, m, v: r), "value", "the input is not"),
        (lambda ids, *_, **__: ids, "wrong-type", "2 things"),
        (lambda ids, *_, **__: (ids[:1], ids[:1]), "shape", "`input_ids`"),
        (lambda ids, *_, **__: (ids.zero_(), ids), "in-place", "input 1"),
    ],
)
def test_mask_rejects(answer, misconception, word):
    rejected("09.3", answer, misconception, word)


def test_mask_names_changes_everywhere():
    def everywhere(ids, special, u, v, random_ids, mask_id, rate=0.15):
        _, labels = right.mask(ids, special, u, v, random_ids, mask_id, rate)
        return torch.where(v < 0.8, mask_id, torch.where(v < 0.9, random_ids, ids)), labels

    rejected("09.3", everywhere, "everywhere", "not chosen")


def mask_by_loops(ids, special, u, v, random_ids, mask_id, rate=0.15, verbose=False):
    shown, labels = ids.tolist(), [[-100] * ids.shape[1] for _ in ids]
    for row in range(ids.shape[0]):
        for column in range(ids.shape[1]):
            if special[row, column] or u[row, column] >= rate:
                continue
            labels[row][column] = shown[row][column]
            if v[row, column] < 0.8:
                shown[row][column] = mask_id
            elif v[row, column] < 0.9:
                shown[row][column] = int(random_ids[row, column])
    return [shown, labels]


def mask_by_index(ids, special, u, v, random_ids, mask_id, rate=0.15):
    shown, labels = ids.clone(), torch.full_like(ids, -100)
    chosen = torch.logical_and(u < rate, torch.logical_not(special))
    labels[chosen] = ids[chosen]
    shown[chosen & (v < 0.8)] = mask_id
    some = chosen & (v >= 0.8) & (v < 0.9)
    shown[some] = random_ids[some]
    return shown.double(), labels.int()


@pytest.mark.parametrize("answer", [mask_by_loops, mask_by_index])
def test_mask_accepts(answer):
    accepted("09.3", answer)


# --- 09.4 ---------------------------------------------------------------------------------------------------


def any_piece(chosen, continues):
    words = (~continues).long().cumsum(dim=1)
    found = torch.zeros_like(chosen)
    for row in range(len(chosen)):
        for word in words[row].unique():
            found[row, words[row] == word] = chosen[row, words[row] == word].any()
    return found


def one_step(chosen, continues):
    return torch.where(continues, chosen.roll(1, dims=1), chosen)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda chosen, continues: chosen, "pieces", "one by one"),
        (any_piece, "any-piece", "more often"),
        (one_step, "one-step", "third piece"),
        (lambda chosen, continues: chosen | right.whole_words(chosen, continues), "added", "drawn by themselves"),
        (lambda chosen, continues: chosen & ~continues, "first-only", "gives it away"),
        (lambda chosen, continues: ~chosen, "value", "differs"),
        (lambda chosen, continues: chosen[:1], "shape", "instead of"),
        (lambda chosen, continues: chosen.fill_(True), "in-place", "input 1"),
    ],
)
def test_whole_words_rejects(answer, misconception, word):
    rejected("09.4", answer, misconception, word)


def by_gather(chosen, continues, strict=True):
    here = torch.arange(chosen.shape[1]).expand_as(chosen)
    return chosen.gather(1, torch.where(continues, 0, here).cummax(dim=1).values)


def by_rows(chosen, continues):
    rows = []
    for draws, goes_on in zip(chosen.tolist(), continues.tolist(), strict=True):
        row = []
        for draw, continuing in zip(draws, goes_on, strict=True):
            row.append(int(row[-1] if continuing else draw))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("answer", [by_gather, by_rows])
def test_whole_words_accepts(answer):
    accepted("09.4", answer)


# --- 09.5 ---------------------------------------------------------------------------------------------------


def drawn(next_label=0, share=0.5, others=None, following=1, sentence=None):
    def draw_pair(documents, number, i, random):
        first = documents[number][i]
        if random.random() < share:
            return first, documents[number][i + following], next_label
        choices = range(len(documents)) if others == "all" else [k for k in range(len(documents)) if k != number]
        document = documents[choices[0] if others == "first" else random.choice(choices)]
        return first, random.choice(document) if sentence is None else document[sentence], 1 - next_label

    return draw_pair


def own_chance(documents, number, i, random):
    coin = torch.rand(2, generator=own_chance.generator).tolist()
    other = documents[(number + 1) % len(documents)]
    first = documents[number][i]
    return (first, documents[number][i + 1], 0) if coin[0] < 0.5 else (first, other[int(coin[1] * len(other))], 1)


own_chance.generator = torch.Generator().manual_seed(0)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (drawn(next_label=1), "swapped", "0 means"),
        (drawn(others="all"), "same-document", "now and then"),
        (drawn(share=1.0), "always-next", "always"),
        (drawn(share=-1.0), "never-next", "never"),
        (drawn(share=0.9), "unbalanced", "same answer"),
        (drawn(others="first"), "few-documents", "all of them"),
        (drawn(sentence=0), "same-place", "place"),
        (drawn(following=2), "never-next", "never"),
        (own_chance, "own-chance", "repeated"),
        (lambda d, n, i, r: (d[n][i + 1], d[n][i], 0), "first-sentence", "first sentence"),
        (lambda d, n, i, r: (d[n][i], d[n][i + 1], 2), "label", "0 (next)"),
        (lambda d, n, i, r: d[n][i], "wrong-type", "3 things"),
    ],
)
def test_draw_pair_rejects(answer, misconception, word):
    rejected("09.5", answer, misconception, word)


def with_booleans(documents, number, i, random):
    is_next = random.choice([True, False])
    if is_next:
        return [documents[number][i], documents[number][i + 1], False]
    other = random.randrange(len(documents) - 1)
    document = documents[other + (other >= number)]
    return [documents[number][i], document[random.randrange(len(document))], True]


def by_rejection(documents, number, i, random, tries=100):
    wrong = random.random() >= 0.5
    other = number
    while other == number:
        other = random.randint(0, len(documents) - 1)
    return documents[number][i], random.choice(documents[other]) if wrong else documents[number][i + 1], int(wrong)


@pytest.mark.parametrize("answer", [with_booleans, by_rejection, drawn()])
def test_draw_pair_accepts(answer):
    accepted("09.5", answer)


# --- 09.6 ---------------------------------------------------------------------------------------------------


def entropies(logits, labels):
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="none")


def mean_of_means(logits, labels):
    rows = [right.mlm_loss(a[None], b[None]) for a, b in zip(logits, labels, strict=True) if (b != -100).any()]
    return torch.stack(rows).mean()


def without_softmax(logits, labels):
    hidden = labels != -100
    return -logits[hidden].gather(-1, labels[hidden].unsqueeze(-1)).mean()


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda logits, labels: entropies(logits, labels).mean(), "all-positions", "hidden ones"),
        (lambda logits, labels: entropies(logits, labels.clamp(min=0)).mean(), "minus-100-as-token", "token 0"),
        (lambda logits, labels: entropies(logits, labels).sum(), "sum", "mean"),
        (mean_of_means, "mean-of-means", "one mean"),
        (without_softmax, "no-softmax", "log_softmax"),
        (lambda logits, labels: -right.mlm_loss(logits, labels), "sign", "never below 0"),
        (lambda logits, labels: right.mlm_loss(logits, labels) / math.log(2), "base-two", "natural"),
        (lambda logits, labels: right.mlm_loss(logits, labels).exp(), "perplexity", "exp(loss)"),
        (lambda logits, labels: torch.tensor(1.0), "value", "yours is 1"),
        (lambda logits, labels: entropies(logits, labels), "shape", "()"),
        (lambda logits, labels: right.mlm_loss(logits[:, 0], labels), "exception", "Error"),
    ],
)
def test_mlm_loss_rejects(answer, misconception, word):
    rejected("09.6", answer, misconception, word)


def by_numpy(logits, labels, ignore=-100):
    losses = []
    for vector, label in zip(logits.flatten(0, 1).double().numpy(), labels.flatten().tolist(), strict=True):
        if label != ignore:
            losses.append(np.log(np.exp(vector).sum()) - vector[label])
    return float(np.mean(losses))


@pytest.mark.parametrize(
    "answer",
    [by_numpy, lambda logits, labels: F.cross_entropy(logits.transpose(1, 2), labels)],
)
def test_mlm_loss_accepts(answer):
    accepted("09.6", answer)


# --- 09.7 ---------------------------------------------------------------------------------------------------


def guessed(p):
    return lambda counts, labels: -p(counts.double()).log()[labels[labels != -100]].mean().item()


def smoothed(c):
    return (c + 1) / (c + 1).sum()


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (guessed(lambda c: c / c.sum()), "no-smoothing", "infinite"),
        (guessed(lambda c: (c + 1) / c.sum()), "not-normalised", "after"),
        (lambda c, labels: math.exp(right.unigram_loss(c, labels)), "perplexity", "exp(loss)"),
        (lambda c, labels: right.unigram_loss(c, labels) / math.log(2), "base-two", "natural"),
        (lambda c, labels: -right.unigram_loss(c, labels), "sign", "minus"),
        (lambda c, labels: right.unigram_loss(c, labels) * int((labels != -100).sum()), "sum", "mean"),
        (
            lambda c, labels: right.unigram_loss(c, labels) * (labels != -100).double().mean().item(),
            "all-positions",
            "hidden ones",
        ),
        (lambda c, labels: -(smoothed(c) * smoothed(c).log()).sum().item(), "entropy", "entropy"),
        (lambda c, labels: -smoothed(c)[labels[labels != -100]].mean().log().item(), "log-of-mean", "then the mean"),
        (guessed(lambda c: torch.ones_like(c) / len(c)), "value", "should be"),
        (lambda c, labels: "low", "wrong-type", "number"),
        (lambda c, labels: -smoothed(c).log()[labels].mean().item(), "exception", "IndexError"),
    ],
)
def test_unigram_loss_rejects(answer, misconception, word):
    rejected("09.7", answer, misconception, word)


def in_plain_python(counts, labels, ignore=-100):
    counts = counts.tolist()
    total = sum(counts) + len(counts)
    losses = [-math.log((counts[label] + 1) / total) for row in labels.tolist() for label in row if label != ignore]
    return sum(losses) / len(losses)


def as_cross_entropy(counts, labels):
    logits = (counts + 1).double().log().expand(labels.numel(), -1)
    return F.cross_entropy(logits, labels.flatten())


@pytest.mark.parametrize("answer", [in_plain_python, as_cross_entropy])
def test_unigram_loss_accepts(answer):
    accepted("09.7", answer)


# --- 09.8 ---------------------------------------------------------------------------------------------------


class Bert(right.TinyBert):
    """The right model with any of the bugs."""

    attention_residual = feed_forward_residual = masked = positions = True
    everywhere = made_in_forward = inverted = False

    def __init__(self, vocab_size, d_model, num_heads, d_ff, max_len):
        super().__init__(vocab_size, d_model, num_heads, d_ff, max_len)
        if self.made_in_forward:
            del self.dense

    def forward(self, input_ids, attention_mask, segment_ids):
        x = self.token(input_ids) + self.segment(segment_ids)
        if self.positions:
            x = x + self.position.weight[: x.shape[1]]
        x = self.norm(x)
        mask = ~attention_mask if self.inverted else attention_mask
        gathered, _ = self.attention(x, mask=mask[:, None, :] if self.masked else None)
        x = self.attention_norm(x + gathered if self.attention_residual else gathered)
        refined = self.feed_forward(x)
        x = self.feed_forward_norm(x + refined if self.feed_forward_residual else refined)
        dense = nn.Linear(x.shape[-1], x.shape[-1]) if self.made_in_forward else self.dense
        return F.linear(F.gelu(dense(x)), self.token.weight, self.bias)

    def loss(self, input_ids, attention_mask, segment_ids, labels):
        logits = self(input_ids, attention_mask, segment_ids)
        targets = torch.where(labels == -100, input_ids, labels) if self.everywhere else labels
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


def bert(**bugs):
    return type("TinyBert", (Bert,), bugs)


def summed(self, *arguments):
    return Bert.loss(self, *arguments) * (arguments[-1] != -100).sum()


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (bert(made_in_forward=True), "made-in-forward", "no optimiser"),
        (bert(made_in_forward=True, masked=False, everywhere=True), "made-in-forward", "`__init__`"),
        (bert(feed_forward_residual=False), "no-residual", "feed-forward"),
        (bert(attention_residual=False), "no-residual", "attention returns"),
        (bert(feed_forward_residual=False, masked=False, everywhere=True), "no-residual", "feed-forward"),
        (bert(masked=False), "mask-forgotten", "[PAD]"),
        (bert(masked=False, everywhere=True), "mask-forgotten", "[batch, 1, length]"),
        (bert(everywhere=True), "visible-tokens", "copying"),
        (bert(positions=False), "no-positions", "order of the words"),
        (bert(loss=summed), "sum", "mean"),
        (bert(forward=lambda self, ids, mask, segments: self.token(ids) @ self.token.weight.T), "value", "post-norm"),
        (bert(loss=None), "renamed", "`loss`"),
        (right.TinyBert(11, 6, 2, 5, 7), "wrong-type", "a class"),
        (lambda *sizes: 3, "wrong-type", "nn.Module"),
        (lambda *sizes: nn.Linear(2, 2), "made-in-forward", "`dense`"),
    ],
)
def test_tiny_bert_rejects(answer, misconception, word):
    rejected("09.8", answer, misconception, word)


class InTorch(nn.Module):
    """Written otherwise: own tables, one function for the attention's mask, loss by selection."""

    def __init__(self, vocab_size, d_model, num_heads, d_ff, max_len, dropout=0.0):
        super().__init__()
        for name, size in (("token", vocab_size), ("position", max_len), ("segment", 2)):
            setattr(self, name, nn.Embedding(size, d_model))
        self.norm, self.attention_norm, self.feed_forward_norm = (nn.LayerNorm(d_model) for _ in range(3))
        self.attention = MultiHeadAttention(d_model, num_heads)
        self.feed_forward = FeedForward(d_model, d_ff, activation="gelu")
        self.dense, self.bias = nn.Linear(d_model, d_model), nn.Parameter(torch.zeros(vocab_size))

    def forward(self, input_ids, attention_mask, segment_ids):
        x = F.embedding(input_ids, self.token.weight) + self.segment.weight[segment_ids]
        x = self.norm(x + self.position.weight[: input_ids.shape[1]])
        mask = attention_mask.unsqueeze(1).expand(-1, input_ids.shape[1], -1)
        x = self.attention_norm(torch.add(self.attention(x, x, x, mask)[0], x))
        x = self.feed_forward_norm(self.feed_forward(x) + x)
        return torch.einsum("bnd,vd->bnv", F.gelu(self.dense(x)), self.token.weight) + self.bias

    def loss(self, input_ids, attention_mask, segment_ids, labels):
        hidden = labels >= 0
        return right.mlm_loss(self(input_ids, attention_mask, segment_ids)[hidden][None], labels[hidden][None])


@pytest.mark.parametrize("answer", [InTorch, bert(), right.TinyBert])
def test_tiny_bert_accepts(answer):
    accepted("09.8", answer)


def test_a_norm_of_the_package_is_a_norm_of_torch():
    """The judge's oracle normalises with torch's epsilon."""
    assert LayerNorm(5).eps == nn.LayerNorm(5).eps
