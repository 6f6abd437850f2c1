"""How fast the explorers answer: `python benchmarks/explorers.py`.

Each explorer is built at the size at which its notebook shows it, with numbers made up where the notebook asks a
model, so that nothing is fetched. Then each of its controls is moved back and forth, and every move, with all that it
computes, draws and encodes, is timed. The first picture, drawn when an explorer is built, is not: it loads the
typefaces. The attention explorer draws in the page, and tells there in `data-milliseconds` how long it took.

A row holds processor time, the median and the slowest move, and the median by the clock, with the garbage collector
out of the way. Run it with nothing else running.
"""

import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence

import ipywidgets
import torch
from rounds import Measure, Row, without_collector
from rounds import main as measure_all

from course_lib import decoding, plotting, widgets
from course_lib.tokenizers import BPETokenizer, WordPieceTokenizer
from course_lib.widgets.display import Explorer

MOVES, QUICK_MOVES = 24, 2
WORDS = ["the", "cat", "sat", "on", "the", "mat"]


def attention_steps() -> Explorer:
    """Notebook 02: six words, vectors of three numbers."""
    q, k, v = torch.randn(3, 6, 3, dtype=torch.float64)
    return widgets.AttentionSteps(WORDS, q, k, v, query=2, unit=math.log(2), unit_name="ln 2")


def head_split() -> Explorer:
    """Notebook 03: six words, eight columns."""
    return widgets.HeadSplit(WORDS, *torch.randn(2, 6, 8), num_heads=2, head=0)


def beam_tree() -> Explorer:
    """Notebook 06: five words, four numbers of beams, four penalties, four steps."""

    def next_token(prefix: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.sin((prefix.sum(dim=1) + 1) * (token + 2.0)) for token in range(5)], dim=1)

    searches = {
        (beams, penalty): decoding.beam_search(
            next_token, torch.tensor([[9]]), 4, num_beams=beams, length_penalty=penalty, eos_id=0
        )[0]
        for beams in (1, 2, 3, 4)
        for penalty in (0.0, 0.5, 1.0, 2.0)
    }
    return widgets.BeamTree(searches, [".", "la", "une", "pomme", "rouge"])


def sampling() -> Explorer:
    """Notebook 07: the 49,152 tokens of SmolLM2."""
    prompts = ("I would like a cup of", "the capital of France is", "My favourite animal is the")
    return widgets.SamplingExplorer({prompt: 3 * torch.randn(49_152) for prompt in prompts}, " word{}".format)


def tokenizer_playground() -> Explorer:
    """Notebook 08: two tokenizers."""
    texts = ["the cat sat on the mat and the cats sat on the mats, 12 cats"]
    return widgets.TokenizerPlayground(
        {"BPE": BPETokenizer.train(texts, 283), "WordPiece": WordPieceTokenizer.train(texts, 60)}
    )


def temperature() -> Explorer:
    """Notebook 13: 370 answers, two classes."""
    logits, labels = 3 * torch.randn(370, 2), torch.randint(2, (370,))
    return widgets.TemperatureExplorer(logits, labels, ["negative", "positive"], {"one": logits[0], "two": logits[1]})


def classifier_demo() -> Explorer:
    """Notebook 19, without its model, whose time depends on the learner's choice."""
    return widgets.ClassifierDemo(lambda texts: [[0.25, 0.75]], ["negative", "positive"], examples=["one", "two"])


EXPLORERS = {
    "AttentionSteps": attention_steps,
    "BeamTree": beam_tree,
    "ClassifierDemo": classifier_demo,
    "HeadSplit": head_split,
    "PositionExplorer": widgets.PositionExplorer,
    "SamplingExplorer": sampling,
    "ScalingExplorer": widgets.ScalingExplorer,
    "TemperatureExplorer": temperature,
    "TokenizerPlayground": tokenizer_playground,
}


def moved(build: Callable[[], Explorer]) -> Measure:
    """The row of an explorer: milliseconds from a move to what it shows."""

    def measure(quick: bool) -> Row:
        torch.manual_seed(0)
        explorer = build()
        by_clock, of_processor = [], []
        gc.collect()
        with without_collector():
            for number in range(QUICK_MOVES if quick else MOVES):
                began, worked = time.perf_counter(), time.process_time()
                move(explorer, number)
                by_clock.append(1000 * (time.perf_counter() - began))
                of_processor.append(1000 * (time.process_time() - worked))
        return {
            "median_milliseconds": round(statistics.median(of_processor), 1),
            "slowest_milliseconds": round(max(of_processor), 1),
            "clock_median_milliseconds": round(statistics.median(by_clock), 1),
            "moves": len(of_processor),
        }

    return measure


def move(explorer: Explorer, number: int) -> None:
    """Move one control: each has its turn, and each of its values."""
    controls = [one for one in explorer.view.children if _other_values(one)]  # one head leaves none to choose
    control = controls[number % len(controls)]
    values = _other_values(control)
    control.value = values[number // len(controls) % len(values)]


def _other_values(control: ipywidgets.Widget) -> list:
    """Values to which a learner can move the control; none for what is no control."""
    if isinstance(control, ipywidgets.Text | ipywidgets.Textarea):
        values = ["a cat", "the cats sat on the mat and on the mats, all 12 of them, and the cat sat on the cats"]
    elif isinstance(control, ipywidgets.Checkbox):
        values = [True, False]
    elif hasattr(control, "options"):
        values = [one[1] if isinstance(one, tuple) else one for one in control.options]
    elif isinstance(control, ipywidgets.FloatLogSlider):
        values = [control.base**power for power in (control.min, control.max, 0.0)]
    elif hasattr(control, "max"):
        values = [control.min, control.max, (control.min + control.max) / 2]
        values = [type(control.value)(value) for value in values]
    else:
        return []
    return [value for value in values if value != control.value]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the result file."""
    plotting.use_course_style()
    rows = {name: moved(build) for name, build in EXPLORERS.items()}
    measure_all("explorers", rows, ("torch", "matplotlib", "ipywidgets"), arguments)


if __name__ == "__main__":
    main()
