"""Notebook 15: the metric, the training step, the learning-rate sweep, early stopping, and the table of errors."""

import math
import types
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .engine import Choice, Question, Rejected, exercise, quiz
from .judging import Mistake, call, compare, function, number, random_tensor, reject_if, tensor

_HERE = "course_lib.exercises.references.fine_tune_sentiment"


class _Predicted(NamedTuple):
    """What Trainer hands to `compute_metrics`: to be unpacked, indexed, or read by name."""

    predictions: np.ndarray
    label_ids: np.ndarray


def _entry(answer: Any, key: str, where: str) -> Any:
    reject_if(
        not isinstance(answer, Mapping), f"{where} should be a dictionary, not {type(answer).__name__}", "wrong-type"
    )
    reject_if(
        key not in answer, f"{where} has no entry {key!r}, only {', '.join(map(repr, answer)) or 'none'}", "missing"
    )
    return answer[key]


@exercise(
    "15.1",
    title="The metric",
    minutes=8,
    difficulty=2,
    hints=(
        "Trainer hands over logits, not answers. Which axis are the classes, and what picks the largest?",
        "For each class count true positives, false positives and false negatives; F1 = 2 TP / (2 TP + FP + FN). "
        "Then take the plain mean over the classes. A class without a true positive has F1 = 0.",
        "`answers = logits.argmax(-1)`; for each `c` in `np.unique([*labels, *answers])`: "
        "`2 * ((answers == c) & (labels == c)).sum() / ((answers == c).sum() + (labels == c).sum())`.",
    ),
    reference=f"{_HERE}:compute_metrics",
)
def judge_metric(answer):
    compute_metrics = function(answer, "compute_metrics")
    cases = [(11, 2, None, None), (13, 3, None, None), (17, 5, 4, None), (7, 2, 1, None), (19, 4, None, 2)]
    for seed, (n, classes, never, absent) in enumerate(cases):
        logits = random_tensor(seed, n, classes).numpy().astype(np.float32)
        labels = np.random.default_rng(seed).integers(0, classes, n)
        labels[:2] = 0  # the classes are of different sizes
        labels[-1] = classes - 1
        if never is not None:
            logits[:, never] = -9.0  # in the labels, never in the answers
        if absent is not None:
            logits[:, absent] = -9.0
            labels[labels == absent] = 0  # in neither
        answers = logits.argmax(1)
        prediction = _Predicted(logits.copy(), labels.copy())
        found = call(compute_metrics, prediction)
        reject_if(
            found is prediction,
            "the result should be a dictionary; `compute_metrics` returns what it was given, the predictions",
            "wrong-type",
        )
        accuracy = tensor(number(_entry(found, "accuracy", "the result"), "`accuracy`"))
        f1 = tensor(number(_entry(found, "f1", "the result"), "`f1`"))
        share = float((answers == labels).mean())
        compare(
            accuracy,
            tensor(share),
            [
                Mistake(tensor(100 * share), "percent", "`accuracy` is in per cent; a share runs from 0 to 1"),
                Mistake(tensor(share * n), "not-divided", f"`accuracy` is a count; divide it by the {n} examples"),
                Mistake(tensor(1 - share), "error-rate", "`accuracy` is the share of errors; one minus that is asked"),
            ],
            f"{answers.tolist()} against {labels.tolist()} has the accuracy {share:.3g}, and yours is "
            f"{float(accuracy):.3g}: the answer to an example is its largest logit, along the last axis",
        )
        _judge_f1(f1, answers, labels, classes)
    return "the largest logit is the answer, and every class counts the same in the mean F1"


