"""Notebook 10: published names and ours, what loading goes wrong with, the pooler, and batches without padding."""

import torch
from torch import Tensor, nn

from .engine import Choice, Question, exercise, quiz
from .judging import Mistake, call, close, compare, function, number, random_tensor, reject_if, tensor

_HERE = "course_lib.exercises.references.real_weights"

# --- 10.1 ---------------------------------------------------------------------------------------------------

_LAYER = (
    ("attention.self.query", "attention.q_proj"),
    ("attention.self.key", "attention.k_proj"),
    ("attention.self.value", "attention.v_proj"),
    ("attention.output.dense", "attention.out_proj"),
    ("attention.output.LayerNorm", "attention_norm"),
    ("intermediate.dense", "feed_forward.up"),
    ("output.dense", "feed_forward.down"),
    ("output.LayerNorm", "feed_forward_norm"),
)
_TABLES = (("word_embeddings", "token"), ("position_embeddings", "position"), ("token_type_embeddings", "segment"))


def _names(layers: tuple[int, ...]) -> dict[str, str]:
    """Published names of an encoder with these layers, and ours."""
    pairs = {f"embeddings.{theirs}.weight": f"embeddings.{ours}.weight" for theirs, ours in _TABLES}
    for kind in ("weight", "bias"):
        pairs[f"embeddings.LayerNorm.{kind}"] = f"embeddings.norm.{kind}"
        pairs[f"pooler.dense.{kind}"] = f"pooler.dense.{kind}"
        for layer in layers:
            for theirs, ours in _LAYER:
                pairs[f"encoder.layer.{layer}.{theirs}.{kind}"] = f"blocks.{layer}.{ours}.{kind}"
    return pairs


def _old(name: str) -> str:
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")


@exercise(
    "10.1",
    title="The key mapper",
    minutes=8,
    difficulty=3,
    hints=(
        "Split the name at its dots. Which pieces say where the tensor stands, which say what it is, and which one is "
        "the number of the layer?",
        "Take off `bert.`, then the last piece (weight, bias, gamma, beta). What is left is looked up as a whole in a "
        "dictionary: one of eight parts for `encoder.layer.N.`, one of four for `embeddings.`, or the pooler.",
        '`_, _, number, part = path.split(".", 3)` splits `encoder.layer.10.output.dense` into the number and the '
        'part; then `f"blocks.{number}.{PARTS[part]}.{kind}"`, with '
        '`kind = {"gamma": "weight", "beta": "bias"}.get(kind, kind)`.',
    ),
    reference=f"{_HERE}:our_name",
)
def judge_our_name(answer):
    our_name = function(answer, "our_name")
    for layers in ((0, 3), (10, 11, 23)):
        for published, ours in _names(layers).items():
            _judge_name(call_name(our_name, published), published, ours)
    for published, ours in _names((0, 11)).items():
        found = call_name(our_name, f"bert.{published}")
        if found != ours:
            reject_if(
                found is None or "bert." in str(found),
                f"`bert.{published}` becomes {found!r}: files with heads put `bert.` in front of every name of the "
                "encoder; take it off first",
                "prefix",
            )
            _judge_name(found, f"bert.{published}", ours)
        old = _old(published)
        if old != published:
            found = call_name(our_name, old)
            swapped = ours.replace("weight", "bias") if ours.endswith("weight") else ours.replace("bias", "weight")
            reject_if(
                found == swapped,
                f"`{old}` becomes `{found}`: gamma multiplies, so it is the weight; beta is added, so it is the bias",
                "gamma-beta-swapped",
            )
            reject_if(
                found != ours,
                f"`{old}` becomes {found!r}: files of BERT's first days call the weight of a LayerNorm gamma and its "
                f"bias beta; it is `{ours}`",
                "old-names",
            )
    for published in ("embeddings.position_ids", "cls.predictions.bias", "cls.seq_relationship.weight"):
        found = call_name(our_name, published, may_be_none=True)
        reject_if(
            found is not None,
            f"`{published}` becomes {found!r}: our encoder has no such parameter; return None for it",
            "no-place",
        )
    return "every name of the encoder, with and without `bert.`, old and new, and None for what has no place"


