"""Notebook 07: perplexity, the bigram baseline, a leaking model, the filters of sampling, and the key-value cache."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .engine import Choice, Question, Rejected, exercise, quiz
from .judging import Mistake, call, close, compare, function, number, random_tensor, reject_if, tensor

_HERE = "course_lib.exercises.references.gpt_and_generation"
_DECODING = "course_lib.decoding"
_AS_GOOD_AS_MINUS_INFINITY = -1e4  # no logit of a test is so small


def _random_ids(seed: int, vocab_size: int, *shape: int) -> Tensor:
    return torch.randint(vocab_size, shape, generator=torch.Generator().manual_seed(seed))


@exercise(
    "07.1",
    title="Perplexity",
    minutes=7,
    difficulty=2,
    hints=(
        "Cross-entropy is the mean of -log p over the tokens that count. What undoes the logarithm?",
        "Log-softmax over the vocabulary; at each place the entry of its label; the mean over the labels that are not "
        "-100, with a minus; and exp of it at the very end.",
        "`loss = F.cross_entropy(logits.flatten(0, -2), labels.flatten())`, which skips -100 by itself, then "
        "`math.exp(loss)`.",
    ),
    reference=f"{_HERE}:perplexity",
)
def judge_perplexity(answer):
    perplexity = function(answer, "perplexity")
    found = number(call(perplexity, torch.zeros(3, 7), torch.tensor([0, 6, 2])), "the perplexity")
    for value, name, message in _UNIFORM_MISTAKES:
        reject_if(math.isclose(found, value, rel_tol=1e-4), f"for uniform logits over 7 tokens {message}", name)
    reject_if(
        not math.isclose(found, 7, rel_tol=1e-4),
        f"uniform logits over 7 tokens have the perplexity 7, and you give {found:.3g}",
        "value",
    )
    for seed, (shape, vocab_size, ignored) in enumerate([((7,), 5, ()), ((2, 3), 11, (1,)), ((3, 5), 7, (0, 4, 9))]):
        logits, labels = 2 * random_tensor(seed, *shape, vocab_size), _random_ids(seed, vocab_size, *shape)
        labels.view(-1)[list(ignored)] = -100
        found = number(call(perplexity, logits, labels), "the perplexity")
        right = F.cross_entropy(logits.double().flatten(0, -2), labels.flatten()).exp().item()
        if not math.isclose(found, right, rel_tol=1e-4):
            for value, name, message in _perplexity_mistakes(logits.double(), labels):
                reject_if(math.isclose(found, float(value), rel_tol=1e-4), message, name)
            raise Rejected(f"you give {found:.4g} where exp of the mean of -log p is {right:.4g}", "value")
    return "exp of the mean of -log p: as uncertain as a choice among so many equally likely tokens"


_MIXED_BASES = "2 and e are mixed: exp goes with the natural logarithm, and 2 to the power of it with log2"
_UNIFORM_MISTAKES = (
    (math.log(7), "no-exp", "you give ln 7, which is the loss; perplexity is exp of it, 7"),
    (math.log2(7), "no-exp", "you give log2 7, which is a number of bits; perplexity is 2 to that, 7"),
    (7.0**3, "not-averaged", "and three labels you give 7³: take the mean of -log p, not the sum"),
    (1 / 7, "inverse", "you give 1/7, the probability itself: there is a minus before the logarithm"),
    (2 ** math.log(7), "base", _MIXED_BASES),
    (math.exp(math.log2(7)), "base", _MIXED_BASES),
    (1.0, "no-softmax", "you give 1: logits of zero are no log-probabilities of zero; log_softmax comes first"),
)


def _perplexity_mistakes(logits: Tensor, labels: Tensor) -> list[tuple[Tensor, str, str]]:
    flat, targets = logits.flatten(0, -2), labels.flatten()
    losses = F.cross_entropy(flat, targets, reduction="none")  # 0 where ignored
    counted = losses[targets != -100]
    as_token = "-100 is taken for a token: it marks places that do not count"
    mistakes = [
        (losses.mean().exp(), "ignored-counted", "the sum is right and divided by too much: -100 marks places that do "
         "not count, in their number either"),
        (F.cross_entropy(flat, targets.clamp(min=0)).exp(), "ignored-counted", as_token),
        (F.cross_entropy(flat, targets % flat.shape[1]).exp(), "ignored-counted", as_token),
        (1 / (-counted).exp().mean(), "mean-of-probabilities", "you average the probabilities; perplexity averages "
         "their logarithms, so that a token that was thought impossible costs a lot"),
        (counted.exp().mean(), "mean-of-perplexities", "you average exp(-log p) over the tokens; take the mean first, "
         "and exp once, at the end"),
    ]  # fmt: skip
    if labels.dim() == 2:
        rows = torch.stack([F.cross_entropy(row, own) for row, own in zip(logits, labels, strict=True)])
        message = "you average over the sequences; a token counts the same, whichever sequence it is in: one mean"
        mistakes += [(mean, "mean-of-perplexities", message) for mean in (rows.exp().mean(), rows.mean().exp())]
    return mistakes


@exercise(
    "07.2",
    title="The bigram baseline",
    minutes=7,
    difficulty=2,
    hints=(
        "How many numbers must the table hold, and which of its two axes should sum to 1?",
        "Start with a table full of `add`. For each pair of neighbours, `ids[i]` and `ids[i + 1]`, add 1 in the row of "
        "the first and the column of the second. Then divide every row by its sum.",
        "`counts = torch.full((vocab_size, vocab_size), float(add))`, a loop over `zip(ids[:-1], ids[1:])` with "
        "`counts[previous, following] += 1`, and `counts / counts.sum(dim=1, keepdim=True)`. Without a loop: "
        "`torch.bincount(ids[:-1] * vocab_size + ids[1:], minlength=vocab_size**2)`.",
    ),
    reference=f"{_HERE}:bigram_table",
)
def judge_bigram_table(answer):
    bigram_table = function(answer, "bigram_table")
    for seed, (n, vocab_size, add) in enumerate([(41, 5, 1.0), (97, 7, 0.5), (53, 3, 2.0)]):
        ids = _random_ids(seed, vocab_size - 1, n)  # the last token never occurs
        shape = (vocab_size, vocab_size)
        found = tensor(call(bigram_table, ids, vocab_size, add), shape)
        counts = torch.zeros(shape, dtype=torch.float64)
        for previous, following in zip(ids.tolist(), ids.tolist()[1:], strict=False):
            counts[previous, following] += 1
        right = (counts + add) / (counts + add).sum(1, keepdim=True)
        compare(found, right, _bigram_mistakes(counts, ids, add), "a row of the table is not (count + add) / its sum")
    default = tensor(call(bigram_table, torch.tensor([0, 1, 0]), 2), (2, 2))
    expected = torch.tensor([[1 / 3, 2 / 3], [2 / 3, 1 / 3]], dtype=torch.float64)
    reject_if(not close(default, expected), "without a third argument, 1 is added to every count", "default")
    return "row by row a distribution over the next token, and no pair is impossible"


def _bigram_mistakes(counts: Tensor, ids: Tensor, add: float) -> list[Mistake]:
    smoothed, vocab_size = counts + add, len(counts)
    wrapped = smoothed.clone()
    wrapped[ids[-1], ids[0]] += 1
    unsmoothed = counts / counts.sum(1, keepdim=True)
    unigram = torch.bincount(ids, minlength=vocab_size) + add
    never = f"token {vocab_size - 1} never occurs, so"
    mistakes = [
        Mistake(smoothed, "counts", "these are the counts; divide each row by its sum"),
        Mistake(counts, "counts", "these are the counts; add `add` to each, and divide each row by its sum"),
        Mistake(smoothed.T / smoothed.T.sum(1, keepdim=True), "transposed", "the rows stand for the next token; row i "
                "should hold what follows token i"),
        Mistake(smoothed / smoothed.sum(0, keepdim=True), "columns", "your columns sum to 1: that is where a token "
                "came from. What comes next is a row: divide each row by its sum"),
        Mistake(smoothed.T / smoothed.T.sum(0, keepdim=True), "transposed", "the table is the other way round: row i "
                "should hold what follows token i"),
        Mistake(smoothed / smoothed.sum(), "joint", "the whole table sums to 1: that is how often a pair occurs. Given "
                "the first token, each row sums to 1"),
        Mistake(unsmoothed.nan_to_num(), "no-smoothing", f"{never} its row is zeros, and pairs that were not seen are "
                "impossible: add `add` to every count"),
        Mistake((counts + add) / counts.sum(1, keepdim=True), "denominator", "`add` is in the counts, not in the sum "
                "that divides them, so the rows sum to more than 1"),
        Mistake(wrapped / wrapped.sum(1, keepdim=True), "wraps", "the last token is followed by nothing, and you let "
                "the first one follow it (`torch.roll` does that)"),
        Mistake((unigram / unigram.sum()).expand(vocab_size, -1), "unigram", "every row is the same: the token "
                "before changes nothing"),
    ]  # fmt: skip
    for other in (0.0, 1.0):
        if other != add:
            fixed = (counts + other) / (counts + other).sum(1, keepdim=True)
            message = f"{never} its row is 0 / 0: add `add` to every count" if not other else f"add={add} was asked for"
            name = "add-ignored" if other else "no-smoothing"
            mistakes.append(Mistake(fixed, name, message if other == 0.0 else f"{message} and you added {other:g}"))
    return mistakes


@exercise(
    "07.3",
    title="Too good to be true",
    minutes=10,
    difficulty=4,
    hints=(
        "Change the last token of a text. Which logits may change? And which token does the loss compare the logits "
        "at place t with?",
        "The block takes a mask as its second argument. In the loss, logits and labels have to be one place apart: "
        "the last logits have no label, the first token is nobody's label.",
        "`self.block(x, causal_mask(n))`; in the loss `logits[:, :-1]` against `ids[:, 1:]`.",
    ),
    reference=f"{_HERE}:TinyLanguageModel",
    starts_broken=True,
)
def judge_leak(answer):
    reject_if(isinstance(answer, nn.Module), "pass the class itself, without making a model from it", "wrong-type")
    reject_if(not callable(answer), f"a class is asked for, and this is of type {type(answer).__name__}", "wrong-type")
    for seed, (vocab_size, d_model, heads, n) in enumerate([(11, 12, 3, 7), (5, 8, 2, 4)]):
        model = call(answer, vocab_size, d_model, heads, n)
        reject_if(not isinstance(model, nn.Module), "`TinyLanguageModel(...)` is no nn.Module", "wrong-type")
        with torch.no_grad():
            for i, parameter in enumerate(model.parameters()):
                parameter.copy_(0.5 * random_tensor(100 * seed + i, *parameter.shape))
        model.eval()
        ids = _random_ids(seed, vocab_size, 2, n)
        logits = tensor(call(model, ids), (2, n, vocab_size), "the logits")
        _judge_what_is_seen(model, ids, logits, vocab_size)
        loss = call(model.loss, ids)
        _judge_shift(float(tensor(loss, (), "the loss")), logits, ids)
        reject_if(
            not isinstance(loss, Tensor) or not loss.requires_grad,
            "the loss is a number without a gradient: return the tensor",
            "no-gradient",
        )
    return "every prediction sees the tokens before it and none behind"


def _judge_what_is_seen(model: nn.Module, ids: Tensor, logits: Tensor, vocab_size: int) -> None:
    """Logits at t depend on every token up to t and on none behind it."""
    n = ids.shape[1]
    moved = []  # moved[i][t]: whether the logits at t change with token i
    for place in range(n):
        changed = ids.clone()
        changed[:, place] = (changed[:, place] + 1) % vocab_size
        distance = (tensor(call(model, changed), logits.shape) - logits).abs().amax(dim=(0, 2))
        moved.append((distance > 1e-5).tolist())
    for place, seen in enumerate(moved):
        reject_if(
            any(seen[:place]),
            f"token {place} was changed, and logits before it moved: they may not know what comes later. In training "
            "the answer stands in the text, right behind the question: the mask hides it",
            "future",
        )
    for place, seen in enumerate(moved):
        reject_if(
            not seen[place],
            f"the logits at place {place} do not depend on token {place} itself: it is known, and the most useful one",
            "present-hidden",
        )
        reject_if(
            not all(seen[place:]),
            f"token {place} was changed and not all logits behind it moved: a prediction may use every token up to its "
            "own place",
            "past-hidden",
        )
    same = torch.zeros(1, n, dtype=torch.long)
    reject_if(
        close(tensor(call(model, same))[0, :1].expand(n, -1), tensor(call(model, same))[0]),
        "for a text of equal tokens all places give the same logits: the positions are lost",
        "no-positions",
    )


def _judge_shift(found: float, logits: Tensor, ids: Tensor) -> None:
    def loss(logits: Tensor, labels: Tensor) -> float:
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten()).item()

    right = loss(logits[:, :-1], ids[:, 1:])
    mistakes = [
        (loss(logits, ids), "not-shifted", "the logits at place t are compared with token t, which the model has just "
         "read; they are about token t + 1"),
        (loss(logits[:, 1:], ids[:, :-1]), "shifted-back", "the logits at place t are compared with token t - 1, which "
         "the model has read; the next one is t + 1"),
        (loss(logits[:, 1:], ids[:, 1:]), "not-shifted", "the first place is left out and nothing is shifted: logits "
         "and labels are still those of the same place"),
        (loss(logits[:, :-1], ids[:, :-1]), "not-shifted", "the last place is left out and nothing is shifted: logits "
         "and labels are still those of the same place"),
        (loss(logits, ids.roll(-1, 1)), "wraps", "behind the last token stands the first one again, as its label "
         "(`torch.roll` does that): leave the last logits out"),
        (right * (ids.shape[1] - 1) / ids.shape[1], "divided", "the sum is divided by n places; n - 1 of them have a "
         "label"),
        (right * ids[:, 1:].numel(), "not-averaged", "this is the sum; the loss is the mean"),
    ]  # fmt: skip
    if math.isclose(found, right, rel_tol=1e-4):
        return
    for value, name, message in mistakes:
        reject_if(math.isclose(found, value, rel_tol=1e-4), message, name)
    raise Rejected(f"the loss is {found:.4g}; logits against the token behind each give {right:.4g}", "value")


def _filtered(answer: Callable, logits: Tensor, setting: float) -> Tensor:
    """The learner's filtered logits, with -inf for numbers as good as -inf."""
    found = tensor(call(answer, logits, setting))
    reject_if(found.dtype == torch.bool, "this is a mask; the logits are asked for, with -inf where it removes", "mask")
    reject_if(
        found.shape != logits.shape,
        f"the result has shape {tuple(found.shape)}: all {logits.shape[-1]} places stay, and those that may not be "
        "drawn get -inf",
        "shape",
    )
    reject_if(bool(found.isnan().any()), "there is NaN in the result", "nan")
    return found.masked_fill(found < _AS_GOOD_AS_MINUS_INFINITY, -math.inf)


