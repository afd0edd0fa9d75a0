"""Time grids and solver tables that are learned for one trained model, which is its own teacher.

Its many-step samples are the targets that few steps from the same noise should reproduce; the
network stays frozen. A grid has N - 1 learned numbers, the fractions of the log-SNR that the steps
take. A table in the general form (`pushforward.solvers.table`) with K calls has (K + 1)(K + 2) / 2
learned coefficients and K learned times.

References:
    Tong et al., Learning to Discretize Denoising Diffusion ODEs (LD3, 2024); Sabour et al., Align Your Steps (2024); Shaul et
    al., Bespoke Non-Stationary Solvers (2024), section 3; Kim et al., Distilling ODE Solvers (2024).
"""

from __future__ import annotations

import contextvars
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pushforward.denoisers.denoiser import (
    Condition,
    Predictor,
    TimeColumns,
    Wrapped,
    columns_of,
    condition_at,
    evaluate,
)
from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError
from pushforward.solvers.solver import GRIDS
from pushforward.solvers.table import General, LearnedTable, compile_table, general
from pushforward.transports import Flow, Transport

SEED = 500_000_000  # The first seed of the noise that grids are learned on; samples and repeats of evaluations start far below
# From standard noise (n, *shape) and its condition to the data at the end of a solve, model units
Solve = Callable[[Tensor, Condition], Tensor]


@dataclass(frozen=True)
class LearnedGrid:
    """Learned time grid, and its errors on noise that was not used for learning.

    Args:
        times: Falling times (N + 1), the last 0.
        before: RMS distance to many-step samples with the original grid, in model units.
        after: RMS distance with the learned grid.
    """

    times: list[float]
    before: float
    after: float


