"""Selection of metrics by name, and descriptions of the scores of the model itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pushforward.errors import UsageError, suggestion
from pushforward.metrics.score import Metric, MetricInfo, Samples, Score, is_metric, share_info
from pushforward.registries import METRICS


def register(name: str, metric: type[Metric]) -> None:
    """Register a metric for evaluations, comparisons and the command line, replacing an earlier one of the same name.

    Args:
        name: Name of the metric.
        metric: Class whose ``scores`` declare a `MetricInfo` by name; it is constructed without
            arguments.

    Raises:
        UsageError: If the class is not a metric, or the name of a score belongs to another metric.
    """
    METRICS.add(name, metric)


def check_metric(name: str, metric: Any) -> None:
    """Raise an error if the class is not a metric, or the name of a score belongs to another metric."""
    if not is_metric(metric):
        raise UsageError(
            f'{metric!r} is not a metric: the class needs an attribute "scores", a dict from names to MetricInfo.'
        )
    taken = {score for owner, other in METRICS.items() if owner != name for score in other.scores}
    if both := [score for score in metric.scores if score in taken]:
        raise UsageError(
            f"Another metric already has a score named {both[0]}. Choose another name."
        )


def describe() -> dict[str, MetricInfo]:
    """Return the `MetricInfo` of each score, by name."""
    return {name: info for metric in METRICS.values() for name, info in metric.scores.items()}


MODEL_SCORES: Mapping[str, MetricInfo] = {
    "bpd": MetricInfo(
        "bits per dimension",
        "lower",
        "Bits that the model needs per dimension of a held-out example. For images, this is an upper bound for 256 "
        "levels; for vectors, minus the log density in the units of the data, which can be negative.",
        unit="bits",
        unbiased=True,
    ),
    "cas": share_info(
        "Classification accuracy score",
        "higher",
        "Accuracy on held-out examples of a classifier trained only on samples. The real-data score is that of a "
        "classifier trained on equally many real examples.",
        unit="%",
        group="Classes",
    ),
}
Choice = list[
    tuple[Metric, tuple[str, ...]]
]  # Metrics, each with the names of its scores that are wanted


def check_metrics(names: Sequence[str | Metric] | None) -> None:
    """Raise an error if a metric name is unknown.

    Raises:
        UsageError: If a name is unknown, with all known metrics.
    """
    known = [
        *METRICS,
        *MODEL_SCORES,
        *(name for metric in METRICS.values() for name in metric.scores),
    ]
    for name in [names] if isinstance(names, str) else names or ():
        if isinstance(name, str) and name not in known:
            every = sorted(set(known))
            raise UsageError(
                f'Unknown metric "{name}". Available metrics: {", ".join(every)}.{suggestion(name, every)}'
            )


def chosen(wanted: Sequence[str | Metric] | None) -> Choice:
    """Select metrics and their requested scores; None for all.

    Raises:
        UsageError: If a metric is unknown.
    """
    if wanted is None:
        return [(metric(), tuple(metric.scores)) for metric in METRICS.values()]
    owners = {name: metric for metric in METRICS.values() for name in metric.scores}
    by_metric: dict[Any, tuple[Metric, list[str]]] = {}
    for choice in [wanted] if isinstance(wanted, str) else wanted:
        if not isinstance(choice, str):
            by_metric[id(choice)] = (choice, list(choice.scores))
            continue
        metric = METRICS.get(choice) or owners.get(choice)
        if metric is None:
            check_metrics([choice])
            raise UsageError(
                f"{choice} needs the model, not only samples. Compute it for a run with pf.evaluate."
            )
        by_metric.setdefault(metric, (metric(), []))[1].extend(
            metric.scores if choice in METRICS else (choice,)
        )
    return [(metric, tuple(dict.fromkeys(scores))) for metric, scores in by_metric.values()]


def measured(samples: Samples, choice: Choice) -> dict[str, Score]:
    """Compute the requested scores of the metrics that apply."""
    return {
        name: result
        for metric, wanted in choice
        if metric.applies(samples)
        for name, result in metric(samples).items()
        if name in wanted
    }
