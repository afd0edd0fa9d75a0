"""Metrics, which compute scores from arrays and do not depend on models, networks or data sets.

A metric declares the name, direction and report section of each of its scores (`MetricInfo`). Add your own metric with
`register`.
"""

from pushforward.metrics.names import describe, register
from pushforward.metrics.score import Metric, MetricInfo, Samples, Score

__all__ = ["Metric", "MetricInfo", "Samples", "Score", "describe", "register"]
