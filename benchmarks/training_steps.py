"""One update of a GPT, and of a BERT with low-rank adapters: `python benchmarks/training_steps.py`.

A step is forward, loss, backward, clipping and AdamW, with the same optimiser and the same first weights on both sides.
Where the GPT's time goes is profiled by kind of operation, after the rounds.
"""

import tempfile
from collections.abc import Callable, Sequence

import peft
import torch
import transformers
from rounds import Row, compare, milliseconds_by_kind, require_equal
from rounds import main as measure_all
from torch import Tensor, nn

from course_lib import assets, lora, training
from course_lib.gpt import GPT, GPTConfig
from course_lib.layers import fuse

VOCAB_SIZE, D_MODEL, LAYERS, HEADS = 2000, 128, 4, 4
BATCH, LENGTH = 16, 128
RANK, TARGETS = 8, ("query", "key", "value", "dense")
STEPS = 5  # in one measurement


def gpt(quick: bool) -> Row:
    """Four layers, 128 wide, against `GPT2LMHeadModel`."""
    torch.manual_seed(0)
    own = GPT(GPTConfig(VOCAB_SIZE, D_MODEL, LAYERS, HEADS, max_len=LENGTH))
    with tempfile.TemporaryDirectory() as folder:
        own.save_pretrained(folder)
        theirs = transformers.GPT2LMHeadModel.from_pretrained(folder, attn_implementation="sdpa")
    own = fuse(own)
    batch, length = (2, 8) if quick else (BATCH, LENGTH)
    window = torch.randint(VOCAB_SIZE, (batch, length + 1))
    ids, labels = window[:, :-1].contiguous(), window[:, 1:].contiguous()
    by_course = step_of(own, lambda: training.cross_entropy(own(ids), labels))
    # transformers shifts the labels itself unless it is given shifted ones.
    by_model = step_of(theirs, lambda: theirs(input_ids=ids, labels=labels, shift_labels=labels).loss)
    require_equal(by_course(), by_model(), "the loss of the first step")
    require_equal(by_course(), by_model(), "the loss of the second step")
    repeats = 1 if quick else STEPS
    sizes = {"batch": batch, "length": length, "parameters": sum(p.numel() for p in own.parameters())}
    row = compare(repeated(by_course, repeats), repeated(by_model, repeats), quick, target=0.9) | sizes
    return row | {"milliseconds": milliseconds_by_kind(by_course, by_model)}


def adapters(quick: bool) -> Row:
    """MiniLM of transformers as a classifier, adapters of rank 8 by `course_lib.lora` and by peft."""
    folder = assets.fetch("minilm-l6")
    batch, length = (2, 8) if quick else (BATCH, 64)
    ids = torch.randint(1000, 30000, (batch, length), generator=torch.Generator().manual_seed(0))
    labels = torch.arange(batch) % 2

    def classifier() -> nn.Module:
        torch.manual_seed(0)  # of the head
        settings = {"num_labels": 2, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
        return transformers.BertForSequenceClassification.from_pretrained(folder, **settings)

    own = classifier()
    lora.attach(own, TARGETS, RANK, alpha=16)
    with tempfile.TemporaryDirectory() as saved:
        lora.save(own, saved)
        theirs = peft.PeftModel.from_pretrained(classifier(), saved, is_trainable=True)
    by_course = step_of(own, lambda: training.cross_entropy(own(input_ids=ids).logits, labels))
    by_peft = step_of(theirs, lambda: training.cross_entropy(theirs(input_ids=ids).logits, labels))
    require_equal(by_course(), by_peft(), "the loss of the first step")
    require_equal(by_course(), by_peft(), "the loss of the second step")
    repeats = 1 if quick else STEPS
    count = lora.trainable_parameters(own).trainable
    if count != (other := theirs.get_nb_trainable_parameters()[0]):
        raise RuntimeError(f"ours trains {count} parameters, peft {other}")
    sizes = {"batch": batch, "length": length, "rank": RANK, "trained_parameters": count}
    return compare(repeated(by_course, repeats), repeated(by_peft, repeats), quick, target=1.0) | sizes


def step_of(model: nn.Module, loss_of: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """One update, which returns the loss it started from."""
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-3, fused=True)

    def step() -> Tensor:
        optimiser.zero_grad()
        loss = loss_of()
        loss.backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        return loss.detach()

    return step


def repeated(step: Callable[[], Tensor], times: int) -> Callable[[], None]:
    """Several steps, one after the other."""

    def steps() -> None:
        for _ in range(times):
            step()

    return steps


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the result file."""
    transformers.utils.logging.set_verbosity_error()
    measure_all("training_steps", {"gpt": gpt, "lora": adapters}, ("torch", "transformers", "peft"), arguments)


if __name__ == "__main__":
    main()
