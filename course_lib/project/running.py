"""One run from a config: data, training that survives an interruption, predictions, and the model in a folder.

The folder of a run holds `config.toml`, `training.safetensors` (the checkpoint), `model/` (weights, tokenizer, class
names) and `predictions.safetensors`. Each appears whole or not at all. The same config gives the same bytes on the same
machine with the same number of threads.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import save_file

from .. import attention, checkpoints, corpora, finetuning
from .config import RunConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CONFIG_FILE = "config.toml"
CHECKPOINT_FILE = "training.safetensors"
MODEL_FOLDER = "model"
PREDICTIONS_FILE = "predictions.safetensors"
_ONLY_REPORTING = ("report_on", "report_rows")  # settings that leave the trained weights as they are


class Data(NamedTuple):
    """Texts and class numbers `[rows]` to train on and to report on, and the names of the classes."""

    class_names: tuple[str, ...]
    train_texts: list[str]
    train_labels: NDArray[np.int64]
    report_texts: list[str]
    report_labels: NDArray[np.int64]


def load_data(config: RunConfig) -> Data:
    """The first rows of both splits, which are in a fixed mixed order.

    Raises ValueError where a class has no training row.
    """
    splits = corpora.load(config.corpus)
    train, report = splits["train"], splits[config.report_on]
    train = train.select(range(min(len(train), config.train_rows)))
    report = report.select(range(min(len(report), config.report_rows)))
    names = tuple(train.features[config.label_column].names)
    labels = [np.asarray(part[config.label_column], dtype=np.int64) for part in (train, report)]
    missing = [name for number, name in enumerate(names) if number not in labels[0]]
    if missing:
        raise ValueError(
            f"train_rows = {config.train_rows}: no training row is of class {', '.join(missing)}, and a class without "
            "an example cannot be learnt; raise train_rows"
        )
    return Data(names, list(train["text"]), labels[0], list(report["text"]), labels[1])


@dataclass
class Classifier:
    """A trained model with its tokenizer: texts in, a probability for each class out."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    class_names: tuple[str, ...]
    max_length: int

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """`[texts, classes]`; a text of more than `max_length` tokens is cut. Raises ValueError for no texts."""
        if isinstance(texts, str) or not len(texts):
            raise ValueError("pass a list of texts, at least one")
        rows = finetuning.encode(self.tokenizer, list(texts), max_length=self.max_length)
        return np.asarray(finetuning.predict(self.model, rows), dtype=np.float32)

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float64]:
        """`[texts, classes]`: the softmax of the logits."""
        return softmax(self.logits(texts))

    def save(self, folder: str | Path) -> None:
        """Write weights (safetensors), tokenizer and class names; the folder appears whole or not at all.

        Raises FileExistsError where there is one already.
        """
        folder = Path(folder)
        if folder.exists():
            raise FileExistsError(f"there is a folder {folder.name} already, and a trained model is not overwritten")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder.parent, prefix=".partial-") as temporary:
            partial = Path(temporary) / folder.name
            self.tokenizer.model_max_length = self.max_length
            self.tokenizer.save_pretrained(partial)
            self.model.save_pretrained(partial)
            partial.rename(folder)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """What `save` wrote. Raises FileNotFoundError, or CheckpointError for damaged weights."""
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        checkpoints.load_safetensors(Path(folder))  # for its errors, which say what to do
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        names = tuple(model.config.id2label[number] for number in range(model.config.num_labels))
        return cls(model, tokenizer, names, tokenizer.model_max_length)


def softmax(logits: NDArray) -> NDArray[np.float64]:
    """Over the last axis, in float64."""
    return attention.softmax(torch.as_tensor(logits, dtype=torch.float64)).numpy()


@dataclass(frozen=True)
class Run:
    """A finished run: what was asked for, on which data, and the `logits` `[rows, classes]` of the reported split."""

    config: RunConfig
    data: Data
    classifier: Classifier
    logits: NDArray[np.float32]

    @property
    def predictions(self) -> NDArray[np.int64]:
        """The class of the largest logit, for each row that is reported on."""
        return self.logits.argmax(axis=-1)


def new_classifier(config: RunConfig, class_names: Sequence[str]) -> Classifier:
    """The pre-trained model with a new layer for these classes, drawn from the config's seed."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = checkpoints.resolve(config.model)
    names = dict(enumerate(class_names))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = AutoModelForSequenceClassification.from_pretrained(
            folder, id2label=names, label2id={name: number for number, name in names.items()}, dtype=torch.float32
        )
    return Classifier(model, AutoTokenizer.from_pretrained(folder), tuple(class_names), config.max_length)


def run(
    config: RunConfig,
    directory: str | Path,
    *,
    evaluate: Callable[[torch.nn.Module], dict[str, float]] | None = None,
    evaluate_every: int | None = None,
) -> Run:
    """Train as the config says, save the model, predict, and save the predictions.

    Called again with the same config and directory, it goes on where it was interrupted, and a model that is finished
    is not trained again. `evaluate` is called with the model every `evaluate_every` updates.

    Raises:
        ValueError: the directory holds a run with other settings, a damaged checkpoint, or a class has no row.
    """
    directory = Path(directory)
    _claim(directory, config)
    data = load_data(config)
    folder = directory / MODEL_FOLDER
    if not folder.exists():
        classifier = new_classifier(config, data.class_names)
        _train(classifier, config, data, directory / CHECKPOINT_FILE, evaluate, evaluate_every)
        classifier.save(folder)
        del classifier  # before its copy is loaded
    classifier = Classifier.load(folder)
    logits = classifier.logits(data.report_texts)
    with checkpoints.replacing(directory / PREDICTIONS_FILE) as file:
        save_file({"logits": logits, "labels": data.report_labels}, file)
    return Run(config, data, classifier, logits)


def _train(classifier: Classifier, config: RunConfig, data: Data, checkpoint: Path, evaluate, evaluate_every) -> None:
    rows = finetuning.encode(
        classifier.tokenizer, data.train_texts, data.train_labels.tolist(), max_length=config.max_length
    )
    try:
        finetuning.fit(
            classifier.model,
            rows,
            epochs=config.epochs,
            batch_size=config.batch_size,
            learning_rate=config.learning_rate,
            frozen=() if config.frozen == "nothing" else config.frozen,
            seed=config.seed,
            evaluate=evaluate,
            evaluate_every=evaluate_every,
            checkpoint_path=checkpoint,
            checkpoint_every=config.checkpoint_every,
            resume=checkpoint.exists(),
            progress=False,
        )
    except checkpoints.CheckpointError as error:
        raise checkpoints.CheckpointError(f"{error}: delete {checkpoint.name}, and the run starts anew") from error


def _claim(directory: Path, config: RunConfig) -> None:
    """Write the config into the directory; refuse one that holds a run whose weights came from other settings."""
    file = directory / CONFIG_FILE
    if file.exists():
        there = RunConfig.from_file(file).to_dict()
        differing = [
            f"{name} is {there[name]!r} there and {value!r} here"
            for name, value in config.to_dict().items()
            if there[name] != value and name not in _ONLY_REPORTING
        ]
        if differing:
            raise ValueError(
                f"the folder {directory.name} holds a run with other settings: {'; '.join(differing)}. Each run has "
                "a folder of its own: choose another one"
            )
    with checkpoints.replacing(file) as partial:
        partial.write_text(config.to_toml(), encoding="utf-8", newline="\n")
