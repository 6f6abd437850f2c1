"""Byte-level byte-pair encoding, the tokenizer of GPT-2 and of most models since.

Sennrich, Haddow, Birch (2016) for the merges; Radford et al. (2019) for bytes as the alphabet: 256 symbols write any
text, so nothing is unknown. Each byte is written as a visible character: a space is `Ġ`, a line break `Ċ`.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from course_lib.tokenizers.files import read_json, read_text
from course_lib.tokenizers.merging import MergeLearner
from course_lib.tokenizers.pre_tokenisation import gpt2_words
from course_lib.tokenizers.special_tokens import SpecialTokens
from course_lib.tokenizers.texts import checked_all
from course_lib.tokenizers.tokenizer import Piece, Tokenizer, described_specials, require_description


def _byte_symbols() -> list[str]:
    """A visible character for each byte: itself where Latin-1 has one, else the next free one from U+0100."""
    visible = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    substitutes = iter(range(0x100, 0x200))
    return [chr(byte if byte in visible else next(substitutes)) for byte in range(256)]


BYTE_SYMBOLS = _byte_symbols()
_BYTES = {symbol: byte for byte, symbol in enumerate(BYTE_SYMBOLS)}
_SYMBOL_WIDTHS = [len(symbol.encode("utf-8")) for symbol in BYTE_SYMBOLS]

# (left id, right id) -> (rank, id of the two together); a lower rank was learnt earlier and is applied first.
Merges = Mapping[tuple[int, int], tuple[int, int]]


class BPETokenizer(Tokenizer):
    """GPT-2's word splitting, then the merges in the order in which they were learnt.

    With `individual_digits` every digit is a word (SmolLM2). `decode(encode(text).ids) == text` for every text if the
    vocabulary has all 256 bytes, as trained ones do; some published ones lack a few (`missing_bytes`).
    A byte that is missing is left out, as in the `tokenizers` library, and the tokens after it in the same word get
    offsets that are too small, as there: the library counts off the lengths of the tokens that are left.

    ValueError if a merge needs a token that the vocabulary does not have, or a special token is spelled like another
    token's bytes.
    """

    def __init__(
        self,
        vocab: Mapping[str, int],
        merges: Iterable[tuple[str, str]],
        special_tokens: Sequence[str] = (),
        individual_digits: bool = False,
    ):
        super().__init__(vocab, special_tokens)
        self.individual_digits = individual_digits
        self._byte_ids = [self.vocab.get(symbol) for symbol in BYTE_SYMBOLS]
        # A pair that is listed twice has its later rank, as in the library.
        self._merges = {
            self._pair_ids(left, right): (rank, self.vocab[left + right]) for rank, (left, right) in enumerate(merges)
        }
        self._require_distinct_specials()

    @classmethod
    def from_files(
        cls,
        vocab: str | Path | Mapping[str, int],
        merges: str | Path | Sequence[str | tuple[str, str]],
        special_tokens: Sequence[str] = (),
        individual_digits: bool = False,
    ) -> Self:
        """From GPT-2's two files, `vocab.json` (token → id) and `merges.txt` (a pair on each line), or what they hold.

        OSError if a file cannot be read, ValueError names the file or line that is damaged.
        """
        vocab = vocab if isinstance(vocab, Mapping) else read_json(Path(vocab))
        pairs = _read_merges(Path(merges)) if isinstance(merges, str | Path) else map(_parsed_merge, merges)
        return cls(vocab, pairs, special_tokens, individual_digits)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        special_tokens: Sequence[str] = (),
        individual_digits: bool = False,
        min_frequency: int = 1,
    ) -> Self:
        """Learn a vocabulary of at most `vocab_size` tokens: special ones, the 256 bytes, and what the merges make.

        Fewer come out when no pair is left that occurs `min_frequency` times. ValueError if `vocab_size` does not
        hold the special tokens and the bytes.
        """
        tokens = list(SpecialTokens(special_tokens).tokens)
        alphabet = [symbol for symbol in sorted(BYTE_SYMBOLS) if symbol not in tokens]
        if vocab_size < len(tokens) + len(alphabet):
            raise ValueError(
                f"vocab_size={vocab_size} is too small for {len(tokens)} special tokens and the "
                f"{len(alphabet)} bytes that texts are made of: use at least {len(tokens) + len(alphabet)}"
            )
        tokens += alphabet
        ids = {token: i for i, token in enumerate(tokens)}
        byte_ids = [ids[symbol] for symbol in BYTE_SYMBOLS]
        words = Counter(
            text[start:end] for text in checked_all(texts) for start, end in gpt2_words(text, individual_digits)
        )
        spelled = {tuple(byte_ids[byte] for byte in word.encode("utf-8")): count for word, count in words.items()}
        merges = MergeLearner(tokens, spelled, str.__add__).learn(vocab_size, min_frequency)
        return cls({token: i for i, token in enumerate(tokens)}, merges, special_tokens, individual_digits)

    @property
    def merges(self) -> list[tuple[str, str]]:
        """The merges in the order in which they are applied."""
        pairs = sorted(self._merges, key=lambda pair: self._merges[pair][0])
        return [(self._tokens[left], self._tokens[right]) for left, right in pairs]

    @property
    def missing_bytes(self) -> frozenset[int]:
        """Bytes that the vocabulary cannot write: text that holds one of them is not decoded to itself."""
        return frozenset(byte for byte, id in enumerate(self._byte_ids) if id is None)

    def _encode_part(self, part: str) -> Iterator[Piece]:
        for start, end in gpt2_words(part, self.individual_digits):
            for id, piece_start, piece_end in self._pieces(part[start:end]):
                yield id, start + piece_start, start + piece_end

    def _encode_word(self, word: str) -> Iterator[Piece]:
        ids = [self._byte_ids[byte] for byte in word.encode("utf-8")]
        # The library measures a token by the UTF-8 length of its spelling, so that is what is counted off.
        char_at = [
            i for i, char in enumerate(word) for byte in char.encode("utf-8") for _ in range(_SYMBOL_WIDTHS[byte])
        ]
        start = 0
        for id in apply_merges([id for id in ids if id is not None], self._merges):
            end = start + len(self._tokens[id].encode("utf-8"))
            yield id, char_at[start], char_at[end - 1] + 1
            start = end

    def _join(self, tokens: list[str]) -> str:
        data = b"".join(token.encode("utf-8") if token in self._special else _spelled_bytes(token) for token in tokens)
        return data.decode("utf-8", errors="replace")

    def _pair_ids(self, left: str, right: str) -> tuple[int, int]:
        for token in (left, right, left + right):
            if token not in self.vocab:
                raise ValueError(
                    f"the merge {left!r} + {right!r} needs the token {token!r}, which is not in the vocabulary of "
                    f"{len(self)} tokens: do the two files belong together?"
                )
        return self.vocab[left], self.vocab[right]

    def _require_distinct_specials(self) -> None:
        spelled = {*BYTE_SYMBOLS, *(self._tokens[merged] for _, merged in self._merges.values())}
        for token in self.special_tokens:
            if token in spelled and _spelled_bytes(token) != token.encode("utf-8"):
                raise ValueError(
                    f"special token {token!r} is also how the bytes {_spelled_bytes(token)!r} are written: rename it"
                )

    def _config(self) -> dict[str, Any]:
        return {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}

    def _description(self) -> dict[str, Any]:
        digits = [{"type": "Digits", "individual_digits": True}] if self.individual_digits else []
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": self._added_tokens(),
            "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*digits, _BYTE_LEVEL | {"trim_offsets": True}]},
            "post_processor": None,
            "decoder": _BYTE_LEVEL | {"trim_offsets": True},
            "model": _MODEL | {"fuse_unk": False, "vocab": self.vocab, "merges": [list(pair) for pair in self.merges]},
        }

    @classmethod
    def _from_description(cls, content: dict[str, Any]) -> Self:
        model = content["model"]
        require_description(model, _MODEL, "model")
        if content["normalizer"] is not None:
            raise ValueError(f"the normalizer is {content['normalizer']}, but this class does not change the text")
        specials = described_specials(content)
        merges = [_parsed_merge(merge) for merge in model["merges"]]
        return cls(model["vocab"] | specials, merges, tuple(specials), _splits_digits(content["pre_tokenizer"]))


_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
_MODEL = {
    "type": "BPE",
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": None,
    "end_of_word_suffix": None,
    "byte_fallback": False,
    "ignore_merges": False,
}


def apply_merges(ids: Sequence[int], merges: Merges) -> list[int]:
    """Merge neighbours, the lowest rank first and among equal ranks the leftmost, until no pair has a merge.

    The queue makes it O(n log n) for a word of n bytes.
    """
    tokens: list[int | None] = list(ids)  # None: taken into the token on the left
    ends = list(range(1, len(tokens) + 1))  # of the token that starts here
    previous = list(range(-1, len(tokens)))  # where the token before the one that starts here starts
    queue: list[tuple[int, int]] = []

    def enqueue(start: int) -> None:
        if start >= 0 and ends[start] < len(tokens):
            rank, _ = merges.get((tokens[start], tokens[ends[start]]), (None, None))
            if rank is not None:
                heapq.heappush(queue, (rank, start))

    for start in range(len(tokens)):
        enqueue(start)
    while queue:
        rank, start = heapq.heappop(queue)
        if tokens[start] is None or ends[start] == len(tokens):
            continue
        right = ends[start]
        current_rank, merged = merges.get((tokens[start], tokens[right]), (None, None))
        if current_rank != rank:
            continue  # one of the two has been merged since this entry was made
        tokens[start], tokens[right] = merged, None
        ends[start] = ends[right]
        previous[ends[start]] = start
        enqueue(previous[start])
        enqueue(start)
    return [token for token in tokens if token is not None]


def _spelled_bytes(token: str) -> bytes:
    """The bytes a token stands for; characters that are no byte symbols stand for themselves."""
    if all(symbol in _BYTES for symbol in token):
        return bytes(_BYTES[symbol] for symbol in token)
    return token.encode("utf-8")


def _read_merges(path: Path) -> list[tuple[str, str]]:
    merges = []
    for number, line in enumerate(read_text(path).removesuffix("\n").split("\n"), start=1):
        if number == 1 and line.startswith("#version"):
            continue
        try:
            merges.append(_parsed_merge(line.removesuffix("\r")))
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
    return merges


def _parsed_merge(merge: str | Sequence[str]) -> tuple[str, str]:
    parts = merge.split(" ") if isinstance(merge, str) else merge
    if len(parts) != 2 or not all(parts):
        raise ValueError(f"merge {merge!r} is not two tokens with one space between them")
    return parts[0], parts[1]


def _splits_digits(pre_tokenizer: dict[str, Any]) -> bool:
    steps = pre_tokenizer["pretokenizers"] if pre_tokenizer["type"] == "Sequence" else [pre_tokenizer]
    if not 1 <= len(steps) <= 2:
        raise ValueError(f"the pre_tokenizer has {len(steps)} steps, but this class does Digits, then ByteLevel")
    require_description(steps[-1], _BYTE_LEVEL, "pre_tokenizer")
    if len(steps) == 2:
        require_description(steps[0], {"type": "Digits", "individual_digits": True}, "pre_tokenizer")
    return len(steps) == 2
