"""Fingerprints of data: sha256 of all that a model can learn from."""

from __future__ import annotations

import hashlib
import json
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from pushforward.data.spaces.space import Space

if TYPE_CHECKING:
    from pushforward.data.dataset import Split

__all__ = ["fingerprints"]

_BYTES = 1 << 24
"""About how much is hashed at a time, so that examples that stay on disk are read in parts."""


def fingerprints(space: Space, *splits: Split, coordinates: bool = False) -> tuple[str, str]:
    """sha256 (hex) of the examples, conditions and names of splits, with labels and without them; each example is read once.

    Args:
        space: Of the data.
        splits: Its examples.
        coordinates: Whether rows of a table are hashed as their coordinates; else as the values of its file, where these are
            known, so that all digits count, and the ways in which versions encode them do not.
    """
    whole, unlabelled = hashlib.sha256(), hashlib.sha256()
    rows = [split.table_values for split in splits if split.table_values is not None]
    if len(rows) == len(splits) and not coordinates:
        fields: Any = getattr(space, "fields", ())
        whole.update(json.dumps({"columns": [[field.name, list(field.levels)] for field in fields]}).encode())
        for known in rows:
            _add(known, whole)
        return whole.hexdigest(), whole.hexdigest()
    for digest, names in ((whole, space.classes), (unlabelled, space.without_labels().classes)):
        digest.update(json.dumps({"shape": space.shape, "classes": names, "columns": space.columns}).encode())
    for split in splits:
        _add(split.x, whole, unlabelled)
        for digest, labels in ((whole, split.labels), (unlabelled, None)):
            if labels is None:
                digest.update(b"none")
            else:
                _add(labels, digest)
        for name, values in split.given.items():
            for digest in (whole, unlabelled):
                digest.update(json.dumps([name, list(space.conditions[name].entries)]).encode())
            _add(values, whole, unlabelled)
    return whole.hexdigest(), unlabelled.hexdigest()


def _add(array: Any, *digests: Any) -> None:
    """Add type, shape and numbers of an array, in little-endian order."""
    kind = array.dtype.newbyteorder("<")
    step = max(1, _BYTES // max(1, kind.itemsize * math.prod(array.shape[1:])))
    for digest in digests:
        digest.update(f"{kind.str}{array.shape}".encode())
    for start in range(0, len(array), step):
        part = np.ascontiguousarray(array[start : start + step].astype(kind, copy=False))
        for digest in digests:
            digest.update(part.data)
