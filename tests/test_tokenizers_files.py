"""Saving, loading, and bad input: every error names the value and the way out."""

import json
import pickle
from pathlib import Path

import pytest
import tokenizers as library
from transformers import AutoTokenizer

from course_lib.tokenizers import BPETokenizer, Encoding, WordPieceTokenizer
from tests.tokenizer_texts import HARD, count_same

TEXTS = ["the cat sat on the mat, the dog sat too", "Él bebió 12 cafés 中文", "low lower lowest"]
VOCAB = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "cat": 5, "##s": 6, "sat": 7}


@pytest.fixture(params=["bpe", "bpe-digits", "wordpiece", "wordpiece-cased", "wordpiece-bare"])
def tokenizer(request):
    match request.param:
        case "bpe":
            return BPETokenizer.train(TEXTS, 281)
        case "bpe-digits":
            return BPETokenizer.train(TEXTS, 283, special_tokens=["<|end|>", "<|pad|>"], individual_digits=True)
        case "wordpiece":
            return WordPieceTokenizer.train(TEXTS, 101)
        case "wordpiece-cased":
            return WordPieceTokenizer.train(TEXTS, 103, lowercase=False)
        case "wordpiece-bare":
            return WordPieceTokenizer.from_vocab({"[UNK]": 3, "cat": 5, "##s": 11})


@pytest.fixture
def wordpiece():
    return WordPieceTokenizer.from_vocab(VOCAB)


@pytest.fixture
def bpe():
    return BPETokenizer.train(TEXTS, 281, special_tokens=["<|end|>"])


# Saving and loading ---------------------------------------------------------------------------------------


def test_saved_and_loaded_is_the_same(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "new" / "directory")
    loaded = type(tokenizer).load(str(tmp_path / "new" / "directory"))
    assert (loaded.vocab, loaded.special_tokens) == (tokenizer.vocab, tokenizer.special_tokens)
    assert [loaded.encode(text) for text in HARD] == [tokenizer.encode(text) for text in HARD]


