"""Decoder-only language models: GPT-2's form (Radford et al. 2019) and Llama's (Touvron et al. 2023).

One class; the config says which parts it is made of.
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
    FEED_FORWARDS,
    NORMS,
    EncoderBlock,
    KeyValueCache,
    TokenEmbedding,
    real_tokens,
    require_choice,
    require_positive,
)
from course_lib.positions import LearnedPositions, Rotation, rotation, sinusoidal

POSITIONS = ("learned", "rotary", "sinusoidal", "none")
PUBLISHED_FORMS = (checkpoints.GPT2, checkpoints.LLAMA)


@dataclass(frozen=True)
class GPTConfig:
    """Sizes and parts of a `GPT`; the defaults are GPT-2 small, `GPTConfig.llama(...)` the form of Llama.

    Raises ValueError for a size below 1 or a name that is not listed; the blocks check the rest when they
    are built.
    """

    vocab_size: int = 50257  # GPT-2's byte-level BPE
    d_model: int = 768
    num_layers: int = 12
    num_heads: int = 12
    num_kv_heads: int | None = None  # None: as many as num_heads; fewer is grouped-query attention
    d_ff: int | None = None  # None: 4 · d_model
    max_len: int = 1024  # rows of the learned table; for other positions the length trained on, not a limit
    positions: str = "learned"  # one of POSITIONS
    rotary_base: float = 10000.0
    norm_type: str = "layer"  # or "rms"
    norm_eps: float = 1e-5
    activation: str = "gelu_tanh"  # one of layers.FEED_FORWARDS
    bias: bool = True  # of the linear maps
    dropout: float = 0.0  # on embeddings and on the output of each sub-layer; GPT-2 was trained with 0.1
    attention_dropout: float = 0.0  # on the attention weights; GPT-2 was trained with 0.1
    tie_embeddings: bool = True  # the head is the embedding read backwards

    def __post_init__(self):
        if self.d_ff is None:
            object.__setattr__(self, "d_ff", 4 * self.d_model)
        names = ("vocab_size", "d_model", "num_layers", "num_heads", "d_ff", "max_len")
        require_positive(**{name: getattr(self, name) for name in names})
        require_choice("positions", self.positions, POSITIONS)
        require_choice("norm_type", self.norm_type, tuple(NORMS))
        require_choice("activation", self.activation, FEED_FORWARDS)

    @classmethod
    def llama(cls, **settings) -> Self:
        """The parts of Llama: rotary positions, RMSNorm, SwiGLU, no biases. Sizes come from `settings`."""
        return cls(**{**checkpoints.LLAMA.form, **settings})


class GPT(nn.Module):
    """Token ids to logits over the next token."""

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config = config
        self.token_embedding = TokenEmbedding(config.vocab_size, config.d_model)
        if config.positions == "learned":
            self.position_embedding = LearnedPositions(config.max_len, config.d_model)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(self._block() for _ in range(config.num_layers))
        self.final_norm = NORMS[config.norm_type](config.d_model, config.norm_eps)
        if not config.tie_embeddings:
            self.head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        self._initialise()

    def _block(self) -> EncoderBlock:
        """A decoder-only block has nothing to cross-attend to: it is an encoder block under a causal mask."""
        config = self.config
        return EncoderBlock(
            config.d_model,
            config.num_heads,
            config.d_ff,
            norm="pre",
            activation=config.activation,
            dropout=config.dropout,
            attention_dropout=config.attention_dropout,
            num_kv_heads=config.num_kv_heads,
            rotary_base=config.rotary_base if config.positions == "rotary" else None,
            norm_type=config.norm_type,
            norm_eps=config.norm_eps,
            bias=config.bias,
        )

    def _initialise(self) -> None:
        """N(0, 0.02²), and less where the residual stream sums 2 · num_layers terms (GPT-2, section 2.3)."""
        for name, parameter in self.named_parameters():
            if name.endswith(("out_proj.weight", "down.weight")):
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * self.config.num_layers))
            elif parameter.dim() > 1:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith(".bias"):
                nn.init.zeros_(parameter)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, cache: KeyValueCache | None = None
    ) -> Tensor:
        """`[batch, length]` ids to logits `[batch, length, vocab_size]`; those at t see the tokens 0..t.

        `attention_mask`, `[batch, length]`, is 1 for real tokens and 0 for padding, on either side; positions
        count real tokens only. With a `cache`, ids and mask hold the new tokens only, and the logits are
        those of a call with all tokens.

        Raises TypeError or ValueError for ids or a mask of another type or shape, ids outside the vocabulary,
        or more tokens than a learned table has positions.
        """
        tokens = self.token_embedding(input_ids)  # [batch, length, d_model]
        real = real_tokens(input_ids, attention_mask)
        if cache is not None:
            real = cache.extend_padding(real)
        length = input_ids.shape[1]
        positions = (real.cumsum(dim=1) - 1).clamp(min=0)[:, -length:]  # [batch, length]
        mask = self._mask(real, length)
        x = self.dropout(self.place(tokens, positions))
        turn = self._rotation(positions, tokens.dtype)
        for block in self.blocks:
            x = block(x, mask, turn, cache)
        return self.logits(self.final_norm(x))

    def _mask(self, real: Tensor, length: int) -> Tensor | None:
        """Which keys the last `length` tokens may attend to, `[batch or 1, length, key_len]`; `real` is of all keys.

        Without padding the batch shares one mask, and a single new token, which may look at everything, needs none.
        """
        key_len = real.shape[1]
        is_full = bool(real.all())
        if is_full and length == 1:
            return None
        causal = causal_mask(key_len, real.device)[key_len - length :]  # [length, key_len]
        return causal.unsqueeze(0) if is_full else causal & real.unsqueeze(1)

    def _rotation(self, positions: Tensor, dtype: torch.dtype) -> Rotation | None:
        """The angles of rotary positions, the same for all blocks; None for a model without them."""
        if self.config.positions != "rotary":
            return None
        d_k = self.config.d_model // self.config.num_heads
        return rotation(positions.unsqueeze(1), d_k, self.config.rotary_base, dtype)  # the heads share them

    def place(self, tokens: Tensor, positions: Tensor) -> Tensor:
        """Add positions `[batch, length]` to embeddings `[batch, length, d_model]`, if they are added here at
        all: rotary ones act inside attention."""
        if self.config.positions == "learned":
            return tokens + self.position_embedding(positions)
        if self.config.positions == "sinusoidal":  # the embeddings are scaled as in the Transformer's paper
            table = sinusoidal(int(positions.max()) + 1, self.config.d_model).to(tokens)
            return tokens * math.sqrt(self.config.d_model) + table[positions]
        return tokens

    def logits(self, x: Tensor) -> Tensor:
        """Output of the last block `[..., d_model]` to `[..., vocab_size]`."""
        if self.config.tie_embeddings:
            return F.linear(x, self.token_embedding.weight)
        return self.head(x)

    @classmethod
    def from_pretrained(cls, path_or_name: str | Path) -> Self:
        """Load a model saved in GPT-2's or Llama's published form, as float32 and in evaluation mode.

        Give the directory that holds its `config.json` and `model.safetensors`, or the name of an asset.
        Raises FileNotFoundError if a file is not there, `checkpoints.CheckpointError` if they are damaged, of
        another family, or do not fit each other.
        """
        directory = checkpoints.resolve(path_or_name)
        form, settings = checkpoints.read_config(directory, PUBLISHED_FORMS)
        config = GPTConfig(**settings)
        with torch.device("meta"):  # no memory and no random numbers for weights that are about to be read
            model = cls(config)
        model.to_empty(device="cpu")
        rules = form.rules(config.num_layers)
        state = form.tidy(checkpoints.load_safetensors(directory), rules, config.tie_embeddings)
        checkpoints.load_into(model, state, rules)
        return model.eval()

    def save_pretrained(self, directory: str | Path) -> None:
        """Write the model so that transformers, or `from_pretrained`, loads it.

        Raises ValueError for a mixture of parts that neither GPT-2 nor Llama has.
        """
        settings = asdict(self.config)
        differences = {form.model_type: form.differences(settings) for form in PUBLISHED_FORMS}
        for form in PUBLISHED_FORMS:
            if not differences[form.model_type]:
                state = checkpoints.to_published(self.state_dict(), form.rules(self.config.num_layers))
                checkpoints.save_pretrained(directory, form.write_settings(settings), state)
                return
        reasons = "; ".join(f"not {name}: {', '.join(found)}" for name, found in differences.items())
        raise ValueError(f"this config has no published form ({reasons})")
