"""Explorer of attention maps: every head of every layer, and who looks at whom, by pointer and by keyboard."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import numpy as np
import traitlets
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from .. import plotting
from .display import Explorer

SIDES = ("query", "key")
PAIRS = ("all", "aa", "ab", "ba", "bb")
MOST_TOKENS = 64
_HERE = Path(__file__).parent


class AttentionView(anywidget.AnyWidget):
    """What lives in the page. Its script and its style are files of this package; it loads nothing else."""

    _esm = _HERE / "attention.js"
    _css = _HERE / "attention.css"
    tokens = traitlets.List(traitlets.Unicode()).tag(sync=True)
    segments = traitlets.List(traitlets.Int()).tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)  # float32, little-endian, [layers, heads, query, key]
    shape = traitlets.List(traitlets.Int()).tag(sync=True)  # layers, heads, tokens
    layer = traitlets.Int().tag(sync=True)
    head = traitlets.Int().tag(sync=True)
    side = traitlets.Enum(SIDES, "query").tag(sync=True)
    token = traitlets.Int().tag(sync=True)
    pairs = traitlets.Enum(PAIRS, "all").tag(sync=True)

    @traitlets.validate("layer", "head", "token")
    def _within(self, proposal: Any) -> int:
        size = dict(zip(("layer", "head", "token"), self.shape, strict=True))[proposal["trait"].name]
        if not 0 <= proposal["value"] < size:
            raise traitlets.TraitError(f"{proposal['trait'].name}={proposal['value']} is outside 0 to {size - 1}")
        return proposal["value"]


class AttentionExplorer(Explorer):
    """A grid of all heads beside two columns of tokens; lines join the chosen token to those it looks at.

    Choose a head in the grid. Point at a token, or choose it: at the left it is the query, and the numbers are
    the weights it gives; at the right it is the key, and the numbers are the weights it is given. With two
    sentences a menu shows what one of them sees of the other. Weights are never scaled anew.

    Args:
        tokens: n words, at most `MOST_TOKENS`.
        weights: `[layers, num_heads, n, n]`, from 0 to 1, of one text.
        segment_ids: `[n]`, 0 for the first sentence and 1 for the second; None means one sentence.
        layer, head, token: what is chosen at first, counted from 0; the token is a query.

    Raises:
        ValueError: shapes that do not fit, weights outside [0, 1], too many tokens, or a choice that does not exist.
    """

    def __init__(
        self,
        tokens: Sequence[str],
        weights: ArrayLike,
        segment_ids: ArrayLike | None = None,
        layer: int = 0,
        head: int = 0,
        token: int = 0,
    ) -> None:
        super().__init__()
        self._weights = np.asarray(weights, dtype="<f4")
        n = len(tokens)
        if self._weights.ndim != 4 or self._weights.shape[2:] != (n, n):
            raise ValueError(f"weights have shape {list(self._weights.shape)}; expected [layers, num_heads, {n}, {n}]")
        if not 1 <= n <= MOST_TOKENS:
            raise ValueError(f"{n} tokens: the explorer shows 1 to {MOST_TOKENS}")
        if not np.all((self._weights >= 0) & (self._weights <= 1 + 1e-5)):
            raise ValueError("weights are not all from 0 to 1; pass softmax weights, not scores")
        segments = [0] * n if segment_ids is None else np.asarray(segment_ids).tolist()
        if len(segments) != n or not set(segments) <= {0, 1}:
            raise ValueError(f"segment_ids {segments} must be one 0 or 1 for each of the {n} tokens")
        self.view: AttentionView = AttentionView(
            tokens=list(tokens),
            segments=segments,
            weights=self._weights.tobytes(),
            shape=[*self._weights.shape[:2], n],
        )
        try:
            self.view.set_trait("layer", layer)
            self.view.set_trait("head", head)
            self.view.set_trait("token", token)
        except traitlets.TraitError as error:
            raise ValueError(str(error)) from error

    def live(self) -> AttentionView:
        """The view alone: it goes on working without a kernel, and says itself that there is none."""
        return self.view

    def figure(self) -> Figure:
        """The grid of all heads with the chosen one framed, and its map at the right."""
        view = self.view
        figure = Figure(figsize=(12, 5), dpi=100, layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.35, 1))
        plotting.head_grid(self._weights, highlight=(view.layer, view.head), ax=left, title="All heads")
        title = f"Layer {view.layer}, head {view.head}"
        chosen = self._weights[view.layer, view.head]
        plotting.heatmap(chosen, view.tokens, view.tokens, ax=right, title=title, vmin=0, vmax=1, values=False)
        return figure

    def text(self) -> str:
        """Whom the chosen token looks at most in the chosen head, or who looks at it."""
        view = self.view
        chosen = self._weights[view.layer, view.head]
        row = chosen[view.token] if view.side == "query" else chosen[:, view.token]
        names = _names(view.tokens)
        first = np.argsort(-row, kind="stable")[:3]
        verb = "looks at" if view.side == "query" else "is looked at by"
        found = ", ".join(f"{names[i]} {row[i]:.2f}" for i in first)
        return f"Layer {view.layer}, head {view.head}: {names[view.token]} {verb} {found}"


def _names(tokens: Sequence[str]) -> list[str]:
    """Tokens that occur more than once get their position after them."""
    return [token if tokens.count(token) == 1 else f"{token} ({i})" for i, token in enumerate(tokens)]
