"""95 % intervals of scores: over the examples where a metric knows its error, else over samplings or trainings.

An interval is of the score's mean over new samples of the model. Where the metric knows its ``reference_error`` that mean is over
new held-out examples too; else it is that against these held-out examples. For a score whose mean depends on the number of
examples (`MetricInfo.unbiased` is False) it is the mean at this number. It stays within the score's range (`MetricInfo`).
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
LEVEL = 0.05  # how often any two of equal models may be told apart in one comparison
LARGE = 1e6  # degrees of freedom of what is known


def with_interval(score: Score, info: MetricInfo | None = None) -> Score:
    """A score of one or more samplings of a model with its interval, or without where nothing says how it varies.

    Args:
        score: With its values.
        info: What is known of it, for its range; None for any number.
    """
    values, shared = _numbers(score), score.reference_error or 0.0
    if score.value is None or len(values) != max(1, len(score.values)):
        return score
    if score.growth and None not in score.growth:
        return _stated(score, score_interval(score.value, Growth(*score.growth), len(values), NORMAL), "examples", info)
    if score.error is not None and score.reference_error is not None:
        own = max(0.0, score.error**2 - shared**2) / len(values)
        return _around(score, math.sqrt(shared**2 + own), NORMAL, "examples", info)
    if score.error is not None and len(values) == 1:
        return _around(score, score.error, NORMAL, "examples", info)
    return _between(score, values, shared, "samplings", info)


def over_trainings(score: Score, info: MetricInfo | None = None) -> Score:
    """A score that is the mean over trainings (``values``) with its interval over new trainings; arguments as `with_interval`."""
    values = _numbers(score)
    if score.value is None or len(values) != len(score.values):
        return replace(score, interval=None, interval_of=None)
    return _between(score, values, score.reference_error or 0.0, "trainings", info)


def _numbers(score: Score) -> list[float]:
    values = score.values or (score.value,)
    return [value for value in values if value is not None]


def _between(score: Score, values: Sequence[float], shared: float, of: str, info: MetricInfo | None) -> Score:
    """Student's interval of a mean of independent values, beside an error that they share.

    References:
        Welch, The generalization of "Student's" problem when several different population variances are involved, 1947.
    """
    from scipy.special import stdtrit

    count = len(values)
    mean = math.fsum(values) / count
    own = math.fsum((value - mean) ** 2 for value in values) / max(1, count - 1) / count
    if count < 2 or math.isclose(min(values), max(values), abs_tol=1e-12):  # equal values do not say how they vary
        return replace(score, interval=None, interval_of=None)
    freedom = (count - 1) * ((own + shared**2) / own) ** 2
    return _around(score, math.sqrt(own + shared**2), float(stdtrit(freedom, 0.975)), of, info)


def _around(score: Score, error: float, quantile: float, of: str, info: MetricInfo | None) -> Score:
    assert score.value is not None
    least, most = (None, None) if info is None else (info.least, info.most)
    if (least, most) == (0.0, 1.0):
        interval = of_share(score.value, error, quantile)
    elif least == 0.0:
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
    """Wilson's interval of a share, which ends at 0 and 1.

    It is that of as many independent examples as have this standard error, so that for a share of independent examples it is
    Wilson's own, and for others it widens with their error.

    Args:
        value: From 0 to 1.
        error: Its standard error, as `share_error` gives it for independent examples.
        quantile: How many standard errors.

    References:
        Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    low, high = 0.0, 4 / max(error, 1e-9) ** 2
    for _ in range(100):  # the error falls with the number
        n = (low + high) / 2
        low, high = (n, high) if share_error(value * n, n) > error else (low, n)
    weight = quantile**2
    half = quantile * math.sqrt(n * value * (1 - value) + weight / 4)
    return max(0.0, (n * value + weight / 2 - half) / (n + weight)), min(1.0, (n * value + weight / 2 + half) / (n + weight))


