"""Notebook 02: scaled dot-product attention by hand and in code, masks, and the gradient of softmax."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from .engine import Choice, Question, Rejected, exercise, quiz
from .judging import Mistake, call, close, compare, function, random_tensor, reject_if, tensor

_HERE = "course_lib.exercises.references.queries_keys_values"
_PACKAGE = "course_lib.attention"

# "she reads letters", the row of "reads". The query is ln 2 times these whole numbers; d_k = 4.
_QUERY = torch.tensor([1, -1, 2, 0], dtype=torch.float64)
_KEYS = torch.tensor([[2, 0, -1, 3], [1, 1, -1, 0], [0, 2, 2, 1]], dtype=torch.float64)
_VALUES = torch.tensor([[7, 0, 7], [0, 7, 0], [0, 7, 14]], dtype=torch.float64)
_ROUNDED_TO_TWO_PLACES = 6e-3


@exercise(
    "02.1",
    title="Twelve numbers by hand",
    minutes=6,
    difficulty=2,
    hints=(
        "A score belongs to one query and one key. Which four products do you add for the key of `she`?",
        "Scores: the query times each key, in units of ln 2. Scaled: divide by √d_k = 2. Weights: 2 to the power of "
        "each scaled score, divided by the sum of these powers. Output: each value times its weight, added up.",
        "The scores are 0, -2 and 2. Scaled they are 0, -1 and 1, so the powers are 1, 1/2 and 2, with the sum 7/2. "
        "The first weight is `1 / 3.5`, or `2 / 7`.",
    ),
    reference=f"{_HERE}:twelve_numbers",
)
def judge_twelve_numbers(answer):
    reject_if(not isinstance(answer, dict), "a dictionary with four lists is asked for", "wrong-type")
    scores = _KEYS @ _QUERY
    scaled = scores / 2
    powers = 2**scaled
    weights = powers / powers.sum()
    unscaled = 2**scores / (2**scores).sum()
    right = {"scores": scores, "scaled": scaled, "weights": weights, "output": weights @ _VALUES}
    mistakes = {
        "scores": [
            Mistake(
                scores * math.log(2),
                "units",
                "these are the scores as plain numbers; write them as multiples of ln 2, so that they stay whole",
            ),
            Mistake(
                _KEYS.sum(dim=1),
                "sum-of-key",
                "you added up each key; multiply it with the query first, place by place, then add",
            ),
            Mistake(scaled, "scaled-too-early", "these are divided by 2 already; `scores` are the plain dot products"),
        ],
        "scaled": [
            Mistake(scores, "not-scaled", "these are the scores once more; divide them by √d_k"),
            Mistake(scores / 4, "divided-by-d_k", "you divide by d_k = 4; divide by its square root, 2"),
            Mistake(
                scores / math.sqrt(3),
                "number-of-keys",
                "you divide by √3, from the number of keys; d_k is how many numbers one key holds: 4",
            ),
        ],
        "weights": [
            Mistake(powers, "not-normalised", "these are the powers of 2; divide each by their sum, 7/2"),
            Mistake(unscaled, "not-scaled", "these come from the unscaled scores; take 2 to the power of `scaled`"),
            Mistake(
                torch.softmax(scaled, dim=0),
                "base-e",
                "you took e to the power 0, -1, 1; each scaled score is that number times ln 2, and e^(m ln 2) = 2^m",
            ),
        ],
        "output": [
            Mistake(
                powers @ _VALUES, "not-normalised", "you weighted with the powers; use the weights, which sum to 1"
            ),
            Mistake(
                _VALUES @ weights,
                "rows-for-columns",
                "you weighted the three numbers inside each value; weight whole values: 2/7 of the first row, "
                "1/7 of the second, 4/7 of the third",
            ),
            Mistake(_VALUES.mean(dim=0), "plain-average", "this is the plain average of the values; use the weights"),
            Mistake(
                _VALUES[2],
                "hard-lookup",
                "this is the value of the best key alone; attention mixes all three values by their weights",
            ),
        ],
    }
    for step, expected in right.items():
        _judge_step(answer, step, expected, mistakes[step])
    return "that was attention: scores, scaling, softmax, weighted sum"


def _judge_step(answer: dict, step: str, expected: Tensor, mistakes: list[Mistake]) -> None:
    """Judge one of the four lists of 02.1; decimals rounded to two places are right."""
    reject_if(step not in answer, f"the list `{step}` is missing", "missing")
    numbers = answer[step]
    blank = numbers is ... or numbers is None or (isinstance(numbers, list | tuple) and any(x is ... for x in numbers))
    reject_if(blank, f"`{step}` still has an empty place; what is above it is right", "not-finished")
    found = tensor(numbers, (3,), f"`{step}`")
    if not close(found, expected, _ROUNDED_TO_TWO_PLACES):
        differs = int((found - expected).abs().nan_to_num(math.inf).argmax())
        token = ("she", "reads", "letters")[differs]
        place = f"number {differs + 1}" if step == "output" else f"the number of `{token}`"
        compare(found, expected, mistakes, f"in `{step}`, compute {place} once more: {found[differs]:.3g} is not it")


@exercise(
    "02.2",
    title="A stable softmax",
    minutes=5,
    difficulty=2,
    hints=(
        "What do you get from `exp` of 1000? And which number may you subtract from all scores of a row without "
        "changing its softmax?",
        "Subtract the largest score along `dim`, take `exp`, divide by the sum along `dim`. "
        "Both need `keepdim=True`, so that each row keeps its own number.",
        "`exps = torch.exp(scores - scores.amax(dim, keepdim=True))`, then divide by `exps.sum(dim, keepdim=True)`.",
    ),
    reference=f"{_PACKAGE}:softmax",
)
def judge_softmax(answer):
    softmax = function(answer, "softmax")
    for seed, shape, dim in [(0, (3, 3), -1), (1, (5, 7), -1), (2, (5, 7), 0), (3, (2, 3, 5), 1), (4, (7,), -1)]:
        _judge_softmax_of(softmax, random_tensor(seed, *shape), dim)
    large = torch.tensor([1000.0, 1001.0, 999.0])
    found = tensor(call(softmax, large, -1), (3,))
    reject_if(
        not bool(found.isfinite().all()),
        f"for the scores 1000, 1001, 999 your result is {found.tolist()}: exp(1000) is too large for a float, and "
        "inf / inf is nan. Subtract the largest score first",
        "overflow",
    )
    compare(found, torch.softmax(large.double(), -1), [], "for the scores 1000, 1001, 999 the weights are not right")
    two_rows = torch.tensor([[1000.0, 999.0, 998.0], [2.0, 0.0, 1.0]])
    found = tensor(call(softmax, two_rows, -1), (2, 3))
    reject_if(
        not bool(found[1].isfinite().all()) or bool((found[1] == 0).all()),
        "next to a row with scores near 1000, the row 2, 0, 1 is lost: you subtract the largest score of the whole "
        "tensor, and exp(-998) is 0. Each row needs its own largest score",
        "global-maximum",
    )
    for name, scores in {"-1000, -1001, -999": -large, "0, -inf, 1": torch.tensor([0.0, -math.inf, 1.0])}.items():
        compare(
            tensor(call(softmax, scores, -1), (3,)),
            torch.softmax(scores.double(), -1),
            [],
            f"for the scores {name} the weights are not right",
        )
    return "the same weights, whatever constant all scores share, and no overflow"


def _judge_softmax_of(softmax, scores: Tensor, dim: int) -> None:
    exact = scores.double()
    exps = exact.exp()
    mistakes = [
        Mistake(exps, "not-normalised", "these are the exponentials; divide them by their sum along `dim`"),
        Mistake(
            exps / exps.sum(),
            "sum-of-everything",
            "you divide by the sum of the whole tensor; each row must sum to 1 by itself: sum along `dim`",
        ),
        Mistake(torch.log_softmax(exact, dim), "logarithm", "this is the logarithm of the softmax"),
        *(
            Mistake(
                torch.softmax(exact, other),
                "wrong-axis",
                f"with dim={dim} your weights sum to 1 along axis {other} of {scores.dim()}: "
                f"use `dim` for the sum and for the largest score",
            )
            for other in range(scores.dim())
            if other != dim % scores.dim()
        ),
    ]
    if scores.dim() == 2 and scores.shape[0] == scores.shape[1]:
        shifted = (exact - exact.amax(-1, keepdim=True)).exp()
        misaligned = (exact - exact.amax(-1)).exp()
        sums = [(x, x.sum(-1)) for x in (exps, shifted, misaligned)] + [(misaligned, misaligned.sum(-1, keepdim=True))]
        for wrong in (x / total for x, total in sums):
            mistakes.append(
                Mistake(
                    wrong,
                    "keepdim",
                    "the number of each row met a column: without `keepdim=True` shapes (3, 3) and (3,) are lined "
                    "up along the last axis",
                )
            )
    compare(
        tensor(call(softmax, scores, dim), scores.shape),
        torch.softmax(exact, dim),
        mistakes,
        f"for scores of shape {tuple(scores.shape)} and dim={dim} the result is not the softmax",
    )


@exercise(
    "02.3",
    title="Scaled dot-product attention",
    minutes=8,
    difficulty=3,
    hints=(
        "Which shape must the scores have, and which two axes of `k` must change places so that `q @ ...` gives it?",
        "Four steps: `q @ k` with the last two axes of `k` transposed; divide by the square root of the last size of "
        "`q`; softmax over the last axis; `weights @ v`. Return both.",
        "`weights = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1]), dim=-1)`, "
        "then `return weights @ v, weights`.",
    ),
    reference=f"{_PACKAGE}:scaled_dot_product_attention",
)
def judge_attention(answer):
    attention = function(answer, "attention")
    _judge_attention_of(attention, 0, ())
    try:
        for seed, batch in enumerate([(2,), (2, 3)], start=1):
            _judge_attention_of(attention, seed, batch)
    except Rejected as rejection:
        reject_if(
            rejection.misconception in ("exception", "shape"),
            "for single matrices it is right; with a batch axis in front, "
            f"{rejection.message}. Transpose the last two axes only: `k.transpose(-2, -1)`",
            "batch-axes",
        )
        raise
    q, k, v = random_tensor(7, 3, 5) * 200, random_tensor(8, 7, 5), random_tensor(9, 7, 2)
    output, weights = _output_and_weights(call(attention, q, k, v), (3, 2), (3, 7))
    reject_if(
        not bool(output.isfinite().all() and weights.isfinite().all()),
        "for large scores your result is not finite: use a softmax that subtracts the largest score first",
        "overflow",
    )
    return "equal to torch.nn.functional.scaled_dot_product_attention, for any number of axes in front"


def _judge_attention_of(attention, seed: int, batch: tuple[int, ...]) -> None:
    query_len, key_len, d_k, d_v = 3, 7, 5, 11
    q = random_tensor(seed, *batch, query_len, d_k)
    k = random_tensor(seed + 10, *batch, key_len, d_k)
    v = random_tensor(seed + 20, *batch, key_len, d_v)
    result = call(attention, q, k, v)
    reject_if(
        _pair(result)[0].shape == (*batch, query_len, d_k),
        f"each output has {d_k} numbers, the width of a key; it is a weighted sum of values, and those have {d_v}",
        "keys-for-values",
    )
    output, weights = _output_and_weights(result, (*batch, query_len, d_v), (*batch, query_len, key_len))
    products = q.double() @ k.double().transpose(-2, -1)
    scaled = products / math.sqrt(d_k)
    if not close(weights.sum(-1), torch.ones(*batch, query_len)):
        reject_if(
            close(weights.sum(-2), torch.ones(*batch, key_len)),
            "your rows do not sum to 1, your columns do: softmax runs over the keys, the last axis",
            "softmax-axis",
        )
        mistakes = [
            Mistake(products, "no-softmax", "these weights are the dot products: softmax turns them into weights"),
            Mistake(scaled, "no-softmax", "these weights are the scaled scores: softmax turns them into weights"),
            Mistake(scaled.exp(), "not-normalised", "the weights are exponentials: divide each row by its sum"),
            Mistake(
                torch.sigmoid(scaled), "sigmoid", "this is a sigmoid of each score; softmax shares 1 among the keys"
            ),
        ]
        compare(weights, torch.softmax(scaled, -1), mistakes, _row_sum_message(weights))
    dividers = {
        "not-scaled": (1, "the scores are not scaled: divide them by √d_k"),
        "divided-by-d_k": (d_k, "you divide by d_k; divide by its square root"),
        "root-of-key-length": (
            math.sqrt(key_len),
            "you divide by the root of the number of keys; d_k is the width of one key, the last axis of `k`",
        ),
        "root-of-query-length": (
            math.sqrt(query_len),
            "you divide by the root of the number of queries; d_k is the width of one query, the last axis of `q`",
        ),
        "root-of-d_v": (math.sqrt(d_v), "you divide by √d_v; the width that counts is that of queries and keys, d_k"),
        "multiplied": (1 / math.sqrt(d_k), "you multiply by √d_k; divide by it"),
    }
    mistakes = [
        Mistake(torch.softmax(products / divider, -1), name, message) for name, (divider, message) in dividers.items()
    ]
    compare(weights, torch.softmax(scaled, -1), mistakes, "the weights are not softmax(q kᵀ / √d_k)")
    compare(
        output,
        F.scaled_dot_product_attention(q.double(), k.double(), v.double()),
        [
            Mistake(products @ v.double(), "output-of-scores", "the output mixes with raw scores: use the weights"),
            Mistake(scaled @ v.double(), "output-of-scores", "the output mixes with scaled scores: use the weights"),
        ],
        "the weights are right; the output should be `weights @ v`, a weighted sum of the values",
    )


def _row_sum_message(weights: Tensor) -> str:
    total = weights.sum(-1).flatten()[0].item()
    return f"your rows do not sum to 1 (the first sums to {total:.3g}): softmax runs over the keys, the last axis"


def _output_and_weights(result, output_shape: tuple[int, ...], weights_shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Read what attention returns, two tensors in this order."""
    output, weights = _pair(result)
    reject_if(
        output.shape == weights_shape and weights.shape == output_shape,
        "the two results are swapped: return `output, weights`",
        "swapped",
    )
    return tensor(output, output_shape, "the output"), tensor(weights, weights_shape, "the matrix of weights")


