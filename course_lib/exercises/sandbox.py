"""Run a learner's code inside the kernel so that it can neither hang it, end it nor leave it changed.

The code runs in a thread that is told to stop after a time limit or when memory runs away. Calls that would
end the process raise instead. What cannot be bounded from inside one process is a single step of C code that
never gives the interpreter back, such as `10 ** 10 ** 10`: interrupting or restarting the kernel ends that.
"""

import builtins
import contextlib
import ctypes
import io
import os
import random
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

SECONDS = 10.0
MEMORY = 1 << 30
PRINTED = 2_000  # characters that are kept
_ENDLESSLY_PRINTED = 1_000_000  # nobody reads so many: the answer is stopped

# Deep recursion must end in RecursionError, not in a crash: macOS gives a thread only 512 KiB of stack.
_STACK = 64 << 20
_POLL = 0.02
_ENDS_THE_PROCESS = [
    (module, name)
    for module, names in (
        (os, ("_exit", "abort", "kill", "killpg", "execv", "execve", "fork", "forkpty")),
        (signal, ("raise_signal", "pthread_kill")),
    )
    for name in names
    if hasattr(module, name)
]


class Stopped(BaseException):
    """Raised inside the learner's code when its time or memory is used up, or when it prints without end."""


class Forbidden(RuntimeError):
    """The learner's code called something that would end the kernel or wait for the keyboard."""


@dataclass(frozen=True)
class Outcome:
    """What came of a run: a `value` or an `error`, `stopped` with the reason, and what was `printed`."""

    value: Any = None
    error: BaseException | None = None
    stopped: str | None = None
    printed: str = ""


class _Capped(io.TextIOBase):
    """Keep the first characters that are written, and end an endless print loop: it must not fill the memory.

    It must not outlive the run either: afterwards it would write to the learner's own screen.
    """

    def __init__(self) -> None:
        self.text = ""
        self.count = 0

    def write(self, text: str) -> int:
        self.text += text[: PRINTED - len(self.text)]
        self.count += len(text)
        if self.count > _ENDLESSLY_PRINTED:
            raise Stopped(f"it printed more than {_ENDLESSLY_PRINTED:,} characters")
        return len(text)

    def writable(self) -> bool:
        return True


def run(function: Callable[[], Any], seconds: float | None = None) -> Outcome:
    """Call `function()` and return its `Outcome` after at most about `seconds` (default `SECONDS`).

    Nothing is raised, not even SystemExit or the learner's own KeyboardInterrupt. Random states, default dtype,
    recursion limit, working directory and warning filters are as before afterwards.
    """
    seconds = SECONDS if seconds is None else seconds
    result: dict[str, Any] = {}

    def work() -> None:
        try:
            torch.set_num_threads(1)  # else every new thread would start a pool of its own for small tensors
            result["value"] = function()
        except BaseException as error:  # the learner's code may raise anything, SystemExit included
            result["error"] = error

    worker = threading.Thread(target=work, daemon=True)
    printed = _Capped()
    with (
        _process_state_kept(),
        _forbidden_in(worker),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(printed),
    ):
        previous = threading.stack_size(_STACK)
        try:
            worker.start()
        finally:
            threading.stack_size(previous)
        stopped = _wait(worker, seconds)
    error = result.get("error")
    if stopped or isinstance(error, Stopped):
        return Outcome(stopped=stopped or str(error), printed=printed.text)
    return Outcome(result.get("value"), error, None, printed.text)


def describe(error: BaseException) -> str:
    """Name an exception in one line, with the learner's own line that raised it, even if its text is broken."""
    try:
        text = " ".join(str(error).split())
    except BaseException:  # a hostile __str__ must not get out of a check
        text = "(its text cannot be shown)"
    if len(text) > 200:
        text = text[:200] + "…"
    place = ""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "ipykernel" in frame.filename or frame.filename.startswith("<"):
            place = f", raised in line {frame.lineno} of its cell: `{frame.line}`" if frame.line else ""
            break
    return f"{type(error).__name__}: {text}{place}" if text else f"{type(error).__name__}{place}"


def _wait(worker: threading.Thread, seconds: float) -> str | None:
    """Wait for the worker; on the limit of time or memory, or an interrupt, stop it and return the reason."""
    process = psutil.Process()
    at_start = process.memory_info().rss
    deadline = time.monotonic() + seconds
    reason = None
    try:
        while worker.is_alive() and reason is None:
            worker.join(_POLL)
            if not worker.is_alive():
                break
            if time.monotonic() > deadline:
                reason = f"it was still running after {seconds:g} s"
            elif process.memory_info().rss - at_start > MEMORY:
                reason = f"it took more than {MEMORY >> 30} GiB of memory"
    except KeyboardInterrupt:
        reason = "you interrupted it"
    # A loop that catches everything swallows the first exceptions; after these the thread is left to itself.
    for _ in range(20 if reason else 0):
        if not worker.is_alive():
            break
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(worker.ident), ctypes.py_object(Stopped))
        worker.join(_POLL)
    return reason


@contextlib.contextmanager
def _forbidden_in(worker: threading.Thread) -> Iterator[None]:
    """In this thread alone, replace what would end the process or wait for the keyboard by an exception."""
    originals = [(module, name, getattr(module, name)) for module, name in _ENDS_THE_PROCESS]
    originals += [(builtins, "input", builtins.input), (builtins, "breakpoint", builtins.breakpoint)]
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        originals.append((shell, "ask_exit", shell.ask_exit))  # what `exit` and `quit` do in a notebook

    def guarded(name: str, original: Callable) -> Callable:
        def call(*args, **kwargs):
            if threading.current_thread() is worker:
                raise Forbidden(f"`{name}` cannot be used inside an answer")
            return original(*args, **kwargs)

        return call

    for module, name, original in originals:
        setattr(module, name, guarded(name, original))
    try:
        yield
    finally:
        for module, name, original in originals:
            setattr(module, name, original)


@contextlib.contextmanager
def _process_state_kept() -> Iterator[None]:
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    dtype, depth, directory = torch.get_default_dtype(), sys.getrecursionlimit(), Path.cwd()
    threads = torch.get_num_threads()
    try:
        with warnings.catch_warnings():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)
        sys.setrecursionlimit(depth)
        os.chdir(directory)
