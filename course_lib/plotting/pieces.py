"""A text cut into pieces: one row of boxes for each way of cutting it."""

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import Rectangle

from .base import (
    _FRAME,
    _INK,
    _LABEL_SIZE,
    _MARKED,
    _MUTED,
    _POINTS_PER_INCH,
    ORANGE,
    _new_axes,
    _set_title,
    _text_width,
    _widest,
)

_WIDTH = 9.6 * _POINTS_PER_INCH  # points
_SIZE, _NOTE_SIZE = 11, 8
_BOX, _NOTE, _BETWEEN_LINES, _BETWEEN_ROWS = 21, 12, 5, 11
_FACES = ("#E3EEF6", "#FFFFFF")  # in turn, so that neighbours differ; each box has a frame as well
_VISIBLE = {" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "␍"}


def token_pieces(
    rows: Mapping[str, Sequence[str]],
    *,
    notes: Mapping[str, Sequence[Any]] | None = None,
    highlight: Mapping[str, Collection[int]] | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw each row of pieces as a row of boxes, wrapped where it is too long for one line.

    Spaces and line breaks are made visible. A character that the figures' typeface lacks is written as its code
    point, U+4E2D.

    Alt text: "<label>, <number> pieces: <piece>, <piece>, ...; <label>, ..."

    Args:
        rows: label to pieces; the label stands at the left.
        notes: label to one short text for each piece, written below it (an id, an offset).
        highlight: label to the indices of pieces that are marked.

    Raises:
        ValueError: nothing to draw, an unknown label, or a count of notes that differs.
        IndexError: a marked piece outside its row.
    """
    notes, highlight = dict(notes or {}), dict(highlight or {})
    _check(rows, notes, highlight)
    left = _widest(list(rows), _LABEL_SIZE) + 14
    placed = {label: _lines(pieces, notes.get(label), left) for label, pieces in rows.items()}
    heights = {label: _BOX + (_NOTE if label in notes else 0) for label in rows}
    total = sum(len(lines) * (heights[label] + _BETWEEN_LINES) + _BETWEEN_ROWS for label, lines in placed.items())
    ax = _new_axes(ax, _WIDTH / _POINTS_PER_INCH + 0.2, total / _POINTS_PER_INCH + (0.45 if title else 0.1))
    ax.set(xlim=(0, _WIDTH), ylim=(total, -2))
    ax.axis("off")
    y = 0.0
    for label, lines in placed.items():
        ax.text(0, y + _BOX / 2, label, va="center", fontsize=_LABEL_SIZE, color=_INK, parse_math=False)
        for line in lines:
            for i, x, width, text in line:
                marked = i in highlight.get(label, ())
                _draw_box(ax, x, y, width, text, _MARKED if marked else _FACES[i % 2], marked)
                if label in notes:
                    _write(ax, x + width / 2, y + _BOX + _NOTE / 2 + 1, str(notes[label][i]), _NOTE_SIZE, _MUTED)
            y += heights[label] + _BETWEEN_LINES
        y += _BETWEEN_ROWS
    _set_title(ax, title, _WIDTH / _POINTS_PER_INCH)
    return ax


def _check(rows: Mapping[str, Sequence[str]], notes: dict, highlight: dict) -> None:
    if not rows or not all(len(pieces) for pieces in rows.values()):
        raise ValueError("there are no pieces to draw: each row needs at least one")
    for label in (*notes, *highlight):
        if label not in rows:
            raise ValueError(f"there is no row {label!r}; the rows are {', '.join(map(repr, rows))}")
    for label, texts in notes.items():
        if len(texts) != len(rows[label]):
            raise ValueError(f"row {label!r} has {len(rows[label])} pieces and {len(texts)} notes")
    for label, marked in highlight.items():
        for i in marked:
            if not 0 <= i < len(rows[label]):
                raise IndexError(f"piece {i} is outside the {len(rows[label])} pieces of {label!r}")


def _lines(
    pieces: Sequence[str], notes: Sequence[Any] | None, left: float
) -> list[list[tuple[int, float, float, str]]]:
    """The boxes of one row, line by line."""
    lines, x = [[]], left
    for i, piece in enumerate(pieces):
        text = _visible(piece)
        width = _text_width(text, _SIZE) + 10
        if notes is not None:
            width = max(width, _text_width(str(notes[i]), _NOTE_SIZE) + 6)
        if x + width > _WIDTH and lines[-1]:
            lines.append([])
            x = left
        lines[-1].append((i, x, width, text))
        x += width + 2
    return lines


def _draw_box(ax: Axes, x: float, y: float, width: float, text: str, face: str, marked: bool) -> None:
    edge, line = (ORANGE, 2.0) if marked else (_FRAME, 0.9)
    ax.add_patch(Rectangle((x, y), width, _BOX, facecolor=face, edgecolor=edge, linewidth=line))
    _write(ax, x + width / 2, y + _BOX / 2, text, _SIZE, _INK)


def _write(ax: Axes, x: float, y: float, text: str, size: float, colour: str) -> None:
    ax.text(x, y, text, ha="center", va="center", fontsize=size, color=colour, parse_math=False)


def _visible(piece: str) -> str:
    family = tuple(plt.rcParams["font.family"])
    return "".join(_VISIBLE.get(char) or (char if _has_glyph(char, family) else f"U+{ord(char):04X}") for char in piece)


@lru_cache(maxsize=4096)
def _has_glyph(char: str, family: tuple[str, ...]) -> bool:
    font = get_font(findfont(FontProperties(family=list(family))))
    return char.isprintable() and font.get_char_index(ord(char)) != 0
