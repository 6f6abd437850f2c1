"""`python -m course_lib.grammar FILE` writes the sample of the pairs that `data/` keeps."""

import sys
from pathlib import Path

from . import corpus, table

SAMPLE_ROWS = 200

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m course_lib.grammar FILE")
    # Bytes, so that line ends are the same on every system and the hash holds.
    Path(sys.argv[1]).write_bytes(table(corpus(), SAMPLE_ROWS).encode("utf-8"))
