"""Right answers of notebook 12."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def label_scores(logits: Tensor, id2label: Mapping[int, str], top_k: int | None = 1) -> list[dict]:
    """[num_labels] logits -> the top_k classes, best first, as {"label": ..., "score": ...}; None gives all."""
    p = torch.softmax(logits, dim=-1)
    order = p.argsort(descending=True)[:top_k]
    return [{"label": id2label[i], "score": p[i].item()} for i in order.tolist()]


chosen = {
    "decided_by": "model_type",  # "bert"; the task comes from the name of the Auto class
    "class": "BertForTokenClassification",
    "new": ["classifier.weight", "classifier.bias"],  # in the model, not in the file
    "weight_shape": (9, 384),  # [num_labels, hidden_size]
    "left_out": "pooler",  # in the file, not in the model: a tagger asks nothing about the whole text
}


def pad_batch(sequences: Sequence[Sequence[int]], pad_id: int = 0) -> tuple[Tensor, Tensor]:
    """Lists of ids -> input_ids and attention_mask, both [batch, longest]; 1 = real token."""
    longest = max(map(len, sequences))
    ids = [[*row, *[pad_id] * (longest - len(row))] for row in sequences]
    mask = [[1] * len(row) + [0] * (longest - len(row)) for row in sequences]
    return torch.tensor(ids), torch.tensor(mask)


def mean_of_tokens(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """[batch, length, d_model] and [batch, length] -> [batch, d_model], the mean over each text's real tokens."""
    real = attention_mask.unsqueeze(-1)
    return (hidden * real).sum(dim=1) / real.sum(dim=1)


def entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """Tags of the words -> (kind, start, end) of each entity, `end` being the place behind its last word."""
    found = []
    for i, tag in enumerate(tags):
        prefix, _, kind = tag.partition("-")
        if prefix == "I" and found and found[-1][0] == kind and found[-1][2] == i:
            found[-1] = (kind, found[-1][1], i + 1)
        elif prefix != "O":
            found.append((kind, i, i + 1))
    return found


def best_answer(
    start: Tensor, end: Tensor, offsets: Sequence[tuple[int, int] | None], passage: str, longest: int = 15
) -> str:
    """Start and end logits, [length] each -> the text of the best span; offsets are None outside the passage."""
    best, text = -torch.inf, ""
    for i in range(len(offsets)):
        for j in range(i, min(i + longest, len(offsets))):
            if offsets[i] is not None and offsets[j] is not None and start[i] + end[j] > best:
                best, text = start[i] + end[j], passage[offsets[i][0] : offsets[j][1]]
    return text
