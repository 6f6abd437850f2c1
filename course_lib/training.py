"""Training: losses, learning-rate schedules, optimiser groups, and the one loop the notebooks share.

Steps are counted from 1, as in the papers: a schedule is a function of the number of the update.
"""

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm.auto import tqdm

from course_lib import checkpoints

Schedule = Callable[[int], float]
Batches = Iterable[Any] | Callable[[int], Iterable[Any]]


def cross_entropy(logits: Tensor, labels: Tensor, ignore: int = -100, label_smoothing: float = 0.0) -> Tensor:
    """Mean negative log-likelihood of the labels that are not `ignore`.

    With label smoothing ε the target is the distribution (1 - ε) · one-hot + ε / vocab_size, spread over
    the whole vocabulary, the right token included (Szegedy et al. 2016; Vaswani et al. 2017, section 5.4).

    Args:
        logits: `[..., vocab_size]`.
        labels: `[...]`, ids of the right tokens.

    Raises:
        ValueError: shapes that do not match, ε outside [0, 1], a label outside the vocabulary, or nothing
            but ignored labels.
        TypeError: labels that are not integers.
    """
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise TypeError(f"labels must be integers, the ids of the right tokens, not {labels.dtype}")
    if logits.shape[:-1] != labels.shape:
        raise ValueError(f"logits {list(logits.shape)} do not match labels {list(labels.shape)}")
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"label_smoothing={label_smoothing} must be in [0, 1]")
    counted = labels != ignore
    if not counted.any():
        raise ValueError(f"every label is {ignore}, which is ignored: the mean of nothing is no loss")
    vocab_size = logits.shape[-1]
    for extreme in (int(labels[counted].min()), int(labels[counted].max())):
        if not 0 <= extreme < vocab_size:
            raise ValueError(
                f"label {extreme} is outside the vocabulary of {vocab_size} (0 to {vocab_size - 1}); "
                f"positions to skip are labelled {ignore}"
            )
    if counted.all():
        logits, labels = logits.reshape(-1, vocab_size), labels.reshape(-1)  # the same rows, not copied
    else:
        logits, labels = logits[counted], labels[counted]
    log_probs = logits.log_softmax(dim=-1)  # [counted, vocab_size]
    loss = -(1 - label_smoothing) * log_probs.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
    if label_smoothing:
        loss = loss - label_smoothing * log_probs.mean(dim=-1)
    return loss.mean()


def _require_steps(**values: int) -> None:
    for name, value in values.items():
        if value < 1 or value != int(value):
            raise ValueError(f"{name}={value} must be a whole number, at least 1")


def _linear_warmup(step: int, warmup_steps: int) -> float:
    return min(1.0, step / warmup_steps) if warmup_steps else 1.0


def warmup_schedule(d_model: int, warmup_steps: int) -> Schedule:
    """d_model^-0.5 · min(step^-0.5, step · warmup_steps^-1.5): equation 3 of Vaswani et al. (2017).

    It is a learning rate, not a factor: give the optimiser the rate 1.
    """
    _require_steps(d_model=d_model, warmup_steps=warmup_steps)

    def rate(step: int) -> float:
        _require_steps(step=step)
        return d_model**-0.5 * min(step**-0.5, step * warmup_steps**-1.5)

    return rate


def linear_schedule(total_steps: int, warmup_steps: int = 0) -> Schedule:
    """Rise linearly to 1 at `warmup_steps`, fall linearly to 0 at `total_steps`."""
    _require_decay(total_steps, warmup_steps)
    decay = total_steps - warmup_steps
    return lambda step: min(_linear_warmup(step, warmup_steps), max(0.0, (total_steps - step) / decay))


def cosine_schedule(total_steps: int, warmup_steps: int = 0) -> Schedule:
    """Rise linearly to 1 at `warmup_steps`, fall along half a cosine to 0 at `total_steps`."""
    _require_decay(total_steps, warmup_steps)
    decay = total_steps - warmup_steps

    def factor(step: int) -> float:
        if step < warmup_steps:
            return _linear_warmup(step, warmup_steps)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup_steps) / decay)))

    return factor


