"""From a text twin to a notebook: read, execute, strip what differs from run to run; and the solved form.

Running the same twin twice gives the same bytes, so a difference in a stored notebook is a difference in its results.
"""

import hashlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jupytext
import nbformat
import psutil
from nbclient import NotebookClient

from course_lib.exercises import EXERCISES
from course_lib.widgets.display import VIEW
from tools import badges

ROOT = Path(__file__).parent.parent
NOTEBOOKS = ROOT / "notebooks"
TWINS = NOTEBOOKS / "text"
CELL_SECONDS = 600

_CHECK = re.compile(r"^(?:(?P<name>\w+)\s*=\s*)?check\(\s*[\"'](?P<id>[\d.]+)[\"']\s*,\s*(?P<answer>\w+)\s*\)", re.M)


class Usage(NamedTuple):
    """What a run took: wall time in seconds, and peak resident memory of the kernel and its children in bytes."""

    seconds: float
    peak_bytes: int


def twins(numbers: list[str] | None = None) -> list[Path]:
    """The text twins, all of them or those of these numbers. Raises ValueError for a number that has none."""
    found = {path.name[:2]: path for path in sorted(TWINS.glob("[0-9][0-9]_*.md"))}
    unknown = sorted(set(numbers or ()) - set(found))
    if unknown:
        raise ValueError(f"no text twin for {', '.join(unknown)}; there are: {', '.join(found)}")
    return [found[number] for number in (numbers or found)]


def notebook_path(twin: Path) -> Path:
    """Where the built notebook of a twin lies."""
    return NOTEBOOKS / f"{twin.stem}.ipynb"


def read_twin(twin: Path) -> nbformat.NotebookNode:
    """The unexecuted notebook of a twin, with cell ids that depend on the cells' text alone."""
    notebook = jupytext.read(twin, fmt="md:myst")
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    seen: dict[str, int] = {}
    repository = badges.repository()
    for cell in notebook.cells:
        # The same ids in every fork: links to the repository do not count.
        text = badges.rewritten(cell.source, repository, "ORG/REPO", stem=twin.stem)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        seen[digest] = seen.get(digest, 0) + 1
        cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    return notebook


def execute(notebook: nbformat.NotebookNode, kernel_name: str = "python3", folder: Path = NOTEBOOKS) -> Usage:
    """Run all cells in a fresh kernel that starts in `folder`, and store their outputs in `notebook`.

    Progress is kept apart from the learner's own. Raises nbclient's CellExecutionError where a cell fails.
    """
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name=kernel_name,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    start = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as own,
        _environment(COURSE_PROGRESS=str(Path(own) / "progress.json")),
        client.setup_kernel(),
        _peak_memory(client.km.provisioner.pid) as peak,
    ):
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
    return Usage(time.monotonic() - start, peak[0])


def strip(notebook: nbformat.NotebookNode) -> None:
    """Remove what differs from one run to the next: live widget views, timings of cells, the Python version."""
    notebook.metadata.pop("widgets", None)
    notebook.metadata["language_info"] = {"name": "python"}
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if "data" in output:
                output["data"].pop(VIEW, None)
                output["metadata"] = {}


def dumps(notebook: nbformat.NotebookNode) -> str:
    """The notebook as the text of its file."""
    nbformat.validate(notebook)
    return nbformat.writes(notebook, version=4) + "\n"


def build(twin: Path) -> tuple[str, Usage]:
    """Execute a twin and return the text of its notebook file, and what the run took."""
    notebook = read_twin(twin)
    usage = execute(notebook)
    strip(notebook)
    return dumps(notebook), usage


def checks_in(source: str) -> list[tuple[str, str]]:
    """(exercise id, name of the answer) of every `check` call in a cell."""
    return [(match["id"], match["answer"]) for match in _CHECK.finditer(source)]


def solve(notebook: nbformat.NotebookNode) -> list[str]:
    """Replace each exercise stub by its reference, in place, and return the ids of the exercises solved.

    Raises ValueError where a stub and its check do not stand together.
    """
    solved = []
    for stub, following in zip(notebook.cells, notebook.cells[1:], strict=False):
        if "exercise" not in stub.metadata.get("tags", []):
            continue
        found = checks_in(following.source) if following.cell_type == "code" else []
        if len(found) != 1:
            raise ValueError(f"no single check follows the exercise cell that begins {stub.source[:60]!r}")
        id, name = found[0]
        exercise = EXERCISES[id]
        own_name = exercise.source.partition(":")[2]
        renamed = "" if own_name == name else f"\n\n\n{name} = {own_name}"
        stub.source = exercise.reference_source + renamed
        solved.append(id)
    return solved


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _peak_memory(pid: int) -> Iterator[list[int]]:
    """Sample the resident memory of a process and its children; the yielded list holds the peak in bytes."""
    peak, done = [0], threading.Event()

    def sample() -> None:
        process = psutil.Process(pid)
        while not done.wait(0.05):
            try:
                family = [process, *process.children(recursive=True)]
                peak[0] = max(peak[0], sum(member.memory_info().rss for member in family))
            except psutil.NoSuchProcess:  # a child that ended between the two calls: sample again
                continue

    sampler = threading.Thread(target=sample)
    sampler.start()
    try:
        yield peak
    finally:
        done.set()
        sampler.join()
