"""The attention explorer of notebook 11: what it says is in the weights, and its page needs nothing from elsewhere."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pytest
import traitlets

from course_lib import plotting, widgets
from course_lib.widgets.attention import MOST_TOKENS, AttentionView
from course_lib.widgets.display import VIEW
from tests.pictures import without_warnings

TOKENS = ["[CLS]", "the", "cat", "sat", "[SEP]", "the", "dog", "ran", "[SEP]"]
SEGMENTS = [0] * 5 + [1] * 4


@pytest.fixture(autouse=True)
def course_style():
    plotting.use_course_style()


def weights(layers=2, heads=3, n=9):
    scores = 3 * np.random.default_rng(0).normal(size=(layers, heads, n, n))
    return np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)


def explorer(**choices):
    return widgets.AttentionExplorer(TOKENS, weights(), SEGMENTS, **choices)


def said(text):
    return [(name, float(number)) for name, number in re.findall(r"(\S+(?: \(\d\))?) (\d\.\d\d)", text)]


def test_words_are_the_largest_weights_of_the_row_or_column():
    shown = explorer(layer=1, head=2, token=3)
    names = ["[CLS]", "the (1)", "cat", "sat", "[SEP] (4)", "the (5)", "dog", "ran", "[SEP] (8)"]
    for side, row in (("query", weights()[1, 2, 3]), ("key", weights()[1, 2, :, 3])):
        shown.view.side = side
        first = np.argsort(-row)[:3]
        found = shown.text().partition("looks at" if side == "query" else "looked at by")[2]
        assert said(found) == [(names[i], pytest.approx(row[i], abs=0.005)) for i in first]
    assert shown.text().startswith("Layer 1, head 2: sat is looked at by")


def test_the_page_gets_the_same_weights():
    view = explorer().view
    sent = np.frombuffer(view.weights, dtype="<f4").reshape(*view.shape, view.shape[-1])
    np.testing.assert_allclose(sent, weights(), rtol=1e-6)
    assert (view.tokens, view.segments, view.shape) == (TOKENS, SEGMENTS, [2, 3, 9])


def test_the_static_figure_follows_the_choice():
    shown = explorer(layer=1, head=2)
    grid, chosen = shown.figure().axes[:2]
    marked = [number for number, patch in enumerate(grid.patches) if patch.get_linewidth() > 2]
    assert marked == [5]
    np.testing.assert_allclose(chosen.images[0].get_array(), weights()[1, 2], rtol=1e-6)
    shown.view.head = 0
    np.testing.assert_allclose(shown.figure().axes[1].images[0].get_array(), weights()[1, 0], rtol=1e-6)


def test_the_script_loads_nothing_from_the_web():
    for part in (AttentionView._esm, AttentionView._css):
        text = str(part)
        assert "course-attention" in text
        assert re.findall(r"https?://[^\"\s]+", text) in ([], ["http://www.w3.org/2000/svg"])
        assert not re.search(r"\bimport\b|\bfetch\(|@import|url\(", text)


@pytest.mark.parametrize(("name", "value"), [("layer", 2), ("head", -1), ("token", 9)])
def test_choices_outside_the_maps_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name}={value} is outside 0 to"):
        explorer(**{name: value})
    shown = explorer()
    with pytest.raises(traitlets.TraitError, match="outside"):
        setattr(shown.view, name, value)
    assert getattr(shown.view, name) == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((TOKENS[:-1], weights()), r"\[layers, num_heads, 8, 8\]"),
        ((TOKENS, weights()[0]), r"\[layers, num_heads, 9, 9\]"),
        ((TOKENS, 9 * weights()), "softmax weights"),
        ((TOKENS, weights(), [0] * 8), "one 0 or 1"),
        ((TOKENS, weights(), [0] * 8 + [2]), "one 0 or 1"),
        ((["x"] * (MOST_TOKENS + 1), weights(1, 1, MOST_TOKENS + 1)), f"1 to {MOST_TOKENS}"),
        (([], weights(1, 1, 0)), "0 tokens"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        widgets.AttentionExplorer(*arguments)


@without_warnings
def test_static_form_and_no_figure_left_open():
    before = plt.get_fignums()
    shown = explorer()
    bundle = shown._repr_mimebundle_()
    assert set(bundle) == {VIEW, "image/png", "text/plain"}
    assert bundle["text/plain"] == shown.text() and bundle["image/png"].startswith(b"\x89PNG")
    assert bundle["image/png"] == explorer()._repr_mimebundle_()["image/png"]
    assert plt.get_fignums() == before
