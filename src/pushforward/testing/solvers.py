"""The laws of solvers."""

from __future__ import annotations

import copy

import torch

from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError
from pushforward.paths import VP, Linear
from pushforward.solvers import Solver
from pushforward.solvers.grids import times
from pushforward.testing.laws import built, law, rebuilt, refuses
from pushforward.testing.problems import Counting, measured_order, moments, ring
from pushforward.transports import Flow

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

    1. Its description rebuilds it, and a solve leaves it unchanged: it holds settings alone.
    2. Its grid is a known one.
    3. It makes as many predictions as ``calls`` states.
    4. Samples keep shape and type, are finite, and depend on their own seed alone; gradients reach the start.
    5. Deterministic: the measured order is the declared one, on the variance-preserving and on the straight path. Stochastic: it
       refuses to run without draws, and keeps mean and covariance of a Gaussian within three standard errors and a bias.

    Args:
        solver: A solver, or a class that needs no arguments.
        steps: Two numbers of steps between which the order is measured.
        tolerance: How far the measured order may lie from the declared one.
        noisy_steps: Steps in which a stochastic solver keeps mean and covariance.
        bias: The bound of the error in these steps, besides three standard errors of 10,000 samples.

    Raises:
        Broken: If a law is broken; an `AssertionError` that names the law.
        TypeError: If it is no solver.
    """
    thing: Solver = built(solver, Solver)
    _check_settings(thing)
    _check_samples(thing)
    for count in (2, 7):
        check_calls(thing, count)
    if thing.stochastic:
        check_moments(thing, noisy_steps, bias)
    elif not thing.adaptive:
        for path in ("vp", "linear"):
            check_order(thing, path, steps, tolerance)


def _check_settings(solver: Solver) -> None:
    with law(solver, "its description must rebuild it"):
        assert vars(rebuilt(solver)) == vars(solver)
    with law(solver, "its grid must be a known one"):
        assert len(times(solver.grid, VP(), 3)) == 4
    before = copy.deepcopy(vars(solver))
    Flow(ring(VP()), solver, 3).sample(2)
    with law(solver, "a solve must leave it unchanged: values of earlier steps belong in its memory"):
        assert vars(solver) == before


def _check_samples(solver: Solver) -> None:
    flow = Flow(ring(Linear()), solver, 5)
    x = flow.sample(4, seed=3)
    with law(solver, "samples must be finite and keep shape and type"):
        assert x.shape == (4, 2)
        assert x.dtype == torch.float32
        assert torch.isfinite(x).all()
    if not solver.adaptive:
        with law(solver, "sample i must come from seed + i alone"):
            torch.testing.assert_close(flow.sample(2, seed=5), x[2:], rtol=1e-5, atol=1e-5)
    z = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    end = flow(z, None, ExampleDraws(0, 3)).sum()
    with law(solver, "the end must be differentiable in the start"):
        assert end.requires_grad, "It does not depend on it."
        (slope,) = torch.autograd.grad(end, z)
        assert torch.isfinite(slope).all()
        assert slope.abs().sum() > 0
    if solver.stochastic:
        with law(solver, "a stochastic solver must refuse to run without draws (`noise_of` does)"):
            assert refuses(lambda: flow(z.detach()), UsageError)


def check_calls(solver: Solver, steps: int) -> None:
    """A solve of so many steps makes as many predictions as `Flow.calls` and the solver state."""
    denoiser = Counting(VP(), [[0.0, 1.0]], 0.5)
    flow = Flow(denoiser, solver, steps)
    flow.sample(1, seed=0) if solver.adaptive else flow.sample(3)
    with law(solver, f"{steps} steps must make as many predictions as it declares"):
        assert denoiser.count == flow.calls, f"{denoiser.count} were made, {flow.calls} stated."
        assert solver.adaptive or flow.calls == solver.calls(steps)


def check_order(solver: Solver, path: str = "vp", steps: tuple[int, int] = (256, 512), tolerance: float = 0.05) -> None:
    """The order that is measured on a problem with a closed form is the declared one.

    Args:
        solver: A deterministic solver of fixed steps.
        path: A name in `pushforward.testing.PATHS`.
        steps: Two numbers of steps, equal in log-SNR.
        tolerance: How far the two may lie apart.
    """
    order = measured_order(solver, path, steps)
    with law(solver, f"the order measured on {path} must be the declared one"):
        assert abs(order - solver.order) < tolerance, f"Measured {order:.3f}, declared {solver.order}."


def check_moments(solver: Solver, steps: int = 400, bias: float = 0.005, n: int = SAMPLES) -> None:
    """Mean and covariance of a Gaussian are kept within three standard errors and a bias that falls with the steps."""
    mean, covariance, wanted_mean, wanted = moments(solver, VP(), steps, n)
    product = wanted.diagonal()[:, None] * wanted.diagonal()
    with law(solver, f"it must keep the mean of a Gaussian in {steps} steps"):
        off = (mean - wanted_mean).abs()
        assert (off < 3 * (wanted.diagonal() / n).sqrt() + bias).all(), f"It is off by {off.tolist()}."
    with law(solver, f"it must keep the covariance of a Gaussian in {steps} steps"):
        off = (covariance - wanted).abs()
        assert (off < 3 * ((product + wanted**2) / n).sqrt() + bias).all(), f"It is off by {off.tolist()}."
