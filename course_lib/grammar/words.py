"""Word-level tokens: splitting text at spaces, punctuation and elisions, joining it again, and a vocabulary."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

# An elided word keeps its apostrophe ("j'"), hyphens stay inside ("est-ce"), and aujourd'hui is one word.
_TOKEN = re.compile(r"aujourd'hui|[^\W\d_]+'|\w+(?:-\w+)*|[^\w\s]")


def tokenise(text: str) -> list[str]:
    """Split English or French into lower-case words: `J'aime l'école.` → `j' aime l' école .`"""
    return _TOKEN.findall(text.replace("’", "'").lower())


def detokenise(words: Sequence[str]) -> str:
    """Join words into a sentence with a capital: the inverse of `tokenise` on the grammar's sentences.

    French question marks keep their space, English ones do not; the pronoun "i" is written "I".
    """
    is_french_question = "est-ce" in words
    text = ""
    for word in words:
        is_closing = word in {".", ","} or (word == "?" and not is_french_question)
        glue = "" if not text or text.endswith("'") or is_closing else " "
        text += glue + ("I" if word == "i" else word)
    return text[:1].upper() + text[1:]


class Vocabulary:
    """Words and their ids. The four special tokens come first: `pad` 0, `unk` 1, `bos` 2, `eos` 3.

    Build it from the training split only (`Vocabulary.build`): a word that first appears in another
    split is then unknown to the model, as it would be in use.
    """

    SPECIAL = ("<pad>", "<unk>", "<bos>", "<eos>")
    pad_id, unk_id, bos_id, eos_id = range(4)

    def __init__(self, words: Sequence[str]):
        self.words = (*self.SPECIAL, *words)
        self._ids = {word: index for index, word in enumerate(self.words)}
        if len(self._ids) != len(self.words):
            repeated = [word for word, count in Counter(self.words).items() if count > 1]
            raise ValueError(f"words={repeated[:3]} appear more than once: pass each word once")

    @classmethod
    def build(cls, sentences: Iterable[Sequence[str]], min_count: int = 1) -> "Vocabulary":
        """Collect the words of tokenised sentences that occur `min_count` times, the most frequent first."""
        counts = Counter(word for sentence in sentences for word in sentence)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls([word for word, count in ranked if count >= min_count])

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    def encode(self, words: Sequence[str]) -> list[int]:
        """Ids of the words; a word outside the vocabulary becomes `unk_id`."""
        return [self._ids.get(word, self.unk_id) for word in words]

    def decode(self, ids: Iterable[int]) -> list[str]:
        """Words up to the first `eos_id`, without padding and `bos_id`."""
        words = []
        for index in map(int, ids):
            if index == self.eos_id:
                break
            if index not in (self.pad_id, self.bos_id):
                words.append(self.words[index])
        return words
