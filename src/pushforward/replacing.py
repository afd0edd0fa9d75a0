"""Files and folders that appear under their name only when they are whole, in place of earlier ones."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from pushforward.errors import CheckpointError, UsageError

__all__ = ["check_replaceable", "disk", "replacing"]

_PNG = re.compile(r"(\d+)(-[\w -]*)?\.png")


@contextlib.contextmanager
def disk(what: Path) -> Iterator[None]:
    """Within this context a refusal of the disk is a `CheckpointError` that names the file or folder."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(
            f"{what} could not be written: {error.strerror or error}. "
            "Free space or choose another `out`; what was saved before is intact."
        ) from error


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path of the same ending, which takes the place of ``path`` if all goes well and vanishes if not."""
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}")
    with disk(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield temporary
            if path.is_dir():
                _replace_folder(path, temporary)
            else:
                os.replace(temporary, path)
        finally:
            if temporary.is_dir():
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                temporary.unlink(missing_ok=True)


def _replace_folder(path: Path, temporary: Path) -> None:
    """Move the old folder aside, the new one in, and only then remove the old."""
    check_replaceable(path)
    aside = path.with_name(f".old-{os.getpid()}-{path.name}")
    os.rename(path, aside)
    try:
        os.rename(temporary, path)
    except OSError:
        os.rename(aside, path)
        raise
    if aside.is_symlink():
        aside.unlink()
    else:
        shutil.rmtree(aside)


def check_replaceable(path: Path) -> None:
    """Refuse to replace a folder that holds anything but the numbered PNGs of an earlier sampling."""
    names = sorted(entry.name for entry in path.iterdir())
    numbers = [match and int(match[1]) for match in map(_PNG.fullmatch, names)]
    if path.suffix or numbers != list(range(len(names))):
        raise UsageError(
            f"{path} is a folder that holds more than an earlier sampling (numbered PNGs), so it is not overwritten. "
            "Choose another `out`, or remove it yourself."
        )
