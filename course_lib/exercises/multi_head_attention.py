"""Notebook 03: heads split and merged, cross-attention, shared key-value heads, parameters, ablation."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .engine import Choice, Question, Rejected, exercise, quiz
from .judging import Mistake, call, close, compare, function, number, random_tensor, reject_if, tensor

_HERE = "course_lib.exercises.references.multi_head_attention"


class _Attention(nn.Module):
    """Multi-head attention with random weights, with the names and the call of `course_lib`'s module.

    It stands in where an answer must be given a module, so that no judge rests on what the notebook teaches.
    """

    def __init__(self, d_model: int, num_heads: int, seed: int) -> None:
        super().__init__()
        self.d_model, self.num_heads, self.num_kv_heads = d_model, num_heads, num_heads
        self.d_k = d_model // num_heads
        for number_, name in enumerate(("q_proj", "k_proj", "v_proj", "out_proj")):
            linear = nn.Linear(d_model, d_model)
            with torch.no_grad():
                linear.weight.copy_(random_tensor(10 * seed + number_, d_model, d_model) / d_model**0.5)
                linear.bias.copy_(random_tensor(10 * seed + number_ + 5, d_model))
            self.add_module(name, linear)

    def forward(self, query, key=None, value=None, mask=None, need_weights=False):
        key = query if key is None else key
        value = key if value is None else value
        heads, weights = self.heads(self.q_proj(query), self.k_proj(key), self.v_proj(value), mask)
        return self.out_proj(heads), weights if need_weights else None

    def heads(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Outputs of all heads side by side `[batch, query, d_model]`, weights `[batch, num_heads, query, key]`."""
        if mask is not None:
            if mask.dtype != torch.bool:
                raise TypeError(f"mask has dtype {mask.dtype}; pass a boolean mask, True = may attend")
            mask = mask.unsqueeze(1) if mask.dim() == 3 else mask
        outputs, weights = [], []
        for q_i, k_i, v_i in zip(*(x.split(self.d_k, dim=-1) for x in (q, k, v)), strict=True):
            per_head = None if mask is None else mask[:, 0] if mask.dim() == 4 else mask
            outputs.append(F.scaled_dot_product_attention(q_i, k_i, v_i, per_head))
            identity = torch.eye(k_i.shape[-2]).expand(len(k_i), -1, -1)
            weights.append(F.scaled_dot_product_attention(q_i, k_i, identity, per_head))
        return torch.cat(outputs, dim=-1), torch.stack(weights, dim=1)


@exercise(
    "03.1",
    title="Split the heads",
    minutes=5,
    difficulty=2,
    hints=(
        "The numbers of one token lie next to each other, and head 0 gets the first `d_k` of them. Which axis of `x` "
        "do you cut, and which axes must stay as they are meanwhile?",
        "Two steps: cut the last axis, so that the shape is `[batch, length, num_heads, d_k]`; then let the second "
        "and the third axis change places.",
        "`x.reshape(batch, length, num_heads, d_model // num_heads).transpose(1, 2)`",
    ),
    reference=f"{_HERE}:split_heads",
)
def judge_split_heads(answer):
    split_heads = function(answer, "split_heads")
    for seed, (batch, length, num_heads, d_k) in enumerate([(2, 5, 3, 7), (3, 7, 2, 5), (1, 2, 5, 3)]):
        d_model = num_heads * d_k
        x = random_tensor(seed, batch, length, d_model)
        found = tensor(call(split_heads, x, num_heads))
        wanted = (batch, num_heads, length, d_k)
        shapes = {
            (batch, length, num_heads, d_k): (
                "heads-after-length",
                "the cut is right; move the heads before the length as well, so that each head has a matrix of its own",
            ),
            (batch, d_k, length, num_heads): (
                "sizes-swapped",
                "there are as many heads as a head should be wide: `num_heads` counts heads, d_model / num_heads is "
                "the width of one",
            ),
            (batch, num_heads, d_k, length): (
                "transposed",
                "length and width of each head have changed places; tokens are rows, numbers are columns",
            ),
            (batch, num_heads, length, d_model): (
                "whole-vector",
                f"each head got all {d_model} numbers of a token; it gets its own block of {d_k}",
            ),
        }
        name, message = shapes.get(tuple(found.shape), ("shape", ""))
        reject_if(
            found.shape != wanted,
            f"for x of shape {tuple(x.shape)} and {num_heads} heads your result has shape {tuple(found.shape)} "
            f"instead of {wanted}" + (f": {message}" if message else ""),
            name,
        )
        mistakes = [
            Mistake(
                x.reshape(wanted),
                "reshape-only",
                "the shape is right and the tokens are mixed: head 0 holds all numbers of the first tokens and "
                "nothing of the last. Cut the last axis first, then `transpose`",
            ),
            Mistake(
                x.reshape(batch, length, d_k, num_heads).permute(0, 3, 1, 2),
                "interleaved",
                f"head 0 got the numbers 0, {num_heads}, {2 * num_heads}, ... of each token; it gets a block, the "
                f"first {d_k}. Cut into (num_heads, d_k), in this order",
            ),
        ]
        right = torch.stack(x.split(d_k, dim=-1), dim=1)
        compare(found, right, mistakes, "head i, token t should hold `x[:, t, i * d_k : (i + 1) * d_k]`")
    return "head i has the i-th block of every token"


