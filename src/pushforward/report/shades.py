"""A landscape as shades of one colour that let the page through, light or dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pushforward.pictures import Limits

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["limits_from", "shaded_picture"]

COLOUR, BANDS, OPAQUE = (236, 160, 40), 10, 180
"""The colour of a landscape, how many shades it has, and the opacity of its greatest value, of 255."""


def limits_from(array: np.ndarray) -> Limits:
    """Four numbers of an array as limits."""
    left, right, low, high = (float(number) for number in array)
    return left, right, low, high


def shaded_picture(heights: np.ndarray, limits: Limits, seen: Limits, size: int) -> Image.Image:
    """Values over the plane, the more opaque the greater; nothing is drawn outside of their grid.

    Args:
        heights: (rows, columns) values on a regular grid: rows from the least to the greatest y, columns from the least to the
            greatest x.
        limits: What the grid spans.
        seen: What the picture shows.
        size: Pixels along a side.

    Returns:
        RGBA.
    """
    from PIL import Image

    known = np.isfinite(heights)
    low, high = np.percentile(heights[known], [1, 99]) if known.any() else (0.0, 1.0)
    share = np.clip((np.where(known, heights, low) - low) / (high - low if high > low else 1.0), 0, 1)
    middles = (np.arange(size) + 0.5) / size
    xs, ys = seen[0] + middles * (seen[1] - seen[0]), seen[3] - middles * (seen[3] - seen[2])
    across, up = np.linspace(*limits[:2], share.shape[1]), np.linspace(*limits[2:], share.shape[0])
    rows = np.stack([np.interp(xs, across, row) for row in share])
    shade = np.stack([np.interp(ys, up, column) for column in rows.T], axis=1)
    inside = ((xs >= limits[0]) & (xs <= limits[1]))[None, :] & ((ys >= limits[2]) & (ys <= limits[3]))[:, None]
    alpha = np.floor(np.clip(shade, 0, 0.999) * BANDS) / (BANDS - 1) * OPAQUE * inside
    colour = np.broadcast_to(np.array(COLOUR, dtype=float), (size, size, 3))
    return Image.fromarray(np.concatenate([colour, alpha[..., None]], axis=2).round().astype(np.uint8))
