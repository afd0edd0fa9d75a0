"""Capabilities of transports: steps, noise levels, an inverse."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard, runtime_checkable

import numpy as np
from torch import Tensor

from pushforward.couplings import Source
from pushforward.draws import Draws
from pushforward.predictor import Condition, Predictor
from pushforward.solvers import Solver
from pushforward.transports.transport import ConditionLike

if TYPE_CHECKING:
    from pushforward.transports.flow import Flow


@runtime_checkable
class Invertible(Protocol):
    """A transport that can be run from data to noise."""

    def encode(self, x: Tensor, condition: ConditionLike = None) -> Tensor:
        """The noise (n, *noise_shape) that is moved to the data x (n, *shape), x in data units."""
        ...


@runtime_checkable
class Stepped(Protocol):
    """A transport in steps: a solver takes a denoiser along falling times, and both can be exchanged."""

    denoiser: Predictor
    solver: Solver
    steps: int
    grid: str | list[float] | None

    @property
    def times(self) -> np.ndarray:
        """The N + 1 falling times, the last 0."""
        ...

    @property
    def source(self) -> Source | None:
        """The source of noise; None is standard normal, where its times are noise levels."""
        ...

    def with_solver(self, solver: Solver | str, steps: int, grid: str | Sequence[float] | None = None) -> Any:
        """The same model under another solver."""
        ...

    def walk(
        self, x: Tensor, times: np.ndarray | Tensor, condition: Condition = None, draws: Draws | None = None
    ) -> Iterator[tuple[float, Tensor]]:
        """(time, state) after each step."""
        ...


def has_steps(transport: object) -> TypeGuard[Flow]:
    """Whether a transport is made of steps (`Stepped`), such as a `Flow`."""
    return isinstance(transport, Stepped)


def has_levels(transport: object) -> TypeGuard[Flow]:
    """Whether a transport's states are data with standard normal noise, so that they have noise levels and densities."""
    return isinstance(transport, Stepped) and transport.source is None
