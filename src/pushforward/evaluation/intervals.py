"""95 % intervals of scores: over examples if the metric provides its error, otherwise over samplings or training runs.

An interval covers the mean score over new samples of the model and, if ``reference_error`` is known, over new held-out examples.
If the mean depends on the number of examples (`MetricInfo.unbiased` is False), it is the mean at this number. Intervals stay
within the range of the score (`MetricInfo`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from pushforward.evaluation.measurements import CurvePoint
from pushforward.metrics import MetricInfo, Score
from pushforward.metrics.growth import Growth, mean_growth, score_interval
from pushforward.metrics.uncertainty import share_error

NORMAL = 1.96
LEVEL = 0.05  # Probability of a significant difference between any two of equal models
LARGE = 1e6  # Degrees of freedom of a known variance


def with_interval(score: Score, info: MetricInfo | None = None) -> Score:
    """Add the 95 % interval to a score of one or more samplings, if its variation is known.

    Args:
        score: Score with its values.
        info: Description with the range of the score; None for no limits.
    """
    values = _numbers(score)
    shared = score.reference_error or 0.0
    if score.value is None or len(values) != max(1, len(score.values)):
        return score
    if score.growth and None not in score.growth:
        return _stated(
            score,
            score_interval(score.value, Growth(*score.growth), len(values), NORMAL),
            "examples",
            info,
        )
    if score.error is not None and score.reference_error is not None:
        own = max(0.0, score.error**2 - shared**2) / len(values)
        return _around(score, math.sqrt(shared**2 + own), NORMAL, "examples", info)
    if score.error is not None and len(values) == 1:
        return _around(score, score.error, NORMAL, "examples", info)
    return _between(score, values, shared, "samplings", info)


def over_trainings(score: Score, info: MetricInfo | None = None) -> Score:
    """Add the 95 % interval over new training runs to a mean over runs (``values``); arguments as in `with_interval`."""
    values = _numbers(score)
    if score.value is None or len(values) != len(score.values):
        return replace(score, interval=None, interval_of=None)
    return _between(score, values, score.reference_error or 0.0, "training runs", info)


def _numbers(score: Score) -> list[float]:
    values = score.values or (score.value,)
    return [value for value in values if value is not None]


def _between(
    score: Score, values: Sequence[float], shared: float, of: str, info: MetricInfo | None
) -> Score:
    """Student's interval of a mean of independent values, beside an error that they share.

    References:
        Welch, The generalization of "Student's" problem when several different population variances are involved, 1947.
    """
    from scipy.special import stdtrit

    count = len(values)
    mean = math.fsum(values) / count
    own = math.fsum((value - mean) ** 2 for value in values) / max(1, count - 1) / count
    if count < 2 or math.isclose(
        min(values), max(values), abs_tol=1e-12
    ):  # equal values do not say how they vary
        return replace(score, interval=None, interval_of=None)
    freedom = (count - 1) * ((own + shared**2) / own) ** 2
    return _around(score, math.sqrt(own + shared**2), float(stdtrit(freedom, 0.975)), of, info)


def _around(score: Score, error: float, quantile: float, of: str, info: MetricInfo | None) -> Score:
    assert score.value is not None
    info = info or MetricInfo()
    if (info.least, info.most) == (0.0, 1.0):
        interval = of_share(score.value, error, quantile)
    elif info.least == 0.0:
        interval = above(score.value, error, quantile)
    else:
        interval = score.value - quantile * error, score.value + quantile * error
    if "of" in score.extra:  # a count of so many
        interval = interval[0], min(interval[1], float(score.extra["of"]))
    return _stated(score, interval, of, info)


def _stated(score: Score, interval: tuple[float, float], of: str, info: MetricInfo | None) -> Score:
    least = -math.inf if info is None or info.least is None else info.least
    most = math.inf if info is None or info.most is None else info.most
    low, high = (min(most, max(least, end)) for end in interval)
    return replace(score, interval=(low, high), interval_of=of)


def of_share(value: float, error: float, quantile: float = NORMAL) -> tuple[float, float]:
    """Compute Wilson's interval of a fraction, which stays between 0 and 1.

    The interval is computed for the number of independent examples that gives this standard error.

    Args:
        value: Fraction, from 0 to 1.
        error: Standard error; for independent examples, the result of `share_error`.
        quantile: Number of standard errors.

    References:
        Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    low = 0.0
    high = 4 / max(error, 1e-9) ** 2
    for _ in range(100):  # the error falls with the number
        n = (low + high) / 2
        low, high = (n, high) if share_error(value * n, n) > error else (low, n)
    weight = quantile**2
    half = quantile * math.sqrt(n * value * (1 - value) + weight / 4)
    return max(0.0, (n * value + weight / 2 - half) / (n + weight)), min(
        1.0, (n * value + weight / 2 + half) / (n + weight)
    )


