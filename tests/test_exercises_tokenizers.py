"""Exercises of notebook 08: planted mistakes get their own message, unusual right answers pass."""

import copy
import re
import unicodedata
from collections import Counter, defaultdict
from itertools import pairwise

import numpy as np
import pytest
import tokenizers as library
from hypothesis import given
from hypothesis import strategies as st

from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, judge
from course_lib.tokenizers import BPETokenizer, WordPieceTokenizer
from course_lib.tokenizers.bpe import BYTE_SYMBOLS
from course_lib.tokenizers.normalisation import AlignedText, strip_accents, to_lowercase
from tests.judged import accepted, rejected
from tests.tokenizer_texts import texts

REFERENCE = {id: EXERCISES[id].reference for id in EXERCISES if id.startswith("08.")}
TEA = REFERENCE["08.1"]


# --- 08.1 ---------------------------------------------------------------------------------------------------


def tea(**changed):
    names = {"te": "t e", "first": "first merge", "ea": "e a", "second": "second merge", "third": "third merge"}
    return {**copy.deepcopy(TEA), **{names.get(name, name): value for name, value in changed.items()}}


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (tea(te=3), "words-not-occurrences", "6 + 5 + 3"),
        (tea(te=18), "order-ignored", "eat"),
        (tea(te=17), "overlap", "tent"),
        (tea(te=9), "value", "9 is not it"),
        (tea(first="te"), "not-a-pair", "pair of tokens"),
        (tea(first=("e", "t")), "order-ignored", "wrong order"),
        (tea(first=("e", "a")), "value", "14"),
        (tea(ea=10), "not-updated", "before the first merge"),
        (tea(ea=1), "words-not-occurrences", "4 times"),
        (tea(ea=6), "wrong-word", "tea"),
        (tea(second=("e", "a")), "not-updated", "now te holds"),
        (tea(second=("te", "a")), "value", "5 + 3 = 8"),
        (tea(third=("ten", "t")), "value", "ten t 3"),
        (tea(teatent=["te", "a", "te", "n", "t"]), "merges-not-finished", "go on"),
        (tea(teatent=["tea", "tent"]), "token-not-learnt", "tent"),
        (tea(teatent=["tea", "ten"]), "not-a-split", "teaten"),
        (tea(teatent=["t", "ea", "ten", "t"]), "value", "t ea ten t"),
        (tea(teatent="tea ten t"), "wrong-type", "list"),
        (tea(third=...), "not-finished", "`third merge`"),
        (tea(third=(..., ...)), "not-finished", "`third merge`"),
        ({"t e": 14}, "missing", "`first merge`"),
        (["te", "ten", "tea"], "wrong-type", "dictionary"),
    ],
)
def test_tea_rejects(answer, misconception, word):
    rejected("08.1", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        tea(first=["t", "e"], teatent=("tea", "ten", "t")),
        tea(te=14.0, ea=np.int64(4)),
        tea(teatent=np.array(["tea", "ten", "t"])),
    ],
)
def test_tea_accepts(answer):
    accepted("08.1", answer)


def test_tea_blank():
    blank = {"t e": ..., "first merge": (..., ...), "teatent": [..., ..., ...]}
    assert judge("08.1", blank).misconception == NOT_ATTEMPTED


def test_tea_is_what_the_library_learns():
    words = {"tea": 6, "ten": 5, "tent": 3, "eat": 4}
    ours = BPETokenizer.train([word for word, count in words.items() for _ in range(count)], 256 + 3)
    assert ours.merges == [TEA["first merge"], TEA["second merge"], TEA["third merge"]]
    assert ours.encode("teatent").tokens == TEA["teatent"]
    spelled = {tuple(word): count for word, count in words.items()}
    assert REFERENCE["08.2"](spelled)["t", "e"] == TEA["t e"]
    after = {REFERENCE["08.3"](word, ("t", "e")): count for word, count in spelled.items()}
    assert REFERENCE["08.2"](after)["e", "a"] == TEA["e a"]


# --- 08.2 ---------------------------------------------------------------------------------------------------


def counting(weight=lambda count: count, pairs=pairwise):
    def count_pairs(words):
        counts = Counter()
        for word, count in words.items():
            for pair in pairs(word):
                counts[pair] += weight(count)
        return counts

    return count_pairs


