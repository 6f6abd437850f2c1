"""`finetuning.recipe`: rows, batches and losses against transformers, the recipe, bad input, interruption."""

import errno
import math

import numpy as np
import pytest
import torch
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
)

from course_lib import assets, bert, finetuning, training

SIZES = {"vocab_size": 97, "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 40}
LIMIT = 23


def theirs(kind=BertForSequenceClassification, labels=3, **settings):
    torch.manual_seed(0)
    return kind(BertConfig(**SIZES, max_position_embeddings=LIMIT, num_labels=labels, **settings)).eval()


def ours(kind=bert.BertForSequenceClassification, labels=3):
    torch.manual_seed(0)
    config = bert.BertConfig(97, 24, 3, 4, 40, max_len=LIMIT, num_labels=labels)
    return kind(config).eval()


def text_rows(number=26, classes=3, seed=1):
    """Texts whose first token tells the class, of all lengths from 3 to 19."""
    random = np.random.default_rng(seed)
    rows = []
    for index in range(number):
        label = index % classes
        ids = random.integers(10, 97, size=3 + index % 17).tolist()
        rows.append({"input_ids": [label + 1, *ids[1:]], "labels": label})
    return rows


def token_rows(number=11):
    return [
        {**row, "labels": [-100, *(token % 3 for token in row["input_ids"][1:])]} for row in text_rows(number, seed=2)
    ]


def span_rows(number=11):
    rows = []
    for row in text_rows(number, seed=3):
        length = len(row["input_ids"])
        segments = [0, 0, *[1] * (length - 2)]
        rows.append(
            {
                "input_ids": row["input_ids"],
                "token_type_ids": segments,
                "start_positions": length // 3,
                "end_positions": length - 1,
            }
        )
    return rows


CASES = [
    (BertForSequenceClassification, text_rows),
    (BertForTokenClassification, token_rows),
    (BertForQuestionAnswering, span_rows),
]


# ------------------------------------------------------------------------------------------ encode


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(assets.fetch("minilm-l6"))


def test_encode_gives_the_tokenizers_ids_and_the_labels(tokenizer):
    texts = ["A warm, funny film.", "Dull."]
    rows = finetuning.encode(tokenizer, texts, np.array([1, 0]))
    assert [row["input_ids"] for row in rows] == tokenizer(texts)["input_ids"]
    assert [row["labels"] for row in rows] == [1, 0] and set(rows[0]) == {"input_ids", "labels"}


def test_encode_cuts_and_pairs(tokenizer):
    (row,) = finetuning.encode(tokenizer, ["one two three four five"], max_length=5)
    assert tokenizer.convert_ids_to_tokens(row["input_ids"]) == ["[CLS]", "one", "two", "three", "[SEP]"]
    (row,) = finetuning.encode(tokenizer, ["one"], pairs=["two"])
    assert row["token_type_ids"] == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(
    ("texts", "options", "error", "message"),
    [
        ([], {}, ValueError, "texts is empty"),
        (["good", "  "], {}, ValueError, r"texts\[1\] is empty: drop it"),
        (["good", None], {}, TypeError, r"texts\[1\] is NoneType, not a string"),
        (["good"], {"labels": [0, 1]}, ValueError, "'texts': 1, 'labels': 2"),
        (["good"], {"pairs": [""]}, ValueError, r"pairs\[0\] is empty"),
        (["good"], {"max_length": 513}, ValueError, "max_length=513 must be 3 to 512"),
        (["good"], {"max_length": 2}, ValueError, "max_length=2 must be 3"),
    ],
)
def test_encode_names_what_is_wrong(tokenizer, texts, options, error, message):
    with pytest.raises(error, match=message):
        finetuning.encode(tokenizer, texts, **options)


# ------------------------------------------------------------------------------------------ loss and prediction


@pytest.mark.parametrize(("kind", "make"), CASES)
def test_the_loss_is_the_one_of_transformers_without_padding(kind, make):
    model = theirs(kind, labels=2 if kind is BertForQuestionAnswering else 3)
    for row in make():
        batch = finetuning.collate([row])
        torch.testing.assert_close(finetuning.task_loss(model, batch), model(**batch).loss)


@pytest.mark.parametrize(("kind", "make"), CASES)
def test_the_loss_of_a_padded_batch_is_the_mean_of_what_is_counted(kind, make):
    model = theirs(kind, labels=2 if kind is BertForQuestionAnswering else 3)
    rows = make()
    single = torch.stack([finetuning.task_loss(model, finetuning.collate([row])) for row in rows])
    counts = [sum(label != -100 for label in np.atleast_1d(row.get("labels", 0))) for row in rows]
    expected = (single * torch.tensor(counts)).sum() / sum(counts)
    torch.testing.assert_close(finetuning.task_loss(model, finetuning.collate(rows)), expected)


@pytest.mark.parametrize(("kind", "make"), CASES)
def test_predictions_come_in_order_and_do_not_feel_the_padding(kind, make):
    model, rows = theirs(kind, labels=2 if kind is BertForQuestionAnswering else 3), make()
    found = finetuning.predict(model, rows, batch_size=4)
    assert len(found) == len(rows)
    for row, logits in zip(rows, found, strict=True):
        with torch.no_grad():
            output = model(**{k: v for k, v in finetuning.collate([row]).items() if k[-1] == "s" and "_id" in k})
        if kind is BertForQuestionAnswering:
            expected = torch.stack([output.start_logits, output.end_logits], -1)[0]
        else:
            expected = output.logits[0]
        assert logits.shape == tuple(expected.shape)
        np.testing.assert_allclose(logits, expected.numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (BertForSequenceClassification, bert.BertForSequenceClassification),
        (BertForTokenClassification, bert.BertForTokenClassification),
        (BertForQuestionAnswering, bert.BertForQuestionAnswering),
    ],
)
def test_our_bert_and_theirs_train_to_the_same_losses(tmp_path, kind, own):
    make = dict(CASES)[kind]
    model = theirs(kind, labels=2 if kind is BertForQuestionAnswering else 3)
    model.save_pretrained(tmp_path)
    copy = own.from_pretrained(tmp_path)
    options = {"epochs": 2, "batch_size": 4, "learning_rate": 1e-3}
    first, second = (finetuning.fit(one, make(), **options) for one in (model, copy))
    np.testing.assert_allclose(first.losses, second.losses, rtol=1e-3)
    for a, b in zip(finetuning.predict(model, make()), finetuning.predict(copy, make()), strict=True):
        # Logits of a span may drift together: the softmax runs over the tokens, so the head's bias has no gradient.
        shift = (a - b).mean(axis=0) if kind is BertForQuestionAnswering else 0
        np.testing.assert_allclose(a - shift, b, atol=5e-3)


