"""Low-rank adapters (Hu et al. 2021): fine-tune a few small matrices, leave the model as it is.

`attach` puts a `LoraLinear` around chosen linear maps, `merge` adds what was learnt into their weights, `save` and
`load` use the files of the library peft. Models of transformers and of this course are treated alike.
"""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import checkpoints
from course_lib.checkpoints import CheckpointError
from course_lib.layers import require_positive

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
HEADS = ("classifier", "score", "qa_outputs", "span_head")  # drawn anew for a task: trained whole and saved whole

_PREFIX = "base_model.model."
_TASKS = {
    "SequenceClassification": "SEQ_CLS",
    "TokenClassification": "TOKEN_CLS",
    "QuestionAnswering": "QUESTION_ANS",
    "CausalLM": "CAUSAL_LM",
}
# Settings of peft that change what an adapter computes, and the only values this module knows.
_PLAIN = {
    "peft_type": ("LORA",),
    "bias": ("none",),
    "fan_in_fan_out": (False,),
    "lora_bias": (False,),
    "use_dora": (False,),
    "use_rslora": (False,),
    "rank_pattern": ({}, None),
    "alpha_pattern": ({}, None),
    "layers_to_transform": (None,),
    "target_parameters": (None,),
    "exclude_modules": (None,),
}


class LoraLinear(nn.Module):
    """A linear map W x + b that is left alone, beside it the product of two thin matrices that is learnt:

        W x + b + (alpha / rank) · B A x

    A is `[rank, in_features]`, drawn as the weights of a linear map are; B is `[out_features, rank]` and starts at 0,
    so that at the start nothing has changed. `base` is not copied; its parameters are frozen.
    """

    def __init__(
        self,
        base: nn.Linear,
        rank: int,
        alpha: float,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        _check_settings(rank, alpha, dropout)
        self.base = base.requires_grad_(False)
        self.in_features, self.out_features = base.in_features, base.out_features
        self.rank, self.alpha = rank, alpha
        like = {"dtype": base.weight.dtype, "device": base.weight.device}
        self.A = nn.Parameter(torch.empty(rank, base.in_features, **like))
        self.B = nn.Parameter(torch.zeros(base.out_features, rank, **like))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5), generator=generator)
        self.dropout = nn.Dropout(dropout)  # on what the adapter reads, while it trains
        self.merged = False

    @property
    def scale(self) -> float:
        """alpha / rank: with it, the learning rate that suits one rank suits another."""
        return self.alpha / self.rank

    @property
    def update(self) -> Tensor:
        """What the adapter adds to the weight, `[out_features, in_features]`, of rank at most `rank`."""
        return self.scale * self.B @ self.A

    def forward(self, x: Tensor) -> Tensor:
        """`[..., in_features]` to `[..., out_features]`. Raises RuntimeError for a training step while merged."""
        if self.merged:
            if self.training and torch.is_grad_enabled():
                raise RuntimeError("the adapter is merged, its matrices would get no gradient: unmerge(model) first")
            return self.base(x)
        read = self.dropout(x) if self.dropout.p else x  # a dropout of 0 would still make a copy
        return self.base(x) + F.linear(self.scale * F.linear(read, self.A), self.B)

    @torch.no_grad()
    def merge(self) -> None:
        """Add the update to the weight; once merged, do nothing."""
        if not self.merged:
            self.base.weight += self.update
            self.merged = True

    @torch.no_grad()
    def unmerge(self) -> None:
        """Take the update out of the weight again, exact up to rounding."""
        if self.merged:
            self.base.weight -= self.update
            self.merged = False

    def extra_repr(self) -> str:
        return f"rank={self.rank}, alpha={self.alpha}"


class Count(NamedTuple):
    """Numbers of parameters: those with a gradient, and all of them."""

    trainable: int
    total: int

    @property
    def share(self) -> float:
        """Trainable parameters over all."""
        return self.trainable / self.total


