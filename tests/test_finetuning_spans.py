"""Answers as spans: windows rebuilt by hand, the best spans by brute force, what a model makes of them."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertForQuestionAnswering, PreTrainedTokenizerFast

from course_lib.finetuning import fit
from course_lib.finetuning.spans import (
    Candidate,
    Prediction,
    Span,
    best_spans,
    combine,
    encode_questions,
    locate,
    predict_answers,
)

PASSAGE = "The boat left Oslo at nine. Mira saw it from the long pier, and waved."
QUESTION = "Who saw the boat?"


def example(answer="Mira", start=None, question=QUESTION, context=PASSAGE):
    """A question in SQuAD's form."""
    texts = [] if answer is None else [answer]
    starts = [] if answer is None else [context.find(answer) if start is None else start]
    return {"question": question, "context": context, "answers": {"text": texts, "answer_start": starts}}


@pytest.fixture(scope="module")
def tokenizer():
    """A fast WordPiece tokenizer that knows whole letters and a few words."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,?!"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "boat", "left", "saw", "who", "from", "and", "mira", "at"]
    words += [*letters, *(f"##{char}" for char in letters)]
    inner = Tokenizer(WordPiece({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    inner.normalizer = BertNormalizer(lowercase=True)
    inner.pre_tokenizer = BertPreTokenizer()
    inner.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", model_max_length=128,
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )  # fmt: skip


# --- windows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("max_length", "stride"), [(20, 5), (17, 0), (23, 11), (64, 8)])
def test_windows_are_those_cut_by_hand(tokenizer, max_length, stride):
    rows = encode_questions(tokenizer, [example()], max_length=max_length, stride=stride, answers=True)
    question = tokenizer(QUESTION, add_special_tokens=False)["input_ids"]
    passage = tokenizer(PASSAGE, add_special_tokens=False, return_offsets_mapping=True)
    ids, places = passage["input_ids"], passage["offset_mapping"]
    room = max_length - len(question) - 3
    expected, start = [], 0
    while True:
        expected.append((2, *question, 3, *ids[start : start + room], 3))
        if start + room >= len(ids):
            break
        start += room - stride
    assert [tuple(row["input_ids"]) for row in rows] == expected
    for number, row in enumerate(rows):
        begin = number * (room - stride)
        head = len(question) + 2
        assert row["token_type_ids"] == [0] * head + [1] * (len(row["input_ids"]) - head)
        assert row["offsets"] == [None] * head + places[begin : begin + room] + [None]
        assert row["example"] == 0
        token = [i for i, (a, b) in enumerate(places) if a < PASSAGE.find("Mira") + 4 and b > PASSAGE.find("Mira")]
        inside = begin <= token[0] and token[-1] < begin + room
        right = (head + token[0] - begin, head + token[-1] - begin) if inside else (0, 0)
        assert (row["start_positions"], row["end_positions"]) == right
    assert any(row["start_positions"] for row in rows)


def test_an_answer_up_to_one_token_longer_than_the_overlap_stands_in_one_window(tokenizer):
    context = " ".join(["the", "boat", "left", "at", "and", "who", "saw", "from"] * 5)
    starts = [i for i in range(len(context)) if i == 0 or context[i - 1] == " "]
    for stride, begin in itertools.product((2, 3, 7), starts[:-8]):
        for size in (stride, stride + 1):
            answer = " ".join(context[begin:].split()[:size])
            rows = encode_questions(
                tokenizer, [example(answer, begin, "Who?", context)], max_length=15, stride=stride, answers=True
            )
            spans = [row["offsets"][row["start_positions"]] for row in rows if row["start_positions"]]
            assert spans and all(span[0] == begin for span in spans)


def test_windows_of_several_questions_know_theirs(tokenizer):
    rows = encode_questions(tokenizer, [example(), example(context="Mira saw it.")], max_length=25, stride=3)
    numbers = [row["example"] for row in rows]
    assert numbers == sorted(numbers) and numbers.count(1) == 1 and numbers.count(0) > 1
    assert "start_positions" not in rows[0]


def test_no_answer_is_the_place_of_cls(tokenizer):
    rows = encode_questions(tokenizer, [example(None)], max_length=64, answers=True)
    assert {(row["start_positions"], row["end_positions"]) for row in rows} == {(0, 0)}


@pytest.mark.parametrize(
    ("start", "end", "right"),
    [(0, 3, (2, 2)), (4, 8, (3, 3)), (0, 8, (2, 3)), (5, 7, (3, 3)), (4, 14, (0, 0)), (20, 25, (0, 0)), (3, 4, (0, 0))],
)
def test_locate(start, end, right):
    assert locate([None, None, (0, 3), (4, 8), (8, 9), None], start, end) == right


@pytest.mark.parametrize(
    ("examples", "more", "error", "message"),
    [
        ([], {}, ValueError, "examples is empty"),
        ([example(question=" ")], {}, ValueError, "question of example 0 is empty"),
        ([example(), example(None, context="")], {}, ValueError, "context of example 1 is empty"),
        ([example(question=None)], {}, TypeError, "question of example 0 is NoneType"),
        ([example("Mira", 0)], {}, ValueError, "'Mira' does not stand in the passage at 0"),
        ([example("Ola", -1)], {}, ValueError, "'Ola' does not stand in the passage at -1"),
        ([example("", 0)], {}, ValueError, "'' does not stand"),
        ([example(question="who " * 40)], {"max_length": 48}, ValueError, "question 0 has 40 tokens.*leaves 5"),
        ([example()], {"max_length": 16, "stride": 8}, ValueError, "stride=8 needs more"),
        ([example()], {"stride": -1}, ValueError, "must not be negative"),
        ([example()], {"max_length": 129}, ValueError, "5 to 128"),
    ],
)
def test_encode_questions_refuses(tokenizer, examples, more, error, message):
    with pytest.raises(error, match=message):
        encode_questions(tokenizer, examples, answers=True, **more)


def test_answers_and_places_must_be_pairs(tokenizer):
    broken = example()
    broken["answers"]["answer_start"] = []
    with pytest.raises(ValueError, match="1 answers and 0 places"):
        encode_questions(tokenizer, [broken], answers=True)


# --- the best spans ---------------------------------------------------------------------------------------------


def test_best_spans_by_hand():
    #      [CLS]  q  [SEP]  a  b  c  [SEP]
    start = [9, 8, 7, 1, 4, 0, 6]
    end = [9, 8, 7, 5, 2, 3, 6]
    allowed = [False, False, False, True, True, True, False]
    assert best_spans(start, end, allowed, n=4) == [Span(7, 4, 5), Span(6, 3, 3), Span(6, 4, 4), Span(4, 3, 5)]
    assert best_spans(start, end, allowed, n=2, max_tokens=1) == [Span(6, 3, 3), Span(6, 4, 4)]
    assert best_spans(start, end, [False] * 7) == []


@given(st.integers(1, 11), st.integers(1, 9), st.integers(1, 12), st.integers(0, 10**6))
def test_best_spans_are_those_of_brute_force(length, n, max_tokens, seed):
    random = np.random.default_rng(seed)
    start, end = random.normal(size=(2, length))
    allowed = random.random(length) < 0.7
    every = [
        (start[i] + end[j], i, j)
        for i in range(length)
        for j in range(i, min(length, i + max_tokens))
        if allowed[i] and allowed[j]
    ]
    found = best_spans(start, end, allowed, n, max_tokens)
    assert [tuple(span[1:]) for span in found] == [span[1:] for span in sorted(every, reverse=True)[:n]]
    assert [span.score for span in found] == pytest.approx([span[0] for span in sorted(every, reverse=True)[:n]])


def test_best_spans_refuses():
    with pytest.raises(ValueError, match="equally long rows"):
        best_spans([1, 2], [1], [True, True])
    with pytest.raises(ValueError, match="n=0 must be"):
        best_spans([1], [1], [True], n=0)
    with pytest.raises(ValueError, match="max_tokens=0 must be"):
        best_spans([1], [1], [True], max_tokens=0)


# --- several windows --------------------------------------------------------------------------------------------


def windows():
    """ "ab cd ef" in two windows that share "cd"."""
    return [
        {"example": 0, "offsets": [None, (0, 2), (3, 5), None]},
        {"example": 0, "offsets": [None, (3, 5), (6, 8), None]},
    ]


def test_combine_takes_the_best_window_of_a_span_and_the_least_sure_no_answer():
    first = [[3, 2], [0, 0], [1, 2], [9, 9]]
    second = [[-1, -1], [2, 4], [0, 1], [9, 9]]
    found = combine(windows(), [first, second], "ab cd ef", n=3, max_tokens=2)
    assert found.candidates == (Candidate(6, 3, 5, "cd"), Candidate(3, 3, 8, "cd ef"), Candidate(2, 0, 5, "ab cd"))
    assert (found.null_score, found.margin) == (-2, 8)


def test_combine_refuses():
    with pytest.raises(ValueError, match="0 windows"):
        combine([], [], "ab")
    with pytest.raises(ValueError, match="2 windows and logits for 1"):
        combine(windows(), [[[0, 0]] * 4], "ab cd ef")
    with pytest.raises(ValueError, match="window of 4 tokens has logits for 3"):
        combine(windows(), [[[0, 0]] * 3] * 2, "ab cd ef")


def test_the_threshold_decides_between_span_and_silence():
    prediction = Prediction((Candidate(5.0, 0, 2, "ab"),), 3.0)
    assert prediction.answer() == prediction.answer(1.9) == prediction.answer(None) == "ab"
    assert prediction.answer(2.0) == prediction.answer(7) == ""
    silent = Prediction((), 1.0)
    assert silent.answer(None) == silent.answer(-100) == ""
    assert silent.margin == -np.inf


def small_model():
    torch.manual_seed(0)
    sizes = {"vocab_size": 100, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3}
    return BertForQuestionAnswering(BertConfig(**sizes, intermediate_size=48, max_position_embeddings=128)).eval()


def test_predict_answers_is_a_search_through_all_windows(tokenizer):
    """Each window by itself, without padding, each span by two loops."""
    model = small_model()
    torch.nn.init.normal_(model.qa_outputs.weight, std=1.0)
    examples = [example(), example(context="Mira saw it. " * 4), example(context="Mira")]
    settings = {"max_length": 24, "stride": 4}
    found = predict_answers(model, tokenizer, examples, n=6, max_tokens=3, batch_size=2, **settings)
    rows = encode_questions(tokenizer, examples, **settings)
    for number, prediction in enumerate(found):
        scores, nulls = {}, []
        for row in (row for row in rows if row["example"] == number):
            with torch.no_grad():
                output = model(torch.tensor([row["input_ids"]]), token_type_ids=torch.tensor([row["token_type_ids"]]))
            start, end = output.start_logits[0].tolist(), output.end_logits[0].tolist()
            nulls.append(start[0] + end[0])
            for i, j in itertools.product(range(len(start)), repeat=2):
                if row["offsets"][i] and row["offsets"][j] and i <= j < i + 3:
                    place = (row["offsets"][i][0], row["offsets"][j][1])
                    scores[place] = max(scores.get(place, -1e9), start[i] + end[j])
        right = sorted(scores.items(), key=lambda item: -item[1])[:6]
        assert [(one.start, one.end) for one in prediction.candidates] == [place for place, _ in right]
        assert [one.score for one in prediction.candidates] == pytest.approx([s for _, s in right], abs=1e-5)
        assert prediction.null_score == pytest.approx(min(nulls), abs=1e-5)
        for one in prediction.candidates:
            assert one.text == examples[number]["context"][one.start : one.end]


def test_a_span_head_learns_where_the_answer_is(tokenizer):
    """The answer is the one name in a passage that takes two windows; half of the passages have none."""
    random = np.random.default_rng(0)
    examples = []
    for number in range(48):
        letters = random.choice(list("bcdfghkm"), 14).tolist()
        if number % 2:
            letters.insert(int(random.integers(0, 15)), "mira")
        context = " ".join(letters)
        examples.append(example("mira" if number % 2 else None, question="who?", context=context))
    model = small_model()
    settings = {"max_length": 16, "stride": 4}
    rows = encode_questions(tokenizer, examples, answers=True, **settings)
    fit(model, rows, epochs=16, batch_size=16, learning_rate=5e-3, head_factor=1.0, frozen=(), progress=False)
    found = predict_answers(model, tokenizer, examples, **settings)
    right = [
        prediction.answer() == (one["answers"]["text"] or [""])[0]
        for prediction, one in zip(found, examples, strict=True)
    ]
    assert np.mean(right) > 0.9
