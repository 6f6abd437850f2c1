"""The tokenizer playground of notebook 08: what it says is true, text and examples change it, nothing is injected."""

import html
import re

import matplotlib.pyplot as plt
import pytest

from course_lib import plotting, widgets
from course_lib.tokenizers import BPETokenizer, WordPieceTokenizer
from course_lib.widgets.display import VIEW
from course_lib.widgets.tokenizer_playground import EXAMPLES
from tests.pictures import without_warnings

TEXTS = ["the cat sat on the mat and the cats sat on the mats"] * 2
TOKENIZERS = {
    "BPE": BPETokenizer.train(TEXTS, 283, special_tokens=["<|end|>"]),
    "WordPiece": WordPieceTokenizer.train(TEXTS, 53),
}


@pytest.fixture(autouse=True)
def course_style():
    plotting.use_course_style()


@pytest.fixture
def playground():
    return widgets.TokenizerPlayground(TOKENIZERS, "The cats sat")


def shown(playground):
    """Token, id, start and end of each box, for each tokenizer."""
    box = r"<li[^>]*><code[^>]*>(.*?)</code><br><small>(\d+)</small><br><small>(\d+)-(\d+)</small></li>"
    parts = playground.pieces.value.split("<h4")[1:]
    return [
        [(html.unescape(token), int(id), int(a), int(b)) for token, id, a, b in re.findall(box, part, re.DOTALL)]
        for part in parts
    ]


@pytest.mark.parametrize("text", ["The cats sat", "", "café  中文 <b>&amp;</b> '\"", *EXAMPLES.values()])
def test_boxes_are_what_the_tokenizers_say(playground, text):
    playground.input.value = text
    for boxes, tokenizer in zip(shown(playground), TOKENIZERS.values(), strict=True):
        encoding = tokenizer.encode(text)
        expected = zip(encoding.tokens, encoding.ids, encoding.offsets, strict=True)
        assert boxes == [(token, id, start, end) for token, id, (start, end) in expected]
        assert f" {len(encoding)} tokens" in playground.text()


def test_words_count_characters_and_unknown_words(playground):
    assert playground.text().startswith("12 characters. BPE ")
    assert "[UNK]" not in playground.text()
    playground.input.value = "cat 中 q"
    assert "WordPiece 3 tokens, 2.3 characters each, 2 of them [UNK]" in playground.text()


def test_text_and_examples_change_boxes_and_words(playground):
    before = playground.pieces.value, playground.words.value
    playground.input.value = "mats"
    changed = playground.pieces.value, playground.words.value
    assert changed[0] != before[0] and changed[1] != before[1]
    playground.example.value = EXAMPLES["numbers"]
    assert playground.input.value == EXAMPLES["numbers"] and playground.pieces.value != changed[0]


def test_typed_markup_is_text(playground):
    playground.input.value = "<img src=x onerror=alert(1)> ' title='x"
    assert "<img" not in playground.pieces.value and "<img" not in playground.words.value
    inside = re.findall(r"title='([^']*)'", playground.pieces.value)
    assert len(inside) == sum(map(len, shown(playground)))


@without_warnings
@pytest.mark.parametrize("text", ["The cats sat", "", "中文 👩‍👧 \x00", *EXAMPLES.values()])
def test_static_form_and_no_figure_left_open(playground, text):
    before = plt.get_fignums()
    playground.input.value = text
    bundle = playground._repr_mimebundle_()
    assert set(bundle) == {VIEW, "image/png", "text/plain"}
    assert bundle["text/plain"] == playground.text() and bundle["image/png"].startswith(b"\x89PNG")
    assert playground._repr_mimebundle_()["image/png"] == bundle["image/png"]
    assert plt.get_fignums() == before


def test_figure_shows_every_piece(playground):
    (ax,) = playground.figure().axes
    drawn = [text.get_text() for text in ax.texts]
    for tokenizer in TOKENIZERS.values():
        encoding = tokenizer.encode("The cats sat")
        assert set(encoding.tokens) <= set(drawn) and set(map(str, encoding.ids)) <= set(drawn)


def test_controls_are_named_and_reached_by_keyboard(playground):
    named = [playground.example, playground.input]
    assert list(playground.view.children[:2]) == named
    assert all(control.description and not control.disabled for control in named)
    assert "aria-live" in playground.words.value


def test_no_tokenizer_is_refused():
    with pytest.raises(ValueError, match="pass at least one"):
        widgets.TokenizerPlayground({})
