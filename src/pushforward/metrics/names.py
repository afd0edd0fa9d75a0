"""Selection of metrics by name, and descriptions of the scores of the model itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pushforward.errors import UsageError, suggestion
from pushforward.metrics.score import (
    Metric,
    MetricInfo,
    Samples,
    Scores,
    is_metric,
    share_info,
)
from pushforward.registries import METRICS


def register(name: str, metric: type[Metric]) -> None:
    """Register a metric for evaluations, comparisons and the command line, or replace it.

    Raises:
        UsageError: If the class is not a metric, or the name of a score is taken.
    """
    METRICS.add(name, metric)


def check_metric(name: str, metric: Any) -> None:
    """Raise an error if a class is not a metric, or a score's name is taken."""
    if not is_metric(metric):
        raise UsageError(
            f'{metric!r} is not a metric: the class needs an attribute "scores", a dict from names '
            "to MetricInfo."
        )
    owners = _owners()
    for score in metric.scores:
        owner = owners.get(score)
        if owner is not None and owner is not METRICS.get(name):
            raise UsageError(
                f"Another metric already has a score named {score}. Choose another name."
            )


def _owners() -> dict[str, type[Metric]]:
    return {name: metric for metric in METRICS.values() for name in metric.scores}


def describe() -> dict[str, MetricInfo]:
    """Return the `MetricInfo` of each score, by name."""
    return {name: metric.scores[name] for name, metric in _owners().items()}


MODEL_SCORES: Mapping[str, MetricInfo] = {
    "bpd": MetricInfo(
        "bits per dimension",
        "lower",
        "Bits that the model needs per dimension of a held-out example. For images, this is an "
        "upper bound for 256 levels; for vectors, minus the log density in the units of the data, "
        "which can be negative.",
        unit="bits",
        unbiased=True,
    ),
    "cas": share_info(
        "Classification accuracy score",
        "higher",
        "Accuracy on held-out examples of a classifier trained only on samples. The real-data "
        "score is that of a classifier trained on equally many real examples.",
        unit="%",
        group="Classes",
    ),
}
# Metrics, each with the names of its requested scores
Choice = list[tuple[Metric, tuple[str, ...]]]


def check_metrics(names: Sequence[str | Metric] | None) -> None:
    """Raise a `UsageError` with all known metrics if a name is unknown."""
    known = sorted({*METRICS, *MODEL_SCORES, *_owners()})
    for name in names or ():
        if isinstance(name, str) and name not in known:
            raise UsageError(
                f'Unknown metric "{name}". Available metrics: {", ".join(known)}.'
                f"{suggestion(name, known)}"
            )


def chosen(wanted: Sequence[str | Metric] | None) -> Choice:
    """Select metrics and their requested scores; None for all."""
    if wanted is None:
        return [(metric(), tuple(metric.scores)) for metric in METRICS.values()]
    check_metrics(wanted)
    owners = _owners()
    metrics: dict[Any, Metric] = {}
    scores: dict[Any, dict[str, None]] = {}
    for choice in wanted:
        if not isinstance(choice, str):
            metrics[id(choice)] = choice
            scores[id(choice)] = dict.fromkeys(choice.scores)
            continue
        kind = METRICS.get(choice) or owners.get(choice)
        if kind is None:
            raise UsageError(
                f"{choice} needs the model, not only samples. Compute it for a run with "
                "pf.evaluate."
            )
        metrics.setdefault(kind, kind())
        names = kind.scores if choice in METRICS else [choice]
        scores.setdefault(kind, {}).update(dict.fromkeys(names))
    return [(metrics[key], tuple(scores[key])) for key in metrics]


def measured(samples: Samples, choice: Choice) -> Scores:
    """Compute the requested scores of the metrics that apply."""
    scores: Scores = {}
    for metric, wanted in choice:
        if metric.applies(samples):
            results = metric(samples)
            scores |= {name: results[name] for name in results if name in wanted}
    return scores
