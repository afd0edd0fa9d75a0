"""Fréchet distance, which compares two clouds as if both were Gaussian."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from pushforward.metrics.score import Infos, MetricInfo, Samples, Score, Scores
from pushforward.metrics.subsets import Array, ordered, random_for
from pushforward.metrics.uncertainty import covariance, frechet_errors

SUBSETS = 15  # Sizes at which the extrapolated distance is measured
ENOUGH = 10  # Examples per feature at the smallest of them


def _root(covariance: Array) -> Array:
    values, vectors = np.linalg.eigh(covariance)
    root: Array = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root


def gaussian_distance(mean1: Array, covariance1: Array, mean2: Array, covariance2: Array) -> float:
    """Compute the squared 2-Wasserstein distance between Gaussians (m1, C1) and (m2, C2), float64.

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^.5 C2 C1^.5)^.5)``. The last trace is the sum of the singular
    values of C1^.5 C2^.5, which is safe for rank-deficient covariances.

    References:
        Dowson and Landau, The Fréchet distance between multivariate normal distributions, 1982.
    """
    gap = ((mean1 - mean2) ** 2).sum()
    singular = np.linalg.svd(_root(covariance1) @ _root(covariance2), compute_uv=False)
    return float(gap + np.trace(covariance1) + np.trace(covariance2) - 2 * singular.sum())


def frechet_distance(x: Array, y: Array) -> float:
    """Compute the Fréchet distance between features (n, f) and (m, f), biased by about f^2 / (2n).

    References:
        Heusel et al., GANs trained by a two time-scale update rule, 2017, arXiv:1706.08500.
    """
    x = np.asarray(x, dtype=np.float64)
    y = np.asarray(y, dtype=np.float64)
    return gaussian_distance(x.mean(0), covariance(x), y.mean(0), covariance(y))


def extrapolated_distance(x: Array, y: Array) -> float | None:
    """Extrapolate the Fréchet distance of x (n, f) and y (m, f) to infinitely many examples.

    A line in 1/n is fitted to distances of 15 random subsets, from a fifth of the examples to all,
    and evaluated at 1/n = 0. None if a fifth are fewer than ten examples per feature.

    References:
        Chong and Forsyth, Effectively unbiased FID and Inception Score, 2020, arXiv:1911.07023.
    """
    n = min(len(x), len(y))
    if n // 5 < ENOUGH * x.shape[1]:
        return None
    x = ordered(x)
    y = ordered(y)
    # depends on both sides: otherwise samplings would share the subsets of y
    random = random_for(x, 0)
    sizes = (1 / np.linspace(5 / n, 1 / n, SUBSETS)).astype(int)
    distances = []
    for size in sizes:
        some_x = x[random.permutation(len(x))[:size]]
        some_y = y[random.permutation(len(y))[:size]]
        distances.append(frechet_distance(some_x, some_y))
    _, intercept = np.polyfit(1 / sizes, distances, 1)
    return float(intercept)


class Frechet:
    """Fréchet distance between features of generated and held-out examples."""

    scores: ClassVar[Infos] = {
        "frechet": MetricInfo(
            "Fréchet distance",
            "lower",
            "Distance between the means and covariances of the features of generated and real "
            "data.",
            group="Quality and diversity",
            role="quality",
            priority=2,
            least=0.0,
        ),
        "frechet_limit": MetricInfo(
            "Fréchet distance, extrapolated",
            "lower",
            "Fréchet distance extrapolated to infinitely many samples: about 0 for real data, and "
            "possibly below 0.",
            group="Quality and diversity",
            unbiased=True,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is None and samples.fewest > 1

    def __call__(self, samples: Samples) -> Scores:
        x = samples.generated_features
        y = samples.reference_features
        distance = frechet_distance(x, y)
        influence = frechet_errors(x, y, distance)
        scores = {"frechet": influence.score(distance, bias=influence.growth.null_mean)}
        limit = extrapolated_distance(x, y)
        if limit is not None:
            _, reference_error = influence.errors
            scores["frechet_limit"] = Score(limit, reference_error=reference_error)
        return scores
