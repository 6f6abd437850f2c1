"""Build notebooks from their text twins: `python -m tools.build_notebooks [NN ...]`.

Writes notebooks/NN_topic.ipynb with outputs, records wall time and peak memory in benchmarks/results/notebooks.json,
and rewrites README's table from that file.
"""

import argparse
import json
import sys
from pathlib import Path

from nbclient.exceptions import CellExecutionError

from course_lib import syllabus
from tools import badges
from tools.notebook_pipeline import ROOT, Usage, build, notebook_path, twins

RESULTS = ROOT / "benchmarks" / "results" / "notebooks.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- notebooks: made by `python course.py build` -->", "<!-- end of notebooks -->"


def main(arguments: list[str] | None = None) -> int:
    """Build the notebooks of these numbers, or all."""
    parser = argparse.ArgumentParser(prog="course.py build", description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", metavar="NN", help="numbers of notebooks, such as 02; all by default")
    try:
        chosen = twins(parser.parse_args(arguments).numbers)
    except ValueError as error:
        parser.error(str(error))
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
