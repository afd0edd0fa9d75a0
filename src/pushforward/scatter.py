"""Samples of two columns over axes in the data's units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

    from pushforward.data.spaces import Space

__all__ = ["columns_picture"]

WIDTHS = 2.5
"""Standard deviations of the data on either side of its mean that a plot spans at least."""
NAMED = 12
"""Classes up to which a legend names their colours."""


def columns_picture(points: np.ndarray, space: Space, labels: np.ndarray | None = None, *, size: int = 560) -> Image.Image:
    """Points over axes with the columns' names and ticks, each in the colour of its class.

    The axes span the data's range, by its mean and standard deviation, and nearly all of the points.

    Args:
        points: (n, 2) in data units. Points that are not finite are left out.
        space: Of the data: names of columns and classes, mean and standard deviation.
        labels: The class of each point, int (n,), or None.
        size: Pixels along a side.

    Returns:
        RGB.
    """
    import torch
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from PIL import Image

    figure = Figure(figsize=(size / 100, size / 100), dpi=100, layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    known, width = np.isfinite(points).all(1), space.scale
    centre = space.to_data(torch.zeros(1, 2))[0].tolist()
    points, group = points[known], np.zeros(int(known.sum()), dtype=int) if labels is None else labels[known]
    colours = colormaps["tab10" if len(space.classes) <= 10 else "tab20"]
    for number in np.unique(group):
        members, name = points[group == number], space.classes[number] if labels is not None and space.classes else None
        axes.scatter(
            members[:, 0], members[:, 1], s=16, color=colours(int(number) % colours.N), alpha=0.6, linewidths=0, label=name
        )
    if labels is not None and 1 < len(np.unique(group)) <= NAMED:
        axes.legend(title=(space.label.target or None) if space.label else None, fontsize=8, framealpha=0.85)
    (left, right), (bottom, top) = (_range(points[:, at], centre[at], width[at]) for at in (0, 1))
    names = space.columns or ("x0", "x1")
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel=names[0], ylabel=names[1])
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _range(values: np.ndarray, mean: float, std: float) -> tuple[float, float]:
    low, high = np.percentile(values, [0.5, 99.5]) if len(values) else (mean, mean)
    low, high = min(low, mean - WIDTHS * std), max(high, mean + WIDTHS * std)
    return float(low - 0.03 * (high - low)), float(high + 0.03 * (high - low))
