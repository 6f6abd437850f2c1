"""`course_lib.layers` against torch's own layers and Llama's MLP, with the same weights."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaMLP

from course_lib.attention import causal_mask, padding_mask
from course_lib.layers import (
    DecoderBlock,
    EncoderBlock,
    FeedForward,
    KeyValueCache,
    LayerNorm,
    RMSNorm,
    SelfAttention,
    SwiGLU,
    TokenEmbedding,
    record_attention,
)

BATCH, SOURCE, TARGET, HEADS, D_MODEL, D_FF = 2, 7, 5, 3, 33, 41
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def randomised(module: nn.Module, seed: int) -> nn.Module:
    """Every parameter random, so that a forgotten bias or norm weight shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3 + 0.1)
    return module.eval()


def copy(ours: nn.Module, theirs: nn.Module) -> None:
    ours.load_state_dict(theirs.state_dict())


def copy_attention(ours, theirs: nn.MultiheadAttention) -> None:
    with torch.no_grad():
        for part, weight, bias in zip(
            (ours.q_proj, ours.k_proj, ours.v_proj),
            theirs.in_proj_weight.chunk(3),
            theirs.in_proj_bias.chunk(3),
            strict=True,
        ):
            part.weight.copy_(weight)
            part.bias.copy_(bias)
    copy(ours.out_proj, theirs.out_proj)


def copy_encoder_layer(ours: EncoderBlock, theirs: nn.TransformerEncoderLayer) -> None:
    copy_attention(ours.attention, theirs.self_attn)
    copy(ours.attention_norm, theirs.norm1)
    copy(ours.feed_forward.up, theirs.linear1)
    copy(ours.feed_forward.down, theirs.linear2)
    copy(ours.feed_forward_norm, theirs.norm2)


def copy_decoder_layer(ours: DecoderBlock, theirs: nn.TransformerDecoderLayer) -> None:
    copy_attention(ours.attention, theirs.self_attn)
    copy(ours.attention_norm, theirs.norm1)
    copy_attention(ours.cross_attention, theirs.multihead_attn)
    copy(ours.cross_attention_norm, theirs.norm2)
    copy(ours.feed_forward.up, theirs.linear1)
    copy(ours.feed_forward.down, theirs.linear2)
    copy(ours.feed_forward_norm, theirs.norm3)


# --- normalisation ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("eps", [1e-12, 1e-5, 0.5])
@pytest.mark.parametrize(("ours", "theirs"), [(LayerNorm, nn.LayerNorm), (RMSNorm, nn.RMSNorm)])
def test_norms_equal_torch(ours, theirs, eps):
    expected = randomised(theirs(D_MODEL, eps=eps), 1)
    layer = ours(D_MODEL, eps)
    copy(layer, expected)
    x = (3 * randn(BATCH, SOURCE, D_MODEL) + 2).requires_grad_()
    assert_close(layer(x), expected(x), **CLOSE)
    weights = randn(BATCH, SOURCE, D_MODEL, seed=2)
    (gradient,) = torch.autograd.grad((layer(x) * weights).sum(), x)
    (expected_gradient,) = torch.autograd.grad((expected(x) * weights).sum(), x)
    assert_close(gradient, expected_gradient, **CLOSE)


def test_a_constant_vector_is_normalised_to_zeros_not_nan():
    assert_close(LayerNorm(5)(torch.full((2, 5), 3.0)), torch.zeros(2, 5))
    assert_close(RMSNorm(5)(torch.zeros(2, 5)), torch.zeros(2, 5))


@pytest.mark.parametrize("norm", [LayerNorm, RMSNorm])
@pytest.mark.parametrize("width", [1, 4])
def test_norms_refuse_another_width(norm, width):
    with pytest.raises(ValueError, match=rf"x has shape \[2, {width}\]; expected \[..., d_model=5\]"):
        norm(5)(torch.zeros(2, width))
    with pytest.raises(ValueError, match="d_model=0 must be 1 or more"):
        norm(0)


# --- feed-forward -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", [FeedForward, SwiGLU])
@pytest.mark.parametrize("width", [1, 7])
def test_feed_forward_layers_refuse_another_width(layer, width):
    with pytest.raises(ValueError, match=rf"x has shape \[2, {width}\]; expected \[..., d_model=5\]"):
        layer(5, 7)(torch.zeros(2, width))
    with pytest.raises(ValueError, match="d_ff=0 must be 1 or more"):
        layer(5, 0)