def attach(
    model: nn.Module,
    targets: str | Sequence[str],
    rank: int,
    alpha: float | None = None,
    *,
    dropout: float = 0.0,
    heads: Sequence[str] | None = None,
    generator: torch.Generator | None = None,
) -> list[str]:
    """Give linear maps of `model` an adapter each, in place, and freeze the rest; returns the names of these maps.

    Args:
        targets: as peft reads them: a list of names or ends of names (`["query", "value"]`), or one string that is a
            regular expression for whole names.
        rank: columns of B and rows of A.
        alpha: the update is multiplied by alpha / rank; None means alpha = rank, a factor of 1.
        dropout: probability on the input of each adapter.
        heads: modules that stay trainable and are saved whole; None means those of `HEADS` that the model has.
        generator: draws A; None uses torch's global one.

    Raises:
        ValueError: a target or head that the model does not have (the message names the nearest that it has), a
            target that is no `nn.Linear`, a rank below 1, a model that has adapters already, or a map that is both
            a target and a head. The model is then left as it was.
    """
    alpha = rank if alpha is None else alpha
    _check_settings(rank, alpha, dropout)
    if adapters(model):
        raise ValueError(f"{type(model).__name__} has adapters already: remove(model) takes them away")
    modules = dict(model.named_modules())
    names = _matching(modules, targets, {name: name for name in modules})
    _install(model, names, _heads(modules, heads), rank, alpha, dropout, generator)
    return names


def adapters(model: nn.Module) -> dict[str, LoraLinear]:
    """The adapters of a model, by the name of the linear map that each is around."""
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}


def merge(model: nn.Module) -> None:
    """Add every adapter's update to its weight: the same outputs, at the cost of the model without adapters.

    Raises ValueError for a model without adapters.
    """
    for adapter in _required(model).values():
        adapter.merge()


def unmerge(model: nn.Module) -> None:
    """Undo `merge`, to train on or to use the weights with another adapter."""
    for adapter in _required(model).values():
        adapter.unmerge()


def remove(model: nn.Module) -> None:
    """Put the plain linear maps back: with the update after `merge`, else as they were before `attach`.

    Everything stays frozen but the heads; `model.requires_grad_(True)` thaws it.
    """
    for name, adapter in _required(model).items():
        _put(model, name, adapter.base)
    del model.lora_heads


def trainable_parameters(model: nn.Module) -> Count:
    """How many parameters get a gradient, and how many there are."""
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    return Count(sum(size for size, trained in sizes if trained), sum(size for size, _ in sizes))


def save(model: nn.Module, directory: str | Path) -> None:
    """Write adapters and heads as peft does: `adapter_config.json` and `adapter_model.safetensors`.

    `peft.PeftModel.from_pretrained(base, directory)` reads them. A model of `course_lib.bert` is written under the
    published names, so that its adapter fits the same weights in transformers. Each file appears whole or not at
    all. Raises ValueError for a model without adapters.
    """
    found = _required(model)
    published = _published_names(model)
    config = {
        **{name: values[0] for name, values in _PLAIN.items()},
        "r": next(iter(found.values())).rank,
        "lora_alpha": next(iter(found.values())).alpha,
        "lora_dropout": next(iter(found.values())).dropout.p,
        "target_modules": sorted(_module_name(published, name) for name in found),
        "modules_to_save": [_module_name(published, name) for name in model.lora_heads] or None,
        "task_type": next((task for ending, task in _TASKS.items() if type(model).__name__.endswith(ending)), None),
        "base_model_name_or_path": None,
        "inference_mode": True,
    }
    state = _state(model, published)
    checkpoints.save_pretrained(directory, config, state, config_file=CONFIG_FILE, weights_file=WEIGHTS_FILE)


