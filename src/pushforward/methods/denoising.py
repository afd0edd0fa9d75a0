"""Denoising: diffusion and flow matching as one regression."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor, nn

from pushforward.arguments import share
from pushforward.conditions.kind import hidden
from pushforward.couplings import Coupling, Independent, same_source
from pushforward.data import Batch
from pushforward.denoiser import Denoiser
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.method import Method, Now
from pushforward.predictions import target
from pushforward.predictor import Condition
from pushforward.solvers import Heun, Solver
from pushforward.times import Flat, Times, Uniform, Weight
from pushforward.transports import Flow


def dropped(condition: Condition, hide: float, draws: Draws) -> Condition:
    """A condition that is hidden in a share of the examples, for classifier-free guidance."""
    if condition is None or not hide:
        return condition
    return hidden(condition, draws.stream("label dropout").uniform() < hide)


def dropout_share(denoiser: Denoiser, given: float | None) -> float:
    """The share of examples in which conditions are hidden: None is .1, or 0 where there is no unconditional branch."""
    usual = 0.1 if denoiser.unconditional else 0.0
    return share("label_dropout", usual if given is None else given)


def check_sources(couple: Coupling, denoiser: Denoiser) -> None:
    """Refuse a coupling whose noise is not that of the denoiser.

    Raises:
        UsageError: With the alternative.
    """
    if not same_source(couple.source, denoiser.source):
        raise UsageError(
            "The coupling and the denoiser have different sources of noise: give the coupling's to both, "
            f"{type(denoiser).__name__}(..., source=source)."
        )


class Denoising(Method):
    """Regression of a denoiser's output at x_t, mixed from data and noise.

    loss = mean w(t) |network(x_t, t) - (a x + b z)|^2, the mean over samples, entries and times; (a, b) is the
    prediction's row. Which path, prediction, times and weight make it DDPM, EDM or flow matching.

    Args:
        denoiser: Network, path and prediction.
        couple: How data meets noise.
        times: The law of training times.
        weight: The weight of each time in the loss.
        label_dropout: The share of samples trained without their conditions, for classifier-free guidance; None is .1, or 0 where
            the denoiser has no unconditional branch.
        solver: The default solver of the transport.
        steps: Its default number of steps.
        grid: Its default grid; None is the solver's own.

    References:
        Ho et al., DDPM (2020), algorithm 1; Lipman et al., Flow Matching (2023), eq. 14; Karras et al., EDM (2022), eq. 8.
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
        self.denoiser, self.space = denoiser, denoiser.space
        self.couple, self.times, self.weight = couple or Independent(), times or Uniform(), weight or Flat()
        self.label_dropout = dropout_share(denoiser, label_dropout)
        self._check()
        self.solver, self.steps, self.grid = solver or Heun(), steps, grid

    def _check(self) -> None:
        if self.space.conditions and self.denoiser.unconditional != (self.label_dropout > 0):
            branch = "an" if self.label_dropout else "no"
            raise UsageError(
                f"label_dropout={self.label_dropout:g} trains {branch} unconditional branch, but the denoiser does not match: "
                f"Denoiser(..., unconditional={self.label_dropout > 0})."
            )
        check_sources(self.couple, self.denoiser)

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {"denoiser": self.denoiser}

    @property
    def averaged(self) -> Sequence[nn.Module]:
        return (self.denoiser,)

    @property
    def group(self) -> int:
        return math.lcm(self.couple.group, self.times.group)

    @property
    def reuse(self) -> int:
        return self.couple.reuse

    def losses(self, batch: Batch, now: Now) -> Iterator[tuple[str, Tensor]]:
        x, z, condition = self.couple.examples(batch.x, batch.condition, now.draws)
        t = self.times(now.draws, self.denoiser.path)
        at = self.denoiser.path.at(t)
        k = at.over(x)
        x_t = k.alpha * x + k.sigma * z
        output = self.denoiser(x_t, t, dropped(condition, self.label_dropout, now.draws))
        error = (output - target(self.denoiser.prediction, x, z, k)).square().flatten(1).mean(1)
        yield "denoiser", (self.weight(self.denoiser.prediction, at) * error).mean()

    def transport(self) -> Flow:
        return Flow(self.denoiser, self.solver, self.steps, self.grid)
