"""DDIM and ancestral sampling: one estimate of data and noise, put together again at the next time."""

from __future__ import annotations

import torch
from torch import Tensor

from pushforward.draws import Draws
from pushforward.predictions import solve
from pushforward.predictor import Condition, Predictor
from pushforward.solvers.solver import Memory, Solver, between, noise_of


class DDIM(Solver):
    """x_s = alpha_s x + sqrt(sigma_s^2 - c^2) z + c n, with x and z estimated at x_t and n fresh noise.

    c = eta sigma_s sqrt(1 - (alpha_t sigma_s / (alpha_s sigma_t))^2) is eta times the standard deviation of x_s given x_t and x,
    so eta = 1 is ancestral sampling, and eta = 0 the exponential Euler method on the ODE (on the linear path, Euler's method
    on the velocity).

    Args:
        eta: 0 for the deterministic sampler, 1 for ancestral sampling, between for less noise.

    References:
        Song, Meng, Ermon, Denoising Diffusion Implicit Models (2021), eq. 12 and 16.
    """

    order = 1

    def __init__(self, eta: float = 0.0) -> None:
        self.eta = between("DDIM", "eta", eta, 0, 1)
        self.stochastic = eta > 0

    def step(
        self, denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, condition: Condition, draws: Draws | None, memory: Memory
    ) -> tuple[Tensor, Memory]:
        here, there = denoiser.path.at(t).over(x), denoiser.path.at(s).over(x)
        data, noise = solve("data", denoiser.predict("data", x, t, condition), x, here)
        if self.eta == 0:
            return there.alpha * data + there.sigma * noise, None
        ratio = (here.alpha * there.sigma / (there.alpha * here.sigma)).square().clamp(max=1)
        fresh = self.eta * there.sigma * torch.sqrt(1 - ratio)
        return (
            there.alpha * data + torch.sqrt((there.sigma**2 - fresh**2).clamp(min=0)) * noise + fresh * noise_of(x, draws)
        ), None


class Ancestral(Solver):
    """The DDPM sampler: draws x_s from its Gaussian posterior given x_t and the estimate of the data.

    References:
        Ho et al., DDPM (2020), eq. 6 and 7, with the posterior variance; here between any two times.
    """

    order = 1
    stochastic = True

    def step(
        self, denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, condition: Condition, draws: Draws | None, memory: Memory
    ) -> tuple[Tensor, Memory]:
        return DDIM(1.0).step(denoiser, x, t, s, condition, draws, memory)