def one_cycle_schedule(
    total_steps: int, rise: float = 0.3, start: float = 1 / 25, end: float = 1 / 250_000
) -> Schedule:
    """From `start` up to 1 over the share `rise` of the steps, then down to `end`, both along half cosines.

    Smith and Topin (2019); the first update has the factor `start`, the last one `end`.
    """
    _require_steps(total_steps=total_steps)
    if not 0 < rise < 1:
        raise ValueError(f"rise={rise} must be between 0 and 1: it is the share of steps before the peak")
    peak = rise * total_steps - 1
    last = total_steps - 1

    def between(first: float, second: float, share: float) -> float:
        return second + (first - second) * (1 + math.cos(math.pi * share)) / 2

    def factor(step: int) -> float:
        done = min(step, total_steps) - 1
        if done <= peak:
            return between(start, 1.0, done / peak if peak else 1.0)
        return between(1.0, end, (done - peak) / (last - peak))

    return factor


def _require_decay(total_steps: int, warmup_steps: int) -> None:
    _require_steps(total_steps=total_steps)
    if not 0 <= warmup_steps < total_steps:
        raise ValueError(f"warmup_steps={warmup_steps} must be at least 0 and less than total_steps={total_steps}")


def parameter_groups(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float = 0.0,
    *,
    layer_of: Callable[[str], int] | None = None,
    layer_decay: float = 1.0,
) -> list[dict[str, Any]]:
    """Groups for an optimiser: biases and normalisations are not decayed, lower layers may learn more slowly.

    A parameter with fewer than two axes is a bias or a normalisation. With `layer_of`, which gives the
    layer of a parameter's name counted from below, the rate is
    learning_rate · layer_decay^(top layer - layer) (Howard and Ruder 2018). Frozen parameters are left out.

    Raises:
        ValueError: no parameter to train, or `layer_decay` without `layer_of`.
    """
    if layer_decay != 1 and layer_of is None:
        raise ValueError(f"layer_decay={layer_decay} needs layer_of, which tells the layer of a parameter's name")
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if not trained:
        raise ValueError("the model has no parameter to train: every requires_grad is False")
    layers = {name: layer_of(name) if layer_of else 0 for name, _ in trained}
    top = max(layers.values())
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in trained:
        groups.setdefault((layers[name], parameter.dim() >= 2), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": learning_rate * layer_decay ** (top - layer),
            "weight_decay": weight_decay if is_decayed else 0.0,
        }
        for (layer, is_decayed), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


@dataclass
class History:
    """What happened, one entry an update: loss, learning rate of the first group, gradient norm before clipping.

    `evaluations` holds (step, result) for each call of `evaluate`.
    """

    losses: list[float] = field(default_factory=list)
    learning_rates: list[float] = field(default_factory=list)
    gradient_norms: list[float] = field(default_factory=list)
    evaluations: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    @property
    def steps(self) -> int:
        """Updates done."""
        return len(self.losses)

    def smoothed(self, window: int = 20) -> list[float]:
        """Mean loss of the last `window` updates, for each update."""
        _require_steps(window=window)
        sums = [0.0]
        for loss in self.losses:
            sums.append(sums[-1] + loss)
        return [(sums[i] - sums[max(0, i - window)]) / min(i, window) for i in range(1, len(sums))]


