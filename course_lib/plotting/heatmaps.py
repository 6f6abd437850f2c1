"""Tables of numbers as coloured cells: attention weights, scores, confusion."""

import math
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import Colormap, Normalize
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

from .base import (
    _EMPTY,
    _LABEL_SIZE,
    _MOST_NUMBERED,
    _MOST_TOKENS,
    _POINTS_PER_INCH,
    _SMALLEST_LABEL,
    _SMALLEST_NUMBER,
    SCORES_COLOURMAP,
    WEIGHTS_COLOURMAP,
    _array,
    _labels,
    _numbers,
    _readable_on,
    _set_title,
    _shorten,
    _widest,
    _wrap,
)


def heatmap(
    matrix: ArrayLike,
    row_labels: Sequence[Any] | None = None,
    column_labels: Sequence[Any] | None = None,
    *,
    ax: Axes | None = None,
    title: str | None = None,
    values: bool | None = None,
    diverging: bool = False,
    vmin: float | None = None,
    vmax: float | None = None,
    mask: ArrayLike | None = None,
    xlabel: str = "key",
    ylabel: str = "query",
    colour_bar: bool = True,
    colour_label: str | None = None,
) -> Axes:
    """Draw a matrix as coloured cells, one row per query and one column per key.

    Alt text: "Heatmap of the attention weights of <sentence>: <query> puts <number> on <key>; ..."

    Args:
        matrix: `[rows, columns]`. NaN and infinite entries are drawn grey and named.
        row_labels, column_labels: one label (a token) per row and column. Up to 40 never overlap; of more, every
            second, third, ... is written.
        values: whether to write the numbers into the cells; None does so up to 12 rows and columns if they are
            large enough to be read.
        diverging: for scores, logits and differences: white is zero, and both signs have the same range.
        vmin, vmax: range of the colours; None takes 0 (or the smallest value, if negative) and the largest.
        mask: boolean, broadcastable to `[rows, columns]`, True = may attend; all other cells are hatched and
            without a number.
        colour_bar, colour_label: whether to draw the scale of the colours, and its name; None says "weight", or
            "score" when diverging.

    Raises:
        ValueError: `matrix` is not a matrix or is empty, a count of labels differs, or a mask does not fit.
        TypeError: a mask that is not boolean.
    """
    matrix = _array("matrix", matrix, 2, "heatmap draws [rows, columns]: choose one, for example weights[0, 0]")
    rows, columns = matrix.shape
    if matrix.size == 0:
        raise ValueError(f"matrix of shape {[rows, columns]} has no cells to draw")
    allowed = _allowed(mask, matrix.shape)
    row_texts = None if row_labels is None else _labels("row_labels", row_labels, rows)
    column_texts = None if column_labels is None else _labels("column_labels", column_labels, columns)
    numbered = max(rows, columns) <= _MOST_NUMBERED if values is None else values
    numbers = _numbers(np.where(allowed, matrix, 0.0)) if numbered else None

    aspect = "equal"
    if ax is None:
        aspect = "auto"  # the figure is made to measure, with cells as wide as their texts
        ax = _heatmap_axes(matrix.shape, row_texts, column_texts, numbers, xlabel, ylabel, title)
    else:
        _set_title(ax, title)
    cmap, norm = _colour_scale(matrix[allowed & np.isfinite(matrix)], diverging, vmin, vmax)
    shown = np.ma.masked_where(~allowed | ~np.isfinite(matrix), matrix)
    image = ax.imshow(shown, cmap=cmap, norm=norm, aspect=aspect)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.grid(False)
    ax.spines[:].set_visible(True)
    ax.xaxis.set_label_position("top")
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    _hatch(ax, ~allowed)
    if colour_bar:
        _colour_bar(ax, image, colour_label or ("score" if diverging else "weight"))
    cell = _label_cells(ax, row_texts, column_texts, matrix.shape)
    if numbers is not None:
        size = _number_size(numbers, cell)
        if values or size >= _SMALLEST_NUMBER:
            _write_numbers(ax, numbers, allowed, image.to_rgba(shown), size)
    return ax


def _allowed(mask: ArrayLike | None, shape: tuple[int, int]) -> NDArray[np.bool_]:
    if mask is None:
        return np.ones(shape, dtype=bool)
    mask = np.asarray(mask)
    if mask.dtype != bool:
        raise TypeError(f"mask has dtype {mask.dtype}; pass a boolean mask, True = may attend")
    try:
        return np.broadcast_to(mask, shape)
    except ValueError as error:
        raise ValueError(f"mask of shape {list(mask.shape)} does not broadcast to {list(shape)}") from error