def test_saved_loads_into_the_library(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    theirs = library.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert count_same(tokenizer, theirs, HARD) == len(HARD)


def test_saved_loads_into_transformers(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    for text in (*TEXTS, "[MASK] sat<|end|>"):
        if "[CLS]" not in tokenizer.vocab and "[" in text:
            continue  # transformers adds the special tokens that it misses
        assert theirs(text, add_special_tokens=False)["input_ids"] == tokenizer.encode(text).ids


def test_transformers_frames_what_bert_reads(wordpiece, tmp_path):
    wordpiece.save(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path)("cats", "sat")["input_ids"] == [2, 5, 6, 3, 7, 3]


def test_a_library_tokenizer_loads_here(tmp_path):
    theirs = library.ByteLevelBPETokenizer()
    theirs.train_from_iterator(TEXTS, vocab_size=277, special_tokens=["<|end|>"], show_progress=False)
    theirs.save(str(tmp_path / "tokenizer.json"))
    assert count_same(BPETokenizer.load(tmp_path), theirs, HARD) == len(HARD)


def test_saving_again_replaces_and_leaves_nothing_behind(tokenizer, tmp_path):
    tokenizer.save(tmp_path)
    tokenizer.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]


def test_a_save_that_fails_leaves_the_old_file(tokenizer, tmp_path, monkeypatch):
    tokenizer.save(tmp_path)
    before = (tmp_path / "tokenizer.json").read_bytes()

    def half_written(content, file, **options):
        file.write('{"version"')
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(json, "dump", half_written)
    with pytest.raises(OSError, match="No space left"):
        tokenizer.save(tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]


def test_a_tokenizer_can_be_sent_to_another_process(tokenizer):
    tokenizer.encode(TEXTS[0])
    copy = pickle.loads(pickle.dumps(tokenizer))
    assert copy.encode(TEXTS[1]) == tokenizer.encode(TEXTS[1])


def test_vocab_file(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("\r\n".join([*VOCAB, "\u2028x"]).encode())
    assert WordPieceTokenizer.from_vocab(path).vocab == VOCAB | {"\u2028x": 8}


def test_encoding_by_hand(wordpiece):
    assert wordpiece.encode(" Cats[MASK]catsat") == Encoding(
        [5, 6, 4, 1], ["cat", "##s", "[MASK]", "[UNK]"], [(1, 4), (4, 5), (5, 11), (11, 17)]
    )
    assert wordpiece.decode([5, 6, 7]) == "cats sat"
    assert wordpiece.decode([2, 5, 3], skip_special_tokens=True) == "cat"
    assert len(wordpiece.encode("cats")) == 2


def test_tokens_and_ids(wordpiece):
    assert (len(wordpiece), wordpiece.vocab_size) == (8, 8)
    assert wordpiece.token_to_id("##s") == 6
    assert wordpiece.id_to_token(6) == "##s"
    assert repr(wordpiece) == "WordPieceTokenizer(8 tokens, 5 of them special)"
    assert WordPieceTokenizer.from_vocab({"[UNK]": 3, "cat": 11}).vocab_size == 12


# Text -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [b"cat", None, 7, ["cat"], Path("cat")])
def test_text_that_is_no_string(tokenizer, text):
    with pytest.raises(TypeError, match=rf"text must be a str, not {type(text).__name__}"):
        tokenizer.encode(text)


def test_bytes_are_to_be_decoded(bpe):
    with pytest.raises(TypeError, match=r'b\'cat\'.*\.decode\("utf-8"\)'):
        bpe.encode(b"cat")


@pytest.mark.parametrize("text", ["ab\ud800c", "ab\udfff", "ab\ude00\ud83d"])
def test_lone_surrogate(tokenizer, text):
    with pytest.raises(ValueError, match=r"lone surrogate, '\\ud.*' at position 2.*surrogatepass"):
        tokenizer.encode(text)


def test_the_advice_for_surrogates_works(bpe):
    text = "\ud83d\ude00 ok".encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert bpe.decode(bpe.encode(text).ids) == "😀 ok"


# Ids ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id", [-1, 8, 10**9])
def test_id_out_of_range(wordpiece, id):
    with pytest.raises(ValueError, match=rf"id {id} is not in the vocabulary: its 8 ids lie between 0 and 7"):
        wordpiece.decode([5, id])


@pytest.mark.parametrize("id", [1.0, "cat", None])
def test_id_that_is_no_number(tokenizer, id):
    with pytest.raises(TypeError):
        tokenizer.decode([id])


def test_unknown_token(wordpiece):
    with pytest.raises(ValueError, match="token 'dog' is not in the vocabulary of 8 tokens"):
        wordpiece.token_to_id("dog")


# Vocabularies ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "vocab, message",
    [
        ({"cat": 0, "dog": 1}, r"the vocabulary of 2 tokens has no '\[UNK\]': add it"),
        ({}, r"has no '\[UNK\]'"),
        ({"[UNK]": 0, "cat": 0}, r"tokens '\[UNK\]' and 'cat' share the id 0"),
        ({"[UNK]": 0, "cat": -2}, "token 'cat' has the id -2"),
        ({"[UNK]": 0, "cat": "1"}, "token 'cat' has the id '1'"),
        ({"[UNK]": 0, 1: "cat"}, "vocabulary key 1 is not a str"),
    ],
)
def test_bad_wordpiece_vocabulary(vocab, message):
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer.from_vocab(vocab)


@pytest.mark.parametrize(
    "vocab, merges, special_tokens, message",
    [
        ({}, [], [], "the vocabulary is empty"),
        ({"a": 0, "b": 1}, ["a b"], [], "the merge 'a' \\+ 'b' needs the token 'ab', which is not in"),
        ({"a": 0, "ab": 1}, ["a b"], [], "needs the token 'b'"),
        ({"a": 0}, ["a"], [], "merge 'a' is not two tokens"),
        ({"a": 0}, ["a  a"], [], "merge 'a  a' is not two tokens"),
        ({"a": 0}, [("a", "")], [], "is not two tokens"),
        ({"a": 0}, [], ["<s>"], "special token '<s>' is not in the vocabulary of 1 tokens"),
        ({"a": 0}, [], ["a", "a"], "special token 'a' is given more than once"),
        ({"a": 0}, [], [""], "special token '' is not a string of one character or more"),
        ({"é": 0}, [], ["é"], r"special token 'é' is also how the bytes b'\\xe9' are written"),
    ],
)
def test_bad_bpe_parts(vocab, merges, special_tokens, message):
    with pytest.raises(ValueError, match=message):
        BPETokenizer.from_files(vocab, merges, special_tokens)


def test_special_tokens_as_one_string():
    with pytest.raises(TypeError, match=r"pass a list, \['<s>'\]"):
        BPETokenizer.train(TEXTS, 300, special_tokens="<s>")


# Training -------------------------------------------------------------------------------------------------


def test_vocab_size_below_the_bytes():
    with pytest.raises(
        ValueError, match=r"vocab_size=257 is too small for 2 special tokens .* 256 bytes.* at least 258"
    ):
        BPETokenizer.train(TEXTS, 257, special_tokens=["<s>", "</s>"])
    assert len(BPETokenizer.train(TEXTS, 258, special_tokens=["<s>", "</s>"])) == 258


def test_vocab_size_below_the_alphabet():
    with pytest.raises(ValueError, match=r"vocab_size=9 .* 5 special tokens .* 3 characters .* 2 continuations.* 10"):
        WordPieceTokenizer.train(["abc"], 9)
    assert len(WordPieceTokenizer.train(["abc"], 10)) == 10


@pytest.mark.parametrize("train", [BPETokenizer.train, WordPieceTokenizer.train])
def test_bad_training_texts(train):
    with pytest.raises(TypeError, match=r"texts is a single str \('abc'\): pass a list of strings"):
        train("abc", 300)
    with pytest.raises(TypeError, match=r"texts\[1\] must be a str, not int \(7\)"):
        train(["abc", 7], 300)
    with pytest.raises(ValueError, match=r"texts\[0\] holds a lone surrogate"):
        train(["\ud800"], 300)


@pytest.mark.parametrize("texts", [[], [" \n", "\x00"]])
def test_wordpiece_from_no_words(texts):
    with pytest.raises(ValueError, match="the texts hold no word"):
        WordPieceTokenizer.train(texts, 300)


# Damaged files --------------------------------------------------------------------------------------------


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no tokenizer\.json in .*save\(\)"):
        BPETokenizer.load(tmp_path)
    with pytest.raises(FileNotFoundError):
        WordPieceTokenizer.from_vocab(tmp_path / "vocab.txt")
    with pytest.raises(FileNotFoundError):
        BPETokenizer.from_files(tmp_path / "vocab.json", tmp_path / "merges.txt")


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda data: data[: len(data) // 2], "is not valid JSON .* damaged or cut off"),
        (lambda data: b"", "is not valid JSON"),
        (lambda data: b"[1, 2]", "holds a JSON list, not an object"),
        (lambda data: b"{}", "lacks a part of a tokenizer"),
        (lambda data: b'{"model": null}', "lacks a part of a tokenizer"),
        (lambda data: b"\x80\x81" + data, "is not a text file in UTF-8 .byte 0 is 0x80"),
    ],
)
def test_damaged_tokenizer_file(tokenizer, tmp_path, damage, message):
    tokenizer.save(tmp_path)
    path = tmp_path / "tokenizer.json"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=rf"tokenizer\.json.*{message}"):
        type(tokenizer).load(tmp_path)


