"""By how much two scores must differ to differ measurably: the one rule of all comparisons of models.

The difference of two scores has an interval of its own. Samplings from the same seeds share their noise and their classes, and
all models share the held-out examples, so that a difference varies less than either score: it is taken sampling by sampling
(Student's interval), and what the held-out examples add to it is taken group by group. Where either is unknown, as in results
of earlier versions, the scores count as independent in it. The level is divided by the number of comparisons (Bonferroni).
"""

from __future__ import annotations

import math
from statistics import variance

from pushforward.metrics import Score

LEVEL = 0.05  # how often any two of equal models may be told apart in one comparison
LARGE = 1e6  # degrees of freedom of what is known


def half_width(first: Score, other: Score, widths: tuple[float, float], paired: bool = False, comparisons: int = 1) -> float:
    """Half of the interval of the difference of two scores: the root of the sum of squares of the half-widths of its parts.

    Samplings and held-out examples have a quantile of their own each: one for their sum, by Welch's degrees of freedom, which are
    estimated from the same few samplings, told equal models apart in 4 % of comparisons where 2.5 % were meant.

    Args:
        first: One of them, over samplings or trainings.
        other: The other one; the order does not matter.
        widths: Of each, the spread that stands in where nothing else says how it varies.
        paired: Whether their samplings have the same seeds.
        comparisons: How many are made at once: with the least and the greatest of k scores all pairs of them.
    """
    from scipy.special import stdtrit

    gaps = [a - b for a, b in zip(first.values, other.values, strict=False) if paired and a is not None and b is not None]
    pairs = zip(first.reference_terms, other.reference_terms, strict=False)
    terms = [a - b for a, b in pairs if a is not None and b is not None]
    each = [_over_samplings(score, width) for score, width in zip((first, other), widths, strict=True)]
    own = sum(part for part, _ in each)
    freedom = own**2 / max(sum(part**2 / freedom for part, freedom in each), 1e-300)  # Welch
    if len(gaps) > 1 and len(first.values) == len(other.values):
        own, freedom = variance(gaps) / len(gaps), len(gaps) - 1
        own, freedom = (own, freedom) if own > 0 else (max(widths) ** 2, LARGE)  # equal gaps do not say how they vary
    shared, groups = sum((score.reference_error or 0.0) ** 2 for score in (first, other)), LARGE
    if len(terms) > 1 and len(first.reference_terms) == len(other.reference_terms):
        shared, groups = variance(terms) / len(terms), len(terms) - 1
    quantiles = stdtrit([max(1.0, freedom), groups], 1 - LEVEL / 2 / comparisons)
    return math.hypot(quantiles[0] * math.sqrt(own), quantiles[1] * math.sqrt(shared))


def _over_samplings(score: Score, width: float) -> tuple[float, float]:
    """The variance of the mean over samplings, and its degrees of freedom, many where it is not known from several samplings."""
    count, single = len(score.values), (score.error or 0.0) ** 2 - (score.reference_error or 0.0) ** 2
    return (score.spread**2 / count, count - 1) if count > 1 and score.spread else (max(single, width**2), LARGE)