def _cut_mistakes(logits: Tensor, kept: Tensor) -> list[Mistake]:
    """Right tokens kept, in another form."""
    probabilities = logits.softmax(-1) * kept
    renormalised = probabilities / probabilities.sum(-1, keepdim=True)
    message = "these are probabilities; logits are asked for, so that the next step is always the same softmax"
    return [
        Mistake(logits * kept, "zero-logit", "what is removed has the logit 0, and after the softmax e⁰ = 1 is a good "
                "share: the logit of nothing is -inf"),
        Mistake(probabilities, "probabilities", message),
        Mistake(renormalised, "probabilities", message),
        Mistake(renormalised.log(), "log-probabilities", "the distribution is right and the logits have changed: leave "
                "those that are kept as they are"),
    ]  # fmt: skip


@exercise(
    "07.4",
    title="The top-k filter",
    minutes=6,
    difficulty=2,
    hints=(
        "Which logit is the smallest that may stay? What must a logit be so that its probability is exactly 0?",
        "`torch.topk` along the last axis gives the k largest of each row; the last of them is the limit. What is "
        "below it becomes -inf. k may be larger than the vocabulary: then everything stays.",
        "`limit = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]`, then "
        "`logits.masked_fill(logits < limit, -torch.inf)`.",
    ),
    reference=f"{_DECODING}:top_k_filter",
)
def judge_top_k(answer):
    answer = function(answer, "top_k_filter")
    cases = [((7,), 3), ((3, 11), 2), ((2, 3, 5), 4), ((2, 7), 1), ((2, 5), 5)]
    for seed, (shape, k) in enumerate(cases):
        logits = random_tensor(seed, *shape)
        found = _filtered(answer, logits, k)
        exact = logits.double()
        rank = exact.argsort(-1, descending=True).argsort(-1)  # 0 is the largest
        right = exact.masked_fill(rank >= k, -math.inf)
        if close(found, right):
            continue
        whole = exact.flatten().argsort(descending=True).argsort().reshape(shape)
        mistakes = [
            *_cut_mistakes(exact, rank < k),
            Mistake(exact.masked_fill(rank >= k - 1, -math.inf), "one-too-few", f"{k - 1} of {k} are left: the k-th "
                    "largest itself may stay, so compare with <, not with <="),
            Mistake(exact.masked_fill(rank >= k + 1, -math.inf), "one-too-many", f"{k + 1} are left instead of {k}"),
            Mistake(exact.masked_fill(rank < shape[-1] - k, -math.inf), "smallest", "the smallest are kept"),
            Mistake(exact.masked_fill(rank < k, -math.inf), "smallest", "the k largest are removed; they should stay"),
            Mistake(exact.masked_fill(whole >= k, -math.inf), "whole-tensor", "one limit serves all rows: each row has "
                    "its own k largest, along the last axis"),
            Mistake(exact.sort(-1, descending=True).values.masked_fill(torch.arange(shape[-1]) >= k, -math.inf),
                    "sorted", "the logits are sorted: each has to stay in the place of its token"),
        ]  # fmt: skip
        left = (found > -math.inf).sum(-1).tolist()
        compare(found, right, mistakes, f"for k={k} {left} logits are left, and not the k largest of each row")
    try:
        everything = _filtered(answer, random_tensor(9, 2, 5), 50)
    except Rejected as rejection:
        raise Rejected(
            f"for k=50 and a vocabulary of 5: {rejection.message}. Then everything stays", "more-than-vocabulary"
        ) from rejection
    reject_if(
        not close(everything, random_tensor(9, 2, 5).double()),
        "k=50 of a vocabulary of 5 should leave everything as it is",
        "more-than-vocabulary",
    )
    return "the k largest of each row, whatever the probabilities are"


