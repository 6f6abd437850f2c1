"""Notebook 11: maps read by a score, senses of a word, probes and their control, rollout, silenced heads, a cue."""

import itertools
import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .engine import Choice, Question, Rejected, exercise, quiz
from .judging import Mistake, call, close, compare, function, number, random_tensor, reject_if, tensor
from .sandbox import Stopped, describe

_HERE = "course_lib.exercises.references.looking_inside"
_INSPECTION = "course_lib.inspection"


# --- 11.1 ---------------------------------------------------------------------------------------------------


@exercise(
    "11.1",
    title="Which head looks at its neighbour?",
    minutes=6,
    difficulty=2,
    hints=(
        "Where in a map do the weights stand that each query puts on the token just before it?",
        "They are a diagonal, one below the main one. Take its mean in every map, then the place of the largest mean. "
        "`torch.argmax` counts through all heads of all layers: layer and head are the quotient and the remainder.",
        "`scores = weights.diagonal(offset, dim1=-2, dim2=-1).mean(dim=-1)`, then "
        "`divmod(int(scores.argmax()), scores.shape[1])`.",
    ),
    reference=f"{_HERE}:find_head",
)
def judge_find_head(answer):
    find = function(answer, "find_head")
    for seed, (layers, heads, n) in enumerate([(3, 5, 7), (2, 4, 6), (5, 3, 11)]):
        weights = (2 * random_tensor(seed, layers, heads, n, n)).softmax(dim=-1)
        for offset in (-1, 1, 0, -2):
            means = torch.tensor(
                [
                    [
                        np.mean([weights[layer, head, i, i + offset].item() for i in range(n) if 0 <= i + offset < n])
                        for head in range(heads)
                    ]
                    for layer in range(layers)
                ]
            )
            right = divmod(int(means.argmax()), heads)
            found = call(find, weights, offset)
            if isinstance(found, int | np.integer) or (isinstance(found, Tensor) and found.dim() == 0):
                raise Rejected(
                    f"one number came back, {int(found)}; return two, (layer, head), each counted from 0", "one-number"
                )
            pair = tuple(tensor(found, (2,), "the pair (layer, head)").long().tolist())
            if pair == right:
                continue
            reject_if(
                pair == right[::-1] != right, f"(head, layer) came back; return (layer, head), here {right}", "swapped"
            )
            for place, name, message in _head_mistakes(weights, offset):
                reject_if(pair == place, f"with offset {offset}: {message}", name)
            raise Rejected(
                f"with offset {offset} the largest mean weight is that of layer {right[0]}, head {right[1]}, and you "
                f"say {pair}: take the mean over the queries i of weights[layer, head, i, i + offset]",
                "value",
            )
    return "each head was found, for tokens before and behind"


def _head_mistakes(weights: Tensor, offset: int) -> list[tuple[tuple[int, int], str, str]]:
    heads = weights.shape[1]
    diagonal = weights.diagonal(offset, dim1=-2, dim2=-1)
    opposite = weights.diagonal(-offset, dim1=-2, dim2=-1).mean(dim=-1)
    return [
        (
            divmod(int(scores.argmax()), heads),
            name,
            message,
        )
        for scores, name, message in (
            (
                opposite,
                "other-direction",
                "this head looks the other way: rows are queries and columns keys, so the token before is i - 1, the "
                "diagonal below the main one",
            ),
            (
                diagonal.amax(dim=-1),
                "one-query",
                "one query of this head has a large weight there; one row is no habit: take the mean over the queries",
            ),
            (
                weights.amax(dim=-1).mean(dim=-1),
                "sharpest",
                "this is the head with the sharpest rows, wherever they look; only the weight at i + offset counts",
            ),
        )
    ]


# --- 11.2 ---------------------------------------------------------------------------------------------------


