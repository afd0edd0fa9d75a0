"""Two-sample tests: can anything tell generated examples from real ones?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from pushforward.metrics.score import MetricInfo, Samples, Score
from pushforward.metrics.subsets import drawn
from pushforward.metrics.uncertainty import kernel_errors

__all__ = ["TwoSample", "energy_distance", "energy_errors", "energy_test", "neighbour_accuracy"]

MOST, ENERGY, TESTED = 1000, 2000, 500
"""Examples on either side at most of the neighbour test, the energy distance and its p-value: time grows with their square."""
PERMUTATIONS = 500


def energy_distance(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased energy distance of two clouds: 2 E|x - y| - E|x - x'| - E|y - y'| over pairs of different examples.

    It may be below 0 for clouds of one distribution.

    Args:
        x: (n, d), n at least 2.
        y: (m, d), m at least 2.

    References:
        Székely and Rizzo, Energy statistics: a class of statistics based on distances, 2013.
    """
    from scipy.spatial.distance import cdist, pdist

    return float(2 * cdist(x, y).mean() - pdist(x).mean() - pdist(y).mean())


def energy_errors(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The standard error of `energy_distance`, and the part of it that comes from the second cloud."""
    from scipy.spatial.distance import cdist

    return kernel_errors(-cdist(x, x), -cdist(y, y), -cdist(x, y))


def energy_test(x: np.ndarray, y: np.ndarray, permutations: int = PERMUTATIONS, seed: int = 0) -> tuple[float, float]:
    """The unbiased energy distance of two clouds, and the p-value of the hypothesis that they share a distribution.

    2 E|x - y| - E|x - x'| - E|y - y'| over pairs of different examples; it may be below 0. The p-value is the share of
    random divisions of all examples into two sets of these sizes whose distance is at least as large, the given one included.

    Args:
        x: (n, d), n at least 2.
        y: (m, d), m at least 2.
        permutations: Random divisions.
        seed: Of the divisions.

    Returns:
        The distance and the p-value, in (0, 1].

    References:
        Székely and Rizzo, Energy statistics: a class of statistics based on distances, 2013.
    """
    from scipy.spatial.distance import cdist

    n, m = len(x), len(y)
    pooled = np.concatenate([x, y]).astype(np.float64)
    distances = cdist(pooled, pooled)
    random = np.random.Generator(np.random.Philox(seed))
    first = np.zeros((permutations + 1, n + m))
    first[0, :n] = 1
    for row in first[1:]:
        row[random.permutation(n + m)[:n]] = 1
    towards = first @ distances
    within = (towards * first).sum(1)
    across = towards.sum(1) - within
    other = distances.sum() - 2 * across - within
    values = 2 * across / (n * m) - within / (n * (n - 1)) - other / (m * (m - 1))
    slack = 1e-12 * max(1.0, float(np.abs(values).max()))
    return float(values[0]), float((values >= values[0] - slack).mean())


def neighbour_accuracy(x: np.ndarray, y: np.ndarray) -> float:
    """How often the nearest other example is of the same cloud: .5 for one distribution, 1 for clouds that are apart.

    Below .5 generated examples sit on real ones, as copies do.

    Args:
        x: (n, f).
        y: (n, f); equally many, or chance is not .5.

    References:
        Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, 2017, arXiv:1610.06545.
    """
    from sklearn.neighbors import NearestNeighbors

    pooled, own = np.concatenate([x, y]), np.arange(len(x) + len(y)) < len(x)
    neighbours = NearestNeighbors(n_neighbors=1).fit(pooled).kneighbors(return_distance=False)[:, 0]
    return float((own[neighbours] == own).mean())


def _accuracy_error(accuracy: float, n: int) -> float:
    """The standard error of the share of 2n examples, of which some share their neighbours."""
    share = (n * accuracy + 2) / (n + 4)
    return float(np.sqrt(0.85 * share * (1 - share) / n))


class TwoSample:
    """Energy distance of points with its p-value, and the nearest-neighbour test of the features of any data."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "energy": MetricInfo(
            "Energy distance",
            "lower",
            f"Distance between the distributions of points, unbiased, by at most {ENERGY:,} of them, in standard deviations of "
            "the columns: real data scores about 0, and may score below.",
            group="Quality and diversity",
            role="quality",
            unbiased=True,
        ),
        "neighbour_test": MetricInfo(
            "Nearest-neighbour test",
            "target",
            "How often the nearest other example comes from the same side: 50 % where samples cannot be told from real data, "
            "more where they can, less where they copy real data.",
            unit="%",
            group="Two-sample comparisons",
            target=0.5,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        """From two examples on either side, equally many."""
        return samples.equal and len(samples.generated) > 1

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """Score "neighbour_test", and "energy" where an example is a point, (d,); its ``extra`` has the p-value as "p"."""
        x, y = drawn(samples.generated_features, MOST, 0), drawn(samples.reference_features, MOST, 1)
        accuracy = neighbour_accuracy(x, y)
        error = _accuracy_error(accuracy, len(x))
        scores = {"neighbour_test": Score(accuracy, error=error, reference_error=error * np.sqrt(0.4))}
        if len(samples.shape) > 1:
            return scores
        unit = 1.0 if samples.scale is None else np.where(samples.scale > 0, samples.scale, 1.0)
        x, y = drawn(samples.generated / unit, ENERGY, 0), drawn(samples.reference / unit, ENERGY, 1)
        _, p = energy_test(x[:TESTED], y[:TESTED])
        error, shared = energy_errors(x, y)
        return {"energy": Score(energy_distance(x, y), error=error, reference_error=shared, extra={"p": p}), **scores}
