"""The course's corpora as `datasets.Dataset` objects: documented columns, no duplicates, splits that do not leak.

`load(name)` gives the splits `train`, `validation` and `test`, about 80, 10 and 10 % of the rows, always the
same ones in the same order. Three things are done to every corpus:

- *Cleaning*: HTML entities are decoded, white space is collapsed, characters of a wrong decoding are mended.
- *Duplicates*: of rows with the same text one is kept; where rows carry a score it gets their mean.
- *Splitting without leakage*: rows that are nearly the same, meaning that the sets of their words have a
  Jaccard similarity of at least 0.8, land in the same split, and so do sentences of one document, where
  documents are known. The order of rows is a fixed shuffle, so the first 2,000 rows are a fair sample.

`describe(name)` is the data sheet. The texts are fetched by `course_lib.assets`, never shipped with the course,
but for `course-questions`: this project wrote it, it stands in `data/`, and its file says which split is which.
"""

import csv
import functools
import hashlib
import html
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from course_lib import assets

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict, Features

SPLITS = ("train", "validation", "test")
NEAR_DUPLICATE = Fraction(4, 5)  # a fraction, so that a pair exactly on the line is not lost to rounding
MIN_STRENGTH = 0.5
_HELD_OUT = 0.1  # share of the rows in validation, and again in test

Row = dict[str, Any]


@dataclass(frozen=True)
class Corpus:
    """How one corpus is read.

    `read(directory)` gives the rows of an asset's files, cleaned. `columns` maps each column to `str`, `int`,
    `float` or the names of its classes; a list around them means several values, a dictionary named parts.
    `text(row)` is what is compared to find duplicates, `links(row)` names what a row shares with others that
    must not be parted. `what` is set for a corpus that is read from `data/` and says what it is; its rows have
    a `split` each.
    """

    read: Callable[[Path], list[Row]]
    columns: dict[str, Any]
    text: Callable[[Row], str]
    note: str
    links: Callable[[Row], Iterable[str]] = lambda row: ()
    what: str = ""


class _Prepared(NamedTuple):
    splits: dict[str, list[Row]]
    rows_read: int
    duplicates: int
    near_duplicates: int


# What a learner calls ------------------------------------------------------------------------------------


def load(name: str, split: str | None = None, *, min_strength: float | None = None) -> "Dataset | DatasetDict":
    """Load a corpus: all three splits as a `DatasetDict`, or one of them as a `Dataset`, held in memory.

    `min_strength` is for the corpora with a `score`: rows with `abs(score) < min_strength` are left out, and
    a score of 0 always is, for it has no label (default 0.5). It never moves a row to another split.
    Raises `ValueError` for an unknown name or split, `AssetError` where the files cannot be had.
    """
    corpus = _corpus(name)
    if split is not None and split not in SPLITS:
        raise ValueError(f"there is no split {split!r}; the splits are {', '.join(SPLITS)}.")
    keep = _strength_filter(name, corpus, min_strength)
    from datasets import Dataset, DatasetDict

    features = _features(corpus)
    prepared = _prepared(name, _directory(name))
    parts = {
        part: Dataset.from_list([_public(row, corpus) for row in prepared.splits[part] if keep(row)], features)
        for part in (SPLITS if split is None else (split,))
    }
    return DatasetDict(parts) if split is None else parts[split]


