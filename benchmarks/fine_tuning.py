"""Fine-tuning MiniLM on movie-review snippets, the fast recipe against Trainer: `python benchmarks/fine_tuning.py`.

Both train on the same 2,000 snippets and are scored on the same held-out ones, all of the test split; a round is one
seed. Trainer has its defaults, three epochs among them, and pads each batch to its longest. The fast recipe has two
epochs and a rate that were chosen on the validation split. Times are those of the processor.
Notebook 15 compares single epochs, from `sentiment.py`.
"""

from collections.abc import Sequence

import numpy as np
import transformers
from rounds import Row, summary
from rounds import main as measure_all
from sentiment import SEEDS, Data, Measured, fast, trainer

from course_lib import evaluation

TEST = 1004  # the whole split: the fewer snippets, the more an accuracy depends on which they are
RECIPE = {"epochs": 2, "learning_rate": 1e-4}
TRAINER_EPOCHS = 3
QUICK_TRAIN, QUICK_TEST = 8, 4


def sentiment(quick: bool) -> Row:
    """Seconds of processor time and accuracy of each seed's two runs."""
    data = Data(test=TEST)
    if quick:
        data.rows = {"train": data.rows["train"][:QUICK_TRAIN], "test": data.rows["test"][:QUICK_TEST]}
        data.labels["test"] = data.labels["test"][:QUICK_TEST]
    runs: list[tuple[Measured, Measured]] = []
    for seed in SEEDS[:2] if quick else SEEDS:
        pair = {}
        for name in ("ours", "theirs") if seed % 2 else ("theirs", "ours"):
            is_ours = name == "ours"
            pair[name] = (
                fast(data, data.rows["train"], seed, keep=True, **RECIPE)
                if is_ours
                else trainer(data, seed, TRAINER_EPOCHS)
            )
            print(f"seed {seed}, {name}: {pair[name]['accuracy']} in {pair[name]['cpu_seconds']} s", flush=True)
        runs.append((pair["ours"], pair["theirs"]))
    row = summary([(own["cpu_seconds"], other["cpu_seconds"]) for own, other in runs])
    accuracies = {
        f"{name}_accuracy": [run[side]["accuracy"] for run in runs] for side, name in enumerate(("ours", "theirs"))
    }
    # [seeds, snippets]: the two runs of a seed met the same snippets, so their difference is taken snippet by snippet.
    own_right, other_right = (
        np.array([(np.array(run[side]["margins"]) > 0) == data.labels["test"] for run in runs]) for side in (0, 1)
    )
    lead = evaluation.bootstrap_interval(own_right.mean(0) - other_right.mean(0))
    sizes = {"train": len(data.rows["train"]), "test": len(data.rows["test"])}
    ahead = {"mean_lead": round(lead.estimate, 4), "lead_interval": [round(lead.low, 4), round(lead.high, 4)]}
    return row | {"target": 0.35} | accuracies | ahead | sizes


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the result file."""
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    measure_all("fine_tuning", {"sentiment": sentiment}, ("torch", "transformers", "accelerate"), arguments)


if __name__ == "__main__":
    main()
