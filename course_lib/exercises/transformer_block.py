"""Notebook 05: normalisation, feed-forward layers, the residual path, a block to repair, and counting parameters."""

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .engine import Choice, Question, exercise, quiz
from .judging import Mistake, call, close, compare, function, number, random_tensor, reject_if, tensor

_HERE = "course_lib.exercises.references.transformer_block"
_LAYERS = "course_lib.layers"

_VECTOR = torch.tensor([-1, 5, 5, 7], dtype=torch.float64)
_WEIGHT = torch.tensor([3, 3, 6, 2], dtype=torch.float64)
_BIAS = torch.tensor([5, 0, -2, 1], dtype=torch.float64)
_ROUNDED_TO_TWO_PLACES = 6e-3


@exercise(
    "05.1",
    title="Normalise on paper",
    minutes=5,
    difficulty=1,
    hints=(
        "How far is each number from the mean? The variance is the mean of the squares of these distances.",
        "Mean: the sum divided by 4. Variance: the four squared distances, added and divided by 4. Normalised: each "
        "distance divided by the root of the variance. Output: times its weight, then plus its bias.",
        "The mean is 4 and the distances are -5, 1, 1, 3. Their squares sum to 36, so the variance is 9 and the first "
        "normalised number is `-5 / 3`.",
    ),
    reference=f"{_HERE}:normalised_by_hand",
)
def judge_normalised_by_hand(answer):
    reject_if(not isinstance(answer, dict), "a dictionary with four entries is asked for", "wrong-type")
    mean, variance = _VECTOR.mean(), _VECTOR.var(correction=0)
    centred = _VECTOR - mean
    normalised = F.layer_norm(_VECTOR, (4,), eps=0.0)
    _judge_entry(
        answer,
        "mean",
        mean,
        [Mistake(_VECTOR.sum(), "not-divided", "this is the sum of the four numbers; divide it by 4")],
    )
    _judge_entry(
        answer,
        "variance",
        variance,
        [
            Mistake(
                _VECTOR.var(),
                "unbiased",
                "you divide the sum of squares, 36, by n - 1 = 3. LayerNorm describes these four numbers and estimates "
                "nothing beyond them: divide by n = 4",
            ),
            Mistake(centred.square().sum(), "not-divided", "this is the sum of the squared distances; divide it by 4"),
            Mistake(variance.sqrt(), "standard-deviation", "this is the standard deviation; square it"),
            Mistake(
                _VECTOR.square().mean(),
                "not-centred",
                "this is the mean of the squares themselves; subtract the mean from each number first",
            ),
        ],
    )
    _judge_entry(
        answer,
        "normalised",
        normalised,
        [
            Mistake(centred, "not-scaled", "these are the distances from the mean; divide each by √variance = 3"),
            Mistake(
                centred / variance,
                "no-root",
                "you divide by the variance, 9; divide by its root, 3, so that the result has the variance 1",
            ),
            Mistake(_VECTOR / 3, "not-centred", "you divided the numbers themselves; subtract the mean, 4, first"),
            Mistake(centred / _VECTOR.std(), "unbiased", "you divide by √12; the variance above is 9"),
        ],
    )
    _judge_entry(
        answer,
        "output",
        normalised * _WEIGHT + _BIAS,
        [
            Mistake(normalised * _WEIGHT, "no-bias", "the weights are in; the biases (5, 0, -2, 1) are still to add"),
            Mistake(normalised + _BIAS, "no-weight", "the biases are in; multiply by the weights before that"),
            Mistake(
                (normalised + _BIAS) * _WEIGHT,
                "bias-first",
                "you add the bias before you multiply; it is weight times number, plus bias",
            ),
        ],
    )
    return "mean 0 and variance 1, then whatever mean and variance the weights and biases give"


def _judge_entry(answer: dict, name: str, expected: Tensor, mistakes: list[Mistake]) -> None:
    """Judge one entry of 05.1; decimals rounded to two places are right."""
    reject_if(name not in answer, f"the entry `{name}` is missing", "missing")
    value = answer[name]
    blank = value is ... or value is None or (isinstance(value, list | tuple) and any(part is ... for part in value))
    reject_if(blank, f"`{name}` still has an empty place; what is above it is right", "not-finished")
    found = tensor(value, expected.shape, f"`{name}`")
    if not close(found, expected, _ROUNDED_TO_TWO_PLACES):
        compare(found, expected, mistakes, f"compute `{name}` once more: {_listed(found)} is not it")


