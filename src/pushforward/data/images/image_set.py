"""Read sets of image files: each file is used, converted, or left out with a reason."""

from __future__ import annotations

import sys
import warnings
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.core.hashes import Hashes, example_hashes
from pushforward.data.images.image_file import Conversion, Size, decoded, fit, opened, stacked
from pushforward.data.images.image_store import BLOCK, ImageStore, Streamed, level_counts
from pushforward.data.readers.reader import Reading
from pushforward.errors import DataError
from pushforward.numbers import some

MAX_BYTES = 16 * 2**30
STREAM_BYTES = 4 * 2**30  # pixels, in bytes, from which on images stay on disk
MAX_SKIPPED = 0.1
NAMED_SIZES = 3


@dataclass(frozen=True)
class Folder:
    """The images of a store.

    Args:
        x: Images uint8 (n, C, H, W), an array or `Streamed`; C is 1 if all images are grey, 4 if
            any has transparent pixels, otherwise 3.
        labels: Class numbers int64 (n,), or None without classes.
        classes: Class names.
        skipped: Files that were left out, as (file, reason).
        converted: Files that were not plain 8-bit grey, RGB or RGBA, as (file, conversion).
        ignored: Number of hidden files and of files with other extensions.
        hashes: Hashes of the unconverted images (`example_hashes`), uint64 (n,); None if images
            were not converted.
        places: Index of each image among the files of the store, int64 (n,).
        names: File names of the images.
    """

    x: Any
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    converted: tuple[tuple[str, str], ...] = ()
    ignored: int = 0
    hashes: Hashes | None = None
    places: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    names: tuple[str, ...] = ()


def read_images(store: ImageStore, reading: Reading) -> Folder:
    """Read all images of a store.

    EXIF rotation is applied, animations contribute their first frame, and CMYK, palette and 16-bit
    images are converted to 8-bit grey, RGB or RGBA.

    Returns:
        The images, and the conversion or error of each file.

    Raises:
        DataError: If images that are not scaled have different sizes, or more than a tenth is
            unusable.
    """
    skipped = []
    converted = []
    used = array("q")
    known = array("Q")
    sizes = dict[str, list[str]]()
    images = _Images(store, reading)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, read in enumerate(store.read_all(reading.conversion)):
            if reading.progress is not None and (
                (number + 1) % BLOCK == 0 or number + 1 == len(store)
            ):
                reading.progress(number + 1, len(store))
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
        lines = "".join(f"\n  {file}: {reason}" for file, reason in skipped[:5])
        raise DataError(
            f"{len(skipped)} of {len(store)} image files in {store.source} are unusable; at most "
            f"{MAX_SKIPPED:.0%} may be. For example:{lines}\nRepair or remove them; `pushforward "
            "data check` lists every such file.",
            skipped,
        )
    places = np.array(used, dtype=np.int64)
    if store.hashes is not None:
        hashes = store.hashes[places]
    elif reading.conversion:
        hashes = np.array(known, dtype=np.uint64)
    else:
        hashes = None
    labels = None
    classes = tuple[str, ...]()
    if store.labelled:
        named = [store.label(place) for place in places]
        classes = store.classes(set(named))
        places_of = {name: i for i, name in enumerate(classes)}
        labels = np.array([places_of[name] for name in named], dtype=np.int64)
    names = tuple(store.names[place] for place in places)
    return Folder(
        images.finish(places),
        labels,
        classes,
        tuple(skipped),
        tuple(converted),
        store.ignored,
        hashes,
        places,
        names,
    )


