"""The tokenizer playground in JupyterLab and headless Chromium: typing and choosing change the pieces."""

import pytest

from course_lib.tokenizers import BPETokenizer, WordPieceTokenizer
from course_lib.widgets.tokenizer_playground import EXAMPLES
from tools import jupyterlab

pytestmark = pytest.mark.browser

TEXTS = ["the cat sat on the mat and the cats sat on the mats, 12 cats"]
CELL = f"""
from course_lib import widgets
from course_lib.tokenizers import BPETokenizer, WordPieceTokenizer

bpe, wordpiece = BPETokenizer.train({TEXTS}, 283), WordPieceTokenizer.train({TEXTS}, 60)
widgets.TokenizerPlayground({{"BPE": bpe, "WordPiece": wordpiece}})
"""
TYPED = "Cats <b>中</b> sat"


@pytest.fixture(scope="module")
def shown(page, lab, lab_folder):
    """A page on which the playground has been run."""
    jupyterlab.write_notebook(lab_folder / "playground.ipynb", CELL)
    jupyterlab.run_all(page, lab, "playground.ipynb")
    page.locator(".widget-html ol li").first.wait_for()
    return page


def boxes(page, row):
    """Token, id and offsets of each box in one row."""
    return [text.split("\n") for text in page.locator(".widget-html ol").nth(row).locator("li").all_inner_texts()]


def expected(tokenizer, text):
    encoding = tokenizer.encode(text)
    zipped = zip(encoding.tokens, encoding.ids, encoding.offsets, strict=True)
    return [[token, str(id), f"{start}-{end}"] for token, id, (start, end) in zipped]


def test_it_is_reached_by_keyboard_and_typing_changes_the_pieces(shown):
    examples = shown.locator(".widget-dropdown select")
    # The widget draws the blanks of a label as blanks that do not break.
    assert examples.evaluate("select => select.selectedOptions[0].label").replace("\xa0", " ") == "choose one"
    examples.focus()
    shown.keyboard.press("Tab")
    assert shown.evaluate("document.activeElement.tagName") == "TEXTAREA"
    shown.keyboard.press("Control+A")
    shown.keyboard.type(TYPED)
    shown.get_by_role("status").get_by_text(f"{len(TYPED)} characters.").wait_for()
    assert boxes(shown, 0) == expected(BPETokenizer.train(TEXTS, 283), TYPED)
    assert boxes(shown, 1) == expected(WordPieceTokenizer.train(TEXTS, 60), TYPED)
    assert "中" in shown.locator(".widget-html li[title*='中']").first.get_attribute("title")


def test_an_example_can_be_chosen(shown):
    shown.locator(".widget-dropdown select").select_option(label="numbers")
    shown.get_by_role("status").get_by_text(f"{len(EXAMPLES['numbers'])} characters.").wait_for()
    assert shown.locator(".widget-textarea textarea").input_value() == EXAMPLES["numbers"]
    assert boxes(shown, 1) == expected(WordPieceTokenizer.train(TEXTS, 60), EXAMPLES["numbers"])
