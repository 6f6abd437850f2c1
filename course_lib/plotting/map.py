"""The map of the course: a box for each notebook."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from .base import _FRAME, _MUTED, BLUE, GREEN, _new_axes, _set_title

_MAP_COLUMNS = 4


def course_map(
    parts: Mapping[str, str],
    notebooks: Sequence[Any],
    passed: Mapping[str, tuple[int, int]],
    *,
    ax: Axes | None = None,
    title: str | None = "The map of the course",
) -> Axes:
    """Draw one box per notebook, part by part, with its progress.

    A thick frame and a bold title mark the core path. A bar fills with the exercises passed; "✓" marks a notebook
    whose exercises have all been passed.

    Alt text: "Map of the course: <part>: <number> <title>, <minutes> minutes, <passed> of <total> exercises; ..."

    Args:
        parts: key to name, in the order of the course (`syllabus.PARTS`).
        notebooks: objects with `number`, `title`, `part`, `minutes` and `core` (`syllabus.NOTEBOOKS`).
        passed: number to (exercises passed, exercises in all); a notebook not named has none.

    Raises:
        ValueError: nothing to draw, a part or number that is not known, or more exercises passed than there are.
    """
    _check_progress(parts, notebooks, passed)
    rows = [
        (part, members[i : i + _MAP_COLUMNS])
        for part in parts
        if (members := [notebook for notebook in notebooks if notebook.part == part])
        for i in range(0, len(members), _MAP_COLUMNS)
    ]
    # Lengths are inches, from the upper left corner.
    label_width, box_width, box_height, gap = 1.25, 1.78, 0.82, 0.13
    width = label_width + _MAP_COLUMNS * (box_width + gap)
    height = len(rows) * (box_height + gap) + 0.3
    ax = _new_axes(ax, width + 0.2, height + (0.45 if title else 0.1))
    ax.set(xlim=(0, width), ylim=(height, -0.04), aspect="equal")
    ax.axis("off")
    seen = set()
    for i, (part, members) in enumerate(rows):
        y = i * (box_height + gap)
        if part not in seen:
            seen.add(part)
            name = textwrap.fill(parts[part], 12)
            ax.text(0, y + 0.05, f"Part {part}", va="top", fontsize=11, fontweight="bold", color=BLUE)
            ax.text(0, y + 0.27, name, va="top", fontsize=10)
        for j, notebook in enumerate(members):
            corner = (label_width + j * (box_width + gap), y)
            _notebook_box(ax, notebook, corner, (box_width, box_height), *passed.get(notebook.number, (0, 0)))
    core_minutes = sum(notebook.minutes for notebook in notebooks if notebook.core)
    legend = (
        f"thick frame: core path, {core_minutes / 60:.0f} h      bar and number: exercises passed      ✓ all passed"
    )
    ax.text(label_width, height - 0.12, legend, va="center", fontsize=9, color=_MUTED)
    _set_title(ax, title, width)
    return ax


def _check_progress(parts: Mapping[str, str], notebooks: Sequence[Any], passed: Mapping[str, tuple[int, int]]) -> None:
    if not notebooks:
        raise ValueError("there are no notebooks to draw")
    for notebook in notebooks:
        if notebook.part not in parts:
            raise ValueError(f"notebook {notebook.number} is in part {notebook.part!r}, not one of {list(parts)}")
    unknown = set(passed) - {notebook.number for notebook in notebooks}
    if unknown:
        raise ValueError(f"passed names notebooks that are not there: {sorted(unknown)}")
    for number, (done, total) in passed.items():
        if not 0 <= done <= total:
            raise ValueError(f"notebook {number}: {done} of {total} exercises passed is not possible")


def _notebook_box(
    ax: Axes, notebook: Any, corner: tuple[float, float], size: tuple[float, float], done: int, total: int
) -> None:
    (x, y), (width, height) = corner, size
    complete = total > 0 and done == total
    frame = {"boxstyle": "round,pad=0,rounding_size=0.06", "facecolor": "#DDF0E8" if complete else "white"}
    edge = {"edgecolor": BLUE, "linewidth": 2.4} if notebook.core else {"edgecolor": _FRAME, "linewidth": 0.9}
    ax.add_patch(FancyBboxPatch(corner, width, height, **frame, **edge))
    heading = f"{notebook.number}  {notebook.title}"
    lines = textwrap.fill(heading, 22, max_lines=2, placeholder="…", break_on_hyphens=False)
    weight = "bold" if notebook.core else "normal"
    ax.text(x + 0.09, y + 0.07, lines, va="top", fontsize=9, fontweight=weight, parse_math=False)
    middle = y + height - 0.24
    ax.text(x + 0.09, middle, f"{notebook.minutes} min", va="center", fontsize=8.5, color=_MUTED)
    if total == 0:
        return
    score = f"{done}/{total} ✓" if complete else f"{done}/{total}"
    ax.text(x + width - 0.09, middle, score, ha="right", va="center", fontsize=8.5)
    bar = {"xy": (x + 0.09, y + height - 0.13), "height": 0.06, "linewidth": 0}
    ax.add_patch(Rectangle(width=width - 0.18, facecolor="#DFDFDF", **bar))
    ax.add_patch(Rectangle(width=(width - 0.18) * done / total, facecolor=GREEN, **bar))
