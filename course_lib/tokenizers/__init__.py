"""Text to ids and back: byte-level BPE and WordPiece, equal to the `tokenizers` library on ids, tokens and offsets.

Pure Python; the one package used is `regex` (a dependency of transformers), because `re` has no `\\p{L}`.
`normalisation` → `pre_tokenisation` → `wordpiece` or `bpe`, with `merging` for training and `characters` for Unicode.
"""

from course_lib.tokenizers.bpe import BPETokenizer
from course_lib.tokenizers.encoding import Encoding
from course_lib.tokenizers.wordpiece import WordPieceTokenizer

__all__ = ["BPETokenizer", "Encoding", "WordPieceTokenizer"]
