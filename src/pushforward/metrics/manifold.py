"""Precision, recall, density, coverage: does each cloud lie where the other one does?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from pushforward.errors import UsageError
from pushforward.metrics.score import MetricInfo, Samples, Score
from pushforward.metrics.subsets import drawn
from pushforward.metrics.uncertainty import by_blocks, share_error

__all__ = ["Manifold", "prdc", "radii", "reached"]

ROWS, ENTRIES = 1000, 10_000_000
"""Rows of the distance matrix that are held at a time, and its entries, at most."""
LEAST = 0.52
"""The least share of the density's variance that comes from real examples, about, as measured in 2 and 16 dimensions."""
BALLS = 0.7
"""Share of the density's error from real examples that is left because balls are smaller where real examples are dense, about:
.3 to .85 for healthy, narrow, collapsed and memorised samples in a plane."""
OF_REFERENCE = {"precision": 0.65, "coverage": 0.35}
"""The share of a score's variance that comes from real examples, about, as measured in 2 and 16 dimensions."""
SOME, SPLITS, HALVES, LEFT_OUT = 1000, 30, 5, 5
"""Of the error of recall: examples of either side at most, how often some are left out, how often they are divided in halves,
and which part is left out, a fifth."""


def radii(x: np.ndarray, k: int) -> np.ndarray:
    """The distance from each example of x (n, f) to its k-th nearest other example, (n,)."""
    from sklearn.neighbors import NearestNeighbors

    distances, _ = NearestNeighbors(n_neighbors=k).fit(x).kneighbors()
    return np.asarray(distances[:, -1])


def prdc(generated: np.ndarray, real: np.ndarray, k: int = 5) -> dict[str, float]:
    """Precision, recall, density and coverage.

    Every example owns the ball that reaches to its k-th nearest example of its own cloud. Precision is the share of generated
    examples within a ball of a real one, recall the share of real examples within a ball of a generated one, density the mean
    number of real balls around a generated example over k, coverage the share of real balls that hold a generated example.
    Perfect models do not reach 1: coverage has the mean 1 - 2^-k, and precision and recall fall with the dimension.

    Args:
        generated: (n, f).
        real: (n, f); equal numbers, or the values are not comparable.
        k: Neighbours.

    Raises:
        UsageError: If there are too few examples for k.

    References:
        Kynkäänniemi et al., Improved precision and recall metric, 2019, arXiv:1904.06991.
        Naeem et al., Reliable fidelity and diversity metrics for generative models, 2020, arXiv:2002.09797.
    """
    return _means(*_balls(generated, real, k)[:3], k)


def _means(within: np.ndarray, recalled: np.ndarray, covered: np.ndarray, k: int) -> dict[str, float]:
    return {
        "precision": float((within > 0).mean()),
        "recall": float(recalled.mean()),
        "density": float(within.mean()) / k,
        "coverage": float(covered.mean()),
    }


def reached(generated: np.ndarray, real: np.ndarray, k: int = 5) -> dict[str, np.ndarray]:
    """Which real examples generated ones cover and recall: the terms whose means are coverage and recall of `prdc`.

    Args:
        generated: (n, f).
        real: (n, f).
        k: Neighbours.

    Returns:
        "coverage" and "recall", bool (n,) each.

    Raises:
        UsageError: If there are too few examples for k.
    """
    _, recalled, covered, _ = _balls(generated, real, k)
    return {"coverage": covered, "recall": recalled}


