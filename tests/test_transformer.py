"""`course_lib.transformer` against `nn.Transformer` with the same weights, and against the paper's numbers."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close
from transformers import PegasusConfig, PegasusForConditionalGeneration

from course_lib.checkpoints import CheckpointError
from course_lib.layers import KeyValueCache
from course_lib.transformer import Transformer, TransformerConfig, parameter_count

BATCH, SOURCE, TARGET, PAD = 3, 7, 5, 2
SMALL = TransformerConfig(
    source_vocab_size=19,
    target_vocab_size=23,
    d_model=34,
    num_layers=2,
    num_heads=2,
    d_ff=41,
    dropout=0.0,
    pad_id=PAD,
)
pytestmark = pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")  # said by nn.Transformer
CLOSE = {"rtol": 1e-5, "atol": 1e-5}


def build(seed=0, **changes) -> Transformer:
    """A small model whose every parameter is random, norms and biases included."""
    torch.manual_seed(seed)
    model = Transformer(replace(SMALL, **changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


def batch():
    """Rows of different lengths, padded on the right; no real token is the padding."""
    generator = torch.Generator().manual_seed(1)
    source = torch.randint(3, 19, (BATCH, SOURCE), generator=generator)
    target = torch.randint(3, 23, (BATCH, TARGET), generator=generator)
    source[1, 4:], source[2, 1:], target[1, 3:] = PAD, PAD, PAD
    return source, target


def copy_attention(ours, theirs: nn.MultiheadAttention) -> None:
    parts = (ours.q_proj, ours.k_proj, ours.v_proj)
    theirs.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    theirs.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    theirs.out_proj.load_state_dict(ours.out_proj.state_dict())


@torch.no_grad()
def as_torch(model: Transformer) -> nn.Transformer:
    """`nn.Transformer` with the weights of `model`."""
    config = model.config
    theirs = nn.Transformer(
        config.d_model,
        config.num_heads,
        config.num_layers,
        config.num_layers,
        config.d_ff,
        0.0,
        config.activation,
        batch_first=True,
        norm_first=config.norm == "pre",
    )
    for ours, layer in zip(model.encoder.blocks, theirs.encoder.layers, strict=True):
        copy_attention(ours.attention, layer.self_attn)
        modules = (ours.feed_forward.up, ours.feed_forward.down, ours.attention_norm, ours.feed_forward_norm)
        for mine, other in zip(modules, (layer.linear1, layer.linear2, layer.norm1, layer.norm2), strict=True):
            other.load_state_dict(mine.state_dict())
    for ours, layer in zip(model.decoder.blocks, theirs.decoder.layers, strict=True):
        copy_attention(ours.attention, layer.self_attn)
        copy_attention(ours.cross_attention, layer.multihead_attn)
        modules = (
            (ours.feed_forward.up, layer.linear1),
            (ours.feed_forward.down, layer.linear2),
            (ours.attention_norm, layer.norm1),
            (ours.cross_attention_norm, layer.norm2),
            (ours.feed_forward_norm, layer.norm3),
        )
        for mine, other in modules:
            other.load_state_dict(mine.state_dict())
    theirs.encoder.norm.load_state_dict(model.encoder.norm.state_dict())
    theirs.decoder.norm.load_state_dict(model.decoder.norm.state_dict())
    return theirs.train()  # torch's inference path skips padded positions


def papers_embedding(ids, table):
    """Section 3.4 and 3.5, one number at a time."""
    d_model = table.shape[1]
    x = F.embedding(ids, table) * math.sqrt(d_model)
    for position in range(ids.shape[1]):
        for i in range(d_model):
            angle = position / 10000 ** ((i - i % 2) / d_model)
            x[:, position, i] += math.cos(angle) if i % 2 else math.sin(angle)
    return x


@pytest.mark.parametrize("norm", ["pre", "post"])
@pytest.mark.parametrize("activation", ["relu", "gelu"])
@pytest.mark.parametrize("tied", [False, True])
@torch.no_grad()
def test_equals_torch_with_padding_and_causal_masks(norm, activation, tied):
    vocabulary = {"source_vocab_size": 23} if tied else {}
    model = build(norm=norm, activation=activation, tie_embeddings=tied, **vocabulary)
    source, target = batch()
    hidden = as_torch(model)(
        papers_embedding(source, model.source_embedding.weight),
        papers_embedding(target, model.target_embedding.weight),
        tgt_mask=~torch.ones(TARGET, TARGET, dtype=torch.bool).tril(),
        src_key_padding_mask=source == PAD,
        tgt_key_padding_mask=target == PAD,
        memory_key_padding_mask=source == PAD,
    )
    head = model.source_embedding.weight if tied else model.generator.weight
    logits = model(source, target)
    assert logits.shape == (BATCH, TARGET, 23)
    assert_close(logits, hidden @ head.T, **CLOSE)


def test_base_model_has_the_known_number_of_parameters():
    config = TransformerConfig(source_vocab_size=5, target_vocab_size=5)
    assert parameter_count(config) == 44_140_544
    with torch.device("meta"):  # shapes only
        model, theirs = Transformer(config), nn.Transformer()
    assert sum(p.numel() for part in (model.encoder, model.decoder) for p in part.parameters()) == 44_140_544
    assert sum(p.numel() for p in theirs.parameters()) == 44_140_544


@pytest.mark.parametrize("changes", [{}, {"num_layers": 3, "d_ff": 29}, {"norm": "pre", "d_model": 22}])
def test_parameter_formula_equals_the_module(changes):
    model = build(**changes)
    counted = sum(p.numel() for part in (model.encoder, model.decoder) for p in part.parameters())
    assert parameter_count(model.config) == counted


def test_tied_embeddings_are_one_matrix():
    model = build(source_vocab_size=23, tie_embeddings=True)
    matrices = [p for p in model.parameters() if p.shape == (23, 34)]
    assert len(matrices) == 1
    source, target = batch()
    model(source, target).sum().backward()
    assert matrices[0].grad.abs().sum() > 0


@torch.no_grad()
def test_padding_and_the_future_change_nothing():
    model = build()
    source, target = batch()
    logits = model(source, target)
    for row, (source_len, target_len) in enumerate([(7, 5), (4, 3), (1, 5)]):
        alone = model(source[row : row + 1, :source_len], target[row : row + 1, :target_len])
        assert_close(logits[row, :target_len], alone[0], **CLOSE)
    for length in range(1, TARGET):
        assert_close(model(source, target[:, :length]), logits[:, :length], **CLOSE)


@torch.no_grad()
def test_target_order_and_source_order_matter():
    model = build()
    source, target = batch()
    logits = model(source[:1], target[:1])
    assert (model(source[:1].flip(1), target[:1]) - logits).abs().max() > 1e-2
    swapped = target[:1, [1, 0, 2, 3, 4]]
    assert (model(source[:1], swapped)[:, -1] - logits[:, -1]).abs().max() > 1e-3


@pytest.mark.parametrize("steps", [(1, 1, 1, 1, 1), (2, 3), (5,)])
@torch.no_grad()
def test_cached_decoding_equals_uncached(steps):
    model = build()
    source, target = batch()
    memory, memory_mask = model.encode(source)
    cache, outputs, start = KeyValueCache(), [], 0
    for step in steps:
        outputs.append(model.decode(target[:, start : start + step], memory, memory_mask, cache))
        start += step
        assert cache.length == start
    assert_close(torch.cat(outputs, dim=1), model(source, target), **CLOSE)


@torch.no_grad()
def test_cache_follows_reordered_beams():
    model = build()
    source, target = batch()
    rows = torch.tensor([1, 1, 0])
    memory, memory_mask = model.encode(source)
    cache = KeyValueCache()
    model.decode(target[:, :4], memory, memory_mask, cache)
    cache.reorder(rows)
    logits = model.decode(target[rows, 4:], memory[rows], memory_mask[rows], cache)
    assert_close(logits, model(source[rows], target[rows])[:, 4:], **CLOSE)


def test_cross_attention_of_every_layer():
    model = build()
    source, target = batch()
    weights = model.cross_attention(source, target)
    assert weights.shape == (2, BATCH, 2, TARGET, SOURCE)
    assert_close(weights.sum(-1), torch.ones(2, BATCH, 2, TARGET), **CLOSE)
    assert weights[:, 1, :, :, 4:].max() == 0 and weights[:, 2, :, :, 1:].max() == 0

    class Captured(Exception):
        pass

    last = model.decoder.blocks[1].cross_attention

    def recompute(module, args):
        q, k, _ = module.project(args[0], args[1], args[1])
        scores = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).masked_fill(~args[2][:, None], -torch.inf)
        assert_close(scores.softmax(-1), weights[1], **CLOSE)
        raise Captured

    last.register_forward_pre_hook(recompute)
    with pytest.raises(Captured):
        model(source, target)


def test_dropout_is_on_the_embeddings_too():
    model = build(dropout=0.5).train()
    source, _ = batch()
    dropped = model.embed(model.source_embedding, source)
    kept = dropped != 0
    assert 0.4 < kept.float().mean() < 0.6
    expected = 2 * papers_embedding(source, model.source_embedding.weight.detach())
    assert_close(dropped[kept], expected[kept], **CLOSE)
    model.eval()
    assert_close(model(*batch()), model(*batch()), rtol=0, atol=0)


def test_another_position_scheme_overrides_one_method():
    class Unordered(Transformer):
        def position_table(self, length):
            return torch.zeros(length, self.config.d_model)

    torch.manual_seed(0)
    model = Unordered(SMALL).eval()
    source, target = batch()
    assert_close(model(source[:1].flip(1), target[:1]), model(source[:1], target[:1]), **CLOSE)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_small_model_fits_one_batch(norm):
    model = build(norm=norm).train()
    source, target = batch()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(40):
        logits = model(source, target[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), target[:, 1:].flatten(), ignore_index=PAD)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())
    assert loss < 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_layers": 0}, "num_layers=0 must be 1 or more"),
        ({"pad_id": 19}, "pad_id=19 is outside the vocabulary, source_vocab_size=19"),
        ({"pad_id": -1}, "pad_id=-1 is outside"),
        ({"tie_embeddings": True}, "one shared vocabulary, not source_vocab_size=19 and target_vocab_size=23"),
    ],
)
def test_config_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": 3}, "d_model=34 is not divisible by num_heads=3"),
        ({"norm": "both"}, "norm='both'"),
        ({"d_model": 33, "num_heads": 3}, "d_model=33 must be even"),
    ],
)
def test_model_refuses(changes, message):
    with pytest.raises(ValueError, match=message):
        Transformer(replace(SMALL, **changes))(*batch())


def test_bad_batches_are_refused():
    model = build()
    source, target = batch()
    with pytest.raises(ValueError, match="token id 22 is outside the vocabulary of 19"):
        model(torch.full((BATCH, SOURCE), 22), target)
    with pytest.raises(ValueError, match="batches of different sizes"):
        model(source[:2], target)
    with pytest.raises(ValueError, match="the batch is empty"):
        model(source[:, :0], target)
    with pytest.raises(ValueError, match=r"expected \[batch, length\]"):
        model(source, target[0])
    with pytest.raises(TypeError, match="must be integers"):
        model(source.float(), target)
    memory, memory_mask = model.encode(source)
    with pytest.raises(TypeError, match="mask"):
        model.decode(target, memory, memory_mask.float())


# --- published form -----------------------------------------------------------------------------------------

PUBLISHED = {"norm": "pre", "tie_embeddings": True, "source_vocab_size": 23}


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_saved_in_the_form_of_pegasus_it_computes_the_same(tmp_path, activation):
    ours = build(**PUBLISHED, activation=activation)
    ours.save_pretrained(tmp_path, bos_id=0, eos_id=1, max_len=11)
    theirs, info = PegasusForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    source, target = batch()
    with torch.no_grad():
        expected = theirs(
            source,
            attention_mask=(source != PAD).int(),
            decoder_input_ids=target,
            decoder_attention_mask=(target != PAD).int(),
        ).logits
    real = target != PAD
    assert_close(ours(source, target)[real], expected[real], **CLOSE)
    assert (theirs.config.decoder_start_token_id, theirs.config.eos_token_id) == (0, 1)


def test_saved_and_loaded_it_is_the_same(tmp_path):
    ours = build(**PUBLISHED)
    ours.save_pretrained(tmp_path, bos_id=0, eos_id=1)
    again = Transformer.from_pretrained(tmp_path)
    assert again.config == ours.config
    assert again.target_embedding is again.source_embedding and not again.training
    for name, tensor in ours.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


@pytest.mark.parametrize("change", [{"norm": "post"}, {"tie_embeddings": False}, {"norm_eps": 1e-6}])
def test_what_pegasus_cannot_express_is_not_saved(tmp_path, change):
    with pytest.raises(ValueError, match=next(iter(change))):
        build(**PUBLISHED | change).save_pretrained(tmp_path, bos_id=0, eos_id=1)


def test_positions_in_another_order_are_refused(tmp_path):
    PegasusForConditionalGeneration(
        PegasusConfig(
            vocab_size=23,
            d_model=34,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=41,
            decoder_ffn_dim=41,
            scale_embedding=True,
            max_position_embeddings=11,
        )
    ).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="sines and cosines alternate"):
        Transformer.from_pretrained(tmp_path)


def test_a_damaged_file_is_refused(tmp_path):
    build(**PUBLISHED).save_pretrained(tmp_path, bos_id=0, eos_id=1)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        Transformer.from_pretrained(tmp_path)