def _pair(result) -> tuple[Tensor, Tensor]:
    reject_if(
        not isinstance(result, tuple | list) or len(result) != 2,
        "return two things: `output, weights`",
        "return-both",
    )
    return tensor(result[0], what="the output"), tensor(result[1], what="the matrix of weights")


@exercise(
    "02.4",
    title="The causal mask",
    minutes=3,
    difficulty=1,
    hints=(
        "Write down the mask for n = 3. Row 0 is the first token: which keys may it look at?",
        "Query i may attend to key j where j ≤ i: the lower triangle with the diagonal, as True and False.",
        "`torch.ones(n, n, dtype=torch.bool)` is all True; its method `.tril()` keeps the lower triangle.",
    ),
    reference=f"{_PACKAGE}:causal_mask",
)
def judge_causal_mask(answer):
    mask = function(answer, "causal_mask")
    for n in (5, 1, 2, 7):
        found = tensor(call(mask, n), (n, n), "the mask")
        right = torch.tensor([[key <= query for key in range(n)] for query in range(n)])
        if n == 5:
            diagonal = torch.eye(n, dtype=torch.bool)
            _compare_masks(
                found,
                right,
                [
                    Mistake(
                        right.T,
                        "transposed",
                        "this is the upper triangle: token 0 may look at everything and the last at itself alone. "
                        "Rows are queries, columns are keys, and a key must not come after its query",
                    ),
                    Mistake(
                        right & ~diagonal,
                        "without-diagonal",
                        "no token may look at itself, and row 0 has nothing to look at; keep the diagonal",
                    ),
                    Mistake(
                        ~right,
                        "inverted",
                        "True stands where attention is forbidden; in this course True means: may attend",
                    ),
                ],
            )
        _compare_masks(found, right, [])
    return "True on and below the diagonal"