@pytest.mark.parametrize(
    ("activation", "function"),
    [("relu", nn.ReLU()), ("gelu", nn.GELU()), ("gelu_tanh", nn.GELU("tanh")), ("silu", nn.SiLU())],
)
@pytest.mark.parametrize("bias", [True, False])
def test_feed_forward_is_linear_activation_linear(activation, function, bias):
    layer = randomised(FeedForward(D_MODEL, D_FF, activation, bias), 3)
    expected = nn.Sequential(nn.Linear(D_MODEL, D_FF, bias), function, nn.Linear(D_FF, D_MODEL, bias))
    copy(expected[0], layer.up)
    copy(expected[2], layer.down)
    x = randn(BATCH, SOURCE, D_MODEL)
    assert_close(layer(x), expected(x), **CLOSE)


def test_swiglu_equals_llamas_mlp():
    config = LlamaConfig(hidden_size=34, intermediate_size=D_FF, num_attention_heads=1)
    theirs = randomised(LlamaMLP(config), 4)
    ours = SwiGLU(34, D_FF)
    ours.load_state_dict({name.replace("_proj", ""): weight for name, weight in theirs.state_dict().items()})
    x = randn(BATCH, SOURCE, 34)
    assert_close(ours(x), theirs(x), **CLOSE)


# --- blocks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("masked", [None, "causal", "padding"])
def test_encoder_block_equals_torch(norm, activation, masked):
    theirs = nn.TransformerEncoderLayer(
        D_MODEL, HEADS, D_FF, 0.0, activation, batch_first=True, norm_first=norm == "pre"
    )
    randomised(theirs, 5).train()  # torch's inference path treats padded queries differently
    ours = EncoderBlock(D_MODEL, HEADS, D_FF, norm=norm, activation=activation)
    copy_encoder_layer(ours, theirs)
    x = randn(BATCH, SOURCE, D_MODEL)
    lengths = [SOURCE, 3]
    mask = {"causal": causal_mask(SOURCE), "padding": padding_mask(lengths, SOURCE)}.get(masked)
    expected = theirs(
        x,
        src_mask=~causal_mask(SOURCE) if masked == "causal" else None,
        src_key_padding_mask=~padding_mask(lengths, SOURCE)[:, 0] if masked == "padding" else None,
    )
    assert_close(ours(x, mask), expected, **CLOSE)


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("masked", [False, True])
def test_decoder_block_equals_torch(norm, activation, masked):
    theirs = nn.TransformerDecoderLayer(
        D_MODEL, HEADS, D_FF, 0.0, activation, batch_first=True, norm_first=norm == "pre"
    )
    randomised(theirs, 6).train()
    ours = DecoderBlock(D_MODEL, HEADS, D_FF, norm=norm, activation=activation)
    copy_decoder_layer(ours, theirs)
    x, memory = randn(BATCH, TARGET, D_MODEL), randn(BATCH, SOURCE, D_MODEL, seed=1)
    padding = padding_mask([SOURCE, 3], SOURCE)
    expected = theirs(
        x,
        memory,
        tgt_mask=~causal_mask(TARGET) if masked else None,
        memory_key_padding_mask=~padding[:, 0] if masked else None,
    )
    masks = (causal_mask(TARGET), padding) if masked else (None, None)
    assert_close(ours(x, memory, *masks), expected, **CLOSE)


def test_pre_norm_leaves_a_path_without_normalisation_and_post_norm_does_not():
    x = 100 * randn(BATCH, SOURCE, D_MODEL)
    for norm in ("pre", "post"):
        block = EncoderBlock(D_MODEL, HEADS, D_FF, norm=norm)
        with torch.no_grad():
            block.attention.out_proj.weight.zero_(), block.attention.out_proj.bias.zero_()
            block.feed_forward.down.weight.zero_(), block.feed_forward.down.bias.zero_()
        expected = x if norm == "pre" else nn.functional.layer_norm(x, (D_MODEL,))
        assert_close(block(x), expected, **CLOSE)


@pytest.mark.parametrize("block", [EncoderBlock, DecoderBlock])
def test_dropout_is_on_what_is_added_and_off_in_evaluation(block):
    torch.manual_seed(0)
    layer = block(D_MODEL, HEADS, D_FF, norm="pre", dropout=0.5)
    with torch.no_grad():  # each sub-layer says 1 everywhere, whatever it is given
        for name, parameter in layer.named_parameters():
            parameter.fill_(1.0 if name.endswith(("out_proj.bias", "down.bias")) else 0.0)
    x = torch.zeros(BATCH, 101, D_MODEL)
    inputs = (x,) if block is EncoderBlock else (x, x)
    sublayers = 2 if block is EncoderBlock else 3
    assert_close(layer.eval()(*inputs), torch.full_like(x, sublayers))
    values, counts = layer.train()(*inputs).unique(return_counts=True)
    assert values.tolist() == [2.0 * kept for kept in range(sublayers + 1)]
    expected = torch.tensor([math.comb(sublayers, kept) / 2**sublayers for kept in range(sublayers + 1)])
    assert_close(counts / counts.sum(), expected, atol=0.05, rtol=0)


