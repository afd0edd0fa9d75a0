"""Image files and what is read of them."""

import struct
import zlib

import numpy as np
from PIL import Image


def picture(seed=0, shape=(12, 10, 3)):
    return np.random.RandomState(seed).randint(0, 256, shape).astype(np.uint8)


def plain(folder, n, shape=(12, 10, 3), start=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + n):
        image = Image.fromarray(picture(i, shape))
        image.save(folder / f"{i:03}.png")


def pixels(n, seed=0, shape=(3, 6, 5)):
    return np.random.default_rng(seed).integers(0, 256, (n, *shape), dtype=np.uint8)


def content(x):
    """Rows as a set of their bytes."""
    return {row.tobytes() for row in x}


def chunk(kind, body):
    length = struct.pack(">I", len(body))
    check = struct.pack(">I", zlib.crc32(kind + body))
    return length + kind + body + check


def png(width, height, depth=8, colour=2, rows=b""):
    settings = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = [chunk(b"IHDR", settings), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def rows_of(data):
    """All images, in the order of their split."""
    return np.concatenate([data.train.x, data.held_out.x])


def has(data, pixels):
    """Whether some image equals pixels (H, W, C)."""
    wanted = pixels.transpose(2, 0, 1)
    return any(np.array_equal(row, wanted) for row in rows_of(data))
