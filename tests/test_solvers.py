"""Solvers: orders, steps in closed form, moments and calls."""

import math

import pytest
import torch

from pushforward import solvers
from pushforward.draws import ExampleDraws
from pushforward.paths import VP, Cosine, Linear, Tabulated, linear_betas
from pushforward.registries import SOLVERS
from pushforward.solvers import DDIM, DPM, Euler
from pushforward.testing import PATHS, Mixture, check_calls, check_moments, check_order, end, ring, truth
from pushforward.testing.solvers import STOP, moments
from pushforward.transports import Flow

STOPPED = torch.tensor([STOP], dtype=torch.float64)
FIXED = ["ddim", "euler", "heun", "midpoint", "rk4", "ipndm:1", "ipndm:2", "ipndm:3", "ipndm:4", "singlestep:2", "singlestep:3"]
FIXED += [f"{name}:{order}" for name in ("dpm", "deis", "unipc") for order in (1, 2, 3)]
STOCHASTIC = ["ancestral", "ddim:0.5", "dpmsde", "eulermaruyama", "eulermaruyama:2", "churn:3", "predictorcorrector"]


def test_every_solver_is_tested():
    tested = {name.partition(":")[0] for name in [*FIXED, *STOCHASTIC, "adaptive"]}
    assert tested | {"jump"} == set(SOLVERS)  # jump: test_tables.py


IN_TIME = ("euler", "heun", "midpoint", "rk4")
"""Solvers of the velocity in t, whose errors are others on each path; those of all others depend on the log-SNR alone."""
BETWEEN = {"rk4": (40, 80), "midpoint": (128, 256), "ipndm:3": (128, 256), "unipc:3": (500, 1000)}
"""Numbers of steps between which an order is measured, of solvers whose high order reaches rounding early, or sets in late."""


@pytest.mark.parametrize(("name", "path"), [(name, path) for name in FIXED for path in (PATHS if name in IN_TIME else ["vp"])])
def test_measured_order_is_the_declared_one(name, path):
    check_order(solvers.named(name), path, BETWEEN.get(name, (64, 128)))


