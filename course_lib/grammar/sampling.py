"""Draws sentences at random: which words and constructions may meet."""

from collections.abc import Iterable
from dataclasses import replace
from random import Random

from .clause import Clause, Coordination, NounPhrase, Sentence, Subject
from .lexicon import (
    ADJECTIVES,
    AUXILIARIES,
    BE,
    FREQUENCY,
    MANNER,
    NOUNS,
    NUMBERS,
    PLACES,
    POSSESSIVES,
    PRONOUNS,
    QUESTION_WORDS,
    THERE_IS,
    TIMES,
    VERBS,
    Adjective,
    Noun,
    Pronoun,
    Verb,
    adjectives_of,
    nouns_of,
    reference,
)

# Determiners with their odds, by the place a noun phrase takes. "indefinite" is "a" or a bare plural.
_SUBJECT = ("the",) * 5 + ("this", "possessive", "possessive", "number")
_OBJECT = ("the",) * 3 + ("indefinite",) * 4 + ("this", "possessive", "possessive", "number")
_DEFINITE = ("the",) * 3 + ("this", "possessive")
_AFTER_PREPOSITION = (*_DEFINITE, "a")

_INTRANSITIVE = tuple(verb for verb in VERBS.values() if not verb.objects)
# Verbs whose object "it" can take up again: direct objects, no general statements.
_TRANSITIVE = tuple(
    verb for verb in VERBS.values() if verb.objects and not verb.preposition and "generic" not in verb.traits
)
_FEELINGS = tuple(VERBS[lemma] for lemma in ("be hungry", "be thirsty", "get bored"))
_SPEAKERS = tuple(PRONOUNS[name] for name in ("I", "you", "we"))
# Being and there being stand for many sentences each.
_ALL_VERBS = (*VERBS.values(), *(BE,) * 7, *(THERE_IS,) * 2)


