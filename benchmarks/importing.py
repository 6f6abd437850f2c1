"""What `import course_lib` costs beside an interpreter that does nothing: `python benchmarks/importing.py`."""

import subprocess
import sys
from collections.abc import Sequence

from rounds import Row, compare
from rounds import main as measure_all

STARTS = 5  # in one measurement


def package(quick: bool) -> Row:
    """Start Python and import the package, against starting Python."""
    repeats = 1 if quick else STARTS
    loaded = run("import sys, course_lib; print('torch' in sys.modules)")
    if loaded.strip() != "False":
        raise RuntimeError("import course_lib loads torch")

    def imports():
        for _ in range(repeats):
            run("import course_lib")

    def nothing():
        for _ in range(repeats):
            run("pass")

    row = compare(imports, nothing, quick)
    extra = (row["ours_seconds"] - row["theirs_seconds"]) / repeats
    return row | {"starts": repeats, "extra_milliseconds": round(1000 * extra, 1), "most_milliseconds": 50}


def run(code: str) -> str:
    """What a new interpreter prints."""
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the result file."""
    measure_all("importing", {"package": package}, (), arguments)


if __name__ == "__main__":
    main()
