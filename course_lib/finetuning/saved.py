"""The course's own fine-tuned models: MiniLM with a small adapter and a head from `data/checkpoints`, merged.

`sentiment` judges film reviews, `entities` tags names in tweets, `questions` finds answers in a passage. Their model
cards, in the same folders, say on what they were trained, how well they do, and what they cannot do.
"""

import contextlib
import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from course_lib import assets, lora
from course_lib.checkpoints import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BASE = "minilm-l6"


def names() -> list[str]:
    """The models that `load` knows."""
    return sorted(directory.parent.name for directory in _folder().glob(f"*/{lora.CONFIG_FILE}"))


def directory(name: str) -> Path:
    """Where the adapter, the config and the card of a model are. Raises FileNotFoundError for an unknown name."""
    known = names()
    if name in known:
        return _folder() / name
    close = difflib.get_close_matches(str(name), known, n=1)
    guess = f"did you mean {close[0]!r}? " if close else ""
    raise FileNotFoundError(f"there is no saved model {name!r}; {guess}The names are {', '.join(known)}.")


def load(name: str) -> "tuple[PreTrainedModel, PreTrainedTokenizerBase]":
    """A model of transformers that is ready for use, its labels named, in evaluation mode; and its tokenizer.

    Raises FileNotFoundError for an unknown name, `checkpoints.CheckpointError` where a file is damaged or does not
    fit MiniLM, `assets.AssetError` where MiniLM itself cannot be had.
    """
    import transformers

    place, base = directory(name), assets.fetch(BASE)
    try:
        config = transformers.BertConfig.from_pretrained(place)
        architecture = getattr(transformers, config.architectures[0])
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"config.json of {name!r} is damaged: get the file anew") from error
    with _drawn_quietly(transformers):
        model = architecture.from_pretrained(base, config=config)
        lora.load(model, place)
    lora.merge(model)
    lora.remove(model)
    return model.requires_grad_(True).eval(), transformers.AutoTokenizer.from_pretrained(base)


def _folder() -> Path:
    return assets.own_data() / "checkpoints"


@contextlib.contextmanager
def _drawn_quietly(transformers) -> Iterator[None]:
    """Head and adapter are drawn, reported missing and at once replaced: neither chance nor report counts."""
    level, bar = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        transformers.logging.set_verbosity(level)
        if bar:
            transformers.logging.enable_progress_bar()
