"""Joining the processes that a launcher has started."""

from __future__ import annotations

import atexit
import gc
import os
import socket
from datetime import timedelta

import torch

from pushforward.environment import Launch, launched
from pushforward.errors import GroupError, UsageError
from pushforward.training.distributed.processes import TIMEOUT, Group, Processes
from pushforward.training.distributed.sharding import release
from pushforward.training.loop.budget import Budget
from pushforward.training.monitor.machine import cores


def joined(device: torch.device | str = "cpu", *, shard: bool = False) -> Processes:
    """The processes that this one was started with: a `Group`, or itself alone.

    torch.distributed's default group is formed where there is none: by gloo on CPUs, and by nccl, with gloo for what is not on a
    device, on CUDA devices. Threads of processes on one machine share its cores.

    Raises:
        UsageError: For shares without several processes, or a device that is not this process's.
        GroupError: If the processes do not find each other.
    """
    launch, place = launched(), torch.device(device)
    formed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not formed and launch.count > 1:
        _form(launch, place)
    if not (formed or launch.count > 1) or torch.distributed.get_world_size() == 1:
        if shard:
            raise UsageError(
                "`shard=True` divides weights among several processes, and this is one: start them with torchrun. The command "
                "line starts them itself, with `devices=2`."
            )
        return Processes()
    return Group(shard, place.type, seconds())


_formed_here = False


def seconds() -> float:
    """The time in which each process answers the others: that of PUSHFORWARD_TIMEOUT, or two minutes."""
    return Budget.duration(os.environ.get("PUSHFORWARD_TIMEOUT") or TIMEOUT)


def _form(launch: Launch, place: torch.device) -> None:
    global _formed_here
    # imported later, by an optimiser, its functions' defaults would hold the group, whose threads then outlive the interpreter
    import torch.distributed.nn.functional

    if place.type == "cuda":
        if place.index not in (None, launch.local_rank):
            raise UsageError(
                f"Process {launch.rank} was to train on {place}; each process on a machine has a CUDA device of its own, here "
                f"cuda:{launch.local_rank}. Use `device=cuda`."
            )
        torch.cuda.set_device(launch.local_rank)
    elif not any(os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")):
        torch.set_num_threads(max(1, cores() // launch.local_count))
    os.environ |= {"RANK": str(launch.rank), "WORLD_SIZE": str(launch.count)}  # as Slurm does not
    store = None
    if os.path.isabs(address := os.environ["MASTER_ADDR"]):  # a file of this machine: its processes talk by loopback
        store = torch.distributed.FileStore(address)
        loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
        os.environ |= {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    backend = "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo"
    limit = timedelta(seconds=seconds())
    try:
        torch.distributed.init_process_group(backend, store=store, rank=launch.rank, world_size=launch.count, timeout=limit)
    except RuntimeError as error:
        raise GroupError(
            f"Process {launch.rank} of {launch.count} has not met all others at {address} within {seconds():g} seconds "
            f"({str(error).splitlines()[0][:200]}). Start all of them, with the same address; PUSHFORWARD_TIMEOUT=600 gives "
            "them more time."
        ) from error
    _formed_here = True
    atexit.register(leave)  # an error in flight holds what has failed until it is printed


def leave() -> None:
    """Leave the group that `joined` has formed, if any, once all processes have come so far.

    Its threads end here: one that outlived the interpreter could abort the process (pytorch#179291).
    """
    global _formed_here
    if _formed_here and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    _formed_here = False
    release()
    gc.collect()  # sharded networks, which refer to themselves, hold the group as well


def check_devices(devices: int | None) -> None:
    """Refuse a number of processes that is not the present one: Python starts no others.

    Raises:
        UsageError: With the command that starts them.
    """
    count = launched().count
    if devices is not None and devices != count:
        raise UsageError(
            f"`devices={devices}` asks for other processes than the {count} that were started. Python starts none itself: run "
            f"the program under torchrun with {devices} processes per node, and leave `devices` out."
        )
