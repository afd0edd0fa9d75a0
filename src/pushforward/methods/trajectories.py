"""A teacher's trajectories from noise to data, made once and kept with the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import torch
from torch import Tensor, nn

from pushforward.arguments import whole
from pushforward.data import Space
from pushforward.denoiser import Condition
from pushforward.draws import Draws, RowDraws
from pushforward.errors import UsageError
from pushforward.transports import Flow

__all__ = ["Trajectories"]

ROWS = 256
"""Trajectories made at a time."""


class Trajectories(nn.Module):
    """States of a flow on its way from noise to data, on the straight path: float16, in model units.

    Trajectory i starts from the noise and the condition of seed + i. On another path than the straight one, a state at (alpha,
    sigma) is read as x_t / (alpha + sigma) at t = sigma / (alpha + sigma).

    Args:
        space: The flow's.
        times: Falling times of the states on the straight path; the last is 0.
        count: The number of trajectories.
        seed: The seed of the first.
        to_data: The share of pairs that `draw` ends at the data.

    Raises:
        UsageError: For times that do not fall to 0, a count below 1, or a share outside [0, 1].
    """

    states: Tensor

    def __init__(self, space: Space, times: Sequence[float], count: int, seed: int = 0, to_data: float = 0.5) -> None:
        super().__init__()
        if not 0 <= to_data <= 1:
            raise UsageError(f"to_data is a share between 0 and 1, got {to_data}.")
        self.space, self.count, self.seed, self.to_data = space, whole("count", count), seed, to_data
        self.times = tuple(float(t) for t in times)
        if len(self.times) < 2 or self.times[-1] != 0 or any(a <= b for a, b in zip(self.times, self.times[1:], strict=False)):
            raise UsageError("The times of trajectories fall, and end at 0.")
        shape = (count, len(self.times), *space.shape)
        self.register_buffer("states", torch.zeros(shape, dtype=torch.float16))
        for name, kind in space.conditions.items():
            self.register_buffer(f"condition_{name}", kind.blank(count, "cpu"))

    @classmethod
    def of(cls, teacher: Flow, count: int, seed: int = 0, to_data: float = 0.5) -> Trajectories:
        """Empty trajectories with the times of a teacher's grid; `fill` makes them."""
        return cls(teacher.space, straight_times(teacher), count, seed, to_data)

    @property
    def bytes(self) -> int:
        """What they take in memory."""
        return self.states.numel() * self.states.element_size()

    @torch.no_grad()
    def fill(self, teacher: Flow, progress: Callable[[int], None] | None = None) -> None:
        """Make all trajectories.

        Args:
            teacher: A flow with a grid of `times`.
            progress: Called with the number of trajectories that are there.

        Raises:
            UsageError: For a teacher with other times, or whose states are not finite.
        """
        if straight_times(teacher) != self.times:
            raise UsageError(f"This teacher takes {teacher.steps} steps on other times than its trajectories have.")
        device = teacher.device
        for start in range(0, self.count, ROWS):
            rows = slice(start, min(start + ROWS, self.count))
            n, seed = rows.stop - rows.start, self.seed + start
            draws = RowDraws(seed, n, device=device)
            condition = teacher.conditions(n, None, seed)
            first = teacher.noise(draws) * float(teacher.denoiser.path.at(torch.tensor(teacher.times[0])).sigma)
            walk = teacher.walk(first, teacher.times, condition, draws)
            for place, (t, x) in enumerate(chain([(float(teacher.times[0]), first)], walk)):
                k = teacher.denoiser.path.at(torch.tensor(t, dtype=torch.float64))
                size = float(k.alpha + k.sigma) if t else 1.0
                self.states[rows, place] = (x / size).to(self.states)
            for name in self.space.conditions:
                assert condition is not None
                getattr(self, f"condition_{name}")[rows] = condition[name].to(self.states.device)
            if not bool(self.states[rows].isfinite().all()):
                raise UsageError("A trajectory of the teacher is not finite in float16: its samples have diverged.")
            if progress is not None:
                progress(rows.stop)

    def draw(self, draws: Draws) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Condition]:
        """Two states of one trajectory for each of the draws' rows.

        Args:
            draws: Chooses trajectories and places, uniformly, but for the share that ends at the data.

        Returns:
            x_t and t, x_s and s (s < t), and the condition.
        """
        last = len(self.times) - 1
        which = (draws.stream("trajectory").uniform().double() * self.count).long()
        a = (draws.stream("place").uniform().double() * (last + 1)).long()
        b = (draws.stream("other place").uniform().double() * last).long()
        b = b + (b >= a).long()
        first, second = torch.minimum(a, b), torch.maximum(a, b)
        whole_way = draws.stream("to data").uniform() < self.to_data
        second = torch.where(whole_way, last, second)
        times = torch.tensor(self.times, dtype=torch.float32, device=which.device)
        conditions = {name: getattr(self, f"condition_{name}")[which] for name in self.space.conditions}
        states = self.states
        here, there = states[which, first].float(), states[which, second].float()
        return (here, times[first]), (there, times[second]), conditions or None


def straight_times(teacher: Flow) -> tuple[float, ...]:
    """The times of a flow's grid, as times of the straight path."""
    k = teacher.denoiser.path.at(torch.from_numpy(teacher.times[:-1]))
    return (*(float(t) for t in k.sigma / (k.alpha + k.sigma)), 0.0)