@exercise(
    "02.5",
    title="The padding mask",
    minutes=5,
    difficulty=3,
    hints=(
        "Position 4 of a sequence of length 3 is padding. Is it forbidden as a query or as a key?",
        "Compare the positions 0 … n-1, which lie along the last axis, with each length, which lies along the first. "
        "The axis of the queries in the middle has size 1.",
        "`torch.arange(n)` has shape [n] and `lengths[:, None, None]` has shape [batch, 1, 1]; `<` between them "
        "gives [batch, 1, n].",
    ),
    reference=f"{_PACKAGE}:padding_mask",
)
def judge_padding_mask(answer):
    mask = function(answer, "padding_mask")
    for lengths, n in [([3, 7, 1, 5, 2], 7), ([2, 3], 5), ([4], 4), ([0, 2, 1], 3)]:
        found = tensor(call(mask, torch.tensor(lengths), n), what="the mask")
        right = torch.tensor([[[position < length for position in range(n)]] for length in lengths])
        _judge_mask_shape(found, right)
        off_by_one = torch.tensor([[[position <= length for position in range(n)]] for length in lengths])
        one_short = torch.tensor([[[position < length - 1 for position in range(n)]] for length in lengths])
        _compare_masks(
            found,
            right,
            [
                Mistake(
                    off_by_one,
                    "one-too-many",
                    "one padding position is allowed: positions count from 0, so the last real one is length - 1",
                ),
                Mistake(one_short, "one-too-few", "the last real token is masked: it stands at position length - 1"),
                Mistake(
                    ~right,
                    "inverted",
                    "True stands where padding is; in this course True means: may attend, a real token",
                ),
                Mistake(
                    right.flip(-1), "left-padding", "the first positions are masked; here padding stands at the end"
                ),
            ],
        )
    return "one row of keys for each sequence; it broadcasts over all queries"


