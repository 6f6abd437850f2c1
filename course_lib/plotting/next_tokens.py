"""Bars of a next-token distribution before and after its filters."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from numpy.typing import ArrayLike, NDArray

from .base import _LABEL_SIZE, _MUTED, BLUE, _array, _labels, _new_axes, _number, _set_title


def next_tokens(
    before: ArrayLike,
    after: ArrayLike,
    labels: Sequence[Any],
    *,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw each token's probability twice: the model's as a hatched outline, the one that is drawn from as a bar.

    At the end of a row stands the probability after the filters, or × where the token is removed.

    Alt text: "Next-token probabilities: <token> <number>, <token> removed, ..."

    Args:
        before: `[n]`, the model's probabilities.
        after: `[n]`, those after temperature and filters; 0 is a removed token.
        labels: n tokens.

    Raises ValueError where there is nothing to draw, counts differ, or a value is not in [0, 1].
    """
    before = _array("before", before, 1, "next_tokens draws one probability a token")
    after = _array("after", after, 1, "next_tokens draws one probability a token")
    n = len(before)
    texts = _labels("labels", labels, n)
    if n == 0 or len(after) != n:
        raise ValueError(f"{n} probabilities before and {len(after)} after: pass the same number of both, at least one")
    for name, values in {"before": before, "after": after}.items():
        if not np.all((values >= 0) & (values <= 1 + 1e-6)):
            raise ValueError(f"{name} {values.tolist()} are not probabilities: they must lie between 0 and 1")
    ax = _new_axes(ax, 5.0, 0.34 * n + (1.2 if title else 0.8))
    places = np.arange(n)
    outline = {"facecolor": "none", "edgecolor": _MUTED, "hatch": "////", "linewidth": 1}
    ax.add_collection(_bars(after, 0.62, facecolor=BLUE, linewidth=0, label="drawn from"), autolim=False)
    ax.add_collection(_bars(before, 0.8, label="model", **outline), autolim=False)
    for place, first, last in zip(places, before, after, strict=True):
        word = _number(last, 2) if last > 0 else "×"
        ax.annotate(word, (max(first, last), place), xytext=(5, 0), textcoords="offset points", va="center",
                    fontsize=_LABEL_SIZE)  # fmt: skip
    ax.set(xlim=(0, 1.18 * max(before.max(), after.max())), ylim=(n - 0.4, -0.6), xlabel="probability")
    ax.set_yticks(places, texts, parse_math=False)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    _set_title(ax, title)
    return ax


def _bars(lengths: NDArray[np.float64], height: float, **look: Any) -> PolyCollection:
    """Horizontal bars, one below the other; as one artist they are drawn much faster than one by one."""
    y = np.arange(len(lengths))
    left, right, low, high = np.zeros(len(y)), lengths, y - height / 2, y + height / 2
    corners = [(left, low), (right, low), (right, high), (left, high)]
    return PolyCollection(np.stack([np.stack(corner, axis=-1) for corner in corners], axis=1), **look)
