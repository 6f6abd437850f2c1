"""Take the pictures of README in a real JupyterLab: `python -m tools.screenshots`.

The picture is of notebook 02 in which somebody let the softmax run over the queries instead of the keys.
"""

import sys
import tempfile
from pathlib import Path

import nbformat
from PIL import Image

from tools import jupyterlab
from tools.notebook_pipeline import ROOT, checks_in

NOTEBOOK = "02_queries_keys_values.ipynb"
EXERCISE = "02.3"
ANSWER = '''def attention(q, k, v):
    """[..., query, d_k], [..., key, d_k], [..., key, d_v] -> (output, weights)"""
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
    weights = softmax(scores, dim=-2)
    return weights @ v, weights'''
SIZE = {"width": 1100, "height": 640}
PICTURE = ROOT / "docs" / "images" / "exercise.png"


def main() -> int:
    """Answer the exercise so, run the notebook, and store the picture of the cell and its verdict."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with jupyterlab.served(folder) as address, jupyterlab.browser(folder / "browser") as browser:
            page = browser.new_page()
            answered(folder / "notebooks" / NOTEBOOK)
            jupyterlab.run_all(page, address, NOTEBOOK)
            page.keyboard.press("Control+b")  # folds the file browser away
            page.set_viewport_size(SIZE)
            verdict = page.get_by_text(f"✗ {EXERCISE} ").first
            for _ in range(3):  # cells above change their height once they have been seen
                verdict.evaluate("box => box.closest('.jp-Cell').scrollIntoView({block: 'end'})")
                page.wait_for_timeout(1500)
            PICTURE.parent.mkdir(exist_ok=True)
            page.screenshot(path=PICTURE)
    Image.open(PICTURE).quantize(64).save(PICTURE, optimize=True)
    return 0


def answered(path: Path) -> None:
    """Put the answer into the exercise's cell."""
    notebook = nbformat.read(path, as_version=4)
    for cell, following in zip(notebook.cells, notebook.cells[1:], strict=False):
        if EXERCISE in [id for id, _ in checks_in(following.source)]:
            cell.source = ANSWER
    nbformat.write(notebook, path)


if __name__ == "__main__":
    sys.exit(main())
