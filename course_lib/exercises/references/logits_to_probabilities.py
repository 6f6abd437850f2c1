"""Right answers of notebook 13."""

from collections.abc import Iterable
from fractions import Fraction

from torch import Tensor

# exp(0) = 1, exp(ln 2) = 2, exp(ln 3) = 3, exp(ln 5) = 5; a number added to all logits cancels out.
by_hand = {
    "two": [Fraction(1, 4), Fraction(3, 4)],
    "three": [Fraction(1, 8), Fraction(2, 8), Fraction(5, 8)],
    "shifted": [Fraction(1, 4), Fraction(3, 4)],
}

five_stars = {
    "weight_shape": (5, 384),  # one row of hidden_size numbers for each label
    "logits_shape": (7, 5),  # one row for each review, one column for each label
    "new_parameters": 5 * 384 + 5,  # the weight and the bias
    "blind_probability": Fraction(1, 5),  # equal logits share the probability equally
    "single_label_probability": 1,  # exp(z) / exp(z), whatever z is
}


def load_report(model_keys: Iterable[str], checkpoint_keys: Iterable[str]) -> tuple[set[str], set[str]]:
    """(missing, unexpected) of a model and a checkpoint, by name and without the prefix `bert.`."""
    wanted = {key.removeprefix("bert.") for key in model_keys}
    there = {key.removeprefix("bert.") for key in checkpoint_keys}
    return wanted - there, there - wanted


def one_row(weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """A head with two rows, `[2, hidden]` and `[2]`, as one row `[hidden]` and one bias for the sigmoid."""
    # softmax(z)_1 = exp(z_1) / (exp(z_0) + exp(z_1)) = 1 / (1 + exp(-(z_1 - z_0))) = sigmoid(z_1 - z_0)
    return weight[1] - weight[0], bias[1] - bias[0]
