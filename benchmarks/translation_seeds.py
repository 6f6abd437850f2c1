"""Train the translator of notebook 06 with three seeds: `python benchmarks/translation_seeds.py [seed ...]`.

Writes benchmarks/results/translation_seeds.json: the setting, the versions, and for each seed the seconds of one
processor core and the exact match on every split. Seeds that were recorded before with the same setting are kept.
The notebook trains the first of these seeds itself and asserts that its own setting is the one recorded here.
"""

import json
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from course_lib import batching, decoding, evaluation, grammar, training
from course_lib.grammar import Pair, Vocabulary
from course_lib.layers import KeyValueCache
from course_lib.transformer import Transformer, TransformerConfig

RESULTS = Path(__file__).parent / "results" / "translation_seeds.json"
SEEDS = (0, 1, 2)
THREADS = 1  # the matrices are small: more threads mostly wait for each other
MODEL = {"d_model": 128, "num_layers": 2, "num_heads": 4, "d_ff": 256, "dropout": 0.0, "norm": "pre"}
TRAINING = {
    "steps": 750,
    "batch_size": 64,
    "learning_rate": 4e-3,
    "weight_decay": 0.3,
    "rise": 0.2,
    "label_smoothing": 0.1,
}
ROWS, MOST_TOKENS = 250, 40  # sentences decoded together, and tokens after which a translation is cut
MEASURED = 1000  # pairs of each split, at most


def main(seeds: Sequence[int] = SEEDS) -> None:
    """Train once for each seed, one after the other, and write the result file."""
    torch.set_num_threads(THREADS)
    splits = grammar.corpus(seed=0)
    source, target = (Vocabulary.build(getattr(p, side) for p in splits["train"]) for side in ("source", "target"))
    setting = {
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "threads": THREADS,
        "model": MODEL,
        "training": TRAINING,
        "pairs": {name: len(pairs) for name, pairs in splits.items()},
    }
    for seed in seeds:
        start = time.process_time()
        model = train(seed, splits["train"], source, target)
        measured = {"cpu_seconds": round(time.process_time() - start)}
        measured["exact_match"] = {
            name: evaluation.exact_match(
                translate(model, pairs[:MEASURED], source, target), [p.target for p in pairs[:MEASURED]]
            )
            for name, pairs in splits.items()
        }
        print(f"seed {seed}: {measured}", flush=True)
        record(setting, seed, measured)


def record(setting: dict[str, Any], seed: int, measured: dict[str, Any]) -> None:
    """Put one seed into the result file, beside those of the same setting."""
    earlier = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    is_same = all(earlier.get(name) == value for name, value in setting.items())
    found = {**(earlier["seeds"] if is_same else {}), str(seed): measured}
    result = {**setting, "seeds": {number: found[number] for number in sorted(found)}}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8", newline="\n")


def train(seed: int, pairs: Sequence[Pair], source: Vocabulary, target: Vocabulary, **changes: Any) -> Transformer:
    """The translator of this seed, which is for its first weights and for the order of the batches.

    `changes` are settings of the model to set otherwise.
    """
    batches = batching.translation_batches(
        [source.encode(pair.source) for pair in pairs],
        [target.encode(pair.target) for pair in pairs],
        TRAINING["batch_size"],
        bos_id=Vocabulary.bos_id,
        eos_id=Vocabulary.eos_id,
        seed=seed,
    )
    torch.manual_seed(seed)
    model = Transformer(TransformerConfig(len(source), len(target), **MODEL | changes))
    groups = training.parameter_groups(model, TRAINING["learning_rate"], TRAINING["weight_decay"])
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), fused=True)

    def loss(model: Transformer, batch: batching.TranslationBatch) -> torch.Tensor:
        logits = model(batch.source_ids, batch.target_ids)
        return training.cross_entropy(logits, batch.labels, label_smoothing=TRAINING["label_smoothing"])

    schedule = training.one_cycle_schedule(TRAINING["steps"], rise=TRAINING["rise"])
    training.fit(model, batches, loss, optimiser, steps=TRAINING["steps"], schedule=schedule, seed=seed)
    return model


@torch.no_grad()
def translate(
    model: Transformer, pairs: Sequence[Pair], source: Vocabulary, target: Vocabulary
) -> list[tuple[str, ...]]:
    """Greedy translations of the pairs' English, as tuples of words."""
    translations = []
    for start in range(0, len(pairs), ROWS):
        ids = batching.pad([source.encode(pair.source) for pair in pairs[start : start + ROWS]]).ids
        memory, mask = model.encode(ids)
        next_token = decoding.Cached(
            lambda new, cache, memory=memory, mask=mask: model.decode(new, memory, mask, cache), KeyValueCache()
        )
        bos = torch.full((len(ids), 1), Vocabulary.bos_id)
        found = decoding.greedy_search(next_token, bos, MOST_TOKENS, eos_id=Vocabulary.eos_id)
        translations += [tuple(target.decode(row)) for row in found.tolist()]
    return translations


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or SEEDS)
