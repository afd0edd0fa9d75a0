"""Sharpness of images, and similarity of reconstructions (PSNR, SSIM)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from pushforward.metrics.score import Infos, MetricInfo, Samples, Score, Scores
from pushforward.metrics.subsets import Array, blocks
from pushforward.metrics.uncertainty import errors

EXAMPLES = 1000  # Images that are transformed at a time


def high_frequency_powers(x: Array, shape: Sequence[int]) -> Array:
    """Compute the power of images above 0.25 cycles per pixel, (n,)."""
    _, height, width = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    fine = frequency > 0.25
    powers = np.empty(len(x))
    for part in blocks(len(x), EXAMPLES):
        images = np.asarray(x[part], dtype=np.float64).reshape(-1, *shape)
        spectrum = np.fft.fft2(images)[..., fine]
        powers[part] = (np.abs(spectrum) ** 2).sum((1, 2))
    return powers / int(np.prod(shape)) ** 2


class Sharpness:
    """Power of high frequencies in generated images relative to real images."""

    scores: ClassVar[Infos] = {
        "sharpness": MetricInfo(
            "Sharpness",
            "target",
            "Fine detail relative to real images. Below 1, samples are blurred; above 1, they are "
            "noisy.",
            target=1.0,
            least=0.0,
        )
    }

    def applies(self, samples: Samples) -> bool:
        if len(samples.shape) != 3 or max(samples.shape[1:]) < 4:
            return False
        return bool(high_frequency_powers(samples.reference, samples.shape).any())

    def __call__(self, samples: Samples) -> Scores:
        generated = high_frequency_powers(samples.generated, samples.shape)
        real = high_frequency_powers(samples.reference, samples.shape)
        usual = real.mean()
        ratio = float(generated.mean() / usual)
        error, reference_error = errors(generated / usual, ratio * real / usual)
        return {"sharpness": Score(ratio, error=error, reference_error=reference_error)}


MOST = 100.0  # Decibels of a reconstruction without any error
# The Gaussian window of SSIM, 11 x 11 pixels
SIGMA = 1.5
RADIUS = 5
# Stabilising constants of SSIM for images in [0, 1]
C1 = 0.01**2
C2 = 0.03**2


def psnr(x: Array, y: Array) -> Array:
    """Compute 10 log10(1 / mean squared error) of images (n, C, H, W) in [0, 1], at most 100."""
    gaps = (np.asarray(x, dtype=np.float64) - y).reshape(len(x), -1)
    error = (gaps**2).mean(1)
    return np.asarray(-10 * np.log10(np.maximum(error, 10 ** (-MOST / 10))))


def ssim(x: Array, y: Array) -> Array:
    """Compute the structural similarity of images (n, C, H, W) in [0, 1], (n,).

    References:
        Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, 2004,
        equation 13; images are mirrored at their edges.
    """
    x = np.asarray(x, dtype=np.float64)
    y = np.asarray(y, dtype=np.float64)
    mean_x = _window_mean(x)
    mean_y = _window_mean(y)
    variance_x = _window_mean(x * x) - mean_x**2
    variance_y = _window_mean(y * y) - mean_y**2
    covariance = _window_mean(x * y) - mean_x * mean_y
    numerator = (2 * mean_x * mean_y + C1) * (2 * covariance + C2)
    denominator = (mean_x**2 + mean_y**2 + C1) * (variance_x + variance_y + C2)
    similarity = numerator / denominator
    return np.asarray(similarity.reshape(len(x), -1).mean(1))


def _window_mean(images: Array) -> Array:
    from scipy.ndimage import gaussian_filter

    return np.asarray(gaussian_filter(images, SIGMA, radius=RADIUS, axes=(2, 3)))
