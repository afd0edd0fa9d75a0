"""Which checkpoints a run has, by their folders' names, and whether each is whole: every file against sizes and hashes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pushforward.errors import CheckpointError, RunUsageError, did_you_mean
from pushforward.files import read_json, read_object
from pushforward.training.checkpoint.disk import sha256, write_json
from pushforward.training.loop.state import wrong_counter

FORMAT = 1
"""The number of the format of checkpoints that is written and read."""
THREADS = 4
"""Files of a checkpoint that are hashed at once."""
PREFIX, LONGEST = "step_", 40
"""How the name of every checkpoint begins; digits follow. Characters of such a name, at most."""
LATEST, MANIFEST = "latest.json", "MANIFEST.json"
WHOLE = {"state.json", "method.safetensors", "average.safetensors", "optimizer.safetensors"}
"""The files of a checkpoint; a sharded one has shards in place of the weights."""


def step_name(step: int) -> str:
    """The name of the checkpoint after so many steps, such as "step_000500"."""
    return f"{PREFIX}{step:06d}"


def step_of(folder: Path) -> int:
    """The step of a checkpoint, by its name."""
    return int(folder.name.removeprefix(PREFIX))


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


def weights_of(checkpoint: Path, raw: bool = False) -> str:
    """The hash of a checkpoint's averaged weights, or of its last ones, as its manifest has it."""
    return str(weights_hash(read_json(checkpoint / MANIFEST)["files"], raw))


def all_in(folder: Path) -> list[Path]:
    """The checkpoints in a run's ``checkpoints`` folder, by their steps."""
    return sorted((path for path in folder.glob(f"{PREFIX}*") if is_checkpoint(path.name)), key=step_of)


def latest(folder: Path) -> Path | None:
    """The checkpoint of a run's ``checkpoints`` folder that was written last, or None where there is none.

    ``latest.json`` names it; where it names none that is there, it is the one of the highest number that is whole.
    """
    name = read_object(folder / LATEST).get("checkpoint")
    if isinstance(name, str) and is_checkpoint(name) and (folder / name).is_dir():
        return folder / name
    checkpoints = all_in(folder)
    return next((path for path in reversed(checkpoints) if fault(path) is None), checkpoints[-1] if checkpoints else None)


def write_latest(folder: Path, name: str) -> None:
    """Make a checkpoint of a run's ``checkpoints`` folder the newest (`latest`), named with the hash of its manifest."""
    write_json(folder / LATEST, {"checkpoint": name, "manifest": sha256(folder / name / MANIFEST), "format_version": FORMAT})


def no_checkpoint(folder: Path, name: str | None) -> CheckpointError:
    """The error for a run without any checkpoint, or without one of a name, which lists those that there are."""
    names = [path.name for path in all_in(folder / "checkpoints")]
    if not names:
        return CheckpointError(f"{folder} has no checkpoint yet. Start its training: pushforward resume {folder}")
    hint = did_you_mean(name or "", [*names, "best"])
    return RunUsageError(f"{folder} has no checkpoint {name}.{hint} There are: {', '.join(names)}.")


def fault(folder: Path) -> tuple[str, str] | None:
    """The first file of a checkpoint that is missing or damaged, and what is wrong with it; None where all are whole."""
    try:
        manifest = read_json(folder / MANIFEST)
    except CheckpointError as error:
        if isinstance(error.__cause__, PermissionError):
            raise
        return MANIFEST, "is missing" if isinstance(error.__cause__, FileNotFoundError) else "cannot be read"
    files = manifest.get("files") if isinstance(manifest, dict) else None
    if not isinstance(files, dict):
        return MANIFEST, "does not list the files"
    if (version := manifest.get("format_version")) != FORMAT:
        return MANIFEST, f"says that the format is {version!r}, and this version of pushforward reads {FORMAT}"
    needed = {"state.json"} if any(map(is_shard, files)) else WHOLE
    if missing := sorted(needed - files.keys()):
        return MANIFEST, f"does not list {missing[0]}"
    with ThreadPoolExecutor(THREADS) as pool:  # hashing lets other threads run
        wrong = next(filter(None, pool.map(lambda entry: _difference(folder, *entry), files.items())), None)
    newest = read_object(folder.parent / LATEST)
    if wrong and newest.get("checkpoint") == folder.name and newest.get("manifest") not in (None, sha256(folder / MANIFEST)):
        return MANIFEST, "differs from what was written (sha256)"
    return wrong


def _difference(folder: Path, name: str, entry: Any) -> tuple[str, str] | None:
    path = folder / name
    if Path(name).name != name or not os.path.isfile(path):
        return name, "is missing"
    try:
        same = path.stat().st_size == entry["size"] and sha256(path) == entry["sha256"]
    except (LookupError, TypeError):
        return MANIFEST, f"gives no size and sha256 of {name}"
    except OSError as error:
        return name, f"cannot be read ({error.strerror or error})"
    return None if same else (name, "differs from what was written (size or sha256)")


def next_good(folder: Path) -> Path | None:
    """The newest checkpoint before another one that is whole, else the newest after it; None where none is whole."""
    others = [path for path in reversed(all_in(folder.parent)) if path != folder]
    if is_checkpoint(folder.name):
        others.sort(key=lambda path: step_of(path) > step_of(folder))
    return next((path for path in others if fault(path) is None), None)


def damaged(folder: Path, name: str, why: str) -> CheckpointError:
    """The error for a checkpoint that cannot be used; it recommends another one only after that has been verified.

    ``why`` goes on where the file's name ends.
    """
    good = next_good(folder)
    remedy = "There is no other checkpoint in this run that is whole."
    if good is not None:
        remedy = f"A checkpoint that is whole: {good.name}. To go on from there, resume with `fallback=True`."
    return CheckpointError(f"Checkpoint {folder} is damaged: {name} {why}. {remedy}", good.name if good else None)


def read_state(folder: Path) -> dict[str, Any]:
    """The counters of a checkpoint, after all of its files have been verified.

    Raises:
        CheckpointError: If anything is missing, differs from its hash or is malformed: names the file, and another checkpoint
            that is whole.
    """
    if (wrong := fault(folder)) is not None:
        raise damaged(folder, *wrong)
    state = read_json(folder / "state.json")
    if (name := wrong_counter(state)) is not None:
        raise damaged(folder, "state.json", f"does not say {name} as it should")
    if is_checkpoint(folder.name) and state["step"] != step_of(folder):
        raise damaged(folder, "state.json", f"is of step {state['step']:,}")
    return dict(state)


def unfinished(checkpoint: Path, budget: dict[str, Any]) -> str | None:
    """How far an unfinished run is, such as "26 of 200 steps"; None where its budget is used up or not known."""
    try:
        state = read_json(checkpoint / "state.json")
        step, total, seconds = state["step"], state.get("total"), budget.get("seconds")
        if total:
            return f"{step:,} of {total:,} steps" if step < total else None
        return f"{state['seconds']:.0f} of {seconds:.0f} s" if seconds and state["seconds"] < seconds else None
    except (CheckpointError, OSError, KeyError, TypeError, AttributeError):
        return None
