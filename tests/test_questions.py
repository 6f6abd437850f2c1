"""The course's passages and questions: the form of the file, its promises, and how far simple tricks come.

Every number of their data sheet in `data/README.md` is computed here.
"""

import functools
import itertools
import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from course_lib import corpora, evaluation

DATA = Path(__file__).parent.parent / "data"
TEXT = (DATA / "course_questions.md").read_text(encoding="utf-8")
ROWS = corpora._read_questions(DATA)
ANSWERABLE = [row for row in ROWS if row["answers"]["text"]]
PASSAGES = {row["title"]: row for row in ROWS}
LONG = 250  # words: passages for the lesson on strides
OPENINGS = ("what", "how", "who", "where", "which", "why", "when")


@functools.cache
def words(text):
    return tuple(re.findall(r"\w+", text.casefold()))


@functools.cache
def sentences(context):
    """(start, end) of each sentence."""
    ends = [found.end() for found in re.finditer(r"[.!?][\"')]*(?=\s)|\n", context)] + [len(context)]
    return [(start, end) for start, end in itertools.pairwise([0, *ends]) if context[start:end].strip()]


def split(name):
    return [row for row in ROWS if row["split"] == name]


def rows_by_title():
    groups = defaultdict(list)
    for row in ROWS:
        groups[row["title"]].append(row)
    return groups


# ------------------------------------------------------------------------------------------ the form of the file


def test_every_line_of_the_file_is_read():
    _, *blocks = re.split(r"^## ", TEXT, flags=re.MULTILINE)
    kept = {(row["title"], row["split"], row["question"]) for row in ROWS}
    for block in blocks:
        heading, rest = block.strip().split("\n\n", 1)
        prose, questions = re.split(r"\n\n(?=- )", rest)
        title, part = heading.split(" · ")
        assert prose.split() == PASSAGES[title]["context"].split()
        for line in questions.split("\n"):
            found = re.fullmatch(r"- ([^=]+\?)(?: => [^=]+)+", line)
            assert found, line
            kept.remove((title, part, found[1]))
    assert kept == set()


def test_an_answer_is_a_span_and_no_part_of_a_word():
    for row in ANSWERABLE:
        context, answers = row["context"], row["answers"]
        assert len(answers["text"]) == len(answers["answer_start"])
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            assert context[start : start + len(text)] == text
            around = context[max(start - 1, 0) : start] + " " + context[start + len(text) :][:1]
            assert not re.search(r"\w", around), row["id"]


def test_unanswerable_questions_have_empty_lists():
    assert all(row["answers"]["answer_start"] == [] for row in ROWS if not row["answers"]["text"])


def passage(tmp_path, body):
    (tmp_path / "course_questions.md").write_text(f"# Head\n\n## Gate 7 · test\n\n{body}\n", encoding="utf-8")
    return corpora._read_questions(tmp_path)


def test_the_form_is_read_as_explained(tmp_path):
    prose = "The gate of 1911 was shut\nin 1912. It had cost 1911\n\npounds."
    first, second = passage(tmp_path, f"{prose}\n\n- Built when? => gate of [1911] => 1912\n- By? => -")
    assert first == {
        "id": "gate-7-1",
        "title": "Gate 7",
        "context": "The gate of 1911 was shut in 1912. It had cost 1911\npounds.",
        "question": "Built when?",
        "answers": {"text": ["1911", "1912"], "answer_start": [12, 29]},
        "split": "test",
    }
    assert (second["id"], second["answers"]) == ("gate-7-2", {"text": [], "answer_start": []})


@pytest.mark.parametrize(
    ("answer", "times"), [("blue", 0), ("red", 2), ("a [red]", 0), ("in [red", 0), ("gat", 0), ("[]The", 1)]
)
def test_an_answer_that_is_not_there_exactly_once_is_refused(tmp_path, answer, times):
    with pytest.raises(ValueError, match=rf"Gate 7: '{re.escape(answer)}' stands in the passage {times} times"):
        passage(tmp_path, f"The red gate is not red.\n\n- Which? => {answer}")


# ------------------------------------------------------------------------------------------ what was promised


def test_there_is_enough_of_everything():
    assert len(PASSAGES) >= 120 and len(ANSWERABLE) >= 600 and len(ROWS) - len(ANSWERABLE) >= 120
    for title, rows in rows_by_title().items():
        answerable = sum(bool(row["answers"]["text"]) for row in rows)
        assert answerable >= 5 and 1 <= len(rows) - answerable <= 2, title


