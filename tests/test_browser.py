"""JupyterLab in headless Chromium: notebooks run there, and their explorers answer to the keyboard."""

import ast
import re
import textwrap

import pytest

from course_lib.widgets.display import VIEW
from tools import jupyterlab
from tools.notebook_pipeline import read_twin, twins

pytestmark = [pytest.mark.browser, pytest.mark.assets]

QUICK = ("00", "02", "03", "13")
FIRST = "select, textarea, input, button, [tabindex]"  # what Tab may come to
STATE = """output => {
  const all = (selector, say) => [...output.querySelectorAll(selector)].map(say);
  return {
    pictures: all("img", img => img.src), alts: all("img", img => img.alt),
    words: all("[role=status]", one => one.innerText),
  };
}"""
CHANGED = f"""(output, before) => {{
  const now = ({STATE})(output), differs = kind => now[kind].join() !== before[kind].join();
  return differs("words") && (differs("pictures") || !before.pictures.length);
}}"""
# The keys that move a control: a list is opened first, for JupyterLab takes the arrows of a closed one for itself; a
# slider at its upper end goes back, all else to the right.
KEYS = """control => control.tagName === "SELECT"
  ? ["Space", control.selectedIndex === control.options.length - 1 ? "ArrowUp" : "ArrowDown", "Enter"]
  : [control.ariaValueMax && control.ariaValueNow === control.ariaValueMax ? "ArrowLeft" : "ArrowRight"] """

# Stand-ins for what cost the notebooks a model: names that the notebook's own call of the explorer reads.
PREPARED = {
    "AttentionExplorer": """
        tokens, segments = ["a", "bank", "a", "river"], [[0, 0, 1, 1]]
        weights = torch.softmax(torch.arange(6 * 12 * 4 * 4).reshape(6, 12, 4, 4) % 7.0, dim=-1)
    """,
    "AttentionSteps": """
        tokens = ["the", "cat", "sat", "on"]
        tensors = torch.arange(3 * 4 * 2, dtype=torch.float64).reshape(3, 4, 2).cos()
    """,
    "BeamTree": """
        small = ["<eos>", "la", "pomme", "."]
        def next_token(prefix):
            return torch.stack([torch.sin((prefix.sum(dim=1) + 1) * (token + 2.0)) for token in range(4)], dim=1)
        searches = {
            (beams, penalty): beam_search(
                next_token, torch.tensor([[1]]), 3, num_beams=beams, length_penalty=penalty, eos_id=0
            )[0]
            for beams in (1, 2) for penalty in (0.0, 1.0)
        }
    """,
    "ClassifierDemo": """
        class model:
            class_names = ["negative", "positive"]
            def probabilities(texts):
                return [[1 / len(text), 1 - 1 / len(text)] for text in texts]
        tries = ("A quiet film.", "Not bad at all.")
    """,
    "HeadSplit": """
        tokens = ["the", "cat", "sat", "on"]
        q8 = k8 = torch.arange(4 * 8.0).reshape(4, 8).sin()
    """,
    "PositionExplorer": "",
    "SamplingExplorer": """
        class tokenizer:
            decode = "word{}".format
        behind = {text: torch.arange(50.0).cos() * len(text) / 4 for text in ("a cup of", "the capital of France is")}
    """,
    "ScalingExplorer": "",
    "TemperatureExplorer": """
        test_logits, test_labels = torch.arange(40.0).reshape(20, 2).sin(), torch.arange(20) % 2
        label_names = ["no", "yes"]
        examples = {"one text": test_logits[0], "another": test_logits[1]}
    """,
    "TokenizerPlayground": """
        texts = ["the cat sat on the mat and the cats sat on the mats, 12 cats"]
        bpe, wordpiece = BPETokenizer.train(texts, 283), WordPieceTokenizer.train(texts, 60)
    """,
}
ONLY_WHOLE = {"MaskedWordGame"}  # moved where its notebook runs: it plays with the model that is trained there
IMPORTS = """
import math

import torch
from course_lib import widgets
from course_lib.widgets.display import VIEW
from course_lib.decoding import beam_search
from course_lib.tokenizers import BPETokenizer, WordPieceTokenizer
"""


def explorers(twin):
    """(name, source of the call) of each explorer that the notebook shows, in their order."""
    found = []
    for cell in read_twin(twin).cells:
        name = re.search(r"^widgets\.(\w+)\(", cell.source, re.MULTILINE)
        if cell.cell_type == "code" and name:
            found.append((name[1], ast.unparse(ast.parse(cell.source).body[-1])))
    return found