def describe(name: str) -> str:
    """The data sheet of a corpus in plain text: rows, columns, source, licence, what was removed and why."""
    corpus = _corpus(name)
    what, source, licence = corpus.what, "data/, written for this course", "CC BY 4.0"
    if not corpus.what:
        asset = assets.ASSETS[name]
        what, licence = asset.what, asset.licence
        source = ", ".join(f"{one.package} {one.version}" for one in asset.sources)
    prepared = _prepared(name, _directory(name))
    keep = _strength_filter(name, corpus, None)
    sizes = {part: sum(map(keep, rows)) for part, rows in prepared.splits.items()}
    weak = sum(map(len, prepared.splits.values())) - sum(sizes.values())
    removed = f"{prepared.duplicates:,} duplicates"
    if "score" in corpus.columns:
        removed += f", then {weak:,} rows with a score between -{MIN_STRENGTH} and {MIN_STRENGTH}"
    return "\n".join(
        (
            f"{name}: {what}",
            f"rows      {', '.join(f'{part} {size:,}' for part, size in sizes.items())}",
            f"columns   {'; '.join(f'{column}: {_kind(kind)}' for column, kind in corpus.columns.items())}",
            f"source    {source}",
            f"licence   {licence}",
            f"removed   of {prepared.rows_read:,} rows: {removed}",
            f"together  rows nearly the same as an earlier one, kept in its split: {prepared.near_duplicates:,}",
            f"note      {corpus.note}",
        )
    )


def _corpus(name: str) -> Corpus:
    if name not in CORPORA:
        raise ValueError(f"there is no corpus {name!r}; the names are {', '.join(CORPORA)}.")
    return CORPORA[name]


def _directory(name: str) -> Path:
    return assets.own_data() if CORPORA[name].what else assets.fetch(name)


def _strength_filter(name: str, corpus: Corpus, min_strength: float | None) -> Callable[[Row], bool]:
    if "score" not in corpus.columns:
        if min_strength is not None:
            raise ValueError(f"min_strength={min_strength} has no meaning for {name!r}, whose rows have no score.")
        return lambda row: True
    least = MIN_STRENGTH if min_strength is None else min_strength
    return lambda row: row["score"] != 0 and abs(row["score"]) >= least


def _public(row: Row, corpus: Corpus) -> Row:
    """The documented columns of a row; a score carries its label with it."""
    if "score" in row:
        row = {**row, "label": "positive" if row["score"] > 0 else "negative"}
    return {column: row[column] for column in corpus.columns}


def _features(corpus: Corpus) -> "Features":
    from datasets import ClassLabel, Features, List, Value

    values = {str: Value("string"), float: Value("float64"), int: Value("int32")}

    def feature(kind):
        if isinstance(kind, dict):
            return {part: feature(value) for part, value in kind.items()}
        if isinstance(kind, list):
            return List(feature(kind[0]))
        return ClassLabel(names=list(kind)) if isinstance(kind, tuple) else values[kind]

    return Features({column: feature(kind) for column, kind in corpus.columns.items()})


def _kind(kind) -> str:
    if isinstance(kind, dict):
        return ", ".join(f"{part} ({_kind(value)})" for part, value in kind.items())
    if isinstance(kind, list):
        return f"list of {_kind(kind[0])}"
    if isinstance(kind, tuple):
        return f"{len(kind)} classes" if len(kind) > 6 else "/".join(kind)
    return {str: "text", float: "number", int: "number"}[kind]


# Duplicates and splits -----------------------------------------------------------------------------------


@functools.cache
def _prepared(name: str, directory: Path) -> _Prepared:
    corpus = CORPORA[name]
    rows = corpus.read(directory)
    unique = _merge_duplicates(rows, corpus)
    words = [frozenset(_words(corpus.text(row))) for row in unique]
    similar = _near_duplicates(words)
    groups = _groups(similar, [list(corpus.links(row)) for row in unique])
    fingerprints = [_fingerprint(corpus.text(row)) for row in unique]
    stated = [row["split"] for row in unique] if corpus.what else None
    splits = _split(fingerprints, groups, stated)
    return _Prepared(
        {part: [unique[i] for i in members] for part, members in splits.items()},
        len(rows),
        len(rows) - len(unique),
        len({later for _, later in similar}),
    )


def _merge_duplicates(rows: list[Row], corpus: Corpus) -> list[Row]:
    """Keep the first of the rows with one text; a score becomes the mean over all of them."""
    same: dict[str, list[Row]] = {}
    for row in rows:
        same.setdefault(corpus.text(row), []).append(row)
    return [
        {**first, "score": math.fsum(row["score"] for row in (first, *others)) / (1 + len(others))}
        if "score" in first
        else first
        for first, *others in same.values()
    ]


