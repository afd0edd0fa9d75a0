"""Distillation of a flow: stored trajectories of the teacher, and the maps and flows that learn from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Mapping as Dict
from itertools import chain

import torch
from torch import Tensor, nn

from pushforward.arguments import share, whole
from pushforward.conditions.kind import hidden
from pushforward.data import Batch
from pushforward.denoisers.denoiser import (
    SCALE,
    Condition,
    FlowMap,
    condition_at,
    shaped,
    trained,
)
from pushforward.draws import Draws, ExampleDraws
from pushforward.errors import UsageError
from pushforward.methods.flow_map import Mapping, Pairs, mean_velocity, scaled, straight
from pushforward.methods.flow_map_targets import Rule
from pushforward.methods.method import Freezing, Move, Now
from pushforward.methods.perceptual_distance import Featured, Likeness
from pushforward.paths import Coupling
from pushforward.transports import Flow
from pushforward.transports.redrawing import as_drawn

# The seed of the first trajectory: none is the noise of a sample that a person draws or that is scored
SEED = 700_000_000
APART = 1_000_000_000  # From the seed of a trajectory to that of the row whose columns it is given
CHUNK = 256  # Trajectories computed at a time


class Trajectories(Freezing):
    """Stored states of a flow between noise and data, on the straight path: float16, in model units.

    Trajectory i starts from the noise and the condition of seed + i, or from a training example if
    the teacher has a source. On other paths than the straight one, a state at (alpha, sigma) is
    converted to x_t / (alpha + sigma) at t = sigma / (alpha + sigma). Trajectories are excluded
    from checkpoints and weight averages: a training run stores them in its folder in parts;
    otherwise they are computed on first use.

    Args:
        teacher: Flow, which is not changed.
        count: Number of trajectories.
        seed: Seed of the first trajectory.
        to_data: Fraction of pairs from `draw` that end at the data.
        legs: Fraction of pairs from `draw` that are legs of sampling in 1, 2 or 4 jumps on this
            grid (at most its number of steps), half of them for 1 jump; or two fractions, for 1
            jump and for 2 or 4 (equally often).
        unconditional: Fraction of trajectories without conditions, which train the unconditional
            branch of the map.
        ends: Whether to store only noise and data.
        guidance: Range of guidance scales, from which each trajectory draws one uniformly (`SCALE`
            of its condition); the teacher is `pushforward.Guided`. None for the teacher's own
            scale.

    Raises:
        UsageError: If the count is below 1, a fraction is outside [0, 1], or trajectories without
            conditions are to be guided.
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
        single, others = (legs / 2, legs / 2) if isinstance(legs, (int, float)) else legs
        for name, part in {"to_data": to_data, "unconditional": unconditional}.items():
            share(name, part)
        for part in (single, others, single + others):
            share("legs", part)
        self.freeze("teacher", teacher)
        self.space, self.count, self.seed = teacher.space, whole("count", count), seed
        self.to_data = to_data
        self.unconditional = unconditional
        self.ends = ends
        self.legs = legs if isinstance(legs, (int, float)) else (single, others)
        self._legs = single + others
        self._single = single / (single + others or 1)
        if guidance is not None and unconditional:
            raise UsageError(
                "Unconditional trajectories do not support guidance. Leave out `guidance` or `unconditional`."
            )
        self.guidance = None if guidance is None else (float(guidance[0]), float(guidance[1]))
        self.names = (*self.space.conditions, *(() if guidance is None else (SCALE,)))
        k = teacher.denoiser.path.at(torch.from_numpy(teacher.times[:-1]))
        times = (*(k.sigma / (k.alpha + k.sigma)).tolist(), 0.0)  # on the straight path
        self.times = (times[0], times[-1]) if ends else times
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
        """Compute all missing parts.

        Raises:
            UsageError: If a state is not finite.
        """
        for index in self.missing():
            self.put(index, self.part(index))

    @torch.no_grad()
    def part(self, index: slice) -> dict[str, Tensor]:
        """Compute the states and conditions of some trajectories, by name.

        Raises:
            UsageError: If a state is not finite.
        """
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
        first = teacher.training_noise(draws) * float(
            teacher.denoiser.path.at(torch.tensor(start)).sigma
        )
        walk = chain([(start, first)], teacher.walk(first, teacher.times, condition, draws))
        states = [self._straightened(t, x) for t, x in walk]
        stacked = torch.stack([states[0], states[-1]] if self.ends else states, dim=1)
        if not bool(stacked.isfinite().all()):
            raise UsageError(
                "A teacher trajectory is not finite in float16: the teacher's samples have diverged."
            )
        given = {_condition(name): (condition or {})[name] for name in self.names}
        return {"states": stacked, "hidden": hide, **given}

    def _conditions(self, n: int, seed: int, draws: Draws) -> Condition:
        """The conditions of n trajectories; in half of those of a table columns of another row of the teacher are given."""
        condition = self.teacher.conditions(n, None, seed)
        with_known = getattr(trained(self.teacher.denoiser), "with_known", None)
        if condition is None or with_known is None:
            return condition

        def rows(count: int) -> Tensor:
            with as_drawn():
                return self.teacher.sample(count, seed=seed + APART)

        given: Condition = with_known(condition, rows, draws.stream("known"))
        return given

    def _straightened(self, t: float, x: Tensor) -> Tensor:
        k = self.teacher.denoiser.path.at(torch.tensor(t, dtype=torch.float64))
        return (x / float(k.alpha + k.sigma) if t else x).half()

    def put(self, index: slice, tensors: Dict[str, Tensor]) -> None:
        """Store the next missing `part`."""
        for name, value in tensors.items():
            if not self.ready:
                setattr(self, name, value.new_zeros(self.count, *value.shape[1:]))
            getattr(self, name)[index] = value
        self.ready = index.stop

    def draw(self, draws: Draws) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor], Condition]:
        """Draw two states of one trajectory for each example of the draws.

        Args:
            draws: Random numbers for trajectories and positions, uniform except for the fraction
                that ends at the data.

        Returns:
            x_t and t, x_s and s (s < t), and the condition, with masks if some examples are
                unconditional.
        """
        which, first, second = self.places(draws)
        return self.at(which, first), self.at(which, second), self.condition(which)

    def places(self, draws: Draws) -> tuple[Tensor, Tensor, Tensor]:
        """Choose a trajectory number for each example of the draws, and two positions on it, (n,) each; see `draw`."""
        last = len(self.times) - 1
        which = self.choose(draws)
        a = (draws.stream("place").uniform().double() * (last + 1)).long()
        b = (draws.stream("other place").uniform().double() * last).long()
        b = b + (b >= a).long()
        first = torch.minimum(a, b)
        second = torch.maximum(a, b)
        whole_way = draws.stream("to data").uniform() < self.to_data
        second = torch.where(whole_way, last, second)
        leg = draws.stream("leg").uniform() < self._legs
        first, second = (
            torch.where(leg, of, place)
            for of, place in zip(self._leg(draws), (first, second), strict=True)
        )
        return which, first, second

    def at(self, which: Tensor, place: Tensor | int) -> tuple[Tensor, Tensor]:
        """Return the states of trajectories at positions (n,), or at one position for all, and their times."""
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
        """Choose a trajectory number for each example of the draws, uniformly over the available trajectories."""
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
    """Coupling that replaces data and independent noise by pairs of a teacher's noise and samples.

    The trajectories of a flow do not cross, so straight lines between these pairs hardly cross, and
    a flow trained on them needs fewer steps. It is at best as good as its teacher, and the data
    itself is not used.

    Args:
        trajectories: Trajectories of the teacher, from noise or from training examples of its
            source; only their ends are used.

    References:
        Liu et al., Flow Straight and Fast: Rectified Flow (2023), algorithm 1; Lee et al., Improving the Training of Rectified
        Flows (2024).
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


class Distillation(Mapping):
    """A `Mapping` with a teacher whose training begins with stored trajectories.

    In the first part of training, the target between two times is exact: the mean velocity (x_t -
    x_s) / (t - s) between two states of one teacher trajectory. Then the rule takes over, with the
    teacher's velocity at noisy data, so all data can be used. Examples with equal times always
    learn the teacher's velocity.

    A map with an unconditional branch learns it from the unconditional teacher: on trajectories
    without conditions, and at equal times if conditions are masked.

    Args:
        flow_map: Student.
        rule: Rule for the target after the first part.
        pairs: Distribution of t and s after the first part, and the fraction of examples with equal
            times throughout.
        trajectories: Trajectories of the teacher, the flow that is distilled.
        stored: Length of the first part as a fraction of training, in [0, 1].
        power: See `Mapping`.
        steps: Default number of jumps.
        likeness: Additional loss that compares jumps to data with the teacher's samples by features
            of the teacher, for images with a U-Net denoiser; None for no such loss.

    References:
        Hu et al., CMT: Mid-Training for Efficient Learning of Consistency, Mean Flow, and Flow Map Models (2025), for the
        regression along trajectories; Liu et al., Rectified Flow (2023), for pairs of noise and data.
    """

    def __init__(
        self,
        flow_map: FlowMap,
        rule: Rule,
        pairs: Pairs,
        *,
        trajectories: Trajectories,
        stored: float = 0.5,
        power: float = 0.5,
        steps: int = 1,
        likeness: Likeness | None = None,
    ) -> None:
        super().__init__(
            flow_map, rule, pairs, teacher=trajectories.teacher, power=power, steps=steps
        )
        denoiser = trained(trajectories.teacher.denoiser)
        if likeness is not None and not (
            denoiser is not None and isinstance(denoiser.network, Featured)
        ):
            raise UsageError(
                "likeness reads features of a UNet, and this teacher's network is not a UNet. Leave out likeness."
            )
        self.likeness = likeness
        self.stored = share("stored", stored)
        self.trajectories = trajectories
        parts = {
            "samples": self.stored > 0 and pairs.diagonal < 1,
            "velocity": self.stored < 1 or pairs.diagonal > 0,
        }
        self.learns = " and ".join(name for name, learned in parts.items() if learned)

    def losses(self, batch: Batch, now: Now) -> Iterator[Move]:
        if now.progress >= self.stored:
            yield from super().losses(batch, now)
            return
        (x_t, t), (x_s, s), condition = self.trajectories.draw(now.draws.stream("trajectories"))
        target = (x_t - x_s) / shaped(t - s, x_t)
        equal = now.draws.stream("diagonal").uniform() < self.pairs.diagonal
        x_t, t, s, target, condition = self._held(batch, now, equal, (x_t, t, s, target, condition))
        output = mean_velocity(straight(self.flow_map), x_t, t, s, condition)
        error = (output - target).square().flatten(1).mean(1)
        now.notes["stored_loss"] = (error.detach() * ~equal).mean() / max(
            1e-6, 1 - self.pairs.diagonal
        )
        further = None
        if self.likeness is not None:
            span = shaped(t - s, x_t)
            unlike = self._unlike(
                (x_t - span * output, x_t - span * target), (s == 0) & ~equal, condition, now
            )
            further = self.likeness.weight * self.softened(unlike)
        yield from self.turn(error, now, further)

    def _unlike(
        self, pair: tuple[Tensor, Tensor], jumps: Tensor, condition: Condition, now: Now
    ) -> Tensor:
        assert self.likeness is not None
        teacher = trained(self.teacher.denoiser)
        which = jumps.nonzero()[:, 0]
        assert teacher is not None
        distance = torch.zeros_like(jumps, dtype=pair[0].dtype)
        if len(which):
            at, noise = self.likeness.noised(
                pair[0].shape[1:], now.draws.stream("likeness"), teacher.source
            )
            ends = (pair[0][which], pair[1][which])
            noised = (at[which], noise[which])
            distance = distance.index_put(
                (which,),
                self.likeness.distance(teacher, ends, noised, condition_at(condition, which)),
            )
        now.notes["unlikeness"] = distance.detach().mean() * (
            len(which) and len(jumps) / len(which)
        )
        return distance

    def _held(
        self,
        batch: Batch,
        now: Now,
        equal: Tensor,
        stored: tuple[Tensor, Tensor, Tensor, Tensor, Condition],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Condition]:
        """The stored examples, with those where ``equal`` replaced by data mixed with noise and the teacher's velocity there."""
        states, t, s, target, condition = stored
        if not bool(equal.any()):
            return stored
        x, z = self.couple(batch.x, batch.condition, now.draws)
        at = self.pairs.equal(now.draws.stream("times"), straight(self.flow_map).path)
        mixed = shaped(1 - at, x) * x + shaped(at, x) * z
        data_condition = self._trained(batch.condition, now.draws)
        held = equal.nonzero()[:, 0]
        velocity = torch.zeros_like(target)
        with torch.no_grad():
            guide = straight(self.teacher.denoiser)
            velocity[held] = guide.predict(
                "velocity", mixed[held], at[held], condition_at(data_condition, held)
            )
        wide = shaped(equal, x)
        return (
            torch.where(wide, mixed, states),
            torch.where(equal, at, t),
            torch.where(equal, at, s),
            torch.where(wide, velocity, target),
            chosen(equal, data_condition, condition),
        )


def chosen(first: Tensor, a: Condition, b: Condition) -> Condition:
    """Select the condition a for examples where ``first`` is True, otherwise b; an example without a mask is not masked."""
    if a is None or b is None:
        return None
    not_hidden = torch.zeros_like(first)
    joined = {}
    for name in dict.fromkeys([*a, *b]):
        given = a.get(name, not_hidden)
        other = b.get(name, not_hidden)
        joined[name] = torch.where(shaped(first, given), given, other)
    return joined
