"""Solvers: orders, steps in closed form, moments, calls, solves in both directions, and
time grids.
"""

import math
from collections import deque

import numpy as np
import pytest
import torch

import pushforward as pf
from pushforward import solvers
from pushforward.draws import ExampleDraws
from pushforward.errors import Diverged, UsageError
from pushforward.paths import VE, VP, Cosine, Linear, Tabulated, linear_betas
from pushforward.registries import SOLVERS
from pushforward.solvers import DDIM, DEIS, DPM, RK4, Euler, Heun
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
FIXED = [
    "ddim",
    "euler",
    "heun",
    "midpoint",
    "rk4",
    "ipndm:1",
    "ipndm:2",
    "ipndm:3",
    "ipndm:4",
    "singlestep:2",
    "singlestep:3",
]
FIXED += [f"{name}:{order}" for name in ("dpm", "deis", "unipc") for order in (1, 2, 3)]
STOCHASTIC = [
    "ancestral",
    "ddim:0.5",
    "dpmsde",
    "eulermaruyama",
    "eulermaruyama:2",
    "churn:3",
    "predictorcorrector",
]


def test_every_solver_is_tested():
    tested = {name.partition(":")[0] for name in [*FIXED, *STOCHASTIC, "adaptive"]}
    assert tested | {"jump"} == set(SOLVERS)  # jump: test_tables.py


IN_TIME = ("euler", "heun", "midpoint", "rk4")
"""Solvers of the velocity in t, whose errors are others on each path; those of all others depend on
the log-SNR alone.
"""
BETWEEN = {"rk4": (40, 80), "midpoint": (128, 256), "ipndm:3": (128, 256), "unipc:3": (500, 1000)}
"""Numbers of steps between which an order is measured, of solvers whose high order reaches rounding
early, or sets in late.
"""


@pytest.mark.parametrize(
    ("name", "path"),
    [(name, path) for name in FIXED for path in (PATHS if name in IN_TIME else ["vp"])],
)
def test_measured_order_is_the_declared_one(name, path):
    check_order(solvers.named(name), path, BETWEEN.get(name, (64, 128)))


@pytest.mark.parametrize("name", [name for name in FIXED if name not in IN_TIME])
def test_a_solver_in_log_snr_is_the_same_on_every_path(name):
    """Steps of equal log-SNR end at the same x_t / alpha to rounding, so that an order measured on
    one path is that on all.
    """
    ends = [
        end(ring(path), solvers.named(name), 16) / path.at(path.time(STOPPED)).alpha
        for path in PATHS.values()
    ]
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

    denoiser = pf.Denoiser(Network(), PATHS[path], "v", ring(PATHS[path]).space)
    z = ExampleDraws(0, 50).normal((2,))
    (low, high) = PATHS[path].ends
    for name in FIXED:
        flow = Flow(denoiser, solvers.named(name), 4)
        actual = flow(z).double()
        expected = flow(z.double())
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5, msg=name)
        if name.startswith(("deis", "ipndm", "singlestep")):
            up = solve(flow, z, low, high), solve(flow, z.double(), low, high)
            actual = up[0].double() / flow.width
            torch.testing.assert_close(actual, up[1] / flow.width, rtol=0, atol=3e-5, msg=name)


@pytest.mark.parametrize("path", PATHS)
def test_the_adaptive_solver_keeps_its_tolerance(path):
    for tolerance in (1e-4, 1e-7):
        adaptive = end(ring(PATHS[path]), solvers.Adaptive(tolerance, tolerance), 2)
        largest = (adaptive - truth(path)).abs().max()
        assert largest < 100 * tolerance


@pytest.mark.parametrize("steps", [2, 3, 9])
@pytest.mark.parametrize("h", [0.01, 0.5, 4.0])
def test_a_leap_is_exact_for_polynomials(steps, h):
    """Against SciPy's quadrature of the integral in the module's head, for both kinds and unequal
    nodes.
    """
    from scipy.integrate import quad

    from pushforward.solvers.exponential import exponential_step

    denoiser = ring(Cosine())
    lam = torch.tensor([-1.0 - 0.7 * h, -1.0 - 0.3 * h, -1.0], dtype=torch.float64)
    t, s = (
        denoiser.path.time(2 * torch.tensor([at], dtype=torch.float64)) for at in (-1.0, -1.0 + h)
    )
    polynomial = lambda at: 0.3 - 0.8 * at + 0.5 * at**2  # noqa: E731
    x = torch.full((1, 1), 0.7, dtype=torch.float64)
    nodes = [(at[None], polynomial(at).reshape(1, 1)) for at in lam]
    here = denoiser.path.at(t)
    there = denoiser.path.at(s)
    data = quad(lambda at: math.exp(at) * polynomial(at), -1, -1 + h, epsabs=1e-13)[0]
    noise = quad(lambda at: math.exp(-at) * polynomial(at), -1, -1 + h, epsabs=1e-13)[0]
    wanted = {
        "data": there.sigma / here.sigma * 0.7 + there.sigma * data,
        "noise": there.alpha / here.alpha * 0.7 - there.alpha * noise,
    }
    for kind, value in wanted.items():
        actual = exponential_step(denoiser, kind, x, t, s, nodes).item()
        assert actual == pytest.approx(value.item(), rel=1e-10)


