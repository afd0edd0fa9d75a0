"""Sinkhorn divergence: optimal transport with entropy, without the bias that entropy brings."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import ClassVar

import numpy as np

from pushforward.errors import Diverged, UsageError
from pushforward.metrics.growth import growth_of
from pushforward.metrics.score import MetricInfo, Samples, Score
from pushforward.metrics.subsets import drawn
from pushforward.metrics.uncertainty import errors

MOST = 500  # Examples on either side that are compared, at most: memory and time grow with their square
PART = 0.05  # The regularisation as a share of the median squared distance between real examples
# The mean relative error of the marginals at which a solve ends, its rounds at most, and scalings within a round
TOLERANCE, ROUNDS, INNER = 1e-3, 200, 20


def divergence_terms(x: np.ndarray, y: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """What each example adds to the Sinkhorn divergence of two clouds for squared distances, in squared units of the columns.

    The divergence is the sum of both means, ``OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2`` with OT the cost of `potentials`; the
    terms are the dual potential of an example less that to its own cloud. It is 0 for equal clouds and above 0 for others. With
    falling epsilon it goes to W2 squared, with rising epsilon to the squared distance between the means.

    Args:
        x: (n, d).
        y: (m, d).
        epsilon: The regularisation, above 0, in squared units.

    Raises:
        UsageError: If epsilon is not above 0.
        Diverged: If a solve does not reach its marginals.

    References:
        Feydy et al., Interpolating between optimal transport and MMD using Sinkhorn divergences, 2019, arXiv:1810.08278, eq. 3.
        González-Sanz, Loubes and Niles-Weed, Weak limits of entropy regularized optimal transport, 2022, arXiv:2207.07427:
        these are the terms of the first order of the divergence as well.
    """
    from scipy.spatial.distance import cdist

    if not epsilon > 0:
        raise UsageError(f"The regularisation of a Sinkhorn divergence must be above 0, got {epsilon}.")
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    of_x, of_y = potentials(cdist(x, y, "sqeuclidean"), epsilon)
    own_x, own_y = (_own_potential(cdist(examples, examples, "sqeuclidean"), epsilon) for examples in (x, y))
    return of_x - own_x, of_y - own_y


def potentials(costs: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """The dual potentials of rows and columns, the sum of whose means is the least cost of a plan between uniform marginals.

    That is the expected cost plus epsilon times the KL divergence of the plan from independence. Sinkhorn's scalings, in the log
    domain while epsilon falls from the largest cost by quarters and at the start of each round, and in the linear domain within
    a round, where their range is small.

    Args:
        costs: (n, m), at least 0.
        epsilon: The regularisation, in the unit of the costs.

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
        rows, columns, error = _scaled(np.exp((of_rows[:, None] + of_columns - costs) / epsilon) / costs.size)
        of_rows, of_columns = of_rows + epsilon * np.log(rows), of_columns + epsilon * np.log(columns)
        if error < TOLERANCE:
            return of_rows, of_columns
    raise _unsolved(error)


def _scaled(plan: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    n, m = plan.shape
    rows, columns = np.ones(n), np.ones(m)
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
        f"The Sinkhorn scalings did not reach their marginals (relative error {error:.1e}): raise the regularisation."
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
    terms, over = divergence_terms(*halves, epsilon), sum(1 / len(half) for half in halves)
    error, _ = errors(*terms)
    return float(error**2 / 2 / over**2), float(sum(side.mean() for side in terms) / over)


class Sinkhorn:
    """Sinkhorn divergence of the features of generated and held-out examples."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "sinkhorn": MetricInfo(
            "Sinkhorn divergence",
            "lower",
            f"Squared transport distance between the features of samples and real data, smoothed by entropy, by at most {MOST:,} "
            "of them; above 0 for real data too, and the more so the fewer there are.",
            group="Two-sample comparisons",
            least=0.0,
        )
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is None and min(len(samples.generated), len(samples.reference)) > 3

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """One score, "sinkhorn"; ``extra`` has the regularisation as "epsilon".

        It is left out where most real examples are equal, or samples lie so far away that no solve
        reaches its marginals.
        """
        from scipy.spatial.distance import pdist

        x, y = drawn(samples.generated_features, MOST, 0), drawn(samples.reference_features, MOST, 1)
        epsilon = PART * float(np.median(pdist(y, "sqeuclidean")))
        with contextlib.suppress(Diverged, UsageError):
            of_x, of_y = divergence_terms(x, y, epsilon)
            value, (second, bias) = float(of_x.mean() + of_y.mean()), _second_order(y, epsilon)
            error, shared = errors(of_x, of_y, second)
            growth = growth_of(of_x, of_y, second, value, bias * (1 / len(x) + 1 / len(y)))
            return {"sinkhorn": Score(value, error=error, reference_error=shared, growth=growth, extra={"epsilon": epsilon})}
        return {}
