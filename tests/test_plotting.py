"""Figures: what they show, whether it can be read, by colour-blind readers and in print too."""

import base64
import io
import itertools
import subprocess
import sys
from typing import NamedTuple

import matplotlib
import matplotlib.pyplot as plt
import nbclient
import nbformat
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex, to_rgb
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.patches import FancyArrowPatch, Rectangle

from course_lib import plotting
from course_lib.decoding import Node
from course_lib.layers import EncoderBlock

pytestmark = pytest.mark.filterwarnings("error")

SENTENCE = ["The", "cat", "sat", "on", "the", "mat"]
LONG_WORDS = [
    "transformers", "internationalisation", "a", "[SEP]", "antidisestablishmentarianism", "##ing", "$5 and $6",
    "revolutionary", "MMMMMMMMMMMMMMMMMMMM", "is", "line\nbreak",
]  # fmt: skip


class Bins(NamedTuple):
    edges: list
    counts: list
    confidence: list
    accuracy: list


TREE = [
    Node(0, -1, 1, 0, -0.7, -0.7, -0.7, "kept"),
    Node(1, -1, 1, 1, -1.2, -1.2, -1.2, "dropped"),
    Node(2, 0, 2, 1, -0.4, -1.1, -0.55, "finished"),
]
BLOCK = EncoderBlock(4, 2, 8)
ONE_ANSWER = Bins([0, 0.5, 1], [0, 1], [np.nan, 0.9], [np.nan, 1.0])


@pytest.fixture(autouse=True)
def course_style(monkeypatch):
    def no_show(*_, **__):
        raise AssertionError("the library showed a figure")

    matplotlib.use("Agg")
    monkeypatch.setattr(plt, "show", no_show)
    with matplotlib.rc_context():
        plotting.use_course_style()
        yield
    plt.close("all")


def weights(rows, columns, seed=0):
    scores = np.random.default_rng(seed).normal(size=(rows, columns))
    return np.exp(scores) / np.exp(scores).sum(-1, keepdims=True)


def long_labels(n):
    return list(itertools.islice(itertools.cycle(LONG_WORDS), n))


def drawn_texts(ax):
    return [text.get_text() for text in ax.texts]


def boxes(artists):
    return [artist.get_window_extent() for artist in artists if artist.get_text()]


def overlapping(artists):
    return [(a, b) for a, b in itertools.combinations(boxes(artists), 2) if a.overlaps(b)]


# --- colour ----------------------------------------------------------------------------------------------------

# Machado, Oliveira and Fernandes (2009), severity 1.0, acting on linear RGB.
MACHADO = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
SRGB_TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
# A difference of about 2.3 is just noticeable; lines and bars are small, so ten times that. In grey, markers help.
LEAST_DISTANCE, LEAST_GREY_DISTANCE = 23.0, 8.0


def linear_rgb(colour):
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def cielab(linear):
    t = SRGB_TO_XYZ @ linear / SRGB_TO_XYZ.sum(axis=1)
    f = np.where(t > (6 / 29) ** 3, np.cbrt(t), t / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def seen(colour, vision):
    """CIELAB coordinates of a colour as seen; in grey, only the lightness is left."""
    linear = linear_rgb(colour)
    if vision == "grey":
        return cielab(linear) * [1, 0, 0]
    if vision == "normal":
        return cielab(linear)
    return cielab(np.clip(MACHADO[vision] @ linear, 0, 1))


def least_distance(colours, vision):
    points = [seen(colour, vision) for colour in colours]
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(points, 2))


@pytest.mark.parametrize("vision", ["normal", *MACHADO, "grey"])
def test_palette_is_told_apart_by_everyone(vision):
    least = LEAST_GREY_DISTANCE if vision == "grey" else LEAST_DISTANCE
    assert len(plotting.COLOURS) == 6
    assert least_distance(plotting.COLOURS, vision) > least
    assert min(np.linalg.norm(seen(c, vision) - seen("white", vision)) for c in plotting.COLOURS) > 2 * least / 3


