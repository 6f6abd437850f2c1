"""The page of benchmarks, from the files in benchmarks/results: `{benchmark-table}`, `{benchmark-setting}`,
`{time-profiles}`, `{growth-table}` and `{growth-figures}`.
"""

import io
import json
from collections.abc import Callable
from typing import NamedTuple

from course_sources import ROOT, markdown, stored_image
from docutils import nodes
from matplotlib import pyplot
from sphinx.util.docutils import SphinxDirective

from course_lib import plotting, syllabus

RESULTS = ROOT / "benchmarks" / "results"
PLAIN, TRAINING = 90, 180  # seconds that a notebook may take on two cores, and one that trains
MOST_MIB = 1536
ANSWER_MILLISECONDS = 100


class Line(NamedTuple):
    """A line of the table: what is measured, against what, where it stands, and how it is read."""

    what: str
    against: str
    script: str
    row: str
    read: Callable[[dict], tuple[str, str, bool | None]]  # measured, target, whether it is reached


def ratio(row: dict) -> tuple[str, str, bool | None]:
    """Median and quartiles of the rounds."""
    low, high = row["quartiles"]
    target = row.get("target")
    wanted = "no target" if target is None else f"≤ {target:g}"
    return f"{row['ratio']:g} ({low:g} to {high:g})", wanted, None if target is None else row["ratio"] <= target


def accuracy(row: dict) -> tuple[str, str, bool | None]:
    """The ratio holds only where the accuracy is not lower."""
    measured, target, is_fast = ratio(row)
    lead = 100 * row["mean_lead"]
    low, high = (100 * end for end in row["lead_interval"])
    said = f"{measured}; accuracy {lead:+.1f} points [{low:+.1f}, {high:+.1f}]"
    return said, f"{target}, accuracy not lower", is_fast and lead >= 0


def extra_time(row: dict) -> tuple[str, str, bool | None]:
    most = row["most_milliseconds"]
    return f"+ {row['extra_milliseconds']:g} ms", f"+ {most} ms at most", row["extra_milliseconds"] <= most


def share(row: dict) -> tuple[str, str, bool | None]:
    return f"{row['share']:g} of it", f"≥ {row['least_share']:g}", row["share"] >= row["least_share"]


def strict(row: dict) -> tuple[str, str, bool | None]:
    most = row["most_seconds"]
    return f"{row['seconds'] / 60:.1f} minutes", f"≤ {most // 60} minutes", row["seconds"] <= most


LINES = [
    Line("Sentiment fine-tuning of MiniLM, movie snippets, three seeds", "`Trainer` with its defaults, dynamic padding",
         "fine_tuning", "sentiment", accuracy),
    Line("Encoding 2,000 snippets with MiniLM's weights", "`BertModel`, batches of 32 in corpus order",
         "encoding", "batches", ratio),
    Line("The same, from strings", '`pipeline("feature-extraction")`', "encoding", "pipeline", ratio),
    Line("One dense encoder batch, 32 × 128", "`BertModel`", "encoding", "dense", ratio),
    Line("GPT training step, 4 layers, 128 wide, batch 16 × 128", "`GPT2LMHeadModel`", "training_steps", "gpt", ratio),
    Line("LoRA step at rank 8", "`peft`", "training_steps", "lora", ratio),
    Line("Greedy decoding with cache, SmolLM2, 64 tokens", "`generate`", "generation", "greedy", ratio),
    Line("Beam search, 5 beams, encoder-decoder", "`generate` with the same weights", "generation", "beams", ratio),
    Line("BPE training, 2,000 merges on half a million characters", "`tokenizers` (Rust)",
         "tokenizing", "bpe_training", ratio),
    Line("WordPiece encoding of half a million characters", "`tokenizers` (Rust)",
         "tokenizing", "wordpiece_encoding", ratio),
    *(Line(f"Attention by its formula, {length} tokens", "`scaled_dot_product_attention`, fused",
           "attention_kernels", f"formula/{length}", ratio) for length in (32, 128, 512)),
    Line("Matrix products of a dense encoder batch", "rate of one large matrix product",
         "attention_kernels", "encoder_rate", share),
    Line("`import course_lib`", "an interpreter that does nothing", "importing", "package", extra_time),
    Line("Strict re-run of all notebooks, two at a time", "the clock", "strict_validation", "notebooks", strict),
]  # fmt: skip


