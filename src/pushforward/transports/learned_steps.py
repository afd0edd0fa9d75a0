"""Time grids learned for one trained model, which is its own teacher and stays frozen.

References:
    Tong et al., Learning to Discretize Denoising Diffusion ODEs (LD3, 2024); Sabour et al., Align
    Your Steps (2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pushforward.denoisers.denoiser import Condition, condition_at
from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError
from pushforward.transports import Flow, Transport

SEED = 500_000_000  # first seed of the noise for learning, far above those of evaluations


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
    watch: Callable[[int, float], None] | None = None,
) -> LearnedGrid:
    """Learn the times for which samples are closest to the same model's many-step samples.

    The log-SNR steps are fractions softmax(p) of the whole, learned by Adam on the mean squared
    distance to samples in 10 times the steps, at least 100. The flow's own times are kept unless
    the learned times are better on n/3 further examples.

    Args:
        flow: Deterministic flow; its solver and number of steps are kept.
        watch: Callback after each round with its number and the RMS distance of its examples.

    Raises:
        UsageError: If the solver is stochastic or adaptive, or there are fewer than 2 steps.
    """
    if flow.solver.stochastic or flow.solver.adaptive or flow.steps < 2:
        name = type(flow.solver).__name__
        raise UsageError(
            "A grid can be learned only for at least 2 fixed steps of a deterministic solver, such "
            f"as dpm, unipc or deis; got {flow.steps} of {name}."
        )
    teacher = flow.with_solver(flow.solver, max(100, 10 * flow.steps), "log_snr")
    learning = Pairs.of(flow, teacher, n, SEED)
    grid = GridParameters(flow)
    weights = list(grid.parameters())
    optimizer = torch.optim.Adam(weights, lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: 1 - done / rounds)
    for number in range(rounds):
        index = (torch.arange(batch) + number * batch) % n
        optimizer.zero_grad()
        loss = learning.distances(flow, grid.times(), index).mean()
        loss.backward(inputs=weights)
        optimizer.step()
        schedule.step()
        if watch is not None:
            watch(number + 1, math.sqrt(float(loss.detach())))
    held_out = Pairs.of(flow, teacher, math.ceil(n / 3), SEED + n)
    own = torch.from_numpy(flow.times.copy())
    before = held_out.error(flow, own, batch)
    times = grid.times().detach()
    after = held_out.error(flow, times, batch)
    if after < before and (times.diff() < 0).all():
        return LearnedGrid(times.tolist(), before, after)
    return LearnedGrid(own.tolist(), before, before)


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
    @torch.no_grad()
    def of(cls, flow: Flow, teacher: Transport, n: int, seed: int) -> Pairs:
        """Draw noise and conditions from a seed on, and compute the teacher's samples."""
        draws = ExampleDraws(seed, n, device=flow.device)
        condition = flow.conditions(n, None, seed)
        noise = flow.training_noise(draws)
        targets = []
        for index in torch.arange(n).split(64):
            targets.append(teacher(noise[index], condition_at(condition, index)))
        return cls(noise, condition, torch.cat(targets))

    def distances(self, flow: Flow, times: Tensor, index: Tensor) -> Tensor:
        """Compute the mean squared distances to the target of a solve along times."""
        start = self.noise[index] * flow.denoiser.path.at(times[:1]).sigma.to(self.noise)
        *_, (_, end) = flow.walk(start, times, condition_at(self.condition, index))
        return (end - self.target[index]).square().flatten(1).mean(1)

    @torch.no_grad()
    def error(self, flow: Flow, times: Tensor, batch: int) -> float:
        """Compute the RMS distance to the target over all examples."""
        parts = torch.arange(len(self.noise)).split(batch)
        distances = torch.cat([self.distances(flow, times, index) for index in parts])
        return float(distances.double().mean().sqrt())
