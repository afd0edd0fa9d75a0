"""Decode image files to 8-bit pixels, or give the reason why a file is unusable."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Any, BinaryIO

import numpy as np

from pushforward.data.core.hashes import Floats, Hashes, Pixels, example_hashes

if TYPE_CHECKING:
    from PIL.Image import Image


MAX_BYTES = 10_000  # of a header; numpy writes one of plain numbers in 128
_WIDTHS = {(1, 0): 2, (2, 0): 4}
_PARSING = Lock()
ArrayHeader = tuple[tuple[int, ...], bool, np.dtype[Any]]  # shape, Fortran order, dtype
Size = tuple[int, int]  # height and width
Reasons = tuple[tuple[str, str], ...]  # files, each with a reason or conversion
ENDINGS = (
    ".png",
    ".jpg",
    ".jpeg",
    ".jfif",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".pgm",
    ".pbm",
    ".pnm",
)
ARRAYS = ".npy"  # images as plain arrays, in archives
MAX_PIXELS = 64_000_000
_DEPTHS = {"I": (65535, "16-bit"), "F": (255, "float")}  # largest value, by the start of a mode
# Decoders that are tried for any extension; some of the others start programs (EPS).
_FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "BMP", "GIF", "TIFF", "PPM")


def array_header(file: IO[bytes]) -> ArrayHeader:
    """Read the header of an array in numpy's format 1.0 or 2.0, up to the first element."""
    version = np.lib.format.read_magic(file)
    if version not in _WIDTHS:
        raise ValueError(f"version {version} of the numpy format is not supported")
    length = file.read(_WIDTHS[version])
    size = int.from_bytes(length, "little")
    if size > MAX_BYTES:
        raise ValueError(f"the header has {size:,} bytes: expected at most {MAX_BYTES:,}")
    with _PARSING:
        return _parsed(version, length + file.read(size))


@lru_cache(maxsize=256)
def _parsed(version: tuple[int, int], content: bytes) -> ArrayHeader:
    """Parse a header with numpy, by one thread at a time.

    numpy calls ``ast.literal_eval``, which is not thread-safe in CPython 3.11 (issue 106905).
    """
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(io.BytesIO(content))
    return np.lib.format.read_array_header_2_0(io.BytesIO(content))


@dataclass(frozen=True)
class Conversion:
    """How images are changed when they are read.

    Args:
        size: Height and width that images are scaled to cover and cropped to at the centre.
        channels: Number of channels, 1 for grey or 3 for RGB; None keeps them.
        background: Colour below transparent pixels; empty keeps transparency, or means white if
            ``channels`` is set.
    """

    size: Size | None = None
    channels: int | None = None
    background: str = ""

    def __post_init__(self) -> None:
        from PIL import ImageColor

        if self.background:
            ImageColor.getrgb(self.background)

    def __bool__(self) -> bool:
        return self != UNCHANGED

    def applied(self, image: Image, notes: list[str]) -> Image:
        """Convert an image and record the colour conversions."""
        from PIL import Image as Images

        if image.mode == "RGBA" and (self.background or self.channels):
            colour = self.background or "white"
            ground = Images.new("RGBA", image.size, colour)
            image = Images.alpha_composite(ground, image).convert("RGB")
            notes.append(f"transparency to {colour}")
        if image.mode != "L" and self.channels == 1:
            image = image.convert("L")
            notes.append("colour to grey")
        if self.size in (None, image.size[::-1]):
            return image
        return fit(image, self.size)


UNCHANGED = Conversion()


class UnusableError(Exception):
    """Raised for a file that is left out; the message is the reason."""


@dataclass
class ImageFile:
    """An image file that was read: pixels (H, W, C) and applied conversions, or why it is unusable.

    Args:
        hash: Hash of the unconverted pixels, uint64 (1,), if they were converted.
    """

    file: str
    pixels: Pixels | None = None
    notes: list[str] = field(default_factory=list)
    reason: str = ""
    hash: Hashes | None = None


