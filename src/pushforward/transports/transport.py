"""The interface of all transports, and how samples are drawn: again where they break a constraint, and by several processes."""

from __future__ import annotations

import contextlib
import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from warnings import warn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pushforward.arguments import whole
from pushforward.conditions.kind import Request
from pushforward.data.spaces import Space
from pushforward.denoisers.denoiser import Condition, condition_at
from pushforward.draws import Draws, ExampleDraws
from pushforward.errors import Diverged, UsageError, quoted
from pushforward.numbers import listing
from pushforward.runtime import facts as facts_table

Chunk = tuple[Tensor, Condition]  # Some samples and their condition
BATCH = 256  # Examples that one call of `Transport.sample` holds at a time

# Conditions as a caller gives them, by name or by a column's name: one value for all samples, or one for each
ConditionLike = Mapping[str, float | str | Sequence[float] | Sequence[str] | Tensor] | None


class Transport(nn.Module, ABC):
    """Base class of transports, which map standard normal noise of shape (n, *noise_shape) to data."""

    space: Space
    noise_shape: tuple[int, ...]

    @abstractmethod
    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        """Map noise to data in model units, (n, *shape); differentiable.

        Args:
            z: Standard normal noise (n, *noise_shape).
            condition: None or a dict of tensors with n examples.
            draws: Random numbers for each sample, for stochastic solvers.
        """

    @property
    @abstractmethod
    def calls(self) -> int:
        """Return the number of network evaluations per sample."""

    def noise(self, draws: Draws) -> Tensor:
        """Draw the noise of samples, one for each example of the draws: standard normal, unless the model has another source."""
        return draws.normal(self.noise_shape)

    def facts(self) -> dict[str, str]:
        """Describe the parts of the transport in a few words each, for `repr` and notebooks."""
        kinds = (kind.describe() for kind in self.space.conditions.values())
        data = ", ".join([f"{'x'.join(map(str, self.space.shape))} {self.space.noun}s", *kinds])
        return {"data": data, "parameters": f"{sum(p.numel() for p in self.parameters()):,}"}

    def __repr__(self) -> str:
        facts = self.facts()
        rest = (
            f"{value} {name}" if name == "parameters" else value for name, value in facts.items()
        )
        return f"{type(self).__name__}({', '.join(rest)})"

    def _repr_html_(self) -> str:
        return facts_table(type(self).__name__, self.facts())

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return device_of(self)

    def conditions(self, n: int, condition: ConditionLike, seed: int) -> Condition:
        """Return the conditions of n samples on the transport's device: values and masks by name; None for no conditions.

        Sample i depends only on its request and on ``seed + i``. Missing conditions are drawn with
        the frequencies of the training data; see `pushforward.conditions.Request`.

        Raises:
            UsageError: If a name is unknown, the number of values is not n, or values do not exist.
        """
        values = self._values(n, condition, seed)
        if values is None:
            return None
        return {name: value.to(self.device) for name, value in values.items()}

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
            condition: Conditions, for example ``{"label": 3}``, ``{"label": "cat"}``, ``{"age":
                40}``, or n values in a list or tensor. Missing conditions are drawn with the
                frequencies of the training data.
            seed: Seed of the first sample, any integer.
            batch: Batch size.
            conditions: Further conditions by name, such as ``label=3``.

        Returns:
            Samples (n, *shape), float32: images in [0, 1], vectors in the units of the data.
                Coordinates of table rows are float64 if a column has more values than float32 can
                distinguish.

        Raises:
            UsageError: If numbers or conditions are invalid.
            Diverged: If a sample is not finite, or violates a constraint of the data after all
                attempts.
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
        """Yield the samples of `sample` in batches with their conditions, so that memory stays bounded.

        Raises:
            UsageError: Immediately, if numbers or conditions are invalid.
            Diverged: If a sample is not finite; after the last batch if samples violate a
                constraint of the data after all attempts (`pushforward.transports.transport`), and
                immediately if hardly any satisfies it.
        """
        n = whole("n", n, 0)
        seed = whole("seed", seed)
        batch = whole("batch", batch, 1)
        wanted = self.wanted(n, condition, seed)
        redrawing = Redrawing(self.space, n, seed)
        return redrawing.checked(self._parts(n, wanted, seed, batch, redrawing))

    def _parts(
        self, n: int, wanted: Condition, seed: int, batch: int, redrawing: Redrawing
    ) -> Iterator[Chunk]:
        waiting: list[Part] = []
        for start in range(0, n, batch):
            waiting.append(self._begun(start, min(batch, n - start), wanted, seed, redrawing))
            if start + batch < n and redrawing.undecided:
                continue
            redrawing.finish(waiting, self._drawn)
            yield from ((part.x, part.condition) for part in waiting)
            waiting = []

    def _begun(
        self, start: int, size: int, wanted: Condition, seed: int, redrawing: Redrawing
    ) -> Part:
        given = self.given(start, size, wanted, seed)
        draws = ExampleDraws(seed + start, size, device=self.device)
        return redrawing.begun(self._drawn(given, draws), given, draws)

    def wanted(self, n: int, condition: ConditionLike, seed: int) -> Condition:
        """Return the requested values of conditions for n samples; None if nothing was requested."""
        if condition is None:
            return None
        return self._values(n, condition, seed)

    def _values(self, n: int, condition: ConditionLike, seed: int) -> Condition:
        space = self.space
        return Request(space.conditions, space.names, () if space.names else space.columns).values(
            n, condition, seed
        )

    def read(self, n: int, condition: ConditionLike) -> Condition:
        """Convert conditions of n examples in data units, including class names and texts as in `sample`, to tensors.

        A dict of tensors and None are returned unchanged. Missing conditions are omitted, and not
        drawn.

        Raises:
            UsageError: See `conditions`.
        """
        if condition is None or all(isinstance(value, Tensor) for value in condition.values()):
            return condition  # type: ignore[return-value]
        values = self.conditions(n, condition, 0) or {}
        named = {name: {name, *kind.entries} for name, kind in self.space.conditions.items()}
        return {
            name: value
            for name, value in values.items()
            if named.get(name, {name}) & set(condition)
        }

    def given(self, start: int, size: int, wanted: Condition, seed: int) -> Condition:
        """Return the conditions of some of the samples; see `part`."""
        if wanted is None:
            part = None
        else:
            part = {name: value[start : start + size] for name, value in wanted.items()}
        return self.conditions(size, part, seed + start)

    def part(
        self,
        start: int,
        size: int,
        wanted: Condition,
        seed: int,
        redrawing: Redrawing | None = None,
    ) -> tuple[Tensor, Condition]:
        """Draw some of the samples of `stream`, in data units on the CPU, with their conditions.

        Samples that violate a constraint of the data are drawn again.

        Args:
            start: Number of the first sample.
            size: Number of samples.
            wanted: Conditions of all samples (`wanted`).
            seed: Seed of sample 0.
            redrawing: Counter for the draws of the whole request, checked by its owner; None if
                this part is the whole request.

        Raises:
            Diverged: If a sample is not finite; without ``redrawing``, also if a sample violates a
                constraint after all attempts.
        """
        own = redrawing or Redrawing(self.space, size, seed + start)
        part = self._begun(start, size, wanted, seed, own)
        own.finish([part], self._drawn)
        if redrawing is None:
            own.check()
        return part.x, part.condition

    @torch.no_grad()
    def _drawn(self, condition: Condition, draws: ExampleDraws) -> Tensor:
        x = finite(self(self.noise(draws), condition, draws))
        x = self.space.to_data(x).float().cpu()
        return self.space.finished(x, condition, draws.stream("digits").normal)


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module's weights; the CPU for no weights."""
    held = next(itertools.chain(module.parameters(), module.buffers()), None)
    if held is None:
        return torch.device("cpu")
    return held.device