class Sampler:
    """Draws sentences from `rng`, the only source of chance."""

    def __init__(self, rng: Random):
        self._rng = rng
        self._nouns_used: set[str] = set()

    def sentence(self) -> Sentence:
        """One sentence; no noun occurs twice in it."""
        self._nouns_used.clear()
        kind = self._rng.choices(("simple", "it", "because", "two clauses"), (75, 8, 9, 8))[0]
        match kind:
            case "it":
                return self._object_taken_up()
            case "because":
                return self._reason()
            case "two clauses":
                conjunction = self._rng.choice(("and", "but"))
                first = self._clause()
                return Sentence(first, conjunction, self._clause(follows=first))
        if self._chance(0.25):
            return self._question()
        return Sentence(self._clause())

    def _chance(self, probability: float) -> bool:
        return self._rng.random() < probability

    def _noun(self, kinds: frozenset[str]) -> Noun:
        noun = self._rng.choice([noun for noun in nouns_of(kinds) if noun.english not in self._nouns_used])
        self._nouns_used.add(noun.english)
        return noun

    def _phrase(self, kinds: frozenset[str], determiners: tuple[str, ...], adjective_odds: float) -> NounPhrase:
        noun = self._noun(kinds)
        plural = self._chance(0.4)
        determiner = self._rng.choice(determiners)
        if "kin" in noun.kinds and determiner in ("indefinite", "a", ""):
            determiner = "possessive"
        match determiner:
            case "indefinite":
                plural = self._chance(0.6)
                determiner = "" if plural else "a"
            case "a" | "":
                plural = determiner == ""
            case "number":
                determiner, plural = self._rng.choice(tuple(NUMBERS)), True
            case "possessive":
                determiner = self._rng.choice(tuple(POSSESSIVES)) if "own" in noun.kinds else "the"
        return NounPhrase(noun, determiner, plural, self._adjectives(noun, adjective_odds))

    def _adjectives(self, noun: Noun, odds: float) -> tuple[Adjective, ...]:
        if not self._chance(odds):
            return ()
        first = self._rng.choice(adjectives_of(noun))
        behind = [other for other in _compatible(adjectives_of(noun), (first,)) if not other.before_noun]
        if first.before_noun and behind and self._chance(0.15):
            return first, self._rng.choice(behind)
        return (first,)

    def _subject(self, verb: Verb, *, is_plain: bool, is_first: bool = True) -> Subject:
        """`is_plain` (neither negated nor a question) allows "a cat"; elsewhere it would sound odd.

        In a clause that is not the first, "she" or "they" could mean someone just named, and the
        French pronoun would have to agree: such a clause has I, you, we or a noun.
        """
        kinds = verb.subjects or frozenset({"human", "animal", "thing", "food", "place"})
        if "human" in kinds and self._chance(0.5):
            return self._rng.choice(tuple(PRONOUNS.values()) if is_first else _SPEAKERS)
        if self._chance(0.07):
            living = verb.subjects or frozenset({"human", "animal"})
            first, second = (self._phrase(living, ("the", "possessive"), 0.0) for _ in range(2))
            return Coordination(replace(first, plural=False), replace(second, plural=False))
        general = ("indefinite", "") if verb is not BE and is_plain else ("",)
        determiners = (*_SUBJECT, *general)
        return self._phrase(kinds, determiners, 0.3)

    def _object(self, verb: Verb, subject: Subject | None) -> NounPhrase | Pronoun | None:
        if not verb.objects:
            return None
        if verb.takes_human_pronoun and self._chance(0.3):
            return self._rng.choice(_other_persons(subject))
        if "fixed" in verb.traits:
            return NounPhrase(self._noun(verb.objects), "the")
        if "generic" in verb.traits:
            determiners = ("",) if self._chance(0.5) else _DEFINITE
        elif "definite" in verb.traits or "goal" in verb.objects:
            determiners = _DEFINITE
        else:
            determiners = _AFTER_PREPOSITION if verb.preposition else _OBJECT
        return self._phrase(verb.objects, determiners, 0.5)

    def _place(self, prepositions: tuple[str, ...], odds: float = 0.15) -> tuple[str, NounPhrase]:
        preposition = self._rng.choice(prepositions)
        determiners = _DEFINITE if preposition == "at" else _AFTER_PREPOSITION
        return preposition, self._phrase(PLACES[preposition][1], determiners, odds)

    def _predicate(self, subject: Subject, *, beside: tuple[Adjective, ...] = ()) -> Adjective:
        """An adjective for "be"; with I, you and we only those that hide the speaker's gender."""
        nouns = [phrase.noun for phrase in _phrases(subject)] or [NOUNS["friend"]]
        attributes = [adjective for phrase in _phrases(subject) for adjective in phrase.adjectives]
        hides_gender = isinstance(subject, Pronoun) and subject.person in (0, 1, 3)
        return self._rng.choice(
            [
                adjective
                for adjective in _compatible(ADJECTIVES.values(), (*attributes, *beside))
                if all(adjective.kinds & noun.kinds for noun in nouns)
                and not adjective.attributive_only
                and (adjective.has_one_gender or not hides_gender)
            ]
        )

    def _there_is(self) -> Clause:
        phrase = self._phrase(THERE_IS.objects, ("indefinite", "indefinite", "indefinite", "number"), 0.3)
        negation = "not" if phrase.determiner not in NUMBERS and self._chance(0.3) else ""
        return Clause(
            None,
            THERE_IS,
            phrase,
            negation=negation,
            place=self._place(("in", "behind", "near", "under"), 0.05),
        )

    def _clause(self, verb: Verb | None = None, *, question: str = "", follows: Clause | None = None) -> Clause:
        verb = verb or self._rng.choice(_ALL_VERBS)
        if verb is THERE_IS:
            return self._there_is()
        negation = self._rng.choices(("", "not", "never"), (60, 30, 10 * ("frequent" in verb.traits)))[0]
        subject = self._subject(verb, is_plain=not negation and not question, is_first=follows is None)
        clause = Clause(subject, verb, self._object(verb, subject), negation=negation)
        if verb is BE:
            clause = replace(clause, adjective=self._predicate(subject))
            if negation == "never" and not clause.adjective.passing:
                clause = replace(clause, negation="not")
        return self._with_adverbials(clause, question)

    def _with_adverbials(self, clause: Clause, question: str) -> Clause:
        """At most one of: auxiliary, adverb of frequency; and of: manner, place, time."""
        traits, negation = clause.verb.traits, clause.negation
        changes = clause.adjective is None or clause.adjective.passing
        if "modal" in traits and changes and negation != "never" and self._chance(0.25):
            clause = replace(clause, auxiliary=self._rng.choice(tuple(AUXILIARIES)))
        elif "frequent" in traits and changes and not negation and self._chance(0.2):
            clause = replace(clause, frequency=self._rng.choice(tuple(FREQUENCY.values())))
        manner = [adverb for trait, adverbs in MANNER.items() if trait in traits for adverb in adverbs]
        if manner and not clause.auxiliary and not question and self._chance(0.25):
            return replace(clause, manner=self._rng.choice(manner))
        if "placed" in traits and question != "where" and self._chance(0.25):
            return replace(clause, place=self._place(tuple(PLACES)))
        is_dated = "dated" in traits and question != "when" and negation != "never" and not clause.frequency
        if is_dated and self._chance(0.2):
            return replace(clause, time=self._rng.choice(TIMES))
        return clause

    def _question(self) -> Sentence:
        verb = self._rng.choice(_ALL_VERBS)
        question = "yes-no"
        if verb is not THERE_IS and self._chance(0.4):
            question = self._rng.choice(tuple(QUESTION_WORDS)) if "event" in verb.traits else "why"
        clause = self._clause(verb, question=question)
        if question in ("where", "when"):
            clause = replace(clause, negation="", frequency=None)
        return Sentence(clause, question=question)

    def _object_taken_up(self) -> Sentence:
        """`I buy the apple and she eats it`: the second object takes the first one's gender in French."""
        first_verb = self._rng.choice(_TRANSITIVE)
        subject = self._subject(first_verb, is_plain=True)
        phrase = self._phrase(first_verb.objects, _DEFINITE if "definite" in first_verb.traits else _OBJECT, 0.2)
        kinds = phrase.noun.kinds
        second_verb = self._rng.choice([v for v in _TRANSITIVE if v is not first_verb and v.objects & kinds])
        taken_up = reference(phrase.noun, phrase.plural)
        # A third person beside "him" or "them", or after another noun, would leave open who is meant.
        is_clear = isinstance(subject, Pronoun) and not phrase.plural and "human" not in kinds
        others = [other for other in (PRONOUNS.values() if is_clear else _SPEAKERS) if other != subject]
        conjunction = self._rng.choice(("and", "but"))
        return Sentence(
            Clause(subject, first_verb, phrase),
            conjunction,
            Clause(self._rng.choice(others), second_verb, taken_up, negation="not" if conjunction == "but" else ""),
        )

    def _reason(self) -> Sentence:
        """`The girls sleep because they are tired`: the second subject takes the first one's gender."""
        first = self._clause(self._rng.choice((*_INTRANSITIVE, BE, BE, BE, BE)))
        first = replace(first, place=None, time=None, frequency=None)
        subject = first.subject
        again = subject if isinstance(subject, Pronoun) else _taken_up(subject)
        feelings = [verb for verb in _FEELINGS if verb is not first.verb and _can_do(subject, verb)]
        verb = self._rng.choice((*feelings, *(BE,) * 5))
        adjective = None
        if verb is BE:
            adjective = self._predicate(subject, beside=(first.adjective,) if first.adjective else ())
        return Sentence(first, "because", Clause(again, verb, adjective=adjective))