def _judge_f1(f1: Tensor, answers: np.ndarray, labels: np.ndarray, classes: int) -> None:
    there = np.unique([*answers, *labels])
    hits = np.array([((answers == c) & (labels == c)).sum() for c in there], dtype=float)
    said = np.array([(answers == c).sum() for c in there], dtype=float)
    true = np.array([(labels == c).sum() for c in there], dtype=float)
    each = 2 * hits / (said + true)
    precision, recall = hits / np.maximum(said, 1), hits / np.maximum(true, 1)
    mean_p, mean_r = precision.mean(), recall.mean()
    predicted_only = each[said > 0].mean()
    reject_if(
        bool(f1.isnan()),
        "`f1` is NaN: a class that is never answered has no precision (0 / 0). In the form 2 TP / (2 TP + FP + FN) "
        "its F1 is 0",
        "nan",
    )
    compare(
        f1,
        tensor(each.mean()),
        [
            Mistake(
                tensor(hits.sum() / len(labels)),
                "micro",
                "your `f1` equals the accuracy: pooling the counts of all classes does that ('micro'). Compute F1 "
                "for each class and take the mean",
            ),
            Mistake(tensor(each[-1]), "one-class", "this is the F1 of the last class alone; take the mean over all"),
            Mistake(tensor(each[0]), "one-class", "this is the F1 of class 0 alone; take the mean over all"),
            Mistake(
                tensor((each * true).sum() / true.sum()),
                "weighted",
                "your mean weighs each class with its number of examples, so a rare class hardly counts; take the "
                "plain mean",
            ),
            Mistake(
                tensor(predicted_only),
                "never-answered",
                "you leave out a class that is never answered. It is among the labels, so it counts, with F1 = 0",
            ),
            Mistake(
                tensor(2 * mean_p * mean_r / (mean_p + mean_r)),
                "f1-of-means",
                "this is the F1 of mean precision and mean recall; take F1 of each class first, then the mean",
            ),
            Mistake(
                tensor(each.sum() / classes),
                "absent-class",
                f"you divide by all {classes} columns of the logits; a class that is neither among the labels nor "
                "among the answers does not count",
            ),
            Mistake(tensor(mean_p), "precision", "this is the mean precision, which ignores what is missed"),
            Mistake(tensor(mean_r), "recall", "this is the mean recall, which ignores false alarms"),
            Mistake(tensor(100 * each.mean()), "percent", "`f1` is in per cent; it runs from 0 to 1"),
        ],
        f"for {answers.tolist()} against {labels.tolist()} the F1 of the classes is "
        f"{', '.join(f'{x:.2f}' for x in each)}; their mean is {each.mean():.3g}, and yours {float(f1):.3g}",
    )


class _Scorer(nn.Module):
    """A linear classifier that returns an object with `loss`, as transformers' models do, and notes its mode."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.clone())
        self.modes: list[bool] = []

    def forward(self, x: Tensor, labels: Tensor) -> types.SimpleNamespace:
        self.modes.append(self.training)
        logits = x @ self.weight
        return types.SimpleNamespace(loss=F.cross_entropy(logits, labels), logits=logits)


_STEP_RATES = (0.5, 0.4, 0.2, 0.1)  # of the four updates
_STEP_NORM = 0.3


class _Descent:
    """Gradient descent with the interface of torch's optimisers, whose first step would import torch's compiler."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        self.param_groups = [{"params": parameters, "lr": _STEP_RATES[0]}]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for parameter in self.param_groups[0]["params"]:
            if set_to_none or parameter.grad is None:
                parameter.grad = None
            else:
                parameter.grad.zero_()

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None:
                parameter -= self.param_groups[0]["lr"] * parameter.grad


class _Rates:
    """Sets the next learning rate, as torch's schedules do."""

    def __init__(self, optimiser: _Descent) -> None:
        self.optimiser, self.done = optimiser, 0

    def step(self) -> None:
        self.done += 1
        self.optimiser.param_groups[0]["lr"] = (*_STEP_RATES, 0.0)[min(self.done, len(_STEP_RATES))]

    def get_last_lr(self) -> list[float]:
        return [self.optimiser.param_groups[0]["lr"]]


class _Setting(NamedTuple):
    """A model, its optimiser and schedule, and what it is trained on."""

    model: _Scorer
    optimiser: _Descent
    scheduler: _Rates
    batches: list[dict[str, Tensor]]


