"""Metrics by name."""

from __future__ import annotations

from typing import Any

from pushforward.errors import UsageError
from pushforward.metrics.score import Metric, MetricInfo, is_metric
from pushforward.registries import METRICS


def register(name: str, metric: type[Metric]) -> None:
    """Let evaluations, comparisons and the command line use a further metric; one that was added before is replaced.

    Args:
        name: Its name.
        metric: A class whose ``scores`` declare a `MetricInfo` by name; it is built without arguments.

    Raises:
        UsageError: If it is no metric, or gives a score whose name another metric has.
    """
    METRICS.add(name, metric)


def check_metric(name: str, metric: Any) -> None:
    """Refuse what is no metric, and one that gives a score whose name another metric has."""
    if not is_metric(metric):
        raise UsageError(f'{metric!r} is not a metric: its class needs an attribute "scores", a dict from names to MetricInfo.')
    taken = {score for owner, other in METRICS.items() if owner != name for score in other.scores}
    if both := [score for score in metric.scores if score in taken]:
        raise UsageError(f"The name {both[0]} belongs to another metric. Choose another name.")


def describe() -> dict[str, MetricInfo]:
    """What a reader needs to know about each score, by its name."""
    return {name: info for metric in METRICS.values() for name, info in metric.scores.items()}
