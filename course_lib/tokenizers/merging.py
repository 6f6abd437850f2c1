"""Learning merges: put together the most frequent pair of neighbouring tokens, again and again.

Sennrich, Haddow, Birch (2016), Neural Machine Translation of Rare Words with Subword Units. Pair counts are kept up
to date as the words change instead of being counted anew for every merge. Among equally frequent pairs the one whose
two ids are smaller wins, as in the `tokenizers` library, whose merges these are one for one.
"""

import heapq
from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import pairwise

Pair = tuple[int, int]


class MergeLearner:
    """Grow `tokens` in place by merging, given how often each word occurs.

    `words` maps a word, as ids of `tokens`, to its count. `join` spells the token that a pair makes.
    """

    def __init__(self, tokens: list[str], words: Mapping[tuple[int, ...], int], join: Callable[[str, str], str]):
        self.tokens = tokens
        self._join = join
        self._ids = {token: i for i, token in enumerate(tokens)}
        self._words = [list(word) for word in words]
        self._word_counts = list(words.values())
        self._pair_counts: dict[Pair, int] = defaultdict(int)
        self._queue: list[_Candidate] = []
        self._count_all()

    def learn(self, vocab_size: int, min_frequency: int = 1) -> list[tuple[str, str]]:
        """Merge until there are `vocab_size` tokens or no pair occurs `min_frequency` times; the merges in order."""
        merges: list[Pair] = []
        while len(self.tokens) < vocab_size and self._queue:
            candidate = heapq.heappop(self._queue)
            count = self._pair_counts[candidate.pair]
            if candidate.count != count:  # queued before other merges took occurrences away or added some
                heapq.heappush(self._queue, _Candidate(count, candidate.pair, candidate.places))
                continue
            if count < max(min_frequency, 1):
                break
            self._merge(candidate)
            merges.append(candidate.pair)
        return [(self.tokens[left], self.tokens[right]) for left, right in merges]

    def _count_all(self) -> None:
        places = defaultdict(set)
        for place, word in enumerate(self._words):
            for pair in pairwise(word):
                self._pair_counts[pair] += self._word_counts[place]
                places[pair].add(place)
        self._enqueue(places)

    def _enqueue(self, places: Mapping[Pair, set[int]]) -> None:
        for pair, where in places.items():
            if self._pair_counts[pair] > 0:
                heapq.heappush(self._queue, _Candidate(self._pair_counts[pair], pair, where))

    def _merge(self, candidate: "_Candidate") -> None:
        token_id = self._token_id(candidate.pair)
        places = defaultdict(set)
        for place in candidate.places:
            for pair, change in merge_in_word(self._words[place], candidate.pair, token_id):
                self._pair_counts[pair] += change * self._word_counts[place]
                if change > 0:
                    places[pair].add(place)
        self._enqueue(places)

    def _token_id(self, pair: Pair) -> int:
        token = self._join(self.tokens[pair[0]], self.tokens[pair[1]])
        if token not in self._ids:
            self._ids[token] = len(self.tokens)
            self.tokens.append(token)
        return self._ids[token]


class _Candidate:
    """A pair in the queue: the most frequent first, then the one with the smaller ids."""

    __slots__ = ("count", "pair", "places")

    def __init__(self, count: int, pair: Pair, places: set[int]):
        self.count, self.pair, self.places = count, pair, places

    def __lt__(self, other: "_Candidate") -> bool:
        return (-self.count, self.pair) < (-other.count, other.pair)


def merge_in_word(word: list[int], pair: Pair, token_id: int) -> list[tuple[Pair, int]]:
    """Replace `pair` by `token_id` throughout `word`, in place, from the left.

    Returns by how much the counts of the neighbouring pairs change. That of `pair` itself is left as it is: it has
    left the queue.
    """
    left, right = pair
    changes = []
    i = 0
    while i < len(word) - 1:
        if word[i] == left and word[i + 1] == right:
            if i > 0:
                changes += [((word[i - 1], left), -1), ((word[i - 1], token_id), 1)]
            word[i : i + 2] = [token_id]
            if i + 1 < len(word):
                changes += [((right, word[i + 1]), -1), ((token_id, word[i + 1]), 1)]
        i += 1
    return changes