def learn_grid(
    flow: Flow,
    *,
    n: int = 128,
    rounds: int = 40,
    batch: int = 32,
    lr: float = 0.05,
    seed: int = SEED,
    teacher: Flow | None = None,
    watch: Callable[[int, float], None] | None = None,
) -> LearnedGrid:
    """Learn the times of ``flow``'s steps for which its samples are closest to the same model's many-step samples.

    It starts from the best of the flow's own times and the named grids. The first time stays at the
    noisy end and the last at 0; times in between are at log_snr = low + (high - low)
    cumsum(softmax(p)), with p and the cleanest log-SNR learned by Adam on the mean squared distance
    in model units, through solver and network. Another n/3 examples are held out: the
    returned grid is the best on them, or the flow's own if none is better.

    Args:
        flow: Deterministic flow with at least 2 steps; its solver and number of steps are kept.
        n: Number of noise examples for learning.
        rounds: Number of updates of the times, each with one forward and backward pass of ``batch``
            examples.
        batch: Number of examples per update.
        lr: Learning rate of Adam.
        seed: Seed of the first noise example, also used for labels.
        teacher: Flow whose samples are the targets; None for the same solver with 10 times the
            steps, at least 100.
        watch: Callback after each round with its number and the latest error on the held-out
            examples.

    Returns:
        Times, and errors on the held-out examples.

    Raises:
        UsageError: If the solver is stochastic or adaptive, or there are fewer than 2 steps.
    """
    refuse_others(flow, "grid")
    teacher = teacher or teacher_of(flow)
    learn, judge = (
        Pairs.of(flow, teacher, count, first)
        for count, first in ((n, seed), (-(-n // 3), seed + n))
    )
    tried = [flow, *(flow.with_solver(flow.solver, flow.steps, grid) for grid in GRIDS)]
    parameters = Shares(min(tried, key=lambda candidate: learn.error(along(candidate), batch)))
    optimizer = torch.optim.Adam(parameters.parameters(), lr=lr)
    before = judge.error(along(flow), batch)
    best = flow.times.tolist()
    least = before
    error = before
    interval = max(1, rounds // 10)
    for i in range(rounds):
        optimizer.zero_grad()
        learn.some(i, batch).loss(along(flow, parameters.times())).backward(
            inputs=list(parameters.parameters())
        )
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - i / rounds)
        optimizer.step()
        if (i + 1) % interval == 0 or i + 1 == rounds:
            times = parameters.times().detach()
            error = judge.error(along(flow, times), batch)
            if error < least and bool((times.diff() < 0).all()):
                best = times.tolist()
                least = error
        if watch is not None:
            watch(i + 1, error)
    return LearnedGrid(best, before, least)


def teacher_of(flow: Flow) -> Flow:
    """Return the same solver with 10 times the steps, at least 100, equal in log-SNR."""
    return flow.with_solver(flow.solver, max(100, 10 * flow.steps), "log_snr")


def along(flow: Flow, times: Tensor | None = None) -> Solve:
    """Solve along other times (N + 1,), with gradients if the times require them; None for the flow's own times."""
    if times is None:
        times = torch.from_numpy(flow.times.copy())
    start = flow.denoiser.path.at(times[:1]).sigma
    return lambda noise, condition: deque(
        flow.walk(noise * start.to(noise), times, condition), maxlen=1
    ).pop()[1]


def refuse_others(flow: Flow, what: str) -> None:
    """Raise an error if a grid or table (``what``) cannot be learned for a flow.

    Raises:
        UsageError: If the solver is stochastic or adaptive, or there are fewer than 2 steps.
    """
    if flow.solver.stochastic or flow.solver.adaptive:
        name = type(flow.solver).__name__
        raise UsageError(
            f"A {what} can be learned only for deterministic solvers with fixed steps, which {name} is not. Use dpm, "
            "unipc or deis."
        )
    if flow.steps < 2:
        raise UsageError(
            "A single step goes straight from noise to data, so there are no times to learn. Use 2 steps or more."
        )


class Shares(nn.Module):
    """Times of a grid as free parameters: the fraction of log-SNR of each step, and the second last time."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self._path = flow.denoiser.path
        start = self._path.log_snr(torch.from_numpy(flow.times[:-1].copy()))
        self._first, self._time = float(start[0]), float(flow.times[0])
        self._most = self._path.log_snr_ends()[0]
        gaps = start.diff()
        self.share = nn.Parameter(torch.log(gaps / gaps.sum()))
        self.last = nn.Parameter(start[-1:].clone())

    def times(self) -> Tensor:
        """Return the times (N + 1,), float64, falling to 0; differentiable."""
        last = self.last.clamp(max=self._most)
        inner = self._first + (last - self._first) * torch.cumsum(torch.softmax(self.share, 0), 0)
        ends = torch.tensor([self._time, 0.0], dtype=torch.float64)
        return torch.cat([ends[:1], self._path.time(inner).clamp(*self._path.ends), ends[1:]])


@dataclass
class Pairs:
    """Noise, its condition, and the teacher's samples from it, in model units."""

    noise: Tensor
    condition: Condition
    target: Tensor

    @classmethod
    def of(cls, flow: Flow, teacher: Transport, n: int, seed: int) -> Pairs:
        """Draw noise and conditions from a seed on, and compute the teacher's samples."""
        draws = ExampleDraws(seed, n, device=flow.device)
        condition = flow.conditions(n, None, seed)
        noise = flow.training_noise(draws)
        with torch.no_grad():
            parts = [
                teacher(noise[i : i + 64], condition_at(condition, slice(i, i + 64)))
                for i in range(0, n, 64)
            ]
        return cls(noise, condition, torch.cat(parts))

    def some(self, turn: int, size: int) -> Pairs:
        """Return the examples of one round, in cyclic order."""
        index = (torch.arange(size) + turn * size) % len(self.noise)
        return Pairs(self.noise[index], condition_at(self.condition, index), self.target[index])

    def loss(self, solve: Solve) -> Tensor:
        """Compute the mean squared distance to the target."""
        return (solve(self.noise, self.condition) - self.target).square().mean()

    def distances(self, solve: Solve, batch: int) -> Tensor:
        """Compute each example's mean squared distance to the target, (n,)."""
        parts = []
        with torch.no_grad():
            for i in range(0, len(self.noise), batch):
                part = slice(i, i + batch)
                end = solve(self.noise[part], condition_at(self.condition, part))
                parts.append((end - self.target[part]).square().flatten(1).mean(1))
        return torch.cat(parts)

    def error(self, solve: Solve, batch: int) -> float:
        """Compute the RMS distance to the target over all examples."""
        return float(self.distances(solve, batch).double().mean().sqrt())


# The first seed of the noise that tables are learned on; that of samples, evaluations and grids lies below
TABLE_LEARNING_SEED = 600_000_000
FEWEST = 32  # Examples on which a table is at least certified
# Adam's rates at the start, for coefficients and call times, and for the times of the grid
RATES = {"coefficients": 0.02, "grid": 0.05}
# The least gain of a table over the best grid: in standard errors, and as a share of the distance
CERTAIN = 2.0
LEAST = 0.01


@dataclass(frozen=True)
class TableLearning:
    """Result of learning a table, measured on noise that was not used for learning.

    Args:
        table: Learned table; None if it is not significantly closer, or its samples are farther
            from real data.
        before: RMS distance to many-step samples with the same solver on the best grid, in model
            units.
        after: RMS distance with the learned table.
        grid: Times (N + 1) of the best grid.
        n: Number of noise examples for measuring both.
        to_data: Smallest distance to real data of samples with a grid, and distance of samples with
            the table; None if the table is not closer, so that it was not measured.
    """

    table: LearnedTable | None
    before: float
    after: float
    grid: list[float]
    n: int
    to_data: tuple[float, float] | None = None

    def __str__(self) -> str:
        return (
            f"distance to the many-step samples on {self.n} new noise examples (RMS, standard deviations): "
            f"{self.before:.4f} with the best grid, {self.after:.4f} with the learned table"
            + (
                "; distance of samples to real data: {:.4g} and {:.4g}".format(*self.to_data)
                if self.to_data
                else ""
            )
            + ("" if self.table else ". The table is not used, as it is not significantly better")
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
    """Learn coefficients and times for which the same number of calls comes closest to the model's many-step samples.

    It starts as the flow's solver on the best of the flow's own times, the named grids and the
    given grids. Three sets of noise are disjoint: ``n`` examples for learning, n/4 to choose the
    best of 20 snapshots, and n/2 (at least 2) to compare the table with all grids.

    Args:
        flow: Deterministic flow with at least 2 steps, guided or not; the table is valid only for
            its guidance.
        distance: Function from a flow to the distance of its samples to real data:
            `pushforward.evaluation.evaluator.training_distance`.
        grids: Additional time grids with the same number of steps, such as learned times.
        n: Number of noise examples for learning.
        rounds: Number of updates, each with one forward and backward pass of ``batch`` examples
            through all calls.
        batch: Number of examples per update.
        teacher: Flow whose samples are the targets; None for the same solver with 10 times the
            steps, at least 100.
        watch: Callback after each round with its number and the latest error on the examples for
            choosing the best snapshot.

    Returns:
        The table, if it is closer than every grid by more than two standard errors and one percent,
            and its samples are not farther from real data than samples with the closest grid, the
            flow's own times and the given times; and all distances.

    Raises:
        UsageError: If the solver is stochastic or adaptive, jumps, or has steps that are not a
            table, or there are fewer than 2 steps.
    """
    flow = flow.with_solver(flow.solver, flow.steps, flow.grid)
    refuse_others(flow, "table")
    _ = flow.table  # refuses steps that are no table
    teacher = teacher or teacher_of(flow)
    counts = n, -(-n // 4), max(FEWEST, -(-n // 2))
    firsts = (
        TABLE_LEARNING_SEED,
        TABLE_LEARNING_SEED + counts[0],
        TABLE_LEARNING_SEED + counts[0] + counts[1],
    )
    fit, choice, certify = (
        Pairs.of(flow, teacher, count, first) for count, first in zip(counts, firsts, strict=True)
    )
    named: list[str | Sequence[float]] = [*GRIDS, *grids]
    rivals = [flow, *(flow.with_solver(flow.solver, flow.steps, grid) for grid in named)]
    start = min(rivals, key=lambda rival: fit.error(along(rival), batch))
    tabled = flow.with_table(_learned(start, fit, choice, (rounds, batch), watch))
    squares = {id(rival): certify.distances(along(rival), batch).double() for rival in rivals}
    best = min(rivals, key=lambda rival: float(squares[id(rival)].mean()))
    before = squares[id(best)]
    after = certify.distances(along(tabled), batch).double()
    gain = before - after
    nearer = float(gain.mean()) > max(
        CERTAIN * float(gain.std()) / len(gain) ** 0.5, LEAST * float(before.mean())
    )
    otherwise = {id(rival): rival for rival in (best, flow, *rivals[1 + len(GRIDS) :])}
    to_data = (min(map(distance, otherwise.values())), distance(tabled)) if nearer else None
    certified = tabled.learned if to_data and to_data[1] <= to_data[0] else None
    return TableLearning(
        certified,
        float(before.mean().sqrt()),
        float(after.mean().sqrt()),
        best.times.tolist(),
        len(gain),
        to_data,
    )


def _learned(
    start: Flow,
    fit: Pairs,
    choice: Pairs,
    size: tuple[int, int],
    watch: Callable[[int, float], None] | None,
) -> LearnedTable:
    rounds, batch = size
    numbers = _Numbers(start)
    predictor = _Recomputed(start.denoiser)
    groups: list[dict[str, Any]] = [
        {"params": [numbers.added, numbers.moved], "lr": RATES["coefficients"]},
        {"params": [*numbers.grid.parameters()], "lr": RATES["grid"]},
    ]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    rates = [group["lr"] for group in optimizer.param_groups]
    best = numbers.table()
    least = choice.error(along(start), batch)
    interval = max(1, rounds // 20)
    error = least
    for i in range(rounds):
        optimizer.zero_grad()
        table, grid = numbers()
        fit.some(i, batch).loss(_solve(start, predictor, table, grid)).backward(
            inputs=[part for group in groups for part in group["params"]]
        )
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * min(1.0, 10 * (i + 1) / rounds) * (1 - i / rounds)
        optimizer.step()
        if (i + 1) % interval == 0 or i + 1 == rounds:
            candidate = numbers.table()
            if candidate is None:
                error = float("nan")
            else:
                error = choice.error(along(start.with_table(candidate)), batch)
            if candidate is not None and error < least:
                best = candidate
                least = error
        if watch is not None:
            watch(i + 1, error)
    assert best is not None
    return best


def _solve(flow: Flow, predictor: Predictor, table: General, grid: Tensor) -> Solve:
    compiled = table.table(predictor, grid.tolist())
    width = flow.denoiser.path.at(grid[:1].detach()).sigma
    return lambda noise, condition: deque(
        compiled.walk(predictor, noise * width.to(noise), condition, None), maxlen=1
    ).pop()[1]


class _Numbers:
    """A table as free numbers: the times of its grid, which give its solver's coefficients, and numbers added to these.

    The added numbers are 0 at the start. They are measured in standard deviations of the changed state, and of log-SNR for
    the times of the calls.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._path = flow.denoiser.path
        self.grid = Shares(flow)
        start = self._compiled(self.grid.times().detach())
        calls = len(start.kinds)
        self.added = nn.Parameter(torch.zeros(calls + 1, calls + 1, dtype=torch.float64))
        self.moved = nn.Parameter(torch.zeros(calls, dtype=torch.float64))
        widths = self._path.at(
            torch.cat([start.times.detach(), torch.tensor([self._path.ends[0]]).double()])
        ).r
        self._units = torch.tril(widths[:, None].expand(-1, calls + 1)).clone()
        self._units[:, 0] /= self._path.at(start.times[:1].detach()).sigma

    def _compiled(self, times: Tensor) -> General:
        return general(compile_table(self._flow.solver, times, self._flow.denoiser))

    def __call__(self) -> tuple[General, Tensor]:
        grid = self.grid.times()
        base = self._compiled(grid)
        times = self._path.time(self._path.log_snr(base.times) + self.moved).clamp(*self._path.ends)
        return General(base.kinds, times, base.weights + self._units * self.added, base.stops), grid

    def table(self) -> LearnedTable | None:
        with torch.no_grad():
            table, grid = self()
        finite = all(bool(part.isfinite().all()) for part in (table.weights, table.times, grid))
        if finite and bool((grid.diff() < 0).all()):
            return LearnedTable.of(table, grid.tolist())
        return None


class _Recomputed(Wrapped):
    """A predictor whose calls hold no memory until the backward pass makes them again."""

    def columns(self, kind: str, t: Tensor, to: Tensor | None = None) -> TimeColumns:
        return columns_of(self.denoiser, kind, t, to)

    def evaluate(
        self, kind: str, x_t: Tensor, columns: TimeColumns, condition: Condition = None
    ) -> Tensor:
        # the backward pass may run in another thread, which does not have the precision that is set for this one
        here = contextvars.copy_context()
        estimate: Tensor = checkpoint(
            here.run,
            evaluate,
            self.denoiser,
            kind,
            x_t,
            columns,
            condition,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        return estimate
