"""Evaluation of models and samples on held-out data. Names are imported on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pushforward.registries import exports

if TYPE_CHECKING:
    from pushforward.evaluation.comparison import compare, evaluate
    from pushforward.evaluation.curves import with_sweep
    from pushforward.evaluation.evaluator import Evaluator
    from pushforward.evaluation.pictures import nearest
    from pushforward.evaluation.results import Comparison, ModelResult
    from pushforward.metrics import MetricInfo, Score

__all__ = [
    "Comparison",
    "Evaluator",
    "MetricInfo",
    "ModelResult",
    "Score",
    "compare",
    "evaluate",
    "nearest",
    "with_sweep",
]

__getattr__ = exports(
    __name__,
    {
        "comparison": ("compare", "evaluate"),
        "evaluator": ("Evaluator",),
        "pictures": ("nearest",),
        "results": ("Comparison", "MetricInfo", "ModelResult", "Score"),
        "curves": ("with_sweep",),
    },
)