def _listed(values: Tensor) -> str:
    return ", ".join(f"{value:.3g}" for value in values.flatten().tolist())


@exercise(
    "05.2",
    title="LayerNorm",
    minutes=6,
    difficulty=2,
    hints=(
        "Each token is normalised by itself. Along which axis do the numbers of one token lie?",
        "Mean and variance over the last axis with `keepdim=True`, so that each token keeps its own; the variance "
        "divides by d_model; `eps` is added to the variance, and then the root is taken.",
        "`centred = x - x.mean(dim=-1, keepdim=True)`, `variance = centred.square().mean(dim=-1, keepdim=True)`, and "
        "`centred / torch.sqrt(variance + eps) * weight + bias`.",
    ),
    reference=f"{_HERE}:layer_norm",
)
def judge_layer_norm(answer):
    layer_norm = function(answer, "layer_norm")
    cases = [((3, 5), 1e-5), ((5, 5), 1e-5), ((2, 3, 7), 1e-5), ((11,), 1e-5), ((2, 7), 0.5)]
    for seed, (shape, eps) in enumerate(cases):
        x = 2 * random_tensor(seed, *shape) + 3
        weight, bias = (random_tensor(seed + offset, shape[-1]) for offset in (100, 200))
        found = tensor(call(layer_norm, x, weight, bias, eps), shape)
        compare(
            found,
            F.layer_norm(x.double(), shape[-1:], weight.double(), bias.double(), eps),
            _layer_norm_mistakes(x.double(), weight.double(), bias.double(), eps),
            f"for x of shape {shape} and eps={eps} the result is not (x - mean) / sqrt(variance + eps) · weight + bias",
        )
    return "each vector by itself, over its last axis; equal to torch.nn.functional.layer_norm"


