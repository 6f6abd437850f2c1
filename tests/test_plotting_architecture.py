"""The diagram of a model says what the model does: other layers, another order, another width, another diagram."""

import itertools

import matplotlib.pyplot as plt
import pytest
import torch
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch
from torch import nn

from course_lib import plotting
from course_lib.bert import BertConfig, BertForPreTraining
from course_lib.gpt import GPT, GPTConfig
from course_lib.layers import DecoderBlock, EncoderBlock
from course_lib.plotting.module_graph import CONSTANT, module_graph
from course_lib.transformer import Transformer, TransformerConfig

pytestmark = pytest.mark.filterwarnings("error")

X = torch.randn(2, 7, 30, generator=torch.Generator().manual_seed(0))
IDS = torch.arange(1, 15).reshape(2, 7)


@pytest.fixture(autouse=True)
def course_style():
    plotting.use_course_style()
    yield
    plt.close("all")


def transformer(**settings):
    sizes = {"source_vocab_size": 50, "target_vocab_size": 60, "d_model": 30, "num_heads": 3, "d_ff": 41}
    return Transformer(TransformerConfig(**{**sizes, "num_layers": 2, **settings}))


def bert():
    return BertForPreTraining(BertConfig(100, 30, 3, 3, max_len=16))


DRAWN = {
    "block": lambda: (EncoderBlock(30, 3, 41), (X,), 1),
    "SwiGLU": lambda: (EncoderBlock(30, 3, 41, activation="swiglu"), (X,), 2),
    "decoder block": lambda: (DecoderBlock(30, 3, 41), (X, X[:, :5]), 2),
    "transformer": lambda: (transformer(), (IDS, IDS[:, :5]), 3),
    "tied": lambda: (transformer(target_vocab_size=50, tie_embeddings=True), (IDS, IDS[:, :5]), 1),
    "BERT": lambda: (bert(), (IDS, None, torch.zeros_like(IDS)), 3),
    "GPT": lambda: (GPT(GPTConfig(100, d_model=30, num_layers=3, num_heads=3, max_len=16)), (IDS,), 2),
    "torch's": lambda: (nn.TransformerEncoderLayer(30, 3, 41, batch_first=True), (X,), 1),
    "torch's stack": lambda: (nn.Sequential(*(nn.Linear(30, 30) for _ in range(4)), nn.ReLU()), (X,), 1),
}


def drawn(module, *inputs, depth=1, **keywords):
    return [text.get_text() for text in plotting.architecture(module, *inputs, depth=depth, **keywords).texts]


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def every_part(part):
    yield part
    for one in part.parts:
        yield from every_part(one)


# --- what is read off the module -------------------------------------------------------------------------------


def order(module, *inputs):
    """The parts of a module, and for each sum what it adds."""
    parts = module_graph(module, *inputs, depth=1).parts
    names = [part.name or part.kind for part in parts]
    added = [
        tuple(names[source] if isinstance(source, int) else source for _, source in part.sources)
        for part in parts
        if part.kind == "+"
    ]
    return names, added


def test_the_two_orders_of_a_block_are_told_apart_by_their_residual_connections():
    names, added = order(EncoderBlock(30, 3, 41, norm="pre"), X)
    assert names == ["attention_norm", "attention", "+", "feed_forward_norm", "feed_forward", "+"]
    assert added == [("x", "attention"), ("+", "feed_forward")]
    names, added = order(EncoderBlock(30, 3, 41, norm="post"), X)
    assert names == ["attention", "+", "attention_norm", "feed_forward", "+", "feed_forward_norm"]
    assert added == [("x", "attention"), ("attention_norm", "feed_forward")]


def test_a_block_without_residual_connections_has_no_sum():
    class NoResidual(EncoderBlock):
        def residual(self, x, norm, sublayer):
            return norm(sublayer(x))

    assert order(NoResidual(30, 3, 41), X) == (["attention", "attention_norm", "feed_forward", "feed_forward_norm"], [])


def test_torch_s_own_layer_has_the_sums_of_ours():
    for norm_first, norm in ((True, "pre"), (False, "post")):
        theirs = nn.TransformerEncoderLayer(30, 3, 41, batch_first=True, norm_first=norm_first)
        kinds = [part.kind for part in module_graph(theirs, X, depth=1).parts]
        ours = [part.kind for part in module_graph(EncoderBlock(30, 3, 41, norm=norm), X, depth=1).parts]
        assert kinds.index("+") == ours.index("+")
        assert kinds.count("+") == ours.count("+") == 2


