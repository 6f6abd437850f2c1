"""From token ids to batches: padding with masks, length buckets, packing, and windows of a long text.

Masks are boolean and True marks a real token. Every order is a function of a seed and an epoch alone, so
the same call gives the same batches on every machine and after every restart.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

IGNORED_LABEL = -100


class Padded(NamedTuple):
    """Sequences of different lengths in one rectangle: `ids` and boolean `mask`, both `[batch, length]`."""

    ids: Tensor
    mask: Tensor


class TranslationBatch(NamedTuple):
    """What one step of an encoder-decoder needs.

    `target_ids` starts with <bos> and is what the decoder reads; `labels` is the same sequence one step
    later, ending with <eos>, and -100 where the target is padding. Shapes `[batch, source_len]` and
    `[batch, target_len]`; masks are True for real tokens.
    """

    source_ids: Tensor
    source_mask: Tensor
    target_ids: Tensor
    target_mask: Tensor
    labels: Tensor


class Packed(NamedTuple):
    """Sequences end to end without padding.

    `ids`, `positions` (counted from 0 in each sequence) and `sequence` (which sequence a token belongs
    to) are `[total]`; `mask` is `[total, total]` and True where query and key are of one sequence.
    """

    ids: Tensor
    positions: Tensor
    sequence: Tensor
    mask: Tensor


class LanguageModelBatch(NamedTuple):
    """Windows of a text: `input_ids` and, one token later, `labels`, both `[batch, length]`."""

    input_ids: Tensor
    labels: Tensor


def pad(
    sequences: Sequence[Sequence[int]], pad_id: int = 0, *, max_length: int | None = None, side: str = "right"
) -> Padded:
    """Pad sequences of ids to the longest of them.

    Raises:
        ValueError: no sequences, an empty one, one longer than `max_length`, or an unknown `side`.
    """
    if side not in ("left", "right"):
        raise ValueError(f"side={side!r} is not known: choose 'left' or 'right'")
    lengths = _checked_lengths(sequences, max_length)
    width = max(lengths)
    ids = torch.full((len(sequences), width), pad_id, dtype=torch.long)
    mask = torch.zeros(len(sequences), width, dtype=torch.bool)
    for row, (sequence, length) in enumerate(zip(sequences, lengths, strict=True)):
        columns = slice(0, length) if side == "right" else slice(width - length, width)
        ids[row, columns] = torch.as_tensor(sequence, dtype=torch.long)
        mask[row, columns] = True
    return Padded(ids, mask)


def _checked_lengths(sequences: Sequence[Sequence[int]], max_length: int | None) -> list[int]:
    lengths = [len(sequence) for sequence in sequences]
    if not lengths:
        raise ValueError("the batch is empty: pass at least one sequence")
    if 0 in lengths:
        raise ValueError(f"sequence {lengths.index(0)} of the batch is empty: drop it before batching")
    if max_length is not None and max(lengths) > max_length:
        longest = max(range(len(lengths)), key=lengths.__getitem__)
        raise ValueError(
            f"sequence {longest} has {lengths[longest]} tokens, more than max_length={max_length}: "
            "truncate it or raise the limit"
        )
    return lengths


def shift_right(labels: Tensor, bos_id: int, pad_id: int = 0) -> Tensor:
    """Decoder input from labels `[..., length]`: <bos>, then every label but the last; -100 becomes `pad_id`."""
    shifted = torch.full_like(labels, bos_id)
    shifted[..., 1:] = labels[..., :-1]
    return shifted.masked_fill(shifted == IGNORED_LABEL, pad_id)


def translation_batch(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    *,
    bos_id: int,
    eos_id: int,
    pad_id: int = 0,
    max_length: int | None = None,
) -> TranslationBatch:
    """One batch from ids without special tokens: <eos> is added to the labels, <bos> to the decoder's input.

    Raises:
        ValueError: as `pad`, or sources and targets of different number. `max_length` limits the
            source, and the target with its <bos>.
    """
    if len(sources) != len(targets):
        raise ValueError(f"{len(sources)} sources and {len(targets)} targets: they must be pairs")
    source = pad(sources, pad_id, max_length=max_length)
    target = pad([[*target, eos_id] for target in targets], pad_id, max_length=max_length)
    labels = target.ids.masked_fill(~target.mask, IGNORED_LABEL)
    # The <eos> of a short row, shifted, would stand where the row is padding.
    target_ids = shift_right(labels, bos_id, pad_id).masked_fill(~target.mask, pad_id)
    return TranslationBatch(*source, target_ids, target.mask, labels)


def length_buckets(
    lengths: Sequence[int],
    batch_size: int,
    *,
    seed: int = 0,
    epoch: int = 0,
    batches_per_bucket: int = 50,
) -> list[list[int]]:
    """Put indices of similar length into the same batch, so that little is padding.

    The indices are shuffled, cut into buckets of `batches_per_bucket` batches, sorted by length inside
    each bucket and cut into batches; then the batches are shuffled. Every index occurs once; the last
    batch of the sorted order may be smaller.

    Raises:
        ValueError: no lengths, or a size below 1.
    """
    if not len(lengths):
        raise ValueError("there is nothing to batch: lengths is empty")
    for name, value in (("batch_size", batch_size), ("batches_per_bucket", batches_per_bucket)):
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    random = np.random.default_rng((seed, epoch))
    order = random.permutation(len(lengths)).tolist()
    bucket_size = batch_size * batches_per_bucket
    batches: list[list[int]] = []
    for start in range(0, len(order), bucket_size):
        bucket = sorted(order[start : start + bucket_size], key=lambda index: lengths[index])
        batches += [bucket[i : i + batch_size] for i in range(0, len(bucket), batch_size)]
    return [batches[i] for i in random.permutation(len(batches))]


def translation_batches(
    sources: Sequence[Sequence[int]],
    targets: Sequence[Sequence[int]],
    batch_size: int,
    *,
    bos_id: int,
    eos_id: int,
    pad_id: int = 0,
    seed: int = 0,
    max_length: int | None = None,
) -> Callable[[int], Iterator[TranslationBatch]]:
    """Batches of similar length for `training.fit`: call the result with the number of an epoch.

    Raises:
        ValueError: as `translation_batch` and `length_buckets`; sizes are checked at once.
    """
    if len(sources) != len(targets):
        raise ValueError(f"{len(sources)} sources and {len(targets)} targets: they must be pairs")
    _checked_lengths(sources, max_length)
    if batch_size < 1:
        raise ValueError(f"batch_size={batch_size} must be at least 1")
    lengths = [max(len(source), len(target)) for source, target in zip(sources, targets, strict=True)]

    def epoch_batches(epoch: int) -> Iterator[TranslationBatch]:
        for batch in length_buckets(lengths, batch_size, seed=seed, epoch=epoch):
            yield translation_batch(
                [sources[i] for i in batch],
                [targets[i] for i in batch],
                bos_id=bos_id,
                eos_id=eos_id,
                pad_id=pad_id,
                max_length=max_length,
            )

    return epoch_batches


def fill_rows(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """Which sequences to lay end to end, as indices, so that no row has more than `capacity` tokens.

    The longest comes first, each into the first row that has room for it. Rows need not be full: `pack` adds no
    padding. The work and the memory of attention grow with the square of a row, so a small multiple of the
    longest sequence is a good capacity.

    Raises:
        ValueError: no lengths, one below 1, or one above `capacity`.
    """
    if not len(lengths):
        raise ValueError("there is nothing to pack: lengths is empty")
    for index, length in enumerate(lengths):
        if not 1 <= length <= capacity:
            raise ValueError(f"sequence {index} has {length} tokens: it must be 1 to capacity={capacity}")
    rows: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        row = next((row for row, left in enumerate(room) if lengths[index] <= left), len(rows))
        if row == len(rows):
            rows.append([])
            room.append(capacity)
        rows[row].append(index)
        room[row] -= lengths[index]
    return rows


def pack(sequences: Sequence[Sequence[int]]) -> Packed:
    """Lay sequences end to end, with the mask that keeps each from attending to the others.

    The mask has `total` · `total` entries: choose with `fill_rows` what to pack together.

    Raises:
        ValueError: no sequences, or an empty one.
    """
    lengths = torch.tensor(_checked_lengths(sequences, None))
    ids = torch.cat([torch.as_tensor(sequence, dtype=torch.long) for sequence in sequences])
    positions = torch.cat([torch.arange(length) for length in lengths.tolist()])
    sequence = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    return Packed(ids, positions, sequence, sequence[:, None] == sequence[None, :])


def language_model_batches(
    ids: Sequence[int] | Tensor, length: int, batch_size: int, *, seed: int = 0
) -> Callable[[int], Iterator[LanguageModelBatch]]:
    """Cut a long text into windows for `training.fit`; every token is predicted once an epoch.

    Windows do not overlap; each epoch starts at another offset below `length` and visits them in another
    order. The end that fills no window, and the last batch if it is smaller, are left out.

    Raises:
        ValueError: sizes below 1, or a text too short for one batch.
    """
    text = torch.as_tensor(ids, dtype=torch.long)
    for name, value in (("length", length), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    # Any offset below `length` must leave one full batch of windows and the token behind the last.
    needed = length * (batch_size + 1)
    if text.dim() != 1 or len(text) < needed:
        raise ValueError(
            f"a text of shape {list(text.shape)} is too short for one batch of {batch_size} windows of "
            f"{length} tokens: it takes {needed}"
        )

    def epoch_batches(epoch: int) -> Iterator[LanguageModelBatch]:
        random = np.random.default_rng((seed, epoch))
        offset = int(random.integers(length))
        starts = offset + length * random.permutation((len(text) - 1 - offset) // length)
        for first in range(0, len(starts) - batch_size + 1, batch_size):
            windows = torch.from_numpy(starts[first : first + batch_size])[:, None] + torch.arange(length + 1)
            chunk = text[windows]  # [batch, length + 1]
            yield LanguageModelBatch(chunk[:, :-1], chunk[:, 1:])

    return epoch_batches
