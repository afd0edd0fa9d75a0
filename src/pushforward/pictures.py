"""Samples as pictures: grids of images, scatter plots of vectors, animations. Arrays in, PIL images out.

Images are uint8 (n, height, width, channels); vectors are float (n, d), drawn by their first two columns.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pushforward.data.spaces import Space


Limits = tuple[
    float, float, float, float
]  # The limits of a scatter plot: least x, greatest x, least y, greatest y

INK = (0, 114, 178)
REAL = (150, 150, 150)
PAPER = (255, 255, 255)
LEGIBLE = 64  # Pixels that an image needs along its longer side to be looked at
SMOOTH = 3  # Scatter plots are drawn this many times too large and shrunk, so that dots are round


# The colours of models on every page, in their order: Okabe and Ito's palette without yellow and
# black, which vanish on one of
# the two backgrounds
PALETTE = """.e0 { --c: #0072b2; } .e1 { --c: #d55e00; } .e2 { --c: #009e73; } .e3 { --c: #cc79a7; } .e4 { --c: #e69f00; }
.e5 { --c: #56b4e9; } .base { --c: #8a8a8e; }
@media (prefers-color-scheme: dark) { .e0 { --c: #2f97d6; } .e1 { --c: #e8742a; } .e2 { --c: #17b287; } }
"""
COLOURS = re.findall("#[0-9a-f]{6}", PALETTE)[:6]
# Corners of the signs of models, in their order
SHAPES: tuple[Sequence[tuple[float, float]], ...] = (
    (),  # a circle
    [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
    [(0, -1.2), (1.15, 0.9), (-1.15, 0.9)],
    [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
    [(0, 1.2), (1.15, -0.9), (-1.15, -0.9)],
    [(-1.2, -0.4), (-0.4, -0.4), (-0.4, -1.2), (0.4, -1.2), (0.4, -0.4), (1.2, -0.4),
     (1.2, 0.4), (0.4, 0.4), (0.4, 1.2), (-0.4, 1.2), (-0.4, 0.4), (-1.2, 0.4)],
)  # fmt: skip


def image(picture: np.ndarray) -> Image.Image:
    """Convert a picture to a PIL image.

    Args:
        picture: Picture (height, width, channels), uint8; 1, 3 and 4 channels are gray, RGB and
            RGBA. With 2 channels, the first is shown; with 5 or more, the first three.
    """
    if picture.shape[-1] <= 2:
        channels = picture[..., 0]
    else:
        channels = picture[..., : 4 if picture.shape[-1] == 4 else 3]
    return Image.fromarray(np.ascontiguousarray(channels))


def legible(images: np.ndarray) -> int:
    """Choose the integer factor that enlarges images (n, height, width, channels) to about 64 pixels, at least 1."""
    return max(1, round(LEGIBLE / max(images.shape[1:3])))


def grid_picture(
    images: np.ndarray,
    columns: int | None = None,
    *,
    gap: int | None = None,
    scale: int = 1,
    paper: int | None = 255,
) -> Image.Image:
    """Tile images row by row, the first at the top left.

    Args:
        images: Images (n, height, width, channels), uint8, n >= 1.
        columns: Number of images per row; None for an approximately square grid.
        gap: Pixels between tiles; None takes 1 for small and 2 for larger tiles.
        scale: Integer factor for enlarging pixels.
        paper: Gray value of the gaps and of missing tiles, 0 to 255; None leaves them transparent.
    """
    count = len(images)
    columns = columns or int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    height, width = (side * scale for side in images.shape[1:3])
    if gap is None:
        gap = 1 if max(height, width) < 24 else 2
    tiles = [image(pixels) for pixels in images]
    if paper is not None:
        mode = tiles[0].mode
    else:
        mode = {"L": "LA", "RGB": "RGBA"}.get(tiles[0].mode, "RGBA")
    bands = Image.new(mode, (1, 1)).getbands()
    fill = tuple(
        255 if band == "A" and paper is not None else 0 if band == "A" else paper or 0
        for band in bands
    )
    sheet = Image.new(
        mode,
        (columns * (width + gap) - gap, rows * (height + gap) - gap),
        fill if len(fill) > 1 else fill[0],
    )
    for i, tile in enumerate(tiles):
        large = tile if scale == 1 else tile.resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(
            large.convert(mode), (i % columns * (width + gap), i // columns * (height + gap))
        )
    return sheet


def limits_of(*clouds: np.ndarray | None) -> Limits:
    """Find the limits of a square with nearly all points of all clouds, ignoring far outliers."""
    rows = [
        np.asarray(cloud, dtype=float)[:, :2]
        for cloud in clouds
        if cloud is not None and len(cloud)
    ]
    points = np.concatenate(rows) if rows else np.zeros((1, 2))
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        return -1.0, 1.0, -1.0, 1.0
    return square(np.percentile(points, 0.5, axis=0), np.percentile(points, 99.5, axis=0), 1.15)


def square(low: np.ndarray, high: np.ndarray, margin: float = 1.0) -> Limits:
    """Compute the limits of an enlarged square around the rectangle between two corners."""
    middle = (low + high) / 2
    half = max(float((high - low).max()) / 2, 1e-9) * margin
    return middle[0] - half, middle[0] + half, middle[1] - half, middle[1] + half


def scatter_picture(
    points: np.ndarray,
    real: np.ndarray | None = None,
    *,
    limits: Limits | None = None,
    size: int = 480,
    ink: tuple[int, int, int] = INK,
    transparent: bool = False,
    ticks: bool = False,
) -> Image.Image:
    """Draw points as translucent dots over real data as grey rings, distinguishable by shape.

    Args:
        points: Points, (n, d), d >= 2; the first two columns are drawn. Rows that are not finite are left out.
        real: Real data, (m, d), or None.
        limits: Limits of the plot; None to fit them to the real data, or to the points without real
            data.
        size: Pixels along a side.
        ink: Colour of the dots.
        transparent: Whether the background is transparent instead of white.
        ticks: Whether the left and the lower edge have numbers.
    """
    limits = limits or limits_of(real if real is not None else points)
    sheet = Image.new("RGBA", (size * SMOOTH, size * SMOOTH), (*PAPER, 0 if transparent else 255))
    dotted = _dotted(sheet, points, real, limits, ink)
    small = (dotted if transparent else dotted.convert("RGB")).reduce(SMOOTH)
    if ticks:
        _number_edges(small, limits)
    return small


def _number_edges(picture: Image.Image, limits: Limits) -> None:
    from matplotlib.ticker import MaxNLocator

    draw = ImageDraw.Draw(picture)
    size = picture.width
    colour = (120, 120, 120, 255)
    for low, high, across in ((limits[0], limits[1], True), (limits[2], limits[3], False)):
        for value in MaxNLocator(5).tick_values(low, high):
            at = (value - low) / (high - low) * size
            if not 24 < at < size - 12:
                continue
            y = size - at
            draw.line((at, size - 5, at, size) if across else (0, y, 5, y), fill=colour)
            place, anchor = ((at, size - 7), "mb") if across else ((8, y), "lm")
            draw.text(place, f"{round(value, 9) + 0.0:.10g}", fill=colour, anchor=anchor)


def landscape_shares(heights: np.ndarray) -> np.ndarray:
    """Rescale values from their 1 % to their 99 % quantile to [0, 1]; values that are not finite are 0."""
    known = np.isfinite(heights)
    low, high = np.percentile(heights[known], [1, 99]) if known.any() else (0.0, 1.0)
    shares: np.ndarray = (np.where(known, heights, low) - low) / (high - low if high > low else 1.0)
    return shares


def _dotted(
    sheet: Image.Image,
    points: np.ndarray | None,
    real: np.ndarray | None,
    limits: Limits,
    ink: tuple[int, int, int],
) -> Image.Image:
    for cloud, colour, hollow in ((real, REAL, True), (points, ink, False)):
        if cloud is not None and len(cloud):
            sheet = Image.alpha_composite(
                sheet, _dots(np.asarray(cloud, float), limits, sheet.width, colour, hollow)
            )
    return sheet


def _dots(
    points: np.ndarray, limits: Limits, size: int, colour: tuple[int, ...], hollow: bool
) -> Image.Image:
    ink = (*colour, 210 if len(points) <= 300 else 165)
    layer = Image.new("RGBA", (size, size), (*colour, 0))
    draw = ImageDraw.Draw(layer)
    radius = size / (190 if len(points) > 300 else 120) * (1.3 if hollow else 1.0)
    style = {"outline": ink, "width": max(1, round(0.36 * radius))} if hollow else {"fill": ink}
    xs = (points[:, 0] - limits[0]) / (limits[1] - limits[0]) * size
    ys = (limits[3] - points[:, 1]) / (limits[3] - limits[2]) * size
    inside = np.isfinite(xs) & np.isfinite(ys) & (np.abs(xs) < 2 * size) & (np.abs(ys) < 2 * size)
    for x, y in zip(xs[inside], ys[inside], strict=True):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), **style)
    return layer


def write_gif(
    path: str | os.PathLike[str],
    frames: Sequence[np.ndarray],
    ms: int = 80,
    *,
    scale: int | None = None,
) -> None:
    """Write an endless animation.

    Args:
        path: Output file, with any name.
        frames: uint8 image batches (n, height, width, channels), or points (n, d) with d >= 2; at least one frame.
        ms: Milliseconds per frame.
        scale: Integer factor for enlarging pixels; None enlarges small images (`legible`).
    """
    if frames[0].ndim == 4:
        pictures = [grid_picture(frame, scale=scale or legible(frames[0])) for frame in frames]
    else:
        limits = limits_of(frames[-1], frames[0])
        pictures = [scatter_picture(frame, limits=limits, size=360, ticks=True) for frame in frames]
    first, *others = [_palette(picture) for picture in pictures]
    options: dict[str, Any] = {"duration": ms, "loop": 0, "disposal": 1, "optimize": False}
    first.save(os.fspath(path), format="GIF", save_all=True, append_images=others, **options)


def _palette(picture: Image.Image) -> Image.Image:
    if picture.mode == "L":
        return picture
    if picture.mode == "RGBA":
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, (*PAPER, 255)), picture)
    return picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)


WIDTHS = (
    2.5  # Standard deviations of the data on either side of its mean that a plot spans at least
)
NAMED = 12  # Classes up to which a legend names their colours


def columns_picture(
    points: np.ndarray, space: Space, labels: np.ndarray | None = None
) -> Image.Image:
    """Draw points coloured by class, with column names and ticks on the axes.

    The axes span the data's range, by its mean and standard deviation, and nearly all of the points.

    Args:
        points: Points, (n, 2) in data units. Points that are not finite are left out.
        space: Space of the data, with names of columns and classes, mean and standard deviation.
        labels: The class of each point, int (n,), or None.

    Returns:
        RGB.
    """
    import torch
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 5.6), dpi=100, layout="constrained")
    axes = figure.subplots()
    width = space.scale
    centre = space.to_data(torch.zeros(1, 2))[0].tolist()
    points, groups = _groups(points, labels, len(space.classes))
    for number, colour, members in groups:
        name = space.classes[number] if labels is not None and space.classes else None
        axes.scatter(
            members[:, 0], members[:, 1], s=16, color=colour, alpha=0.6, linewidths=0, label=name
        )
    if labels is not None and 1 < len(groups) <= NAMED:
        axes.legend(
            title=(space.label.target or None) if space.label else None, fontsize=8, framealpha=0.85
        )
    (left, right), (bottom, top) = (_range(points[:, at], centre[at], width[at]) for at in (0, 1))
    names = space.columns or ("x0", "x1")
    axes.set(xlim=(left, right), ylim=(bottom, top), xlabel=names[0], ylabel=names[1])
    return figure_picture(figure)


def groups_picture(
    points: np.ndarray, labels: np.ndarray | None, names: Sequence[str], *, size: int = 480
) -> Image.Image:
    """Draw points in the plane coloured by group, with group names at the centres, as RGB.

    Args:
        points: Points, (n, 2). Rows that are not finite are left out.
        labels: The group of each point, int (n,), or None for a single one.
        names: Names of the groups.
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
            style = {
                "boxstyle": "round,pad=0.2",
                "facecolor": "white",
                "edgecolor": colour,
                "alpha": 0.85,
            }
            x, y = np.median(members, axis=0)
            axes.annotate(names[number], (x, y), ha="center", va="center", fontsize=8, bbox=style)
    left, right, bottom, top = limits_of(points)
    axes.set(xlim=(left, right), ylim=(bottom, top), xticks=[], yticks=[])
    axes.set_aspect("equal")
    axes.spines[:].set_color("0.85")
    return figure_picture(figure)


def figure_picture(figure: Figure) -> Image.Image:
    """Convert a matplotlib figure to RGB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


Group = tuple[int, Any, np.ndarray]  # Its number, colour and points


def _groups(
    points: np.ndarray, labels: np.ndarray | None, count: int
) -> tuple[np.ndarray, list[Group]]:
    from matplotlib import colormaps

    known = np.isfinite(points).all(1)
    points = points[known]
    group = np.zeros(int(known.sum()), dtype=int) if labels is None else labels[known]
    colours = colormaps["tab10" if count <= 10 else "tab20"]
    return points, [
        (int(number), colours(int(number) % colours.N), points[group == number])
        for number in np.unique(group)
    ]


def _range(values: np.ndarray, mean: float, std: float) -> tuple[float, float]:
    low, high = np.percentile(values, [0.5, 99.5]) if len(values) else (mean, mean)
    low = min(low, mean - WIDTHS * std)
    high = max(high, mean + WIDTHS * std)
    return float(low - 0.03 * (high - low)), float(high + 0.03 * (high - low))


# Models -------------------------------------------------------------------------------------------
# --------------


def marker(index: int, x: float = 0, y: float = 0, r: float = 4.5) -> str:
    """Draw the marker of a model at a point."""
    corners = SHAPES[(index + index // len(COLOURS)) % len(SHAPES)]
    if not corners:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    return f'<polygon points="{" ".join(f"{x + r * a:.1f},{y + r * b:.1f}" for a, b in corners)}"/>'


def sign(index: int | None) -> Markup:
    """Draw the marker of a model for use in text, also without a style sheet; empty for None."""
    if index is None:
        return Markup()
    size = f'width="12" height="12" fill="{COLOURS[index % len(COLOURS)]}"'  # without a style sheet
    return Markup(
        f'<svg class="sign {colour(index)}" {size} viewBox="-6 -6 12 12" '
        f'aria-hidden="true">{marker(index, r=4.8)}</svg>'
    )


def colour(index: int | None) -> str:
    """Return the CSS class of a model's colour; gray for None."""
    if index is None:
        return "base"
    return f"e{index % len(COLOURS)}"
