"""What a character is (a mark, punctuation, a digit), as the `tokenizers` library answers that question.

Unicode grows every year, and the library carries four of its versions side by side: 8.0 decides what is a mark,
punctuation or invisible in BERT's normaliser, 9.0 takes characters apart, 16.0 is behind `\\p{L}` and `\\p{N}`
in GPT-2's pattern, 17.0 behind lower-casing and digits. Python's `unicodedata` has one version, which depends on
the Python (14.0 in 3.11), and the `regex` package another. The tables below hold the characters on which they
differ, so that text is split alike under every Python. They were found by asking the library about each code point;
`tests/test_tokenizers_characters.py` asks again. The hexadecimal numbers are code points, `A-B` is a range.
"""

import string
import unicodedata
from collections.abc import Iterator


def _code_points(ranges: str) -> Iterator[int]:
    for item in ranges.split():
        first, _, last = item.partition("-")
        yield from range(int(first, 16), int(last or first, 16) + 1)


def _characters(ranges: str) -> frozenset[str]:
    return frozenset(map(chr, _code_points(ranges)))


# Marks, punctuation and format characters that came after Unicode 8.0: without a class for BERT.
_UNCLASSIFIED = _characters("""
    5C8-5C9 61D 7FD 890-891 897-89F 8CA-8E2 9FD-9FE A76 AFA-AFF B53-B55 C04 C3C C77 C84 D00 D3B-D3C D81 EBA ECE 180F
    1885-1886 1ABF-1AF0 1B4E-1B4F 1B7D-1B7F 1DF6-1DFB 2E43-2E4F 2E52-2E5D 2E60-2E63 A82C A8C5 A8FF A9BD 10D24-10D27
    10D69-10D6E 10EAB-10EAD 10ECB-10ED0 10EF0-10EFF 10F46-10F50 10F55-10F59 10F82-10F89 11070 11073-11074 110C2 110CD
    111CF 1123E 11241 1133B 113BB-113C0 113CE 113D0 113D2 113D4-113D5 113D7-113D8 113E1-113E2 11438-1143F 11442-11444
    11446 1144B-1144F 1145A-1145B 1145D-1145E 11660-1166C 116B9 1182F-11837 11839-1183B 1193B-1193C 1193E 11943-11946
    119D4-119D7 119DA-119DB 119E0 119E2 11A01-11A0A 11A33-11A38 11A3B-11A47 11A51-11A56 11A59-11A5B 11A8A-11A96
    11A98-11A9C 11A9E-11AA2 11B00-11B09 11B60 11B62-11B64 11B66 11BE1 11C30-11C36 11C38-11C3D 11C3F 11C41-11C45
    11C70-11C71 11C92-11CA7 11CAA-11CB0 11CB2-11CB3 11CB5-11CB6 11D31-11D36 11D3A 11D3C-11D3D 11D3F-11D45 11D47
    11D90-11D91 11D95 11D97 11DF0 11EF3-11EF4 11EF7-11EF8 11F00-11F01 11F36-11F3A 11F40 11F42-11F4F 11F5A 11FFF
    12FF1-12FF2 13430-13440 13447-13455 1611E-16129 1612D-1612F 16D6D-16D6F 16E97-16E9A 16F4F 16FE2 16FE4 1CF00-1CF2D
    1CF30-1CF46 1D127-1D128 1D25B-1D25C 1E000-1E006 1E008-1E018 1E01B-1E021 1E023-1E024 1E026-1E02A 1E08F 1E130-1E136
    1E2AE 1E2EC-1E2EF 1E4EC-1E4EF 1E5EE-1E5EF 1E5FF 1E6E3 1E6E6 1E6EE-1E6EF 1E6F5 1E944-1E94A 1E95E-1E95F
""")

# Their category was changed later.
_RECLASSIFIED = {"\u1734": "Mn", "\U0001171e": "Mn", "\u166d": "Po", "\U000111c9": "Po"}

# Came after Unicode 9.0: marks whose order the library leaves alone, characters that it does not take apart.
_NOT_REORDERED = _characters("""
    5C8-5C9 7FD 897-89F 8CA-8D3 9FE C3C D3B-D3C EBA 1715 1ABF-1AF0 1DF6-1DFA A82C 10D24-10D27 10D69-10D6D 10EAB-10EAC
    10ECB-10ECF 10EF0-10EFF 10F46-10F50 10F82-10F85 11070 1133B 113CE-113D0 1145E 11839-1183A 1193D-1193E 11943 119E0
    11A34 11A47 11A99 11D42 11D44-11D45 11D97 11F41-11F42 1612F 16FF0-16FF1 1D127-1D128 1D250-1D252 1D25B-1D25C 1D25F
    1D280-1D281 1E08F 1E130-1E136 1E2AE 1E2EC-1E2EF 1E4EC-1E4EF 1E5EE-1E5EF 1E6E3 1E6E6 1E6EE-1E6EF 1E6F5
""")
_NOT_DECOMPOSED = _characters("105C9 105E4 11383 11385 1138E 11391 113C5 113C7-113C8 11938 16121-16128 16D68-16D6A")

