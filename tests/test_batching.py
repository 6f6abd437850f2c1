"""Padding, buckets, packing and windows: shapes with prime sizes, and what must not be lost."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.bart.modeling_bart import shift_tokens_right

from course_lib import batching

SEQUENCES = [[5, 6, 7], [8], [9, 10, 11, 12, 13], [14, 15]]
ids_lists = st.lists(st.lists(st.integers(4, 30), min_size=1, max_size=11), min_size=1, max_size=17)


def test_pad_fills_a_rectangle_and_marks_what_is_real():
    ids, mask = batching.pad(SEQUENCES, pad_id=3)
    assert ids.tolist() == [[5, 6, 7, 3, 3], [8, 3, 3, 3, 3], [9, 10, 11, 12, 13], [14, 15, 3, 3, 3]]
    assert mask.dtype == torch.bool
    assert mask.sum(dim=1).tolist() == [3, 1, 5, 2]


@given(ids_lists, st.sampled_from(["left", "right"]))
@settings(max_examples=50, deadline=None)
def test_the_mask_gives_the_sequences_back(sequences, side):
    ids, mask = batching.pad(sequences, pad_id=5, side=side)
    assert [row[real].tolist() for row, real in zip(ids, mask, strict=True)] == sequences
    assert (ids[~mask] == 5).all()
    ordered = mask if side == "right" else mask.flip(1)
    assert (ordered.int().diff(dim=1) <= 0).all()


def test_padding_is_that_of_torch():
    expected = torch.nn.utils.rnn.pad_sequence([torch.tensor(s) for s in SEQUENCES], True, 3, "left")
    assert torch.equal(batching.pad(SEQUENCES, 3, side="left").ids, expected)


def test_bad_sequences_are_rejected():
    with pytest.raises(ValueError, match="the batch is empty"):
        batching.pad([])
    with pytest.raises(ValueError, match="sequence 1 of the batch is empty"):
        batching.pad([[1], []])
    with pytest.raises(ValueError, match="sequence 2 has 5 tokens, more than max_length=4"):
        batching.pad(SEQUENCES, max_length=4)
    with pytest.raises(ValueError, match="side='top'"):
        batching.pad(SEQUENCES, side="top")
    assert batching.pad(SEQUENCES, max_length=5).ids.shape == (4, 5)


def test_translation_batch_shifts_the_target_by_one():
    batch = batching.translation_batch([[7, 8, 9], [6]], [[11, 12], [13, 14, 15]], bos_id=2, eos_id=3)
    assert batch.source_ids.tolist() == [[7, 8, 9], [6, 0, 0]]
    assert batch.source_mask.tolist() == [[True] * 3, [True, False, False]]
    assert batch.target_ids.tolist() == [[2, 11, 12, 0], [2, 13, 14, 15]]
    assert batch.labels.tolist() == [[11, 12, 3, -100], [13, 14, 15, 3]]
    assert batch.target_mask.tolist() == [[True, True, True, False], [True] * 4]
    # What the decoder reads at t + 1 is what it had to say at t.
    real = batch.target_mask[:, 1:]
    assert torch.equal(batch.target_ids[:, 1:][real], batch.labels[:, :-1][real])


def test_shift_right_is_that_of_transformers():
    labels = torch.tensor([[5, 6, 7, 3], [8, 3, -100, -100]])
    expected = shift_tokens_right(labels, pad_token_id=0, decoder_start_token_id=2)
    assert torch.equal(batching.shift_right(labels, bos_id=2, pad_id=0), expected)


def test_a_target_may_use_the_pad_id_as_a_word():
    """Masks come from lengths, not from ids: pad = eos is usual for GPT-2."""
    batch = batching.translation_batch([[0, 7]], [[0, 5, 0]], bos_id=2, eos_id=0, pad_id=0)
    assert batch.source_mask.all()
    assert batch.target_mask.all()
    assert batch.labels.tolist() == [[0, 5, 0, 0]]


def test_translation_batch_rejects_what_does_not_pair_or_fit():
    with pytest.raises(ValueError, match="2 sources and 1 targets"):
        batching.translation_batch([[4], [5]], [[4]], bos_id=2, eos_id=3)
    with pytest.raises(ValueError, match="the batch is empty"):
        batching.translation_batch([], [], bos_id=2, eos_id=3)
    with pytest.raises(ValueError, match="sequence 1 of the batch is empty"):
        batching.translation_batch([[4], []], [[4], [5]], bos_id=2, eos_id=3)
    with pytest.raises(ValueError, match="max_length=3"):
        batching.translation_batch([[4]], [[4, 5, 6]], bos_id=2, eos_id=3, max_length=3)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=211), st.integers(1, 13), st.integers(0, 5), st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_buckets_hold_every_index_once(lengths, batch_size, seed, batches_per_bucket):
    batches = batching.length_buckets(lengths, batch_size, seed=seed, batches_per_bucket=batches_per_bucket)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert max(len(batch) for batch in batches) <= batch_size


def test_buckets_save_padding():
    lengths = np.random.default_rng(0).integers(1, 60, size=1009).tolist()

    def padded(batches):
        return sum(len(batch) * max(lengths[i] for i in batch) for batch in batches)

    bucketed = batching.length_buckets(lengths, 16)
    mixed = batching.length_buckets(lengths, 16, batches_per_bucket=1)
    assert padded(bucketed) < 1.1 * sum(lengths)
    assert padded(mixed) > 1.5 * sum(lengths)


def test_the_order_is_a_function_of_seed_and_epoch():
    lengths = list(range(1, 98))

    def order(seed, epoch):
        return batching.length_buckets(lengths, 7, seed=seed, epoch=epoch)

    assert order(3, 1) == order(3, 1)
    assert len({str(order(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9
    first_lengths = [max(lengths[i] for i in batch) for batch in order(0, 0)]
    assert first_lengths != sorted(first_lengths)


def test_buckets_reject_bad_sizes():
    with pytest.raises(ValueError, match="lengths is empty"):
        batching.length_buckets([], 3)
    with pytest.raises(ValueError, match="batch_size=0"):
        batching.length_buckets([1, 2], 0)
    with pytest.raises(ValueError, match="batches_per_bucket=0"):
        batching.length_buckets([1, 2], 1, batches_per_bucket=0)


def test_translation_batches_visit_every_pair_once_an_epoch():
    random = np.random.default_rng(1)
    sources = [random.integers(4, 30, size=n).tolist() for n in random.integers(1, 14, size=101)]
    targets = [[*source, 31] for source in sources]
    epoch_batches = batching.translation_batches(sources, targets, 8, bos_id=2, eos_id=3, seed=5)
    for epoch in range(2):
        seen = []
        for batch in epoch_batches(epoch):
            for ids, mask, labels in zip(batch.source_ids, batch.source_mask, batch.labels, strict=True):
                source = ids[mask].tolist()
                assert labels[labels != -100].tolist() == [*source, 31, 3]
                seen.append(source)
        assert sorted(seen) == sorted(sources)
    first, again, other = (next(epoch_batches(epoch)).source_ids for epoch in (0, 0, 1))
    assert torch.equal(first, again)
    assert first.shape != other.shape or not torch.equal(first, other)
    with pytest.raises(ValueError, match="100 targets"):
        batching.translation_batches(sources, targets[:100], 8, bos_id=2, eos_id=3)
    with pytest.raises(ValueError, match="batch_size=0"):
        batching.translation_batches(sources, targets, 0, bos_id=2, eos_id=3)
    with pytest.raises(ValueError, match="the batch is empty"):
        batching.translation_batches([], [], 8, bos_id=2, eos_id=3)


@given(ids_lists)
@settings(max_examples=50, deadline=None)
def test_packing_loses_nothing_and_separates_sequences(sequences):
    packed = batching.pack(sequences)
    assert packed.ids.tolist() == [token for sequence in sequences for token in sequence]
    blocks = torch.block_diag(*[torch.ones(len(s), len(s)) for s in sequences]).bool()
    assert torch.equal(packed.mask, blocks)
    assert packed.positions.tolist() == [i for s in sequences for i in range(len(s))]


def test_packing_rejects_empty_input():
    with pytest.raises(ValueError, match="the batch is empty"):
        batching.pack([])
    with pytest.raises(ValueError, match="sequence 0 of the batch is empty"):
        batching.pack([[]])


@given(st.lists(st.integers(1, 29), min_size=1, max_size=61), st.integers(29, 97))
@settings(max_examples=60, deadline=None)
def test_rows_hold_every_sequence_once_and_never_too_much(lengths, capacity):
    rows = batching.fill_rows(lengths, capacity)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    sums = [sum(lengths[index] for index in row) for row in rows]
    assert max(sums) <= capacity
    # No later row would have fitted into an earlier one, so all but one are more than half full.
    assert sum(2 * total <= capacity for total in sums) <= 1
    assert rows == batching.fill_rows(lengths, capacity)


def test_rows_by_hand():
    assert batching.fill_rows([3, 9, 4, 6, 1], 10) == [[1, 4], [3, 2], [0]]


@pytest.mark.parametrize(
    ("lengths", "message"),
    [([], "lengths is empty"), ([3, 0], "sequence 1 has 0 tokens"), ([5, 8, 7], "sequence 1 has 8 tokens: .*=7")],
)
def test_rows_reject_what_does_not_fit(lengths, message):
    with pytest.raises(ValueError, match=message):
        batching.fill_rows(lengths, 7)


@given(st.integers(60, 400), st.integers(1, 11), st.integers(1, 4), st.integers(0, 3), st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_language_model_windows_predict_the_next_token(size, length, batch_size, seed, epoch):
    text = torch.arange(size)
    epoch_batches = batching.language_model_batches(text, length, batch_size, seed=seed)
    batches = list(epoch_batches(epoch))
    inputs = torch.cat([batch.input_ids for batch in batches])
    for batch in batches:
        assert batch.input_ids.shape == batch.labels.shape == (batch_size, length)
        assert torch.equal(batch.labels, batch.input_ids + 1)
    assert inputs.unique().numel() == inputs.numel()
    # At most the offset, the tail and one batch are left out.
    assert inputs.numel() > size - 1 - 2 * length - batch_size * length


def test_language_model_windows_change_with_the_epoch_only():
    epoch_batches = batching.language_model_batches(list(range(1000)), 13, 5)
    assert torch.equal(next(epoch_batches(2)).input_ids, next(epoch_batches(2)).input_ids)
    starts = {int(batch.input_ids[0, 0]) % 13 for epoch in range(9) for batch in [next(epoch_batches(epoch))]}
    assert len(starts) > 2


def test_language_model_batches_reject_short_texts():
    with pytest.raises(ValueError, match="it takes 24"):
        batching.language_model_batches(list(range(23)), 8, 2)
    assert len(list(batching.language_model_batches(list(range(24)), 8, 2)(0))) == 1
    with pytest.raises(ValueError, match="length=0"):
        batching.language_model_batches(list(range(23)), 0, 2)
    with pytest.raises(ValueError, match="batch_size=0"):
        batching.language_model_batches(list(range(23)), 3, 0)
