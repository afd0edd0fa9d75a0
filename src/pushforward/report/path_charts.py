"""Trajectories in the plane as SVG."""

from __future__ import annotations

import numpy as np

from pushforward.pictures import Limits
from pushforward.report.charts import COLOURS, svg_open

__all__ = ["path_chart"]

CROSS = "l4.8 4.8m0 -4.8l-4.8 4.8"
"""From its upper left end."""


def path_chart(lines: np.ndarray, real: np.ndarray | None, limits: Limits, index: int, label: str, size: int = 320) -> str:
    """Trajectories in the plane: a cross where each starts, a dot where it ends, real data as gray rings behind.

    Args:
        lines: (n, steps + 1, 2); lines that are not finite are left out.
        real: (m, 2), or None.
        limits: What is shown; the rest is cut off.
        index: The model's number, which sets the colour.
        label: For readers who do not see it.
        size: Units of the drawing's sides.
    """
    corner, sides = np.array([limits[0], limits[3]]), np.array([limits[1] - limits[0], limits[2] - limits[3]])
    parts = [svg_open(size, size, label, "paths")]
    if real is not None:
        dots = (real - corner) / sides * size
        parts += ["<g class=real>", *(f'<circle cx="{a:.0f}" cy="{b:.0f}" r="2"/>' for a, b in dots.tolist()), "</g>"]
    drawn = [_thinned((line - corner) / sides * size) for line in lines if np.isfinite(line).all()]
    parts.append(f'<g class="e{index % len(COLOURS)}">')
    parts += ['<path class="way" d="M' + "L".join(f"{a:.1f} {b:.1f}" for a, b in line) + '"/>' for line in drawn]
    parts += [f'<path class="from" d="M{line[0][0] - 2.4:.1f} {line[0][1] - 2.4:.1f}{CROSS}"/>' for line in drawn]
    parts += [f'<circle class="to" cx="{line[-1][0]:.1f}" cy="{line[-1][1]:.1f}" r="2.4"/>' for line in drawn]
    return "".join([*parts, "</g></svg>"])


def _thinned(line: np.ndarray) -> list[list[float]]:
    """The points of a line that are further than a unit from the one before, and its ends."""
    points = [line[0]]
    for point in line[1:-1]:
        if np.hypot(*(point - points[-1])) > 1:
            points.append(point)
    return [point.tolist() for point in [*points, line[-1]]]
