"""Right answers of notebook 02 that are not objects of `course_lib.attention`."""

import math
from fractions import Fraction

import torch
from torch import Tensor

# The row of "reads" in "she reads letters": q = ln 2 · (1, -1, 2, 0), d_k = 4. Scores are multiples of ln 2.
twelve_numbers = {
    "scores": [0, -2, 2],
    "scaled": [0, -1, 1],
    "weights": [Fraction(2, 7), Fraction(1, 7), Fraction(4, 7)],
    "output": [2, 5, 10],
}


def causal_padded_attention(q: Tensor, k: Tensor, v: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Attention that sees neither the future nor padding: [batch, n, d_k], [batch, n, d_k], [batch, n, d_v]."""
    n = q.shape[-2]
    scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # [batch, query, key]
    causal = torch.ones(n, n, dtype=torch.bool).tril()  # [query, key]: key <= query
    real = torch.arange(n) < lengths[:, None, None]  # [batch, 1, key]
    scores = scores.masked_fill(~(causal & real), -math.inf)  # before the softmax
    weights = torch.softmax(scores, dim=-1)
    return weights @ v, weights


def at_temperature(weights: Tensor, temperature: float) -> Tensor:
    """Weights softmax(s / temperature), given the weights softmax(s) alone; the keys are the last axis."""
    # softmax(s)_j is exp(s_j) up to a factor, so its power 1/T is exp(s_j / T) up to a factor.
    powers = weights ** (1 / temperature)
    return powers / powers.sum(dim=-1, keepdim=True)