def as_examples(space: Space, x: Any) -> Tensor:
    """Convert examples to a float tensor (n, *shape).

    Raises:
        UsageError: If the examples have another shape.
    """
    examples = x if isinstance(x, Tensor) else torch.as_tensor(x).float()
    if tuple(examples.shape[1:]) != tuple(space.shape):
        if tuple(examples.shape) == tuple(space.shape):
            hint = " Add a leading dimension to a single example: x[None]."
        else:
            hint = ""
        raise UsageError(
            f"Expected examples of shape (n, {', '.join(map(str, space.shape))}); got {tuple(examples.shape)}.{hint}"
        )
    if examples.is_floating_point():
        return examples
    return examples.float()


def check_transport(model: Any) -> None:
    """Raise an error if the object is not a transport.

    Raises:
        UsageError: With instructions for getting a transport from a run.
    """
    if not isinstance(model, Transport):
        hint = " Use run.transport." if type(model).__name__ == "Run" else ""
        raise UsageError(f"Expected a transport, got a {type(model).__name__}.{hint}")


def finite(x: Tensor) -> Tensor:
    """Return the samples if all are finite.

    Raises:
        Diverged: If a sample is not finite.
    """
    if not bool(x.isfinite().all()):
        bad = int((~x.isfinite().flatten(1).all(1)).sum())
        raise Diverged(
            f"{bad} of {len(x)} samples are not finite: the weights have diverged, or the solver overshoots. Use an "
            "earlier checkpoint, more steps, less guidance, or float32.",
            what=f"{bad} of {len(x)} samples are not finite",
        )
    return x