def overwritten(words):
    return {pair: count for word, count in words.items() for pair in pairwise(word)}


def across_words(words):
    counts, previous = Counter(), None
    for word, count in words.items():
        for token in word:
            if previous is not None:
                counts[previous, token] += count
            previous = token
    return counts


def joined(words):
    return Counter("".join(pair) for word in words for pair in pairwise(word))


def emptied(words):
    counts = counting()(words)
    words.clear()
    return counts


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (counting(weight=lambda count: 1), "not-weighted", "count of the word"),
        (overwritten, "overwritten", "+="),
        (counting(pairs=lambda word: set(pairwise(word))), "once-per-word", "twice"),
        (counting(pairs=lambda word: list(pairwise(word))[::2]), "every-second", "every second"),
        (counting(pairs=lambda word: pairwise("".join(word))), "characters", "take the items of the tuple"),
        (across_words, "across-words", "border"),
        (counting(pairs=lambda word: [pair[::-1] for pair in pairwise(word)]), "value", "is counted"),
        (joined, "joined-keys", "pairs"),
        (lambda words: list(counting()(words)), "wrong-type", "dictionary"),
        (emptied, "in-place", "new list or dictionary"),
        (lambda words: {("s", "e"): "7"}, "wrong-type", "number"),
        (Counter, "wrong-type", "class"),
    ],
)
def test_count_pairs_rejects(answer, misconception, word):
    rejected("08.2", answer, misconception, word)


def with_zeros(words, reverse=False):
    symbols = sorted({symbol for word in words for symbol in word})
    counts = {(left, right): 0 for left in symbols for right in symbols}
    for word in words:
        for left, right in pairwise(word):
            counts[left, right] += words[word]
    return counts


def in_arrays(words):
    counts = defaultdict(lambda: np.int64(0))
    for word, count in words.items():
        for i in range(len(word) - 1):
            counts[word[i : i + 2]] += np.int64(count)
    return counts


@pytest.mark.parametrize("answer", [counting(), with_zeros, in_arrays])
def test_count_pairs_accepts(answer):
    accepted("08.2", answer)


# --- 08.3 ---------------------------------------------------------------------------------------------------


def merge_pair(word, pair):
    return REFERENCE["08.3"](word, pair)


def first_only(word, pair):
    word = list(word)
    for i in range(len(word) - 1):
        if (word[i], word[i + 1]) == pair:
            return [*word[:i], "".join(pair), *word[i + 2 :]]
    return word


def overlapping(word, pair):
    return ["".join(pair) if word[i : i + 2] == pair else token for i, token in enumerate(word)]


def not_consumed(word, pair):
    return [
        part
        for i, token in enumerate(word)
        for part in (["".join(pair), token] if word[i : i + 2] == pair else [token])
    ]


def from_the_right(word, pair):
    word, i = list(word), len(word) - 1
    while i > 0:
        if (word[i - 1], word[i]) == pair:
            word[i - 1 : i + 1] = ["".join(pair)]
            i -= 1
        i -= 1
    return word


def in_the_text(word, pair):
    token = "".join(pair)
    parts = re.split(f"({re.escape(token)})", "".join(word))
    return [piece for part in parts for piece in ([part] if part == token else part)]


def last_lost(word, pair):
    merged, i = [], 0
    while i < len(word) - 1:
        if word[i : i + 2] == pair:
            merged.append("".join(pair))
            i += 2
        else:
            merged.append(word[i])
            i += 1
    return merged


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (first_only, "first-only", "merge every one"),
        (overlapping, "overlapping", "go on by 2"),
        (not_consumed, "not-consumed", "leave them out"),
        (from_the_right, "from-the-right", "start at the left"),
        (in_the_text, "in-the-text", "row of tokens"),
        (last_lost, "last-lost", "last token"),
        (lambda word, pair: word, "unchanged", "was not merged"),
        (lambda word, pair: merge_pair(word, pair[::-1]), "reversed", "order counts"),
        (lambda word, pair: " ".join(word), "wrong-type", "list"),
        (lambda word, pair: [1, 2], "wrong-type", "strings"),
        (lambda word, pair: [*merge_pair(word, pair), "x"], "value", "should give"),
        (lambda word: word, "exception", "TypeError"),
    ],
)
def test_merge_pair_rejects(answer, misconception, word):
    rejected("08.3", answer, misconception, word)


