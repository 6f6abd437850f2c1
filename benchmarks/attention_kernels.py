"""Attention by its formula and by torch's fused kernel, and how much of the machine a model uses.

`python benchmarks/attention_kernels.py`. The machine's rate is that of one large product of two matrices.
"""

from collections.abc import Sequence

import torch
from rounds import Row, compare, require_equal
from rounds import main as measure_all
from torch.nn import functional as F

from course_lib.attention import scaled_dot_product_attention
from course_lib.bert import Bert
from course_lib.layers import prepare_for_inference

BATCH, HEADS, D_K = 8, 12, 32
SIDE = 1536  # of the matrices whose product is the machine's rate


@torch.no_grad()
def formula(length: int, quick: bool) -> Row:
    """The formula, which keeps the weights, against `F.scaled_dot_product_attention`, which never has them."""
    draw = torch.Generator().manual_seed(0)
    length = min(length, 16) if quick else length
    q, k, v = (torch.randn(BATCH, HEADS, length, D_K, generator=draw) for _ in range(3))

    def by_course():
        return scaled_dot_product_attention(q, k, v)[0]

    def by_torch():
        return F.scaled_dot_product_attention(q, k, v)

    require_equal(by_course(), by_torch(), "attention")
    return compare(by_course, by_torch, quick) | {"batch": BATCH, "heads": HEADS, "length": length, "d_k": D_K}


@torch.no_grad()
def encoder_rate(quick: bool) -> Row:
    """A dense batch of MiniLM: its matrix products a second, as a share of what one large product does a second."""
    model = prepare_for_inference(Bert.from_pretrained("minilm-l6"))
    batch, length = (2, 8) if quick else (32, 128)
    ids = torch.randint(1000, 30000, (batch, length), generator=torch.Generator().manual_seed(0))
    side = 128 if quick else SIDE
    left, right = torch.randn(side, side), torch.randn(side, side)
    work, reference = encoder_operations(model, batch, length), 2 * side**3
    repeats = max(1, round(work / reference))

    def product():
        for _ in range(repeats):
            left @ right

    row = compare(lambda: model(ids), product, quick)
    rate = repeats * reference / row["theirs_seconds"]
    share = work / (repeats * reference) / row["ratio"]
    return row | {
        "operations": work,
        "product_rate": float(f"{rate:.3g}"),
        "share": round(share, 2),
        "least_share": 0.7,
    }


def encoder_operations(model: Bert, batch: int, length: int) -> int:
    """Multiplications and additions of the matrix products of one forward pass."""
    d, f = model.config.d_model, model.config.d_ff
    per_token = 2 * (4 * d * d + 2 * d * f) + 2 * (2 * length * d)  # the linear maps; scores and sums of values
    return batch * (length * per_token * model.config.num_layers + 2 * d * d)  # and the pooler


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the result file."""
    rows = {f"formula/{length}": lambda quick, length=length: formula(length, quick) for length in (32, 128, 512)}
    measure_all("attention_kernels", rows | {"encoder_rate": encoder_rate}, ("torch",), arguments)


if __name__ == "__main__":
    main()
