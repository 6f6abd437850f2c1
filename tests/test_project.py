"""A run from its config to its card: bad settings named, the same bytes twice, report, names exchanged."""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
import torch
import transformers
from datasets import ClassLabel, Dataset, DatasetDict, Features, Value
from hypothesis import given
from hypothesis import strategies as st

from course_lib import checkpoints, corpora, evaluation, project
from course_lib.project import ConfigError, RunConfig

WORDS = ["good", "bad", "film", "the", "a", "was", "not", "emily", "jack", "omar", "anna", "one", "two", "three"]
NAMES = ["negative", "positive"]


@pytest.fixture(autouse=True)
def quiet():
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory):
    """A BERT of two blocks with fourteen words, saved as its publishers would."""
    folder = tmp_path_factory.mktemp("tiny")
    vocab = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS])}
    transformers.BertTokenizer(vocab=vocab).save_pretrained(folder)
    torch.manual_seed(0)
    settings = {"vocab_size": len(vocab), "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
    transformers.BertModel(transformers.BertConfig(**settings, intermediate_size=20)).save_pretrained(folder)
    return folder


@pytest.fixture(autouse=True)
def corpus(monkeypatch):
    """Texts of known words instead of the reviews; "good" is positive."""
    random = np.random.default_rng(5)
    features = Features({"text": Value("string"), "label": ClassLabel(names=NAMES)})

    def rows(number):
        labels = [i % 2 for i in range(number)]
        texts = [" ".join([*random.choice(WORDS[2:], 1 + i % 5), ("bad", "good")[y]]) for i, y in enumerate(labels)]
        return Dataset.from_dict({"text": texts, "label": labels}, features)

    splits = DatasetDict(train=rows(61), validation=rows(23), test=rows(29))
    monkeypatch.setattr(corpora, "load", lambda name: splits)
    return splits


@pytest.fixture
def config(tiny_model):
    return RunConfig(model=str(tiny_model), train_rows=41, batch_size=7, checkpoint_every=2, learning_rate=5e-3)


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# --- config ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('corpus = "sms_spam"', 'corpus = "sms_spam": choose one of .*Did you mean "sms-spam"'),
        ("corpus = 3", "corpus = 3: choose one of"),
        ('corpus = ["sms-spam"]', "choose one of"),
        ("train_rows = 0", "train_rows = 0: must be at least 2"),
        ("epochs = 1.0", "epochs = 1.0: a whole number is needed"),
        ('epochs = "3"', 'epochs = "3": a whole number is needed'),
        ("seed = true", "seed = true: a whole number is needed"),
        ("seed = -1", "seed = -1: must be at least 0"),
        ("max_length = 513", "must be at most 512"),
        ("learning_rate = 0", "learning_rate = 0: must be more than 0"),
        ("learning_rate = nan", "learning_rate = nan: must be more than 0"),
        ("learning_rate = inf", "less than 1"),
        ('learning_rate = "2e-4"', "a number is needed, without quotes"),
        ("learning_rate = true", "a number is needed"),
        ('frozen = "layers:7"', 'frozen = "layers:7": choose one of "nothing", "embeddings", "layers:1"'),
        ('report_on = "train"', 'choose one of "validation", "test"'),
        ('model = ""', "model = .*: give the name of an asset or a folder"),
        ("learning_rte = 1", "learning_rte: there is no such setting; did you mean learning_rate"),
        ("zzz = 1", "zzz: there is no such setting; the settings are corpus, model"),
        ("seed: 0", "this is not TOML"),
    ],
)
def test_a_bad_setting_is_named_with_its_remedy(text, message):
    with pytest.raises(ConfigError, match=message):
        RunConfig.from_toml(text)


def test_all_problems_come_at_once():
    with pytest.raises(ConfigError) as raised:
        RunConfig.from_toml('corpus = "x"\nepochs = 0\nseeed = 1')
    assert len(str(raised.value).splitlines()) == 3


def test_the_class_itself_refuses_too(config):
    with pytest.raises(ConfigError, match="epochs = 0"):
        dataclasses.replace(config, epochs=0)


