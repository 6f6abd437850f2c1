"""Exercises of notebook 10: planted mistakes get their own message, unusual right answers pass."""

import numpy as np
import pytest
import torch
from torch import nn

from course_lib import bert, checkpoints
from course_lib.batching import pack
from course_lib.exercises import EXERCISES, NOT_ATTEMPTED, judge
from tests.judged import accepted, rejected


def reference(number):
    return EXERCISES[f"10.{number}"].reference


@pytest.mark.parametrize("number", range(1, 7))
def test_the_reference_passes_and_the_stub_is_not_attempted(number):
    accepted(f"10.{number}", reference(number))

    def stub(*arguments):
        """As it stands in the notebook."""
        ...

    assert judge(f"10.{number}", stub).misconception == NOT_ATTEMPTED


# --- 10.1 ---------------------------------------------------------------------------------------------------

our_name = reference(1)


def by_replacing(*pairs, prefix=True, old=True, none=True):
    """A mapper made of replacements, in this order."""

    def mapper(name):
        if none and (name.endswith("position_ids") or name.startswith("cls.")):
            return None
        if prefix:
            name = name.removeprefix("bert.")
        if old:
            name = name.replace("gamma", "weight").replace("beta", "bias")
        for theirs, ours in pairs:
            name = name.replace(theirs, ours)
        return name

    return mapper


PAIRS = [
    ("embeddings.word_embeddings", "embeddings.token"),
    ("embeddings.position_embeddings", "embeddings.position"),
    ("embeddings.token_type_embeddings", "embeddings.segment"),
    ("embeddings.LayerNorm", "embeddings.norm"),
    ("encoder.layer", "blocks"),
    ("attention.self.query", "attention.q_proj"),
    ("attention.self.key", "attention.k_proj"),
    ("attention.self.value", "attention.v_proj"),
    ("attention.output.dense", "attention.out_proj"),
    ("attention.output.LayerNorm", "attention_norm"),
    ("intermediate.dense", "feed_forward.up"),
    ("output.dense", "feed_forward.down"),
    ("output.LayerNorm", "feed_forward_norm"),
]
BARE_OUTPUT_FIRST = [*PAIRS[:5], PAIRS[11], PAIRS[12], *PAIRS[5:11]]
Q_AND_K_SWAPPED = [*PAIRS[:5], (PAIRS[5][0], PAIRS[6][1]), (PAIRS[6][0], PAIRS[5][1]), *PAIRS[7:]]


def gamma_is_the_bias(name):
    return by_replacing(*PAIRS, old=False)(name.replace("gamma", "bias").replace("beta", "weight"))


def one_digit(name):
    found = our_name(name)
    return found and ".".join(piece[:1] if piece.isdigit() else piece for piece in found.split("."))


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda name: name, "not-renamed", "embeddings.token.weight"),
        (by_replacing(*PAIRS, prefix=False), "prefix", "take it off first"),
        (by_replacing(*PAIRS, old=False), "old-names", "gamma"),
        (gamma_is_the_bias, "gamma-beta-swapped", "gamma multiplies"),
        (by_replacing(*PAIRS, none=False), "no-place", "position_ids"),
        (by_replacing(*BARE_OUTPUT_FIRST), "two-outputs", "compare whole parts"),
        (by_replacing(*Q_AND_K_SWAPPED), "mixed-up", "q_proj"),
        (one_digit, "layer-number", "all its digits"),
        (lambda name: our_name(name) and f"bert.{our_name(name)}", "extra-prefix", "no `bert.`"),
        (lambda name: our_name(name) if "encoder" in name else None, "no-name", "gives None"),
        (lambda name: name.split("."), "wrong-type", "list"),
        (lambda name: our_name(name) and our_name(name).upper(), "value", "EMBEDDINGS"),
        (lambda name: {"a": "b"}[name], "exception", "KeyError"),
        (our_name("pooler.dense.bias"), "wrong-type", "function"),
    ],
)
def test_mapper_rejects(answer, misconception, word):
    rejected("10.1", answer, misconception, word)


def test_mapper_accepts_replacements():
    accepted("10.1", by_replacing(*PAIRS))


def test_mapper_accepts_the_table_of_the_package_turned_round():
    rules = [*bert.Bert.rules(24)]
    table = {rule.published.removeprefix("bert."): rule.ours[0] for rule in rules if rule.published.startswith("bert.")}

    def lookup(name, verbose=False):
        name = name.removeprefix("bert.").replace(".gamma", ".weight").replace(".beta", ".bias")
        return table.get(name)

    accepted("10.1", lookup)


