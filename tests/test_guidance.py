"""Guidance, and models read on other paths."""

import functools

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pushforward import solvers
from pushforward.conditions import Label
from pushforward.data import ImageSpace, VectorSpace
from pushforward.denoisers import Autoguided, Denoiser, Guided, Rescheduled, Thresholded
from pushforward.draws import ExampleDraws
from pushforward.errors import UsageError
from pushforward.methods import Denoising
from pushforward.paths import (
    ROWS,
    VE,
    VP,
    Cosine,
    Linear,
    Shifted,
    Tabulated,
    convert,
    linear_betas,
)
from pushforward.testing import ring
from pushforward.testing.solvers import solve
from pushforward.transports import Flow

PATHS = {"vp": VP(), "linear": Linear(), "ve": VE(0.02, 20), "table": Tabulated(linear_betas())}
OTHERS = {
    "shifted": Shifted(Linear(), 3.0),
    "linear": Linear(),
    "vp": VP(),
    "ve": VE(0.002, 400),
    "cosine": Cosine(),
}
LABEL = Label(("a", "b"), (0.5, 0.5))


SPACE = VectorSpace(shape=(3,), mean=(0.0,) * 3, std=(1.0,) * 3, conditions={"label": LABEL})
PICTURES = ImageSpace(shape=(1, 4, 5), mean=(0.3,), std=(0.25,), low=(0.0,), high=(1.0,))


class Labelled(nn.Module):
    """A network whose output depends on x, t and the label, and that counts the rows it is
    given.
    """

    def __init__(self, weight=0.3):
        super().__init__()
        self.weight = weight
        self.rows = 0

    def forward(self, x, t, condition=None):
        self.rows += len(x)
        code = torch.zeros(len(x), dtype=x.dtype)
        if condition is not None:
            code = (condition["label"] + 1).to(x.dtype)
        if condition is not None and "label_null" in condition:
            code = code.masked_fill(condition["label_null"], 0)
        return torch.sin(self.weight * x + t[:, None] + 2 * code[:, None])


def model(prediction="velocity", path=None, weight=0.3):
    return Denoiser(Labelled(weight), path or Linear(), prediction, SPACE)


def inputs(n=7):
    """Noisy rows, their times and their labels."""
    torch.manual_seed(0)
    t = torch.linspace(0.05, 0.95, n, dtype=torch.float64)
    x = torch.randn(n, 3, dtype=torch.float64)
    return x, t, {"label": torch.arange(n) % 2}


@pytest.mark.parametrize("unconditional", [True, False])
def test_an_unconditional_branch_is_trained_where_there_is_one(unconditional):
    denoiser = Denoiser(Labelled(), Linear(), "velocity", SPACE, unconditional=unconditional)
    assert (Denoising(denoiser).label_dropout > 0) == unconditional
    with pytest.raises(UsageError, match="unconditional"):
        Denoising(denoiser, label_dropout=0.0 if unconditional else 0.1)


@pytest.mark.parametrize("prediction", ROWS)
def test_scale_one_is_the_conditional_model_and_nought_the_unconditional_one(prediction):
    x, t, label = inputs()
    denoiser = model(prediction)
    conditional = Guided(denoiser, 1.0)
    unconditional = Guided(denoiser, 0.0)
    for kind in ROWS:
        expected = denoiser.predict(kind, x, t, label)
        assert torch.equal(conditional.predict(kind, x, t, label), expected)
        expected = denoiser.predict(kind, x, t, None)
        assert torch.equal(unconditional.predict(kind, x, t, label), expected)


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_a_scale_is_finite(scale):
    with pytest.raises(UsageError, match="`scale` must be a finite number"):
        Guided(model(), scale)


@pytest.mark.parametrize("prediction", ROWS)
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_guidance_commutes_with_every_conversion(prediction, path):
    x, t, label = inputs()
    t = t.clamp(*path.ends)
    denoiser = model(prediction, path)
    plain = denoiser.predict("v", x, t, label)
    free = denoiser.predict("v", x, t, None)
    guided = Guided(denoiser, 2.5)
    v = free + 2.5 * (plain - free)
    k = path.at(t).over(x)
    for kind in ROWS:
        wanted = convert("v", kind, v, x, k)
        actual = guided.predict(kind, x, t, label)
        assert_close(actual, wanted, rtol=1e-9, atol=1e-9)