def _layer_norm_mistakes(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> list[Mistake]:
    mean = x.mean(-1, keepdim=True)
    centred = x - mean
    variance = centred.square().mean(-1, keepdim=True)
    unbiased = centred.square().sum(-1, keepdim=True) / max(x.shape[-1] - 1, 1)
    right = centred / (variance + eps).sqrt()
    mistakes = [
        Mistake(right, "no-weight-and-bias", "the vectors are normalised; weight and bias are not used yet"),
        Mistake(right * weight, "no-bias", "the bias is not added"),
        Mistake(right + bias, "no-weight", "the weight is not used"),
        Mistake((right + bias) * weight, "bias-first", "the bias is added before the weight multiplies; add it last"),
        Mistake(
            centred / (variance + eps) * weight + bias,
            "no-root",
            "you divide by the variance; divide by its root, the standard deviation",
        ),
        Mistake(
            centred / (unbiased.sqrt() + eps) * weight + bias,
            "unbiased",
            f"your variance divides by n - 1 = {x.shape[-1] - 1}; LayerNorm divides by n = {x.shape[-1]} "
            "(`correction=0`); and eps belongs inside the root",
        ),
        Mistake(
            centred / (unbiased + eps).sqrt() * weight + bias,
            "unbiased",
            f"your variance divides by n - 1 = {x.shape[-1] - 1}, the default of `torch.var`; LayerNorm divides by "
            f"n = {x.shape[-1]}: `correction=0`",
        ),
        Mistake(
            centred / (variance.sqrt() + eps) * weight + bias,
            "eps-outside",
            "eps is added to the standard deviation; add it to the variance, inside the square root",
        ),
        Mistake(
            centred / variance.sqrt() * weight + bias,
            "eps-ignored",
            f"the result does not depend on eps, here {eps}: add it to the variance",
        ),
        Mistake(
            centred / (variance + 1e-5).sqrt() * weight + bias,
            "eps-ignored",
            f"eps={eps} was asked for and you used 1e-5: take the argument",
        ),
        Mistake(
            x / (variance + eps).sqrt() * weight + bias,
            "not-centred",
            "the mean is not subtracted: each normalised vector should have the mean 0",
        ),
        Mistake(
            x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight + bias,
            "rms",
            "this divides by the root of the mean square without centring, as RMSNorm does; subtract the mean first",
        ),
    ]
    axes = {
        "wrong-axis": ((0,), "you normalise along the first axis, across tokens; each token has its own mean"),
        "several-axes": (
            tuple(range(x.dim())),
            "one mean serves the whole tensor; each token has its own",
        ),
    }
    if x.dim() == 3:
        axes["last-two-axes"] = ((1, 2), "one mean serves all tokens of a sequence; take the last axis alone")
    if x.dim() > 1:
        for name, (dims, message) in axes.items():
            var, other = torch.var_mean(x, dims, correction=0, keepdim=True)
            mistakes.append(Mistake((x - other) / (var + eps).sqrt() * weight + bias, name, message))
    if x.dim() == 2 and x.shape[0] == x.shape[1]:
        row = x.mean(-1)
        misaligned = (x - row) / (x.var(-1, correction=0) + eps).sqrt()
        message = "the mean of each row met a column: keep the axis with `keepdim=True`"
        mistakes.append(Mistake(misaligned * weight + bias, "keepdim", message))
    return mistakes


def _built(answer, name: str, *arguments) -> nn.Module:
    """Call the learner's class with these arguments and return its module."""
    reject_if(
        isinstance(answer, nn.Module),
        f"a class is asked for and this is one module made from it: pass `{name}` itself, without calling it",
        "wrong-type",
    )
    reject_if(not callable(answer), f"`{name}` should be a class and is of type {type(answer).__name__}", "wrong-type")
    made = call(answer, *arguments)
    reject_if(
        not isinstance(made, nn.Module),
        f"`{name}({', '.join(map(str, arguments))})` is of type {type(made).__name__}; an nn.Module is asked for",
        "wrong-type",
    )
    return made


def _set_parameters(module: nn.Module, values: dict[str, Tensor], name: str) -> None:
    """Give the named parameters these values; the names are those of the code that the learner was given."""
    own = dict(module.named_parameters())
    for parameter, value in values.items():
        reject_if(
            parameter not in own or own[parameter].shape != value.shape,
            f"`{name}` has no parameter `{parameter}` of shape {tuple(value.shape)}: keep the names and sizes of its "
            "parts",
            "renamed",
        )
        with torch.no_grad():
            own[parameter].copy_(value)


@exercise(
    "05.3",
    title="The epsilon bug",
    minutes=6,
    difficulty=3,
    hints=(
        "Give it a vector of five numbers, and `F.layer_norm` as well. By which factor do the results differ? "
        "And what is the gradient for a vector whose numbers are all equal?",
        "Two things differ from the formula: what `std` divides by, and where `eps` stands. There is one root, that of "
        "variance plus eps.",
        "`variance = x.var(dim=-1, correction=0, keepdim=True)`, then divide by `torch.sqrt(variance + self.eps)`.",
    ),
    reference=f"{_LAYERS}:LayerNorm",
    starts_broken=True,
)
def judge_epsilon(answer):
    for seed, (width, eps) in enumerate([(5, 1e-5), (7, 0.5), (3, 0.1)]):
        module = _built(answer, "LayerNorm", width, eps)
        weight, bias = random_tensor(seed, width), random_tensor(seed + 50, width)
        _set_parameters(module, {"weight": weight, "bias": bias}, "LayerNorm")
        x = random_tensor(seed + 100, 2, 3, width) + 1
        found = tensor(call(module, x), x.shape)
        arguments = x.double(), weight.double(), bias.double(), eps
        right = F.layer_norm(arguments[0], (width,), *arguments[1:])
        mistakes = _layer_norm_mistakes(*arguments)
        message = f"for {width} numbers and eps={eps} it is not (x - mean) / sqrt(variance + eps) · weight + bias"
        compare(found, right, mistakes, message)
    _judge_gradient_of_constant(answer)
    return "divide by n, eps inside the root: equal to nn.LayerNorm, and finite gradients for a constant vector"


def _judge_gradient_of_constant(answer) -> None:
    module = _built(answer, "LayerNorm", 5, 1e-5)
    x = torch.full((2, 5), 3.0, requires_grad=True)
    output = module(x)
    reject_if(
        not isinstance(output, Tensor) or not output.requires_grad,
        "no gradient reaches the input: compute with torch, without `detach` or `no_grad`",
        "no-gradient",
    )
    (gradient,) = torch.autograd.grad((output * random_tensor(0, 2, 5)).sum(), x)
    reject_if(
        not bool(gradient.isfinite().all()),
        "the values are right; but for a vector of equal numbers the gradient is nan, because the slope of the root "
        "at 0 is infinite. Take one root only, of variance + eps, which is never 0",
        "nan-gradient",
    )


@exercise(
    "05.4",
    title="The feed-forward layer",
    minutes=6,
    difficulty=2,
    hints=(
        "Which of the two linear maps is made once, and which parts belong into `forward`? A layer made in `forward` "
        "is new in every call, and no optimiser ever sees it.",
        "In `__init__`: `nn.Linear(d_model, d_ff)` and `nn.Linear(d_ff, d_model)`. In `forward`: the first map, ReLU, "
        "the second map.",
        "`self.up = nn.Linear(d_model, d_ff)` and `self.down = nn.Linear(d_ff, d_model)`; "
        "`return self.down(torch.relu(self.up(x)))`.",
    ),
    reference=f"{_LAYERS}:FeedForward",
)
def judge_feed_forward(answer):
    for seed, (d_model, d_ff) in enumerate([(5, 11), (7, 3), (2, 13)]):
        module = _built(answer, "FeedForward", d_model, d_ff)
        names = _feed_forward_parameters(module, d_model, d_ff)
        values = [random_tensor(10 * seed + i, *own.shape) for i, own in enumerate(names)]
        with torch.no_grad():
            for own, value in zip(names, values, strict=True):
                own.copy_(value)
        x = random_tensor(seed + 500, 2, 3, d_model)
        found = tensor(call(module, x), x.shape)
        exact = [value.double() for value in values]
        as_linear = _feed_forward(x.double(), *exact)
        as_matrices = _feed_forward(x.double(), exact[2].T, exact[1], exact[0].T, exact[3])
        if close(found, as_matrices["right"]):
            continue
        mistakes = [
            Mistake(form[name], name, message)
            for form in (as_linear, as_matrices)
            for name, message in _FEED_FORWARD_MISTAKES.items()
        ]
        compare(found, as_linear["right"], mistakes, "the result is not W_down relu(W_up x + b_up) + b_down")
    return "up, ReLU, down: the same map for every token, and trained with the rest"


_FEED_FORWARD_MISTAKES = {
    "no-activation": "there is no ReLU between the two maps: two linear maps in a row are one linear map",
    "activation-last": "ReLU stands after the second map: a block could then only ever add, never subtract",
    "both-activations": "there is a second ReLU after the last map: a block could then only ever add, never subtract",
    "activation-first": "ReLU acts on the input; it belongs between the two maps",
    "other-activation": "the maps are right; the function between them is GELU and not ReLU",
    "other-activation-silu": "the maps are right; the function between them is SiLU and not ReLU",
    "residual": "x is added already: the residual connection belongs to the block, around this layer",
}


def _feed_forward(x: Tensor, up: Tensor, up_bias: Tensor, down: Tensor, down_bias: Tensor) -> dict[str, Tensor]:
    """The right result and those of known mistakes, for weights as `nn.Linear` holds them."""

    def layer(f: Callable[[Tensor], Tensor], h: Tensor = x) -> Tensor:
        return F.linear(f(F.linear(h, up, up_bias)), down, down_bias)

    right = layer(F.relu)
    return {
        "right": right,
        "no-activation": layer(lambda h: h),
        "activation-last": layer(lambda h: h).relu(),
        "both-activations": right.relu(),
        "activation-first": layer(lambda h: h, x.relu()),
        "other-activation": layer(F.gelu),
        "other-activation-silu": layer(F.silu),
        "residual": x + right,
    }


def _feed_forward_parameters(module: nn.Module, d_model: int, d_ff: int) -> list[nn.Parameter]:
    """The four parameters in the order W_up, b_up, W_down, b_down, found by their shapes, whatever their names."""
    own = list(module.parameters())
    reject_if(
        not own,
        "the layer has no parameters, so nothing of it would be trained: make both maps in `__init__`, and keep them "
        "as attributes such as `self.up`, after `super().__init__()`",
        "never-trained",
    )
    expected = 2 * d_model * d_ff + d_ff + d_model
    found = sum(parameter.numel() for parameter in own)
    reject_if(
        found == 2 * d_model * d_ff,
        "both maps have no bias; the paper's feed-forward layer has b_up and b_down",
        "no-bias",
    )
    reject_if(
        len(own) <= 2 and found in (d_model * d_ff + d_ff, d_model * d_ff + d_model),
        f"{found} parameters are found, those of one linear map: a second one leads back from d_ff to d_model",
        "one-map",
    )
    shapes = ((d_ff, d_model), (d_ff,), (d_model, d_ff), (d_model,))
    ordered = [parameter for shape in shapes for parameter in own if parameter.shape == shape]
    reject_if(
        found != expected or len(ordered) != len(shapes) or len(own) != len(shapes),
        f"for d_model={d_model} and d_ff={d_ff} the two maps have {expected} parameters, and yours have {found}: "
        "from d_model to d_ff, and back",
        "sizes",
    )
    return ordered


@exercise(
    "05.5",
    title="Two orders of the residual",
    minutes=4,
    difficulty=2,
    hints=(
        "In which of the two orders does x reach the output untouched?",
        '"pre" normalises what the sub-layer reads, and adds to x itself. "post" adds first and normalises the sum.',
        '`x + sublayer(norm(x))` for "pre", and `norm(x + sublayer(x))` for "post".',
    ),
    reference=f"{_HERE}:residual",
)
def judge_residual(answer):
    residual = function(answer, "residual")
    for seed, width in enumerate([5, 7]):
        matrix = random_tensor(seed + 20, width, width)
        x = 2 * random_tensor(seed, 3, width) + 1

        def norm(h: Tensor) -> Tensor:
            return F.layer_norm(h, h.shape[-1:])

        def sublayer(h: Tensor, matrix: Tensor = matrix) -> Tensor:
            return torch.sin(h @ matrix.to(h))

        results = {
            "pre": x + sublayer(norm(x)),
            "post": norm(x + sublayer(x)),
        }
        others = [
            Mistake(
                norm(x) + sublayer(norm(x)),
                "normalised-stream",
                "you add to the normalised x: the stream itself is then normalised in every block, and that is what "
                "pre-norm avoids. Add to x",
            ),
            Mistake(
                x + norm(sublayer(x)),
                "normalised-output",
                "you normalise what the sub-layer says; normalise what it reads (pre) or the sum (post)",
            ),
            Mistake(norm(x + sublayer(norm(x))), "both", "you normalise before and after: each order has one norm"),
            Mistake(x + sublayer(x), "no-norm", "nothing is normalised"),
            *(
                Mistake(value, "no-residual", "x is not added: without it, every sub-layer replaces what was there")
                for value in (sublayer(norm(x)), norm(sublayer(x)), sublayer(x))
            ),
        ]
        for order, other in itertools.permutations(results):
            swapped = Mistake(
                results[other],
                "swapped",
                f'"{order}" gives the result of "{other}": pre means that the sub-layer reads a normalised x, '
                "post that the sum is normalised",
            )
            found = tensor(call(residual, x, norm, sublayer, order), x.shape, f'the result for "{order}"')
            compare(found, results[order], [swapped, *others], f'for the order "{order}" the result differs')
    return "pre keeps a path on which nothing but sums happens; post normalises it after every step"


@exercise(
    "05.6",
    title="Repair the block",
    minutes=8,
    difficulty=4,
    hints=(
        "Count the parameters. A block has two norms with two vectors of d_model numbers each. How many does this one "
        "have? Then follow x: which line changes it other than by adding?",
        "First: two norms, two objects. Second: only what the sub-layer reads is normalised, x itself is not. Third: "
        "who uses `mask`?",
        "Make `self.attention_norm` and `self.feed_forward_norm` two calls of `layers.LayerNorm(d_model)`; and in "
        "`forward`: `x = x + self.attention(self.attention_norm(x), mask=mask)[0]`.",
    ),
    reference=f"{_LAYERS}:EncoderBlock",
    starts_broken=True,
)
def judge_block(answer):
    for seed, (batch, n, heads, d_model, d_ff) in enumerate([(2, 5, 3, 21, 11), (3, 7, 2, 10, 13)]):
        block = _built(answer, "PreNormBlock", d_model, heads, d_ff).eval()
        _judge_two_norms(block, d_model)
        oracle = _torch_layer(seed, d_model, heads, d_ff)
        p = _as_ours(oracle)
        _set_parameters(block, p, "PreNormBlock")
        x = 2 * random_tensor(seed + 70, batch, n, d_model) + 1
        causal = torch.ones(n, n, dtype=torch.bool).tril()
        with torch.no_grad():
            _judge_streams(tensor(call(block, x), x.shape), oracle(x).double(), x, p, heads)
            masked = tensor(call(block, x, causal), x.shape)
            reject_if(
                close(masked, oracle(x).double()),
                "without a mask it is right; with a causal mask nothing changes, so a token still sees the future: "
                "hand the mask on to the attention",
                "mask-forgotten",
            )
            others = slice(None), slice(0, -1)  # turned round, the mask leaves the last query nothing to attend to
            reject_if(
                close(masked[others], oracle(x, src_mask=causal).double()[others]),
                "the mask acts the wrong way round: True means that a query may attend",
                "mask-inverted",
            )
            compare(
                masked,
                oracle(x, src_mask=~causal).double(),
                [],
                "without a mask it is right; under a causal mask it differs from nn.TransformerEncoderLayer",
            )
    return "equal to nn.TransformerEncoderLayer(norm_first=True), with and without a mask"


def _judge_two_norms(block: nn.Module, d_model: int) -> None:
    norms = [getattr(block, name, None) for name in ("attention_norm", "feed_forward_norm")]
    reject_if(
        not all(isinstance(norm, nn.Module) for norm in norms),
        "`attention_norm` and `feed_forward_norm` are not both there: keep the names of its parts",
        "renamed",
    )
    reject_if(
        norms[0] is norms[1],
        f"both names stand for one and the same norm, so {2 * d_model} parameters are missing, and what the attention "
        "learns about its input is forced on the feed-forward layer: make two",
        "shared-norm",
    )


def _judge_streams(found: Tensor, right: Tensor, x: Tensor, p: dict[str, Tensor], heads: int) -> None:
    """Compare a result without a mask, and name what happened to x on its way."""
    x, p = x.double(), {name: value.double() for name, value in p.items()}

    def attention(h: Tensor) -> Tensor:
        q, k, v = (
            F.linear(h, p[f"attention.{part}_proj.weight"], p[f"attention.{part}_proj.bias"])
            .unflatten(-1, (heads, -1))
            .transpose(1, 2)
            for part in "qkv"
        )
        merged = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(-2)
        return F.linear(merged, p["attention.out_proj.weight"], p["attention.out_proj.bias"])

    def feed_forward(h: Tensor) -> Tensor:
        hidden = F.linear(h, p["feed_forward.up.weight"], p["feed_forward.up.bias"]).relu()
        return F.linear(hidden, p["feed_forward.down.weight"], p["feed_forward.down.bias"])

    def norm(h: Tensor, part: str) -> Tensor:
        return F.layer_norm(h, h.shape[-1:], p[f"{part}_norm.weight"], p[f"{part}_norm.bias"])

    def second(h: Tensor) -> Tensor:
        return h + feed_forward(norm(h, "feed_forward"))

    normed = norm(x, "attention")
    after = x + attention(normed)
    post = norm(x + attention(x), "attention")
    mistakes = [
        Mistake(
            second(normed + attention(normed)),
            "normalised-stream",
            "the first sum is not x + …: x was replaced by its normalised form before. Normalise what the attention "
            "reads, and add to x itself",
        ),
        Mistake(
            second(normed + attention(norm(normed, "attention"))),
            "normalised-stream",
            "x is replaced by its normalised form, and normalised once more: normalise only what the attention reads",
        ),
        Mistake(
            norm(after, "feed_forward") + feed_forward(norm(after, "feed_forward")),
            "normalised-stream",
            "the second sum adds to the normalised x; add to x itself",
        ),
        Mistake(
            norm(post + feed_forward(post), "feed_forward"),
            "post-norm",
            "this is the order of post-norm, norm(x + f(x)); pre-norm is x + f(norm(x))",
        ),
        Mistake(after, "no-feed-forward", "the feed-forward layer is missing"),
        Mistake(
            after + feed_forward(norm(x, "feed_forward")),
            "parallel",
            "the feed-forward layer reads the old x: it comes after the attention, and reads the sum",
        ),
        Mistake(
            x + feed_forward(norm(after, "feed_forward")),
            "attention-lost",
            "the second sum starts again from the old x, so what the attention added is lost",
        ),
        Mistake(second(attention(normed)), "no-residual", "the attention replaces x: add x to what it says"),
        Mistake(
            feed_forward(norm(after, "feed_forward")),
            "no-residual",
            "the feed-forward layer replaces x: add x to what it says",
        ),
        Mistake(second(x + attention(x)), "norm-missing", "the attention reads x itself; it should read norm(x)"),
        Mistake(after + feed_forward(after), "norm-missing", "the feed-forward layer reads x itself, without a norm"),
    ]
    compare(found, right, mistakes, "the result is not x + attention(norm(x)), then x + feed_forward(norm(x))")


def _torch_layer(seed: int, d_model: int, heads: int, d_ff: int) -> nn.TransformerEncoderLayer:
    """torch's layer with random parameters; in training mode, as its inference path is another implementation."""
    layer = nn.TransformerEncoderLayer(d_model, heads, d_ff, 0.0, batch_first=True, norm_first=True)
    with torch.no_grad():
        for i, parameter in enumerate(layer.parameters()):
            parameter.copy_(random_tensor(100 * seed + i, *parameter.shape) / math.sqrt(d_model) + 0.1)
    return layer.train()


def _as_ours(layer: nn.TransformerEncoderLayer) -> dict[str, Tensor]:
    """Parameters of torch's layer under the names of the block that is repaired."""
    p = {"attention.out_proj.weight": layer.self_attn.out_proj.weight}
    p["attention.out_proj.bias"] = layer.self_attn.out_proj.bias
    for part, weight, bias in zip(
        "qkv", layer.self_attn.in_proj_weight.chunk(3), layer.self_attn.in_proj_bias.chunk(3), strict=True
    ):
        p[f"attention.{part}_proj.weight"], p[f"attention.{part}_proj.bias"] = weight, bias
    parts = {
        "feed_forward.up": layer.linear1,
        "feed_forward.down": layer.linear2,
        "attention_norm": layer.norm1,
        "feed_forward_norm": layer.norm2,
    }
    for name, part in parts.items():
        p[f"{name}.weight"], p[f"{name}.bias"] = part.weight, part.bias
    return {name: value.detach() for name, value in p.items()}


@exercise(
    "05.7",
    title="Count the parameters of a block",
    minutes=6,
    difficulty=3,
    hints=(
        "Which matrices does one attention have, and how large is each? Does the number of heads change that?",
        "Attention: four matrices of d_model × d_model, with a bias each. Feed-forward: two matrices, and biases of "
        "d_ff and d_model. Norm: two vectors. An encoder block has one attention and two norms, a decoder block has "
        "two attentions and three norms.",
        "`attention = 4 * (d_model**2 + d_model)`, `feed_forward = 2 * d_model * d_ff + d_ff + d_model`, "
        "`norm = 2 * d_model`; for a decoder `2 * attention + feed_forward + 3 * norm`.",
    ),
    reference=f"{_HERE}:block_parameters",
)
def judge_block_parameters(answer):
    count = function(answer, "block_parameters")
    for d_model, d_ff, heads in [(6, 5, 3), (10, 7, 2), (21, 34, 7), (512, 2048, 8)]:
        for decoder in (False, True):
            layer = (nn.TransformerDecoderLayer if decoder else nn.TransformerEncoderLayer)(
                d_model, heads, d_ff, device="meta"
            )
            right = sum(parameter.numel() for parameter in layer.parameters())
            found = number(call(count, d_model, d_ff, decoder), "the number of parameters")
            kind = "decoder" if decoder else "encoder"
            for value, name, message in _count_mistakes(d_model, d_ff, decoder):
                reject_if(found == value, message, name)
            reject_if(
                found != right,
                f"for d_model={d_model} and d_ff={d_ff} torch's {kind} layer has {right:,} parameters and you count "
                f"{found:,.10g}, {abs(found - right):,.10g} too {'many' if found > right else 'few'}",
                "value",
            )
    return "equal to torch's encoder and decoder layers; the number of heads changes nothing"


def _count_mistakes(d: int, f: int, decoder: bool) -> list[tuple[int, str, str]]:
    """Counts that known mistakes lead to, unless the right count happens to be the same."""
    attentions, norms = (2, 3) if decoder else (1, 2)
    attention, feed_forward, norm = 4 * (d * d + d), 2 * d * f + f + d, 2 * d
    right = attentions * attention + feed_forward + norms * norm
    mistakes = [
        (
            right - attentions * 4 * d - f - d,
            "no-biases",
            "the biases of the linear maps are missing: d_model for each map of an attention, d_ff and d_model in the "
            "feed-forward layer",
        ),
        (
            right - attentions * (d * d + d),
            "no-output-map",
            "an attention has four maps: W_Q, W_K, W_V and, after the heads are joined, W_O",
        ),
        (
            right - d * f - d,
            "one-map",
            "the feed-forward layer has two maps, up to d_ff and back down to d_model",
        ),
        (right - norms * norm, "no-norms", "the norms are missing: each has a weight and a bias of d_model numbers"),
        (
            right - f + d,
            "feed-forward-biases",
            "the bias of the first map has d_ff numbers, like its result",
        ),
        (right - d + f, "feed-forward-biases", "the bias of the second map has d_model numbers, like its result"),
    ]
    if decoder:
        mistakes += [
            (
                attention + feed_forward + 2 * norm,
                "decoder-as-encoder",
                "this is an encoder block; a decoder block also attends to the encoder's output, with four maps and a "
                "norm of its own",
            ),
            (right - norms * d, "norm-without-bias", "each norm has a bias besides its weight: 2 · d_model numbers"),
            (right - norm, "two-norms", "a decoder block has three sub-layers, so three norms"),
            (right - attention, "no-cross-attention", "the attention to the encoder's output is missing"),
        ]
    else:
        mistakes += [
            (
                right - norm,
                "norms-incomplete",
                "2 · d_model are missing: there are two norms, and each has a weight and a bias",
            ),
            (right - d, "no-output-bias", "the bias of W_O is missing"),
            (
                2 * attention + feed_forward + 3 * norm,
                "encoder-as-decoder",
                "this is a decoder block, with a second attention; `decoder=False` asks for an encoder block",
            ),
        ]
    return [mistake for mistake in mistakes if mistake[0] != right]


quiz(
    "05",
    Question(
        "LayerNorm is applied to activations of shape [batch, length, d_model]. How many means does it compute?",
        (
            Choice("d_model", "That would be one for each feature, over all tokens, as batch normalisation does."),
            Choice("batch", "One per sequence would mix tokens: what one token is would then change its neighbours."),
            Choice(
                "batch · length",
                "One for each token, over its own d_model numbers: neither the neighbours nor the batch matter.",
            ),
            Choice("1", "Then a single large token would shrink all others."),
        ),
        right=2,
    ),
    Question(
        "Which sub-layer of a block can move information from one token to another?",
        (
            Choice("The attention alone", "Norms, feed-forward layers and sums work on each token by itself."),
            Choice("The feed-forward layer alone", "It is one function, applied to each token by itself."),
            Choice("Both", "Change one token: the feed-forward outputs of all others stay as they were."),
            Choice("The norms", "Each token has its own mean and variance."),
        ),
        right=0,
    ),
    Question(
        "In a pre-norm stack every sub-layer writes zeros. What comes out, before the last norm?",
        (
            Choice("Zeros", "The sub-layers are added to x; they do not replace it."),
            Choice(
                "The input x",
                "x + 0 in every block: the residual path carries x through unchanged. Post-norm would normalise it.",
            ),
            Choice("norm(x)", "That is post-norm: norm(x + 0) after every sub-layer."),
        ),
        right=1,
    ),
    Question(
        "d_model is doubled, and d_ff with it. What happens to the parameters of a block?",
        (
            Choice("They double", "Only biases and norms do, and they are few."),
            Choice("They depend on the number of heads", "More heads are narrower; the four matrices keep their size."),
            Choice("They become about eight times as many", "A matrix has two sides: 2 times 2."),
            Choice("They become about four times as many", "All large matrices have two sides that double."),
        ),
        right=3,
    ),
    Question(
        "What does RMSNorm leave out of LayerNorm?",
        (
            Choice("The mean and the bias", "It divides by the root mean square and multiplies by a weight."),
            Choice("The weight and the bias", "The weight stays: one learned factor for each of the d_model numbers."),
            Choice("The division", "It still divides, by the root of the mean square: that is its name."),
        ),
        right=0,
    ),
)
