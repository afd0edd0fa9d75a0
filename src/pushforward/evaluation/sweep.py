"""Quality against the time of training: the same recipes trained for shorter budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pushforward.data import Dataset
from pushforward.evaluation.commands import commands
from pushforward.evaluation.curves import CURVE_SCORES
from pushforward.evaluation.judge import Judge
from pushforward.evaluation.measurements import SweepPoint
from pushforward.evaluation.models import check_model
from pushforward.evaluation.protocol import check_same
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.extractors import Spaces
from pushforward.numbers import duration
from pushforward.training import Run


def with_sweep(
    comparison: Comparison,
    runs: Mapping[str, Sequence[Run]],
    data: Dataset,
    features: Spaces = None,
    tell: Callable[[str], None] | None = None,
) -> Comparison:
    """A comparison with the scores of shorter trainings of its models, by the same protocol.

    Args:
        comparison: Of the longest trainings, which become the last point of each sweep.
        runs: Shorter trainings by the name of the model.
        data: The data of the comparison.
        features: Its feature spaces.
        tell: Called with a line before each sampling; silent by default.

    Raises:
        UsageError: For a run of other data, or where these scores would be of another protocol than the comparison's.
    """
    for name, shorter in runs.items():
        for run in shorter:
            check_model(name, run, data)
    judge = Judge(data, comparison.protocol.n or 0, comparison.settings.repeats or 1, CURVE_SCORES, spaces=features, tell=tell)
    check_same([("the comparison", comparison.protocol), ("its shorter trainings", judge.comparison().protocol)])
    longest = {model.name: model for model in comparison.models}
    points = {}
    for name, shorter in runs.items():
        scored = [_point(name, run, judge) for run in shorter]
        scored += [_last(longest[name])] if name in longest else []
        points[name] = tuple(sorted(scored, key=lambda point: point.budget or point.seconds or 0.0))
    return replace(comparison, sweep={**comparison.sweep, **points})


def _point(name: str, run: Run, judge: Judge) -> SweepPoint:
    state, budget = run.state, run.spec["budget"]["seconds"]
    scores = judge.scores(run.transport, f"{name} after {duration(budget or state['seconds'])}")[0]
    return SweepPoint(state["seconds"], state["step"], run.spec["seed"], scores, budget, tuple(commands(run)))


def _last(model: ModelResult) -> SweepPoint:
    """The longest training; of several the first, since the shorter ones are trained once."""
    first = model.trainings[0] if model.trainings else model
    scores = {name: first.scores[name] for name in CURVE_SCORES if name in first.scores}
    budget = (model.config.get("budget") or {}).get("seconds")
    return SweepPoint(first.training.seconds, first.training.steps, first.seed, scores, budget)
