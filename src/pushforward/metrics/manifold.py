"""Precision, recall, density and coverage of clouds; alpha-precision and beta-recall of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar

import numpy as np

from pushforward.metrics.score import Infos, MetricInfo, Samples, Score, Scores, share_info
from pushforward.metrics.subsets import (
    SPLITS,
    Array,
    blocks,
    by_examples,
    drawn,
    fixed_random,
    groups_of,
    left_out,
    nearest,
    orders,
)
from pushforward.metrics.uncertainty import Errors, by_blocks, share_error

# Maximum number of rows, and of entries, of a part of the distance matrix
ROWS = 1000
ENTRIES = 10_000_000
# Fraction of the variance of a score that comes from real examples, measured in 2 and 16 dimensions
OF_REFERENCE = {"precision": 0.65, "coverage": 0.35}
# Examples per side, and divisions in halves, for the errors of recall and density
SOME = 1000
HALVES = 5


def prdc(generated: Array, real: Array, k: int = 5) -> dict[str, float]:
    """Compute precision, recall, density and coverage of clouds (n, f).

    Every example has a ball that reaches to the k-th nearest example of its own cloud. Precision is
    the fraction of generated examples within a ball of a real one; recall, the reverse; density,
    the mean number of real balls around a generated example divided by k; coverage, the fraction of
    real balls with a generated example, which has the mean 1 - 2^-k for perfect models.

    References:
        Kynkäänniemi et al., Improved precision and recall metric, 2019, arXiv:1904.06991.
        Naeem et al., Reliable fidelity and diversity metrics for generative models, 2020,
        arXiv:2002.09797.
    """
    return _means(*_balls(generated, real, k), k)


def _means(within: Array, recalled: Array, covered: Array, k: int) -> dict[str, float]:
    return {
        "precision": float((within > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(within.mean()) / k,
        "coverage": float(covered.mean()),
    }


def reached(generated: Array, real: Array, k: int = 5) -> dict[str, Array]:
    """Find the real examples with "coverage" and "recall" in the sense of `prdc`, bool (n,)."""
    _, recalled, covered = _balls(generated, real, k)
    return {"coverage": covered, "recall": recalled}


def _balls(generated: Array, real: Array, k: int) -> tuple[Array, Array, Array]:
    from sklearn.metrics import pairwise_distances

    real_radii, _ = nearest(real, real, k)
    generated_radii, _ = nearest(generated, generated, k)
    within = np.zeros(len(generated))
    recalled = np.empty(len(real), bool)
    covered = np.empty(len(real), bool)
    step = max(1, min(ROWS, ENTRIES // len(generated)))
    for rows in blocks(len(real), step):
        distances = pairwise_distances(real[rows], generated)
        in_real_ball = distances < real_radii[rows, None]
        within += in_real_ball.sum(0)
        recalled[rows] = (distances < generated_radii).any(1)
        covered[rows] = in_real_ball.any(1)
    return within, recalled, covered


def coverage_terms(generated: Array, real: Array, k: int) -> Array:
    """Measure contributions of groups of generated examples to coverage by a jackknife.

    References:
        Shao and Wu, A general theory for jackknife variance estimation, 1989.
    """
    groups = groups_of(len(generated))
    radii, _ = nearest(real, real, k)
    distances = []
    for group in range(groups.max() + 1):
        to_group, _ = nearest(real, generated[groups == group])
        distances.append(to_group)
    covering = np.stack(distances) < radii
    without = (covering.sum(0) > covering).mean(1)
    return _pseudo_values(covering.any(0).mean(), without)


def recall_terms(generated: Array, real: Array, k: int) -> Array:
    """Measure contributions to recall, like `coverage_terms`."""
    some = fixed_random().permutation(len(generated))[:SOME]
    groups = groups_of(len(generated))[some]
    recalled = _recaller(generated[some], real, k)
    without = []
    for group in range(groups.max() + 1):
        others = np.flatnonzero(groups != group)
        without.append(recalled(others).mean())
    every = np.arange(len(some))
    return _pseudo_values(recalled(every).mean(), np.array(without))


def _pseudo_values(value: float, without: Array) -> Array:
    count = len(without)
    return count * value - (count - 1) * without


def scaled(terms: Array, variance: float) -> tuple[float, ...]:
    """Rescale jackknife terms so that their mean has a known variance.

    The jackknife counts interactions between groups more than once (Efron and Stein, 1981).
    """
    own = float(terms.var(ddof=1)) / len(terms)
    factor = 1.0
    if own > 0:
        factor = (variance / own) ** 0.5
    mean = terms.mean()
    return tuple((mean + factor * (terms - mean)).tolist())


class Manifold:
    """Precision, recall, density and coverage of features, with k neighbours."""

    scores: ClassVar[Infos] = {
        "precision": share_info(
            "Precision",
            "higher",
            "Fraction of samples that lie among real examples. Compare it with the real-data "
            "score, not with 1.",
            group="Quality and diversity",
        ),
        "recall": share_info(
            "Recall",
            "higher",
            "Fraction of real examples that lie among samples. Noisy samples increase it, so "
            "prefer coverage.",
            group="Quality and diversity",
            role="diversity",
            priority=2,
        ),
        "density": MetricInfo(
            "Density",
            "target",
            "Density of real examples around samples. Below the real-data score, samples lie off "
            "the data; above it, samples are restricted to typical examples.",
            group="Quality and diversity",
            least=0.0,
        ),
        "coverage": share_info(
            "Coverage",
            "higher",
            "Fraction of real examples with a sample nearby, which measures both diversity and "
            "quality.",
            group="Quality and diversity",
            role="diversity",
        ),
    }

    def __init__(self, k: int = 5) -> None:
        self.k = k

    def applies(self, samples: Samples) -> bool:
        return samples.table is None and samples.equal and samples.fewest > self.k

    def __call__(self, samples: Samples) -> Scores:
        generated = samples.generated_features
        real = samples.reference_features
        k = self.k
        within, recalled, covered = _balls(generated, real, k)
        values = _means(within, recalled, covered, k)
        x = drawn(generated, len(generated), 0)
        y = drawn(real, len(real), 1)
        spreads = None
        if samples.errors:
            spreads = by_blocks(lambda a, b: np.array([*prdc(a, b, k).values()]), x, y, 5 * k)
        if spreads is None:
            return {name: Score(value) for name, value in values.items()}
        errors = {
            "precision": _of_blocks("precision", values, spreads[0], len(x)),
            "recall": recall_errors(x, y, values["recall"], k),
            "density": density_errors(x, y, within, k),
            "coverage": _of_blocks("coverage", values, spreads[3], len(x)),
        }
        scores = {}
        for name, (error, of_real) in errors.items():
            scores[name] = Score(values[name], error=error, reference_error=of_real)
        terms = {
            "recall": (recall_terms(generated, real, k), recalled),
            "coverage": (coverage_terms(generated, real, k), covered),
        }
        for name, (of_generated, of_real_examples) in terms.items():
            error, of_real = errors[name]
            scores[name] = replace(
                scores[name],
                reference_terms=by_examples(of_real_examples.astype(float)),
                sample_terms=scaled(of_generated, error**2 - of_real**2),
            )
        return scores


def _of_blocks(name: str, values: Mapping[str, float], spread: float, n: int) -> Errors:
    # blocks may agree by chance if nearly all examples are reached
    error = max(float(spread), share_error(values[name] * n, n))
    return error, error * np.sqrt(OF_REFERENCE[name])


def density_errors(generated: Array, real: Array, within: Array, k: int) -> Errors:
    """Compute the standard error of the density over all new examples, and over new real ones only.

    ``within`` has the number of real balls around each generated example. The variance over real
    examples falls from halves to all as from quarters to halves.

    References:
        Shao and Wu, A general theory for jackknife variance estimation, 1989.
    """
    from sklearn.metrics import pairwise_distances

    x = generated[:SOME]
    y = real[:SOME]
    own = pairwise_distances(y)
    across = pairwise_distances(y, x)

    def density(part: Array) -> float:
        radii = _radii(own, part, k)
        return float((across[part] < radii[:, None]).sum()) / (k * len(x))

    def variance(parts: int) -> float:
        variances = []
        for order in orders(len(y), SPLITS):
            densities = [density(part) for part in np.array_split(order, parts)]
            variances.append(np.var(densities, ddof=1))
        return float(np.mean(variances))

    halves = variance(2)
    quarters = variance(4)
    falls = 0.5
    if quarters > 0:
        falls = float(np.clip(halves / quarters, 0.5, 1))
    of_real = (halves * falls * len(y) / len(real)) ** 0.5
    of_generated = np.std(within / k, ddof=1) / np.sqrt(len(within))
    return float(np.hypot(of_generated, of_real)), of_real


def _radii(distances: Array, part: Array, k: int) -> Array:
    within_part = distances[np.ix_(part, part)]
    return np.partition(within_part, k, axis=1)[:, k]


def recall_errors(generated: Array, real: Array, value: float, k: int) -> Errors:
    """Compute the standard error of recall over all new examples, and over new real ones only.

    Over new generated examples, it comes from a jackknife. Over new real examples, the variance is
    that of a fraction ``value``, times the correlation between the examples recalled by two halves
    of the samples.

    References:
        Shao and Wu, A general theory for jackknife variance estimation, 1989.
    """
    x = generated[:SOME]
    m = len(real)
    recalled = _recaller(x, real[:SOME], k)
    jackknife = left_out(lambda part: float(recalled(part).mean()), len(x))
    of_generated = (jackknife * len(x) / len(generated)) ** 0.5
    half = len(x) // 2
    covariances = []
    variances = []
    for order in orders(len(x), HALVES):
        first = recalled(order[:half])
        other = recalled(order[half : 2 * half])
        covariances.append(np.cov(first, other)[0, 1])
        variances.append((first.var(ddof=1) + other.var(ddof=1)) / 2)
    correlation = np.sum(covariances) / max(np.sum(variances), 1e-12)
    of_share = share_error(value * m, m)
    of_real = of_share * float(np.clip(correlation, 0, 1)) ** 0.5
    return max(float(np.hypot(of_real, of_generated)), of_share), of_real


def _recaller(x: Array, y: Array, k: int) -> Callable[[Array], Array]:
    from sklearn.metrics import pairwise_distances

    own = pairwise_distances(x)
    across = pairwise_distances(y, x)

    def recalled(part: Array) -> Array:
        in_ball = across[:, part] < _radii(own, part, k)
        return np.asarray(in_ball.any(1), np.float64)

    return recalled
