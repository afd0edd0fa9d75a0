"""The cache of floors: what real data scores takes long to measure, and depends on the data and the metrics alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pushforward.evaluation.cache import write_whole
from pushforward.evaluation.naming import Choice
from pushforward.metrics import Score
from pushforward.metrics.memorisation import Memorisation
from pushforward.metrics.subsets import drawn
from pushforward.metrics.table import Table
from pushforward.metrics.trees import inputs
from pushforward.metrics.uncertainty import area


def floor_path(folder: Path, key: str, n: int, redraws: int, chosen: Choice, parts: Sequence[Any]) -> Path:
    """The floors' file; its name hashes everything that they depend on, the metrics' source included.

    Args:
        folder: The cache.
        key: Of the features.
        n: Examples on either side.
        redraws: How often they are drawn.
        chosen: The metrics.
        parts: Functions whose files hold the code that draws the examples.
    """
    named = [(type(metric).__qualname__, sorted(vars(metric).items()), scores) for metric, scores in chosen]
    words = hashlib.sha256(repr((key, n, redraws, named)).encode())
    words.update(_source(chosen, parts))
    return folder / "floors" / f"{words.hexdigest()[:32]}.json"


def _source(chosen: Choice, parts: Sequence[Any]) -> bytes:
    import inspect
    import sys

    files = {inspect.getfile(type(metric)) for metric, _ in chosen}
    files |= {inspect.getfile(sys.modules[part.__module__]) for part in (*parts, drawn, Memorisation, Table, inputs, area)}
    return b"".join(hashlib.sha256(Path(file).read_bytes()).digest() for file in sorted(files))


def read_floors(path: Path) -> dict[str, Score] | None:
    """The floors in a file; None where it is missing or damaged."""
    try:
        content: Mapping[str, Any] = json.loads(path.read_bytes())
        if content["key"] != path.stem:
            return None
        return {name: Score.from_plain(row) for name, row in content["floors"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_floors(path: Path, floors: Mapping[str, Score]) -> None:
    """Write floors into the cache."""
    content = {name: floor.to_plain() for name, floor in floors.items()}
    write_whole(path, json.dumps({"format_version": 2, "key": path.stem, "floors": content}).encode())
