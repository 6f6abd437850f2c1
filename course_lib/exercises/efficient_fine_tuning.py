"""Notebook 17: an adapter, merging it, where adapters go, memory, whole numbers for weights, a student's loss."""

import numbers

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .engine import Choice, Question, Rejected, exercise, quiz
from .judging import Mistake, call, close, compare, function, number, random_tensor, reject_if, tensor
from .sandbox import Stopped, describe

_HERE = "course_lib.exercises.references.efficient_fine_tuning"


# --- 17.1 ---------------------------------------------------------------------------------------------------


@exercise(
    "17.1",
    title="A linear map with an adapter",
    minutes=10,
    difficulty=3,
    hints=(
        "Which numbers may change in training, and what must the layer compute before the first step?",
        "In `__init__`: keep `base` and freeze it; make A, `[rank, in_features]`, with random numbers, and B, "
        "`[out_features, rank]`, with zeros, both as `nn.Parameter`. In `forward`: what base says, plus the scaled "
        "detour through A and then B.",
        "`self.base = base.requires_grad_(False)`, `self.A = nn.Parameter(torch.randn(rank, base.in_features) / "
        "base.in_features**0.5)`, `self.B = nn.Parameter(torch.zeros(base.out_features, rank))`; "
        "`return self.base(x) + self.alpha / self.rank * (x @ self.A.T @ self.B.T)`.",
    ),
    reference="course_lib.lora:LoraLinear",
)
def judge_lora_linear(answer):
    reject_if(isinstance(answer, nn.Module), "pass the class `LoraLinear` itself, without calling it", "wrong-type")
    reject_if(not callable(answer), f"a class is asked for and this is of type {type(answer).__name__}", "wrong-type")
    for seed, (n_in, n_out, rank, alpha) in enumerate([(7, 5, 3, 6.0), (11, 13, 2, 3.0)]):
        base = _linear(seed, n_in, n_out)
        before = {name: value.detach().clone() for name, value in base.named_parameters()}
        layer = _made(answer, base, rank, alpha)
        x = random_tensor(seed + 50, 2, 3, n_in)
        plain = F.linear(x, before["weight"], before["bias"]).double()
        A, B, turned = _matrices(layer, n_in, n_out, rank)
        start = tensor(call(layer, x), plain.shape)
        reject_if(
            not bool(B.any()) and not bool(A.any()),
            "A and B are both 0. Then neither ever gets a gradient: that of A is a multiple of B, that of B one of A",
            "both-zero",
        )
        reject_if(
            not close(start, plain),
            "before the first step the layer must compute what `base` computes: B starts at 0, A at random",
            "start",
        )
        with torch.no_grad():
            A.copy_(random_tensor(seed + 60, *A.shape))
            B.copy_(random_tensor(seed + 70, *B.shape))
            a, b = (A.double().T, B.double().T) if turned else (A.double(), B.double())
            detour = x.double() @ a.T @ b.T
        found = tensor(call(layer, x), plain.shape)
        mistakes = [
            Mistake(plain + detour, "no-scale", "the detour is not scaled: multiply it by alpha / rank"),
            Mistake(
                plain + alpha * detour,
                "alpha-alone",
                "the detour is multiplied by alpha; by alpha / rank, so that another rank needs no other learning rate",
            ),
            Mistake(plain + rank / alpha * detour, "inverted", "the factor is alpha / rank, not rank / alpha"),
            Mistake(alpha / rank * detour, "no-base", "what `base` says is missing: the detour is added to it"),
            Mistake(plain, "no-detour", "A and B make no difference: `forward` does not use them"),
            Mistake(
                alpha / rank * (plain + detour),
                "scaled-base",
                "the factor alpha / rank acts on `base` as well; it belongs to the detour alone",
            ),
        ]
        compare(found, plain + alpha / rank * detour, mistakes, "the result is not W x + b + (alpha / rank) B A x")
        _judge_gradients(layer, base, x, A, B)
    return "it starts as its base, and only A and B learn"


