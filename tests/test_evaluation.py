"""Scores against hand-made cases, closed forms and the libraries."""

import math

import numpy as np
import pytest
import sacrebleu
import seqeval.metrics
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from course_lib import evaluation


def test_accuracy_leaves_ignored_labels_out():
    assert evaluation.accuracy([1, 2, 3, 4, 9], [1, 0, 3, 4, -100]) == 3 / 4
    assert evaluation.accuracy(torch.tensor([[1, 2], [3, 9]]), torch.tensor([[1, 2], [0, 7]]), ignore=7) == 2 / 3


def test_exact_match_takes_the_whole():
    assert evaluation.exact_match(["ab c", "d", "e"], ["ab c", "d ", "e"]) == 2 / 3
    assert evaluation.exact_match([[1, 2], [3]], [[1, 2], [3, 4]]) == 1 / 2


def test_perplexity_of_a_uniform_model_is_the_number_of_choices():
    assert evaluation.perplexity(17 * math.log(29), 17) == pytest.approx(29)
    assert evaluation.bits_per_character(17 * math.log(8), 17) == pytest.approx(3)
    # Three tokens of 8 choices for 6 characters: 9 bits for 6 characters.
    assert evaluation.bits_per_character(3 * math.log(8), 6) == pytest.approx(1.5)


def test_the_interval_of_a_mean_has_the_width_of_the_normal_approximation():
    scores = np.random.default_rng(4).normal(3, 2, size=997)
    interval = evaluation.bootstrap_interval(scores)
    half_width = 1.96 * scores.std() / math.sqrt(997)
    assert interval.estimate == pytest.approx(scores.mean())
    assert interval.high - interval.low == pytest.approx(2 * half_width, rel=0.1)
    assert interval.low < interval.estimate < interval.high
    wide = evaluation.bootstrap_interval(scores, level=0.99)
    assert wide.low < interval.low < interval.high < wide.high


def test_the_interval_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(8)
    covered = 0
    for seed in range(100):
        interval = evaluation.bootstrap_interval(random.random(101) < 0.7, resamples=200, seed=seed, level=0.9)
        covered += interval.low <= 0.7 <= interval.high
    assert 0.8 < covered / 100 < 0.98


def test_the_interval_takes_any_statistic_and_repeats():
    counts = np.random.default_rng(2).integers(0, 9, size=(53, 2)) + 1

    def ratio(rows):
        return rows[:, 0].sum() / rows[:, 1].sum()

    first, again, other = (evaluation.bootstrap_interval(counts, ratio, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert first.estimate == ratio(counts)
    assert str(evaluation.Interval(0.98765, 0.97, 0.9912, 0.95)) == "0.988 [0.97, 0.991]"


@pytest.mark.parametrize(
    ("answer", "normal"),
    [
        ("The  Eiffel Tower!", "eiffel tower"),
        ("a thought of an ant", "thought of ant"),  # articles are whole words
        ("£1,150", "£1150"),  # only ASCII punctuation goes
        ("Théâtre-Français", "théâtrefrançais"),
        ("U.S.A.", "usa"),
        ("A.", ""),  # punctuation first, then articles
        ("the-a", "thea"),
        ("\n", ""),
    ],
)
def test_answers_are_normalised_as_squad_does(answer, normal):
    assert evaluation.normalise_answer(answer) == normal


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "f1"),
    [
        ("The green ferry.", ["green ferry"], 1, 1),
        ("green ferry", ["the old green ferry", "boat"], 0, 2 * (2 / 2) * (2 / 3) / (2 / 2 + 2 / 3)),
        ("on the green ferry at noon", ["green ferry"], 0, 2 * (2 / 5) * 1 / (2 / 5 + 1)),
        ("boat", ["green ferry", "a boat"], 1, 1),  # the best answer counts
        ("boat boat boat", ["boat", "boat boat"], 0, 2 * (2 / 3) * 1 / (2 / 3 + 1)),  # repeated words count as often
        ("ferry green", ["green ferry"], 0, 1),  # F1 does not see the order
        ("train", ["green ferry"], 0, 0),
        ("", ["green ferry"], 0, 0),
        ("the", ["green ferry"], 0, 0),  # nothing is left of it
        ("", [], 1, 1),
        ("The", [], 1, 1),  # normalised to nothing
        ("ferry", [], 0, 0),
        ("", ["a", "ferry"], 0, 0),  # answers that are normalised to nothing are left out
        ("", ["a"], 1, 1),  # and if none is left there is no answer
    ],
)
def test_squad_scores_of_cases_worked_out_by_hand(prediction, answers, exact, f1):
    scores = evaluation.squad_scores([prediction], [answers])
    assert scores.exact_match.tolist() == [exact]
    assert scores.f1.tolist() == pytest.approx([f1])


