"""Explorer that walks through scaled dot-product attention, one query and one step at a time."""

import math
from collections.abc import Sequence

import ipywidgets
import torch
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from .. import plotting
from ..attention import scaled_dot_product_attention
from .display import Explorer

STEPS = ("dot product", "scale", "softmax", "weighted sum")
_HEADS = ("q · k", "÷ √d_k", "weight", "weight · v")
_LEFT, _CELL, _ROW = 1.5, (1.3, 1.3, 1.3, 2.6), 0.36  # inches


class AttentionSteps(Explorer):
    """Two controls, the query and the step. Each step adds a column: score, scaled score, weight, weighted value.

    Args:
        tokens: n words.
        q: queries `[n, d_k]`.
        k: keys `[n, d_k]`.
        v: values `[n, d_v]`.
        query: position of the query to begin with.
        unit: scores are shown divided by it, for example `math.log(2)`.
        unit_name: how the unit is written after the scores, for example "ln 2".
    """

    def __init__(
        self,
        tokens: Sequence[str],
        q: Tensor,
        k: Tensor,
        v: Tensor,
        query: int = 0,
        unit: float = 1.0,
        unit_name: str = "",
    ) -> None:
        super().__init__(width="760px")
        self._tokens = list(tokens)
        self._k, self._v, self._unit_name = k, v, f" {unit_name}" if unit_name else ""
        self._scores = q @ k.T / unit
        self._scaled = self._scores / math.sqrt(k.shape[-1])
        self._outputs, self._weights = scaled_dot_product_attention(q, k, v)
        wide = {"style": {"description_width": "9em"}, "layout": ipywidgets.Layout(width="30em", max_width="100%")}
        self.step = ipywidgets.SelectionSlider(
            options=[(name, number) for number, name in enumerate(STEPS, start=1)],
            value=len(STEPS),
            description="up to step",
            **wide,
        )
        self.query = ipywidgets.SelectionSlider(
            options=[(f"{token} ({position})", position) for position, token in enumerate(tokens)],
            value=query,
            description="query",
            **wide,
        )
        for control in (self.query, self.step):
            control.observe(self.redraw, names="value")
        self.view = ipywidgets.VBox([self.query, self.step, self.picture, self.words])
        self.remember(self.query, range(len(tokens)))

    def frame(self) -> Figure:
        """The keys, one below the other."""
        rows = len(self._tokens)
        width, height = _LEFT + sum(_CELL) + 0.1, (rows + 2.2) * _ROW
        figure = Figure(figsize=(width, height), dpi=100, layout="none")
        ax = figure.add_axes((0, 0, 1, 1))
        ax.set(xlim=(0, width), ylim=(height, 0))
        ax.axis("off")
        for row, token in enumerate(self._tokens):
            ax.text(0.1, (row + 1.5) * _ROW, f"key: {token}", va="center", parse_math=False)
        return figure

    def fill(self, figure: Figure) -> None:
        """The query, the columns computed so far, and the output below the last."""
        (ax,) = figure.axes
        ax.text(0.1, 0.5 * _ROW, f"query: {self._tokens[self.query.value]}", va="center", fontweight="bold")
        x = _LEFT
        for column in range(self.step.value):
            self._draw_column(ax, column, x)
            x += _CELL[column]
        if self.step.value == len(STEPS):
            text = f"output  {_vector(self._outputs[self.query.value])}"
            y = (len(self._tokens) + 1.5) * _ROW
            ax.text(x - _CELL[-1] / 2, y, text, ha="center", va="center", fontweight="bold")

    def text(self) -> str:
        """The result of the present step in words."""
        query, step = self.query.value, self.step.value
        best = int(self._scores[query].argmax())
        name, top = self._tokens[query], self._tokens[best]
        sentences = (
            f"The largest score of '{name}' is {self._scores[query, best]:.3g}{self._unit_name}, with '{top}'.",
            f"Divided by √{self._k.shape[-1]} it is {self._scaled[query, best]:.3g}{self._unit_name}.",
            f"After the softmax '{top}' has the weight {self._weights[query, best]:.3g}; all weights sum to 1.",
            f"The weighted values add up to the output {_vector(self._outputs[query])}.",
        )
        return sentences[step - 1]

    def _draw_column(self, ax, column: int, x: float) -> None:
        """One step: its head, and a cell for each key, darker for a larger weight."""
        query, width = self.query.value, _CELL[column]
        ax.text(x + width / 2, 0.5 * _ROW, _HEADS[column], ha="center", va="center", fontweight="bold")
        for row in range(len(self._tokens)):
            weight = float(self._weights[query, row])
            texts = (
                f"{self._scores[query, row]:.3g}{self._unit_name}",
                f"{self._scaled[query, row]:.3g}{self._unit_name}",
                f"{weight:.3g}",
                _vector(weight * self._v[row]),
            )
            shade = (*to_rgb(plotting.SKY), weight if column >= STEPS.index("softmax") else 0.0)
            corner = (x, (row + 1) * _ROW)
            ax.add_patch(Rectangle(corner, width, _ROW, facecolor=shade, edgecolor="#A9A9A9", linewidth=0.8))
            ax.text(x + width / 2, (row + 1.5) * _ROW, texts[column], ha="center", va="center")


def _vector(numbers: Tensor) -> str:
    return "(" + ", ".join(f"{number:.3g}" for number in torch.as_tensor(numbers).tolist()) + ")"
