"""Evaluation: models and data in, scores out."""

from __future__ import annotations

from pushforward.evaluation.compare import compare_models, train_in_turns
from pushforward.evaluation.judge import Judge, evaluate

__all__ = ["Judge", "compare_models", "evaluate", "train_in_turns"]
