"""How a widget reaches the page: live where a kernel runs, as its static form everywhere else."""

import base64
import html
import io
import math
import re
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import anywidget
import ipywidgets
import numpy as np
import traitlets
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backend_bases import GraphicsContextBase
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.image import imsave
from matplotlib.text import Text
from numpy.typing import NDArray

from .. import plotting

VIEW = "application/vnd.jupyter.widget-view+json"
_TRACK = "display:inline-block;width:16em;max-width:40vw;height:1em;border:1px solid #6B6B6B;vertical-align:middle"
_MOST_TEXTS = 4096  # are remembered
_MARKS = re.compile(r"`(?P<code>[^`]+)`|(?<![\w*])\*(?P<word>\w+)\*(?![\w*])")


class KernelNotice(anywidget.AnyWidget):
    """Shows `message` in the page once the kernel behind it has been restarted or shut down; empty until then."""

    _esm = Path(__file__).parent / "kernel_notice.js"
    message = traitlets.Unicode(
        "The kernel behind these controls is gone, so they answer no more. "
        "Run this cell again, after the cells above it (in the menu Run)."
    ).tag(sync=True)


class Explorer:
    """Base of the explorers: `view` is the live widget, `figure` draws its state, `text` says it in words.

    A subclass builds `view` from controls and one `picture`, and calls `redraw` when a control moves. It draws with
    `frame` and `fill`, or, where no picture is live, with `figure` alone.
    """

    def __init__(self, width: str = "640px") -> None:
        self.picture = ipywidgets.HTML()  # an Image has no alternative text
        self._width = width
        self.words = ipywidgets.HTML()
        self.view: ipywidgets.Widget = ipywidgets.VBox([self.picture, self.words])
        self._live: LiveFigure | None = None

    def frame(self) -> Figure:
        """A new figure with its axes, and with what no control changes."""
        raise NotImplementedError

    def fill(self, figure: Figure) -> None:
        """Draw the present state on a figure that `frame` made."""
        raise NotImplementedError

    def figure(self) -> Figure:
        """Draw the present state on a new figure."""
        figure = self.frame()
        self.fill(figure)
        return figure

    def text(self) -> str:
        """Say the numbers of the present state in one or two lines."""
        raise NotImplementedError

    def redraw(self, *_change: Any) -> None:
        """Show the present state in the live widget."""
        if self._live is None:
            self._live = LiveFigure(self.frame())
        text = html.escape(self.text())
        source = f"data:image/png;base64,{base64.b64encode(self._live.png(self.fill)).decode()}"
        self.picture.value = f"<img alt='{text}' style='width:{self._width};max-width:100%' src='{source}'>"
        self.words.value = f"<p role='status' aria-live='polite'>{text}</p>"

    def remember(self, control: ipywidgets.Widget, values: Sequence[Any]) -> None:
        """Show the state, and visit each of these values of `control` first, so that a learner's visit is quick.

        The control redraws when it moves.
        """
        present = control.value
        self.redraw()
        for value in (*values, present):
            control.value = value

    def live(self) -> ipywidgets.Widget:
        """What is shown where a kernel runs."""
        return watched(self.view)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return with_fallback(self.live(), {"image/png": png(self.figure()), "text/plain": self.text()})


class LiveFigure:
    """A figure that is filled again and again. Its axes, with ticks and labels, are drawn anew only if they change.

    The pictures are those of a new figure, as long as nothing that is filled in lies below the ticks.
    """

    def __init__(self, frame: Figure) -> None:
        self._figure = frame
        self._frame = {artist for ax in frame.axes for artist in ax.get_children()}
        self._over = {artist for ax in frame.axes for artist in _titles_and_edges(ax)}
        self._background: Any = None
        self._axes: dict[Axis, tuple] = {}
        self._changed: set[Axis] = set()

    def png(self, fill: Callable[[Figure], None]) -> bytes:
        """Empty the figure, `fill` it, draw it, and encode it."""
        for ax in self._figure.axes:
            for artist in set(ax.get_children()) - self._frame:
                artist.remove()
            ax.containers.clear()
            ax.relim()
        fill(self._figure)
        self._draw()
        return _encoded(compression=1)

    def _draw(self) -> None:
        _CANVAS.figure = self._figure
        self._figure.set_canvas(_CANVAS)
        axes = {axis: _state_of(axis) for ax in self._figure.axes for axis in (ax.xaxis, ax.yaxis)}
        changed = {axis for axis in axes if axes[axis] != self._axes.get(axis)}
        if self._axes:
            self._over |= changed & self._changed  # changes at every move: part of the background no more
            self._changed = changed
        self._axes = axes
        moving = [
            one for ax in self._figure.axes for one in ax.get_children() if one in self._over or one not in self._frame
        ]
        if any(not axis.get_animated() for axis in changed):
            for artist in moving:
                artist.set_animated(True)  # is left out of the background
            _CANVAS.draw()
            self._background = _CANVAS.copy_from_bbox(self._figure.bbox)
        renderer = _CANVAS.get_renderer()
        renderer.restore_region(self._background)
        for artist in sorted(moving, key=lambda artist: artist.get_zorder()):
            artist.draw(renderer)


def _titles_and_edges(ax: Axes) -> list[Artist]:
    """What is drawn over the contents of the axes."""
    titles = [artist for artist in ax.get_children() if isinstance(artist, Text) and artist not in ax.texts]
    return [*titles, *ax.spines.values()] if ax.axison else titles


def _state_of(axis: Axis) -> tuple:
    """What decides how an axis looks."""
    places = axis.get_majorticklocs()
    names = axis.get_major_formatter().format_ticks(places)
    return axis.get_visible(), *axis.get_view_interval(), *places, *names, axis.get_label_text()


