"""Time grids that are learned: where N steps of a solver should fall for one trained model.

The model itself is the teacher: its own many-step samples from the same noise are the targets of few steps should reproduce. The
network stays frozen; N - 1 numbers are learned, the shares of the log-SNR that the steps take.

References:
    Tong et al., Learning to Discretize Denoising Diffusion ODEs (LD3, 2024); Sabour et al., Align Your Steps (2024).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError
from pushforward.predictor import Condition, condition_at
from pushforward.solvers.grids import GRIDS
from pushforward.transports import Flow, Transport

SEED = 500_000_000
"""The first seed of the noise that grids are learned on; samples and repeats of evaluations start far below."""
Solve = Callable[[Tensor, Condition], Tensor]
"""From standard noise (n, *shape) and its condition to the data at the end of a solve, model units."""


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
    parameters = Shares(_best_start(flow, learn, batch))
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


def _best_start(flow: Flow, pairs: Pairs, batch: int) -> Flow:
    tried = [flow, *(flow.with_solver(flow.solver, flow.steps, grid) for grid in GRIDS)]
    return min(tried, key=lambda candidate: pairs.error(along(candidate), batch))


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
            f"A {what} is learned for a deterministic solver of fixed steps; {name} is none. Use dpm, unipc or deis."
        )
    if flow.steps < 2:
        raise UsageError("One step has no times to learn: it goes from noise to data at once. Ask for 2 steps or more.")


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
