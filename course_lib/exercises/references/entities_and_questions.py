"""Right answers of notebook 16."""

import math
from collections import Counter


def align_labels(word_ids, labels):
    """Label the first piece of each word; -100 for its other pieces and for special tokens."""
    aligned, before = [], None
    for word in word_ids:
        is_first = word is not None and word != before
        aligned.append(labels[word] if is_first else -100)
        before = word
    return aligned


def word_f1(predicted, right):
    """Harmonic mean of precision and recall of the words of an answer, repeated ones counted."""
    if not predicted or not right:
        return float(not predicted and not right)
    shared = (Counter(predicted) & Counter(right)).total()
    return 2 * shared / (len(predicted) + len(right))


def best_span(start, end, max_tokens):
    """(first, last) of the span with the largest start[first] + end[last], of at most max_tokens tokens."""
    best, best_score = None, -math.inf
    for first in range(len(start)):
        for last in range(first, min(first + max_tokens, len(end))):
            score = start[first] + end[last]
            if score > best_score:
                best, best_score = (first, last), score
    return best


def windows(length, size, overlap):
    """(start, end) of the windows of at most size tokens that cover length tokens, each sharing overlap tokens."""
    found, start = [], 0
    while True:
        found.append((start, min(start + size, length)))
        if start + size >= length:
            return found
        start += size - overlap


def best_threshold(margins, answered, silent):
    """The t for which answering where margin > t, and being silent elsewhere, has the largest mean score."""

    def mean_score(threshold):
        rows = zip(margins, answered, silent, strict=True)
        return sum(a if margin > threshold else s for margin, a, s in rows) / len(margins)

    return max([-math.inf, *margins], key=mean_score)
