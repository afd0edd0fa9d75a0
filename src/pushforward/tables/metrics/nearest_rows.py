"""Privacy of tables: nearest training rows, repeated texts and membership attacks."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from pushforward.data.core.hashes import Array, Floats, example_hashes, repeated
from pushforward.metrics.memorisation import nearest_distance
from pushforward.metrics.score import Infos, MetricInfo, Samples, Score, Scores, share_info
from pushforward.metrics.subsets import nearest
from pushforward.metrics.uncertainty import Errors, area, area_errors, by_blocks, share_error
from pushforward.tables.metrics.table import embedded, shuffled

# Rows of either side that are compared, and training rows among which they look for the nearest, at
# most
MOST = 2000
KNOWN = 100_000
REPEATING = (
    0.05  # the share of training rows that equal another one above which distances are not compared
)


def repeating(rows: Array) -> float:
    """Compute the fraction of rows, float32 (n, d), that equal another row."""
    return float((repeated(example_hashes(rows)) > 1).mean())


def distance_ratio(generated: Floats, held_out: Floats) -> tuple[float, Errors]:
    """Compute the ratio of mean distances to the nearest training row, with standard errors.

    Args:
        generated: Distances of samples, (n,).
        held_out: Distances of held-out rows, (m,), not all 0.
    """
    a = generated.mean()
    b = held_out.mean()
    shared = float(a / b**2 * _mean_error(held_out))
    error = float(np.hypot(_mean_error(generated) / b, shared))
    return float(a / b), (error, shared)


def _mean_error(x: Floats) -> float:
    if len(x) < 2:
        return 0.0
    return float(x.std(ddof=1) / np.sqrt(len(x)))


def nearer(first: Floats, other: Floats) -> Floats:
    """Compare distances (n,) with others (n,): 1 if smaller, 1/2 if equal, else 0."""
    return np.where(first == other, 0.5, first < other)


def cell_variance(first: Array, other: Array, rows: int) -> float:
    """Compute the variance of a fraction of samples over new real rows.

    The cell of a row is its fraction of all samples. With sums a and b over the cells of both
    kinds, a fraction a / (a + b) has the variance (b^2 var a + a^2 var b) / (a + b)^4. The
    contribution of chance to squared counts is subtracted.
    """
    n = first.sum() + other.sum()
    a = first.sum() / n
    b = other.sum() / n
    pairs = n * max(1, n - 1)
    variance_a = (first * (first - 1)).sum() / pairs - a**2 / rows
    variance_b = (other * (other - 1)).sum() / pairs - b**2 / rows
    return float(max(0.0, variance_a * b**2 + variance_b * a**2))


def some(x: Array, most: int, seed: int) -> Array:
    """Select at most ``most`` rows, float32, depending on values and seed.

    Above 100,000 rows, also on positions.
    """
    if len(x) > KNOWN:
        order = np.random.Generator(np.random.Philox(seed)).permutation(len(x))
        x = x[np.sort(order[:KNOWN])]
    if most < KNOWN:
        return x[shuffled(x.astype(np.float64), seed)[:most]]
    return x


_UNIQUE = (
    f"Not computed if more than {REPEATING:.0%} of the training rows repeat and copies are "
    "kept "
    "together."
)
_WHY = (
    f"more than {REPEATING:.0%} of the training rows repeat, or all held-out rows are training "
    "rows. All "
    'copies of a row are on one side of the split (copies="together"), so new rows can equal '
    "training rows, "
    "but held-out rows cannot."
)


class NearestRows:
    """Distance to the nearest training row, compared with held-out rows.

    If rows repeat and all copies of a row are on one side of the split, new rows can equal training
    rows but held-out rows cannot, so both scores would flag a perfect model as copying.
    """

    of_tables = True
    of_training = True

    scores: ClassVar[Infos] = {
        "nearest_ratio": MetricInfo(
            "Distance to training rows",
            "target",
            f"Mean distance of samples (of {MOST:,}) to their nearest training row, relative to "
            "held-out rows. If it is "
            "lower than for real data, samples are closer to training rows than new data. A good "
            "value does not rule "
            f"out copies. {_UNIQUE}",
            missing=f"Distances to training rows are not scored, because {_WHY}",
            group="Privacy",
            least=0.0,
        ),
        "nearer_training": share_info(
            "Nearest is training",
            "target",
            "Fraction of samples whose nearest real row is a training row, among equally many "
            "training and held-out "
            f"rows; 50 % for new data. A good value does not rule out copies. {_UNIQUE}",
            missing="The fraction of training rows among nearest rows is not scored, because "
            f"{_WHY}",
            unit="%",
            group="Privacy",
            target=0.5,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is not None

    def __call__(self, samples: Samples) -> Scores:
        """Compute two scores.

        "nearest_ratio" is omitted if every held-out row is also a training row, both if rows
        repeat.

        The error of "nearest_ratio" treats the training rows as fixed. Over new training rows, its
        95 % interval may have lower coverage (89 % for one simulated distribution).
        """
        known = some(samples.training, KNOWN, 3)
        if not samples.apart and repeating(known) > REPEATING:
            return {}
        generated = some(samples.generated, MOST, 0)
        held_out = some(samples.reference, MOST, 1)
        training = some(samples.training, len(held_out), 2)
        others = held_out[: len(training)]
        to_training = nearest_distance(generated, training, samples.scale)
        to_others = nearest_distance(generated, others, samples.scale)
        own = nearer(to_training, to_others)
        of_training = np.bincount(nearest(generated, training)[1], own)
        of_others = np.bincount(nearest(generated, others)[1], 1 - own)
        of_real = cell_variance(of_training, of_others, len(training)) ** 0.5
        error = float(np.hypot(share_error(own.sum(), len(own)), of_real))
        scores = {"nearer_training": Score(float(own.mean()), error=error, reference_error=of_real)}
        of_held_out = nearest_distance(held_out, known, samples.scale)
        if not of_held_out.any():
            return scores
        of_generated = nearest_distance(generated, known, samples.scale)
        value, (error, shared) = distance_ratio(of_generated, of_held_out)
        return {"nearest_ratio": Score(value, error=error, reference_error=shared), **scores}


class UniqueTexts:
    """Fraction of samples that repeat a text of exactly one training row."""

    of_tables = True
    of_training = True

    scores: ClassVar[Infos] = {
        "unique_texts": share_info(
            "Texts of one row",
            "lower",
            "Fraction of samples with a text, in any text column, that exactly one training row "
            "has. The real-data score "
            "is the fraction of new rows with such a text.",
            missing="Texts of one training row are not scored, because the data was read without "
            "them. Models trained on "
            "it cannot generate these texts. Compare samples of other programs with the data "
            "itself, read with `rare=keep`.",
            unit="%",
            group="Privacy",
            unbiased=True,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is not None and "category" in samples.table.kinds

    def __call__(self, samples: Samples) -> Scores:
        """Return one score; none if the training rows are not known, or their texts are not."""
        table = samples.table
        if table is None or table.training is None or table.pooled:
            return {}
        repeats = np.zeros(len(table.generated), dtype=bool)
        for place, kind in enumerate(table.kinds):
            if kind == "category":
                texts, rows = np.unique(table.training[:, place], return_counts=True)
                repeats |= np.isin(table.generated[:, place], texts[rows == 1])
        error = share_error(repeats.sum(), len(repeats))
        return {"unique_texts": Score(float(repeats.mean()), error=error)}


TINY = 1e-6  # What is added to distances before their logarithm; exact copies are at distance 0
ATTACKS = (
    "Success of an attacker who has samples and identifies training rows among equally many "
    "held-out rows"
)


def attack(
    members: Array,
    others: Array,
    generated: Array,
    known: Array | None = None,
    scale: Array | None = None,
) -> tuple[Floats, Floats]:
    """Attack training rows: rank rows by the distance to their nearest sample.

    With known real rows, rows are ranked by the distance to them divided by the distance to a
    sample, which estimates the ratio of the two densities.

    Args:
        members: Training rows, (n, d).
        others: Real rows that were not used in training, (m, d).
        generated: Samples, (k, d).
        known: Further real rows known to the attacker, (r, d); None for none.
        scale: Divisor of each column, (d,).

    Returns:
        The result of `pushforward.metrics.uncertainty.area`: the mean of either part is the area
            under the ROC curve, 1/2 for chance.

    References:
        Chen et al., GAN-Leaks, 2020, arXiv:1909.03935, section 5 (distance). van Breugel et al.,
        Membership inference attacks against synthetic data through overfitting detection, 2023,
        arXiv:2302.12580 (ratio of densities, "DOMIAS").
    """

    def ranks(rows: Array) -> Floats:
        near = np.log(nearest_distance(rows, generated, scale) + TINY)
        if known is None:
            return -near
        return np.log(nearest_distance(rows, known, scale) + TINY) - near

    return area(ranks(members), ranks(others))


class Membership:
    """Area under the ROC curve of two membership attacks, in standardised values of the table."""

    of_training = True

    scores: ClassVar[Infos] = {
        "membership": share_info(
            "Membership attack, AUC",
            "target",
            f"{ATTACKS} by the distance to the nearest sample: 0.5 for chance, 1 if every training "
            "row is identified. "
            "Other attacks may be stronger.",
            group="Privacy",
            target=0.5,
        ),
        "membership_ratio": share_info(
            "Membership attack with known rows, AUC",
            "target",
            f"{ATTACKS} by the ratio of the distances to known real rows and to samples: 0.5 for "
            "chance.",
            group="Privacy",
            target=0.5,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return (
            samples.table is not None and min(len(samples.training), len(samples.reference)) >= 20
        )

    def __call__(self, samples: Samples) -> Scores:
        """Compute two scores; the second attacker knows half of the held-out rows.

        Standard errors are over new candidates, which all samplings share.
        """
        training = samples.training
        reference = samples.reference
        others = some(reference, MOST, 1)
        members = some(training, len(others), 0)
        generated = samples.generated if samples.generated_more is None else samples.generated_more
        half = len(others) // 2
        scale = samples.scale
        attacks = {
            "membership": attack(members, others[: len(members)], generated, None, scale),
            "membership_ratio": attack(
                members[:half], others[:half], generated, others[half:], scale
            ),
        }
        scores = {}
        for name, (above, below) in attacks.items():
            error, _ = area_errors(above, below)
            scores[name] = Score(float(above.mean()), error=error, reference_error=error)
        return scores


COMPARED = 5000  # Maximum number of rows per side: time grows with their square
LEVELS = 30
LEAST = 20  # Minimum number of rows per block for errors
WHERE = "with numbers in units of their range and categories as indicators"


def fidelity(generated: Floats, real: Floats) -> Floats:
    """Compute alpha-precision and beta-recall of clouds (n, f), integrated over 30 levels.

    P(alpha) is the fraction of samples in the ball around the real mean that holds a fraction alpha
    of real data. R(beta) is the fraction of real points that are no farther from their nearest
    sample than from their nearest other real point, and whose nearest sample is among the fraction
    beta closest to the samples' mean. The results are 1 - mean |P - alpha| / mean alpha, and the
    same for R and beta.

    References:
        Alaa et al., How faithful is your synthetic data?, 2022, arXiv:2102.08921, sections 3 and 4,
        without their embedding in a sphere ("naive" in synthcity).
    """
    levels = np.linspace(0, 1, LEVELS)
    centre = real.mean(0)
    radii = np.quantile(np.linalg.norm(real - centre, axis=1), levels)
    outward = np.linalg.norm(generated - centre, axis=1)
    precision = (outward[:, None] <= radii).mean(0)
    own, _ = nearest(real, real, 1)
    distances, at = nearest(real, generated)
    close = distances <= own
    from_mean = np.linalg.norm(generated[at] - generated.mean(0), axis=1)
    within = from_mean[:, None] <= np.quantile(from_mean, levels)
    recall = (close[:, None] & within).mean(0)
    gaps = np.abs(np.stack([precision, recall]) - levels).sum(1)
    return np.asarray(1 - gaps / levels.sum())


class Fidelity:
    """Alpha-precision and beta-recall of the rows of a table."""

    definition: ClassVar[int] = 2
    scores: ClassVar[Infos] = {
        "alpha_precision": share_info(
            "Alpha-precision",
            "higher",
            "Agreement of samples and real rows in the distance from the centre of the data, "
            f"{WHERE}; at most 1.",
            group="Quality and diversity",
        ),
        "beta_recall": share_info(
            "Beta-recall",
            "higher",
            "Fraction of real rows that are closer to a sample than to any other real row, "
            f"{WHERE}; about 0.5 for real data.",
            group="Quality and diversity",
            role="diversity",
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return samples.table is not None and samples.equal and len(samples.generated) >= 10

    def __call__(self, samples: Samples) -> Scores:
        generated, real = embedded(samples.table)
        x = generated[shuffled(generated, 0)[:COMPARED]]
        y = real[shuffled(real, 1)[:COMPARED]]
        n = len(x)
        values = np.clip(fidelity(x, y), 0, 1).tolist()
        spreads = None
        if samples.errors:
            spreads = by_blocks(fidelity, x, y, LEAST)
        scores = {}
        for place, (name, value) in enumerate(zip(self.scores, values, strict=True)):
            scores[name] = Score(value)
            if spreads is not None:
                error = max(float(spreads[place]), share_error(value * n, n))
                scores[name] = Score(value, error=error, reference_error=error * 0.5**0.5)
        return scores
