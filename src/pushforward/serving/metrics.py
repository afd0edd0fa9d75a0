"""Metrics of a server for Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pushforward.serving.admission import Model

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)
# Attribute of an engine, meaning, and whether it only grows
FIGURES = {
    "network_calls": ("calls", "Network calls; each call serves rows from several requests.", True),
    "moved_rows": ("moved", "Rows processed by network calls, summed over calls.", True),
    "samples": ("made", "Samples generated.", True),
    "rows": ("rows", "Rows in memory, including waiting rows.", False),
    "active_rows": ("active", "Rows being generated.", False),
}


class Metrics(Collector):
    """Response times by path and status, and the state of engines.

    Args:
        models: All served models.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        self.models = models
        self._registry = CollectorRegistry()
        self.seconds = Histogram(
            "pushforward_seconds",
            "Seconds until an answer begins.",
            ["path", "status"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self._registry.register(self)

    def collect(self) -> Iterable[Metric]:
        """Yield the current state of engines."""
        for name, (attribute, meaning, grows) in FIGURES.items():
            kind = CounterMetricFamily if grows else GaugeMetricFamily
            family = kind(f"pushforward_{name}", meaning, labels=["model"])
            for model in self.models:
                family.add_metric([model.name], getattr(model.engine, attribute))
            yield family

    def text(self) -> bytes:
        """Return all metrics in the Prometheus format."""
        return generate_latest(self._registry)
