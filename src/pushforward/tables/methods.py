"""Training of denoisers of tables, and of their distilled students."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Dict

import torch
from torch import Tensor

from pushforward.arguments import share
from pushforward.data import Batch
from pushforward.denoisers.denoiser import over
from pushforward.methods.denoising import DenoiserMethod
from pushforward.methods.distillation import Trajectories
from pushforward.methods.flow_map import MapMethod
from pushforward.methods.method import Modules, Move, Now, Sums
from pushforward.paths import Flat, Stratified, Times, Uniform, Weight, gain
from pushforward.solvers import DPM, Solver
from pushforward.tables.denoiser import Given, TableDenoiser, known_columns

LEARNED = 1 / 3  # The share of training in which the factors of columns are learned; then they stay


class TableDenoising(DenoiserMethod):
    """Denoising of table rows, with equal weight for all columns.

    In the first third of training, the column factors (`TableDenoiser`) are adapted so that each
    column loses half of its information, averaged over training times.

    loss = mean over columns of cross-entropy / entropy of the column's indicators + w(t) |v -
    target|^2 of its score, which is left out for atoms and missing values. In a fraction of the
    rows, a random set of columns is given and excluded from the loss.

    Args:
        denoiser: Denoiser, with its network, path and prediction.
        times: Distribution of training times.
        weight: Weight of each time in the squared error.
        known: Fraction of training rows in which columns are given.
        rate: Change per step, in nats, of the log factor of a column that has lost all or no
            information at the training times; 0 keeps the factors at 1.
        solver: Default solver of the transport.
        steps: Default number of steps of the transport.
        grid: Default time grid of the transport; None for the grid of the solver.

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
        share("known", known, " of rows")
        self.denoiser = denoiser
        self.space = denoiser.table
        self.times, self.weight, self.known, self.rate = (
            times or Stratified(Uniform()),
            weight or Flat(),
            known,
            rate,
        )
        self.solver = solver or DPM(order=2)
        self.steps = steps
        self.grid = grid

    @property
    def group(self) -> int:
        return self.times.group

    def losses(self, batch: Batch, now: Now) -> Iterator[Move]:
        denoiser = self.denoiser
        layout = self.denoiser.layout
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
        if self.rate and now.progress < LEARNED:
            with torch.no_grad():
                lost = denoiser.lost(error, columns) * ~given.known
                cells = (~given.known).sum(0)
            yield Sums(len(lost), {"lost": lost.sum(0), "cells": cells.to(lost)}, then=self._move)
        yield (
            "denoiser",
            ((error.indicators + weight[:, None] * error.scores) * ~given.known).mean(),
        )

    @torch.no_grad()
    def _move(
        self, total: Sums
    ) -> None:  # where half of a column's information is lost its factor stays
        lost = total.values["lost"]
        cells = total.values["cells"]
        self.denoiser.move(self.rate * (lost / cells.clamp(min=1) - 0.5) * (cells > 0))


class TableDistillation(MapMethod):
    """Distillation of table models: learns the teacher's jumps from stored trajectories.

    Between two states of a trajectory on the straight path, at t and s, the data of the jump is x =
    (x_s - (s / t) x_t) / (1 - s / t): at s = 0 the teacher's row. For a block of indicators, it is
    a mean of the teacher's probabilities, and the target of a cross-entropy; at s = 0 it is the
    decoded category. For a score it gives v.

    loss = mean over columns of cross-entropy / entropy of the column's indicators + |p v -
    target|^2 of its score, if the trajectory ends at a number rather than an atom or a missing
    value. p is the student's probability of a number (without gradient), by which sampling
    multiplies v. Given columns are excluded.

    Args:
        flow_map: Student, a map on the straight path that starts as the teacher.
        trajectories: Trajectories of the teacher.
        steps: Default number of jumps of the transport.

    References:
        Hu et al., CMT: Mid-Training for Efficient Learning of Consistency, Mean Flow, and Flow Map Models (2025), for the
        regression along trajectories; Dieleman et al., Continuous Diffusion for Categorical Data (2022), for the cross-entropy.
    """

    def __init__(
        self, flow_map: TableDenoiser, trajectories: Trajectories, *, steps: int = 1
    ) -> None:
        super().__init__(flow_map, steps)
        self.space = flow_map.table
        self.trajectories = trajectories
        self.freeze("teacher", trajectories.teacher)
        self.learns = "samples"

    def start_from(self, weights: Dict[str, Tensor]) -> None:
        """Initialise the map with the weights of another map."""
        self.flow_map.load_state_dict(weights)

    @property
    def players(self) -> Modules:
        return {"map": self.flow_map}

    def losses(self, batch: Batch, now: Now) -> Iterator[Move]:
        student = self.flow_map
        trajectories = self.trajectories
        which, first, second = trajectories.places(now.draws.stream("trajectories"))
        (x_t, t), (x_s, s) = trajectories.at(which, first), trajectories.at(which, second)
        given, rest = student.given(trajectories.condition(which))
        columns = over(student.columns("v", t, s), x_t)
        with torch.no_grad():
            part = (s / t)[:, None]
            shares, v = student.target((x_s - part * x_t) / (1 - part), x_t, columns)
            last, _ = trajectories.at(which, -1)
            ends = student.layout.chosen(student.target(last, x_t, columns)[0])
            shares = torch.where((s == 0)[:, None], ends, shares)
        errors = student.errors(student.estimate(x_t, columns, given, rest), shares, v, ends)
        total = errors.indicators + errors.scores
        yield "map", (total if given is None else total * ~given.known).mean()
