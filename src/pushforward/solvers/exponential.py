"""The exact step of the probability-flow ODE for an estimate that is a polynomial in log-SNR.

With lambda = log(alpha / sigma) the ODE is linear in x but for the network:

    x_s = (sigma_s / sigma_t) x + sigma_s int e^lambda data(lambda) dlambda
    x_s = (alpha_s / alpha_t) x - alpha_s int e^-lambda noise(lambda) dlambda

References:
    Lu et al., DPM-Solver (2022), prop. 3.1, and DPM-Solver++ (2022), prop. 4.1; Zhang and Chen,
    DEIS (2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pushforward.arguments import one_of
from pushforward.denoisers import Condition, Predictor
from pushforward.draws import Draws
from pushforward.solvers.solver import Memory, Solver, StepResult, over, whole

Node = tuple[Tensor, Tensor]  # lambda (n,) in float64, and the estimate there (n, *shape)

_POINTS, _WEIGHTS = map(torch.from_numpy, np.polynomial.legendre.leggauss(16))


def lambda_at(denoiser: Predictor, t: Tensor) -> Tensor:
    """Compute lambda = log(alpha / sigma) at times t (n,), float64."""
    return denoiser.path.log_snr(t.double()) / 2


def exponential_step(
    denoiser: Predictor, kind: str, x: Tensor, t: Tensor, s: Tensor, nodes: Sequence[Node]
) -> Tensor:
    """Compute the state at s from x at t, with an estimate interpolated through nodes.

    The estimate is "data" or "noise": a constant for one node, a line for two, a parabola for
    three.
    """
    lam_t = lambda_at(denoiser, t)[:, None]
    lam_s = lambda_at(denoiser, s)[:, None]
    here = denoiser.path.at(t.double())
    there = denoiser.path.at(s.double())
    if kind == "data":
        toward = 1.0
        moved = there.sigma / here.sigma
        factor = there.alpha
    else:
        toward = -1.0
        moved = there.alpha / here.alpha
        factor = -there.sigma
    h = lam_s - lam_t
    points = lam_t + h * (_POINTS.to(h.device) + 1) / 2
    # scaled by e^(-+ lambda_s), which keeps it within range
    measure = h / 2 * _WEIGHTS.to(h.device) * torch.exp(toward * (points - lam_s))
    out = over(moved, x) * x
    for i, (_, estimate) in enumerate(nodes):
        integral = (measure * _basis(points, nodes, i)).sum(1)
        out = out + over(factor * integral, x) * estimate
    return out


def _basis(points: Tensor, nodes: Sequence[Node], i: int) -> Tensor:
    """Lagrange's polynomial that is 1 at node i and 0 at the others, at ``points`` (n, q)."""
    value = torch.ones_like(points)
    at = nodes[i][0][:, None]
    for j, (other, _) in enumerate(nodes):
        if j != i:
            value = value * (points - other[:, None]) / (at - other[:, None])
    return value


class SingleStep(Solver):
    """DPM-Solver-2 and -3: estimates at one half, or at one and two thirds of a step in log-SNR.

    Args:
        order: 2 or 3, which is also the number of calls per step.
        of: Interpolated estimate, "noise" (DPM-Solver) or "data" (DPM-Solver++).

    References:
        Lu et al., DPM-Solver (2022), algorithms 1 and 2; DPM-Solver++ (2022), algorithm 1.
    """

    grid = "log_snr"

    def __init__(self, order: int = 3, of: str = "noise") -> None:
        self.order = whole("SingleStep", "order", order, (2, 3))
        self.of = one_of("estimate", of, ("noise", "data"))

    @property
    def calls_per_step(self) -> int:  # type: ignore[override]
        return self.order

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
        start = lambda_at(denoiser, t)
        gap = lambda_at(denoiser, s) - start
        first = (start, denoiser.predict(self.of, x, t, condition))
        nodes = [first]
        for i in range(1, self.order):
            at = start + gap * i / self.order
            inner = denoiser.path.time(2 * at).to(t)
            state = exponential_step(denoiser, self.of, x, t, inner, nodes)
            node = (at, denoiser.predict(self.of, state, inner, condition))
            nodes = [first, node]
        if self.order == 2:
            nodes = [node]
        return exponential_step(denoiser, self.of, x, t, s, nodes), (first,)


