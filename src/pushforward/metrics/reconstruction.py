"""How near reconstructions are to their images: peak signal-to-noise ratio and structural similarity.

They compare an image with its own reconstruction, pair by pair, so they are no `Metric` of generated samples.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST = 100.0  # Decibels given to a reconstruction without any error
SIGMA, RADIUS = 1.5, 5  # Of the Gaussian window, in pixels: 11 x 11
SMALL, SMALLER = 0.01**2, 0.03**2  # What keeps means and variances near zero from deciding (C1 and C2 where the range is 1)


def psnr(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float64]:
    """10 log10(1 / mean squared error) of each example, in decibels, at most 100.

    Args:
        x: Images in [0, 1], (n, C, H, W).
        y: Their reconstructions.
    """
    errors = (np.asarray(x, dtype=np.float64) - y).reshape(len(x), -1)
    decibels: NDArray[np.float64] = -10 * np.log10(np.maximum((errors**2).mean(1), 10 ** (-MOST / 10)))
    return decibels


def ssim(x: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float64]:
    """Structural similarity of each example: 1 for equal images, 0 for unrelated ones; the mean over places and channels.

    Args:
        x: Images in [0, 1], (n, C, H, W).
        y: Their reconstructions.

    References:
        Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity (2004), eq. 13, with its Gaussian
        window of 11 x 11 and sigma 1.5; images are mirrored at their edges.
    """
    from scipy.ndimage import gaussian_filter

    a, b = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)

    def blurred(z: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(gaussian_filter(z, (0, 0, SIGMA, SIGMA), radius=(0, 0, RADIUS, RADIUS)))

    mean_a, mean_b = blurred(a), blurred(b)
    var_a, var_b = blurred(a * a) - mean_a**2, blurred(b * b) - mean_b**2
    both = blurred(a * b) - mean_a * mean_b
    alike = (2 * mean_a * mean_b + SMALL) * (2 * both + SMALLER)
    similarity = alike / ((mean_a**2 + mean_b**2 + SMALL) * (var_a + var_b + SMALLER))
    return np.asarray(similarity.reshape(len(a), -1).mean(1))
