"""The explorers of notebook 02: what they say is true, and every control changes the picture and the words."""

import math
import re
import subprocess
import sys

import matplotlib.pyplot as plt
import pytest
import torch
from torch.nn import functional as F

from course_lib import plotting, widgets
from course_lib.widgets import attention_scaling
from course_lib.widgets.display import VIEW
from tests.pictures import png_of, without_warnings


@pytest.fixture(autouse=True)
def course_style():
    plotting.use_course_style()


@pytest.fixture
def steps():
    """Three tokens, d_k = 5, d_v = 2, with scores and outputs that are easy to state."""
    q = torch.tensor([[0.0, 0, 0, 0, 0], [5.0, 0, 0, 0, 0], [0, -1.0, 2, 0, 3]])
    k = torch.tensor([[1.0, 0, 0, 0, 0], [0, 1.0, 0, 2, 0], [0, 0, 1.0, 0, 1]])
    v = torch.tensor([[1.0, 0], [0, 7.0], [3.0, 5]])
    return widgets.AttentionSteps(["the", "cat", "sat"], q, k, v), (q, k, v)


def state(explorer):
    return png_of(explorer), explorer.words.value


@pytest.mark.parametrize(
    ("name", "value"), [("d_k", 256), ("scaled", True), ("temperature", 10**0.5)], ids=["d_k", "scaled", "temperature"]
)
def test_every_control_changes_picture_and_words(name, value):
    explorer = widgets.ScalingExplorer()
    picture, words = state(explorer)
    getattr(explorer, name).value = value
    assert state(explorer)[0] != picture and explorer.words.value != words
    assert picture.startswith(b"\x89PNG")


def said(explorer):
    found = re.search(
        r"deviation of ([\d.e+-]+), largest weight ([\d.]+) on average, norm of the Jacobian ([\d.]+)", explorer.text()
    )
    return [float(number) for number in found.groups()]


@pytest.mark.parametrize("d_k", [1, 16, 256])
def test_scores_spread_with_the_width_unless_scaled(d_k):
    plain, scaled = (said(widgets.ScalingExplorer(d_k, on)) for on in (False, True))
    # 3,200 scores that share 400 queries: the standard deviation is known to about 4 %.
    assert plain[0] == pytest.approx(math.sqrt(d_k), rel=0.15)
    assert scaled[0] == pytest.approx(1, rel=0.15)
    assert plain[1] >= scaled[1] and plain[2] <= scaled[2] + 0.001


def test_dividing_by_the_root_is_a_temperature():
    assert said(widgets.ScalingExplorer(16, False, temperature=4.0)) == said(widgets.ScalingExplorer(16, True))


def test_gradient_norm_is_that_of_the_jacobian():
    scores = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    norms = [
        [torch.autograd.functional.jacobian(lambda s: F.softmax(s, -1), row).norm() for row in rows] for rows in scores
    ]
    found = attention_scaling._jacobian_norms(F.softmax(scores, -1))
    torch.testing.assert_close(found, torch.tensor(norms, dtype=torch.float64).mean(-1))


def test_products_are_dot_products():
    generator = torch.Generator().manual_seed(0)
    q = torch.randn(400, 1, 1024, generator=generator)
    k = torch.randn(400, 8, 1024, generator=generator)
    products = attention_scaling._dot_products()
    assert products.shape == (11, 400, 8)
    for index, d_k in ((0, 1), (5, 32), (10, 1024)):
        expected = torch.einsum("aqd,akd->ak", q[..., :d_k].double(), k[..., :d_k].double())
        torch.testing.assert_close(products[index].double(), expected, atol=1e-3, rtol=1e-4)


def test_steps_say_what_torch_computes(steps):
    explorer, (q, k, v) = steps
    output = F.scaled_dot_product_attention(q, k, v)
    explorer.query.value, explorer.step.value = 1, 1
    assert explorer.text() == "The largest score of 'cat' is 5, with 'the'."
    explorer.step.value = 2
    assert explorer.text() == f"Divided by √5 it is {5 / math.sqrt(5):.3g}."
    explorer.step.value = 3
    weight = torch.softmax(torch.tensor([5.0, 0, 0]) / math.sqrt(5), 0)[0]
    assert f"'the' has the weight {weight:.3g};" in explorer.text()
    explorer.step.value = 4
    assert f"output ({output[1, 0]:.3g}, {output[1, 1]:.3g})" in explorer.text()


def test_each_step_adds_a_column_and_the_last_the_output(steps):
    explorer, _ = steps
    counts = []
    for step in (1, 2, 3, 4):
        explorer.step.value = step
        texts = [text.get_text() for text in explorer.figure().axes[0].texts]
        counts.append(len(texts))
        assert any(text.startswith("output") for text in texts) == (step == 4)
    assert counts == [4 + 4 * step + (step == 4) for step in (1, 2, 3, 4)]


def test_every_query_has_its_own_picture(steps):
    explorer, _ = steps
    explorer.step.value = 4
    pictures = set()
    for query in range(3):
        explorer.query.value = query
        pictures.add(state(explorer)[0])
    assert len(pictures) == 3


def test_unit_of_the_scores():
    q = k = math.sqrt(math.log(2)) * torch.eye(3, 4)
    explorer = widgets.AttentionSteps("abc", q, k, torch.eye(3), query=2, unit=math.log(2), unit_name="ln 2")
    explorer.step.value = 1
    assert explorer.text() == "The largest score of 'c' is 1 ln 2, with 'c'."


def test_controls_are_named_and_reached_by_keyboard(steps):
    for explorer in (widgets.ScalingExplorer(), steps[0]):
        *named, picture, words = explorer.view.children
        assert (picture, words) == (explorer.picture, explorer.words)
        assert all(control.description and not control.disabled for control in named)


def test_static_form_and_no_figure_left_open(steps):
    before = plt.get_fignums()
    for explorer in (widgets.ScalingExplorer(), steps[0]):
        bundle = explorer._repr_mimebundle_()
        assert set(bundle) == {VIEW, "image/png", "text/plain"}
        assert bundle["text/plain"] == explorer.text()
        assert explorer._repr_mimebundle_()["image/png"] == bundle["image/png"]
    assert plt.get_fignums() == before


@without_warnings
def test_no_warning_is_shown_beside_an_explorer(steps):
    widgets.ScalingExplorer().redraw()
    steps[0].redraw()


def test_explorers_load_when_first_used():
    program = "import sys, course_lib.widgets as w; print('torch' in sys.modules, 'ScalingExplorer' in dir(w))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False", "True"]
    with pytest.raises(AttributeError, match="no attribute 'Missing'"):
        _ = widgets.Missing