TURNS = 100  # How often a sample is drawn again at most
MEASURED = 20  # How often at most where a model is measured: one that hardly meets its constraints would cost five times as much
HOPELESS = (
    1000  # A request is given up where none of so many of its first draws meets the constraints
)


@dataclass
class Tally:
    """Numbers of drawn samples, and of samples that violated a constraint.

    Args:
        drawn: Number of draws.
        refused: Number of draws that violated a constraint.
        unmet: Number of samples that violate a constraint after all attempts.
    """

    drawn: int = 0
    refused: int = 0
    unmet: int = 0

    @property
    def share(self) -> float:
        """Return the fraction of draws that were refused, from 0 to 1."""
        return self.refused / max(1, self.drawn)


_tallies: list[Tally] = []
_off: list[bool] = []
_unmet_allowed: list[bool] = []


@contextlib.contextmanager
def counted() -> Iterator[Tally]:
    """Context in which draws are counted if the data has constraints."""
    _tallies.append(Tally())
    try:
        yield _tallies[-1]
    finally:
        _tallies.pop()


@contextlib.contextmanager
def as_drawn() -> Iterator[None]:
    """Context in which samples are not drawn again: a model in training may violate constraints most of the time."""
    _off.append(True)
    try:
        yield
    finally:
        _off.pop()


@contextlib.contextmanager
def unmet_kept() -> Iterator[None]:
    """Context in which samples that violate a constraint after `MEASURED` further attempts are kept.

    So even a bad model is measured unchanged, in bounded time.
    """
    _unmet_allowed.append(True)
    try:
        yield
    finally:
        _unmet_allowed.pop()


@dataclass
class Part:
    """Batch of a request's samples, with the indices of samples that still violate a constraint.

    Args:
        x: Samples, (n, *shape), in data units.
        condition: Conditions of the samples, which are kept.
        draws: Random numbers of the first draw, with the seeds of the samples.
        waiting: Indices of samples that violate a constraint.
    """

    x: Tensor
    condition: Condition
    draws: ExampleDraws
    waiting: NDArray[np.int64]


