"""Checkpoints that are whole or not there: safetensors and JSON in a folder, hashed, renamed into place.

A folder is written under a temporary name, every file is flushed to the disk, the manifest with sizes and hashes comes
last, and one rename makes it a checkpoint. Older ones go only after the new one has been read back and verified.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Container, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pushforward import safe_files
from pushforward.errors import CheckpointError
from pushforward.training.counters import wrong_counter

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "Checkpoint",
    "fill",
    "latest",
    "load",
    "read_json",
    "read_state",
    "save",
    "sha256",
    "step_name",
    "verify",
    "write_json",
    "write_latest",
    "write_text",
]

FORMAT = 1
GROUPS = ("method", "average", "optimizer")
"""The files of weights that a checkpoint holds."""
_PREFIX, _LATEST = "step_", "latest.json"


class Checkpoint:
    """The content of a checkpoint, verified and read.

    Args:
        folder: Where it lies.
        tensors: Per file, the tensors by name.
        state: The counters.
    """

    def __init__(self, folder: Path, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
        self.folder, self.tensors, self.state = folder, tensors, state

    def weights(self, raw: bool = False) -> dict[str, Tensor]:
        """The method's tensors by name: averaged where the method has an average of them, or the last ones."""
        return self.tensors["method"] if raw else self.tensors["method"] | self.tensors["average"]


@contextlib.contextmanager
def _disk(what: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{what} could not be written: {error.strerror or error}. "
            "Free space or choose another `out`; what was saved before is intact."
        ) from error


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one move; see `write_text`."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a file in one move: a temporary file, flushed, then renamed over ``path``.

    Raises:
        CheckpointError: If the disk refuses; an existing file stays.
    """
    with _disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
        try:
            temporary.write_text(text)
            _flush(temporary)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        _flush(path.parent)


def read_json(path: Path) -> Any:
    """Read JSON within limits, or raise `CheckpointError` with the file's name (`pushforward.safe_files.read_json`)."""
    return safe_files.read_json(path)


def sha256(path: Path) -> str:
    """The hash of a file, hex."""
    with safe_files.opened(path) as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def step_name(step: int) -> str:
    """The name of the checkpoint after so many steps, such as "step_000500"."""
    return f"{_PREFIX}{step:06d}"


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
        CheckpointError: If the disk refuses; earlier checkpoints stay as they were.
    """
    final, temporary = folder / step_name(step), folder / f".tmp-{step_name(step)}-{os.getpid()}"
    _sweep(folder)
    try:
        with _disk(final):
            folder.mkdir(parents=True, exist_ok=True)
            temporary.mkdir()
            fill(temporary, tensors, state)
            if final.exists():
                shutil.rmtree(final)
            os.rename(temporary, final)
            _flush(folder)
        verify(final)
        write_latest(folder, final.name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    given_up = [path for path in _all(folder) if path != final and after is not None and _step(path) > after]
    remaining = [path for path in _all(folder) if path not in given_up and _step(path) not in held]
    for old in (*given_up, *remaining[:-keep]):
        shutil.rmtree(old, ignore_errors=True)


def write_latest(folder: Path, name: str) -> None:
    """Make a checkpoint of a run's ``checkpoints`` folder the newest (`latest`)."""
    write_json(folder / _LATEST, {"checkpoint": name, "format_version": FORMAT})


def fill(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], state: Mapping[str, Any]) -> None:
    """Write tensors and counters into an empty folder, flushed, and last their sizes and hashes (``MANIFEST.json``)."""
    from pushforward.training.tensors import write

    for name, group in tensors.items():
        write(folder / f"{name}.safetensors", group)
    (folder / "state.json").write_text(json.dumps(state, indent=1, allow_nan=False) + "\n")
    files = sorted(folder.iterdir())
    for path in files:
        _flush(path)
    listing = {path.name: {"size": path.stat().st_size, "sha256": sha256(path)} for path in files}
    manifest = folder / "MANIFEST.json"
    manifest.write_text(json.dumps({"format_version": FORMAT, "files": listing}, indent=1) + "\n")
    _flush(manifest)
    _flush(folder)


