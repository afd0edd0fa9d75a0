"""Adversarial refinement of a map between two times: a critic sharpens its single jump."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pushforward.arguments import share, weight
from pushforward.data import Batch
from pushforward.denoisers import Condition, FlowMap
from pushforward.methods.adversarial import Adversarial, CriticInput, Penalties
from pushforward.methods.flow_map import MapMethod, jump_to_data, starts
from pushforward.methods.method import Guard, Modules, StepContext, Turn
from pushforward.methods.perceptual_distance import FeatureCritic
from pushforward.solvers import Jump
from pushforward.transports import Flow


@dataclass(frozen=True)
class AnchorPenalty:
    """Settings that keep a map near its starting point.

    Args:
        weight: Initial weight of the mean squared distance to the samples of the starting map.
        end: Weight at the end of a cosine schedule; None for a constant weight.
        inside: Fraction of jumps that start at noisy data.
        still: Initial fraction of training in which only the critic is trained.
    """

    weight: float = 1.0
    end: float | None = None
    inside: float = 0.0
    still: float = 0.0

    def __post_init__(self) -> None:
        weight("anchor", self.weight)
        if self.end is not None:
            weight("anchor_end", self.end)
        share("inside", self.inside, " of the examples")
        share("still", self.still, " of training")

    def at(self, now: StepContext) -> float:
        if self.end is None:
            return self.weight
        return now.along(self.weight, self.end)


class AdversarialRefinement(Adversarial, MapMethod):
    """Adversarial training of a map: sharpens the jump from noise to data.

    The critic compares single jumps with data, using a relativistic paired loss with R1 and R2. The
    map's loss is the adversarial loss plus ``weight |G(z) - G_0(z)|^2``, where G_0 is the frozen
    starting map. Adversarial training can gain sharpness by dropping rare examples, so the guard
    ends training if coverage or recall falls. ``steps`` is the default number of jumps of the
    transport; training uses a single jump.

    References:
        Lin et al., Adversarial Flow Models (2025), for the anchor and penalties by finite
        differences; Huang et al., R3GAN (2024), for the game.
    """

    def __init__(
        self,
        flow_map: FlowMap,
        critic: nn.Module,
        *,
        teacher: FlowMap,
        penalties: Penalties | None = None,
        critic_input: CriticInput | None = None,
        anchor: AnchorPenalty | None = None,
        guard: Guard | None = None,
        steps: int = 1,
    ) -> None:
        super().__init__(flow_map, steps, compared=True)
        self.critic = critic
        self.loss = "relativistic"
        self.penalties = (penalties or Penalties()).for_loss(self.loss)
        self.critic_input = critic_input or CriticInput()
        self.anchor = anchor or AnchorPenalty()
        self.guard = guard
        self.freeze("teacher", teacher)
        if isinstance(critic, FeatureCritic):
            critic.look_through(teacher)

    @property
    def averaged(self) -> Sequence[nn.Module]:
        return (self,)  # a later refinement starts from an averaged critic

    @property
    def players(self) -> Modules:
        return {"critic": self.critic, "map": self.flow_map}

    def losses(self, batch: Batch, now: StepContext) -> Iterator[Turn]:
        self.critic_input.check(len(batch.x))
        condition = batch.condition
        transform = self.critic_input.transform(now.draws, self.critic_input.strength)
        start = starts(self.flow_map, batch.x, now.draws, self.anchor.inside)
        with torch.set_grad_enabled(now.parts == 1):
            x = jump_to_data(self.flow_map, start, condition)
        seen = condition
        if isinstance(self.critic, FeatureCritic):
            seen, transform = self.critic.noised(condition, now.draws, transform)
        loss, _ = self.game.critic_loss(transform(batch.x), transform(x.detach()), seen, now)
        yield "critic", loss
        del loss
        if now.progress < self.anchor.still:
            return
        if now.parts > 1:
            x = jump_to_data(self.flow_map, start, condition)
        loss = self.game.generator_loss(transform(batch.x), transform(x), seen)
        distance = self.distance(x, start, condition)
        now.notes["anchor_distance"] = distance.detach()
        yield "map", loss + self.anchor.at(now) * distance

    def distance(self, x: Tensor, start: tuple[Tensor, Tensor], condition: Condition) -> Tensor:
        """Compute the mean squared distance to samples of the starting map."""
        with torch.no_grad():
            before = jump_to_data(self.teacher, start, condition)
        return (x - before).square().mean()

    def reference(self) -> Flow:
        return Flow(self.teacher, Jump.of(self.teacher), self.steps)
