"""Corpora: documented columns and sizes, nothing lost but duplicates, no leak between splits."""

import csv
import html
import itertools
import json
import os
import random
import re
import subprocess
import sys

import numpy as np
import pytest

from course_lib import assets, corpora

SIZES = {
    "movie-reviews": (8057, 1009, 1004),
    "amazon-reviews": (2394, 287, 295),
    "tweets-sentiment": (2721, 353, 358),
    "nyt-editorials": (2361, 280, 284),
    "sms-spam": (3609, 451, 451),
    "trec-questions": (4305, 538, 538),
    "bbc-news": (1674, 209, 209),
    "tweet-entities": (1835, 230, 230),
    "jupyterlab-french": (2437, 305, 305),
    "course-questions": (1490, 238, 417),
}
RATED = ("movie-reviews", "amazon-reviews", "tweets-sentiment", "nyt-editorials")
real = pytest.mark.assets


def rows_of(name):
    return list(itertools.chain.from_iterable(corpora.load(name).values()))


def squeeze(text):
    return " ".join(html.unescape(html.unescape(text)).split())


# Without any asset


def test_every_corpus_of_the_table_can_be_loaded():
    assert set(corpora.CORPORA) == set(SIZES)
    fetched = {name for name, asset in assets.ASSETS.items() if asset.kind == "corpus"}
    assert {name for name, corpus in corpora.CORPORA.items() if not corpus.what} == fetched


@pytest.mark.parametrize("call", [corpora.load, corpora.describe])
def test_unknown_corpus(call):
    with pytest.raises(ValueError, match=r"no corpus 'movies'; the names are movie-reviews, "):
        call("movies")


def test_unknown_split_is_refused_before_anything_is_fetched(monkeypatch):
    monkeypatch.setattr(assets, "fetch", None)
    with pytest.raises(ValueError, match=r"no split 'dev'; the splits are train, validation, test"):
        corpora.load("sms-spam", "dev")
    with pytest.raises(ValueError, match=r"min_strength=0\.3 has no meaning for 'sms-spam'"):
        corpora.load("sms-spam", min_strength=0.3)


def test_near_duplicates_equal_brute_force():
    rng = random.Random(7)
    base = [frozenset(rng.sample("abcdefghijklmnopqrstuvwxyz", rng.randint(1, 13))) for _ in range(211)]
    close = [words ^ frozenset(rng.sample("abcdefghijklmnopqrstuvwxyz", rng.randint(0, 2))) for words in base]
    sets = [words for words in (*base, *close) if words]
    expected = {
        (i, j) for (i, a), (j, b) in itertools.combinations(enumerate(sets), 2) if 5 * len(a & b) >= 4 * len(a | b)
    }
    assert len(expected) > 50
    assert set(corpora._near_duplicates(sets)) == expected


def test_pair_exactly_on_the_line_is_near():
    words = frozenset("abcde")
    assert corpora._near_duplicates([words, words - {"e"}]) == [(0, 1)]
    assert corpora._near_duplicates([words, words - {"e"} | {"f"}]) == []


def test_groups_join_pairs_and_links():
    links = [["x"], [], ["x"], [], ["y"], ["y"], []]
    groups = {frozenset(group) for group in corpora._groups([(1, 2), (3, 4)], links)}
    assert groups == {frozenset({0, 1, 2}), frozenset({3, 4, 5}), frozenset({6})}


def test_split_keeps_groups_whole_whatever_the_order():
    texts = [f"row {i}" for i in range(101)]
    groups = [list(range(i, min(i + 3, 101))) for i in range(0, 101, 3)]
    fingerprints = list(map(corpora._fingerprint, texts))
    parts = corpora._split(fingerprints, groups)
    assert sorted(itertools.chain(*parts.values())) == list(range(101))
    assert all(any(set(group) <= set(part) for part in parts.values()) for group in groups)
    assert 8 <= len(parts["test"]) <= 10 and 8 <= len(parts["validation"]) <= 10
    assert corpora._split(fingerprints, groups[::-1]) == parts
    assert parts["train"] != sorted(parts["train"])  # shuffled


def test_a_stated_split_is_kept_and_may_not_part_a_group():
    stated = ["test", "train", "test", "validation", "train"]
    fingerprints = list("ecbda")
    parts = corpora._split(fingerprints, [[0, 2], [1, 4], [3]], stated)
    assert parts == {"train": [4, 1], "validation": [3], "test": [2, 0]}
    with pytest.raises(ValueError, match="must stay together are in test and in train"):
        corpora._split(fingerprints, [[0, 1], [2], [3], [4]], stated)