# Lower-casing that came between Unicode 14.0 and 17.0: capitals and the distance to the small letter.
_LATER_CAPITALS = {
    chr(capital): chr(capital + distance)
    for ranges, distance in [
        ("1C89 A7CC A7CE A7D2 A7D4 A7DA", 1),
        ("A7CB", 0x264 - 0xA7CB),
        ("A7DC", 0x19B - 0xA7DC),
        ("10D50-10D65", 0x20),
        ("16EA0-16EB8", 0x1B),
    ]
    for capital in _code_points(ranges)
}

# Letters and numbers that came after Unicode 16.0, and numbers after 17.0. For the patterns of the `regex` package,
# which may know them, they are replaced by a private-use character, which no Unicode version calls either.
_UNASSIGNED = "\ue000"
_LATER_NUMBERS = "1246F 12475-1247F 12550-12686"
_NUMBERS_OF_17 = "11DE0-11DE9 16FF4-16FF6"
_LATER_LETTERS = """
    558 58B-58C 88F C5C CDC 208F 209D-209F A7CE-A7CF A7D2 A7D4 A7DD A7E2 A7F1 AB6C-AB6D 107BB-107BF 10940-10959
    10EC5-10EC7 10ED9-10EEE 11B0A 11DB0-11DDB 11DF1 16EA0-16EB8 16EBB-16ED3 16FF2-16FF3 187F8-187FF 18CD6-18CDA
    18D09-18D20 18D80-18DF2 18E00-19191 191A0-191D2 1B123-1B128 1B168 1D6A6 1DF1F-1DF24 1DF2B-1DF81 1DF90-1DF96
    1DFCD-1DFFF 1E6C0-1E6DE 1E6E0-1E6E2 1E6E4-1E6E5 1E6E7-1E6ED 1E6F0-1E6F4 1E6FE-1E6FF 2B73A-2B73F 2B81E 2CEA2-2CEAD
    323B0-33479 3D000-3FC3F
"""
_AS_UNICODE_16 = dict.fromkeys(_code_points(_LATER_LETTERS + _LATER_NUMBERS + " " + _NUMBERS_OF_17), _UNASSIGNED)
_AS_UNICODE_17 = dict.fromkeys(_code_points(_LATER_NUMBERS), _UNASSIGNED) | dict.fromkeys(
    _code_points(_NUMBERS_OF_17), "0"
)

# The blocks of Chinese characters. In the library the sixth begins at 2B920, not at the block's first code point 2B820.
_CHINESE = [
    range(0x4E00, 0xA000),
    range(0x3400, 0x4DC0),
    range(0x20000, 0x2A6E0),
    range(0x2A700, 0x2B740),
    range(0x2B740, 0x2B820),
    range(0x2B920, 0x2CEB0),
    range(0xF900, 0xFB00),
    range(0x2F800, 0x2FA20),
]


def category(char: str) -> str:
    """Unicode's general category, as of version 8.0: "Lu" a capital, "Mn" an accent, "Po" punctuation, "Cn" none."""
    if char in _UNCLASSIFIED:
        return "Cn"
    return _RECLASSIFIED.get(char) or unicodedata.category(char)


def is_control(char: str) -> bool:
    """NUL, the replacement character, and what is not seen: control, format and private-use characters."""
    if char in "\t\n\r":
        return False
    return char == "\ufffd" or category(char) in ("Cc", "Cf", "Co")


def is_chinese(char: str) -> bool:
    """A Chinese character: written without spaces, so each is a word of its own. Kana and Hangul are not."""
    return any(ord(char) in block for block in _CHINESE)


def is_accent(char: str) -> bool:
    """A mark that is drawn on the character before it and takes no space of its own."""
    return category(char) == "Mn"


def is_punctuation(char: str) -> bool:
    """Punctuation, and the other ASCII symbols, among them `$`, `+` and `^`, which Unicode counts as symbols."""
    return char in string.punctuation or category(char).startswith("P")


def combining_class(char: str) -> int:
    """Where a mark stands in the canonical order of marks; 0 for a character that other marks cannot pass."""
    return 0 if char in _NOT_REORDERED else unicodedata.combining(char)


def decomposed(char: str) -> str:
    """The character taken apart into its base and its marks: "é" gives "e" and U+0301."""
    return char if char in _NOT_DECOMPOSED else unicodedata.normalize("NFD", char)


def lowercased(char: str) -> str:
    """The small letter, or the character itself. "Σ" gives "σ" at the end of a word too."""
    return _LATER_CAPITALS.get(char) or char.lower()


def as_unicode_16(text: str) -> str:
    """`text`, same length, in which the `regex` package sees letters and numbers of Unicode 16.0 and no later ones."""
    return text if text.isascii() else text.translate(_AS_UNICODE_16)


def as_unicode_17(text: str) -> str:
    """`text`, same length, in which the `regex` package sees the numbers of Unicode 17.0 and no later ones."""
    return text if text.isascii() else text.translate(_AS_UNICODE_17)
