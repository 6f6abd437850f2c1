"""WordPiece, BERT's tokenizer: the longest token of the vocabulary that fits, again and again.

Schuster and Nakajima (2012), Japanese and Korean Voice Search; Devlin et al. (2019), BERT. `##` marks a token that
continues a word. A word that cannot be written with the vocabulary is `[UNK]` as a whole.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from course_lib.tokenizers.files import read_text
from course_lib.tokenizers.merging import MergeLearner
from course_lib.tokenizers.normalisation import bert_normalise
from course_lib.tokenizers.pre_tokenisation import bert_words
from course_lib.tokenizers.texts import checked_all
from course_lib.tokenizers.tokenizer import Piece, Tokenizer, described_specials, require_description

UNKNOWN = "[UNK]"
SPECIAL_TOKENS = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]")
CONTINUATION = "##"
MAX_WORD_LENGTH = 100  # characters; a longer word is [UNK]

# Written by `decode` as English does: the space before these goes.
_TIGHTENED = (" .", " ?", " !", " ,", " n't", " 'm", " 's", " 've", " 're")


class WordPieceTokenizer(Tokenizer):
    """BERT's normalisation and word splitting, then longest match first.

    `special_tokens` are, unless given, those of BERT's five that the vocabulary has. ValueError without `[UNK]`.
    """

    def __init__(self, vocab: Mapping[str, int], lowercase: bool = True, special_tokens: Sequence[str] | None = None):
        if UNKNOWN not in vocab:
            raise ValueError(
                f"the vocabulary of {len(vocab)} tokens has no {UNKNOWN!r}: add it, because a word that cannot be "
                "written with the other tokens becomes this one"
            )
        if special_tokens is None:
            special_tokens = [token for token in SPECIAL_TOKENS if token in vocab]
        super().__init__(vocab, special_tokens)
        self.lowercase = lowercase

    @classmethod
    def from_vocab(cls, vocab: str | Path | Mapping[str, int], lowercase: bool = True) -> Self:
        """From a dictionary token → id, or from a `vocab.txt`: a token on each line, whose id is the line's number.

        The first line has the id 0. OSError if the file cannot be read, ValueError names a damaged line.
        """
        return cls(vocab if isinstance(vocab, Mapping) else _read_vocab(Path(vocab)), lowercase)

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, lowercase: bool = True, min_frequency: int = 1) -> Self:
        """Learn a vocabulary of at most `vocab_size` tokens from texts.

        Special tokens come first, then the characters, then the characters as continuations (each group sorted), then
        what the merges made. As in the `tokenizers` library the most *frequent* pair is merged; Schuster and Nakajima
        merged the pair that raises the likelihood most. The library numbers the continuations in an order that
        changes from run to run and, ties being settled by number, learns a slightly different vocabulary each time;
        here it is always the same.

        ValueError if `vocab_size` does not hold the special tokens and all characters, or the texts hold no word.
        """
        words = Counter(word for text in checked_all(texts) for word in _words(text, lowercase))
        characters = sorted({char for word in words for char in word})
        continuing = sorted({CONTINUATION + char for word in words for char in word[1:]})
        tokens = [*SPECIAL_TOKENS, *characters, *continuing]
        if not words:
            raise ValueError("the texts hold no word to learn from: pass at least one text that is not blank")
        if vocab_size < len(tokens):
            raise ValueError(
                f"vocab_size={vocab_size} is too small for {len(SPECIAL_TOKENS)} special tokens and the texts' "
                f"{len(characters)} characters with their {len(continuing)} continuations: use at least {len(tokens)}"
            )
        ids = {token: i for i, token in enumerate(tokens)}
        spelled = {tuple(ids[char] for char in _initial_tokens(word)): count for word, count in words.items()}
        MergeLearner(tokens, spelled, _join_pair).learn(vocab_size, min_frequency)
        return cls({token: i for i, token in enumerate(tokens)}, lowercase)

    def _encode_part(self, part: str) -> Iterator[Piece]:
        aligned = bert_normalise(part, self.lowercase)
        for start, end in bert_words(aligned.text):
            for id, piece_start, piece_end in self._pieces(aligned.text[start:end]):
                yield id, *aligned.span(start + piece_start, start + piece_end)

    def _encode_word(self, word: str) -> list[Piece]:
        unknown = [(self.vocab[UNKNOWN], 0, len(word))]
        if len(word) > MAX_WORD_LENGTH:
            return unknown
        pieces = []
        start = 0
        while start < len(word):
            piece = self._longest_match(word, start)
            if piece is None:
                return unknown
            pieces.append(piece)
            start = piece[2]
        return pieces

    def _longest_match(self, word: str, start: int) -> Piece | None:
        prefix = CONTINUATION if start else ""
        for end in range(len(word), start, -1):
            id = self.vocab.get(prefix + word[start:end])
            if id is not None:
                return id, start, end
        return None

    def _join(self, tokens: list[str]) -> str:
        return "".join(token if i == 0 else _with_space(token) for i, token in enumerate(tokens))

    def _config(self) -> dict[str, Any]:
        return {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": self.lowercase,
            "strip_accents": None,
            "tokenize_chinese_chars": True,
        }

    def _description(self) -> dict[str, Any]:
        return {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": self._added_tokens(),
            "normalizer": _NORMALIZER | {"strip_accents": None, "lowercase": self.lowercase},
            "pre_tokenizer": _PRE_TOKENIZER,
            "post_processor": self._frame(),
            "decoder": {"type": "WordPiece", "prefix": CONTINUATION, "cleanup": True},
            "model": _MODEL | {"vocab": self.vocab},
        }

    def _frame(self) -> dict[str, Any] | None:
        """For transformers, which then puts `[CLS]` before and `[SEP]` after a text; `encode` here does not."""
        if "[CLS]" not in self.vocab or "[SEP]" not in self.vocab:
            return None
        return {
            "type": "BertProcessing",
            "cls": ["[CLS]", self.vocab["[CLS]"]],
            "sep": ["[SEP]", self.vocab["[SEP]"]],
        }

    @classmethod
    def _from_description(cls, content: dict[str, Any]) -> Self:
        model, normalizer = content["model"], content["normalizer"]
        require_description(model, _MODEL, "model")
        require_description(normalizer, _NORMALIZER, "normalizer")
        require_description(content["pre_tokenizer"], _PRE_TOKENIZER, "pre_tokenizer")
        lowercase = normalizer["lowercase"]
        if normalizer["strip_accents"] not in (None, lowercase):
            raise ValueError(
                f"the normalizer has strip_accents={normalizer['strip_accents']} with lowercase={lowercase}, but this "
                "class strips accents exactly when it lower-cases"
            )
        specials = described_specials(content)
        return cls(model["vocab"] | specials, lowercase, tuple(specials))


_NORMALIZER = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
_PRE_TOKENIZER = {"type": "BertPreTokenizer"}
_MODEL = {
    "type": "WordPiece",
    "unk_token": UNKNOWN,
    "continuing_subword_prefix": CONTINUATION,
    "max_input_chars_per_word": MAX_WORD_LENGTH,
}


def _words(text: str, lowercase: bool) -> Iterator[str]:
    normalised = bert_normalise(text, lowercase).text
    return (normalised[start:end] for start, end in bert_words(normalised))


def _initial_tokens(word: str) -> list[str]:
    return [word[0], *(CONTINUATION + char for char in word[1:])]


def _join_pair(left: str, right: str) -> str:
    return left + right.removeprefix(CONTINUATION)


def _with_space(token: str) -> str:
    if token.startswith(CONTINUATION):
        token = token.removeprefix(CONTINUATION)
    else:
        token = f" {token}"
    for ending in _TIGHTENED:
        token = token.replace(ending, ending[1:])
    return token


def _read_vocab(path: Path) -> dict[str, int]:
    vocab: dict[str, int] = {}
    # Not splitlines(): it also splits at characters that are tokens, such as U+2028.
    lines = read_text(path).removesuffix("\n").split("\n")
    for i, line in enumerate(lines):
        token = line.rstrip()
        if not token:
            raise ValueError(f"{path}, line {i + 1}: an empty line is no token")
        if token in vocab:
            raise ValueError(f"{path}, line {i + 1}: token {token!r} stands on line {vocab[token] + 1} already")
        vocab[token] = i
    return vocab
