"""What the tests in the browser share: one Chromium and one JupyterLab for the whole run."""

import pytest


@pytest.fixture(scope="session")
def chromium(tmp_path_factory):
    """The browser; a test opens pages in it."""
    from tools import jupyterlab  # here, since a quick test does without Playwright

    if jupyterlab.CHROMIUM is None:
        pytest.skip("no Chromium on this computer: install the package chromium")
    with jupyterlab.browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory):
    """Folder of the notebooks that JupyterLab serves; a test may add its own."""
    return tmp_path_factory.mktemp("lab") / "notebooks"


@pytest.fixture(scope="session")
def lab(lab_folder):
    """Address of a JupyterLab on a copy of the notebooks."""
    from tools import jupyterlab

    with jupyterlab.served(lab_folder.parent) as address:
        yield address


@pytest.fixture(scope="module")
def page(chromium, lab):
    """A page for the tests of one module; the kernels that they started end with it."""
    from tools import jupyterlab

    page = chromium.new_page()
    yield page
    page.close()
    jupyterlab.shut_down_kernels(lab)
