import math

import numpy as np
import pytest
import torch
from closed_form import Mixture, ring

from pushforward import solvers
from pushforward.draws import RowDraws
from pushforward.errors import Diverged, UsageError
from pushforward.paths import VE, VP, Cosine, Linear, Tabulated, linear_betas
from pushforward.solvers import DDIM, DPM, RK4, Euler, Heun, grids
from pushforward.transports import Flow

DETERMINISTIC = {name: part for name, part in solvers.registry().items() if not part().stochastic}
PATHS = {"vp": VP(), "linear": Linear(), "cosine": Cosine(), "ve": VE(0.02, 20)}
START, STOP = -6.0, 7.0


def ends(path):
    return tuple(path.time(torch.tensor([START, STOP], dtype=torch.float64)).tolist())


def solve(denoiser, solver, steps, n=48):
    torch.manual_seed(1)
    start, stop = ends(denoiser.path)
    k = denoiser.path.at(torch.tensor([start], dtype=torch.float64))
    x = torch.randn(n, 2, dtype=torch.float64) * k.r
    return Flow(denoiser, solver, steps).solve(x, start, stop)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_measured_order_is_the_declared_one(path, name):
    denoiser, solver = ring(path), DETERMINISTIC[name]()
    truth = solve(denoiser, RK4(), 512)
    counts = (40, 80) if solver.order == 4 else (128, 256)
    errors = [(solve(denoiser, solver, n) - truth).square().mean().sqrt().item() for n in counts]
    measured = math.log2(errors[0] / errors[1])
    assert abs(measured - solver.order) < 0.1, f"{name}: measured {measured:.3f}, declared {solver.order}"


def test_ddim_on_the_linear_path_is_euler_on_the_velocity():
    denoiser = ring(Linear())
    difference = (solve(denoiser, DDIM(), 37) - solve(denoiser, Euler(), 37)).abs().max()
    assert difference < 1e-12


def test_first_order_dpm_is_ddim():
    denoiser = ring(VP())
    assert (solve(denoiser, DDIM(), 21) - solve(denoiser, DPM(order=1), 21)).abs().max() < 1e-12


def test_ancestral_step_has_the_posterior_of_ddpm():
    """Ho et al. (2020), eq. 7, from the betas themselves."""
    betas = torch.tensor(linear_betas(1000), dtype=torch.float64)
    bar = torch.cumprod(1 - betas, 0)
    i = 600  # from level 601 to level 600
    denoiser = Mixture(Tabulated(betas.tolist()), [[0.7, -0.2]], 1e-9)  # the data are one known point
    n, x_t = 40_000, torch.tensor([[0.3, 1.1]], dtype=torch.float64)
    t, s = torch.full((n,), (i + 1) / 1000, dtype=torch.float64), torch.full((n,), i / 1000, dtype=torch.float64)
    x, _ = solvers.Ancestral().step(denoiser, x_t.expand(n, 2), t, s, None, RowDraws(0, n), None)
    point = denoiser.centres[0]
    a, b = bar[i - 1].sqrt() * betas[i] / (1 - bar[i]), (1 - betas[i]).sqrt() * (1 - bar[i - 1]) / (1 - bar[i])
    std = (betas[i] * (1 - bar[i - 1]) / (1 - bar[i])).sqrt()
    assert (x.mean(0) - (a * point + b * x_t[0])).abs().max() < 4 * std / math.sqrt(n)
    assert (x.std(0) / std - 1).abs().max() < 4 / math.sqrt(2 * n)


@pytest.mark.parametrize("solver", [DDIM(0.5), solvers.Ancestral(), Heun(), DPM()])
@pytest.mark.parametrize("path", [VP(), Linear(), Tabulated(linear_betas())])
def test_a_gaussian_is_sampled_with_its_mean_and_variance(path, solver):
    denoiser = Mixture(path, [[1.5, -0.5]], 0.6)
    flow = Flow(denoiser, solver, 120, "log_snr")
    n = 2000
    draws = RowDraws(3, n)
    x = flow(draws.normal((2,)), None, draws)
    assert (x.mean(0) - torch.tensor([1.5, -0.5])).abs().max() < 4 * 0.6 / math.sqrt(n) + 0.01
    assert (x.std(0) / 0.6 - 1).abs().max() < 4 / math.sqrt(2 * n) + 0.02


@pytest.mark.parametrize("name", grids.GRIDS)
@pytest.mark.parametrize("path", [VP(), Linear(), Cosine(), VE(), Tabulated(linear_betas())])
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_grids_fall_from_the_end_to_zero(name, path, steps):
    times = grids.times(name, path, steps)
    assert len(times) == steps + 1
    assert times[0] == path.ends[1]
    assert times[-1] == 0
    assert (np.diff(times) < 0).all()
    assert (times[:-1] >= path.ends[0]).all()


def test_karras_grid_on_its_own_path_is_the_papers():
    sigma = 80 * grids.karras(VE(), 18)[:-1]
    i = np.arange(18)
    wanted = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    np.testing.assert_allclose(sigma, wanted, rtol=1e-10)


def test_a_thousand_steps_on_the_table_are_its_levels():
    np.testing.assert_array_equal(grids.uniform_time(Tabulated(linear_betas()), 1000), np.arange(1000, -1, -1) / 1000)


