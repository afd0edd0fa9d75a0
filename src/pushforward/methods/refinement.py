"""Training of a map by its own samples: a second score, or a critic, says how they must change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pushforward.arguments import share, weight, whole
from pushforward.data import Batch
from pushforward.denoisers.denoiser import Condition, Denoiser, FlowMap, Predictor, shaped
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.adversarial import Adversarial, CriticInput, Penalties, Transform
from pushforward.methods.flow_map import MapMethod, jump_to_data, starts
from pushforward.methods.method import Freezing, Guard, Modules, StepContext, Turn
from pushforward.methods.trajectories import States
from pushforward.paths import Linear, Path, gain, target, training_noise
from pushforward.solvers import Jump
from pushforward.transports import Flow

# Largest entry of a step towards the teacher, in model units
BOUND = 10.0


# Smallest mean distance by which a step is divided, in model units
LEAST = 1e-4


class DistributionMatching(MapMethod):
    """Training of a map's jump so that its samples match the teacher's distribution, without data.

    Two denoisers are evaluated at samples with added noise: the frozen teacher, which knows the
    score of the data, and ``fake``, which learns the score of the samples:

        step = (x_fake(x_t) - x_real(x_t)) / mean |x - x_real(x_t)|
        loss = mean |x - (x - step)|^2 / 2

    without gradients through the bracket. ``fake`` is updated in several ``rounds`` per update of
    the map; ``ends`` are the smallest and largest fraction sigma / (alpha + sigma) of added noise.

    References:
        Yin et al., One-step Diffusion with Distribution Matching Distillation (2024); Yin et al.,
        Improved Distribution Matching Distillation (DMD2, 2024), for the two time scales.
    """

    def __init__(
        self,
        flow_map: FlowMap,
        fake: Denoiser,
        *,
        teacher: Flow,
        rounds: int = 5,
        ends: Sequence[float] = (0.02, 0.98),
        inside: float = 0.0,
        steps: int = 1,
    ) -> None:
        super().__init__(flow_map, steps, compared=True)
        least, greatest = map(float, ends)
        if not 0 < least < greatest < 1:
            raise UsageError(
                f"The noise range must satisfy 0 < least < greatest < 1, got {least}, {greatest}."
            )
        self.fake = fake
        self.rounds = whole("rounds", rounds, 1)
        self.ends = (least, greatest)
        self.inside = share("inside", inside, " of the examples")
        self.freeze("teacher", teacher)
        self.learns = "score"

    @property
    def players(self) -> Modules:
        return {"fake": self.fake, "map": self.flow_map}

    def losses(self, batch: Batch, now: StepContext) -> Iterator[Turn]:
        condition = batch.condition
        for turn in range(self.rounds):
            draws = now.draws.stream(f"fake {turn}")
            with torch.no_grad():
                x = self._samples(batch, draws)
            yield "fake", self.fake_loss(x, condition, draws)
        x = self._samples(batch, now.draws)
        with torch.no_grad():
            step = self.step(x, condition, now.draws)
        now.notes["step_size"] = step.square().mean().sqrt()
        yield "map", (x - (x - step).detach()).square().mean() / 2

    def _samples(self, batch: Batch, draws: Draws) -> Tensor:
        start = starts(self.flow_map, batch.x, draws, self.inside)
        return jump_to_data(self.flow_map, start, batch.condition)

    def _levels(self, draws: Draws) -> Tensor:
        least, greatest = self.ends
        return least + draws.stream("level").uniform().double() * (greatest - least)

    def fake_loss(self, x: Tensor, condition: Condition, draws: Draws) -> Tensor:
        """Compute the squared error of ``fake`` at x, with equal weights in v at all levels."""
        fake = self.fake
        z = draws.stream("noise").normal(x.shape[1:])
        t = at_level(fake.path, self._levels(draws)).to(x)
        k = fake.path.at(t).over(x)
        output = fake(k.state(x, z), t, condition)
        error = output - target(fake.prediction, x, z, k)
        return (error * gain(fake.prediction, "v", k)).square().mean()

    def step(self, x: Tensor, condition: Condition, draws: Draws) -> Tensor:
        """Compute the step of samples x away from the teacher's distribution."""
        z = draws.stream("noise").normal(x.shape[1:])
        levels = self._levels(draws)
        real = estimate(self.teacher.denoiser, x, z, levels, condition)
        learned = estimate(self.fake, x, z, levels, condition)
        size = (x - real).abs().flatten(1).mean(1).clamp(min=LEAST)
        return ((learned - real) / shaped(size, x)).clamp(-BOUND, BOUND)


