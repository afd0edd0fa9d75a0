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

from pushforward.denoisers import Condition, Predictor
from pushforward.draws import Draws
from pushforward.errors import UsageError
from pushforward.solvers.solver import Memory, Solver, over, whole

Node = tuple[
    Tensor, Tensor
]  # Where an estimate was made, lambda (n,) in float64, and the estimate (n, *shape)

_POINTS, _WEIGHTS = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(16))


def lambda_at(denoiser: Predictor, t: Tensor) -> Tensor:
    """Compute lambda = log(alpha / sigma) at times t (n,), float64."""
    return denoiser.path.log_snr(t.double()) / 2


def time_at(denoiser: Predictor, lam: Tensor, like: Tensor) -> Tensor:
    """Compute the times at which lambda is ``lam``, in the dtype of ``like``."""
    return denoiser.path.time(2 * lam).to(like)


def exponential_step(
    denoiser: Predictor, kind: str, x: Tensor, t: Tensor, s: Tensor, nodes: Sequence[Node]
) -> Tensor:
    """Compute the state at s from x at t, with the estimate of ``kind`` interpolated through ``nodes``.

    Args:
        denoiser: Denoiser that defines the path.
        kind: Estimate, "data" or "noise".
        x: State at t, (n, *shape).
        t: Current time, (n,).
        s: Target time, (n,).
        nodes: Interpolation nodes: one for a constant estimate, two for a line, three for a
            parabola.
    """
    path = denoiser.path
    lam_t = lambda_at(denoiser, t)
    lam_s = lambda_at(denoiser, s)
    here = path.at(t.double())
    there = path.at(s.double())
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
    value = torch.ones_like(points)
    at = nodes[i][0][:, None]
    for j, (other, _) in enumerate(nodes):
        if j != i:
            value = value * (points - other[:, None]) / (at - other[:, None])
    return value


class SingleStep(Solver):
    """DPM-Solver-2 and -3: estimates at one half, or at one and two thirds of the step in log-SNR.

    Args:
        order: Order, 2 or 3, which is also the number of calls per step.
        of: Interpolated estimate, "noise" (DPM-Solver) or "data" (DPM-Solver++, better with strong
            guidance).

    Raises:
        UsageError: If the order or estimate is not supported.

    References:
        Lu et al., DPM-Solver (2022), algorithms 1 and 2; DPM-Solver++ (2022), algorithm 1.
    """

    grid = "log_snr"

    def __init__(self, order: int = 3, of: str = "noise") -> None:
        if of not in ("noise", "data"):
            raise UsageError(f'SingleStep interpolates "noise" or "data", got "{of}".')
        self.order = whole("SingleStep", "order", order, (2, 3))
        self.of = of

    @property
    def calls_per_step(self) -> int:  # type: ignore[override]
        """Return the number of calls per step, which equals the order."""
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
    ) -> tuple[Tensor, Memory]:
        """Take one step from t to s; memory is the estimate at t, from which a multistep method can continue."""
        start = lambda_at(denoiser, t)
        gap = lambda_at(denoiser, s) - start
        first = (start, denoiser.predict(self.of, x, t, condition))
        node = first
        for i in range(1, self.order):
            at = start + gap * i / self.order
            inner = time_at(denoiser, at, t)
            state = exponential_step(
                denoiser, self.of, x, t, inner, [first] if i == 1 else [first, node]
            )
            node = (at, denoiser.predict(self.of, state, inner, condition))
        return exponential_step(
            denoiser, self.of, x, t, s, [node] if self.order == 2 else [first, node]
        ), (first,)


class _Multistep(Solver):
    """A solver that keeps ``memory`` estimates of ``of``."""

    grid = "log_snr"
    memory: int
    of: str
    single_start = False
    """Whether order 3 is reached with a single-step method as the first step."""

    def _move(
        self, denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, nodes: list[Node]
    ) -> Tensor:
        """The state at s; the first node is at t."""
        if self.of == "data" and len(nodes) == 2:
            newer, older = nodes
            ratio = (lambda_at(denoiser, s) - lambda_at(denoiser, t)) / (newer[0] - older[0])
            return _halfway(
                denoiser, "data", x, t, s, nodes, over(ratio, newer[1]) * (newer[1] - older[1])
            )
        return exponential_step(denoiser, self.of, x, t, s, nodes)

    def _start(self) -> SingleStep | None:
        if self.single_start and self.order == 3:
            return SingleStep(2, self.of)
        return None

    def calls(self, steps: int) -> int:
        return steps + (1 if self._start() and steps > 1 else 0)

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
        """Take one step from t to s; memory is the estimates before this one, each with its lambda."""
        start = self._start()
        if memory is None and start is not None:
            return start.step(denoiser, x, t, s, condition, draws, None)
        nodes = [
            (lambda_at(denoiser, t), denoiser.predict(self.of, x, t, condition)),
            *(memory or ()),
        ][: self.memory]
        return self._move(denoiser, x, t, s, nodes), tuple(nodes)


