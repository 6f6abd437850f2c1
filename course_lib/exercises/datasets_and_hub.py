"""Notebook 14: duplicates, leakage, a shuffle that streams, an honest card, and what a cache need not fetch again."""

import itertools
import re
from collections.abc import Iterable

import torch

from .engine import Choice, Question, Rejected, exercise, quiz
from .judging import Mistake, call, compare, function, number, reject_if

_HERE = "course_lib.exercises.references.datasets_and_hub"

# Small enough to read in a message: (texts, positions that stay).
_TEXTS = (
    (["Who?", "When?", "who?", "Why?", "When?", "WHY?"], [0, 1, 3]),
    (["What  is a\tquark ?", "what is a quark ?", "What is a quark ?", "What is a muon ?"], [0, 3]),
    (["b", "a", "c"], [0, 1, 2]),
    (["x"] * 7, [0]),
)


def _key(text: str) -> str:
    return " ".join(text.lower().split())


def _positions(value, what: str) -> list[int]:
    if isinstance(value, torch.Tensor) or hasattr(value, "tolist"):
        value = value.tolist()
    reject_if(not isinstance(value, Iterable) or isinstance(value, str), f"{what} should be a list", "wrong-type")
    found = list(value)
    reject_if(
        any(isinstance(one, str) for one in found),
        f"{what} holds texts; give their positions, so that labels can be kept with them",
        "texts",
    )
    reject_if(not all(isinstance(one, int) for one in found), f"{what} should hold whole numbers", "wrong-type")
    return found


@exercise(
    "14.1",
    title="Keep one of each",
    minutes=7,
    difficulty=2,
    hints=(
        "Which texts are the same to a reader? What would you compare instead of the texts themselves?",
        "Go through the texts with their positions and remember the keys seen so far, where a key is the text in small "
        "letters with its white space collapsed.",
        '`key = " ".join(text.lower().split())`; keep the position if `key not in seen`, then `seen.add(key)`.',
    ),
    reference=f"{_HERE}:dedupe",
)
def judge_dedupe(answer):
    answer = function(answer, "dedupe")
    for texts, right in _TEXTS:
        found = _positions(call(answer, list(texts)), "your result")
        if found == right:
            continue
        exact = [i for i, text in enumerate(texts) if text not in texts[:i]]
        lower = [i for i, text in enumerate(texts) if text.lower() not in [one.lower() for one in texts[:i]]]
        keys = [_key(text) for text in texts]
        last = [i for i, key in enumerate(keys) if key not in keys[i + 1 :]]
        single = [i for i, key in enumerate(keys) if keys.count(key) == 1]
        case = f"for {texts}" if len(texts) < 7 else "for seven equal texts"
        reject_if(
            found == single, f"{case} every copy is gone, the first one too: keep one of each", "all-copies-removed"
        )
        reject_if(
            found == exact,
            f"{case} you keep {found}: texts that differ in capitals or spaces only are the same",
            "exact",
        )
        reject_if(found == lower, f"{case} you keep {found}: white space should make no difference either", "spaces")
        reject_if(found == last, f"{case} you keep the last of each; keep the first, {right}", "last")
        reject_if(sorted(found) == right, f"{case} the right texts stay, in another order: keep theirs", "order")
        raise Rejected(f"{case} the positions {right} should stay, and yours are {found}", "value")
    return "one of each, the first, in the old order"


