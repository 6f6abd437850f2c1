"""Searches against transformers' `generate` and against each other; filters against its logits warpers."""

import itertools
import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import BartConfig, BartForConditionalGeneration, GPT2Config, GPT2LMHeadModel
from transformers.generation import logits_process

from course_lib import decoding
from course_lib.gpt import GPT, GPTConfig
from course_lib.layers import KeyValueCache
from course_lib.transformer import Transformer, TransformerConfig

EOS, PAD, BOS = 2, 0, 1
VOCAB_SIZE = 23


def table_model(seed: int, vocab_size: int, spread: float = 2.0):
    """A model whose logits depend on the whole prefix in order: two tables and a decaying state."""
    generator = torch.Generator().manual_seed(seed)
    inward = torch.randn(vocab_size, 7, generator=generator, dtype=torch.float64)
    outward = torch.randn(7, vocab_size, generator=generator, dtype=torch.float64) * spread

    def next_token(prefix: torch.Tensor) -> torch.Tensor:
        state = torch.zeros(prefix.shape[0], 7, dtype=torch.float64)
        for column in prefix.T:
            state = torch.tanh(0.7 * state + inward[column])
        return state @ outward

    return next_token


@pytest.fixture(scope="module", params=[0, 1, 2])
def gpt2(request):
    torch.manual_seed(request.param)
    config = GPT2Config(
        vocab_size=VOCAB_SIZE, n_positions=31, n_embd=20, n_layer=2, n_head=5,
        bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD, initializer_range=0.3, tie_word_embeddings=False,
    )  # fmt: skip
    model = GPT2LMHeadModel(config).eval()
    # Flat enough that <eos> is never far from the best tokens: beams of every length come to compete.
    model.lm_head.weight.data *= 0.4
    model.transformer.ln_f.bias.data[0] = 2.0
    model.lm_head.weight.data[EOS, 0] = 0.5
    return model


@pytest.fixture(scope="module", params=[0, 1, 2])
def bart(request):
    torch.manual_seed(request.param)
    config = BartConfig(
        vocab_size=VOCAB_SIZE, d_model=20, encoder_layers=2, decoder_layers=2, encoder_attention_heads=5,
        decoder_attention_heads=5, encoder_ffn_dim=29, decoder_ffn_dim=29, max_position_embeddings=37,
        bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD, decoder_start_token_id=BOS,
        forced_eos_token_id=None, init_std=0.3, tie_word_embeddings=False,
    )  # fmt: skip
    model = BartForConditionalGeneration(config).eval()
    model.lm_head.weight.data *= 0.6
    model.final_logits_bias[0, EOS] = 1.7
    return model


def generated(model, inputs, prompt_len: int, **settings) -> tuple[list[list[int]], list[float]]:
    """New tokens up to <eos> and, for beams, scores, as transformers gives them."""
    result = model.generate(
        inputs, attention_mask=torch.ones_like(inputs), do_sample=False, return_dict_in_generate=True,
        output_scores=True, **settings,
    )  # fmt: skip
    scores = result.sequences_scores.tolist() if "sequences_scores" in result else []
    return [trim(row[prompt_len:].tolist()) for row in result.sequences], scores


def trim(ids: list[int]) -> list[int]:
    return ids[: ids.index(EOS) + 1] if EOS in ids else ids


PROMPTS = torch.tensor([[5, 7, 11], [13, 3, 4]])


def test_greedy_search_is_generate_for_a_decoder(gpt2):
    ours = decoding.greedy_search(lambda prefix: gpt2(prefix).logits, PROMPTS, 13, eos_id=EOS, pad_id=PAD)
    theirs, _ = generated(gpt2, PROMPTS, 3, max_new_tokens=13)
    assert [trim(row) for row in ours.tolist()] == theirs


