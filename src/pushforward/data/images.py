"""Image files read once, in their order: each is used, converted, or left out with a reason."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.census import Census, RefusedError, Tally
from pushforward.data.example_hashes import Hashes, example_hashes
from pushforward.data.image_files import ImageFile, decoded, fit, opened, size_of, stacked
from pushforward.data.image_store import BLOCK, ImageStore
from pushforward.data.levels import level_counts
from pushforward.data.reading import Reading
from pushforward.data.streamed import Streamed
from pushforward.errors import DataError

__all__ = ["Folder", "read_image", "read_images", "resized"]

MAX_BYTES = 16 * 2**30
STREAM_BYTES = 4 * 2**30
"""Pixels, in bytes, from which on images stay on disk."""
MAX_SKIPPED = 0.1
_SHOWN = 5


@dataclass(frozen=True)
class Folder:
    """The images of a store.

    Args:
        x: uint8 (n, C, H, W), an array or `Streamed`; C = 1 if all images are gray, 4 if any is transparent somewhere, else 3.
        labels: int64 (n,), or None without classes.
        classes: names of the classes.
        skipped: (file, reason) of each file left out.
        converted: (file, conversion) of each file that was not plain 8-bit gray, RGB or RGBA.
        ignored: hidden files and files with other endings.
        hashes: of the images before they were scaled (`example_hashes`), uint64 (n,); None where they were not.
        places: the number of each image among the files of the store, int64 (n,).
        census: what is known of each file, where that was wanted.
        names: of the files of the images.
    """

    x: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    converted: tuple[tuple[str, str], ...] = ()
    ignored: int = 0
    hashes: Hashes | None = None
    places: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    census: Census | None = None
    names: tuple[str, ...] = ()


def read_images(store: ImageStore, reading: Reading) -> Folder:
    """Read all images of a store.

    EXIF rotation is applied, of animations the first frame is taken, CMYK, palette and 16-bit images become 8-bit gray, RGB or
    RGBA.

    Returns:
        The images, and the conversion or error of each file.

    Raises:
        DataError: images of different sizes where they are not scaled, or more than a tenth unusable.
        RefusedError: the same, with what is known of each file, where a census is wanted.
    """
    tally, images = Tally(store, reading.census), _Images(store, reading)
    for number, read in enumerate(_each(store, reading)):
        tally.add(number, read)
        if read.pixels is None:
            continue
        if len(tally.shapes) == 1:
            images.add(read.pixels)
        elif not reading.census:
            raise _uneven(store, tally.shapes)
    refusal = _refusal(store, tally)
    if refusal is not None:
        raise refusal if not reading.census else RefusedError(str(refusal), tally.skipped, tally.census())
    labels, classes = tally.labels()
    return Folder(
        images.finish(tally.places),
        labels,
        classes,
        skipped=tuple(tally.skipped),
        converted=tuple(tally.converted),
        ignored=store.ignored,
        hashes=tally.hashes if reading.size or store.hashes is not None else None,
        places=tally.places,
        census=tally.census() if reading.census else None,
        names=tally.names(),
    )


def _each(store: ImageStore, reading: Reading) -> Iterator[ImageFile]:
    """Every image in its order; a decoder's warnings are not shown."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for count, read in enumerate(store.read_all(reading.size), 1):
            yield read
            if reading.progress is not None and (count % BLOCK == 0 or count == len(store)):
                reading.progress(count, len(store))


class _Images:
    """The images of one size that were read so far: in memory, or of those that stay on disk their hashes."""

    def __init__(self, store: ImageStore, reading: Reading) -> None:
        self.store, self.reading, self.stream = store, reading, reading.stream
        self.images: list[NDArray[np.uint8]] = []
        self.hashes: list[Hashes] = []
        self.held, self.channels, self.sides = 0, 0, (0, 0)
        self.counts = {channels: np.zeros((channels, 256), dtype=np.int64) for channels in (1, 3, 4)}

    def add(self, image: NDArray[np.uint8]) -> None:
        """Take the next image, uint8 (H, W, C)."""
        self.sides, self.channels = (image.shape[0], image.shape[1]), max(self.channels, image.shape[2])
        if self.stream is None:
            self.stream = 3 * image[:, :, 0].nbytes * len(self.store) > STREAM_BYTES
        self.images.append(image)
        self.held += image.nbytes
        if self.stream and len(self.images) == BLOCK:
            self._note()
        elif self.held > MAX_BYTES:
            raise DataError(
                f"The images in {self.store.source} take more than {MAX_BYTES >> 30} GB: leave them on disk with `stream=True`, "
                "or scale them down with `resize=N`."
            )

    def _note(self) -> None:
        """Reduce the images that wait to their hashes, and to how often each level occurs in them."""
        if self.images:
            images = stacked(self.images)
            self.hashes.append(example_hashes(images))
            self.counts[images.shape[1]] += level_counts(images)
        self.images, self.held = [], 0

    def finish(self, places: NDArray[np.int64]) -> Any:
        """All images, of which the store has these numbers."""
        if not self.stream:
            return stacked(self.images)
        self._note()
        content = np.concatenate(self.hashes)
        sides, counted = (self.channels, *self.sides), (places, content, self._level_counts())
        return Streamed(self.store, places, sides, content, self.reading.size, self.reading.workers, counted)

    def _level_counts(self) -> NDArray[np.int64]:
        """Those of all images with as many channels as any needs, (C, 256)."""
        total = np.zeros((self.channels, 256), dtype=np.int64)
        for channels, counts in self.counts.items():
            if channels <= self.channels:
                total[: min(self.channels, 3)] += counts[: min(channels, 3)]  # gray becomes equal colours
        if self.channels == 4:
            total[3] = self.counts[4][3]
            total[3, 255] += self.counts[1].sum() + self.counts[3][0].sum()
        return total


