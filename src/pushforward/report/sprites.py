"""Pictures of samples inside the page: grids and sprite sheets."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
)

if TYPE_CHECKING:
    from PIL import Image

TILES = 5  # images along each side of a grid of samples
BEHIND = 300  # number of real examples behind samples; more rings would overlap
SMALL = 28  # smaller tiles are enlarged by an integer factor, so that their pixels stay sharp
SHARP = 32  # pixels along the longer side of images up to which they are embedded without loss

Embedded = tuple[str, int, int]  # data URI, width and height of a picture


# Pictures ---------------------------------------------------------------------------------------


def data_uri(picture: Image.Image, lossless: bool = True) -> str:
    """Return a picture as WebP."""
    buffer = io.BytesIO()
    if picture.mode == "LA":
        picture = picture.convert("RGBA")
    picture.save(buffer, "WEBP", lossless=lossless, quality=70 if lossless else 86, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def embedded(images: np.ndarray, columns: int | None = None) -> Embedded:
    """Return images as one picture in a number of columns."""
    picture, exact = _tiled(images, columns)
    return data_uri(picture, exact), picture.width, picture.height


def _tiled(images: np.ndarray, columns: int | None = None) -> tuple[Image.Image, bool]:
    side = max(images.shape[1:3])
    enlarged = max(1, -(-SMALL // side))
    return grid_picture(images, columns, scale=enlarged, gap=2, paper=None), side <= SHARP


def shrunk(rows: np.ndarray, most: int) -> np.ndarray:
    """Reduce images (n, height, width, channels) to a maximum number of pixels."""
    from PIL import Image

    small = []
    for row in rows:
        picture = image(row)
        picture.thumbnail((max(most, 16), max(most, 16)), Image.Resampling.LANCZOS)
        pixels = np.asarray(picture)
        small.append(pixels.reshape(*pixels.shape[:2], -1))
    return np.stack(small)


@dataclass(frozen=True)
class Sprite:
    """A sheet of frames, one below the other."""

    uri: str
    frames: int
    width: int
    height: int
    labels: Sequence[str] = ()
    moments: Sequence[float] = ()


def sheet(
    pictures: Sequence[Image.Image],
    lossless: bool = True,
    labels: Sequence[str] = (),
    moments: Sequence[float] = (),
) -> Sprite:
    """Stack pictures of one size vertically."""
    from PIL import Image

    width, height = pictures[0].size
    whole = Image.new(pictures[0].mode, (width, height * len(pictures)))
    for number, picture in enumerate(pictures):
        whole.paste(picture, (0, number * height))
    return Sprite(data_uri(whole, lossless), len(pictures), width, height, labels, moments)


# Samples of a comparison ------------------------------------------------------------------------


def projection(
    real: np.ndarray | None, others: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return centre (d,) and axes (d, 2): two columns, or the first principal axes."""
    if real is None or not len(real):
        real = np.concatenate(list(others))
    base = np.asarray(real, dtype=np.float64)
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
    """Scaling and rendering of the samples of a comparison."""

    def __init__(
        self,
        pictures: Mapping[str, Pictures],
        detail: float = 1.0,
        suffix: str = "",
        numbers: Mapping[str, int] | None = None,
    ) -> None:
        self.pictures = pictures
        self.detail = detail
        self.suffix = suffix
        self.numbers = numbers or {}
        self.real = self.samples("real")
        self.behind: np.ndarray | None = None
        clouds = []
        for name in pictures:
            rows = self.samples(name)
            if rows is not None and rows.ndim == 2:
                clouds.append(rows)
        self.vectors = bool(clouds)
        if self.vectors:
            self.centre, self.axes = projection(self.real, clouds)
            if self.real is not None:
                self.behind = self._flat(self.real)
            self.limits = self._limits(clouds)

    def _limits(self, clouds: Sequence[np.ndarray]) -> Limits:
        for drawn in self.pictures.values():
            if drawn.field is not None and self.columns() == 2:
                return drawn.field.limits
        if self.behind is not None:
            return limits_of(self.behind)
        return limits_of(*map(self._flat, clouds))

    def numbered(self, models: Iterable[ModelResult]) -> list[tuple[int, ModelResult]]:
        """Return models with their numbers."""
        return [(self.numbers.get(model.name, place), model) for place, model in enumerate(models)]

    def of(self, name: str) -> Pictures:
        """Return the pictures of a model, which may be empty."""
        return self.pictures.get(name) or Pictures()

    def samples(self, name: str) -> np.ndarray | None:
        """Return the samples of a model or of "real"."""
        return _rows(self.of(name).grid)

    def columns(self) -> int:
        """Return the number of columns of vectors; 0 for images."""
        if self.vectors:
            return len(self.centre)
        return 0

    def grid(self, name: str, index: int | None) -> Embedded | None:
        """Return a picture of the samples of a model, or of real data without an index."""
        rows = self.samples(name)
        if rows is None:
            return None
        size = max(160, round(360 * self.detail))
        picture, exact = self._picture(rows, index, tile=72, size=size)
        return data_uri(picture, exact), picture.width, picture.height

    def sprite(
        self, frames: Sequence[tuple[float, np.ndarray]] | None, index: int, word: str
    ) -> Sprite | None:
        """Return a sheet of frames."""
        drawable = []
        for moment, samples in frames or ():
            rows = _rows(samples)
            if rows is not None:
                drawable.append((float(moment), rows))
        if not drawable:
            return None
        most = max(6, round(24 * self.detail))
        if len(drawable) > most:
            chosen = np.linspace(0, len(drawable) - 1, most).round().astype(int)
            drawable = [drawable[at] for at in chosen]
        pictures = []
        moments = []
        labels = []
        exact = True
        for moment, rows in drawable:
            picture, exact = self._picture(rows, index, tile=48, size=round(260 * self.detail))
            pictures.append(picture)
            moments.append(moment)
            labels.append(f"t = {moment:.2f}" if word == "t" else f"{word} {int(moment):,}")
        return sheet(pictures, exact, labels, moments)

    def _flat(self, rows: np.ndarray) -> np.ndarray:
        points: np.ndarray = (rows - self.centre) @ self.axes
        if rows.shape[1] == 1:
            points[:, 1] = np.linspace(-1, 1, len(points))
        return points

    def _picture(
        self, rows: np.ndarray, index: int | None, tile: int, size: int
    ) -> tuple[Image.Image, bool]:
        if rows.ndim == 4:
            return _tiled(shrunk(rows[: TILES**2], round(tile * self.detail)))
        points = self._flat(rows)
        behind = None if self.behind is None else self.behind[:BEHIND]
        if index is None:
            behind = points
            points = points[:0]
        red, green, blue = bytes.fromhex(COLOURS[(index or 0) % len(COLOURS)][1:])
        picture = scatter_picture(
            points,
            behind,
            limits=self.limits,
            size=size,
            ink=(red, green, blue),
            transparent=True,
        )
        return picture, True

    # Maps and their teachers

    def pair(self, name: str) -> tuple[list[Embedded], int]:
        """Draw images of a map and its teacher, and their difference with its factor."""
        pair = self._pair(name)
        if pair is None or pair[0].ndim != 4:
            return [], 1
        jumped, taught = pair
        gap = np.abs(jumped.astype(int) - taught.astype(int))
        factor = 8  # the largest factor that keeps 99 % of the pixels within the range
        while factor > 1 and factor * np.quantile(gap, 0.99) > 255:
            factor //= 2
        difference = (gap * factor).clip(0, 255).astype(np.uint8)
        pictures = []
        for images in (jumped, taught, difference):
            pictures.append(embedded(shrunk(images[:36], round(72 * self.detail))))
        return pictures, factor

    def _pair(self, name: str) -> tuple[np.ndarray, np.ndarray] | None:
        pair = self.of(name).pair
        if pair is None:
            return None
        jumped = _rows(pair[0])
        taught = _rows(pair[1])
        if jumped is None or taught is None or jumped.shape != taught.shape:
            return None
        return jumped, taught


def _rows(samples: np.ndarray | None) -> np.ndarray | None:
    if samples is None:
        return None
    rows = np.asarray(samples)
    if rows.ndim not in (2, 4) or not len(rows):
        return None
    if rows.ndim == 2:
        return rows.astype(float)
    return rows
