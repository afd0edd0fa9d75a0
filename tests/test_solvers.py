"""Solvers: orders, steps in closed form, moments, calls, solves in both directions, and
time grids.
"""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

import pushforward as pf
from pushforward import solvers
from pushforward.draws import ExampleDraws
from pushforward.errors import Diverged, UsageError
from pushforward.paths import VE, VP, Cosine, Linear, Tabulated, linear_betas
from pushforward.registries import SOLVERS
from pushforward.solvers import DDIM, DEIS, DPM, RK4, Euler, Heun
from pushforward.solvers.exponential import exponential_step
from pushforward.solvers.solver import GRIDS, grid_times, karras, uniform_time
from pushforward.testing import (
    PATHS,
    Mixture,
    check_calls,
    check_moments,
    check_order,
    end,
    ring,
    space_data,
    truth,
)
from pushforward.testing.solvers import STOP, moments, solve
from pushforward.transports import Flow
from pushforward.transports.likelihood import log_prob

STOPPED = torch.tensor([STOP], dtype=torch.float64)
IN_TIME = ["euler", "heun", "midpoint", "rk4"]
"""Solvers of the velocity in t, whose errors are others on each path; those of all others depend on
the log-SNR alone.
"""
IN_LOG_SNR = [
    "ddim",
    "ipndm:1",
    "ipndm:2",
    "ipndm:3",
    "ipndm:4",
    "singlestep:2",
    "singlestep:3",
    "dpm:1",
    "dpm:2",
    "dpm:3",
    "deis:1",
    "deis:2",
    "deis:3",
    "unipc:1",
    "unipc:2",
    "unipc:3",
]
FIXED = [*IN_TIME, *IN_LOG_SNR]
STEPS = {
    "ancestral": 400,
    "ddim:0.5": 200,
    "dpmsde": 100,
    "eulermaruyama": 200,
    "eulermaruyama:2": 375,
    "churn:3": 75,
    "predictorcorrector": 200,
}
"""Stochastic solvers, and the steps in which they keep moments."""
STOCHASTIC = list(STEPS)
STEPWISE = [name for name, solver in SOLVERS.items() if not solver.jumps]


def double(values):
    return torch.tensor(values, dtype=torch.float64)


def apart(actual, expected):
    """The largest difference."""
    return float((actual - expected).abs().max())


def moved(solver, denoiser, x, t, s):
    """The states x after a step of all rows from time t to time s."""
    n = len(x)
    times = double([t]).expand(n)
    next_times = double([s]).expand(n)
    x, _ = solver.step(denoiser, x, times, next_times, None, ExampleDraws(0, n), None)
    return x


def test_every_solver_is_tested():
    tested = {name.partition(":")[0] for name in [*FIXED, *STOCHASTIC, "adaptive"]}
    assert tested | {"jump"} == set(SOLVERS)  # jump: test_tables.py


BETWEEN = {"rk4": (40, 80), "midpoint": (128, 256), "ipndm:3": (128, 256), "unipc:3": (500, 1000)}
"""Numbers of steps between which an order is measured, of solvers whose high order reaches rounding
early, or sets in late.
"""


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", IN_TIME)
def test_measured_order_in_time_is_the_declared_one(name, path):
    check_order(solvers.named(name), path, BETWEEN.get(name, (64, 128)))


@pytest.mark.parametrize("name", IN_LOG_SNR)
def test_measured_order_in_log_snr_is_the_declared_one(name):
    check_order(solvers.named(name), "vp", BETWEEN.get(name, (64, 128)))


