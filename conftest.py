"""Settings of pytest and nbval for the whole tree."""

import functools
import os
import tempfile
from pathlib import Path

import pytest
from nbval.kernel import RunningKernel


def pytest_configure(config):
    # A learner's own progress is neither read nor changed by a test, and nothing asks a hub.
    folder = tempfile.TemporaryDirectory(prefix="course-progress-")
    config.add_cleanup(folder.cleanup)
    os.environ["COURSE_PROGRESS"] = str(Path(folder.name) / "progress.json")
    os.environ["HF_HUB_OFFLINE"] = "1"
    # nbval runs cells without history, in which `expr;` shows its value; Jupyter does not.
    RunningKernel.execute_cell_input = _execute_with_history


def pytest_collection_modifyitems(items):
    # SVG is drawn with random ids. Stored outputs hold nothing from stderr (tests/test_notebooks.py); what a library
    # writes there on another processor, or when the collector comes by, is reported instead of compared.
    for notebook in {id(item.parent): item.parent for item in items}.values():
        if type(notebook).__name__ == "IPyNbFile":
            notebook.skip_compare = (*notebook.skip_compare, "image/svg+xml", "stderr")
            for cell in (item for item in items if item.parent is notebook):
                cell.compare_outputs = functools.partial(_compare_and_report, cell, cell.compare_outputs)


def _compare_and_report(cell, compare, outputs, *arguments, **options):
    for output in outputs:
        if output.get("name") == "stderr":
            cell.warn(pytest.PytestWarning(f"{cell.name} wrote to stderr: {output['text'].strip()}"))
    return compare(outputs, *arguments, **options)


def _execute_with_history(self, source, allow_stdin=None):
    return self.kc.execute(source, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)
