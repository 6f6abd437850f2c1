"""All attention maps of a model in one picture: a row for each layer, a column for each head."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike

from .base import _FRAME, VERMILLION, WEIGHTS_COLOURMAP, _array, _new_axes, _set_title

_GAP = 0.12  # between two maps, in widths of a map


def head_grid(
    weights: ArrayLike,
    *,
    highlight: tuple[int, int] | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the map of every head of every layer, small: darker is a larger weight, the same scale everywhere.

    Rows and columns of the grid are layers and heads, counted from 0. In each map rows are queries, from the top,
    and columns are keys. A dark column is a token that everybody attends to, a dark diagonal a fixed distance.

    Alt text: "Grid of the attention maps of <n> layers and <n> heads. Head <n> of layer <n> is a diagonal; ..."

    Args:
        weights: `[layers, num_heads, query, key]`, from 0 to 1.
        highlight: (layer, head) to frame.

    Raises:
        ValueError: another number of axes, nothing to draw, or weights outside [0, 1].
        IndexError: `highlight` outside the grid.
    """
    weights = _array("weights", weights, 4, "head_grid draws [layers, num_heads, query, key]")
    layers, heads, queries, keys = weights.shape
    if weights.size == 0:
        raise ValueError(f"weights of shape {list(weights.shape)} have no map to draw")
    if not np.all((weights >= 0) & (weights <= 1 + 1e-6)):
        raise ValueError("weights are not all from 0 to 1; pass softmax weights, not scores")
    if highlight is not None and not (0 <= highlight[0] < layers and 0 <= highlight[1] < heads):
        raise IndexError(f"highlight={highlight} is outside {layers} layers and {heads} heads")
    cell = float(np.clip(8.6 / heads, 0.5, 1.1))
    height = cell * layers * queries / keys + (1.0 if title else 0.6)
    ax = _new_axes(ax, cell * heads + 1.2, height)
    step = 1 + _GAP
    for layer in range(layers):
        for head in range(heads):
            left, top = head * step, layer * step
            ax.imshow(weights[layer, head], cmap=WEIGHTS_COLOURMAP, vmin=0, vmax=1, aspect="auto",
                      extent=(left, left + 1, top + 1, top), interpolation="nearest")  # fmt: skip
            is_marked = highlight == (layer, head)
            edge = (VERMILLION, 2.5) if is_marked else (_FRAME, 0.7)
            ax.add_patch(Rectangle((left, top), 1, 1, fill=False, edgecolor=edge[0], linewidth=edge[1], zorder=3))
    ax.set(xlim=(-_GAP, heads * step), ylim=(layers * step, -_GAP), xlabel="head", ylabel="layer")
    ax.set_aspect(queries / keys)
    ax.set_xticks(np.arange(heads) * step + 0.5, range(heads))
    ax.set_yticks(np.arange(layers) * step + 0.5, range(layers))
    ax.xaxis.set_label_position("top")
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.grid(False)
    ax.spines[:].set_visible(False)
    _set_title(ax, title)
    return ax
