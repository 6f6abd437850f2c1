"""What each notebook asks, its hints, and the judges: one module a notebook.

Judges import torch, numpy and the standard library, never what they judge: their oracle is torch, a closed form
or a property. The right answers are the tested objects of `course_lib`, or stand in `references`.
"""

from . import (
    bert_from_scratch,
    capstone,
    datasets_and_hub,
    efficient_fine_tuning,
    encoder_decoder_translation,
    gpt_and_generation,
    logits_to_probabilities,
    looking_inside,
    many_processes,
    multi_head_attention,
    position,
    queries_keys_values,
    real_weights,
    start_here,
    tokenizers,
    transformer_block,
    why_attention,
)
from .engine import (
    EXERCISES,
    NOT_ATTEMPTED,
    QUIZZES,
    Choice,
    Exercise,
    Question,
    UnknownExerciseError,
    Verdict,
    judge,
)

__all__ = [
    "EXERCISES",
    "NOT_ATTEMPTED",
    "QUIZZES",
    "Choice",
    "Exercise",
    "Question",
    "UnknownExerciseError",
    "Verdict",
    "bert_from_scratch",
    "capstone",
    "datasets_and_hub",
    "efficient_fine_tuning",
    "encoder_decoder_translation",
    "gpt_and_generation",
    "judge",
    "logits_to_probabilities",
    "looking_inside",
    "many_processes",
    "multi_head_attention",
    "position",
    "queries_keys_values",
    "real_weights",
    "start_here",
    "tokenizers",
    "transformer_block",
    "why_attention",
]
