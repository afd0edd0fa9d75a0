"""Distillation of a flow: along stored trajectories of the teacher, and along its velocity at data."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from pushforward.arguments import share
from pushforward.data import Batch
from pushforward.denoiser import FlowMap, trained
from pushforward.errors import UsageError
from pushforward.methods.likeness import Featured, Likeness
from pushforward.methods.mapping import Mapping, mean_velocity, straight
from pushforward.methods.method import Now, Sums
from pushforward.methods.pairs import Pairs
from pushforward.methods.rules import Rule
from pushforward.methods.trajectories import Trajectories
from pushforward.predictor import Condition, condition_at, shaped
from pushforward.transports import Flow


class Distillation(Mapping):
    """A `Mapping` with a teacher that begins on stored trajectories.

    For the first part of training the target between two times is exact: the mean velocity (x_t - x_s) / (t - s) between two
    states of one trajectory of the teacher. Then the rule takes over, with the teacher's velocity at data that was mixed with
    noise, which is as much data as there is. Examples with equal times are held to the teacher's velocity throughout.

    A map with an unconditional branch learns it from the unconditional teacher: along trajectories that
    have none, and at equal times where they are hidden.

    Args:
        flow_map: The student.
        rule: Where the target comes from after the first part.
        pairs: The law of t and s after the first part, and the share of examples with equal times throughout.
        trajectories: Of the teacher, which is the flow that is distilled.
        stored: The first part, as a share of training in [0, 1].
        power: See `Mapping`.
        steps: The default number of jumps.
        likeness: How like the teacher's samples those of jumps to data are, by the teacher's own features; its loss is added
            to that of the mean velocity, for images whose denoiser is a U-Net. None leaves it out.

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
        super().__init__(flow_map, rule, pairs, teacher=trajectories.teacher, power=power, steps=steps)
        denoiser = trained(trajectories.teacher.denoiser)
        if likeness is not None and not (denoiser is not None and isinstance(denoiser.network, Featured)):
            raise UsageError(
                "The features of this teacher's network cannot be read (only those of a UNet can): leave likeness out."
            )
        self.likeness = likeness
        self.stored, self.trajectories = share("stored", stored), trajectories
        self.teacher: Flow
        parts = {"samples": self.stored > 0 and pairs.diagonal < 1, "velocity": self.stored < 1 or pairs.diagonal > 0}
        self.learns = " and ".join(name for name, learned in parts.items() if learned)

    def losses(self, batch: Batch, now: Now) -> Iterator[tuple[str, Tensor] | Sums]:
        if now.progress >= self.stored:
            yield from super().losses(batch, now)
            return
        (x_t, t), (x_s, s), condition = self.trajectories.draw(now.draws.stream("trajectories"))
        target = (x_t - x_s) / shaped(t - s, x_t)
        equal = now.draws.stream("diagonal").uniform() < self.pairs.diagonal
        x_t, t, s, target, condition = self._held(batch, now, equal, (x_t, t, s, target, condition))
        output = mean_velocity(straight(self.flow_map), x_t, t, s, condition)
        error = (output - target).square().flatten(1).mean(1)
        now.notes["stored_loss"] = (error.detach() * ~equal).mean() / max(1e-6, 1 - self.pairs.diagonal)
        if self.likeness is None:
            yield from self.turn(error, now)
            return
        span = shaped(t - s, x_t)
        unlike = self._unlike((x_t - span * output, x_t - span * target), (s == 0) & ~equal, condition, now)
        yield from self.turn(error, now, self.likeness.weight * self.softened(unlike))

    def _unlike(self, pair: tuple[Tensor, Tensor], jumps: Tensor, condition: Condition, now: Now) -> Tensor:
        assert self.likeness is not None
        teacher, which = trained(self.teacher.denoiser), jumps.nonzero()[:, 0]
        assert teacher is not None
        distance = torch.zeros_like(jumps, dtype=pair[0].dtype)
        if len(which):
            at, noise = self.likeness.noised(pair[0].shape[1:], now.draws.stream("likeness"), teacher.source)
            ends, noised = (pair[0][which], pair[1][which]), (at[which], noise[which])
            distance = distance.index_put((which,), self.likeness.distance(teacher, ends, noised, condition_at(condition, which)))
        now.notes["unlikeness"] = distance.detach().mean() * (len(which) and len(jumps) / len(which))
        return distance

    def _held(
        self, batch: Batch, now: Now, equal: Tensor, stored: tuple[Tensor, Tensor, Tensor, Tensor, Condition]
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Condition]:
        """The stored examples, with those where ``equal`` replaced by data mixed with noise and the teacher's velocity there."""
        states, t, s, target, condition = stored
        if not bool(equal.any()):
            return stored
        x, z = self.couple(batch.x, batch.condition, now.draws)
        at = self.pairs.equal(now.draws.stream("times"), straight(self.flow_map).path)
        mixed = shaped(1 - at, x) * x + shaped(at, x) * z
        data_condition = self._trained(batch.condition, now.draws)
        held, velocity = equal.nonzero()[:, 0], torch.zeros_like(target)
        with torch.no_grad():
            guide = straight(self.teacher.denoiser)
            velocity[held] = guide.predict("velocity", mixed[held], at[held], condition_at(data_condition, held))
        wide = shaped(equal, x)
        return (
            torch.where(wide, mixed, states),
            torch.where(equal, at, t),
            torch.where(equal, at, s),
            torch.where(wide, velocity, target),
            chosen(equal, data_condition, condition),
        )


def chosen(first: Tensor, a: Condition, b: Condition) -> Condition:
    """The condition a of the examples where ``first``, elsewhere b; an example without a mask is not hidden."""
    if a is None or b is None:
        return None
    not_hidden = torch.zeros_like(first)
    joined = {}
    for name in dict.fromkeys([*a, *b]):
        given, other = a.get(name, not_hidden), b.get(name, not_hidden)
        joined[name] = torch.where(shaped(first, given), given, other)
    return joined