def _words(text: str) -> list[str]:
    """Words without case and punctuation, or the text itself where it has none, as in ":-)"."""
    return re.findall(r"\w+", text.casefold()) or [text]


def _near_duplicates(sets: list[frozenset[str]]) -> list[tuple[int, int]]:
    """All pairs (earlier, later) whose Jaccard similarity |a & b| / |a | b| is at least `NEAR_DUPLICATE`.

    Prefix filtering (Chaudhuri, Ganti and Kaushik, ICDE 2006) makes this exact search fast: two sets that
    similar must share one of their few rarest words, so only such pairs are compared.
    """
    p, q = NEAR_DUPLICATE.as_integer_ratio()
    frequency = Counter(word for words in sets for word in words)
    seen: dict[str, list[int]] = {}
    pairs = []
    for later, words in enumerate(sets):
        size = len(words)
        rarest = sorted(sorted(words), key=frequency.__getitem__)
        prefix = rarest[: size - math.ceil(NEAR_DUPLICATE * size) + 1]
        candidates = {i for word in prefix for i in seen.get(word, ())}
        for earlier in sorted(candidates):
            other = len(sets[earlier])
            if p * size > q * other or p * other > q * size:
                continue  # too different in length to share enough
            shared = len(words & sets[earlier])
            if q * shared >= p * (size + other - shared):
                pairs.append((earlier, later))
        for word in prefix:
            seen.setdefault(word, []).append(later)
    return pairs