def above(value: float, error: float, quantile: float = NORMAL) -> tuple[float, float]:
    """Compute an interval of a score that is never below 0.

    The interval is symmetric for the square root of the score and cut at 0. If the error is large compared with the
    value, the width is bounded.

    Args:
        value: Score, at least 0.
        error: Standard error.
        quantile: Number of standard errors.
    """
    wide = quantile * error
    root = math.sqrt(max(0.0, value))
    half = math.sqrt(wide / 2) if value <= wide / 2 else wide / (2 * root)
    return min(value, max(0.0, root - half) ** 2), max(value + wide, (root + half) ** 2)


def merged_p(values: Sequence[float]) -> float:
    """Combine p-values by twice their mean, at most 1; a single p-value is unchanged.

    The result is a valid p-value for any dependence between the p-values, such as of samplings that share
    their reference.

    Args:
        values: One or more p-values in [0, 1].

    References:
        Rüschendorf, Random variables with maximum sums, 1982. Vovk and Wang, Combining p-values via averaging, 2020,
        arXiv:1212.4966, table 1 and proposition 3.
    """
    return min(1.0, min(len(values), 2) * math.fsum(values) / len(values))


def deviation(values: Sequence[float]) -> float:
    """Compute the sample standard deviation; exactly 0 for equal values, despite rounding."""
    if np.ptp(values) == 0:
        return 0.0
    return float(np.std(values, ddof=1))


def ratio(value: float, floor: Score) -> float | None:
    """Divide a score by the real-data score; None if that is within two standard deviations of 0 or below."""
    if floor.value is None or floor.value <= 2 * (floor.spread or 0.0):
        return None
    return value / floor.value


def together(
    samplings: Sequence[Mapping[str, Score]],
    n: int,
    floors: Mapping[str, Score] | None = None,
    infos: Mapping[str, MetricInfo] | None = None,
) -> dict[str, Score]:
    """Combine the scores of several samplings.

    Args:
        samplings: Scores by name, for each sampling.
        n: Number of examples per side.
        floors: Real-data scores by name, for ratios.
        infos: Descriptions by name, for ranges.
    """
    rows: dict[str, list[Score]] = {}
    for name, score in (item for sampling in samplings for item in sampling.items()):
        rows.setdefault(name, []).append(score)
    return {
        name: combined(row, n, (floors or {}).get(name), (infos or {}).get(name))
        for name, row in rows.items()
    }


def point_of(steps: int, calls: float, scores: Mapping[str, Score]) -> CurvePoint:
    """Convert scores over samplings to a point of a curve."""
    return CurvePoint(
        steps,
        calls,
        {name: score.value for name, score in scores.items()},
        values={name: score.values for name, score in scores.items()},
        intervals={name: score.interval for name, score in scores.items() if score.interval},
        sample_terms={
            name: _over_samplings(score) for name, score in scores.items() if score.sample_terms
        },
        reference_terms={
            name: score.reference_terms for name, score in scores.items() if score.reference_terms
        },
    )


def _over_samplings(score: Score) -> tuple[float, ...]:
    """The mean terms of each group over all samplings."""
    each = np.reshape(score.sample_terms, (max(1, len(score.values)), -1))
    return tuple(each.mean(0).tolist())


