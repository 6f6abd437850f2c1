"""The sampling explorer of notebook 07 and its figure: what they say is true, and every control moves them."""

import re
import subprocess
import sys

import ipywidgets
import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from course_lib import plotting, widgets
from course_lib.widgets.display import VIEW, png
from tests.pictures import png_of

WORDS = ["$a$", " b", "\n", *(f"w{i}" for i in range(60))]


@pytest.fixture(autouse=True)
def course_style():
    plotting.use_course_style()


@pytest.fixture
def logits():
    generator = torch.Generator().manual_seed(0)
    return {"sure": 6 * torch.randn(63, generator=generator), "unsure": torch.randn(63, generator=generator)}


@pytest.fixture
def explorer(logits):
    return widgets.SamplingExplorer(logits, WORDS.__getitem__)


def said(explorer):
    found = re.search(
        r"([\d,]+) of 63 tokens are left, to which the model gave ([\d.]+)\. The most probable is '(.+)', ([\d.]+) "
        r"before and ([\d.]+) now",
        explorer.text(),
    )
    left, share, word, before, after = found.groups()
    return int(left), float(share), word.encode().decode("unicode_escape"), float(before), float(after)


def by_hand(logits, temperature, top_k, top_p):
    """Token by token in plain Python: [(id, probability)] of those that are left, most probable first."""
    scaled = np.asarray(logits, dtype=float) / temperature
    order = sorted(range(len(scaled)), key=lambda i: -scaled[i])[: top_k or len(scaled)]
    p = np.exp(scaled[order] - scaled.max())
    p /= p.sum()
    kept, total = 0, 0.0
    while kept < len(order) and (top_p == 1 or total < top_p):
        total += p[kept]
        kept += 1
    return list(zip(order[:kept], p[:kept] / total, strict=True))


@pytest.mark.parametrize("prompt", ["sure", "unsure"])
@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, None, 1.0), (0.5, None, 0.9), (2.0, 5, 1.0), (1.0, 20, 0.35)]
)
def test_the_words_are_true(explorer, logits, prompt, temperature, top_k, top_p):
    explorer.prompt.value, explorer.temperature.value = prompt, temperature
    explorer.top_k.value, explorer.top_p.value = top_k or "all", top_p
    expected = by_hand(logits[prompt], temperature, top_k, top_p)
    model = dict(by_hand(logits[prompt], 1.0, None, 1.0))
    best, p = expected[0]
    assert said(explorer) == (
        len(expected),
        pytest.approx(sum(model[token] for token, _ in expected), abs=6e-4),
        WORDS[best],
        pytest.approx(model[best], abs=6e-4),
        pytest.approx(p, abs=6e-4),
    )


def test_bars_are_the_probabilities_of_the_most_probable_tokens(explorer, logits):
    explorer.prompt.value, explorer.top_k.value = "unsure", 3
    (axes,) = explorer.figure().axes
    after, before = ([path.vertices[:, 0].max() for path in bars.get_paths()] for bars in axes.collections)
    model = logits["unsure"].double().softmax(0).sort(descending=True).values[:12]
    assert before == pytest.approx(model.tolist())
    assert after == pytest.approx([*(model[:3] / model[:3].sum()).tolist(), *[0.0] * 9])
    assert [text.get_text() for text in axes.texts].count("×") == 9


@pytest.mark.parametrize(
    ("control", "value"), [("prompt", "unsure"), ("temperature", 0.5), ("top_k", 2), ("top_p", 0.5)]
)
def test_each_control_changes_picture_and_words(explorer, control, value):
    before = png_of(explorer), explorer.words.value
    getattr(explorer, control).value = value
    assert png_of(explorer) != before[0] and explorer.words.value != before[1]
    assert "aria-live" in explorer.words.value


def test_controls_have_labels_and_stand_in_the_view(explorer):
    *controls, picture, words = explorer.view.children
    assert (picture, words) == (explorer.picture, explorer.words)
    assert [control.description for control in controls] == ["prompt", "temperature", "top-k", "top-p"]
    assert all(isinstance(control, ipywidgets.DOMWidget) and not control.disabled for control in controls)


def test_static_form_and_no_figure_left_open(explorer):
    before = plt.get_fignums()
    bundle = explorer._repr_mimebundle_()
    assert set(bundle) == {VIEW, "image/png", "text/plain"}
    assert bundle["text/plain"] == explorer.text()
    assert bundle["image/png"] == png(explorer.figure()), "two drawings of one state are the same bytes"
    assert plt.get_fignums() == before


@pytest.mark.parametrize(
    ("logits", "message"),
    [
        ({}, "logits is empty"),
        ({"batch": torch.zeros(1, 5)}, r"'batch' has logits of shape \[1, 5\]"),
        ({"broken": torch.tensor([0.0, torch.nan])}, "without NaN"),
    ],
)
def test_bad_logits(logits, message):
    with pytest.raises(ValueError, match=message):
        widgets.SamplingExplorer(logits, str)


def test_it_is_loaded_only_when_named():
    program = (
        "import sys, course_lib.widgets as w; assert 'course_lib.widgets.sampling' not in sys.modules; "
        "w.SamplingExplorer; assert 'course_lib.widgets.sampling' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


class TestFigure:
    def test_number_or_cross_at_the_end_of_each_row(self):
        axes = plotting.next_tokens([0.5, 0.3, 0.2], [0.625, 0.375, 0.0], ["a", "$b$", "\n"], title="top-k 2")
        assert [text.get_text() for text in axes.texts] == ["0.62", "0.38", "×"]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "$b$", "\\n"]
        assert [text.xy for text in axes.texts] == [(0.625, 0), (0.375, 1), (0.2, 2)]

    def test_draws_on_given_axes(self):
        _, ax = plt.subplots()
        assert plotting.next_tokens([1.0], [1.0], ["a"], ax=ax) is ax

    @pytest.mark.parametrize(
        ("before", "after", "message"),
        [
            ([], [], "0 probabilities before"),
            ([0.5, 0.5], [1.0], "2 probabilities before and 1 after"),
            ([1.5], [1.0], "before .* are not probabilities"),
            ([1.0], [float("nan")], "after .* are not probabilities"),
            ([[1.0]], [1.0], "one probability a token"),
        ],
    )
    def test_bad_values(self, before, after, message):
        with pytest.raises(ValueError, match=message):
            plotting.next_tokens(before, after, ["a"] * len(before))

    def test_every_token_has_a_label(self):
        with pytest.raises(ValueError, match="1 labels for 2 places"):
            plotting.next_tokens([0.5, 0.5], [0.5, 0.5], ["a"])
