"""Generative adversarial networks: a generator learns from a critic that learns from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from pushforward.data import Batch, Space
from pushforward.errors import UsageError, unknown
from pushforward.methods.critic_input import CriticInput
from pushforward.methods.game import Game
from pushforward.methods.method import Method, Now, Sums
from pushforward.methods.objectives import OBJECTIVES
from pushforward.methods.penalties import Penalties
from pushforward.precision import call
from pushforward.predictor import Condition
from pushforward.transports import Map

ADAPTATION = 500_000
"""Training samples in which the augmentation's strength moves by 1 if all examples agree (Karras et al. 2020)."""
STRONGEST = 0.8
"""Above this the augmentations leak into the samples (Karras et al. 2020, section 2.2)."""


class GAN(Method):
    """The adversarial game: one step from noise to data.

    The critic's loss is the game's (`pushforward.methods.objectives`) plus penalties on its slope, with weight gamma:
    gamma / 2 |grad D(x)|^2 (r1), gamma / 2 |grad D(G(z))|^2 (r2), gamma (|grad D| - 1)^2 in between (gradient). The default,
    pairs with r1 + r2, converges; the original game, without penalties, is known to lose modes.

    While it trains it notes the logit gap (mean D(x) - D(G(z))), the critic's accuracy (the share of pairs, a real and a
    generated example, that it ranks right), the penalty on the steps that have one, and the strength of an augmentation.

    Args:
        generator: ``generator(z, None, condition) -> x``, model units.
        critic: ``critic(x, None, condition)`` -> one score for each ``pack`` examples, or several for each example, (n, k), each
            of which has its own loss.
        space: The data's shape and units.
        latent: Length of the noise of one sample.
        loss: A name of `OBJECTIVES`.
        penalties: Which, and how heavy; the default is the loss's own, at gamma 1.
        critic_input: How many examples the critic scores together, and how they are augmented.

    Raises:
        UsageError: For an unknown loss, or an augmentation of vectors.

    References:
        Goodfellow et al., Generative Adversarial Nets (2014); Jolicoeur-Martineau, The Relativistic Discriminator (2019);
        Huang et al., The GAN Is Dead; Long Live the GAN! (R3GAN, 2024), eq. 2 and section 2.2 for the pair R1 + R2;
        Karras et al., StyleGAN2 (2020), appendix B, for lazy penalties; Karras et al., Training GANs with Limited Data (2020),
        section 3, for the strength that adapts. There it moves by the sign of the difference to the target, here in proportion
        to it.
    """

    strength_now: Tensor

    def __init__(
        self,
        generator: nn.Module,
        critic: nn.Module,
        space: Space,
        *,
        latent: int = 64,
        loss: str = "relativistic",
        penalties: Penalties | None = None,
        critic_input: CriticInput | None = None,
    ) -> None:
        super().__init__()
        if loss not in OBJECTIVES:
            raise unknown("loss", loss, OBJECTIVES)
        penalties, critic_input = penalties or Penalties(), critic_input or CriticInput()
        augment = critic_input.augment
        if augment is not None and not space.grid:
            raise UsageError("Colour, translation and cutout are for images; leave augment out for vectors.")
        self.generator, self.critic, self.space, self.latent, self.loss = generator, critic, space, latent, loss
        self.penalties = penalties if penalties.kind else replace(penalties, kind=OBJECTIVES[loss].penalty)
        self.critic_input = critic_input
        self.register_buffer("strength_now", torch.tensor(float(critic_input.strength)), persistent=augment is not None)

    @property
    def players(self) -> Mapping[str, nn.Module]:
        return {"critic": self.critic, "generator": self.generator}

    @property
    def group(self) -> int:
        return self.critic_input.group

    @property
    def game(self) -> Game:
        """The losses of both players."""
        return Game(self.critic, self.loss, self.penalties)

    def scores(self, x: Tensor, condition: Condition = None) -> Tensor:
        """The critic's scores, (n,), of examples in model units; a critic of packs receives each example with copies of itself.

        Of a critic that gives an example several scores, their mean.
        """
        return self.game.alone(x, condition, self.critic_input.pack)

    def _transform(self, now: Now) -> Callable[[Tensor], Tensor]:
        if self.critic_input.ada_target is not None:
            self.strength_now.clamp_(0.0, STRONGEST)
        strength = self.strength_now.clone()
        if self.critic_input.augment is not None:
            now.notes["strength"] = strength
        return self.critic_input.transform(now.draws, strength)

    def losses(self, batch: Batch, now: Now) -> Iterator[tuple[str, Tensor] | Sums]:
        """The critic's turn, then the generator's, on the same generated samples.

        Where a batch is split (``now.parts``), samples are generated again in the generator's turn: one more forward pass of the
        generator, so that no part keeps its graph while the critic learns.

        Raises:
            UsageError: For a batch that cannot be cut into whole groups.
        """
        self.critic_input.check(len(batch.x))
        transform, z = self._transform(now), now.draws.normal((self.latent,))
        with torch.set_grad_enabled(now.parts == 1):
            fake = call(self.generator, z, None, batch.condition)
        loss, leans = self.game.critic_loss(transform(batch.x), transform(fake.detach()), batch.condition, now)
        yield "critic", loss
        del loss
        if self.critic_input.augment is not None and self.critic_input.ada_target is not None:
            leaning = {"leans": leans.sum(), "scores": leans.new_tensor(leans.numel())}
            yield Sums(len(batch.x), leaning, then=self._adapted)
        if now.parts > 1:
            fake = call(self.generator, z, None, batch.condition)
        yield "generator", self.game.generator_loss(transform(batch.x), transform(fake), batch.condition)

    def _adapted(self, total: Sums) -> None:
        assert self.critic_input.ada_target is not None
        lean = total.values["leans"] / total.values["scores"]
        self.strength_now += (lean - self.critic_input.ada_target) * (total.count / ADAPTATION)

    def transport(self) -> Map:
        return Map(self.generator, self.space, (self.latent,))
