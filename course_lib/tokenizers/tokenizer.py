"""What both tokenizers have in common: vocabulary, special tokens, `encode`, `decode`, files."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import index
from pathlib import Path
from typing import Any, Self

from course_lib.tokenizers.encoding import Encoding
from course_lib.tokenizers.files import read_json, write_json
from course_lib.tokenizers.special_tokens import SpecialTokens
from course_lib.tokenizers.texts import checked

Piece = tuple[int, int, int]  # id of a token; start and end of what it stands for

_CACHED_WORDS = 50_000
_CACHED_LENGTH = 256
_ADDED_TOKEN = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


class Tokenizer(ABC):
    """A vocabulary and a way to write any text with its tokens.

    `vocab` maps each token to its id; `special_tokens` are never split and never made from ordinary text.
    ValueError where two tokens share an id, an id is not a whole number from 0 up, or a special token has none.
    """

    def __init__(self, vocab: Mapping[str, int], special_tokens: Sequence[str]):
        self.vocab = _checked_vocab(vocab)
        self._tokens = {id: token for token, id in self.vocab.items()}
        self._special = SpecialTokens(special_tokens)
        for token in self._special.tokens:
            if token not in self.vocab:
                raise ValueError(
                    f"special token {token!r} is not in the vocabulary of {len(self)} tokens: add it there"
                )
        self._cache: dict[str, tuple[Piece, ...]] = {}

    def __len__(self) -> int:
        return len(self.vocab)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)} tokens, {len(self.special_tokens)} of them special)"

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_cache": {}}  # a copy sent to another process starts with an empty cache

    @property
    def vocab_size(self) -> int:
        """Rows that an embedding table needs: one more than the greatest id."""
        return max(self._tokens) + 1

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """Tokens that are found in the raw text before anything else."""
        return self._special.tokens

    def token_to_id(self, token: str) -> int:
        """The id of a token; ValueError if the vocabulary does not have it."""
        if token not in self.vocab:
            raise ValueError(
                f"token {token!r} is not in the vocabulary of {len(self)} tokens; encode() splits ordinary text"
            )
        return self.vocab[token]

    def id_to_token(self, id: int) -> str:
        """The token of an id; ValueError if the vocabulary does not have it, TypeError if it is not a whole number."""
        try:
            return self._tokens[index(id)]
        except KeyError:
            raise ValueError(
                f"id {id} is not in the vocabulary: its {len(self)} ids lie between {min(self._tokens)} and "
                f"{max(self._tokens)}; ids made by another tokenizer cannot be decoded with this one"
            ) from None

    def encode(self, text: str) -> Encoding:
        """The tokens of `text`; nothing is added (no `[CLS]`), special tokens that stand in the text are found.

        TypeError if `text` is not a str, ValueError if it holds a lone surrogate.
        """
        ids, offsets = [], []
        for start, end, is_special in self._special.split(checked(text)):
            part = text[start:end]
            pieces = [(self.vocab[part], 0, len(part))] if is_special else self._encode_part(part)
            for id, piece_start, piece_end in pieces:
                ids.append(id)
                offsets.append((start + piece_start, start + piece_end))
        return Encoding(ids, [self._tokens[id] for id in ids], offsets)

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """Text from ids. ValueError names an id outside the vocabulary."""
        tokens = [self.id_to_token(id) for id in ids]
        if skip_special_tokens:
            tokens = [token for token in tokens if token not in self._special]
        return self._join(tokens)

    def save(self, directory: str | Path) -> None:
        """Write `tokenizer.json` in the form that the `tokenizers` library and transformers load."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        # The file that `load` needs comes last, so that where it is, the other is too.
        write_json(directory / "tokenizer_config.json", self._config())
        write_json(directory / "tokenizer.json", self._description())

    @classmethod
    def load(cls, directory: str | Path) -> Self:
        """Read `tokenizer.json` from a directory, ours or a published one of the same kind.

        FileNotFoundError where there is none; ValueError if it is damaged or states a step that this class does not do.
        """
        path = Path(directory) / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(f"there is no tokenizer.json in {directory}: pass the directory given to save()")
        content = read_json(path)
        try:
            return cls._from_description(content)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"{path} lacks a part of a tokenizer ({error!r}): save or fetch it again") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error

    def _pieces(self, word: str) -> tuple[Piece, ...]:
        """The tokens of one word; texts repeat their words, so they are remembered."""
        pieces = self._cache.get(word)
        if pieces is None:
            pieces = tuple(self._encode_word(word))
            if len(word) <= _CACHED_LENGTH:
                if len(self._cache) >= _CACHED_WORDS:
                    self._cache.clear()
                self._cache[word] = pieces
        return pieces

    def _added_tokens(self) -> list[dict[str, Any]]:
        return [{"id": self.vocab[token], "content": token} | _ADDED_TOKEN for token in self.special_tokens]

    @abstractmethod
    def _encode_part(self, part: str) -> Iterator[Piece]:
        """The tokens of a text without special tokens, with offsets into it."""

    @abstractmethod
    def _encode_word(self, word: str) -> Iterable[Piece]:
        """The tokens of one word, with offsets into it."""

    @abstractmethod
    def _join(self, tokens: list[str]) -> str:
        """The text that tokens spell."""

    @abstractmethod
    def _config(self) -> dict[str, Any]:
        """The content of `tokenizer_config.json`, which tells transformers the class."""

    @abstractmethod
    def _description(self) -> dict[str, Any]:
        """The content of `tokenizer.json`."""

    @classmethod
    @abstractmethod
    def _from_description(cls, content: dict[str, Any]) -> Self:
        """The tokenizer that the content of a `tokenizer.json` describes."""


def described_specials(content: dict[str, Any]) -> dict[str, int]:
    """Special tokens of a `tokenizer.json` and their ids; ValueError for a way of matching that is not done here."""
    for token in content["added_tokens"]:
        for option in ("single_word", "lstrip", "rstrip"):
            if token[option]:
                raise ValueError(f"added token {token['content']!r} asks for {option}=true, which is not supported")
    return {token["content"]: token["id"] for token in content["added_tokens"]}


def require_description(content: dict[str, Any], expected: Mapping[str, Any], what: str) -> None:
    """ValueError if a component of a `tokenizer.json` says anything else than `expected`.

    An option that is not stated (files of early versions) is as expected; null, false and "" all mean "no".
    """
    for key, value in expected.items():
        stated = content["type"] if key == "type" else content.get(key, value)
        if (stated or None) != (value or None):
            raise ValueError(f"the {what} has {key}={stated!r}, but this class does {key}={value!r} only")


def _checked_vocab(vocab: Mapping[str, int]) -> dict[str, int]:
    if not vocab:
        raise ValueError("the vocabulary is empty")
    owners: dict[int, str] = {}
    for token, id in vocab.items():
        if not isinstance(token, str):
            raise ValueError(
                f"vocabulary key {token!r} is not a str: a vocabulary maps tokens to ids, not ids to tokens"
            )
        if not isinstance(id, int) or isinstance(id, bool) or id < 0:
            raise ValueError(f"token {token!r} has the id {id!r}: ids are whole numbers from 0 up")
        if id in owners:
            raise ValueError(f"tokens {owners[id]!r} and {token!r} share the id {id}: give each its own")
        owners[id] = token
    return dict(vocab)
