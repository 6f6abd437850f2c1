"""Greedy and beam search with a cache, against transformers' `generate`: `python benchmarks/generation.py`."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
import transformers
from rounds import Row, compare, require_equal
from rounds import main as measure_all

from course_lib import assets, decoding
from course_lib.gpt import GPT, GPTConfig
from course_lib.layers import KeyValueCache, prepare_for_inference
from course_lib.transformer import Transformer

PROMPT = "The most important idea of a Transformer is that"
NEW_TOKENS, NUM_BEAMS = 64, 5
ENGLISH = ["I like red apples.", "The old cats do not sleep.", "Does she want to eat an orange?"]


def language_models(folder: str | Path) -> tuple[GPT, transformers.PreTrainedModel]:
    """Ours and theirs with the weights of one folder."""
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return prepare_for_inference(GPT.from_pretrained(folder)), theirs


@torch.no_grad()
def greedy(quick: bool) -> Row:
    """SmolLM2 in float32, one prompt; a small model of its form in the quick run."""
    if quick:
        torch.manual_seed(0)
        with tempfile.TemporaryDirectory() as folder:
            GPT(GPTConfig.llama(vocab_size=97, d_model=32, num_layers=2, num_heads=4)).save_pretrained(folder)
            own, theirs = language_models(folder)
        ids = torch.tensor([[3, 1, 4, 1, 5]])
    else:
        folder = assets.fetch("smollm2-135m")
        own, theirs = language_models(folder)
        ids = transformers.AutoTokenizer.from_pretrained(folder)(PROMPT, return_tensors="pt")["input_ids"]
    real = torch.ones_like(ids)
    new = 2 if quick else NEW_TOKENS

    def by_course():
        step = decoding.Cached(lambda new, cache: own(new, cache=cache), KeyValueCache())
        return decoding.greedy_search(step, ids, new)

    def by_generate():
        written = theirs.generate(ids, attention_mask=real, max_new_tokens=new, min_new_tokens=new, do_sample=False)
        return written[:, ids.shape[1] :]

    require_equal(by_course(), by_generate(), "greedy search")
    return compare(by_course, by_generate, quick, target=0.8) | {"new_tokens": new}


@torch.no_grad()
def beams(quick: bool) -> Row:
    """The course's translator, five beams, three sentences."""
    folder = str(assets.own_data() / "checkpoints" / "translator")
    theirs = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)
    own = prepare_for_inference(Transformer.from_pretrained("translator"))
    source = words(ENGLISH, padding=True, return_tensors="pt")
    start = torch.full((len(ENGLISH), 1), theirs.config.decoder_start_token_id)
    eos_id = theirs.config.eos_token_id

    def by_course():
        memory, mask = (x.repeat_interleave(NUM_BEAMS, dim=0) for x in own.encode(source["input_ids"]))
        step = decoding.Cached(lambda ids, cache: own.decode(ids, memory, mask, cache=cache), KeyValueCache())
        found = decoding.beam_search(step, start, NEW_TOKENS, num_beams=NUM_BEAMS, eos_id=eos_id)
        return [list(result.best.ids) for result in found]

    def by_generate():
        written = theirs.generate(**source, num_beams=NUM_BEAMS, max_new_tokens=NEW_TOKENS)
        rows = written[:, 1:].tolist()
        return [row[: row.index(eos_id) + 1] if eos_id in row else row for row in rows]

    require_equal(by_course(), by_generate(), "beam search")
    return compare(by_course, by_generate, quick, target=0.8) | {"num_beams": NUM_BEAMS}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write the result file."""
    transformers.utils.logging.set_verbosity_error()
    measure_all("generation", {"greedy": greedy, "beams": beams}, ("torch", "transformers"), arguments)


if __name__ == "__main__":
    main()