def bart_step(bart, sources, num_beams: int = 1):
    memory = bart.model.encoder(sources)
    memory.last_hidden_state = memory.last_hidden_state.repeat_interleave(num_beams, dim=0)
    return lambda prefix: bart(encoder_outputs=memory, decoder_input_ids=prefix).logits


def test_greedy_search_is_generate_for_an_encoder_decoder(bart):
    with torch.no_grad():
        step = bart_step(bart, PROMPTS)
    ours = decoding.greedy_search(step, torch.full((2, 1), BOS), 13, eos_id=EOS, pad_id=PAD)
    theirs, _ = generated(bart, PROMPTS, 1, max_new_tokens=13)
    assert [trim(row) for row in ours.tolist()] == theirs


PENALTIES = [-0.7, 0.0, 0.6, 1.0, 2.0]


@pytest.mark.parametrize("num_beams", [2, 3, 5])
@pytest.mark.parametrize("length_penalty", PENALTIES)
def test_beam_search_is_generate_for_a_decoder(gpt2, num_beams, length_penalty):
    ours = decoding.beam_search(
        lambda prefix: gpt2(prefix).logits,
        PROMPTS, 11, num_beams=num_beams, length_penalty=length_penalty, eos_id=EOS,
    )  # fmt: skip
    assert_same_beams(ours, gpt2, 3, num_beams, length_penalty)


@pytest.mark.parametrize("num_beams", [2, 3, 5])
@pytest.mark.parametrize("length_penalty", PENALTIES)
def test_beam_search_is_generate_for_an_encoder_decoder(bart, num_beams, length_penalty):
    with torch.no_grad():
        step = bart_step(bart, PROMPTS, num_beams)
    ours = decoding.beam_search(
        step, torch.full((2, 1), BOS), 11, num_beams=num_beams, length_penalty=length_penalty, eos_id=EOS
    )
    assert_same_beams(ours, bart, 1, num_beams, length_penalty)


def assert_same_beams(ours, model, prompt_len, num_beams, length_penalty):
    settings = {"num_beams": num_beams, "num_return_sequences": num_beams, "length_penalty": length_penalty}
    theirs, scores = generated(model, PROMPTS, prompt_len, max_new_tokens=11, **settings)
    hypotheses = [hypothesis for result in ours for hypothesis in result.hypotheses]
    assert [list(hypothesis.ids) for hypothesis in hypotheses] == theirs
    torch.testing.assert_close(
        torch.tensor([hypothesis.score for hypothesis in hypotheses]), torch.tensor(scores), rtol=1e-5, atol=1e-5
    )


def test_those_comparisons_hold_hypotheses_of_many_lengths(gpt2, bart):
    """Otherwise they would say nothing about the length penalty."""
    with torch.no_grad():
        steps = (lambda prefix: gpt2(prefix).logits, bart_step(bart, PROMPTS, 5))
    for step, prompts in zip(steps, (PROMPTS, torch.full((2, 1), BOS)), strict=True):
        lengths = set()
        for length_penalty in PENALTIES:
            for result in decoding.beam_search(
                step, prompts, 11, num_beams=5, length_penalty=length_penalty, eos_id=EOS
            ):
                lengths |= {len(hypothesis.ids) for hypothesis in result.hypotheses}
        assert len(lengths) > 2


