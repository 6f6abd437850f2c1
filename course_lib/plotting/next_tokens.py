"""Bars of a next-token distribution before and after its filters."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

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
    ax.barh(places, after, height=0.62, color=BLUE, label="drawn from")
    ax.barh(places, before, height=0.8, facecolor="none", edgecolor=_MUTED, hatch="////", linewidth=1, label="model")
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