@exercise(
    "11.2",
    title="Tell two senses apart",
    minutes=8,
    difficulty=3,
    hints=(
        "If a vector helps to make the mean that it is compared with, whose side does that take?",
        "For each vector i: leave it out, take the mean of what remains of each sense, and compare the cosines of "
        "vector i with the two means. The answer is the share of the vectors whose own sense wins.",
        "In a loop: `others = np.arange(len(senses)) != i`, `means = [vectors[others & (senses == s)].mean(0) for s in "
        "(0, 1)]`, then `F.cosine_similarity` of `vectors[i]` with each.",
    ),
    reference=f"{_HERE}:sense_accuracy",
)
def judge_sense_accuracy(answer):
    accuracy = function(answer, "sense_accuracy")
    for seed, (sizes, width, gap) in enumerate([((7, 11), 13, 0.5), ((13, 6), 5, 1.0), ((9, 10), 29, 0.3)]):
        senses = torch.tensor([0] * sizes[0] + [1] * sizes[1])[torch.randperm(sum(sizes), generator=_generator(seed))]
        lengths = random_tensor(seed + 10, sum(sizes), 1).exp() * (1 + 2 * senses[:, None])  # one sense has longer ones
        vectors = (random_tensor(seed + 20, sum(sizes), width) + gap * (2 * senses[:, None] - 1)) * lengths
        found = number(call(accuracy, vectors, senses), "the share")
        right = _leave_one_out(vectors, senses)
        reject_if(
            abs(found - 100 * right) < 1e-6,
            f"{found:.3g} is a percentage; return the share, from 0 to 1",
            "percent",
        )
        if abs(found - right) < 1e-6:
            continue
        for value, name, message in (
            (
                _leave_one_out(vectors, senses, leave=False),
                "not-left-out",
                "the vector that is judged helped to make the mean of its own sense: leave it out, or you measure how "
                "well a vector resembles itself",
            ),
            (
                _leave_one_out(vectors, senses, measure="distance"),
                "distance",
                "nearness was measured by distance, which the vectors' lengths decide; compare cosines",
            ),
            (
                _leave_one_out(vectors, senses, measure="dot"),
                "dot-product",
                "the dot product favours the longer mean; divide by the lengths: cosine",
            ),
            (1 - right, "wrong-way", "this is the share of vectors whose *other* sense wins"),
        ):
            reject_if(abs(found - value) < 1e-6, message, name)
        raise Rejected(
            f"for {sizes[0]} and {sizes[1]} vectors the share is {right:.3f} and you return {found:.3g}: each vector "
            "is left out once and compared with the means of the others",
            "value",
        )
    return "equal to a loop over all vectors, each left out once"


def _leave_one_out(vectors: Tensor, senses: Tensor, leave: bool = True, measure: str = "cosine") -> float:
    x, y = vectors.double().numpy(), senses.numpy()
    hits = 0
    for i in range(len(y)):
        others = np.arange(len(y)) != i if leave else np.ones(len(y), dtype=bool)
        means = [x[others & (y == sense)].mean(axis=0) for sense in (0, 1)]
        if measure == "distance":
            nearness = [-np.linalg.norm(x[i] - mean) for mean in means]
        else:
            nearness = [x[i] @ mean / (np.linalg.norm(mean) if measure == "cosine" else 1) for mean in means]
        hits += int(np.argmax(nearness) == y[i])
    return hits / len(y)


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- 11.3 ---------------------------------------------------------------------------------------------------