class Redrawing:
    """Counter and control of the draws of one request for samples, over all batches.

    A request is hopeless if none of its first `HOPELESS` draws satisfies the constraints, in the
    order of rounds and samples, independently of batches. Outside of `unmet_kept` it is then
    stopped; within, each sample gets all attempts.

    Args:
        space: Space of the data.
        n: Number of samples of the request.
        seed: Seed of the first sample.

    Attributes:
        tally: Draws of the request so far.
        unmet: Number of samples so far that violate a constraint after all attempts.
        lost: Number of the first `HOPELESS` draws that violate a constraint.
    """

    def __init__(self, space: Space, n: int, seed: int) -> None:
        self.space = space
        self.n = n
        self.seed = seed
        self.tally = Tally()
        self.unmet = 0
        self.lost = 0
        self._joined = (0, 0, 0, 0)
        self._refused: Tensor | None = None

    @property
    def hopeless(self) -> bool:
        """Return whether the request is stopped."""
        return self.lost >= HOPELESS and not _unmet_allowed

    @property
    def undecided(self) -> bool:
        """Return whether all draws so far violate a constraint, and further first draws may show that the request is hopeless."""
        return (
            0 < self.tally.refused == self.tally.drawn
            and self.lost < HOPELESS
            and not _unmet_allowed
        )

    def begun(self, x: Tensor, condition: Condition, draws: ExampleDraws) -> Part:
        """Record samples as first drawn."""
        valid = None if _off else self.space.valid(x)
        waiting = np.zeros(0, dtype=np.int64) if valid is None else np.flatnonzero(~valid)
        if valid is not None:
            self._drawn(0, [draws.seeds[place] for place in waiting.tolist()], len(valid))
        if len(waiting):
            self._refused = x[waiting]
        return Part(x, condition, draws, waiting)

    def finish(
        self, parts: Sequence[Part], draw: Callable[[Condition, ExampleDraws], Tensor]
    ) -> None:
        """Redraw samples that violate a constraint, in place, at most `TURNS` times (`MEASURED` within `unmet_kept`).

        The r-th draw of a sample depends only on its seed and r.

        Args:
            parts: Parts, in the order of their samples.
            draw: Function (condition, draws) -> samples in data units.
        """
        for turn in range(1, (min(TURNS, MEASURED) if _unmet_allowed else TURNS) + 1):
            for part in parts:
                if self.hopeless:
                    break
                if len(part.waiting):
                    self._again(part, turn, draw)
        self._count_unmet(sum(len(part.waiting) for part in parts))

    def _again(
        self, part: Part, turn: int, draw: Callable[[Condition, ExampleDraws], Tensor]
    ) -> None:
        waiting = part.waiting
        draws = part.draws
        seeds = [draws.seeds[place] for place in waiting.tolist()]
        condition = condition_at(part.condition, waiting)
        again = draw(
            condition, ExampleDraws(seeds, name=f"{draws.name}/again {turn}", device=draws.device)
        )
        part.x[waiting] = again
        valid: Any = self.space.valid(again)
        self._drawn(
            turn,
            [seed for seed, met in zip(seeds, valid.tolist(), strict=True) if not met],
            len(valid),
        )
        part.waiting = waiting[~valid]
        if len(part.waiting):
            self._refused = again[~valid]

    def join(self, summed: Callable[[Sequence[int]], Sequence[int]]) -> None:
        """Add the draws of other processes for the same request since the last call."""
        now = (self.tally.drawn, self.tally.refused, self.unmet, self.lost)
        own = [new - old for new, old in zip(now, self._joined, strict=True)]
        drawn, refused, unmet, lost = (
            total - part for total, part in zip(summed(own), own, strict=True)
        )
        self._count(drawn, refused)
        self._count_unmet(unmet)
        self.lost += lost
        self._joined = (self.tally.drawn, self.tally.refused, self.unmet, self.lost)

    def checked(self, parts: Iterator[Chunk]) -> Iterator[Chunk]:
        """Yield the parts of all samples, then `check`; stop immediately if the request is hopeless."""
        for part in parts:
            if self.hopeless:
                self.check()
            yield part
        self.check()

    def check(self) -> None:
        """Raise an error if samples of the request still violate a constraint.

        Raises:
            Diverged: With the number of such samples, outside of `unmet_kept`.
        """
        if self.hopeless:
            drawn = self.tally.drawn
            refused = self.tally.refused
            raise self._given_up(
                f"{drawn - refused:,} of {drawn:,} generated rows satisfy {named_constraints(self.space, every=True)}"
            )
        if self.unmet and not _unmet_allowed:
            raise self._given_up(_broken(self.space, self.unmet, self.n, TURNS))

    def _given_up(self, what: str) -> Diverged:
        broken = [] if self._refused is None else _broken_by(self.space, self._refused)
        several = len(getattr(self.space, "constraints", ())) > 1
        what += (
            f"; rows violate {listing(quoted(each.text) for each in broken)}"
            if several and broken
            else ""
        )
        advice = "Train for longer, or without this constraint. For an equation, leave out one column and compute it from the others."
        return Diverged(f"{what}. {advice}", what=what)

    def _drawn(self, turn: int, refused: Sequence[int], drawn: int) -> None:
        self._count(drawn, len(refused))
        self.lost += sum(turn * self.n + seed - self.seed < HOPELESS for seed in refused)

    def _count(self, drawn: int, refused: int) -> None:
        for tally in (self.tally, *_tallies):
            tally.drawn += drawn
            tally.refused += refused

    def _count_unmet(self, unmet: int) -> None:
        self.unmet += unmet
        for tally in _tallies:
            tally.unmet += unmet


