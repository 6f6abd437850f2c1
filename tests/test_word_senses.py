"""The table of word senses in `data/`: balanced, without repeats, each word once in its sentence and one token."""

import csv
from collections import Counter

import pytest

from course_lib import assets
from course_lib.tokenizers import WordPieceTokenizer

TEXT = (assets.own_data() / "word_senses.tsv").read_text(encoding="utf-8")
ROWS = list(csv.DictReader(TEXT.splitlines(), delimiter="\t"))


def test_each_sense_has_twenty_sentences_or_more():
    counts = Counter((row["word"], row["sense"]) for row in ROWS)
    assert set(counts) == {
        ("bank", "money"),
        ("bank", "river"),
        ("bat", "animal"),
        ("bat", "club"),
        ("spring", "coil"),
        ("spring", "season"),
    }
    assert set(counts.values()) == {22}


def test_sentences_are_different_and_end_like_sentences():
    sentences = [row["sentence"] for row in ROWS]
    assert len({sentence.casefold() for sentence in sentences}) == len(sentences)
    assert all(sentence[0].isupper() and sentence[-1] in ".!?" for sentence in sentences)
    assert all(4 <= len(sentence.split()) <= 20 for sentence in sentences)


def test_lines_end_the_same_everywhere():
    assert "\r" not in TEXT and TEXT.endswith("\n") and TEXT.startswith("word\tsense\tsentence\n")


@pytest.mark.assets
def test_the_word_is_one_token_that_occurs_once():
    tokenizer = WordPieceTokenizer.load(assets.fetch("minilm-l6"))
    for row in ROWS:
        assert tokenizer.encode(row["sentence"]).tokens.count(row["word"]) == 1, row
