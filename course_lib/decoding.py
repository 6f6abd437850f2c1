"""Decoding: from a model's next-token logits to sequences, by greedy, beam and exhaustive search and by sampling.

Nothing here knows a model. A search asks one question, `next_token(prefix)`: `prefix` holds the ids so far,
`[rows, length]`, prompt included, and the answer is the logits of the token behind each row, `[rows, vocab_size]`
or, as most models give them, of every position, `[rows, length, vocab_size]`, of which the last is used. So

    greedy_search(lambda prefix: gpt(prefix), prompt, max_new_tokens=20)

runs any decoder-only model, and for an encoder-decoder the prompt is the column of <bos> and the function
holds the encoded source. `Cached` does the same with a key-value cache.

Every search returns the new tokens only, without the prompt.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

NextToken = Callable[[Tensor], Tensor]

# Exhaustive search refuses to look at more sequences than this.
MAX_SEQUENCES = 200_000


class Cache(Protocol):
    """What `Cached` needs of a key-value cache: row i becomes what row `rows[i]` was."""

    def reorder(self, rows: Tensor) -> None: ...


@runtime_checkable
class Reorderable(Protocol):
    """A `NextToken` that remembers rows: a search that moves them says so, before the next question."""

    def reorder(self, rows: Tensor) -> None: ...


class Cached:
    """A `NextToken` that gives the model each token once.

    Args:
        step: `(new_ids, cache) -> logits`, with the ids that the cache has not seen, `[rows, new]`.
        cache: shared by all calls and filled by `step`; start every search with a new one.

    For a GPT: `Cached(lambda ids, cache: gpt(ids, cache=cache), KeyValueCache())`.
    """

    def __init__(self, step: Callable[[Tensor, Cache], Tensor], cache: Cache):
        self._step = step
        self._cache = cache
        self._seen = 0

    def __call__(self, prefix: Tensor) -> Tensor:
        if prefix.shape[1] <= self._seen:
            raise ValueError(
                f"the cache has seen {self._seen} tokens, this prefix has {prefix.shape[1]}: "
                "make a new Cached, with a new cache, for each search"
            )
        logits = self._step(prefix[:, self._seen :], self._cache)
        self._seen = prefix.shape[1]
        return logits

    def reorder(self, rows: Tensor) -> None:
        """Keep the cache in step with the search."""
        self._cache.reorder(rows)


class Hypothesis(NamedTuple):
    """A finished sequence: new ids (with <eos> where it has one), their log-probability, and its score."""

    ids: tuple[int, ...]
    log_prob: float
    score: float


class Node(NamedTuple):
    """One candidate that beam search looked at, for drawing the tree.

    `parent` is the `id` of the node it continues, -1 for the prompt; `step` counts from 1; `log_prob` is
    that of the token, `total` of the whole sequence, `score` the total divided by length ** length_penalty.
    `state` is "kept" (a beam of the next step), "finished" (a hypothesis) or "dropped".
    """

    id: int
    parent: int
    step: int
    token: int
    log_prob: float
    total: float
    score: float
    state: str


@dataclass
class BeamResult:
    """Hypotheses, best first, and every node in the order it was made."""

    hypotheses: list[Hypothesis]
    tree: list[Node] = field(default_factory=list)

    @property
    def best(self) -> Hypothesis:
        return self.hypotheses[0]


def _check(prompt_ids: Tensor, max_new_tokens: int) -> None:
    if prompt_ids.dim() != 2:
        raise ValueError(
            f"prompt_ids has shape {list(prompt_ids.shape)}: pass [rows, length], for one prompt ids.unsqueeze(0)"
        )
    if 0 in prompt_ids.shape:
        raise ValueError(
            f"prompt_ids has shape {list(prompt_ids.shape)}, an empty prompt: start with at least one token, as <bos>"
        )
    if max_new_tokens < 1:
        raise ValueError(f"max_new_tokens={max_new_tokens} must be at least 1")


def _last_logits(next_token: NextToken, prefix: Tensor) -> Tensor:
    """Logits behind each row: `[rows, vocab_size]`."""
    logits = next_token(prefix)
    if logits.dim() == 3:
        logits = logits[:, -1]
    if logits.dim() != 2 or logits.shape[0] != prefix.shape[0]:
        raise ValueError(
            f"the model answered {list(logits.shape)} for {prefix.shape[0]} rows: "
            "return [rows, vocab_size] or [rows, length, vocab_size]"
        )
    if logits.isnan().any():
        raise ValueError(f"the model answered NaN for a prefix of {prefix.shape[1]} tokens: no token can be chosen")
    largest = logits.amax(dim=-1)
    if largest.isinf().any():
        found = largest[largest.isinf()][0].item()
        raise ValueError(
            f"the largest logit behind a prefix of {prefix.shape[1]} tokens is {found}: no token can be chosen; "
            "allow at least one, with a finite logit"
        )
    return logits


def _extend(
    next_token: NextToken,
    prompt_ids: Tensor,
    max_new_tokens: int,
    choose: Callable[[Tensor], Tensor],
    eos_id: int | None,
    pad_id: int,
) -> Tensor:
    """Add the token that `choose` picks from the logits `[rows, vocab_size]`, until every row has its <eos>."""
    _check(prompt_ids, max_new_tokens)
    prefix = prompt_ids
    is_done = torch.zeros(len(prefix), dtype=torch.bool, device=prefix.device)
    for _ in range(max_new_tokens):
        token = choose(_last_logits(next_token, prefix)).masked_fill(is_done, pad_id)
        prefix = torch.cat((prefix, token.unsqueeze(1)), dim=1)
        if eos_id is not None:
            is_done = is_done | (token == eos_id)
            if is_done.all():
                break
    return prefix[:, prompt_ids.shape[1] :]


@torch.no_grad()
def greedy_search(
    next_token: NextToken, prompt_ids: Tensor, max_new_tokens: int, *, eos_id: int | None = None, pad_id: int = 0
) -> Tensor:
    """Take the most probable token, again and again: `[rows, new]`, with `pad_id` behind <eos>.

    Args:
        prompt_ids: `[rows, length]`, one prompt a row, all of one length.
        eos_id: the token that ends a row; None never ends one early.

    Raises:
        ValueError: an empty prompt, another shape, or `max_new_tokens` below 1.
    """
    return _extend(next_token, prompt_ids, max_new_tokens, lambda logits: logits.argmax(dim=-1), eos_id, pad_id)


def temperature_scale(logits: Tensor, temperature: float) -> Tensor:
    """Divide the logits: below 1 sharpens the distribution, above 1 flattens it.

    Raises:
        ValueError: a temperature that is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be positive; for the limit 0 use greedy_search")
    return logits / temperature


