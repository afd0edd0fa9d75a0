"""Samples as pictures: grids of images, scatter plots, animations. Arrays in, PIL images out.

Images are uint8 (n, height, width, channels); vectors are float (n, d).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from pushforward.data.spaces import Space


Limits = tuple[float, float, float, float]  # Least x, greatest x, least y, greatest y

INK = (0, 114, 178)
REAL = (150, 150, 150)
PAPER = (255, 255, 255)
LEGIBLE = 64  # Pixels that an image needs along its longer side to be looked at
SMOOTH = 3  # Scatter plots are drawn this many times too large and shrunk, so that dots are round


# The colours of models on every page, in their order: Okabe and Ito's palette without yellow and
# black, which vanish on one of the two
# backgrounds
PALETTE = (
    ".e0 { --c: #0072b2; } .e1 { --c: #d55e00; } .e2 { --c: #009e73; } .e3 { --c: #cc79a7; } "
    ".e4 { --c: #e69f00; }\n.e5 { --c: #56b4e9; } .base { --c: #8a8a8e; }\n"
    "@media (prefers-color-scheme: dark) "
    "{ .e0 { --c: #2f97d6; } .e1 { --c: #e8742a; } .e2 { --c: #17b287; } }\n"
)
COLOURS = re.findall("#[0-9a-f]{6}", PALETTE)[:6]
Corners = list[tuple[float, float]]


def _four_times(corners: Corners) -> Corners:
    shape = []
    for _ in range(4):
        shape += corners
        corners = [(-y, x) for x, y in corners]
    return shape


# Corners of the signs of models, in their order
SHAPES: tuple[Corners, ...] = (
    [],  # a circle
    _four_times([(-0.9, -0.9)]),
    [(0, -1.2), (1.15, 0.9), (-1.15, 0.9)],
    _four_times([(0, -1.3)]),
    [(0, 1.2), (1.15, -0.9), (-1.15, -0.9)],
    _four_times([(-1.2, -0.4), (-0.4, -0.4), (-0.4, -1.2)]),
)


def image(picture: np.ndarray) -> Image.Image:
    """Convert a uint8 picture (height, width, channels) to gray, RGB or RGBA."""
    channels = picture.shape[-1]
    if channels <= 2:
        picture = picture[..., 0]
    elif channels > 4:
        picture = picture[..., :3]
    return Image.fromarray(np.ascontiguousarray(picture))


def legible(images: np.ndarray) -> int:
    """Choose the factor that enlarges images to about 64 pixels."""
    return max(1, round(LEGIBLE / max(images.shape[1:3])))


def grid_picture(
    images: np.ndarray,
    columns: int | None = None,
    *,
    gap: int | None = None,
    scale: int | None = 1,
    paper: int | None = 255,
) -> Image.Image:
    """Tile images (n, height, width, channels), uint8, row by row.

    Args:
        images: At least one image.
        columns: Number of images per row; None for an approximately square grid.
        gap: Pixels between tiles; None takes 1 for small and 2 for larger tiles.
        scale: Integer factor for enlarging pixels; None enlarges small images (`legible`).
        paper: Gray value of the gaps, 0 to 255; None for transparent.
    """
    scale = scale or legible(images)
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    height, width = (side * scale for side in images.shape[1:3])
    if gap is None:
        gap = 1 if max(height, width) < 24 else 2
    size = columns * (width + gap) - gap, rows * (height + gap) - gap
    tiles = [image(pixels) for pixels in images]
    mode = tiles[0].mode
    if paper is None:
        mode = "LA" if mode == "L" else "RGBA"
        sheet = Image.new(mode, size)
    else:
        sheet = Image.new("L", size, paper).convert(mode)
    for i, tile in enumerate(tiles):
        row, column = divmod(i, columns)
        large = tile.resize((width, height), Image.Resampling.NEAREST)
        sheet.paste(large.convert(mode), (column * (width + gap), row * (height + gap)))
    return sheet


def limits_of(*clouds: np.ndarray | None) -> Limits:
    """Find the limits of a square with nearly all points of all clouds."""
    known = [cloud[:, :2] for cloud in clouds if cloud is not None]
    points = np.concatenate([np.empty((0, 2)), *known])
    points = points[np.isfinite(points).all(1)]
    if not len(points):
        return -1.0, 1.0, -1.0, 1.0
    low, high = np.percentile(points, [0.5, 99.5], axis=0)
    return square(low, high, 1.15)


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
) -> Image.Image:
    """Draw points (n, d) as translucent dots over real data (m, d) as grey rings.

    Args:
        points: Points; the first two columns are drawn.
        real: Real data, or None.
        limits: Limits of the plot; None to fit them to the real data, else to the points.
        size: Pixels along a side.
        ink: Colour of the dots.
        transparent: Whether the background is transparent instead of white.
    """
    if limits is None:
        limits = limits_of(points if real is None else real)
    large = size * SMOOTH
    sheet = Image.new("RGBA", (large, large), (*PAPER, 0 if transparent else 255))
    if real is not None:
        sheet = Image.alpha_composite(sheet, _dots(real, limits, large, REAL, hollow=True))
    sheet = Image.alpha_composite(sheet, _dots(points, limits, large, ink, hollow=False))
    if not transparent:
        sheet = sheet.convert("RGB")
    return sheet.reduce(SMOOTH)


def landscape_shares(heights: np.ndarray) -> np.ndarray:
    """Rescale values from their 1 % to their 99 % quantile to [0, 1]."""
    known = np.isfinite(heights)
    if not known.any():
        return np.zeros(heights.shape)
    low, high = np.percentile(heights[known], [1, 99])
    if high <= low:
        high = low + 1.0
    return (np.where(known, heights, low) - low) / (high - low)


def _dots(
    points: np.ndarray, limits: Limits, size: int, colour: tuple[int, int, int], hollow: bool
) -> Image.Image:
    layer = Image.new("RGBA", (size, size), (*colour, 0))
    draw = ImageDraw.Draw(layer)
    radius = size / 120
    opacity = 210
    if len(points) > 300:
        radius = size / 190
        opacity = 165
    ink = (*colour, opacity)
    style: dict[str, Any] = {"fill": ink}
    if hollow:
        radius *= 1.3
        style = {"outline": ink, "width": max(1, round(0.36 * radius))}
    left, right, bottom, top = limits
    points = np.asarray(points, float)
    x = (points[:, 0] - left) / (right - left) * size
    y = (top - points[:, 1]) / (top - bottom) * size
    near = (np.abs(x) < 2 * size) & (np.abs(y) < 2 * size)  # False for points that are not finite
    corners = np.stack([x - radius, y - radius, x + radius, y + radius], 1)[near]
    for box in corners.tolist():
        draw.ellipse(box, **style)
    return layer


def write_gif(
    path: str | os.PathLike[str],
    frames: Sequence[np.ndarray],
    ms: int = 80,
    *,
    scale: int | None = None,
) -> None:
    """Write an endless animation of image batches (n, height, width, channels), or points (n, d).

    Args:
        path: Output file, with any name.
        frames: At least one frame.
        ms: Milliseconds per frame.
        scale: Integer factor for enlarging pixels; None enlarges small images.
    """
    if frames[0].ndim == 4:
        pictures = [grid_picture(frame, scale=scale) for frame in frames]
    else:
        limits = limits_of(frames[-1], frames[0])
        pictures = [scatter_picture(frame, limits=limits, size=360) for frame in frames]
    first, *others = [_palette(picture) for picture in pictures]
    first.save(
        path,
        format="GIF",
        save_all=True,
        append_images=others,
        duration=ms,
        loop=0,
        disposal=1,
        optimize=False,
    )


def _palette(picture: Image.Image) -> Image.Image:
    if picture.mode == "L":
        return picture
    if picture.mode == "RGBA":
        paper = Image.new("RGBA", picture.size, PAPER)
        picture = Image.alpha_composite(paper, picture)
    return picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)


WIDTHS = 2.5  # Standard deviations on either side of the data's mean that a plot spans at least
NAMED = 12  # Classes up to which a legend names their colours


def columns_picture(
    points: np.ndarray, space: Space, labels: np.ndarray | None = None
) -> Image.Image:
    """Draw points (n, 2) in data units coloured by class, with column names and ticks.

    The axes span the data's range, by its mean and standard deviation, and nearly all points.
    """
    import torch
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 5.6), dpi=100, layout="constrained")
    axes = figure.subplots()
    colours = colormaps["tab10" if len(space.classes) <= 10 else "tab20"]
    groups = np.zeros(len(points), dtype=int) if labels is None else labels
    known = np.isfinite(points).all(1)
    points = points[known]
    groups = groups[known]
    present = np.unique(groups).tolist()
    for number in present:
        name = None
        if labels is not None and space.classes:
            name = space.classes[number]
        x, y = points[groups == number].T
        colour = colours(number % colours.N)
        axes.scatter(x, y, s=16, color=colour, alpha=0.6, linewidths=0, label=name)
    if labels is not None and 1 < len(present) <= NAMED:
        title = space.label.target if space.label else None
        axes.legend(title=title or None, fontsize=8, framealpha=0.85)
    centre = space.to_data(torch.zeros(1, 2))[0].tolist()
    across, upwards = map(_range, points.T, centre, space.scale)
    names = space.columns or ("x0", "x1")
    axes.set(xlim=across, ylim=upwards, xlabel=names[0], ylabel=names[1])
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def _range(values: np.ndarray, mean: float, std: float) -> tuple[float, float]:
    low = mean - WIDTHS * std
    high = mean + WIDTHS * std
    if len(values):
        least, greatest = np.percentile(values, [0.5, 99.5])
        low = min(least, low)
        high = max(greatest, high)
    margin = 0.03 * (high - low)
    return float(low - margin), float(high + margin)


RADIUS = 4.8  # Of the sign of a model


def sign(index: int | None) -> Markup:
    """Draw the marker of a model for use in text; empty for None."""
    if index is None:
        return Markup()
    corners = SHAPES[(index + index // len(COLOURS)) % len(SHAPES)]
    shape = f'<circle cx="0.0" cy="0.0" r="{RADIUS}"/>'
    if corners:
        points = [f"{RADIUS * x:.1f},{RADIUS * y:.1f}" for x, y in corners]
        shape = f'<polygon points="{" ".join(points)}"/>'
    fill = COLOURS[index % len(COLOURS)]  # without a style sheet
    size = f'width="12" height="12" fill="{fill}"'
    return Markup(
        f'<svg class="sign {colour(index)}" {size} viewBox="-6 -6 12 12" aria-hidden="true">'
        f"{shape}</svg>"
    )


def colour(index: int | None) -> str:
    """Return the CSS class of a model's colour; gray for None."""
    if index is None:
        return "base"
    return f"e{index % len(COLOURS)}"
