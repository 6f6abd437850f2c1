"""Words with tags: alignment against a loop by hand, entities against seqeval, the way back from pieces to words."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForTokenClassification, PreTrainedTokenizerFast

from course_lib.finetuning import fit
from course_lib.finetuning.tokens import (
    Entity,
    align_labels,
    decode_tags,
    encode_words,
    entities,
    predict_tags,
    tag_names,
)

NAMES = tag_names(["person", "geo-loc"])


@pytest.fixture(scope="module")
def tokenizer():
    """A fast WordPiece tokenizer whose only long words are pieces of letters."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "in", "is", "mira", "os", "##lo", "."]
    words += [mark + char for mark in ("", "##") for char in "abcdefghijklmnopqrstuvwxyz"]
    inner = Tokenizer(WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    inner.normalizer = BertNormalizer(lowercase=True)
    inner.pre_tokenizer = BertPreTokenizer()
    special = [("[CLS]", 2), ("[SEP]", 3)]
    inner.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", model_max_length=128
    )


# --- entities ---------------------------------------------------------------------------------------------------


def test_entities_of_tags_read_by_hand():
    tags = ["B-person", "I-person", "O", "B-geo-loc", "B-geo-loc", "I-person", "O", "I-person"]
    assert entities(tags) == [
        Entity("person", 0, 2),
        Entity("geo-loc", 3, 4),
        Entity("geo-loc", 4, 5),
        Entity("person", 5, 6),
        Entity("person", 7, 8),
    ]
    assert entities([]) == entities(["O", "O"]) == []


@given(st.lists(st.sampled_from(NAMES), max_size=12))
def test_entities_are_those_of_seqeval(tags):
    assert [(kind, start, end - 1) for kind, start, end in entities(tags)] == get_entities(tags)


@pytest.mark.parametrize("tag", ["person", "B-", "I", "E-person", "", "o"])
def test_entities_want_bio_tags(tag):
    with pytest.raises(ValueError, match=r"word 1 is no BIO tag"):
        entities(["O", tag])


def test_tag_names():
    assert NAMES == ["O", "B-person", "I-person", "B-geo-loc", "I-geo-loc"]


# --- labels of pieces -------------------------------------------------------------------------------------------

WORD_IDS = [None, 0, 1, 1, 1, 2, None]


@pytest.mark.parametrize(
    ("pieces", "right"),
    [
        ("first", [-100, 7, 8, -100, -100, 9, -100]),
        ("every", [-100, 7, 8, 8, 8, 9, -100]),
        ("position", [7, 8, 9, -100, -100, -100, -100]),
    ],
)
def test_align_labels(pieces, right):
    assert align_labels(WORD_IDS, [7, 8, 9], pieces) == right


def test_a_word_without_pieces_is_passed_over():
    assert align_labels([None, 0, 2, 2, None], [7, 8, 9]) == [-100, 7, 9, -100, -100]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=9))
def test_every_word_is_labelled_once(pieces_of_words):
    labels = [10 + i for i in range(len(pieces_of_words))]
    word_ids = [None, *(word for word, n in enumerate(pieces_of_words) for _ in range(n)), None]
    first = align_labels(word_ids, labels)
    assert [label for label in first if label != -100] == labels
    assert [i for i, label in enumerate(first) if label != -100] == [
        1 + sum(pieces_of_words[:word]) for word in range(len(labels))
    ]
    every = align_labels(word_ids, labels, "every")
    assert [label for label in every if label != -100] == np.repeat(labels, pieces_of_words).tolist()


def test_align_labels_refuses():
    with pytest.raises(ValueError, match="labels for 2 words only"):
        align_labels(WORD_IDS, [7, 8])
    with pytest.raises(ValueError, match="choose one of first, every, position"):
        align_labels(WORD_IDS, [7, 8, 9], "last")


# --- rows -------------------------------------------------------------------------------------------------------


def test_encode_words(tokenizer):
    rows = encode_words(tokenizer, [["Mira", "is", "in", "Oslo", "."], ["is"]], [[1, 0, 0, 3, 0], [0]], num_labels=5)
    pieces = tokenizer.convert_ids_to_tokens(rows[0]["input_ids"])
    assert pieces == ["[CLS]", "mira", "is", "in", "os", "##lo", ".", "[SEP]"]
    assert rows[0]["labels"] == [-100, 1, 0, 0, 3, -100, 0, -100]
    assert (rows[0]["num_words"], rows[1]["labels"]) == (5, [-100, 0, -100])
    assert rows[0]["word_ids"] == [None, 0, 1, 2, 3, 3, 4, None]


