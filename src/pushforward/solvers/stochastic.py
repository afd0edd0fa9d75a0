"""DDIM, jumps of maps, and stochastic solvers, which keep the marginals of x_t.

References:
    Song et al., Score-Based Generative Modeling through SDEs (2021).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from pushforward.denoisers.denoiser import Condition, Predictor, shaped
from pushforward.draws import Draws
from pushforward.paths import solve, target
from pushforward.solvers.solver import (
    Memory,
    Solver,
    StepResult,
    between,
    ends_of,
    half_log_snr,
    noise_of,
    whole,
)


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
            return there.state(data, noise), None
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
        Kim et al., Consistency Trajectory Models (2024), section 3.3, whose gamma is ``renoise``;
        Song et al., Consistency Models (2023), algorithm 1, for 1; Boffi et al., Flow Map Matching
        (2024), for 0.
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


class DPMSDE(Solver):
    """SDE-DPM-Solver++: the exact step of the diffusion SDE, with data D extrapolated from 1 or 2.

    x_s = (sigma_s / sigma_t) e^-h x + alpha_s (1 - e^-2h) D + sigma_s sqrt(1 - e^-2h) n, with h the
    step in lambda.

    References:
        Lu et al., DPM-Solver++ (2022), section 5, SDE-DPM-Solver++(2M).
    """

    order = 1
    grid = "log_snr"
    stochastic = True

    def __init__(self, extrapolate: int = 2) -> None:
        self.extrapolate = whole("DPMSDE", "extrapolate", extrapolate, (1, 2))

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
        h = half_log_snr(there) - half_log_snr(here)
        data = denoiser.predict("data", x, t, condition)
        ahead = data
        if memory is not None and self.extrapolate == 2:
            before, h_before = memory
            ahead = data + (data - before) * (h / (2 * h_before))
        fresh = -torch.expm1(-2 * h)
        moved = (there.sigma / here.sigma) * torch.exp(-h) * x + there.alpha * fresh * ahead
        return moved + there.sigma * fresh.sqrt() * noise_of(x, draws), (data, h)


class EulerMaruyama(Solver):
    """Euler-Maruyama method: x + (s - t) velocity - w^2 h sigma z + w sigma sqrt(2 h) n.

    h is the step in lambda = log(alpha / sigma), z the predicted noise and w the strength: 1 for
    the reverse of the noising SDE, 0 for Euler's method.

    References:
        Song et al. (2021), eq. 6; Ma et al., SiT (2024).
    """

    order = 1
    grid = "log_snr"

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = between("EulerMaruyama", "strength", strength, 0, 10)
        self.stochastic = self.strength > 0

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
        v = denoiser.predict("v", x, t, condition)
        data, noise = solve("v", v, x, here)
        drifted = x + shaped(s - t, x) * target("velocity", data, noise, here)
        if not self.stochastic:
            return drifted, None
        h = (half_log_snr(there) - half_log_snr(here)).clamp(min=0)
        fresh = self.strength * here.sigma * torch.sqrt(2 * h) * noise_of(x, draws)
        return drifted - self.strength**2 * h * here.sigma * noise + fresh, None


class Churn(Solver):
    """EDM's stochastic sampler: adds noise, then takes a Heun step from the raised noise level.

    The level is raised by the factor 1 + min(churn h, sqrt(2) - 1), with h the step in log(sigma /
    alpha); in the paper, h is 1 / N.

    Args:
        churn: Amount of noise; 0 is Heun's method.
        low: Smallest noise level sigma / alpha at which noise is added.
        high: Largest such noise level.
        excess: Standard deviation of the added noise, S_noise.

    References:
        Karras et al., EDM (2022), algorithm 2.
    """

    order = 1
    grid = "karras"
    stochastic = True
    calls_per_step = 2

    def __init__(
        self, churn: float = 1.0, low: float = 0.05, high: float = 50.0, excess: float = 1.0
    ) -> None:
        self.churn = between("Churn", "churn", churn, 0, 100)
        self.low = between("Churn", "low", low, 0, high)
        self.high = float(high)
        self.excess = between("Churn", "excess", excess, 0.5, 2)

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
        path = denoiser.path
        here, there = ends_of(path, x, t, s)
        level = torch.exp(-path.log_snr(t) / 2)
        after = torch.exp(-path.log_snr(s) / 2)
        acts = ((level >= self.low) & (level <= self.high)).to(level.dtype)
        growth = (self.churn * torch.log(level / after)).clamp(0, 2**0.5 - 1)
        grown = 1 + acts * growth
        up = path.time_within(-2 * torch.log(level * grown))
        high = path.at(up).over(x)
        # sigma / alpha of the present state, so that rounding in the time has no effect
        present = here.sigma / here.alpha
        raised = high.sigma / high.alpha
        extra = (raised**2 - present**2).clamp(min=0).sqrt()
        y = x / here.alpha + extra * self.excess * noise_of(x, draws)
        gap = there.sigma / there.alpha - raised
        first = denoiser.predict("noise", high.alpha * y, up, condition)
        second = denoiser.predict("noise", there.alpha * (y + gap * first), s, condition)
        return there.alpha * (y + gap * (first + second) / 2), None


class PredictorCorrector(Solver):
    """Predictor-corrector sampler: an ancestral step, then Langevin steps at the new level.

    x + delta score + sqrt(2 delta) n with delta = 2 (snr sigma)^2, from expected norms instead of
    those of the batch.

    References:
        Song et al. (2021), algorithms 1, 3 and 5.
    """

    order = 1
    grid = "log_snr"
    stochastic = True

    def __init__(self, corrections: int = 1, snr: float = 0.1) -> None:
        self.corrections = whole("PredictorCorrector", "corrections", corrections, (1, 2, 3, 4))
        self.snr = between("PredictorCorrector", "snr", snr, 0.001, 1)

    @property
    def calls_per_step(self) -> int:  # type: ignore[override]
        return 1 + self.corrections

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
        x, _ = DDIM(1.0).step(denoiser, x, t, s, condition, draws, None)
        here = denoiser.path.at(s).over(x)
        for _ in range(self.corrections):
            data = denoiser.predict("data", x, s, condition)
            # delta times the score, (alpha data - x) / sigma^2
            drift = 2 * self.snr**2 * (x - here.alpha * data)
            x = x - drift + 2 * self.snr * here.sigma * noise_of(x, draws)
        return x, None
