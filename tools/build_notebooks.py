"""Build notebooks from their text twins: `python -m tools.build_notebooks [--compare DIR] [NN ...]`.

Writes notebooks/NN_topic.ipynb with outputs, records wall time and peak memory in benchmarks/results/notebooks.json,
and rewrites README's table from that file. With --compare it writes into DIR only: the notebooks as they run now, and
report.md, which says which outputs differ from the stored ones.
"""

import argparse
import importlib.metadata
import json
import re
import subprocess
import sys
from pathlib import Path

import nbformat
from nbclient.exceptions import CellExecutionError

import course
from course_lib import syllabus
from tools import badges, compare_runs
from tools.notebook_pipeline import NOTEBOOKS, ROOT, Usage, build, notebook_path, twins

RESULTS = ROOT / "benchmarks" / "results" / "notebooks.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- notebooks: made by `python course.py build` -->", "<!-- end of notebooks -->"


def main(arguments: list[str] | None = None) -> int:
    """Build the notebooks of these numbers, or all."""
    parser = argparse.ArgumentParser(prog="course.py build", description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", metavar="NN", help="numbers of notebooks, such as 02; all by default")
    parser.add_argument(
        "--compare", type=Path, metavar="DIR", help="store nothing; write what changed to DIR/report.md"
    )
    options = parser.parse_args(arguments)
    try:
        chosen = twins(options.numbers)
    except ValueError as error:
        parser.error(str(error))
    if options.compare:
        if options.compare.resolve() == NOTEBOOKS:
            parser.error(f"{options.compare} holds the stored notebooks: name a folder of its own, as build/refresh")
        return compare(chosen, options.compare)
    for twin in chosen:
        print(f"{twin.stem}: running", flush=True)
        try:
            text, usage = build(twin)
        except CellExecutionError as error:
            print(f"{twin.stem}: a cell failed, nothing was written\n{error}", file=sys.stderr)
            return 1
        notebook_path(twin).write_text(text, encoding="utf-8", newline="\n")
        record(twin, usage)
        print(f"{twin.stem}: {usage.seconds:.0f} s, {usage.peak_bytes / 2**20:.0f} MiB at the peak")
    write_table()
    return 0


def compare(chosen: list[Path], folder: Path) -> int:
    """Run the twins into `folder`, write its report.md, and return 1 where a notebook could not be compared."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[compare_runs.Change] | str] = {}
    for twin in chosen:
        print(f"{twin.stem}: running", flush=True)
        try:
            text, _ = build(twin)
            (folder / f"{twin.stem}.ipynb").write_text(text, encoding="utf-8", newline="\n")
            stored = nbformat.read(notebook_path(twin), as_version=4)
            found[twin.stem] = list(compare_runs.changes(stored, nbformat.reads(text, as_version=4)))
        except (CellExecutionError, ValueError) as error:
            found[twin.stem] = re.sub(r"\x1b\[[\d;]*m", "", str(error))  # the colours of a traceback
        result = found[twin.stem]
        print(f"{twin.stem}: {result if isinstance(result, str) else f'{len(result)} outputs changed'}", flush=True)
    report = folder / "report.md"
    report.write_text(compare_runs.report(moved(), found), encoding="utf-8", newline="\n")
    print(f"The report: {report}")
    return int(any(isinstance(result, str) for result in found.values()))


def moved() -> dict[str, tuple[str, str]]:
    """Packages whose version here is not the committed pin: (that pin, the version here)."""
    asked = ["git", "show", "HEAD:constraints.txt"]
    committed = subprocess.run(asked, cwd=ROOT, capture_output=True, encoding="utf-8")
    pins = course.pins(committed.stdout if committed.returncode == 0 else None)
    here = {course.plain(one.name): one.version.partition("+")[0] for one in importlib.metadata.distributions()}
    return {name: (pins[name], here[name]) for name in sorted(pins) if here.get(name, pins[name]) != pins[name]}


def record(twin: Path, usage: Usage) -> None:
    """Put what a run took into the result file."""
    results = read_results()
    results[twin.name[:2]] = {"seconds": round(usage.seconds), "peak_mib": round(usage.peak_bytes / 2**20)}
    RESULTS.write_text(json.dumps(dict(sorted(results.items())), indent=1) + "\n", encoding="utf-8", newline="\n")


def read_results() -> dict[str, dict[str, int]]:
    """Wall time and peak memory by notebook number, as last recorded."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


def table() -> str:
    """README's table of all notebooks: the finished ones are linked and carry their measured cost."""
    results, repository = read_results(), badges.repository()
    lines = [
        f"{len(results)} of the {len(syllabus.NOTEBOOKS)} notebooks are finished. Bold numbers are the core path; "
        "*Run All* and *Memory* (at its peak) were measured on two processor cores.",
        "",
        "| | Notebook | Minutes | Run All | Memory | Open |",
        "|---|---|---|---|---|---|",
    ]
    for notebook in syllabus.NOTEBOOKS:
        finished = notebook.number in results
        title = f"[{notebook.title}](notebooks/{notebook.stem}.ipynb)" if finished else notebook.title
        cost = results.get(notebook.number)
        measured = f"{cost['seconds']} s | {cost['peak_mib']} MiB" if cost else "in preparation |"
        links = badges.badge_markdown(repository, notebook.stem, "notebooks/images") if finished else ""
        number = f"**{notebook.number}**" if notebook.core else notebook.number
        lines.append(f"| {number} | {title} | {notebook.minutes} | {measured} | {links} |")
    return "\n".join(lines)


def write_table() -> None:
    """Rewrite the table between README's two markers."""
    text = README.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    tail = rest.partition(END)[2]
    README.write_text(f"{head}{BEGIN}\n{table()}\n{END}{tail}", encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.exit(main())