def _linear(seed: int, n_in: int, n_out: int) -> nn.Linear:
    layer = nn.Linear(n_in, n_out)
    with torch.no_grad():
        layer.weight.copy_(random_tensor(seed + 30, n_out, n_in))
        layer.bias.copy_(random_tensor(seed + 40, n_out))
    return layer


def _made(answer, base: nn.Linear, rank: int, alpha: float) -> nn.Module:
    try:
        layer = answer(base, rank, alpha)
    except (Stopped, Rejected):
        raise
    except BaseException as error:
        raise Rejected(f"LoraLinear(base, rank, alpha) raised {describe(error)}", "exception") from error
    reject_if(
        not isinstance(layer, nn.Module),
        f"LoraLinear(base, rank, alpha) should make an nn.Module and makes a {type(layer).__name__}",
        "wrong-type",
    )
    return layer


def _matrices(layer: nn.Module, n_in: int, n_out: int, rank: int) -> tuple[nn.Parameter, nn.Parameter, bool]:
    """A, B and whether they are stored transposed; whatever their names."""
    own = dict(layer.named_parameters())
    thawed = [name for name, value in own.items() if value.requires_grad and value.shape in ((n_out, n_in), (n_out,))]
    reject_if(
        bool(thawed),
        f"`{thawed[0] if thawed else ''}` is still trained: the base is frozen, `base.requires_grad_(False)`",
        "not-frozen",
    )
    trained = [value for value in own.values() if value.requires_grad]
    for turned, shape_a, shape_b in ((False, (rank, n_in), (n_out, rank)), (True, (n_in, rank), (rank, n_out))):
        A = [value for value in trained if value.shape == shape_a]
        B = [value for value in trained if value.shape == shape_b]
        if len(A) == len(B) == 1 and len(trained) == 2:
            return A[0], B[0], turned
    shapes = ", ".join(str(list(value.shape)) for value in trained) or "nothing"
    raise Rejected(
        f"for {n_in} features in, {n_out} out and rank {rank} the trained parameters should be A [{rank}, {n_in}] and "
        f"B [{n_out}, {rank}]; here they are {shapes}. Make them in `__init__`, as nn.Parameter",
        "parameters",
    )


def _judge_gradients(layer: nn.Module, base: nn.Linear, x: Tensor, A: nn.Parameter, B: nn.Parameter) -> None:
    result = layer(x)
    reject_if(not result.requires_grad, "no gradient reaches A and B: is there a `detach` or `no_grad`?", "no-gradient")
    result.sum().backward()
    reject_if(
        A.grad is None or B.grad is None, "no gradient reaches A or B: is there a `detach` or `.data`?", "no-gradient"
    )
    reject_if(base.weight.grad is not None, "the base's weight gets a gradient: freeze it", "not-frozen")


# --- 17.2 ---------------------------------------------------------------------------------------------------


@exercise(
    "17.2",
    title="Which modules, how many parameters",
    minutes=8,
    difficulty=3,
    hints=(
        "Is `attention.bypass_key` meant by the target `key`? And what does one adapter add to a map [out, in]?",
        "A name is meant if it equals a target, or ends in a dot and the target. Each such map gets A with rank · in "
        "and B with out · rank numbers, once, however many targets mean it.",
        "For each name: `if any(name == t or name.endswith('.' + t) for t in targets):`, and then "
        "`total += rank * (n_in + n_out)`.",
    ),
    reference=f"{_HERE}:adapter_parameters",
)
def judge_adapter_parameters(answer):
    count = function(answer, "adapter_parameters")
    shapes = {
        "block.0.attention.query": (13, 7),
        "block.0.attention.bypass_key": (3, 31),
        "block.0.attention.key": (11, 7),
        "block.0.up": (29, 13),
        "block.1.attention.query": (13, 5),
        "block.1.key.up": (17, 2),
        "key": (2, 19),
    }
    for targets, rank in [
        (["query"], 3),
        (["key"], 2),
        (["query", "up"], 1),
        (["up", "block.0.up"], 5),
        (["nothing"], 4),
    ]:
        right = _adapter_count(shapes, targets, rank)
        found = number(call(count, dict(shapes), list(targets), rank), "the number of parameters")
        if found == right:
            continue
        for values, name, message in _target_mistakes(shapes, targets, rank):
            reject_if(found == values != right, f"with targets {targets} and rank {rank}: {message}", name)
        raise Rejected(
            f"with targets {targets} and rank {rank} the adapters have {right} parameters and you count {found:g}",
            "value",
        )
    return "each map once, and only names that end in a whole part"