def warn_between(space: Space, x: Tensor) -> None:
    """Warn if points between two seeds, in data units, violate a constraint: such points cannot be drawn again."""
    valid = space.valid(x)
    if valid is None or valid.all():
        return
    texts = listing(quoted(constraint.text) for constraint in _broken_by(space, x))
    warn(
        f"{int((~valid).sum()):,} of {len(valid):,} points violate {texts}. Points between two seeds cannot be "
        "generated again, so they are written unchanged.",
        stacklevel=2,
    )


def warn_broken(space: Space, x: Tensor) -> None:
    """Warn if samples in data units still violate a constraint."""
    valid = space.valid(x)
    if valid is not None and not valid.all():
        warn(
            f"{_broken(space, int((~valid).sum()), len(valid), MEASURED)}. They are scored unchanged.",
            stacklevel=2,
        )


def named_constraints(space: Space, every: bool = False) -> str:
    """Describe the constraint of a space; for several constraints, one constraint or ``every`` one."""
    constraints: Sequence[Any] = getattr(space, "constraints", ())
    if len(constraints) == 1:
        return f"the constraint {quoted(constraints[0].text)}"
    if every:
        return f"all {len(constraints)} constraints of the model"
    return f"one of {len(constraints)} constraints"


def _broken_by(space: Space, x: Tensor) -> list[Any]:
    constraints = getattr(space, "constraints", ())
    broken = []
    for each in constraints:
        single = replace(space, constraints=(each,))  # type: ignore[type-var]
        if not np.all(single.valid(x)):
            broken.append(each)
    return broken


def _broken(space: Space, broken: int, n: int, turns: int) -> str:
    return f"{broken:,} of {n:,} samples do not satisfy {named_constraints(space, every=True)} after {turns} further attempts each"


_active: list[bool] = []


@contextlib.contextmanager
def spreading() -> Iterator[None]:
    """Context in which `shared_stream` shares its work among the processes of torch.distributed's default group.

    Every process requests the same samples in the same order.
    """
    _active.append(torch.distributed.is_available() and torch.distributed.is_initialized())
    try:
        yield
    finally:
        _active.pop()


def writes_samples() -> bool:
    """Return whether this process writes the samples of all processes: only the first process does."""
    return not (_active and _active[-1]) or torch.distributed.get_rank() == 0


def shared_stream(
    transport: Transport,
    n: int,
    condition: ConditionLike = None,
    *,
    seed: int = 0,
    batch: int = BATCH,
) -> Iterator[Chunk]:
    """Yield the samples of `Transport.stream`; within `spreading`, each process computes some parts and receives the others.

    Sample i depends only on ``seed + i``, whichever process computes it.
    """
    if not (_active and _active[-1]):
        return transport.stream(n, condition, seed=seed, batch=batch)
    count = torch.distributed.get_world_size()
    torch.distributed.barrier()  # all have checked what they were given before the first one writes
    redrawing = Redrawing(transport.space, n, seed)
    batch = max(1, min(batch, math.ceil(n / count)))
    return redrawing.checked(
        _shared(transport, n, transport.wanted(n, condition, seed), seed, batch, redrawing)
    )


def _shared(
    transport: Transport, n: int, wanted: Condition, seed: int, batch: int, redrawing: Redrawing
) -> Iterator[Chunk]:
    rank = torch.distributed.get_rank()
    count = torch.distributed.get_world_size()
    starts = range(0, n, batch)
    for turn in range(0, len(starts), count):
        parts = [(start, min(batch, n - start)) for start in starts[turn : turn + count]]
        if rank < len(parts):
            own = transport.part(*parts[rank], wanted, seed, redrawing)[0]
        else:
            own = None
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