def _heatmap_axes(
    shape: tuple[int, int],
    row_texts: list[str] | None,
    column_texts: list[str] | None,
    numbers: NDArray[np.str_] | None,
    xlabel: str,
    ylabel: str,
    title: str | None,
) -> Axes:
    """A figure made to measure: cells wide enough for numbers and labels, margins wide enough for the rest."""
    rows, columns = shape
    cell = float(np.clip(6.2 / max(rows, columns), 0.155, 0.55))
    wanted = _widest(column_texts or [], _LABEL_SIZE) + 8
    if numbers is not None:
        wanted = max(wanted, _widest(numbers.ravel(), _LABEL_SIZE) + 10)
    # Columns grow for horizontal labels and for numbers, as far as a laptop's screen is wide.
    cell_width = float(np.clip(wanted / _POINTS_PER_INCH, cell, max(cell, min(1.0, 6.2 / columns))))
    width, height = columns * cell_width, rows * cell
    left = _widest(row_texts or ["00"], _LABEL_SIZE) / _POINTS_PER_INCH + (0.45 if ylabel else 0.2)
    horizontal = wanted <= cell_width * _POINTS_PER_INCH
    labels_height = 0.2 if horizontal else _widest(column_texts or ["00"], _LABEL_SIZE) / _POINTS_PER_INCH
    figure_width = max(left + width + 0.95, 4.2)
    title_lines = [] if title is None else _wrap(title, 12, figure_width - left - 0.2).splitlines()
    top = labels_height + (0.35 if xlabel else 0.12) + 0.21 * len(title_lines) + 0.1
    figure_height = 0.12 + height + top
    figure = plt.figure(figsize=(figure_width, figure_height), layout="none")
    ax = figure.add_axes((left / figure_width, 0.12 / figure_height, width / figure_width, height / figure_height))
    ax.set_title("\n".join(title_lines))
    return ax


def _colour_scale(
    finite: NDArray[np.float64], diverging: bool, vmin: float | None, vmax: float | None
) -> tuple[Colormap, Normalize]:
    cmap = colormaps[SCORES_COLOURMAP if diverging else WEIGHTS_COLOURMAP].with_extremes(bad=_EMPTY)
    low, high = (min(finite.min(), 0.0), finite.max()) if finite.size else (0.0, 1.0)
    if diverging:
        high = max(-low, high)
        low = -high
    if low == high:  # all values equal: any range does, but not an empty one
        low, high = low - float(diverging), low + 1.0
    return cmap, Normalize(low if vmin is None else vmin, high if vmax is None else vmax)


def _hatch(ax: Axes, masked: NDArray[np.bool_]) -> None:
    cells = [Rectangle((column - 0.5, row - 0.5), 1, 1) for row, column in np.argwhere(masked)]
    ax.add_collection(
        PatchCollection(cells, facecolor=_EMPTY, edgecolor="#B5B5B5", hatch="///", linewidth=0), autolim=False
    )


def _colour_bar(ax: Axes, image: Any, label: str) -> None:
    """The scale at the right, as high as the matrix."""
    extent = ax.get_window_extent()
    width = 0.14 * ax.figure.dpi / extent.width
    bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.0 + 0.8 * width, 0.0, width, 1.0)))
    bar.set_label(label)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=3)
    bar.ax.yaxis.set_major_locator(MaxNLocator(int(np.clip(extent.height / ax.figure.dpi / 0.35, 2, 5))))


def _label_cells(
    ax: Axes, row_texts: list[str] | None, column_texts: list[str] | None, shape: tuple[int, int]
) -> tuple[float, float]:
    """Write the labels in a size in which they fit; return the width and height of a cell in points."""
    width, height = _room(ax)
    cell_width, cell_height = width / shape[1], height / shape[0]
    if ax.get_aspect() != "auto":
        cell_width = cell_height = min(cell_width, cell_height)
    _label_axis(ax.yaxis, row_texts, cell_height, longest=0.5 * width)
    horizontal = column_texts is None or _widest(column_texts, _LABEL_SIZE) <= 0.95 * cell_width
    ax.tick_params(axis="x", rotation=0 if horizontal else 90)
    _label_axis(ax.xaxis, column_texts, _LABEL_SIZE / 0.8 if horizontal else cell_width, longest=0.5 * height)
    return cell_width, cell_height


def _room(ax: Axes) -> tuple[float, float]:
    """Width and height in points that the axes will have.

    Axes with a fixed place have them already. In a grid of subplots the layout makes room for labels later: most
    of its slot is sure to be left, and labels that would take more are shortened.
    """
    slot = ax.get_subplotspec()
    box = ax.get_position() if slot is None else slot.get_position(ax.figure)
    share = 1.0 if slot is None else 0.75
    to_points = share * _POINTS_PER_INCH / ax.figure.dpi
    return box.width * ax.figure.bbox.width * to_points, box.height * ax.figure.bbox.height * to_points


def _label_axis(axis: Any, texts: list[str] | None, room: float, longest: float) -> None:
    """Labels that take `room` points each across their direction and, in a grid of subplots, `longest` along it."""
    if texts is None:
        axis.set_major_locator(MaxNLocator(nbins=10, integer=True, steps=[1, 2, 5, 10]))
        return
    size = float(np.clip(0.8 * room, _SMALLEST_LABEL, _LABEL_SIZE))
    step = max(math.ceil(_SMALLEST_LABEL / (0.8 * room)), math.ceil(len(texts) / _MOST_TOKENS))
    if axis.axes.get_subplotspec() is not None:
        texts = [_shorten(text, size, longest) for text in texts]
    axis.set_ticks(range(0, len(texts), step), texts[::step], parse_math=False, fontsize=size)


def _number_size(numbers: NDArray[np.str_], cell: tuple[float, float]) -> float:
    """Font size at which the widest number fits a cell of that width and height in points."""
    by_width = 0.85 * cell[0] * _LABEL_SIZE / _widest(numbers.ravel(), _LABEL_SIZE)
    return min(_LABEL_SIZE, by_width, 0.7 * cell[1])


def _write_numbers(
    ax: Axes, numbers: NDArray[np.str_], allowed: NDArray[np.bool_], colours: NDArray[np.float64], size: float
) -> None:
    for row, column in np.argwhere(allowed):
        colour = _readable_on(colours[row, column])
        ax.text(column, row, numbers[row, column], ha="center", va="center", fontsize=size, color=colour)
