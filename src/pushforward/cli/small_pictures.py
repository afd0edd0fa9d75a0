"""Samples as small pictures in a terminal, in braille characters, which need no colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

import numpy as np

__all__ = ["beside", "braille_image", "braille_points"]

DOTS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""The bit of each of the 4 x 2 dots of a braille character (Unicode block U+2800)."""
BLANK = 0x2800
GAP = "  "
"""Between panels."""


def braille_points(points: np.ndarray, limits: tuple[float, float, float, float], columns: int = 20) -> list[str]:
    """Points as lines of braille characters, as high as they are wide on most terminals.

    Args:
        points: (n, 2); those that are not finite or outside of the limits are left out.
        limits: Left, right, bottom and top of what is drawn.
        columns: Characters in a line; half as many lines.
    """
    left, right, bottom, top = limits
    wide, high = 2 * columns, 2 * columns
    points = points[np.isfinite(points).all(axis=1)]
    at = np.floor((points - (left, bottom)) / (right - left, top - bottom) * (wide, high)).astype(int)
    at = at[((at >= 0) & (at < (wide, high))).all(axis=1)]
    filled = np.zeros((high, wide), dtype=bool)
    filled[high - 1 - at[:, 1], at[:, 0]] = True
    return _characters(filled)


def braille_image(image: np.ndarray) -> list[str]:
    """An image as lines of braille characters, dark where it is dark; shades are dithered.

    Args:
        image: uint8 (height, width, channels). Its height is filled to a multiple of 4, its width to a multiple of 2.
    """
    from PIL import Image

    shades = Image.fromarray(image.mean(axis=2).astype(np.uint8))
    lit = np.asarray(shades.convert("1"))
    return _characters(np.pad(lit, ((0, -len(lit) % 4), (0, -lit.shape[1] % 2))))


def _characters(lit: np.ndarray) -> list[str]:
    """Dots (4 h, 2 w) as h lines of w characters."""
    high, wide = lit.shape
    codes = BLANK + (lit.reshape(high // 4, 4, wide // 2, 2) * DOTS[:, None, :]).sum(axis=(1, 3))
    return ["".join(map(chr, row)) for row in codes]


def beside(panels: Mapping[str, Sequence[str]], width: int) -> str:
    """Panels of text with their titles above, side by side as far as the width allows, the others below.

    Args:
        panels: Lines by title; of one panel all equally long.
        width: Characters in a line.
    """
    lines = []
    rest = list(panels.items())
    while rest:
        row: list[tuple[str, Sequence[str]]] = []
        used = 0
        while rest and (not row or used + len(GAP) + _wide(rest[0]) <= width):
            used += _wide(rest[0]) + (len(GAP) if row else 0)
            row.append(rest.pop(0))
        titled = [[title, *panel] for title, panel in row]
        widths = [_wide(panel) for panel in row]
        for cells in zip_longest(*titled, fillvalue=""):
            lines.append(GAP.join(cell.ljust(wide) for cell, wide in zip(cells, widths, strict=True)).rstrip())
        lines.append("")
    return "\n".join(lines).rstrip()


def _wide(panel: tuple[str, Sequence[str]]) -> int:
    title, lines = panel
    return max(len(title), *map(len, lines))