def test_mapper_names_exactly_the_parameters_of_our_bert():
    with torch.device("meta"):
        model = bert.Bert(bert.BertConfig(vocab_size=11, d_model=6, num_layers=12, num_heads=2))
    published = checkpoints.to_published(model.state_dict(), bert.Bert.rules(12))
    assert {our_name(name) for name in published} == set(model.state_dict())


# --- 10.2 ---------------------------------------------------------------------------------------------------

convert = reference(2)


def changed(change):
    """The right conversion, then `change(name of today, tensor)` of every entry, a pair or None."""

    def answer(state):
        pairs = (change(name, value) for name, value in convert(state).items())
        return dict(pair for pair in pairs if pair)

    return answer


def is_kernel(name, value):
    return value.dim() == 2 and "embeddings" not in name


def swap_gamma_and_beta(state):
    return {
        name.replace("LayerNorm.weight", "-")
        .replace("LayerNorm.bias", "LayerNorm.weight")
        .replace("-", "LayerNorm.bias"): v
        for name, v in convert(state).items()
    }


def in_place(state):
    result = convert(state)
    for value in state.values():
        value.zero_()
    return result


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (changed(lambda n, v: (n, v.T if is_kernel(n, v) else v)), "square-not-transposed", "square"),
        (
            changed(lambda n, v: (n, v.T if is_kernel(n, v) and v.shape[0] != v.shape[1] else v)),
            "not-transposed",
            "[out, in]",
        ),
        (
            changed(lambda n, v: (n, v.T if is_kernel(n, v) and v.shape[0] == v.shape[1] else v)),
            "square-not-transposed",
            "without a complaint",
        ),
        (changed(lambda n, v: (n, v.T if v.dim() == 2 and "embeddings" in n else v)), "table-transposed", "table"),
        (swap_gamma_and_beta, "gamma-beta-swapped", "gamma is the weight"),
        (lambda state: {name.replace("/", "."): value for name, value in state.items()}, "not-renamed", "dots"),
        (lambda state: dict(state), "not-renamed", "old name"),
        (changed(lambda n, v: (n.replace("layer.", "layer_"), v)), "layer-number", "part of its own"),
        (changed(lambda n, v: (n.removeprefix("bert."), v)), "prefix", "keep `bert.`"),
        (changed(lambda n, v: None if "pooler" in n else (n, v)), "missing", "pooler"),
        (changed(lambda n, v: (n, 2 * v)), "value", "other numbers"),
        (lambda state: {**convert(state), "x": torch.zeros(1)}, "extra-names", "'x'"),
        (lambda state: list(convert(state).items()), "wrong-type", "dictionary"),
        (in_place, "in-place", "new dictionary"),
    ],
)
def test_first_release_rejects(answer, misconception, word):
    rejected("10.2", answer, misconception, word)


def with_arrays(state):
    result = {}
    for name, value in state.items():
        array = value.numpy()
        if name.split("/")[-1] == "kernel":
            array = np.swapaxes(array, 0, 1)
        for old, new in {
            "/kernel": "/weight",
            "/gamma": "/weight",
            "/beta": "/bias",
            "_embeddings": "_embeddings/weight",
        }.items():
            if name.endswith(old):
                name = name.removesuffix(old) + new
                break
        result[name.replace("layer_", "layer/").replace("/", ".")] = array
    return result


@pytest.mark.parametrize("answer", [with_arrays, changed(lambda n, v: (n, v.double().contiguous()))])
def test_first_release_accepts(answer):
    accepted("10.2", answer)


# --- 10.3 ---------------------------------------------------------------------------------------------------


def count_with(pooler=1, embedding_norm=1, positions=1, segments=1, layers=None, norms=2, biases=1, tables=1, last=0):
    def count(v, d, n, f, length=512, seg=2):
        n = n if layers is None else layers
        block = 4 * d * d + 2 * d * f + biases * (4 * d + f + d) + norms * 2 * d
        embeddings = (tables * v + positions * length + segments * seg) * d + embedding_norm * 2 * d
        return embeddings + n * block + pooler * (d * d + d) + last * 2 * d

    return count


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (count_with(pooler=0), "no-pooler", "d_model² + d_model"),
        (count_with(embedding_norm=0), "no-embedding-norm", "norm of their own"),
        (count_with(positions=0), "no-positions", "positions"),
        (count_with(segments=0), "no-segments", "segments"),
        (count_with(positions=0, segments=0), "one-table", "only the token table"),
        (count_with(layers=1), "one-layer", "there are 5"),
        (count_with(norms=0), "no-norms", "two norms"),
        (count_with(norms=1), "one-norm", "one is counted"),
        (count_with(biases=0), "no-biases", "biases"),
        (count_with(tables=2), "embedding-twice", "the same table"),
        (count_with(last=1), "last-norm", "post-norm"),
        (lambda v, d, n, f, length, seg: v * d, "value", "too few"),
        (lambda v, d, n, f, length, seg: "many", "wrong-type", "number"),
        (22_713_216, "wrong-type", "function"),
    ],
)
def test_count_rejects(answer, misconception, word):
    rejected("10.3", answer, misconception, word)


