"""Low-rank adapters against peft, in both directions, and what they refuse."""

import copy
import json
import math

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from torch import nn
from torch.testing import assert_close

from course_lib import bert, lora
from course_lib.checkpoints import CheckpointError

CLOSE = {"atol": 1e-5, "rtol": 1e-5}
IDS = torch.tensor([[2, 7, 5, 3, 11, 4], [2, 9, 13, 8, 3, 1]])


def theirs(kind=transformers.BertForSequenceClassification, **changes):
    """A small BERT of transformers with random weights, in evaluation mode."""
    torch.manual_seed(0)
    sizes = {"vocab_size": 17, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
    config = transformers.BertConfig(**sizes, intermediate_size=29, max_position_embeddings=19, num_labels=5, **changes)
    return kind(config).eval()


def ours(kind=bert.BertForSequenceClassification):
    torch.manual_seed(0)
    sizes = {"vocab_size": 17, "d_model": 12, "num_layers": 2, "num_heads": 3, "d_ff": 29, "max_len": 19}
    return kind(bert.BertConfig(**sizes, num_labels=5)).eval()


def trained(model, seed=1):
    """Give adapters and heads weights as if they had been trained: B is no longer 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                assert not name.endswith("base.weight")
                parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def logits(model, ids=IDS):
    with torch.no_grad():
        output = model(ids)
    return output if isinstance(output, torch.Tensor) else output.logits


# ------------------------------------------------------------------------------------------ one layer


def test_a_layer_is_the_formula():
    torch.manual_seed(0)
    base = nn.Linear(7, 5)
    layer = lora.LoraLinear(base, rank=3, alpha=6)
    x = torch.randn(2, 11, 7)
    assert torch.equal(layer(x), base(x))
    nn.init.normal_(layer.B)
    assert_close(layer(x), x @ (base.weight + 6 / 3 * layer.B @ layer.A).T + base.bias, **CLOSE)
    assert torch.linalg.matrix_rank(layer.update) == 3 and layer.scale == 2


def test_a_is_drawn_and_b_is_zero():
    layer = lora.LoraLinear(nn.Linear(400, 5), 30, 1, generator=torch.Generator().manual_seed(1))
    again = lora.LoraLinear(nn.Linear(400, 5), 30, 1, generator=torch.Generator().manual_seed(1))
    bound = 1 / math.sqrt(400)
    assert layer.B.abs().max() == 0
    assert 0.98 * bound < layer.A.abs().max() <= bound and abs(layer.A.mean()) < bound / 20
    assert torch.equal(layer.A, again.A)


def test_only_the_adapter_learns():
    layer = lora.LoraLinear(nn.Linear(7, 5), 2, 4)
    layer(torch.ones(1, 7)).sum().backward()
    assert layer.base.weight.grad is None and layer.base.bias.grad is None
    assert layer.B.grad.abs().min() > 0
    assert layer.A.grad.abs().max() == 0  # B is 0, so at the first step only B moves


def test_dropout_is_on_the_adapter_in_training_only():
    torch.manual_seed(0)
    layer = lora.LoraLinear(nn.Linear(50, 5), 2, 2, dropout=0.5)
    nn.init.normal_(layer.B)
    x = torch.randn(3, 50)
    assert not torch.equal(layer.train()(x), layer(x))
    assert torch.equal(layer.eval()(x), layer(x))


def test_other_dtypes():
    layer = lora.LoraLinear(nn.Linear(7, 5, dtype=torch.bfloat16, bias=False), 2, 4)
    assert layer.A.dtype == layer.B.dtype == layer(torch.ones(2, 7, dtype=torch.bfloat16)).dtype == torch.bfloat16


# ------------------------------------------------------------------------------------------ attach, merge, remove


@pytest.mark.parametrize(("make", "targets"), [(theirs, ["query", "value"]), (ours, ["q_proj", "v_proj"])])
def test_attach_changes_nothing_and_trains_little(make, targets):
    model = make()
    before = logits(model)
    names = lora.attach(model, targets, rank=2, alpha=4)
    assert len(names) == 4 == len(lora.adapters(model)) and all(name.endswith(tuple(targets)) for name in names)
    assert torch.equal(logits(model), before)
    total = sum(parameter.numel() for parameter in make().parameters())
    counted = lora.trainable_parameters(model)
    assert counted == (4 * 2 * (12 + 12) + 5 * 12 + 5, total + 4 * 2 * 24)
    assert counted.share == counted.trainable / counted.total
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable == {f"{name}.{part}" for name in names for part in "AB"} | {"classifier.weight", "classifier.bias"}


@pytest.mark.parametrize(("make", "targets"), [(theirs, ["query", "value"]), (ours, ["q_proj", "v_proj"])])
def test_merged_equals_unmerged(make, targets):
    model = make()
    lora.attach(model, targets, rank=2, alpha=4)
    trained(model)
    assert (logits(model) - logits(make())).abs().max() > 0.1
    before, weight = logits(model), next(iter(lora.adapters(model).values())).base.weight.clone()
    lora.merge(model)
    lora.merge(model)  # the second time nothing is added
    assert_close(logits(model), before, **CLOSE)
    assert (next(iter(lora.adapters(model).values())).base.weight - weight).abs().max() > 0.1
    lora.unmerge(model)
    lora.unmerge(model)
    assert_close(next(iter(lora.adapters(model).values())).base.weight, weight, **CLOSE)
    assert_close(logits(model), before, **CLOSE)


def test_remove_after_merge_leaves_a_plain_model():
    model = theirs()
    lora.attach(model, ["query", "dense"], rank=3)
    trained(model)
    before = logits(model)
    lora.merge(model)
    lora.remove(model)
    assert set(model.state_dict()) == set(theirs().state_dict())
    assert_close(logits(model), before, **CLOSE)


def test_remove_without_merge_brings_the_old_model_back():
    model = theirs()
    before = logits(model)
    lora.attach(model, ["query"], rank=3, heads=())
    trained(model)
    lora.remove(model)
    assert torch.equal(logits(model), before)
    assert lora.attach(model, ["query"], rank=2)  # and it can be attached again


def test_a_merged_adapter_does_not_train():
    model = ours()
    lora.attach(model, ["q_proj"], rank=2)
    lora.merge(model)
    with pytest.raises(RuntimeError, match="unmerge"):
        model.train()(IDS)
    assert logits(model).shape == (2, 5)


def test_targets_by_regular_expression_and_by_whole_name():
    model = theirs()
    assert lora.attach(model, r".*layer\.1\..*\.(query|key)", rank=1) == [
        f"bert.encoder.layer.1.attention.self.{name}" for name in ("query", "key")
    ]
    lora.remove(model)
    assert lora.attach(model, ["bert.pooler.dense"], rank=1) == ["bert.pooler.dense"]


def test_training_mode_and_heads():
    model = theirs(hidden_dropout_prob=0.5)
    lora.attach(model, ["query"], rank=1, dropout=0.5, heads=["pooler", "classifier"])
    assert not any(module.training for module in model.modules())
    assert model.bert.pooler.dense.weight.requires_grad


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"targets": ["querry"], "rank": 1}, ValueError, "'querry'.*'query'"),
        ({"targets": ["query", "projection"], "rank": 1}, ValueError, "'projection'.*'query', 'key', 'value'"),
        ({"targets": ".*queri", "rank": 1}, ValueError, "'query'"),
        ({"targets": [], "rank": 1}, ValueError, "empty"),
        ({"targets": ["LayerNorm"], "rank": 1}, ValueError, "LayerNorm, not a Linear"),
        ({"targets": ["query"], "rank": 0}, ValueError, "rank=0"),
        ({"targets": ["query"], "rank": -3}, ValueError, "rank=-3"),
        ({"targets": ["query"], "rank": 2.5}, TypeError, "whole number"),
        ({"targets": ["query"], "rank": True}, TypeError, "whole number"),
        ({"targets": ["query"], "rank": 1, "alpha": 0}, ValueError, "alpha=0"),
        ({"targets": ["query"], "rank": 1, "alpha": math.nan}, ValueError, "alpha=nan"),
        ({"targets": ["query"], "rank": 1, "dropout": 1.0}, ValueError, "dropout=1"),
        ({"targets": ["query"], "rank": 1, "heads": ["clasifier"]}, ValueError, "classifier"),
        ({"targets": ["classifier"], "rank": 1}, ValueError, "trained whole"),
    ],
)
def test_attach_refuses_and_leaves_the_model_alone(arguments, error, words):
    model = theirs()
    with pytest.raises(error, match=words):
        lora.attach(model, **arguments)
    assert not lora.adapters(model) and all(parameter.requires_grad for parameter in model.parameters())


def test_attached_twice_or_not_at_all():
    model = theirs()
    for call in (lora.merge, lora.unmerge, lora.remove):
        with pytest.raises(ValueError, match="no adapters"):
            call(model)
    lora.attach(model, ["query"], rank=1)
    with pytest.raises(ValueError, match="already"):
        lora.attach(model, ["value"], rank=1)


# ------------------------------------------------------------------------------------------ peft, both ways


def in_peft(
    rank=3, alpha=7, targets=("query", "value"), task="SEQ_CLS", kind=transformers.BertForSequenceClassification
):
    config = peft.LoraConfig(task_type=task, r=rank, lora_alpha=alpha, target_modules=list(targets), lora_dropout=0.25)
    return peft.get_peft_model(theirs(kind), config).eval()


KINDS = [
    (transformers.BertForSequenceClassification, bert.BertForSequenceClassification, "SEQ_CLS"),
    (transformers.BertForTokenClassification, bert.BertForTokenClassification, "TOKEN_CLS"),
]


@pytest.mark.parametrize(("kind", "own", "task"), KINDS)
def test_peft_reads_ours(tmp_path, kind, own, task):
    model = theirs(kind)
    lora.attach(model, ["query", "value"], rank=3, alpha=7, dropout=0.25)
    trained(model)
    lora.save(model, tmp_path)
    loaded = peft.PeftModel.from_pretrained(theirs(kind), tmp_path).eval()
    assert_close(logits(loaded), logits(model), **CLOSE)
    assert (logits(loaded) - logits(theirs(kind))).abs().max() > 0.1
    config = loaded.peft_config["default"]
    assert (config.r, config.lora_alpha, config.lora_dropout, config.task_type) == (3, 7, 0.25, task)
    assert_close(logits(loaded.merge_and_unload()), logits(model), **CLOSE)


@pytest.mark.parametrize(("kind", "own", "task"), KINDS)
def test_ours_reads_pefts(tmp_path, kind, own, task):
    model = trained(in_peft(task=task, kind=kind))
    model.save_pretrained(tmp_path)
    loaded = theirs(kind)
    assert len(lora.load(loaded, tmp_path)) == 4
    assert_close(logits(loaded), logits(model), **CLOSE)
    assert {adapter.scale for adapter in lora.adapters(loaded).values()} == {7 / 3}
    assert lora.trainable_parameters(loaded).trainable == model.get_nb_trainable_parameters()[0]


def test_the_same_step_of_training(tmp_path):
    """Same gradient as peft's, not only the same output."""
    model = trained(in_peft())
    model.save_pretrained(tmp_path)
    own = theirs()
    lora.load(own, tmp_path)
    labels = torch.tensor([3, 1])
    for one in (model, own):
        one(IDS, labels=labels).loss.backward()
    name = "bert.encoder.layer.1.attention.self.value"
    other = model.base_model.model.get_submodule(name)
    mine = own.get_submodule(name)
    assert_close(mine.A.grad, other.lora_A["default"].weight.grad, **CLOSE)
    assert_close(mine.B.grad, other.lora_B["default"].weight.grad, **CLOSE)
    assert_close(own.classifier.weight.grad, model.base_model.model.classifier.modules_to_save["default"].weight.grad)


@pytest.mark.parametrize(("kind", "own", "task"), KINDS)
def test_the_courses_bert_and_transformers_share_adapters(tmp_path, kind, own, task):
    base = theirs(kind)
    base.save_pretrained(tmp_path / "base")
    model = own.from_pretrained(tmp_path / "base")
    lora.attach(model, ["q_proj", "v_proj", "up"], rank=3, alpha=7)
    trained(model)
    lora.save(model, tmp_path / "adapter")
    loaded = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    assert_close(logits(loaded), logits(model), **CLOSE)
    back = own.from_pretrained(tmp_path / "base")
    assert lora.load(back, tmp_path / "adapter") == list(lora.adapters(model))
    assert torch.equal(logits(back), logits(model))

    trained(in_peft(task=task, kind=kind), seed=2).save_pretrained(tmp_path / "peft")
    from_peft, also = own.from_pretrained(tmp_path / "base"), theirs(kind)
    also.load_state_dict(kind.from_pretrained(tmp_path / "base").state_dict())
    lora.load(from_peft, tmp_path / "peft")
    lora.load(also, tmp_path / "peft")
    assert_close(logits(from_peft), logits(also), **CLOSE)


def test_spans_and_bare_encoders(tmp_path):
    spans = ours(bert.BertForQuestionAnswering)
    lora.attach(spans, ["q_proj"], rank=2)
    trained(spans)
    lora.save(spans, tmp_path / "spans")
    assert "base_model.model.qa_outputs.weight" in load_file(tmp_path / "spans" / lora.WEIGHTS_FILE)
    again = ours(bert.BertForQuestionAnswering)
    lora.load(again, tmp_path / "spans")
    assert torch.equal(again(IDS).start, spans(IDS).start)

    bare = ours(bert.Bert)
    lora.attach(bare, ["q_proj"], rank=2)
    trained(bare)
    lora.save(bare, tmp_path / "bare")
    assert "base_model.model.encoder.layer.0.attention.self.query.lora_A.weight" in load_file(
        tmp_path / "bare" / lora.WEIGHTS_FILE
    )
    encoder = peft.PeftModel.from_pretrained(theirs(transformers.BertModel), tmp_path / "bare")
    assert len([name for name, _ in encoder.named_modules() if name.endswith("lora_A.default")]) == 2


def test_saving_replaces_whole_files_and_leaves_nothing_else(tmp_path, monkeypatch):
    model = theirs()
    lora.attach(model, ["query"], rank=2)
    trained(model)
    lora.save(model, tmp_path)
    before = (tmp_path / lora.WEIGHTS_FILE).read_bytes()

    def full(*arguments, **keywords):
        raise OSError(28, "No space left on device")

    trained(model, seed=3)
    monkeypatch.setattr("course_lib.checkpoints.save_file", full)
    with pytest.raises(OSError, match="space"):
        lora.save(model, tmp_path)
    assert (tmp_path / lora.WEIGHTS_FILE).read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == [lora.CONFIG_FILE, lora.WEIGHTS_FILE]


def damaged(directory, **changes):
    file = directory / lora.CONFIG_FILE
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | changes), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: damaged(d, use_dora=True), "use_dora"),
        (lambda d: damaged(d, peft_type="IA3"), "peft_type='IA3'"),
        (lambda d: damaged(d, rank_pattern={"query": 9}), "rank_pattern"),
        (lambda d: damaged(d, target_modules=["q_lin"]), "q_lin"),
        (lambda d: damaged(d, r=5), r"\[2, 12\] in the file, \[5, 12\]"),
        (lambda d: damaged(d, r=0), "rank=0"),
        (lambda d: damaged(d, target_modules=["query", "value"]), "missing.*value"),
        (lambda d: damaged(d, modules_to_save=None), "unexpected.*classifier"),
        (lambda d: (d / lora.CONFIG_FILE).write_text("{", encoding="utf-8"), "not valid JSON"),
        (lambda d: (d / lora.CONFIG_FILE).write_text("[]", encoding="utf-8"), "not the configuration"),
        (lambda d: (d / lora.WEIGHTS_FILE).write_bytes((d / lora.WEIGHTS_FILE).read_bytes()[:-9]), "truncated"),
        (lambda d: save_file({"x": torch.ones(1)}, d / lora.WEIGHTS_FILE), "missing"),
    ],
)
def test_load_refuses_and_leaves_the_model_alone(tmp_path, damage, words):
    model = theirs()
    lora.attach(model, ["query"], rank=2)
    lora.save(model, tmp_path)
    damage(tmp_path)
    fresh = theirs()
    before = copy.deepcopy(fresh.state_dict())
    with pytest.raises(CheckpointError, match=words):
        lora.load(fresh, tmp_path)
    assert not lora.adapters(fresh) and set(fresh.state_dict()) == set(before)
    assert all(parameter.requires_grad for parameter in fresh.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh.state_dict().items())


def test_load_names_a_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=lora.CONFIG_FILE):
        lora.load(theirs(), tmp_path)
    model = theirs()
    lora.attach(model, ["query"], rank=2)
    lora.save(model, tmp_path)
    (tmp_path / lora.WEIGHTS_FILE).unlink()
    with pytest.raises(FileNotFoundError, match=lora.WEIGHTS_FILE):
        lora.load(theirs(), tmp_path)
    with pytest.raises(ValueError, match="already"):
        lora.load(model, tmp_path)
    with pytest.raises(ValueError, match="no adapters"):
        lora.save(theirs(), tmp_path)
