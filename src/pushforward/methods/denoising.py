"""Denoising: diffusion and flow matching as one regression, of numbers and of rows of tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from pushforward.arguments import share
from pushforward.conditions.kind import hidden
from pushforward.data import Batch
from pushforward.denoisers import Condition, Denoiser, TableDenoiser
from pushforward.denoisers.denoiser import over
from pushforward.denoisers.table_denoiser import Given, known_columns
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.method import Method, Modules, Move, Now, Sums, Turn
from pushforward.paths import (
    Coupling,
    Flat,
    Independent,
    Stratified,
    Times,
    Uniform,
    Weight,
    gain,
    same_source,
    target,
)
from pushforward.solvers import DPM, Heun, Solver
from pushforward.transports import Flow


def dropped(condition: Condition, hide: float, draws: Draws) -> Condition:
    """Mask a condition in a fraction of the examples, for classifier-free guidance."""
    if condition is None or not hide:
        return condition
    return hidden(condition, draws.stream("label dropout").uniform() < hide)


def dropout_share(denoiser: Denoiser, given: float | None) -> float:
    """Return the fraction of masked examples; by default 0.1, or 0 without unconditional branch."""
    if given is None:
        return 0.1 if denoiser.unconditional else 0.0
    return share("label_dropout", given)


def check_sources(couple: Coupling, denoiser: Denoiser) -> None:
    """Raise a `UsageError` if coupling and denoiser have different noise sources."""
    if not same_source(couple.source, denoiser.source):
        raise UsageError(
            "The coupling and the denoiser have different noise sources. Pass the coupling's "
            f"source to the denoiser: {type(denoiser).__name__}(..., source=source)."
        )


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

    loss = mean w(t) |network(x_t, t) - (a x + b z)|^2, averaged over samples, entries and times; a
    and b depend on the prediction. Path, prediction, times and weight determine whether this is
    DDPM, EDM or flow matching.

    Args:
        denoiser: Denoiser, with its network, path and prediction.
        couple: Coupling of data and noise.
        times: Distribution of training times.
        weight: Weight of each time in the loss.
        label_dropout: Fraction of samples without conditions, for classifier-free guidance; None
            means 0.1, or 0 if the denoiser has no unconditional branch.
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
        check_sources(self.couple, self.denoiser)

    @property
    def group(self) -> int:
        return math.lcm(self.couple.group, self.times.group)

    @property
    def reuse(self) -> int:
        return self.couple.reuse

    def losses(self, batch: Batch, now: Now) -> Iterator[Turn]:
        denoiser = self.denoiser
        x, z, condition = self.couple.examples(batch.x, batch.condition, now.draws)
        t = self.times(now.draws, denoiser.path)
        at = denoiser.path.at(t)
        k = at.over(x)
        x_t = k.alpha * x + k.sigma * z
        output = denoiser(x_t, t, dropped(condition, self.label_dropout, now.draws))
        error = output - target(denoiser.prediction, x, z, k)
        squared = error.square().flatten(1).mean(1)
        yield "denoiser", (self.weight(denoiser.prediction, at) * squared).mean()


# Fraction of training in which the factors of columns are learned; then they stay
LEARNED = 1 / 3


class TableDenoising(DenoiserMethod):
    """Denoising of table rows, with equal weight for all columns.

    In the first third of training, the column factors (`TableDenoiser`) are adapted so that each
    column loses half of its information, averaged over training times.

    loss = mean over columns of cross-entropy / entropy of the column's indicators + w(t) |v -
    target|^2 of its score, which is left out for atoms and missing values. In a fraction ``known``
    of the rows, a random set of columns is given and excluded from the loss. ``rate`` is the change
    per step, in nats, of the log factor of a column that has lost all or no information.

    References:
        Dieleman et al., Continuous Diffusion for Categorical Data (2022), eq. 8; Mueller et al.
        (2024), section 3.2, for the normalisation of losses.
    """

    def __init__(
        self,
        denoiser: TableDenoiser,
        *,
        times: Times | None = None,
        weight: Weight | None = None,
        known: float = 0.5,
        rate: float = 0.05,
        solver: Solver | None = None,
        steps: int = 50,
        grid: str | None = None,
    ) -> None:
        super().__init__()
        self.denoiser = denoiser
        self.space = denoiser.table
        self.times = times or Stratified(Uniform())
        self.weight = weight or Flat()
        self.known = share("known", known, " of rows")
        self.rate = rate
        self.solver = solver or DPM(order=2)
        self.steps = steps
        self.grid = grid

    @property
    def group(self) -> int:
        return self.times.group

    def losses(self, batch: Batch, now: Now) -> Iterator[Move]:
        denoiser = self.denoiser
        layout = denoiser.layout
        draws = now.draws
        rows = self.space.to_data(batch.x)
        given = Given(rows, known_columns(draws.stream("known"), layout.count, self.known))
        x = layout.spread(rows, draws.stream("spread").normal((len(layout.scores),)))
        u = (x - layout.mean) / layout.std
        z = draws.normal(rows.shape[1:])
        t = self.times(draws, denoiser.path)
        columns = over(denoiser.columns("v", t), x)
        x_t = columns["alpha"] * denoiser.factors * u + columns["sigma"] * z
        estimate = denoiser.estimate(x_t, columns, given, batch.condition)
        k = denoiser.path.at(t)
        weight = self.weight(denoiser.prediction, k) * gain("v", denoiser.prediction, k) ** 2
        error = denoiser.errors(estimate, rows, denoiser.v(u, z, columns))
        wanted = ~given.known
        if self.rate and now.progress < LEARNED:
            with torch.no_grad():
                lost = denoiser.lost(error, columns) * wanted
                sums = {"lost": lost.sum(0), "cells": wanted.sum(0).to(lost)}
            yield Sums(len(lost), sums, then=self._move)
        each = error.indicators + weight[:, None] * error.scores
        yield "denoiser", (each * wanted).mean()

    @torch.no_grad()
    def _move(self, total: Sums) -> None:
        # a column that has lost half of its information keeps its factor
        lost = total.values["lost"]
        cells = total.values["cells"]
        self.denoiser.move(self.rate * (lost / cells.clamp(min=1) - 0.5) * (cells > 0))
