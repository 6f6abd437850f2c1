"""The course's fine-tuned models: merged as `peft` merges, as good as their cards say, clear about what is wrong."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch.testing import assert_close

from course_lib import assets, corpora, evaluation, finetuning, grammar
from course_lib.checkpoints import CheckpointError
from course_lib.finetuning import saved, spans, tokens
from course_lib.transformer import Transformer

ROOT = Path(__file__).resolve().parent.parent
RESULTS = json.loads((ROOT / "benchmarks" / "results" / "fine_tuned_heads.json").read_text(encoding="utf-8"))
ADAPTERS = ["entities", "questions", "sentiment"]
FOLDERS = ["entities", "questions", "sentiment", "translator"]


@pytest.fixture(scope="module")
def models():
    return {name: saved.load(name) for name in ADAPTERS}


def test_the_names():
    assert saved.names() == ADAPTERS


@pytest.mark.parametrize("name", ADAPTERS)
def test_merged_as_peft_merges(models, name):
    ours, tokenizer = models[name]
    base = type(ours).from_pretrained(assets.fetch("minilm-l6"), config=ours.config)
    theirs = peft.PeftModel.from_pretrained(base, saved.directory(name)).merge_and_unload().eval()
    inputs = tokenizer(
        ["Who made it?", "A long and slow film."], ["They did.", "By whom?"], padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        found, expected = ours(**inputs).to_tuple(), theirs(**inputs).to_tuple()
    for one, other in zip(found, expected, strict=True):
        assert_close(one, other, atol=1e-5, rtol=1e-4)
    assert all(parameter.requires_grad for parameter in ours.parameters()) and not ours.training


def test_the_labels_have_names(models):
    assert models["sentiment"][0].config.id2label == {0: "negative", 1: "positive"}
    names = corpora.load("tweet-entities", "test").features["ner_tags"].feature.names
    assert models["entities"][0].config.id2label == dict(enumerate(names))
    assert models["entities"][0].config.label2id["B-person"] == names.index("B-person")


def test_loading_draws_nothing_from_the_global_chance_and_says_nothing(capsys):
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    saved.load("sentiment")
    assert torch.equal(torch.rand(2), expected)
    assert capsys.readouterr() == ("", "")


# --- as good as the cards say: a slice of the test split cannot be far outside the interval of the whole ------


def is_near(score, interval, rows):
    """Within three standard errors of a share, for a slice of `rows`, of the interval in the card."""
    _, low, high = interval
    return low - 1.5 / np.sqrt(rows) < score < high + 1.5 / np.sqrt(rows)


def test_sentiment_scores_as_its_card_says(models):
    model, tokenizer = models["sentiment"]
    test = corpora.load("movie-reviews", "test").select(range(300))
    logits = finetuning.predict(model, finetuning.encode(tokenizer, list(test["text"]), list(test["label"]), 64))
    score = evaluation.accuracy(logits.argmax(-1), list(test["label"]))
    assert is_near(score, RESULTS["sentiment"]["test"]["accuracy"], 300)
    assert score > RESULTS["sentiment"]["baseline"]["always the class more frequent in training"] + 0.2


def test_entities_scores_as_its_card_says(models):
    seqeval = pytest.importorskip("seqeval.metrics")
    model, tokenizer = models["entities"]
    test = corpora.load("tweet-entities", "test")
    names = test.features["ner_tags"].feature.names
    rows = tokens.encode_words(tokenizer, list(test["tokens"]), list(test["ner_tags"]))
    right = [[names[tag] for tag in tags] for tags in test["ner_tags"]]
    f1 = seqeval.f1_score(right, tokens.predict_tags(model, rows, names))
    assert f1 == pytest.approx(RESULTS["entities"]["test"]["entity_f1"][0], abs=0.01)


def test_questions_scores_as_its_card_says(models):
    model, tokenizer = models["questions"]
    test = corpora.load("course-questions", "test").select(range(0, 400, 5))
    window = {name: RESULTS["questions"]["setting"][name] for name in ("max_length", "stride")}
    predicted = spans.predict_answers(model, tokenizer, test, **window)
    scores = evaluation.squad_scores([one.answer() for one in predicted], [row["text"] for row in test["answers"]])
    assert is_near(scores.f1.mean(), RESULTS["questions"]["test"]["f1"], len(test))


# --- files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FOLDERS)
def test_files_are_small_and_hashed_and_the_card_has_its_scores(name):
    folder = ROOT / "data" / "checkpoints" / name
    lines = (ROOT / "data" / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = {file: digest for digest, file in (line.split("  ", 1) for line in lines)}
    files = [path for path in folder.iterdir() if path.is_file()]
    for path in files:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        assert listed[path.relative_to(ROOT / "data").as_posix()] == digest
    assert sum(path.stat().st_size for path in files) < (3e6 if name == "translator" else 2e6)
    card = (folder / "README.md").read_text(encoding="utf-8")
    for score in RESULTS[name]["test"].values():
        assert f"{score if isinstance(score, float) else score[0]:.1%}" in card
    assert "baseline" in card and "## Limits" in card


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_name_no_path_of_a_machine(name):
    for file in ("adapter_config.json", "config.json"):
        content = (saved.directory(name) / file).read_text(encoding="utf-8")
        assert "/" not in content.replace("sentence-transformers/all-MiniLM-L6-v2", "")


@pytest.mark.parametrize("name", ["sentimental", "news-bert", "translator", "../sentiment"])
def test_an_unknown_name_is_named_with_those_there_are(name):
    with pytest.raises(FileNotFoundError, match="entities, questions, sentiment"):
        saved.load(name)


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of `sentiment` that `saved` finds instead of the real one."""
    monkeypatch.setattr(saved, "_folder", lambda: tmp_path)
    return Path(shutil.copytree(ROOT / "data" / "checkpoints" / "sentiment", tmp_path / "sentiment"))


