"""Two-sample tests by kernel distance (KID), energy distance, nearest neighbours and a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, NamedTuple

import numpy as np

from pushforward.metrics.growth import Growth, mean_growth
from pushforward.metrics.score import MetricInfo, Samples, Score, share_info
from pushforward.metrics.subsets import by_examples, drawn, drawn_at, placed
from pushforward.metrics.uncertainty import Errors, Terms, kernel_errors


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray((x @ y.T / x.shape[1] + 1) ** 3)


class KernelDistance(NamedTuple):
    """Kernel distance with its standard error and, if requested, growth of its variance and its terms."""

    value: float
    error: float
    growth: Growth = Growth()
    terms: Terms = (np.empty(0), np.empty(0))


def squared_mmd(x: np.ndarray, y: np.ndarray, grows: bool = False) -> KernelDistance:
    """Compute the unbiased squared MMD with the kernel (x.y / f + 1)^3, and its standard error.

    The mean over pairs i != j of k(x_i, x_j), plus that of k(y_i, y_j), minus twice the mean of all k(x_i, y_j). It is
    not cut off at 0: an unbiased estimate of zero is negative half of the time. The error is a jackknife over examples.

    Args:
        x: First cloud, (n, f), n at least 3.
        y: Second cloud, (n, f).
        grows: Whether to compute the growth of the variance and the terms.

    References:
        Gretton et al., A kernel two-sample test, 2012. Bińkowski et al., Demystifying MMD GANs, 2018, arXiv:1801.01401.
    """
    n = len(x)
    xx = _kernel(x, x)
    yy = _kernel(y, y)
    xy = _kernel(x, y)
    own = xx.sum(1) - np.diag(xx) + yy.sum(1) - np.diag(yy)
    rows = xy.sum(1)
    columns = xy.sum(0)
    both = np.diag(xy)
    value = own.sum() / (n * (n - 1)) - 2 * xy.sum() / n**2
    left_out = (own.sum() - 2 * own) / ((n - 1) * (n - 2)) - 2 * (
        xy.sum() - rows - columns + both
    ) / (n - 1) ** 2
    error = float(np.sqrt((n - 1) * left_out.var()))
    if not grows:
        return KernelDistance(float(value), error)
    _, growth, terms = kernel_errors(xx, yy, xy)
    return KernelDistance(float(value), error, growth, terms)


def kernel_distance(
    x: np.ndarray, y: np.ndarray, *, every_pair: int = 5000, block: int = 1000, grows: bool = False
) -> KernelDistance:
    """Compute KID between two clouds of features and its standard error.

    Up to ``every_pair`` examples, all pairs are used; above, the mean over disjoint blocks, whose
    standard deviation gives the error. Blocks are drawn without replacement, with a separate fixed
    permutation for each side, because examples may be sorted by class. Over permutations, every
    pair is equally likely in a block, so the expected mean is the value over all pairs,
    independently of the order; one permutation deviates by about the error. For clouds of equal
    size up to ``every_pair``, the order has no effect.

    Args:
        x: First cloud, (n, f).
        y: Second cloud, (m, f); the larger cloud is reduced to the size of the smaller one.
        every_pair: Maximum number of examples for comparing all pairs.
        block: Block size above that number.
        grows: Whether to compute the growth of the variance and the terms, which are NaN for
            examples outside of blocks.
    """
    n = min(len(x), len(y))
    random = np.random.Generator(np.random.Philox(0))
    of_x, of_y = (random.permutation(len(examples))[:n] for examples in (x, y))
    size = n if n <= every_pair else block
    blocks = [slice(start, start + size) for start in range(0, n - size + 1, size)]
    x, y = (np.asarray(examples, np.float64) for examples in (x, y))
    parts = [squared_mmd(x[of_x[part]], y[of_y[part]], grows) for part in blocks]
    value = float(np.mean([part.value for part in parts]))
    error = parts[0].error
    if len(parts) > 1:
        error = float(np.std([part.value for part in parts], ddof=1) / np.sqrt(len(parts)))
    if not grows:
        return KernelDistance(value, error)
    used = len(blocks) * size
    terms_of_x, terms_of_y = (
        np.concatenate(side) for side in zip(*(part.terms for part in parts), strict=True)
    )
    terms = placed(terms_of_x, of_x[:used], len(x)), placed(terms_of_y, of_y[:used], len(y))
    growth = mean_growth([part.growth for part in parts], len(parts))
    return KernelDistance(value, error, growth, terms)


class Kernel:
    """KID between the features of generated and held-out examples.

    Features have unit total variance; here they are rescaled so that the reference has unit
    variance per dimension on average, the scale at which the kernel (x.y / f + 1)^3 is sensitive to
    more than the means.
    """

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "kid": MetricInfo(
            "KID",
            "lower",
            "Unbiased kernel distance between features; about 0 for real data, and possibly below 0.",
            group="Quality and diversity",
            role="quality",
            priority=3,
            unbiased=True,
        )
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is None and samples.fewest > 2

    def __call__(self, samples: Samples) -> dict[str, Score]:
        x = samples.generated_features
        y = samples.reference_features
        centre = y.mean(0)
        total = float(y.var(0).sum())
        stretch = np.sqrt(y.shape[1] / total) if total > 0 else 1.0
        distance = kernel_distance(
            (x - centre) * stretch, (y - centre) * stretch, grows=samples.errors
        )
        score = Score(
            distance.value, error=distance.error, reference_error=distance.error / np.sqrt(2)
        )
        if samples.errors:
            of_x, of_y = (by_examples(terms) for terms in distance.terms)
            score = replace(score, growth=distance.growth, sample_terms=of_x, reference_terms=of_y)
        return {"kid": score}


# Examples on either side at most of the neighbour test, the energy distance and its p-value: time grows with their square
MOST = 1000
ENERGY = 2000
TESTED = 500
PERMUTATIONS = 500
# Of the classifier: examples whose bumps it sees, at most, the inverse of its penalty, and the parts of a cross-validation
LANDMARKS = 100
PENALTY = 0.1
FOLDS = 5
# The share of the variance of an accuracy that comes from real examples, about, as measured in 2 and 16 dimensions
OF_REFERENCE = 0.4


def energy_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Compute the unbiased energy distance 2 E|x - y| - E|x - x'| - E|y - y'| over pairs of different examples.

    It may be below 0 for clouds from one distribution.

    Args:
        x: First cloud, (n, d), n at least 2.
        y: Second cloud, (m, d), m at least 2.

    References:
        Székely and Rizzo, Energy statistics: a class of statistics based on distances, 2013.
    """
    from scipy.spatial.distance import cdist, pdist

    return float(2 * cdist(x, y).mean() - pdist(x).mean() - pdist(y).mean())


