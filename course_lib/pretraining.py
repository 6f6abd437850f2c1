"""BERT's pre-training examples: pairs of sentences, and tokens hidden for the model to guess.

Devlin et al. (2019), section 3.1. Every choice is a function of a seed and an epoch alone.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from course_lib.batching import IGNORED_LABEL, length_buckets, pad
from course_lib.tokenizers import WordPieceTokenizer
from course_lib.tokenizers.wordpiece import CONTINUATION

IS_NEXT, NOT_NEXT = 0, 1

# A full stop, question or exclamation mark, perhaps closing quotation marks or brackets, then white space.
_SENTENCE_END = re.compile(r"""(?<=[.!?])["')\]]*\s+|\n+""")


class SentencePair(NamedTuple):
    """Token ids of two stretches of text without special tokens; `label` is `IS_NEXT` or `NOT_NEXT`."""

    first: list[int]
    second: list[int]
    label: int


class Masked(NamedTuple):
    """`input_ids` with some tokens hidden; `labels` holds the hidden ones, and -100 everywhere else."""

    input_ids: Tensor
    labels: Tensor


class PreTrainingBatch(NamedTuple):
    """What one step of pre-training needs; all but `next_sentence` `[batch]` are `[batch, length]`."""

    input_ids: Tensor
    attention_mask: Tensor
    segment_ids: Tensor
    labels: Tensor
    next_sentence: Tensor


def split_sentences(text: str) -> list[str]:
    """Cut a text behind `.`, `?` and `!` and at line ends: good enough for news, wrong for "Mr. Smith"."""
    pieces, start = [], 0
    for end in _SENTENCE_END.finditer(text):
        pieces.append(text[start : end.end()].strip())
        start = end.end()
    return [piece for piece in [*pieces, text[start:].strip()] if piece]


def mask_tokens(
    ids: Tensor,
    *,
    mask_id: int,
    vocab_size: int,
    special_ids: Iterable[int],
    generator: torch.Generator,
    rate: float = 0.15,
    continues: Tensor | None = None,
) -> Masked:
    """Hide each token with probability `rate`: 80 % become [MASK], 10 % a random token, 10 % stay.

    Those that stay, or that look like any other token, are predicted too: so the model cannot rely on
    [MASK], which it never sees when it is used.

    Args:
        ids: `[batch, length]`.
        mask_id: id of [MASK].
        special_ids: [CLS], [SEP], [PAD] and the like: never hidden, and never put in another's place.
        generator: where the chances come from.
        continues: boolean `[batch, length]`, True where a token continues the word before it ("##ing"). With
            it whole words are chosen: all pieces of a word, or none.

    Raises:
        ValueError: `rate` outside (0, 1], shapes that differ, or no token that is not special.
    """
    if not 0 < rate <= 1:
        raise ValueError(f"rate={rate} must be above 0 and at most 1")
    special = torch.as_tensor(sorted(set(special_ids)), dtype=ids.dtype)
    ordinary = np.setdiff1d(np.arange(vocab_size), special.numpy())
    if not len(ordinary):
        raise ValueError(f"all {vocab_size} tokens of the vocabulary are special: there is nothing to hide")
    chosen = torch.rand(ids.shape, generator=generator) < rate
    if continues is not None:
        if continues.shape != ids.shape:
            raise ValueError(f"continues {list(continues.shape)} and ids {list(ids.shape)} differ")
        # The first piece of a word decides for the others: each looks up the chance of its word's start.
        here = torch.arange(ids.shape[1]).expand_as(ids)
        start = torch.where(continues, 0, here).cummax(dim=1).values
        chosen = chosen.gather(1, start)
    chosen &= ~torch.isin(ids, special)
    kind = torch.rand(ids.shape, generator=generator)
    random_ids = torch.from_numpy(ordinary)[torch.randint(len(ordinary), ids.shape, generator=generator)]
    hidden = torch.where(kind < 0.8, torch.full_like(ids, mask_id), torch.where(kind < 0.9, random_ids, ids))
    return Masked(torch.where(chosen, hidden, ids), torch.where(chosen, ids, IGNORED_LABEL))


def sentence_pairs(
    documents: Sequence[Sequence[Sequence[int]]], max_length: int, *, seed: int = 0, epoch: int = 0
) -> list[SentencePair]:
    """Cut documents, lists of sentences of ids, into pairs of stretches of text.

    Each document is read in chunks of two or more sentences that fill `max_length` tokens, three of them
    kept free for [CLS] and two [SEP]. A chunk is cut between two sentences; for half of the chunks the second
    part is replaced by a stretch of another document, and the sentences that lost their place open the next
    chunk. A last sentence without a successor is left out; stretches too long lose tokens at their end.

    Raises:
        ValueError: fewer than two documents, one without a sentence, or `max_length` below 5.
    """
    if len(documents) < 2:
        raise ValueError(f"{len(documents)} documents: it takes 2 or more to draw a wrong second sentence")
    if max_length < 5:
        raise ValueError(f"max_length={max_length} leaves no room for two tokens beside [CLS] and two [SEP]")
    for number, sentences in enumerate(documents):
        if not sentences:
            raise ValueError(f"document {number} has no sentence: drop it")
    random = np.random.default_rng((seed, epoch))
    pairs: list[SentencePair] = []
    for number in random.permutation(len(documents)).tolist():
        sentences, start = documents[number], 0
        while start < len(sentences) - 1:
            pair, start = _one_pair(documents, number, start, max_length - 3, random)
            pairs.append(pair)
    return pairs