def at_level(path: Path, levels: Tensor) -> Tensor:
    """Return the times with the given noise fractions sigma / (alpha + sigma)."""
    return path.time_within(Linear().log_snr(levels))


def estimate(
    predictor: Predictor, x: Tensor, z: Tensor, levels: Tensor, condition: Condition
) -> Tensor:
    """Estimate the data from x with noise z, at noise fractions on the predictor's own path."""
    t = at_level(predictor.path, levels).to(x)
    k = predictor.path.at(t).over(x)
    return predictor.predict("data", k.state(x, z), t, condition)


# Entry of a condition with the times of the noise in the examples that a critic scores
LEVEL = "noise_of_critic"


class FeatureCritic(Freezing):
    """Small trainable critics on features of a frozen denoiser (`look_through`).

    Real and generated examples are mixed with noise at a uniform time, (1 - t) x + t n.

    References:
        Sauer et al., Fast High-Resolution Image Synthesis with Latent Adversarial Diffusion
        Distillation (2024); Xiao et al., Tackling the Generative Learning Trilemma with Denoising
        Diffusion GANs (2022), for the noise.
    """

    def __init__(self, heads: nn.Module, *, low: float = 0.02, high: float = 0.5) -> None:
        super().__init__()
        self.heads = heads
        self.low = low
        self.high = high

    def look_through(self, teacher: Denoiser) -> None:
        """Set the frozen denoiser whose features are used; its network must have them."""
        self.freeze("teacher", teacher)

    def noised(
        self, condition: Condition, draws: Draws, transform: Transform
    ) -> tuple[Condition, Transform]:
        """Return a condition with noise times, and a function that augments and adds noise."""
        t = self.low + (self.high - self.low) * draws.stream("time of noise").uniform()
        stream = draws.stream("noise of critic")

        def mixed(x: Tensor) -> Tensor:
            share = shaped(t.to(x), x)
            x = (1 - share) * transform(x)
            return x + share * training_noise(self.teacher.source, x.shape[1:], stream).to(x)

        return {**(condition or {}), LEVEL: t}, mixed

    def forward(self, x: Tensor, t: Tensor | None = None, condition: Condition = None) -> Tensor:
        given = dict(condition or {})
        level = given.pop(LEVEL, None)
        if level is None:
            level = torch.full((len(x),), self.low)
        features = self.teacher.network_features(x, level.to(x), given or None)
        return self.heads(features, None, given or None)


@dataclass(frozen=True)
class AnchorPenalty:
    """Settings that keep a map near its starting point.

    Args:
        weight: Weight of the mean squared distance to the samples of the starting map.
        inside: Fraction of jumps that start at noisy data.
        still: Initial fraction of training in which only the critic is trained.
    """

    weight: float = 1.0
    inside: float = 0.0
    still: float = 0.0

    def __post_init__(self) -> None:
        weight("anchor", self.weight)
        share("inside", self.inside, " of the examples")
        share("still", self.still, " of training")


class AdversarialRefinement(Adversarial, MapMethod):
    """Adversarial training of a map: sharpens the jump from noise to data.

    The loss is a relativistic paired loss with R1 and R2, plus ``weight |G(z) - G_0(z)|^2`` for the
    map, where G_0 is the frozen starting map. The guard ends training if coverage or recall falls.

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
        yield "map", loss + self.anchor.weight * distance

    def distance(self, x: Tensor, start: States, condition: Condition) -> Tensor:
        """Compute the mean squared distance to samples of the starting map."""
        with torch.no_grad():
            before = jump_to_data(self.teacher, start, condition)
        return (x - before).square().mean()

    def reference(self) -> Flow:
        return Flow(self.teacher, Jump.of(self.teacher), self.steps)
