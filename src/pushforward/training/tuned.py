"""What `pushforward tune` keeps with a run: learned times in ``grids.json``, learned tables in ``tables.json``."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from pushforward.errors import CheckpointError
from pushforward.training import checkpoint as checkpoints
from pushforward.training.run_spec import FORMAT

__all__ = ["GRIDS", "TABLES", "Kind", "damaged", "read", "store"]

Row = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of what is learned.

    Args:
        name: Its file, without the ending, and the key of its rows.
        fields: What every row holds; the last is what was learned, the others say what for.
        words: What messages call it.
        command: The verb and options that learn it.
    """

    name: str
    fields: tuple[str, ...]
    words: str
    command: str

    def key(self, row: Row) -> tuple[Any, ...]:
        """What a row was learned for."""
        return tuple(row[field] for field in self.fields[:-1])


GRIDS = Kind("grids", ("steps", "solver", "times"), "learned grids", "pushforward tune {}")
TABLES = Kind("tables", ("steps", "solver", "guidance", "table"), "learned tables", "pushforward tune {} --what table")


def read(folder: Path, kind: Kind) -> list[Row]:
    """All rows of a kind that a run holds.

    Raises:
        CheckpointError: If the file is damaged.
    """
    path = folder / f"{kind.name}.json"
    if not path.is_file():
        return []
    content = checkpoints.read_json(path)
    rows = content.get(kind.name) if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) and row.keys() >= set(kind.fields) for row in rows):
        raise damaged(folder, kind)
    return rows


def damaged(folder: Path, kind: Kind) -> CheckpointError:
    """The error for a file that cannot be used."""
    path = folder / f"{kind.name}.json"
    return CheckpointError(f"{path} is damaged: it holds no {kind.words}. Delete it and run: {kind.command.format(folder)}")


def store(folder: Path, kind: Kind, row: Row) -> None:
    """Keep a row with a run, in place of an earlier one that was learned for the same.

    Raises:
        CheckpointError: If the disk refuses, or the file is damaged.
    """
    others = [other for other in read(folder, kind) if kind.key(other) != kind.key(row)]
    content = {"format_version": FORMAT, kind.name: sorted([*others, row], key=itemgetter("steps"))}
    checkpoints.write_json(folder / f"{kind.name}.json", content)