def test_ddim_on_the_linear_path_is_euler_on_the_velocity():
    denoiser = ring(Linear())
    difference = (end(denoiser, DDIM(), 37) - end(denoiser, Euler(), 37)).abs().max()
    assert difference < 1e-12


def test_first_order_dpm_is_ddim():
    denoiser = ring(VP())
    largest = (end(denoiser, DDIM(), 21) - end(denoiser, DPM(order=1), 21)).abs().max()
    assert largest < 1e-12


def test_ancestral_step_has_the_posterior_of_ddpm():
    """Ho et al. (2020), eq. 7, from the betas themselves."""
    betas = torch.tensor(linear_betas(1000), dtype=torch.float64)
    bar = torch.cumprod(1 - betas, 0)
    i = 600  # from level 601 to level 600
    denoiser = Mixture(
        Tabulated(betas.tolist()), [[0.7, -0.2]], 1e-9
    )  # the data are one known point
    n = 40_000
    x_t = torch.tensor([[0.3, 1.1]], dtype=torch.float64)
    t = torch.full((n,), (i + 1) / 1000, dtype=torch.float64)
    s = torch.full((n,), i / 1000, dtype=torch.float64)
    x, _ = solvers.Ancestral().step(
        denoiser, x_t.expand(n, 2), t, s, None, ExampleDraws(0, n), None
    )
    point = denoiser.centres[0]
    a = bar[i - 1].sqrt() * betas[i] / (1 - bar[i])
    b = (1 - betas[i]).sqrt() * (1 - bar[i - 1]) / (1 - bar[i])
    std = (betas[i] * (1 - bar[i - 1]) / (1 - bar[i])).sqrt()
    largest = (x.mean(0) - (a * point + b * x_t[0])).abs().max()
    expected = 4 * std / math.sqrt(n)
    assert largest < expected
    largest = (x.std(0) / std - 1).abs().max()
    expected = 4 / math.sqrt(2 * n)
    assert largest < expected


def test_the_stochastic_exponential_step_of_constant_data_is_ancestral():
    x = torch.randn(6, 2, dtype=torch.float64)
    t, s = (torch.full((6,), at, dtype=torch.float64) for at in (0.7, 0.6))
    exponential, ancestral = (
        solver.step(ring(VP()), x, t, s, None, ExampleDraws(0, 6), None)[0]
        for solver in (solvers.DPMSDE(1), solvers.Ancestral())
    )
    torch.testing.assert_close(exponential, ancestral, rtol=0, atol=1e-12)


def test_euler_maruyama_without_noise_is_euler():
    largest = (
        (end(ring(Linear()), solvers.EulerMaruyama(0.0), 21) - end(ring(Linear()), Euler(), 21))
        .abs()
        .max()
    )
    assert largest < 1e-12


@pytest.mark.parametrize(
    ("low", "high", "raised"), [(0.05, 50, True), (2, 50, False), (0.05, 0.5, False)]
)
def test_churn_adds_noise_between_its_levels_alone(low, high, raised):
    x = torch.randn(6, 2, dtype=torch.float64)
    t = torch.full((6,), 0.5, dtype=torch.float64)
    s = torch.full((6,), 0.4, dtype=torch.float64)
    ends = [
        solvers.Churn(churn, low, high).step(
            ring(Linear()), x, t, s, None, ExampleDraws(0, 6), None
        )[0]
        for churn in (0.0, 3.0)
    ]
    actual = bool(((ends[0] - ends[1]).abs() > 1e-3).any())
    assert actual == raised, "the level is 1"


@pytest.mark.parametrize(
    "path", [Linear(), VP(), Tabulated(linear_betas())], ids=lambda path: type(path).__name__
)
def test_churn_raises_no_level_above_the_end_of_its_path(path):
    x = torch.randn(6, 2, dtype=torch.float64)
    t = torch.full((6,), path.ends[1], dtype=torch.float64)
    s = torch.full((6,), 0.9, dtype=torch.float64)
    ends = [
        solvers.Churn(churn, high=1e6).step(ring(path), x, t, s, None, ExampleDraws(0, 6), None)[0]
        for churn in (0.0, 100.0)
    ]
    torch.testing.assert_close(*ends, rtol=1e-6, atol=1e-6)


STEPS = {
    "ancestral": 400,
    "ddim:0.5": 200,
    "dpmsde": 100,
    "eulermaruyama": 200,
    "eulermaruyama:2": 375,
    "churn:3": 75,
}


