"""Evaluation: models and data in, results out. Names are imported when first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.lazy import exports

if TYPE_CHECKING:
    from pushforward.evaluation.comparison import compare
    from pushforward.evaluation.evaluating import evaluate
    from pushforward.evaluation.judge import Judge
    from pushforward.evaluation.neighbours import nearest
    from pushforward.evaluation.results import Comparison, MetricInfo, ModelResult, Score
    from pushforward.evaluation.sweep import with_sweep
    from pushforward.evaluation.truncation import truncation_curve, truncation_picture
    from pushforward.evaluation.turns import train_in_turns

__all__ = [
    "Comparison",
    "Judge",
    "MetricInfo",
    "ModelResult",
    "Score",
    "compare",
    "evaluate",
    "nearest",
    "train_in_turns",
    "truncation_curve",
    "truncation_picture",
    "with_sweep",
]

__getattr__ = exports(
    __name__,
    {
        "comparison": ("compare",),
        "evaluating": ("evaluate",),
        "judge": ("Judge",),
        "neighbours": ("nearest",),
        "results": ("Comparison", "MetricInfo", "ModelResult", "Score"),
        "sweep": ("with_sweep",),
        "truncation": ("truncation_curve", "truncation_picture"),
        "turns": ("train_in_turns",),
    },
)
