"""Judges of notebook 17: planted wrong answers get the right message, other right answers pass."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, judge
from tests.judged import accepted, rejected

IDS = ["17.1", "17.2", "17.3", "17.4", "17.5", "17.6"]


@pytest.mark.parametrize("id", IDS)
def test_reference_passes(id):
    accepted(id, EXERCISES[id].reference)


def blank_function(*arguments):
    """A stub."""
    ...


class Blank(nn.Module):
    def __init__(self, base, rank, alpha):
        super().__init__()

    def forward(self, x): ...


@pytest.mark.parametrize("id", IDS)
def test_blank(id):
    blank = {"17.1": Blank, "17.4": {"full": ..., "LoRA, 16-bit base": ..., "QLoRA, 4-bit base": ...}}
    assert judge(id, blank.get(id, blank_function)).misconception == NOT_ATTEMPTED


# --- 17.1 ---------------------------------------------------------------------------------------------------


def layer(forward=None, b=torch.zeros, a=torch.randn, freeze=True, shapes=None):
    """A class like the reference's, with one thing changed."""

    class LoraLinear(nn.Module):
        def __init__(self, base, rank, alpha):
            super().__init__()
            self.base = base.requires_grad_(not freeze)
            self.rank, self.alpha = rank, alpha
            first, second = shapes(base, rank) if shapes else ((rank, base.in_features), (base.out_features, rank))
            self.A, self.B = nn.Parameter(a(*first)), nn.Parameter(b(*second))

        def forward(self, x):
            if forward:
                return forward(self, x)
            return self.base(x) + self.alpha / self.rank * (x @ self.A.T @ self.B.T)

    return LoraLinear


def detour(own, x):
    return x @ own.A.T @ own.B.T


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (layer(lambda own, x: own.base(x) + detour(own, x)), "no-scale", "alpha / rank"),
        (layer(lambda own, x: own.base(x) + own.alpha * detour(own, x)), "alpha-alone", "another rank"),
        (layer(lambda own, x: own.base(x) + own.rank / own.alpha * detour(own, x)), "inverted", "rank / alpha"),
        (layer(lambda own, x: own.base(x)), "no-detour", "does not use"),
        (layer(lambda own, x: own.base(x) + own.alpha / own.rank * detour(own, x).detach()), "no-gradient", "detach"),
        (layer(lambda own, x: own.alpha / own.rank * detour(own, x)), "start", "what `base` computes"),
        (layer(b=torch.randn), "start", "B starts at 0"),
        (layer(a=torch.zeros), "both-zero", "neither ever gets"),
        (layer(freeze=False), "not-frozen", "frozen"),
        (layer(shapes=lambda base, rank: ((rank, base.in_features + 1), (base.out_features, rank))), "parameters", "["),
        (lambda base, rank, alpha: base, "not-frozen", "frozen"),
        (lambda base, rank, alpha: 3, "wrong-type", "nn.Module"),
        (nn.Linear(2, 2), "wrong-type", "without calling"),
        (7, "wrong-type", "int"),
    ],
)
def test_lora_linear_rejects(answer, misconception, word):
    rejected("17.1", answer, misconception, word)


class WithLayers(nn.Module):
    """As peft writes it: two linear maps without bias, and the base copied."""

    def __init__(self, base, rank=4, alpha=8.0, dropout=0.0):
        super().__init__()
        self.linear = nn.Linear(base.in_features, base.out_features)
        self.linear.load_state_dict(base.state_dict())
        for parameter in self.linear.parameters():
            parameter.requires_grad = False
        self.down, self.up = (
            nn.Linear(base.in_features, rank, bias=False),
            nn.Linear(rank, base.out_features, bias=False),
        )
        nn.init.zeros_(self.up.weight)
        self.scaling = alpha / rank

    def forward(self, x):
        return self.linear(x) + self.up(self.down(x)) * self.scaling


turned = layer(
    lambda own, x: own.base(x) + own.alpha / own.rank * torch.einsum("...i,ir,ro->...o", x, own.A, own.B),
    shapes=lambda base, rank: ((base.in_features, rank), (rank, base.out_features)),
)
as_one_matrix = layer(lambda own, x: F.linear(x, own.base.weight + own.B @ own.A * own.alpha / own.rank, own.base.bias))


@pytest.mark.parametrize("answer", [WithLayers, turned, as_one_matrix])
def test_lora_linear_accepts(answer):
    accepted("17.1", answer)


# --- 17.2 ---------------------------------------------------------------------------------------------------


def counted(hit, size=lambda o, i, r: r * (o + i)):
    return lambda shapes, targets, rank: sum(
        size(o, i, rank) for name, (o, i) in shapes.items() if any(hit(name, t) for t in targets)
    )