def test_the_gaussian_starts_with_the_covariance_that_it_has_there():
    """A deterministic solver forgets nothing of its start, which is half data here."""
    _, covariance, _, wanted = moments(DPM(3), VP(), 40, 20_000, start=-1.0)
    torch.testing.assert_close(covariance, wanted, rtol=0, atol=0.03)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_a_stochastic_solver_keeps_mean_and_covariance(name):
    """benchmarks/solver_orders.py measures the bias, which falls with the steps."""
    check_moments(
        solvers.named(name), STEPS.get(name, 200), 0.01 if name == "predictorcorrector" else 0.005
    )


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


WAYS = {"linear": Linear(), "vp": VP(), "ve": VE(0.002, 80), "tabulated": Tabulated(linear_betas())}
BACK = {"rk4": RK4(), "deis": DEIS(3), "adaptive": solvers.Adaptive(1e-4, 1e-4)}
INVERTED = [(path, solver) for path in WAYS for solver in ("rk4", "deis")] + [
    ("linear", "adaptive")
]


@pytest.mark.parametrize(("path", "solver"), INVERTED)
def test_encode_and_the_flow_are_inverse(path, solver):
    path = WAYS[path]
    solver = BACK[solver]
    denoiser = ring(path)
    flow = Flow(denoiser, solver, 100, "log_snr")
    torch.manual_seed(0)
    x = denoiser.centres[torch.arange(64) % 5] + 0.5 * torch.randn(64, 2, dtype=torch.float64)
    z, moved = flow.encode(torch.cat([x, x + 1])).chunk(2)
    actual = (flow(z) - x).square().mean().sqrt()
    assert actual < 1e-3
    assert 0.7 < z.std() < 1.3
    largest = (z.norm(dim=1) - moved.norm(dim=1)).abs().max()
    assert largest > 0.1


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


@pytest.mark.parametrize("name", [name for name, part in SOLVERS.items() if not part.jumps])
def test_rows_depend_on_their_seed_alone(name):
    """An adaptive solver's rows share their steps, so they agree to its tolerance only."""
    flow = Flow(ring(VP()), solvers.named(name), 6)
    atol = 2e-3 if name == "adaptive" else 1e-5
    actual = flow.sample(8, seed=0)[4:]
    expected = flow.sample(4, seed=4)
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)
    actual = flow.sample(8, seed=0, batch=3)
    expected = flow.sample(8, seed=0)
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)
    largest = (flow.sample(4, seed=0) - flow.sample(4, seed=1)).abs().max()
    assert largest > 0.1


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
    flow = pf.recipes.flow(data.space, "tiny").method.transport().with_solver("rk4", 40)
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
    largest = (z - flow.encode(x)).abs().max()
    assert largest > 1e-3
    actual = flow.space.to_data(flow(z, numbers))
    torch.testing.assert_close(actual, x, rtol=0, atol=1e-2)
    with pytest.raises(UsageError, match='no class "nobody"'):
        flow.encode(x, {"label": "nobody"})
    actual = flow.read(3, {"label": 1, "label_null": False}).keys()
    assert actual == {"label", "label_null"}


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
    i = np.arange(18)
    wanted = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(sigma, wanted, rtol=1e-10)


def test_a_thousand_steps_on_the_table_are_its_levels():
    actual = uniform_time(Tabulated(linear_betas()), 1000)
    expected = np.arange(1000, -1, -1) / 1000
    np.testing.assert_array_equal(actual, expected)


def test_given_times_are_the_grid():
    given = Flow(ring(VP()), DPM(), 3, [1.0, 0.5, 0.2, 0.0])
    assert given.times.tolist() == [1.0, 0.5, 0.2, 0.0]
    named = Flow(ring(VP()), DPM(), 3, "log_snr")
    actual = Flow(ring(VP()), DPM(), 3, named.times).sample(4)
    torch.testing.assert_close(actual, named.sample(4), rtol=0, atol=0)


def test_a_walk_is_differentiated_through_its_times():
    flow = Flow(ring(VP()), DPM(3), 4, "log_snr")
    x = torch.randn(5, 2, dtype=torch.float64)

    def end(inner):
        times = torch.cat([torch.tensor([1.0]), inner, torch.zeros(1)])
        return deque(flow.walk(x, times), maxlen=1).pop()[1].sum()

    inner = torch.tensor(flow.times[1:-1].copy(), requires_grad=True)
    assert torch.autograd.gradcheck(end, inner, atol=1e-6)


@pytest.mark.parametrize("number", ["0", "-1", "nan", "inf", "abc"])
@pytest.mark.parametrize("grid", ["shifted", "karras"])
def test_a_grid_refuses_numbers_that_make_no_grid(grid, number):
    with pytest.raises(UsageError, match=r"between 0.001 and|no number"):
        grid_times(f"{grid}:{number}", Linear(), 5)


def test_the_flows_grid_of_25_steps_is_what_it_was():
    u = np.arange(25, -1, -1) / 25
    actual = grid_times("shifted:0.3", Linear(), 25)
    np.testing.assert_array_equal(actual, 0.999 * 0.3 * u / (1 + (0.3 - 1) * u))
