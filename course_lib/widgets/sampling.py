"""Explorer of sampling: what temperature, top-k and top-p leave of a next-token distribution."""

from collections.abc import Callable, Mapping

import ipywidgets
import torch
from matplotlib.figure import Figure
from torch import Tensor

from .. import plotting
from ..decoding import temperature_scale, top_k_filter, top_p_filter
from .display import Explorer

TOP_K = (1, 2, 3, 5, 10, 20, 40, 100)
ALL = "all"
_SHOWN = 12


class SamplingExplorer(Explorer):
    """A choice of prompts, and three sliders: temperature from 0.1 to 10, top-k, and top-p.

    Drawn are the twelve most probable tokens, with the model's probability and the one that is drawn from. The
    logits are divided by the temperature, then cut by top-k, then by top-p, as `decoding.sample` does.

    Args:
        logits: from a prompt to the logits of the token behind it, `[vocab_size]`.
        word: from a token id to its text.

    Raises ValueError without a prompt, or for logits of another shape or with NaN.
    """

    def __init__(self, logits: Mapping[str, Tensor], word: Callable[[int], str], temperature: float = 1.0) -> None:
        super().__init__(width="640px")
        if not logits:
            raise ValueError("logits is empty: pass at least one prompt with the logits of its next token")
        for prompt, values in logits.items():
            if values.dim() != 1 or values.isnan().any():
                raise ValueError(f"{prompt!r} has logits of shape {list(values.shape)}: pass [vocab_size], without NaN")
        self._logits = {prompt: values.detach() for prompt, values in logits.items()}
        self._word = word
        self._state: tuple | None = None  # of the controls, when the probabilities were computed
        wide = {"style": {"description_width": "7em"}, "layout": ipywidgets.Layout(width="34em", max_width="100%")}
        self.prompt = ipywidgets.Dropdown(options=list(logits), description="prompt", **wide)
        self.temperature = ipywidgets.FloatLogSlider(
            value=temperature, min=-1, max=1, step=0.05, readout_format=".2f", description="temperature", **wide
        )
        self.top_k = ipywidgets.SelectionSlider(options=[*TOP_K, ALL], value=ALL, description="top-k", **wide)
        self.top_p = ipywidgets.FloatSlider(value=1.0, min=0.05, max=1.0, step=0.05, description="top-p", **wide)
        controls = [self.prompt, self.temperature, self.top_k, self.top_p]
        for control in controls:
            control.observe(self.redraw, names="value")
        self.view = ipywidgets.VBox([*controls, self.picture, self.words])
        self.remember(self.prompt, list(logits))

    def frame(self) -> Figure:
        """Axes with room for the tokens at their left."""
        figure = Figure(figsize=(7, 4.8), dpi=100, layout="none")  # a layout engine would take as long as the drawing
        figure.add_axes((0.19, 0.11, 0.79, 0.8))
        return figure

    def fill(self, figure: Figure) -> None:
        """The most probable tokens, before and after."""
        (ax,) = figure.axes
        before, after = self._probabilities()
        top = before.topk(min(_SHOWN, len(before))).indices
        words = [repr(self._word(token)) for token in top.tolist()]
        title = f"Behind {self.prompt.value!r}"
        plotting.next_tokens(before[top], after[top], words, ax=ax, title=title)
        ax.set_xlim(0, 1.15)  # always the same, so that bars grow and shrink and the numbers below them stand still
        ax.legend(loc="lower right")

    def text(self) -> str:
        """How many tokens are left, what they had before, and the two ends of what is drawn from."""
        before, after = self._probabilities()
        left = int((after > 0).sum())
        best = int(after.argmax())
        settings = f"Temperature {self.temperature.value:.2f}, top-k {self.top_k.value}, top-p {self.top_p.value:.2f}"
        return (
            f"{settings}: {left:,} of {len(after):,} tokens are left, to which the model gave "
            f"{before[after > 0].sum():.3f}. The most probable is {self._word(best)!r}, {before[best]:.3f} before and "
            f"{after[best]:.3f} now"
        )

    def _probabilities(self) -> tuple[Tensor, Tensor]:
        """The model's distribution and the one that is drawn from."""
        state = self.prompt.value, self.temperature.value, self.top_k.value, self.top_p.value
        if state != self._state:  # picture and words ask for the same
            self._state = state
            logits = self._logits[self.prompt.value].double()
            kept = temperature_scale(logits, self.temperature.value)
            if self.top_k.value != ALL:
                kept = top_k_filter(kept, self.top_k.value)
            kept = top_p_filter(kept, self.top_p.value)
            self._found = torch.softmax(logits, dim=-1), torch.softmax(kept, dim=-1)
        return self._found
