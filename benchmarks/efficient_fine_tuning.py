"""Adapters of several ranks, and students, over three seeds: `python benchmarks/efficient_fine_tuning.py [part ...]`.

Writes benchmarks/results/efficient_fine_tuning.json after each run; runs recorded with the same setting are kept, so
an interrupted series goes on where it was. Notebook 17 trains one of them itself and asserts that its setting is this.
Parts: `rank 1` to `rank 32` are adapters of MiniLM, one epoch unless the name says more; `students` are models of two
blocks, and their teacher, MiniLM fine-tuned whole.
"""

import json
import platform
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from torch import nn
from transformers import AutoTokenizer, BertForSequenceClassification

from course_lib import assets, corpora, finetuning, lora
from course_lib.finetuning.distillation import distil, shallow_copy

RESULTS = Path(__file__).parent / "results" / "efficient_fine_tuning.json"
SEEDS = (0, 1, 2)
SETTING: dict[str, Any] = {
    "train": 800,
    "test": 500,
    "unlabelled": 800,
    "max_length": 64,
    "targets": ["query", "key", "value", "dense"],
    "alpha": 16,
    "learning_rate": {"full": 2e-4, "lora": 2e-3, "student": 2e-4},
    "student": {"layers": [0, 5], "temperature": 2.0, "weight": 0.5, "epochs": 2},
}
PARTS = ("rank 1", "rank 2", "rank 8", "rank 32", "students", "rank 8, 2 epochs")


class Texts:
    """The snippets as rows, and the labels of those to test on."""

    def __init__(self) -> None:
        self.checkpoint = assets.fetch("minilm-l6")
        tokenizer = AutoTokenizer.from_pretrained(self.checkpoint)
        reviews = corpora.load("movie-reviews")
        first, last = SETTING["train"], SETTING["train"] + SETTING["unlabelled"]
        train, more = reviews["train"].select(range(first)), reviews["train"].select(range(first, last))
        test = reviews["test"].select(range(SETTING["test"]))
        length = SETTING["max_length"]
        self.rows = finetuning.encode(tokenizer, train["text"], train["label"], max_length=length)
        self.unlabelled = finetuning.encode(tokenizer, more["text"], max_length=length)
        self.test = finetuning.encode(tokenizer, test["text"], max_length=length)
        self.labels = np.array(test["label"])

    def model(self, seed: int) -> nn.Module:
        """MiniLM with a new head; the seed draws the head."""
        torch.manual_seed(seed)
        return BertForSequenceClassification.from_pretrained(self.checkpoint, num_labels=2)

    def accuracy(self, model: nn.Module) -> float:
        """Share of the test snippets that the model gets right."""
        return float((finetuning.predict(model, self.test).argmax(-1) == self.labels).mean())


def full(texts: Texts, seed: int) -> nn.Module:
    """Fine-tune the whole model."""
    model = texts.model(seed)
    finetuning.fit(model, texts.rows, seed=seed, learning_rate=SETTING["learning_rate"]["full"])
    return model


def adapted(texts: Texts, part: str, seed: int) -> float:
    """Accuracy with adapters of the rank that `part` names."""
    rank, _, epochs = part.removeprefix("rank ").removesuffix(" epochs").partition(", ")
    model, rank = texts.model(seed), int(rank)
    chance = torch.Generator().manual_seed(seed)
    lora.attach(model, SETTING["targets"], rank, SETTING["alpha"], generator=chance)
    rate = SETTING["learning_rate"]["lora"]
    finetuning.fit(model, texts.rows, epochs=int(epochs or 1), seed=seed, learning_rate=rate, head_factor=1.0)
    return texts.accuracy(model)


def students(texts: Texts, seed: int) -> dict[str, float]:
    """Accuracy of the teacher, MiniLM fine-tuned whole, and of three students that begin with the same weights."""
    teacher = full(texts, seed)
    told = np.concatenate([finetuning.predict(teacher, rows) for rows in (texts.rows, texts.unlabelled)])
    said, asked = SETTING["student"], len(texts.rows)
    found = {"teacher": texts.accuracy(teacher)}
    runs = {
        "alone": (texts.rows, told[:asked], 0.0, said["epochs"]),
        "distilled": (texts.rows, told[:asked], said["weight"], said["epochs"]),
        "distilled, more text": (texts.rows + texts.unlabelled, told, said["weight"], 1),
    }
    for name, (rows, wanted, weight, epochs) in runs.items():
        student = shallow_copy(texts.model(seed), said["layers"])
        rate = SETTING["learning_rate"]["student"]
        settings = {"temperature": said["temperature"], "weight": weight, "epochs": epochs, "learning_rate": rate}
        distil(student, rows, wanted, seed=seed, **settings)
        found[name] = texts.accuracy(student)
    return found


def recorded(setting: dict[str, Any]) -> dict[str, Any]:
    """What was measured before with the same setting; nothing where it was another."""
    if RESULTS.is_file():
        record = json.loads(RESULTS.read_text(encoding="utf-8"))
        if {name: record.get(name) for name in setting} == setting:
            return record["runs"]
    return {}


def main(parts: Sequence[str] = PARTS) -> None:
    """Measure what is not recorded yet, seed after seed."""
    warnings.simplefilter("ignore")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    versions = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
    setting = {"versions": versions, "threads": 1, "setting": SETTING}
    runs, texts = recorded(setting), Texts()
    for seed in SEEDS:
        for part in parts:
            if str(seed) in runs.get(part, {}):
                continue
            start = time.process_time()
            found = students(texts, seed) if part == "students" else {"adapters": adapted(texts, part, seed)}
            found = {name: round(score, 4) for name, score in found.items()}
            found["cpu_seconds"] = round(time.process_time() - start)
            runs = recorded(setting)  # another process may have measured other parts meanwhile
            runs.setdefault(part, {})[str(seed)] = found
            RESULTS.write_text(json.dumps(setting | {"runs": runs}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:] or PARTS)
