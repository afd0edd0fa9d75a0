"""Processes that train one model together."""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.denoisers import Denoiser
from pushforward.errors import DataError, GroupError, UsageError
from pushforward.methods.method import Method
from pushforward.runtime import Launch, launched
from pushforward.training.loop.budget import Budget
from pushforward.training.loop.machine import cores

_meshes: list[Any] = []  # what `shard` has laid weights out on


def find_shardable(name: str, player: nn.Module) -> list[nn.Module]:
    """Return the modules of a network that have a forward pass and can be sharded."""
    network = player.network if isinstance(player, Denoiser) else player
    networks = _running(network)
    if not networks:
        raise UsageError(
            f'The network "{name}" has no forward pass of its own, so its weights cannot be '
            "sharded. Use `shard=False`."
        )
    if any(nn.utils.parametrize.is_parametrized(module) for module in network.modules()):
        raise UsageError(
            f'The network "{name}" has weights computed from other weights (such as spectral '
            "norms), which torch cannot shard. Use `shard=False`."
        )
    return networks


def _running(module: nn.Module) -> list[nn.Module]:
    if type(module).forward is not nn.Module.forward and list(module.parameters()):
        return [module]
    running = []
    for child in module.children():
        running += _running(child)
    return running


TIMEOUT = 120.0  # seconds in which each process answers the others, where no other time is set
LINGER = 5.0  # seconds that a process waits, so that a launcher sees the one that failed first
_LOST = re.compile(r"gloo|NCCL|Connection|[Tt]ime(d |)out|Broken pipe|Socket|recvValue|sendBytes")


class Processes:
    """A single process that trains alone; base class of groups.

    Attributes:
        rank: Number of this process; process 0 writes the run's files.
        count: Number of processes.
        sharded: Whether weights are sharded.
        control: torch.distributed group for data on the CPU; None for the default group.
        words: Description for users; empty for one process.
    """

    rank: int = 0
    count: int = 1
    sharded: bool = False
    control: Any = None
    words: str = ""

    def distribute(self, method: Method) -> Method:
        """Distribute a method's weights over the processes."""
        return method

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Sum tensors over all processes, with equal shapes in each process."""
        return list(tensors)

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace gradients by their sums over all processes."""

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def rows(self, *numbers: float) -> Tensor:
        """Gather the numbers of each process, (processes, numbers), float64."""
        return torch.tensor([numbers], dtype=torch.float64)

    def together(self, seconds: float, stop: int, failed: bool = False) -> tuple[float, int, bool]:
        """Return the mean of a time, the largest signal, and whether any process failed."""
        if self.count == 1:
            return seconds, stop, failed
        values = self.rows(seconds, stop, failed)
        return float(values[:, 0].mean()), int(values[:, 1].max()), bool(values[:, 2].any())

    def any(self, wanted: bool) -> bool:
        return bool(self.rows(wanted).any())

    def first(self, value: Any) -> Any:
        return self.gather(value if self.rank == 0 else None)[0]

    def failure(self, words: str | None) -> str | None:
        """Return the error that every process raises if one has failed, or None."""
        if self.count == 1 or not self.any(words is not None):
            return words
        said = self.gather(words)
        rank = next(rank for rank, text in enumerate(said) if text is not None)
        first = str(said[rank])
        if first.startswith("In process "):
            return first
        return f"In process {rank}: {first}"

    def compare(self, what: Mapping[str, Any]) -> None:
        """Raise an error if processes have different data, versions or settings."""
        first, *others = self.gather(json.loads(json.dumps(what, default=str)))
        for other in others:
            differing = [name for name in first if other[name] != first[name]]
            if differing:
                error = DataError if "data" in differing else UsageError
                raise error(
                    f"The processes of this training run differ in {', '.join(differing)}. Start "
                    "all processes with the same command, versions and files."
                )

    def phase(self, name: str) -> contextlib.AbstractContextManager[None]:
        """Context in which a lost process raises a `GroupError` that names the phase."""
        return contextlib.nullcontext()


