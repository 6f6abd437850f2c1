"""Exercises of notebook 05: planted mistakes get their own message, unusual right answers pass."""

import copy
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from course_lib.attention import MultiHeadAttention
from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, judge
from course_lib.layers import FeedForward, LayerNorm
from tests.judged import accepted, rejected

BY_HAND = EXERCISES["05.1"].reference


# --- 05.1 ---------------------------------------------------------------------------------------------------


def by_hand(**changed):
    return {**copy.deepcopy(BY_HAND), **changed}


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (by_hand(mean=16), "not-divided", "divide it by 4"),
        (by_hand(mean=5), "value", "5 is not it"),
        (by_hand(variance=12), "unbiased", "n - 1 = 3"),
        (by_hand(variance=36), "not-divided", "squared distances"),
        (by_hand(variance=3), "standard-deviation", "square it"),
        (by_hand(variance=25), "not-centred", "subtract the mean"),
        (by_hand(normalised=[-5, 1, 1, 3]), "not-scaled", "√variance"),
        (by_hand(normalised=[-5 / 9, 1 / 9, 1 / 9, 1 / 3]), "no-root", "divide by its root"),
        (by_hand(normalised=[-1 / 3, 5 / 3, 5 / 3, 7 / 3]), "not-centred", "subtract the mean"),
        (by_hand(normalised=[x / math.sqrt(12) for x in (-5, 1, 1, 3)]), "unbiased", "√12"),
        (by_hand(output=[-5, 1, 2, 2]), "no-bias", "still to add"),
        (by_hand(output=[10 / 3, 1 / 3, -5 / 3, 2]), "no-weight", "multiply by the weights"),
        (by_hand(output=[10, 1, -10, 4]), "bias-first", "before you multiply"),
        (by_hand(output=[0, 1, 0, 4]), "value", "`output`"),
        (by_hand(normalised=[-5 / 3, ..., ..., 1]), "not-finished", "`normalised`"),
        (by_hand(variance=...), "not-finished", "`variance`"),
        (by_hand(output=[0, 1, 0]), "shape", "(3,)"),
        ({"mean": 4}, "missing", "`variance`"),
        ([4, 9], "wrong-type", "dictionary"),
    ],
)
def test_by_hand_rejects(answer, misconception, word):
    rejected("05.1", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        by_hand(mean=4.0, normalised=[-1.67, 0.33, 0.33, 1.0]),
        {name: np.asarray(value, dtype=float) for name, value in BY_HAND.items()},
        by_hand(variance=Fraction(36, 4), output=torch.tensor([0, 1, 0, 3])),
    ],
)
def test_by_hand_accepts(answer):
    accepted("05.1", answer)


def test_by_hand_blank():
    blank = {"mean": ..., "variance": ..., "normalised": [..., ..., ..., ...], "output": [..., ..., ..., ...]}
    assert judge("05.1", blank).misconception == NOT_ATTEMPTED


def test_by_hand_is_layer_norm():
    weight, bias = torch.tensor([3.0, 3, 6, 2]), torch.tensor([5.0, 0, -2, 1])
    output = F.layer_norm(torch.tensor([-1.0, 5, 5, 7]), (4,), weight, bias, eps=0.0)
    torch.testing.assert_close(output, torch.tensor(BY_HAND["output"], dtype=torch.float32))


# --- 05.2 ---------------------------------------------------------------------------------------------------


