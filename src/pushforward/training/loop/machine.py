"""The machine that trains: its description, memory, times, and torch's generators."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pushforward.draws import key
from pushforward.runtime import thread_waiting


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
    """Return whether an error means out of memory."""
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
    """Measure the peak tensor memory of ``work()`` in bytes; None if it cannot be measured."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return int(torch.cuda.max_memory_allocated(device)) - before
    if torch.autograd._profiler_enabled():
        return None
    # the profiler's library prints when it starts and stops
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    with torch.autograd.profiler.profile(profile_memory=True) as profiler:
        work()
    results = profiler.kineto_results
    held = most = 0
    for event in sorted(
        (e for e in results.events() if e.name() == "[memory]"), key=lambda event: event.start_ns()
    ):
        held += event.nbytes()
        most = max(most, held)
    return most


def free_memory() -> int | None:
    """Return the bytes that this process may still allocate, or None if unknown."""
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
