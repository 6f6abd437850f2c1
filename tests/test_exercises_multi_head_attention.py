"""Exercises of notebook 03: planted mistakes get their own message, unusual right answers pass."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from course_lib.attention import MultiHeadAttention, causal_mask, padding_mask
from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, judge
from course_lib.exercises.multi_head_attention import _Attention
from tests.judged import accepted, rejected

IDS = [f"03.{number}" for number in range(1, 7)]


def stub(*arguments):
    """Stub."""
    ...


@pytest.mark.parametrize("id", IDS)
def test_reference_passes_and_stub_is_not_attempted(id):
    accepted(id, EXERCISES[id].reference)
    assert judge(id, stub).misconception == NOT_ATTEMPTED


def test_stand_in_module_is_multi_head_attention():
    """The judges' own module computes what the course's does, with any mask that fits."""
    ours, theirs = _Attention(15, 3, seed=2), MultiHeadAttention(15, 3)
    theirs.load_state_dict(ours.state_dict())
    target, source = torch.randn(2, 5, 15), torch.randn(2, 7, 15)
    padding = padding_mask([4, 7], 7)
    for mask in (None, padding, padding & causal_mask(7)[:5], (padding & causal_mask(7)[:5])[:, None]):
        found, expected = (module(target, source, mask=mask, need_weights=True) for module in (ours, theirs))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


# --- 03.1 and 03.2 ------------------------------------------------------------------------------------------


def in_blocks(x, h):
    return x.reshape(*x.shape[:2], h, -1)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda x, h: x.reshape(len(x), h, x.shape[1], -1), "reshape-only", "tokens are mixed"),
        (lambda x, h: x.reshape(*x.shape[:2], -1, h).permute(0, 3, 1, 2), "interleaved", "block"),
        (in_blocks, "heads-after-length", "before the length"),
        (lambda x, h: x.reshape(*x.shape[:2], -1, h).transpose(1, 2), "sizes-swapped", "counts heads"),
        (lambda x, h: in_blocks(x, h).permute(0, 2, 3, 1), "transposed", "rows"),
        (lambda x, h: x[:, None].expand(-1, h, -1, -1), "whole-vector", "own block"),
        (lambda x, h: x, "shape", "(2, 5, 21)"),
        (lambda x, h: in_blocks(x, h).transpose(1, 2).flip(1), "value", "head i"),
        (lambda x, h: x.view(3, 3), "exception", "RuntimeError"),
    ],
)
def test_split_rejects(answer, misconception, word):
    rejected("03.1", answer, misconception, word)


def split_by_loops(x, num_heads, verbose=False):
    width = x.shape[-1] // num_heads
    return np.array(
        [[[row[h * width : (h + 1) * width] for row in rows] for h in range(num_heads)] for rows in x.tolist()]
    )


@pytest.mark.parametrize(
    "answer",
    [
        split_by_loops,
        lambda x, h: torch.stack(x.double().chunk(h, dim=-1), dim=1),
        lambda x, n: x.unflatten(-1, (n, -1)).movedim(2, 1),
        lambda x, n: torch.einsum("blhd->bhld", x.view(*x.shape[:2], n, -1)),
    ],
)
def test_split_accepts(answer):
    accepted("03.1", answer)


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda x: x.reshape(len(x), x.shape[2], -1), "reshape-only", "tokens are mixed"),
        (lambda x: x.permute(0, 2, 3, 1).flatten(-2), "interleaved", "side by side"),
        (lambda x: x.sum(1), "added-up", "side by side"),
        (lambda x: x.mean(1), "added-up", "side by side"),
        (lambda x: x.transpose(1, 2).view(len(x), x.shape[2], -1), "view-after-transpose", "contiguous"),
        (lambda x: x.transpose(1, 2), "shape", "(2, 5, 21)"),
        (lambda x: x.flip(1).transpose(1, 2).flatten(-2), "value", "head 0"),
    ],
)
def test_merge_rejects(answer, misconception, word):
    rejected("03.2", answer, misconception, word)


def merge_by_loops(heads, eps=0):
    return [
        [[number for head in sentence for number in head[t]] for t in range(len(sentence[0]))]
        for sentence in heads.tolist()
    ]


@pytest.mark.parametrize(
    "answer",
    [
        lambda x: torch.cat([x[:, h] for h in range(x.shape[1])], dim=-1),
        lambda x: x.numpy().swapaxes(1, 2).reshape(x.shape[0], x.shape[2], -1),
        merge_by_loops,
        lambda x: x.transpose(1, 2).contiguous().view(x.shape[0], x.shape[2], -1).double(),
    ],
)
def test_merge_accepts(answer):
    accepted("03.2", answer)


# --- 03.3 ---------------------------------------------------------------------------------------------------


def real(source, lengths):
    return padding_mask(lengths, source.shape[1])


def causally(attention, target, source, lengths):
    triangle = torch.ones(target.shape[1], source.shape[1], dtype=torch.bool).tril()
    return attention(target, source, mask=real(source, lengths) & triangle)[0]


def padding_as_queries(attention, target, source, lengths):
    return attention(target, source, mask=(torch.arange(target.shape[1]) < lengths[:, None])[:, :, None])[0]


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda a, t, s, n: a(t, s, mask=None)[0], "no-mask", "source_lengths"),
        (lambda a, t, s, n: a(t, s, mask=~real(s, n))[0], "mask-inverted", "True means"),
        (lambda a, t, s, n: a(t)[0], "self-attention", "asks itself"),
        (lambda a, t, s, n: a(t, mask=real(t, n))[0], "self-attention", "asks itself"),
        (lambda a, t, s, n: a(s, t)[0], "swapped", "target that asks"),
        (lambda a, t, s, n: a(s, t, mask=real(t, n))[0], "swapped", "target that asks"),
        (lambda a, t, s, n: a(t, s, t, mask=real(s, n))[0], "values-of-target", "both come from the source"),
        (lambda a, t, s, n: a(t, t, s, mask=real(s, n))[0], "keys-of-target", "both come from the source"),
        (causally, "causal", "whole source"),
        (lambda a, t, s, n: a(t, s, mask=real(s, n).long())[0], "exception", "boolean"),
        (padding_as_queries, "value", "real tokens"),
        (lambda a, t, s, n: a(t, s, mask=real(s, n))[0][:, :1], "shape", "(3, 1, 6)"),
        (lambda a, t, s, n: a(t, s, mask=real(s, n + 1 - n // 6))[0], "value", "real tokens"),
    ],
)
def test_cross_attention_rejects(answer, misconception, word):
    rejected("03.3", answer, misconception, word)


def one_by_one(attention, target, source, source_lengths):
    """Each sentence without its padding, so that no mask is needed."""
    pairs = zip(target, source, source_lengths.tolist(), strict=True)
    return torch.cat([attention(t[None], s[None, :length])[0] for t, s, length in pairs])


def by_hand(attention, target, source, source_lengths):
    q, k, v = attention.q_proj(target), attention.k_proj(source), attention.v_proj(source)
    mask = torch.arange(source.shape[1])[None, None] < source_lengths[:, None, None]
    heads = [
        F.scaled_dot_product_attention(*parts, mask)
        for parts in zip(*(x.split(attention.d_k, dim=-1) for x in (q, k, v)), strict=True)
    ]
    return attention.out_proj(torch.cat(heads, dim=-1))


@pytest.mark.parametrize(
    "answer",
    [
        one_by_one,
        by_hand,
        lambda a, t, s, n: a(query=t, key=s, value=s, mask=real(s, n)[:, None], need_weights=True),
        lambda a, t, s, n, **_: a(t, s, mask=real(s, n).expand(-1, t.shape[1], -1))[0].detach().numpy(),
    ],
)
def test_cross_attention_accepts(answer):
    accepted("03.3", answer)


# --- 03.4 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda x, h: x.repeat(1, h // x.shape[1], 1, 1), "tiled", "[0, 1, 0, 1, 0, 1]"),
        (lambda x, h: torch.cat([x] * (h // x.shape[1]), dim=1), "tiled", "repeat_interleave"),
        (lambda x, h: x.repeat_interleave(h, dim=1), "times-num-heads", "6 / 2 = 3"),
        (lambda x, h: x.repeat_interleave(h // x.shape[1], dim=2), "wrong-axis", "axis 1"),
        (lambda x, h: x.repeat_interleave(h // x.shape[1], dim=0), "wrong-axis", "axis 1"),
        (lambda x, h: x.mean(1, keepdim=True).expand(-1, h, -1, -1), "averaged", "average"),
        (lambda x, h: x, "shape", "(2, 6, 11, 13)"),
        (lambda x, h: x[:, :1].expand(-1, h, -1, -1), "value", "[0, 0, 0, 1, 1, 1]"),
    ],
)
def test_repeat_kv_rejects(answer, misconception, word):
    rejected("03.4", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        lambda x, h: torch.stack([x[:, i * x.shape[1] // h] for i in range(h)], dim=1),
        lambda x, h: np.repeat(x.numpy(), h // x.shape[1], axis=1),
        lambda x, num_heads: x[:, :, None].expand(-1, -1, num_heads // x.shape[1], -1, -1).flatten(1, 2).double(),
    ],
)
def test_repeat_kv_accepts(answer):
    accepted("03.4", answer)


# --- 03.5 ---------------------------------------------------------------------------------------------------


def counting(weights, biases=lambda d, h, kv: 2 * d + 2 * kv * d // h):
    """A count made of the numbers of weights and of biases, given d_model, heads and key-value heads."""

    def count(d, h, kv=None, bias=True):
        kv = kv or h
        return weights(d, h, kv) + (biases(d, h, kv) if bias else 0)

    return count


def right_weights(d, h, kv):
    return 2 * d * d + 2 * d * kv * d // h


def without_biases(d, h, kv):
    return 0


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (counting(lambda d, h, kv: 4 * d * d * h), "times-heads", "share the maps"),
        (counting(lambda d, h, kv: 3 * d * d * h + d * d), "times-heads", "share the maps"),
        (counting(lambda d, h, kv: 4 * d * d // h), "one-head", "together"),
        (counting(lambda d, h, kv: right_weights(d, h, kv) - d * d), "no-output-map", "W_O"),
        (counting(right_weights, without_biases), "no-bias", "bias=True"),
        (lambda d, h, kv=None, bias=True: counting(right_weights)(d, h, kv), "always-bias", "bias=False"),
        (counting(lambda d, h, kv: 4 * d * d, lambda d, h, kv: 4 * d), "ignores-kv-heads", "width"),
        (counting(lambda d, h, kv: 4 * d * kv * d // h), "shrinks-all", "W_Q and W_O"),
        (counting(right_weights, lambda d, h, kv: 4 * d), "bias-of-kv-full", "as short as"),
        (counting(lambda d, h, kv: d * d), "value", "d_model=35"),
        (lambda *a, **k: "4 d²", "wrong-type", "number"),
    ],
)
def test_parameters_rejects(answer, misconception, word):
    rejected("03.5", answer, misconception, word)


@pytest.mark.parametrize(
    "answer",
    [
        lambda d, h, kv=None, bias=True: sum(p.numel() for p in MultiHeadAttention(d, h, kv, bias).parameters()),
        lambda d, h, kv, b: (d + bool(b)) * (2 * d + 2 * (h if kv is None else kv) * (d / h)),
        lambda d_model, num_heads, num_kv_heads=None, bias=True, share=0: np.int64(
            counting(right_weights)(d_model, num_heads, num_kv_heads, bias)
        ),
    ],
)
def test_parameters_accepts(answer):
    accepted("03.5", answer)


# --- 03.6 ---------------------------------------------------------------------------------------------------


def before_out_proj(change):
    """A hook in front of `out_proj`; `change(heads, head, d_k)` edits a copy of the merged heads."""

    def ablate(attention, head):
        def hook(module, inputs):
            heads = inputs[0].clone()
            change(heads, head, attention.d_k)
            return (heads,)

        return attention.out_proj.register_forward_pre_hook(hook)

    return ablate


def zero(places):
    def change(heads, head, d_k):
        heads[..., places(head, d_k)] = 0

    return change


def hook_on(name, returns=lambda output: output):
    def ablate(attention, head):
        def hook(module, inputs, output):
            output = output.clone()
            output[..., head * attention.d_k : (head + 1) * attention.d_k] = 0
            return returns(output)

        return getattr(attention, name).register_forward_hook(hook)

    return ablate


def keeps_only(heads, head, d_k):
    kept = heads[..., head * d_k : (head + 1) * d_k].clone()
    heads.zero_()
    heads[..., head * d_k : (head + 1) * d_k] = kept


def edits_weights(attention, head):
    attention.out_proj.weight.data[:, head * attention.d_k : (head + 1) * attention.d_k] = 0
    return attention.out_proj.register_forward_pre_hook(lambda module, inputs: None)


def no_handle(attention, head):
    before_out_proj(zero(lambda h, d: slice(h * d, h * d + d)))(attention, head)
    return attention


def leaves_a_second_hook(attention, head):
    right(attention, head)
    return right(attention, head)


right = before_out_proj(zero(lambda h, d: slice(h * d, h * d + d)))


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (hook_on("v_proj", returns=lambda output: None), "no-effect", "returns the new value"),
        (hook_on("out_proj"), "after-the-output-map", "before `out_proj`"),
        (before_out_proj(zero(lambda h, d: slice((h - 1) % 3 * d, ((h - 1) % 3 + 1) * d))), "another-head", "from 0"),
        (before_out_proj(zero(lambda h, d: slice(h, None, 3))), "interleaved", "neighbouring"),
        (before_out_proj(keeps_only), "keeps-only", "alone"),
        (before_out_proj(lambda heads, h, d: heads.zero_()), "all-heads", "bias"),
        (hook_on("q_proj"), "queries-or-keys", "average"),
        (hook_on("k_proj"), "queries-or-keys", "average"),
        (edits_weights, "edits-weights", "out_proj.weight"),
        (no_handle, "no-handle", "handle"),
        (lambda attention, head: None if attention else right(attention, head), "no-return", "return"),
        (leaves_a_second_hook, "not-removable", "handle.remove()"),
        (before_out_proj(zero(lambda h, d: slice(h * d, h * d + d - 1))), "value", "other two"),
        (lambda attention, head: attention.out_proj.register_hook(print), "exception", "AttributeError"),
    ],
)
def test_ablation_rejects(answer, misconception, word):
    rejected("03.6", answer, misconception, word)


def subtracts_what_the_head_writes(attention, head):
    block = slice(head * attention.d_k, (head + 1) * attention.d_k)

    def hook(module, inputs, output):
        return output - inputs[0][..., block] @ module.weight[:, block].T

    return attention.out_proj.register_forward_hook(hook)


def wraps_forward(attention, head):
    """No hook at all, but the same for whoever calls the module; its own handle."""
    original = attention.out_proj.forward
    kept = torch.arange(attention.d_model) // attention.d_k != head
    attention.out_proj.forward = lambda heads: original(heads * kept)

    class Handle:
        def remove(self):
            del attention.out_proj.forward

    return Handle()


@pytest.mark.parametrize("answer", [right, hook_on("v_proj"), subtracts_what_the_head_writes, wraps_forward])
def test_ablation_accepts(answer):
    accepted("03.6", answer)


def test_reference_silences_heads_of_the_course():
    torch.manual_seed(0)
    attention, x = MultiHeadAttention(15, 3), torch.randn(2, 7, 15)
    block = slice(5, 10)
    before, _ = attention(x)
    handle = EXERCISES["03.6"].reference(attention, 1)
    found, _ = attention(x)
    handle.remove()
    q, k, v = (x_.split(5, dim=-1)[1] for x_ in (attention.q_proj(x), attention.k_proj(x), attention.v_proj(x)))
    written = F.scaled_dot_product_attention(q, k, v) @ attention.out_proj.weight[:, block].T
    torch.testing.assert_close(found, before - written)
    torch.testing.assert_close(attention(x)[0], before)