def _judge_mask_shape(found: Tensor, right: Tensor) -> None:
    """The padding mask must have an axis of size 1 for the queries, in the middle."""
    batch, _, n = right.shape
    reject_if(
        found.shape == (batch, n),
        f"the mask has shape ({batch}, {n}), which lines up with [query, key] and not with [batch, query, key]: "
        f"give it an axis of size 1 for the queries, ({batch}, 1, {n})",
        "no-query-axis",
    )
    reject_if(
        found.shape == (batch, n, 1),
        f"the mask has shape ({batch}, {n}, 1): it forbids padding as a query. Padding must not be looked at: "
        f"the positions are keys, the last axis, ({batch}, 1, {n})",
        "masks-queries",
    )
    reject_if(
        found.dim() == 3 and found.shape[:2] == (batch, 1) and found.shape[2] != n,
        f"the mask has {found.shape[-1]} keys and n={n} is asked for: a batch may be padded further than its "
        "longest sequence",
        "ignores-n",
    )
    reject_if(
        found.shape != right.shape, f"the mask has shape {tuple(found.shape)} instead of {tuple(right.shape)}", "shape"
    )


def _compare_masks(found: Tensor, right: Tensor, mistakes: list[Mistake]) -> None:
    """Compare two masks; numbers in place of True and False are a mistake of their own."""
    if found.dtype != torch.bool:
        reject_if(
            bool(((found == 0) == right).all()) and bool((found[~right] < -1e3).all()),
            "this is an additive mask, 0 and minus infinity; return True and False, which `masked_fill` can use",
            "additive",
        )
        reject_if(
            bool((found == right.double()).all()),
            "the ones stand in the right places, as numbers; return booleans: of a number, `~1` is -2",
            "not-boolean",
        )
    compare(
        found.double(),
        right.double(),
        [mistake._replace(value=mistake.value.double()) for mistake in mistakes],
        f"of {right.numel()} places {int((found.double() != right.double()).sum())} are not as they should be "
        f"for a mask of shape {tuple(right.shape)}",
    )


