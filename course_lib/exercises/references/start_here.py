"""Right answers of notebook 00."""

from torch import Tensor

# One row for each of the 30,522 word pieces, 384 numbers in each: the columns count the numbers.
width = 384


def mean_vector(vectors: Tensor) -> Tensor:
    """Average of word vectors, [words, d_model] -> [d_model]."""
    return vectors.sum(dim=0) / vectors.shape[0]


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of the angle between two vectors of the same length."""
    return (a * b).sum() / (a.norm() * b.norm())
