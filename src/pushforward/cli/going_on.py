"""Which folder a demo writes to: a new one, or that of an interrupted demo of the same options."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pushforward.cli.announcing import nothing_left
from pushforward.cli.terminal import say
from pushforward.safe_files import read_object, refuse_links

__all__ = ["demo_folder"]

FILE = "demo.json"
"""The options of a demo, in its folder from its start."""


@contextmanager
def demo_folder(out: str | None, data: str, options: Mapping[str, Any]) -> Iterator[Path]:
    """The folder of an unfinished demo with these options, else a new one, in which they are stored; locked meanwhile.

    The folder is removed where the demo fails before anything was saved.

    Args:
        out: The folder; None takes runs/compare-DATA-report, with -2, -3, ... as needed.
        data: The data's name.
        options: Plain values; a demo goes on where all are equal.

    Raises:
        UsageError: If ``out`` holds something else.
        CheckpointError: If another demo writes to it, or it holds links.
    """
    from pushforward.training.checkpoint.disk import write_json
    from pushforward.training.runs.folder import Claim, claim
    from pushforward.training.runs.run_lock import hold

    unfinished = next((place for place in ([Path(out)] if out else _earlier(data)) if _unfinished(place, options)), None)
    if unfinished is None:
        begun = claim(out, f"compare-{data}", "report")
    else:
        refuse_links(unfinished, ())
        begun = Claim(unfinished, hold(unfinished))
        say(f"{unfinished} holds this demo, which was interrupted: it goes on")
    with nothing_left(begun.folder):
        write_json(begun.folder / FILE, dict(options))
        yield begun.folder


def _earlier(data: str) -> Iterator[Path]:
    """The folders that demos on this data take by themselves, the newest first."""
    folders = [path for path in Path("runs").glob(f"compare-{data}-report*") if path.is_dir()]
    yield from sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)


def _unfinished(folder: Path, options: Mapping[str, Any]) -> bool:
    """Whether a folder holds a demo with these options and no page."""
    return not (folder / "report.html").exists() and read_object(folder / FILE) == json.loads(json.dumps(options))