@exercise(
    "07.5",
    title="The top-p filter",
    minutes=9,
    difficulty=4,
    hints=(
        "Sort the tokens by probability, most probable first. For which of them have the tokens *before* it already "
        "reached p?",
        "`probabilities, order = logits.softmax(-1).sort(dim=-1, descending=True)`. The sum of those before a token is "
        "`probabilities.cumsum(-1) - probabilities`. Where that is p or more, the token goes. This is in sorted order: "
        "`scatter` brings it back.",
        "`removed = before >= top_p`; `removed = torch.zeros_like(removed).scatter(-1, order, removed)`; "
        "`logits.masked_fill(removed, -torch.inf)`.",
    ),
    reference=f"{_DECODING}:top_p_filter",
)
def judge_top_p(answer):
    answer = function(answer, "top_p_filter")
    cases = [((11,), 0.9), ((3, 7), 0.8), ((2, 3, 5), 0.7), ((2, 7), 0.02), ((3, 5), 1.0)]
    for seed, (shape, p) in enumerate(cases):
        # Seeds whose sums stay away from p, so that rounding decides nothing.
        logits = 1.5 * random_tensor(seed + 20, *shape)
        found = _filtered(answer, logits, p)
        right, mistakes = _top_p_forms(logits.double(), p)
        left = (found > -math.inf).sum(-1).tolist()
        expected = (right > -math.inf).sum(-1).tolist()
        if close(found, right):
            continue
        for mistake in mistakes:
            reject_if(close(found, mistake.value), mistake.message, mistake.name)
        reject_if(
            not bool((found > -math.inf).any(-1).all()),
            f"for p={p} nothing is left of a row: the most probable token always stays, even where it is above p",
            "crossing-token",
        )
        raise Rejected(f"for p={p} the numbers of tokens left are {left} instead of {expected}", "value")
    return "the fewest tokens that reach p: few where the model is sure, many where it is not"


