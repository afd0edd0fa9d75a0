"""Precision, recall, density and coverage of clouds; alpha-precision and beta-recall of table rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from pushforward.metrics.score import MetricInfo, Samples, Score, share_info
from pushforward.metrics.subsets import (
    SPLITS,
    by_examples,
    drawn,
    groups_of,
    left_out,
    nearest,
    orders,
)
from pushforward.metrics.uncertainty import by_blocks, share_error

# Rows of the distance matrix that are held at a time, and its entries, at most
ROWS = 1000
ENTRIES = 10_000_000
# The share of a score's variance that comes from real examples, about, as measured in 2 and 16 dimensions
OF_REFERENCE = {"precision": 0.65, "coverage": 0.35}
# Of the errors of recall and density: examples of either side at most, and how often they are divided in halves
SOME = 1000
HALVES = 5


def radii(x: np.ndarray, k: int) -> np.ndarray:
    """Compute the distance from each example of x (n, f) to its k-th nearest other example, (n,)."""
    return nearest(x, x, k)[0]


def prdc(generated: np.ndarray, real: np.ndarray, k: int = 5) -> dict[str, float]:
    """Compute precision, recall, density and coverage.

    Every example has a ball that reaches to the k-th nearest example of its own cloud. Precision is
    the fraction of generated examples within a ball of a real one; recall, the fraction of real
    examples within a ball of a generated one; density, the mean number of real balls around a
    generated example divided by k; coverage, the fraction of real balls with a generated example.
    Perfect models do not reach 1: coverage has the mean 1 - 2^-k, and precision and recall fall
    with the dimension.

    Args:
        generated: Generated examples, (n, f).
        real: Real examples, (n, f); with different numbers of examples, values are not comparable.
        k: Number of neighbours.

    References:
        Kynkäänniemi et al., Improved precision and recall metric, 2019, arXiv:1904.06991.
        Naeem et al., Reliable fidelity and diversity metrics for generative models, 2020, arXiv:2002.09797.
    """
    return _means(*_balls(generated, real, k), k)


def _means(
    within: np.ndarray, recalled: np.ndarray, covered: np.ndarray, k: int
) -> dict[str, float]:
    return {
        "precision": float((within > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(within.mean()) / k,
        "coverage": float(covered.mean()),
    }


def reached(generated: np.ndarray, real: np.ndarray, k: int = 5) -> dict[str, np.ndarray]:
    """Find the real examples that are covered and recalled in the sense of `prdc`.

    Args:
        generated: Generated examples, (n, f).
        real: Real examples, (n, f).
        k: Number of neighbours.

    Returns:
        "coverage" and "recall", bool (n,) each.
    """
    _, recalled, covered = _balls(generated, real, k)
    return {"coverage": covered, "recall": recalled}


def _balls(
    generated: np.ndarray, real: np.ndarray, k: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    from sklearn.metrics import pairwise_distances

    of_real = radii(real, k)
    of_generated = radii(generated, k)
    within = np.zeros(len(generated))
    recalled = np.empty(len(real), bool)
    covered = np.empty(len(real), bool)
    step = max(1, min(ROWS, ENTRIES // len(generated)))
    for start in range(0, len(real), step):
        rows = slice(start, start + step)
        distances = pairwise_distances(real[rows], generated)
        inside = distances < of_real[rows, None]
        within += inside.sum(0)
        recalled[rows] = (distances < of_generated).any(1)
        covered[rows] = distances.min(1) < of_real[rows]
    return within, recalled, covered


def coverage_terms(generated: np.ndarray, real: np.ndarray, k: int) -> np.ndarray:
    """Measure the contributions of groups of generated examples to coverage by a leave-one-group-out jackknife.

    Args:
        generated: Generated examples, (n, f).
        real: Real examples, (m, f).
        k: Number of neighbours.

    Returns:
        One value per group of `groups_of`.

    References:
        Shao and Wu, A general theory for jackknife variance estimation, 1989.
    """
    groups = groups_of(len(generated))
    count = groups.max() + 1
    distances = np.stack([nearest(real, generated[groups == group])[0] for group in range(count)])
    covering = distances < radii(real, k)
    without = (covering.sum(0) > covering).mean(1)
    return np.asarray(count * covering.any(0).mean() - (count - 1) * without)


def recall_terms(generated: np.ndarray, real: np.ndarray, k: int) -> np.ndarray:
    """Measure the contributions of groups of generated examples to recall, like `coverage_terms`, with at most `SOME` of them."""
    some = np.random.Generator(np.random.Philox(0)).permutation(len(generated))[:SOME]
    groups = groups_of(len(generated))[some]
    count = groups.max() + 1
    recalled = _recaller(generated[some], real, k)
    without = np.array([recalled(np.flatnonzero(groups != group)).mean() for group in range(count)])
    return np.asarray(count * recalled(np.arange(len(some))).mean() - (count - 1) * without)


def scaled(terms: np.ndarray, variance: float) -> tuple[float, ...]:
    """Rescale terms so that their mean has a known variance.

    The jackknife variance is up to five times as large: if several groups reach nearly all real
    examples, the contribution of a group depends on the others, and the jackknife counts such
    interactions more than once (Efron and Stein, 1981).
    """
    own = float(terms.var(ddof=1)) / len(terms)
    factor = (variance / own) ** 0.5 if own > 0 else 1.0
    return tuple((terms.mean() + factor * (terms - terms.mean())).tolist())


class Manifold:
    """Precision, recall, density and coverage between the features of generated and held-out examples.

    Args:
        k: Number of neighbours that determines the size of an example's ball.
    """

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "precision": share_info(
            "Precision",
            "higher",
            "Fraction of samples that lie among real examples. Compare it with the real-data score, not with 1.",
            group="Quality and diversity",
        ),
        "recall": share_info(
            "Recall",
            "higher",
            "Fraction of real examples that lie among samples. Noisy samples increase it, so prefer coverage.",
            group="Quality and diversity",
            role="diversity",
            priority=2,
        ),
        "density": MetricInfo(
            "Density",
            "target",
            "Density of real examples around samples. Below the real-data score, samples lie off the data; above it, "
            "samples are restricted to typical examples.",
            group="Quality and diversity",
            least=0.0,
        ),
        "coverage": share_info(
            "Coverage",
            "higher",
            "Fraction of real examples with a sample nearby, which measures both diversity and quality.",
            group="Quality and diversity",
            role="diversity",
        ),
    }

    def __init__(self, k: int = 5) -> None:
        self.k = k

    def applies(self, samples: Samples) -> bool:
        return samples.table is None and samples.equal and samples.fewest > self.k

    def __call__(self, samples: Samples) -> dict[str, Score]:
        x = samples.generated_features
        y = samples.reference_features
        within, recalled, covered = _balls(x, y, self.k)
        values = _means(within, recalled, covered, self.k)
        terms_of = {"recall": (recall_terms, recalled), "coverage": (coverage_terms, covered)}
        generated = x
        real = y
        x = drawn(x, len(x), 0)
        y = drawn(y, len(y), 1)
        if samples.errors:
            spreads = by_blocks(
                lambda a, b: np.array([*prdc(a, b, self.k).values()]), x, y, 5 * self.k
            )
        else:
            spreads = None
        if spreads is None:
            return {name: Score(value) for name, value in values.items()}
        scores = {}
        for (name, value), spread in zip(values.items(), spreads, strict=True):
            if name == "density":
                error, of_real = density_errors(x, y, within, self.k)
            elif name == "recall":
                error, of_real = recall_errors(x, y, value, self.k)
            else:  # blocks may agree by chance where nearly all examples are reached
                error = max(float(spread), share_error(value * len(x), len(x)))
                of_real = error * np.sqrt(OF_REFERENCE[name])
            scores[name] = Score(value, error=error, reference_error=of_real)
            if name in terms_of:
                measure, of_each = terms_of[name]
                sample_terms = scaled(measure(generated, real, self.k), error**2 - of_real**2)
                reference_terms = by_examples(of_each.astype(float))
                scores[name] = replace(
                    scores[name], reference_terms=reference_terms, sample_terms=sample_terms
                )
        return scores


def density_errors(
    generated: np.ndarray, real: np.ndarray, within: np.ndarray, k: int
) -> tuple[float, float]:
    """Compute the standard error of the density over new examples on both sides, and over new real examples only.

    Given the real examples, the density is a mean over independent generated examples. Its
    variation over new real examples is measured between independent halves. From halves to all
    examples, the variance falls as from quarters to halves: by a half, or less if samples are
    concentrated in few places.

    Args:
        generated: Generated examples in random order, (n, f). For n > `SOME`, the variance is
            assumed to be proportional to 1/n.
        real: Real examples in random order, (m, f). For m > `SOME`, the variance is assumed to be
            proportional to 1/m.
        within: Number of real balls around each of the n generated examples.
        k: Number of neighbours.

    References:
        Shao and Wu, A general theory for jackknife variance estimation, 1989.
    """
    from sklearn.metrics import pairwise_distances

    x = generated[:SOME]
    y = real[:SOME]
    own = pairwise_distances(y)
    across = pairwise_distances(y, x)

    def density(part: np.ndarray) -> float:
        reach = np.partition(own[np.ix_(part, part)], k, axis=1)[:, k]
        return float((across[part] < reach[:, None]).sum()) / (k * len(x))

    def variance(parts: int) -> float:
        divided = (np.array_split(order, parts) for order in orders(len(y), SPLITS))
        return float(
            np.mean(
                [np.var([density(part) for part in own_parts], ddof=1) for own_parts in divided]
            )
        )

    halves = variance(2)
    quarters = variance(4)
    falls = float(np.clip(halves / quarters, 0.5, 1)) if quarters > 0 else 0.5
    of_real = (halves * falls * len(y) / len(real)) ** 0.5
    return float(np.hypot(np.std(within / k, ddof=1) / np.sqrt(len(within)), of_real)), of_real


def recall_errors(
    generated: np.ndarray, real: np.ndarray, value: float, k: int
) -> tuple[float, float]:
    """Compute the standard error of recall over new examples on both sides, and over new real examples only.

    Over new generated examples, it comes from a jackknife that leaves out a fifth at a time,
    because recall is not a smooth function of the examples: a few outliers have large balls. Given
    the generated examples, recall is a mean over independent real examples. Its variance over new
    real examples is the variance of a fraction, times the correlation between the examples recalled
    by two halves of the samples: near 1 if recall depends only on the real example, near 0 if
    samples cover the data.

    Args:
        generated: Generated examples in random order, (n, f). For n > `SOME`, the variance is
            assumed to be proportional to 1/n.
        real: Real examples in random order, (m, f). For m > `SOME`, the variance is assumed to be
            proportional to 1/m.
        value: Recall.
        k: Number of neighbours.

    References:
        Shao and Wu, A general theory for jackknife variance estimation, 1989.
    """
    x = generated[:SOME]
    y = real[:SOME]
    m = len(real)
    recalled = _recaller(x, y, k)
    variance = left_out(lambda part: float(recalled(part).mean()), len(x))
    half = len(x) // 2
    halves = [
        (recalled(order[:half]), recalled(order[half : 2 * half]))
        for order in orders(len(x), HALVES)
    ]
    together = np.sum([np.cov(first, other)[0, 1] for first, other in halves])
    shares = np.sum([(first.var(ddof=1) + other.var(ddof=1)) / 2 for first, other in halves])
    of_share = share_error(value * m, m)
    of_real = of_share * float(np.clip(together / max(shares, 1e-12), 0, 1)) ** 0.5
    return max(
        float(np.hypot(of_real, (variance * len(x) / len(generated)) ** 0.5)), of_share
    ), of_real


def _recaller(x: np.ndarray, y: np.ndarray, k: int) -> Callable[[np.ndarray], np.ndarray]:
    """From the indices of some of the generated examples x to which of the real examples y they recall, as floats."""
    from sklearn.metrics import pairwise_distances

    own = pairwise_distances(x)
    across = pairwise_distances(y, x)

    def recalled(part: np.ndarray) -> np.ndarray:
        reach = np.partition(own[np.ix_(part, part)], k, axis=1)[:, k]
        return np.asarray((across[:, part] < reach).any(1), np.float64)

    return recalled