def by_adding_up(vocab_size, d_model, num_layers, d_ff, max_len=512, num_segments=2):
    """Every tensor of our BERT, one by one."""
    d, f = d_model, d_ff
    shapes = [(vocab_size, d), (max_len, d), (num_segments, d), (d,), (d,), (d, d), (d,)]
    for _ in range(num_layers):
        shapes += 4 * [(d, d), (d,)] + [(f, d), (f,), (d, f), (d,)] + 4 * [(d,)]
    return np.int64(sum(np.prod(shape) for shape in shapes))


@pytest.mark.parametrize("answer", [count_with(), by_adding_up])
def test_count_accepts(answer):
    accepted("10.3", answer)


def test_count_of_the_two_models_of_the_notebook():
    assert reference(3)(30522, 384, 6, 1536) == 22_713_216
    assert reference(3)(30522, 768, 12, 3072) == 109_482_240


# --- 10.4 ---------------------------------------------------------------------------------------------------


def differences(ours, theirs, mask):
    real = mask.bool()
    return [float((a[real] - b[real]).abs().max()) for a, b in zip(ours, theirs, strict=True)]


def first_with(sizes, tolerance):
    return next((i for i, size in enumerate(sizes) if size > tolerance), None)


def shifted(by):
    def answer(ours, theirs, mask, tolerance=1e-4):
        found = first_with(differences(ours, theirs, mask), tolerance)
        return found + by if found is not None else None

    return answer


def largest(ours, theirs, mask, tolerance=1e-4):
    sizes = differences(ours, theirs, mask)
    return sizes.index(max(sizes)) if max(sizes) > tolerance else None


def last(ours, theirs, mask, tolerance=1e-4):
    found = [i for i, size in enumerate(differences(ours, theirs, mask)) if size > tolerance]
    return found[-1] if found else None


def with_padding(ours, theirs, mask, tolerance=1e-4):
    return first_with([float((a - b).abs().max()) for a, b in zip(ours, theirs, strict=True)], tolerance)


def exactly(ours, theirs, mask, tolerance=1e-4):
    real = mask.bool()
    return next(
        (i for i, (a, b) in enumerate(zip(ours, theirs, strict=True)) if not torch.equal(a[real], b[real])), None
    )


def zeroing(ours, theirs, mask, tolerance=1e-4):
    found = reference(4)(ours, theirs, mask, tolerance)
    ours[0].zero_()
    return found


def minus_one(ours, theirs, mask, tolerance=1e-4):
    found = reference(4)(ours, theirs, mask, tolerance)
    return -1 if found is None else found


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (with_padding, "padding-or-rounding", "use the mask"),
        (exactly, "padding-or-rounding", "rounding"),
        (largest, "largest", "inherits"),
        (last, "last", "the first is number 4"),
        (shifted(-1), "block-number", "counting the embeddings as 0"),
        (shifted(1), "off-by-one", "count from 0"),
        (lambda a, b, m, tolerance=0: 2, "value", "number 4"),
        (lambda a, b, m, tolerance=0: first_with(differences(a, b, m), 1e-4), "tolerance", "use the argument"),
        (lambda a, b, m, tolerance=0: print("none"), "none", "return None"),
        (minus_one, "not-none", "return None"),
        (lambda a, b, m, tolerance=0: True, "wrong-type", "True or False"),
        (lambda a, b, m, tolerance=0: "4", "wrong-type", "number"),
        (zeroing, "in-place", "copy"),
    ],
)
def test_wrong_state_rejects(answer, misconception, word):
    rejected("10.4", answer, misconception, word)


def by_stacking(ours, theirs, mask, tolerance=1e-4):
    gap = (torch.stack(list(ours)) - torch.stack(list(theirs))).abs() * mask[None, :, :, None]
    wrong = (gap.amax(dim=(1, 2, 3)) > tolerance).nonzero()
    return wrong[0, 0] if len(wrong) else None


def by_loops(ours, theirs, mask, tolerance=1e-4):
    for i in range(len(ours)):
        for row, length in enumerate(mask.sum(1).tolist()):
            if not np.allclose(ours[i][row, :length].numpy(), theirs[i][row, :length].numpy(), rtol=0, atol=tolerance):
                return i
    return None


@pytest.mark.parametrize("answer", [by_stacking, by_loops, shifted(0)])
def test_wrong_state_accepts(answer):
    accepted("10.4", answer)


