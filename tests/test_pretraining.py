"""Pre-training examples: what is hidden and how often, whole words, pairs of sentences, batches, and errors."""

import itertools
from collections import Counter

import pytest
import torch

from course_lib import pretraining
from course_lib.pretraining import IS_NEXT, NOT_NEXT
from course_lib.tokenizers import WordPieceTokenizer

WORDS = ("river", "bridge", "stone", "water", "mill", "boat", "wheel", "rope")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
TEXTS = [
    f"The {a} is near the {b}. A {b} was built beside it! Who owns the {a}?\nNobody in the town knows. It is old."
    for a, b in itertools.permutations(WORDS, 2)
]


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer.train(TEXTS, 60)


@pytest.fixture(scope="module")
def documents(tokenizer):
    return pretraining.encode_documents(TEXTS, tokenizer)


def masked(ids, seed=0, vocab_size=1009, **settings):
    settings = {"mask_id": 4, "special_ids": range(5)} | settings
    generator = torch.Generator().manual_seed(seed)
    return pretraining.mask_tokens(ids, vocab_size=vocab_size, generator=generator, **settings)


def near(share, expected, n):
    """Within four standard deviations of a share that n independent draws would give."""
    return abs(share - expected) < 4 * (expected * (1 - expected) / n) ** 0.5


# --- masking ------------------------------------------------------------------------------------------------

IDS = torch.randint(5, 1009, (211, 503), generator=torch.Generator().manual_seed(7))


@pytest.mark.parametrize("rate", [0.15, 0.4])
def test_shares_of_masking(rate):
    found = masked(IDS, rate=rate)
    chosen = found.labels != -100
    n = IDS.numel()
    assert near(chosen.double().mean().item(), rate, n)
    became, was = found.input_ids[chosen], IDS[chosen]
    as_mask = became == 4
    stayed = became == was
    assert near(as_mask.double().mean().item(), 0.8, len(was))
    # A random token is the same token once in 1004.
    assert near(stayed.double().mean().item(), 0.1 + 0.1 / 1004, len(was))
    others = became[~as_mask & ~stayed]
    counts = torch.bincount(others, minlength=1009)
    assert counts[:5].sum() == 0
    assert (counts[5:] > 0).double().mean() > 0.75  # drawn from the whole vocabulary
    assert counts.max() < 30


def test_labels_are_what_was_hidden():
    found = masked(IDS)
    chosen = found.labels != -100
    assert torch.equal(found.labels[chosen], IDS[chosen])
    assert torch.equal(found.input_ids[~chosen], IDS[~chosen])


def test_special_tokens_are_never_hidden():
    ids = IDS.clone()
    ids[:, 0], ids[:, 17], ids[:, 300:] = 2, 3, 0
    found = masked(ids, rate=1.0)
    special = ids < 5
    assert (found.labels[special] == -100).all()
    assert torch.equal(found.input_ids[special], ids[special])
    assert (found.labels[~special] != -100).all()


def test_the_input_is_left_alone():
    ids = IDS.clone()
    masked(ids)
    assert torch.equal(ids, IDS)


def test_masking_depends_on_the_generator_alone():
    state = torch.get_rng_state()
    one, same, other = masked(IDS), masked(IDS), masked(IDS, seed=1)
    assert torch.equal(one.input_ids, same.input_ids)
    assert not torch.equal(one.labels, other.labels)
    assert torch.equal(torch.get_rng_state(), state)


def test_whole_words_are_hidden_together():
    chances = torch.Generator().manual_seed(3)
    continues = torch.rand(IDS.shape, generator=chances) < 0.4
    continues[:, 0] = False
    found = masked(IDS, continues=continues)
    chosen = (found.labels != -100).tolist()
    words = 0
    for row, goes_on in zip(chosen, continues.tolist(), strict=True):
        for position in range(1, len(row)):
            if goes_on[position]:
                words += 1
                assert row[position] == row[position - 1]
    assert words > 10_000
    assert near(sum(map(sum, chosen)) / IDS.numel(), 0.15, IDS.numel() / 3)  # words, not tokens, are independent


