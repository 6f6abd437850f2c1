"""Explorer of positions as angles: one pair of the sinusoidal table, its hand, and a rotary score over distance."""

import math

import ipywidgets
import torch
from matplotlib.figure import Figure

from .. import plotting
from ..positions import rotary
from .display import Explorer

WIDTH = 32
BASES = (100, 1_000, 10_000, 100_000, 1_000_000)
_PLACES = 128


class PositionExplorer(Explorer):
    """Three controls: a position from 0 to 127, a pair of coordinates from 0 to 15, and the base.

    At the left are the sine and the cosine of the pair over all positions, in the middle its hand at the chosen
    position, and at the right the rotary score of two vectors of ones with all 16 pairs, over their distance. The
    score is divided by the width, so it is 1 at distance 0. Pair i turns by base^(-2i / 32) radians a position.
    Raises ValueError for a base that is not in `BASES`.
    """

    def __init__(self, position: int = 12, pair: int = 4, base: int = 10_000) -> None:
        super().__init__(width="900px")
        if base not in BASES:
            raise ValueError(f"base={base} is not one of {', '.join(map(str, BASES))}")
        wide = {"style": {"description_width": "7em"}, "layout": ipywidgets.Layout(width="34em", max_width="100%")}
        self.position = ipywidgets.IntSlider(value=position, min=0, max=_PLACES - 1, description="position", **wide)
        self.pair = ipywidgets.IntSlider(value=pair, min=0, max=WIDTH // 2 - 1, description="pair", **wide)
        self.base = ipywidgets.SelectionSlider(
            options=[(f"{base:,}", base) for base in BASES], value=base, description="base", **wide
        )
        for control in (self.position, self.pair, self.base):
            control.observe(self.redraw, names="value")
        self.view = ipywidgets.VBox([self.position, self.pair, self.base, self.picture, self.words])
        self.redraw()

    def frame(self) -> Figure:
        """Axes for the table, for the hand with its circle, and for the score."""
        figure = Figure(figsize=(10, 3.5), dpi=100, layout="none")
        left, middle, right = figure.subplots(1, 3, width_ratios=(1.2, 1.1, 1.2))
        figure.subplots_adjust(left=0.05, right=0.985, top=0.86, bottom=0.16, wspace=0.22)
        left.set(xlabel="position", ylim=(-1.15, 1.65), yticks=(-1, 0, 1))
        circle = torch.linspace(0, 2 * math.pi, 121)
        middle.plot(circle.cos(), circle.sin(), color=plotting.BLACK, linewidth=1)
        middle.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), xticks=(-1, 0, 1), yticks=(-1, 0, 1), aspect="equal")
        middle.set(xlabel="cosine", title="Its hand")
        right.set(xlabel="distance", ylim=(-0.5, 1.1), yticks=(-0.5, 0, 0.5, 1), title="Rotary score, all pairs")
        return figure

    def fill(self, figure: Figure) -> None:
        """Two columns of the table, the hand, and the score, each with the chosen position marked."""
        left, middle, right = figure.axes
        position, pair = self.position.value, self.pair.value
        angles = torch.arange(_PLACES) * self._frequency()
        for values, label, colour, line in (
            (angles.sin(), f"sine, column {2 * pair}", plotting.BLUE, "-"),
            (angles.cos(), f"cosine, column {2 * pair + 1}", plotting.ORANGE, "--"),
        ):
            left.plot(values, label=label, color=colour, linestyle=line)
            _mark(left, position, values[position].item())
        left.set_title(f"Pair {pair}")
        left.legend(loc="upper center", ncols=2, fontsize=8, handlelength=1.6, columnspacing=0.8)
        _draw_hand(middle, self._angle())
        scores = self._scores()
        right.plot(scores, color=plotting.BLUE)
        _mark(right, position, scores[position].item())

    def text(self) -> str:
        """Length of a full turn, the angle and its coordinates, and the score at this distance."""
        angle = self._angle()
        return (
            f"Pair {self.pair.value} turns once in {2 * math.pi / self._frequency():,.4g} positions. At position "
            f"{self.position.value} its angle is {angle:.2f} radians, sine {math.sin(angle):.2f}, cosine "
            f"{math.cos(angle):.2f}. Rotary score at distance {self.position.value}: "
            f"{self._scores()[self.position.value]:.2f} of 1"
        )

    def _frequency(self) -> float:
        return self.base.value ** (-2 * self.pair.value / WIDTH)

    def _angle(self) -> float:
        return self.position.value * self._frequency()

    def _scores(self) -> torch.Tensor:
        """Score of a query at each position with a key at 0, both of ones, divided by the width."""
        ones = torch.ones(_PLACES, WIDTH, dtype=torch.float64)
        return rotary(ones, torch.arange(_PLACES), float(self.base.value)).mean(dim=-1)


def _mark(ax, x: float, y: float) -> None:
    ax.plot(x, y, marker="o", markersize=9, markerfacecolor="none", markeredgecolor=plotting.VERMILLION,
            markeredgewidth=2.2)  # fmt: skip


def _draw_hand(ax, angle: float) -> None:
    """The hand from the middle to (cos, sin); the angle counts from the right, to the left as RoPE turns."""
    ax.plot((0, math.cos(angle)), (0, math.sin(angle)), color=plotting.BLUE, linewidth=3)
    _mark(ax, math.cos(angle), math.sin(angle))