def _adapter_count(shapes, targets, rank, *, ends=None, size=None, twice=False) -> int:
    ends = ends or (lambda name, target: name.split(".")[-len(target.split(".")) :] == target.split("."))
    size = size or (lambda n_out, n_in: rank * n_in + n_out * rank)
    total = 0
    for name, (n_out, n_in) in shapes.items():
        hits = sum(ends(name, target) for target in targets)
        total += size(n_out, n_in) * (hits if twice else min(hits, 1))
    return total


def _target_mistakes(shapes, targets, rank):
    return [
        (
            _adapter_count(shapes, targets, rank, ends=lambda name, target: target in name),
            "substring",
            "names that only contain the target are counted too; peft looks at the end of the name",
        ),
        (
            _adapter_count(shapes, targets, rank, ends=lambda name, target: name.endswith(target)),
            "part-of-a-word",
            "`bypass_key` is counted for `key`: the target must be a whole part, after a dot or from the start",
        ),
        (
            _adapter_count(shapes, targets, rank, ends=lambda name, target: name.endswith("." + target)),
            "whole-name",
            "the map that is called just like the target is not counted",
        ),
        (
            _adapter_count(shapes, targets, rank, ends=lambda name, target: name == target),
            "exact",
            "only whole names are compared; a target may be the end of a name",
        ),
        (
            _adapter_count(shapes, targets, rank, size=lambda n_out, n_in: n_out * n_in),
            "whole-matrix",
            "these are the parameters of the maps themselves; an adapter has rank · in + out · rank",
        ),
        (
            _adapter_count(shapes, targets, rank, size=lambda n_out, n_in: rank * n_in),
            "a-only",
            "A is counted, [rank, in]; B has out · rank more",
        ),
        (
            _adapter_count(shapes, targets, rank, size=lambda n_out, n_in: rank * n_out),
            "b-only",
            "B is counted, [out, rank]; A has rank · in more",
        ),
        (
            _adapter_count(shapes, targets, rank, size=lambda n_out, n_in: n_out + n_in),
            "no-rank",
            "that is rank 1: A has `rank` rows and B `rank` columns",
        ),
        (
            _adapter_count(shapes, targets, rank, twice=True),
            "twice",
            "a map that two targets mean gets one adapter, not two",
        ),
    ]


# --- 17.3 ---------------------------------------------------------------------------------------------------


