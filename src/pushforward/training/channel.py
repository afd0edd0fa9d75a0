"""Small values that the processes of a training exchange beside its tensors: numbers, flags, and values of JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pushforward.errors import GroupError

__all__ = ["Channel"]


class Channel:
    """Exchanges values between all processes of a training; every process makes the same calls in the same order.

    Two channels of different groups may be used at the same time, by different threads.

    Args:
        store: Of torch.distributed, whose names no other channel uses.
        group: A group of torch.distributed for the CPU; None for the default one.

    Attributes:
        rank: The number of this process.
        count: How many processes there are.
        left: Whether this process has left the others after an error: it exchanges nothing more.
    """

    def __init__(self, store: Any, group: Any = None) -> None:
        self._store, self.group = store, group
        self.rank, self.count = torch.distributed.get_rank(), torch.distributed.get_world_size()
        self.left = False
        self._exchanges = itertools.count()

    def rows(self, numbers: Sequence[float], dtype: torch.dtype = torch.int64) -> Tensor:
        """The numbers of all processes, (processes, numbers).

        Raises:
            GroupError: If this process has left the others.
        """
        if self.left:
            raise GroupError("This process has left the others of its training after an error.")
        own = torch.tensor(numbers, dtype=dtype)
        rows = [torch.empty_like(own) for _ in range(self.count)]
        torch.distributed.all_gather(rows, own, group=self.group)
        return torch.stack(rows)

    def gathered(self, value: Any) -> list[Any]:
        """A value of JSON from each process, in their order; numbers of torch and numpy become those of Python."""
        number = next(self._exchanges)
        self._store.set(f"{number}/{self.rank}", json.dumps(value, default=float))
        self.rows([0])
        return [json.loads(self._store.get(f"{number}/{rank}")) for rank in range(self.count)]

    def failure(self, words: str | None) -> str | None:
        """The words of the first process that has failed, with its number once; None where each process gives None."""
        if not self.rows([words is not None]).any():
            return None
        each = self.gathered(words)
        rank = next(rank for rank, said in enumerate(each) if said is not None)
        return str(each[rank]) if each[rank].startswith("In process ") else f"In process {rank}: {each[rank]}"

    def first(self, value: Any) -> Any:
        """The value of JSON that the first process gives."""
        return self.gathered(value if self.rank == 0 else None)[0]
