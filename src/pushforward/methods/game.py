"""Adversarial losses of a critic and of any model that makes samples."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pushforward.methods.method import Now
from pushforward.methods.objectives import OBJECTIVES
from pushforward.methods.penalties import Penalties, between, differences, held, slope
from pushforward.precision import call, network_precision
from pushforward.predictor import Condition


@dataclass(frozen=True)
class Game:
    """The losses of a critic and of the model whose samples it scores.

    Args:
        critic: ``critic(x, None, condition)`` -> scores.
        loss: A name of `pushforward.methods.objectives.OBJECTIVES`.
        penalties: On the critic's slope.
    """

    critic: nn.Module
    loss: str
    penalties: Penalties

    def scores(self, x: Tensor, condition: Condition) -> Tensor:
        """The critic's scores of examples x in model units, (n / m,) for packs of m."""
        return call(self.critic, x, None, condition).reshape(-1)

    def alone(self, x: Tensor, condition: Condition, pack: int) -> Tensor:
        """The scores (n,) of examples, each packed with copies of itself; the mean where an example has several scores."""
        alike = lambda values: values.repeat_interleave(pack, 0)  # noqa: E731
        given = None if condition is None else {name: alike(values) for name, values in condition.items()}
        return self.scores(alike(x), given).reshape(len(x), -1).mean(1)

    def critic_loss(self, real: Tensor, fake: Tensor, condition: Condition, now: Now) -> tuple[Tensor, Tensor]:
        """The critic's loss, and the signs of its scores of real examples, or of their gaps where the loss is of pairs.

        It notes the logit gap, the critic's accuracy and, on steps that have one, the penalty.

        Args:
            real: Training examples, augmented, (n, *shape).
            fake: Generated ones of the same conditions, without gradients.
            condition: As networks take it.
            now: Randomness, the step and where notes go.
        """
        names, interval = self.penalties.names, self.penalties.interval
        due = now.step % interval == 0
        gamma = self.penalties.weight(now) * interval if due else 0.0
        zero_centred = gamma > 0 and bool({"r1", "r2"} & set(names))
        both = torch.cat([real, fake])
        scores, squares = self._sloped(both, condition, now) if zero_centred else (self.scores(both, _twice(condition)), both)
        on_real, on_fake = scores.chunk(2)
        loss = OBJECTIVES[self.loss].critic(on_real, on_fake).mean()
        penalty = torch.zeros_like(loss)
        if zero_centred:
            halves = dict(zip(("r1", "r2"), squares.chunk(2), strict=True))
            penalty = penalty + sum(gamma / 2 * halves[name].mean() for name in ("r1", "r2") if name in names)
        if gamma > 0 and "gradient" in names:
            share = now.draws.stream("between").uniform()
            penalty = penalty + gamma * between(real, fake, share, lambda x: self.scores(x, condition)).mean()
        gap = (on_real - on_fake).detach()
        now.notes.update(logit_gap=gap.mean(), critic_accuracy=(gap > 0).float().mean())
        if due:
            now.notes["penalty"] = penalty.detach()
        return loss + penalty, (gap if OBJECTIVES[self.loss].paired else on_real.detach()).sign()

    def _sloped(self, both: Tensor, condition: Condition, now: Now) -> tuple[Tensor, Tensor]:
        step = self.penalties.difference
        if step is None:
            both.requires_grad_()
            scores = self.scores(both, _twice(condition))
            return scores, slope(scores, both)
        draws = now.draws.stream("difference")
        noise = torch.cat([draws.normal(both.shape[1:]) for _ in range(2)])
        with network_precision("float32"):  # a small difference is lost in the rounding of bfloat16
            return differences(lambda x: self.scores(x, _twice(_twice(condition))), both, noise, step)

    def generator_loss(self, real: Tensor, fake: Tensor, condition: Condition) -> Tensor:
        """The generator's loss; gradients pass through the critic, whose weights receive none."""
        objective = OBJECTIVES[self.loss]
        with held(self.critic):
            on_fake = self.scores(fake, condition)
        if not objective.paired:
            return objective.generator(on_fake, on_fake).mean()
        with torch.no_grad():
            on_real = self.scores(real, condition)
        return objective.generator(on_real, on_fake).mean()


def _twice(condition: Condition) -> Condition:
    return None if condition is None else {name: torch.cat([values, values]) for name, values in condition.items()}