def _setting(seed: int) -> _Setting:
    model = _Scorer(random_tensor(seed, 5, 3)).eval()
    optimiser = _Descent(list(model.parameters()))
    batches = [
        {
            "x": 3 * random_tensor(100 * seed + i + 1, 7, 5),
            "labels": torch.from_numpy(np.random.default_rng(i).integers(0, 3, 7)),
        }
        for i in range(len(_STEP_RATES))
    ]
    return _Setting(model, optimiser, _Rates(optimiser), batches)


def _weights_after(
    seed: int, clip: str = "norm", accumulate: bool = False, rates: Sequence[float] = _STEP_RATES
) -> Tensor:
    """The weight after four updates computed here by the formula, with any one of the mistakes."""
    model, _, _, batches = _setting(seed)
    weight, carried = model.weight.detach().double(), torch.zeros(5, 3, dtype=torch.float64)
    for batch, rate in zip(batches, rates, strict=True):
        own = weight.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(batch["x"].double() @ own, batch["labels"]), own)
        gradient = gradient + carried
        if clip == "norm":
            gradient = gradient * min(1.0, _STEP_NORM / (gradient.norm().item() + 1e-6))
        elif clip == "value":
            gradient = gradient.clamp(-_STEP_NORM, _STEP_NORM)
        carried = gradient if accumulate else torch.zeros_like(gradient)
        weight = weight - rate * gradient
    return weight


@exercise(
    "15.2",
    title="One training step",
    minutes=8,
    difficulty=3,
    hints=(
        "Gradients add up until somebody empties them, and the optimiser uses whatever is there. In which order must "
        "the four calls stand?",
        "Training mode, empty the gradients, loss, `backward()`, clip the norm, `optimiser.step()`, "
        "`scheduler.step()`. The rate of an update is the one set before it.",
        "`model.train()`, `optimiser.zero_grad()`, `loss = model(**batch).loss`, `loss.backward()`, "
        "`torch.nn.utils.clip_grad_norm_(model.parameters(), max_norm)`, then the two steps, and `return loss.item()`.",
    ),
    reference=f"{_HERE}:training_step",
)
def judge_training_step(answer):
    training_step = function(answer, "training_step")
    for seed in (1, 2):
        model, optimiser, scheduler, batches = _setting(seed)
        losses = []
        for batch in batches:
            before = model.weight.detach().double()
            wanted = F.cross_entropy(batch["x"].double() @ before, batch["labels"])
            found = call(training_step, model, batch, optimiser, scheduler, _STEP_NORM)
            losses.append((number(found, "the loss"), float(wanted)))
        reject_if(not model.modes, "the model was never called: `model(**batch)` gives the loss", "no-forward")
        compare(model.weight.detach().double(), _weights_after(seed), _step_mistakes(seed), _STEP_OTHERWISE)
        reject_if(
            not all(model.modes),
            "the weights are right for this model; but it came in evaluation mode and was trained in it. With dropout "
            "that matters: call `model.train()` first",
            "evaluation-mode",
        )
        for loss, right in losses:
            reject_if(
                abs(loss - right) > 1e-4,
                f"the returned loss is {loss:.3g}; the loss of the batch, before the update, is {right:.3g}",
                "loss",
            )
    return "empty, loss, backward, clip, optimiser, schedule: this order is all that the loop needs"


_STEP_OTHERWISE = (
    "after four steps the weights are not those of: empty the gradients, backward, clip their norm to max_norm, "
    "step the optimiser, step the schedule"
)


