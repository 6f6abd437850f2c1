"""The instructor guide: minutes that add up, questions and misconceptions that are those of the course."""

import doctest
import itertools
import json
import re
from pathlib import Path

import instructor
import pytest
import torch

from course_lib.exercises import EXERCISES, judge
from course_lib.syllabus import BY_NUMBER, NOTEBOOKS

ROOT = Path(__file__).resolve().parent.parent
GUIDE = ROOT / "docs" / "instructor"

LENGTH = re.compile(r"^##+ (.+) \((\d+) minutes\)$")
ROW = re.compile(r"^\| (\d+):(\d\d) \| (\d+) \| (.+) \|$")
LINK = re.compile(r"\.\./notebooks/(\d\d)_\w+\.ipynb")


def read(path):
    return path.read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------ minutes


@pytest.mark.parametrize("number", BY_NUMBER)
def test_page_of_a_notebook_shares_out_its_minutes(number):
    text = read(GUIDE / f"{number}.md")
    for directive in ("teaching-plan", "before-you-run", "exercises-of"):
        assert f"```{{{directive}}} {number}\n" in text
    assert text.startswith(f"# Teaching {number} · {BY_NUMBER[number].title}\n")
    shared = instructor.minutes(number)
    assert shared.talking + shared.working == BY_NUMBER[number].minutes
    asked = sum(exercise.minutes for exercise in EXERCISES.values() if exercise.notebook == number)
    assert shared.working >= asked, "the exercises alone take longer"