def test_the_simulation_does_confuse_what_dichromats_confuse():
    assert least_distance(["#D62728", "#2CA02C"], "normal") > 100
    assert least_distance(["#D62728", "#2CA02C"], "deuteranopia") < LEAST_DISTANCE * 2
    default_cycle = [f"C{i}" for i in range(6)]
    with matplotlib.rc_context():
        matplotlib.style.use("default")
        colours = [to_hex(c) for c in default_cycle]
    assert least_distance(colours, "deuteranopia") < LEAST_DISTANCE
    assert least_distance(colours, "grey") < LEAST_GREY_DISTANCE
    for matrix in MACHADO.values():  # white stays white
        np.testing.assert_allclose(np.sum(matrix, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize("vision", ["normal", *MACHADO, "grey"])
def test_weights_get_steadily_darker(vision):
    cmap = matplotlib.colormaps[plotting.WEIGHTS_COLOURMAP]
    lightness = np.array([seen(cmap(x), vision)[0] for x in np.linspace(0, 1, 33)])
    steps = -np.diff(lightness)
    assert lightness[0] > 95 and lightness[-1] < 30
    assert steps.min() > 0.4 and steps.max() < 3 * steps.mean()


@pytest.mark.parametrize("vision", ["normal", *MACHADO])
def test_signs_of_scores_are_told_apart(vision):
    cmap = matplotlib.colormaps[plotting.SCORES_COLOURMAP]
    lightness = [seen(cmap(x), vision)[0] for x in np.linspace(0, 1, 33)]
    assert np.all(np.diff(lightness[:17]) > 0) and np.all(np.diff(lightness[16:]) < 0)
    for distance_from_zero in (0.2, 0.3, 0.4):
        assert least_distance([cmap(0.5 - distance_from_zero), cmap(0.5 + distance_from_zero)], vision) > LEAST_DISTANCE


# --- style -----------------------------------------------------------------------------------------------------


def test_style_starts_from_the_defaults_whatever_was_set():
    plt.rcParams["lines.linewidth"] = 17
    plt.rcParams["axes.labelpad"] = 99
    plotting.use_course_style()
    assert plt.rcParams["figure.dpi"] == 100
    assert plt.rcParams["lines.linewidth"] == 2.0
    assert plt.rcParams["axes.labelpad"] == matplotlib.rcParamsDefault["axes.labelpad"]
    assert plt.rcParams["axes.prop_cycle"].by_key()["color"] == list(plotting.COLOURS)


def test_module_needs_no_torch_and_no_model():
    code = (
        "import sys, course_lib.plotting;"
        "loaded = [m for m in sys.modules if m.split('.')[0] in ('torch', 'transformers') or"
        " m.startswith('course_lib.') and not m.startswith('course_lib.plotting')];"
        "assert not loaded, loaded"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def png(ax):
    buffer = io.BytesIO()
    ax.figure.savefig(buffer, metadata={"Software": None})
    return buffer.getvalue()


FIGURES = {
    "architecture": lambda: plotting.architecture(BLOCK, torch.zeros(2, 3, 4), title="title"),
    "heatmap": lambda: plotting.heatmap(weights(5, 7), list("abcde"), list("ABCDEFG"), title="title"),
    "matrix_product": lambda: plotting.matrix_product(np.ones((2, 3)), np.ones((3, 5)), title="title"),
    "attention_arrows": lambda: plotting.attention_arrows(2, SENTENCE, weights(1, 6)[0], title="title"),
    "bars": lambda: plotting.bars([0.2, 0.8], ["no", "yes"], title="title"),
    "curves": lambda: plotting.curves(range(5), {"a": range(5), "b": np.ones((3, 5))}, title="title"),
    "reliability": lambda: plotting.reliability(ONE_ANSWER, title="title"),
    "beam_tree": lambda: plotting.beam_tree(TREE, ["$a$", "b"], best=2, title="title"),
    "token_pieces": lambda: plotting.token_pieces({"BPE": LONG_WORDS}, notes={"BPE": range(11)}, title="title"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_two_drawings_are_the_same_bytes(name):
    first, second = png(FIGURES[name]()), png(FIGURES[name]())
    assert first == second
    assert b"Software" not in first


@pytest.mark.parametrize("name", FIGURES)
def test_figures_have_their_title_fit_a_laptop_and_hold_all_their_text(name):
    ax = FIGURES[name]()
    ax.figure.draw_without_rendering()
    assert ax.get_title(loc="left") == "title"
    width, height = ax.figure.get_size_inches()
    assert 3 < width < 10 and 1 < height < 9
    canvas = ax.figure.bbox
    for box in boxes([ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label, *ax.texts]):
        assert canvas.x0 <= box.x0 and canvas.y0 <= box.y0 and box.x1 <= canvas.x1 and box.y1 <= canvas.y1


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plotting.architecture(BLOCK, torch.zeros(2, 3, 4), ax=ax),
        lambda ax: plotting.heatmap(weights(3, 5), ax=ax),
        lambda ax: plotting.matrix_product(np.eye(2), np.eye(2), ax=ax),
        lambda ax: plotting.attention_arrows(0, ["a", "b"], [0.5, 0.5], ax=ax),
        lambda ax: plotting.bars([1], ["a"], ax=ax),
        lambda ax: plotting.curves([1, 2], {"a": [1, 2]}, ax=ax),
        lambda ax: plotting.reliability(ONE_ANSWER, ax=ax),
        lambda ax: plotting.beam_tree(TREE, ["a", "b"], ax=ax),
        lambda ax: plotting.token_pieces({"BPE": ["a", "b"]}, ax=ax),
    ],
)
def test_every_figure_can_be_drawn_on_given_axes(draw):
    _, (ax, _) = plt.subplots(1, 2)
    assert draw(ax) is ax
    assert len(plt.get_fignums()) == 1


def test_title_of_several_panels_stands_above_them_at_the_left_within_the_figure():
    figure, panels = plt.subplots(1, 2, figsize=(9, 4))
    for ax, name in zip(panels, ("one", "two"), strict=True):
        plotting.heatmap(weights(6, 6), SENTENCE, SENTENCE, ax=ax, title=name)
    plotting.figure_title(figure, "A long title that says what there is to see in all of the panels " * 3)
    figure.draw_without_rendering()
    title = figure._suptitle.get_window_extent()
    assert figure._suptitle.get_fontsize() == plt.rcParams["axes.titlesize"]
    assert "\n" in figure._suptitle.get_text()
    assert 0 < title.x0 < 20 and title.x1 <= figure.bbox.x1 and title.y1 <= figure.bbox.y1
    assert not overlapping([figure._suptitle, *(label for ax in panels for label in heatmap_labels(ax))])


def test_notebook_stores_the_same_picture_twice_without_the_software_that_wrote_it():
    draw = "plotting.bars([0.25, 0.75], ['a', 'b'], title='t');"
    cells = ["from course_lib import plotting\nplotting.use_course_style()", draw, draw]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    pictures = [
        base64.b64decode(output.data["image/png"])
        for cell in notebook.cells
        for output in cell.outputs
        if "image/png" in output.get("data", {})
    ]
    assert len(pictures) == 2 and pictures[0] == pictures[1]
    assert b"Software" not in pictures[0]


# --- heatmap ---------------------------------------------------------------------------------------------------


def heatmap_labels(ax):
    return [*ax.get_xticklabels(), *ax.get_yticklabels(), ax._left_title, ax.xaxis.label, ax.yaxis.label]


def every_size(quick):
    """All numbers of tokens from 2 to 40, of which only `quick` are tried in the quick tests."""
    return [n if n in quick else pytest.param(n, marks=pytest.mark.slow) for n in range(2, 41)]


@pytest.mark.parametrize("n", every_size({2, 5, 12, 19, 31, 40}))
@pytest.mark.parametrize("words", [["a", "of", "the", "##s", "."], LONG_WORDS], ids=["short", "long"])
def test_labels_never_overlap(words, n):
    labels = list(itertools.islice(itertools.cycle(words), n))
    ax = plotting.heatmap(weights(n, n), labels, labels, title="A long title that says what there is to see " * 2)
    ax.figure.draw_without_rendering()
    assert len(ax.get_xticklabels()) == len(ax.get_yticklabels()) == n
    assert not overlapping(heatmap_labels(ax))
    canvas = ax.figure.bbox
    for box in boxes(heatmap_labels(ax)):
        assert canvas.x0 <= box.x0 and canvas.y0 <= box.y0 and box.x1 <= canvas.x1 and box.y1 <= canvas.y1
    assert ax.figure.get_figwidth() < 10
    assert min(label.get_fontsize() for label in ax.get_xticklabels()) >= 7


@pytest.mark.parametrize("n", every_size({2, 7, 12, 13, 40}))
@pytest.mark.parametrize("scale", [1, -1000])
def test_numbers_never_leave_their_cells(scale, n):
    matrix = scale * weights(n, n)
    for values in (None, True):
        ax = plotting.heatmap(matrix, values=values)
        ax.figure.draw_without_rendering()
        assert len(ax.texts) == (n * n if values or n <= 12 else 0)
        area = ax.get_window_extent()
        for (row, column), box in zip(np.ndindex(n, n), boxes(ax.texts), strict=False):
            left, top = area.x0 + column * area.width / n, area.y1 - row * area.height / n
            assert left <= box.x0 and box.x1 <= left + area.width / n + 0.5
            assert top - area.height / n - 0.5 <= box.y0 and box.y1 <= top + 0.5
        plt.close(ax.figure)


@pytest.mark.parametrize(("rows", "columns", "n"), [(1, 4, 37), (2, 2, 23), (3, 4, 8)])
def test_labels_do_not_overlap_in_a_grid_of_heads(rows, columns, n):
    figure, grid = plt.subplots(rows, columns, figsize=(9, 4 if rows == 1 else 9))
    for ax in grid.flat:
        plotting.heatmap(weights(n, n), long_labels(n), long_labels(n), ax=ax, title="head", colour_bar=False)
    figure.draw_without_rendering()
    every_label = [label for ax in grid.flat for label in heatmap_labels(ax)]
    assert not overlapping(every_label)
    for ax in grid.flat:
        assert ax.get_window_extent().width > 0.12 * figure.bbox.width  # the labels left room for the cells


def test_short_labels_stay_horizontal_and_long_ones_are_turned():
    short = plotting.heatmap(weights(6, 6), SENTENCE, SENTENCE)
    long = plotting.heatmap(weights(12, 12), long_labels(12), long_labels(12))
    assert {label.get_rotation() for label in short.get_xticklabels()} == {0}
    assert {label.get_rotation() for label in long.get_xticklabels()} == {90}


def test_more_than_forty_tokens_are_labelled_at_regular_distances():
    tokens = [f"t{i}" for i in range(90)]
    ax = plotting.heatmap(weights(90, 90), tokens, tokens)
    ax.figure.draw_without_rendering()
    assert [label.get_text() for label in ax.get_xticklabels()] == tokens[::3]
    assert not overlapping(heatmap_labels(ax))


def test_labels_show_dollars_line_breaks_and_the_start_of_very_long_words():
    labels = ["$x$", "a\nb", "M" * 60]
    ax = plotting.heatmap(weights(3, 3), labels, labels)
    ax.figure.draw_without_rendering()
    texts = [label.get_text() for label in ax.get_yticklabels()]
    assert texts == ["$x$", "a\\nb", "M" * 23 + "…"]
    assert not ax.get_yticklabels()[0].get_parse_math()


@pytest.mark.parametrize("diverging", [False, True])
def test_numbers_are_those_of_the_matrix_and_contrast_with_their_cells(diverging):
    matrix = 4 * weights(5, 7) - (0.6 if diverging else 0.0)
    ax = plotting.heatmap(matrix, diverging=diverging)
    assert [float(t.replace("−", "-")) for t in drawn_texts(ax)] == pytest.approx(matrix.ravel(), abs=0.00501)
    image = ax.images[0]
    for text, colour in zip(ax.texts, image.to_rgba(image.get_array()).reshape(-1, 4), strict=True):
        lighter, darker = sorted(
            (np.dot(SRGB_TO_XYZ[1], linear_rgb(c)) + 0.05 for c in (text.get_color(), colour)), reverse=True
        )
        assert lighter / darker > 4.5  # WCAG AA for text


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        ([[0, 1], [2, -3]], ["0", "1", "2", "−3"]),
        ([[True, False]], ["1", "0"]),
        ([[0.5, -0.001]], ["0.50", "0.00"]),
        ([[12.34, 5.0]], ["12.3", "5.0"]),
        ([[123.4, 5.0]], ["123", "5"]),
        ([[0.0123, 0.001]], ["0.012", "0.001"]),
        ([[np.nan, 0.5, np.inf, -np.inf]], ["NaN", "0.50", "∞", "−∞"]),
        ([[np.nan]], ["NaN"]),
    ],
)
def test_numbers_have_as_many_digits_as_tell_something(matrix, expected):
    assert drawn_texts(plotting.heatmap(matrix)) == expected


def test_numbers_are_left_out_where_they_could_not_be_read():
    assert not plotting.heatmap(weights(13, 13)).texts
    assert len(plotting.heatmap(weights(13, 13), values=True).texts) == 169
    assert not plotting.heatmap(weights(3, 3), values=False).texts
    _, grid = plt.subplots(3, 4, figsize=(9, 7))
    assert not plotting.heatmap(weights(12, 12), ax=grid[0, 0]).texts
    assert plotting.heatmap(weights(3, 3), ax=grid[0, 1]).texts


def test_numbers_fit_their_cells():
    for ax in (
        plotting.heatmap(-1000 * weights(12, 12)),
        plotting.heatmap(weights(6, 6), ax=plt.subplots(1, 2, figsize=(9, 4))[1][0]),
    ):
        ax.figure.draw_without_rendering()
        columns = ax.images[0].get_array().shape[1]
        widest = max(box.width for box in boxes(ax.texts))
        assert widest < ax.get_window_extent().width / columns


def test_mask_hatches_what_may_not_be_attended_to():
    mask = np.tril(np.ones((5, 5), dtype=bool))
    matrix = np.where(mask, 0.25, 99.0)
    ax = plotting.heatmap(matrix, mask=mask)
    (hatched,) = ax.collections
    assert hatched.get_hatch() and len(hatched.get_paths()) == 10
    centres = {tuple(path.vertices[:4].mean(axis=0)) for path in hatched.get_paths()}
    assert centres == {(column, row) for row, column in np.argwhere(~mask)}
    assert drawn_texts(ax) == ["0.25"] * 15
    assert ax.images[0].norm.vmax == 0.25  # what is masked does not stretch the colours
    key_mask = plotting.heatmap(weights(3, 5), mask=[[True, True, True, False, False]])
    assert len(key_mask.collections[0].get_paths()) == 6


@pytest.mark.parametrize(
    ("matrix", "options", "expected"),
    [
        ([[0.2, 0.7]], {}, (0.0, 0.7)),
        ([[-1.0, 3.0]], {}, (-1.0, 3.0)),
        ([[-1.0, 3.0]], {"diverging": True}, (-3.0, 3.0)),
        ([[-5.0, 3.0]], {"diverging": True}, (-5.0, 5.0)),
        ([[0.2, 0.7]], {"vmin": 0.1, "vmax": 1.0}, (0.1, 1.0)),
        ([[0.0, 0.0]], {}, (0.0, 1.0)),
        ([[0.0, 0.0]], {"diverging": True}, (-1.0, 1.0)),
        ([[np.nan, np.inf]], {}, (0.0, 1.0)),
    ],
)
def test_range_of_the_colours(matrix, options, expected):
    norm = plotting.heatmap(matrix, **options).images[0].norm
    assert (norm.vmin, norm.vmax) == expected


def test_colour_bar_names_what_it_measures():
    assert plotting.heatmap(weights(2, 3)).child_axes[0].get_ylabel() == "weight"
    assert plotting.heatmap(weights(2, 3), diverging=True).child_axes[0].get_ylabel() == "score"
    assert plotting.heatmap(weights(2, 3), colour_label="bits").child_axes[0].get_ylabel() == "bits"
    assert not plotting.heatmap(weights(2, 3), colour_bar=False).child_axes


def test_tensors_are_taken():
    matrix = torch.tensor([[0.25, 0.75], [1.0, 0.0]])
    ax = plotting.heatmap(matrix, mask=matrix > 0)
    assert drawn_texts(ax) == ["0.25", "0.75", "1.00"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plotting.heatmap(np.zeros((2, 3, 5))), ValueError, r"matrix has shape \[2, 3, 5\].*weights\[0, 0\]"),
        (lambda: plotting.heatmap(np.zeros((0, 5))), ValueError, r"matrix of shape \[0, 5\] has no cells"),
        (lambda: plotting.heatmap(np.zeros((2, 3)), "abc"), ValueError, "row_labels has 3 labels for 2 places"),
        (
            lambda: plotting.heatmap(np.zeros((2, 3)), column_labels="ab"),
            ValueError,
            "column_labels has 2 labels for 3 places",
        ),
        (
            lambda: plotting.heatmap(np.zeros((2, 3)), mask=np.ones((2, 3))),
            TypeError,
            "mask has dtype float64; pass a boolean mask, True = may attend",
        ),
        (
            lambda: plotting.heatmap(np.zeros((2, 3)), mask=np.ones((3, 2), dtype=bool)),
            ValueError,
            r"mask of shape \[3, 2\] does not broadcast to \[2, 3\]",
        ),
        (
            lambda: plotting.matrix_product(np.ones((2, 3)), np.ones((5, 7))),
            ValueError,
            r"a of shape \[2, 3\] has 3 columns and b of shape \[5, 7\] has 5 rows",
        ),
        (
            lambda: plotting.matrix_product(np.ones((2, 12)), np.ones((12, 7))),
            ValueError,
            r"shapes \[2, 12\] and \[12, 7\] need 1 to 18 cells",
        ),
        (
            lambda: plotting.matrix_product(np.eye(2), np.eye(2), row=2),
            IndexError,
            r"row=2 is outside the product of shape \[2, 2\]",
        ),
        (lambda: plotting.matrix_product([1, 2], [[1], [2]]), ValueError, r"a has shape \[2\]"),
        (
            lambda: plotting.attention_arrows("the", ["the", "cat", "the"], [0.1, 0.2, 0.7]),
            ValueError,
            r"query_token 'the' occurs at positions \[0, 2\]; pass the position",
        ),
        (
            lambda: plotting.attention_arrows("dog", ["the", "cat"], [0.1, 0.9]),
            ValueError,
            r"query_token 'dog' occurs nowhere in \['the', 'cat'\]",
        ),
        (
            lambda: plotting.attention_arrows(3, ["a", "b"], [0.1, 0.9]),
            IndexError,
            "query_token=3 is outside the 2 tokens",
        ),
        (
            lambda: plotting.attention_arrows(0, ["a", "b"], [0.1, 0.2, 0.7]),
            ValueError,
            "tokens has 2 labels for 3 places",
        ),
        (
            lambda: plotting.attention_arrows(0, ["a", "b"], [3.1, -2.0]),
            ValueError,
            r"weights \[3\.1, -2\.0\] are not all from 0 to 1; pass softmax weights",
        ),
        (lambda: plotting.attention_arrows(0, ["a", "b"], [0.1, np.nan]), ValueError, "not all from 0 to 1"),
        (lambda: plotting.bars([0.1, 0.9], ["a"]), ValueError, "labels has 1 labels for 2 places"),
        (lambda: plotting.bars([], []), ValueError, "at least one"),
        (lambda: plotting.bars([np.inf], ["a"]), ValueError, r"values \[inf\] cannot be drawn as bars"),
        (lambda: plotting.bars([1.0], ["a"], highlight=1), IndexError, "highlight=1 is outside the 1 bars"),
        (lambda: plotting.bars([1.0], ["a"], spread=[-1.0]), ValueError, r"spread \[-1\.0\] needs one number"),
        (lambda: plotting.bars([1.0], ["a"], spread=[1.0, 2.0]), ValueError, "for each of the 1 values"),
        (lambda: plotting.curves([1, 2], {}), ValueError, "0 series: curves tells 1 to 6 apart"),
        (lambda: plotting.curves([1], {str(i): [i] for i in range(7)}), ValueError, "7 series"),
        (
            lambda: plotting.curves([1, 2, 3], {"loss": [1, 2]}),
            ValueError,
            r"series 'loss' has shape \[2\]; x needs \[3\] or \[seeds, 3\]",
        ),
        (lambda: plotting.curves([1, 2], {"a": np.zeros((0, 2))}), ValueError, r"series 'a' has shape \[0, 2\]"),
        (
            lambda: plotting.curves([1, 2], {"loss": [0.5, -0.25]}, log_y=True),
            ValueError,
            "log_y=True needs positive values; 'loss' holds -0.25",
        ),
        (lambda: plotting.curves([0, 2], {"a": [1, 2]}, log_x=True), ValueError, "log_x=True .*'x' holds 0"),
        (
            lambda: plotting.curves([1, 2], {"a": [1, 2]}, references={"chance": 0}, log_y=True),
            ValueError,
            "'chance' holds 0",
        ),
        (lambda: plotting.reliability(ONE_ANSWER._replace(counts=[1])), ValueError, "3 edges, 1 counts"),
    ],
)
def test_errors_name_the_value(call, error, message):
    with pytest.raises(error, match=message):
        call()
    assert not plt.get_fignums()  # and leave no figure behind


