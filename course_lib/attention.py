"""Attention: masks, the stable softmax, scaled dot-product attention and multi-head attention.

Axes, everywhere the same: `[..., query, key]` for scores, weights and masks,
`[batch, num_heads, length, d_k]` after the split into heads. A mask is boolean and True means "may attend".
A query that may attend to nothing gets weights and an output of zeros, never NaN, and its gradient is zero.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F


def causal_mask(n: int, device: torch.device | str | None = None) -> Tensor:
    """`[n, n]` boolean mask in which query i may attend to the keys 0..i.

    With cached keys the last `m` queries of `n` use the rows `causal_mask(n)[-m:]`.
    Raises ValueError if `n` is negative.
    """
    if n < 0:
        raise ValueError(f"n={n} is negative; a mask needs a length of 0 or more")
    return torch.ones(n, n, dtype=torch.bool, device=device).tril()


def padding_mask(lengths: Sequence[int] | Tensor, n: int) -> Tensor:
    """`[batch, 1, n]` boolean mask in which each query may attend to the first `lengths[i]` keys of row i.

    It broadcasts to `[batch, query, n]`, and `padding_mask(lengths, n) & causal_mask(n)` adds causality.
    For scores of `[batch, num_heads, query, n]`, give the heads an axis: `padding_mask(lengths, n)[:, None]`
    (`MultiHeadAttention` does so itself).

    `lengths` holds one whole number per sequence. The mask lies on the device of `lengths`.
    Raises ValueError if `n` or a length is negative, a length exceeds `n`, or `lengths` is not one row of
    whole numbers.
    """
    if n < 0:
        raise ValueError(f"n={n} is negative; a mask needs a length of 0 or more")
    lengths = torch.as_tensor(lengths)
    if lengths.numel() == 0:  # torch.as_tensor([]) is float32
        lengths = lengths.long()
    if lengths.dim() != 1 or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise ValueError(
            f"lengths has shape {list(lengths.shape)} and dtype {lengths.dtype}; "
            "pass one whole number per sequence, for example [3, 5]"
        )
    for i, length in enumerate(lengths.tolist()):
        if length < 0:
            raise ValueError(f"lengths[{i}]={length} is negative")
        if length > n:
            raise ValueError(f"lengths[{i}]={length} is larger than n={n}; pass n=max(lengths) or more")
    positions = torch.arange(n, device=lengths.device)
    return positions < lengths[:, None, None]  # [n] < [batch, 1, 1] -> [batch, 1, n]


def softmax(scores: Tensor, dim: int = -1) -> Tensor:
    """Softmax along `dim`, of the shape of `scores`: non-negative and summing to 1 along `dim`.

    Stable: the largest score is subtracted first, which changes nothing in the result and keeps `exp` from
    overflowing. Where all scores are `-inf` (nothing may be attended to) the result is zeros.
    """
    if scores.shape[dim] == 0:
        return scores  # no keys: there is no largest score, and nothing to share out
    # softmax(s)_j = exp(s_j - m) / sum_k exp(s_k - m)    for any m, here the largest s
    # The result does not depend on m, so no gradient flows through it.
    m = scores.detach().amax(dim, keepdim=True)
    m = m.masked_fill(m == -math.inf, 0.0)  # -inf - (-inf) would be NaN
    exps = torch.exp(scores - m)
    total = exps.sum(dim, keepdim=True)
    return exps / total.masked_fill(total == 0, 1.0)  # 0 / 0 would be NaN


def softmax_jacobian(p: Tensor) -> Tensor:
    """Derivatives of `p = softmax(s)`: from `p` `[..., n]` to `[..., n, n]`, entry (i, j) = dp_i / ds_j."""
    # dp_i / ds_j = p_i (1[i = j] - p_j)    that is    J = diag(p) - p pᵀ
    return torch.diag_embed(p) - p.unsqueeze(-1) * p.unsqueeze(-2)


def scaled_dot_product_attention(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, dropout_p: float = 0.0
) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention (Vaswani et al. 2017, "Attention Is All You Need", eq. 1).

    Args:
        q: queries `[..., query, d_k]`.
        k: keys `[..., key, d_k]`.
        v: values `[..., key, d_v]`.
        mask: boolean, broadcastable to `[..., query, key]`, True = may attend. None allows everything.
        dropout_p: probability with which a weight is set to zero. Dropout is always active here: pass 0.0
            when evaluating.

    Returns:
        output: `[..., query, d_v]`, always equal to `weights @ v`.
        weights: `[..., query, key]`; a row sums to 1 (before dropout), or to 0 where it may attend to nothing.

    Raises:
        ValueError: shapes that do not fit together, or `dropout_p` outside [0, 1).
        TypeError: a mask that is not boolean.
    """
    _check_attention(q, k, v, mask, dropout_p)
    d_k = q.shape[-1]
    # Attention(Q, K, V) = softmax(Q Kᵀ / √d_k) V       (Q is scaled first: in float16 Q Kᵀ may overflow)
    scores = (q / math.sqrt(d_k)) @ k.transpose(-2, -1)  # [..., query, key]
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)
    weights = F.dropout(softmax(scores, dim=-1), dropout_p)
    return weights @ v, weights


