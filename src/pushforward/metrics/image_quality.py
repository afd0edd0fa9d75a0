"""Sharpness of images, and similarity of reconstructions (PSNR, SSIM)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pushforward.metrics.score import MetricInfo, Samples, Score
from pushforward.metrics.uncertainty import errors

EXAMPLES = 1000


def high_frequency_powers(x: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Compute the power of each image above half the Nyquist frequency (0.25 cycles per pixel), (n,).

    Args:
        x: Flattened images (n, channels * height * width).
        shape: Shape of an image, (channels, height, width).
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
    """Power of high frequencies in generated images relative to real images."""

    scores: ClassVar[Mapping[str, MetricInfo]] = {
        "sharpness": MetricInfo(
            "Sharpness",
            "target",
            "Fine detail relative to real images. Below 1, samples are blurred; above 1, they are noisy.",
            target=1.0,
            least=0.0,
        )
    }

    def applies(self, samples: Samples) -> bool:
        if len(samples.shape) != 3 or max(samples.shape[1:]) < 4:
            return False
        return bool(high_frequency_powers(samples.reference, samples.shape).any())

    def __call__(self, samples: Samples) -> dict[str, Score]:
        generated, real = (
            high_frequency_powers(examples, samples.shape)
            for examples in (samples.generated, samples.reference)
        )
        ratio = float(generated.mean() / real.mean())
        error, shared = errors(generated / real.mean(), ratio * real / real.mean())
        return {"sharpness": Score(ratio, error=error, reference_error=shared)}


MOST = 100.0  # Decibels given to a reconstruction without any error
# Of the Gaussian window, in pixels: 11 x 11
SIGMA = 1.5
RADIUS = 5
# What keeps means and variances near zero from deciding (C1 and C2 where the range is 1)
SMALL = 0.01**2
SMALLER = 0.03**2


def psnr(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the peak signal-to-noise ratio 10 log10(1 / mean squared error) of each example, in decibels, at most 100.

    Args:
        x: Images in [0, 1], (n, C, H, W).
        y: Reconstructions, (n, C, H, W).
    """
    errors = (np.asarray(x, dtype=np.float64) - y).reshape(len(x), -1)
    return np.asarray(-10 * np.log10(np.maximum((errors**2).mean(1), 10 ** (-MOST / 10))))


def ssim(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float64]:
    """Compute the structural similarity of each example, averaged over pixels and channels.

    Args:
        x: Images in [0, 1], (n, C, H, W).
        y: Reconstructions, (n, C, H, W).

    References:
        Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity (2004), eq. 13, with its Gaussian
        window of 11 x 11 and sigma 1.5; images are mirrored at their edges.
    """
    from scipy.ndimage import gaussian_filter

    a = np.asarray(x, dtype=np.float64)
    b = np.asarray(y, dtype=np.float64)

    def blurred(z: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(gaussian_filter(z, (0, 0, SIGMA, SIGMA), radius=(0, 0, RADIUS, RADIUS)))

    mean_a = blurred(a)
    mean_b = blurred(b)
    var_a = blurred(a * a) - mean_a**2
    var_b = blurred(b * b) - mean_b**2
    both = blurred(a * b) - mean_a * mean_b
    alike = (2 * mean_a * mean_b + SMALL) * (2 * both + SMALLER)
    similarity = alike / ((mean_a**2 + mean_b**2 + SMALL) * (var_a + var_b + SMALLER))
    return np.asarray(similarity.reshape(len(a), -1).mean(1))
