"""Right answers of notebook 10."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

# Within one layer: the published part of a name and ours.
_PARTS = {
    "attention.self.query": "attention.q_proj",
    "attention.self.key": "attention.k_proj",
    "attention.self.value": "attention.v_proj",
    "attention.output.dense": "attention.out_proj",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "feed_forward.up",
    "output.dense": "feed_forward.down",
    "output.LayerNorm": "feed_forward_norm",
}
_EMBEDDINGS = {
    "word_embeddings": "token",
    "position_embeddings": "position",
    "token_type_embeddings": "segment",
    "LayerNorm": "norm",
}


def our_name(published: str) -> str | None:
    """The parameter of our BERT that a published tensor belongs to; None if there is none."""
    path, _, kind = published.removeprefix("bert.").rpartition(".")
    kind = {"gamma": "weight", "beta": "bias"}.get(kind, kind)
    if path.startswith("encoder.layer."):
        _, _, number, part = path.split(".", 3)  # the whole part: "output.dense" also ends another one
        return f"blocks.{number}.{_PARTS[part]}.{kind}"
    if path.startswith("embeddings."):
        return f"embeddings.{_EMBEDDINGS[path.removeprefix('embeddings.')]}.{kind}"
    if path == "pooler.dense":
        return f"pooler.dense.{kind}"
    return None  # position_ids, and heads that our encoder does not have


def from_first_release(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of BERT's first release under today's published names and as today's files store them."""
    today = {}
    for old, tensor in state.items():
        path, _, kind = old.replace("/", ".").replace("layer_", "layer.").rpartition(".")
        if kind == "kernel":  # stored as [in, out]; nn.Linear holds [out, in]
            kind, tensor = "weight", tensor.T
        elif kind.endswith("_embeddings"):  # a table: row i belongs to token i, then and now
            path, kind = f"{path}.{kind}", "weight"
        kind = {"gamma": "weight", "beta": "bias"}.get(kind, kind)
        today[f"{path}.{kind}"] = tensor
    return today


def bert_parameters(
    vocab_size: int, d_model: int, num_layers: int, d_ff: int, max_len: int = 512, num_segments: int = 2
) -> int:
    """Number of parameters of a BERT encoder with its pooler."""
    norm = 2 * d_model
    embeddings = (vocab_size + max_len + num_segments) * d_model + norm
    attention = 4 * (d_model * d_model + d_model)
    feed_forward = d_model * d_ff + d_ff + d_ff * d_model + d_model
    pooler = d_model * d_model + d_model
    return embeddings + num_layers * (attention + feed_forward + 2 * norm) + pooler


def first_wrong_state(
    ours: Sequence[Tensor], theirs: Sequence[Tensor], mask: Tensor, tolerance: float = 1e-4
) -> int | None:
    """Index of the first hidden state that differs at a real token; None if all agree."""
    real = mask.bool()  # [batch, length]
    for index, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        if (mine[real] - other[real]).abs().max() > tolerance:
            return index
    return None


def pooler(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The first token's vector through one layer and tanh: [batch, length, d_model] to [batch, d_model]."""
    first = hidden[:, 0]  # [CLS]
    return torch.tanh(first @ weight.T + bias)


def packing(lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Positions [total] and mask [total, total] of sequences that lie end to end."""
    positions = torch.cat([torch.arange(length) for length in lengths])
    sequence = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return positions, sequence[:, None] == sequence[None, :]
