"""The encoder-decoder Transformer of "Attention Is All You Need" (Vaswani et al. 2017).

Source and target are batches of token ids, padded on the right with `pad_id`; every mask is made from them.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import checkpoints
from course_lib.attention import causal_mask
from course_lib.layers import (
    DecoderBlock,
    EncoderBlock,
    KeyValueCache,
    LayerNorm,
    TokenEmbedding,
    record_attention,
    require_positive,
)
from course_lib.positions import sinusoidal

_TIED_HERE = "target_embedding.weight"  # the same tensor as the source's in a model with tied embeddings
_POSITIONS = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")  # Pegasus stores them


@dataclass(frozen=True)
class TransformerConfig:
    """Sizes of a `Transformer`; the defaults are the base model of the paper (its table 3).

    Raises ValueError for sizes below 1, a `pad_id` outside a vocabulary, or tied embeddings of two
    vocabularies; the blocks check the rest when they are built.
    """

    source_vocab_size: int = 37000  # the paper's shared byte-pair vocabulary for English and German
    target_vocab_size: int = 37000
    d_model: int = 512
    num_layers: int = 6  # of the encoder, and again of the decoder
    num_heads: int = 8
    d_ff: int = 2048
    dropout: float = 0.1  # on embeddings and on the output of each sub-layer
    norm: str = "post"  # the paper's order; "pre" trains without a careful warm-up
    activation: str = "relu"
    norm_eps: float = 1e-5
    pad_id: int = 0
    tie_embeddings: bool = False  # True: one matrix for source, target and generator, as in the paper

    def __post_init__(self):
        require_positive(
            source_vocab_size=self.source_vocab_size,
            target_vocab_size=self.target_vocab_size,
            d_model=self.d_model,
            num_layers=self.num_layers,
            num_heads=self.num_heads,
            d_ff=self.d_ff,
        )
        for name in ("source_vocab_size", "target_vocab_size"):
            if not 0 <= self.pad_id < getattr(self, name):
                raise ValueError(f"pad_id={self.pad_id} is outside the vocabulary, {name}={getattr(self, name)}")
        if self.tie_embeddings and self.source_vocab_size != self.target_vocab_size:
            raise ValueError(
                f"tie_embeddings needs one shared vocabulary, not source_vocab_size={self.source_vocab_size} "
                f"and target_vocab_size={self.target_vocab_size}"
            )


def parameter_count(config: TransformerConfig) -> int:
    """Number of parameters of the encoder and the decoder, without embeddings and generator, by formula.

    44,140,544 for the base model. 2,048 of them are the normalisations after the last block of each stack,
    which pre-norm needs and which `nn.Transformer` has for both orders.
    """
    d, f = config.d_model, config.d_ff
    attention = 4 * (d * d + d)  # W_Q, W_K, W_V, W_O and their biases
    feed_forward = d * f + f + f * d + d
    norm = 2 * d
    encoder_block = attention + feed_forward + 2 * norm
    decoder_block = 2 * attention + feed_forward + 3 * norm
    return config.num_layers * (encoder_block + decoder_block) + 2 * norm


def _block_settings(config: TransformerConfig) -> dict:
    names = ("d_model", "num_heads", "d_ff", "norm", "activation", "dropout", "norm_eps")
    return {name: getattr(config, name) for name in names}


class Encoder(nn.Module):
    """A stack of encoder blocks and a last normalisation."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.blocks = nn.ModuleList(EncoderBlock(**_block_settings(config)) for _ in range(config.num_layers))
        self.norm = LayerNorm(config.d_model, config.norm_eps)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """`[batch, source_len, d_model]` to the same shape."""
        for block in self.blocks:
            x = block(x, mask)
        return self.norm(x)


