"""Folders of image files: every file is read in sorted order and either used, converted, or left out with a reason."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.example_hashes import Hashes
from pushforward.data.image_files import ENDINGS, ImageFile, fit, read_file, size_of
from pushforward.errors import DataError

__all__ = ["Folder", "read_folder", "read_image", "resized"]

MAX_BYTES = 16 * 2**30
MAX_SKIPPED = 0.1
_SHOWN = 5


@dataclass(frozen=True)
class Folder:
    """The content of an image folder.

    Args:
        x: uint8 (n, C, H, W); C = 1 if all images are gray, 4 if any is transparent somewhere, else 3.
        labels: int64 (n,), or None without class folders.
        classes: names of the class folders.
        skipped: (file, reason) of each file left out.
        converted: (file, conversion) of each file that was not plain 8-bit gray, RGB or RGBA.
        ignored: hidden files and files with other endings.
        hashes: of the images before they were scaled (`example_hashes`), uint64 (n,); None where they were not.
    """

    x: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    converted: tuple[tuple[str, str], ...] = ()
    ignored: int = 0
    hashes: Hashes | None = None


def read_folder(path: Path, size: tuple[int, int] | None = None) -> Folder:
    """Read all images below a folder.

    Two or more subfolders with images are the classes; in a single folder, or with a single subfolder, there are no
    labels. EXIF rotation is applied, of animations the first frame is taken, CMYK, palette and 16-bit images become
    8-bit gray, RGB or RGBA.

    Args:
        path: the folder.
        size: (height, width) that each image is scaled to cover (antialiased bicubic) and cropped to in the middle;
            None to take images as they are, which must then be of one size.

    Returns:
        The images, and the conversion or error of each file.

    Raises:
        DataError: no images, images of different sizes without ``size``, or more than a tenth of the image files
            unusable.
    """
    files, ignored = _find(path)
    if not files:
        ignored_files = f" ({ignored} other file{'s' * (ignored != 1)} ignored)" if ignored else ""
        raise DataError(f"There are no images in {path}{ignored_files}: expected files that end in {', '.join(ENDINGS[:6])}, ...")
    classes = _classes(path, files)
    reads = []
    shapes: Counter[tuple[int, int]] = Counter()
    held = 0
    for read in _decode_all(path, files, size):
        reads.append(read)
        if read.pixels is None:
            continue
        shapes[read.pixels.shape[:2]] += 1
        if len(shapes) > 1:
            raise _uneven(path, files, shapes)
        held += read.pixels.nbytes
        if held > MAX_BYTES:
            raise DataError(f"The images in {path} take more than {MAX_BYTES >> 30} GB: scale them down with `resize=N`.")
    skipped = tuple((read.file, read.reason) for read in reads if read.pixels is None)
    if len(skipped) > MAX_SKIPPED * len(reads):
        raise _too_many(path, skipped, len(reads))
    used = [read for read in reads if read.pixels is not None]
    names = tuple(sorted({read.label for read in used})) if classes else ()
    number = {name: i for i, name in enumerate(names)}
    return Folder(
        x=_stack([read.pixels for read in used if read.pixels is not None]),
        labels=np.array([number[read.label] for read in used], dtype=np.int64) if names else None,
        classes=names,
        skipped=skipped,
        converted=tuple((read.file, ", ".join(read.notes)) for read in used if read.notes),
        ignored=ignored,
        hashes=np.concatenate([read.hash for read in used if read.hash is not None]) if size else None,
    )


def read_image(path: Path, channels: int, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    """Read one image file as a model of so many channels takes it.

    Decoded and scaled as by `read_folder`. Gray becomes equal colours and no transparency becomes full opacity, as in a folder of
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
        read = read_file(path.parent, path.name, size)
    pixels = read.pixels
    if pixels is None:
        raise DataError(f"{path} cannot be used: {read.reason}.")
    if pixels.shape[2] == 4 and channels < 4:
        raise DataError(f"{path} is transparent somewhere, and this model knows no transparency. Flatten the image first.")
    if pixels.shape[2] == 3 and channels == 1:
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))[:, :, None]
    whole = np.full((channels, *pixels.shape[:2]), 255, dtype=np.uint8)
    whole[: min(channels, 3)] = pixels[:, :, : min(channels, 3)].transpose(2, 0, 1)
    if pixels.shape[2] == 4:
        whole[3] = pixels[:, :, 3]
    return whole


def resized(x: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale images in memory as `read_folder` does.

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


def _find(path: Path) -> tuple[list[str], int]:
    """Image files below a folder, as sorted relative paths with forward slashes, and how many others there are."""
    files, ignored = [], 0
    visited = set()
    for place, folders, names in os.walk(path, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        real = os.path.realpath(place)
        if real in visited:  # a link that leads back up
            folders.clear()
            continue
        visited.add(real)
        for name in names:
            if name.startswith(".") or not name.lower().endswith(ENDINGS):
                ignored += 1
            else:
                files.append((Path(place) / name).relative_to(path).as_posix())
    return sorted(files), ignored


def _classes(path: Path, files: list[str]) -> bool:
    """Whether the subfolders are classes."""
    tops = Counter(file.split("/", 1)[0] if "/" in file else "" for file in files)
    loose = tops.pop("", 0)
    if loose and tops:
        raise DataError(
            f"{path} holds {loose} images of its own beside {len(tops)} subfolders with images "
            f"({', '.join(list(tops)[:_SHOWN])}): expected all images in class folders, or none. "
            f"Move the loose ones, or name one of the folders."
        )
    return len(tops) > 1


def _decode_all(path: Path, files: list[str], size: tuple[int, int] | None) -> Iterator[ImageFile]:
    def decode(file: str) -> ImageFile:
        return read_file(path, file, size)

    block = 256
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")
        for start in range(0, len(files), block):  # blocks, so that a reader that stops early has not decoded everything
            yield from pool.map(decode, files[start : start + block])


def _stack(images: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """All images with the most channels that any of them needs, uint8 (n, C, H, W)."""
    channels = max(image.shape[2] for image in images)
    out = np.empty((len(images), channels, *images[0].shape[:2]), dtype=np.uint8)
    for target, image in zip(out, images, strict=True):
        has = image.shape[2]
        target[: min(channels, 3)] = image[:, :, : min(has, 3)].transpose(2, 0, 1)
        if channels == 4:
            target[3] = image[:, :, 3] if has == 4 else 255
    return out


def _uneven(path: Path, files: list[str], counts: Counter[tuple[int, int]]) -> DataError:
    """Name the sizes as the files' headers give them."""
    sizes: Counter[Any] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in files:
            try:
                sizes[size_of(path / file)] += 1
            except Exception:  # a file that cannot be opened has no size to name
                continue
    common = (sizes or counts).most_common(4)
    listed = ", ".join(f"{h} x {w} ({n} image{'s' * (n != 1)})" for (h, w), n in common)
    more = ", ..." if len(sizes or counts) > len(common) else ""
    usual = min(common[0][0])
    return DataError(
        f"The images in {path} differ in size (height x width): {listed}{more}. "
        f"A model needs one size: `resize={min(usual, 64)}`, for example, scales and crops them all."
    )


def _too_many(path: Path, skipped: tuple[tuple[str, str], ...], total: int) -> DataError:
    lines = "".join(f"\n  {file}: {reason}" for file, reason in skipped[:_SHOWN])
    rest = f"\n  and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
    return DataError(
        f"{len(skipped)} of {total} image files in {path} cannot be used, more than {MAX_SKIPPED:.0%}:{lines}{rest}\n"
        f"Fix or remove them; `pushforward data check` lists them all.",
        skipped,
    )
