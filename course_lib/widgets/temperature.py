"""Explorer of temperature: what it does to a classifier's probabilities, its accuracy and its calibration."""

from collections.abc import Mapping, Sequence

import ipywidgets
from matplotlib.figure import Figure
from torch import Tensor

from .. import plotting
from ..calibration import (
    expected_calibration_error,
    negative_log_likelihood,
    reliability_bins,
    softmax_with_temperature,
)
from .display import Explorer


class TemperatureExplorer(Explorer):
    """A slider for the temperature, from 0.1 to 10 in equal ratios, and a choice of texts.

    At the left are the probabilities of the chosen text, at the right the reliability diagram of held-out answers.
    `logits` `[n, num_labels]` and `labels` `[n]` are of the held-out answers; `examples` maps a text to its logits
    `[num_labels]`. Raises ValueError where the number of label names, logits and labels do not fit, or without
    examples.
    """

    def __init__(
        self,
        logits: Tensor,
        labels: Tensor,
        label_names: Sequence[str],
        examples: Mapping[str, Tensor],
        temperature: float = 1.0,
    ) -> None:
        super().__init__(width="800px")
        for what, values in {"logits": logits[0], **examples}.items():
            if values.shape != (len(label_names),):
                raise ValueError(f"{what!r} has {tuple(values.shape)} logits for {len(label_names)} label names")
        if labels.shape != logits.shape[:1]:
            raise ValueError(f"labels {tuple(labels.shape)} do not fit logits {tuple(logits.shape)}: one for each row")
        if not examples:
            raise ValueError("examples is empty: pass at least one text with its logits")
        self._logits, self._labels = logits.detach(), labels
        self._label_names, self._examples = label_names, examples
        wide = {"style": {"description_width": "7em"}, "layout": ipywidgets.Layout(width="36em", max_width="100%")}
        self.temperature = ipywidgets.FloatLogSlider(
            value=temperature, min=-1, max=1, step=0.05, readout_format=".2f", description="temperature", **wide
        )
        self.example = ipywidgets.Dropdown(options=list(examples), description="text", **wide)
        for control in (self.temperature, self.example):
            control.observe(self.redraw, names="value")
        self.view = ipywidgets.VBox([self.temperature, self.example, self.picture, self.words])
        self.redraw()

    def frame(self) -> Figure:
        """Axes for one text and for all answers."""
        figure = Figure(figsize=(9.2, 3.5), dpi=100, layout="none")
        figure.subplots(1, 2, width_ratios=(1, 1.15))
        figure.subplots_adjust(left=0.085, right=0.705, top=0.88, bottom=0.16, wspace=0.32)
        return figure

    def fill(self, figure: Figure) -> None:
        """Probabilities of the chosen text, and the reliability diagram."""
        left, right = figure.axes
        plotting.bars(self._probabilities(), self._label_names, ax=left, title="This text", xlabel="probability")
        left.set_xlim(0, 1.2)
        left.set_xticks((0, 0.5, 1))
        plotting.reliability(reliability_bins(*self._answers()), ax=right, title="Held-out answers")
        right.set_xticks((0, 0.5, 1))

    def text(self) -> str:
        """Probabilities of the chosen text; accuracy, confidence, calibration error and loss on held-out answers."""
        confidence, correct = self._answers()
        temperature = self.temperature.value
        probabilities = ", ".join(
            f"{name} {p:.2f}" for name, p in zip(self._label_names, self._probabilities().tolist(), strict=True)
        )
        loss = negative_log_likelihood(self._logits / temperature, self._labels)
        return (
            f"Temperature {temperature:.2f}: {probabilities}. Held out: accuracy {correct.double().mean():.2f}, "
            f"mean confidence {confidence.mean():.2f}, "
            f"calibration error {expected_calibration_error(confidence, correct):.3f}, "
            f"negative log-likelihood {loss:.3f}"
        )

    def _probabilities(self) -> Tensor:
        return softmax_with_temperature(self._examples[self.example.value].detach(), self.temperature.value)

    def _answers(self) -> tuple[Tensor, Tensor]:
        """Confidence of each held-out answer, and whether it is right."""
        confidence, answer = softmax_with_temperature(self._logits, self.temperature.value).max(dim=-1)
        return confidence, answer == self._labels
