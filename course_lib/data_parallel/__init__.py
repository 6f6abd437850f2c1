"""Data-parallel training: several processes, one model, each with its own share of the batch.

`run` starts the processes and brings back what they return; `shares` says who gets which example, as
`torch.utils.data.DistributedSampler` does; `average_gradients` is what DistributedDataParallel does, in its plain form.
`train` is a script for `torchrun` and `accelerate launch`.
"""

from .processes import WorkerError, run
from .sharding import average_gradients, shares

__all__ = ["WorkerError", "average_gradients", "run", "shares"]
