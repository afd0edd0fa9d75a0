"""Run folders: claimed by one training, and locked while it lasts.

The lock is the operating system's, on ``.lock`` in the folder: it ends with its process, however that ends, and the file says
nothing by staying there. Reading a run takes no lock. Where a file system has no locks of this kind, filelock writes the holder's
process and host into the file in their place.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from pushforward.errors import CheckpointError, RunUsageError, UsageError
from pushforward.safe_files import refuse_links
from pushforward.training.disk import disk
from pushforward.training.nearby import close_run, runs_inside_words

__all__ = ["Claim", "check_run", "checkpoint_in", "claim", "free_folder", "hold", "is_locked", "new_folder", "put_back"]

_FILE = ".lock"
_WAIT = 5.0
"""Seconds that a training waits for its lock: a check whether a folder is in use holds it for a moment."""
_CLAIM = 0.5
"""Seconds in which a training that has made its folder has also locked it."""
_OWN = {_FILE, "parts", "cache", "rows.safetensors", "files.json", "threads.json"}
"""The files of a folder while its training is set up, before ``spec.json``."""
_FOLDERS = ("checkpoints", "parts", "cache", "samples")
"""The folders of a run, in which no entry is a link."""
_ELSEWHERE = ("checkpoints", "samples")
"""Those that may be links, to a folder on another disk."""
_ENTRIES = {*_FOLDERS, *_OWN - {_FILE}, "spec.json", "manifest.json", "metrics.jsonl", "stages.json"}
_ENTRIES |= {"rollbacks.json", "trackers.json", "grids.json", "tables.json", "report.json", "report.html", "failure", "trackers"}
"""What a run's folder holds; entries of other names are the user's, and never opened."""
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def free_folder(wanted: str | Path | None, data: str, recipe: str, *, under: str | Path = "runs") -> Path:
    """A folder for a new run that does not exist: ``wanted`` where given, else ``runs/DATA-RECIPE`` with -2, -3, ... as needed.

    Files in ``wanted`` of a training that was killed before it was set up are removed.

    Raises:
        UsageError: If ``wanted`` exists.
        CheckpointError: If a training is writing to it.
    """
    if wanted is not None:
        folder = Path(wanted)
        _clear(folder)
        if folder.exists():
            raise _taken(folder)
        return folder
    stem, number = Path(under) / f"{Path(data).stem or 'data'}-{recipe}", 1
    folder = stem
    while folder.exists():
        number += 1
        folder = stem.with_name(f"{stem.name}-{number}")
    return folder


def new_folder(wanted: str | Path | None, data: str, recipe: str) -> Path:
    """Make the folder that `free_folder` names; of several processes with the same name at once, one gets it.

    Raises:
        UsageError: If ``wanted`` exists.
        CheckpointError: If a training is writing to it, or the disk refuses.
    """
    while True:
        folder = free_folder(wanted, data, recipe)
        with disk(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                folder.mkdir()
            except FileExistsError:
                continue
        return folder


@dataclass(frozen=True)
class Claim:
    """A new run's folder, made and locked.

    Args:
        folder: The folder.
        lock: Its lock; see `hold`.
        parents: The folders above it that were made for it, the nearest first.
        replaced: Where the earlier run of this name waits until the new one is set up.
    """

    folder: Path
    lock: BaseFileLock | None
    parents: tuple[Path, ...]
    replaced: Path | None = None

    def settle(self) -> None:
        """Remove the earlier run, after the new one was set up."""
        if self.replaced is not None:
            shutil.rmtree(self.replaced, ignore_errors=True)

    def discard(self) -> None:
        """Remove the new folder of a training that could not be set up; an earlier run takes its place again."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self.replaced is not None:
            with contextlib.suppress(OSError):  # it waits, and `put_back` finds it; the first error is the one to report
                self.replaced.rename(self.folder)
        with contextlib.suppress(OSError):  # another run has come into one of them
            for parent in self.parents:
                parent.rmdir()
        if self.lock is not None:
            self.lock.release()


def claim(wanted: str | Path | None, data: str, recipe: str, *, overwrite: bool = False) -> Claim:
    """Make a new run's folder and lock it; with ``overwrite`` a run that is in ``wanted`` gives way. See `new_folder` and `hold`.

    Raises:
        UsageError: If ``wanted`` exists and does not give way.
        CheckpointError: If a training is writing to it, or the disk refuses.
    """
    if wanted is not None:
        put_back(Path(wanted))
    replaced = _moved_aside(Path(wanted)) if overwrite and wanted is not None else None
    above = free_folder(wanted, data, recipe).parents
    missing = tuple(parent for parent in above if not parent.exists())
    folder = new_folder(wanted, data, recipe)
    return Claim(folder, hold(folder), missing, replaced)


def _moved_aside(folder: Path) -> Path | None:
    """Where the run in a folder waits to be replaced; None where there is no run."""
    if not (folder / "spec.json").is_file():
        return None
    if is_locked(folder):
        raise _busy(folder)
    for old in set_aside(folder):  # its replacement was set up and then killed
        shutil.rmtree(old, ignore_errors=True)
    aside = folder.with_name(f".replaced-{os.getpid()}-{folder.name}")
    with disk(folder):
        folder.rename(aside)
    return aside


