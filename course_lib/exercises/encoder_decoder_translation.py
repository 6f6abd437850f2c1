"""Notebook 06: shifted labels, the decoder's mask, label smoothing, a translator to repair, beam search, alignments."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .engine import Choice, Question, exercise, quiz
from .judging import Mistake, call, compare, function, number, random_tensor, reject_if, tensor

_HERE = "course_lib.exercises.references.encoder_decoder_translation"
_IGNORED = -100


@exercise(
    "06.1",
    title="Shift right",
    minutes=5,
    difficulty=1,
    hints=(
        "Write down two rows: what the decoder should say at each position, and what it has read by then. "
        "What has it read before it says the first word?",
        "Make a tensor like `labels` that is full of `bos_id`, and copy all labels but the last into its positions "
        "1, 2, … Labels of -100 then still have to become `pad_id`.",
        "`shifted = torch.full_like(labels, bos_id)`, then `shifted[:, 1:] = labels[:, :-1]`, then "
        "`return shifted.masked_fill(shifted == -100, pad_id)`.",
    ),
    reference="course_lib.batching:shift_right",
)
def judge_shift_right(answer):
    shift = function(answer, "shift_right")
    for rows, bos, pad in [
        ([[7, 5, 3, -100, -100], [4, 8, 9, 6, 3]], 2, 0),
        ([[11, 3, -100], [5, 3, -100], [9, 13, 3]], 1, 6),
        ([[3]], 2, 0),
    ]:
        labels = torch.tensor(rows)
        right = torch.tensor([[bos, *(pad if label == _IGNORED else label for label in row[:-1])] for row in rows])
        unpadded = torch.tensor([[bos, *row[:-1]] for row in rows])
        last = labels.masked_fill(labels == _IGNORED, pad)
        found = tensor(call(shift, labels, bos, pad), what="the decoder's input")
        reject_if(
            found.shape == (len(rows), labels.shape[1] + 1),
            f"your rows have {labels.shape[1] + 1} tokens for {labels.shape[1]} labels: each input position has one "
            "label, so the last label is never read. Drop it",
            "last-kept",
        )
        tensor(found, labels.shape, "the decoder's input")
        mistakes = [
            Mistake(
                unpadded,
                "ignored-label",
                f"-100 is left in the input. It marks labels that the loss skips and is no token: make it {pad}",
            ),
            Mistake(
                last,
                "not-shifted",
                "nothing is shifted: the decoder would read, at each position, the very token it is to predict",
            ),
            Mistake(
                torch.cat((right[:, 1:], torch.full_like(right[:, :1], bos)), 1),
                "bos-last",
                "<bos> stands at the end; it is what the decoder reads first",
            ),
            Mistake(
                last.roll(1, 1),
                "rolled",
                "the first position holds the last label of the row: `roll` brought it round. It should hold <bos>",
            ),
            Mistake(
                torch.cat((last[:, 1:], torch.full_like(last[:, :1], pad)), 1),
                "shifted-left",
                "this is shifted to the left: position t reads the token after the one that it is to predict",
            ),
            Mistake(
                torch.cat((torch.full_like(last[:, :1], pad), last[:, :-1]), 1),
                "no-bos",
                "the first position is padding; <bos> belongs there, the sign to begin",
            ),
        ]
        compare(found, right, mistakes, f"for the labels {rows} the input should be {right.tolist()}")
    return "position t reads the labels before t, and <bos> first"


@exercise(
    "06.2",
    title="The decoder's mask",
    minutes=7,
    difficulty=3,
    hints=(
        "Two reasons forbid a key. Which one depends on the query, and which on the sentence?",
        "The causal part is one lower triangle, [n, n], for all sentences. The padding part is a row of True and False "
        "for each sentence, [batch, 1, n], along the keys. A key must pass both.",
        "`torch.ones(n, n, dtype=torch.bool).tril() & (target_ids != pad_id)[:, None, :]`",
    ),
    reference=f"{_HERE}:decoder_mask",
)
def judge_decoder_mask(answer):
    mask = function(answer, "decoder_mask")
    for rows, pad in [
        ([[6, 6, 1, 0], [6, 1, 9, 4]], 6),  # padding at the left, and 0 is a word
        ([[2, 5, 7, 0, 0], [2, 4, 6, 8, 3], [2, 0, 0, 0, 0]], 0),
        ([[2, 5, 7]], 0),
    ]:
        ids = torch.tensor(rows)
        batch, n = ids.shape
        found = tensor(call(mask, ids, pad), what="the mask")
        causal = torch.tensor([[key <= query for key in range(n)] for query in range(n)]).expand(batch, n, n)
        real = torch.tensor([[[token != pad for token in row]] for row in rows]).expand(batch, n, n)
        _judge_mask_form(found, batch, n)
        if not bool(real.all()):
            _compare_masks(found, causal & real, _mask_mistakes(causal, real, ids != 0))
        _compare_masks(found, causal & real, [])
    return "lower triangle, and no padding along the keys"


def _judge_mask_form(found: Tensor, batch: int, n: int) -> None:
    reject_if(
        found.shape == (n, n) and batch > 1,
        f"the mask has shape ({n}, {n}): one for all sentences. Padding differs from sentence to sentence, so the "
        f"mask has to be ({batch}, {n}, {n})",
        "one-for-all",
    )
    reject_if(
        found.shape == (batch, 1, n, n),
        f"the mask has an axis for the heads, ({batch}, 1, {n}, {n}); without it, ({batch}, {n}, {n}), is asked for",
        "shape",
    )
    tensor(found, (batch, n, n), "the mask")
    reject_if(
        found.dtype != torch.bool and bool((found == -math.inf).any()),
        "this is an additive mask, 0 and minus infinity; return True and False, where True means: may attend",
        "additive",
    )


def _mask_mistakes(causal: Tensor, real: Tensor, not_zero: Tensor) -> list[Mistake]:
    right, queries = causal & real, real.transpose(1, 2)
    strict = causal & ~torch.eye(causal.shape[-1], dtype=torch.bool)
    return [
        Mistake(
            causal,
            "no-padding",
            "the triangle is right; padding may still be looked at: compare `target_ids` with `pad_id`, along the keys",
        ),
        Mistake(real, "no-causal", "padding is forbidden and the future is not: a token sees those after it"),
        Mistake(~right, "inverted", "True stands where attention is forbidden; here True means: may attend"),
        Mistake(
            right & queries,
            "masks-queries",
            "keys are right. But the rows of padding are empty too: a query with nothing to look at gives 0 / 0 in a "
            "plain softmax, and its output is ignored anyway. Mask keys only",
        ),
        Mistake(
            causal & queries,
            "masks-queries",
            "the rows of padding are forbidden, and its columns are not: rows are queries, columns are keys, and it "
            "is as a key that padding must not be looked at",
        ),
        Mistake(causal | real, "or", "a key is allowed if either reason allows it; it has to pass both: `&`, not `|`"),
        Mistake(
            causal.transpose(1, 2) & real,
            "transposed",
            "the triangle is the upper one: a token sees what comes after it. A key must not be later than its query",
        ),
        Mistake(
            strict & real,
            "without-diagonal",
            "no token sees itself. It may: the row of <bos> predicts the first word from <bos> itself",
        ),
        Mistake(
            causal & not_zero[:, None],
            "pad-id",
            "padding is recognised by the number 0; its number is `pad_id`, and here that is another",
        ),
        Mistake(causal & ~real, "padding-inverted", "padding may be looked at, and real words may not: `!=`, not `==`"),
    ]


def _compare_masks(found: Tensor, right: Tensor, mistakes: list[Mistake]) -> None:
    batch, query, key = (
        int(i) for i in (found.double() != right.double()).nonzero()[:1].flatten().tolist() or (0,) * 3
    )
    allowed = "may" if bool(right[batch, query, key]) else "must not"
    otherwise = f"in sentence {batch}, query {query} {allowed} attend to key {key}, and your mask says otherwise"
    compare(found.double(), right.double(), [m._replace(value=m.value.double()) for m in mistakes], otherwise)


@exercise(
    "06.3",
    title="Label smoothing",
    minutes=7,
    difficulty=3,
    hints=(
        "What is the target distribution for a vocabulary of 5 and epsilon = 0.1? How much does the right token get?",
        "Two terms: (1 - epsilon) times the negative log-probability of the right token, and epsilon times the mean "
        "of the negative log-probabilities of all tokens. Then the mean over the labels that are not -100.",
        "With `log_probs = logits[labels != -100].log_softmax(-1)`, the second term is "
        "`-epsilon * log_probs.mean(-1)`.",
    ),
    reference=f"{_HERE}:smoothed_loss",
)
def judge_smoothed_loss(answer):
    loss = function(answer, "smoothed_loss")
    for seed, (shape, vocab, epsilon) in enumerate([((2, 3), 5, 0.1), ((3, 7), 11, 0.3), ((2, 5), 7, 0.0)]):
        logits = 2 * random_tensor(seed, *shape, vocab)
        labels = torch.randint(0, vocab, shape, generator=torch.Generator().manual_seed(seed))
        labels[0, -2:] = _IGNORED
        found = torch.tensor(number(call(loss, logits, labels, epsilon), "the loss"), dtype=torch.float64)
        flat = logits.double().flatten(0, 1), labels.flatten()
        right = F.cross_entropy(*flat, label_smoothing=epsilon)
        message = f"for epsilon = {epsilon} and {vocab} tokens the loss should be {right:.4g} and is {found:.4g}"
        compare(found, right, _smoothing_mistakes(*flat, epsilon, right) if epsilon else [], message)
    return "equal to F.cross_entropy with label_smoothing"


def _smoothing_mistakes(logits: Tensor, labels: Tensor, epsilon: float, right: Tensor) -> list[Mistake]:
    counted = labels != _IGNORED
    log_probs = logits[counted].log_softmax(-1)
    likelihood = log_probs.gather(1, labels[counted, None])[:, 0]
    others = (log_probs.sum(-1) - likelihood) / (log_probs.shape[1] - 1)
    share, rest = epsilon, 1 - epsilon
    padded = logits.log_softmax(-1)
    padded_likelihood = padded.gather(1, labels.clamp(min=0)[:, None])[:, 0]
    plain = -likelihood.mean()
    return [
        Mistake(plain, "not-smoothed", "this is the plain cross-entropy: epsilon plays no part"),
        Mistake(
            -(rest * likelihood + share * others).mean(),
            "others-only",
            "epsilon is shared among the other tokens. In the definition it is spread over the whole vocabulary, the "
            "right token included, which then has 1 - epsilon + epsilon / vocab_size",
        ),
        Mistake(
            -(rest * likelihood + share * log_probs.sum(-1)).mean(),
            "not-divided",
            "each token gets epsilon; together they should get epsilon, so each gets epsilon / vocab_size",
        ),
        Mistake(
            -(likelihood + share * log_probs.mean(-1)).mean(),
            "sum-above-one",
            "the target sums to 1 + epsilon: the right token's share has to fall to 1 - epsilon",
        ),
        Mistake(
            -(share * likelihood + rest * log_probs.mean(-1)).mean(),
            "swapped",
            "epsilon and 1 - epsilon have changed places: most of the target belongs to the right token",
        ),
        Mistake(
            right * counted.sum(), "sum", "this is the sum over the labels; the mean over those that count is asked for"
        ),
        Mistake(
            right * counted.sum() / counted.numel(),
            "padding-counted",
            "the sum is divided by the number of all positions; divide it by the number of those that are not -100",
        ),
        Mistake(
            -(rest * padded_likelihood + share * padded.mean(-1)).mean(),
            "ignored-counted",
            "labels of -100 are counted as if they were token 0: leave their positions out",
        ),
        Mistake(
            -(rest * padded_likelihood * counted + share * padded.mean(-1)).sum() / counted.sum(),
            "ignored-counted",
            "the second term also counts the positions whose label is -100: leave them out of both",
        ),
        Mistake(
            -(rest * likelihood.exp() + share * log_probs.exp().mean(-1)).mean(),
            "no-log",
            "these are probabilities; the loss is made of their logarithms: `log_softmax`, not `softmax`",
        ),
        Mistake(-right, "sign", "the sign is wrong: a loss is the negative log-likelihood"),
    ]


@exercise(
    "06.4",
    title="Three bugs in a translator",
    minutes=12,
    difficulty=4,
    hints=(
        "Change one word of the target: which logits may change? Change the source behind its end: may any? And what "
        "does the model read at position t when it is asked for label t?",
        "First: in which triangle is a key not later than its query? Second: who uses `source_mask`? Third: exercise "
        "06.1 stands between the labels and what the decoder reads.",
        "`causal_mask(n)` without `.T`; `self.block(x, memory, mask, source_mask)`; and in `loss` read "
        "`shift_right(labels, self.bos_id)` in place of the labels.",
    ),
    reference=f"{_HERE}:TinyTranslator",
    starts_broken=True,
)
def judge_translator(answer):
    for seed, (vocab, d_model, heads, batch, n, source_len, bos) in enumerate(
        [(11, 12, 3, 3, 5, 7, 1), (13, 10, 5, 2, 4, 3, 2)]
    ):
        model = _translator(answer, seed, vocab, d_model, heads, bos)
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(3, vocab, (batch, n), generator=generator)
        memory = random_tensor(seed + 30, batch, source_len, d_model)
        mask = torch.arange(source_len) < torch.tensor([source_len, source_len - 1, 2])[:batch, None, None]
        with torch.no_grad():

            def logits(ids: Tensor = ids, memory: Tensor = memory, mask: Tensor = mask, model: Any = model) -> Tensor:
                return tensor(call(model, ids, memory, mask), (*ids.shape, vocab), "the logits")  # noqa: B023

            _judge_target(logits, ids, vocab)
            _judge_source(logits, memory, mask)
        labels = ids.clone()
        labels[-1, -2:] = _IGNORED
        _judge_loss(model, labels, memory, mask, bos)
    return "no future, no padding of the source, and labels that are shifted before they are read"


def _translator(answer: Any, seed: int, vocab: int, d_model: int, heads: int, bos: int) -> nn.Module:
    """The learner's module with random parameters, so that everything in it has an effect."""
    reject_if(
        isinstance(answer, nn.Module),
        "a class is asked for and this is one module made from it: pass `TinyTranslator` itself, without calling it",
        "wrong-type",
    )
    reject_if(not callable(answer), f"`TinyTranslator` should be a class, not {type(answer).__name__}", "wrong-type")
    model = call(answer, vocab, d_model, heads, bos)
    reject_if(
        not isinstance(model, nn.Module) or not callable(getattr(model, "loss", None)),
        "`TinyTranslator(...)` should be an nn.Module with a method `loss`",
        "wrong-type",
    )
    with torch.no_grad():
        for i, parameter in enumerate(model.parameters()):
            parameter.add_(random_tensor(97 * seed + i, *parameter.shape) / math.sqrt(d_model))
    return model.eval()


