"""`course_lib.bert` against transformers' BERT: random small models saved and read, every head, and real weights."""

import json
import pickle
from dataclasses import asdict, replace

import pytest
import torch
import transformers
from safetensors.torch import save_file
from torch.nn import functional as F
from torch.testing import assert_close

from course_lib import bert, checkpoints
from course_lib.batching import pack, pad
from course_lib.bert import Bert, BertConfig, BertForPreTraining, look_at_neighbours
from course_lib.checkpoints import CheckpointError, load_safetensors
from course_lib.layers import record_attention

VOCAB, BATCH, LENGTH, SEGMENTS = 67, 3, 11, 3
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
HEADS = (
    "BertModel",
    "BertForPreTraining",
    "BertForSequenceClassification",
    "BertForTokenClassification",
    "BertForQuestionAnswering",
)


def our_class(name):
    return Bert if name == "BertModel" else getattr(bert, name)


def published_model(name="BertModel", seed=0, **changes):
    """A model of transformers whose every parameter is random: no norm is 1, no bias 0."""
    settings = {
        "vocab_size": VOCAB,
        "hidden_size": 35,
        "num_hidden_layers": 2,
        "num_attention_heads": 5,
        "intermediate_size": 53,
        "max_position_embeddings": 29,
        "type_vocab_size": SEGMENTS,
        "layer_norm_eps": 3e-4,
        "attn_implementation": "eager",
    }
    if "Classification" in name:
        settings["num_labels"] = 7
    model = getattr(transformers, name)(transformers.BertConfig(**{**settings, **changes}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator) + 0.05)
    return model.eval()


@pytest.fixture(params=HEADS)
def saved(request, tmp_path):
    """A model of transformers and the directory it was saved in."""
    model = published_model(request.param)
    model.save_pretrained(tmp_path / "published")
    return model, tmp_path / "published"


def ids(batch=BATCH, length=LENGTH, seed=1, vocab=VOCAB):
    return torch.randint(0, vocab, (batch, length), generator=torch.Generator().manual_seed(seed))


def ragged(lengths=(LENGTH, 7, 2), length=LENGTH):
    """A tokenizer's attention mask for right-padded rows of these lengths."""
    return (torch.arange(length) < torch.tensor(lengths)[:, None]).long()