def norm_with(dim=-1, correction=0, outside=False, keepdim=True, centre=True, root=True, fixed=None):
    """A LayerNorm with any choice of mistakes."""

    def layer_norm(x, weight, bias, eps=1e-5):
        eps = eps if fixed is None else fixed
        mean = x.mean(dim=dim, keepdim=keepdim)
        variance = x.var(dim=dim, correction=correction, keepdim=keepdim)
        scale = variance + eps
        if root:
            scale = variance.sqrt() + eps if outside else torch.sqrt(variance + eps)
        return (x - mean if centre else x) / scale * weight + bias

    return layer_norm


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (norm_with(correction=1), "unbiased", "correction=0"),
        (norm_with(correction=1, outside=True), "unbiased", "inside the root"),
        (norm_with(outside=True), "eps-outside", "inside the square root"),
        (norm_with(fixed=0.0), "eps-ignored", "eps, here 0.5"),
        (norm_with(fixed=1e-5), "eps-ignored", "0.5"),
        (norm_with(root=False), "no-root", "standard deviation"),
        (norm_with(centre=False), "not-centred", "mean is not subtracted"),
        (norm_with(dim=0), "wrong-axis", "across tokens"),
        (norm_with(dim=(0, 1)), "several-axes", "whole tensor"),
        (lambda x, w, b, eps: F.layer_norm(x, x.shape[-2:], None, None, eps) * w + b, "several-axes", "whole tensor"),
        (lambda x, w, b, eps: F.layer_norm(x, x.shape[-1:], None, None, eps), "no-weight-and-bias", "not used yet"),
        (lambda x, w, b, eps: F.layer_norm(x, x.shape[-1:], w, None, eps), "no-bias", "bias"),
        (lambda x, w, b, eps: F.layer_norm(x, x.shape[-1:], None, b, eps), "no-weight", "weight"),
        (lambda x, w, b, eps: (F.layer_norm(x, x.shape[-1:]) + b) * w, "bias-first", "add it last"),
        (lambda x, w, b, eps: F.rms_norm(x, x.shape[-1:], w, eps) + b, "rms", "RMSNorm"),
        (lambda x, w, b, eps: x * w + b, "value", "eps=1e-05"),
        (lambda x, w, b: x, "exception", "TypeError"),
    ],
)
def test_layer_norm_rejects(answer, misconception, word):
    rejected("05.2", answer, misconception, word)


def test_layer_norm_names_a_missing_keepdim():
    def careful_with_shapes(x, weight, bias, eps=1e-5):
        square = x.dim() == 2 and x.shape[0] == x.shape[1]
        return norm_with(keepdim=not square)(x, weight, bias, eps)

    rejected("05.2", careful_with_shapes, "keepdim", "keepdim=True")


def test_layer_norm_names_one_mean_for_a_sequence():
    def per_sequence(x, weight, bias, eps=1e-5):
        return F.layer_norm(x, x.shape[-2:] if x.dim() == 3 else x.shape[-1:], None, None, eps) * weight + bias

    rejected("05.2", per_sequence, "last-two-axes", "all tokens of a sequence")


def norm_by_loops(x, weight, bias, eps=1e-5, verbose=False):
    rows = x.reshape(-1, x.shape[-1]).tolist()
    for row in rows:
        mean = sum(row) / len(row)
        deviation = math.sqrt(sum((value - mean) ** 2 for value in row) / len(row) + eps)
        row[:] = [(value - mean) / deviation * w + b for value, w, b in zip(row, weight, bias, strict=True)]
    return torch.tensor(rows).reshape(x.shape)


def norm_in_numpy(x, weight, bias, eps=1e-5):
    x, weight, bias = (part.double().numpy() for part in (x, weight, bias))
    return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps) * weight + bias


def norm_of_moments(x, weight, bias, eps=1e-5):
    mean, square = x.double().mean(-1, keepdim=True), x.double().square().mean(-1, keepdim=True)
    return (x - mean) * torch.rsqrt(square - mean**2 + eps) * weight + bias


@pytest.mark.parametrize("answer", [norm_by_loops, norm_in_numpy, norm_of_moments, norm_with()])
def test_layer_norm_accepts(answer):
    accepted("05.2", answer)


# --- 05.3 ---------------------------------------------------------------------------------------------------


def norm_class(function):
    class Norm(nn.Module):
        def __init__(self, d_model, eps=1e-5):
            super().__init__()
            self.eps = eps
            self.weight = nn.Parameter(torch.ones(d_model))
            self.bias = nn.Parameter(torch.zeros(d_model))

        def forward(self, x):
            return function(x, self.weight, self.bias, self.eps)

    return Norm


def root_taken_twice(x, weight, bias, eps):
    deviation = x.var(dim=-1, correction=0, keepdim=True).sqrt()
    return (x - x.mean(dim=-1, keepdim=True)) / torch.sqrt(deviation**2 + eps) * weight + bias


def without_gradient(x, weight, bias, eps):
    return F.layer_norm(x.detach(), x.shape[-1:], weight.detach(), bias.detach(), eps)