def load(model: nn.Module, directory: str | Path) -> list[str]:
    """Attach adapters that `save` or peft wrote, and read the heads; returns the names of the maps with an adapter.

    Raises FileNotFoundError if a file is not there, `checkpoints.CheckpointError` if one is damaged, of a kind that
    is not plain LoRA, or made for another model, ValueError if `model` has adapters already. The model is then left
    as it was.
    """
    if adapters(model):
        raise ValueError(f"{type(model).__name__} has adapters already: remove(model) takes them away")
    config = _read_config(Path(directory) / CONFIG_FILE)
    tensors = checkpoints.load_safetensors(Path(directory) / WEIGHTS_FILE)
    published = _published_names(model)
    modules = dict(model.named_modules())
    known = {_module_name(published, name): name for name in modules}
    try:
        names = _matching(modules, config["target_modules"], known)
        _check_settings(config["r"], config["lora_alpha"], config["lora_dropout"])
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"the adapter does not fit {type(model).__name__}: {error}") from error
    endings = config.get("modules_to_save") or ()
    heads = [ours for theirs, ours in known.items() if any(_ends(theirs, ending) for ending in endings)]
    _check_tensors(model, tensors, _expected(model, names, heads, config["r"], published))
    _install(model, names, heads, config["r"], config["lora_alpha"], config["lora_dropout"], None)
    for key, own in _state(model, published).items():
        own.copy_(tensors[key])
    return names


# Names -----------------------------------------------------------------------------------------------------


def _ends(name: str, ending: str) -> bool:
    return name == ending or name.endswith(f".{ending}")


def _matching(modules: Mapping[str, nn.Module], targets: str | Sequence[str], known: Mapping[str, str]) -> list[str]:
    """Names of the linear maps that `targets` mean; `known` maps the names they may use to those in `modules`."""
    linear = [name for name, ours in known.items() if isinstance(modules[ours], nn.Linear)]
    if isinstance(targets, str):
        found = [name for name in known if name and re.fullmatch(targets, name)]
        _require_found(found, targets, linear)
    else:
        if not len(targets):
            raise ValueError("targets is empty: name the linear maps that are to get an adapter")
        for target in targets:
            _require_found([name for name in known if _ends(name, target)], target, linear)
        found = [name for name in known if any(_ends(name, target) for target in targets)]
    for name in found:
        if not isinstance(modules[known[name]], nn.Linear):
            kind = type(modules[known[name]]).__name__
            raise ValueError(f"target {name!r} is a {kind}, not a Linear: an adapter needs a linear map")
    return [known[name] for name in found]


def _require_found(found: Sequence[str], target: str, linear: Sequence[str]) -> None:
    if found:
        return
    endings = list(dict.fromkeys(name.rpartition(".")[2] for name in linear))
    near = difflib.get_close_matches(target, [*endings, *linear], n=3, cutoff=0.5) or endings
    raise ValueError(f"no module is called {target!r}; the nearest linear maps are {', '.join(map(repr, near))}")


def _heads(modules: Mapping[str, nn.Module], heads: Sequence[str] | None) -> list[str]:
    for head in heads or ():
        if not any(_ends(name, head) for name in modules):
            near = difflib.get_close_matches(head, [name for name in modules if name], n=3, cutoff=0.5)
            raise ValueError(f"there is no head {head!r}; the nearest modules are {', '.join(near) or 'none'}")
    wanted = HEADS if heads is None else heads
    return [name for name in modules if any(_ends(name, head) for head in wanted)]


def _published_names(model: nn.Module) -> dict[str, str]:
    """Of the parameters of a model of `course_lib.bert`: their published names. Other models are published as is."""
    if not hasattr(model, "rules"):
        return {}
    return {
        rule.ours[0]: rule.published.removeprefix(model.own_prefix)
        for rule in model.rules(model.config.num_layers)
        if len(rule.ours) == 1
    }


def _module_name(published: Mapping[str, str], name: str) -> str:
    """The published name of a module that has a weight; any other keeps its own."""
    return published.get(f"{name}.weight", f"{name}.weight").removesuffix(".weight")


