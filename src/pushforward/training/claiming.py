"""What a command writes into a folder that it has made: listed in ``.claim`` before it is written, and only that is removed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from pushforward.errors import CheckpointError
from pushforward.safe_files import read_whole
from pushforward.training.disk import disk

__all__ = ["CLAIM", "FIRST", "LOCK", "listed", "note", "remove"]

CLAIM, LOCK = ".claim", ".lock"
# The first line of a claim.
FIRST = "pushforward made this folder; where its start was interrupted, the next start removes these files and no others\n"


def note(folder: Path, *names: str) -> None:
    """List files before they are written, and the names under which they appear (`pushforward.training.disk.appearing`).

    Raises:
        CheckpointError: If the disk refuses.
    """
    if listed(folder) is not None:
        paths = [path for path in map(Path, names) for path in (path, path.with_name(f".tmp-{os.getpid()}-{path.name}"))]
        with disk(folder), (folder / CLAIM).open("a", encoding="utf-8") as file:
            file.write("".join(f"{path.as_posix()}\n" for path in paths))


def listed(folder: Path) -> set[Path] | None:
    """The files that a folder's claim lists, itself and the lock among them; None where there is no claim."""
    try:
        text = read_whole(folder / CLAIM).decode()
    except (OSError, ValueError, CheckpointError):
        return None
    names = [CLAIM, LOCK, *text.removeprefix(FIRST).splitlines()]
    return {folder / name for name in names} if text.startswith(FIRST) or not text else None


def remove(folder: Path) -> list[Path]:
    """Remove a folder that holds nothing but what its claim lists, the claim last; else only say what else it holds."""
    files = listed(folder) or set()
    known = files.union(*(path.parents for path in files))
    inside = sorted(folder.rglob("*"), reverse=True)
    others = [path for path in inside if path not in known or path.is_symlink()]
    if not others:
        with contextlib.suppress(OSError):  # something has come into it
            for path in (*(path for path in inside if path.name != CLAIM), folder / CLAIM, folder):
                (path.rmdir if path.is_dir() else path.unlink)()
    return others