class _Multistep(Solver):
    grid = "log_snr"
    memory: int
    of: str
    single_start = False
    """Whether order 3 is reached with a single-step method as the first step."""

    def _move(
        self, denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, nodes: list[Node]
    ) -> Tensor:
        if self.of == "data" and len(nodes) == 2:
            (newer, data), (older, before) = nodes
            ratio = (lambda_at(denoiser, s) - lambda_at(denoiser, t)) / (newer - older)
            nodes = [(newer, data + over(ratio, data) * (data - before) / 2)]
        return exponential_step(denoiser, self.of, x, t, s, nodes)

    @property
    def _starts_single(self) -> bool:
        return self.single_start and self.order == 3

    def calls(self, steps: int) -> int:
        if self._starts_single and steps > 1:
            return steps + 1
        return steps

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
        if memory is None and self._starts_single:
            return SingleStep(2, self.of).step(denoiser, x, t, s, condition, draws, None)
        node = (lambda_at(denoiser, t), denoiser.predict(self.of, x, t, condition))
        nodes = [node, *(memory or ())][: self.memory]
        return self._move(denoiser, x, t, s, nodes), tuple(nodes)


class DPM(_Multistep):
    """DPM-Solver++(2M) and (3M): extrapolates the data in lambda = log(alpha / sigma).

    Order 1 is DDIM. Order 2 uses the value of the line at half the step, as published. Order 3
    integrates the parabola, and its first step is a single-step method of order 2.

    References:
        Lu et al., DPM-Solver++ (2022), algorithm 2 and appendix.
    """

    of = "data"
    single_start = True

    def __init__(self, order: int = 2) -> None:
        self.order = whole("DPM", "order", order, (1, 2, 3))
        self.memory = self.order


class DEIS(_Multistep):
    """Exponential Adams-Bashforth method on the noise in log-SNR; order 3 starts like `DPM`.

    References:
        Zhang and Chen, Fast Sampling of Diffusion Models with Exponential Integrator (2023),
        tAB-DEIS with log-SNR as its time.
    """

    of = "noise"
    single_start = True

    def __init__(self, order: int = 3) -> None:
        self.order = whole("DEIS", "order", order, (1, 2, 3))
        self.memory = self.order


_ADAMS = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


class IPNDM(_Multistep):
    """iPNDM: the DDIM step with an Adams-Bashforth mean of 1 to 4 noise estimates.

    Steps are treated as equal in log-SNR, so the order is 2 for any number of terms.

    References:
        Liu et al., Pseudo Numerical Methods for Diffusion Models (2022); Zhang and Chen (2023).
    """

    of = "noise"

    def __init__(self, terms: int = 4) -> None:
        self.terms = whole("IPNDM", "terms", terms, (1, 2, 3, 4))
        self.memory = self.terms
        self.order = min(self.terms, 2)

    def _move(
        self, denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, nodes: list[Node]
    ) -> Tensor:
        weights = _ADAMS[len(nodes) - 1]
        mean: Any = sum(weight * noise for weight, (_, noise) in zip(weights, nodes, strict=True))
        return exponential_step(denoiser, "noise", x, t, s, [(nodes[0][0], mean)])


class UniPC(_Multistep):
    """UniPC: each estimate corrects the step that led to it, and then predicts the next.

    The predictor is of order p, and with the corrector the whole of order p + 1. With one earlier
    estimate, the published simplification for B(h) = e^h - 1 is used (weight 1/2).

    References:
        Zhao et al., UniPC (2023), algorithms 5 to 8, in data prediction.
    """

    of = "data"

    def __init__(self, predictor_order: int = 2) -> None:
        self.predictor_order = whole("UniPC", "predictor_order", predictor_order, (1, 2, 3))
        self.order = self.predictor_order + 1

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
        new = (lambda_at(denoiser, t), denoiser.predict("data", x, t, condition))
        nodes = [new]
        if memory is not None:
            before, then, earlier = memory
            x = self._corrected(denoiser, before, then, t, new, earlier)
            nodes += earlier
        nodes = nodes[: self.predictor_order]
        return self._move(denoiser, x, t, s, nodes), (x, t, nodes)

    @staticmethod
    def _corrected(
        denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, new: Node, earlier: list[Node]
    ) -> Tensor:
        nodes = [new, *earlier]
        if len(earlier) == 1:
            at, data = earlier[0]
            nodes = [(at, data + (new[1] - data) / 2)]
        return exponential_step(denoiser, "data", x, t, s, nodes)
