"""Memory: the peak of the process, and the tensors of a piece of work."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["added_peak", "available", "held_bytes", "peak_memory", "reset_peak", "synchronize"]

_PROC = Path("/proc/self")


def held_bytes(*modules: nn.Module) -> int:
    """Bytes of the parameters and buffers of modules; a tensor that two of them share counts once."""
    tensors: Iterable[Tensor] = (t for module in modules for t in (*module.parameters(), *module.buffers()))
    storages = {storage.data_ptr(): storage.nbytes() for storage in (t.untyped_storage() for t in tensors)}
    return sum(storages.values())


def added_peak(work: Callable[[], Any], device: torch.device | str = "cpu") -> int | None:
    """The most bytes in tensors that ``work()`` holds at once, beyond those that were there before it.

    The numbers are of PyTorch's allocator, on the CPU through the profiler, so temporary tensors inside operations count, and
    other models and the data in the same process do not. Scratch memory that libraries allocate for themselves is not counted.

    Args:
        work: Called once.
        device: Where its tensors are.

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
    with _silent(), torch.autograd.profiler.profile(profile_memory=True) as profiler:
        work()
    held = most = 0
    for event in sorted(_allocations(profiler), key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


def _allocations(profiler: Any) -> Iterator[Any]:
    return (event for event in profiler.kineto_results.events() if event.name() == "[memory]")


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep the profiler's library from printing when it starts and stops."""
    before = os.environ.get("KINETO_LOG_LEVEL")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")
    try:
        yield
    finally:
        if before is None:
            del os.environ["KINETO_LOG_LEVEL"]


def reset_peak(device: torch.device | str = "cpu") -> None:
    """Let `peak_memory` count from here on, where the system can: on CUDA devices, and on Linux for the CPU."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        (_PROC / "clear_refs").write_text("5")
    except OSError:
        return


def peak_memory(device: torch.device | str = "cpu") -> int:
    """The most memory in bytes since `reset_peak`: of the whole process on the CPU, of all tensors on a CUDA device.

    It includes the library, the data and any other model in the process, so it measures the process, not
    a model; see `added_peak` for that. Where the system cannot count again (all but Linux) it is the most in the life
    of the process; 0 where that is not known.
    """
    if torch.device(device).type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        lines = (_PROC / "status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return _of_process()


def _of_process() -> int:
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def available() -> int | None:
    """Bytes of memory that new tensors on the CPU can take without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def synchronize(device: torch.device) -> None:
    """Wait for pending computations of an accelerator, for timings; nothing on the CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize()