def _balls(generated: np.ndarray, real: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """How many real balls hold each generated example, which real examples are recalled and covered, and how many each holds."""
    if not 1 <= k < min(len(generated), len(real)):
        raise UsageError(f"k = {k} needs more than {k} examples on either side, got {len(generated)} and {len(real)}.")
    from sklearn.metrics import pairwise_distances

    of_real, of_generated = radii(real, k), radii(generated, k)
    within = np.zeros(len(generated))
    recalled, covered, held = np.empty(len(real), bool), np.empty(len(real), bool), np.empty(len(real))
    step = max(1, min(ROWS, ENTRIES // len(generated)))
    for start in range(0, len(real), step):
        rows = slice(start, start + step)
        distances = pairwise_distances(real[rows], generated)
        inside = distances < of_real[rows, None]
        within, held[rows] = within + inside.sum(0), inside.sum(1)
        recalled[rows] = (distances < of_generated).any(1)
        covered[rows] = distances.min(1) < of_real[rows]
    return within, recalled, covered, held


class Manifold:
    """Precision, recall, density and coverage of the features of generated against held-out examples.

    Args:
        k: Neighbours that set the size of an example's ball.
    """

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "precision": MetricInfo(
            "Precision",
            "higher",
            "Share of generated samples that lie among real ones. Read it against real data's, not against 1.",
            group="Quality and diversity",
            least=0.0,
            most=1.0,
        ),
        "recall": MetricInfo(
            "Recall",
            "higher",
            "Share of real samples that lie among generated ones. Noisy samples raise it, so prefer coverage.",
            group="Quality and diversity",
            role="diversity",
            priority=2,
            least=0.0,
            most=1.0,
        ),
        "density": MetricInfo(
            "Density",
            "target",
            "How densely real samples lie around generated ones: less than real data's is off the data, more is typical "
            "samples only.",
            group="Quality and diversity",
            least=0.0,
        ),
        "coverage": MetricInfo(
            "Coverage",
            "higher",
            "Share of real samples that have a generated one near them: variety and quality in one.",
            group="Quality and diversity",
            role="diversity",
            least=0.0,
            most=1.0,
        ),
    }

    def __init__(self, k: int = 5) -> None:
        self.k = k

    def applies(self, samples: Samples) -> bool:
        """Where both sides have the same number of examples, more than k, of data that is no table."""
        return samples.table is None and samples.equal and len(samples.generated) > self.k

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """Four scores."""
        x, y = samples.generated_features, samples.reference_features
        within, recalled, covered, held = _balls(x, y, self.k)
        values = _means(within, recalled, covered, self.k)
        if not samples.errors:
            return {name: Score(value) for name, value in values.items()}
        x, y = drawn(x, len(x), 0), drawn(y, len(y), 1)
        spreads = by_blocks(lambda a, b: np.array([*prdc(a, b, self.k).values()]), x, y, 5 * self.k)
        if spreads is None:
            return {name: Score(value) for name, value in values.items()}
        scores = {}
        for (name, value), spread in zip(values.items(), spreads, strict=True):
            if name == "density":
                error, of_real = density_errors(within, held, self.k)
            elif name == "recall":
                error, of_real = recall_errors(x, y, value, self.k)
            else:  # blocks may agree by chance where nearly all examples are reached
                error = max(float(spread), share_error(value * len(x), len(x)))
                of_real = error * np.sqrt(OF_REFERENCE[name])
            scores[name] = Score(value, error=error, reference_error=of_real)
        return scores


def density_errors(within: np.ndarray, held: np.ndarray, k: int) -> tuple[float, float]:
    """The standard error of the density over new examples of both sides, and over new real ones alone.

    The density is a mean over generated examples, of the real balls that each lies in, and as well a mean over real examples, of
    the generated ones that each ball holds. The first says how it varies with the generated examples, the second with the real,
    of which `BALLS` is left; the second is at least what it is for healthy models (`LEAST`).

    Args:
        within: How many real balls each of the generated examples lies in.
        held: How many generated examples each real ball holds.
        k: Neighbours.
    """
    n, m = len(within), len(held)
    of_generated = float(np.std(within / k, ddof=1)) / np.sqrt(n)
    of_real = BALLS * float(np.std(held * m / (n * k), ddof=1)) / np.sqrt(m)
    of_real = max(float(of_real), float(of_generated) * (LEAST / (1 - LEAST)) ** 0.5)
    return float(np.hypot(of_generated, of_real)), of_real


def recall_errors(generated: np.ndarray, real: np.ndarray, value: float, k: int) -> tuple[float, float]:
    """The standard error of recall over new examples of both sides, and over new real ones alone.

    Over new generated examples it is that of a jackknife that leaves out a fifth of them at a time: recall is no smooth function
    of the examples, since few that lie far out have large balls. Given the generated examples, recall is a mean over independent
    real ones. Its variance over new real ones alone is that of a share, times the correlation over the real examples of what two
    halves of the samples recall: near 1 where it depends on the real example alone whether it is recalled, near 0 where samples
    cover the data.

    Args:
        generated: (n, f), in an order that has no meaning; above `SOME` the variance is taken to fall like 1/n.
        real: (m, f), likewise.
        value: The recall.
        k: Neighbours.

    References:
        Shao and Wu, A general theory for jackknife variance estimation, 1989.
    """
    from sklearn.metrics import pairwise_distances

    x, y, m = generated[:SOME], real[:SOME], len(real)
    own, across = pairwise_distances(x), pairwise_distances(y, x)

    def recalled(part: np.ndarray) -> np.ndarray:
        """Which real examples lie within the ball of one of these."""
        reach = np.partition(own[np.ix_(part, part)], k, axis=1)[:, k]
        return np.asarray((across[:, part] < reach).any(1), np.float64)

    orders = [np.random.Generator(np.random.Philox(split)).permutation(len(x)) for split in range(SPLITS)]
    few, half = len(x) // LEFT_OUT, len(x) // 2
    variance = np.var([recalled(order[few:]).mean() for order in orders], ddof=1) * (len(x) - few) / few
    halves = [(recalled(order[:half]), recalled(order[half : 2 * half])) for order in orders[:HALVES]]
    together = np.sum([np.cov(first, other)[0, 1] for first, other in halves])
    shares = np.sum([(first.var(ddof=1) + other.var(ddof=1)) / 2 for first, other in halves])
    of_share = share_error(value * m, m)
    of_real = of_share * float(np.clip(together / max(shares, 1e-12), 0, 1)) ** 0.5
    return max(float(np.hypot(of_real, (variance * len(x) / len(generated)) ** 0.5)), of_share), of_real
