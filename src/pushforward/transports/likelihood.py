"""Likelihoods: the exact density of a flow, and the variational bound of a diffusion model.

References:
    Chen et al., Neural ODEs (2018), the instantaneous change of variables; Grathwohl et al., FFJORD
    (2019), Hutchinson's trace with probes fixed per solve; Song et al. (2021), section 4.3 and
    appendix D.2; Kingma et al., Variational Diffusion Models (2021), eq. 11 to 15; Theis et al., A
    Note on the Evaluation of Generative Models (2016), dequantisation.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from torch import Tensor

from pushforward.data.spaces import Space
from pushforward.denoisers import Condition, Predictor
from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError
from pushforward.paths import solve
from pushforward.solvers.runge_kutta import scaled_velocity
from pushforward.transports import Flow, Transport, check_transport, has_levels, has_steps
from pushforward.transports.transport import ConditionLike

EXACT = 64  # dimensions up to which the trace is exact; above, it is estimated by random probes
LEVELS = 256


def log_prob(
    flow: Transport,
    x: Tensor,
    condition: ConditionLike = None,
    *,
    steps: int = 100,
    seed: int = 0,
) -> Tensor:
    """Compute the log density of data under a flow, by the instantaneous change of variables.

    log p(x) = log p(z) + int div f, along the ODE from x to z, by RK4 in log-SNR. The trace is
    exact for at most `EXACT` dimensions; above, Hutchinson's estimate is unbiased.

    Args:
        flow: Flow from standard normal noise; its solver and steps have no effect.
        x: Data in data units, (n, *shape); images should be dequantised (`dequantise`).
        condition: Conditions as in `Transport.sample`; missing conditions are unknown.
        steps: Number of RK4 steps, with four network calls and backward passes each.
        seed: Seed of the first example's random probe if the trace is not exact.

    Returns:
        Log density in data units, in nats, float64 (n,).
    """
    denoiser = _denoiser(flow)
    u = flow.space.to_model(x.to(flow.device)).double()
    path = denoiser.path
    size = flow.space.size
    first, last = (path.at(torch.tensor([t], dtype=torch.float64)) for t in path.ends)
    probe = None
    if size > EXACT:
        draws = ExampleDraws(seed, len(u), "probes", u.device)
        probe = torch.where(draws.normal(u.shape[1:]) < 0, -1.0, 1.0).to(u)
    slope = _Slope(denoiser, flow.read(len(u), condition), probe)
    log_snr = torch.linspace(*path.log_snr_ends(), steps + 1).double()
    y, gained = _rk4(slope, u * float(first.alpha / first.r), log_snr)
    scale = float(last.sigma / last.r)
    norm = math.log(2 * math.pi) / 2 + math.log(scale)
    at_end = -(y / scale).square().flatten(1).sum(1) / 2 - size * norm
    return at_end + gained + size * float(torch.log(first.alpha / first.r)) + flow.space.log_det


def _denoiser(flow: Transport) -> Predictor:
    check_transport(flow)
    if not has_steps(flow):
        raise UsageError(
            f"A {type(flow).__name__} has no likelihood: it maps noise to data in one call that "
            "cannot be inverted. Use an iterative model (flow, ddpm, edm, vdm)."
        )
    if not has_levels(flow):
        raise UsageError(
            "This flow does not start from standard normal noise, so its starting density is "
            "unknown."
        )
    return flow.denoiser


class _Slope:
    def __init__(self, denoiser: Predictor, condition: Condition, probe: Tensor | None) -> None:
        self.denoiser = denoiser
        self.condition = condition
        self.probe = probe

    def __call__(self, log_snr: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            y = y.detach().requires_grad_()
            # networks compute in float32
            moved = scaled_velocity(self.denoiser, log_snr, y, self.condition, torch.float32)
            if self.probe is None:
                return moved.detach(), self._exact(moved, y)
            (slope,) = torch.autograd.grad(moved, y, self.probe)
        return moved.detach(), (slope * self.probe).flatten(1).sum(1)

    @staticmethod
    def _exact(moved: Tensor, y: Tensor) -> Tensor:
        n, *shape = y.shape
        size = math.prod(shape)
        basis = torch.eye(size, dtype=y.dtype, device=y.device).reshape(size, 1, *shape)
        basis = basis.expand(size, n, *shape)
        (slopes,) = torch.autograd.grad(moved, y, basis, is_grads_batched=True)
        return torch.diagonal(slopes.reshape(size, n, size), dim1=0, dim2=2).sum(1)


def _rk4(slope: _Slope, y: Tensor, grid: Tensor) -> tuple[Tensor, Tensor]:
    gained = y.new_zeros(len(y))
    for start, stop in itertools.pairwise(grid):
        h = stop - start
        middle = (start + stop) / 2
        a, da = slope(start, y)
        b, db = slope(middle, y + h / 2 * a)
        c, dc = slope(middle, y + h / 2 * b)
        d, dd = slope(stop, y + h * c)
        y = y + h / 6 * (a + 2 * b + 2 * c + d)
        gained = gained + h / 6 * (da + 2 * db + 2 * dc + dd)
    return y, gained


def dequantise(x: Tensor, *, seed: int = 0) -> Tensor:
    """Add uniform noise within each of 256 levels of images, i / 255 -> (i + u - 1/2) / 255.

    The mean over u of log p is a lower bound of the log probability of the levels: -log2 p per
    dimension + log2 255 bounds the bits per dimension. Example i depends only on ``seed + i``.
    """
    normal = ExampleDraws(seed, len(x), "dequantise", x.device).normal(x.shape[1:])
    return x + (torch.special.ndtr(normal) - 0.5).to(x) / (LEVELS - 1)


def bits_per_dim(log_density: Tensor, space: Space) -> Tensor:
    """Convert a log density, (n,), to bits per dimension; for images, of one of 256 levels."""
    bits = -log_density / (space.size * math.log(2))
    if space.levels is None:
        return bits
    return bits + math.log2(space.levels - 1)


def elbo(
    flow: Transport,
    x: Tensor,
    condition: ConditionLike = None,
    *,
    times: int = 16,
    spread: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """Compute the variational bound on the log probability of images with 256 levels.

    -ELBO = KL(x_{t_max} | noise) + 1/2 int E |z - z_hat|^2 d log-SNR - E log p(x | x_{t_min}). The
    decoder gives each level a weight exp(-(level - x_hat)^2 / (2 s^2)), s = spread sigma / alpha at
    t_min (`decoder_spread`).

    Args:
        flow: Flow from standard normal noise; its solver and steps have no effect.
        x: Images in [0, 1] with 256 levels, (n, *shape).
        times: Number of network calls per example for the integral.
        spread: Standard deviation of the decoder, in units of the noise at t_min.

    Returns:
        Bound in nats, float64 (n,).
    """
    denoiser = _denoiser(flow)
    if flow.space.levels != LEVELS:
        raise UsageError(
            "The variational bound supports only images with 256 levels. Use log_prob for vectors."
        )
    u = flow.space.to_model(x.to(flow.device))
    draws = ExampleDraws(seed, len(u), "elbo", flow.device)
    path = denoiser.path
    last = path.at(torch.tensor([path.ends[1]], dtype=torch.float64))
    prior = float(last.alpha / last.sigma) ** 2 * u.double().square().flatten(1).sum(1) / 2
    with torch.no_grad():
        given = flow.read(len(u), condition)
        diffusion = _diffusion(denoiser, u, given, times, draws)
        (decoded,) = _decoded(denoiser, u, given, draws, [spread])
    return decoded - diffusion - prior


def _diffusion(
    denoiser: Predictor, u: Tensor, condition: Condition, times: int, draws: ExampleDraws
) -> Tensor:
    path = denoiser.path
    high, low = path.log_snr_ends()
    total = u.new_zeros(len(u), dtype=torch.float64)
    for i in range(times):
        log_snr = high + (low - high) * (i + draws.uniform().double()) / times
        t = path.time_within(log_snr).to(u)
        k = path.at(t).over(u)
        z = draws.normal(u.shape[1:]).to(u)
        x_t = k.state(u, z)
        v = denoiser.predict("v", x_t, t, condition)
        _, estimate = solve("v", v, x_t, k)
        total += (z - estimate).double().square().flatten(1).sum(1)
    return total * (high - low) / (2 * times)


def _decoded(
    denoiser: Predictor, u: Tensor, condition: Condition, draws: ExampleDraws, spreads: list[float]
) -> list[Tensor]:
    assert denoiser.space.bounds is not None
    low, high = denoiser.space.bounds
    gap = ((high - low) / (LEVELS - 1)).to(u)
    low = low.to(u)
    t_min = denoiser.path.ends[0]
    t = u.new_full((len(u),), t_min)
    k = denoiser.path.at(t).over(u)
    x_t = k.state(u, draws.normal(u.shape[1:]).to(u))
    mean = (denoiser.predict("data", x_t, t, condition) - low) / gap
    true = ((u - low) / gap).round()
    noise = float(k.sigma[0] / k.alpha[0])
    levels = torch.arange(LEVELS, device=u.device, dtype=u.dtype)
    levels = levels.reshape(-1, *[1] * (u.dim() - 1))
    precisions = [(noise * spread / gap)[0] ** -2 for spread in spreads]
    log_probs: list[list[Tensor]] = [[] for _ in spreads]
    for place, level in zip(mean, true, strict=True):
        distance = (levels - place).square() / 2
        for values, precision in zip(log_probs, precisions, strict=True):
            log_norm = torch.logsumexp(-distance * precision, 0)
            log_prob = -(level - place).square() / 2 * precision - log_norm
            values.append(log_prob.double().sum())
    return [torch.stack(values) for values in log_probs]


def decoder_spread(flow: Flow, x: Tensor, condition: Condition = None) -> float:
    """Find the decoder's standard deviation for `elbo` on a few dozen training images in [0, 1].

    Its unit is the noise at t_min.
    """
    spreads = np.geomspace(0.05, 2, 16).tolist()
    u = flow.space.to_model(x.to(flow.device))
    draws = ExampleDraws(0, len(u), "spread", flow.device)
    with torch.no_grad():
        log_probs = _decoded(flow.denoiser, u, condition, draws, spreads)
    means = [float(values.mean()) for values in log_probs]
    return spreads[np.argmax(means)]
