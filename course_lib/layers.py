"""What a Transformer is stacked from: normalisation, feed-forward layers, encoder and decoder blocks.

Activations are `[batch, length, d_model]`; masks are boolean, True = may attend (see `attention`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.attention import MultiHeadAttention
from course_lib.positions import Rotation, rotary

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),  # the approximation GPT-2 was trained with
    "silu": F.silu,
}


def require_positive(**sizes: int) -> None:
    """Raise ValueError naming the first size below 1."""
    for name, size in sizes.items():
        if size < 1:
            raise ValueError(f"{name}={size} must be 1 or more")


def require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise ValueError unless `value` is one of `choices`."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} is not one of {', '.join(map(repr, choices))}")


def _require_width(x: Tensor, d_model: int) -> None:
    # Without this, broadcasting would accept a last axis of length 1.
    if x.shape[-1:] != (d_model,):
        raise ValueError(f"x has shape {list(x.shape)}; expected [..., d_model={d_model}]")


class LayerNorm(nn.Module):
    """Centre and scale each vector, then shift and stretch it by learned amounts (Ba et al. 2016).

    y = (x - mean) / sqrt(variance + eps) · weight + bias, over the last axis. The variance divides by
    d_model, not by d_model - 1, and eps stands inside the square root.
    """

    def __init__(self, d_model: int, eps: float = 1e-5):
        super().__init__()
        require_positive(d_model=d_model)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))
        self.bias = nn.Parameter(torch.zeros(d_model))

    def forward(self, x: Tensor) -> Tensor:
        """`[..., d_model]` to the same shape."""
        _require_width(x, len(self.weight))
        centred = x - x.mean(dim=-1, keepdim=True)
        variance = centred.square().mean(dim=-1, keepdim=True)
        return centred / torch.sqrt(variance + self.eps) * self.weight + self.bias


class RMSNorm(nn.Module):
    """LayerNorm without the centring and without the bias (Zhang and Sennrich 2019).

    y = x / sqrt(mean(x²) + eps) · weight, over the last axis.
    """

    def __init__(self, d_model: int, eps: float = 1e-5):
        super().__init__()
        require_positive(d_model=d_model)
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(d_model))

    def forward(self, x: Tensor) -> Tensor:
        """`[..., d_model]` to the same shape."""
        _require_width(x, len(self.weight))
        return x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + self.eps) * self.weight


NORMS: dict[str, Callable[[int, float], nn.Module]] = {"layer": LayerNorm, "rms": RMSNorm}


class FeedForward(nn.Module):
    """Two linear maps with a non-linearity between them, applied to every position by itself.

    FFN(x) = f(x W_up + b_up) W_down + b_down (Vaswani et al. 2017, section 3.3, where f is ReLU).
    Raises ValueError for an unknown `activation` or a size below 1.
    """

    def __init__(self, d_model: int, d_ff: int, activation: str = "relu", bias: bool = True):
        super().__init__()
        require_positive(d_model=d_model, d_ff=d_ff)
        require_choice("activation", activation, tuple(ACTIVATIONS))
        self.activation = ACTIVATIONS[activation]
        self.up = nn.Linear(d_model, d_ff, bias=bias)
        self.down = nn.Linear(d_ff, d_model, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """`[..., d_model]` to the same shape."""
        return self.down(self.hidden(x))

    def hidden(self, x: Tensor) -> Tensor:
        """What stands between the two maps: `[..., d_ff]`."""
        _require_width(x, self.up.in_features)
        return self.activation(self.up(x))


class SwiGLU(FeedForward):
    """A feed-forward layer whose hidden units are gated by a second map (Shazeer 2020, as in Llama).

    SwiGLU(x) = (silu(x W_gate) ⊙ x W_up) W_down.
    """

    def __init__(self, d_model: int, d_ff: int, bias: bool = False):
        super().__init__(d_model, d_ff, "silu", bias)
        self.gate = nn.Linear(d_model, d_ff, bias=bias)

    def hidden(self, x: Tensor) -> Tensor:
        """The gated hidden units: `[..., d_ff]`."""
        _require_width(x, self.up.in_features)
        return self.activation(self.gate(x)) * self.up(x)


FEED_FORWARDS = (*ACTIVATIONS, "swiglu")


def make_feed_forward(d_model: int, d_ff: int, activation: str, bias: bool) -> FeedForward:
    """Build the feed-forward layer named by `activation`, one of `FEED_FORWARDS`."""
    require_choice("activation", activation, FEED_FORWARDS)
    if activation == "swiglu":
        return SwiGLU(d_model, d_ff, bias)
    return FeedForward(d_model, d_ff, activation, bias)


class TokenEmbedding(nn.Module):
    """One trained vector per token id, drawn from N(0, std²)."""

    def __init__(self, vocab_size: int, d_model: int, std: float = 0.02):
        super().__init__()
        require_positive(vocab_size=vocab_size, d_model=d_model)
        self.vocab_size = vocab_size
        self.weight = nn.Parameter(torch.empty(vocab_size, d_model))
        nn.init.normal_(self.weight, std=std)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Look up `[batch, length]` integer ids: `[batch, length, d_model]`.

        Raises TypeError for ids that are not integers, ValueError for another shape, an empty batch, or an
        id outside the vocabulary.
        """
        if input_ids.is_floating_point() or input_ids.dtype == torch.bool:
            raise TypeError(f"token ids must be integers, not {input_ids.dtype}")
        if input_ids.dim() != 2:
            raise ValueError(f"token ids have shape {list(input_ids.shape)}; expected [batch, length]")
        if input_ids.numel() == 0:
            raise ValueError(f"token ids have shape {list(input_ids.shape)}: the batch is empty")
        for extreme in (int(input_ids.min()), int(input_ids.max())):
            if not 0 <= extreme < self.vocab_size:
                raise ValueError(
                    f"token id {extreme} is outside the vocabulary of {self.vocab_size} (0 to "
                    f"{self.vocab_size - 1}): was the text encoded with another tokenizer?"
                )
        return self.weight[input_ids]


