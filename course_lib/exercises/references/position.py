"""Right answers of notebook 04 that are not objects of `course_lib.positions`."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def sees_order(encode: Callable[[Tensor], Tensor], x: Tensor) -> bool:
    """Whether `encode`, from `[n, d]` to `[n, d]`, does more to permuted tokens than permute its outputs."""
    outputs = encode(x)
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):  # several orders: a single one may be a symmetry of the layer
        order = torch.randperm(len(x), generator=generator)
        if not torch.allclose(encode(x[order]), outputs[order], atol=1e-4):
            return True
    return False


def trained_rows(lengths: Sequence[int], max_len: int) -> list[int]:
    """For each row of a learned table: how many of the sequences, cut to `max_len`, have a token there."""
    return [sum(length > position for length in lengths) for position in range(max_len)]


# q = (2, 1) and k = (1, 4), turned a quarter to the left for each position: (a, b) becomes (-b, a).
rotary_scores = {
    "query": [1, -2],  # three turns
    "key": [-1, -4],  # two turns
    "scores": [7, 7, -7, 6],  # at (3, 2), (103, 102), (2, 3) and (5, 5)
}
