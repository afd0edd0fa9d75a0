"""Samples that break a constraint of their data are drawn again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pushforward.data.spaces import Space
from pushforward.draws import ExampleDraws
from pushforward.errors import Diverged
from pushforward.predictor import Condition
from pushforward.warned import warn

__all__ = ["TURNS", "Tally", "as_drawn", "check_valid", "counted", "redrawn", "warn_broken"]

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


_tallies: list[Tally] = []
_off: list[bool] = []


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


def redrawn(
    space: Space, x: Tensor, condition: Condition, draws: ExampleDraws, draw: Callable[[Condition, ExampleDraws], Tensor]
) -> Tensor:
    """Samples (n, *shape) in data units, those that break a constraint drawn again, at most `TURNS` times.

    Where none of the first `HOPELESS` draws meets the constraints, the samples stay as they are.
    The r-th draw of a sample comes from its own seed and r alone.

    Args:
        space: Of the data.
        x: The samples as they were drawn first.
        condition: Their conditions, which stay.
        draws: Of the first draw; its seeds are those of the samples.
        draw: (condition, draws) -> samples in data units.
    """
    valid = None if _off else space.valid(x)
    if valid is None:
        return x
    _count(len(valid), int((~valid).sum()))
    waiting, drawn, hopeless = np.flatnonzero(~valid), len(valid), not valid.any()
    for turn in range(1, TURNS + 1):
        if not len(waiting) or (hopeless and drawn >= HOPELESS):
            break
        seeds = [draws.seeds[place] for place in waiting.tolist()]
        part = None if condition is None else {name: values[waiting] for name, values in condition.items()}
        again = draw(part, ExampleDraws(seeds, name=f"{draws.name}/again {turn}", device=draws.device))
        x[waiting] = again
        met = space.valid(again)
        assert met is not None, "the data has constraints"
        _count(len(met), int((~met).sum()))
        waiting, drawn, hopeless = waiting[~met], drawn + len(met), hopeless and not met.any()
    return x


def _count(drawn: int, refused: int) -> None:
    for tally in _tallies:
        tally.drawn += drawn
        tally.refused += refused


def check_valid(space: Space, x: Tensor) -> None:
    """Refuse samples in data units that break a constraint still.

    Raises:
        Diverged: With their number.
    """
    valid = space.valid(x)
    if valid is not None and not valid.all():
        raise Diverged(
            f"{_broken(valid)}: the model hardly ever meets it. Train for longer, or train without a constraint that is an "
            "equation."
        )


def warn_broken(space: Space, x: Tensor) -> None:
    """Warn of samples in data units that break a constraint still."""
    valid = space.valid(x)
    if valid is not None and not valid.all():
        warn(f"{_broken(valid)}; they are scored as they are.")


def _broken(valid: NDArray[np.bool_]) -> str:
    broken = int((~valid).sum())
    return f"{broken:,} of {len(valid):,} samples break a constraint of the data after {TURNS} draws each, or {HOPELESS:,} of all"
