"""Pictures of latent spaces: what comes back from codes, walks between them, and how they lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from markupsafe import Markup

from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.pictures import grid_picture, square
from pushforward.report.charts import svg, text
from pushforward.report.sprites import SMALL, Look, data_uri

CHANGE = 4.0  # Mean difference of pixels, of 255, from which something changes on a walk
ALIKE = 12.0  # Mean difference of pixels, of 255, below which two walks look the same
WALKS = {"spherical": "A walk along an arc", "linear": "A walk along a line", "classes": "One code decoded as each class"}
DOTS = 800  # Examples that are drawn at most
HUES = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#b07aa1", "#9c755f", "#edc948", "#ff9da7", "#8a8a8e")
# Spread of the classes' means over that of all codes from which names stand at the means; below, they would cover each other
APART = 0.45
SIZE = 400


def latent_pictures(comparison: Comparison, look: Look, model: ModelResult) -> dict[str, Any] | None:
    """Titled pictures, and the map of the codes with its legend; None for a model without any."""
    drawn = look.of(model.name).latent
    if drawn is None:
        return None
    panels = []
    if drawn.strip is not None:
        panels.append(_latent_panel("Reconstructions below held-out images", drawn.strip, len(drawn.strip) // 2))
    panels += [_latent_panel(WALKS.get(way, f"A walk {way}"), frames, len(frames)) for way, frames in _seen(drawn.walks).items()]
    if drawn.arithmetic is not None:
        a, b = drawn.arithmetic.groups
        panels.append(_latent_panel(f"{a} + ({b} − {a})", drawn.arithmetic.x, drawn.arithmetic.frames))
    chart, legend, labels = Markup(), list[tuple[str, str]](), None if drawn.map is None else drawn.map.labels
    if drawn.map is not None:
        count = 1 + int(labels.max()) if labels is not None and len(labels) else 1
        names = [*comparison.data.classes] or [str(label) for label in range(count)]
        chart, legend = code_chart(
            np.asarray(drawn.map.points, dtype=float), labels, names, f"Codes of held-out examples of {model.name}"
        )
    share = "" if drawn.map is None or drawn.map.share >= 1 else f"{round(100 * drawn.map.share)} % of the variance"
    return {"panels": panels, "chart": chart, "legend": legend, "share": share}


def _latent_panel(title: str, images: np.ndarray, columns: int) -> dict[str, Any]:
    side = max(images.shape[1:3])
    picture = grid_picture(images, columns, scale=max(1, -(-SMALL // side)) if side < SMALL else 1, gap=2, paper=None)
    return {"title": title, "picture": (data_uri(picture, side <= 32), picture.width, picture.height)}


def _seen(walks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The walks on which something changes, and of two that look the same the first alone."""
    seen: dict[str, np.ndarray] = {}
    for way, frames in walks.items():
        pixels = frames.astype(float)
        changes = np.abs(pixels - pixels[:1]).mean(axis=(1, 2, 3)).max() >= CHANGE
        alike = any(other.shape == frames.shape and np.abs(pixels - other).mean() < ALIKE for other in seen.values())
        if changes and not alike:
            seen[way] = frames
    return seen


def code_chart(
    points: np.ndarray, labels: np.ndarray | None, names: Sequence[str], label: str
) -> tuple[Markup, list[tuple[str, str]]]:
    """Codes in the plane, and the colour and name of each class.

    Args:
        points: (n, 2). Points that are not finite are left out.
        labels: The class of each point, int (n,), or None.
        names: Of the classes.
        label: For readers who do not see it.
    """
    known = np.isfinite(points).all(1)
    points, group = points[known][:DOTS], None if labels is None else labels[known][:DOTS]
    if not len(points):
        return Markup(), []
    left, right, low, high = square(points.min(0), points.max(0), 1.05)
    places = (points - [left, high]) / [right - left, low - high] * SIZE
    classes = [0] if group is None else [int(number) for number in np.unique(group)]
    parts, means = [], []
    for number in classes:
        members = places if group is None else places[group == number]
        dots = "".join(f'<circle cx="{x:.0f}" cy="{y:.0f}" r="3.4"/>' for x, y in members)
        title = f"<title>{escape(names[number])}</title>" if group is not None and number < len(names) else ""
        parts.append(f'<g fill="{HUES[number % len(HUES)]}" opacity=".72">{title}{dots}</g>')
        means += [(number, members.mean(0))] if title else []
    if len(means) > 1 and np.std([mean for _, mean in means], axis=0).max() >= APART * places.std(axis=0).max():
        parts += [text(names[number], x, y + 5, "middle", "class") for number, (x, y) in means]
    return svg(SIZE, SIZE, label, parts, "codes"), [(HUES[number % len(HUES)], names[number]) for number, _ in means]
