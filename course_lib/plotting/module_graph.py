"""What a module does, read off one run of it: which parts it calls, in which order, and from where each gets its input.

Nothing here knows a class of the course: hooks see the calls of submodules, and a `TorchFunctionMode` sees the
additions and products between them, so that a residual connection is found where the forward pass makes one.
"""

import inspect
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_SUMS = {torch.add, Tensor.add, Tensor.__add__, Tensor.__radd__, Tensor.add_, Tensor.__iadd__}
_PRODUCTS = {torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, Tensor.mul_, Tensor.__imul__}
_LIKE = {Tensor.to, Tensor.type_as, Tensor.expand_as, Tensor.view_as, Tensor.reshape_as}  # the second is a pattern
_TRANSPARENT = (nn.Dropout, nn.Identity)  # what goes in comes out, as far as a diagram is concerned

Source = int | str  # the index of a part of the same module, or the name of an input of that module
CONSTANT = "constant"  # the source of a tensor that comes from no part and no input, such as a table of sines


@dataclass(frozen=True)
class Part:
    """One box of a diagram: a call of a submodule, or a sum or product of two tensors.

    `sources` pairs the name of an argument with where it comes from. `parameters` counts those of this part that no
    earlier part has; `repeats` parts like it follow each other, and the count is of one. `own` are the parameters
    that belong to none of `parts`.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    sources: tuple[tuple[str, Source], ...]
    parameters: int = 0
    own: int = 0
    is_shared: bool = False  # has parameters, and all of them were counted before
    repeats: int = 1
    parts: tuple["Part", ...] = ()
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)  # of the module: name to shape

    @property
    def total(self) -> int:
        """Parameters of all repetitions."""
        return self.repeats * self.parameters


def module_graph(module: nn.Module, *inputs: Any, depth: int, **keywords: Any) -> Part:
    """Run `module` once, without gradients and without dropout, and return its parts, opened `depth` levels deep.

    Raises ValueError for a depth below 1 or inputs that hold no tensor.
    """
    if depth < 1:
        raise ValueError(f"depth={depth} opens nothing: pass 1 or more")
    if not list(_tensors((inputs, keywords))):
        raise ValueError(f"{type(module).__name__} is drawn from a run: pass the inputs of one, for example a batch")
    trace = _Trace(module)
    modes = [(one, one.training) for one in module.modules()]
    module.eval()
    try:
        with ExitStack() as stack:
            for one in module.modules():
                stack.callback(one.register_forward_pre_hook(trace.enter, with_kwargs=True).remove)
                stack.callback(one.register_forward_hook(trace.leave, with_kwargs=True).remove)
            stack.enter_context(torch.no_grad())
            stack.enter_context(trace)
            module(*inputs, **keywords)
    finally:
        for one, was_training in modes:
            one.training = was_training
    return _fold(_counted(trace.root, depth, set()))


# --- the run ---------------------------------------------------------------------------------------------------


@dataclass
class _Call:
    """A call of a module: its parts so far, and where each tensor that it has met comes from."""

    module: nn.Module
    path: str
    name: str = ""
    sources: tuple[tuple[str, Source], ...] = ()
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    parts: list["_Call | Part"] = field(default_factory=list)
    origins: dict[int, tuple[Source, ...]] = field(default_factory=dict)  # id of a tensor to its sources


class _Trace(TorchFunctionMode):
    def __init__(self, module: nn.Module):
        super().__init__()
        self.paths = {one: path for path, one in module.named_modules()}
        self.calls: list[_Call] = []  # those that are under way
        self.kept: list[Tensor] = []  # an id means something only as long as its tensor lives
        self.root = _Call(module, "", type(module).__name__)

    def enter(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        given = inspect.signature(module.forward).bind(*args, **kwargs).arguments
        given = {name: list(_tensors(value)) for name, value in given.items()}
        if self.calls:
            outer, path = self.calls[-1], self.paths[module]
            name = path.removeprefix(f"{outer.path}.") if outer.path else path
            call = _Call(module, path, name, _arrows(given, outer.origins))
        else:
            call = self.root
        for name, tensors in given.items():
            for tensor in tensors:
                self._remember(call, tensor, call.origins.get(id(tensor), (name,)))
                call.inputs[name] = tuple(tensor.shape)
        self.calls.append(call)

    def leave(self, module: nn.Module, args: tuple, kwargs: dict, output: Any) -> None:
        call = self.calls.pop()
        outputs = list(_tensors(output))
        call.shape = tuple(outputs[0].shape) if outputs else ()
        if not self.calls:
            return
        outer = self.calls[-1]
        origins = tuple(source for _, source in call.sources)
        if not isinstance(module, _TRANSPARENT):
            origins = (len(outer.parts),)
            outer.parts.append(call)
        for tensor in outputs:
            self._remember(outer, tensor, origins)

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        outputs = list(_tensors(result))
        if self.calls and outputs:
            call, operands = self.calls[-1], list(_tensors((args, kwargs)))
            operands = operands[:1] if func in _LIKE else operands
            origins = tuple(dict.fromkeys(source for one in operands for source in call.origins.get(id(one), ())))
            sign = _sign(func, operands, outputs[0], call.origins)
            if sign:
                sources = origins if all(id(one) in call.origins for one in operands) else (*origins, CONSTANT)
                call.parts.append(Part("", sign, tuple(outputs[0].shape), tuple(("", source) for source in sources)))
                origins = (len(call.parts) - 1,)
            for tensor in outputs:
                self._remember(call, tensor, origins)
        return result

    def _remember(self, call: _Call, tensor: Tensor, origins: tuple[Source, ...]) -> None:
        self.kept.append(tensor)
        if origins:
            call.origins[id(tensor)] = origins


def _sign(func: Any, operands: list[Tensor], result: Tensor, origins: dict[int, tuple[Source, ...]]) -> str:
    """ "+" for a sum of two tensors of which at least one is known, "×" for a product of two different known ones."""
    if len(operands) != 2 or not result.is_floating_point() or any(isinstance(one, nn.Parameter) for one in operands):
        return ""
    known = [origins[id(one)] for one in operands if id(one) in origins]
    if func in _SUMS and known:
        return "+"
    return "×" if func in _PRODUCTS and len(known) == 2 and known[0] != known[1] else ""


def _arrows(given: dict[str, list[Tensor]], origins: dict[int, tuple[Source, ...]]) -> tuple[tuple[str, Source], ...]:
    """Where the arguments of a call come from. Masks say where to look and are no data; ids are, at the bottom."""
    data = [(name, one) for name, tensors in given.items() for one in tensors if one.dtype != torch.bool]
    if any(one.is_floating_point() for _, one in data):
        data = [(name, one) for name, one in data if one.is_floating_point()]
    arrows: dict[Source, str] = {}
    for name, one in data:
        for source in origins.get(id(one), ()):
            arrows.setdefault(source, name)
    return tuple((name, source) for source, name in arrows.items())


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(tuple(value.values()))
    elif isinstance(value, tuple | list):
        for one in value:
            yield from _tensors(one)


# --- what is counted, and what is drawn once --------------------------------------------------------------------


def _counted(call: _Call, depth: int, seen: set[int]) -> Part:
    """The part that a call becomes, opened if it calls others; `seen` are ids of parameters counted before."""
    is_open = depth > 0 and any(isinstance(part, _Call) for part in call.parts)
    parts = ()
    if is_open:
        parts = tuple(_counted(part, depth - 1, seen) if isinstance(part, _Call) else part for part in call.parts)
    new = {id(one): one.numel() for one in call.module.parameters() if id(one) not in seen}
    seen.update(new)
    parameters = sum(new.values()) + sum(part.parameters for part in parts)
    return Part(
        call.name,
        type(call.module).__name__,
        call.shape,
        call.sources,
        parameters,
        own=sum(new.values()) if is_open else 0,
        is_shared=parameters == 0 and next(call.module.parameters(), None) is not None,
        parts=parts,
        inputs=call.inputs,
    )


def _fold(part: Part) -> Part:
    """`part`, inside which equal parts that follow each other are one, repeated."""
    parts = [_fold(one) for one in part.parts]
    runs: list[list[int]] = []
    for i in range(len(parts)):
        if runs and _continues(parts, runs[-1][-1], i):
            runs[-1].append(i)
        else:
            runs.append([i])
    place = {i: new for new, run in enumerate(runs) for i in run}
    folded = []
    for run in runs:
        first, last = parts[run[0]], parts[run[-1]]
        sources = tuple((name, place.get(source, source)) for name, source in first.sources)
        name = first.name
        if len(run) > 1:
            name += "–" + re.search(r"\d+$", last.name)[0]
        folded.append(replace(first, name=name, sources=sources, repeats=len(run)))
    return replace(part, parts=tuple(folded))


def _continues(parts: list[Part], before: int, i: int) -> bool:
    """Whether part `i` is another one like the part `before` it, reads its output, and is all that does so."""
    a, b = parts[before], parts[i]
    numbered = [re.fullmatch(r"(.*?)\d+", one.name) for one in (a, b)]
    if not all(numbered) or numbered[0][1] != numbered[1][1]:
        return False
    if not b.sources or b.sources[0][1] != before or b.sources[1:] != a.sources[1:]:
        return False
    readers = [j for j, one in enumerate(parts) if before in [source for _, source in one.sources]]
    return readers == [i] and replace(a, name="", sources=()) == replace(b, name="", sources=())