def top_k_filter(logits: Tensor, top_k: int) -> Tensor:
    """Set all but the `top_k` largest logits of `[..., vocab_size]` to -inf; ties with the last one stay.

    Fan et al. (2018). Raises ValueError if `top_k` is below 1.
    """
    if top_k < 1:
        raise ValueError(f"top_k={top_k} must be at least 1")
    smallest_kept = logits.topk(min(top_k, logits.shape[-1]), dim=-1).values[..., -1:]
    return logits.masked_fill(logits < smallest_kept, -torch.inf)


def top_p_filter(logits: Tensor, top_p: float) -> Tensor:
    """Keep the smallest set of most probable tokens whose probabilities reach `top_p`; the rest becomes -inf.

    Nucleus sampling, Holtzman et al. (2020). Raises ValueError if `top_p` is outside (0, 1].
    """
    if not 0 < top_p <= 1:
        raise ValueError(f"top_p={top_p} must be in (0, 1]")
    ascending, order = logits.sort(dim=-1)
    # What may go is the tail: the least probable tokens that together stay within 1 - top_p.
    removed = ascending.softmax(dim=-1).cumsum(dim=-1) <= 1 - top_p
    removed[..., -1] = False
    return logits.masked_fill(removed.scatter(-1, order, removed), -torch.inf)


@torch.no_grad()
def sample(
    next_token: NextToken,
    prompt_ids: Tensor,
    max_new_tokens: int,
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    generator: torch.Generator | None = None,
    eos_id: int | None = None,
    pad_id: int = 0,
) -> Tensor:
    """Draw each token from the model's distribution: `[rows, new]`, with `pad_id` behind <eos>.

    The logits are scaled by the temperature, then cut by `top_k`, then by `top_p`; None cuts nothing.
    Chance comes from `generator` alone, or from the global state if it is None.

    Raises:
        ValueError: a value its filter rejects, an empty prompt, or `max_new_tokens` below 1.
    """

    def draw(logits: Tensor) -> Tensor:
        logits = temperature_scale(logits, temperature)
        if top_k is not None:
            logits = top_k_filter(logits, top_k)
        if top_p is not None:
            logits = top_p_filter(logits, top_p)
        return torch.multinomial(logits.softmax(dim=-1), 1, generator=generator).squeeze(1)

    return _extend(next_token, prompt_ids, max_new_tokens, draw, eos_id, pad_id)


