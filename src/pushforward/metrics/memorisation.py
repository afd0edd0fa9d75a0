"""Near-copies of training examples, and tests for memorisation by nearest neighbours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from pushforward.metrics.score import MetricInfo, Samples, Score, share_info
from pushforward.metrics.subsets import drawn, left_out, nearest
from pushforward.metrics.uncertainty import area, share_error

if TYPE_CHECKING:
    from torch import Tensor
PART = 0.25  # Largest distance of a near-copy, as a fraction of the usual distance of held-out examples
JUDGES = (
    500  # Held-out examples, at most, whose distance to the training examples sets the threshold
)
BLOCK = 1024  # Examples of either side that are compared at a time: few enough that their distances stay in the processor's cache
TREE = 8  # Columns up to which a search tree beats matrix products
SKETCH = 32  # Dimensions of the projection that rules out most pairs


def _examples(x: np.ndarray, scale: np.ndarray | None) -> Tensor:
    import torch

    examples = torch.from_numpy(x.astype(np.float32))
    unit = 255.0 if x.dtype == np.uint8 else 1.0
    if scale is None:
        return examples.div_(unit)
    return examples.mul_(
        torch.as_tensor(1 / (unit * scale.astype(np.float64)), dtype=torch.float32)
    )


def _blocks(x: np.ndarray, scale: np.ndarray | None) -> Iterator[Tensor]:
    for start in range(0, len(x), BLOCK):
        yield _examples(x[start : start + BLOCK], scale)


def _closest(examples: Tensor, others: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """The squared distance of each example to the nearest of the others, who come in blocks, and which one that is.

    By a matrix product, so it is exact to about 1e-6 of the squared lengths only.
    """
    import torch

    best = torch.full((len(examples),), torch.inf)
    where = torch.zeros(len(examples), dtype=torch.int64)
    passed = 0
    for block in others:
        lengths = block.square().sum(1)
        turned = (-2 * block).T.contiguous()
        for start in range(0, len(examples), BLOCK):
            here = slice(start, start + BLOCK)
            squares = torch.addmm(lengths, examples[here], turned)
            closer = squares.amin(1) < best[here]
            if closer.any():
                low, at = squares[closer].min(1)
                best[here][closer], where[here][closer] = low, at + passed
        passed += len(block)
    return best + examples.square().sum(1), where


def nearest_distance(
    x: np.ndarray, training: np.ndarray, scale: np.ndarray | None = None
) -> np.ndarray:
    """Compute the distance of each example to its nearest training example in units of ``scale``, float64 (n,).

    A search tree (few columns) or a matrix product finds the neighbour; after a product the distance is computed from
    the difference, so that an exact copy is at exactly 0.
    """
    import torch

    examples = _examples(x, scale)
    if x.shape[1] <= TREE:
        from scipy.spatial import cKDTree

        return np.asarray(cKDTree(_examples(training, scale).numpy()).query(examples.numpy())[0])
    _, where = _closest(examples, _blocks(training, scale))
    distances = [
        (
            examples[start : start + BLOCK]
            - _examples(training[where[start : start + BLOCK].numpy()], scale)
        )
        .double()
        .norm(dim=1)
        for start in range(0, len(examples), BLOCK)
    ]
    return torch.cat(distances).numpy()


def near_copies(
    generated: np.ndarray,
    training: np.ndarray,
    held_out: np.ndarray,
    scale: np.ndarray | None = None,
) -> tuple[np.ndarray, float]:
    """Find the generated examples that are near-copies, bool (n,), and the distance threshold.

    A near-copy is no farther from a training example than a quarter of the median distance from
    held-out to training examples. The median is 0 if more than half of the held-out examples are
    copies of training examples; then only exact copies are near-copies, and real data has many of
    them as well.

    Args:
        generated: Generated examples, (n, d).
        training: Training examples, (k, d), float32, or uint8 with 255 for 1.
        held_out: Held-out examples, (m, d), of which 500 are used, chosen by a fixed permutation,
            because examples may be sorted.
        scale: Divisor of each column, (d,).
    """
    distances, (_, threshold, _) = _copy_distances(generated, training, held_out, scale)
    return distances <= threshold, threshold


def _copy_distances(
    generated: np.ndarray, training: np.ndarray, held_out: np.ndarray, scale: np.ndarray | None
) -> tuple[np.ndarray, tuple[float, float, float]]:
    """The distance of each generated example to its nearest training example, infinite beyond the greatest threshold.

    Returns:
        The distances, (n,), and three thresholds: two standard errors below, the threshold, and two above. The error is that
        of a median, by the ranks of the distances of which it is the middle.
    """
    judges = np.random.Generator(np.random.Philox(0)).permutation(len(held_out))[:JUDGES]
    usual = nearest_distance(held_out[judges], training, scale)
    step = min(1 / np.sqrt(len(usual)), 0.5)  # twice the standard error of a rank
    low, threshold, high = (
        PART * float(np.quantile(usual, 0.5 + side)) for side in (-step, 0.0, step)
    )
    suspects = np.flatnonzero(_suspects(generated, training, scale, high))
    distances = np.full(len(generated), np.inf)
    if len(suspects):
        distances[suspects] = nearest_distance(generated[suspects], training, scale)
    return distances, (low, threshold, high)


def _suspects(
    generated: np.ndarray, training: np.ndarray, scale: np.ndarray | None, threshold: float
) -> np.ndarray:
    d = generated.shape[1]
    if d <= 2 * SKETCH:
        return np.ones(len(generated), bool)
    axes = _axes(training, scale)
    examples = _examples(generated, scale) @ axes
    shortest, _ = _closest(examples, (block @ axes for block in _blocks(training, scale)))
    slack = 1e-5 * (
        1 + examples.square().sum(1)
    )  # what float32 may add to a squared distance by cancellation
    return (shortest <= threshold**2 + slack).numpy()


def strong_columns(
    training: np.ndarray, scale: np.ndarray | None, *parts: np.ndarray
) -> list[np.ndarray]:
    """Convert examples to units of ``scale``, and project them onto the 64 directions of largest variance.

    Args:
        training: Training examples, (k, d), k at least 1, float32, or uint8 with 255 for 1.
        scale: Divisor of each column, (d,); None for 1.
        parts: Sets of examples, (n, d) each, in the units of ``training``.

    Returns:
        Each set, (n, min(d, 64)).
    """
    import torch

    if training.shape[1] <= 2 * SKETCH:
        return [_examples(part, scale).numpy() for part in parts]
    axes = _axes(training, scale, 2 * SKETCH)
    return [torch.cat([block @ axes for block in _blocks(part, scale)]).numpy() for part in parts]


def _axes(training: np.ndarray, scale: np.ndarray | None, most: int = SKETCH) -> Tensor:
    import torch

    some = _examples(training[:: max(1, len(training) // 2000)][:2000], scale)
    some = some - some.mean(0)
    mix = torch.from_numpy(
        np.random.Generator(np.random.Philox(0)).standard_normal((len(some), most))
    ).float()
    axes = torch.linalg.qr(some.T @ mix).Q
    directions: Tensor = torch.linalg.qr(some.T @ (some @ axes)).Q
    return directions


class Memorisation:
    """Fraction of generated examples that are near-copies of training examples, by raw distance in model units."""

    of_training = True

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "near_copies": share_info(
            "Near-copies",
            "target",
            "Fraction of samples that are closer to a training example than a quarter of the usual distance of new "
            "data. A higher fraction than for real data suggests copying. A low fraction does not rule it out, because "
            "samples off the data are never near-copies.",
            missing="Near-copies are not scored, because most held-out examples are copies of training examples.",
            unit="%",
            unbiased=True,
            group="Privacy",
        )
    }

    def applies(self, samples: Samples) -> bool:
        return True

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """Compute one score, "near_copies", unless the threshold is 0; ``extra`` has the threshold."""
        given = samples.generated, samples.training, samples.reference, samples.scale
        distances, (low, threshold, high) = _copy_distances(*given)
        if threshold == 0:
            return {}
        copies = distances <= threshold
        shared = float(((distances <= high).mean() - (distances <= low).mean()) / 4)
        error = float(np.hypot(share_error(copies.sum(), len(copies)), shared))
        extra = {"threshold": threshold}
        return {
            "near_copies": Score(
                float(copies.mean()), error=error, reference_error=shared, extra=extra
            )
        }


MOST = 2000  # Examples of either side that look for their nearest training example, at most
# Of the copying test: held-out examples for each cell, cells at most, and examples of either side in a cell that counts
CELL = 100
CELLS = 10
FEWEST = 10
FEW = 20  # Expected examples below which a count is not taken for normal


def copying(generated: np.ndarray, held_out: np.ndarray, training: np.ndarray) -> dict[str, Score]:
    """Compute three indicators of memorisation from distances to nearest examples.

    * "authenticity": the fraction of samples that are farther from their nearest training example
      than that example is from its own nearest training example. New data does not reach 1; on a
      line it has 1/3.
    * "copying_test": C_T, how much farther from training examples samples are than held-out ones,
      as a z-score. Space is divided into cells around means of training examples; C_T is the mean
      over cells of `cell_tests`, weighted by held-out examples. About 0 for new data, far below 0
      (-3) for copies, above 0 off the data. Left out if no cell has 10 examples of each side.
    * "held_out_ratio": the fraction of held-out examples among the real examples nearest to some
      sample, divided by m / (k + m), the fraction for a model equally far from both sets. Below 1,
      the model repeats training examples; above 1, it has seen held-out examples. Each real example
      counts once, so identical samples carry little information; of equally near examples, both
      count. ``extra`` has "tail" if samples reach few real examples: by chance, the ratio exceeds 1
      by twice this value in 1 of 2,000 evaluations, so a model is suspected only beyond it.

    Args:
        generated: Generated examples, (n, d).
        held_out: Held-out examples, (m, d), in an order independent of their values; C_T uses at
            most 2,000.
        training: Training examples, (k, d), k at least 2.

    References:
        Alaa et al., How faithful is your synthetic data?, 2022, arXiv:2102.08921, section 4.3.
        Meehan, Chaudhuri and Dasgupta, A non-parametric test to detect data-copying in generative
        models, 2020, arXiv:2004.05675, section 3.
    """
    distances, closest = nearest(generated, training)
    examples, back = np.unique(closest, return_inverse=True)
    own = nearest(training[examples], training, 1)[0]
    authentic = float((distances > own[back]).mean())
    (to_held_out, at), judges = nearest(generated, held_out), held_out[:MOST]
    reached = _Reached(at, closest, to_held_out <= distances, distances <= to_held_out)
    chance = len(held_out) / (len(training) + len(held_out))
    error, shared = (part / chance for part in ratio_errors(reached, len(held_out), len(training)))
    expected = reached.count * chance
    tail = {"tail": _tail(expected)} if expected <= FEW else {}
    scores = {
        "authenticity": Score(
            authentic,
            error=share_error(authentic * len(generated), len(generated)),
            reference_error=0.0,
        ),
        "held_out_ratio": Score(
            reached.share() / chance, error=error, reference_error=shared, extra=tail
        ),
    }
    cells = _cells(training, min(CELLS, len(judges) // CELL))
    places = [nearest(part, cells)[1] for part in (generated, judges)]
    tests = list(cell_tests(distances, nearest(judges, training)[0], *places))
    if not tests:
        return scores
    z, weights, of_generated, of_held_out = map(np.array, zip(*tests, strict=True))
    weights = weights / weights.sum()
    shared = (weights**2 * of_held_out).sum()
    variances = (weights**2 * of_generated).sum() + shared, shared
    error, shared = (float(np.sqrt(variance)) for variance in variances)
    return {
        **scores,
        "copying_test": Score(float(weights @ z), error=error, reference_error=shared),
    }


@dataclass(frozen=True)
class _Reached:
    """Which real examples are nearest to samples.

    Args:
        held_out: The number of the nearest held-out example of each sample, (n,).
        training: The same of training examples, (n,).
        new: Whether no training example is nearer, (n,).
        old: Whether no held-out example is nearer, (n,).
    """

    held_out: np.ndarray
    training: np.ndarray
    new: np.ndarray
    old: np.ndarray

    @property
    def count(self) -> int:
        return len(np.unique(self.held_out[self.new])) + len(np.unique(self.training[self.old]))

    def share(self, part: np.ndarray | slice = slice(None)) -> float:
        new = len(np.unique(self.held_out[part][self.new[part]]))
        return new / (new + len(np.unique(self.training[part][self.old[part]])))

    def by_cell(self, m: int) -> tuple[np.ndarray, np.ndarray]:
        """Count held-out and training examples nearest to some sample in the cell of each of m held-out examples, (m,).

        The cell holds the samples that are nearer to it than to other held-out ones. A training example that is nearest to
        samples in several cells counts in equal parts.
        """
        new = np.zeros(m)
        new[self.held_out[self.new]] = 1
        pairs = np.unique(np.stack([self.held_out[self.old], self.training[self.old]], 1), axis=0)
        weights = 1 / np.bincount(pairs[:, 1])[pairs[:, 1]] if len(pairs) else np.empty(0)
        return new, np.bincount(pairs[:, 0], weights, m)


def ratio_errors(reached: _Reached, m: int, k: int) -> tuple[float, float]:
    """Compute the standard error of the fraction of held-out examples among the real examples nearest to samples.

    The fraction is a ratio of two correlated sums over the cells of held-out examples. Its variance
    comes from the terms of the cells, by the delta method. It is at least the variance if each
    held-out example is reached by chance: their number is then binomial, with two added to either
    side, while the number of training examples is fixed. The variation over new samples is measured
    by leaving out a fifth of them at a time (jackknife); the rest comes from the real examples.

    Args:
        reached: Real examples nearest to each sample.
        m: Number of held-out examples.
        k: Number of training examples.

    References:
        Cochran, Sampling Techniques, 1977, section 2.11 and chapter 3. Agresti and Coull, Approximate is better than "exact"
        for interval estimation of binomial proportions, 1998. Shao and Wu, A general theory for jackknife variance
        estimation, 1989.
    """
    new, old = reached.by_cell(m)
    total = float((new + old).sum())
    n = len(reached.new)
    terms = (new - new.sum() / total * (new + old)) / total
    adjusted = (new.sum() + 2) / (total + 4)
    of_count = adjusted * (1 - adjusted) ** 2 / total * (1 - total / (m + k))
    variance = max(float(terms @ terms) * m / max(m - 1, 1), float(of_count))
    of_samples = left_out(reached.share, n) if n > 1 else variance
    return variance**0.5, max(0.0, variance - of_samples) ** 0.5


def cell_tests(
    x: np.ndarray, y: np.ndarray, cells_of_x: np.ndarray, cells_of_y: np.ndarray
) -> Iterator[tuple[float, int, float, float]]:
    """Perform a Mann-Whitney test in each cell with at least 10 values per side.

    Args:
        x: First values, (n,).
        y: Second values, (m,).
        cells_of_x: Cell number of each value of x, integers, (n,).
        cells_of_y: Cell number of each value of y, integers, (m,).

    Yields:
        z-score, below 0 if x tends to be smaller than y; number of values of y in the cell;
            variances from x and from y.
    """
    for cell in np.unique(cells_of_y):
        here = x[cells_of_x == cell]
        there = y[cells_of_y == cell]
        if min(len(here), len(there)) >= FEWEST:
            z, of_x, of_y = _mann_whitney(here, there)
            yield z, len(there), of_x, of_y


def _mann_whitney(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    n = len(x)
    m = len(y)
    above, below = area(x, y)
    scale = 12 * n * m / (n + m + 1)
    z = (above.mean() - 0.5) * np.sqrt(scale)
    return float(z), float(scale * above.var(ddof=1) / n), float(scale * below.var(ddof=1) / m)


def _cells(training: np.ndarray, cells: int) -> np.ndarray:
    from scipy.cluster.vq import kmeans2

    some = np.asarray(training[:: max(1, len(training) // MOST)], np.float64)
    if cells < 2:
        return np.asarray(some.mean(0, keepdims=True))
    return np.asarray(kmeans2(some, cells, minit="++", seed=np.random.default_rng(0))[0])


class Copying:
    """Authenticity, the copying test C_T, and the fraction of held-out examples among nearest real examples.

    Uses raw distances in model units; for images, in the 64 directions of largest variance of
    training examples.
    """

    of_training = True

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "authenticity": share_info(
            "Authenticity",
            "target",
            f"Fraction of samples (of {MOST:,}) that are farther from their nearest training example than that example "
            "is from its nearest neighbour. A lower value than for real data suggests copies; a higher value, samples "
            "off the data.",
            unit="%",
            group="Privacy",
        ),
        "copying_test": MetricInfo(
            "Copying test C_T",
            "target",
            "Difference between the distances of samples and of held-out examples to training examples, in standard "
            "errors. Far below 0, samples are copies or blurred; far above 0, they lie off the data.",
            group="Privacy",
        ),
        "held_out_ratio": MetricInfo(
            "Held-out neighbours",
            "target",
            "Fraction of held-out examples among the real examples nearest to samples, relative to chance. A lower "
            "value than for real data suggests that the model repeats training examples; a higher value suggests that "
            "it was trained on held-out examples.",
            unit="× chance",
            group="Privacy",
            least=0.0,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return len(samples.training) > 1

    def __call__(self, samples: Samples) -> dict[str, Score]:
        held_out = drawn(samples.reference, len(samples.reference), 1)
        generated = drawn(samples.generated, MOST, 0)
        return copying(
            *strong_columns(samples.training, samples.scale, generated, held_out, samples.training)
        )


def _tail(expected: float) -> float:
    """Half of the way to a tail of 1 in 2,000 of a count by chance over its expectation: of few it is far, as they are skewed.

    Args:
        expected: The expectation, at most `FEW`.
    """
    from scipy.stats import poisson

    expected = max(expected, 1e-9)
    return float(max(expected**-0.5, (poisson.ppf(0.9995, expected) / expected - 1) / 2))
