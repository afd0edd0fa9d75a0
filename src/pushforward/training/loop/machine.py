"""The machine that trains: its description, memory, threads, and torch's generators."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from pushforward.draws import key
from pushforward.errors import CheckpointError
from pushforward.files import read_json
from pushforward.runtime import thread_waiting
from pushforward.training.checkpoint.storage import write_json


def machine() -> dict[str, Any]:
    """Return the machine and the software of a run."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    names = (line.split(":", 1)[1] for line in lines if line.startswith("model name"))
    return {
        "platform": platform.platform(),
        "processor": next(map(str.strip, names), platform.processor()),
        "cores": cores(),
        "threads": torch.get_num_threads(),
        "threads wait": thread_waiting(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@functools.cache
def version(name: str) -> str | None:
    """Return the version of an installed package; None if not installed."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


_GROUP = Path("/sys/fs/cgroup")


def lacks_memory(error: BaseException) -> bool:
    """Return whether an error means out of memory: of Python, a CUDA device, or PyTorch's CPU allocator."""
    # the last one raises a bare RuntimeError
    words = str(error)
    return (
        isinstance(error, (MemoryError, torch.OutOfMemoryError))
        or "can't allocate memory" in words
        or "CPUAllocator" in words
    )


def held_bytes(*modules: nn.Module) -> int:
    """Count the bytes of parameters and buffers of modules; shared tensors count once."""
    tensors = (
        t.untyped_storage() for module in modules for t in (*module.parameters(), *module.buffers())
    )
    return sum({storage.data_ptr(): storage.nbytes() for storage in tensors}.values())


def added_peak(work: Callable[[], Any], device: torch.device | str = "cpu") -> int | None:
    """Measure the peak tensor memory of ``work()`` in bytes, beyond the memory in use before.

    The numbers are of PyTorch's allocator, on the CPU through the profiler, so temporary tensors inside operations count, and
    other models and the data in the same process do not. Scratch memory that libraries allocate for themselves is not counted.

    Returns:
        Bytes; None if a profiler is already running, so that nothing can be measured.
    """
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device)) - before
    if torch.autograd._profiler_enabled():
        return None
    os.environ.setdefault(
        "KINETO_LOG_LEVEL", "99"
    )  # the profiler's library prints when it starts and stops
    with torch.autograd.profiler.profile(profile_memory=True) as profiler:
        work()
    results: Any = profiler.kineto_results
    held = most = 0
    for event in sorted(
        (e for e in results.events() if e.name() == "[memory]"), key=lambda event: event.start_ns()
    ):
        held += event.nbytes()
        most = max(most, held)
    return most


def free_memory() -> int | None:
    """Return the bytes that this process may still allocate, by machine and control group; None if unknown."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        machine = next(
            1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")
        )
    except (OSError, StopIteration):
        return None
    try:
        most, taken = (
            int((_GROUP / name).read_text(encoding="utf-8"))
            for name in ("memory.max", "memory.current")
        )
    except (OSError, ValueError):  # no limit is written as a word
        return machine
    return min(machine, most - taken)


@contextlib.contextmanager
def generators_kept(device: torch.device) -> Iterator[None]:
    """Context that restores torch's generators of the CPU and of ``device`` at its end."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def seed_generators(seed: int, device: torch.device) -> None:
    """Seed the generators of the CPU and of ``device``, and no other."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


def seeded(build: Callable[[], Any], seed: int) -> Any:
    """Call ``build`` with a seeded torch generator, and restore the generator's state."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(key(seed, "weights") >> 1)
        return build()


def generator_state(device: torch.device) -> tuple[torch.Tensor, ...]:
    """Return the states of the generators of the CPU and of ``device``."""
    cpu_state = (torch.default_generator.get_state(),)
    if device.type == "cuda":
        return (*cpu_state, torch.cuda.get_rng_state(device))
    return cpu_state


def set_generator_state(state: tuple[torch.Tensor, ...], device: torch.device) -> None:
    """Restore states from `generator_state`."""
    torch.default_generator.set_state(state[0])
    if len(state) > 1:
        torch.cuda.set_rng_state(state[1], device)


FILE = "threads.json"
ROUNDS = 5  # steps timed with each number of threads, after one that is not counted
MARGIN = 0.9  # another number of threads is taken only where its steps take less than this share of the time


class Threads:
    """The threads of each step of one run.

    Args:
        folder: Run folder.
        device: Device of the run; thread counts are compared only on the CPU.
        writes: Whether this process keeps the numbers with the run.
        alone: Whether it has the machine for itself; of several processes none measures, so that they compute alike when resumed.

    Attributes:
        numbers: The candidates: all threads that torch uses by itself, half of them, and one. A number that the user has set
            is the only one.
        stages: From step ``step`` on, steps use the numbers in ``threads`` in turn.
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
        """Restore the written stages at a checkpoint's step.

        A number that the user has set for this process goes before, and so does the limit of a machine with fewer cores.

        Raises:
            CheckpointError: If ``threads.json`` is damaged.
        """
        if self.path.is_file():
            self.stages = _read(self.path)
            self._written = True
        present = self._stage(step)["step"]
        recent = {n for stage in self.stages if stage["step"] >= present for n in stage["threads"]}
        if (len(self.numbers) == 1 and recent != set(self.numbers)) or max(recent) > self.numbers[
            0
        ]:
            self.stages = [stage for stage in self.stages if stage["step"] < step]
            self._begin(step, self.numbers)

    def at(self, step: int) -> int:
        stage = self._stage(step)
        return int(stage["threads"][(step - stage["step"]) % len(stage["threads"])])

    def before(self, step: int) -> None:
        """Write new stages, then set the number of threads for the next step.

        Raises:
            CheckpointError: If writing fails.
        """
        last = self.stages[-1]
        measuring = step > last["step"] and len(last["threads"]) > 1
        if measuring and all(len(self._seconds.get(n, ())) > ROUNDS for n in last["threads"]):
            times = {n: median(seconds[1:]) for n, seconds in self._seconds.items()}
            present = last["threads"][0]
            best = min(times, key=times.__getitem__)
            self._begin(step, [best if times[best] < MARGIN * times[present] else present])
        if self.writes and not self._written:
            write_json(self.path, {"format_version": 1, "stages": self.stages})
            self._written = True
        torch.set_num_threads(self.at(step))

    def after(self, step: int, seconds: float) -> None:
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
    try:
        usable = os.sched_getaffinity(0)
        cores = {
            Path(f"/sys/devices/system/cpu/cpu{i}/topology/thread_siblings_list").read_bytes()
            for i in usable
        }
    except (AttributeError, OSError):
        return {os.cpu_count() or 1, torch.get_num_threads()}
    return {len(usable), len(cores)}


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        stages: list[Any] = [
            {"step": int(each["step"]), "threads": [int(n) for n in each["threads"]]}
            for each in read_json(path)["stages"]
        ]
        if stages[0]["step"] != 0 or any(min(stage["threads"]) < 1 for stage in stages):
            raise ValueError("it does not list the run's thread counts")
    except (TypeError, KeyError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path} is damaged: {error}. Restore the file.") from error
    return stages
