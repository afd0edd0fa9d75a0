"""The folder of what evaluation has computed, and writing to it."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Literal

__all__ = ["Cache", "cache_folder", "write_whole"]

Cache = str | Path | None | Literal[False]
"""A folder, None for the default one (`cache_folder`), or False for none."""

_log = logging.getLogger("pushforward")


def cache_folder() -> Path:
    """Where fitted features and floors are kept: ``PUSHFORWARD_CACHE``, or ``~/.cache/pushforward``."""
    given = os.environ.get("PUSHFORWARD_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "pushforward"


def write_whole(path: Path, content: bytes) -> None:
    """Write a cache file so that a reader sees all of it or nothing; a disk that refuses costs only the cache."""
    held: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            held = file.name
            file.write(content)
        os.replace(held, path)
    except OSError as error:
        _log.warning("The cache %s cannot be written (%s); the next evaluation computes it again.", path, error)
        if held is not None and os.path.exists(held):
            os.unlink(held)
