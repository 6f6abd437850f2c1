"""Formulas become MathML while the site is built, so that no script and no network is needed to read them.

Every current browser draws MathML. What it draws it with is a font with mathematical tables: STIX Two Math, which comes
in the wheel of `ziamath`, cut down to the characters that formulas use.
"""

import html
import io
import re
from functools import cache
from importlib import resources
from pathlib import Path

from docutils import nodes
from fontTools import subset
from fontTools.ttLib import TTFont
from latex2mathml import converter
from sphinx.transforms import SphinxTransform
from sphinx.util import logging

logger = logging.getLogger(__name__)
FONT = "stix-two-math.woff"
# ASCII, Latin-1, Greek, letter-like symbols, arrows, operators, brackets, the mathematical alphabets.
CHARACTERS = [
    *range(0x20, 0x250), *range(0x2B0, 0x36F), *range(0x370, 0x400), *range(0x2000, 0x2070), *range(0x20D0, 0x2100),
    *range(0x2100, 0x2300), *range(0x2308, 0x230C), *range(0x23B4, 0x23B6), *range(0x23DC, 0x23E2),
    *range(0x25A0, 0x2600), *range(0x27E6, 0x27F0), *range(0x27F5, 0x2800), *range(0x2A00, 0x2B00),
    *range(0x1D400, 0x1D800),
]  # fmt: skip


def mathml(tex, display="inline"):
    """MathML of a formula, its source kept beside it for those who copy it. Raises ValueError for unknown commands."""
    plain = re.sub(r"\\texttt\{([^}]*)\}", lambda found: found[0].replace(r"\_", "_"), tex.strip())
    markup = converter.convert(plain, display=display)
    if "\\" in markup:
        raise ValueError(f"a command is not known to latex2mathml: {tex}")
    return markup


def _rendered(node, display):
    try:
        return mathml(node.astext(), display)
    except Exception as error:  # the converter has exceptions of many kinds; each must fail the build
        logger.warning("formula %r: %s", node.astext(), error, location=node)
        return f"<code>{html.escape(node.astext())}</code>"


def inline(self, node):
    """Formula in a line of text."""
    self.body.append(_rendered(node, "inline"))
    raise nodes.SkipNode


def block(self, node):
    """Formula on a line of its own, which scrolls where a phone is too narrow for it."""
    scrolls = 'class="formula" role="region" tabindex="0" aria-label="formula"'
    self.body.append(f"<div {scrolls}>{_rendered(node, 'block')}</div>\n")
    raise nodes.SkipNode


class SignsStay(SphinxTransform):
    """Keeps a comma or full stop on the line of the formula before it, where a browser would break."""

    default_priority = 800

    def apply(self):
        for formula in list(self.document.findall(nodes.math)):
            after = formula.next_node(descend=False, siblings=True)
            if isinstance(after, nodes.Text) and (signs := re.match(r"[.,;:!?)’”]+", after)):
                together = nodes.inline("", "", formula.deepcopy(), nodes.Text(signs[0]), classes=["with-sign"])
                formula.parent.replace(after, nodes.Text(after[signs.end() :]))
                formula.parent.replace(formula, together)


@cache
def font():
    """The font as the bytes of a WOFF file."""
    source = resources.files("ziamath.fonts").joinpath("STIXTwoMath-Regular.ttf")
    typeface = TTFont(io.BytesIO(source.read_bytes()))
    options = subset.Options(flavor="woff", notdef_outline=True, layout_features=["*"])
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=CHARACTERS)
    cutter.subset(typeface)
    typeface.flavor = "woff"
    written = io.BytesIO()
    typeface.save(written)
    return written.getvalue()


def write_font(app, error):
    """Put the font beside the style sheets, once."""
    target = Path(app.outdir) / "_static" / FONT
    if error is None and app.builder.format == "html" and not target.is_file():
        logging.getLogger("fontTools").setLevel("ERROR")
        target.write_bytes(font())


def setup(app):
    app.add_html_math_renderer("native", (inline, None), (block, None))
    app.add_transform(SignsStay)
    app.connect("build-finished", write_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
