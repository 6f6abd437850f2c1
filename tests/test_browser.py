"""JupyterLab in headless Chromium: notebooks run there from top to bottom, and their explorers move."""

import pytest

from tools import jupyterlab
from tools.notebook_pipeline import twins

pytestmark = [
    pytest.mark.browser,
    pytest.mark.assets,
    pytest.mark.skipif(
        jupyterlab.CHROMIUM is None, reason="no Chromium on this computer: install the package chromium"
    ),
]


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    with jupyterlab.served(tmp_path_factory.mktemp("lab")) as address:
        yield address


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with jupyterlab.browser_page(tmp_path_factory.mktemp("browser")) as page:
        yield page


def move_slider(page):
    """Press the right arrow on the first slider and return the picture's address before and after."""
    handle = page.locator(".noUi-handle").first
    handle.scroll_into_view_if_needed()
    picture = page.locator(".widget-image, img.widget-image").first
    before = picture.get_attribute("src")
    handle.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("before => document.querySelector('img.widget-image').src !== before", arg=before)
    return before, picture.get_attribute("src")


def errors(page):
    return page.locator("[data-mime-type='application/vnd.jupyter.stderr'], .jp-RenderedText[data-mime-type*=error]")


def test_02_runs_and_its_slider_moves_the_picture(page, lab):
    jupyterlab.run_all(page, lab, "02_queries_keys_values.ipynb")
    assert errors(page).count() == 0
    assert page.locator(".noUi-handle").count() >= 1
    before, after = move_slider(page)
    assert before != after


@pytest.mark.slow
@pytest.mark.parametrize("twin", twins(), ids=lambda twin: twin.stem)
def test_every_notebook_runs(page, lab, twin):
    jupyterlab.run_all(page, lab, f"{twin.stem}.ipynb")
    assert errors(page).count() == 0
    assert page.get_by_text("Error displaying widget").count() == 0
    assert page.locator(".widget-radio-box").count() >= 1, "the quiz is not drawn"
