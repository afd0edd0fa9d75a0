"""Several samplings of a model as one score."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pushforward.evaluation.intervals import deviation, merged_p, ratio, with_interval
from pushforward.evaluation.measurements import CurvePoint
from pushforward.metrics import MetricInfo, Score
from pushforward.metrics.growth import Growth, mean_growth


def together(
    samplings: Sequence[Mapping[str, Score]],
    n: int,
    floors: Mapping[str, Score] | None = None,
    infos: Mapping[str, MetricInfo] | None = None,
) -> dict[str, Score]:
    """The scores of several samplings, each with all scores by name, as one score of each name."""
    rows: dict[str, list[Score]] = {}
    for name, score in (item for sampling in samplings for item in sampling.items()):
        rows.setdefault(name, []).append(score)
    return {name: combined(row, n, (floors or {}).get(name), (infos or {}).get(name)) for name, row in rows.items()}


def point_of(steps: int, calls: float, scores: Mapping[str, Score]) -> CurvePoint:
    """Scores over samplings as a point of a curve."""
    return CurvePoint(
        steps,
        calls,
        {name: score.value for name, score in scores.items()},
        values={name: score.values for name, score in scores.items()},
        intervals={name: score.interval for name, score in scores.items() if score.interval},
    )


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
        reference_terms=_mean_terms([result.reference_terms for result in samplings]),
        extra=_mean_extra(samplings),
    )
    return with_interval(summary, info)


def _mean_of(samplings: Sequence[Score], name: str) -> float | None:
    """The mean of a number that samplings have; of errors the root mean square."""
    values = [value for result in samplings if (value := getattr(result, name)) is not None]
    if not values:
        return None
    return float(np.sqrt(np.mean(np.square(values)))) if name.endswith("error") else float(np.mean(values))


def _mean_terms(rows: Sequence[tuple[float, ...]]) -> tuple[float, ...]:
    """The mean of terms, group by group; none where samplings have other numbers of them."""
    return tuple(np.mean(rows, axis=0).tolist()) if len({*map(len, rows)}) == 1 else ()


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