def test_the_questions_need_no_download(monkeypatch):
    monkeypatch.setattr(assets, "fetch", None)
    splits = corpora.load("course-questions")
    assert tuple(map(len, splits.values())) == SIZES["course-questions"]
    features = splits["test"].features
    assert list(features) == ["id", "title", "context", "question", "answers"]
    assert all(features[column].dtype == "string" for column in ("id", "title", "context", "question"))
    assert {name: (type(part).__name__, part.feature.dtype) for name, part in features["answers"].items()} == {
        "text": ("List", "string"),
        "answer_start": ("List", "int32"),
    }
    written = {row["id"]: row for row in corpora._read_questions(assets.own_data())}
    for part, rows in splits.items():
        assert all(written.pop(row["id"]) == row | {"split": part} for row in rows)
    assert written == {}
    assert "CC BY 4.0" in corpora.describe("course-questions")


def test_duplicates_become_one_row_with_the_mean_score():
    corpus = corpora.CORPORA["movie-reviews"]
    rows = [{"text": text, "score": score} for text, score in (("a", 1.0), ("b", -2.0), ("a", 0.25), ("a", 1.0))]
    assert corpora._merge_duplicates(rows, corpus) == [{"text": "a", "score": 0.75}, {"text": "b", "score": -2.0}]


def test_cleaning():
    assert corpora._clean(" Tom &amp;amp; Jerry\u00a0&lt;3  don\x92t\t") == "Tom & Jerry <3 don’t"


# The real texts


@real
@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_columns(name):
    splits = corpora.load(name)
    assert tuple(splits) == corpora.SPLITS
    assert tuple(len(part) for part in splits.values()) == SIZES[name]
    for part in splits.values():
        assert part.column_names == list(corpora.CORPORA[name].columns)
        assert part.cache_files == []  # in memory: nothing is written
    one = corpora.load(name, "validation")
    assert one.features == splits["validation"].features and list(one) == list(splits["validation"])


@real
@pytest.mark.parametrize("name", SIZES)
def test_no_leak_between_splits(name):
    """Exact and independent of the module's own search: shared words counted through posting lists."""
    texts = {part: [words_of(row) for row in rows] for part, rows in corpora.load(name).items()}
    for earlier, later in itertools.combinations(corpora.SPLITS, 2):
        assert most_similar(texts[earlier], texts[later]) < 0.8


def words_of(row):
    if "tokens" in row:
        text = " ".join(row["tokens"])
    else:
        text = row.get("text") or row.get("context") or f"{row['en']} = {row['fr']}"
    return set(re.sub(r"[^\w\s]", " ", text.lower()).split()) or {text}


def most_similar(library, queries):
    postings = {}
    for i, words in enumerate(library):
        for word in words:
            postings.setdefault(word, []).append(i)
    sizes = np.array([len(words) for words in library])
    best = 0.0
    for words in queries:
        hits = [np.array(postings[word]) for word in words if word in postings]
        if hits:
            shared = np.bincount(np.concatenate(hits), minlength=len(library))
            best = max(best, (shared / (len(words) + sizes - shared)).max())
    return best


@real
@pytest.mark.parametrize("name", RATED)
def test_rated_rows_are_those_of_the_file(name):
    """Read a second way: the csv module told that quotation marks mean nothing."""
    with (assets.fetch(name) / "snippets.tsv").open(encoding="utf-8", newline="") as lines:
        raw = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
    scores = {}
    for row in raw:
        scores.setdefault(squeeze(row["text"]), []).append(float(row["sentiment"]))
    expected = {text: sum(values) / len(values) for text, values in scores.items()}

    loaded = list(itertools.chain(*corpora.load(name, min_strength=0).values()))
    assert len({row["text"] for row in loaded}) == len(loaded)
    assert {row["text"]: row["score"] for row in loaded} == pytest.approx(
        {text: score for text, score in expected.items() if score != 0}
    )
    assert all(row["label"] == (row["score"] > 0) for row in loaded)
    strong = {row["text"] for row in rows_of(name)}
    assert strong == {text for text, score in expected.items() if abs(score) >= 0.5}


@real
def test_movie_reviews_are_balanced_and_nearly_complete():
    rows = rows_of("movie-reviews")
    assert len(rows) == 10_072 - 2
    assert 0.45 < sum(row["label"] for row in rows) / len(rows) < 0.55
    assert corpora.load("movie-reviews", "test").features["label"].names == ["negative", "positive"]


@real
def test_strength_moves_no_row_to_another_split():
    loose = corpora.load("movie-reviews", min_strength=0)
    strict = corpora.load("movie-reviews", min_strength=2.0)
    for part in corpora.SPLITS:
        assert 0 < len(strict[part]) < len(loose[part])
        assert set(strict[part]["text"]) <= set(loose[part]["text"])
        assert min(map(abs, strict[part]["score"])) >= 2.0


