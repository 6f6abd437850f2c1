"""Right answers of notebook 09."""

from random import Random

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib.attention import MultiHeadAttention
from course_lib.layers import FeedForward, LayerNorm

masking_in_numbers = {"hidden": 1800, "[MASK]": 1440, "random": 180, "unchanged": 180, "targets": 1800}


def assemble(first: list[int], second: list[int], cls_id: int, sep_id: int) -> tuple[list[int], list[int]]:
    """[CLS] first [SEP] second [SEP], and for each of these tokens its segment, 0 or 1."""
    input_ids = [cls_id, *first, sep_id, *second, sep_id]
    segment_ids = [0] * (len(first) + 2) + [1] * (len(second) + 1)
    return input_ids, segment_ids


def mask(
    ids: Tensor, special: Tensor, u: Tensor, v: Tensor, random_ids: Tensor, mask_id: int, rate: float = 0.15
) -> tuple[Tensor, Tensor]:
    """Hide tokens by the draws u and v from [0, 1): (input_ids, labels), all [batch, length]."""
    chosen = (u < rate) & ~special
    replaced = torch.where(v < 0.8, mask_id, torch.where(v < 0.9, random_ids, ids))
    return torch.where(chosen, replaced, ids), torch.where(chosen, ids, -100)


def whole_words(chosen: Tensor, continues: Tensor) -> Tensor:
    """Let the first piece of each word decide for all its pieces; boolean [batch, length]."""
    decided = chosen.clone()
    for position in range(1, chosen.shape[1]):
        decided[:, position] = torch.where(continues[:, position], decided[:, position - 1], chosen[:, position])
    return decided


def draw_pair(documents: list[list[str]], number: int, i: int, random: Random) -> tuple[str, str, int]:
    """Sentence i of a document and, for half of the draws, the one after it (0), else one of another document (1)."""
    first = documents[number][i]
    if random.random() < 0.5:
        return first, documents[number][i + 1], 0
    other = random.choice([k for k in range(len(documents)) if k != number])
    return first, random.choice(documents[other]), 1


def mlm_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean of -log p(right token) over the positions whose label is not -100."""
    hidden = labels != -100
    log_probs = logits[hidden].log_softmax(dim=-1)  # [hidden, vocab_size]
    return -log_probs.gather(-1, labels[hidden].unsqueeze(-1)).mean()


def unigram_loss(counts: Tensor, labels: Tensor) -> float:
    """The loss of guessing every hidden token by its frequency, each token counted once more than seen."""
    probabilities = (counts + 1) / (counts + 1).sum()
    return -probabilities.log()[labels[labels != -100]].mean().item()


class TinyBert(nn.Module):
    """Embeddings, one post-norm block and the head that guesses tokens, with the token table as its last map."""

    def __init__(self, vocab_size: int, d_model: int, num_heads: int, d_ff: int, max_len: int):
        super().__init__()
        self.token = nn.Embedding(vocab_size, d_model)
        self.position = nn.Embedding(max_len, d_model)
        self.segment = nn.Embedding(2, d_model)
        self.norm = LayerNorm(d_model)
        self.attention, self.attention_norm = MultiHeadAttention(d_model, num_heads), LayerNorm(d_model)
        self.feed_forward, self.feed_forward_norm = FeedForward(d_model, d_ff, activation="gelu"), LayerNorm(d_model)
        self.dense = nn.Linear(d_model, d_model)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, input_ids: Tensor, attention_mask: Tensor, segment_ids: Tensor) -> Tensor:
        """[batch, length] ids, boolean mask and segments -> logits [batch, length, vocab_size]."""
        positions = torch.arange(input_ids.shape[1])
        x = self.norm(self.token(input_ids) + self.position(positions) + self.segment(segment_ids))
        x = self.attention_norm(x + self.attention(x, mask=attention_mask[:, None, :])[0])
        x = self.feed_forward_norm(x + self.feed_forward(x))
        return F.gelu(self.dense(x)) @ self.token.weight.T + self.bias

    def loss(self, input_ids: Tensor, attention_mask: Tensor, segment_ids: Tensor, labels: Tensor) -> Tensor:
        """The masked-token loss; labels hold the hidden tokens, and -100 everywhere else."""
        logits = self(input_ids, attention_mask, segment_ids)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100)
