"""BERT (Devlin et al. 2019): an encoder that reads in both directions, and the heads that are put on it.

Ids are `[batch, length]`; hidden states `[batch, length, d_model]`. Parameters carry this course's names;
`checkpoints.BERT` says under which names they are published.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import checkpoints
from course_lib.layers import (
    ACTIVATIONS,
    EncoderBlock,
    LayerNorm,
    TokenEmbedding,
    real_tokens,
    require_choice,
    require_positive,
)
from course_lib.positions import LearnedPositions


@dataclass(frozen=True)
class BertConfig:
    """Sizes and parts of a `Bert`; the defaults are BERT-base uncased, without dropout.

    Raises ValueError for a size below 1 or an unknown activation; the blocks check the rest when they are
    built.
    """

    vocab_size: int = 30522
    d_model: int = 768
    num_layers: int = 12
    num_heads: int = 12
    d_ff: int | None = None  # None: 4 · d_model
    max_len: int = 512  # rows of the position table
    num_segments: int = 2  # sentence A and sentence B
    activation: str = "gelu"  # one of layers.ACTIVATIONS
    norm_eps: float = 1e-12
    dropout: float = 0.0  # on embeddings, sub-layers and the input of a classifier; BERT was trained with 0.1
    attention_dropout: float = 0.0  # on the attention weights; BERT was trained with 0.1
    num_labels: int = 2  # classes of a sequence or token classifier

    def __post_init__(self):
        if self.d_ff is None:
            object.__setattr__(self, "d_ff", 4 * self.d_model)
        names = ("vocab_size", "d_model", "num_layers", "num_heads", "d_ff", "max_len", "num_segments", "num_labels")
        require_positive(**{name: getattr(self, name) for name in names})
        require_choice("activation", self.activation, tuple(ACTIVATIONS))


class BertOutput(NamedTuple):
    """What `Bert` computes.

    `hidden` is the output of the last block, `[batch, length, d_model]`; `pooled` `[batch, d_model]` stands
    for the whole sequence (None without a pooler); `states` holds the embeddings and the output of each
    block, num_layers + 1 in all, if they were asked for.
    """

    hidden: Tensor
    pooled: Tensor | None
    states: tuple[Tensor, ...] | None


class PreTrainingOutput(NamedTuple):
    """Logits of the two pre-training tasks.

    `tokens` is `[batch, length, vocab_size]`, or `[selected, vocab_size]` if only some positions were asked
    for; `next_sentence` is `[batch, 2]`, class 0 = "B follows A", class 1 = "B is from elsewhere".
    """

    tokens: Tensor
    next_sentence: Tensor


class SpanOutput(NamedTuple):
    """Logits of an answer's first and last token, both `[batch, length]`."""

    start: Tensor
    end: Tensor


