"""Privacy of tables: nearest training rows, and membership attacks of somebody who has samples alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.memorisation import nearest_distance
from pushforward.metrics.score import MetricInfo, Samples, Score, share_info
from pushforward.metrics.subsets import nearest
from pushforward.metrics.table import shuffled
from pushforward.metrics.uncertainty import Errors, area, area_errors, share_error

# Rows of either side that are compared, and training rows among which they look for the nearest, at most
MOST, KNOWN = 2000, 100_000
REPEATING = 0.05  # the share of training rows that equal another one above which distances are not compared


def repeating(rows: NDArray[np.float32]) -> float:
    """The share of rows (n, d) that equal another one."""
    contents = np.ascontiguousarray(rows + np.float32(0)).view(np.dtype((np.void, rows.itemsize * rows.shape[1])))
    counts = np.unique(contents.ravel(), return_counts=True)[1]
    return float(counts[counts > 1].sum() / len(rows))


def distance_ratio(generated: NDArray[np.float64], held_out: NDArray[np.float64]) -> tuple[float, Errors]:
    """The mean distance of samples to their nearest training row over that of held-out rows, and its standard errors.

    Args:
        generated: Distances, (n,).
        held_out: Distances, (m,), not all 0.
    """
    a, b = generated.mean(), held_out.mean()
    of_a, of_b = (float(side.std(ddof=1)) / np.sqrt(len(side)) if len(side) > 1 else 0.0 for side in (generated, held_out))
    shared = float(a / b**2 * of_b)
    return float(a / b), (float(np.hypot(of_a / b, shared)), shared)


def nearer(first: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Which distances (n,) are less than the other ones (n,): 1 for these, 1/2 for equal ones, else 0."""
    return np.where(first == other, 0.5, first < other)


def cell_variance(first: NDArray[Any], other: NDArray[Any], rows: int) -> float:
    """The variance of a share of samples over new real rows, from how many samples have each row as their nearest one.

    A row's part of all samples is its cell. With sums a and b of the cells of either kind, a share a / (a + b) varies by
    (b^2 var a + a^2 var b) / (a + b)^4. What chance adds to the squares of counts is taken off.

    Args:
        first: Samples of each row of the kind whose share it is; halves where a sample is as near to both kinds.
        other: Of each row of the other kind.
        rows: How many rows there are of either kind; those that no sample has may be left out.
    """
    n = first.sum() + other.sum()
    of_first, of_other = ((c * (c - 1)).sum() / (n * max(1, n - 1)) - (c.sum() / n) ** 2 / rows for c in (first, other))
    return float(max(0.0, of_first * (other.sum() / n) ** 2 + of_other * (first.sum() / n) ** 2))


def some(x: NDArray[np.float32], most: int, seed: int) -> NDArray[np.float32]:
    """At most so many rows of x (n, d), by their values and the seed; of more than 100,000 rows by their place as well."""
    if len(x) > KNOWN:
        x = x[np.sort(np.random.Generator(np.random.Philox(seed)).permutation(len(x))[:KNOWN])]
    return x[shuffled(x.astype(np.float64), seed)[:most]] if most < KNOWN else x


_UNIQUE = f"Not computed if more than {REPEATING:.0%} of the training rows repeat and copies are kept together."
_WHY = (
    f"more than {REPEATING:.0%} of the training rows repeat, or all held-out rows are training rows. All "
    'copies of a row are on one side of the split (copies="together"), so new rows can equal training rows, '
    "but held-out rows cannot."
)