def _top_p_forms(logits: Tensor, p: float) -> tuple[Tensor, list[Mistake]]:
    probabilities = logits.softmax(-1)
    order = logits.argsort(-1, descending=True)
    ordered = probabilities.gather(-1, order)
    total = ordered.cumsum(-1)
    before = total - ordered

    def in_place(removed: Tensor) -> Tensor:
        """From sorted order back to that of the tokens."""
        return torch.zeros_like(removed).scatter(-1, order, removed)

    def cut(removed: Tensor) -> Tensor:
        return logits.masked_fill(removed, -math.inf)

    upward = logits.argsort(-1)
    from_below = probabilities.gather(-1, upward).cumsum(-1)
    below = torch.zeros_like(order, dtype=torch.bool).scatter(-1, upward, from_below > p)
    shifted_twice = torch.roll(before, 1, -1)
    shifted_twice[..., 0] = 0
    kept = ~in_place(before >= p) if p < 1 else torch.ones_like(logits, dtype=torch.bool)
    right = cut(~kept)
    sorted_logits = logits.gather(-1, order)
    mistakes = [
        *_cut_mistakes(logits, kept),
        Mistake(cut(in_place(total > p)), "crossing-token", "the token with which the sum passes p is removed; without "
                "it the rest is less than p: it stays"),
        Mistake(sorted_logits.masked_fill(before >= p, -math.inf), "sorted", "the logits are sorted: each has to stay "
                "in the place of its token"),
        Mistake(cut(before >= p), "not-back-in-place", "the mask is in sorted order and the logits are not: bring it "
                "back, with `scatter` along `order`"),
        Mistake(cut(total > p), "not-back-in-place", "the mask is in sorted order and the logits are not: bring it "
                "back, with `scatter` along `order`"),
        Mistake(cut(in_place(shifted_twice >= p)), "one-too-many", "one token more than needed stays: the sum had "
                "reached p before it"),
        Mistake(cut(below), "ascending", "you add up from the least probable token: sort with `descending=True`"),
        Mistake(cut(probabilities < p), "one-by-one", f"you compare each probability by itself with p={p}; their sum, "
                "from the most probable on, has to reach it"),
        Mistake(cut(probabilities < 1 - p), "one-by-one", "you compare each probability by itself with 1 - p; it is "
                "the sum, from the most probable on, that has to reach p"),
        Mistake(cut(~kept).where(kept, 0.0), "zero-logit", "what is removed has the logit 0; it should be -inf"),
    ]  # fmt: skip
    return right, mistakes