class Group(Processes):
    """The processes of torch.distributed's default group.

    References:
        Zhao et al., PyTorch FSDP (2023).
    """

    def __init__(
        self, sharded: bool = False, device: str = "cpu", timeout: float = TIMEOUT
    ) -> None:
        self.sharded = sharded
        self.device = device
        self.timeout = timeout
        self.rank = torch.distributed.get_rank()
        self.count = torch.distributed.get_world_size()
        group = torch.distributed.distributed_c10d._get_default_group()
        backend = group._get_backend(torch.device(device)).name()
        held = "a shard of the" if sharded else "all"
        self.words = f"{self.count} processes, {backend}, {held} weights in each"
        self._networks: list[Any] = []
        # flags, times and texts go over gloo, which notices at once that a process has ended
        if device != "cpu":
            limit = timedelta(seconds=timeout)
            self.control = torch.distributed.new_group(backend="gloo", timeout=limit)

    def distribute(self, method: Method) -> Method:
        if not self.sharded:
            for tensor in method.state_dict().values():
                torch.distributed.broadcast(tensor, 0)
            return method
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        # the layout "channels last" cannot be sharded
        method._apply(lambda tensor: tensor.contiguous())
        mesh = init_device_mesh(self.device, (self.count,))
        _meshes.append(mesh)
        networks: list[Any] = []
        for name, player in method.players.items():
            networks += find_shardable(name, player)
        for network in networks:
            fully_shard(network, mesh=mesh, reshard_after_forward=True)
            # losses are shares of the whole batch's mean, so that gradients add up
            network.set_gradient_divide_factor(1.0)
            network.set_force_sum_reduction_for_comms(True)
            # a gradient penalty passes the network twice, so whole weights stay until the update
            network.set_reshard_after_backward(False)
        self._networks += networks
        return method

    def sum(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        sums = [tensor.detach().clone() for tensor in tensors]
        for dtype in dict.fromkeys(tensor.dtype for tensor in sums):
            _add([tensor for tensor in sums if tensor.dtype == dtype])
        return sums

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        # backward sums the gradients of sharded weights
        for network in self._networks:
            network.reshard()
        _add([p.grad for p in parameters if p.grad is not None and not hasattr(p, "device_mesh")])

    def rows(self, *numbers: float) -> Tensor:
        own = torch.tensor(numbers, dtype=torch.float64)
        rows = [torch.empty_like(own) for _ in range(self.count)]
        torch.distributed.all_gather(rows, own, group=self.control)
        return torch.stack(rows)

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            if (
                not isinstance(error, torch.distributed.DistError)
                and _LOST.search(str(error)) is None
            ):
                raise
            time.sleep(LINGER)
            raise GroupError(
                f"In {name}, another process was lost or did not answer within {self.timeout:g} "
                "seconds (set PUSHFORWARD_TIMEOUT=600 for more time). Saved checkpoints are "
                "intact. Restart all processes with pushforward resume."
            ) from error

    def gather(self, value: Any) -> list[Any]:
        values = [None] * self.count
        torch.distributed.all_gather_object(values, value, group=self.control)
        return values


def _add(tensors: Sequence[Tensor]) -> None:
    if not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    torch.distributed.all_reduce(flat)
    totals = flat.split([tensor.numel() for tensor in tensors])
    for tensor, total in zip(tensors, totals, strict=True):
        tensor.copy_(total.view(tensor.shape))


def join_group(
    device: torch.device | str = "cpu", *, shard: bool = False, devices: int | None = None
) -> Processes:
    """Join the process group in which this process was started, if any."""
    launch = launched()
    place = torch.device(device)
    if devices is not None and devices != launch.count:
        raise UsageError(
            f"Got `devices={devices}`, but {launch.count} processes were started. Python does not "
            f"start processes itself: run the program under torchrun with {devices} processes per "
            "node, and leave out `devices`."
        )
    formed = torch.distributed.is_available() and torch.distributed.is_initialized()
    if not formed and launch.count > 1:
        _form(launch, place)
    if not (formed or launch.count > 1) or torch.distributed.get_world_size() == 1:
        if shard:
            raise UsageError(
                "`shard=True` needs several processes, but there is only one. Start them with "
                "torchrun, or use the command line with `devices=2`."
            )
        return Processes()
    return Group(shard, place.type, _seconds())


_formed_here = False


def _seconds() -> float:
    return Budget.duration(os.environ.get("PUSHFORWARD_TIMEOUT") or TIMEOUT)


def _form(launch: Launch, place: torch.device) -> None:
    global _formed_here
    # imported later, defaults of its functions would hold the group beyond the interpreter's end
    import torch.distributed.nn.functional

    if place.type == "cuda":
        if place.index not in (None, launch.local_rank):
            raise UsageError(
                f"Process {launch.rank} was asked to train on {place}, but each process on a "
                f"machine needs a CUDA device of its own, here cuda:{launch.local_rank}. Use "
                "`device=cuda`."
            )
        torch.cuda.set_device(launch.local_rank)
    elif not any(os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")):
        torch.set_num_threads(max(1, cores() // launch.local_count))
    os.environ |= {"RANK": str(launch.rank), "WORLD_SIZE": str(launch.count)}  # as Slurm does not
    store = None
    address = os.environ["MASTER_ADDR"]
    if os.path.isabs(address):  # a file of this machine: its processes talk by loopback
        store = torch.distributed.FileStore(address)
        loopback = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
        os.environ |= {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    backend = "cpu:gloo,cuda:nccl" if place.type == "cuda" else "gloo"
    seconds = _seconds()
    try:
        limit = timedelta(seconds=seconds)
        torch.distributed.init_process_group(
            backend, store=store, rank=launch.rank, world_size=launch.count, timeout=limit
        )
    except RuntimeError as error:
        raise GroupError(
            f"Process {launch.rank} of {launch.count} did not reach all others at {address} within "
            f"{seconds:g} seconds ({str(error).splitlines()[0][:200]}). Start all processes with "
            "the same address, or set PUSHFORWARD_TIMEOUT=600 for more time."
        ) from error
    _formed_here = True
    atexit.register(leave)  # an error in flight holds what has failed until it is printed


def leave() -> None:
    """Leave the group of `join_group`, so that none of its threads outlives the interpreter."""
    global _formed_here
    if _formed_here and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    _formed_here = False
    while _meshes:  # torch's caches of sharded tensors hold the group by their mesh
        getattr(_meshes.pop(), "_pg_registry", {}).clear()
    gc.collect()  # sharded networks, which refer to themselves, hold the group as well
