"""What differs between two runs of a notebook, and the report of it."""

import base64
import io

import nbformat
import numpy as np
import pytest
from PIL import Image

import course
from tools import build_notebooks, compare_runs

TWIN = """---
kernelspec: {display_name: Python 3 (ipykernel), language: python, name: python3}
---

# Small

```{code-cell} ipython3
first = 7
print("loss", 0.25)
print("steps", 7)
```

```{code-cell} ipython3
import base64, pathlib
from IPython.display import Image, display
display(Image(base64.b64decode(pathlib.Path(PICTURE).read_bytes())))
```

```{code-cell} ipython3
:tags: [nbval-ignore-output]

import time
print(time.perf_counter())
```
"""


def picture(changed=0):
    """A picture of 10 x 7 pixels in base64, the first `changed` of them another colour."""
    pixels = np.zeros((7, 10, 3), dtype=np.uint8)
    pixels.reshape(-1, 3)[:changed] = (0, 0, 1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


def notebook(*outputs, source="x", tags=()):
    cell = nbformat.v4.new_code_cell(source, outputs=list(outputs), metadata={"tags": list(tags)})
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# T"), cell])


def stream(text, name="stdout"):
    return nbformat.v4.new_output("stream", name=name, text=text)


def shown(**data):
    return nbformat.v4.new_output("display_data", {kind.replace("_", "/"): value for kind, value in data.items()})


def found(before, after):
    return list(compare_runs.changes(before, after))


def test_the_same_outputs_are_no_change():
    outputs = [stream("a\n"), shown(image_png=picture(), text_plain="<Figure>")]
    assert found(notebook(*outputs), notebook(*outputs)) == []


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ([stream("1\n")], [stream("2\n")], "stdout 1"),
        ([stream("1\n")], [stream("1\n"), stream("slow\n", "stderr")], "stderr 2"),
        ([stream("1\n")], [], "stdout 1"),
        ([shown(text_html="a")], [shown(text_html="b")], "text/html 1"),
        ([shown(image_png=picture())], [shown(image_png=picture(1))], "image/png 1"),
    ],
)
def test_each_kind_of_change_is_found(before, after, kind):
    (change,) = found(notebook(*before), notebook(*after))
    assert (change.cell, change.source, change.kind) == (1, "x", kind)


def test_an_error_is_a_change():
    error = nbformat.v4.new_output("error", ename="ValueError", evalue="no", traceback=[])
    (change,) = found(notebook(), notebook(error))
    assert change.after == "ValueError: no"


def test_timings_drawings_and_views_are_not_compared():
    tags = ["nbval-ignore-output"]
    assert found(notebook(stream("1\n"), tags=tags), notebook(stream("2\n"), tags=tags)) == []
    assert found(notebook(nbformat.v4.new_output("display_data", {"image/svg+xml": "a"})), notebook()) == []
    assert found(notebook(nbformat.v4.new_output("display_data", {"application/vnd.view+json": {}})), notebook()) == []


def test_other_cells_cannot_be_compared():
    with pytest.raises(ValueError, match="different code cells"):
        found(notebook(source="x"), notebook(source="y"))


@pytest.mark.parametrize("changed", [0, 1, 7, 70])
def test_share_of_changed_pixels(changed):
    assert compare_runs.changed_pixels(picture(), picture(changed)) == pytest.approx(changed / 70)


def test_a_picture_of_another_size_or_none_is_changed_entirely():
    file = io.BytesIO()
    Image.new("RGB", (10, 8)).save(file, "png")
    assert compare_runs.changed_pixels(picture(), base64.b64encode(file.getvalue()).decode()) == 1.0
    assert compare_runs.changed_pixels(picture(), "") == 1.0


def test_report_shows_every_change():
    before = notebook(stream("loss 0.25\nsteps 7\n"), shown(image_png=picture()), source="`run` it\nnow")
    after = notebook(stream("loss 0.26\nsteps 7\n"), shown(image_png=picture(7)), source="`run` it\nnow")
    text = compare_runs.report(
        {"numpy": ("2.4.6", "2.1.3")}, {"02_x": found(before, after), "03_y": [], "04_z": "boom"}
    )
    assert "| numpy | 2.4.6 | 2.1.3 |" in text
    assert "| 02_x | 1 | 1 |" in text and "| 03_y | 0 | 0 |" in text and "| 04_z | **not compared" in text
    assert "**Cell 1**, stdout 1: `'run' it`" in text
    assert "-loss 0.25\n+loss 0.26\n steps 7\n" in text
    assert "10.00 % of the pixels changed." in text
    assert "## 03_y" not in text and text.endswith("````\nboom\n````\n")


def test_a_long_difference_is_cut():
    before, after = ("\n".join(f"{sign}{i}" for i in range(200)) for sign in "ab")
    text = compare_runs.described(compare_runs.Change(1, "x", "stdout 1", before, after))
    assert f"… {403 - compare_runs.MOST_LINES} more lines" in text


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A twin that is built and stored in a folder of its own; returns (twin, stored notebook, its picture's file)."""
    monkeypatch.setattr(build_notebooks, "notebook_path", lambda twin: tmp_path / "stored.ipynb")
    twin, file = tmp_path / "00_small.md", tmp_path / "picture"
    monkeypatch.setattr(build_notebooks, "twins", lambda numbers: [twin])
    file.write_text(picture(), encoding="ascii")
    twin.write_text(TWIN.replace("PICTURE", repr(file.as_posix())), encoding="utf-8")
    stored = tmp_path / "stored.ipynb"
    stored.write_text(build_notebooks.build(twin)[0], encoding="utf-8")
    return twin, stored, file


def test_command_compares_and_stores_nothing(small, tmp_path, capsys):
    _, stored, file = small
    edited = stored.read_text(encoding="utf-8").replace("loss 0.25", "loss 0.24")
    stored.write_text(edited, encoding="utf-8")
    file.write_text(picture(14), encoding="ascii")
    assert build_notebooks.main(["--compare", str(tmp_path / "new" / "folder")]) == 0
    report = (tmp_path / "new" / "folder" / "report.md").read_text(encoding="utf-8")
    assert "-loss 0.24\n+loss 0.25\n" in report and "20.00 % of the pixels changed." in report
    assert "| 00_small | 1 | 1 |" in report
    assert stored.read_text(encoding="utf-8") == edited
    assert "loss 0.25" in (tmp_path / "new" / "folder" / "00_small.ipynb").read_text(encoding="utf-8")
    assert capsys.readouterr().out.splitlines()[-1].endswith("report.md")


def test_command_reports_a_cell_that_fails(small, tmp_path):
    small[2].unlink()
    assert build_notebooks.main(["--compare", str(tmp_path / "new")]) == 1
    report = (tmp_path / "new" / "report.md").read_text(encoding="utf-8")
    assert "| 00_small | **not compared" in report and "FileNotFoundError" in report and "\x1b" not in report


def test_stored_notebooks_are_no_place_for_a_comparison(capsys):
    with pytest.raises(SystemExit):
        build_notebooks.main(["--compare", str(build_notebooks.NOTEBOOKS)])
    assert "name a folder of its own" in capsys.readouterr().err


def test_versions_that_moved(monkeypatch):
    name, version = next((name, version) for name, version in course.pins().items() if name == "numpy")
    monkeypatch.setattr(course, "pins", lambda text=None: {name: "0.1", "not-installed": "1"})
    here = build_notebooks.moved()
    assert set(here) == {name} and here[name][0] == "0.1" and here[name][1][0] == version[0]
