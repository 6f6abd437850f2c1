"""The map of the course: twenty notebooks in five parts, in the order they are taken.

README's table, the map drawn by `progress()` and the checks of the notebooks all read this one list.
"""

from typing import NamedTuple


class Notebook(NamedTuple):
    """One numbered notebook: `minutes` is the estimate for a learner, `trains` allows it 180 s on two cores."""

    number: str
    slug: str
    title: str
    part: str
    minutes: int
    core: bool = False
    trains: bool = False

    @property
    def stem(self) -> str:
        """File name without its ending: `02_queries_keys_values`."""
        return f"{self.number}_{self.slug}"


PARTS = {
    "0": "Start",
    "I": "Attention",
    "II": "The Transformer",
    "III": "BERT",
    "IV": "Hugging Face",
}

NOTEBOOKS = (
    Notebook("00", "start_here", "Start here", "0", 20, core=True),
    Notebook("01", "why_attention", "Why attention?", "I", 45, core=True),
    Notebook("02", "queries_keys_values", "Queries, keys and values", "I", 75, core=True),
    Notebook("03", "multi_head_attention", "Multi-head attention", "I", 60),
    Notebook("04", "position", "Position", "I", 60, core=True),
    Notebook("05", "transformer_block", "The Transformer block", "II", 60, core=True),
    Notebook("06", "encoder_decoder_translation", "Encoder, decoder, translation", "II", 120, trains=True),
    Notebook("07", "gpt_and_generation", "GPT and generation", "II", 90),
    Notebook("08", "tokenizers", "Tokenizers", "II", 90),
    Notebook("09", "bert_from_scratch", "BERT from scratch", "III", 120, core=True, trains=True),
    Notebook("10", "real_weights", "Real weights in your own BERT", "III", 60),
    Notebook("11", "looking_inside", "Looking inside", "III", 90),
    Notebook("12", "hugging_face_tour", "A tour of Hugging Face", "IV", 75, core=True),
    Notebook("13", "logits_to_probabilities", "From logits to probabilities", "IV", 60, core=True),
    Notebook("14", "datasets_and_hub", "Datasets and the Hub", "IV", 75),
    Notebook("15", "fine_tune_sentiment", "Fine-tune for sentiment", "IV", 120, core=True, trains=True),
    Notebook("16", "entities_and_questions", "Entities and questions", "IV", 120, trains=True),
    Notebook("17", "efficient_fine_tuning", "Efficient fine-tuning", "IV", 90, trains=True),
    Notebook("18", "many_processes", "Many processes", "IV", 60, trains=True),
    Notebook("19", "capstone", "Capstone", "IV", 180, trains=True),
)

BY_NUMBER = {notebook.number: notebook for notebook in NOTEBOOKS}
