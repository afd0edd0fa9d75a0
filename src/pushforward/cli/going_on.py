"""Which folder a demo writes to: a new one, or that of an interrupted demo of the same options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pushforward.cli.terminal import say

__all__ = ["folder_for"]

FILE = "demo.json"
"""The options of a demo, in its folder from its start."""


def folder_for(out: str | None, data: str, asked: Mapping[str, Any]) -> tuple[Path, bool]:
    """The folder of an unfinished demo with these options, else a new one, in which they are stored; and whether it is new.

    Args:
        out: The folder that was asked for; None takes runs/compare-DATA-report, with -2, -3, ... as needed.
        data: The data's name.
        asked: The options, plain values; a demo goes on where all are equal.

    Raises:
        UsageError: If ``out`` holds something else.
    """
    from pushforward.training.checkpoint import write_json
    from pushforward.training.folders import new_folder

    for folder in [Path(out)] if out else _earlier(data):
        if _unfinished(folder, asked):
            say(f"{folder} holds this demo, which was interrupted: it goes on")
            return folder, False
    folder = new_folder(out, f"compare-{data}", "report")
    write_json(folder / FILE, dict(asked))
    return folder, True


def _earlier(data: str) -> Iterator[Path]:
    """The folders that demos on this data take by themselves, the newest first."""
    folders = [path for path in Path("runs").glob(f"compare-{data}-report*") if path.is_dir()]
    yield from sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)


def _unfinished(folder: Path, asked: Mapping[str, Any]) -> bool:
    """Whether a folder holds a demo with these options and no page."""
    if (folder / "report.html").exists():
        return False
    try:
        return bool(json.loads((folder / FILE).read_text()) == json.loads(json.dumps(asked)))
    except (OSError, ValueError):
        return False
