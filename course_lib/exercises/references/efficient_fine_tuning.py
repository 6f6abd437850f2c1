"""Right answers of notebook 17 that are not objects of `course_lib.lora` or `course_lib.finetuning`."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

# 7 thousand million parameters, of which 40 million are trained, at 4 + 4 + 8 bytes each; in units of 10⁹ bytes.
memory_in_gigabytes = {
    "full": 7 * 16,
    "LoRA, 16-bit base": 7 * 2 + 0.04 * 16,
    "QLoRA, 4-bit base": 7 * 0.5 + 0.04 * 16,
}


def merged_weight(W: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """[out, in], [rank, in], [out, rank] -> the one matrix that does the same, [out, in]."""
    rank = A.shape[0]
    return W + alpha / rank * B @ A


def adapter_parameters(shapes: Mapping[str, tuple[int, int]], targets: Sequence[str], rank: int) -> int:
    """How many parameters adapters of this rank have, on the linear maps that `targets` name."""
    total = 0
    for name, (out_features, in_features) in shapes.items():
        if any(name == target or name.endswith("." + target) for target in targets):
            total += rank * (in_features + out_features)
    return total


def quantise(w: Tensor) -> tuple[Tensor, float]:
    """Numbers -> (whole numbers from -127 to 127, scale), so that scale · q is near w."""
    scale = float(w.abs().max()) / 127 or 1.0  # all zeros: any scale will do, but 0 / 0 will not
    return torch.round(w / scale).to(torch.int8), scale
