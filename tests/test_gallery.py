"""The gallery's list of kinds: every function that draws has drawn something that a learner sees."""

import pytest

pytest.importorskip("sphinx", reason="the site's tools are not installed")

import course_sources
import gallery


def test_every_kind_of_figure_is_used_by_a_notebook():
    drawn = {name: set() for name in gallery.drawing_functions()}
    for notebook in course_sources.present():
        for names, caption in gallery.drawn_by(course_sources.stored(notebook)):
            for name in names & set(drawn):
                drawn[name].add(gallery.anchor(caption))
    assert {"architecture", "attention_arrows", "curves", "heatmap", "matrix_product"} <= set(drawn)
    assert not [name for name, figures in drawn.items() if not figures]  # what draws nothing is dead code
    assert "figure-05-1" in drawn["architecture"] and "figure-02-1" in drawn["matrix_product"]


def test_each_kind_is_described_by_one_sentence():
    for sentence in gallery.drawing_functions().values():
        assert sentence.startswith("Draw ") and "\n" not in sentence and len(sentence) < 120