@exercise(
    "07.6",
    title="One step with a cache",
    minutes=8,
    difficulty=3,
    hints=(
        "The new token may look at itself too. How many keys does its query meet, if `seen` are in the cache?",
        "Append the new key to the cached keys and the new value to the cached values, along the axis of length. Then "
        "it is attention as always, with one query and no mask: nothing in the cache is later than the new token.",
        "`all_k = torch.cat((cached_k, k), dim=-2)`, the same for `all_v`, then "
        "`torch.softmax(q @ all_k.transpose(-2, -1) / q.shape[-1] ** 0.5, dim=-1) @ all_v`; return all three.",
    ),
    reference=f"{_HERE}:cached_step",
)
def judge_cached_step(answer):
    cached_step = function(answer, "cached_step")
    for seed, (heads, n, d_k, d_v) in enumerate([(2, 5, 7, 3), (3, 4, 5, 5)]):
        q, k = (random_tensor(seed + offset, heads, n, d_k) for offset in (0, 10))
        v = random_tensor(seed + 20, heads, n, d_v)
        right = F.scaled_dot_product_attention(q.double(), k.double(), v.double(), is_causal=True)
        cached_k, cached_v = k[:, :0], v[:, :0]
        for t in range(n):
            new = slice(t, t + 1)
            result = call(cached_step, q[:, new], k[:, new], v[:, new], cached_k, cached_v)
            reject_if(
                not isinstance(result, tuple | list) or len(result) != 3,
                "three things are asked for: the output, all keys, and all values",
                "three-results",
            )
            output, all_k, all_v = (tensor(part, what=what) for part, what in zip(result, _PARTS, strict=True))
            _judge_cache(all_k, k[:, : t + 1].double(), t, "keys")
            _judge_cache(all_v, v[:, : t + 1].double(), t, "values")
            _judge_step_output(output, right[:, new], q[:, new].double(), k.double(), v.double(), t)
            cached_k, cached_v = (part.to(k.dtype) for part in (all_k, all_v))
    return "step by step what causal attention computes at once, and no key is computed twice"


