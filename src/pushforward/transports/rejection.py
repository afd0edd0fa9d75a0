"""Samples that break a constraint of their data are drawn again."""

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
from pushforward.denoisers import Condition, condition_at
from pushforward.draws import ExampleDraws
from pushforward.errors import Diverged, quoted
from pushforward.numbers import listing

TURNS = 100
"""How often a sample is drawn again at most."""
MEASURED = 20
"""How often at most where a model is measured: one that hardly meets its constraints would cost five times as much."""
HOPELESS = 1000
"""A request is given up where none of so many of its first draws meets the constraints."""


@dataclass
class Tally:
    """How many samples were drawn, and how many of them broke a constraint.

    Args:
        drawn: All draws.
        refused: Those that broke a constraint.
        unmet: Samples that break a constraint after all their draws.
    """

    drawn: int = 0
    refused: int = 0
    unmet: int = 0

    @property
    def share(self) -> float:
        """The share of draws that were refused, from 0 to 1."""
        return self.refused / max(1, self.drawn)


_tallies: list[Tally] = []
_off: list[bool] = []
_unmet_allowed: list[bool] = []


@contextlib.contextmanager
def counted() -> Iterator[Tally]:
    """Within this context draws are counted where the data has constraints."""
    _tallies.append(Tally())
    try:
        yield _tallies[-1]
    finally:
        _tallies.pop()


@contextlib.contextmanager
def as_drawn() -> Iterator[None]:
    """Within this context samples stay as they are drawn: a model in training may break its constraints most of the time."""
    _off.append(True)
    try:
        yield
    finally:
        _off.pop()


@contextlib.contextmanager
def unmet_kept() -> Iterator[None]:
    """Within this context samples that break a constraint after `MEASURED` further draws are kept.

    A bad model is so measured as it is, in a bounded time.
    """
    _unmet_allowed.append(True)
    try:
        yield
    finally:
        _unmet_allowed.pop()


@dataclass
class Part:
    """Some samples of a request, and which of them break a constraint still.

    Args:
        x: The samples, (n, *shape), in data units.
        condition: Their conditions, which stay.
        draws: Of the first draw; its seeds are those of the samples.
        waiting: The places of those that break a constraint.
    """

    x: Tensor
    condition: Condition
    draws: ExampleDraws
    waiting: NDArray[np.int64]


