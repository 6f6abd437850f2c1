"""Ours against theirs, in turns in one process; what every script in this folder measures with.

A time on one machine says little on another, and drifts while it is taken. A ratio of two times that were taken one
after the other drifts less: each round runs ours and theirs, in an order that changes, and gives one ratio.
"""

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

RESULTS = Path(__file__).parent / "results"
ROUNDS, QUICK_ROUNDS = 7, 2
THREADS = 1
KINDS = {  # part of an operator's name -> what it does; the first that fits counts
    "mm": "matrix products",
    "attention": "attention",
    "gelu": "GELU",
    "tanh": "GELU",  # transformers writes it out: its sums and products are among all else
    "pow": "GELU",
    "log_softmax": "loss",
    "layer_norm": "normalisation",
    "adamw": "optimiser",
}

Row = dict[str, Any]
Measure = Callable[[bool], Row]  # of whether it is to be quick: then sizes are small and rounds are few


def main(
    name: str, rows: Mapping[str, Measure], packages: Sequence[str] = ("torch",), arguments: Sequence[str] | None = None
) -> dict[str, Row]:
    """The command line of a script: measure each row, print it, and write results/NAME.json.

    With `--quick` sizes are small and nothing is written: it shows that the script works, not how fast anything is.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="small sizes, few rounds, no result file")
    parser.add_argument("--only", choices=list(rows), help="measure one row, and write no result file")
    chosen = parser.parse_args(arguments)
    earlier = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    try:
        measured = {}
        for key, measure in rows.items():
            if chosen.only in (None, key):
                measured[key] = measure(chosen.quick)
                print(f"{key}: {shown(measured[key])}", flush=True)
        if not (chosen.quick or chosen.only):
            write(name, measured, packages)
    finally:
        torch.set_num_threads(earlier)
    return measured


def shown(row: Row) -> str:
    """A row in one line."""
    return ", ".join(f"{key} {value}" for key, value in row.items())


def compare(
    ours: Callable[[], Any],
    theirs: Callable[[], Any],
    quick: bool = False,
    *,
    target: float | None = None,
    warm_up: int = 1,
) -> Row:
    """Median and quartiles of the ratio ours / theirs, and both median times in seconds.

    The caller has checked that both compute the same. `target` is the largest ratio to be content with.
    """
    for _ in range(warm_up):
        ours()
        theirs()
    gc.collect()
    times = []
    for number in range(QUICK_ROUNDS if quick else ROUNDS):
        pair = (ours, theirs) if number % 2 else (theirs, ours)
        measured = {function: seconds(function) for function in pair}
        times.append((measured[ours], measured[theirs]))
    row = summary(times)
    return row if target is None else row | {"target": target}


def summary(times: Sequence[tuple[float, float]]) -> Row:
    """The row of a table for (ours, theirs) of each round, of which there are at least two."""
    low, median, high = quantiles([mine / other for mine, other in times], n=4, method="inclusive")
    own, other = (quantiles(column, n=4, method="inclusive")[1] for column in zip(*times, strict=True))
    return {
        "ratio": _rounded(median),
        "quartiles": [_rounded(low), _rounded(high)],
        "rounds": len(times),
        "ours_seconds": _rounded(own),
        "theirs_seconds": _rounded(other),
    }


@contextmanager
def without_collector() -> Iterator[None]:
    """Keep the garbage collector out of what is timed."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def seconds(function: Callable[[], Any]) -> float:
    """Wall time of one call, with the collector out of the way."""
    with without_collector():
        start = time.perf_counter()
        function()
        return time.perf_counter() - start


def milliseconds_by_kind(ours: Callable[[], Any], theirs: Callable[[], Any]) -> dict[str, dict[str, float]]:
    """Processor time of one call of each, by what torch's operators do in it."""
    found = {}
    for side, function in (("ours", ours), ("theirs", theirs)):
        function()
        with profile(activities=[ProfilerActivity.CPU]) as profiled:
            function()
        times = dict.fromkeys([*KINDS.values(), "all else"], 0.0)
        for event in profiled.key_averages():
            name = event.key if event.key.startswith("aten::") else ""  # others are calls of these
            kind = next((kind for part, kind in KINDS.items() if part in name), "all else")
            times[kind] += event.self_cpu_time_total / 1e3
        found[side] = {kind: round(time, 1) for kind, time in times.items() if time}
    return found


def require_equal(ours: Any, theirs: Any, what: str) -> None:
    """Raise RuntimeError unless both are the same; numbers of float32 as close as rounding lets them be."""
    if isinstance(ours, torch.Tensor) and ours.is_floating_point():
        is_same = ours.shape == theirs.shape and torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4)
    elif isinstance(ours, torch.Tensor):
        is_same = torch.equal(ours, theirs)
    else:
        is_same = ours == theirs
    if not is_same:
        raise RuntimeError(f"{what}: ours and theirs differ, so their times cannot be compared")


def write(name: str, rows: Mapping[str, Row], packages: Sequence[str] = ("torch",), **more: Any) -> None:
    """Write results/NAME.json: what was measured, and with what."""
    record = {
        "versions": {"python": platform.python_version()}
        | {package: importlib.metadata.version(package) for package in packages},
        "threads": torch.get_num_threads(),
        "processor": processor(),
        **more,
        "rows": dict(rows),
    }
    text = json.dumps(record, indent=1, ensure_ascii=False) + "\n"
    path = RESULTS / f"{name}.json"
    draft = path.with_suffix(".part")
    draft.write_text(text, encoding="utf-8", newline="\n")
    draft.replace(path)


def processor() -> str:
    """The processor's kind and what PyTorch uses of it."""
    found = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        found = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), found)
    return f"{found}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores"


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")
