"""The quiz at the end of a notebook: choose an answer, read at once why it is right or wrong."""

from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets

from ..exercises.engine import Question
from .display import marked, watched, with_fallback

_LETTERS = "abcdefgh"


class Quiz:
    """Radio buttons for each question; `on_passed` is called when the last of them is answered rightly."""

    def __init__(self, questions: Sequence[Question], on_passed: Callable[[], None]) -> None:
        self._questions = questions
        self._on_passed = on_passed
        self._right = [False] * len(questions)
        self.choices = [self._choice(question) for question in questions]
        self.explanations = [ipywidgets.HTML() for _ in questions]
        self.score = ipywidgets.HTML()
        self._show_score()
        rows: list[ipywidgets.Widget] = []
        for number, question in enumerate(questions):
            self.choices[number].observe(lambda change, number=number: self._answered(number), names="index")
            head = ipywidgets.HTML(f"<strong>{number + 1}. {marked(question.text)}</strong>")
            rows += [head, self.choices[number], self.explanations[number]]
        self.view = ipywidgets.VBox([*rows, self.score])

    @staticmethod
    def _choice(question: Question) -> ipywidgets.RadioButtons:
        return ipywidgets.RadioButtons(
            options=[choice.text.replace("`", "") for choice in question.choices],  # a label shows no code
            value=None,
            layout=ipywidgets.Layout(width="auto"),
        )

    def _answered(self, number: int) -> None:
        index = self.choices[number].index
        if index is None:
            return
        question = self._questions[number]
        right = index == question.right
        sign = "✓ Right." if right else "✗ Not this one."
        self.explanations[number].value = f"<em>{sign} {marked(question.choices[index].why)}</em>"
        was_done = all(self._right)
        self._right[number] = right
        self._show_score()
        if all(self._right) and not was_done:
            self._on_passed()

    def _show_score(self) -> None:
        self.score.value = f"{sum(self._right)} of {len(self._right)} right"


def quiz_bundle(notebook: str, questions: Sequence[Question], on_passed: Callable[[], None]) -> dict[str, Any]:
    """Display bundle of a quiz: live radio buttons, and a page on which the answers unfold."""
    return with_fallback(
        watched(Quiz(questions, on_passed).view),
        {"text/html": _as_html(notebook, questions), "text/plain": _as_text(notebook, questions)},
    )


def _as_html(notebook: str, questions: Sequence[Question]) -> str:
    parts = [f"<div><strong>Quiz {notebook}</strong>"]
    for number, question in enumerate(questions, start=1):
        choices = "".join(f"<li>{marked(choice.text)}</li>" for choice in question.choices)
        reasons = "".join(
            f"<li>{'✓' if index == question.right else '✗'} {marked(choice.why)}</li>"
            for index, choice in enumerate(question.choices)
        )
        parts.append(
            f"<p>{number}. {marked(question.text)}</p><ol type='a'>{choices}</ol>"
            f"<details><summary>Answer to question {number}</summary><ol type='a'>{reasons}</ol></details>"
        )
    return "".join(parts) + "</div>"


def _as_text(notebook: str, questions: Sequence[Question]) -> str:
    lines = [f"Quiz {notebook}"]
    for number, question in enumerate(questions, start=1):
        lines += ["", f"{number}. {question.text}"]
        lines += [f"   {_LETTERS[index]}) {choice.text}" for index, choice in enumerate(question.choices)]
    lines += ["", "Answers"]
    for number, question in enumerate(questions, start=1):
        right = question.choices[question.right]
        lines.append(f"{number}. {_LETTERS[question.right]}: {right.why}")
    return "\n".join(lines)
