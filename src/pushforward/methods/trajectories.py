"""A teacher's trajectories from noise to data, computed once and stored with the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from pushforward.arguments import share, whole
from pushforward.conditions.kind import hidden
from pushforward.denoiser import trained
from pushforward.draws import Draws, ExampleDraws
from pushforward.errors import UsageError
from pushforward.methods.frozen import Freezing
from pushforward.methods.mapping import scaled
from pushforward.predictor import SCALE, Condition
from pushforward.row_estimates import known_columns
from pushforward.transports import Flow
from pushforward.transports.redrawing import as_drawn

SEED = 700_000_000
"""The seed of the first trajectory: none is the noise of a sample that a person draws or that is scored."""
APART = 1_000_000_000
"""From the seed of a trajectory to that of the row whose columns it is given."""
KNOWN = 0.5
"""The share of trajectories of a table in which columns are given, as of rows in the training of its denoiser."""
CHUNK = 256
"""Trajectories computed at a time."""


class Trajectories(Freezing):
    """States of a flow on its way from noise to data, on the straight path: float16, in model units.

    Trajectory i starts from the noise and the condition of seed + i; of a teacher with a source, from a training example of it.
    On another path than the straight one, a state at (alpha, sigma) is read as x_t / (alpha + sigma) at
    t = sigma / (alpha + sigma). They are in neither checkpoints nor averages: a training stores them in its folder part by part,
    and elsewhere they are computed when they are first drawn from.

    Args:
        teacher: The flow; it stays as it is.
        count: The number of trajectories.
        seed: The seed of the first.
        to_data: The share of pairs that `draw` ends at the data.
        legs: The share of pairs that `draw` takes from samplings in 1, 2 or 4 jumps of this grid (no more than it has
            steps), half of them from 1; or two shares, that of 1 jump and that of 2 or 4, equally often.
        unconditional: The share of trajectories without conditions, which train the map's unconditional branch.
        ends: Store only noise and data.
        guidance: The range of scales of guidance, uniform, of which each trajectory has one (`pushforward.predictor.SCALE` of its
            condition); the teacher is `pushforward.Guided`. None leaves the scale to the teacher.

    Raises:
        UsageError: For a count below 1, a share outside [0, 1], or guidance of trajectories without conditions.
    """

    states: Tensor
    hidden: Tensor

    def __init__(
        self,
        teacher: Flow,
        count: int,
        seed: int = SEED,
        *,
        to_data: float = 0.5,
        legs: float | Sequence[float] = 0.5,
        unconditional: float = 0.0,
        ends: bool = False,
        guidance: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        both = (legs / 2, legs / 2) if isinstance(legs, (int, float)) else tuple(legs)
        if len(both) != 2:
            raise UsageError(f"legs is one share or two, such as (0.49, 0.21), got {len(both)} of them.")
        single, others = both
        shares = {"to_data": to_data, "legs": min(single, others), "unconditional": unconditional}
        for name, part in (*shares.items(), ("legs", single + others)):
            share(name, part)
        self.freeze("teacher", teacher)
        self.space, self.count, self.seed = teacher.space, whole("count", count), seed
        self.to_data, self.unconditional, self.ends = to_data, unconditional, ends
        self.legs = legs if isinstance(legs, (int, float)) else (single, others)
        self._legs, self._single = single + others, single / (single + others or 1)
        if guidance is not None and unconditional:
            raise UsageError("Trajectories without conditions have no scale of guidance: leave guidance or unconditional out.")
        self.guidance = None if guidance is None else (float(guidance[0]), float(guidance[1]))
        self.names = (*self.space.conditions, *(() if guidance is None else (SCALE,)))
        times = straight_times(teacher)
        self.times = (times[0], times[-1]) if ends else times
        self.ready = 0
        for name in ("states", "hidden", *map(_condition, self.names)):
            self.register_buffer(name, torch.zeros(0), persistent=False)

    def __deepcopy__(self, memo: object) -> Trajectories:
        return self

    @property
    def bytes(self) -> int:
        """The memory of the states."""
        return 2 * self.count * len(self.times) * self.space.size

    def missing(self) -> Iterator[slice]:
        """The parts that are not there yet."""
        for start in range(self.ready, self.count, CHUNK):
            yield slice(start, min(start + CHUNK, self.count))

    def fill(self) -> None:
        """Compute all that are missing.

        Raises:
            UsageError: If a state is not finite.
        """
        for index in self.missing():
            self.put(index, self.part(index))

    @torch.no_grad()
    def part(self, index: slice) -> dict[str, Tensor]:
        """Some of the trajectories, by name: their states and conditions.

        Raises:
            UsageError: If a state is not finite.
        """
        teacher, n, seed = self.teacher, index.stop - index.start, self.seed + index.start
        draws = ExampleDraws(seed, n, device=teacher.device)
        condition = self._conditions(n, seed, draws)
        hide = draws.stream("unconditional").uniform() < self.unconditional
        if condition is not None and self.unconditional:
            condition = hidden(condition, hide)
        if self.guidance is not None:
            condition = scaled(condition, self.guidance, draws)
        start = float(teacher.times[0])
        first = teacher.training_noise(draws) * float(teacher.denoiser.path.at(torch.tensor(start)).sigma)
        walk = chain([(start, first)], teacher.walk(first, teacher.times, condition, draws))
        states = [self._straightened(t, x) for t, x in walk]
        stacked = torch.stack([states[0], states[-1]] if self.ends else states, dim=1)
        if not bool(stacked.isfinite().all()):
            raise UsageError("A trajectory of the teacher is not finite in float16: its samples have diverged.")
        given = {_condition(name): (condition or {})[name] for name in self.names}
        return {"states": stacked, "hidden": hide, **given}

    def _conditions(self, n: int, seed: int, draws: Draws) -> Condition:
        """The conditions of n trajectories; in half of those of a table columns of another row of the teacher are given."""
        condition = self.teacher.conditions(n, None, seed)
        denoiser: Any = trained(self.teacher.denoiser)
        name = getattr(denoiser, "known", None)
        if condition is None or name is None:
            return condition
        known = known_columns(draws.stream("known"), denoiser.layout.count, KNOWN)
        which, blank = known.any(1).nonzero()[:, 0], condition[name]
        values = blank[:, : denoiser.layout.size].clone()
        if len(which):
            with as_drawn():
                values[which] = self.teacher.sample(len(which), seed=seed + APART).to(blank)
        values = values * known[:, denoiser.layout.owner]
        return {**condition, name: torch.cat([values, known.to(values)], dim=1)}

    def _straightened(self, t: float, x: Tensor) -> Tensor:
        k = self.teacher.denoiser.path.at(torch.tensor(t, dtype=torch.float64))
        return (x / float(k.alpha + k.sigma) if t else x).half()

    def put(self, index: slice, tensors: Mapping[str, Tensor]) -> None:
        """Take up a `part`, the next that is missing."""
        for name, value in tensors.items():
            if not self.ready:
                setattr(self, name, value.new_zeros(self.count, *value.shape[1:]))
            getattr(self, name)[index] = value
        self.ready = index.stop

    def draw(self, draws: Draws) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Condition]:
        """Two states of one trajectory for each example of the draws.

        Args:
            draws: Chooses trajectories and places, uniformly, but for the share that ends at the data.

        Returns:
            x_t and t, x_s and s (s < t), and the condition, with its masks where some are unconditional.
        """
        which, first, second = self.places(draws)
        return self.at(which, first), self.at(which, second), self.condition(which)

    def places(self, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """The number of a trajectory for each example of the draws, and two places on it, (n,) each; see `draw`."""
        last = len(self.times) - 1
        which = self.choose(draws)
        a = (draws.stream("place").uniform().double() * (last + 1)).long()
        b = (draws.stream("other place").uniform().double() * last).long()
        b = b + (b >= a).long()
        first, second = torch.minimum(a, b), torch.maximum(a, b)
        whole_way = draws.stream("to data").uniform() < self.to_data
        second = torch.where(whole_way, last, second)
        leg = draws.stream("leg").uniform() < self._legs
        first, second = (torch.where(leg, of, place) for of, place in zip(self._leg(draws), (first, second), strict=True))
        return which, first, second

    def at(self, which: Tensor, place: Tensor | int) -> tuple[Tensor, Tensor]:
        """The states of trajectories at places (n,), or at one of all of them, and their times."""
        times = torch.tensor(self.times, dtype=torch.float32, device=which.device)
        return self.states[which, place].float(), times[place]

    def _leg(self, draws: Draws) -> tuple[Tensor, Tensor]:
        """The places where one jump of a sampling in 1, 2 or 4 begins and ends."""
        last = len(self.times) - 1
        u = draws.stream("jumps").uniform().double()
        jumps = (u >= self._single).double() + (u >= (1 + self._single) / 2).double()
        jumps = jumps.clamp(max=min(2, last.bit_length() - 1)).exp2()
        number = (draws.stream("jump").uniform().double() * jumps).floor()
        return (number * last / jumps).round().long(), ((number + 1) * last / jumps).round().long()

    def choose(self, draws: Draws) -> Tensor:
        """The number of a trajectory for each example of the draws, uniform over those that are there."""
        if not self.ready:
            self.fill()
        return (draws.stream("trajectory").uniform().double() * self.ready).long()

    def condition(self, which: Tensor) -> Condition:
        """The conditions of some trajectories."""
        values = {name: getattr(self, _condition(name))[which] for name in self.names}
        return hidden(values, self.hidden[which]) if values and self.unconditional else values or None


def _condition(name: str) -> str:
    return f"condition_{name}"


def straight_times(teacher: Flow) -> tuple[float, ...]:
    """The times of a flow's grid, as times of the straight path."""
    k = teacher.denoiser.path.at(torch.from_numpy(teacher.times[:-1]))
    return (*(float(t) for t in k.sigma / (k.alpha + k.sigma)), 0.0)
