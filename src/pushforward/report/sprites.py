"""Pictures of samples inside the page: grids, and sprite sheets with one frame below the other."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from pushforward.evaluation.measurements import Pictures
from pushforward.evaluation.results import ModelResult
from pushforward.pictures import (
    COLOURS,
    Limits,
    grid_picture,
    image,
    limits_of,
    scatter_picture,
    square,
)

if TYPE_CHECKING:
    from PIL import Image

_Item = TypeVar("_Item")

# Factors for differences of images; the first that keeps 99 % of them within the range is used
ENLARGED = (8, 4, 2, 1)
TILES = 5  # Images along each side of a grid of samples
BEHIND = 300  # Number of real examples behind samples; more rings would overlap
SMALL = 28  # Smaller tiles are enlarged by an integer factor, so that their pixels stay sharp


@dataclass(frozen=True)
class Sprite:
    """A sheet of frames, one below the other.

    Args:
        uri: The sheet as a data URI.
        frames: The number of frames.
        width: Width of a frame in pixels.
        height: Height of a frame in pixels.
        labels: The label of each frame.
        moments: The time or the step of each frame.
    """

    uri: str
    frames: int
    width: int
    height: int
    labels: Sequence[str] = ()
    moments: Sequence[float] = ()


def data_uri(picture: Image.Image, lossless: bool = True) -> str:
    """Return a picture as a data URI: WebP if Pillow supports it, else PNG."""
    from PIL import features

    buffer = io.BytesIO()
    if features.check("webp"):
        if picture.mode == "LA":
            picture = picture.convert("RGBA")
        picture.save(buffer, "WEBP", lossless=lossless, quality=70 if lossless else 86, method=4)
        kind = "webp"
    else:
        picture.save(buffer, "PNG", optimize=True)
        kind = "png"
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def tiled(images: np.ndarray, columns: int | None = None) -> tuple[Image.Image, bool]:
    """Return images as one picture, small ones enlarged, and whether their pixels must stay sharp."""
    side = max(images.shape[1:3])
    return grid_picture(
        images, columns, scale=max(1, -(-SMALL // side)), gap=2, paper=None
    ), side <= 32


def shown(images: np.ndarray, columns: int) -> tuple[str, int, int]:
    """Return the data URI, width and height of images in a number of columns."""
    picture, exact = tiled(images, columns)
    return data_uri(picture, exact), picture.width, picture.height


def projection(
    real: np.ndarray | None, others: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the centre (d,) and the axes (d, 2) on which vectors are drawn.

    Two columns are drawn unchanged, more on the first two principal axes of the real data.

    Args:
        real: Real data, shape (m, d), or None.
        others: Samples, shape (n, d), which replace missing real data.
    """
    base = np.asarray(
        real if real is not None and len(real) else np.concatenate(list(others)), dtype=np.float64
    )
    base = base[np.isfinite(base).all(1)]
    d = base.shape[1]
    if d <= 2 or len(base) < 3:
        return np.zeros(d), np.eye(d, 2)
    centre = base.mean(0)
    scale = base.std(0)
    scale[scale == 0] = 1
    _, _, axes = np.linalg.svd((base - centre) / scale, full_matrices=False)
    return centre, axes[:2].T / scale[:, None]