@exercise(
    "11.3",
    title="Labels for a control task",
    minutes=5,
    difficulty=2,
    hints=(
        "What must two occurrences of one word have in common, and what must two words not have in common?",
        "First one draw for each *different* word, in an order that is always the same; then look every occurrence up.",
        "`kinds = sorted(set(words))`, `drawn = np.random.default_rng(seed).integers(num_labels, size=len(kinds))`, "
        "then a dictionary from kinds to drawn.",
    ),
    reference=f"{_HERE}:control_labels",
)
def judge_control_labels(answer):
    labels_of = function(answer, "control_labels")
    random = np.random.default_rng(0)
    for kinds, num_labels in ((400, 2), (300, 3), (250, 5)):
        words = [
            f"word{i}" for i in random.permutation(np.r_[np.arange(kinds), random.integers(kinds, size=3 * kinds)])
        ]
        first = _labels(call(labels_of, list(words), num_labels, 3), len(words), num_labels)
        by_word: dict[str, set[int]] = {}
        for word, label in zip(words, first, strict=True):
            by_word.setdefault(word, set()).add(label)
        torn = next((word for word in words if len(by_word[word]) > 1), None)
        if torn:
            raise Rejected(
                f"{torn!r} has the labels {sorted(by_word[torn])}: such labels cannot be learned. Draw once for each "
                "different word, and give all its occurrences that label",
                "per-token",
            )
        again = _labels(call(labels_of, list(words), num_labels, 3), len(words), num_labels)
        reject_if(
            first != again,
            "the same words and the same seed gave other labels: use a generator of your own, made from `seed`",
            "not-reproducible",
        )
        other = _labels(call(labels_of, list(words), num_labels, 4), len(words), num_labels)
        reject_if(first == other, "another seed gave the same labels: `seed` is not used", "seed-ignored")
        drawn = np.bincount([by_word[word].copy().pop() for word in by_word], minlength=num_labels) / kinds
        reject_if(
            bool((np.abs(drawn - 1 / num_labels) > 0.15).any()),
            f"the {num_labels} labels are given to {', '.join(f'{share:.0%}' for share in drawn)} of the words: each "
            "should get about the same share",
            "uneven",
        )
        reject_if(
            _labels(call(labels_of, words[::-1], num_labels, 3), len(words), num_labels)[::-1] != first,
            "the same words in another order got other labels: sort the different words before you draw",
            "order",
        )
    return "one chance label for each word, the same for all its occurrences"


def _labels(value, count: int, num_labels: int) -> list[int]:
    found = tensor(value, (count,), "the labels")
    reject_if(found.dtype == torch.bool, "the labels are True and False; use the numbers 0, 1, ...", "wrong-type")
    labels = found.long().tolist()
    reject_if(
        not torch.equal(found, found.round()) or min(labels) < 0 or max(labels) >= num_labels,
        f"labels go from {found.min():g} to {found.max():g}; they should be whole numbers from 0 to {num_labels - 1}",
        "range",
    )
    return labels


# --- 11.4 ---------------------------------------------------------------------------------------------------


@exercise(
    "11.4",
    title="A linear probe",
    minutes=6,
    difficulty=3,
    hints=(
        "Which of the three arguments may the probe learn from? And from which may it take the mean and the spread?",
        "Standardise with the mean and standard deviation of the *training* vectors, fit a logistic regression, "
        "predict the test vectors.",
        "`make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000)).fit(train_x, train_y)"
        ".predict(test_x)`",
    ),
    reference=f"{_INSPECTION}:linear_probe",
)
def judge_probe(answer):
    predict = function(answer, "linear_probe")
    train_x, test_x = _blobs(0, 600), _blobs(1, 60)
    found = _predictions(call(predict, train_x[0], train_x[1], test_x[0]), test_x[1])
    score = float((found == test_x[1]).mean())
    if score < 0.9:
        flipped = float((2 - found == test_x[1]).mean())
        reject_if(
            flipped > 0.9, "right, with the classes in the wrong order: return the classes as they are", "flipped"
        )
        raise Rejected(
            f"three classes in three separate clouds: {score:.0%} right, where a linear probe has over 95 %", "value"
        )
    shifted = test_x[0][test_x[1] == 2]
    alone = _predictions(call(predict, train_x[0], train_x[1], shifted), np.full(len(shifted), 2))
    reject_if(
        float((alone == 2).mean()) < 0.8,
        "given test vectors of one class alone it spreads them over all classes: the mean and spread must come from "
        "the training vectors, not from the test vectors",
        "scaled-on-test",
    )
    corners, parity = _parity(2, 240)
    probe_x, probe_parity = _parity(3, 120)
    bent = _predictions(call(predict, corners, parity, probe_x), probe_parity)
    score = float((bent == probe_parity).mean())
    reject_if(
        score > 0.7,
        f"it solves exclusive-or ({score:.0%} right), which no straight boundary can: a strong probe learns the task "
        "itself, and then says little about the vectors. Take a linear one",
        "not-linear",
    )
    names = np.array([30, 10, 20])
    renamed = _predictions(call(predict, train_x[0], names[train_x[1]], test_x[0]), test_x[1])
    reject_if(
        not set(renamed.tolist()) <= set(names.tolist()),
        f"trained on the labels 10, 20 and 30 it predicts {sorted(set(renamed.tolist()))[:3]}: return labels, "
        "not places",
        "places",
    )
    return "it learns from the training vectors alone, and its boundary is straight"


