"""Looking inside a model that is trained: its attention maps, their rollout, and what changes when a part is silenced.

Layers and heads are counted from 0, as in `model.blocks[0]`. Attention maps of a whole model are
`[..., layers, num_heads, query, key]`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from course_lib.attention import MultiHeadAttention
from course_lib.layers import record_attention


def attention_layers(model: nn.Module) -> list[MultiHeadAttention]:
    """The attention modules of a model, from the first layer to the last.

    Raises ValueError if there is none.
    """
    found = [module for module in model.modules() if isinstance(module, MultiHeadAttention)]
    if not found:
        raise ValueError(f"{type(model).__name__} has no MultiHeadAttention to look into")
    return found


def attention_maps(model: nn.Module, *inputs: Tensor, **keywords: Tensor) -> Tensor:
    """Run `model(*inputs, **keywords)` without gradients: its weights `[batch, layers, num_heads, query, key]`.

    For models whose layers all attend within one sequence, such as `Bert` and `GPT`.
    Raises ValueError if the model has no attention, or if the maps of its layers differ in shape.
    """
    with torch.no_grad(), record_attention(model) as weights:
        model(*inputs, **keywords)
    shapes = {tuple(layer.shape) for layer in weights.values()}
    if len(shapes) > 1:
        raise ValueError(f"the layers' maps differ in shape: {sorted(shapes)}; use layers.record_attention")
    return torch.stack(list(weights.values()), dim=1)


def offset_scores(weights: Tensor, offset: int) -> Tensor:
    """Mean weight that a query puts on the token `offset` places further on: `[..., n, n]` to `[...]`.

    -1 is the token before, 0 the token itself. Queries that have no such token are left out.
    Raises ValueError if no query has one, or if the last two axes differ.
    """
    n = _require_square(weights)
    if abs(offset) >= n:
        raise ValueError(f"offset={offset}: no query of {n} tokens has a token there")
    return weights.diagonal(offset, dim1=-2, dim2=-1).mean(dim=-1)


def attention_rollout(weights: Tensor, residual: float = 0.5) -> Tensor:
    """Attention rollout (Abnar and Zuidema 2020): `[..., layers, num_heads, n, n]` to `[..., n, n]`.

    Entry (i, j) is the share of input token j in position i of the last layer, if every layer mixed the
    tokens by the mean of its heads' weights, and the residual path carried the share `residual` past it.
    Rows sum to 1 where those of `weights` do.
    Raises ValueError for fewer than four axes, maps that are not square, or `residual` outside [0, 1].
    """
    n = _require_square(weights)
    if weights.dim() < 4:
        raise ValueError(f"weights have shape {list(weights.shape)}; expected [..., layers, num_heads, n, n]")
    if not 0 <= residual <= 1:
        raise ValueError(f"residual={residual} is a share: it must be from 0 to 1")
    identity = torch.eye(n, dtype=weights.dtype, device=weights.device)
    # R = A_L ··· A_2 A_1    with    A_l = r I + (1 - r) mean over heads of W_l
    mixing = residual * identity + (1 - residual) * weights.mean(dim=-3)
    rollout = identity
    for layer in mixing.unbind(dim=-3):
        rollout = layer @ rollout
    return rollout


def linear_probe(train_x: ArrayLike, train_y: ArrayLike, test_x: ArrayLike) -> np.ndarray:
    """Predict the labels of `test_x` `[test, d]` from a logistic regression on `train_x` `[train, d]`.

    The vectors are standardised by the mean and spread of the training vectors; the penalty is strong
    (`C=0.01`), so that the probe reads rather than memorises.
    """
    from sklearn.linear_model import LogisticRegression  # here, because nothing else of this module needs it
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=0.01, max_iter=1000)
    return make_pipeline(StandardScaler(), regression).fit(train_x, train_y).predict(test_x)


@contextmanager
def heads_silenced(attentions: Sequence[nn.Module], heads: Iterable[tuple[int, int]]) -> Iterator[None]:
    """Within the `with` block, each (layer, head) of `heads` contributes nothing; afterwards all is as before.

    `attentions` holds one attention module for each layer, with `out_proj` and `d_k`. A head occupies `d_k`
    neighbouring columns of what `out_proj` is given; they are set to zero.
    """

    def silence(attention: nn.Module, head: int) -> Callable:
        columns = slice(head * attention.d_k, (head + 1) * attention.d_k)

        def hook(out_proj, args):
            merged = args[0].clone()  # the caller may still need what it gave
            merged[..., columns] = 0
            return (merged,)

        return hook

    with ExitStack() as undo:
        for layer, head in heads:
            attention = attentions[layer]
            undo.callback(attention.out_proj.register_forward_pre_hook(silence(attention, head)).remove)
        yield


@contextmanager
def values_changed(attentions: Iterable[MultiHeadAttention], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within the `with` block, attention mixes `change(values)` in place of its values.

    `change` maps `[batch, num_kv_heads, key, d_k]` to the same shape. It is a way to change *weights*: to hand out
    the values in another order is to permute the weights over the keys, and to give every token the mean
    of the values is to make the weights equal, as rows of weights sum to 1.
    """

    def hook_for(attention: MultiHeadAttention) -> Callable:
        def hook(v_proj, args, output):
            changed = change(output.unflatten(-1, (-1, attention.d_k)).transpose(-3, -2))
            return changed.transpose(-3, -2).flatten(-2)

        return hook

    with ExitStack() as undo:
        for attention in attentions:
            undo.callback(attention.v_proj.register_forward_hook(hook_for(attention)).remove)
        yield


def _require_square(weights: Tensor) -> int:
    if weights.dim() < 2 or weights.shape[-1] != weights.shape[-2]:
        raise ValueError(f"weights have shape {list(weights.shape)}; the last two axes must both count the tokens")
    return weights.shape[-1]