def test_rows_marked_null_stay_unconditional():
    x, t, label = inputs()
    null = torch.arange(len(x)) % 3 == 0
    denoiser = model()
    guided = Guided(denoiser, 3.0)
    actual = guided.predict("data", x, t, {**label, "label_null": null})
    unconditional = denoiser.predict("data", x, t, None)
    assert_close(actual[null], unconditional[null])
    conditional = guided.predict("data", x, t, label)
    assert_close(actual[~null], conditional[~null])


def test_outside_its_interval_guidance_costs_one_call_counted_by_row():
    x, t, label = inputs()
    denoiser = model()
    level = torch.exp(-denoiser.path.log_snr(t) / 2)
    inside = (level >= 0.5) & (level <= 2)
    count = int(inside.sum())
    assert 0 < count < len(x)
    guided = Guided(denoiser, 2.0, (0.5, 2))
    velocity = guided.predict("velocity", x, t, label)
    assert denoiser.network.rows == len(x) + count
    everywhere = Guided(denoiser, 2.0).predict("velocity", x, t, label)
    assert_close(velocity[inside], everywhere[inside])
    plain = denoiser.predict("velocity", x, t, label)
    assert_close(velocity[~inside], plain[~inside])
    for at, is_inside in zip(t.tolist(), inside, strict=True):
        assert guided.calls(at) == (2 if is_inside else 1)


def guided_once():
    return Guided(model(), 2.0, (0.3, 3))


def guided_twice():
    strong = Guided(model(), 2.0, (0.1, 1))
    return Autoguided(strong, model(weight=0.5), 1.5, (0.5, 9))


def counted(guided):
    """The networks of a guided model, which count the rows that they receive."""
    return [part for part in guided.modules() if isinstance(part, Labelled)]


@pytest.mark.parametrize("name", ["dpm:3", "unipc", "heun", "ancestral", "singlestep:3", "churn"])
@pytest.mark.parametrize("make", [guided_once, guided_twice])
def test_a_flow_says_what_guidance_in_an_interval_costs(name, make):
    guided = make()
    solver = solvers.named(name)
    flow = Flow(guided, solver, 6, "log_snr")
    draws = ExampleDraws(0, 1)
    z = draws.normal((3,))
    flow(z, {"label": torch.tensor([1])}, ExampleDraws(0, 1))
    rows = [network.rows for network in counted(guided)]
    assert sum(rows) == flow.calls


def test_autoguidance_moves_away_from_the_worse_model_even_on_another_path():
    x, t, label = inputs()
    strong = model()
    weak = model("noise", VP(), 0.9)
    good = strong.predict("data", x, t, label)
    bad = weak.on(Linear()).predict("data", x, t, label)

    def autoguided(first, scale):
        return Autoguided(first, weak, scale).predict("data", x, t, label)

    assert_close(autoguided(strong, 2.0), bad + 2 * (good - bad), rtol=1e-9, atol=1e-9)
    assert torch.equal(autoguided(strong, 1.0), good)
    by_label = Guided(strong, 1.7)
    better = by_label.predict("data", x, t, label)
    assert_close(autoguided(by_label, 2.0), bad + 2 * (better - bad), rtol=1e-9, atol=1e-9)


