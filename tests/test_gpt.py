"""`course_lib.gpt` against transformers' GPT-2 and Llama: random small models saved and read, and real weights."""

import json
import math
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F
from torch.testing import assert_close
from transformers import GPT2Config, GPT2LMHeadModel, GPT2Model, LlamaConfig, LlamaForCausalLM

from course_lib.checkpoints import CheckpointError, load_safetensors
from course_lib.gpt import GPT, GPTConfig
from course_lib.layers import KeyValueCache, record_attention

VOCAB, BATCH, LENGTH = 67, 3, 11
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
NO_SPECIAL_TOKENS = {"bos_token_id": None, "eos_token_id": None}
FORMS = ("gpt2", "llama", "llama-untied")


def published_model(form: str, seed: int = 0):
    """A model of transformers whose every parameter is random: no norm is 1, no bias 0."""
    if form == "gpt2":
        sizes = {"n_embd": 35, "n_layer": 2, "n_head": 5, "n_positions": 29, "n_inner": 53}
        model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCAB, **sizes, **NO_SPECIAL_TOKENS))
    else:
        config = LlamaConfig(
            vocab_size=VOCAB,
            hidden_size=60,
            num_hidden_layers=2,
            num_attention_heads=6,
            num_key_value_heads=2,
            intermediate_size=53,
            max_position_embeddings=29,
            rope_parameters={"rope_type": "default", "rope_theta": 1234.5},
            rms_norm_eps=3e-4,
            tie_word_embeddings=form == "llama",
            **NO_SPECIAL_TOKENS,
        )
        model = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator) + 0.05)
    return model.eval()


@pytest.fixture(scope="module", params=FORMS)
def saved(request, tmp_path_factory):
    """A model of transformers and the directory it was saved in."""
    model = published_model(request.param)
    directory = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(directory)
    return model, directory


def ids(batch=BATCH, length=LENGTH, seed=1):
    return torch.randint(0, VOCAB, (batch, length), generator=torch.Generator().manual_seed(seed))


def greedy(step, input_ids, count):
    for _ in range(count):
        input_ids = torch.cat((input_ids, step(input_ids)[:, -1:].argmax(-1)), dim=1)
    return input_ids


# --- against transformers -----------------------------------------------------------------------------------


@torch.no_grad()
def test_logits_equal_transformers(saved):
    theirs, directory = saved
    ours = GPT.from_pretrained(directory)
    assert not ours.training
    assert_close(ours(ids()), theirs(ids()).logits, **CLOSE)


@torch.no_grad()
def test_greedy_text_equals_generate(saved):
    theirs, directory = saved
    ours = GPT.from_pretrained(directory)
    expected = theirs.generate(ids(), attention_mask=torch.ones_like(ids()), max_new_tokens=13, do_sample=False)
    assert torch.equal(greedy(ours, ids(), 13), expected)


@pytest.mark.parametrize("side", ["left", "right"])
@torch.no_grad()
def test_padding_changes_nothing(saved, side):
    theirs, directory = saved
    ours = GPT.from_pretrained(directory)
    attention_mask = torch.ones(BATCH, LENGTH, dtype=torch.long)
    for row, length in enumerate((LENGTH, 7, 2)):
        padding = slice(None, LENGTH - length) if side == "left" else slice(length, None)
        attention_mask[row, padding] = 0
    logits = ours(ids(), attention_mask)
    assert torch.isfinite(logits).all()
    for row, real in enumerate(attention_mask.bool()):
        alone = ids()[row, real][None]
        assert_close(logits[row, real], theirs(alone).logits[0], **CLOSE)


@torch.no_grad()
def test_transformers_loads_what_we_save(saved, tmp_path):
    theirs, directory = saved
    ours = GPT.from_pretrained(directory)
    ours.save_pretrained(tmp_path / "new")
    again = type(theirs).from_pretrained(tmp_path / "new").eval()
    assert_close(again(ids()).logits, theirs(ids()).logits, **CLOSE)
    before, after = load_safetensors(directory), load_safetensors(tmp_path / "new")
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]), name
    assert GPT.from_pretrained(tmp_path / "new").config == ours.config
    for name in ("resid_pdrop", "rms_norm_eps", "layer_norm_epsilon", "n_inner", "tie_word_embeddings"):
        assert getattr(again.config, name, None) == getattr(theirs.config, name, None)


