"""95 % intervals of scores over new samples and examples, and differences between scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Self

import numpy as np

from pushforward.metrics import MetricInfo, Score
from pushforward.metrics.growth import VarianceModel, mean_growth, score_interval
from pushforward.metrics.score import Infos, Scores
from pushforward.metrics.uncertainty import share_error

NORMAL = 1.96
LEVEL = 0.05  # Probability of a significant difference between any two of equal models
LARGE = 1e6  # Degrees of freedom of a known variance
Interval = tuple[float, float]
ANY = MetricInfo()  # Of a score without bounds


def with_interval(score: Score, info: MetricInfo = ANY) -> Score:
    """Add the 95 % interval to a score of one or more samplings, if its variation is known.

    It covers the mean over new samples and, if ``reference_error`` is known, held-out examples.
    """
    values = _numbers(score)
    samplings = len(values)
    if score.value is None or samplings != max(1, len(score.values)):
        return score
    if score.growth and None not in score.growth:
        growth = VarianceModel(*score.growth)
        ends = score_interval(score.value, growth, samplings, NORMAL)
        return _limited(score, ends, "examples", info)
    shared = score.reference_error or 0.0
    if score.error is None or (score.reference_error is None and samplings > 1):
        return _students(score, values, shared, "samplings", info)
    error = score.error
    if score.reference_error is not None:
        own = max(0.0, error**2 - shared**2) / samplings
        error = math.sqrt(shared**2 + own)
    return _around(score, error, NORMAL, "examples", info)


def over_trainings(score: Score, info: MetricInfo = ANY) -> Score:
    """Add the 95 % interval over new training runs to a mean over runs."""
    values = _numbers(score)
    if score.value is None or len(values) != len(score.values):
        return replace(score, interval=None, interval_of=None)
    shared = score.reference_error or 0.0
    return _students(score, values, shared, "training runs", info)


def _numbers(score: Score) -> list[float]:
    values = score.values or (score.value,)
    return [value for value in values if value is not None]


def _students(
    score: Score, values: Sequence[float], shared: float, of: str, info: MetricInfo
) -> Score:
    """Student's interval of a mean of independent values with a shared error.

    References:
        Welch, The generalization of "Student's" problem when several different population variances
        are involved, 1947.
    """
    from scipy.special import stdtrit

    count = len(values)
    equal = math.isclose(min(values), max(values), abs_tol=1e-12)
    if count < 2 or equal:
        return replace(score, interval=None, interval_of=None)
    mean = math.fsum(values) / count
    own = math.fsum((value - mean) ** 2 for value in values) / (count - 1) / count
    variance = own + shared**2
    freedom = (count - 1) * (variance / own) ** 2
    return _around(score, math.sqrt(variance), float(stdtrit(freedom, 0.975)), of, info)


def _around(score: Score, error: float, quantile: float, of: str, info: MetricInfo) -> Score:
    value = score.number
    if (info.least, info.most) == (0.0, 1.0):
        low, high = of_share(value, error, quantile)
    elif info.least == 0.0:
        low, high = above(value, error, quantile)
    else:
        low = value - quantile * error
        high = value + quantile * error
    if "of" in score.extra:  # the largest possible count
        high = min(high, float(score.extra["of"]))
    return _limited(score, (low, high), of, info)


def _limited(score: Score, ends: Interval, of: str, info: MetricInfo) -> Score:
    least = -math.inf
    if info.least is not None:
        least = info.least
    most = math.inf
    if info.most is not None:
        most = info.most
    low, high = np.clip(ends, least, most).tolist()
    return replace(score, interval=(low, high), interval_of=of)


def of_share(value: float, error: float, quantile: float = NORMAL) -> Interval:
    """Compute Wilson's interval of a fraction for as many examples as give this standard error.

    References:
        Wilson, Probable inference, the law of succession, and statistical inference, 1927.
    """
    low = 0.0
    high = 4 / max(error, 1e-9) ** 2
    for _ in range(100):  # the error falls with n
        n = (low + high) / 2
        if share_error(value * n, n) > error:
            low = n
        else:
            high = n
    weight = quantile**2
    centre = n * value + weight / 2
    half = quantile * math.sqrt(n * value * (1 - value) + weight / 4)
    return max(0.0, (centre - half) / (n + weight)), min(1.0, (centre + half) / (n + weight))


def above(value: float, error: float, quantile: float = NORMAL) -> Interval:
    """Compute an interval of a score that is never below 0, of bounded width.

    It is symmetric for the square root of the score.
    """
    wide = quantile * error
    root = math.sqrt(max(0.0, value))
    if value <= wide / 2:
        half = math.sqrt(wide / 2)
    else:
        half = wide / (2 * root)
    low = max(0.0, root - half) ** 2
    high = (root + half) ** 2
    return min(value, low), max(value + wide, high)


def deviation(values: Sequence[float]) -> float:
    """Compute the sample standard deviation; exactly 0 for equal values, despite rounding."""
    if np.ptp(values) == 0:
        return 0.0
    return float(np.std(values, ddof=1))


def ratio(value: float, real_data_score: Score) -> float | None:
    """Divide a score by the real-data score, unless that is close to 0."""
    if real_data_score.value is None or real_data_score.value <= 2 * (
        real_data_score.spread or 0.0
    ):
        return None
    return value / real_data_score.value


def together(samplings: Sequence[Scores], n: int, real_data_scores: Scores, infos: Infos) -> Scores:
    """Combine the scores by name of several samplings (`combined`)."""
    rows: dict[str, list[Score]] = {}
    for sampling in samplings:
        for name, score in sampling.items():
            rows.setdefault(name, []).append(score)
    scores = {}
    for name, row in rows.items():
        scores[name] = combined(row, n, real_data_scores.get(name), infos.get(name, ANY))
    return scores


def combined(
    samplings: Sequence[Score],
    n: int,
    real_data_score: Score | None,
    info: MetricInfo = ANY,
) -> Score:
    """Combine the scores of several samplings, with interval and ratio."""
    values = [result.number for result in samplings]
    mean = float(np.mean(values))
    spread = None
    if len(values) > 1:
        spread = deviation(values)
    relative = None
    if real_data_score is not None:
        relative = ratio(mean, real_data_score)
    growth: tuple[float, ...] = ()
    if all(result.growth for result in samplings):
        growth = mean_growth([VarianceModel(*result.growth) for result in samplings])
    reference_terms: tuple[float, ...] = ()
    terms = [result.reference_terms for result in samplings]
    if len(set(map(len, terms))) == 1:
        reference_terms = tuple(np.mean(terms, axis=0).tolist())
    sample_terms: tuple[float, ...] = ()
    if all(result.sample_terms for result in samplings):
        sample_terms = tuple(chain.from_iterable(map(_around_value, samplings)))
    summary = Score(
        value=mean,
        spread=spread,
        error=mean_of(samplings, "error"),
        values=tuple(values),
        n=n,
        ratio=relative,
        reference_error=mean_of(samplings, "reference_error"),
        bias=mean_of(samplings, "bias"),
        growth=growth,
        reference_terms=reference_terms,
        sample_terms=sample_terms,
        extra=mean_extra(samplings),
    )
    return with_interval(summary, info)


def _around_value(score: Score) -> list[float]:
    centre = math.fsum(score.sample_terms) / len(score.sample_terms)
    return [score.number + term - centre for term in score.sample_terms]


def mean_of(samplings: Sequence[Score], name: str) -> float | None:
    """Average a field over the scores that have it."""
    known = [getattr(result, name) for result in samplings]
    values = [value for value in known if value is not None]
    if not values:
        return None
    if name.endswith("error"):
        return float(np.sqrt(np.mean(np.square(values))))
    return float(np.mean(values))


def mean_extra(samplings: Sequence[Score]) -> dict[str, object]:
    """Average the ``extra`` of scores; entries that differ otherwise are omitted."""
    extra = {}
    for name, first in samplings[0].extra.items():
        values = [result.extra.get(name) for result in samplings]
        if any(value is None for value in values):
            continue
        if all(value == first for value in values):
            extra[name] = first
        elif _numeric(values):
            extra[name] = np.mean(np.asarray(values, dtype=float), axis=0)
    return extra


def _numeric(values: Sequence[Any]) -> bool:
    first = values[0]
    if isinstance(first, tuple):
        return all(np.shape(value) == np.shape(first) for value in values)
    return isinstance(first, float)


@dataclass(frozen=True)
class Variation:
    """Variation of a score with the examples of one side, generated or held-out.

    ``terms`` are contributions of groups of examples, for comparisons on the same examples.
    """

    variance: float = 0.0
    freedom: float = LARGE
    terms: tuple[float, ...] = ()

    @classmethod
    def of_terms(cls, terms: Sequence[float]) -> Self:
        """Compute the variation of the mean of independent terms."""
        return cls(float(np.var(terms, ddof=1)) / len(terms), len(terms) - 1, tuple(terms))

    def of_difference(self, other: Variation) -> Variation:
        """Compute the variation of the difference of two scores, from their terms if possible.

        References:
            Welch, The generalization of "Student's" problem when several different population
            variances are involved, 1947.
        """
        if len(self.terms) == len(other.terms) > 1:
            return Variation.of_terms(np.subtract(self.terms, other.terms).tolist())
        total = self.variance + other.variance
        if total in (0.0, math.inf):
            return Variation(total)
        freedom = total**2 / (self.variance**2 / self.freedom + other.variance**2 / other.freedom)
        return Variation(total, freedom)

    def times(self, factor: float) -> Variation:
        """Compute the variation of a multiple of the score."""
        terms = tuple(factor * term for term in self.terms)
        return Variation(self.variance * factor**2, self.freedom, terms)

    def half_width(self, comparisons: int) -> float:
        """Compute half of Student's interval at `LEVEL` divided by the number of comparisons."""
        from scipy.special import stdtrit

        quantile = float(stdtrit(self.freedom, 1 - LEVEL / 2 / comparisons))
        return quantile * math.sqrt(self.variance)


