"""Right answers of notebook 18."""

from collections.abc import Sequence

import torch
from torch import Tensor


def my_share(order: Sequence[int], rank: int, world_size: int) -> list[int]:
    """The examples of process `rank`: every world_size-th of `order`, topped up so that all have equally many."""
    each = -(-len(order) // world_size)  # rounded up
    missing = each * world_size - len(order)
    dealt = [*order, *order[:missing]]
    return dealt[rank::world_size]


def combine(gradients: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    """Gradient of the mean loss over all examples, from the gradient of each process's own mean."""
    total = sum(counts)
    return sum(gradient * (count / total) for gradient, count in zip(gradients, counts, strict=True))


def epoch_share(num_examples: int, rank: int, world_size: int, epoch: int, seed: int = 0) -> list[int]:
    """Examples of process `rank` in this epoch, shuffled."""
    generator = torch.Generator().manual_seed(seed + epoch)  # the same on every rank, another in every epoch
    order = torch.randperm(num_examples, generator=generator).tolist()
    return order[rank::world_size]


def honest_accuracy(correct: Sequence[Sequence[bool]], num_examples: int) -> float:
    """Share of right answers, with the repeated examples at the end of the shares left out."""
    dealt = [one for turn in zip(*correct, strict=True) for one in turn]  # back in the order of dealing
    return sum(dealt[:num_examples]) / num_examples


def numbers_sent(num_parameters: int, world_size: int) -> float:
    """Numbers that one process sends in a ring all-reduce."""
    return 2 * (world_size - 1) / world_size * num_parameters


def bytes_per_process(num_parameters: int, world_size: int, sharded: bool) -> float:
    """Weights, gradients and Adam's two means in float32: 16 bytes a parameter, held whole or shared out."""
    total = num_parameters * (4 + 4 + 8)
    return total / world_size if sharded else total