def _blobs(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds around corners of a triangle, in coordinates of very different size and beside one constant."""
    random = np.random.default_rng(seed)
    labels = random.integers(3, size=count)
    centres = np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]])
    x = centres[labels] + random.normal(size=(count, 2))
    return np.c_[x, random.normal(size=(count, 3)), np.ones(count)] * [1, 50, 1, 1, 1, 3], labels


def _parity(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    signs = random.choice([-1.0, 1.0], size=(count, 2))
    return np.c_[3 * signs + random.normal(size=(count, 2))], (signs.prod(axis=1) > 0).astype(int)


def _predictions(value, labels: np.ndarray) -> np.ndarray:
    if isinstance(value, float):
        raise Rejected("one number came back; return the predicted label of each test vector", "a-score")
    found = tensor(value).numpy()
    if found.ndim == 2 and found.shape[0] == len(labels):
        raise Rejected(
            f"the result has shape {found.shape}, probabilities perhaps; return one label for each test vector",
            "probabilities",
        )
    reject_if(
        found.shape != labels.shape,
        f"{len(labels)} test vectors and a result of shape {found.shape}: predict the test vectors",
        "shape",
    )
    return found


# --- 11.5 ---------------------------------------------------------------------------------------------------


@exercise(
    "11.5",
    title="Attention rollout",
    minutes=8,
    difficulty=4,
    hints=(
        "A token of layer 1 is a mixture of tokens of layer 0, and one of layer 2 a mixture of those. How do two "
        "mixtures combine into one?",
        "Per layer: the mean over the heads, then residual times the identity plus (1 - residual) times that mean. "
        "Across layers: a product of matrices, the later layer at the left.",
        "`A = residual * torch.eye(n) + (1 - residual) * weights.mean(dim=1)`; start from the identity and, for each "
        "layer from the first, `rollout = A[layer] @ rollout`.",
    ),
    reference=f"{_INSPECTION}:attention_rollout",
)
def judge_rollout(answer):
    rollout = function(answer, "attention_rollout")
    for seed, (layers, heads, n) in enumerate([(2, 3, 5), (3, 2, 7)]):
        weights = (2 * random_tensor(seed, layers, heads, n, n)).softmax(dim=-1)
        found = tensor(call(rollout, weights), (n, n))
        mean = weights.double().mean(dim=1)
        right = _paths(0.5 * torch.eye(n, dtype=torch.float64) + 0.5 * mean)
        compare(found, right, _rollout_mistakes(weights.double(), mean), _rows(found))
        found = tensor(call(rollout, weights, residual=0.2), (n, n))
        other = _paths(0.2 * torch.eye(n, dtype=torch.float64) + 0.8 * mean)
        swapped = _paths(0.8 * torch.eye(n, dtype=torch.float64) + 0.2 * mean)
        compare(
            found,
            other,
            [
                Mistake(right, "residual-ignored", "residual=0.2 gives the result of 0.5: use the argument"),
                Mistake(swapped, "residual-swapped", "`residual` is the share of the identity, not of the attention"),
            ],
            "with residual=0.5 it is right, with 0.2 it is not: the identity has the share residual, attention "
            "the rest",
        )
    return "equal to the sum over all paths through the layers"


def _paths(mixing: Tensor) -> Tensor:
    """Sum over all paths from position i of the last layer to token j, by enumeration."""
    layers, n, _ = mixing.shape
    shares = mixing.tolist()  # thousands of single numbers, which a tensor is slow to give
    total = [[0.0] * n for _ in range(n)]
    for i, j in itertools.product(range(n), repeat=2):
        for between in itertools.product(range(n), repeat=layers - 1):
            path = (j, *between, i)  # from the token upwards
            total[i][j] += math.prod(shares[layer][path[layer + 1]][path[layer]] for layer in range(layers))
    return torch.tensor(total, dtype=torch.float64)


def _rollout_mistakes(weights: Tensor, mean: Tensor) -> list[Mistake]:
    n = mean.shape[-1]
    eye = torch.eye(n, dtype=torch.float64)
    mixing = (eye + mean) / 2

    def product(matrices: Tensor, later_left: bool = True) -> Tensor:
        total = eye
        for matrix in matrices:
            total = matrix @ total if later_left else total @ matrix
        return total

    return [
        Mistake(
            product(mixing, later_left=False),
            "wrong-order",
            "the layers are multiplied in the wrong order: the last layer mixes what the layer before it made, so its "
            "matrix stands at the left",
        ),
        Mistake(
            product(mean),
            "no-residual",
            "the residual connection is missing: half of each token's vector goes past the attention",
        ),
        Mistake(
            product(eye + mean),
            "not-normalised",
            f"your rows sum to {2 ** len(mean)}, not to 1: identity and attention share each row, half and half",
        ),
        Mistake(
            mixing.mean(dim=0), "mean-of-layers", "the layers were averaged; they follow one another: multiply them"
        ),
        Mistake(mixing.sum(dim=0), "sum-of-layers", "the layers were added; they follow one another: multiply them"),
        Mistake(
            torch.stack([product((eye + weights[:, head]) / 2) for head in range(weights.shape[1])]).mean(dim=0),
            "heads-apart",
            "each head was followed through all layers by itself; after every layer the heads are joined, so take "
            "their mean in each layer first",
        ),
        Mistake(
            mixing[-1], "last-layer", "this is the last layer alone; the layers before it have mixed the tokens too"
        ),
        Mistake(product(mixing).T, "transposed", "rows and columns are swapped: row i says what position i is made of"),
        Mistake(
            product(mixing[:-1]), "one-missing", "the last layer is missing: the product has one factor for each layer"
        ),
    ]


def _rows(found: Tensor) -> str:
    low, high = float(found.sum(dim=-1).min()), float(found.sum(dim=-1).max())
    if abs(low - 1) > 1e-3 or abs(high - 1) > 1e-3:
        return f"your rows sum to {low:.3g} up to {high:.3g}: each is a mixture of tokens, so it must sum to 1"
    return "your rows sum to 1, but they are not the sum over all paths from a position of the last layer to a token"


# --- 11.6 ---------------------------------------------------------------------------------------------------


class _Attention(nn.Module):
    """Self-attention with random weights, under the names of `course_lib`'s module."""

    def __init__(self, d_model: int, num_heads: int, seed: int) -> None:
        super().__init__()
        self.d_model, self.num_heads, self.d_k = d_model, num_heads, d_model // num_heads
        for place, name in enumerate(("q_proj", "k_proj", "v_proj", "out_proj")):
            linear = nn.Linear(d_model, d_model)
            with torch.no_grad():
                linear.weight.copy_(random_tensor(20 * seed + place, d_model, d_model) / d_model**0.5)
                linear.bias.copy_(random_tensor(20 * seed + place + 10, d_model))
            self.add_module(name, linear)

    def merged(self, x: Tensor) -> Tensor:
        q, k, v = (
            part(x).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        return self.out_proj(self.merged(x)), None


@exercise(
    "11.6",
    title="Silence any set of heads",
    minutes=8,
    difficulty=4,
    hints=(
        "A hook is made in a loop and runs later. Which layer and head does it see when it runs? And who removes the "
        "hooks if the model fails in between?",
        "Make each hook by a function of its own that takes the head, keep all handles in a list, and wrap the `yield` "
        "in `try: ... finally:`, where every handle is removed.",
        "`handles.append(attentions[layer].out_proj.register_forward_pre_hook(make_hook(head, d_k)))`, "
        "where `make_hook` returns a function that sets `[..., head * d_k : (head + 1) * d_k]` of a copy to 0.",
    ),
    reference=f"{_INSPECTION}:heads_silenced",
)
def judge_heads_silenced(answer):
    silenced = function(answer, "heads_silenced")
    stack = [_Attention(12, 4, seed) for seed in range(3)]
    x = random_tensor(50, 2, 5, 12)
    given = [{name: value.clone() for name, value in attention.named_parameters()} for attention in stack]
    with torch.no_grad():
        before = [attention(x)[0] for attention in stack]
        for heads in ([(1, 2)], [(1, 0), (1, 1), (1, 3)], [(0, 3), (2, 0)], []):
            context = call(silenced, list(stack), list(heads))
            if not (hasattr(context, "__enter__") and hasattr(context, "__exit__")):
                raise Rejected(
                    f"a value of type {type(context).__name__} came back, which `with` cannot use: write "
                    "`@contextmanager` above the function, and `yield` where the block runs",
                    "no-context",
                )
            during, after = _inside(context, stack, x), [attention(x)[0] for attention in stack]
            for layer, attention in enumerate(stack):
                _judge_layer(attention, x, [head for place, head in heads if place == layer], during[layer], layer)
                _require_restored(after[layer], before[layer], "after the `with` block", "hooks-left")
        _judge_after_an_error(silenced, stack, x, before)
    for attention, parameters in zip(stack, given, strict=True):
        for name, value in attention.named_parameters():
            reject_if(
                not torch.equal(value, parameters[name]),
                f"the parameter `{name}` was changed: let hooks do it, and the weights stay as they are",
                "edits-weights",
            )
    return "the heads are silent inside the block, and all is as before behind it, even after an error"


def _inside(context, stack: list[_Attention], x: Tensor) -> list[Tensor]:
    try:
        with context:
            merged = x.clone()
            outputs = [attention(merged)[0] for attention in stack]
    except (Stopped, Rejected):
        raise
    except BaseException as error:
        raise Rejected(f"inside the `with` block your code raised {describe(error)}", "exception") from error
    return outputs


def _judge_layer(attention: _Attention, x: Tensor, heads: list[int], found: Tensor, layer: int) -> None:
    merged = attention.merged(x)

    def without(silent: list[int]) -> Tensor:
        kept = merged.clone()
        for head in silent:
            kept[..., head * attention.d_k : (head + 1) * attention.d_k] = 0
        return attention.out_proj(kept)

    everyone = list(range(attention.num_heads))
    right = without(heads)
    if close(found, right):
        return
    reject_if(
        len(heads) > 1 and any(close(found, without([head])) for head in heads),
        f"of the heads {heads} of layer {layer} only one is silent: a hook made in a loop sees the loop's last values. "
        "Make each hook by a function that takes its head",
        "late-binding",
    )
    reject_if(
        close(found, without([])),
        f"the heads {heads} of layer {layer} still speak: a hook changes something only if it returns the new value"
        if heads
        else f"layer {layer} has no head to silence",
        "no-effect",
    )
    reject_if(close(found, without(everyone)), f"all heads of layer {layer} are silent, not only {heads}", "all-heads")
    reject_if(
        close(found, without([head for head in everyone if head not in heads])),
        f"only the heads {heads} of layer {layer} speak; they are the ones to silence",
        "keeps-only",
    )
    reject_if(
        not heads,
        f"layer {layer} changed, and none of its heads was named: each pair is (layer, head)",
        "another-layer",
    )
    reject_if(
        bool((found == 0).any()),
        "a block of the *output* is 0; there W_O has mixed all heads. Catch the heads before `out_proj`",
        "after-the-output-map",
    )
    raise Rejected(
        f"with the heads {heads} of layer {layer} silenced, the output is not that of the other heads: head i owns the "
        "columns from i · d_k to (i + 1) · d_k of what `out_proj` is given",
        "value",
    )


def _judge_after_an_error(silenced, stack: list[_Attention], x: Tensor, before: list[Tensor]) -> None:
    class _Planted(Exception):
        pass

    context = call(silenced, list(stack), [(0, 1), (2, 2)])
    try:
        with context:
            raise _Planted
    except _Planted:
        pass
    except (Stopped, Rejected):
        raise
    except BaseException as error:
        raise Rejected(f"an error inside the block became {describe(error)}: let it pass", "error-changed") from error
    else:
        raise Rejected("an error inside the block was swallowed: let it pass, after the hooks are removed", "swallowed")
    for attention, output in zip(stack, before, strict=True):
        _require_restored(attention(x)[0], output, "when the block ends by an error", "no-finally")


def _require_restored(found: Tensor, before: Tensor, when: str, name: str) -> None:
    reject_if(
        not close(found, before),
        f"{when} the heads are still silent: remove every hook, in a `finally` behind the `yield`",
        name,
    )


# --- 11.7 ---------------------------------------------------------------------------------------------------


@exercise(
    "11.7",
    title="Hunt a spurious cue",
    minutes=8,
    difficulty=4,
    hints=(
        "What would the classifier say of the same text if a word had not been there?",
        "For each word: the texts that contain it, the same texts without it, and the mean of predict(with) - "
        "predict(without). Split at spaces, so that 'art' is not found in 'party'.",
        "`having = [t for t in texts if word in t.split()]`, `without = [' '.join(w for w in t.split() if w != word) "
        "for t in having]`, then the mean of `predict(having) - predict(without)`.",
    ),
    reference=f"{_HERE}:cue_effects",
)
def judge_cue_effects(answer):
    effects = function(answer, "cue_effects")
    vocabulary = ["art", "party", "plot", "slow", "fine", "now", "really", "scene", "start", "no"]
    for seed in range(3):
        random = np.random.default_rng(seed)
        texts = [" ".join(random.choice(vocabulary[:-1], size=random.integers(3, 9))) for _ in range(40)]
        weight = dict(zip(vocabulary, random.normal(size=len(vocabulary)), strict=True))
        weight[vocabulary[seed]] = (-1) ** seed * 3.0

        def predict(batch, weight=weight):
            if isinstance(batch, str):
                raise Rejected("`predict` takes a list of texts and was given one text", "one-text")
            scores = [sum(weight.get(word, 0.3) for word in text.split()) for text in batch]
            return torch.sigmoid(torch.tensor(scores, dtype=torch.float64))

        found = call(effects, predict, list(texts), list(vocabulary))
        if not isinstance(found, dict) or set(found) != set(vocabulary):
            raise Rejected(
                f"return a dictionary with one entry for each of the words, also for {vocabulary[-1]!r}, which no text "
                "contains (0.0)",
                "missing",
            )
        found = torch.tensor(
            [number(found[word], f"the effect of {word!r}") for word in vocabulary], dtype=torch.float64
        )
        right = _effects(predict, texts, vocabulary)
        compare(
            found,
            right,
            [
                Mistake(-right, "sign", "the sign is turned round: an effect is predict(with) - predict(without)"),
                Mistake(right.abs(), "absolute", "keep the sign: it says towards which class the word pushes"),
                Mistake(
                    _effects(predict, texts, vocabulary, all_texts=True),
                    "diluted",
                    "the mean runs over all texts, so a rare word looks harmless: take only the texts that contain it",
                ),
                Mistake(
                    _effects(predict, texts, vocabulary, once=True),
                    "one-occurrence",
                    "only the first occurrence was taken out; take out all of them",
                ),
                Mistake(
                    _effects(predict, texts, vocabulary, parts=True),
                    "part-of-a-word",
                    "'art' was cut out of 'party' and 'start': compare whole words, `text.split()`",
                ),
                Mistake(
                    _effects(predict, texts, vocabulary, contrast=True),
                    "other-texts",
                    "texts with the word were compared with other texts, which differ in all their words; compare each "
                    "text with itself, without the word",
                ),
            ],
            "for each word the effect is the mean of predict(text) - predict(text without the word) over the texts "
            f"that contain it; for {vocabulary[0]!r} that is {right[0]:.3f} and you have {found[0]:.3g}",
        )
    return "each text is compared with itself, without the word"


def _effects(predict, texts, words, all_texts=False, once=False, parts=False, contrast=False) -> Tensor:
    found = []
    for word in words:
        having = [text for text in texts if (word in text if parts else word in text.split())]
        if not having:
            found.append(0.0)
            continue
        if contrast:
            others = [text for text in texts if text not in having]
            found.append(float(predict(having).mean() - predict(others).mean()) if others else 0.0)
            continue
        if parts:
            without = [text.replace(word, "") for text in having]
        elif once:
            without = [" ".join(_drop_first(text.split(), word)) for text in having]
        else:
            without = [" ".join(other for other in text.split() if other != word) for text in having]
        total = float((predict(having) - predict(without)).sum())
        found.append(total / len(texts if all_texts else having))
    return torch.tensor(found, dtype=torch.float64)


def _drop_first(words: list[str], word: str) -> list[str]:
    place = words.index(word)
    return words[:place] + words[place + 1 :]


quiz(
    "11",
    Question(
        "A head puts 85 % of its weight on [CLS] in every sentence. What follows?",
        (
            Choice("[CLS] is the most important word", "It is no word, and a weight is not yet a contribution."),
            Choice(
                "Little, before you measure what it passes on",
                "The value that is fetched may be short. Weight times length of the value, or silencing the head, "
                "says more.",
            ),
            Choice("The head is broken", "Silencing it may still cost accuracy; the map alone cannot tell."),
        ),
        right=1,
    ),
    Question(
        "A probe reads a label from layer 4 with 91 % accuracy. What else must you know?",
        (
            Choice("Nothing: 91 % is high", "An untrained model with the same probe had 70 % here, and guessing 50."),
            Choice("How deep the model is", "Depth says nothing about what the probe learned by itself."),
            Choice(
                "What the same probe reads from an untrained model, and with random labels",
                "Only the distance from these controls says something about the model's training.",
            ),
            Choice("The loss of the probe on its training vectors", "It tells how well the probe memorises."),
        ),
        right=2,
    ),
    Question(
        "Rows of an attention rollout sum to 1 because …",
        (
            Choice("softmax is applied at the end", "There is none at the end; the rows sum to 1 before that."),
            Choice(
                "each factor's rows sum to 1, and products of such matrices keep that",
                "A mixture of mixtures is a mixture.",
            ),
            Choice("the heads are averaged", "The average alone would not survive the product of layers."),
        ),
        right=1,
    ),
    Question(
        "You silence each of 72 heads alone, and nothing gets worse. May all 72 go?",
        (
            Choice(
                "No: one may stand in for another",
                "Effects of single heads do not add up. Silence sets of heads to learn about sets.",
            ),
            Choice(
                "Yes, each is useless", "Each is dispensable while the others are there; that is another statement."
            ),
            Choice("Yes, if the intervals contain 0", "The interval is that of one head silenced alone."),
        ),
        right=0,
    ),
    Question(
        "A classifier is right in 95 % of a held-out set that was collected like its training set. Is it safe to use?",
        (
            Choice("Yes, the set was held out", "Held-out texts carry the same planted cue as the training texts."),
            Choice("Yes, if the interval is narrow", "More texts of the same kind measure the same cue more exactly."),
            Choice("No, 95 % is too low", "The number is not the trouble."),
            Choice(
                "Not known: it may live on a cue that other texts do not have",
                "Take words out, turn the cue round, and test on texts from elsewhere.",
            ),
        ),
        right=3,
    ),
)