def by_deleting(word, pair):
    word, i = list(word), 0
    while i < len(word) - 1:
        if (word[i], word[i + 1]) == tuple(pair):
            word[i] += word.pop(i + 1)
        i += 1
    return word


def by_recursion(word, pair):
    if len(word) < 2:
        return tuple(word)
    if word[:2] == pair:
        return (pair[0] + pair[1], *by_recursion(word[2:], pair))
    return (word[0], *by_recursion(word[1:], pair))


@pytest.mark.parametrize("answer", [by_deleting, by_recursion, lambda word, pair: iter(merge_pair(word, pair))])
def test_merge_pair_accepts(answer):
    accepted("08.3", answer)


# --- 08.4 ---------------------------------------------------------------------------------------------------


def encoding(choose):
    def encode_word(word, merges):
        tokens = list(word)
        while places := [i for i, pair in enumerate(pairwise(tokens)) if pair in merges]:
            i = choose(places, lambda i: merges.index((tokens[i], tokens[i + 1])))
            tokens[i : i + 2] = [tokens[i] + tokens[i + 1]]
        return tokens

    return encode_word


def greedy_longest(word, merges):
    vocab, tokens = {*word, *(left + right for left, right in merges)}, []
    while word:
        end = max(end for end in range(1, len(word) + 1) if word[:end] in vocab)
        tokens.append(word[:end])
        word = word[end:]
    return tokens


def once_each(word, merges):
    tokens = tuple(word)
    for pair in merges:
        tokens = tuple(first_only(tokens, pair))
    return list(tokens)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (encoding(lambda places, rank: places[0]), "leftmost-first", "learnt first goes first"),
        (encoding(lambda places, rank: places[-1]), "rightmost-first", "rightmost"),
        (encoding(lambda places, rank: max(places, key=rank)), "latest-first", "smallest rank"),
        (encoding(lambda places, rank: min(places, key=lambda i: (rank(i), -i))), "right-among-equals", "at the left"),
        (greedy_longest, "longest-match", "WordPiece"),
        (once_each, "once-each", "until none applies"),
        (lambda word, merges: list(word), "unchanged", "nothing is merged"),
        (lambda word, merges: [*REFERENCE["08.4"](word, merges), "!"], "value", "in this order"),
        (lambda word, merges: word, "wrong-type", "list"),
        (lambda word, merges: merges.clear() or list(word), "in-place", "caller"),
    ],
)
def test_encode_word_rejects(answer, misconception, word):
    rejected("08.4", answer, misconception, word)


def one_merge_after_the_other(word, merges):
    tokens = tuple(word)
    for pair in merges:
        tokens = merge_pair(tokens, pair)
    return tokens


