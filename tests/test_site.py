"""The rendered site: it builds without a warning or a network, its links lead somewhere, everybody can read it."""

import os
import re
import subprocess
import sys
from functools import cache
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from course_lib.syllabus import NOTEBOOKS
from tools import badges, jupyterlab, site

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs" / "_ext"))

import attention_demo  # noqa: E402
import course_sources  # noqa: E402
import gallery  # noqa: E402
import glossary_links  # noqa: E402
import native_math  # noqa: E402

pytestmark = pytest.mark.browser  # built once, in the stage that looks at pages

PRESENT = course_sources.present()
PHONE = {"width": 390, "height": 844}
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Page(HTMLParser):
    """What a page holds: ids, links, what it loads, pictures, text outside of code and formulas."""

    def __init__(self, path):
        super().__init__()
        self.ids, self.links, self.loaded, self.images, self.text, self.math = set(), [], [], [], [], 0
        self.terms, self._open = [], []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.ids |= {values[name] for name in ("id", "name") if values.get(name)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        loads = tag == "link" and values.get("rel") in (
            "stylesheet",
            "preload",
            "icon",
            "shortcut icon",
            "modulepreload",
        )
        if loads:
            self.loaded.append(values["href"])
        if tag in ("script", "img", "iframe", "source", "video") and values.get("src"):
            self.loaded.append(values["src"])
        if tag == "img":
            self.images.append(values)
        if tag == "span" and "glossary-term" in values.get("class", ""):
            self.terms.append(values["id"])
        self.math += tag == "math"
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"script", "style", "pre", "code", "math"} & set(self._open):
            self.text.append(data)


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """The built site. Sockets are blocked while it is built."""
    target = tmp_path_factory.mktemp("site") / "html"
    command = [sys.executable, "-m", "tools.site", "--no-open", "--to", str(target)]
    offline = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "offline")}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", env=offline, timeout=500)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return target


@pytest.fixture(scope="module")
def pages(html):
    names = [path.relative_to(html).as_posix() for path in sorted(html.rglob("*.html"))]
    return {name: Page(html / name) for name in names if not name.startswith("_static/")}


# ------------------------------------------------------------------------------------------ what is there


def test_every_notebook_has_its_page_and_its_place_in_the_sidebar(pages):
    for notebook in PRESENT:
        assert f"notebooks/{notebook.stem}.html" in pages
        assert f"notebooks/{notebook.stem}.html" in pages["index.html"].links
    assert "00_start_here" in [notebook.stem for notebook in PRESENT]


def test_the_map_names_all_notebooks(pages):
    text = " ".join("".join(pages["index.html"].text).split())
    assert [notebook.title for notebook in NOTEBOOKS if notebook.title not in text] == []


def test_every_public_module_is_in_the_reference(pages):
    assert {f"reference/{name}.html" for name in course_sources.modules()} <= set(pages)
    assert "course_lib.attention.scaled_dot_product_attention" in pages["reference/attention.html"].ids
    assert "course_lib.plotting.heatmap" in pages["reference/plotting.html"].ids


def test_instructors_find_their_page(pages):
    assert {"instructor/index.html", "authoring.html", "glossary.html", "gallery.html"} <= set(
        pages["index.html"].links
    )


def test_launch_buttons_are_the_badges(pages):
    repository = badges.repository()
    for notebook in PRESENT:
        links = pages[f"notebooks/{notebook.stem}.html"].links
        # the badge below the title and the button at the top
        assert links.count(badges.colab_url(repository, notebook.stem)) == 2
        assert links.count(badges.binder_url(repository, notebook.stem)) == 2


def test_gallery_has_every_figure_and_leads_to_it(pages):
    found = [figure for notebook in PRESENT for figure in gallery.figures(course_sources.stored(notebook))]
    assert len([one for one in pages["gallery.html"].images if "_images" in one.get("src", "")]) == len(found)
    captions = {gallery.anchor(caption) for _, _, caption in found} - {None}
    led_to = {urlsplit(link).fragment for link in pages["gallery.html"].links if "#figure-" in link}
    assert captions <= led_to
    assert len(captions) > 60


# ------------------------------------------------------------------------------------------ links


def test_internal_links_resolve(html, pages):
    @cache
    def ids(name):
        return pages[name].ids

    broken = []
    for name, page in pages.items():
        for link in [*page.links, *page.loaded]:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            path = (html / name).parent / unquote(parts.path) if parts.path else html / name
            target = path.resolve()
            there = target.is_file()
            if there and parts.fragment:
                there = unquote(parts.fragment) in ids(target.relative_to(html.resolve()).as_posix())
            if not there:
                broken.append(f"{name}: {link}")
    assert broken == []