def _moved(before: Tensor, after: Tensor) -> Tensor:
    """Whether the logits of each position moved: [batch, n]."""
    return (before - after).abs().amax(-1) > 1e-4


def _judge_target(logits: Callable[..., Tensor], ids: Tensor, vocab: int) -> None:
    last, first, swapped = ids.clone(), ids.clone(), ids.clone()
    last[:, -1] = (ids[:, -1] + 1) % vocab
    first[:, 0] = (ids[:, 0] + 1) % vocab
    before = logits()
    sees_future = bool(_moved(before, logits(last))[:, :-1].any())
    sees_past = bool(_moved(before, logits(first))[:, 1:].any())
    reject_if(
        sees_future and not sees_past,
        "change the last word of the target, and the logits before it change; change the first, and none after it do: "
        "the triangle of the mask is the wrong one",
        "transposed",
    )
    reject_if(
        sees_future,
        "change the last word of the target, and the logits before it change: the decoder sees the future",
        "sees-future",
    )
    reject_if(
        not sees_past,
        "change the first word of the target, and no logits after it change: the past should be seen",
        "past-unseen",
    )
    swapped[:, 0], swapped[:, 1] = (ids[:, 0] + 1) % vocab, ids[:, 0]
    other_order = swapped.clone()
    other_order[:, 0], other_order[:, 1] = swapped[:, 1], swapped[:, 0]
    reject_if(
        not bool(_moved(logits(swapped), logits(other_order))[:, 2:].any()),
        "swap the first two words of the target, and nothing behind them changes: what became of the positions?",
        "no-positions",
    )


