"""Texts that are hard on a tokenizer, and comparison with the `tokenizers` library."""

import random
import unicodedata
from collections.abc import Iterable, Iterator

import tokenizers as library
from hypothesis import strategies as st

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")

HARD = [
    "",
    " ",
    "\n\n  \t ",
    "\x00",
    "a\x00b\x1fc\x7fd\x85e\xadf",  # NUL, controls, next line, soft hyphen
    "\ufffd\ufeff\u200b\u200c\u200d\u2060",  # replacement, byte order mark, zero width
    "\ud7ff\ue000\uf8ff\U0010ffff\U0010fffe\ufffe\uffff",  # around the surrogates, private use, last ones
    "e\u0301 é ﬁ ǆ ß ẞ İ ı ſ K Å",
    "\u0301\u0302 lonely marks",
    "a\u0301\u0323\u0334 a\u0323\u0301 ế\u0323 \u0344\u0323 q\u0307\u0323",  # marks out of canonical order
    "Z̴̡̛͎̺̅a̸l̷̰͠g̶o̵͜",
    "\U0001d15e\U0001d157\U0001d165\U0001d16e a\u302e\u0301\u302a b\u302f",  # composites and marks that take space
    "ΑΣ ΌΣΟΣ Σ ὈΔΥΣΣΕΎΣ",
    "שָׁלוֹם עולם \u202eabc\u202c مَرْحَبًا لا",
    "नमस्ते ไทย กำ ខ្មែរ 한국어 각 각",
    "中文字符 mixed中文with英文 かな カナ 豈 豈 \U00020000\U0002b820\U0002b920\U0002f800",
    "👩‍👩‍👧‍👦 👍🏽 🏳️‍🌈 🇫🇷🇩🇪 ☎️ 1️⃣",
    "½ ² Ⅷ ٣٤ 12345 3.14 1,000 १२३ 𝟘𝟙 ㊿ 一二三",
    "I'm you're we'll they'd don't it's DON'T 's 'S ' s ’s",
    "a  b   c \n\n d\r\ne\u00a0f\u2003g\u3000h\u2028i\u1680j ",
    "x 5  6   7\n8 9",
    "!?...,;:-_—–«»¿¡§¶†‡$+<=>^`|~€×÷°",
    "a" * 99 + " " + "b" * 100 + " " + "c" * 101 + " " + "é" * 100 + "e\u0301" * 101,
    "ab" * 700 + "!" * 300 + " " * 300 + "0" * 300,
    "[MASK][mask] [MASK]ed un[SEP]able [CLS [[UNK]] [ PAD ] [MASK",
    "<|end|><|end|>> <|en <|END|> <|endoftext|> text<|im_end|>\n<|im_start|>user <|im_",
    "##ing ## # ###a Ġ Ċ Ġthe Ã© Ā",
    "\u1734\U0001171e\u166d\U000111c9",  # their category changed
    "\u1c89\ua7cb\ua7dc\U00010d50\U00016ea0",  # capitals of Unicode 16 and 17
    "\U00011938a\u0301\U00011938 \U000105c9 \U00016121",  # composites that the library leaves whole
    "\u07fd\u0334a\u0301\u07fd\u0334 \u08d4\u0323",  # marks newer than the library's tables
    "\U00011de0\U00016ff4\U0001246f1\u0558\u208fa",  # digits and letters of Unicode 17 and 18
]

_WORDS = [
    "the",
    "Quick",
    "BROWN",
    "unaffable",
    "naïve",
    "Zürich",
    "tokenization",
    "don't",
    "we'll",
    "x",
    "1984",
    "U.S.A.",
]
_GLUE = ["", "", "", " ", " ", " ", "  ", "\n", "\t", "-", ".", ", ", "'", "\u00a0", "\u200d"]
_RANGES = [
    (0x00, 0x80),
    (0x80, 0x250),
    (0x250, 0x900),
    (0x900, 0x1200),
    (0x1A00, 0x2100),
    (0x2100, 0x3400),
    (0x4E00, 0x4F00),
    (0xA600, 0xD800),
    (0xE000, 0x10000),
    (0x10000, 0x1F000),
    (0x1F000, 0x20100),
    (0x2A600, 0x2CF00),
    (0xE0000, 0x110000),
]
MARKS = [chr(i) for i in range(0x20000) if unicodedata.combining(chr(i))]