@real
@pytest.mark.parametrize("name", ["amazon-reviews", "nyt-editorials"])
def test_documents_stay_whole(name):
    document_of = {}
    for line in (assets.fetch(name) / "snippets.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        number, _, text = line.split("\t")
        document_of.setdefault(squeeze(text), number.split("_")[0])  # a sentence of two documents: the first
    parts = {}
    for part, rows in corpora.load(name, min_strength=0).items():
        for row in rows:
            parts.setdefault(document_of[row["text"]], set()).add(part)
    assert len(parts) > 290 and all(len(found) == 1 for found in parts.values())


@real
def test_sms_spam():
    rows = rows_of("sms-spam")
    assert len({row["text"] for row in rows}) == len(rows)
    with (assets.fetch("sms-spam") / "messages.csv").open(encoding="utf-8", newline="") as lines:
        raw = list(csv.reader(lines))[1:]
    assert len(raw) == 4837 and sum(int(spam) for _, spam, _ in raw) == 638
    spam = {squeeze(text) for _, label, text in raw if label == "1"}
    assert sum(row["label"] for row in rows) == pytest.approx(len(spam), abs=5)
    assert not any("\x80" <= letter <= "\x9f" for row in rows for letter in row["text"])


@real
def test_trec_questions():
    rows = rows_of("trec-questions")
    lines = (assets.fetch("trec-questions") / "questions.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 15_452 and len(set(lines)) == 5382
    # One question stands in the file with two labels; the first is kept.
    assert len(rows) == 5382 - 1 == len({row["text"] for row in rows})
    features = corpora.load("trec-questions", "train").features
    assert features["coarse"].names == ["ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"]
    assert len(features["fine"].names) == 50
    for row in rows:
        assert features["fine"].int2str(row["fine"]).startswith(features["coarse"].int2str(row["coarse"]))
    assert {row["fine"] for row in rows} == set(range(50))
    assert not any("\N{REPLACEMENT CHARACTER}" in row["text"] for row in rows)
    # What the data sheet says of the file: training sets within training sets.
    sets = [set(lines[start:end]) for start, end in itertools.pairwise((0, 1000, 3000, 6000, 10_000, 15_452))]
    assert all(small <= large for small, large in itertools.pairwise(sets))


@real
def test_bbc_news():
    rows = rows_of("bbc-news")
    with (assets.fetch("bbc-news") / "articles.jsonl").open(encoding="utf-8") as lines:
        raw = [json.loads(line) for line in lines]
    assert len(raw) == 2225 and len({article["text"] for article in raw}) == 2225 - 98
    assert len({row["text"] for row in rows}) == len(rows)
    assert sum(len(article["text"].split()) for article in raw) == pytest.approx(854_000, rel=1e-3)
    assert all(row["headline"] and len(row["text"].split()) > 50 for row in rows)
    # Pound signs, and the accents of names that stand in the files as HTML entities.
    assert {letter for row in rows for letter in row["text"] if not letter.isascii()} == set("£éóôã¿")


@real
def test_tweet_entities():
    rows = rows_of("tweet-entities")
    names = corpora.load("tweet-entities", "train").features["ner_tags"].feature.names
    assert len(names) == 21 and names[0] == "O"
    kinds = {name[2:] for name in names[1:]}
    assert kinds == {
        *("company", "facility", "geo-loc", "movie", "musicartist"),
        *("other", "person", "product", "sportsteam", "tvshow"),
    }
    for row in rows:
        tags = [names[tag] for tag in row["ner_tags"]]
        assert len(tags) == len(row["tokens"]) > 0
        for before, tag in itertools.pairwise(["O", *tags]):
            assert not tag.startswith("I-") or before[2:] == tag[2:], tags
    text = (assets.fetch("tweet-entities") / "entities.conll").read_text(encoding="utf-8")
    tweets = {block for block in re.split(r"\n\s*\n", text.strip()) if block.strip()}
    assert len({tuple(row["tokens"]) for row in rows}) == len(rows)
    assert len(rows) == len({tuple(line.split("\t")[0] for line in tweet.split("\n")) for tweet in tweets})


@real
def test_jupyterlab_french():
    rows = rows_of("jupyterlab-french")
    assert len({(row["en"], row["fr"]) for row in rows}) == len(rows)
    assert all(row["en"] and row["fr"] and row["en"] != row["fr"] for row in rows)
    assert not any("\x04" in row["en"] or "\n" in row["en"] + row["fr"] for row in rows)
    assert ("Paste", "Coller") in {(row["en"], row["fr"]) for row in rows}
    for side in ("en", "fr"):
        sides = [{row[side].casefold() for row in part} for part in corpora.load("jupyterlab-french").values()]
        assert not any(a & b for a, b in itertools.combinations(sides, 2))


@real
@pytest.mark.parametrize("name", SIZES)
def test_data_sheet(name):
    sheet = corpora.describe(name)
    if name in assets.ASSETS:
        assert assets.ASSETS[name].licence in sheet and assets.ASSETS[name].sources[0].package in sheet
    for part, size in zip(corpora.SPLITS, SIZES[name], strict=True):
        assert f"{part} {size:,}" in sheet
    for column in corpora.CORPORA[name].columns:
        assert f"{column}: " in sheet


@real
def test_loading_is_silent_and_writes_nothing(tmp_path):
    assets.fetch("movie-reviews")
    code = "from course_lib import corpora; print(len(corpora.load('movie-reviews', 'test')))"
    environment = os.environ | {"HF_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("1004\n", "")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