@pytest.mark.parametrize("name", IN_LOG_SNR)
def test_a_solver_in_log_snr_is_the_same_on_every_path(name):
    """Steps of equal log-SNR end at the same x_t / alpha to rounding, so that an order measured on
    one path is that on all.
    """
    ends = []
    for path in PATHS.values():
        alpha = path.at(path.time(STOPPED)).alpha
        ends.append(end(ring(path), solvers.named(name), 16) / alpha)
    for other in ends[1:]:
        torch.testing.assert_close(other, ends[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("path", PATHS)
def test_four_steps_round_as_float32_does(path):
    """Where a state holds little data, or little noise, it hardly differs from the other, and
    differences lose three digits.
    """

    class Network(torch.nn.Module):
        def forward(self, x, t, condition=None):
            return torch.tanh(2 * x + t[:, None])

    path = PATHS[path]
    denoiser = pf.Denoiser(Network(), path, "v", ring(path).space)
    z = ExampleDraws(0, 50).normal((2,))
    low, high = path.ends
    for name in FIXED:
        flow = Flow(denoiser, solvers.named(name), 4)
        actual = flow(z).double()
        expected = flow(z.double())
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5, msg=name)
        if name.startswith(("deis", "ipndm", "singlestep")):
            actual = solve(flow, z, low, high).double() / flow.width
            expected = solve(flow, z.double(), low, high) / flow.width
            torch.testing.assert_close(actual, expected, rtol=0, atol=3e-5, msg=name)


@pytest.mark.parametrize("path", PATHS)
def test_the_adaptive_solver_keeps_its_tolerance(path):
    for tolerance in (1e-4, 1e-7):
        adaptive = end(ring(PATHS[path]), solvers.Adaptive(tolerance, tolerance), 2)
        assert apart(adaptive, truth(path)) < 100 * tolerance


def polynomial(lam):
    return 0.3 - 0.8 * lam + 0.5 * lam**2


def integral(sign, h):
    """The integral of the polynomial times exp(sign lam) over a step."""

    def weighted(lam):
        return math.exp(sign * lam) * polynomial(lam)

    value, _ = quad(weighted, -1, -1 + h, epsabs=1e-13)
    return value


@pytest.mark.parametrize("h", [0.01, 0.5, 4.0])
def test_a_leap_is_exact_for_polynomials(h):
    """Against SciPy's quadrature of the integral in the module's head, for both kinds and unequal
    nodes.
    """
    denoiser = ring(Cosine())
    t = denoiser.path.time(double([-2.0]))
    s = denoiser.path.time(double([-2.0 + 2 * h]))
    x = double([[0.7]])
    nodes = []
    for lam in double([-1.0 - 0.7 * h, -1.0 - 0.3 * h, -1.0]):
        node = (lam[None], polynomial(lam).reshape(1, 1))
        nodes.append(node)
    here = denoiser.path.at(t)
    there = denoiser.path.at(s)
    data = integral(1, h)
    noise = integral(-1, h)
    by_data = there.sigma / here.sigma * x + there.sigma * data
    actual = exponential_step(denoiser, "data", x, t, s, nodes)
    torch.testing.assert_close(actual, by_data, rtol=1e-10, atol=0)
    by_noise = there.alpha / here.alpha * x - there.alpha * noise
    actual = exponential_step(denoiser, "noise", x, t, s, nodes)
    torch.testing.assert_close(actual, by_noise, rtol=1e-10, atol=0)


def test_ddim_on_the_linear_path_is_euler_on_the_velocity():
    denoiser = ring(Linear())
    ddim = end(denoiser, DDIM(), 37)
    euler = end(denoiser, Euler(), 37)
    assert apart(ddim, euler) < 1e-12


def test_first_order_dpm_is_ddim():
    denoiser = ring(VP())
    ddim = end(denoiser, DDIM(), 21)
    dpm = end(denoiser, DPM(order=1), 21)
    assert apart(ddim, dpm) < 1e-12


def test_ancestral_step_has_the_posterior_of_ddpm():
    """Ho et al. (2020), eq. 7, from the betas themselves."""
    betas = double(linear_betas(1000))
    path = Tabulated(betas.tolist())
    data = [0.7, -0.2]  # the data are one known point
    denoiser = Mixture(path, [data], 1e-9)
    n = 40_000
    x_t = double([0.3, 1.1])
    i = 600  # from level 601 to level 600
    x = moved(solvers.Ancestral(), denoiser, x_t.expand(n, 2), (i + 1) / 1000, i / 1000)
    beta = betas[i]
    bars = torch.cumprod(1 - betas, 0)
    bar = bars[i]
    bar_before = bars[i - 1]
    a = bar_before.sqrt() * beta / (1 - bar)
    b = (1 - beta).sqrt() * (1 - bar_before) / (1 - bar)
    mean = a * double(data) + b * x_t
    std = (beta * (1 - bar_before) / (1 - bar)).sqrt()
    assert apart(x.mean(0), mean) < 4 * std / math.sqrt(n)
    assert apart(x.std(0) / std, 1) < 4 / math.sqrt(2 * n)


def test_the_stochastic_exponential_step_of_constant_data_is_ancestral():
    x = torch.randn(6, 2, dtype=torch.float64)
    denoiser = ring(VP())
    exponential = moved(solvers.DPMSDE(1), denoiser, x, 0.7, 0.6)
    ancestral = moved(solvers.Ancestral(), denoiser, x, 0.7, 0.6)
    torch.testing.assert_close(exponential, ancestral, rtol=0, atol=1e-12)


def test_euler_maruyama_without_noise_is_euler():
    denoiser = ring(Linear())
    without_noise = end(denoiser, solvers.EulerMaruyama(0.0), 21)
    euler = end(denoiser, Euler(), 21)
    assert apart(without_noise, euler) < 1e-12


@pytest.mark.parametrize(
    ("low", "high", "raised"), [(0.05, 50, True), (2, 50, False), (0.05, 0.5, False)]
)
def test_churn_adds_noise_between_its_levels_alone(low, high, raised):
    x = torch.randn(6, 2, dtype=torch.float64)
    denoiser = ring(Linear())
    still = solvers.Churn(0.0, low, high)
    churn = solvers.Churn(3.0, low, high)
    without = moved(still, denoiser, x, 0.5, 0.4)
    churned = moved(churn, denoiser, x, 0.5, 0.4)
    assert (apart(churned, without) > 1e-3) == raised, "the level is 1"


@pytest.mark.parametrize("path", [Linear(), VP(), Tabulated(linear_betas())])
def test_churn_raises_no_level_above_the_end_of_its_path(path):
    x = torch.randn(6, 2, dtype=torch.float64)
    denoiser = ring(path)
    _, highest = path.ends
    still = solvers.Churn(0.0, high=1e6)
    churn = solvers.Churn(100.0, high=1e6)
    without = moved(still, denoiser, x, highest, 0.9)
    churned = moved(churn, denoiser, x, highest, 0.9)
    torch.testing.assert_close(churned, without, rtol=1e-6, atol=1e-6)


def test_the_gaussian_starts_with_the_covariance_that_it_has_there():
    """A deterministic solver forgets nothing of its start, which is half data here."""
    _, covariance, _, wanted = moments(DPM(3), VP(), 40, 20_000, start=-1.0)
    torch.testing.assert_close(covariance, wanted, rtol=0, atol=0.03)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_a_stochastic_solver_keeps_mean_and_covariance(name):
    """benchmarks/solver_orders.py measures the bias, which falls with the steps."""
    tolerance = 0.005
    if name == "predictorcorrector":
        tolerance = 0.01
    check_moments(solvers.named(name), STEPS[name], tolerance)


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("name", [*FIXED, *STOCHASTIC])
def test_calls_are_what_is_said(name, steps):
    check_calls(solvers.named(name), steps)


@pytest.mark.parametrize("steps", [2, 7])
def test_calls_of_the_adaptive_solver_are_what_is_said(steps):
    check_calls(solvers.Adaptive(), steps)


@pytest.mark.parametrize("name", STEPWISE)
def test_steps_are_differentiable(name):
    z = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    flow = Flow(ring(VP()), solvers.named(name), 4)
    x = flow(z, None, ExampleDraws(0, 3))
    x.sum().backward()
    assert z.grad.abs().min() > 0


@pytest.mark.parametrize("solver", [RK4(), DEIS(3)])
@pytest.mark.parametrize("path", [Linear(), VP(), VE(0.002, 80), Tabulated(linear_betas())])
def test_encode_and_the_flow_are_inverse(path, solver):
    check_inverse(path, solver)


def test_encode_and_the_flow_of_an_adaptive_solver_are_inverse():
    check_inverse(Linear(), solvers.Adaptive(1e-4, 1e-4))


def check_inverse(path, solver):
    denoiser = ring(path)
    flow = Flow(denoiser, solver, 100, "log_snr")
    centres = denoiser.centres[torch.arange(64) % 5]
    x = centres + 0.5 * torch.randn(64, 2, dtype=torch.float64)
    z, of_shifted = flow.encode(torch.cat([x, x + 1])).chunk(2)
    error = (flow(z) - x).square().mean().sqrt()
    assert error < 1e-3
    assert 0.7 < z.std() < 1.3
    assert apart(z.norm(dim=1), of_shifted.norm(dim=1)) > 0.1


@pytest.mark.parametrize("seed", [-7, 2**63, 2**80, np.int64(3)])
def test_any_whole_seed_draws_rows_of_its_own(seed):
    flow = Flow(ring(Linear()), Heun(), 2)
    actual = flow.sample(3, seed=seed)[1:]
    expected = flow.sample(2, seed=int(seed) + 1)
    torch.testing.assert_close(actual, expected)


def test_samples_that_are_not_finite_are_refused():
    class Broken(Mixture):
        def predict(self, kind, x, *rest):
            return x / 0

    flow = Flow(Broken(Linear(), [[0.0, 1.0]], 0.5), Heun(), 2)
    with pytest.raises(Diverged, match="not finite"):
        flow.sample(4)
    with pytest.raises(Diverged, match="not finite"):
        list(flow.trajectory(4))


@pytest.mark.parametrize("name", STEPWISE)
def test_rows_depend_on_their_seed_alone(name):
    """An adaptive solver's rows share their steps, so they agree to its tolerance only."""
    flow = Flow(ring(VP()), solvers.named(name), 6)
    atol = 1e-5
    if name == "adaptive":
        atol = 2e-3
    actual = flow.sample(8, seed=0)[4:]
    expected = flow.sample(4, seed=4)
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)
    actual = flow.sample(8, seed=0, batch=3)
    expected = flow.sample(8, seed=0)
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)
    assert apart(flow.sample(4, seed=0), flow.sample(4, seed=1)) > 0.1


