"""The English side: articles, agreement of the third person, do-support, word order of questions."""

from .clause import Clause, Coordination, NounPhrase, Sentence, Subject, Token, tokens
from .lexicon import Pronoun

_BE = ("am", "are", "is", "are", "are")


def _article(word: str) -> str:
    # The lexicon has no word whose first letter misleads (hour, university).
    return "an" if word[0] in "aeiou" else "a"


def noun_phrase(phrase: NounPhrase, part: str) -> list[Token]:
    noun = phrase.noun.english_plural if phrase.plural else phrase.noun.english
    words = [
        Token(adjective.english, frozenset({f"{part}.adjective{index}"}))
        for index, adjective in enumerate(phrase.adjectives)
    ]
    words.append(Token(noun, frozenset({f"{part}.noun"})))
    determiner = phrase.determiner
    if determiner == "a":
        determiner = _article(words[0].text)
    elif determiner == "this" and phrase.plural:
        determiner = "these"
    return [*tokens((determiner,), f"{part}.determiner"), *words] if determiner else words


def _subject(subject: Subject, part: str) -> list[Token]:
    if isinstance(subject, Pronoun):
        return tokens((subject.subject,), f"{part}.noun")
    if isinstance(subject, Coordination):
        return [
            *noun_phrase(subject.first, f"{part}.first"),
            *tokens(("and",), f"{part}.and"),
            *noun_phrase(subject.second, f"{part}.second"),
        ]
    return noun_phrase(subject, part)


def _verb_group(clause: Clause, part: str, do_part: str) -> tuple[list[Token], list[Token]]:
    """The operator (what "not" follows and questions move) and the other verbs.

    A plain verb has no operator of its own: it borrows do or does where `do_part` says what for.
    """
    verb, person = clause.verb, clause.subject.person
    main, helper = f"{part}.verb", f"{part}.auxiliary"
    base = tokens((verb.base,), main)
    if clause.auxiliary in ("can", "must"):
        return tokens((clause.auxiliary,), helper), base
    if clause.auxiliary == "going":
        return tokens((_BE[person],), helper), tokens(("going", "to"), helper) + base
    if not clause.auxiliary and verb.base == "be":
        return tokens((_BE[person],), main), []
    if clause.auxiliary == "want":
        lemma, third, word_part, rest = "want", "wants", helper, tokens(("to",), helper) + base
    else:
        lemma, third, word_part, rest = verb.base, verb.third, main, []
    is_third = person == 2
    if do_part:
        return tokens(("does" if is_third else "do",), do_part), tokens((lemma,), word_part) + rest
    return [], tokens((third if is_third else lemma,), word_part) + rest


def _complements(clause: Clause, part: str) -> list[Token]:
    # "talk *to*" answers to the French preposition; the "for" of "look for" has nothing to answer to.
    particle_part = f"{part}.preposition" if clause.verb.preposition else f"{part}.verb"
    words: list[Token] = []
    for word in clause.verb.particle:
        is_preposition = word in ("to", "of", "about", "from")
        words += tokens((word,), particle_part if is_preposition else f"{part}.verb")
    if clause.adjective:
        words += tokens((clause.adjective.english,), f"{part}.adjective")
    if isinstance(clause.object, Pronoun):
        words += tokens((clause.object.object,), f"{part}.object")
    elif clause.object:
        words += noun_phrase(clause.object, f"{part}.object")
    return words + _adjuncts(clause, part)


def _adjuncts(clause: Clause, part: str) -> list[Token]:
    words: list[Token] = []
    if clause.manner:
        words += tokens(clause.manner.english, f"{part}.manner")
    if clause.place:
        preposition, phrase = clause.place
        words += tokens((preposition,), f"{part}.place.preposition")
        words += noun_phrase(phrase, f"{part}.place")
    if clause.time:
        words += tokens(clause.time.english, f"{part}.time")
    return words


def _asks(operator: list[Token]) -> list[Token]:
    """Standing before its subject, the verb does the work of est-ce que."""
    return [word._replace(parts=word.parts | {"question"}) for word in operator]


def _there_is(clause: Clause, part: str, is_question: bool) -> list[Token]:
    verb, phrase = f"{part}.verb", clause.object
    be = tokens(("are" if phrase.plural else "is",), verb)
    there = tokens(("there",), verb)
    start = _asks(be) + there if is_question else there + be
    noun = noun_phrase(phrase, f"{part}.object")
    if clause.negation:
        bare = noun[1:] if phrase.determiner else noun
        noun = tokens(("no",), f"{part}.negation", f"{part}.object.determiner") + bare
    return start + noun + _adjuncts(clause, part)


def _clause(clause: Clause, part: str, is_question: bool) -> list[Token]:
    if clause.subject is None:
        return _there_is(clause, part, is_question)
    subject = _subject(clause.subject, f"{part}.subject")
    negation = tokens(("not",), f"{part}.negation") if clause.negation == "not" else []
    adverb = tokens(clause.frequency.english, f"{part}.frequency") if clause.frequency else []
    if clause.negation == "never":
        adverb = tokens(("never",), f"{part}.negation")
    do_part = "question" if is_question else f"{part}.negation" if negation else ""
    operator, rest = _verb_group(clause, part, do_part)
    if is_question:
        operator = _asks(operator)
        words = [*operator, *subject, *negation, *adverb, *rest]
    elif negation and clause.auxiliary == "can":
        cannot = Token("cannot", operator[0].parts | negation[0].parts)
        words = [*subject, cannot, *rest]
    else:
        words = [*subject, *operator, *negation, *adverb, *rest]
    return words + _complements(clause, part)


def realise(sentence: Sentence) -> list[Token]:
    """Write the sentence in English, as tokens."""
    words: list[Token] = []
    if sentence.question and sentence.question != "yes-no":
        words += tokens((sentence.question,), "question-word")
    words += _clause(sentence.first, "1", bool(sentence.question))
    if sentence.second:
        words += tokens((sentence.conjunction,), "conjunction")
        words += _clause(sentence.second, "2", False)
    return words + tokens(("?" if sentence.question else ".",), "end")
