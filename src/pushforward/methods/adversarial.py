"""Generative adversarial networks: losses, gradient penalties, augmentation and the game."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pushforward.arguments import one_of, share, weight, whole
from pushforward.data import Batch, Space
from pushforward.denoisers.denoiser import Condition, call, condition_at, network_precision, shaped
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.method import Method, Modules, Move, StepContext, Sums
from pushforward.transports import Map

POLICIES = ("color", "translation", "cutout")
# Largest shift, and the side of the hole, as fractions of the image's sides
SHIFT = 1 / 8
HOLE = 1 / 2


class DiffAugment(nn.Module):
    """Random differentiable augmentation of images in model units, independent for each example.

    * color: random brightness, saturation and contrast.
    * translation: by up to an eighth of each side, in whole pixels; new pixels are 0.
    * cutout: a square of half of each side becomes 0; it may hang over the edge.

    ``extent`` is the range of data values in model units.

    References:
        Zhao et al., Differentiable Augmentation for Data-Efficient GAN Training (2020).
    """

    def __init__(self, policy: str | Sequence[str] = POLICIES, extent: float = 2.0) -> None:
        super().__init__()
        names = policy.split(",") if isinstance(policy, str) else policy
        for name in names:
            one_of("augmentation", name, POLICIES)
        self.policy = tuple(names)
        self.extent = extent

    def forward(self, x: Tensor, draws: Draws, probability: Tensor | float = 1.0) -> Tensor:
        """Augment images (n, C, H, W), each change with this probability."""
        for name in self.policy:
            apply = draws.uniform() < probability
            changed = getattr(self, f"_{name}")(x, draws)
            x = torch.where(shaped(apply, x), changed, x)
        return x

    def _color(self, x: Tensor, draws: Draws) -> Tensor:
        bright, saturate, contrast = (shaped(draws.uniform().to(x), x) for _ in range(3))
        x = x + self.extent * (bright - 0.5) / 2
        grey = x.mean(1, keepdim=True)
        x = grey + (x - grey) * 2 * saturate
        middle = x.mean((1, 2, 3), keepdim=True)
        return middle + (x - middle) * (contrast + 0.5)

    def _translation(self, x: Tensor, draws: Draws) -> Tensor:
        moved = x
        for axis in (2, 3):
            side = x.shape[axis]
            most = int(side * SHIFT + 0.5)
            shift = (draws.uniform() * (2 * most + 1)).long() - most
            source = torch.arange(side, device=x.device) - shift[:, None]
            shape = (len(x), 1, side, 1) if axis == 2 else (len(x), 1, 1, side)
            index = source.clamp(0, side - 1).reshape(shape).expand_as(x)
            inside = ((source >= 0) & (source < side)).reshape(shape)
            moved = torch.gather(moved, axis, index) * inside
        return moved

    def _cutout(self, x: Tensor, draws: Draws) -> Tensor:
        hidden = []
        for side in x.shape[2:]:
            width = int(side * HOLE + 0.5)
            # the centre is uniform over all pixels, so that the border is hidden as often
            start = (draws.uniform() * (side + (1 - width % 2))).long() - width // 2
            place = torch.arange(side, device=x.device)
            hidden.append((place >= start[:, None]) & (place < start[:, None] + width))
        return x * ~(hidden[0][:, None, :, None] & hidden[1][:, None, None, :])


Loss = Callable[[Tensor, Tensor], Tensor]
Transform = Callable[[Tensor], Tensor]


class Objective(NamedTuple):
    """Losses per example of critic and generator, from scores of real and generated examples.

    ``paired`` generator losses use scores of real examples.
    """

    critic: Loss
    generator: Loss
    paired: bool = False
    penalty: str = "none"


def _cross_entropy(on_real: Tensor, on_fake: Tensor) -> Tensor:
    return F.softplus(-on_real) + F.softplus(on_fake)


# Losses by name, with D the critic's score of real x and generated G:
#
# * relativistic: L_D = softplus(D(G) - D(x)), L_G = softplus(D(x) - D(G)) (Jolicoeur-Martineau
#   2019; Huang et al. 2024, eq. 2).
# * non_saturating: L_D = softplus(-D(x)) + softplus(D(G)), L_G = softplus(-D(G)) (Goodfellow et al.
#   2014, section 3).
# * minimax: the same critic, L_G = -softplus(D(G)) = log(1 - sigmoid(D(G))) (Goodfellow et al.
#   2014, eq. 1).
# * hinge: L_D = max(0, 1 - D(x)) + max(0, 1 + D(G)), L_G = -D(G) (Lim and Ye 2017; Miyato et al.
#   2018, eq. 16 and 17).
# * least_squares: L_D = ((D(x) - 1)^2 + D(G)^2) / 2, L_G = (D(G) - 1)^2 / 2 (Mao et al.
#   2017, eq. 9).
# * wasserstein: L_D = D(G) - D(x), L_G = -D(G) (Arjovsky et al. 2017), with the critic's gradient
#   norm held near 1 (Gulrajani et al. 2017).
OBJECTIVES = {
    "relativistic": Objective(
        lambda on_real, on_fake: F.softplus(on_fake - on_real),
        lambda on_real, on_fake: F.softplus(on_real - on_fake),
        paired=True,
        penalty="r1+r2",
    ),
    "non_saturating": Objective(_cross_entropy, lambda on_real, on_fake: F.softplus(-on_fake)),
    "minimax": Objective(_cross_entropy, lambda on_real, on_fake: -F.softplus(on_fake)),
    "hinge": Objective(
        lambda on_real, on_fake: F.relu(1 - on_real) + F.relu(1 + on_fake),
        lambda on_real, on_fake: -on_fake,
    ),
    "least_squares": Objective(
        lambda on_real, on_fake: ((on_real - 1).square() + on_fake.square()) / 2,
        lambda on_real, on_fake: (on_fake - 1).square() / 2,
    ),
    "wasserstein": Objective(
        lambda on_real, on_fake: on_fake - on_real,
        lambda on_real, on_fake: -on_fake,
        penalty="gradient",
    ),
}


@dataclass(frozen=True)
class Penalties:
    """Gradient penalties of a critic and their weights.

    Args:
        kind: "r1", "r2", "gradient", several joined by "+", or "none"; None for the penalty of the
            loss.
        gamma: Initial weight; 0 for no penalties.
        gamma_end: Weight at the end of a cosine schedule; None for a constant weight.
        interval: Steps between penalties (lazy regularisation), which multiply the weight.
        difference: Step of finite differences in r1 and r2; None for exact gradients.
        shortest_ramp: Minimum length of the schedule in samples.
    """

    kind: str | None = None
    gamma: float = 1.0
    gamma_end: float | None = None
    interval: int = 1
    difference: float | None = None
    shortest_ramp: int | None = None

    def __post_init__(self) -> None:
        for name in self.names:
            one_of("penalty", name, ("r1", "r2", "gradient"), " (join several with +)")
        weight("gamma", self.gamma)
        weight("gamma_end", self.end)
        whole("penalty_interval", self.interval, 1)

    @property
    def names(self) -> tuple[str, ...]:
        if self.kind is None or self.kind == "none":
            return ()
        return tuple(self.kind.split("+"))

    def for_loss(self, loss: str) -> Penalties:
        """Return these penalties, or those that the loss was published with."""
        if self.kind:
            return self
        return replace(self, kind=OBJECTIVES[loss].penalty)

    @property
    def end(self) -> float:
        if self.gamma_end is None:
            return self.gamma
        return self.gamma_end

    def weight(self, now: StepContext) -> float:
        return now.along(self.gamma, self.end, self.shortest_ramp)


@contextmanager
def held(critic: nn.Module) -> Iterator[None]:
    """Context in which gradients pass through the critic, but not into its weights."""
    weights = [parameter for parameter in critic.parameters() if parameter.requires_grad]
    for parameter in weights:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in weights:
            parameter.requires_grad_(True)


def slope(scores: Tensor, x: Tensor) -> Tensor:
    """Compute the squared gradient norm (n / m,) of scores of m examples each, differentiable.

    References:
        Mescheder et al., Which Training Methods for GANs do actually Converge? (2018), eq. 9, 10.
    """
    (gradient,) = torch.autograd.grad(scores.sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(1).reshape(len(scores), -1).sum(1)


def differences(critic: Transform, x: Tensor, noise: Tensor, step: float) -> tuple[Tensor, Tensor]:
    """Compute scores of x, and their squared gradient norms by finite differences, (n / m,) each.

    References:
        Lin et al., Diffusion Adversarial Post-Training (APT, 2025); Lin et al., Adversarial Flow
        Models (2025).
    """
    scores, moved = critic(torch.cat([x, x + step * noise])).chunk(2)
    return scores, ((moved - scores) / step).square()


def between(real: Tensor, fake: Tensor, share: Tensor, critic: Transform) -> Tensor:
    """Compute the WGAN-GP penalty (|grad D| - 1)^2 between real and generated examples, (n / m,).

    References:
        Gulrajani et al., Improved Training of Wasserstein GANs (2017), eq. 3.
    """
    share = shaped(share, real)
    x = (share * real + (1 - share) * fake).detach().requires_grad_()
    square = slope(critic(x), x)
    # the root's derivative is infinite at 0, which a critic that starts flat would meet
    return ((square + 1e-12).sqrt() - 1).square()


@dataclass(frozen=True)
class CriticInput:
    """Grouping and augmentation of examples before the critic scores them.

    Args:
        pack: Number of examples scored together (`pushforward.networks.Packed`).
        minibatch_std: Number of scores per group of minibatch standard deviation; 0 for none.
        augment: Random augmentation.
        strength: Probability of each change, initially if there is a target.
        ada_target: Target for the mean sign of scores of real examples (paired losses: of score
            gaps).

    References:
        Lin et al., PacGAN (2018); Karras et al., Progressive Growing of GANs (2018), section 3;
        Karras et al., Training GANs with Limited Data (2020), section 3, for the target.
    """

    pack: int = 1
    minibatch_std: int = 0
    augment: DiffAugment | None = None
    strength: float = 1.0
    ada_target: float | None = None

    def __post_init__(self) -> None:
        whole("pack", self.pack, 1)
        whole("minibatch_std", self.minibatch_std, 0)
        share("strength", self.strength, " of the changes")

    @property
    def group(self) -> int:
        return self.pack * max(1, self.minibatch_std)

    def transform(self, draws: Draws, strength: Tensor | float) -> Transform:
        """Return the function that augments examples for the critic with this probability."""
        augment = self.augment
        if augment is None:
            return lambda x: x
        stream = draws.stream("augment")
        return lambda x: augment(x, stream, strength)

    def check(self, count: int) -> None:
        """Raise a `UsageError` if a batch cannot be divided into whole groups."""
        if count % self.group:
            raise UsageError(
                f"This critic scores groups of {self.group} examples, but the batch has {count}. "
                f"Choose a `batch` that is a multiple of {self.group}."
            )


@dataclass(frozen=True)
class Game:
    """Losses of a critic and of the model whose samples it scores."""

    critic: nn.Module
    loss: str
    penalties: Penalties

    def scores(self, x: Tensor, condition: Condition) -> Tensor:
        """Compute scores of examples x in model units, (n / m,) for packs of m."""
        return call(self.critic, x, None, condition).reshape(-1)

    def alone(self, x: Tensor, condition: Condition, pack: int) -> Tensor:
        """Compute scores (n,) of examples, each packed with copies of itself."""
        index = torch.arange(len(x), device=x.device).repeat_interleave(pack)
        scores = self.scores(x[index], condition_at(condition, index))
        return scores.reshape(len(x), -1).mean(1)

    def critic_loss(
        self, real: Tensor, fake: Tensor, condition: Condition, now: StepContext
    ) -> tuple[Tensor, Tensor]:
        """Compute the critic loss, and the signs of scores of real examples (paired: of gaps).

        It logs the logit gap, the critic's accuracy and the penalty.
        """
        objective = OBJECTIVES[self.loss]
        names = self.penalties.names
        interval = self.penalties.interval
        due = now.step % interval == 0
        gamma = self.penalties.weight(now) * interval if due else 0.0
        zero_centred = gamma > 0 and ("r1" in names or "r2" in names)
        both = torch.cat([real, fake])
        if zero_centred:
            scores, squares = self._sloped(both, condition, now)
        else:
            scores = self.scores(both, _twice(condition))
        on_real, on_fake = scores.chunk(2)
        loss = objective.critic(on_real, on_fake).mean()
        penalty = torch.zeros_like(loss)
        if zero_centred:
            for name, half in zip(("r1", "r2"), squares.chunk(2), strict=True):
                if name in names:
                    penalty = penalty + gamma / 2 * half.mean()
        if gamma > 0 and "gradient" in names:
            share = now.draws.stream("between").uniform()
            apart = between(real, fake, share, lambda x: self.scores(x, condition))
            penalty = penalty + gamma * apart.mean()
        gap = (on_real - on_fake).detach()
        now.notes.update(logit_gap=gap.mean(), critic_accuracy=(gap > 0).float().mean())
        if due:
            now.notes["penalty"] = penalty.detach()
        leans = gap if objective.paired else on_real.detach()
        return loss + penalty, leans.sign()

    def _sloped(
        self, both: Tensor, condition: Condition, now: StepContext
    ) -> tuple[Tensor, Tensor]:
        step = self.penalties.difference
        if step is None:
            both.requires_grad_()
            scores = self.scores(both, _twice(condition))
            return scores, slope(scores, both)
        draws = now.draws.stream("difference")
        noise = torch.cat([draws.normal(both.shape[1:]) for _ in range(2)])
        fourfold = _twice(_twice(condition))
        with network_precision("float32"):  # a small difference is lost in the rounding of bfloat16
            return differences(lambda x: self.scores(x, fourfold), both, noise, step)

    def generator_loss(self, real: Tensor, fake: Tensor, condition: Condition) -> Tensor:
        """Compute the generator loss; the critic's weights receive no gradients."""
        objective = OBJECTIVES[self.loss]
        with held(self.critic):
            on_fake = self.scores(fake, condition)
        if not objective.paired:
            return objective.generator(on_fake, on_fake).mean()
        with torch.no_grad():
            on_real = self.scores(real, condition)
        return objective.generator(on_real, on_fake).mean()