def _judge_source(logits: Callable[..., Tensor], memory: Tensor, mask: Tensor) -> None:
    is_padding = ~mask.transpose(1, 2)  # [batch, source_len, 1]
    before = logits()
    padding_seen = bool(_moved(before, logits(memory=memory + is_padding * 1.0)).any())
    source_seen = bool(_moved(before, logits(memory=memory + ~is_padding * random_tensor(7, *memory.shape))).all())
    reject_if(
        padding_seen and not source_seen,
        "the mask of the source acts the wrong way round: the padding is read and the words are not",
        "mask-inverted",
    )
    reject_if(
        not source_seen,
        "change the words of the source, and the logits stay: the decoder has to attend to `memory`",
        "memory-ignored",
    )
    reject_if(
        padding_seen,
        "the target is right now. But change the source behind its end, where `source_mask` is False, and the logits "
        "change: the attention to the source reads padding",
        "source-padding",
    )


def _judge_loss(model: nn.Module, labels: Tensor, memory: Tensor, mask: Tensor, bos: int) -> None:
    loss = call(model.loss, labels, memory, mask)
    reject_if(
        isinstance(loss, Tensor) and loss.numel() == 1 and not loss.requires_grad,
        "the loss carries no gradient, so nothing could be trained: no `detach`, no `no_grad`, no `item`",
        "no-gradient",
    )
    found = torch.tensor(number(loss.detach() if isinstance(loss, Tensor) else loss, "the loss"), dtype=torch.float64)
    read = torch.cat((torch.full_like(labels[:, :1], bos), labels[:, :-1].clamp(min=0)), 1)
    with torch.no_grad():

        def value(inputs: Tensor, targets: Tensor = labels, reduction: str = "mean") -> Tensor:
            logits = tensor(model(inputs, memory, mask), what="the logits")
            return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)

        itself = labels.clamp(min=0)
        compare(
            found,
            value(read),
            [
                Mistake(
                    value(itself),
                    "not-shifted",
                    "the decoder is right now. But the loss gives it the labels themselves to read: at position t it "
                    "sees the very word it is to predict, learns to copy it, and knows nothing when it translates. "
                    "Shift the labels to the right, with <bos> first",
                ),
                Mistake(value(read, reduction="sum"), "sum", "this is the sum; the mean over the labels is asked for"),
                Mistake(
                    value(read, labels.clamp(min=0)),
                    "padding-counted",
                    "labels of -100 are counted as token 0: leave -100 in the labels, and clamp only what is read",
                ),
                Mistake(
                    value(torch.cat((itself[:, 1:], torch.zeros_like(itself[:, :1])), 1)),
                    "shifted-left",
                    "the labels are shifted to the left: position t reads the word after the one it is to predict",
                ),
                Mistake(
                    value(read.index_fill(1, torch.tensor([0]), 0)),
                    "no-bos",
                    "the first position reads token 0; it should read <bos>, `self.bos_id`",
                ),
                Mistake(
                    value(itself.roll(1, 1)),
                    "rolled",
                    "the first position reads the last label, which `roll` brought round; it should read <bos>",
                ),
            ],
            "the loss is not the mean cross-entropy of the labels, given the labels before them",
        )