# --- matrix product --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("row", "column"), [(0, 0), (1, 2), (4, 1)])
def test_the_arithmetic_written_out_is_right(row, column):
    a = np.random.default_rng(0).integers(-3, 4, size=(5, 7))
    b = np.random.default_rng(1).integers(-3, 4, size=(7, 3))
    ax = plotting.matrix_product(a, b, row=row, column=column, names=("Q", "Kᵀ", "QKᵀ"))
    (line,) = [text for text in drawn_texts(ax) if "=" in text]
    name, terms, result = line.replace("\n", " ").replace("·", "*").replace("−", "-").split(" = ")
    assert name == f"QKᵀ[{row}, {column}]"
    assert eval(terms) == int(result) == int(a[row] @ b[:, column])
    assert terms.count("*") == 7


def test_product_holds_every_number_and_marks_one_row_and_column():
    a, b = np.arange(6).reshape(2, 3), np.arange(15).reshape(3, 5)
    ax = plotting.matrix_product(a, b, row=1, column=2, row_labels=["r0", "r1"], column_labels=list("vwxyz"))
    numbers = [text for text in drawn_texts(ax) if text.isdigit()]
    assert numbers == [str(x) for matrix in (a, b, a @ b) for x in matrix.ravel()]
    bold = [text.get_text() for text in ax.texts if text.get_fontweight() == "bold"]
    assert bold[:7] == ["3", "4", "5", "2", "7", "12", str((a @ b)[1, 2])]
    assert bold[7:] == ["r1", "x", "A", "B", "AB"]
    tinted = [p for p in ax.patches if isinstance(p, Rectangle) and to_hex(p.get_facecolor()) not in ("#ffffff",)]
    assert sum(p.get_fill() and p.get_facecolor()[3] > 0 for p in tinted) == 7


