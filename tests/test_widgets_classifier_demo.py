"""The demo of notebook 19: it shows what the model says, follows the text, and injects nothing."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_lib import plotting, widgets
from course_lib.widgets.display import VIEW
from tests.pictures import without_warnings

NAMES = ["negative", "positive <b>"]
EXAMPLES = ["good film", "bad " * 40]


@pytest.fixture(autouse=True)
def course_style():
    plotting.use_course_style()


def count_good(texts):
    """Probability of the second class: 0.1, and 0.3 more for each "good"."""
    positive = np.array([min(1.0, 0.1 + 0.3 * text.count("good")) for text in texts])
    return np.stack([1 - positive, positive], axis=1)


@pytest.fixture
def demo():
    return widgets.ClassifierDemo(count_good, NAMES, "a good good film", EXAMPLES)


def drawn(demo):
    """Width of each bar in per cent, and the number beside it."""
    return [(float(a), float(b)) for a, b in re.findall(r"width:([\d.]+)%;.*?<td>([\d.]+)</td></tr>", demo.bars.value)]


def test_bars_and_words_are_what_the_model_says(demo):
    assert drawn(demo) == [(30.0, 0.3), (70.0, 0.7)]
    assert demo.text() == "positive <b>. Probabilities: negative 0.30, positive <b> 0.70"
    demo.input.value = "a film"
    assert drawn(demo) == [(90.0, 0.9), (10.0, 0.1)]
    assert demo.text().startswith("negative. ")


def test_the_model_is_asked_once_a_change():
    asked = []
    demo = widgets.ClassifierDemo(lambda texts: asked.append(texts) or count_good(texts), NAMES, "one")
    demo.input.value = "two"
    demo._repr_mimebundle_()
    assert asked == [["one"], ["two"]]


def test_an_example_becomes_the_text(demo):
    demo.example.value = EXAMPLES[1]
    assert demo.input.value == EXAMPLES[1] and drawn(demo)[0] == (90.0, 0.9)


@pytest.mark.parametrize("text", ["", "  \n"])
def test_no_text_is_not_sent_to_the_model(demo, text):
    demo.input.value = text
    assert demo.bars.value == "" and demo.text() == "Type a text: there is none yet"
    demo.input.value = "good"
    assert drawn(demo)[1] == (40.0, 0.4)


def test_markup_is_text(demo):
    demo.input.value = "<img src=x onerror=alert(1)> good"
    assert "<img" not in demo.bars.value + demo.words.value
    assert "positive &lt;b&gt;" in demo.bars.value and "positive &lt;b&gt;" in demo.words.value


def test_controls_are_named_and_reached_by_keyboard(demo):
    named = [demo.example, demo.input]
    assert list(demo.view.children) == [*named, demo.words, demo.bars]
    assert all(control.description and not control.disabled for control in named)
    assert "aria-live" in demo.words.value and "scope='row'" in demo.bars.value
    assert all(len(label) <= 70 for label, _ in demo.example.options)


@without_warnings
@pytest.mark.parametrize("text", ["a good film", "", "$x_1$ 中文"])
def test_static_form_and_no_figure_left_open(demo, text):
    before = plt.get_fignums()
    demo.input.value = text
    bundle = demo._repr_mimebundle_()
    assert set(bundle) == {VIEW, "image/png", "text/plain"}
    assert bundle["text/plain"] == demo.text() and bundle["image/png"].startswith(b"\x89PNG")
    assert demo._repr_mimebundle_()["image/png"] == bundle["image/png"]
    assert plt.get_fignums() == before


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="nothing to choose between"):
        widgets.ClassifierDemo(count_good, [])
    with pytest.raises(ValueError, match=r"shape \[1, 2\] for 1 text, 3 classes"):
        widgets.ClassifierDemo(count_good, ["a", "b", "c"], "text")