def log_prob_of(next_token, prompt, ids) -> float:
    """By the chain rule, one token at a time."""
    total, prefix = 0.0, list(prompt)
    for token in ids:
        total += next_token(torch.tensor([prefix])).log_softmax(-1)[0, token].item()
        prefix.append(token)
    return total


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 5), st.integers(1, 3), st.floats(-1, 2))
def test_exhaustive_search_scores_every_sequence(seed, vocab_size, length, penalty):
    next_token = table_model(seed, vocab_size)
    found = decoding.exhaustive_search(next_token, torch.tensor([[1]]), length, eos_id=EOS, length_penalty=penalty)
    expected = set()
    for n in range(1, length + 1):
        for ids in itertools.product(range(vocab_size), repeat=n):
            if EOS not in ids[:-1] and (ids[-1] == EOS or n == length):
                expected.add(ids)
    assert {hypothesis.ids for hypothesis in found} == expected
    assert math.isclose(sum(math.exp(hypothesis.log_prob) for hypothesis in found), 1, rel_tol=1e-4)
    best = max(expected, key=lambda ids: log_prob_of(next_token, [1], ids) / len(ids) ** penalty)
    assert found[0].score == pytest.approx(
        log_prob_of(next_token, [1], best) / len(best) ** penalty, rel=1e-5, abs=1e-6
    )
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 5), st.integers(1, 3), st.floats(-1, 2))
def test_a_wide_enough_beam_finds_what_exhaustive_search_finds(seed, vocab_size, length, penalty):
    next_token = table_model(seed, vocab_size)
    prompt = torch.tensor([[1]])
    every = decoding.exhaustive_search(next_token, prompt, length, eos_id=EOS, length_penalty=penalty)
    beams = decoding.beam_search(
        next_token, prompt, length, num_beams=vocab_size**length, length_penalty=penalty, eos_id=EOS
    )
    found = beams[0].hypotheses
    assert {hypothesis.ids for hypothesis in found} == {hypothesis.ids for hypothesis in every}
    assert found[0].score == pytest.approx(every[0].score, rel=1e-5, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 13), st.integers(1, 9), st.integers(1, 3))
def test_one_beam_is_greedy_search(seed, vocab_size, length, rows):
    next_token = table_model(seed, vocab_size)
    prompts = torch.arange(rows * 2).view(rows, 2) % vocab_size
    # With a penalty of 0 a first hypothesis cannot be beaten by a longer one.
    beams = decoding.beam_search(next_token, prompts, length, num_beams=1, length_penalty=0.0, eos_id=EOS)
    greedy = decoding.greedy_search(next_token, prompts, length, eos_id=EOS).tolist()
    assert [list(result.best.ids) for result in beams] == [trim(row) for row in greedy]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(4, 11), st.integers(1, 5), st.integers(1, 6), st.floats(-1, 2))
def test_scores_are_log_probabilities_over_length_to_the_penalty(seed, vocab_size, num_beams, length, penalty):
    next_token = table_model(seed, vocab_size)
    (result,) = decoding.beam_search(
        next_token, torch.tensor([[1, 3]]), length, num_beams=num_beams, length_penalty=penalty, eos_id=EOS
    )
    assert 1 <= len(result.hypotheses) <= num_beams
    for hypothesis in result.hypotheses:
        expected = log_prob_of(next_token, [1, 3], hypothesis.ids)
        assert hypothesis.log_prob == pytest.approx(expected, rel=1e-5, abs=1e-5)
        assert hypothesis.score == pytest.approx(expected / len(hypothesis.ids) ** penalty, rel=1e-5, abs=1e-5)


def test_prompts_are_searched_independently():
    next_token = table_model(3, 17)
    prompts = torch.tensor([[4, 5], [6, 7], [8, 9]])
    together = decoding.beam_search(next_token, prompts, 7, num_beams=3, eos_id=EOS)
    alone = [decoding.beam_search(next_token, row.unsqueeze(0), 7, num_beams=3, eos_id=EOS)[0] for row in prompts]
    assert [[h.ids for h in r.hypotheses] for r in together] == [[h.ids for h in r.hypotheses] for r in alone]


