"""Tools of the judges: call the learner's function safely, read its result, compare it, reject with a reason."""

import numbers
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from .engine import Rejected
from .sandbox import Forbidden, Stopped, describe

TOLERANCE = 1e-4


def reject_if(wrong: bool, message: str, misconception: str | None = None) -> None:
    """Raise `Rejected` where `wrong`."""
    if wrong:
        raise Rejected(message, misconception)


def function(answer: Any, name: str) -> Callable:
    """The answer as something to call."""
    if isinstance(answer, type):
        raise Rejected(f"`{name}` is a class; a function is asked for", "wrong-type")
    if not callable(answer):
        raise Rejected(
            f"a function is asked for and this is a value of type {type(answer).__name__}: "
            f"pass `{name}` itself, without calling it",
            "wrong-type",
        )
    return answer


def call(answer: Callable, *inputs: Any, **keywords: Any) -> Any:
    """Call the answer on copies of these inputs; reject exceptions, None, and inputs changed in place."""
    given = [_copy(value) for value in inputs]
    given_keywords = {key: _copy(value) for key, value in keywords.items()}
    try:
        result = answer(*given, **given_keywords)
    except Forbidden as error:
        raise Rejected(str(error), "forbidden") from error
    except NotImplementedError as error:
        raise Rejected("it raises NotImplementedError: there is a part still to be written", "not-finished") from error
    except (Stopped, Rejected):
        raise
    except BaseException as error:
        raise Rejected(f"your code raised {describe(error)}", "exception") from error
    for position, (before, after) in enumerate(zip(inputs, given, strict=True)):
        if isinstance(before, Tensor) and not _same(before, after):
            raise Rejected(
                f"input {position + 1} was changed in place: work on a copy, because the caller still needs it",
                "in-place",
            )
    if result is None:
        raise Rejected("it returned None: is there a `return`?", "no-return")
    return result


def tensor(value: Any, shape: Sequence[int] | None = None, what: str = "your result") -> Tensor:
    """A number, list, array or tensor as float64 (bool stays bool); reject what is none of these or misshapen."""
    if isinstance(value, Tensor):
        found = value.detach()
    else:
        try:
            array = np.asarray(value)
            found = torch.from_numpy(np.array(array, dtype=bool if array.dtype == bool else np.float64))
        except (TypeError, ValueError) as error:
            raise Rejected(
                f"{what} should be a tensor of numbers and is of type {type(value).__name__}", "wrong-type"
            ) from error
    if found.is_complex():
        raise Rejected(f"{what} has complex numbers", "wrong-type")
    if shape is not None and tuple(found.shape) != tuple(shape):
        raise Rejected(f"{what} has shape {tuple(found.shape)} instead of {tuple(shape)}", "shape")
    return found if found.dtype == torch.bool else found.double()


def number(value: Any, what: str = "your answer") -> float:
    """One number, whatever it is written in (int, float, Fraction, a tensor with one element)."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real | Tensor | np.generic | np.ndarray):
        raise Rejected(f"{what} should be a number and is of type {type(value).__name__}", "wrong-type")
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise Rejected(f"{what} should be one number", "wrong-type") from error


class Mistake(NamedTuple):
    """The value that a known misconception leads to, its name, and what to say to someone who holds it."""

    value: Tensor
    name: str
    message: str


def compare(found: Tensor, right: Tensor, mistakes: Sequence[Mistake], otherwise: str) -> None:
    """Accept what equals `right`; else reject with the message of the mistake it equals, or with `otherwise`."""
    if close(found, right):
        return
    for mistake in mistakes:
        reject_if(close(found, mistake.value), mistake.message, mistake.name)
    raise Rejected(otherwise, "value")


def close(one: Tensor, other: Tensor, tolerance: float = TOLERANCE) -> bool:
    """Same shape and equal up to `tolerance`, absolutely and relative to `other`; NaN equals nothing."""
    return one.shape == other.shape and torch.allclose(one.double(), other.double(), rtol=tolerance, atol=tolerance)


def random_tensor(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Standard normal numbers from a generator of their own."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def _copy(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _same(before: Tensor, after: Tensor) -> bool:
    if before.shape != after.shape or before.dtype != after.dtype:
        return False
    if before.is_floating_point():  # NaN in an input must compare equal to itself
        return torch.equal(before.isnan(), after.isnan()) and torch.equal(before.nan_to_num(), after.nan_to_num())
    return torch.equal(before, after)
