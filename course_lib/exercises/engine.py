"""Exercises, quizzes, and the one function that judges an answer to an exercise."""

import ast
import difflib
import dis
import importlib
import importlib.util
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from . import sandbox

NOT_ATTEMPTED = "not-attempted"


class Verdict(NamedTuple):
    """What a judge says: `misconception` names the known mistake, `printed` is what the answer printed meanwhile."""

    passed: bool
    message: str
    misconception: str | None = None
    printed: str = ""


class Rejected(Exception):
    """Raised by a judge: the answer is not right yet, and this `message` says why in terms of the idea."""

    def __init__(self, message: str, misconception: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.misconception = misconception


class UnknownExerciseError(KeyError):
    """There is no exercise or quiz of this id."""

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True)
class Exercise:
    """One exercise. `starts_broken`: the learner repairs code that runs, so there is no blank stub."""

    id: str
    title: str
    minutes: int
    difficulty: int
    hints: tuple[str, str, str]
    source: str
    check: Callable[[Any], str | None]
    starts_broken: bool = False

    @property
    def notebook(self) -> str:
        """Number of its notebook: "02"."""
        return self.id.partition(".")[0]

    @property
    def reference(self) -> Any:
        """The right answer itself, imported when it is asked for."""
        module, _, name = self.source.partition(":")
        return getattr(importlib.import_module(module), name)

    @property
    def reference_source(self) -> str:
        """Python source of the right answer, with the imports it needs, ready to stand in a notebook cell."""
        return _definition(*self.source.split(":"))


class Choice(NamedTuple):
    """One answer of a quiz question and what choosing it shows."""

    text: str
    why: str


class Question(NamedTuple):
    """A question, its choices, and the index of the right one."""

    text: str
    choices: tuple[Choice, ...]
    right: int


EXERCISES: dict[str, Exercise] = {}
QUIZZES: dict[str, tuple[Question, ...]] = {}


def exercise(
    id: str,
    *,
    title: str,
    minutes: int,
    difficulty: int,
    hints: tuple[str, str, str],
    reference: str,
    starts_broken: bool = False,
) -> Callable[[Callable[[Any], str | None]], Callable[[Any], str | None]]:
    """Register the decorated judge as the exercise `id`; `reference` is "module:name" of the right answer.

    The judge takes the answer, raises `Rejected` where it is wrong, and may return a sentence for a right one.
    """

    def register(check: Callable[[Any], str | None]) -> Callable[[Any], str | None]:
        if id in EXERCISES:
            raise ValueError(f"exercise {id} is defined twice")
        EXERCISES[id] = Exercise(id, title, minutes, difficulty, hints, reference, check, starts_broken)
        return check

    return register


def quiz(notebook: str, *questions: Question) -> None:
    """Register the quiz that ends this notebook."""
    QUIZZES[notebook] = questions


def find(table: Mapping[str, Any], id: Any, what: str) -> Any:
    """Look `id` up; the error for an unknown one names the closest that exists."""
    if isinstance(id, str) and id in table:
        return table[id]
    close = difflib.get_close_matches(str(id), table, n=1)
    there = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(table)}"
    raise UnknownExerciseError(f"there is no {what} {id!r}; {there}")


def judge(id: str, answer: Any) -> Verdict:
    """Judge an answer to the exercise `id`.

    Pure: prints nothing, takes at most about `sandbox.SECONDS`, keeps every global random state, and never raises
    because of the answer. Raises UnknownExerciseError for an unknown id.
    """
    asked = find(EXERCISES, id, "exercise")

    def check() -> Verdict:
        if is_blank(answer):
            return Verdict(False, "not attempted yet", NOT_ATTEMPTED)
        try:
            return Verdict(True, asked.check(answer) or "right")
        except Rejected as rejection:
            return Verdict(False, rejection.message, rejection.misconception)

    outcome = sandbox.run(check)
    if outcome.stopped:
        verdict = Verdict(False, f"your answer was stopped: {outcome.stopped}. Does every loop end?", "does-not-end")
    elif outcome.error is not None:
        # The judge met something no rule of it foresaw: an object whose own methods fail, say.
        verdict = Verdict(False, f"your answer cannot be used: {sandbox.describe(outcome.error)}", "error")
    else:
        verdict = outcome.value
    return verdict._replace(printed=outcome.printed)


def is_blank(answer: Any) -> bool:
    """Whether an answer is still the stub it started as: `...`, None, a body of `...`, or a container of these."""
    if answer is ... or answer is None:
        return True
    if isinstance(answer, types.FunctionType):
        return _is_empty_body(answer.__code__)
    if isinstance(answer, type):
        methods = {name: member for name, member in vars(answer).items() if isinstance(member, types.FunctionType)}
        if len(methods) > 1:  # a stub of a module has an `__init__` that only calls its parent's
            methods.pop("__init__", None)
        return bool(methods) and all(_is_empty_body(method.__code__) for method in methods.values())
    if type(answer) is dict:
        return bool(answer) and all(is_blank(value) for value in answer.values())
    if type(answer) in (list, tuple):
        return bool(answer) and all(is_blank(value) for value in answer)
    return False


def _is_empty_body(code: types.CodeType) -> bool:
    """A function whose body is a docstring, `...` or `pass` does nothing but return None."""
    silent = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "CACHE", "POP_TOP"}
    steps = list(dis.get_instructions(code))
    if any(step.opname not in silent for step in steps):
        return False
    return all(step.argval in (None, ...) for step in steps if step.opname in ("LOAD_CONST", "RETURN_CONST"))


def _definition(module: str, name: str) -> str:
    """Source of the top-level `name` in `module`, comments above it included, after the imports that it uses."""
    path = Path(importlib.util.find_spec(module).origin)
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    tree = ast.parse(text)
    imports, others, found = [], [], None
    for node in tree.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports += [(node, alias) for alias in node.names]
        elif name in _names_of(node):
            found = node
        else:
            others += _names_of(node)
    if found is None:
        raise LookupError(f"{module} defines no {name}")
    used = {node.id for node in ast.walk(found) if isinstance(node, ast.Name)}
    head = []
    for node, alias in imports:
        bound = alias.asname or alias.name.partition(".")[0]
        if bound in used:
            head.append(_import_line(node, alias, module))
    local = sorted(used & set(others))
    if local:
        head.append(f"from {module} import {', '.join(local)}")
    start = min([found.lineno, *(node.lineno for node in getattr(found, "decorator_list", []))]) - 1
    while start and lines[start - 1].startswith("#"):
        start -= 1
    body = "\n".join(lines[start : found.end_lineno])
    return "\n".join(head) + ("\n\n\n" if head else "") + body


def _names_of(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def _import_line(node: ast.Import | ast.ImportFrom, alias: ast.alias, module: str) -> str:
    renamed = f" as {alias.asname}" if alias.asname else ""
    if isinstance(node, ast.Import):
        return f"import {alias.name}{renamed}"
    origin = node.module or ""
    if node.level:  # a relative import must name its package once it stands in a notebook
        origin = importlib.util.resolve_name("." * node.level + origin, module.rpartition(".")[0])
    return f"from {origin} import {alias.name}{renamed}"