def test_squad_scores_are_one_for_each_question_in_order():
    scores = evaluation.squad_scores(["seven", "", "in May"], [["seven"], ["eight"], ["May", "in June"]])
    assert scores.exact_match.tolist() == [1, 0, 0]
    assert scores.f1.tolist() == pytest.approx([1, 0, 2 / 3])
    assert evaluation.bootstrap_interval(scores.f1).estimate == pytest.approx((1 + 2 / 3) / 3)


words = st.lists(st.sampled_from(["the", "a", "Red", "red!", "boat", "7", "seven", "-"]), max_size=7).map(" ".join)


@given(words, words)
def test_squad_f1_is_symmetric_and_one_where_the_match_is_exact(first, second):
    (exact,), (f1,) = evaluation.squad_scores([first], [[second]])
    assert 0 <= exact <= f1 <= 1
    assert f1 == evaluation.squad_scores([second], [[first]]).f1
    assert exact == (evaluation.normalise_answer(first) == evaluation.normalise_answer(second))
    left, right = ([w for w in text.lower().replace("!", "").split() if w not in "a the -"] for text in (first, second))
    if left and right:
        shared = sum(min(left.count(word), right.count(word)) for word in set(left))
        precision, recall = shared / len(left), shared / len(right)
        assert f1 == pytest.approx(2 * precision * recall / (precision + recall) if shared else 0)


TAGS = ["O", "B-person", "I-person", "B-film", "I-film"]


def test_entity_f1_by_hand():
    references = [["B-person", "I-person", "O", "B-film"], ["O", "O"], ["B-film", "B-film"]]
    predictions = [["B-person", "O", "O", "B-film"], ["B-person", "O"], ["B-film", "I-film"]]
    scores = evaluation.entity_f1(predictions, references)
    assert scores.counts.tolist() == [[1, 2, 2], [0, 1, 0], [0, 1, 2]]
    assert scores.overall == pytest.approx((1 / 4, 1 / 4, 1 / 4, 4))
    assert scores.kinds["person"] == pytest.approx((0, 0, 0, 1))
    assert scores.kinds["film"] == pytest.approx((1 / 2, 1 / 3, 2 / 5, 3))


