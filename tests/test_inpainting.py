"""Inpainting and super-resolution, on models whose answers are known in closed form."""

import math

import numpy as np
import pytest
import torch
from programs.edits import inpaint
from programs.gaussian_flows import IDS, PATHS, Gaussian, pictures, rows, seen
from scipy.integrate import solve_ivp
from torch.nn import functional as F

from pushforward import solvers
from pushforward.data import ImageSpace, VectorSpace
from pushforward.draws import ExampleDraws
from pushforward.editing import Resampled, inpainting, super_resolution
from pushforward.paths import VP, Linear
from pushforward.transports import Flow


class Still(ExampleDraws):
    """Draws that are zero: under a linear denoiser what comes out is then the mean of what
    would.
    """

    def normal(self, shape):
        return torch.zeros(self.n, *shape)


@pytest.mark.parametrize("path", PATHS, ids=IDS)
@pytest.mark.parametrize(
    "solver",
    [None, solvers.Heun(), solvers.DPM(3), solvers.UniPC()],
    ids=["default", "heun", "dpm", "unipc"],
)
@pytest.mark.parametrize("rounds", [1, 3])
def test_what_is_known_stays(path, solver, rounds):
    flow = rows(path, steps=8)
    mask = torch.tensor([False, True, True])
    x = torch.tensor([2.0, -9.0, 100.0])
    filled = inpaint(flow, x, mask, 7, solver=solver, rounds=rounds)
    expected = torch.full((7,), 2.0)
    torch.testing.assert_close(filled[:, 0], expected, atol=1e-5, rtol=0)
    other = inpaint(flow, torch.tensor([2.0, 5.0, 0.0]), mask, 7, solver=solver, rounds=rounds)
    torch.testing.assert_close(filled, other, msg="what stands under the mask has no effect")


def test_independent_entries_are_filled_as_if_nothing_were_known():
    flow = rows(covariance=np.diag([0.5, 1.2, 0.8]), steps=60)
    filled = inpaint(
        flow,
        torch.tensor([5.0, 0.0, 0.0]),
        torch.tensor([False, True, True]),
        1000,
        seed=7,
        rounds=1,
        batch=1000,
    )
    free = Flow(flow.denoiser, solvers.Ancestral(), 60, "log_snr").sample(1000, seed=7, batch=1000)
    torch.testing.assert_close(filled[:, 1:], free[:, 1:], atol=1e-4, rtol=1e-4)
    mean = flow.space.to_data(flow.denoiser.mean[None].float())[0, 1:]
    std = torch.tensor(flow.space.std)[1:] * torch.tensor([1.2, 0.8]).sqrt()
    assert ((filled[:, 1:].mean(0) - mean).abs() < 3.5 * std / math.sqrt(1000)).all()
    # ancestral steps of finite length lose some of the spread
    assert ((filled[:, 1:].std(0) / std - 1).abs() < 0.04 + 3.5 / math.sqrt(2000)).all()


def led_mean(correlation, known, times):
    """The mean of the unknown entry of two, under the ODE on the linear path with the known entry's
    data prediction replaced.
    """
    covariance = np.array([[1, correlation], [correlation, 1]])

    def data(t, state):
        alpha = 1 - t
        return (
            alpha
            * covariance
            @ np.linalg.solve(alpha**2 * covariance + t**2 * np.eye(2), [alpha * known, state[0]])
        )[1]

    solved = solve_ivp(
        lambda t, y: (y - data(t, y)) / t, (times[0], times[-2]), [0.0], rtol=1e-8, atol=1e-10
    )
    return data(times[-2], solved.y[:, -1])


@pytest.mark.parametrize("correlation", [-0.5, 0.8])
def test_the_led_ode_is_solved_for_what_is_unknown(correlation):
    space = VectorSpace(shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0))
    flow = Flow(
        Gaussian(Linear(), [0, 0], [[1, correlation], [correlation, 1]], space),
        solvers.Heun(),
        150,
        "log_snr",
    )
    led = inpainting(
        flow, torch.tensor([1.5, 0.0]), torch.tensor([False, True]), solver=solvers.Heun(), rounds=1
    )
    # the noise of the known entry is what its x_t says, so it starts where the observation puts it
    k = flow.denoiser.path.at(torch.tensor(led.times[0]))
    solved = led(torch.tensor([[1.5 * float(k.alpha / k.sigma), 0.0]], dtype=torch.float64))
    wanted = led_mean(correlation, 1.5, led.times)
    actual = float(solved[0, 1])
    assert actual == pytest.approx(wanted, abs=1e-3)
    assert 0.2 < wanted / (1.5 * correlation) < 0.9, (
        "it is biased towards the marginal mean, so that rounds are of use"
    )