def above(value: float, error: float, quantile: float = NORMAL) -> tuple[float, float]:
    """An interval of a score that is never below 0: symmetric for its square root where that is narrow, and cut at 0.

    Where the error is large against the value, the width of the root's interval is bounded: the upper end is at most twice the
    usual half-width above 0, or the usual end, and rises with the value.

    Args:
        value: From 0.
        error: Its standard error.
        quantile: How many standard errors.
    """
    wide, root = quantile * error, math.sqrt(max(0.0, value))
    half = math.sqrt(wide / 2) if value <= wide / 2 else wide / (2 * root)
    return min(value, max(0.0, root - half) ** 2), max(value + wide, (root + half) ** 2)


def merged_p(values: Sequence[float]) -> float:
    """Twice the mean of p-values, at most 1; a single p-value is returned as it is.

    Under the hypothesis it is at most alpha with probability alpha at most, however the p-values depend on each other, as
    those of samplings that share their reference do. Their mean alone is not: it can be up to twice as likely.

    Args:
        values: P-values, each in [0, 1], at least one of them.

    References:
        Rüschendorf, Random variables with maximum sums, 1982. Vovk and Wang, Combining p-values via averaging, 2020,
        arXiv:1212.4966, table 1 and proposition 3.
    """
    return min(1.0, min(len(values), 2) * math.fsum(values) / len(values))


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample, by n - 1; exactly 0 for equal values, whose mean rounding would set apart."""
    return 0.0 if np.ptp(values) == 0 else float(np.std(values, ddof=1))


def ratio(value: float, floor: Score) -> float | None:
    """A score over its floor; None where the floor is below 0 or within two of its spreads, so that a ratio means nothing."""
    if floor.value is None or floor.value <= 2 * (floor.spread or 0.0):
        return None
    return value / floor.value


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
        sample_terms={name: _over_samplings(score) for name, score in scores.items() if score.sample_terms},
        reference_terms={name: score.reference_terms for name, score in scores.items() if score.reference_terms},
    )


def _over_samplings(score: Score) -> tuple[float, ...]:
    """The mean terms of each group over all samplings."""
    each = np.reshape(score.sample_terms, (max(1, len(score.values)), -1))
    return tuple(each.mean(0).tolist())


def combined(samplings: Sequence[Score], n: int, floor: Score | None, info: MetricInfo | None = None) -> Score:
    """Several samplings of n examples as one score, with its interval in the range of ``info``, and its ratio to the floor."""
    values, terms = [result.number for result in samplings], [result.reference_terms for result in samplings]
    sample_terms = [_around_value(result) for result in samplings]
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
        reference_terms=tuple(np.mean(terms, axis=0).tolist()) if len({*map(len, terms)}) == 1 else (),
        sample_terms=tuple(term for each in sample_terms for term in each) if all(sample_terms) else (),
        extra=_mean_extra(samplings),
    )
    return with_interval(summary, info)


def _around_value(score: Score) -> tuple[float, ...]:
    """The terms of a sampling, moved so that their mean is its value: samplings differ in it by chance, as groups do."""
    centre = math.fsum(score.sample_terms) / max(1, len(score.sample_terms))
    return tuple(score.number + term - centre for term in score.sample_terms)


def _mean_of(samplings: Sequence[Score], name: str) -> float | None:
    values = [value for result in samplings if (value := getattr(result, name)) is not None]
    if not values:
        return None
    return float(np.sqrt(np.mean(np.square(values)))) if name.endswith("error") else float(np.mean(values))


def _mean_extra(samplings: Sequence[Score]) -> dict[str, object]:
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


@dataclass(frozen=True)
class Variation:
    """How much a score varies with the examples of one side, generated or held-out.

    Args:
        variance: The variance of the mean over all samplings.
        freedom: The degrees of freedom of ``variance``.
        terms: What groups of examples add, for a comparison with another score on the same examples.
    """

    variance: float = 0.0
    freedom: float = LARGE
    terms: tuple[float, ...] = ()

    @classmethod
    def of_terms(cls, terms: Sequence[float]) -> Self:
        """Variation of the mean of independent terms, two at least."""
        return cls(float(np.var(terms, ddof=1)) / len(terms), len(terms) - 1, tuple(terms))

    def of_difference(self, other: Variation) -> Variation:
        """Variation of the difference of two scores: of the differences of their terms, else as of independent scores.

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
        """Variation of this multiple of the score."""
        return Variation(self.variance * factor**2, self.freedom, tuple(factor * term for term in self.terms))

    def half_width(self, comparisons: int) -> float:
        """Half of Student's interval of a mean of this variation, at `LEVEL` over the number of comparisons."""
        from scipy.special import stdtrit

        return float(stdtrit(self.freedom, 1 - LEVEL / 2 / comparisons)) * math.sqrt(self.variance)