@exercise(
    "03.2",
    title="Merge the heads",
    minutes=4,
    difficulty=2,
    hints=(
        "Undo the split. What did it do last?",
        "First move the heads back behind the length: `[batch, length, num_heads, d_k]`. Then join the last two axes.",
        "`heads.transpose(1, 2).reshape(batch, length, num_heads * d_k)`, with the sizes from `heads.shape`.",
    ),
    reference=f"{_HERE}:merge_heads",
)
def judge_merge_heads(answer):
    merge_heads = function(answer, "merge_heads")
    for seed, (batch, num_heads, length, d_k) in enumerate([(2, 3, 5, 7), (3, 2, 7, 5), (1, 5, 2, 3)]):
        heads = random_tensor(seed, batch, num_heads, length, d_k)
        try:
            found = tensor(call(merge_heads, heads))
        except Rejected as rejection:
            reject_if(
                "view" in rejection.message,
                "`view` needs numbers that lie in memory in the order of the axes, and `transpose` only renames the "
                "axes: use `reshape`, or `.contiguous()` before `view`",
                "view-after-transpose",
            )
            raise
        reject_if(
            found.shape == (batch, length, d_k),
            f"{num_heads} heads went in and the width of one came out: heads are put side by side, not added up",
            "added-up",
        )
        reject_if(
            found.shape != (batch, length, num_heads * d_k),
            f"heads of shape {tuple(heads.shape)} give {tuple(found.shape)} instead of "
            f"{(batch, length, num_heads * d_k)}",
            "shape",
        )
        mistakes = [
            Mistake(
                heads.reshape(batch, length, num_heads * d_k),
                "reshape-only",
                "the shape is right and the tokens are mixed: the first rows hold head 0 alone. Move the heads behind "
                "the length before you join the axes",
            ),
            Mistake(
                heads.permute(0, 2, 3, 1).flatten(-2),
                "interleaved",
                "the numbers of the heads alternate; put whole heads side by side, head 0 first",
            ),
        ]
        right = torch.cat(heads.unbind(dim=1), dim=-1)
        compare(found, right, mistakes, "token t should hold head 0 of token t, then head 1 of token t, and so on")
    return "merge undoes split"