def _step_mistakes(seed: int) -> list[Mistake]:
    first = _STEP_RATES[0]
    shifted = (*_STEP_RATES[1:], 0.0)
    return [
        Mistake(
            _setting(seed).model.weight.detach().double(),
            "no-update",
            "the weights have not moved: is `backward()` called, is `optimiser.step()` called after it, and are the "
            "gradients emptied before `backward()` rather than between the two?",
        ),
        Mistake(
            _weights_after(seed, accumulate=True),
            "accumulates",
            "the gradient of each batch is added to those before it: nobody empties them. `optimiser.zero_grad()`",
        ),
        Mistake(
            _weights_after(seed, clip="none", accumulate=True),
            "accumulates",
            "the gradients of all batches add up (`optimiser.zero_grad()` is missing), and their norm is not clipped",
        ),
        Mistake(
            _weights_after(seed, clip="none"),
            "not-clipped",
            "the gradients are used at their full length. Clip after `backward()`, when they are there, and before "
            "`optimiser.step()`, which uses them",
        ),
        Mistake(
            _weights_after(seed, clip="value"),
            "clips-values",
            "you clip each number by itself, which turns the direction; `clip_grad_norm_` shortens the whole gradient",
        ),
        Mistake(
            _weights_after(seed, rates=[first] * 4),
            "no-schedule",
            "every update had the first learning rate: `scheduler.step()` is missing",
        ),
        Mistake(
            _weights_after(seed, rates=shifted),
            "schedule-first",
            "each update had the rate of the next one: step the schedule after the optimiser, not before it",
        ),
    ]


def _spread_of(seed: int) -> float:
    return (-0.02, 0.03, -0.01, 0.05, 0.0, -0.04)[seed % 6]


class _Runs:
    """A training to be tried: the score is best at one rate, chance comes with the seed; notes what was tried."""

    def __init__(self, peak: float, lucky: float, diverges_above: float, fails: tuple[float, int] = (0.0, 0)) -> None:
        self.peak, self.lucky, self.diverges_above, self.fails = peak, lucky, diverges_above, fails
        self.tried: list[tuple[float, int]] = []

    def __call__(self, rate: float, seed: int) -> float:
        self.tried.append((float(rate), int(seed)))
        return self.score(float(rate), int(seed))

    def score(self, rate: float, seed: int) -> float:
        if rate > self.diverges_above or (seed == self.fails[1] and math.isclose(rate, self.fails[0], rel_tol=0.01)):
            return math.nan
        score = 0.85 - 0.05 * abs(math.log10(rate / self.peak)) + _spread_of(seed)
        if abs(rate / self.lucky - 1) < 0.01:  # one very good run and two bad ones
            score = 0.95 if seed == 3 else 0.72
        return score


@exercise(
    "15.3",
    title="A learning-rate sweep",
    minutes=10,
    difficulty=3,
    hints=(
        "From 1e-5 to 1e-3 the step from 1e-5 to 2e-5 matters as much as that from 1e-4 to 2e-4. How do you space "
        "candidates so that each is the same *multiple* of the one before?",
        "`np.geomspace(low, high, count)`. For each rate train once with every seed and take the mean; the best rate "
        "has the highest mean. A run that diverged returns NaN, and NaN compares with nothing.",
        "`means = {float(r): np.mean([train(float(r), s) for s in seeds]) for r in np.geomspace(low, high, count)}`; "
        "then `max` over the rates whose mean is not NaN.",
    ),
    reference=f"{_HERE}:sweep",
)
def judge_sweep(answer):
    sweep = function(answer, "sweep")
    cases = [
        (_Runs(peak=1e-4, lucky=1e-6, diverges_above=1), 1e-6, 1e-2, 3, (1, 3, 5)),
        (_Runs(peak=2e-4, lucky=2e-6, diverges_above=5e-4), 2e-6, 2e-3, 4, (3, 4, 5)),
        (_Runs(peak=1e-2, lucky=1e-6, diverges_above=5e-3), 1e-6, 1e-2, 5, (0, 3, 7)),
        # one run alone diverges: of the rate that is tried first, and of the one whose other runs are the best
        (_Runs(peak=1e-4, lucky=1e-6, diverges_above=1, fails=(1e-6, 1)), 1e-6, 1e-2, 3, (1, 3, 5)),
        (_Runs(peak=1e-4, lucky=1e-6, diverges_above=1, fails=(1e-4, 5)), 1e-6, 1e-2, 3, (1, 3, 5)),
    ]
    for runs, low, high, count, seeds in cases:
        found = call(sweep, runs, low, high, count, list(seeds))
        reject_if(
            not isinstance(found, tuple | list) or len(found) != 2,
            "two things are asked for: the best rate, and a dictionary from each rate to its mean score",
            "wrong-type",
        )
        rates = np.geomspace(low, high, count)
        _judge_tried(runs, rates, seeds, low, high, count)
        _judge_sweep_result(found, runs, rates, seeds)
    return "rates on a logarithmic scale, the same seeds for each, and the mean decides; what diverges cannot win"


