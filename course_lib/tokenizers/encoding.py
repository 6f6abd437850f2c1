"""What a tokenizer returns."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Encoding:
    """A text as tokens; three lists of equal length.

    `ids` index the embedding table, `tokens` are their spellings in the vocabulary, and `offsets` are (start, end)
    in characters of the original string: `text[start:end]` is what the token stands for.
    """

    ids: list[int]
    tokens: list[str]
    offsets: list[tuple[int, int]]

    def __len__(self) -> int:
        return len(self.ids)
