"""Exact and sliced Wasserstein distances, and the Sinkhorn divergence."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from pushforward.errors import Diverged, UsageError
from pushforward.metrics.growth import Growth, divisions, growth_of, norm_growth, rounds
from pushforward.metrics.score import MetricInfo, Samples, Score
from pushforward.metrics.subsets import by_examples, drawn, drawn_at, placed
from pushforward.metrics.uncertainty import (
    Errors,
    Terms,
    errors,
    matching_potentials,
    root_errors,
    sliced_terms,
)

BLOCK = 1000  # Examples on either side that are matched at a time: the time of an exact matching grows with their cube
BLOCKS = 2
# Of the sliced distance, and of its errors
DIRECTIONS = 512
FEWER = 128
SLICED = 4000  # Examples on either side whose projections are compared, at most


def transport_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Compute the exact 2-Wasserstein distance W2 between two clouds of n points, (n, d) each.

    The root of the smallest mean squared distance over all matchings of the points, in the units of
    the columns.

    Args:
        x: First cloud, (n, d).
        y: Second cloud, (n, d).

    Raises:
        UsageError: If the clouds differ in size.

    References:
        Peyré and Cuturi, Computational Optimal Transport, 2019, arXiv:1803.00567, section 2.2.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    if len(x) != len(y):
        raise UsageError(
            f"`x` and `y` must have the same number of points, got {len(x)} and {len(y)}."
        )
    costs = cdist(np.asarray(x, np.float64), np.asarray(y, np.float64), "sqeuclidean")
    return float(np.sqrt(costs[linear_sum_assignment(costs)].mean()))


# The squared distances (n, n) of a block's points, and the number of the one that each is matched with
Matching = tuple[np.ndarray, np.ndarray]


def matchings(
    x: np.ndarray, y: np.ndarray, *, block: int = BLOCK, blocks: int = BLOCKS
) -> Iterator[Matching]:
    """Compute exact matchings of disjoint blocks of two clouds, (n, d) and (m, d), of any size and in any order.

    Args:
        x: First cloud, (n, d).
        y: Second cloud, (m, d).
        block: Number of points per block.
        blocks: Maximum number of blocks.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    for first, second in _blocks(x, y, block, blocks):
        costs = cdist(first, second, "sqeuclidean")
        yield costs, linear_sum_assignment(costs)[1]


def transport_score(matched: Sequence[Matching]) -> float:
    """Compute W2 for clouds of any size: the root mean square over `matchings` of disjoint blocks.

    It is above 0 for two draws from one distribution and falls with the block size, so compare at
    equal n and with the real-data score. With more than a few columns, this bias is large and
    favours samples that lack diversity.
    """
    distances = [
        float(np.sqrt(costs[np.arange(len(costs)), columns].mean())) for costs, columns in matched
    ]
    return float(np.sqrt(np.mean([distance**2 for distance in distances])))


def _blocks(
    x: np.ndarray, y: np.ndarray, block: int = BLOCK, blocks: int = BLOCKS
) -> list[tuple[np.ndarray, np.ndarray]]:
    n = min(len(x), len(y), block * blocks)
    size = min(n, block)
    x, y = (
        np.asarray(drawn(examples, n, seed), np.float64) for seed, examples in enumerate((x, y))
    )
    return [(x[at : at + size], y[at : at + size]) for at in range(0, n - size + 1, size)]


def transport_growth(x: np.ndarray, y: np.ndarray, first_order: Errors) -> Growth:
    """Compute the growth of the variance of `transport_score`; ``first_order`` has the errors from example terms."""
    blocks = _blocks(x, y)
    size = len(blocks[0][0])
    distances = []
    for at, (first, second) in enumerate(divisions(size, size, rounds(size))):
        pooled = np.concatenate(blocks[at % len(blocks)])
        distances.append(transport_distance(pooled[first], pooled[second]))
    return norm_growth(distances, first_order, size, size, len(blocks))


