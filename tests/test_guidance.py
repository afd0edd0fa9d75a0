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
from pushforward.paths import ROWS, VE, VP, Cosine, Linear, Shifted, Tabulated, linear_betas
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
SPACE = VectorSpace(
    shape=(3,), mean=(0.0,) * 3, std=(1.0,) * 3, conditions={"label": Label(("a", "b"), (0.5, 0.5))}
)
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
            code = torch.where(
                condition.get("label_null", torch.zeros(len(x), dtype=torch.bool)),
                0,
                condition["label"] + 1,
            ).to(x.dtype)
        return torch.sin(self.weight * x + t[:, None] + 2 * code[:, None])


def model(prediction="velocity", path=None, weight=0.3):
    return Denoiser(Labelled(weight), path or Linear(), prediction, SPACE)


def inputs(n=7):
    torch.manual_seed(0)
    t = torch.linspace(0.05, 0.95, n, dtype=torch.float64)
    return torch.randn(n, 3, dtype=torch.float64), t, {"label": torch.arange(n) % 2}


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
    for kind in ROWS:
        actual = Guided(denoiser, 1.0).predict(kind, x, t, label)
        expected = denoiser.predict(kind, x, t, label)
        assert torch.equal(actual, expected)
        actual = Guided(denoiser, 0.0).predict(kind, x, t, label)
        expected = denoiser.predict(kind, x, t, None)
        assert torch.equal(actual, expected)


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
    plain, free = (denoiser.predict("v", x, t, given) for given in (label, None))
    guided = Guided(denoiser, 2.5)
    k = path.at(t).over(x)
    from pushforward.paths import convert

    for kind in ROWS:
        wanted = convert("v", kind, free + 2.5 * (plain - free), x, k)
        actual = guided.predict(kind, x, t, label)
        assert_close(actual, wanted, rtol=1e-9, atol=1e-9)


def test_rows_marked_null_stay_unconditional():
    x, t, label = inputs()
    null = torch.arange(len(x)) % 3 == 0
    denoiser = model()
    guided = Guided(denoiser, 3.0).predict("data", x, t, {**label, "label_null": null})
    expected = denoiser.predict("data", x, t, None)[null]
    assert_close(guided[null], expected)
    expected = Guided(denoiser, 3.0).predict("data", x, t, label)[~null]
    assert_close(guided[~null], expected)


def test_outside_its_interval_guidance_costs_one_call_counted_by_row():
    x, t, label = inputs()
    denoiser = model()
    level = torch.exp(-denoiser.path.log_snr(t) / 2)
    inside = (level >= 0.5) & (level <= 2)
    assert 0 < inside.sum() < len(x)
    guided = Guided(denoiser, 2.0, (0.5, 2))
    velocity = guided.predict("velocity", x, t, label)
    assert denoiser.network.rows == len(x) + int(inside.sum())
    expected = Guided(denoiser, 2.0).predict("velocity", x, t, label)[inside]
    assert_close(velocity[inside], expected)
    expected = denoiser.predict("velocity", x, t, label)[~inside]
    assert_close(velocity[~inside], expected)
    assert [guided.calls(float(at)) for at in t] == [1 + int(is_inside) for is_inside in inside]


@pytest.mark.parametrize("name", ["dpm:3", "unipc", "heun", "ancestral", "singlestep:3", "churn"])
def test_a_flow_says_what_guidance_in_an_interval_costs(name):
    denoiser = model()
    for guided in (
        Guided(denoiser, 2.0, (0.3, 3)),
        Autoguided(Guided(denoiser, 2.0, (0.1, 1)), model(weight=0.5), 1.5, (0.5, 9)),
    ):
        flow = Flow(guided, solvers.named(name), 6, "log_snr")
        networks = [part for part in guided.modules() if isinstance(part, Labelled)]
        for network in networks:
            network.rows = 0
        flow(ExampleDraws(0, 1).normal((3,)), {"label": torch.tensor([1])}, ExampleDraws(0, 1))
        assert sum(network.rows for network in networks) == flow.calls


def test_autoguidance_moves_away_from_the_worse_model_even_on_another_path():
    x, t, label = inputs()
    strong = model()
    weak = model("noise", VP(), 0.9)
    matched = weak.on(Linear())
    guided = Autoguided(strong, weak, 2.0).predict("data", x, t, label)
    good = strong.predict("data", x, t, label)
    bad = matched.predict("data", x, t, label)
    assert_close(guided, bad + 2 * (good - bad), rtol=1e-9, atol=1e-9)
    actual = Autoguided(strong, weak, 1.0).predict("data", x, t, label)
    assert torch.equal(actual, good)
    both = Autoguided(Guided(strong, 1.7), weak, 2.0).predict("data", x, t, label)
    expected = bad + 2 * (Guided(strong, 1.7).predict("data", x, t, label) - bad)
    assert_close(both, expected, rtol=1e-9, atol=1e-9)


