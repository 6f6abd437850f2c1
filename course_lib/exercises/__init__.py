"""What each notebook asks, its hints, and the judges: one module a notebook.

Judges import torch, numpy and the standard library, never what they judge: their oracle is torch, a closed form
or a property. The right answers are the tested objects of `course_lib`, or stand in `references`.
"""

from . import (
    encoder_decoder_translation,
    logits_to_probabilities,
    multi_head_attention,
    position,
    queries_keys_values,
    start_here,
    transformer_block,
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
    "encoder_decoder_translation",
    "judge",
    "logits_to_probabilities",
    "multi_head_attention",
    "position",
    "queries_keys_values",
    "start_here",
    "transformer_block",
]