def transport_errors(matched: Sequence[Matching]) -> Errors:
    """Compute the standard error of `transport_score` about its mean at this n, and its part from the second cloud.

    References:
        del Barrio and Loubes, Central limit theorems for empirical transportation cost in general dimension, 2019.
    """
    terms = []
    for costs, columns in matched:
        of_x, of_y = matching_potentials(costs, columns)
        terms.append((of_x - of_x.mean(), of_y - of_y.mean()))
    parts = [np.concatenate(side) for side in zip(*terms, strict=True)]
    return root_errors(transport_score(matched), errors(parts[0], parts[1]))


def sliced_errors_of(x: np.ndarray, y: np.ndarray) -> tuple[Errors, Growth, Terms]:
    """Measure the errors of `sliced_distance` for clouds of equal size, with fewer directions.

    Returns:
        Errors, growth of the variance with the mean, and terms.
    """
    first, second = _projected(x, y, FEWER)
    value = float(np.sqrt(np.square(np.sort(first, 0) - np.sort(second, 0)).mean()))
    of_x, of_y = sliced_terms(first, second)
    first_order = root_errors(value, errors(of_x, of_y))
    lines = np.concatenate([first, second])
    order = np.argsort(lines.T, 1)
    distances = []
    rising = np.take_along_axis(lines.T, order, 1)
    for chosen, _ in divisions(len(x), len(y), rounds(len(x))):
        inside = np.zeros(len(lines), bool)
        inside[chosen] = True
        here = inside[order]
        gaps = rising[here].reshape(FEWER, -1) - rising[~here].reshape(FEWER, -1)
        distances.append(float(np.sqrt(np.square(gaps).mean())))
    scale = 1 / (2 * max(value, 1e-12))  # of the root, by the delta method
    return (
        first_order,
        norm_growth(distances, first_order, len(x), len(y)),
        (scale * of_x, scale * of_y),
    )


def _projected(x: np.ndarray, y: np.ndarray, directions: int) -> list[np.ndarray]:
    axes = np.random.Generator(np.random.Philox(0)).standard_normal((x.shape[1], directions))
    axes /= np.linalg.norm(axes, axis=0)
    return [np.asarray(examples, np.float64) @ axes for examples in (x, y)]


def sliced_distance(x: np.ndarray, y: np.ndarray, directions: int = DIRECTIONS) -> float:
    """Compute the sliced 2-Wasserstein distance, with fixed random directions.

    Args:
        x: First cloud, (n, f).
        y: Second cloud, (m, f); if n and m differ, quantiles at equal levels are compared.
        directions: Number of directions.

    References:
        Bonneel et al., Sliced and Radon Wasserstein Barycenters of Measures, 2015.
    """
    first, second = (np.sort(lines, axis=0) for lines in _projected(x, y, directions))
    if len(first) != len(second):
        levels = (np.arange(max(len(first), len(second))) + 0.5) / max(len(first), len(second))
        first, second = (
            np.quantile(examples, levels, axis=0, method="inverted_cdf")
            for examples in (first, second)
        )
    return float(np.sqrt(np.square(first - second).mean()))


