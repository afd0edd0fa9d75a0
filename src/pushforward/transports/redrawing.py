"""Redrawing of samples that violate a constraint of the data, and the counts of such draws."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any
from warnings import warn

import numpy as np
from torch import Tensor

from pushforward.data.spaces import Space
from pushforward.denoisers.denoiser import Condition, condition_at
from pushforward.draws import ExampleDraws
from pushforward.errors import Diverged, quoted
from pushforward.numbers import listing

Chunk = tuple[Tensor, Condition]  # some samples and their conditions
Draw = Callable[[Condition, ExampleDraws], Tensor]

REDRAWS = 100  # further draws of a sample at most
MEASURED = 20  # further draws at most if a model is measured, so that bad models cost bounded time
HOPELESS = 1000  # draws after which a request stops if none satisfies the constraints
ADVICE = (
    "Train for longer, or without this constraint. For an equation, leave out one column and "
    "compute it from the others."
)


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
def counting_draws() -> Iterator[Tally]:
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


class RejectionSampler:
    """Draws the samples of one request, again if they violate a constraint, and counts the draws.

    A request is hopeless, and stopped outside of `unmet_kept`, if none of at least `HOPELESS`
    draws satisfies the constraints.

    Attributes:
        tally: Draws of the request so far.
    """

    def __init__(self, space: Space, n: int) -> None:
        self.space = space
        self.n = n
        self.tally = Tally()
        self._joined = [0, 0, 0]

    @property
    def hopeless(self) -> bool:
        """Return whether the request is stopped."""
        none_met = self.tally.refused == self.tally.drawn >= HOPELESS
        return none_met and not _unmet_allowed

    def drawn(self, draw: Draw, condition: Condition, draws: ExampleDraws) -> Tensor:
        """Return samples of ``draw(condition, draws)``, drawn again if they violate a constraint.

        The r-th draw of a sample depends only on its seed and r.
        """
        x = draw(condition, draws)
        valid = None if _off else self.space.valid(x)
        if valid is None:
            return x
        waiting = np.flatnonzero(~valid)
        self._count(drawn=len(x), refused=len(waiting))
        turns = min(REDRAWS, MEASURED) if _unmet_allowed else REDRAWS
        for turn in range(1, turns + 1):
            if self.hopeless or not len(waiting):
                break
            seeds = [draws.seeds[place] for place in waiting.tolist()]
            again = ExampleDraws(seeds, name=f"{draws.name}/again {turn}", device=draws.device)
            redrawn = draw(condition_at(condition, waiting), again)
            x[waiting] = redrawn
            valid = self.space.valid(redrawn)
            assert valid is not None
            waiting = waiting[~valid]
            self._count(drawn=len(redrawn), refused=len(waiting))
        self._count(unmet=len(waiting))
        return x

    def _count(self, drawn: int = 0, refused: int = 0, unmet: int = 0) -> None:
        for tally in (self.tally, *_tallies):
            tally.drawn += drawn
            tally.refused += refused
            tally.unmet += unmet

    def join(self, summed: Callable[[Sequence[int]], Sequence[int]]) -> None:
        """Add the draws of other processes for the same request since the last call."""
        own = np.subtract(astuple(self.tally), self._joined).tolist()
        self._count(*np.subtract(summed(own), own).tolist())
        self._joined = list(astuple(self.tally))

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
            what = f"0 of {self.tally.drawn:,} generated rows"
        elif self.tally.unmet and not _unmet_allowed:
            what = f"{self.n - self.tally.unmet:,} of {self.n:,} samples"
        else:
            return
        what = f"{what} satisfy {named_constraints(self.space)}"
        raise Diverged(f"{what}. {ADVICE}", what=what)


def warn_unmet(space: Space, x: Tensor, advice: str) -> None:
    """Warn, with advice, if samples in data units violate a constraint."""
    valid = space.valid(x)
    if valid is None or valid.all():
        return
    count = f"{int((~valid).sum()):,} of {len(valid):,} samples"
    warn(f"{count} violate {named_constraints(space)}. {advice}", stacklevel=2)


def named_constraints(space: Space) -> str:
    """Describe the constraints of a space."""
    texts = [quoted(constraint.text) for constraint in getattr(space, "constraints", ())]
    noun = "constraint" if len(texts) == 1 else "constraints"
    return f"the {noun} {listing(texts)}"
