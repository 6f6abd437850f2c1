"""The page of versions says what the workflows, pyproject.toml and constraints.txt say."""

import re
from types import SimpleNamespace

import pytest

import course
from tools import versions


def test_page_is_made_from_the_files():
    text = versions.PAGE.read_text(encoding="utf-8")
    between = text.partition(versions.BEGIN)[2].partition(versions.END)[0]
    assert between.strip() == versions.tables(), "run `python -m tools.versions`"


def test_jobs_are_read():
    found = list(versions.jobs())
    assert versions.Job("every change", ["Linux"], ["3.11", "3.13"], "bash .ci/run") in found
    assert {job.command for job in found} == set(versions.COMMANDS)
    assert {job.when for job in found if "--slow" in job.command or "--newest" in job.command} == {"weekly"}


def test_slow_tests_run_at_colabs_python():
    (slow,) = [job for job in versions.jobs() if "--slow" in job.command]
    said = re.search(r"Python (\d\.\d+)", (versions.ROOT / "tests" / "colab.txt").read_text(encoding="utf-8"))
    assert slow.pythons == [said[1]]


def test_floor_of_python_is_tested():
    assert "3.11" in {python for job in versions.jobs() if job.when == "every change" for python in job.pythons}


@pytest.mark.parametrize(("name", "column"), [("numpy", 2), ("transformers", 1), ("ipywidgets", 3)])
def test_table_holds_the_versions(name, column):
    (row,) = [line for line in versions.tables().splitlines() if line.startswith(f"| {name} |")]
    expected = {1: versions.core()[name], 2: course.pins()[name], 3: versions.colab()[name]}
    assert [cell.strip() for cell in row.strip("|").split("|")][column] == expected[column]


def test_program_rewrites_only_between_the_markers(tmp_path, monkeypatch):
    page = tmp_path / "versions.md"
    page.write_text(f"# V\n{versions.BEGIN}\nold\n{versions.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(versions, "PAGE", page)
    assert versions.main([]) == 0
    text = page.read_text(encoding="utf-8")
    assert text == f"# V\n{versions.BEGIN}\n{versions.tables()}\n{versions.END}\nafter\n"
    versions.main([])
    assert page.read_text(encoding="utf-8") == text


def test_freeze_pins_what_is_installed(monkeypatch):
    installed = [("torch", "2.13.0+cpu"), ("pip", "26.1"), ("Attention_Course", "0.1.0"), ("b", "2"), ("A", "1.5")]
    found = [SimpleNamespace(name=name, version=version) for name, version in installed]
    monkeypatch.setattr(versions.importlib.metadata, "distributions", lambda: found)
    text = versions.frozen("# Why\n# and how.\nold==1\n")
    assert text == "# Why\n# and how.\nA==1.5\nb==2\ntorch==2.13.0\n"
    assert course.pins(text) == {"a": "1.5", "b": "2", "torch": "2.13.0"}
