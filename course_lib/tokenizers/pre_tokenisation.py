"""Cutting text into words before any vocabulary is consulted: a token never crosses a word's border.

BERT cuts at white space and around punctuation. GPT-2 cuts with a regular expression and keeps the white space:
a word owns the space before it, and the words put together are the text. Radford et al. (2019), Language Models
are Unsupervised Multitask Learners, section 2.2; the pattern is the one published with the model.
"""

from collections.abc import Iterator
from functools import lru_cache

import regex

from course_lib.tokenizers.characters import as_unicode_16, as_unicode_17, is_punctuation

# English endings, letters, numbers, anything else; then white space, of which the last space goes to the next word.
GPT2_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"""

_gpt2_word = regex.compile(GPT2_PATTERN)
_digit_or_rest = regex.compile(r"\p{N}|\P{N}+")
_is_punctuation = lru_cache(maxsize=4096)(is_punctuation)


def bert_words(text: str) -> list[tuple[int, int]]:
    """Start and end of each word of normalised text: white space is dropped, each punctuation mark is a word."""
    words = []
    start = 0
    for i, char in enumerate(text):
        is_mark = _is_punctuation(char)
        if is_mark or char.isspace():
            if start < i:
                words.append((start, i))
            if is_mark:
                words.append((i, i + 1))
            start = i + 1
    if start < len(text):
        words.append((start, len(text)))
    return words


def gpt2_words(text: str, individual_digits: bool = False) -> Iterator[tuple[int, int]]:
    """Start and end of each word, white space included: together the words are the text.

    With `individual_digits` each digit is first cut off as a word of its own, so that numbers are read digit by
    digit: what SmolLM2 states, and several models since Llama.
    """
    if not individual_digits:
        yield from _match_words(text, 0)
        return
    for part in _digit_or_rest.finditer(as_unicode_17(text)):
        # The pattern sees the part alone: `(?!\S)` must hold at its end, whatever digit comes next.
        yield from _match_words(text[part.start() : part.end()], part.start())


def _match_words(text: str, offset: int) -> Iterator[tuple[int, int]]:
    for word in _gpt2_word.finditer(as_unicode_16(text)):
        yield offset + word.start(), offset + word.end()
