"""The attention explorer in JupyterLab and headless Chromium: pointer, keyboard, speed, and a kernel that restarts."""

import re

import pytest

from tools import jupyterlab

pytestmark = pytest.mark.browser

LAYERS, HEADS, TOKENS = 6, 12, 24  # the size of MiniLM, with random weights: the test needs no model
CELL = f"""
import numpy as np
from course_lib import widgets

scores = 3 * np.random.default_rng(0).normal(size=({LAYERS}, {HEADS}, {TOKENS}, {TOKENS}))
weights = np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)
explorer = widgets.AttentionExplorer([f"word{{i}}" for i in range({TOKENS})], weights, [0] * 13 + [1] * 11, 1, 2, 3)
explorer
"""
GONE = "The kernel behind this explorer is gone"


@pytest.fixture(scope="module")
def shown(page, lab, lab_folder):
    """A page on which the explorer has been run."""
    jupyterlab.write_notebook(lab_folder / "attention.ipynb", CELL)
    jupyterlab.start_all(page, lab, "attention.ipynb")
    page.locator(".course-attention-words").wait_for(timeout=jupyterlab.RUN_MILLISECONDS)
    return page


def words(page):
    return page.locator(".course-attention-words").inner_text()


def token(page, side, place):
    return page.locator(f".course-attention-tokens.is-{side} li").nth(place)


def head(page, layer, head):
    return page.get_by_role("gridcell", name=f"layer {layer}, head {head}", exact=True)


def test_it_opens_with_its_choice(shown, tmp_path):
    assert words(shown).startswith("Layer 1, head 2: word3 looks at word")
    assert shown.locator(".course-attention-grid canvas").count() == LAYERS * HEADS
    numbers = shown.locator(".is-key .course-attention-number").all_inner_texts()
    assert sum(map(float, numbers)) == pytest.approx(1, abs=0.12)  # 24 numbers of two decimals
    assert shown.locator(".course-attention-notice").is_hidden()
    assert float(shown.locator(".course-attention").get_attribute("data-milliseconds")) > 0  # its last drawing
    shown.screenshot(path=tmp_path / "opened.png")


def test_pointing_at_a_token_shows_its_weights_and_leaving_it_shows_the_choice(shown):
    before, lines = words(shown), shown.locator(".course-attention svg line")
    drawn = lines.first.get_attribute("y1")
    token(shown, "query", 7).hover()
    assert words(shown).startswith("Layer 1, head 2: word7 looks at")
    assert lines.first.get_attribute("y1") != drawn
    token(shown, "key", 5).hover()
    assert words(shown).startswith("Layer 1, head 2: word5 is looked at by")
    shown.locator(".course-attention-help").hover()
    assert words(shown) == before


def test_a_head_is_chosen_by_pointer_and_by_keyboard(shown):
    head(shown, 4, 9).click()
    assert words(shown).startswith("Layer 4, head 9")
    for key, expected in (("ArrowUp", (3, 9)), ("ArrowLeft", (3, 8)), ("Home", (3, 0)), ("ArrowLeft", (3, 0)),
                          ("End", (3, 11)), ("ArrowDown", (4, 11))):  # fmt: skip
        shown.keyboard.press(key)
        assert words(shown).startswith("Layer {}, head {}:".format(*expected))
        assert head(shown, *expected).get_attribute("aria-selected") == "true"
        assert head(shown, *expected).evaluate("cell => cell === document.activeElement")
    assert shown.locator(".course-attention-grid button[tabindex='0']").count() == 1
    outline = head(shown, 4, 11).evaluate("cell => getComputedStyle(cell).outlineWidth")
    assert outline == "3px"


def test_tokens_are_chosen_by_keyboard(shown):
    shown.keyboard.press("Tab")  # from the grid to the menu, and on to the queries
    shown.keyboard.press("Tab")
    shown.keyboard.press("ArrowDown")
    assert words(shown).startswith("Layer 4, head 11: word4 looks at")
    shown.keyboard.press("ArrowRight")
    assert words(shown).startswith("Layer 4, head 11: word4 is looked at by")
    shown.keyboard.press("End")
    assert words(shown).startswith(f"Layer 4, head 11: word{TOKENS - 1} is looked at by")
    chosen = token(shown, "key", TOKENS - 1)
    assert chosen.get_attribute("aria-selected") == "true"


def test_a_pair_is_looked_at_one_sentence_at_a_time(shown):
    token(shown, "query", 2).click()
    shown.get_by_label("which sentence looks at which").select_option("ab")
    numbers = shown.locator(".is-key .course-attention-number").all_inner_texts()
    assert [bool(number) for number in numbers] == [False] * 13 + [True] * 11
    shown.get_by_label("which sentence looks at which").select_option("bb")
    assert words(shown).endswith("nothing in this choice")
    shown.get_by_label("which sentence looks at which").select_option("all")


def test_it_survives_a_restart_of_the_kernel_and_says_so(shown, tmp_path):
    shown.get_by_role("menuitem", name="Kernel", exact=True).click()
    shown.get_by_role("menuitem", name=re.compile("^Restart Kernel(…|[.]{3})")).click()
    shown.get_by_role("button", name="Confirm Kernel Restart").click()
    shown.get_by_text(GONE).wait_for()
    token(shown, "query", 0).click()
    head(shown, 0, 0).click()
    assert words(shown).startswith("Layer 0, head 0: word0 looks at")
    shown.screenshot(path=tmp_path / "restarted.png")
