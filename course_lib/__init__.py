"""Companion package of the course on attention, transformers, BERT and fine-tuning.

Importing it is cheap: no torch, no network, nothing written. Submodules, and the five calls a
learner makes (`check`, `hint`, `solution`, `quiz`, `progress`), load when they are first used.
"""

import importlib
from pathlib import Path

__version__ = "0.1.0"

_MODULES = (
    "assets",
    "attention",
    "batching",
    "bert",
    "calibration",
    "checkpoints",
    "corpora",
    "data_parallel",
    "decoding",
    "environment",
    "evaluation",
    "exercises",
    "finetuning",
    "gpt",
    "grammar",
    "hub",
    "inspection",
    "layers",
    "learning",
    "lora",
    "plotting",
    "positions",
    "pretraining",
    "project",
    "syllabus",
    "tokenizers",
    "training",
    "transformer",
    "widgets",
)
_LEARNER_CALLS = ("check", "hint", "solution", "quiz", "progress")

__all__ = [*_MODULES, *_LEARNER_CALLS, "where_installed"]


def __getattr__(name: str):
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _LEARNER_CALLS:
        return getattr(importlib.import_module(f"{__name__}.learning"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES, *_LEARNER_CALLS])


def where_installed() -> str:
    """Say where this package is loaded from, without naming a directory of the machine."""
    root = Path(__file__).parent.parent
    if (root / "pyproject.toml").is_file():
        return "course_lib comes from this copy of the course"
    return f"course_lib {__version__} is installed in this Python environment"