def _halfway(
    denoiser: Predictor,
    kind: str,
    x: Tensor,
    t: Tensor,
    s: Tensor,
    nodes: list[Node],
    slope: Tensor,
) -> Tensor:
    return exponential_step(denoiser, kind, x, t, s, [(nodes[0][0], nodes[0][1] + slope / 2)])


class DPM(_Multistep):
    """DPM-Solver++(2M) and (3M): extrapolates the data in lambda = log(alpha / sigma) from earlier steps.

    Order 2 uses the value of the line at half the step, as published. Order 3 integrates the
    parabola, and its first step is a single-step method of order 2: with the published start of
    order 1, one step of error h^2 holds it at order 2.

    Args:
        order: Order: 1 (equal to DDIM), 2 or 3.

    References:
        Lu et al., DPM-Solver++ (2022), algorithm 2 and appendix.
    """

    of = "data"
    single_start = True

    def __init__(self, order: int = 2) -> None:
        self.order = self.memory = whole("DPM", "order", order, (1, 2, 3))


class DEIS(_Multistep):
    """Exponential Adams-Bashforth method on the noise in log-SNR; order 3 starts like `DPM`.

    Args:
        order: Order: 1 (equal to DDIM), 2 or 3.

    References:
        Zhang and Chen, Fast Sampling of Diffusion Models with Exponential Integrator (2023), tAB-DEIS with log-SNR as its time.
    """

    of = "noise"
    single_start = True

    def __init__(self, order: int = 3) -> None:
        self.order = self.memory = whole("DEIS", "order", order, (1, 2, 3))


_ADAMS = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


class IPNDM(_Multistep):
    """iPNDM: the DDIM step with an Adams-Bashforth mean of the latest noise estimates, as if steps were equal.

    The mean ignores the weighting of log-SNR within a step, so the order is 2 for any number of
    terms.

    Args:
        terms: Number of estimates to average, 1 to 4.

    References:
        Liu et al., Pseudo Numerical Methods for Diffusion Models (2022); Zhang and Chen (2023), iPNDM.
    """

    of = "noise"

    def __init__(self, terms: int = 4) -> None:
        self.terms = self.memory = whole("IPNDM", "terms", terms, (1, 2, 3, 4))
        self.order = min(self.terms, 2)

    def _move(
        self, denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, nodes: list[Node]
    ) -> Tensor:
        mean = sum(c * value for c, (_, value) in zip(_ADAMS[len(nodes) - 1], nodes, strict=True))
        return exponential_step(denoiser, "noise", x, t, s, [(nodes[0][0], mean)])  # type: ignore[list-item]


class UniPC(_Multistep):
    """UniPC: each estimate first corrects the step that led to it, without an additional call, and then predicts the next.

    The predictor is of order p, and with the corrector the whole of order p + 1. With one estimate
    besides the nearest, the published simplification for B(h) = e^h - 1 is used (weight 1/2); with
    more, the conditions on the weights give the exact integral for any B.

    Args:
        predictor_order: Order p: 1, 2 or 3.

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
    ) -> tuple[Tensor, Memory]:
        """Take one step from t to s; memory is (the state before, its time, the estimates of then and earlier)."""
        new = (lambda_at(denoiser, t), denoiser.predict("data", x, t, condition))
        earlier: list[Node] = []
        if memory is not None:
            before, then, earlier = memory
            x = self._corrected(denoiser, before, then, t, new, earlier)
        nodes = [new, *earlier][: self.predictor_order]
        return self._move(denoiser, x, t, s, nodes), (x, t, nodes)

    @staticmethod
    def _corrected(
        denoiser: Predictor, x: Tensor, t: Tensor, s: Tensor, new: Node, nodes: list[Node]
    ) -> Tensor:
        if len(nodes) == 1:
            return _halfway(denoiser, "data", x, t, s, nodes, new[1] - nodes[0][1])
        return exponential_step(denoiser, "data", x, t, s, [new, *nodes])
