"""Modes, classes and distinct samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.growth import divergence, divergence_growth, divisions, norm_growth
from pushforward.metrics.score import Infos, MetricInfo, Samples, Score, Scores, share_info
from pushforward.metrics.subsets import Array, drawn, nearest
from pushforward.metrics.uncertainty import divergence_error, errors, share_error

NEAR = 3  # Standard deviations up to which an example is of high quality
FAR = 5  # Standard deviations beyond which an example is a bridge
HOLD = 0.2  # Minimum mass of a held mode relative to its true mass


@runtime_checkable
class Centred(Protocol):
    """Known mixture of isotropic Gaussians."""

    centres: Array
    std: float
    weights: Array


@dataclass(frozen=True)
class ModeCount:
    """Result of `count_modes`."""

    held: int
    reached: int
    high_quality: float
    bridges: float
    spread: float
    divergence: float
    mass: Array
    spread_error: float
    divergence_error: float
    divergence_growth: tuple[float, ...]


def count_modes(x: Array, centres: Array, std: float, weights: Array | None = None) -> ModeCount:
    """Compare examples (n, d) with Gaussians with known centres (k, d), width and masses (k,).

    An example belongs to its nearest centre. Within 3 standard deviations it is of high quality,
    beyond 5 it is a bridge and belongs to no mode.

    * held: modes with at least 20 % of their true mass. reached: modes with an example of high
      quality.
    * spread: root mean square distance to the nearest centre divided by ``std sqrt(d)``.
    * divergence: KL(generated || true) of the masses of high quality, in nats.

    References:
        Lin et al., PacGAN, 2018, arXiv:1712.04086 (found, high quality, reverse KL).
    """
    from scipy.spatial import cKDTree

    k, d = centres.shape
    if weights is None:
        weights = np.full(k, 1 / k)
    else:
        weights = np.asarray(weights, np.float64) / np.sum(weights)
    distance, nearest = cKDTree(centres).query(x)
    good = distance <= NEAR * std
    assigned = distance <= FAR * std
    mass = np.bincount(nearest[assigned], minlength=k) / len(x)
    quality = np.bincount(nearest[good], minlength=k)
    squares = distance**2
    if assigned.any():
        squares = squares[assigned]
    spread = float(np.sqrt(squares.mean() / d) / std)
    spread_error = 0.0
    if spread > 0:
        variance_error = float(np.std(squares) / np.sqrt(len(squares)) / d / std**2)
        spread_error = variance_error / (2 * spread)
    kl = float(-np.log(weights.min()))
    growth: tuple[float, ...] = ()
    if quality.any():
        kl, _ = divergence(quality / quality.sum(), weights)
        growth = divergence_growth(quality, weights)
    return ModeCount(
        held=int((mass >= HOLD * weights).sum()),
        reached=int((quality > 0).sum()),
        high_quality=float(good.mean()),
        bridges=float(1 - assigned.mean()),
        spread=spread,
        divergence=kl,
        mass=mass,
        spread_error=spread_error,
        divergence_error=divergence_error(quality, weights),
        divergence_growth=growth,
    )


class Modes:
    """Number, mass and width of known modes, and bridges."""

    scores: ClassVar[Infos] = {
        "modes_held": MetricInfo(
            "Modes held",
            "higher",
            "Number of modes with at least 20 % of their true mass.",
            group="Modes",
            least=0.0,
        ),
        "modes_found": MetricInfo(
            "Modes found",
            "higher",
            "Number of modes with at least one sample within 3 standard deviations.",
            group="Modes",
            least=0.0,
        ),
        "high_quality": share_info(
            "Near a mode",
            "target",
            "Fraction of samples within 3 standard deviations of a mode. If it exceeds that of "
            "real data, modes are too narrow.",
            group="Modes",
            unbiased=True,
        ),
        "bridges": share_info(
            "Bridges",
            "lower",
            "Fraction of samples more than 5 standard deviations from every mode.",
            unit="%",
            group="Modes",
            unbiased=True,
        ),
        "spread": MetricInfo(
            "Mode width",
            "target",
            "Width of the modes relative to their true width.",
            target=1.0,
            group="Modes",
            unbiased=True,
            least=0.0,
        ),
        "mode_kl": MetricInfo(
            "Mode KL",
            "lower",
            "Reverse KL divergence between the generated and the true mass of the modes.",
            unit="nats",
            group="Modes",
            least=0.0,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        truth = samples.truth
        return isinstance(truth, Centred) and len(truth.centres) > 0 and truth.std > 0

    def __call__(self, samples: Samples) -> Scores:
        """Compute six scores; ``extra`` has the number of modes and their masses."""
        truth = samples.truth
        count = count_modes(samples.generated, truth.centres, float(truth.std), truth.weights)
        n = len(samples.generated)
        modes = len(truth.centres)

        def share(value: float) -> Score:
            return Score(value, error=share_error(value * n, n), reference_error=0.0)

        held = {"of": modes, "mass": count.mass}
        return {
            "modes_held": Score(count.held, extra=held),
            "modes_found": Score(count.reached, extra={"of": modes}),
            "high_quality": share(count.high_quality),
            "bridges": share(count.bridges),
            "spread": Score(count.spread, error=count.spread_error, reference_error=0.0),
            "mode_kl": Score(
                count.divergence,
                error=count.divergence_error,
                reference_error=0.0,
                bias=(modes - 1) / (2 * n),
                growth=count.divergence_growth,
            ),
        }


@runtime_checkable
class Legible(Protocol):
    """Equally frequent modes that a classifier recognises."""

    modes: int

    def read(self, examples: Array) -> Array:
        """Classify raw examples (n, d) into modes from 0, int64 (n,)."""


class Stacked:
    """Number and balance of the modes of stacked images, recognised by a classifier.

    References:
        Metz et al., Unrolled Generative Adversarial Networks, 2017, section 3.3.2.
        Lin et al., PacGAN, 2018, section 4.2.
    """

    scores: ClassVar[Infos] = {
        "stacked_modes": MetricInfo(
            "Stacked modes",
            "higher",
            "Number of modes with at least one sample according to a classifier of the channels "
            "(of 1,000 for three digits).",
            group="Modes",
            least=0.0,
        ),
        "stacked_kl": MetricInfo(
            "Stacked KL",
            "lower",
            "Reverse KL divergence between the mode frequencies of samples and the uniform "
            "distribution.",
            unit="nats",
            group="Modes",
            least=0.0,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return isinstance(samples.truth, Legible)

    def __call__(self, samples: Samples) -> Scores:
        """Compute two scores; ``extra`` has the number of modes."""
        modes = samples.truth.modes
        counts = np.bincount(samples.truth.read(samples.generated), minlength=modes)
        uniform = np.full(modes, 1 / modes)
        n = int(counts.sum())
        kl, _ = divergence(counts / n, uniform)
        missing = np.flatnonzero(counts == 0)
        return {
            "stacked_modes": Score(modes - len(missing), extra={"of": modes, "missing": missing}),
            "stacked_kl": Score(
                max(0.0, kl),
                error=divergence_error(counts, uniform),
                reference_error=0.0,
                bias=(modes - 1) / (2 * n),
                growth=divergence_growth(counts, uniform),
            ),
        }


DIVISIONS = 200


class Classes:
    """Total variation between recognised classes of samples and labels of held-out examples."""

    reads_classes: ClassVar[bool] = True
    scores: ClassVar[Infos] = {
        "class_distance": share_info(
            "Class histogram",
            "lower",
            "Total variation between the class frequencies of samples and of real data: the "
            "fraction of samples that would need another class, according to a classifier.",
            unit="%",
            group="Classes",
        )
    }

    def applies(self, samples: Samples) -> bool:
        return samples.generated_classes is not None and samples.reference_classes is not None

    def __call__(self, samples: Samples) -> Scores:
        """Compute "class_distance"; ``extra`` has the fraction of each class."""
        generated = samples.generated_classes
        reference = samples.reference_classes
        assert generated is not None
        assert reference is not None
        classes = samples.classes
        n = len(generated)
        m = len(reference)
        distance, terms_generated, terms_reference = variation(generated, reference, classes)
        first_order = errors(terms_generated, terms_reference)
        growth: tuple[float, ...] = ()
        if samples.errors:
            pooled = np.concatenate([generated, reference])
            null = []
            for first, second in divisions(n, m, DIVISIONS):
                null.append(variation(pooled[first], pooled[second], classes)[0])
            growth = norm_growth(null, first_order, n, m)
        share = np.bincount(generated, minlength=classes) / n
        real = np.bincount(reference, minlength=classes) / m
        error, reference_error = first_order
        score = Score(
            distance,
            error=error,
            reference_error=reference_error,
            growth=growth,
            extra={"share": tuple(share.tolist()), "real": tuple(real.tolist())},
        )
        return {"class_distance": score}


EQUAL = 1e-6  # Distance up to which two examples are equal, despite rounding
JUDGED = 1000  # Maximum number of examples per side: more are closer to each other


def repeat_distances(x: Array, real: Array) -> tuple[float, float]:
    """Return two distances below which samples (n, f) count as repeated.

    The first is the 1 % quantile of the distances from real examples to their nearest others, which
    also joins blurred samples. The second is at most a fifth of the median, and shrinks with the
    standard deviation of samples. Real examples with an exact copy do not count.
    """
    distances, _ = nearest(real, real, 1)
    distances = distances[distances > EQUAL]
    if not len(distances):
        return EQUAL, EQUAL
    usual = float(np.quantile(distances, 0.01))
    least = min(usual, float(np.median(distances)) / 5)
    shrinkage = x.std(0).mean() / real.std(0).mean()
    return usual, least * float(np.clip(shrinkage, 1 / 3, 1))


def distinct(x: Array, reach: float) -> int:
    """Count the groups of samples x (n, f) linked by distances up to ``reach`` (single linkage)."""
    from sklearn.cluster import DBSCAN

    groups = DBSCAN(eps=reach, min_samples=1).fit_predict(x)
    return int(groups.max()) + 1


class Distinct:
    """Number of distinct samples in feature space, or of rows."""

    real_data_redraws = 5
    scores: ClassVar[Infos] = {
        "distinct_samples": MetricInfo(
            "Distinct samples",
            "target",
            "Number of different samples, where samples that are much closer to each other than "
            "real examples count once. If it is far lower than for real data, the model has "
            "collapsed.",
            group="Quality and diversity",
        )
    }

    def applies(self, samples: Samples) -> bool:
        return samples.equal

    def __call__(self, samples: Samples) -> Scores:
        x = samples.generated_features
        real = samples.reference_features
        if samples.table is not None:
            x, real = samples.points
        x = drawn(x, JUDGED, 0)
        real = drawn(real, JUDGED, 1)
        usual, least = repeat_distances(x, real)
        extra = {"of": len(x), "near": float(distinct(x, usual))}
        return {"distinct_samples": Score(distinct(x, least), extra=extra)}


# An error, and what each generated and each held-out row adds to it
Parts = tuple[float, NDArray[np.float64], NDArray[np.float64]]


def variation(of_x: NDArray[np.int64], of_y: NDArray[np.int64], count: int) -> Parts:
    """Compute the total variation between two sets of integers below ``count``."""
    share, real = (np.bincount(side, minlength=count) / len(side) for side in (of_x, of_y))
    sign = np.sign(share - real) / 2
    return float(np.abs(share - real).sum() / 2), sign[of_x], -sign[of_y]
