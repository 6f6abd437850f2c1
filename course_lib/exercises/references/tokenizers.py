"""Right answers of notebook 08."""

import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from course_lib.tokenizers import BPETokenizer

# tea 6, ten 5, tent 3, eat 4: "t e" is in tea, ten and tent, 6 + 5 + 3; after that merge, only eat still has "e a".
tea_by_hand = {
    "t e": 14,
    "first merge": ("t", "e"),
    "e a": 4,
    "second merge": ("te", "n"),
    "third merge": ("te", "a"),
    "teatent": ["tea", "ten", "t"],
}


def count_pairs(words: Mapping[tuple[str, ...], int]) -> Counter:
    """How often each pair of neighbouring tokens occurs: each pair of a word as often as the word."""
    counts = Counter()
    for word, count in words.items():
        for pair in pairwise(word):
            counts[pair] += count
    return counts


def merge_pair(word: Sequence[str], pair: tuple[str, str]) -> tuple[str, ...]:
    """The word with each occurrence of `pair` put together, from the left."""
    merged = []
    i = 0
    while i < len(word):
        if tuple(word[i : i + 2]) == tuple(pair):
            merged.append(word[i] + word[i + 1])
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return tuple(merged)


def encode_word(word: str, merges: Sequence[tuple[str, str]]) -> list[str]:
    """Tokens of a word: of all merges that apply, the one learnt first, until none applies."""
    ranks = {pair: rank for rank, pair in enumerate(merges)}
    tokens = list(word)
    while True:
        places = [i for i, pair in enumerate(pairwise(tokens)) if pair in ranks]
        if not places:
            return tokens
        i = min(places, key=lambda i: ranks[tokens[i], tokens[i + 1]])  # among equals the leftmost
        tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]


def longest_match(word: str, vocab: Collection[str]) -> list[str]:
    """WordPiece: the longest token that fits, again and again; the whole word is unknown if once none fits."""
    tokens = []
    start = 0
    while start < len(word):
        for end in range(len(word), start, -1):
            token = word[start:end] if start == 0 else "##" + word[start:end]
            if token in vocab:
                break
        else:
            return ["[UNK]"]
        tokens.append(token)
        start = end
    return tokens


def normalise(text: str) -> str:
    """Characters taken apart, accents dropped, small letters."""
    parts = unicodedata.normalize("NFD", text)
    return "".join(char for char in parts if unicodedata.category(char) != "Mn").lower()


def normalise_with_origins(text: str) -> tuple[str, list[int]]:
    """The normalised text, and for each of its characters the place in `text` that it comes from."""
    normalised, origins = "", []
    for place, char in enumerate(text):
        for part in unicodedata.normalize("NFD", char):
            if unicodedata.category(part) != "Mn":
                small = part.lower()
                normalised += small
                origins += [place] * len(small)
    return normalised, origins


def tokens_of_span(offsets: Sequence[tuple[int, int]], start: int, end: int) -> list[int]:
    """Which tokens share a character with text[start:end]."""
    return [i for i, (first, last) in enumerate(offsets) if first < end and last > start]


_TEXT = """Before a model reads a word, somebody has cut it. The cutting was learnt from text, long before the
model was trained, and it never changes again. What was frequent in that text became one piece; what was rare
became several. So a tokenizer is a memory of what its makers read: their language, their spelling, their names.
Feed it another language and it falls back to fragments, then to single bytes. Nothing is lost, but everything
becomes longer, and what is longer is slower, dearer and harder to learn. Feed it the text that it was trained on
and whole phrases shrink to a handful of pieces. Try both."""

my_own = {"text": _TEXT, "tokenizer": BPETokenizer.train([_TEXT], vocab_size=400)}
