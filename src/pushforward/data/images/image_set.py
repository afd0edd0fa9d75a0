"""Read sets of image files: each file is used, converted, or left out with a reason."""

from __future__ import annotations

import sys
import warnings
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pushforward.data.core.dataset import Split
from pushforward.data.core.hashes import Hashes, Integers, Pixels, example_hashes
from pushforward.data.images.image_file import (
    Conversion,
    Reasons,
    Size,
    decoded,
    fit,
    opened,
    stacked,
)
from pushforward.data.images.image_store import BLOCK, ImageStore, Streamed, level_counts
from pushforward.data.readers.reader import DataOptions
from pushforward.errors import DataError

STREAM_BYTES = 4 * 2**30  # from which on images stay on disk
MAX_SKIPPED = 0.1


@dataclass(frozen=True)
class Folder:
    """The images of a store, uint8 (n, C, H, W) as an array or `Streamed`.

    Args:
        examples: Images with their class numbers and, if they were converted, source hashes.
        places: Index of each image among the files of the store.
    """

    examples: Split
    classes: tuple[str, ...]
    skipped: Reasons
    converted: Reasons
    ignored: int
    places: Integers


def read_images(store: ImageStore, reading: DataOptions) -> Folder:
    """Read all images of a store as 8-bit grey, RGB or RGBA.

    Raises:
        DataError: If images have different sizes, or over a tenth is unusable.
    """
    skipped = []
    converted = []
    used = array("q")
    known = array("Q")
    sizes: dict[str, list[str]] = {}
    images = _Images(store, reading)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, read in enumerate(store.read_all(reading.conversion)):
            done = number + 1
            if reading.progress is not None and (done % BLOCK == 0 or done == len(store)):
                reading.progress(done, len(store))
            if read.pixels is None:
                skipped.append((read.file, read.reason))
                continue
            used.append(number)
            height, width = read.pixels.shape[:2]
            sizes.setdefault(f"{height}x{width}", []).append(read.file)
            if read.notes:
                converted.append((read.file, sys.intern(", ".join(read.notes))))
            if read.hash is not None:
                known.append(int(read.hash[0]))
            if len(sizes) == 1:
                images.add(read.pixels)
    if len(sizes) > 1:
        raise _of_several_sizes(store, sizes, skipped)
    if len(skipped) > MAX_SKIPPED * len(store):
        file, reason = skipped[0]
        raise DataError(
            f"{len(skipped)} of {len(store)} image files in {store.source} are unusable, such as "
            f"{file} ({reason}); at most 10% may be. Repair or remove them; `pushforward data "
            "check` lists every such file.",
            skipped,
        )
    places = np.array(used, dtype=np.int64)
    hashes = None
    if store.hashes is not None:
        hashes = store.hashes[places]
    elif reading.conversion:
        hashes = np.array(known, dtype=np.uint64)
    labels = None
    classes: tuple[str, ...] = ()
    if store.labelled:
        named = [store.label(place) for place in places]
        classes = store.classes(set(named))
        numbers = {name: i for i, name in enumerate(classes)}
        labels = np.array([numbers[name] for name in named], dtype=np.int64)
    return Folder(
        examples=Split(images.finish(places), labels, hashes),
        classes=classes,
        skipped=tuple(skipped),
        converted=tuple(converted),
        ignored=store.ignored,
        places=places,
    )


def _of_several_sizes(
    store: ImageStore, sizes: Mapping[str, Sequence[str]], skipped: Sequence[tuple[str, str]]
) -> DataError:
    common = max(sizes, key=lambda size: len(sizes[size]))
    others = []
    for size, files in sizes.items():
        if size != common:
            others += [(file, f"{size} pixels; most images have {common}") for file in files]
    return DataError(
        f"The images in {store.source} differ in size (height x width): {len(sizes[common])} have "
        f"{common}, and {len(others)} have another size, such as {others[0][0]}. A model needs "
        f'images of one size: `resize="{common}"` scales and crops all images to the most common '
        "size, `resize=64` to 64 x 64; `pushforward data check` lists them all.",
        [*skipped, *others],
    )


class _Images:
    def __init__(self, store: ImageStore, reading: DataOptions) -> None:
        self.store = store
        self.reading = reading
        self.stream = reading.stream
        self.images: list[Pixels] = []
        self.hashes: list[Hashes] = []
        self.channels = reading.conversion.channels or 0
        self.sides = (0, 0)
        self.counts = np.zeros((4, 256), dtype=np.int64)

    def add(self, image: Pixels) -> None:
        height, width, channels = image.shape
        self.sides = (height, width)
        self.channels = max(self.channels, channels)
        if self.stream is None:
            self.stream = 3 * height * width * len(self.store) > STREAM_BYTES
        self.images.append(image)
        if self.stream and len(self.images) == BLOCK:
            self._note()

    def _note(self) -> None:
        if self.images:
            images = stacked(self.images, self.reading.conversion.channels)
            self.hashes.append(example_hashes(images))
            self.counts += level_counts(stacked(self.images, 4))  # grey becomes equal colours
        self.images = []

    def finish(self, places: Integers) -> Any:
        if not self.stream:
            return stacked(self.images, self.channels)
        self._note()
        content = np.concatenate(self.hashes)
        return Streamed(
            self.store,
            places,
            sides=(self.channels, *self.sides),
            content=content,
            conversion=self.reading.conversion,
            workers=self.reading.workers,
            counted=(places, content, self.counts[: self.channels]),
        )


def read_image(path: Path, channels: int, size: Size | None = None) -> Pixels:
    """Read one image file for a model, uint8 (channels, H, W).

    Grey becomes equal colours, opaque images get full opacity, and for a grey model colours become
    luma (ITU-R 601).

    Raises:
        DataError: If the file cannot be read, or the model does not support its transparency.
    """
    from PIL import Image

    if channels not in (1, 3, 4):
        raise DataError(
            f"Image files have 1, 3 or 4 channels, but the images of this model have {channels}."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = decoded(lambda: opened(path), path.name, Conversion(size))
    pixels = read.pixels
    if pixels is None:
        raise DataError(f"{path} cannot be used: {read.reason}.")
    if pixels.shape[2] == 4 and channels < 4:
        raise DataError(
            f"{path} has transparent pixels, which this model does not support. Flatten the image "
            "first."
        )
    if pixels.shape[2] == 3 and channels == 1:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
    return stacked([pixels], channels)[0]


def resized(x: Pixels, size: Size) -> Pixels:
    """Scale images uint8 (n, C, H, W) with 1 to 4 channels, like `read_images`."""
    from PIL import Image

    if x.shape[2:] == size:
        return x
    out = np.empty((*x.shape[:2], *size), dtype=np.uint8)
    for target, image in zip(out, x, strict=True):
        if len(image) == 4:
            scaled = fit(Image.fromarray(image.transpose(1, 2, 0)), size)
            target[:] = np.asarray(scaled).transpose(2, 0, 1)
        else:
            for channel, plane in enumerate(image):
                target[channel] = np.asarray(fit(Image.fromarray(plane), size))
    return out