@torch.no_grad()
def test_gpt2_files_without_a_prefix_or_with_buffers_are_understood(tmp_path):
    """GPT-2's own file has no prefix and holds its masks; some files repeat a tied embedding."""
    theirs = published_model("gpt2")
    theirs.save_pretrained(tmp_path)
    state = {name.removeprefix("transformer."): tensor for name, tensor in load_safetensors(tmp_path).items()}
    state["h.0.attn.bias"] = torch.ones(1, 1, 29, 29)
    state["h.1.attn.masked_bias"] = torch.tensor(-1e4)
    state["lm_head.weight"] = state["wte.weight"].clone()
    save_file(state, tmp_path / "model.safetensors")
    assert_close(GPT.from_pretrained(tmp_path)(ids()), theirs(ids()).logits, **CLOSE)

    GPT2Model(theirs.config).save_pretrained(tmp_path / "body")
    assert GPT.from_pretrained(tmp_path / "body")(ids()).shape == (BATCH, LENGTH, VOCAB)


@torch.no_grad()
def test_llama_files_of_transformers_4_and_of_half_precision(tmp_path):
    published_model("llama").bfloat16().save_pretrained(tmp_path)
    theirs = LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).eval()
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    config["rope_theta"] = config.pop("rope_parameters")["rope_theta"]
    config["rope_scaling"] = None
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    ours = GPT.from_pretrained(tmp_path)
    assert {parameter.dtype for parameter in ours.parameters()} == {torch.float32}
    assert_close(ours(ids()), theirs(ids()).logits, **CLOSE)


# --- the cache ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positions", ["learned", "rotary", "sinusoidal", "none"])
@pytest.mark.parametrize("steps", [(1,) * LENGTH, (5, 1, 1, 4), (LENGTH,)])
@torch.no_grad()
def test_cached_logits_equal_uncached(positions, steps):
    model = small(positions=positions)
    cache, start, outputs = KeyValueCache(), 0, []
    for step in steps:
        outputs.append(model(ids()[:, start : start + step], cache=cache))
        start += step
        assert cache.length == start
    assert_close(torch.cat(outputs, dim=1), model(ids()), **CLOSE)


@pytest.mark.parametrize("positions", ["learned", "rotary"])
@torch.no_grad()
def test_cached_decoding_of_left_padded_rows(positions):
    model = small(positions=positions)
    prompt, new = ids(), ids(length=4, seed=2)
    attention_mask = torch.ones_like(prompt)
    attention_mask[1, :4], attention_mask[2, :9] = 0, 0
    cache = KeyValueCache()
    model(prompt, attention_mask, cache)
    outputs = [model(new[:, t : t + 1], cache=cache) for t in range(4)]
    for row, real in enumerate(attention_mask.bool()):
        alone = torch.cat((prompt[row, real], new[row]))[None]
        assert_close(torch.cat(outputs, dim=1)[row], model(alone)[0, -4:], **CLOSE)


@torch.no_grad()
def test_cache_follows_reordered_beams():
    model, rows = small(positions="rotary"), torch.tensor([2, 0, 0])
    cache = KeyValueCache()
    model(ids()[:, :-1], cache=cache)
    cache.reorder(rows)
    assert_close(model(ids()[rows, -1:], cache=cache), model(ids()[rows])[:, -1:], **CLOSE)


# --- properties ---------------------------------------------------------------------------------------------


