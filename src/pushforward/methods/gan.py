"""Generative adversarial networks: a generator learns from a critic that learns from it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from pushforward.augmentation import DiffAugment
from pushforward.data import Batch, Space
from pushforward.denoiser import Condition
from pushforward.errors import UsageError, did_you_mean
from pushforward.methods.method import Method, Now, Sums
from pushforward.methods.objectives import OBJECTIVES
from pushforward.methods.penalties import PENALTIES, between, held, penalties_of, slope
from pushforward.precision import call
from pushforward.transports import Map

__all__ = ["GAN"]

ADAPTATION = 500_000
"""Training samples in which the augmentation's strength moves by 1 where every row asks for it (Karras et al. 2020)."""
STRONGEST = 0.8
"""Above this the augmentations leak into what is generated (Karras et al. 2020, section 2.2)."""


class GAN(Method):
    """The adversarial game: one step from noise to data.

    The critic's loss is the game's (`pushforward.methods.objectives`) plus penalties on its slope, with weight gamma:
    gamma / 2 |grad D(x)|^2 (r1), gamma / 2 |grad D(G(z))|^2 (r2), gamma (|grad D| - 1)^2 in between (gradient). The default,
    pairs with r1 + r2, converges; the original game, without penalties, is known to lose modes.

    While it trains it notes the logit gap (mean D(x) - D(G(z))), the critic's accuracy (the share of pairs, a real and a
    generated row, that it ranks right), the penalty on the steps that have one, and the strength of an augmentation.

    Args:
        generator: ``generator(z, None, condition) -> x``, model units.
        critic: ``critic(x, None, condition)`` -> one score for each ``pack`` rows, or several for each row, (n, k), each of
            which plays the game on its own.
        space: The data's shape and units.
        latent: Numbers in one row of noise.
        loss: A name of `OBJECTIVES`.
        gamma: The weight of the penalties at the start; 0 leaves them out.
        gamma_end: Their weight at the end, on a cosine; None keeps it.
        ramp: Training samples over which gamma moves; None is the whole of training.
        penalty: "r1", "r2", "gradient", several joined by "+", or "none"; None takes the game's own.
        penalty_interval: Steps between penalties, which are then so many times as heavy (lazy regularisation).
        pack: Rows that the critic judges together (`pushforward.networks.Packed`).
        minibatch_std: Scores in whose groups the critic compares rows (minibatch standard deviation); 0 for none.
        augment: Changes that the critic sees on real and generated rows alike; the penalties are on the slope in what it sees.
        strength: The probability of each change; where ``ada_target`` is given, only at the start.
        ada_target: The mean sign of the critic's scores of real rows, or of its gaps where the game is one of pairs, at which the
            strength is held by moving it (adaptive augmentation); None keeps the strength.

    Raises:
        UsageError: For an unknown name or a number out of range.

    References:
        Goodfellow et al., Generative Adversarial Nets (2014); Jolicoeur-Martineau, The Relativistic Discriminator (2019);
        Huang et al., The GAN Is Dead; Long Live the GAN! (R3GAN, 2024), eq. 2 and section 2.2 for the pair R1 + R2;
        Karras et al., StyleGAN2 (2020), appendix B, for lazy penalties; Lin et al., PacGAN (2018);
        Karras et al., Training GANs with Limited Data (2020), section 3, for the strength that adapts. There it moves by the
        sign of the difference to the target, here in proportion to it.
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
        gamma: float = 1.0,
        gamma_end: float | None = None,
        ramp: int | None = None,
        penalty: str | None = None,
        penalty_interval: int = 1,
        pack: int = 1,
        minibatch_std: int = 0,
        augment: DiffAugment | None = None,
        strength: float = 1.0,
        ada_target: float | None = None,
    ) -> None:
        super().__init__()
        if loss not in OBJECTIVES:
            raise UsageError(f'Unknown loss "{loss}"; known: {", ".join(OBJECTIVES)}.{did_you_mean(loss, OBJECTIVES)}')
        self.penalty = OBJECTIVES[loss].penalty if penalty is None else penalty
        try:
            self._penalties = penalties_of(self.penalty)
        except ValueError as error:
            raise UsageError(
                f'"{penalty}" is no penalty (at "{error}"); join some of {", ".join(PENALTIES)} by "+", or say none.'
            ) from None
        for name, value in {"gamma": gamma, "gamma_end": gamma if gamma_end is None else gamma_end}.items():
            if not 0 <= value < math.inf:
                raise UsageError(f"The weight {name} of the gradient penalties must be 0 or more and finite, got {value}.")
        for name, count in {
            "ramp": 1 if ramp is None else ramp,
            "penalty_interval": penalty_interval,
            "pack": pack,
            "minibatch_std": minibatch_std + 1,
        }.items():
            if count < 1:
                least = int(name != "minibatch_std")
                raise UsageError(f"{name} must be at least {least}, got {count - 1 + least}.")
        if not 0 <= strength <= 1 or not -1 < (0 if ada_target is None else ada_target) < 1:
            raise UsageError(f"strength is a probability and ada_target a mean of signs; got {strength} and {ada_target}.")
        if augment is not None and not space.grid:
            raise UsageError("Colour, translation and cutout are for images; leave augment out for vectors.")
        self.generator, self.critic, self.space, self.augment = generator, critic, space, augment
        self.latent, self.loss, self.gamma, self.gamma_end, self.ramp = latent, loss, gamma, gamma_end, ramp
        self.penalty_interval, self.pack, self.minibatch_std = penalty_interval, pack, minibatch_std
        self.strength, self.ada_target = strength, ada_target
        self.register_buffer("strength_now", torch.tensor(float(strength)), persistent=augment is not None)

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """The critic moves first."""
        return {"critic": self.critic, "generator": self.generator}

    @property
    def group(self) -> int:
        """Rows that the critic sees together."""
        return self.pack * max(1, self.minibatch_std)

    def scores(self, x: Tensor, condition: Condition = None) -> Tensor:
        """The critic's scores, (n,), of rows in model units; where it judges packs, each row stands beside copies of itself.

        Of a critic that gives a row several scores, their mean.
        """
        alike = lambda rows: rows.repeat_interleave(self.pack, 0)  # noqa: E731
        given = None if condition is None else {name: alike(rows) for name, rows in condition.items()}
        return self._scores(alike(x), given).reshape(len(x), -1).mean(1)

    def _scores(self, x: Tensor, condition: Condition) -> Tensor:
        return call(self.critic, x, None, condition).reshape(-1)

    def _gamma(self, now: Now) -> float:
        return now.along(self.gamma, self.gamma if self.gamma_end is None else self.gamma_end, self.ramp)

    def _eyes(self, now: Now) -> Callable[[Tensor], Tensor]:
        """From images to what the critic is shown of them in this step; fresh changes at every call."""
        if self.augment is None:
            return lambda x: x
        if self.ada_target is not None:
            self.strength_now.clamp_(0.0, STRONGEST)
        augment, draws, strength = self.augment, now.draws.stream("augment"), self.strength_now.clone()
        now.notes["strength"] = strength
        return lambda x: augment(x, draws, strength)

    def losses(self, batch: Batch, now: Now) -> Iterator[tuple[str, Tensor] | Sums]:
        """The critic's turn, then the generator's, on the same generated samples.

        Where a batch is split (``now.parts``), samples are generated again in the generator's turn: one more forward pass of the
        generator, so that no part keeps its graph while the critic learns.

        Raises:
            UsageError: For a batch that cannot be cut into whole groups.
        """
        if len(batch.x) % self.group:
            raise UsageError(
                f"The critic looks at {self.group} rows together, but a batch has {len(batch.x)}; choose a `batch` that is a "
                f"multiple of {self.group}."
            )
        seen, z = self._eyes(now), now.draws.normal((self.latent,))
        with torch.set_grad_enabled(now.parts == 1):
            fake = call(self.generator, z, None, batch.condition)
        loss, leans = self._critic_loss(seen(batch.x), seen(fake.detach()), batch.condition, now)
        yield "critic", loss
        del loss
        if self.augment is not None and self.ada_target is not None:
            leaning = {"leans": leans.sum(), "scores": leans.new_tensor(leans.numel())}
            yield Sums(len(batch.x), leaning, then=self._adapted)
        if now.parts > 1:
            fake = call(self.generator, z, None, batch.condition)
        yield "generator", self._generator_loss(seen(batch.x), seen(fake), batch.condition)

    def _adapted(self, total: Sums) -> None:
        """Move the strength by how the critic leans on the whole batch."""
        assert self.ada_target is not None
        lean = total.values["leans"] / total.values["scores"]
        self.strength_now += (lean - self.ada_target) * (total.rows / ADAPTATION)

    def _critic_loss(self, real: Tensor, fake: Tensor, condition: Condition, now: Now) -> tuple[Tensor, Tensor]:
        """The loss, and how the critic leans on real rows: the signs of its scores, or of its gaps in a game of pairs."""
        due = now.step % self.penalty_interval == 0
        gamma = self._gamma(now) * self.penalty_interval if due else 0.0
        zero_centred = gamma > 0 and bool({"r1", "r2"} & set(self._penalties))
        both = torch.cat([real, fake]).requires_grad_(zero_centred)
        scores = self._scores(both, _twice(condition))
        on_real, on_fake = scores.chunk(2)
        loss = OBJECTIVES[self.loss].critic(on_real, on_fake).mean()
        penalty = torch.zeros_like(loss)
        if zero_centred:
            halves = dict(zip(("r1", "r2"), slope(scores, both).chunk(2), strict=True))
            penalty = penalty + sum(gamma / 2 * halves[name].mean() for name in ("r1", "r2") if name in self._penalties)
        if gamma > 0 and "gradient" in self._penalties:
            share = now.draws.stream("between").uniform()
            penalty = penalty + gamma * between(real, fake, share, lambda x: self._scores(x, condition)).mean()
        gap = (on_real - on_fake).detach()
        now.notes.update(logit_gap=gap.mean(), critic_accuracy=(gap > 0).float().mean())
        if due:
            now.notes["penalty"] = penalty.detach()
        return loss + penalty, (gap if OBJECTIVES[self.loss].paired else on_real.detach()).sign()

    def _generator_loss(self, real: Tensor, fake: Tensor, condition: Condition) -> Tensor:
        objective = OBJECTIVES[self.loss]
        with held(self.critic):
            on_fake = self._scores(fake, condition)
        if not objective.paired:
            return objective.generator(on_fake, on_fake).mean()
        with torch.no_grad():
            on_real = self._scores(real, condition)
        return objective.generator(on_real, on_fake).mean()

    def transport(self) -> Map:
        """The generator."""
        return Map(self.generator, self.space, (self.latent,))


def _twice(condition: Condition) -> Condition:
    return None if condition is None else {name: torch.cat([rows, rows]) for name, rows in condition.items()}
