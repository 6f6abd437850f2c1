"""The checkpoint that the course ships: complete, small, read alike by us and by transformers, and as its card says."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
import transformers
from torch.testing import assert_close

from course_lib import checkpoints
from course_lib.bert import Bert, BertForPreTraining
from course_lib.tokenizers import WordPieceTokenizer

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "data" / "checkpoints" / "news-bert"
RESULT = json.loads((ROOT / "benchmarks" / "results" / "pretraining.json").read_text(encoding="utf-8"))
SENTENCES = ("The prime minister said the government would not change its policy.", "Shares fell in New York.")


@pytest.fixture(scope="module")
def model():
    return BertForPreTraining.from_pretrained("news-bert")


@pytest.fixture(scope="module")
def tokenizer():
    return WordPieceTokenizer.load(checkpoints.resolve("news-bert"))


def test_it_is_found_by_its_name():
    assert checkpoints.resolve("news-bert").samefile(FOLDER)
    with pytest.raises(FileNotFoundError, match="news-bert"):
        checkpoints.resolve("news-bart")


def test_its_files_are_small_and_no_other_than_those_hashed():
    lines = (ROOT / "data" / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    listed = {
        name: digest
        for digest, name in (line.split("  ", 1) for line in lines)
        if name.startswith("checkpoints/news-bert/")
    }
    files = {path.relative_to(ROOT / "data").as_posix(): path for path in FOLDER.iterdir()}
    assert {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()} == listed
    assert {path.name for path in files.values()} == {
        "README.md",
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert sum(path.stat().st_size for path in files.values()) < 20e6


def test_nothing_is_missing_and_nothing_is_left_over(model):
    assert model.load_report == checkpoints.LoadReport((), (), ())
    assert Bert.from_pretrained("news-bert").load_report.missing == ()


def test_transformers_computes_the_same(model, tokenizer):
    theirs = transformers.BertForPreTraining.from_pretrained(FOLDER, attn_implementation="eager").eval()
    reader = transformers.AutoTokenizer.from_pretrained(FOLDER)
    inputs = reader(*SENTENCES, return_tensors="pt")
    own = [tokenizer.encode(sentence).ids for sentence in SENTENCES]
    cls_id, sep_id = map(tokenizer.token_to_id, ("[CLS]", "[SEP]"))
    assert inputs["input_ids"].tolist() == [[cls_id, *own[0], sep_id, *own[1], sep_id]]
    with torch.no_grad():
        expected = theirs(**inputs)
        found = model(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"])
    assert_close(found.tokens, expected.prediction_logits, atol=1e-4, rtol=1e-4)
    assert_close(found.next_sentence, expected.seq_relationship_logits, atol=1e-4, rtol=1e-4)


def test_a_longer_text_than_it_can_read_is_refused(model):
    with pytest.raises(ValueError, match="64"):
        model(torch.full((1, 65), 7))


@pytest.mark.parametrize(
    ("sentence", "word"),
    [
        ("The prime [MASK] said the government would not change its policy.", "minister"),
        ("The company said its profits had risen by 12 [MASK] in the first three months of the year.", "%"),
    ],
)
def test_it_fills_gaps(model, tokenizer, sentence, word):
    ids = torch.tensor([[2, *tokenizer.encode(sentence).ids, 3]])
    with torch.no_grad():
        logits = model(ids, selected=ids == tokenizer.token_to_id("[MASK]")).tokens
    assert word in [tokenizer.id_to_token(i) for i in logits[0].topk(5).indices.tolist()]


def test_the_card_says_what_was_measured():
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    test, guess = RESULT["held_out"]["test"], RESULT["unigram"]["test"]
    assert f"| this model | {test['loss']:.2f} | {test['accuracy']:.1%} | {test['top5']:.1%} |" in card
    assert f"| guessing by frequency | {guess['loss']:.2f} | {guess['accuracy']:.1%} | {guess['top5']:.1%} |" in card
    assert f"{RESULT['steps']:,} steps" in card
    assert guess["loss"] - test["loss"] > 1


def test_the_log_fits_the_weights(model):
    assert sum(parameter.numel() for parameter in model.parameters()) == RESULT["parameters"]
    assert {name: getattr(model.config, name) for name in RESULT["model"]} == RESULT["model"]
    assert len(RESULT["losses_every_100_steps"]) == RESULT["steps"] // 100
