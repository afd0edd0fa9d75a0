"""Solvers that are learned: all coefficients and times of N steps, for one trained model.

The model itself is the teacher, as in `pushforward.grid_learning`: its own many-step samples from the same noise are the targets
of few steps should reproduce. The network stays frozen, and the number of its calls stays that of the solver that learning starts
from. That solver's table is learned in the general form (`pushforward.solvers.learned`): (K + 1)(K + 2) / 2
coefficients and K times for K calls.

References:
    Shaul et al., Bespoke Non-Stationary Solvers (2024), section 3; Kim et al., Distilling ODE Solvers (2024).
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pushforward.errors import UsageError
from pushforward.grid_learning import Pairs, Shares, Solve, along, refuse_others, teacher_of
from pushforward.predictor import Condition, Predictor, TimeColumns, Wrapped, columns_of, evaluate
from pushforward.solvers.grids import GRIDS
from pushforward.solvers.learned import General, LearnedTable, general
from pushforward.solvers.tracing import compile_table
from pushforward.transports import Flow

SEED = 600_000_000
"""The first seed of the noise that tables are learned on; that of samples, evaluations and grids lies below."""
FEWEST = 32
"""Examples on which a table is at least certified."""
RATES = {"coefficients": 0.02, "grid": 0.05}
"""Adam's rates at the start, for coefficients and call times, and for the times of the grid."""
CERTAIN, LEAST = 2.0, 0.01
"""The least gain of a table over the best grid: in standard errors, and as a share of the distance."""


@dataclass(frozen=True)
class TableLearning:
    """The result of learning a table, on noise that it was not learned on.

    Args:
        table: The learned table; None where it is not nearer for certain, or its samples are farther from real data.
        before: RMS distance to the many-step samples of the same solver on the best grid that was tried, model units.
        after: The same with the learned table.
        grid: The N + 1 times of the best grid.
        n: Examples of noise on which both were measured.
        to_data: The least distance to real data of samples by a grid, and that of samples by the table; None where it was not
            measured, since the table is not nearer.
    """

    table: LearnedTable | None
    before: float
    after: float
    grid: list[float]
    n: int
    to_data: tuple[float, float] | None = None

    def __str__(self) -> str:
        """The distances in a sentence."""
        return (
            f"distance to the many-step samples on {self.n} new examples of noise (RMS, standard deviations): "
            f"{self.before:.4f} with the best grid, {self.after:.4f} with the learned table"
            + ("; distance of samples to real data: {:.4g} and {:.4g}".format(*self.to_data) if self.to_data else "")
            + ("" if self.table else ". The table is not certain to be better and is refused")
        )


