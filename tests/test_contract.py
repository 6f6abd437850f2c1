"""Names and parameters that outside checks call: they may gain parameters with defaults, and lose none."""

import importlib
import inspect

import pytest

CONTRACT = {
    "attention:scaled_dot_product_attention": ("q", "k", "v", "mask=None", "dropout_p=0.0"),
    "attention:causal_mask": ("n",),
    "attention:padding_mask": ("lengths", "n"),
    "attention:MultiHeadAttention": ("d_model", "num_heads", "num_kv_heads=None", "bias=True"),
    "attention:MultiHeadAttention.forward": (
        "self", "query", "key=None", "value=None", "mask=None", "need_weights=False",
    ),
    "positions:sinusoidal": ("length", "d_model"),
    "positions:LearnedPositions": ("max_len", "d_model"),
    "positions:rotary": ("x", "positions", "base=10000.0"),
    "layers:LayerNorm": ("d_model",),
    "layers:RMSNorm": ("d_model",),
    "layers:FeedForward": ("d_model", "d_ff"),
    "layers:SwiGLU": ("d_model", "d_ff"),
    "layers:EncoderBlock": ("d_model", "num_heads", "d_ff", "norm='pre'"),
    "layers:DecoderBlock": ("d_model", "num_heads", "d_ff", "norm='pre'"),
    "transformer:Transformer": ("config",),
    "transformer:TransformerConfig": (),
    "gpt:GPT": ("config",),
    "gpt:GPT.from_pretrained": ("path_or_name",),
    "gpt:GPTConfig": (),
    "decoding:greedy_search": ("next_token", "prompt_ids", "max_new_tokens"),
    "decoding:beam_search": ("next_token", "prompt_ids", "max_new_tokens", "num_beams", "length_penalty=1.0"),
    "decoding:sample": (
        "next_token", "prompt_ids", "max_new_tokens", "temperature=1.0", "top_k=None", "top_p=None", "generator=None",
    ),
}  # fmt: skip


def shown(parameter: inspect.Parameter) -> str:
    return parameter.name if parameter.default is parameter.empty else f"{parameter.name}={parameter.default!r}"


@pytest.mark.parametrize("name", CONTRACT)
def test_the_contract_is_kept(name):
    module, _, path = name.partition(":")
    found = importlib.import_module(f"course_lib.{module}")
    for part in path.split("."):
        found = getattr(found, part)
    parameters = list(inspect.signature(found).parameters.values())
    promised = CONTRACT[name]
    assert tuple(map(shown, parameters[: len(promised)])) == promised
    optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    for parameter in parameters[len(promised) :]:
        assert parameter.default is not parameter.empty or parameter.kind in optional
    assert inspect.getdoc(found)