def combined(
    samplings: Sequence[Score], n: int, floor: Score | None, info: MetricInfo | None = None
) -> Score:
    """Combine the scores of several samplings to one score, with its interval and its ratio to the real-data score.

    Args:
        samplings: Score of each sampling.
        n: Number of examples per side.
        floor: Real-data score; None for no ratio.
        info: Description with the range of the score; None for no limits.
    """
    values = [result.number for result in samplings]
    terms = [result.reference_terms for result in samplings]
    sample_terms = [_around_value(result) for result in samplings]
    mean = float(np.mean(values))
    growths = [Growth(*result.growth) for result in samplings if result.growth]
    summary = Score(
        value=mean,
        spread=deviation(values) if len(values) > 1 else None,
        error=mean_of(samplings, "error"),
        values=tuple(values),
        n=n,
        ratio=None if floor is None else ratio(mean, floor),
        reference_error=mean_of(samplings, "reference_error"),
        bias=mean_of(samplings, "bias"),
        growth=mean_growth(growths) if len(growths) == len(samplings) else (),
        reference_terms=tuple(np.mean(terms, axis=0).tolist())
        if len({*map(len, terms)}) == 1
        else (),
        sample_terms=tuple(term for each in sample_terms for term in each)
        if all(sample_terms)
        else (),
        extra=mean_extra(samplings),
    )
    return with_interval(summary, info)


def _around_value(score: Score) -> tuple[float, ...]:
    """The terms of a sampling, moved so that their mean is its value: samplings differ in it by chance, as groups do."""
    centre = math.fsum(score.sample_terms) / max(1, len(score.sample_terms))
    return tuple(score.number + term - centre for term in score.sample_terms)


def mean_of(samplings: Sequence[Score], name: str) -> float | None:
    """Average a field over the scores that have it; errors by root mean square."""
    values = [value for result in samplings if (value := getattr(result, name)) is not None]
    if not values:
        return None
    if name.endswith("error"):
        return float(np.sqrt(np.mean(np.square(values))))
    return float(np.mean(values))


def mean_extra(samplings: Sequence[Score]) -> dict[str, object]:
    """Average the ``extra`` of scores; entries that differ and cannot be averaged are omitted."""
    extra: dict[str, object] = {}
    for name, first in samplings[0].extra.items():
        values: list[Any] = [result.extra.get(name) for result in samplings]
        if any(value is None for value in values):
            continue
        if name == "p":
            extra[name] = merged_p(values)
        elif all(value == first for value in values):
            extra[name] = first
        elif isinstance(first, float) or (
            isinstance(first, tuple) and {np.shape(value) for value in values} == {np.shape(first)}
        ):
            extra[name] = np.mean(np.asarray(values, dtype=float), axis=0)
    return extra


@dataclass(frozen=True)
class Variation:
    """Variation of a score with the examples of one side, generated or held-out.

    Args:
        variance: Variance of the mean over all samplings.
        freedom: Degrees of freedom of ``variance``.
        terms: Contributions of groups of examples, for comparisons with another score on the same examples.
    """

    variance: float = 0.0
    freedom: float = LARGE
    terms: tuple[float, ...] = ()

    @classmethod
    def of_terms(cls, terms: Sequence[float]) -> Self:
        """Compute the variation of the mean of two or more independent terms."""
        return cls(float(np.var(terms, ddof=1)) / len(terms), len(terms) - 1, tuple(terms))

    def of_difference(self, other: Variation) -> Variation:
        """Compute the variation of the difference of two scores, from the differences of their terms if possible.

        References:
            Welch, The generalization of "Student's" problem when several different population variances are involved, 1947.
        """
        if len(self.terms) == len(other.terms) > 1:
            return Variation.of_terms([a - b for a, b in zip(self.terms, other.terms, strict=True)])
        total = self.variance + other.variance
        if total in (0.0, math.inf):
            return Variation(total)
        freedom = total**2 / (self.variance**2 / self.freedom + other.variance**2 / other.freedom)
        return Variation(total, freedom)

    def times(self, factor: float) -> Variation:
        """Compute the variation of a multiple of the score."""
        return Variation(
            self.variance * factor**2, self.freedom, tuple(factor * term for term in self.terms)
        )

    def half_width(self, comparisons: int) -> float:
        """Compute half of Student's interval at the level `LEVEL` divided by the number of comparisons."""
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 1 - LEVEL / 2 / comparisons)) * math.sqrt(self.variance)


