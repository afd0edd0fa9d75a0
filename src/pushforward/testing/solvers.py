"""Conformance of paths and solvers, on problems whose solution is known."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pushforward.data import Space, VectorSpace
from pushforward.denoisers import Condition
from pushforward.draws import Draws, ExampleDraws
from pushforward.errors import UsageError
from pushforward.paths import (
    VE,
    VP,
    Cosine,
    Linear,
    Path,
    convert,
)
from pushforward.solvers import Solver
from pushforward.solvers.solver import grid_times
from pushforward.testing.models import built, law, rebuilt, refuses
from pushforward.transports import Flow


def check_path(path: Path | type[Path]) -> None:
    """Check all laws of a path, in milliseconds.

    1. Derivatives of alpha and sigma agree with automatic differentiation.
    2. The log-SNR is that of the coefficients and falls in t; `time` inverts it.
    3. Single precision stays close to double precision between the ends.
    4. Coefficients have the shape of t, and the description rebuilds the path.

    Args:
        path: Path, or class without required arguments.

    Raises:
        Broken: If a law is violated; an `AssertionError` that names the law.
        TypeError: If it is not a path.
    """
    thing: Path = built(path, Path)
    with law(thing, "its ends must lie in [0, 1], the smaller first"):
        assert 0 <= thing.ends[0] < thing.ends[1] <= 1
    _check_derivatives(thing)
    t = torch.linspace(*thing.ends, 61, dtype=torch.float64)
    k = thing.at(t)
    log_snr = thing.log_snr(t)
    with law(thing, "its log-SNR must match its coefficients and decrease"):
        expected = 2 * (k.alpha.log() - k.sigma.log())
        torch.testing.assert_close(log_snr, expected, rtol=1e-8, atol=1e-8)
        assert (log_snr.diff() < 0).all()
    with law(thing, "time(log_snr(t)) must equal t"):
        torch.testing.assert_close(thing.time(log_snr), t, rtol=1e-9, atol=1e-10)
    with law(thing, "single precision must stay close to double precision"):
        single = vars(thing.at(t.float()))
        for name, double in vars(k).items():
            assert single[name].dtype == torch.float32
            torch.testing.assert_close(single[name].double(), double, rtol=2e-3, atol=2e-5)
    with law(thing, "coefficients must have the shape of t"):
        square = t[:60].reshape(3, 20)
        for part in vars(thing.at(square)).values():
            assert part.shape == square.shape
    with law(thing, "it must be rebuilt from its description"):
        assert torch.equal(rebuilt(thing).at(t).alpha, k.alpha)


def _check_derivatives(path: Path) -> None:
    # knots of a table have one-sided second derivatives only, so the times avoid them
    t = torch.linspace(*path.ends, 50, dtype=torch.float64) * 0.997 + 0.0011
    t = t.clamp(*path.ends)

    def coefficients(t: Tensor) -> tuple[Tensor, Tensor]:
        k = path.at(t)
        return k.alpha, k.sigma

    k = path.at(t)
    derivatives = torch.func.jvp(coefficients, (t,), (torch.ones_like(t),))[1]
    with law(path, "its derivatives must match its coefficients"):
        for derivative, exact in zip((k.dalpha, k.dsigma), derivatives, strict=True):
            torch.testing.assert_close(derivative, exact, rtol=1e-9, atol=1e-11)


# The paths that solvers are measured on
PATHS: dict[str, Path] = {"vp": VP(), "linear": Linear(), "cosine": Cosine(), "ve": VE(0.02, 20)}
# The log-SNR between which orders are measured; no coefficient is nearly singular there
START = -6.0
STOP = 7.0


class Mixture(nn.Module):
    """The ideal denoiser of a mixture of isotropic Gaussians with equal weights and one ``std``."""

    def __init__(self, path: Path, centres: Sequence[Sequence[float]] | Tensor, std: float) -> None:
        super().__init__()
        self.path = path
        self.std = std
        self.centres = nn.Buffer(torch.as_tensor(centres, dtype=torch.float64))
        d = self.centres.shape[1]
        self.space: Space = VectorSpace(shape=(d,), mean=(0.0,) * d, std=(1.0,) * d)

    @property
    def axes(self) -> tuple[Tensor, Tensor]:
        """Return the variances (d,) of each Gaussian along the columns of a basis (d, d)."""
        d = self.centres.shape[1]
        return torch.full((d,), self.std**2, dtype=torch.float64), torch.eye(d)

    def predict(self, kind: Any, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        """Compute the posterior mean of the data given x_t, converted to any prediction."""
        k = self.path.at(t).over(x_t)
        variances, basis = (part.to(x_t) for part in self.axes)
        variance = k.alpha**2 * variances + k.sigma**2
        centres = self.centres.to(x_t)
        gaps = (x_t[:, None] - k.alpha[:, None] * centres) @ basis
        weights = torch.softmax(-(gaps**2 / variance[:, None]).sum(-1) / 2, dim=1)
        gain = k.alpha * variances / variance
        means = centres + (gain[:, None] * gaps) @ basis.T
        data = (weights[..., None] * means).sum(1)
        return convert("data", kind, data, x_t, k)

    def calls(self, t: float = 0.5) -> int:
        """Return the number of network calls per prediction."""
        return 1


def ring(path: Path, modes: int = 5, radius: float = 2.0, std: float = 0.5) -> Mixture:
    """Build a mixture of Gaussians on a circle."""
    centres = []
    for i in range(modes):
        angle = 2 * math.pi * i / modes
        centres.append([radius * math.cos(angle), radius * math.sin(angle)])
    return Mixture(path, centres, std)


class Counting(Mixture):
    """A mixture that counts its predictions in ``count``."""

    count = 0

    def predict(self, kind: Any, x_t: Tensor, t: Tensor, condition: Condition = None) -> Tensor:
        self.count += 1
        return super().predict(kind, x_t, t, condition)


class Correlated(Mixture):
    """The ideal denoiser of one Gaussian with correlated entries."""

    covariance = torch.tensor([[0.5, 0.3], [0.3, 0.9]], dtype=torch.float64)

    @property
    def axes(self) -> tuple[Tensor, Tensor]:
        variances, basis = torch.linalg.eigh(self.covariance)
        return variances, basis


class _Quick(Draws):
    def __init__(self, seed: int, rows: int) -> None:
        self.n = rows
        self._random = np.random.Generator(np.random.Philox(seed))

    def normal(self, shape: Sequence[int]) -> Tensor:
        return torch.from_numpy(self._random.standard_normal((self.n, *shape), dtype=np.float32))

    def uniform(self) -> Tensor:
        return torch.from_numpy(self._random.random(self.n, dtype=np.float32))

    def stream(self, name: str) -> Draws:
        return self


def _start(denoiser: Any) -> tuple[Tensor, float, float]:
    torch.manual_seed(1)
    ends = denoiser.path.time(torch.tensor([START, STOP], dtype=torch.float64))
    start, stop = ends.tolist()
    return torch.randn(48, 2, dtype=torch.float64) * denoiser.path.at(ends[:1]).r, start, stop


def solve(
    flow: Flow,
    x: Tensor,
    start: float,
    stop: float,
    condition: Condition = None,
    draws: Draws | None = None,
) -> Tensor:
    """Solve from x at one time to another, in the flow's number of steps, equal in log-SNR."""
    path = flow.denoiser.path
    first, last = path.log_snr(torch.tensor([start, stop], dtype=torch.float64)).tolist()
    times = path.time(torch.linspace(first, last, flow.steps + 1, dtype=torch.float64)).numpy()
    *_, (_, state) = flow.walk(x, times, condition, draws)
    return state


