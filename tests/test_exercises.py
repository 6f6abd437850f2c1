"""The engine, and what holds for every exercise: its form, its reference, blank and hostile answers."""

import builtins
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from course_lib import exercises, syllabus
from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, QUIZZES, UnknownExerciseError, engine, judge, sandbox

IDS = list(EXERCISES)
MOST_IN_ONE_NOTEBOOK = 12


@pytest.fixture
def untraced():
    """Coverage does not follow the answer: stopped while the tracer holds its lock, it would keep it for ever."""
    before = threading.gettrace()
    threading.settrace(None)
    yield
    threading.settrace(before)


@pytest.fixture
def short_limit(monkeypatch, untraced):
    """For answers that never end: right ones have the learner's ten seconds, on the slowest computer too."""
    monkeypatch.setattr(sandbox, "SECONDS", 0.5)


def endless(*_):
    while True:
        time.sleep(0.001)


@pytest.fixture
def stubborn(short_limit):
    """An answer that catches whatever is raised in it. It ends with the test, so that no other one runs beside it."""
    test_ends, ended = threading.Event(), threading.Event()

    def answer(*_):
        while not test_ends.is_set():
            try:
                while not test_ends.is_set():
                    pass
            except BaseException:
                continue
        ended.set()

    yield answer
    test_ends.set()
    assert ended.wait(60)


def without_end(*arguments):
    return without_end(*arguments)


def eats_memory(*_):
    eaten = []
    while True:
        eaten.append(bytearray(10_000_000))


def raises(error):
    def answer(*_, **__):
        raise error

    return answer


class Hostile:
    """Every attribute, comparison and text of it fails."""

    def __getattr__(self, name):
        raise RuntimeError("no attribute for you")

    def __eq__(self, other):
        raise RuntimeError("not comparable")

    __hash__ = None

    def __call__(self, *_):
        return self

    def __bool__(self):
        raise RuntimeError("neither")

    def __str__(self):
        raise ValueError("no text")

    __repr__ = __str__


class BrokenError(Exception):
    def __str__(self):
        raise ValueError("no text")


def changes_everything(*_):
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    torch.set_default_dtype(torch.float64)
    sys.setrecursionlimit(500)
    os.chdir(os.sep)
    return torch.rand(3)


HOSTILE = {
    "number": 41.5,
    "text": "softmax",
    "bytes": b"\x00",
    "list of text": ["a", "b"],
    "nested lists of uneven length": [[1], [2, 3]],
    "set": {1, 2},
    "object": object(),
    "hostile object": Hostile(),
    "hostile class": Hostile,
    "class": int,
    "module": torch.nn.Linear(3, 5),
    "empty dict": {},
    "dict with other keys": {"nothing": 1},
    "nan": float("nan"),
    "huge": 10**400,
    "tensor of another shape": torch.zeros(2, 3, 5, 7),
    "empty tensor": torch.empty(0),
    "complex": 1j,
    "takes nothing": lambda: 3,
    "returns text": lambda *_: "text",
    "returns itself": lambda *a: a,
    "returns a generator": lambda *_: (i for i in range(3)),
    "returns a hostile object": lambda *_: Hostile(),
    "returns numbers that are none": lambda *_: torch.full((2, 2), torch.nan),
    "SystemExit": raises(SystemExit(1)),
    "KeyboardInterrupt": raises(KeyboardInterrupt()),
    "GeneratorExit": raises(GeneratorExit()),
    "exception without a text": raises(BrokenError()),
    "endless recursion": without_end,
    "os._exit": lambda *_: os._exit(1),
    "os.abort": lambda *_: os.abort(),
    "kills the process": lambda *_: os.kill(os.getpid(), signal.SIGTERM),
    "asks": lambda *_: input("?"),
    "debugger": lambda *_: breakpoint(),
    "changes the process": changes_everything,
}


@pytest.mark.parametrize("id", IDS)
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_answers_are_rejected_with_words(id, name, capsys):
    verdict = judge(id, HOSTILE[name])
    assert verdict.passed is False
    assert isinstance(verdict.message, str) and len(verdict.message) > 10
    assert "Traceback" not in verdict.message and "\n" not in verdict.message
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("short_limit")
@pytest.mark.parametrize("id", IDS)
def test_endless_answers_are_stopped(id):
    verdict = judge(id, endless)
    assert not verdict.passed
    if callable_is_asked(id):
        assert verdict.misconception == "does-not-end"
        assert "Does every loop end?" in verdict.message


def callable_is_asked(id):
    return isinstance(EXERCISES[id].reference, type(endless))


@pytest.mark.parametrize("id", IDS)
def test_blank_answers(id):
    def stub(*arguments, **keywords):
        """What is asked."""
        ...

    def passing(q):
        pass

    class Module(torch.nn.Module):
        def __init__(self):
            super().__init__()

        def forward(self, x):
            """What is asked."""
            ...

    for blank in (..., None, stub, passing, Module, {"a": ..., "b": ...}, [..., [..., ...]], (...,)):
        verdict = judge(id, blank)
        assert (verdict.passed, verdict.message, verdict.misconception) == (False, "not attempted yet", NOT_ATTEMPTED)


@pytest.mark.parametrize("id", IDS)
def test_reference_passes(id):
    verdict = judge(id, EXERCISES[id].reference)
    assert verdict.passed, verdict.message
    assert verdict.misconception is None and verdict.printed == ""


@pytest.mark.parametrize("id", IDS)
def test_reference_source_runs_on_its_own_and_passes(id):
    exercise = EXERCISES[id]
    names = {}
    exec(compile(exercise.reference_source, "<solution>", "exec"), names)
    assert judge(id, names[exercise.source.partition(":")[2]]).passed