def call_name(our_name, published: str, may_be_none: bool = False):
    """What the learner's mapper says of one name."""
    box = call(lambda name: [our_name(name)], published)  # in a list, as None is an answer here
    reject_if(
        box[0] is not None and not isinstance(box[0], str),
        f"`{published}` gives a value of type {type(box[0]).__name__}; a name or None is asked for",
        "wrong-type",
    )
    reject_if(
        box[0] is None and not may_be_none,
        f"`{published}` gives None, but our encoder has a parameter for it",
        "no-name",
    )
    return box[0]


def _judge_name(found: str | None, published: str, ours: str) -> None:
    if found == ours:
        return
    reject_if(found == published, f"`{published}` comes back as it is; ours is called `{ours}`", "not-renamed")
    reject_if(
        found == f"bert.{ours}", f"`{published}` becomes `{found}`: our Bert's names have no `bert.`", "extra-prefix"
    )
    numbers = [next((piece for piece in name.split(".") if piece.isdigit()), "") for name in (found or "", ours)]
    reject_if(
        numbers[0] != numbers[1],
        f"`{published}` becomes `{found}`: the number of the layer is {numbers[1] or 'not in it'}"
        + (", all its digits" if len(numbers[1]) > 1 else ""),
        "layer-number",
    )
    reject_if(
        "attention.output" in published and "feed_forward" in (found or ""),
        f"`{published}` becomes `{found}`: `attention.output` belongs to the attention, a bare `output` to the "
        "feed-forward layer; `output` is a part of both names, so compare whole parts",
        "two-outputs",
    )
    reject_if(
        ".output." in published and "attention.output" not in published and "attention" in (found or ""),
        f"`{published}` becomes `{found}`: without `attention.` in front, `output` is the second half of the "
        "feed-forward layer",
        "two-outputs",
    )
    for one, other in (("q_proj", "k_proj"), ("q_proj", "v_proj"), ("k_proj", "v_proj"), ("up", "down")):
        reject_if(
            found in (ours.replace(one, other), ours.replace(other, one)),
            f"`{published}` becomes `{found}`; it is `{ours}`",
            "mixed-up",
        )
    reject_if(True, f"`{published}` becomes {found!r}; it is `{ours}`", "value")


# --- 10.2 ---------------------------------------------------------------------------------------------------


@exercise(
    "10.2",
    title="The first release",
    minutes=7,
    difficulty=3,
    hints=(
        "Which of these tensors is multiplied with a vector, and which is a table that rows are taken from? Only the "
        "first kind depends on whether one writes x W or W x.",
        "A `kernel` was stored as [in, out] and nn.Linear wants [out, in]: transpose it, also where it is square. An "
        "embedding table keeps its shape and gets `.weight` behind its name. gamma and beta are vectors: only renamed.",
        '`path, _, kind = old.replace("/", ".").replace("layer_", "layer.").rpartition(".")`, then '
        '`if kind == "kernel": kind, tensor = "weight", tensor.T` and '
        '`elif kind.endswith("_embeddings"): path, kind = f"{path}.{kind}", "weight"`.',
    ),
    reference=f"{_HERE}:from_first_release",
)
def judge_first_release(answer):
    convert = function(answer, "from_first_release")
    old, right = _first_release(seed=1, layers=(0, 11))
    given = {name: value.clone() for name, value in old.items()}
    found = call(convert, given)
    reject_if(
        given.keys() != old.keys() or any(not torch.equal(value, given[name]) for name, value in old.items()),
        "the state you were given has changed: make a new dictionary, because the caller still needs the old one",
        "in-place",
    )
    reject_if(not isinstance(found, dict), "a dictionary from names to tensors is asked for", "wrong-type")
    for name, (value, was) in right.items():
        if name not in found:
            _reject_old_name(name, was, found)
        result = tensor(found[name], what=f"`{name}`")
        source = old[was].double()
        if close(result, value.double()):
            continue
        reject_if(
            close(result, source) and was.endswith("kernel") and value.shape[0] != value.shape[1],
            f"`{was}` is stored as [in, out] = {list(source.shape)}; nn.Linear holds [out, in]: transpose it",
            "not-transposed",
        )
        reject_if(
            close(result, source) and was.endswith("kernel"),
            f"`{was}` is square, so that its shape does not say it, but it is [in, out] like every kernel: transpose "
            "it too. It would load without a complaint and compute something else",
            "square-not-transposed",
        )
        reject_if(
            was.endswith("_embeddings") and close(result, source.T),
            f"`{was}` is a table with one row for each token: it is not transposed, only `kernel`s are",
            "table-transposed",
        )
        if "LayerNorm" in name:
            other = name.replace("weight", "bias") if name.endswith("weight") else name.replace("bias", "weight")
            reject_if(
                close(result, right[other][0].double()),
                f"`{name}` has the numbers of `{right[other][1]}`: gamma is the weight, beta the bias",
                "gamma-beta-swapped",
            )
        reject_if(True, f"`{name}` has other numbers than `{was}`", "value")
    extra = sorted(set(found) - set(right))
    reject_if(bool(extra), f"{len(extra)} names too many, the first is {extra[0] if extra else ''!r}", "extra-names")
    return "today's names, kernels transposed (square ones too), tables as they were"