@exercise(
    "02.6",
    title="Three bugs in a mask",
    minutes=6,
    difficulty=3,
    hints=(
        "Do the rows of the weights sum to 1? At which moment must a score be taken out, so that softmax shares 1 "
        "among what is left?",
        "First: `masked_fill` with minus infinity before the softmax. Second: which triangle has key ≤ query? "
        "Third: is the padding along the axis of the queries or of the keys?",
        "`.tril()` in place of `.triu()`; `torch.arange(n) < lengths[:, None, None]` for [batch, 1, key]; and "
        "`scores.masked_fill(~mask, -math.inf)` goes into the softmax, with no product after it.",
    ),
    reference=f"{_HERE}:causal_padded_attention",
    starts_broken=True,
)
def judge_causal_padded_attention(answer):
    attention = function(answer, "causal_padded_attention")
    batch, n, d_k, d_v = 3, 5, 7, 2
    for seed in (0, 1):
        q, k, v = (random_tensor(3 * seed + i, batch, n, width) for i, width in enumerate((d_k, d_k, d_v)))
        full = torch.full((batch,), n)
        lengths = torch.tensor([2, 5, 3])
        shapes = (batch, n, d_v), (batch, n, n)
        weights = _output_and_weights(call(attention, q, k, v, full), *shapes)[1]
        padded_output, padded_weights = _output_and_weights(call(attention, q, k, v, lengths), *shapes)
        _judge_where_mask_acts(weights)
        _judge_triangle(weights)
        _judge_padding(padded_weights, lengths)
        real = torch.arange(n) < lengths[:, None, None]
        allowed = torch.ones(n, n, dtype=torch.bool).tril() & real
        scores = (q.double() @ k.double().transpose(-2, -1) / math.sqrt(d_k)).masked_fill(~allowed, -math.inf)
        compare(
            padded_weights,
            torch.softmax(scores, -1),
            [],
            "the mask is right now; the weights are not: what else changed?",
        )
        compare(
            padded_output,
            F.scaled_dot_product_attention(q.double(), k.double(), v.double(), allowed),
            [],
            "the weights are right; the output should be `weights @ v`",
        )
    return "masked before the softmax, lower triangle, padding along the keys"


