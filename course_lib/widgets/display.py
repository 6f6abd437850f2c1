"""How a widget reaches the page: live where a kernel runs, as its static form everywhere else."""

import html
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets
import traitlets
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imsave

from .. import plotting

VIEW = "application/vnd.jupyter.widget-view+json"
_TRACK = "display:inline-block;width:16em;max-width:40vw;height:1em;border:1px solid #6B6B6B;vertical-align:middle"
_CANVAS = FigureCanvasAgg(Figure())


class KernelNotice(anywidget.AnyWidget):
    """Shows `message` in the page once the kernel behind it has been restarted or shut down; empty until then."""

    _esm = Path(__file__).parent / "kernel_notice.js"
    message = traitlets.Unicode(
        "The kernel behind these controls is gone, so they answer no more. "
        "Run this cell again, after the cells above it (in the menu Run)."
    ).tag(sync=True)


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
        self.picture.value = png(self.figure(), compression=1)
        self.words.value = f"<p role='status' aria-live='polite'>{self.text()}</p>"

    def live(self) -> ipywidgets.Widget:
        """What is shown where a kernel runs."""
        return watched(self.view)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return with_fallback(self.live(), {"image/png": png(self.figure()), "text/plain": self.text()})


def png(figure: Figure, compression: int = 6) -> bytes:
    """The figure as PNG bytes, the same for the same figure; `compression` from 0, quick, to 9, small."""
    # One canvas draws all figures: it remembers how wide its texts are, and drawing text is what takes time.
    _CANVAS.figure = figure
    figure.set_canvas(_CANVAS)
    _CANVAS.draw()  # once; savefig draws a figure with a layout engine twice
    buffer = io.BytesIO()
    imsave(
        buffer,
        _CANVAS.buffer_rgba(),
        format="png",
        dpi=figure.dpi,
        metadata={"Software": None},
        pil_kwargs={"compress_level": compression},
    )
    return buffer.getvalue()


def with_fallback(widget: ipywidgets.Widget, static: dict[str, Any]) -> dict[str, Any]:
    """One display bundle: the live widget, and `static` (by mime type) for readers that show no widgets."""
    _allow_in_colab()
    return {VIEW: {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}, **static}


def watched(view: ipywidgets.Widget) -> ipywidgets.Widget:
    """`view`, with a sentence above it that comes up when its kernel is gone."""
    return ipywidgets.VBox([KernelNotice(), view])


def code_marked(text: str) -> str:
    """HTML of a text in which `code` stands between back-ticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text)).replace("\n", "<br>")


def bar_table(rows: Sequence[tuple[str, float]], label: str, highlight: int | None = None) -> str:
    """HTML table of probabilities: a name, a bar, the number; row `highlight` is bold and in the second colour.

    `label` says to a screen reader what the table holds.
    """
    found = []
    for number, (name, p) in enumerate(rows):
        is_highlight = number == highlight
        colour = plotting.ORANGE if is_highlight else plotting.BLUE
        fill = f"display:block;height:100%;width:{100 * p:.1f}%;background:{colour}"
        text = f"<b>{html.escape(name)}</b>" if is_highlight else html.escape(name)
        bar = f"<span aria-hidden='true' style='{_TRACK}'><span style='{fill}'></span></span>"
        head = f"<th scope='row' style='text-align:right;font-weight:normal'>{text}</th>"
        found.append(f"<tr>{head}<td>{bar}</td><td>{p:.2f}</td></tr>")
    return f"<table aria-label='{html.escape(label)}' style='border-spacing:8px 2px'>{''.join(found)}</table>"


def _allow_in_colab() -> None:
    """Colab shows widgets that bring their own JavaScript only after this call."""
    if "google.colab" in sys.modules:
        from google.colab import output

        output.enable_custom_widget_manager()