@exercise(
    "17.3",
    title="Merge",
    minutes=5,
    difficulty=2,
    hints=(
        "W x + s B (A x) is to be one product M x. What is M?",
        "M is W plus the scaled product of B and A, in the order that gives [out, in]; the rank is read off A's shape.",
        "`return W + alpha / A.shape[0] * (B @ A)`.",
    ),
    reference=f"{_HERE}:merged_weight",
)
def judge_merged_weight(answer):
    merge = function(answer, "merged_weight")
    for seed, (n_out, n_in, rank, alpha) in enumerate([(5, 7, 2, 6.0), (11, 3, 1, 0.5), (6, 6, 3, 1.0)]):
        W, A, B = (
            random_tensor(seed, n_out, n_in),
            random_tensor(seed + 1, rank, n_in),
            random_tensor(seed + 2, n_out, rank),
        )
        update = torch.einsum("or,ri->oi", B.double(), A.double())
        found = tensor(call(merge, W, A, B, alpha), (n_out, n_in), "the merged weight")
        mistakes = [
            Mistake(
                W.double() + alpha * update, "alpha-alone", "B A is multiplied by alpha; the factor is alpha / rank"
            ),
            Mistake(W.double() + update, "no-scale", "B A is not scaled: the factor is alpha / rank"),
            Mistake(W.double() + rank / alpha * update, "inverted", "the factor is alpha / rank, not rank / alpha"),
            Mistake(alpha / rank * update, "update-only", "this is the update alone; add it to W"),
            Mistake(W.double() - alpha / rank * update, "unmerged", "you take the update out; merging adds it"),
        ]
        if n_out == n_in:
            mistakes.append(
                Mistake(W.double() + alpha / rank * update.T, "transposed", "the update is transposed: it is B A")
            )
        compare(found, W.double() + alpha / rank * update, mistakes, "the result is not W + (alpha / rank) B A")
    return "one matrix, no extra work when the model is used"


# --- 17.4 ---------------------------------------------------------------------------------------------------


@exercise(
    "17.4",
    title="What fits on the card",
    minutes=5,
    difficulty=2,
    hints=(
        "For each parameter that is trained: the number itself, its gradient, and AdamW's two averages. For a frozen "
        "one?",
        "Trained: 4 + 4 + 8 = 16 bytes. Frozen: only the number itself, 2 bytes in 16 bits and half a byte in 4 bits.",
        "`7 * 16`, then `7 * 2 + 0.04 * 16`, then `7 * 0.5 + 0.04 * 16`.",
    ),
    reference=f"{_HERE}:memory_in_gigabytes",
)
def judge_memory(answer):
    names = ("full", "LoRA, 16-bit base", "QLoRA, 4-bit base")
    reject_if(
        not isinstance(answer, dict) or not set(names) <= set(answer),
        f"a dict is asked for, with the keys {', '.join(map(repr, names))}",
        "wrong-type",
    )
    base = {"full": 0.0, "LoRA, 16-bit base": 14.0, "QLoRA, 4-bit base": 3.5}
    for name in names:
        found = number(answer[name], f"the number for {name!r}")
        trained = 7.0 if name == "full" else 0.04
        right = base[name] + 16 * trained
        if abs(found - right) < 0.006:
            continue
        reject_if(
            abs(found - right * 1e9 / 2**30) < 0.02,
            f"{name}: this is in units of 2³⁰ bytes (GiB); write units of 10⁹ bytes",
            "gibibytes",
        )
        for value, mistake, message in (
            (right * 1e9, "bytes", "this is in bytes; write units of 10⁹ bytes"),
            (base[name] + 4 * trained, "weights-only", "only the weights are counted; gradient and AdamW need 12 more"),
            (base[name] + 8 * trained, "no-optimiser", "AdamW keeps two averages for each parameter: 8 bytes more"),
            (
                base[name] + 12 * trained,
                "no-gradient",
                "12 bytes a trained parameter: one of weight, gradient, and two averages is missing",
            ),
            (16 * trained, "no-base", "the frozen weights are there too, and are most of it"),
            (8 * base[name] + 16 * trained, "bits", "bits were taken for bytes: 8 bits are a byte"),
            (28 + 16 * trained, "frozen-32", "the frozen weights are held in fewer bits than 32"),
            (112.0, "all-trained", "what is frozen has no gradient and nothing in the optimiser"),
        ):
            reject_if(value != right and abs(found - value) < 0.006, f"{name}: {message}", mistake)
        raise Rejected(f"{name}: {found:g} found. Frozen parameters cost their bytes; trained ones 4 + 4 + 8", "value")
    return "112, 14.6 and 4.1: and all but 0.6 of the last two are frozen weights"


