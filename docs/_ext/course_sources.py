"""What the site is made of besides the pages written by hand: the stored notebooks, and a page for each public module.

Each build writes both into folders of docs/ that git ignores; what has not changed is not touched.
"""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from docutils import nodes
from docutils.statemachine import StringList

import course_lib
from course_lib.syllabus import NOTEBOOKS

ROOT = Path(__file__).resolve().parents[2]
# Parts of the package that have no reader outside the notebooks' own machinery.
NOT_DOCUMENTED = {"environment"}


def present():
    """The notebooks of the syllabus that are finished, in the order of the course."""
    return [notebook for notebook in NOTEBOOKS if (ROOT / "notebooks" / f"{notebook.stem}.ipynb").is_file()]


def stored(notebook):
    """A stored notebook, as parsed JSON; a picture without alternative text gets the words of its explorer."""
    parsed = json.loads((ROOT / "notebooks" / f"{notebook.stem}.ipynb").read_text(encoding="utf-8"))
    for cell in parsed["cells"]:
        for output in cell.get("outputs", []):
            words = " ".join("".join(output.get("data", {}).get("text/plain", "")).split())
            if "image/png" in output.get("data", {}) and words and not words.startswith("<"):
                cell["metadata"].setdefault("mystnb", {}).setdefault("image", {}).setdefault("alt", words)
    return parsed


def markdown(directive, lines):
    """Nodes of lines of Markdown, for a directive to put into its page."""
    parent = nodes.container()
    directive.state.nested_parse(StringList(lines, source=directive.env.docname), directive.content_offset, parent)
    return parent.children


def stored_image(app, png):
    """Where a picture lies, seen from the source folder: where myst-nb keeps those of the notebooks' own pages."""
    folder = Path(app.outdir).parent / "jupyter_execute"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{hashlib.sha256(png).hexdigest()}.png"
    if not path.is_file():
        path.write_bytes(png)
    return "/" + Path(os.path.relpath(path, app.srcdir)).as_posix()


def modules():
    """Names of the modules that have a page in the reference."""
    return [name for name in course_lib._MODULES if name not in NOT_DOCUMENTED]


def write(path, text):
    """Write a file where its text is new."""
    path.parent.mkdir(exist_ok=True)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def reference_page(name):
    """Source of the page of one module."""
    full = f"course_lib.{name}"
    return f"{full}\n{'=' * len(full)}\n\n.. automodule:: {full}\n   :members:\n   :show-inheritance:\n"


def reference_index():
    """Source of the page that lists the modules."""
    rows = "\n".join(f"   {name}" for name in modules())
    return (
        "The package\n===========\n\n"
        "``course_lib`` is the tested package behind the notebooks: one concept a module, imports that point one way. "
        "Shapes, units and errors are in the docstrings below.\n\n"
        f".. currentmodule:: course_lib\n\n.. autosummary::\n\n{rows}\n\n"
        f".. toctree::\n   :hidden:\n\n{rows}\n"
    )


def generate(app):
    """Bring the generated sources up to date, and remove what no longer belongs to the course."""
    target = Path(app.srcdir) / "notebooks"
    wanted = {f"{notebook.stem}.ipynb" for notebook in present()}
    for notebook in present():
        write(target / f"{notebook.stem}.ipynb", json.dumps(stored(notebook), ensure_ascii=False))
    shutil.copytree(ROOT / "notebooks" / "images", target / "images", dirs_exist_ok=True)
    pages = {f"{name}.rst": reference_page(name) for name in modules()} | {"index.rst": reference_index()}
    for name, text in pages.items():
        write(Path(app.srcdir) / "reference" / name, text)
    for folder, names in (("notebooks", wanted), ("reference", set(pages))):
        for path in (Path(app.srcdir) / folder).glob("*.*"):
            if path.name not in names:
                path.unlink()


def link_to_repository(app, docname, content):
    """Links of the hand-written pages to files outside docs/ lead to the repository."""
    if docname.startswith(("notebooks/", "reference/")):
        return
    folders = docname.count("/")
    up = "../" * (folders + 1)  # out of docs/
    text = content[0].replace(f"]({up}README.md#the-notebooks)", f"]({'../' * folders}index.md)")
    repository = app.config.html_theme_options["repository_url"]
    content[0] = re.sub(rf"\]\({re.escape(up)}([^)\s]+)\)", rf"]({repository}/blob/main/\1)", text)


def escape_bars(app, what, name, obj, options, lines):
    """|A| in a docstring is a size, not reStructuredText's substitution."""
    for i, line in enumerate(lines):
        pieces = line.split("`")
        pieces[::2] = [piece.replace("|", r"\|") for piece in pieces[::2]]
        lines[i] = "`".join(pieces)


def setup(app):
    app.connect("autodoc-process-docstring", escape_bars)
    app.connect("builder-inited", generate)
    app.connect("source-read", link_to_repository)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