def edit(directory, change):
    path = directory / "tokenizer.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    "change, message",
    [
        (
            lambda c: c["model"].update(type="BPE"),
            "the model has type='BPE', but this class does type='WordPiece' only",
        ),
        (lambda c: c["model"].update(max_input_chars_per_word=7), "max_input_chars_per_word=7"),
        (lambda c: c["model"]["vocab"].pop("[UNK]") and c["added_tokens"].pop(1), r"has no '\[UNK\]'"),
        (lambda c: c["normalizer"].update(type="NFKC"), "the normalizer has type='NFKC'"),
        (lambda c: c["normalizer"].update(strip_accents=False), "strip_accents=False with lowercase=True"),
        (lambda c: c["normalizer"].pop("lowercase"), "lacks a part .*lowercase"),
        (lambda c: c["pre_tokenizer"].update(type="Whitespace"), "the pre_tokenizer has type='Whitespace'"),
        (lambda c: c["added_tokens"][0].update(lstrip=True), r"added token '\[PAD\]' asks for lstrip=true"),
    ],
)
def test_wordpiece_file_of_another_kind(wordpiece, tmp_path, change, message):
    wordpiece.save(tmp_path)
    edit(tmp_path, change)
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer.load(tmp_path)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda c: c["model"].update(type="Unigram"), "the model has type='Unigram'"),
        (lambda c: c["model"].update(byte_fallback=True), "byte_fallback=True"),
        (lambda c: c["model"]["merges"].append(["q", "zz"]), "the merge 'q' \\+ 'zz' needs the token 'zz'"),
        (lambda c: c["model"]["merges"].append("q"), "merge 'q' is not two tokens"),
        (lambda c: c.update(normalizer={"type": "NFC"}), "does not change the text"),
        (lambda c: c["pre_tokenizer"]["pretokenizers"][0].update(add_prefix_space=True), "add_prefix_space=True"),
        (lambda c: c["pre_tokenizer"]["pretokenizers"].insert(0, {"type": "Punctuation"}), "type='Punctuation'"),
        (
            lambda c: c["pre_tokenizer"].update(
                pretokenizers=[{"type": "Digits", "individual_digits": True}] * 2 + c["pre_tokenizer"]["pretokenizers"]
            ),
            "the pre_tokenizer has 3 steps",
        ),
        (lambda c: c["pre_tokenizer"].update(pretokenizers=[]), "the pre_tokenizer has 0 steps"),
    ],
)
def test_bpe_file_of_another_kind(bpe, tmp_path, change, message):
    bpe.save(tmp_path)
    edit(tmp_path, change)
    with pytest.raises(ValueError, match=message):
        BPETokenizer.load(tmp_path)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"[UNK]\ncat\n\ndog\n", "vocab.txt, line 3: an empty line"),
        (b"[UNK]\ncat\ndog\ncat\n", "vocab.txt, line 4: token 'cat' stands on line 2 already"),
        (b"[UNK]\nca\xff\n", "vocab.txt is not a text file in UTF-8 .byte 8 is 0xff"),
        (b"cat\n", r"has no '\[UNK\]'"),
    ],
)
def test_damaged_vocab_file(tmp_path, content, message):
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        WordPieceTokenizer.from_vocab(tmp_path / "vocab.txt")


def test_damaged_bpe_files(tmp_path):
    vocab, merges = tmp_path / "vocab.json", tmp_path / "merges.txt"
    vocab.write_text('{"a": 0', encoding="utf-8")
    with pytest.raises(ValueError, match=r"vocab\.json is not valid JSON"):
        BPETokenizer.from_files(vocab, merges)
    merges.write_bytes(b"#version: 0.2\na a\nab\n")
    with pytest.raises(ValueError, match=r"merges\.txt, line 3: merge 'ab' is not two tokens"):
        BPETokenizer.from_files({"a": 0, "aa": 1}, merges)
