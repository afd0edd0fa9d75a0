"""The options of verbs whose work several processes share."""

from __future__ import annotations

from dataclasses import dataclass

from cyclopts import Parameter

from pushforward.cli.groups import PROCESSES, Flag

__all__ = ["ALONE", "UNSPREAD", "Sharing", "Spreading"]


@Parameter(name="*", group=PROCESSES)
@dataclass(frozen=True)
class Sharing:
    """Several processes that train one model together. Under torchrun, Slurm or Ray they find each other without an option.

    Args:
        devices: Start this many processes here, each with a CUDA device of its own or a share of the cores.
        shard: Each process holds a share of weights and optimisers.
    """

    devices: int | None = None
    shard: Flag = False


@Parameter(name="*", group=PROCESSES)
@dataclass(frozen=True)
class Spreading:
    """Several processes that share the samples of one command.

    Args:
        devices: Start this many processes here, each with a CUDA device of its own or a share of the cores.
    """

    devices: int | None = None


ALONE, UNSPREAD = Sharing(), Spreading()
