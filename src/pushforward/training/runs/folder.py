"""Contents, creation and locks of run folders."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from pushforward.errors import CheckpointError, RunUsageError, UsageError, closest
from pushforward.files import TEMPORARY, disk, refuse_links, unused
from pushforward.numbers import some
from pushforward.training.checkpoint.storage import latest

LOCK = ".lock"
_WAIT = 0.5  # seconds to wait for a lock, which a check of the folder may hold for a moment
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def hold(folder: Path) -> BaseFileLock | None:
    """Lock a run folder for training; return None if it is not writable."""
    refuse_links([folder / LOCK])
    # all who may write to the folder may lock it
    lock = FileLock(
        folder / LOCK, timeout=_WAIT, thread_local=False, mode=folder.stat().st_mode & 0o666
    )
    try:
        lock.acquire()
    except Timeout:
        raise busy(folder) from None
    except OSError as error:
        effective = os.access in os.supports_effective_ids
        if error.errno in _READ_ONLY and not os.access(
            folder, os.W_OK | os.X_OK, effective_ids=effective
        ):
            return None
        raise CheckpointError(
            f"{folder}/{LOCK} could not be locked for training: {error.strerror or error}. If the "
            "file belongs to another user and no training is running there, delete it."
        ) from error
    return lock


def is_locked(folder: Path) -> bool:
    """Return whether a training run holds the lock of a folder; readers must not call this."""
    if (folder / LOCK).is_symlink() or not (folder / LOCK).is_file():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0, thread_local=False):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def busy(folder: Path) -> CheckpointError:
    """Build the error for a folder used by another training run."""
    return CheckpointError(
        f"{folder} is being trained by another process, or by another trainer of this process. "
        "Wait until that training ends."
    )


@dataclass(eq=False)
class RunLock:
    """Run folder that is locked by one trainer until it is closed or deleted.

    Args:
        folder: Run folder.
        lock: Lock from `hold`; None if nothing is written.
        content: Spec of a resumed run; None for a new one.
        writes: Whether anything is written to the folder.
        made: Folders created for a new run, nearest first.
        replaced: Temporary location of an earlier run of this name.
    """

    folder: Path
    lock: BaseFileLock | None
    content: dict[str, Any] | None = None
    writes: bool = True
    made: Sequence[Path] = ()
    replaced: Path | None = None

    def __post_init__(self) -> None:
        self._open = True
        self._closed_at: tuple[Path | None, int] = (None, 0)

    def settle(self) -> None:
        if self.replaced is not None:
            shutil.rmtree(self.replaced, ignore_errors=True)

    def discard(self) -> None:
        """Remove the folder of a run that could not be set up, and restore an earlier run."""
        # another run has come into a folder; the first error is the one to report
        with contextlib.suppress(OSError):
            if self.folder in self.made:
                remove(self.folder)
            if self.replaced is not None:
                self.replaced.rename(self.folder)
            for parent in self.made[1:]:
                parent.rmdir()
        if self.lock is not None:
            self.lock.release()

    def close(self) -> None:
        if self._open:
            self._open = False
            self._closed_at = self._standing()
            if self.lock is not None:
                self.lock.release()

    def reopen(self) -> None:
        """Take the lock again after `close`."""
        if self._open:
            return
        lock = hold(self.folder) if self.writes else None
        if self._closed_at != self._standing():
            if lock is not None:
                lock.release()
            raise CheckpointError(
                f"{self.folder} has been trained further since this trainer was closed. Continue "
                "from there: pf.resume(...)."
            )
        self.lock = lock
        self._open = True

    def _standing(self) -> tuple[Path | None, int]:
        log = self.folder / "metrics.jsonl"
        size = log.stat().st_size if log.is_file() else 0
        return latest(self.folder / "checkpoints"), size


# The folders of a run that are read or written, with all their content: checkpoints; frozen
# modules; inputs and trajectories that are computed once; samples drawn during training; the export
FOLDERS = ("checkpoints", "parts", "cache", "samples", "export")
ENTRIES = (
    *FOLDERS,
    "spec.json",  # recipe, method, data, budget, settings
    "manifest.json",  # versions, machine, command
    "metrics.jsonl",  # the log, with one row per step
    "rows.safetensors",  # hashes of the training examples
    "files.json",  # in older runs: image files of the data
    "threads.json",  # thread counts that were tried
    "stages.json",  # in older runs: when a budget in seconds was turned into steps
    "rollbacks.json",  # in older runs: how training went back
    "trackers.json",  # identities of the runs of trackers
    "trackers",  # files of trackers
    "grids.json",  # learned times
    "tables.json",  # in older runs: learned solver tables
    "report.json",
    "report.html",
    "demo.json",  # options of a demo
    "failure",  # in older runs: statistics of a diverged run
    LOCK,
)
"""The content of a run folder. Entries with other names belong to the user and are never opened."""
NAMED = 8  # runs in a folder that an error names at most


def free_folder(
    wanted: str | Path | None, data: str, recipe: str, *, under: str | Path = "runs"
) -> Path:
    """Return the folder for a new run: ``wanted``, or ``runs/DATA-RECIPE`` with a number."""
    if wanted is not None:
        folder = Path(wanted)
        if os.path.lexists(folder) and not (folder.is_dir() and _is_unbegun(folder)):
            advice = "."
            if (folder / "spec.json").is_file():
                advice = (
                    ", replace the run with `overwrite=True`, or continue it: pushforward resume "
                    f"{folder}"
                )
            raise UsageError(f"{folder} already exists. Choose another `out`{advice}")
        return folder
    return unused(Path(under), f"{Path(data).stem or 'data'}-{recipe}")


def _is_unbegun(folder: Path) -> bool:
    if _others(folder):
        return False
    if is_locked(folder):
        raise busy(folder)
    _refuse_links(folder)
    names = {path.name for path in folder.iterdir()}
    return not names or (LOCK in names and not names & {"spec.json", "report.html"})


def _refuse_links(folder: Path) -> None:
    refuse_links(folder / name for name in ENTRIES)
    for name in FOLDERS:
        refuse_links((folder / name).rglob("*"))


def _others(folder: Path) -> list[Path]:
    others = []
    for path in folder.iterdir():
        if path.name not in ENTRIES and not path.name.startswith(TEMPORARY):
            others.append(path)
    return others


def remove(folder: Path) -> None:
    """Remove a run folder, unless it contains anything else."""
    if not _others(folder):
        shutil.rmtree(folder)


def claim(wanted: str | Path | None, data: str, recipe: str, *, overwrite: bool = False) -> RunLock:
    """Create and lock the folder from `free_folder`."""
    replaced = None
    if overwrite and wanted is not None and (Path(wanted) / "spec.json").is_file():
        folder = Path(wanted)
        if is_locked(folder):
            raise busy(folder)
        if others := _others(folder):
            raise UsageError(
                f"{folder} is not replaced, because pushforward did not write {others[0]}. Move it "
                "away, or choose another `out`."
            )
        replaced = folder.with_name(f".replaced-{os.getpid()}-{folder.name}")
        with disk(folder):
            folder.rename(replaced)
    while True:
        folder = free_folder(wanted, data, recipe)
        made = tuple(path for path in (folder, *folder.parents) if not path.exists())
        with disk(folder), contextlib.suppress(FileExistsError):  # another process was faster
            folder.mkdir(parents=True, exist_ok=wanted is not None)
            return RunLock(folder, hold(folder), made=made, replaced=replaced)


def is_run(path: str | Path) -> bool:
    """Return whether a path denotes a run rather than samples."""
    folder = Path(path)
    return (folder / "spec.json").exists() or not folder.exists()


def check_run(folder: str | Path) -> None:
    """Raise an error if a path is not a run folder, or contains links."""
    folder = Path(folder)
    if os.path.isfile(folder / "spec.json"):
        _refuse_links(folder)
        return
    if (folder / LOCK).is_file() and not runs_inside(folder):
        raise CheckpointError(
            f"{folder} has no run yet: its training is just starting, or was interrupted while "
            "starting. Start it again."
        )
    if folder.exists():
        what = f"{folder} is not a run folder: it has no spec.json."
    else:
        what = f"There is no folder {folder}."
    raise RunUsageError(f"{what}{run_suggestion(folder)}")


def runs_inside(folder: Path) -> list[Path]:
    """Return the run folders in a folder."""
    return sorted(path.parent for path in folder.glob("*/spec.json"))


def run_suggestion(folder: Path) -> str:
    """Suggest runs for a path that is not a run, in a sentence."""
    inside = runs_inside(folder)
    if inside:
        return f" Runs in it: {some(inside, NAMED)}."
    known = {}
    for place in (Path("runs"), folder.parent):
        for path in runs_inside(place):
            known[path.name] = path
    name = closest(folder.name, known)
    if name is None:
        return " Create a run with `pushforward train`."
    return f' Did you mean "{known[name]}"?'


def checkpoint_in(text: str | Path) -> tuple[str, str | None]:
    """Split FOLDER or FOLDER@CHECKPOINT into folder and checkpoint."""
    folder, _, checkpoint = str(text).rpartition("@")
    if not folder or Path(text).exists():
        return str(text), None
    return folder, checkpoint
