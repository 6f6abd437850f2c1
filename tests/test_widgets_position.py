"""The position explorer of notebook 04: what it says is true, and every control changes picture and words."""

import math
import re

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_lib import plotting, widgets
from course_lib.widgets.display import VIEW
from tests.pictures import png_of, without_warnings


@pytest.fixture(autouse=True)
def course_style():
    plotting.use_course_style()


def said(explorer):
    found = re.search(
        r"once in ([\d.,e+]+) positions.* angle is ([\d.]+) radians, "
        r"sine (-?[\d.]+), cosine (-?[\d.]+)\..*: (-?[\d.]+)",
        explorer.text(),
    )
    return [float(number.replace(",", "")) for number in found.groups()]


@pytest.mark.parametrize(("name", "value"), [("position", 77), ("pair", 9), ("base", 100)])
def test_every_control_changes_picture_and_words(name, value):
    explorer = widgets.PositionExplorer()
    picture, words = png_of(explorer), explorer.words.value
    assert picture.startswith(b"\x89PNG")
    getattr(explorer, name).value = value
    assert png_of(explorer) != picture and explorer.words.value != words


@pytest.mark.parametrize(("position", "pair", "base"), [(0, 0, 100), (7, 3, 1000), (127, 15, 10_000), (50, 0, 10**6)])
def test_numbers_are_those_of_the_formula(position, pair, base):
    explorer = widgets.PositionExplorer(position, pair, base)
    frequency = base ** (-2 * pair / 32)
    angle = position * frequency
    score = np.mean([math.cos(position * base ** (-2 * i / 32)) for i in range(16)])
    assert said(explorer) == pytest.approx(
        [2 * math.pi / frequency, angle, math.sin(angle), math.cos(angle), score], rel=2e-3, abs=6e-3
    )


def test_marks_stand_on_the_curves():
    explorer = widgets.PositionExplorer(position=12, pair=4)
    left, middle, right = explorer.figure().axes
    sine, first, cosine, second = left.lines
    assert first.get_xdata()[0] == 12 and first.get_ydata()[0] == pytest.approx(sine.get_ydata()[12])
    assert second.get_ydata()[0] == pytest.approx(cosine.get_ydata()[12])
    hand = middle.lines[1]
    angle = 12 * 10_000 ** (-8 / 32)
    assert (hand.get_xdata()[1], hand.get_ydata()[1]) == pytest.approx((math.cos(angle), math.sin(angle)))
    assert right.lines[0].get_ydata()[0] == pytest.approx(1)


def test_unknown_base_is_refused():
    with pytest.raises(ValueError, match="base=7 is not one of 100"):
        widgets.PositionExplorer(base=7)


def test_controls_are_named_and_reached_by_keyboard():
    explorer = widgets.PositionExplorer()
    *named, picture, words = explorer.view.children
    assert (picture, words) == (explorer.picture, explorer.words)
    assert all(control.description and not control.disabled for control in named)


@without_warnings
def test_static_form_and_no_figure_left_open():
    before = plt.get_fignums()
    explorer = widgets.PositionExplorer()
    bundle = explorer._repr_mimebundle_()
    assert set(bundle) == {VIEW, "image/png", "text/plain"}
    assert bundle["text/plain"] == explorer.text()
    assert explorer._repr_mimebundle_()["image/png"] == bundle["image/png"]
    assert plt.get_fignums() == before
