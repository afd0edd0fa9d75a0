"""The files of a checkpoint, written atomically and verified by hash."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward.errors import CheckpointError
from pushforward.files import (
    disk,
    opened,
    private,
    read_json,
    read_object,
    replacing,
    sweep,
)
from pushforward.training.loop.budget import Budget

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1  # the number of the format of checkpoints that is written and read
BESIDE = 1 << 16  # bytes of a checkpoint beside its tensors, at most
THREADS = 4  # files of a checkpoint that are hashed at once
PREFIX = "step_"  # how the name of every checkpoint begins; digits follow
LATEST = "latest.json"
MANIFEST = "MANIFEST.json"
GROUPS = ("method", "average", "optimizer")  # the tensors of a checkpoint, each in a file
WHOLE = {"state.json", *(f"{group}.safetensors" for group in GROUPS)}
"""The files of a checkpoint."""


def flush(path: Path) -> None:
    """Flush a file or folder to disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Context with a temporary file that is flushed and renamed to ``path`` on success."""
    with disk(path):
        with replacing(path) as temporary:
            yield temporary
            flush(temporary)
        flush(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file atomically; see `appearing`."""
    with appearing(path) as temporary:
        _write(temporary, content)


def _write(path: Path, content: Any) -> None:
    text = json.dumps(content, indent=1, allow_nan=False)
    path.write_text(f"{text}\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Compute the sha256 of a regular file, in hex."""
    with opened(path) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write whole tensors by name to a file (safetensors)."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.touch()
    mode = path.stat().st_mode  # by the umask; the library lets nobody else read
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    storages = {name: value.untyped_storage() for name, value in plain.items()}
    places = Counter(storage.data_ptr() for storage in storages.values())
    for name, storage in storages.items():
        if places[storage.data_ptr()] > 1 or storage.nbytes() != plain[name].nbytes:
            plain[name] = plain[name].clone()
    try:
        save_file(plain, path)
    except SafetensorError as error:
        raise OSError(str(error)) from error
    path.chmod(mode)


def read_tensors(path: Path, device: Any = "cpu") -> dict[str, Tensor]:
    """Read the whole tensors of a file by name."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device=str(device))
    except SafetensorError as error:
        raise OSError(str(error)) from error


def bytes_of(groups: Iterable[Mapping[str, Tensor]]) -> int:
    """Compute the bytes of a checkpoint with these tensors, counting whole tensors."""
    return BESIDE + sum(
        tensor.numel() * tensor.element_size() for group in groups for tensor in group.values()
    )


def check_space(final: Path, needed: int) -> None:
    """Raise an error if there is too little disk space."""
    there = next(folder for folder in (final, *final.absolute().parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise CheckpointError(
            f"{final} was not written: it needs {needed / 1e6:,.1f} MB, but only {free / 1e6:,.1f} "
            "MB are free on the disk. Free space or choose another `out`. Earlier checkpoints are "
            "intact."
        )


def save(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    keep: int = 2,
    previous: int | None = None,
    held: Container[int] = (),
) -> None:
    """Write ``folder/step_NNNNNN``; prune older checkpoints, and those of given-up steps.

    Args:
        keep: Number of newest checkpoints that are kept.
        previous: Step of the previous checkpoint; those of later steps are given up.
        held: Steps whose checkpoints are kept.
    """
    final = folder / step_name(step)
    check_space(final, bytes_of(tensors.values()))
    with staging(final) as temporary:
        fill(temporary, tensors, state)
        commit(temporary, final)
    remaining = []
    for path in all_in(folder):
        if path != final and previous is not None and step_of(path) > previous:
            _remove(path)
        elif step_of(path) not in held:
            remaining.append(path)
    for old in remaining[:-keep]:
        if old != final:
            _remove(old)


@contextlib.contextmanager
def staging(final: Path) -> Iterator[Path]:
    """Context with a temporary checkpoint folder, removed unless `commit` publishes it."""
    folder = final.parent
    with disk(final):
        if not folder.is_dir():
            folder.mkdir(parents=True)
            flush(folder.parent)
        sweep(folder)
        with private(folder) as place:
            temporary = place / final.name
            temporary.mkdir()
            yield temporary


def commit(temporary: Path, final: Path) -> None:
    """Publish a folder of written files as the newest checkpoint: manifest, check, rename."""
    seal(temporary)
    wrong = fault(temporary)
    if wrong is not None:
        raise CheckpointError(
            f"{final} was not written correctly: read back, it {wrong}. Check the disk. Earlier "
            "checkpoints are intact."
        )
    if final.exists():  # of the same step, by a training that was given up
        _remove(final)
    os.rename(temporary, final)
    flush(final.parent)
    write_latest(final.parent, final.name)


def _remove(folder: Path) -> None:
    # it loses its name first, so that half of one never counts; `sweep` removes what could not go
    with contextlib.suppress(OSError), private(folder.parent) as gone:
        os.rename(folder, gone / folder.name)


def fill(
    folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]
) -> None:
    """Write tensors and counters into a folder, flushed."""
    for name, group in tensors.items():
        write_tensors(folder / f"{name}.safetensors", group)
        flush(folder / f"{name}.safetensors")
    _write(folder / "state.json", state)
    flush(folder / "state.json")


def seal(folder: Path) -> None:
    """Write sizes and hashes of all files in a folder to ``MANIFEST.json``, flushed."""
    listing = {}
    for path in sorted(filter(Path.is_file, folder.iterdir())):
        listing[path.name] = {"size": path.stat().st_size, "sha256": sha256(path)}
    manifest = folder / MANIFEST
    _write(manifest, {"format_version": FORMAT, "files": listing})
    flush(manifest)
    flush(folder)


def step_name(step: int) -> str:
    """Return the name of the checkpoint after a number of steps, such as "step_000500"."""
    return f"{PREFIX}{step:06d}"


def step_of(folder: Path) -> int:
    """Return the step of a checkpoint, by its name."""
    return int(folder.name.removeprefix(PREFIX))


def is_checkpoint(name: object) -> bool:
    """Return whether a folder name is the name of a checkpoint."""
    return isinstance(name, str) and re.fullmatch(PREFIX + "[0-9]{1,30}", name) is not None


def weights_hash(files: Mapping[str, Any], raw: bool = False) -> str | None:
    """Return the hash of averaged (or last) weights from a manifest."""
    entry = files.get(f"{'method' if raw else 'average'}.safetensors")
    if entry is None:
        return None
    return str(entry["sha256"])


def weights_of(checkpoint: Path, raw: bool = False) -> str:
    """Return the hash of a checkpoint's averaged (or last) weights from its manifest."""
    return str(weights_hash(read_json(checkpoint / MANIFEST)["files"], raw))


def all_in(folder: Path) -> list[Path]:
    """Return the checkpoints in a run's ``checkpoints`` folder, by step."""
    return sorted(
        (path for path in folder.glob(f"{PREFIX}*") if is_checkpoint(path.name)), key=step_of
    )


def latest(folder: Path) -> Path | None:
    """Return the newest checkpoint in a run's ``checkpoints`` folder, or None."""
    name = read_object(folder / LATEST).get("checkpoint")
    if is_checkpoint(name) and (folder / str(name)).is_dir():
        return folder / str(name)
    checkpoints = all_in(folder)
    for path in reversed(checkpoints):
        if fault(path) is None:
            return path
    if checkpoints:
        return checkpoints[-1]
    return None


def write_latest(folder: Path, name: str) -> None:
    """Make a checkpoint the newest (`latest`)."""
    write_json(folder / LATEST, {"checkpoint": name, "format_version": FORMAT})


def fault(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint, as a predicate, or None."""
    try:
        manifest = read_json(folder / MANIFEST)
        files = dict(manifest["files"])
        version = manifest["format_version"]
    except (LookupError, TypeError, ValueError) as error:
        if isinstance(error.__cause__, PermissionError):
            raise
        return _changed(MANIFEST)
    if version != FORMAT or not files.keys() >= WHOLE:
        return f"was written by another version or with sharded weights (format {version})"
    with ThreadPoolExecutor(THREADS) as pool:  # hashing lets other threads run
        found = pool.map(lambda name: _is_whole(folder / name, files[name]), files)
    for name, whole in zip(files, found, strict=True):
        if not whole:
            return _changed(name)
    return None


def _changed(name: str) -> str:
    return f"is damaged: {name} is missing or has changed (its size or sha256)"


def _is_whole(path: Path, entry: Mapping[str, Any]) -> bool:
    with contextlib.suppress(OSError, LookupError, TypeError):
        return path.stat().st_size == entry["size"] and sha256(path) == entry["sha256"]
    return False


def next_good(folder: Path) -> Path | None:
    """Return the newest undamaged checkpoint before another one, otherwise after it, or None."""
    others = [path for path in reversed(all_in(folder.parent)) if path != folder]
    if is_checkpoint(folder.name):
        others.sort(key=lambda path: step_of(path) > step_of(folder))
    for path in others:
        if fault(path) is None:
            return path
    return None


def damaged(folder: Path, wrong: str) -> CheckpointError:
    """Build the error for an unreadable checkpoint, recommending only a verified checkpoint."""
    good = next_good(folder)
    remedy = "This run has no other undamaged checkpoint."
    before = None
    if good is not None:
        before = good.name
        remedy = f"Newest undamaged checkpoint: {before}. Resume from it with `fallback=True`."
    return CheckpointError(
        f"Checkpoint {folder} {wrong}. {remedy}",
        before,
    )


def read_state(folder: Path) -> dict[str, Any]:
    """Read the counters of a checkpoint, after verifying all files."""
    wrong = fault(folder)
    if wrong is not None:
        raise damaged(folder, wrong)
    state = read_json(folder / "state.json")
    if is_checkpoint(folder.name) and state["step"] != step_of(folder):
        raise damaged(folder, _changed("state.json"))
    return state


def unfinished(checkpoint: Path, budget: dict[str, Any]) -> str | None:
    """Describe the progress of an unfinished run, such as "26 of 200 steps", or return None."""
    state = read_object(checkpoint / "state.json")
    step = state.get("step", 0)
    total = state.get("total")
    if total:
        return f"{step:,} of {total:,} steps" if step < total else None
    if budget.get("seconds") is None:
        return None
    seconds = Budget(seconds=budget["seconds"]).after(state.get("store_seconds", 0.0)).seconds
    if seconds is not None and state.get("seconds", seconds) < seconds:
        return f"{state['seconds']:.0f} of {seconds:.0f} s"
    return None