def end(denoiser: Any, solver: Solver, steps: int) -> Tensor:
    """Solve from fixed starts, (n, 2), from log-SNR `START` to `STOP`."""
    return solve(Flow(denoiser, solver, steps), *_start(denoiser))


@functools.cache
def truth(path: str) -> Tensor:
    """Solve the ODE of the ring from the starts of `end` to 1e-11, with SciPy."""
    from scipy.integrate import solve_ivp

    denoiser = ring(PATHS[path])
    x, _, _ = _start(denoiser)

    def derivative(log_snr: float, points: Any) -> Any:
        t = denoiser.path.time(torch.full((len(x),), log_snr, dtype=torch.float64))
        velocity = denoiser.predict("velocity", torch.from_numpy(points).reshape(x.shape), t)
        return (velocity / denoiser.path.at(t).dlog_snr[:, None]).flatten().numpy()

    start = x.flatten().numpy()
    options = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-12}
    solution = solve_ivp(derivative, (START, STOP), start, **options)
    return torch.from_numpy(solution.y[:, -1]).reshape(x.shape)


def error(path: str, solver: Solver, steps: int) -> float:
    """Compute the RMS distance of a solver's result to the truth."""
    gap = end(ring(PATHS[path]), solver, steps) - truth(path)
    return float(gap.square().mean().sqrt())


def measured_order(solver: Solver, path: str, steps: tuple[int, int]) -> float:
    """Measure the order of a deterministic solver between two numbers of steps."""
    few, many = steps
    gain = error(path, solver, few) / error(path, solver, many)
    return math.log2(gain) / math.log2(many / few)