def real_tokens(input_ids: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Which tokens are real, boolean `[batch, length]`, from a tokenizer's mask of ones and zeros or booleans.

    None means all of them. Raises TypeError for a mask of floats, ValueError for another shape than that of
    `input_ids` or entries that are neither 1 nor 0.
    """
    if attention_mask is None:
        return torch.ones_like(input_ids, dtype=torch.bool)
    if attention_mask.is_floating_point():
        raise TypeError(f"attention_mask must hold integers or booleans, not {attention_mask.dtype}")
    if attention_mask.shape != input_ids.shape:
        raise ValueError(
            f"attention_mask has shape {list(attention_mask.shape)}, input_ids {list(input_ids.shape)}: "
            "one entry per token of this call, cached tokens not repeated"
        )
    if not torch.isin(attention_mask.long(), torch.tensor((0, 1), device=attention_mask.device)).all():
        raise ValueError("attention_mask must hold only 1 (a real token) and 0 (padding)")
    return attention_mask.bool()


class KeyValueCache:
    """What a decoder already computed: the keys and values of its attention layers, and its padding.

    Give the same object to every call that continues the same sequences, and only the new tokens to each.
    An attention layer is its own key, so one cache serves a whole model.
    """

    def __init__(self):
        self._real: Tensor | None = None  # [batch, length], True = a real token
        self._entries: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    @property
    def length(self) -> int:
        """Number of positions seen so far, padding included."""
        return 0 if self._real is None else self._real.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all keys and values."""
        return sum(tensor.nbytes for entry in self._entries.values() for tensor in entry)

    def extend_padding(self, real: Tensor) -> Tensor:
        """Add which of the new tokens are real, boolean `[batch, new]`, and return all: `[batch, length]`.

        Raises ValueError if the batch is not that of the earlier calls.
        """
        if self._real is not None:
            if self._real.shape[0] != real.shape[0]:
                raise ValueError(
                    f"the cache holds a batch of {self._real.shape[0]}, this call one of {real.shape[0]}: "
                    "start a new cache, or `reorder` this one"
                )
            real = torch.cat((self._real, real), dim=1)
        self._real = real
        return real

    def extend(self, layer: nn.Module, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append the new keys and values of `layer`, `[batch, num_kv_heads, new, d_k]`, and return all."""
        if layer in self._entries:
            old_keys, old_values = self._entries[layer]
            keys, values = torch.cat((old_keys, keys), dim=-2), torch.cat((old_values, values), dim=-2)
        self._entries[layer] = keys, values
        return keys, values

    def once(self, layer: nn.Module, compute: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """Return the keys and values of `layer`, which never change: computed on the first call only."""
        if layer not in self._entries:
            self._entries[layer] = compute()
        return self._entries[layer]

    def reorder(self, rows: Tensor) -> None:
        """Make row i of the batch a copy of row `rows[i]`: what beam search does when a beam dies."""
        if self._real is not None:
            self._real = self._real[rows]
        self._entries = {layer: (k[rows], v[rows]) for layer, (k, v) in self._entries.items()}


class SelfAttention(MultiHeadAttention):
    """Multi-head attention of a sequence to itself, with rotary positions if `rotary_base` is given."""

    def __init__(self, *args, rotary_base: float | None = None, **kwargs):
        super().__init__(*args, **kwargs)
        if rotary_base is not None and self.d_k % 2:
            raise ValueError(f"d_k={self.d_k} is odd: rotary positions turn pairs of coordinates")
        self.rotary_base = rotary_base

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        need_weights: bool = False,
        positions: Tensor | Rotation | None = None,
        cache: KeyValueCache | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """As `MultiHeadAttention.forward`, with x `[batch, length, d_model]` as query, key and value.

        `positions`, `[length]` or `[batch, length]`, are used by rotary attention alone; None counts from 0.
        A stack of layers may compute their rotation once, `[batch, 1, length, d_k / 2]`, and pass that.
        With a `cache` the keys of earlier calls are attended to as well, and `mask` covers them.
        Raises ValueError if rotary attention is given a cache but no positions.
        """
        self._check_inputs(x, x, x)
        q, k, v = self.project(x, x, x)
        if self.rotary_base is not None:
            positions = self._positions(x, positions, cache)
            q, k = rotary(q, positions, self.rotary_base), rotary(k, positions, self.rotary_base)
        if cache is not None:
            k, v = cache.extend(self, k, v)  # keys are cached after their rotation, which never changes
        return self.attend(q, k, v, mask, need_weights)

    def _positions(
        self, x: Tensor, positions: Tensor | Rotation | None, cache: KeyValueCache | None
    ) -> Tensor | Rotation:
        if isinstance(positions, Rotation):
            return positions
        if positions is None:
            if cache is not None:
                raise ValueError("rotary attention with a cache needs positions: the new tokens do not start at 0")
            positions = torch.arange(x.shape[-2], device=x.device)
        return positions.unsqueeze(-2)  # [batch, length] -> [batch, 1, length]: the heads share them


class CrossAttention(MultiHeadAttention):
    """Multi-head attention of a decoder to the output of the encoder."""

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        need_weights: bool = False,
        cache: KeyValueCache | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """As `MultiHeadAttention.forward`: queries from x, keys and values from `memory`.

        With a `cache`, the keys and values of `memory` are computed on the first call only.
        """
        self._check_inputs(x, memory, memory)
        if cache is None:
            return self.attend(*self.project(x, memory, memory), mask, need_weights)
        k, v = cache.once(self, lambda: self.project(x, memory, memory)[1:])
        # A memory of no tokens costs nothing: only the queries are projected anew.
        q, _, _ = self.project(x, memory[..., :0, :], memory[..., :0, :])
        return self.attend(q, k, v, mask, need_weights)


class EncoderBlock(nn.Module):
    """Self-attention, then a feed-forward layer, each inside a residual connection.

    Under a causal mask this is also the block of a decoder-only model.

    Args:
        d_model: width of the residual stream.
        num_heads: number of attention heads.
        d_ff: width of the hidden layer of the feed-forward layer.
        norm: "pre" normalises the input of each sub-layer, x + f(norm(x)), and keeps a path without any
            normalisation through the stack; "post" is the original order, norm(x + f(x)).
        activation: "relu", "gelu", "gelu_tanh" or "silu" for `FeedForward`; "swiglu" for `SwiGLU`.
        dropout: on the output of each sub-layer, before it is added (Vaswani et al. 2017, section 5.4).
        attention_dropout: on the attention weights, as in GPT and BERT; the paper has none.
        num_kv_heads: fewer than `num_heads` for grouped-query attention; None means as many.
        rotary_base: base of rotary positions; None means that the block knows no positions.
        norm_type: "layer" for LayerNorm, "rms" for RMSNorm.
        norm_eps: their eps.
        bias: whether the linear maps have a bias.

    Raises:
        ValueError: sizes below 1, `d_model` not divisible by `num_heads`, a name that is not listed, or a
            dropout outside [0, 1).
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_ff: int,
        norm: str = "pre",
        activation: str = "relu",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        num_kv_heads: int | None = None,
        rotary_base: float | None = None,
        norm_type: str = "layer",
        norm_eps: float = 1e-5,
        bias: bool = True,
    ):
        super().__init__()
        require_choice("norm", norm, ("pre", "post"))
        require_choice("norm_type", norm_type, tuple(NORMS))
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout={dropout} is outside [0, 1)")
        self.norm = norm
        self.attention = SelfAttention(
            d_model, num_heads, num_kv_heads, bias, attention_dropout, rotary_base=rotary_base
        )
        self.attention_norm = NORMS[norm_type](d_model, norm_eps)
        self.feed_forward = make_feed_forward(d_model, d_ff, activation, bias)
        self.feed_forward_norm = NORMS[norm_type](d_model, norm_eps)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        positions: Tensor | Rotation | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """`[batch, length, d_model]` to the same shape; the arguments are those of `SelfAttention.forward`."""
        x = self.residual(
            x, self.attention_norm, lambda h: self.attention(h, mask, positions=positions, cache=cache)[0]
        )
        return self.residual(x, self.feed_forward_norm, self.feed_forward)

    def residual(self, x: Tensor, norm: nn.Module, sublayer: Callable[[Tensor], Tensor]) -> Tensor:
        """Add what `sublayer` says to x, normalised before or after."""
        if self.norm == "pre":
            return x + self.dropout(sublayer(norm(x)))
        return norm(x + self.dropout(sublayer(x)))


class DecoderBlock(EncoderBlock):
    """An encoder block that also looks at the encoder's output, between its two sub-layers.

    The arguments are those of `EncoderBlock`, which hold for both attentions.
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        d_ff: int,
        norm: str = "pre",
        activation: str = "relu",
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        norm_type: str = "layer",
        norm_eps: float = 1e-5,
        bias: bool = True,
    ):
        super().__init__(
            d_model,
            num_heads,
            d_ff,
            norm=norm,
            activation=activation,
            dropout=dropout,
            attention_dropout=attention_dropout,
            norm_type=norm_type,
            norm_eps=norm_eps,
            bias=bias,
        )
        self.cross_attention = CrossAttention(d_model, num_heads, bias=bias, dropout_p=attention_dropout)
        self.cross_attention_norm = NORMS[norm_type](d_model, norm_eps)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        cache: KeyValueCache | None = None,
    ) -> Tensor:
        """x `[batch, target_len, d_model]`, `memory` `[batch, source_len, d_model]` to the shape of x.

        `mask` is for the target, usually causal; `memory_mask` for the source, usually its padding.
        """
        x = self.residual(x, self.attention_norm, lambda h: self.attention(h, mask, cache=cache)[0])
        x = self.residual(
            x,
            self.cross_attention_norm,
            lambda h: self.cross_attention(h, memory, memory_mask, cache=cache)[0],
        )
        return self.residual(x, self.feed_forward_norm, self.feed_forward)


@contextmanager
def record_attention(model: nn.Module) -> Iterator[dict[str, Tensor]]:
    """Collect the attention weights of every layer of `model` while the `with` block runs.

    Yields a dictionary from the name of each attention layer, such as "blocks.0.attention", to the weights
    of its last call: `[batch, num_heads, query_len, key_len]`. The model computes the same outputs.
    Raises ValueError if `model` has no attention layer.
    """
    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, MultiHeadAttention)}
    if not layers:
        raise ValueError(f"{type(model).__name__} has no MultiHeadAttention to record")
    recorded: dict[str, Tensor] = {}

    def ask(layer, args, kwargs):
        return args, {**kwargs, "need_weights": True}

    def keep(name: str):
        def hook(layer, args, output):
            recorded[name] = output[1].detach()

        return hook

    handles = [layer.register_forward_pre_hook(ask, with_kwargs=True) for layer in layers.values()]
    handles += [layer.register_forward_hook(keep(name)) for name, layer in layers.items()]
    try:
        yield recorded
    finally:
        for handle in handles:
            handle.remove()


# Fast forms ----------------------------------------------------------------------------------------------------
#
# The classes above say what is computed; these compute the same in fewer passes over memory, equal up to rounding.
# `fuse` and `prepare_for_inference` put a model into them, in place: parameters keep their names and their values.


class FusedLayerNorm(LayerNorm):
    """`LayerNorm` by torch's kernel, which stores none of the steps in between."""

    def forward(self, x: Tensor) -> Tensor:
        """As `LayerNorm.forward`."""
        _require_width(x, len(self.weight))
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


class FusedRMSNorm(RMSNorm):
    """`RMSNorm` by torch's function."""

    def forward(self, x: Tensor) -> Tensor:
        """As `RMSNorm.forward`."""
        _require_width(x, len(self.weight))
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class MergedSelfAttention(SelfAttention):
    """`SelfAttention` that computes queries, keys and values as one product, unless one of its maps is trained."""

    def project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `MultiHeadAttention.project`."""
        parts = (self.q_proj, self.k_proj, self.v_proj)
        if not (query is key is value and _is_merged(self.merged, parts)):
            return super().project(query, key, value)
        sizes = [part.out_features for part in parts]
        q, k, v = self.merged(query).split(sizes, dim=-1)
        return self._split_heads(q), self._split_heads(k), self._split_heads(v)


class MergedSwiGLU(SwiGLU):
    """`SwiGLU` that computes gates and hidden units as one product, unless one of its maps is trained."""

    def hidden(self, x: Tensor) -> Tensor:
        """As `SwiGLU.hidden`."""
        if not _is_merged(self.merged, (self.gate, self.up)):
            return super().hidden(x)
        _require_width(x, self.up.in_features)
        gate, up = self.merged(x).chunk(2, dim=-1)
        return self.activation(gate) * up


class _Merged:
    """Several linear maps of one input as one; the parts' parameters become views of it, so that no number is there
    twice and a change to one is a change to both."""

    def __init__(self, parts: Sequence[nn.Linear]):
        # Stored transposed: x times it reads memory from front to back, and so do the parts.
        self.weight = torch.cat([part.weight.detach() for part in parts]).T.contiguous()  # [in, all out]
        self.bias = None if parts[0].bias is None else torch.cat([part.bias.detach() for part in parts])
        sizes = [part.out_features for part in parts]
        for part, weight in zip(parts, self.weight.split(sizes, dim=1), strict=True):
            part.weight.data = weight.T
        for part, bias in zip(parts, self.bias.split(sizes) if self.bias is not None else (), strict=False):
            part.bias.data = bias

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight.T, self.bias)


def _is_merged(merged: _Merged, parts: Sequence[nn.Module]) -> bool:
    """Whether the product may stand for its parts: none of them is trained, and none was moved or replaced since."""
    return (
        all(type(part) is nn.Linear and not part.weight.requires_grad for part in parts)
        and parts[0].weight.data_ptr() == merged.weight.data_ptr()
    )


Model = TypeVar("Model", bound=nn.Module)

_FUSED = {LayerNorm: FusedLayerNorm, RMSNorm: FusedRMSNorm}


def fuse(model: Model) -> Model:
    """Put the normalisations of `model` into their fused forms, in place, for training too; returns `model`."""
    for module in model.modules():
        module.__class__ = _FUSED.get(type(module), type(module))  # the same object with another `forward`
    return model


def prepare_for_inference(model: Model) -> Model:
    """Put `model` into the forms that read fastest, in place; returns `model`.

    Normalisations are fused, maps that read the same vector are merged, and matrices that are wider than high are
    laid out in memory as the product with one vector reads them. It can be saved as before. Its parameters are frozen:
    optimisers expect another layout, so load the model anew to train it.
    """
    fuse(model).requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.Linear | TokenEmbedding) and module.weight.shape[0] > module.weight.shape[1]:
            module.weight.data = module.weight.data.T.contiguous().T
    for module in list(model.modules()):
        if type(module) is SelfAttention:
            module.merged = _Merged((module.q_proj, module.k_proj, module.v_proj))
            module.__class__ = MergedSelfAttention
        elif type(module) is SwiGLU:
            module.merged = _Merged((module.gate, module.up))
            module.__class__ = MergedSwiGLU
    return model