def ends(name, target):
    return name == target or name.endswith("." + target)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (counted(lambda name, t: name.endswith(t)), "part-of-a-word", "bypass_key"),
        (counted(lambda name, t: t in name), "substring", "end of the name"),
        (counted(lambda name, t: name == t), "exact", "end of a name"),
        (counted(lambda name, t: name.endswith("." + t)), "whole-name", "just like the target"),
        (counted(ends, lambda o, i, r: o * i), "whole-matrix", "rank · in"),
        (counted(ends, lambda o, i, r: r * i), "a-only", "out · rank"),
        (counted(ends, lambda o, i, r: r * o), "b-only", "rank · in"),
        (counted(ends, lambda o, i, r: o + i), "no-rank", "rank 1"),
        (
            lambda shapes, targets, rank: sum(
                rank * (o + i) for t in targets for name, (o, i) in shapes.items() if ends(name, t)
            ),
            "twice",
            "one adapter",
        ),
        (lambda shapes, targets, rank: 5, "value", "5"),
        (lambda shapes, targets, rank: "five", "wrong-type", "str"),
    ],
)
def test_adapter_parameters_rejects(answer, misconception, word):
    rejected("17.2", answer, misconception, word)


def by_parts(shapes, targets, rank):
    hit = [n for n in shapes for t in targets if n.split(".")[-len(t.split(".")) :] == t.split(".")]
    return torch.tensor(float(sum(rank * sum(shapes[name]) for name in set(hit))))


@pytest.mark.parametrize("answer", [counted(ends), by_parts])
def test_adapter_parameters_accepts(answer):
    accepted("17.2", answer)


# --- 17.3 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda W, A, B, alpha: W + alpha * B @ A, "alpha-alone", "alpha / rank"),
        (lambda W, A, B, alpha: W + B @ A, "no-scale", "not scaled"),
        (lambda W, A, B, alpha: W + A.shape[0] / alpha * B @ A, "inverted", "rank / alpha"),
        (lambda W, A, B, alpha: alpha / A.shape[0] * B @ A, "update-only", "add it to W"),
        (lambda W, A, B, alpha: W - alpha / A.shape[0] * B @ A, "unmerged", "adds"),
        (lambda W, A, B, alpha: W.add_(alpha / A.shape[0] * B @ A), "in-place", "copy"),
        (lambda W, A, B, alpha: A @ B, "exception", "multiplied"),
        (lambda W, A, B, alpha: W * 0, "value", "B A"),
    ],
)
def test_merged_weight_rejects(answer, misconception, word):
    rejected("17.3", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        lambda W, A, B, alpha: np.asarray(W) + alpha / len(A) * np.asarray(B) @ np.asarray(A),
        lambda W, A, B, alpha: torch.addmm(W, B, A, alpha=alpha / B.shape[1]),
        lambda W, A, B, alpha: W + sum(alpha / len(A) * torch.outer(B[:, r], A[r]) for r in range(len(A))),
    ],
)
def test_merged_weight_accepts(answer):
    accepted("17.3", answer)


# --- 17.4 ---------------------------------------------------------------------------------------------------


def memory(full=112, lora=14.64, qlora=4.14):
    return {"full": full, "LoRA, 16-bit base": lora, "QLoRA, 4-bit base": qlora}


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (memory(full=28), "weights-only", "gradient and AdamW"),
        (memory(full=56), "no-optimiser", "two averages"),
        (memory(full=84), "no-gradient", "missing"),
        (memory(full=112e9), "bytes", "10⁹"),
        (memory(full=104.3), "gibibytes", "GiB"),
        (memory(qlora=3.86), "gibibytes", "GiB"),
        (memory(lora=0.64), "no-base", "frozen"),
        (memory(lora=28.64), "frozen-32", "fewer bits"),
        (memory(qlora=28.64), "bits", "8 bits"),
        (memory(qlora=112), "all-trained", "no gradient"),
        (memory(qlora=5), "value", "5 found"),
        (memory(qlora="4"), "wrong-type", "str"),
        ({"full": 112}, "wrong-type", "keys"),
        (112, "wrong-type", "dict"),
    ],
)
def test_memory_rejects(answer, misconception, word):
    rejected("17.4", answer, misconception, word)


@pytest.mark.parametrize("answer", [memory(), memory(lora=torch.tensor(14.64)), {**memory(), "more": 1}])
def test_memory_accepts(answer):
    accepted("17.4", answer)


# --- 17.5 ---------------------------------------------------------------------------------------------------