def test_nothing_stands_there_twice():
    for column in ("id", "question"):
        assert [value for value, n in Counter(row[column] for row in ROWS).items() if n > 1] == []
    contexts = [row["context"] for row in PASSAGES.values()]
    assert len(set(contexts)) == len(contexts) == TEXT.count("\n## ")
    shared = Counter(context[start:end].strip() for context in contexts for start, end in sentences(context))
    assert [sentence for sentence, n in shared.items() if n > 1 and len(words(sentence)) > 3] == []


def test_no_passage_is_in_two_splits():
    assert {row["split"] for row in ROWS} == set(corpora.SPLITS)
    for column in ("title", "context"):
        parts = [{row[column] for row in split(name)} for name in corpora.SPLITS]
        assert not any(a & b for a, b in itertools.combinations(parts, 2))


def test_passages_have_the_length_they_should():
    for title, row in PASSAGES.items():
        length = len(row["context"].split())
        assert 60 <= length <= 160 or LONG <= length <= 400, (title, length)
        assert ("\n" in row["context"]) == (length >= LONG), title
    for name in corpora.SPLITS:
        assert any(len(row["context"].split()) >= LONG for row in split(name))


def test_the_typography_is_the_same_everywhere():
    for text in [TEXT, *(row["question"] for row in ROWS)]:
        assert unicodedata.is_normalized("NFC", text)
        assert {mark for mark in text if not mark.isascii() and not mark.isalpha()} <= {"·"}
        assert not re.search(r"[^\S\n]{2}|\t| \n| [,;.!?]| - ", text.replace(" => -", ""))
    assert max(map(len, re.findall(r"^(?![-#]).*$", TEXT, re.MULTILINE))) <= 120
    for row in ROWS:
        assert re.fullmatch(r"[A-Z].*[^ ?]\?", row["question"])
        for text in row["answers"]["text"]:
            assert text == text.strip() and not re.search(r"[.,;:]$|^[.,;:]|[.?!] ", text)
            assert 1 <= len(text.split()) <= 20


def test_an_answer_does_not_stand_in_its_question():
    for row in ANSWERABLE:
        said = f" {' '.join(words(row['question']))} "
        assert not any(f" {' '.join(words(text))} " in said for text in row["answers"]["text"]), row["id"]


def test_right_answers_of_a_question_differ():
    for row in ANSWERABLE:
        assert len(set(row["answers"]["text"])) == len(row["answers"]["text"]) <= 3, row["id"]


def test_questions_and_answers_vary():
    openings = Counter(words(row["question"])[0] for row in ROWS)
    assert len(openings) >= 12 and max(openings.values()) < 0.4 * len(ROWS)
    assert all(openings[word] >= 0.04 * len(ROWS) for word in OPENINGS)
    kinds = Counter(kind(row["answers"]["text"][0]) for row in ANSWERABLE)
    assert set(kinds) == {"number", "name", "other"}
    assert min(kinds.values()) >= 0.12 * len(ANSWERABLE)
    assert np.mean([len(row["answers"]["text"][0].split()) >= 3 for row in ANSWERABLE]) >= 0.2


NUMERALS = re.compile(
    r"\d|\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|hundred|thousand|million|half|noon)\b"
    r"|(thir|four|fif|six|seven|eigh|nine)teen\b|(twen|thir|for|fif|six|seven|eigh|nine)ty\b"
)
NAMES = re.compile(r"(?<=[a-z,;] )[A-ZÀ-Þ]\w+")  # a capital letter, but not at the start of a sentence


def kind(answer):
    """A number or date, a name, or something else."""
    if NUMERALS.search(answer.casefold()):
        return "number"
    return "name" if re.search(r"\b[A-ZÀ-Þ]", re.sub(r"^(The|An?) ", "", answer)) else "other"


def test_passages_hold_wrong_answers_of_the_same_kind():
    """Where a number is asked for, the passage nearly always has two others at least; so too with names."""
    others = {"number": [], "name": []}
    for row in ANSWERABLE:
        answer = row["answers"]["text"][0]
        found = {"number": filter(NUMERALS.search, words(row["context"])), "name": NAMES.findall(row["context"])}
        if kind(answer) in others:
            wrong = {word.casefold() for word in found[kind(answer)]} - set(words(answer))
            others[kind(answer)].append(len(wrong))
    assert all(np.mean(np.array(counts) >= 2) > 0.9 for counts in others.values())


# ------------------------------------------------------------------------------------------ how far tricks come


def chosen_by_overlap(row):
    """(start, end) of the sentence that shares most words with the question, the first of equals."""
    asked = set(words(row["question"]))
    return max(sentences(row["context"]), key=lambda span: len(asked & set(words(row["context"][slice(*span)]))))


def holds_answer(row, span):
    """The sentence holds one of the right answers, at its place."""
    answers = zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
    return any(span[0] <= start and start + len(text) <= span[1] for text, start in answers)