@exercise(
    "03.3",
    title="Self- or cross-attention",
    minutes=6,
    difficulty=3,
    hints=(
        "Who asks, and who is asked? The output has one row for each token that asks.",
        "Queries come from `target`, keys and values from `source`. The mask is over keys, so it is made from the "
        "lengths of the source, as in notebook 02.",
        "`mask = padding_mask(source_lengths, source.shape[1])`, then "
        "`attention(target, source, source, mask=mask)[0]`.",
    ),
    reference=f"{_HERE}:cross_attend",
)
def judge_cross_attend(answer):
    cross_attend = function(answer, "cross_attend")
    # Equal lengths first: whatever is swapped then still runs, and can be named.
    for seed, (query_len, key_len, lengths) in enumerate([(5, 5, [2, 3, 4]), (3, 7, [2, 6, 5]), (7, 2, [1, 2, 1])]):
        attention = _Attention(d_model=6, num_heads=2, seed=seed)
        target, source = random_tensor(seed + 20, 3, query_len, 6), random_tensor(seed + 30, 3, key_len, 6)
        source_lengths = torch.tensor(lengths)
        result = call(cross_attend, attention, target, source, source_lengths)
        found = tensor(result[0] if isinstance(result, tuple | list) and len(result) == 2 else result)
        reject_if(
            found.shape == source.shape and query_len != key_len,
            f"the result has {key_len} rows, one for each source token; it is the {query_len} target tokens that ask",
            "swapped",
        )
        reject_if(
            found.shape != target.shape,
            f"the result has shape {tuple(found.shape)}; one row of {6} numbers for each target token, "
            f"{tuple(target.shape)}, is asked for",
            "shape",
        )
        _compare_cross(found, attention, target, source, source_lengths)
    return "the target asks, the real tokens of the source answer"


def _compare_cross(found: Tensor, attention: _Attention, target: Tensor, source: Tensor, lengths: Tensor) -> None:
    query_len, key_len = target.shape[1], source.shape[1]
    real = (torch.arange(key_len) < lengths[:, None])[:, None, :]  # [batch, 1, key]
    inverted = ~real
    with torch.no_grad():
        right = attention(target, source, mask=real)[0]
        mistakes = [
            Mistake(
                attention(target, source)[0],
                "no-mask",
                "padding is attended to: the keys of each row end at its `source_lengths`, so pass a mask",
            ),
            Mistake(
                attention(target, source, mask=inverted)[0],
                "mask-inverted",
                "only the padding is attended to: in a mask of this course True means may attend",
            ),
            Mistake(
                attention(target)[0],
                "self-attention",
                "this is self-attention: the target asks itself, and nothing of the source comes in",
            ),
        ]
        if query_len == key_len:
            causal = torch.ones(query_len, key_len, dtype=torch.bool).tril()
            for mask in (None, real):
                mistakes += [
                    Mistake(
                        attention(source, target, mask=mask)[0],
                        "swapped",
                        "queries come from the source here; it is the target that asks, so it goes in as the query",
                    ),
                    Mistake(
                        attention(target, source, target, mask=mask)[0],
                        "values-of-target",
                        "the keys are those of the source and the values those of the target: what is found under a "
                        "key must be of the same token, so both come from the source",
                    ),
                    Mistake(
                        attention(target, target, source, mask=mask)[0],
                        "keys-of-target",
                        "the values are those of the source and the keys those of the target: both come from the "
                        "source",
                    ),
                    Mistake(
                        attention(target, source, mask=causal if mask is None else causal & mask)[0],
                        "causal",
                        "the mask is causal: the whole source is known before the first target token is produced, "
                        "so only its padding is forbidden",
                    ),
                    Mistake(
                        attention(target, mask=real)[0],
                        "self-attention",
                        "this is self-attention: the target asks itself, and nothing of the source comes in",
                    ),
                ]
    compare(found, right, mistakes, "the result is not attention from the target to the real tokens of the source")