def _judge_tried(runs: _Runs, rates: np.ndarray, seeds: Sequence[int], low: float, high: float, count: int) -> None:
    reject_if(not runs.tried, "`train` was never called", "never-trained")
    tried = sorted({rate for rate, _ in runs.tried})
    listed = ", ".join(f"{rate:.3g}" for rate in tried)

    def are(expected: np.ndarray) -> bool:
        return len(tried) == len(expected) and np.allclose(tried, expected, rtol=1e-3, atol=0)

    reject_if(
        are(np.linspace(low, high, count)),
        f"you try {listed}: equal steps leave nearly all candidates in the top factor of ten. Let each rate be the "
        "same multiple of the one before",
        "linear",
    )
    reject_if(
        are(np.geomspace(low, high, count, endpoint=False)),
        f"you try {listed}: `high` = {high:g} is to be among the candidates",
        "without-the-end",
    )
    reject_if(not are(rates), f"you try {listed}; {', '.join(f'{r:.3g}' for r in rates)} are asked for", "grid")
    for rate in rates:
        used = {seed for r, seed in runs.tried if abs(r / rate - 1) < 1e-3}
        reject_if(
            used != set(seeds),
            f"rate {rate:.3g} was trained with the seeds {sorted(used)}, not {list(seeds)}: one run is chance, and "
            "rates "
            "compared on different seeds differ by those",
            "seeds",
        )


def _judge_sweep_result(found: Sequence, runs: _Runs, rates: np.ndarray, seeds: Sequence[int]) -> None:
    best, means = found
    right = [float(np.mean([runs.score(rate, seed) for seed in seeds])) for rate in rates]
    best = number(best, "the best rate")
    winner = rates[int(np.nanargmax(right))]
    if not abs(best / winner - 1) < 1e-3:
        highest = [max(runs.score(rate, seed) for seed in seeds) for rate in rates]
        reject_if(
            math.isnan(best)
            or any(abs(best / rate - 1) < 1e-3 and math.isnan(m) for rate, m in zip(rates, right, strict=True)),
            f"you choose {best:.3g}, of whose runs at least one diverged and returned NaN. A mean that leaves NaN out "
            "hides that, and no comparison with NaN is true, so `max` may keep it: leave such rates out",
            "nan",
        )
        reject_if(
            abs(best / rates[int(np.nanargmax(highest))] - 1) < 1e-3,
            f"you choose {best:.3g}, which has the best single run and not the best mean: that is choosing by luck",
            "best-run",
        )
        reject_if(
            abs(best / rates[int(np.nanargmin(right))] - 1) < 1e-3,
            f"you choose {best:.3g}, the rate with the lowest mean; a score is better when it is higher",
            "lowest",
        )
        reject_if(
            abs(best - np.nanmax(right)) < 1e-3,
            "you return the best score; the rate that has it is asked for",
            "score",
        )
        raise Rejected(f"you choose {best:.3g}; the highest mean has {winner:.3g}", "value")
    for rate, mean in zip(rates, right, strict=True):
        reject_if(
            not isinstance(means, Mapping), "the second result should be a dictionary: rate to mean", "wrong-type"
        )
        entries = [value for key, value in means.items() if abs(number(key, "a rate") / rate - 1) < 1e-3]
        reject_if(not entries and not math.isnan(mean), f"the rate {rate:.3g} has no mean in the dictionary", "missing")
        if entries and not math.isnan(mean):
            value = number(entries[0], "a mean")
            reject_if(
                abs(value - mean) > 1e-4,
                f"the scores of rate {rate:.3g} have the mean {mean:.3g}, and yours is {value:.3g}",
                "mean",
            )


