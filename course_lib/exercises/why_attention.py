"""Notebook 01: a dictionary made soft, temperature, counting steps, and an alignment."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .engine import Choice, Question, exercise, quiz
from .judging import Mistake, call, close, compare, function, number, random_tensor, reject_if, tensor

_HERE = "course_lib.exercises.references.why_attention"

_ROUNDED_TO_TWO_PLACES = 6e-3


@exercise(
    "01.1",
    title="Kernel-weighted lookup",
    minutes=6,
    difficulty=2,
    hints=(
        "How much does each entry count, before anything is divided? That is one kernel value for each key.",
        "Kernel: `exp(-(query - keys)² / (2 · width²))`. The weights are the kernel values divided by their sum. "
        "The answer is the sum of weight times value.",
        "`kernel = torch.exp(-((query - keys) ** 2) / (2 * width**2))`, then `(kernel * values).sum() / kernel.sum()`.",
    ),
    reference=f"{_HERE}:kernel_lookup",
)
def judge_kernel_lookup(answer):
    lookup = function(answer, "kernel_lookup")
    for seed, (entries, width) in enumerate([(3, 1.0), (5, 0.6), (7, 1.7), (2, 0.4), (1, 1.0)]):
        keys = 2 * random_tensor(seed, entries, dtype=torch.float64)
        values = 10 * random_tensor(seed + 100, entries, dtype=torch.float64)
        query = float(random_tensor(seed + 200, 1, dtype=torch.float64))
        found = tensor(call(lookup, query, keys, values, width))
        reject_if(
            entries > 1 and found.shape == (entries,),
            f"{entries} entries give {entries} numbers back; the answer is one number, the sum of weight times value",
            "not-summed",
        )
        reject_if(found.numel() != 1, f"one number is asked for and the shape is {tuple(found.shape)}", "shape")
        weights = torch.softmax(-((query - keys) ** 2) / (2 * width**2), dim=0)
        compare(
            found.reshape(()),
            weights @ values,
            _kernel_mistakes(query - keys, values, width),
            f"for {entries} entries and the width {width} it gives {float(found):.3g} and the weighted average of the "
            f"values is {float(weights @ values):.3g}",
        )
    return "near one entry it is that entry's value; far from all, or with a wide kernel, it averages"


def _kernel_mistakes(distance: Tensor, values: Tensor, width: float) -> list[Mistake]:
    kernel = torch.exp(-(distance**2) / (2 * width**2))

    def average(counts: Tensor) -> Tensor:
        return counts @ values / counts.sum()

    return [
        Mistake(
            kernel @ values,
            "not-normalised",
            "the kernel values are not divided by their sum: weights sum to 1, or the answer is no average",
        ),
        Mistake(
            kernel @ values / len(values),
            "divided-by-count",
            "you divide by the number of entries; divide by the sum of the kernel values, so that the weights sum to 1",
        ),
        Mistake(
            average(torch.exp(-(distance**2) / width**2)),
            "no-half",
            "your kernel is too narrow by a factor: the distance is divided by 2 · width², and the 2 is missing",
        ),
        Mistake(
            average(torch.exp(-(distance**2) / (2 * width))),
            "width-not-squared",
            "the width is to be squared, like the distance: it is a length, and the exponent has no unit",
        ),
        Mistake(
            average(torch.exp(-(distance**2) / 2)),
            "width-ignored",
            f"the result does not depend on the width, here {width}",
        ),
        Mistake(
            average(torch.exp(-distance.abs() / (2 * width**2))),
            "not-squared",
            "you take the distance; the Gaussian takes its square",
        ),
        Mistake(
            average(torch.exp(distance**2 / (2 * width**2))),
            "sign",
            "with you far entries count more than near ones: the exponent is negative",
        ),
        Mistake(
            average(distance**2 / (2 * width**2)),
            "no-exp",
            "you average with the squared distances themselves, so far entries count more: take exp of their negative",
        ),
        Mistake(
            values[distance.abs().argmin()],
            "nearest",
            "this is the value of the nearest entry, a hard lookup; every entry is to have a say",
        ),
        Mistake(values.mean(), "mean", "this is the plain average of the values: the query has no say in it"),
    ]


@exercise(
    "01.2",
    title="Temperature on paper",
    minutes=5,
    difficulty=2,
    hints=(
        "What becomes of the scores 2 ln 2, ln 2 and 0 when they are divided by 1/2? Which powers of 2 are they then?",
        "At T the three powers are 2^(2/T), 2^(1/T) and 1; each weight is its power divided by the sum of the three. "
        "For the last entry ask when 2^(2/T) is 64.",
        "At T = 1 they are 4, 2, 1 with the sum 7. At T = 1/2 they are 16, 4, 1 with the sum 21. 64 is 2^6.",
    ),
    reference=f"{_HERE}:temperature_by_hand",
)
def judge_temperature(answer):
    scores = math.log(2) * torch.tensor([2, 1, 0], dtype=torch.float64)
    thirds, best = torch.full((3,), 1 / 3, dtype=torch.float64), torch.tensor([1, 0, 0], dtype=torch.float64)
    right = {"T = 1": 1.0, "T = 1/2": 0.5}
    for name, temperature in right.items():
        base_e = torch.softmax(torch.tensor([2, 1, 0], dtype=torch.float64) / temperature, dim=0)
        mistakes = [
            Mistake(torch.exp(scores / temperature), "not-normalised", "these are the powers; divide by their sum"),
            Mistake(base_e, "base-e", "the scores are 2 ln 2, ln 2 and 0: e to these powers is 4, 2 and 1 at T = 1"),
            Mistake(
                torch.tensor([2, 1, 0], dtype=torch.float64) / 3,
                "no-exp",
                "you share out in proportion to the scores; softmax takes their exponentials first",
            ),
        ]
        if temperature != 1:
            mistakes += [
                Mistake(
                    torch.softmax(scores * temperature, dim=0),
                    "multiplied",
                    "you multiply the scores by 1/2, which makes them more alike; dividing by 1/2 doubles them",
                ),
                Mistake(torch.softmax(scores, dim=0), "ignored", "these are the weights at T = 1"),
            ]
        _judge_weights(answer, name, torch.softmax(scores / temperature, dim=0), mistakes)
    swapped = "colder means pickier: at a low temperature the best entry takes all, at a high one all are alike"
    _judge_weights(answer, "T to 0", best, [Mistake(thirds, "swapped", swapped)])
    _judge_weights(answer, "T to infinity", thirds, [Mistake(best, "swapped", swapped)])
    value = _entry(answer, "64 times")
    found = number(value, "`64 times`")
    for mistake, name, message in (
        (3.0, "inverse", "at T = 3 the scores are divided by 3 and the ratio is 2^(2/3); it has to grow"),
        (1 / 6, "half", "at T = 1/6 the ratio is 2^12; the first score is *two* times ln 2"),
        (6.0, "exponent", "6 is the exponent that 64 = 2^6 needs; 2/T is to be 6"),
        (math.log(64), "logarithm", "ln 64 is the difference of the scores that is needed, 2 ln 2 / T; solve for T"),
    ):
        reject_if(abs(found - mistake) < _ROUNDED_TO_TWO_PLACES, message, name)
    reject_if(
        abs(found - 1 / 3) > _ROUNDED_TO_TWO_PLACES,
        f"at T = {found:.3g} the first entry does not have 64 times the weight of the last: 2^(2/T) = 64",
        "value",
    )
    return "a temperature changes ratios: from 4 to 1 at T = 1 to 64 to 1 at T = 1/3"


def _judge_weights(answer: Any, name: str, right: Tensor, mistakes: list[Mistake]) -> None:
    """Judge three weights of 01.2; decimals rounded to two places are right."""
    found = tensor(_entry(answer, name), (3,), f"`{name}`")
    if close(found, right, _ROUNDED_TO_TWO_PLACES):
        return
    for mistake in mistakes:
        reject_if(close(found, mistake.value, _ROUNDED_TO_TWO_PLACES), f"`{name}`: {mistake.message}", mistake.name)
    total = float(found.sum())
    reject_if(abs(total - 1) > 0.02, f"`{name}`: weights sum to 1, and yours to {total:.3g}", "sum")
    compare(found, right, [], f"compute `{name}` once more: the three powers of 2, each divided by their sum")


def _entry(answer: Any, name: str) -> Any:
    """The entry of this name in a dictionary that the learner filled in."""
    reject_if(not isinstance(answer, Mapping), "a dictionary is asked for, as it stood in the cell", "wrong-type")
    reject_if(name not in answer, f"the entry `{name}` is missing", "missing")
    value = answer[name]
    blank = value is ... or value is None or (isinstance(value, list | tuple) and any(part is ... for part in value))
    reject_if(blank, f"`{name}` still has an empty place; what stands above it is right", "not-finished")
    return value


@exercise(
    "01.3",
    title="A dictionary at zero temperature",
    minutes=7,
    difficulty=3,
    hints=(
        "There is one score for each entry. What are the weights, once you have the scores? And which entries still "
        "have a weight when T is almost 0?",
        "Scores: `keys @ query`. For T > 0 the weights are the softmax of scores / T, and the answer is `weights @ "
        "values`. For T = 0 you may not divide: average the values of all entries whose score is the largest.",
        "`if temperature == 0: return values[scores == scores.max()].mean(dim=0)`, else "
        "`torch.softmax(scores / temperature, dim=0) @ values`.",
    ),
    reference=f"{_HERE}:soft_lookup",
)
def judge_soft_lookup(answer):
    lookup = function(answer, "soft_lookup")
    for seed, (entries, d_k, d_v, temperature) in enumerate([(3, 2, 5, 1.0), (5, 7, 2, 0.5), (2, 3, 3, 4.0)]):
        query, keys = random_tensor(seed, d_k), random_tensor(seed + 50, entries, d_k)
        values = random_tensor(seed + 100, entries, d_v)
        found = _looked_up(lookup, query, keys, values, temperature)
        scores = keys.double() @ query.double()
        _reject_weights(found, torch.softmax(scores / temperature, dim=0))
        right = torch.softmax(scores / temperature, dim=0) @ values.double()
        message = f"at T = {temperature} the values are not weighted by softmax(keys · query / T)"
        reject_if(found.shape != (d_v,), f"the answer has shape {tuple(found.shape)} instead of {(d_v,)}", "shape")
        compare(found, right, _lookup_mistakes(scores, values.double(), d_k, temperature), message)
    _judge_zero_temperature(lookup)
    return "from T = 0 to a hot one: the best entry alone, then all of them"


def _looked_up(lookup, query: Tensor, keys: Tensor, values: Tensor, temperature: float) -> Tensor:
    found = tensor(call(lookup, query, keys, values, temperature))
    reject_if(
        bool(found.isnan().any()) and temperature == 0,
        "at T = 0 your result is not a number: 0 cannot be divided by. Ask which scores are the largest",
        "divided-by-zero",
    )
    reject_if(
        bool(found.isnan().any()),
        f"at T = {temperature:g} your result is not a number: e to the power of a large score is infinite. Subtract "
        "the largest score first, or use `torch.softmax`",
        "overflow",
    )
    return found


def _reject_weights(found: Tensor, weights: Tensor) -> None:
    reject_if(
        close(found, weights),
        "these are the weights, and they are right; what is looked up is the values, weighted by them",
        "weights",
    )


def _lookup_mistakes(scores: Tensor, values: Tensor, d_k: int, temperature: float) -> list[Mistake]:
    def with_weights(scaled: Tensor) -> Tensor:
        return torch.softmax(scaled, dim=0) @ values

    return [
        Mistake(
            with_weights(scores * temperature),
            "multiplied",
            "you multiply the scores by T; divide, so that a small T makes differences large",
        ),
        Mistake(with_weights(scores), "temperature-ignored", f"the result does not depend on T, here {temperature}"),
        Mistake(
            with_weights(scores / temperature / math.sqrt(d_k)),
            "scaled-twice",
            "you divide by √d_k as well; here T alone says how far the scores are scaled down",
        ),
        Mistake(
            torch.exp(scores / temperature) @ values,
            "not-normalised",
            "the exponentials are not divided by their sum: the weights do not sum to 1",
        ),
        Mistake(
            scores / temperature @ values,
            "no-softmax",
            "you weight by the scores themselves, which may be negative and do not sum to 1: softmax comes first",
        ),
        Mistake(values[scores.argmax()], "hard", f"this is the best entry alone; at T = {temperature} all have a say"),
        Mistake(values.mean(dim=0), "mean", "this is the plain average of the values: the query has no say in it"),
    ]


def _judge_zero_temperature(lookup) -> None:
    # Whole numbers, so that equal scores are equal however they are computed.
    query = torch.tensor([1.0, 2.0, -1.0])
    keys = torch.tensor([[1.0, 0.0, 1.0], [2.0, 1.0, 0.0], [0.0, -1.0, 3.0], [0.0, 3.0, 2.0], [-1.0, 0.0, 0.0]])
    values = random_tensor(7, 5, 2)
    best = values[1].double()
    found = tensor(_looked_up(lookup, query, keys[:3], values[:3], 0.0), (2,), "your result at T = 0")
    message = "at T = 0 the answer is the value of the entry with the largest score"
    mistakes = [
        Mistake(values[:3].double().mean(dim=0), "mean", "at T = 0 you average all values; only the best entry counts"),
        Mistake(
            torch.softmax(keys[:3].double() @ query.double(), dim=0) @ values[:3].double(),
            "not-the-limit",
            "at T = 0 you return what belongs to T = 1; as T falls to 0 all weight goes to the largest score",
        ),
    ]
    compare(found, best, mistakes, message)
    found = tensor(_looked_up(lookup, query, keys, values, 0.0), (2,), "your result at T = 0")
    tied = values[[1, 3]].double()
    one_of_two = "two entries share the largest score and you return one of them; as T falls to 0 each keeps one half"
    mistakes = [
        Mistake(tied[0], "tie", one_of_two),
        Mistake(tied[1], "tie", one_of_two),
        Mistake(tied.sum(dim=0), "tie-summed", "two entries share the largest score: average their values"),
    ]
    compare(found, tied.mean(dim=0), mistakes, "two entries share the largest score: average their two values")
    for cold in (1e-3, 2e-4):
        found = _looked_up(lookup, 10 * query, keys[:3], values[:3], cold)
        compare(found, best, [], f"at T = {cold:g} nearly all weight is on the largest score, as at T = 0")


_STEPS = {
    "RNN reads": 1000,
    "attention reads": 1,
    "RNN path": 999,
    "convolution layers": 500,
    "attention generates": 1000,
    "scores": 1_000_000,
}
_MISCOUNTED = {
    "RNN reads": {
        1: ("parallel", "each state needs the one before, so no two updates can be done together"),
        999: ("off-by-one", "the first token needs an update as well"),
    },
    "attention reads": {
        1000: ("sequential", "no lookup needs the result of another one: all 1,000 can be done together"),
        1_000_000: ("work", "that is the number of dot products; none of them waits for another"),
    },
    "RNN path": {
        1000: (
            "off-by-one",
            "the first token is in state 1 already; from state 1 to state 1,000 there are 999 updates",
        ),
        1: ("direct", "only attention is that direct; an RNN hands the first token on from state to state"),
    },
    "convolution layers": {
        1: ("direct", "one layer sees two tokens to each side; the first is 999 places away from the last"),
        999: ("one-a-layer", "each layer brings it two places further, not one"),
        1000: ("one-a-layer", "each layer brings it two places further, and there are 999 to go"),
        499: ("rounded-down", "499 layers bring it 998 places far; one place is left"),
        250: ("window", "it moves to one side only: two places a layer, whatever the window's whole width"),
        200: ("window", "the window is five tokens wide, but it moves to one side only: two places a layer"),
    },
    "attention generates": {
        1: (
            "parallel",
            "a word cannot be started before the one before it is chosen: only training, where the text is known, is "
            "done at once",
        ),
        999: ("off-by-one", "the first word needs a run as well"),
    },
    "scores": {
        1000: ("one-query", "that is one query; there are 1,000 of them, and each meets 1,000 keys"),
        500_500: ("causal", "that is what a causal mask leaves; here every token meets every token"),
        499_500: ("unordered", "a score and its reverse differ, and a token also meets itself: 1,000 times 1,000"),
        999_000: ("not-itself", "a token also meets itself: 1,000 keys for each query"),
    },
}


@exercise(
    "01.4",
    title="Count the steps",
    minutes=4,
    difficulty=2,
    hints=(
        "For each line ask: what must be finished before this can start?",
        "An RNN's state needs the state before. A lookup needs no other lookup of its layer. A convolution of this "
        "width carries something two places further with each layer. A word to be written needs all words before it.",
        "From token 1 to token 1,000 there are 999 places: 999 updates, or 999 / 2 layers, rounded up. Dot products: "
        "1,000 queries times 1,000 keys.",
    ),
    reference=f"{_HERE}:steps_counted",
)
def judge_steps(answer):
    for name, right in _STEPS.items():
        found = number(_entry(answer, name), f"`{name}`")
        for value, (misconception, message) in _MISCOUNTED[name].items():
            reject_if(found == value, f"`{name}`: {message}", misconception)
        reject_if(
            found == 499.5, "`convolution layers`: half a layer does not exist, and 499 are too few", "rounded-down"
        )
        reject_if(found != right, f"`{name}` is not {found:,.10g}; what has to wait for what?", "value")
    return "one step in place of a thousand, for a million scores; generating stays one after another"


_SOURCE = ("we", "sell", "my", "green", "carrots")
_ANSWERS_TO = {"nous": "we", "vendons": "sell", "mes": "my", "carottes": "carrots", "vertes": "green"}


@exercise(
    "01.5",
    title="Predict an alignment",
    minutes=3,
    difficulty=1,
    hints=(
        "Which French word is the noun, and which is the colour? Where do they stand?",
        "Four English words have their French word in the order you would expect from left to right; draw five lines "
        "between the two sentences, and look whether two lines meet.",
        "carottes answers to carrots and vertes to green: these two have changed places, and their lines cross.",
    ),
    reference=f"{_HERE}:predicted",
)
def judge_alignment(answer):
    found = {word: _source_word(_entry(answer, word), word) for word in _ANSWERS_TO}
    positions = list(found.values())
    reject_if(positions == [1, 2, 3, 5, 4], "positions count from 0: we is 0, sell is 1, and so on", "from-one")
    reject_if(
        positions == [0, 1, 2, 3, 4],
        "this is word by word, as if French had the English order; which of carottes and vertes is the colour?",
        "in-order",
    )
    for word, place in found.items():
        right = _ANSWERS_TO[word]
        reject_if(
            place != _SOURCE.index(right),
            f"{word!r} does not answer to {_SOURCE[place] if 0 <= place < len(_SOURCE) else place!r}",
            "value",
        )
    crossings = number(_entry(answer, "crossings"), "`crossings`")
    reject_if(crossings == 0, "two words have changed places, so their links cross", "no-crossing")
    reject_if(crossings == 2, "two links make one crossing: count pairs", "twice")
    reject_if(crossings != 1, f"{crossings:.10g} pairs of links do not cross; draw the five lines", "crossings")
    return "the colour stands behind the noun in French: one crossing"


def _source_word(value: Any, word: str) -> int:
    """A position in the English sentence, given as a number or as the word."""
    if isinstance(value, str):
        text = value.strip().lower().rstrip(".")
        reject_if(text not in _SOURCE, f"`{word}`: {value!r} is no word of the English sentence", "unknown-word")
        return _SOURCE.index(text)
    return round(number(value, f"`{word}`"))


quiz(
    "01",
    Question(
        "A soft dictionary has a very wide kernel, or a very high temperature. What does it answer?",
        (
            Choice("The value of the best entry", "That is the other end: a narrow kernel, a temperature near 0."),
            Choice("The average of all values", "All entries count alike, whatever is asked."),
            Choice("Nothing: the weights vanish", "Weights are divided by their sum, so they always sum to 1."),
        ),
        right=1,
    ),
    Question(
        "You shuffle the words of a sentence and let 'bank' look it up again. What changes?",
        (
            Choice("Nothing", "A lookup sums over its entries, and a sum has no order. Positions come in notebook 04."),
            Choice("The weights of near words grow", "Nothing in a key says how near its word stands."),
            Choice("The answer, but not the weights", "Key and value of a word move together, so the sum is the same."),
        ),
        right=0,
    ),
    Question(
        "A gated network recalls the first and the last of 48 entries equally badly. What is the trouble?",
        (
            Choice("It forgets what is far away", "Then the last entry would fare better than the first."),
            Choice("Its gradients vanish", "Then, too, distance would matter; the gates keep a path open."),
            Choice("Guessing would do as well", "Guessing is right in one case of ten; it was right far more often."),
            Choice("Its state is full", "One vector of fixed width has to hold all entries, near and far."),
        ),
        right=3,
    ),
    Question(
        "Where is a model with attention as sequential as a recurrent network?",
        (
            Choice("In training", "All words of a training text are known, so all positions are computed at once."),
            Choice("In reading a prompt", "The words are known there as well."),
            Choice("In generating a text", "Each word depends on the words before it, which must be chosen first."),
        ),
        right=2,
    ),
    Question(
        "Three translators that are equally good read different English words while they choose 'les'. What follows?",
        (
            Choice("Two of them are not trained to the end", "All three translate new combinations rightly."),
            Choice(
                "What 'les' needs can be read at more than one place",
                "The memory mixes neighbours. The weights say where a model read, and another could read elsewhere.",
            ),
            Choice("Weights are random", "For nouns and adjectives all three agree, and the alignment error is small."),
        ),
        right=1,
    ),
)