def test_product_without_a_marked_entry():
    ax = plotting.matrix_product(np.eye(2), np.eye(2), row=None, column=None)
    assert not any("=" in text for text in drawn_texts(ax))
    assert [t.get_text() for t in ax.texts if t.get_fontweight() == "bold"] == ["A", "B", "AB"]


@pytest.mark.parametrize("scale", [1, 1000.5])
def test_texts_of_a_product_do_not_overlap(scale):
    a = scale * np.random.default_rng(0).normal(size=(6, 4))
    ax = plotting.matrix_product(a, a.T, row=2, column=1, row_labels=SENTENCE, column_labels=SENTENCE, title="t")
    ax.figure.draw_without_rendering()
    assert not overlapping([*ax.texts, ax._left_title])


# --- arrows ----------------------------------------------------------------------------------------------------


def test_arrows_are_as_thick_as_their_weights():
    row = np.array([0.05, 0.4, 0.125, 0.3, 0.0, 0.125])
    ax = plotting.attention_arrows("sat", SENTENCE, row, title="t")
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == 4  # none for no weight, a ring for the word itself
    assert [round((arrow.get_linewidth() - 0.6) / 6, 6) for arrow in arrows] == [0.05, 0.4, 0.3, 0.125]
    (ring,) = ax.lines
    assert round((ring.get_markeredgewidth() - 0.6) / 6, 6) == 0.125
    assert drawn_texts(ax)[0::2] == SENTENCE
    assert [float(t) for t in drawn_texts(ax)[1::2]] == pytest.approx(row, abs=0.00501)
    assert [t.get_text() for t in ax.texts if t.get_fontweight() == "bold"] == ["0.40"]
    boxed = [text.get_text() for text in ax.texts if text.get_bbox_patch() is not None]
    assert boxed == ["sat"]