def result(script: str) -> dict:
    """A result file."""
    return json.loads((RESULTS / f"{script}.json").read_text(encoding="utf-8"))


def cost_of_notebooks() -> list[tuple[str, str, str, str, bool | None]]:
    """The longest notebooks and the largest, from the file that `python course.py build` writes."""
    found = result("notebooks")
    kinds = {"that trains": TRAINING, "of the others": PLAIN}
    trains = {notebook.number: notebook.trains for notebook in syllabus.NOTEBOOKS}
    lines = []
    for (kind, most), is_training in zip(kinds.items(), (True, False), strict=True):
        number = max((one for one in found if trains[one] == is_training), key=lambda one: found[one]["seconds"])
        took = found[number]["seconds"]
        lines.append(
            (f"Run All of the longest notebook {kind}, {number}", "the clock", f"{took} s", f"≤ {most} s", took <= most)
        )
    number = max(found, key=lambda one: found[one]["peak_mib"])
    peak = found[number]["peak_mib"]
    lines.append(
        (f"Memory of the largest notebook, {number}", "its peak", f"{peak} MiB", f"≤ {MOST_MIB} MiB", peak <= MOST_MIB)
    )
    return lines


def slowest_explorer() -> tuple[str, str, str, str, bool | None]:
    """The explorer that answers last."""
    rows = result("explorers")["rows"]
    name = max(rows, key=lambda one: rows[one]["slowest_milliseconds"])
    took = rows[name]["slowest_milliseconds"]
    what = f"Slowest answer of an explorer, `{name}`"
    said = f"{took:g} ms (its median {rows[name]['median_milliseconds']:g} ms)"
    return what, "processor time", said, f"≤ {ANSWER_MILLISECONDS} ms", took <= ANSWER_MILLISECONDS


def table() -> list[str]:
    """The table in Markdown, one line a comparison."""
    rows = [(line.what, line.against, *line.read(result(line.script)["rows"][line.row])) for line in LINES] + [
        slowest_explorer(),
        *cost_of_notebooks(),
    ]
    words = {True: "yes", False: "**no**", None: ""}
    lines = ["| what | against | measured | to reach | reached |", "|---|---|---|---|---|"]
    return lines + [f"| {' | '.join(cells)} | {words[reached]} |" for *cells, reached in rows]


def setting() -> list[str]:
    """On what the comparisons were measured: one sentence, since all files must agree."""
    files = [result(script) for script in sorted({line.script for line in LINES})]
    (processor,) = {one["processor"] for one in files}
    versions = {name: version for one in files for name, version in one["versions"].items()}
    named = ", ".join(f"{name} {version}" for name, version in sorted(versions.items()))
    return [f"Measured on one machine: {processor}, {files[0]['threads']} thread. Versions: {named}."]


PROFILES = {"a GPT's training step": ("training_steps", "gpt"), "200 snippets from strings": ("encoding", "pipeline")}