def small(seed=0, **changes) -> GPT:
    torch.manual_seed(seed)
    settings = {"vocab_size": VOCAB, "d_model": 60, "num_layers": 2, "num_heads": 6, "d_ff": 53, "max_len": 29}
    model = GPT(GPTConfig(**{**settings, **changes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.mark.parametrize("positions", ["learned", "rotary", "sinusoidal", "none"])
@torch.no_grad()
def test_logits_do_not_see_the_future(positions):
    model = small(positions=positions)
    changed = ids()
    changed[:, 6:] = (changed[:, 6:] + 1) % VOCAB
    assert_close(model(changed)[:, :6], model(ids())[:, :6], **CLOSE)
    assert (model(changed)[:, 6] - model(ids())[:, 6]).abs().max() > 1e-2


@pytest.mark.parametrize(("positions", "ordered"), [("none", False), ("learned", True), ("rotary", True)])
@torch.no_grad()
def test_only_a_position_scheme_tells_the_order_of_what_came_before(positions, ordered):
    model = small(positions=positions, num_layers=1)
    swapped = ids()[:, [1, 0, *range(2, LENGTH)]]
    difference = (model(swapped)[:, -1] - model(ids())[:, -1]).abs().max()
    assert (difference > 1e-3) == ordered


@torch.no_grad()
def test_sinusoidal_positions_are_added_to_scaled_embeddings():
    model = small(positions="sinusoidal")
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    model(ids())
    angles = torch.arange(LENGTH)[:, None] / 10000 ** (torch.arange(0, 60, 2) / 60)
    table = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(1)
    assert_close(seen[0], F.embedding(ids(), model.token_embedding.weight) * 60**0.5 + table, **CLOSE)


def test_initial_weights_follow_gpt2():
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=997, d_model=132, num_layers=8, num_heads=3, max_len=101))
    assert model.config.d_ff == 528
    stds = {name: parameter.std().item() for name, parameter in model.named_parameters() if parameter.dim() > 1}
    for name, std in stds.items():
        residual = name.endswith(("out_proj.weight", "down.weight"))
        assert std == pytest.approx(0.02 / 4 if residual else 0.02, rel=0.05), name
    assert all(p.abs().max() == 0 for name, p in model.named_parameters() if name.endswith("bias"))
    assert all((p == 1).all() for name, p in model.named_parameters() if name.endswith("norm.weight"))
    loss = F.cross_entropy(model(ids()).flatten(0, 1), ids(seed=2).flatten())
    assert loss.item() == pytest.approx(math.log(997), rel=0.05)


def test_llama_form_has_its_parts_and_no_biases():
    model = GPT(GPTConfig.llama(vocab_size=VOCAB, d_model=60, num_layers=1, num_heads=6, num_kv_heads=2, d_ff=53))
    names = [name for name, _ in model.named_parameters()]
    assert not any(name.endswith("bias") for name in names)
    assert "blocks.0.feed_forward.gate.weight" in names and "position_embedding.weight" not in names
    assert model.blocks[0].attention.k_proj.weight.shape == (20, 60)


def test_dropout_is_off_in_evaluation_only():
    model = small(dropout=0.3)
    assert_close(model(ids()), model(ids()), rtol=0, atol=0)
    model.train()
    assert (model(ids()) - model(ids())).abs().max() > 1e-3


def test_a_small_model_fits_one_batch():
    model = small().train()
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(30):
        loss = F.cross_entropy(model(ids()[:, :-1]).flatten(0, 1), ids()[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.2


@torch.no_grad()
def test_attention_can_be_recorded():
    model = small(num_kv_heads=2, positions="rotary")
    with record_attention(model) as weights:
        model(ids())
    assert list(weights) == ["blocks.0.attention", "blocks.1.attention"]
    for recorded in weights.values():
        assert recorded.shape == (BATCH, 6, LENGTH, LENGTH)
        assert_close(recorded.tril().sum(-1), torch.ones(BATCH, 6, LENGTH), **CLOSE)


# --- bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocab_size": 0}, "vocab_size=0 must be 1 or more"),
        ({"max_len": -3}, "max_len=-3 must be 1 or more"),
        ({"positions": "absolute"}, "positions='absolute' is not one of 'learned', 'rotary'"),
        ({"norm_type": "group"}, "norm_type='group'"),
        ({"activation": "gelu_new"}, "activation='gelu_new'"),
    ],
)
def test_config_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        GPTConfig(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_heads": 7}, "d_model=60 is not divisible by num_heads=7"),
        ({"num_kv_heads": 4}, "num_heads=6 is not divisible by num_kv_heads=4"),
        ({"num_heads": 4, "positions": "rotary"}, "d_k=15 is odd"),
        ({"dropout": 1.0}, "dropout=1.0"),
    ],
)
def test_model_refuses(settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings)


