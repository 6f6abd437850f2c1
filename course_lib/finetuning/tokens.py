"""Words with tags: from words to labelled pieces and back, and from tags to entities.

A tag is `O`, `B-kind` for the first word of an entity, or `I-kind` for a further one (Ramshaw and Marcus 1995). The
tokenizer cuts words into pieces, the tags belong to words: somebody has to say which piece carries the tag.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from course_lib.batching import IGNORED_LABEL
from course_lib.finetuning.recipe import predict, require_readable

ALIGNMENTS = ("first", "every", "position")
OUTSIDE = "O"


class Entity(NamedTuple):
    """Words `start` to `end` - 1 of a text, and what kind of thing they name."""

    kind: str
    start: int
    end: int


def entities(tags: Sequence[str]) -> list[Entity]:
    """The entities that the tags of a text mark, in order.

    An `I-` that does not continue an entity of its kind starts one, as in the CoNLL evaluation.

    Raises:
        ValueError: a tag that is neither `O` nor `B-` or `I-` and a kind.
    """
    found: list[Entity] = []
    for index, tag in enumerate(tags):
        prefix, _, kind = tag.partition("-")
        if tag == OUTSIDE:
            continue
        if prefix not in ("B", "I") or not kind:
            raise ValueError(f"tag {tag!r} of word {index} is no BIO tag: 'O', or 'B-' or 'I-' and a kind")
        last = found[-1] if found else None
        if prefix == "I" and last and last.end == index and last.kind == kind:
            found[-1] = last._replace(end=index + 1)
        else:
            found.append(Entity(kind, index, index + 1))
    return found


def align_labels(
    word_ids: Sequence[int | None], labels: Sequence[int], pieces: str = "first", ignore: int = IGNORED_LABEL
) -> list[int]:
    """Give the pieces of a text labels, from the labels of its words.

    Args:
        word_ids: for each piece the number of its word, None for [CLS], [SEP] and padding.
        labels: one for each word. A word may have no piece, if the tokenizer drops all its characters.
        pieces: `"first"` labels the first piece of each word and ignores the others, which is right;
            `"every"` copies the label to every piece of the word, so that one `B-` becomes several;
            `"position"` gives the n-th piece the n-th label and so forgets [CLS] and that words are cut.

    Raises:
        ValueError: a piece of a word that has no label, an unknown `pieces`.
    """
    if pieces not in ALIGNMENTS:
        raise ValueError(f"pieces={pieces!r} is not known: choose one of {', '.join(ALIGNMENTS)}")
    numbered = [word for word in word_ids if word is not None]
    if outside := [word for word in numbered if not 0 <= word < len(labels)]:
        raise ValueError(f"a piece is of word {outside[0]}, but there are labels for {len(labels)} words only")
    if pieces == "position":
        return [int(labels[i]) if i < len(labels) else ignore for i in range(len(word_ids))]
    aligned, before = [], None
    for word in word_ids:
        is_labelled = word is not None and (pieces == "every" or word != before)
        aligned.append(int(labels[word]) if is_labelled else ignore)
        before = word
    return aligned


def encode_words(
    tokenizer: Callable,
    texts: Sequence[Sequence[str]],
    labels: Sequence[Sequence[int]] | None = None,
    *,
    num_labels: int | None = None,
    max_length: int = 128,
    pieces: str = "first",
) -> list[dict[str, Any]]:
    """Turn texts that are lists of words into rows for `fit` and `predict`.

    Each row has `input_ids`, `labels` for its pieces where labels are given, `word_ids` (the word of each piece)
    and `num_words`.

    Args:
        tokenizer: one of transformers', a fast one.
        labels: for each text one label a word.
        num_labels: how many labels there are; a label outside them is an error.
        pieces: as `align_labels`.

    Raises:
        TypeError: a text that is a string, a word that is none.
        ValueError: no texts, an empty one, texts and labels of different number or length, a label out of range, or a
            text of more than `max_length` pieces: a word that is cut off would lose its tag without a word.
    """
    _check_words(texts, labels, num_labels)
    require_readable(tokenizer, max_length)
    encoded = tokenizer([list(words) for words in texts], is_split_into_words=True)
    rows = []
    for index, words in enumerate(texts):
        ids, word_ids = encoded["input_ids"][index], encoded.word_ids(index)
        if len(ids) > max_length:
            raise ValueError(
                f"text {index} has {len(ids)} pieces with [CLS] and [SEP], more than max_length={max_length}: "
                f"cut it into parts, or raise max_length (to {tokenizer.model_max_length} at most)"
            )
        row = {"input_ids": ids, "word_ids": word_ids, "num_words": len(words)}
        if labels is not None:
            row["labels"] = align_labels(word_ids, labels[index], pieces)
        rows.append(row)
    return rows


def _check_words(
    texts: Sequence[Sequence[str]], labels: Sequence[Sequence[int]] | None, num_labels: int | None
) -> None:
    if not len(texts):
        raise ValueError("texts is empty: there is nothing to encode")
    if labels is not None and len(labels) != len(texts):
        raise ValueError(f"{len(texts)} texts and labels for {len(labels)}: they must be pairs")
    for index, words in enumerate(texts):
        if isinstance(words, str):
            raise TypeError(f"text {index} is one string: split it into words first, for each word has a tag")
        if not len(words):
            raise ValueError(f"text {index} has no words: drop it before encoding")
        for number, word in enumerate(words):
            if not isinstance(word, str):
                raise TypeError(f"word {number} of text {index} is {type(word).__name__}, not a string")
        if labels is None:
            continue
        if len(labels[index]) != len(words):
            raise ValueError(f"text {index} has {len(words)} words and {len(labels[index])} labels: one for each word")
        for label in labels[index]:
            if label < 0 or (num_labels is not None and label >= num_labels):
                known = "" if num_labels is None else f", but there are {num_labels} of them, 0 to {num_labels - 1}"
                raise ValueError(f"text {index} has label {label}{known}")


def decode_tags(row: dict[str, Any], predicted: ArrayLike, names: Sequence[str]) -> list[str]:
    """The tags of a row's words, read where the labels stand: at the first piece of each word.

    Args:
        row: from `encode_words`.
        predicted: logits `[pieces, classes]`, or a label for each piece.
        names: of the labels.

    Raises:
        ValueError: another number of pieces or classes.
    """
    predicted = np.asarray(predicted)
    if len(predicted) != len(row["word_ids"]):
        raise ValueError(f"{len(predicted)} predictions for the {len(row['word_ids'])} pieces of a text")
    if predicted.ndim == 2:
        if predicted.shape[1] != len(names):
            raise ValueError(f"logits of {predicted.shape[1]} classes and {len(names)} names of tags")
        predicted = predicted.argmax(axis=1)
    tags = [OUTSIDE] * row["num_words"]  # a word without a piece stays outside
    seen = set()
    for word, label in zip(row["word_ids"], predicted, strict=True):
        if word is not None and word not in seen:
            seen.add(word)
            tags[word] = names[int(label)]
    return tags


def predict_tags(
    model: nn.Module, rows: Sequence[dict[str, Any]], names: Sequence[str], *, batch_size: int = 64
) -> list[list[str]]:
    """What a token classifier says of each word of rows from `encode_words`. Raises ValueError as `predict`."""
    logits = predict(model, rows, batch_size=batch_size)
    return [decode_tags(row, scores, names) for row, scores in zip(rows, logits, strict=True)]


def tag_names(kinds: Iterable[str]) -> list[str]:
    """`O`, then `B-` and `I-` of each kind: the labels of a tagger for these kinds of entities."""
    return [OUTSIDE, *(f"{prefix}-{kind}" for kind in kinds for prefix in "BI")]
