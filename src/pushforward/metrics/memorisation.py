"""Near-copies of training examples, and tests for memorisation by nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pushforward.metrics.score import Infos, MetricInfo, Samples, Score, Scores, share_info
from pushforward.metrics.subsets import Array, blocks, drawn, fixed_random, left_out, nearest
from pushforward.metrics.uncertainty import Errors, area, share_error

if TYPE_CHECKING:
    from torch import Tensor

PART = 0.25  # Maximum distance of a near-copy relative to the median of held-out examples
JUDGES = 500  # Held-out examples whose distances determine this median
BLOCK = 1024  # Examples per side that are compared at a time, so that distances fit in the cache
TREE = 8  # Number of columns up to which a search tree is faster than matrix products
SKETCH = 32  # Dimensions of the projection that rules out most pairs


def _examples(x: Array, scale: Array | None) -> Tensor:
    import torch

    examples = torch.from_numpy(x.astype(np.float32))
    unit = 1.0
    if x.dtype == np.uint8:
        unit = 255.0
    if scale is None:
        return examples.div_(unit)
    factors = 1 / (unit * scale.astype(np.float64))
    return examples.mul_(torch.as_tensor(factors, dtype=torch.float32))


def _blocks(x: Array, scale: Array | None) -> Iterator[Tensor]:
    for part in blocks(len(x), BLOCK):
        yield _examples(x[part], scale)


def _closest(examples: Tensor, others: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    import torch

    best = torch.full((len(examples),), torch.inf)
    index = torch.zeros(len(examples), dtype=torch.int64)
    passed = 0
    for block in others:
        lengths = block.square().sum(1)
        turned = (-2 * block).T.contiguous()
        for part in blocks(len(examples), BLOCK):
            squares = torch.addmm(lengths, examples[part], turned)
            closer = squares.amin(1) < best[part]
            if closer.any():
                low, at = squares[closer].min(1)
                best[part][closer] = low
                index[part][closer] = at + passed
        passed += len(block)
    return best + examples.square().sum(1), index


def nearest_distance(x: Array, training: Array, scale: Array | None = None) -> Array:
    """Compute the distance to the nearest training example, float64; 0 for a copy."""
    import torch

    examples = _examples(x, scale)
    if x.shape[1] <= TREE:
        from scipy.spatial import cKDTree

        tree = cKDTree(_examples(training, scale).numpy())
        return np.asarray(tree.query(examples.numpy())[0])
    _, index = _closest(examples, _blocks(training, scale))
    distances = []
    for part in blocks(len(examples), BLOCK):
        gaps = examples[part] - _examples(training[index[part].numpy()], scale)
        distances.append(gaps.double().norm(dim=1))
    return torch.cat(distances).numpy()


def nearest_training(x: Array, training: Array, scale: Array | None, k: int) -> tuple[Array, Array]:
    """Find the indices and distances of the k nearest training examples, (n, k), nearest first."""
    import torch

    examples = _examples(x, scale)
    squares = torch.empty(len(x), 0)
    at = torch.empty(len(x), 0, dtype=torch.int64)
    passed = 0
    for block in _blocks(training, scale):
        index = torch.arange(passed, passed + len(block)).expand(len(x), -1)
        passed += len(block)
        squares = torch.cat([squares, block.square().sum(1) - 2 * examples @ block.T], 1)
        candidates = min(k + 4, squares.shape[1])  # matrix products are not exact
        squares, best = squares.topk(candidates, largest=False)
        at = torch.cat([at, index], 1).gather(1, best)
    at = at.sort(1).values
    exact = []
    for example, index in zip(examples, at, strict=True):
        candidate = training[index.numpy()]
        if candidate.dtype == np.uint8:
            candidate = candidate / np.float32(255)  # rounded as x, so that copies have distance 0
        gaps = _examples(candidate, scale) - example
        exact.append(gaps.double().norm(dim=1))
    distances, order = torch.stack(exact).sort(dim=1, stable=True)
    return at.gather(1, order)[:, :k].numpy(), distances[:, :k].numpy()


def near_copies(
    generated: Array,
    training: Array,
    held_out: Array,
    scale: Array | None = None,
) -> tuple[Array, float]:
    """Find the generated examples that are near-copies, bool (n,), and the distance threshold.

    The threshold is a quarter of the median distance from held-out to training examples.
    """
    distances, (_, threshold, _) = _copy_distances(generated, training, held_out, scale)
    return distances <= threshold, threshold


def _copy_distances(
    generated: Array, training: Array, held_out: Array, scale: Array | None
) -> tuple[Array, list[float]]:
    judges = fixed_random().permutation(len(held_out))[:JUDGES]
    usual = nearest_distance(held_out[judges], training, scale)
    step = min(1 / np.sqrt(len(usual)), 0.5)  # two standard errors of a rank
    thresholds = [PART * float(np.quantile(usual, 0.5 + side)) for side in (-step, 0.0, step)]
    suspects = np.flatnonzero(_suspects(generated, training, scale, thresholds[-1]))
    distances = np.full(len(generated), np.inf)
    if len(suspects):
        distances[suspects] = nearest_distance(generated[suspects], training, scale)
    return distances, thresholds


def _suspects(generated: Array, training: Array, scale: Array | None, threshold: float) -> Array:
    if generated.shape[1] <= 2 * SKETCH:
        return np.ones(len(generated), bool)
    axes = _axes(training, scale, SKETCH)
    examples = _examples(generated, scale) @ axes
    shortest, _ = _closest(examples, (block @ axes for block in _blocks(training, scale)))
    # cancellation in float32 may add this to a squared distance
    slack = 1e-5 * (1 + examples.square().sum(1))
    return (shortest <= threshold**2 + slack).numpy()


def strong_columns(training: Array, scale: Array | None, *parts: Array) -> list[Array]:
    """Project examples onto the 64 directions of largest variance."""
    import torch

    if training.shape[1] <= 2 * SKETCH:
        return [_examples(part, scale).numpy() for part in parts]
    axes = _axes(training, scale, 2 * SKETCH)
    projected = []
    for part in parts:
        turned = torch.cat([block @ axes for block in _blocks(part, scale)])
        projected.append(turned.numpy())
    return projected


def _axes(training: Array, scale: Array | None, count: int) -> Tensor:
    import torch

    some = _examples(training[:: max(1, len(training) // 2000)][:2000], scale)
    some = some - some.mean(0)
    mix = torch.from_numpy(fixed_random().standard_normal((len(some), count))).float()
    axes = torch.linalg.qr(some.T @ mix).Q
    directions: Tensor = torch.linalg.qr(some.T @ (some @ axes)).Q
    return directions


class Memorisation:
    """Fraction of generated examples that are near-copies of training examples."""

    of_training = True

    scores: ClassVar[Infos] = {
        "near_copies": share_info(
            "Near-copies",
            "target",
            "Fraction of samples that are closer to a training example than a quarter of the "
            "usual distance of new data. A higher fraction than for real data suggests copying. "
            "A low fraction does not rule it out, because samples off the data are never "
            "near-copies.",
            missing=(
                "Near-copies are not scored, because most held-out examples are copies of "
                "training examples."
            ),
            unit="%",
            unbiased=True,
            group="Privacy",
        )
    }

    def applies(self, samples: Samples) -> bool:
        return True

    def __call__(self, samples: Samples) -> Scores:
        """Compute "near_copies", unless the threshold is 0."""
        distances, (low, threshold, high) = _copy_distances(
            samples.generated, samples.training, samples.reference, samples.scale
        )
        if threshold == 0:
            return {}
        copies = distances <= threshold
        shared = float(((distances <= high).mean() - (distances <= low).mean()) / 4)
        error = float(np.hypot(share_error(copies.sum(), len(copies)), shared))
        return {"near_copies": Score(float(copies.mean()), error=error, reference_error=shared)}


MOST = 2000  # Maximum number of examples per side
# The copying test: held-out examples per cell, number of cells, and minimum per side of a cell
CELL = 100
CELLS = 10
FEWEST = 10
FEW = 20  # Expected number up to which a count is not approximately normal


def copying(generated: Array, held_out: Array, training: Array) -> Scores:
    """Compute three indicators of memorisation from distances to nearest examples.

    * "authenticity": the fraction of samples that are farther from their nearest training example
      than that example is from its own nearest training example.
    * "copying_test": C_T, the mean z-score of `cell_tests` over cells around means of training
      examples, weighted by held-out examples. Far below 0 for copies.
    * "held_out_ratio": the fraction of held-out examples among the real examples nearest to some
      sample, divided by m / (k + m). Below 1, the model repeats training examples.

    References:
        Alaa et al., How faithful is your synthetic data?, 2022, arXiv:2102.08921, section 4.3.
        Meehan, Chaudhuri and Dasgupta, A non-parametric test to detect data-copying in generative
        models, 2020, arXiv:2004.05675, section 3.
    """
    distances, closest = nearest(generated, training)
    to_held_out, at = nearest(generated, held_out)
    reached = _Reached(at, closest, to_held_out <= distances, distances <= to_held_out)
    scores = {
        "authenticity": _authenticity(distances, closest, training),
        "held_out_ratio": _held_out_ratio(reached, len(held_out), len(training)),
    }
    test = _copying_test(generated, distances, held_out[:MOST], training)
    if test is not None:
        scores["copying_test"] = test
    return scores


def _authenticity(distances: Array, closest: Array, training: Array) -> Score:
    examples, back = np.unique(closest, return_inverse=True)
    own, _ = nearest(training[examples], training, 1)
    n = len(distances)
    authentic = float((distances > own[back]).mean())
    return Score(authentic, error=share_error(authentic * n, n), reference_error=0.0)


def _held_out_ratio(reached: _Reached, m: int, k: int) -> Score:
    chance = m / (k + m)
    error, shared = ratio_errors(reached, m, k)
    expected = sum(reached.counts()) * chance
    extra = {}
    if expected <= FEW:
        extra["tail"] = _tail(expected)
    return Score(
        reached.share() / chance,
        error=error / chance,
        reference_error=shared / chance,
        extra=extra,
    )


def _copying_test(
    generated: Array, distances: Array, held_out: Array, training: Array
) -> Score | None:
    centres = _centres(training, min(CELLS, len(held_out) // CELL))
    _, cells_of_generated = nearest(generated, centres)
    _, cells_of_held_out = nearest(held_out, centres)
    usual, _ = nearest(held_out, training)
    tests = list(cell_tests(distances, usual, cells_of_generated, cells_of_held_out))
    if not tests:
        return None
    z, sizes, of_generated, of_held_out = map(np.array, zip(*tests, strict=True))
    weights = sizes / sizes.sum()
    shared = (weights**2 * of_held_out).sum()
    variance = (weights**2 * of_generated).sum() + shared
    return Score(
        float(weights @ z),
        error=float(np.sqrt(variance)),
        reference_error=float(np.sqrt(shared)),
    )


@dataclass(frozen=True)
class _Reached:
    """Indices of the nearest held-out and training example of each sample, (n,).

    ``new`` and ``old``: whether no training or no held-out example is nearer, (n,).
    """

    held_out: Array
    training: Array
    new: Array
    old: Array

    def counts(self, part: Array | slice = slice(None)) -> tuple[int, int]:
        new = np.unique(self.held_out[part][self.new[part]])
        old = np.unique(self.training[part][self.old[part]])
        return len(new), len(old)

    def share(self, part: Array | slice = slice(None)) -> float:
        new, old = self.counts(part)
        return new / (new + old)

    def by_cell(self, m: int) -> tuple[Array, Array]:
        """Count held-out and training examples in the cells around m held-out examples.

        A training example in several cells counts in equal parts.
        """
        new = np.zeros(m)
        new[self.held_out[self.new]] = 1
        pairs = np.stack([self.held_out[self.old], self.training[self.old]])
        cells, examples = np.unique(pairs, axis=1)
        weights = 1 / np.bincount(examples)[examples]
        return new, np.bincount(cells, weights, m)


def ratio_errors(reached: _Reached, m: int, k: int) -> Errors:
    """Compute the standard error of `_Reached.share`, and its part from the real examples.

    The variance of this ratio of sums over cells comes from the delta method. It is at least that
    of m held-out and k training examples reached by chance.

    References:
        Cochran, Sampling Techniques, 1977, section 2.11 and chapter 3.
        Agresti and Coull, Approximate is better than "exact", 1998.
        Shao and Wu, A general theory for jackknife variance estimation, 1989.
    """
    new, old = reached.by_cell(m)
    both = new + old
    total = float(both.sum())
    n = len(reached.new)
    terms = (new - new.sum() / total * both) / total
    adjusted = (new.sum() + 2) / (total + 4)
    of_count = adjusted * (1 - adjusted) ** 2 / total * (1 - total / (m + k))
    variance = max(float(terms @ terms) * m / max(m - 1, 1), float(of_count))
    of_samples = variance
    if n > 1:
        of_samples = left_out(reached.share, n)
    return variance**0.5, max(0.0, variance - of_samples) ** 0.5


def cell_tests(
    x: Array, y: Array, cells_of_x: Array, cells_of_y: Array
) -> Iterator[tuple[float, int, float, float]]:
    """Perform a Mann-Whitney test in each cell with at least 10 values per side.

    Yields:
        z-score, below 0 if x tends to be smaller; number of values of y; variances from x and y.
    """
    for cell in np.unique(cells_of_y):
        here = x[cells_of_x == cell]
        there = y[cells_of_y == cell]
        if min(len(here), len(there)) >= FEWEST:
            z, of_x, of_y = _mann_whitney(here, there)
            yield z, len(there), of_x, of_y


def _mann_whitney(x: Array, y: Array) -> tuple[float, float, float]:
    n = len(x)
    m = len(y)
    above, below = area(x, y)
    scale = 12 * n * m / (n + m + 1)
    z = (above.mean() - 0.5) * np.sqrt(scale)
    return float(z), float(scale * above.var(ddof=1) / n), float(scale * below.var(ddof=1) / m)


def _centres(training: Array, cells: int) -> Array:
    from scipy.cluster.vq import kmeans2

    some = np.asarray(training[:: max(1, len(training) // MOST)], np.float64)
    if cells < 2:
        return np.asarray(some.mean(0, keepdims=True))
    centres, _ = kmeans2(some, cells, minit="++", seed=np.random.default_rng(0))
    return np.asarray(centres)


class Copying:
    """Authenticity, C_T and held-out neighbours, by raw distances in model units."""

    of_training = True

    scores: ClassVar[Infos] = {
        "authenticity": share_info(
            "Authenticity",
            "target",
            f"Fraction of samples (of {MOST:,}) that are farther from their nearest training "
            "example than that example is from its nearest neighbour. A lower value than for "
            "real data suggests copies; a higher value, samples off the data.",
            unit="%",
            group="Privacy",
        ),
        "copying_test": MetricInfo(
            "Copying test C_T",
            "target",
            "Difference between the distances of samples and of held-out examples to training "
            "examples, in standard errors. Far below 0, samples are copies or blurred; far above "
            "0, they lie off the data.",
            group="Privacy",
        ),
        "held_out_ratio": MetricInfo(
            "Held-out neighbours",
            "target",
            "Fraction of held-out examples among the real examples nearest to samples, relative "
            "to chance. A lower value than for real data suggests that the model repeats "
            "training examples; a higher value suggests that it was trained on held-out examples.",
            unit="× chance",
            group="Privacy",
            least=0.0,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return len(samples.training) > 1

    def __call__(self, samples: Samples) -> Scores:
        held_out = drawn(samples.reference, len(samples.reference), 1)
        generated = drawn(samples.generated, MOST, 0)
        training = samples.training
        return copying(*strong_columns(training, samples.scale, generated, held_out, training))


def _tail(expected: float) -> float:
    from scipy.stats import poisson

    expected = max(expected, 1e-9)
    quantile = poisson.ppf(0.9995, expected)
    return float(max(expected**-0.5, (quantile / expected - 1) / 2))
