"""The figure of a text cut into pieces: every piece is drawn and readable, and no letter is missing from it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from course_lib import plotting

pytestmark = pytest.mark.filterwarnings("error")

ROWS = {"BPE": ["The", "Ġcat", "Ċ"], "WordPiece": ["the", "cat", "##s", "!"]}


@pytest.fixture(autouse=True)
def course_style():
    plotting.use_course_style()
    yield
    plt.close("all")


def texts(ax):
    return [text.get_text() for text in ax.texts]


def drawn(ax):
    """Render, so that a missing glyph warns, and return the boxes' extents."""
    ax.figure.canvas.draw()
    return [patch.get_window_extent() for patch in ax.patches]


def test_labels_pieces_and_notes_are_drawn():
    ax = plotting.token_pieces(ROWS, notes={"BPE": [504, 2644, 198]}, title="Two ways")
    assert len(drawn(ax)) == 7
    assert texts(ax) == ["BPE", "The", "504", "Ġcat", "2644", "Ċ", "198", "WordPiece", "the", "cat", "##s", "!"]
    assert ax.get_title(loc="left") == "Two ways"


def test_no_box_covers_another_and_every_text_fits():
    long = {"a row": [f"piece{i}" * (1 + i % 3) for i in range(40)], "another": ["x"] * 90}
    ax = plotting.token_pieces(long, notes={"a row": list(range(40))})
    boxes = drawn(ax)
    frame = ax.figure.bbox
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
    pieces = [text for text in ax.texts if text.get_text().startswith(("piece", "x"))]
    for text, box in zip(pieces, boxes, strict=True):
        extent = text.get_window_extent()
        assert box.x0 <= extent.x0 and extent.x1 <= box.x1
    assert len({round(box.y0) for box in boxes}) > 4  # several lines


def test_what_cannot_be_seen_is_written():
    ax = plotting.token_pieces({"text": [" a\n", "中", "\x00", "\u200d", "$x$", "é"]})
    drawn(ax)
    assert texts(ax) == ["text", "␣a⏎", "U+4E2D", "U+0000", "U+200D", "$x$", "é"]


def test_marked_pieces_have_another_colour_and_a_thicker_frame():
    ax = plotting.token_pieces(ROWS, highlight={"WordPiece": [1, 2]})
    widths = np.array([patch.get_linewidth() for patch in ax.patches])
    assert np.flatnonzero(widths > 1.5).tolist() == [4, 5]
    faces = [patch.get_facecolor() for patch in ax.patches]
    assert faces[4] == faces[5] and faces[4] not in (faces[3], faces[6])


def test_on_given_axes():
    figure, ax = plt.subplots()
    assert plotting.token_pieces(ROWS, ax=ax) is ax and figure.axes == [ax]


@pytest.mark.parametrize(
    ("rows", "keywords", "error", "message"),
    [
        ({}, {}, ValueError, "no pieces to draw"),
        ({"a": []}, {}, ValueError, "no pieces to draw"),
        (ROWS, {"notes": {"bpe": [1]}}, ValueError, "no row 'bpe'; the rows are 'BPE', 'WordPiece'"),
        (ROWS, {"highlight": {"x": [1]}}, ValueError, "no row 'x'"),
        (ROWS, {"notes": {"BPE": [1, 2]}}, ValueError, "'BPE' has 3 pieces and 2 notes"),
        (ROWS, {"highlight": {"BPE": [3]}}, IndexError, "piece 3 is outside the 3 pieces of 'BPE'"),
    ],
)
def test_bad_input(rows, keywords, error, message):
    with pytest.raises(error, match=message):
        plotting.token_pieces(rows, **keywords)
