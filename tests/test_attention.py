"""Attention against torch's own kernels, closed forms and properties; sizes are prime and all different."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.autograd import gradcheck
from torch.nn import functional as F
from torch.testing import assert_close

from course_lib.attention import (
    MultiHeadAttention,
    causal_mask,
    padding_mask,
    scaled_dot_product_attention,
    softmax,
    softmax_jacobian,
)

BATCH, HEADS, QUERY, KEY, D_K, D_V = 2, 3, 5, 7, 11, 13
SEEDS = (0, 1, 2)
TIGHT = {"rtol": 1e-6, "atol": 1e-6}
# Machine epsilon times a few roundings.
BY_DTYPE = {
    torch.float64: {"rtol": 1e-12, "atol": 1e-12},
    torch.float32: TIGHT,
    torch.float16: {"rtol": 4e-3, "atol": 4e-3},
    torch.bfloat16: {"rtol": 3e-2, "atol": 3e-2},
}


def qkv(seed, dtype=torch.float32, requires_grad=False):
    generator = torch.Generator().manual_seed(seed)
    shapes = ((BATCH, HEADS, QUERY, D_K), (BATCH, HEADS, KEY, D_K), (BATCH, HEADS, KEY, D_V))
    return [
        torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype).requires_grad_(requires_grad)
        for shape in shapes
    ]


def random_mask(seed, shape=(BATCH, 1, QUERY, KEY)):
    """Half the places allowed, and the second query of everything allowed nothing."""
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.5
    mask[..., 1, :] = False
    return mask


# --- masks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_causal_mask_allows_the_keys_up_to_the_query(n):
    expected = [[key <= query for key in range(n)] for query in range(n)]
    mask = causal_mask(n)
    assert mask.dtype == torch.bool and mask.shape == (n, n)
    assert mask.tolist() == expected


@given(st.integers(0, 9).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n), max_size=6))))
def test_padding_mask_allows_the_first_keys_of_each_row(case):
    n, lengths = case
    mask = padding_mask(lengths, n)
    assert mask.dtype == torch.bool and mask.shape == (len(lengths), 1, n)
    assert mask[:, 0].tolist() == [[key < length for key in range(n)] for length in lengths]
    assert mask.equal(padding_mask(torch.tensor(lengths, dtype=torch.int32), n))
    assert mask.equal(padding_mask(np.array(lengths, dtype=np.int64), n))


def test_padding_and_causal_masks_combine():
    mask = padding_mask([2, 3], 3) & causal_mask(3)
    assert mask.int().tolist() == [
        [[1, 0, 0], [1, 1, 0], [1, 1, 0]],
        [[1, 0, 0], [1, 1, 0], [1, 1, 1]],
    ]


@pytest.mark.parametrize("make", [lambda: causal_mask(-3), lambda: padding_mask([], -3)])
def test_negative_size_is_named(make):
    with pytest.raises(ValueError, match="n=-3 is negative"):
        make()


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([2, 9], r"lengths\[1\]=9 is larger than n=7; pass n=max\(lengths\) or more"),
        ([2, 3, -1], r"lengths\[2\]=-1 is negative"),
        ([2.0, 3.0], r"lengths has shape \[2\] and dtype torch\.float32; pass one whole number per sequence"),
        ([True, False], r"dtype torch\.bool"),
        ([[2, 3]], r"lengths has shape \[1, 2\]"),
        (5, r"lengths has shape \[\]"),
    ],
)
def test_padding_mask_names_the_wrong_length(lengths, message):
    with pytest.raises(ValueError, match=message):
        padding_mask(lengths, 7)


# --- softmax ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -2])
@pytest.mark.parametrize("dtype", BY_DTYPE)
def test_softmax_equals_torch(dtype, dim):
    scores = (10 * torch.randn(3, 5, 7, generator=torch.Generator().manual_seed(0))).to(dtype)
    assert softmax(scores, dim).dtype == dtype
    assert_close(softmax(scores, dim), torch.softmax(scores, dim), **BY_DTYPE[dtype])


def test_softmax_of_huge_scores_stays_exact():
    scores = torch.tensor([[1e4, 1e4 - math.log(3.0)], [-1e4, -1e4 + math.log(3.0)]], dtype=torch.float64)
    expected = torch.tensor([[0.75, 0.25], [0.25, 0.75]], dtype=torch.float64)
    assert_close(softmax(scores), expected, rtol=1e-9, atol=1e-9)


def test_softmax_of_integers_is_that_of_floats():
    scores = torch.tensor([[1, 2, 3], [-5, 0, 5]])
    assert_close(softmax(scores), torch.softmax(scores.float(), -1), **TIGHT)


def test_softmax_of_nothing_is_zeros_in_both_directions():
    scores = torch.tensor([[0.0, 1.0, -math.inf], [-math.inf] * 3], requires_grad=True)
    p = softmax(scores)
    assert p[1].tolist() == [0.0, 0.0, 0.0]
    assert p[0, 2] == 0.0
    (grad,) = torch.autograd.grad((p * torch.tensor([2.0, 3.0, 5.0])).sum(), scores)
    # d/ds of 2 p_0 + 3 p_1 is p_0 p_1 (2 - 3, 3 - 2)
    slope = (p[0, 0] * p[0, 1]).item()
    assert_close(grad, torch.tensor([[-slope, slope, 0.0], [0.0, 0.0, 0.0]]), **TIGHT)
    assert softmax(torch.empty(3, 0)).shape == (3, 0)


def test_softmax_leaves_its_input_alone():
    scores = torch.tensor([[1.0, -math.inf], [-math.inf, -math.inf]])
    before = scores.clone()
    softmax(scores)
    assert scores.equal(before)


def test_softmax_gradient_is_right_to_second_order():
    scores = torch.randn(3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    scores.requires_grad_()
    assert gradcheck(softmax, (scores,))
    assert torch.autograd.gradgradcheck(softmax, (scores,))


@pytest.mark.parametrize("seed", SEEDS)
def test_softmax_jacobian_is_what_autograd_finds(seed):
    scores = torch.randn(7, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    expected = torch.autograd.functional.jacobian(lambda s: torch.softmax(s, -1), scores)
    assert_close(softmax_jacobian(torch.softmax(scores, -1)), expected, rtol=1e-12, atol=1e-12)


def test_softmax_jacobian_works_batched():
    p = torch.softmax(torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)), -1)
    jacobian = softmax_jacobian(p)
    assert jacobian.shape == (2, 3, 5, 5)
    assert_close(jacobian[1, 2], torch.diag(p[1, 2]) - torch.outer(p[1, 2], p[1, 2]), **TIGHT)
    assert_close(jacobian.sum(-1), torch.zeros(2, 3, 5), **TIGHT)  # shifting all scores changes nothing


# --- scaled dot-product attention ---------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("dtype", BY_DTYPE)
@pytest.mark.parametrize("masked", [False, True])
def test_attention_equals_torch(dtype, seed, masked):
    q, k, v = qkv(seed, dtype)
    mask = random_mask(seed) if masked else None
    output, weights = scaled_dot_product_attention(q, k, v, mask)
    assert output.dtype == weights.dtype == dtype
    assert output.shape == (BATCH, HEADS, QUERY, D_V) and weights.shape == (BATCH, HEADS, QUERY, KEY)
    assert_close(output, F.scaled_dot_product_attention(q, k, v, mask), **BY_DTYPE[dtype])
    assert_close(output, weights @ v)


def test_attention_by_hand():
    # d_k = 4, so the scores ln 3 · 2 · 2 / √4 = 2 ln 3 and 0 give the weights 9/10 and 1/10.
    q = torch.tensor([[2.0, 0.0, 0.0, 0.0]], dtype=torch.float64)
    k = torch.tensor([[2.0 * math.log(3.0), 1.0, 1.0, 1.0], [0.0, 5.0, 5.0, 5.0]], dtype=torch.float64)
    v = torch.tensor([[10.0, 0.0, 20.0], [0.0, 10.0, 20.0]], dtype=torch.float64)
    output, weights = scaled_dot_product_attention(q, k, v)
    assert_close(weights, torch.tensor([[0.9, 0.1]], dtype=torch.float64))
    assert_close(output, torch.tensor([[9.0, 1.0, 20.0]], dtype=torch.float64))


@pytest.mark.parametrize(
    "shape",
    [
        (KEY,),
        (1, 1),
        (QUERY, 1),
        (QUERY, KEY),
        (HEADS, 1, KEY),
        (BATCH, 1, QUERY, KEY),
        (BATCH, HEADS, 1, KEY),
    ],
)
def test_every_broadcastable_mask_is_taken(shape):
    q, k, v = qkv(0)
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(5)) < 0.6
    output, weights = scaled_dot_product_attention(q, k, v, mask)
    full = mask.expand(BATCH, HEADS, QUERY, KEY)
    assert_close(output, F.scaled_dot_product_attention(q, k, v, full), **TIGHT)
    assert not weights[~full].any()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=KEY, max_size=KEY), min_size=QUERY, max_size=QUERY))
def test_any_mask_gives_rows_of_one_or_of_zero(rows):
    mask = torch.tensor(rows)
    q, k, v = qkv(0, requires_grad=True)
    output, weights = scaled_dot_product_attention(q, k, v, mask)
    assert not weights[..., ~mask].any()
    assert_close(weights.sum(-1), mask.any(-1).float().expand(BATCH, HEADS, QUERY))
    assert not output[..., ~mask.any(-1), :].any()
    grads = torch.autograd.grad(output.square().sum(), (q, k, v))
    expected = torch.autograd.grad(F.scaled_dot_product_attention(q, k, v, mask).square().sum(), (q, k, v))
    for grad, wanted in zip(grads, expected, strict=True):
        assert_close(grad, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", BY_DTYPE)
def test_query_that_may_attend_to_nothing_gives_zeros_forward_and_backward(dtype):
    q, k, v = qkv(0, dtype, requires_grad=True)
    output, weights = scaled_dot_product_attention(q, k, v, random_mask(0))
    assert not output[:, :, 1].any() and not weights[:, :, 1].any()
    output.sum().backward()
    assert not q.grad[:, :, 1].any()
    assert all(x.grad.isfinite().all() for x in (q, k, v))


def test_no_keys_at_all_give_zeros():
    q, k, v = torch.randn(2, 5, 3), torch.randn(2, 0, 3), torch.randn(2, 0, 7)
    output, weights = scaled_dot_product_attention(q, k, v)
    assert output.equal(torch.zeros(2, 5, 7)) and weights.shape == (2, 5, 0)


@pytest.mark.parametrize("masked", [False, True])
def test_attention_gradients_pass_gradcheck(masked):
    inputs = [x[:1, :1, :, :3] for x in qkv(0, torch.float64)]
    mask = random_mask(0, (QUERY, KEY)) if masked else None
    assert gradcheck(lambda *x: scaled_dot_product_attention(*x, mask), [x.clone().requires_grad_() for x in inputs])


def test_attention_edits_nothing_in_place():
    tensors = [*qkv(0), random_mask(0)]
    before = [x.clone() for x in tensors]
    scaled_dot_product_attention(*tensors, dropout_p=0.3)
    assert all(x.equal(y) for x, y in zip(tensors, before, strict=True))


def test_attention_is_the_same_without_gradients():
    q, k, v = qkv(0, requires_grad=True)
    with torch.no_grad():
        silent, _ = scaled_dot_product_attention(q, k, v)
    assert silent.equal(scaled_dot_product_attention(q, k, v)[0].detach())


def test_large_products_do_not_overflow_in_float16():
    q = torch.full((1, 64), 40.0, dtype=torch.float16)  # q · k = 102,400 > 65,504, q · k / √64 = 12,800
    k = torch.cat([q, -q])
    output, _ = scaled_dot_product_attention(q, k, k)
    assert_close(output, q)


@pytest.mark.parametrize("seed", SEEDS)
def test_queries_are_permuted_with_the_output_and_the_order_of_keys_is_invisible(seed):
    q, k, v = qkv(seed, torch.float64)
    generator = torch.Generator().manual_seed(seed)
    queries, keys = torch.randperm(QUERY, generator=generator), torch.randperm(KEY, generator=generator)
    output, weights = scaled_dot_product_attention(q, k, v)
    permuted, permuted_weights = scaled_dot_product_attention(q[..., queries, :], k[..., keys, :], v[..., keys, :])
    assert_close(permuted, output[..., queries, :])
    assert_close(permuted_weights, weights[..., queries, :][..., keys])


def test_dropout_zeroes_weights_and_keeps_their_mean():
    q, k, v = (x[0, 0] for x in qkv(0))
    p, n = 0.3, 20_000
    torch.manual_seed(0)
    output, weights = scaled_dot_product_attention(q.expand(n, -1, -1), k, v, dropout_p=p)
    _, kept = scaled_dot_product_attention(q, k, v)
    dropped = (weights == 0).double().mean(0)
    # Five standard errors: of a proportion, and of a weight w that is 0 or w / (1 - p).
    assert ((dropped - p).abs() < 5 * math.sqrt(p * (1 - p) / n)).all()
    assert ((weights.mean(0) - kept).abs() < 5 * kept * math.sqrt(p / (1 - p) / n)).all()
    assert_close(weights.max(0).values, kept / (1 - p), **TIGHT)
    assert_close(output, weights @ v)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"q": torch.zeros(5, 4)}, ValueError, "q has d_k=4 and k has d_k=3; their last axes must be equal"),
        ({"v": torch.zeros(6, 2)}, ValueError, "there are 7 keys and 6 values; each key needs exactly one"),
        ({"q": torch.zeros(3)}, ValueError, r"q has shape \[3\]; expected at least \[length, width\]"),
        (
            {"q": torch.zeros(2, 5, 3), "k": torch.zeros(4, 7, 3)},
            ValueError,
            r"do not broadcast: q \[2, 5, 3\], k \[4, 7, 3\], v \[7, 2\]",
        ),
        (
            {"mask": torch.ones(5, 7)},
            TypeError,
            "mask has dtype torch.float32; pass a boolean mask, True = may attend; "
            "for an additive mask use `mask == 0`",
        ),
        ({"mask": torch.ones(5, 7, dtype=torch.long)}, TypeError, r"torch\.int64.*`mask\.bool\(\)`"),
        ({"mask": [[True] * 7] * 5}, TypeError, "mask is a list; pass a boolean tensor, True = may attend"),
        (
            {"mask": causal_mask(5)},
            ValueError,
            r"mask of shape \[5, 5\] does not broadcast to the scores \[5, 7\]",
        ),
        (
            {"mask": torch.ones(2, 5, 7, dtype=torch.bool)},
            ValueError,
            r"mask of shape \[2, 5, 7\] does not broadcast to the scores \[5, 7\]",
        ),
        ({"dropout_p": 1.0}, ValueError, r"dropout_p=1\.0 is outside \[0, 1\)"),
        ({"dropout_p": -0.1}, ValueError, r"dropout_p=-0\.1 is outside \[0, 1\)"),
    ],
)
def test_attention_says_what_is_wrong(change, error, message):
    arguments = {"q": torch.zeros(5, 3), "k": torch.zeros(7, 3), "v": torch.zeros(7, 2), **change}
    with pytest.raises(error, match=message):
        scaled_dot_product_attention(**arguments)


# --- multi-head attention -----------------------------------------------------------------------------------

D_MODEL, NUM_HEADS = 21, 3


def twins(seed, bias=True, dtype=torch.float32):
    """Our module and torch's, with the same weights, none of them zero."""
    torch.manual_seed(seed)
    theirs = nn.MultiheadAttention(D_MODEL, NUM_HEADS, bias=bias, batch_first=True, dtype=dtype)
    for parameter in theirs.parameters():
        nn.init.normal_(parameter, std=0.3)
    ours = MultiHeadAttention(D_MODEL, NUM_HEADS, bias=bias).to(dtype)
    ours.out_proj.load_state_dict(theirs.out_proj.state_dict())
    for i, name in enumerate(("q_proj", "k_proj", "v_proj")):
        state = {"weight": theirs.in_proj_weight.chunk(3)[i]}
        if bias:
            state["bias"] = theirs.in_proj_bias.chunk(3)[i]
        getattr(ours, name).load_state_dict(state)
    return ours, theirs


