"""Redrawing of samples that violate a constraint of the data, and the counts of such draws."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from warnings import warn

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pushforward.data.spaces import Space
from pushforward.denoisers.denoiser import Condition, condition_at
from pushforward.draws import ExampleDraws
from pushforward.errors import Diverged, quoted
from pushforward.numbers import listing

Chunk = tuple[Tensor, Condition]  # some samples and their conditions
Draw = Callable[[Condition, ExampleDraws], Tensor]

TURNS = 100  # further draws of a sample at most
MEASURED = 20  # further draws at most if a model is measured, so that bad models cost bounded time
HOPELESS = 1000  # a request stops if none of its first 1,000 draws satisfies the constraints


@dataclass
class Tally:
    """Numbers of draws, refused draws, and samples that violate a constraint after all attempts."""

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
def _pushed(stack: list[Any], value: Any) -> Iterator[None]:
    stack.append(value)
    try:
        yield
    finally:
        stack.pop()


@contextlib.contextmanager
def counted() -> Iterator[Tally]:
    """Context in which draws are counted if the data has constraints."""
    tally = Tally()
    with _pushed(_tallies, tally):
        yield tally


@contextlib.contextmanager
def without_rejection() -> Iterator[None]:
    """Context in which samples are not drawn again, as for a model in training."""
    with _pushed(_off, True):
        yield


@contextlib.contextmanager
def unmet_kept() -> Iterator[None]:
    """Context in which samples that still violate a constraint are kept, to be measured."""
    with _pushed(_unmet_allowed, True):
        yield


@dataclass
class Part:
    """Batch of a request's samples, with the indices of samples that still violate a constraint."""

    x: Tensor
    condition: Condition
    draws: ExampleDraws
    waiting: NDArray[np.int64]

    @property
    def seeds(self) -> list[int]:
        """Return the seeds of the waiting samples."""
        return [self.draws.seeds[place] for place in self.waiting.tolist()]