class _Oracle(NamedTuple):
    """Next-token log-probabilities for every prefix of a tiny language; token `eos` ends a sequence."""

    table: dict[tuple[int, ...], list[float]]
    max_length: int
    eos: int

    def ask(self, ids: Any) -> list[float]:
        """What the learner calls."""
        try:
            prefix = tuple(int(token) for token in ids)
        except (TypeError, ValueError) as error:
            reject_if(True, "`next_log_probs` takes one sequence of token ids, such as (4, 0)", "wrong-type")
            raise AssertionError from error
        reject_if(
            self.eos in prefix,
            f"a sequence that has ended is extended: {prefix} holds eos = {self.eos}. Put it aside as finished",
            "extends-finished",
        )
        reject_if(
            len(prefix) >= self.max_length,
            f"a sequence of {len(prefix)} tokens is extended, and max_length is {self.max_length}",
            "too-long",
        )
        reject_if(prefix not in self.table, f"{prefix} holds a token that is not in the vocabulary", "value")
        return list(self.table[prefix])


def _oracle(seed: int, vocab: int, max_length: int, eos: int, sharpness: float = 1.5) -> _Oracle:
    words = [token for token in range(vocab) if token != eos]
    prefixes = [prefix for n in range(max_length) for prefix in itertools.product(words, repeat=n)]
    rows = (sharpness * random_tensor(seed, len(prefixes), vocab, dtype=torch.float64)).log_softmax(-1).tolist()
    return _Oracle(dict(zip(prefixes, rows, strict=True)), max_length, eos)