def _stopped(
    losses: Sequence[float], patience: int, *, ties: bool = False, neighbour: bool = False, resets: bool = True
):
    """Best and last epoch by the rule, or by one of the misunderstandings of it."""
    best, since, last = 0, 0, 0
    for last in range(len(losses)):
        reference = losses[last - 1] if neighbour else losses[best]
        better = last == 0 or losses[last] < reference or (ties and losses[last] == reference)
        if last == 0 or losses[last] < losses[best] or (ties and losses[last] == losses[best]):
            best = last
        since = (0 if resets else since) if better else since + 1
        if since >= patience:
            break
    return best + 1, last + 1


_STOP_CASES = (
    ((0.60, 0.55, 0.58, 0.59, 0.61, 0.62), 2),
    ((0.70, 0.60, 0.65, 0.62, 0.55), 2),
    ((0.70, 0.60, 0.65, 0.55, 0.57, 0.56, 0.50), 2),
    ((0.69, 0.50, 0.40, 0.35), 1),
    ((0.60, 0.55, 0.58, 0.57, 0.59, 0.61, 0.50), 3),
    ((0.60, 0.55, 0.55, 0.55, 0.54, 0.58), 2),
    ((0.60, 0.70, 0.50, 0.55, 0.45, 0.48, 0.44, 0.52), 2),
    ((0.30, 0.40, 0.20), 1),
)


@exercise(
    "15.4",
    title="Early stopping",
    minutes=8,
    difficulty=3,
    hints=(
        "What must you remember from epoch to epoch? Two numbers are enough, and none of them is in the future.",
        "Remember the epoch of the lowest loss so far. After each epoch: is this loss lower? Then it is the new best. "
        "Otherwise: are `patience` epochs over since the best? Then stop.",
        "`for epoch, loss in enumerate(losses, 1)`: `if loss < lowest: lowest, best = loss, epoch`, "
        "`elif epoch - best >= patience: return best, epoch`; behind the loop `return best, epoch`.",
    ),
    reference=f"{_HERE}:early_stopping",
)
def judge_early_stopping(answer):
    early_stopping = function(answer, "early_stopping")
    for losses, patience in _STOP_CASES:
        result = call(early_stopping, list(losses), patience)
        found = tensor(result, (2,), "the result (best epoch, last epoch)")
        right = _stopped(losses, patience)
        early, late = max(patience - 1, 1), patience + 1
        mistakes = [
            (
                _lowest_of_all(losses, right),
                "looks-ahead",
                "you look at epochs that are never trained: when training stops after epoch "
                f"{right[1]}, nobody knows the losses that would have followed",
            ),
            ((right[0] - 1, right[1] - 1), "from-zero", "your epochs are counted from 0; the first one is 1"),
            ((right[0] - 1, right[1]), "from-zero", "your best epoch is counted from 0; the first one is 1"),
            (
                (right[1], right[1]),
                "last-not-best",
                f"you keep the weights of the last epoch; epoch {right[0]} had the lowest loss",
            ),
            (
                _stopped(losses, patience, neighbour=True),
                "neighbour",
                "you compare each epoch with the one before it; what counts is the lowest loss so far",
            ),
            (
                _stopped(losses, patience, resets=False),
                "never-resets",
                "you count all epochs without progress; a new lowest loss starts the count again",
            ),
            (
                _stopped(losses, patience, ties=True),
                "ties",
                "an equal loss is no progress: only a lower one is a new best",
            ),
            (
                _stopped(losses, late),
                "one-too-late",
                f"you stop one epoch too late: `patience` = {patience} epochs without a new lowest are enough",
            ),
            (
                _stopped(losses, early),
                "one-too-early",
                f"you stop one epoch too early: `patience` = {patience} epochs without a new lowest are allowed",
            ),
            ((right[1], right[0]), "order", "the two numbers are swapped: the best epoch comes first"),
            ((right[0], len(losses)), "never-stops", "you train through all epochs and stop nowhere"),
        ]
        compare(
            found,
            tensor(right),
            [Mistake(tensor(value), name, message) for value, name, message in mistakes],
            f"for {list(losses)} with patience {patience} the best epoch is {right[0]} and the last one trained "
            f"{right[1]}; you say {', '.join(f'{x:g}' for x in found.tolist())}",
        )
    return "keep the best, stop when it is `patience` epochs old, and never look ahead"


