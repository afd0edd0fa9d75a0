"""The log of a run: ``metrics.jsonl``, one row for each training step.

A row has step, samples, seconds and loss (player -> value, left out where it is not finite), and where there is any, health
(measure -> value, null where it is not finite; "skipped/PLAYER" where a step has left a player as it was), alarm (those that
begin or end at this step, as `pushforward.training.alarms.Alarm` has them) and rollback (how training went back to the step
before, as `pushforward.training.recovering.Rollback` has it).
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pushforward.errors import CheckpointError
from pushforward.safe_files import opened
from pushforward.training import checkpoint as checkpoints
from pushforward.training.disk import disk

__all__ = ["append", "cut", "last_step", "read"]

LONGEST = 1 << 20
"""Bytes of a row; a longer one is none, and what follows it is left out."""
LARGEST = 1e300
"""Above every number of a row."""
_TAIL = 1 << 16
"""Bytes at the end of a log that hold its last row."""


def read(path: Path) -> list[dict[str, Any]]:
    """The whole rows of a log; rows that are cut off or unreadable are left out.

    Raises:
        CheckpointError: If the file is there and the disk does not give it.
    """
    return [row for _, row in _rows(_text(path))]


def cut(path: Path, step: int) -> None:
    """Drop the rows after a step, and those that are not whole, in one move.

    Raises:
        CheckpointError: If the disk refuses; the log stays as it was.
    """
    text = _text(path)
    remaining = "".join(f"{line}\n" for line, row in _rows(text) if row["step"] <= step)
    if remaining != text:
        checkpoints.write_text(path, remaining)


def append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows at the end.

    Raises:
        CheckpointError: If the disk refuses.
    """
    with disk(path), path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def last_step(path: Path) -> int:
    """The step of the last whole row; 0 for a log without any.

    Raises:
        CheckpointError: If the file is there and the disk does not give it.
    """
    if not path.is_file():
        return 0
    with disk(path), opened(path) as file:
        file.seek(max(0, path.stat().st_size - _TAIL))
        rows = _rows(file.read().decode(errors="replace"))
    return int(rows[-1][1]["step"]) if rows else 0


def _text(path: Path) -> str:
    try:
        with opened(path) as file:
            lines = itertools.takewhile(lambda line: len(line) <= LONGEST, iter(lambda: file.readline(LONGEST + 1), b""))
            return b"".join(lines).decode("utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read: {error.strerror or error}. Check the disk, or move the file away."
        ) from error


def _rows(text: str) -> list[tuple[str, dict[str, Any]]]:
    rows = []
    for line in text.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(row, dict) and _is_row(row):
            rows.append((line, row))
    return rows


def _is_row(row: Mapping[str, Any]) -> bool:
    """Whether all that is read of a row is there and of its kind."""
    losses, health, alarms = row.get("loss"), row.get("health", {}), row.get("alarm", [])
    if type(row.get("step")) is not int or row["step"] < 0 or not _is_number(row.get("seconds", 0.0)):
        return False
    if not isinstance(losses, dict) or not isinstance(health, dict) or not isinstance(alarms, list):
        return False
    rollbacks = row.get("rollback", [])
    if not isinstance(rollbacks, list) or not all(map(_is_rollback, rollbacks)):
        return False
    return all(map(_is_number, losses.values())) and all(map(_is_measure, health.values())) and all(map(_is_alarm, alarms))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and abs(value) < LARGEST


def _is_measure(value: Any) -> bool:
    return value is None or _is_number(value) or (isinstance(value, list) and all(map(_is_measure, value)))


def _is_alarm(value: Any) -> bool:
    texts = ("kind", "sentence")
    return isinstance(value, dict) and "over" in value and all(isinstance(value.get(name), str) for name in texts)


def _is_rollback(value: Any) -> bool:
    if not isinstance(value, dict) or not all(isinstance(value.get(name), str) for name in ("cause", "why")):
        return False
    counts = [value.get(name) for name in ("step", "at", "accumulate")]
    return all(type(count) is int and 0 <= count < LARGEST for count in counts) and _is_number(value.get("rate"))