def opened(path: Path) -> BinaryIO:
    """Open a regular file for reading; others, such as pipes, may never end."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise UnusableError("not a regular file")
    return open(path, "rb")


def decoded(open_file: Callable[[], BinaryIO], file: str, conversion: Conversion) -> ImageFile:
    """Decode and convert an image file; errors become its reason."""
    read = ImageFile(file)
    try:
        with open_file() as handle:
            read.pixels = _decode(handle, conversion, read)
    except UnusableError as error:
        read.reason = str(error)
    except Exception as error:  # a hostile file may make its decoder raise anything
        read.reason = f"damaged: {type(error).__name__} {error}"
    return read


def _formats() -> tuple[str, ...]:
    # the imports register decoders that are not there from the start
    from PIL import Image, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401

    Image.preinit()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _decode(handle: BinaryIO, conversion: Conversion, read: ImageFile) -> Pixels:
    from PIL import Image, ImageOps, UnidentifiedImageError

    notes = read.notes
    if not handle.seek(0, os.SEEK_END):
        raise UnusableError("empty file")
    if read.file.endswith(ARRAYS):
        return _array(handle, conversion, read)
    handle.seek(0)
    try:
        image = Image.open(handle, formats=_formats())
    except UnidentifiedImageError:
        raise UnusableError("not a readable image") from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnusableError(
            f"{width} x {height} pixels exceed the limit of 64 megapixels (a decompression bomb?)"
        )
    with image as opened:
        if getattr(opened, "is_animated", False):
            notes.append("first of several images")
            opened.seek(0)
        turned = opened.getexif().get(0x0112) in range(2, 9)  # the tag of orientation
        opened.load()
        if turned:
            notes.append("rotated according to EXIF")
            plain = _plain(ImageOps.exif_transpose(opened), notes)
        else:
            plain = _plain(opened, notes)
        return _converted(_pixels(plain), conversion, read)


def _converted(pixels: Pixels, conversion: Conversion, read: ImageFile) -> Pixels:
    from PIL import Image as Images

    if not conversion:
        return pixels
    read.hash = pixel_hash(pixels)
    if pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    image = Images.fromarray(pixels)
    return _pixels(conversion.applied(image, read.notes))


def _array(handle: BinaryIO, conversion: Conversion, read: ImageFile) -> Pixels:
    end = handle.tell()
    handle.seek(0)
    shape, fortran, dtype = array_header(handle)
    size = end - handle.tell()
    height, width, channels = (*shape, 1, 1, 1)[:3]
    if (
        dtype != np.uint8
        or fortran
        or len(shape) not in (2, 3)
        or channels not in (1, 3, 4)
        or not 0 < height * width <= MAX_PIXELS
        or height * width * channels != size
    ):
        raise UnusableError(
            f"{size:,} bytes of shape {shape} and dtype {dtype}: expected uint8 (height, width) or "
            "(height, width, C) with C = 1, 3 or 4"
        )
    pixels = np.frombuffer(handle.read(), dtype=np.uint8).reshape(height, width, channels)
    return _converted(_fewest(pixels), conversion, read)


def _plain(image: Image, notes: list[str]) -> Image:
    from PIL import Image as Images

    if image.mode in ("L", "RGB", "RGBA") and "transparency" not in image.info:
        return image
    if image.mode[0] in _DEPTHS:
        most, depth = _DEPTHS[image.mode[0]]
        values = _values(image, most)
        notes.append(f"{depth} to 8-bit")
        scale = 255 / most
        if image.mode[0] == "F" and values.max() <= 1:
            scale = 255
        return Images.fromarray(np.rint(values * scale).astype(np.uint8))
    if image.mode not in ("1", "L", "RGB", "LA", "La", "RGBA", "RGBa", "RGBX"):
        notes.append(f"{image.mode} to RGB")
    if "transparency" in image.info or image.mode in ("LA", "La", "RGBa", "PA"):
        return image.convert("RGBA")
    return image.convert("L" if image.mode == "1" else "RGB")


def _values(image: Image, most: int) -> Floats:
    values = np.asarray(image).astype(np.float64)
    if not np.isfinite(values).all() or values.min() < 0 or values.max() > most:
        raise UnusableError(
            f"{image.mode} pixels from {values.min():g} to {values.max():g}: expected 0 to {most}"
        )
    return values


def pixel_hash(pixels: Pixels) -> Hashes:
    """Return the hash of an image (H, W, C), uint64 (1,)."""
    return example_hashes(pixels.transpose(2, 0, 1)[None])


def fit(image: Image, size: Size) -> Image:
    """Scale an image to cover (height, width), antialiased, and crop it at the centre."""
    from PIL import Image as Images, ImageOps

    return ImageOps.fit(image, size[::-1], method=Images.Resampling.BICUBIC)


def _pixels(image: Image) -> Pixels:
    pixels = np.asarray(image)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    return _fewest(pixels)


def _fewest(pixels: Pixels) -> Pixels:
    if pixels.shape[2] == 4 and (pixels[:, :, 3] < 255).any():
        return pixels.copy()
    colours = pixels[:, :, :3]
    if (colours == colours[:, :, :1]).all():
        return colours[:, :, :1].copy()
    return colours.copy()


def stacked(images: Sequence[Pixels], channels: int | None = None) -> Pixels:
    """Stack images (H, W, C) of one size to uint8 (n, channels, H, W); None for the most."""
    if channels is None:
        channels = max(image.shape[2] for image in images)
    out = np.full((len(images), channels, *images[0].shape[:2]), 255, dtype=np.uint8)
    for target, image in zip(out, images, strict=True):
        planes = image.transpose(2, 0, 1)
        target[:3] = planes[:3]  # grey becomes equal colours
        if channels == 4 and len(planes) == 4:
            target[3] = planes[3]
    return out