def _refusal(store: ImageStore, tally: Tally) -> DataError | None:
    """Why training refuses what was read."""
    if len(tally.skipped) > MAX_SKIPPED * len(store):
        return _too_many(store, tally.skipped)
    return _uneven(store, tally.shapes) if len(tally.shapes) > 1 else None


def read_image(path: Path, channels: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Read one image file as a model of so many channels takes it.

    Decoded and scaled as by `read_images`. Gray becomes equal colours and no transparency becomes full opacity, as in a folder of
    mixed images; where a gray image is wanted, colours become their luma (ITU-R 601).

    Args:
        path: the file.
        channels: 1 for gray, 3 for RGB, 4 for RGBA.
        size: (height, width) that the image is scaled to cover and cropped to in the middle; None to take it as it is.

    Returns:
        uint8 (channels, H, W).

    Raises:
        DataError: no such file, one that cannot be read, transparency where the model has none, or another number of channels.
    """
    from PIL import Image

    if channels not in (1, 3, 4):
        raise DataError(f"An image file holds 1, 3 or 4 channels; this model's images have {channels}.")
    if not path.is_file():
        raise DataError(f"There is no image file {path}.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = decoded(lambda: opened(path), path.name, size)
    pixels = read.pixels
    if pixels is None:
        raise DataError(f"{path} cannot be used: {read.reason}.")
    if pixels.shape[2] == 4 and channels < 4:
        raise DataError(f"{path} is transparent somewhere, and this model knows no transparency. Flatten the image first.")
    if pixels.shape[2] == 3 and channels == 1:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
    return stacked([pixels], channels)[0]


def resized(x: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale images in memory as `read_images` does.

    Args:
        x: uint8 (n, C, H, W), C from 1 to 4.
        size: (height, width).

    Returns:
        uint8 (n, C, height, width).
    """
    from PIL import Image

    if x.shape[2:] == size:
        return x
    out = np.empty((*x.shape[:2], *size), dtype=np.uint8)
    for target, image in zip(out, x, strict=True):
        if len(image) == 4:
            target[:] = np.asarray(fit(Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))), size)).transpose(2, 0, 1)
        else:
            for channel in range(len(image)):
                target[channel] = np.asarray(fit(Image.fromarray(image[channel]), size))
    return out


def _uneven(store: ImageStore, counts: Counter[tuple[int, int]]) -> DataError:
    """Name the sizes as the files' headers give them."""
    sizes: Counter[Any] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(len(store)):
            try:
                with store.open(number) as handle:
                    sizes[size_of(handle)] += 1
            except Exception:  # a file that cannot be opened has no size to name
                continue
    common = (sizes or counts).most_common(4)
    listed = ", ".join(f"{h} x {w} ({n} image{'s' * (n != 1)})" for (h, w), n in common)
    more = ", ..." if len(sizes or counts) > len(common) else ""
    usual = min(common[0][0])
    return DataError(
        f"The images in {store.source} differ in size (height x width): {listed}{more}. "
        f"A model needs one size: `resize={min(usual, 64)}`, for example, scales and crops them all."
    )


def _too_many(store: ImageStore, skipped: Sequence[tuple[str, str]]) -> DataError:
    lines = "".join(f"\n  {file}: {reason}" for file, reason in skipped[:_SHOWN])
    rest = f"\n  and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
    return DataError(
        f"{len(skipped)} of {len(store)} image files in {store.source} cannot be used, more than {MAX_SKIPPED:.0%}:"
        f"{lines}{rest}\n"
        f"Fix or remove them; `pushforward data check` lists them all.",
        skipped,
    )
