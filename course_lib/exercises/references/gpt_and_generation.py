"""Right answers of notebook 07 that are not objects of `course_lib.decoding`."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import layers
from course_lib.attention import causal_mask
from course_lib.positions import LearnedPositions


def perplexity(logits: Tensor, labels: Tensor) -> float:
    """Perplexity of [..., vocab_size] logits on [...] labels; those that are -100 do not count."""
    counted = labels != -100
    log_probs = logits.log_softmax(dim=-1)[counted]  # [counted, vocab_size]
    likelihood = log_probs.gather(-1, labels[counted].unsqueeze(-1))
    return math.exp(-likelihood.mean().item())


def bigram_table(ids: Tensor, vocab_size: int, add: float = 1.0) -> Tensor:
    """P(next | previous) from the pairs of a text [n], with `add` added to every count: [previous, next]."""
    pairs = ids[:-1] * vocab_size + ids[1:]  # one number for each pair
    counts = torch.bincount(pairs, minlength=vocab_size**2).reshape(vocab_size, vocab_size) + add
    return counts / counts.sum(dim=1, keepdim=True)


class TinyLanguageModel(nn.Module):
    """One pre-norm block over tokens and learned positions."""

    def __init__(self, vocab_size: int, d_model: int, num_heads: int, max_len: int):
        super().__init__()
        self.token = layers.TokenEmbedding(vocab_size, d_model)
        self.position = LearnedPositions(max_len, d_model)
        self.block = layers.EncoderBlock(d_model, num_heads, 4 * d_model)
        self.head = nn.Linear(d_model, vocab_size)

    def forward(self, ids: Tensor) -> Tensor:
        """[batch, n] -> logits [batch, n, vocab_size]; those at t are about token t + 1."""
        n = ids.shape[1]
        x = self.token(ids) + self.position(torch.arange(n))
        return self.head(self.block(x, causal_mask(n)))

    def loss(self, ids: Tensor) -> Tensor:
        """Mean cross-entropy of the tokens 1 to n - 1."""
        logits = self(ids)[:, :-1]  # what is behind the last token is not known
        return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def cached_step(q: Tensor, k: Tensor, v: Tensor, cached_k: Tensor, cached_v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """New q, k, v [heads, 1, d_k] and cached keys and values [heads, seen, d_k] -> (output, all_k, all_v)."""
    all_k, all_v = torch.cat((cached_k, k), dim=-2), torch.cat((cached_v, v), dim=-2)
    scores = q @ all_k.transpose(-2, -1) / math.sqrt(q.shape[-1])  # [heads, 1, seen + 1]
    return scores.softmax(dim=-1) @ all_v, all_k, all_v


def cache_bytes(
    num_layers: int, num_heads: int, num_kv_heads: int, d_model: int, length: int, batch: int = 1, bytes_each: int = 4
) -> int:
    """Bytes that the keys and values of all layers take."""
    d_k = d_model // num_heads
    return 2 * batch * num_layers * num_kv_heads * d_k * length * bytes_each  # 2: keys and values