def test_cross_attention_reads_the_memory_and_the_encoder_is_where_it_comes_from():
    parts = module_graph(DecoderBlock(30, 3, 41), X, X[:, :5], depth=1).parts
    (cross,) = [part for part in parts if part.name == "cross_attention"]
    assert ("memory", "memory") in cross.sources
    root = module_graph(transformer(), IDS, IDS[:, :5], depth=1).parts
    names = [part.name for part in root]
    (decoder,) = [part for part in root if part.name == "decoder"]
    assert dict(decoder.sources)["memory"] == names.index("encoder")
    assert [part.sources[-1][1] for part in root if part.kind == "+"] == [CONSTANT, CONSTANT]  # the table of sines


@pytest.mark.parametrize("name", DRAWN)
def test_counts_sum_to_the_parameters_of_the_module(name):
    module, inputs, depth = DRAWN[name]()
    for opened in range(1, depth + 1):
        part = module_graph(module, *inputs, depth=opened)
        assert part.parameters == size(module)
        for one in every_part(part):
            if one.parts:
                assert one.parameters == one.own + sum(inner.total for inner in one.parts)


@pytest.mark.parametrize("layers", [1, 2, 5])
def test_equal_layers_are_drawn_once_and_counted(layers):
    encoder = module_graph(transformer(num_layers=layers), IDS, IDS[:, :5], depth=2).parts[2]
    blocks = encoder.parts[0]
    assert len(encoder.parts) == 2 and blocks.repeats == layers
    assert blocks.name == ("blocks.0" if layers == 1 else f"blocks.0–{layers - 1}")
    assert blocks.total == size(transformer(num_layers=layers).encoder.blocks)


def test_layers_that_differ_are_not_folded():
    uneven = nn.Sequential(nn.Linear(30, 30), nn.Linear(30, 30), nn.Linear(30, 17), nn.Linear(17, 17))
    parts = module_graph(uneven, X, depth=1).parts
    assert [(part.name, part.repeats) for part in parts] == [("0–1", 2), ("2", 1), ("3", 1)]

    class Skips(nn.Module):
        def __init__(self):
            super().__init__()
            self.steps = nn.ModuleList(nn.Linear(30, 30) for _ in range(3))

        def forward(self, x):
            first = self.steps[0](x)
            return self.steps[2](self.steps[1](first)) + first

    parts = module_graph(Skips(), X, depth=1).parts  # the first is read twice: it must be there by itself
    assert [part.name or part.kind for part in parts] == ["steps.0", "steps.1–2", "+"]
    assert [source for _, source in parts[-1].sources] == [1, 0]


def test_a_module_that_is_used_twice_is_counted_once():
    parts = module_graph(transformer(target_vocab_size=50, tie_embeddings=True), IDS, IDS[:, :5], depth=1).parts
    first, second = [part for part in parts if part.kind == "TokenEmbedding"]
    assert (first.parameters, second.parameters) == (50 * 30, 0)
    assert (first.is_shared, second.is_shared) == (False, True)


def test_the_module_is_left_as_it_was():
    module = transformer(dropout=0.5)
    module.encoder.eval()
    modes = [one.training for one in module.modules()]
    with torch.no_grad():
        before = module.eval()(IDS, IDS[:, :5])
        for one, mode in zip(module.modules(), modes, strict=True):
            one.training = mode
        state = torch.get_rng_state()
        plotting.architecture(module, IDS, IDS[:, :5], depth=2)
        assert torch.equal(state, torch.get_rng_state())
        assert [one.training for one in module.modules()] == modes
        assert not any(one._forward_hooks or one._forward_pre_hooks for one in module.modules())
        torch.testing.assert_close(module.eval()(IDS, IDS[:, :5]), before)


def test_hooks_are_gone_after_an_error_of_the_module():
    module = EncoderBlock(30, 3, 41)
    with pytest.raises(ValueError, match="expected"):
        plotting.architecture(module, X[..., :29])
    assert module.training and not any(one._forward_hooks or one._forward_pre_hooks for one in module.modules())
    assert not plt.get_fignums()


# --- what is drawn ---------------------------------------------------------------------------------------------


def test_another_module_is_another_picture():
    block = drawn(EncoderBlock(30, 3, 41), X)
    assert f"EncoderBlock: {size(EncoderBlock(30, 3, 41)):,} parameters" in block
    assert block.count("[2, 7, 30]") == 4 and "x [2, 7, 30]" in block and block.count("+") == 2
    assert [text for text in block if text.endswith("_norm") or text in ("attention", "feed_forward", "+")] != [
        text
        for text in drawn(EncoderBlock(30, 3, 41, norm="post"), X)
        if text.endswith("_norm") or text in ("attention", "feed_forward", "+")
    ]
    wider = drawn(EncoderBlock(33, 3, 41), torch.randn(2, 5, 33))
    assert wider.count("[2, 5, 33]") == 4 and not set(wider) & {"[2, 7, 30]"}
    for count in (2 * 30 * 41 + 41 + 30, 4 * (30 * 30 + 30)):
        assert f"{count:,}" in block and f"{count:,}" not in wider
    assert "RMSNorm" in drawn(EncoderBlock(30, 3, 41, norm_type="rms"), X)
    assert "×" in drawn(EncoderBlock(30, 3, 41, activation="swiglu"), X, depth=2)


