"""The French side: agreement, elision, contraction, word order. Each rule notes that it was used.

Every function that applies a rule adds the rule's name to `used`, a set: so a sentence's phenomena
are those that really shaped it, not those its plan was meant to show.
"""

from .clause import Clause, Coordination, NounPhrase, Sentence, Subject, Token, tokens
from .lexicon import (
    ASPIRATED,
    AUXILIARIES,
    CONJUNCTIONS,
    NUMBERS,
    PLACES,
    POSSESSIVES,
    QUESTION_WORDS,
    Adjective,
    Pronoun,
)

PHENOMENA = {
    "person agreement": "the verb agrees with je, tu, nous or ils: nous dormons",
    "number agreement": "articles, adjectives and verbs agree with a plural: les chats noirs dorment",
    "gender agreement": "an article, possessive or adjective agrees with a feminine noun: la pomme verte",
    "elision": "je, me, te, se, le, la, ne, de, que lose their vowel before another: j'aime l'école",
    "contraction": "à and de merge with le and les: au, aux, du, des",
    "adjective after noun": "most adjectives stand behind the noun: le chat noir",
    "adjective before noun": "some stand before it: le petit chat",
    "prevocalic form": "masculine and possessive forms before a vowel: bel oiseau, cet hôtel, mon école",
    "aspirated h": "some words with h block elision and prevocalic forms: le hibou, ma harpe",
    "negation": "ne ... pas or ne ... jamais around the verb",
    "negation with de": "an indefinite object turns into de under negation: pas de pommes",
    "question": "est-ce que, with or without a question word",
    "reflexive": "the verb carries a pronoun that agrees with the subject: nous nous reposons",
    "clitic object": "an object pronoun moves before the verb: je la vois",
    "possessive": "mon, ma, mes agree with the thing owned, not with the owner",
    "generic article": "a general plural takes the definite article: j'aime les pommes",
    "indefinite plural": "a bare English plural takes des: j'achète des pommes",
    "de before adjective": "des turns into de before an adjective: de petites pommes",
    "coordinated subject": "two subjects agree in the plural, masculine if one of them is",
    "reference": "a pronoun takes the gender of the noun it refers to: la pomme ... je la mange",
    "infinitive": "a second verb in the infinitive takes the object pronoun: il veut la voir",
    "avoir idiom": "French has hunger, fear and need where English is hungry or needs: il a faim",
    "there is": "il y a",
}

_ELIDING = frozenset(("je", "me", "te", "se", "le", "la", "ne", "de", "que"))
_VOWELS = frozenset("aeiouyhàâéèêëîïôœùû")
_DETERMINERS = {
    "the": ("le", "la", "les"),
    "a": ("un", "une", "des"),
    "this": ("ce", "cette", "ces"),
    **POSSESSIVES,
}


def opens_with_vowel(word: str) -> bool:
    """True where a word before this one is elided or takes its prevocalic form."""
    return word not in ASPIRATED and word[0] in _VOWELS


def _yields(word: str, used: set[str]) -> bool:
    """As `opens_with_vowel`, and notes an aspirated h that made the difference."""
    used.update({"aspirated h"} if word in ASPIRATED else ())
    return opens_with_vowel(word)


def _form(adjective: Adjective, gender: str, plural: bool, following: str, used: set[str]) -> str:
    """The form that agrees; `following` is the word behind it inside the noun phrase, or ""."""
    masculine_singular = gender == "m" and not plural
    if masculine_singular and adjective.prevocalic and following and _yields(following, used):
        used.add("prevocalic form")
        return adjective.prevocalic
    used.update({"gender agreement"} if gender == "f" and not adjective.has_one_gender else ())
    used.update({"number agreement"} if plural else ())
    return adjective.forms[2 * plural + (gender == "f")]


def _inner_phrase(phrase: NounPhrase, part: str, used: set[str]) -> list[Token]:
    """Noun and adjectives, without the determiner."""
    noun = phrase.noun.french_plural if phrase.plural else phrase.noun.french
    before: list[Token] = []
    after: list[Token] = []
    for index, adjective in enumerate(phrase.adjectives):
        used.add("adjective before noun" if adjective.before_noun else "adjective after noun")
        following = noun if adjective.before_noun else ""
        word = Token(
            _form(adjective, phrase.gender, phrase.plural, following, used),
            frozenset({f"{part}.adjective{index}"}),
        )
        (before if adjective.before_noun else after).append(word)
    return [*before, Token(noun, frozenset({f"{part}.noun"})), *after]


