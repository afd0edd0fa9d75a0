"""Distribution matching distillation: a jump learns from the difference of two scores."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pushforward.arguments import share, whole
from pushforward.data import Batch
from pushforward.denoisers.denoiser import Condition, Denoiser, FlowMap, Predictor, shaped
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.methods.flow_map import MapMethod, jump_to_data, starts
from pushforward.methods.method import Modules, StepContext, Turn
from pushforward.paths import Linear, Path, gain, target
from pushforward.transports import Flow

# Largest entry of a step towards the teacher, in model units
BOUND = 10.0
# Smallest mean distance by which a step is divided, in model units
LEAST = 1e-4


class DistributionMatching(MapMethod):
    """Training of a map's jump so that its samples match the teacher's distribution, without data.

    Two denoisers are evaluated at samples with added noise: the frozen teacher, which knows the
    score of the data, and ``fake``, which learns the score of the samples. Their difference is the
    gradient of the divergence between the two distributions, averaged over noise levels:

        step = (x_fake(x_t) - x_real(x_t)) / mean |x - x_real(x_t)|
        loss = mean |x - (x - step)|^2 / 2

    without gradients through the bracket, so the loss moves each sample against its step. ``fake``
    is updated in several ``rounds`` before each update of the map; ``ends`` are the smallest and
    largest fraction sigma / (alpha + sigma) of added noise.

    References:
        Yin et al., One-step Diffusion with Distribution Matching Distillation (2024), for the step;
        Yin et al., Improved Distribution Matching Distillation (DMD2, 2024), for the two time
        scales and the omission of a regression.
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
        output = fake(k.alpha * x + k.sigma * z, t, condition)
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
    return path.time(Linear().log_snr(levels)).clamp(*path.ends)


def estimate(
    predictor: Predictor, x: Tensor, z: Tensor, levels: Tensor, condition: Condition
) -> Tensor:
    """Estimate the data from x with noise z, at noise fractions on the predictor's own path."""
    t = at_level(predictor.path, levels).to(x)
    k = predictor.path.at(t).over(x)
    return predictor.predict("data", k.alpha * x + k.sigma * z, t, condition)