def sequences(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(BATCH, length, D_MODEL, generator=generator, dtype=dtype) for length in (QUERY, KEY, KEY)]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bias", [True, False])
def test_cross_attention_equals_torch_with_masks(seed, bias):
    ours, theirs = twins(seed, bias)
    query, key, value = sequences(seed)
    mask = padding_mask([4, 6], KEY) & (torch.rand(QUERY, KEY, generator=torch.Generator().manual_seed(seed)) < 0.7)
    mask[..., 0] = True  # torch's module gives NaN for a query that may attend to nothing
    output, weights = ours(query, key, value, mask, need_weights=True)
    attn_mask = ~mask.repeat_interleave(NUM_HEADS, 0)  # torch: True = may NOT attend, one mask per head
    expected = theirs(query, key, value, attn_mask=attn_mask, average_attn_weights=False)
    assert weights.shape == (BATCH, NUM_HEADS, QUERY, KEY)
    assert_close(output, expected[0], **TIGHT)
    assert_close(weights, expected[1], **TIGHT)


def test_self_attention_equals_torch_and_defaults_to_its_query():
    ours, theirs = twins(0)
    x, key, _ = sequences(0)
    mask = causal_mask(QUERY)
    expected, _ = theirs(x, x, x, attn_mask=~mask)
    assert_close(ours(x, mask=mask)[0], expected, **TIGHT)
    assert_close(ours(x, key)[0], theirs(x, key, key)[0], **TIGHT)
    assert_close(ours(x[0], mask=mask)[0], expected[0], **TIGHT)  # no batch axis