class Look:
    """Scaling and rendering of the samples of a comparison, the same for all models.

    Args:
        pictures: Pictures by model, with real data as "real".
        detail: Relative size; values below 1 make smaller tiles and fewer frames.
        suffix: A letter that separates the styles of several comparisons on one page.
        numbers: Numbers of the models, which set their colours; by default their places in the comparison.
    """

    def __init__(
        self,
        pictures: Mapping[str, Pictures],
        detail: float = 1.0,
        suffix: str = "",
        numbers: Mapping[str, int] | None = None,
    ) -> None:
        self.suffix = suffix
        self.numbers = numbers or {}
        self.pictures = pictures
        self.detail = detail
        self.real = self.samples("real")
        clouds = [
            rows for name in pictures if (rows := self.samples(name)) is not None and rows.ndim == 2
        ]
        self.vectors = bool(clouds)
        if self.vectors:
            self.centre, self.axes = projection(self.real, clouds)
            flat = [self._flat(rows) for rows in clouds]
            fields = [drawn.field for drawn in pictures.values() if drawn.field is not None]
            around = limits_of(*([self._flat(self.real)] if self.real is not None else flat))
            self.limits: Limits = fields[0].limits if fields and self.columns() == 2 else around
            self.behind = None if self.real is None else self._flat(self.real)

    def numbered(self, models: Iterable[ModelResult]) -> list[tuple[int, ModelResult]]:
        """Return models with their numbers."""
        return [(self.numbers.get(model.name, place), model) for place, model in enumerate(models)]

    def samples(self, name: str) -> np.ndarray | None:
        """Return the samples of a model or of "real"; None if there are none."""
        return _rows(self.of(name).grid)

    def of(self, name: str) -> Pictures:
        """Return the pictures of a model, which may be empty."""
        return self.pictures.get(name) or Pictures()

    def grid(self, name: str, index: int | None) -> tuple[str, int, int] | None:
        """Return data URI, width and height of a model's samples; ``index`` None draws real data."""
        rows = self.samples(name)
        if rows is None:
            return None
        picture, exact = self._picture(
            rows,
            index,
            most=TILES**2,
            tile=round(72 * self.detail),
            size=max(160, round(360 * self.detail)),
        )
        return data_uri(picture, exact), picture.width, picture.height

    def sprite(
        self, frames: Sequence[tuple[float, np.ndarray]] | None, index: int, word: str
    ) -> Sprite | None:
        """Return a sheet of frames; None without any.

        Args:
            frames: Pairs of time or step and samples, in order.
            index: The number of the model.
            word: "t" for times, or the words before a step.
        """
        drawable = [(at, rows) for at, x in frames or [] if (rows := _rows(x)) is not None]
        if not drawable:
            return None
        chosen = _spaced(drawable, max(6, round(24 * self.detail)))
        tile = round(48 * self.detail)
        size = round(260 * self.detail)
        pictures = [
            self._picture(rows, index, most=TILES**2, tile=tile, size=size) for _, rows in chosen
        ]
        first, lossless = pictures[0]
        labels = [
            f"t = {float(at):.2f}" if word == "t" else f"{word} {int(at):,}" for at, _ in chosen
        ]
        moments = [float(at) for at, _ in chosen]
        uri = data_uri(sheet([picture for picture, _ in pictures]), lossless)
        return Sprite(uri, len(pictures), first.width, first.height, labels, moments)

    def _flat(self, rows: np.ndarray) -> np.ndarray:
        points: np.ndarray = (rows - self.centre) @ self.axes
        if rows.shape[1] == 1:
            points[:, 1] = np.linspace(-1, 1, len(points))
        return points

    def _picture(
        self, rows: np.ndarray, index: int | None, most: int, tile: int, size: int
    ) -> tuple[Image.Image, bool]:
        if rows.ndim == 2:
            points = self._flat(rows)
            draw = partial(scatter_picture, limits=self.limits, size=size, transparent=True)
            if index is None:
                return draw(points[:0], points), True
            behind = None if self.behind is None else self.behind[:BEHIND]
            return draw(points, behind, ink=_rgb(COLOURS[index % len(COLOURS)])), True
        return tiled(shrunk(rows[:most], tile))

    def pair(self, name: str, index: int) -> tuple[list[tuple[str, int, int]], int]:
        """Draw images of a map in one call, those of its teacher from the same noise, and the difference.

        Returns:
            The pictures, which may be missing, and the factor of the difference.
        """
        jumped, own = self._both(name)
        if jumped is None or own is None or jumped.ndim != 4:
            return [], 1
        gap = np.abs(jumped.astype(int) - own.astype(int))
        factor = next(
            times for times in ENLARGED if times * np.quantile(gap, 0.99) <= 255 or times == 1
        )
        compared = [jumped, own, (gap * factor).clip(0, 255).astype(np.uint8)]
        tile = round(72 * self.detail)
        pictures = [self._picture(x, index, most=36, tile=tile, size=0) for x in compared]
        return [
            (data_uri(picture, exact), picture.width, picture.height) for picture, exact in pictures
        ], factor

    def moved(self, name: str) -> np.ndarray | None:
        """Return lines (n, 2, 2) from samples of a teacher to those of the map in one call; None for images."""
        jumped, own = self._both(name)
        if jumped is None or own is None or jumped.ndim != 2 or not self.vectors:
            return None
        return np.stack([self._flat(own), self._flat(jumped)], axis=1)

    def _both(self, name: str) -> tuple[np.ndarray | None, np.ndarray | None]:
        jumped, own = (_rows(x) for x in self.of(name).pair or (None, None))
        if jumped is not None and own is not None and jumped.shape == own.shape:
            return (jumped, own)
        return (None, None)

    def paths(self, name: str) -> np.ndarray | None:
        """Return the trajectories (n, steps + 1, 2) of a model in the plane; None without any."""
        paths = self.of(name).paths
        lines = None if paths is None else np.asarray(paths, dtype=float)
        if lines is not None and lines.ndim == 3 and lines.shape[2] == 2 and lines.size:
            return lines
        return None

    def paths_limits(self) -> Limits:
        """Return the limits of a square that contains real data and the start of all trajectories."""
        starts = [lines[:, 0] for name in self.pictures if (lines := self.paths(name)) is not None]
        real = [np.array(self.limits).reshape(2, 2).T] if self.vectors else []
        points = np.concatenate([*starts, *real])
        points = points[np.isfinite(points).all(1)]
        return square(points.min(0), points.max(0), 1.04)

    def columns(self) -> int:
        """Return the number of columns of vectors; 0 for images."""
        if self.vectors:
            return len(self.centre)
        return 0