@pytest.mark.parametrize("name", [name for name in FIXED if name not in IN_TIME])
def test_a_solver_in_log_snr_is_the_same_on_every_path(name):
    """Steps of equal log-SNR end at the same x_t / alpha to rounding, so that an order measured on one path is that on all."""
    ends = [end(ring(path), solvers.named(name), 16) / path.at(path.time(STOPPED)).alpha for path in PATHS.values()]
    for other in ends[1:]:
        torch.testing.assert_close(other, ends[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("path", PATHS)
def test_the_adaptive_solver_keeps_its_tolerance(path):
    for tolerance in (1e-4, 1e-7):
        adaptive = end(ring(PATHS[path]), solvers.Adaptive(tolerance, tolerance), 2)
        assert (adaptive - truth(path)).abs().max() < 100 * tolerance


@pytest.mark.parametrize("steps", [2, 3, 9])
@pytest.mark.parametrize("h", [0.01, 0.5, 4.0])
def test_a_leap_is_exact_for_polynomials(steps, h):
    """Against SciPy's quadrature of the integral in the module's head, for both kinds and unequal nodes."""
    from scipy.integrate import quad

    from pushforward.solvers.exponential import exponential_step

    denoiser = ring(Cosine())
    lam = torch.tensor([-1.0 - 0.7 * h, -1.0 - 0.3 * h, -1.0], dtype=torch.float64)
    t, s = (denoiser.path.time(2 * torch.tensor([at], dtype=torch.float64)) for at in (-1.0, -1.0 + h))
    polynomial = lambda at: 0.3 - 0.8 * at + 0.5 * at**2  # noqa: E731
    x = torch.full((1, 1), 0.7, dtype=torch.float64)
    nodes = [(at[None], polynomial(at).reshape(1, 1)) for at in lam]
    here, there = denoiser.path.at(t), denoiser.path.at(s)
    data = quad(lambda at: math.exp(at) * polynomial(at), -1, -1 + h, epsabs=1e-13)[0]
    noise = quad(lambda at: math.exp(-at) * polynomial(at), -1, -1 + h, epsabs=1e-13)[0]
    wanted = {
        "data": there.sigma / here.sigma * 0.7 + there.sigma * data,
        "noise": there.alpha / here.alpha * 0.7 - there.alpha * noise,
    }
    for kind, value in wanted.items():
        assert exponential_step(denoiser, kind, x, t, s, nodes).item() == pytest.approx(value.item(), rel=1e-10)


def test_ddim_on_the_linear_path_is_euler_on_the_velocity():
    denoiser = ring(Linear())
    difference = (end(denoiser, DDIM(), 37) - end(denoiser, Euler(), 37)).abs().max()
    assert difference < 1e-12


def test_first_order_dpm_is_ddim():
    denoiser = ring(VP())
    assert (end(denoiser, DDIM(), 21) - end(denoiser, DPM(order=1), 21)).abs().max() < 1e-12


def test_ancestral_step_has_the_posterior_of_ddpm():
    """Ho et al. (2020), eq. 7, from the betas themselves."""
    betas = torch.tensor(linear_betas(1000), dtype=torch.float64)
    bar = torch.cumprod(1 - betas, 0)
    i = 600  # from level 601 to level 600
    denoiser = Mixture(Tabulated(betas.tolist()), [[0.7, -0.2]], 1e-9)  # the data are one known point
    n, x_t = 40_000, torch.tensor([[0.3, 1.1]], dtype=torch.float64)
    t, s = torch.full((n,), (i + 1) / 1000, dtype=torch.float64), torch.full((n,), i / 1000, dtype=torch.float64)
    x, _ = solvers.Ancestral().step(denoiser, x_t.expand(n, 2), t, s, None, ExampleDraws(0, n), None)
    point = denoiser.centres[0]
    a, b = bar[i - 1].sqrt() * betas[i] / (1 - bar[i]), (1 - betas[i]).sqrt() * (1 - bar[i - 1]) / (1 - bar[i])
    std = (betas[i] * (1 - bar[i - 1]) / (1 - bar[i])).sqrt()
    assert (x.mean(0) - (a * point + b * x_t[0])).abs().max() < 4 * std / math.sqrt(n)
    assert (x.std(0) / std - 1).abs().max() < 4 / math.sqrt(2 * n)


def test_the_stochastic_exponential_step_of_constant_data_is_ancestral():
    x = torch.randn(6, 2, dtype=torch.float64)
    t, s = (torch.full((6,), at, dtype=torch.float64) for at in (0.7, 0.6))
    exponential, ancestral = (
        solver.step(ring(VP()), x, t, s, None, ExampleDraws(0, 6), None)[0] for solver in (solvers.DPMSDE(1), solvers.Ancestral())
    )
    torch.testing.assert_close(exponential, ancestral, rtol=0, atol=1e-12)


def test_euler_maruyama_without_noise_is_euler():
    assert (end(ring(Linear()), solvers.EulerMaruyama(0.0), 21) - end(ring(Linear()), Euler(), 21)).abs().max() < 1e-12


@pytest.mark.parametrize(("low", "high", "raised"), [(0.05, 50, True), (2, 50, False), (0.05, 0.5, False)])
def test_churn_adds_noise_between_its_levels_alone(low, high, raised):
    x, t, s = torch.randn(6, 2, dtype=torch.float64), *(torch.full((6,), at, dtype=torch.float64) for at in (0.5, 0.4))
    ends = [
        solvers.Churn(churn, low, high).step(ring(Linear()), x, t, s, None, ExampleDraws(0, 6), None)[0] for churn in (0.0, 3.0)
    ]
    assert bool(((ends[0] - ends[1]).abs() > 1e-3).any()) == raised, "the level is 1"


@pytest.mark.parametrize("path", [Linear(), VP(), Tabulated(linear_betas())], ids=lambda path: type(path).__name__)
def test_churn_raises_no_level_above_the_end_of_its_path(path):
    x, t, s = torch.randn(6, 2, dtype=torch.float64), *(torch.full((6,), at, dtype=torch.float64) for at in (path.ends[1], 0.9))
    ends = [solvers.Churn(churn, high=1e6).step(ring(path), x, t, s, None, ExampleDraws(0, 6), None)[0] for churn in (0.0, 100.0)]
    torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-6)


STEPS = {"ancestral": 400, "ddim:0.5": 200, "dpmsde": 100, "eulermaruyama": 200, "eulermaruyama:2": 375, "churn:3": 75}


def test_the_gaussian_starts_with_the_covariance_that_it_has_there():
    """A deterministic solver forgets nothing of its start, which is half data here."""
    _, covariance, _, wanted = moments(DPM(3), VP(), 40, 20_000, start=-1.0)
    torch.testing.assert_close(covariance, wanted, rtol=0, atol=0.03)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_a_stochastic_solver_keeps_mean_and_covariance(name):
    """benchmarks/solver_orders.py measures the bias, which falls with the steps."""
    check_moments(solvers.named(name), STEPS.get(name, 200), 0.01 if name == "predictorcorrector" else 0.005)


@pytest.mark.parametrize("name", [*FIXED, *STOCHASTIC, "adaptive"])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_calls_are_what_is_said(name, steps):
    if name != "adaptive" or steps > 1:
        check_calls(solvers.named(name), steps)


@pytest.mark.parametrize("name", [name for name, part in SOLVERS.items() if not part.jumps])
def test_steps_are_differentiable(name):
    z = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    flow = Flow(ring(VP()), solvers.named(name), 4)
    flow(z, None, ExampleDraws(0, 3)).sum().backward()
    assert z.grad.abs().min() > 0
