"""The model card of a run: numbers from its report, words from its author."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from .. import assets
from .reporting import Report

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

SECTIONS = ("Intended use", "Not for", "Limits")
_FEWEST_WORDS = 8


def model_card(report: Report, name: str, words: Mapping[str, str]) -> "ModelCard":
    """A card whose head and tables are filled from the report and whose `SECTIONS` the author writes.

    Raises:
        ValueError: a section that is missing, unknown, or of fewer than eight words, or a report without a check
            for bias.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    _check_words(words)
    if not report.bias:
        raise ValueError("the report holds no check for bias: measure it, and give it to `report` as bias=")
    config = report.config
    model = report.model
    results = [
        EvalResult(
            task_type="text-classification",
            dataset_type=config["corpus"],
            dataset_name=config["corpus"],
            dataset_split=config["report_on"],
            metric_type=metric,
            metric_value=round(interval.estimate, 3),
            metric_name=f"{metric}, {interval.level:.0%} interval {interval.low:.3f} to {interval.high:.3f}",
        )
        for metric, interval in (("accuracy", model.accuracy), ("f1", model.macro_f1))
    ]
    head = ModelCardData(
        language="en",
        license="unknown",
        base_model="sentence-transformers/all-MiniLM-L6-v2" if config["model"] == "minilm-l6" else config["model"],
        pipeline_tag="text-classification",
        tags=["text-classification", "course-project"],
        model_name=name,
        eval_results=results,
    )
    return ModelCard(f"---\n{head.to_yaml()}\n---\n\n{_body(report, name, words)}")


def _check_words(words: Mapping[str, str]) -> None:
    unknown = [section for section in words if section not in SECTIONS]
    if unknown:
        raise ValueError(f"there is no section {unknown[0]!r}; the author writes {', '.join(SECTIONS)}")
    for section in SECTIONS:
        found = len(str(words.get(section, "")).split())
        if found < _FEWEST_WORDS:
            raise ValueError(
                f"the section {section!r} has {found} words: a stranger needs a sentence or two, at least "
                f"{_FEWEST_WORDS} words"
            )


def _body(report: Report, name: str, words: Mapping[str, str]) -> str:
    config, asset = report.config, assets.ASSETS[report.config["corpus"]]
    settings = "\n".join(f"{key} = {value!r}" for key, value in config.items())
    last = (
        "The validation split was used for choosing: the scores above are too good."
        if config["report_on"] == "validation"
        else "The test split was not used for choosing anything."
    )
    parts = [
        f"# {name}",
        *(f"## {section}\n\n{words[section].strip()}" for section in SECTIONS[:2]),
        f"## Training data\n\n{asset.what}. Licence: {asset.licence}. Trained on {report.train_rows:,} rows.",
        f"## Results\n\nOn {report.rows:,} rows of the {config['report_on']} split, with "
        f"{report.model.accuracy.level:.0%} bootstrap intervals over the rows. {last}\n\n{report.table()}\n\n"
        f"{report.class_table()}",
        f"## Exchanged names\n\nChange of the probability of a class when a name is exchanged for one of another "
        f"group. Intervals are over sentences.\n\n{report.bias_table()}",
        f"## Limits\n\n{words['Limits'].strip()}",
        f"## Settings\n\n```toml\n{settings}\n```",
    ]
    return "\n\n".join(parts) + "\n"