class MultiHeadAttention(nn.Module):
    """Multi-head attention (Vaswani et al. 2017, section 3.2.2), also grouped-query (Ainslie et al. 2023).

    MultiHead(Q, K, V) = Concat(head_1, ..., head_h) W_O    with    head_i = Attention(Q W_Qi, K W_Ki, V W_Vi)

    The four maps are `q_proj`, `k_proj`, `v_proj` and `out_proj`; head i owns the i-th block of `d_k` rows of
    the first three weights. With `num_kv_heads < num_heads`, each key-value head serves
    `num_heads / num_kv_heads` consecutive query heads (1 = multi-query attention, Shazeer 2019).

    To change queries and keys after the split into heads, override `project`:

        class RotaryAttention(MultiHeadAttention):
            def project(self, query, key, value):
                q, k, v = super().project(query, key, value)
                return rotary(q, positions), rotary(k, positions), v

    To decode with a cache, call `project` and `attend` yourself and extend `k` and `v` in between.

    Args:
        d_model: width of queries, keys, values and output.
        num_heads: number of query heads; each has width `d_k = d_model / num_heads`.
        num_kv_heads: number of key and value heads; None means `num_heads`.
        bias: whether the four linear maps have a bias.
        dropout_p: dropout on the attention weights, in training mode only.

    Raises:
        ValueError: `d_model` not divisible by `num_heads`, `num_heads` not divisible by `num_kv_heads`, a
            size below 1, or `dropout_p` outside [0, 1).
    """

    def __init__(
        self,
        d_model: int,
        num_heads: int,
        num_kv_heads: int | None = None,
        bias: bool = True,
        dropout_p: float = 0.0,
    ):
        super().__init__()
        num_kv_heads = num_heads if num_kv_heads is None else num_kv_heads
        sizes = {"d_model": d_model, "num_heads": num_heads, "num_kv_heads": num_kv_heads}
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be 1 or more")
        if d_model % num_heads:
            raise ValueError(f"d_model={d_model} is not divisible by num_heads={num_heads}")
        if num_heads % num_kv_heads:
            raise ValueError(f"num_heads={num_heads} is not divisible by num_kv_heads={num_kv_heads}")
        _check_dropout(dropout_p)
        self.d_model = d_model
        self.num_heads = num_heads
        self.num_kv_heads = num_kv_heads
        self.d_k = d_model // num_heads
        self.dropout_p = dropout_p
        self.q_proj = nn.Linear(d_model, num_heads * self.d_k, bias=bias)
        self.k_proj = nn.Linear(d_model, num_kv_heads * self.d_k, bias=bias)
        self.v_proj = nn.Linear(d_model, num_kv_heads * self.d_k, bias=bias)
        self.out_proj = nn.Linear(num_heads * self.d_k, d_model, bias=bias)

    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        mask: Tensor | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend from `query` to `key`, and gather `value`.

        Args:
            query: `[batch, query_len, d_model]`, or without the batch axis.
            key: `[batch, key_len, d_model]`; None means `query`, which is self-attention.
            value: `[batch, key_len, d_model]`; None means `key`.
            mask: boolean, True = may attend. `[query_len, key_len]` or `[batch, query_len, key_len]` holds
                for all heads, and an axis of length 1 broadcasts: `causal_mask` and `padding_mask` fit as
                they are. With one axis more, `[batch, num_heads, query_len, key_len]`, each head has its own.
            need_weights: True computes the plain form and also returns its weights; False uses torch's fused
                kernel, which never stores them.

        Returns:
            output: `[batch, query_len, d_model]`.
            weights: `[batch, num_heads, query_len, key_len]`, or None.

        Raises:
            ValueError: shapes that do not fit together.
            TypeError: a mask that is not boolean.
        """
        key = query if key is None else key
        value = key if value is None else value
        self._check_inputs(query, key, value)
        q, k, v = self.project(query, key, value)
        return self.attend(q, k, v, mask, need_weights)

    def project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Linear maps and split into heads: q `[batch, num_heads, query_len, d_k]`, k and v
        `[batch, num_kv_heads, key_len, d_k]`."""
        return (
            self._split_heads(self.q_proj(query)),
            self._split_heads(self.k_proj(key)),
            self._split_heads(self.v_proj(value)),
        )

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None, need_weights: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """From the results of `project` to `(output, weights)`; mask and results are those of `forward`."""
        if mask is not None:
            mask = _over_heads(mask, scores_shape=(*q.shape[:-1], k.shape[-2]))
        dropout_p = self.dropout_p if self.training else 0.0
        if need_weights:
            # [batch, num_kv_heads, key, d_k] -> [batch, num_heads, key, d_k]
            k, v = (x.repeat_interleave(self.num_heads // self.num_kv_heads, dim=-3) for x in (k, v))
            heads, weights = scaled_dot_product_attention(q, k, v, mask, dropout_p)
        else:
            grouped = self.num_kv_heads < self.num_heads
            # Told of causality in place of a mask, the kernel leaves out the keys that no query of a block may see.
            is_causal = mask is not None and _is_causal(mask)
            mask = None if is_causal else mask
            heads = F.scaled_dot_product_attention(q, k, v, mask, dropout_p, is_causal, enable_gqa=grouped)
            weights = None
        # [batch, num_heads, query, d_k] -> [batch, query, num_heads, d_k] -> [batch, query, d_model]
        merged = heads.transpose(-3, -2).flatten(-2)
        return self.out_proj(merged), weights

    def _split_heads(self, x: Tensor) -> Tensor:
        # [batch, length, heads * d_k] -> [batch, length, heads, d_k] -> [batch, heads, length, d_k]
        return x.unflatten(-1, (-1, self.d_k)).transpose(-3, -2)

    def _check_inputs(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        for name, x in {"query": query, "key": key, "value": value}.items():
            if x.dim() < 2 or x.shape[-1] != self.d_model:
                raise ValueError(f"{name} has shape {list(x.shape)}; expected [batch, length, d_model={self.d_model}]")
            if x.shape[:-2] != query.shape[:-2]:
                raise ValueError(
                    f"query has shape {list(query.shape)} and {name} {list(x.shape)}; "
                    "all axes before the length must be equal"
                )
        _check_lengths(key, value)


def _check_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout_p: float) -> None:
    for name, x in {"q": q, "k": k, "v": v}.items():
        if x.dim() < 2:
            raise ValueError(f"{name} has shape {list(x.shape)}; expected at least [length, width]")
    if q.shape[-1] != k.shape[-1]:
        raise ValueError(
            f"q has d_k={q.shape[-1]} and k has d_k={k.shape[-1]}; their last axes must be equal for q · k"
        )
    _check_lengths(k, v)
    _check_dropout(dropout_p)
    try:
        # numpy's, because torch.broadcast_shapes imports half a second of other packages at its first call.
        batch = np.broadcast_shapes(q.shape[:-2], k.shape[:-2])
        np.broadcast_shapes(batch, v.shape[:-2])
    except ValueError as error:
        shapes = ", ".join(f"{name} {list(x.shape)}" for name, x in {"q": q, "k": k, "v": v}.items())
        raise ValueError(f"the axes before the last two do not broadcast: {shapes}") from error
    if mask is not None:
        _check_mask(mask, (*batch, q.shape[-2], k.shape[-2]))


def _over_heads(mask: Tensor, scores_shape: tuple[int, ...]) -> Tensor:
    """The mask that broadcasts to `scores_shape`, `[batch, num_heads, query, key]`, given an axis of length 1
    for the heads where it has none."""
    _require_boolean(mask)
    if mask.dim() == len(scores_shape):
        _check_mask(mask, scores_shape)
        return mask
    _check_mask(mask, scores_shape[:-3] + scores_shape[-2:])
    return torch.atleast_2d(mask).unsqueeze(-3)  # [batch, query, key] -> [batch, 1, query, key]


def _is_causal(mask: Tensor) -> bool:
    """Whether one causal mask holds for all sequences and heads."""
    n = mask.shape[-1]
    if mask.shape[-2] != n or mask.numel() != n * n:
        return False
    return torch.equal(mask.reshape(n, n), causal_mask(n, mask.device))


def _check_lengths(key: Tensor, value: Tensor) -> None:
    if key.shape[-2] != value.shape[-2]:
        raise ValueError(
            f"there are {key.shape[-2]} keys and {value.shape[-2]} values; each key needs exactly one value"
        )


def _check_dropout(dropout_p: float) -> None:
    if not 0.0 <= dropout_p < 1.0:
        raise ValueError(f"dropout_p={dropout_p} is outside [0, 1)")


def _require_boolean(mask: Tensor) -> None:
    if not isinstance(mask, Tensor):
        raise TypeError(f"mask is a {type(mask).__name__}; pass a boolean tensor, True = may attend")
    if mask.dtype != torch.bool:
        raise TypeError(
            f"mask has dtype {mask.dtype}; pass a boolean mask, True = may attend; for an additive mask use "
            "`mask == 0`, for a tokenizer's attention_mask of ones and zeros `mask.bool()`"
        )


def _check_mask(mask: Tensor, scores_shape: tuple[int, ...]) -> None:
    _require_boolean(mask)
    # Each axis of the mask, from the last, must be 1 or that of the scores; broadcasting alone would
    # also let a mask enlarge the scores.
    fits = mask.dim() <= len(scores_shape) and all(
        m in (1, s) for m, s in zip(reversed(mask.shape), reversed(scores_shape), strict=False)
    )
    if not fits:
        raise ValueError(
            f"mask of shape {list(mask.shape)} does not broadcast to the scores {list(scores_shape)} "
            "([..., query, key]); a mask over the keys of each sequence is [batch, 1, key], see padding_mask"
        )
