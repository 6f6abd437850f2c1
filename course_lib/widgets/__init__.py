"""Interactive explorers and quizzes, each with a static form for pages without a kernel."""

import importlib

_MODULES = {
    "AttentionExplorer": "attention",
    "AttentionSteps": "attention_steps",
    "BeamTree": "beam_tree",
    "ClassifierDemo": "classifier_demo",
    "HeadSplit": "head_split",
    "MaskedWordGame": "masked_word_game",
    "PositionExplorer": "position",
    "SamplingExplorer": "sampling",
    "ScalingExplorer": "attention_scaling",
    "TemperatureExplorer": "temperature",
    "TokenizerPlayground": "tokenizer_playground",
}

__all__ = list(_MODULES)


def __getattr__(name: str):
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_MODULES])
