"""Which folder a demo writes to: a new one, or that of an interrupted demo of the same options."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pushforward.cli.announcing import nothing_left
from pushforward.cli.terminal import say
from pushforward.errors import CheckpointError

__all__ = ["demo_folder"]

FILE = "demo.json"
"""The options of a demo, in its folder from its start."""
LOCK, HOLDER = ".lock", ".process"
"""A file that a demo locks while it runs, and one with the number of its process."""


@contextmanager
def demo_folder(out: str | None, data: str, options: Mapping[str, Any]) -> Iterator[Path]:
    """The folder of an unfinished demo with these options, else a new one, in which they are stored; locked meanwhile.

    A new folder is removed where the demo fails before anything was saved.

    Args:
        out: The folder; None takes runs/compare-DATA-report, with -2, -3, ... as needed.
        data: The data's name.
        options: Plain values; a demo goes on where all are equal.

    Raises:
        UsageError: If ``out`` holds something else.
        CheckpointError: If another demo writes to it.
    """
    from pushforward.training.checkpoint import write_json
    from pushforward.training.folders import new_folder

    for folder in [Path(out)] if out else _earlier(data):
        if _unfinished(folder, options):
            with _held(folder):
                say(f"{folder} holds this demo, which was interrupted: it goes on")
                yield folder
            return
    folder = new_folder(out, f"compare-{data}", "report")
    with nothing_left(folder), _held(folder):
        write_json(folder / FILE, dict(options))
        yield folder


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Lock a demo's folder, and write down which process holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK, timeout=0.2, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise CheckpointError(
            f"{folder} is being written by another demo{_holder(folder)}: wait for it, or name another folder with --out."
        ) from None
    try:
        (folder / HOLDER).write_text(str(os.getpid()), encoding="utf-8")
        yield
    finally:
        lock.release()


def _holder(folder: Path) -> str:
    """The process that holds a folder, in brackets; empty where it is not known."""
    try:
        return f" (process {int((folder / HOLDER).read_bytes())})"
    except (OSError, ValueError):
        return ""


def _earlier(data: str) -> Iterator[Path]:
    """The folders that demos on this data take by themselves, the newest first."""
    folders = [path for path in Path("runs").glob(f"compare-{data}-report*") if path.is_dir()]
    yield from sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)


def _unfinished(folder: Path, options: Mapping[str, Any]) -> bool:
    """Whether a folder holds a demo with these options and no page."""
    if (folder / "report.html").exists():
        return False
    try:
        return bool(json.loads((folder / FILE).read_bytes()) == json.loads(json.dumps(options)))
    except (OSError, ValueError):
        return False