def _lowest_of_all(losses: Sequence[float], right: tuple[int, int]) -> tuple[int, int]:
    return 1 + min(range(len(losses)), key=losses.__getitem__), right[1]


@exercise(
    "15.5",
    title="The error table",
    minutes=9,
    difficulty=3,
    hints=(
        "An answer can be wrong by a hair or with full conviction. Which number, the one the model was trained with, "
        "tells them apart?",
        "The loss of an example is minus the log of the probability of its true label. Compute it for each row, sort "
        "from the largest down, and keep `count` rows.",
        "`losses = F.cross_entropy(torch.as_tensor(logits), torch.as_tensor(labels), reduction='none')` and "
        "`order = losses.argsort(descending=True)[:count]`; then one dictionary for each index.",
    ),
    reference=f"{_HERE}:error_table",
)
def judge_error_table(answer):
    error_table = function(answer, "error_table")
    for seed, (n, classes, count) in enumerate([(7, 2, 3), (11, 3, 5), (13, 5, 13)]):
        logits = 2 * random_tensor(seed + 3, n, classes)
        labels = torch.from_numpy(np.random.default_rng(seed + 4).integers(0, classes, n))
        texts = [f"snippet {chr(97 + i)}" for i in range(n)]
        table = call(error_table, texts, labels, logits, count)
        table = table.to_dict("records") if hasattr(table, "to_dict") else table
        reject_if(
            not isinstance(table, list | tuple),
            f"a list of dictionaries is asked for, one for each row, not {type(table).__name__}",
            "wrong-type",
        )
        _judge_table(table, texts, labels, logits.double(), count)
    return "the loss of the true label finds what the model is wrongly sure of"


_MISALIGNED = "stands beside the loss of another text: sort the columns together"


def _judge_table(table: Sequence, texts: list[str], labels: Tensor, logits: Tensor, count: int) -> None:
    losses = F.cross_entropy(logits, labels, reduction="none")
    answers = logits.argmax(1)
    found = [_entry(row, "text", "a row") for row in table]

    def is_order(values: Tensor) -> bool:
        return found == [texts[i] for i in values.argsort(descending=True)[: len(found)].tolist()]

    wrong = int((answers != labels).sum())
    reject_if(
        len(found) == wrong < count and set(found) == {texts[i] for i in range(len(texts)) if answers[i] != labels[i]},
        f"you keep the {wrong} wrong answers only, and {count} rows are asked for: a right answer by a hair has a high "
        "loss too, and is worth reading",
        "only-errors",
    )
    reject_if(len(found) != count, f"the table has {len(found)} rows; {count} were asked for", "count")
    probabilities = logits.softmax(1)
    if not is_order(losses):
        for values, name, message in (
            (-losses, "ascending", "you begin with the lowest loss: those the model is rightly sure of"),
            (
                -probabilities.max(1).values,
                "least-sure",
                "you sort by how unsure the answer is, without looking at the label: a wrong answer given with full "
                "conviction then comes last",
            ),
            (
                probabilities.max(1).values,
                "most-sure",
                "you sort by the confidence of the answer, whether it is right or wrong; take the probability of the "
                "true label",
            ),
            (
                -logits.gather(1, labels[:, None])[:, 0],
                "no-softmax",
                "you sort by the logit of the true label; only against the other logits does it say something: softmax "
                "first",
            ),
        ):
            reject_if(is_order(values), message, name)
        reject_if(
            set(found) == {texts[i] for i in losses.argsort(descending=True)[:count].tolist()},
            "these are the right rows in another order: the highest loss comes first",
            "not-sorted",
        )
        raise Rejected(
            f"the highest loss has {texts[int(losses.argmax())]!r}, and your table begins with {found[0]!r}", "value"
        )
    for row in table:
        index = texts.index(row["text"])
        label = number(_entry(row, "label", "a row"), "`label`")
        predicted = number(_entry(row, "predicted", "a row"), "`predicted`")
        loss = tensor(number(_entry(row, "loss", "a row"), "`loss`"))
        right = int(labels[index]), int(answers[index])
        reject_if(
            (label, predicted) == right[::-1] and right[0] != right[1],
            "`label` and `predicted` are swapped: the label is what people said",
            "swapped",
        )
        reject_if(
            label != right[0],
            f"{row['text']!r} has the label {right[0]}, and your row says {label:g}: the columns must be sorted "
            "together",
            "misaligned",
        )
        reject_if(
            predicted != right[1], f"the largest logit of {row['text']!r} is that of class {right[1]}", "predicted"
        )
        p = probabilities[index, right[0]]
        compare(
            loss,
            losses[index],
            [
                Mistake(
                    -p.log2(), "base-2", "your losses are in bits; the loss of the training is in nats: natural log"
                ),
                Mistake(p, "probability", "`loss` holds the probability; its negative logarithm is asked for"),
                Mistake(p.log(), "sign", "the log of a probability is negative; the loss is minus that"),
                Mistake(1 - p, "one-minus", "this is 1 - p, which never exceeds 1; the loss is -log p"),
                *(Mistake(other, "misaligned", f"{row['text']!r} {_MISALIGNED}") for other in losses),
            ],
            f"the loss of {row['text']!r} is -log {float(p):.3g} = {float(losses[index]):.3g}, and yours "
            f"{float(loss):.3g}",
        )