@exercise(
    "14.2",
    title="Does the test set leak?",
    minutes=6,
    difficulty=2,
    hints=(
        "Which question does the number answer: of the *test* texts, how many has the model seen?",
        "Put the keys of all training texts into a set. Then count the test texts whose key is in it.",
        "`known = {key(t) for t in train}`; `sum(key(t) in known for t in test) / len(test)`.",
    ),
    reference=f"{_HERE}:leaked_share",
)
def judge_leaked_share(answer):
    answer = function(answer, "leaked_share")
    cases = (
        (["a", "b", "c", "d", "e"], ["A", "x", "b ", "b", "y", "z", "q"]),
        (["one", "two"], ["three", "four", "five"]),
        (["one", "one", "one", "two  three"], ["one", "Two three", "seven"]),
    )
    for train, test in cases:
        known = {_key(text) for text in train}
        right = sum(_key(text) in known for text in test) / len(test)
        found = torch.tensor(number(call(answer, list(train), list(test))), dtype=torch.float64)
        tests = {_key(text) for text in test}

        def of(value):
            return torch.tensor(value, dtype=torch.float64)

        case = f"for train = {train} and test = {test}"
        mistakes = [
            Mistake(
                of(sum(text in train for text in test) / len(test)),
                "exact",
                f"{case}: compare without capitals and white space, as in 14.1",
            ),
            Mistake(
                of(sum(_key(text) in tests for text in train) / len(train)),
                "of-train",
                f"{case}: that is the share of the *training* texts; divide the leaked test texts by all test texts",
            ),
            Mistake(
                of(len(known & tests) / len(tests)),
                "distinct",
                f"{case}: you count distinct texts; a test text that stands twice is asked twice and counts twice",
            ),
            Mistake(of(right * len(test)), "count", f"{case}: that is a number of texts; divide it by their number"),
            Mistake(of(1 - right), "complement", f"{case}: that is the share that does not leak"),
        ]
        compare(found, of(right), mistakes, f"{case}: the share is {right:.3f}, not {found:.3f}")
    return "this is the share of the test that measures memory"


class _Counted:
    """An endless stream that counts what was taken from it."""

    def __init__(self, end: int | None = None):
        self.taken, self.end = 0, end

    def __iter__(self):
        return self

    def __next__(self):
        if self.end is not None and self.taken >= self.end:
            raise StopIteration
        self.taken += 1
        return self.taken - 1


@exercise(
    "14.3",
    title="Shuffle a stream",
    minutes=12,
    difficulty=4,
    hints=(
        "You may hold `buffer_size` items and no more. When the buffer is full and the next item arrives, which "
        "must go?",
        "Fill the buffer. From then on, for each new item: choose a place at random, yield what stands there, put "
        "the new "
        "item there. When the stream ends, shuffle what is left and yield it.",
        "`chance = random.Random(seed)`; `place = chance.randrange(buffer_size)`; `yield buffer[place]`; "
        "`buffer[place] = item`; after the loop `chance.shuffle(buffer)` and `yield from buffer`.",
    ),
    reference=f"{_HERE}:shuffled",
)
def judge_shuffled(answer):
    answer = function(answer, "shuffled")
    endless = _Counted()
    first = _taken(answer, endless, 10, 8, seed=1)
    reject_if(
        endless.taken > 10 + 8 + 1,
        f"to give 10 items with a buffer of 8 it took {endless.taken} from the stream: a stream may be endless, so "
        "hold "
        "`buffer_size` items and no more",
        "reads-too-much",
    )
    reject_if(len(first) < 10, "it stops before the stream does", "stops-early")
    for length, size, seed in ((500, 20, 3), (7, 20, 0), (64, 64, 5), (31, 1, 2)):
        found = _taken(answer, _Counted(length), length + 5, size, seed)
        case = f"{length} items, buffer_size={size}"
        missing = length - len(set(found))
        reject_if(
            missing == size or (missing > 0 and len(found) < length),
            f"{case}: {missing} items never come out. What is still in the buffer when the stream ends?",
            "rest-lost",
        )
        reject_if(sorted(found) != list(range(length)), f"{case}: some items come twice and some never", "not-all")
        early = max(item - position for position, item in enumerate(found))
        reject_if(early > size, f"{case}: item {early} places too early: it cannot have arrived yet", "reads-too-much")
        again = _taken(answer, _Counted(length), length + 5, size, seed)
        reject_if(found != again, f"{case}: the same seed gives another order; draw from `random.Random(seed)`", "seed")
        if length < 100:
            continue
        reject_if(found == list(range(length)), f"{case}: the order is the old one", "not-shuffled")
        other = _taken(answer, _Counted(length), length + 5, size, seed + 1)
        reject_if(found == other, f"{case}: another seed gives the same order; use it", "seed-ignored")
        late = max(position - item for position, item in enumerate(found))
        reject_if(
            late < size,
            f"{case}: no item moves back by more than {late} places: you shuffle one bufferful after the other. "
            "Yield one "
            "item for each that arrives, so that some stay long",
            "chunks",
        )
    return "mixed within a buffer, without ever holding the whole"