# --- 10.5 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (lambda h, w, b: h[:, 0] @ w.T + b, "no-tanh", "tanh is missing"),
        (lambda h, w, b: torch.tanh(h[:, 0] @ w + b), "not-transposed", "no shape complains"),
        (lambda h, w, b: torch.tanh(h[:, 0] @ w.T), "no-bias", "bias"),
        (lambda h, w, b: torch.tanh(h.mean(1) @ w.T + b), "mean", "[CLS]"),
        (lambda h, w, b: torch.tanh(h[:, -1] @ w.T + b), "last-token", "[CLS] is the first"),
        (lambda h, w, b: torch.tanh(h.amax(1) @ w.T + b), "max", "largest"),
        (lambda h, w, b: torch.sigmoid(h[:, 0] @ w.T + b), "other-activation", "sigmoid"),
        (lambda h, w, b: torch.relu(h[:, 0] @ w.T + b), "other-activation", "ReLU"),
        (lambda h, w, b: torch.tanh(h[:, 0]) @ w.T + b, "tanh-first", "after"),
        (lambda h, w, b: torch.tanh(h @ w.T + b), "all-tokens", "hidden[:, 0]"),
        (lambda h, w, b: torch.tanh(h[0] @ w.T + b), "wrong-axis", "first sequence"),
        (lambda h, w, b: torch.zeros(h.shape[0], h.shape[2]), "value", "tanh(W h + b)"),
    ],
)
def test_pooler_rejects(answer, misconception, word):
    rejected("10.5", answer, misconception, word)


def with_a_layer(hidden, weight, bias):
    layer = nn.Linear(*weight.shape)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer(hidden[:, 0]).tanh()


def in_numpy(hidden, weight, bias):
    return np.tanh(np.einsum("bd,ed->be", hidden.numpy()[:, 0], weight.numpy()) + bias.numpy())


@pytest.mark.parametrize("answer", [with_a_layer, in_numpy])
def test_pooler_accepts(answer):
    accepted("10.5", answer)


# --- 10.6 ---------------------------------------------------------------------------------------------------


def packed(positions=None, mask=None):
    """The right packing with one part made otherwise, by functions of (number of each token's sequence, positions)."""

    def answer(lengths):
        result = pack([[7] * length for length in lengths])
        made = (
            f(result.sequence, right) if f else right
            for f, right in ((positions, result.positions), (mask, result.mask))
        )
        return tuple(made)

    return answer


@pytest.mark.parametrize(
    ("answer", "misconception", "word"),
    [
        (packed(positions=lambda s, p: torch.arange(len(s))), "positions-run-on", "starts at 0 again"),
        (packed(positions=lambda s, p: p + 1), "from-one", "count from 0"),
        (packed(positions=lambda s, p: s), "sequence-numbers", "inside each"),
        (packed(positions=lambda s, p: 2 * p), "value", "[0, 1, 0, 1, 2]"),
        (packed(positions=lambda s, p: p[:-1]), "shape", "(4,)"),
        (packed(mask=lambda s, m: torch.ones_like(m)), "no-blocks", "read each other"),
        (packed(mask=lambda s, m: ~m), "inverted", "wrong way round"),
        (packed(mask=lambda s, m: m.tril()), "causal-blocks", "what follows"),
        (packed(mask=lambda s, m: torch.ones_like(m).tril()), "causal", "causal mask"),
        (packed(mask=lambda s, m: torch.eye(len(m)).bool()), "diagonal", "itself alone"),
        (packed(mask=lambda s, m: torch.zeros(m.shape).masked_fill(~m, -torch.inf)), "additive", "boolean"),
        (packed(mask=lambda s, m: s[:, None] <= s[None, :]), "value", "its own sequence"),
        (packed(mask=lambda s, m: m[0]), "shape", "(5, 5)"),
        (lambda lengths: packed()(lengths)[::-1], "order", "second"),
        (lambda lengths: packed()(lengths)[1], "wrong-type", "two tensors"),
    ],
)
def test_packing_rejects(answer, misconception, word):
    rejected("10.6", answer, misconception, word)


def in_plain_python(lengths):
    owner = [i for i, length in enumerate(lengths) for _ in range(length)]
    positions = [p for length in lengths for p in range(length)]
    return positions, [[one == other for other in owner] for one in owner]


def with_blocks(lengths):
    blocks = torch.block_diag(*(torch.ones(length, length) for length in lengths))
    return [np.concatenate([np.arange(length) for length in lengths]), blocks]


@pytest.mark.parametrize("answer", [in_plain_python, with_blocks, packed()])
def test_packing_accepts(answer):
    accepted("10.6", answer)