def test_the_tree_contains_the_search():
    next_token = table_model(5, 11)
    (result,) = decoding.beam_search(next_token, torch.tensor([[1]]), 6, num_beams=3, eos_id=EOS)
    tree = result.tree
    assert [node.id for node in tree] == list(range(len(tree)))
    for node in tree:
        parent = tree[node.parent] if node.parent >= 0 else None
        assert node.step == (parent.step + 1 if parent else 1)
        assert parent is None or (parent.state == "kept" and parent.id < node.id)
        assert node.total == pytest.approx((parent.total if parent else 0.0) + node.log_prob, abs=1e-5)
        assert node.score == pytest.approx(node.total / node.step)
    for step in range(1, 7):
        level = [node for node in tree if node.step == step]
        assert len(level) <= 6
        assert sum(node.state == "kept" for node in level) <= 3
    finished = {path(tree, node) for node in tree if node.state == "finished"}
    assert {hypothesis.ids for hypothesis in result.hypotheses} <= finished


def path(tree, node) -> tuple[int, ...]:
    return (*(path(tree, tree[node.parent]) if node.parent >= 0 else ()), node.token)


class RunningSum(nn.Module):
    """A recurrent model whose cache is one tensor, so that a wrong order of rows changes the answer."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(11)
        self.inward = torch.randn(13, 7, generator=generator)
        self.outward = torch.randn(7, 13, generator=generator) * 2

    def forward(self, ids, cache):
        for column in ids.T:
            cache.state = torch.tanh(cache.state * 0.7 + self.inward[column])
        return cache.state @ self.outward


class State:
    def __init__(self, rows: int = 1):
        self.state = torch.zeros(rows, 7)

    def reorder(self, rows):
        self.state = self.state[rows]


@pytest.mark.parametrize("num_beams", [1, 2, 4])
def test_a_cached_model_is_searched_like_an_uncached_one(num_beams):
    model = RunningSum()
    prompts = torch.tensor([[3, 4, 5], [6, 7, 8]])
    uncached = decoding.beam_search(
        lambda prefix: model(prefix, State(len(prefix))), prompts, 9, num_beams=num_beams, eos_id=EOS
    )
    cached = decoding.beam_search(
        decoding.Cached(model, State(2 * num_beams)), prompts, 9, num_beams=num_beams, eos_id=EOS
    )
    assert [[h.ids for h in r.hypotheses] for r in cached] == [[h.ids for h in r.hypotheses] for r in uncached]
    assert torch.equal(
        decoding.greedy_search(decoding.Cached(model, State(2)), prompts, 9),
        decoding.greedy_search(lambda prefix: model(prefix, State(len(prefix))), prompts, 9),
    )


def test_cached_feeds_each_token_once_and_refuses_a_second_search():
    fed = []

    def step(ids, cache):
        fed.append(ids.shape[1])
        return torch.zeros(len(ids), 5)

    next_token = decoding.Cached(step, State())
    decoding.greedy_search(next_token, torch.tensor([[3, 4, 1]]), 4)
    assert fed == [3, 1, 1, 1]
    with pytest.raises(ValueError, match="make a new Cached"):
        decoding.greedy_search(next_token, torch.tensor([[3, 4, 1]]), 4)


@pytest.mark.parametrize("num_beams", [1, 3])
def test_the_courses_own_models_are_searched_with_and_without_their_cache(num_beams):
    torch.manual_seed(4)
    gpt = GPT(GPTConfig(vocab_size=17, d_model=12, num_layers=2, num_heads=3, max_len=23)).eval()
    uncached = decoding.beam_search(gpt, PROMPTS, 7, num_beams=num_beams, eos_id=EOS)
    cached = decoding.Cached(lambda ids, cache: gpt(ids, cache=cache), KeyValueCache())
    assert_same_hypotheses(decoding.beam_search(cached, PROMPTS, 7, num_beams=num_beams, eos_id=EOS), uncached)

    model = Transformer(TransformerConfig(19, 17, d_model=12, num_layers=2, num_heads=3, d_ff=29)).eval()
    with torch.no_grad():
        memory, mask = (part.repeat_interleave(num_beams, dim=0) for part in model.encode(PROMPTS))
    start = torch.full((2, 1), BOS)
    uncached = decoding.beam_search(
        lambda prefix: model.decode(prefix, memory, mask), start, 7, num_beams=num_beams, eos_id=EOS
    )
    cached = decoding.Cached(lambda ids, cache: model.decode(ids, memory, mask, cache), KeyValueCache())
    assert_same_hypotheses(decoding.beam_search(cached, start, 7, num_beams=num_beams, eos_id=EOS), uncached)


def assert_same_hypotheses(ours, theirs):
    assert [[h.ids for h in result.hypotheses] for result in ours] == [
        [h.ids for h in result.hypotheses] for result in theirs
    ]
    scores, expected = ([h.score for result in found for h in result.hypotheses] for found in (ours, theirs))
    assert scores == pytest.approx(expected, rel=1e-4)


LOGITS = torch.randn(5, 29, generator=torch.Generator().manual_seed(1)) * 3


@pytest.mark.parametrize("top_k", [1, 2, 7, 29, 100])
def test_top_k_filter_is_the_warper(top_k):
    warper = logits_process.TopKLogitsWarper(top_k)
    assert torch.equal(decoding.top_k_filter(LOGITS, top_k), warper(None, LOGITS))


@pytest.mark.parametrize("top_p", [0.01, 0.3, 0.75, 0.999, 1.0])
def test_top_p_filter_is_the_warper(top_p):
    warper = logits_process.TopPLogitsWarper(top_p)
    assert torch.equal(decoding.top_p_filter(LOGITS, top_p), warper(None, LOGITS))


@pytest.mark.parametrize("temperature", [0.2, 1.0, 3.0])
def test_temperature_scale_is_the_warper(temperature):
    warper = logits_process.TemperatureLogitsWarper(temperature)
    assert torch.equal(decoding.temperature_scale(LOGITS, temperature), warper(None, LOGITS))


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(-8, 8), min_size=2, max_size=17), st.floats(0.05, 1.0))
def test_top_p_keeps_the_smallest_set_that_reaches_p(values, top_p):
    logits = torch.tensor(values, dtype=torch.float64)
    kept = decoding.top_p_filter(logits, top_p) > -torch.inf
    probs = logits.softmax(-1)
    assert probs[kept].sum() >= top_p - 1e-9
    smallest = probs[kept].min()
    assert kept.sum() == 1 or probs[kept].sum() - smallest < top_p + 1e-9
    assert (probs[~kept] <= smallest + 1e-12).all()


def test_sample_draws_from_the_filtered_distribution():
    logits = torch.tensor([0.1, 1.7, -0.4, 2.3, 0.9])
    rows = 20_000
    drawn = decoding.sample(
        lambda prefix: logits.expand(len(prefix), -1),
        torch.full((rows, 1), 3),
        1,
        temperature=0.8,
        top_k=4,
        top_p=0.9,
        generator=torch.Generator().manual_seed(7),
    )
    # By hand: scale, keep the four largest, then the smallest set with 0.9 of their mass.
    probs = torch.tensor([math.exp(value / 0.8) for value in (0.1, 1.7, -1e9, 2.3, 0.9)])
    probs /= probs.sum()
    assert probs[3] + probs[1] < 0.9 <= probs[3] + probs[1] + probs[4]
    expected = torch.tensor([0.0, probs[1], 0.0, probs[3], probs[4]])
    expected /= expected.sum()
    frequency = torch.bincount(drawn.flatten(), minlength=5) / rows
    assert frequency[0] == frequency[2] == 0
    torch.testing.assert_close(frequency, expected, atol=4 * 0.5 / rows**0.5, rtol=0)


def test_sample_repeats_with_its_generator_and_leaves_the_global_state():
    next_token = table_model(9, 13)
    prompt = torch.tensor([[1], [4]])
    state = torch.get_rng_state()
    first, second, third = (
        decoding.sample(next_token, prompt, 17, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), state)


def test_sample_with_top_k_1_is_greedy_search():
    next_token = table_model(2, 13)
    prompt = torch.tensor([[1], [4], [5]])
    assert torch.equal(
        decoding.sample(next_token, prompt, 9, top_k=1, eos_id=EOS, pad_id=PAD),
        decoding.greedy_search(next_token, prompt, 9, eos_id=EOS, pad_id=PAD),
    )


def test_rows_are_padded_behind_eos():
    logits = torch.full((2, 5, 5), -9.0)
    script = torch.tensor([[4, EOS, 3, 3], [4, 3, 3, EOS]])
    for row in range(2):
        for step in range(4):
            logits[row, step, script[row, step]] = 9.0
    found = decoding.greedy_search(
        lambda prefix: logits[:, prefix.shape[1] - 1], torch.full((2, 1), 1), 9, eos_id=EOS, pad_id=PAD
    )
    assert found.tolist() == [[4, EOS, PAD, PAD], [4, 3, 3, EOS]]


PROMPT = torch.tensor([[1, 3]])


def uniform(prefix):
    return torch.zeros(len(prefix), 5)


@pytest.mark.parametrize("search", [decoding.greedy_search, decoding.sample, decoding.exhaustive_search])
def test_bad_prompts_and_lengths_are_rejected(search):
    with pytest.raises(ValueError, match="empty prompt"):
        search(uniform, torch.empty(1, 0, dtype=torch.long), 3)
    with pytest.raises(ValueError, match=r"pass \[rows, length\]"):
        search(uniform, torch.tensor([1, 2]), 3)
    with pytest.raises(ValueError, match="max_new_tokens=0"):
        search(uniform, PROMPT, 0)


def test_bad_settings_are_rejected():
    for num_beams in (0, -1):
        with pytest.raises(ValueError, match=f"num_beams={num_beams}"):
            decoding.beam_search(uniform, PROMPT, 3, num_beams=num_beams)
    with pytest.raises(ValueError, match="empty prompt"):
        decoding.beam_search(uniform, torch.empty(1, 0, dtype=torch.long), 3, num_beams=2)
    for top_p in (0, -0.1, 1.01):
        with pytest.raises(ValueError, match=f"top_p={top_p}"):
            decoding.sample(uniform, PROMPT, 3, top_p=top_p)
    for temperature in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"temperature={temperature}"):
            decoding.sample(uniform, PROMPT, 3, temperature=temperature)
    for penalty in (math.nan, math.inf):
        with pytest.raises(ValueError, match=f"length_penalty={penalty}"):
            decoding.beam_search(uniform, PROMPT, 3, num_beams=2, length_penalty=penalty)
    with pytest.raises(ValueError, match="top_k=0"):
        decoding.sample(uniform, PROMPT, 3, top_k=0)


def test_bad_models_are_rejected():
    with pytest.raises(ValueError, match=r"answered \[3, 5\] for 1 rows"):
        decoding.greedy_search(lambda prefix: torch.zeros(3, 5), PROMPT, 3)
    with pytest.raises(ValueError, match="answered NaN for a prefix of 2 tokens"):
        decoding.greedy_search(lambda prefix: torch.full((1, 5), torch.nan), PROMPT, 3)
    for value in (-torch.inf, torch.inf):
        for search in (decoding.greedy_search, decoding.sample, partial(decoding.beam_search, num_beams=2)):
            with pytest.raises(ValueError, match=f"largest logit behind a prefix of 2 tokens is {value}"):
                search(lambda prefix, value=value: torch.full((len(prefix), 5), value), PROMPT, 3)


def test_exhaustive_search_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="more than 200000"):
        decoding.exhaustive_search(lambda prefix: torch.zeros(len(prefix), 101), PROMPT, 9)
    with pytest.raises(ValueError, match="one prompt at a time"):
        decoding.exhaustive_search(uniform, PROMPT.repeat(2, 1), 2)
    with pytest.raises(ValueError, match="without a cache"):
        decoding.exhaustive_search(decoding.Cached(uniform, State()), PROMPT, 2)