def png(figure: Figure, compression: int = 6) -> bytes:
    """The figure as PNG bytes, the same for the same figure; `compression` from 0, quick, to 9, small."""
    _CANVAS.figure = figure
    figure.set_canvas(_CANVAS)
    _CANVAS.draw()  # once; savefig draws a figure with a layout engine twice
    return _encoded(compression)


def _encoded(compression: int) -> bytes:
    """What has been drawn, as PNG bytes."""
    buffer = io.BytesIO()
    imsave(
        buffer,
        _CANVAS.buffer_rgba(),
        format="png",
        dpi=_CANVAS.figure.dpi,
        metadata={"Software": None},
        pil_kwargs={"compress_level": compression},
    )
    return buffer.getvalue()


class _Renderer(RendererAgg):
    """Draws as its base class does, and remembers the pixels of its texts: they are what takes time.

    To the pixel from matplotlib 3.11 on; before, a text that lies half way between two may stand one pixel beside.
    """

    def draw_text(
        self, gc: GraphicsContextBase, x: float, y: float, s: str, prop: FontProperties, angle: float,
        ismath: bool = False, mtext: Text | None = None,
    ) -> None:  # fmt: skip
        """Draw the text `s` at `x` from the left and `y` from the top."""
        left, top = math.floor(x), math.floor(y)
        shift = round(x - left, 7), round(y - top, 7)  # the same in cells of the same kind
        pixels, right, down = _text_pixels(
            s, prop.copy(), ismath, self.dpi, angle, gc.get_rgb(), gc.get_antialiased(), shift
        )
        opaque = self.new_gc()
        opaque.copy_properties(gc)
        opaque.set_alpha(1.0)  # the pixels have the alpha of the text
        self.draw_image(opaque, left + right, self.height - top - down, pixels)

    def get_text_width_height_descent(
        self, s: str, prop: FontProperties, ismath: bool | Literal["TeX"]
    ) -> tuple[float, float, float]:
        """Size of the text `s` in pixels."""
        return _text_size(s, prop.copy(), ismath, self.dpi)


class _Canvas(FigureCanvasAgg):
    """One canvas draws all figures, so that a text is measured only once."""

    def get_renderer(self) -> RendererAgg:
        """The renderer for the size of the present figure."""
        width, height = self.get_width_height(physical=True)
        self.renderer = _renderer(width, height, self.figure.dpi)
        return self.renderer


_CANVAS = _Canvas(Figure())


@lru_cache(maxsize=16)
def _renderer(width: int, height: int, dpi: float) -> _Renderer:
    return _Renderer(width, height, dpi)


@lru_cache(maxsize=_MOST_TEXTS)
def _text_size(text: str, font: FontProperties, is_math: bool, dpi: float) -> tuple[float, float, float]:
    return RendererAgg(1, 1, dpi).get_text_width_height_descent(text, font, is_math)


@lru_cache(maxsize=_MOST_TEXTS)
def _text_pixels(
    text: str, font: FontProperties, is_math: bool, dpi: float, angle: float, colour: tuple, is_smooth: bool,
    shift: tuple[float, float],
) -> tuple[NDArray[np.uint8], int, int]:  # fmt: skip
    """Pixels of a text that starts at `shift`, parts of a pixel; the places of their left and lower edge."""
    left, top, right, bottom = _text_box(_text_size(text, font, is_math, dpi), angle)
    sheet = RendererAgg(right - left, bottom - top, dpi)
    gc = sheet.new_gc()
    gc.set_foreground(colour, isRGBA=True)
    gc.set_antialiased(is_smooth)
    sheet.draw_text(gc, shift[0] - left, shift[1] - top, text, font, angle, is_math)
    pixels = np.asarray(sheet.buffer_rgba())
    rows, columns = (np.flatnonzero(pixels[..., 3].any(axis=axis)) for axis in (1, 0))
    if not len(rows):  # spaces
        return np.zeros((1, 1, 4), dtype=np.uint8), 0, 0
    inked = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return inked[::-1].copy(), columns[0] + left, rows[-1] + 1 + top  # images are drawn from the lowest row up


def _text_box(size: tuple[float, float, float], angle: float) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of a turned text around the left end of its base line, with a margin."""
    width, height, descent = size
    cosine, sine = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    corners = [(x, y) for x in (0.0, width) for y in (descent - height, descent)]
    across = [x * cosine + y * sine for x, y in corners]
    down = [y * cosine - x * sine for x, y in corners]
    margin = 4  # glyphs may reach out of their box
    return (
        math.floor(min(across)) - margin,
        math.floor(min(down)) - margin,
        math.ceil(max(across)) + margin,
        math.ceil(max(down)) + margin,
    )


def with_fallback(widget: ipywidgets.Widget, static: dict[str, Any]) -> dict[str, Any]:
    """One display bundle: the live widget, and `static` (by mime type) for readers that show no widgets."""
    _allow_in_colab()
    return {VIEW: {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}, **static}


def watched(view: ipywidgets.Widget) -> ipywidgets.Widget:
    """`view`, with a sentence above it that comes up when its kernel is gone."""
    return ipywidgets.VBox([KernelNotice(), view])


def marked(text: str) -> str:
    """HTML of a text in which `code` stands between back-ticks and *one* word between stars."""
    return _MARKS.sub(
        lambda found: f"<code>{found['code']}</code>" if found["code"] else f"<em>{found['word']}</em>",
        html.escape(text),
    ).replace("\n", "<br>")


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
