"""Exact and sliced Wasserstein distances, and the Sinkhorn divergence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from pushforward.errors import Diverged, UsageError
from pushforward.metrics.growth import VarianceModel, divisions, growth_of, norm_growth, rounds
from pushforward.metrics.score import Infos, MetricInfo, Samples, Score, Scores
from pushforward.metrics.subsets import Array, drawn, drawn_at, fixed_random
from pushforward.metrics.uncertainty import (
    Errors,
    Influence,
    errors,
    matching_potentials,
    root_errors,
    sliced_terms,
)

BLOCK = 1000  # Examples per side that are matched at a time: time grows with their cube
BLOCKS = 2
DIRECTIONS = 512  # of the sliced distance
FEWER = 128  # Directions for the errors of the sliced distance
SLICED = 4000  # Maximum number of examples per side for the sliced distance


class Matching(NamedTuple):
    """Optimal matching of n points: squared distances (n, n), and the matched ``columns``."""

    costs: Array
    columns: Array

    @property
    def distance(self) -> float:
        """Return W2, the root mean squared distance between matched points."""
        matched = self.costs[np.arange(len(self.costs)), self.columns]
        return float(np.sqrt(matched.mean()))


def _matched(x: Array, y: Array) -> Matching:
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    costs = cdist(x, y, "sqeuclidean")
    _, columns = linear_sum_assignment(costs)
    return Matching(costs, columns)


def transport_distance(x: Array, y: Array) -> float:
    """Compute the exact 2-Wasserstein distance W2 between two clouds (n, d) of equal size.

    The root of the smallest mean squared distance over all matchings of the points.

    References:
        Peyré and Cuturi, Computational Optimal Transport, 2019, arXiv:1803.00567, section 2.2.
    """
    if len(x) != len(y):
        raise UsageError(
            f"`x` and `y` must have the same number of points, got {len(x)} and {len(y)}."
        )
    return _matched(x, y).distance


def matchings(
    x: Array, y: Array, *, block: int = BLOCK, blocks: int = BLOCKS
) -> Iterator[Matching]:
    """Compute exact matchings of disjoint random blocks of clouds (n, d) and (m, d)."""
    for first, second in _blocks(x, y, block, blocks):
        yield _matched(first, second)


def transport_score(matched: Sequence[Matching]) -> float:
    """Compute W2 for clouds of any size: the root mean square over `matchings` of disjoint blocks.

    It is above 0 for two draws from one distribution and falls with the block size.
    """
    squares = [matching.distance**2 for matching in matched]
    return float(np.sqrt(np.mean(squares)))


def _blocks(
    x: Array, y: Array, block: int = BLOCK, blocks: int = BLOCKS
) -> list[tuple[Array, Array]]:
    n = min(len(x), len(y), block * blocks)
    size = min(n, block)
    x = drawn(x, n, 0)
    y = drawn(y, n, 1)
    return [(x[at : at + size], y[at : at + size]) for at in range(0, n - size + 1, size)]


def transport_growth(x: Array, y: Array, first_order: Errors) -> VarianceModel:
    """Compute the growth of the variance of `transport_score`."""
    pooled = [np.concatenate(block) for block in _blocks(x, y)]
    size = len(pooled[0]) // 2
    distances = []
    for at, (first, second) in enumerate(divisions(size, size, rounds(size))):
        both = pooled[at % len(pooled)]
        distances.append(transport_distance(both[first], both[second]))
    return norm_growth(distances, first_order, size, size, len(pooled))


def transport_errors(matched: Sequence[Matching]) -> Errors:
    """Compute the standard error of `transport_score`, and its part from the second cloud.

    References:
        del Barrio and Loubes, Central limit theorems for empirical transportation cost in general
        dimension, 2019.
    """
    terms_x = []
    terms_y = []
    for matching in matched:
        u, v = matching_potentials(*matching)
        terms_x.append(u - u.mean())
        terms_y.append(v - v.mean())
    of_square = errors(np.concatenate(terms_x), np.concatenate(terms_y))
    return root_errors(transport_score(matched), of_square)


def sliced_errors_of(x: Array, y: Array) -> Influence:
    """Measure the errors of `sliced_distance` for clouds of equal size."""
    first = _projected(x, FEWER)
    second = _projected(y, FEWER)
    value = _root_mean_square(np.sort(first, 0) - np.sort(second, 0))
    terms_x, terms_y = sliced_terms(first, second)
    first_order = root_errors(value, errors(terms_x, terms_y))
    pooled = np.concatenate([first, second]).T
    order = np.argsort(pooled, 1)
    rising = np.take_along_axis(pooled, order, 1)
    distances = []
    for chosen, _ in divisions(len(x), len(y), rounds(len(x))):
        inside = np.zeros(len(x) + len(y), bool)
        inside[chosen] = True
        here = inside[order]
        gaps = rising[here].reshape(FEWER, -1) - rising[~here].reshape(FEWER, -1)
        distances.append(_root_mean_square(gaps))
    growth = norm_growth(distances, first_order, len(x), len(y))
    scale = 1 / (2 * max(value, 1e-12))  # of the root, by the delta method
    return Influence(first_order, growth, (scale * terms_x, scale * terms_y))


def _projected(x: Array, directions: int) -> Array:
    axes = fixed_random().standard_normal((x.shape[1], directions))
    axes /= np.linalg.norm(axes, axis=0)
    return x @ axes


def _root_mean_square(gaps: Array) -> float:
    return float(np.sqrt(np.square(gaps).mean()))


def sliced_distance(x: Array, y: Array, directions: int = DIRECTIONS) -> float:
    """Compute the sliced 2-Wasserstein distance of clouds (n, f) and (m, f), with fixed directions.

    If n and m differ, quantiles at equal levels are compared.

    References:
        Bonneel et al., Sliced and Radon Wasserstein Barycenters of Measures, 2015.
    """
    first = np.sort(_projected(x, directions), axis=0)
    second = np.sort(_projected(y, directions), axis=0)
    if len(x) != len(y):
        most = max(len(x), len(y))
        levels = (np.arange(most) + 0.5) / most
        first = np.quantile(first, levels, axis=0, method="inverted_cdf")
        second = np.quantile(second, levels, axis=0, method="inverted_cdf")
    return _root_mean_square(first - second)


class Wasserstein:
    """Exact W2 of points in model units, and sliced W2 of features of any data."""

    scores: ClassVar[Infos] = {
        "w2": MetricInfo(
            "Wasserstein distance W2",
            "lower",
            "Root mean square distance of the optimal matching of samples and real examples, at "
            f"most {BLOCK:,} of each at a time, in standard deviations of the columns.",
            group="Two-sample comparisons",
            least=0.0,
            root=True,
        ),
        "sliced_w2": MetricInfo(
            "Sliced W2",
            "lower",
            "Root mean square transport distance between samples and real data along "
            f"{DIRECTIONS} directions of features.",
            group="Two-sample comparisons",
            least=0.0,
            root=True,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is None and samples.fewest > 1

    def __call__(self, samples: Samples) -> Scores:
        sliced = _sliced(samples)
        if len(samples.shape) > 1:
            return {"sliced_w2": sliced}
        x, y = samples.points
        matched = list(matchings(x, y))
        distance = transport_score(matched)
        if not samples.errors:
            return {"w2": Score(distance), "sliced_w2": sliced}
        first_order = transport_errors(matched)
        error, reference_error = first_order
        growth = transport_growth(x, y, first_order)
        score = Score(distance, error=error, reference_error=reference_error, growth=growth)
        return {"w2": score, "sliced_w2": sliced}


def _sliced(samples: Samples) -> Score:
    x = samples.generated_features
    y = samples.reference_features
    at_x = drawn_at(x, SLICED, 0)
    at_y = drawn_at(y, SLICED, 1)
    distance = sliced_distance(x[at_x], y[at_y])
    if not samples.errors or len(at_x) != len(at_y):
        return Score(distance)
    influence = sliced_errors_of(x[at_x], y[at_y])
    return influence.among(at_x, at_y, len(x), len(y)).score(distance)


MOST = 500  # Maximum number of examples per side: memory and time grow with their square
PART = 0.05  # Regularisation relative to the median squared distance between real examples
TOLERANCE = 1e-3  # Mean relative error of the marginals at which iterations end
ROUNDS = 200
INNER = 20  # Scalings per round


def divergence_terms(x: Array, y: Array, epsilon: float) -> tuple[Array, Array]:
    """Compute the contribution of each example to the Sinkhorn divergence of clouds (n, d), (m, d).

    The divergence is the sum of both means, ``OT(x, y) - OT(x, x) / 2 - OT(y, y) / 2`` with OT the
    cost of `potentials`; the terms are the dual potential of an example minus that to its own
    cloud. The regularisation epsilon is in squared units of the columns.

    Raises:
        UsageError: If epsilon is not above 0.
        Diverged: If Sinkhorn iterations do not reach the marginals.

    References:
        Feydy et al., Interpolating between optimal transport and MMD using Sinkhorn divergences,
        2019, arXiv:1810.08278, equation 3.
        González-Sanz, Loubes and Niles-Weed, Weak limits of entropy regularized optimal transport,
        2022, arXiv:2207.07427: these are the terms of the first order of the divergence as well.
    """
    from scipy.spatial.distance import cdist

    if not epsilon > 0:
        raise UsageError(f"`epsilon` must be above 0, got {epsilon}.")
    f, g = potentials(cdist(x, y, "sqeuclidean"), epsilon)
    own_x = np.mean(potentials(cdist(x, x, "sqeuclidean"), epsilon), axis=0)
    own_y = np.mean(potentials(cdist(y, y, "sqeuclidean"), epsilon), axis=0)
    return f - own_x, g - own_y


def potentials(costs: Array, epsilon: float) -> tuple[Array, Array]:
    """Compute the dual potentials (f, g) of an entropic transport plan with uniform marginals.

    The cost is the expected cost plus epsilon times the KL divergence from independence.

    References:
        Cuturi, Sinkhorn distances, 2013, arXiv:1306.0895. Schmitzer, Stabilized sparse scaling
        algorithms for entropy regularized transport problems, 2019, arXiv:1610.06519, algorithm 2.
    """
    g = np.zeros(costs.shape[1])
    for level in _levels(float(costs.max()), epsilon):
        f = _softmin(costs, g, level)
        g = _softmin(costs.T, f, level)
    for _ in range(ROUNDS):
        plan = np.exp((f[:, None] + g - costs) / epsilon) / costs.size
        u, v, error = _scalings(plan)
        f = f + epsilon * np.log(u)
        g = g + epsilon * np.log(v)
        if error < TOLERANCE:
            return f, g
    raise Diverged(
        f"The Sinkhorn iterations did not converge (relative error {error:.1e}). Increase the "
        "regularisation."
    )


def _scalings(plan: Array) -> tuple[Array, Array, float]:
    n, m = plan.shape
    u = np.ones(n)
    v = np.ones(m)
    for _ in range(INNER):
        marginal = n * (plan @ v)
        error = float(np.abs(u * marginal - 1).mean())
        u = 1 / marginal
        v = 1 / (m * (u @ plan))
        if error < TOLERANCE:
            break
    return u, v, error


def _levels(start: float, end: float) -> Iterator[float]:
    while start > end:
        yield start
        start /= 4
    yield end


def _softmin(costs: Array, potential: Array, epsilon: float) -> Array:
    exponents = (potential - costs) / epsilon
    highest = exponents.max(1)
    means = np.exp(exponents - highest[:, None]).mean(1)
    return np.asarray(-epsilon * (highest + np.log(means)))


def _second_order(y: Array, epsilon: float) -> tuple[float, float]:
    """Variance / (1/n + 1/m)^2 and mean / (1/n + 1/m) of the null distribution, by halves."""
    first = y[::2]
    second = y[1::2]
    terms = divergence_terms(first, second, epsilon)
    over = 1 / len(first) + 1 / len(second)
    error, _ = errors(*terms)
    mean = terms[0].mean() + terms[1].mean()
    return float(error**2 / 2 / over**2), float(mean / over)


class Sinkhorn:
    """Sinkhorn divergence of the features of generated and held-out examples."""

    scores: ClassVar[Infos] = {
        "sinkhorn": MetricInfo(
            "Sinkhorn divergence",
            "lower",
            "Squared transport distance with entropic regularisation between the features of "
            f"samples and real data, from at most {MOST:,} of each. It is above 0 even for real "
            "data, especially with few examples.",
            group="Two-sample comparisons",
            least=0.0,
        )
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is None and samples.fewest > 3

    def __call__(self, samples: Samples) -> Scores:
        """Compute "sinkhorn", unless the iterations do not converge."""
        from scipy.spatial.distance import pdist

        x = drawn(samples.generated_features, MOST, 0)
        y = drawn(samples.reference_features, MOST, 1)
        epsilon = PART * float(np.median(pdist(y, "sqeuclidean")))
        try:
            terms_x, terms_y = divergence_terms(x, y, epsilon)
            second, null_mean = _second_order(y, epsilon)
        except (Diverged, UsageError):
            return {}
        value = float(terms_x.mean() + terms_y.mean())
        bias = null_mean * (1 / len(x) + 1 / len(y))
        error, reference_error = errors(terms_x, terms_y, second)
        score = Score(
            value,
            error=error,
            reference_error=reference_error,
            growth=growth_of(terms_x, terms_y, second, value, bias),
        )
        return {"sinkhorn": score}
