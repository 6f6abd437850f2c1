"""Start processes that compute together, and bring back what each of them returns.

A function defined in a notebook cannot be imported by another process, so it travels as text: it must import what it
uses. Everything else (a dead process, one that waits for ever) ends in a `WorkerError`, never in a hang.
"""

import contextlib
import inspect
import io
import multiprocessing
import os
import platform
import tempfile
import textwrap
import time
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from torch import distributed

# The network interface that leads nowhere but to this computer; Windows has no name for it.
_LOOPBACK = {"Linux": "lo", "Darwin": "lo0"}
_GRACE_SECONDS = 1.0
_LOST_A_PEER = ("closed by peer", "reset by peer", "Connection refused", "Broken pipe")  # what gloo says then


class WorkerError(RuntimeError):
    """A process failed, died, or did not return in time; the message says which and why. All others are ended."""


def run(worker: Callable[..., Any], world_size: int, *arguments: Any, timeout: float = 120.0) -> list[Any]:
    """Call `worker(rank, world_size, *arguments)` in `world_size` new processes joined by the gloo backend.

    Returns what each returned, by rank, and prints what each printed, by rank. The worker is sent as source text:
    it sees nothing of the notebook but its arguments and imports what it uses.

    Args:
        timeout: seconds until all must have returned, starting the processes included.

    Raises:
        ValueError: `world_size` below 1, a timeout that is not positive, or a worker without source text.
        WorkerError: a worker raised an exception, its process died, or time ran out.
    """
    if world_size < 1:
        raise ValueError(f"world_size={world_size} must be at least 1")
    if not timeout > 0:
        raise ValueError(f"timeout={timeout} must be positive")
    source = _source(worker)
    # "spawn" starts from nothing: a forked copy of a process that has used threads can hang.
    context = multiprocessing.get_context("spawn")
    ends, processes = [], []
    with tempfile.TemporaryDirectory(prefix="data-parallel-") as folder:
        try:
            for rank in range(world_size):
                ours, theirs = context.Pipe(duplex=False)
                setting = (rank, world_size, str(Path(folder, "store")), timeout)
                process = context.Process(
                    target=_process, args=(theirs, setting, source, worker.__name__, arguments), daemon=True
                )
                process.start()
                theirs.close()  # or the end of a dead process would not be noticed
                ends.append(ours)
                processes.append(process)
            answers = _collect(ends, processes, time.monotonic() + timeout, timeout)
        finally:
            for process in processes:
                process.kill()
                process.join()
    for rank, (printed, _) in enumerate(answers):
        for line in printed.splitlines():
            print(f"[rank {rank}] {line}")  # noqa: T201 - what the workers printed is the caller's to see
    return [value for _, value in answers]


def _source(worker: Callable) -> str:
    try:
        return textwrap.dedent(inspect.getsource(worker))
    except (OSError, TypeError) as error:
        raise ValueError(f"{worker!r} has no source text to send: define it with `def` in a cell or a file") from error


def _collect(
    ends: list[Connection], processes: list[multiprocessing.Process], deadline: float, timeout: float
) -> list[tuple[str, Any]]:
    """(printed, returned) of each process; stops at the first that fails."""
    answers: dict[int, tuple[str, Any]] = {}
    failures: dict[int, str] = {}
    while len(answers) < len(ends):
        waiting = [end for rank, end in enumerate(ends) if rank not in answers and rank not in failures]
        ready = wait(waiting, timeout=max(0.0, deadline - time.monotonic())) if waiting else []
        if failures and not ready:
            raise WorkerError(f"{_first_cause(failures)}; the others were ended")
        if not ready:
            late = ", ".join(str(rank) for rank in range(len(ends)) if rank not in answers)
            raise WorkerError(
                f"no result from rank {late} within {timeout:g} s. A collective call, such as all_reduce, waits until "
                "every process makes it: does each rank make the same calls in the same order?"
            )
        for end in ready:
            rank = ends.index(end)
            try:
                kind, printed, value = end.recv()
            except EOFError:
                processes[rank].join(5)
                code = processes[rank].exitcode
                failures[rank] = f"rank {rank} of {len(ends)} died with exit code {code} before it returned"
                continue
            if kind == "error":
                failures[rank] = f"rank {rank} of {len(ends)} raised {value}"
            else:
                answers[rank] = printed, value
        if failures:  # the others may only report that they lost the one that failed first: hear them out
            deadline = min(deadline, time.monotonic() + _GRACE_SECONDS)
    return [answers[rank] for rank in range(len(ends))]


def _first_cause(failures: dict[int, str]) -> str:
    """The failure that is not merely the loss of another process."""
    causes = [text for text in failures.values() if not any(sign in text for sign in _LOST_A_PEER)]
    return (causes or list(failures.values()))[0]


def _process(end: Connection, setting: tuple, source: str, name: str, arguments: tuple) -> None:
    """What runs in a new process: join the group, call the worker, send back its result."""
    rank, world_size, store, timeout = setting
    if platform.system() in _LOOPBACK:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", _LOOPBACK[platform.system()])
    printed = io.StringIO()
    try:
        import torch

        torch.set_num_threads(1)
        distributed.init_process_group(
            "gloo",
            store=distributed.FileStore(store, world_size),
            rank=rank,
            world_size=world_size,
            timeout=timedelta(seconds=timeout),
        )
        namespace: dict[str, Any] = {"__name__": "worker"}
        exec(compile(source, f"<{name}>", "exec"), namespace)
        with contextlib.redirect_stdout(printed):
            value = namespace[name](rank, world_size, *arguments)
        answer = "value", printed.getvalue(), value
    except Exception as error:
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == f"<{name}>"]
        place = f" (line {own[-1].lineno} of {name})" if own else ""
        answer = "error", printed.getvalue(), f"{type(error).__name__}: {error}{place}"
    end.send(answer)
    # Stay until all have answered, since others and `run` may still be reading from us; then `run` ends every process.
    time.sleep(timeout)
