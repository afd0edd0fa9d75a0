"""Which checkpoints a run has, by their folders' names, and whether each is whole: every file against sizes and hashes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pushforward.errors import CheckpointError, RunUsageError, did_you_mean
from pushforward.safe_files import MOST_BYTES
from pushforward.training.disk import read_json, sha256, write_json

__all__ = [
    "FORMAT",
    "PREFIX",
    "all_in",
    "damaged",
    "fault",
    "is_checkpoint",
    "is_shard",
    "latest",
    "next_good",
    "step_name",
    "step_of",
    "verify",
    "weights_hash",
    "write_latest",
]

FORMAT = 1
"""The number of the format of checkpoints that is written and read."""
GROUPS = ("method", "average", "optimizer")
"""The files of weights that a checkpoint holds."""
THREADS, LARGE = 4, 1 << 24
"""Files of a checkpoint that are hashed at once, and the bytes from which on they are."""
PREFIX = "step_"
"""How the name of every checkpoint begins; digits follow."""
LONGEST = 40
"""Characters of such a name, at most."""
_LATEST, _MANIFEST = "latest.json", "MANIFEST.json"


def step_name(step: int) -> str:
    """The name of the checkpoint after so many steps, such as "step_000500"."""
    return f"{PREFIX}{step:06d}"


def is_checkpoint(name: object) -> bool:
    """Whether a folder's name is that of a checkpoint."""
    return isinstance(name, str) and len(name) < LONGEST and name.startswith(PREFIX) and name.removeprefix(PREFIX).isdecimal()


def is_shard(name: str) -> bool:
    """Whether a file's name is that of one process's part of a sharded checkpoint."""
    return name.startswith("shard-") and name.endswith(".safetensors")


def weights_hash(files: Mapping[str, Any], raw: bool = False) -> str | None:
    """The hash of a checkpoint's averaged weights, or of its last ones, by the files of its manifest; None where it has none."""
    entry = files.get(f"{'method' if raw else 'average'}.safetensors")
    if entry is not None:
        return str(entry["sha256"])
    shards = sorted(f"{name} {entry['sha256']}" for name, entry in files.items() if is_shard(name))
    return hashlib.sha256("\n".join(shards).encode()).hexdigest() if shards else None


def step_of(folder: Path) -> int:
    """The step of a checkpoint, by its name."""
    return int(folder.name.removeprefix(PREFIX))


def all_in(folder: Path) -> list[Path]:
    """The checkpoints in a run's ``checkpoints`` folder, by their steps."""
    return sorted(
        (path for path in folder.glob(f"{PREFIX}*") if is_checkpoint(path.name)), key=lambda path: (step_of(path), path)
    )


def no_checkpoint(folder: Path, name: str | None) -> CheckpointError:
    """The error for a run without any checkpoint, or without one of a name, which lists those that there are."""
    names = [path.name for path in all_in(folder / "checkpoints")]
    if not names:
        return CheckpointError(f"{folder} has no checkpoint yet. Start its training: pushforward resume {folder}")
    return RunUsageError(
        f"{folder} has no checkpoint {name}.{did_you_mean(name or '', [*names, 'best'])} There are: {', '.join(names)}."
    )


def write_latest(folder: Path, name: str) -> None:
    """Make a checkpoint of a run's ``checkpoints`` folder the newest (`latest`), named with the hash of its manifest."""
    write_json(folder / _LATEST, {"checkpoint": name, "manifest": _seal(folder / name), "format_version": FORMAT})


def _seal(folder: Path) -> str | None:
    """The hash of a checkpoint's manifest; None where it is missing, or larger than one can be."""
    path = folder / _MANIFEST
    return sha256(path) if path.is_file() and path.stat().st_size <= MOST_BYTES else None


def latest(folder: Path) -> Path | None:
    """The checkpoint of a run's ``checkpoints`` folder that was written last, or None where there is none.

    ``latest.json`` names it; without that file, or where it names none that is there, it is the one of the highest number that
    is whole.
    """
    if (named := _named(folder)) is not None:
        return named
    checkpoints = all_in(folder)
    return next((path for path in reversed(checkpoints) if fault(path) is None), checkpoints[-1] if checkpoints else None)


