"""Explorer of what d_k, the division by √d_k and a temperature do to attention weights and to their gradient."""

import math

import ipywidgets
import torch
from matplotlib.figure import Figure

from .. import plotting
from ..attention import softmax
from .display import Explorer

D_K = tuple(2**power for power in range(11))
_DRAWS, _KEYS = 400, 8


class ScalingExplorer(Explorer):
    """Three controls: d_k from 1 to 1024, the scaling on or off, a temperature from 0.1 to 10.

    Queries and keys have independent standard normal entries. At the left are the weights of one query over eight
    keys; at the right, over d_k, the Frobenius norm of the softmax Jacobian, averaged over 400 queries.
    """

    def __init__(self, d_k: int = 64, scaled: bool = False, temperature: float = 1.0) -> None:
        super().__init__(width="760px")
        self._products = _dot_products()
        wide = {"style": {"description_width": "9em"}, "layout": ipywidgets.Layout(width="30em", max_width="100%")}
        self.d_k = ipywidgets.SelectionSlider(options=D_K, value=d_k, description="width d_k", **wide)
        self.scaled = ipywidgets.Checkbox(value=scaled, description="divide by √d_k", **wide)
        self.temperature = ipywidgets.FloatLogSlider(
            value=temperature, min=-1, max=1, step=0.1, readout_format=".2f", description="temperature", **wide
        )
        for control in (self.d_k, self.scaled, self.temperature):
            control.observe(self.redraw, names="value")
        self.view = ipywidgets.VBox([self.d_k, self.scaled, self.temperature, self.picture, self.words])
        self.redraw()

    def frame(self) -> Figure:
        """Axes for the weights and for the gradient."""
        figure = Figure(figsize=(8.4, 3.5), dpi=100, layout="none")
        figure.subplots(1, 2)
        figure.subplots_adjust(left=0.08, right=0.98, top=0.86, bottom=0.16, wspace=0.3)
        return figure

    def fill(self, figure: Figure) -> None:
        """The weights of one query, and the gradient over d_k with the chosen width marked."""
        left, right = figure.axes
        chosen = D_K.index(self.d_k.value)
        weights = softmax(self._scores())
        norms = _jacobian_norms(weights).tolist()
        plotting.bars(
            weights[chosen, 0],
            [f"key {i}" for i in range(_KEYS)],
            ax=left,
            title="Weights of one query",
            xlabel="weight",
        )
        left.set_xlim(0, 1.15)
        left.xaxis.set_visible(False)
        left.spines[:].set_visible(False)
        # Powers of 2 at equal distances: a logarithmic axis, with its minor ticks, takes much longer to draw.
        places = range(len(D_K))
        plotting.curves(places, {"norm": norms}, ax=right, title="Norm of the softmax Jacobian", xlabel="width d_k")
        right.set_xticks(places[::5], [str(d_k) for d_k in D_K[::5]])
        right.set(ylim=(0, 0.5), yticks=(0, 0.25, 0.5))
        right.plot(chosen, norms[chosen], marker="o", markersize=13, markerfacecolor="none",
                   markeredgecolor=plotting.VERMILLION, markeredgewidth=2.5)  # fmt: skip

    def text(self) -> str:
        """Spread of the scores, mean largest weight and mean norm of the gradient at the chosen width."""
        chosen = D_K.index(self.d_k.value)
        scores = self._scores()[chosen]
        weights = softmax(scores)
        scaling = "divided by √d_k" if self.scaled.value else "not scaled"
        return (
            f"d_k = {self.d_k.value}, {scaling}, temperature {self.temperature.value:.2f}: "
            f"scores with a standard deviation of {scores.std().item():.2g}, "
            f"largest weight {weights.amax(-1).mean().item():.2f} on average, "
            f"norm of the Jacobian {_jacobian_norms(weights).item():.3f}"
        )

    def _scores(self) -> torch.Tensor:
        """What softmax gets, for every d_k: [len(D_K), draws, keys]."""
        divisors = torch.tensor([math.sqrt(d_k) if self.scaled.value else 1.0 for d_k in D_K])
        return self._products / (divisors * self.temperature.value)[:, None, None]


def _dot_products() -> torch.Tensor:
    """q · k of the first d_k entries of the same random vectors, for every d_k: [len(D_K), draws, keys]."""
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(_DRAWS, 1, D_K[-1], generator=generator)
    k = torch.randn(_DRAWS, _KEYS, D_K[-1], generator=generator)
    sums = (q * k).cumsum(-1)
    return torch.stack([sums[..., d_k - 1] for d_k in D_K])


def _jacobian_norms(weights: torch.Tensor) -> torch.Tensor:
    """Frobenius norm of the softmax Jacobian, averaged over the draws: [..., draws, keys] -> [...].

    |diag(p) - p pᵀ|² = Σ p² - 2 Σ p³ + (Σ p²)², which needs no matrix.
    """
    squares = weights.square().sum(-1)
    return (squares - 2 * weights.pow(3).sum(-1) + squares.square()).clamp(min=0).sqrt().mean(-1)
