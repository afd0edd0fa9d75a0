"""Interpolation, variations, inpainting and super-resolution, on models whose answers are known in closed form."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import nn
from torch.nn import functional as F

from pushforward import solvers
from pushforward.conditions import Label
from pushforward.data import ImageSpace, VectorSpace
from pushforward.denoiser import Denoiser
from pushforward.draws import ExampleDraws
from pushforward.editing import (
    Resampled,
    Variation,
    inpaint,
    inpainting,
    interpolate,
    interpolate_seeds,
    slerp,
    super_resolution,
    super_resolve,
    vary,
)
from pushforward.editing.checks import condition_of_data
from pushforward.errors import Diverged, UsageError
from pushforward.guidance import Guided
from pushforward.paths import VE, VP, Cosine, Linear
from pushforward.predictions import convert
from pushforward.transports import Flow, Map


class Gaussian(nn.Module):
    """The ideal denoiser of N(mean, covariance) in model units, by Bayes' rule, on any path."""

    def __init__(self, path, mean, covariance, space=None):
        super().__init__()
        self.path, d = path, len(mean)
        self.space = space or VectorSpace(shape=(d,), mean=tuple(np.linspace(-1, 2, d)), std=tuple(np.linspace(0.5, 3, d)))
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float64))
        values, axes = torch.linalg.eigh(torch.as_tensor(covariance, dtype=torch.float64))
        self.register_buffer("values", values)
        self.register_buffer("axes", axes)

    def predict(self, kind, x_t, t, condition=None):
        k = self.path.at(t).over(x_t.flatten(1))
        values, axes, mean = self.values.to(x_t), self.axes.to(x_t), self.mean.to(x_t)
        gain = k.alpha * values / (k.alpha**2 * values + k.sigma**2)
        data = mean + ((x_t.flatten(1) - k.alpha * mean) @ axes * gain) @ axes.T
        return convert("data", kind, data.reshape(x_t.shape), x_t, self.path.at(t).over(x_t))

    def calls(self, t=0.5):
        return 1


class Still(ExampleDraws):
    """Draws that are zero: under a linear denoiser what comes out is then the mean of what would."""

    def normal(self, shape):
        return torch.zeros(self.n, *shape)


CORRELATED = [[1.0, 0.8, 0.1], [0.8, 1.5, 0.0], [0.1, 0.0, 0.7]]
PATHS = [Linear(), VP(), Cosine(), VE(0.01, 40.0)]
IDS = ["linear", "vp", "cosine", "ve"]


def rows(path=None, covariance=CORRELATED, solver=None, steps=20, grid="log_snr", mean=(0.3, -0.2, 0.5)):
    return Flow(Gaussian(path or Linear(), mean, covariance), solver or solvers.Heun(), steps, grid)


def pictures(steps=10, space=None, path=None):
    """Images 2 x 4 x 6 whose pixels are correlated by distance."""
    shape = (2, 4, 6)
    place = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3)
    covariance = np.exp(-np.square(place[:, None] - place).sum(-1) / 3) * 0.5 + np.eye(len(place)) * 0.2
    space = space or ImageSpace(shape=shape, mean=(0.2, 0.6), std=(0.3, 0.1))
    return Flow(Gaussian(path or Linear(), [0.1] * len(place), covariance, space), solvers.Heun(), steps)


def seen(seed, shape, n=1):
    return ExampleDraws(seed, n, "seen").normal(shape).squeeze(0)


