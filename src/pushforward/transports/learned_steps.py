"""Time grids learned for one trained model, which is its own teacher and stays frozen.

References:
    Tong et al., Learning to Discretize Denoising Diffusion ODEs (LD3, 2024); Sabour et al., Align
    Your Steps (2024).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pushforward.denoisers.denoiser import Condition, condition_at
from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError
from pushforward.solvers.solver import GRIDS
from pushforward.transports import Flow, Transport

SEED = 500_000_000  # first seed of the noise for learning, far above those of evaluations
# From standard noise (n, *shape) and its condition to the data at the end of a solve
Solve = Callable[[Tensor, Condition], Tensor]


@dataclass(frozen=True)
class LearnedGrid:
    """Learned time grid, and its errors on noise that was not used for learning.

    Args:
        times: Falling times (N + 1), the last 0.
        before: RMS distance to many-step samples with the original grid.
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
    """Learn the times for which samples are closest to the same model's many-step samples.

    It starts from the best of the flow's times and the named grids. The log-SNR steps are fractions
    softmax(p) of the whole, learned by Adam on the mean squared distance. The result is the
    best grid
    on n/3 further examples.

    Args:
        flow: Deterministic flow; its solver and number of steps are kept.
        n: Number of noise examples for learning.
        rounds: Number of updates.
        batch: Number of examples per update.
        lr: Learning rate.
        seed: Seed of the first noise example.
        teacher: Flow whose samples are the targets; None for 10 times the steps, at least 100.
        watch: Callback after each round with its number and the error on held-out examples.

    Raises:
        UsageError: If the solver is stochastic or adaptive, or there are fewer than 2 steps.
    """
    _check(flow)
    if teacher is None:
        teacher = flow.with_solver(flow.solver, max(100, 10 * flow.steps), "log_snr")
    learning = Pairs.of(flow, teacher, n, seed)
    held_out = Pairs.of(flow, teacher, math.ceil(n / 3), seed + n)
    candidates = [flow, *(flow.with_solver(flow.solver, flow.steps, grid) for grid in GRIDS)]
    start = min(candidates, key=lambda candidate: learning.error(along(candidate), batch))
    grid = GridParameters(start)
    weights = list(grid.parameters())
    optimizer = torch.optim.Adam(weights, lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1 - done / rounds)
    before = held_out.error(along(flow), batch)
    best = flow.times.tolist()
    least = before
    error = before
    interval = max(1, rounds // 10)
    for number in range(1, rounds + 1):
        optimizer.zero_grad()
        loss = learning.some(number - 1, batch).loss(along(flow, grid.times()))
        loss.backward(inputs=weights)
        optimizer.step()
        schedule.step()
        if number % interval == 0 or number == rounds:
            times = grid.times().detach()
            error = held_out.error(along(flow, times), batch)
            if error < least and bool((times.diff() < 0).all()):
                best = times.tolist()
                least = error
        if watch is not None:
            watch(number, error)
    return LearnedGrid(best, before, least)


def along(flow: Flow, times: Tensor | None = None) -> Solve:
    """Solve along other times (N + 1,), differentiably; None for the flow's own times."""
    if times is None:
        times = torch.from_numpy(flow.times.copy())
    start = flow.denoiser.path.at(times[:1]).sigma

    def solve(noise: Tensor, condition: Condition) -> Tensor:
        states = flow.walk(noise * start.to(noise), times, condition)
        return deque(states, maxlen=1).pop()[1]

    return solve


def _check(flow: Flow) -> None:
    if flow.solver.stochastic or flow.solver.adaptive:
        name = type(flow.solver).__name__
        raise UsageError(
            f"A grid can be learned only for deterministic solvers with fixed steps, which {name} "
            "is not. Use dpm, unipc or deis."
        )
    if flow.steps < 2:
        raise UsageError(
            "A single step goes straight from noise to data, so there are no times to learn. Use 2 "
            "steps or more."
        )


class GridParameters(nn.Module):
    """Times of a grid as parameters: log-SNR fractions of steps, and the second last log-SNR."""

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self._path = flow.denoiser.path
        start = self._path.log_snr(torch.from_numpy(flow.times[:-1].copy()))
        self._first = float(start[0])
        self._time = float(flow.times[0])
        self._most = self._path.log_snr_ends()[0]
        gaps = start.diff()
        self.share = nn.Parameter(torch.log(gaps / gaps.sum()))
        self.last = nn.Parameter(start[-1:].clone())

    def times(self) -> Tensor:
        """Return the times (N + 1,), float64, falling to 0; differentiable."""
        last = self.last.clamp(max=self._most)
        fractions = torch.cumsum(torch.softmax(self.share, 0), 0)
        inner = self._path.time(self._first + (last - self._first) * fractions)
        first = torch.tensor([self._time], dtype=torch.float64)
        return torch.cat([first, inner.clamp(*self._path.ends), torch.zeros_like(first)])


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
        targets = []
        with torch.no_grad():
            for i in range(0, n, 64):
                part = slice(i, i + 64)
                targets.append(teacher(noise[part], condition_at(condition, part)))
        return cls(noise, condition, torch.cat(targets))

    def some(self, turn: int, size: int) -> Pairs:
        """Return the examples of one round, in cyclic order."""
        index = (torch.arange(size) + turn * size) % len(self.noise)
        return Pairs(self.noise[index], condition_at(self.condition, index), self.target[index])

    def loss(self, solve: Solve) -> Tensor:
        """Compute the mean squared distance to the target."""
        return (solve(self.noise, self.condition) - self.target).square().mean()

    def error(self, solve: Solve, batch: int) -> float:
        """Compute the RMS distance to the target over all examples."""
        parts = []
        with torch.no_grad():
            for i in range(0, len(self.noise), batch):
                part = slice(i, i + batch)
                end = solve(self.noise[part], condition_at(self.condition, part))
                parts.append((end - self.target[part]).square().flatten(1).mean(1))
        return float(torch.cat(parts).double().mean().sqrt())
