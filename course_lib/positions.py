"""Where a token stands: sinusoidal, learned and rotary positions.

Attention itself is blind to order: permute the tokens and its outputs are permuted with them. Each
scheme here breaks that symmetry. Positions count from 0.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn


def _pair_frequencies(size: int, base: float, dtype: torch.dtype, device: torch.device | None = None) -> Tensor:
    """Radians per position of each pair of coordinates, from 1 down to almost 1 / base: `[size / 2]`."""
    return 1.0 / base ** (torch.arange(0, size, 2, dtype=dtype, device=device) / size)


def _require_even(name: str, size: int) -> None:
    if size < 2 or size % 2:
        raise ValueError(f"{name}={size} must be even and at least 2: sines and cosines come in pairs")


def sinusoidal(length: int, d_model: int) -> Tensor:
    """Return the fixed table of Vaswani et al. (2017), section 3.5: `[length, d_model]`.

    With ω_i = 10000^(-2i / d_model), `table[p, 2i] = sin(p ω_i)` and `table[p, 2i + 1] = cos(p ω_i)`.
    Raises ValueError for an odd `d_model` or a negative `length`.
    """
    _require_even("d_model", d_model)
    if length < 0:
        raise ValueError(f"length={length} is negative: a table has 0 or more positions")
    # The angles are computed in float64: in float32, sin(5000) is already wrong in the fourth decimal.
    positions = torch.arange(length, dtype=torch.float64)
    angles = positions[:, None] * _pair_frequencies(d_model, 10000.0, torch.float64)  # [length, d_model / 2]
    pairs = torch.stack((angles.sin(), angles.cos()), dim=-1)  # [length, d_model / 2, 2]
    return pairs.flatten(start_dim=1).to(torch.get_default_dtype())  # [length, d_model]


def shift_rotation(offset: int, d_model: int) -> Tensor:
    """Return the matrix R with `sinusoidal(...)[p + offset] == sinusoidal(...)[p] @ R` for every p.

    R is `[d_model, d_model]`: one 2 × 2 rotation by `offset` · ω_i for each pair of coordinates, so moving
    by a fixed distance is the same linear map wherever one starts. `offset` may be negative.
    Raises ValueError for an odd `d_model`.
    """
    _require_even("d_model", d_model)
    angles = offset * _pair_frequencies(d_model, 10000.0, torch.float64)
    sin, cos = angles.sin(), angles.cos()
    # [sin a, cos a] @ [[cos b, -sin b], [sin b, cos b]] = [sin(a + b), cos(a + b)]
    blocks = torch.stack((cos, -sin, sin, cos), dim=-1).reshape(-1, 2, 2)  # [d_model / 2, 2, 2]
    return torch.block_diag(*blocks).to(torch.get_default_dtype())


class LearnedPositions(nn.Module):
    """One trained vector per position, as in GPT-2 and BERT; there is none beyond `max_len`.

    Raises ValueError for sizes below 1.
    """

    def __init__(self, max_len: int, d_model: int):
        super().__init__()
        if max_len < 1 or d_model < 1:
            raise ValueError(f"max_len={max_len} and d_model={d_model} must be at least 1")
        self.max_len = max_len
        self.weight = nn.Parameter(torch.empty(max_len, d_model))
        nn.init.normal_(self.weight, std=0.02)

    def forward(self, positions: Tensor) -> Tensor:
        """Look up integer `positions` `[...]` in the table: `[..., d_model]`.

        Raises TypeError if they are not integers, ValueError if one is negative or not below `max_len`.
        """
        if positions.is_floating_point() or positions.dtype == torch.bool:
            raise TypeError(f"positions must be integers, not {positions.dtype}")
        if positions.numel() and positions.max() >= self.max_len:
            raise ValueError(
                f"position {int(positions.max())} is outside the learned table of max_len={self.max_len}: "
                f"shorten the sequence to {self.max_len} tokens or build a longer table"
            )
        if positions.numel() and positions.min() < 0:
            raise ValueError(f"position {int(positions.min())} is negative: positions count from 0")
        return self.weight[positions]


class Rotation(NamedTuple):
    """The angles of rotary positions: cosine and sine, `[..., seq, d_head / 2]` each."""

    cos: Tensor
    sin: Tensor


def rotation(positions: Tensor, d_head: int, base: float = 10000.0, dtype: torch.dtype = torch.float32) -> Rotation:
    """What `rotary` turns by at `positions` `[..., seq]`: compute it once where many layers share the positions.

    Raises ValueError for an odd `d_head`.
    """
    _require_even("d_head", d_head)
    # Angles need float32 at least: bfloat16 cannot tell position 256 from 257.
    exact = torch.promote_types(dtype, torch.float32)
    angles = positions[..., None].to(exact) * _pair_frequencies(d_head, base, exact, positions.device)
    return Rotation(angles.cos().to(dtype), angles.sin().to(dtype))


def rotary(x: Tensor, positions: Tensor | Rotation, base: float = 10000.0) -> Tensor:
    """Rotate queries or keys by an angle that grows with their position (RoPE, Su et al. 2021).

    `x` is `[..., seq, d_head]`; `positions` is `[seq]`, or any shape that broadcasts against `[..., seq]`,
    such as `[batch, 1, seq]` for heads that share the positions of their row; or their `rotation`, computed
    before. Returns the shape of `x`.

    Coordinates i and i + d_head / 2 form a pair (Llama's half-split layout, where the paper pairs
    neighbours) and turn by `position` · base^(-2i / d_head) radians. A rotation keeps lengths, and the dot
    product of a rotated query with a rotated key depends on the distance of their positions only.
    Raises ValueError for an odd `d_head`, an `x` without a sequence axis, or positions that do not fit `x`,
    TypeError if `x` holds integers.
    """
    if not x.is_floating_point():
        raise TypeError(f"x must be floating point, not {x.dtype}")
    if x.ndim < 2:
        raise ValueError(f"x has shape {tuple(x.shape)}; expected [..., seq, d_head]")
    _require_even("d_head", x.shape[-1])
    if not isinstance(positions, Rotation):
        _require_positions(positions, x)
        positions = rotation(positions.to(x.device), x.shape[-1], base, x.dtype)
    cos, sin = positions  # [..., seq, d_head / 2]
    first, second = x.chunk(2, dim=-1)  # [..., seq, d_head / 2] each
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def _require_positions(positions: Tensor, x: Tensor) -> None:
    if positions.ndim == 0 or positions.shape[-1] != x.shape[-2]:
        raise ValueError(
            f"positions {tuple(positions.shape)} must end in the sequence length {x.shape[-2]} of x {tuple(x.shape)}"
        )
    pairs = zip(reversed(positions.shape), reversed(x.shape[:-1]), strict=False)
    if positions.ndim >= x.ndim or any(p not in (1, n) for p, n in pairs):
        raise ValueError(
            f"positions {tuple(positions.shape)} do not broadcast against {tuple(x.shape[:-1])}, all axes of x but "
            "the last: pass [seq], or [batch, 1, seq] for heads that share them"
        )
