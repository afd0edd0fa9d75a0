"""Folders of image files: every file is read in sorted order and either used, converted, or left out with a reason."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pushforward.data.row_hashes import Hashes, row_hashes
from pushforward.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ENDINGS", "Folder", "read_folder", "read_image", "resized"]

ENDINGS = (".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm")
MAX_PIXELS = 64_000_000
MAX_BYTES = 16 * 2**30
MAX_SKIPPED = 0.1
# Decoders that are tried whatever the ending says; of the others, some start programs (EPS).
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_ROTATED = frozenset(range(2, 9))
_ORIENTATION = 0x0112
_SHOWN = 5


@dataclass(frozen=True)
class Folder:
    """The content of an image folder.

    Args:
        x: uint8 (n, C, H, W); C = 1 if all images are gray, 4 if any is transparent somewhere, else 3.
        labels: int64 (n,), or None without class folders.
        classes: names of the class folders.
        skipped: (file, reason) of each file left out.
        converted: (file, what was done) of each file that was not plain 8-bit gray, RGB or RGBA.
        ignored: hidden files and files with other endings.
        hashes: of the images before they were scaled (`row_hashes`), uint64 (n,); None where they were not.
    """

    x: NDArray[np.uint8]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()
    converted: tuple[tuple[str, str], ...] = ()
    ignored: int = 0
    hashes: Hashes | None = None


class _UnusableError(Exception):
    """A file that is left out; the message is the reason."""


@dataclass
class _Read:
    file: str
    label: str
    pixels: NDArray[np.uint8] | None = None
    notes: list[str] = field(default_factory=list)
    reason: str = ""
    hash: Hashes | None = None


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
        The images and what became of the files.

    Raises:
        DataError: no images, images of different sizes without ``size``, or more than a tenth of the image files
            unusable.
    """
    files, ignored = _find(path)
    if not files:
        seen = f" ({ignored} other file{'s' * (ignored != 1)} ignored)" if ignored else ""
        raise DataError(f"There are no images in {path}{seen}: expected files that end in {', '.join(ENDINGS[:6])}, ...")
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
        read = _read(path.parent, path.name, size)
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
            target[:] = np.asarray(_fit(Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))), size)).transpose(2, 0, 1)
        else:
            for channel in range(len(image)):
                target[channel] = np.asarray(_fit(Image.fromarray(image[channel]), size))
    return out


