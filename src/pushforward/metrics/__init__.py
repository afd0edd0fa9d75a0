"""Metrics, which compute scores from arrays alone. Add your own with `register`."""

from pushforward.metrics.score import Metric, MetricInfo, Samples, Score, describe, register

__all__ = ["Metric", "MetricInfo", "Samples", "Score", "describe", "register"]