class _Rules(NamedTuple):
    """How a beam search goes about; the defaults are what the exercise asks for."""

    num_beams: int
    score: Callable[[float, int], float]
    refill: bool = False  # a sequence that ends leaves its place to the next best
    stop_when_full: bool = False
    rank_by_last: bool = False
    one_child: bool = False
    only_ended: bool = False
    first_finished: bool = False


def _searched(oracle: _Oracle, rules: _Rules) -> tuple[tuple[int, ...], float]:
    """The best (ids, score) that a search by these rules finds; the empty sequence where it finds none."""
    beams: list[tuple[tuple[int, ...], float, float]] = [((), 0.0, 0.0)]
    finished: list[tuple[tuple[int, ...], float]] = []
    for step in range(1, oracle.max_length + 1):
        candidates = []
        for ids, total, _ in beams:
            children = [((*ids, token), total + p, p) for token, p in enumerate(oracle.table[ids])]
            candidates += [max(children, key=lambda child: child[1])] if rules.one_child and step > 1 else children
        candidates.sort(key=lambda candidate: -candidate[2 if rules.rank_by_last else 1])
        beams = []
        for rank, (ids, total, last) in enumerate(candidates):
            ended, inside = ids[-1] == oracle.eos, rank < rules.num_beams
            if (ended or step == oracle.max_length) and inside and (ended or not rules.only_ended):
                finished.append((ids, rules.score(total, len(ids))))
            elif not ended and step < oracle.max_length and len(beams) < rules.num_beams and (inside or rules.refill):
                beams.append((ids, total, last))
        full = len(finished) >= (1 if rules.first_finished else rules.num_beams)
        if full and (rules.stop_when_full or rules.first_finished):
            break
    return max(finished, key=lambda one: one[1], default=((), 0.0))


def _exhaustive(oracle: _Oracle, penalty: float) -> tuple[tuple[int, ...], float]:
    """The best of all sequences, each scored by itself."""
    best: tuple[tuple[int, ...], float] = ((), -math.inf)
    for prefix, row in oracle.table.items():
        total = sum(oracle.table[prefix[:i]][token] for i, token in enumerate(prefix))
        for token, log_prob in enumerate(row):
            if token == oracle.eos or len(prefix) + 1 == oracle.max_length:
                score = (total + log_prob) / (len(prefix) + 1) ** penalty
                best = max(best, ((*prefix, token), score), key=lambda one: one[1])
    return best