def test_rounds_bring_the_unknown_to_its_conditional_mean():
    space = VectorSpace(shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0))
    flow = Flow(Gaussian(Linear(), [0, 0], [[1, 0.8], [0.8, 1]], space), solvers.Heun(), 25)
    shares = []
    for rounds in (1, 2, 5, 20):
        led = inpainting(flow, torch.tensor([1.5, 0.0]), torch.tensor([False, True]), rounds=rounds)
        shares.append(float(led(torch.zeros(1, 2), None, Still(0, 1))[0, 1]) / 1.2)
        assert led.calls == 24 * rounds + 1
    ode = inpainting(
        flow, torch.tensor([1.5, 0.0]), torch.tensor([False, True]), solver=solvers.Heun(), rounds=1
    )
    shares.insert(0, float(ode(torch.zeros(1, 2))[0, 1]) / 1.2)
    assert shares == sorted(shares), "the ODE, then ancestral steps in more and more rounds"
    assert shares[0] < 0.5
    assert shares[3] == pytest.approx(0.89, abs=0.03), (
        "as the docstring of Resampled says of 5 rounds"
    )
    assert 0.95 < shares[4] < 1.02


def test_noising_back_gives_the_marginal_of_the_earlier_time():
    """Resampled, with steps that leave x where exact data stand, must give x_t = alpha_t x +
    sigma_t z again.
    """
    path = VP()
    x = 1.7
    before = []

    class Exact(solvers.Solver):
        order = 1

        def step(self, denoiser, state, t, s, condition, draws, memory):
            before.append(state)
            k = path.at(s).over(state)
            return k.alpha * x + k.sigma * draws.normal(state.shape[1:]).double(), None

    n = 20000
    flow = rows(path)
    t = torch.full((n,), 0.6, dtype=torch.float64)
    s = torch.full((n,), 0.2, dtype=torch.float64)
    Resampled(Exact(), 2).step(
        flow.denoiser, torch.zeros(n, 3, dtype=torch.float64), t, s, None, ExampleDraws(0, n), None
    )
    k = path.at(torch.tensor(0.6))
    mean = float(before[1].mean())
    assert mean == pytest.approx(float(k.alpha) * x, abs=3.5 * float(k.sigma) / math.sqrt(3 * n))
    std = float(before[1].std())
    assert std == pytest.approx(float(k.sigma), rel=3.5 / math.sqrt(6 * n))


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_super_resolution_averages_to_the_image(path):
    flow = pictures(path=path)
    low = flow.space.to_data(seen(4, (1, 2, 2, 3)).reshape(1, 2, 2, 3))[0]
    for solver in (None, solvers.DPM()):
        led = super_resolution(flow, low, solver=solver)
        samples = led.sample(6, seed=1)
        actual = F.avg_pool2d(samples, 2)
        expected = low.expand(6, -1, -1, -1)
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)
        smallest = samples.reshape(6, 2, 2, 2, 3, 2).std(dim=(3, 5)).min()
        assert smallest > 1e-4, "within a block there is detail"
    space = ImageSpace(shape=(2, 4, 6), mean=(0.2, 0.6), std=(0.3, 0.1), low=(0, 0), high=(1, 1))
    bounded = pictures(space=space)
    low = low.clamp(0, 1)
    samples = super_resolution(bounded, low)(seen(3, (2, 4, 6), 5), None, ExampleDraws(3, 5))
    wanted = bounded.space.to_model(low[None]).expand(5, -1, -1, -1)
    actual = F.avg_pool2d(samples, 2)
    torch.testing.assert_close(actual, wanted, atol=1e-5, rtol=0)
