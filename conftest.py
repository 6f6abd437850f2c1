"""Settings of pytest and nbval for the whole tree."""

import os
import tempfile
from pathlib import Path

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
    # SVG is drawn with random ids. What a cell writes to stderr is held empty by tests/test_notebooks.py.
    for notebook in {id(item.parent): item.parent for item in items}.values():
        if type(notebook).__name__ == "IPyNbFile":
            notebook.skip_compare = (*notebook.skip_compare, "image/svg+xml")


def _execute_with_history(self, source, allow_stdin=None):
    return self.kc.execute(source, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)
