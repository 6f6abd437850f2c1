"""What a learner calls: nothing raises, both forms say the same, progress is kept."""

import html
import json
import re

import pytest

from course_lib import check, hint, learning, progress, progress_file, quiz, solution
from course_lib.exercises import EXERCISES
from course_lib.syllabus import NOTEBOOKS
from course_lib.widgets.display import VIEW


@pytest.fixture(autouse=True)
def own_progress(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", str(tmp_path / "progress.json"))
    return tmp_path / "progress.json"


@pytest.fixture
def shown(monkeypatch):
    """The display bundles, instead of a display."""
    bundles = []
    monkeypatch.setattr(learning, "_show", bundles.append)
    return bundles


def text_of(markup):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def mean(vectors):
    return vectors.mean(0)


def by_width(vectors):
    print("looking")
    return vectors.sum(0) / vectors.shape[1]


def test_check_returns_a_right_answer(shown, own_progress):
    assert check("00.2", mean) is mean
    assert shown[0]["text/plain"].startswith("✓ 00.2 Fix the average: passed")
    entry = json.loads(own_progress.read_text(encoding="utf-8"))["exercises"]["00.2"]
    assert entry["attempts"] == 1 and entry["passed"]


def test_check_returns_the_reference_otherwise(shown, own_progress):
    assert check("00.2", by_width) is EXERCISES["00.2"].reference
    assert "divides by 2" in shown[0]["text/plain"] and "✗" in shown[0]["text/plain"]
    assert "Your code printed: `looking" in shown[0]["text/plain"]
    assert "passed" not in json.loads(own_progress.read_text(encoding="utf-8"))["exercises"]["00.2"]


def test_of_much_that_was_printed_the_first_lines_are_shown(shown):
    def chatty(vectors):
        for number in range(1, 12):
            print("line", number)
        return vectors.sum(0) / len(vectors)

    check("00.2", chatty)
    printed = shown[0]["text/plain"].partition("Your code printed: `")[2]
    assert printed == "\n".join(f"line {number}" for number in range(1, 11)) + "\n...`"


def test_blank_is_no_attempt(shown, own_progress):
    check("00.3", ...)
    check("00.3")
    assert "not attempted yet" in shown[0]["text/plain"]
    assert not own_progress.exists()


def test_once_passed_stays_passed(shown, own_progress):
    check("00.2", mean), check("00.2", by_width)
    entry = json.loads(own_progress.read_text(encoding="utf-8"))["exercises"]["00.2"]
    assert entry["passed"] and entry["attempts"] == 2


@pytest.mark.parametrize("call", [check, hint, solution, quiz])
@pytest.mark.parametrize("id", ["0.2", 7, None, [], "99.9", float("nan")])
def test_unknown_ids_are_told_not_raised(call, id, shown):
    call(id)
    assert "there is no" in shown[0]["text/plain"]


def test_check_of_an_unknown_id_gives_the_answer_back(shown):
    assert check("00.22", mean) is mean
    assert "did you mean '00.2'" in shown[0]["text/plain"]


def test_hints_come_one_by_one(shown):
    for expected in (1, 2, 3, 3):
        hint("00.3")
        text = shown[-1]["text/plain"]
        assert [hint in text for hint in EXERCISES["00.3"].hints] == [number <= expected for number in (1, 2, 3)]
    assert "solution('00.3')" in shown[-1]["text/plain"]


def test_solution_shows_source(shown, own_progress):
    solution("00.3")
    for form in ("text/plain", "text/markdown"):
        assert "return (a * b).sum() / (a.norm() * b.norm())" in shown[0][form]
    assert "solution" in json.loads(own_progress.read_text(encoding="utf-8"))["exercises"]["00.3"]


def test_both_forms_say_the_same(shown):
    check("00.2", mean), check("00.2", by_width), check("00.3", ...), hint("00.2"), check("0", 1)
    for bundle in shown:
        plain = " ".join(bundle["text/plain"].replace("`", " ").split())
        assert text_of(bundle["text/html"]).replace(" ", "") == plain.replace(" ", "")


def test_markup_in_an_answer_is_escaped(shown):
    check("00.2", lambda vectors: print("<script>alert(1)</script>"))
    assert "<script>" not in shown[0]["text/html"]


def test_progress_counts(shown):
    progress()
    assert "0 of 3" in shown[0]["text/plain"].splitlines()[0]
    check("00.2", mean), progress()
    assert "1 of 3" in shown[2]["text/plain"].splitlines()[0]
    assert "1 of 3" in text_of(shown[2]["text/html"])


def test_progress_draws_the_map(shown, own_progress):
    progress()
    empty = shown[0]["text/html"]
    for notebook in NOTEBOOKS:
        assert f"<strong>{notebook.number}</strong> {notebook.title}" in empty
    assert empty.count("width:0%") == 20 and empty.count("3px solid") == sum(one.core for one in NOTEBOOKS)
    assert f"0 of {len(EXERCISES)} exercises passed" in empty and "✓" not in empty
    now = "2026-01-01T00:00:00+00:00"
    done = {id: {"passed": now} for id in EXERCISES if id < "02.3"} | {"02.3": {"attempts": 4}}
    own_progress.write_text(json.dumps({"version": 1, "exercises": done, "quizzes": {"00": now}}), encoding="utf-8")
    progress()
    text = text_of(shown[1]["text/html"])
    assert "00 Start here ✓ 3 of 3, quiz done 20 min, core path Part I: Attention 01 Why attention? ✓ 5 of 5 45" in text
    assert "02 Queries, keys and values 2 of 8 75 min" in text
    assert f"10 of {len(EXERCISES)} exercises passed" in text
    assert shown[1]["text/html"].count("width:100%") == 2 and "width:25%" in shown[1]["text/html"]


def test_quiz_bundle(shown):
    quiz("00")
    bundle = shown[0]
    assert VIEW in bundle and bundle["text/html"].count("<details>") == 5
    assert "Answers" in bundle["text/plain"]


def test_damaged_progress_is_set_aside(shown, own_progress):
    own_progress.write_text('{"exercises": ', encoding="utf-8")
    check("00.2", mean)
    assert "damaged" in shown[0]["text/plain"]
    assert own_progress.with_suffix(".damaged.json").read_text(encoding="utf-8") == '{"exercises": '
    assert json.loads(own_progress.read_text(encoding="utf-8"))["exercises"]["00.2"]["passed"]


@pytest.mark.parametrize(
    "text", ["[]", "null", '{"exercises": [], "quizzes": {}}', '{"exercises": {"00.1": 3}, "quizzes": {}}']
)
def test_progress_of_another_form_is_set_aside(text, shown, own_progress):
    own_progress.write_text(text, encoding="utf-8")
    progress()
    assert "damaged" in shown[0]["text/plain"]


def test_progress_that_cannot_be_written(shown, own_progress, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    check("00.2", mean)
    before = own_progress.read_text(encoding="utf-8")
    monkeypatch.setattr(progress_file.os, "fsync", full)
    assert check("00.2", by_width) is EXERCISES["00.2"].reference
    assert "could not be saved: No space left on device" in shown[-1]["text/plain"]
    assert own_progress.read_text(encoding="utf-8") == before
    assert [path.name for path in own_progress.parent.glob(".progress-*")] == []


def test_a_locked_file_is_told(shown, own_progress, monkeypatch):
    monkeypatch.setattr(progress_file, "_LOCK_SECONDS", 0.05)
    with progress_file.FileLock(f"{own_progress}.lock"):
        check("00.2", mean)
    assert "another notebook is holding the progress file" in shown[0]["text/plain"]


def test_default_place_is_the_users_data_directory(monkeypatch):
    monkeypatch.delenv("COURSE_PROGRESS")
    assert progress_file.path().name == "progress.json" and "attention-course" in str(progress_file.path())


def test_plain_interpreter_prints(capsys, monkeypatch):
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    hint("00.1")
    assert "1. The table has one row" in capsys.readouterr().out


def test_notebook_gets_a_bundle(monkeypatch):
    bundles = []
    monkeypatch.setattr("IPython.get_ipython", object)
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: bundles.append((bundle, raw)))
    hint("00.1")
    assert bundles[0][1] is True and "text/html" in bundles[0][0]
