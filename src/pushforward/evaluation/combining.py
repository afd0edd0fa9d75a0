"""Several samplings of a model as one score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pushforward.evaluation.intervals import merged_p, with_interval
from pushforward.evaluation.scoring import deviation, ratio
from pushforward.metrics import MetricInfo, Score
from pushforward.metrics.growth import Growth, mean_growth

__all__ = ["combined"]


def combined(samplings: Sequence[Score], n: int, floor: Score | None, info: MetricInfo | None = None) -> Score:
    """Several samplings of n examples as one score, with its interval in the range of ``info``, and its ratio to the floor."""
    values = [result.number for result in samplings]
    mean, growths = float(np.mean(values)), [Growth(*result.growth) for result in samplings if result.growth]
    summary = Score(
        value=mean,
        spread=deviation(values) if len(values) > 1 else None,
        error=_mean_of(samplings, "error"),
        values=tuple(values),
        n=n,
        ratio=None if floor is None else ratio(mean, floor),
        reference_error=_mean_of(samplings, "reference_error"),
        bias=_mean_of(samplings, "bias"),
        growth=mean_growth(growths) if len(growths) == len(samplings) else (),
        extra=_mean_extra(samplings),
    )
    return with_interval(summary, info)


def _mean_of(samplings: Sequence[Score], name: str) -> float | None:
    """The mean of a number that samplings have; of errors the root mean square."""
    values = [value for result in samplings if (value := getattr(result, name)) is not None]
    if not values:
        return None
    return float(np.sqrt(np.mean(np.square(values)))) if name.endswith("error") else float(np.mean(values))


def _mean_extra(samplings: Sequence[Score]) -> dict[str, object]:
    """Means of the numbers that all samplings have; what cannot be averaged only where all agree."""
    extra: dict[str, object] = {}
    for name, first in samplings[0].extra.items():
        values: list[Any] = [result.extra.get(name) for result in samplings]
        if name == "p" and None not in values:
            extra[name] = merged_p(values)
        elif all(value == first for value in values):
            extra[name] = first
        elif isinstance(first, float) or (
            isinstance(first, tuple) and {np.shape(value) for value in values} == {np.shape(first)}
        ):
            extra[name] = np.mean(np.asarray(values, dtype=float), axis=0)
    return extra