def generated(number: int, seed: int) -> list[str]:
    """`number` different texts: the hard ones, then random mixtures of them, words, marks and any characters."""
    source = random.Random(seed)
    texts = dict.fromkeys(HARD)
    while len(texts) < number:
        texts[_mixture(source)] = None
    return list(texts)


def _mixture(source: random.Random) -> str:
    parts = []
    for _ in range(source.randint(1, 8)):
        parts += [_part(source), source.choice(_GLUE)]
    return "".join(parts)


def _part(source: random.Random) -> str:
    kind = source.randrange(6)
    if kind < 2:
        return source.choice(_WORDS)
    if kind == 2:
        return source.choice([*SPECIAL, "<|end|>", "<|im_end|>", "<|endoftext|>"])
    if kind == 3:
        text = source.choice(HARD)
        start = source.randrange(len(text) + 1)
        return text[start : start + source.randint(1, 12)]
    if kind == 4:
        return source.choice("aeoqn한中") + "".join(source.choices(MARKS, k=source.randint(1, 4)))
    block = range(*source.choice(_RANGES))
    return "".join(chr(code) for code in source.choices(block, k=source.randint(1, 5)))


def every_character(per_text: int = 61) -> Iterator[str]:
    """Texts that hold every character of planes 0 to 3, the tags of plane 14 and both ends of the other planes."""
    codes = [*range(0xD800), *range(0xE000, 0x40000), *range(0xDFF80, 0xE0200)]
    codes += [plane * 0x10000 + low for plane in range(4, 17) for low in (0, 1, 0xFFFD, 0xFFFE, 0xFFFF)]
    for start in range(0, len(codes), per_text):
        yield "".join(map(chr, codes[start : start + per_text]))


def texts() -> st.SearchStrategy[str]:
    """Any text, and texts put together from hard pieces."""
    piece = st.one_of(st.sampled_from([*HARD, *_WORDS, *SPECIAL, "<|end|>", "<|im_end|>"]), st.text(max_size=5))
    return st.one_of(st.text(), st.lists(piece, max_size=6).map("".join))


def assert_same(ours, theirs: library.Tokenizer, text: str) -> None:
    """Ids, tokens and offsets are the library's."""
    got, expected = ours.encode(text), theirs.encode(text, add_special_tokens=False)
    assert (got.ids, got.tokens, got.offsets) == (expected.ids, expected.tokens, expected.offsets), ascii(text)


def count_same(ours, theirs: library.Tokenizer, texts: Iterable[str]) -> int:
    """Compare on every text; how many there were."""
    number = 0
    for text in texts:
        assert_same(ours, theirs, text)
        number += 1
    return number


def library_bpe(vocab_size: int, texts: Iterable[str], special_tokens=(), individual_digits=False) -> library.Tokenizer:
    """A byte-level BPE trained by the library."""
    byte_level = library.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    digits = library.pre_tokenizers.Digits(individual_digits=True)
    tokenizer = library.Tokenizer(library.models.BPE())
    steps = [digits, byte_level] if individual_digits else [byte_level]
    tokenizer.pre_tokenizer = library.pre_tokenizers.Sequence(steps)
    tokenizer.decoder = library.decoders.ByteLevel()
    trainer = library.trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special_tokens),
        initial_alphabet=library.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def library_wordpiece(vocab: dict[str, int], lowercase: bool = True) -> library.Tokenizer:
    """BERT's tokenizer as the library builds it, with a given vocabulary."""
    tokenizer = library.Tokenizer(library.models.WordPiece(vocab, unk_token="[UNK]"))
    tokenizer.normalizer = library.normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = library.decoders.WordPiece()
    tokenizer.add_special_tokens([token for token in SPECIAL if token in vocab])
    return tokenizer