_PARTS = ("the output", "the keys", "the values")


def _judge_cache(found: Tensor, right: Tensor, t: int, what: str) -> None:
    reject_if(
        found.shape == (*right.shape[:-2], t, right.shape[-1]),
        f"the {what} you return are the {t} that were in the cache: the new one has to be added for the next step",
        "not-extended",
    )
    reject_if(
        found.shape != right.shape,
        f"the {what} have shape {tuple(found.shape)} instead of {tuple(right.shape)}: the axis of length, the last but "
        "one, grows by 1",
        "wrong-axis",
    )
    reject_if(
        t > 0 and close(found, torch.cat((right[:, -1:], right[:, :-1]), dim=-2)),
        f"the new {what[:-1]} stands in front; the cache keeps the order of the text: append",
        "prepended",
    )
    reject_if(not close(found, right), f"the {what} that you return are not the cached ones and the new one", "cache")


def _judge_step_output(found: Tensor, right: Tensor, q: Tensor, k: Tensor, v: Tensor, t: int) -> None:
    reject_if(
        found.shape == right.squeeze(-2).shape and found.shape != right.shape,
        f"the output has shape {tuple(found.shape)}: keep the axis of length, which is 1 here",
        "shape",
    )
    reject_if(
        found.shape != right.shape, f"the output has shape {tuple(found.shape)}, not {tuple(right.shape)}", "shape"
    )
    old_k, old_v, all_k, all_v = k[:, :t], v[:, :t], k[:, : t + 1], v[:, : t + 1]
    scores = q @ all_k.transpose(-2, -1)
    scale = math.sqrt(q.shape[-1])
    mistakes = [
        Mistake(scores.softmax(-1) @ all_v, "no-scaling", "the scores are not divided by √d_k"),
        Mistake((scores / math.sqrt(t + 1)).softmax(-1) @ all_v, "wrong-scaling", "you divide by the root of the "
                "number of keys; it is √d_k"),
        Mistake((scores / q.shape[-1]).softmax(-1) @ all_v, "wrong-scaling", "you divide by d_k; it is its root, √d_k"),
        Mistake(scores / scale @ all_v, "no-softmax", "the softmax over the keys is missing"),
        Mistake((scores / scale).softmax(1) @ all_v, "wrong-axis", "softmax runs over the keys, the last axis"),
        Mistake(all_v.mean(-2, keepdim=True), "no-query", "this is the plain mean of the values"),
    ]  # fmt: skip
    if t:
        without = (q @ old_k.transpose(-2, -1) / scale).softmax(-1) @ old_v
        mistakes += [
            Mistake(without, "without-itself", "the new token does not look at itself: append its key and value first"),
            Mistake(v[:, t : t + 1], "no-past", "the output is the new value alone: the query meets all keys, the "
                    "cached ones too"),
        ]  # fmt: skip
    compare(found, right, mistakes, f"at step {t} the output is not that of causal attention over {t + 1} tokens")