def by_best_pair(word, merges):
    tokens, ranks = tuple(word), {pair: rank for rank, pair in enumerate(merges)}
    while len(tokens) > 1:
        best = min(pairwise(tokens), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        tokens = merge_pair(tokens, best)
    return tokens


@pytest.mark.parametrize("answer", [one_merge_after_the_other, by_best_pair, encoding(lambda p, r: min(p, key=r))])
def test_encode_word_accepts(answer):
    accepted("08.4", answer)


def test_encode_word_is_the_librarys_bpe():
    texts = ["seat sea eats teas east seated estate states statues taste attest"] * 3
    ours = BPETokenizer.train(texts, 256 + 40)
    for word in ("seats", "estates", "statues", "attested", "xyz", "ttttt", "a"):
        assert REFERENCE["08.4"](word, ours.merges) == ours.encode(word).tokens
    assert set("seatudx") <= set(BYTE_SYMBOLS)


# --- 08.5 ---------------------------------------------------------------------------------------------------


def matching(marks=True, look_up_marks=True, unknown=lambda tokens: ["[UNK]"], longest=True):
    def longest_match(word, vocab):
        tokens, start = [], 0
        while start < len(word):
            ends = range(start + 1, len(word) + 1)
            for end in reversed(ends) if longest else ends:
                token = ("##" if start and look_up_marks else "") + word[start:end]
                if token in vocab:
                    break
            else:
                return unknown(tokens)
            tokens.append(token if marks else token.removeprefix("##"))
            start = end
        return tokens

    return longest_match


def backtracking(word, vocab, start=0):
    if start == len(word):
        return []
    for end in range(len(word), start, -1):
        token = ("##" if start else "") + word[start:end]
        if token in vocab:
            rest = backtracking(word, vocab, end)
            if rest != ["[UNK]"]:
                return [token, *rest]
    return ["[UNK]"]


def fewest(word, vocab):
    best = [[]] + [None] * len(word)
    for end in range(1, len(word) + 1):
        for start in range(end):
            token = ("##" if start else "") + word[start:end]
            if (
                token in vocab
                and best[start] is not None
                and (best[end] is None or len(best[start]) + 1 < len(best[end]))
            ):
                best[end] = [*best[start], token]
    return best[-1] or ["[UNK]"]


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (matching(marks=False), "marks-left-out", "##"),
        (matching(look_up_marks=False), "marks-not-used", "without them"),
        (matching(unknown=lambda tokens: [*tokens, "[UNK]"]), "partly-unknown", "whole word"),
        (matching(unknown=lambda tokens: tokens), "partly-known", "whole word"),
        (matching(unknown=lambda tokens: []), "nothing-for-unknown", "not nothing"),
        (matching(longest=False), "shortest-first", "longest first"),
        (fewest, "looks-ahead", "need ##lessly"),
        (backtracking, "looks-ahead", "going back"),
        (lambda word, vocab: [word], "value", "should become"),
        (lambda word, vocab: word, "wrong-type", "list"),
        (lambda word, vocab: vocab.pop("a") and [word], "in-place", "caller"),
    ],
)
def test_longest_match_rejects(answer, misconception, word):
    rejected("08.5", answer, misconception, word)


def by_recursion_on_the_rest(word, vocab, marks=""):
    if not word:
        return []
    head = next((word[:end] for end in range(len(word), 0, -1) if marks + word[:end] in vocab), None)
    rest = ["[UNK]"] if head is None else by_recursion_on_the_rest(word[len(head) :], vocab, "##")
    return ["[UNK]"] if rest == ["[UNK]"] else [marks + head, *rest]


def by_sorting_the_vocabulary(word, vocab):
    tokens, rest = [], word
    while rest:
        marks = "##" if tokens else ""
        fitting = [
            token for token in vocab if (marks + rest).startswith(token) and token != marks and len(token) > len(marks)
        ]
        fitting = [token for token in fitting if token.startswith("##") == bool(marks)]
        if not fitting:
            return ("[UNK]",)
        tokens.append(max(fitting, key=len))
        rest = rest[len(tokens[-1]) - len(marks) :]
    return tuple(tokens)


@pytest.mark.parametrize("answer", [matching(), by_recursion_on_the_rest, by_sorting_the_vocabulary])
def test_longest_match_accepts(answer):
    accepted("08.5", answer)


@given(st.text("abc", min_size=1, max_size=12), st.sets(st.text("abc", min_size=1, max_size=4), max_size=12))
def test_longest_match_is_the_librarys_wordpiece(word, known):
    vocab = {
        token: i for i, token in enumerate(["[UNK]", *known, *("##" + token for token in known if len(token) != 2)])
    }
    model = library.models.WordPiece(vocab, unk_token="[UNK]")
    assert REFERENCE["08.5"](word, vocab) == [token.value for token in model.tokenize(word)]
    assert REFERENCE["08.5"](word, vocab) == WordPieceTokenizer.from_vocab(vocab).encode(word).tokens


# --- 08.6 ---------------------------------------------------------------------------------------------------