def _find(path: Path) -> tuple[list[str], int]:
    """Image files below a folder, as sorted relative paths with forward slashes, and how many others there are."""
    found, ignored = [], 0
    seen = set()
    for place, folders, names in os.walk(path, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        real = os.path.realpath(place)
        if real in seen:  # a link that leads back up
            folders.clear()
            continue
        seen.add(real)
        for name in names:
            if name.startswith(".") or not name.lower().endswith(ENDINGS):
                ignored += 1
            else:
                found.append((Path(place) / name).relative_to(path).as_posix())
    return sorted(found), ignored


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


def _decode_all(path: Path, files: list[str], size: tuple[int, int] | None) -> Iterator[_Read]:
    def decode(file: str) -> _Read:
        return _read(path, file, size)

    block = 256
    with warnings.catch_warnings(), ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        warnings.simplefilter("ignore")
        for start in range(0, len(files), block):  # blocks, so that a reader that stops early has not decoded everything
            yield from pool.map(decode, files[start : start + block])


def _read(path: Path, file: str, size: tuple[int, int] | None) -> _Read:
    from PIL import Image

    read = _Read(file, file.split("/", 1)[0])
    try:
        read.pixels = _decode(path / file, size, read)
    except _UnusableError as error:
        read.reason = str(error)
    except Image.DecompressionBombError:
        read.reason = f"more than {MAX_PIXELS // 10**6} megapixels: taken for a decompression bomb"
    except MemoryError:
        read.reason = "too large for the memory"
    except Exception as error:  # whatever a hostile file makes its decoder raise, it is this file that is left out
        read.reason = f"damaged: {str(error) or type(error).__name__}"
    return read


def _formats() -> tuple[str, ...]:
    """The decoders that may be tried and are installed; the imports register those not there from the start."""
    from PIL import Image, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401

    Image.preinit()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _decode(path: Path, size: tuple[int, int] | None, read: _Read) -> NDArray[np.uint8]:
    """One file as uint8 (H, W, C), C in 1, 3, 4; where it may be scaled, the hash of what it was before is noted."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    notes = read.notes

    if not path.stat().st_size:
        raise _UnusableError("empty file")
    try:
        opened = Image.open(path, formats=_formats())
    except UnidentifiedImageError:
        raise _UnusableError("no image that can be read") from None
    with opened:
        width, height = opened.size
        if width * height > MAX_PIXELS:
            raise _UnusableError(
                f"{width} x {height} pixels, more than {MAX_PIXELS // 10**6} megapixels: taken for a decompression bomb"
            )
        if getattr(opened, "is_animated", False):
            notes.append("first frame of an animation" if opened.format != "TIFF" else "first of several pages")
            opened.seek(0)
        if _deep_png(path, opened.format, opened.mode):
            notes.append("16-bit to 8-bit")
        turned = opened.getexif().get(_ORIENTATION) in _ROTATED
        opened.load()
        image: Image.Image = ImageOps.exif_transpose(opened)
        if turned:
            notes.append("rotated as its EXIF says")
        image = _plain(image, notes)
        pixels = _pixels(image)
        if size is None:
            return pixels
        read.hash = row_hashes(pixels.transpose(2, 0, 1)[None])
        return pixels if image.size == size[::-1] else _pixels(_fit(image, size))


def _deep_png(path: Path, kind: str | None, mode: str) -> bool:
    """Whether a colour PNG has 16 bits per channel (byte 24), which the decoder cuts to 8 without a word."""
    if kind != "PNG" or mode.startswith("I"):
        return False
    with open(path, "rb") as file:
        return file.read(25)[24:] == b"\x10"


def _plain(image: Image, notes: list[str]) -> Image:
    """Any mode to L, RGB or RGBA."""
    if image.mode in ("L", "RGB", "RGBA") and "transparency" not in image.info:
        return image
    if image.mode.startswith(("I", "F")):
        return _eight_bits(image, notes)
    if image.mode in ("1", "L", "RGB", "LA", "La", "RGBA", "RGBa", "RGBX"):
        transparent = "transparency" in image.info or image.mode in ("LA", "La", "RGBa")
        return image.convert("RGBA" if transparent else "L" if image.mode == "1" else "RGB")
    notes.append({"P": "palette to RGB", "PA": "palette to RGB"}.get(image.mode, f"{image.mode} to RGB"))
    return image.convert("RGBA" if "transparency" in image.info or image.mode == "PA" else "RGB")


def _eight_bits(image: Image, notes: list[str]) -> Image:
    from PIL import Image as Images

    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > 65535:
        raise _UnusableError(f"{image.mode} pixels from {values.min():g} to {values.max():g}: expected 0 to 65535")
    if image.mode.startswith("F"):
        if values.max() > 255:
            raise _UnusableError(f"float pixels up to {values.max():g}: expected 0 to 1 or 0 to 255")
        notes.append("float to 8-bit")
        scale = 255.0 if values.max() <= 1 else 1.0
    else:
        notes.append("16-bit to 8-bit")
        scale = 255 / 65535
    return Images.fromarray(np.rint(values * scale).astype(np.uint8))


def _fit(image: Image, size: tuple[int, int]) -> Image:
    """Scale to cover (height, width), antialiased, and crop in the middle."""
    from PIL import Image as Images
    from PIL import ImageOps

    return ImageOps.fit(image, size[::-1], method=Images.Resampling.BICUBIC)


def _pixels(image: Image) -> NDArray[np.uint8]:
    """uint8 (H, W, C) with as few channels as lose nothing: opaque alpha and equal colours are dropped."""
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        return pixels[:, :, None].copy()
    if pixels.shape[2] == 4 and (pixels[:, :, 3] < 255).any():
        return pixels.copy()
    colours = pixels[:, :, :3]
    gray = (colours[:, :, 0] == colours[:, :, 1]).all() and (colours[:, :, 1] == colours[:, :, 2]).all()
    return colours[:, :, :1].copy() if gray else colours.copy()


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


def _uneven(path: Path, files: list[str], found: Counter[tuple[int, int]]) -> DataError:
    """Name the sizes as the files' headers give them."""
    from PIL import Image

    sizes: Counter[Any] = Counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for file in files:
            try:
                with Image.open(path / file, formats=_formats()) as image:
                    width, height = image.size
                    sideways = image.getexif().get(_ORIENTATION, 1) > 4
                    sizes[(width, height) if sideways else (height, width)] += 1
            except Exception:  # a file that cannot be opened has no size to name
                continue
    common = (sizes or found).most_common(4)
    shown = ", ".join(f"{h} x {w} ({n} image{'s' * (n != 1)})" for (h, w), n in common)
    more = ", ..." if len(sizes or found) > len(common) else ""
    usual = min(common[0][0])
    return DataError(
        f"The images in {path} differ in size (height x width): {shown}{more}. "
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
