"""Write the slides of each part, made from the stored notebooks: `python -m tools.slides [--to DIR]`.

Headings, formulas, tables, figures, questions before a cell, exercises and quizzes become slides; the text around them
becomes the speaker's notes. A deck is one file that loads nothing: formulas are MathML, pictures and font are inside.
"""

import argparse
import base64
import re
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbconvert.exporters import SlidesExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

from course_lib.exercises import EXERCISES, QUIZZES
from course_lib.syllabus import PARTS, Notebook

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "docs" / "_ext")]

import native_math  # noqa: E402
from course_sources import present, stored  # noqa: E402

FOLDER = "slides"
# Heights in units of a slide that is 1280 wide and 720 high: the room below a heading, a line of each kind.
ROOM, LINE, ROW, CODE = 530, 45, 33, 32
# Characters that fit into a line of text, a row of a table, a line of code; signs in a formula of full size.
TEXT_WIDE, ROW_WIDE, CODE_WIDE, FORMULA_WIDE = 58, 72, 84, 56
EXERCISE = re.compile(r"### Exercise (\d\d\.\d+) · ")
# "*Before you run it:*", "*While it runs:*", "*Before you run it* (it takes a minute):" and their like.
PREDICTION = re.compile(r"\*(?:Before you (?:run it|go on)|While it runs)\b")
PRINTED_LINES = 12
FIGURE = re.compile(r"\*(Figure \d\d\.\d+|Explorer)[.:]\s*")


class Slide:
    """One slide: a kind, its heading and Markdown, a picture or code where it has one, and the speaker's notes."""

    def __init__(self, kind: str, title: str, body: str = "", **extra: object) -> None:
        self.kind, self.title, self.body, self.extra, self.notes = kind, title, body, extra, []
        self.complete = False  # for an exercise: its stub has been seen, what follows is no part of it

    @property
    def height(self) -> int:
        """Room that the body takes."""
        return height(self.body)


class Deck(NamedTuple):
    """The slides of one notebook."""

    notebook: Notebook
    slides: list[Slide]


def file_name(part: str) -> str:
    """Name of the file with the slides of a part: `part-II.html`."""
    return f"part-{part}.html"


