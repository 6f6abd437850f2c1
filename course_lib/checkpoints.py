"""Published checkpoints and ours: the same numbers under other names.

A `PublishedForm` is a table: which published tensor is which of our parameters, and which entry of the
published `config.json` is which of our settings. Everything else here reads such tables, so that another
model family is another table. Only safetensors files are read: a pickle can run code when it is opened.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from course_lib import assets

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
PICKLED_FILE = "pytorch_model.bin"  # how weights were published before
_SHOWN = 10  # names listed in a message before it only counts


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, or that does not fit the module it is loaded into."""


class Rule(NamedTuple):
    """One published tensor and our parameters it holds, `{}` being the number of the layer.

    Several of ours are stacked in it along the output axis, as GPT-2 does with query, key and value.
    `transposed` says that it is stored as `[in, out]`, where `nn.Linear` has `[out, in]`.
    """

    published: str
    ours: tuple[str, ...]
    transposed: bool = False

    def of_layer(self, number: int) -> "Rule":
        """The rule with its `{}` filled in."""
        return Rule(self.published.format(number), tuple(name.format(number) for name in self.ours), self.transposed)

    def split(self, tensor: Tensor) -> tuple[Tensor, ...]:
        """The published tensor as ours, one for each name."""
        return torch.tensor_split(tensor.T if self.transposed else tensor, len(self.ours))

    def join(self, tensors: Sequence[Tensor]) -> Tensor:
        """Ours, one for each name, as the published tensor; a single one is not copied."""
        joined = tensors[0] if len(tensors) == 1 else torch.cat(tuple(tensors))
        return joined.T if self.transposed else joined


def weights(published: str, *ours: str, transposed: bool = False) -> tuple[Rule, ...]:
    """The rule of a weight without a bias; the names come without `.weight`."""
    return (Rule(f"{published}.weight", tuple(f"{name}.weight" for name in ours), transposed),)


def weights_and_biases(published: str, *ours: str, transposed: bool = False) -> tuple[Rule, ...]:
    """The rules of a weight and its bias; the names come without `.weight` and `.bias`."""
    bias = Rule(f"{published}.bias", tuple(f"{name}.bias" for name in ours))
    return (*weights(published, *ours, transposed=transposed), bias)


