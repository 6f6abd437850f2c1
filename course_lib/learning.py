"""What a learner calls in a notebook: check, hint, solution, quiz, progress.

Nothing here raises because of what a learner passes, and every message is shown both as HTML and as plain text.
"""

import html
import sys
from typing import Any

from . import exercises, progress_map, syllabus
from .exercises import EXERCISES, NOT_ATTEMPTED, QUIZZES, UnknownExerciseError, Verdict
from .exercises.engine import find
from .progress_file import ProgressFile
from .widgets.display import marked

_COLOURS = {"passed": "#009e73", "not yet": "#d55e00", "not attempted yet": "#767676", "hint": "#0072b2"}
_PRINTED_LINES = 10  # of what an answer prints: the next cell stays in sight
_SIGNS = {"passed": "✓", "not yet": "✗", "not attempted yet": "○", "hint": "?"}


def check(id: str, answer: Any = ...) -> Any:
    """Judge `answer`, show the verdict and record it.

    Returns the answer itself where it is right, else the reference, so that the notebook runs on either:
    `attention = check("02.3", attention)`. Never raises; for an unknown id it says so and returns the answer.
    """
    try:
        verdict = exercises.judge(id, answer)
        exercise = EXERCISES[id]
    except UnknownExerciseError as error:
        _box("not yet", "check", [str(error)])
        return answer
    attempted = verdict.misconception != NOT_ATTEMPTED
    notes = _recorded(lambda file: file.record_check(id, verdict.passed)) if attempted else []
    _box(*_told(id, exercise.title, verdict), notes=notes)
    return answer if verdict.passed else exercise.reference


def hint(id: str) -> None:
    """Show the next of the three hints to this exercise, and the earlier ones again."""
    try:
        exercise = find(EXERCISES, id, "exercise")
    except UnknownExerciseError as error:
        _box("not yet", "hint", [str(error)])
        return
    counted: list[int] = []
    notes = _recorded(lambda file: counted.append(file.record_hint(id)))
    shown = min(counted[0] if counted else 1, len(exercise.hints))
    lines = [f"{number}. {text}" for number, text in enumerate(exercise.hints[:shown], start=1)]
    left = len(exercise.hints) - shown
    if left:
        lines.append(f"Call `hint({id!r})` again for {'the last one' if left == 1 else f'{left} more'}.")
    else:
        lines.append(f"That was the last hint; `solution({id!r})` shows the answer.")
    _box("hint", f"{id} {exercise.title}", lines, notes=notes)


def solution(id: str) -> None:
    """Show the source of the reference answer: the code that the notebook runs on when yours is not right yet."""
    try:
        exercise = find(EXERCISES, id, "exercise")
    except UnknownExerciseError as error:
        _box("not yet", "solution", [str(error)])
        return
    notes = _recorded(lambda file: file.record_solution(id))
    source = exercise.reference_source
    head = f"Solution of {id}, {exercise.title}"
    tail = "".join(f"\n\n{note}" for note in notes)
    _show(
        {
            "text/markdown": f"**{head}**\n\n```python\n{source}\n```{tail}",
            "text/plain": f"{head}\n\n{source}{tail}",
        }
    )


def quiz(id: str) -> None:
    """Show the quiz that ends this notebook: five questions, each answer with its explanation."""
    try:
        questions = find(QUIZZES, id, "quiz")
    except UnknownExerciseError as error:
        _box("not yet", "quiz", [str(error)])
        return
    from .widgets.quiz import quiz_bundle

    def passed() -> None:
        _recorded(lambda file: file.record_quiz(id))

    _show(quiz_bundle(id, questions, on_passed=passed))


def progress() -> None:
    """Show the map of the course with what has been passed so far."""
    done: dict[str, dict] = {"exercises": {}, "quizzes": {}}
    notes = _recorded(lambda file: done.update(file.read()))
    passed = _passed_by_notebook(done["exercises"])
    notebooks = [notebook for notebook in syllabus.NOTEBOOKS if notebook.number in passed]
    told = notebooks, passed, done["quizzes"]
    _show(
        {
            "text/html": progress_map.as_html(*told) + "".join(f"<p>{html.escape(note)}</p>" for note in notes),
            "text/plain": "\n".join([progress_map.as_text(*told), *notes]),
        }
    )


def _passed_by_notebook(done: dict[str, dict]) -> dict[str, tuple[int, int]]:
    """Number of exercises passed and of all, by notebook."""
    counts: dict[str, tuple[int, int]] = {}
    for id, exercise in EXERCISES.items():
        passed, total = counts.get(exercise.notebook, (0, 0))
        counts[exercise.notebook] = passed + bool(done.get(id, {}).get("passed")), total + 1
    return counts


def _told(id: str, title: str, verdict: Verdict) -> tuple[str, str, list[str]]:
    """State, heading and lines of a verdict."""
    if verdict.passed:
        state, lines = "passed", [verdict.message]
    elif verdict.misconception == NOT_ATTEMPTED:
        state = "not attempted yet"
        lines = [f"Write your answer in the cell above and run both cells; `hint({id!r})` helps."]
    else:
        state, lines = "not yet", [verdict.message, f"`hint({id!r})` helps."]
    if printed := verdict.printed.strip().splitlines():
        more = ["..."] * (len(printed) > _PRINTED_LINES)
        lines.append("Your code printed: `" + "\n".join([*printed[:_PRINTED_LINES], *more]) + "`")
    return state, f"{id} {title}", lines


def _recorded(write) -> list[str]:
    """Write to the progress file; what goes wrong with the file becomes a note, not an exception."""
    try:
        file = ProgressFile()
        write(file)
    except OSError as error:
        return [f"(Your progress could not be saved: {error.strerror or type(error).__name__}.)"]
    return file.notes


def _box(state: str, heading: str, lines: list[str], notes: list[str] = ()) -> None:
    label = "" if state == "hint" else f": {state}"
    lines = [*lines, *notes]
    body = "".join(f"<div>{marked(line)}</div>" for line in lines)
    _show(
        {
            "text/html": f"<div style='border-left:6px solid {_COLOURS[state]};padding:4px 12px'>"
            f"<div><strong>{_SIGNS[state]} {html.escape(heading)}{label}</strong></div>{body}</div>",
            "text/plain": "\n".join([f"{_SIGNS[state]} {heading}{label}", *(f"  {line}" for line in lines)]),
        }
    )


def _show(bundle: dict[str, Any]) -> None:
    """Display in a notebook; print the plain form elsewhere."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        print(bundle["text/plain"])  # noqa: T201 - in a plain interpreter this is the display
    else:
        from IPython.display import display

        display(bundle, raw=True)