def test_predict_does_not_look_at_labels():
    rows = text_rows(5)
    mixed = [row if index % 2 else {"input_ids": row["input_ids"]} for index, row in enumerate(rows)]
    np.testing.assert_array_equal(finetuning.predict(theirs(), mixed), finetuning.predict(theirs(), rows))


def test_predict_leaves_the_mode_as_it_was():
    model = theirs().train()
    finetuning.predict(model, text_rows(3))
    assert model.training


# ------------------------------------------------------------------------------------------ the recipe


def test_it_learns_what_the_first_token_says():
    model, rows = theirs(), text_rows(120)
    history = finetuning.fit(model, rows, epochs=6, batch_size=8, learning_rate=2e-3)
    predicted = finetuning.predict(model, text_rows(40, seed=7)).argmax(-1)
    assert history.losses[-1] < 0.3 < history.losses[0]
    assert (predicted == [row["labels"] for row in text_rows(40, seed=7)]).mean() > 0.9


def test_rates_frozen_parts_and_dropout_hold_during_the_call_only(monkeypatch):
    model = theirs()
    embeddings = model.bert.embeddings.word_embeddings.weight
    before = embeddings.detach().clone()
    seen = {}

    def watch(model, batches, loss, optimiser, **options):
        groups = {parameter: group["lr"] for group in optimiser.param_groups for parameter in group["params"]}
        seen["body"] = groups[model.bert.encoder.layer[0].output.dense.weight]
        seen["head"] = groups[model.classifier.weight]
        seen["embeddings"] = embeddings in groups
        seen["dropout"] = {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)}
        return original(model, batches, loss, optimiser, **options)

    original = training.fit
    monkeypatch.setattr(training, "fit", watch)
    finetuning.fit(model, text_rows(), learning_rate=1e-3, head_factor=7)
    assert math.isclose(seen["body"], 1e-3) and math.isclose(seen["head"], 7e-3)
    assert not seen["embeddings"] and seen["dropout"] == {0.0}
    torch.testing.assert_close(embeddings.detach(), before, rtol=0, atol=0)
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert {module.p for module in model.modules() if isinstance(module, torch.nn.Dropout)} == {0.1}


def test_without_freezing_and_with_the_models_own_dropout():
    model = theirs()
    before = model.bert.embeddings.word_embeddings.weight.detach().clone()
    first = finetuning.fit(model, text_rows(), frozen=(), dropout=None).losses
    assert not torch.equal(model.bert.embeddings.word_embeddings.weight, before)
    assert finetuning.fit(theirs(), text_rows(), frozen=()).losses != first


def test_the_seed_decides():
    runs = [finetuning.fit(theirs(), text_rows(), seed=seed).losses for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("model", [theirs(), ours()], ids=["theirs", "ours"])
def test_freeze_names_what_it_froze(model):
    frozen = finetuning.freeze(model, "layers:2")
    left = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert set(frozen) | left == {name for name, _ in model.named_parameters()} and not set(frozen) & left
    assert {name.split(".")[0] for name in left} == {"bert", "classifier"}
    assert not any("embeddings" in name or ".0." in name or ".1." in name for name in left)
    assert any(".2." in name for name in left) and any("pooler" in name for name in left)
    assert finetuning.freeze(model, ["embeddings"]) == []


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ("layers:4", "'layers:4' is more than the 3 blocks of BertForSequenceClassification"),
        ("everything", "'everything' is no part to freeze: choose 'embeddings' or 'layers:N'"),
    ],
)
def test_freeze_rejects_what_is_not_there(part, message):
    with pytest.raises(ValueError, match=message):
        finetuning.freeze(theirs(), part)
    with pytest.raises(ValueError, match="has no part 'embeddings'"):
        finetuning.freeze(torch.nn.Linear(3, 2), "embeddings")


