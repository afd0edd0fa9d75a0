"""The strongest directions of many columns."""

from __future__ import annotations

import numpy as np


def principal(centred: np.ndarray, most: int) -> np.ndarray:
    """The principal axes (d, at most ``most``) of centred examples, by falling variance; approximate above 1024 columns."""
    n, d = centred.shape
    if d <= 1024:
        _, vectors = np.linalg.eigh(centred.T @ centred / n)
        axes = vectors[:, ::-1][:, :most]
    else:
        most = min(most, n)
        axes = strongest(centred, most + 16)[1][:, :most]
    return axes * np.where(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])] < 0, -1.0, 1.0)


def strongest(centred: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The strongest directions of many columns, by four rounds of subspace iteration from a fixed start.

    Args:
        centred: (n, d), float; the directions come in its precision.
        most: How many; fewer where there are fewer examples.

    Returns:
        Falling singular values (k,) and orthonormal axes (d, k). The last ones are rough: ask for some more than needed.
    """
    n, d = centred.shape
    axes = np.random.Generator(np.random.Philox(0)).standard_normal((d, min(most, n, d)), dtype=centred.dtype.type)
    for _ in range(4):
        axes = np.linalg.qr(centred.T @ (centred @ axes))[0]
    _, values, turned = np.linalg.svd(centred @ axes, full_matrices=False)
    return values, axes @ turned.T