def _of_several_sizes(
    store: ImageStore, sizes: Mapping[str, Sequence[str]], skipped: Sequence[tuple[str, str]]
) -> DataError:
    """The error for images of several sizes, with all files that are not of the most common size.

    Args:
        store: The images.
        sizes: The files of each size, which is written as HEIGHTxWIDTH.
        skipped: Further files that cannot be used, with the reason.
    """
    common, *rest = ranked = sorted(sizes, key=lambda size: -len(sizes[size]))
    others = [
        (file, f"{size} pixels; most images have {common}") for size in rest for file in sizes[size]
    ]
    listed = some([f"{size} ({len(sizes[size])} files)" for size in ranked], NAMED_SIZES)
    return DataError(
        f"The images in {store.source} differ in size (height x width): {listed}. The first file "
        f"of another size than {common} is "
        f'{others[0][0]}. A model needs images of one size: `resize="{common}"` scales and crops all images to the most '
        f"common size, `resize=64` to 64 x 64; `pushforward data check` lists them all.",
        [*skipped, *others],
    )


class _Images:
    """The images of one size that were read so far: in memory, or of those that stay on disk their hashes."""

    def __init__(self, store: ImageStore, reading: Reading) -> None:
        self.store = store
        self.reading = reading
        self.stream = reading.stream
        self.images: list[NDArray[np.uint8]] = []
        self.hashes: list[Hashes] = []
        self.held = 0
        self.channels = reading.conversion.channels or 0
        self.sides = (0, 0)
        self.counts = np.zeros((4, 256), dtype=np.int64)

    def add(self, image: NDArray[np.uint8]) -> None:
        self.sides, self.channels = (
            (image.shape[0], image.shape[1]),
            max(self.channels, image.shape[2]),
        )
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
        if self.images:
            self.hashes.append(
                example_hashes(stacked(self.images, self.reading.conversion.channels))
            )
            self.counts += level_counts(stacked(self.images, 4))  # gray becomes equal colours
        self.images = []
        self.held = 0

    def finish(self, places: NDArray[np.int64]) -> Any:
        if not self.stream:
            return stacked(self.images, self.channels)
        self._note()
        content = np.concatenate(self.hashes)
        sides = (self.channels, *self.sides)
        counted = (places, content, self.counts[: self.channels])
        return Streamed(
            self.store,
            places,
            sides,
            content,
            self.reading.conversion,
            self.reading.workers,
            counted,
        )


def read_image(path: Path, channels: int, size: Size | None = None) -> NDArray[np.uint8]:
    """Read one image file for a model with the given number of channels.

    The file is decoded and scaled as in `read_images`. Grey is expanded to equal colours and opaque
    images get full opacity, as in a folder of mixed images. For a grey model, colours are converted
    to luma (ITU-R 601).

    Args:
        path: Image file.
        channels: Number of channels: 1 for grey, 3 for RGB, 4 for RGBA.
        size: Height and width; the image is scaled to cover this size and cropped at the centre.
            None keeps its size.

    Returns:
        uint8 (channels, H, W).

    Raises:
        DataError: no such file, one that cannot be read, transparency that the model does not have,
            or another number of channels.
    """
    from PIL import Image

    if channels not in (1, 3, 4):
        raise DataError(
            f"Image files have 1, 3 or 4 channels, but the images of this model have {channels}."
        )
    if not path.is_file():
        raise DataError(f"The image file {path} does not exist.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = decoded(lambda: opened(path), path.name, Conversion(size))
    pixels = read.pixels
    if pixels is None:
        raise DataError(f"{path} cannot be used: {read.reason}.")
    if pixels.shape[2] == 4 and channels < 4:
        raise DataError(
            f"{path} has transparent pixels, which this model does not support. Flatten the image first."
        )
    if pixels.shape[2] == 3 and channels == 1:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
    return stacked([pixels], channels)[0]


def resized(x: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale images in memory like `read_images`.

    Args:
        x: Images uint8 (n, C, H, W), with 1 to 4 channels.
        size: Height and width.

    Returns:
        uint8 (n, C, height, width).
    """
    from PIL import Image

    if x.shape[2:] == size:
        return x
    out = np.empty((*x.shape[:2], *size), dtype=np.uint8)
    for target, image in zip(out, x, strict=True):
        if len(image) == 4:
            target[:] = np.asarray(
                fit(Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))), size)
            ).transpose(2, 0, 1)
        else:
            for channel in range(len(image)):
                target[channel] = np.asarray(fit(Image.fromarray(image[channel]), size))
    return out