@given(
    st.builds(
        RunConfig,
        corpus=st.sampled_from(["movie-reviews", "sms-spam", "trec-questions"]),
        model=st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip),
        train_rows=st.integers(2, 10**9),
        learning_rate=st.floats(1e-12, 0.999),
        seed=st.integers(0, 2**40),
    )
)
def test_toml_and_back(config):
    assert RunConfig.from_toml(config.to_toml()) == config


def test_config_from_a_file(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('corpus = "sms-spam"  # messages\n', encoding="utf-8")
    assert RunConfig.from_file(path) == RunConfig(corpus="sms-spam")
    with pytest.raises(FileNotFoundError):
        RunConfig.from_file(tmp_path / "none.toml")


# --- run ------------------------------------------------------------------------------------------------------


def test_data_are_the_first_rows_of_the_splits(config, corpus):
    data = project.load_data(dataclasses.replace(config, report_on="test", report_rows=11))
    assert data.train_texts == corpus["train"]["text"][:41] and data.report_texts == corpus["test"]["text"][:11]
    assert data.report_labels.tolist() == corpus["test"]["label"][:11] and data.class_names == tuple(NAMES)


def test_a_class_without_a_row_is_named(config, corpus):
    corpus["train"] = corpus["train"].filter(lambda row: row["label"] == 0)
    with pytest.raises(ValueError, match=r"no training row is of class positive.*raise train_rows"):
        project.load_data(config)


def test_the_same_config_gives_the_same_bytes(config, tmp_path):
    chance = torch.get_rng_state()
    one, other = (project.run(config, tmp_path / name) for name in "ab")
    assert torch.equal(chance, torch.get_rng_state())
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert one.logits.tobytes() == other.logits.tobytes() and one.logits.shape == (23, 2)
    seeded = project.run(dataclasses.replace(config, seed=1), tmp_path / "c")
    assert seeded.logits.tobytes() != one.logits.tobytes()


@pytest.mark.parametrize("at", [1, 3, 5])
def test_an_interrupted_run_goes_on(config, tmp_path, at):
    whole = project.run(config, tmp_path / "whole")

    def interrupt(model):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        project.run(config, tmp_path / "cut", evaluate=interrupt, evaluate_every=at)
    assert not (tmp_path / "cut" / "model").exists()
    resumed = project.run(config, tmp_path / "cut")
    assert resumed.logits.tobytes() == whole.logits.tobytes()
    assert files(tmp_path / "cut") == files(tmp_path / "whole")


def test_a_finished_model_is_not_trained_again(config, tmp_path, monkeypatch):
    project.run(config, tmp_path)
    monkeypatch.setattr(project.running.finetuning, "fit", None)
    reported = project.run(dataclasses.replace(config, report_on="test"), tmp_path)
    assert len(reported.logits) == 29
    assert RunConfig.from_file(tmp_path / "config.toml").report_on == "test"


def test_a_folder_of_other_settings_is_refused(config, tmp_path):
    project.run(config, tmp_path / "mine")
    before = files(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"folder mine .* seed is 0 there and 3 here.*choose another"):
        project.run(dataclasses.replace(config, seed=3), tmp_path / "mine")
    assert files(tmp_path / "mine") == before


def test_damaged_files_are_named(config, tmp_path):
    project.run(config, tmp_path)
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(checkpoints.CheckpointError, match="truncated or damaged"):
        project.run(config, tmp_path)
    shutil.rmtree(tmp_path / "model")
    checkpoint = tmp_path / project.CHECKPOINT_FILE
    checkpoint.write_bytes(checkpoint.read_bytes()[:-9])
    with pytest.raises(checkpoints.CheckpointError, match=r"damaged.*delete training\.safetensors, and the run starts"):
        project.run(config, tmp_path)
    checkpoint.unlink()
    assert len(project.run(config, tmp_path).logits) == 23


def test_what_cannot_be_written_whole_leaves_nothing(config, tmp_path, monkeypatch):
    run = project.run(config, tmp_path / "run")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(run.classifier.model), "save_pretrained", full)
    with pytest.raises(OSError, match="No space"):
        run.classifier.save(tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_classifier_saved_and_loaded(config, tmp_path):
    run = project.run(config, tmp_path / "run")
    texts = ["good film", "the bad one was " * 30]
    loaded = project.Classifier.load(tmp_path / "run" / "model")
    assert loaded.class_names == tuple(NAMES) and loaded.max_length == 64
    assert loaded.logits(texts).tobytes() == run.classifier.logits(texts).tobytes()
    assert loaded.probabilities(texts).sum(axis=1) == pytest.approx([1, 1])
    with pytest.raises(FileExistsError, match="not overwritten"):
        loaded.save(tmp_path / "run" / "model")
    with pytest.raises(ValueError, match="list of texts"):
        loaded.logits("good film")
    with pytest.raises(FileNotFoundError):
        project.Classifier.load(tmp_path)


def test_softmax_is_torchs():
    logits = np.array([[1000.0, 999.0], [-3.0, 2.0]], dtype=np.float32)
    assert project.softmax(logits) == pytest.approx(torch.tensor(logits).double().softmax(-1).numpy())


# --- report ---------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(config, tmp_path):
    return project.run(config, tmp_path / "run")


def test_report_scores_everything_on_the_same_rows(finished):
    labels = finished.data.report_labels
    others = {**project.baselines(finished.data), "always wrong": 1 - labels}
    report = project.report(finished, others, resamples=200)
    assert [score.name for score in report.scores] == [*others, project.MODEL]
    for score, predictions in zip(report.scores, [*others.values(), finished.predictions], strict=True):
        assert score.accuracy.estimate == pytest.approx((predictions == labels).mean())
        assert score.macro_f1.estimate == pytest.approx(evaluation.macro_f1(predictions, labels))
    ours = report.model.accuracy.estimate
    assert report.model.ahead is None and report.scores[2].ahead.estimate == pytest.approx(ours)
    assert report.rows == 23 and report.train_rows == 41 and report.config == finished.config.to_dict()


def test_classes_are_scored_as_by_scikit_learn(finished):
    from sklearn.metrics import precision_recall_fscore_support

    logits = np.random.default_rng(0).normal(size=finished.logits.shape).astype(np.float32)
    report = project.report(dataclasses.replace(finished, logits=logits), {}, resamples=2)
    expected = precision_recall_fscore_support(finished.data.report_labels, logits.argmax(1))
    for number, one in enumerate(report.classes):
        found = (one.precision, one.recall, one.f1, one.rows)
        assert found == pytest.approx([column[number] for column in expected])


def test_paired_difference_is_narrower_than_two_samples():
    random = np.random.default_rng(1)
    labels = random.integers(0, 2, 997)
    hard = random.random(997) < 0.3
    first, second = (np.where(hard ^ (random.random(997) < 0.03), 1 - labels, labels) for _ in range(2))
    interval = project.paired_difference(first, second, labels)
    change = (first == labels).astype(int) - (second == labels)
    assert interval.estimate == pytest.approx(change.mean())
    assert interval.high - interval.low == pytest.approx(3.92 * change.std() / math.sqrt(997), rel=0.1)
    with pytest.raises(ValueError, match="differ in shape"):
        project.paired_difference(first[:3], second, labels)


def checked(finished):
    """A report with a check for bias."""
    bias = project.bias_check(
        finished.classifier.probabilities, NAMES, project.Templates("positive", ("{name} was good", "not {name}"))
    )
    return project.report(finished, project.baselines(finished.data), bias, resamples=50)


def test_report_saved_and_loaded(finished, tmp_path):
    report = checked(finished)
    report.save(tmp_path / "report.json")
    loaded = project.Report.load(tmp_path / "report.json")
    assert loaded == report
    assert (loaded.table(), loaded.class_table(), loaded.bias_table()) == (
        report.table(),
        report.class_table(),
        report.bias_table(),
    )


@pytest.mark.parametrize("content", ["", "{}", '{"scores": 3}', "[1]", '{"scores": [["a"]], "bias": []}'])
def test_a_damaged_report_is_named(tmp_path, content):
    path = tmp_path / "report.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=r"report\.json is no report of a run"):
        project.Report.load(path)


# --- exchanged names ------------------------------------------------------------------------------------------


def likes(texts):
    """0.5, and 0.1 more for an `a` in the name."""
    positive = np.array([0.5 + 0.1 * ("Anna" in text) - 0.2 * ("Omar" in text) for text in texts])
    return np.stack([1 - positive, positive], axis=1)


def test_bias_check_on_paper():
    groups = {"one": ("Anna", "Emily"), "other": ("Jack", "Omar")}
    results = project.bias_check(
        likes,
        NAMES,
        project.Templates("positive", ("{name} here", "I and {name}", "no {name}")),
        groups=groups,
        comparisons=[("one", "other")],
    )
    first, yardstick = results
    assert first.gap.mean.estimate == pytest.approx((0.1 + 0.2) / 2) and first.gap.largest == pytest.approx(0.2)
    assert first.example == ("Emily here", "Omar here")
    assert yardstick[:2] == ("one, one half", "one, other half")
    assert yardstick.gap.mean.estimate == pytest.approx(0.1)  # Anna against Emily


@pytest.mark.parametrize(
    ("watched", "sentences", "groups", "message"),
    [
        ("spam", ("{name}", "a {name}"), {"a": ("x", "y"), "b": ("z", "w")}, "'spam' is watched"),
        ("positive", ("{name}", "no name"), {"a": ("x", "y"), "b": ("z", "w")}, "'no name' has no place"),
        ("positive", ("{name}", "a {name}"), {"a": ("x", "y"), "b": ("z",)}, r"\[sentences, words\]"),
    ],
)
def test_bias_check_refuses(watched, sentences, groups, message):
    with pytest.raises(ValueError, match=message):
        project.bias_check(likes, NAMES, project.Templates(watched, sentences), groups=groups, comparisons=[("a", "b")])


def test_every_corpus_has_sentences_and_equal_groups():
    assert set(project.TEMPLATES) == set(project.config.CORPORA) <= set(corpora.CORPORA)
    for name, (watched, sentences) in project.TEMPLATES.items():
        assert watched in corpora.CORPORA[name].columns[project.config.CORPORA[name]]
        assert len(set(sentences)) == 12 and len(project.filled(sentences, ["x"])) == 12
    assert {len(set(group)) for group in project.GROUPS.values()} == {8}


# --- card -----------------------------------------------------------------------------------------------------

AUTHOR = dict.fromkeys(project.SECTIONS, "Eight words or more stand here for you to read.")


def test_card_has_the_numbers_of_the_report(finished):
    report = checked(finished)
    card = project.model_card(report, "learner/films", AUTHOR)
    (accuracy, f1) = card.data.eval_results
    assert accuracy.metric_value == round(report.model.accuracy.estimate, 3) and accuracy.dataset_split == "validation"
    assert f1.metric_value == round(report.model.macro_f1.estimate, 3)
    for part in (report.table(), report.class_table(), report.bias_table(), "seed = 0", "scores above are too good"):
        assert part in str(card)
    assert all(f"## {section}\n" in str(card) for section in project.SECTIONS)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({}, "'Intended use' has 0 words"),
        ({**AUTHOR, "Limits": "None known."}, "'Limits' has 2 words"),
        ({**AUTHOR, "Praise": "It is wonderful."}, "no section 'Praise'"),
    ],
)
def test_a_card_without_its_authors_words_is_refused(finished, words, message):
    with pytest.raises(ValueError, match=message):
        project.model_card(checked(finished), "learner/films", words)


def test_a_card_without_a_check_for_bias_is_refused(finished):
    with pytest.raises(ValueError, match="no check for bias"):
        project.model_card(project.report(finished, {}, resamples=2), "learner/films", AUTHOR)


def test_report_file_is_json_that_others_can_read(finished, tmp_path):
    report = checked(finished)
    report.save(tmp_path / project.REPORT_FILE)
    read = json.loads((tmp_path / project.REPORT_FILE).read_text(encoding="utf-8"))
    assert read["config"]["corpus"] == "movie-reviews" and read["scores"][-1][0] == project.MODEL