def height(markdown: str) -> int:
    """Room that Markdown takes on a slide, estimated from its characters, lines and formulas."""
    formulas = re.findall(r"\$\$.*?\$\$", markdown, re.DOTALL)
    total = sum(200 if r"\begin" in formula or r"\\" in formula else 110 for formula in formulas)
    plain = re.sub(r"\$\$.*?\$\$", "", markdown, flags=re.DOTALL)
    plain = re.sub(r"\\[a-z]+|[{}$*`\\]", "", plain)
    for line in filter(str.strip, plain.splitlines()):
        if line.startswith("|"):
            total += ROW * -(-len(line) // ROW_WIDE) + 15
        else:
            total += LINE * -(-len(line) // TEXT_WIDE) + 16
    return total


def without_links(markdown: str) -> str:
    """Markdown whose links are their words: a link of a notebook leads nowhere from another folder."""
    return re.sub(r"(?<!!)\[([^\]]+)\]\([^)\s]*\)", r"\1", markdown)


def printed_by(cell: dict) -> str:
    """The first lines of what a stored cell prints."""
    text = "".join("".join(output.get("text", "")) for output in cell.get("outputs", []) if output.get("name"))
    lines = text.rstrip().splitlines()
    return "\n".join([*lines[:PRINTED_LINES], *(["…"] if len(lines) > PRINTED_LINES else [])])


def first_sentences(text: str, room: int) -> str:
    """As many whole sentences from the beginning as there is room for, and at least one."""
    pieces = re.split(r"(?<=[.?!])\s+(?=[A-Z\"“*$`\d])", text)
    taken = pieces[:1]
    for piece in pieces[1:]:
        # A formula or a word in stars that a full stop cuts in two stays whole.
        whole = " ".join(taken).count("$") % 2 == 0 and " ".join(taken).count("*") % 2 == 0
        if whole and len(" ".join([*taken, piece])) > room:
            break
        taken.append(piece)
    return " ".join(taken)


def blocks(source: str) -> Iterator[str]:
    """The paragraphs, lists, tables, formulas and listings of Markdown, each whole; links become their words."""
    source = re.sub(r"\[!\[[^\]]*\]\([^)]*\)\]\([^)]*\)", "", source)
    source = without_links(source)
    block: list[str] = []
    fenced = False
    for line in [*source.splitlines(), ""]:
        if line.startswith("```"):
            fenced = not fenced
        if line.strip() or fenced:
            block.append(line)
        elif block:
            yield "\n".join(block)
            block = []


def chunks(items: list[str], room: int) -> Iterator[list[str]]:
    """The items in as few groups as fit, alike in size."""
    total = sum(height(item) for item in items)
    share = total / max(1, -(-total // room))
    group: list[str] = []
    for item in items:
        taken = sum(height(one) for one in group)
        if group and (taken + height(item) > room or taken >= share - height(item) / 2):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


class Builder:
    """Goes through the cells of one notebook and decides what becomes a slide."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook, self.slides, self.heading = notebook, [], notebook.title
        self.picture = None
        self.asked: list[Slide] = []

    def build(self) -> Deck:
        """All slides of the notebook."""
        for cell in stored(self.notebook)["cells"]:
            source = "".join(cell["source"])
            if cell["cell_type"] == "code":
                self.code(cell, source)
            elif not self.markdown(source):
                break
        return Deck(self.notebook, self.slides)

    def add(self, kind: str, title: str, body: str = "", **extra: object) -> Slide:
        """A new slide behind the others; it takes the place of a section's slide that is still empty."""
        slide = Slide(kind, title, body, **extra)
        if self.slides and self.slides[-1].kind == "section" and not self.slides[-1].body:
            slide.notes = self.slides.pop().notes
        self.slides.append(slide)
        return slide

    def note(self, text: str) -> None:
        """Text for the speaker, while the last slide is on."""
        self.slides[-1].notes.append(text)

    def markdown(self, source: str) -> bool:
        """The blocks of one cell; False where the slides end."""
        for block in blocks(source):
            if block.startswith("## Further reading"):
                return False
            self.block(block)
        return True

    def block(self, block: str) -> None:
        """One block of Markdown."""
        if block.startswith("#"):
            self.headed(block)
        elif block.startswith("**You will be able to**"):
            self.slides[-1].body = block
        elif (found := FIGURE.match(block)) and self.picture:
            self.figure(found[1], block)
        elif found := PREDICTION.search(block):
            self.question(block[: found.start()], block[found.start() :])
        elif self.slides[-1].kind == "exercise" and not self.slides[-1].complete:
            self.task(block)
        elif block.startswith("$$"):
            self.hold("formula", block)
        elif block.startswith("|"):
            self.table(block.splitlines())
        elif re.match(r"(- |1\. )", block):
            self.items(block)
        elif block.startswith("```"):
            self.add("listing", self.heading, code=block.strip("`").partition("\n")[2])
        else:
            self.paragraph(block)

    def headed(self, block: str) -> None:
        """A heading begins a slide."""
        marks, _, title = block.splitlines()[0].partition(" ")
        if found := EXERCISE.match(block):
            exercise = EXERCISES[found[1]]
            said = f"Now you: {exercise.title}"
            self.add("exercise", said, minutes=exercise.minutes, difficulty=exercise.difficulty, id=exercise.id)
            self.note(f"Give {exercise.minutes} minutes. Who is stuck: {exercise.hints[0]}")
        elif marks == "#":
            self.add("title", title, minutes=self.notebook.minutes, anchor=self.notebook.number)
        else:
            self.heading = title
            self.add("section", title)

    def task(self, block: str) -> None:
        """What an exercise asks for: on its slide while there is room, then in the notes."""
        slide = self.slides[-1]
        room = ROOM - 60 - slide.height
        if block.startswith(("|", "-", "$$", "```", ">")):
            fits = height(block) < room
            if fits:
                slide.body += f"\n\n{block}"
            else:
                slide.notes.append(block)
            return
        shown = first_sentences(block, max(0, room // (LINE + 5)) * TEXT_WIDE)
        if height(shown) <= room:
            slide.body += f"\n\n{shown}"
        if shown != block:
            slide.notes.append(block)

    def paragraph(self, block: str) -> None:
        """Text: its first sentence where a section has just begun; the speaker has all of it."""
        slide = self.slides[-1]
        if slide.kind == "section" and not slide.body and not block.startswith((">", "**Time:**")):
            slide.body = first_sentences(block, 200)
            if slide.body.count("**") % 2:  # the sentence ends within bold words
                slide.body += "**"
            if len(slide.body) > 420:
                slide.body = ""
        self.note(block)

    def hold(self, kind: str, block: str) -> None:
        """A formula: on the slide of its section while there is room, else on its own."""
        slide = self.slides[-1]
        if slide.kind in ("section", "formula") and slide.height + height(block) <= ROOM:
            slide.body += f"\n\n{block}"
        else:
            self.add(kind, self.heading, block)

    def table(self, lines: list[str]) -> None:
        """A table, a few rows on each slide."""
        head, rows = lines[:2], lines[2:]
        for group in chunks(rows, ROOM - height(head[0])):
            self.add("table", self.heading, "\n".join([*head, *group]))

    def items(self, block: str) -> None:
        """A list, a few items on each slide."""
        slide = self.slides[-1]
        if slide.kind == "section" and slide.height + height(block) <= ROOM:
            slide.body += f"\n\n{block}"
            return
        for group in chunks(re.split(r"\n(?=- |\d+\. )", block), ROOM):
            self.add("list", self.heading, "\n".join(group))

    def question(self, before: str, question: str) -> None:
        """A question before a cell is run; what the cell prints will be in the notes."""
        if before.strip():
            self.note(before.strip())
        shown = question
        if 1.5 * height(question) > ROOM:  # questions are set larger than text
            shown = first_sentences(question, ROOM // LINE * TEXT_WIDE // 2)
        self.asked.append(self.add("question", self.heading, shown))
        self.note("Take answers before you run the cell." + (f"\n\n{question}" if shown != question else ""))

    def figure(self, name: str, block: str) -> None:
        """A picture with the first sentence of its caption; the rest is for the speaker."""
        caption = re.sub(r"(?<!\*)\*(?!\*)", "", block)
        said = re.sub(r"^(Figure \d\d\.\d+\.|Explorer:)\s*", "", caption)
        png, alt = self.picture
        short = first_sentences(said, 120)
        self.add(
            "figure", self.heading, f"**{name}.** {short}" if len(short) < 260 else f"**{name}**", png=png, alt=alt
        )
        self.note(said)
        self.picture = None

    def code(self, cell: dict, source: str) -> None:
        """A cell: its picture waits for the caption, a stub goes on the slide of its exercise."""
        if printed := printed_by(cell):
            for slide in self.asked:
                slide.notes.append(f"The cell prints:\n\n```text\n{printed}\n```")
        self.asked = []
        for output in cell["outputs"]:
            if "image/png" in output.get("data", {}):
                alt = cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
                self.picture = "".join(output["data"]["image/png"]).strip(), alt
        if "exercise" in cell["metadata"].get("tags", []) and self.slides[-1].kind == "exercise":
            slide = self.slides[-1]
            slide.complete = True
            lines = source.strip().splitlines()
            drawn = sum(1 + len(line) // CODE_WIDE for line in lines)
            if slide.height + CODE * drawn <= ROOM - 120:  # less the line with the minutes, and the frame of the code
                slide.extra["code"] = "\n".join(lines)
            else:
                slide.notes.append("The stub is in the notebook: too long for a slide.")
        if source.startswith(f'quiz("{self.notebook.number}")'):
            self.quiz()

    def quiz(self) -> None:
        """Each question of the quiz, its answer for the speaker."""
        for i, question in enumerate(QUIZZES[self.notebook.number], 1):
            letters = "abcdefgh"
            choices = "\n".join(f"- **{letters[j]}** {choice.text}" for j, choice in enumerate(question.choices))
            self.add("quiz", f"Quiz, question {i}", f"{question.text}\n\n{choices}")
            why = "\n".join(f"- {letters[j]}: {choice.why}" for j, choice in enumerate(question.choices))
            self.note(f"Right: **{letters[question.right]}**.\n\n{why}")


def decks(part: str) -> list[Deck]:
    """The slides of all notebooks of a part."""
    return [Builder(notebook).build() for notebook in present() if notebook.part == part]


# ------------------------------------------------------------------------------------------ writing


class _Renderer(IPythonRenderer):
    """Markdown to HTML with formulas as MathML, as on the site."""

    def block_math(self, body: str) -> str:
        plain = re.sub(r"\\(text|operatorname|mathrm|texttt|left|right|q?quad)|[\s{}\\^_&]", "", body)
        size = " wide" if len(plain) > FORMULA_WIDE else ""
        return f'<div class="math{size}">{native_math.mathml(body, "block")}</div>'

    def inline_math(self, body: str) -> str:
        return native_math.mathml(body)


@cache
def html_of(markdown: str) -> str:
    """HTML of a piece of Markdown. Raises ValueError for a formula that cannot be drawn."""
    return MarkdownWithMath(renderer=_Renderer(escape=False)).render(markdown)


@cache
def font() -> str:
    """The font of the formulas, ready to stand in a style sheet."""
    return base64.b64encode(native_math.font()).decode()


def as_notebook(part: str) -> nbformat.NotebookNode:
    """A notebook whose cells say of themselves which slide or note they are, as JupyterLab's slide shows do."""
    cells = []
    for deck in decks(part):
        for slide in deck.slides:
            cell = nbformat.v4.new_markdown_cell(slide.body)
            about = {"kind": slide.kind, "title": slide.title, **slide.extra}
            about["notebook"] = f"{deck.notebook.number} · {deck.notebook.title}"
            cell.metadata.update(slideshow={"slide_type": "slide"}, about=about)
            cells.append(cell)
            if slide.notes:
                note = nbformat.v4.new_markdown_cell("\n\n".join(slide.notes))
                note.metadata.update(slideshow={"slide_type": "notes"})
                cells.append(note)
    return nbformat.v4.new_notebook(cells=cells)


def render(part: str) -> str:
    """The HTML of the slides of a part. Raises KeyError for a part that does not exist."""
    exporter = SlidesExporter(
        template_name="slides_template", extra_template_basedirs=[str(ROOT / "tools")], filters={"text": html_of}
    )
    name = PARTS[part] if part == "0" else f"Part {part} · {PARTS[part]}"
    members = [notebook for notebook in present() if notebook.part == part]
    resources = {"part": name, "members": members, "font": font()}
    return exporter.from_notebook_node(as_notebook(part), resources=resources)[0]


def write(target: Path) -> list[Path]:
    """Write one file for each part into a folder; return their paths."""
    target.mkdir(parents=True, exist_ok=True)
    paths = []
    for part in PARTS:
        path = target / file_name(part)
        path.write_text(render(part), encoding="utf-8", newline="\n")
        paths.append(path)
    return paths


def main(arguments: list[str] | None = None) -> int:
    """Write the slides and say where they lie."""
    parser = argparse.ArgumentParser(prog="python course.py slides", description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=Path, default=ROOT / "build" / FOLDER, metavar="DIR", help="where to write")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    for path in write(options.to.resolve()):
        print(path)
    print(f"written in {time.monotonic() - start:.0f} s; open one in a browser, N shows the notes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