def normalising(form="NFD", dropped=("Mn",), small=str.lower):
    def normalise(text):
        return small(
            "".join(char for char in unicodedata.normalize(form, text) if unicodedata.category(char) not in dropped)
        )

    return normalise


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (str.lower, "accents-stay", "NFD"),
        (normalising(dropped=()), "accents-stay", "drop the accents"),
        (normalising(form="NFC"), "accents-stay", "NFD"),
        (normalising(form="NFKD"), "nfkd", "NFKD"),
        (normalising(small=str.casefold), "casefold", "lower"),
        (normalising(small=str), "not-lower-case", "small letters"),
        (normalising(dropped=("Mn", "Mc", "Me")), "all-marks", "Mn only"),
        (
            lambda text: unicodedata.normalize("NFD", text).encode("ascii", "ignore").decode().lower(),
            "too-much-dropped",
            "no accents",
        ),
        (
            lambda text: unicodedata.normalize("NFC", normalising()(text)),
            "not-decomposed",
            "three letters",
        ),
        (lambda text: "?" * len(text), "value", "should become"),
        (lambda text: list(text), "wrong-type", "string"),
    ],
)
def test_normalise_rejects(answer, misconception, word):
    rejected("08.6", answer, misconception, word)


def char_by_char(text):
    return "".join(
        part.lower()
        for char in text
        for part in unicodedata.normalize("NFD", char)
        if unicodedata.category(part) != "Mn"
    )


def small_first(text):
    return normalising(small=str)(text.lower())


@pytest.mark.parametrize("answer", [normalising(), char_by_char, small_first])
def test_normalise_accepts(answer):
    accepted("08.6", answer)


def test_normalise_is_the_courses_on_these_texts():
    from course_lib.exercises.tokenizers import _NORMALISED

    for text, right in _NORMALISED.items():
        assert to_lowercase(strip_accents(AlignedText.of(text))).text == right == REFERENCE["08.6"](text)


# --- 08.7 ---------------------------------------------------------------------------------------------------


def with_origins(origins):
    return lambda text: (REFERENCE["08.6"](text), origins(text, REFERENCE["08.7"](text)[1]))


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (with_origins(lambda text, right: list(range(len(right)))), "places-in-result", "original are others"),
        (with_origins(lambda text, right: list(range(len(text)))), "accents-counted", "each character of the text"),
        (with_origins(lambda text, right: right[:-1]), "not-one-each", "each character needs one"),
        (with_origins(lambda text, right: [place + 1 for place in right]), "from-1", "count from 0"),
        (with_origins(lambda text, right: [len(text[:place].encode()) for place in right]), "bytes", "places of bytes"),
        (with_origins(lambda text, right: [0 for place in right]), "value", "should have the origins"),
        (lambda text: (normalising(small=str)(text), []), "not-lower-case", "small letters"),
        (lambda text: (text.lower(), list(range(len(text)))), "accents-stay", "NFD"),
        (lambda text: REFERENCE["08.7"](text)[1], "not-two", "two things"),
        (lambda text: REFERENCE["08.7"](text)[::-1], "wrong-type", "normalised text"),
        (lambda text: (REFERENCE["08.6"](text), [0.5] * len(REFERENCE["08.6"](text))), "wrong-type", "whole numbers"),
    ],
)
def test_origins_rejects(answer, misconception, word):
    rejected("08.7", answer, misconception, word)


def by_growing(text):
    normalised, origins = "", []
    for place in range(len(text)):
        grown = normalised + REFERENCE["08.6"](text[place])
        origins.extend([place] * (len(grown) - len(normalised)))
        normalised = grown
    return [normalised, np.array(origins, dtype=int)]


def by_pairs(text):
    pairs = [(part, place) for place, char in enumerate(text) for part in REFERENCE["08.6"](char)]
    return "".join(part for part, _ in pairs), tuple(place for _, place in pairs)


@pytest.mark.parametrize("answer", [by_growing, by_pairs])
def test_origins_accepts(answer):
    accepted("08.7", answer)


@given(texts())
def test_origins_are_as_long_as_the_text_and_rise(text):
    normalised, origins = REFERENCE["08.7"](text)
    assert len(normalised) == len(origins) and origins == sorted(origins)


# --- 08.8 ---------------------------------------------------------------------------------------------------


def spans(rule):
    return lambda offsets, start, end: [i for i, (a, b) in enumerate(offsets) if rule(a, b, start, end)]


