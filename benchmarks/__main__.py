"""All scripts of this folder that compare and measure, one after the other: `python course.py bench [NAME ...]`.

Each writes its result file; docs/benchmarks.md shows them. With --quick sizes are small and nothing is written.
"""

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

FOLDER = Path(__file__).parent
# The short ones first, so that a mistake shows early.
SCRIPTS = (
    "importing",
    "explorers",
    "attention_kernels",
    "training_steps",
    "tokenizing",
    "generation",
    "encoding",
    "growth",
    "strict_validation",
    "fine_tuning",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scripts of these names, or all, each in a process of its own; 1 if one of them failed."""
    parser = argparse.ArgumentParser(prog="course.py bench", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(SCRIPTS)}; all by default")
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds, no result files")
    chosen = parser.parse_args(arguments)
    for name in chosen.names:
        if name not in SCRIPTS:
            parser.error(f"there is no script {name!r}; choose from {', '.join(SCRIPTS)}")
    failed = []
    for name in chosen.names or SCRIPTS:
        print(f"\n==> {name}", flush=True)
        command = [sys.executable, str(FOLDER / f"{name}.py"), *["--quick"] * chosen.quick]
        if subprocess.run(command).returncode:
            failed.append(name)
    if failed:
        print(f"\nfailed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