def learn_table(
    flow: Flow,
    distance: Callable[[Flow], float],
    *,
    grids: Sequence[Sequence[float]] = (),
    n: int = 256,
    rounds: int = 200,
    batch: int = 32,
    teacher: Flow | None = None,
    watch: Callable[[int, float], None] | None = None,
) -> TableLearning:
    """Learn the coefficients and times with which as many calls come nearest to the same model's many-step samples.

    It starts from the flow's solver on the best of the flow's own times, the named grids and those given, and does the same as
    that before its first update. Three sets of noise are disjoint: ``n`` to learn on; a quarter as many, by which the
    best of 20 moments is chosen; and half as many, at least 2, on which the table is measured against all grids.

    Args:
        flow: A deterministic flow of at least 2 steps, guided or not; the table holds for its guidance only.
        distance: How far a flow's samples are from real data: `pushforward.evaluation.curves.training_distance`.
        grids: Further times of as many steps, such as learned ones.
        n: Noise examples to learn on.
        rounds: Updates; each is one pass of ``batch`` examples, forward and backward through all calls.
        batch: Examples in one update.
        teacher: The flow whose samples are to be reproduced; None is the same solver with 10 times the steps, at least 100.
        watch: Called after each round with its number and the newest error on the examples by which the best moment is chosen.

    Returns:
        The table, if it is nearer than every grid by more than two standard errors and one per cent, and its samples are no
        farther from real data than those of the nearest grid, of the flow's own times and of those given; and all distances.

    Raises:
        UsageError: For a stochastic or adaptive solver, one of jumps or of steps that are no table, or fewer than 2 steps.
    """
    flow = flow.with_solver(flow.solver, flow.steps, flow.grid)
    refuse_others(flow, "table")
    if flow.solver.jumps:
        raise UsageError(
            f"{type(flow.solver).__name__} takes what a map between two times returns as it is: it has no coefficients to learn. "
            "Choose a solver of the ODE, such as unipc or dpm."
        )
    _ = flow.table  # refuses steps that are no table
    teacher = teacher or teacher_of(flow)
    counts = n, -(-n // 4), max(FEWEST, -(-n // 2))
    firsts = SEED, SEED + counts[0], SEED + counts[0] + counts[1]
    fit, choice, certify = (Pairs.of(flow, teacher, count, first) for count, first in zip(counts, firsts, strict=True))
    named: list[str | Sequence[float]] = [*GRIDS, *grids]
    rivals = [flow, *(flow.with_solver(flow.solver, flow.steps, grid) for grid in named)]
    start = min(rivals, key=lambda rival: fit.error(along(rival), batch))
    tabled = flow.with_table(_learned(start, fit, choice, (rounds, batch), watch))
    squares = {id(rival): certify.distances(along(rival), batch).double() for rival in rivals}
    best = min(rivals, key=lambda rival: float(squares[id(rival)].mean()))
    before, after = squares[id(best)], certify.distances(along(tabled), batch).double()
    gain = before - after
    nearer = float(gain.mean()) > max(CERTAIN * float(gain.std()) / len(gain) ** 0.5, LEAST * float(before.mean()))
    otherwise = {id(rival): rival for rival in (best, flow, *rivals[1 + len(GRIDS) :])}
    to_data = (min(map(distance, otherwise.values())), distance(tabled)) if nearer else None
    certified = tabled.learned if to_data and to_data[1] <= to_data[0] else None
    return TableLearning(
        certified, float(before.mean().sqrt()), float(after.mean().sqrt()), best.times.tolist(), len(gain), to_data
    )


def _learned(
    start: Flow, fit: Pairs, choice: Pairs, size: tuple[int, int], watch: Callable[[int, float], None] | None
) -> LearnedTable:
    rounds, batch = size
    numbers = _Numbers(start)
    predictor = _Recomputed(start.denoiser)
    optimizer = torch.optim.Adam(numbers.groups(), betas=(0.9, 0.99))
    rates = [group["lr"] for group in optimizer.param_groups]
    best, least = numbers.table(), choice.error(along(start), batch)
    interval, error = max(1, rounds // 20), least
    for i in range(rounds):
        optimizer.zero_grad()
        table, grid = numbers()
        fit.some(i, batch).loss(_solve(start, predictor, table, grid)).backward(inputs=numbers.parameters)
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1.0, 10 * (i + 1) / rounds) * (1 - i / rounds)
        optimizer.step()
        if (i + 1) % interval == 0 or i + 1 == rounds:
            candidate = numbers.table()
            error = float("nan") if candidate is None else choice.error(along(start.with_table(candidate)), batch)
            if candidate is not None and error < least:
                best, least = candidate, error
        if watch is not None:
            watch(i + 1, error)
    assert best is not None
    return best


def _solve(flow: Flow, predictor: Predictor, table: General, grid: Tensor) -> Solve:
    compiled = table.table(predictor, grid.tolist())
    width = flow.denoiser.path.at(grid[:1].detach()).sigma
    return lambda noise, condition: deque(compiled.walk(predictor, noise * width.to(noise), condition, None), maxlen=1).pop()[1]


class _Numbers:
    """A table as free numbers: the times of its grid, which give its solver's coefficients, and numbers added to these.

    The added numbers are 0 at the start. They are measured in standard deviations of the changed state, and of log-SNR for
    the times of the calls.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow, self._path = flow, flow.denoiser.path
        self.grid = Shares(flow)
        start = self._compiled(self.grid.times().detach())
        calls = len(start.kinds)
        self.added = nn.Parameter(torch.zeros(calls + 1, calls + 1, dtype=torch.float64))
        self.moved = nn.Parameter(torch.zeros(calls, dtype=torch.float64))
        widths = self._path.at(torch.cat([start.times.detach(), torch.tensor([self._path.ends[0]]).double()])).r
        self._units = torch.tril(widths[:, None].expand(-1, calls + 1)).clone()
        self._units[:, 0] /= self._path.at(start.times[:1].detach()).sigma

    def _compiled(self, times: Tensor) -> General:
        return general(compile_table(self._flow.solver, times, self._flow.denoiser))

    def __call__(self) -> tuple[General, Tensor]:
        grid = self.grid.times()
        base = self._compiled(grid)
        times = self._path.time(self._path.log_snr(base.times) + self.moved).clamp(*self._path.ends)
        return General(base.kinds, times, base.weights + self._units * self.added, base.stops), grid

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [self.added, self.moved, *self.grid.parameters()]

    def groups(self) -> list[dict[str, object]]:
        return [
            {"params": [self.added, self.moved], "lr": RATES["coefficients"]},
            {"params": list(self.grid.parameters()), "lr": RATES["grid"]},
        ]

    def table(self) -> LearnedTable | None:
        with torch.no_grad():
            table, grid = self()
        finite = all(bool(part.isfinite().all()) for part in (table.weights, table.times, grid))
        return LearnedTable.of(table, grid.tolist()) if finite and bool((grid.diff() < 0).all()) else None


class _Recomputed(Wrapped):
    """A predictor whose calls hold no memory until the backward pass makes them again."""

    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
        return columns_of(self.denoiser, kind, t, to)

    def evaluate(self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None) -> Tensor:
        # the backward pass may run in another thread, which does not have the precision that is set for this one
        here = contextvars.copy_context()
        estimate: Tensor = checkpoint(
            here.run, evaluate, self.denoiser, kind, x_t, columns, condition, use_reentrant=False, preserve_rng_state=False
        )
        return estimate
