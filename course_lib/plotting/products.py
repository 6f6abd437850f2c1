"""A matrix product with its numbers, one cell worked out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

from .base import (
    _FRAME,
    _INK,
    _LABEL_SIZE,
    _MARKED,
    _PLAIN,
    _POINTS_PER_INCH,
    BLUE,
    VERMILLION,
    _array,
    _labels,
    _new_axes,
    _numbers,
    _set_title,
    _text_width,
    _widest,
    _wrap,
)

_MOST_PRODUCT_CELLS = 18  # along one side of the figure


def matrix_product(
    a: ArrayLike,
    b: ArrayLike,
    *,
    row: int | None = 0,
    column: int | None = 0,
    names: tuple[str, str, str] = ("A", "B", "AB"),
    row_labels: Sequence[Any] | None = None,
    column_labels: Sequence[Any] | None = None,
    ax: Axes | None = None,
    title: str | None = None,
) -> Axes:
    """Draw the product of two small matrices by Falk's scheme, one entry written out.

    `a` stands at the left, `b` above, the product where they meet: a row of `a` and a column of `b` point at
    their entry, and the line below is its arithmetic.

    Alt text: "<A> times <B>. Row <row> and column <column> are marked; their product is <the arithmetic>."

    Args:
        a: `[m, k]`.
        b: `[k, n]`.
        row, column: the entry to write out, counted from 0; None for both marks nothing.
        names: of `a`, `b` and the product, for example ("Q", "Kᵀ", "QKᵀ").
        row_labels, column_labels: for the m rows of `a` and the n columns of `b`.

    Raises:
        ValueError: shapes that cannot be multiplied, more than 18 cells along a side, or a wrong label count.
        IndexError: `row` or `column` outside the product.
    """
    a = _array("a", a, 2, "matrix_product multiplies two matrices")
    b = _array("b", b, 2, "matrix_product multiplies two matrices")
    _check_product(a.shape, b.shape, row, column)
    (m, k), n = a.shape, b.shape[1]
    row_texts = [""] * m if row_labels is None else _labels("row_labels", row_labels, m)
    column_texts = [""] * n if column_labels is None else _labels("column_labels", column_labels, n)
    grids = [_numbers(matrix) for matrix in (a, b, a @ b)]

    # Lengths are inches from the upper left corner, so that the figure can be made to measure.
    widest = _widest([*(text for grid in grids for text in grid.ravel()), *column_texts], _LABEL_SIZE)
    cell_width, cell_height = float(np.clip((widest + 10) / _POINTS_PER_INCH, 0.45, 0.9)), 0.36
    gap = 0.3
    left = _widest(row_texts, _LABEL_SIZE) / _POINTS_PER_INCH + 0.1
    right_x, lower_y = left + k * cell_width + gap, gap + k * cell_height + gap
    right_end, lower_end = right_x + n * cell_width, lower_y + m * cell_height
    width = max(right_end + 0.15 + _text_width(names[2], 14) / _POINTS_PER_INCH, 5.0)
    written_out = ""
    if row is not None and column is not None:
        written_out = _wrap(_dot_product_text(names[2], row, column, *grids), 11, width)
    height = lower_end + 0.25 + 0.22 * (written_out.count("\n") + 1)

    ax = _new_axes(ax, width + 0.1, height + (0.4 if title else 0.1))
    ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    ax.axis("off")
    cell = (cell_width, cell_height)
    _draw_grid(ax, grids[0], (left, lower_y), cell, BLUE, row=row)
    _draw_grid(ax, grids[1], (right_x, gap), cell, VERMILLION, column=column)
    _draw_grid(ax, grids[2], (right_x, lower_y), cell, _INK, row=row, column=column)
    for i, text in enumerate(row_texts):
        place = (left - 0.08, lower_y + (i + 0.5) * cell_height)
        ax.text(*place, text, ha="right", va="center", fontweight="bold" if i == row else "normal", **_PLAIN)
    for j, text in enumerate(column_texts):
        place = (right_x + (j + 0.5) * cell_width, gap - 0.06)
        ax.text(*place, text, ha="center", va="bottom", fontweight="bold" if j == column else "normal", **_PLAIN)
    heading = {"fontsize": 12, "fontweight": "bold"}
    ax.text(left, lower_y - 0.08, names[0], ha="left", va="bottom", color=BLUE, **heading)
    ax.text(right_x - 0.08, gap, names[1], ha="right", va="top", color=VERMILLION, **heading)
    ax.text(right_end + 0.08, lower_y, names[2], ha="left", va="top", **heading)
    ax.text(0, lower_end + 0.15, written_out, ha="left", va="top", fontsize=11)
    _set_title(ax, title, width)
    return ax


def _check_product(a_shape: tuple[int, int], b_shape: tuple[int, int], row: int | None, column: int | None) -> None:
    (m, k), (b_rows, n) = a_shape, b_shape
    if k != b_rows:
        raise ValueError(f"a of shape {[m, k]} has {k} columns and b of shape {[b_rows, n]} has {b_rows} rows")
    if min(m, k, n) == 0 or max(m, n) + k > _MOST_PRODUCT_CELLS:
        raise ValueError(
            f"shapes {[m, k]} and {[k, n]} need 1 to {_MOST_PRODUCT_CELLS} cells along each side to be readable"
        )
    for name, index, size in (("row", row, m), ("column", column, n)):
        if index is not None and not 0 <= index < size:
            raise IndexError(f"{name}={index} is outside the product of shape {[m, n]}")


def _dot_product_text(
    name: str, row: int, column: int, a: NDArray[np.str_], b: NDArray[np.str_], product: NDArray[np.str_]
) -> str:
    def factor(text: str) -> str:
        return f"({text})" if text.startswith("−") else text

    terms = [f"{factor(left)}·{factor(right)}" for left, right in zip(a[row], b[:, column], strict=True)]
    return f"{name}[{row}, {column}] = {' + '.join(terms)} = {product[row, column]}"


def _draw_grid(
    ax: Axes,
    texts: NDArray[np.str_],
    corner: tuple[float, float],
    cell: tuple[float, float],
    colour: str,
    row: int | None = None,
    column: int | None = None,
) -> None:
    """One matrix from its upper left `corner`; the row, the column, or the cell where both meet is marked."""
    for i, j in np.ndindex(texts.shape):
        x, y = corner[0] + j * cell[0], corner[1] + i * cell[1]
        marked = (row, column) != (None, None) and row in (None, i) and column in (None, j)
        ax.add_patch(
            Rectangle((x, y), *cell, facecolor=_MARKED if marked else "white", edgecolor=_FRAME, linewidth=0.8)
        )
        middle = (x + cell[0] / 2, y + cell[1] / 2)
        ax.text(*middle, texts[i, j], ha="center", va="center", fontweight="bold" if marked else "normal", **_PLAIN)
    outline = (texts.shape[1] * cell[0], texts.shape[0] * cell[1])
    ax.add_patch(Rectangle(corner, *outline, facecolor="none", edgecolor=colour, linewidth=2))
