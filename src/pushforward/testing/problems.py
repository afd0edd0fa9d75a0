"""Denoisers in closed form, and a solver's results on them.

`ring` is nonlinear and deterministic solvers are measured on it; `Correlated` is one Gaussian, whose mean and covariance a
stochastic solver must keep.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.data import Space, VectorSpace
from pushforward.draws import Draws
from pushforward.paths import VE, VP, Cosine, Linear, Path
from pushforward.predictions import convert
from pushforward.predictor import Condition
from pushforward.solvers import Solver
from pushforward.transports import Flow

PATHS: dict[str, Path] = {"vp": VP(), "linear": Linear(), "cosine": Cosine(), "ve": VE(0.02, 20)}
"""The paths that solvers are measured on."""
START, STOP = -6.0, 7.0
"""The log-SNR between which orders are measured; no coefficient is nearly singular there."""


class Mixture(nn.Module):
    """The ideal denoiser of an isotropic Gaussian mixture of equal weights, by Bayes' rule, on any path.

    Args:
        path: Where x_t lives.
        centres: (k, d), the means.
        std: The standard deviation of each component.
    """

    def __init__(self, path: Path, centres: Sequence[Sequence[float]] | Tensor, std: float) -> None:
        super().__init__()
        self.path, self.std = path, std
        self.centres: Tensor
        self.register_buffer("centres", torch.as_tensor(centres, dtype=torch.float64))
        d = self.centres.shape[1]
        self.space: Space = VectorSpace(shape=(d,), mean=(0.0,) * d, std=(1.0,) * d)

    def predict(self, kind: Any, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """The posterior mean of the data given x_t, read as any prediction."""
        k = self.path.at(t).over(x_t)
        centres = self.centres.to(x_t)
        variance = k.alpha**2 * self.std**2 + k.sigma**2
        gaps = x_t[:, None] - k.alpha[:, None] * centres
        share = torch.softmax(-(gaps**2).sum(-1) / (2 * variance), dim=1)
        data = (share[..., None] * (centres + (k.alpha * self.std**2 / variance)[:, None] * gaps)).sum(1)
        return convert("data", kind, data, x_t, k)

    def calls(self, t: float = 0.5) -> int:
        """Network calls of one prediction."""
        return 1


def ring(path: Path, modes: int = 5, radius: float = 2.0, std: float = 0.5) -> Mixture:
    """The mixture of some Gaussians on a circle."""
    angles = [2 * math.pi * i / modes for i in range(modes)]
    return Mixture(path, [[radius * math.cos(a), radius * math.sin(a)] for a in angles], std)


class Counting(Mixture):
    """A mixture that counts its predictions in ``count``."""

    count = 0

    def predict(self, kind: Any, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        self.count += 1
        return super().predict(kind, x_t, t, condition)


class Correlated(Mixture):
    """The ideal denoiser of one Gaussian of unequal, correlated entries, on any path; ``std`` is not read."""

    covariance = torch.tensor([[0.5, 0.3], [0.3, 0.9]], dtype=torch.float64)

    def predict(self, kind: Any, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        k = self.path.at(t[:1] if t.stride() == (0,) else t).over(x_t)  # one time for all rows
        part, basis = torch.linalg.eigh(self.covariance)
        gap = (x_t - k.alpha * self.centres.to(x_t)) @ basis.to(x_t)
        shrunk = k.alpha * part.to(x_t) / (k.alpha**2 * part.to(x_t) + k.sigma**2) * gap
        return convert("data", kind, self.centres.to(x_t) + shrunk @ basis.T.to(x_t), x_t, k)


class _Quick(Draws):
    """Normal numbers from one generator for all rows: a hundred times cheaper than a key for each block, where none is needed."""

    def __init__(self, seed: int, rows: int) -> None:
        self.rows, self._random = rows, np.random.Generator(np.random.Philox(seed))

    def normal(self, shape: Sequence[int]) -> Tensor:
        return torch.from_numpy(self._random.standard_normal((self.rows, *shape), dtype=np.float32))

    def uniform(self) -> Tensor:
        return torch.from_numpy(self._random.random(self.rows, dtype=np.float32))

    def stream(self, name: str, every: int = 1) -> Draws:
        return self


def _start(denoiser: Any, n: int) -> tuple[Tensor, float, float]:
    torch.manual_seed(1)
    start, stop = denoiser.path.time(torch.tensor([START, STOP], dtype=torch.float64)).tolist()
    k = denoiser.path.at(torch.tensor([start], dtype=torch.float64))
    return torch.randn(n, 2, dtype=torch.float64) * k.r, start, stop


def end(denoiser: Any, solver: Solver, steps: int, n: int = 48) -> Tensor:
    """Where a solver brings n fixed starts, (n, 2), from log-SNR `START` to `STOP`, in float64."""
    return Flow(denoiser, solver, steps).solve(*_start(denoiser, n))


@functools.cache
def truth(path: str) -> Tensor:
    """Where the ODE of the ring brings the starts of `end`, to 1e-11: by SciPy's DOP853 in the log-SNR."""
    from scipy.integrate import solve_ivp

    denoiser = ring(PATHS[path])
    x, _, _ = _start(denoiser, 48)

    def slope(log_snr: float, points: Any) -> Any:
        t = denoiser.path.time(torch.full((len(x),), log_snr, dtype=torch.float64))
        velocity = denoiser.predict("velocity", torch.from_numpy(points).reshape(x.shape), t)
        return (velocity / denoiser.path.at(t).dlog_snr[:, None]).flatten().numpy()

    solution = solve_ivp(slope, (START, STOP), x.flatten().numpy(), method="DOP853", rtol=1e-12, atol=1e-12)
    return torch.from_numpy(solution.y[:, -1]).reshape(x.shape)


def error(path: str, solver: Solver, steps: int) -> float:
    """The RMS distance of a solver's end to the truth, on the ring and a path of `PATHS`."""
    return float((end(ring(PATHS[path]), solver, steps) - truth(path)).square().mean().sqrt())


def measured_order(solver: Solver, path: str = "vp", steps: tuple[int, int] = (256, 512)) -> float:
    """The slope of the logarithm of the error between two numbers of steps: the order of a deterministic solver."""
    few, many = steps
    return math.log2(error(path, solver, few) / error(path, solver, many)) / math.log2(many / few)


def moments(
    solver: Solver, path: Path, steps: int, n: int, start: float = -8.0, stop: float = 6.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """A stochastic solver's result on the correlated Gaussian.

    Args:
        solver: Any solver.
        path: Where x_t lives.
        steps: Of the solve.
        n: Examples.
        start: The log-SNR at which they start.
        stop: The log-SNR at which they end.

    Returns:
        The mean (2,) and the covariance (2, 2) of x_t at ``stop``, and their exact values.
    """
    denoiser = Correlated(path, [[0.8, -0.4]], 1.0)
    begin, stopped = path.time(torch.tensor([start, stop], dtype=torch.float64)).tolist()
    draws = _Quick(5, n)
    here, there = (path.at(torch.tensor([at], dtype=torch.float64)) for at in (begin, stopped))
    root = torch.linalg.cholesky(here.alpha**2 * Correlated.covariance + here.sigma**2 * torch.eye(2))
    x = here.alpha * denoiser.centres + draws.normal((2,)).double() @ root.T
    x = Flow(denoiser, solver, steps).solve(x, begin, stopped, None, draws)
    wanted = there.alpha**2 * Correlated.covariance + there.sigma**2 * torch.eye(2)
    return x.mean(0), x.T.cov(), there.alpha * denoiser.centres[0], wanted