def _taken(answer, stream: _Counted, most: int, buffer_size: int, seed: int) -> list:
    """What the learner's generator yields, at most so many; runs within the judge's protection of `call`."""

    def drawn(buffer_size, seed):
        return list(itertools.islice(iter(answer(stream, buffer_size, seed)), most))

    return call(drawn, buffer_size, seed)


_SPLITS = (4305, 538)


@exercise(
    "14.4",
    title="Write the card",
    minutes=10,
    difficulty=2,
    hints=(
        "What would you want to know before you used somebody else's data? The head is for machines, the rest for "
        "people.",
        "Head: between two lines `---`, the lines `license: ...`, `language: ...`. Below: headings `## Source`, "
        "`## Splits`, `## Limits`, each with a sentence or two and, under Splits, the three numbers.",
        "Nobody has stated a licence for these texts, so it is `license: unknown`; the language is `en`; the "
        "numbers are "
        "4305, 538 and 538.",
    ),
    reference=f"{_HERE}:card",
)
def judge_card(answer):
    reject_if(not isinstance(answer, str), "a text is asked for: the card, in Markdown", "wrong-type")
    head = re.match(r"\s*---\n(.*?)\n---\s*\n", answer, re.DOTALL)
    reject_if(head is None, "the card begins with its head: lines `key: value` between two lines `---`", "no-head")
    values = dict(re.findall(r"^(\w+):[ \t]*(.*)$", head[1], re.MULTILINE))
    for key in ("license", "language"):
        reject_if(key not in values, f"the head has no `{key}:`; machines search by it", f"no-{key}")
    listed = re.findall(r"^language:[ \t]*(?:\n\s*- )?\[?([\w-]+)", head[1], re.MULTILINE)
    reject_if(
        listed[:1] != ["en"], f"the questions are English: `language: en`, not {values['language']!r}", "language"
    )
    licence = values["license"].strip().strip("\"'").lower()
    reject_if(
        licence not in ("unknown", "other"),
        f"`license: {licence}` gives away what is not yours: the package's own licence is for its code, and nobody has "
        "stated one for these texts. Write `unknown`",
        "licence-invented",
    )
    parts = re.split(r"^##\s+(.+?)\s*$", answer[head.end() :], flags=re.MULTILINE)
    sections = {name.lower(): text for name, text in zip(parts[1::2], parts[2::2], strict=True)}
    for name in ("source", "splits", "limits"):
        found = [text for title, text in sections.items() if name.rstrip("s") in title]
        reject_if(not found, f"there is no section `## {name.capitalize()}`", "no-section")
        words = len(found[0].split())
        reject_if(
            words < 8 or "..." in found[0], f"`## {name.capitalize()}` says too little ({words} words)", "too-short"
        )
    splits = next(text for title, text in sections.items() if "split" in title)
    written = {int(one.replace(",", "").replace(" ", "")) for one in re.findall(r"\d[\d,]*", splits)}
    lacking = [size for size in _SPLITS if size not in written]
    reject_if(
        bool(lacking), f"`## Splits` does not say how many: {lacking[0] if lacking else ''} is missing", "no-numbers"
    )
    return "a stranger now knows what it is, where it is from, and what it is not good for"