def test_slerp_turns_at_a_steady_angle_and_changes_the_norm_linearly():
    a, b = seen(0, (2, 5), 4), 3 * seen(9, (2, 5), 4)
    whole = torch.acos(F.cosine_similarity(a.flatten(1), b.flatten(1)))
    for share in (0.0, 0.25, 0.7, 1.0):
        c = slerp(a, b, share)
        torch.testing.assert_close(
            torch.acos(F.cosine_similarity(a.flatten(1), c.flatten(1)).clamp(max=1)), share * whole, atol=1e-3, rtol=0
        )
        torch.testing.assert_close(
            torch.acos(F.cosine_similarity(b.flatten(1), c.flatten(1)).clamp(max=1)), (1 - share) * whole, atol=1e-3, rtol=0
        )
        norms = (1 - share) * a.flatten(1).norm(dim=1) + share * b.flatten(1).norm(dim=1)
        torch.testing.assert_close(c.flatten(1).norm(dim=1), norms)
    torch.testing.assert_close(slerp(a, b, 1.0), b)
    mixed = slerp(a, b, torch.tensor([0.0, 1.0, 0.3, 0.7]))
    torch.testing.assert_close(mixed, torch.stack([a[0], b[1], slerp(a, b, 0.3)[2], slerp(a, b, 0.7)[3]]))


