"""Distillation against torch's divergence, and a student that is its teacher cut short."""

import numpy as np
import pytest
import torch
import transformers
from torch.nn import functional as F
from torch.testing import assert_close

from course_lib.finetuning import predict
from course_lib.finetuning.distillation import distil, distillation_loss, shallow_copy


def small(layers=3, dropout=0.1):
    torch.manual_seed(0)
    sizes = {"vocab_size": 17, "hidden_size": 12, "num_hidden_layers": layers, "num_attention_heads": 3}
    config = transformers.BertConfig(
        **sizes, intermediate_size=29, max_position_embeddings=19, num_labels=2, hidden_dropout_prob=dropout
    )
    return transformers.BertForSequenceClassification(config).eval()


def made_up(n=23, seed=0):
    generator = np.random.default_rng(seed)
    ids = [generator.integers(5, 17, size=generator.integers(3, 11)).tolist() for _ in range(n)]
    return [{"input_ids": row, "labels": int(row[0] > 10)} for row in ids]


# ------------------------------------------------------------------------------------------ the loss


@pytest.mark.parametrize(("temperature", "weight"), [(1.0, 0.5), (3.0, 0.25), (2.0, 1.0), (2.0, 0.0)])
def test_loss_is_the_formula(temperature, weight):
    generator = torch.Generator().manual_seed(1)
    student, teacher = (torch.randn(7, 5, generator=generator) for _ in range(2))
    labels = torch.arange(7) % 5
    p, q = (torch.distributions.Categorical(logits=logits / temperature) for logits in (teacher, student))
    soft = torch.distributions.kl_divergence(p, q).mean()
    right = weight * temperature**2 * soft + (1 - weight) * F.cross_entropy(student, labels)
    assert_close(distillation_loss(student, teacher, labels, temperature, weight), right)


def test_texts_without_labels_have_only_the_teacher():
    student, teacher = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    none, one = torch.tensor([-100, -100]), torch.tensor([1, -100])
    soft = distillation_loss(student, teacher, one, weight=1.0)
    assert_close(distillation_loss(student, teacher, none, weight=0.5), 0.5 * soft)
    right = 0.5 * soft + 0.5 * F.cross_entropy(student[:1], one[:1])
    assert_close(distillation_loss(student, teacher, one, weight=0.5), right)


def test_the_gradient_keeps_its_size_at_high_temperatures():
    teacher, labels = torch.tensor([[2.0, -1.0, 0.5]]), torch.tensor([0])
    norms = []
    for temperature in (10.0, 100.0):
        student = torch.tensor([[0.3, 0.1, -0.2]], requires_grad=True)
        distillation_loss(student, teacher, labels, temperature, weight=1.0).backward()
        norms.append(student.grad.norm().item())
    assert norms[1] == pytest.approx(norms[0], rel=0.1)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"temperature": 0.0}, "above 0"), ({"weight": 1.5}, "0, 1"), ({"teacher": torch.zeros(2, 3)}, "differ")],
)
def test_loss_refuses(changes, words):
    given = {"student": torch.zeros(2, 2), "teacher": torch.zeros(2, 2), "labels": torch.tensor([0, 1])}
    with pytest.raises(ValueError, match=words):
        distillation_loss(**{**given, **changes})


# ------------------------------------------------------------------------------------------ the student


def test_shallow_copy_takes_the_blocks_it_is_told_to():
    teacher = small()
    student = shallow_copy(teacher, [0, 2])
    assert student.config.num_hidden_layers == 2 and student.config.hidden_dropout_prob == 0.0
    ids = torch.tensor([[2, 7, 5, 3]])
    hidden = teacher.bert.embeddings(ids)
    for layer in (0, 2):
        hidden = teacher.bert.encoder.layer[layer](hidden)
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
    right = teacher.classifier(teacher.bert.pooler(hidden))
    assert_close(student(ids).logits, right)
    with torch.no_grad():
        student.classifier.weight.zero_()
    assert teacher.classifier.weight.abs().sum() > 0  # a copy


def test_all_blocks_are_the_teacher():
    teacher, rows = small(), made_up()
    assert np.array_equal(predict(shallow_copy(teacher, [0, 1, 2]), rows), predict(teacher, rows))


@pytest.mark.parametrize("layers", [[], [3], [-1, 0]])
def test_shallow_copy_refuses(layers):
    with pytest.raises(ValueError, match="blocks 0 to 2"):
        shallow_copy(small(), layers)


# ------------------------------------------------------------------------------------------ training


def test_a_student_learns_from_its_teacher_alone():
    rows = made_up(61)
    wanted = np.array([[-2.0, 2.0] if row["labels"] else [2.0, -2.0] for row in rows], dtype=np.float32)
    student = shallow_copy(small(), [0])
    embeddings = student.bert.embeddings.word_embeddings.weight.detach().clone()
    before = np.abs(predict(student, rows) - wanted).mean()
    without = [{"input_ids": row["input_ids"]} for row in rows]
    history = distil(student, without, wanted, weight=1.0, epochs=40, batch_size=16, learning_rate=5e-3)
    assert np.abs(predict(student, rows) - wanted).mean() < before / 2 and history.steps == 40 * 4
    assert torch.equal(student.bert.embeddings.word_embeddings.weight, embeddings)
    assert all(parameter.requires_grad for parameter in student.parameters())


def test_without_weight_the_teacher_is_not_heard():
    rows = made_up(40)
    logits = []
    for teacher in (np.zeros((40, 2), np.float32), np.full((40, 2), 7.0, np.float32)):
        student = shallow_copy(small(), [1])
        distil(student, rows, teacher, weight=0.0, learning_rate=1e-3)
        logits.append(predict(student, rows))
    assert np.array_equal(*logits)


@pytest.mark.parametrize(("rows", "teacher"), [([], np.zeros((0, 2))), (made_up(5), np.zeros((4, 2)))])
def test_distil_refuses(rows, teacher):
    with pytest.raises(ValueError, match="one for each"):
        distil(small(), rows, teacher)


def test_an_error_leaves_everything_trainable():
    student = small()
    with pytest.raises(ValueError, match="temperature=0"):
        distil(student, made_up(5), np.zeros((5, 2), np.float32), temperature=0)
    assert all(parameter.requires_grad for parameter in student.parameters())