def _first_release(seed: int, layers: tuple[int, ...]) -> tuple[dict[str, Tensor], dict[str, tuple[Tensor, str]]]:
    """A state of the first release, and today's with the old name of each."""
    d_model, d_ff = 5, 11
    rows = {"word_embeddings": 13, "position_embeddings": 7, "token_type_embeddings": 2}
    old: dict[str, Tensor] = {}
    today: dict[str, tuple[Tensor, str]] = {}

    def add(old_name: str, new_name: str, *shape: int, transpose: bool = False) -> None:
        value = random_tensor(100 * seed + len(old), *shape)
        old[old_name] = value
        today[new_name] = (value.T if transpose else value), old_name

    def norm(path: str, new_path: str) -> None:
        add(f"{path}/LayerNorm/gamma", f"{new_path}.LayerNorm.weight", d_model)
        add(f"{path}/LayerNorm/beta", f"{new_path}.LayerNorm.bias", d_model)

    def dense(path: str, new_path: str, size_in: int, size_out: int) -> None:
        add(f"{path}/kernel", f"{new_path}.weight", size_in, size_out, transpose=True)
        add(f"{path}/bias", f"{new_path}.bias", size_out)

    for table, count in rows.items():
        add(f"bert/embeddings/{table}", f"bert.embeddings.{table}.weight", count, d_model)
    norm("bert/embeddings", "bert.embeddings")
    for layer in layers:
        path, new_path = f"bert/encoder/layer_{layer}", f"bert.encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            dense(f"{path}/attention/self/{part}", f"{new_path}.attention.self.{part}", d_model, d_model)
        dense(f"{path}/attention/output/dense", f"{new_path}.attention.output.dense", d_model, d_model)
        norm(f"{path}/attention/output", f"{new_path}.attention.output")
        dense(f"{path}/intermediate/dense", f"{new_path}.intermediate.dense", d_model, d_ff)
        dense(f"{path}/output/dense", f"{new_path}.output.dense", d_ff, d_model)
        norm(f"{path}/output", f"{new_path}.output")
    dense("bert/pooler/dense", "bert.pooler.dense", d_model, d_model)
    return old, today


def _reject_old_name(name: str, was: str, found: dict) -> None:
    """Say why today's `name` is not among the names of the answer."""
    dotted = was.replace("/", ".")
    reject_if(was in found, f"`{was}` comes back under its old name; today it is `{name}`", "not-renamed")
    reject_if(
        dotted in found or dotted.replace("layer_", "layer.") in found,
        f"`{was}` has dots now, but today's name is `{name}`",
        "not-renamed",
    )
    reject_if(
        name.replace("layer.", "layer_") in found,
        f"`{name.replace('layer.', 'layer_')}`: today the number is a part of its own, `{name}`",
        "layer-number",
    )
    reject_if(
        name.removeprefix("bert.") in found,
        f"`{name.removeprefix('bert.')}`: keep `bert.` in front, as files with heads have it",
        "prefix",
    )
    reject_if(True, f"`{was}` should become `{name}`, which is not among your names", "missing")


# --- 10.3 ---------------------------------------------------------------------------------------------------


