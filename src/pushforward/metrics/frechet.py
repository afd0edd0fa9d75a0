"""Fréchet distance, which compares two clouds as if both were Gaussian."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from pushforward.metrics.score import MetricInfo, Samples, Score
from pushforward.metrics.subsets import by_examples, ordered, random_for
from pushforward.metrics.uncertainty import frechet_errors

SUBSETS = 15  # Sizes at which the extrapolated distance is measured
ENOUGH = 10  # Examples for each feature, at least, at the smallest of them


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T)


def gaussian_distance(
    mean1: np.ndarray, covariance1: np.ndarray, mean2: np.ndarray, covariance2: np.ndarray
) -> float:
    """Compute the squared 2-Wasserstein distance between two Gaussians.

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^.5 C2 C1^.5)^.5)``, in float64. The last trace is the sum of the singular values
    of C1^.5 C2^.5: symmetric roots only, so rank-deficient covariances give neither imaginary nor huge parts.

    Args:
        mean1: Mean of the first Gaussian, (f,).
        covariance1: Covariance of the first Gaussian, (f, f), symmetric and positive semi-definite.
        mean2: Mean of the second Gaussian, (f,).
        covariance2: Covariance of the second Gaussian, (f, f).

    References:
        Dowson and Landau, The Fréchet distance between multivariate normal distributions, 1982.
    """
    mean1, covariance1, mean2, covariance2 = (
        np.asarray(part, dtype=np.float64) for part in (mean1, covariance1, mean2, covariance2)
    )
    overlap = np.linalg.svd(_root(covariance1) @ _root(covariance2), compute_uv=False).sum()
    return float(
        ((mean1 - mean2) ** 2).sum() + np.trace(covariance1) + np.trace(covariance2) - 2 * overlap
    )


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Compute the Fréchet distance between two clouds of features, (n, f) and (m, f).

    It is biased upwards by about f^2 / (2n) at unit variance, so compare at equal n and with the
    real-data score.

    References:
        Heusel et al., GANs trained by a two time-scale update rule, 2017, arXiv:1706.08500.
    """
    x = np.asarray(x, dtype=np.float64)
    y = np.asarray(y, dtype=np.float64)
    return gaussian_distance(x.mean(0), _covariance(x), y.mean(0), _covariance(y))


def extrapolated_distance(x: np.ndarray, y: np.ndarray) -> float | None:
    """Extrapolate the Fréchet distance to infinitely many examples.

    Its bias falls like 1/n. The distance is measured on random subsets of 15 sizes, at equal steps
    of 1/n from a fifth of the examples to all of them, and a fitted line is evaluated at 1/n = 0.
    The result may be below 0 for equal distributions.

    Args:
        x: First cloud, (n, f).
        y: Second cloud, (m, f).

    Returns:
        Intercept of the line; None if a fifth of the examples are fewer than ten per feature,
            because the bias is then not linear in 1/n.

    References:
        Chong and Forsyth, Effectively unbiased FID and Inception Score and where to find them, 2020, arXiv:1911.07023.
    """
    n = min(len(x), len(y))
    if n // 5 < ENOUGH * x.shape[1]:
        return None
    x = ordered(x)
    y = ordered(y)
    random = random_for(
        x, 0
    )  # of both sides: samplings that drew the same subsets of y would share their chance
    sizes = (1 / np.linspace(5 / n, 1 / n, SUBSETS)).astype(int)
    values = [
        frechet_distance(x[random.permutation(len(x))[:size]], y[random.permutation(len(y))[:size]])
        for size in sizes
    ]
    return float(np.polyfit(1 / sizes, values, 1)[1])


def _covariance(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(0)
    return np.asarray(centred.T @ centred / max(len(x) - 1, 1))


class Frechet:
    """Fréchet distance between the features of generated and held-out examples."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "frechet": MetricInfo(
            "Fréchet distance",
            "lower",
            "Distance between the means and covariances of the features of generated and real data.",
            group="Quality and diversity",
            role="quality",
            priority=2,
            least=0.0,
        ),
        "frechet_limit": MetricInfo(
            "Fréchet distance, extrapolated",
            "lower",
            "Fréchet distance extrapolated to infinitely many samples: about 0 for real data, and possibly below 0.",
            group="Quality and diversity",
            unbiased=True,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is None and samples.fewest > 1

    def __call__(self, samples: Samples) -> dict[str, Score]:
        x = samples.generated_features
        y = samples.reference_features
        distance = frechet_distance(x, y)
        (error, shared), growth, (of_x, of_y) = frechet_errors(x, y, distance)
        score = Score(
            distance,
            error=error,
            reference_error=shared,
            bias=growth.null_mean,
            growth=growth,
            reference_terms=by_examples(of_y),
            sample_terms=by_examples(of_x),
        )
        scores = {"frechet": score}
        limit = extrapolated_distance(x, y)
        if limit is not None:
            scores["frechet_limit"] = Score(limit, reference_error=shared)
        return scores
