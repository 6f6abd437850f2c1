"""The result file of benchmarks/sentiment.py: complete, consistent, and made anew only where something is missing."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks import sentiment
from course_lib import assets, evaluation

RECORD = assets.recorded("sentiment")


def names():
    """Names of all runs, in order; nothing is trained."""
    return [name for name, _ in sentiment.series(SimpleNamespace(sample=lambda size, seed: [], rows={"train": []}))]


def test_every_run_is_recorded_once():
    assert len(names()) == len(set(names()))
    assert set(RECORD["runs"]) == set(names())


def test_setting_is_the_one_of_the_script():
    assert RECORD["rows"] == {
        "train": sentiment.TRAIN,
        "validation": sentiment.VALIDATION,
        "test": sentiment.TEST,
    }
    assert set(RECORD["versions"]) == {"python", *sentiment.PACKAGES}
    assert len(RECORD["labels"]) == sentiment.TEST
    assert len(RECORD["runs"]["long/0"]["train_loss"]) == sentiment.LONG_EPOCHS


@pytest.mark.parametrize("name", [name for name, run in RECORD["runs"].items() if "margins" in run])
def test_margins_give_the_scores(name):
    run, labels = RECORD["runs"][name], np.array(RECORD["labels"])
    answers = np.array(run["margins"]) > 0
    assert run["accuracy"] == pytest.approx(evaluation.accuracy(answers, labels), abs=2e-3)  # a margin may round to 0
    assert run["macro_f1"] == pytest.approx(evaluation.macro_f1(answers.astype(int), labels), abs=2e-3)


def test_fast_recipe_is_no_less_accurate_and_faster():
    runs = [[RECORD["runs"][f"{method}/{seed}"] for seed in sentiment.SEEDS] for method in ("fast", "trainer")]
    accuracy, seconds = ([np.mean([run[key] for run in one]) for one in runs] for key in ("accuracy", "cpu_seconds"))
    assert accuracy[0] >= accuracy[1] and seconds[0] < seconds[1]


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A series of three runs that count how often they were made, and a result file of their own."""
    made = []
    labels = {"test": np.array([0, 1])}
    data = SimpleNamespace(rows={"train": [1, 2, 3]}, labels=labels, fingerprint=lambda: data.texts, texts="these")

    def run(name):
        if name == data.fails:
            raise KeyboardInterrupt
        made.append(name)
        return {"accuracy": 0.5}

    data.fails = None
    monkeypatch.setattr(sentiment, "RESULTS", tmp_path / "sentiment.json")
    monkeypatch.setattr(sentiment, "Data", lambda: data)
    monkeypatch.setattr(sentiment, "series", lambda data: [(name, lambda name=name: run(name)) for name in "abc"])
    monkeypatch.setattr(sentiment.torch, "set_num_threads", lambda number: None)
    return SimpleNamespace(made=made, data=data, path=tmp_path / "sentiment.json")


def test_interrupted_series_goes_on(small):
    small.data.fails = "b"
    with pytest.raises(KeyboardInterrupt):
        sentiment.main()
    assert list(json.loads(small.path.read_text(encoding="utf-8"))["runs"]) == ["a"]
    small.data.fails = None
    sentiment.main()
    assert small.made == ["a", "b", "c"]
    assert json.loads(small.path.read_text(encoding="utf-8"))["labels"] == [0, 1]


def test_other_texts_start_anew(small):
    sentiment.main()
    small.data.texts = "others"
    sentiment.main()
    assert small.made == ["a", "b", "c"] * 2
