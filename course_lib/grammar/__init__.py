"""A small English-French grammar: sentence pairs with agreement, elision and movement, in splits that
test new combinations of known words.

    >>> from course_lib import grammar
    >>> pairs = grammar.corpus(seed=0)
    >>> pairs["held_out"][0].french
    "J'aime les pommes."

`lexicon` holds the words, `clause` what a sentence means, `english` and `french` put it into words,
`sampling` draws sentences, `pairs` makes pairs and splits, `words` splits text into word tokens.
"""

from .clause import Clause, Coordination, NounPhrase, Sentence
from .french import PHENOMENA
from .pairs import MAX_PAIRS, MAX_TRAIN_LENGTH, Pair, corpus, held_out_combinations, table, translate
from .words import Vocabulary, detokenise, tokenise

__all__ = [
    "MAX_PAIRS",
    "MAX_TRAIN_LENGTH",
    "PHENOMENA",
    "Clause",
    "Coordination",
    "NounPhrase",
    "Pair",
    "Sentence",
    "Vocabulary",
    "corpus",
    "detokenise",
    "held_out_combinations",
    "table",
    "tokenise",
    "translate",
]