def quantiser(scale=lambda w: float(w.abs().max()) / 127 or 1.0, whole=torch.round):
    return lambda w: (whole(w / scale(w)), scale(w))


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (quantiser(lambda w: float(w.abs().max()) / 128 or 1.0, torch.trunc), "range", "127"),
        (quantiser(lambda w: float(w.abs().max()) / 128 or 1.0, lambda q: q.round().clamp(-127, 127)), "128", "int8"),
        (lambda w: (torch.round(w / (w.abs().max() / 127)), 127 / w.abs().max()), "inverted", "turned round"),
        (quantiser(whole=torch.trunc), "truncated", "cut off"),
        (quantiser(whole=torch.floor), "floored", "round down"),
        (quantiser(whole=lambda q: q), "not-rounded", "whole"),
        (
            quantiser(lambda w: float(w.max()) / 127, lambda q: q.round().clamp(-127, 127)),
            "no-absolute-value",
            "negative",
        ),
        (quantiser(lambda w: 2 * float(w.abs().max()) / 255 or 1.0), "range", "outside"),
        (quantiser(lambda w: 2 * float(w.abs().max()) / 255, lambda q: q.round().clamp(-127, 127)), "255", "127"),
        (quantiser(lambda w: w.abs().max() / 127), "all-zero", "0"),
        (lambda w: quantiser()(w)[::-1], "swapped", "first"),
        (lambda w: torch.round(w), "not-a-pair", "two"),
        (lambda w: (torch.round(w / 40), 40.0), "scale", "scale is 40"),
        (lambda w: (torch.zeros_like(w), quantiser()(w)[1]), "value", "half a step"),
    ],
)
def test_quantise_rejects(answer, misconception, word):
    rejected("17.5", answer, misconception, word)


def in_numpy(w):
    w = np.asarray(w, dtype=float)
    scale = max(np.abs(w).max(), 1e-12) / 127
    return np.rint(w / scale).astype(np.int8), scale


def half_up(w):
    scale = (w.double().abs().max() / 127).clamp(min=1e-30)
    return [torch.floor(w.double() / scale + 0.5).to(torch.int8), scale]


@pytest.mark.parametrize("answer", [quantiser(), in_numpy, half_up])
def test_quantise_accepts(answer):
    accepted("17.5", answer)


# --- 17.6 ---------------------------------------------------------------------------------------------------


def written(power=2, turned=False, cut=(True, True), classes=False, hard=False, swapped=False, detach=False):
    def distillation_loss(student, teacher, labels, temperature, weight):
        log_q = F.log_softmax(student / (temperature if cut[0] else 1), -1)
        log_p = F.log_softmax(teacher / (temperature if cut[1] else 1), -1)
        soft = F.kl_div(*((log_p, log_q) if turned else (log_q, log_p)), reduction="batchmean", log_target=True)
        soft = soft / (student.shape[1] if classes else 1)
        own = F.cross_entropy(student / (temperature if hard else 1), labels)
        first = 1 - weight if swapped else weight
        loss = first * temperature**power * soft + (1 - first) * own
        return loss.item() if detach else loss

    return distillation_loss


def soft_cross_entropy(student, teacher, labels, temperature, weight):
    p = (teacher / temperature).softmax(-1)
    soft = -(p * (student / temperature).log_softmax(-1)).sum(-1).mean()
    return weight * temperature**2 * soft + (1 - weight) * F.cross_entropy(student, labels)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (written(power=0), "no-t-squared", "silence the teacher"),
        (written(power=1), "t-once", "T²"),
        (written(power=-2), "t-divided", "multiplied"),
        (written(turned=True), "reversed", "in front"),
        (written(cut=(False, False)), "no-temperature", "softened"),
        (written(cut=(False, True)), "student-not-softened", "both"),
        (written(cut=(True, False)), "teacher-not-softened", "both"),
        (written(classes=True), "mean-over-classes", "sums over them"),
        (written(hard=True), "labels-softened", "without T"),
        (written(swapped=True), "weights-swapped", "teacher's part"),
        (written(detach=True), "no-gradient", "student"),
        (soft_cross_entropy, "cross-entropy", "entropy"),
        (lambda s, t, y, T, w: torch.tensor(7.0), "value", "KL"),
        (lambda s, t, y, T, w: F.cross_entropy(s, y, reduction="none"), "not-a-number", "average"),
    ],
)
def test_distillation_loss_rejects(answer, misconception, word):
    rejected("17.6", answer, misconception, word)


def by_hand(student, teacher, labels, temperature=2.0, weight=0.5, extra=None):
    total = 0.0
    for s, t, y in zip(student, teacher, labels, strict=True):
        p, q = (t / temperature).softmax(0), (s / temperature).softmax(0)
        soft = sum(p[i] * (p[i] / q[i]).log() for i in range(len(p)))
        total = total + weight * temperature**2 * soft - (1 - weight) * s.log_softmax(0)[y]
    return total / len(student)


def by_distributions(student, teacher, labels, temperature, weight):
    p, q = (torch.distributions.Categorical(logits=x / temperature) for x in (teacher, student))
    soft = torch.distributions.kl_divergence(p, q).mean()
    hard = F.nll_loss(student.log_softmax(-1), labels)
    return math.pow(temperature, 2) * weight * soft + hard * (1 - weight)


@pytest.mark.parametrize("answer", [written(), by_hand, by_distributions])
def test_distillation_loss_accepts(answer):
    accepted("17.6", answer)
