"""Maps measured in few calls, whose scores are written down, for tests of what a report says."""

from __future__ import annotations

from pushforward.evaluation.measurements import CurvePoint, Ladder
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score, describe


def points(*values, spread=0.004, coverage=0.95, distance=None):
    """Points in 1, 2, 4, ... calls, each of three samplings whose noise is the same from point to point."""
    return tuple(
        CurvePoint(
            2**at,
            2**at,
            {"frechet": value, "coverage": coverage},
            {"frechet": (value - spread, value, value + spread), "coverage": (coverage,) * 3},
            distance,
        )
        for at, value in enumerate(values)
    )


def content(own=None, teacher=(), name="student", spread=0.002, **of_model):
    rungs = of_model.pop("rungs")
    floors = {"frechet": Score(0.01, spread), "coverage": Score(0.96, 0.01)}
    measured = Ladder(360, 3, floors, rungs, teacher, own, "UniPC" if own else None, learned="samples")
    model = ModelResult(name, ladder=measured, **of_model)
    known = describe()
    return Comparison(metrics={key: known[key] for key in ("frechet", "coverage")}, models=(model,))
