"""The grid of all heads: which map stands where, on which scale, and what is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex

from course_lib import plotting

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def course_style():
    plotting.use_course_style()
    yield
    plt.close("all")


def weights(*shape):
    scores = np.random.default_rng(0).normal(size=shape)
    return np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)


def test_each_map_stands_in_its_row_and_column_on_one_scale():
    shown = weights(3, 5, 7, 7)
    ax = plotting.head_grid(shown, title="Maps")
    assert len(ax.images) == 15
    for number, image in enumerate(ax.images):
        layer, head = divmod(number, 5)
        np.testing.assert_allclose(image.get_array(), shown[layer, head])
        assert image.get_clim() == (0, 1)
        left, right, bottom, top = image.get_extent()
        column, row = (left + right) / 2, (bottom + top) / 2
        assert ax.get_xticklabels()[head].get_text() == str(head) and ax.get_xticks()[head] == pytest.approx(column)
        assert ax.get_yticklabels()[layer].get_text() == str(layer) and ax.get_yticks()[layer] == pytest.approx(row)
        assert bottom > top  # the first query is at the top
    assert ax.yaxis_inverted() and ax.get_title(loc="left") == "Maps"


def test_one_frame_is_marked():
    ax = plotting.head_grid(weights(2, 3, 4, 4), highlight=(1, 2))
    marked = [number for number, patch in enumerate(ax.patches) if patch.get_linewidth() > 2]
    assert marked == [5] and to_hex(ax.patches[5].get_edgecolor()) == plotting.COLOURS[2].lower()


def test_it_draws_where_it_is_told():
    _, own = plt.subplots()
    assert plotting.head_grid(weights(1, 1, 2, 2), ax=own) is own


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"\[layers, num_heads"):
        plotting.head_grid(weights(2, 4, 4))
    with pytest.raises(ValueError, match="no map"):
        plotting.head_grid(np.zeros((0, 2, 4, 4)))
    with pytest.raises(ValueError, match="softmax weights"):
        plotting.head_grid(weights(2, 2, 4, 4) * 30)
    with pytest.raises(IndexError, match=r"highlight=\(2, 0\)"):
        plotting.head_grid(weights(2, 2, 4, 4), highlight=(2, 0))