def edges(offsets, start, end):
    found = REFERENCE["08.8"](offsets, start, end)
    return [found[0], found[-1]] if found else []


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (spans(lambda a, b, s, e: s <= a and b <= e), "inside-only", "over the edge"),
        (spans(lambda a, b, s, e: s <= a < b <= e), "inside-only", "over the edge"),
        (spans(lambda a, b, s, e: a <= e and b >= s), "touching", "< and >"),
        (spans(lambda a, b, s, e: a < e and b >= s), "touching-left", "shares nothing"),
        (spans(lambda a, b, s, e: a <= e and b > s), "touching-right", "where the span ends"),
        (spans(lambda a, b, s, e: s <= a < e), "begins-inside", "begin before"),
        (edges, "first-and-last-only", "all tokens"),
        (lambda offsets, s, e: [i + 1 for i in REFERENCE["08.8"](offsets, s, e)], "from-1", "from 0"),
        (lambda offsets, s, e: [], "value", "share a character"),
        (lambda offsets, s, e: {"first": 1}, "wrong-type", "list"),
        (lambda offsets, s, e: [0.5], "wrong-type", "whole numbers"),
        (lambda offsets, s, e: offsets.clear() or [], "in-place", "caller"),
    ],
)
def test_span_rejects(answer, misconception, word):
    rejected("08.8", answer, misconception, word)


def by_sets(offsets, start, end):
    return [i for i, (a, b) in enumerate(offsets) if not set(range(a, b)).isdisjoint(range(start, end))]


def in_numpy(offsets, start, end):
    table = np.array(offsets).reshape(-1, 2)
    return np.flatnonzero(np.maximum(table[:, 0], start) < np.minimum(table[:, 1], end))


@pytest.mark.parametrize("answer", [by_sets, in_numpy, lambda o, s, e: range(*edges_as_range(o, s, e))])
def test_span_accepts(answer):
    accepted("08.8", answer)


def edges_as_range(offsets, start, end):
    found = by_sets(offsets, start, end)
    return (found[0], found[-1] + 1) if found else (0, 0)


# --- 08.9 ---------------------------------------------------------------------------------------------------

ENGLISH = "The north wind and the sun disputed which was the stronger, when a traveller came along in a cloak. " * 4
CHINESE = "有一天北风和太阳正在争论谁的本领大，这时路上来了一个走道的人，他身上穿着一件厚大衣，他们就商量好了。" * 8


def own(text=ENGLISH, tokenizer=None, size=360):
    return {"text": text, "tokenizer": tokenizer or BPETokenizer.train([text], size)}


class Hopeless:
    vocab, merges = {"a": 0}, []

    def encode(self, text):
        raise RuntimeError("not today")

    def decode(self, ids):
        return ""


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (own(text="short"), "text-too-short", "5 characters"),
        (own(size=260), "few-merges", "4 merges"),
        (own(text=ENGLISH, tokenizer=BPETokenizer.train([CHINESE], 400)), "other-text", "do not occur in your text"),
        (own(text=ENGLISH, tokenizer=BPETokenizer.train([ENGLISH + CHINESE], 400)), "other-text", "Train it on"),
        (own(text=ENGLISH, tokenizer=WordPieceTokenizer.train([ENGLISH], 200)), "lossy", "BPETokenizer"),
        (own(tokenizer=Hopeless()), "exception", "not today"),
        (own(tokenizer=BPETokenizer), "wrong-type", "BPETokenizer.train"),
        ({"text": ENGLISH, "tokenizer": ...}, "not-finished", "`tokenizer`"),
        ({"text": [ENGLISH], "tokenizer": Hopeless()}, "wrong-type", "string"),
        ({"tokenizer": Hopeless()}, "missing", "`text`"),
        (BPETokenizer.train([ENGLISH], 300), "wrong-type", "dictionary"),
    ],
)
def test_own_rejects(answer, misconception, word):
    rejected("08.9", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        own(),
        own(text=CHINESE),
        own(tokenizer=BPETokenizer.train([ENGLISH], 400, special_tokens=["<|end|>"], individual_digits=True)),
        own(text="".join(chr(0x1F600 + i % 60) for i in range(400))),
        own(text="for i in range(10):\n    print(i, i ** 2)\n" * 9),
    ],
    ids=["english", "chinese", "special tokens", "emoji", "code"],
)
def test_own_accepts_any_text(answer):
    accepted("08.9", answer)


def test_own_blank():
    assert judge("08.9", {"text": ..., "tokenizer": ...}).misconception == NOT_ATTEMPTED
