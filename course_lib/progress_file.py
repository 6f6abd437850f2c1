"""The learner's progress: one small JSON file that survives crashes and several kernels at once.

It lies in the user's data directory (`COURSE_PROGRESS` names another file). A write goes to a new file that
replaces the old one in one step, under a lock. A file that cannot be read is set aside, never overwritten.
"""

import datetime
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import platformdirs
from filelock import FileLock, Timeout

_LOCK_SECONDS = 5
_EMPTY = {"version": 1, "exercises": {}, "quizzes": {}}


def path() -> Path:
    """Where the progress file is."""
    chosen = os.environ.get("COURSE_PROGRESS")
    return Path(chosen) if chosen else platformdirs.user_data_path("attention-course") / "progress.json"


class ProgressFile:
    """Read and update the progress file; `notes` says what a learner should know."""

    def __init__(self) -> None:
        self.path = path()
        self.notes: list[str] = []

    def read(self) -> dict[str, Any]:
        """Everything recorded so far: {"exercises": {id: …}, "quizzes": {number: …}}. Raises OSError."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return _fresh()
        try:
            return _checked(json.loads(text))
        except ValueError:
            aside = self.path.with_suffix(".damaged.json")
            self.path.replace(aside)
            self.notes.append(f"(Your progress file was damaged; it is kept as {aside.name} and a new one begun.)")
            return _fresh()

    def record_check(self, id: str, passed: bool) -> None:
        """Count an attempt; once passed, an exercise stays passed."""

        def change(data: dict[str, Any]) -> None:
            entry = data["exercises"].setdefault(id, {})
            entry["attempts"] = entry.get("attempts", 0) + 1
            if passed and not entry.get("passed"):
                entry["passed"] = _now()

        self._update(change)

    def record_hint(self, id: str) -> int:
        """Count a hint and return how many have been asked for."""
        count = 0

        def change(data: dict[str, Any]) -> None:
            nonlocal count
            entry = data["exercises"].setdefault(id, {})
            count = entry["hints"] = entry.get("hints", 0) + 1

        self._update(change)
        return count

    def record_solution(self, id: str) -> None:
        """Note that the solution was looked at."""
        self._update(lambda data: data["exercises"].setdefault(id, {}).setdefault("solution", _now()))

    def record_quiz(self, notebook: str) -> None:
        """Note that every question of this quiz was answered rightly."""
        self._update(lambda data: data["quizzes"].setdefault(notebook, _now()))

    def _update(self, change: Callable[[dict[str, Any]], Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(f"{self.path}.lock", timeout=_LOCK_SECONDS):
                data = self.read()
                change(data)
                self._replace(json.dumps(data, indent=1))
        except Timeout as error:
            raise OSError(0, "another notebook is holding the progress file") from error

    def _replace(self, text: str) -> None:
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=".progress-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(self.path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def _fresh() -> dict[str, Any]:
    return json.loads(json.dumps(_EMPTY))


def _checked(data: Any) -> dict[str, Any]:
    """The parsed file where it has the form that is written here. Raises ValueError otherwise."""
    tables = [data.get(key) for key in ("exercises", "quizzes")] if isinstance(data, dict) else [None]
    if not all(isinstance(table, dict) for table in tables):
        raise ValueError("not a progress file")
    if not all(isinstance(entry, dict) for entry in data["exercises"].values()):
        raise ValueError("not a progress file")
    return data


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
