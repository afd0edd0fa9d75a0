"""Sharpness: is there as much fine detail as in real images?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from pushforward.metrics.score import MetricInfo, Samples, Score
from pushforward.metrics.uncertainty import errors

EXAMPLES = 1000


def high_frequency_powers(x: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """The power of each image at radial frequencies above half of the Nyquist frequency, .25 cycles per pixel, float64 (n,).

    Args:
        x: Flattened images (n, channels * height * width).
        shape: (channels, height, width).
    """
    _, height, width = shape
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    fine = radius > 0.25
    powers = np.empty(len(x))
    for start in range(0, len(x), EXAMPLES):
        images = np.asarray(x[start : start + EXAMPLES], dtype=np.float64).reshape(-1, *shape)
        powers[start : start + EXAMPLES] = (np.abs(np.fft.fft2(images)[..., fine]) ** 2).sum((1, 2))
    return powers / int(np.prod(shape)) ** 2


class Sharpness:
    """Power of high frequencies in generated images over that in real ones; blur gives less than 1, noise more."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "sharpness": MetricInfo(
            "Sharpness",
            "target",
            "Fine detail over that of real images: less than 1 is blurred, more than 1 is noisy.",
            target=1.0,
            least=0.0,
        )
    }

    def applies(self, samples: Samples) -> bool:
        if len(samples.shape) != 3 or max(samples.shape[1:]) < 4:
            return False
        return bool(high_frequency_powers(samples.reference, samples.shape).any())

    def __call__(self, samples: Samples) -> dict[str, Score]:
        generated, real = (high_frequency_powers(examples, samples.shape) for examples in (samples.generated, samples.reference))
        ratio = float(generated.mean() / real.mean())
        error, shared = errors(generated / real.mean(), ratio * real / real.mean())
        return {"sharpness": Score(ratio, error=error, reference_error=shared)}