# --- 17.5 ---------------------------------------------------------------------------------------------------


@exercise(
    "17.5",
    title="Weights as whole numbers",
    minutes=8,
    difficulty=3,
    hints=(
        "127 is the largest whole number you may use. Which number of w should become 127, or -127?",
        "The scale is the largest absolute value divided by 127. Divide by it and round to the nearest whole number. "
        "What if all numbers are 0?",
        "`scale = float(w.abs().max()) / 127 or 1.0`, then `return torch.round(w / scale).to(torch.int8), scale`.",
    ),
    reference=f"{_HERE}:quantise",
)
def judge_quantise(answer):
    quantise = function(answer, "quantise")
    cases = [
        random_tensor(seed, *shape) * size
        for seed, (shape, size) in enumerate([((7,), 1), ((5, 3), 40), ((11,), 1e-3)])
    ]
    cases += [-cases[0].abs() - 0.1, torch.tensor([0.5, 1.0, -2.54, 0.013])]
    for w in cases:
        q, scale = _pair(call(quantise, w), w)
        top = float(w.abs().max())
        right = top / 127
        reject_if(abs(scale - 127 / top) <= 1e-5 * scale, "the scale is turned round: w ≈ scale · q", "inverted")
        reject_if(
            abs(scale - top / 128) <= 1e-5 * right,
            "the scale is max / 128: the largest number would then become 128, which an int8 cannot hold",
            "128",
        )
        reject_if(
            abs(scale - top / 255) <= 1e-5 * right or abs(scale - 2 * top / 255) <= 1e-5 * right,
            "the scale divides by 255, the steps from -127 to 128 in all; on one side of 0 there are 127",
            "255",
        )
        reject_if(
            abs(scale - float(w.max()) / 127) <= 1e-5 * right and abs(float(w.max())) < top,
            "the scale was made from the largest number; a negative one may be larger in absolute value",
            "no-absolute-value",
        )
        reject_if(
            abs(scale - right) > 1e-4 * right,
            f"the scale is {scale:.4g}; the largest |w|, {top:.4g}, / 127 is {right:.4g}",
            "scale",
        )
        if torch.equal(q, torch.round(w.double() / scale)) or _near(q, w.double() / scale):
            continue
        exact = w.double() / scale
        for name, rounding, message in (
            ("truncated", torch.trunc, "digits are cut off, so every number moves towards 0; round to the nearest"),
            ("floored", torch.floor, "you round down, so every number gets smaller; round to the nearest"),
        ):
            reject_if(bool((q - rounding(exact)).abs().double().mean() < 0.01 + 1 / len(w.flatten())), message, name)
        raise Rejected("scale · q is farther from w than half a step: q is w / scale, rounded", "value")
    zeros = torch.zeros(5)
    q, scale = _pair(call(quantise, zeros), zeros)
    reject_if(
        bool(q.any()) or not 0 < scale < float("inf"),
        "for numbers that are all 0 the scale is 0 or NaN, and dividing by it gives NaN: use any other scale there",
        "all-zero",
    )
    return "off by half a step at most, with a quarter of the bytes"


def _near(q: Tensor, exact: Tensor) -> bool:
    """Rounded to nearest, where a tie or the last digit of the division may go either way."""
    return bool((q - exact).abs().max() <= 0.5 + 1e-4)


def _pair(found, w: Tensor) -> tuple[Tensor, float]:
    reject_if(
        not isinstance(found, list | tuple) or len(found) != 2,
        "return two things: (whole numbers, scale)",
        "not-a-pair",
    )
    if isinstance(found[0], numbers.Number) or (isinstance(found[0], Tensor) and found[0].dim() == 0 and w.dim()):
        raise Rejected("the scale came first; return (whole numbers, scale)", "swapped")
    q = tensor(found[0], w.shape, "the whole numbers")
    reject_if(
        bool((q != q.round()).any()) and bool(torch.isfinite(q).all()),
        "some of the numbers are not whole: round them",
        "not-rounded",
    )
    reject_if(bool((q.abs() > 127).any()), f"{q.abs().max():g} is outside -127 to 127, what the scale is for", "range")
    reject_if(bool(q.isnan().any()), "for numbers that are all 0 you divide 0 by 0", "all-zero")
    return q, number(found[1], "the scale")