def profiles() -> list[str]:
    """Where the time of two comparisons goes, in Markdown."""
    sides = [result(script)["rows"][row]["milliseconds"] for script, row in PROFILES.values()]
    heads = [f"{what}, {side}" for what in PROFILES for side in ("ours", "theirs")]
    lines = [f"| kind of operation | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    columns = [pair[side] for pair in sides for side in ("ours", "theirs")]
    for kind in max(columns, key=len):
        lines.append(f"| {kind} | {' | '.join(_part(kind, column) for column in columns)} |")
    return lines


def _part(kind: str, column: dict[str, float]) -> str:
    return f"{column[kind]:g} ms ({column[kind] / sum(column.values()):.0%})" if kind in column else "none"


# ------------------------------------------------------------------------------------------ growth


class Panel(NamedTuple):
    """A figure of growth: its rows of growth.json with their labels, the axes, and what to see."""

    title: str
    xlabel: str
    unit: str
    rows: dict[str, str]


PANELS = [
    Panel("Attention's time grows with the square of the length, and a little faster", "tokens", "seconds",
          {"attention_time": "the formula"}),
    Panel("The formula's memory grows with the square, the fused kernel's with the length", "tokens", "bytes",
          {"attention_memory": "the formula", "fused_memory": "the fused kernel"}),
    Panel("A training step grows less than its batch: an update has fixed costs", "sequences in a batch", "seconds",
          {"training_batch": "GPT, 64 wide"}),
    Panel("A training step grows faster than its width", "width", "seconds", {"training_width": "GPT, batch of 4"}),
    Panel("Tokenizers read text once; the merges of BPE cost less for each further word", "characters", "seconds",
          {"wordpiece": "WordPiece, encoding", "bpe_training": "BPE, 500 merges"}),
    Panel("With a cache, decoding grows with its length; without, faster", "new tokens", "seconds",
          {"decoding_with_cache": "with cache", "decoding_without_cache": "without cache"}),
]  # fmt: skip


def growth_table() -> list[str]:
    """Formula and fitted exponent of each row, in Markdown."""
    rows = result("growth")["rows"]
    names = {key: f"{label}, against {panel.xlabel}" for panel in PANELS for key, label in panel.rows.items()}
    lines = ["| what grows | measured | formula | fitted exponent |", "|---|---|---|---|"]
    for key, row in rows.items():
        unit = next(panel.unit for panel in PANELS if key in panel.rows)
        lines.append(f"| {names[key]} | {unit} | {row['formula']} | {row['exponent']:g} |")
    return lines


def drawn(panel: Panel) -> tuple[bytes, str]:
    """PNG and alternative text of a panel, in the style of the notebooks."""
    rows = {label: result("growth")["rows"][key] for key, label in panel.rows.items()}
    sizes = next(iter(rows.values()))["sizes"]
    series = {f"{label}\nexponent {row['exponent']:g}": row[panel.unit] for label, row in rows.items()}
    with pyplot.rc_context():
        plotting.use_course_style()
        ax = plotting.curves(sizes, series, log_x=True, log_y=True, xlabel=panel.xlabel, ylabel=panel.unit,
                             title=panel.title)  # fmt: skip
        buffer = io.BytesIO()
        ax.figure.savefig(buffer, bbox_inches="tight")
        pyplot.close(ax.figure)
    said = "; ".join(f"{label}: exponent {row['exponent']:g}" for label, row in rows.items())
    return buffer.getvalue(), f"{panel.title}. {panel.unit} against {panel.xlabel}, both logarithmic. {said}."


def from_results(make: Callable[[], list[str]]) -> type[SphinxDirective]:
    """A directive that puts Markdown made from result files into its page."""

    class FromResults(SphinxDirective):
        def run(self):
            for path in sorted(RESULTS.glob("*.json")):
                self.env.note_dependency(path)
            return markdown(self, make())

    return FromResults


class GrowthFigures(SphinxDirective):
    """One figure a panel."""

    def run(self):
        self.env.note_dependency(RESULTS / "growth.json")
        pictures = [drawn(panel) for panel in PANELS]
        return [nodes.image(uri=stored_image(self.env.app, png), alt=alt, loading="lazy") for png, alt in pictures]


def setup(app):
    app.add_directive("benchmark-table", from_results(table))
    app.add_directive("benchmark-setting", from_results(setting))
    app.add_directive("time-profiles", from_results(profiles))
    app.add_directive("growth-table", from_results(growth_table))
    app.add_directive("growth-figures", GrowthFigures)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
