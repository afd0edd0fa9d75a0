"""New data near given data: an iterative model solves back from a noised copy, a one-call model stays near its z."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pushforward.draws import Draws
from pushforward.editing.checks import check_one_call, checked_example, condition_of_data, iterative
from pushforward.errors import UsageError
from pushforward.predictor import Condition
from pushforward.transports import BATCH, ConditionLike, Flow, Latent, Transport, inner_of


class Variation(Transport):
    """SDEdit: given data is noised to a time within the grid, and solved back from there.

    With N steps and strength s the last round(s N) of them are run again. Below one step, the data is noised to the share s N of
    the last step's time, so that strength 0 is the limit in which nothing changes. At strength 1 the data is not looked at: what
    comes out is what `Flow.sample` draws with the same seeds.

    Args:
        flow: An iterative model under any solver.
        x: Data units, (*shape).
        strength: s, in (0, 1].

    Raises:
        UsageError: For a one-call model, a strength that is none, or data of another shape or range.

    References:
        Meng et al., SDEdit (2022), algorithm 1.
    """

    def __init__(self, flow: Transport, x: Tensor, strength: float) -> None:
        super().__init__()
        model = iterative(flow)
        if not 0 < strength <= 1:
            raise UsageError(f"The strength of a variation is in (0, 1], got {strength}; 1 is a new sample.")
        self.strength, self.space, self.noise_shape = float(strength), model.space, model.noise_shape
        share = self.strength * model.steps
        steps = max(1, math.floor(share + 0.5))
        times = model.times[-steps - 1 :].copy()
        path = model.denoiser.path
        if share < 1:
            times[0] = max(path.ends[0], share * times[0])
        self.rest = Flow(model.denoiser, model.solver, steps, times.tolist())
        k = path.at(torch.tensor(float(times[0]), dtype=torch.float64))
        # the rest starts at sigma z: with z + x alpha / sigma in place of z, at alpha x + sigma z
        signal = 0.0 if self.strength == 1 else float(k.alpha / k.sigma)
        self.register_buffer("start", signal * self.space.to_model(checked_example(model, x)[None]), persistent=False)

    start: Tensor

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        return self.rest(z + self.start.to(z), condition, draws)

    @property
    def calls(self) -> int:
        return self.rest.calls


def vary(
    flow: Transport, x: Tensor, strength: float, n: int, *, condition: ConditionLike = None, seed: int = 0, batch: int = BATCH
) -> Tensor:
    """Variations of given data (`Variation`); variation i comes from ``seed + i`` alone.

    Args:
        flow: An iterative model under any solver.
        x: Data units, (*shape).
        strength: In (0, 1]: the share of the steps that are run again; small is nearly x, 1 a new sample.
        n: How many.
        condition: For example ``{"label": 3}``; None is the unconditional model.
        seed: The seed of the first.
        batch: Examples computed at a time.

    Returns:
        float32 (n, *shape), data units, on the CPU.

    Raises:
        UsageError: As `Variation` and `condition_of_data`.
        Diverged: If a sample is not finite.
    """
    given = condition_of_data(iterative(inner_of(flow)), condition)
    return variation(flow, x, strength, given).sample(n, given, seed=seed, batch=batch)


def variation(flow: Transport, x: Tensor, strength: float, condition: ConditionLike = None) -> Transport:
    """The sampler of variations of given data: a `Variation`, or for a model in a latent space that of the data's code, decoded.

    Args:
        flow: An iterative model under any solver, or a `Latent` of one.
        x: Data units, (*shape).
        strength: In (0, 1].
        condition: One label, for an autoencoder that receives labels.

    Raises:
        UsageError: As `Variation`, or without a label that the autoencoder needs.
    """
    if not isinstance(flow, Latent):
        return Variation(flow, x, strength)
    given = flow.conditions(1, condition, 0) if flow.autoencoder.space.conditions else None
    return flow.on(Variation(flow.inner, flow.codes(checked_example(flow, x)[None], given)[0], strength))


class Nearby(Transport):
    """Samples around one z of a one-call model: those of sqrt(1 - s^2) z + s n, with n standard normal.

    Were z a draw like any other, so would be what comes out, at every s. At strength 1 z has no effect: the result is the sample
    that the model itself draws with the same seeds. A decoder returns its means, without the noise of its likelihood.

    Args:
        inner: A one-call model: a `Map`, or a `Latent` of one.
        z: The middle, (*noise_shape), such as an `Inversion` holds.
        strength: s, in (0, 1]: small is nearly z, 1 a new sample.

    Raises:
        UsageError: For an iterative model, z of another shape, or a strength that is none.
    """

    z: Tensor

    def __init__(self, inner: Transport, z: Tensor, strength: float) -> None:
        super().__init__()
        check_one_call(inner, "Varying z", "Vary its data: pushforward.editing.vary.")
        if tuple(z.shape) != tuple(inner.noise_shape):
            raise UsageError(f"Expected one z of shape {tuple(inner.noise_shape)}, got {tuple(z.shape)}.")
        if not 0 < strength <= 1:
            raise UsageError(f"The strength of a variation is in (0, 1], got {strength}; 1 is a new sample.")
        self.inner, self.strength = inner, float(strength)
        self.space, self.noise_shape = inner.space, inner.noise_shape
        self.register_buffer("z", z[None].to(inner.device), persistent=False)

    def forward(self, z: Tensor, condition: Condition = None, draws: Draws | None = None) -> Tensor:
        return self.inner(math.sqrt(1 - self.strength**2) * self.z.to(z) + self.strength * z, condition)

    @property
    def calls(self) -> int:
        return self.inner.calls
