"""Distillation of a flow along stored trajectories, and by a distance between features."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pushforward.arguments import share, weight
from pushforward.data import Batch
from pushforward.denoisers.denoiser import (
    Condition,
    Denoiser,
    FlowMap,
    condition_at,
    shaped,
    trained_denoiser,
)
from pushforward.draws import Draws
from pushforward.methods.flow_map import FlowMapMatching, Pairs, mean_velocity, straight
from pushforward.methods.flow_map_targets import Rule
from pushforward.methods.method import Move, StepContext
from pushforward.methods.refinement import at_level
from pushforward.methods.trajectories import Trajectories
from pushforward.paths import Source, training_noise

# Number of channels that are normalised together
GROUP = 16


@dataclass(frozen=True)
class FeatureDistance:
    """Distance of images in features of a frozen denoiser, and its weight in a loss.

    Both images receive the same noise, at uniform times from ``low`` to ``high`` on the straight
    path. Features are normalised in groups of 16 channels.

    References:
        Lin and Yang, Diffusion Model with Perceptual Loss (2024), for the features of the denoiser
        itself.
    """

    weight: float = 1.0
    low: float = 0.02
    high: float = 0.4

    def __post_init__(self) -> None:
        weight("likeness", self.weight)

    def noised(
        self, shape: Sequence[int], draws: Draws, source: Source | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw a time (n,) and noise (n, *shape) for each example."""
        at = self.low + (self.high - self.low) * draws.stream("time").uniform()
        return at, training_noise(source, shape, draws)

    def distance(
        self,
        denoiser: Denoiser,
        pair: tuple[Tensor, Tensor],
        noised: tuple[Tensor, Tensor],
        condition: Condition,
    ) -> Tensor:
        """Compute the mean squared difference of normalised features of two images, (n,).

        The first of the ``pair`` receives gradients; ``noised`` are times and noise.
        """
        levels, noise = noised
        at = at_level(denoiser.path, levels)

        def features(x: Tensor) -> list[Tensor]:
            k = denoiser.coefficients(x, at)
            maps = denoiser.network_features(k.state(x, noise), at, condition)
            return [F.group_norm(h, max(1, h.shape[1] // GROUP)) for h in maps]

        sample, other = pair
        with torch.no_grad():
            wanted = features(other)
        differences = []
        for a, b in zip(features(sample), wanted, strict=True):
            differences.append((a - b).square().flatten(1).mean(1))
        return torch.stack(differences).mean(0)


class Distillation(FlowMapMatching):
    """A `FlowMapMatching` with a teacher whose training begins with stored trajectories.

    In the first fraction ``stored`` of training, the target is the mean velocity (x_t - x_s) / (t -
    s) between two states of one teacher trajectory; then the rule takes over. Examples with equal
    times always learn the teacher's velocity. ``likeness`` also compares jumps to data with the
    teacher's samples.

    References:
        Hu et al., CMT: Mid-Training for Efficient Learning of Consistency, Mean Flow, and Flow Map
        Models (2025); Liu et al., Rectified Flow (2023), for pairs of noise and data.
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
        likeness: FeatureDistance | None = None,
    ) -> None:
        super().__init__(
            flow_map, rule, pairs, teacher=trajectories.teacher, power=power, steps=steps
        )
        self.likeness = likeness
        self.stored = share("stored", stored)
        self.trajectories = trajectories
        learned = []
        if self.stored > 0 and pairs.diagonal < 1:
            learned.append("samples")
        if self.stored < 1 or pairs.diagonal > 0:
            learned.append("velocity")
        self.learns = " and ".join(learned)

    def losses(self, batch: Batch, now: StepContext) -> Iterator[Move]:
        if now.progress >= self.stored:
            yield from super().losses(batch, now)
            return
        diagonal = self.pairs.diagonal
        (x_t, t), (x_s, s), condition = self.trajectories.draw(now.draws.stream("trajectories"))
        target = (x_t - x_s) / shaped(t - s, x_t)
        equal = now.draws.stream("diagonal").uniform() < diagonal
        x_t, t, s, target, condition = self._held(batch, now, equal, (x_t, t, s, target, condition))
        output = mean_velocity(straight(self.flow_map), x_t, t, s, condition)
        error = (output - target).square().flatten(1).mean(1)
        now.notes["stored_loss"] = (error.detach() * ~equal).mean() / max(1e-6, 1 - diagonal)
        further = None
        if self.likeness is not None:
            span = shaped(t - s, x_t)
            ends = (x_t - span * output, x_t - span * target)
            unlike = self._unlike(ends, (s == 0) & ~equal, condition, now)
            further = self.likeness.weight * self.softened(unlike)
        yield from self.turn(error, now, further)

    def _unlike(
        self, pair: tuple[Tensor, Tensor], jumps: Tensor, condition: Condition, now: StepContext
    ) -> Tensor:
        likeness: Any = self.likeness
        teacher: Any = trained_denoiser(self.teacher.denoiser)
        sample, wanted = pair
        which = jumps.nonzero()[:, 0]
        distance = torch.zeros_like(jumps, dtype=sample.dtype)
        scale = 0.0
        if len(which):
            scale = len(jumps) / len(which)
            draws = now.draws.stream("likeness")
            at, noise = likeness.noised(sample.shape[1:], draws, teacher.source)
            measured = likeness.distance(
                teacher,
                (sample[which], wanted[which]),
                (at[which], noise[which]),
                condition_at(condition, which),
            )
            distance = distance.index_put((which,), measured)
        now.notes["unlikeness"] = distance.detach().mean() * scale
        return distance

    def _held(
        self,
        batch: Batch,
        now: StepContext,
        equal: Tensor,
        stored: tuple[Tensor, Tensor, Tensor, Tensor, Condition],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Condition]:
        states, t, s, target, condition = stored
        if not equal.any():
            return stored
        x, z = self.couple(batch.x, batch.condition, now.draws)
        at = self.pairs.equal(now.draws.stream("times"), straight(self.flow_map).path)
        mixed = shaped(1 - at, x) * x + shaped(at, x) * z
        data_condition = self._trained(batch.condition, now.draws)
        held = equal.nonzero()[:, 0]
        velocity = torch.zeros_like(target)
        with torch.no_grad():
            guide = straight(self.teacher.denoiser)
            held_condition = condition_at(data_condition, held)
            velocity[held] = guide.predict("velocity", mixed[held], at[held], held_condition)
        wide = shaped(equal, x)
        return (
            torch.where(wide, mixed, states),
            torch.where(equal, at, t),
            torch.where(equal, at, s),
            torch.where(wide, velocity, target),
            chosen(equal, data_condition, condition),
        )


def chosen(first: Tensor, a: Condition, b: Condition) -> Condition:
    """Select the condition a for examples where ``first`` is True, otherwise b."""
    if a is None or b is None:
        return None
    not_hidden = torch.zeros_like(first)
    joined = {}
    for name in dict.fromkeys([*a, *b]):
        given = a.get(name, not_hidden)
        other = b.get(name, not_hidden)
        joined[name] = torch.where(shaped(first, given), given, other)
    return joined
