"""Memory: the peak of the process, and the tensors of a piece of work."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pushforward.errors import OutOfMemory

_GROUP = Path("/sys/fs/cgroup")


def lacks_memory(error: BaseException) -> bool:
    """Whether an error says that the memory does not suffice: of Python, a CUDA device, or PyTorch's allocator on the CPU."""
    # the last one raises a bare RuntimeError
    words = str(error)
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "can't allocate memory" in words or "CPUAllocator" in words


@contextlib.contextmanager
def in_step(step: int) -> Iterator[None]:
    """Within this context, in which a step is computed, errors of memory name it.

    Raises:
        OutOfMemory: In their place.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not lacks_memory(error):
            raise
        what = f"the memory does not suffice for step {step:,}"
        why = f"{type(error).__name__}: {error!s:.200}"
        raise OutOfMemory(f"{what} ({why}). Use a smaller `batch`, or a larger `accumulate`.", step, what) from None


def held_bytes(*modules: nn.Module) -> int:
    """Bytes of the parameters and buffers of modules; a tensor that two of them share counts once."""
    tensors = (t.untyped_storage() for module in modules for t in (*module.parameters(), *module.buffers()))
    return sum({storage.data_ptr(): storage.nbytes() for storage in tensors}.values())


def added_peak(work: Callable[[], Any], device: torch.device | str = "cpu") -> int | None:
    """The most bytes in tensors that ``work()`` holds at once, beyond those that were there before it.

    The numbers are of PyTorch's allocator, on the CPU through the profiler, so temporary tensors inside operations count, and
    other models and the data in the same process do not. Scratch memory that libraries allocate for themselves is not counted.

    Returns:
        Bytes; None where a profiler runs already, so that nothing can be measured.
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
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler's library prints when it starts and stops
    with torch.autograd.profiler.profile(profile_memory=True) as profiler:
        work()
    results: Any = profiler.kineto_results
    held = most = 0
    for event in sorted((e for e in results.events() if e.name() == "[memory]"), key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def reset_peak(device: torch.device | str = "cpu") -> None:
    """Let `peak_memory` count from here on, where the system can: on CUDA devices, and on Linux for the CPU."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")


def peak_memory(device: torch.device | str = "cpu") -> int:
    """The most memory in bytes since `reset_peak`: of the whole process on the CPU, of all tensors on a CUDA device.

    It includes the library, the data and any other model in the process, so it measures the process, not
    a model; see `added_peak` for that. On all but Linux it is 0, not known.
    """
    if torch.device(device).type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    return _bytes_in("/proc/self/status", "VmHWM:")


def free_memory() -> int | None:
    """Bytes that this process may still take, of the machine and of its control group; None where that is not known."""
    machine = _bytes_in("/proc/meminfo", "MemAvailable:")
    try:
        most, taken = (int((_GROUP / name).read_text(encoding="utf-8")) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no limit is written as a word
        return machine or None
    return min(machine, most - taken)


def _bytes_in(file: str, name: str) -> int:
    try:
        lines = Path(file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith(name)), 0)


def synchronize(device: torch.device) -> None:
    """Wait for pending computations of an accelerator, for timings; nothing on the CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