@exercise(
    "14.5",
    title="What must be fetched again?",
    minutes=5,
    difficulty=2,
    hints=(
        "Two tables, name to ETag: what you have and what the Hub has. When do you need a file?",
        "If you do not have it, or if yours has another ETag. A file that only you have is none of the Hub's.",
        "`sorted(name for name, etag in remote.items() if cached.get(name) != etag)`.",
    ),
    reference=f"{_HERE}:to_download",
)
def judge_to_download(answer):
    answer = function(answer, "to_download")
    remote = {"config.json": "a1", "model.safetensors": "b2", "vocab.txt": "c3", "README.md": "d4"}
    cases = (
        ({"config.json": "a1", "model.safetensors": "b1", "old.bin": "z9"}, remote),
        ({}, remote),
        (dict(remote), remote),
        ({"vocab.txt": "a1", "b.txt": "c3"}, remote),
    )
    for cached, there in cases:
        right = {name for name, etag in there.items() if cached.get(name) != etag}
        result = call(answer, dict(cached), dict(there))
        reject_if(isinstance(result, str) or not isinstance(result, Iterable), "give a list of names", "wrong-type")
        found = set(result)
        missing = {name for name in there if name not in cached}
        changed = {name for name in there if name in cached and cached[name] != there[name]}
        by_content = {name for name, etag in there.items() if etag not in cached.values()}
        case = f"with {cached} in the cache"
        if found == right:
            continue
        reject_if(found == set(there), f"{case} you fetch everything: equal ETags mean equal bytes", "everything")
        reject_if(
            found == missing, f"{case} you fetch what is missing, not what has changed: compare the ETags", "missing"
        )
        reject_if(found == changed, f"{case} you fetch what has changed, not what is missing", "changed-only")
        reject_if(
            bool(found - set(there)),
            f"{case} you ask for {sorted(found - set(there))}, which the Hub does not have",
            "gone",
        )
        reject_if(
            found == by_content,
            f"{case} an ETag belongs to a name: another file with the same one does not help",
            "by-etag",
        )
        raise Rejected(f"{case} these must be fetched: {sorted(right)}; yours are {sorted(found)}", "value")
    return "new or changed, nothing else"


quiz(
    "14",
    Question(
        "`map(tokenise, batched=True)` is faster than one example at a time. Why?",
        (
            Choice("It uses several processes", "That is `num_proc`; batched is one process."),
            Choice(
                "The function is called once for a thousand examples, and the tokenizer works on them together",
                "Right: fewer calls, and the fast tokenizers spread a batch over the cores.",
            ),
            Choice("It skips the padding", "Padding is a choice of the function, batched or not."),
        ),
        1,
    ),
    Question(
        "A dataset of 40 GB is loaded on a computer with 8 GB of memory. How?",
        (
            Choice("It is not: an error", "Arrow files are mapped: pages are read when they are touched."),
            Choice("It is compressed in memory", "Arrow is not compressed in memory."),
            Choice("The file is mapped, and only what is touched is read", "Right: memory holds the pages in use."),
        ),
        2,
    ),
    Question(
        "A random split of the TREC file gives 0.9 accuracy to a program that only looks questions up. What is wrong?",
        (
            Choice(
                "The split: most test questions stand in the training part too", "Right: copies were dealt to both."
            ),
            Choice("The classes are unbalanced", "They are, but the most common class has a quarter of the questions."),
            Choice("Nothing", "Then asking something new would give 0.9 too."),
        ),
        0,
    ),
    Question(
        "`from_pretrained('someone/model')` today and in a year. What makes sure that it is the same model?",
        (
            Choice("The name", "The owner can push to it at any time."),
            Choice("`revision=` with the full hash of a commit", "Right: a commit never changes."),
            Choice("The cache", "Yours, until it is emptied; not that of your readers."),
        ),
        1,
    ),
    Question(
        "Where does your access token belong?",
        (
            Choice("In the first cell, so that the notebook runs", "Then everybody who gets the notebook has it."),
            Choice("In the environment or where `hf auth login` puts it", "Right: it is never in a file you share."),
            Choice("In the model card", "The card is public, so the token would be too."),
        ),
        1,
    ),
)
