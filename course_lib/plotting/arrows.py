"""Arcs over a sentence, from one token to those it attends to."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch
from numpy.typing import ArrayLike

from .base import (
    _LABEL_SIZE,
    _MARKED,
    _POINTS_PER_INCH,
    BLUE,
    ORANGE,
    WEIGHTS_COLOURMAP,
    _array,
    _labels,
    _new_axes,
    _numbers,
    _set_title,
    _text_width,
)

_HIGHEST_ARC = 110  # points


def attention_arrows(
    query_token: int | str,
    tokens: Sequence[str],
    weights: ArrayLike,
    *,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw a sentence with an arrow from one query word to every word, as thick as its weight.

    The weight is also written under each word. Sentences of up to about fifteen words fit; for longer ones use
    `heatmap`.

    Alt text: "<query> attends to <word> (<weight>), <word> (<weight>), ..."

    Args:
        query_token: position of the query, or the word itself if it occurs once.
        tokens: the n words.
        weights: `[n]`, the query's row of the attention weights, from 0 to 1.

    Raises:
        ValueError: a count that differs, a word that is absent or ambiguous, or weights outside [0, 1].
        IndexError: a position outside the sentence.
    """
    weights = _array("weights", weights, 1, "attention_arrows draws one row of the weights, for example weights[2]")
    texts = _labels("tokens", tokens, len(weights))
    if not np.all((weights >= 0) & (weights <= 1.0 + 1e-6)):
        raise ValueError(f"weights {weights.tolist()} are not all from 0 to 1; pass softmax weights, not scores")
    query = _position(query_token, tokens)

    # Lengths are points. A short sentence is spread out, a long one is set smaller.
    size, gap = 12.0, 16.0
    widths = np.array([max(_text_width(text, size), _text_width("0.00", _LABEL_SIZE)) for text in texts]) + gap
    figure_width = float(np.clip(widths.sum() / _POINTS_PER_INCH, 3.8, 8.8))
    stretch = figure_width * _POINTS_PER_INCH / widths.sum()
    shrink = min(1.0, stretch)
    centres = (np.cumsum(widths) - widths / 2) * stretch
    longest = float(np.abs(centres - centres[query]).max())
    bend = min(0.5, 2 * _HIGHEST_ARC / max(longest, 1.0))
    top = max(bend * longest / 2, 12.0) + 10

    drawing = (figure_width * _POINTS_PER_INCH, top + 48)
    if ax is not None:
        # Given axes have another shape: the same scale along both keeps arcs inside, and texts shrink with it.
        room = ax.get_window_extent()
        to_points = _POINTS_PER_INCH / ax.figure.dpi
        shrink *= min(room.width * to_points / drawing[0], room.height * to_points / drawing[1], 1.0)
        ax.set(aspect="equal", anchor="W")
    ax = _new_axes(ax, figure_width + 0.2, (top + 52) / _POINTS_PER_INCH + (0.4 if title else 0.1))
    ax.set(xlim=(0, drawing[0]), ylim=(-48, top))
    ax.axis("off")
    below = {"ha": "center", "va": "top", "parse_math": False}
    for i, (x, text, number) in enumerate(zip(centres, texts, _numbers(weights), strict=True)):
        box = {"boxstyle": "round,pad=0.25", "facecolor": _MARKED, "edgecolor": ORANGE} if i == query else None
        ax.text(x, -8, text, fontsize=size * shrink, bbox=box, **below)
        boldness = "bold" if weights[i] == weights.max() else "normal"
        ax.text(x, -32, number, fontsize=_LABEL_SIZE * shrink, color=BLUE, fontweight=boldness, **below)
        _attention_arc(ax, centres[query], x, weights[i], bend)
    _set_title(ax, title, figure_width)
    return ax


def _position(token: int | str, tokens: Sequence[str]) -> int:
    if isinstance(token, str):
        found = [i for i, other in enumerate(tokens) if other == token]
        if len(found) != 1:
            where = f"at positions {found}; pass the position" if found else f"nowhere in {list(tokens)}"
            raise ValueError(f"query_token {token!r} occurs {where}")
        return found[0]
    if not 0 <= token < len(tokens):
        raise IndexError(f"query_token={token} is outside the {len(tokens)} tokens")
    return token


def _attention_arc(ax: Axes, start: float, end: float, weight: float, bend: float) -> None:
    """An arrow above the words, or a ring for the weight of a word on itself; nothing for no weight."""
    if weight == 0:
        return
    line_width = 0.6 + 6.0 * weight
    colour = colormaps[WEIGHTS_COLOURMAP](0.35 + 0.6 * weight)
    if start == end:
        ring = {"markersize": 11, "markerfacecolor": "none", "markeredgecolor": colour, "markeredgewidth": line_width}
        ax.plot(start, 9, marker="o", **ring)
        return
    side = -1 if end > start else 1
    ax.add_patch(
        FancyArrowPatch(
            (start, 0),
            (end, 0),
            connectionstyle=f"arc3,rad={side * bend}",
            arrowstyle=f"-|>,head_length={4 + line_width},head_width={2 + 0.7 * line_width}",
            linewidth=line_width,
            color=colour,
            shrinkA=0,
            shrinkB=0,
        )
    )
