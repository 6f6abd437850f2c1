"""Training: merges and vocabularies against the `tokenizers` library, and by hand on small texts."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from pydoc_data.topics import topics

import pytest
import tokenizers as library

from course_lib.tokenizers import BPETokenizer, WordPieceTokenizer
from course_lib.tokenizers.bpe import BYTE_SYMBOLS, apply_merges
from course_lib.tokenizers.merging import merge_in_word
from course_lib.tokenizers.wordpiece import SPECIAL_TOKENS
from tests.tokenizer_texts import HARD, library_bpe

ROOT = Path(__file__).resolve().parent.parent
CORPUS = [*list(topics.values())[:40], *HARD, "aaaa aaaaa aaaaaaa 1111 11111"]


def library_model(tokenizer):
    return json.loads(tokenizer.to_str())["model"]


@pytest.mark.parametrize("individual_digits", [False, True])
@pytest.mark.parametrize("special_tokens", [(), ("<|end|>", "a", "th", "[MASK]")])
def test_bpe_learns_the_librarys_merges(special_tokens, individual_digits):
    ours = BPETokenizer.train(CORPUS, 1301, special_tokens, individual_digits)
    theirs = library_model(library_bpe(1301, CORPUS, special_tokens, individual_digits))
    assert ours.vocab == theirs["vocab"]
    assert ours.merges == list(map(tuple, theirs["merges"]))


def random_texts(seed):
    """Few letters, so that counts tie and pairs overlap."""
    source = random.Random(seed)
    letters = source.choice(["ab ", "aaab ", "abc  ", "aà1 ", "ab'1 "])
    return ["".join(source.choices(letters, k=source.randint(1, 80))) for _ in range(source.randint(1, 6))]


@pytest.mark.parametrize("seed", range(60))
def test_bpe_breaks_ties_as_the_library(seed):
    texts = random_texts(seed)
    ours = BPETokenizer.train(texts, 307)
    theirs = library_model(library_bpe(307, texts))
    assert ours.vocab == theirs["vocab"]
    assert ours.merges == list(map(tuple, theirs["merges"]))


def library_wordpiece_vocab(texts, vocab_size, alphabet, lowercase=True):
    """The library numbers continuations at random unless they are given, as special tokens, in an order."""
    tokenizer = library.Tokenizer(library.models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = library.normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    trainer = library.trainers.WordPieceTrainer(vocab_size=vocab_size, special_tokens=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer.get_vocab()


def wordpiece_alphabet(texts, lowercase=True):
    """Special tokens, characters, continuations: found with the library's own normaliser and word splitting."""
    normalizer = library.normalizers.BertNormalizer(lowercase=lowercase)
    splitter = library.pre_tokenizers.BertPreTokenizer()
    words = {word for text in texts for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))}
    characters = {char for word in words for char in word}
    continuations = {"##" + char for word in words for char in word[1:]}
    return [*SPECIAL_TOKENS, *sorted(characters), *sorted(continuations)]


@pytest.mark.parametrize("lowercase", [True, False])
def test_wordpiece_learns_the_librarys_vocabulary(lowercase):
    ours = WordPieceTokenizer.train(CORPUS, 1511, lowercase)
    alphabet = wordpiece_alphabet(CORPUS, lowercase)
    assert ours.vocab == library_wordpiece_vocab(CORPUS, 1511, alphabet, lowercase)
    assert len(ours) == 1511


@pytest.mark.parametrize("seed", range(60))
def test_wordpiece_breaks_ties_as_the_library(seed):
    texts = ["ab", *random_texts(seed)]
    ours = WordPieceTokenizer.train(texts, 67)
    assert ours.vocab == library_wordpiece_vocab(texts, 67, wordpiece_alphabet(texts))


def test_training_stops_when_nothing_is_left_to_merge():
    assert BPETokenizer.train(["abc"], 10_007).merges == [("a", "b"), ("ab", "c")]
    assert BPETokenizer.train([], 257).merges == []


def test_min_frequency():
    texts = ["ab ab ab cd cd ef"]
    assert BPETokenizer.train(texts, 999, min_frequency=3).merges == [("a", "b")]
    vocab = WordPieceTokenizer.train(texts, 999, min_frequency=2).vocab
    assert "ab" in vocab and "cd" in vocab and "ef" not in vocab


def test_training_is_the_same_in_every_process():
    """Whatever order sets have there: Python's hashes of strings are drawn anew for each process."""
    code = (
        "from tests.test_tokenizers_training import CORPUS, BPETokenizer, WordPieceTokenizer\n"
        "import hashlib\n"
        "learnt = BPETokenizer.train(CORPUS, 1301).merges, list(WordPieceTokenizer.train(CORPUS, 1511).vocab)\n"
        "print(hashlib.sha256(repr(learnt).encode()).hexdigest())"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            encoding="utf-8",
            check=True,
        )
        for seed in ("1", "2")
    ]
    assert runs[0].stdout == runs[1].stdout != ""


def test_training_does_not_hang_on_the_order_of_the_texts():
    assert BPETokenizer.train(reversed(CORPUS), 1301).merges == BPETokenizer.train(CORPUS, 1301).merges
    assert WordPieceTokenizer.train(reversed(CORPUS), 1511).vocab == WordPieceTokenizer.train(CORPUS, 1511).vocab


def test_training_reads_the_texts_once():
    texts = ["low lower lowest", "new newer newest"]
    assert BPETokenizer.train(iter(texts), 263).merges == BPETokenizer.train(texts, 263).merges


def test_merging_in_a_word_reports_how_counts_change():
    word = [1, 7, 7, 7, 7, 2]
    changes = merge_in_word(word, (7, 7), 9)
    assert word == [1, 9, 9, 2]
    assert changes == [
        ((1, 7), -1),
        ((1, 9), 1),
        ((7, 7), -1),
        ((9, 7), 1),
        ((9, 7), -1),
        ((9, 9), 1),
        ((7, 2), -1),
        ((9, 2), 1),
    ]


def test_merges_apply_by_rank_then_from_the_left():
    merges = {(1, 1): (1, 2), (1, 3): (0, 4), (2, 2): (2, 5)}
    assert apply_merges([1, 1, 1, 3, 1, 1, 1], merges) == [2, 4, 2, 1]
    assert apply_merges([1] * 5, merges) == [5, 1]
    assert apply_merges([], merges) == []
    # The pair 1, 2 waits in the queue while its 2 is merged with the 3.
    assert apply_merges([1, 2, 3, 1, 2], {(2, 3): (0, 4), (1, 2): (1, 5)}) == [1, 4, 5]


def test_byte_symbols_are_the_librarys():
    byte_level = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    assert sorted(BYTE_SYMBOLS) == sorted(library.pre_tokenizers.ByteLevel.alphabet())
    for char in map(chr, range(0x800)):
        [(symbols, _)] = byte_level.pre_tokenize_str(char)
        assert symbols == "".join(BYTE_SYMBOLS[byte] for byte in char.encode())
