"""What the instructor guide takes from the course itself: questions, misconceptions, answers, minutes and slides.

`{teaching-plan} 02`, `{before-you-run} 02` and `{exercises-of} 02` fill the page of a notebook; `{teaching-table}` and
`{slide-decks}` list all of them. What is written by hand stands around these directives in `docs/instructor/NN.md`.
"""

import ast
import importlib.util
import inspect
import re
from functools import cache
from pathlib import Path
from typing import ClassVar, NamedTuple

from course_map import part_name
from course_sources import ROOT, markdown, present, stored
from docutils import nodes
from docutils.parsers.rst import directives
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from course_lib.exercises import EXERCISES
from course_lib.syllabus import BY_NUMBER, PARTS
from tools import slides

PAGES = ROOT / "docs" / "instructor"


class Prediction(NamedTuple):
    """A question that a notebook asks before a cell is run, its section, and what the cell prints."""

    section: str
    question: str
    printed: str


class Misconception(NamedTuple):
    """A mistake that a judge knows, and what it says; values that depend on the answer are "…"."""

    name: str
    message: str


class Minutes(NamedTuple):
    """How the minutes of a notebook are shared out in a room."""

    talking: int
    working: int


# ------------------------------------------------------------------------------------------ collecting


def predictions(notebook):
    """The questions of a parsed stored notebook, in its order."""
    section, waiting = "", []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            for block in source.split("\n\n"):
                if block.startswith("## "):
                    section = block.splitlines()[0].removeprefix("## ")
                elif found := slides.PREDICTION.search(block):
                    waiting.append((section, slides.without_links(block[found.start() :])))
        else:
            for asked, question in waiting:
                yield Prediction(asked, question, slides.printed_by(cell))
            waiting = []


@cache
def _definitions(module):
    """Name -> syntax tree of every top-level definition of a module."""
    tree = ast.parse(Path(importlib.util.find_spec(module).origin).read_text(encoding="utf-8"))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: node for target in targets if isinstance(target, ast.Name)}
    return found


def _texts(node):
    """What an expression can be as a text, in source order: a constant, an f-string, a sum, either side of an `if`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return ["".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        lefts, rights = _texts(node.left) or ["…"], _texts(node.right) or ["…"]
        return [left + right for left in lefts for right in rights]
    if isinstance(node, ast.IfExp):
        return _texts(node.body) + _texts(node.orelse)
    return []


def misconceptions(exercise):
    """The misconceptions that the judge of an exercise names, read from its source and that of its helpers.

    Where a name and a sentence stand side by side as arguments of one call, or in one tuple, they belong together.
    """
    definitions = _definitions(exercise.check.__module__)
    seen, waiting, found = set(), [inspect.unwrap(exercise.check).__name__], {}
    while waiting:
        name = waiting.pop(0)
        if name in seen or name not in definitions:
            continue
        seen.add(name)
        for node in ast.walk(definitions[name]):
            if isinstance(node, ast.Name):
                waiting.append(node.id)
            if isinstance(node, ast.Call):
                given = [*node.args, *(keyword.value for keyword in node.keywords)]
            elif isinstance(node, ast.Tuple):
                given = node.elts
            else:
                continue
            texts = [text for one in given for text in _texts(one)]
            names = [text for text in texts if re.fullmatch(r"[a-z][a-z0-9_]*(-[a-z0-9_]+)*", text)]
            said = [text for text in texts if text.count(" ") >= 2 and text.strip("… ")]
            if names and said:
                for message in said:
                    found.setdefault(Misconception(names[-1], message))
    return list(found)


@cache
def minutes(number):
    """The minutes that the page of a notebook gives to talking and to working."""
    page = PAGES / f"{number}.md"
    said = re.search(r"^:talking: (\d+)\n:working: (\d+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    if said is None:
        raise ValueError(f"{page} has no `:talking:` and `:working:`: give its teaching-plan both")
    return Minutes(int(said[1]), int(said[2]))


# ------------------------------------------------------------------------------------------ drawing


def link_to(document, text):
    """A link to a page of the site."""
    link = addnodes.pending_xref(
        refdomain="std", reftype="doc", reftarget=f"/{document}", refexplicit=True, refwarn=True
    )
    link += nodes.inline("", text)
    return link


def with_code(text):
    """Text in which back-ticks mark code, as nodes; nothing else in it is markup."""
    pieces = text.split("`")
    return [nodes.literal("", piece) if i % 2 else nodes.Text(piece) for i, piece in enumerate(pieces) if piece]


def folded(summary, *content):
    """Content behind a line that opens it."""
    return [
        nodes.raw("", f"<details><summary>{summary}</summary>", format="html"),
        *content,
        nodes.raw("", "</details>", format="html"),
    ]


def cells(*columns):
    """One row of a table."""
    row = nodes.row()
    row += [nodes.entry("", nodes.paragraph("", "", *column)) for column in columns]
    return row


def table(head, rows, widths):
    """A table with a head."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=width) for width in widths), cols=len(head))
    group += nodes.thead("", cells(*([nodes.Text(one)] for one in head)))
    group += nodes.tbody("", *rows)
    return nodes.table("", group)