def moments(
    solver: Solver, path: Path, steps: int, n: int, start: float = -8.0
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Compute a stochastic solver's result on the correlated Gaussian, between two log-SNR.

    Returns:
        The mean (2,) and the covariance (2, 2) of x_t at log-SNR 6, and their exact values.
    """
    denoiser = Correlated(path, [[0.8, -0.4]], 1.0)
    times = path.time(torch.tensor([start, 6.0], dtype=torch.float64))
    draws = _Quick(5, n)
    here = path.at(times[:1])
    there = path.at(times[1:])
    covariance = Correlated.covariance
    noise = torch.eye(2)
    root = torch.linalg.cholesky(here.alpha**2 * covariance + here.sigma**2 * noise)
    x = here.alpha * denoiser.centres + draws.normal((2,)).double() @ root.T
    begin, end = times.tolist()
    x = solve(Flow(denoiser, solver, steps), x, begin, end, None, draws)
    expected = there.alpha**2 * covariance + there.sigma**2 * noise
    return x.mean(0), x.T.cov(), there.alpha * denoiser.centres[0], expected


SAMPLES = 10_000


def check_solver(
    solver: Solver | type[Solver],
    *,
    steps: tuple[int, int] = (128, 256),
    tolerance: float = 0.1,
    noisy_steps: int = 400,
    bias: float = 0.01,
) -> None:
    """Check all laws of a solver, in a few seconds.

    1. Its description rebuilds it, and a solve leaves it unchanged: it holds only settings.
    2. Its grid is a known one.
    3. It makes the number of predictions that ``calls`` states.
    4. Samples keep shape and type, are finite, and depend only on their own seed; gradients reach
       the start.
    5. Deterministic: the measured order is the declared one, on two paths. Stochastic: it refuses
       to run without draws, and keeps mean and covariance of a Gaussian within three standard
       errors and a bias.

    Args:
        solver: Solver, or class without required arguments.
        steps: Two numbers of steps for measuring the order.
        tolerance: Largest difference between measured and declared order.
        noisy_steps: Number of steps in which a stochastic solver must preserve the moments.
        bias: Bound of the error in these steps, in addition to three standard errors.

    Raises:
        Broken: If a law is violated; an `AssertionError` that names the law.
        TypeError: If it is not a solver.
    """
    thing: Solver = built(solver, Solver)
    with law(thing, "it must be rebuilt from its description"):
        assert vars(rebuilt(thing)) == vars(thing)
    with law(thing, "its grid must be a known grid"):
        assert len(grid_times(thing.grid, VP(), 3)) == 4
    before = copy.deepcopy(vars(thing))
    Flow(ring(VP()), thing, 3).sample(2)
    with law(thing, "sampling must not change the solver: earlier steps belong in its memory"):
        assert vars(thing) == before
    _check_samples(thing)
    for count in (2, 7):
        check_calls(thing, count)
    if thing.stochastic:
        check_moments(thing, noisy_steps, bias)
    elif not thing.adaptive:
        for path in ("vp", "linear"):
            check_order(thing, path, steps, tolerance)


def _check_samples(solver: Solver) -> None:
    flow = Flow(ring(Linear()), solver, 5)
    x = flow.sample(4, seed=3)
    with law(solver, "samples must be finite and keep shape and dtype"):
        assert x.shape == (4, 2)
        assert x.dtype == torch.float32
        assert torch.isfinite(x).all()
    if not solver.adaptive:
        with law(solver, "sample i must depend on seed + i only"):
            torch.testing.assert_close(flow.sample(2, seed=5), x[2:], rtol=1e-5, atol=1e-5)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(3, 2, generator=generator, dtype=torch.float64).requires_grad_()
    end = flow(z, None, ExampleDraws(0, 3)).sum()
    with law(solver, "the result must be differentiable with respect to the start"):
        assert end.requires_grad, "It does not depend on it."
        (gradient,) = torch.autograd.grad(end, z)
        assert torch.isfinite(gradient).all()
        assert gradient.abs().sum() > 0
    if solver.stochastic:
        with law(solver, "a stochastic solver must refuse to run without random numbers"):
            assert refuses(lambda: flow(z.detach()), UsageError)


def check_calls(solver: Solver, steps: int) -> None:
    """Check that sampling makes the declared number of predictions."""
    denoiser = Counting(VP(), [[0.0, 1.0]], 0.5)
    flow = Flow(denoiser, solver, steps)
    flow.sample(1 if solver.adaptive else 3)
    with law(solver, f"{steps} steps must make the declared number of predictions"):
        assert denoiser.count == flow.calls, f"Made {denoiser.count}, declared {flow.calls}."
        assert solver.adaptive or flow.calls == solver.calls(steps)


def check_order(solver: Solver, path: str, steps: tuple[int, int], tolerance: float = 0.05) -> None:
    """Check that the measured order equals the declared order."""
    order = measured_order(solver, path, steps)
    with law(solver, f"the order measured on {path} must equal the declared order"):
        assert abs(order - solver.order) < tolerance, (
            f"Measured {order:.3f}, declared {solver.order}."
        )


def check_moments(solver: Solver, steps: int, bias: float) -> None:
    """Check that a solver preserves mean and covariance of a Gaussian."""
    mean, covariance, exact_mean, exact = moments(solver, VP(), steps, SAMPLES)
    variance = exact.diagonal()
    with law(solver, f"it must preserve the mean of a Gaussian in {steps} steps"):
        off = (mean - exact_mean).abs()
        bound = 3 * (variance / SAMPLES).sqrt() + bias
        assert (off < bound).all(), f"It is off by {off.tolist()}."
    with law(solver, f"it must preserve the covariance of a Gaussian in {steps} steps"):
        off = (covariance - exact).abs()
        bound = 3 * ((torch.outer(variance, variance) + exact**2) / SAMPLES).sqrt() + bias
        assert (off < bound).all(), f"It is off by {off.tolist()}."
