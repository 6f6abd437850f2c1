"""What the course's code is measured against, how near it should come, and the table of what was found.

A ratio is ours / theirs: below 1 the course is faster. Targets are promises to be held, not results; results stand in
`results/`, one file a script.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Target:
    """One row of the table: `row` of results/`script`.json holds `key`, which is to be at most `limit`, or at least."""

    what: str
    against: str
    script: str
    row: str
    limit: float | None  # None: reported without a target
    key: str = "ratio"
    at_least: bool = False

    def found(self) -> dict[str, Any] | None:
        """The measured row; None where it has not been measured."""
        path = RESULTS / f"{self.script}.json"
        if not path.is_file():
            return None
        return json.loads(path.read_text(encoding="utf-8"))["rows"].get(self.row)

    def is_reached(self, row: dict[str, Any]) -> bool | None:
        """Whether a measured row holds the target; None where there is none."""
        if self.limit is None:
            return None
        return row[self.key] >= self.limit if self.at_least else row[self.key] <= self.limit


TARGETS = (
    Target("sentiment fine-tuning, 2,000 snippets", "`Trainer` with its defaults", "fine_tuning", "default", 0.35),
    Target("the same", "`Trainer` for one epoch in place of three", "fine_tuning", "one epoch", None),
    Target("encoding 2,000 snippets", "`BertModel`, batches of 32 in corpus order", "encoding", "model", 0.55),
    Target("encoding 2,000 snippets", '`pipeline("feature-extraction")`', "encoding", "pipeline", 0.35),
    Target("one dense encoder batch, 32 × 128", "`BertModel`", "encoding", "dense", 1.0),
    Target("training step of a GPT, 4 layers, 16 × 128", "`GPT2LMHeadModel`", "training_steps", "gpt", 0.9),
    Target("training step with LoRA of rank 8", "`peft`", "training_steps", "lora", 1.0),
    Target("greedy decoding, SmolLM2, 64 tokens", "`generate`", "generation", "greedy", 0.8),
    Target("beam search, 5 beams, translator", "`generate`", "generation", "beams", 0.8),
    Target("BPE training, 2,000 merges", "`tokenizers` (Rust)", "tokenizing", "bpe training", 5.0),
    Target("WordPiece encoding", "`tokenizers` (Rust)", "tokenizing", "wordpiece", 6.0),
)


def cells() -> list[tuple[str, str, str, str, str]]:
    """The table: what, against, target, found with its quartiles, and whether the target is reached."""
    table = []
    for target in TARGETS:
        row, bound = target.found(), "≥" if target.at_least else "≤"
        wanted = "reported" if target.limit is None else f"{bound} {target.limit:g}"
        if row is None:
            table.append((target.what, target.against, wanted, "not measured", ""))
            continue
        found = f"{row[target.key]:.3g}"
        if target.key == "ratio":
            found += " ({:.3g} to {:.3g})".format(*row["quartiles"])
        verdict = {None: "", True: "yes", False: "no"}[target.is_reached(row)]
        table.append((target.what, target.against, wanted, found, verdict))
    return table


def lines() -> list[str]:
    """The table as Markdown."""
    head = ("what", "against", "target", "found (quartiles)", "reached")
    rows = [head, ("---",) * len(head), *cells()]
    return [f"| {' | '.join(row)} |" for row in rows]
