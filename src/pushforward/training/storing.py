"""A teacher's trajectories in a run's folder: computed before the first step, and written part by part."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from pushforward.denoisers.precision import network_precision
from pushforward.errors import CheckpointError
from pushforward.methods.distillation import Trajectories
from pushforward.methods.method import Method
from pushforward.safe_files import check_tensors
from pushforward.training import checkpoint as checkpoints
from pushforward.training import tensors
from pushforward.training.budget import Budget
from pushforward.training.disk import appearing
from pushforward.training.preparing import CACHE
from pushforward.training.processes import Processes
from pushforward.training.progress import Watcher, duration

__all__ = ["Store"]

FORMAT = 1
SHARE = 0.25
"""The share of a budget in seconds that trajectories may take; then training goes on with those that are there."""


class Store:
    """The trajectories of a method, if it has any, read from the run's folder as far as they are there.

    Each part is a file that appears whole, so that a training that is killed goes on with the next one. A part that is damaged
    is computed again, with all that follow.

    Args:
        method: On its device.
        folder: The run's.
        writes: Whether parts are written.
        precision: Of the teacher's network calls.
        processes: Those that train together; a part that one of them cannot read is missing in all.

    Attributes:
        seconds: Their time in all.
    """

    def __init__(
        self,
        method: Method,
        folder: Path,
        writes: bool = True,
        precision: str = "float32",
        processes: Processes | None = None,
    ) -> None:
        self.folder, self.writes, self.precision, self.seconds = folder / CACHE / "trajectories", writes, precision, 0.0
        self.trajectories = next((part for part in method.modules() if isinstance(part, Trajectories)), None)
        self._hashes: list[str] = []
        self._ends = [0]
        """How many trajectories are there after each part that was read."""
        self._finished = False
        self._count: int | None = None
        if self.trajectories is not None and not self.trajectories.ready:
            self._read(self.trajectories)
            parts = min((processes or Processes()).gathered(len(self._hashes)))
            if parts < len(self._hashes):
                del self._hashes[parts:]
                self.trajectories.ready, self._finished = self._ends[parts], False

    def _read(self, trajectories: Trajectories) -> None:
        try:
            content = checkpoints.read_json(self.folder / "index.json")
            hashes, seconds, finished = content["parts"], float(content["seconds"]), bool(content["finished"])
            self.seconds = seconds  # they were spent, even where a part is damaged
            for index, written in zip(trajectories.missing(), hashes, strict=False):
                path = self._path(len(self._hashes))
                check_tensors(path)
                if checkpoints.sha256(path) != written:
                    return
                trajectories.put(index, tensors.read(path, trajectories.teacher.device))
                self._hashes.append(written)
                self._ends.append(index.stop)
            self._finished = finished
        except (CheckpointError, OSError, TypeError, KeyError, ValueError, RuntimeError):
            pass  # missing or damaged parts are computed again

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.safetensors"

    def state(self) -> dict[str, Any]:
        """Its state for checkpoints: the seconds, and after the first step the number of trajectories."""
        ready = self.trajectories.ready if self.trajectories is not None and self.whole else None
        return {"store_seconds": self.seconds, "trajectories": ready}

    def restore(self, state: Mapping[str, Any], budget: Budget) -> Budget:
        """Restore the state of a checkpoint, whether or not the files are there; returns the rest of the budget."""
        self._count = state.get("trajectories")
        if self._count is not None:
            self.seconds = state.get("store_seconds", 0.0)
        return budget.after(self.seconds)

    @property
    def whole(self) -> bool:
        """Whether nothing is left to compute."""
        if self.trajectories is None:
            return True
        if self._count is not None:
            return self.trajectories.ready >= self._count
        return self._finished or self.trajectories.ready == self.trajectories.count

    def completed(self, name: str, budget: Budget, watcher: Watcher, stopped: Callable[[], bool]) -> Budget:
        """Compute the missing parts and write them; returns the rest of the budget.

        A budget in seconds includes this work, and ends it after a quarter; it leaves off after a part once ``stopped``.

        Raises:
            UsageError: If a state of the teacher is not finite.
            CheckpointError: If the disk refuses; the parts before stay.
        """
        trajectories, counted = self.trajectories, " of the budget" if budget.seconds is not None else ""
        for index in () if trajectories is None else trajectories.missing():
            assert trajectories is not None
            if self.whole or stopped():
                break
            started = time.perf_counter()
            with network_precision(self.precision):
                part = trajectories.part(index)
            trajectories.put(index, part)
            self._write(part)
            if self._count is None:
                self.seconds += time.perf_counter() - started
                self._finished = budget.seconds is not None and self.seconds >= SHARE * budget.seconds
            self._note()
            words = f"{index.stop:,}/{trajectories.count:,} trajectories of the teacher  {duration(self.seconds)}{counted}"
            watcher.preparing(name, index.stop / trajectories.count, words)
        return budget.after(self.seconds)

    def _write(self, part: dict[str, Tensor]) -> None:
        if not self.writes:
            return
        path = self._path(len(self._hashes))
        with appearing(path) as temporary:
            tensors.write(temporary, part)
        self._hashes.append(checkpoints.sha256(path))

    def _note(self) -> None:
        if self.writes:
            content = {"parts": self._hashes, "seconds": self.seconds, "finished": self._finished}
            checkpoints.write_json(self.folder / "index.json", {"format_version": FORMAT, **content})
