"""How time and memory grow with the size of the problem: `python benchmarks/growth.py`.

Each row holds sizes, what was measured at each, the exponent b of the fitted law a · size^b, and the formula that the
work follows. The exponent over a finite range lies between those of the formula's terms: work of n² + n grows by an
exponent between 1 and 2.
"""

import math
from collections.abc import Callable, Sequence
from statistics import linear_regression, median

import torch
from rounds import QUICK_ROUNDS, ROUNDS, Row, seconds
from rounds import main as measure_all
from tokenizing import snippets
from torch import nn
from torch.nn import functional as F

from course_lib import assets, decoding, training
from course_lib.attention import scaled_dot_product_attention
from course_lib.gpt import GPT, GPTConfig
from course_lib.layers import KeyValueCache
from course_lib.tokenizers import BPETokenizer, WordPieceTokenizer

HEADS, D_K = 4, 32
VOCAB_SIZE = 500


def law(sizes: Sequence[int], values: Sequence[float], formula: str, unit: str) -> Row:
    """The row of a table, with the slope of log(value) over log(size)."""
    slope, _ = linear_regression([math.log(size) for size in sizes], [math.log(value) for value in values])
    return {
        "exponent": round(slope, 2),
        "formula": formula,
        "sizes": list(sizes),
        unit: [float(f"{value:.3g}") for value in values],
    }


def timed(sizes: Sequence[int], work_of: Callable[[int], Callable[[], object]], formula: str, quick: bool) -> Row:
    """Median seconds at each size; the sizes take turns, so that a slow minute meets all of them."""
    works = {size: work_of(size) for size in sizes}
    for work in works.values():
        work()
    times = {size: [] for size in sizes}
    for _ in range(QUICK_ROUNDS if quick else ROUNDS):
        for size, work in works.items():
            times[size].append(seconds(work))
    return law(sizes, [median(times[size]) for size in sizes], formula, "seconds")


def lengths(quick: bool) -> list[int]:
    """Of sequences that attention is measured on."""
    return [16, 32] if quick else [256, 512, 1024, 2048]


@torch.no_grad()
def attention_time(quick: bool) -> Row:
    """The formula of attention, all scores in memory."""

    def work(n: int) -> Callable[[], object]:
        q, k, v = torch.randn(3, 1, HEADS, n, D_K)
        return lambda: scaled_dot_product_attention(q, k, v)

    return timed(lengths(quick), work, "4 · n² · d_k operations a head: n²", quick)


@torch.no_grad()
def attention_memory(quick: bool) -> Row:
    """Bytes that the formula allocates; freed ones count again."""
    return law(lengths(quick), [allocated(n, scaled_dot_product_attention) for n in lengths(quick)], "n²", "bytes")


@torch.no_grad()
def fused_memory(quick: bool) -> Row:
    """Bytes that the fused kernel allocates."""
    fused = F.scaled_dot_product_attention
    return law(lengths(quick), [allocated(n, fused) for n in lengths(quick)], "n · d_k: n", "bytes")


def allocated(n: int, attention: Callable[..., object]) -> int:
    """Bytes that one call of attention over n positions asks the allocator for."""
    q, k, v = torch.randn(3, 1, HEADS, n, D_K)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        attention(q, k, v)
    return sum(event.self_cpu_memory_usage for event in profile.key_averages() if event.self_cpu_memory_usage > 0)


def training_batch(quick: bool) -> Row:
    """An update of a GPT of four layers, 64 wide, against the number of sequences in its batch."""
    sizes = [1, 2] if quick else [4, 8, 16, 32]
    return timed(sizes, lambda batch: update(batch, 64), "the same work for each sequence: batch", quick)


def training_width(quick: bool) -> Row:
    """An update of a GPT of four layers against its width d."""
    sizes = [16, 32] if quick else [64, 128, 256, 512]
    return timed(sizes, lambda width: update(4, width), "24 · d² + 4 · n · d operations a token and layer: d²", quick)


def update(batch: int, width: int, length: int = 64) -> Callable[[], object]:
    """One update on random tokens."""
    torch.manual_seed(0)
    model = GPT(GPTConfig(VOCAB_SIZE, width, num_layers=4, num_heads=4, max_len=length))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    window = torch.randint(VOCAB_SIZE, (batch, length + 1))

    def step() -> None:
        optimiser.zero_grad()
        training.cross_entropy(model(window[:, :-1]), window[:, 1:]).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()

    return step


def text_sizes(quick: bool) -> list[int]:
    """Characters of the texts that tokenizers are measured on."""
    return [500, 1000] if quick else [50_000, 100_000, 200_000, 400_000]


def wordpiece(quick: bool) -> Row:
    """WordPiece over more and more text."""
    folder = assets.fetch("minilm-l6")

    def work(characters: int) -> Callable[[], object]:
        texts, tokenizer = snippets(characters), WordPieceTokenizer.load(folder)
        return lambda: [tokenizer.encode(text) for text in texts]

    return timed(text_sizes(quick), work, "one pass over the characters: n", quick)


def bpe_training(quick: bool) -> Row:
    """Learning 500 merges from more and more text; the number of different words grows more slowly than the text."""
    merges = 20 if quick else 500

    def work(characters: int) -> Callable[[], object]:
        texts = snippets(characters)
        return lambda: BPETokenizer.train(texts, 256 + merges)

    return timed(text_sizes(quick), work, "reading n, then merges over the different words: at most n", quick)


@torch.no_grad()
def decoding_with_cache(quick: bool) -> Row:
    """Greedy decoding of n tokens, each given to the model once."""
    return decoded(quick, True, "n steps of 24 · d² + 4 · i · d operations a layer: n, then n²")


@torch.no_grad()
def decoding_without_cache(quick: bool) -> Row:
    """Greedy decoding of n tokens, the whole prefix given to the model at each step."""
    return decoded(quick, False, "n steps over i tokens: n², then n³")


def decoded(quick: bool, use_cache: bool, formula: str) -> Row:
    """Greedy decoding against the number of new tokens."""
    sizes = [4, 8] if quick else [32, 64, 128, 256]
    torch.manual_seed(0)
    model = GPT(GPTConfig(VOCAB_SIZE, 128, num_layers=2, num_heads=4, max_len=512)).eval()
    prompt = torch.tensor([[1]])

    def work(new_tokens: int) -> Callable[[], object]:
        def decode() -> object:
            step = model
            if use_cache:
                step = decoding.Cached(lambda ids, cache: model(ids, cache=cache), KeyValueCache())
            return decoding.greedy_search(step, prompt, new_tokens)

        return decode

    return timed(sizes, work, formula, quick)


ROWS = {
    function.__name__: function
    for function in (
        attention_time,
        attention_memory,
        fused_memory,
        training_batch,
        training_width,
        wordpiece,
        bpe_training,
        decoding_with_cache,
        decoding_without_cache,
    )
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the result file."""
    measure_all("growth", ROWS, ("torch",), arguments)


if __name__ == "__main__":
    main()