class Wasserstein:
    """Exact W2 of points in model units, and sliced W2 of features of any data."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "w2": MetricInfo(
            "Wasserstein distance W2",
            "lower",
            f"Root mean square distance of the optimal matching of samples and real examples, at most {BLOCK:,} of each "
            "at a time, in standard deviations of the columns.",
            group="Two-sample comparisons",
            least=0.0,
            root=True,
        ),
        "sliced_w2": MetricInfo(
            "Sliced W2",
            "lower",
            f"Root mean square transport distance between samples and real data along {DIRECTIONS} directions of features.",
            group="Two-sample comparisons",
            least=0.0,
            root=True,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is None and samples.fewest > 1

    def left_out(self, samples: Samples) -> tuple[str, ...]:
        if len(samples.shape) > 1:
            return ("w2",)
        return ()

    def __call__(self, samples: Samples) -> dict[str, Score]:
        sliced = _sliced(samples)
        if len(samples.shape) > 1:
            return {"sliced_w2": sliced}
        x, y = samples.points
        matched = list(matchings(x, y))
        score = Score(transport_score(matched))
        if samples.errors:
            first_order = transport_errors(matched)
            score = _with_errors(score, first_order, transport_growth(x, y, first_order))
        return {"w2": score, "sliced_w2": sliced}


def _sliced(samples: Samples) -> Score:
    x = samples.generated_features
    y = samples.reference_features
    at_x = drawn_at(x, SLICED, 0)
    at_y = drawn_at(y, SLICED, 1)
    score = Score(sliced_distance(x[at_x], y[at_y]))
    if not samples.errors or len(at_x) != len(at_y):
        return score
    first_order, growth, (of_x, of_y) = sliced_errors_of(x[at_x], y[at_y])
    return replace(
        _with_errors(score, first_order, growth),
        sample_terms=by_examples(placed(of_x, at_x, len(x))),
        reference_terms=by_examples(placed(of_y, at_y, len(y))),
    )


def _with_errors(score: Score, first_order: Errors, growth: Growth) -> Score:
    return replace(score, error=first_order[0], reference_error=first_order[1], growth=growth)


MOST = 500  # Examples on either side that are compared, at most: memory and time grow with their square
PART = 0.05  # The regularisation as a share of the median squared distance between real examples
# The mean relative error of the marginals at which a solve ends, its rounds at most, and scalings within a round
TOLERANCE = 1e-3
ROUNDS = 200
INNER = 20


def divergence_terms(x: np.ndarray, y: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute the contribution of each example to the Sinkhorn divergence of two clouds, in squared units of the columns.

    The divergence is the sum of both means, ``OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2`` with OT the cost of `potentials`; the
    terms are the dual potential of an example less that to its own cloud. It is 0 for equal clouds and above 0 for others. With
    falling epsilon it goes to W2 squared, with rising epsilon to the squared distance between the means.

    Args:
        x: First cloud, (n, d).
        y: Second cloud, (m, d).
        epsilon: Regularisation, above 0, in squared units.

    Raises:
        UsageError: If epsilon is not above 0.
        Diverged: If Sinkhorn iterations do not reach the marginals.

    References:
        Feydy et al., Interpolating between optimal transport and MMD using Sinkhorn divergences, 2019, arXiv:1810.08278, eq. 3.
        González-Sanz, Loubes and Niles-Weed, Weak limits of entropy regularized optimal transport, 2022, arXiv:2207.07427:
        these are the terms of the first order of the divergence as well.
    """
    from scipy.spatial.distance import cdist

    if not epsilon > 0:
        raise UsageError(f"`epsilon` must be above 0, got {epsilon}.")
    x = np.asarray(x, np.float64)
    y = np.asarray(y, np.float64)
    of_x, of_y = potentials(cdist(x, y, "sqeuclidean"), epsilon)
    own_x, own_y = (
        _own_potential(cdist(examples, examples, "sqeuclidean"), epsilon) for examples in (x, y)
    )
    return of_x - own_x, of_y - own_y