def test_trajectory_ends_at_the_sample():
    flow = Flow(ring(VP()), DPM(), 5)
    states = list(flow.trajectory(3, seed=2))
    assert [t for t, _ in states] == flow.times.tolist()
    actual = states[-1][1].float()
    expected = flow.sample(3, seed=2)
    torch.testing.assert_close(actual, expected)


def test_data_come_back_from_their_noise_given_a_class_by_its_name():
    data = space_data((2,), labels=True, n=60)
    torch.manual_seed(0)
    method = pf.recipes.flow(data.space, "tiny").method
    flow = method.transport().with_solver("rk4", 40)
    for weights in flow.parameters():
        torch.nn.init.normal_(weights, std=0.1)
    x = torch.from_numpy(data.train.x[:3])
    name = data.space.classes[1]
    z = flow.encode(x, {"label": name})
    numbers = {"label": torch.ones(3, dtype=torch.int64)}
    expected = flow.encode(x, numbers)
    torch.testing.assert_close(z, expected, rtol=0, atol=0)
    actual = log_prob(flow, x, {"label": [name] * 3}, steps=4)
    expected = log_prob(flow, x, numbers, steps=4)
    torch.testing.assert_close(actual, expected)
    assert apart(z, flow.encode(x)) > 1e-3
    actual = flow.space.to_data(flow(z, numbers))
    torch.testing.assert_close(actual, x, rtol=0, atol=1e-2)
    with pytest.raises(UsageError, match='no class "nobody"'):
        flow.encode(x, {"label": "nobody"})
    conditions = flow.read(3, {"label": 1, "label_null": False})
    assert conditions.keys() == {"label", "label_null"}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("path", [VP(), Linear(), Cosine(), VE(), Tabulated(linear_betas())])
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_grids_fall_from_the_end_to_zero(name, path, steps):
    times = grid_times(name, path, steps)
    assert len(times) == steps + 1
    assert times[0] == path.ends[1]
    assert times[-1] == 0
    assert (np.diff(times) < 0).all()
    assert (times[:-1] >= path.ends[0]).all()


