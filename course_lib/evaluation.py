"""Scores of predictions, each with a way to say how uncertain it is."""

import math
import re
import string
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

Links = Iterable[tuple[int, int]]


class Interval(NamedTuple):
    """An estimate and the interval that holds the middle `level` of its bootstrap distribution."""

    estimate: float
    low: float
    high: float
    level: float

    def __str__(self) -> str:
        return f"{self.estimate:.3g} [{self.low:.3g}, {self.high:.3g}]"


class CounterfactualGap(NamedTuple):
    """How a probability changes when one word is exchanged for another.

    `mean` is the mean change with its interval, `largest` the change with the largest absolute value, with its sign,
    and `where` its place: (sentence, pair of words).
    """

    mean: Interval
    largest: float
    where: tuple[int, int]


class SquadScores(NamedTuple):
    """A score for each question: `exact_match` is 0 or 1, `f1` anything between. Their means are SQuAD's EM and F1."""

    exact_match: np.ndarray
    f1: np.ndarray


class EntityScore(NamedTuple):
    """How well the entities of one kind are found; `entities` is how many there are to find."""

    precision: float
    recall: float
    f1: float
    entities: int


class EntityScores(NamedTuple):
    """The score over all entities, that of each kind, and what they are made of.

    `counts` is `[texts, 3]`: entities that are predicted rightly, predicted at all, and there. `count_f1` of the
    counts is the F1 of `overall`; with `bootstrap_interval` it gives the spread.
    """

    overall: EntityScore
    kinds: dict[str, EntityScore]
    counts: np.ndarray


def accuracy(predictions: ArrayLike, labels: ArrayLike, ignore: int = -100) -> float:
    """Share of labels that are predicted, those equal to `ignore` left out. Shapes must agree.

    Raises:
        ValueError: shapes that differ, or nothing to score.
    """
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if predictions.shape != labels.shape:
        raise ValueError(f"predictions {list(predictions.shape)} and labels {list(labels.shape)} differ in shape")
    counted = labels != ignore
    if not counted.any():
        raise ValueError(f"there is nothing to score: no label, or every label is {ignore}")
    return float((predictions == labels)[counted].mean())


def macro_f1(predictions: ArrayLike, labels: ArrayLike) -> float:
    """Mean over the classes of F1 = 2 TP / (2 TP + FP + FN): every class counts the same, however rare.

    Class numbers, `[examples]`. A class counts if it is among the labels or the predictions.

    Raises:
        ValueError: shapes that differ or have not one axis, or nothing to score.
    """
    predictions, labels = np.asarray(predictions), np.asarray(labels)
    if predictions.shape != labels.shape or labels.ndim != 1:
        raise ValueError(f"predictions {list(predictions.shape)} and labels {list(labels.shape)} must be one axis each")
    if not len(labels):
        raise ValueError("there is nothing to score: no label")
    num_labels = 1 + max(int(predictions.max()), int(labels.max()))
    hits = np.bincount(labels[predictions == labels], minlength=num_labels)
    counted = np.bincount(labels, minlength=num_labels) + np.bincount(predictions, minlength=num_labels)
    there = counted > 0  # TP + FN and TP + FP, so their sum is 2 TP + FP + FN
    return float((2 * hits[there] / counted[there]).mean())


def exact_match(predictions: Sequence, references: Sequence) -> float:
    """Share of predictions that equal their reference as a whole: strings, or lists of tokens.

    Raises:
        ValueError: different numbers of them, or none.
    """
    _require_pairs(predictions, references)
    return sum(ours == right for ours, right in zip(predictions, references, strict=True)) / len(references)


def _require_pairs(predictions: Sequence, references: Sequence) -> None:
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions for {len(references)} references: they must be pairs")
    if not len(references):
        raise ValueError("there is nothing to score: predictions and references are empty")


def perplexity(total_loss: float, tokens: int) -> float:
    """exp(total_loss / tokens), from the summed negative log-likelihood in nats.

    It depends on how the text was cut into tokens; to compare tokenisers use `bits_per_character`.
    Raises ValueError if `tokens` is below 1.
    """
    if tokens < 1:
        raise ValueError(f"tokens={tokens} must be at least 1")
    return math.exp(total_loss / tokens)


