"""Finishing a map between two times: a critic sharpens its single jump, an anchor keeps each sample where it was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from pushforward.arguments import share, weight
from pushforward.data import Batch
from pushforward.denoisers import Condition, FlowMap
from pushforward.methods.adversarial import OBJECTIVES, Adversarial, CriticInput, Penalties
from pushforward.methods.flow_map import MapMethod, jump_to_data, starts
from pushforward.methods.method import Guard, Modules, Now, Turn
from pushforward.methods.perceptual_distance import FeatureCritic
from pushforward.solvers import Jump
from pushforward.transports import Flow


@dataclass(frozen=True)
class Anchor:
    """How firmly a map is held to where it started, and where from it jumps.

    Args:
        weight: Of the mean squared distance to the starting map's samples, at the start of training.
        end: The weight at the end, on a cosine; None keeps it.
        inside: The share of examples whose jump starts on the way, at data mixed with noise, so that samples in several jumps
            stay good; see `pushforward.methods.flow_map.starts`.
        still: The share of training in which only the critic learns; the map does not change.

    Raises:
        UsageError: For a negative weight, or a share outside [0, 1].
    """

    weight: float = 1.0
    end: float | None = None
    inside: float = 0.0
    still: float = 0.0

    def __post_init__(self) -> None:
        weight("anchor", self.weight)
        weight("anchor_end", self.weight if self.end is None else self.end)
        share("inside", self.inside, " of the examples")
        share("still", self.still, " of training")

    def at(self, now: Now) -> float:
        return now.along(self.weight, self.weight if self.end is None else self.end)


class Finish(Adversarial, MapMethod):
    """Adversarial training of a map: the jump from noise to data becomes sharper; each noise stays near its sample.

    The critic compares single jumps with data, in relativistic pairs with penalties on its slope at both (R1 and R2). The map's
    loss is the critic's verdict plus ``weight |G(z) - G_0(z)|^2``, with G_0 the map that it starts from, which stays frozen. A
    game gains sharpness by dropping what is rare; the guard ends training where coverage or recall falls.

    Args:
        flow_map: The map, with the weights of the teacher at the start.
        critic: ``critic(x, None, condition)`` -> scores, as of `pushforward.methods.GAN`.
        teacher: The map that is finished.
        penalties: On the critic's slope; the default is R1 and R2 with gamma 1.
        critic_input: How examples are augmented, always at the same strength, and how many get one score together.
        anchor: To the teacher.
        guard: When training ends by itself; None never does.
        steps: The default number of jumps of the transport; the game is of one.

    Raises:
        UsageError: For anything but a map, or a map with a range of guidance.

    References:
        Lin et al., Adversarial Flow Models (2025), for the anchor and penalties by finite differences; Huang et al., R3GAN
        (2024), for the game.
    """

    def __init__(
        self,
        flow_map: FlowMap,
        critic: nn.Module,
        *,
        teacher: FlowMap,
        penalties: Penalties | None = None,
        critic_input: CriticInput | None = None,
        anchor: Anchor | None = None,
        guard: Guard | None = None,
        steps: int = 1,
    ) -> None:
        super().__init__(flow_map, steps, compared=True)
        penalties = penalties or Penalties()
        self.critic, self.loss = critic, "relativistic"
        self.penalties = penalties if penalties.kind else replace(penalties, kind=OBJECTIVES["relativistic"].penalty)
        self.critic_input, self.anchor, self.guard = critic_input or CriticInput(), anchor or Anchor(), guard
        self.freeze("teacher", teacher)
        if isinstance(critic, FeatureCritic):
            critic.look_through(teacher)

    @property
    def averaged(self) -> Sequence[nn.Module]:
        return (self,)  # a finish goes on from an averaged critic

    @property
    def players(self) -> Modules:
        return {"critic": self.critic, "map": self.flow_map}

    def losses(self, batch: Batch, now: Now) -> Iterator[Turn]:
        """The critic's turn, then the map's, on the same samples; of a batch that is split they are made again (`GAN.losses`).

        Raises:
            UsageError: For a batch that cannot be cut into whole groups.
        """
        self.critic_input.check(len(batch.x))
        condition, transform = batch.condition, self.critic_input.transform(now.draws, self.critic_input.strength)
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
        """The mean squared distance of samples x (n, *shape), model units, to those of the starting map at the same starts."""
        with torch.no_grad():
            before = jump_to_data(self.teacher, start, condition)
        return (x - before).square().mean()

    def reference(self) -> Flow:
        return Flow(self.teacher, Jump.of(self.teacher), self.steps)