@exercise(
    "03.4",
    title="Share key-value heads",
    minutes=4,
    difficulty=2,
    hints=(
        "With 6 query heads and 2 key-value heads, which key-value head serves the query heads 0, 1, 2, 3, 4, 5?",
        "Heads 0, 1, 2 share the first and 3, 4, 5 the second: every key-value head is repeated, each in its place. "
        "Which of `repeat` and `repeat_interleave` does that?",
        "`x.repeat_interleave(num_heads // x.shape[1], dim=1)`",
    ),
    reference=f"{_HERE}:repeat_kv",
)
def judge_repeat_kv(answer):
    repeat_kv = function(answer, "repeat_kv")
    for seed, (num_kv_heads, group) in enumerate([(2, 3), (5, 2), (1, 7), (3, 1)]):
        x = random_tensor(seed, 2, num_kv_heads, 11, 13)
        num_heads = num_kv_heads * group
        found = tensor(call(repeat_kv, x, num_heads))
        wanted = (2, num_heads, 11, 13)
        reject_if(
            found.shape == (2, num_kv_heads * num_heads, 11, 13) and group > 1 and num_kv_heads > 1,
            f"each of the {num_kv_heads} key-value heads was repeated {num_heads} times; each serves only "
            f"{num_heads} / {num_kv_heads} = {group} query heads",
            "times-num-heads",
        )
        repeated = tuple(found.shape) in {(2 * group, num_kv_heads, 11, 13), (2, num_kv_heads, 11 * group, 13),
                                          (2, num_kv_heads, 11, 13 * group)}  # fmt: skip
        reject_if(
            found.shape != wanted and repeated,
            f"another axis was repeated: {tuple(x.shape)} became {tuple(found.shape)}; the heads are axis 1",
            "wrong-axis",
        )
        reject_if(
            found.shape != wanted,
            f"{num_kv_heads} key-value heads for {num_heads} query heads give {tuple(found.shape)} instead of {wanted}",
            "shape",
        )
        served = [head // group for head in range(num_heads)]
        tiled = [head % num_kv_heads for head in range(num_heads)]
        mistakes = [
            Mistake(
                x[:, tiled],
                "tiled",
                f"the query heads use the key-value heads in the order {tiled}; neighbours share: {served}. "
                "`repeat` copies the whole row of heads, `repeat_interleave` each head in its place",
            ),
            Mistake(
                x.mean(dim=1, keepdim=True).expand(wanted),
                "averaged",
                "all query heads got the average of the key-value heads; each is served by one of them",
            ),
        ]
        compare(found, x[:, served], mistakes, f"the query heads should use the key-value heads {served}")
    return "neighbouring query heads share one key-value head, as enable_gqa=True has it"


@exercise(
    "03.5",
    title="Count the parameters",
    minutes=6,
    difficulty=3,
    hints=(
        "There are four linear maps. How many rows and columns does each have? Does cutting its result into heads "
        "change that?",
        "W_Q: d_model × d_model. W_K and W_V: d_model × (num_kv_heads · d_k), with d_k = d_model / num_heads. "
        "W_O: d_model × d_model. Each bias has as many numbers as its map has outputs.",
        "With `kv = num_kv_heads * d_model // num_heads`, the weights are `2 * d_model**2 + 2 * d_model * kv` and the "
        "biases `2 * d_model + 2 * kv`.",
    ),
    reference=f"{_HERE}:mha_parameters",
)
def judge_mha_parameters(answer):
    count = function(answer, "mha_parameters")
    cases = [(35, 5, None, False), (35, 5, None, True), (35, 5, 5, True), (66, 6, 2, False), (66, 6, 3, True),
             (91, 7, 1, True)]  # fmt: skip
    for d_model, num_heads, num_kv_heads, bias in cases:
        found = number(call(count, d_model, num_heads, num_kv_heads, bias), "the number of parameters")
        right = _parameters(d_model, num_heads, num_kv_heads, bias)
        d_k = d_model // num_heads
        kv = (num_kv_heads or num_heads) * d_k
        weights, biases = 2 * d_model**2 + 2 * d_model * kv, 2 * d_model + 2 * kv
        known = {
            "times-heads": (
                [num_heads * right, num_heads * 4 * d_model**2, num_heads * 3 * d_model**2 + d_model**2],
                f"you count full d_model × d_model maps for each head; {num_heads} heads share the maps, and each owns "
                f"{d_k} of the {d_model} outputs",
            ),
            "one-head": (
                [4 * d_model * d_k, 4 * d_model * d_k + 4 * d_k, 3 * d_model * d_k],
                f"these are the maps of one head, with {d_k} outputs; {num_heads} heads have {d_model} together",
            ),
            "no-output-map": (
                [weights - d_model**2, weights - d_model**2 + biases - d_model, weights - d_model**2 + biases],
                "the map W_O, which mixes the merged heads, is missing",
            ),
            "ignores-kv-heads": (
                [4 * d_model**2 + (4 * d_model if bias else 0)],
                "keys and values get fewer maps with fewer key-value heads: their width is num_kv_heads · d_k",
            ),
            "shrinks-all": (
                [4 * d_model * kv + (4 * kv if bias else 0)] if kv < d_model else [],
                "only keys and values are shared: W_Q and W_O keep d_model outputs",
            ),
            "no-bias": ([weights] if bias else [], "with bias=True each map has one more number for each output"),
            "always-bias": ([weights + biases] if not bias else [], "with bias=False there are no biases to count"),
            "bias-of-kv-full": (
                [weights + 4 * d_model] if bias else [],
                "the biases of keys and values are as short as their outputs, num_kv_heads · d_k",
            ),
        }
        for name, (wrong, message) in known.items():
            reject_if(found != right and found in wrong, message, name)
        reject_if(
            found != right,
            f"for d_model={d_model}, num_heads={num_heads}, num_kv_heads={num_kv_heads}, bias={bias} you count "
            f"{found:,.0f} and the module has {right:,}",
            "value",
        )
    return "the number of heads alone changes nothing; fewer key-value heads make W_K and W_V narrower"


def _parameters(d_model: int, num_heads: int, num_kv_heads: int | None, bias: bool) -> int:
    """What torch's modules hold; on the device `meta`, without memory."""
    if num_kv_heads in (None, num_heads):
        module: nn.Module = nn.MultiheadAttention(d_model, num_heads, bias=bias, device="meta")
    else:
        outputs = (d_model, num_kv_heads * (d_model // num_heads), num_kv_heads * (d_model // num_heads), d_model)
        module = nn.ModuleList(nn.Linear(d_model, width, bias=bias, device="meta") for width in outputs)
    return sum(parameter.numel() for parameter in module.parameters())


@exercise(
    "03.6",
    title="Silence a head with a hook",
    minutes=8,
    difficulty=4,
    hints=(
        "Where in the module do all heads of a token stand side by side, each in a block of its own, before they are "
        "mixed?",
        "The input of `out_proj` is the merged heads. A forward pre-hook gets the inputs of a module as a tuple and "
        "may return other ones: set the block of the head to 0 in a copy, and return the copy in a tuple.",
        "`heads = inputs[0].clone()`, `heads[..., head * d_k : (head + 1) * d_k] = 0`, `return (heads,)`; and the "
        "function returns `attention.out_proj.register_forward_pre_hook(...)`.",
    ),
    reference=f"{_HERE}:ablate_head",
)
def judge_ablate_head(answer):
    ablate = function(answer, "ablate_head")
    query = random_tensor(40, 2, 7, 15)
    for head in (1, 0, 2):
        attention = _Attention(d_model=15, num_heads=3, seed=head)
        weights_before = {name: parameter.clone() for name, parameter in attention.named_parameters()}
        with torch.no_grad():
            before = attention(query)[0]
            mistakes = _ablation_mistakes(attention, query, head, before)
            merged = attention.heads(*_projected(attention, query))[0]
            block = slice(5 * head, 5 * head + 5)
            right = before - merged[..., block] @ attention.out_proj.weight[:, block].T
        handle = call(ablate, attention, head)
        for name, parameter in attention.named_parameters():
            reject_if(
                not torch.equal(parameter, weights_before[name]),
                f"the parameter `{name}` was changed: a hook acts while the module runs and can be taken away; the "
                "weights stay as they are",
                "edits-weights",
            )
        reject_if(
            not callable(getattr(handle, "remove", None)),
            f"a value of type {type(handle).__name__} came back; return the handle that `register_forward_pre_hook` "
            "gives you, so that the hook can be removed",
            "no-handle",
        )
        with torch.no_grad():
            found = tensor(call(lambda x, module=attention: module(x)[0], query), before.shape)
            compare(found, right, mistakes, f"with head {head} of 3 silenced the output is not that of the other two")
            call(lambda handle=handle: [handle.remove()])
            after = tensor(call(lambda x, module=attention: module(x)[0], query), before.shape)
        reject_if(
            not close(after, before),
            "after `handle.remove()` the output is not as before: leave nothing behind in the module",
            "not-removable",
        )
    return "the head is silent while the hook is there, and speaks again when it is removed"


def _projected(attention: _Attention, x: Tensor) -> list[Tensor]:
    return [attention.get_submodule(f"{name}_proj")(x) for name in "qkv"]


def _ablation_mistakes(attention: _Attention, query: Tensor, head: int, before: Tensor) -> list[Mistake]:
    q, k, v = _projected(attention, query)
    merged = attention.heads(q, k, v)[0]
    block = torch.zeros(15, dtype=torch.bool)
    block[5 * head : 5 * head + 5] = True

    def without(places: Tensor) -> Tensor:
        return attention.out_proj(merged.masked_fill(places, 0))

    alternate = torch.arange(15) % 3 == head
    return [
        Mistake(
            before,
            "no-effect",
            "the output is as before: a hook changes something only if it returns the new value",
        ),
        Mistake(
            before.masked_fill(block, 0),
            "after-the-output-map",
            "a block of the output was set to 0; W_O has mixed all heads there. Catch the heads before `out_proj`",
        ),
        *(
            Mistake(without(block.roll(5 * step)), "another-head", f"another head than head {head} is silent: heads "
                    "are counted from 0, and head i has the block from i · d_k to (i + 1) · d_k")
            for step in (1, 2)
        ),
        Mistake(without(~block), "keeps-only", f"head {head} is the only one that still speaks; silence it alone"),
        Mistake(without(torch.ones_like(block)), "all-heads", "all heads are silent, only the bias of W_O is left"),
        Mistake(
            without(alternate),
            "interleaved",
            "every third number is 0: a head is a block of d_k neighbouring numbers",
        ),
        *(
            Mistake(
                attention.out_proj(attention.heads(*changed)[0]),
                "queries-or-keys",
                "the queries or keys of the head are 0: its scores are then all equal, and it still speaks, with the "
                "average of all values. Silence what it gives: its values, or its output",
            )
            for changed in ((q.masked_fill(block, 0), k, v), (q, k.masked_fill(block, 0), v))
        ),
    ]  # fmt: skip


quiz(
    "03",
    Question(
        "A layer with d_model = 512 is built with 16 heads in place of 8. How many parameters does it have?",
        (
            Choice("Twice as many", "The maps have the same size; their outputs are cut into narrower blocks."),
            Choice("As many as before", "Four maps of 512 × 512 and their biases, whatever the number of heads."),
            Choice("Half as many", "Each head is half as wide, and there are twice as many of them."),
        ),
        right=1,
    ),
    Question(
        "`x` has shape (batch, length, d_model). What is wrong with `x.reshape(batch, num_heads, length, d_k)`?",
        (
            Choice("Nothing", "The shape is right, the contents are not: change one token and see which heads move."),
            Choice("It raises an error", "It does not: the number of elements fits, which makes it hard to find."),
            Choice(
                "Each head gets some of the tokens, not a block of every token",
                "A reshape keeps the order in memory, token after token. Cut the last axis, then transpose.",
            ),
        ),
        right=2,
    ),
    Question(
        "In cross-attention, 5 French tokens ask 7 English ones, with 4 heads. Which shape have the weights of one "
        "sentence?",
        (
            Choice("(4, 5, 7)", "Heads, queries, keys; every row of every head sums to 1."),
            Choice("(4, 7, 5)", "Rows are queries, and it is the French tokens that ask."),
            Choice("(5, 7)", "Each head has weights of its own. That is the point of heads."),
            Choice("(4, 12, 12)", "The two sequences are not joined: French asks, English answers."),
        ),
        right=0,
    ),
    Question(
        "One head can put weight on several tokens. Why can it not replace two heads?",
        (
            Choice(
                "It mixes all numbers of the values with the same weights",
                "What it takes of one token, it takes of all the numbers of that token. Two heads have two rows.",
            ),
            Choice("It has fewer parameters", "It has exactly as many."),
            Choice("Its weights do not sum to 1", "They do; that they must share this one 1 is the trouble."),
        ),
        right=0,
    ),
    Question(
        "A layer has 32 query heads and 8 key-value heads. What is smaller than with 32 of both?",
        (
            Choice("The number of attention weights", "There is one matrix of weights for each of 32 query heads."),
            Choice(
                "The maps W_K and W_V, and the keys and values to be stored",
                "A quarter of each. That is what counts when text is generated token by token.",
            ),
            Choice("The width of a head", "d_k = d_model / 32 in both."),
        ),
        right=1,
    ),
)