@pytest.mark.parametrize("num_kv_heads", [NUM_HEADS, 1])
@pytest.mark.parametrize("dtype", BY_DTYPE)
@pytest.mark.parametrize("masked", [False, True])
def test_fused_and_plain_form_agree_forward_and_backward(dtype, num_kv_heads, masked):
    torch.manual_seed(0)
    module = MultiHeadAttention(D_MODEL, NUM_HEADS, num_kv_heads).to(dtype)
    mask = random_mask(0, (BATCH, QUERY, KEY)) if masked else None
    results = []
    for need_weights in (False, True):
        inputs = [x.requires_grad_() for x in sequences(0, dtype)]
        output, weights = module(*inputs, mask, need_weights)
        assert (weights is None) != need_weights
        assert output.dtype == dtype
        results.append([output, *torch.autograd.grad(output.sum(), [*inputs, *module.parameters()])])
    for fused, plain in zip(*results, strict=True):
        assert fused.isfinite().all()
        # Sums over up to 10 rows of magnitude 10: a few roundings more than one weight.
        assert_close(fused, plain, rtol=10 * BY_DTYPE[dtype]["rtol"], atol=10 * BY_DTYPE[dtype]["atol"])
    if masked:  # nothing attended to: only the bias of the output map is left
        assert_close(results[0][0][:, 1], module.out_proj.bias.expand(BATCH, -1))


