"""A project from its config to its card: the settings of a run, the run, its report, its check for bias, its card."""

from .card import SECTIONS, model_card
from .config import ConfigError, RunConfig
from .counterfactuals import COMPARISONS, GROUPS, TEMPLATES, BiasResult, Templates, bias_check, filled
from .reporting import MODEL, REPORT_FILE, ClassScore, Report, Score, baselines, paired_difference, report, shown
from .running import (
    CHECKPOINT_FILE,
    CONFIG_FILE,
    MODEL_FOLDER,
    PREDICTIONS_FILE,
    Classifier,
    Data,
    Run,
    load_data,
    new_classifier,
    run,
    softmax,
)

__all__ = [
    "CHECKPOINT_FILE",
    "COMPARISONS",
    "CONFIG_FILE",
    "GROUPS",
    "MODEL",
    "MODEL_FOLDER",
    "PREDICTIONS_FILE",
    "REPORT_FILE",
    "SECTIONS",
    "TEMPLATES",
    "BiasResult",
    "ClassScore",
    "Classifier",
    "ConfigError",
    "Data",
    "Report",
    "Run",
    "RunConfig",
    "Score",
    "Templates",
    "baselines",
    "bias_check",
    "filled",
    "load_data",
    "model_card",
    "new_classifier",
    "paired_difference",
    "report",
    "run",
    "shown",
    "softmax",
]