def test_karras_grid_on_its_own_path_is_the_papers():
    sigma = 80 * karras(VE(), 18)[:-1]
    seventh_roots = np.linspace(80 ** (1 / 7), 0.002 ** (1 / 7), 18)
    np.testing.assert_allclose(sigma, seventh_roots**7, rtol=1e-10)


def test_a_thousand_steps_on_the_table_are_its_levels():
    actual = uniform_time(Tabulated(linear_betas()), 1000)
    expected = np.arange(1000, -1, -1) / 1000
    np.testing.assert_array_equal(actual, expected)


def test_given_times_are_the_grid():
    denoiser = ring(VP())
    times = [1.0, 0.5, 0.2, 0.0]
    given = Flow(denoiser, DPM(), 3, times)
    assert given.times.tolist() == times
    named = Flow(denoiser, DPM(), 3, "log_snr")
    same = Flow(denoiser, DPM(), 3, named.times)
    torch.testing.assert_close(same.sample(4), named.sample(4), rtol=0, atol=0)


def test_a_walk_is_differentiated_through_its_times():
    flow = Flow(ring(VP()), DPM(3), 4, "log_snr")
    x = torch.randn(5, 2, dtype=torch.float64)

    def end(inner):
        times = torch.cat([torch.tensor([1.0]), inner, torch.zeros(1)])
        *_, (_, state) = flow.walk(x, times)
        return state.sum()

    inner = torch.tensor(flow.times[1:-1].copy(), requires_grad=True)
    assert torch.autograd.gradcheck(end, inner, atol=1e-6)


@pytest.mark.parametrize("number", ["0", "-1", "nan", "inf", "abc"])
@pytest.mark.parametrize("grid", ["shifted", "karras"])
def test_a_grid_refuses_numbers_that_make_no_grid(grid, number):
    with pytest.raises(UsageError, match=r"between 0.001 and|no number"):
        grid_times(f"{grid}:{number}", Linear(), 5)


def test_the_flows_grid_of_25_steps_is_what_it_was():
    u = np.arange(25, -1, -1) / 25
    expected = 0.999 * 0.3 * u / (1 + (0.3 - 1) * u)
    actual = grid_times("shifted:0.3", Linear(), 25)
    np.testing.assert_array_equal(actual, expected)
