"""The exact step of the probability-flow ODE for an estimate that is a polynomial in log-SNR.

With lambda = log(alpha / sigma) the ODE is linear in x but for the network:

    x_s = (sigma_s / sigma_t) x + sigma_s int e^lambda data(lambda) dlambda      (integrals from lambda_t to lambda_s)
    x_s = (alpha_s / alpha_t) x - alpha_s int e^-lambda noise(lambda) dlambda

Multistep and single-step exponential integrators differ only in the nodes through which the polynomial goes.

References:
    Lu et al., DPM-Solver (2022), prop. 3.1, and DPM-Solver++ (2022), prop. 4.1; Zhang and Chen, DEIS (2023).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pushforward.predictor import Predictor
from pushforward.solvers.solver import over

Node = tuple[Tensor, Tensor]
"""Where an estimate was made, lambda (n,) in float64, and the estimate (n, *shape)."""

_POINTS, _WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(16))


def lambda_at(denoiser: Predictor, t: Tensor) -> Tensor:
    """Lambda = log(alpha / sigma) at times t (n,), float64."""
    return denoiser.path.log_snr(t.double()) / 2


def time_at(denoiser: Predictor, lam: Tensor, like: Tensor) -> Tensor:
    """The times at which lambda is ``lam``, of the type of ``like``."""
    return denoiser.path.time(2 * lam).to(like)


def exponential_step(denoiser: Predictor, kind: str, x: Tensor, t: Tensor, s: Tensor, nodes: Sequence[Node]) -> Tensor:
    """The state at s from x at t, with the estimate of ``kind`` interpolated through ``nodes``.

    Args:
        denoiser: Whose path it is.
        kind: "data" or "noise".
        x: The state at t, (n, *shape).
        t: Where it is, (n,).
        s: Where to go, (n,).
        nodes: One for a constant estimate, two for a line, three for a parabola.
    """
    path, lam_t, lam_s = denoiser.path, lambda_at(denoiser, t), lambda_at(denoiser, s)
    here, there = path.at(t.double()), path.at(s.double())
    toward = 1.0 if kind == "data" else -1.0
    h = (lam_s - lam_t)[:, None]
    points = lam_t[:, None] + h * (_POINTS.to(h.device) + 1) / 2
    # scaled by e^(-+ lambda_s), which keeps it within range
    measure = h / 2 * _WEIGHTS.to(h.device) * torch.exp(toward * (points - lam_s[:, None]))
    moved = there.sigma / here.sigma if kind == "data" else there.alpha / here.alpha
    factor = toward * (there.alpha if kind == "data" else there.sigma)
    out = over(moved, x) * x
    for i, (_, value) in enumerate(nodes):
        out = out + over(factor * (measure * _basis(points, nodes, i)).sum(1), x) * value
    return out


def _basis(points: Tensor, nodes: Sequence[Node], i: int) -> Tensor:
    """Lagrange's polynomial that is 1 at node i and 0 at the others, at ``points`` (n, q)."""
    value, at = torch.ones_like(points), nodes[i][0][:, None]
    for j, (other, _) in enumerate(nodes):
        if j != i:
            value = value * (points - other[:, None]) / (at - other[:, None])
    return value