@exercise(
    "10.3",
    title="Count the parameters of BERT",
    minutes=6,
    difficulty=2,
    hints=(
        "Three things: what stands before the blocks, the blocks, what stands behind them. Which tables and which "
        "norm make up the first?",
        "Embeddings: three tables with d_model columns, and one norm. A block: as in notebook 05, 4 (d² + d) for the "
        "attention, 2 d f + f + d for the feed-forward layer, and two norms of 2 d. Behind them: the pooler, one "
        "square linear map.",
        "`(vocab_size + max_len + num_segments) * d_model + 2 * d_model`, plus num_layers blocks, plus "
        "`d_model**2 + d_model` for the pooler.",
    ),
    reference=f"{_HERE}:bert_parameters",
)
def judge_bert_parameters(answer):
    count = function(answer, "bert_parameters")
    for vocab, d, layers, f, length, segments in [(101, 6, 5, 7, 13, 3), (37, 10, 3, 23, 11, 2)]:
        parts = _bert_parts(vocab, d, f, length, segments)
        block, norm = parts["block"], 2 * d
        right = sum(parts.values()) + (layers - 1) * block
        found = number(call(count, vocab, d, layers, f, length, segments), "the number of parameters")
        biases = layers * (4 * d + f + d)
        mistakes = [
            (right - parts["pooler"], "no-pooler", f"the pooler is missing: d_model² + d_model = {parts['pooler']:,}"),
            (right - norm, "no-embedding-norm", "the embeddings have a norm of their own: 2 · d_model"),
            (right - length * d, "no-positions", "the table of positions is missing: max_len · d_model"),
            (right - segments * d, "no-segments", "the table of segments is missing: num_segments · d_model"),
            (
                right - (length + segments) * d,
                "one-table",
                "only the token table is counted; positions and segments have tables too",
            ),
            (
                right - (layers - 1) * block,
                "one-layer",
                f"one block is counted; there are {layers}, each with weights of its own",
            ),
            (right - layers * 2 * norm, "no-norms", "each block has two norms of 2 · d_model"),
            (right - layers * norm, "one-norm", "each block has two norms, and one is counted"),
            (right - biases, "no-biases", "the biases of the blocks' linear maps are missing"),
            (right - biases - d, "no-biases", "the biases of the linear maps are missing, the pooler's too"),
            (
                right + vocab * d,
                "embedding-twice",
                "the token table is counted twice: the head for masked tokens reads the same table, and is no part of "
                "this count anyway",
            ),
            (
                right + norm,
                "last-norm",
                "there is a norm too many: post-norm blocks end with one, so nothing is needed behind the last",
            ),
        ]
        for value, name, message in mistakes:
            reject_if(found == value, message, name)
        sizes = f"vocab_size={vocab}, d_model={d}, {layers} layers, d_ff={f}, max_len={length}, {segments} segments"
        _reject_count(found, right, sizes)
    for sizes, right in _KNOWN_COUNTS.items():
        found = number(call(count, *sizes), "the number of parameters")  # max_len and num_segments by default
        _reject_count(found, right, "vocab_size={}, d_model={}, {} layers, d_ff={}".format(*sizes))
    return "22,713,216 for MiniLM and 109,482,240 for BERT-base, and torch counts the same"


# vocab_size, d_model, num_layers, d_ff of MiniLM-L6 and of BERT-base, and what is published of them.
_KNOWN_COUNTS = {(30522, 384, 6, 1536): 22_713_216, (30522, 768, 12, 3072): 109_482_240}


def _reject_count(found: float, right: int, sizes: str) -> None:
    reject_if(
        found != right,
        f"for {sizes} there are {right:,} and you count {found:,.10g}, {abs(found - right):,.10g} too "
        f"{'many' if found > right else 'few'}",
        "value",
    )


def _bert_parts(vocab: int, d: int, f: int, length: int, segments: int) -> dict[str, int]:
    """Parameters of the parts of BERT, counted in torch's own modules."""
    modules = {
        "token": nn.Embedding(vocab, d),
        "position": nn.Embedding(length, d),
        "segment": nn.Embedding(segments, d),
        "norm": nn.LayerNorm(d),
        "block": nn.TransformerEncoderLayer(d, 1, f),
        "pooler": nn.Linear(d, d),
    }
    return {name: sum(parameter.numel() for parameter in module.parameters()) for name, module in modules.items()}


# --- 10.4 ---------------------------------------------------------------------------------------------------