def potentials(costs: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute the dual potentials of an entropic transport plan with uniform marginals.

    The cost is the expected cost plus epsilon times the KL divergence of the plan from
    independence. Sinkhorn's scalings, in the log domain while epsilon falls from the largest cost
    by quarters and at the start of each round, and in the linear domain within a round, where their
    range is small.

    Args:
        costs: Cost matrix, (n, m), at least 0.
        epsilon: Regularisation, in the unit of the costs.

    Raises:
        Diverged: If the marginals are not reached in 200 rounds of 20 scalings.

    References:
        Cuturi, Sinkhorn distances, 2013, arXiv:1306.0895. Schmitzer, Stabilized sparse scaling
        algorithms for entropy regularized transport problems, 2019, arXiv:1610.06519, algorithm 2.
    """
    of_columns = np.zeros(costs.shape[1])
    for level in _levels(float(costs.max()), epsilon):
        of_rows = _softmin(costs, of_columns, level)
        of_columns = _softmin(costs.T, of_rows, level)
    for _ in range(ROUNDS):
        rows, columns, error = _scaled(
            np.exp((of_rows[:, None] + of_columns - costs) / epsilon) / costs.size
        )
        of_rows = of_rows + epsilon * np.log(rows)
        of_columns = of_columns + epsilon * np.log(columns)
        if error < TOLERANCE:
            return of_rows, of_columns
    raise _unsolved(error)


def _scaled(plan: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    n, m = plan.shape
    rows = np.ones(n)
    columns = np.ones(m)
    for _ in range(INNER):
        reached = n * (plan @ columns)
        error = float(np.abs(rows * reached - 1).mean())
        rows = 1 / reached
        columns = 1 / (m * (rows @ plan))
        if error < TOLERANCE:
            break
    return rows, columns, error


def _own_potential(costs: np.ndarray, epsilon: float) -> np.ndarray:
    potential = np.zeros(len(costs))
    for level in _levels(float(costs.max()), epsilon):
        potential = (potential + _softmin(costs, potential, level)) / 2
    for _ in range(ROUNDS):
        scaled = _softmin(costs, potential, epsilon)
        error = float(np.abs(np.expm1((potential - scaled) / epsilon)).mean())
        potential = (potential + scaled) / 2
        if error < TOLERANCE:
            return np.asarray(potential)
    raise _unsolved(error)


def _unsolved(error: float) -> Diverged:
    return Diverged(
        f"The Sinkhorn iterations did not converge (relative error {error:.1e}). Increase the regularisation."
    )


def _levels(start: float, end: float) -> Iterator[float]:
    while start > end:
        yield start
        start /= 4
    yield end


def _softmin(costs: np.ndarray, potential: np.ndarray, epsilon: float) -> np.ndarray:
    exponents = (potential - costs) / epsilon
    highest = exponents.max(1)
    return np.asarray(-epsilon * (highest + np.log(np.exp(exponents - highest[:, None]).mean(1))))


def _second_order(y: np.ndarray, epsilon: float) -> tuple[float, float]:
    """The variance and the mean of the divergence between two clouds of the distribution of ``y``, from its halves.

    There the first order is 0, and the variance that the terms show is twice that of the second. The variance is over
    (1/n + 1/m)^2, the mean over 1/n + 1/m.
    """
    halves = y[::2], y[1::2]
    terms = divergence_terms(*halves, epsilon)
    over = sum(1 / len(half) for half in halves)
    error, _ = errors(*terms)
    return float(error**2 / 2 / over**2), float(sum(side.mean() for side in terms) / over)


class Sinkhorn:
    """Sinkhorn divergence of the features of generated and held-out examples."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "sinkhorn": MetricInfo(
            "Sinkhorn divergence",
            "lower",
            "Squared transport distance with entropic regularisation between the features of samples and real data, "
            f"from at most {MOST:,} of each. It is above 0 even for real data, especially with few examples.",
            group="Two-sample comparisons",
            least=0.0,
        )
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is None and samples.fewest > 3

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """Compute one score, "sinkhorn"; ``extra`` has the regularisation as "epsilon".

        It is omitted if most real examples are equal, or samples are so far away that the
        iterations do not converge.
        """
        from scipy.spatial.distance import pdist

        x = drawn(samples.generated_features, MOST, 0)
        y = drawn(samples.reference_features, MOST, 1)
        epsilon = PART * float(np.median(pdist(y, "sqeuclidean")))
        with contextlib.suppress(Diverged, UsageError):
            of_x, of_y = divergence_terms(x, y, epsilon)
            value, (second, bias) = float(of_x.mean() + of_y.mean()), _second_order(y, epsilon)
            error, shared = errors(of_x, of_y, second)
            growth = growth_of(of_x, of_y, second, value, bias * (1 / len(x) + 1 / len(y)))
            return {
                "sinkhorn": Score(
                    value,
                    error=error,
                    reference_error=shared,
                    growth=growth,
                    extra={"epsilon": epsilon},
                )
            }
        return {}
