"""Modes reached and how evenly, where a classifier tells the mode of every sample: images stacked in channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from pushforward.errors import DataError
from pushforward.metrics.growth import divergence, divergence_growth
from pushforward.metrics.score import MetricInfo, Samples, Score
from pushforward.metrics.uncertainty import divergence_error


@runtime_checkable
class Legible(Protocol):
    """Equally frequent modes, of which a classifier reads one from every example."""

    modes: int

    def read(self, examples: np.ndarray) -> np.ndarray:
        """The mode of each raw example (n, d), int64 (n,), from 0 to ``modes`` - 1."""


def mode_counts(numbers: np.ndarray, modes: int) -> np.ndarray:
    """How many examples each mode has, int64 (modes,).

    Args:
        numbers: The mode of each example, (n,), whole numbers from 0 to modes - 1.
        modes: How many modes there are.

    Raises:
        DataError: If there is no example, or a number that is no mode.
    """
    if len(numbers) == 0 or numbers.min() < 0 or numbers.max() >= modes:
        raise DataError(f"Expected at least one example, and modes from 0 to {modes - 1} only, got {len(numbers)} examples.")
    return np.bincount(numbers, minlength=modes)


class Stacked:
    """Modes of stacked images that samples reach, and how evenly, as a classifier of single images reads them.

    n examples of a perfect model have a divergence of about (modes - 1) / (2 n), so only values of equal n compare.

    References:
        Metz et al., Unrolled Generative Adversarial Networks (2017), section 3.3.2; Lin et al., PacGAN (2018), section 4.2.
    """

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "stacked_modes": MetricInfo(
            "Stacked modes",
            "higher",
            "Modes with at least one sample, as a classifier reads the channels (three digits: of 1000).",
            group="Modes",
            least=0.0,
        ),
        "stacked_kl": MetricInfo(
            "Stacked KL",
            "lower",
            "How uneven those modes are: reverse KL divergence to the uniform distribution in nats.",
            unit="nats",
            group="Modes",
            least=0.0,
        ),
    }

    def applies(self, samples: Samples) -> bool:
        return isinstance(samples.truth, Legible)

    def __call__(self, samples: Samples) -> dict[str, Score]:
        """Two scores; ``extra`` of "stacked_modes" has how many modes there are ("of") and which have no sample ("missing")."""
        truth = samples.truth
        counts, even = mode_counts(truth.read(samples.generated), truth.modes), np.full(truth.modes, 1 / truth.modes)
        n, value = int(counts.sum()), max(0.0, divergence(counts / counts.sum(), even)[0])
        error, growth = divergence_error(counts, even), divergence_growth(counts, even)
        bias = (truth.modes - 1) / (2 * n)
        return {
            "stacked_modes": Score((counts > 0).sum(), extra={"of": truth.modes, "missing": np.flatnonzero(counts == 0)}),
            "stacked_kl": Score(value, error=error, reference_error=0.0, bias=bias, growth=growth),
        }