@exercise(
    "10.4",
    title="Find the wrong layer",
    minutes=6,
    difficulty=3,
    hints=(
        "A fault in one block changes every state after it. Which of the states that differ points at the block?",
        "Go through the pairs from the first on and return the index of the first that differs by more than the "
        "tolerance. Compare real tokens only: what stands at padding means nothing.",
        "`real = mask.bool()`; in a loop over `enumerate(zip(ours, theirs))`: "
        "`if (mine[real] - other[real]).abs().max() > tolerance: return index`; behind the loop, `return None`.",
    ),
    reference=f"{_HERE}:first_wrong_state",
)
def judge_first_wrong_state(answer):
    find = function(answer, "first_wrong_state")
    for seed, (num_states, wrong) in enumerate([(9, 4), (5, 0), (7, None), (4, 3), (13, 1)]):
        ours, theirs, mask, sizes = _states(seed, num_states, wrong)
        _judge_index(_found_state(find, ours, theirs, mask), num_states, wrong, sizes)
    ours, theirs, mask, _ = _states(9, 5, 2)
    found = _found_state(find, ours, theirs, mask, tolerance=1e9)
    reject_if(
        found is not None,
        "with `tolerance=1e9` nothing differs, and you still name a state: use the argument",
        "tolerance",
    )
    return "the first state that differs at a real token; state 0 is the embeddings, state k the output of block k - 1"


def _found_state(find, ours: list[Tensor], theirs: list[Tensor], mask: Tensor, **keywords):
    """What the learner's function says; it gets copies, and may not change them either."""
    given = [state.clone() for state in ours], [state.clone() for state in theirs]
    box = call(lambda mask: [find(*given, mask, **keywords)], mask)  # in a list, as None is an answer here
    same = all(torch.equal(one, other) for one, other in zip([*ours, *theirs], [*given[0], *given[1]], strict=True))
    reject_if(not same, "a state was changed in place: work on a copy, because the caller still needs it", "in-place")
    return box[0]


def _states(seed: int, num_states: int, wrong: int | None):
    """States of two models, the first different one being `wrong`; at padding they always differ."""
    batch, length, d_model = 3, 5, 7
    mask = (torch.arange(length) < torch.tensor([5, 2, 3])[:, None]).long()
    theirs = [random_tensor(100 * seed + i, batch, length, d_model) for i in range(num_states)]
    ours, sizes = [], []
    for i, state in enumerate(theirs):
        noise = random_tensor(100 * seed + i + 50, batch, length, d_model).clamp(-3, 3)
        # The difference is largest two states behind the fault, and rounding noise before it.
        size = 1e-6 if wrong is None or i < wrong else (9.0 if i == min(wrong + 2, num_states - 1) else 0.5)
        sizes.append(size)
        ours.append(state + size * noise + 20 * (1 - mask)[..., None])
    return ours, theirs, mask, sizes


def _judge_index(found, num_states: int, wrong: int | None, sizes: list[float]) -> None:
    if found is None and wrong is None:
        return
    reject_if(
        found is None,
        f"the states differ from number {wrong} on and you return None: is there a `return` inside the loop?",
        "none",
    )
    reject_if(isinstance(found, bool), "an index or None is asked for, not True or False", "wrong-type")
    value = number(found, "the index")
    if wrong is None:
        reject_if(
            value == 0,
            "all states agree at real tokens up to 1e-6, and you name state 0. Padding is not compared, and rounding "
            "is no fault: use the mask and the tolerance",
            "padding-or-rounding",
        )
        reject_if(True, f"all states agree and you return {value:g}: return None then", "not-none")
    if value == wrong:
        return
    reject_if(
        value == 0 and wrong > 0,
        f"state 0 agrees at real tokens up to 1e-6; the first that differs is number {wrong}. Padding is not compared, "
        "and rounding is no fault: use the mask and the tolerance",
        "padding-or-rounding",
    )
    reject_if(
        value == sizes.index(max(sizes)),
        f"state {value:g} differs most, but state {wrong} differs already: what comes behind a fault inherits it",
        "largest",
    )
    reject_if(value == num_states - 1, f"that is the last state that differs; the first is number {wrong}", "last")
    reject_if(
        value == wrong - 1,
        f"you return {value:g}, a block; the index of the state is asked for, {wrong}, counting the embeddings as 0",
        "block-number",
    )
    reject_if(value == wrong + 1, f"one too many: the states count from 0, so it is {wrong}", "off-by-one")
    reject_if(True, f"you return {value:g}; the first state that differs is number {wrong}", "value")


# --- 10.5 ---------------------------------------------------------------------------------------------------


