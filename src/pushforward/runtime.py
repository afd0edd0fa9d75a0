"""The environment of the program: processes, threads, devices and notebooks.

Importing this module does not import torch. How OpenMP threads wait is chosen when pushforward is
imported, which must happen before torch: by default, GNU OpenMP threads spin for some milliseconds
after a parallel part, and block cores that other processes need.
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
    """Position of a process among those started with it.

    Args:
        rank: Number of the process, from 0.
        count: Number of processes.
        local_rank: Number of the process on its machine.
        local_count: Number of processes on its machine.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1


def launched(environment: Mapping[str, str] | None = None) -> Launch:
    """Read the variables of the launcher: torchrun, a program with the same variables (Ray), or Slurm with ``MASTER_ADDR``.

    A ``MASTER_ADDR`` that is an absolute path names a file by which processes of one machine meet.
    A batch step of Slurm without ``MASTER_ADDR`` is one process: a program that it starts without ``srun`` has the variables too.

    Raises:
        UsageError: If variables are missing or not numbers.
    """
    given = os.environ if environment is None else environment
    if "WORLD_SIZE" in given and "RANK" in given:
        names = _TORCH
    elif "SLURM_PROCID" in given and "SLURM_NTASKS" in given and "MASTER_ADDR" in given:
        names = _SLURM
    else:
        return Launch()
    rank = _number(given, names[0])
    count = _number(given, names[1])
    if not 0 <= rank < count:
        raise UsageError(
            f"The launcher set {names[0]}={rank} and {names[1]}={count}; expected a rank from 0 to "
            f"{count - 1}."
        )
    if missing := [
        name for name in ("MASTER_ADDR", "MASTER_PORT") if count > 1 and name not in given
    ]:
        raise UsageError(
            f"The launcher set {names[1]}={count}, but not {missing[0]}, which the processes need "
            "to find each other. "
            f"Start them with torchrun, or set {missing[0]} to the same value for all processes."
        )
    return Launch(rank, count, _number(given, names[2], rank), _number(given, names[3], count))


def _number(given: Mapping[str, str], name: str, default: int | None = None) -> int:
    text = given.get(name, "" if default is None else str(default))
    if not text.isdecimal():
        raise UsageError(f'The launcher set {name}="{text}"; expected an integer.')
    return int(text)


# Rounds of spinning before a thread sleeps, GOMP_SPINCOUNT; the library's own default is 300,000
# (benchmarks/threads.py)
SPINS = "2000"
THREAD_VARIABLES = (
    "OMP_WAIT_POLICY",
    "GOMP_SPINCOUNT",
    "KMP_BLOCKTIME",
)  # With any of them set, the user has chosen


def set_thread_waiting() -> None:
    """Set GOMP_SPINCOUNT unless the user has set any of `THREAD_VARIABLES`, or torch is already imported.

    Child processes inherit it. Other OpenMP libraries, such as macOS's, do not read it.
    """
    if "torch" not in sys.modules and not any(name in os.environ for name in THREAD_VARIABLES):
        os.environ["GOMP_SPINCOUNT"] = SPINS


def thread_waiting() -> str:
    """Describe the variables that determine how OpenMP threads wait."""
    return (
        ", ".join(f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ)
        or "OpenMP's default"
    )


_Module = TypeVar("_Module", bound="nn.Module")


def device_named(name: torch.device | str) -> torch.device:
    """Return an available device by name.

    Args:
        name: "auto" (a CUDA device if available, otherwise the CPU), "cpu", "cuda", "cuda:1", or a
            device. With several processes on a machine, each uses the CUDA device of its local
            rank.

    Raises:
        UsageError: If the device is not available.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if str(name) == "cuda" and (launch := launched()).count > 1:
        name = f"cuda:{launch.local_rank}"
    try:
        torch.zeros(1, device=name).item()
        return torch.device(name)
    except (
        RuntimeError,
        NotImplementedError,
        AssertionError,
        TypeError,
    ):  # the type of torch's error depends on the device
        raise UsageError(
            f'The device "{name}" is not available here. Use auto, cpu, cuda or cuda:1.'
        ) from None


def laid_out(module: _Module, memory_format: torch.memory_format) -> _Module:
    """Convert the parameters and buffers of a module with a suitable number of dimensions to a memory format.

    `torch.nn.Module.to` refuses channels_last for a module that has kernels of a three-dimensional convolution as well.

    Args:
        module: Module to change in place.
        memory_format: Memory format; ``torch.contiguous_format`` changes nothing.
    """
    import torch

    sides = {torch.channels_last: 4, torch.channels_last_3d: 5}.get(memory_format)
    if sides is None:
        return module
    return module._apply(
        lambda tensor: tensor.to(memory_format=memory_format) if tensor.dim() == sides else tensor
    )


def in_notebook() -> bool:
    """Return whether a Jupyter kernel runs this code (not IPython in a terminal)."""
    shell = sys.modules.get("IPython")
    running = shell.get_ipython() if shell is not None else None
    return running is not None and hasattr(running, "kernel")


def display(value: Any, *, raw: bool = False) -> Any:
    """Show a value below the running cell, and return a handle whose ``update`` replaces it.

    Args:
        value: Value that a notebook can show.
        raw: Whether the value is a dict from MIME types to texts.
    """
    from IPython.display import display as show

    return show(value, raw=raw, display_id=True)


def facts(title: str, rows: Mapping[str, Any]) -> str:
    """Build a small HTML table with a title and one row per fact."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th><td "
        f"style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in rows.items()
    )
    return f"<table><caption style='text-align:left'><b>{html.escape(title)}</b></caption>{cells}</table>"
