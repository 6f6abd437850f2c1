"""The head-split explorer: what it says is true, and every control changes the picture and the words."""

import matplotlib.pyplot as plt
import pytest
import torch
from torch.nn import functional as F

from course_lib import plotting, widgets
from course_lib.widgets.display import VIEW
from tests.pictures import png_of, without_warnings

TOKENS = ["the", "cat", "sat", "on", "mat"]


@pytest.fixture(autouse=True)
def course_style():
    plotting.use_course_style()


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 5, 12, generator=generator, dtype=torch.float64)


def expected(inputs, num_heads, head):
    q, k = (t.float().split(12 // num_heads, dim=-1)[head] for t in inputs)
    return F.scaled_dot_product_attention(q, k, torch.eye(5))


@pytest.mark.parametrize(("num_heads", "head"), [(1, 0), (2, 1), (3, 1), (12, 11)])
def test_weights_are_those_of_the_head(inputs, num_heads, head):
    explorer = widgets.HeadSplit(TOKENS, *inputs, num_heads, head)
    weights = expected(inputs, num_heads, head)
    torch.testing.assert_close(explorer.weights, weights)
    query, key = divmod(int(weights.argmax()), 5)
    assert f"is {weights.max():.2f}, from '{TOKENS[query]}' ({query}) to '{TOKENS[key]}' ({key})." in explorer.text()
    drawn = explorer.figure().axes[0].images[1].get_array()
    torch.testing.assert_close(torch.tensor(drawn.data).float(), weights)


def test_text_names_the_columns(inputs):
    assert "3 heads of width 4: head 1 sees columns 4 to 7 of 12." in widgets.HeadSplit(TOKENS, *inputs, 3, 1).text()
    assert "1 head of width 12: head 0 sees columns 0 to 11" in widgets.HeadSplit(TOKENS, *inputs, 1).text()
    assert "12 heads of width 1: head 5 sees column 5 of 12." in widgets.HeadSplit(TOKENS, *inputs, 12, 5).text()


@pytest.mark.parametrize(("name", "value"), [("num_heads", 3), ("head", 1)])
def test_every_control_changes_picture_and_words(inputs, name, value):
    explorer = widgets.HeadSplit(TOKENS, *inputs)
    picture, words = png_of(explorer), explorer.words.value
    getattr(explorer, name).value = value
    assert png_of(explorer) != picture and explorer.words.value != words
    assert picture.startswith(b"\x89PNG")


def test_slider_ends_at_the_last_head(inputs):
    explorer = widgets.HeadSplit(TOKENS, *inputs, num_heads=6, head=5)
    assert list(explorer.num_heads.options) == [1, 2, 3, 4, 6, 12]
    explorer.num_heads.value = 2
    assert (explorer.head.value, explorer.head.max) == (1, 1)
    torch.testing.assert_close(explorer.weights, expected(inputs, 2, 1))
    assert "head 1 sees columns 6 to 11" in explorer.words.value
    explorer.num_heads.value = 12
    assert explorer.head.max == 11 and "head 1 sees column 1 of" in explorer.words.value


def test_of_equal_weights_the_first_is_named(inputs):
    explorer = widgets.HeadSplit(TOKENS, torch.zeros(5, 2), torch.randn(5, 2), num_heads=1)
    assert "0.20, from 'the' (0) to 'the' (0)" in explorer.text()


@pytest.mark.parametrize(
    ("num_heads", "head", "shape", "message"),
    [
        (5, 0, (5, 12), "d_model=12 is not divisible by num_heads=5"),
        (0, 0, (5, 12), "num_heads=0"),
        (3, 3, (5, 12), "head=3"),
        (2, 0, (4, 12), r"length=5"),
        (2, 0, (2, 5, 6), r"length=5"),
    ],
)
def test_bad_input(num_heads, head, shape, message):
    with pytest.raises(ValueError, match=message):
        widgets.HeadSplit(TOKENS, torch.zeros(shape), torch.zeros(shape), num_heads, head)


def test_controls_are_named_and_reached_by_keyboard(inputs):
    explorer = widgets.HeadSplit(TOKENS, *inputs)
    *named, picture, words = explorer.view.children
    assert (picture, words) == (explorer.picture, explorer.words)
    assert [control.description for control in named] == ["number of heads", "head"]
    assert not any(control.disabled for control in named)


@without_warnings
def test_static_form_and_no_figure_left_open(inputs):
    before = plt.get_fignums()
    explorer = widgets.HeadSplit(TOKENS, *inputs)
    bundle = explorer._repr_mimebundle_()
    assert set(bundle) == {VIEW, "image/png", "text/plain"}
    assert bundle["text/plain"] == explorer.text()
    assert explorer._repr_mimebundle_()["image/png"] == bundle["image/png"]
    assert plt.get_fignums() == before