class Fixed(nn.Module):
    """A network that puts out one value."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x, t, condition=None):
        return self.value


def thresholded(value, *quantile):
    """A thresholded model of pictures that predicts one value."""
    denoiser = Denoiser(Fixed(value), Linear(), "data", PICTURES)
    return Thresholded(denoiser, *quantile)


LOW, HIGH = PICTURES.bounds
MIDDLE = (LOW + HIGH) / 2


HALF = (HIGH - LOW) / 2


def uniform_pictures():
    """Pictures in units in which the range is -1 to 1."""
    torch.manual_seed(0)
    return torch.rand(3, 1, 4, 5, dtype=torch.float64) * 2 - 1


def noisy_pictures():
    torch.manual_seed(1)
    x = torch.randn(3, 1, 4, 5, dtype=torch.float64)
    return x, torch.full((3,), 0.5, dtype=torch.float64)


def test_thresholding_leaves_a_good_prediction_alone():
    within = MIDDLE + HALF * uniform_pictures()
    x, t = noisy_pictures()
    actual = thresholded(within).predict("data", x, t)
    assert_close(actual, within.double())


def test_thresholding_holds_the_prediction_in_its_range():
    factors = torch.tensor([1.0, 3.0, 9.0], dtype=torch.float64)
    far = uniform_pictures() * factors.reshape(3, 1, 1, 1)
    held = thresholded(MIDDLE + HALF * far, 0.9)
    x, t = noisy_pictures()
    data = held.predict("data", x, t)
    units = (data - MIDDLE) / HALF
    assert units.abs().max() <= 1 + 1e-9
    for row, wanted in zip(units, far, strict=True):
        quantile = wanted.abs().flatten().quantile(0.9)
        reach = max(1.0, float(quantile))
        expected = wanted.clamp(-reach, reach) / reach
        assert_close(row, expected, rtol=0, atol=1e-6)
    k = Linear().at(t).over(x)
    noise = held.predict("noise", x, t)
    assert_close(k.alpha * data + k.sigma * noise, x)


@pytest.mark.parametrize("new", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
def test_a_model_read_on_another_path_is_the_ideal_one_there(path, new):
    """Bayes' rule gives the ideal denoiser on either path, so re-reading one must give the
    other.
    """
    read = Rescheduled(ring(path), new)
    ideal = ring(new)
    low, high = read.path.ends
    t = torch.linspace(low, high, 9, dtype=torch.float64)
    torch.manual_seed(0)
    x = torch.randn(9, 2, dtype=torch.float64)
    x = x * new.at(t).over(x).r
    for kind in ("data", "v"):
        actual = read.predict(kind, x, t)
        expected = ideal.predict(kind, x, t)
        assert_close(actual, expected, rtol=1e-6, atol=1e-6)
    seen = new.log_snr(t)
    largest, smallest = path.log_snr_ends()
    assert seen.max() <= largest + 1e-9
    assert seen.min() >= smallest - 1e-9


PRECISE = {
    "adaptive": (solvers.Adaptive(1e-6, 1e-6), 2),
    "rk4": (solvers.named("rk4"), 80),
    "deis:3": (solvers.named("deis:3"), 30),
}
"""Solvers and steps whose errors are below 1e-5."""


@pytest.mark.parametrize("name", PRECISE)
@pytest.mark.parametrize("new", OTHERS.values(), ids=OTHERS)
def test_one_model_ends_at_the_same_samples_on_every_path(new, name):
    """The probability-flow ODE is one flow; paths differ in clock and scale."""
    apart = samples_on(new, name) - samples_on(None, name)
    assert apart.square().mean().sqrt() < 1e-5


@functools.cache
def samples_on(new, name):
    """Samples of the ring on its own path, or read on a new one, in units of alpha."""
    denoiser = ring(VP())
    if new is not None:
        denoiser = Rescheduled(denoiser, new)
    path = denoiser.path
    levels = VP().log_snr(torch.tensor([1.0, 0.01], dtype=torch.float64))
    times = path.time(levels).clamp(*path.ends)
    start, stop = times.tolist()
    flow = Flow(denoiser, *PRECISE[name])
    torch.manual_seed(1)
    z = torch.randn(32, 2, dtype=torch.float64)
    x = solve(flow, z * path.at(times[:1]).r, start, stop)
    return x / path.at(times[1:]).alpha


def test_a_shifted_straight_path_is_stable_diffusions_shift():
    """Esser et al. (2024), eq. 23; and its derivatives are the path's own."""
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64, requires_grad=True)
    k = Shifted(Linear(), 3.0).at(t)
    assert_close(k.sigma, 3 * t / (1 + 2 * t))
    (slope,) = torch.autograd.grad(k.sigma.sum(), t, retain_graph=True)
    assert_close(k.dsigma, slope)
    (slope,) = torch.autograd.grad(k.alpha.sum(), t)
    assert_close(k.dalpha, slope)


def test_times_of_a_shifted_path_are_the_inverse_of_its_log_snr():
    path = Shifted(VP(), 0.5)
    t = torch.linspace(*path.ends, 7, dtype=torch.float64)
    log_snr = path.log_snr(t)
    assert_close(path.time(log_snr), t)
    k = path.at(t)
    assert_close(log_snr, 2 * torch.log(k.alpha / k.sigma))
