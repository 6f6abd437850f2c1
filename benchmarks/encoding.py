"""Texts to vectors with MiniLM's weights, against transformers: `python benchmarks/encoding.py`.

The texts are movie-review snippets in the order of the corpus. `BertModel` takes them 32 at a time, each batch padded
to its longest; the pipeline takes them as its documentation shows, in one list. Ours is `Bert.encode_all`. All give one
vector per token of every text.
"""

from collections.abc import Sequence

import torch
import transformers
from rounds import Row, compare, milliseconds_by_kind, require_equal
from rounds import main as measure_all
from torch import Tensor

from course_lib import assets, corpora
from course_lib.batching import pad
from course_lib.bert import Bert
from course_lib.layers import prepare_for_inference
from course_lib.tokenizers import WordPieceTokenizer

TEXTS, QUICK_TEXTS, PROFILED = 2000, 4, 200
BATCH, LENGTH = 32, 128


def texts(quick: bool) -> list[str]:
    """The first snippets of the training split, whose order is a fixed shuffle."""
    return list(corpora.load("movie-reviews", "train")[: QUICK_TEXTS if quick else TEXTS]["text"])


def own_model() -> Bert:
    """The course's BERT in its fast forms."""
    return prepare_for_inference(Bert.from_pretrained("minilm-l6"))


def their_model() -> transformers.BertModel:
    """transformers' BERT with torch's fused attention."""
    return transformers.BertModel.from_pretrained(assets.fetch("minilm-l6"), attn_implementation="sdpa").eval()


def require_close(ours: Sequence[Tensor], theirs: Sequence[Tensor], what: str) -> None:
    """Every text has the same vectors."""
    for index, (own, other) in enumerate(zip(ours, theirs, strict=True)):
        require_equal(own, other, f"{what}, text {index}")


@torch.no_grad()
def batches(quick: bool) -> Row:
    """From token ids to vectors, against `BertModel` on padded batches."""
    own, theirs = own_model(), their_model()
    tokenizer = transformers.AutoTokenizer.from_pretrained(assets.fetch("minilm-l6"))
    rows = tokenizer(texts(quick))["input_ids"]

    def by_course():
        return own.encode_all(rows)

    def by_model():
        found: list[Tensor] = []
        for first in range(0, len(rows), BATCH):
            members = rows[first : first + BATCH]
            ids, mask = pad(members)
            hidden = theirs(input_ids=ids, attention_mask=mask.long()).last_hidden_state
            found += [vectors[: len(row)] for vectors, row in zip(hidden, members, strict=True)]
        return found

    require_close(by_course(), by_model(), "encoding in batches")
    padded = sum(len(rows[i : i + BATCH]) * max(map(len, rows[i : i + BATCH])) for i in range(0, len(rows), BATCH))
    sizes = {"texts": len(rows), "tokens": sum(map(len, rows)), "tokens_with_padding": padded}
    return compare(by_course, by_model, quick, target=0.55) | sizes


@torch.no_grad()
def pipeline(quick: bool) -> Row:
    """From strings to vectors, against the pipeline."""
    folder = assets.fetch("minilm-l6")
    own = own_model()
    words = WordPieceTokenizer.load(folder)
    cls, sep = (words.token_to_id(token) for token in ("[CLS]", "[SEP]"))
    extract = transformers.pipeline(
        "feature-extraction", model=their_model(), tokenizer=transformers.AutoTokenizer.from_pretrained(folder)
    )
    snippets = texts(quick)

    def by_course():
        return own.encode_all([[cls, *words.encode(text).ids, sep] for text in snippets])

    def by_pipeline():
        return extract(snippets)

    require_close(by_course(), [torch.tensor(found[0]) for found in by_pipeline()], "encoding by pipeline")
    row = compare(by_course, by_pipeline, quick, target=0.35) | {"texts": len(snippets)}
    del snippets[PROFILED:]  # fewer, since a profile holds every call
    return row | {"milliseconds": milliseconds_by_kind(by_course, by_pipeline)}


@torch.no_grad()
def dense(quick: bool) -> Row:
    """One batch without padding."""
    own, theirs = own_model(), their_model()
    batch, length = (2, 8) if quick else (BATCH, LENGTH)
    ids = torch.randint(1000, 30000, (batch, length), generator=torch.Generator().manual_seed(0))
    require_equal(own(ids).hidden, theirs(ids).last_hidden_state, "a dense batch")
    return compare(lambda: own(ids), lambda: theirs(ids), quick, target=1.0) | {"batch": batch, "length": length}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the result file."""
    transformers.utils.logging.set_verbosity_error()
    rows = {"batches": batches, "pipeline": pipeline, "dense": dense}
    measure_all("encoding", rows, ("torch", "transformers"), arguments)


if __name__ == "__main__":
    main()