@dataclass(frozen=True)
class PublishedForm:
    """How one family of models is published, told as data.

    `settings` maps each of our settings to its published names: the first one present is read, all are
    written, and a dot goes into a nested table. `defaults` holds those a file may leave out. `form` holds our
    settings that the family never varies, `required` published settings of which our classes know one value.
    """

    model_type: str
    architecture: str
    prefix: str  # of the body's tensors; files of a body without a head leave it out
    settings: Mapping[str, tuple[str, ...]]
    defaults: Mapping[str, Any]
    form: Mapping[str, Any]
    required: Mapping[str, Any]
    parameters: tuple[Rule, ...]
    tied: tuple[str, ...] = ("lm_head.weight",)  # in some files copies of other tensors
    buffers: tuple[str, ...] = ()  # endings of tensors in old files that are no parameters
    old_endings: Mapping[str, str] = field(default_factory=dict)  # endings in old files and today's
    # Of a setting whose values have other names: ours and the published ones, of which the first is written.
    values: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)

    def rules(self, num_layers: int) -> list[Rule]:
        """The rules of a model with `num_layers` layers."""
        return [
            rule.of_layer(number)
            for rule in self.parameters
            for number in range(num_layers if "{}" in rule.published else 1)
        ]

    def read_settings(self, published: Mapping[str, Any]) -> dict[str, Any]:
        """Translate a published `config.json` into our settings.

        Raises CheckpointError if one is missing or asks for something our classes do not have.
        """
        for name, only in self.required.items():
            value = _get(published, name, only)
            if value != only:
                raise CheckpointError(f"{self.model_type} with {name}={value!r} is not supported, only {only!r}")
        settings = dict(self.form)
        for ours, names in self.settings.items():
            present = [name for name in names if _get(published, name, ...) is not ...]
            if present:
                settings[ours] = _get(published, present[0], ...)
            elif ours in self.defaults:
                settings[ours] = self.defaults[ours]
            else:
                raise CheckpointError(f"{CONFIG_FILE} of type {self.model_type!r} lacks {names[0]!r}")
        for name, known in self.values.items():
            settings[name] = next((ours for ours, theirs in known.items() if settings[name] in theirs), settings[name])
        return settings

    def write_settings(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Translate our settings into a `config.json`; special tokens are left to the tokenizer."""
        published: dict[str, Any] = {
            "architectures": [self.architecture],
            "model_type": self.model_type,
            "bos_token_id": None,
            "eos_token_id": None,
        }
        for name, value in self.required.items():
            _set(published, name, value)
        for ours, names in self.settings.items():
            value = settings[ours]
            if ours in self.values:
                value = self.values[ours].get(value, (value,))[0]
            for name in names:
                _set(published, name, value)
        return published

    def differences(self, settings: Mapping[str, Any]) -> list[str]:
        """What in our `settings` this form cannot express."""
        return [
            f"{name}={settings[name]!r} (it has {value!r})"
            for name, value in self.form.items()
            if settings[name] != value
        ]

    def tidy(self, state: Mapping[str, Tensor], rules: Sequence[Rule], tied: bool) -> dict[str, Tensor]:
        """Bring a published state to the names of `rules`: the prefix added where the file has none, buffers
        of old files and the copies of tied tensors left out, old names brought up to date."""
        known = {rule.published for rule in rules}
        kept = {self._renamed(name): tensor for name, tensor in state.items() if not name.endswith(self.buffers)}
        if tied:
            kept = {name: tensor for name, tensor in kept.items() if name not in self.tied}
        return {
            self.prefix + name if name not in known and self.prefix + name in known else name: tensor
            for name, tensor in kept.items()
        }

    def _renamed(self, name: str) -> str:
        for old, new in self.old_endings.items():
            if name.endswith(old):
                return name.removesuffix(old) + new
        return name


def _get(table: Mapping[str, Any], dotted: str, default: Any) -> Any:
    first, _, rest = dotted.partition(".")
    if not rest:
        return table.get(first, default)
    return _get(table.get(first) or {}, rest, default)


def _set(table: dict[str, Any], dotted: str, value: Any) -> None:
    first, _, rest = dotted.partition(".")
    if rest:
        _set(table.setdefault(first, {}), rest, value)
    else:
        table[first] = value


GPT2 = PublishedForm(
    model_type="gpt2",
    architecture="GPT2LMHeadModel",
    prefix="transformer.",
    settings={
        "vocab_size": ("vocab_size",),
        "d_model": ("n_embd",),
        "num_layers": ("n_layer",),
        "num_heads": ("n_head",),
        "d_ff": ("n_inner",),
        "max_len": ("n_positions",),
        "dropout": ("resid_pdrop", "embd_pdrop"),
        "attention_dropout": ("attn_pdrop",),
        "norm_eps": ("layer_norm_epsilon",),
        "tie_embeddings": ("tie_word_embeddings",),
    },
    defaults={
        "d_ff": None,
        "dropout": 0.1,
        "attention_dropout": 0.1,
        "norm_eps": 1e-5,
        "tie_embeddings": True,
    },
    form={
        "positions": "learned",
        "norm_type": "layer",
        "activation": "gelu_tanh",
        "bias": True,
        "num_kv_heads": None,
    },
    required={
        "activation_function": "gelu_new",
        "add_cross_attention": False,
        "scale_attn_weights": True,
        "scale_attn_by_inverse_layer_idx": False,
    },
    # GPT-2's linear maps are "Conv1D" layers: their weights are stored as [in, out].
    parameters=(
        *weights("transformer.wte", "token_embedding"),
        *weights("transformer.wpe", "position_embedding"),
        *weights_and_biases("transformer.h.{}.ln_1", "blocks.{}.attention_norm"),
        *weights_and_biases(
            "transformer.h.{}.attn.c_attn",
            "blocks.{}.attention.q_proj",
            "blocks.{}.attention.k_proj",
            "blocks.{}.attention.v_proj",
            transposed=True,
        ),
        *weights_and_biases("transformer.h.{}.attn.c_proj", "blocks.{}.attention.out_proj", transposed=True),
        *weights_and_biases("transformer.h.{}.ln_2", "blocks.{}.feed_forward_norm"),
        *weights_and_biases("transformer.h.{}.mlp.c_fc", "blocks.{}.feed_forward.up", transposed=True),
        *weights_and_biases("transformer.h.{}.mlp.c_proj", "blocks.{}.feed_forward.down", transposed=True),
        *weights_and_biases("transformer.ln_f", "final_norm"),
        *weights("lm_head", "head"),
    ),
    buffers=(".attn.bias", ".attn.masked_bias"),
)

LLAMA = PublishedForm(
    model_type="llama",
    architecture="LlamaForCausalLM",
    prefix="model.",
    settings={
        "vocab_size": ("vocab_size",),
        "d_model": ("hidden_size",),
        "num_layers": ("num_hidden_layers",),
        "num_heads": ("num_attention_heads",),
        "num_kv_heads": ("num_key_value_heads",),
        "d_ff": ("intermediate_size",),
        "max_len": ("max_position_embeddings",),
        "rotary_base": ("rope_parameters.rope_theta", "rope_theta"),
        "attention_dropout": ("attention_dropout",),
        "norm_eps": ("rms_norm_eps",),
        "tie_embeddings": ("tie_word_embeddings",),
    },
    defaults={
        "num_kv_heads": None,
        "rotary_base": 10000.0,
        "attention_dropout": 0.0,
        "norm_eps": 1e-6,
        "tie_embeddings": False,
    },
    form={"positions": "rotary", "norm_type": "rms", "activation": "swiglu", "bias": False},
    required={
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "rope_scaling": None,
        "rope_parameters.rope_type": "default",
    },
    parameters=(
        *weights("model.embed_tokens", "token_embedding"),
        *weights("model.layers.{}.input_layernorm", "blocks.{}.attention_norm"),
        *weights("model.layers.{}.self_attn.q_proj", "blocks.{}.attention.q_proj"),
        *weights("model.layers.{}.self_attn.k_proj", "blocks.{}.attention.k_proj"),
        *weights("model.layers.{}.self_attn.v_proj", "blocks.{}.attention.v_proj"),
        *weights("model.layers.{}.self_attn.o_proj", "blocks.{}.attention.out_proj"),
        *weights("model.layers.{}.post_attention_layernorm", "blocks.{}.feed_forward_norm"),
        *weights("model.layers.{}.mlp.gate_proj", "blocks.{}.feed_forward.gate"),
        *weights("model.layers.{}.mlp.up_proj", "blocks.{}.feed_forward.up"),
        *weights("model.layers.{}.mlp.down_proj", "blocks.{}.feed_forward.down"),
        *weights("model.norm", "final_norm"),
        *weights("lm_head", "head"),
    ),
    buffers=(".rotary_emb.inv_freq",),
)

BERT = PublishedForm(
    model_type="bert",
    architecture="BertModel",
    prefix="bert.",
    settings={
        "vocab_size": ("vocab_size",),
        "d_model": ("hidden_size",),
        "num_layers": ("num_hidden_layers",),
        "num_heads": ("num_attention_heads",),
        "d_ff": ("intermediate_size",),
        "max_len": ("max_position_embeddings",),
        "num_segments": ("type_vocab_size",),
        "activation": ("hidden_act",),
        "norm_eps": ("layer_norm_eps",),
        "dropout": ("hidden_dropout_prob",),
        "attention_dropout": ("attention_probs_dropout_prob",),
        "labels": ("id2label",),
    },
    defaults={
        "labels": {},
        "num_segments": 2,
        "activation": "gelu",
        "norm_eps": 1e-12,
        "dropout": 0.1,
        "attention_dropout": 0.1,
    },
    form={},
    required={
        "position_embedding_type": "absolute",
        "is_decoder": False,
        "add_cross_attention": False,
        "tie_word_embeddings": True,
    },
    parameters=(
        *weights("bert.embeddings.word_embeddings", "bert.embeddings.token"),
        *weights("bert.embeddings.position_embeddings", "bert.embeddings.position"),
        *weights("bert.embeddings.token_type_embeddings", "bert.embeddings.segment"),
        *weights_and_biases("bert.embeddings.LayerNorm", "bert.embeddings.norm"),
        *weights_and_biases("bert.encoder.layer.{}.attention.self.query", "bert.blocks.{}.attention.q_proj"),
        *weights_and_biases("bert.encoder.layer.{}.attention.self.key", "bert.blocks.{}.attention.k_proj"),
        *weights_and_biases("bert.encoder.layer.{}.attention.self.value", "bert.blocks.{}.attention.v_proj"),
        *weights_and_biases("bert.encoder.layer.{}.attention.output.dense", "bert.blocks.{}.attention.out_proj"),
        *weights_and_biases("bert.encoder.layer.{}.attention.output.LayerNorm", "bert.blocks.{}.attention_norm"),
        *weights_and_biases("bert.encoder.layer.{}.intermediate.dense", "bert.blocks.{}.feed_forward.up"),
        *weights_and_biases("bert.encoder.layer.{}.output.dense", "bert.blocks.{}.feed_forward.down"),
        *weights_and_biases("bert.encoder.layer.{}.output.LayerNorm", "bert.blocks.{}.feed_forward_norm"),
        *weights_and_biases("bert.pooler.dense", "bert.pooler.dense"),
        *weights_and_biases("cls.predictions.transform.dense", "mlm_head.dense"),
        *weights_and_biases("cls.predictions.transform.LayerNorm", "mlm_head.norm"),
        Rule("cls.predictions.bias", ("mlm_head.bias",)),
        *weights_and_biases("cls.seq_relationship", "nsp_head"),
        *weights_and_biases("classifier", "classifier"),
        *weights_and_biases("qa_outputs", "span_head"),
    ),
    tied=("cls.predictions.decoder.weight", "cls.predictions.decoder.bias"),
    buffers=(".position_ids",),
    # Checkpoints from the first TensorFlow days, bert-base-uncased among them, call LayerNorm's parameters so.
    old_endings={"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"},
    values={"activation": {"gelu_tanh": ("gelu_new", "gelu_pytorch_tanh")}},
)


def _attention_and_norm(stack: str, published: str, ours: str) -> tuple[Rule, ...]:
    """The rules of an attention of an encoder-decoder, and of the normalisation in front of it."""
    theirs, block = f"model.{stack}.layers.{{}}.{published}", f"{stack}.blocks.{{}}.{ours}"
    projections = ("q_proj", "k_proj", "v_proj", "out_proj")
    maps = [rule for name in projections for rule in weights_and_biases(f"{theirs}.{name}", f"{block}.{name}")]
    return (*maps, *weights_and_biases(f"{theirs}_layer_norm", f"{block}_norm"))


PEGASUS = PublishedForm(
    model_type="pegasus",
    architecture="PegasusForConditionalGeneration",
    prefix="model.",
    settings={
        "source_vocab_size": ("vocab_size",),
        "target_vocab_size": ("vocab_size",),
        "d_model": ("d_model",),
        "num_layers": ("encoder_layers", "decoder_layers"),
        "num_heads": ("encoder_attention_heads", "decoder_attention_heads"),
        "d_ff": ("encoder_ffn_dim", "decoder_ffn_dim"),
        "dropout": ("dropout",),
        "activation": ("activation_function",),
        "pad_id": ("pad_token_id",),
    },
    defaults={"dropout": 0.1, "activation": "gelu", "pad_id": 0},
    form={"norm": "pre", "norm_eps": 1e-5, "tie_embeddings": True},
    required={
        "scale_embedding": True,
        "tie_word_embeddings": True,
        "is_encoder_decoder": True,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
    },
    parameters=(
        *weights("model.shared", "source_embedding"),
        *(
            rule
            for stack in ("encoder", "decoder")
            for rule in (
                *_attention_and_norm(stack, "self_attn", "attention"),
                *(_attention_and_norm(stack, "encoder_attn", "cross_attention") if stack == "decoder" else ()),
                *weights_and_biases(f"model.{stack}.layers.{{}}.fc1", f"{stack}.blocks.{{}}.feed_forward.up"),
                *weights_and_biases(f"model.{stack}.layers.{{}}.fc2", f"{stack}.blocks.{{}}.feed_forward.down"),
                *weights_and_biases(
                    f"model.{stack}.layers.{{}}.final_layer_norm", f"{stack}.blocks.{{}}.feed_forward_norm"
                ),
                *weights_and_biases(f"model.{stack}.layer_norm", f"{stack}.norm"),
            )
        ),
    ),
    tied=("lm_head.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"),
)


def resolve(path_or_name: str | Path) -> Path:
    """The directory of a saved model: a path as it is, the course's own checkpoint, an asset fetched into the cache.

    Raises FileNotFoundError if it is none of them.
    """
    path = Path(path_or_name)
    if path.is_dir():
        return path
    own = assets.own_data() / "checkpoints"
    if (own / path).is_dir():
        return own / path
    if path_or_name in assets.ASSETS:
        return assets.fetch(path_or_name)
    models = [name for name, asset in assets.ASSETS.items() if asset.kind == "model"]
    names = ", ".join([*models, *sorted(directory.name for directory in own.glob("*/"))])
    raise FileNotFoundError(f"{path_or_name} is neither the directory of a saved model nor one of: {names}")


def load_safetensors(path: str | Path) -> dict[str, Tensor]:
    """Read every tensor of a safetensors file, or of `model.safetensors` in a directory, by name.

    Raises FileNotFoundError if there is none, CheckpointError if it is truncated or no safetensors file, or
    if the directory has only a pickle.
    """
    path = Path(path)
    file = path / WEIGHTS_FILE if path.is_dir() else path
    if not file.is_file():
        if path.is_dir() and (path / PICKLED_FILE).is_file():
            raise CheckpointError(
                f"{PICKLED_FILE} is a pickle, which can run code when it is opened, and is not read: "
                f"get the {WEIGHTS_FILE} of the same model"
            )
        raise FileNotFoundError(f"no weights at {file}: expected one safetensors file, not split into shards")
    try:
        return load_file(file)
    except SafetensorError as error:
        raise damaged(file, error) from error


def damaged(file: Path, error: SafetensorError) -> CheckpointError:
    """The error to raise for a file that safetensors cannot read: whether it is a pickle, no such file, or cut off."""
    with file.open("rb") as opened:
        start = opened.read(9)
    if start.startswith((b"PK", b"\x80")):
        wrong = "is a pickle under another name, which can run code when it is opened: get the safetensors file"
    # A safetensors file begins with the length of its header in eight bytes, then the header, in JSON.
    elif start[8:] != b"{":
        wrong = "is not a safetensors file"
    else:
        wrong = "is truncated or damaged: get it again"
    return CheckpointError(f"{file.name} {wrong} ({error})")


def read_json(file: Path, owner: str) -> Any:
    """What a JSON file holds, which the directory of `owner` has.

    Raises FileNotFoundError if there is none, CheckpointError if it is no JSON.
    """
    if not file.is_file():
        raise FileNotFoundError(f"no {file.name} in {file.parent}: the directory of {owner} has one")
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{file.name} is not valid JSON: {error}") from error


def read_config(directory: str | Path, forms: Sequence[PublishedForm]) -> tuple[PublishedForm, dict[str, Any]]:
    """Read `config.json`: which of `forms` it is, and our settings.

    Raises FileNotFoundError if there is none, CheckpointError if it is no JSON or none of `forms`.
    """
    published = read_json(Path(directory) / CONFIG_FILE, "a saved model")
    model_type = published.get("model_type") if isinstance(published, dict) else None
    for form in forms:
        if form.model_type == model_type:
            return form, form.read_settings(published)
    supported = ", ".join(repr(form.model_type) for form in forms)
    raise CheckpointError(f"{CONFIG_FILE} has model_type={model_type!r}; this class reads {supported}")


class LoadReport(NamedTuple):
    """What did not fit: our parameters the file lacks, tensors of the file we have no place for, wrong shapes."""

    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[str, ...]

    def __str__(self) -> str:
        lines = [_listed(kind, names) for kind, names in self._asdict().items() if names]
        return "\n".join(lines) or "every parameter was loaded"


def _listed(kind: str, names: Sequence[str]) -> str:
    rest = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{len(names)} {kind}: {', '.join(names[:_SHOWN])}{rest}"


def load_into(
    module: nn.Module,
    state: Mapping[str, Tensor],
    mapping: Sequence[Rule] | None = None,
    strict: bool = True,
    optional: Callable[[str], bool] = lambda name: False,
) -> LoadReport:
    """Copy published tensors into the parameters of `module`, cast to their dtype.

    `mapping` says which is which, as `PublishedForm.rules` does; None means that the names are ours already.
    Raises CheckpointError with the report, and leaves `module` as it was, if `strict` and anything is
    missing, unexpected or of another shape, save missing and unexpected names for which `optional` is true:
    heads come and go. Otherwise loads what fits and returns the report.
    """
    own = module.state_dict()
    mapping = [Rule(name, (name,)) for name in own] if mapping is None else mapping
    rules = {rule.published: rule for rule in mapping}
    found: dict[str, Tensor] = {}
    unexpected, mismatched = [], []
    for published, tensor in state.items():
        rule = rules.get(published)
        if rule is None or not own.keys() & set(rule.ours):
            unexpected.append(published)
            continue
        found.update(zip(rule.ours, rule.split(tensor), strict=True))
    for name, tensor in found.items():
        if name in own and (problem := _mismatch(tensor, own[name])):
            mismatched.append(f"{name} {problem}")
    missing = tuple(name for name in own if name not in found)
    report = LoadReport(missing, tuple(unexpected), tuple(mismatched))
    required = (tuple(name for name in names if not optional(name)) for names in (missing, unexpected))
    faults = LoadReport(*required, report.mismatched)
    if strict and any(faults):
        raise CheckpointError(f"the checkpoint does not fit {type(module).__name__}\n{faults}")
    for name, tensor in found.items():
        if name in own and not _mismatch(tensor, own[name]):
            own[name].copy_(tensor)
    return report


def _mismatch(tensor: Tensor, own: Tensor) -> str:
    if tensor.shape != own.shape:
        return f"has shape {list(tensor.shape)} in the file, {list(own.shape)} in the module"
    if tensor.is_floating_point() != own.is_floating_point():
        return f"has dtype {tensor.dtype} in the file, {own.dtype} in the module"
    return ""


def to_published(state: Mapping[str, Tensor], mapping: Sequence[Rule]) -> dict[str, Tensor]:
    """Rename and reshape our parameters into the published ones: the inverse of what `load_into` reads.

    Raises CheckpointError if a parameter has no published name.
    """
    published: dict[str, Tensor] = {}
    left = dict(state)
    for rule in mapping:
        if all(name in left for name in rule.ours):
            published[rule.published] = rule.join([left.pop(name) for name in rule.ours])
    if left:
        raise CheckpointError(_listed("without a published name", tuple(left)))
    return published


def save_pretrained(
    directory: str | Path,
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    *,
    config_file: str = CONFIG_FILE,
    weights_file: str = WEIGHTS_FILE,
) -> None:
    """Write `config.json` and `model.safetensors`, or files of other names, into `directory`, made if need be.

    Each file appears whole or not at all: an interrupted call leaves the old one.
    """
    directory = Path(directory)
    with replacing(directory / weights_file) as file:
        tensors = {name: tensor.detach().contiguous() for name, tensor in state.items()}
        save_file(tensors, file, metadata={"format": "pt"})  # transformers reads no file without it
    with replacing(directory / config_file) as file:
        file.write_text(json.dumps(dict(config), indent=2, sort_keys=True) + "\n", encoding="utf-8")


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """A path to write to in place of `target`, which it replaces at the end of the `with` block.

    It lies in a new directory beside it, made if need be: a reader sees the old file or the new one, never half of
    one, and an error in the block leaves the old one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=target.parent, prefix=".partial-") as temporary:
        yield Path(temporary) / target.name
        (Path(temporary) / target.name).replace(target)
