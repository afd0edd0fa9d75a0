"""By how much two scores must differ to differ measurably: the one rule of all comparisons of models.

The difference of two scores has an interval of its own. Samplings from the same seeds share their noise and their classes, and
all models share the held-out examples, so that the difference varies less than either score: it is taken sampling by sampling
(Student's interval), and what the held-out examples add to it is taken example by example. Where either is unknown, as in results
of earlier versions, the two scores count as independent. Levels are divided by the number of comparisons (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import variance

from pushforward.metrics import Score

__all__ = ["Uncertain", "half_width", "uncertain"]

LEVEL = 0.05
"""How often any two of equal models may be told apart in one comparison."""
LARGE = 1e6
"""Degrees of freedom of a variance that is known."""


@dataclass(frozen=True)
class Uncertain:
    """How the mean of a score over samplings may vary.

    Args:
        variance: Over new samplings, of the mean.
        freedom: Degrees of freedom of this variance.
        shared: The standard error that comes from the held-out examples.
        values: One for each sampling; empty where they are unknown.
        seeds: Of the samplings; scores of other seeds, or of none, are no pairs.
        terms: What groups of held-out examples add; empty where it is unknown.
    """

    variance: float
    freedom: float = LARGE
    shared: float = 0.0
    values: tuple[float, ...] = ()
    seeds: tuple[int, ...] = ()
    terms: tuple[float, ...] = ()


def uncertain(score: Score, least: float, seeds: Sequence[int] = (), turn: float = 1.0) -> Uncertain:
    """How a score may vary.

    Args:
        score: Over samplings or trainings.
        least: The spread of real data's score: a spread that is unknown is this one, and of a single value no less.
        seeds: Of its samplings.
        turn: -1 where less would be better, of a score that is compared with one of which more is.
    """
    values = tuple(turn * value for value in score.values if value is not None)
    count, shared = max(1, len(values)), score.reference_error
    own = math.sqrt(max(0.0, (score.error or 0.0) ** 2 - (shared or 0.0) ** 2))
    spread = score.spread or own or least
    return Uncertain(
        (spread if count > 1 else max(spread, least)) ** 2 / count,
        count - 1 or LARGE,
        shared if shared is not None else least if count > 1 else 0.0,
        values,
        tuple(seeds) if len(seeds) == len(values) else (),
        tuple(turn * term for term in score.reference_terms),
    )


def half_width(first: Uncertain, other: Uncertain, comparisons: int = 1) -> float:
    """Half of the interval of the difference of two scores.

    Args:
        first: One of them.
        other: The other one; the order does not matter, and both are better where they are less, or both where they are greater.
        comparisons: How many are made at once: with the least and the greatest of k scores all pairs of them.
    """
    from scipy.special import stdtrit

    own, freedom = _over_samplings(first, other)
    terms = [a - b for a, b in zip(first.terms, other.terms, strict=False)]
    known = len(terms) > 1 and len(first.terms) == len(other.terms)
    shared = variance(terms) / len(terms) if known else first.shared**2 + other.shared**2
    total = own + shared
    if total <= 0:
        return 0.0
    freedom = total**2 / (own**2 / freedom + shared**2 / (len(terms) - 1 if known else LARGE))  # Welch and Satterthwaite
    return float(stdtrit(min(freedom, LARGE), 1 - LEVEL / 2 / comparisons)) * math.sqrt(total)


def _over_samplings(first: Uncertain, other: Uncertain) -> tuple[float, float]:
    """The variance of the difference over new samplings, and its degrees of freedom."""
    if first.seeds and first.seeds == other.seeds and len(first.seeds) > 1:
        own = variance([a - b for a, b in zip(first.values, other.values, strict=True)]) / len(first.seeds)
        if own > 0:  # equal differences do not say how they vary
            return own, len(first.seeds) - 1
    own = first.variance + other.variance
    parts = first.variance**2 / first.freedom + other.variance**2 / other.freedom
    return own, own**2 / parts if parts > 0 else LARGE