def _groups(pairs: list[tuple[int, int]], links: list[list[str]]) -> list[list[int]]:
    """Connected components: rows joined by a pair or by a link they share."""
    parent = list(range(len(links)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    first_with: dict[str, int] = {}
    linked = [(first_with.setdefault(link, i), i) for i, row in enumerate(links) for link in row]
    for a, b in (*pairs, *linked):
        parent[root(b)] = root(a)
    groups: dict[int, list[int]] = {}
    for i in range(len(links)):
        groups.setdefault(root(i), []).append(i)
    return list(groups.values())


def _fingerprint(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def _split(fingerprints: list[str], groups: list[list[int]], stated: list[str] | None = None) -> dict[str, list[int]]:
    """Deal whole groups, in the order of their smallest fingerprint, to test and validation until these are full.

    Where the split of each row is `stated` it is kept, and a group that it parts is an error.
    """
    held_out = round(_HELD_OUT * len(fingerprints))
    dealt: dict[str, list[int]] = {part: [] for part in SPLITS}
    for group in sorted(groups, key=lambda group: min(fingerprints[i] for i in group)):
        if stated:
            part, *others = sorted({stated[i] for i in group})
            if others:
                raise ValueError(f"rows that must stay together are in {part} and in {others[0]}")
            dealt[part] += group
            continue
        for part in ("test", "validation", "train"):
            if part == "train" or len(dealt[part]) + len(group) <= held_out:
                dealt[part] += group
                break
    return {part: sorted(members, key=fingerprints.__getitem__) for part, members in dealt.items()}


# Reading -------------------------------------------------------------------------------------------------


def _clean(text: str) -> str:
    """Decode HTML entities (some are encoded twice), mend Windows quotes read as Latin-1, collapse space."""
    text = html.unescape(html.unescape(text))
    text = re.sub("[\x80-\x9f]", lambda found: found[0].encode("latin-1").decode("cp1252", "ignore"), text)
    return " ".join(text.split())


def _read_rated(directory: Path) -> list[Row]:
    """Tab-separated with a header; quotation marks are text, so no CSV reader must interpret them."""
    _, *lines = (directory / "snippets.tsv").read_text(encoding="utf-8").splitlines()
    rows = []
    for line in lines:
        number, score, text = line.split("\t")
        rows.append({"document": number.split("_")[0], "score": float(score), "text": _clean(text)})
    return rows


def _read_sms(directory: Path) -> list[Row]:
    with (directory / "messages.csv").open(encoding="utf-8", newline="") as lines:
        return [
            {"text": _clean(row["text"]), "label": ("ham", "spam")[int(row["spam"])]} for row in csv.DictReader(lines)
        ]


def _read_trec(directory: Path) -> list[Row]:
    """`COARSE:fine question` a line. One dash was lost to a wrong decoding upstream and is put back."""
    text = (directory / "questions.txt").read_text(encoding="utf-8").replace("\N{REPLACEMENT CHARACTER}", "-")
    rows = []
    for line in text.splitlines():
        fine, question = line.split(" ", 1)
        rows.append({"text": _clean(question), "coarse": fine.split(":")[0], "fine": fine})
    return rows


def _read_bbc(directory: Path) -> list[Row]:
    rows = []
    for line in (directory / "articles.jsonl").read_text(encoding="utf-8").split("\n")[:-1]:
        article = json.loads(line)
        headline, body = article["text"].split("\n", 1)
        paragraphs = filter(None, map(_clean, body.split("\n")))
        rows.append({"headline": _clean(headline), "text": "\n".join(paragraphs), "label": article["label"]})
    return rows


def _read_entities(directory: Path) -> list[Row]:
    """`token <tab> tag` a line, a blank line (a tab may be left on it) between tweets."""
    tweets: list[list[tuple[str, str]]] = [[]]
    for line in (directory / "entities.conll").read_text(encoding="utf-8").split("\n"):
        if line.strip():
            token, tag = line.split("\t")
            tweets[-1].append((token, tag))
        elif tweets[-1]:
            tweets.append([])
    return [
        {"tokens": [token for token, _ in tweet], "ner_tags": [tag for _, tag in tweet]} for tweet in tweets if tweet
    ]


def _read_french(directory: Path) -> list[Row]:
    """Jed files: `context U+0004 message` or `message` -> forms (singular first); key "" is the file's header."""
    rows = []
    for name in assets.ASSETS["jupyterlab-french"].files:
        if name.endswith(".json"):
            messages = json.loads((directory / name).read_text(encoding="utf-8"))
            for message, forms in messages.items():
                english, french = _clean(message.split("\x04")[-1]), _clean(forms[0]) if message else ""
                if english and english != french:
                    rows.append({"en": english, "fr": french})
    return rows


def _read_questions(directory: Path) -> list[Row]:
    """`## title · split`, the passage, then `- question => answer` a line; `data/README.md` explains the form."""
    rows = []
    heading = re.compile(r"^## (.+) · (\w+)$", re.MULTILINE)
    _, *parts = heading.split((directory / "course_questions.md").read_text(encoding="utf-8"))
    for title, split, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
        prose, questions = body.split("\n- ", 1)
        context = "\n".join(" ".join(paragraph.split()) for paragraph in prose.strip().split("\n\n"))
        for number, line in enumerate(questions.strip().split("\n- "), start=1):
            question, *marked = line.split(" => ")
            spans = [] if marked == ["-"] else [_span(context, title, answer) for answer in marked]
            answers = {"text": [text for text, _ in spans], "answer_start": [start for _, start in spans]}
            name = re.sub(r"\W+", "-", title.casefold()).strip("-")
            row = {"id": f"{name}-{number}", "title": title, "context": context, "question": question}
            rows.append(row | {"answers": answers, "split": split})
    return rows


def _span(context: str, title: str, marked: str) -> tuple[str, int]:
    """The answer and where it starts; `opened in [1911]` is the 1911 behind those words.

    Raises ValueError unless the words stand in the passage exactly once.
    """
    before, bracket, rest = marked.partition("[")
    answer, _, after = rest.partition("]") if bracket else (marked, "", "")
    before = before if bracket else ""
    found = [hit.start() for hit in re.finditer(rf"(?<!\w){re.escape(before + answer + after)}(?!\w)", context)]
    if len(found) != 1 or not answer:
        raise ValueError(f"{title}: {marked!r} stands in the passage {len(found)} times, not once")
    return answer, found[0] + len(before)


# The corpora ---------------------------------------------------------------------------------------------

_SENTIMENT = {"text": str, "score": float, "label": ("negative", "positive")}
_ENTITIES = (
    "company",
    "facility",
    "geo-loc",
    "movie",
    "musicartist",
    "other",
    "person",
    "product",
    "sportsteam",
    "tvshow",
)
_QUESTIONS = {
    "ABBR": "abb exp",
    "DESC": "def desc manner reason",
    "ENTY": "animal body color cremat currency dismed event food instru lang letter other plant product religion "
    "sport substance symbol techmeth termeq veh word",
    "HUM": "desc gr ind title",
    "LOC": "city country mount other state",
    "NUM": "code count date dist money ord other perc period speed temp volsize weight",
}


def _rated(note: str, by_document: bool = False) -> Corpus:
    return Corpus(
        read=_read_rated,
        columns=_SENTIMENT,
        text=lambda row: row["text"],
        note=f"score is the mean of at least 20 human ratings, -4 to 4; label is its sign. {note}",
        links=(lambda row: (row["document"],)) if by_document else (lambda row: ()),
    )


CORPORA: dict[str, Corpus] = {
    "movie-reviews": _rated("The text does not say which review a sentence is from."),
    "amazon-reviews": _rated("Lower case throughout; a review is never parted between splits.", True),
    "tweets-sentiment": _rated("Rows that differ in capitals or !!! alone are kept, in one split."),
    "nyt-editorials": _rated("An editorial is never parted between splits; many scores are near 0.", True),
    "sms-spam": Corpus(
        read=_read_sms,
        columns={"text": str, "label": ("ham", "spam")},
        text=lambda row: row["text"],
        note="One message in eight is spam: compare with a classifier that always says ham.",
    ),
    "trec-questions": Corpus(
        read=_read_trec,
        columns={
            "text": str,
            "coarse": tuple(_QUESTIONS),
            "fine": tuple(f"{coarse}:{fine}" for coarse in _QUESTIONS for fine in _QUESTIONS[coarse].split()),
        },
        text=lambda row: row["text"],
        note="The file strings together training sets of 1,000 to 5,452 questions, each within the next: "
        "a random split of its lines puts most test questions into training.",
    ),
    "bbc-news": Corpus(
        read=_read_bbc,
        columns={"headline": str, "text": str, "label": ("business", "entertainment", "politics", "sports", "tech")},
        text=lambda row: row["text"],
        note="text is the article without its headline, a paragraph a line; articles that were "
        "published again under another headline count as duplicates.",
    ),
    "tweet-entities": Corpus(
        read=_read_entities,
        columns={
            "tokens": [str],
            "ner_tags": [("O", *(f"{prefix}-{kind}" for kind in _ENTITIES for prefix in "BI"))],
        },
        text=lambda row: " ".join(row["tokens"]),
        note="Tags mark the first (B) and further (I) tokens of an entity. The language is "
        "coarse: choose what you show.",
    ),
    "jupyterlab-french": Corpus(
        read=_read_french,
        columns={"en": str, "fr": str},
        text=lambda row: f"{row['en']} = {row['fr']}",
        note="Messages left untranslated are dropped; %1 and the like are placeholders.",
        links=lambda row: (f"en {row['en'].casefold()}", f"fr {row['fr'].casefold()}"),
    ),
    "course-questions": Corpus(
        read=_read_questions,
        columns={
            "id": str,
            "title": str,
            "context": str,
            "question": str,
            "answers": {"text": [str], "answer_start": [int]},
        },
        text=lambda row: f"{row['title']}: {row['question']}",
        note="Most of it is invented, so that no model knows it by heart. No answer in the passage: empty lists.",
        links=lambda row: (row["title"],),
        what="Passages with questions, answered by a span of the passage or not at all, in SQuAD's form",
    ),
}