class Renamed(nn.Module):
    def __init__(self, d_model, eps=1e-5):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(d_model))

    def forward(self, x):
        return x * self.gamma


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (norm_class(norm_with(correction=1, outside=True)), "unbiased", "n - 1 = 4"),
        (norm_class(norm_with(correction=1)), "unbiased", "n = 5"),
        (norm_class(norm_with(outside=True)), "eps-outside", "to the variance"),
        (norm_class(norm_with(root=False)), "no-root", "root"),
        (norm_class(norm_with(fixed=1e-5)), "eps-ignored", "0.5"),
        (norm_class(norm_with(fixed=0.0)), "eps-ignored", "0.5"),
        (norm_class(root_taken_twice), "nan-gradient", "infinite"),
        (norm_class(without_gradient), "no-gradient", "detach"),
        (Renamed, "renamed", "`weight`"),
        (LayerNorm(5), "wrong-type", "without calling it"),
        (lambda d_model, eps: 3, "wrong-type", "nn.Module"),
    ],
)
def test_epsilon_rejects(answer, misconception, word):
    rejected("05.3", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        nn.LayerNorm,
        norm_class(norm_with()),
        norm_class(lambda x, w, b, eps: torch.addcmul(b, w, F.layer_norm(x, x.shape[-1:], eps=eps))),
        norm_class(norm_of_moments),
    ],
)
def test_epsilon_accepts(answer):
    accepted("05.3", answer)


# --- 05.4 ---------------------------------------------------------------------------------------------------


def feed_forward_class(function, bias=True):
    class Layer(nn.Module):
        def __init__(self, d_model, d_ff):
            super().__init__()
            self.up, self.down = nn.Linear(d_model, d_ff, bias), nn.Linear(d_ff, d_model, bias)

        def forward(self, x):
            return function(self, x)

    return Layer


class MadeInForward(nn.Module):
    def __init__(self, d_model, d_ff):
        super().__init__()
        self.d_model, self.d_ff = d_model, d_ff

    def forward(self, x):
        return nn.Linear(self.d_ff, self.d_model)(F.relu(nn.Linear(self.d_model, self.d_ff)(x)))


class Square(nn.Module):
    def __init__(self, d_model, d_ff):
        super().__init__()
        self.up, self.down = nn.Linear(d_model, d_model), nn.Linear(d_model, d_model)

    def forward(self, x):
        return self.down(F.relu(self.up(x)))


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (MadeInForward, "never-trained", "`__init__`"),
        (feed_forward_class(lambda own, x: own.down(own.up(x))), "no-activation", "one linear map"),
        (feed_forward_class(lambda own, x: F.relu(own.down(own.up(x)))), "activation-last", "never subtract"),
        (feed_forward_class(lambda own, x: F.relu(own.down(F.relu(own.up(x))))), "both-activations", "second ReLU"),
        (feed_forward_class(lambda own, x: own.down(own.up(F.relu(x)))), "activation-first", "between"),
        (feed_forward_class(lambda own, x: own.down(F.gelu(own.up(x)))), "other-activation", "GELU"),
        (feed_forward_class(lambda own, x: own.down(F.silu(own.up(x)))), "other-activation-silu", "SiLU"),
        (feed_forward_class(lambda own, x: x + own.down(F.relu(own.up(x)))), "residual", "block"),
        (feed_forward_class(lambda own, x: own.down(F.relu(own.up(x))), bias=False), "no-bias", "b_up"),
        (feed_forward_class(lambda own, x: x), "value", "W_down"),
        (lambda d_model, d_ff: nn.Linear(d_model, d_ff), "one-map", "second one"),
        (Square, "sizes", "from d_model to d_ff"),
        (feed_forward_class(lambda own, x: own.down(F.relu(own.down(x)))), "exception", "RuntimeError"),
        (FeedForward(5, 7), "wrong-type", "without calling it"),
    ],
)
def test_feed_forward_rejects(answer, misconception, word):
    rejected("05.4", answer, misconception, word)


class WithMatrices(nn.Module):
    """Matrices on the right of x, and other names."""

    def __init__(self, d_model, d_ff):
        super().__init__()
        self.W_2, self.b_2 = nn.Parameter(torch.zeros(d_ff, d_model)), nn.Parameter(torch.zeros(d_model))
        self.W_1, self.b_1 = nn.Parameter(torch.zeros(d_model, d_ff)), nn.Parameter(torch.zeros(d_ff))

    def forward(self, x):
        return torch.einsum("...f,fd->...d", (x @ self.W_1 + self.b_1).clamp(min=0), self.W_2) + self.b_2


@pytest.mark.parametrize(
    "answer",
    [
        feed_forward_class(lambda own, x: own.down(torch.relu(own.up(x)))),
        WithMatrices,
        lambda d, f: nn.Sequential(nn.Linear(d, f), nn.ReLU(), nn.Linear(f, d)),
    ],
)
def test_feed_forward_accepts(answer):
    accepted("05.4", answer)


# --- 05.5 ---------------------------------------------------------------------------------------------------


