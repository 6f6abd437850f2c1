"""Demo of a classifier: type a text and see the probability of each class, at every key."""

import html
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from .. import plotting
from .display import Explorer, bar_table


class ClassifierDemo(Explorer):
    """A text field and a list of examples; below, a bar for each class, drawn by the page.

    `probabilities` maps a list of texts to `[texts, classes]`; it is called once for every change of the text. The
    bars follow the order of `class_names`. Raises ValueError without classes, or where the two do not fit.
    """

    def __init__(
        self,
        probabilities: Callable[[list[str]], ArrayLike],
        class_names: Sequence[str],
        text: str = "",
        examples: Sequence[str] = (),
    ) -> None:
        super().__init__(width="640px")
        if not class_names:
            raise ValueError("class_names is empty: there is nothing to choose between")
        self._probabilities, self._class_names = probabilities, list(class_names)
        wide = {"style": {"description_width": "5em"}, "layout": ipywidgets.Layout(width="56em", max_width="100%")}
        self.example = ipywidgets.Dropdown(
            options=[("choose one", ""), *((_short(one), one) for one in examples)],
            value="",
            description="example",
            **wide,
        )
        self.input = ipywidgets.Textarea(value=text, description="text", rows=2, **wide)
        self.bars = ipywidgets.HTML()
        self.example.observe(self._take_example, names="value")
        self.input.observe(self.redraw, names="value")
        self.view = ipywidgets.VBox([self.example, self.input, self.words, self.bars])
        self.redraw()

    def figure(self) -> Figure:
        """One bar for each class, the most probable in the second colour."""
        figure = Figure(figsize=(6.4, 1.0 + 0.42 * len(self._class_names)), dpi=100, layout="constrained")
        ax = figure.subplots()
        if self._found is None:
            ax.axis("off")
            ax.text(0.5, 0.5, "no text", ha="center")
            return figure
        best = int(self._found.argmax())
        plotting.bars(self._found, self._class_names, highlight=best, ax=ax)
        ax.set_title(_drawable(_short(self.input.value)), parse_math=False)
        ax.set_xlim(0, 1.15)
        ax.set_xticks((0, 0.5, 1))
        return figure

    def text(self) -> str:
        """The most probable class, and the probability of each."""
        if self._found is None:
            return "Type a text: there is none yet"
        each = ", ".join(f"{name} {p:.2f}" for name, p in zip(self._class_names, self._found, strict=True))
        return f"{self._class_names[int(self._found.argmax())]}. Probabilities: {each}"

    def redraw(self, *_change: Any) -> None:
        """Ask the model about the present text, and show what it says."""
        self._found = self._asked()
        self.words.value = f"<p role='status' aria-live='polite'>{html.escape(self.text())}</p>"
        self.bars.value = "" if self._found is None else self._table(self._found)

    def _asked(self) -> np.ndarray | None:
        """Probabilities `[classes]` of the present text; None if there is none."""
        if not self.input.value.strip():
            return None
        found = np.asarray(self._probabilities([self.input.value]), dtype=float)
        if found.shape != (1, len(self._class_names)):
            raise ValueError(f"the model gave shape {list(found.shape)} for 1 text, {len(self._class_names)} classes")
        return found[0]

    def _table(self, found: np.ndarray) -> str:
        rows = list(zip(self._class_names, found.tolist(), strict=True))
        return bar_table(rows, "probability of each class", int(found.argmax()))

    def _take_example(self, change: Any) -> None:
        if change["new"]:
            self.input.value = change["new"]


def _short(text: str) -> str:
    """One line of at most 70 characters."""
    line = " ".join(text.split())
    return line if len(line) <= 70 else line[:69] + "…"


def _drawable(text: str) -> str:
    """`text` with what lies outside the Latin alphabets as code points, since the figures' typeface may lack it."""
    return "".join(char if char < "\u0250" and char.isprintable() else f"<{ord(char):04X}>" for char in text)