@pytest.mark.parametrize("rate", [0, -0.1, 1.01])
def test_rates_out_of_range(rate):
    with pytest.raises(ValueError, match=f"rate={rate}"):
        masked(IDS, rate=rate)


def test_masking_errors():
    with pytest.raises(ValueError, match="all 5 tokens"):
        masked(torch.zeros(2, 3, dtype=torch.long), vocab_size=5)
    with pytest.raises(ValueError, match=r"continues \[2, 3\] and ids \[211, 503\] differ"):
        masked(IDS, continues=torch.zeros(2, 3, dtype=torch.bool))


# --- sentences and pairs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two? Three!", ["One.", "Two?", "Three!"]),
        ('He said "go." She went.', ['He said "go."', "She went."]),
        ("A line\nAnother", ["A line", "Another"]),
        ("It cost 3.50 pounds.", ["It cost 3.50 pounds."]),
        ("  \n ", []),
        ("", []),
    ],
)
def test_split_sentences(text, sentences):
    assert pretraining.split_sentences(text) == sentences


def numbered(lengths, documents=11):
    """Documents of sentences in which every token is a number of its own, so that each can be found again."""
    counter = itertools.count(100)
    return [[[next(counter) for _ in range(length)] for length in lengths] for _ in range(documents)]


def test_pairs_follow_or_come_from_elsewhere():
    texts = numbered([7, 5, 11, 3, 2, 9], documents=101)
    home = {token: number for number, document in enumerate(texts) for sentence in document for token in sentence}
    pairs = [pair for epoch in range(3) for pair in pretraining.sentence_pairs(texts, 32, epoch=epoch)]
    starts = {sentence[0] for document in texts for sentence in document}
    for first, second, label in pairs:
        assert len({home[token] for token in first}) == len({home[token] for token in second}) == 1
        assert first == list(range(first[0], first[0] + len(first)))
        assert second == list(range(second[0], second[0] + len(second)))
        assert {first[0], second[0]} <= starts
        assert len(first) + len(second) + 3 <= 32
        if label == IS_NEXT:
            assert home[first[0]] == home[second[0]]
            assert second[0] > first[-1]
        else:
            assert home[first[0]] != home[second[0]]
    share = sum(pair.label == NOT_NEXT for pair in pairs) / len(pairs)
    assert near(share, 0.5, len(pairs))


def test_whole_sentences_follow_at_once_where_they_fit():
    pairs = pretraining.sentence_pairs(numbered([4, 4, 4, 4]), 64)
    assert all(pair.second[0] == pair.first[-1] + 1 for pair in pairs if pair.label == IS_NEXT)
    assert {pair.label for pair in pairs} == {IS_NEXT, NOT_NEXT}


def test_no_text_is_lost_while_pairs_follow():
    """Each document is read from its start; a sentence that lost its place opens the next pair."""
    texts = numbered([4] * 9)
    pairs = pretraining.sentence_pairs(texts, 19)
    read = {token for pair in pairs for token in (*pair.first, *(pair.second if pair.label == IS_NEXT else ()))}
    for document in texts:
        *all_but_last, _ = document
        assert {token for sentence in all_but_last for token in sentence} <= read


def test_long_sentences_are_shortened_at_their_end():
    for first, second, _ in pretraining.sentence_pairs(numbered([50, 60]), 16):
        assert len(first) + len(second) == 13
        assert abs(len(first) - len(second)) == 1


def test_pairs_are_a_function_of_seed_and_epoch():
    texts = numbered([4] * 9)
    assert pretraining.sentence_pairs(texts, 19, seed=3) == pretraining.sentence_pairs(texts, 19, seed=3)
    assert pretraining.sentence_pairs(texts, 19, seed=3) != pretraining.sentence_pairs(texts, 19, seed=4)
    assert pretraining.sentence_pairs(texts, 19, seed=3) != pretraining.sentence_pairs(texts, 19, seed=3, epoch=1)


