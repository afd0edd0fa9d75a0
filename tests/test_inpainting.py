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

every_path = pytest.mark.parametrize("path", PATHS, ids=IDS)


class Still(ExampleDraws):
    """Draws that are zero: under a linear denoiser what comes out is then the mean of what
    would.
    """

    def normal(self, shape):
        return torch.zeros(self.n, *shape)


UNKNOWN = torch.tensor([False, True, True])


@every_path
@pytest.mark.parametrize(
    "solver",
    [None, solvers.Heun(), solvers.DPM(3), solvers.UniPC()],
    ids=["default", "heun", "dpm", "unipc"],
)
@pytest.mark.parametrize("rounds", [1, 3])
def test_what_is_known_stays(path, solver, rounds):
    flow = rows(path, steps=8)

    def filled(*x):
        return inpaint(flow, torch.tensor(x), UNKNOWN, 7, solver=solver, rounds=rounds)

    actual = filled(2.0, -9.0, 100.0)
    expected = torch.full((7,), 2.0)
    torch.testing.assert_close(actual[:, 0], expected, atol=1e-5, rtol=0)
    other = filled(2.0, 5.0, 0.0)
    torch.testing.assert_close(actual, other, msg="what stands under the mask has no effect")


def test_independent_entries_are_filled_as_if_nothing_were_known():
    n = 1000
    variances = np.array([0.5, 1.2, 0.8])
    flow = rows(covariance=np.diag(variances), steps=60)
    x = torch.tensor([5.0, 0.0, 0.0])
    filled = inpaint(flow, x, UNKNOWN, n, seed=7, rounds=1, batch=n)[:, 1:]
    ancestral = Flow(flow.denoiser, solvers.Ancestral(), 60, "log_snr")
    free = ancestral.sample(n, seed=7, batch=n)[:, 1:]
    torch.testing.assert_close(filled, free, atol=1e-4, rtol=1e-4)
    filled = filled.numpy()
    data_mean = flow.space.to_data(flow.denoiser.mean[None].float())
    mean = data_mean[0, 1:].numpy()
    std = flow.space.std[1:] * np.sqrt(variances[1:])
    mean_error = np.abs(filled.mean(axis=0) - mean) / std
    assert mean_error.max() < 3.5 / math.sqrt(n)
    std_ratio = filled.std(axis=0, ddof=1) / std
    std_error = np.abs(std_ratio - 1)
    # ancestral steps of finite length lose some of the spread
    assert std_error.max() < 0.04 + 3.5 / math.sqrt(2 * n)


def low_resolution(space):
    """An image of half the width and height."""
    x = seen(4, (1, 2, 2, 3)).reshape(1, 2, 2, 3)
    return space.to_data(x)[0]


def led_mean(correlation, known, times):
    """The mean of the unknown entry of two, under the ODE on the linear path with the known entry's
    data prediction replaced.
    """
    covariance = np.array([[1, correlation], [correlation, 1]])

    def data(t, unknown):
        alpha = 1 - t
        noisy_covariance = alpha**2 * covariance + t**2 * np.eye(2)
        x_t = np.array([alpha * known, unknown])
        mean = alpha * covariance @ np.linalg.solve(noisy_covariance, x_t)
        return mean[1]

    def velocity(t, x):
        return (x - data(t, x[0])) / t

    end = times[-2]
    solved = solve_ivp(velocity, (times[0], end), [0.0], rtol=1e-8, atol=1e-10)
    return data(end, solved.y[0, -1])


def correlated(correlation, steps, grid="time"):
    """A flow to two standard normal numbers that correlate."""
    space = VectorSpace(shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0))
    covariance = [[1, correlation], [correlation, 1]]
    denoiser = Gaussian(Linear(), [0, 0], covariance, space)
    return Flow(denoiser, solvers.Heun(), steps, grid)


KNOWN = 1.5


def with_first_known(flow, **leading):
    """The flow with its first number known."""
    x = torch.tensor([KNOWN, 0.0])
    return inpainting(flow, x, torch.tensor([False, True]), **leading)


