"""Samples that several processes compute together: each its parts, all of which every process gets."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pushforward.denoisers import Condition
from pushforward.transports.rejection import Redrawing
from pushforward.transports.transport import BATCH, ConditionLike, Transport

_active: list[bool] = []


@contextlib.contextmanager
def spreading() -> Iterator[None]:
    """within this context `shared_stream` shares its work among the processes of torch.distributed's default group.

    Each of them asks for the same samples in the same order.
    """
    _active.append(torch.distributed.is_available() and torch.distributed.is_initialized())
    try:
        yield
    finally:
        _active.pop()


def writes_samples() -> bool:
    """Whether this process writes what all of them have drawn: the first one does."""
    return not (_active and _active[-1]) or torch.distributed.get_rank() == 0


def shared_stream(
    transport: Transport, n: int, condition: ConditionLike = None, *, seed: int = 0, batch: int = BATCH
) -> Iterator[tuple[Tensor, Condition]]:
    """The samples of `Transport.stream`; within `spreading` each process computes some parts and receives the others.

    Sample i comes from ``seed + i`` alone, whichever process computes it.
    """
    if not (_active and _active[-1]):
        return transport.stream(n, condition, seed=seed, batch=batch)
    count = torch.distributed.get_world_size()
    torch.distributed.barrier()  # all have checked what they were given before the first one writes
    redrawing = Redrawing(transport.space, n, seed)
    batch = max(1, min(batch, math.ceil(n / count)))
    return redrawing.checked(_shared(transport, n, transport.wanted(n, condition, seed), seed, batch, redrawing))


def _shared(
    transport: Transport, n: int, wanted: Condition, seed: int, batch: int, redrawing: Redrawing
) -> Iterator[tuple[Tensor, Condition]]:
    rank, count = torch.distributed.get_rank(), torch.distributed.get_world_size()
    starts = range(0, n, batch)
    for turn in range(0, len(starts), count):
        parts = [(start, min(batch, n - start)) for start in starts[turn : turn + count]]
        own = transport.part(*parts[rank], wanted, seed, redrawing)[0] if rank < len(parts) else None
        redrawing.join(_summed)
        for source, (start, size) in enumerate(parts):
            empty = torch.empty(size, *transport.space.shape, dtype=transport.space.precision)
            x = own if own is not None and source == rank else empty
            torch.distributed.broadcast(x, source)
            yield x, transport.given(start, size, wanted, seed)


def _summed(counts: Sequence[int]) -> list[int]:
    total = torch.tensor(counts, dtype=torch.int64)
    torch.distributed.all_reduce(total)
    return [int(count) for count in total]