@pytest.mark.parametrize(
    ("documents", "max_length", "message"),
    [
        ([[[1]]], 32, "1 documents"),
        ([[[1], [2]], [[3], [4]]], 4, "max_length=4"),
        ([[[1], [2]], []], 32, "document 1 has no sentence"),
    ],
)
def test_pair_errors(documents, max_length, message):
    with pytest.raises(ValueError, match=message):
        pretraining.sentence_pairs(documents, max_length)


# --- batches ------------------------------------------------------------------------------------------------


def test_documents_are_sentences_of_ids(tokenizer):
    (document,) = pretraining.encode_documents(["The river. \n A mill!"], tokenizer)
    assert [tokenizer.decode(sentence) for sentence in document] == ["the river.", "a mill!"]


def test_continuing_tokens(tokenizer):
    continuing = pretraining.continuing_tokens(tokenizer)
    assert continuing.shape == (60,)
    assert all(continuing[id] == token.startswith("##") for token, id in tokenizer.vocab.items())
    assert 0 < continuing.sum() < 60


def test_a_batch_has_the_form_of_bert(tokenizer, documents):
    pairs = pretraining.sentence_pairs(documents, 48)[:13]
    batch = pretraining.pair_batch(pairs, tokenizer, torch.Generator().manual_seed(0))
    pad_id, _, cls_id, sep_id, mask_id = map(tokenizer.token_to_id, SPECIAL)
    original = torch.where(batch.labels == -100, batch.input_ids, batch.labels)
    for row, pair in enumerate(pairs):
        expected = [cls_id, *pair.first, sep_id, *pair.second, sep_id]
        n = len(expected)
        assert original[row, :n].tolist() == expected
        assert (original[row, n:] == pad_id).all()
        assert batch.attention_mask[row].tolist() == [True] * n + [False] * (original.shape[1] - n)
        segments = [0] * (len(pair.first) + 2) + [1] * (len(pair.second) + 1)
        assert batch.segment_ids[row].tolist() == segments + [0] * (original.shape[1] - n)
    assert batch.next_sentence.tolist() == [pair.label for pair in pairs]
    assert batch.segment_ids.dtype == batch.next_sentence.dtype == torch.long
    assert (batch.input_ids == mask_id).any()
    hidden = batch.labels != -100
    assert not torch.isin(batch.labels[hidden], torch.tensor([pad_id, cls_id, sep_id, mask_id])).any()


def test_whole_words_in_batches(tokenizer, documents):
    batches = pretraining.pre_training_batches(documents, tokenizer, 16, max_length=40, rate=0.3, whole_words=True)
    continuing = pretraining.continuing_tokens(tokenizer)
    seen = 0
    for batch in batches(0):
        original = torch.where(batch.labels == -100, batch.input_ids, batch.labels)
        goes_on, hidden = continuing[original][:, 1:], batch.labels != -100
        assert torch.equal(hidden[:, 1:][goes_on], hidden[:, :-1][goes_on])
        seen += int(goes_on.sum())
    assert seen > 100


def test_epochs_differ_and_repeat(tokenizer, documents):
    batches = pretraining.pre_training_batches(documents, tokenizer, 16, max_length=40, seed=5)
    first, again, second = list(batches(0)), list(batches(0)), list(batches(1))
    for one, other in zip(first, again, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert any(
        a.input_ids.shape != b.input_ids.shape or not torch.equal(a.input_ids, b.input_ids)
        for a, b in zip(first, second, strict=False)
    )
    sizes = Counter(len(batch.input_ids) for batch in first)
    assert sizes[16] >= len(first) - len(range(0, sum(sizes.values()), 50)) - 1
    assert all(batch.input_ids.shape[1] <= 40 for batch in first)


def test_batch_errors(tokenizer):
    generator = torch.Generator()
    with pytest.raises(ValueError, match="batch is empty"):
        pretraining.pair_batch([], tokenizer, generator)
    small = WordPieceTokenizer.from_vocab({"[UNK]": 0, "a": 1, "[CLS]": 2, "[SEP]": 3, "[PAD]": 4})
    with pytest.raises(ValueError, match=r"\[MASK\]"):
        pretraining.pair_batch([pretraining.SentencePair([1], [1], IS_NEXT)], small, generator)