@exercise(
    "10.5",
    title="The pooler",
    minutes=4,
    difficulty=2,
    hints=(
        "The pooler turns a whole sequence into one vector without averaging. Which token was put there for that?",
        "Take the first token of each sequence, [CLS]; one linear map, as nn.Linear computes it from its weight; tanh.",
        "`torch.tanh(hidden[:, 0] @ weight.T + bias)`.",
    ),
    reference=f"{_HERE}:pooler",
)
def judge_pooler(answer):
    pool = function(answer, "pooler")
    for seed, (batch, length, d) in enumerate([(3, 5, 7), (2, 7, 7), (5, 1, 3)]):
        hidden = random_tensor(seed, batch, length, d)
        weight, bias = random_tensor(seed + 10, d, d) / d**0.5, random_tensor(seed + 20, d)
        found = tensor(call(pool, hidden, weight, bias))
        h, w, b = hidden.double(), weight.double(), bias.double()
        z = h[:, 0] @ w.T + b
        mistakes = [
            Mistake(z, "no-tanh", "the linear map is right; tanh is missing"),
            Mistake(
                torch.tanh(h[:, 0] @ w + b),
                "not-transposed",
                "you compute x W; nn.Linear holds its weight as [out, in] and computes x Wᵀ. W is square, so no shape "
                "complains",
            ),
            Mistake(torch.tanh(h[:, 0] @ w.T), "no-bias", "the bias is missing"),
            Mistake(
                torch.tanh(h.mean(1) @ w.T + b),
                "mean",
                "you average all tokens; BERT's pooler reads the first one alone, [CLS]",
            ),
            Mistake(torch.tanh(h[:, -1] @ w.T + b), "last-token", "you take the last token; [CLS] is the first"),
            Mistake(
                torch.tanh(h.amax(1) @ w.T + b), "max", "you take the largest of each feature; [CLS] alone is read"
            ),
            Mistake(torch.sigmoid(z), "other-activation", "this is the sigmoid, between 0 and 1; BERT has tanh"),
            Mistake(torch.relu(z), "other-activation", "this is ReLU; BERT has tanh here"),
            Mistake(torch.tanh(h[:, 0]) @ w.T + b, "tanh-first", "tanh comes after the linear map"),
            Mistake(
                torch.tanh(h @ w.T + b),
                "all-tokens",
                "every token goes through the layer; take the first of each sequence: `hidden[:, 0]`",
            ),
        ]
        if batch <= length:
            message = "you take the first sequence of the batch; the first token of each sequence is `hidden[:, 0]`"
            mistakes.append(Mistake(torch.tanh(h[0] @ w.T + b), "wrong-axis", message))
        compare(found, torch.tanh(z), mistakes, "the result is not tanh(W h + b) of the first token of each sequence")
    return "the first token, one layer, tanh"


# --- 10.6 ---------------------------------------------------------------------------------------------------


@exercise(
    "10.6",
    title="No padding",
    minutes=6,
    difficulty=3,
    hints=(
        "Two sentences lie in one row. What must a token of the second not see, and at which position does it start?",
        "Give every token the number of its sequence. A query may attend to a key if the two numbers are equal. The "
        "positions start from 0 in each sequence.",
        "`torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))` numbers the tokens, "
        "`sequence[:, None] == sequence[None, :]` is the mask, and `torch.cat([torch.arange(n) for n in lengths])` "
        "are the positions.",
    ),
    reference=f"{_HERE}:packing",
)
def judge_packing(answer):
    pack = function(answer, "packing")
    for lengths in ([2, 3], [5, 1, 3, 2], [7], [1, 1, 4]):
        result = call(pack, list(lengths))
        reject_if(
            not isinstance(result, tuple | list) or len(result) != 2,
            "two tensors are asked for: positions and mask",
            "wrong-type",
        )
        total = sum(lengths)
        positions, mask = tensor(result[0], what="`positions`"), tensor(result[1], what="`mask`")
        reject_if(positions.dim() == 2 and mask.dim() == 1, "the mask comes second: return `positions, mask`", "order")
        reject_if(
            tuple(positions.shape) != (total,),
            f"`positions` has shape {tuple(positions.shape)} instead of ({total},)",
            "shape",
        )
        _judge_packed_positions(positions, lengths)
        shape = (total, total)
        reject_if(tuple(mask.shape) != shape, f"`mask` has shape {tuple(mask.shape)} instead of {shape}", "shape")
        _judge_packed_mask(mask, lengths)
    return "positions from 0 in each sequence, and a mask of blocks along the diagonal"


