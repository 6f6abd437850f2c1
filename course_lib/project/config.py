"""The settings of one run: a typed dataclass that is read from a TOML file and refuses what makes no sense."""

import difflib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

CORPORA = {"movie-reviews": "label", "sms-spam": "label", "trec-questions": "coarse"}  # name -> column of the classes
PARTS = ("validation", "test")
_FROZEN = ("nothing", "embeddings", *(f"layers:{n}" for n in range(1, 7)))


class ConfigError(ValueError):
    """The settings cannot be used; the message has a line for each that is wrong, and says what would be right."""


@dataclass(frozen=True)
class RunConfig:
    """Everything that a run depends on. The defaults take a minute or two on two cores.

    `report_on` is the split that is predicted: "validation" while you choose settings, "test" once, at the end. The
    numbers of rows are upper limits: a smaller split is taken whole. `model` is an asset, or a folder made by
    `save_pretrained`. Raises ConfigError.
    """

    corpus: str = "movie-reviews"
    model: str = "minilm-l6"
    train_rows: int = 1000
    report_rows: int = 1000
    report_on: str = "validation"
    max_length: int = 64
    epochs: int = 1
    batch_size: int = 32
    learning_rate: float = 2e-4
    frozen: str = "embeddings"
    checkpoint_every: int = 10
    seed: int = 0

    def __post_init__(self) -> None:
        problems = [*filter(None, (_problem(field.name, getattr(self, field.name)) for field in fields(self)))]
        if problems:
            raise ConfigError("\n".join(problems))

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """From setting to value; what is missing has its default. Raises ConfigError, all problems in one message."""
        known = {field.name: field.default for field in fields(cls)}
        problems = [_unknown(name, known) for name in settings if name not in known]
        problems += filter(None, (_problem(name, value) for name, value in settings.items() if name in known))
        if problems:
            raise ConfigError("\n".join(problems))
        return cls(**settings)

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """From the text of a TOML file. Raises ConfigError, for text that is no TOML too."""
        try:
            settings = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"this is not TOML: {error}. A setting is a line such as: seed = 0") from error
        return cls.from_dict(settings)

    @classmethod
    def from_file(cls, path: str | Path) -> Self:
        """From a TOML file. Raises ConfigError as `from_toml`, and FileNotFoundError."""
        return cls.from_toml(Path(path).read_text(encoding="utf-8"))

    def to_dict(self) -> dict[str, Any]:
        """From setting to value, in the order of the class."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def to_toml(self) -> str:
        """The text of a TOML file that gives this config again."""
        return "".join(f"{name} = {_toml(value)}\n" for name, value in self.to_dict().items())

    @property
    def label_column(self) -> str:
        """Column of the corpus that holds the classes."""
        return CORPORA[self.corpus]


def _toml(value: str | int | float) -> str:
    if isinstance(value, str):  # a TOML string is a JSON string, but for one control character that JSON allows
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)


def _unknown(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    there = f"did you mean {close[0]}?" if close else f"the settings are {', '.join(known)}"
    return f"{name}: there is no such setting; {there}"


_LEAST = {"train_rows": 2, "report_rows": 2, "max_length": 4, "epochs": 1, "batch_size": 1, "checkpoint_every": 1,
          "seed": 0}  # fmt: skip
_CHOICES = {"corpus": tuple(CORPORA), "report_on": PARTS, "frozen": _FROZEN}
_MOST_TOKENS = 512  # positions that BERT has learned


def _problem(name: str, value: Any) -> str | None:
    """What is wrong with one setting and what would be right; None if it is fine."""
    shown = f"{name} = {_shown(value)}"
    if name in _CHOICES and value not in _CHOICES[name]:
        close = difflib.get_close_matches(str(value), _CHOICES[name], n=1, cutoff=0.5)
        hint = f" Did you mean {_shown(close[0])}?" if close else ""
        return f"{shown}: choose one of {', '.join(map(_shown, _CHOICES[name]))}.{hint}"
    if name == "model" and (not isinstance(value, str) or not value.strip()):
        return f'{shown}: give the name of an asset or a folder as text, such as "minilm-l6"'
    if name in _LEAST:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"{shown}: a whole number is needed, without a point and without quotes, such as {_LEAST[name]}"
        if value < _LEAST[name]:
            return f"{shown}: must be at least {_LEAST[name]}"
        if name == "max_length" and value > _MOST_TOKENS:
            return f"{shown}: must be at most {_MOST_TOKENS}; the model has no more positions"
    if name == "learning_rate":
        if isinstance(value, bool) or not isinstance(value, int | float):
            return f"{shown}: a number is needed, without quotes, such as 2e-4"
        if not 0 < value < 1 or math.isnan(value):
            return f"{shown}: must be more than 0 and less than 1; 2e-4 is usual for fine-tuning"
    return None


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else repr(value)
