"""The architecture of a model, drawn from a run of the model itself: a picture that cannot drift from its code."""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from .base import _FRAME, _INK, _MUTED, _POINTS_PER_INCH, _set_title, _text_width, _widest, _wrap

if TYPE_CHECKING:
    from .module_graph import Part

# Lengths are inches.
_LINE, _PAD = 0.17, 0.09  # height of a line of text, room around the texts of a box
_BOX = 2 * _LINE + 0.1  # height of a closed box
_RADIUS = 0.11  # of a sum
_GAP = 0.2  # between two boxes of a column, for the arrow
_LANE = 0.17  # between two arrows that pass boxes by
_BETWEEN = 0.35  # between two columns
_WIDEST, _HIGHEST = 12.0, 10.2  # of a figure
_NAME, _SMALL = 9.0, 8.0  # points

_FACES = {"Attention": "#D9E8F5", "Norm": "#FBF0CF", "Embedding": "#F9DFCF", "Position": "#F9DFCF",
          "FeedForward": "#D8EDE3", "SwiGLU": "#D8EDE3"}  # fmt: skip
_OTHER, _OPEN = "#EFEFEF", "#FCFCFC"


@dataclass
class _Box:
    """A part with its place: `x` and `y` of the lower left corner in the frame that holds it."""

    part: "Part"
    width: float
    height: float
    axis: float  # distance of its arrows from the left edge
    x: float = 0.0
    y: float = 0.0
    inner: list["_Box"] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)  # of the inner boxes
    ports: dict[str, float] = field(default_factory=dict)  # where an input comes in from the left: its height

    @property
    def top(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> float:
        return self.x + self.axis


def architecture(
    module: Any, *inputs: Any, depth: int = 1, ax: Axes | None = None, title: str | None = None, **keywords: Any
) -> Axes:
    """Draw what `module(*inputs, **keywords)` does, from bottom to top, as boxes and arrows.

    A box has the name of a submodule and its number of parameters, its class and the shape of its output in this
    run; a circle is a sum or a product of two tensors. Equal submodules that follow each other are drawn once, with
    "× 6". Everything is read off the module: what it calls, in which order, what is added to what. Dropout and masks
    are left out, and so is what torch's functions do inside a submodule.

    Alt text: "Diagram of <class>, from bottom to top: <input>, <box>, <box>, a sum with <what it adds>, ..."

    Args:
        module: a `torch.nn.Module`.
        inputs, keywords: what to call it with; small, because it is run.
        depth: how many levels of submodules to open.

    Raises:
        ValueError: a depth below 1, inputs without a tensor, or a module that calls no submodule.
    """
    from .module_graph import module_graph  # here, so that all other figures need no torch

    part = module_graph(module, *inputs, depth=depth, **keywords)
    if not part.parts:
        raise ValueError(f"{part.kind} calls no submodule: there is nothing to draw inside it")
    box = _measured(part)
    foot = 0.1 + _LINE * max(len(_foot(box, column)) for column in box.columns)
    height = foot + box.height
    if ax is None:
        ax, scale = _own_axes(box.width, height, title)
    else:
        # The figure may have less room than the diagram: the texts shrink with it.
        room = ax.get_window_extent()
        scale = min(room.width / ax.figure.dpi / box.width, room.height / ax.figure.dpi / height, 1.0)
        _set_title(ax, title)
    ax.set(xlim=(0, box.width), ylim=(-foot, box.height), aspect="equal", anchor="NW")
    ax.axis("off")
    whole = f"{part.kind}: {part.parameters:,} parameters" + (f", {part.own:,} of its own" if part.own else "")
    _write(ax, 0.0, box.height - _LINE / 2, whole, _SMALL, scale, colour=_MUTED)
    _draw_inside(ax, box, 0.0, 0.0, scale, is_root=True)
    return ax


def _own_axes(width: float, height: float, title: str | None) -> tuple[Axes, float]:
    """Axes of a figure made to measure, and how much smaller than life the diagram is in it to fit a screen."""
    scale = min(1.0, _WIDEST / width, _HIGHEST / height)
    width, height = scale * width, scale * height
    figure_width = max(width + 0.2, 4.2)
    lines = [] if title is None else _wrap(title, plt.rcParams["axes.titlesize"], figure_width - 0.2).splitlines()
    figure_height = height + 0.2 + (0.21 * len(lines) + 0.15 if lines else 0.0)
    figure = plt.figure(figsize=(figure_width, figure_height), layout="none")
    ax = figure.add_axes((0.1 / figure_width, 0.1 / figure_height, width / figure_width, height / figure_height))
    ax.set_title("\n".join(lines))
    return ax, scale


# --- places ----------------------------------------------------------------------------------------------------


def _texts(part: "Part") -> tuple[str, str, str, str]:
    """Name and parameters, class and shape."""
    repeats = f"{part.repeats} × " if part.repeats > 1 else ""
    count = "shared" if part.is_shared else f"{repeats}{part.parameters:,}" if part.parameters else "–"
    return part.name, count, part.kind, str(list(part.shape))


def _measured(part: "Part") -> _Box:
    if part.kind in "+×":
        return _Box(part, 2 * _RADIUS, 2 * _RADIUS, _RADIUS)
    name, count, kind, shape = _texts(part)
    first = _text_width(name, _NAME) * 1.1 + _text_width(count, _SMALL)  # names are bold
    second = _text_width(kind, _SMALL) + _text_width(shape, _SMALL)
    least = (max(first, second) + 14) / _POINTS_PER_INCH + 2 * _PAD
    if not part.parts:
        return _Box(part, least, _BOX, least / 2)
    box = _Box(part, least, 0.0, 0.0)
    box.inner = [_measured(one) for one in part.parts]
    box.columns = _columns(part)
    _place(box)
    box.width = max(box.width, least)
    box.height += 2 * _LINE + (_LINE if part.own else 0.0) + 0.1
    return box


def _columns(part: "Part") -> list[int]:
    """A part stands above the first of its sources that has nothing above it; else it begins a column."""
    columns, tops = [], []
    for i, one in enumerate(part.parts):
        below = [source for _, source in one.sources if source in tops]
        column = tops.index(below[0]) if below else len(tops)
        tops[column : column + 1] = [i]
        columns.append(column)
    return columns


def _place(box: _Box) -> None:
    """Give the inner boxes their places, and `box` its size, axis and ports."""
    left = 0.1
    for column in range(max(box.columns) + 1):
        members = [one for one, where in zip(box.inner, box.columns, strict=True) if where == column]
        closed = [one for one in members if one.part.kind not in "+×" and not one.inner]
        for one in closed:
            one.width = max(other.width for other in closed)
            one.axis = one.width / 2
        indices = [i for i, where in enumerate(box.columns) if where == column]
        names = [name for i in indices for name in _from_the_left(box, i)]
        left += (_widest(names, _SMALL) + 14) / _POINTS_PER_INCH if names else 0.0
        axis = left + max(one.axis for one in members)
        for one in members:
            one.x = axis - one.axis
        left = max(one.x + one.width for one in members) + _LANE * len(_lanes(box, column)) + _BETWEEN
    box.width = left - _BETWEEN + 0.1
    box.axis = box.inner[0].middle
    labelled = len(_inputs_of_columns(box)) > 1
    tops: dict[int, float] = {}
    for one, column in zip(box.inner, box.columns, strict=True):
        one.y = tops[column] + _GAP if column in tops else _GAP + 0.05 + (_LINE if labelled else 0.0)
        for _, source in one.part.sources:
            if isinstance(source, int) and box.columns[source] != column:
                # An arrow from another column comes in at the side: not below where it starts.
                entry = one.height - 0.2 if one.inner else one.height / 2
                one.y = max(one.y, box.inner[source].top + 0.12 - entry)
        tops[column] = one.top
    box.height = max(tops.values()) + 0.1
    for i, one in enumerate(box.inner):
        for name, source in one.part.sources:
            if source in _from_the_left(box, i):
                box.ports.setdefault(source, one.y + one.ports.get(name, one.height / 2))


def _foot(box: _Box, column: int) -> tuple[str, ...]:
    """Names of the inputs that enter a column from below."""
    first = box.inner[box.columns.index(column)]
    if any(isinstance(source, int) for _, source in first.part.sources):
        return ()
    # What a box takes from below is its first input, and further ones if they go on inside it from below.
    further = [source for name, source in first.part.sources[1:] if first.inner and name not in first.ports]
    return tuple([source for _, source in first.part.sources[:1]] + further)


def _inputs_of_columns(box: _Box) -> set[tuple[str, ...]]:
    return {_foot(box, column) for column in range(max(box.columns) + 1)} - {()}


def _from_the_left(box: _Box, i: int) -> list[str]:
    """Names of the inputs that box `i` gets from outside, other than what its column starts from."""
    foot = _foot(box, box.columns[i])
    return [source for _, source in box.inner[i].part.sources if isinstance(source, str) and source not in foot]


def _lanes(box: _Box, column: int) -> list[list[tuple[int, int]]]:
    """Arrows (from, to) that pass boxes of their column by, in lanes without overlap; from -1 is the column's foot."""
    lanes: list[list[tuple[int, int]]] = []
    members = [i for i, where in enumerate(box.columns) if where == column]
    for below, i in pairwise(members):
        for _, source in box.inner[i].part.sources:
            start = -1 if source in _foot(box, column) else source
            if start == -1 or (isinstance(start, int) and start in members and start != below):
                free = next((lane for lane in lanes if all(end <= start for _, end in lane)), None)
                if free is None:
                    lanes.append([])
                    free = lanes[-1]
                free.append((start, i))
    return lanes


# --- drawing ---------------------------------------------------------------------------------------------------


def _draw_inside(ax: Axes, box: _Box, x: float, y: float, scale: float, is_root: bool = False) -> None:
    """The boxes and arrows inside `box`, whose lower left corner is at x, y."""
    _draw_feet(ax, box, x, y, scale, is_root)
    for i, one in enumerate(box.inner):
        column = box.columns[i]
        for name, source in one.part.sources:
            if not isinstance(source, int):
                continue
            other = box.inner[source]
            if box.columns[source] == column:
                if box.columns[:i].count(column) and _below(box, i) == source:
                    _arrow(ax, [(x + other.middle, y + other.top), (x + one.middle, y + one.y)])
            else:
                _draw_across(ax, box, other, i, name, x, y)
        for name, source in one.part.sources:
            if source in _from_the_left(box, i):
                height = y + one.y + one.ports.get(name, one.height / 2)
                start = x + one.x - _text_width(source, _SMALL) / _POINTS_PER_INCH - 0.17 if is_root else x
                _arrow(ax, [(start, height), (x + one.x, height)])
                _write(ax, start + 0.04, height + 0.02, source, _SMALL, scale, colour=_MUTED, va="bottom")
        _draw(ax, one, x + one.x, y + one.y, scale)
    for column in range(max(box.columns) + 1):
        right = max(one.x + one.width for one, where in zip(box.inner, box.columns, strict=True) if where == column)
        for number, lane in enumerate(_lanes(box, column)):
            for start, end in lane:
                target = box.inner[end]
                from_y = 0.12 if start == -1 else box.inner[start].top + 0.07
                if start == -1 and len(_inputs_of_columns(box)) > 1:
                    from_y += _LINE
                aside, height = x + right + _LANE * (number + 0.7), y + target.y + target.height / 2
                _arrow(ax, [(x + target.middle, y + from_y), (aside, y + from_y), (aside, height),
                            (x + target.x + target.width, height)])  # fmt: skip


def _below(box: _Box, i: int) -> int:
    """Index of the box under box `i` in its column."""
    return max(j for j in range(i) if box.columns[j] == box.columns[i])


def _draw_feet(ax: Axes, box: _Box, x: float, y: float, scale: float, is_root: bool) -> None:
    """What enters from below: with names and shapes under the whole diagram, with names in a box where they differ."""
    several = len(_inputs_of_columns(box)) > 1
    for column in range(max(box.columns) + 1):
        names = _foot(box, column)
        if not names:
            continue
        first = box.inner[box.columns.index(column)]
        end = (x + first.middle, y + first.y)
        if is_root:
            _arrow(ax, [(end[0], y), end])
            text = "\n".join(f"{name} {list(box.part.inputs[name])}" for name in names)
            _write(ax, end[0], y - 0.04, text, _SMALL, scale, ha="center", va="top")
            continue
        _arrow(ax, [(x + box.axis, y), (x + box.axis, y + 0.08), (end[0], y + 0.08), end])
        if several:
            _write(ax, end[0] + 0.05, y + 0.1, ", ".join(names), _SMALL, scale, colour=_MUTED, va="bottom")


def _draw_across(ax: Axes, box: _Box, other: _Box, i: int, name: str, x: float, y: float) -> None:
    """An arrow from the top of a box in another column to the side of box `i`."""
    one = box.inner[i]
    start = (x + other.middle, y + other.top)
    if other.x < one.x:
        height = y + one.y + one.ports.get(name, one.height / 2)
        between, up = x + one.x - 0.18, y + other.top + 0.12
        _arrow(ax, [start, (start[0], up), (between, up), (between, height), (x + one.x, height)])
        return
    # Several that come from the right come in one above the other, the nearest lowest.
    rank = [j for _, j in one.part.sources if isinstance(j, int) and box.inner[j].x > one.x]
    share = (sorted(rank, key=lambda j: box.inner[j].x).index(box.inner.index(other)) + 1) / (len(rank) + 1)
    height = y + one.y + share * one.height
    _arrow(ax, [start, (start[0], height), (x + one.x + one.width, height)])


def _draw(ax: Axes, box: _Box, x: float, y: float, scale: float) -> None:
    part = box.part
    if part.kind in "+×":
        ax.add_patch(Circle((x + _RADIUS, y + _RADIUS), _RADIUS, facecolor="white", edgecolor=_INK, linewidth=1.1))
        _write(ax, x + _RADIUS, y + _RADIUS, part.kind, 10, scale, ha="center", va="center")
        return
    face = next((colour for word, colour in _FACES.items() if word in part.kind), _OTHER)
    edge = {"edgecolor": _FRAME, "linewidth": 1.0, "boxstyle": "round,pad=0,rounding_size=0.05"}
    ax.add_patch(FancyBboxPatch((x, y), box.width, box.height, facecolor=_OPEN if box.inner else face, **edge))
    name, count, kind, shape = _texts(part)
    upper, lower = y + box.height - 0.05 - _LINE / 2, y + box.height - 0.05 - 1.5 * _LINE
    _write(ax, x + _PAD, upper, name, _NAME, scale, fontweight="bold")
    _write(ax, x + box.width - _PAD, upper, count, _SMALL, scale, ha="right")
    _write(ax, x + _PAD, lower, kind, _SMALL, scale, colour=_MUTED)
    _write(ax, x + box.width - _PAD, lower, shape, _SMALL, scale, ha="right", colour=_MUTED)
    if box.inner:
        if part.own:
            _write(ax, x + _PAD, lower - _LINE, f"and {part.own:,} of its own", _SMALL, scale, colour=_MUTED)
        _draw_inside(ax, box, x, y, scale)


def _arrow(ax: Axes, points: list[tuple[float, float]]) -> None:
    points = [point for i, point in enumerate(points) if i == 0 or point != points[i - 1]]
    style = {"arrowstyle": "-|>,head_length=3,head_width=1.6", "color": _INK, "linewidth": 1.0}
    ax.add_patch(FancyArrowPatch(path=Path(points), **style))


def _write(
    ax: Axes, x: float, y: float, text: str, size: float, scale: float, colour: str = _INK, **where: Any
) -> None:
    where = {"va": "center", "parse_math": False, **where}
    ax.text(x, y, text, fontsize=size * scale, color=colour, **where)
