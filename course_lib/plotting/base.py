"""The course's style, and what every figure needs: labels, numbers, titles, checks of arrays."""

import math
import textwrap
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path
from numpy.typing import ArrayLike, NDArray

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


def figure_title(figure: Figure, title: str) -> None:
    """Write what there is to see above all panels of a figure, in the place and size of a title of one panel.

    For figures of several panels, whose own titles only name them. Long titles are broken into lines.
    """
    text = _wrap(title, plt.rcParams["axes.titlesize"], figure.get_figwidth() - 0.2)
    figure.suptitle(text, x=0.1 / figure.get_figwidth(), ha="left", fontsize=plt.rcParams["axes.titlesize"])


def _readable_on(colour: Any) -> str:
    """Black or white, whichever contrasts more with `colour` (relative luminance of WCAG 2.2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
    luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
    contrast_with_black, contrast_with_white = (luminance + 0.05) / 0.05, 1.05 / (luminance + 0.05)
    return "black" if contrast_with_black >= contrast_with_white else "white"


def _new_axes(ax: Axes | None, width: float, height: float) -> Axes:
    """`ax`, or the axes of a new figure of `width` times `height` inches."""
    return plt.subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax
