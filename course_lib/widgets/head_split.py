"""Explorer of how d_model is cut into heads, and of what each head then attends to."""

from collections.abc import Sequence

import ipywidgets
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from .. import plotting
from ..attention import scaled_dot_product_attention
from .display import Explorer

_LEFT, _RIGHT, _TABLE, _ROW = 0.7, 5.3, 3.8, 0.42  # inches: where the two tables start, their width, one row
_WIDTH = _RIGHT + _TABLE + 0.1
_DARK = 0.6  # weights above it are written in white


class HeadSplit(Explorer):
    """Two controls, the number of heads and the head.

    At the left are the queries, `[length, d_model]`, with the columns of the chosen head marked; at the right its
    attention weights. The same queries and keys are cut, whatever the number of heads.

    Args:
        tokens: the words of a short sentence.
        q: queries of all heads side by side, `[length, d_model]`.
        k: keys, `[length, d_model]`.
        num_heads: number of heads to begin with.
        head: head to begin with.

    Raises:
        ValueError: `d_model` not divisible by `num_heads`, no such head, or shapes that do not fit the tokens.
    """

    def __init__(self, tokens: Sequence[str], q: Tensor, k: Tensor, num_heads: int = 2, head: int = 0) -> None:
        super().__init__(width="820px")
        if q.dim() != 2 or q.shape != k.shape or len(q) != len(tokens):
            raise ValueError(
                f"q has shape {list(q.shape)} and k {list(k.shape)}; both need [length={len(tokens)}, d_model]"
            )
        self._tokens, self._q, self._k = list(tokens), q.float(), k.float()
        self._d_model = q.shape[-1]
        if num_heads < 1 or self._d_model % num_heads:
            raise ValueError(f"d_model={self._d_model} is not divisible by num_heads={num_heads}")
        if not 0 <= head < num_heads:
            raise ValueError(f"head={head} is not one of the heads 0 to {num_heads - 1}")
        wide = {"style": {"description_width": "9em"}, "layout": ipywidgets.Layout(width="30em", max_width="100%")}
        divisors = [n for n in range(1, self._d_model + 1) if self._d_model % n == 0]
        self.num_heads = ipywidgets.Dropdown(options=divisors, value=num_heads, description="number of heads", **wide)
        self.head = ipywidgets.IntSlider(value=head, min=0, max=num_heads - 1, description="head", **wide)
        self.num_heads.observe(self._cut, names="value")
        self.head.observe(self.redraw, names="value")
        self.view = ipywidgets.VBox([self.num_heads, self.head, self.picture, self.words])
        self.remember(self.num_heads, divisors)
        self.head.value = head  # a smaller number of heads has moved it

    @property
    def block(self) -> slice:
        """The columns of the chosen head."""
        d_k = self._d_model // self.num_heads.value
        return slice(self.head.value * d_k, (self.head.value + 1) * d_k)

    @property
    def weights(self) -> Tensor:
        """Attention weights of the chosen head, `[query, key]`."""
        k = self._k[:, self.block]
        return scaled_dot_product_attention(self._q[:, self.block], k, k)[1]

    def frame(self) -> Figure:
        """The queries, and the names of the rows and columns of both tables."""
        rows = len(self._tokens)
        figure = Figure(figsize=(_WIDTH, (rows + 2.2) * _ROW), dpi=100, layout="none")
        ax = figure.add_axes((0, 0, 1, 1))  # one pair of axes without ticks: ticks take most of the time to draw
        queries, spread = self._q.numpy(), float(self._q.abs().max()) or 1.0
        self._matrix(ax, queries, _LEFT, plotting.SCORES_COLOURMAP, (-spread, spread))
        self._names(ax, _LEFT, range(self._d_model))
        self._names(ax, _RIGHT, self._tokens)
        ax.set(xlim=(0, _WIDTH), ylim=((rows + 2.2) * _ROW, 0), aspect="auto")
        ax.axis("off")
        return figure

    def fill(self, figure: Figure) -> None:
        """The marks of the heads' columns, and the weights of the chosen head."""
        (ax,) = figure.axes
        rows, d_k = len(self._tokens), self._d_model // self.num_heads.value
        self._matrix(ax, self.weights.numpy(), _RIGHT, plotting.WEIGHTS_COLOURMAP, (0.0, 1.0))
        ax.text(_LEFT, 0.6 * _ROW, f"Queries: {self._heads()} of width {d_k}", va="center", fontweight="bold")
        ax.text(_RIGHT, 0.6 * _ROW, f"Weights of head {self.head.value}", va="center", fontweight="bold")
        cell = _TABLE / self._d_model
        for start in range(0, self._d_model, d_k):
            corner, size = (_LEFT + start * cell, 2 * _ROW), (d_k * cell, rows * _ROW)
            if start == self.block.start:
                frame = {"facecolor": "none", "edgecolor": plotting.VERMILLION, "linewidth": 3.5, "zorder": 3}
            else:
                frame = {"facecolor": (1, 1, 1, 0.7), "edgecolor": plotting.BLACK, "linewidth": 1}
            ax.add_patch(Rectangle(corner, *size, **frame))
        self._write_weights(ax)

    def _matrix(self, ax, matrix, x: float, colours: str, limits: tuple[float, float]) -> None:
        """A matrix of colours with its left edge at `x`."""
        rows = len(self._tokens)
        extent = (x, x + _TABLE, (2 + rows) * _ROW, 2 * _ROW)
        ax.imshow(matrix, cmap=colours, vmin=limits[0], vmax=limits[1], extent=extent, interpolation="nearest")
        ax.add_patch(Rectangle((x, 2 * _ROW), _TABLE, rows * _ROW, facecolor="none", edgecolor="#A9A9A9"))

    def _names(self, ax, x: float, columns: Sequence) -> None:
        """The names of the columns above a table, and of the tokens at its left."""
        cell = _TABLE / len(columns)
        for column, name in enumerate(columns):
            ax.text(x + (column + 0.5) * cell, 1.65 * _ROW, str(name), ha="center", va="center", parse_math=False)
        for row, token in enumerate(self._tokens):
            ax.text(x - 0.08, (row + 2.5) * _ROW, token, ha="right", va="center", parse_math=False)

    def _write_weights(self, ax) -> None:
        cell = _TABLE / len(self._tokens)
        for row, weights in enumerate(self.weights.tolist()):
            for column, weight in enumerate(weights):
                ax.text(
                    _RIGHT + (column + 0.5) * cell, (row + 2.5) * _ROW, f"{weight:.2f}", ha="center", va="center",
                    fontsize=9, color="white" if weight > _DARK else "black",
                )  # fmt: skip

    def text(self) -> str:
        """Which columns the head sees, and where its largest weight is."""
        weights, block = self.weights, self.block
        rounded = weights.round(decimals=4).flatten().tolist()  # of weights that tie, name the first
        query, key = divmod(rounded.index(max(rounded)), len(self._tokens))
        several = block.stop - block.start > 1
        columns = f"columns {block.start} to {block.stop - 1}" if several else f"column {block.start}"
        return (
            f"{self._heads()} of width {block.stop - block.start}: head {self.head.value} sees {columns} of "
            f"{self._d_model}. Its largest weight is {weights.max().item():.2f}, from "
            f"'{self._tokens[query]}' ({query}) to '{self._tokens[key]}' ({key})."
        )

    def _heads(self) -> str:
        return "1 head" if self.num_heads.value == 1 else f"{self.num_heads.value} heads"

    def _cut(self, change: dict) -> None:
        """Another number of heads: the slider ends at the last of them."""
        last = change["new"] - 1
        slider_moves = self.head.value > last
        self.head.max = last
        if not slider_moves:  # else the slider has redrawn
            self.redraw()
