"""The most memory that a stretch of work has held."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

__all__ = ["peak_memory", "reset_peak"]

_PROC = Path("/proc/self")


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
    """The most memory in bytes since `reset_peak`: resident on the CPU, in tensors on a CUDA device.

    Where the system cannot count anew (all but Linux) it is the most in the life of the process; 0 where it does not say.
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
