"""The log of a run: ``metrics.jsonl``, one row for each training step.

A row has step, samples, seconds and loss (player -> value, left out where it is not finite), and where there is any, health
(measure -> value, null where it is not finite; "skipped/PLAYER" where a step has left a player as it was) and alarm (those that
begin or end at this step, as `pushforward.training.monitor.alarms.Alarm` has them).
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pushforward.errors import CheckpointError
from pushforward.files import disk, opened
from pushforward.training.checkpoint.disk import flush, write_text
from pushforward.training.loop.nonfinite import Skips

if TYPE_CHECKING:
    from torch import Tensor

    from pushforward.training.loop.callbacks import Observer

LONGEST = 1 << 20
"""Bytes of a row; a longer one is none, and what follows it is left out."""
LARGEST = 1e300
"""Above every number of a row."""
FLUSH = 25
"""Steps whose losses are held before they are checked and written."""


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
        write_text(path, remaining)


def append(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Add rows at the end.

    Raises:
        CheckpointError: If the disk refuses.
    """
    with disk(path), path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def last_step(path: Path) -> int:
    """The step of the last whole row; 0 for a log without any. Raises as `read`."""
    return max((row["step"] for row in read(path)), default=0)


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
            if _is_row(row):
                rows.append((line, row))
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
            continue
    return rows


def _is_row(row: Any) -> bool:
    alarms = row.get("alarm", [])
    measures = (value for value in _flat([*row.get("health", {}).values()]) if value is not None)
    numbers = [row["step"], row.get("seconds", 0.0), *row["loss"].values(), *measures]
    texts = [alarm[name] for alarm in alarms for name in ("kind", "sentence")]
    known = all(isinstance(value, (int, float)) and abs(value) < LARGEST for value in numbers)
    known = known and all(isinstance(text, str) for text in texts) and all("over" in alarm for alarm in alarms)
    return known and type(row["step"]) is int and row["step"] >= 0


def _flat(values: list[Any]) -> Iterator[Any]:
    for value in values:
        yield from _flat(value) if isinstance(value, list) else [value]


class Problem(NamedTuple):
    """Why training has diverged.

    Args:
        what: In words.
        advice: What helps; None for the usual.
        step: The step of which something was not finite; None for another reason.
    """

    what: str
    advice: str | None = None
    step: int | None = None


class Journal:
    """The log of a training: held for some steps, then checked, read by its observers and written.

    Losses stay on their device until several steps are read at once.

    Args:
        path: The log, ``metrics.jsonl``.
        observers: Who reads its rows.
        writes: Whether the rows are written.

    Attributes:
        losses: The newest losses that are known and finite, by player.
        skips: The steps that were skipped.
    """

    def __init__(self, path: Path, observers: Sequence[Observer], writes: bool = True) -> None:
        self.path, self.observers, self.writes = path, observers, writes
        self.losses: dict[str, float] = {}
        self.skips = Skips()
        self._held: list[dict[str, Any]] = []

    @property
    def held(self) -> bool:
        return bool(self._held)

    @property
    def full(self) -> bool:
        return len(self._held) >= FLUSH

    def add(self, at: Mapping[str, Any], losses: Mapping[str, Tensor], health: Mapping[str, Any]) -> None:
        self._held.append({**at, "loss": dict(losses), **({"health": dict(health)} if health else {})})

    def flush(self, last: bool = False) -> Problem | None:
        """Write the rows that are held; ``last`` where no step follows.

        Returns:
            Why training has diverged; None where it goes on. Rows after that are dropped.

        Raises:
            CheckpointError: If the disk refuses.
        """
        from pushforward.training.monitor.health import in_numbers

        rows, self._held = self._held, []
        for row in rows:
            losses = {player: float(loss) for player, loss in row["loss"].items()}
            row["loss"] = {player: loss for player, loss in losses.items() if math.isfinite(loss)}  # others are skipped
        in_numbers([row["health"] for row in rows if "health" in row])
        problem = None
        for count, row in enumerate(rows):
            self.losses = self.losses | row["loss"]
            for observer in self.observers:
                row |= observer.row(row)
            if (problem := self._problem(row)) is not None:
                rows = rows[: count + 1]
                break
        if rows and self.writes:
            append(self.path, rows)
        if problem is None and last and self.skips.all:
            return Problem("In every step a loss or gradient was not finite", step=self.skips.last)
        return problem

    def _problem(self, row: Mapping[str, Any]) -> Problem | None:
        if (why := self.skips.read(row)) is not None:
            return Problem(why, step=row["step"])
        for alarm in row.get("alarm", ()):
            if alarm["kind"] == "divergence" and not alarm["over"]:
                return Problem(f"At step {row['step']:,} {alarm['sentence']}", f"To fix it, {alarm['advice']}.")
        return None

    def cut(self, step: int) -> list[dict[str, Any]]:
        """Drop the rows after a step, and let the observers read the others."""
        if self.writes:
            cut(self.path, step)
        rows = [row for row in read(self.path) if row["step"] <= step]
        for row in rows:
            self.skips.read(row)
            for observer in self.observers:
                observer.row(row, again=True)
        return rows

    def sync(self) -> None:
        """Wait until the rows that are written have reached the disk, so that a checkpoint never has steps that the log lacks.

        Raises:
            CheckpointError: If the disk refuses.
        """
        if self.path.is_file():
            with disk(self.path):
                flush(self.path)
                flush(self.path.parent)