def segments(num_segments=SEGMENTS):
    return (torch.arange(LENGTH) // 4).clamp(max=num_segments - 1).expand(BATCH, LENGTH)


def theirs_on(model, attention_mask=None, segment_ids=None, **more):
    if attention_mask is None:  # transformers warns where a mask is missing and an id is that of padding
        attention_mask = torch.ones(BATCH, LENGTH, dtype=torch.long)
    return model(ids(), attention_mask=attention_mask, token_type_ids=segment_ids, **more)


def outputs(ours, *args):
    """What ours computes, as a tuple of tensors in the order of transformers."""
    result = ours(*args)
    return (result,) if isinstance(result, torch.Tensor) else tuple(x for x in result if x is not None)


def expected_outputs(theirs, attention_mask=None, segment_ids=None):
    result = theirs_on(theirs, attention_mask, segment_ids)
    return tuple(result[key] for key in result)


# --- against transformers -----------------------------------------------------------------------------------


@torch.no_grad()
def test_every_head_equals_transformers(saved):
    theirs, directory = saved
    ours = our_class(type(theirs).__name__).from_pretrained(directory)
    assert not ours.training and not any(ours.load_report)
    real = ragged().bool()
    compared = outputs(ours, ids(), ragged(), segments())
    expected = expected_outputs(theirs, ragged(), segments())
    assert len(compared) == len(expected)
    for result, reference in zip(compared, expected, strict=True):
        assert result.shape == reference.shape
        if result.shape[:2] == real.shape:  # what stands at padding is nobody's business
            result, reference = result[real], reference[real]
        assert_close(result, reference, **CLOSE)
    for result, reference in zip(outputs(ours, ids()), expected_outputs(theirs), strict=True):
        assert_close(result, reference, **CLOSE)


@torch.no_grad()
def test_transformers_loads_what_we_save(saved, tmp_path):
    theirs, directory = saved
    ours = our_class(type(theirs).__name__).from_pretrained(directory)
    ours.save_pretrained(tmp_path / "ours")
    before, after = load_safetensors(directory), load_safetensors(tmp_path / "ours")
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    again, info = type(theirs).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"]
    for result, reference in zip(expected_outputs(again.eval()), expected_outputs(theirs), strict=True):
        assert_close(result, reference, **CLOSE)
    for setting in ("num_labels", "hidden_act", "layer_norm_eps", "type_vocab_size", "hidden_dropout_prob"):
        assert getattr(again.config, setting) == getattr(theirs.config, setting)
    assert type(ours).from_pretrained(tmp_path / "ours").config == ours.config


@torch.no_grad()
def test_a_fresh_model_of_ours_is_read_by_transformers(tmp_path):
    """The other way round: sizes chosen by us, weights drawn by us."""
    torch.manual_seed(0)
    settings = {"vocab_size": VOCAB, "d_model": 33, "num_layers": 3, "num_heads": 11, "d_ff": 29, "max_len": 13}
    for activation in ("gelu", "gelu_tanh", "relu", "silu"):
        config = BertConfig(**settings, activation=activation, num_labels=5, dropout=0.2, attention_dropout=0.3)
        ours = bert.BertForTokenClassification(config).eval()
        ours.save_pretrained(tmp_path / activation)
        theirs = transformers.BertForTokenClassification.from_pretrained(tmp_path / activation).eval()
        assert_close(ours(ids()), theirs_on(theirs).logits, **CLOSE)
        assert bert.BertForTokenClassification.from_pretrained(tmp_path / activation).config == config


@torch.no_grad()
def test_hidden_states_attention_maps_and_pooler_equal_transformers(tmp_path):
    theirs = published_model(hidden_act="gelu_new")
    theirs.save_pretrained(tmp_path)
    ours = Bert.from_pretrained(tmp_path)
    assert ours.config.activation == "gelu_tanh"
    expected = theirs_on(theirs, ragged(), segments(), output_hidden_states=True, output_attentions=True)
    with record_attention(ours) as attention:
        result = ours(ids(), ragged(), segments(), need_states=True)
    real = ragged().bool()
    assert len(result.states) == len(expected.hidden_states) == 3
    for state, reference in zip(result.states, expected.hidden_states, strict=True):
        assert_close(state[real], reference[real], **CLOSE)
    assert result.states[-1] is result.hidden
    for weights, reference in zip(attention.values(), expected.attentions, strict=True):
        rows = real[:, None].expand(-1, 5, -1)
        assert_close(weights[rows], reference[rows], **CLOSE)
    assert_close(result.pooled, expected.pooler_output, **CLOSE)
    assert ours(ids()).states is None


@torch.no_grad()
def test_only_selected_positions_are_asked_for(tmp_path):
    theirs = published_model("BertForPreTraining")
    theirs.save_pretrained(tmp_path)
    ours = BertForPreTraining.from_pretrained(tmp_path)
    selected = ids() % 5 == 0
    logits = ours(ids(), selected=selected).tokens
    assert logits.shape == (int(selected.sum()), VOCAB)
    assert_close(logits, theirs_on(theirs).prediction_logits[selected], **CLOSE)


def test_gradients_equal_transformers(tmp_path):
    theirs = published_model("BertForPreTraining")
    theirs.save_pretrained(tmp_path)
    ours = BertForPreTraining.from_pretrained(tmp_path)
    labels, next_sentence = ids(seed=2).masked_fill(ids(seed=3) > 10, -100), torch.tensor([0, 1, 1])
    expected = theirs_on(theirs, labels=labels, next_sentence_label=next_sentence).loss
    expected.backward()
    tokens, second = ours(ids())
    loss = F.cross_entropy(tokens.flatten(0, 1), labels.flatten()) + F.cross_entropy(second, next_sentence)
    loss.backward()
    assert_close(loss, expected, **CLOSE)
    grads = checkpoints.to_published({n: p.grad for n, p in ours.named_parameters()}, ours.rules(2))
    reference = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    assert grads.keys() == reference.keys()
    for name, grad in grads.items():
        assert_close(grad, reference[name], rtol=1e-4, atol=1e-5, msg=name)


# --- heads that come and go ---------------------------------------------------------------------------------


@torch.no_grad()
def test_a_bare_encoder_gets_a_new_head_and_says_so(tmp_path):
    published_model().save_pretrained(tmp_path)
    torch.manual_seed(3)
    ours = bert.BertForSequenceClassification.from_pretrained(tmp_path, num_labels=5, dropout=0.0)
    assert ours.load_report == (("classifier.weight", "classifier.bias"), (), ())
    assert ours.classifier.weight.shape == (5, 35) and ours.classifier.bias.abs().max() == 0
    assert 0.01 < ours.classifier.weight.std() < 0.03
    torch.manual_seed(3)
    again = bert.BertForSequenceClassification.from_pretrained(tmp_path, num_labels=5, dropout=0.0)
    assert torch.equal(again.classifier.weight, ours.classifier.weight)
    assert_close(ours.bert(ids()).pooled, Bert.from_pretrained(tmp_path)(ids()).pooled)


@torch.no_grad()
def test_heads_of_another_task_are_left_out_and_named(tmp_path):
    theirs = published_model("BertForPreTraining")
    theirs.save_pretrained(tmp_path)
    ours = Bert.from_pretrained(tmp_path)
    assert_close(ours(ids()).pooled, theirs.bert(ids(), torch.ones_like(ids())).pooler_output, **CLOSE)
    assert len(ours.load_report.unexpected) == 7 and not ours.load_report.missing
    assert all(name.startswith("cls.") for name in ours.load_report.unexpected)


def test_a_masked_language_model_without_a_pooler_is_read(tmp_path):
    theirs = published_model("BertForMaskedLM")
    theirs.save_pretrained(tmp_path)
    ours = BertForPreTraining.from_pretrained(tmp_path)
    assert set(ours.load_report.missing) == {
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
        "nsp_head.weight",
        "nsp_head.bias",
    }
    with torch.no_grad():
        assert_close(ours(ids()).tokens, theirs_on(theirs).logits, **CLOSE)


@torch.no_grad()
def test_files_of_the_first_days_are_understood(tmp_path):
    """gamma and beta, a copy of the tied decoder, a buffer of positions: as bert-base-uncased has them."""
    theirs = published_model("BertForPreTraining")
    theirs.save_pretrained(tmp_path)
    old = {}
    for name, tensor in load_safetensors(tmp_path).items():
        for new, former in (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta")):
            name = name.replace(new, former)
        old[name] = tensor
    assert sum("gamma" in name for name in old) == 6
    old["cls.predictions.decoder.weight"] = old["bert.embeddings.word_embeddings.weight"].clone()
    old["cls.predictions.decoder.bias"] = old["cls.predictions.bias"].clone()
    old["bert.embeddings.position_ids"] = torch.arange(29)[None]
    save_file(old, tmp_path / "model.safetensors")
    ours = BertForPreTraining.from_pretrained(tmp_path)
    assert not any(ours.load_report)
    assert_close(ours(ids()).tokens, theirs_on(theirs).prediction_logits, **CLOSE)


# --- properties ---------------------------------------------------------------------------------------------


def small(seed=0, **changes):
    torch.manual_seed(seed)
    settings = {"vocab_size": VOCAB, "d_model": 60, "num_layers": 2, "num_heads": 6, "d_ff": 53, "max_len": 29}
    model = Bert(BertConfig(**{**settings, **changes})).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@torch.no_grad()
def test_padding_changes_nothing():
    model, mask = small(), ragged()
    changed = ids().masked_fill(mask == 0, 5)
    for result, other in zip(model(ids(), mask)[:2], model(changed, mask)[:2], strict=True):
        if result.dim() == 3:
            result, other = result[mask.bool()], other[mask.bool()]
        assert_close(result, other, **CLOSE)
    for row, length in enumerate(mask.sum(1)):
        assert_close(model(ids(), mask.bool()).hidden[row, :length], model(ids()[row : row + 1, :length]).hidden[0])


@torch.no_grad()
def test_packed_sequences_equal_padded_ones():
    model = small()
    sequences = [ids(1, length, seed=length)[0].tolist() for length in (5, 29, 1, 13, 2)]
    segment_ids = [[0] * (len(s) // 2) + [1] * (len(s) - len(s) // 2) for s in sequences]
    padded, packed = pad(sequences), pack(sequences)
    expected = model(padded.ids, padded.mask, pad(segment_ids).ids)
    packed_segments = torch.tensor([[segment for row in segment_ids for segment in row]])
    result = model(packed.ids[None], packed.mask[None], packed_segments, packed.positions[None])
    assert packed.ids.numel() == 50 > model.config.max_len  # each sequence has the table to itself
    assert_close(result.hidden[0], expected.hidden[padded.mask], **CLOSE)
    starts = packed.positions == 0
    assert_close(model.pooler(result.hidden[0, starts].unsqueeze(1)), expected.pooled, **CLOSE)


@torch.no_grad()
def test_a_causal_mask_hides_what_follows_and_without_it_both_sides_count():
    model = small()
    causal = torch.ones(BATCH, LENGTH, LENGTH).tril().bool()
    later, earlier = ids().clone(), ids().clone()
    later[:, 7] = (later[:, 7] + 1) % VOCAB
    earlier[:, 3] = (earlier[:, 3] + 1) % VOCAB
    assert_close(model(later, causal).hidden[:, :7], model(ids(), causal).hidden[:, :7], **CLOSE)
    for changed in (later, earlier):
        assert (model(changed).hidden[:, 5] - model(ids()).hidden[:, 5]).abs().amax() > 1e-3


def test_initial_weights_follow_bert():
    torch.manual_seed(0)
    model = BertForPreTraining(BertConfig(vocab_size=997, d_model=132, num_layers=2, num_heads=3, max_len=101))
    assert model.bert.config.d_ff == 528
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            assert parameter.std().item() == pytest.approx(0.02, rel=0.1), name
        else:
            assert (parameter == (0 if name.endswith("bias") else 1)).all(), name


def test_dropout_is_off_in_evaluation_only():
    model = small(dropout=0.3)
    assert_close(model(ids()).hidden, model(ids()).hidden, rtol=0, atol=0)
    model.train()
    assert (model(ids()).hidden - model(ids()).hidden).abs().max() > 1e-3


def test_tied_embedding_learns_from_both_sides():
    torch.manual_seed(0)
    model = BertForPreTraining(BertConfig(vocab_size=VOCAB, d_model=60, num_layers=1, num_heads=6, max_len=29))
    model(ids()).tokens.square().mean().backward()
    absent = next(token for token in range(VOCAB) if token not in ids())
    assert model.bert.embeddings.token.weight.grad[absent].abs().max() > 0


def test_configs_are_values():
    config = BertConfig()
    assert config == BertConfig(**asdict(config)) and replace(config, d_model=12).d_model == 12
    with pytest.raises(AttributeError):
        config.d_model = 5


# --- bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"vocab_size": 0}, "vocab_size=0 must be 1 or more"),
        ({"num_labels": 0}, "num_labels=0 must be 1 or more"),
        ({"num_segments": -2}, "num_segments=-2"),
        ({"activation": "gelu_fast"}, "activation='gelu_fast' is not one of"),
        ({"num_heads": 7}, "d_model=60 is not divisible by num_heads=7"),
        ({"dropout": 1.0}, "dropout=1.0 is outside"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        small(**settings)


def test_bad_batches_are_refused():
    model, pairs = small(), torch.ones(BATCH, LENGTH, LENGTH).bool()
    cases = [
        (ValueError, "position 29 is outside the learned table of max_len=29", (ids(length=30),)),
        (ValueError, "token id 67 is outside the vocabulary of 67", (torch.full((1, 2), VOCAB),)),
        (ValueError, "token id -1 is outside", (torch.full((1, 2), -1),)),
        (TypeError, "token ids must be integers", (ids().float(),)),
        (ValueError, r"expected \[batch, length\]", (ids()[0],)),
        (ValueError, "the batch is empty", (ids()[:, :0],)),
        (TypeError, "attention_mask must hold integers", (ids(), ragged().float())),
        (ValueError, r"attention_mask has shape \[3, 10\]", (ids(), ragged()[:, :-1])),
        (ValueError, r"attention_mask has shape \[33\]", (ids(), ragged().flatten())),
        (ValueError, "only 1", (ids(), 2 * ragged())),
        (ValueError, r"must be boolean \[3, 11, 11\], not torch.int64", (ids(), pairs.long())),
        (ValueError, r"must be boolean \[3, 11, 11\], not torch.bool \[3, 11, 1\]", (ids(), pairs[..., :1])),
        (ValueError, r"segment_ids \[3, 10\] and input_ids \[3, 11\]", (ids(), None, ids()[:, 1:])),
        (ValueError, "segment_ids must be below num_segments=2", (ids(), None, 2 * ragged())),
        (ValueError, "segment_ids must be below num_segments=2", (ids(), None, -ragged())),
        (TypeError, "integers", (ids(), None, ragged().float())),
        (TypeError, "integers", (ids(), None, ragged().bool())),
        (TypeError, "positions must be integers", (ids(), None, None, torch.arange(LENGTH).float())),
        (ValueError, "is negative", (ids(), None, None, torch.arange(LENGTH) - 1)),
    ]
    for error, message, arguments in cases:
        with pytest.raises(error, match=message):
            model(*arguments)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "roberta"}, "model_type='roberta'; this class reads 'bert'"),
        ({"position_embedding_type": "relative_key"}, "position_embedding_type='relative_key' is not supported"),
        ({"is_decoder": True}, "is_decoder=True is not supported"),
        ({"hidden_size": None}, "lacks 'hidden_size'"),
        ({"num_hidden_layers": 3}, r"16 missing: blocks\.2\.attention\.q_proj\.weight, .*, and 6 more$"),
        ({"num_hidden_layers": 1}, r"16 unexpected: encoder\.layer\.1\.\S+, .*, and 6 more$"),
        ({"intermediate_size": 52}, r"feed_forward.up.weight has shape \[53, 35\] in the file, \[52, 35\]"),
        ({"hidden_act": "swish"}, "activation='swish' is not one of"),
    ],
)
def test_checkpoints_that_do_not_fit_are_refused(tmp_path, change, message):
    published_model().save_pretrained(tmp_path)
    file = tmp_path / "config.json"
    config = {**json.loads(file.read_text(encoding="utf-8")), **change}
    file.write_text(json.dumps({k: v for k, v in config.items() if v is not None}), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        Bert.from_pretrained(tmp_path)


@pytest.mark.parametrize("name", HEADS)
def test_missing_and_extra_parts_of_the_encoder_are_named(tmp_path, name):
    published_model(name).save_pretrained(tmp_path)
    state = load_safetensors(tmp_path)
    gone = next(key for key in state if key.endswith("layer.1.attention.self.key.bias"))
    del state[gone]
    state |= {f"adapter.{i:02}": torch.zeros(1) for i in range(13)}
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError) as caught:
        our_class(name).from_pretrained(tmp_path)
    _, missing, unexpected = str(caught.value).splitlines()
    assert missing.startswith("1 missing: ") and missing.endswith("blocks.1.attention.k_proj.bias")
    assert unexpected.startswith("13 unexpected: adapter.00, ") and unexpected.endswith("adapter.09, and 3 more")


def test_truncated_weights_are_named_as_such(tmp_path):
    published_model().save_pretrained(tmp_path)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is truncated or damaged: get it again"):
        Bert.from_pretrained(tmp_path)


def test_a_pickle_alone_is_refused_unopened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("the pickle was opened",))

    published_model().save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match=r"pytorch_model\.bin is a pickle, which can run code .* not read: get"):
        Bert.from_pretrained(tmp_path)


