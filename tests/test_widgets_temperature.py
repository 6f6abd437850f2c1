"""The explorer of notebook 13: what it says is true, every control moves it, and it is quick and labelled."""

import re
import subprocess
import sys

import ipywidgets
import pytest
import torch

from course_lib import plotting, widgets
from course_lib.widgets.display import VIEW, png
from tests.pictures import png_of

NAMES = ("negative", "positive", "mixed")


@pytest.fixture(autouse=True)
def course_style():
    plotting.use_course_style()


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(211, 3, generator=generator)
    labels = torch.multinomial((logits / 3).softmax(1), 1, generator=generator)[:, 0]
    return logits, labels, {"one text": torch.tensor([0.0, 2.0, 1.0]), "another": torch.tensor([3.0, 0.0, -1.0])}


@pytest.fixture
def explorer(data):
    logits, labels, examples = data
    return widgets.TemperatureExplorer(logits, labels, NAMES, examples)


def said(explorer):
    found = re.search(
        r"accuracy ([\d.]+), mean confidence ([\d.]+), calibration error ([\d.]+), negative log-likelihood ([\d.]+)",
        explorer.text(),
    )
    return [float(number) for number in found.groups()]


@pytest.mark.parametrize("temperature", [0.1, 1.0, 3.0, 10.0])
def test_the_words_are_true(explorer, data, temperature):
    logits, labels, _ = data
    explorer.temperature.value = temperature
    confidence, answer = (logits / temperature).softmax(1).max(1)
    accuracy, mean_confidence, error, loss = said(explorer)
    assert accuracy == pytest.approx((answer == labels).double().mean().item(), abs=0.006)
    assert mean_confidence == pytest.approx(confidence.mean().item(), abs=0.006)
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(logits / temperature, labels).item(), abs=6e-4)
    assert error >= abs(accuracy - mean_confidence) - 0.012  # bins can only add to the overall gap
    expected = torch.tensor([0.0, 2.0, 1.0]).div(temperature).softmax(0).tolist()
    assert [float(number) for number in re.findall(r"(?:negative|positive|mixed) ([\d.]+\d)", explorer.text())] == [
        pytest.approx(p, abs=0.006) for p in expected
    ]


def test_temperature_moves_confidence_and_not_accuracy(explorer):
    at = {}
    for temperature in (0.1, 1.0, 10.0):
        explorer.temperature.value = temperature
        at[temperature] = said(explorer)
    assert at[0.1][0] == at[1.0][0] == at[10.0][0]
    assert at[0.1][1] > at[1.0][1] > at[10.0][1]
    assert at[1.0][2] > 0.1, "the logits are three times too large"


@pytest.mark.parametrize(("control", "value"), [("temperature", 3.0), ("example", "another")])
def test_each_control_changes_picture_and_words(explorer, control, value):
    before = png_of(explorer), explorer.words.value
    getattr(explorer, control).value = value
    assert png_of(explorer) != before[0] and explorer.words.value != before[1]
    assert "aria-live" in explorer.words.value


def test_controls_have_labels_and_stand_in_the_view(explorer):
    sliders = [child for child in explorer.view.children if isinstance(child, ipywidgets.FloatLogSlider)]
    assert [slider.description for slider in sliders] == ["temperature"] and sliders[0].readout
    assert explorer.example.description == "text"
    assert explorer.picture in explorer.view.children and explorer.words in explorer.view.children


def test_bundle_has_a_static_form(explorer):
    bundle = explorer._repr_mimebundle_()
    assert set(bundle) == {VIEW, "image/png", "text/plain"}
    assert bundle["image/png"] == png(explorer.figure()), "two drawings of one state are the same bytes"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label_names": ("no", "yes")}, r"'logits' has \(3,\) logits for 2"),
        ({"examples": {"short": torch.zeros(2)}}, r"'short' has \(2,\) logits for 3"),
        ({"examples": {}}, "examples is empty"),
        ({"labels": torch.zeros(5, dtype=torch.long)}, r"labels \(5,\)"),
    ],
)
def test_bad_input(data, change, message):
    logits, labels, examples = data
    arguments = {"logits": logits, "labels": labels, "label_names": NAMES, "examples": examples} | change
    with pytest.raises(ValueError, match=message):
        widgets.TemperatureExplorer(**arguments)


def test_pyplot_keeps_no_figure(explorer):
    import matplotlib.pyplot as plt

    before = plt.get_fignums()
    explorer.figure()
    assert plt.get_fignums() == before


def test_it_is_loaded_only_when_named():
    program = (
        "import sys, course_lib.widgets as w; assert 'course_lib.widgets.temperature' not in sys.modules; "
        "w.TemperatureExplorer; assert 'course_lib.widgets.temperature' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
