"""The figures of the course: arrays in, `matplotlib` Axes out, one style that is safe for colour-blind readers.

Every function takes whatever `numpy.asarray` can take (lists, arrays, torch tensors after `.detach()`), draws on
`ax` or on a new figure of its own, and returns the Axes. Nothing is shown, saved or printed here: a notebook shows
its figures, and prints the numbers behind them.

An image is nothing to those who cannot see it: each docstring has a line "Alt text" with a pattern for the text
to put beside the figure. The title should state what there is to see.

Colours are never alone: markers, line styles, hatching, numbers or words say the same.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import Colormap, Normalize, to_rgb
from matplotlib.font_manager import FontProperties
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.textpath import text_to_path
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

# The hues of Okabe and Ito (2008), "Color universal design", with their lightness spread out so that the six also
# differ when printed in grey. Tests measure the distances under simulated colour blindness.
COLOURS = ("#034E7B", "#DD9900", "#B55208", "#309773", "#2E2E2E", "#6FC9FF")
BLUE, ORANGE, VERMILLION, GREEN, BLACK, SKY = COLOURS
MARKERS = ("o", "s", "^", "D", "v", "X")
LINE_STYLES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1)), (0, (1, 1)))

WEIGHTS_COLOURMAP = "Blues"  # light to dark: zero looks empty, and black or white text is readable on it
SCORES_COLOURMAP = "PuOr"  # orange below zero, white at zero, purple above

_INK = "#1A1A1A"
_MUTED = "#6B6B6B"
_GRID = "#DADADA"
_FRAME = "#A9A9A9"
_EMPTY = "#EDEDED"
_MARKED = "#FBE3A6"

_STYLE = {
    "figure.dpi": 100,
    "savefig.dpi": 100,
    "figure.figsize": (7.5, 4.2),
    "figure.facecolor": "white",
    "figure.constrained_layout.use": True,
    "font.family": ["DejaVu Sans"],
    "font.size": 11,
    "text.color": _INK,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 11,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": plt.cycler(color=COLOURS),
    "grid.color": _GRID,
    "grid.linewidth": 0.8,
    "xtick.labelsize": 10,
    "ytick.labelsize": 10,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "legend.fontsize": 10,
    "legend.title_fontsize": 10,
    "legend.frameon": False,
    "lines.linewidth": 2.0,
    "lines.markersize": 6.0,
    "image.cmap": WEIGHTS_COLOURMAP,
    "hatch.linewidth": 0.6,
}

_POINTS_PER_INCH = 72
_LABEL_SIZE = 10  # points, for tokens and numbers
_SMALLEST_LABEL = 5  # smaller labels are left out
_SMALLEST_NUMBER = 6.5  # smaller numbers are left out unless asked for
_LONGEST_LABEL = 24  # characters
_MOST_TOKENS = 40  # more than these are labelled every second, third, ...
_PLAIN = {"fontsize": _LABEL_SIZE, "parse_math": False}  # a token may hold dollar signs
_MOST_NUMBERED = 12  # rows or columns up to which `heatmap` writes its numbers


def use_course_style() -> None:
    """Set the look of every figure that follows, from matplotlib's defaults, whatever was set before.

    In Jupyter, figures are stored as PNG without the name and version of the software that wrote them: the same
    figure gives the same bytes.
    """
    style.use(["default", _STYLE])
    from IPython import get_ipython  # here, so that scripts that only save files do not load IPython

    if get_ipython() is not None:
        from matplotlib_inline.backend_inline import set_matplotlib_formats
        from matplotlib_inline.config import InlineBackend

        config = InlineBackend.instance()
        # Both: the first holds when the inline backend starts later, the second when it has started.
        config.print_figure_kwargs = {**config.print_figure_kwargs, "metadata": {"Software": None}}
        set_matplotlib_formats("png")


# --- numbers, labels, text -------------------------------------------------------------------------------------


def _array(name: str, values: ArrayLike, ndim: int, hint: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=float)
    if array.ndim != ndim:
        raise ValueError(f"{name} has shape {list(array.shape)}; {hint}")
    return array


def _labels(name: str, labels: Sequence[Any], expected: int) -> list[str]:
    """Labels as they are drawn, one per row or column: line breaks made visible, very long words shortened."""
    if len(labels) != expected:
        raise ValueError(f"{name} has {len(labels)} labels for {expected} places")
    texts = [str(label).replace("\n", "\\n").replace("\t", "\\t") for label in labels]
    return [text if len(text) <= _LONGEST_LABEL else text[: _LONGEST_LABEL - 1] + "…" for text in texts]


def _numbers(values: NDArray[np.float64]) -> NDArray[np.str_]:
    """Numbers as text, with the same number of decimals throughout and about three digits."""
    finite = np.abs(values[np.isfinite(values)])
    if np.all(finite == np.round(finite)):
        decimals = 0
    elif finite.max() >= 0.1:
        decimals = 2 if finite.max() < 10 else 1 if finite.max() < 100 else 0
    else:
        decimals = min(1 - math.floor(math.log10(finite.max())), 5)
    return np.vectorize(lambda x: _number(x, decimals), otypes=[str])(values)


def _number(x: float, decimals: int) -> str:
    if math.isnan(x):
        return "NaN"
    if math.isinf(x):
        return "∞" if x > 0 else "−∞"
    text = f"{x:.{decimals}f}".replace("-", "−")
    return text if text.strip("−0.") else text.lstrip("−")  # no minus before a zero


def _text_width(text: str, size: float) -> float:
    """Width in points of `text` in the typeface of the figures."""
    return _measured(text, size, tuple(plt.rcParams["font.family"]))


@lru_cache(maxsize=4096)  # a grid of heads measures the same tokens again and again
def _measured(text: str, size: float, family: tuple[str, ...]) -> float:
    font = FontProperties(family=list(family), size=size)
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]


def _widest(texts: Sequence[str], size: float) -> float:
    return max((_text_width(text, size) for text in texts), default=0.0)


def _wrap(text: str, size: float, width: float) -> str:
    """`text` broken into lines of about `width` inches at most."""
    characters = int(len(text) * width * _POINTS_PER_INCH / max(_text_width(text, size), 1.0))
    return textwrap.fill(text, max(characters, 12))


def _shorten(text: str, size: float, width: float) -> str:
    """`text`, cut and ended by "…" where it is wider than `width` points."""
    if _text_width(text, size) <= width:
        return text
    fitting = [n for n in range(1, len(text)) if _text_width(text[:n] + "…", size) <= width]
    return text[: max(fitting, default=1)] + "…"


def _set_title(ax: Axes, title: str | None, width: float | None = None) -> None:
    """Title, broken into lines of at most `width` inches (None: the width of the axes)."""
    if title is None:
        return
    if width is None:
        width = ax.get_window_extent().width / ax.figure.dpi
    ax.set_title(_wrap(title, plt.rcParams["axes.titlesize"], width))


def _readable_on(colour: Any) -> str:
    """Black or white, whichever contrasts more with `colour` (relative luminance of WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
    contrast_with_black, contrast_with_white = (luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05)
    return "black" if contrast_with_black >= contrast_with_white else "white"


def _new_axes(ax: Axes | None, width: float, height: float) -> Axes:
    """`ax`, or the axes of a new figure of `width` times `height` inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


# --- heatmap ---------------------------------------------------------------------------------------------------


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


# --- matrix product --------------------------------------------------------------------------------------------

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


# --- arrows over a sentence ------------------------------------------------------------------------------------

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

    ax = _new_axes(ax, figure_width + 0.2, (top + 52) / _POINTS_PER_INCH + (0.4 if title else 0.1))
    ax.set(xlim=(0, figure_width * _POINTS_PER_INCH), ylim=(-48, top))
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


# --- bars ------------------------------------------------------------------------------------------------------


def bars(
    values: ArrayLike,
    labels: Sequence[Any],
    *,
    spread: ArrayLike | None = None,
    highlight: int | None = None,
    ax: Axes | None = None,
    title: str | None = None,
    xlabel: str = "probability",
) -> Axes:
    """Draw one horizontal bar per label, from top to bottom, with its number at the end.

    Alt text: "Bar chart of <xlabel>: <label> <number>, <label> <number>, ..."

    Args:
        values: `[n]`; NaN is written "NaN" and has no bar.
        labels: n labels.
        spread: `[n]`, non-negative half lengths of the whiskers (say in the caption what they are).
        highlight: index of the bar in the second colour.

    Raises:
        ValueError: nothing to draw, counts that differ, infinite values, or a negative spread.
        IndexError: `highlight` outside the bars.
    """
    values = _array("values", values, 1, "bars draws one number per label")
    n = len(values)
    texts = _labels("labels", labels, n)
    if n == 0 or np.isinf(values).any():
        raise ValueError(f"values {values.tolist()} cannot be drawn as bars: pass finite numbers, at least one")
    if highlight is not None and not 0 <= highlight < n:
        raise IndexError(f"highlight={highlight} is outside the {n} bars")
    whiskers = np.zeros(n) if spread is None else _array("spread", spread, 1, "bars takes one spread per label")
    if len(whiskers) != n or not np.all(whiskers >= 0):
        raise ValueError(f"spread {whiskers.tolist()} needs one number of 0 or more for each of the {n} values")

    ax = _new_axes(ax, 6.5, 0.38 * n + (1.2 if title else 0.8))
    lengths = np.nan_to_num(values)
    colours = [ORANGE if i == highlight else BLUE for i in range(n)]
    edges = [_INK if i == highlight else "none" for i in range(n)]
    ax.barh(range(n), lengths, color=colours, edgecolor=edges, height=0.68)
    if spread is not None:
        ax.errorbar(lengths, range(n), xerr=whiskers, fmt="none", ecolor=_INK, capsize=3, elinewidth=1.2)
    for i, number in enumerate(_numbers(values)):
        direction, side = (-1, "right") if lengths[i] < 0 else (1, "left")
        end = (lengths[i] + direction * whiskers[i], i)
        offset = {"xytext": (5 * direction, 0), "textcoords": "offset points"}
        ax.annotate(number, end, ha=side, va="center", fontsize=_LABEL_SIZE, **offset)
    low, high = (lengths - whiskers).min(), (lengths + whiskers).max()
    room = 0.13 * ((max(high, 0.0) - min(low, 0.0)) or 1.0)  # for the numbers at the ends
    ax.set_xlim(low - room if low < 0 else 0.0, high + room if high > 0 else room)
    ax.set_ylim(n - 0.45, -0.55)
    ax.set_yticks(range(n), texts, parse_math=False)
    ax.set_xlabel(xlabel)
    ax.grid(axis="y", visible=False)
    ax.tick_params(axis="y", length=0)
    if low < 0:
        ax.axvline(0.0, color=_INK, linewidth=1)
    _set_title(ax, title)
    return ax


# --- curves ----------------------------------------------------------------------------------------------------


def curves(
    x: ArrayLike,
    series: Mapping[str, ArrayLike],
    *,
    references: Mapping[str, float] | None = None,
    ax: Axes | None = None,
    title: str | None = None,
    xlabel: str | None = None,
    ylabel: str | None = None,
    log_x: bool = False,
    log_y: bool = False,
) -> Axes:
    """Draw up to six lines, told apart by colour, marker and line style; several seeds give a line and a band.

    The legend stands beside the axes, where it cannot cover data, in the order of the last values.

    Alt text: "<ylabel> against <xlabel>: <label> goes from <number> to <number>, ..."

    Args:
        x: `[n]`.
        series: label to `[n]`, or to `[seeds, n]`: the line is the mean over the seeds, the band reaches from the
            smallest to the largest. NaN leaves a gap.
        references: label to a number, drawn as a dashed grey level (chance, a baseline).
        log_x, log_y: logarithmic axes.

    Raises:
        ValueError: no series or more than six, lengths that differ, or values of 0 or less on a logarithmic axis.
    """
    x = _array("x", x, 1, "curves draws against one row of numbers")
    if not 1 <= len(series) <= len(COLOURS):
        raise ValueError(f"{len(series)} series: curves tells 1 to {len(COLOURS)} apart; draw a second figure")
    tables = {label: _seeds(label, ys, len(x)) for label, ys in series.items()}
    for is_log, flag, rows in ((log_x, "log_x", {"x": x}), (log_y, "log_y", {**tables, **(references or {})})):
        for label, row in rows.items():
            if is_log and np.any(np.asarray(row) <= 0):
                raise ValueError(f"{flag}=True needs positive values; {label!r} holds {np.nanmin(row):.3g}")

    ax = _new_axes(ax, 7.5, 4.0)
    lines = []
    for i, (label, table) in enumerate(tables.items()):
        lines.append(_curve(ax, x, table, label, i))
    for label, level in (references or {}).items():
        lines.append(ax.axhline(level, color=_MUTED, linestyle=(0, (4, 3)), linewidth=1.2, label=label))
    ax.set(xlabel=xlabel, ylabel=ylabel, xscale="log" if log_x else "linear", yscale="log" if log_y else "linear")
    if log_x and len(x) <= 10:
        ax.set_xticks(x, [f"{value:g}" for value in x])
        ax.set_xticks([], minor=True)
    several_seeds = any(len(table) > 1 for table in tables.values())
    if len(lines) > 1 or several_seeds:
        lines.sort(key=_last_value, reverse=True)
        legend_title = "line: mean over seeds\nband: smallest to largest" if several_seeds else None
        ax.legend(handles=lines, title=legend_title, loc="upper left", bbox_to_anchor=(1.01, 1.02),
                  alignment="left", handlelength=3)  # fmt: skip
    _set_title(ax, title)
    return ax


def _seeds(label: str, ys: ArrayLike, n: int) -> np.ma.MaskedArray:
    """`[seeds, n]` without its NaNs, whatever the form of `ys`."""
    table = np.atleast_2d(np.asarray(ys, dtype=float))
    if table.ndim != 2 or table.shape[1] != n or len(table) == 0:
        raise ValueError(f"series {label!r} has shape {list(np.shape(ys))}; x needs [{n}] or [seeds, {n}]")
    return np.ma.masked_invalid(table)


def _curve(ax: Axes, x: NDArray[np.float64], table: np.ma.MaskedArray, label: str, i: int) -> Any:
    every = max(1, math.ceil(len(x) / 12))
    (line,) = ax.plot(
        x,
        table.mean(axis=0),
        color=COLOURS[i],
        marker=MARKERS[i],
        linestyle=LINE_STYLES[i],
        # Long curves: some markers only, at other places on each line.
        markevery=(i * every // len(COLOURS), every),
        markeredgecolor="white",
        label=label,
    )
    if len(table) > 1:
        ax.fill_between(x, table.min(axis=0), table.max(axis=0), color=COLOURS[i], alpha=0.18, linewidth=0)
    return line


def _last_value(line: Any) -> float:
    values = np.ma.masked_invalid(line.get_ydata()).compressed()
    return float(values[-1]) if len(values) else -math.inf


# --- reliability -----------------------------------------------------------------------------------------------


class Bins(Protocol):
    """What `reliability` draws, such as `calibration.ReliabilityBins`: answers grouped by confidence."""

    edges: ArrayLike  # [bins + 1], even
    counts: ArrayLike  # [bins], numbers of answers
    confidence: ArrayLike  # [bins], mean confidence; NaN in an empty bin
    accuracy: ArrayLike  # [bins], share of right answers; NaN in an empty bin


def reliability(bins: Bins, *, ax: Axes | None = None, title: str | None = None) -> Axes:
    """Draw a reliability diagram: per bin of confidence, the share of right answers and its gap to the diagonal.

    Alt text: "Reliability diagram: at a confidence of <number> the accuracy is <number>, ...; the model is
    over-confident / under-confident / calibrated."

    Raises ValueError where the numbers of edges, counts and means do not fit.
    """
    edges, counts = np.asarray(bins.edges, dtype=float), np.asarray(bins.counts, dtype=int)
    mean_confidence, accuracy = np.asarray(bins.confidence, dtype=float), np.asarray(bins.accuracy, dtype=float)
    if not len(edges) - 1 == len(counts) == len(mean_confidence) == len(accuracy):
        raise ValueError(f"{len(edges)} edges, {len(counts)} counts: n + 1 edges and n of everything else are needed")
    filled = counts > 0
    centres, width = (edges[:-1] + edges[1:])[filled] / 2, 0.94 / len(counts)
    gap = (mean_confidence - accuracy)[filled]
    ax = _new_axes(ax, 6.8, 4.6)
    ax.bar(centres, accuracy[filled], width, color=BLUE, label="accuracy")
    ax.bar(centres, gap, width, bottom=accuracy[filled], facecolor=(_MARKED, 0.5), edgecolor=VERMILLION, hatch="///",
           linewidth=1, label="gap to the mean confidence")  # fmt: skip
    outline = [withStroke(linewidth=3.0, foreground="white")]  # to be seen on the bars as well
    ax.plot([0, 1], [0, 1], color=_INK, linestyle="--", linewidth=1.4, label="calibrated", path_effects=outline)
    for x, count in zip(centres, counts[filled], strict=True):
        ax.text(x, 1.03, str(count), ha="center", fontsize=8)
    ax.set(xlim=(0, 1), ylim=(0, 1.09), xlabel="confidence", ylabel="share of right answers")
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.legend(title="at the top: answers per bin", loc="upper left", bbox_to_anchor=(1.01, 1.02), alignment="left")
    _set_title(ax, title)
    return ax


# --- the map of the course -------------------------------------------------------------------------------------

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