def fit(
    model: nn.Module,
    batches: Batches,
    loss_fn: Callable[[nn.Module, Any], Tensor],
    optimiser: torch.optim.Optimizer,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    schedule: Schedule | None = None,
    clip: float | None = 1.0,
    seed: int = 0,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    evaluate_every: int | None = None,
    checkpoint_path: str | os.PathLike | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> History:
    """Train `model` and return what happened.

    Each update takes one batch, computes the scalar `loss_fn(model, batch)`, clips the norm of the
    gradient, multiplies the optimiser's learning rates by `schedule(step)` and steps it. The model trains
    in training mode and is left in evaluation mode. Chance (dropout) follows `seed`; the global random
    state and the optimiser's learning rates are left as they were found.

    Args:
        batches: an iterable of batches that can be gone through again (a list, a DataLoader), or a function
            from the number of an epoch, from 0, to its batches. What is resumed must give the same batches again.
        steps, epochs: how long to train, counted from the very start; exactly one of them.
        clip: largest norm of the gradient; None leaves it as it is.
        evaluate: called every `evaluate_every` updates and at the end, in evaluation mode, without gradients
            and without touching chance.
        checkpoint_path: a safetensors file, written every `checkpoint_every` updates and at the end, as a
            whole or not at all.
        resume: go on from that file; on the CPU the losses are those of an uninterrupted run.
        progress: show a bar; None shows it on a terminal only, so that none is stored in a notebook.

    Raises:
        FloatingPointError: the loss or the gradient is NaN or infinite; the message names the step.
        ValueError: arguments that contradict each other, no batches, a loss that is not one number or does not
            depend on a parameter, a negative or NaN factor of the schedule, or a checkpoint of another run.
        TypeError: a loss that is no tensor.
        FileNotFoundError: `resume` without a checkpoint.
    """
    _check_duration(steps, epochs)
    _check_extras(clip, evaluate, evaluate_every, checkpoint_path, checkpoint_every, resume)
    run = _Run(model, optimiser, schedule, clip, seed)
    with torch.random.fork_rng(devices=[]), run.borrowed_rates():
        torch.manual_seed(seed)
        epoch, done = run.load(Path(checkpoint_path)) if resume else (0, 0)
        # Batches that were trained on are skipped before the state is restored: making them may use chance.
        chance = torch.get_rng_state()
        stream = _stream(batches, epoch, epochs)
        for _ in range(done):
            next(stream, None)
        torch.set_rng_state(chance)
        model.train()
        remaining = None if steps is None else max(0, steps - run.history.steps)
        hidden = None if progress is None else not progress
        saved_at = evaluated_at = run.history.steps
        position = (epoch, done)
        for position, batch in tqdm(islice(stream, remaining), total=remaining, disable=hidden, leave=False):
            run.update(loss_fn, batch)
            step = run.history.steps
            if evaluate and evaluate_every and step % evaluate_every == 0:
                run.evaluate(evaluate)
                evaluated_at = step
            if checkpoint_every and step % checkpoint_every == 0:
                run.save(Path(checkpoint_path), position)
                saved_at = step
        if evaluate and evaluated_at < run.history.steps:
            run.evaluate(evaluate)
            saved_at = -1  # the checkpoint is to hold this evaluation too
        if checkpoint_path and saved_at < run.history.steps:
            run.save(Path(checkpoint_path), position)
        model.eval()
    return run.history


def _check_duration(steps: int | None, epochs: int | None) -> None:
    if (steps is None) == (epochs is None):
        raise ValueError(f"steps={steps} and epochs={epochs}: give exactly one of them")
    _require_steps(**({"epochs": epochs} if steps is None else {"steps": steps}))


def _check_extras(
    clip: float | None,
    evaluate: Callable | None,
    evaluate_every: int | None,
    checkpoint_path: str | os.PathLike | None,
    checkpoint_every: int | None,
    resume: bool,
) -> None:
    if clip is not None and not clip > 0:
        raise ValueError(f"clip={clip} must be positive; None switches clipping off")
    if evaluate_every is not None:
        _require_steps(evaluate_every=evaluate_every)
        if evaluate is None:
            raise ValueError(f"evaluate_every={evaluate_every} needs evaluate")
    if checkpoint_every is not None:
        _require_steps(checkpoint_every=checkpoint_every)
    if checkpoint_path is None and (checkpoint_every or resume):
        raise ValueError(f"checkpoint_every={checkpoint_every} and resume={resume} need a checkpoint_path")


def _check_loss(loss: Tensor) -> None:
    if not isinstance(loss, Tensor):
        raise TypeError(f"loss_fn gave {type(loss).__name__}: return the tensor that the model's outputs lead to")
    if loss.dim() != 0:
        raise ValueError(f"loss_fn gave a tensor of shape {list(loss.shape)}: return one number, a mean")
    if not loss.requires_grad:
        raise ValueError("loss_fn gave a loss without a gradient: is it detached, under no_grad, or all frozen?")


def _stream(batches: Batches, first_epoch: int, epochs: int | None) -> Iterator[tuple[tuple[int, int], Any]]:
    """Batches of epoch after epoch, each with its position: (epoch, batches done in it)."""
    if isinstance(batches, Iterator):
        raise ValueError("batches is an iterator, empty after one epoch: pass a list or a function of the epoch")
    for epoch in count(first_epoch) if epochs is None else range(first_epoch, epochs):
        number = 0
        for number, batch in enumerate(batches(epoch) if callable(batches) else batches, start=1):
            yield (epoch, number), batch
        if number == 0:
            raise ValueError(f"epoch {epoch} has no batches")


class _Run:
    """What one call of `fit` carries from update to update, and its checkpoint."""

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        schedule: Schedule | None,
        clip: float | None,
        seed: int,
    ):
        self.model = model
        self.optimiser = optimiser
        self.schedule = schedule
        self.clip = math.inf if clip is None else clip
        self.seed = seed
        self.history = History()
        self.rates = [group["lr"] for group in optimiser.param_groups]

    @contextmanager
    def borrowed_rates(self) -> Iterator[None]:
        """Give the optimiser its own learning rates back at the end."""
        try:
            yield
        finally:
            for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
                group["lr"] = rate

    def update(self, loss_fn: Callable[[nn.Module, Any], Tensor], batch: Any) -> None:
        """One batch, one step of the optimiser, one entry in the history."""
        step = self.history.steps + 1
        factor = self.schedule(step) if self.schedule else 1.0
        if not 0 <= factor < math.inf:
            raise ValueError(f"schedule({step}) is {factor}: a learning rate is multiplied by a number, 0 or more")
        for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        self.optimiser.zero_grad()
        loss = loss_fn(self.model, batch)
        _check_loss(loss)
        self._require_finite("loss", loss, step)
        loss.backward()
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        norm = nn.utils.clip_grad_norm_(parameters, self.clip)
        self._require_finite("norm of the gradient", norm, step)
        self.optimiser.step()
        self.history.losses.append(loss.item())
        self.history.learning_rates.append(self.optimiser.param_groups[0]["lr"])
        self.history.gradient_norms.append(norm.item())

    def _require_finite(self, what: str, value: Tensor, step: int) -> None:
        if not torch.isfinite(value):
            rate = self.optimiser.param_groups[0]["lr"]
            raise FloatingPointError(
                f"the {what} is {value.item()} at step {step} (learning rate {rate:.3g}): lower the learning rate, "
                "or look in this batch for a division by zero, log(0) or a row that may attend to nothing"
            )

    def evaluate(self, evaluate: Callable[[nn.Module], dict[str, float]]) -> None:
        """Add an evaluation to the history, leaving mode and chance as they were."""
        self.model.eval()
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            self.history.evaluations.append((self.history.steps, evaluate(self.model)))
        self.model.train()

    def _settings(self) -> dict[str, Any]:
        """What a resumed run must share with the first."""
        groups = [
            {name: value for name, value in group.items() if name not in ("params", "lr")} | {"lr": rate}
            for group, rate in zip(self.optimiser.param_groups, self.rates, strict=True)
        ]
        settings = {"seed": self.seed, "optimiser": type(self.optimiser).__name__, "groups": groups}
        return json.loads(json.dumps(settings))  # tuples as lists, as they come back from a file

    def save(self, path: Path, position: tuple[int, int]) -> None:
        """Write weights, optimiser, random state and history into one safetensors file."""
        tensors = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        numbers = {}
        for index, state in self.optimiser.state_dict()["state"].items():
            for name, value in state.items():
                if isinstance(value, Tensor):
                    tensors[f"optimiser.{index}.{name}"] = value
                else:
                    numbers[f"{index}.{name}"] = value
        for name in _CURVES:
            tensors[f"history.{name}"] = torch.tensor(getattr(self.history, name), dtype=torch.float64)
        tensors["chance"] = torch.get_rng_state()
        record = {
            "settings": self._settings(),
            "position": position,
            "numbers": numbers,
            "evaluations": self.history.evaluations,
        }
        # Cloned, because tied weights share memory and some are stored transposed, which the format does not allow.
        tensors = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
        }
        with checkpoints.replacing(path) as file:
            save_file(tensors, file, metadata={"record": json.dumps(record)})

    def load(self, path: Path) -> tuple[int, int]:
        """Restore what `save` wrote and return the position in the batches."""
        if not path.is_file():
            raise FileNotFoundError(f"there is no checkpoint {path.name} to resume from: train with resume=False first")
        try:
            with safe_open(path, framework="pt") as file:
                record = json.loads((file.metadata() or {}).get("record", "null"))
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118, not a mapping
        except SafetensorError as error:
            raise checkpoints.damaged(path, error) from error
        if record is None:
            raise ValueError(f"{path.name} was not written by fit: it holds no record of a run")
        here = self._settings()
        for name, value in record["settings"].items():
            if here[name] != value:
                raise ValueError(f"the checkpoint was written with {name}={value}, this run has {name}={here[name]}")
        self.model.load_state_dict(_below("model.", tensors))
        states: dict[int, dict[str, Any]] = {}
        for key, value in (_below("optimiser.", tensors) | record["numbers"]).items():
            index, name = key.split(".", 1)
            states.setdefault(int(index), {})[name] = value
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": states, "param_groups": groups})
        curves = {name: tensor.tolist() for name, tensor in _below("history.", tensors).items()}
        evaluations = [(step, result) for step, result in record["evaluations"]]
        self.history = History(**curves, evaluations=evaluations)
        torch.set_rng_state(tensors["chance"])
        epoch, done = record["position"]
        return epoch, done


_CURVES = ("losses", "learning_rates", "gradient_norms")


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
