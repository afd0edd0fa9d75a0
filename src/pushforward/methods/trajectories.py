"""Stored trajectories of a teacher, and a coupling by their ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from pushforward.arguments import share, whole
from pushforward.conditions.kind import hidden
from pushforward.denoisers.denoiser import (
    SCALE,
    Condition,
    trained_denoiser,
)
from pushforward.draws import Draws, ExampleDraws
from pushforward.errors import UsageError
from pushforward.methods.method import Freezing
from pushforward.paths import Coupling
from pushforward.transports import Flow
from pushforward.transports.redrawing import without_rejection

States = tuple[Tensor, Tensor]  # States (n, *shape) on a path, and their times (n,)


def scaled(condition: Condition, guidance: Sequence[float], draws: Draws) -> Condition:
    """Add a guidance scale, uniform in a range, to the condition of each example."""
    low, high = guidance
    scale = low + draws.stream("guidance").uniform().double() * (high - low)
    return {**(condition or {}), SCALE: scale.float()}


# Seed of the first trajectory, far from seeds of samples that are drawn or scored
SEED = 700_000_000


# Distance from the seed of a trajectory to that of the row whose columns it is given
APART = 1_000_000_000


# Number of trajectories computed at a time
CHUNK = 256


class Trajectories(Freezing):
    """Stored states of a flow on the straight path between noise and data, float16, model units.

    Trajectory i starts from the noise and the condition of seed + i, or from a training example if
    the teacher has a source. A training run stores them in its folder; otherwise they are computed
    on first use.

    Args:
        teacher: Flow, which is not changed.
        count: Number of trajectories.
        seed: Seed of the first trajectory.
        to_data: Fraction of pairs from `draw` that end at the data.
        legs: Fraction of pairs from `draw` that are jumps of sampling in 1, 2 or 4 calls, half of
            them for 1; or two fractions, for 1 call and for 2 or 4.
        unconditional: Fraction of trajectories without conditions.
        ends: Whether to store only noise and data.
        guidance: Range of guidance scales, from which each trajectory draws one uniformly.
    """

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
        self.freeze("teacher", teacher)
        self.space = teacher.space
        self.count = whole("count", count)
        self.seed = seed
        self.to_data = share("to_data", to_data)
        self.unconditional = share("unconditional", unconditional)
        self.ends = ends
        self.legs = legs
        if isinstance(legs, (int, float)):
            legs = (legs / 2, legs / 2)
        self._legs = share("legs", sum(legs))
        self._single = legs[0] / (self._legs or 1)
        self.guidance: tuple[float, ...] | None = None
        self.names = tuple(self.space.conditions)
        if guidance is not None:
            self.guidance = tuple(map(float, guidance))
            self.names += (SCALE,)
        k = teacher.denoiser.path.at(torch.from_numpy(teacher.times[:-1]))
        noise_fractions = k.sigma / (k.alpha + k.sigma)
        self.times = (*noise_fractions.tolist(), 0.0)  # on the straight path
        if ends:
            self.times = (self.times[0], 0.0)
        self.ready = 0
        for name in ("states", "hidden", *map(_condition, self.names)):
            self.register_buffer(name, torch.zeros(0), persistent=False)

    def __deepcopy__(self, memo: object) -> Trajectories:
        return self

    @property
    def bytes(self) -> int:
        """Return the memory use of the states in bytes."""
        return 2 * self.count * len(self.times) * self.space.size

    def missing(self) -> Iterator[slice]:
        """Return the parts that are still missing."""
        for start in range(self.ready, self.count, CHUNK):
            yield slice(start, min(start + CHUNK, self.count))

    def fill(self) -> None:
        """Compute all missing parts."""
        for index in self.missing():
            self.put(index, self.part(index))

    @torch.no_grad()
    def part(self, index: slice) -> dict[str, Tensor]:
        """Compute the states and conditions of some trajectories, by name."""
        teacher = self.teacher
        n = index.stop - index.start
        seed = self.seed + index.start
        draws = ExampleDraws(seed, n, device=teacher.device)
        condition = self._conditions(n, seed, draws)
        hide = draws.stream("unconditional").uniform() < self.unconditional
        if condition is not None and self.unconditional:
            condition = hidden(condition, hide)
        if self.guidance is not None:
            condition = scaled(condition, self.guidance, draws)
        start = float(teacher.times[0])
        sigma = teacher.denoiser.path.at(torch.tensor(start)).sigma
        first = teacher.training_noise(draws) * float(sigma)
        states = [self._straightened(start, first)]
        for t, x in teacher.walk(first, teacher.times, condition, draws):
            states.append(self._straightened(t, x))
        if self.ends:
            states = [states[0], states[-1]]
        stacked = torch.stack(states, dim=1)
        if not stacked.isfinite().all():
            raise UsageError(
                "A teacher trajectory is not finite in float16: the teacher's samples have "
                "diverged."
            )
        part = {"states": stacked, "hidden": hide}
        for name in self.names:
            part[_condition(name)] = (condition or {})[name]
        return part

    def _conditions(self, n: int, seed: int, draws: Draws) -> Condition:
        condition = self.teacher.conditions(n, None, seed)
        with_known = getattr(trained_denoiser(self.teacher.denoiser), "with_known", None)
        if condition is None or with_known is None:
            return condition

        def rows(count: int) -> Tensor:
            with without_rejection():
                return self.teacher.sample(count, seed=seed + APART)

        return with_known(condition, rows, draws.stream("known"))

    def _straightened(self, t: float, x: Tensor) -> Tensor:
        if t:
            k = self.teacher.denoiser.path.at(torch.tensor(t, dtype=torch.float64))
            x = x / float(k.alpha + k.sigma)
        return x.half()

    def put(self, index: slice, tensors: Mapping[str, Tensor]) -> None:
        """Store the next missing `part`."""
        for name, value in tensors.items():
            if not self.ready:
                setattr(self, name, value.new_zeros(self.count, *value.shape[1:]))
            getattr(self, name)[index] = value
        self.ready = index.stop

    def draw(self, draws: Draws) -> tuple[States, States, Condition]:
        """Draw two states of one trajectory per example, (x_t, t) and (x_s, s), and conditions."""
        which, first, second = self.places(draws)
        return self.at(which, first), self.at(which, second), self.condition(which)

    def places(self, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """Draw a trajectory number and two positions on it for each example, (n,) each."""
        last = len(self.times) - 1
        which = self.choose(draws)
        a = (draws.stream("place").uniform().double() * (last + 1)).long()
        b = (draws.stream("other place").uniform().double() * last).long()
        b = b + (b >= a).long()
        first = torch.minimum(a, b)
        second = torch.maximum(a, b)
        to_data = draws.stream("to data").uniform() < self.to_data
        second = torch.where(to_data, last, second)
        leg = draws.stream("leg").uniform() < self._legs
        leg_begin, leg_end = self._leg(draws)
        return which, torch.where(leg, leg_begin, first), torch.where(leg, leg_end, second)

    def at(self, which: Tensor, place: Tensor | int) -> States:
        """Return states of trajectories at positions (n,), or at one position, and their times."""
        times = torch.tensor(self.times, dtype=torch.float32, device=which.device)
        return self.states[which, place].float(), times[place]

    def _leg(self, draws: Draws) -> tuple[Tensor, Tensor]:
        last = len(self.times) - 1
        u = draws.stream("jumps").uniform().double()
        jumps = (u >= self._single).double() + (u >= (1 + self._single) / 2).double()
        jumps = jumps.clamp(max=min(2, last.bit_length() - 1)).exp2()
        number = (draws.stream("jump").uniform().double() * jumps).floor()
        return (number * last / jumps).round().long(), ((number + 1) * last / jumps).round().long()

    def choose(self, draws: Draws) -> Tensor:
        """Draw the number of an available trajectory for each example of the draws."""
        if not self.ready:
            self.fill()
        return (draws.stream("trajectory").uniform().double() * self.ready).long()

    def condition(self, which: Tensor) -> Condition:
        """Return the conditions of some trajectories."""
        values = {name: getattr(self, _condition(name))[which] for name in self.names}
        if values and self.unconditional:
            return hidden(values, self.hidden[which])
        return values or None


def _condition(name: str) -> str:
    return f"condition_{name}"


class TeacherPairs(Coupling, nn.Module):
    """Coupling that replaces data and independent noise by a teacher's noise and samples.

    References:
        Liu et al., Flow Straight and Fast: Rectified Flow (2023), algorithm 1; Lee et al.,
        Improving the Training of Rectified Flows (2024).
    """

    def __init__(self, trajectories: Trajectories) -> None:
        super().__init__()
        self.trajectories = trajectories
        self.source = trajectories.teacher.source

    def __call__(self, x: Tensor, condition: Condition, draws: Draws) -> tuple[Tensor, Tensor]:
        x, z, _ = self.examples(x, condition, draws)
        return x, z

    def examples(
        self, x: Tensor, condition: Condition, draws: Draws
    ) -> tuple[Tensor, Tensor, Condition]:
        pairs = self.trajectories
        which = pairs.choose(draws)
        start = pairs.states[which, 0].float()
        sample = pairs.states[which, -1].float()
        return sample, start / pairs.times[0], pairs.condition(which)