def _phrases(subject: Subject) -> tuple[NounPhrase, ...]:
    if isinstance(subject, Coordination):
        return subject.first, subject.second
    return (subject,) if isinstance(subject, NounPhrase) else ()


def _taken_up(subject: NounPhrase | Coordination) -> Pronoun:
    """The pronoun for a subject: they are elles only where every noun is feminine."""
    phrases = _phrases(subject)
    masculine = [phrase.noun for phrase in phrases if phrase.gender == "m"]
    return reference((masculine or [phrases[0].noun])[0], subject.plural)


def _compatible(adjectives: Iterable[Adjective], others: tuple[Adjective, ...]) -> list[Adjective]:
    """Leave out what says a second time, or contradicts, what the others say."""
    groups = {other.group for other in others if other.group}
    return [adjective for adjective in adjectives if adjective not in others and adjective.group not in groups]


def _other_persons(subject: Subject | None) -> list[Pronoun]:
    """Object pronouns that do not mean the subject itself."""
    groups = {"I": ("I", "we"), "we": ("I", "we"), "you": ("you",)}
    excluded = groups.get(subject.subject, ()) if isinstance(subject, Pronoun) else ()
    return [pronoun for name, pronoun in PRONOUNS.items() if name not in excluded]


def _can_do(subject: Subject, verb: Verb) -> bool:
    return all(phrase.noun.kinds & verb.subjects for phrase in _phrases(subject))
