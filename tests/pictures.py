"""What an explorer shows, taken from the HTML of its live picture, and without a warning."""

import base64
import html
import re

import pytest

from course_lib.widgets.display import Explorer

without_warnings = pytest.mark.filterwarnings("error", "ignore:Deprecated in traitlets 4.1")  # ipywidgets 7, of itself

_PICTURE = re.compile(r"<img alt='([^']*)' style='[^']*' src='data:image/png;base64,([^']*)'>")


def shown(explorer: Explorer) -> tuple[str, bytes]:
    """Alternative text and PNG bytes of the live picture."""
    found = _PICTURE.fullmatch(explorer.picture.value)
    assert found, explorer.picture.value[:200]
    return html.unescape(found[1]), base64.b64decode(found[2])


def png_of(explorer: Explorer) -> bytes:
    """PNG bytes of the live picture."""
    return shown(explorer)[1]