def _determiner(phrase: NounPhrase, following: str, *, generic: bool, under_negation: bool, used: set[str]) -> str:
    determiner, plural = phrase.determiner, phrase.plural
    used.update({"number agreement"} if plural else ())
    if determiner == "" and generic:
        used.add("generic article")
        return "les"
    if determiner in ("", "a") and under_negation:
        used.add("negation with de")
        return "de"
    if determiner == "":
        is_preceded = bool(phrase.adjectives) and phrase.adjectives[0].before_noun
        used.add("de before adjective" if is_preceded else "indefinite plural")
        return "de" if is_preceded else "des"
    if determiner in NUMBERS:
        return NUMBERS[determiner]
    used.update({"possessive"} if determiner in POSSESSIVES else ())
    masculine, feminine, plural_form = _DETERMINERS[determiner]
    if plural:
        return plural_form
    return _singular(phrase, (masculine, feminine), following, used)


def _singular(phrase: NounPhrase, forms: tuple[str, str], following: str, used: set[str]) -> str:
    masculine, feminine = forms
    is_feminine = phrase.gender == "f"
    if phrase.determiner == "this" and not is_feminine and _yields(following, used):
        used.add("prevocalic form")
        return "cet"
    if masculine == feminine or not is_feminine:
        return masculine
    if phrase.determiner in POSSESSIVES and _yields(following, used):
        used.add("prevocalic form")
        return masculine
    used.add("gender agreement")
    return feminine


def noun_phrase(
    phrase: NounPhrase, part: str, used: set[str], *, generic: bool = False, under_negation: bool = False
) -> list[Token]:
    inner = _inner_phrase(phrase, part, used)
    determiner = _determiner(phrase, inner[0].text, generic=generic, under_negation=under_negation, used=used)
    # A bare English plural has no determiner to be aligned with: the article belongs to the noun.
    owner = f"{part}.determiner" if phrase.determiner else f"{part}.noun"
    parts = {owner, f"{part}.determiner"}
    return [Token(determiner, frozenset(parts), article=determiner in ("le", "la", "les")), *inner]


def _subject(subject: Subject, part: str, used: set[str]) -> list[Token]:
    if isinstance(subject, Pronoun):
        used.update({"person agreement"} if subject.person != 2 else ())
        used.update({"reference"} if subject.refers else ())
        return tokens((subject.french_subject,), f"{part}.noun")
    if isinstance(subject, Coordination):
        used.update({"coordinated subject", "number agreement"})
        return [
            *noun_phrase(subject.first, f"{part}.first", used),
            *tokens(("et",), f"{part}.and"),
            *noun_phrase(subject.second, f"{part}.second", used),
        ]
    return noun_phrase(subject, part, used, generic=True)


def _clitics(clause: Clause, part: str, used: set[str]) -> list[Token]:
    """What stands directly before the verb it belongs to: se, le, lui."""
    if "reflexive" in clause.verb.traits:
        used.add("reflexive")
        pronouns = ("me", "te", "se", "nous", "se")
        return tokens((pronouns[clause.subject.person],), f"{part}.verb")
    if isinstance(clause.object, Pronoun):
        used.add("clitic object")
        used.update({"reference"} if clause.object.refers else ())
        if clause.verb.preposition == "à":
            return tokens((clause.object.french_dative,), f"{part}.object", f"{part}.preposition")
        return tokens((clause.object.french_direct,), f"{part}.object")
    return []


def _verb_group(clause: Clause, part: str, used: set[str]) -> list[Token]:
    """ne, clitics, finite verb, pas, adverb and infinitive, in their order."""
    person, verb = clause.subject.person, clause.verb
    clitics = _clitics(clause, part, used)
    if clause.auxiliary:
        used.add("infinitive")
        finite = tokens((AUXILIARIES[clause.auxiliary][person],), f"{part}.auxiliary")
        infinitive = [*clitics, *tokens((verb.infinitive,), f"{part}.verb")]
        clitics = []
    else:
        finite = tokens((verb.forms[person],), f"{part}.verb")
        infinitive = []
    core = _negated([*clitics, *finite], clause, part, used)
    adverb = tokens(clause.frequency.french, f"{part}.frequency") if clause.frequency else []
    return [*core, *adverb, *infinitive]


