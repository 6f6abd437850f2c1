"""`course_lib.checkpoints`: tables, files that are damaged, and reports that name what does not fit."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.testing import assert_close
from transformers.pytorch_utils import Conv1D

from course_lib import assets, checkpoints
from course_lib.checkpoints import (
    BERT,
    GPT2,
    LLAMA,
    CheckpointError,
    Rule,
    load_into,
    load_safetensors,
    read_config,
    resolve,
    save_pretrained,
    to_published,
    weights_and_biases,
)


def tensors(*shapes):
    generator = torch.Generator().manual_seed(0)
    return {f"t{i}": torch.randn(shape, generator=generator) for i, shape in enumerate(shapes)}


# --- rules --------------------------------------------------------------------------------------------------


def test_a_transposed_fused_rule_is_conv1d():
    """GPT-2's `c_attn`: one Conv1D of [in, 3 · out] against three linear maps."""
    fused = Conv1D(3 * 5, 7)
    weight, bias = weights_and_biases("c_attn", "q", "k", "v", transposed=True)
    parts = nn.ModuleDict({name: nn.Linear(7, 5) for name in "qkv"})
    load_into(parts, {f"c_attn.{kind}": tensor for kind, tensor in fused.state_dict().items()}, (weight, bias))
    x = torch.randn(2, 7)
    assert_close(torch.cat([parts[name](x) for name in "qkv"], dim=1), fused(x))
    published = to_published(parts.state_dict(), (weight, bias))
    for kind, tensor in fused.state_dict().items():
        assert torch.equal(published[f"c_attn.{kind}"], tensor)


@pytest.mark.parametrize("form", [GPT2, LLAMA, BERT])
@pytest.mark.parametrize("num_layers", [1, 3])
def test_tables_name_everything_once(form, num_layers):
    rules = form.rules(num_layers)
    published = [rule.published for rule in rules]
    ours = [name for rule in rules for name in rule.ours]
    assert len(set(published)) == len(published) and len(set(ours)) == len(ours)
    assert not any("{" in name for name in published + ours)
    per_layer = sum("{}" in rule.published for rule in form.parameters)
    assert len(rules) == len(form.parameters) + (num_layers - 1) * per_layer


def test_to_published_copies_nothing_that_keeps_its_shape():
    weight = torch.zeros(3, 2)
    assert to_published({"a": weight}, [Rule("A", ("a",))])["A"].data_ptr() == weight.data_ptr()


def test_to_published_refuses_a_parameter_without_a_name():
    with pytest.raises(CheckpointError, match=r"1 without a published name: new\.weight"):
        to_published({"a": torch.zeros(1), "new.weight": torch.zeros(1)}, [Rule("A", ("a",))])


# --- loading ------------------------------------------------------------------------------------------------


def test_load_into_copies_casts_and_reports_nothing():
    module = nn.Linear(3, 5)
    state = {"W": torch.randn(3, 5).bfloat16(), "b": torch.randn(5)}
    rules = [Rule("W", ("weight",), transposed=True), Rule("b", ("bias",))]
    report = load_into(module, state, rules)
    assert not any(report) and str(report) == "every parameter was loaded"
    assert module.weight.dtype == torch.float32 and module.weight.requires_grad
    assert torch.equal(module.weight, state["W"].T.float()) and torch.equal(module.bias, state["b"])


def test_load_into_names_what_does_not_fit_and_leaves_the_module():
    module = nn.Sequential(nn.Linear(3, 5), nn.Linear(5, 2))
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = {
        "0.weight": torch.zeros(3, 5),
        "0.bias": torch.zeros(5),
        "1.weight": torch.zeros(2, 5),
        "x": torch.zeros(1),
    }
    with pytest.raises(CheckpointError) as caught:
        load_into(module, state)
    assert str(caught.value).splitlines() == [
        "the checkpoint does not fit Sequential",
        "1 missing: 1.bias",
        "1 unexpected: x",
        "1 mismatched: 0.weight has shape [3, 5] in the file, [5, 3] in the module",
    ]
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())

    report = load_into(module, state, strict=False)
    assert report.missing == ("1.bias",) and report.unexpected == ("x",) and len(report.mismatched) == 1
    assert module[1].weight.abs().max() == 0 and torch.equal(module[0].weight, before["0.weight"])


def test_report_lists_ten_and_counts_the_rest():
    state = {f"extra{i:02}": torch.zeros(1) for i in range(13)}
    with pytest.raises(CheckpointError, match=r"13 unexpected: extra00, .*extra09, and 3 more$"):
        load_into(nn.Identity(), state)


def test_quantised_weights_are_not_taken_for_numbers():
    with pytest.raises(CheckpointError, match=r"weight has dtype torch.int8 in the file, torch.float32"):
        load_into(nn.Linear(3, 5, bias=False), {"weight": torch.ones(5, 3, dtype=torch.int8)})