@pytest.mark.parametrize("layers", [2, 3, 7])
def test_number_of_layers_is_written(layers):
    texts = drawn(transformer(num_layers=layers), IDS, IDS[:, :5], depth=2)
    assert texts.count(f"blocks.0–{layers - 1}") == 2
    for block in (EncoderBlock(30, 3, 41), DecoderBlock(30, 3, 41)):
        assert f"{layers} × {size(block):,}" in texts
    assert f"Transformer: {size(transformer(num_layers=layers)):,} parameters" in texts
    assert {"memory", "constant", "source_ids [2, 7]", "target_ids [2, 5]"} <= set(texts)


def test_what_a_head_has_beside_its_parts_and_what_is_shared_are_written():
    assert "and 100 of its own" in drawn(bert(), IDS, None, torch.zeros_like(IDS), depth=2)
    tied = transformer(target_vocab_size=50, tie_embeddings=True)
    assert "shared" in drawn(tied, IDS, IDS[:, :5]) and "shared" not in drawn(transformer(), IDS, IDS[:, :5])


@pytest.mark.parametrize("name", DRAWN)
def test_texts_fit_their_boxes_and_boxes_do_not_cross(name):
    module, inputs, depth = DRAWN[name]()
    ax = plotting.architecture(module, *inputs, depth=depth, title="A title that says what there is to see " * 2)
    ax.figure.draw_without_rendering()
    texts = [text.get_window_extent() for text in [*ax.texts, ax._left_title] if text.get_text()]
    assert not [(a, b) for a, b in itertools.combinations(texts, 2) if a.overlaps(b)]
    canvas = ax.figure.bbox
    boxes = [patch.get_window_extent() for patch in ax.patches if isinstance(patch, FancyBboxPatch | Circle)]
    for extent in (*texts, *boxes):
        assert canvas.x0 <= extent.x0 and canvas.y0 <= extent.y0 and extent.x1 <= canvas.x1 and extent.y1 <= canvas.y1
    for a, b in itertools.combinations(boxes, 2):
        inside = any(p.x0 <= q.x0 and q.x1 <= p.x1 and p.y0 <= q.y0 and q.y1 <= p.y1 for p, q in ((a, b), (b, a)))
        assert inside or not a.overlaps(b)
    for text in texts:  # a text stands in a box or outside it, not across its edge
        for box in boxes:
            within = box.x0 <= text.x0 and text.x1 <= box.x1 and box.y0 <= text.y0 and text.y1 <= box.y1
            assert within or not box.overlaps(text)
    width, height = ax.figure.get_size_inches()
    assert 3 <= width <= 13 and height <= 11


def test_every_sum_is_reached_by_as_many_arrows_as_it_has_terms():
    ax = plotting.architecture(EncoderBlock(30, 3, 41), X)
    arrows = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    ax.figure.draw_without_rendering()
    tips = [ax.transData.transform(arrow._path_original.vertices[-1]) for arrow in arrows]
    assert len(arrows) == 8  # six up the column, two past it
    for circle in (patch for patch in ax.patches if isinstance(patch, Circle)):
        box = circle.get_window_extent()
        near = [x for x, y in tips if box.x0 - 1 <= x <= box.x1 + 1 and box.y0 - 1 <= y <= box.y1 + 1]
        assert len(near) == 2


def test_texts_shrink_on_small_axes():
    _, (left, right) = plt.subplots(1, 2, figsize=(8, 3))
    assert plotting.architecture(EncoderBlock(30, 3, 41), X, ax=left, title="pre-norm") is left
    plotting.architecture(EncoderBlock(30, 3, 41, norm="post"), X, ax=right, title="post-norm")
    assert len(plt.get_fignums()) == 1
    assert max(text.get_fontsize() for text in left.texts) < 9


def test_two_drawings_are_the_same():
    assert drawn(bert(), IDS, depth=3) == drawn(bert(), IDS, depth=3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plotting.architecture(EncoderBlock(30, 3, 41), X, depth=0), "depth=0 opens nothing"),
        (lambda: plotting.architecture(EncoderBlock(30, 3, 41)), "EncoderBlock is drawn from a run: pass the inputs"),
        (lambda: plotting.architecture(nn.Linear(30, 3), X), "Linear calls no submodule"),
    ],
)
def test_errors_name_the_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()
    assert not plt.get_fignums()