@pytest.mark.parametrize("n", [1, 3, 15])
def test_words_of_a_sentence_do_not_overlap(n):
    words = ["internationalisation", "a", "cat", "tokeniser", "on"] * 3
    ax = plotting.attention_arrows(n - 1, words[:n], np.full(n, 1 / n), title="title")
    ax.figure.draw_without_rendering()
    assert not overlapping([*ax.texts, ax._left_title])
    for arrow in ax.patches:
        assert arrow.get_window_extent().y1 <= ax.get_window_extent().y1 + 1


@pytest.mark.parametrize("size", [(7, 6.4), (4, 6), (9, 4)])
def test_arcs_and_words_stay_inside_given_axes(size):
    figure, panels = plt.subplots(3, 1, figsize=size)
    for ax in panels:
        plotting.attention_arrows(2, SENTENCE, weights(1, 6)[0], ax=ax, title="head")
    figure.draw_without_rendering()
    assert not overlapping([text for ax in panels for text in [*ax.texts, ax._left_title]])
    for ax in panels:
        frame = ax.get_window_extent()
        for arrow in (patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)):
            box = arrow.get_window_extent()
            assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and box.y1 <= frame.y1 + 1


# --- bars ------------------------------------------------------------------------------------------------------


def test_bars_say_their_numbers_beside_them_and_inside_the_axes():
    values = [2.1, -0.7, np.nan, 0.3, 0.0]
    ax = plotting.bars(values, list("abcde"), spread=[0.2, 0.5, 0.0, 0.9, 0.0], highlight=3, xlabel="logit")
    ax.figure.draw_without_rendering()
    assert drawn_texts(ax) == ["2.10", "−0.70", "NaN", "0.30", "0.00"]
    assert [patch.get_width() for patch in ax.patches] == [2.1, -0.7, 0.0, 0.3, 0.0]
    frame = ax.get_window_extent()
    for text, value, spread in zip(ax.texts, values, [0.2, 0.5, 0.0, 0.9, 0.0], strict=True):
        box = text.get_window_extent()
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1
        if value < 0:
            assert box.x1 <= ax.transData.transform((value - spread, 0))[0]
        elif value > 0:
            assert box.x0 >= ax.transData.transform((value + spread, 0))[0]
    colours = [to_hex(patch.get_facecolor()) for patch in ax.patches]
    assert colours.count(plotting.ORANGE.lower()) == 1 and colours[3] == plotting.ORANGE.lower()
    tops = [label.get_window_extent().y0 for label in ax.get_yticklabels()]
    assert tops == sorted(tops, reverse=True)  # the first label is on top