def test_names_and_settings_nobody_knows(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"bert-huge is neither the directory .* minilm-l6"):
        Bert.from_pretrained("bert-huge")
    with pytest.raises(FileNotFoundError, match=r"no config\.json"):
        Bert.from_pretrained(tmp_path)
    published_model().save_pretrained(tmp_path)
    with pytest.raises(TypeError, match="num_lables"):
        Bert.from_pretrained(tmp_path, num_lables=3)


# --- real weights -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def minilm():
    """MiniLM in transformers and in ours, and a ragged batch with two segments."""
    from course_lib import assets

    directory = assets.fetch("minilm-l6")
    theirs = transformers.BertModel.from_pretrained(directory, attn_implementation="eager").eval()
    lengths = torch.tensor([113, 3, 97, 1])
    input_ids = ids(4, 113, vocab=30522)
    mask = (torch.arange(113) < lengths[:, None]).long()
    segment_ids = (torch.arange(113) >= lengths[:, None] // 2).long() * mask
    return theirs, Bert.from_pretrained("minilm-l6"), (input_ids.masked_fill(mask == 0, 0), mask, segment_ids)


@pytest.mark.assets
@torch.no_grad()
def test_minilm_equals_transformers_at_every_layer(minilm):
    theirs, ours, batch = minilm
    assert sum(parameter.numel() for parameter in ours.parameters()) == 22_713_216
    expected = theirs(*batch, output_hidden_states=True, output_attentions=True)
    with record_attention(ours) as attention:
        recorded = ours(*batch, need_states=True)
    real = batch[1].bool()
    plain = ours(*batch, need_states=True)
    for result in (recorded, plain):
        for state, reference in zip(result.states, expected.hidden_states, strict=True):
            assert_close(state[real], reference[real], rtol=0, atol=1e-5)
        assert_close(result.pooled, expected.pooler_output, rtol=0, atol=1e-5)
    for weights, reference in zip(attention.values(), expected.attentions, strict=True):
        rows = real[:, None].expand(-1, 12, -1)
        assert_close(weights[rows], reference[rows], rtol=0, atol=1e-5)


@pytest.mark.assets
@torch.no_grad()
def test_minilm_packed_equals_padded(minilm):
    _, ours, (input_ids, mask, segment_ids) = minilm
    real = mask.bool()
    expected = ours(input_ids[1:], mask[1:], segment_ids[1:]).hidden[real[1:]]
    packed = pack([row[keep].tolist() for row, keep in zip(input_ids[1:], real[1:], strict=True)])
    result = ours(packed.ids[None], packed.mask[None], segment_ids[1:][real[1:]][None], packed.positions[None])
    assert_close(result.hidden[0], expected, rtol=0, atol=1e-5)


@pytest.mark.assets
@torch.no_grad()
def test_512_tokens_are_read_and_more_are_refused(minilm):
    theirs, ours, _ = minilm
    longest = ids(1, 512, vocab=30522)
    expected = theirs(longest, attention_mask=torch.ones_like(longest)).last_hidden_state
    assert_close(ours(longest).hidden, expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match=r"position 512 is outside the learned table of max_len=512: shorten"):
        ours(ids(1, 513))


# --- a head start ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("offsets", [(-1, 1, -2), (3,), ()])
def test_heads_start_by_looking_at_neighbours(offsets):
    torch.manual_seed(0)
    model = Bert(BertConfig(23, d_model=60, num_layers=2, num_heads=3, max_len=17)).eval()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    look_at_neighbours(model, offsets)
    ids, segments = torch.randint(0, 23, (2, 13)), torch.randint(0, 2, (2, 13))
    with torch.no_grad():
        _, weights = model.blocks[0].attention(model.embeddings(ids, segments), need_weights=True)
    for head, offset in enumerate(offsets):
        at_offset = weights[:, head].diagonal(offset=offset, dim1=1, dim2=2)
        assert at_offset.min() > 0.5
        assert (weights[:, head].argmax(-1) - torch.arange(13))[:, 3:10].eq(offset).all()
    untouched = 20 * len(offsets)
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    tables = {f"embeddings.{name}.weight" for name in ("token", "position", "segment")}
    heads = {f"blocks.0.attention.{name}_proj.weight" for name in "qk"} if offsets else set()
    assert changed == tables | heads
    q = "blocks.0.attention.q_proj.weight"
    assert torch.equal(dict(model.named_parameters())[q][untouched:], before[q][untouched:])


def test_neighbours_errors():
    with pytest.raises(ValueError, match="4 offsets for 3 heads of width 20"):
        look_at_neighbours(Bert(BertConfig(23, d_model=60, num_layers=1, num_heads=3)), (1, 2, 3, 4))
    with pytest.raises(ValueError, match="heads of width 5"):
        look_at_neighbours(Bert(BertConfig(23, d_model=15, num_layers=1, num_heads=3)), (1,))
