"""The number of threads with which training steps are fastest."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import median
from typing import Any

import torch

from pushforward.errors import CheckpointError
from pushforward.files import read_json
from pushforward.training.checkpoint.storage import write_json
from pushforward.training.loop.callbacks import Action, CallbackRequest, Observer, StateView

FILE = "threads.json"
ROUNDS = 5  # steps timed with each number of threads, after one that is not counted
MARGIN = 0.9  # other numbers of threads must take less than this fraction of the time


class Threads(Observer):
    """Observer that measures and requests the number of threads of each step.

    Args:
        folder: Run folder.
        device: Device; thread counts are compared only on the CPU.
        writes: Whether this process writes ``threads.json``.
        alone: Whether no other process trains; otherwise nothing is compared.
    """

    def __init__(
        self, folder: Path, device: torch.device, writes: bool = True, alone: bool = True
    ) -> None:
        self.path = folder / FILE
        self.writes = writes
        self.numbers = _numbers(device) if alone else [torch.get_num_threads()]
        self.stages: list[dict[str, Any]] = [{"step": 0, "threads": self.numbers}]
        self._seconds: dict[int, list[float]] = {}
        self._written = False

    def resume(self, step: int) -> None:
        """Restore the written stages at a step, within the limits of this machine."""
        if self.path.is_file():
            self.stages = _read(self.path)
            self._written = True
        present = self._stage(step)["step"]
        recent = set[int]()
        for stage in self.stages:
            if stage["step"] >= present:
                recent |= set(stage["threads"])
        chosen = len(self.numbers) == 1 and recent != set(self.numbers)
        if chosen or max(recent) > self.numbers[0]:
            self.stages = [stage for stage in self.stages if stage["step"] < step]
            self._begin(step, self.numbers)

    def at(self, step: int) -> int:
        stage = self._stage(step)
        return int(stage["threads"][(step - stage["step"]) % len(stage["threads"])])

    def requests(self, view: StateView) -> list[CallbackRequest]:
        if view.elapsed is None:
            return []
        if view.elapsed > 0:
            self.measured(view.step - 1, view.elapsed)
        return [CallbackRequest(Action.THREADS, "measured step times", self.threads_for(view.step))]

    def threads_for(self, step: int) -> int:
        """Return the number of threads for the next step, after writing a new stage if any."""
        if self._all_timed(step):
            times = {n: median(seconds[1:]) for n, seconds in self._seconds.items()}
            present = self.stages[-1]["threads"][0]
            best = min(times, key=times.__getitem__)
            if times[best] >= MARGIN * times[present]:
                best = present
            self._begin(step, [best])
        if self.writes and not self._written:
            write_json(self.path, {"format_version": 1, "stages": self.stages})
            self._written = True
        return self.at(step)

    def _all_timed(self, step: int) -> bool:
        last = self.stages[-1]
        if step <= last["step"] or len(last["threads"]) == 1:
            return False
        return all(len(self._seconds.get(n, ())) > ROUNDS for n in last["threads"])

    def measured(self, step: int, seconds: float) -> None:
        """Note how long a step took."""
        last = self.stages[-1]
        if len(last["threads"]) > 1 and step >= last["step"]:
            self._seconds.setdefault(self.at(step), []).append(seconds)

    def _stage(self, step: int) -> dict[str, Any]:
        return next(stage for stage in reversed(self.stages) if stage["step"] <= step)

    def _begin(self, step: int, threads: list[int]) -> None:
        self.stages.append({"step": step, "threads": threads})
        self._seconds = {}
        self._written = False


def _numbers(device: torch.device) -> list[int]:
    present = torch.get_num_threads()
    named = any(os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"))
    if named or device.type != "cpu" or present not in _defaults():
        return [present]
    return list(dict.fromkeys((present, max(1, present // 2), 1)))


def _defaults() -> set[int]:
    cores = set()
    try:
        usable = os.sched_getaffinity(0)
        for number in usable:
            topology = Path(f"/sys/devices/system/cpu/cpu{number}/topology")
            cores.add((topology / "thread_siblings_list").read_bytes())
    except (AttributeError, OSError):
        return {os.cpu_count() or 1, torch.get_num_threads()}
    return {len(usable), len(cores)}


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        stages = read_json(path)["stages"]
        assert stages[0]["step"] == 0
        assert all(min(stage["threads"]) >= 1 for stage in stages)
    except (AssertionError, LookupError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"{path} is damaged: it does not list the run's thread counts. Restore the file."
        ) from error
    return stages