def residual(x, norm, sublayer, order):
    return x + sublayer(norm(x)) if order == "pre" else norm(x + sublayer(x))


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda x, n, f, order: residual(x, n, f, "post" if order == "pre" else "pre"), "swapped", '"post"'),
        (lambda x, n, f, order: residual(x, n, f, "pre"), "swapped", '"post" gives the result of "pre"'),
        (lambda x, n, f, order: n(x) + f(n(x)), "normalised-stream", "Add to x"),
        (lambda x, n, f, order: x + n(f(x)), "normalised-output", "what it reads"),
        (lambda x, n, f, order: n(x + f(n(x))), "both", "one norm"),
        (lambda x, n, f, order: x + f(x), "no-norm", "nothing is normalised"),
        (lambda x, n, f, order: f(n(x)), "no-residual", "replaces"),
        (lambda x, n, f, order: n(f(x)), "no-residual", "replaces"),
        (lambda x, n, f, order: x, "value", '"pre"'),
        (lambda x, n, f, order: x.add_(f(n(x))), "in-place", "input 1"),
    ],
)
def test_residual_rejects(answer, misconception, word):
    rejected("05.5", answer, misconception, word)


def residual_by_cases(x, norm, sublayer, order="pre", dropout=0.0):
    said = sublayer({"pre": norm, "post": lambda h: h}[order](x))
    return {"pre": lambda h: h, "post": norm}[order](said + x)


@pytest.mark.parametrize(
    "answer", [residual, residual_by_cases, lambda x, n, f, order: residual(x.double(), n, f, order).numpy()]
)
def test_residual_accepts(answer):
    accepted("05.5", answer)


# --- 05.6 ---------------------------------------------------------------------------------------------------


def block(forward, shared=False):
    class Block(nn.Module):
        def __init__(self, d_model, num_heads, d_ff):
            super().__init__()
            self.attention = MultiHeadAttention(d_model, num_heads)
            self.feed_forward = FeedForward(d_model, d_ff)
            self.attention_norm = LayerNorm(d_model)
            self.feed_forward_norm = self.attention_norm if shared else LayerNorm(d_model)

        def forward(self, x, mask=None):
            return forward(self, x, mask)

    return Block


def broken(own, x, mask):
    x = own.attention_norm(x)
    x = x + own.attention(x)[0]
    return x + own.feed_forward(own.feed_forward_norm(x))


def normalised_twice(own, x, mask):
    x = own.attention_norm(x)
    x = x + own.attention(own.attention_norm(x), mask=mask)[0]
    return x + own.feed_forward(own.feed_forward_norm(x))


def second_stream_normalised(own, x, mask):
    x = own.feed_forward_norm(x + own.attention(own.attention_norm(x), mask=mask)[0])
    return x + own.feed_forward(x)


def post_norm(own, x, mask):
    x = own.attention_norm(x + own.attention(x, mask=mask)[0])
    return own.feed_forward_norm(x + own.feed_forward(x))


def parallel(own, x, mask):
    said = own.attention(own.attention_norm(x), mask=mask)[0]
    return x + said + own.feed_forward(own.feed_forward_norm(x))


def attention_lost(own, x, mask):
    said = x + own.attention(own.attention_norm(x), mask=mask)[0]
    return x + own.feed_forward(own.feed_forward_norm(said))


def replaced(own, x, mask):
    x = own.attention(own.attention_norm(x), mask=mask)[0]
    return x + own.feed_forward(own.feed_forward_norm(x))


def replaced_at_the_end(own, x, mask):
    return own.feed_forward(own.feed_forward_norm(x + own.attention(own.attention_norm(x), mask=mask)[0]))


def without_a_norm(own, x, mask):
    x = x + own.attention(own.attention_norm(x), mask=mask)[0]
    return x + own.feed_forward(x)


def repaired(own, x, mask):
    x = x + own.attention(own.attention_norm(x), mask=mask)[0]
    return x + own.feed_forward(own.feed_forward_norm(x))


def mask_forgotten(own, x, mask):
    return repaired(own, x, None)


