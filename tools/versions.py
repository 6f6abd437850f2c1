"""The tables of docs/versions.md, made from the files that decide: `python -m tools.versions [--freeze]`.

With --freeze, constraints.txt is first made new from the packages that this Python has.
"""

import argparse
import importlib.metadata
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml
from packaging.requirements import Requirement

import course

ROOT = Path(__file__).resolve().parent.parent
PINS = ROOT / "constraints.txt"
PAGE = ROOT / "docs" / "versions.md"
BEGIN, END = "<!-- tables: made by `python -m tools.versions` -->", "<!-- end of tables -->"
SYSTEMS = {"ubuntu-latest": "Linux", "macos-latest": "macOS", "windows-latest": "Windows"}
# What each command of the workflows runs, and at which versions.
COMMANDS = {
    "bash .ci/run": ("everything but the slow tests", "as pinned"),
    "python course.py test --fast": ("lint and quick unit tests", "as pinned"),
    "python course.py test --newest": ("everything but the slow tests", "newest releases"),
    "python course.py test --slow": (
        "everything; three notebooks and the explorers again at Colab's versions",
        "as pinned",
    ),
}


class Job(NamedTuple):
    """One job of a workflow: when it runs, on which systems and Pythons, and its command."""

    when: str
    systems: list[str]
    pythons: list[str]
    command: str


def jobs() -> Iterator[Job]:
    """Every job of every workflow. Raises KeyError for a system or a command that has no name here."""
    for path in sorted((ROOT / ".github" / "workflows").glob("*.yml")):
        workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
        triggers = workflow[True]  # YAML reads the key `on` so
        when = "weekly" if "schedule" in triggers else "every change"
        for job in workflow["jobs"].values():
            matrix = job.get("strategy", {}).get("matrix", {})
            (python,) = [
                step["with"]["python-version"] for step in job["steps"] if "python-version" in step.get("with", {})
            ]
            (command,) = [step["run"] for step in job["steps"] if "run" in step]
            systems = matrix.get("os", [job["runs-on"]])
            yield Job(when, [SYSTEMS[one] for one in systems], matrix.get("python", [python]), command)


def core() -> dict[str, str]:
    """Core dependency -> its declared range, from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ranges = map(Requirement, project["dependencies"])
    return {course.plain(one.name): ",".join(sorted(map(str, one.specifier), reverse=True)) for one in ranges}


def colab() -> dict[str, str]:
    """Package -> the version that Colab's published list named, from tests/colab.txt."""
    lines = (ROOT / "tests" / "colab.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.removesuffix(".*").split("==") for line in lines if not line.startswith("#"))


def tables() -> str:
    """Both tables in Markdown: what runs where, and the versions of the core dependencies."""
    lines = ["| when | system | Python | versions | what runs | command |", "|---|---|---|---|---|---|"]
    for job in jobs():
        what, versions = COMMANDS[job.command]
        systems, pythons = ", ".join(job.systems), ", ".join(job.pythons)
        lines.append(f"| {job.when} | {systems} | {pythons} | {versions} | {what} | `{job.command}` |")
    lines += ["", "| package | admitted | tested | on Colab |", "|---|---|---|---|"]
    pins, there = course.pins(), colab()
    lines += [f"| {name} | {wanted} | {pins[name]} | {there.get(name, '')} |" for name, wanted in core().items()]
    return "\n".join(lines)


def frozen(text: str) -> str:
    """constraints.txt with its opening comment and the version of every package here but pip and the course itself."""
    head = [line for line in text.splitlines() if line.startswith("#")]
    here = {one.name: one.version.partition("+")[0] for one in importlib.metadata.distributions()}
    wanted = (name for name in here if course.plain(name) not in ("pip", "attention-course"))
    pins = sorted((f"{name}=={here[name]}" for name in wanted), key=str.lower)
    return "\n".join([*head, *pins]) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Rewrite constraints.txt where that is asked for, and the page between its two markers."""
    parser = argparse.ArgumentParser(prog="python -m tools.versions", description=__doc__.splitlines()[0])
    parser.add_argument("--freeze", action="store_true", help="pin the packages that are installed here")
    if parser.parse_args(arguments).freeze:
        PINS.write_text(frozen(PINS.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
    head, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    PAGE.write_text(f"{head}{BEGIN}\n{tables()}\n{END}{rest.partition(END)[2]}", encoding="utf-8", newline="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
