"""Which process trains on which example, and how their gradients become one."""

import torch
from torch import distributed, nn


def shares(
    num_examples: int, world_size: int, *, seed: int = 0, epoch: int = 0, shuffle: bool = True
) -> list[list[int]]:
    """The examples of each process in one epoch, in its order; the same as `DistributedSampler`'s.

    All processes draw one and the same permutation, from `seed + epoch`, and take every `world_size`-th entry of it.
    So that all have equally many, the first entries are dealt out again at the end.

    Raises ValueError for fewer than 1 example or process.
    """
    if num_examples < 1 or world_size < 1:
        raise ValueError(f"num_examples={num_examples} and world_size={world_size} must be at least 1")
    order = torch.arange(num_examples)
    if shuffle:
        order = torch.randperm(num_examples, generator=torch.Generator().manual_seed(seed + epoch))
    each = -(-num_examples // world_size)  # rounded up
    dealt = order.repeat(-(-each * world_size // num_examples))[: each * world_size]
    return [dealt[rank::world_size].tolist() for rank in range(world_size)]


def average_gradients(model: nn.Module) -> None:
    """Replace each gradient by its mean over all processes, in place: one all-reduce for each parameter.

    Needs a process group. With equally large batches this is the gradient of the mean loss over all of them.
    Raises RuntimeError for a parameter without a gradient, since the other processes would wait for it.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            if parameter.grad is None:
                raise RuntimeError(
                    f"{name} has no gradient: call backward() first, and use every parameter in the loss"
                )
            distributed.all_reduce(parameter.grad, op=distributed.ReduceOp.SUM)
            parameter.grad /= distributed.get_world_size()