@pytest.mark.parametrize("seed", SEEDS)
def test_grouped_query_equals_torch_and_repeated_heads(seed):
    num_heads, num_kv_heads, d_k = 6, 2, 5
    d_model = num_heads * d_k
    torch.manual_seed(seed)
    grouped = MultiHeadAttention(d_model, num_heads, num_kv_heads)
    query, key = torch.randn(BATCH, QUERY, d_model), torch.randn(BATCH, KEY, d_model)
    mask = random_mask(seed, (BATCH, QUERY, KEY))

    full = MultiHeadAttention(d_model, num_heads)
    full.q_proj.load_state_dict(grouped.q_proj.state_dict())
    full.out_proj.load_state_dict(grouped.out_proj.state_dict())
    for name in ("k_proj", "v_proj"):
        source = getattr(grouped, name)
        blocks = [torch.cat([block] * 3) for block in source.weight.chunk(num_kv_heads)]
        biases = [torch.cat([block] * 3) for block in source.bias.chunk(num_kv_heads)]
        getattr(full, name).load_state_dict({"weight": torch.cat(blocks), "bias": torch.cat(biases)})

    q, k, v = grouped.project(query, key, key)
    assert q.shape == (BATCH, num_heads, QUERY, d_k) and k.shape == v.shape == (BATCH, num_kv_heads, KEY, d_k)
    heads = F.scaled_dot_product_attention(q, k, v, mask[:, None], enable_gqa=True)
    by_torch = F.linear(
        torch.cat([heads[:, h] for h in range(num_heads)], -1),
        grouped.out_proj.weight,
        grouped.out_proj.bias,
    )
    for need_weights in (False, True):
        output, weights = grouped(query, key, mask=mask, need_weights=need_weights)
        expected, expected_weights = full(query, key, mask=mask, need_weights=need_weights)
        assert_close(output, by_torch, **TIGHT)
        assert_close(output, expected, **TIGHT)
        assert_close(weights, expected_weights, **TIGHT)
    assert weights.shape == (BATCH, num_heads, QUERY, KEY)


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize(
    "shape",
    [(KEY,), (QUERY, KEY), (1, KEY), (BATCH, 1, KEY), (BATCH, QUERY, KEY), (BATCH, 1, 1, KEY),
     (BATCH, NUM_HEADS, QUERY, KEY)],
)  # fmt: skip
def test_masks_of_every_documented_shape(shape, need_weights):
    ours, _ = twins(0)
    query, key, value = sequences(0)
    mask = torch.rand(shape, generator=torch.Generator().manual_seed(3)) < 0.6
    with_head_axis = mask.unsqueeze(1) if mask.dim() == 3 else mask
    full = with_head_axis.expand(BATCH, NUM_HEADS, QUERY, KEY)
    output, weights = ours(query, key, value, mask, need_weights)
    expected, expected_weights = ours(query, key, value, full, need_weights=True)
    assert_close(output, expected, **TIGHT)
    if need_weights:
        assert_close(weights, expected_weights, **TIGHT)
        assert not weights[~full].any()