@exercise(
    "07.7",
    title="How large is the cache?",
    minutes=4,
    difficulty=2,
    hints=(
        "What is kept for one token in one layer? Whose number counts, that of the query heads or of the key heads?",
        "For one token and one layer: num_kv_heads vectors of length d_k = d_model / num_heads, once as keys and once "
        "as values. Times layers, times tokens, times batch, times bytes.",
        "`2 * batch * num_layers * num_kv_heads * (d_model // num_heads) * length * bytes_each`",
    ),
    reference=f"{_HERE}:cache_bytes",
)
def judge_cache_bytes(answer):
    cache_bytes = function(answer, "cache_bytes")
    cases = [(5, 6, 3, 66, 7, 1, 4), (5, 4, 4, 28, 13, 3, 2), (30, 9, 3, 576, 101, 1, 4)]
    for layers, heads, kv_heads, d_model, length, batch, each in cases:
        found = number(call(cache_bytes, layers, heads, kv_heads, d_model, length, batch, each), "the number of bytes")
        right = 2 * batch * layers * kv_heads * (d_model // heads) * length * each
        for value, name, message in (
            (right // 2, "factor-two", "half of it is missing: keys *and* values are kept"),
            (right * heads // kv_heads, "query-heads", f"you count {heads} heads; keys and values have {kv_heads}"),
            (right * heads, "d-model", "each key-value head is d_k = d_model / num_heads wide, not d_model"),
            (right // kv_heads, "one-head", f"each of the {kv_heads} key-value heads keeps keys and values of its own"),
            (right // layers, "one-layer", f"each of the {layers} layers keeps its own keys and values"),
            (right // each, "numbers", f"these are numbers; each takes {each} bytes"),
            (right // batch, "one-row", f"each of the {batch} texts of the batch has its own cache"),
            (right * length, "quadratic", "the cache holds keys and values, one of each for a token, not the scores: "
             "it grows with the length and not with its square"),
        ):  # fmt: skip
            reject_if(found == value != right, message, name)
        reject_if(
            found != right,
            f"for {layers} layers, {kv_heads} of {heads} heads, d_model={d_model}, {length} tokens, batch {batch} and "
            f"{each} bytes a number it is {right:,} bytes, and you count {found:,.10g}",
            "value",
        )
    one = number(call(cache_bytes, 5, 6, 3, 66, 7), "the number of bytes")
    reject_if(one != 2 * 5 * 3 * 11 * 7 * 4, "without the last two arguments it is one text and 4 bytes", "default")
    return "it grows with the length, the layers and the key-value heads; the query heads do not count"


quiz(
    "07",
    Question(
        "A language model has a cross-entropy of 2 bits a token. What is its perplexity?",
        (
            Choice("2", "Perplexity is 2 to the power of the bits."),
            Choice("4", "2² = 4: as uncertain as a choice among four equally likely tokens."),
            Choice("e² = 7.4", "That would be for 2 nats. With bits the base is 2."),
            Choice("It depends on the vocabulary", "The cross-entropy does; given it, the perplexity is fixed."),
        ),
        right=1,
    ),
    Question(
        "During training, your small language model reaches 0.05 bits a character on news text. What do you do?",
        (
            Choice("Celebrate", "English has about 1 bit a character for people and for the best models."),
            Choice("Train longer", "It already knows what it cannot know."),
            Choice(
                "Look for a leak: mask, and shift of the labels",
                "A prediction that sees its answer copies it. A loss far below what the text allows is a bug.",
            ),
        ),
        right=2,
    ),
    Question(
        "In one context the model gives 0.97 to one token, in another about 0.01 to each of a hundred. Which filter "
        "adapts to that?",
        (
            Choice("top-k = 40", "It keeps 40 in both: 39 odd ones in the first, and less than half in the second."),
            Choice("top-p = 0.9", "It keeps one token in the first context and about ninety in the second."),
            Choice("temperature 0.5", "It sharpens both and removes nothing."),
        ),
        right=1,
    ),
    Question(
        "What does a key-value cache change?",
        (
            Choice("The text", "The same tokens come out: keys and values of the past do not change."),
            Choice("The memory needed, downwards", "Upwards: keys and values of every layer are kept."),
            Choice(
                "The work: each token goes through the model once",
                "Without it, the whole prefix is computed again for each new token. The price is memory.",
            ),
        ),
        right=2,
    ),
    Question(
        "A model has 9 query heads and 3 key-value heads. How large is its cache, next to one with 9 of each?",
        (
            Choice("As large", "What is kept are keys and values, and there are three of each instead of nine."),
            Choice("A third", "Three key-value heads instead of nine: a third of the keys and of the values."),
            Choice("A ninth", "Keys and values both shrink to a third; the sum of two thirds is a third of the sum."),
        ),
        right=1,
    ),
)