# Adapters in a model -----------------------------------------------------------------------------------------


def _check_settings(rank: int, alpha: float, dropout: float) -> None:
    if isinstance(rank, bool) or not isinstance(rank, int):
        raise TypeError(f"rank={rank!r} must be a whole number")
    require_positive(rank=rank)
    if not 0 < alpha < math.inf:
        raise ValueError(f"alpha={alpha} must be positive and finite")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout={dropout} must be at least 0 and below 1")


def _install(
    model: nn.Module,
    names: Sequence[str],
    heads: Sequence[str],
    rank: int,
    alpha: float,
    dropout: float,
    generator: torch.Generator | None,
) -> None:
    both = [name for name in names if any(name == head or name.startswith(f"{head}.") for head in heads)]
    if both:
        raise ValueError(f"{both[0]!r} is trained whole, as a head: it needs no adapter; leave it out of targets")
    model.requires_grad_(False)
    for name in names:
        _put(model, name, LoraLinear(model.get_submodule(name), rank, alpha, dropout, generator).train(model.training))
    for name in heads:
        model.get_submodule(name).requires_grad_(True)
    model.lora_heads = tuple(heads)


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, module)


def _required(model: nn.Module) -> dict[str, LoraLinear]:
    found = adapters(model)
    if not found:
        raise ValueError(f"{type(model).__name__} has no adapters: attach(model, targets, rank) first")
    return found


# Files -----------------------------------------------------------------------------------------------------


def _state(model: nn.Module, published: Mapping[str, str]) -> dict[str, Tensor]:
    """The tensors of adapters and heads under peft's names; they share memory with the model."""
    state = {}
    for name, adapter in adapters(model).items():
        key = f"{_PREFIX}{_module_name(published, name)}"
        state |= {f"{key}.lora_A.weight": adapter.A.detach(), f"{key}.lora_B.weight": adapter.B.detach()}
    for head in model.lora_heads:
        for name, tensor in model.get_submodule(head).state_dict().items():
            state[_PREFIX + published.get(f"{head}.{name}", f"{head}.{name}")] = tensor
    return state


def _expected(
    model: nn.Module, names: Sequence[str], heads: Sequence[str], rank: int, published: Mapping[str, str]
) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that a file for this model must hold."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name in names:
        key, base = f"{_PREFIX}{_module_name(published, name)}", model.get_submodule(name)
        shapes |= {f"{key}.lora_A.weight": (rank, base.in_features), f"{key}.lora_B.weight": (base.out_features, rank)}
    for head in heads:
        for name, tensor in model.get_submodule(head).state_dict().items():
            shapes[_PREFIX + published.get(f"{head}.{name}", f"{head}.{name}")] = tuple(tensor.shape)
    return shapes


def _check_tensors(model: nn.Module, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    report = checkpoints.LoadReport(
        missing=tuple(name for name in shapes if name not in tensors),
        unexpected=tuple(name for name in tensors if name not in shapes),
        mismatched=tuple(
            f"{name} has shape {list(tensors[name].shape)} in the file, {list(shape)} in the model"
            for name, shape in shapes.items()
            if name in tensors and tuple(tensors[name].shape) != shape
        ),
    )
    if any(report):
        raise CheckpointError(f"the adapter does not fit {type(model).__name__}\n{report}")


def _read_config(file: Path) -> dict[str, Any]:
    config = checkpoints.read_json(file, "a saved adapter")
    if not isinstance(config, dict) or not {"peft_type", "r", "lora_alpha", "target_modules"} <= set(config):
        raise CheckpointError(f"{file.name} is not the configuration of a LoRA adapter")
    for name, allowed in _PLAIN.items():
        if config.get(name, allowed[0]) not in allowed:
            raise CheckpointError(f"an adapter with {name}={config[name]!r} is not supported, only {allowed[0]!r}")
    return {"lora_dropout": 0.0, **config}