class _Beam(NamedTuple):
    """A sequence beam search may still extend: where its last token stands in the tree, and its log-probability."""

    ids: tuple[int, ...]
    node: int
    total: float


class _BeamSearch:
    """The beams of one prompt."""

    def __init__(self, num_beams: int, length_penalty: float, eos_id: int | None):
        self.num_beams = num_beams
        self.length_penalty = length_penalty
        self.eos_id = eos_id
        self.beams = [_Beam((), -1, 0.0)]
        self.finished: list[Hypothesis] = []
        self.tree: list[Node] = []
        self.is_done = False

    def advance(self, log_probs: Tensor, is_last_step: bool) -> list[tuple[int, int]]:
        """One step from the beams' `[beams, vocab_size]`; returns (old beam, token) of each new beam.

        Twice as many candidates as beams are looked at: so `num_beams` go on even if as many end. A
        candidate that ends becomes a hypothesis only from among the best `num_beams`.
        """
        vocab_size = log_probs.shape[1]
        totals = log_probs + torch.tensor([beam.total for beam in self.beams]).to(log_probs).unsqueeze(1)
        best = totals.flatten().topk(min(2 * self.num_beams, totals.numel()))
        of_tokens = log_probs.flatten()[best.indices].tolist()
        survivors: list[_Beam] = []
        moves: list[tuple[int, int]] = []
        candidates = zip(best.values.tolist(), best.indices.tolist(), of_tokens, strict=True)
        for rank, (total, flat, log_prob) in enumerate(candidates):
            if total == -float("inf"):
                break
            row, token = divmod(flat, vocab_size)
            if is_last_step or token == self.eos_id:
                state = "finished" if rank < self.num_beams else "dropped"
            else:
                state = "kept" if len(survivors) < self.num_beams else "dropped"
            node = self._grow(row, token, log_prob, total, state)
            ids = (*self.beams[row].ids, token)
            if state == "finished":
                self.finished.append(Hypothesis(ids, total, self._score(total, len(ids))))
            elif state == "kept":
                survivors.append(_Beam(ids, node, total))
                moves.append((row, token))
        self.finished.sort(key=lambda hypothesis: -hypothesis.score)
        del self.finished[self.num_beams :]
        self.beams = survivors
        self.is_done = not survivors or self._cannot_improve()
        return moves

    def _grow(self, row: int, token: int, log_prob: float, total: float, state: str) -> int:
        beam = self.beams[row]
        score = self._score(total, len(beam.ids) + 1)
        self.tree.append(Node(len(self.tree), beam.node, len(beam.ids) + 1, token, log_prob, total, score, state))
        return len(self.tree) - 1

    def _score(self, total: float, length: int) -> float:
        return total / length**self.length_penalty

    def _cannot_improve(self) -> bool:
        """The best beam, ended now, would not beat the worst of `num_beams` hypotheses.

        With a length penalty above 0 a longer sequence could still win: this is the usual heuristic, not a proof.
        """
        if len(self.finished) < self.num_beams:
            return False
        best = max(beam.total for beam in self.beams)
        return self._score(best, len(self.beams[0].ids)) <= self.finished[-1].score