def test_block_settings_reach_their_parts():
    block = EncoderBlock(
        66,
        3,
        D_FF,
        activation="swiglu",
        attention_dropout=0.2,
        num_kv_heads=1,
        norm_type="rms",
        norm_eps=0.3,
        bias=False,
    )
    assert isinstance(block.feed_forward, SwiGLU) and isinstance(block.attention_norm, RMSNorm)
    assert block.attention_norm.eps == block.feed_forward_norm.eps == 0.3
    assert block.attention.num_kv_heads == 1 and block.attention.dropout_p == 0.2
    assert not any(name.endswith("bias") for name, _ in block.named_parameters())
    decoder = DecoderBlock(66, 3, D_FF, attention_dropout=0.2, norm_type="rms", norm_eps=0.3, bias=False)
    assert decoder.cross_attention.dropout_p == 0.2 and decoder.cross_attention_norm.eps == 0.3
    assert not any(name.endswith("bias") for name, _ in decoder.named_parameters())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"d_model": 10, "num_heads": 3}, "d_model=10 is not divisible by num_heads=3"),
        ({"norm": "before"}, "norm='before' is not one of 'pre', 'post'"),
        ({"norm_type": "batch"}, "norm_type='batch' is not one of 'layer', 'rms'"),
        ({"activation": "tanh"}, "activation='tanh' is not one of 'relu'"),
        ({"dropout": 1.0}, r"dropout=1.0 is outside \[0, 1\)"),
        ({"attention_dropout": -0.1}, r"dropout_p=-0.1 is outside \[0, 1\)"),
        ({"d_ff": 0}, "d_ff=0 must be 1 or more"),
    ],
)
@pytest.mark.parametrize("block", [EncoderBlock, DecoderBlock])
def test_blocks_refuse_bad_settings(block, settings, message):
    with pytest.raises(ValueError, match=message):
        block(**{"d_model": 6, "num_heads": 3, "d_ff": 7, **settings})


def test_feed_forward_has_no_swiglu_activation():
    with pytest.raises(ValueError, match="activation='swiglu'"):
        FeedForward(6, 7, "swiglu")


def test_block_refuses_masks_of_the_wrong_type_or_shape():
    block, x = EncoderBlock(6, 3, 7), torch.zeros(2, 5, 6)
    with pytest.raises(TypeError, match="mask"):
        block(x, torch.zeros(5, 5))
    with pytest.raises(ValueError, match="mask"):
        block(x, causal_mask(4))
    with pytest.raises(ValueError, match="d_model=6"):
        block(torch.zeros(2, 5, 7))


# --- embeddings ---------------------------------------------------------------------------------------------


def test_token_embedding_looks_up_and_refuses():
    layer = TokenEmbedding(11, 3)
    ids = torch.tensor([[0, 10], [4, 4]])
    assert_close(layer(ids), nn.functional.embedding(ids, layer.weight))
    with pytest.raises(ValueError, match="token id 11 is outside the vocabulary of 11"):
        layer(torch.tensor([[0, 11]]))
    with pytest.raises(ValueError, match="token id -1 is outside"):
        layer(torch.tensor([[-1, 0]]))
    with pytest.raises(ValueError, match=r"shape \[2\]; expected \[batch, length\]"):
        layer(torch.tensor([1, 2]))
    for empty in (torch.zeros(0, 3, dtype=torch.long), torch.zeros(3, 0, dtype=torch.long)):
        with pytest.raises(ValueError, match="the batch is empty"):
            layer(empty)
    with pytest.raises(TypeError, match="must be integers"):
        layer(torch.zeros(1, 2))


# --- rotary attention and the cache -------------------------------------------------------------------------


@pytest.mark.parametrize("num_kv_heads", [1, 2, 6])
def test_rotary_attention_depends_on_distances_only(num_kv_heads):
    layer = randomised(SelfAttention(60, 6, num_kv_heads, rotary_base=100.0), 7)
    x, mask = randn(BATCH, SOURCE, 60), causal_mask(SOURCE)
    counted, _ = layer(x, mask)
    shifted, _ = layer(x, mask, positions=torch.arange(SOURCE) + 29)
    stretched, _ = layer(x, mask, positions=2 * torch.arange(SOURCE))
    per_row, _ = layer(x, mask, positions=torch.stack((torch.arange(SOURCE) + 3, 2 * torch.arange(SOURCE))))
    assert_close(shifted, counted, **CLOSE)
    assert (stretched - counted).abs().max() > 1e-2
    assert_close(per_row, torch.stack((counted[0], stretched[1])), **CLOSE)


