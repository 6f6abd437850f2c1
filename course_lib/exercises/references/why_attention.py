"""Right answers of notebook 01."""

from fractions import Fraction

import torch
from torch import Tensor


def kernel_lookup(query: float, keys: Tensor, values: Tensor, width: float) -> Tensor:
    """Average of the values, weighted by a Gaussian kernel around the query (Nadaraya, Watson 1964)."""
    weights = torch.softmax(-((query - keys) ** 2) / (2 * width**2), dim=0)  # exponentiated, and divided by the sum
    return (weights * values).sum()


# Softmax of (2 ln 2, ln 2, 0) / T is (2^(2/T), 2^(1/T), 1) divided by its sum.
temperature_by_hand = {
    "T = 1": [Fraction(4, 7), Fraction(2, 7), Fraction(1, 7)],
    "T = 1/2": [Fraction(16, 21), Fraction(4, 21), Fraction(1, 21)],
    "T to 0": [1, 0, 0],
    "T to infinity": [Fraction(1, 3), Fraction(1, 3), Fraction(1, 3)],
    "64 times": Fraction(1, 3),  # 2^(2/T) = 64 = 2^6
}


def soft_lookup(query: Tensor, keys: Tensor, values: Tensor, temperature: float) -> Tensor:
    """Values weighted by softmax(keys · query / temperature); at 0 by the largest scores alone: -> [d_v]."""
    scores = keys @ query  # [entries]
    if temperature == 0:
        return values[scores == scores.max()].mean(dim=0)
    return torch.softmax(scores / temperature, dim=0) @ values


steps_counted = {
    "RNN reads": 1000,
    "attention reads": 1,
    "RNN path": 999,  # the first state is handed on to the second, ..., to the 1,000th
    "convolution layers": 500,  # 999 places, two a layer
    "attention generates": 1000,
    "scores": 1_000_000,
}

# we sell my green carrots -> nous vendons mes carottes vertes
predicted = {
    "nous": "we",
    "vendons": "sell",
    "mes": "my",
    "carottes": "carrots",
    "vertes": "green",
    "crossings": 1,  # carottes with vertes
}
