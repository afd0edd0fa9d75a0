"""Denoising of tables: squared error of scores, cross-entropy of indicators, any columns given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from pushforward.data import Batch
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.method import Method, Now, Sums
from pushforward.predictions import gain
from pushforward.predictor import over
from pushforward.solvers import Heun, Solver
from pushforward.table_denoiser import Given, TableDenoiser
from pushforward.times import Flat, Stratified, Times, Uniform, Weight
from pushforward.transports import Flow

__all__ = ["TableDenoising"]


class TableDenoising(Method):
    """Denoising of the rows of a table, each column of which counts equally.

    loss = mean over columns of cross-entropy / entropy of the column's indicators + w(t) |v - target|^2 of its score, where that
    counts: not for atoms and missing values. In a share of the rows a random set of columns is given, and does not count.

    Args:
        denoiser: Network, path and prediction.
        times: The law of training times.
        weight: The weight of each time in the squared error.
        known: The share of rows in training in which columns are given.
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
        solver: Solver | None = None,
        steps: int = 50,
        grid: str | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= known < 1:
            raise UsageError(f"`known` is a share of rows from 0 to below 1, got {known}.")
        self.denoiser, self.space = denoiser, denoiser.table
        self.times, self.weight, self.known = times or Stratified(Uniform()), weight or Flat(), known
        self.solver, self.steps, self.grid = solver or Heun(), steps, grid

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """One: the denoiser."""
        return {"denoiser": self.denoiser}

    @property
    def averaged(self) -> Sequence[nn.Module]:
        """The denoiser."""
        return (self.denoiser,)

    @property
    def group(self) -> int:
        """The times'."""
        return self.times.group

    def losses(self, batch: Batch, now: Now) -> Iterator[tuple[str, Tensor] | Sums]:
        """One turn of one player."""
        denoiser, layout, draws = self.denoiser, self.denoiser.layout, now.draws
        rows = self.space.to_data(batch.x)
        given = Given(rows, self._known(draws.stream("known"), layout.count))
        x = layout.spread(rows, draws.stream("spread").normal((len(layout.score),)))
        u, z = (x - layout.mean) / layout.scale, draws.normal(rows.shape[1:])
        t = self.times(draws, denoiser.path)
        columns = over(denoiser.columns("v", t), x)
        x_t = columns["alpha"] * denoiser.factors * u + columns["sigma"] * z
        estimate = denoiser.estimate(x_t, columns, given, batch.condition)
        k = denoiser.path.at(t)
        weight = self.weight(denoiser.prediction, k) * gain("v", denoiser.prediction, k) ** 2
        error = self._errors(estimate.v, estimate.log_probabilities, rows, denoiser.v(u, z, columns), weight)
        yield "denoiser", (error * ~given.known).mean()

    def _errors(self, v: Tensor, log_probabilities: Tensor, rows: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        """The error of each column, (n, columns)."""
        layout = self.denoiser.layout
        cross_entropy = layout.by_column(-rows * log_probabilities) / layout.entropy
        counts = torch.where(layout.indicator, 0.0, layout.ordinary(rows))
        return cross_entropy + weight[:, None] * layout.by_column(counts * (v - target).square())

    def _known(self, draws: Draws, columns: int) -> Tensor:
        """Which columns are given, bool (n, columns): a share of them that is uniform, or none."""
        share = (draws.uniform() - (1 - self.known)).clamp(min=0) / max(self.known, 1e-9)
        return torch.special.ndtr(draws.normal((columns,))) < share[:, None]

    def transport(self) -> Flow:
        """The denoiser under its default solver."""
        return Flow(self.denoiser, self.solver, self.steps, self.grid)