def test_all_negative_and_all_zero_bars_can_be_drawn():
    assert plotting.bars([-2.5, -1.0], ["a", "b"]).get_xlim()[0] < -2.5
    low, high = plotting.bars([0.0, 0.0], ["a", "b"]).get_xlim()
    assert low == 0.0 and high > 0


# --- curves ----------------------------------------------------------------------------------------------------


def test_curves_draw_means_and_bands_over_seeds():
    table = np.array([[1.0, 2.0, np.nan, 8.0], [3.0, 4.0, np.nan, 4.0], [8.0, 3.0, np.nan, np.nan]])
    ax = plotting.curves([1, 2, 3, 4], {"three seeds": table, "one": [1, 2, 3, 4]})
    first, second = ax.lines
    drawn = np.ma.filled(np.ma.masked_invalid(first.get_ydata()), np.nan)
    np.testing.assert_allclose(drawn, [4.0, 3.0, np.nan, 6.0])
    assert second.get_ydata().tolist() == [1, 2, 3, 4]
    (band,) = ax.collections
    corners = {tuple(vertex) for path in band.get_paths() for vertex in path.vertices}
    assert {(1.0, 1.0), (1.0, 8.0), (2.0, 2.0), (2.0, 4.0), (4.0, 4.0), (4.0, 8.0)} <= corners
    assert all(x != 3.0 for x, _ in corners)