def over_references(score: Score) -> Variation:
    """Variation of a score over new held-out examples."""
    if len(score.reference_terms) > 1:
        return Variation.of_terms(score.reference_terms)
    return Variation((score.reference_error or 0.0) ** 2)


def over_samples(score: Score, pooled: Variation) -> Variation:
    """Variation of a score of one training run over new samples.

    Args:
        score: The score, from one or more samplings.
        pooled: Of a single sampling, for scores whose error is unknown or leaves out new samples. Of scores that do not know
            what held-out examples add to their error, it stands for both.
    """
    if len(score.sample_terms) > 1:
        return Variation.of_terms(score.sample_terms)
    if score.reference_error is None:
        alone = score.error or (score.spread if len(score.values) < 2 else None)
        return Variation(alone**2) if alone else pooled
    samplings = max(1, len(score.values))
    own = (score.error or 0.0) ** 2 - score.reference_error**2
    if score.error is not None and own > 1e-9 * score.error**2:
        return Variation(own / samplings)
    return Variation(pooled.variance / samplings, pooled.freedom)


def over_training_runs(score: Score) -> Variation:
    """Variation of a score that is the mean over training runs (``values``)."""
    runs = len(score.values)
    own = float(np.var(_numbers(score), ddof=1)) or (score.spread or 0.0) ** 2
    return Variation(own / runs, runs - 1)


def pooled_variation(scores: Sequence[Score], least: float) -> Variation:
    """Variance between samplings, pooled over the models of a comparison.

    Args:
        scores: Scores from one training run each.
        least: The standard deviation where no score has two samplings, or all are equal; 0 where that is unknown too.
    """
    known = [(score.spread, len(score.values) - 1) for score in scores if score.spread and len(score.values) > 1]
    freedom = sum(own for _, own in known)
    if not known:
        return Variation(least**2 or math.inf)
    return Variation(sum(spread**2 * own for spread, own in known) / freedom, freedom)


NONE = Variation()


@dataclass(frozen=True)
class Variations:
    """How much a score varies: over new samples, over held-out examples, and, where there are several, new training runs.

    Args:
        root: The score, where it is the root of a mean; 0 for all others.
    """

    samples: Variation = NONE
    references: Variation = NONE
    runs: Variation = NONE
    root: float = 0.0

    def margin(self, other: Variations, comparisons: int = 1) -> float:
        """By how much this score and another one must differ so that one is clearly ahead.

        It is half of the 95 % interval of their difference: the root of the sum of squares of the half-widths of all parts. Each
        part has a quantile of its own: one quantile for their sum, by Welch's degrees of freedom, told equal models apart in 4 %
        of comparisons where 2.5 % were meant.

        Args:
            other: The variations of the other score.
            comparisons: The number of differences that are judged at once, such as those of all pairs of models.
        """
        own, others = 1.0, 1.0
        if self.root and other.root:
            # a - b = (a^2 - b^2) / (a + b): terms of the roots, over 2 a and 2 b, become those of the squares, over a + b
            own, others = (2 * root / (self.root + other.root) for root in (self.root, other.root))
        differences = (
            self.samples.times(own).of_difference(other.samples.times(others)),
            self.references.times(own).of_difference(other.references.times(others)),
            self.runs.of_difference(other.runs),
        )
        return math.hypot(*(difference.half_width(comparisons) for difference in differences))
