"""`{course-map}`: the notebooks of the course part by part, as the list in the sidebar and as a map of links."""

from course_sources import present
from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from course_lib.exercises import EXERCISES
from course_lib.syllabus import NOTEBOOKS, PARTS


def part_name(key):
    """`Part I · Attention`; the first part has no numeral."""
    return PARTS[key] if key == "0" else f"Part {key} · {PARTS[key]}"


class CourseMap(SphinxDirective):
    """Every notebook of the syllabus; the finished ones are links and stand in the sidebar."""

    def run(self):
        self.env.note_dependency(__file__)
        finished = {notebook.number for notebook in present()}
        drawn = nodes.container(classes=["course-map"])
        contents = []
        for key in PARTS:
            members = [notebook for notebook in NOTEBOOKS if notebook.part == key]
            drawn += nodes.rubric("", part_name(key), **{"heading-level": 3})
            boxes = nodes.bullet_list(classes=["course-map-boxes"])
            boxes += [self.box(notebook, notebook.number in finished) for notebook in members]
            drawn += boxes
            contents.append(self.toctree(part_name(key), [one for one in members if one.number in finished]))
        return [*contents, drawn]

    def box(self, notebook, finished):
        """One notebook: number, title, minutes, exercises; a thick frame on the core path."""
        exercises = sum(exercise.notebook == notebook.number for exercise in EXERCISES.values())
        said = f"{notebook.minutes} min" + (f" · {exercises} exercises" if exercises > 1 else "")
        said += " · core path" if notebook.core else ""
        title = nodes.paragraph("", "", nodes.strong("", notebook.number), nodes.Text(" "))
        if finished:
            reference = addnodes.pending_xref(
                refdomain="std", reftype="doc", reftarget=f"/notebooks/{notebook.stem}", refexplicit=True, refwarn=True
            )
            reference += nodes.inline("", notebook.title)
            title += reference
        else:
            title += nodes.Text(notebook.title)
            said = "in preparation"
        classes = ["core"] * notebook.core + ["coming"] * (not finished)
        return nodes.list_item("", title, nodes.paragraph("", said, classes=["said"]), classes=classes)

    def toctree(self, caption, members):
        """The same as entries of the sidebar."""
        documents = [f"notebooks/{notebook.stem}" for notebook in members]
        tree = addnodes.toctree(
            parent=self.env.docname, entries=[(None, name) for name in documents], includefiles=documents,
            caption=caption, rawcaption=caption, hidden=True, maxdepth=1, glob=False, includehidden=False,
            titlesonly=True, numbered=0, rawentries=[],
        )  # fmt: skip
        return nodes.compound("", tree, classes=["toctree-wrapper"])


def name_toggles(app, pagename, templatename, context, doctree):
    """Gives the arrows of the sidebar, which the theme leaves without words, a name for screen readers."""
    drawn = context.get("generate_toctree_html")
    if drawn:
        named = '<summary aria-label="pages of this section">'
        context["generate_toctree_html"] = lambda *kind, **options: str(drawn(*kind, **options)).replace(
            "<summary>", named
        )


def setup(app):
    app.connect("html-page-context", name_toggles, priority=900)
    app.add_directive("course-map", CourseMap)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
