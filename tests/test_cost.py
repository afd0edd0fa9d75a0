"""What models cost: operations, memory and times, guesses that they have to beat, and budgets in
operations.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.conditions import Label
from pushforward.data import ImageSpace, VectorSpace
from pushforward.data.core.dataset import Dataset, Split
from pushforward.errors import UsageError
from pushforward.evaluation import compare, costs as cost
from pushforward.evaluation.costs import time_in_turns
from pushforward.evaluation.model_metrics import guess, levels_of
from pushforward.methods import StepContext
from pushforward.networks import Compressor, Expander
from pushforward.paths import VP
from pushforward.registries import RECIPES
from pushforward.report import Report
from pushforward.solvers import DPM, Heun, UniPC
from pushforward.testing import ring, space_data
from pushforward.training.api import prepare
from pushforward.training.estimates import step_flops, steps_within
from pushforward.training.loop.budget import Budget
from pushforward.training.loop.machine import added_peak, held_bytes
from pushforward.training.loop.state import Clock, TrainState
from pushforward.transports import Autoencoder, Flow, Latent, Map

pytestmark = pytest.mark.usefixtures("usual")


def vectors(n=330, d=2):
    random = np.random.default_rng(0)
    rows = random.normal(size=(n, d)).astype(np.float32)
    return Dataset("columns", units(d), Split(rows[30:]), Split(rows[:30]))


def units(d):
    """Vectors whose data units are those of models."""
    return VectorSpace((d,), (0.0,) * d, (1.0,) * d)


def images(x, held_out):
    space = ImageSpace(x.shape[1:], (0.5,), (0.3,), (0.0,), (1.0,))
    return Dataset("images", space, Split(x), Split(held_out))


def simulate(monkeypatch, clock):
    """Let all measurements take their times from this clock."""
    for module in ("evaluator", "costs"):
        monkeypatch.setattr(f"pushforward.evaluation.{module}.time", clock)


@pytest.mark.parametrize("solver", [Heun(), DPM(), UniPC()])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_operations_of_many_steps_follow_from_those_of_few(solver, steps):
    """As they are counted in a whole solve, of a guided model whose samples are decoded."""
    data = space_data((1, 8, 8), labels=True)
    denoiser = pf.recipes.flow(data.space, "tiny").method.denoiser
    flow = Flow(pf.Guided(denoiser, 2.0), solver, steps)
    shape = (1, 16, 16)
    image = ImageSpace(shape, (0.5,), (0.3,), (0.0,), (1.0,))
    encoder = Compressor(shape, outputs=2, factor=2, width=8)
    decoder = Expander(shape, inputs=1, factor=2, width=8)
    coded = Autoencoder(encoder, decoder, image).eval()
    for transport in (flow, Latent(flow, coded)):
        counted = cost.flops(lambda transport=transport: transport.sample(1, batch=1))
        assert cost.sampling_flops(transport) == counted > 0


class Simulated:
    """A clock that samplers move; between two of its times everything takes ``factor`` times as
    long.
    """

    def __init__(self, busy, factor=25.0):
        self.now = 0.0
        self.busy = busy
        self.factor = factor

    def work(self, seconds):
        start, end = self.busy
        if start <= self.now < end:
            seconds *= self.factor
        self.now += seconds

    def perf_counter(self):
        return self.now


@pytest.mark.parametrize("busy", [(0.05, 1.0), (0.35, 7.0)])
def test_a_comparison_times_its_models_in_turns(monkeypatch, busy):
    """Timed one after the other, the second model's whole measurement lay in the second of these
    moments.
    """
    clock = Simulated(busy)
    data = vectors()
    simulate(monkeypatch, clock)

    class Timed(nn.Module):
        def forward(self, z, t=None, condition=None):
            clock.work(1e-4 * len(z))
            return z.sin()

    models = {name: Map(Timed(), data.space, (2,)) for name in ("one", "two")}
    comparison = compare(models, data, n=30, repeats=1, curve=False)
    for model in comparison.models:
        assert model.sampling.seconds_per_sample == pytest.approx(1e-4, rel=0.01)
    findings = " ".join(Report(comparison).findings)
    assert "times as long" not in findings


def test_a_fixed_time_per_call_is_not_taken_for_the_time_per_sample(monkeypatch):
    """And a model with slow samples is timed with few of them."""
    clock = Simulated((0.0, 0.0))
    data = vectors(1330)
    drawn = {"late": [], "slow": []}
    simulate(monkeypatch, clock)

    def sampler(name, latency, each):
        def sample(n):
            drawn[name].append(n)
            clock.work(latency + each * n)

        return sample

    class Timed(nn.Module):
        def forward(self, z, t=None, condition=None):
            clock.work(0.26 + 1e-4 * len(z))
            return z.sin()

    transport = Map(Timed(), data.space, (2,))
    comparison = compare({"late": transport}, data, repeats=5, curve=False)
    timing = comparison.models[0].sampling.timing
    assert timing.batch == 1000
    assert timing.low == pytest.approx(0.00036)
    samplers = {"late": sampler("late", 1.5, 1e-4), "slow": sampler("slow", 0.0, 1.0)}
    timing = time_in_turns(samplers, 1000, turns=1)["late"]
    assert timing.batch == 1000
    assert timing.low == pytest.approx(0.0016)
    assert sum(drawn["slow"]) < 8


def test_sampling_memory_counts_weights_and_the_batch_alone():
    """A map through one wide layer: weights, noise, hidden rows, and what space and clamp make of
    the output.
    """
    n = 64
    wide = nn.Sequential(nn.Linear(3, 4096), nn.Linear(4096, 3))
    transport = Map(lambda z, t, condition: wide(z), units(3), (3,))
    transport.layers = wide
    weights = 4 * (3 * 4096 + 4096 + 4096 * 3 + 3)
    hidden = 4 * n * 4096
    ballast = torch.zeros(2**24)
    measured = cost.sampling_memory(transport, n)
    assert weights + hidden <= measured <= weights + 1.02 * hidden
    del ballast
    assert cost.sampling_memory(transport, n) == measured, (
        "other tensors in the process do not matter"
    )
    assert cost.sampling_memory(transport, 2 * n) - measured == pytest.approx(hidden, rel=0.02)


@pytest.mark.parametrize("solver", [Heun(), DPM(3), UniPC(3)])
def test_sampling_memory_is_that_of_all_steps(solver):
    """Solvers of high order hold outputs of earlier steps."""
    flow = Flow(ring(VP()), solver, 9)
    whole = added_peak(lambda: flow.sample(4096, batch=4096), flow.device)
    added = cost.sampling_memory(flow, 4096) - held_bytes(flow)
    assert added == pytest.approx(whole, rel=1e-3)


def test_a_uniform_guess_needs_the_logarithm_of_the_levels():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (45, 1, 9, 8), dtype=np.uint8)
    many = images(x[:40], x[40:])
    uniform = guess(many, 5)
    assert "256 levels" in uniform.name
    bpd = uniform.scores["bpd"]
    assert bpd.value == 8.0
    assert bpd.spread is None
    coarse = x // 16 * 17
    few = images(coarse[:40], coarse[40:])
    uniform = guess(few, 5)
    assert uniform.scores["bpd"].value == 4.0
    told = guess(few, 5, conditions=["given"])
    assert told == uniform, "levels are the same under all conditions"
    few.held_out.x[0, 0, 0, 0] = 1
    assert levels_of(few) == 256, (
        "a level that training examples lack has no probability under a guess of theirs"
    )
    space = VectorSpace((3,), (0.5,) * 3, (0.5,) * 3, binary=True)
    bits = Split(np.eye(3, dtype=np.float32))
    zeros_and_ones = Dataset("bits", space, bits, bits)
    uniform = guess(zeros_and_ones, 3, discrete=True)
    assert uniform.scores["bpd"].value == 1.0


def test_the_guess_for_vectors_is_a_gaussian():
    """Against scipy's density; labelled data has one for each class where the model is given the
    labels.
    """
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 200)
    noise = rng.normal(size=(2, 400, 3)) * [1, 5, 0.2]
    rows = noise + 4 * labels[:, None]
    train, held_out = rows.astype(np.float32)
    conditions = {"label": Label(("a", "b"), (0.5, 0.5))}
    space = VectorSpace((3,), (1.0, 2.0, 3.0), (0.5, 2.0, 4.0), conditions=conditions)
    data = Dataset("two", space, Split(train, labels), Split(held_out, labels))
    covariance = np.cov(train.T, bias=True)
    gaussian = multivariate_normal(train.mean(0), covariance)
    bits = -gaussian.logpdf(held_out) / (3 * math.log(2))
    bpd = guess(data, 400).scores["bpd"]
    assert bpd.value == pytest.approx(bits.mean(), abs=0.01)
    assert bpd.spread == pytest.approx(bits.std(ddof=1) / 20, rel=0.05)
    per_class = guess(data, 400, conditions=["label"])
    assert "per class" in per_class.name
    assert per_class.scores["bpd"].value < bpd.value - 0.1
    assert guess(data, 400, conditions=["label", "given"]) is None, (
        "a Gaussian that is not given it is no fair guess"
    )
    ones = Split(np.ones((9, 2), np.float32))
    constant = Dataset("flat", units(2), ones, ones)
    assert guess(constant, 5) is None


@pytest.fixture(scope="module")
def moons():
    return pf.data.load("moons", limit=2000)


def test_the_operations_of_a_step_are_those_of_its_matrix_products(moons):
    recipe = pf.recipes.flow(moons.space, "tiny")
    products = [weight for weight in recipe.method.parameters() if weight.ndim == 2]
    weights = sum(weight.numel() for weight in products)
    every = 6 * weights * recipe.training.batch
    # of the first layer no gradient by its input is computed
    assert 0.9 * every < step_flops(recipe, moons) <= every


def test_a_budget_of_operations_becomes_steps(moons, tmp_path):
    recipe = pf.recipes.flow(moons.space, "tiny")
    steps, each = steps_within(5e7, recipe, moons)
    assert steps == int(5e7 / each) > 1
    trainer = prepare("flow", moons, size="tiny", flops=5e7, out=tmp_path / "run")
    assert trainer.budget.steps == steps
    trainer.close()
    with pytest.raises(UsageError, match="less than one step"):
        steps_within(1e3, recipe, moons)
    with pytest.raises(UsageError, match="`flops` must be positive, got -1"):
        steps_within(-1, recipe, moons)
    with pytest.raises(UsageError, match="exactly one budget"):
        pf.fit("flow", moons, steps=3, flops=5e7, out=tmp_path / "other")


@pytest.mark.parametrize(
    "name", [name for name, part in RECIPES.items() if not pf.recipes.missing_parts(part)]
)
def test_no_schedule_is_the_same_however_long_training_lasts(name):
    """So no longer training holds the shorter ones of a sweep: docs/decisions/comparison.md."""
    schedule = pf.recipes.named(name)("digits", "tiny").training.schedule
    rates = []
    for steps in (1000, 2000):
        clock = Clock(TrainState(None, {}, None), Budget(steps=steps), batch=1)
        clock.state.step = 900
        now = StepContext(None, samples=900, progress=clock.progress)
        rates.append(schedule.rate(clock, now))
    short, long = rates
    assert short < 0.9 * long
