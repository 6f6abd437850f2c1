"""The explorer of beam search and its figure: what they say is true of the recorded search, and quick to draw."""

import math
import subprocess
import sys

import ipywidgets
import matplotlib.pyplot as plt
import pytest
import torch

from course_lib import plotting, widgets
from course_lib.decoding import beam_search
from course_lib.widgets.display import VIEW, png
from tests.pictures import png_of

WORDS = ("<eos>", "$a$", "b", "c", "d")
STEPS, EOS = 4, 0


def next_token(prefix):
    """Logits that depend on the whole prefix, the same on every machine."""
    place = (prefix * torch.tensor([3**i for i in range(prefix.shape[1])])).sum(dim=1)
    return torch.stack([torch.sin((place + 1) * (token + 2.0)) * 2 for token in range(len(WORDS))], dim=1)


def recorded(num_beams, penalty):
    prompt = torch.tensor([[1]])
    return beam_search(next_token, prompt, STEPS, num_beams=num_beams, length_penalty=penalty, eos_id=EOS)[0]


@pytest.fixture(autouse=True)
def course_style():
    plotting.use_course_style()


@pytest.fixture
def searches():
    return {(beams, penalty): recorded(beams, penalty) for beams in (1, 2, 3) for penalty in (0.0, 1.0)}


@pytest.fixture
def explorer(searches):
    return widgets.BeamTree(searches, WORDS)


def sequence(tree, node):
    words = []
    while True:
        words.append(WORDS[node.token])
        if node.parent < 0:
            return " ".join(reversed(words))
        node = tree[node.parent]


@pytest.mark.parametrize("beams", [1, 2, 3])
@pytest.mark.parametrize("step", range(STEPS + 1))
def test_the_words_are_true(explorer, searches, beams, step):
    explorer.num_beams.value, explorer.length_penalty.value, explorer.step.value = beams, 1.0, step
    tree = searches[beams, 1.0].tree
    said = explorer.text()
    for node in tree:
        candidate = f"{sequence(tree, node)} ({node.total:.2f})"
        if node.step == step:
            part = said.partition(f"{node.state}: ")[2].partition(". ")[0]
            assert candidate in part
            prefix = [1]
            total = 0.0
            for word in sequence(tree, node).split():  # an oracle of its own: the log-probability, token by token
                log_probs = next_token(torch.tensor([prefix]))[0].double().log_softmax(0)
                total += log_probs[WORDS.index(word)].item()
                prefix.append(WORDS.index(word))
            assert total == pytest.approx(node.total, abs=1e-4)
    assert ("best: " in said) == (step >= max(node.step for node in tree))


def test_the_best_hypothesis_is_named(explorer, searches):
    best = searches[2, 1.0].best
    explorer.num_beams.value, explorer.length_penalty.value = 2, 1.0
    text = " ".join(WORDS[token] for token in best.ids)
    assert f"best: {text}, log-probability {best.log_prob:.2f}, score {best.score:.2f}" in explorer.text()
    assert math.isclose(best.score, best.log_prob / len(best.ids), rel_tol=1e-5)


def test_the_start_says_that_nothing_was_predicted(explorer):
    explorer.step.value = 0
    assert "nothing has been predicted yet" in explorer.text() and "kept" not in explorer.text()


@pytest.mark.parametrize(("control", "value"), [("step", 1), ("num_beams", 3), ("length_penalty", 1.0)])
def test_each_control_changes_the_picture(explorer, control, value):
    before = png_of(explorer)
    getattr(explorer, control).value = value
    assert png_of(explorer) != before
    assert "aria-live" in explorer.words.value


def test_no_search_runs_when_a_slider_moves(explorer, monkeypatch):
    monkeypatch.setattr("course_lib.decoding.beam_search", None)
    monkeypatch.setitem(globals(), "next_token", None)
    explorer.step.value, explorer.num_beams.value = 2, 3
    assert "Step 2" in explorer.text()


def test_controls_have_labels_and_stand_in_the_view(explorer):
    controls = [child for child in explorer.view.children if isinstance(child, ipywidgets.DOMWidget)]
    assert [control.description for control in controls[:3]] == ["step", "num_beams", "length_penalty"]
    assert explorer.picture in explorer.view.children and explorer.words in explorer.view.children