def test_page_without_minutes_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(instructor, "PAGES", tmp_path)
    (tmp_path / "99.md").write_text("```{teaching-plan} 99\n:talking: 5\n```\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"99\.md has no"):
        instructor.minutes("99")


def schedules():
    """(name, its length, its rows as (starts at, minutes, what)) of every schedule."""
    found = []
    for line in read(GUIDE / "schedules.md").splitlines():
        if heading := LENGTH.match(line):
            found.append((heading[1], int(heading[2]), []))
        elif row := ROW.match(line):
            found[-1][2].append((60 * int(row[1]) + int(row[2]), int(row[3]), row[4]))
    return found


@pytest.mark.parametrize("schedule", schedules(), ids=lambda schedule: schedule[0])
def test_schedule_adds_up(schedule):
    _, length, rows = schedule
    assert sum(minutes for _, minutes, _ in rows) == length
    for (start, minutes, _), (following, _, _) in itertools.pairwise(rows):
        assert start + minutes == following
    worked = 0  # never two hours of work, or more, without a break
    for _, minutes, what in rows:
        worked = 0 if what in ("break", "lunch") else worked + minutes
        assert worked <= 150


def test_schedules_are_those_promised():
    names = [name for name, _, _ in schedules()]
    assert names == ["90 minutes", "One day", "First day", "Second day", *(f"Week {i}" for i in range(1, 7))]


def test_schedules_name_sections_that_exist():
    mentioned = 0
    for line in read(GUIDE / "schedules.md").splitlines():
        for piece in re.split(r"(?=\[\d\d · )", line):
            if (link := LINK.search(piece)) is None:
                continue
            twin = read(ROOT / "notebooks" / "text" / f"{BY_NUMBER[link[1]].stem}.md")
            for section in re.findall(r"§ (\d+)", piece):
                assert f"\n## {section} · " in twin, f"notebook {link[1]} has no section {section}: {line}"
                mentioned += 1
    assert mentioned > 10


def test_schedules_give_a_whole_notebook_its_time():
    home = re.findall(r"\.\./notebooks/(\d\d)_\w+\.ipynb\) \((\d+) minutes\)", read(GUIDE / "schedules.md"))
    assert len(home) == 8
    for number, minutes in home:
        assert int(minutes) == BY_NUMBER[number].minutes or number == "19"  # its reviews are exchanged afterwards
    whole = re.compile(r"^\[(\d\d) · [^\]]+\]\([^)]+\)$")
    for _, _, rows in schedules():
        for _, minutes, what in rows:
            if found := whole.match(what):
                assert minutes == BY_NUMBER[found[1]].minutes


def test_six_weeks_take_what_is_promised():
    text = read(GUIDE / "schedules.md").partition("## Six weeks")[2]
    home = [line for line in text.splitlines() if line.startswith("At home: ")]
    minutes = [sum(map(int, re.findall(r"\((\d+) minutes\)", line))) for line in home]
    assert f"{min(minutes)} to {max(minutes)} minutes at home" in text
    by_choice = {"16", "17", "18"}
    named = set(LINK.findall(text))
    assert named == set(BY_NUMBER)
    assert f"takes {len(named - by_choice) + 1} or more of the twenty" in text


def test_checklist_names_the_exercises_on_paper():
    (listed,) = re.findall(r"paper for ([\d., and]+),", read(GUIDE / "room.md"))
    on_paper = [exercise.id for exercise in EXERCISES.values() if "on paper" in exercise.title]
    assert {*on_paper} <= {*re.findall(r"\d\d\.\d", listed)}


# ------------------------------------------------------------------------------------------ the self-test


def test_self_test_has_right_answers():
    text = read(GUIDE / "self-test.md")
    answers = re.findall(r"^```pycon\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(answers) == 12 == text.count("Missed? Read ")
    for i, answer in enumerate(answers, 1):
        test = doctest.DocTestParser().get_doctest(answer, {}, f"question {i}", "self-test.md", 0)
        assert test.examples
        assert doctest.DocTestRunner().run(test).failed == 0


# ------------------------------------------------------------------------------------------ questions


def notebook(*cells):
    """A parsed notebook of (kind, source, printed) cells."""
    made = [{"cell_type": kind, "source": [source], "metadata": {}} for kind, source, _ in cells]
    for cell, (_, _, printed) in zip(made, cells, strict=True):
        if cell["cell_type"] == "code":
            cell["outputs"] = [{"name": "stdout", "text": [printed]}]
    return {"cells": made}


def test_prediction_has_its_section_and_what_is_printed():
    long = "".join(f"{i}\n" for i in range(20))
    cells = notebook(
        ("markdown", "## 3 · Masks\n\nText. *Before you run it:* which of [them](02_x.ipynb) survive?", ""),
        ("code", "print(1)", "1\n"),
        ("markdown", "No question.", ""),
        ("code", "print(2)", "2\n"),
        ("markdown", "*While it runs:* what is the floor?", ""),
        ("code", "run()", long),
    )
    first, second = instructor.predictions(cells)
    assert first == ("3 · Masks", "*Before you run it:* which of them survive?", "1")
    assert second.question == "*While it runs:* what is the floor?"
    assert second.printed.splitlines() == [*map(str, range(12)), "…"]


@pytest.mark.parametrize("one", NOTEBOOKS, ids=lambda one: one.number)
def test_every_prediction_of_a_notebook_is_collected(one):
    stored = json.loads(read(ROOT / "notebooks" / f"{one.stem}.ipynb"))
    twin = read(ROOT / "notebooks" / "text" / f"{one.stem}.md")
    found = list(instructor.predictions(stored))
    assert len(found) == len(re.findall(r"\*(?:Before you (?:run it|go on)|While it runs)\b", twin))
    assert len(found) >= 2


# ------------------------------------------------------------------------------------------ misconceptions


@pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda exercise: exercise.id)
def test_every_judge_names_misconceptions(exercise):
    found = instructor.misconceptions(exercise)
    assert found
    for known in found:
        assert len(known.message) > 10 and known.message == known.message.strip()


WRONG = [
    ("02.2", lambda scores, dim=-1: torch.exp(scores) / torch.exp(scores).sum(dim, keepdim=True)),
    ("02.4", lambda n: torch.ones(n, n, dtype=torch.bool).triu()),
    ("02.7", lambda p: torch.diag(p * (1 - p))),
    ("02.8", lambda weights, temperature: weights ** (1 / temperature)),
    ("03.1", lambda x, num_heads: x.reshape(x.shape[0], num_heads, x.shape[1], -1)),
    ("13.4", lambda logits, labels: -torch.log_softmax(logits, -1)[range(len(labels)), labels].sum()),
]


@pytest.mark.parametrize(("id", "answer"), WRONG, ids=[id for id, _ in WRONG])
def test_what_a_judge_says_is_in_the_guide(id, answer):
    verdict = judge(id, answer)
    assert not verdict.passed
    known = instructor.misconceptions(EXERCISES[id])
    patterns = [".*".join(map(re.escape, one.message.split("…"))) for one in known if one.name == verdict.misconception]
    assert any(re.fullmatch(pattern, verdict.message, re.DOTALL) for pattern in patterns), verdict


def test_misconceptions_of_another_exercise_are_not_listed():
    names = {known.name for known in instructor.misconceptions(EXERCISES["02.8"])}
    assert {"not-normalised", "inverse", "weights-as-scores"} <= names
    assert "sees-future" not in names