# --- 17.6 ---------------------------------------------------------------------------------------------------


@exercise(
    "17.6",
    title="What a student learns from",
    minutes=10,
    difficulty=4,
    hints=(
        "Whose distribution is the target, and which of the two parts sees softened probabilities?",
        "Log-softmax of both logits divided by T; KL(p ‖ q) = Σ p (log p - log q), summed over the classes, averaged "
        "over the batch, times T². The cross-entropy with the labels takes the student's logits as they are.",
        "`soft = T**2 * F.kl_div(log_q, log_p, reduction='batchmean', log_target=True)`; "
        "`return weight * soft + (1 - weight) * F.cross_entropy(student, labels)`.",
    ),
    reference="course_lib.finetuning.distillation:distillation_loss",
)
def judge_distillation_loss(answer):
    loss = function(answer, "distillation_loss")
    for seed, (batch, classes, temperature, weight) in enumerate(
        [(5, 3, 2.0, 0.3), (7, 2, 4.0, 0.8), (3, 11, 1.0, 0.6)]
    ):
        student, teacher = 2 * random_tensor(seed, batch, classes), 3 * random_tensor(seed + 1, batch, classes)
        labels = torch.arange(batch) * 5 % classes
        found = tensor(call(loss, student, teacher, labels, temperature, weight))
        reject_if(found.dim() > 0 and found.numel() > 1, "a loss is one number: average over the batch", "not-a-number")
        right = _distillation(student, teacher, labels, temperature, weight)
        mistakes = [
            Mistake(_distillation(student, teacher, labels, temperature, weight, **changes).reshape(()), name, message)
            for name, message, changes in _DISTILLATION_MISTAKES
        ]
        mistakes = [one for one in mistakes if not close(one.value, right)]
        compare(
            found.reshape(()), right, mistakes, "this is not weight · T² · KL(p ‖ q) + (1 - weight) · cross-entropy"
        )
    graph = random_tensor(9, 4, 3).requires_grad_()
    value = loss(graph, random_tensor(10, 4, 3), torch.tensor([0, 1, 2, 0]), 2.0, 0.5)
    reject_if(
        not (isinstance(value, Tensor) and value.requires_grad),
        "the number is right, but no gradient reaches the student: stay with tensors, without `detach` or `item`",
        "no-gradient",
    )
    return "the teacher's whole opinion, and the label"


_DISTILLATION_MISTAKES = (
    ("no-t-squared", "T² is missing: without it, a higher temperature would silence the teacher", {"power": 0}),
    ("t-once", "the soft part is multiplied by T; the gradient shrinks by about T², so by T²", {"power": 1}),
    ("t-divided", "the soft part is divided by T²; it is multiplied by it", {"power": -2}),
    ("reversed", "the divergence is turned round: KL(teacher ‖ student), the teacher's p in front", {"turned": True}),
    ("weights-swapped", "the weights are swapped: `weight` belongs to the teacher's part", {"swapped": True}),
    ("no-temperature", "nothing is softened: divide both logits by T before softmax", {"soften": (0, 0)}),
    ("student-not-softened", "only the teacher is softened; both logits are divided by T", {"soften": (0, 1)}),
    ("teacher-not-softened", "only the student is softened; both logits are divided by T", {"soften": (1, 0)}),
    ("labels-softened", "the cross-entropy with the labels takes the logits as they are, without T", {"hard": True}),
    ("mean-over-classes", "you average over the classes too; the divergence sums over them", {"classes": True}),
    ("sum", "you add up the batch; take the mean over the texts", {"batch": True}),
    ("cross-entropy", "this is the cross-entropy -Σ p log q: same gradient, but the teacher's entropy is still in it",
     {"entropy": True}),
)  # fmt: skip


