"""Pre-train the course's own BERT on news: `python benchmarks/pretrain_checkpoint.py STATE_DIR [--minutes 45]`.

The code of notebook 09 with a larger model, more time and no head start, on one thread. The learning rate rises
over the first steps and then falls linearly with the clock, so that it is 0 when the time is up. Every 500 steps the
state is written to STATE_DIR; the same command goes on from there after an interruption. At the end the script writes
data/checkpoints/news-bert/ (weights, settings, tokenizer, model card) and benchmarks/results/pretraining.json.
"""

import argparse
import json
import math
import platform
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from course_lib import corpora, pretraining, training
from course_lib.bert import BertConfig, BertForPreTraining
from course_lib.positions import sinusoidal
from course_lib.pretraining import PreTrainingBatch
from course_lib.tokenizers import WordPieceTokenizer

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "pretraining.json"
CHECKPOINT = ROOT / "data" / "checkpoints" / "news-bert"
CORPUS, VOCAB_SIZE = "bbc-news", 8000
MODEL = {"d_model": 192, "num_layers": 3, "num_heads": 6, "d_ff": 768, "max_len": 64}
DATA = {"max_length": 64, "batch_size": 32, "rate": 0.3}
OPTIMISER = {"learning_rate": 2e-3, "weight_decay": 0.01, "warmup_steps": 300, "betas": (0.9, 0.98), "eps": 1e-6}
# Of the two losses that of the next sentence has two answers a row and much noise: it counts a fifth.
BRANCH, NEXT_SENTENCE = 0.3, 0.2
SEED, CHUNK = 0, 500  # steps between two evaluations, which are also the points from which a run resumes


def main(state: Path, minutes: float) -> None:
    """Train until the time is up, then measure on the held-out articles and write everything."""
    torch.set_num_threads(1)
    state.mkdir(parents=True, exist_ok=True)
    splits = corpora.load(CORPUS)
    tokenizer = cached_tokenizer(state, splits["train"]["text"])
    documents = {name: pretraining.encode_documents(splits[name]["text"], tokenizer) for name in splits}
    batches = pretraining.pre_training_batches(documents["train"], tokenizer, **DATA, seed=SEED)
    hidden = {name: held_out_batches(documents[name], tokenizer) for name in ("validation", "test")}
    mask_id = tokenizer.token_to_id("[MASK]")
    held_out = {name: [shown_as_mask(batch, mask_id) for batch in hidden[name]] for name in hidden}
    model = new_model(tokenizer.vocab_size)
    seconds, history = train(model, batches, hidden["validation"][:8], state, 60 * minutes)
    result = {
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "threads": torch.get_num_threads(),
        "corpus": {name: len(splits[name]) for name in splits},
        "tokens": {name: sum(len(s) for document in documents[name] for s in document) for name in documents},
        "vocab_size": tokenizer.vocab_size,
        "model": MODEL,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "data": DATA,
        "optimiser": OPTIMISER,
        "branch": BRANCH,
        "next_sentence": NEXT_SENTENCE,
        "seed": SEED,
        "steps": history.steps,
        "seconds": round(seconds),
        "losses_every_100_steps": [round(loss, 3) for loss in history.smoothed(100)[99::100]],
        "all_hidden_validation": history.evaluations,
        "unigram": {name: unigram(documents["train"], held_out[name], tokenizer) for name in held_out},
        "held_out": {name: evaluate(model, held_out[name]) for name in held_out},
    }
    tokenizer.save(CHECKPOINT)
    model.save_pretrained(CHECKPOINT)
    (CHECKPOINT / "README.md").write_text(card(result), encoding="utf-8", newline="\n")
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8", newline="\n")


def cached_tokenizer(state: Path, texts: list[str]) -> WordPieceTokenizer:
    """The vocabulary of the training articles; learned once, read from `state` afterwards."""
    if not (state / "tokenizer.json").is_file():
        WordPieceTokenizer.train(texts, VOCAB_SIZE).save(state)
    return WordPieceTokenizer.load(state)


