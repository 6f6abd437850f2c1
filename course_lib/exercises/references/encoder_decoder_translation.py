"""Right answers of notebook 06 that are not objects of `course_lib.batching`."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import layers
from course_lib.attention import causal_mask
from course_lib.positions import sinusoidal


def decoder_mask(target_ids: Tensor, pad_id: int = 0) -> Tensor:
    """[batch, n] ids -> [batch, n, n], True where the key is neither padding nor later than the query."""
    n = target_ids.shape[1]
    is_real = (target_ids != pad_id).unsqueeze(1)  # [batch, 1, n]: along the keys
    return torch.ones(n, n, dtype=torch.bool).tril() & is_real


def smoothed_loss(logits: Tensor, labels: Tensor, epsilon: float) -> Tensor:
    """Mean cross-entropy to (1 - epsilon) · one-hot + epsilon / vocab_size, over the labels that are not -100."""
    counted = labels != -100
    log_probs = logits[counted].log_softmax(dim=-1)  # [counted, vocab_size]
    right = log_probs.gather(-1, labels[counted].unsqueeze(-1)).squeeze(-1)
    return -((1 - epsilon) * right + epsilon * log_probs.mean(dim=-1)).mean()


class TinyTranslator(nn.Module):
    """One decoder block over an encoded source."""

    def __init__(self, vocab_size: int, d_model: int, num_heads: int, bos_id: int = 2):
        super().__init__()
        self.bos_id = bos_id
        self.embedding = layers.TokenEmbedding(vocab_size, d_model)
        self.block = layers.DecoderBlock(d_model, num_heads, 4 * d_model)
        self.generator = nn.Linear(d_model, vocab_size)

    def forward(self, target_ids: Tensor, memory: Tensor, source_mask: Tensor) -> Tensor:
        """[batch, n], [batch, source_len, d_model], [batch, 1, source_len] -> logits [batch, n, vocab_size]"""
        n = target_ids.shape[1]
        x = self.embedding(target_ids) + sinusoidal(n, memory.shape[-1])
        return self.generator(self.block(x, memory, causal_mask(n), source_mask))

    def loss(self, labels: Tensor, memory: Tensor, source_mask: Tensor) -> Tensor:
        """Teacher forcing: labels [batch, n], -100 = ignored -> mean cross-entropy"""
        shifted = torch.full_like(labels, self.bos_id)
        shifted[:, 1:] = labels[:, :-1].clamp(min=0)
        logits = self(shifted, memory, source_mask)
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())


def beam_search(
    next_log_probs: Callable[[tuple[int, ...]], Sequence[float]],
    num_beams: int,
    length_penalty: float,
    max_length: int,
    eos: int,
) -> tuple[tuple[int, ...], float]:
    """The best finished sequence that a beam of this width finds, and its score."""
    beams: list[tuple[tuple[int, ...], float]] = [((), 0.0)]  # (sequence, its log-probability)
    finished: list[tuple[tuple[int, ...], float]] = []
    for step in range(1, max_length + 1):
        candidates = [
            ((*ids, token), total + float(log_prob))
            for ids, total in beams
            for token, log_prob in enumerate(next_log_probs(ids))
        ]
        candidates.sort(key=lambda candidate: -candidate[1])
        beams = []
        for ids, total in candidates[:num_beams]:
            if ids[-1] == eos or step == max_length:
                finished.append((ids, total / len(ids) ** length_penalty))
            else:
                beams.append((ids, total))
    return max(finished, key=lambda hypothesis: hypothesis[1])


# les, oies, blanches, ne, dorment, pas, the full stop: the source word with the largest weight in each row.
alignment_read = {
    "reads": [0, 2, 1, 4, 5, 4, 6],
    "unread": 3,  # "do": no target word reads it most
    "crossings": 2,  # oies with blanches, dorment with pas
}