class About(SphinxDirective):
    """A directive about one notebook, whose number is its argument."""

    required_arguments = 1

    @property
    def notebook(self):
        """The notebook, from the syllabus."""
        notebook = BY_NUMBER.get(self.arguments[0])
        if notebook is None:
            raise self.error(f"there is no notebook {self.arguments[0]!r}: write a number from 00 to 19")
        self.env.note_dependency(ROOT / "notebooks" / f"{notebook.stem}.ipynb")
        self.env.note_dependency(__file__)
        return notebook

    @property
    def exercises(self):
        """The exercises of the notebook."""
        return [exercise for exercise in EXERCISES.values() if exercise.notebook == self.notebook.number]

    def link(self, text):
        """A paragraph's link to the slides of the notebook."""
        up = self.env.app.builder.get_relative_uri(self.env.docname, "index").rpartition("index")[0]
        part = self.notebook.part
        return nodes.reference("", text, refuri=f"{up}{slides.FOLDER}/{slides.file_name(part)}#{self.notebook.number}")


class TeachingPlan(About):
    """Minutes for talking and working, the exercises in minutes, slides and answers."""

    option_spec: ClassVar = {"talking": directives.nonnegative_int, "working": directives.nonnegative_int}

    def run(self):
        notebook = self.notebook
        talking, working = (self.options.get(name) for name in ("talking", "working"))
        if talking is None or working is None:
            raise self.error("give :talking: and :working:, in minutes")
        given = ", ".join(f"{exercise.id} ({exercise.minutes})" for exercise in self.exercises)
        rows = [
            cells([nodes.Text("notebook")], [link_to(f"notebooks/{notebook.stem}", notebook.title)]),
            cells([nodes.Text("talking")], [nodes.Text(f"{talking} minutes")]),
            cells([nodes.Text("working")], [nodes.Text(f"{working} minutes; the exercises ask for {given}")]),
            cells([nodes.Text("slides")], [self.link(part_name(notebook.part))]),
            cells([nodes.Text("answers")], [nodes.literal("", f"python course.py solved solved {notebook.number}")]),
        ]
        group = nodes.tgroup("", nodes.colspec(colwidth=15), nodes.colspec(colwidth=85, stub=1), cols=2)
        group[0]["stub"], group[1]["stub"] = 1, 0
        group += nodes.tbody("", *rows)
        return [nodes.table("", group, classes=["teaching-plan"])]


class BeforeYouRun(About):
    """The questions to ask before a cell is run, and what the cell then prints."""

    def run(self):
        items = []
        for section, question, printed in predictions(stored(self.notebook)):
            asked = markdown(self, (f"**§ {section}.** {question}" if section else question).splitlines())
            answer = (
                folded("what the cell prints", nodes.literal_block("", printed, language="text")) if printed else []
            )
            items.append(nodes.list_item("", *asked, *answer))
        return [nodes.enumerated_list("", *items, enumtype="arabic", prefix="", suffix=".")]


class ExercisesOf(About):
    """For each exercise: the mistakes that its judge knows, what it says to each, and the answer."""

    def run(self):
        shown = []
        for exercise in self.exercises:
            said = f"{exercise.id} · {exercise.title} ({exercise.minutes} minutes, difficulty {exercise.difficulty})"
            shown.append(nodes.rubric("", said, **{"heading-level": 3}))
            items = []
            for name, message in misconceptions(exercise):
                said = nodes.paragraph("", "", nodes.strong("", name), nodes.Text(": "), *with_code(message))
                items.append(nodes.list_item("", said))
            if items:
                shown += folded(f"mistakes that the check of {exercise.id} knows", nodes.bullet_list("", *items))
            hints = [nodes.list_item("", nodes.paragraph("", "", *with_code(hint))) for hint in exercise.hints]
            shown += folded(f"hints of {exercise.id}", nodes.enumerated_list("", *hints, enumtype="arabic", suffix="."))
            code = nodes.literal_block("", exercise.reference_source, language="python")
            shown += folded(f"answer to {exercise.id}", code)
        return shown


class TeachingTable(SphinxDirective):
    """All notebooks with their minutes."""

    def run(self):
        rows = []
        for notebook in present():
            self.env.note_dependency(PAGES / f"{notebook.number}.md")
            talking, working = minutes(notebook.number)
            name = link_to(f"instructor/{notebook.number}", f"{notebook.number} · {notebook.title}")
            texts = [f"{talking}", f"{working}", f"{talking + working}"]
            rows.append(cells([name], *([nodes.Text(text)] for text in texts)))
        return [table(["notebook", "talking", "working", "together"], rows, [55, 15, 15, 15])]


class SlideDecks(SphinxDirective):
    """Links to the slides of each part."""

    def run(self):
        up = self.env.app.builder.get_relative_uri(self.env.docname, "index").rpartition("index")[0]
        items = []
        for part in PARTS:
            link = nodes.reference("", part_name(part), refuri=f"{up}{slides.FOLDER}/{slides.file_name(part)}")
            items.append(nodes.list_item("", nodes.paragraph("", "", link)))
        return [nodes.bullet_list("", *items)]


def write_slides(app, error):
    """Put the slides beside the pages that link to them."""
    if error is None and app.builder.format == "html":
        slides.write(Path(app.outdir) / slides.FOLDER)


def setup(app):
    app.add_directive("teaching-plan", TeachingPlan)
    app.add_directive("before-you-run", BeforeYouRun)
    app.add_directive("exercises-of", ExercisesOf)
    app.add_directive("teaching-table", TeachingTable)
    app.add_directive("slide-decks", SlideDecks)
    app.connect("build-finished", write_slides)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