def _distillation(
    student: Tensor,
    teacher: Tensor,
    labels: Tensor,
    temperature: float,
    weight: float,
    *,
    power: int = 2,
    turned: bool = False,
    swapped: bool = False,
    soften: tuple[int, int] = (1, 1),
    hard: bool = False,
    classes: bool = False,
    batch: bool = False,
    entropy: bool = False,
) -> Tensor:
    """The loss in double precision, written out; the keywords make one mistake each."""
    student, teacher = student.double(), teacher.double()
    q = torch.softmax(student / temperature ** soften[0], dim=-1)
    p = torch.softmax(teacher / temperature ** soften[1], dim=-1)
    if turned:
        p, q = q, p
    terms = -(p * q.log()) if entropy else p * (p.log() - q.log())
    soft = terms.sum() / (1 if batch else len(student)) / (student.shape[1] if classes else 1)
    logits = student / temperature if hard else student
    likelihood = torch.softmax(logits, dim=-1)[torch.arange(len(labels)), labels]
    own = -likelihood.log().sum() / (1 if batch else len(student))
    first = (1 - weight) if swapped else weight
    return first * temperature**power * soft + (1 - first) * own


quiz(
    "17",
    Question(
        "Why does B start at 0, and A at random, and not both at 0?",
        (
            Choice("Zeros would make the model worse at first", "Zeros change nothing at all, in either matrix."),
            Choice(
                "With B = 0 nothing changes at first; with A = 0 as well, neither would ever get a gradient",
                "The gradient of A is a multiple of B, and that of B a multiple of A.",
            ),
            Choice("Random numbers in B would raise the rank", "The rank of B A is at most `rank`, whatever is in it."),
        ),
        right=1,
    ),
    Question(
        "An adapter is merged. How much slower is the model than before the adapter was attached?",
        (
            Choice("Twice as slow", "There are no two paths any more: B A was added into W."),
            Choice("By a few percent", "That is the unmerged form, with its two thin products beside W."),
            Choice("Not at all", "The merged weight has the shape of the old one; only its numbers differ."),
        ),
        right=2,
    ),
    Question(
        "LoRA trains 3 % of the parameters. By how much does one training step get faster?",
        (
            Choice(
                "By 97 %", "The forward pass is the same, and so is the way the gradient takes back through all layers."
            ),
            Choice(
                "By a third at most",
                "Of forward, gradient of inputs and gradient of weights only the last is saved. Memory drops.",
            ),
            Choice(
                "It gets slower, always", "The thin products cost little; the gradients of the weights cost a third."
            ),
        ),
        right=1,
    ),
    Question(
        "Weights are stored as int8 with one scale for a whole matrix, and one weight is 100 times as large as all "
        "others. What happens?",
        (
            Choice(
                "Nearly all others become 0 or ±1",
                "The scale is set by the largest: 127 steps reach it, and the others share the first one or two.",
            ),
            Choice("Nothing: rounding is rounding", "The step is the largest weight / 127, for all of them."),
            Choice("The large weight overflows", "The scale is chosen so that exactly this does not happen."),
        ),
        right=0,
    ),
    Question(
        "A student learns from softened probabilities, T = 4, and T² is left out of the loss. What follows?",
        (
            Choice(
                "Nothing, a factor in a loss is harmless", "It is one part of a sum: its share of the gradient falls."
            ),
            Choice("The student becomes too sure of itself", "The temperature at use is 1 either way."),
            Choice(
                "The labels outweigh the teacher",
                "The softened part's gradient is about 1 / T² as large, one sixteenth here.",
            ),
        ),
        right=2,
    ),
)