def _normalised(penalty: float) -> Callable[[float, int], float]:
    return lambda total, length: total / length**penalty


def _beam_mistakes(oracle: _Oracle, num_beams: int, penalty: float) -> list[tuple[_Rules, str, str]]:
    rules = _Rules(num_beams, _normalised(penalty))
    return [
        (rules._replace(num_beams=1), "greedy", "this is what greedy search finds: only one beginning is kept"),
        (
            rules._replace(score=lambda total, length: total),
            "no-penalty",
            "this has the largest log-probability; the best is the one with the largest log-probability divided by "
            f"length ** {penalty}",
        ),
        (
            rules._replace(score=lambda total, length: total * length**penalty),
            "penalty-inverted",
            "the length penalty multiplies; log-probabilities are negative, so that favours short sequences. Divide",
        ),
        (
            rules._replace(score=lambda total, length: total / max(length - 1, 1) ** penalty),
            "length-without-eos",
            "the length seems to be counted without eos; it counts every token that was predicted",
        ),
        (
            rules._replace(rank_by_last=True),
            "last-token-only",
            "candidates seem to be ranked by their last token alone; add up the log-probabilities of all tokens",
        ),
        (
            rules._replace(one_child=True),
            "one-child",
            "each beam seems to be continued by its own best token only. All continuations of all beams compete: two "
            "survivors may have the same parent",
        ),
        (
            rules._replace(first_finished=True),
            "first-finished",
            "the search seems to stop when the first sequence ends; others may still overtake it",
        ),
        (
            rules._replace(only_ended=True),
            "unfinished-dropped",
            f"a sequence that reaches max_length = {oracle.max_length} without eos counts as finished too",
        ),
    ]


@exercise(
    "06.5",
    title="Beam search",
    minutes=20,
    difficulty=5,
    hints=(
        "Keep two lists: beams that go on, as (ids, log-probability), and finished ones. What are the candidates of "
        "one step, and how many of them survive?",
        "Candidates are all continuations of all beams, sorted by their total log-probability. Go through the best "
        "`num_beams`: a candidate that ends with `eos`, or has `max_length` tokens, is finished, the others are the "
        "next beams. Divide by the length only to compare what is finished.",
        "`candidates = [((*ids, token), total + p) for ids, total in beams for token, p in "
        "enumerate(next_log_probs(ids))]`; the score of a finished one is `total / len(ids) ** length_penalty`.",
    ),
    reference=f"{_HERE}:beam_search",
)
def judge_beam_search(answer):
    search = function(answer, "beam_search")
    tasks = list(_search_tasks())
    found = []
    for oracle, num_beams, penalty, _ in tasks:
        found.append(_hypothesis(call(search, oracle.ask, num_beams, penalty, oracle.max_length, oracle.eos)))
    for (ids, _), task in zip(found, tasks, strict=True):
        if ids != task.right[0]:
            _explain_ids([ids for ids, _ in found], tasks, ids, task)
    for (_, score), task in zip(found, tasks, strict=True):
        if abs(score - task.right[1]) > 1e-4:
            _explain_scores(found, tasks, score, task)
    return "the best of all sequences with a wide beam, and what a narrow one should find"


class _Task(NamedTuple):
    """One search that is asked for, and the (ids, score) it should find."""

    oracle: _Oracle
    num_beams: int
    penalty: float
    right: tuple[tuple[int, ...], float]

    def __str__(self) -> str:
        width = f"num_beams={self.num_beams}" + (", enough for all sequences," if self.num_beams > 3 else "")
        return f"with {width} and length_penalty={self.penalty}"


def _search_tasks() -> Iterator[_Task]:
    """Wide searches, where the oracle is all sequences, and narrow ones on which the usual variants agree."""
    for seed, vocab, length, eos, penalty in [
        (1, 4, 3, 3, 0.0),
        (2, 3, 5, 0, 1.0),
        (3, 5, 4, 2, 0.7),
        (4, 3, 5, 2, 2.0),
        (5, 4, 4, 1, 1.0),
    ]:
        oracle = _oracle(seed, vocab, length, eos)
        yield _Task(oracle, vocab**length, penalty, _exhaustive(oracle, penalty))
    for seed, num_beams in itertools.product(range(10, 34), (2, 1, 3)):
        oracle, penalty = _oracle(seed, 4, 5, eos=0, sharpness=1.0), (0.0, 1.0, 0.6)[seed % 3]
        right = _settled(oracle, num_beams, penalty)
        if right is not None:
            yield _Task(oracle, num_beams, penalty, right)