def _rows(samples: np.ndarray | None) -> np.ndarray | None:
    """Return samples as uint8 (n, height, width, channels) or float (n, d); None for anything else."""
    if samples is None:
        return None
    rows = np.asarray(samples)
    if rows.ndim not in (2, 4) or not len(rows):
        return None
    if rows.ndim == 2:
        return rows.astype(float)
    if rows.dtype != np.uint8:
        rows = (np.clip(np.nan_to_num(rows.astype(float)), 0, 1) * 255).round().astype(np.uint8)
    return rows


def limits_from(array: np.ndarray) -> Limits:
    """Return four numbers of an array as limits."""
    left, right, low, high = (float(number) for number in array)
    return left, right, low, high


def sheet(pictures: Sequence[Image.Image]) -> Image.Image:
    """Stack pictures of one size vertically."""
    from PIL import Image

    first = pictures[0]
    whole = Image.new(first.mode, (first.width, first.height * len(pictures)))
    for number, picture in enumerate(pictures):
        whole.paste(picture, (0, number * first.height))
    return whole


def shrunk(rows: np.ndarray, most: int) -> np.ndarray:
    """Reduce images (n, height, width, channels) whose longer side has more than ``most`` pixels."""
    from PIL import Image

    height, width = rows.shape[1:3]
    if max(height, width) <= max(most, 16):
        return rows
    factor = max(most, 16) / max(height, width)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = [np.asarray(image(row).resize(size, Image.Resampling.LANCZOS)) for row in rows]
    return np.stack([array[..., None] if array.ndim == 2 else array for array in small])


def _spaced(rows: list[_Item], most: int) -> list[_Item]:
    """Return at most ``most`` evenly spaced items, including the first and the last."""
    if len(rows) <= most:
        return rows
    return [rows[i] for i in np.linspace(0, len(rows) - 1, most).round().astype(int)]


def _rgb(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
