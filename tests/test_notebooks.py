"""Every notebook: its form, its stored outputs, its twin, and its checks with every exercise solved.

Strict nbval, which runs all cells and compares all outputs, runs beside this file: see CONTRIBUTING.md.
"""

import ast
import base64
import itertools
import json
import re
import struct
import subprocess
import sys
import textwrap
from pathlib import Path

import nbformat
import pytest
from markdown_it import MarkdownIt

from course_lib import syllabus
from course_lib.exercises import EXERCISES, QUIZZES
from tools import build_notebooks, compare_runs, notebook_pipeline

TWINS = notebook_pipeline.twins()
IDS = [twin.stem for twin in TWINS]
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:home|root|tmp|work|usr|opt|Users|private|var|mnt|content)/|[A-Z]:\\\\")
MOST_LINES = 25
CELL_MEMORY = 1536

pytestmark = pytest.mark.notebooks


@pytest.fixture(params=TWINS, ids=IDS)
def twin(request):
    return request.param


@pytest.fixture
def stored(twin):
    return nbformat.read(notebook_pipeline.notebook_path(twin), as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [(cell, output) for cell in code_cells(notebook) for output in cell.outputs]


def texts(output):
    if output.output_type == "stream":
        return [output.text]
    data = output.get("data", {})
    return [value for kind, value in data.items() if kind.startswith("text/")]


def test_notebooks_and_twins_belong_together():
    built = sorted(path.stem for path in notebook_pipeline.NOTEBOOKS.glob("*.ipynb"))
    assert built == IDS
    assert all(stem == syllabus.BY_NUMBER[stem[:2]].stem for stem in IDS)


def test_twin_and_notebook_have_the_same_cells(twin, stored):
    source = notebook_pipeline.read_twin(twin)
    for cell in code_cells(stored):
        cell.outputs, cell.execution_count = [], None
    assert notebook_pipeline.dumps(stored) == notebook_pipeline.dumps(source), "run `python course.py build`"


def test_execution_counts_run_from_1(stored):
    # nbval skips a cell without a count in silence, so a cleared notebook would pass whatever it prints.
    cells = [cell for cell in code_cells(stored) if cell.source.strip()]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


def test_at_most_one_cell_in_ten_is_not_compared(stored):
    cells = code_cells(stored)
    tagged = [cell for cell in cells if compare_runs.NOT_COMPARED & set(cell.metadata.get("tags", []))]
    ignored = tagged + [cell for cell in cells if "NBVAL_" in cell.source]
    assert len(ignored) * 10 <= len(cells)
    for cell in ignored:
        following = cells[cells.index(cell) + 1]
        assert "assert" in following.source, f"no asserting cell follows {cell.source[:60]!r}"


def test_outputs_hold_no_error_warning_or_path(stored):
    for cell, output in outputs(stored):
        assert output.output_type != "error", cell.source
        assert output.get("name") != "stderr", output.text
        for text in texts(output):
            assert not MACHINE_PATH.search(text), text
            assert "Warning" not in text and "\r" not in text, text


def test_outputs_name_no_widget_that_is_gone(stored):
    assert "widgets" not in stored.metadata
    assert all(notebook_pipeline.VIEW not in output.get("data", {}) for _, output in outputs(stored))


def test_numbers_are_rounded(stored):
    """More digits than a reader needs differ between processors; exact values are asserted instead."""
    for cell, output in outputs(stored):
        if output.output_type == "stream" and not compare_runs.NOT_COMPARED & set(cell.metadata.get("tags", [])):
            assert not re.search(r"\d\.\d{7,}|\d(\.\d+)?e-(0[6-9]|[1-9]\d)", output.text), output.text


def test_no_progress_bar_is_left_over(stored):
    for cell, output in outputs(stored):
        text = output.get("text", "") + output.get("data", {}).get("text/plain", "")
        assert not re.search(r"\d%\|", text), (text[:60], cell.source[:80])


def test_no_star_is_left_over(stored):
    """Emphasis that does not begin or end where it should shows its star."""
    for cell in stored.cells:
        if cell.cell_type == "markdown":
            source = re.sub(r"\$\$.*?\$\$|\$[^$\n]*\$", "`formula`", cell.source, flags=re.DOTALL)
            pieces = [piece for block in MarkdownIt().enable("table").parse(source) for piece in block.children or ()]
            assert not [piece.content for piece in pieces if piece.type == "text" and "*" in piece.content]


def test_every_figure_has_an_alternative_text(stored):
    for cell in code_cells(stored):
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
            assert len(alt) > 30, f"no alt text: {cell.source[:80]!r}"


def test_every_figure_fits_a_laptop(stored):
    for cell, output in outputs(stored):
        png = output.get("data", {}).get("image/png")
        if png:
            width, height = struct.unpack(">II", base64.b64decode(png)[16:24])
            assert 300 <= width <= 1300 and height <= 1100, (width, height, cell.source[:80])


def test_every_figure_is_followed_by_a_caption_and_has_numbers(stored):
    for index, cell in enumerate(stored.cells):
        if cell.cell_type != "code" or "plotting." not in cell.source:
            continue
        if any("image/png" in output.get("data", {}) for output in cell.outputs):
            assert any(output.output_type == "stream" for output in cell.outputs), f"no number: {cell.source[:80]!r}"
            assert "*Figure" in stored.cells[index + 1].source, f"no caption after {cell.source[:80]!r}"


def titles_in(source):
    """Texts that a cell gives as titles: in calls, in dictionaries, and in variables named so."""
    values = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            values += [keyword.value for keyword in node.keywords if keyword.arg == "title"]
            if getattr(node.func, "attr", None) in ("set_title", "suptitle", "figure_title"):
                values += node.args
        elif isinstance(node, ast.Assign):
            if any("title" in name.id for to in node.targets for name in ast.walk(to) if isinstance(name, ast.Name)):
                values.append(node.value)
        elif isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "title":
                    values.append(value)
    return [
        one.value if isinstance(one, ast.Constant) else ast.unparse(one)[2:-1]
        for value in values
        for one in ast.walk(value)
        if isinstance(one, ast.JoinedStr) or (isinstance(one, ast.Constant) and isinstance(one.value, str))
    ]


def test_titles_are_found_wherever_they_are_given():
    source = """
        title = "in a variable"
        style = {"title": "in a dictionary", "other": "no title"}
        draw(title="in a call", label="no title")
        ax.set_title(f"by {name}")
        plotting.figure_title(figure, "of a figure")
    """
    found = titles_in(textwrap.dedent(source))
    assert {"in a variable", "in a dictionary", "in a call", "of a figure"} <= set(found)
    assert "by {name}" in found and "no title" not in found


def test_every_figure_says_in_its_title_what_to_see(stored):
    """A name of what is drawn, such as "causal" or "weights", is not enough for that: four words are the least."""
    for cell, following in itertools.pairwise(stored.cells):
        caption = re.match(r"\*Figure [\d.]+\d", following.source)
        if cell.cell_type == "code" and caption:
            found = titles_in(cell.source)
            assert any(len(re.findall(r"\w+", title)) >= 4 for title in found), (found, following.source[:40])


def test_cells_are_short(stored):
    for cell in code_cells(stored):
        assert len(cell.source.splitlines()) <= MOST_LINES, cell.source


def test_opening(twin, stored):
    first, setup = stored.cells[0].source, code_cells(stored)[0].source
    notebook = syllabus.BY_NUMBER[twin.name[:2]]
    assert first.startswith(f"# {notebook.number} · {notebook.title}\n")
    assert "**You will be able to**" in first
    assert f"**Time:** about {notebook.minutes} minutes." in first and "**Builds on:**" in first
    assert "colab.research.google.com" in first and "mybinder.org" in first
    assert setup == code_cells(notebook_pipeline.read_twin(TWINS[0]))[0].source


def test_closing(twin, stored):
    number = twin.name[:2]
    headings = [line for cell in stored.cells if cell.cell_type == "markdown" for line in cell.source.splitlines()]
    assert "## Summary" in headings and "## Further reading" in headings
    assert any(cell.source.strip() == f'quiz("{number}")' for cell in code_cells(stored)) and number in QUIZZES
    if twin != TWINS[-1]:
        following = TWINS[TWINS.index(twin) + 1].stem
        assert re.search(rf"^\*\*Next:\*\* \[.+\]\({following}\.ipynb\)$", stored.cells[-1].source, re.MULTILINE)


def test_links_between_notebooks_lead_somewhere(stored):
    for cell in stored.cells:
        for target in re.findall(r"\]\(([\w./-]+\.(?:ipynb|md))(?:#[^)]*)?\)", cell.source):
            assert (notebook_pipeline.NOTEBOOKS / target).exists(), target


def test_exercises_stand_where_they_are_checked(twin, stored):
    number = twin.name[:2]
    cells = stored.cells
    checked = [id for cell in code_cells(stored) for id, _ in notebook_pipeline.checks_in(cell.source)]
    assert checked == [id for id in EXERCISES if id.startswith(f"{number}.")]
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    solved = notebook_pipeline.solve(notebook_pipeline.read_twin(twin))
    for id in solved:
        exercise = EXERCISES[id]
        heading = (
            f"### Exercise {id} · {exercise.title} ({exercise.minutes} minutes, difficulty {exercise.difficulty} of 5)"
        )
        assert heading.replace("(1 minutes", "(1 minute") in text, heading
    for id in set(checked) - set(solved):
        assert f"✓ {id}" in stored_text(stored), f"{id} has neither a stub nor an answer that passes"


def stored_text(notebook):
    return "\n".join(text for _, output in outputs(notebook) for text in texts(output))


def test_stubs_are_not_attempted_yet(twin, stored):
    said = stored_text(stored)
    for id in notebook_pipeline.solve(notebook_pipeline.read_twin(twin)):
        exercise = EXERCISES[id]
        state = "not yet" if exercise.starts_broken else "not attempted yet"
        sign = "✗" if exercise.starts_broken else "○"
        assert f"{sign} {id} {exercise.title}: {state}" in said


def test_no_import_of_judges_or_private_names(stored):
    for cell in code_cells(stored):
        source = "\n".join(line for line in cell.source.splitlines() if not line.lstrip().startswith("%"))
        source = source.replace("    import course_lib\nprint", "    pass\n    import course_lib\nprint")
        for node in ast.walk(ast.parse(source)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.startswith("_") for name in names) and "judge" not in names


def test_limits_are_recorded_and_kept(twin):
    """The result file is of a run on two cores; this holds what was recorded, not this run's time."""
    notebook = syllabus.BY_NUMBER[twin.name[:2]]
    cost = build_notebooks.read_results()[notebook.number]
    assert 0 < cost["seconds"] <= (180 if notebook.trains else 90)
    assert 0 < cost["peak_mib"] <= CELL_MEMORY


def test_result_file_has_the_notebooks_and_no_other():
    assert sorted(build_notebooks.read_results()) == [stem[:2] for stem in IDS]


def test_readme_table_is_made_from_the_result_file():
    text = build_notebooks.README.read_text(encoding="utf-8")
    between = text.partition(build_notebooks.BEGIN)[2].partition(build_notebooks.END)[0]
    assert between.strip() == build_notebooks.table(), "run `python course.py build`"


@pytest.fixture
def offline(monkeypatch):
    """Every Python started from here on, kernels included, has no network."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "offline"))


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "call",
    [
        "socket.create_connection(('192.0.2.1', 80), timeout=5)",
        "socket.getaddrinfo('example.org', 80)",
        "socket.socket().connect_ex(('192.0.2.1', 80))",
    ],
)
def test_offline_is_offline(call):
    run = subprocess.run([sys.executable, "-c", f"import socket; {call}"], capture_output=True, text=True)
    assert "OSError: the network is blocked" in run.stderr


def assert_every_check_passes(notebook, ids):
    notebook_pipeline.execute(notebook)
    said = stored_text(notebook)
    assert [line for line in said.splitlines() if line.startswith(("✗", "○"))] == []
    for id in ids:
        assert f"✓ {id} {EXERCISES[id].title}: passed" in said


@pytest.mark.assets
@pytest.mark.usefixtures("offline")
def test_every_check_passes_where_all_is_solved(twin):
    """The set-up, the exercises and their checks; all other cells have run as stored, in strict nbval."""
    notebook = notebook_pipeline.read_twin(twin)
    solved = notebook_pipeline.solve(notebook)
    section = next(place for place, cell in enumerate(notebook.cells) if cell.source.startswith("## "))
    exercises = [place for place, cell in enumerate(notebook.cells) if "exercise" in cell.metadata.get("tags", [])]
    kept = {*range(section), *exercises, *(place + 1 for place in exercises)}
    notebook.cells = [cell for place, cell in enumerate(notebook.cells) if place in kept]
    assert_every_check_passes(notebook, solved)


@pytest.mark.slow
@pytest.mark.assets
@pytest.mark.usefixtures("offline")
def test_solved_run_passes_every_check_to_the_last_cell(twin):
    notebook = notebook_pipeline.read_twin(twin)
    assert_every_check_passes(notebook, notebook_pipeline.solve(notebook))


WRONG = {
    "wrong value": "def {name}(*arguments, **keywords):\n    return 0.5",
    "exception": "def {name}(*arguments, **keywords):\n    return 1 / 0",
    "ends the kernel": "def {name}(*arguments, **keywords):\n    print('bye')\n    exit()",
}


@pytest.mark.slow
@pytest.mark.assets
@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_run_all_reaches_the_end_with_every_answer_wrong(twin, wrong):
    notebook = notebook_pipeline.read_twin(twin)
    asked = []
    for stub, following in zip(notebook.cells, notebook.cells[1:], strict=False):
        if "exercise" in stub.metadata.get("tags", []):
            [(id, name)] = notebook_pipeline.checks_in(following.source)
            stub.source = wrong.format(name=name)
            asked.append(id)
    notebook_pipeline.execute(notebook)
    said = stored_text(notebook)
    for id in asked:
        assert f"✗ {id} {EXERCISES[id].title}: not yet" in said


class TestPipeline:
    """The builder itself, on a small twin."""

    TEXT = """---
kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
---

# Small

```{code-cell} ipython3
print("one"); print("two")
```

```{code-cell} ipython3
:tags: [exercise]

def mean_vector(vectors):
    ...
```

```{code-cell} ipython3
from course_lib import check
mine = check("00.2", mean_vector)
```

```{code-cell} ipython3
import ipywidgets
ipywidgets.IntSlider()
```
"""

    @pytest.fixture
    def small(self, tmp_path):
        path = tmp_path / "00_small.md"
        path.write_text(self.TEXT, encoding="utf-8")
        return path

    def test_two_builds_are_the_same_bytes(self, small):
        first, usage = notebook_pipeline.build(small)
        assert notebook_pipeline.build(small)[0] == first
        assert usage.seconds > 0 and usage.peak_bytes > 10 << 20
        notebook = json.loads(first)
        assert notebook["metadata"]["language_info"] == {"name": "python"} and "widgets" not in notebook["metadata"]
        assert "○ 00.2" in first and "widget-view" not in first

    def test_solved_stub_gets_the_name_that_is_checked(self, small):
        notebook = notebook_pipeline.read_twin(small)
        assert notebook_pipeline.solve(notebook) == ["00.2"]
        assert "from torch import Tensor" in code_cells(notebook)[1].source

    def test_stub_without_check_is_an_error(self, small):
        small.write_text(self.TEXT.replace("check(", "print("), encoding="utf-8")
        with pytest.raises(ValueError, match="no single check follows"):
            notebook_pipeline.solve(notebook_pipeline.read_twin(small))

    def test_ids_of_other_cells_stay_when_one_is_added(self, small):
        before = [cell.id for cell in notebook_pipeline.read_twin(small).cells]
        small.write_text(self.TEXT.replace("# Small", "# Small\n\n+++\n\nAdded."), encoding="utf-8")
        after = [cell.id for cell in notebook_pipeline.read_twin(small).cells]
        assert len(after) == len(before) + 1 and set(before) < set(after)

    def test_unknown_number(self):
        with pytest.raises(ValueError, match="no text twin for 99"):
            notebook_pipeline.twins(["99"])
