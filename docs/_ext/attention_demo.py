"""`{attention-demo}`: the weights that notebook 02 computes for its sentence, to be tried on the first page."""

import re
from fractions import Fraction

from course_sources import present, stored
from docutils import nodes
from sphinx.util.docutils import SphinxDirective

ROW = re.compile(r"^(\w+) +((?:\d+/\d+ +)+)sum 1$", re.MULTILINE)


def weights():
    """(token, its exact weights) of each query, as the stored notebook 02 prints them."""
    cells = stored(next(notebook for notebook in present() if notebook.number == "02"))["cells"]
    printed = ["".join(output.get("text", "")) for cell in cells for output in cell.get("outputs", [])]
    rows = next(found for text in printed if len(found := ROW.findall(text)) > 1)
    return [(token, [Fraction(weight) for weight in row.split()]) for token, row in rows]


def markup(rows, chosen=2):
    """The sentence as buttons, each with the weights of its query; the script shows those of the one chosen."""
    buttons = []
    for i, (token, row) in enumerate(rows):
        weight = rows[chosen][1][i]
        buttons.append(
            f'<button type="button" aria-pressed="{str(i == chosen).lower()}" data-weights="{" ".join(map(str, row))}"'
            f' style="--weight: {float(weight):.4f}">{token}<small>{weight}</small></button>'
        )
    return (
        '<div class="attention-demo" role="group" aria-label="The cat sat on the mat: choose a word">'
        '<p class="question">What does this word look at? Choose one.</p>'
        f'<div class="sentence">{"".join(buttons)}</div><p class="answer" aria-live="polite"></p></div>'
    )


class AttentionDemo(SphinxDirective):
    """The sentence, the word "sat" chosen."""

    def run(self):
        return [nodes.raw("", markup(weights()), format="html")]


def setup(app):
    app.add_directive("attention-demo", AttentionDemo)
    app.add_js_file("attention-demo.js", loading_method="defer")
    return {"parallel_read_safe": True, "parallel_write_safe": True}
