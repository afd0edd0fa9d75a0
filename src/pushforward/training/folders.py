"""Run folders: claimed by one training, and locked while it lasts.

The lock is the operating system's, on ``.lock`` in the folder: it ends with its process, however that ends, and the file says
nothing by staying there. Reading a run neither takes nor opens it. Where a file system has no locks of this kind, filelock writes
the holder's process and host into the file in their place.
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
from pushforward.training.claiming import CLAIM, FIRST, LOCK, listed, remove
from pushforward.training.disk import disk
from pushforward.training.nearby import close_run, runs_inside, runs_inside_words

__all__ = ["Claim", "check_run", "checkpoint_in", "claim", "free_folder", "hold", "put_back"]

_WAIT = 5.0  # seconds that a training waits for its lock: a check whether a folder is in use holds it for a moment
_CLAIM = 0.5  # seconds in which a training that has made its folder has also locked it
_FOLDERS = ("checkpoints", "parts", "cache", "samples")  # the folders of a run that are read, with all that they hold
_ENTRIES = {*_FOLDERS, "rows.safetensors", "files.json", "threads.json", "spec.json", "manifest.json", "metrics.jsonl"}
_ENTRIES |= {"stages.json", "rollbacks.json", "trackers.json", "grids.json", "tables.json", "report.json", "report.html"}
# What a run's folder holds; entries of other names are the user's, and never opened.
_ENTRIES |= {"failure", "trackers", CLAIM, LOCK}
_NOT_OURS = "is nothing that pushforward wrote there. Move it away, or choose another `out`."
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def free_folder(wanted: str | Path | None, data: str, recipe: str, *, under: str | Path = "runs") -> Path:
    """A folder for a new run, missing or empty: ``wanted`` where given, else ``runs/DATA-RECIPE`` with -2, -3, ... as needed.

    What a training that was killed before it was set up has left in ``wanted`` is removed.

    Raises:
        UsageError: If ``wanted`` holds anything else.
        CheckpointError: If a training is writing to it.
    """
    if wanted is not None:
        folder = Path(wanted)
        _clear(folder)
        if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
            raise _taken(folder)
        return folder
    stem, number = Path(under) / f"{Path(data).stem or 'data'}-{recipe}", 1
    folder = stem
    while os.path.lexists(folder):
        number += 1
        folder = stem.with_name(f"{stem.name}-{number}")
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

    def discard(self) -> list[Path]:
        """Remove the new folder of a training that could not be set up; an earlier run takes its place again.

        Returns:
            What else the folder holds, for which it stays as it is.
        """
        others = remove(self.folder)
        if self.replaced is not None:
            with contextlib.suppress(OSError):  # it waits, and `put_back` finds it; the first error is the one to report
                self.replaced.rename(self.folder)
        with contextlib.suppress(OSError):  # another run has come into one of them
            for parent in self.parents:
                parent.rmdir()
        if self.lock is not None:
            self.lock.release()
        return others


def claim(wanted: str | Path | None, data: str, recipe: str, *, overwrite: bool = False) -> Claim:
    """Make the folder that `free_folder` names, and lock it; of several processes with the same name at once, one gets it.

    With ``overwrite`` a run that is in ``wanted`` gives way.

    Raises:
        UsageError: If ``wanted`` is taken and does not give way.
        CheckpointError: If a training is writing to it, or the disk refuses.
    """
    if wanted is not None:
        put_back(Path(wanted))
    replaced = _moved_aside(Path(wanted)) if overwrite and wanted is not None else None
    while True:
        folder = free_folder(wanted, data, recipe)
        missing = tuple(parent for parent in folder.parents if not parent.exists())
        with disk(folder), contextlib.suppress(FileExistsError):  # another process was faster
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / CLAIM).open("x", encoding="utf-8") as file:
                file.write(FIRST)
            return Claim(folder, hold(folder), missing, replaced)


def _moved_aside(folder: Path) -> Path | None:
    """Where the run in a folder waits to be replaced; None where there is no run."""
    if not (folder / "spec.json").is_file():
        return None
    if _is_locked(folder):
        raise _busy(folder)
    for run in (folder, *set_aside(folder)):
        if others := [path for path in run.iterdir() if path.name not in _ENTRIES and not path.name.startswith(".tmp-")]:
            raise UsageError(f"{run} is not replaced: {others[0]} {_NOT_OURS}")
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
    waiting = re.compile(rf"\.replaced-\d+-{re.escape(folder.name)}")
    return [path for path in folder.parent.iterdir() if waiting.fullmatch(path.name) and path.is_dir() and not path.is_symlink()]


def check_run(folder: str | Path) -> None:
    """Refuse a path that is no run's folder, or a run that holds links or pipes.

    Raises:
        CheckpointError: Saying what is there, and how to have a run; a RunUsageError where nothing of a run is there.
    """
    folder = Path(folder)
    if os.path.isfile(folder / "spec.json"):
        refuse_links(folder, _FOLDERS, known=_ENTRIES)
        return
    waiting = [
        f" The run that was there waits in {path}, since a training that was to replace it was interrupted. Put it back: "
        f"pushforward resume {folder}"
        for path in set_aside(folder)
    ]
    if listed(folder) is not None and not (waiting or runs_inside(folder)):
        raise CheckpointError(
            f"{folder} holds no run yet: its training is just starting, or was interrupted as it did. Try again in a moment, or "
            "start it again."
        )
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
    """Remove what a training that was killed before it was set up has left, unless it lives.

    Raises:
        UsageError: If the folder holds more.
    """
    if listed(folder) is None or any((folder / name).exists() for name in ("spec.json", "report.html")) or _in_use(folder):
        return
    if others := Claim(folder, hold(folder), ()).discard():
        raise UsageError(f"{folder} exists already. A start there was interrupted, but {others[0]} {_NOT_OURS}")


def hold(folder: Path) -> BaseFileLock | None:
    """Lock a run's folder for training; None for a folder that cannot be written to, where the first write fails.

    Raises:
        CheckpointError: If another training holds it, or its lock is a link or belongs to another user.
    """
    refuse_links(folder, (), known=())
    lock = FileLock(folder / LOCK, timeout=_WAIT if _young(folder) else 0.2, thread_local=False, mode=_mode(folder))
    try:
        lock.acquire()
    except Timeout:
        raise _busy(folder) from None
    except OSError as error:
        if error.errno in _READ_ONLY:
            if not _writable(folder):
                return None
            raise CheckpointError(
                f"{folder}/{LOCK} may not be opened ({error.strerror}), so whether {folder} is being trained is not known: the "
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
    while not _is_locked(folder):
        if not _young(folder) or time.monotonic() > ends:
            return False
        time.sleep(0.02)
    return True


def _young(folder: Path) -> bool:
    """Whether a folder holds nothing yet but its claim and perhaps its lock, as one does that another process is about to use."""
    return listed(folder) is not None and {path.name for path in folder.iterdir()} <= {CLAIM, LOCK}


def _is_locked(folder: Path) -> bool:
    """Whether a training holds the lock of a run or a claimed folder at this moment; who only reads must not ask."""
    ours = listed(folder) is not None or (folder / "spec.json").is_file()
    if not ours or (folder / LOCK).is_symlink() or not (folder / LOCK).is_file():
        return False
    try:
        with FileLock(folder / LOCK, timeout=0, thread_local=False):
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