@pytest.mark.parametrize(
    ("mask", "is_told"),
    [
        (causal_mask(KEY), True),
        (causal_mask(KEY).unsqueeze(0), True),
        (causal_mask(KEY).logical_xor(F.one_hot(torch.tensor(KEY - 1), KEY).bool()), False),  # one row differs
        (torch.ones(KEY, KEY, dtype=torch.bool), False),
        (causal_mask(KEY)[-1:], False),
        (causal_mask(KEY).expand(BATCH, KEY, KEY), False),  # a mask for each sequence
    ],
)
def test_kernel_is_told_of_causality_only_where_all_share_a_causal_mask(mask, is_told, monkeypatch):
    ours, _ = twins(0)
    _, x, _ = sequences(0)
    told, kernel = [], F.scaled_dot_product_attention

    def listening(q, k, v, mask, dropout_p, is_causal, **options):
        told.append(is_causal)
        return kernel(q, k, v, mask, dropout_p, is_causal, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", listening)
    output, _ = ours(x, mask=mask)
    assert told == [is_told]
    assert_close(output, ours(x, mask=mask, need_weights=True)[0], **TIGHT)


def test_each_head_can_have_its_own_mask_without_a_batch():
    ours, _ = twins(0)
    query, key, value = (x[0] for x in sequences(0))
    mask = random_mask(0, (NUM_HEADS, QUERY, KEY))
    output, weights = ours(query, key, value, mask, need_weights=True)
    assert weights.shape == (NUM_HEADS, QUERY, KEY) and not weights[~mask].any()
    assert_close(ours(query, key, value, mask)[0], output, **TIGHT)


def test_batch_of_size_equal_to_the_number_of_heads_is_not_taken_for_the_heads():
    torch.manual_seed(0)
    module = MultiHeadAttention(D_MODEL, NUM_HEADS)
    x = torch.randn(NUM_HEADS, QUERY, D_MODEL)
    mask = padding_mask([1, 3, 5], QUERY)
    together = module(x, mask=mask)[0]
    for i in range(NUM_HEADS):
        assert_close(together[i : i + 1], module(x[i : i + 1], mask=mask[i : i + 1])[0], **TIGHT)


def test_padded_keys_have_no_influence():
    ours, _ = twins(0)
    query, key, value = sequences(0)
    mask = padding_mask([3, 5], KEY)
    before = ours(query, key, value, mask)[0]
    for i, length in enumerate([3, 5]):
        key[i, length:], value[i, length:] = 100.0, -100.0
    assert_close(ours(query, key, value, mask)[0], before, **TIGHT)


def test_self_attention_is_permutation_equivariant():
    ours, _ = twins(0, dtype=torch.float64)
    x = sequences(0, torch.float64)[1]
    order = torch.randperm(KEY, generator=torch.Generator().manual_seed(0))
    assert_close(ours(x[:, order])[0], ours(x)[0][:, order])


def test_module_gradients_pass_gradcheck():
    torch.manual_seed(0)
    module = MultiHeadAttention(6, 2, 1).double()
    x = torch.randn(1, 3, 6, dtype=torch.float64, requires_grad=True)
    for need_weights in (False, True):
        assert gradcheck(lambda x, flag=need_weights: module(x, mask=causal_mask(3), need_weights=flag)[0], (x,))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("num_kv_heads", [None, 1])
def test_number_of_parameters(bias, num_kv_heads):
    module = MultiHeadAttention(D_MODEL, NUM_HEADS, num_kv_heads, bias)
    kv_width = D_MODEL if num_kv_heads is None else D_MODEL // NUM_HEADS
    expected = 2 * D_MODEL * D_MODEL + 2 * D_MODEL * kv_width + bias * (2 * D_MODEL + 2 * kv_width)
    assert sum(p.numel() for p in module.parameters()) == expected


@pytest.mark.parametrize("need_weights", [False, True])
def test_dropout_acts_in_training_only_and_keeps_the_mean(need_weights):
    torch.manual_seed(0)
    module = MultiHeadAttention(D_MODEL, NUM_HEADS, dropout_p=0.4)
    x = sequences(0)[0][:1]
    many = x.expand(4000, -1, -1)
    noisy = module(many, need_weights=need_weights)[0].detach()
    module.eval()
    quiet = module(x, need_weights=need_weights)[0].detach()
    assert_close(module(x, need_weights=need_weights)[0], quiet)
    error = (noisy.mean(0) - quiet[0]).abs()
    spread = noisy.std(0)
    assert (spread > 0).all()
    assert (error < 5 * spread / math.sqrt(len(many))).all()


def test_queries_and_keys_can_be_changed_after_the_split():
    class Negated(MultiHeadAttention):
        def project(self, query, key, value):
            q, k, v = super().project(query, key, value)
            return -q, k, v

    plain, _ = twins(0)
    negated = Negated(D_MODEL, NUM_HEADS)
    negated.load_state_dict(plain.state_dict())
    plain.q_proj.weight.data.neg_()
    plain.q_proj.bias.data.neg_()
    query, key, value = sequences(0)
    assert_close(negated(query, key, value)[0], plain(query, key, value)[0], **TIGHT)


def test_cached_keys_give_the_same_output_step_by_step():
    ours, _ = twins(0)
    x = sequences(0)[0]
    expected = ours(x, mask=causal_mask(QUERY))[0]
    k_cache = v_cache = torch.empty(BATCH, NUM_HEADS, 0, D_MODEL // NUM_HEADS)
    for t in range(QUERY):
        step = x[:, t : t + 1]
        q, k, v = ours.project(step, step, step)
        k_cache, v_cache = torch.cat([k_cache, k], -2), torch.cat([v_cache, v], -2)
        assert_close(ours.attend(q, k_cache, v_cache)[0], expected[:, t : t + 1], **TIGHT)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"d_model": 10, "num_heads": 3}, "d_model=10 is not divisible by num_heads=3"),
        (
            {"d_model": 12, "num_heads": 4, "num_kv_heads": 3},
            "num_heads=4 is not divisible by num_kv_heads=3",
        ),
        ({"d_model": 12, "num_heads": 0}, "num_heads=0 must be 1 or more"),
        ({"d_model": 12, "num_heads": 4, "num_kv_heads": 0}, "num_kv_heads=0 must be 1 or more"),
        ({"d_model": -2, "num_heads": 1}, "d_model=-2 must be 1 or more"),
        ({"d_model": 12, "num_heads": 4, "dropout_p": 1.5}, r"dropout_p=1\.5 is outside \[0, 1\)"),
    ],
)
def test_module_sizes_that_do_not_fit_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiHeadAttention(**arguments)


