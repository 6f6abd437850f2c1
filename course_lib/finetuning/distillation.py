"""Distillation (Hinton, Vinyals and Dean 2015): a small student learns what a large teacher thinks of each text."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from course_lib import training
from course_lib.batching import IGNORED_LABEL
from course_lib.finetuning.recipe import Row, collate, logits_of, train


def distillation_loss(
    student: Tensor, teacher: Tensor, labels: Tensor, temperature: float = 2.0, weight: float = 0.5
) -> Tensor:
    """weight · T² · KL(p_T ‖ q_T) + (1 - weight) · cross-entropy, with p_T and q_T the softmax of logits / T.

    T² makes up for the gradient of softened probabilities, which is smaller by about that factor. The divergence is
    a mean over all texts, the cross-entropy over those whose label is not -100; texts without labels have only the
    first part.

    Args:
        student, teacher: logits, `[batch, classes]`.
        labels: `[batch]`.
        temperature: above 0; the higher, the softer.
        weight: of the teacher's word, from 0 to 1.

    Raises:
        ValueError: shapes that differ, a temperature that is not positive, or a weight outside [0, 1].
    """
    if student.shape != teacher.shape:
        raise ValueError(f"student's logits {list(student.shape)} and teacher's {list(teacher.shape)} differ")
    if not temperature > 0:
        raise ValueError(f"temperature={temperature} must be above 0")
    if not 0 <= weight <= 1:
        raise ValueError(f"weight={weight} must be in [0, 1]")
    log_p = (teacher / temperature).log_softmax(dim=-1)
    log_q = (student / temperature).log_softmax(dim=-1)
    soft = temperature**2 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
    if weight == 1 or bool((labels == IGNORED_LABEL).all()):
        return weight * soft
    return weight * soft + (1 - weight) * training.cross_entropy(student, labels)


def shallow_copy(model: nn.Module, layers: Sequence[int]) -> nn.Module:
    """A BERT of transformers with only these of its blocks, all else included; weights are copied, dropout is 0.

    DistilBERT's student began so, with every other block of its teacher (Sanh et al. 2019).
    Raises ValueError for no blocks, or one that the model does not have.
    """
    there = model.config.num_hidden_layers
    if not layers or any(not 0 <= layer < there for layer in layers):
        raise ValueError(f"layers={list(layers)} must name at least one of the blocks 0 to {there - 1}")
    config = copy.deepcopy(model.config)
    config.num_hidden_layers = len(layers)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    student = type(model)(config)
    state = {name: tensor for name, tensor in model.state_dict().items() if ".encoder.layer." not in name}
    for place, layer in enumerate(layers):
        mark = f".encoder.layer.{layer}."
        state |= {
            name.replace(mark, f".encoder.layer.{place}."): tensor
            for name, tensor in model.state_dict().items()
            if mark in name
        }
    student.load_state_dict(state)
    return student.train(model.training)


def distil(
    student: nn.Module,
    rows: Sequence[Row],
    teacher: Any,
    *,
    temperature: float = 2.0,
    weight: float = 0.5,
    epochs: int = 1,
    batch_size: int = 32,
    learning_rate: float = 2e-4,
    head_factor: float = 10.0,
    seed: int = 0,
    progress: bool | None = None,
) -> training.History:
    """Train `student`, a sequence classifier as for `fit`, on rows and the teacher's logits for them.

    Schedule, rates, batches and frozen embeddings are those of `fit`. A row without `labels`, or with -100, has only
    the teacher to learn from; with `weight=0` the teacher is not listened to.

    Args:
        teacher: `[rows, classes]`, as `predict` gives.
        progress: as `training.fit`.

    Raises:
        ValueError: no rows, another number of the teacher's logits, or as `distillation_loss`.
    """
    logits = torch.as_tensor(teacher)
    if not len(rows) or len(logits) != len(rows):
        raise ValueError(f"{len(rows)} rows and {len(logits)} of the teacher's logits: one for each, at least one")
    labelled = [{"labels": IGNORED_LABEL, **row} for row in rows]

    def loss(model: nn.Module, batch: tuple[dict[str, Tensor], Tensor]) -> Tensor:
        inputs, wanted = batch
        return distillation_loss(logits_of(model, inputs), wanted, inputs["labels"], temperature, weight)

    return train(
        student,
        [len(row["input_ids"]) for row in rows],
        lambda members: (collate([labelled[i] for i in members]), logits[members]),
        loss,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        head_factor=head_factor,
        seed=seed,
        progress=progress,
    )