@pytest.mark.parametrize("correlation", [-0.5, 0.8])
def test_the_led_ode_is_solved_for_what_is_unknown(correlation):
    flow = correlated(correlation, 150, "log_snr")
    led = with_first_known(flow, solver=solvers.Heun(), rounds=1)
    # the noise of the known entry is what its x_t says, so it starts where the observation puts it
    k = flow.denoiser.path.at(torch.tensor(led.times[0]))
    start = KNOWN * float(k.alpha / k.sigma)
    solved = led(torch.tensor([[start, 0.0]], dtype=torch.float64))
    wanted = led_mean(correlation, KNOWN, led.times)
    assert solved[0, 1].item() == pytest.approx(wanted, abs=1e-3)
    share = wanted / (KNOWN * correlation)
    assert 0.2 < share < 0.9, "it is biased towards the marginal mean, so that rounds are of use"


def test_rounds_bring_the_unknown_to_its_conditional_mean():
    flow = correlated(0.8, 25)
    wanted = 0.8 * KNOWN
    z = torch.zeros(1, 2)
    ode = with_first_known(flow, solver=solvers.Heun(), rounds=1)
    shares = [ode(z)[0, 1].item() / wanted]
    for rounds in (1, 2, 5, 20):
        led = with_first_known(flow, rounds=rounds)
        mean = led(z, None, Still(0, 1))[0, 1].item()
        shares.append(mean / wanted)
        assert led.calls == 24 * rounds + 1
    assert shares == sorted(shares), "the ODE, then ancestral steps in more and more rounds"
    of_ode, _, _, of_5_rounds, of_20_rounds = shares
    assert of_ode < 0.5
    # as the docstring of Resampled says
    assert of_5_rounds == pytest.approx(0.89, abs=0.03)
    assert 0.95 < of_20_rounds < 1.02


class Exact(solvers.Solver):
    """Steps to where noised data of a value stand; keeps the states that it begins at."""

    order = 1

    def __init__(self, path, x):
        self.path = path
        self.x = x
        self.states = []

    def step(self, denoiser, state, t, s, condition, draws, memory):
        self.states.append(state)
        k = self.path.at(s).over(state)
        z = draws.normal(state.shape[1:]).double()
        return k.alpha * self.x + k.sigma * z, None


def test_noising_back_gives_the_marginal_of_the_earlier_time():
    """Resampled, with steps that leave x where exact data stand, must give x_t = alpha_t x +
    sigma_t z again.
    """
    path = VP()
    x = 1.7
    n = 20000
    denoiser = rows(path).denoiser
    exact = Exact(path, x)
    state = torch.zeros(n, 3, dtype=torch.float64)
    t = torch.full((n,), 0.6, dtype=torch.float64)
    s = torch.full((n,), 0.2, dtype=torch.float64)
    Resampled(exact, 2).step(denoiser, state, t, s, None, ExampleDraws(0, n), None)
    noised_back = exact.states[1]
    k = path.at(torch.tensor(0.6))
    sigma = k.sigma.item()
    mean_error = sigma / math.sqrt(3 * n)
    assert noised_back.mean().item() == pytest.approx(k.alpha.item() * x, abs=3.5 * mean_error)
    assert noised_back.std().item() == pytest.approx(sigma, rel=3.5 / math.sqrt(6 * n))


@every_path
@pytest.mark.parametrize("solver", [None, solvers.DPM()], ids=["default", "dpm"])
def test_super_resolution_averages_to_the_image(path, solver):
    flow = pictures(path=path)
    low = low_resolution(flow.space)
    samples = super_resolution(flow, low, solver=solver).sample(6, seed=1)
    means = F.avg_pool2d(samples, 2)
    expected = low.expand(6, -1, -1, -1)
    torch.testing.assert_close(means, expected, atol=1e-5, rtol=0)
    blocks = samples.reshape(6, 2, 2, 2, 3, 2)
    deviations = blocks.std(dim=(3, 5))
    assert deviations.min() > 1e-4, "within a block there is detail"


BOUNDED = ImageSpace((2, 4, 6), mean=(0.2, 0.6), std=(0.3, 0.1), low=(0, 0), high=(1, 1))


@every_path
def test_super_resolution_keeps_to_the_bounds_of_pixels(path):
    flow = pictures(space=BOUNDED, path=path)
    low = low_resolution(BOUNDED).clamp(0, 1)
    z = seen(3, (2, 4, 6), 5)
    samples = super_resolution(flow, low)(z, None, ExampleDraws(3, 5))
    wanted = BOUNDED.to_model(low[None])
    means = F.avg_pool2d(samples, 2)
    torch.testing.assert_close(means, wanted.expand(5, -1, -1, -1), atol=1e-5, rtol=0)
