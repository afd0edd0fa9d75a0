"""DDIM, its ancestral form, and the jumps of maps between two times."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pushforward.denoisers import Condition, Predictor
from pushforward.draws import Draws
from pushforward.paths import solve
from pushforward.solvers.solver import Memory, Solver, between, ends_of, noise_of


class DDIM(Solver):
    """DDIM sampler: x_s = alpha_s x + sqrt(sigma_s^2 - c^2) z + c n, with x and z estimated at x_t and n fresh noise.

    c = eta sigma_s sqrt(1 - (alpha_t sigma_s / (alpha_s sigma_t))^2) is eta times the standard deviation of x_s given x_t and x,
    so eta = 1 is ancestral sampling, and eta = 0 the exponential Euler method on the ODE (on the linear path, Euler's method
    on the velocity).

    Args:
        eta: Amount of noise: 0 for the deterministic sampler, 1 for ancestral sampling.

    References:
        Song, Meng, Ermon, Denoising Diffusion Implicit Models (2021), eq. 12 and 16.
    """

    order = 1

    def __init__(self, eta: float = 0.0) -> None:
        self.eta = between("DDIM", "eta", eta, 0, 1)
        self.stochastic = eta > 0

    def step(
        self,
        denoiser: Predictor,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        condition: Condition,
        draws: Draws | None,
        memory: Memory,
    ) -> tuple[Tensor, Memory]:
        here, there = ends_of(denoiser.path, x, t, s)
        data, noise = solve("data", denoiser.predict("data", x, t, condition), x, here)
        if self.eta == 0:
            return there.alpha * data + there.sigma * noise, None
        ratio = (here.alpha * there.sigma / (there.alpha * here.sigma)).square().clamp(max=1)
        fresh = self.eta * there.sigma * torch.sqrt(1 - ratio)
        return (
            there.alpha * data
            + torch.sqrt((there.sigma**2 - fresh**2).clamp(min=0)) * noise
            + fresh * noise_of(x, draws)
        ), None


class Ancestral(Solver):
    """DDPM sampler: draws x_s from its Gaussian posterior given x_t and the estimate of the data.

    References:
        Ho et al., DDPM (2020), eq. 6 and 7, with the posterior variance; here between any two times.
    """

    order = 1
    stochastic = True

    def step(
        self,
        denoiser: Predictor,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        condition: Condition,
        draws: Draws | None,
        memory: Memory,
    ) -> tuple[Tensor, Memory]:
        return DDIM(1.0).step(denoiser, x, t, s, condition, draws, memory)


class Jump(Solver):
    """Solver for a `pushforward.denoisers.FlowMap`: x_s = map(x_t, t, s), exact in any number of steps for an exact map.

    The last step is a jump to t = 0, so one step goes from noise to data in one evaluation.

    Args:
        renoise: Fraction of fresh noise at s, in [0, 1]: a step jumps to the lower noise level
            sqrt(1 - renoise^2) sigma_s / alpha_s and adds noise up to s. With 1 it jumps to data,
            as consistency models require.

    References:
        Kim et al., Consistency Trajectory Models (2024), section 3.3, whose gamma is ``renoise``; Song et al., Consistency Models
        (2023), algorithm 1, for 1; Boffi et al., Flow Map Matching (2024), for 0.
    """

    order = 1
    jumps = True

    def __init__(self, renoise: float = 0.0) -> None:
        self.renoise = between("Jump", "renoise", renoise, 0, 1)
        self.stochastic = renoise > 0

    @classmethod
    def of(cls, denoiser: Predictor) -> Jump:
        """Build the solver for the jumps that a map has learned, with new noise between jumps if it only jumps to data."""
        return cls(
            1.0 if getattr(getattr(denoiser, "sampling", None), "only_to_data", False) else 0.0
        )

    def step(
        self,
        denoiser: Predictor,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        condition: Condition,
        draws: Draws | None,
        memory: Memory,
    ) -> tuple[Tensor, Memory]:
        """Jump from t to s, or to a lower level and back to s by adding noise."""
        if self.renoise == 0:
            return denoiser.jump(x, t, s, condition), None  # type: ignore[attr-defined]  # a flow refuses those without
        path = denoiser.path
        whole = self.renoise == 1
        if whole:
            lower = torch.zeros_like(s)
        else:
            lower = path.time(path.log_snr(s) - math.log1p(-(self.renoise**2)))
        here, there = ends_of(path, x, lower, s)
        landed = denoiser.jump(x, t, lower, condition)  # type: ignore[attr-defined]
        return there.alpha / here.alpha * landed + self.renoise * there.sigma * noise_of(
            x, draws
        ), None

    def last(
        self,
        denoiser: Predictor,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        condition: Condition,
        draws: Draws | None,
        memory: Memory,
    ) -> Tensor:
        return denoiser.jump(x, t, s, condition)  # type: ignore[attr-defined]
