"""Fine-tune MiniLM on movie-review snippets, many times: `python benchmarks/sentiment.py`, half an hour of one core.

Writes benchmarks/results/sentiment.json, one entry a run, after each run; what is there with the same setting is
kept, so an interrupted series goes on where it was. Notebook 15 draws its tables and figures from that file:

- `fast`, `trainer`: the fast recipe and Trainer's defaults (one epoch, dynamic padding) on the same snippets,
  alternating in this process, three seeds each; `majority`, `tfidf` and `frozen` are the baselines for them;
- `size`: the fast recipe on fewer snippets, each seed with snippets of its own;
- `ladder`: more and more of the body frozen;
- `rate`: peak learning rates, scored on validation snippets;
- `long`: many epochs over few snippets, loss and accuracy after each.
"""

import hashlib
import importlib.metadata
import json
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
)

from course_lib import assets, corpora, evaluation, finetuning

RESULTS = Path(__file__).parent / "results" / "sentiment.json"
THREADS = 1
SEEDS = (0, 1, 2)
TRAIN, VALIDATION, TEST = 2000, 300, 600  # the first rows of each split, whose order is a fixed shuffle
SIZES = (125, 250, 500, 1000)
LADDER = {"nothing": (), "layers:4": "layers:4", "layers:6": "layers:6"}
LADDER_SIZE = 1000  # the rung "embeddings" is the run of this size
RATES, RATES_SIZE = (2e-6, 2e-5, 2e-4, 2e-3), 500
LONG_SIZE, LONG_EPOCHS = 250, 6
PACKAGES = ("torch", "transformers", "accelerate", "scikit-learn")

Row = dict[str, Any]
Measured = dict[str, Any]


class Data:
    """The texts, their rows of token ids and their labels, split by split."""

    def __init__(self, test: int = TEST) -> None:
        self.checkpoint = assets.fetch("minilm-l6")
        self.tokenizer = AutoTokenizer.from_pretrained(self.checkpoint)
        splits = corpora.load("movie-reviews")
        self.texts: dict[str, list[str]] = {}
        self.labels: dict[str, np.ndarray] = {}
        self.rows: dict[str, list[Row]] = {}
        for name, size in (("train", TRAIN), ("validation", VALIDATION), ("test", test)):
            part = splits[name][:size]
            self.texts[name], self.labels[name] = part["text"], np.array(part["label"])
            self.rows[name] = finetuning.encode(self.tokenizer, part["text"], part["label"])

    def fingerprint(self) -> str:
        """One hash of every text and label, so that results of other data are not mixed in."""
        everything = json.dumps([self.texts, {name: labels.tolist() for name, labels in self.labels.items()}])
        return hashlib.sha256(everything.encode()).hexdigest()

    def model(self, seed: int) -> nn.Module:
        """MiniLM with a head drawn from this seed."""
        torch.manual_seed(seed)
        return AutoModelForSequenceClassification.from_pretrained(self.checkpoint, num_labels=2)

    def sample(self, size: int, seed: int) -> list[Row]:
        """Training rows of this seed; all of them where `size` is all."""
        chosen = np.random.default_rng(seed).permutation(TRAIN)[:size]
        return [self.rows["train"][i] for i in sorted(chosen)]


def main() -> None:
    """Do what is missing from the result file, run after run."""
    torch.set_num_threads(THREADS)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    data = Data()
    setting = {
        "versions": {"python": platform.python_version()}
        | {name: importlib.metadata.version(name) for name in PACKAGES},
        "threads": THREADS,
        "rows": {name: len(rows) for name, rows in data.rows.items()},
        "data": data.fingerprint(),
    }
    earlier = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    is_same = all(earlier.get(name) == value for name, value in setting.items())
    runs = earlier["runs"] if is_same else {}
    for name, measure in series(data):
        if name not in runs:
            runs[name] = measure()
            result = {**setting, "labels": data.labels["test"].tolist(), "runs": runs}
            text = json.dumps(result, indent=1)
            RESULTS.write_text(_short_lists(text) + "\n", encoding="utf-8", newline="\n")
            print(name, {key: value for key, value in runs[name].items() if key != "margins"}, flush=True)


def _short_lists(text: str) -> str:
    """Lists of numbers on one line each."""
    lines, inside = [], False
    for line in text.split("\n"):
        if inside:
            lines[-1] += ("" if line.strip() == "]" or lines[-1].endswith("[") else " ") + line.strip()
            inside = not line.strip().startswith("]")
        else:
            lines.append(line)
            inside = line.endswith("[")
    return "\n".join(line.replace(" ]", "]") for line in lines)


def series(data: Data) -> Iterator[tuple[str, Callable[[], Measured]]]:
    """Name and procedure of every run, the most important first."""
    yield "majority", lambda: majority(data)
    yield "tfidf", lambda: tfidf(data)
    yield "frozen", lambda: frozen_features(data)
    for seed in SEEDS:
        yield f"fast/{seed}", lambda seed=seed: fast(data, data.rows["train"], seed, keep=True)
        yield f"trainer/{seed}", lambda seed=seed: trainer(data, seed)
    for seed in SEEDS:
        for rung, frozen in LADDER.items():
            rows = data.sample(LADDER_SIZE, seed)
            yield (
                f"ladder/{rung}/{seed}",
                lambda seed=seed, rows=rows, frozen=frozen: fast(data, rows, seed, frozen=frozen),
            )
        for rate in RATES:
            rows = data.sample(RATES_SIZE, seed)
            yield (
                f"rate/{rate:g}/{seed}",
                lambda seed=seed, rows=rows, rate=rate: fast(data, rows, seed, split="validation", learning_rate=rate),
            )
        if seed == SEEDS[0]:
            yield f"long/{seed}", lambda seed=seed: long(data, seed)
        for size in SIZES:
            yield f"size/{size}/{seed}", lambda seed=seed, size=size: fast(data, data.sample(size, seed), seed)