def energy_errors(x: np.ndarray, y: np.ndarray) -> tuple[Errors, Growth, Terms]:
    """Compute the errors, the growth of the variance and the terms of `energy_distance`."""
    from scipy.spatial.distance import cdist

    return kernel_errors(-cdist(x, x), -cdist(y, y), -cdist(x, y))


def energy_test(
    x: np.ndarray, y: np.ndarray, permutations: int = PERMUTATIONS
) -> tuple[float, float]:
    """Compute the unbiased energy distance of two clouds, and the p-value of the hypothesis of equal distributions.

    2 E|x - y| - E|x - x'| - E|y - y'| over pairs of different examples; it may be below 0. The
    p-value is the fraction of random divisions of all examples into two sets of these sizes,
    including the given one, whose distance is at least as large.

    Args:
        x: First cloud, (n, d), n at least 2.
        y: Second cloud, (m, d), m at least 2.
        permutations: Number of random divisions.

    Returns:
        Distance and p-value, in (0, 1].

    References:
        Székely and Rizzo, Energy statistics: a class of statistics based on distances, 2013.
    """
    from scipy.spatial.distance import cdist

    n = len(x)
    m = len(y)
    pooled = np.concatenate([x, y]).astype(np.float64)
    distances = cdist(pooled, pooled)
    random = np.random.Generator(np.random.Philox(0))
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
    """Compute the fraction of examples whose nearest other example is in the same cloud.

    The fraction is 0.5 for equal distributions, 1 for separate clouds, and below 0.5 for copies.

    Args:
        x: First cloud, (n, f).
        y: Second cloud of equal size, (n, f); otherwise chance is not 0.5.

    References:
        Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, 2017, arXiv:1610.06545.
    """
    from sklearn.neighbors import NearestNeighbors

    pooled = np.concatenate([x, y])
    own = np.arange(len(x) + len(y)) < len(x)
    neighbours = NearestNeighbors(n_neighbors=1).fit(pooled).kneighbors(return_distance=False)[:, 0]
    return float((own[neighbours] == own).mean())


def _accuracy_error(accuracy: float, n: int) -> float:
    share = (n * accuracy + 2) / (n + 4)
    return float(np.sqrt(0.85 * share * (1 - share) / n))