def bits_per_character(total_loss: float, characters: int) -> float:
    """The summed negative log-likelihood in nats, as bits for each character of the text.

    Raises ValueError if `characters` is below 1.
    """
    if characters < 1:
        raise ValueError(f"characters={characters} must be at least 1")
    return total_loss / characters / math.log(2)


def bootstrap_interval(
    scores: ArrayLike,
    statistic: Callable[[np.ndarray], float] | None = None,
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap (Efron 1979): how much the score would vary with another sample of examples.

    Args:
        scores: one row for each example, `[examples, ...]`: 0 or 1 for accuracy, a loss, a pair of counts.
        statistic: from the rows of a resample to a number; the mean if None.

    Raises:
        ValueError: fewer than two examples, or `level` or `resamples` out of range.
    """
    scores = np.asarray(scores)
    if scores.ndim < 1 or len(scores) < 2:
        raise ValueError(f"scores has shape {list(scores.shape)}: resampling takes at least two examples")
    if not 0 < level < 1:
        raise ValueError(f"level={level} must be between 0 and 1, as 0.95")
    if resamples < 1:
        raise ValueError(f"resamples={resamples} must be at least 1")
    measure = statistic or (lambda rows: rows.mean())
    random = np.random.default_rng(seed)
    drawn = [measure(scores[random.integers(len(scores), size=len(scores))]) for _ in range(resamples)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(measure(scores)), float(low), float(high), level)


def counterfactual_gap(
    first: ArrayLike, second: ArrayLike, *, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> CounterfactualGap:
    """Change of a probability between sentences that differ in one word, `first` minus `second`.

    The interval resamples sentences, each with all its words: it says how much the mean would vary with other
    sentences of this kind, and nothing of other words.

    Args:
        first, second: `[sentences, words]`, the probability of one class for each sentence with the words of two
            groups; what stands at the same place is a pair.

    Raises:
        ValueError: shapes that differ or have not two axes, fewer than two sentences, or numbers outside [0, 1].
    """
    first, second = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if first.shape != second.shape or first.ndim != 2 or not first.size:
        raise ValueError(f"first {list(first.shape)} and second {list(second.shape)} must both be [sentences, words]")
    if not (np.all((first >= 0) & (first <= 1)) and np.all((second >= 0) & (second <= 1))):
        raise ValueError("first and second must lie in [0, 1]: pass probabilities, not logits")
    change = first - second
    mean = bootstrap_interval(change.mean(axis=1), level=level, resamples=resamples, seed=seed)
    sentence, word = np.unravel_index(np.abs(change).argmax(), change.shape)
    return CounterfactualGap(mean, float(change[sentence, word]), (int(sentence), int(word)))


def bleu(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU from 0 to 100 (Papineni et al. 2002), by sacrebleu with its standard tokenisation.

    Raises:
        ValueError: different numbers of sentences, or none.
    """
    _require_pairs(predictions, references)
    from sacrebleu.metrics import BLEU  # here, because only translation needs it

    return BLEU().corpus_score(list(predictions), [list(references)]).score


def normalise_answer(text: str) -> str:
    """Lower case, without ASCII punctuation and the articles a, an, the; single spaces. The order is SQuAD's."""
    text = text.lower().translate(str.maketrans("", "", string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def squad_scores(predictions: Sequence[str], answers: Sequence[Sequence[str]]) -> SquadScores:
    """Exact match and F1 over words for each question, as SQuAD 2 defines them (Rajpurkar, Jia and Liang 2018).

    Both sides are normalised first, and the best of a question's right answers counts. A question without
    an answer has an empty list: there the empty prediction scores 1 and everything else 0.

    Args:
        predictions: one text for each question, "" for "the passage does not say".
        answers: the texts that are right, for each question; the `text` of `answers` in SQuAD's form.

    Raises:
        ValueError: different numbers of them, or none.
    """
    _require_pairs(predictions, answers)
    exact, f1 = [], []
    for prediction, right in zip(predictions, answers, strict=True):
        words = normalise_answer(prediction).split()
        golden = [gold for gold in (normalise_answer(answer).split() for answer in right) if gold] or [[]]
        exact.append(max(words == gold for gold in golden))
        f1.append(max(_word_f1(words, gold) for gold in golden))
    return SquadScores(np.array(exact, dtype=float), np.array(f1, dtype=float))


def _word_f1(words: list[str], gold: list[str]) -> float:
    """Harmonic mean of precision and recall of the words, repeated ones counted; all or nothing if one has none."""
    if not words or not gold:
        return float(words == gold)
    return 2 * (Counter(words) & Counter(gold)).total() / (len(words) + len(gold))


def entity_f1(predictions: Sequence[Sequence[str]], references: Sequence[Sequence[str]]) -> EntityScores:
    """Precision, recall and F1 over whole entities, by seqeval with the rules of the CoNLL evaluation.

    An entity counts if its kind, its first and its last word are all right.

    Args:
        predictions, references: for each text one BIO tag a word.

    Raises:
        ValueError: different numbers of texts or of tags, no texts, or a tag that is not `O`, `B-kind` or `I-kind`.
    """
    _require_pairs(predictions, references)
    predictions, references = [list(tags) for tags in predictions], [list(tags) for tags in references]
    for index, (ours, right) in enumerate(zip(predictions, references, strict=True)):
        if len(ours) != len(right):
            raise ValueError(f"text {index} has {len(right)} words and {len(ours)} predicted tags")
        for tag in (*ours, *right):
            if tag != "O" and not re.fullmatch(r"[BI]-.+", tag):
                raise ValueError(f"tag {tag!r} of text {index} is no BIO tag: 'O', or 'B-' or 'I-' and a kind")
    # here, because only tagging needs it
    from seqeval.metrics.sequence_labeling import get_entities, precision_recall_fscore_support

    pairs = [(set(get_entities(o)), set(get_entities(r))) for o, r in zip(predictions, references, strict=True)]
    counts = np.array([[len(ours & right), len(ours), len(right)] for ours, right in pairs])
    kinds = sorted({entity[0] for pair in pairs for side in pair for entity in side})
    if not kinds:
        return EntityScores(EntityScore(0.0, 0.0, 0.0, 0), {}, counts)
    settings = {"zero_division": 0}
    table = zip(*precision_recall_fscore_support(references, predictions, **settings), strict=True)
    *overall, _ = precision_recall_fscore_support(references, predictions, average="micro", **settings)
    each = [EntityScore(*map(float, row[:3]), int(row[3])) for row in table]
    total = EntityScore(*map(float, overall), int(counts[:, 2].sum()))
    return EntityScores(total, dict(zip(kinds, each, strict=True)), counts)


def count_f1(counts: ArrayLike) -> float:
    """F1 from rows of (rightly predicted, predicted, there): 2 · right / (predicted + there), 0 if there is nothing."""
    right, predicted, there = np.asarray(counts).reshape(-1, 3).sum(axis=0)
    return float(2 * right / (predicted + there)) if predicted + there else 0.0


def attention_links(weights: ArrayLike) -> frozenset[tuple[int, int]]:
    """Link each target word to the source word it attends to most: (source, target) positions.

    Args:
        weights: `[target_len, source_len]`.

    Raises:
        ValueError: another number of axes.
    """
    weights = np.asarray(weights)
    if weights.ndim != 2:
        raise ValueError(f"weights has shape {list(weights.shape)}: average or choose heads to get [target, source]")
    return frozenset((int(source), target) for target, source in enumerate(weights.argmax(axis=1)))


def alignment_error(
    predicted: Sequence[Links], sure: Sequence[Links], possible: Sequence[Links] | None = None
) -> float:
    """Alignment error rate over sentences: 1 - (|A ∩ S| + |A ∩ P|) / (|A| + |S|) (Och and Ney 2003).

    Args:
        predicted, sure, possible: for each sentence the links (source position, target position).
            Sure links count as possible ones too; without `possible` the rate is 1 - F1.

    Raises:
        ValueError: different numbers of sentences, or no link at all.
    """
    _require_pairs(predicted, sure)
    if possible is not None:
        _require_pairs(possible, sure)
    hits = links = 0
    for index, (guessed, certain) in enumerate(zip(predicted, sure, strict=True)):
        guessed, certain = set(guessed), set(certain)
        allowed = certain | set(possible[index] if possible is not None else ())
        hits += len(guessed & certain) + len(guessed & allowed)
        links += len(guessed) + len(certain)
    if not links:
        raise ValueError("there is nothing to score: no sentence has a link")
    return 1 - hits / links
