"""Denoising of tables: squared error of scores, cross-entropy of indicators, any columns given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from pushforward.data import Batch
from pushforward.errors import UsageError
from pushforward.methods.method import Method, Now, Sums
from pushforward.predictions import gain
from pushforward.predictor import TimeColumns, over
from pushforward.row_estimates import Given, RowErrors, known_columns
from pushforward.solvers import DPM, Solver
from pushforward.table_denoiser import TableDenoiser
from pushforward.times import Flat, Stratified, Times, Uniform, Weight
from pushforward.transports import Flow

LEARNED = 1 / 3
"""The share of training in which the factors of columns are learned; then they stay."""


class TableDenoising(Method):
    """Denoising of the rows of a table, each column of which counts equally.

    In the first third of training the factors of columns (`TableDenoiser`) move until each column loses half of its information,
    on average over the times of training.

    loss = mean over columns of cross-entropy / entropy of the column's indicators + w(t) |v - target|^2 of its score, where that
    counts: not for atoms and missing values. In a share of the rows a random set of columns is given, and does not count.

    Args:
        denoiser: Network, path and prediction.
        times: The law of training times.
        weight: The weight of each time in the squared error.
        known: The share of rows in training in which columns are given.
        rate: How far, in nats, a step moves the logarithm of the factor of a column that has lost everything, or nothing, at the
            times of training; 0 leaves the factors at 1.
        solver: The default solver of the transport.
        steps: Its default number of steps.
        grid: Its default grid; None is the solver's own.

    References:
        Dieleman et al., Continuous Diffusion for Categorical Data (2022), eq. 8; Mueller et al. (2024), section 3.2, for the
        normalisation of losses.
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
        if not 0 <= known < 1:
            raise UsageError(f"The share of rows with known columns is from 0 to below 1, got {known}.")
        self.denoiser, self.space = denoiser, denoiser.table
        self.times, self.weight, self.known, self.rate = times or Stratified(Uniform()), weight or Flat(), known, rate
        self.solver, self.steps, self.grid = solver or DPM(order=2), steps, grid

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {"denoiser": self.denoiser}

    @property
    def averaged(self) -> Sequence[nn.Module]:
        return (self.denoiser,)

    @property
    def group(self) -> int:
        return self.times.group

    def losses(self, batch: Batch, now: Now) -> Iterator[tuple[str, Tensor] | Sums]:
        denoiser, layout, draws = self.denoiser, self.denoiser.layout, now.draws
        rows = self.space.to_data(batch.x)
        given = Given(rows, known_columns(draws.stream("known"), layout.count, self.known))
        x = layout.spread(rows, draws.stream("spread").normal((len(layout.scores),)))
        u, z = (x - layout.mean) / layout.std, draws.normal(rows.shape[1:])
        t = self.times(draws, denoiser.path)
        columns = over(denoiser.columns("v", t), x)
        x_t = columns["alpha"] * denoiser.factors * u + columns["sigma"] * z
        estimate = denoiser.estimate(x_t, columns, given, batch.condition)
        k = denoiser.path.at(t)
        weight = self.weight(denoiser.prediction, k) * gain("v", denoiser.prediction, k) ** 2
        error = denoiser.errors(estimate, rows, denoiser.v(u, z, columns))
        if self.rate and now.progress < LEARNED:
            yield self._lost(error, columns, ~given.known)
        yield "denoiser", ((error.indicators + weight[:, None] * error.scores) * ~given.known).mean()

    def _lost(self, error: RowErrors, columns: TimeColumns, unknown: Tensor) -> Sums:
        """The share of each column's information that noise has taken, in its unknown cells: at the loss of half it stays."""
        with torch.no_grad():
            lost = self.denoiser.lost(error, columns) * unknown
        return Sums(len(lost), {"lost": lost.sum(0), "cells": unknown.sum(0).to(lost)}, then=self._move)

    @torch.no_grad()
    def _move(self, total: Sums) -> None:
        lost, cells = total.values["lost"], total.values["cells"]
        self.denoiser.move(self.rate * (lost / cells.clamp(min=1) - 0.5) * (cells > 0))

    def transport(self) -> Flow:
        return Flow(self.denoiser, self.solver, self.steps, self.grid)