def _judge_where_mask_acts(weights: Tensor) -> None:
    """On sequences without padding, each row must still share out 1."""
    reject_if(
        not bool(weights.isfinite().all()),
        "some weights are nan although no token is padding: a score of -inf times 0 is nan. "
        "Put -inf where the mask is False with `masked_fill`",
        "nan",
    )
    totals = weights.sum(-1)
    reject_if(
        not close(totals, torch.ones_like(totals)),
        f"a row of weights sums to {totals.min():.3g}: the softmax shared out 1 among all keys before the mask took "
        "some away, so the mask comes too late. Set the forbidden scores to -inf before the softmax",
        "mask-after-softmax",
    )


def _judge_triangle(weights: Tensor) -> None:
    n = weights.shape[-1]
    future = torch.ones(n, n, dtype=torch.bool).triu(1)
    sees_future, sees_past = (bool((weights[..., where].abs() > 1e-6).any()) for where in (future, future.T))
    reject_if(
        sees_future and sees_past and bool((weights > 1e-6).all()),
        "every query still sees every key, the future included: forbidden scores must be -inf. "
        "Adding a mask of 0 and 1 only moves the scores by 1",
        "no-effect",
    )
    reject_if(
        sees_future and not sees_past,
        "the rows sum to 1 now; but the first token looks at all later ones and the last at itself alone: "
        "the triangle is the wrong one. Rows are queries, columns are keys, and key ≤ query",
        "transposed",
    )
    reject_if(sees_future, "a token still looks at tokens after it: key ≤ query must hold", "sees-future")
    reject_if(
        not sees_past,
        "each token looks at itself alone: allow all keys up to and including the query",
        "sees-no-past",
    )


def _judge_padding(weights: Tensor, lengths: Tensor) -> None:
    """Padding must get no weight as a key, and a padded query may do as it likes without becoming nan."""
    n = weights.shape[-1]
    is_padding = torch.arange(n) >= lengths[:, None]
    rows_of_padding = weights[is_padding]
    reject_if(
        not bool(rows_of_padding.isfinite().all())
        or bool((rows_of_padding == 0).all())
        or _is_uniform(rows_of_padding),
        "the triangle is right; but the padding mask acts on the queries: the rows of the padding tokens are emptied, "
        "and they turn into zeros, nan or equal weights. Forbid padding as a key, the last axis",
        "masks-queries",
    )
    on_padding = weights.masked_select(is_padding[:, None, :]).abs().max()
    reject_if(
        bool(on_padding > 1e-6),
        f"a padding token gets a weight of {on_padding:.3g}: with lengths 2, 5, 3 the keys from 2, 5, 3 on are padding",
        "padding-seen",
    )


