"""Notebook 13: softmax by hand, the new head, the loss of a classifier, temperature and calibration."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from .engine import Choice, Question, Rejected, exercise, quiz
from .judging import Mistake, call, compare, function, number, random_tensor, reject_if, tensor

_REFERENCES = "course_lib.exercises.references.logits_to_probabilities"
_CALIBRATION = "course_lib.calibration"

_LOGITS_BY_HAND = {
    "two": [0.0, math.log(3)],
    "three": [0.0, math.log(2), math.log(5)],
    "shifted": [1000.0, 1000.0 + math.log(3)],
}


def _entry(answer: Any, key: str, what: str) -> Any:
    """One entry of a table that the learner fills in."""
    reject_if(
        not isinstance(answer, Mapping),
        f"a dictionary is asked for, as in the cell that was given, and this is a {type(answer).__name__}",
        "wrong-type",
    )
    reject_if(key not in answer, f"the entry {key!r} is not there", "not-finished")
    value = answer[key]
    unfilled = value is ... or (isinstance(value, list | tuple) and any(item is ... for item in value))
    reject_if(unfilled, f"{what} is not filled in yet", "not-finished")
    return value


@exercise(
    "13.1",
    title="Softmax by hand",
    minutes=5,
    difficulty=1,
    hints=(
        "Softmax makes every logit positive and then lets the results share out 1. "
        "Which function makes any number positive and turns ln 3 into 3?",
        "Write exp(z) below each logit: exp(0) = 1, exp(ln 3) = 3. Add them up, and divide each by the sum.",
        "For (0, ln 3) that is 1/4 and 3/4. For (0, ln 2, ln 5) divide 1, 2 and 5 by their sum. "
        "For the last one take exp(1000) out of numerator and denominator first.",
    ),
    reference=f"{_REFERENCES}:by_hand",
)
def judge_softmax_by_hand(answer):
    for key, values in _LOGITS_BY_HAND.items():
        z = torch.tensor(values, dtype=torch.float64)
        what = f"`{key}`"
        found = tensor(_entry(answer, key, what), z.shape, what).double()
        right = torch.softmax(z, dim=0)
        relative = z - z.min()
        known = [
            Mistake(
                z / z.sum(),
                "no-exponential",
                f"{what} divides the logits by their sum; softmax takes the exponential of each one first",
            ),
            Mistake(
                torch.softmax(z * math.log(2), dim=0),
                "base-2",
                f"{what} uses powers of 2; softmax uses exp, so exp(ln 3) = 3",
            ),
            Mistake(
                relative.exp(),
                "not-normalised",
                f"{what} holds the exponentials; divide each by their sum, so that the row adds up to 1",
            ),
            Mistake(right * 100, "percent", f"{what} is in per cent; probabilities run from 0 to 1"),
            Mistake(
                torch.sigmoid(z),
                "sigmoid-each",
                f"{what} squeezes each logit on its own; softmax shares out 1 among them",
            ),
            Mistake(
                right.flip(0), "order", f"{what} has the right numbers in the wrong places: a larger logit gets more"
            ),
        ]
        if key == "shifted":
            for whole in (torch.tensor([0.0, 1.0]), torch.tensor([0.5, 0.5])):
                known.append(
                    Mistake(
                        whole.double(),
                        "shift",
                        "only differences count: (1000, 1000 + ln 3) gives the same as (0, ln 3), "
                        "because exp(1000) cancels",
                    )
                )
        reject_if(
            bool(found.isnan().any() or found.isinf().any()),
            f"{what} holds {found.tolist()}: exp(1000) overflows, so take the largest logit off all of them first",
            "overflow",
        )
        shown = ", ".join(f"{x:.3g}" for x in found.tolist())
        compare(found, right, known, f"{what} is ({shown}), which adds up to {found.sum():.3g}; check each exp(z)")
    return "only the differences between logits count: adding the same number to all of them changes nothing"


_ASKED = {
    "new_parameters": "count the weight's rows times columns, and one bias for each label",
    "blind_probability": "five equal logits share out 1",
    "single_label_probability": "put one logit into exp(z) / sum of exp(z)",
}


def _whole_numbers(value: Any, what: str) -> tuple[int, ...]:
    """A shape, in whatever container."""
    if isinstance(value, str) or not isinstance(value, Collection):
        raise Rejected(f"{what} is a shape: two whole numbers, such as (2, 384)", "wrong-type")
    return tuple(int(item) for item in tensor(list(value), what=what).flatten().tolist())


@exercise(
    "13.2",
    title="What num_labels changes",
    minutes=5,
    difficulty=2,
    hints=(
        "Which layers of the model know how many labels there are? Count what is in them.",
        "Only `classifier` does: a linear layer from hidden_size numbers to num_labels numbers. "
        "PyTorch stores its weight with one row for each output, and there is a bias.",
        "weight (5, 384), 5 * 384 + 5 new numbers, logits with a row for each of 7 reviews. Equal logits share 1 "
        "equally. With one label softmax computes exp(z) / exp(z).",
    ),
    reference=f"{_REFERENCES}:five_stars",
)
def judge_num_labels(answer):
    shapes = {
        "weight_shape": (
            (5, 384),
            {
                (384, 5): (
                    "transposed",
                    "PyTorch stores a linear layer's weight as [outputs, inputs]: a row per label",
                ),
                (2, 384): ("default", "that is the default, num_labels=2; here there are five stars"),
            },
        ),
        "logits_shape": (
            (7, 5),
            {
                (5, 7): ("transposed", "the batch comes first: one row for each review, one column for each label"),
                (7, 2): ("default", "that is the default, num_labels=2; here there are five stars"),
                (7, 384): ("pooled", "384 numbers for each review go into the head; what comes out are the logits"),
                (1, 5): ("one-review", "that is one review; there are 7 in the batch"),
            },
        ),
    }
    for key, (right, known) in shapes.items():
        found = _whole_numbers(_entry(answer, key, f"`{key}`"), f"`{key}`")
        if found in known:
            misconception, message = known[found]
            raise Rejected(f"`{key}` is {found}: {message}", misconception)
        reject_if(
            found != right,
            f"`{key}` is {found}: the head maps 384 numbers of each of 7 reviews to one number for each of 5 labels",
            "shape",
        )
    one = torch.ones((), dtype=torch.float64)
    numbers = {
        "new_parameters": [
            Mistake(one * 1920, "no-bias", "1,920 counts the weight; the bias has one number for each label as well"),
            Mistake(one * 770, "default", "770 is the head for num_labels=2; here there are five stars"),
            Mistake(one * 384, "one-row", "384 is one row; there is a row, and a bias, for each of the five labels"),
        ],
        "blind_probability": [
            Mistake(one / 2, "two-classes", "one half is what two labels would get; five labels share 1"),
            Mistake(one * 0, "zero", "equal logits, even all zero, give equal probabilities that add up to 1"),
        ],
        "single_label_probability": [
            Mistake(
                one / 2,
                "sigmoid",
                "softmax over one label is exp(z) / exp(z), whatever z is; a half is sigmoid(0)",
            ),
            Mistake(one * 0, "zero", "softmax over one label is exp(z) / exp(z), whatever z is"),
        ],
    }
    right_numbers = {"new_parameters": 1925.0, "blind_probability": 0.2, "single_label_probability": 1.0}
    for key, known in numbers.items():
        found = number(_entry(answer, key, f"`{key}`"), f"`{key}`")
        compare(one * found, one * right_numbers[key], known, f"`{key}` is {found:.5g}; {_ASKED[key]}")
    return (
        "num_labels sets the size of the new head alone; with one label softmax always says 1, "
        "which is why transformers reads num_labels=1 as regression"
    )


_BODY = (
    "embeddings.word_embeddings.weight",
    "encoder.layer.0.output.dense.weight",
    "encoder.layer.0.output.dense.bias",
)
_POOLER = ("pooler.dense.weight", "pooler.dense.bias")
_HEAD = ("classifier.weight", "classifier.bias")
_PRETRAINING = ("cls.predictions.bias", "cls.predictions.transform.dense.weight", "cls.seq_relationship.bias")


def _with_prefix(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"bert.{key}" for key in keys)


@exercise(
    "13.3",
    title="Which keys are new?",
    minutes=7,
    difficulty=3,
    hints=(
        "Missing: the model wants it and the file does not have it. Unexpected: the other way round. "
        "Which operation on two sets gives each?",
        "`set(model_keys) - set(checkpoint_keys)` is missing, if both use the same names. "
        "Make them the same first: `key.removeprefix('bert.')` leaves a name without the prefix as it is.",
        "`wanted = {key.removeprefix('bert.') for key in model_keys}`, the same for the checkpoint as `there`; "
        "`return wanted - there, there - wanted`.",
    ),
    reference=f"{_REFERENCES}:load_report",
)
def judge_load_report(answer):
    report = function(answer, "load_report")
    model = (*_with_prefix(_BODY + _POOLER), *_HEAD)
    checkpoints = {
        "the pre-training checkpoint, with prefix and its own heads": (*_with_prefix(_BODY + _POOLER), *_PRETRAINING),
        "a checkpoint of the body alone, without prefix": _BODY + _POOLER,
        "a body without pooler": _BODY,
        "a checkpoint that has everything": model,
    }
    for name, checkpoint in checkpoints.items():
        given = list(model), list(checkpoint)
        found = _two_sets(call(report, *given))
        reject_if(
            given != (list(model), list(checkpoint)),
            "your function changes the lists that it was given: work on copies, such as `set(model_keys)`",
            "in-place",
        )
        wanted, there = _bare(model), _bare(checkpoint)
        right = wanted - there, there - wanted
        if found == right:
            continue
        reject_if(
            found == right[::-1],
            f"for {name} the two are exchanged: first what the model wants and the file lacks, then the reverse",
            "swapped",
        )
        reject_if(
            found[0] == found[1] == wanted ^ there,
            f"for {name} both hold every name that differs; a set difference, `-`, goes one way only",
            "symmetric",
        )
        reject_if(
            wanted & there <= found[0]
            and wanted & there <= found[1]
            and bool(wanted & there)
            and name.endswith("prefix"),
            "in a file without the prefix `embeddings…` is what the model calls `bert.embeddings…`: "
            "to you they are two names, so the whole body counts as missing and as unexpected",
            "prefix",
        )
        reject_if(
            found[0] == wanted & there or found[1] == wanted & there != set(),
            f"for {name} you return the names that both have; those are loaded, neither missing nor unexpected",
            "intersection",
        )
        reject_if(
            found[0] == right[0],
            f"for {name} `missing` is right and `unexpected` should be {_named(right[1])}, not {_named(found[1])}",
            "unexpected",
        )
        raise Rejected(f"for {name} `missing` should be {_named(right[0])}, not {_named(found[0])}", "missing")
    return "missing keys start at random, unexpected ones are left out, and all others hold what was pre-trained"


def _two_sets(value: Any) -> tuple[set[str], set[str]]:
    """(missing, unexpected) in whatever containers, without the prefix."""
    problem = "return two collections of names, `missing` and `unexpected`, in this order"
    if isinstance(value, str | Mapping) or not isinstance(value, Collection) or len(value) != 2:
        raise Rejected(problem, "wrong-type")
    if isinstance(value, set | frozenset):
        raise Rejected("a set has no order: return the two as a tuple, (missing, unexpected)", "wrong-type")
    for keys in value:
        if isinstance(keys, str) or not isinstance(keys, Collection) or not all(isinstance(key, str) for key in keys):
            raise Rejected(problem, "wrong-type")
    missing, unexpected = (_bare(keys) for keys in value)
    return missing, unexpected


def _bare(keys: Collection[str]) -> set[str]:
    return {key.removeprefix("bert.") for key in keys}


def _named(keys: set[str]) -> str:
    return ", ".join(f"`{key}`" for key in sorted(keys)) if keys else "empty"


@exercise(
    "13.4",
    title="Cross-entropy from logits",
    minutes=7,
    difficulty=3,
    hints=(
        "The loss of one answer is -log of the probability of its label. Which two terms does the logarithm of "
        "exp(z_y) / Σ exp(z_k) split into?",
        "-log p_y = log Σ exp(z_k) - z_y. `torch.logsumexp` computes the first term without overflowing; "
        "pick z_y from each row with `gather` or with `logits[torch.arange(batch), labels]`.",
        "`(logits.logsumexp(dim=1) - logits[torch.arange(len(labels)), labels]).mean()`",
    ),
    reference=f"{_CALIBRATION}:negative_log_likelihood",
)
def judge_negative_log_likelihood(answer):
    loss = function(answer, "negative_log_likelihood")
    for seed, (batch, num_labels) in enumerate([(7, 3), (11, 2), (5, 4)]):
        logits, labels = random_tensor(seed, batch, num_labels) * 2, torch.arange(batch) * 3 % num_labels
        found = call(loss, logits, labels)
        reject_if(
            tensor(found).shape == (batch,),
            f"{batch} numbers came back, one for each answer; the loss is their mean, one number",
            "per-answer",
        )
        found = number(found, "the loss")
        z = logits.double()
        right = torch.nn.functional.cross_entropy(z, labels)
        compare(
            torch.tensor(found, dtype=torch.float64),
            right,
            _loss_mistakes(z, labels),
            f"for {batch} answers with {num_labels} labels it gives {found:.4g}, and the mean of -log p is {right:.4g}",
        )
    large = torch.tensor([[1000.0, 0.0, -7.0], [0.0, 3.0, -1000.0]])
    found = number(call(loss, large, torch.tensor([1, 1])), "the loss")
    right = torch.nn.functional.cross_entropy(large, torch.tensor([1, 1])).item()
    reject_if(
        not math.isclose(found, right, rel_tol=1e-4),
        f"for a logit of 1000 it gives {found:.4g} instead of {right:.4g}: exp overflows or the probability rounds "
        "to 0. Stay with logits: log Σ exp(z) - z_y, with `torch.logsumexp`",
        "overflow",
    )
    return "the loss is computed from logits: no exponential overflows, and no logarithm meets 0"


def _loss_mistakes(z: Tensor, labels: Tensor) -> list[Mistake]:
    p, rows = z.softmax(dim=1), torch.arange(len(labels))
    right = torch.nn.functional.cross_entropy(z, labels)
    columns = -z.softmax(dim=0)[rows, labels].log().mean()
    return [
        Mistake(
            torch.nn.functional.cross_entropy(p, labels),
            "double-softmax",
            "softmax is taken twice: the loss wants logits and takes the softmax itself. The gradient would fade",
        ),
        Mistake(-z[rows, labels].mean(), "no-softmax", "this is the mean of -z_y: the term log Σ exp(z_k) is missing"),
        Mistake(right * len(labels), "sum", "this is the sum over the answers; the loss is the mean"),
        Mistake(-right, "sign", "this is the mean of log p, which is negative: the loss is -log p"),
        Mistake(
            right / math.log(2), "base-2", "this is in bits, with the logarithm to base 2; use the natural logarithm"
        ),
        Mistake(
            -p.amax(dim=1).log().mean(),
            "argmax",
            "you take the most probable class of each row; take the probability of its label",
        ),
        Mistake(
            columns, "wrong-axis", "your probabilities add up to 1 over the batch; they must over the labels, dim=1"
        ),
        Mistake(
            -p[rows, labels].mean().log(), "log-of-mean", "take the logarithm of each probability first, the mean after"
        ),
        Mistake(
            1 - p[rows, labels].mean(), "no-logarithm", "this is the mean of 1 - p; the loss is the mean of -log p"
        ),
    ]


@exercise(
    "13.5",
    title="Find the temperature",
    minutes=7,
    difficulty=3,
    hints=(
        "Which measure can temperature change at all: the accuracy, or the likelihood of the labels?",
        "Try many temperatures, 0.05 to 20, and keep the one with the least negative log-likelihood of "
        "logits / T. Steps of equal ratio (`torch.logspace`) serve small and large ones alike.",
        "`min(torch.logspace(-1.3, 1.3, 1000).tolist(), key=lambda T: negative_log_likelihood(logits / T, labels))`",
    ),
    reference=f"{_CALIBRATION}:fit_temperature",
)
def judge_fit_temperature(answer):
    fit = function(answer, "fit_temperature")
    for seed, (batch, num_labels, scale) in enumerate([(211, 3, 3.0), (307, 2, 0.3), (151, 5, 6.0)]):
        logits, labels = _miscalibrated(seed, batch, num_labels, scale)
        found = number(call(fit, logits, labels), "the temperature")
        reject_if(
            not (math.isfinite(found) and found > 0),
            f"your temperature is {found:.3g}; a temperature is a positive number",
            "not-positive",
        )
        best = _best_temperature(logits, labels)
        loss, least = (
            torch.nn.functional.cross_entropy(logits.double() / temperature, labels).item()
            for temperature in (found, best)
        )
        if loss - least < 1e-3:
            continue
        for value, (name, message) in {1 / best: _INVERSE, math.log(best): _LOGARITHM, 1.0: _UNCHANGED}.items():
            reject_if(math.isclose(found, value, rel_tol=0.03), f"you found {found:.3g}; {message}", name)
        low, high = 0.2 * best, 5 * best
        reject_if(
            found < low,
            f"you found {found:.3g} where the negative log-likelihood is {loss:.3g}, and {least:.3g} is possible: "
            "you look for the most confident answers, not for the most likely labels",
            "sharpest",
        )
        reject_if(
            found > high,
            f"you found {found:.3g} where the negative log-likelihood is {loss:.3g}, and {least:.3g} is possible: "
            "so high a temperature makes every class equally likely",
            "flattest",
        )
        raise Rejected(
            f"at your T = {found:.3g} the negative log-likelihood is {loss:.4g}; "
            f"another temperature reaches {least:.4g}. Does your search cover 0.05 to 20, in small enough steps?",
            "value",
        )
    return "logits / T with the T that makes held-out labels most likely; the answers stay as they are"


_INVERSE = ("inverse", "this is 1 / T: the logits are divided by T, so logits that are too large need T > 1")
_LOGARITHM = ("logarithm", "this is log T; return T itself")
_UNCHANGED = (
    "accuracy",
    "T = 1 changes nothing. Do not search for the best accuracy: no T changes it. Minimise the negative log-likelihood",
)


def _miscalibrated(seed: int, batch: int, num_labels: int, scale: float) -> tuple[Tensor, Tensor]:
    """Logits `scale` times as large as those that the labels were drawn from."""
    logits = random_tensor(seed, batch, num_labels, dtype=torch.float64) * 2
    labels = torch.multinomial(logits.softmax(1), 1, generator=torch.Generator().manual_seed(seed))[:, 0]
    return (logits * scale).float(), labels


def _best_temperature(logits: Tensor, labels: Tensor) -> float:
    """By golden-section search over log T, in which the loss has one minimum."""
    z, ratio = logits.double(), (math.sqrt(5) - 1) / 2
    low, high = math.log(0.01), math.log(100.0)
    for _ in range(60):
        step = ratio * (high - low)
        left, right = (torch.nn.functional.cross_entropy(z / math.exp(at), labels) for at in (high - step, low + step))
        if left < right:
            high = low + step
        else:
            low = high - step
    return math.exp((low + high) / 2)


@exercise(
    "13.6",
    title="Expected calibration error",
    minutes=9,
    difficulty=3,
    hints=(
        "Take the answers with a confidence between 0.8 and 0.9. What should their accuracy be, and what is it? "
        "That is one bin. How much should a bin of three answers count against one of three hundred?",
        "For each bin: the distance between mean confidence and accuracy, weighted by the share of all answers in it. "
        "Skip empty bins; let the last bin include 1.0.",
        "For each `i`: `inside = (confidence > i / n) & (confidence <= (i + 1) / n)`; `if inside.any():` "
        "`error += inside.double().mean() * (confidence[inside].mean() - correct[inside].double().mean()).abs()`",
    ),
    reference=f"{_CALIBRATION}:expected_calibration_error",
)
def judge_expected_calibration_error(answer):
    measure = function(answer, "expected_calibration_error")
    cases = [(97, 10, False), (211, 5, False), (53, 7, False), (31, 10, True)]
    for seed, (n, num_bins, saturated) in enumerate(cases):
        confidence, correct = _answers(seed, n, saturated)
        given = (confidence, correct) if num_bins == 10 else (confidence, correct, num_bins)
        found = number(call(measure, *given), "the calibration error")
        shares, gaps = _gaps(confidence, correct, num_bins)
        right = (shares * gaps.abs()).sum()
        reject_if(
            math.isnan(found),
            "the result is NaN: with two classes no confidence is below 0.5, so some bins are empty, and the mean of "
            "nothing is NaN. Skip them",
            "empty-bins",
        )
        compare(
            torch.tensor(found, dtype=torch.float64),
            right,
            _calibration_mistakes(confidence, correct, num_bins, shares, gaps),
            f"for {n} answers in {num_bins} bins it gives {found:.4g}, and the calibration error is {right:.4g}",
        )
    return "the mean distance between what the model claims and how often it is right, over all answers"


def _answers(seed: int, n: int, saturated: bool) -> tuple[Tensor, Tensor]:
    """Confidences above a half, away from the borders of 5, 7 and 10 bins, and whether these answers are right."""
    generator = torch.Generator().manual_seed(seed)
    confidence = 0.5 + 0.5 * torch.rand(n, generator=generator, dtype=torch.float64)
    for num_bins in (5, 7, 10):
        border = (confidence * num_bins).round() / num_bins
        confidence = torch.where((confidence - border).abs() < 1e-3, confidence - 3e-3, confidence)
    correct = torch.rand(n, generator=generator, dtype=torch.float64) < confidence**2
    if saturated:
        confidence[: n // 3] = 1.0
    return confidence.float(), correct


def _gaps(confidence: Tensor, correct: Tensor, num_bins: int) -> tuple[Tensor, Tensor]:
    """Share of the answers, and confidence minus accuracy, for each bin that is not empty."""
    index = (confidence.double() * num_bins).ceil().clamp(1, num_bins) - 1
    inside = [index == at for at in range(num_bins) if (index == at).any()]
    shares = torch.stack([each.double().mean() for each in inside])
    gaps = torch.stack([confidence[each].double().mean() - correct[each].double().mean() for each in inside])
    return shares, gaps


def _calibration_mistakes(
    confidence: Tensor, correct: Tensor, num_bins: int, shares: Tensor, gaps: Tensor
) -> list[Mistake]:
    below_one = confidence < 1
    rest_shares, rest_gaps = _gaps(confidence[below_one], correct[below_one], num_bins)
    dropped = (rest_shares * rest_gaps.abs()).sum()
    last_edge = "answers with a confidence of exactly 1 are in no bin of yours: the last bin includes 1"
    known = [] if below_one.all() else [
        Mistake(dropped, "last-edge", last_edge),
        Mistake(dropped * below_one.double().mean(), "last-edge", last_edge),
    ]  # fmt: skip
    by_bins = "each bin counts the same here, however few answers it has: weight it by its share of the answers"
    return [
        *known,
        Mistake(gaps.abs().mean(), "unweighted", by_bins),
        Mistake(gaps.abs().sum() / num_bins, "unweighted", by_bins),
        Mistake(gaps.abs().sum(), "unweighted", by_bins),
        Mistake(gaps.abs().max(), "maximum", "this is the largest gap of any bin; the expected error is the mean gap"),
        Mistake(
            (shares * gaps).sum(),
            "signed",
            "gaps of opposite sign cancel here: take the absolute value in each bin. "
            "What is left is mean confidence minus accuracy",
        ),
        Mistake(
            -(shares * gaps).sum(), "signed", "gaps of opposite sign cancel here: take the absolute value in each bin"
        ),
        Mistake(
            (shares * gaps).sum().abs(),
            "one-bin",
            "this is the gap between mean confidence and accuracy of all answers: bins come first, then the mean",
        ),
        Mistake(
            (shares * gaps**2).sum(), "squared", "the gaps are squared here; the calibration error takes their size"
        ),
        Mistake(
            (shares * gaps**2).sum().sqrt(),
            "squared",
            "the gaps are squared here; the calibration error takes their size",
        ),
    ]


@exercise(
    "13.7",
    title="Two rows or one?",
    minutes=5,
    difficulty=2,
    hints=(
        "Divide numerator and denominator of exp(z_1) / (exp(z_0) + exp(z_1)) by exp(z_1). "
        "Which combination of z_0 and z_1 is left?",
        "softmax(z)_1 = sigmoid(z_1 - z_0). Both logits are linear in h, so their difference is linear too.",
        "z_1 - z_0 = (w_1 - w_0) · h + (b_1 - b_0): `return weight[1] - weight[0], bias[1] - bias[0]`.",
    ),
    reference=f"{_REFERENCES}:one_row",
)
def judge_one_row(answer):
    fold = function(answer, "one_row")
    for seed, width in enumerate([3, 7, 11]):
        weight, bias, h = (
            random_tensor(10 * seed + at, *shape) for at, shape in enumerate([(2, width), (2,), (2 * width, width)])
        )
        result = call(fold, weight, bias)
        reject_if(
            not isinstance(result, tuple | list) or len(result) != 2,
            f"return two things, a row of {width} numbers and a bias",
            "wrong-type",
        )
        row = tensor(result[0], what="the row").double().flatten()
        reject_if(row.shape != (width,), f"the row has {row.numel()} numbers for a hidden size of {width}", "shape")
        shift = number(result[1], "the bias")
        w, b, h = weight.double(), bias.double(), h.double()
        compare(
            h @ row + shift,
            torch.special.logit((h @ w.T + b).softmax(dim=1)[:, 1]),
            _row_mistakes(w, b, h),
            "sigmoid(h · w + b) should be softmax(h · Wᵀ + b)_1 for every h, and differs",
        )
    return "a two-way softmax is a sigmoid of the difference: of its two rows one is redundant"


def _row_mistakes(w: Tensor, b: Tensor, h: Tensor) -> list[Mistake]:
    """Logits of `h` under the rows that are folded wrongly."""
    difference, bias = h @ (w[1] - w[0]), b[1] - b[0]
    only_the_bias = "the row is right; the bias is the difference of both biases"
    return [
        Mistake(
            h @ w[1] + b[1],
            "one-class",
            "this takes the row of class 1 alone; the probability depends on the difference to class 0",
        ),
        Mistake(-difference - bias, "other-class", "this gives the probability of class 0: take row 1 minus row 0"),
        Mistake(difference, "bias", only_the_bias),
        Mistake(difference + b[1], "bias", only_the_bias),
        Mistake(
            (difference + bias) / 2,
            "half",
            "this is half the difference; softmax of two logits is the sigmoid of the whole difference",
        ),
        Mistake(h @ (w[1] + w[0]) + b.sum(), "sum", "this is the sum of both rows; only their difference counts"),
    ]


quiz(
    "13",
    Question(
        "You load bert-base-uncased into BertForSequenceClassification and it prints 0.61 and 0.39. What do you know?",
        (
            Choice(
                "The text is probably of class 0",
                "The head that computed this was drawn at random; another seed gives another class.",
            ),
            Choice(
                "That the head has two rows, and nothing about the text",
                "`classifier.weight` and `classifier.bias` are missing from the file, so they start at random.",
            ),
            Choice(
                "BERT was fine-tuned on two classes",
                "It was pre-trained on masked words and sentence pairs; no class label was involved.",
            ),
        ),
        right=1,
    ),
    Question(
        "The load report lists `cls.predictions.bias` as UNEXPECTED. What happened to it?",
        (
            Choice(
                "It is in the file, and this model has no place for it",
                "It belongs to the masked-word head, which a classifier does not have. It is left out, harmlessly.",
            ),
            Choice("It was initialised at random", "That is MISSING: wanted by the model and not in the file."),
            Choice(
                "The file is damaged",
                "A damaged file fails to load. Another head is the usual reason for an unexpected key.",
            ),
        ),
        right=0,
    ),
    Question(
        "All logits of a row are multiplied by 10. What can change?",
        (
            Choice("The predicted class", "The largest logit stays the largest when all are multiplied by 10."),
            Choice("Nothing: softmax divides it out", "Adding a number to all logits cancels; multiplying does not."),
            Choice(
                "The confidence",
                "It is a temperature of 1/10: the same answer, with the probability of its class closer to 1.",
            ),
        ),
        right=2,
    ),
    Question(
        "Logits of shape [8, 2]. You write softmax(logits, dim=0). What do you get?",
        (
            Choice(
                "Columns that add up to 1: the 8 texts compete with each other",
                "dim is the axis that adds up to 1. The classes are the last axis: dim=1, or dim=-1.",
            ),
            Choice("The same as with dim=1", "Only by accident: the other axis adds up to 1."),
            Choice("An error", "Both axes exist, so nothing warns you. That makes it a bug to look for."),
        ),
        right=0,
    ),
    Question(
        "A classifier is right 70 times in 100 and says 0.95 on average. You fit T = 3 on validation data. What then?",
        (
            Choice("It is right more often", "Dividing by T changes no answer, so the accuracy stays at 70."),
            Choice(
                "Its confidence comes near 0.7, and it is right as often as before",
                "That is calibration: the number now says how often to believe it.",
            ),
            Choice(
                "It must be fitted again on the test data",
                "Then the test would no longer measure anything: parameters are fitted on validation data.",
            ),
        ),
        right=1,
    ),
)