class NearestRows:
    """The distance to the nearest training row against that of held-out rows, in the standardised values of the table.

    Where rows repeat and all copies of one are on one side of the split, new rows equal training rows and held-out rows do not,
    so that both scores would call a perfect model a copier.
    """

    of_tables = True

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "nearest_ratio": MetricInfo(
            "Distance to training rows",
            "target",
            f"Mean distance of samples (of {MOST:,}) to their nearest training row, relative to held-out rows: lower "
            "than for real data means closer to training rows than new data. A good value does not rule out copies. "
            f"{_UNIQUE}",
            missing=f"Distances to training rows are not scored: {_WHY}",
            group="Memorisation",
            least=0.0,
        ),
        "nearer_training": share_info(
            "Nearest is training",
            "target",
            "Fraction of samples whose nearest real row is a training row, with equally many training and held-out "
            f"rows: 50 % for new data. A good value does not rule out copies. {_UNIQUE}",
            missing=f"The frequency of training rows as nearest rows is not scored: {_WHY}",
            unit="%",
            group="Memorisation",
            target=0.5,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is not None

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """Two scores; "nearest_ratio" is left out where every held-out row is a training row too, both where rows repeat.

        The error of "nearest_ratio" takes the training rows as given: where they are new as well, its 95 % interval may hold in
        fewer repeats (89 % of one simulated law).
        """
        known = some(samples.training, KNOWN, 3)
        if not samples.apart and repeating(known) > REPEATING:
            return {}
        generated, held_out = some(samples.generated, MOST, 0), some(samples.reference, MOST, 1)
        training = some(samples.training, len(held_out), 2)
        real = training, held_out[: len(training)]
        own = nearer(*(nearest_distance(generated, side, samples.scale) for side in real))
        cells, others = (np.bincount(nearest(generated, side)[1], part) for side, part in zip(real, (own, 1 - own), strict=True))
        of_real = cell_variance(cells, others, len(training)) ** 0.5
        error = float(np.hypot(share_error(own.sum(), len(own)), of_real))
        scores = {"nearer_training": Score(float(own.mean()), error=error, reference_error=of_real)}
        distances = [nearest_distance(side, known, samples.scale) for side in (generated, held_out)]
        if not distances[1].any():
            return scores
        value, (error, shared) = distance_ratio(distances[0], distances[1])
        return {"nearest_ratio": Score(value, error=error, reference_error=shared), **scores}


TINY = 1e-6  # What is added to distances before their logarithm; exact copies are at distance 0
ATTACKS = "An attacker who only has samples tells training rows from held-out rows, equally many"


def attack(
    members: NDArray[np.float32],
    others: NDArray[np.float32],
    generated: NDArray[np.float32],
    known: NDArray[np.float32] | None = None,
    scale: NDArray[np.float32] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How an attacker ranks members above others: by the distance of a row to its nearest sample, the nearer the higher.

    With real rows that he knows, he ranks by how many times nearer a row is to a sample than to one of these, an estimate of the
    ratio of the two densities.

    Args:
        members: Training rows, (n, d).
        others: Real rows that were not trained on, (m, d).
        generated: Samples, (k, d).
        known: Real rows that are neither, (r, d); None for an attacker who has none.
        scale: What each column is divided by, (d,).

    Returns:
        What `pushforward.metrics.uncertainty.area` returns: the mean of either is the area under the ROC curve, 1/2 for chance.

    References:
        Chen et al., GAN-Leaks, 2020, arXiv:1909.03935, section 5 (distance). van Breugel et al., Membership inference attacks
        against synthetic data through overfitting detection, 2023, arXiv:2302.12580 (ratio of densities, "DOMIAS").
    """

    def ranks(rows: NDArray[np.float32]) -> NDArray[np.float64]:
        near = np.log(nearest_distance(rows, generated, scale) + TINY)
        return -near if known is None else np.log(nearest_distance(rows, known, scale) + TINY) - near

    return area(ranks(members), ranks(others))


class Membership:
    """Areas under the ROC curves of two attacks, in the standardised values of the table."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "membership": share_info(
            "Membership attack, AUC",
            "target",
            f"{ATTACKS}, by the distance to the nearest sample: 0.5 is chance, 1 identifies every training row. Other "
            "attacks may be stronger.",
            group="Memorisation",
            target=0.5,
        ),
        "membership_ratio": share_info(
            "Membership attack with known rows, AUC",
            "target",
            f"{ATTACKS}, by how much closer a row is to a sample than to a real row that the attacker knows: 0.5 is chance.",
            group="Memorisation",
            target=0.5,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is not None and min(len(samples.training), len(samples.reference)) >= 20

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """Two scores; half of the held-out rows are those that the second attacker knows.

        Their errors are over new candidates, which all samplings share.
        """
        training, reference = samples.training, samples.reference
        others = some(reference, MOST, 1)
        members = some(training, len(others), 0)
        generated = samples.generated if samples.generated_more is None else samples.generated_more
        half = len(others) // 2
        attacks = {
            "membership": attack(members, others[: len(members)], generated, None, samples.scale),
            "membership_ratio": attack(members[:half], others[:half], generated, others[half:], samples.scale),
        }
        return {
            name: Score(float(above.mean()), error=error, reference_error=error)
            for name, (above, below) in attacks.items()
            for error in area_errors(above, below)[:1]
        }
