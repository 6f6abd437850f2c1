"""Fine-tuning a pre-trained encoder: of texts, of their words, and of answers in a passage."""

from course_lib.finetuning.recipe import collate, encode, fit, freeze, predict, task_loss

__all__ = ["collate", "encode", "fit", "freeze", "predict", "task_loss"]
