"""Denoising: diffusion and flow matching as one regression, of numbers and of rows of tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import nn

from pushforward.arguments import share
from pushforward.conditions.kind import hidden
from pushforward.data import Batch
from pushforward.denoisers import Condition, Denoiser
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.method import Method, Modules, StepContext, Turn
from pushforward.paths import (
    Coupling,
    Flat,
    Independent,
    Times,
    Uniform,
    Weight,
    target,
)
from pushforward.solvers import Heun, Solver
from pushforward.transports import Flow


def dropped(condition: Condition, hide: float, draws: Draws) -> Condition:
    """Mask a condition in a fraction of the examples, for classifier-free guidance."""
    if condition is None or not hide:
        return condition
    return hidden(condition, draws.stream("label dropout").uniform() < hide)


def dropout_share(denoiser: Denoiser, given: float | None) -> float:
    """Return the fraction of masked examples; by default 0.1, or 0 without unconditional branch."""
    if given is None:
        if denoiser.unconditional:
            return 0.1
        return 0.0
    return share("label_dropout", given)


class DenoiserMethod(Method):
    """Base class of methods that train a ``denoiser``, with a default sampler."""

    @property
    def players(self) -> Modules:
        return {"denoiser": self.denoiser}

    @property
    def averaged(self) -> Sequence[nn.Module]:
        return (self.denoiser,)

    def transport(self) -> Flow:
        return Flow(self.denoiser, self.solver, self.steps, self.grid)


class Denoising(DenoiserMethod):
    """Training of a denoiser by regression at x_t, a mixture of data and noise.

    loss = mean w(t) |network(x_t, t) - (a x + b z)|^2, where a and b depend on the prediction.

    Args:
        denoiser: Denoiser, with its network, path and prediction.
        couple: Coupling of data and noise.
        times: Distribution of training times.
        weight: Weight of each time in the loss.
        label_dropout: Fraction of samples without conditions; None for 0.1, or 0 if the denoiser
            has no unconditional branch.
        solver: Default solver of the transport.
        steps: Default number of steps.
        grid: Default time grid.

    References:
        Ho et al., DDPM (2020), algorithm 1; Lipman et al., Flow Matching (2023), eq. 14; Karras et
        al., EDM (2022), eq. 8.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        *,
        couple: Coupling | None = None,
        times: Times | None = None,
        weight: Weight | None = None,
        label_dropout: float | None = None,
        solver: Solver | None = None,
        steps: int = 20,
        grid: str | None = None,
    ) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.space = denoiser.space
        self.couple = couple or Independent()
        self.times = times or Uniform()
        self.weight = weight or Flat()
        self.label_dropout = dropout_share(denoiser, label_dropout)
        self.solver = solver or Heun()
        self.steps = steps
        self.grid = grid
        self._check()

    def _check(self) -> None:
        hides = self.label_dropout > 0
        if self.space.conditions and self.denoiser.unconditional != hides:
            branch = "an" if hides else "no"
            raise UsageError(
                f"label_dropout={self.label_dropout:g} trains {branch} unconditional branch, but "
                f"the denoiser does not match. Use Denoiser(..., unconditional={hides})."
            )

    @property
    def group(self) -> int:
        return math.lcm(self.couple.group, self.times.group)

    def losses(self, batch: Batch, now: StepContext) -> Iterator[Turn]:
        denoiser = self.denoiser
        x, z, condition = self.couple.examples(batch.x, batch.condition, now.draws)
        t = self.times(now.draws, denoiser.path)
        at = denoiser.path.at(t)
        k = at.over(x)
        x_t = k.state(x, z)
        output = denoiser(x_t, t, dropped(condition, self.label_dropout, now.draws))
        error = output - target(denoiser.prediction, x, z, k)
        squared = error.square().flatten(1).mean(1)
        yield "denoiser", (self.weight(denoiser.prediction, at) * squared).mean()
