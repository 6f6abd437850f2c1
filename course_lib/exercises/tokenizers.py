"""Notebook 08: pairs, merges and their order, longest match, normalisation, offsets, a tokenizer of one's own."""

import copy
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .engine import Choice, Question, Rejected, exercise, quiz
from .judging import call, function, number, reject_if

_HERE = "course_lib.exercises.references.tokenizers"


# Reading answers --------------------------------------------------------------------------------------------


def _call(answer: Callable, *inputs: Any) -> Any:
    """Call the answer on copies; a list or dictionary that it changes is noticed."""
    given = copy.deepcopy(inputs)
    result = call(answer, *given)
    reject_if(
        given != inputs,
        "it changes what it was given: build a new list or dictionary, because the caller still needs the old one",
        "in-place",
    )
    return result


def _items(value: Any, what: str) -> list:
    """A list, tuple or other sequence of values as a list; text and numbers are none."""
    listed = isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping)
    reject_if(not listed, f"{what} should be a list and is of type {type(value).__name__}", "wrong-type")
    return value.tolist() if isinstance(value, np.ndarray) else list(value)


def _strings(value: Any, what: str) -> list[str]:
    found = _items(value, what)
    strange = [item for item in found if not isinstance(item, str)]
    if strange:
        raise Rejected(
            f"{what} should hold strings only; one of its items is of type {type(strange[0]).__name__}", "wrong-type"
        )
    return [str(item) for item in found]


