"""The interface of all transports, which map noise to data."""

from __future__ import annotations

import contextlib
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, distributed, nn

from pushforward.arguments import BATCH, whole
from pushforward.conditions.kind import Request
from pushforward.data.spaces import Space
from pushforward.denoisers.denoiser import Condition, condition_at, condition_on
from pushforward.draws import Draws, ExampleDraws
from pushforward.errors import Diverged, UsageError
from pushforward.runtime import facts as facts_table
from pushforward.transports.redrawing import Chunk, RejectionSampler

# Conditions as users give them, by name or column: one value for all samples, or one for each
ConditionLike = Mapping[str, float | str | Sequence[float] | Sequence[str] | Tensor] | None


class Transport(nn.Module, ABC):
    """Base class of transports, which map standard normal noise (n, *noise_shape) to data."""

    space: Space
    noise_shape: tuple[int, ...]

    @abstractmethod
    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Map noise (n, *noise_shape) to data in model units, (n, *shape); differentiable.

        ``draws`` are random numbers for each sample, for stochastic solvers.
        """

    @property
    @abstractmethod
    def calls(self) -> int:
        """Return the number of network evaluations per sample."""

    def noise(self, draws: Draws) -> Tensor:
        """Draw the noise of samples: standard normal, unless the model has another source."""
        return draws.normal(self.noise_shape)

    def facts(self) -> dict[str, str]:
        """Describe the parts of the transport in a few words each."""
        parameters = sum(parameter.numel() for parameter in self.parameters())
        return {
            "data": f"{self.space.noun}s of {self.space.shape}",
            "weights": f"{parameters:,} parameters",
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(self.facts().values())})"

    def _repr_html_(self) -> str:
        return facts_table(type(self).__name__, self.facts())

    @property
    def device(self) -> torch.device:
        return device_of(self)

    def conditions(self, n: int, condition: ConditionLike, seed: int) -> Condition:
        """Return the conditions of n samples, values and masks by name.

        Missing conditions are drawn with the frequencies of the training data.

        Raises:
            UsageError: If a name is unknown, the number of values is not n, or values do not exist.
        """
        space = self.space
        sampled = space.names or space.columns
        values = Request(space.conditions, sampled).values(n, condition, seed)
        return condition_on(values, self.device)

    def sample(
        self,
        n: int,
        condition: ConditionLike = None,
        *,
        seed: int = 0,
        batch: int = BATCH,
        **conditions: Any,
    ) -> Tensor:
        """Draw new samples in data units, on the CPU; sample i depends only on ``seed + i``.

        Args:
            n: Number of samples.
            condition: Conditions, for example ``{"label": "cat"}``, or n values in a list or
                tensor. Missing conditions are drawn with the frequencies of the training data.
            seed: Seed of the first sample, any integer.
            batch: Batch size.
            conditions: Further conditions by name, such as ``label=3``.

        Returns:
            Samples (n, *shape): images in [0, 1], vectors in the units of the data.

        Raises:
            UsageError: If numbers or conditions are invalid.
            Diverged: If a sample is not finite, or violates a constraint after all attempts.
        """
        if conditions:
            condition = {**(condition or {}), **conditions}
        parts = [x for x, _ in self.stream(n, condition, seed=seed, batch=batch)]
        if parts:
            return torch.cat(parts)
        return torch.empty(0, *self.space.shape, dtype=self.space.precision)

    def stream(
        self, n: int, condition: ConditionLike = None, *, seed: int = 0, batch: int = BATCH
    ) -> Iterator[Chunk]:
        """Yield the samples of `sample` in batches with their conditions.

        Invalid arguments fail immediately; violated constraints after the last batch, or when
        hardly any sample satisfies them.
        """
        n = whole("n", n, 0)
        seed = whole("seed", seed)
        batch = whole("batch", batch, 1)
        wanted = self.wanted(n, condition, seed)
        redrawing = RejectionSampler(self.space, n)
        parts = (
            self.part(start, min(batch, n - start), wanted, seed, redrawing)
            for start in range(0, n, batch)
        )
        return redrawing.checked(parts)

    def wanted(self, n: int, condition: ConditionLike, seed: int) -> Condition:
        """Return the requested conditions of n samples; None if nothing was requested."""
        if condition is None:
            return None
        return self.conditions(n, condition, seed)

    def read(self, n: int, condition: ConditionLike) -> Condition:
        """Convert conditions of n examples, as in `sample`, to tensors."""
        if condition is None or all(isinstance(value, Tensor) for value in condition.values()):
            return condition  # type: ignore[return-value]
        given = {}
        for name, value in (self.conditions(n, condition, 0) or {}).items():
            names = {name}
            if name in self.space.conditions:
                names.update(self.space.conditions[name].entries)
            if not names.isdisjoint(condition):
                given[name] = value
        return given

    def given(self, start: int, size: int, wanted: Condition, seed: int) -> Condition:
        """Return the conditions of some of the samples; see `part`."""
        part = condition_at(wanted, slice(start, start + size))
        return self.conditions(size, part, seed + start)

    def part(
        self,
        start: int,
        size: int,
        wanted: Condition,
        seed: int,
        redrawing: RejectionSampler | None = None,
    ) -> Chunk:
        """Draw samples ``start`` to ``start + size`` of `stream`, with their conditions.

        ``redrawing`` counts the draws of the whole request; None if this is all of it.
        """
        own = redrawing or RejectionSampler(self.space, size)
        condition = self.given(start, size, wanted, seed)
        draws = ExampleDraws(seed + start, size, device=self.device)
        x = own.drawn(self._drawn, condition, draws)
        if redrawing is None:
            own.check()
        return x, condition

    @torch.no_grad()
    def _drawn(self, condition: Condition, draws: ExampleDraws) -> Tensor:
        x = finite(self(self.noise(draws), condition, draws))
        x = self.space.to_data(x).float().cpu()
        return self.space.finished(x, condition, draws.stream("digits").normal)


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's weights; the CPU for no weights."""
    for tensor in itertools.chain(module.parameters(), module.buffers()):
        return tensor.device
    return torch.device("cpu")


def as_examples(space: Space, x: Any) -> Tensor:
    """Convert examples to a float tensor (n, *shape), or raise a `UsageError`."""
    examples = torch.as_tensor(x)
    if examples.shape[1:] != torch.Size(space.shape):
        wanted = ("n", *space.shape)
        raise UsageError(
            f"Expected examples of shape {wanted}; got {tuple(examples.shape)}. For one example, "
            "use x[None]."
        )
    if isinstance(x, Tensor) and examples.is_floating_point():
        return examples
    return examples.float()


def check_transport(model: Any) -> None:
    """Raise a `UsageError` if the object is not a transport."""
    if not isinstance(model, Transport):
        raise UsageError(f"Expected a transport (run.transport), got a {type(model).__name__}.")


def finite(x: Tensor) -> Tensor:
    """Return the samples, or raise `Diverged` if a sample is not finite."""
    if x.isfinite().all():
        return x
    bad = int((~x.isfinite().flatten(1).all(1)).sum())
    what = f"{bad} of {len(x)} samples are not finite"
    raise Diverged(
        f"{what}: the weights have diverged, or the solver overshoots. Use an earlier checkpoint, "
        "more steps, less guidance, or float32.",
        what=what,
    )


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
        own = None
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