def new_model(vocab_size: int) -> BertForPreTraining:
    """A BERT that starts from what helps so small and short a run.

    BERT draws its weights with a standard deviation of 0.02, made for a width of 768; here it is 1 / sqrt(d_model).
    What a block adds to its input is made smaller by `BRANCH`, so that normalising after the addition does not
    wash the input out (Wang et al. 2022, DeepNet). The position table, learned like everything else, starts as the
    sinusoidal one.
    """
    torch.manual_seed(SEED)
    model = BertForPreTraining(BertConfig(vocab_size, **MODEL))
    width = MODEL["d_model"]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                branch = re.search(r"(v_proj|out_proj|up|down)\.weight$", name)
                torch.nn.init.normal_(parameter, std=width**-0.5 * (BRANCH if branch else 1))
        model.bert.embeddings.position.weight.copy_(sinusoidal(MODEL["max_len"], width) * math.sqrt(2 / width))
    return model


def loss(model: BertForPreTraining, batch: PreTrainingBatch) -> torch.Tensor:
    """The two losses of pre-training, weighed and added up."""
    hidden = batch.labels != -100
    logits = model(batch.input_ids, batch.attention_mask, batch.segment_ids, selected=hidden)
    tokens = training.cross_entropy(logits.tokens, batch.labels[hidden])
    return tokens + NEXT_SENTENCE * training.cross_entropy(logits.next_sentence, batch.next_sentence)


def train(
    model: BertForPreTraining,
    batches: Callable[[int], Iterator[PreTrainingBatch]],
    held_out: list[PreTrainingBatch],
    state: Path,
    budget: float,
) -> tuple[float, training.History]:
    """Chunks of `fit`, each going on from the last, until `budget` seconds of training have passed."""
    weights, record = state / "training.safetensors", state / "record.json"
    steps, spent = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else (0, 0.0)
    begin = time.monotonic()

    def elapsed() -> float:
        return spent + time.monotonic() - begin

    def schedule(step: int) -> float:
        return max(0.0, min(step / OPTIMISER["warmup_steps"], 1 - elapsed() / budget))

    groups = training.parameter_groups(model, OPTIMISER["learning_rate"], OPTIMISER["weight_decay"])
    optimiser = torch.optim.AdamW(groups, betas=OPTIMISER["betas"], eps=OPTIMISER["eps"], fused=True)
    while True:
        if elapsed() < 0.99 * budget:  # else only the state is loaded
            left = budget - elapsed()
            # The last chunk is as long as the time allows, judged by the speed so far.
            steps += CHUNK if not steps else max(1, min(CHUNK, round(left * steps / elapsed())))
        history = training.fit(
            model,
            batches,
            loss,
            optimiser,
            steps=steps,
            schedule=schedule,
            seed=SEED,
            evaluate=lambda model: evaluate(model, held_out),
            checkpoint_path=weights,
            resume=weights.is_file(),
            progress=False,
        )
        record.write_text(json.dumps([history.steps, elapsed()]), encoding="utf-8")
        print(f"{elapsed():.0f} s, {history.steps} steps, {history.evaluations[-1][1]}", flush=True)
        if elapsed() >= 0.99 * budget:
            return elapsed(), history


def held_out_batches(documents: list[list[list[int]]], tokenizer: WordPieceTokenizer) -> list[PreTrainingBatch]:
    """The same pairs and hidden tokens at every evaluation, 15 % of the tokens as in the papers."""
    settings = DATA | {"batch_size": 64, "rate": 0.15}
    return list(pretraining.pre_training_batches(documents, tokenizer, **settings, seed=SEED + 1)(0))


def shown_as_mask(batch: PreTrainingBatch, mask_id: int) -> PreTrainingBatch:
    """The same batch, asked for tokens that show [MASK] alone: those left unchanged can be copied."""
    return batch._replace(labels=batch.labels.masked_fill(batch.input_ids != mask_id, -100))


