"""Take the pictures of README in a real JupyterLab: `python -m tools.screenshots`.

They are: the map at the top of notebook 00 with a third of the course passed; notebook 02 in which somebody let the
softmax run over the queries instead of the keys; and the explorer of attention in notebook 11.
"""

import json
import sys
import tempfile
from pathlib import Path

import nbformat
from PIL import Image
from playwright.sync_api import Locator, Page

from course_lib.exercises import EXERCISES
from tools import jupyterlab
from tools.notebook_pipeline import ROOT, checks_in

MAP, EXERCISE, EXPLORER = "00_start_here.ipynb", "02_queries_keys_values.ipynb", "11_looking_inside.ipynb"
ASKED = "02.3"
ANSWER = '''def attention(q, k, v):
    """[..., query, d_k], [..., key, d_k], [..., key, d_v] -> (output, weights)"""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = softmax(scores, dim=-2)
    return weights @ v, weights'''
REACHED = "07"  # the notebooks before it are passed on the map
SIZE = {"width": 1100, "height": 640}
PICTURES = ROOT / "docs" / "images"


def main() -> int:
    """Prepare the three notebooks, run each, and store its picture."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with jupyterlab.served(folder) as address, jupyterlab.browser(folder / "browser") as browser:
            notebooks, page = folder / "notebooks", browser.new_page()
            passed(folder / "progress.json")
            ended_with(notebooks / MAP, "progress()")
            answered(notebooks / EXERCISE)
            ended_with(notebooks / EXPLORER, "widgets.AttentionExplorer(")
            run(page, address, MAP)
            take(page, page.get_by_text("exercises passed").last, "start", "map")
            run(page, address, EXERCISE)
            take(page, page.get_by_text(f"✗ {ASKED} ").first, "end", "exercise")
            run(page, address, EXPLORER)
            take(page, page.locator(".course-attention"), "end", "explorer")
    return 0


def run(page: Page, address: str, notebook: str) -> None:
    """Run a notebook and make room for it."""
    page.set_viewport_size(jupyterlab.LAPTOP)
    jupyterlab.run_all(page, address, notebook)
    page.keyboard.press("Control+b")  # folds the file browser away
    page.set_viewport_size(SIZE)


def take(page: Page, shown: Locator, block: str, name: str) -> None:
    """Store the picture in which the cell of `shown` stands at the "start" or "end" of the page, in 64 colours."""
    for _ in range(3):  # cells above change their height once they have been seen
        shown.evaluate("(one, block) => one.closest('.jp-Cell').scrollIntoView({block})", block)
        page.wait_for_timeout(1500)
    path = PICTURES / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    page.screenshot(path=path)
    Image.open(path).quantize(64).save(path, optimize=True)


def passed(path: Path) -> None:
    """The progress file of somebody who has got as far as `REACHED`."""
    day = "2026-01-01T00:00:00+00:00"
    exercises = {id: {"attempts": 1, "passed": day} for id in EXERCISES if id < f"{REACHED}.3"}
    quizzes = {exercise.notebook: day for exercise in EXERCISES.values() if exercise.notebook < REACHED}
    path.write_text(json.dumps({"version": 1, "exercises": exercises, "quizzes": quizzes}), encoding="utf-8")


def answered(path: Path) -> None:
    """Put the answer into the exercise's cell."""
    notebook = nbformat.read(path, as_version=4)
    for cell, following in zip(notebook.cells, notebook.cells[1:], strict=False):
        if ASKED in [id for id, _ in checks_in(following.source)]:
            cell.source = ANSWER
    nbformat.write(notebook, path)


def ended_with(path: Path, source: str) -> None:
    """Leave out what comes after the cell with this source: nothing of it is in the picture."""
    notebook = nbformat.read(path, as_version=4)
    last = next(place for place, cell in enumerate(notebook.cells) if source in cell.source)
    notebook.cells = notebook.cells[: last + 1]
    nbformat.write(notebook, path)


if __name__ == "__main__":
    sys.exit(main())