def scores(predictions: Sequence[int] | np.ndarray, labels: np.ndarray) -> Measured:
    """Accuracy and the mean of both classes' F1."""
    return {
        "accuracy": round(evaluation.accuracy(predictions, labels), 4),
        "macro_f1": round(evaluation.macro_f1(predictions, labels), 4),
    }


def with_margins(margins: np.ndarray, labels: np.ndarray) -> Measured:
    """Scores, and for each test snippet the logit of "positive" minus that of "negative"."""
    return scores(margins > 0, labels) | {"margins": [round(float(margin), 3) for margin in margins]}


def majority(data: Data) -> Measured:
    """Everyone gets the more common label of the training snippets."""
    common = np.bincount(data.labels["train"]).argmax()
    return scores(np.full(TEST, common), data.labels["test"]) | {"label": int(common)}


def tfidf(data: Data) -> Measured:
    """Logistic regression on counts of words and pairs of words."""
    start = time.process_time()
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10))
    model.fit(data.texts["train"], data.labels["train"])
    margins = model.decision_function(data.texts["test"])
    return with_margins(margins, data.labels["test"]) | {"cpu_seconds": round(time.process_time() - start, 1)}


def frozen_features(data: Data) -> Measured:
    """Logistic regression on the mean of MiniLM's last hidden states, the body as published."""
    start = time.process_time()
    body = data.model(0).base_model.eval()
    features = {name: mean_states(body, data.rows[name]) for name in ("train", "test")}
    model = LogisticRegression(C=10, max_iter=2000).fit(features["train"], data.labels["train"])
    margins = model.decision_function(features["test"])
    return with_margins(margins, data.labels["test"]) | {"cpu_seconds": round(time.process_time() - start, 1)}


@torch.no_grad()
def mean_states(body: nn.Module, rows: Sequence[Row]) -> np.ndarray:
    """[rows, hidden_size]: the mean over a text's real tokens, each scaled to length 1."""
    order = sorted(range(len(rows)), key=lambda i: len(rows[i]["input_ids"]))
    found = np.empty((len(rows), body.config.hidden_size))
    for first in range(0, len(order), 64):
        members = order[first : first + 64]
        batch = finetuning.collate([{"input_ids": rows[i]["input_ids"]} for i in members])
        mask = batch["attention_mask"][..., None]
        states = body(**batch).last_hidden_state
        means = (states * mask).sum(1) / mask.sum(1)
        found[members] = nn.functional.normalize(means, dim=1).numpy()
    return found


def fast(data: Data, rows: Sequence[Row], seed: int, *, split: str = "test", keep: bool = False, **recipe) -> Measured:
    """`finetuning.fit` on these rows, scored on a split."""
    model = data.model(seed)
    start = time.process_time()
    finetuning.fit(model, rows, seed=seed, **recipe)
    seconds = round(time.process_time() - start, 1)
    return measured(data, model, split, seconds, keep)


def trainer(data: Data, seed: int, epochs: int = 1) -> Measured:
    """Trainer with its defaults, but for the number of epochs, of which it makes three."""
    model = data.model(seed)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=epochs,
            seed=seed,
            use_cpu=True,
            report_to="none",
            save_strategy="no",
            logging_strategy="no",
            disable_tqdm=True,
        )
        run = Trainer(
            model,
            arguments,
            train_dataset=data.rows["train"],
            data_collator=DataCollatorWithPadding(data.tokenizer),
            processing_class=data.tokenizer,
        )
        start = time.process_time()
        run.train()
        seconds = round(time.process_time() - start, 1)
    return measured(data, model, "test", seconds, keep=True)


def measured(data: Data, model: nn.Module, split: str, seconds: float, keep: bool) -> Measured:
    """Scores of a trained model, with its margins where they are kept."""
    logits = finetuning.predict(model, data.rows[split])
    found = with_margins(logits[:, 1] - logits[:, 0], data.labels[split])
    if not keep:
        del found["margins"]
    return found | {"cpu_seconds": seconds}


def long(data: Data, seed: int) -> Measured:
    """Many epochs over few snippets: after each, loss and accuracy on these and on validation snippets."""
    rows = data.sample(LONG_SIZE, seed)
    steps = -(-LONG_SIZE // 32)
    start = time.process_time()

    def evaluate(model: nn.Module) -> dict[str, float]:
        found = {}
        for name, part in (("train", rows), ("validation", data.rows["validation"])):
            logits = torch.tensor(finetuning.predict(model, part))
            labels = torch.tensor([row["labels"] for row in part])
            found[f"{name}_loss"] = round(nn.functional.cross_entropy(logits, labels).item(), 4)
            found[f"{name}_accuracy"] = round((logits.argmax(1) == labels).double().mean().item(), 4)
        return found

    model = data.model(seed)
    history = finetuning.fit(model, rows, epochs=LONG_EPOCHS, seed=seed, evaluate=evaluate, evaluate_every=steps)
    epochs = [result for _, result in history.evaluations]
    columns = {name: [epoch[name] for epoch in epochs] for name in epochs[0]}
    return columns | {"cpu_seconds": round(time.process_time() - start, 1)}


if __name__ == "__main__":
    main()