class Counted(Mixture):
    count = 0

    def predict(self, *args):
        self.count += 1
        return super().predict(*args)


@pytest.mark.parametrize("name", solvers.registry())
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_calls_are_what_is_said(name, steps):
    denoiser = Counted(VP(), [[0.0, 1.0]], 0.5)
    flow = Flow(denoiser, solvers.named(name), steps)
    flow.sample(3)
    assert denoiser.count == flow.calls


@pytest.mark.parametrize(
    "bad", [lambda: solvers.named("hein"), lambda: grids.times("tim", VP(), 3), lambda: grids.times("time", VP(), 0)]
)
def test_bad_names_and_counts(bad):
    with pytest.raises(UsageError):
        bad()


@pytest.mark.parametrize("number", ["0", "-1", "nan", "inf", "abc"])
@pytest.mark.parametrize("grid", ["shifted", "karras"])
def test_a_grid_refuses_numbers_that_make_no_grid(grid, number):
    with pytest.raises(UsageError, match=r"between 0.001 and|no number"):
        grids.times(f"{grid}:{number}", Linear(), 5)


@pytest.mark.parametrize("grid", ["time", "log_snr", "karras", "shifted:0.3", "shifted", "shifted:0.05"])
@pytest.mark.parametrize("path", [VP(), Linear(), Cosine(), VE(), Tabulated(linear_betas())])
@pytest.mark.parametrize("steps", [300, 301, 2000])
def test_with_many_steps_the_inner_times_stay_inside_the_ends(grid, path, steps):
    times = grids.times(grid, path, steps)
    assert len(times) == steps + 1
    assert times[0] == pytest.approx(path.ends[1], rel=1e-15)
    assert times[-2] >= path.ends[0]
    assert (np.diff(times) < 0).all()


def test_the_flows_grid_of_25_steps_is_what_it_was():
    u = np.arange(25, -1, -1) / 25
    np.testing.assert_array_equal(grids.times("shifted:0.3", Linear(), 25), 0.999 * 0.3 * u / (1 + (0.3 - 1) * u))


def test_encode_inverts_the_flow():
    flow = Flow(ring(Linear()), RK4(), 60, "log_snr")
    torch.manual_seed(0)
    z = torch.randn(64, 2, dtype=torch.float64)
    again = flow.encode(flow(z))
    assert (again - z).square().mean().sqrt() < 0.01


@pytest.mark.parametrize("solver", [DDIM(1.0), solvers.Ancestral()])
def test_a_stochastic_solver_without_draws_is_refused(solver):
    with pytest.raises(UsageError, match="needs draws"):
        Flow(ring(VP()), solver, 3)(torch.randn(4, 2))


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"batch": 0}, "batch must be at least 1"),
        ({"batch": -1}, "batch must be at least 1"),
        ({"batch": 1.5}, "whole number"),
        ({"n": -3}, "n must be at least 0"),
        ({"n": 2.5}, "whole number"),
        ({"seed": 0.5}, "whole number"),
    ],
)
def test_a_stream_refuses_numbers_that_cannot_be_at_once(given, says):
    flow = Flow(ring(Linear()), Heun(), 2)
    with pytest.raises(UsageError, match=says):
        flow.stream(**{"n": 5, **given})


@pytest.mark.parametrize("seed", [-7, 2**63, 2**80, np.int64(3)])
def test_any_whole_seed_draws_rows_of_its_own(seed):
    flow = Flow(ring(Linear()), Heun(), 2)
    torch.testing.assert_close(flow.sample(3, seed=seed)[1:], flow.sample(2, seed=int(seed) + 1))


def test_samples_that_are_not_finite_are_refused():
    class Broken(Mixture):
        def predict(self, kind, x, *rest):
            return x / 0

    flow = Flow(Broken(Linear(), [[0.0, 1.0]], 0.5), Heun(), 2)
    with pytest.raises(Diverged, match="not finite"):
        flow.sample(4)
    with pytest.raises(Diverged, match="not finite"):
        list(flow.trajectory(4))


def test_encode_refuses_stochastic_solvers():
    with pytest.raises(UsageError, match="no inverse"):
        Flow(ring(Linear()), solvers.Ancestral(), 5).encode(torch.zeros(1, 2))


@pytest.mark.parametrize("name", solvers.registry())
def test_steps_are_differentiable(name):
    z = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    flow = Flow(ring(VP()), solvers.named(name), 4)
    flow(z, None, RowDraws(0, 3)).sum().backward()
    assert z.grad.abs().min() > 0


@pytest.mark.parametrize("name", solvers.registry())
def test_rows_depend_on_their_seed_alone(name):
    flow = Flow(ring(VP()), solvers.named(name), 6)
    torch.testing.assert_close(flow.sample(8, seed=0)[4:], flow.sample(4, seed=4), rtol=0, atol=1e-5)
    torch.testing.assert_close(flow.sample(8, seed=0, batch=3), flow.sample(8, seed=0), rtol=0, atol=1e-5)
    assert (flow.sample(4, seed=0) - flow.sample(4, seed=1)).abs().max() > 0.1


def test_trajectory_ends_at_the_sample():
    flow = Flow(ring(VP()), DPM(), 5)
    states = list(flow.trajectory(3, seed=2))
    assert [t for t, _ in states] == flow.times.tolist()
    torch.testing.assert_close(states[-1][1].float(), flow.sample(3, seed=2))