def overlap_hits(rows):
    """Shares of the questions: the sentence chosen by overlap holds the answer, one drawn at random holds it."""
    chosen = [holds_answer(row, chosen_by_overlap(row)) for row in rows]
    chance = [np.mean([holds_answer(row, span) for span in sentences(row["context"])]) for row in rows]
    return np.mean(chosen), np.mean(chance)


def trick_scores(rows):
    """Mean exact match and F1 of two answers that look at no meaning: nothing, and the sentence chosen by overlap."""
    answers = [row["answers"]["text"] for row in rows]
    for predictions in ([""] * len(rows), [row["context"][slice(*chosen_by_overlap(row))] for row in rows]):
        scores = evaluation.squad_scores(predictions, answers)
        yield scores.exact_match.mean(), scores.f1.mean()


def unanswerable(rows):
    return np.array([not row["answers"]["text"] for row in rows])


def tell_by_question(train, test):
    """ROC AUC of a bag of the question's words and word pairs in telling the unanswerable; 0.5 is chance."""
    bag = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\w+", sublinear_tf=True)
    model = LogisticRegression(C=3, class_weight="balanced", max_iter=1000)
    model.fit(bag.fit_transform([row["question"] for row in train]), unanswerable(train))
    suspected = model.decision_function(bag.transform([row["question"] for row in test]))
    return roc_auc_score(unanswerable(test), suspected)


def tell_by_overlap(rows):
    """ROC AUC of the share of the question's words that the passage lacks."""
    lacking = [np.mean([word not in words(row["context"]) for word in words(row["question"])]) for row in rows]
    return roc_auc_score(unanswerable(rows), lacking)


def table_of_sizes():
    def numbers(part):
        rows = ROWS if part == "all" else split(part)
        lengths = [len(context.split()) for context in {row["context"] for row in rows}]
        answers = [row["answers"]["text"] for row in rows if row["answers"]["text"]]
        yield f"{len(lengths)}"
        yield f"{sum(length >= LONG for length in lengths)}"
        yield f"{min(lengths)} / {np.mean(lengths):.0f} / {max(lengths)}"
        yield f"{len(answers):,}"
        yield f"{sum(len(set(map(evaluation.normalise_answer, texts))) > 1 for texts in answers)}"
        yield f"{len(rows) - len(answers)}"
        yield f"{np.mean([len(row['question'].split()) for row in rows]):.1f}"
        yield f"{np.mean([len(texts[0].split()) for texts in answers]):.1f}"

    labels = (
        "passages",
        f"of them {LONG} words or longer",
        "words in a passage: least / mean / most",
        "questions with an answer",
        "of them with answers that differ in more than an article",
        "questions without an answer",
        "words in a question, mean",
        "words in an answer, mean",
    )
    parts = (*corpora.SPLITS, "all")
    columns = [list(numbers(part)) for part in parts]
    return table([["", *parts], *([label, *cells] for label, *cells in zip(labels, *columns, strict=True))])


def table_of_tricks():
    test = split("test")
    by_question = tell_by_question(split("train"), test)
    chosen, chance = overlap_hits([row for row in test if row["answers"]["text"]])
    (nothing, _), (exact, f1) = trick_scores(test)
    return table(
        [
            ["trick", "on the test split"],
            ["a sentence drawn at random holds the answer", f"{chance:.0%}"],
            ["the sentence that shares most words with the question holds it", f"{chosen:.0%}"],
            ["that sentence as the answer: exact match / F1", f"{100 * exact:.1f} / {100 * f1:.1f}"],
            ["never an answer: exact match and F1", f"{100 * nothing:.1f}"],
            ["telling the unanswerable by the question's words alone: ROC AUC", f"{by_question:.2f}"],
            ["telling them by how many of its words the passage lacks: ROC AUC", f"{tell_by_overlap(test):.2f}"],
        ]
    )


def table(rows):
    head, *body = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([head.replace("|  |", "| |"), "|---" * len(rows[0]) + "|", *body])


def test_overlap_of_words_alone_does_not_find_the_answer():
    chosen, chance = overlap_hits(ANSWERABLE)
    assert 2 * chance < chosen < 0.7


def test_unanswerable_questions_do_not_give_themselves_away():
    assert tell_by_question(split("train"), split("test")) < 0.7
    assert 0.4 < tell_by_overlap(ROWS) < 0.6


@pytest.mark.parametrize("expected", [table_of_sizes, table_of_tricks])
def test_the_data_sheet_says_what_is_there(expected):
    assert expected() in (DATA / "README.md").read_text(encoding="utf-8"), f"the data sheet should have:\n{expected()}"