SHOWN = {name: call for twin in twins() for name, call in explorers(twin)}


def assert_first_control_moves(page, output, name):
    """Focus what Tab comes to first, press its keys, see other pictures and other words, the pictures' words too."""
    output.scroll_into_view_if_needed()
    controls = [
        one for one in output.locator(FIRST).all() if one.is_visible() and one.evaluate("one => one.tabIndex >= 0")
    ]
    controls[0].focus()
    assert controls[0].evaluate("one => one === document.activeElement")
    before = output.evaluate(STATE)
    assert before["words"], f"{name} does not say in words what it shows"
    for _ in range(2):  # the first entry of a list may be what is shown already
        for key in controls[0].evaluate(KEYS):
            page.keyboard.press(key)
            page.wait_for_timeout(100)  # a list takes a moment to open
        for _ in range(50):
            if output.evaluate(CHANGED, before):
                after = output.evaluate(STATE)
                assert after["alts"] == (after["words"] if after["pictures"] else [])
                return
            page.wait_for_timeout(200)
    pytest.fail(f"{name} shows the same as before: {before['words']}")


# ------------------------------------------------------------------------------------------ whole notebooks


@pytest.mark.parametrize(
    "twin",
    [pytest.param(twin, marks=() if twin.name[:2] in QUICK else pytest.mark.slow, id=twin.stem) for twin in twins()],
)
def test_notebook_runs_and_every_widget_is_drawn_and_moves(page, lab, twin):
    jupyterlab.shut_down_kernels(lab)
    jupyterlab.run_all(page, lab, f"{twin.stem}.ipynb")
    assert jupyterlab.errors(page) == []
    assert jupyterlab.blank_widgets(page) == []
    shown, outputs = explorers(twin), jupyterlab.widget_outputs(page)
    assert outputs.count() == len(shown) + 1, "the explorers and the quiz"
    for place, (name, _) in enumerate(shown):
        assert_first_control_moves(page, outputs.nth(place), name)
    assert_a_quiz_answers(page, outputs.last)


def assert_a_quiz_answers(page, output):
    """Choose the first answer of the first question by keyboard, and read why it is right or wrong."""
    output.get_by_role("radio").first.focus()
    page.keyboard.press("Space")
    output.get_by_text(re.compile("✓ Right|✗ Not this one")).first.wait_for()


# ------------------------------------------------------------------------------------------ explorers


def test_every_explorer_of_a_notebook_is_moved_here():
    assert set(SHOWN) - ONLY_WHOLE == set(PREPARED)


@pytest.fixture(scope="module")
def outputs(page, lab, lab_folder):
    """Outputs of a notebook that shows each explorer with the call of its own notebook, by name."""
    cells = [textwrap.dedent(prepared) + "\n" + SHOWN[name] for name, prepared in PREPARED.items()]
    jupyterlab.write_notebook(lab_folder / "explorers.ipynb", IMPORTS, *cells)
    jupyterlab.run_all(page, lab, "explorers.ipynb")
    assert jupyterlab.errors(page) == []
    assert jupyterlab.blank_widgets(page) == []
    found = jupyterlab.widget_outputs(page)
    assert found.count() == len(PREPARED)
    return {name: found.nth(place) for place, name in enumerate(PREPARED)}


@pytest.mark.parametrize("name", PREPARED)
def test_explorer_is_moved_by_keyboard(page, outputs, name):
    assert_first_control_moves(page, outputs[name], name)


# ------------------------------------------------------------------------------------------ the tests can fail


def test_faults_are_seen(page, lab, lab_folder):
    display = "from IPython.display import display\nimport ipywidgets"
    gone = {VIEW: {"version_major": 2, "version_minor": 0, "model_id": "gone"}, "text/plain": ""}
    faulty = [
        display,
        "ipywidgets.IntSlider()",  # without fault
        "ipywidgets.Image(value=b'no picture', format='png')",
        "ipywidgets.HTML('')",
        "ipywidgets.VBox([])",
        f"display({gone}, raw=True)",
        "import sys; print('warned', file=sys.stderr)",
        "1 / 0",
    ]
    jupyterlab.write_notebook(lab_folder / "faults.ipynb", *faulty)
    jupyterlab.run_all(page, lab, "faults.ipynb")
    assert [said[: len("widget 2")] for said in jupyterlab.blank_widgets(page)] == [f"widget {i}" for i in (2, 3, 4, 5)]
    warned, failed = jupyterlab.errors(page)
    assert warned.strip() == "warned" and "ZeroDivisionError" in failed