# ------------------------------------------------------------------------------------------ bad input


def changed(index, **values):
    rows = text_rows()
    rows[index] = {**rows[index], **values}
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "rows is empty"),
        (changed(4, labels=3), "row 4 has label 3, but the model has 3 classes, 0 to 2"),
        (changed(4, labels=-1), "row 4 has label -1"),
        (changed(4, input_ids=[5] * 24), "row 4 has 24 tokens, the model reads 1 to 23: encode with max_length=23"),
        (changed(4, input_ids=[]), "row 4 has 0 tokens"),
        ([row for row in text_rows() if row["labels"] != 1], "no row has label 1: a class that is never seen"),
        ([{"input_ids": [1, 2]}], "row 0 has no labels to learn, only input_ids"),
        ([{"input_ids": [1, 2, 3], "labels": [0, 1]}], "row 0 has 2 labels for 3 tokens"),
        ([{"input_ids": [1, 2], "labels": [0, 5]}], "row 0 has label 5"),
        ([{"input_ids": [1, 2], "start_positions": 1, "end_positions": 2}], "end_positions=2, outside its 2 tokens"),
    ],
)
def test_fit_names_the_row_and_the_fix(rows, message):
    model = theirs()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=message):
        finetuning.fit(model, rows)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size=0"),
        ({"epochs": 0}, "epochs=0"),
        ({"head_factor": 0.0}, "head_factor=0.0"),
        ({"resume": True}, "need a checkpoint_path"),
    ],
)
def test_fit_names_the_setting(options, message):
    model = theirs()
    with pytest.raises(ValueError, match=message):
        finetuning.fit(model, text_rows(), **options)
    assert all(parameter.requires_grad for parameter in model.parameters()), "an error puts everything back too"


def test_predict_rejects_nothing_and_too_much():
    with pytest.raises(ValueError, match="rows is empty"):
        finetuning.predict(theirs(), [])
    with pytest.raises(ValueError, match="row 0 has 24 tokens"):
        finetuning.predict(theirs(), [{"input_ids": [1] * 24}])
    with pytest.raises(ValueError, match="batch_size=0"):
        finetuning.predict(theirs(), text_rows(), batch_size=0)


# ------------------------------------------------------------------------------------------ interruption

RUN = {"epochs": 3, "batch_size": 5, "learning_rate": 1e-3}


class Interrupted(Exception):
    """What a test raises in the middle of a training."""


def interrupted_after(steps):
    def evaluate(model):
        evaluate.calls += 1
        if evaluate.calls == steps:
            raise Interrupted
        return {}

    evaluate.calls = 0
    return evaluate


def test_an_interrupted_training_resumes_to_the_same_result(tmp_path):
    file = tmp_path / "run.safetensors"
    whole = theirs(hidden_dropout_prob=0.2)
    expected = finetuning.fit(whole, text_rows(), dropout=None, **RUN)
    model = theirs(hidden_dropout_prob=0.2)
    with pytest.raises(Interrupted):
        finetuning.fit(
            model,
            text_rows(),
            dropout=None,
            evaluate=interrupted_after(8),
            evaluate_every=1,
            checkpoint_path=file,
            checkpoint_every=3,
            **RUN,
        )
    assert all(parameter.requires_grad for parameter in model.parameters())
    again = theirs(hidden_dropout_prob=0.2)
    history = finetuning.fit(again, text_rows(), dropout=None, checkpoint_path=file, resume=True, **RUN)
    assert history.losses == expected.losses
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)


def test_a_corrupted_checkpoint_is_named_and_changes_nothing(tmp_path):
    file = tmp_path / "run.safetensors"
    finetuning.fit(theirs(), text_rows(), checkpoint_path=file, **RUN)
    file.write_bytes(file.read_bytes()[:-100])
    model = theirs()
    before = model.classifier.weight.detach().clone()
    with pytest.raises(ValueError, match=r"run\.safetensors is truncated or damaged"):
        finetuning.fit(model, text_rows(), checkpoint_path=file, resume=True, **RUN)
    torch.testing.assert_close(model.classifier.weight.detach(), before, rtol=0, atol=0)


def test_a_full_disk_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    file = tmp_path / "run.safetensors"
    finetuning.fit(theirs(), text_rows(), checkpoint_path=file, **RUN)
    kept = file.read_bytes()

    def full(tensors, path, **options):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(training, "save_file", full)
    with pytest.raises(OSError, match="No space left on device"):
        finetuning.fit(theirs(), text_rows(), checkpoint_path=file, **RUN)
    assert file.read_bytes() == kept and list(tmp_path.iterdir()) == [file]
