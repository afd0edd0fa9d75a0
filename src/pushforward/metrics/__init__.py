"""Metrics: arrays in, scores out; they know nothing of models, networks or data sets.

A module holds the metrics of one idea. A metric declares the name, the direction and the place in the report of each of its
scores (`MetricInfo`). A metric of one's own is added by `register`.
"""

from pushforward.metrics.names import describe, register
from pushforward.metrics.score import Metric, MetricInfo, Samples, Score

__all__ = ["Metric", "MetricInfo", "Samples", "Score", "describe", "register"]
