"""Right answers of notebook 11 that are not objects of `course_lib.inspection`."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def find_head(weights: Tensor, offset: int) -> tuple[int, int]:
    """(layer, head) whose queries put the most weight, on average, on the token `offset` places further on."""
    scores = weights.diagonal(offset, dim1=-2, dim2=-1).mean(dim=-1)  # [layers, num_heads]
    return divmod(int(scores.argmax()), scores.shape[1])


def sense_accuracy(vectors: Tensor, senses: Tensor) -> float:
    """Share of vectors `[n, d]` nearer (by cosine) to the mean of the others of their own sense, 0 or 1."""
    hits = 0
    for i in range(len(senses)):
        others = torch.arange(len(senses)) != i
        means = torch.stack([vectors[others & (senses == sense)].mean(dim=0) for sense in (0, 1)])
        hits += int(F.cosine_similarity(vectors[i], means).argmax() == senses[i])
    return hits / len(senses)


def control_labels(words: Sequence[str], num_labels: int, seed: int) -> np.ndarray:
    """A label for each word, drawn once for each different word: the same for all its occurrences."""
    kinds = sorted(set(words))
    drawn = np.random.default_rng(seed).integers(num_labels, size=len(kinds))
    label = dict(zip(kinds, drawn, strict=True))
    return np.array([label[word] for word in words])


def cue_effects(predict: Callable, texts: Sequence[str], words: Sequence[str]) -> dict[str, float]:
    """For each word, the mean of predict(text) - predict(text without it) over the texts that contain it."""
    effects = {}
    for word in words:
        having = [text for text in texts if word in text.split()]
        without = [" ".join(other for other in text.split() if other != word) for text in having]
        effects[word] = float((predict(having) - predict(without)).mean()) if having else 0.0
    return effects