def mask_inverted(own, x, mask):
    return repaired(own, x, mask if mask is None else ~mask)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (block(broken, shared=True), "shared-norm", "42 parameters"),
        (block(repaired, shared=True), "shared-norm", "make two"),
        (block(broken), "normalised-stream", "first sum"),
        (block(normalised_twice), "normalised-stream", "once more"),
        (block(second_stream_normalised), "normalised-stream", "second sum"),
        (block(post_norm), "post-norm", "norm(x + f(x))"),
        (block(parallel), "parallel", "reads the sum"),
        (block(attention_lost), "attention-lost", "lost"),
        (block(replaced), "no-residual", "attention replaces"),
        (block(replaced_at_the_end), "no-residual", "feed-forward layer replaces"),
        (block(without_a_norm), "norm-missing", "without a norm"),
        (block(lambda own, x, mask: x), "value", "the result is not"),
        (block(mask_forgotten), "mask-forgotten", "sees the future"),
        (block(mask_inverted), "mask-inverted", "may attend"),
        (block(lambda own, x, mask: repaired(own, x, mask)[..., :1]), "shape", "(2, 5, 1)"),
        (lambda d_model, heads, d_ff: nn.Linear(d_model, d_model), "renamed", "keep the names"),
    ],
)
def test_block_rejects(answer, misconception, word):
    rejected("05.6", answer, misconception, word)


class InOneLine(nn.Module):
    """torch's norms, and a mask that is asked for by another keyword besides."""

    def __init__(self, d_model, num_heads, d_ff, dropout=0.1):
        super().__init__()
        self.attention, self.feed_forward = MultiHeadAttention(d_model, num_heads), FeedForward(d_model, d_ff)
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(d_model), nn.LayerNorm(d_model)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x, mask=None, need_weights=False):
        h = self.attention_norm(x)
        x = x + self.dropout(self.attention(h, h, h, mask, need_weights)[0])
        return self.dropout(self.feed_forward(self.feed_forward_norm(x))) + x


@pytest.mark.parametrize("answer", [block(repaired), InOneLine])
def test_block_accepts(answer):
    accepted("05.6", answer)


# --- 05.7 ---------------------------------------------------------------------------------------------------


def count(d, f, attentions=1, norms=2, maps=4, bias=True, norm_size=2, feed_forward_maps=2):
    attention = maps * (d * d + d * bias)
    feed_forward = d * f + f * bias + (d * f + d * bias) * (feed_forward_maps == 2)
    return attentions * attention + feed_forward + norms * norm_size * d


def counted(**mistakes):
    def block_parameters(d_model, d_ff, decoder=False):
        sizes = {"attentions": 2, "norms": 3} if decoder else {"attentions": 1, "norms": 2}
        return count(d_model, d_ff, **{**sizes, **mistakes})

    return block_parameters


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (counted(bias=False), "no-biases", "biases"),
        (counted(maps=3), "no-output-map", "W_O"),
        (lambda d, f, decoder: counted()(d, f, decoder) - (2 if decoder else 1) * d, "no-output-bias", "W_O"),
        (counted(feed_forward_maps=1), "one-map", "back down"),
        (counted(norms=0), "no-norms", "weight and a bias"),
        (counted(norm_size=1), "norms-incomplete", "a weight and a bias"),
        (
            lambda d, f, decoder: count(d, f, 1 + decoder, 2 + decoder, norm_size=2 - decoder),
            "norm-without-bias",
            "bias",
        ),
        (lambda d, f, decoder: counted()(d, f, decoder) - f + d, "feed-forward-biases", "first map"),
        (lambda d, f, decoder: counted()(d, f, decoder) + f - d, "feed-forward-biases", "second map"),
        (lambda d, f, decoder: count(d, f), "decoder-as-encoder", "a norm of its own"),
        (lambda d, f, decoder: count(d, f, 2, 3), "encoder-as-decoder", "decoder=False"),
        (lambda d, f, decoder: count(d, f, 1 + decoder, 2), "two-norms", "three norms"),
        (lambda d, f, decoder: count(d, f, 1, 2 + decoder), "no-cross-attention", "encoder's output"),
        (lambda d, f, decoder: count(d, f, 1 + decoder, 1), "norms-incomplete", "two norms"),
        (lambda d, f, decoder: 100, "value", "too few"),
        (lambda d, f, decoder: counted()(d, f, decoder) + 3, "value", "3 too many"),
        (lambda d, f, decoder: "many", "wrong-type", "str"),
    ],
)
def test_block_parameters_rejects(answer, misconception, word):
    rejected("05.7", answer, misconception, word)


def by_module(d_model, d_ff, decoder=False, num_heads=1):
    layer = nn.TransformerDecoderLayer if decoder else nn.TransformerEncoderLayer
    return sum(p.numel() for p in layer(d_model, num_heads, d_ff, device="meta").parameters())


@pytest.mark.parametrize(
    "answer",
    [counted(), by_module, lambda d, f, decoder: torch.tensor(float(count(d, f, 1 + decoder, 2 + decoder)))],
)
def test_block_parameters_accepts(answer):
    accepted("05.7", answer)