def test_a_truncated_adapter_is_an_error(copied):
    weights = copied / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        saved.load("sentiment")


@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "bert"}', '{"architectures": ["NoSuchClass"]}'])
def test_a_damaged_config_is_an_error(copied, content):
    (copied / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        saved.load("sentiment")


def test_an_adapter_of_another_model_is_an_error(copied):
    shutil.copy(ROOT / "data" / "checkpoints" / "entities" / "adapter_model.safetensors", copied)
    with pytest.raises(CheckpointError, match="classifier"):
        saved.load("sentiment")


# --- the translator ---------------------------------------------------------------------------------------


def test_the_translator_is_the_same_in_transformers_and_here():
    folder = ROOT / "data" / "checkpoints" / "translator"
    theirs, info = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"]
    reader = transformers.AutoTokenizer.from_pretrained(folder)
    pairs = grammar.corpus(seed=0)["held_out"][:40]
    assert [reader.tokenize(pair.english) for pair in pairs] == [list(pair.source) for pair in pairs]
    batch = reader([pair.english for pair in pairs], padding=True, return_tensors="pt")
    target = torch.tensor([[theirs.config.decoder_start_token_id, 7, 11]] * len(pairs))
    with torch.no_grad():
        expected = theirs(**batch, decoder_input_ids=target).logits
        found = Transformer.from_pretrained("translator")(batch["input_ids"], target)
    assert_close(found, expected, atol=1e-4, rtol=1e-4)
    written = reader.batch_decode(theirs.generate(**batch, num_beams=2), skip_special_tokens=True)
    exact = evaluation.exact_match([tuple(text.split()) for text in written], [pair.target for pair in pairs])
    assert is_near(exact, RESULTS["translator"]["test"]["held_out"], len(pairs))
    assert load_file(folder / "model.safetensors")["model.shared.weight"].dtype == torch.float32
