"""Looking inside: maps, rollout and interventions against sums over paths, loops and edited weights."""

import itertools

import pytest
import torch
from torch import nn

from course_lib import inspection
from course_lib.attention import MultiHeadAttention
from course_lib.bert import Bert, BertConfig
from course_lib.transformer import Transformer, TransformerConfig

CONFIG = BertConfig(vocab_size=23, d_model=12, num_layers=3, num_heads=4, d_ff=17, max_len=11)


@pytest.fixture
def model():
    torch.manual_seed(0)
    bert = Bert(CONFIG).eval()
    for parameter in bert.parameters():  # large enough for the weights of attention to differ
        nn.init.normal_(parameter, std=0.6)
    return bert


@pytest.fixture
def ids():
    return torch.randint(23, (2, 7), generator=torch.Generator().manual_seed(1))


def random_weights(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).softmax(dim=-1)


# --- maps -----------------------------------------------------------------------------------------------------


def test_maps_of_all_layers_in_order(model, ids):
    maps = inspection.attention_maps(model, ids, torch.tensor([[1] * 7, [1] * 5 + [0] * 2]))
    assert maps.shape == (2, 3, 4, 7, 7) and not maps.requires_grad
    torch.testing.assert_close(maps.sum(dim=-1), torch.ones(2, 3, 4, 7))
    assert not maps[1, ..., 5:].any()
    x = model.embeddings(ids)
    for layer, block in enumerate(model.blocks):
        expected = block.attention(x, need_weights=True)[1]
        torch.testing.assert_close(maps[0, layer], expected[0])
        x = block(x)


def test_layers_are_those_of_the_blocks(model):
    assert inspection.attention_layers(model) == [block.attention for block in model.blocks]
    with pytest.raises(ValueError, match="Linear has no"):
        inspection.attention_layers(nn.Linear(2, 2))


def test_maps_of_an_encoder_decoder_do_not_stack():
    torch.manual_seed(0)
    translator = Transformer(TransformerConfig(13, 13, d_model=8, num_heads=2, num_layers=1, d_ff=8)).eval()
    with pytest.raises(ValueError, match="differ in shape"):
        inspection.attention_maps(translator, torch.tensor([[5, 6, 7]]), torch.tensor([[1, 4]]))


@pytest.mark.parametrize("offset", [-3, -1, 0, 2])
def test_offset_scores_are_means_over_queries_that_have_such_a_token(offset):
    weights = random_weights(3, 5, 7, 7)
    found = inspection.offset_scores(weights, offset)
    pairs = [(i, i + offset) for i in range(7) if 0 <= i + offset < 7]
    expected = sum(weights[:, :, i, j] for i, j in pairs) / len(pairs)
    torch.testing.assert_close(found, expected)


def test_offset_scores_refuse_what_has_no_meaning():
    with pytest.raises(ValueError, match="offset=7"):
        inspection.offset_scores(random_weights(7, 7), 7)
    with pytest.raises(ValueError, match=r"\[3, 5\]"):
        inspection.offset_scores(random_weights(3, 5), -1)


# --- rollout --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("residual", [0.0, 0.3, 0.5, 1.0])
def test_rollout_is_the_sum_over_all_paths(residual):
    weights = random_weights(3, 2, 5, 5)
    mixing = residual * torch.eye(5, dtype=torch.float64) + (1 - residual) * weights.mean(dim=1)
    expected = torch.zeros(5, 5, dtype=torch.float64)
    for i, a, b, j in itertools.product(range(5), repeat=4):  # from position i of the last layer down to token j
        expected[i, j] += mixing[2][i, a] * mixing[1][a, b] * mixing[0][b, j]
    found = inspection.attention_rollout(weights, residual)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.sum(dim=-1), torch.ones(5, dtype=torch.float64))


def test_rollout_keeps_leading_axes():
    weights = random_weights(4, 3, 2, 5, 5)
    found = inspection.attention_rollout(weights)
    assert found.shape == (4, 5, 5)
    torch.testing.assert_close(found[2], inspection.attention_rollout(weights[2]))


def test_rollout_refuses_what_it_cannot_mix():
    with pytest.raises(ValueError, match=r"\[5, 5\]; expected"):
        inspection.attention_rollout(random_weights(5, 5))
    with pytest.raises(ValueError, match="both count"):
        inspection.attention_rollout(random_weights(2, 2, 5, 4))
    with pytest.raises(ValueError, match=r"residual=1\.5"):
        inspection.attention_rollout(random_weights(2, 2, 5, 5), 1.5)


# --- interventions --------------------------------------------------------------------------------------------


def test_silenced_heads_are_those_whose_columns_are_zero(model, ids):
    heads = [(0, 1), (2, 0), (2, 3)]
    before = model(ids).hidden
    with inspection.heads_silenced(inspection.attention_layers(model), heads):
        found = model(ids).hidden
    torch.testing.assert_close(model(ids).hidden, before)  # the hooks are gone
    with torch.no_grad():
        for layer, head in heads:
            model.blocks[layer].attention.out_proj.weight[:, 3 * head : 3 * head + 3] = 0
    torch.testing.assert_close(found, model(ids).hidden)
    assert not torch.allclose(found, before, atol=1e-3)


def test_hooks_are_removed_after_an_error(model, ids):
    before = model(ids).hidden
    attentions = inspection.attention_layers(model)
    with pytest.raises(RuntimeError), inspection.heads_silenced(attentions, [(0, 0)]):
        raise RuntimeError
    with pytest.raises(IndexError), inspection.heads_silenced(attentions, [(0, 0), (9, 0)]):
        pass
    with pytest.raises(RuntimeError), inspection.values_changed(attentions, torch.zeros_like):
        raise RuntimeError
    torch.testing.assert_close(model(ids).hidden, before)


def test_values_in_another_order_are_permuted_weights():
    torch.manual_seed(2)
    attention = MultiHeadAttention(12, 4)
    x, order = torch.randn(2, 7, 12), torch.randperm(7)
    _, weights = attention(x, need_weights=True)
    with inspection.values_changed([attention], lambda values: values[..., order, :]):
        found, _ = attention(x)
    values = attention.project(x, x, x)[2]
    permuted = torch.empty_like(weights)
    permuted[..., order] = weights  # token order[j] now gets the weight of token j
    torch.testing.assert_close(found, attention.out_proj((permuted @ values).transpose(1, 2).flatten(2)))


def test_equal_values_are_equal_weights():
    torch.manual_seed(3)
    attention = MultiHeadAttention(12, 4, num_kv_heads=2)
    x = torch.randn(2, 7, 12)
    with inspection.values_changed([attention], lambda values: values.mean(-2, keepdim=True).expand_as(values)):
        found, _ = attention(x)
    values = attention.project(x, x, x)[2].repeat_interleave(2, dim=1)
    mean = values.mean(dim=2).flatten(1)
    torch.testing.assert_close(found, attention.out_proj(mean)[:, None].expand(2, 7, 12))
