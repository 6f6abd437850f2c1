"""The map of the course as a learner sees it: a box for each notebook that fills with the exercises passed.

It is written as HTML with its numbers as text, so that it is read aloud, follows the page's colours, and is the same on
every computer; `as_text` says the same where no HTML is shown.
"""

import html
from collections.abc import Collection, Mapping, Sequence

from .syllabus import PARTS, Notebook

_GREEN, _BLUE, _GREY = "#009e73", "#0072b2", "#8a8a8a"
_BOXES = "display:flex;flex-wrap:wrap;gap:8px;list-style:none;margin:0 0 10px 0;padding:0"
_BOX = "box-sizing:border-box;width:164px;margin:0;border-radius:6px;line-height:1.35"
_WIDTH = 10  # characters of a bar in the text


def as_html(notebooks: Sequence[Notebook], passed: Mapping[str, tuple[int, int]], quizzes: Collection[str]) -> str:
    """The map: part by part a list of boxes, those of the core path with a thick frame.

    `passed` maps a notebook's number to (exercises passed, exercises in all), and `quizzes` holds the numbers of the
    notebooks whose quiz is done.
    """
    drawn = [f"<div><strong>{_total(passed)}</strong> (thick frame: the core path)</div>"]
    for key, part in PARTS.items():
        members = [notebook for notebook in notebooks if notebook.part == key]
        if members:
            name = part if key == "0" else f"Part {key}: {part}"
            boxes = "".join(_box(one, *passed[one.number], one.number in quizzes) for one in members)
            drawn.append(f"<div style='margin:6px 0 2px 0'>{name}</div><ul style='{_BOXES}'>{boxes}</ul>")
    return "".join(drawn)


def as_text(notebooks: Sequence[Notebook], passed: Mapping[str, tuple[int, int]], quizzes: Collection[str]) -> str:
    """One line a notebook, with a bar, and the sum below."""
    lines = []
    for notebook in notebooks:
        done, total = passed[notebook.number]
        filled = _WIDTH * done // total
        bar = "█" * filled + "░" * (_WIDTH - filled)
        quiz = "  quiz done" if notebook.number in quizzes else ""
        lines.append(f"{notebook.number} {notebook.title:<32} {bar} {done:>2} of {total:<2}{quiz}")
    return "\n".join([*lines, _total(passed)])


def _box(notebook: Notebook, done: int, total: int, quiz_done: bool) -> str:
    frame = (
        f"border:3px solid {_BLUE};padding:4px 7px" if notebook.core else f"border:1px solid {_GREY};padding:6px 9px"
    )
    bar = f"height:8px;border:1px solid {_GREY};border-radius:4px;margin:3px 0;overflow:hidden"
    fill = f"height:8px;width:{100 * done // total}%;background-color:{_GREEN}"
    said = f"{'✓ ' if done == total else ''}{done} of {total}{', quiz done' if quiz_done else ''}"
    return (
        f"<li style='{_BOX};{frame}'><strong>{notebook.number}</strong> {html.escape(notebook.title)}"
        f"<div style='{bar}'><div style='{fill}'></div></div>"
        f"<div>{said}</div><small>{notebook.minutes} min{', core path' if notebook.core else ''}</small></li>"
    )


def _total(passed: Mapping[str, tuple[int, int]]) -> str:
    done, total = (sum(numbers) for numbers in zip(*passed.values(), strict=True))
    return f"{done} of {total} exercises passed"
