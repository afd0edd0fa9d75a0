"""The image files that a run was trained on, by name and content, so that those that change later can be named.

``files.json`` in the run's folder is written at its start. Reading the data has computed the hashes.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pushforward.data import Dataset
from pushforward.data.core.check import compared
from pushforward.errors import CheckpointError
from pushforward.training import checkpoint as checkpoints

__all__ = ["what_changed", "write_files"]

FORMAT, FILE = 1, "files.json"
MOST = 100_000
"""Files up to which they are recorded: about 5 MB."""
SHOWN = 5


def write_files(folder: Path, data: Dataset) -> None:
    """Record the image files of a data set in a run's folder; nothing for other data, or more files than `MOST`.

    Raises:
        CheckpointError: If the disk refuses.
    """
    if data.files is not None and len(data.files.names) <= MOST:
        checkpoints.write_json(folder / FILE, {"format_version": FORMAT, "files": _by_name(data)})


def what_changed(folder: Path, data: Dataset, place: str | None) -> str:
    """Which files are not those that a run was trained on, in sentences; or how to see that.

    ``place`` is where it was read from; None for data from Python.
    """
    recorded = _recorded(folder)
    if place is None or (recorded is not None and data.files is None):
        return ""
    if Path(place).is_file() and data.files is None:
        return f" It is read from {place}."
    if recorded is None:
        check = f"pushforward data check {shlex.quote(place)} --against FILE"
        return f" The run does not record its files; with a FILE of an earlier `pushforward data check`, see: {check}."
    return "".join(f" {sentence}" for sentence in _differences(recorded, _by_name(data), dict(data.skipped)))


def _differences(before: Mapping[str, str], now: Mapping[str, str], skipped: Mapping[str, str]) -> Iterator[str]:
    for kind, names in compared(before, now).items():
        if names:
            more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
            named = (f"{name} ({skipped[name]})" if name in skipped else name for name in names[:SHOWN])
            yield f"{len(names):,} file{'s' * (len(names) != 1)} {kind}: {', '.join(named)}{more}."


def _by_name(data: Dataset) -> dict[str, str]:
    if data.files is None:
        return {}
    return {name: f"{content:016x}" for name, content in zip(data.files.names, data.files.hashes.tolist(), strict=True)}


def _recorded(folder: Path) -> dict[str, str] | None:
    """What `write_files` wrote; None where there is nothing that can be used."""
    try:
        content: Any = checkpoints.read_json(folder / FILE)
        return {str(name): str(digest) for name, digest in content["files"].items()}
    except (CheckpointError, OSError, AttributeError, KeyError, TypeError):
        return None
