"""Each term of the glossary becomes a link where a notebook first uses it, and the glossary says where that is.

The notebooks themselves are not touched. Words in code, formulas, headings and links stay as they are.
"""

import re

from course_sources import present
from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform

GLOSSARY = "glossary"
NOT_IN = (nodes.literal, nodes.literal_block, nodes.title, nodes.reference, nodes.raw, nodes.math, nodes.math_block)


def terms(source):
    """The terms of a glossary page: in its directive, the lines that are not indented."""
    inside = re.search(r"^```\{glossary\}\n(?::.*\n)*(.*?)^```", source, re.DOTALL | re.MULTILINE)[1]
    return [line.strip() for line in inside.splitlines() if line.strip() and not line[0].isspace()]


def identifier(term):
    """Id of the place where a notebook first uses a term."""
    return "first-" + re.sub(r"[^a-z0-9]+", "-", term.lower()).strip("-")


def spelling(term):
    """Regular expression of a term as it stands in running text: singular or plural, capital or not."""
    words = [re.escape(word) for word in term.split()]
    first = words[0]
    if first[0].islower():
        words[0] = f"[{first[0]}{first[0].upper()}]{first[1:]}"
    plural = "" if term[-1] == "s" else "(?:ies|y)" if term[-1] == "y" and term[-2] not in "aeiou" else "(?:es|s)?"
    if plural.startswith("(?:ies"):
        words[-1] = words[-1][:-1]
    return r"\s+".join(words) + plural


def pattern(wanted):
    """One expression for all terms, the longest first, and the term of each of its groups."""
    ordered = sorted(wanted, key=len, reverse=True)
    groups = "|".join(f"(?P<t{i}>{spelling(term)})" for i, term in enumerate(ordered))
    return re.compile(rf"(?<![\w-])(?:{groups})(?![\w-])"), ordered


def read_terms(app):
    """Know the terms before the first notebook is read. All is read anew where they changed."""
    found = terms((app.srcdir / f"{GLOSSARY}.md").read_text(encoding="utf-8"))
    env = app.env
    env.glossary_pattern = pattern(found)
    if not hasattr(env, "glossary_uses"):
        env.glossary_uses = {}


class GlossaryLinks(SphinxTransform):
    """Links the first use of each term on a notebook's page."""

    default_priority = 750

    def apply(self):
        if not self.env.docname.startswith("notebooks/"):
            return
        self.expression, self.ordered = self.env.glossary_pattern
        self.used = {}
        for text in list(self.document.findall(nodes.Text)):
            if not self.shielded(text):
                self.link(text)
        self.env.glossary_uses[self.env.docname] = self.used

    def shielded(self, text):
        """True in code, formulas, headings, links, the outputs of cells, and the titles of further reading."""
        node = text.parent
        while node is not None:
            if isinstance(node, (*NOT_IN, addnodes.pending_xref)) or "cell" in node.get("classes", ()):
                return True
            if isinstance(node, nodes.section) and node[0].astext() == "Further reading":
                return True
            node = node.parent
        return False

    def link(self, text):
        """Replace the first uses in one piece of text."""
        string, end, pieces = text.astext(), 0, []
        for found in self.expression.finditer(string):
            term = self.ordered[int(found.lastgroup[1:])]
            if term in self.used:
                continue
            self.used[term] = " ".join(string.split())
            pieces += [nodes.Text(string[end : found.start()]), self.reference(term, found[0])]
            end = found.end()
        if pieces:
            text.parent.replace(text, [*pieces, nodes.Text(string[end:])])

    def reference(self, term, as_written):
        """The link from a term as it is written to its entry."""
        link = addnodes.pending_xref(
            refdomain="std", reftype="term", reftarget=term, refexplicit=True, refwarn=True, refdoc=self.env.docname
        )
        link += nodes.inline("", as_written, classes=["glossary-term"], ids=[identifier(term)])
        return link


def forget(app, env, docname):
    env.glossary_uses.pop(docname, None)


def merge(app, env, docnames, other):
    env.glossary_uses.update({name: other.glossary_uses[name] for name in docnames if name in other.glossary_uses})


def link_back(app, doctree, docname):
    """Below each entry of the glossary: the notebook that uses it first."""
    if docname != GLOSSARY:
        return
    for item in doctree.findall(nodes.definition_list_item):
        links = []
        for term in item.findall(nodes.term):
            name = term.astext()
            for notebook in present():
                page = f"notebooks/{notebook.stem}"
                if name in app.env.glossary_uses.get(page, {}):
                    uri = f"{app.builder.get_relative_uri(docname, page)}#{identifier(name)}"
                    links.append((notebook, uri))
                    break
        if links:
            notebook, uri = min(links, key=lambda pair: pair[0].number)
            reference = nodes.reference("", f"{notebook.number} · {notebook.title}", refuri=uri, internal=True)
            item[-1] += nodes.paragraph("", "", nodes.Text("First met in "), reference, classes=["first-met"])


def setup(app):
    app.connect("builder-inited", read_terms)
    app.connect("env-purge-doc", forget)
    app.connect("env-merge-info", merge)
    app.connect("env-updated", lambda app, env: [GLOSSARY])
    app.connect("doctree-resolved", link_back)
    app.add_transform(GlossaryLinks)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
