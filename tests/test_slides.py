"""The slides: every exercise, question, figure and quiz of the notebooks, in files that load nothing and fit."""

import re

import pytest

from course_lib.exercises import EXERCISES, QUIZZES
from course_lib.syllabus import PARTS
from tools import slides

NUMBERED = re.compile(r"\*Figure \d\d\.\d+\.")
FITS = """() => [...document.querySelectorAll(".slide")].flatMap((slide, place) => {
  slide.style.display = "block";
  const box = slide.querySelector(".content"), edge = box.getBoundingClientRect().right + 1;
  const wide = [...box.querySelectorAll("math, table, pre, img")].some(one => one.getBoundingClientRect().right > edge);
  const said = box.querySelector("h1, h2").innerText;
  slide.style.display = "";
  const over = wide || box.scrollHeight > box.clientHeight || box.scrollWidth > box.clientWidth;
  return over ? [`${place + 1} ${said}`] : [];
})"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The files of all parts."""
    return slides.write(tmp_path_factory.mktemp("slides"))


def deck(number):
    [found] = [one for part in PARTS for one in slides.decks(part) if one.notebook.number == number]
    return found.slides


def sources(number, kind):
    [notebook] = [one for one in slides.present() if one.number == number]
    return ["".join(cell["source"]) for cell in slides.stored(notebook)["cells"] if cell["cell_type"] == kind]


@pytest.mark.parametrize("number", ["02", "15"])
def test_a_deck_holds_what_its_notebook_asks_and_shows(number):
    kinds = [slide.kind for slide in deck(number)]
    markdown = sources(number, "markdown")
    exercises = [one for one in EXERCISES.values() if one.notebook == number]
    assert [slide.extra["id"] for slide in deck(number) if slide.kind == "exercise"] == [one.id for one in exercises]
    assert kinds.count("quiz") == len(QUIZZES[number])
    assert kinds.count("figure") == sum(text.startswith(("*Figure", "*Explorer")) for text in markdown)
    assert kinds.count("question") == sum(len(slides.PREDICTION.findall(text)) for text in markdown)
    assert kinds[0] == "title" and "section" in kinds


def test_an_exercise_says_its_minutes_and_its_first_hint_is_for_the_speaker():
    for slide in deck("02"):
        if slide.kind == "exercise":
            exercise = EXERCISES[slide.extra["id"]]
            assert slide.extra["minutes"] == exercise.minutes
            assert exercise.hints[0] in "\n".join(slide.notes)


def test_what_a_cell_prints_stands_in_the_notes_of_the_question_before_it():
    notes = ["\n".join(slide.notes) for slide in deck("02") if slide.kind == "question"]
    assert notes and any("The cell prints:" in note for note in notes)


def test_a_file_loads_nothing(written):
    for path in written:
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"<script[^>]*\ssrc|<link[^>]*\shref|\bsrc=[\"']?(?!data:)\w|@import|url\((?![\"']?data:)", text
        )
        assert "$$" not in re.sub(r"<pre.*?</pre>|<code.*?</code>", "", text, flags=re.DOTALL)
    assert {path.name for path in written} == {slides.file_name(part) for part in PARTS}


def test_sentences_are_taken_whole():
    text = "One sentence. A *second one. With a stop* inside. Then $a. B$ too."
    assert slides.first_sentences(text, 5) == "One sentence."
    assert slides.first_sentences(text, 30) == "One sentence. A *second one. With a stop* inside."


def test_rows_are_shared_out_evenly():
    rows = [f"| {number} | a row |" for number in range(30)]
    groups = list(slides.chunks(rows, 10 * slides.height(rows[0])))
    assert [row for group in groups for row in group] == rows
    assert {len(group) for group in groups} == {10}


@pytest.mark.browser
def test_every_slide_fits(chromium, written):
    page = chromium.new_page()
    page.set_viewport_size({"width": 1280, "height": 764})
    for path in written:
        page.goto(path.as_uri())
        assert page.locator(".slide").count() > 10
        assert page.evaluate(FITS) == [], path.name
    page.close()