def test_bundle_has_a_static_form(explorer):
    bundle = explorer._repr_mimebundle_()
    assert set(bundle) == {VIEW, "image/png", "text/plain"}
    assert bundle["image/png"] == png(explorer.figure()), "two drawings of one state are the same bytes"


def test_bad_input(searches):
    with pytest.raises(ValueError, match="searches is empty"):
        widgets.BeamTree({}, WORDS)
    del searches[2, 1.0]
    with pytest.raises(ValueError, match=r"no search for .* = \(2, 1.0\)"):
        widgets.BeamTree(searches, WORDS)


def test_a_search_without_its_own_tree_is_refused(searches):
    searches[2, 0.0].tree[:] = [node._replace(state="dropped") for node in searches[2, 0.0].tree]
    with pytest.raises(LookupError, match="does not hold the best"):
        widgets.BeamTree(searches, WORDS)


def test_pyplot_keeps_no_figure(explorer):
    before = plt.get_fignums()
    explorer.figure()
    assert plt.get_fignums() == before


def test_it_is_loaded_only_when_named():
    program = (
        "import sys, course_lib.widgets as w; assert 'course_lib.widgets.beam_tree' not in sys.modules; "
        "w.BeamTree; assert 'course_lib.widgets.beam_tree' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


class TestFigure:
    def labels(self, ax):
        return [text.get_text() for text in ax.texts]

    def test_every_node_is_drawn_with_word_sign_and_number(self, searches):
        tree = searches[3, 0.0].tree
        labels = self.labels(plotting.beam_tree(tree, WORDS))
        assert len(labels) == len(tree) + 1 and labels[0] == "start"
        signs = {"kept": "", "finished": "■ ", "dropped": "× "}
        for node, label in zip(tree, labels[1:], strict=True):
            assert label == f"{signs[node.state]}{WORDS[node.token]}\n{node.total:.2f}".replace("-", "−")

    def test_until_hides_later_steps_and_moves_nothing(self, searches):
        tree = searches[3, 0.0].tree
        all_steps, two = plotting.beam_tree(tree, WORDS), plotting.beam_tree(tree, WORDS, until=2)
        shown = sum(node.step <= 2 for node in tree) + 1
        assert len(two.texts) == shown
        for one, other in zip(all_steps.texts, two.texts, strict=False):
            assert one.get_position() == other.get_position() and one.get_text() == other.get_text()
        assert all_steps.get_xlim() == two.get_xlim() and all_steps.get_ylim() == two.get_ylim()

    def test_more_probable_stands_higher_and_lines_lead_to_the_parent(self, searches):
        tree = searches[3, 0.0].tree
        ax = plotting.beam_tree(tree, WORDS)
        places = {node.id: text.get_position() for node, text in zip(tree, ax.texts[1:], strict=True)}
        places[-1] = ax.texts[0].get_position()
        for node, line in zip(tree, ax.lines, strict=True):
            assert list(zip(*line.get_data(), strict=True)) == [places[node.parent], places[node.id]]
            assert places[node.id][0] == node.step
        for one in tree:
            for other in tree:
                if one.step == other.step and one.total > other.total:
                    assert places[one.id][1] < places[other.id][1]

    def test_the_best_path_is_thick(self, searches):
        tree = searches[3, 0.0].tree
        last = max(tree, key=lambda node: node.step)
        ax = plotting.beam_tree(tree, WORDS, best=last.id)
        thick = [node.id for node, line in zip(tree, ax.lines, strict=True) if line.get_linewidth() > 2]
        path, node = [], last
        while node is not None:
            path.append(node.id)
            node = tree[node.parent] if node.parent >= 0 else None
        assert sorted(thick) == sorted(path)

    def test_bad_input(self, searches):
        tree = searches[2, 0.0].tree
        with pytest.raises(ValueError, match="no nodes"):
            plotting.beam_tree([], WORDS)
        with pytest.raises(ValueError, match=r"token \d of node \d+ has no word: there are 1"):
            plotting.beam_tree(tree, WORDS[:1])
        with pytest.raises(ValueError, match="state 'lost' of node 0"):
            plotting.beam_tree([tree[0]._replace(state="lost")], WORDS)
