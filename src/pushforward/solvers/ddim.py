"""DDIM, its ancestral form, and the jumps of maps between two times."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pushforward.denoisers import Condition, Predictor
from pushforward.draws import Draws
from pushforward.paths import solve
from pushforward.solvers.solver import Memory, Solver, StepResult, between, ends_of, noise_of


class DDIM(Solver):
    """DDIM sampler: x_s = alpha_s x + sqrt(sigma_s^2 - c^2) z + c n, with fresh noise n.

    c = eta sigma_s sqrt(1 - (alpha_t sigma_s / (alpha_s sigma_t))^2). With eta = 0 this is the
    exponential Euler method on the ODE, with eta = 1 ancestral sampling.

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
    ) -> StepResult:
        here, there = ends_of(denoiser.path, x, t, s)
        estimate = denoiser.predict("data", x, t, condition)
        data, noise = solve("data", estimate, x, here)
        if self.eta == 0:
            return there.alpha * data + there.sigma * noise, None
        ratio = (here.alpha * there.sigma / (there.alpha * here.sigma)).square().clamp(max=1)
        fresh = self.eta * there.sigma * torch.sqrt(1 - ratio)
        kept = torch.sqrt((there.sigma**2 - fresh**2).clamp(min=0))
        moved = there.alpha * data + kept * noise
        return moved + fresh * noise_of(x, draws), None


class Ancestral(Solver):
    """DDPM sampler: draws x_s from its Gaussian posterior given x_t and the estimate of the data.

    References:
        Ho et al., DDPM (2020), eq. 6 and 7, with the posterior variance.
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
    ) -> StepResult:
        return DDIM(1.0).step(denoiser, x, t, s, condition, draws, memory)


class Jump(Solver):
    """Solver for a `pushforward.denoisers.FlowMap`: x_s = map(x_t, t, s), exact for an exact map.

    Args:
        renoise: Fraction of fresh noise at s, in [0, 1]: a step jumps to the noise level sqrt(1 -
            renoise^2) sigma_s / alpha_s and adds noise. Consistency models need 1.

    References:
        Kim et al., Consistency Trajectory Models (2024), section 3.3, whose gamma is
        ``renoise``; Song
        et al., Consistency Models (2023), algorithm 1, for 1; Boffi et al., Flow Map
        Matching (2024),
        for 0.
    """

    order = 1
    jumps = True

    def __init__(self, renoise: float = 0.0) -> None:
        self.renoise = between("Jump", "renoise", renoise, 0, 1)
        self.stochastic = renoise > 0

    @classmethod
    def of(cls, denoiser: Predictor) -> Jump:
        """Build the solver for the jumps of a map, with renoise = 1 if it only jumps to data."""
        sampling = getattr(denoiser, "sampling", None)
        if getattr(sampling, "only_to_data", False):
            return cls(1.0)
        return cls()

    def step(
        self,
        denoiser: Any,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        condition: Condition,
        draws: Draws | None,
        memory: Memory,
    ) -> StepResult:
        if self.renoise == 0:
            return denoiser.jump(x, t, s, condition), None
        path = denoiser.path
        if self.renoise == 1:
            lower = torch.zeros_like(s)
        else:
            lower = path.time(path.log_snr(s) - math.log1p(-(self.renoise**2)))
        here, there = ends_of(path, x, lower, s)
        landed = denoiser.jump(x, t, lower, condition)
        scaled = there.alpha / here.alpha * landed
        return scaled + self.renoise * there.sigma * noise_of(x, draws), None

    def last(
        self,
        denoiser: Any,
        x: Tensor,
        t: Tensor,
        s: Tensor,
        condition: Condition,
        draws: Draws | None,
        memory: Memory,
    ) -> Tensor:
        return denoiser.jump(x, t, s, condition)