def classifier_accuracy(x: np.ndarray, y: np.ndarray) -> float:
    """Compute the accuracy of a classifier that predicts the cloud of unseen examples.

    The accuracy is 0.5 for equal distributions, 1 for separate clouds.

    Logistic regression on the standardised columns and on Gaussian bumps exp(-|x - c|^2 / f) around
    100 of the examples, so that it detects shapes, not only means; 5-fold cross-validation. The
    loss is convex, so the result is deterministic. Examples come in random order: the i-th is in
    fold i mod 5, and the first ones of both clouds are the centres c.

    Args:
        x: First cloud, (n, f), n at least 5.
        y: Second cloud of equal size, (n, f); otherwise chance is not 0.5.

    References:
        Lopez-Paz and Oquab, Revisiting Classifier Two-Sample Tests, 2017, arXiv:1610.06545.
    """
    from scipy.spatial.distance import cdist
    from sklearn import config_context
    from sklearn.linear_model import LogisticRegression

    own = np.arange(len(x) + len(y)) < len(x)
    fold = np.concatenate([np.arange(len(examples)) % FOLDS for examples in (x, y)])
    pooled = _standardised(np.concatenate([x, y]))
    centres = np.concatenate(
        [examples[: LANDMARKS // 2] for examples in (pooled[own], pooled[~own])]
    )
    seen = _standardised(
        np.concatenate(
            [pooled, np.exp(-cdist(pooled, centres, "sqeuclidean") / x.shape[1])], axis=1
        )
    )
    right = np.empty(len(own), bool)
    for out in (fold == number for number in range(FOLDS)):
        with config_context(assume_finite=True, skip_parameter_validation=True):
            classifier = LogisticRegression(C=PENALTY, tol=1e-2).fit(seen[~out], own[~out])
            right[out] = classifier.predict(seen[out]) == own[out]
    return float(right.mean())


def _standardised(x: np.ndarray) -> np.ndarray:
    centred = x - x.mean(0)
    spread = centred.std(0)
    return np.asarray(centred / np.where(spread > 1e-12, spread, np.inf))


class TwoSample:
    """Energy distance of points, and classifiers that distinguish samples from real data."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "energy": MetricInfo(
            "Energy distance",
            "lower",
            f"Unbiased energy distance between samples and real data, from at most {ENERGY:,} of each, in standard "
            "deviations of the columns; about 0 for real data, and possibly below 0.",
            group="Quality and diversity",
            role="quality",
            unbiased=True,
        ),
        "neighbour_test": share_info(
            "Nearest-neighbour test",
            "target",
            "Fraction of examples whose nearest other example is on the same side: 50 % if samples cannot be "
            "distinguished from real data, more if they can, less if they are copies of real data.",
            unit="%",
            group="Two-sample comparisons",
            target=0.5,
        ),
        "classifier_test": share_info(
            "Classifier test",
            "target",
            "Accuracy on new examples of a classifier that distinguishes samples from real data; 50 % if it cannot.",
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

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """Compute "neighbour_test", "classifier_test" (from 10 examples per side) and "energy" (points; the only one for tables).

        ``extra`` of "energy" has the p-value as "p".
        """
        if samples.table is not None:
            return {"energy": _energy(samples)}
        x = drawn(samples.generated_features, MOST, 0)
        y = drawn(samples.reference_features, MOST, 1)
        accuracy = neighbour_accuracy(x, y)
        error = _accuracy_error(accuracy, len(x))
        scores = {
            "neighbour_test": Score(
                accuracy, error=error, reference_error=error * np.sqrt(OF_REFERENCE)
            )
        }
        if len(x) >= 2 * FOLDS:
            right = classifier_accuracy(x, y)
            error = _accuracy_error(right, len(x))
            scores["classifier_test"] = Score(
                right, error=error, reference_error=error * np.sqrt(OF_REFERENCE)
            )
        if len(samples.shape) > 1:
            return scores
        return {"energy": _energy(samples), **scores}


def _energy(samples: Samples) -> Score:
    x, y = samples.points
    at_x = drawn_at(x, ENERGY, 0)
    at_y = drawn_at(y, ENERGY, 1)
    _, p = energy_test(x[at_x[:TESTED]], y[at_y[:TESTED]])
    (error, shared), growth, (of_x, of_y) = energy_errors(x[at_x], y[at_y])
    return Score(
        energy_distance(x[at_x], y[at_y]),
        error=error,
        reference_error=shared,
        growth=growth,
        reference_terms=by_examples(placed(of_y, at_y, len(y))),
        sample_terms=by_examples(placed(of_x, at_x, len(x))),
        extra={"p": p},
    )