def test_words_that_the_tokenizer_cuts_at_marks_or_drops_keep_their_labels(tokenizer):
    (row,) = encode_words(tokenizer, [["is.in", "\u200b", "Oslo"]], [[1, 2, 3]])
    assert row["labels"] == [-100, 1, -100, -100, 3, -100, -100]
    assert decode_tags(row, row["labels"], NAMES) == ["B-person", "O", "B-geo-loc"]


@pytest.mark.parametrize(
    ("texts", "labels", "more", "error", "message"),
    [
        ([], None, {}, ValueError, "texts is empty"),
        ([["is"], []], None, {}, ValueError, "text 1 has no words"),
        (["is in"], None, {}, TypeError, "text 0 is one string"),
        ([["is", 7]], None, {}, TypeError, "word 1 of text 0 is int"),
        ([["is"]], [[0], [0]], {}, ValueError, "1 texts and labels for 2"),
        ([["is", "in"]], [[0]], {}, ValueError, "2 words and 1 labels"),
        ([["is"]], [[5]], {"num_labels": 5}, ValueError, "label 5, but there are 5 of them, 0 to 4"),
        ([["is"]], [[-1]], {}, ValueError, "text 0 has label -1"),
        ([["in"] * 7], None, {"max_length": 8}, ValueError, "has 9 pieces .* more than max_length=8"),
        ([["in"]], None, {"max_length": 129}, ValueError, "3 to 128"),
        ([["in"]], [[0]], {"pieces": "all"}, ValueError, "choose one of"),
    ],
)
def test_encode_words_refuses(tokenizer, texts, labels, more, error, message):
    with pytest.raises(error, match=message):
        encode_words(tokenizer, texts, labels, **more)


# --- back to words ----------------------------------------------------------------------------------------------


def test_decode_tags_reads_the_first_piece(tokenizer):
    (row,) = encode_words(tokenizer, [["Mira", "in", "Oslo"]])
    logits = np.zeros((6, 5))
    for piece, label in enumerate([4, 1, 0, 3, 1, 4]):
        logits[piece, label] = 1
    assert decode_tags(row, logits, NAMES) == ["B-person", "O", "B-geo-loc"]
    assert decode_tags(row, logits.argmax(1), NAMES) == ["B-person", "O", "B-geo-loc"]
    with pytest.raises(ValueError, match="5 predictions for the 6 pieces"):
        decode_tags(row, logits[:5], NAMES)
    with pytest.raises(ValueError, match="5 classes and 4 names"):
        decode_tags(row, logits, NAMES[:4])


@given(st.lists(st.sampled_from(["Mira", "is", "Oslo", "qz", "a.b"]), min_size=1, max_size=7), st.data())
def test_there_and_back(tokenizer, words, data):
    labels = data.draw(st.lists(st.integers(0, 4), min_size=len(words), max_size=len(words)))
    (row,) = encode_words(tokenizer, [words], [labels])
    assert decode_tags(row, row["labels"], NAMES) == [NAMES[label] for label in labels]


def test_a_tagger_learns_its_tweets_with_the_right_alignment_only(tokenizer):
    """Words of any length stand in front of the entity: the n-th piece tells nothing about the n-th word."""
    random = np.random.default_rng(0)
    letters = list("bcdfgh")
    texts, labels = [], []
    for _ in range(64):
        front = ["".join(random.choice(letters, random.integers(1, 6))) for _ in range(random.integers(1, 4))]
        texts.append([*front, "Mira", "in", "Oslo"])
        labels.append([*[0] * len(front), 1, 0, 3])
    right = [[NAMES[label] for label in row] for row in labels]
    shares = {}
    for pieces in ("first", "position"):
        torch.manual_seed(0)
        config = BertConfig(
            vocab_size=70, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=32, num_labels=5,
        )  # fmt: skip
        model = BertForTokenClassification(config)
        rows = encode_words(tokenizer, texts, labels, num_labels=5, pieces=pieces)
        fit(model, rows, epochs=8, batch_size=8, learning_rate=1e-2, head_factor=1.0, frozen=(), progress=False)
        predicted = predict_tags(model, rows, NAMES)
        shares[pieces] = np.mean(
            [entities(ours) == entities(theirs) for ours, theirs in zip(predicted, right, strict=True)]
        )
    assert shares["first"] == 1 and shares["position"] < 0.5