def _settled(oracle: _Oracle, num_beams: int, penalty: float) -> tuple[tuple[int, ...], float] | None:
    """What a narrow beam finds, where the usual variants of the search agree on it; else None."""
    rules = _Rules(num_beams, _normalised(penalty))
    found = {
        _searched(oracle, rules._replace(refill=refill, stop_when_full=stop))
        for refill, stop in itertools.product((False, True), repeat=2)
    }
    return found.pop() if len(found) == 1 else None


def _explain_ids(found: list[tuple[int, ...]], tasks: list[_Task], ids: tuple[int, ...], task: _Task) -> None:
    """Reject, naming the mistake that explains what was found in all searches, if one does."""
    reject_if(
        (*ids, task.oracle.eos) == task.right[0],
        "the sequence is right up to eos, which is missing: it is a token that was predicted, and it counts",
        "without-eos",
    )
    for i, (_, name, message) in enumerate(_beam_mistakes(task.oracle, task.num_beams, task.penalty)):
        wrong = (
            _searched(one.oracle, _beam_mistakes(one.oracle, one.num_beams, one.penalty)[i][0])[0] for one in tasks
        )
        reject_if(all(a == b for a, b in zip(found, wrong, strict=True)), f"{task}: {message}", name)
    reject_if(True, f"{task} you find {ids}, and {task.right[0]} is the best", "value")


def _explain_scores(found: list[tuple[tuple[int, ...], float]], tasks: list[_Task], score: float, task: _Task) -> None:
    """Reject a score that is wrong although the sequence is right."""
    for mistaken, name, message in [
        (
            lambda total, n, penalty: total,
            "score-not-divided",
            "the score is the log-probability divided by length ** length_penalty",
        ),
        (lambda total, n, penalty: -total / n**penalty, "sign", "the sign is wrong: a log-probability is negative"),
        (
            lambda total, n, penalty: math.exp(total),
            "probability",
            "the score is made of the log-probability, not of the probability",
        ),
        (
            lambda total, n, penalty: total / max(n - 1, 1) ** penalty,
            "length-without-eos",
            "the length counts eos, too",
        ),
    ]:
        wrong = [
            mistaken(one.right[1] * len(one.right[0]) ** one.penalty, len(one.right[0]), one.penalty) for one in tasks
        ]
        explains = all(abs(mine - value) < 1e-4 for (_, mine), value in zip(found, wrong, strict=True))
        reject_if(explains, f"{task} the sequence is right; {message}", name)
    reject_if(True, f"{task} the sequence is right; its score is {task.right[1]:.4g}, not {score:.4g}", "score")


def _hypothesis(result: Any) -> tuple[tuple[int, ...], float]:
    """Read (ids, score), whatever they are written in."""
    try:
        ids, score = result
        read = tuple(int(token) for token in ids)
    except (TypeError, ValueError, RuntimeError):
        reject_if(True, "the result should be a pair: the ids of the best sequence, and its score", "wrong-type")
    return read, number(score, "the score")


_SOURCE = ("the", "white", "geese", "do", "not", "sleep", ".")
_TARGET = ("les", "oies", "blanches", "ne", "dorment", "pas", ".")
_READ = (
    (0.62, 0.05, 0.25, 0.02, 0.01, 0.03, 0.02),
    (0.10, 0.20, 0.60, 0.02, 0.01, 0.05, 0.02),
    (0.03, 0.71, 0.20, 0.01, 0.02, 0.02, 0.01),
    (0.02, 0.03, 0.05, 0.30, 0.48, 0.10, 0.02),
    (0.02, 0.01, 0.15, 0.20, 0.10, 0.50, 0.02),
    (0.01, 0.01, 0.02, 0.25, 0.56, 0.05, 0.10),
    (0.02, 0.01, 0.02, 0.03, 0.04, 0.08, 0.80),
)


