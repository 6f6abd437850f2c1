"""What differs between the outputs of two runs of one notebook, and a report that shows it.

Compared as the strict re-run compares, and beyond it stderr, and pictures by their pixels. Not compared: cells tagged
for it, SVG (random ids), metadata and execution counts.
"""

import base64
import difflib
import io
from collections.abc import Iterator
from typing import NamedTuple

import nbformat
import numpy as np
from PIL import Image

NOT_COMPARED = {"nbval-ignore-output", "nbval-skip"}
PICTURE = "image/png"
MOST_LINES, MOST_LETTERS = 40, 200  # of one difference in the report


class Change(NamedTuple):
    """One output that differs: the cell's number from 1, its first line, which output, both contents."""

    cell: int
    source: str
    kind: str
    before: str
    after: str


def outputs(cell: nbformat.NotebookNode) -> dict[str, str]:
    """What a cell shows, by kind and place: `stdout 1`, `text/html 2`, `image/png 2`, `error 3`."""
    shown = {}
    for place, output in enumerate(cell.outputs, start=1):
        if output.output_type == "stream":
            shown[f"{output.name} {place}"] = output.text
        elif output.output_type == "error":
            shown[f"error {place}"] = f"{output.ename}: {output.evalue}"
        else:
            kept = {kind: value for kind, value in output.data.items() if kind.startswith("text/") or kind == PICTURE}
            shown |= {f"{kind} {place}": value for kind, value in kept.items()}
    return shown


def changes(before: nbformat.NotebookNode, after: nbformat.NotebookNode) -> Iterator[Change]:
    """Every output that differs between two runs of the same cells.

    Raises ValueError where the notebooks have other code.
    """
    cells = [[cell for cell in notebook.cells if cell.cell_type == "code"] for notebook in (before, after)]
    if [cell.source for cell in cells[0]] != [cell.source for cell in cells[1]]:
        raise ValueError("the two notebooks have different code cells: build the stored one first")
    for number, (old, new) in enumerate(zip(*cells, strict=True), start=1):
        if NOT_COMPARED & set(old.metadata.get("tags", [])):
            continue
        shown_before, shown_after = outputs(old), outputs(new)
        for kind in dict.fromkeys([*shown_before, *shown_after]):
            pair = shown_before.get(kind, ""), shown_after.get(kind, "")
            if pair[0] != pair[1]:
                yield Change(number, old.source.strip().partition("\n")[0], kind, *pair)


def changed_pixels(before: str, after: str) -> float:
    """Share of the pixels that differ between two pictures in base64; 1.0 where sizes differ or one is missing."""
    if not (before and after):
        return 1.0
    old, new = (np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGBA")) for text in (before, after))
    return 1.0 if old.shape != new.shape else float((old != new).any(axis=-1).mean())


def described(change: Change) -> str:
    """The change in Markdown: a share of pixels, or a text difference in a fence of its own."""
    head = f"**Cell {change.cell}**, {change.kind}: `{change.source.replace('`', chr(39))}`"
    if change.kind.startswith(PICTURE):
        return f"{head}\n\n{100 * changed_pixels(change.before, change.after):.2f} % of the pixels changed.\n"
    texts = change.before.splitlines(), change.after.splitlines()
    lines = [line[:MOST_LETTERS] for line in difflib.unified_diff(*texts, "stored", "now", n=1, lineterm="")]
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"… {len(lines) - MOST_LINES} more lines"]
    return "\n".join([head, "", "````diff", *(lines or ["(only line ends differ)"]), "````", ""])


def report(versions: dict[str, tuple[str, str]], found: dict[str, list[Change] | str]) -> str:
    """The whole report in Markdown.

    Args:
        versions: packages that are not at the stored outputs' version: (that version, this run's).
        found: for each notebook its changes, or why there is nothing to compare.
    """
    lines = ["# Outputs, stored and now", ""]
    lines += ["| package | stored with | now |", "|---|---|---|"] if versions else ["All packages are as pinned."]
    lines += [f"| {name} | {old} | {new} |" for name, (old, new) in versions.items()]
    lines += ["", "| notebook | texts changed | pictures changed |", "|---|---|---|"]
    for stem, result in found.items():
        if isinstance(result, str):
            lines.append(f"| {stem} | **not compared, see below** | |")
        else:
            pictures = sum(change.kind.startswith(PICTURE) for change in result)
            lines.append(f"| {stem} | {len(result) - pictures} | {pictures} |")
    for stem, result in found.items():
        if isinstance(result, str):
            lines += ["", f"## {stem}", "", "````", result.strip(), "````"]
        elif result:
            lines += ["", f"## {stem}", "", *(described(change) for change in result)]
    return "\n".join(lines).rstrip() + "\n"