def test_thresholding_holds_the_prediction_in_its_range_and_leaves_a_good_one_alone():
    class Fixed(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def forward(self, x, t, condition=None):
            return self.value

    low, high = PICTURES.bounds
    middle = (low + high) / 2
    half = (high - low) / 2
    torch.manual_seed(0)
    u = torch.rand(3, 1, 4, 5, dtype=torch.float64) * 2 - 1
    x = torch.randn_like(u)
    t = torch.full((3,), 0.5, dtype=torch.float64)
    inside = Thresholded(Denoiser(Fixed(middle + half * u), Linear(), "data", PICTURES))
    actual = inside.predict("data", x, t)
    expected = (middle + half * u).double()
    assert_close(actual, expected)
    far = u * torch.tensor([1.0, 3.0, 9.0], dtype=torch.float64).reshape(3, 1, 1, 1)
    thresholded = (
        Thresholded(Denoiser(Fixed(middle + half * far), Linear(), "data", PICTURES), 0.9).predict(
            "data", x, t
        )
        - middle
    ) / half
    assert thresholded.abs().max() <= 1 + 1e-9
    for row, wanted in zip(thresholded, far, strict=True):
        reach = max(1.0, float(wanted.abs().flatten().quantile(0.9)))
        expected = wanted.clamp(-reach, reach) / reach
        assert_close(row, (expected), rtol=0, atol=1e-6)
    k = Linear().at(t).over(x)
    noise = Thresholded(
        Denoiser(Fixed(middle + half * far), Linear(), "data", PICTURES), 0.9
    ).predict("noise", x, t)
    assert_close(k.alpha * (middle + half * thresholded) + k.sigma * noise, x)


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
    x = torch.randn(9, 2, dtype=torch.float64) * new.at(t).over(torch.zeros(9, 2)).r
    for kind in ("data", "v"):
        actual = read.predict(kind, x, t)
        expected = ideal.predict(kind, x, t)
        assert_close(actual, expected, rtol=1e-6, atol=1e-6)
    seen = new.log_snr(t)
    known = path.log_snr_ends()
    assert seen.max() <= known[0] + 1e-9
    assert seen.min() >= known[1] - 1e-9


@pytest.mark.parametrize("name", ["adaptive", "rk4", "deis:3"])
@pytest.mark.parametrize("new", OTHERS.values(), ids=OTHERS)
def test_one_model_ends_at_the_same_samples_on_every_path(new, name):
    """The probability-flow ODE is one flow; paths differ in clock and scale."""
    actual = (samples_on(None, name) - samples_on(new, name)).square().mean().sqrt()
    assert actual < 1e-5


@functools.cache
def samples_on(new, name):
    """Samples of the ring on its own path, or read on a new one, in units of alpha."""
    denoiser = ring(VP()) if new is None else Rescheduled(ring(VP()), new)
    ends = VP().log_snr(torch.tensor([1.0, 0.01], dtype=torch.float64))
    solver = solvers.Adaptive(1e-6, 1e-6) if name == "adaptive" else solvers.named(name)
    torch.manual_seed(1)
    z = torch.randn(32, 2, dtype=torch.float64)
    start, stop = denoiser.path.time(ends).clamp(*denoiser.path.ends).tolist()
    k, end = (denoiser.path.at(torch.tensor([at], dtype=torch.float64)) for at in (start, stop))
    flow = Flow(denoiser, solver, {"adaptive": 2, "rk4": 80, "deis:3": 30}[name])
    return solve(flow, z * k.r, start, stop) / end.alpha


def test_a_shifted_straight_path_is_stable_diffusions_shift():
    """Esser et al. (2024), eq. 23; and its derivatives are the path's own."""
    t = torch.linspace(0.1, 0.9, 9, dtype=torch.float64, requires_grad=True)
    k = Shifted(Linear(), 3.0).at(t)
    assert_close(k.sigma, 3 * t / (1 + 2 * t))
    (slope,) = torch.autograd.grad(k.sigma.sum(), t, retain_graph=True)
    assert_close(k.dsigma, slope)
    expected = torch.autograd.grad(k.alpha.sum(), t)[0]
    assert_close(k.dalpha, expected)
    path = Shifted(VP(), 0.5)
    inner = torch.linspace(*path.ends, 7, dtype=torch.float64)
    actual = path.time(path.log_snr(inner))
    assert_close(actual, inner)
    expected = 2 * torch.log(path.at(inner).alpha / path.at(inner).sigma)
    assert_close(path.log_snr(inner), expected)