@given(st.lists(st.lists(st.tuples(*[st.sampled_from(TAGS)] * 2), min_size=1, max_size=7), min_size=1, max_size=5))
def test_entity_f1_is_that_of_seqeval(texts):
    predictions, references = ([[pair[side] for pair in text] for text in texts] for side in (0, 1))
    scores = evaluation.entity_f1(predictions, references)
    assert scores.overall.f1 == pytest.approx(seqeval.metrics.f1_score(references, predictions, zero_division=0))
    assert evaluation.count_f1(scores.counts) == pytest.approx(scores.overall.f1)
    if scores.kinds:
        report = seqeval.metrics.classification_report(references, predictions, output_dict=True, zero_division=0)
        for kind, score in scores.kinds.items():
            right = [report[kind][name] for name in ("precision", "recall", "f1-score", "support")]
            assert score == pytest.approx(right)


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [
        ([], [], "nothing to score"),
        ([["O"]], [["O"], ["O"]], "must be pairs"),
        ([["O", "O"]], [["O"]], "text 0 has 1 words and 2 predicted tags"),
        ([["person"]], [["O"]], "'person' of text 0 is no BIO tag"),
        ([["O"]], [["B-"]], "'B-' of text 0"),
    ],
)
def test_entity_f1_refuses(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        evaluation.entity_f1(predictions, references)


def test_bleu_is_that_of_the_library():
    predictions = ["Le chat noir dort.", "J'aime les pommes rouges.", "Il a faim."]
    references = ["Le chat noir dort bien.", "J'aime les pommes rouges.", "Elle a soif."]
    assert evaluation.bleu(predictions, references) == sacrebleu.corpus_bleu(predictions, [references]).score
    assert evaluation.bleu(references, references) == pytest.approx(100)
    # All four n-gram precisions are 1 and only the brevity penalty is left: exp(1 - 7 / 6).
    assert evaluation.bleu(["a b c d e f"], ["a b c d e f g"]) == pytest.approx(100 * math.exp(1 - 7 / 6))


def test_attention_links_follow_the_largest_weight():
    weights = [[0.1, 0.7, 0.2], [0.5, 0.3, 0.2]]
    assert evaluation.attention_links(weights) == {(1, 0), (0, 1)}
    assert evaluation.attention_links(torch.tensor(weights)) == {(1, 0), (0, 1)}


def test_alignment_error_counts_sure_and_possible_links():
    predicted = [[(0, 0), (1, 1), (2, 2)], [(0, 1)]]
    sure = [[(0, 0), (1, 2)], [(0, 1)]]
    possible = [[(1, 1)], []]
    # Four links are predicted, three are sure; two of the four are sure, three possible.
    assert evaluation.alignment_error(predicted, sure, possible) == pytest.approx(1 - (2 + 3) / (4 + 3))
    precision, recall = 2 / 4, 2 / 3
    assert evaluation.alignment_error(predicted, sure) == pytest.approx(
        1 - 2 * precision * recall / (precision + recall)
    )
    assert evaluation.alignment_error(sure, sure) == 0


def test_bad_input_is_rejected():
    with pytest.raises(ValueError, match=r"\[2\] and labels \[3\]"):
        evaluation.accuracy([1, 2], [1, 2, 3])
    with pytest.raises(ValueError, match="every label is -100"):
        evaluation.accuracy([1, 2], [-100, -100])
    for score in (evaluation.exact_match, evaluation.squad_scores, evaluation.bleu, evaluation.alignment_error):
        with pytest.raises(ValueError, match="1 predictions for 2 references"):
            score(["a"], ["a", "b"])
        with pytest.raises(ValueError, match="nothing to score"):
            score([], [])
    with pytest.raises(ValueError, match="no sentence has a link"):
        evaluation.alignment_error([[]], [[]])
    with pytest.raises(ValueError, match="tokens=0"):
        evaluation.perplexity(1.0, 0)
    with pytest.raises(ValueError, match="characters=0"):
        evaluation.bits_per_character(1.0, 0)
    with pytest.raises(ValueError, match="at least two examples"):
        evaluation.bootstrap_interval([1.0])
    with pytest.raises(ValueError, match="level=95"):
        evaluation.bootstrap_interval([1.0, 2.0], level=95)
    with pytest.raises(ValueError, match="resamples=0"):
        evaluation.bootstrap_interval([1.0, 2.0], resamples=0)
    with pytest.raises(ValueError, match="choose heads"):
        evaluation.attention_links(np.zeros((2, 3, 5)))


@pytest.mark.parametrize("seed", range(5))
def test_macro_f1_is_that_of_scikit_learn(seed):
    labels, predictions = np.random.default_rng(seed).integers(0, (7, 5), size=(31, 2)).T
    for pair in ((predictions, labels), (labels, predictions), (np.zeros_like(labels), labels)):
        assert evaluation.macro_f1(*pair) == pytest.approx(f1_score(pair[1], pair[0], average="macro", zero_division=0))


@pytest.mark.parametrize(("predictions", "labels", "word"), [([1], [1, 2], "one axis"), ([], [], "nothing to score")])
def test_macro_f1_refuses(predictions, labels, word):
    with pytest.raises(ValueError, match=word):
        evaluation.macro_f1(predictions, labels)


def test_counterfactual_gap_on_paper():
    first = [[0.5, 0.7, 0.6], [0.2, 0.2, 0.5]]
    second = [[0.4, 0.5, 0.6], [0.3, 0.2, 0.1]]
    gap = evaluation.counterfactual_gap(first, second)
    assert gap.mean.estimate == pytest.approx((0.1 + 0.2 + 0 - 0.1 + 0 + 0.4) / 6)
    assert (gap.mean.low, gap.mean.high) == pytest.approx((0.1, 0.1))  # both sentences have the mean 0.1
    assert gap.largest == pytest.approx(0.4) and gap.where == (1, 2)
    other_way = evaluation.counterfactual_gap(second, first)
    assert other_way.largest == pytest.approx(-0.4) and other_way.mean.estimate == pytest.approx(-0.1)


def test_the_gaps_interval_resamples_sentences_not_single_pairs():
    # Forty words that say the same of a sentence are one observation of it, not forty.
    shift = np.random.default_rng(1).normal(0, 0.1, size=(23, 1))
    narrow, wide = (0.5 + np.repeat(shift, words, axis=1) for words in (1, 40))
    for first in (narrow, wide):
        interval = evaluation.counterfactual_gap(first, np.full(first.shape, 0.5)).mean
        assert interval.high - interval.low == pytest.approx(2 * 1.96 * shift.std() / math.sqrt(23), rel=0.15)


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        ([[0.1]], [[0.1, 0.2]], r"\[sentences, words\]"),
        ([0.1, 0.2], [0.1, 0.2], r"\[sentences, words\]"),
        ([[0.1], [1.2]], [[0.1], [0.2]], "not logits"),
        ([[0.1], [math.nan]], [[0.1], [0.2]], "not logits"),
        ([[0.1]], [[0.2]], "at least two"),
    ],
)
def test_counterfactual_gap_refuses(first, second, word):
    with pytest.raises(ValueError, match=word):
        evaluation.counterfactual_gap(first, second)