# --- files --------------------------------------------------------------------------------------------------


def test_load_safetensors_reads_files_and_directories(tmp_path):
    expected = tensors((3, 5), (2,))
    save_file(expected, tmp_path / "model.safetensors")
    for path in (tmp_path, tmp_path / "model.safetensors", str(tmp_path)):
        loaded = load_safetensors(path)
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[name], expected[name]) for name in expected)


@pytest.mark.parametrize("keep", [-1, -100, 30])
def test_truncated_files_are_named_as_such(tmp_path, keep):
    file = tmp_path / "model.safetensors"
    save_file(tensors((11, 13)), file)
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is truncated or damaged: get it again"):
        load_safetensors(tmp_path)


@pytest.mark.parametrize("content", [b"", b"short", b"<html>not found</html>" * 9, bytes(99)])
def test_other_files_are_not_safetensors(tmp_path, content):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"weights\.safetensors is not a safetensors file"):
        load_safetensors(file)


def test_pickles_are_refused_unopened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was opened",))

    file = tmp_path / "model.safetensors"
    file.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="is a pickle under another name"):
        load_safetensors(file)
    torch.save(tensors((2, 3)), file)
    with pytest.raises(CheckpointError, match="is a pickle under another name"):
        load_safetensors(file)


def test_missing_files_say_what_was_expected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights at .*expected one safetensors file"):
        load_safetensors(tmp_path)


def test_read_config_refuses_what_it_cannot_read(tmp_path):
    file = tmp_path / "config.json"
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        read_config(tmp_path, (GPT2,))
    for text, message in [
        ("{", "not valid JSON"),
        ("[1]", "model_type=None; this class reads 'gpt2'"),
        ('{"model_type": "llama"}', "model_type='llama'; this class reads 'gpt2'"),
        ('{"model_type": "gpt2"}', "lacks 'vocab_size'"),
    ]:
        file.write_text(text, encoding="utf-8")
        with pytest.raises(CheckpointError, match=message):
            read_config(tmp_path, (GPT2,))


@pytest.mark.parametrize("form", [GPT2, LLAMA])
def test_settings_survive_the_journey(form, tmp_path):
    settings = {name: 10 + i for i, name in enumerate(form.settings)} | dict(form.form)
    save_pretrained(tmp_path, form.write_settings(settings), tensors((2, 3)))
    assert read_config(tmp_path, (GPT2, LLAMA)) == (form, settings)
    assert not form.differences(settings)
    assert form.differences(settings | {"bias": None}) == [f"bias=None (it has {form.form['bias']!r})"]


def test_values_with_other_names_are_translated():
    """Our gelu_tanh has two published names: both are read, the first is written."""
    settings = BERT.defaults | {name: 7 for name in BERT.settings if name not in BERT.defaults}
    assert BERT.write_settings(settings | {"activation": "gelu_tanh"})["hidden_act"] == "gelu_new"
    for name, ours in {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}.items():
        published = BERT.write_settings(settings) | {"hidden_act": name}
        assert BERT.read_settings(published)["activation"] == ours


def test_save_pretrained_makes_the_directory_and_packs_views(tmp_path):
    state = {"transposed": torch.arange(6.0).reshape(2, 3).T}
    save_pretrained(tmp_path / "a" / "b", {"é": 1}, state)
    assert torch.equal(load_file(tmp_path / "a" / "b" / "model.safetensors")["transposed"], state["transposed"])
    assert json.loads((tmp_path / "a" / "b" / "config.json").read_text(encoding="utf-8")) == {"é": 1}
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["config.json", "model.safetensors"]


def test_an_interrupted_save_leaves_the_old_files(tmp_path, monkeypatch):
    old = tensors((2, 3))
    save_pretrained(tmp_path, {"old": True}, old)

    def fails_halfway(state, file, metadata):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(checkpoints, "save_file", fails_halfway)
    with pytest.raises(OSError, match="disk full"):
        save_pretrained(tmp_path, {"old": False}, tensors((5, 7)))
    assert torch.equal(load_safetensors(tmp_path)["t0"], old["t0"])
    assert json.loads((tmp_path / "config.json").read_text(encoding="utf-8")) == {"old": True}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_a_directory_is_a_model_and_the_name_of_an_asset_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(assets, "fetch", lambda name: tmp_path / "cache" / name)
    assert resolve(str(tmp_path)) == tmp_path
    assert resolve("smollm2-135m") == tmp_path / "cache" / "smollm2-135m"
    with pytest.raises(FileNotFoundError, match="smollm3 is neither the directory of a saved model nor one of"):
        resolve("smollm3")
