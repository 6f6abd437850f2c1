"""Write the solved notebooks for an instructor: `python -m tools.solved DIR`.

Each exercise cell holds the reference answer; the notebooks are executed, so they can be read without a kernel.
"""

import argparse
import sys
from pathlib import Path

from tools.notebook_pipeline import ROOT, dumps, execute, read_twin, solve, strip, twins


def main(arguments: list[str] | None = None) -> int:
    """Write all solved notebooks, or those of these numbers, to a directory."""
    parser = argparse.ArgumentParser(prog="course.py solved", description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, help="where to write them; made if it is not there")
    parser.add_argument("numbers", nargs="*", metavar="NN", help="numbers of notebooks; all by default")
    options = parser.parse_args(arguments)
    target = options.directory.resolve()
    if target == (ROOT / "notebooks").resolve():
        parser.error("the solved notebooks would overwrite the learner's: choose another directory")
    try:
        chosen = twins(options.numbers)
    except ValueError as error:
        parser.error(str(error))
    target.mkdir(parents=True, exist_ok=True)
    for twin in chosen:
        notebook = read_twin(twin)
        ids = solve(notebook)
        execute(notebook)
        strip(notebook)
        (target / f"{twin.stem}.ipynb").write_text(dumps(notebook), encoding="utf-8", newline="\n")
        print(f"{twin.stem}: {len(ids)} exercises solved", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
