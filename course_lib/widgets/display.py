"""How a widget reaches the page: live where a kernel runs, as its static form everywhere else."""

import html
import io
import re
import sys
from typing import Any

import ipywidgets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

VIEW = "application/vnd.jupyter.widget-view+json"


class Explorer:
    """Base of the explorers: `view` is the live widget, `figure` draws its state, `text` says it in words.

    A subclass builds `view` from controls and one `picture`, and calls `redraw` when a control moves.
    """

    def __init__(self, width: str = "640px") -> None:
        self.picture = ipywidgets.Image(format="png", layout=ipywidgets.Layout(width=width, max_width="100%"))
        self.words = ipywidgets.HTML()
        self.view: ipywidgets.Widget = ipywidgets.VBox([self.picture, self.words])

    def figure(self) -> Figure:
        """Draw the present state on a new figure."""
        raise NotImplementedError

    def text(self) -> str:
        """Say the numbers of the present state in one or two lines."""
        raise NotImplementedError

    def redraw(self, *_change: Any) -> None:
        """Show the present state in the live widget."""
        self.picture.value = png(self.figure())
        self.words.value = f"<p role='status' aria-live='polite'>{self.text()}</p>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return with_fallback(self.view, {"image/png": png(self.figure()), "text/plain": self.text()})


def png(figure: Figure) -> bytes:
    """The figure as PNG bytes, the same for the same figure."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()


def with_fallback(widget: ipywidgets.Widget, static: dict[str, Any]) -> dict[str, Any]:
    """One display bundle: the live widget, and `static` (by mime type) for readers that show no widgets."""
    _allow_in_colab()
    return {VIEW: {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}, **static}


def code_marked(text: str) -> str:
    """HTML of a text in which `code` stands between back-ticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text)).replace("\n", "<br>")


def _allow_in_colab() -> None:
    """Colab shows widgets that bring their own JavaScript only after this call."""
    if "google.colab" in sys.modules:
        from google.colab import output

        output.enable_custom_widget_manager()