@pytest.mark.parametrize("need_weights", [False, True])
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"query": torch.zeros(2, 5, 20)}, ValueError, r"query has shape \[2, 5, 20\]; .*d_model=21\]"),
        ({"key": torch.zeros(2, 7, 22)}, ValueError, r"key has shape \[2, 7, 22\]; .*d_model=21\]"),
        ({"value": torch.zeros(2, 7, 1)}, ValueError, r"value has shape \[2, 7, 1\]; .*d_model=21\]"),
        ({"query": torch.zeros(21)}, ValueError, r"query has shape \[21\]; expected \[batch, length"),
        ({"value": torch.zeros(2, 6, 21)}, ValueError, "there are 7 keys and 6 values"),
        (
            {"key": torch.zeros(4, 7, 21)},
            ValueError,
            r"query has shape \[2, 5, 21\] and key \[4, 7, 21\]; all axes before the length must be equal",
        ),
        ({"mask": torch.zeros(5, 7)}, TypeError, r"mask has dtype torch\.float32; pass a boolean mask"),
        ({"mask": [[True] * 7] * 5}, TypeError, "mask is a list; pass a boolean tensor"),
        (
            {"mask": torch.ones(2, 7, dtype=torch.bool)},
            ValueError,
            r"mask of shape \[2, 7\] does not broadcast to the scores \[2, 5, 7\].*\[batch, 1, key\]",
        ),
        (
            {"mask": torch.ones(3, 5, 7, dtype=torch.bool)},
            ValueError,
            r"mask of shape \[3, 5, 7\] does not broadcast to the scores \[2, 5, 7\]",
        ),
        (
            {"mask": torch.ones(2, 2, 5, 7, dtype=torch.bool)},
            ValueError,
            r"mask of shape \[2, 2, 5, 7\] does not broadcast to the scores \[2, 3, 5, 7\]",
        ),
    ],
)
def test_module_says_what_is_wrong(change, error, message, need_weights):
    arguments = {"query": torch.zeros(2, 5, 21), "key": torch.zeros(2, 7, 21), "value": torch.zeros(2, 7, 21)}
    with pytest.raises(error, match=message):
        MultiHeadAttention(D_MODEL, NUM_HEADS)(**(arguments | change), need_weights=need_weights)
