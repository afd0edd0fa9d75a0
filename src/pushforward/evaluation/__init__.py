"""Evaluation: models and data in, scores out."""

from __future__ import annotations

from pushforward.evaluation.compare import compare_models, train_in_turns
from pushforward.evaluation.judge import Judge, evaluate
from pushforward.evaluation.neighbours import nearest
from pushforward.evaluation.truncation import truncation_curve, truncation_picture

__all__ = ["Judge", "compare_models", "evaluate", "nearest", "train_in_turns", "truncation_curve", "truncation_picture"]