@pytest.mark.parametrize("id", IDS)
def test_form(id):
    exercise = EXERCISES[id]
    assert exercise.id == id and exercise.notebook in syllabus.BY_NUMBER
    assert exercise.title and 1 <= exercise.difficulty <= 5 and 1 <= exercise.minutes <= 30
    assert len(exercise.hints) == 3 and len(set(exercise.hints)) == 3
    assert all(len(hint) > 20 for hint in exercise.hints)


def test_numbers_are_consecutive():
    for number in {exercise.notebook for exercise in EXERCISES.values()}:
        ids = [id for id in EXERCISES if id.startswith(f"{number}.")]
        assert ids == [f"{number}.{position}" for position in range(1, len(ids) + 1)]
        assert len(ids) <= MOST_IN_ONE_NOTEBOOK


@pytest.mark.parametrize("number", list(QUIZZES))
def test_quiz_form(number):
    questions = QUIZZES[number]
    assert len(questions) == 5
    for question in questions:
        assert 3 <= len(question.choices) <= 4 and 0 <= question.right < len(question.choices)
        assert len({choice.text for choice in question.choices}) == len(question.choices)
        assert all(len(choice.why) > 15 for choice in question.choices)
    assert len({question.right for question in questions}) > 1, "the right answer always stands in the same place"


def test_judges_import_nothing_that_they_judge():
    """A judge that called the package would confirm the package with itself."""
    program = (
        "import sys, course_lib.exercises as e\n"
        "print([m for m in sys.modules if m.startswith('course_lib') and not m.startswith('course_lib.exercises')])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['course_lib']"


def test_unknown_id_names_the_closest():
    with pytest.raises(UnknownExerciseError, match=r"did you mean '00\.1'"):
        judge("00.1a", 384)
    with pytest.raises(UnknownExerciseError, match="there is no exercise 7"):
        judge(7, 384)


def test_global_state_is_as_before():
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(1)
    directory, threads = Path.cwd(), torch.get_num_threads()
    for id in IDS:
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        judge(id, changes_everything)
        judge(id, EXERCISES[id].reference)
        assert (random.random(), np.random.rand(), torch.rand(1)) == expected
        assert torch.get_default_dtype() == torch.float32 and torch.get_num_threads() == threads
        assert Path.cwd() == directory and sys.getrecursionlimit() != 500
    assert builtins.input is not None and os._exit.__module__ in ("posix", "nt")


class TestSandbox:
    def test_an_answer_that_cannot_be_stopped_is_left_to_itself(self, stubborn):
        assert judge("00.2", stubborn).misconception == "does-not-end"

    def test_value_and_what_was_printed(self):
        def answer():
            print("halfway")
            return 7

        outcome = sandbox.run(answer)
        assert (outcome.value, outcome.error, outcome.stopped, outcome.printed) == (7, None, None, "halfway\n")

    def test_endless_printing_ends_before_the_time_is_up(self, capsys):
        def answer():
            while True:
                print("again")

        outcome = sandbox.run(answer, seconds=100)
        assert outcome.stopped == "it printed more than 1,000,000 characters"
        assert len(outcome.printed) == sandbox.PRINTED and capsys.readouterr() == ("", "")

    @pytest.mark.usefixtures("untraced")
    def test_memory_is_bounded(self, monkeypatch):
        monkeypatch.setattr(sandbox, "MEMORY", 100 << 20)
        outcome = sandbox.run(eats_memory, seconds=30)
        assert "of memory" in outcome.stopped

    @pytest.mark.usefixtures("untraced")
    def test_an_interrupt_stops_the_answer(self, monkeypatch):
        real, calls = sandbox.threading.Thread.join, []

        def interrupted_once(self, timeout=None):
            calls.append(timeout)
            if len(calls) == 1:
                raise KeyboardInterrupt
            return real(self, timeout)

        monkeypatch.setattr(sandbox.threading.Thread, "join", interrupted_once)
        assert sandbox.run(endless).stopped == "you interrupted it"

    def test_the_line_of_a_notebook_cell_is_named(self):
        source = "def broken():\n    return 1 / 0\n"
        names = {}
        exec(compile(source, "<ipython-input-3>", "exec"), names)
        sandbox_error = sandbox.run(names["broken"]).error
        assert sandbox.describe(sandbox_error).startswith("ZeroDivisionError: division by zero")

    def test_other_threads_may_still_end_themselves(self, stubborn):
        """The guards bind the answer's thread alone: an abandoned one must not bind the kernel."""
        sandbox.run(stubborn)
        assert builtins.input.__module__ != sandbox.__name__


class TestSource:
    def test_imports_and_helpers_come_along(self):
        text = engine._definition("course_lib.exercises.start_here", "judge_cosine")
        assert "from course_lib.exercises.judging import Mistake" in text
        assert "from course_lib.exercises.start_here import _HERE" in text
        assert "import torch" in text and "@exercise(" in text

    def test_a_constant_brings_its_comment(self):
        text = EXERCISES["00.1"].reference_source
        assert text.startswith("# One row for each") and text.endswith("width = 384")

    def test_unknown_name(self):
        with pytest.raises(LookupError, match="defines no missing"):
            engine._definition("course_lib.exercises.start_here", "missing")


def test_registered_twice():
    with pytest.raises(ValueError, match=r"00\.1 is defined twice"):
        engine.exercise("00.1", title="", minutes=1, difficulty=1, hints=("", "", ""), reference=":")(print)


def test_public_names():
    assert set(exercises.__all__) <= set(dir(exercises))
