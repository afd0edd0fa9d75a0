"""Joining the processes that a launcher has started, and finding the run that they trained before they were started again."""

from __future__ import annotations

import atexit
import gc
import os
import socket
import time
import uuid
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from pushforward.errors import CheckpointError, GroupError, UsageError
from pushforward.launched import Launch, launched
from pushforward.safe_files import read_json
from pushforward.training.checkpoint.disk import sha256, write_json
from pushforward.training.checkpoint.integrity import step_name
from pushforward.training.machine import cores
from pushforward.training.processes import TIMEOUT, Group, Processes
from pushforward.training.sharding import release

__all__ = ["check_devices", "is_here", "joined", "leave", "news", "note_here", "restarted", "still_asked"]


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
    return Group(shard, place.type, seconds(), owned=not formed or _formed_here)


_formed_here = False


def seconds() -> float:
    """The time in which each process answers the others: that of PUSHFORWARD_TIMEOUT, or two minutes.

    Raises:
        UsageError: If the variable holds no positive number.
    """
    text = os.environ.get("PUSHFORWARD_TIMEOUT") or str(TIMEOUT)
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise UsageError(f'PUSHFORWARD_TIMEOUT="{text}" is no time: expected seconds, such as 600.')
    return value


def _form(launch: Launch, place: torch.device) -> None:
    global _formed_here
    if place.type == "cuda":
        if place.index not in (None, launch.local_rank):
            raise UsageError(
                f"Process {launch.rank} was to train on {place}; each process on a machine has a CUDA device of its own, here "
                f"cuda:{launch.local_rank}. Use `device=cuda`."
            )
        torch.cuda.set_device(launch.local_rank)
    elif not any(os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")):
        torch.set_num_threads(max(1, cores() // launch.local_count))
    try:
        _meet(launch, "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo", timedelta(seconds=seconds()))
    except RuntimeError as error:
        raise GroupError(
            f"Process {launch.rank} of {launch.count} has not met all others at {os.environ['MASTER_ADDR']}:"
            f"{os.environ['MASTER_PORT']} within {seconds():g} seconds ({str(error).splitlines()[0][:200]}). Start all of them, "
            "with the same address; PUSHFORWARD_TIMEOUT=600 gives them more time."
        ) from error
    _formed_here = True
    atexit.register(leave)  # an error in flight holds what has failed until it is printed


def _meet(launch: Launch, backend: str, limit: timedelta) -> None:
    """Form the default group of torch.distributed, which ends with `leave`."""
    # imported later, by an optimiser, its functions' defaults would hold the group, whose threads then outlive the interpreter
    import torch.distributed.nn.functional
    from torch.distributed.rendezvous import rendezvous

    os.environ |= {"RANK": str(launch.rank), "WORLD_SIZE": str(launch.count)}  # as Slurm does not
    if os.path.isabs(address := os.environ["MASTER_ADDR"]):
        store: Any = torch.distributed.FileStore(address)
        loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
        os.environ |= {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    else:
        store = next(rendezvous("env://", launch.rank, launch.count, timeout=limit))[0]
    store.set_timeout(limit)
    # a launcher's store outlives processes: those that are started again must not find each other's old addresses
    store = torch.distributed.PrefixStore(f"start/{_start(store, launch.rank, launch.count, limit.total_seconds())}", store)
    torch.distributed.init_process_group(backend, store=store, rank=launch.rank, world_size=launch.count, timeout=limit)


def _start(store: Any, rank: int, count: int, limit: float) -> str:
    """A name for this start of the processes, the same in all of them and in no other start; torchrun gives them none.

    Each of the others asks the first one, which answers whoever asks until all have said that they know. A launcher's number of
    restarts is no such name: where a machine was lost, the launchers of machines have counted differently.

    Raises:
        RuntimeError: If they do not meet in so many seconds.
    """
    own, ends = uuid.uuid4().hex, time.monotonic() + limit
    if rank:
        store.set(f"asks/{rank}", own)
        name = str(store.get(f"answer/{own}").decode())
        store.set(f"{name}/{rank}", "")
        return name
    missing = set(range(1, count))
    while missing:
        for other in missing:
            if store.check([f"asks/{other}"]):
                store.set(f"answer/{store.get(f'asks/{other}').decode()}", own)
        missing = {other for other in missing if not store.check([f"{own}/{other}"])}
        if time.monotonic() > ends:
            raise RuntimeError(f"timed out waiting for process {min(missing)}")
        time.sleep(0.01)
    return own


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
            f"`devices={devices}` asks for {devices} processes, and this one "
            f"{'is alone' if count == 1 else f'was started as one of {count}'}. Python starts no others of itself: run the "
            f"program under torchrun with {devices} processes per node, and leave `devices` out."
        )


def news(processes: Processes, folder: Path, step: int) -> list[str]:
    """What is new of processes that take up a run: that they were started again, or hold all weights where each had a share."""
    from pushforward.training.checkpoint.shards import has_shards

    launch, lines = launched(), []
    if launch.restarts:
        most = launch.most_restarts
        of = f" of {most}" if most is not None and launch.restarts <= most else ""
        lines.append(f"restart {launch.restarts}{of}, from step {step:,}")
    if not processes.sharded and has_shards(folder / "checkpoints" / step_name(step)):
        holds = "this process holds" if processes.count == 1 else "each process holds"
        lines.append(f"its weights were saved in shares of several processes; from step {step:,} on {holds} all of them")
    return lines


_here: set[Path] = set()
"""The folders of runs that this process has begun or taken up: another start of it has not."""


def note_here(folder: Path) -> None:
    """Keep in mind that this process has begun a run or taken it up: `restarted` does not return it again."""
    _here.add(folder.resolve())


def is_here(folder: Path) -> bool:
    """Whether this process has begun a run or taken it up."""
    return folder.resolve() in _here


def restarted(out: str | Path | None, data: str, recipe: str, command: str) -> Path | None:
    """The run that this launch has begun in an earlier start of its processes; None where there is none.

    The launcher's number of restarts says nothing: a launcher that was itself started again, or that has lost another machine,
    counts from 0. Of several runs, which one program has trained one after the other, the first comes first.
    """
    name = launched().name
    if name is None:
        return None
    usual = Path("runs").glob(f"{Path(data).stem or 'data'}-{recipe}*")
    named = [Path(out)] if out is not None else usual
    begun = [folder for folder in named if not is_here(folder) and _of_launch(folder, name, command)]
    return min(begun, key=lambda folder: (folder / "spec.json").stat().st_mtime, default=None)


def still_asked(folder: Path, checkpoint: str, command: str) -> bool:
    """Whether a training is to go back to a checkpoint, which its launch has not done in an earlier start of its processes.

    ``manifest.json`` notes the launch that does so, and which checkpoint was the newest: once there is another one, the launch
    has gone on from there. Only the process that writes to the run may call it.

    Raises:
        CheckpointError: If the disk refuses.
    """
    name = launched().name
    if name is None:
        return True
    manifest, newest = _manifest(folder), _newest(folder)
    note = {"launch": name, "command": command, "checkpoint": checkpoint}
    before = manifest.get("back")
    if not is_here(folder) and isinstance(before, dict) and before | note == before:
        return before.get("newest") == newest
    write_json(folder / "manifest.json", {**manifest, "back": {**note, "newest": newest}})
    return True


def _newest(folder: Path) -> str | None:
    """The hash of the file that names a run's newest checkpoint, which each save changes."""
    path = folder / "checkpoints" / "latest.json"
    return sha256(path) if path.is_file() else None


def _of_launch(folder: Path, name: str, command: str) -> bool:
    if not (folder / "spec.json").is_file():
        return False
    manifest = _manifest(folder)
    return manifest.get("launch") == name and manifest.get("command") == command


def _manifest(folder: Path) -> dict[str, Any]:
    """The content of a run's ``manifest.json``; empty where it cannot be read."""
    try:
        manifest: Any = read_json(folder / "manifest.json")
    except CheckpointError:
        return {}
    return manifest if isinstance(manifest, dict) else {}