class Redrawing:
    """The draws of one request for samples, over all its batches.

    A request is hopeless where none of its first `HOPELESS` draws meets the constraints: in the order of turns, and in each
    turn of samples, whatever the batches. Outside of `unmet_kept` it is then given up; within, each sample has all its draws.

    Args:
        space: Of the data.
        n: How many samples the request has.
        seed: That of its first sample.

    Attributes:
        tally: All draws of the request so far.
        unmet: How many samples so far break a constraint after all their draws.
        lost: How many of the first `HOPELESS` draws break a constraint.
    """

    def __init__(self, space: Space, n: int, seed: int) -> None:
        self.space, self.n, self.seed = space, n, seed
        self.tally, self.unmet, self.lost = Tally(), 0, 0
        self._joined = (0, 0, 0, 0)
        self._refused: Tensor | None = None

    @property
    def hopeless(self) -> bool:
        """Whether the request is given up."""
        return self.lost >= HOPELESS and not _unmet_allowed

    @property
    def undecided(self) -> bool:
        """Whether all draws so far break a constraint, and further first draws may show that the request is hopeless."""
        return 0 < self.tally.refused == self.tally.drawn and self.lost < HOPELESS and not _unmet_allowed

    def begun(self, x: Tensor, condition: Condition, draws: ExampleDraws) -> Part:
        """Samples as they were drawn first."""
        valid = None if _off else self.space.valid(x)
        waiting = np.zeros(0, dtype=np.int64) if valid is None else np.flatnonzero(~valid)
        if valid is not None:
            self._drawn(0, [draws.seeds[place] for place in waiting.tolist()], len(valid))
        if len(waiting):
            self._refused = x[waiting]
        return Part(x, condition, draws, waiting)

    def finish(self, parts: Sequence[Part], draw: Callable[[Condition, ExampleDraws], Tensor]) -> None:
        """Draw samples of parts that break a constraint again, at most `TURNS` times or within `unmet_kept` `MEASURED`, in place.

        The r-th draw of a sample comes from its own seed and r alone.

        Args:
            parts: The parts, in the order of their samples.
            draw: (condition, draws) -> samples in data units.
        """
        for turn in range(1, (min(TURNS, MEASURED) if _unmet_allowed else TURNS) + 1):
            for part in parts:
                if self.hopeless:
                    break
                if len(part.waiting):
                    self._again(part, turn, draw)
        self._count_unmet(sum(len(part.waiting) for part in parts))

    def _again(self, part: Part, turn: int, draw: Callable[[Condition, ExampleDraws], Tensor]) -> None:
        waiting, draws = part.waiting, part.draws
        seeds = [draws.seeds[place] for place in waiting.tolist()]
        condition = condition_at(part.condition, waiting)
        again = draw(condition, ExampleDraws(seeds, name=f"{draws.name}/again {turn}", device=draws.device))
        part.x[waiting] = again
        valid: Any = self.space.valid(again)
        self._drawn(turn, [seed for seed, met in zip(seeds, valid.tolist(), strict=True) if not met], len(valid))
        part.waiting = waiting[~valid]
        if len(part.waiting):
            self._refused = again[~valid]

    def join(self, summed: Callable[[Sequence[int]], Sequence[int]]) -> None:
        """Count what other processes drew of the same request since the last call."""
        now = (self.tally.drawn, self.tally.refused, self.unmet, self.lost)
        own = [new - old for new, old in zip(now, self._joined, strict=True)]
        drawn, refused, unmet, lost = (total - part for total, part in zip(summed(own), own, strict=True))
        self._count(drawn, refused)
        self._count_unmet(unmet)
        self.lost += lost
        self._joined = (self.tally.drawn, self.tally.refused, self.unmet, self.lost)

    def checked(self, parts: Iterator[tuple[Tensor, Condition]]) -> Iterator[tuple[Tensor, Condition]]:
        """The parts of all samples, then `check`; at once where the request is hopeless."""
        for part in parts:
            if self.hopeless:
                self.check()
            yield part
        self.check()

    def check(self) -> None:
        """Refuse a request some of whose samples break a constraint still.

        Raises:
            Diverged: With their number, outside of `unmet_kept`.
        """
        if self.hopeless:
            drawn, refused = self.tally.drawn, self.tally.refused
            raise self._given_up(f"{drawn - refused:,} of {drawn:,} draws meet {named_constraints(self.space, every=True)}")
        if self.unmet and not _unmet_allowed:
            raise self._given_up(_broken(self.space, self.unmet, self.n, TURNS))

    def _given_up(self, what: str) -> Diverged:
        broken = [] if self._refused is None else _broken_by(self.space, self._refused)
        several = len(getattr(self.space, "constraints", ())) > 1
        what += f"; draws break {listing(quoted(each.text) for each in broken)}" if several and broken else ""
        advice = "Train for longer, or without this constraint; of an equation leave a column out and compute it from the others."
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
    """Warn of points between two seeds, in data units, that break a constraint: no point between them can be drawn again."""
    valid = space.valid(x)
    if valid is None or valid.all():
        return
    texts = listing(quoted(constraint.text) for constraint in _broken_by(space, x))
    warn(
        f"{int((~valid).sum()):,} of {len(valid):,} points do not meet {texts}. Points between two seeds cannot be "
        "drawn again: they are written as they are.",
        stacklevel=2,
    )


def warn_broken(space: Space, x: Tensor) -> None:
    """Warn of samples in data units that break a constraint still."""
    valid = space.valid(x)
    if valid is not None and not valid.all():
        warn(f"{_broken(space, int((~valid).sum()), len(valid), MEASURED)}; they are scored as they are.", stacklevel=2)


def named_constraints(space: Space, every: bool = False) -> str:
    """The constraint of a space, or where there are several, one of them or ``every`` one, in words."""
    constraints: Sequence[Any] = getattr(space, "constraints", ())
    if len(constraints) == 1:
        return f"the constraint {quoted(constraints[0].text)}"
    return f"all {len(constraints)} constraints of the model" if every else f"one of {len(constraints)} constraints"


def _broken_by(space: Space, x: Tensor) -> list[Any]:
    constraints = getattr(space, "constraints", ())
    return [each for each in constraints if not np.all(replace(space, constraints=(each,)).valid(x))]  # type: ignore[type-var]


def _broken(space: Space, broken: int, n: int, turns: int) -> str:
    return f"{broken:,} of {n:,} samples do not meet {named_constraints(space, every=True)} after {turns} further draws each"