def test_slerp_of_opposite_equal_and_zero_rows():
    a = seen(3, (7,), 3)
    half = slerp(a, -2 * a, 0.5)
    torch.testing.assert_close(half.norm(dim=1), 1.5 * a.norm(dim=1))
    torch.testing.assert_close((half * a).sum(1), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(slerp(a, -2 * a, 1.0), -2 * a)
    torch.testing.assert_close(slerp(a, a, 0.3), a)
    torch.testing.assert_close(slerp(torch.zeros_like(a), a, 0.3), 0.3 * a)
    torch.testing.assert_close(slerp(a, torch.zeros_like(a), 0.3), 0.7 * a)
    assert (slerp(torch.zeros(2, 4), torch.zeros(2, 4), 0.5) == 0).all()
    torch.testing.assert_close(slerp(torch.ones(1, 1), -torch.ones(1, 1), 1.0), -torch.ones(1, 1))


@pytest.mark.parametrize("path", PATHS, ids=IDS)
@pytest.mark.parametrize("solver", [solvers.RK4(), solvers.DEIS()], ids=["rk4", "deis"])
def test_interpolation_ends_at_its_inputs(path, solver):
    flow = rows(path, solver=solver, steps=60)
    a, b = torch.tensor([-1.5, 1.0, 4.0]), torch.tensor([-0.7, -1.0, 0.0])
    x = interpolate(flow, a, b, 5)
    assert x.shape == (5, 3)
    std = torch.tensor(flow.space.std)
    for end, wanted in ((x[0], a), (x[-1], b)):
        assert ((end - wanted) / std).square().mean().sqrt() < 1e-3
    # what lies between is not the straight line
    assert ((x[2] - (a + b) / 2) / std).abs().max() > 0.05


def test_interpolation_between_seeds_ends_at_their_samples_for_every_transport():
    generator = nn.Linear(4, 3)
    space = VectorSpace(shape=(3,), mean=(0.0,) * 3, std=(1.0,) * 3)

    class Called(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = generator

        def forward(self, z, t, condition):
            return self.inner(z)

    for transport in (rows(), Map(Called(), space, (4,))):
        x = interpolate_seeds(transport, 5, 2**40, 4, batch=3)
        torch.testing.assert_close(x[0], transport.sample(1, seed=5)[0])
        torch.testing.assert_close(x[-1], transport.sample(1, seed=2**40)[0])
        torch.testing.assert_close(x, interpolate_seeds(transport, 5, 2**40, 4), msg="the batch changes nothing")


@pytest.mark.parametrize("path", PATHS, ids=IDS)
@pytest.mark.parametrize("solver", [solvers.Heun(), solvers.Ancestral(), solvers.DPM()], ids=["heun", "ancestral", "dpm"])
def test_the_ends_of_strength(path, solver):
    flow = rows(path, solver=solver)
    x = torch.tensor([-1.5, 1.0, 4.0])
    torch.testing.assert_close(vary(flow, x, 1.0, 6, seed=3), flow.sample(6, seed=3), rtol=0, atol=0)
    std = torch.tensor(flow.space.std)
    gaps = [float(((vary(flow, x, strength, 64, seed=3) - x) / std).square().mean().sqrt()) for strength in (1e-6, 0.3, 0.6, 1.0)]
    assert gaps[0] < 0.02, "at t_min noise is a hundredth at most"
    assert gaps == sorted(gaps)
    coarse = flow.with_solver(solver, 5, "time")
    assert ((vary(coarse, x, 1e-6, 64) - x) / std).square().mean().sqrt() < 0.02, "even within the last of few steps"


def test_a_variation_has_the_mean_and_spread_of_noising_and_solving_back():
    """x_t = alpha x + sigma z, and the ideal ODE scales what deviates from the mean by sqrt(v / (alpha^2 v + sigma^2))."""
    v, mean = 0.6, 0.4
    flow = rows(VP(), [[v]], solvers.RK4(), 60, mean=(mean,))
    variation = Variation(flow, torch.tensor([3.0]), 0.5)
    assert (len(variation.rest.times), variation.calls) == (31, 4 * 29 + 1)
    k = flow.denoiser.path.at(torch.tensor(float(variation.rest.times[0]), dtype=torch.float64))
    x = float(flow.space.to_model(torch.tensor([[3.0]])))
    scale = math.sqrt(v / (float(k.alpha) ** 2 * v + float(k.sigma) ** 2))
    z = torch.tensor([[-1.3], [0.0], [0.8]], dtype=torch.float64)
    wanted = mean + scale * (float(k.alpha) * (x - mean) + float(k.sigma) * z)
    torch.testing.assert_close(variation(z), wanted, atol=2e-3, rtol=0)


def test_rows_depend_on_their_seed_alone():
    flow, x, image = rows(), torch.tensor([-1.5, 1.0, 4.0]), pictures()
    mask = torch.tensor([False, True, False])
    low = image.space.to_data(torch.zeros(1, 2, 4, 6))[0, :, ::2, ::2]
    for draw in (
        lambda n, seed, **more: vary(rows(solver=solvers.Ancestral()), x, 0.6, n, seed=seed, **more),
        lambda n, seed, **more: inpaint(flow, x, mask, n, seed=seed, **more),
        lambda n, seed, **more: super_resolve(image, low, n, seed=seed, **more),
    ):
        together = draw(5, 10)
        torch.testing.assert_close(together[3:4], draw(1, 13))
        torch.testing.assert_close(together, draw(5, 10, batch=2))
        assert not torch.allclose(together[0], together[1])


@pytest.mark.parametrize("path", PATHS, ids=IDS)
@pytest.mark.parametrize(
    "solver", [None, solvers.Heun(), solvers.DPM(3), solvers.UniPC()], ids=["default", "heun", "dpm", "unipc"]
)
@pytest.mark.parametrize("rounds", [1, 3])
def test_what_is_known_stays(path, solver, rounds):
    flow, mask = rows(path, steps=8), torch.tensor([False, True, True])
    x = torch.tensor([2.0, -9.0, 100.0])
    filled = inpaint(flow, x, mask, 7, solver=solver, rounds=rounds)
    torch.testing.assert_close(filled[:, 0], torch.full((7,), 2.0), atol=1e-5, rtol=0)
    other = inpaint(flow, torch.tensor([2.0, 5.0, 0.0]), mask, 7, solver=solver, rounds=rounds)
    torch.testing.assert_close(filled, other, msg="what stands under the mask has no effect")


def test_independent_entries_are_filled_as_if_nothing_were_known():
    flow = rows(covariance=np.diag([0.5, 1.2, 0.8]), steps=60)
    filled = inpaint(flow, torch.tensor([5.0, 0.0, 0.0]), torch.tensor([False, True, True]), 1000, seed=7, rounds=1, batch=1000)
    free = Flow(flow.denoiser, solvers.Ancestral(), 60, "log_snr").sample(1000, seed=7, batch=1000)
    torch.testing.assert_close(filled[:, 1:], free[:, 1:], atol=1e-4, rtol=1e-4)
    mean = flow.space.to_data(flow.denoiser.mean[None].float())[0, 1:]
    std = torch.tensor(flow.space.std)[1:] * torch.tensor([1.2, 0.8]).sqrt()
    assert ((filled[:, 1:].mean(0) - mean).abs() < 3.5 * std / math.sqrt(1000)).all()
    # ancestral steps of finite length lose some of the spread
    assert ((filled[:, 1:].std(0) / std - 1).abs() < 0.04 + 3.5 / math.sqrt(2000)).all()


def led_mean(correlation, known, times):
    """The mean of the unknown entry of two, under the ODE on the linear path with the known entry's data prediction replaced."""
    covariance = np.array([[1, correlation], [correlation, 1]])

    def data(t, state):
        alpha = 1 - t
        return (alpha * covariance @ np.linalg.solve(alpha**2 * covariance + t**2 * np.eye(2), [alpha * known, state[0]]))[1]

    solved = solve_ivp(lambda t, y: (y - data(t, y)) / t, (times[0], times[-2]), [0.0], rtol=1e-8, atol=1e-10)
    return data(times[-2], solved.y[:, -1])


@pytest.mark.parametrize("correlation", [-0.5, 0.8])
def test_the_led_ode_is_solved_for_what_is_unknown(correlation):
    space = VectorSpace(shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0))
    flow = Flow(Gaussian(Linear(), [0, 0], [[1, correlation], [correlation, 1]], space), solvers.Heun(), 150, "log_snr")
    led = inpainting(flow, torch.tensor([1.5, 0.0]), torch.tensor([False, True]), solver=solvers.Heun(), rounds=1)
    # the noise of the known entry is what its x_t says, so it starts where the observation puts it
    k = flow.denoiser.path.at(torch.tensor(led.times[0]))
    solved = led(torch.tensor([[1.5 * float(k.alpha / k.sigma), 0.0]], dtype=torch.float64))
    wanted = led_mean(correlation, 1.5, led.times)
    assert float(solved[0, 1]) == pytest.approx(wanted, abs=1e-3)
    assert 0.2 < wanted / (1.5 * correlation) < 0.9, "it is biased towards the marginal mean, so that rounds are of use"


def test_rounds_bring_the_unknown_to_its_conditional_mean():
    space = VectorSpace(shape=(2,), mean=(0.0, 0.0), std=(1.0, 1.0))
    flow = Flow(Gaussian(Linear(), [0, 0], [[1, 0.8], [0.8, 1]], space), solvers.Heun(), 25)
    shares = []
    for rounds in (1, 2, 5, 20):
        led = inpainting(flow, torch.tensor([1.5, 0.0]), torch.tensor([False, True]), rounds=rounds)
        shares.append(float(led(torch.zeros(1, 2), None, Still(0, 1))[0, 1]) / 1.2)
        assert led.calls == 24 * rounds + 1
    ode = inpainting(flow, torch.tensor([1.5, 0.0]), torch.tensor([False, True]), solver=solvers.Heun(), rounds=1)
    shares.insert(0, float(ode(torch.zeros(1, 2))[0, 1]) / 1.2)
    assert shares == sorted(shares), "the ODE, then ancestral steps in more and more rounds"
    assert shares[0] < 0.5
    assert shares[3] == pytest.approx(0.89, abs=0.03), "as the docstring of Resampled says of 5 rounds"
    assert 0.95 < shares[4] < 1.02


def test_multistep_solvers_stay_finite_in_many_rounds():
    flow = rows(steps=12)
    filled = inpaint(flow, torch.tensor([2.0, 0.0, 0.0]), torch.tensor([False, True, True]), 500, solver=solvers.DPM(), rounds=10)
    std = torch.tensor(flow.space.std)[1:]
    assert (filled[:, 1:].std(0) < 2 * std).all()


def test_noising_back_gives_the_marginal_of_the_earlier_time():
    """Resampled, with steps that leave x where exact data stand, must give x_t = alpha_t x + sigma_t z again."""
    path, x, before = VP(), 1.7, []

    class Exact(solvers.Solver):
        order = 1

        def step(self, denoiser, state, t, s, condition, draws, memory):
            before.append(state)
            k = path.at(s).over(state)
            return k.alpha * x + k.sigma * draws.normal(state.shape[1:]).double(), None

    n = 20000
    flow = rows(path)
    t, s = torch.full((n,), 0.6, dtype=torch.float64), torch.full((n,), 0.2, dtype=torch.float64)
    Resampled(Exact(), 2).step(flow.denoiser, torch.zeros(n, 3, dtype=torch.float64), t, s, None, ExampleDraws(0, n), None)
    k = path.at(torch.tensor(0.6))
    assert float(before[1].mean()) == pytest.approx(float(k.alpha) * x, abs=3.5 * float(k.sigma) / math.sqrt(3 * n))
    assert float(before[1].std()) == pytest.approx(float(k.sigma), rel=3.5 / math.sqrt(6 * n))


@pytest.mark.parametrize("path", PATHS, ids=IDS)
def test_super_resolution_averages_to_the_image(path):
    flow = pictures(path=path)
    low = flow.space.to_data(seen(4, (1, 2, 2, 3)).reshape(1, 2, 2, 3))[0]
    for solver in (None, solvers.DPM()):
        led = super_resolution(flow, low, solver=solver)
        samples = led.sample(6, seed=1)
        torch.testing.assert_close(F.avg_pool2d(samples, 2), low.expand(6, -1, -1, -1), atol=1e-5, rtol=0)
        assert samples.reshape(6, 2, 2, 2, 3, 2).std(dim=(3, 5)).min() > 1e-4, "within a block there is detail"
    bounded = pictures(space=ImageSpace(shape=(2, 4, 6), mean=(0.2, 0.6), std=(0.3, 0.1), low=(0, 0), high=(1, 1)))
    low = low.clamp(0, 1)
    samples = super_resolution(bounded, low)(seen(3, (2, 4, 6), 5), None, ExampleDraws(3, 5))
    wanted = bounded.space.to_model(low[None]).expand(5, -1, -1, -1)
    torch.testing.assert_close(F.avg_pool2d(samples, 2), wanted, atol=1e-5, rtol=0)


def test_an_image_mask_covers_all_channels():
    flow = pictures()
    x, mask = flow.space.to_data(seen(2, (1, 2, 4, 6)).reshape(1, 2, 4, 6))[0], torch.zeros(4, 6, dtype=torch.bool)
    mask[1:3, 2:] = True
    filled = inpaint(flow, x, mask, 3)
    unchanged = (filled - x).abs().amax(dim=(0, 1)) < 1e-5
    assert torch.equal(unchanged, ~mask)


class Labelled(nn.Module):
    """A network that tells which condition it saw: the label, or -1 without one."""

    def forward(self, x, t, condition):
        label = torch.full((len(x),), -1.0)
        if condition is not None and "label" in condition:
            label = condition["label"].float()
        if condition is not None and "label_null" in condition:
            label = torch.where(condition["label_null"], -1.0, label)
        return label[:, None].expand(x.shape)


def test_without_a_label_given_data_meet_the_unconditional_model():
    space = VectorSpace(shape=(2,), mean=(0.0,) * 2, std=(1.0,) * 2, conditions={"label": Label(tuple("abc"), (0.2, 0.3, 0.5))})
    denoiser = Denoiser(Labelled(), Linear(), "data", space)
    flow, x, mask = Flow(denoiser, solvers.DDIM(), 4), torch.zeros(2), torch.tensor([False, True])
    for condition, wanted in ((None, -1.0), ({"label": 2}, 2.0)):
        assert (vary(flow, x, 0.5, 5, condition=condition) == wanted).all()
        assert (inpaint(flow, x, mask, 5, condition=condition)[:, 1] == wanted).all()
        assert (interpolate(flow, x, x + 1, 3, condition) == wanted).all()
    for seed in range(6):
        labels = flow.conditions(1, None, seed)["label"]
        assert (interpolate_seeds(flow, seed, 99, 3) == float(labels)).all()
    denoiser.unconditional = False
    for model in (flow, Flow(inpainting(flow, x, mask).denoiser, solvers.DDIM(), 4)):
        with pytest.raises(UsageError, match="name the label"):
            condition_of_data(model, None)
    denoiser.unconditional = True
    guided = Flow(Guided(denoiser, 3.0), solvers.DDIM(), 4)
    assert (vary(guided, x, 0.5, 5, condition={"label": 1}) == -1 + 3 * 2).all()
    assert (vary(guided, x, 0.5, 5) == -1).all()


def test_what_cannot_be_is_refused():
    flow, x, mask = rows(), torch.zeros(3), torch.tensor([False, True, False])
    one_call = Map(nn.Identity(), flow.space, (3,))
    images = pictures(space=ImageSpace(shape=(2, 4, 6), mean=(0.2, 0.6), std=(0.3, 0.1), low=(0, 0), high=(1, 1)))
    low = torch.zeros(2, 2, 3)
    noisy = flow.with_solver(solvers.Ancestral(), 5)
    for refused, says in (
        (lambda: vary(one_call, x, 0.5, 2), "no inverse"),
        (lambda: interpolate(one_call, x, x, 3), "two seeds"),
        (lambda: inpaint(one_call, x, mask, 2), "no iterative model"),
        (lambda: interpolate(noisy, x, x, 3), "no inverse"),
        (lambda: interpolate_seeds(noisy, 0, 1, 3), "deterministic"),
        (lambda: interpolate_seeds(flow, 0, 1, 1), "at least 2 frames"),
        (lambda: vary(flow, x, 0.0, 2), r"\(0, 1\]"),
        (lambda: vary(flow, x, 1.5, 2), r"\(0, 1\]"),
        (lambda: vary(flow, x, math.nan, 2), r"\(0, 1\]"),
        (lambda: vary(flow, x[None], 0.5, 2), "shape"),
        (lambda: vary(flow, x.long(), 0.5, 2), "int64"),
        (lambda: vary(flow, x / 0, 0.5, 2), "not finite"),
        (lambda: vary(images, torch.full((2, 4, 6), 255.0), 0.5, 2), "from 0 to 1"),
        (lambda: inpaint(flow, x, mask.float(), 2), "bool"),
        (lambda: inpaint(flow, x, mask[:2], 2), "shape"),
        (lambda: inpaint(flow, x, ~mask & mask, 2), "fills nothing"),
        (lambda: inpaint(flow, x, mask | ~mask, 2), "fills all"),
        (lambda: inpaint(flow, x, mask, 2, rounds=0), "at least one round"),
        (lambda: super_resolve(flow, x, 2), "images"),
        (lambda: super_resolve(images, low[:1], 2), "whole factor"),
        (lambda: super_resolve(images, low[:, :, :2], 2), "whole factor"),
        (lambda: super_resolve(images, torch.zeros(2, 4, 6), 2), "whole factor"),
        (lambda: slerp(torch.zeros(2, 3), torch.zeros(2, 4), 0.5), "of the same shape"),
    ):
        with pytest.raises(UsageError, match=says):
            refused()
    broken = rows(mean=(math.nan, 0.0, 0.0))
    with pytest.raises(Diverged):
        interpolate_seeds(broken, 0, 1, 3)
