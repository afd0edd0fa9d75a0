"""Fréchet distance: how far two clouds are apart if each is taken for a Gaussian."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from pushforward.metrics.score import MetricInfo, Samples, Score

__all__ = ["Frechet", "frechet_distance", "gaussian_distance"]


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    root: np.ndarray = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    return root


def gaussian_distance(mean1: np.ndarray, covariance1: np.ndarray, mean2: np.ndarray, covariance2: np.ndarray) -> float:
    """The squared 2-Wasserstein distance between two Gaussians.

    ``|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^.5 C2 C1^.5)^.5)``, in float64. The last trace is the sum of the singular values
    of C1^.5 C2^.5: symmetric roots only, so rank-deficient covariances give neither imaginary nor huge parts.

    Args:
        mean1: (f,).
        covariance1: (f, f), symmetric and positive semi-definite.
        mean2: (f,).
        covariance2: (f, f).

    References:
        Dowson and Landau, The Fréchet distance between multivariate normal distributions, 1982.
    """
    mean1, covariance1, mean2, covariance2 = (
        np.asarray(part, dtype=np.float64) for part in (mean1, covariance1, mean2, covariance2)
    )
    overlap = np.linalg.svd(_root(covariance1) @ _root(covariance2), compute_uv=False).sum()
    return float(((mean1 - mean2) ** 2).sum() + np.trace(covariance1) + np.trace(covariance2) - 2 * overlap)


def frechet_distance(x: np.ndarray, y: np.ndarray) -> float:
    """The Fréchet distance between two clouds of features, (n, f) and (m, f).

    It is biased upwards by about f^2 / (2n) at unit variance, so compare at equal n and beside its floor.

    References:
        Heusel et al., GANs trained by a two time-scale update rule, 2017, arXiv:1706.08500.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    return gaussian_distance(x.mean(0), _covariance(x), y.mean(0), _covariance(y))


def _covariance(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(0)
    covariance: np.ndarray = centred.T @ centred / max(len(x) - 1, 1)
    return covariance


class Frechet:
    """Fréchet distance between the features of generated and held-out examples."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "frechet": MetricInfo(
            "Fréchet distance",
            "lower",
            "Distance between the mean and the covariance of the features of generated and of real data.",
            group="Quality and diversity",
            role="quality",
        )
    }

    def applies(self, samples: Samples) -> bool:
        """From two rows on either side."""
        return min(len(samples.generated), len(samples.reference)) > 1

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """One score, "frechet"."""
        return {"frechet": Score(frechet_distance(samples.generated_features, samples.reference_features))}
