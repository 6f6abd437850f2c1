"""Run the benchmarks of the table and print it: `python course.py bench [SCRIPT ...]`, an hour of a quiet machine.

Each script runs in a process of its own and writes results/SCRIPT.json when all its rows are measured.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path

from targets import TARGETS, lines

HERE = Path(__file__).parent


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen scripts, or all, one after the other; the exit code is 1 if one of them failed."""
    scripts = list(dict.fromkeys(target.script for target in TARGETS))
    parser = argparse.ArgumentParser(prog="python course.py bench", description=__doc__.splitlines()[0])
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help=f"one of {', '.join(scripts)}; all by default")
    chosen = parser.parse_args(arguments).scripts or scripts
    unknown = sorted(set(chosen) - set(scripts))
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are: {', '.join(scripts)}")
    failed = []
    for script in chosen:
        print(f"==> {script}", flush=True)
        # One thread: of two, one would wait for whatever else the machine does.
        code = subprocess.call([sys.executable, str(HERE / f"{script}.py")], env=os.environ | {"OMP_NUM_THREADS": "1"})
        if code:
            failed.append(script)
    print("\n".join(lines()))
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
