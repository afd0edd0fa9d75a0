"""Memorisation by neighbours: are samples nearer to known examples than new data is?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from pushforward.metrics.memorisation import strong_columns
from pushforward.metrics.score import MetricInfo, Samples, Score, share_info
from pushforward.metrics.subsets import drawn, left_out, nearest
from pushforward.metrics.uncertainty import area, share_error

MOST = 2000  # Examples of either side that look for their nearest training example, at most
# Of the copying test: held-out examples for each cell, cells at most, and examples of either side in a cell that counts
CELL, CELLS, FEWEST = 100, 10, 10
FEW = 20  # Expected examples below which a count is not taken for normal


def copying(generated: np.ndarray, held_out: np.ndarray, training: np.ndarray) -> dict[str, Score]:
    """Three signs of memorisation, by distances to nearest examples.

    * "authenticity": the share of samples that are farther from their nearest training example than
      that is from its own nearest training example. New data does not reach 1: on a line it has
      1/3.
    * "copying_test": C_T, how much farther from training examples samples are than held-out ones,
      as a z-score. Space is divided in cells around means of training examples; C_T is the mean
      over cells of `cell_tests`, weighted by held-out examples. About 0 for new data, far below 0
      (-3) for copies, above 0 off the data. Left out where no cell has 10 of either side.
    * "held_out_ratio": of the real examples that are nearest to some sample, the share that is held
      out, over m / (k + m), which a model has that is as far from either set. Less than 1 repeats
      training examples; more has seen the held-out ones. Examples count once, so that samples that
      are all alike tell little, and both count where they are equally near. Its ``extra`` has "tail"
      where samples reach few real examples: chance alone passes twice of it above 1 in 1 of 2,000
      evaluations, so that a model is suspected only beyond.

    Args:
        generated: (n, d).
        held_out: (m, d), in an order that does not depend on its values: 2,000 of them at most take
            part in C_T.
        training: (k, d), k at least 2.

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
        "authenticity": Score(authentic, error=share_error(authentic * len(generated), len(generated)), reference_error=0.0),
        "held_out_ratio": Score(reached.share() / chance, error=error, reference_error=shared, extra=tail),
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
    return {**scores, "copying_test": Score(float(weights @ z), error=error, reference_error=shared)}


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
        """How many held-out and training examples are nearest to some sample in the cell of each of m held-out ones, (m,).

        The cell holds the samples that are nearer to it than to other held-out ones. A training example that is nearest to
        samples in several cells counts in equal parts.
        """
        new = np.zeros(m)
        new[self.held_out[self.new]] = 1
        pairs = np.unique(np.stack([self.held_out[self.old], self.training[self.old]], 1), axis=0)
        weights = 1 / np.bincount(pairs[:, 1])[pairs[:, 1]] if len(pairs) else np.empty(0)
        return new, np.bincount(pairs[:, 0], weights, m)


def ratio_errors(reached: _Reached, m: int, k: int) -> tuple[float, float]:
    """The standard error of the held-out share of the real examples that are nearest to samples, and its part from these.

    The share is a ratio of two sums over cells, those of the held-out examples: numerator and denominator vary, and vary
    together. Its variance is that of the cells' terms, by the delta method, and no less than that where each held-out example is
    reached by chance alone: their number is then binomial, with two added to either side, and that of training examples, which
    are the model's own and not drawn anew, stays. What new samples alone would vary it by is measured by
    leaving out a fifth of them at a time (jackknife); the rest comes from the real examples.

    Args:
        reached: By sample.
        m: Held-out examples.
        k: Training examples.

    References:
        Cochran, Sampling Techniques, 1977, section 2.11 and chapter 3. Agresti and Coull, Approximate is better than "exact"
        for interval estimation of binomial proportions, 1998. Shao and Wu, A general theory for jackknife variance
        estimation, 1989.
    """
    new, old = reached.by_cell(m)
    total, n = float((new + old).sum()), len(reached.new)
    terms = (new - new.sum() / total * (new + old)) / total
    adjusted = (new.sum() + 2) / (total + 4)
    of_count = adjusted * (1 - adjusted) ** 2 / total * (1 - total / (m + k))
    variance = max(float(terms @ terms) * m / max(m - 1, 1), float(of_count))
    of_samples = left_out(reached.share, n) if n > 1 else variance
    return variance**0.5, max(0.0, variance - of_samples) ** 0.5


def cell_tests(
    x: np.ndarray, y: np.ndarray, cells_of_x: np.ndarray, cells_of_y: np.ndarray
) -> Iterator[tuple[float, int, float, float]]:
    """Mann-Whitney tests in cells, of each that holds 10 values of either side.

    Args:
        x: (n,).
        y: (m,).
        cells_of_x: The cell of each value, whole numbers, (n,).
        cells_of_y: (m,).

    Yields:
        The z-score, below 0 where x tends to be less than y; how many of y the cell holds; the variances from x and from y.
    """
    for cell in np.unique(cells_of_y):
        here, there = x[cells_of_x == cell], y[cells_of_y == cell]
        if min(len(here), len(there)) >= FEWEST:
            z, of_x, of_y = _mann_whitney(here, there)
            yield z, len(there), of_x, of_y


def _mann_whitney(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    n, m = len(x), len(y)
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
    """Authenticity, the copying test C_T, and how often the nearest real example is held out.

    By raw distance in model units, of images in the 64 directions in which training examples vary
    most.
    """

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "authenticity": share_info(
            "Authenticity",
            "target",
            f"Share of samples (of {MOST:,}) farther from their nearest training example than that is from its own: fewer than "
            "of real data are copies, more lie off the data.",
            unit="%",
            group="Memorisation",
        ),
        "copying_test": MetricInfo(
            "Copying test C_T",
            "target",
            "How much farther from training examples samples are than held-out examples, in standard errors: far below 0 they "
            "are copies or blurred, far above they lie off the data.",
            group="Memorisation",
        ),
        "held_out_ratio": MetricInfo(
            "Held-out neighbours",
            "target",
            "How many of the real examples nearest to samples are held out, over what chance would give: less than real data "
            "repeats training examples, more has seen held-out ones.",
            unit="× chance",
            group="Memorisation",
            least=0.0,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return len(samples.training) > 1

    def __call__(self, samples: Samples) -> dict[str, Score]:
        held_out = drawn(samples.reference, len(samples.reference), 1)
        generated = drawn(samples.generated, MOST, 0)
        return copying(*strong_columns(samples.training, samples.scale, generated, held_out, samples.training))


def _tail(expected: float) -> float:
    """Half of the way to a tail of 1 in 2,000 of a count by chance over its expectation: of few it is far, as they are skewed.

    Args:
        expected: The expectation, at most `FEW`.
    """
    from scipy.stats import poisson

    expected = max(expected, 1e-9)
    return float(max(expected**-0.5, (poisson.ppf(0.9995, expected) / expected - 1) / 2))
