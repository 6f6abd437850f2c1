"""The live pictures of the explorers: those of a new figure, with what they say as alternative text."""

import io

import explorers
import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from course_lib import plotting, widgets
from course_lib.widgets.display import marked, png
from tests.pictures import shown

NAMES = (
    "AttentionSteps",
    "BeamTree",
    "HeadSplit",
    "PositionExplorer",
    "SamplingExplorer",
    "ScalingExplorer",
    "TemperatureExplorer",
)


def pixels(encoded):
    return (255 * plt.imread(io.BytesIO(encoded))[..., :3]).round().astype(int)


# Where letters touch, colours may differ by LEVELS of 255. Before 3.11 matplotlib set each text at whole pixels: there
# one that lies half way may stand one pixel beside, and touch others elsewhere.
PLACES, LEVELS = ((0,), 2) if matplotlib.__version_info__ >= (3, 11) else ((-1, 0, 1), 16)


def drawn_by_matplotlib(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


@pytest.fixture(autouse=True)
def course_style():
    torch.manual_seed(0)
    plotting.use_course_style()


@pytest.mark.parametrize("name", NAMES)
def test_a_figure_that_is_filled_again_is_that_of_a_new_one(name):
    explorer = explorers.EXPLORERS[name]()
    for number in range(8):
        explorers.move(explorer, number)
        new = drawn_by_matplotlib(explorer.figure())
        near = [np.roll(new, (down, right), axis=(0, 1)) for down in PLACES for right in PLACES]
        for encoded in (shown(explorer)[1], png(explorer.figure())):
            found = pixels(encoded)
            assert (found >= np.min(near, axis=0) - LEVELS).all()
            assert (found <= np.max(near, axis=0) + LEVELS).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_alternative_text_says_what_the_explorer_says(name):
    explorer = explorers.EXPLORERS[name]()
    explorers.move(explorer, 0)
    assert shown(explorer)[0] == explorer.text()


def test_words_are_no_html():
    q = torch.eye(2)
    explorer = widgets.AttentionSteps(["<b>", "'\"&"], q, q, q)
    explorer.step.value = 1
    assert "<b>" in shown(explorer)[0] and "<b>" not in explorer.words.value + explorer.picture.value


def test_texts_are_drawn_to_the_pixel():
    def figure():
        figure = Figure(figsize=(4, 3), dpi=100)
        figure.text(0.1, 0.7, "turned", rotation=30, color="red", alpha=0.4)
        figure.text(0.5, 0.3, r"$\alpha^2$ and words", fontsize=20, bbox={"facecolor": "yellow"})
        figure.text(0.3, 0.1, "two\nlines   ")
        figure.text(0.9, 0.9, "cut off at the edge")
        return figure

    expected = drawn_by_matplotlib(figure())
    for _ in range(2):  # at first it draws the texts, then it remembers them
        assert np.abs(pixels(png(figure())) - expected).max() <= 2


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("keys *and* values", "keys <em>and</em> values"),
        ("`a * b * c` is `x`", "<code>a * b * c</code> is <code>x</code>"),
        ("`*one*`", "<code>*one*</code>"),
        ("2*a*b and **bold** and * alone *", "2*a*b and **bold** and * alone *"),
        ("1 < 2\nnext", "1 &lt; 2<br>next"),
    ],
)
def test_code_and_one_emphasised_word_are_marked(text, html):
    assert marked(text) == html
