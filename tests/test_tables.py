"""Solvers as tables: they do what the steps do, draw what the steps draw, and leave alone what is
not affine.
"""

import dataclasses
import warnings
import weakref

import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward import solvers
from pushforward.conditions import Label
from pushforward.draws import ExampleDraws
from pushforward.editing import Resampled
from pushforward.errors import UsageError
from pushforward.networks import MLP
from pushforward.paths import VE, VP, Linear
from pushforward.solvers import DPM, Euler, Heun, Solver
from pushforward.solvers.solver import noise_of, run_steps
from pushforward.testing import ring
from pushforward.transports import Flow

SOLVERS = """
    ddim euler heun midpoint rk4 ipndm singlestep:2 singlestep dpm:1 dpm dpm:3 deis
    unipc unipc:3 ancestral ddim:0.5 dpmsde eulermaruyama churn predictorcorrector:2
"""


def stepped(flow, x, draws):
    """The solve by the solver's own steps."""
    return list(run_steps(flow.solver, flow.denoiser, x, flow.times, None, draws))


def both(flow):
    """The states of a solve by the table and by the steps."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(5, 2, dtype=torch.float64, generator=generator)
    x = flow._at_start(noise)
    by_table = list(flow.walk(x, flow.times, None, ExampleDraws(3, 5)))
    by_steps = stepped(flow, x, ExampleDraws(3, 5))
    return by_table, by_steps


def assert_same(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("path", [Linear(), VP(), VE(0.02, 20)], ids=["linear", "vp", "ve"])
@pytest.mark.parametrize("name", SOLVERS.split())
def test_a_table_does_what_the_steps_do(path, name):
    flow = Flow(ring(path), solvers.named(name), 6)
    times = flow.times[1:].tolist()
    table, steps = both(flow)
    assert [t for t, _ in table] == times
    assert [t for t, _ in steps] == times
    for (_, state), (_, expected) in zip(table, steps, strict=True):
        assert_same(state, expected)
    assert flow.program.calls(flow.denoiser) == flow.calls
    assert flow._count_calls() == flow.calls


@pytest.mark.parametrize("inner", [Heun(), solvers.Ancestral(), solvers.UniPC()])
def test_steps_that_are_repeated_are_a_table(inner):
    flow = Flow(ring(VP()), Resampled(inner, 3), 4)
    table, steps = both(flow)
    assert_same(table[-1][1], steps[-1][1])


def test_estimates_are_freed_while_a_table_is_walked(monkeypatch):
    model = ring(VP())
    estimates = []
    alive = []
    predict = model.predict

    def watched(*given):
        estimate = predict(*given)
        estimates.append(weakref.ref(estimate))
        return estimate

    monkeypatch.setattr(model, "predict", watched)
    flow = Flow(model, DPM(), 20)
    for _ in flow.walk(torch.randn(3, 2), flow.times):
        alive.append(sum(estimate() is not None for estimate in estimates))
    assert len(estimates) == 20
    assert max(alive) <= 3


class Norms(Solver):
    """Euler's step scaled by a norm: it adds up like an affine one and is none."""

    order = 1

    def step(self, denoiser, x, t, s, condition, draws, memory):
        slope = denoiser.predict("velocity", x, t, condition)
        scale = slope.norm() / slope.detach().norm()
        return x + (s - t)[:, None] * slope * scale, None


class Unconditional(Norms):
    def step(self, denoiser, x, t, s, condition, draws, memory):
        slope = denoiser.predict("velocity", x, t, None)
        return x + (s - t)[:, None] * slope, None


class PerRow(Norms):
    stochastic = True

    def step(self, denoiser, x, t, s, condition, draws, memory):
        noise = draws.normal((1,)).to(x)
        slope = denoiser.predict("velocity", x, t, condition)
        return x + (s - t)[:, None] * slope + 0 * noise, None


class Clamped(Norms):
    def step(self, denoiser, x, t, s, condition, draws, memory):
        slope = denoiser.predict("velocity", x, t, condition).clamp(-1e9, 1e9)
        return x + (s - t)[:, None] * slope, None


@pytest.mark.parametrize("solver", [Norms, Unconditional, PerRow, Clamped])
def test_a_step_that_is_not_affine_is_run_as_it_is_and_says_so(solver):
    z = torch.randn(4, 2)
    flow = Flow(ring(Linear()), solver(), 3)
    with pytest.warns(UserWarning, match=f"The step of {solver.__name__} is not affine"):
        x = flow(z, None, ExampleDraws(0, 4))
    expected = Flow(ring(Linear()), Euler(), 3)(z)
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(UsageError, match="as a table"):
        _ = flow.program
    assert flow.calls == 3


