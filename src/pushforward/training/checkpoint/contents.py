"""What a checkpoint holds: safetensors and JSON in a folder, hashed, and whole or not there.

A folder is written under a temporary name, every file is flushed to the disk, the manifest with sizes and hashes comes
last, and one rename makes it a checkpoint. Older ones go only after the new one has been read back and verified.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.errors import CheckpointError
from pushforward.files import disk
from pushforward.training.checkpoint.disk import bytes_of, check_space, flush, sha256
from pushforward.training.checkpoint.integrity import (
    FORMAT,
    MANIFEST,
    all_in,
    fault,
    step_name,
    step_of,
    write_latest,
)

if TYPE_CHECKING:
    from torch import Tensor


def save(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    keep: int = 2,
    after: int | None = None,
    held: Container[int] = (),
) -> None:
    """Write ``folder/step_NNNNNN`` and prune older checkpoints.

    Args:
        folder: The run's ``checkpoints`` folder.
        step: The number of training steps done.
        tensors: Per file name (without ending), tensors by name.
        state: JSON-ready counters.
        keep: How many checkpoints stay.
        after: The step of the checkpoint that this training went on from. Later ones belong to a training that was given up
            (``resume --from``) and are removed; None leaves them.
        held: The steps of checkpoints that stay.

    Raises:
        CheckpointError: If the disk refuses or has too little space; earlier checkpoints stay as they were.
    """
    final = folder / step_name(step)
    check_space(final, bytes_of(tensors.values()))
    with staged(final) as temporary:
        fill(temporary, tensors, state)
        commit(temporary, final)
    prune(final, keep, after, held)


@contextlib.contextmanager
def staged(final: Path) -> Iterator[Path]:
    """A temporary folder for the files of a checkpoint, from any number of writers; it vanishes unless `commit` publishes it.

    Whatever an interrupted save has left beside the checkpoint is removed first (`clean_up`).

    Raises:
        CheckpointError: If the disk refuses, here or within the context.
    """
    folder, temporary = final.parent, final.with_name(f".tmp-{final.name}-{os.getpid()}")
    try:
        with disk(final):
            if not folder.is_dir():
                folder.mkdir(parents=True)
                flush(folder.parent)
            clean_up(folder)
            temporary.mkdir()
            yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def commit(temporary: Path, final: Path, known: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Make a folder whose files are written a checkpoint, and the newest one: its manifest comes last, then one rename.

    Files whose size and sha256 are ``known`` have been hashed by their writers.

    Raises:
        CheckpointError: If the files, read again, are not what was written.
        OSError: If the disk refuses.
    """
    seal(temporary, known)
    if (wrong := fault(temporary)) is not None:
        raise CheckpointError(
            f"{final} could not be written: {wrong[0]}, read again, {wrong[1]}. Check the disk; what was saved before is intact."
        )
    if final.exists():  # of the same step, by a training that was given up
        _remove(final)
    os.rename(temporary, final)
    flush(final.parent)
    write_latest(final.parent, final.name)


def prune(final: Path, keep: int = 2, after: int | None = None, held: Container[int] = ()) -> None:
    """Remove older checkpoints, by their steps, once a new one is the newest; see `save` for the arguments."""
    others = [path for path in all_in(final.parent) if path != final]
    given_up = [path for path in others if after is not None and step_of(path) > after]
    remaining = [path for path in all_in(final.parent) if path not in given_up and step_of(path) not in held]
    for old in (*given_up, *remaining[:-keep]):
        if old != final:
            _remove(old)


def _remove(folder: Path) -> None:
    gone = folder.with_name(f".tmp-{folder.name}-gone-{os.getpid()}")
    with contextlib.suppress(OSError):
        os.rename(folder, gone)
        shutil.rmtree(gone)


def clean_up(folder: Path) -> None:
    """Remove what interrupted saves have left in a run's ``checkpoints`` folder; whoever calls this holds the run's lock."""
    for left in folder.glob(".tmp-*"):
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def fill(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Write tensors and counters into a folder, flushed.

    Raises:
        OSError: If the disk refuses.
    """
    from pushforward.training.checkpoint.tensors import write

    for name, group in tensors.items():
        write(folder / f"{name}.safetensors", group)
        flush(folder / f"{name}.safetensors")
    (folder / "state.json").write_text(json.dumps(state, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    flush(folder / "state.json")


def seal(folder: Path, known: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Write the sizes and hashes of all files in a folder (``MANIFEST.json``), flushed: after that, any change is noticed.

    Those that are ``known`` are not read for it.

    Raises:
        OSError: If the disk refuses.
    """
    listing = dict(known or {})
    for path in sorted(path for path in folder.iterdir() if path.is_file() and path.name not in listing):
        listing[path.name] = {"size": path.stat().st_size, "sha256": sha256(path)}
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps({"format_version": FORMAT, "files": listing}, indent=1) + "\n", encoding="utf-8")
    flush(manifest)
    flush(folder)