def test_nothing_is_loaded_from_elsewhere(html, pages):
    outside = [
        f"{name}: {one}" for name, page in pages.items() for one in page.loaded if re.match(r"(https?:)?//", one)
    ]
    styles = html.rglob("*.css")
    outside += [path.name for path in styles if re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", read(path))]
    assert outside == []


def read(path):
    return path.read_text(encoding="utf-8")


def test_links_out_are_to_the_repository_and_to_sources(pages):
    hosts = {urlsplit(link).hostname for page in pages.values() for link in page.links if link.startswith("http")}
    hubs = {"tljh.jupyter.org", "nbgitpuller.readthedocs.io"}  # whose own pages say how to set one up
    assert hosts <= {"github.com", "colab.research.google.com", "mybinder.org", *hubs}


# ------------------------------------------------------------------------------------------ reading


def test_every_picture_says_what_it_shows(pages):
    silent = [
        f"{name}: {image.get('src')}"
        for name, page in pages.items()
        for image in page.images
        if not image.get("alt") or image["alt"].endswith(".png")
    ]
    assert silent == []
    for notebook in PRESENT:
        wanted = {alt for _, alt, _ in gallery.figures(course_sources.stored(notebook))}
        assert wanted <= {image["alt"] for image in pages[f"notebooks/{notebook.stem}.html"].images}


def test_formulas_are_drawn_by_the_browser_itself(html, pages):
    assert pages["notebooks/02_queries_keys_values.html"].math > 50
    assert (html / "_static" / native_math.FONT).stat().st_size > 50_000
    assert not any("mathjax" in one.lower() for page in pages.values() for one in page.loaded)
    raw = [
        f"{name}: {piece}" for name, page in pages.items() for piece in page.text if re.search(r"\$[^$]*\\\w+", piece)
    ]
    assert raw == []


def test_tables_are_drawn_as_tables(pages):
    for name, page in pages.items():
        assert not re.search(r"\|\s*[-–—]+\s*\|", "".join(page.text)), name


def test_formula_that_cannot_be_drawn_is_told():
    assert "<mfrac>" in native_math.mathml(r"\frac{1}{2}")
    with pytest.raises(ValueError, match="not known"):
        native_math.mathml(r"\nosuchcommand{x}")


def test_glossary_terms_are_linked_where_they_are_first_used(pages):
    terms = glossary_links.terms(read(ROOT / "docs" / "glossary.md"))
    assert terms == sorted(terms, key=str.lower)
    assert len(terms) > 100
    assert {f"term-{re.sub(r'[^A-Za-z0-9]+', '-', term)}" for term in terms} <= pages["glossary.html"].ids
    used = {id for notebook in PRESENT for id in pages[f"notebooks/{notebook.stem}.html"].terms}
    nowhere = [term for term in terms if glossary_links.identifier(term) not in used]
    assert not nowhere or len(PRESENT) < len(NOTEBOOKS), f"no notebook uses {nowhere}"
    assert len(nowhere) < len(terms) / 6
    for notebook in PRESENT:
        linked = pages[f"notebooks/{notebook.stem}.html"].terms
        assert len(linked) == len(set(linked)), "a term is linked once a notebook"
    first = urlsplit(next(link for link in pages["glossary.html"].links if "#first-softmax" in link))
    assert first.path == "notebooks/01_why_attention.html"


@pytest.mark.parametrize(
    ("term", "text", "found"),
    [
        ("top-k", "Top-k sampling", "Top-k"),
        ("vocabulary", "two vocabularies", "vocabularies"),
        ("key", "the keyboard and the keys", "keys"),
        ("head", "multi-head and a head", "head"),
        ("BERT", "bert and BERT", "BERT"),
        ("dot product", "the dot\nproducts", "dot\nproducts"),
    ],
)
def test_terms_are_recognised_as_they_are_written(term, text, found):
    expression, _ = glossary_links.pattern([term])
    assert expression.search(text)[0] == found


def test_longer_terms_come_first():
    expression, ordered = glossary_links.pattern(["attention", "attention weights"])
    found = expression.search("Attention weights are attention")
    assert ordered[int(found.lastgroup[1:])] == "attention weights"


def test_the_sentence_of_the_first_page_has_the_weights_of_notebook_02():
    rows = attention_demo.weights()
    assert [token for token, _ in rows] == ["the", "cat", "sat", "on", "the", "mat"]
    assert [sum(row) for _, row in rows] == [1] * 6


# ------------------------------------------------------------------------------------------ in the browser


@pytest.fixture(scope="module")
def browser(chromium):
    page = chromium.new_page()
    yield page
    page.close()


def violations(page):
    """What axe-core finds on the open page: rule, what is the matter, and where."""
    axe = resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    page.evaluate(axe)
    result = page.evaluate("wcag => axe.run({runOnly: wcag})", WCAG)
    return [
        f"{one['id']}: {one['help']}: {node['target']} {node['html'][:150]}"
        for one in result["violations"]
        for node in one["nodes"][:5]
    ]


def opened(browser, html, name, size, colours="light"):
    browser.set_viewport_size(size)
    browser.emulate_media(color_scheme=colours, reduced_motion="reduce")
    browser.goto((html / name).as_uri())
    browser.wait_for_load_state("load")
    assert browser.evaluate("document.documentElement.dataset.theme") == colours
    return browser


def test_axe_sees_a_fault(browser):
    browser.set_content("<html lang='en'><title>t</title><main><h1>t</h1><img src='x.png'></main></html>")
    assert any(one.startswith("image-alt") for one in violations(browser))


def faults(browser, html, names, colours):
    """What axe-core finds on each of the pages that are not free of faults."""
    found = {name: violations(opened(browser, html, name, jupyterlab.LAPTOP, colours)) for name in names}
    return {name: violated for name, violated in found.items() if violated}


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_page_of_each_kind_meets_wcag(browser, html, pages, colours):
    kinds = {"notebooks/": "02", "reference/": "", "instructor/": "02", "slides/": ""}  # many pages made in one way
    names = [name for name in pages if not name.startswith(tuple(kinds))]
    names += [next(name for name in pages if name.startswith(kind + number)) for kind, number in kinds.items()]
    names += [name for name in pages if re.fullmatch(r"instructor/[a-z].*", name)]  # written by hand
    assert faults(browser, html, names, colours) == {}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_every_page_meets_wcag(browser, html, pages, colours):
    assert faults(browser, html, pages, colours) == {}


def test_no_page_is_wider_than_a_phone(browser, html, pages):
    wide = {}
    for name in pages:
        opened(browser, html, name, PHONE)
        extra = browser.evaluate("document.documentElement.scrollWidth - innerWidth")
        if extra > 0:
            wide[name] = extra
    assert wide == {}


def test_no_code_is_cut_off_on_paper(browser, html):
    """Nothing scrolls there: A4 less its margins is 680 pixels wide."""
    opened(browser, html, "notebooks/06_encoder_decoder_translation.html", {"width": 680, "height": 1000})
    cut = "[...document.querySelectorAll('pre')].filter(pre => pre.scrollWidth > pre.clientWidth + 1).length"
    assert browser.evaluate(cut) > 0
    browser.emulate_media(media="print")
    try:
        assert browser.evaluate(cut) == 0
    finally:
        browser.emulate_media(media="screen")


def test_choosing_a_word_shows_its_weights(browser, html):
    opened(browser, html, "index.html", jupyterlab.LAPTOP)
    mat = browser.get_by_role("button", name=re.compile("^mat"))
    mat.focus()
    browser.keyboard.press("Enter")
    assert mat.get_attribute("aria-pressed") == "true"
    assert browser.locator(".attention-demo .answer").inner_text().startswith("“mat” looks most at “on” (2/5)")
    assert browser.locator(".attention-demo small").all_inner_texts() == ["1/10", "1/10", "1/5", "2/5", "1/10", "1/10"]


def test_search_finds_a_page(browser, html):
    browser.goto(f"{(html / 'search.html').as_uri()}?q=softmax")
    browser.wait_for_selector("#search-results li a")
    assert "Glossary" in browser.locator("#search-results").inner_text()


# ------------------------------------------------------------------------------------------ the command


def test_command_builds_and_opens(monkeypatch, tmp_path, capsys):
    opened_pages = []
    monkeypatch.setattr(site, "build", lambda target: 0)
    monkeypatch.setattr(site.webbrowser, "open", opened_pages.append)
    assert site.main(["--to", str(tmp_path)]) == 0
    assert opened_pages == [(tmp_path / "index.html").resolve().as_uri()]
    assert site.main(["--no-open"]) == 0
    assert len(opened_pages) == 1
    assert "The site is built" in capsys.readouterr().out


def test_command_passes_failure_on(monkeypatch):
    monkeypatch.setattr(site, "build", lambda target: 2)
    monkeypatch.setattr(site.webbrowser, "open", lambda page: pytest.fail("a failed build is not shown"))
    assert site.main([]) == 2
