"""Right answers of notebook 19."""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np


def wrong_settings(settings: Mapping[str, Any]) -> list[str]:
    """Names of the settings that are unknown or have a value that is not allowed, sorted."""

    def whole(value: Any, least: int) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    def rate(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1

    rules = {
        "corpus": lambda value: value in ("movie-reviews", "sms-spam", "trec-questions"),
        "epochs": lambda value: whole(value, 1),
        "learning_rate": rate,
        "seed": lambda value: whole(value, 0),
    }
    return sorted(name for name, value in settings.items() if name not in rules or not rules[name](value))


def majority_scores(train_labels: Sequence[int], test_labels: Sequence[int]) -> tuple[float, float]:
    """Accuracy and macro F1 on the test labels of always saying the most common training label."""
    common = Counter(train_labels).most_common(1)[0][0]
    accuracy = list(test_labels).count(common) / len(test_labels)
    f1_of_common = 2 * accuracy / (accuracy + 1)  # precision is the accuracy, recall is 1
    return accuracy, f1_of_common / len(set(test_labels))


def difference_interval(
    first: Sequence[int], second: Sequence[int], resamples: int, seed: int
) -> tuple[float, float, float]:
    """How much more often the first is right than the second, with its 95 % bootstrap interval."""
    chance = np.random.default_rng(seed)
    difference = np.array(first) - np.array(second)
    n = len(difference)
    means = [difference[chance.integers(n, size=n)].mean() for _ in range(resamples)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(difference.mean()), float(low), float(high)


def examples_needed(accuracy: float, half_width: float) -> int:
    """How many test examples give a 95 % interval of this half width."""
    return math.ceil(1.96**2 * accuracy * (1 - accuracy) / half_width**2)


def exchange(
    predict: Callable[[str], float], sentences: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> tuple[float, float]:
    """Mean change of the prediction, first name minus second, and the change with the largest absolute value."""
    changes = [
        predict(sentence.replace("{name}", first)) - predict(sentence.replace("{name}", second))
        for sentence in sentences
        for first, second in pairs
    ]
    return sum(changes) / len(changes), max(changes, key=abs)


review = {
    "data": (
        1,
        "The source is named, but the 4,837 messages hold copies, and a random split puts some into both parts.",
    ),
    "baselines": (0, "The coin's 0.50 is beaten by always saying ham: 836 of 968 is 0.864, and no model is needed."),
    "choice": (0, "The best of 12 learning rates was chosen by its score on the test set, so this score is too good."),
    "uncertainty": (0, "The 0.986 has no interval; on 968 messages it would be about 0.007 to each side."),
    "bias": (1, "It was thought of, but 2 names in one sentence measure nothing: no number, no group, no interval."),
    "reproducibility": (1, "9 settings are given and no seed, and the second run gave 0.981 instead of 0.986."),
    "card": (1, "There is one, but no model is without limits, and MIT is not a licence for other people's messages."),
}