def test_curves_differ_in_colour_marker_and_line_style():
    ax = plotting.curves([1, 2], {label: [i, i] for i, label in enumerate("abcdef")})
    for look in ("get_color", "get_marker", "_dash_pattern"):
        looks = [getattr(line, look) for line in ax.lines]
        looks = [str(value() if callable(value) else value) for value in looks]
        assert len(set(looks)) == 6


def test_legend_stands_beside_the_data_in_the_order_of_the_last_values():
    x = np.arange(30)
    series = {"low": x * 0.1, "high": x * 3.0, "ends early": np.where(x < 20, 50.0, np.nan)}
    ax = plotting.curves(x, series, references={"chance": 40.0}, title="t", xlabel="step", ylabel="loss")
    ax.figure.draw_without_rendering()
    legend = ax.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["high", "ends early", "chance", "low"]
    assert legend.get_window_extent().x0 >= ax.get_window_extent().x1
    assert legend.get_window_extent().x1 <= ax.figure.bbox.x1
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "loss")
    assert plotting.curves(x, {"alone": x}).get_legend() is None


def test_each_reference_has_dashes_of_its_own():
    ax = plotting.curves([1, 2], {"a": [1, 2]}, references={"coin": 0.5, "words": 1.2, "whole": 1.8})
    dashes = [line._unscaled_dash_pattern for line in ax.lines[1:]]
    assert len({repr(pattern) for pattern in dashes}) == 3


