"""The folder of what evaluation has computed: fitted features, features of real data and floors, by what they depend on."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import Tensor

from pushforward.errors import CheckpointError
from pushforward.files import replacing

__all__ = ["Cache", "array_read", "array_written", "cache_folder", "read_tensors", "write_tensors", "write_whole"]

Cache = str | Path | None | Literal[False]
"""A folder, None for the default one (`cache_folder`), or False for none."""

_log = logging.getLogger("pushforward")


def cache_folder(cache: Cache = None) -> Path | None:
    """The folder given, else ``PUSHFORWARD_CACHE`` or ``~/.cache/pushforward``; None for no cache, and without a home."""
    given = os.path.expanduser(cache or os.environ.get("PUSHFORWARD_CACHE") or "~/.cache/pushforward")
    return None if cache is False or given.startswith("~") else Path(given)


def write_whole(path: Path, content: bytes) -> None:
    """Write a cache file so that a reader sees all of it or nothing; a disk that refuses costs only the cache."""
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except CheckpointError as error:
        _log.warning("The cache %s cannot be written (%s); the next evaluation computes it again.", path, error.__cause__)


def write_tensors(folder: Path, key: str, tensors: Mapping[str, Tensor], accuracy: float | None) -> None:
    """Write fitted features: their tensors, and the accuracy of their classifier."""
    from safetensors.torch import save

    content = save(dict(tensors))
    digest = hashlib.sha256(content).hexdigest()
    description = {"format_version": 2, "key": key, "accuracy": accuracy, "sha256": digest}
    write_whole(folder / f"{key}.safetensors", content)
    write_whole(folder / f"{key}.json", json.dumps(description, indent=1).encode())


def read_tensors(folder: Path, key: str) -> tuple[dict[str, Tensor], float | None] | None:
    """What `write_tensors` wrote, or None where there is nothing or it is damaged."""
    from safetensors.torch import load

    try:
        description: dict[str, Any] = json.loads((folder / f"{key}.json").read_bytes())
        content = (folder / f"{key}.safetensors").read_bytes()
        if description["key"] != key or description["sha256"] != hashlib.sha256(content).hexdigest():
            return None
        return load(content), description["accuracy"]
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return None


def array_written(path: Path, array: np.ndarray) -> np.ndarray:
    """The array itself, after it was written with the sha256 of its content in front."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    content = buffer.getvalue()
    write_whole(path, hashlib.sha256(content).digest() + content)
    return array


def array_read(path: Path) -> np.ndarray | None:
    """What `array_written` wrote, or None where there is nothing or it is damaged."""
    try:
        content = path.read_bytes()
        if hashlib.sha256(content[32:]).digest() != content[:32]:
            return None
        array: np.ndarray = np.load(io.BytesIO(content[32:]), allow_pickle=False)
        return array
    except (OSError, ValueError):
        return None
