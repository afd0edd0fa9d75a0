"""A denoiser of tables: squared error for scores, softmax for blocks of indicators.

And what it is given of rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping as Dict
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.arguments import share, whole
from pushforward.conditions.kind import mask_of
from pushforward.data import Batch
from pushforward.data.spaces import Space, TableSpace
from pushforward.denoisers.denoiser import (
    Condition,
    Denoiser,
    MapSampling,
    Preconditioning,
    TimeColumns,
    affine_columns,
    blend,
    call,
    over,
    times_for,
)
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.denoising import DenoiserMethod
from pushforward.methods.flow_map import MapMethod
from pushforward.methods.method import Modules, Move, StepContext, Sums
from pushforward.methods.trajectories import Trajectories
from pushforward.paths import Flat, Path, Stratified, Times, Uniform, Weight, gain
from pushforward.solvers import DPM, Solver
from pushforward.tables.column import known_in
from pushforward.tables.coordinates import Coordinates, gumbel


@dataclass(frozen=True)
class Given:
    """Columns with given values.

    Args:
        x: Coordinates in data units, (n, d).
        known: Mask of the given columns, bool (n, columns).
        hide: Examples in which given columns are hidden from the network, for guidance, bool (n,);
            None for none.
        present: Mask of the columns that are not missing, bool (n, columns); None if unknown.
    """

    x: Tensor
    known: Tensor
    hide: Tensor | None = None
    present: Tensor | None = None


@dataclass(frozen=True)
class RowEstimate:
    """Estimate of the network for rows.

    Args:
        v: Estimate of v for scores, (n, d); undefined at indicators.
        log_probabilities: Log probabilities of indicators, (n, d); 0 at scores.
    """

    v: Tensor
    log_probabilities: Tensor


@dataclass(frozen=True)
class RowErrors:
    """Errors of rows by column, (n, columns) each.

    Args:
        indicators: Cross-entropy of the block divided by the entropy of its frequencies; 0 without
            a block.
        scores: Squared error of v if the score counts; 0 without a score.
    """

    indicators: Tensor
    scores: Tensor


def known_columns(draws: Draws, columns: int, share: float) -> Tensor:
    """Draw which columns are given."""
    part = (draws.uniform() - (1 - share)).clamp(min=0) / max(share, 1e-9)
    return torch.special.ndtr(draws.normal((columns,))) < part[:, None]


KNOWN = 0.5  # fraction of rows in which columns are given, by default
LEAST_LOGIT = -1e9
# The least logarithm of a probability: the exponential of less is too small for float32 and takes
# ten times as long
LEAST_LOG = -87.0
MOST_WAVES = 64  # Frequencies at most: more are no different between 1 and `HIGHEST`
HIGHEST = 16.0  # The highest frequency of a wave, in radians for a standard deviation of a score
# Noise of a map is clipped to this before it becomes Gumbel numbers
FARTHEST = 5.0
REACH = 1.5  # The greatest logarithm of a column's factor
# Parts of a nat in which the logarithm of a column's factor is counted: whole numbers are the same
# in every process and copy
NAT = 4096


class TableDenoiser(Denoiser):
    """Denoiser of table rows, for every path and solver.

    The network outputs v of scores, and logits of indicators, to which the logarithms of category
    frequencies and the log-likelihoods of the block's own noisy indicators are added. So a network
    with zero output is the model of independent columns.

    Each column has a factor f of its model units, which adds 2 log f to the log-SNR of the path.
    Solver states are in these units, the units of `space`.

    Args:
        network: ``network(x, t, condition) -> tensor`` (n, d), whose input is `features`. t is
            (n,), or (1,) for one time of all rows if the network has a true attribute
            ``shares_time``.
        prediction: Prediction whose squared error is the loss of scores.
        clock: Time input of the network; see `Preconditioning`.
        unconditional: Whether the model is also trained without given columns.
        waves: Number of frequencies per score in the network input; see `features`.
        sampling: Sampling settings of a map between two times t and s on the straight path, see
            `pushforward.denoisers.FlowMap`; None for a denoiser. Block noise, scaled by t - s, is
            added to the input, and its Gumbel numbers to the logits, so that a network with zero
            output draws a category by frequency in one jump.

    References:
        Dieleman et al., Continuous Diffusion for Categorical Data (2022), section 3.1, for score
        interpolation; Mueller et al., Continuous Diffusion for Mixed-Type Tabular Data (2024), for
        schedules of columns; Gorishniy et al., On Embeddings for Numerical Features in Tabular Deep
        Learning (2022), for waves.
    """

    def __init__(
        self,
        network: nn.Module,
        path: Path,
        prediction: str,
        table: TableSpace,
        *,
        clock: str = "log_snr",
        unconditional: bool = True,
        waves: int = 0,
        sampling: MapSampling | None = None,
    ) -> None:
        preconditioning = Preconditioning(clock=clock, output="v")
        super().__init__(
            network,
            path,
            prediction,
            table,
            preconditioning=preconditioning,
            unconditional=unconditional,
        )
        self.clock = clock
        self.waves = whole("waves", waves, 0)
        self.sampling = sampling
        self.layout = Coordinates(table)
        if waves > MOST_WAVES:
            raise UsageError(f"waves must be at most {MOST_WAVES}, got {waves}.")
        wanted = self.layout.size + self.layout.count + 2 * waves * len(self.layout.scores)
        inputs = getattr(network, "inputs", None)
        if isinstance(inputs, int) and inputs != wanted:
            raise UsageError(
                f"The network takes {inputs} inputs; expected {wanted} (coordinates, columns, and "
                "two per wave of a score)."
            )
        self.known = known_in(table.conditions)
        self.frequencies = nn.Buffer(
            torch.logspace(0, math.log2(HIGHEST), waves, base=2.0), persistent=False
        )
        self.shift = nn.Buffer(torch.zeros(len(table.fields), dtype=torch.int64))

    @property
    def space(self) -> Space:  # type: ignore[override]
        """Return the space of the table, in units that include the column factors."""
        shift = self._buffers.get("shift")
        if shift is None or not bool(shift.any()):
            return self.table
        std = np.array(self.table.std) / self.factors.double().cpu().numpy()
        return replace(self.table, std=tuple(std.tolist()))

    @space.setter
    def space(self, table: Space) -> None:
        assert isinstance(table, TableSpace)
        self.table = table

    @property
    def factors(self) -> Tensor:
        """Return the factor of the model units of each coordinate, (d,)."""
        return torch.exp(self.shift / NAT)[self.layout.owner]

    @property
    def jumps(self) -> bool:
        return self.sampling is not None

    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
        """Compute network times, alpha and sigma, and the conversion of data to ``kind``."""
        k = self.path.at(t)
        columns = {
            "time": self.time(t),
            "alpha": k.alpha,
            "sigma": k.sigma,
            **affine_columns("data", kind, k),
        }
        if self.jumps:
            later = t if to is None else to
            columns |= {"until": self.time(later), "span": t - later}
        return columns

    def with_known(
        self, condition: dict[str, Tensor], rows: Callable[[int], Tensor], draws: Draws
    ) -> dict[str, Tensor]:
        """Give columns of other rows in half of the examples of a condition, as in training.

        Args:
            rows: Function that returns a number of rows in data units.
        """
        if not self.known:
            return condition
        known = known_columns(draws, self.layout.count, KNOWN)
        which = known.any(1).nonzero()[:, 0]
        blank = condition[self.known]
        values = blank[:, : self.layout.size].clone()
        if len(which):
            values[which] = rows(len(which)).to(blank)
        values = values * known[:, self.layout.owner]
        return {**condition, self.known: torch.cat([values, known.to(values)], dim=1)}

    def evaluate(
        self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None
    ) -> Tensor:
        """Evaluate the estimate of ``kind``; the data of given columns are the given values."""
        given, rest = self.given(condition)
        estimate = self.estimate(x_t, columns, given, rest)
        data = self._data(estimate, x_t, columns)
        if given is not None:
            known = given.known[:, self.layout.owner]
            units = self.factors * (given.x - self.layout.mean) / self.layout.std
            data = torch.where(known, units.to(data), data)
        return blend(columns, x_t, data)

    def estimate(
        self,
        x_t: Tensor,
        columns: TimeColumns,
        given: Given | None = None,
        condition: Condition = None,
    ) -> RowEstimate:
        """Compute the network's estimate at x_t."""
        layout = self.layout
        own = self._own(x_t, columns)
        if given is not None and given.present is not None:
            own = own.masked_fill(given.present[:, layout.owner] & layout.absent, LEAST_LOGIT)
        scaled = x_t / self._width(columns)
        shares = _shares(layout.log_shares(own))
        noisy = torch.where(layout.discrete, layout.to_model(shares), scaled)
        if "span" in columns:
            noisy = noisy + columns["span"] * scaled * layout.discrete
            drawn = gumbel(scaled.clamp(-FARTHEST, FARTHEST))
            own = own + columns["span"] * drawn
        reach = columns["alpha"] * self.factors / self._width(columns)
        features = self.features(noisy, given, reach)
        output = call(self.network, features, self._times(columns, x_t), condition)
        return RowEstimate(output, layout.log_shares(own + output))

    def _times(self, columns: TimeColumns, x_t: Tensor) -> Tensor:
        if "until" in columns:
            return torch.stack([times_for(columns[name], x_t) for name in ("time", "until")], dim=1)
        t = columns["time"]
        several = isinstance(t, Tensor) and t.numel() > 1
        if several or not getattr(self.network, "shares_time", False):
            return super()._times(columns, x_t)
        return times_for(t, x_t[:1])

    def v(self, u: Tensor, z: Tensor, columns: TimeColumns) -> Tensor:
        """Compute v for data u (n, d), in model units without factors, and noise z."""
        width = self._width(columns)
        return (columns["alpha"] * self.factors * z - columns["sigma"] * u) / width

    def target(self, data: Tensor, x_t: Tensor, columns: TimeColumns) -> tuple[Tensor, Tensor]:
        """Compute the training target for known data.

        Probabilities of indicators, and v of scores, (n, d) each.

        Args:
            data: Data in the units of `space`, (n, d); blocks may lie between categories.
            x_t: State, in the same units, (n, d).
        """
        layout = self.layout
        alpha = columns["alpha"] * self.factors
        width = self._width(columns)
        u = data / self.factors
        shares = (u * layout.std + layout.mean).clamp(min=0) * layout.discrete
        sums = layout.by_column(shares)[:, layout.owner].clamp(min=1e-6)
        return shares / sums, (alpha * x_t / width - width * u) / columns["sigma"]

    def errors(
        self, estimate: RowEstimate, x: Tensor, target: Tensor, ends: Tensor | None = None
    ) -> RowErrors:
        """Compute the errors of an estimate for rows x.

        If x holds probabilities, the indicators of ``ends`` (n, d) determine which scores count.
        The v of a map is compared as used in sampling: multiplied by the probability of a number.
        """
        layout = self.layout
        cross_entropy = layout.by_column(-x * estimate.log_probabilities) / layout.entropy
        if ends is None:
            ends = x
        counts = torch.where(layout.discrete, 0.0, layout.ordinary(ends))
        v = estimate.v
        if self.jumps:
            v = v * layout.ordinary(_shares(estimate.log_probabilities.detach()))
        return RowErrors(cross_entropy, layout.by_column(counts * (v - target).square()))

    def lost(self, errors: RowErrors, columns: TimeColumns) -> Tensor:
        """Compute the fraction of each column's information lost to noise, about 0 to 1.

        For columns with indicators, it is the cross-entropy divided by the entropy; for others, the
        squared error of the data.
        """
        noise = (columns["sigma"] / self._width(columns)) ** 2
        squared = errors.scores * noise[:, self.layout.first]
        return torch.where(self.layout.blocked, errors.indicators, squared)

    def move(self, step: Tensor) -> None:
        """Add ``step``."""
        moved = self.shift + torch.round(step.double() * NAT).long()
        self.shift.copy_(moved.clamp(-round(REACH * NAT), round(REACH * NAT)))

    def features(self, noisy: Tensor, given: Given | None, reach: Tensor) -> Tensor:
        """Compute the network input.

        Waves are the expectations of the sine and cosine of w x for data x of each score, given its
        noisy state and a standard normal prior, at frequencies w from 1 to `HIGHEST` radians.

        Args:
            noisy: Posteriors of indicators and noisy scores of unit variance, (n, d).
        """
        mean = noisy * reach
        reach = reach.expand_as(noisy)
        marks = noisy.new_zeros(noisy.shape[0], self.layout.count)
        if given is not None:
            known = given.known
            if given.hide is not None:
                known = known & ~given.hide[:, None]
            seen = known[:, self.layout.owner]
            clean = self.layout.to_model(given.x.to(noisy))
            noisy = torch.where(seen, clean, noisy)
            mean = torch.where(seen, clean, mean)
            reach = reach.masked_fill(seen, 1.0)
            marks = known.to(noisy)
        return torch.cat([noisy, marks, *self._waves(mean, reach)], dim=1)

    def _waves(self, mean: Tensor, reach: Tensor) -> list[Tensor]:
        if not self.waves:
            return []
        mean = mean[:, self.layout.scores, None]
        reach = reach[:, self.layout.scores, None]
        angles = mean * self.frequencies
        left = torch.exp((reach**2 - 1) / 2 * self.frequencies**2)
        return [(left * angles.sin()).flatten(1), (left * angles.cos()).flatten(1)]

    def _own(self, x_t: Tensor, columns: TimeColumns) -> Tensor:
        layout = self.layout
        alpha = columns["alpha"] * self.factors / self.layout.std
        return layout.prior + alpha / columns["sigma"] ** 2 * (x_t + alpha * layout.mean)

    def _width(self, columns: TimeColumns) -> Tensor:
        return ((columns["alpha"] * self.factors) ** 2 + columns["sigma"] ** 2).sqrt()

    def _data(self, estimate: RowEstimate, x_t: Tensor, columns: TimeColumns) -> Tensor:
        layout = self.layout
        alpha = columns["alpha"] * self.factors
        width = self._width(columns)
        probabilities = _shares(estimate.log_probabilities)
        v = estimate.v * layout.ordinary(probabilities)
        scores = (alpha * x_t / width - columns["sigma"] * v) / width
        return self.factors * torch.where(layout.discrete, layout.to_model(probabilities), scores)

    def given(self, condition: Condition) -> tuple[Given | None, Condition]:
        """Split a condition into given columns and its other parts."""
        if condition is None or self.known not in condition:
            return None, condition
        mask = mask_of(self.known)
        values = condition[self.known]
        rest = {name: value for name, value in condition.items() if name not in (self.known, mask)}
        x = values[:, : self.layout.size].float()
        marks = values[:, self.layout.size :]
        return Given(x, marks > 0.5, condition.get(mask), marks < -0.5), rest or None

    def forward(self, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        return self.predict(self.prediction, x_t, t, condition)


def _shares(logarithms: Tensor) -> Tensor:
    return logarithms.clamp(min=LEAST_LOG).exp()


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
        weight: Weight of each time in the squared error.
        known: Fraction of training rows in which columns are given.
        rate: Change per step, in nats, of the log factor of a column that has lost all or no
            information at the training times; 0 keeps the factors at 1.

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
        share("known", known, " of rows")
        self.denoiser = denoiser
        self.space = denoiser.table
        self.times = times or Stratified(Uniform())
        self.weight = weight or Flat()
        self.known = known
        self.rate = rate
        self.solver = solver or DPM(order=2)
        self.steps = steps
        self.grid = grid

    @property
    def group(self) -> int:
        return self.times.group

    def losses(self, batch: Batch, now: StepContext) -> Iterator[Move]:
        denoiser = self.denoiser
        layout = self.denoiser.layout
        draws = now.draws
        rows = self.space.to_data(batch.x)
        given = Given(rows, known_columns(draws.stream("known"), layout.count, self.known))
        x = layout.spread(rows, draws.stream("spread").normal((len(layout.scores),)))
        u = layout.to_model(x)
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
        total = error.indicators + weight[:, None] * error.scores
        yield "denoiser", (total * ~given.known).mean()

    @torch.no_grad()
    def _move(
        self, total: Sums
    ) -> None:  # where half of a column's information is lost its factor stays
        lost = total.values["lost"]
        cells = total.values["cells"]
        self.denoiser.move(self.rate * (lost / cells.clamp(min=1) - 0.5) * (cells > 0))


class TableDistillation(MapMethod):
    """Distillation of table models: learns the teacher's jumps from stored trajectories.

    The data of a jump between the states at t and s of a trajectory on the straight path is x =
    (x_s - (s / t) x_t) / (1 - s / t): the target of a cross-entropy for indicators, and of v for
    scores. At s = 0 it is the teacher's row.

    loss = mean over columns of cross-entropy / entropy of the column's indicators + |p v -
    target|^2 of its score, if the trajectory ends at a number rather than an atom or a missing
    value. p is the student's probability of a number (without gradient). Given columns are
    excluded.

    Args:
        flow_map: Student, a map on the straight path that starts as the teacher.

    References:
        Hu et al., CMT (2025), for the regression along trajectories; Dieleman et al., Continuous
        Diffusion for Categorical Data (2022), for the cross-entropy.
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

    def losses(self, batch: Batch, now: StepContext) -> Iterator[Move]:
        student = self.flow_map
        trajectories = self.trajectories
        which, first, second = trajectories.places(now.draws.stream("trajectories"))
        (x_t, t) = trajectories.at(which, first)
        (x_s, s) = trajectories.at(which, second)
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
        if given is not None:
            total = total * ~given.known
        yield "map", total.mean()
