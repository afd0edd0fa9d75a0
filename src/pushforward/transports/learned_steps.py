"""Time grids and solver tables that are learned for one trained model, which is its own teacher.

Its many-step samples are the targets that few steps from the same noise should reproduce; the network stays frozen. Of a grid
N - 1 numbers are learned, the shares of the log-SNR that the steps take; of a table in the general form
(`pushforward.solvers.table`) (K + 1)(K + 2) / 2 coefficients and K times for K calls.

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

from pushforward.denoisers.denoiser import Condition, Predictor, TimeColumns, Wrapped, columns_of, condition_at, evaluate
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
    """A learned grid and how well it does on noise that it was not learned on.

    Args:
        times: N + 1 falling times, the last 0.
        before: RMS distance to the many-step samples with the grid that the flow had, model units.
        after: The same with the learned one.
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
    """Find the times of ``flow``'s steps that bring its samples nearest to the same model's many-step samples.

    It starts from the best of the flow's own times and the named grids. The first time stays at the noisy end and the last at 0;
    those between are at log_snr = low + (high - low) cumsum(softmax(p)), with p and the cleanest log-SNR learned by Adam on the
    mean squared distance in model units, through solver and network. A third as many examples are kept aside: the grid returned
    is the best on them, the flow's own if none is better.

    Args:
        flow: A deterministic flow of at least 2 steps; its solver and steps are kept.
        n: Noise examples to learn on.
        rounds: Updates of the times; each is one pass of ``batch`` examples, forward and backward.
        batch: Examples in one update.
        lr: Adam's rate.
        seed: The first noise example's seed; labels are drawn with it too.
        teacher: The flow whose samples are to be reproduced; None is the same solver with 10 times the steps, at least 100.
        watch: Called after each round with its number and the newest error on the examples kept aside.

    Returns:
        The times and the errors on the examples kept aside.

    Raises:
        UsageError: For a stochastic or adaptive solver, or fewer than 2 steps.
    """
    refuse_others(flow, "grid")
    teacher = teacher or teacher_of(flow)
    learn, judge = (Pairs.of(flow, teacher, count, first) for count, first in ((n, seed), (-(-n // 3), seed + n)))
    tried = [flow, *(flow.with_solver(flow.solver, flow.steps, grid) for grid in GRIDS)]
    parameters = Shares(min(tried, key=lambda candidate: learn.error(along(candidate), batch)))
    optimizer = torch.optim.Adam(parameters.parameters(), lr=lr)
    before = judge.error(along(flow), batch)
    best, least, error = flow.times.tolist(), before, before
    interval = max(1, rounds // 10)
    for i in range(rounds):
        optimizer.zero_grad()
        learn.some(i, batch).loss(along(flow, parameters.times())).backward(inputs=list(parameters.parameters()))
        for group in optimizer.param_groups:
            group["lr"] = lr * (1 - i / rounds)
        optimizer.step()
        if (i + 1) % interval == 0 or i + 1 == rounds:
            times = parameters.times().detach()
            error = judge.error(along(flow, times), batch)
            if error < least and bool((times.diff() < 0).all()):
                best, least = times.tolist(), error
        if watch is not None:
            watch(i + 1, error)
    return LearnedGrid(best, before, least)


def teacher_of(flow: Flow) -> Flow:
    """The same solver with 10 times the steps, at least 100, at equal steps in log-SNR."""
    return flow.with_solver(flow.solver, max(100, 10 * flow.steps), "log_snr")


def along(flow: Flow, times: Tensor | None = None) -> Solve:
    """The flow's solve along other times (N + 1,), differentiated through where they require a gradient; None is its own."""
    times = torch.from_numpy(flow.times.copy()) if times is None else times
    start = flow.denoiser.path.at(times[:1]).sigma
    return lambda noise, condition: deque(flow.walk(noise * start.to(noise), times, condition), maxlen=1).pop()[1]


def refuse_others(flow: Flow, what: str) -> None:
    """Refuse a flow whose steps cannot be learned: ``what``, a grid or a table.

    Raises:
        UsageError: For a stochastic or adaptive solver, or fewer than 2 steps.
    """
    if flow.solver.stochastic or flow.solver.adaptive:
        name = type(flow.solver).__name__
        raise UsageError(
            f"A {what} can be learned only for deterministic solvers with fixed steps, which {name} is not. Use dpm, "
            "unipc or deis."
        )
    if flow.steps < 2:
        raise UsageError("A single step goes straight from noise to data, so there are no times to learn. Use 2 steps or more.")


class Shares(nn.Module):
    """The times of a grid as free numbers: what share of the log-SNR each step takes, and where the last but one ends."""

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
        """(N + 1,) float64, falling to 0; differentiable."""
        last = self.last.clamp(max=self._most)
        inner = self._first + (last - self._first) * torch.cumsum(torch.softmax(self.share, 0), 0)
        ends = torch.tensor([self._time, 0.0], dtype=torch.float64)
        return torch.cat([ends[:1], self._path.time(inner).clamp(*self._path.ends), ends[1:]])


@dataclass
class Pairs:
    """Noise, its condition, and the samples that the teacher makes of it; all in model units."""

    noise: Tensor
    condition: Condition
    target: Tensor

    @classmethod
    def of(cls, flow: Flow, teacher: Transport, n: int, seed: int) -> Pairs:
        """Noise from a seed on, with the conditions that come with it, and the teacher's samples from it."""
        draws = ExampleDraws(seed, n, device=flow.device)
        condition = flow.conditions(n, None, seed)
        noise = flow.training_noise(draws)
        with torch.no_grad():
            parts = [teacher(noise[i : i + 64], condition_at(condition, slice(i, i + 64))) for i in range(0, n, 64)]
        return cls(noise, condition, torch.cat(parts))

    def some(self, turn: int, size: int) -> Pairs:
        """The examples of one turn, in order and round about."""
        index = (torch.arange(size) + turn * size) % len(self.noise)
        return Pairs(self.noise[index], condition_at(self.condition, index), self.target[index])

    def loss(self, solve: Solve) -> Tensor:
        """Mean squared distance to the target."""
        return (solve(self.noise, self.condition) - self.target).square().mean()

    def distances(self, solve: Solve, batch: int) -> Tensor:
        """Each example's mean squared distance to the target, (n,)."""
        parts = []
        with torch.no_grad():
            for i in range(0, len(self.noise), batch):
                part = slice(i, i + batch)
                end = solve(self.noise[part], condition_at(self.condition, part))
                parts.append((end - self.target[part]).square().flatten(1).mean(1))
        return torch.cat(parts)

    def error(self, solve: Solve, batch: int) -> float:
        """RMS distance to the target over all examples."""
        return float(self.distances(solve, batch).double().mean().sqrt())


# The first seed of the noise that tables are learned on; that of samples, evaluations and grids lies below
TABLE_LEARNING_SEED = 600_000_000
FEWEST = 32  # Examples on which a table is at least certified
# Adam's rates at the start, for coefficients and call times, and for the times of the grid
RATES = {"coefficients": 0.02, "grid": 0.05}
CERTAIN, LEAST = 2.0, 0.01  # The least gain of a table over the best grid: in standard errors, and as a share of the distance


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
        return (
            f"distance to the many-step samples on {self.n} new noise examples (RMS, standard deviations): "
            f"{self.before:.4f} with the best grid, {self.after:.4f} with the learned table"
            + ("; distance of samples to real data: {:.4g} and {:.4g}".format(*self.to_data) if self.to_data else "")
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
    """Learn the coefficients and times with which as many calls come nearest to the same model's many-step samples.

    It starts from the flow's solver on the best of the flow's own times, the named grids and those given, and does the same as
    that before its first update. Three sets of noise are disjoint: ``n`` to learn on; a quarter as many, by which the
    best of 20 moments is chosen; and half as many, at least 2, on which the table is measured against all grids.

    Args:
        flow: A deterministic flow of at least 2 steps, guided or not; the table holds for its guidance only.
        distance: How far a flow's samples are from real data: `pushforward.evaluation.evaluator.training_distance`.
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
    _ = flow.table  # refuses steps that are no table
    teacher = teacher or teacher_of(flow)
    counts = n, -(-n // 4), max(FEWEST, -(-n // 2))
    firsts = TABLE_LEARNING_SEED, TABLE_LEARNING_SEED + counts[0], TABLE_LEARNING_SEED + counts[0] + counts[1]
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
    groups: list[dict[str, Any]] = [
        {"params": [numbers.added, numbers.moved], "lr": RATES["coefficients"]},
        {"params": [*numbers.grid.parameters()], "lr": RATES["grid"]},
    ]
    optimizer = torch.optim.Adam(groups, betas=(0.9, 0.99))
    rates = [group["lr"] for group in optimizer.param_groups]
    best, least = numbers.table(), choice.error(along(start), batch)
    interval, error = max(1, rounds // 20), least
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
