"""The environment of the program: processes, threads, devices and notebooks, without torch.

How OpenMP threads wait must be chosen before torch is imported: by default, they spin for some
milliseconds after a parallel part, and block cores that other processes need.
"""

from __future__ import annotations

import html
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pushforward.errors import UsageError

if TYPE_CHECKING:
    import torch
    from torch import nn


_TORCH = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
_SLURM = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE")


@dataclass(frozen=True)
class Launch:
    """Position of a process among all, and among those of its machine, from 0."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1


def launched(environment: Mapping[str, str] | None = None) -> Launch:
    """Read the variables of torchrun, of a program with the same variables (Ray), or of Slurm.

    A batch step of Slurm without ``MASTER_ADDR`` is one process: a program that it starts without
    ``srun`` has the variables too.
    """
    given = os.environ if environment is None else environment
    if "WORLD_SIZE" in given and "RANK" in given:
        names = _TORCH
    elif "SLURM_PROCID" in given and "SLURM_NTASKS" in given and "MASTER_ADDR" in given:
        names = _SLURM
    else:
        return Launch()
    of_rank, of_count, of_local_rank, of_local_count = names
    rank = int(given[of_rank])
    count = int(given[of_count])
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        if count > 1 and name not in given:
            raise UsageError(
                f"The launcher set {of_count}={count}, but not {name}, which the processes need to "
                "find each other. Start them with torchrun, or set it to the same value for all."
            )
    local_rank = int(given.get(of_local_rank, rank))
    local_count = int(given.get(of_local_count, count))
    return Launch(rank, count, local_rank, local_count)


# Rounds of spinning before a thread sleeps, GOMP_SPINCOUNT; the library's own default is 300,000
# (benchmarks/threads.py)
SPINS = "2000"
# With any of them set, the user has chosen
THREAD_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


def set_thread_waiting() -> None:
    """Set GOMP_SPINCOUNT, which child processes inherit, unless the user has chosen."""
    if "torch" not in sys.modules and not any(name in os.environ for name in THREAD_VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = SPINS


def thread_waiting() -> str:
    """Describe the variables that determine how OpenMP threads wait."""
    chosen = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    return ", ".join(chosen) or "OpenMP's default"


_Module = TypeVar("_Module", bound="nn.Module")


def device_named(name: torch.device | str) -> torch.device:
    """Return an available device by name: "auto", "cpu", "cuda" or "cuda:1".

    "cuda" is the device of the process's local rank.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if str(name) == "cuda":
        launch = launched()
        if launch.count > 1:
            name = f"cuda:{launch.local_rank}"
    try:
        torch.zeros(1, device=name).item()
        return torch.device(name)
    # the type of torch's error depends on the device
    except (RuntimeError, NotImplementedError, AssertionError, TypeError):
        raise UsageError(
            f'The device "{name}" is not available here. Use auto, cpu, cuda or cuda:1.'
        ) from None


def laid_out(module: _Module, memory_format: torch.memory_format) -> _Module:
    """Convert parameters and buffers in place to a memory format that suits them."""
    import torch

    sides = {torch.channels_last: 4, torch.channels_last_3d: 5}.get(memory_format)
    if sides is None:
        return module

    def converted(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dim() == sides:
            return tensor.to(memory_format=memory_format)
        return tensor

    return module._apply(converted)


def in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this code (not IPython in a terminal)."""
    shell = sys.modules.get("IPython")
    return shell is not None and hasattr(shell.get_ipython(), "kernel")


def display(value: Any, *, raw: bool = False) -> Any:
    """Show a value, or a dict from MIME types to texts, and return an updatable handle."""
    from IPython.display import display as show

    return show(value, raw=raw, display_id=True)


def facts(title: str, rows: Mapping[str, Any]) -> str:
    """Build a small HTML table with a title and one row per fact."""
    left = "style='text-align:left'"
    cells = ""
    for name, value in rows.items():
        fact = html.escape(str(value))
        cells += f"<tr><th {left}>{html.escape(name)}</th><td {left}>{fact}</td></tr>"
    return f"<table><caption {left}><b>{html.escape(title)}</b></caption>{cells}</table>"
