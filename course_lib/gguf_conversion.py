"""From a GGUF file of the Llama family to the files that transformers reads.

GGUF packs weights as blocks of a few bits, with configuration and tokenizer in the same file. It is converted once,
when an asset is fetched. Needs the package `gguf`.
"""

import json
from pathlib import Path

import gguf
import torch
from safetensors.torch import save_file
from torch import Tensor

_LLAMA_NAMES = {
    "token_embd": "model.embed_tokens",
    "output_norm": "model.norm",
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert_llama(packed: Path, directory: Path) -> None:
    """Write config.json, model.safetensors and the tokenizer's files of the GGUF file `packed` into `directory`.

    The weights become bfloat16 under the parameter names of transformers' `LlamaForCausalLM`.
    """
    reader = gguf.GGUFReader(packed)
    fields = {name: field.contents() for name, field in reader.fields.items()}
    _write_json(directory / "config.json", _config(fields))
    _write_json(directory / "tokenizer.json", _tokenizer(fields))
    _write_json(directory / "tokenizer_config.json", _tokenizer_config(fields))
    template = fields["tokenizer.chat_template"]
    (directory / "chat_template.jinja").write_bytes(template.encode("utf-8"))
    _write_weights(reader, fields, directory / "model.safetensors")


def _write_json(path: Path, content: dict) -> None:
    text = json.dumps(content, ensure_ascii=False, indent=2) + "\n"
    path.write_bytes(text.encode("utf-8"))


def _config(fields: dict) -> dict:
    heads = fields["llama.attention.head_count"]
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": fields["tokenizer.ggml.bos_token_id"],
        "dtype": "bfloat16",
        "eos_token_id": fields["tokenizer.ggml.eos_token_id"],
        "head_dim": fields["llama.embedding_length"] // heads,
        "hidden_act": "silu",
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "max_position_embeddings": fields["llama.context_length"],
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": fields["llama.block_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "pad_token_id": fields["tokenizer.ggml.padding_token_id"],
        # Stored in single precision, 9.99999975e-06: rounded back to what was meant.
        "rms_norm_eps": float(f"{fields['llama.attention.layer_norm_rms_epsilon']:.3g}"),
        "rope_theta": fields["llama.rope.freq_base"],
        "tie_word_embeddings": True,
        "vocab_size": fields["llama.vocab_size"],
    }


def _tokenizer(fields: dict) -> dict:
    """Byte-level BPE that splits numbers into single digits: what the file's `pre = "smollm"` stands for."""
    tokens, types = fields["tokenizer.ggml.tokens"], fields["tokenizer.ggml.token_type"]
    control = 3
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": token, **flags}
            for i, (token, kind) in enumerate(zip(tokens, types, strict=True))
            if kind == control
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: i for i, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in fields["tokenizer.ggml.merges"]],
        },
    }


def _tokenizer_config(fields: dict) -> dict:
    tokens = fields["tokenizer.ggml.tokens"]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[fields["tokenizer.ggml.bos_token_id"]],
        "eos_token": tokens[fields["tokenizer.ggml.eos_token_id"]],
        "pad_token": tokens[fields["tokenizer.ggml.padding_token_id"]],
        "unk_token": tokens[fields["tokenizer.ggml.unknown_token_id"]],
        "clean_up_tokenization_spaces": False,
        "model_max_length": fields["llama.context_length"],
    }


def _write_weights(reader: gguf.GGUFReader, fields: dict, path: Path) -> None:
    """One tensor at a time through float32, so that memory holds little more than the bfloat16 model."""
    heads = {
        "attn_q": fields["llama.attention.head_count"],
        "attn_k": fields["llama.attention.head_count_kv"],
    }
    state = {}
    for tensor in reader.tensors:
        weight = torch.tensor(gguf.dequantize(tensor.data, tensor.tensor_type))
        part = tensor.name.split(".")[-2]
        if part in heads:
            weight = _halves_from_pairs(weight, heads[part])
        state[_llama_name(tensor.name)] = weight.to(torch.bfloat16).contiguous()
    save_file(state, path, metadata={"format": "pt"})


def _llama_name(name: str) -> str:
    """`blk.4.attn_q.weight` -> `model.layers.4.self_attn.q_proj.weight`."""
    *block, part, kind = name.split(".")
    layer = f"model.layers.{block[1]}." if block else ""
    return f"{layer}{_LLAMA_NAMES[part]}.{kind}"


def _halves_from_pairs(weight: Tensor, num_heads: int) -> Tensor:
    """Undo GGUF's order of the rows of a head: there a rotary pair is (2i, 2i + 1), here it is (i, i + d/2)."""
    rows, columns = weight.shape
    pairs = weight.reshape(num_heads, rows // num_heads // 2, 2, columns)  # (head, pair, member, d_model)
    return pairs.transpose(1, 2).reshape(rows, columns)