def _is_uniform(rows: Tensor) -> bool:
    """Whether all weights are 1/n: what softmax makes of a row in which every score is the same."""
    return close(rows, torch.full_like(rows, 1 / rows.shape[-1]))


@exercise(
    "02.7",
    title="The gradient of softmax",
    minutes=7,
    difficulty=4,
    hints=(
        "If one score rises, its own weight rises. What must happen to all other weights, since they sum to 1?",
        "On the diagonal stands p_i (1 - p_i), elsewhere -p_i p_j. Both are the same formula: "
        "p_i times (1 if i = j, else 0) minus p_i p_j.",
        "`torch.diag(p)` puts the weights on a diagonal and `torch.outer(p, p)` holds all products p_i p_j: subtract.",
    ),
    reference=f"{_PACKAGE}:softmax_jacobian",
)
def judge_softmax_jacobian(answer):
    jacobian = function(answer, "softmax_jacobian")
    for seed, n in enumerate([3, 2, 5, 7]):
        scores = random_tensor(seed, n, dtype=torch.float64)
        p = torch.softmax(scores, -1)
        right = torch.autograd.functional.jacobian(lambda s: torch.softmax(s, -1), scores)
        found = tensor(call(jacobian, p.float()))
        own = p * (1 - p)
        reject_if(
            found.shape == (n,),
            f"one number for each weight is returned. Each of the {n} scores moves each of the {n} weights: "
            f"the result has {n} × {n} entries",
            "only-diagonal",
        )
        again = torch.softmax(p, -1)
        compare(
            tensor(found, (n, n)),
            right,
            [
                Mistake(
                    torch.diag(own),
                    "only-diagonal",
                    "off the diagonal stand zeros: but a score that rises takes weight away from the others, -p_i p_j",
                ),
                Mistake(
                    -right,
                    "sign",
                    "all signs are turned round: a score that rises makes its own weight larger, p_i (1 - p_i) > 0",
                ),
                Mistake(
                    torch.outer(p, p),
                    "no-diagonal-term",
                    "this is p pᵀ; it must be subtracted from a matrix with the weights on its diagonal",
                ),
                Mistake(
                    -torch.outer(p, p),
                    "no-diagonal-term",
                    "the diagonal misses its first term: p_i - p_i², not -p_i² alone",
                ),
                Mistake(torch.diag(p) + torch.outer(p, p), "sign", "the products p_i p_j are subtracted, not added"),
                Mistake(
                    torch.diag(again) - torch.outer(again, again),
                    "softmax-twice",
                    "you take the softmax of `p`; `p` holds the weights already, after the softmax",
                ),
                Mistake(
                    torch.eye(n, dtype=p.dtype) - torch.outer(p, p),
                    "ones-on-diagonal",
                    "the diagonal starts from 1; it starts from p_i: p_i (1 - p_i) = p_i - p_i²",
                ),
            ],
            f"for {n} weights the matrix differs from torch's; its rows sum to {_sums(found)} and should sum to 0",
        )
    return "diag(p) - p pᵀ: symmetric, and every row sums to 0"


def _sums(matrix: Tensor) -> str:
    return ", ".join(f"{total:.2g}" for total in matrix.sum(-1).flatten().tolist()[:7])


