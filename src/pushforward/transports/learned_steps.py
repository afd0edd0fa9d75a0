"""Time grids that are learned for one trained model, which is its own teacher.

Its many-step samples are the targets that few steps from the same noise should reproduce; the
network stays frozen. A grid has N - 1 learned numbers, the fractions of the log-SNR that the steps
take.

References:
    Tong et al., Learning to Discretize Denoising Diffusion ODEs (LD3, 2024); Sabour et al., Align Your Steps (2024).
"""

from __future__ import annotations

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
    refuse_others(flow)
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


def refuse_others(flow: Flow) -> None:
    """Raise an error if a grid cannot be learned for a flow.

    Raises:
        UsageError: If the solver is stochastic or adaptive, or there are fewer than 2 steps.
    """
    if flow.solver.stochastic or flow.solver.adaptive:
        name = type(flow.solver).__name__
        raise UsageError(
            f"A grid can be learned only for deterministic solvers with fixed steps, which {name} is not. Use dpm, "
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
