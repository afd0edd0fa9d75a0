"""Standard errors of scores of two clouds, from what each example adds to them.

A score is a function of two samples. To first order its error is a sum of terms, one for each example (its influence), so that
its variance is that of the terms over their number, on either side. Where the clouds have one distribution the first order is
0 and the second remains; the terms that are measured then overstate the variance twofold, so what the second order adds is
taken off once. All results are pairs: the standard error of a score over new examples on both sides, and the part of
it that comes from the reference, which all samplings of a model share.

References:
    Efron and Stein, The jackknife estimate of variance, 1981. van der Vaart, Asymptotic Statistics, 1998, chapters 12 and 20.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.growth import Growth, divergence, growth_of

Errors = tuple[
    float, float
]  # The standard error of a score, and the part of it that comes from the reference
Array = NDArray[np.float64]
Terms = tuple[
    Array, Array
]  # What each generated (n,) and each reference example (m,) adds to n and m times a score
# Examples of a block at most, and the fewest blocks
BLOCK = 1000
BLOCKS = 4


def errors(generated: Array, reference: Array | None = None, second: float = 0.0) -> Errors:
    """Compute standard errors from the terms of the examples.

    Args:
        generated: Contributions of generated examples to n times the score, up to a constant, (n,).
        reference: Contributions of reference examples, (m,); None if the score does not depend on
            them.
        second: Second-order variance divided by (1/n + 1/m)^2, for clouds of one distribution.
    """
    n = len(generated)
    of_generated = float(np.var(generated, ddof=1)) / n - second / n**2
    if reference is None:
        return math.sqrt(max(of_generated, second / n**2)), 0.0
    m = len(reference)
    of_reference = float(np.var(reference, ddof=1)) / m - second * (1 / m**2 + 2 / (n * m))
    total = max(of_generated + of_reference, second * (1 / n + 1 / m) ** 2)
    return math.sqrt(total), math.sqrt(min(max(of_reference, second / m**2), total))


def root_errors(value: float, of_square: Errors) -> Errors:
    """Compute the errors of a score from the errors of its square, by the delta method."""
    scale = 1 / (2 * value) if value > 0 else 0.0
    return of_square[0] * scale, of_square[1] * scale


def share_error(count: float, n: float) -> float:
    """Compute the standard error of a fraction count / n, with two successes and two failures added.

    References:
        Agresti and Coull, Approximate is better than "exact" for interval estimation of binomial proportions, 1998.
    """
    share = (count + 2) / (n + 4)
    return math.sqrt(share * (1 - share) / (n + 4))


def area(x: Array, y: Array) -> tuple[Array, Array]:
    """Compute the terms of the area under the ROC curve, the frequency of values of x above values of y.

    The area is the mean of the terms of either side. Its variance is the sum over both sides of
    variance divided by number.

    Args:
        x: First values, (n,).
        y: Second values, (m,).

    Returns:
        For each value of x the fraction of y below it, (n,), and for each value of y the fraction
            of x above it, (m,).

    References:
        DeLong, DeLong and Clarke-Pearson, Comparing the areas under two or more correlated receiver operating characteristic
        curves, 1988.
    """
    from scipy.stats import rankdata

    n = len(x)
    m = len(y)
    ranks = rankdata(np.concatenate([x, y]))
    return (ranks[:n] - rankdata(x)) / m, 1 - (ranks[n:] - rankdata(y)) / n


def area_errors(above: Array, below: Array) -> Errors:
    """Compute the standard error of an `area` over new values on both sides, and its part from the second side."""
    of_second = float(np.var(below, ddof=1)) / len(below) if len(below) > 1 else 0.0
    of_first = float(np.var(above, ddof=1)) / len(above) if len(above) > 1 else 0.0
    return math.sqrt(of_first + of_second), math.sqrt(of_second)


def divergence_error(counts: NDArray[np.int64], weights: Array) -> float:
    """Compute the standard error of the reverse KL divergence between counts and true fractions.

    Args:
        counts: Counts, (k,).
        weights: True fractions, (k,).
    """
    n = int(counts.sum())
    if n == 0:
        return 0.0
    first = divergence(counts / n, weights)[1] / n
    second = (len(counts) - 1) / (2 * n**2)
    return math.sqrt(max(first - second, second))


def kernel_errors(xx: Array, yy: Array, xy: Array) -> tuple[Errors, Growth, Terms]:
    """Compute the errors, the growth of the variance and the terms of a kernel distance over different pairs.

    Args:
        xx: Kernel between generated examples, (n, n); the diagonal is used only for the growth.
        yy: Kernel between reference examples, (m, m).
        xy: Kernel between both, (n, m).
    """
    n, m = xy.shape
    of_x, of_y = (square.sum(1) - np.diag(square) for square in (xx, yy))
    rows = xy.mean(1)
    columns = xy.mean(0)
    mean_x = of_x / (n - 1)
    mean_y = of_y / (m - 1)
    own = _centred_square(xx, mean_x, mean_x, 1) + _centred_square(yy, mean_y, mean_y, 1)
    second = (own + 2 * _centred_square(xy, rows, columns, 0)) / 2
    biased = (
        mean_x.mean() + mean_y.mean() - 2 * rows.mean()
    )  # with the pairs of an example with itself: never below 0
    biased += (np.diag(xx).mean() - mean_x.mean()) / n + (np.diag(yy).mean() - mean_y.mean()) / m
    terms = 2 * (mean_x - rows), 2 * (mean_y - columns)
    return errors(*terms, second), growth_of(*terms, second, float(biased)), terms


def _centred_square(kernel: Array, rows: Array, columns: Array, own: int) -> float:
    total = 0.0
    count = kernel.size - own * len(kernel)
    centre = float(rows.mean())
    for start in range(0, len(kernel), 1000):
        part = slice(start, start + 1000)
        centred = kernel[part] - rows[part, None] - columns[None, :] + centre
        if own:
            at = np.arange(len(centred))
            centred[at, at + start] = 0.0
        total += float(np.einsum("ij,ij->", centred, centred))
    return total / count


def frechet_errors(x: Array, y: Array, distance: float = 0.0) -> tuple[Errors, Growth, Terms]:
    """Compute the errors, the growth of the variance and the terms of the Fréchet distance.

    Args:
        x: First cloud, (n, f).
        y: Second cloud, (m, f).
        distance: Fréchet distance, for the growth.

    References:
        The derivative of the distance by a covariance is 1 - T with the optimal map T between the Gaussians: Takatsu,
        Wasserstein geometry of Gaussian measures, 2011.
    """
    a = x - x.mean(0)
    b = y - y.mean(0)
    c, d = (part.T @ part / max(len(part) - 1, 1) for part in (a, b))
    gap = x.mean(0) - y.mean(0)
    forth = _map(c, d)
    back = _map(d, c)
    of_x = 2 * a @ gap + (a * a).sum(1) - np.einsum("ij,ij->i", a @ forth, a)
    of_y = -2 * b @ gap + (b * b).sum(1) - np.einsum("ij,ij->i", b @ back, b)
    values = np.clip(np.linalg.eigvalsh((c + d) / 2), 0, None)
    second = _second_order(values)
    growth = growth_of(of_x, of_y, second, distance, frechet_bias(y, len(x)))
    return errors(of_x, of_y, second), growth, (of_x, of_y)


def _map(of: Array, to: Array) -> Array:
    root = _power(to, 0.5)
    return np.asarray(root @ _power(root @ of @ root, -0.5) @ root)


def _power(matrix: Array, power: float) -> Array:
    values, vectors = np.linalg.eigh(matrix)
    some = values > 1e-9 * max(float(values[-1]), 1e-300)
    raised = np.where(some, np.where(some, values, 1.0) ** power, 0.0)
    return np.asarray((vectors * raised) @ vectors.T)


def _pairs(values: Array) -> Array:
    total = values[:, None] + values[None, :]
    return np.divide(
        values[:, None] * values[None, :], total, out=np.zeros_like(total), where=total > 0
    )


def _second_order(values: Array) -> float:
    """The variance of the distance between two clouds of one Gaussian, times (1/n + 1/m)^-2, for these variances."""
    pairs = _pairs(values)
    return float(2 * (values**2).sum() + (pairs**2).sum() + (np.diag(pairs) ** 2).sum())


def frechet_bias(y: Array, n: int) -> float:
    """Compute the bias of the Fréchet distance at n examples relative to infinitely many, for Gaussian features.

    Exact to the order of 1/n for clouds of one Gaussian: (1/n + 1/m)(tr C + sum_ij (1 + d_ij) l_i l_j / (l_i + l_j) / 2).

    Args:
        y: Reference features, (m, f).
        n: Number of examples on the other side.
    """
    centred = y - y.mean(0)
    values = np.clip(np.linalg.eigvalsh(centred.T @ centred / max(len(y) - 1, 1)), 0, None)
    pairs = _pairs(values)
    return float((1 / n + 1 / len(y)) * (values.sum() + (pairs.sum() + np.trace(pairs)) / 2))


def sliced_terms(first: Array, second: Array) -> Terms:
    """Compute the terms of the squared sliced W2 of clouds with equal size.

    Args:
        first: Projections of generated examples, (n, directions).
        second: Projections of reference examples, (n, directions).

    References:
        del Barrio, Giné and Utzet, Asymptotics for L2 functionals of the empirical quantile process, 2005: the term of an
        example is the dual potential at its place.
    """
    of_first = np.argsort(first, 0)
    of_second = np.argsort(second, 0)
    a = np.take_along_axis(first, of_first, 0)
    b = np.take_along_axis(second, of_second, 0)
    terms = (np.zeros(len(a)), np.zeros(len(b)))
    for at in range(a.shape[1]):
        for term, order, own, other in ((terms[0], of_first, a, b), (terms[1], of_second, b, a)):
            gap = 2 * (own[:, at] - other[:, at])
            rise = np.diff(own[:, at], prepend=own[0, at])
            slope = (gap + np.concatenate([gap[:1], gap[:-1]])) / 2
            potential = np.cumsum(slope * rise)
            term[order[:, at]] += potential - potential.mean()
    return terms[0] / a.shape[1], terms[1] / a.shape[1]


def matching_potentials(costs: Array, columns: NDArray[np.int64]) -> tuple[Array, Array]:
    """Compute the dual potentials (u, v) of an optimal matching.

    They satisfy u_i + v_j <= c_ij, with equality if i is matched with j = columns[i].

    Args:
        costs: Cost matrix, (n, n).
        columns: Matching from `scipy.optimize.linear_sum_assignment`, (n,).
    """
    matched = costs[np.arange(len(costs)), columns]
    lengths = (
        costs.T[columns] - matched[:, None]
    )  # from example j to i: u_i <= c_ij - v_j = c_ij - c_jj + u_j
    u = np.zeros(len(costs))
    changed = np.arange(len(costs))
    for _ in range(len(costs)):
        lower = (lengths[changed] + u[changed, None]).min(0)
        closer = lower < u
        if not closer.any():
            break
        u[closer], changed = (
            lower[closer],
            np.flatnonzero(closer),
        )  # others were compared with before
    v = np.empty(len(costs))
    v[columns] = matched - u
    return u, v


def by_blocks(
    scores: Callable[[Array, Array], Array], x: Array, y: Array, least: int
) -> Array | None:
    """Compute standard errors of scores from disjoint blocks of both clouds.

    At least four blocks of at most `BLOCK` examples are used, each block of one cloud against two
    of the other. Because so few blocks are uncertain, the result is widened so that twice the error
    is an interval (Student's t).

    Args:
        scores: Function from two clouds to scores (k,).
        x: First cloud in random order, (n, f).
        y: Second cloud, (n, f).
        least: Minimum block size.

    Returns:
        Standard errors (k,); None if there are too few examples.
    """
    from scipy.special import stdtrit

    n = min(len(x), len(y))
    blocks = max(BLOCKS, n // BLOCK)
    size = n // blocks
    if size < least:
        return None
    parts = [slice(at * size, (at + 1) * size) for at in range(blocks)]
    turned = [parts, parts[1:] + parts[:1]]
    values = np.array(
        [
            [scores(x[part], y[other]) for part, other in zip(parts, others, strict=True)]
            for others in turned
        ]
    )
    spread: Array = np.sqrt(values.var(1, ddof=1).mean(0) / blocks)
    return np.asarray(spread * stdtrit(1.5 * (blocks - 1), 0.975) / 1.96)
