"""Two-sample comparisons: Fréchet, kernel (KID) and energy distances, neighbours, a classifier."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from pushforward.metrics.score import Infos, MetricInfo, Samples, Score, Scores, share_info
from pushforward.metrics.subsets import Array, drawn, drawn_at, fixed_random, ordered, random_for
from pushforward.metrics.uncertainty import Influence, covariance, frechet_errors, kernel_errors

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


PAIRED = 5000  # Maximum number of examples per side of KID


def _kernel(x: Array, y: Array) -> Array:
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


def kernel_distance(x: Array, y: Array) -> float:
    """Compute the unbiased squared MMD of clouds (n, f) with the kernel (x.y / f + 1)^3.

    The mean over pairs i != j of k(x_i, x_j), plus that of k(y_i, y_j), minus twice the mean of all
    k(x_i, y_j); possibly below 0.

    References:
        Gretton et al., A kernel two-sample test, 2012.
        Bińkowski et al., Demystifying MMD GANs, 2018, arXiv:1801.01401.
    """
    return _squared_mmd(_kernel(x, x), _kernel(y, y), _kernel(x, y))


def _squared_mmd(xx: Array, yy: Array, xy: Array) -> float:
    n = len(xx)
    own = xx.sum(1) - np.diag(xx) + yy.sum(1) - np.diag(yy)
    return float(own.sum() / (n * (n - 1)) - 2 * xy.sum() / n**2)


class Kernel:
    """KID of features, rescaled so that the reference has unit variance per dimension."""

    scores: ClassVar[Infos] = {
        "kid": MetricInfo(
            "KID",
            "lower",
            "Unbiased kernel distance between features; about 0 for real data, and possibly "
            "below 0.",
            group="Quality and diversity",
            role="quality",
            priority=3,
            unbiased=True,
        )
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is None and samples.fewest > 2

    def __call__(self, samples: Samples) -> Scores:
        x = samples.generated_features
        y = samples.reference_features
        centre = y.mean(0)
        total = float(y.var(0).sum())
        stretch = 1.0
        if total > 0:
            stretch = np.sqrt(y.shape[1] / total)
        n = min(samples.fewest, PAIRED)
        random = fixed_random()
        at_x = random.permutation(len(x))[:n]
        at_y = random.permutation(len(y))[:n]
        some_x = (x[at_x] - centre) * stretch
        some_y = (y[at_y] - centre) * stretch
        xx = _kernel(some_x, some_x)
        yy = _kernel(some_y, some_y)
        xy = _kernel(some_x, some_y)
        distance = _squared_mmd(xx, yy, xy)
        if not samples.errors:
            return {"kid": Score(distance)}
        influence = kernel_errors(xx, yy, xy)
        return {"kid": influence.among(at_x, at_y, len(x), len(y)).score(distance)}


MOST = 1000  # Maximum number of examples per side of the neighbour test
ENERGY = 2000  # Maximum number of examples per side of the energy distance
# The classifier: number of Gaussian bumps, inverse of the penalty, folds of the cross-validation
LANDMARKS = 100
PENALTY = 0.1
FOLDS = 5
OF_REFERENCE = 0.4  # Fraction of the variance of an accuracy that comes from real examples


def energy_distance(x: Array, y: Array) -> float:
    """Compute the unbiased energy distance 2 E|x - y| - E|x - x'| - E|y - y'| of clouds.

    References:
        Székely and Rizzo, Energy statistics: a class of statistics based on distances, 2013.
    """
    from scipy.spatial.distance import cdist, pdist

    return float(2 * cdist(x, y).mean() - pdist(x).mean() - pdist(y).mean())


def energy_errors(x: Array, y: Array) -> Influence:
    """Compute the errors, the growth of the variance and the terms of `energy_distance`."""
    from scipy.spatial.distance import cdist

    return kernel_errors(-cdist(x, x), -cdist(y, y), -cdist(x, y))


def neighbour_accuracy(x: Array, y: Array) -> float:
    """Compute the fraction of examples whose nearest other example is in the same cloud.

    It is 0.5 for equal distributions, and less for copies.

    References:
        Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, 2017, arXiv:1610.06545.
    """
    from sklearn.neighbors import NearestNeighbors

    pooled = np.concatenate([x, y])
    own = np.arange(len(x) + len(y)) < len(x)
    neighbours = NearestNeighbors(n_neighbors=1).fit(pooled).kneighbors(return_distance=False)[:, 0]
    return float((own[neighbours] == own).mean())


def classifier_accuracy(x: Array, y: Array) -> float:
    """Compute the accuracy of a classifier that predicts the cloud of unseen examples, (n, f) each.

    Logistic regression on the standardised columns and on Gaussian bumps exp(-|x - c|^2 / f) around
    the first examples c; 5-fold cross-validation. Examples come in random order.

    References:
        Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, 2017, arXiv:1610.06545.
    """
    from scipy.spatial.distance import cdist
    from sklearn import config_context
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import PredefinedSplit, cross_val_predict

    n = len(x)
    own = np.arange(n + len(y)) < n
    fold = np.concatenate([np.arange(n) % FOLDS, np.arange(len(y)) % FOLDS])
    columns = _standardised(np.concatenate([x, y]))
    half = LANDMARKS // 2
    centres = np.concatenate([columns[:n][:half], columns[n:][:half]])
    bumps = np.exp(-cdist(columns, centres, "sqeuclidean") / x.shape[1])
    inputs = _standardised(np.concatenate([columns, bumps], axis=1))
    classifier = LogisticRegression(C=PENALTY, tol=1e-2)
    with config_context(assume_finite=True, skip_parameter_validation=True):
        predicted = cross_val_predict(classifier, inputs, own, cv=PredefinedSplit(fold))
    return float((predicted == own).mean())


def _standardised(x: Array) -> Array:
    centred = x - x.mean(0)
    std = centred.std(0)
    return np.asarray(centred / np.where(std > 1e-12, std, np.inf))


class TwoSample:
    """Energy distance of points, and classifiers that distinguish samples from real data."""

    scores: ClassVar[Infos] = {
        "energy": MetricInfo(
            "Energy distance",
            "lower",
            f"Unbiased energy distance between samples and real data, from at most {ENERGY:,} of "
            "each, in standard deviations of the columns; about 0 for real data, and possibly "
            "below 0.",
            group="Quality and diversity",
            role="quality",
            unbiased=True,
        ),
        "neighbour_test": share_info(
            "Nearest-neighbour test",
            "target",
            "Fraction of examples whose nearest other example is on the same side: 50 % if "
            "samples cannot be distinguished from real data, more if they can, less if they are "
            "copies of real data.",
            unit="%",
            group="Two-sample comparisons",
            target=0.5,
        ),
        "classifier_test": share_info(
            "Classifier test",
            "target",
            "Accuracy on new examples of a classifier that distinguishes samples from real data; "
            "50 % if it cannot.",
            unit="%",
            group="Two-sample comparisons",
            target=0.5,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return samples.equal and len(samples.generated) > 1

    def __call__(self, samples: Samples) -> Scores:
        """Compute scores; tables have only "energy"."""
        if samples.table is not None:
            return {"energy": _energy(samples)}
        x = drawn(samples.generated_features, MOST, 0)
        y = drawn(samples.reference_features, MOST, 1)
        n = len(x)
        scores = {}
        if len(samples.shape) == 1:
            scores["energy"] = _energy(samples)
        scores["neighbour_test"] = _accuracy(neighbour_accuracy(x, y), n)
        if n >= 2 * FOLDS:
            scores["classifier_test"] = _accuracy(classifier_accuracy(x, y), n)
        return scores


def _accuracy(accuracy: float, n: int) -> Score:
    share = (n * accuracy + 2) / (n + 4)
    error = float(np.sqrt(0.85 * share * (1 - share) / n))
    return Score(accuracy, error=error, reference_error=error * np.sqrt(OF_REFERENCE))


def _energy(samples: Samples) -> Score:
    x, y = samples.points
    at_x = drawn_at(x, ENERGY, 0)
    at_y = drawn_at(y, ENERGY, 1)
    some_x = x[at_x]
    some_y = y[at_y]
    influence = energy_errors(some_x, some_y).among(at_x, at_y, len(x), len(y))
    return influence.score(energy_distance(some_x, some_y))