class Decoder(nn.Module):
    """A stack of decoder blocks and a last normalisation."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.blocks = nn.ModuleList(DecoderBlock(**_block_settings(config)) for _ in range(config.num_layers))
        self.norm = LayerNorm(config.d_model, config.norm_eps)

    def forward(
        self, x: Tensor, memory: Tensor, mask: Tensor | None, memory_mask: Tensor, cache: KeyValueCache | None
    ) -> Tensor:
        """`[batch, target_len, d_model]` to the same shape."""
        for block in self.blocks:
            x = block(x, memory, mask, memory_mask, cache)
        return self.norm(x)


class Transformer(nn.Module):
    """Source ids and the target so far to logits over the next target token."""

    def __init__(self, config: TransformerConfig):
        super().__init__()
        self.config = config
        # N(0, 1 / d_model) here times sqrt(d_model) in `embed` gives coordinates of variance 1.
        std = config.d_model**-0.5
        self.source_embedding = TokenEmbedding(config.source_vocab_size, config.d_model, std)
        if config.tie_embeddings:
            self.target_embedding = self.source_embedding
        else:
            self.target_embedding = TokenEmbedding(config.target_vocab_size, config.d_model, std)
            self.generator = nn.Linear(config.d_model, config.target_vocab_size, bias=False)
        self.dropout = nn.Dropout(config.dropout)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        for parameter in (*self.encoder.parameters(), *self.decoder.parameters()):
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, source_ids: Tensor, target_ids: Tensor) -> Tensor:
        """`[batch, source_len]` and `[batch, target_len]` ids to logits `[batch, target_len, vocab_size]`.

        The logits at target position t depend on the target tokens 0..t only: they predict token t + 1.
        Raises TypeError or ValueError for ids that are not integers of the vocabulary in that shape.
        """
        memory, memory_mask = self.encode(source_ids)
        return self.decode(target_ids, memory, memory_mask)

    def encode(self, source_ids: Tensor) -> tuple[Tensor, Tensor]:
        """`[batch, source_len]` ids to memory `[batch, source_len, d_model]` and its padding mask
        `[batch, 1, source_len]`, both for `decode`."""
        x = self.embed(self.source_embedding, source_ids)
        mask = (source_ids != self.config.pad_id).unsqueeze(1)  # [batch, 1, source_len]
        return self.encoder(x, mask), mask

    def decode(
        self, target_ids: Tensor, memory: Tensor, memory_mask: Tensor, cache: KeyValueCache | None = None
    ) -> Tensor:
        """Target ids `[batch, target_len]` and the results of `encode` to logits
        `[batch, target_len, vocab_size]`.

        With a `cache`, pass only the target tokens it has not seen: the logits are those of a call with all.
        Raises ValueError if target and memory are batches of different sizes.
        """
        x = self.embed(self.target_embedding, target_ids, start=0 if cache is None else cache.length)
        if target_ids.shape[0] != memory.shape[0]:
            raise ValueError(
                f"target_ids {list(target_ids.shape)} and memory {list(memory.shape)} are batches of "
                "different sizes: repeat the memory once per target"
            )
        real = target_ids != self.config.pad_id  # [batch, target_len]
        if cache is not None:
            real = cache.extend_padding(real)  # [batch, key_len]: the cached target and the new one
        mask = None  # a single new token may look at everything that is no padding
        if target_ids.shape[1] > 1 or not real.all():
            causal = causal_mask(real.shape[1], x.device)[-target_ids.shape[1] :]  # [target_len, key_len]
            mask = causal & real.unsqueeze(1)  # [batch, target_len, key_len]
        return self.logits(self.decoder(x, memory, mask, memory_mask, cache))

    def embed(self, embedding: TokenEmbedding, ids: Tensor, start: int = 0) -> Tensor:
        """Scaled embeddings plus the positions from `start` on: `[batch, length, d_model]` (section 3.4)."""
        scaled = embedding(ids) * math.sqrt(self.config.d_model)
        return self.dropout(scaled + self.position_table(start + ids.shape[1])[start:].to(scaled))

    def position_table(self, length: int) -> Tensor:
        """Vectors of the positions 0..length - 1: `[length, d_model]`. Override it for another scheme."""
        return sinusoidal(length, self.config.d_model)

    def logits(self, x: Tensor) -> Tensor:
        """Decoder output `[..., d_model]` to `[..., vocab_size]`."""
        if self.config.tie_embeddings:
            return F.linear(x, self.target_embedding.weight)
        return self.generator(x)

    @classmethod
    def from_pretrained(cls, path_or_name: str | Path) -> Self:
        """Load what `save_pretrained` wrote, as float32 and in evaluation mode; "translator" is the course's own.

        Raises FileNotFoundError if a file is not there, `checkpoints.CheckpointError` if they are damaged, of
        another family, do not fit each other, or hold other positions than `position_table`.
        """
        directory = checkpoints.resolve(path_or_name)
        form, settings = checkpoints.read_config(directory, (checkpoints.PEGASUS,))
        model = cls(TransformerConfig(**settings))
        state = checkpoints.load_safetensors(directory)
        for name in _POSITIONS:
            table = state.pop(name, None)
            if table is None or not torch.allclose(table.float(), model.position_table(len(table)), atol=1e-6):
                raise checkpoints.CheckpointError(
                    f"{name} is not the table of positions of this class, in which sines and cosines alternate: "
                    "this file was not written by its save_pretrained"
                )
        rules = form.rules(model.config.num_layers)
        checkpoints.load_into(model, form.tidy(state, rules, tied=True), rules, optional=_TIED_HERE.__eq__)
        return model.eval()

    def save_pretrained(self, directory: str | Path, *, bos_id: int, eos_id: int, max_len: int = 512) -> None:
        """Write the model in Pegasus's published form, so that transformers, or `from_pretrained`, loads it.

        transformers keeps a table of `max_len` positions as a weight and wants to know with which id a
        translation begins and ends. Raises ValueError for a config that Pegasus cannot express: it is
        pre-norm, with one matrix for both embeddings and the generator.
        """
        form, settings = checkpoints.PEGASUS, asdict(self.config)
        if different := form.differences(settings):
            raise ValueError(f"this config has no published form (not {form.model_type}: {', '.join(different)})")
        state = {name: tensor for name, tensor in self.state_dict().items() if name != _TIED_HERE}
        state = checkpoints.to_published(state, form.rules(self.config.num_layers))
        state |= {name: self.position_table(max_len) for name in _POSITIONS}
        ids = {"decoder_start_token_id": bos_id, "bos_token_id": bos_id, "eos_token_id": eos_id}
        ids |= {"forced_eos_token_id": None, "max_position_embeddings": max_len}
        checkpoints.save_pretrained(directory, form.write_settings(settings) | ids, state)

    @torch.no_grad()
    def cross_attention(self, source_ids: Tensor, target_ids: Tensor) -> Tensor:
        """Weights with which each target position reads the source, of every decoder block:
        `[num_layers, batch, num_heads, target_len, source_len]`."""
        with record_attention(self) as weights:
            self(source_ids, target_ids)
        names = [f"decoder.blocks.{i}.cross_attention" for i in range(self.config.num_layers)]
        return torch.stack([weights[name] for name in names])
