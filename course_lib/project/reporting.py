"""The report of a run: its scores and those of the baselines, each with an interval; as a table and as a file."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import checkpoints
from ..evaluation import Interval, bootstrap_interval, macro_f1
from .counterfactuals import BiasResult, CounterfactualGap
from .running import Data, Run

MODEL = "fine-tuned model"
REPORT_FILE = "report.json"


class Score(NamedTuple):
    """One row of the report; `ahead` is how much higher the model's accuracy is on the same examples, None for it."""

    name: str
    accuracy: Interval
    macro_f1: Interval
    ahead: Interval | None


class ClassScore(NamedTuple):
    """What the model does with one class: its rows in the split, precision, recall and F1."""

    name: str
    rows: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class Report:
    """What a run measured, and everything that a reader needs to judge it.

    `config` is that of the run, `train_rows` and `rows` are the rows that it trained and reported on.
    """

    config: Mapping[str, Any]
    train_rows: int
    rows: int
    scores: tuple[Score, ...]
    classes: tuple[ClassScore, ...]
    bias: tuple[BiasResult, ...] = ()

    @property
    def model(self) -> Score:
        """The row of the fine-tuned model."""
        return next(score for score in self.scores if score.name == MODEL)

    def table(self) -> str:
        """The scores as a Markdown table."""
        lines = ["| | accuracy | macro F1 | model is ahead by |", "|---|---|---|---|"]
        for score in self.scores:
            ahead = "" if score.ahead is None else shown(score.ahead, sign=True)
            lines.append(f"| {score.name} | {shown(score.accuracy)} | {shown(score.macro_f1)} | {ahead} |")
        return "\n".join(lines)

    def class_table(self) -> str:
        """The classes as a Markdown table."""
        lines = ["| class | rows | precision | recall | F1 |", "|---|---|---|---|---|"]
        lines += [f"| {c.name} | {c.rows} | {c.precision:.2f} | {c.recall:.2f} | {c.f1:.2f} |" for c in self.classes]
        return "\n".join(lines)

    def bias_table(self) -> str:
        """The exchanges of names as a Markdown table."""
        lines = ["| names exchanged | class | mean change | largest change |", "|---|---|---|---|"]
        for one in self.bias:
            exchange = f"{one.first} minus {one.second}"
            lines.append(f"| {exchange} | {one.watched} | {shown(one.gap.mean, True, 3)} | {one.gap.largest:+.3f} |")
        return "\n".join(lines)

    def save(self, path: str | Path) -> None:
        """Write it as JSON, whole or not at all."""
        with checkpoints.replacing(Path(path)) as file:
            file.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8", newline="\n")

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """What `save` wrote. Raises FileNotFoundError, or ValueError for a file that is no report."""
        try:
            read = json.loads(Path(path).read_text(encoding="utf-8"))
            scores = [
                Score(name, *(interval and Interval(*interval) for interval in rest)) for name, *rest in read["scores"]
            ]
            bias = [
                BiasResult(*names, CounterfactualGap(Interval(*mean), largest, tuple(where)), tuple(example))
                for *names, (mean, largest, where), example in read["bias"]
            ]
            classes = [ClassScore(*one) for one in read["classes"]]
            rows = {name: read[name] for name in ("config", "train_rows", "rows")}
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{Path(path).name} is no report of a run, or damaged: {error!r}") from error
        return cls(**rows, scores=tuple(scores), classes=tuple(classes), bias=tuple(bias))


def shown(interval: Interval, sign: bool = False, digits: int = 2) -> str:
    """`0.81 [0.78, 0.84]`, with as many decimals as asked for; with `sign`, a plus before what is not negative."""
    form = f"{'+' if sign else ''}.{digits}f"
    return f"{interval.estimate:{form}} [{interval.low:{form}}, {interval.high:{form}}]"


def baselines(data: Data) -> dict[str, NDArray[np.int64]]:
    """Predictions for the reported split by what is cheaper, from the same training rows.

    The most common class, and a logistic regression on the weighted words and pairs of words.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    most_common = int(np.bincount(data.train_labels).argmax())
    words = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
    words.fit(data.train_texts, data.train_labels)
    return {
        "most common class": np.full(len(data.report_labels), most_common),
        "words and pairs of words": words.predict(data.report_texts),
    }


def paired_difference(first: ArrayLike, second: ArrayLike, labels: ArrayLike, **bootstrap: Any) -> Interval:
    """How much more accurate the first predictions are than the second, on the same examples.

    Each resample draws examples, and takes both answers to each: what makes an example hard for both cancels out.
    Raises ValueError for shapes that differ.
    """
    first, second, labels = map(np.asarray, (first, second, labels))
    if not first.shape == second.shape == labels.shape:
        raise ValueError(f"predictions {first.shape} and {second.shape} and labels {labels.shape} differ in shape")
    return bootstrap_interval((first == labels).astype(float) - (second == labels), **bootstrap)


def report(
    finished: Run,
    others: Mapping[str, ArrayLike],
    bias: Sequence[BiasResult] = (),
    *,
    level: float = 0.95,
    resamples: int = 1000,
) -> Report:
    """Score a run and the predictions of others, all on the same examples.

    Raises:
        ValueError: predictions that do not fit the labels.
    """
    labels = finished.data.report_labels
    bootstrap = {"level": level, "resamples": resamples}
    scores = []
    for name, predictions in {**others, MODEL: finished.predictions}.items():
        predictions = np.asarray(predictions)
        ahead = None if name == MODEL else paired_difference(finished.predictions, predictions, labels, **bootstrap)
        pairs = np.stack([predictions, labels], axis=1)
        f1 = bootstrap_interval(pairs, lambda rows: macro_f1(rows[:, 0], rows[:, 1]), **bootstrap)
        scores.append(Score(name, bootstrap_interval(predictions == labels, **bootstrap), f1, ahead))
    classes = _by_class(finished.predictions, labels, finished.data.class_names)
    train_rows = len(finished.data.train_labels)
    return Report(finished.config.to_dict(), train_rows, len(labels), tuple(scores), classes, tuple(bias))


def _by_class(predictions: NDArray, labels: NDArray, names: Sequence[str]) -> tuple[ClassScore, ...]:
    from sklearn.metrics import precision_recall_fscore_support

    columns = precision_recall_fscore_support(labels, predictions, labels=range(len(names)), zero_division=0)
    return tuple(
        ClassScore(name, int(rows), float(precision), float(recall), float(f1))
        for name, precision, recall, f1, rows in zip(names, *columns, strict=True)
    )
