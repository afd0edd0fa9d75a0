"""A map of codes as SVG: a dot for each example, in the colour of its class."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from pushforward.pictures import limits_of
from pushforward.report.charts import svg_open

__all__ = ["code_chart"]

DOTS = 800
"""Examples that are drawn at most."""
HUES = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#b07aa1", "#9c755f", "#edc948", "#ff9da7", "#8a8a8e")
APART = 0.45
"""Spread of the classes' means over that of all codes from which names stand at the means; below, they would cover each other."""
SIZE = 400


def code_chart(points: np.ndarray, labels: np.ndarray | None, names: Sequence[str], label: str) -> str:
    """Codes in the plane.

    Args:
        points: (n, 2). Points that are not finite are left out.
        labels: The class of each point, int (n,), or None.
        names: Of the classes.
        label: For readers who do not see it.

    Returns:
        SVG; empty where there is no finite point.
    """
    known = np.isfinite(points).all(1)
    points, group = points[known][:DOTS], None if labels is None else labels[known][:DOTS]
    if not len(points):
        return ""
    left, right, low, high = limits_of(points)
    places = (points - [left, high]) / [right - left, low - high] * SIZE
    parts = [svg_open(SIZE, SIZE, label, "codes")]
    classes = [0] if group is None else [int(number) for number in np.unique(group)]
    for number in classes:
        members = places if group is None else places[group == number]
        title = f"<title>{escape(names[number])}</title>" if group is not None and number < len(names) else ""
        dots = "".join(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3.4"/>' for x, y in members)
        parts.append(f'<g fill="{HUES[number % len(HUES)]}" opacity=".72">{title}{dots}</g>')
    means = [] if group is None else [(number, places[group == number].mean(0)) for number in classes]
    if len(means) > 1 and np.std([mean for _, mean in means], axis=0).max() >= APART * places.std(axis=0).max():
        parts += [
            f'<text class="class" x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle">{escape(names[number])}</text>'
            for number, (x, y) in means
            if number < len(names)
        ]
    return "".join([*parts, "</svg>"]) + _legend(means, names)


def _legend(means: Sequence[tuple[int, np.ndarray]], names: Sequence[str]) -> str:
    items = "".join(
        f'<li><svg class="sign" viewBox="-6 -6 12 12" style="fill:{HUES[number % len(HUES)]}" aria-hidden="true">'
        f'<circle r="5"/></svg>{escape(names[number])}</li>'
        for number, _ in means
        if number < len(names)
    )
    return f'<ul class="legend small">{items}</ul>' if items else ""
