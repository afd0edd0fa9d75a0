"""Sampling shared by several processes: each computes some parts and receives the others."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, distributed

from pushforward.denoisers.denoiser import Condition
from pushforward.transports.redrawing import Chunk, RejectionSampler
from pushforward.transports.transport import BATCH, ConditionLike, Transport

_active: list[bool] = []


@contextlib.contextmanager
def spreading() -> Iterator[None]:
    """Context in which `shared_stream` shares its work among torch.distributed's default group.

    Every process requests the same samples in the same order.
    """
    _active.append(distributed.is_available() and distributed.is_initialized())
    try:
        yield
    finally:
        _active.pop()


def _spreads() -> bool:
    return bool(_active) and _active[-1]


def writes_samples() -> bool:
    """Return whether this process writes the samples: only the first of several does."""
    return not _spreads() or distributed.get_rank() == 0


def shared_stream(
    transport: Transport,
    n: int,
    condition: ConditionLike = None,
    *,
    seed: int = 0,
    batch: int = BATCH,
) -> Iterator[Chunk]:
    """Yield the samples of `Transport.stream`, shared by the processes within `spreading`."""
    if not _spreads():
        return transport.stream(n, condition, seed=seed, batch=batch)
    distributed.barrier()  # all have checked their arguments before the first one writes
    redrawing = RejectionSampler(transport.space, n)
    batch = max(1, min(batch, math.ceil(n / distributed.get_world_size())))
    wanted = transport.wanted(n, condition, seed)
    return redrawing.checked(_shared(transport, n, wanted, seed, batch, redrawing))


def _shared(
    transport: Transport,
    n: int,
    wanted: Condition,
    seed: int,
    batch: int,
    redrawing: RejectionSampler,
) -> Iterator[Chunk]:
    rank = distributed.get_rank()
    count = distributed.get_world_size()
    space = transport.space
    for first in range(0, n, batch * count):
        starts = range(first, min(n, first + batch * count), batch)
        own: Tensor | None = None
        if rank < len(starts):
            start = starts[rank]
            own, _ = transport.part(start, min(batch, n - start), wanted, seed, redrawing)
        redrawing.join(_summed)
        for source, start in enumerate(starts):
            size = min(batch, n - start)
            if own is not None and source == rank:
                x = own
            else:
                x = torch.empty(size, *space.shape, dtype=space.precision)
            distributed.broadcast(x, source)
            yield x, transport.given(start, size, wanted, seed)


def _summed(counts: Sequence[int]) -> list[int]:
    total = torch.tensor(counts, dtype=torch.int64)
    distributed.all_reduce(total)
    return [int(count) for count in total]