def over_references(score: Score) -> Variation:
    """Compute the variation of a score over new held-out examples."""
    if len(score.reference_terms) > 1:
        return Variation.of_terms(score.reference_terms)
    return Variation((score.reference_error or 0.0) ** 2)


def over_samples(score: Score, pooled: Variation) -> Variation:
    """Compute the variation of a score of one training run over new samples.

    ``pooled`` is for scores with unknown errors.
    """
    if len(score.sample_terms) > 1:
        return Variation.of_terms(score.sample_terms)
    samplings = max(1, len(score.values))
    error = score.error or 0.0
    if score.reference_error is not None:
        own = error**2 - score.reference_error**2
        if own > 1e-9 * error**2:
            return Variation(own / samplings)
        return Variation(pooled.variance / samplings, pooled.freedom)
    if not error and samplings == 1:
        error = score.spread or 0.0
    if error:
        return Variation(error**2)
    return pooled


def over_training_runs(score: Score) -> Variation:
    """Compute the variation of a mean over training runs (``values``)."""
    runs = len(score.values)
    own = float(np.var(_numbers(score), ddof=1)) or (score.spread or 0.0) ** 2
    return Variation(own / runs, runs - 1)


def pooled_variation(scores: Sequence[Score], least: float) -> Variation:
    """Pool the variance between samplings over scores; ``least`` if they agree by chance."""
    squares = []
    freedom = 0
    for score in scores:
        if score.spread and len(score.values) > 1:
            own = len(score.values) - 1
            squares.append(score.spread**2 * own)
            freedom += own
    if freedom:
        return Variation(sum(squares) / freedom, freedom)
    if least and any(score.spread is not None or score.error is not None for score in scores):
        return Variation(least**2)
    return Variation(math.inf)


NONE = Variation()


@dataclass(frozen=True)
class Variations:
    """Variation over new samples, held-out examples and training runs; ``root``: a root's value."""

    samples: Variation = NONE
    references: Variation = NONE
    runs: Variation = NONE
    root: float = 0.0

    def margin(self, other: Variations, comparisons: int = 1) -> float:
        """Compute the smallest significant difference (95 %) from another score.

        It is the root of the sum of squares of the half-widths of all sources, because one quantile
        with Welch's degrees of freedom finds too many differences.
        """
        own = 1.0
        others = 1.0
        if self.root and other.root:
            # a - b = (a^2 - b^2) / (a + b): the terms become those of squares
            both = self.root + other.root
            own = 2 * self.root / both
            others = 2 * other.root / both
        samples = self.samples.times(own).of_difference(other.samples.times(others))
        references = self.references.times(own).of_difference(other.references.times(others))
        differences = (
            samples,
            references,
            self.runs.of_difference(other.runs),
        )
        return math.hypot(*(difference.half_width(comparisons) for difference in differences))
