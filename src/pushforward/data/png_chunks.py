"""The chunks of a PNG file, read before its decoder reads them: what stands beside the pixels may be a bomb as well."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

__all__ = ["depth_of"]

MAX_BESIDE = 16 * 2**20
"""Bytes of a file that are no pixels."""
MAX_CHUNKS = 100_000
MAX_TEXTS = 16
"""Compressed texts, each of which may unpack to a megabyte."""
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PIXELS = (b"IDAT", b"fdAT")
_PACKED = (b"zTXt", b"iTXt", b"iCCP")


def depth_of(handle: BinaryIO) -> int:
    """Bits per channel of a PNG, whose chunks are walked without reading them; 0 for a file of another kind.

    Args:
        handle: The file, which is left at any position.

    Raises:
        ValueError: If what stands beside the pixels is far too large; the message is a reason to leave the file out.
    """
    handle.seek(0)
    start = handle.read(25)
    if start[:8] != _SIGNATURE or len(start) < 25:
        return 0
    end, beside, texts, chunks = handle.seek(0, os.SEEK_END), 0, 0, 0
    at = len(_SIGNATURE)
    while at + 8 <= end:
        handle.seek(at)
        length, kind = struct.unpack(">I4s", handle.read(8))
        texts += kind in _PACKED
        beside += 0 if kind in _PIXELS else length
        chunks += 1
        if chunks > MAX_CHUNKS:
            raise ValueError(f"more than {MAX_CHUNKS:,} chunks: taken for a decompression bomb")
        if beside > MAX_BESIDE:
            raise ValueError(f"more than {MAX_BESIDE >> 20} MB beside its pixels: taken for a decompression bomb")
        if texts > MAX_TEXTS:
            raise ValueError(f"more than {MAX_TEXTS} compressed texts: taken for a decompression bomb")
        if kind == b"IEND":
            break
        at += 12 + length
    return start[24]