def over_references(score: Score) -> Variation:
    """Compute the variation of a score over new held-out examples."""
    if len(score.reference_terms) > 1:
        return Variation.of_terms(score.reference_terms)
    return Variation((score.reference_error or 0.0) ** 2)


def over_samples(score: Score, pooled: Variation) -> Variation:
    """Compute the variation of a score of one training run over new samples.

    Args:
        score: Score of one or more samplings.
        pooled: Variation of a single sampling, for scores whose error over new samples is unknown.
    """
    if len(score.sample_terms) > 1:
        return Variation.of_terms(score.sample_terms)
    if score.reference_error is None:
        alone = score.error or (score.spread if len(score.values) < 2 else None)
        if alone:
            return Variation(alone**2)
        return pooled
    samplings = max(1, len(score.values))
    own = (score.error or 0.0) ** 2 - score.reference_error**2
    if score.error is not None and own > 1e-9 * score.error**2:
        return Variation(own / samplings)
    return Variation(pooled.variance / samplings, pooled.freedom)


def over_training_runs(score: Score) -> Variation:
    """Compute the variation of a mean over training runs (``values``)."""
    runs = len(score.values)
    own = float(np.var(_numbers(score), ddof=1)) or (score.spread or 0.0) ** 2
    return Variation(own / runs, runs - 1)


def pooled_variation(scores: Sequence[Score], least: float) -> Variation:
    """Pool the variance between samplings over the models of a comparison.

    Args:
        scores: Scores of one training run each.
        least: Standard deviation to use if samplings agree by chance; 0 if unknown. If scores have
            no error and one sampling each, no difference is significant.
    """
    several = any(score.spread is not None or score.error is not None for score in scores)
    known = [
        (score.spread, len(score.values) - 1)
        for score in scores
        if score.spread and len(score.values) > 1
    ]
    freedom = sum(own for _, own in known)
    if not known:
        return Variation(least**2 if several and least else math.inf)
    return Variation(sum(spread**2 * own for spread, own in known) / freedom, freedom)


NONE = Variation()


@dataclass(frozen=True)
class Variations:
    """Variation of a score from all sources.

    Args:
        samples: Variation over new samples.
        references: Variation over new held-out examples.
        runs: Variation over new training runs, if there are several.
        root: Value of the score if it is the root of a mean; 0 for other scores.
    """

    samples: Variation = NONE
    references: Variation = NONE
    runs: Variation = NONE
    root: float = 0.0

    def margin(self, other: Variations, comparisons: int = 1) -> float:
        """Compute the smallest significant difference (95 %) between this score and another one.

        It is half of the 95 % interval of their difference: the root of the sum of squares of the half-widths of
        all sources. Each source has its own quantile, because a single quantile with Welch's degrees of freedom
        finds too many differences between equal models (4 % instead of 2.5 %).

        Args:
            other: Variations of the other score.
            comparisons: Number of differences that are tested at once, such as of all pairs of models.
        """
        own = 1.0
        others = 1.0
        if self.root and other.root:
            # a - b = (a^2 - b^2) / (a + b): terms of the roots, over 2 a and 2 b, become those of the squares, over a + b
            own, others = (2 * root / (self.root + other.root) for root in (self.root, other.root))
        differences = (
            self.samples.times(own).of_difference(other.samples.times(others)),
            self.references.times(own).of_difference(other.references.times(others)),
            self.runs.of_difference(other.runs),
        )
        return math.hypot(*(difference.half_width(comparisons) for difference in differences))
