"""Two-sample comparisons: kernel distance (KID), energy distance, neighbours and a classifier."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import numpy as np

from pushforward.metrics.growth import VarianceModel, mean_growth
from pushforward.metrics.score import Infos, MetricInfo, Samples, Score, Scores, share_info
from pushforward.metrics.subsets import Array, drawn, drawn_at, fixed_random, placed
from pushforward.metrics.uncertainty import Influence, Terms, kernel_errors


def _kernel(x: Array, y: Array) -> Array:
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


class KernelDistance(NamedTuple):
    """Kernel distance with its standard error, growth of its variance and terms."""

    value: float
    error: float
    growth: VarianceModel = VarianceModel()
    terms: Terms = (np.empty(0), np.empty(0))


def squared_mmd(x: Array, y: Array, grows: bool = False) -> KernelDistance:
    """Compute the unbiased squared MMD of clouds (n, f) with the kernel (x.y / f + 1)^3.

    The mean over pairs i != j of k(x_i, x_j), plus that of k(y_i, y_j), minus twice the mean of all
    k(x_i, y_j); possibly below 0. The error is a jackknife over examples.

    References:
        Gretton et al., A kernel two-sample test, 2012.
        Bińkowski et al., Demystifying MMD GANs, 2018, arXiv:1801.01401.
    """
    n = len(x)
    xx = _kernel(x, x)
    yy = _kernel(y, y)
    xy = _kernel(x, y)
    own = xx.sum(1) - np.diag(xx) + yy.sum(1) - np.diag(yy)
    own_total = own.sum()
    total = xy.sum()
    value = own_total / (n * (n - 1)) - 2 * total / n**2
    own_without = (own_total - 2 * own) / ((n - 1) * (n - 2))
    without = (total - xy.sum(1) - xy.sum(0) + np.diag(xy)) / (n - 1) ** 2
    left_out = own_without - 2 * without
    error = float(np.sqrt((n - 1) * left_out.var()))
    if not grows:
        return KernelDistance(float(value), error)
    _, growth, terms = kernel_errors(xx, yy, xy)
    return KernelDistance(float(value), error, growth, terms)


def kernel_distance(
    x: Array, y: Array, *, every_pair: int = 5000, block: int = 1000, grows: bool = False
) -> KernelDistance:
    """Compute KID between clouds of features, (n, f) and (m, f), reduced to equal size.

    Above ``every_pair`` examples, it is the mean over disjoint random blocks. ``grows`` asks for
    growth and terms.
    """
    n = min(len(x), len(y))
    random = fixed_random()
    order_x = random.permutation(len(x))
    order_y = random.permutation(len(y))
    size = n
    if n > every_pair:
        size = block
    count = n // size
    used_x = order_x[: count * size]
    used_y = order_y[: count * size]
    parts = []
    for at_x, at_y in zip(np.split(used_x, count), np.split(used_y, count), strict=True):
        parts.append(squared_mmd(x[at_x], y[at_y], grows))
    values = [part.value for part in parts]
    value = float(np.mean(values))
    error = parts[0].error
    if count > 1:
        error = float(np.std(values, ddof=1) / np.sqrt(count))
    if not grows:
        return KernelDistance(value, error)
    terms_x = np.concatenate([part.terms[0] for part in parts])
    terms_y = np.concatenate([part.terms[1] for part in parts])
    growth = mean_growth([part.growth for part in parts], count)
    terms = (placed(terms_x, used_x, len(x)), placed(terms_y, used_y, len(y)))
    return KernelDistance(value, error, growth, terms)


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
        scaled_x = (x - centre) * stretch
        scaled_y = (y - centre) * stretch
        distance = kernel_distance(scaled_x, scaled_y, grows=samples.errors)
        error = distance.error
        errors = (error, error / np.sqrt(2))
        if samples.errors:
            influence = Influence(errors, distance.growth, distance.terms)
            return {"kid": influence.score(distance.value)}
        return {"kid": Score(distance.value, error=errors[0], reference_error=errors[1])}


MOST = 1000  # Maximum number of examples per side of the neighbour test
ENERGY = 2000  # Maximum number of examples per side of the energy distance
TESTED = 500  # Maximum number of examples per side of its p-value
PERMUTATIONS = 500
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


def energy_test(x: Array, y: Array, permutations: int = PERMUTATIONS) -> tuple[float, float]:
    """Compute `energy_distance`, and the p-value of the hypothesis of equal distributions.

    The p-value is the fraction of random divisions of all examples with at least this distance.
    """
    from scipy.spatial.distance import cdist

    n = len(x)
    m = len(y)
    pooled = np.concatenate([x, y])
    distances = cdist(pooled, pooled)
    random = fixed_random()
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

    def left_out(self, samples: Samples) -> tuple[str, ...]:
        if samples.table is not None:
            return "neighbour_test", "classifier_test"
        if len(samples.shape) > 1:
            return ("energy",)
        return ()

    def __call__(self, samples: Samples) -> Scores:
        """Compute scores; tables have only "energy", whose ``extra`` has the p-value."""
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
    _, p = energy_test(some_x[:TESTED], some_y[:TESTED])
    influence = energy_errors(some_x, some_y)
    terms_x, terms_y = influence.terms
    terms = (placed(terms_x, at_x, len(x)), placed(terms_y, at_y, len(y)))
    distance = energy_distance(some_x, some_y)
    return influence._replace(terms=terms).score(distance, extra={"p": p})