def _judge_packed_positions(positions: Tensor, lengths: list[int]) -> None:
    right = torch.cat([torch.arange(length) for length in lengths]).double()
    total = len(right)
    mistakes = [
        Mistake(
            torch.arange(total).double(),
            "positions-run-on",
            f"for lengths {lengths} your positions run on to {total - 1}; each sequence starts at 0 again, or its "
            "tokens would get other vectors than they have alone",
        ),
        Mistake(right + 1, "from-one", "positions count from 0"),
        Mistake(
            torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).double(),
            "sequence-numbers",
            "these are the numbers of the sequences; the positions count the tokens inside each",
        ),
    ]
    compare(positions, right, mistakes, f"for lengths {lengths} the positions should be {right.int().tolist()}")


def _judge_packed_mask(mask: Tensor, lengths: list[int]) -> None:
    right = torch.block_diag(*(torch.ones(length, length, dtype=torch.float64) for length in lengths))
    mask = mask.double()
    allowed = right.bool()
    reject_if(
        bool((mask[allowed] == 0).all()) and bool((mask[~allowed] < -1e3).all()) and not bool(allowed.all()),
        "this is an additive mask, 0 and minus infinity; the course's masks are boolean, True = may attend",
        "additive",
    )
    mistakes = [
        Mistake(
            torch.ones_like(right),
            "no-blocks",
            f"for lengths {lengths} every token sees every other: the sequences would read each other",
        ),
        Mistake(1 - right, "inverted", "the mask is the wrong way round: True means that a query may attend"),
        Mistake(
            right.tril(),
            "causal-blocks",
            "inside its sequence a token of BERT sees what follows, too: the blocks are full, not triangles",
        ),
        Mistake(torch.ones_like(right).tril(), "causal", "this is a causal mask: the sequences still see each other"),
        Mistake(
            torch.eye(len(right), dtype=torch.float64),
            "diagonal",
            "every token sees itself alone; it should see its whole sequence",
        ),
    ]
    compare(
        mask, right, mistakes, f"for lengths {lengths} a token should see the tokens of its own sequence and no other"
    )


quiz(
    "10",
    Question(
        "You swap the published query and key weights of one layer and load the file. What happens?",
        (
            Choice(
                "Loading fails, because the names are wrong", "The names are all there; the numbers behind two changed."
            ),
            Choice("Loading fails, because the shapes differ", "Both are [d_model, d_model]."),
            Choice(
                "It loads without a complaint and computes something else",
                "Names and shapes fit. Only a comparison of numbers, state by state, shows it.",
            ),
            Choice(
                "Nothing changes, because q · k = k · q",
                "The query of token i would meet the key of token j: the scores are transposed.",
            ),
        ),
        right=2,
    ),
    Question(
        "State 4 of 7 is the first that differs from transformers'. State 0 is the embeddings. Where do you look?",
        (
            Choice("In the embeddings", "State 0 agrees, and that is the embeddings."),
            Choice(
                "In the fourth block, `blocks.3`",
                "It read state 3, which was right, and wrote state 4, which is wrong.",
            ),
            Choice("In the fifth block, `blocks.4`", "It only passes on what it was given."),
            Choice("In the last block", "Its input was wrong before it began."),
        ),
        right=1,
    ),
    Question(
        "Why does this course read safetensors files and no pytorch_model.bin?",
        (
            Choice("They are much smaller", "The numbers take the same bytes."),
            Choice(
                "A .bin file is a pickle: reading it can run code",
                "A pickle is a list of instructions, among them: call this function.",
            ),
            Choice("They hold more digits", "float32 is float32 in both."),
        ),
        right=1,
    ),
    Question(
        "Three sentences of 4, 6 and 10 tokens: how many tokens does the model process padded, and packed?",
        (
            Choice("30 and 20", "Three rows of 10, against 4 + 6 + 10."),
            Choice("20 and 20", "Padding is processed like any token; only attention is told to ignore it."),
            Choice("30 and 30", "Packing leaves the padding out."),
            Choice("30 and 10", "Every real token must be processed."),
        ),
        right=0,
    ),
    Question(
        "A packed row has positions 0 … 19 instead of 0 … 3, 0 … 5, 0 … 9. What goes wrong?",
        (
            Choice(
                "Nothing, the mask separates the sentences",
                "The mask says who may be seen; the position is part of the token's own vector.",
            ),
            Choice("The model raises an error", "Only above max_len; up to there the table has rows."),
            Choice("All sentences get other vectors", "The first sentence starts at 0 in both cases."),
            Choice(
                "The second and third sentence get other vectors than alone",
                "Their tokens get the position vectors of later places; the first is the same by luck.",
            ),
        ),
        right=3,
    ),
)