def test_bad_batches_are_refused():
    model = small()
    with pytest.raises(ValueError, match="position 29 is outside the learned table of max_len=29"):
        model(ids(length=30))
    cache = KeyValueCache()
    model(ids(length=29), cache=cache)
    with pytest.raises(ValueError, match="position 29 is outside the learned table"):
        model(ids(length=1), cache=cache)
    with pytest.raises(ValueError, match="token id 67 is outside the vocabulary of 67"):
        model(torch.full((1, 2), VOCAB))
    with pytest.raises(ValueError, match="the batch is empty"):
        model(ids()[:, :0])
    with pytest.raises(ValueError, match=r"attention_mask has shape \[3, 10\], input_ids \[3, 11\]"):
        model(ids(), torch.ones(BATCH, LENGTH - 1, dtype=torch.long))
    with pytest.raises(TypeError, match="attention_mask must hold integers"):
        model(ids(), torch.ones(BATCH, LENGTH))
    with pytest.raises(ValueError, match="only 1"):
        model(ids(), torch.full((BATCH, LENGTH), 2))
    with pytest.raises(ValueError, match="the cache holds a batch of 3, this call one of 2"):
        model(ids(batch=2, length=1), cache=cache)


def test_rotary_models_may_run_past_the_length_they_were_trained_on():
    assert small(positions="rotary")(ids(length=37)).shape == (BATCH, 37, VOCAB)


def test_mixed_parts_have_no_published_form(tmp_path):
    model = small(positions="rotary")
    with pytest.raises(ValueError, match=r"not gpt2: positions='rotary' \(it has 'learned'\); not llama: norm_type"):
        model.save_pretrained(tmp_path / "none")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mamba"}, "model_type='mamba'; this class reads 'gpt2', 'llama'"),
        ({"hidden_act": "relu"}, "hidden_act='relu' is not supported, only 'silu'"),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}, "rope_type='linear'"),
        ({"hidden_size": None}, "lacks 'hidden_size'"),
        ({"num_hidden_layers": 3}, "9 missing: blocks.2.attention.q_proj.weight"),
        ({"num_hidden_layers": 1}, "9 unexpected: model.layers.1"),
        ({"intermediate_size": 52}, r"feed_forward.up.weight has shape \[53, 60\] in the file, \[52, 60\]"),
        ({"tie_word_embeddings": False}, "1 missing: head.weight"),
    ],
)
def test_configs_that_do_not_fit_are_refused(tmp_path, change, message):
    published_model("llama").save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    config = {**json.loads(file.read_text(encoding="utf-8")), **change}
    file.write_text(json.dumps({k: v for k, v in config.items() if v is not None}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=message):
        GPT.from_pretrained(tmp_path)


def test_from_pretrained_says_what_a_name_may_be(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gpt5 is neither the directory .* smollm2-135m"):
        GPT.from_pretrained("gpt5")
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        GPT.from_pretrained(tmp_path)


def test_configs_are_values():
    config = GPTConfig()
    assert config == GPTConfig(**asdict(config)) and replace(config, d_model=12).d_model == 12
    with pytest.raises(AttributeError):
        config.d_model = 5


# --- real weights -------------------------------------------------------------------------------------------


@pytest.mark.assets
@torch.no_grad()
def test_smollm2_logits_and_greedy_text_equal_transformers():
    from transformers import AutoTokenizer

    from course_lib import assets

    directory = assets.fetch("smollm2-135m")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    prompt = tokenizer("The capital of France is", return_tensors="pt").input_ids
    theirs = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    expected = theirs(prompt).logits
    mask = torch.ones_like(prompt)
    expected_ids = theirs.generate(prompt, attention_mask=mask, max_new_tokens=12, do_sample=False)
    del theirs  # one model at a time in memory

    ours = GPT.from_pretrained("smollm2-135m")
    assert sum(parameter.numel() for parameter in ours.parameters()) == 134_515_008
    assert_close(ours(prompt), expected, atol=1e-4, rtol=1e-4)
    cache, written = KeyValueCache(), prompt
    logits = ours(prompt, cache=cache)
    for _ in range(12):
        token = logits[:, -1:].argmax(-1)
        written = torch.cat((written, token), dim=1)
        logits = ours(token, cache=cache)
    assert torch.equal(written[:, : expected_ids.shape[1]], expected_ids)
    assert " Paris" in tokenizer.decode(written[0])
