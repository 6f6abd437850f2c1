"""Every character of Unicode, through each step before the vocabulary, against the `tokenizers` library."""

import itertools

import pytest
import tokenizers as library
from hypothesis import example, given

from course_lib.tokenizers.normalisation import (
    AlignedText,
    bert_normalise,
    clean,
    decompose,
    space_out_chinese,
    strip_accents,
    to_lowercase,
)
from course_lib.tokenizers.pre_tokenisation import bert_words, gpt2_words
from tests.tokenizer_texts import HARD, MARKS, every_character, texts

ALL = "".join(every_character())


def bert_normalizer(**steps):
    return library.normalizers.BertNormalizer(
        **dict.fromkeys(["clean_text", "handle_chinese_chars", "strip_accents", "lowercase"], False) | steps
    )


STEPS = [
    pytest.param(clean, bert_normalizer(clean_text=True), id="clean"),
    pytest.param(space_out_chinese, bert_normalizer(handle_chinese_chars=True), id="chinese"),
    pytest.param(decompose, library.normalizers.NFD(), id="decompose"),
    pytest.param(strip_accents, bert_normalizer(strip_accents=True), id="accents"),
    pytest.param(to_lowercase, bert_normalizer(lowercase=True), id="lowercase"),
]


@pytest.mark.parametrize("step, normalizer", STEPS)
def test_each_step_on_every_character(step, normalizer):
    assert len(ALL) > 200_000
    # A letter before each, so that the marks do not form one endless run.
    text = "".join(f"a{char}" for char in ALL)
    assert step(AlignedText.of(text)).text == normalizer.normalize_str(text)


@pytest.mark.parametrize("step, normalizer", STEPS)
@given(texts())
def test_each_step_on_any_text(step, normalizer, text):
    assert step(AlignedText.of(text)).text == normalizer.normalize_str(text)


def test_order_of_every_mark_among_others():
    """Marks of the classes 1, 202, 220, 230 and 240, before and behind each."""
    others = "\u0334\u0327\u0323\u0301\u0345"
    text = "".join(f"a{first}{mark}{second}" for mark in MARKS for first, second in itertools.permutations(others, 2))
    assert decompose(AlignedText.of(text)).text == library.normalizers.NFD().normalize_str(text)


def test_bert_words_on_every_character():
    text = "".join(f"a{char}" for char in ALL)
    normalised = library.normalizers.BertNormalizer().normalize_str(text)
    expected = library.pre_tokenizers.BertPreTokenizer().pre_tokenize_str(normalised)
    assert bert_words(normalised) == [span for _, span in expected]


@pytest.mark.parametrize("before, individual_digits", [("a", False), ("1", False), ("!", False), ("a", True)])
def test_gpt2_words_on_every_character(before, individual_digits):
    text = "".join(f"{before}{char}" for char in ALL)
    assert list(gpt2_words(text, individual_digits)) == library_gpt2_words(text, individual_digits)


@pytest.mark.parametrize("individual_digits", [False, True])
@given(texts())
@example(" 5  6   7\n8 9 ")
def test_gpt2_words_on_any_text(individual_digits, text):
    words = list(gpt2_words(text, individual_digits))
    assert words == library_gpt2_words(text, individual_digits)
    assert "".join(text[start:end] for start, end in words) == text


def library_gpt2_words(text, individual_digits):
    byte_level = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = library.pre_tokenizers.Digits(individual_digits=True)
    steps = library.pre_tokenizers.Sequence([digits, byte_level] if individual_digits else [byte_level])
    return [span for _, span in steps.pre_tokenize_str(text)]


@given(texts())
def test_origins_rise_and_stay_in_the_text(text):
    for lowercase in (True, False):
        aligned = bert_normalise(text, lowercase)
        assert len(aligned.text) == len(aligned.origins)
        assert list(aligned.origins) == sorted(aligned.origins)
        assert all(0 <= origin < len(text) for origin in aligned.origins)


@pytest.mark.parametrize("text", HARD)
def test_each_step_on_the_hard_texts(text):
    for lowercase in (True, False):
        normalizer = library.normalizers.BertNormalizer(lowercase=lowercase)
        assert bert_normalise(text, lowercase).text == normalizer.normalize_str(text)


def test_normalisation_says_where_a_character_came_from():
    aligned = bert_normalise("\x00É 中!")
    assert aligned.text == "e  中 !"
    assert [aligned.span(i, i + 1) for i in (0, 3, 5)] == [(1, 2), (3, 4), (4, 5)]