@torch.no_grad()
def evaluate(model: BertForPreTraining, batches: list[PreTrainingBatch]) -> dict[str, float]:
    """Loss, share right and share among the first five, for hidden tokens; share right for the next sentence."""
    logits, labels, pairs_right, pairs = [], [], 0, 0
    for batch in batches:
        hidden = batch.labels != -100
        out = model(batch.input_ids, batch.attention_mask, batch.segment_ids, selected=hidden)
        logits.append(out.tokens)
        labels.append(batch.labels[hidden])
        pairs_right += int((out.next_sentence.argmax(-1) == batch.next_sentence).sum())
        pairs += len(batch.next_sentence)
    return token_scores(torch.cat(logits), torch.cat(labels)) | {"next_sentence": round(pairs_right / pairs, 4)}


def token_scores(logits: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Mean loss, share right, and share of hidden tokens among the five most probable."""
    top = logits.topk(5).indices == labels.unsqueeze(-1)
    return {
        "loss": round(training.cross_entropy(logits, labels).item(), 4),
        "accuracy": round(top[:, 0].double().mean().item(), 4),
        "top5": round(top.any(-1).double().mean().item(), 4),
    }


def unigram(
    documents: list[list[list[int]]], batches: list[PreTrainingBatch], tokenizer: WordPieceTokenizer
) -> dict[str, float]:
    """The scores of guessing by the tokens' frequency in the training articles, each counted once more than seen."""
    counts = Counter(token for document in documents for sentence in document for token in sentence)
    frequency = torch.tensor([counts[token] + 1.0 for token in range(tokenizer.vocab_size)])
    labels = torch.cat([batch.labels[batch.labels != -100] for batch in batches])
    return token_scores((frequency / frequency.sum()).log().expand(len(labels), -1), labels)


def card(result: dict) -> str:
    """The model card, with the numbers of this run."""
    test, guess = result["held_out"]["test"], result["unigram"]["test"]
    model, data, corpus, tokens = (result[name] for name in ("model", "data", "corpus", "tokens"))
    return f"""# news-bert

A small BERT for teaching, trained from random weights on one processor thread by `benchmarks/pretrain_checkpoint.py`:
{result["parameters"] / 1e6:.1f} million parameters, {model["num_layers"]} blocks, width {model["d_model"]}, \
{model["num_heads"]} heads, {model["max_len"]} positions, a WordPiece vocabulary of {result["vocab_size"]:,} tokens
(lower case, learned on the training articles alone), with the heads for masked tokens and for the next sentence.

## Training

- **Corpus:** {corpus["train"]:,} BBC news articles of 2004 and 2005, {tokens["train"]:,} tokens, without duplicates.
  The {corpus["validation"]} articles for validation and {corpus["test"]} for testing share no text with them.
- **Tasks:** masked tokens ({data["rate"]:.0%} hidden, of these 80 % [MASK], 10 % random, 10 % unchanged), and,
  counted a fifth, the next sentence.
- **Length:** {result["steps"]:,} steps of {data["batch_size"]} pairs of up to {data["max_length"]} tokens, \
{result["seconds"] / 60:.0f} minutes, PyTorch {result["versions"]["torch"]}.

## How well it does

On the test articles, with 15 % of the tokens hidden, and asked for those that show [MASK]:

| | loss | right | among the first five |
|---|---|---|---|
| this model | {test["loss"]:.2f} | {test["accuracy"]:.1%} | {test["top5"]:.1%} |
| guessing by frequency | {guess["loss"]:.2f} | {guess["accuracy"]:.1%} | {guess["top5"]:.1%} |

The next sentence: {test["next_sentence"]:.1%} right, where guessing gives 50 %.

## Limits

It has read less than a millionth of what large models read, all of it news of two years, with the people, the prices
and the points of view of these articles. It fills gaps in such sentences with words that often fit and are often
wrong; it knows no facts. Texts over {model["max_len"]} tokens are refused. It is made for looking into, not for use.

## Licence

The weights: CC BY 4.0, as far as this project can license them. The articles are copyright of the BBC, made available
for research, and are not part of the course.
"""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("state", type=Path, help="directory for the resumable state, outside the repository")
    parser.add_argument("--minutes", type=float, default=45, help="wall time of training")
    arguments = parser.parse_args()
    main(arguments.state, arguments.minutes)