class BertEmbeddings(nn.Module):
    """What enters the first block: token + position + segment, normalised (Devlin et al. 2019, figure 2)."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.token = TokenEmbedding(config.vocab_size, config.d_model)
        self.position = LearnedPositions(config.max_len, config.d_model)
        self.segment = TokenEmbedding(config.num_segments, config.d_model)
        self.norm = LayerNorm(config.d_model, config.norm_eps)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, input_ids: Tensor, segment_ids: Tensor | None = None, positions: Tensor | None = None) -> Tensor:
        """`[batch, length]` ids to `[batch, length, d_model]`.

        Without `segment_ids` every token is of segment 0; without `positions` they count from 0.
        Raises TypeError for ids that are not integers, ValueError for ids outside their tables, shapes that
        differ, or more tokens than positions.
        """
        tokens = self.token(input_ids)
        if positions is None:
            positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        if segment_ids is None:
            segment_ids = torch.zeros_like(input_ids)
        if segment_ids.shape != input_ids.shape:
            raise ValueError(f"segment_ids {list(segment_ids.shape)} and input_ids {list(input_ids.shape)} differ")
        if segment_ids.is_floating_point() or segment_ids.dtype == torch.bool:
            raise TypeError(f"segment_ids must be integers, not {segment_ids.dtype}")
        if segment_ids.min() < 0 or segment_ids.max() >= self.segment.vocab_size:
            raise ValueError(f"segment_ids must be below num_segments={self.segment.vocab_size} and not negative")
        return self.dropout(self.norm(tokens + self.position(positions) + self.segment(segment_ids)))


class Pooler(nn.Module):
    """A linear map and tanh over the first token, [CLS]: one vector for the sequence."""

    def __init__(self, d_model: int):
        super().__init__()
        self.dense = nn.Linear(d_model, d_model)

    def forward(self, hidden: Tensor) -> Tensor:
        """`[batch, length, d_model]` to `[batch, d_model]`."""
        return torch.tanh(self.dense(hidden[:, 0]))


class MaskedLanguageHead(nn.Module):
    """Hidden states to logits over the vocabulary: a dense layer, then the embedding read backwards."""

    def __init__(self, config: BertConfig):
        super().__init__()
        self.dense = nn.Linear(config.d_model, config.d_model)
        self.activation = ACTIVATIONS[config.activation]
        self.norm = LayerNorm(config.d_model, config.norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, hidden: Tensor, embedding: Tensor) -> Tensor:
        """`[..., d_model]` to `[..., vocab_size]`, with the token embedding `[vocab_size, d_model]` as the map."""
        return F.linear(self.norm(self.activation(self.dense(hidden))), embedding, self.bias)


class _Pretrained(nn.Module):
    """Loading and saving, the same for the bare encoder and for each head."""

    architecture: str  # the class of transformers that has the same parameters
    own_prefix = ""  # what the table's names start with and ours do not

    def __init__(self, config: BertConfig):
        super().__init__()
        self.config = config
        self.load_report: checkpoints.LoadReport | None = None

    @classmethod
    def rules(cls, num_layers: int) -> list[checkpoints.Rule]:
        """Which published tensor is which of our parameters, heads of other classes included."""
        return [
            rule._replace(ours=tuple(name.removeprefix(cls.own_prefix) for name in rule.ours))
            for rule in checkpoints.BERT.rules(num_layers)
        ]

    @classmethod
    def from_pretrained(cls, path_or_name: str | Path, **changes) -> Self:
        """Load a model saved in BERT's published form, as float32 and in evaluation mode.

        Give the directory that holds its `config.json` and `model.safetensors`, or the name of an asset;
        `changes` are settings of `BertConfig` to set otherwise, such as `num_labels=5`. A head that the file
        does not have is drawn anew, a head of another class is left out; `load_report` names both.
        Raises FileNotFoundError if a file is not there, `checkpoints.CheckpointError` if they are damaged, of
        another family, or lack a part of the encoder.
        """
        directory = checkpoints.resolve(path_or_name)
        form, settings = checkpoints.read_config(directory, (checkpoints.BERT,))
        settings["num_labels"] = len(settings.pop("labels")) or 2
        config = BertConfig(**{**settings, **changes})
        with torch.device("meta"):  # no memory and no random numbers for weights that are about to be read
            model = cls(config)
        model.to_empty(device="cpu")
        rules = cls.rules(config.num_layers)
        state = form.tidy(checkpoints.load_safetensors(directory), rules, tied=True)
        model.load_report = checkpoints.load_into(model, state, rules, optional=model._is_optional)
        initialise(
            (name, parameter) for name, parameter in model.named_parameters() if name in model.load_report.missing
        )
        return model.eval()

    def _is_optional(self, name: str) -> bool:
        """Whether a file may lack, or have beside what we want, the parameter or tensor `name`."""
        return name.startswith(_HEADS)

    def save_pretrained(self, directory: str | Path) -> None:
        """Write the model so that transformers, or `from_pretrained`, loads it."""
        state = checkpoints.to_published(self.state_dict(), self.rules(self.config.num_layers))
        settings = asdict(self.config)
        settings["labels"] = {str(i): f"LABEL_{i}" for i in range(settings.pop("num_labels"))}
        config = checkpoints.BERT.write_settings(settings) | {"architectures": [self.architecture]}
        if self.own_prefix:  # a bare encoder is published without it
            state = {name.removeprefix(checkpoints.BERT.prefix): tensor for name, tensor in state.items()}
        checkpoints.save_pretrained(directory, config, state)


# Parts that come and go with the task, by our names and by the published ones.
_HEADS = ("pooler.", "bert.pooler.", "mlm_head.", "nsp_head.", "classifier.", "span_head.", "cls.", "qa_outputs.")


def initialise(parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
    """N(0, 0.02²) for matrices, 0 for biases, 1 for the weights of LayerNorm (Devlin et al. 2019, as released)."""
    for name, parameter in parameters:
        if parameter.dim() > 1:
            nn.init.normal_(parameter, std=0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
        else:
            nn.init.ones_(parameter)


@torch.no_grad()
def look_at_neighbours(bert: "Bert", offsets: Sequence[int]) -> None:
    """Start training with heads of the first block that attend to the token `offset` places further, one a head.

    A head start: from random weights it takes a masked-language model hundreds of steps to find out that
    neighbours matter. The position table is filled with sines and cosines in its first d_k numbers, which tokens
    and segments leave at 0. A shift by `offset` is a rotation of these (notebook 04): W_K reads them as they are,
    W_Q reads them rotated. Nothing is frozen, and heads beyond the offsets stay as they were.

    Raises ValueError for more offsets than heads, or heads of odd width.
    """
    attention, tables = bert.blocks[0].attention, bert.embeddings
    d_model, d_k = bert.config.d_model, bert.config.d_model // bert.config.num_heads
    if len(offsets) > bert.config.num_heads or d_k % 2:
        raise ValueError(
            f"{len(offsets)} offsets for {bert.config.num_heads} heads of width {d_k}: one a head, even width"
        )
    # Frequencies evenly spaced below π: then the dot product of two positions is close to 0 unless they are the same.
    omega = torch.pi * (torch.arange(d_k // 2) + 0.5) / (d_k // 2)
    angles = torch.arange(bert.config.max_len)[:, None] * omega
    for table in (tables.token.weight, tables.segment.weight):
        table[:, :d_k] = 0
    tables.position.weight.zero_()
    tables.position.weight[:, :d_k] = torch.stack([angles.sin(), angles.cos()], -1).flatten(1) * (2 / d_model) ** 0.5
    for head, offset in enumerate(offsets):
        rows = slice(d_k * head, d_k * (head + 1))
        cos, sin = (offset * omega).cos(), (offset * omega).sin()
        turned = torch.stack([torch.stack([cos, sin], -1), torch.stack([-sin, cos], -1)], -2)  # [d_k / 2, 2, 2]
        for matrix, block in (
            (attention.k_proj.weight, torch.eye(d_k)),
            (attention.q_proj.weight, torch.block_diag(*turned)),
        ):
            matrix[rows] = 0
            matrix[rows, :d_k] = 2 * block  # sharp: nearly all of the weight among some dozens of keys


class Bert(_Pretrained):
    """Token ids to one vector per token, each informed by all the others, left and right."""

    architecture = "BertModel"
    own_prefix = checkpoints.BERT.prefix

    def __init__(self, config: BertConfig, pooler: bool = True):
        super().__init__(config)
        self.embeddings = BertEmbeddings(config)
        self.blocks = nn.ModuleList(
            EncoderBlock(
                config.d_model,
                config.num_heads,
                config.d_ff,
                norm="post",
                activation=config.activation,
                dropout=config.dropout,
                attention_dropout=config.attention_dropout,
                norm_eps=config.norm_eps,
            )
            for _ in range(config.num_layers)
        )
        self.pooler = Pooler(config.d_model) if pooler else None
        initialise(self.named_parameters())

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        segment_ids: Tensor | None = None,
        positions: Tensor | None = None,
        need_states: bool = False,
    ) -> BertOutput:
        """Encode `[batch, length]` ids.

        Args:
            attention_mask: `[batch, length]`, 1 for real tokens and 0 for padding; or boolean
                `[batch, length, length]`, True = query may attend to key, which can also make the model
                causal or keep packed sequences apart (`batching.pack`).
            segment_ids: `[batch, length]`, 0 for the first sentence and 1 for the second.
            positions: `[length]` or `[batch, length]`; None counts from 0.
            need_states: whether to keep the output of every block.

        Raises:
            TypeError or ValueError: ids, a mask or segments of another type or shape, ids outside their
                tables, or more tokens than the position table has rows.
        """
        x = self.embeddings(input_ids, segment_ids, positions)
        mask = attention_over(input_ids, attention_mask)
        states = [x]
        for block in self.blocks:
            x = block(x, mask)
            if need_states:
                states.append(x)
        pooled = self.pooler(x) if self.pooler else None
        return BertOutput(x, pooled, tuple(states) if need_states else None)

    @torch.no_grad()
    def encode_all(self, sequences: Sequence[Sequence[int]], tokens_per_batch: int = 1024) -> list[Tensor]:
        """The vectors of many sequences of ids, `[length, d_model]` each, in their order.

        Sequences of one length share a batch, so nothing is padded and nothing masked: the work is that of the real
        tokens. Raises ValueError for no sequences, an empty one, or as `forward`.
        """
        _require_filled(sequences)
        by_length: dict[int, list[int]] = {}
        for index, ids in enumerate(sequences):
            by_length.setdefault(len(ids), []).append(index)
        found: dict[int, Tensor] = {}
        for length, indices in by_length.items():
            size = max(1, tokens_per_batch // length)
            for first in range(0, len(indices), size):
                members = indices[first : first + size]
                hidden = self(torch.tensor([list(sequences[i]) for i in members])).hidden
                found.update(zip(members, hidden, strict=True))
        return [found[index] for index in range(len(sequences))]


def _require_filled(sequences: Sequence[Sequence[int]]) -> None:
    if not len(sequences):
        raise ValueError("sequences is empty: there is nothing to encode")
    for index, ids in enumerate(sequences):
        if not len(ids):
            raise ValueError(f"sequence {index} is empty: drop it before encoding")


def attention_over(input_ids: Tensor, attention_mask: Tensor | None) -> Tensor | None:
    """The mask of the blocks, `[batch, 1 or length, length]`; None if every token may attend to every other."""
    if attention_mask is None:
        return None
    if attention_mask.dim() != 3:
        return real_tokens(input_ids, attention_mask).unsqueeze(1)
    expected = [*input_ids.shape, input_ids.shape[1]]
    if attention_mask.dtype != torch.bool or list(attention_mask.shape) != expected:
        raise ValueError(
            f"a mask over queries and keys must be boolean {expected}, not {attention_mask.dtype} "
            f"{list(attention_mask.shape)}"
        )
    return attention_mask


class BertForPreTraining(_Pretrained):
    """The encoder with the two heads it is pre-trained with: masked tokens and the next sentence."""

    architecture = "BertForPreTraining"

    def __init__(self, config: BertConfig):
        super().__init__(config)
        self.bert = Bert(config)
        self.mlm_head = MaskedLanguageHead(config)
        self.nsp_head = nn.Linear(config.d_model, 2)
        initialise((name, p) for name, p in self.named_parameters() if not name.startswith("bert."))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        segment_ids: Tensor | None = None,
        selected: Tensor | None = None,
    ) -> PreTrainingOutput:
        """As `Bert.forward`; `selected`, boolean `[batch, length]`, limits the token logits to those positions,
        in reading order, which saves most of the work where 15 % of the tokens are asked for."""
        hidden, pooled, _ = self.bert(input_ids, attention_mask, segment_ids)
        wanted = hidden if selected is None else hidden[selected]
        return PreTrainingOutput(self.mlm_head(wanted, self.bert.embeddings.token.weight), self.nsp_head(pooled))


class _Classifier(_Pretrained):
    """The encoder with a linear map to classes, `has_pooler` telling of which vectors."""

    has_pooler: bool

    def __init__(self, config: BertConfig):
        super().__init__(config)
        self.bert = Bert(config, pooler=self.has_pooler)
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(config.d_model, config.num_labels)
        initialise(self.classifier.named_parameters())


class BertForSequenceClassification(_Classifier):
    """The encoder with a linear map from the pooled vector to the classes of a text."""

    architecture = "BertForSequenceClassification"
    has_pooler = True

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, segment_ids: Tensor | None = None
    ) -> Tensor:
        """As `Bert.forward`, to logits `[batch, num_labels]`."""
        return self.classifier(self.dropout(self.bert(input_ids, attention_mask, segment_ids).pooled))


class BertForTokenClassification(_Classifier):
    """The encoder with a linear map from each token's vector to the classes of a token."""

    architecture = "BertForTokenClassification"
    has_pooler = False

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, segment_ids: Tensor | None = None
    ) -> Tensor:
        """As `Bert.forward`, to logits `[batch, length, num_labels]`."""
        return self.classifier(self.dropout(self.bert(input_ids, attention_mask, segment_ids).hidden))


class BertForQuestionAnswering(_Pretrained):
    """The encoder with two numbers per token: how well an answer starts, and ends, there."""

    architecture = "BertForQuestionAnswering"

    def __init__(self, config: BertConfig):
        super().__init__(replace(config, num_labels=2))  # start and end, whatever the file was made for
        self.bert = Bert(config, pooler=False)
        self.span_head = nn.Linear(config.d_model, 2)
        initialise(self.span_head.named_parameters())

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, segment_ids: Tensor | None = None
    ) -> SpanOutput:
        """As `Bert.forward`, to the logits of an answer's first and last token."""
        start, end = self.span_head(self.bert(input_ids, attention_mask, segment_ids).hidden).unbind(-1)
        return SpanOutput(start, end)