def _twice(condition: Condition) -> Condition:
    if condition is None:
        return None
    return {name: torch.cat([values, values]) for name, values in condition.items()}


# Training samples in which the strength moves by 1 if all examples agree (Karras et al. 2020)
ADAPTATION = 500_000
# Above this the augmentations leak into the samples (Karras et al. 2020, section 2.2)
STRONGEST = 0.8


class Adversarial(Method):
    """Base class of methods with a critic, its loss, penalties and input."""

    @property
    def group(self) -> int:
        return self.critic_input.group

    @property
    def game(self) -> Game:
        return Game(self.critic, self.loss, self.penalties)

    def scores(self, x: Tensor, condition: Condition = None) -> Tensor:
        return self.game.alone(x, condition, self.critic_input.pack)


class GAN(Adversarial):
    """Generative adversarial network: one step from noise to data.

    The critic loss is the adversarial loss (`OBJECTIVES`) plus gamma / 2 |grad D(x)|^2 (r1), gamma
    / 2 |grad D(G(z))|^2 (r2) or gamma (|grad D| - 1)^2 in between (gradient).

    Args:
        generator: ``generator(z, None, condition) -> x``, model units.
        critic: ``critic(x, None, condition)`` -> one score per ``pack`` examples, or scores (n, k).
        space: Shape and units of the data.
        latent: Length of the noise vector z.
        loss: Name in `OBJECTIVES`.
        penalties: Gradient penalties; by default the penalty of the loss with gamma 1.
        critic_input: Grouping and augmentation of the examples that the critic scores.

    References:
        Goodfellow et al., Generative Adversarial Nets (2014); Jolicoeur-Martineau, The Relativistic
        Discriminator (2019); Huang et al., The GAN Is Dead; Long Live the GAN! (R3GAN, 2024), eq. 2
        and section 2.2; Karras et al., StyleGAN2 (2020), appendix B, for lazy penalties; Karras et
        al., Training GANs with Limited Data (2020), section 3, for the adaptive strength, which
        here moves in proportion to the difference.
    """

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
        one_of("loss", loss, OBJECTIVES)
        self.generator = generator
        self.critic = critic
        self.space = space
        self.latent = latent
        self.loss = loss
        self.penalties = (penalties or Penalties()).for_loss(loss)
        self.critic_input = critic_input or CriticInput()
        augments = self.critic_input.augment is not None
        if augments and not space.grid:
            raise UsageError(
                "Colour, translation and cutout augment images only. Leave out augment for vectors."
            )
        strength = torch.tensor(float(self.critic_input.strength))
        self.register_buffer("strength_now", strength, persistent=augments)

    @property
    def players(self) -> Modules:
        return {"critic": self.critic, "generator": self.generator}

    def losses(self, batch: Batch, now: StepContext) -> Iterator[Move]:
        """Yield the critic loss, then the generator loss, on the same generated samples.

        Micro-batches generate them again instead of keeping their graphs.
        """
        self.critic_input.check(len(batch.x))
        augments = self.critic_input.augment is not None
        adapts = self.critic_input.ada_target is not None
        if adapts:
            self.strength_now.clamp_(0.0, STRONGEST)
        strength = self.strength_now.clone()
        if augments:
            now.notes["strength"] = strength
        transform = self.critic_input.transform(now.draws, strength)
        condition = batch.condition
        z = now.draws.normal((self.latent,))
        with torch.set_grad_enabled(now.parts == 1):
            fake = call(self.generator, z, None, condition)
        loss, leans = self.game.critic_loss(
            transform(batch.x), transform(fake.detach()), condition, now
        )
        yield "critic", loss
        del loss
        if augments and adapts:
            values = {"leans": leans.sum(), "scores": leans.new_tensor(leans.numel())}
            yield Sums(len(batch.x), values, then=self._adapted)
        if now.parts > 1:
            fake = call(self.generator, z, None, condition)
        loss = self.game.generator_loss(transform(batch.x), transform(fake), condition)
        yield "generator", loss

    def _adapted(self, total: Sums) -> None:
        assert self.critic_input.ada_target is not None
        lean = total.values["leans"] / total.values["scores"]
        self.strength_now += (lean - self.critic_input.ada_target) * (total.count / ADAPTATION)

    def transport(self) -> Map:
        return Map(self.generator, self.space, (self.latent,))
