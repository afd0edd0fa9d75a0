"""Standard errors of scores of two clouds, from the contribution (influence) of each example.

Between clouds of one distribution the first order is 0 and the terms overstate the second-order
variance twofold, so it is subtracted once.

References:
    Efron and Stein, The jackknife estimate of variance, 1981.
    van der Vaart, Asymptotic Statistics, 1998, chapters 12 and 20.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.growth import VarianceModel, divergence, growth_of
from pushforward.metrics.score import Score
from pushforward.metrics.subsets import Array, blocks, by_examples, placed

# Standard error of a score over new examples on both sides, and its part from the reference
Errors = tuple[float, float]
# Contributions of generated (n,) and of reference examples (m,) to n and m times a score
Terms = tuple[Array, Array]


class Influence(NamedTuple):
    """First-order analysis of a score: errors, growth of the variance, and terms."""

    errors: Errors
    growth: VarianceModel
    terms: Terms

    def among(self, at_x: Array, at_y: Array, n: int, m: int) -> Self:
        """Return the analysis of the examples at some indices among n and m."""
        generated, reference = self.terms
        return self._replace(terms=(placed(generated, at_x, n), placed(reference, at_y, m)))

    def score(self, value: float, **facts: Any) -> Score:
        """Return the score with this value; terms of omitted examples are NaN."""
        error, reference_error = self.errors
        generated, reference = self.terms
        return Score(
            value,
            error=error,
            reference_error=reference_error,
            growth=self.growth,
            sample_terms=by_examples(generated),
            reference_terms=by_examples(reference),
            **facts,
        )


# Maximum number of examples per block, and minimum number of blocks
BLOCK = 1000
BLOCKS = 4


def errors(generated: Array, reference: Array, second: float = 0.0) -> Errors:
    """Compute standard errors from the contributions of examples to n (m) times the score.

    ``second`` is the second-order variance divided by (1/n + 1/m)^2, for clouds of one
    distribution.
    """
    n = len(generated)
    of_generated = float(np.var(generated, ddof=1)) / n - second / n**2
    m = len(reference)
    of_reference = float(np.var(reference, ddof=1)) / m - second * (1 / m**2 + 2 / (n * m))
    total = max(of_generated + of_reference, second * (1 / n + 1 / m) ** 2)
    of_reference = min(max(of_reference, second / m**2), total)
    return math.sqrt(total), math.sqrt(of_reference)


def root_errors(value: float, of_square: Errors) -> Errors:
    """Compute the errors of a score from the errors of its square, by the delta method."""
    if value <= 0:
        return 0.0, 0.0
    scale = 1 / (2 * value)
    return of_square[0] * scale, of_square[1] * scale


def share_error(count: float, n: float) -> float:
    """Compute the standard error of a fraction count / n, with two successes and failures added.

    References:
        Agresti and Coull, Approximate is better than "exact", 1998.
    """
    share = (count + 2) / (n + 4)
    return math.sqrt(share * (1 - share) / (n + 4))


def area(x: Array, y: Array) -> tuple[Array, Array]:
    """Compute the terms of the area under the ROC curve, the frequency of values of x above y.

    They are the fraction of y below each value of x, and of x above each value of y; the area is
    the mean of either.

    References:
        DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more correlated receiver
        operating characteristic curves, 1988.
    """
    from scipy.stats import rankdata

    n = len(x)
    m = len(y)
    ranks = rankdata(np.concatenate([x, y]))
    above = (ranks[:n] - rankdata(x)) / m
    below = 1 - (ranks[n:] - rankdata(y)) / n
    return above, below


def area_errors(above: Array, below: Array) -> Errors:
    """Compute the standard error of an `area`, and its part from the second side."""
    of_first = _mean_variance(above)
    of_second = _mean_variance(below)
    return math.sqrt(of_first + of_second), math.sqrt(of_second)


def _mean_variance(terms: Array) -> float:
    if len(terms) < 2:
        return 0.0
    return float(np.var(terms, ddof=1)) / len(terms)


def divergence_error(counts: NDArray[np.int64], weights: Array) -> float:
    """Compute the standard error of the KL divergence of counts from fractions."""
    n = int(counts.sum())
    if n == 0:
        return 0.0
    _, variance = divergence(counts / n, weights)
    first = variance / n
    second = (len(counts) - 1) / (2 * n**2)
    return math.sqrt(max(first - second, second))


def kernel_errors(xx: Array, yy: Array, xy: Array) -> Influence:
    """Compute errors, growth and terms of a kernel distance over different pairs."""
    n, m = xy.shape
    diagonal_x = np.diag(xx)
    diagonal_y = np.diag(yy)
    mean_x = (xx.sum(1) - diagonal_x) / (n - 1)
    mean_y = (yy.sum(1) - diagonal_y) / (m - 1)
    rows = xy.mean(1)
    columns = xy.mean(0)
    own = _centred_square(xx, mean_x, mean_x, 1) + _centred_square(yy, mean_y, mean_y, 1)
    second = (own + 2 * _centred_square(xy, rows, columns, 0)) / 2
    # with the pairs of an example with itself, so that it is not below 0
    biased = mean_x.mean() + mean_y.mean() - 2 * rows.mean()
    own_x = (diagonal_x.mean() - mean_x.mean()) / n
    own_y = (diagonal_y.mean() - mean_y.mean()) / m
    biased += own_x + own_y
    terms_x = 2 * (mean_x - rows)
    terms_y = 2 * (mean_y - columns)
    growth = growth_of(terms_x, terms_y, second, float(biased))
    return Influence(errors(terms_x, terms_y, second), growth, (terms_x, terms_y))


def _centred_square(kernel: Array, rows: Array, columns: Array, own: int) -> float:
    total = 0.0
    count = kernel.size - own * len(kernel)
    centre = float(rows.mean())
    for part in blocks(len(kernel), BLOCK):
        centred = kernel[part] - rows[part, None] - columns + centre
        if own:
            np.fill_diagonal(centred[:, part.start :], 0.0)
        total += float(np.einsum("ij,ij->", centred, centred))
    return total / count


def covariance(x: Array) -> Array:
    """Compute the covariance (f, f) of the columns of x (n, f)."""
    centred = x - x.mean(0)
    return np.asarray(centred.T @ centred / max(len(x) - 1, 1))


def frechet_errors(x: Array, y: Array, distance: float = 0.0) -> Influence:
    """Compute the errors, growth and terms of the Fréchet distance of clouds (n, f) and (m, f).

    References:
        Takatsu, Wasserstein geometry of Gaussian measures, 2011: the derivative of the distance by
        a covariance is 1 - T with the optimal map T between the Gaussians.
    """
    gap = x.mean(0) - y.mean(0)
    covariance_x = covariance(x)
    covariance_y = covariance(y)
    terms_x = _frechet_terms(x, gap, _optimal_map(covariance_x, covariance_y))
    terms_y = _frechet_terms(y, -gap, _optimal_map(covariance_y, covariance_x))
    second = _second_order(_variances((covariance_x + covariance_y) / 2))
    growth = growth_of(terms_x, terms_y, second, distance, frechet_bias(y, len(x)))
    return Influence(errors(terms_x, terms_y, second), growth, (terms_x, terms_y))


def _frechet_terms(x: Array, gap: Array, optimal_map: Array) -> Array:
    centred = x - x.mean(0)
    of_mean = 2 * centred @ gap
    moved = np.einsum("ij,ij->i", centred @ optimal_map, centred)
    return np.asarray(of_mean + (centred * centred).sum(1) - moved)


def _optimal_map(source: Array, target: Array) -> Array:
    root = _power(target, 0.5)
    return np.asarray(root @ _power(root @ source @ root, -0.5) @ root)


def _power(matrix: Array, power: float) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    some = values > 1e-9 * max(float(values[-1]), 1e-300)
    raised = np.zeros_like(values)
    raised[some] = values[some] ** power
    return np.asarray((vectors * raised) @ vectors.T)


def _variances(matrix: Array) -> Array:
    return np.clip(np.linalg.eigvalsh(matrix), 0, None)


def _pairs(variances: Array) -> Array:
    total = np.add.outer(variances, variances)
    product = np.multiply.outer(variances, variances)
    halves: Array = np.divide(product, total, out=np.zeros_like(total), where=total > 0)
    return halves


def _second_order(variances: Array) -> float:
    pairs = _pairs(variances)
    return float(2 * (variances**2).sum() + (pairs**2).sum() + (np.diag(pairs) ** 2).sum())


def frechet_bias(y: Array, n: int) -> float:
    """Compute the bias of the Fréchet distance of n examples to y (m, f), for Gaussian features.

    (1/n + 1/m) (tr C + sum_ij (1 + d_ij) l_i l_j / (l_i + l_j) / 2): exact to the order of 1/n for
    clouds of one Gaussian.
    """
    variances = _variances(covariance(y))
    pairs = _pairs(variances)
    return float((1 / n + 1 / len(y)) * (variances.sum() + (pairs.sum() + np.trace(pairs)) / 2))


def sliced_terms(first: Array, second: Array) -> Terms:
    """Compute the terms of the squared sliced W2 of projections (n, directions): dual potentials.

    References:
        del Barrio, Giné and Utzet, Asymptotics for L2 functionals of the empirical quantile
        process, 2005.
    """
    order_first = np.argsort(first, 0)
    order_second = np.argsort(second, 0)
    a = np.take_along_axis(first, order_first, 0)
    b = np.take_along_axis(second, order_second, 0)
    return _line_terms(order_first, a, b), _line_terms(order_second, b, a)


def _line_terms(order: NDArray[np.int64], own: Array, other: Array) -> Array:
    n, directions = own.shape
    terms = np.zeros(n)
    for at in range(directions):
        gap = 2 * (own[:, at] - other[:, at])
        rise = np.diff(own[:, at], prepend=own[0, at])
        gradient = (gap + np.concatenate([gap[:1], gap[:-1]])) / 2
        potential = np.cumsum(gradient * rise)
        terms[order[:, at]] += potential - potential.mean()
    terms /= directions
    return terms


def matching_potentials(costs: Array, columns: NDArray[np.int64]) -> tuple[Array, Array]:
    """Compute the dual potentials (u, v) of an optimal matching of row i with column columns[i].

    They satisfy u_i + v_j <= c_ij, with equality for matched pairs.
    """
    n = len(costs)
    matched = costs[np.arange(n), columns]
    # from example j to i: u_i <= c_ij - v_j = c_ij - c_jj + u_j
    lengths = costs.T[columns] - matched[:, None]
    u = np.zeros(n)
    changed = np.arange(n)
    for _ in range(n):
        lower = (lengths[changed] + u[changed, None]).min(0)
        closer = lower < u
        if not closer.any():
            break
        u[closer] = lower[closer]
        changed = np.flatnonzero(closer)
    v = np.empty(n)
    v[columns] = matched - u
    return u, v


def by_blocks(
    scores: Callable[[Array, Array], Array], x: Array, y: Array, least: int
) -> Array | None:
    """Compute standard errors of scores (k,) from disjoint blocks of clouds in random order.

    Each block of one cloud is used against two of the other. None if blocks are smaller than
    ``least``.
    """
    from scipy.special import stdtrit

    n = min(len(x), len(y))
    count = max(BLOCKS, n // BLOCK)
    size = n // count
    if size < least:
        return None
    x_blocks = np.split(x[: count * size], count)
    y_blocks = np.split(y[: count * size], count)
    aligned = list(map(scores, x_blocks, y_blocks))
    turned = list(map(scores, x_blocks, y_blocks[1:] + y_blocks[:1]))
    variance = np.var([aligned, turned], axis=1, ddof=1).mean(0)
    error = np.sqrt(variance / count)
    return np.asarray(error * stdtrit(1.5 * (count - 1), 0.975) / 1.96)