@exercise(
    "06.6",
    title="Read an alignment",
    minutes=6,
    difficulty=2,
    hints=(
        "A row belongs to one French word. Which axis sums to 1, and along which do you look for the largest weight?",
        "Take the largest number of each row. Then look which column was never chosen. Two links cross where the later "
        "French word reads the earlier English word.",
        "The first row has its largest number at position 0, the second at 2, the third at 1: so the links of the "
        "second and the third word cross. One more pair does.",
    ),
    reference=f"{_HERE}:alignment_read",
)
def judge_alignment(answer):
    names = ("reads", "unread", "crossings")
    reject_if(not isinstance(answer, dict), "a dictionary with three entries is asked for", "wrong-type")
    for name in names:
        reject_if(name not in answer, f"the entry `{name}` is missing", "missing")
    given = answer["reads"]
    reject_if(
        not isinstance(given, Sequence | Tensor | np.ndarray) or isinstance(given, str) or len(given) != len(_TARGET),
        "`reads` should hold seven positions, one for each French word",
        "shape",
    )
    reads = [_source_position(one, "reads") for one in given]
    weights = torch.tensor(_READ, dtype=torch.float64)
    right = weights.argmax(dim=1).tolist()
    reject_if(
        reads == weights.argmax(dim=0).tolist(),
        "these are the largest weights of the columns: which French word reads each English word most. A row is a "
        "query and sums to 1: take the largest of each row",
        "columns",
    )
    reject_if(reads == [one + 1 for one in right], "positions count from 0: the first English word is 0", "from-one")
    reject_if(
        reads == list(range(len(right))),
        "this is word for word, as if nothing moved; look at the rows of oies and blanches",
        "diagonal",
    )
    for word, mine, best in zip(_TARGET, reads, right, strict=True):
        reject_if(mine != best, f"in the row of {word!r} another number is larger than the one you chose", "value")
    unread = _source_position(answer["unread"], "unread")
    reject_if(unread != 3, "that English word is the largest weight of some row; one word never is", "unread")
    crossings = number(answer["crossings"], "`crossings`")
    right_crossings = sum(one > other for one, other in itertools.combinations(right, 2))
    reject_if(
        crossings == 1,
        "one pair of links crosses besides the one you counted: an adjective moved, and what else?",
        "one",
    )
    reject_if(
        crossings == 2 * right_crossings, "each pair of links is counted twice: a crossing takes two links", "twice"
    )
    reject_if(
        crossings != right_crossings,
        f"{crossings:.10g} pairs of links do not cross. Two links cross where the later French word reads the earlier "
        "English word; two that meet in one word do not cross",
        "crossings",
    )
    return "rows are French words; blanches and oies have changed places, and ne … pas both read not"


def _source_position(value: Any, what: str) -> int:
    """A position in the English sentence, given as a number or as the word."""
    reject_if(value is ..., f"`{what}` has a place still to fill in", "not-finished")
    if isinstance(value, str):
        word = value.strip().casefold()
        reject_if(
            word not in _SOURCE, f"`{what}` holds {value!r}, which is none of the words {' '.join(_SOURCE)}", "no-word"
        )
        return _SOURCE.index(word)
    return round(number(value, f"`{what}`"))


quiz(
    "06",
    Question(
        "Why is the decoder trained on the right words before each position, and not on its own?",
        (
            Choice(
                "All positions are then trained at once",
                "Given the right words, no position waits for another: one pass trains the whole sentence.",
            ),
            Choice("Its own words would be more accurate", "At first its own words are noise."),
            Choice("It never has to read its own words", "It has to, in every translation after training."),
            Choice("The mask would not work otherwise", "The mask forbids the future, whatever words stand there."),
        ),
        right=0,
    ),
    Question(
        "Which attention needs the causal mask?",
        (
            Choice("The encoder's", "The source is known as a whole before translation begins."),
            Choice("The decoder's own", "There a position would otherwise read the words it is to predict."),
            Choice("The one from decoder to encoder", "Its keys are the source, which holds no future of the target."),
        ),
        right=1,
    ),
    Question(
        "With label smoothing the training loss stops falling at 0.95. What follows?",
        (
            Choice("The model has not learned", "Compare with the smallest value that is possible."),
            Choice("The learning rate is too low", "Nothing says so: the least possible value may have been reached."),
            Choice(
                "Nothing, before it is compared with the entropy of the smoothed target",
                "With 535 words and epsilon = 0.1 no model can get below 0.95.",
            ),
        ),
        right=2,
    ),
    Question(
        "A beam search of width 5 finds a sequence that is less probable than the one of width 4. Can that be?",
        (
            Choice("No, it looks at more sequences", "A further beam can push out the beginning of the better one."),
            Choice("Only with a length penalty", "It can happen with plain log-probabilities, too."),
            Choice("Only if the model is badly trained", "It is a property of the search, not of the model."),
            Choice(
                "Yes, it is rare but possible",
                "Early candidates crowd out others. Only a beam as wide as all sequences is certain.",
            ),
        ),
        right=3,
    ),
    Question(
        "The model is right in 99 of 100 new combinations and in about a third of the longer sentences. What follows?",
        (
            Choice("It has memorised its sentences", "None of the 99 was in training, nor were their combinations."),
            Choice(
                "It learned rules for words, and not for positions it never saw",
                "Words recombine; positions beyond the longest training sentence were never trained.",
            ),
            Choice("The longer sentences have other words", "Each of their words and combinations is in training."),
        ),
        right=1,
    ),
)