def _one_pair(
    documents: Sequence[Sequence[Sequence[int]]], number: int, start: int, room: int, random: np.random.Generator
) -> tuple[SentencePair, int]:
    """The pair that begins at sentence `start` of a document, and where the next one begins."""
    sentences = documents[number]
    end = max(start + 2, _fill(sentences, start, room))
    cut = int(random.integers(start + 1, end))
    first = [token for sentence in sentences[start:cut] for token in sentence]
    if random.random() < 0.5:
        other = (number + int(random.integers(1, len(documents)))) % len(documents)
        begin = int(random.integers(len(documents[other])))
        stop = _fill(documents[other], begin, max(1, room - len(first)))
        second = [token for sentence in documents[other][begin:stop] for token in sentence]
        return _fit(first, second, NOT_NEXT, room), cut
    second = [token for sentence in sentences[cut:end] for token in sentence]
    return _fit(first, second, IS_NEXT, room), end


def _fill(sentences: Sequence[Sequence[int]], start: int, room: int) -> int:
    """Number of the sentence before which a chunk from `start` ends: at least one, then until `room` is full."""
    end, length = start, 0
    while end < len(sentences) and (end == start or length + len(sentences[end]) <= room):
        length += len(sentences[end])
        end += 1
    return end


def _fit(first: list[int], second: list[int], label: int, room: int) -> SentencePair:
    """Shorten the longer of the two, token by token from its end, until both have room."""
    over = len(first) + len(second) - room
    if over > 0:
        shorter = min(len(first), len(second))
        keep = max(room - shorter, (room + 1) // 2)
        first, second = first[:keep], second[:keep]
        second = second[: room - len(first)]
    return SentencePair(first, second, label)


def pair_batch(
    pairs: Sequence[SentencePair],
    tokenizer: WordPieceTokenizer,
    generator: torch.Generator,
    *,
    rate: float = 0.15,
    whole_words: bool = False,
) -> PreTrainingBatch:
    """[CLS] first [SEP] second [SEP], padded, with tokens hidden; segment 1 begins behind the first [SEP].

    Raises:
        ValueError: no pairs, or a vocabulary that lacks a special token of BERT.
    """
    cls_id, sep_id, pad_id, mask_id = map(tokenizer.token_to_id, ("[CLS]", "[SEP]", "[PAD]", "[MASK]"))
    ids, real = pad([[cls_id, *pair.first, sep_id, *pair.second, sep_id] for pair in pairs], pad_id)
    second_starts = torch.tensor([len(pair.first) + 2 for pair in pairs]).unsqueeze(1)
    masked = mask_tokens(
        ids,
        mask_id=mask_id,
        vocab_size=tokenizer.vocab_size,
        special_ids=map(tokenizer.token_to_id, tokenizer.special_tokens),
        generator=generator,
        rate=rate,
        continues=continuing_tokens(tokenizer)[ids] if whole_words else None,
    )
    return PreTrainingBatch(
        input_ids=masked.input_ids,
        attention_mask=real,
        segment_ids=((torch.arange(ids.shape[1]) >= second_starts) & real).long(),
        labels=masked.labels,
        next_sentence=torch.tensor([pair.label for pair in pairs]),
    )


def continuing_tokens(tokenizer: WordPieceTokenizer) -> Tensor:
    """Which tokens of a WordPiece vocabulary continue a word, boolean `[vocab_size]`."""
    continuing = torch.zeros(tokenizer.vocab_size, dtype=torch.bool)
    continuing[[id for token, id in tokenizer.vocab.items() if token.startswith(CONTINUATION)]] = True
    return continuing


def encode_documents(texts: Iterable[str], tokenizer: WordPieceTokenizer) -> list[list[list[int]]]:
    """Each text as a list of sentences of token ids; sentences without a token are left out."""
    documents = ([tokenizer.encode(sentence).ids for sentence in split_sentences(text)] for text in texts)
    return [[sentence for sentence in document if sentence] for document in documents]


def pre_training_batches(
    documents: Sequence[Sequence[Sequence[int]]],
    tokenizer: WordPieceTokenizer,
    batch_size: int,
    *,
    max_length: int = 128,
    rate: float = 0.15,
    whole_words: bool = False,
    seed: int = 0,
) -> Callable[[int], Iterator[PreTrainingBatch]]:
    """Batches for `training.fit`: call the result with the number of an epoch.

    Every epoch cuts other pairs and hides other tokens, as RoBERTa does (Liu et al. 2019); BERT's own data
    were prepared ten times over. Raises ValueError as `sentence_pairs` and `pair_batch` do.
    """

    def epoch_batches(epoch: int) -> Iterator[PreTrainingBatch]:
        pairs = sentence_pairs(documents, max_length, seed=seed, epoch=epoch)
        generator = torch.Generator().manual_seed(int(np.random.default_rng((seed, epoch)).integers(2**62)))
        lengths = [len(pair.first) + len(pair.second) for pair in pairs]
        for batch in length_buckets(lengths, batch_size, seed=seed, epoch=epoch):
            chosen = [pairs[i] for i in batch]
            yield pair_batch(chosen, tokenizer, generator, rate=rate, whole_words=whole_words)

    return epoch_batches