def _named(folder: Path) -> Path | None:
    """The checkpoint that ``latest.json`` names; where its manifest has another hash, one whose manifest has that hash."""
    name, manifest = _recorded(folder)
    named = folder / name if name is not None and os.path.isdir(folder / name) else None
    if manifest is None or (named is not None and _seal(named) == manifest):
        return named
    return next((path for path in all_in(folder) if _seal(path) == manifest), named)


def _recorded(folder: Path) -> tuple[str | None, object]:
    """The name and the hash in ``latest.json``, as far as it gives them."""
    try:
        content = read_json(folder / _LATEST)
    except CheckpointError:
        return None, None
    if not isinstance(content, dict):
        return None, None
    name = content.get("checkpoint")
    return str(name) if is_checkpoint(name) else None, content.get("manifest")


def verify(folder: Path) -> None:
    """Check every file of a checkpoint against its manifest.

    Raises:
        CheckpointError: Naming the first file that is missing or damaged, and the next good checkpoint.
    """
    if (wrong := fault(folder)) is not None:
        raise damaged(folder, *wrong)


def fault(folder: Path) -> tuple[str, str] | None:
    """The first file of a checkpoint that is missing or damaged, and what is wrong with it; None where all are whole."""
    try:
        manifest = read_json(folder / _MANIFEST)
    except CheckpointError as error:
        if isinstance(error.__cause__, PermissionError):
            raise
        return _MANIFEST, "is missing" if isinstance(error.__cause__, FileNotFoundError) else "cannot be read"
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict):
        return _MANIFEST, "does not list the files"
    if (version := manifest.get("format_version")) != FORMAT:
        return _MANIFEST, f"says that the format is {version!r}, and this version of pushforward reads {FORMAT}"
    sharded = any(map(is_shard, files))
    for name in ("state.json", *(f"{name}.safetensors" for name in GROUPS if not sharded)):
        if name not in files:
            return _MANIFEST, f"does not list {name}"
    wrong = next(filter(None, _differences(folder, files)), None)
    newest, seal = _recorded(folder.parent)
    if wrong is not None and newest == folder.name and seal not in (None, _seal(folder)):
        return _MANIFEST, "differs from what was written (sha256)"
    return wrong


def _differences(folder: Path, files: Mapping[str, object]) -> list[tuple[str, str] | None]:
    if sum(path.lstat().st_size for path in folder.iterdir()) < LARGE:
        return [_difference(folder, *entry) for entry in files.items()]
    with ThreadPoolExecutor(THREADS) as pool:  # hashing lets other threads run
        return list(pool.map(lambda entry: _difference(folder, *entry), files.items()))


def _difference(folder: Path, name: str, entry: object) -> tuple[str, str] | None:
    path = folder / name
    if not (isinstance(entry, dict) and {"size", "sha256"} <= entry.keys()):
        return _MANIFEST, f"gives no size and sha256 of {name}"
    if Path(name).name != name or not os.path.isfile(path):
        return name, "is missing"
    try:
        same = path.stat().st_size == entry["size"] and sha256(path) == entry["sha256"]
    except OSError as error:
        return name, f"cannot be read ({error.strerror or error})"
    return None if same else (name, "differs from what was written (size or sha256)")


def damaged(folder: Path, name: str, why: str) -> CheckpointError:
    """The error for a checkpoint that cannot be used; it recommends another one only after that has been verified.

    ``why`` goes on where the file's name ends.
    """
    other = next_good(folder)
    before = other is not None and is_checkpoint(folder.name) and step_of(other) < step_of(folder)
    which = "The checkpoint before it" if before else "Another one that is whole"
    remedy = f"{which}: {other.name}." if other else "There is no other checkpoint in this run that is whole."
    return CheckpointError(f"Checkpoint {folder} is damaged: {name} {why}. {remedy}", other.name if other else None)


def next_good(folder: Path) -> Path | None:
    """The newest checkpoint before another one that is whole, else the newest after it; None where none is whole."""
    others = [path for path in reversed(all_in(folder.parent)) if path != folder]
    step = step_of(folder) if is_checkpoint(folder.name) else None
    before = [path for path in others if step is not None and step_of(path) < step]
    return next((path for path in (*before, *(path for path in others if path not in before)) if fault(path) is None), None)