def test_logarithmic_axes_name_the_points_measured():
    ax = plotting.curves([1, 4, 16], {"a": [1, 10, 100]}, log_x=True, log_y=True)
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert [label.get_text() for label in ax.get_xticklabels()] == ["1", "4", "16"]


# --- reliability -----------------------------------------------------------------------------------------------


def test_reliability_draws_the_bins_that_hold_answers():
    nan = np.nan
    bins = Bins(np.linspace(0, 1, 6), [0, 2, 0, 1, 2], [nan, 0.25, nan, 0.8, 0.95], [nan, 0.5, nan, 0.0, 1.0])
    ax = plotting.reliability(bins)
    accuracy, gap = ax.containers
    assert [bar.get_height() for bar in accuracy] == pytest.approx([0.5, 0.0, 1.0])
    assert [bar.get_height() for bar in gap] == pytest.approx([0.25 - 0.5, 0.8 - 0.0, 0.95 - 1.0])
    assert [bar.get_x() + bar.get_width() / 2 for bar in accuracy] == pytest.approx([0.3, 0.7, 0.9])
    assert drawn_texts(ax) == ["2", "1", "2"]
    ax.figure.draw_without_rendering()
    assert ax.get_legend().get_window_extent().x0 >= ax.get_window_extent().x1


def test_every_sign_that_is_drawn_exists_in_the_typeface():
    glyphs = get_font(findfont(FontProperties(family=plt.rcParams["font.family"]))).get_charmap()
    assert all(ord(sign) in glyphs for sign in "✓−∞…·ᵀ")