@torch.no_grad()
def beam_search(
    next_token: NextToken,
    prompt_ids: Tensor,
    max_new_tokens: int,
    *,
    num_beams: int,
    length_penalty: float = 1.0,
    eos_id: int | None = None,
) -> list[BeamResult]:
    """Keep the `num_beams` best beginnings at every step, for each prompt by itself.

    A hypothesis ends with <eos> or after `max_new_tokens`; its score is its log-probability divided by
    length ** length_penalty, the length counting new tokens with <eos> and without the prompt. This is the
    score and the search of transformers' `generate`. Above 0 the penalty favours longer sequences.

    Args:
        next_token: is asked about `[prompts * num_beams, length]` rows, a prompt's beams one below the other:
            an encoder-decoder repeats its memory by `repeat_interleave(num_beams, dim=0)`.
        prompt_ids: `[prompts, length]`, all of one length.

    Returns:
        For each prompt at most `num_beams` hypotheses, best first, and the tree of what was looked at.

    Raises:
        ValueError: `num_beams` below 1, a `length_penalty` that is no finite number, an empty prompt, another
            shape, or `max_new_tokens` below 1.
    """
    _check(prompt_ids, max_new_tokens)
    if num_beams < 1:
        raise ValueError(f"num_beams={num_beams} must be at least 1; 1 is greedy search")
    if not math.isfinite(length_penalty):
        raise ValueError(f"length_penalty={length_penalty} must be a finite number; 0 compares sums, 1 means")
    searches = [_BeamSearch(num_beams, length_penalty, eos_id) for _ in prompt_ids]
    prefix = prompt_ids.repeat_interleave(num_beams, dim=0)  # [prompts * num_beams, length]
    for step in range(1, max_new_tokens + 1):
        log_probs = _last_logits(next_token, prefix).float().log_softmax(dim=-1)
        moves: list[tuple[int, int]] = []
        for number, search in enumerate(searches):
            first = number * num_beams
            own: list[tuple[int, int]] = []
            if not search.is_done:
                own = search.advance(log_probs[first : first + len(search.beams)], step == max_new_tokens)
            # The model is always asked about num_beams rows: copies stand in for beams that are missing.
            own += [own[0] if own else (0, 0)] * (num_beams - len(own))
            moves += [(first + row, token) for row, token in own]
        if all(search.is_done for search in searches):
            break
        rows, tokens = torch.tensor(moves, device=prefix.device).unbind(dim=1)
        if isinstance(next_token, Reorderable):
            next_token.reorder(rows)
        prefix = torch.cat((prefix[rows], tokens.unsqueeze(1)), dim=1)
    return [BeamResult(search.finished, search.tree) for search in searches]


@torch.no_grad()
def exhaustive_search(
    next_token: NextToken,
    prompt_ids: Tensor,
    max_new_tokens: int,
    *,
    eos_id: int | None = None,
    length_penalty: float = 1.0,
) -> list[Hypothesis]:
    """Score every sequence that ends with <eos> or after `max_new_tokens`, best first.

    Their number grows as vocab_size ** max_new_tokens: this is for checking other searches on short outputs.
    A `Cached` next_token cannot be used, the rows are different ones at each step.

    Args:
        prompt_ids: `[1, length]`, one prompt.

    Raises:
        ValueError: more than `MAX_SEQUENCES` beginnings, several prompts, an empty one, or `max_new_tokens` below 1.
    """
    _check(prompt_ids, max_new_tokens)
    if len(prompt_ids) != 1:
        raise ValueError(f"prompt_ids has {len(prompt_ids)} rows: search one prompt at a time")
    if isinstance(next_token, Reorderable):
        raise ValueError("exhaustive search asks about other rows at each step: pass a next_token without a cache")
    prefix, totals = prompt_ids, torch.zeros(1, device=prompt_ids.device)
    start = prompt_ids.shape[1]
    finished: list[Hypothesis] = []
    for step in range(1, max_new_tokens + 1):
        log_probs = _last_logits(next_token, prefix).float().log_softmax(dim=-1)
        rows, vocab_size = log_probs.shape
        if rows * vocab_size > MAX_SEQUENCES:
            raise ValueError(
                f"step {step} would look at {rows * vocab_size} sequences, more than {MAX_SEQUENCES}: "
                f"lower max_new_tokens={max_new_tokens} or use a smaller vocabulary"
            )
        totals = (totals.unsqueeze(1) + log_probs).flatten()  # [rows * vocab_size]
        tokens = torch.arange(vocab_size, device=prefix.device).repeat(rows).unsqueeze(1)
        prefix = torch.cat((prefix.repeat_interleave(vocab_size, dim=0), tokens), dim=1)
        ends = torch.full_like(totals, step == max_new_tokens, dtype=torch.bool)
        if eos_id is not None:
            ends |= tokens.squeeze(1) == eos_id
        finished += _hypotheses(prefix[ends][:, start:], totals[ends], length_penalty)
        prefix, totals = prefix[~ends], totals[~ends]
        if not len(prefix):
            break
    return sorted(finished, key=lambda hypothesis: -hypothesis.score)


def _hypotheses(ids: Tensor, totals: Tensor, length_penalty: float) -> Iterator[Hypothesis]:
    for sequence, total in zip(ids.tolist(), totals.tolist(), strict=True):
        yield Hypothesis(tuple(sequence), total, total / len(sequence) ** length_penalty)
