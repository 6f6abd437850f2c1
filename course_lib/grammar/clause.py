"""What a sentence means before it is put into words: the structure both languages are written from."""

from dataclasses import dataclass
from typing import NamedTuple

from .lexicon import Adjective, Adverb, Noun, Pronoun, Verb


class Token(NamedTuple):
    """A word and the parts of the sentence it comes from.

    Words of the two languages that share a part are aligned. `article` marks a French definite
    article, which contracts with à and de; the object pronouns spelled like it do not.
    """

    text: str
    parts: frozenset[str]
    article: bool = False


def tokens(words: tuple[str, ...], *parts: str) -> list[Token]:
    """Give several words the same parts."""
    return [Token(word, frozenset(parts)) for word in words]


@dataclass(frozen=True)
class NounPhrase:
    """A noun with a determiner ("the", "a", "this", a possessive, a number, or "" for a bare plural)."""

    noun: Noun
    determiner: str
    plural: bool = False
    adjectives: tuple[Adjective, ...] = ()

    @property
    def person(self) -> int:
        """Row of the French verb forms: il or ils."""
        return 4 if self.plural else 2

    @property
    def gender(self) -> str:
        return self.noun.gender


@dataclass(frozen=True)
class Coordination:
    """Two noun phrases joined by "and": plural, and masculine as soon as one of them is."""

    first: NounPhrase
    second: NounPhrase
    plural = True
    person = 4

    @property
    def gender(self) -> str:
        return "f" if self.first.gender == self.second.gender == "f" else "m"


Subject = Pronoun | NounPhrase | Coordination


@dataclass(frozen=True)
class Clause:
    """One subject and one verb. Without a `subject` it is "there is".

    `negation` is "", "not" or "never"; `auxiliary` a key of `lexicon.AUXILIARIES` or "";
    `adjective` belongs to the verb be; `place` pairs a key of `lexicon.PLACES` with a noun phrase.
    """

    subject: Subject | None
    verb: Verb
    object: NounPhrase | Pronoun | None = None
    adjective: Adjective | None = None
    auxiliary: str = ""
    negation: str = ""
    frequency: Adverb | None = None
    manner: Adverb | None = None
    place: tuple[str, NounPhrase] | None = None
    time: Adverb | None = None


@dataclass(frozen=True)
class Sentence:
    """One or two clauses. `question` is "", "yes-no" or a key of `lexicon.QUESTION_WORDS`."""

    first: Clause
    conjunction: str = ""
    second: Clause | None = None
    question: str = ""

    @property
    def clauses(self) -> tuple[Clause, ...]:
        return (self.first,) if self.second is None else (self.first, self.second)
