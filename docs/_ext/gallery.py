"""`{figure-gallery}`: every figure of the stored notebooks, with its caption and a link to where it stands.

`{figure-kinds}`: every function of `plotting` that draws, what it draws, and the figures that it has drawn.
"""

import inspect
import re
from binascii import a2b_base64
from itertools import pairwise

from course_map import part_name
from course_sources import ROOT, present, stored, stored_image
from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

from course_lib import plotting
from course_lib.syllabus import PARTS

LINK = re.compile(r"\]\((?=\d\d_\w+\.ipynb)")
CAPTION = re.compile(r"Figure (\d\d)\.(\d+)\.\s")
CALL = re.compile(r"plotting\.(\w+)\(")


def anchor(caption):
    """Id of the paragraph that holds a figure's caption; None for text that is no caption."""
    found = CAPTION.match(caption.lstrip("*"))
    return f"figure-{found[1]}-{found[2]}" if found else None


def figures(notebook):
    """(PNG bytes, alternative text, Markdown of the caption) of every picture that a stored notebook shows."""
    cells = notebook["cells"]
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
        after = "".join(following["source"]) if following and following["cell_type"] == "markdown" else ""
        caption = after.split("\n\n")[0] if after.startswith(("*Figure", "*Explorer")) else alt
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield a2b_base64("".join(output["data"]["image/png"])), alt, caption


def drawing_functions():
    """Name to first sentence of the docstring of every function of `plotting` that draws on axes."""
    named = {name: getattr(plotting, name) for name in plotting.__all__}
    functions = {name: one for name, one in named.items() if inspect.isfunction(one)}
    return {
        name: inspect.getdoc(one)
        .partition("\n\n")[0]
        .replace("\n", " ")
        .replace("`", "")
        .partition(": ")[0]
        .rstrip(".")
        for name, one in functions.items()
        if "ax" in inspect.signature(one).parameters
    }


def drawn_by(notebook):
    """(names of the functions of `plotting` that a cell calls, caption) of every figure with a number."""
    cells = notebook["cells"]
    for cell, following in pairwise(cells):
        caption = "".join(following["source"])
        if cell["cell_type"] == "code" and anchor(caption):
            yield set(CALL.findall("".join(cell["source"]))), caption


class Kinds(SphinxDirective):
    """A list of the kinds of figures, each with links to the figures of that kind."""

    def run(self):
        links = {name: [] for name in drawing_functions()}
        for notebook in present():
            self.env.note_dependency(ROOT / "notebooks" / f"{notebook.stem}.ipynb")
            page = self.env.app.builder.get_relative_uri(self.env.docname, f"notebooks/{notebook.stem}")
            for names, caption in drawn_by(stored(notebook)):
                for name in names & set(links):
                    number = anchor(caption).removeprefix("figure-").replace("-", ".")
                    links[name].append(nodes.reference("", number, refuri=f"{page}#{anchor(caption)}"))
        items = nodes.bullet_list()
        for name, sentence in drawing_functions().items():
            text = nodes.paragraph("", "", nodes.literal("", f"plotting.{name}"), nodes.Text(f" · {sentence}. "))
            for i, link in enumerate(links[name]):
                text += [nodes.Text(", " if i else "Figures "), link]
            items += nodes.list_item("", text)
        return [items]


class Gallery(SphinxDirective):
    """All figures, part by part and notebook by notebook."""

    def run(self):
        return [self.part(key, [one for one in present() if one.part == key]) for key in PARTS]

    def part(self, key, notebooks):
        section = nodes.section("", nodes.title("", part_name(key)), ids=[f"figures-part-{key.lower()}"])
        for notebook in notebooks:
            self.env.note_dependency(ROOT / "notebooks" / f"{notebook.stem}.ipynb")
            title = nodes.title("", f"{notebook.number} · {notebook.title}")
            inner = nodes.section("", title, ids=[f"figures-{notebook.number}"])
            shown = nodes.container(classes=["gallery"])
            shown += [self.figure(notebook, *figure) for figure in figures(stored(notebook))]
            section += inner
            inner += shown
        return section

    def figure(self, notebook, png, alt, caption):
        page = self.env.app.builder.get_relative_uri(self.env.docname, f"notebooks/{notebook.stem}")
        to = f"{page}#{anchor(caption)}" if anchor(caption) else page
        image = nodes.image(uri=stored_image(self.env.app, png), alt=alt, loading="lazy")
        text = nodes.caption("", "")
        # A notebook links to its neighbours; this page stands one folder above them.
        self.state.nested_parse([LINK.sub("](notebooks/", caption)], self.content_offset, text)
        if text.children:
            text.children = text.children[0].children
            for child in text.children:
                child.parent = text
        legend = nodes.legend(
            "",
            nodes.paragraph("", "", nodes.reference("", f"See it in {notebook.number} · {notebook.title}", refuri=to)),
        )
        return nodes.figure("", image, text, legend)


class FigureAnchors(SphinxTransform):
    """Gives each caption of a notebook the id that the gallery links to."""

    default_priority = 700

    def apply(self):
        if self.env.docname.startswith("notebooks/"):
            for paragraph in self.document.findall(nodes.paragraph):
                if id := anchor(paragraph.astext()):
                    paragraph["ids"].append(id)


def setup(app):
    app.add_directive("figure-gallery", Gallery)
    app.add_directive("figure-kinds", Kinds)
    app.add_transform(FigureAnchors)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
