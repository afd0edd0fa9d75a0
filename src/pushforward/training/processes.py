"""The processes that train one model together: their sums, and where the weights are."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from pushforward.errors import DataError, GroupError, UsageError
from pushforward.methods.method import Method
from pushforward.training.agreement import Board
from pushforward.training.channel import Channel
from pushforward.training.checkpoint.tensors import local
from pushforward.training.sharding import shard

__all__ = ["TIMEOUT", "Group", "Processes"]

TIMEOUT = 120.0
"""Seconds in which each process answers the others, where no other time is set."""
ALIKE = 1000
"""Steps after which several processes compare their weights, bit by bit."""
_groups = itertools.count()
"""Groups of one process do not share the names in their store."""


class Processes:
    """One process, which trains by itself; the base of others.

    Attributes:
        rank: The number of this process; the first one, 0, writes the run's files.
        count: How many there are. Each computes the same share of every batch.
        sharded: Whether each holds a share of the weights.
        control: Their group of torch.distributed for what is no tensor; None for the default one, or where there is none.
        saving: Their channel for what is written beside training; its first use must be the same for all processes.
        words: How many, by which backend of torch.distributed, and where the weights are; empty for one process.
    """

    rank: int = 0
    count: int = 1
    sharded: bool = False
    control: Any = None
    saving: Any = None
    words: str = ""

    def distribute(self, method: Method) -> Method:
        """Bring a method's weights to where the processes keep them; the method itself, or one in its place."""
        return method

    def added(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums of tensors over all processes; each process gives as many of the same shapes."""
        return list(tensors)

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace gradients by their sums over all processes."""

    def together(self, seconds: float, stop: int, failed: bool = False) -> tuple[float, int, bool]:
        """The mean of a time over all processes, the largest number (of a signal), and whether any has failed."""
        return seconds, stop, failed

    def agreed(self, wanted: bool) -> bool:
        """Whether any process wants something, so that all do it."""
        return wanted

    @contextlib.contextmanager
    def phase(self, name: str, *, ends_together: bool = False) -> Iterator[None]:
        """Within this context an error of one process is raised by all of them.

        Args:
            name: What is done, for messages: "In NAME another process was lost".
            ends_together: Whether each process waits at the end until all have come so far.
        """
        yield

    def failure(self, words: str | None) -> str | None:
        """What every process raises where one has failed: the words of the first one that has; None where none has."""
        return words

    def gathered(self, value: Any) -> list[Any]:
        """A value of JSON from each process, in their order; numbers of torch and numpy become those of Python."""
        return [value]

    def first(self, value: Any) -> Any:
        """The value of JSON that the first process gives."""
        return value

    def compare(self, what: Mapping[str, Any]) -> None:
        """Refuse processes that were started with different data, versions or settings.

        Args:
            what: What must be equal, JSON by name.
        """

    def check_equal(self, method: Method, step: int) -> None:
        """Compare the weights that every process holds whole, bit by bit, once in `ALIKE` steps."""


class Group(Processes):
    """The processes of torch.distributed's default group.

    Args:
        sharded: Whether each holds a share of the weights (`torch.distributed.fsdp.fully_shard`) or all of them.
        device: Where they train, "cpu" or "cuda".
        timeout: Seconds in which each process answers the others; those of the group, for messages.
        owned: Whether it leaves torch's group after an error, so that the others notice at once.

    References:
        Zhao et al., PyTorch FSDP (2023); here in the form of one sharded tensor for each parameter.
    """

    def __init__(self, sharded: bool = False, device: str = "cpu", timeout: float = TIMEOUT, owned: bool = False) -> None:
        self.sharded, self.device, self.timeout, self.owned = sharded, device, timeout, owned
        self.rank, self.count = torch.distributed.get_rank(), torch.distributed.get_world_size()
        backend = torch.distributed.distributed_c10d._get_default_group()._get_backend(torch.device(device)).name()
        self.words = f"{self.count} processes, {backend}, {'a share of the' if sharded else 'all'} weights in each"
        self._networks: list[Any] = []
        # flags, times and texts are exchanged by the processors, which notice at once that a process has ended
        self.control = self._gloo() if device != "cpu" else None
        # the store by which the processes have found each other
        store = torch.distributed.PrefixStore("pushforward", torch.distributed.distributed_c10d._get_default_store())
        self._store = torch.distributed.PrefixStore(f"group/{next(_groups)}", store)
        # a process may fail before it has come to the group that another one is in; a user's processes may go on after an error
        self._board = Board(store if owned else self._store, self.rank, self.count)
        self._where = ""
        self._failure: Exception | None = None
        self._channel = Channel(self._store, self.control)

    def distribute(self, method: Method) -> Method:
        """Shard the network of each player, or take the weights of the first process for all."""
        if self.sharded:
            self._networks += shard(method, self.device, self.count)
            return method
        for tensor in method.state_dict().values():
            torch.distributed.broadcast(tensor, 0)
        return method

    def added(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The sums of tensors over all processes."""
        sums = [tensor.detach().clone() for tensor in tensors]
        for dtype in dict.fromkeys(tensor.dtype for tensor in sums):
            _add([tensor for tensor in sums if tensor.dtype == dtype])
        return sums

    def add_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Add up gradients; those of sharded weights are added up as they are computed, and their whole weights are dropped."""
        for network in self._networks:
            network.reshard()
        _add([p.grad for p in parameters if p.grad is not None and not hasattr(p, "device_mesh")])

    def together(self, seconds: float, stop: int, failed: bool = False) -> tuple[float, int, bool]:
        """The mean of a time over all processes, the largest number, and whether any has failed; the same in each."""
        values = self._channel.rows([seconds, stop, failed], torch.float64)
        return float(values[:, 0].mean()), int(values[:, 1].max()), bool(values[:, 2].any())

    def agreed(self, wanted: bool) -> bool:
        """Whether any process wants something."""
        return bool(self._channel.rows([int(wanted)]).any())

    @cached_property
    def saving(self) -> Channel:  # type: ignore[override]
        """A channel of its own, so that a thread can write while the main one trains."""
        return Channel(torch.distributed.PrefixStore("saving", self._store), self._gloo())

    def _gloo(self) -> Any:
        """A further group of these processes, with the time of this one."""
        return torch.distributed.new_group(backend="gloo", timeout=datetime.timedelta(seconds=self.timeout))

    @contextlib.contextmanager
    def phase(self, name: str, *, ends_together: bool = False) -> Iterator[None]:
        """Within this context an error of one process is raised by all of them, with the same exit code.

        Raises:
            GroupError: If another process is lost, naming the phase.
        """
        outer, self._where = self._where, name
        try:
            yield
            if ends_together:
                self._channel.rows([0])
        except Exception as error:
            failure = self._settled(error)
            if failure is error:
                raise
            raise failure from error
        finally:
            self._where = outer

    def _settled(self, error: Exception) -> Exception:
        """The error of all processes, which is settled once: in the innermost phase."""
        if self._failure is None:
            self._failure = self._board.settled(error, self._where, self.timeout, self._leave)
        return self._failure

    def _leave(self) -> None:
        """End this process's connections, so that the others do not wait for it, and what its thread exchanges with theirs."""
        if "saving" in self.__dict__:
            self.saving.left = True
        if self.owned and torch.distributed.is_initialized():
            with contextlib.suppress(RuntimeError):
                if self.device == "cuda":  # what waits for another process would never end
                    torch.distributed.distributed_c10d._abort_process_group()
                else:
                    torch.distributed.destroy_process_group()

    def failure(self, words: str | None) -> str | None:
        """What every process raises where one has failed, with the number of that process."""
        return self._channel.failure(words)

    def gathered(self, value: Any) -> list[Any]:
        """A value of JSON from each process, in their order."""
        return self._channel.gathered(value)

    def first(self, value: Any) -> Any:
        """The value of JSON that the first process gives."""
        return self._channel.first(value)

    def compare(self, what: Mapping[str, Any]) -> None:
        """Refuse processes that were started with different data, versions or settings.

        Raises:
            DataError: If the data differs.
            UsageError: If anything else does, naming it and both values.
        """
        each = self.gathered({name: _short(value) for name, value in what.items()})
        for name, value in each[0].items():
            rank = next((rank for rank, other in enumerate(each) if other.get(name) != value), None)
            if rank is not None:
                raise (DataError if name == "data" else UsageError)(
                    f"The processes of this training differ in {name}: process 0 has {value}, process {rank} has "
                    f"{each[rank].get(name)}. Start all of them with the same command, versions and files."
                )

    def check_equal(self, method: Method, step: int) -> None:
        """Compare the weights that every process holds whole, bit by bit, once in `ALIKE` steps; shares are left out.

        Raises:
            GroupError: If they differ, naming a process.
        """
        if step % ALIKE:
            return
        numbers = [_bits(local(tensor)) for tensor in method.state_dict().values() if not hasattr(tensor, "device_mesh")]
        rows = self._channel.rows(numbers) if numbers else torch.zeros(1, 0)
        wrong = (rows != rows[:1]).any(1).nonzero()
        if len(wrong):
            raise GroupError(
                f"At step {step:,} the weights of process {int(wrong[0])} are no longer those of process 0, although both have "
                "made the same steps: a device or its memory computes wrongly, or the machines run different versions. Go on "
                "from the last checkpoint on other machines: pushforward resume RUN."
            )


def _short(value: Any) -> Any:
    """A value for comparison: as it is where it is short, else its hash."""
    text = json.dumps(value, sort_keys=True, default=str)
    return value if len(text) <= 80 else hashlib.sha256(text.encode()).hexdigest()[:16]


def _bits(tensor: Tensor) -> int:
    """A number that changes with any bit of a tensor."""
    size = tensor.element_size()
    kind = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[size]
    words = tensor.detach().contiguous().view(-1).view(kind).to(torch.int64)
    # an odd factor for each place, so that exchanged values count
    factors = torch.arange(1, 2 * len(words), 2, device=words.device)
    return int((words * factors).sum())


def _add(tensors: Sequence[Tensor]) -> None:
    """Add up tensors of one type over all processes, in place and at once."""
    if not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    torch.distributed.all_reduce(flat)
    for tensor, total in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(total.view(tensor.shape))