@exercise(
    "02.8",
    title="Change the temperature of finished weights",
    minutes=4,
    difficulty=3,
    hints=(
        "A weight is exp(s) divided by a number that is the same for all keys of its row. What is the 1/T-th power "
        "of exp(s)?",
        "Raise every weight to the power 1/T, then divide by the sum over the keys.",
        "`powers = weights ** (1 / temperature)`, then `powers / powers.sum(dim=-1, keepdim=True)`.",
    ),
    reference=f"{_HERE}:at_temperature",
)
def judge_at_temperature(answer):
    change = function(answer, "at_temperature")
    for seed, (shape, temperature) in enumerate([((7,), 0.5), ((7,), 2.0), ((3, 5), 3.0), ((2, 3, 5), 0.25)]):
        scores = random_tensor(seed, *shape, dtype=torch.float64)
        weights = torch.softmax(scores, -1)
        found = tensor(call(change, weights.float(), temperature), shape)
        powers = weights ** (1 / temperature)
        inverse = weights**temperature
        compare(
            found,
            torch.softmax(scores / temperature, -1),
            [
                Mistake(powers, "not-normalised", "the powers are right; divide each row by its sum"),
                Mistake(
                    inverse / inverse.sum(-1, keepdim=True),
                    "inverse",
                    "you took the power T, the temperature 1/T: a high temperature must make the weights more equal",
                ),
                Mistake(
                    torch.softmax(weights / temperature, -1),
                    "weights-as-scores",
                    "this is a softmax of the weights; the scores would be their logarithms",
                ),
                Mistake(
                    weights, "no-change", "nothing changes: dividing weights by T and by their sum gives them back"
                ),
                Mistake(weights / temperature, "not-normalised", "weights divided by T no longer sum to 1"),
                Mistake(
                    powers / powers.sum(),
                    "sum-of-everything",
                    "all rows together sum to 1; each row must sum to 1 by itself",
                ),
            ],
            f"at temperature {temperature} the weights of a row of {shape[-1]} are not right",
        )
    return "a temperature raises the weights to the power 1/T"


quiz(
    "02",
    Question(
        "`q` has shape (2, 3, 5), `k` has (2, 7, 5), `v` has (2, 7, 11). Which shapes do the weights and the output "
        "have?",
        (
            Choice(
                "(2, 3, 7) and (2, 3, 11)", "One row per query, one column per key; each query gets one value-wide row."
            ),
            Choice(
                "(2, 7, 3) and (2, 7, 11)", "That has the keys in rows: an output belongs to a query, and there are 3."
            ),
            Choice("(2, 3, 5) and (2, 3, 11)", "The width 5 is summed away in the dot product."),
            Choice("(2, 3, 7) and (2, 3, 5)", "The output is made of values, so its width is 11."),
        ),
        right=0,
    ),
    Question(
        "Why are the scores divided by √d_k?",
        (
            Choice("So that the weights sum to 1", "Softmax sees to that, with or without the scaling."),
            Choice(
                "So that q · k becomes a cosine",
                "A cosine divides by the lengths of both vectors; √d_k is one constant for all pairs.",
            ),
            Choice(
                "So that their spread does not grow with d_k",
                "With independent entries of variance 1 the variance of q · k is d_k; after the division it is 1, "
                "and softmax does not saturate.",
            ),
        ),
        right=2,
    ),
    Question(
        "A causal model multiplies its weights by the mask after the softmax and then divides each row by its sum. "
        "What is different from masking before?",
        (
            Choice(
                "It leaks the future", "The future's terms cancel in the division: nothing of them is left in the row."
            ),
            Choice(
                "Nothing, unless a row's allowed weights underflow to 0",
                "Both share out 1 among the allowed keys in proportion to exp(s). Only if the allowed weights are all "
                "rounded to 0 is 0 / 0 left.",
            ),
            Choice("Its rows do not sum to 1", "They do, thanks to the division. Without it they would not."),
        ),
        right=1,
    ),
    Question(
        "A weight of 0.9 lies on a token. What do you know?",
        (
            Choice(
                "It contributes 0.9 times its value vector to this output",
                "That is all the weight says. If the value is near zero, so is the contribution.",
            ),
            Choice(
                "It is the cause of the prediction",
                "There are other heads, layers and the residual path; see notebook 11.",
            ),
            Choice(
                "Its meaning is close to the query's",
                "Query and key come from different maps: a high score is not alike meaning.",
            ),
        ),
        right=0,
    ),
    Question(
        "A sequence becomes twice as long. What happens to the work of computing its attention weights and outputs, "
        "without the projections?",
        (
            Choice("It doubles", "The projections double; but every query now meets twice as many keys."),
            Choice("It grows by √2", "The square root belongs to d_k, which has not changed."),
            Choice(
                "It stays the same, since all is parallel",
                "Parallel work is still work; only the waiting may be shorter.",
            ),
            Choice("It becomes four times as much", "There are n² pairs of query and key: n doubles, n² quadruples."),
        ),
        right=3,
    ),
)
