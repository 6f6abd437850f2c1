"""BERT's normalisation: clean, space out Chinese characters, strip accents, lower-case.

Every step keeps for each character the place where it stood in the original, so that a token found in the
normalised text can be marked in what the user wrote. Devlin et al. (2019), BERT; the steps are those of its
`BasicTokenizer` in the order of the `tokenizers` library's `BertNormalizer`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from course_lib.tokenizers.characters import (
    combining_class,
    decomposed,
    is_accent,
    is_chinese,
    is_control,
    lowercased,
)

# A text is made of few different characters: each is looked up in Unicode's tables once.
_remembered = lru_cache(maxsize=4096)


@dataclass(frozen=True)
class AlignedText:
    """Normalised text and, for each of its characters, the index in the original that it comes from."""

    text: str
    origins: Sequence[int]

    @classmethod
    def of(cls, original: str) -> "AlignedText":
        """The original itself, before any step."""
        return cls(original, range(len(original)))

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The part of the original that `text[start:end]`, which must not be empty, comes from."""
        return self.origins[start], self.origins[end - 1] + 1


def bert_normalise(original: str, lowercase: bool = True) -> AlignedText:
    """All four steps; without `lowercase` only the first two: a cased model keeps its accents."""
    aligned = space_out_chinese(clean(AlignedText.of(original)))
    return to_lowercase(strip_accents(aligned)) if lowercase else aligned


def clean(aligned: AlignedText) -> AlignedText:
    """Drop control characters; every kind of white space becomes a plain space."""
    if aligned.text.isascii() and aligned.text.isprintable():
        return aligned
    return _rewrite(aligned, _cleaned)


def space_out_chinese(aligned: AlignedText) -> AlignedText:
    """A space on either side of each Chinese character."""
    if aligned.text.isascii():
        return aligned
    return _rewrite(aligned, _spaced_out)


def strip_accents(aligned: AlignedText) -> AlignedText:
    """Take every character apart (Unicode's form NFD), then drop the accents: "é" becomes "e"."""
    if aligned.text.isascii():
        return aligned
    return _rewrite(decompose(aligned), _without_accent)


def to_lowercase(aligned: AlignedText) -> AlignedText:
    """Small letters, one character at a time."""
    if aligned.text.isascii():
        return AlignedText(aligned.text.lower(), aligned.origins)
    return _rewrite(aligned, _lowercased)


def decompose(aligned: AlignedText) -> AlignedText:
    """Unicode's canonical decomposition, form NFD: characters taken apart, marks in canonical order.

    A mark that moved takes over the origin of the place it moved to, as in the library; both places carry marks of
    one base character.
    """
    parts = [(part, i == 0) for char in aligned.text for i, part in enumerate(decomposed(char))]
    _sort_marks(parts)
    chars, origins, source = [], [], -1
    for char, is_first in parts:
        source += is_first
        chars.append(char)
        origins.append(aligned.origins[source])
    return AlignedText("".join(chars), origins)


def _sort_marks(parts: list[tuple[str, bool]]) -> None:
    """Canonical ordering, in place: each run of marks sorted by its class, equal classes in their order."""
    classes = [combining_class(char) for char, _ in parts]
    start = 0
    for end in range(len(parts) + 1):
        if end == len(parts) or classes[end] == 0:
            if end - start > 1:
                parts[start:end] = sorted(parts[start:end], key=lambda part: combining_class(part[0]))
            start = end + 1


@_remembered
def _cleaned(char: str) -> str:
    if is_control(char):
        return ""
    return " " if char.isspace() else char


@_remembered
def _spaced_out(char: str) -> str:
    return f" {char} " if is_chinese(char) else char


@_remembered
def _without_accent(char: str) -> str:
    return "" if is_accent(char) else char


_lowercased = _remembered(lowercased)


def _rewrite(aligned: AlignedText, rewritten: Callable[[str], str]) -> AlignedText:
    """Replace each character by zero or more, which all inherit its origin."""
    pieces = [rewritten(char) for char in aligned.text]
    origins = [origin for origin, piece in zip(aligned.origins, pieces, strict=True) for _ in piece]
    return AlignedText("".join(pieces), origins)
