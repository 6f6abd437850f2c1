"""The fast forms of layers: the same numbers from the same parameters, and the plain form where they cannot hold."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from course_lib import layers, lora, training
from course_lib.bert import Bert, BertConfig, BertForSequenceClassification
from course_lib.gpt import GPT, GPTConfig
from course_lib.layers import KeyValueCache, LayerNorm, RMSNorm, SelfAttention, SwiGLU, fuse, prepare_for_inference
from course_lib.transformer import Transformer, TransformerConfig

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
IDS = torch.tensor([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])
CONFIGS = {
    "gpt2": GPTConfig(37, 24, num_layers=2, num_heads=3, max_len=11),
    "llama": GPTConfig.llama(vocab_size=37, d_model=24, num_layers=2, num_heads=6, num_kv_heads=2, d_ff=40, max_len=11),
    "untied": GPTConfig(37, 24, num_layers=2, num_heads=3, max_len=11, tie_embeddings=False, bias=False),
}


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter random, so that a forgotten bias or norm weight shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + 0.1)
    return module.eval()


@pytest.mark.parametrize("norm", [LayerNorm(7, eps=0.1), RMSNorm(7, eps=0.1)])
def test_fused_norm_is_the_norm_and_has_its_gradients(norm):
    plain = randomised(norm)
    fused = fuse(copy.deepcopy(plain))
    assert type(fused) in (layers.FusedLayerNorm, layers.FusedRMSNorm)
    x = torch.randn(2, 3, 7, generator=torch.Generator().manual_seed(1)) * 5 + 2
    results = []
    for module in (plain, fused):
        at = x.clone().requires_grad_()
        y = module(at)
        (y * torch.arange(42.0).reshape(2, 3, 7)).sum().backward()
        results.append((y.detach(), at.grad, [parameter.grad for parameter in module.parameters()]))
    assert_close(results[1], results[0], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="d_model=7"):
        fused(torch.zeros(2, 1))


@pytest.mark.parametrize("name", CONFIGS)
def test_prepared_gpt_computes_the_same(name):
    plain = randomised(GPT(CONFIGS[name]))
    fast = prepare_for_inference(copy.deepcopy(plain))
    mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    with torch.no_grad():
        assert_close(fast(IDS), plain(IDS), **CLOSE)
        assert_close(fast(IDS, mask)[1, 2:], plain(IDS, mask)[1, 2:], **CLOSE)
        cache = KeyValueCache()
        steps = [fast(IDS[:, :3], cache=cache), fast(IDS[:, 3:4], cache=cache), fast(IDS[:, 4:], cache=cache)]
        assert_close(torch.cat(steps, dim=1), plain(IDS), **CLOSE)


def test_prepared_bert_and_transformer_compute_the_same():
    plain = randomised(Bert(BertConfig(37, 24, num_layers=2, num_heads=3, max_len=11)))
    fast = prepare_for_inference(copy.deepcopy(plain))
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    with torch.no_grad():
        assert_close(fast(IDS, mask).pooled, plain(IDS, mask).pooled, **CLOSE)
        assert_close(fast(IDS, mask).hidden[0], plain(IDS, mask).hidden[0], **CLOSE)
    plain = randomised(Transformer(TransformerConfig(37, 41, d_model=24, num_layers=2, num_heads=3, d_ff=30)))
    fast = prepare_for_inference(copy.deepcopy(plain))
    with torch.no_grad():
        assert_close(fast(IDS, IDS), plain(IDS, IDS), **CLOSE)


def test_merged_forms_are_one_product_unless_a_part_is_trained(monkeypatch):
    products = []
    linear = F.linear
    monkeypatch.setattr(
        F, "linear", lambda x, weight, bias=None: products.append(weight.shape) or linear(x, weight, bias)
    )
    x = torch.randn(2, 5, 12)
    for plain, merged, parts in (
        (SelfAttention(12, 3), (36, 12), ("q_proj", "k_proj", "v_proj")),
        (SwiGLU(12, 20), (40, 12), ("gate", "up")),
    ):
        module = prepare_for_inference(plain)
        products.clear()
        module(x)
        assert products == [merged, (12, products[-1][1])]
        products.clear()
        output = module.requires_grad_(True)(x)
        (output[0] if isinstance(output, tuple) else output).sum().backward()
        assert merged not in products
        assert all(getattr(module, part).weight.grad is not None for part in parts)


def test_preparing_keeps_names_and_values():
    for kind in CONFIGS:
        plain = randomised(GPT(CONFIGS[kind]))
        before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
        after = prepare_for_inference(plain).state_dict()
        assert list(after) == list(before)
        assert all(torch.equal(after[name], before[name]) for name in before)


def test_a_change_of_a_weight_changes_the_merged_product():
    fast = prepare_for_inference(randomised(SelfAttention(12, 3)))
    other = randomised(SelfAttention(12, 3), seed=1)
    x = torch.randn(2, 5, 12)
    fast.load_state_dict(other.state_dict())
    with torch.no_grad():
        assert_close(fast(x)[0], other(x)[0], **CLOSE)
        assert_close(fast.double()(x.double())[0].float(), other(x)[0], **CLOSE)  # moved: the parts by themselves


def test_adapters_on_a_prepared_model_are_not_skipped():
    model = prepare_for_inference(randomised(BertForSequenceClassification(BertConfig(37, 24, 2, 3, max_len=11))))
    lora.attach(model, ["q_proj", "v_proj"], rank=2)
    with torch.no_grad():
        before = model(IDS)
        for adapter in lora.adapters(model).values():
            adapter.B.fill_(0.5)
        assert not torch.allclose(model(IDS), before)


def test_a_prepared_model_is_saved_as_any_other(tmp_path):
    gpt = prepare_for_inference(randomised(GPT(CONFIGS["llama"])))
    gpt.save_pretrained(tmp_path / "gpt")
    assert_close(GPT.from_pretrained(tmp_path / "gpt")(IDS).detach(), gpt(IDS), **CLOSE)
    bert = prepare_for_inference(randomised(Bert(BertConfig(37, 24, num_layers=2, num_heads=3, max_len=11))))
    bert.save_pretrained(tmp_path / "bert")
    assert_close(Bert.from_pretrained(tmp_path / "bert")(IDS).hidden.detach(), bert(IDS).hidden, **CLOSE)


def test_a_prepared_model_is_not_trained_but_its_adapters_are(tmp_path):
    model = prepare_for_inference(randomised(BertForSequenceClassification(BertConfig(37, 24, 2, 3, max_len=11))))
    with pytest.raises(ValueError, match="no parameter to train"):
        training.parameter_groups(model, 1e-3)
    lora.attach(model, ["q_proj", "v_proj"], rank=2)
    history = training.fit(
        model,
        [IDS],
        lambda m, ids: training.cross_entropy(m(ids), torch.tensor([0, 1])),
        torch.optim.AdamW(training.parameter_groups(model, 1e-2), fused=True),
        steps=20,
        checkpoint_path=tmp_path / "adapters.safetensors",
    )
    assert history.losses[-1] < history.losses[0]


def test_a_fused_model_is_trained_as_the_plain_one():
    plain = randomised(GPT(CONFIGS["llama"]))
    losses = []
    for model in (plain, fuse(copy.deepcopy(plain))):
        history = training.fit(
            model,
            [IDS],
            lambda m, ids: training.cross_entropy(m(ids[:, :-1]), ids[:, 1:]),
            torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True),
            steps=3,
        )
        losses.append(torch.tensor(history.losses))
    assert_close(losses[1], losses[0], rtol=1e-4, atol=1e-4)


def test_encode_all_gives_each_sequence_its_vectors_in_order():
    bert = randomised(Bert(BertConfig(37, 24, num_layers=2, num_heads=3, max_len=11)))
    sequences = [[3, 1, 4], [1, 5], [9, 2, 6], [5, 3, 5, 8], [7, 9], [3, 2, 3]]
    found = bert.encode_all(sequences, tokens_per_batch=6)  # two of three a batch
    for ids, vectors in zip(sequences, found, strict=True):
        assert_close(vectors, bert(torch.tensor([ids])).hidden[0].detach(), **CLOSE)
    with pytest.raises(ValueError, match="nothing to encode"):
        bert.encode_all([])
    with pytest.raises(ValueError, match="sequence 1 is empty"):
        bert.encode_all([[1], []])