def _whole_numbers(value: Any, what: str) -> list[int]:
    found = [number(item, f"an item of {what}") for item in _items(value, what)]
    reject_if(any(item != item // 1 for item in found), f"{what} should hold whole numbers only", "wrong-type")
    return [int(item) for item in found]


class _Known(NamedTuple):
    """What a known misconception gives for one case, its name, and what to say."""

    name: str
    value: Any
    message: str


def _diagnose(
    found: Sequence, right: Sequence, known: Sequence[Sequence[_Known]], otherwise: Callable[[int], str]
) -> None:
    """Accept where `found` is `right` in every case; else name the misconception that explains all cases, or the first.

    `known` lists the same misconceptions for each case, in the same order.
    """
    wrong = [i for i in range(len(right)) if found[i] != right[i]]
    if not wrong:
        return
    for explanations in zip(*known, strict=True):
        if all(one.value == found[i] for i, one in enumerate(explanations)):
            raise Rejected(explanations[wrong[0]].message, explanations[0].name)
    for one in known[wrong[0]]:
        reject_if(one.value == found[wrong[0]], one.message, one.name)
    raise Rejected(otherwise(wrong[0]), "value")


def _shown(tokens: Iterable[str]) -> str:
    return " ".join(tokens) or "nothing"


# 08.1 -------------------------------------------------------------------------------------------------------


@exercise(
    "08.1",
    title="Three merges on paper",
    minutes=6,
    difficulty=1,
    hints=(
        "In which of the four words do t and e stand side by side, in this order? How often does each word occur?",
        "A pair counts as often as the words that hold it, added up. After the first merge spell every word anew: "
        "tea is now te a, and only what is still separate can be counted.",
        "tea, ten and tent hold t e: 6 + 5 + 3. Then te n is in ten and tent: 5 + 3; te a is in tea: 6; e a is left in "
        "eat alone. A new word goes through the three merges in their order: t e a t e n t becomes te a te n t.",
    ),
    reference=f"{_HERE}:tea_by_hand",
)
def judge_tea_by_hand(answer):
    reject_if(not isinstance(answer, Mapping), "a dictionary with six entries is asked for", "wrong-type")
    _judge_count(
        answer,
        "t e",
        14,
        {
            3: ("words-not-occurrences", "three different words hold it; count each as often as it occurs: 6 + 5 + 3"),
            18: (
                "order-ignored",
                "18 is how often a t and an e are in one word; in eat they do not stand side by side in this order",
            ),
            17: ("overlap", "tent has one t e; its second t is followed by nothing"),
        },
    )
    _judge_pair(answer, "first merge", ("t", "e"), "14 is the largest count: t with e")
    _judge_count(
        answer,
        "e a",
        4,
        {
            10: (
                "not-updated",
                "10 was its count before the first merge; in tea the e now belongs to te, so only eat counts",
            ),
            1: ("words-not-occurrences", "one word still holds it, and it occurs 4 times"),
            6: ("wrong-word", "6 times tea; there the e now belongs to te. Which word still has an e of its own?"),
        },
    )
    _judge_pair(answer, "second merge", ("te", "n"), "te n is in ten and tent, 5 + 3 = 8; te a is in tea alone, 6")
    _judge_pair(
        answer,
        "third merge",
        ("te", "a"),
        "what is left: te a 6, e a 4, a t 4, ten t 3; the first of them is the most frequent",
    )
    tokens = _strings(_entry(answer, "teatent"), "`teatent`")
    reject_if(
        tokens == ["te", "a", "te", "n", "t"],
        "that is after the first merge; go on with te n and te a",
        "merges-not-finished",
    )
    reject_if(
        tokens == ["tea", "tent"] or "tent" in tokens,
        "no merge so far made tent: ten t was counted 3 times and would come later",
        "token-not-learnt",
    )
    reject_if(
        "".join(tokens) != "teatent",
        f"put together, your tokens give {''.join(tokens)!r}; they must give teatent",
        "not-a-split",
    )
    reject_if(
        tokens != ["tea", "ten", "t"],
        f"{_shown(tokens)} is not what the three merges give: apply t e everywhere, then te n, then te a",
        "value",
    )
    return "each merge takes away from the counts of others: e a fell from 10 to 4 when t e was merged"


def _entry(answer: Mapping, name: str) -> Any:
    reject_if(name not in answer, f"the entry `{name}` is missing", "missing")
    value = answer[name]
    blank = value is ... or value is None or (isinstance(value, list | tuple) and any(part is ... for part in value))
    reject_if(blank, f"`{name}` still has an empty place; what is above it is right", "not-finished")
    return value


def _judge_count(answer: Mapping, name: str, right: int, mistakes: dict[int, tuple[str, str]]) -> None:
    found = number(_entry(answer, name), f"`{name}`")
    if found in mistakes:
        misconception, message = mistakes[int(found)]
        raise Rejected(message, misconception)
    reject_if(found != right, f"count `{name}` once more: {found:g} is not it", "value")


def _judge_pair(answer: Mapping, name: str, right: tuple[str, str], why: str) -> None:
    value = _entry(answer, name)
    reject_if(
        isinstance(value, str),
        f"`{name}` should be a pair of tokens, such as ('a', 'b'), and not the token they make",
        "not-a-pair",
    )
    pair = tuple(_strings(value, f"`{name}`"))
    reject_if(pair == right[::-1], f"`{name}` has its two tokens in the wrong order", "order-ignored")
    reject_if(
        name != "first merge" and pair == ("e", "a"),
        f"`{name}`: e a was frequent before the first merge; now te holds most of these e. {why}",
        "not-updated",
    )
    reject_if(pair != right, f"`{name}` is not {_shown(pair)}: {why}", "value")


# 08.2 -------------------------------------------------------------------------------------------------------

_WORDS = [
    {("s", "e", "a"): 3, ("s", "e", "a", "t"): 4, ("e", "a", "t"): 5, ("t", "e", "a"): 2},
    {("a", "a", "a", "b"): 7, ("b",): 11, ("a", "b", "a", "b"): 2},
    {("th", "e"): 13, ("Ġ", "th", "e", "n"): 5, ("t", "h", "e"): 3},
]
_PAIRS = [
    {("s", "e"): 7, ("e", "a"): 14, ("a", "t"): 9, ("t", "e"): 2},
    {("a", "a"): 14, ("a", "b"): 11, ("b", "a"): 2},
    {("th", "e"): 18, ("Ġ", "th"): 5, ("e", "n"): 5, ("t", "h"): 3, ("h", "e"): 3},
]


@exercise(
    "08.2",
    title="Count pairs",
    minutes=5,
    difficulty=2,
    hints=(
        "A word of n tokens has n - 1 pairs. By how much does one word with the count 5 raise the count of each?",
        "Loop over `words.items()`, inside it over the neighbours of the word, and add the count of the word.",
        "`for word, count in words.items(): for pair in pairwise(word): counts[pair] += count`, with `counts = "
        "Counter()` before and `return counts` after.",
    ),
    reference=f"{_HERE}:count_pairs",
)
def judge_count_pairs(answer):
    count_pairs = function(answer, "count_pairs")
    found = [_counts(_call(count_pairs, words)) for words in _WORDS]

    def otherwise(i: int) -> str:
        pairs = sorted({*_PAIRS[i], *found[i]})
        pair = next(pair for pair in pairs if _PAIRS[i].get(pair) != found[i].get(pair))
        words = ", ".join(f"{' '.join(word)} ({count})" for word, count in _WORDS[i].items())
        return (
            f"{_shown(map(str, pair))} is counted {found[i].get(pair, 0)} times and occurs {_PAIRS[i].get(pair, 0)} "
            f"times in {words}"
        )

    _diagnose(found, _PAIRS, [_count_mistakes(words) for words in _WORDS], otherwise)
    return "each pair counts as often as its word"


def _counts(result: Any) -> dict[tuple[str, ...], int]:
    """What the learner returned, without pairs counted 0 times."""
    reject_if(
        not isinstance(result, Mapping),
        f"a dictionary from pairs to counts is asked for, and this is of type {type(result).__name__}",
        "wrong-type",
    )
    strange = [pair for pair in result if not isinstance(pair, tuple)]
    if strange:
        raise Rejected(
            f"its keys should be pairs, ('s', 'e'); one is of type {type(strange[0]).__name__}: a token may have "
            "several characters, so 'the' would not say which two it is made of",
            "joined-keys",
        )
    counts = {
        tuple(map(str, pair)): number(count, f"the count of {_shown(map(str, pair))}") for pair, count in result.items()
    }
    return {pair: int(count) for pair, count in counts.items() if count}


def _count_mistakes(words: Mapping[tuple[str, ...], int]) -> list[_Known]:
    """Counts under each known mistake."""
    unweighted, once, last, letters = Counter(), Counter(), {}, Counter()
    disjoint, running = Counter(), Counter()
    previous = None
    for word, count in words.items():
        pairs = [word[i : i + 2] for i in range(len(word) - 1)]
        for pair in pairs:
            unweighted[pair] += 1
            last[pair] = count
        for pair in set(pairs):
            once[pair] += count
        for i, pair in enumerate(pairs):
            if i % 2 == 0:
                disjoint[pair] += count
        text = "".join(word)
        for i in range(len(text) - 1):
            letters[text[i], text[i + 1]] += count
        for token in word:
            if previous is not None:
                running[previous, token] += count
            previous = token
    return [
        _Known("not-weighted", dict(unweighted), "each word is counted once; add the count of the word instead of 1"),
        _Known("overwritten", last, "a later word replaces the count of an earlier one: add with `+=`"),
        _Known(
            "once-per-word",
            dict(once),
            "a pair that a word holds twice counts twice: in a a a b the pair a a stands at two places",
        ),
        _Known("every-second", dict(disjoint), "you step over every second pair: e a is a pair in s e a, too"),
        _Known(
            "characters",
            dict(letters),
            "you count characters; a token may have several, as th has: take the items of the tuple",
        ),
        _Known(
            "across-words",
            dict(running),
            "you also pair the last token of a word with the first of the next; a token never crosses a word's border",
        ),
    ]


# 08.3 -------------------------------------------------------------------------------------------------------

_MERGED = [
    (("s", "e", "a", "t"), ("e", "a")),
    (("a", "a", "a", "b", "a", "a"), ("a", "a")),
    (("t", "h", "e", "t", "h"), ("t", "h")),
    (("th", "e", "t", "he"), ("th", "e")),
    (("b", "c"), ("a", "b")),
    (("x",), ("x", "x")),
    (("a", "b", "a", "b", "b", "a"), ("b", "a")),
    (("a",) * 7, ("a", "a")),
]


@exercise(
    "08.3",
    title="The merge step",
    minutes=5,
    difficulty=2,
    hints=(
        "Walk through the word with an index. By how much does it move on after a merge, and by how much otherwise?",
        "At each place compare the token and the next with the pair. If they are equal, append the two together and go "
        "on by 2; else append the one token and go on by 1.",
        "`if tuple(word[i : i + 2]) == pair: merged.append(word[i] + word[i + 1]); i += 2`, `else: "
        "merged.append(word[i]); i += 1`, inside `while i < len(word)`.",
    ),
    reference=f"{_HERE}:merge_pair",
)
def judge_merge_pair(answer):
    merge_pair = function(answer, "merge_pair")
    found = [tuple(_strings(_call(merge_pair, word, pair), "the merged word")) for word, pair in _MERGED]
    right = [_replaced(word, pair) for word, pair in _MERGED]

    def otherwise(i: int) -> str:
        word, pair = _MERGED[i]
        return f"merging {_shown(pair)} in {_shown(word)} should give {_shown(right[i])}, and gives {_shown(found[i])}"

    _diagnose(found, right, [_merge_mistakes(word, pair) for word, pair in _MERGED], otherwise)
    return "all places, from the left, none of them overlapping"


def _replaced(word: Sequence[str], pair: Sequence[str]) -> tuple[str, ...]:
    """Merge by str.replace: every token is one character of a private alphabet."""
    tokens = [*dict.fromkeys([*word, *pair]), pair[0] + pair[1]]
    if tokens[-1] in tokens[:-1]:
        tokens.pop()
    alphabet = {token: chr(0xE000 + i) for i, token in enumerate(tokens)}
    spelled = "".join(alphabet[token] for token in word)
    spelled = spelled.replace(alphabet[pair[0]] + alphabet[pair[1]], alphabet[pair[0] + pair[1]])
    back = {char: token for token, char in alphabet.items()}
    return tuple(back[char] for char in spelled)


def _merge_mistakes(word: tuple[str, ...], pair: tuple[str, str]) -> list[_Known]:
    left, right = pair
    joined = left + right
    first = next((i for i in range(len(word) - 1) if word[i : i + 2] == pair), None)
    first_only = word if first is None else (*word[:first], joined, *word[first + 2 :])
    overlapping: list[str] = []
    for i, token in enumerate(word):
        overlapping.append(joined if word[i : i + 2] == pair else token)
    left_over: list[str] = []
    for i, token in enumerate(word):
        left_over += [joined, token] if word[i : i + 2] == pair else [token]
    reversed_pair = right[::-1], left[::-1]
    from_the_right = tuple(
        token[::-1] for token in reversed(_replaced([token[::-1] for token in reversed(word)], reversed_pair))
    )
    spelled = "".join(word).replace(joined, f"\0{joined}\0").split("\0")
    in_text = tuple(part for chunk in spelled for part in ([chunk] if chunk == joined else chunk))
    lost_last = _replaced(word, pair)[:-1] if word[-2:] != pair else _replaced(word, pair)
    return [
        _Known("first-only", first_only, f"only the first {_shown(pair)} of {_shown(word)} is merged; merge every one"),
        _Known("from-the-right", from_the_right, f"{_shown(word)} is merged from the right; start at the left"),
        _Known(
            "overlapping",
            tuple(overlapping),
            "after a merge its second token is still there, or is used again: go on by 2, not by 1",
        ),
        _Known("not-consumed", tuple(left_over), "the merged token is added but its parts stay: leave them out"),
        _Known(
            "in-the-text",
            in_text,
            f"you search in the text of the word; {_shown(word)} is a row of tokens, and only two whole neighbours "
            "are a pair",
        ),
        _Known("last-lost", lost_last, f"the last token of {_shown(word)} is lost: it has no neighbour, but it stays"),
        _Known("unchanged", word, f"{_shown(pair)} is in {_shown(word)} and was not merged"),
        _Known("reversed", _replaced(word, (right, left)), "you merge the pair the other way round: order counts"),
    ]


# 08.4 -------------------------------------------------------------------------------------------------------

# Learnt in this order; a merge that is listed later is applied later.
_ENCODED: list[tuple[str, list[tuple[str, str]]]] = [
    ("eat", [("a", "t"), ("e", "a")]),
    ("seat", [("e", "a"), ("ea", "t"), ("s", "e")]),
    ("banana", [("a", "n"), ("an", "a"), ("b", "an")]),
    ("aaaaa", [("a", "a"), ("aa", "a"), ("aa", "aa")]),
    ("abcabcd", [("b", "c"), ("c", "d"), ("a", "b"), ("a", "bc"), ("abc", "abc")]),
    ("quiz", [("e", "a")]),
    ("flat", [("a", "t"), ("f", "l"), ("l", "a")]),
    ("retest", [("s", "t"), ("e", "st"), ("t", "est"), ("r", "e"), ("re", "t")]),
]


@exercise(
    "08.4",
    title="The wrong merge first",
    minutes=7,
    difficulty=3,
    hints=(
        "Two merges apply to eat: a t, learnt first, and e a. Which of them does the code below take, and why?",
        "`merges` is in the order in which they were learnt. Of all pairs of the word that have a merge take the one "
        "that stands first in `merges`, not the one that stands first in the word.",
        "`ranks = {pair: rank for rank, pair in enumerate(merges)}`; collect the places `i` whose pair is in `ranks`, "
        "stop if there are none, and take `min(places, key=lambda i: ranks[tokens[i], tokens[i + 1]])`.",
    ),
    reference=f"{_HERE}:encode_word",
    starts_broken=True,
)
def judge_encode_word(answer):
    encode_word = function(answer, "encode_word")
    found = [_strings(_call(encode_word, word, merges), "the list of tokens") for word, merges in _ENCODED]
    right = [_by_rank(word, merges) for word, merges in _ENCODED]

    def otherwise(i: int) -> str:
        word, merges = _ENCODED[i]
        listed = ", ".join(_shown(pair) for pair in merges)
        return (
            f"with the merges {listed}, in this order, {word} should become {_shown(right[i])} and becomes "
            f"{_shown(found[i])}"
        )

    _diagnose(found, right, [_encode_mistakes(word, merges) for word, merges in _ENCODED], otherwise)
    return "the merge that was learnt first is applied first, wherever in the word it stands"


def _by_rank(word: str, merges: Sequence[tuple[str, str]]) -> list[str]:
    """One merge after the other, in their order; enough for these lists, where a token is made in one way only."""
    tokens: tuple[str, ...] = tuple(word)
    for pair in merges:
        tokens = _replaced(tokens, pair)
    return list(tokens)


def _encode_mistakes(word: str, merges: list[tuple[str, str]]) -> list[_Known]:
    def repeatedly(choose: Callable[[list[int], list[str]], int]) -> list[str]:
        tokens = list(word)
        while places := [i for i in range(len(tokens) - 1) if (tokens[i], tokens[i + 1]) in merges]:
            i = choose(places, tokens)
            tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
        return tokens

    def rank(i: int, tokens: list[str]) -> int:
        return merges.index((tokens[i], tokens[i + 1]))

    listed = ", ".join(_shown(pair) for pair in merges)
    vocab = {*word, *(left + right for left, right in merges)}
    one_pass: list[str] = list(word)
    for left, right in merges:
        for i in range(len(one_pass) - 1):
            if one_pass[i : i + 2] == [left, right]:
                one_pass[i : i + 2] = [left + right]
                break
    return [
        _Known(
            "leftmost-first",
            repeatedly(lambda places, tokens: places[0]),
            f"in {word} the leftmost pair with a merge is taken; of the merges {listed} the one that was learnt first "
            "goes first, wherever it stands",
        ),
        _Known(
            "rightmost-first",
            repeatedly(lambda places, tokens: places[-1]),
            f"in {word} the rightmost pair with a merge is taken; take the one that was learnt first",
        ),
        _Known(
            "latest-first",
            repeatedly(lambda places, tokens: max(places, key=lambda i: rank(i, tokens))),
            f"in {word} the merge that was learnt last goes first; take the smallest rank, not the largest",
        ),
        _Known(
            "right-among-equals",
            repeatedly(lambda places, tokens: min(places, key=lambda i: (rank(i, tokens), -i))),
            f"the rank is right; but where one merge applies at several places of {word}, begin at the left",
        ),
        _Known(
            "longest-match",
            _matched(word, vocab, lambda token, start: token),
            f"{word} is cut by the longest token that fits, as WordPiece does; BPE applies merges in their order",
        ),
        _Known("once-each", one_pass, f"each merge is applied at one place of {word} only; go on until none applies"),
        _Known("unchanged", list(word), f"nothing is merged in {word}"),
    ]


# 08.5 -------------------------------------------------------------------------------------------------------

_VOCAB = [
    "[UNK]", "un", "una", "##aff", "##ffa", "##ble", "##a", "##f", "need", "needles", "##lessly", "##sl",
    "##y", "token", "##ization", "##s", "a", "b", "##b", "able", "play", "##ing", "##in", "ing", "##ings", "zo",
    "zoo", "##om", "##o", "é", "##é",
]  # fmt: skip
_MATCHED = ["unaffable", "needlessly", "tokenizations", "playing", "a", "ab", "playings", "abx", "xa", "ing", "zoo",
            "zoom", "éé"]  # fmt: skip


@exercise(
    "08.5",
    title="Longest match",
    minutes=7,
    difficulty=3,
    hints=(
        "For the rest of the word that begins at `start`: which candidates are there, and in which order do you try "
        "them? What does a candidate look like when `start` is not 0?",
        "Try `end` from `len(word)` down to `start + 1`. The first candidate in the vocabulary is the longest: append "
        "it and go on at `end`. If no candidate fits, the whole word is `['[UNK]']`.",
        "`for end in range(len(word), start, -1): token = ('##' if start else '') + word[start:end]; if token in "
        "vocab: break`, with `else: return ['[UNK]']` on the for loop; then append, and `start = end`.",
    ),
    reference=f"{_HERE}:longest_match",
)
def judge_longest_match(answer):
    longest_match = function(answer, "longest_match")
    vocab = {token: i for i, token in enumerate(_VOCAB)}
    found = [_strings(_call(longest_match, word, vocab), "the list of tokens") for word in _MATCHED]
    right = [_matched(word, _VOCAB) for word in _MATCHED]
    _diagnose(
        found,
        right,
        [_match_mistakes(word) for word in _MATCHED],
        lambda i: f"{_MATCHED[i]} should become {_shown(right[i])} and becomes {_shown(found[i])}",
    )
    return "the longest token first, without looking ahead and without going back"


def _with_marks(token: str, start: int) -> str:
    return f"##{token}" if start else token


def _matched(
    word: str,
    vocab: Iterable[str],
    spelled: Callable[[str, int], str] = _with_marks,
    longest: bool = True,
    unknown: Callable[[list[str]], list[str]] = lambda tokens: ["[UNK]"],
) -> list[str]:
    """Longest match by regular expressions: of an alternation the first that fits is taken."""
    starting = [token for token in vocab if not token.startswith("##")]
    continuing = [token.removeprefix("##") for token in vocab if spelled(token.removeprefix("##"), 1) == token]
    patterns = [
        re.compile("|".join(map(re.escape, sorted(tokens, key=len, reverse=longest))))
        for tokens in (starting, continuing)
    ]
    tokens: list[str] = []
    start = 0
    while start < len(word):
        match = patterns[start > 0].match(word, start)
        if match is None:
            return unknown(tokens)
        tokens.append(spelled(match[0], start))
        start = match.end()
    return tokens


def _fewest(word: str) -> list[str]:
    """The fewest tokens that write the word, by dynamic programming."""
    best: list[list[str] | None] = [[]] + [None] * len(word)
    for end in range(1, len(word) + 1):
        for start in range(end):
            token = _with_marks(word[start:end], start)
            ways = best[start]
            if token in _VOCAB and ways is not None and (best[end] is None or len(ways) + 1 < len(best[end])):
                best[end] = [*ways, token]
    return best[-1] or ["[UNK]"]


def _match_mistakes(word: str) -> list[_Known]:
    right = _matched(word, _VOCAB)
    return [
        _Known(
            "marks-left-out",
            [token.removeprefix("##") for token in right],
            "a token that continues a word is spelled with ## in front; yours are not",
        ),
        _Known(
            "marks-not-used",
            _matched(word, _VOCAB, lambda token, start: token),
            f"inside a word only tokens with ## count: {word} is searched without them",
        ),
        _Known(
            "partly-unknown",
            _matched(word, _VOCAB, unknown=lambda tokens: [*tokens, "[UNK]"]),
            f"{word} cannot be written to its end, so the whole word is one [UNK]; the tokens before go too",
        ),
        _Known(
            "partly-known",
            _matched(word, _VOCAB, unknown=lambda tokens: tokens),
            f"{word} cannot be written to its end, so the whole word is [UNK]; the rest must not get lost",
        ),
        _Known(
            "nothing-for-unknown",
            _matched(word, _VOCAB, unknown=lambda tokens: []),
            f"{word} cannot be written with this vocabulary: the answer is ['[UNK]'], not nothing",
        ),
        _Known(
            "shortest-first",
            _matched(word, _VOCAB, longest=False),
            f"{word} is cut by the shortest token that fits; try the longest first",
        ),
        _Known(
            "looks-ahead",
            _fewest(word),
            f"{_shown(_fewest(word))} is what looking ahead or going back finds for {word}; WordPiece does "
            f"neither: it takes the longest token at each place, which here gives {_shown(right)}",
        ),
    ]


# 08.6, 08.7 -------------------------------------------------------------------------------------------------

# Written out, not computed. "e\u0301" is e and a combining accent.
_NORMALISED = {
    "Café": "cafe",
    "CAFE\u0301": "cafe",
    "Zürich, Ångström": "zurich, angstrom",
    "ÉLÈVE": "eleve",
    "Straße": "straße",
    "ﬁn ² ½": "ﬁn ² ½",
    "Ωμέγα": "ωμεγα",
    "Ế q\u0307\u0323": "e q",
    "中文 Œuvre ø ł": "中文 œuvre ø ł",
    "की": "क\u0940",  # the vowel sign is a mark that takes space, Mc, and no accent
    "각": "\u1100\u1161\u11a8",
    "I'm 42!": "i'm 42!",
    "": "",
}


@exercise(
    "08.6",
    title="The normaliser",
    minutes=5,
    difficulty=2,
    hints=(
        "é is one character. How do you get its accent off without a table of all accented letters?",
        "Three steps: `unicodedata.normalize` with the form NFD takes é apart into e and an accent; drop the "
        "characters whose `unicodedata.category` is Mn; lower-case what is left.",
        '`"".join(char for char in unicodedata.normalize("NFD", text) if unicodedata.category(char) != "Mn").lower()`',
    ),
    reference=f"{_HERE}:normalise",
)
def judge_normalise(answer):
    normalise = function(answer, "normalise")
    for text, right in _NORMALISED.items():
        found = _call(normalise, text)
        reject_if(not isinstance(found, str), f"a string is asked for, not {type(found).__name__}", "wrong-type")
        _judge_normalised(str(found), text, right)
    return "taken apart, accents dropped, small letters; what is no accent stays"


def _judge_normalised(found: str, text: str, right: str) -> None:
    if found == right:
        return
    shown = f"{ascii(text)[1:-1]} ({text})"
    reject_if(
        "ß" in right and "ss" in found,
        "straße became strasse: `casefold` replaces letters; `lower` makes them small",
        "casefold",
    )
    reject_if("ﬁ" in right and "fi" in found, "ﬁ became fi and ² became 2: that is NFKD; NFD keeps them", "nfkd")
    reject_if(
        found.lower() == right and found != right, f"{shown} is not in small letters everywhere", "not-lower-case"
    )
    reject_if(
        right == "क\u0940" and found == "क",
        "the vowel sign of की is gone. It is a mark of category Mc, which takes space and is no accent: drop Mn only",
        "all-marks",
    )
    reject_if(
        right.startswith("\u1100") and found == "각",
        "각 is to be taken apart as well, into three letters: NFC, or looking up accented letters, leaves it whole",
        "not-decomposed",
    )
    reject_if(
        bool(right) and len(found) < len(right),
        f"{shown} became {found!r}: {len(right) - len(found)} characters that are no accents are gone",
        "too-much-dropped",
    )
    reject_if(
        len(found) > len(right) or any(char in found.lower() for char in "éüåèếέ"),
        f"{shown} became {found!r} and still has its accents: take characters apart first (NFD), and drop the accents",
        "accents-stay",
    )
    raise Rejected(f"{shown} should become {right!r} and becomes {found!r}", "value")


_ORIGINS = {
    "Café au lait": list(range(12)),
    "e\u0301te\u0301": [0, 2, 3],
    "Ế q\u0307\u0323x": [0, 1, 2, 5],
    "각a": [0, 0, 0, 1],
    "\u0301a": [1],
    "中é": [0, 1],
    "": [],
}


@exercise(
    "08.7",
    title="Where a character came from",
    minutes=6,
    difficulty=3,
    hints=(
        "Which character of the text does each character of the result come from? Go through the text one character at "
        "a time, with its place.",
        "For each place and character: take the character apart, skip its accents, and note the place once for each "
        "character that you keep.",
        "`for place, char in enumerate(text): for part in unicodedata.normalize('NFD', char): if "
        "unicodedata.category(part) != 'Mn': normalised += part.lower(); origins.append(place)`",
    ),
    reference=f"{_HERE}:normalise_with_origins",
)
def judge_origins(answer):
    normalise = function(answer, "normalise_with_origins")
    for text, right in _ORIGINS.items():
        result = _call(normalise, text)
        reject_if(
            not isinstance(result, tuple | list) or len(result) != 2,
            "it should return two things: the normalised text and the list of origins",
            "not-two",
        )
        normalised, origins = result
        reject_if(not isinstance(normalised, str), "the first of the two should be the normalised text", "wrong-type")
        origins = _whole_numbers(origins, "the origins")
        expected = {**_NORMALISED, "Café au lait": "cafe au lait", "e\u0301te\u0301": "ete", "Ế q\u0307\u0323x": "e qx",
                    "각a": "\u1100\u1161\u11a8a", "\u0301a": "a", "中é": "中e"}[text]  # fmt: skip
        _judge_normalised(normalised, text, expected)
        if origins == right:
            continue
        shown = f"{ascii(text)[1:-1]} ({text})"
        reject_if(
            len(origins) == len(text) != len(right),
            f"{shown}: you note a place for each character of the text, {len(origins)}; the result has "
            f"{len(right)} characters, and each needs the place that it comes from",
            "accents-counted",
        )
        reject_if(
            origins == list(range(len(right))),
            f"{shown}: these are places in the result; where a character was dropped or one became several, the "
            "places in the original are others",
            "places-in-result",
        )
        reject_if(
            len(origins) != len(normalised),
            f"{shown}: {len(normalised)} characters and {len(origins)} origins; each character needs one",
            "not-one-each",
        )
        reject_if(
            [place - 1 for place in origins] == right, f"{shown}: the origins are 1 too large; count from 0", "from-1"
        )
        if len(text.encode()) != len(text):
            starts = [len(text[:place].encode()) for place in range(len(text))]
            reject_if(
                origins == [starts[place] for place in right],
                f"{shown}: these are places of bytes; offsets count characters of the string",
                "bytes",
            )
        raise Rejected(f"{shown} should have the origins {right} and has {origins}", "value")
    return "whatever the normaliser did, every character still knows its place in the original"


# 08.8 -------------------------------------------------------------------------------------------------------

_SPANS: list[tuple[list[tuple[int, int]], int, int]] = [
    ([(0, 3), (4, 6), (6, 9), (10, 12)], 4, 9),
    ([(0, 3), (4, 6), (6, 9), (10, 12)], 5, 7),
    ([(0, 3), (4, 6), (6, 9), (10, 12)], 0, 3),
    ([(0, 3), (4, 6), (6, 9), (10, 12)], 3, 4),
    ([(0, 0), (0, 3), (4, 6), (0, 0)], 0, 5),
    ([(0, 2), (2, 4), (4, 6)], 2, 4),
    ([(0, 10), (10, 20)], 3, 5),
    ([(0, 1), (0, 1), (0, 1), (1, 2)], 0, 1),
    ([], 0, 4),
]


@exercise(
    "08.8",
    title="From characters to tokens",
    minutes=5,
    difficulty=2,
    hints=(
        "When do the spans from a to b and from c to d have a character in common? Draw both on a line. The ends are "
        "not part of the spans.",
        "They share one if each begins before the other ends. Two spans that only touch, such as (0, 3) and (3, 5), "
        "share none.",
        "`[i for i, (first, last) in enumerate(offsets) if first < end and last > start]`",
    ),
    reference=f"{_HERE}:tokens_of_span",
)
def judge_tokens_of_span(answer):
    tokens_of_span = function(answer, "tokens_of_span")
    found = [
        _whole_numbers(_call(tokens_of_span, offsets, start, end), "the list of tokens")
        for offsets, start, end in _SPANS
    ]
    right = [
        [i for i, span in enumerate(offsets) if set(range(start, end)) & set(range(*span))]
        for offsets, start, end in _SPANS
    ]

    def otherwise(i: int) -> str:
        offsets, start, end = _SPANS[i]
        return (
            f"of the offsets {offsets} those of the tokens {right[i]} share a character with {start} to {end}; you "
            f"found {found[i]}"
        )

    _diagnose(found, right, [_span_mistakes(*case) for case in _SPANS], otherwise)
    return "every token that holds at least one of the characters"


def _span_mistakes(offsets: list[tuple[int, int]], start: int, end: int) -> list[_Known]:
    where = f"characters {start} to {end} among the offsets {offsets}"

    def chosen(rule: Callable[[int, int], bool]) -> list[int]:
        return [i for i, span in enumerate(offsets) if rule(*span)]

    overlap = chosen(lambda first, last: max(first, start) < min(last, end))
    return [
        _Known(
            "inside-only",
            chosen(lambda first, last: start <= first and last <= end),
            f"{where}: a token that reaches over the edge holds some of the characters, and counts",
        ),
        _Known(
            "inside-only",
            chosen(lambda first, last: start <= first < last <= end),
            f"{where}: a token that reaches over the edge holds some of the characters, and counts",
        ),
        _Known(
            "touching",
            chosen(lambda first, last: first <= end and last >= start),
            f"{where}: a span ends before its second number, so one that only touches shares nothing. Use < and >",
        ),
        _Known(
            "touching-left",
            chosen(lambda first, last: first < end and last >= start),
            f"{where}: a token that ends where the span begins shares nothing, and (0, 0) is the empty span of a "
            "special token",
        ),
        _Known(
            "touching-right",
            chosen(lambda first, last: first <= end and last > start),
            f"{where}: a token that begins where the span ends shares nothing",
        ),
        _Known(
            "first-and-last-only",
            [overlap[0], overlap[-1]] if overlap else [],
            f"{where}: all tokens are asked for, not the first and the last",
        ),
        _Known(
            "begins-inside",
            chosen(lambda first, last: start <= first < end),
            f"{where}: a token may begin before the span and reach into it, and a special token's (0, 0) holds nothing",
        ),
        _Known("from-1", [i + 1 for i in overlap], f"{where}: tokens are counted from 0"),
    ]


# 08.9 -------------------------------------------------------------------------------------------------------

_SHORTEST_TEXT = 300
_FEWEST_MERGES = 20
_PROBES = ("naïve café, 10 €", "中文 👩‍👧 \x00\n\t end ", "  two spaces")


@exercise(
    "08.9",
    title="Your own tokenizer",
    minutes=8,
    difficulty=2,
    hints=(
        "Which text do you know well enough to recognise its pieces: an e-mail, a poem, a program, your thesis?",
        "Put it between triple quotes. `BPETokenizer.train` takes a list of texts and the size of the vocabulary; 256 "
        "of that are the bytes, the rest are merges.",
        '`{"text": my_text, "tokenizer": BPETokenizer.train([my_text], vocab_size=400)}`, where `my_text` is yours.',
    ),
    reference=f"{_HERE}:my_own",
)
def judge_my_own(answer):
    reject_if(not isinstance(answer, Mapping), "a dictionary with a text and a tokenizer is asked for", "wrong-type")
    text, tokenizer = _entry(answer, "text"), _entry(answer, "tokenizer")
    reject_if(not isinstance(text, str), f"`text` should be a string, not {type(text).__name__}", "wrong-type")
    reject_if(
        len(text) < _SHORTEST_TEXT,
        f"{len(text)} characters are too few to learn from: take at least {_SHORTEST_TEXT}, a few paragraphs",
        "text-too-short",
    )
    reject_if(
        isinstance(tokenizer, type) or not all(hasattr(tokenizer, name) for name in ("encode", "decode", "vocab")),
        f"`tokenizer` should be what `BPETokenizer.train` returns, and is of type {type(tokenizer).__name__}",
        "wrong-type",
    )
    for probe in (text, *_PROBES):
        decoded = call(tokenizer.decode, call(tokenizer.encode, probe).ids)
        reject_if(
            decoded != probe,
            "decoding what it encoded does not give the text back: a byte-level BPE loses nothing, not even of text "
            "that it has never seen. Is it a BPETokenizer?",
            "lossy",
        )
    merges = [tuple(_strings(pair, "a merge")) for pair in _items(getattr(tokenizer, "merges", []), "`merges`")]
    reject_if(
        len(merges) < _FEWEST_MERGES,
        f"it has learnt {len(merges)} merges; take at least {_FEWEST_MERGES}, so a vocab_size of "
        f"{256 + _FEWEST_MERGES} or more, and a text in which something repeats",
        "few-merges",
    )
    tokens = _strings(call(tokenizer.encode, text).tokens, "the tokens")
    spelled = "".join(tokens)
    foreign = [left + right for left, right in merges if left + right not in spelled]
    reject_if(
        bool(foreign),
        f"{len(foreign)} of its {len(merges)} tokens do not occur in your text, {foreign[0]!r} for one: it was trained "
        "on another text. Train it on this one"
        if foreign
        else "",
        "other-text",
    )
    size = len(text.encode("utf-8"))
    longest = max(tokens, key=len)
    return (
        f"{size:,} bytes in {len(tokens):,} tokens, {size / len(tokens):.1f} bytes for each; the longest token of your "
        f"text is `{longest}`"
    )


quiz(
    "08",
    Question(
        "A byte-level BPE meets a word that its training text never contained. What comes out?",
        (
            Choice("The token [UNK]", "WordPiece does that. All 256 bytes are tokens here, so nothing is unknown."),
            Choice(
                "Shorter pieces, at worst single bytes",
                "Merges apply as far as they go, and what is left are bytes, which are always in the vocabulary.",
            ),
            Choice("An error", "Every text is made of bytes, and each byte has a token."),
            Choice("The most similar word", "A tokenizer compares spellings only; it knows nothing of meaning."),
        ),
        right=1,
    ),
    Question(
        "Two merges apply to a word: one was learnt as the 10th, the other as the 2,000th, further left. "
        "Which goes first?",
        (
            Choice("The one further left", "Place decides only between two places of the same merge."),
            Choice("The one that makes the longer token", "Length plays no part in BPE; it does in WordPiece."),
            Choice(
                "The 10th",
                "Encoding repeats training: what was merged earlier there is merged earlier here.",
            ),
        ),
        right=2,
    ),
    Question(
        "A prompt for SmolLM2 ends with a space. Why does that spoil the answer?",
        (
            Choice(
                "The space has become a token of its own",
                "In training the space belonged to the next word, `ĠParis`. After a lone `Ġ` that word is no longer "
                "the usual continuation.",
            ),
            Choice("Spaces are removed, so nothing is left to predict", "A byte-level BPE keeps every space."),
            Choice("The model counts characters", "It sees ids. A space more is one id more, and an unusual one."),
        ),
        right=0,
    ),
    Question(
        "What can an uncased WordPiece tokenizer not give back?",
        (
            Choice("Rare words", "They come back from their pieces, with ## taken off."),
            Choice("The order of the words", "Tokens keep their order."),
            Choice("Numbers", "Digits are tokens like any other."),
            Choice(
                "Capitals, accents and the exact spaces",
                "The normaliser dropped them before the vocabulary was asked. Offsets still lead to the original.",
            ),
        ),
        right=3,
    ),
    Question(
        "The vocabulary of a model grows from 10,000 to 100,000 tokens. What happens?",
        (
            Choice("Texts get ten times shorter", "Far from it: new tokens are rarer and rarer."),
            Choice(
                "Texts get somewhat shorter, and the embedding table ten times larger",
                "Length falls slowly, about with the logarithm of the size, while the table has one row for each "
                "token.",
            ),
            Choice("Nothing that matters", "The table grows with every token, and attention's cost falls with length."),
        ),
        right=1,
    ),
)
