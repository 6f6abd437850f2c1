"""How long the strict re-run of all notebooks takes: `python benchmarks/strict_validation.py`.

It is the stage "notebooks as stored" of `python course.py test`, two notebooks at a time.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rounds import Row, seconds
from rounds import main as measure_all

ROOT = Path(__file__).resolve().parent.parent
FIRST = "notebooks/00_start_here.ipynb"
MINUTES = 20


def stage() -> list[str]:
    """The arguments that the test command gives to Python."""
    import course

    options = course.make_parser("test").parse_args([])
    return dict(course.test_stages(options, []))["notebooks as stored"]


def notebooks(quick: bool) -> Row:
    """Seconds by the clock of one run; a failing one is not timed."""
    arguments = stage()
    if quick:
        arguments = [FIRST if argument == "notebooks" else argument for argument in arguments]
    command, environment = [sys.executable, *arguments], os.environ | {"OMP_NUM_THREADS": "1"}

    def run() -> None:
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8")
        if done.returncode:
            raise RuntimeError(f"a strict run failed:\n{done.stdout[-2000:]}")

    return {"seconds": round(seconds(run)), "most_seconds": 60 * MINUTES}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the result file."""
    measure_all("strict_validation", {"notebooks": notebooks}, ("nbval", "pytest-xdist", "torch"), arguments)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
