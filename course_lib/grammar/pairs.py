"""Sentence pairs drawn from the grammar, and splits that test new combinations and new lengths."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, combinations
from random import Random

from . import english, french
from .clause import Clause, Coordination, NounPhrase, Sentence, Token
from .french import opens_with_vowel
from .lexicon import ADJECTIVES, BE, NOUNS, PRONOUNS, THERE_IS, VERBS, adjectives_of, nouns_of
from .sampling import Sampler
from .words import detokenise

# No sentence of `train` or `held_out` has more tokens than this on either side; every sentence of
# `longer` has more on both.
MAX_TRAIN_LENGTH = 11

# One in so many possible combinations of two words is kept out of training.
_HELD_OUT_SHARE = 20
_PARTNERS_PER_LOSS = 8

# The most pairs a split can have.
MAX_PAIRS = 100_000

_I_LIKE_APPLES = Sentence(Clause(PRONOUNS["I"], VERBS["like"], NounPhrase(NOUNS["apple"], "", plural=True)))
_THE_BLACK_CAT_SLEEPS = Sentence(
    Clause(NounPhrase(NOUNS["cat"], "the", adjectives=(ADJECTIVES["black"],)), VERBS["sleep"])
)
# Sentences the course talks about: always held out, whatever the seed.
_SHOWN = (_I_LIKE_APPLES, _THE_BLACK_CAT_SLEEPS)
_SHOWN_COMBINATIONS = (frozenset({"like", "apple"}), frozenset({"black", "cat"}))


@dataclass(frozen=True)
class Pair:
    """An English sentence and its French translation.

    `source` and `target` are the tokens (what `tokenise` makes of `english` and `french`);
    `alignment` holds (source position, target position) of the words that answer to one another;
    `phenomena` are keys of `PHENOMENA`; `lemmas` the English dictionary forms of nouns, adjectives
    and verbs; `combinations` those pairs of them that belong together: adjective and noun, verb and
    subject, verb and object.
    """

    source: tuple[str, ...]
    target: tuple[str, ...]
    alignment: frozenset[tuple[int, int]]
    phenomena: frozenset[str]
    lemmas: frozenset[str]
    combinations: frozenset[frozenset[str]]

    @cached_property
    def english(self) -> str:
        return detokenise(self.source)

    @cached_property
    def french(self) -> str:
        return detokenise(self.target)


def translate(sentence: Sentence) -> Pair:
    """Write a sentence in both languages."""
    source = english.realise(sentence)
    target, used = french.realise(sentence)
    pairs = frozenset(pair for clause in sentence.clauses for pair in _combinations(clause))
    lemmas = frozenset(lemma for clause in sentence.clauses for lemma in _lemmas(clause))
    return Pair(
        tuple(token.text.lower() for token in source),
        tuple(token.text for token in target),
        _alignment(source, target),
        frozenset(used),
        lemmas,
        pairs,
    )


def _alignment(source: list[Token], target: list[Token]) -> frozenset[tuple[int, int]]:
    """Positions of the words that come from the same part of the sentence."""
    places: dict[str, list[int]] = {}
    for j, token in enumerate(target):
        for part in token.parts:
            places.setdefault(part, []).append(j)
    return frozenset((i, j) for i, token in enumerate(source) for part in token.parts for j in places.get(part, ()))


def _phrases(clause: Clause) -> Iterator[tuple[str, NounPhrase]]:
    """The noun phrases of a clause, each with its role."""
    if isinstance(clause.subject, Coordination):
        yield "subject", clause.subject.first
        yield "subject", clause.subject.second
    elif isinstance(clause.subject, NounPhrase):
        yield "subject", clause.subject
    if isinstance(clause.object, NounPhrase):
        yield "object", clause.object
    if clause.place:
        yield "place", clause.place[1]


def _combinations(clause: Clause) -> Iterator[frozenset[str]]:
    for role, phrase in _phrases(clause):
        noun = phrase.noun.english
        for adjective in phrase.adjectives:
            yield frozenset({adjective.english, noun})
        if role == "subject" and clause.adjective:
            yield frozenset({clause.adjective.english, noun})
        if role != "place" and clause.verb not in (BE, THERE_IS):
            yield frozenset({clause.verb.lemma, noun})


def _lemmas(clause: Clause) -> Iterator[str]:
    if clause.verb not in (BE, THERE_IS):
        yield clause.verb.lemma
    if clause.adjective:
        yield clause.adjective.english
    for _, phrase in _phrases(clause):
        yield phrase.noun.english
        yield from (adjective.english for adjective in phrase.adjectives)


def _possible_combinations() -> list[tuple[str, str]]:
    """Every combination the lexicon allows, as (adjective or verb, noun), in a fixed order."""
    found = {(adjective.english, noun.english) for noun in NOUNS.values() for adjective in adjectives_of(noun)}
    for verb in VERBS.values():
        found |= {(verb.lemma, noun.english) for noun in nouns_of(verb.subjects | verb.objects)}
    return sorted(found)


def _needs_prevocalic_form(words: tuple[str, str]) -> bool:
    """True for pairs such as new and hotel: nouvel hôtel."""
    adjective, noun = ADJECTIVES.get(words[0]), NOUNS.get(words[1])
    return bool(adjective and adjective.prevocalic and noun.gender == "m" and opens_with_vowel(noun.french))


def held_out_combinations(seed: int) -> frozenset[frozenset[str]]:
    """The pairs of words that never meet in a training sentence of this seed.

    They are spread: no word loses more than one in `_PARTNERS_PER_LOSS` of the words it can stand with,
    and no adjective more than one of the few nouns that show its form before a vowel. So what is tested
    stays possible to learn.
    """
    possible = _possible_combinations()
    Random(seed).shuffle(possible)
    chosen = [tuple(sorted(words)) for words in _SHOWN_COMBINATIONS]
    losses = Counter(word for words in chosen for word in words)
    partners = Counter(word for words in possible for word in words)
    prevocalic: set[str] = set()
    for words in possible:
        if len(chosen) >= len(possible) // _HELD_OUT_SHARE:
            break
        is_rare = _needs_prevocalic_form(words)
        is_spent = any(losses[word] >= partners[word] // _PARTNERS_PER_LOSS for word in words)
        if is_spent or (is_rare and words[0] in prevocalic):
            continue
        prevocalic.update({words[0]} if is_rare else ())
        losses.update(words)
        chosen.append(words)
    return frozenset(frozenset(words) for words in chosen)


def _split_of(pair: Pair, held_out: frozenset[frozenset[str]]) -> str | None:
    """The split a pair may go to; None where it would let a held-out combination into training."""
    shorter, longer = sorted((len(pair.source), len(pair.target)))
    if longer <= MAX_TRAIN_LENGTH and pair.combinations & held_out:
        return "held_out"
    if any(frozenset(two) in held_out for two in combinations(pair.lemmas, 2)):
        return None
    if longer <= MAX_TRAIN_LENGTH:
        return "train"
    return "longer" if shorter > MAX_TRAIN_LENGTH else None


def _distinct_pairs(seed: int, held_out: frozenset[frozenset[str]]) -> Iterator[tuple[str, Pair]]:
    """Endless new pairs, each with its split; the sentences the course talks about come first."""
    sampler = Sampler(Random(seed))
    seen: set[tuple[str, ...]] = set()
    for sentence in chain(_SHOWN, iter(sampler.sentence, None)):
        pair = translate(sentence)
        split = None if pair.source in seen else _split_of(pair, held_out)
        seen.add(pair.source)
        if split:
            yield split, pair


def corpus(
    seed: int = 0, *, train: int = 16_000, held_out: int = 1_000, longer: int = 500
) -> dict[str, tuple[Pair, ...]]:
    """Draw the three splits; the same seed and sizes give the same pairs.

    - `train`: at most `MAX_TRAIN_LENGTH` tokens on either side.
    - `held_out`: as long, but each has two words in one phrase that no training sentence has
      together anywhere. The words themselves, in these very forms, all occur in training.
    - `longer`: more tokens on both sides than any training sentence, of known words and combinations.

    The first two held-out pairs are `I like apples.` and `The black cat sleeps.`, whatever the seed, as
    soon as training is large enough (some thousand pairs) to hold their words.

    Raises:
        ValueError: a size is below 2 or above `MAX_PAIRS`.
    """
    sizes = {"train": train, "held_out": held_out, "longer": longer}
    for name, size in sizes.items():
        if not len(_SHOWN) <= size <= MAX_PAIRS:
            raise ValueError(f"{name}={size} pairs: ask for {len(_SHOWN)} to {MAX_PAIRS}")
    splits: dict[str, list[Pair]] = {name: [] for name in sizes}
    waiting: list[tuple[str, Pair]] = []
    pairs = _distinct_pairs(seed, held_out_combinations(seed))
    while len(splits["train"]) < train:
        split, pair = next(pairs)
        if split == "train":
            splits["train"].append(pair)
        else:
            waiting.append((split, pair))
    known = {word for pair in splits["train"] for word in (*pair.source, *pair.target)}
    for split, pair in chain(waiting, pairs):
        is_wanted = split != "train" and len(splits[split]) < sizes[split]
        if is_wanted and known.issuperset((*pair.source, *pair.target)):
            splits[split].append(pair)
        if all(len(splits[name]) == size for name, size in sizes.items()):
            break
    return {name: tuple(drawn) for name, drawn in splits.items()}


def table(splits: dict[str, tuple[Pair, ...]], rows: int) -> str:
    """The first `rows` pairs of each split as tab-separated text with a header, for reading."""
    lines = ["split\tenglish\tfrench\tphenomena"]
    for name, drawn in splits.items():
        for pair in drawn[:rows]:
            lines.append("\t".join((name, pair.english, pair.french, ", ".join(sorted(pair.phenomena)))))
    return "\n".join(lines) + "\n"
