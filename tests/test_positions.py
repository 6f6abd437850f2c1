"""`course_lib.positions` against closed forms and transformers' Llama."""

import math
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from course_lib.positions import LearnedPositions, rotary, shift_rotation, sinusoidal


def test_sinusoidal_is_the_papers_formula():
    length, d_model = 13, 22
    table = sinusoidal(length, d_model)
    assert table.shape == (length, d_model)
    for position in range(length):
        for pair in range(d_model // 2):
            angle = position / 10000 ** (2 * pair / d_model)
            assert table[position, 2 * pair].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert table[position, 2 * pair + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_sinusoidal_stays_exact_far_out():
    table = sinusoidal(50_001, 2)
    assert table[50_000, 0].item() == pytest.approx(math.sin(50_000), abs=1e-6)


def test_sinusoidal_follows_the_default_dtype_and_may_be_empty():
    assert sinusoidal(3, 2).dtype == torch.get_default_dtype()
    assert sinusoidal(0, 2).shape == (0, 2)


@pytest.mark.parametrize("d_model", [0, 1, 7])
def test_odd_sizes_are_refused(d_model):
    with pytest.raises(ValueError, match=f"d_model={d_model} must be even"):
        sinusoidal(3, d_model)
    with pytest.raises(ValueError, match=f"d_model={d_model} must be even"):
        shift_rotation(3, d_model)


def test_negative_length_is_refused():
    with pytest.raises(ValueError, match="length=-1"):
        sinusoidal(-1, 2)


@pytest.mark.parametrize("offset", [-5, 0, 1, 11])
def test_a_shift_is_a_rotation(offset):
    d_model, start = 14, 5
    table = sinusoidal(29, d_model)
    matrix = shift_rotation(offset, d_model)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(d_model), atol=1e-6, rtol=0)
    assert torch.linalg.det(matrix).item() == pytest.approx(1, abs=1e-5)
    shifted = table[start + offset : start + offset + 7]
    torch.testing.assert_close(table[start : start + 7] @ matrix, shifted, atol=1e-6, rtol=0)


def test_learned_positions_look_up_their_table():
    layer = LearnedPositions(11, 5)
    positions = torch.tensor([[0, 10, 3], [7, 7, 1]])
    expected = torch.nn.functional.embedding(positions, layer.weight)
    torch.testing.assert_close(layer(positions), expected, atol=0, rtol=0)
    assert layer(positions).requires_grad
    assert layer(torch.arange(0)).shape == (0, 5)


def test_learned_positions_refuse_what_the_table_does_not_hold():
    layer = LearnedPositions(11, 5)
    with pytest.raises(ValueError, match="position 11 is outside the learned table of max_len=11"):
        layer(torch.arange(12))
    with pytest.raises(ValueError, match="position -2 is negative"):
        layer(torch.tensor([-2, 0]))
    with pytest.raises(TypeError, match="must be integers"):
        layer(torch.tensor([0.0]))
    with pytest.raises(ValueError, match="max_len=0"):
        LearnedPositions(0, 5)


@pytest.mark.parametrize("base", [10000.0, 500000.0])
def test_rotary_equals_transformers_llama(base):
    batch, num_heads, num_kv_heads, length, d_head = 2, 3, 1, 101, 14
    config = LlamaConfig(
        hidden_size=num_heads * d_head,
        num_attention_heads=num_heads,
        num_key_value_heads=num_kv_heads,
        rope_parameters={"rope_type": "default", "rope_theta": base},
    )
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(batch, num_heads, length, d_head, generator=generator)
    key = torch.randn(batch, num_kv_heads, length, d_head, generator=generator)
    positions = torch.stack((torch.arange(length), torch.arange(length) + 1900))
    cos, sin = LlamaRotaryEmbedding(config)(query, positions)
    expected_query, expected_key = apply_rotary_pos_emb(query, key, cos, sin)
    torch.testing.assert_close(rotary(query, positions[:, None], base), expected_query, atol=1e-6, rtol=0)
    torch.testing.assert_close(rotary(key, positions[:, None], base), expected_key, atol=1e-6, rtol=0)


def test_rotary_turns_each_pair_as_complex_multiplication_does():
    length, d_head = 7, 10
    x = torch.randn(3, length, d_head, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    frequencies = 10000.0 ** (-2 * torch.arange(d_head // 2, dtype=torch.float64) / d_head)
    turn = torch.exp(1j * torch.arange(length)[:, None] * frequencies)
    turned = torch.complex(x[..., : d_head // 2], x[..., d_head // 2 :]) * turn
    expected = torch.cat((turned.real, turned.imag), dim=-1)
    torch.testing.assert_close(rotary(x, torch.arange(length)), expected, atol=1e-12, rtol=0)


@settings(max_examples=50, deadline=None)
@given(
    query_position=st.integers(0, 1000),
    key_position=st.integers(0, 1000),
    shift=st.integers(0, 5000),
    d_head=st.sampled_from([2, 6, 26]),
    seed=st.integers(0, 99),
)
def test_scores_depend_on_the_distance_only(query_position, key_position, shift, d_head, seed):
    query, key = torch.randn(2, 1, d_head, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    def score(query_at: int, key_at: int) -> torch.Tensor:
        return rotary(query, torch.tensor([query_at])) @ rotary(key, torch.tensor([key_at])).T

    here = score(query_position, key_position)
    torch.testing.assert_close(score(query_position + shift, key_position + shift), here, atol=1e-9, rtol=0)


def test_scores_do_depend_on_the_distance():
    vector = torch.ones(1, 6, dtype=torch.float64)
    rotated = [rotary(vector, torch.tensor([position])) for position in range(4)]
    scores = torch.cat([vector @ other.T for other in rotated])
    assert torch.all(scores[:-1] - scores[1:] > 0.1)


def test_rotary_keeps_lengths_dtype_and_position_zero():
    x = torch.randn(5, 3, 8, generator=torch.Generator().manual_seed(2))
    turned = rotary(x, torch.tensor([0, 17, 400]))
    torch.testing.assert_close(turned.norm(dim=-1), x.norm(dim=-1), atol=1e-5, rtol=0)
    torch.testing.assert_close(turned[:, 0], x[:, 0], atol=0, rtol=0)
    assert rotary(x.bfloat16(), torch.arange(3)).dtype == torch.bfloat16


def test_rotary_angles_survive_half_precision_inputs():
    x = torch.ones(2, 2, dtype=torch.bfloat16)
    near, far = rotary(x, torch.tensor([256, 257]))
    assert not torch.equal(near, far)


def test_rotary_refuses_what_cannot_be_rotated():
    with pytest.raises(ValueError, match="d_head=5 must be even"):
        rotary(torch.zeros(3, 5), torch.arange(3))
    with pytest.raises(ValueError, match=r"positions \(4,\) must end in the sequence length 3"):
        rotary(torch.zeros(3, 6), torch.arange(4))
    with pytest.raises(TypeError, match="floating point"):
        rotary(torch.zeros(3, 6, dtype=torch.long), torch.arange(3))
    with pytest.raises(ValueError, match=r"x has shape \(6,\); expected \[..., seq, d_head\]"):
        rotary(torch.zeros(6), torch.arange(6))


@pytest.mark.parametrize("shape", [(4, 7), (3, 7), (3, 4, 7), (2, 3, 5, 7)])
def test_rotary_refuses_positions_that_do_not_broadcast(shape):
    message = rf"positions {re.escape(str(shape))} do not broadcast against \(3, 5, 7\)"
    with pytest.raises(ValueError, match=message):
        rotary(torch.zeros(3, 5, 7, 6), torch.zeros(shape))