def test_an_adaptive_solver_has_no_table_and_needs_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flow = Flow(ring(Linear()), solvers.Adaptive(), 2)
        flow.sample(1)
    with pytest.raises(UsageError, match="chooses its own steps"):
        _ = flow.program


class Fading(Solver):
    """A step whose noise has the coefficient 0 in all but the first step."""

    order = 1
    stochastic = True

    def step(self, denoiser, x, t, s, condition, draws, memory):
        weight = (t > 0.9).to(t)[:, None]
        slope = denoiser.predict("velocity", x, t, condition)
        return x + (s - t)[:, None] * slope + weight * noise_of(x, draws), True


def test_noise_with_coefficient_0_is_drawn_all_the_same():
    flow = Flow(ring(VP()), Fading(), 4)
    table, steps = both(flow)
    assert_same(table[-1][1], steps[-1][1])
    draws = ExampleDraws(0, 5)
    flow(torch.zeros(5, 2), None, draws)
    assert draws._calls == 3


class Cleaner(Euler):
    """Ends with half of the data that is predicted."""

    def last(self, denoiser, x, t, s, condition, draws, memory):
        return denoiser.predict("data", x, t, condition) / 2


def test_a_solver_may_say_what_its_last_step_is():
    z = torch.randn(3, 2)
    actual = Flow(ring(VP()), Cleaner(), 4)(z)
    expected = Flow(ring(VP()), Euler(), 4)(z) / 2
    torch.testing.assert_close(actual, expected)


def denoiser_with_labels():
    """A denoiser of two classes that starts away from zero."""
    conditions = {"label": Label(("a", "b"), (0.5, 0.5))}
    space = dataclasses.replace(ring(VP()).space, conditions=conditions)
    network = MLP(2, 2, width=8, depth=1, conditions=conditions)
    network.leave.reset_parameters()
    return pf.Denoiser(network, VP(), "noise", space)


def test_a_setting_that_is_changed_in_place_has_another_table():
    """Of guidance, of what is inside of it, and of the solver."""
    model = denoiser_with_labels()
    weaker = denoiser_with_labels()
    settings = {"scale": 2.0, "interval": None, "weaker_scale": 2.0, "eta": 0.5}
    z = torch.randn(2, 2)

    def guided_flow(scale, interval, weaker_scale, eta):
        guided = pf.Guided(pf.Autoguided(model, weaker, weaker_scale), scale, interval)
        return Flow(guided, solvers.DDIM(eta), 6)

    def end(flow):
        return flow(z, {"label": torch.tensor([0, 1])}, ExampleDraws(0, 2))

    flow = guided_flow(**settings)
    before = end(flow)

    def check_changed(part, attribute, setting, value):
        setattr(part, attribute, value)
        settings[setting] = value
        after = end(flow)
        assert after.equal(end(guided_flow(**settings))), setting
        assert not after.equal(before), setting
        return after

    before = check_changed(flow.denoiser, "scale", "scale", 3.0)
    before = check_changed(flow.denoiser, "interval", "interval", (0.1, 2.0))
    before = check_changed(flow.denoiser.denoiser, "scale", "weaker_scale", 1.0)
    check_changed(flow.solver, "eta", "eta", 0.2)
    assert flow.eval().program is flow.train().program


@pytest.mark.parametrize("name", ["dpm", "unipc:3", "rk4", "predictorcorrector"])
def test_registers_are_dropped_so_that_memory_does_not_grow_with_the_steps(name):
    held = {0}
    for row in Flow(ring(VP()), solvers.named(name), 40).program.rows:
        held.update(row.noises)
        held.update(update.register for update in row.updates)
        if row.call is not None:
            held.add(row.call.estimate)
        assert len(held) <= 8
        held -= set(row.dropped)


def test_a_denoiser_whose_predict_is_replaced_is_asked_through_it(monkeypatch):
    """Of a table as well: what a subclass or a test puts instead of `predict` is what is called."""
    model = pf.Denoiser(nn.Identity(), Linear(), "velocity", ring(Linear()).space)

    def sevens(kind, x, t, condition=None):
        return torch.full_like(x, 7.0)

    monkeypatch.setattr(model, "predict", sevens)
    assert (Flow(model, DPM(), 3).sample(2) == 7).all()
