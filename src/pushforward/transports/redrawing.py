"""Samples that break a constraint of their data are drawn again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from pushforward.data.spaces import Space
from pushforward.draws import ExampleDraws
from pushforward.errors import Diverged
from pushforward.numbers import listing
from pushforward.predictor import Condition
from pushforward.warned import warn

__all__ = ["TURNS", "Redrawing", "Tally", "as_drawn", "counted", "unmet_kept", "warn_between", "warn_broken"]

TURNS = 100
"""How often a sample is drawn again at most."""
HOPELESS = 1000
"""After so many draws of which none meets the constraints no sample is drawn again."""


@dataclass
class Tally:
    """How many samples were drawn, and how many of them broke a constraint.

    Args:
        drawn: All draws.
        refused: Those that broke a constraint.
    """

    drawn: int = 0
    refused: int = 0

    @property
    def share(self) -> float:
        """The share of draws that were refused, from 0 to 1."""
        return self.refused / max(1, self.drawn)

    def add(self, drawn: int, refused: int) -> None:
        """Count further draws."""
        self.drawn, self.refused = self.drawn + drawn, self.refused + refused


_tallies: list[Tally] = []
_off: list[bool] = []
_kept: list[bool] = []


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
    """Within this context samples that break a constraint after all their draws are kept: a bad model is measured as it is."""
    _kept.append(True)
    try:
        yield
    finally:
        _kept.pop()


class Redrawing:
    """The draws of one request for samples, over all its batches.

    Where none of the first `HOPELESS` draws of the request meets the constraints, no sample is drawn again.

    Args:
        space: Of the data.

    Attributes:
        tally: All draws of the request so far.
        unmet: How many samples so far break a constraint after all their draws.
    """

    def __init__(self, space: Space) -> None:
        self.space, self.tally, self.unmet = space, Tally(), 0
        self._joined = (0, 0, 0)

    @property
    def hopeless(self) -> bool:
        """Whether as many draws as `HOPELESS` were made and none met the constraints."""
        return HOPELESS <= self.tally.drawn == self.tally.refused

    def met(
        self, x: Tensor, condition: Condition, draws: ExampleDraws, draw: Callable[[Condition, ExampleDraws], Tensor]
    ) -> Tensor:
        """Samples (n, *shape) in data units, those that break a constraint drawn again, at most `TURNS` times.

        The r-th draw of a sample comes from its own seed and r alone.

        Args:
            x: The samples as they were drawn first.
            condition: Their conditions, which stay.
            draws: Of the first draw; its seeds are those of the samples.
            draw: (condition, draws) -> samples in data units.
        """
        valid = None if _off else self.space.valid(x)
        if valid is None:
            return x
        self._count(len(valid), int((~valid).sum()))
        waiting = np.flatnonzero(~valid)
        for turn in range(1, TURNS + 1):
            if not len(waiting) or self.hopeless:
                break
            seeds = [draws.seeds[place] for place in waiting.tolist()]
            part = None if condition is None else {name: values[waiting] for name, values in condition.items()}
            again = draw(part, ExampleDraws(seeds, name=f"{draws.name}/again {turn}", device=draws.device))
            x[waiting] = again
            valid = self.space.valid(again)
            assert valid is not None, "the data has constraints"
            self._count(len(valid), int((~valid).sum()))
            waiting = waiting[~valid]
        self.unmet += len(waiting)
        return x

    def join(self, summed: Callable[[Sequence[int]], Sequence[int]]) -> None:
        """Count what other processes drew of the same request since the last call.

        Args:
            summed: The sum of some counts over all processes.
        """
        now = (self.tally.drawn, self.tally.refused, self.unmet)
        own = [new - old for new, old in zip(now, self._joined, strict=True)]
        drawn, refused, unmet = (total - mine for total, mine in zip(summed(own), own, strict=True))
        self._count(drawn, refused)
        self.unmet += unmet
        self._joined = (self.tally.drawn, self.tally.refused, self.unmet)

    def checked(self, parts: Iterator[tuple[Tensor, Condition]], n: int) -> Iterator[tuple[Tensor, Condition]]:
        """The parts of n samples, then `check`; at once where the request is hopeless."""
        for part in parts:
            if self.hopeless:
                self.check(n)
            yield part
        self.check(n)

    def check(self, n: int) -> None:
        """Refuse a request of n samples some of which break a constraint still.

        Raises:
            Diverged: With their number, outside of `unmet_kept`.
        """
        if not self.unmet or _kept:
            return
        if self.hopeless:
            raise _refused(f"None of {self.tally.drawn:,} draws meets the constraints of the data")
        raise _refused(_broken(self.unmet, n))

    def _count(self, drawn: int, refused: int) -> None:
        for tally in (self.tally, *_tallies):
            tally.add(drawn, refused)


def warn_between(space: Space, x: Tensor) -> None:
    """Warn of points between two seeds, in data units, that break a constraint: no point between them can be drawn again."""
    valid = space.valid(x)
    if valid is None or valid.all():
        return
    texts = []
    for constraint in getattr(space, "constraints", ()):
        if not np.all(replace(space, constraints=(constraint,)).valid(x)):  # type: ignore[type-var]
            texts.append(f'"{constraint.text}"')
    warn(
        f"{int((~valid).sum()):,} of {len(valid):,} points do not meet {listing(texts)}. Points between two seeds cannot be "
        "drawn again: they are written as they are."
    )


def warn_broken(space: Space, x: Tensor) -> None:
    """Warn of samples in data units that break a constraint still."""
    valid = space.valid(x)
    if valid is not None and not valid.all():
        warn(f"{_broken(int((~valid).sum()), len(valid))}; they are scored as they are.")


def _refused(what: str) -> Diverged:
    return Diverged(
        f"{what}: the model hardly ever meets them. Train for longer, or train without a constraint that is an equation.",
        what=what,
    )


def _broken(broken: int, n: int) -> str:
    return f"{broken:,} of {n:,} samples do not meet the constraints of the data after {TURNS} draws each"