quiz(
    "15",
    Question(
        "You try five learning rates and keep the one with the best test accuracy. What is wrong with reporting it?",
        (
            Choice(
                "Nothing, it was measured", "Of five noisy measurements the best one is partly luck, and you kept it."
            ),
            Choice(
                "The test set has chosen, so its score is too good",
                "A choice belongs to validation data. The test set is asked once, when nothing is left to choose.",
            ),
            Choice("Five rates are too few", "More rates would make it worse: more draws, a luckier best one."),
        ),
        right=1,
    ),
    Question(
        "Trainer, a bare loop and Accelerate are given the same model, order and seed. What differs in the weights?",
        (
            Choice("At most rounding", "They call the same forward, backward and optimiser; we asserted it."),
            Choice("Trainer's are better", "It has no secret: its extras are logging, saving and defaults."),
            Choice("Accelerate's are averaged", "With one process there is nothing to average."),
        ),
        right=0,
    ),
    Question(
        "Training loss falls, validation loss rises, validation accuracy stays. What is going on?",
        (
            Choice(
                "The rate is too low", "Then the training loss would fall slowly; it says nothing about validation."
            ),
            Choice("A bug: accuracy and loss must agree", "Accuracy sees the side of 0.5, loss how far from it."),
            Choice(
                "The model grows surer, also where it is wrong",
                "Few errors, each more expensive: the over-confidence of notebook 13, and a reason to stop earlier.",
            ),
        ),
        right=2,
    ),
    Question(
        "Two models differ by 1 point of accuracy on 600 snippets. One of them was trained once. What can you say?",
        (
            Choice(
                "The better one is better", "Six snippets more; the 95 % interval of one accuracy is ±3 points wide."
            ),
            Choice(
                "Not much: the interval and the seeds each move it as far",
                "Compare on the same snippets, in pairs, over several seeds, and report the interval.",
            ),
            Choice("They are equal", "Absence of proof: more snippets might show a difference."),
        ),
        right=1,
    ),
    Question(
        "Why does the new head get a higher learning rate than the body?",
        (
            Choice(
                "It starts from random numbers, the body from good ones",
                "The head has far to go. The body is to be adjusted, and a high rate would destroy what it knows.",
            ),
            Choice("It has more parameters", "It has 770, the body more than 22 million."),
            Choice("It is computed last", "The order of computation sets no rate; backward starts at the head."),
        ),
        right=0,
    ),
)
