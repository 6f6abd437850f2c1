"""Train a classifier in one process or in many: the same script for every launcher.

    python                  -m course_lib.data_parallel.train --data DATA --out OUT
    torchrun --nproc-per-node 2 -m course_lib.data_parallel.train --data DATA --out OUT
    accelerate launch --multi_gpu --num_processes 2 -m course_lib.data_parallel.train --data DATA --out OUT

A launcher starts the processes and tells each its number through RANK and WORLD_SIZE. `--batch` is the batch of all
processes together, so that every way of starting takes the same steps. DATA is a safetensors file with `x`
`[examples, features]` and `y` `[examples]`; the first process writes the weights to OUT, and a line about the run.
"""

import argparse
import os
import sys
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import distributed, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset


@contextmanager
def process_group():
    """(rank, number of processes), joined where a launcher started us, and left again at the end."""
    if "RANK" not in os.environ:
        yield 0, 1
        return
    distributed.init_process_group("gloo")
    try:
        yield distributed.get_rank(), distributed.get_world_size()
    finally:
        distributed.destroy_process_group()


def train(data: dict[str, torch.Tensor], rank: int, world_size: int, options: argparse.Namespace) -> nn.Module:
    """The trained model, the same in every process. Raises ValueError where the batch cannot be shared evenly."""
    if options.batch % world_size:
        raise ValueError(f"--batch {options.batch} is not divisible by {world_size} processes")
    torch.manual_seed(options.seed)  # the same first weights everywhere; DDP sends those of rank 0 in any case
    model = nn.Linear(data["x"].shape[1], int(data["y"].max()) + 1)
    trained = DistributedDataParallel(model) if world_size > 1 else model
    examples = TensorDataset(data["x"], data["y"])
    sampler = DistributedSampler(examples, world_size, rank, seed=options.seed, drop_last=True)
    loader = DataLoader(examples, options.batch // world_size, sampler=sampler, drop_last=True)
    optimiser = torch.optim.SGD(model.parameters(), lr=options.rate, momentum=0.9)
    for epoch in range(options.epochs):
        sampler.set_epoch(epoch)  # or every epoch would have the order of the first
        for x, y in loader:
            optimiser.zero_grad()
            F.cross_entropy(trained(x), y).backward()  # with several processes, backward() also averages
            optimiser.step()
    return model


def main(arguments: list[str] | None = None) -> None:
    """Read the command line, train, and let the first process write the result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--batch", type=int, default=64, help="examples in one step, over all processes")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rate", type=float, default=0.2, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with process_group() as (rank, world_size):
        model = train(load_file(options.data), rank, world_size, options)
        if rank == 0:
            save_file(model.state_dict(), options.out)
            each = options.batch // world_size
            sys.stdout.write(f"{world_size} process(es), {each} examples each a step, {options.epochs} epochs\n")


if __name__ == "__main__":
    main()
