"""Points in the plane by matplotlib: samples of two columns over axes in the data's units, and groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.pictures import limits_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from PIL import Image

    from pushforward.data.spaces import Space


WIDTHS = 2.5  # standard deviations of the data on either side of its mean that a plot spans at least
NAMED = 12  # classes up to which a legend names their colours


def columns_picture(points: np.ndarray, space: Space, labels: np.ndarray | None = None) -> Image.Image:
    """Points over axes with the columns' names and ticks, each in the colour of its class.

    The axes span the data's range, by its mean and standard deviation, and nearly all of the points.

    Args:
        points: (n, 2) in data units. Points that are not finite are left out.
        space: Of the data: names of columns and classes, mean and standard deviation.
        labels: The class of each point, int (n,), or None.

    Returns:
        RGB.
    """
    import torch
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 5.6), dpi=100, layout="constrained")
    axes, width, centre = figure.subplots(), space.scale, space.to_data(torch.zeros(1, 2))[0].tolist()
    points, groups = _groups(points, labels, len(space.classes))
    for number, colour, members in groups:
        name = space.classes[number] if labels is not None and space.classes else None
        axes.scatter(members[:, 0], members[:, 1], s=16, color=colour, alpha=0.6, linewidths=0, label=name)
    if labels is not None and 1 < len(groups) <= NAMED:
        axes.legend(title=(space.label.target or None) if space.label else None, fontsize=8, framealpha=0.85)
    (left, right), (bottom, top) = (_range(points[:, at], centre[at], width[at]) for at in (0, 1))
    names = space.columns or ("x0", "x1")
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel=names[0], ylabel=names[1])
    return figure_picture(figure)


def groups_picture(points: np.ndarray, labels: np.ndarray | None, names: Sequence[str], *, size: int = 480) -> Image.Image:
    """Points in the plane, each in the colour of its group, with the groups' names at their middles, as RGB.

    Args:
        points: (n, 2). Rows that are not finite are left out.
        labels: The group of each point, int (n,), or None for a single one.
        names: Of the groups.
        size: Pixels along a side.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(size / 100, size / 100), dpi=100, layout="constrained")
    axes = figure.subplots()
    points, groups = _groups(points, labels, len(names))
    for number, colour, members in groups:
        area = 60 * size / 480 / max(1.0, len(points) / 400) ** 0.5
        axes.scatter(members[:, 0], members[:, 1], s=area, color=colour, alpha=0.6, linewidths=0)
        if labels is not None and len(names) <= 20:
            style = {"boxstyle": "round,pad=0.2", "facecolor": "white", "edgecolor": colour, "alpha": 0.85}
            x, y = np.median(members, axis=0)
            axes.annotate(names[number], (x, y), ha="center", va="center", fontsize=8, bbox=style)
    left, right, bottom, top = limits_of(points)
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    axes.set_aspect("equal")
    axes.spines[:].set_color("0.85")
    return figure_picture(figure)


def figure_picture(figure: Figure) -> Image.Image:
    """A figure of matplotlib as RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


Group = tuple[int, Any, np.ndarray]  # its number, colour and points


def _groups(points: np.ndarray, labels: np.ndarray | None, count: int) -> tuple[np.ndarray, list[Group]]:
    """The points that are finite, and those of each group, of ``count`` that there may be."""
    from matplotlib import colormaps

    known = np.isfinite(points).all(1)
    points, group = points[known], np.zeros(int(known.sum()), dtype=int) if labels is None else labels[known]
    colours = colormaps["tab10" if count <= 10 else "tab20"]
    return points, [(int(number), colours(int(number) % colours.N), points[group == number]) for number in np.unique(group)]


def _range(values: np.ndarray, mean: float, std: float) -> tuple[float, float]:
    low, high = np.percentile(values, [0.5, 99.5]) if len(values) else (mean, mean)
    low, high = min(low, mean - WIDTHS * std), max(high, mean + WIDTHS * std)
    return float(low - 0.03 * (high - low)), float(high + 0.03 * (high - low))
