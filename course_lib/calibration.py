"""Probabilities that mean what they say: temperature, negative log-likelihood, calibration error.

A model is calibrated when, of all answers it gives with confidence 0.8, four in five are right. After
On Calibration of Modern Neural Networks (Guo, Pleiss, Sun, Weinberger, 2017).
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .attention import softmax

LOWEST_TEMPERATURE = 1e-4
HIGHEST_TEMPERATURE = 1e4


class ReliabilityBins(NamedTuple):
    """Answers grouped by confidence: bin `i` holds those with `edges[i] < confidence <= edges[i + 1]`.

    `edges` `[num_bins + 1]` run evenly from 0 to 1; `counts` `[num_bins]` are numbers of answers; `confidence` and
    `accuracy` `[num_bins]` are means over the answers of a bin, NaN where it is empty.
    """

    edges: Tensor
    counts: Tensor
    confidence: Tensor
    accuracy: Tensor


def softmax_with_temperature(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Softmax of `logits / temperature` over the last axis: from `[..., num_labels]` to the same shape.

    A temperature above 1 moves the probabilities towards uniform, one below 1 towards the largest logit; the order
    of the classes stays. Raises ValueError for a temperature that is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} is not positive")
    return softmax(logits / temperature)


def negative_log_likelihood(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of `-log p[label]` in nats, a scalar: logits `[batch, num_labels]`, labels `[batch]` of class numbers.

    The cross-entropy of classification. It is computed from logits, not from probabilities, so it neither
    overflows nor takes the logarithm of 0. Raises ValueError for shapes or labels that do not fit.
    """
    _check_labels(logits, labels)
    # p_y = exp(z_y) / sum_k exp(z_k)    so    -log p_y = log sum_k exp(z_k) - z_y
    z_y = logits.gather(1, labels[:, None]).squeeze(1)
    return (logits.logsumexp(dim=1) - z_y).mean()


def reliability_bins(confidence: Tensor, correct: Tensor, num_bins: int = 10) -> ReliabilityBins:
    """Group answers by their confidence `[n]` in [0, 1] and measure how often `correct` `[n]` (bool) is true.

    Raises ValueError for shapes that differ, no answers, fewer than one bin, or a confidence outside [0, 1].
    """
    if confidence.ndim != 1 or confidence.shape != correct.shape or not len(confidence):
        raise ValueError(
            f"confidence {tuple(confidence.shape)} and correct {tuple(correct.shape)} must be one axis of equal length"
        )
    if num_bins < 1:
        raise ValueError(f"num_bins={num_bins} is less than 1")
    if not ((confidence >= 0) & (confidence <= 1)).all():
        raise ValueError("confidence must lie in [0, 1]: pass probabilities, not logits")
    confidence = confidence.double()
    edges = torch.linspace(0, 1, num_bins + 1, dtype=torch.float64)
    bin_of = torch.bucketize(confidence, edges[1:-1])  # 0 falls into the first bin, 1 into the last
    counts = torch.bincount(bin_of, minlength=num_bins)
    mean_confidence = torch.bincount(bin_of, weights=confidence, minlength=num_bins) / counts
    accuracy = torch.bincount(bin_of, weights=correct.double(), minlength=num_bins) / counts
    return ReliabilityBins(edges, counts, mean_confidence, accuracy)


def expected_calibration_error(confidence: Tensor, correct: Tensor, num_bins: int = 10) -> Tensor:
    """Mean distance between confidence and accuracy, a scalar in [0, 1]: both `[n]`, `correct` bool.

    The answers are grouped into bins of equal width, and each bin counts by the share of answers in it. It depends
    on the number of bins, and with few answers it is above 0 for a calibrated model too. Raises ValueError as
    `reliability_bins` does.
    """
    bins = reliability_bins(confidence, correct, num_bins)
    # ECE = sum_b n_b / n |accuracy_b - confidence_b|
    gaps = (bins.accuracy - bins.confidence).abs().nan_to_num(0.0)  # an empty bin has no gap
    return (bins.counts * gaps).sum() / bins.counts.sum()


def fit_temperature(logits: Tensor, labels: Tensor) -> float:
    """The temperature with the least negative log-likelihood of `logits / temperature`.

    logits `[batch, num_labels]`, labels `[batch]`. Take logits that the model was not trained on. Raises ValueError
    where no temperature between `LOWEST_TEMPERATURE` and `HIGHEST_TEMPERATURE` is best: if every answer is right, a
    lower one is always better; if the logits say nothing of the labels, a higher one is.
    """
    _check_labels(logits, labels)
    z = logits.detach().double()
    z_y = z.gather(1, labels[:, None])

    def slope(temperature: float) -> float:
        # With b = 1 / T:  d NLL / db = mean(sum_k p_k z_k - z_y).  It grows with b, as the loss is convex in b.
        p = softmax_with_temperature(z, temperature)
        return float(((p * z).sum(dim=1, keepdim=True) - z_y).mean())

    if slope(LOWEST_TEMPERATURE) <= 0:
        raise ValueError("every answer is right, so the best temperature would be 0: fit on more or harder examples")
    if slope(HIGHEST_TEMPERATURE) >= 0:
        raise ValueError("the logits tell nothing of the labels, so the best temperature would be infinite")
    low, high = math.log(LOWEST_TEMPERATURE), math.log(HIGHEST_TEMPERATURE)
    for _ in range(60):  # halving the interval 60 times exhausts float64
        middle = (low + high) / 2
        if slope(math.exp(middle)) > 0:
            low = middle
        else:
            high = middle
    return math.exp(low)


def _check_labels(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or labels.shape != logits.shape[:1] or not len(labels):
        raise ValueError(
            f"logits {tuple(logits.shape)} must be [batch, num_labels] and labels {tuple(labels.shape)} [batch]"
        )
    num_labels = logits.shape[1]
    if labels.is_floating_point() or labels.min() < 0 or labels.max() >= num_labels:
        raise ValueError(f"labels must be class numbers from 0 to {num_labels - 1}, the columns of the logits")