def set_aside(folder: Path) -> list[Path]:
    """The runs that were moved out of a folder to be replaced."""
    if not folder.parent.is_dir():
        return []
    return [path for path in folder.parent.iterdir() if re.fullmatch(rf"\.replaced-\d+-{re.escape(folder.name)}", path.name)]


def check_run(folder: str | Path) -> None:
    """Refuse a path that is no run's folder, or a run that holds links or pipes.

    Raises:
        CheckpointError: Saying what is there, and how to have a run; a RunUsageError where nothing of a run is there.
    """
    folder = Path(folder)
    if os.path.isfile(folder / "spec.json"):
        refuse_links(folder, _FOLDERS, known=_ENTRIES, elsewhere=_ELSEWHERE)
        return
    if is_locked(folder):
        raise CheckpointError(f"The training of {folder} is just starting: try again in a moment.")
    waiting = [
        f" The run that was there waits in {path}, since a training that was to replace it was interrupted. Put it back: "
        f"pushforward resume {folder}"
        for path in set_aside(folder)
    ]
    if (folder / "report.html").is_file() and not waiting:
        raise RunUsageError(f"{folder} is a report, not a run: open {folder}/report.html.{runs_inside_words(folder)}")
    what = f"{folder} is no run: it has no spec.json." if folder.exists() else f"There is no folder {folder}.{close_run(folder)}"
    advice = runs_inside_words(folder) or " Runs are made by `pushforward train`."
    raise (CheckpointError if waiting else RunUsageError)(f"{what}{(waiting or [advice])[0]}")


def put_back(folder: Path) -> None:
    """Put a run back into its folder where a training that was to replace it was killed before it was set up.

    Raises:
        CheckpointError: If the disk refuses.
    """
    waiting = set_aside(folder)
    if waiting and not (folder / "spec.json").exists():
        _clear(folder)
        if folder.is_dir() and not _in_use(folder):
            with contextlib.suppress(OSError):  # it holds something
                folder.rmdir()
        if not folder.exists():
            with disk(folder):
                waiting[0].rename(folder)


def _clear(folder: Path) -> None:
    """Remove the files of a training that was killed before it was set up; no other files, and none while it lives."""
    if _unfinished(folder) and not _in_use(folder):
        Claim(folder, hold(folder), ()).discard()


def _unfinished(folder: Path) -> bool:
    """Whether a folder holds a lock and only files that a training writes before ``spec.json``."""
    if not folder.is_dir():
        return False
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".tmp-")}
    return {_FILE} <= names <= _OWN


def hold(folder: Path) -> BaseFileLock | None:
    """Lock a run's folder for training; None for a folder that cannot be written to, where the first write fails.

    Raises:
        CheckpointError: If another training holds it, or its lock belongs to another user.
    """
    lock = FileLock(folder / _FILE, timeout=_WAIT if _young(folder) else 0.2, thread_local=False, mode=_mode(folder))
    try:
        lock.acquire()
    except Timeout:
        raise _busy(folder) from None
    except OSError as error:
        if error.errno in _READ_ONLY:
            if not _writable(folder):
                return None
            raise CheckpointError(
                f"{folder}/{_FILE} may not be opened ({error.strerror}), so whether {folder} is being trained is not known: the "
                "file is another user's. If nobody trains there, delete it."
            ) from error
        raise CheckpointError(f"{folder} could not be locked for training: {error.strerror or error}.") from error
    return lock


def _mode(folder: Path) -> int:
    """The lock's permissions: all who may write to the folder may lock it."""
    try:
        return folder.stat().st_mode & 0o666
    except OSError:
        return 0o644


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids)


def _taken(folder: Path) -> UsageError | CheckpointError:
    """Why an existing folder cannot be taken for a new run."""
    if _in_use(folder):
        return _busy(folder)
    run = (folder / "spec.json").is_file()
    advice = f", replace the run with `overwrite=True`, or go on with it: pushforward resume {folder}" if run else "."
    return UsageError(f"{folder} exists already. Choose another `out`{advice}")


def _in_use(folder: Path) -> bool:
    """Whether a training holds a folder, or has just made it and is about to."""
    ends = time.monotonic() + _CLAIM
    while not is_locked(folder):
        if not _young(folder) or time.monotonic() > ends:
            return False
        time.sleep(0.02)
    return True


def _young(folder: Path) -> bool:
    """Whether a folder holds nothing yet but perhaps its lock, as one does that another process is about to use."""
    return folder.is_dir() and all(path.name == _FILE for path in folder.iterdir())


def is_locked(folder: Path) -> bool:
    """Whether a training holds the lock of a folder at this moment."""
    if not (folder / _FILE).is_file():
        return False
    try:
        with FileLock(folder / _FILE, timeout=0, thread_local=False):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def _busy(folder: Path) -> CheckpointError:
    return CheckpointError(
        f"{folder} is being trained at this moment, by another process or another trainer of this one: wait until that ends."
    )


def checkpoint_in(text: str | Path) -> tuple[str, str | None]:
    """The folder and the checkpoint of FOLDER or FOLDER@CHECKPOINT."""
    text = str(text)
    folder, _, checkpoint = (text, "", "") if Path(text).is_dir() else text.partition("@")
    return folder, checkpoint or None