def _negated(core: list[Token], clause: Clause, part: str, used: set[str]) -> list[Token]:
    if not clause.negation:
        return core
    used.add("negation")
    negation = f"{part}.negation"
    second = "jamais" if clause.negation == "never" else "pas"
    return [*tokens(("ne",), negation), *core, *tokens((second,), negation)]


def _complements(clause: Clause, part: str, used: set[str]) -> list[Token]:
    verb, words = clause.verb, []
    if verb.complement:
        used.add("avoir idiom")
        words += tokens((verb.complement,), f"{part}.verb")
    if clause.adjective:
        form = _form(clause.adjective, clause.subject.gender, clause.subject.person > 2, "", used)
        words += tokens((form,), f"{part}.adjective")
    if clause.manner:
        words += tokens(clause.manner.french, f"{part}.manner")
    if isinstance(clause.object, NounPhrase):
        if verb.preposition:
            owner = f"{part}.preposition" if verb.particle else f"{part}.verb"
            words += tokens((verb.preposition,), owner)
        words += noun_phrase(
            clause.object,
            f"{part}.object",
            used,
            generic="generic" in verb.traits,
            under_negation=bool(clause.negation) and not verb.preposition,
        )
    return words + _adjuncts(clause, part, used)


def _adjuncts(clause: Clause, part: str, used: set[str]) -> list[Token]:
    words: list[Token] = []
    if clause.place:
        preposition, phrase = clause.place
        words += tokens(PLACES[preposition][0], f"{part}.place.preposition")
        words += noun_phrase(phrase, f"{part}.place", used)
    if clause.time:
        words += tokens(clause.time.french, f"{part}.time")
    return words


def _there_is(clause: Clause, part: str, used: set[str]) -> list[Token]:
    used.add("there is")
    verb = f"{part}.verb"
    core = _negated(tokens(("y", "a"), verb), clause, part, used)
    return [*tokens(("il",), verb), *core, *_complements(clause, part, used)]


def _clause(clause: Clause, part: str, used: set[str]) -> list[Token]:
    if clause.subject is None:
        return _there_is(clause, part, used)
    subject = _subject(clause.subject, f"{part}.subject", used)
    return [*subject, *_verb_group(clause, part, used), *_complements(clause, part, used)]


def _contract(words: list[Token], used: set[str]) -> list[Token]:
    """à + le = au, à + les = aux, de + le = du, de + les = des, unless le is going to be elided."""
    merged = {("à", "le"): "au", ("à", "les"): "aux", ("de", "le"): "du", ("de", "les"): "des"}
    result: list[Token] = []
    for index, word in enumerate(words):
        previous = result[-1] if result else None
        contracted = merged.get((previous.text, word.text)) if previous and word.article else None
        if contracted and not (word.text == "le" and _yields(words[index + 1].text, used)):
            used.add("contraction")
            result[-1] = Token(contracted, previous.parts | word.parts)
        else:
            result.append(word)
    return result


def _elide(words: list[Token], used: set[str]) -> list[Token]:
    result: list[Token] = []
    for word, following in zip(words, [*words[1:], None], strict=True):
        if word.text in _ELIDING and following and _yields(following.text, used):
            used.add("elision")
            word = word._replace(text=word.text[:-1] + "'")
        result.append(word)
    return result


def realise(sentence: Sentence) -> tuple[list[Token], set[str]]:
    """Write the sentence in French, as tokens, and say which of the `PHENOMENA` it shows."""
    used: set[str] = set()
    words: list[Token] = []
    if sentence.question:
        used.add("question")
        if sentence.question != "yes-no":
            words += tokens((QUESTION_WORDS[sentence.question],), "question-word")
        words += tokens(("est-ce", "que"), "question")
    words += _clause(sentence.first, "1", used)
    if sentence.second:
        words += tokens(CONJUNCTIONS[sentence.conjunction], "conjunction")
        words += _clause(sentence.second, "2", used)
    words += tokens(("?" if sentence.question else ".",), "end")
    return _elide(_contract(words, used), used), used
