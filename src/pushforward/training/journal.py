"""The rows of a log that are not written yet: losses stay on their device until several steps are read at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from pushforward.training import checkpoint as checkpoints
from pushforward.training import log
from pushforward.training.disk import disk, flush
from pushforward.training.health import in_numbers
from pushforward.training.observing import Observer
from pushforward.training.skipping import Skips

__all__ = ["Journal", "Problem"]

FLUSH = 25
"""Steps whose losses are held before they are checked and written."""


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
        self._from: int | None = None
        self._waiting: list[Mapping[str, Any]] = []

    @property
    def held(self) -> bool:
        """Whether rows wait to be written."""
        return bool(self._held)

    @property
    def waits(self) -> bool:
        """Whether nothing is written before the first save after an older checkpoint."""
        return self._from is not None

    @property
    def full(self) -> bool:
        """Whether it is time to write."""
        return len(self._held) >= FLUSH

    def add(self, at: Mapping[str, Any], losses: Mapping[str, Tensor], health: Mapping[str, Any]) -> None:
        """Hold a row: where training stands, the losses of the players, and measures."""
        self._held.append({**at, "loss": dict(losses), **({"health": dict(health)} if health else {})})

    def flush(self, last: bool = False) -> Problem | None:
        """Write the rows that are held; ``last`` where no step follows.

        Returns:
            Why training has diverged; None where it goes on. Rows after that are dropped.

        Raises:
            CheckpointError: If the disk refuses.
        """
        rows, self._held = self._held, []
        for row in rows:
            losses = {player: float(loss) for player, loss in row["loss"].items()}
            row["loss"] = {player: loss for player, loss in losses.items() if math.isfinite(loss)}  # others are skipped
        in_numbers([row["health"] for row in rows if "health" in row])
        for count, row in enumerate(rows):
            self.losses = self.losses | row["loss"]
            for observer in self.observers:
                row |= observer.row(row)
            if (problem := self._problem(row)) is not None:
                self._append(rows[: count + 1])
                return problem
        self._append(rows)
        if last and self.skips.all:
            return Problem("In every step a loss or gradient was not finite", step=self.skips.last)
        return None

    def _problem(self, row: Mapping[str, Any]) -> Problem | None:
        """Why training diverges with this row."""
        if (why := self.skips.read(row)) is not None:
            return Problem(why, step=row["step"])
        alarm = _ends(row)
        if alarm is None:
            return None
        return Problem(f"At step {row['step']:,} {alarm['sentence']}", f"To fix it, {alarm['advice']}.")

    def _append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        if self._from is not None:
            self._waiting.extend(rows)
        elif rows and self.writes:
            log.append(self.path, rows)

    def cut(self, step: int, wait: bool = False) -> list[dict[str, Any]]:
        """Drop the rows after a step, and let the observers read the others; ``wait`` leaves the file as it is until `settle`."""
        if wait and self.writes:
            self._from = step
        elif self.writes:
            log.cut(self.path, step)
        rows = [row for row in log.read(self.path) if row["step"] <= step]
        for row in rows:
            self.skips.read(row)
            for observer in self.observers:
                observer.row(row, again=True)
        return rows

    def settle(self) -> None:
        """Drop the steps after the checkpoint of a `cut` that waits: it becomes the newest, and the log goes on from it.

        After a kill in between, the run stands at that checkpoint.

        Raises:
            CheckpointError: If the disk refuses.
        """
        if self._from is not None:
            checkpoints.write_latest(self.path.parent / "checkpoints", checkpoints.step_name(self._from))
            log.cut(self.path, self._from)
            log.append(self.path, self._waiting)
            self._from, self._waiting = None, []

    def sync(self) -> None:
        """Wait until the rows that are written have reached the disk, so that a checkpoint never has steps that the log lacks.

        Raises:
            CheckpointError: If the disk refuses.
        """
        if self.path.is_file():
            with disk(self.path):
                flush(self.path)
                flush(self.path.parent)

    def lost(self, rows: Sequence[Mapping[str, Any]], step: int) -> str | None:
        """A warning where the log, whose rows up to the checkpoint are given, ends long before it; None where it is whole.

        Up to `FLUSH` rows may be missing without any damage: those after a divergence are dropped.
        """
        last = rows[-1]["step"] if rows else 0
        if not self.writes or step - last < FLUSH:
            return None
        return (
            f"{self.path} lacks the rows of the steps {last + 1:,} to {step:,}, which the checkpoint has: the file was changed, "
            "or a disk has lost its end. Training goes on; curves and alarms do without these steps."
        )


def _ends(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The alarm in a row that ends a training."""
    return next((alarm for alarm in row.get("alarm", ()) if alarm["kind"] == "divergence" and not alarm["over"]), None)