def _sweep(folder: Path) -> None:
    """Remove unfinished files of writers that are gone."""
    for left in folder.glob(".tmp-*"):
        pid = left.name.rsplit("-", 1)[-1] if left.is_dir() else ""
        if pid.isdigit() and (int(pid) == os.getpid() or not Path(f"/proc/{pid}").exists()):
            shutil.rmtree(left, ignore_errors=True)


def _is_checkpoint(name: object) -> bool:
    return isinstance(name, str) and name.startswith(_PREFIX) and name.removeprefix(_PREFIX).isdecimal()


def _step(path: Path) -> int:
    return int(path.name.removeprefix(_PREFIX))


def _all(folder: Path) -> list[Path]:
    return sorted((path for path in folder.glob(f"{_PREFIX}*") if _is_checkpoint(path.name)), key=_step)


def latest(folder: Path) -> Path | None:
    """The checkpoint of a run's ``checkpoints`` folder that was written last, or None where there is none.

    ``latest.json`` names it; without that file, or where it names none that is there, it is the one of the highest number that
    is whole.
    """
    if (named := _named(folder)) is not None:
        return named
    checkpoints = _all(folder)
    return next((path for path in reversed(checkpoints) if _whole(path)), checkpoints[-1] if checkpoints else None)


def _named(folder: Path) -> Path | None:
    try:
        content = read_json(folder / _LATEST)
    except CheckpointError:
        return None
    name = content.get("checkpoint") if isinstance(content, dict) else None
    return folder / str(name) if _is_checkpoint(name) and os.path.isdir(folder / str(name)) else None


def _whole(folder: Path) -> bool:
    try:
        verify(folder)
    except CheckpointError:
        return False
    return True


def verify(folder: Path) -> None:
    """Check every file of a checkpoint against its manifest.

    Raises:
        CheckpointError: Naming the first file that is missing or damaged, and the checkpoint before it.
    """
    manifest = read_json(folder / "MANIFEST.json")
    files = manifest.get("files") if isinstance(manifest, dict) else None
    wanted = ["state.json", *(f"{name}.safetensors" for name in GROUPS)]
    missing = wanted if not isinstance(files, dict) else [name for name in wanted if name not in files]
    if missing or not isinstance(files, dict):
        raise _damaged(folder, "MANIFEST.json", f"does not list {missing[0]}")
    for name, entry in files.items():
        path = folder / name
        if not (isinstance(entry, dict) and {"size", "sha256"} <= entry.keys()):
            raise _damaged(folder, "MANIFEST.json", f"gives no size and sha256 of {name}")
        if Path(name).name != name or not os.path.isfile(path):
            raise _damaged(folder, name, "is missing")
        if path.stat().st_size != entry["size"] or sha256(path) != entry["sha256"]:
            raise _damaged(folder, name, "differs from what was written (size or sha256)")


def _damaged(folder: Path, name: str, why: str) -> CheckpointError:
    others = [path.name for path in _all(folder.parent) if path != folder]
    before = [other for other in others if _is_checkpoint(folder.name) and _step(Path(other)) < _step(folder)]
    other = (before or others)[-1] if others else None
    remedy = f"The checkpoint before it: {other}." if other else "There is no other checkpoint in this run."
    return CheckpointError(f"Checkpoint {folder} is damaged: {name} {why}. {remedy}", other)


def read_state(folder: Path) -> dict[str, Any]:
    """The counters of a checkpoint, after all of its files have been verified.

    Raises:
        CheckpointError: If anything is missing, differs from its hash or is malformed.
    """
    verify(folder)
    state = read_json(folder / "state.json")
    if (name := wrong_counter(state)) is not None:
        raise _damaged(folder, "state.json", f"does not say {name} as it should")
    return state


def load(folder: Path, device: torch.device | str = "cpu") -> Checkpoint:
    """Verify and read a checkpoint.

    Raises:
        CheckpointError: If anything is missing or differs from its hash.
    """
    from pushforward.training.tensors import read

    state = read_state(folder)
    try:
        tensors = {path.stem: read(path, device) for path in sorted(folder.glob("*.safetensors"))}
    except OSError as error:
        raise _damaged(folder, "a weights file", f"cannot be read ({error})") from error
    return Checkpoint(folder, tensors, state)
