"""The headers of arrays in numpy's format, read safely by several threads."""

from __future__ import annotations

import io
from functools import lru_cache
from threading import Lock
from typing import IO, Any, NamedTuple

import numpy as np

MAX_BYTES = 10_000  # bytes of a header at most; numpy writes one of plain numbers in 128
_WIDTHS = {(1, 0): 2, (2, 0): 4}
_PARSING = Lock()


class ArrayHeader(NamedTuple):
    """What the header of an array says.

    Args:
        shape: of the array.
        fortran: whether its first index runs fastest.
        dtype: of its elements.
    """

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]


def array_header(file: IO[bytes]) -> ArrayHeader:
    """Read the header of an array in numpy's format 1.0 or 2.0; the file then stands at the first element.

    Raises:
        ValueError: If it is no such header, or is longer than 10,000 bytes.
    """
    version = np.lib.format.read_magic(file)
    if version not in _WIDTHS:
        raise ValueError(f"version {version} of numpy's format: expected an array of plain numbers")
    length = file.read(_WIDTHS[version])
    size = int.from_bytes(length, "little")
    if size > MAX_BYTES:
        raise ValueError(f"a header of {size:,} bytes: expected at most {MAX_BYTES:,}")
    with _PARSING:
        return _parsed(version, length + file.read(size))


@lru_cache(maxsize=256)
def _parsed(version: tuple[int, int], content: bytes) -> ArrayHeader:
    """Parse a header with numpy, once for each distinct header and by one thread at a time.

    numpy calls ``ast.literal_eval``, in which CPython 3.11 counts depth for all threads together: where a garbage collection
    lets another thread in, both fail with "AST constructor recursion depth mismatch" (python/cpython issue 106905). Code beyond
    this module can cause it as well, so that a header is parsed a second time.
    """
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        return ArrayHeader(*read(io.BytesIO(content)))
    except SystemError:
        return ArrayHeader(*read(io.BytesIO(content)))
