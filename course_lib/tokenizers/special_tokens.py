"""Special tokens, such as `[SEP]` or `<|endoftext|>`: found in the raw text before anything else is done to it."""

import re
from collections.abc import Iterator, Sequence


class SpecialTokens:
    """A set of special tokens. ValueError names a token that is empty or given twice."""

    def __init__(self, tokens: Sequence[str]):
        if isinstance(tokens, str):
            raise TypeError(f"special_tokens is a single str: pass a list, [{tokens!r}]")
        self.tokens = tuple(tokens)
        for token in self.tokens:
            if not isinstance(token, str) or not token:
                raise ValueError(f"special token {token!r} is not a string of one character or more")
            if self.tokens.count(token) > 1:
                raise ValueError(f"special token {token!r} is given more than once")
        # Where two begin at the same place the longer one is meant.
        longest_first = sorted(self.tokens, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first)))

    def __contains__(self, token: str) -> bool:
        return token in self.tokens

    def split(self, text: str) -> Iterator[tuple[int, int, bool]]:
        """Start, end and "is a special token" of each part of `text`, none of them empty."""
        position = 0
        for match in self._pattern.finditer(text) if self.tokens else ():
            if position < match.start():
                yield position, match.start(), False
            yield match.start(), match.end(), True
            position = match.end()
        if position < len(text):
            yield position, len(text), False