@pytest.mark.parametrize("rotary_base", [None, 100.0])
@pytest.mark.parametrize("steps", [(1,) * SOURCE, (4, 1, 2)])
def test_cached_attention_equals_one_call(rotary_base, steps):
    layer = randomised(SelfAttention(60, 6, 2, rotary_base=rotary_base), 8)
    x, mask = randn(BATCH, SOURCE, 60), causal_mask(SOURCE)
    expected, _ = layer(x, mask)
    cache, start, outputs = KeyValueCache(), 0, []
    for step in steps:
        rows = slice(start, start + step)
        output, _ = layer(x[:, rows], mask[rows, : rows.stop], positions=torch.arange(SOURCE)[rows], cache=cache)
        outputs.append(output)
        start += step
    assert_close(torch.cat(outputs, dim=1), expected, **CLOSE)


def test_rotary_attention_with_a_cache_needs_positions():
    layer = SelfAttention(6, 3, rotary_base=100.0)
    with pytest.raises(ValueError, match="needs positions"):
        layer(torch.zeros(1, 2, 6), cache=KeyValueCache())


def test_cached_decoder_block_projects_the_memory_once():
    block = randomised(DecoderBlock(D_MODEL, HEADS, D_FF), 9)
    x, memory = randn(BATCH, TARGET, D_MODEL), randn(BATCH, SOURCE, D_MODEL, seed=1)
    mask, padding = causal_mask(TARGET), padding_mask([SOURCE, 3], SOURCE)
    expected = block(x, memory, mask, padding)
    projected = []
    block.cross_attention.k_proj.register_forward_hook(lambda _, args, __: projected.append(args[0].shape[1]))
    cache = KeyValueCache()
    steps = [block(x[:, t : t + 1], memory, mask[t : t + 1, : t + 1], padding, cache) for t in range(TARGET)]
    assert_close(torch.cat(steps, dim=1), expected, **CLOSE)
    assert sum(projected) == SOURCE


def test_cache_knows_its_bytes():
    cache, attention = KeyValueCache(), SelfAttention(30, 6, num_kv_heads=2)
    assert cache.nbytes == 0
    for length in (4, 1):
        attention(randn(3, length, 30), cache=cache)
    assert cache.nbytes == 2 * 3 * 2 * 5 * 5 * 4  # keys and values, batch, heads, length, d_k, bytes of a float


def test_cache_reorders_rows_and_refuses_another_batch():
    layer = randomised(SelfAttention(6, 3), 10)
    x = randn(3, 4, 6)
    rows = torch.tensor([2, 2, 0])
    cache = KeyValueCache()
    assert cache.length == 0
    cache.extend_padding(torch.ones(3, 3, dtype=torch.bool))
    layer(x[:, :3], cache=cache)
    cache.reorder(rows)
    assert cache.length == 3
    reordered, _ = layer(x[rows, 3:], cache=cache)
    expected, _ = layer(x[rows])
    assert_close(reordered, expected[:, 3:], **CLOSE)
    with pytest.raises(ValueError, match="the cache holds a batch of 3, this call one of 2"):
        cache.extend_padding(torch.ones(2, 1, dtype=torch.bool))


# --- recording ----------------------------------------------------------------------------------------------


def test_record_attention_collects_weights_and_changes_nothing():
    block = randomised(DecoderBlock(D_MODEL, HEADS, D_FF), 11)
    x, memory = randn(BATCH, TARGET, D_MODEL), randn(BATCH, SOURCE, D_MODEL, seed=1)
    expected = block(x, memory, causal_mask(TARGET))
    with record_attention(block) as weights:
        assert_close(block(x, memory, causal_mask(TARGET)), expected, **CLOSE)
    assert set(weights) == {"attention", "cross_attention"}
    assert weights["attention"].shape == (BATCH, HEADS, TARGET, TARGET)
    assert weights["cross_attention"].shape == (BATCH, HEADS, TARGET, SOURCE)
    for recorded in weights.values():
        assert_close(recorded.sum(-1), torch.ones(BATCH, HEADS, TARGET), **CLOSE)
    assert weights["attention"].triu(1).abs().max() == 0
    block(x[:1], memory[:1])
    assert weights["attention"].shape[0] == BATCH, "the hooks must be gone"


def test_record_attention_removes_its_hooks_after_an_error():
    block = EncoderBlock(6, 3, 7)
    with pytest.raises(ValueError, match="d_model=6"), record_attention(block):
        block(torch.zeros(1, 2, 5))
    assert block.attention(torch.zeros(1, 2, 6))[1] is None


def test_record_attention_needs_attention():
    with pytest.raises(ValueError, match="Linear has no MultiHeadAttention"), record_attention(nn.Linear(2, 3)):
        pass
