"""Training BPE and encoding WordPiece, against the Rust of `tokenizers`: `python benchmarks/tokenizing.py`."""

import copy
import os
from collections.abc import Sequence

import tokenizers
from rounds import Row, compare, require_equal
from rounds import main as measure_all
from tokenizers import models, pre_tokenizers, trainers

from course_lib import assets, corpora
from course_lib.tokenizers import BPETokenizer, WordPieceTokenizer
from course_lib.tokenizers.bpe import BYTE_SYMBOLS

CHARACTERS, MERGES = 500_000, 2000
QUICK_CHARACTERS, QUICK_MERGES = 10_000, 50


def snippets(characters: int) -> list[str]:
    """Movie-review snippets, as many as have this many characters together."""
    chosen, total = [], 0
    for text in corpora.load("movie-reviews", "train")["text"]:
        if total >= characters:
            break
        chosen.append(text)
        total += len(text)
    return chosen


def bpe_training(quick: bool) -> Row:
    """From texts to merges; both start from the 256 bytes."""
    texts = snippets(QUICK_CHARACTERS if quick else CHARACTERS)
    merges = QUICK_MERGES if quick else MERGES
    vocab_size = len(BYTE_SYMBOLS) + merges

    def by_course():
        return BPETokenizer.train(texts, vocab_size)

    def by_library():
        found = tokenizers.Tokenizer(models.BPE())
        found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
        )
        found.train_from_iterator(texts, trainer)
        return found

    require_equal(by_course().vocab, by_library().get_vocab(), "the vocabulary of BPE")
    sizes = {"characters": sum(map(len, texts)), "merges": merges}
    return compare(by_course, by_library, quick, target=5) | sizes


def wordpiece_encoding(quick: bool) -> Row:
    """From texts to ids with MiniLM's vocabulary; ours starts without remembered words each time."""
    texts = snippets(QUICK_CHARACTERS if quick else CHARACTERS)
    folder = assets.fetch("minilm-l6")
    own = WordPieceTokenizer.load(folder)
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs.no_padding()
    theirs.no_truncation()

    def by_course():
        fresh = copy.copy(own)
        return [fresh.encode(text).ids for text in texts]

    def by_library():
        return [found.ids for found in theirs.encode_batch(texts, add_special_tokens=False)]

    require_equal(by_course(), by_library(), "the ids of WordPiece")
    return compare(by_course, by_library, quick, target=6) | {"characters": sum(map(len, texts))}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the result file."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # one thread on either side
    rows = {"bpe_training": bpe_training, "wordpiece_encoding": wordpiece_encoding}
    measure_all("tokenizing", rows, ("tokenizers", "regex"), arguments)


if __name__ == "__main__":
    main()