class RejectionSampler:
    """Counter and control of the draws of one request for n samples, over all batches.

    A request is hopeless, and stopped outside of `unmet_kept`, if none of its first `HOPELESS`
    draws
    satisfies the constraints.

    Attributes:
        tally: Draws of the request so far.
        lost: Number of the first `HOPELESS` draws that violate a constraint.
    """

    def __init__(self, space: Space, n: int, seed: int) -> None:
        self.space = space
        self.n = n
        self.seed = seed
        self.tally = Tally()
        self.lost = 0
        self._joined = [0, 0, 0, 0]
        self._refused: Tensor | None = None

    @property
    def hopeless(self) -> bool:
        """Return whether the request is stopped."""
        return self.lost >= HOPELESS and not _unmet_allowed

    @property
    def undecided(self) -> bool:
        """Return whether further first draws may show that the request is hopeless."""
        none_met = 0 < self.tally.refused == self.tally.drawn
        return none_met and self.lost < HOPELESS and not _unmet_allowed

    def begun(self, x: Tensor, condition: Condition, draws: ExampleDraws) -> Part:
        """Record samples as first drawn."""
        part = Part(x, condition, draws, np.zeros(0, dtype=np.int64))
        valid = None if _off else self.space.valid(x)
        if valid is not None:
            part.waiting = np.flatnonzero(~valid)
            self._record(0, part.seeds, x[part.waiting], len(valid))
        return part

    def finish(self, parts: Sequence[Part], draw: Draw) -> None:
        """Redraw samples that violate a constraint, in place, with ``draw(condition, draws)``.

        The r-th draw of a sample depends only on its seed and r.
        """
        turns = min(TURNS, MEASURED) if _unmet_allowed else TURNS
        for turn in range(1, turns + 1):
            for part in parts:
                if self.hopeless:
                    break
                if len(part.waiting):
                    self._redraw(part, turn, draw)
        self._count(unmet=sum(len(part.waiting) for part in parts))

    def _redraw(self, part: Part, turn: int, draw: Draw) -> None:
        waiting = part.waiting
        name = f"{part.draws.name}/again {turn}"
        draws = ExampleDraws(part.seeds, name=name, device=part.draws.device)
        x = draw(condition_at(part.condition, waiting), draws)
        part.x[waiting] = x
        valid: Any = self.space.valid(x)
        part.waiting = waiting[~valid]
        self._record(turn, part.seeds, x[~valid], len(valid))

    def _record(self, turn: int, seeds: Sequence[int], refused: Tensor, drawn: int) -> None:
        self._count(drawn=drawn, refused=len(seeds))
        for seed in seeds:
            number = turn * self.n + seed - self.seed
            self.lost += number < HOPELESS
        if seeds:
            self._refused = refused

    def _count(self, drawn: int = 0, refused: int = 0, unmet: int = 0) -> None:
        for tally in (self.tally, *_tallies):
            tally.drawn += drawn
            tally.refused += refused
            tally.unmet += unmet

    @property
    def _counts(self) -> list[int]:
        return [self.tally.drawn, self.tally.refused, self.tally.unmet, self.lost]

    def join(self, summed: Callable[[Sequence[int]], Sequence[int]]) -> None:
        """Add the draws of other processes for the same request since the last call."""
        own = np.subtract(self._counts, self._joined).tolist()
        drawn, refused, unmet, lost = np.subtract(summed(own), own).tolist()
        self._count(drawn, refused, unmet)
        self.lost += lost
        self._joined = self._counts

    def checked(self, parts: Iterator[Chunk]) -> Iterator[Chunk]:
        """Yield the parts of all samples, then `check`; stop immediately if hopeless."""
        for part in parts:
            if self.hopeless:
                self.check()
            yield part
        self.check()

    def check(self) -> None:
        """Raise `Diverged` if samples of the request still violate a constraint."""
        if self.hopeless:
            drawn = self.tally.drawn
            met = drawn - self.tally.refused
            constraints = named_constraints(self.space, every=True)
            raise self._error(f"{met:,} of {drawn:,} generated rows satisfy {constraints}")
        if self.tally.unmet and not _unmet_allowed:
            raise self._error(_broken(self.space, self.tally.unmet, self.n, TURNS))

    def _error(self, what: str) -> Diverged:
        if self._refused is not None and len(_constraints(self.space)) > 1:
            violated = _violated(self.space, self._refused)
            if violated:
                what = f"{what}; rows violate {violated}"
        advice = (
            "Train for longer, or without this constraint. For an equation, leave out one column "
            "and compute it from the others."
        )
        return Diverged(f"{what}. {advice}", what=what)


def warn_between(space: Space, x: Tensor) -> None:
    """Warn if points between two seeds, in data units, violate a constraint."""
    valid = space.valid(x)
    if valid is None or valid.all():
        return
    warn(
        f"{int((~valid).sum()):,} of {len(valid):,} points violate {_violated(space, x)}. Points "
        "between two seeds cannot be generated again, so they are written unchanged.",
        stacklevel=2,
    )


def warn_broken(space: Space, x: Tensor) -> None:
    """Warn if samples in data units still violate a constraint."""
    valid = space.valid(x)
    if valid is None or valid.all():
        return
    broken = _broken(space, int((~valid).sum()), len(valid), MEASURED)
    warn(f"{broken}. They are scored unchanged.", stacklevel=2)


def _constraints(space: Space) -> Sequence[Any]:
    return getattr(space, "constraints", ())


def named_constraints(space: Space, every: bool = False) -> str:
    """Describe the constraint of a space; for several constraints, one or ``every`` constraint."""
    constraints = _constraints(space)
    if len(constraints) == 1:
        return f"the constraint {quoted(constraints[0].text)}"
    if every:
        return f"all {len(constraints)} constraints of the model"
    return f"one of {len(constraints)} constraints"


def _violated(space: Space, x: Tensor) -> str:
    texts = []
    for constraint in _constraints(space):
        single: Any = replace(space, constraints=(constraint,))  # type: ignore[type-var]
        if not np.all(single.valid(x)):
            texts.append(quoted(constraint.text))
    return listing(texts)


def _broken(space: Space, broken: int, n: int, turns: int) -> str:
    constraints = named_constraints(space, every=True)
    count = f"{broken:,} of {n:,} samples"
    return f"{count} do not satisfy {constraints} after {turns} further attempts each"
