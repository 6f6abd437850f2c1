"""Bars, curves with their spread, and the reliability diagram."""

import math
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from numpy.typing import ArrayLike, NDArray

from .base import (
    _INK,
    _LABEL_SIZE,
    _MARKED,
    _MUTED,
    BLUE,
    COLOURS,
    LINE_STYLES,
    MARKERS,
    ORANGE,
    VERMILLION,
    _array,
    _labels,
    _new_axes,
    _numbers,
    _set_title,
)

_DASHES = ((4, 3), (1, 2), (6, 2, 1, 2), (2, 4))  # lengths of line and gap, one pattern for each level of reference


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
        references: label to a number, drawn as a grey level (chance, a baseline), each with dashes of its own.
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
    for (label, level), dashes in zip((references or {}).items(), cycle(_DASHES), strict=False):
        lines.append(ax.axhline(level, color=_MUTED, linestyle=(0, dashes), linewidth=1.2, label=label))
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
