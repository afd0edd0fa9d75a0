"""What a server tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from pushforward.serving.admission import Model

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100)
COUNTED = {
    "network_calls": ("calls", "Network calls; each moves rows of several requests."),
    "moved_rows": ("moved", "Rows that network calls moved, summed over calls."),
    "samples": ("made", "Samples that were made."),
}
MEASURED = {"rows": ("rows", "Rows in memory, those that wait included."), "active_rows": ("active", "Rows that have begun.")}


class Metrics:
    """Counts of answers, their seconds, and the state of engines.

    Args:
        models: All that are served.

    Attributes:
        seconds: From a request to its answer, by model.
    """

    def __init__(self, models: Sequence[Model]) -> None:
        self.registry = CollectorRegistry()
        self._answers = Counter("pushforward_answers", "Answers by HTTP status.", ["status"], registry=self.registry)
        self.seconds = Histogram(
            "pushforward_request_seconds", "From a request to its samples.", ["model"], buckets=SECONDS, registry=self.registry
        )
        self.registry.register(_Engines(models))

    def answered(self, status: int) -> None:
        """Count an answer."""
        self._answers.labels(str(status)).inc()

    def text(self) -> bytes:
        """All figures, in Prometheus' format."""
        return generate_latest(self.registry)


class _Engines(Collector):
    def __init__(self, models: Sequence[Model]) -> None:
        self.models = models

    def collect(self) -> Iterable[Metric]:
        kinds = ((COUNTED, CounterMetricFamily), (MEASURED, GaugeMetricFamily))
        for figures, kind in kinds:
            for name, (attribute, meaning) in figures.items():
                family = kind(f"pushforward_{name}", meaning, labels=["model"])
                for model in self.models:
                    family.add_metric([model.name], getattr(model.engine, attribute))
                yield family
