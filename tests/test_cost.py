"""What models cost: times in turns under a simulated clock, memory by the allocator, and guesses that models have to beat."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from programs import forking
from torch import nn

import pushforward as pf
from pushforward.cli import announcing
from pushforward.conditions import Label
from pushforward.data import ImageSpace, VectorSpace
from pushforward.data.core.dataset import Dataset, Split
from pushforward.evaluation import compare, cost
from pushforward.evaluation import evaluating as module
from pushforward.evaluation.model_metrics import guess, levels_of
from pushforward.networks import Compressor, Expander
from pushforward.paths import Linear
from pushforward.report import Report
from pushforward.solvers import DPM, Heun, UniPC
from pushforward.testing import recipe_for, ring, space_data
from pushforward.training import Trainer
from pushforward.training.api import prepare
from pushforward.training.estimates import training_memory
from pushforward.training.loop import memory
from pushforward.training.loop.finalize import finished
from pushforward.training.loop.memory import added_peak, held_bytes
from pushforward.training.runs import folder as folders
from pushforward.transports import Autoencoder, Flow, Latent, Map

pytestmark = pytest.mark.usefixtures("usual")


def vectors(n=330, d=2):
    rows = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    return Dataset("columns", VectorSpace((d,), (0.0,) * d, (1.0,) * d), Split(rows[30:]), Split(rows[:30]))


def images(x, held_out, **space):
    units = ImageSpace(x.shape[1:], (0.5,) * x.shape[1], (0.3,) * x.shape[1], (0.0,) * x.shape[1], (1.0,) * x.shape[1], **space)
    return Dataset("images", units, Split(x), Split(held_out))


# Operations ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", [Heun(), DPM(), UniPC()])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_operations_of_many_steps_follow_from_those_of_few(solver, steps):
    """As they are counted in a whole solve, of a guided model whose samples are decoded."""
    flow = pf.recipes.flow(space_data((1, 8, 8), labels=True).space, "tiny").method.transport()
    flow = Flow(pf.Guided(flow.denoiser, 2.0), solver, steps)
    image = ImageSpace((1, 16, 16), (0.5,), (0.3,), (0.0,), (1.0,))
    decoder = Expander((1, 16, 16), inputs=1, factor=2, width=8)
    coded = Autoencoder(Compressor((1, 16, 16), outputs=2, factor=2, width=8), decoder, image).eval()
    for transport in (flow, Latent(flow, coded)):
        counted = cost.flops(lambda transport=transport: transport.sample(1, batch=1))
        assert cost.sampling_flops(transport) == counted > 0


# Time --------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that samplers move; between two of its times everything takes ``factor`` times as long."""

    def __init__(self, busy, factor=25.0):
        self.now, self.busy, self.factor = 0.0, busy, factor

    def work(self, seconds):
        self.now += seconds * (self.factor if self.busy[0] <= self.now < self.busy[1] else 1.0)

    def perf_counter(self):
        return self.now


@pytest.mark.parametrize("start", [0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0])
def test_a_busy_moment_does_not_tell_equal_models_apart(monkeypatch, start):
    """One model, timed alone, would have all of its turns inside the busy moment."""
    clock = Clock((start, start + 2.5))
    monkeypatch.setattr(cost, "time", clock)
    timings = cost.time_in_turns({name: lambda n: clock.work(0.001 * n) for name in "ab"}, 64)
    assert [cost.lower_quartile(timings[name]) for name in "ab"] == pytest.approx([0.001, 0.001])
    assert all(
        len(timing.values) == 7 and timing.low <= cost.lower_quartile(timing) <= timing.high for timing in timings.values()
    )


@pytest.mark.parametrize("busy", [(0.05, 1.0), (0.35, 7.0)])
def test_a_comparison_times_its_models_in_turns(monkeypatch, busy):
    """Timed one after the other, the second model's whole measurement lay in the second of these moments."""
    clock, data = Clock(busy), vectors()
    monkeypatch.setattr(cost, "time", clock)

    class Timed(nn.Module):
        def forward(self, z, t=None, condition=None):
            clock.work(1e-4 * len(z))
            return z.sin()

    models = {name: Map(Timed(), data.space, (2,)) for name in ("one", "two")}
    comparison = compare(models, data, n=30, repeats=1, curve=False)
    first, second = (model.sampling.seconds_per_sample for model in comparison.models)
    assert first == pytest.approx(second, rel=0.01)
    assert not [sentence for sentence in Report(comparison).verdict if "times as long" in sentence]


def test_slow_models_are_timed_in_small_batches_and_fast_ones_often(monkeypatch):
    clock, calls = Clock((0, 0)), []

    def sampler(seconds):
        def sample(n):
            calls.append(n)
            clock.work(seconds * n)

        return sample

    monkeypatch.setattr(cost, "time", clock)
    timings = cost.time_in_turns({"slow": sampler(5.0), "fast": sampler(1e-5)}, 64)
    assert (timings["slow"].batch, timings["fast"].batch) == (1, 64)
    assert clock.now < 12 * 5.0
    assert cost.lower_quartile(timings["fast"]) == pytest.approx(1e-5)
    assert calls.count(64) > 7 * 10, "a turn of microseconds is no measurement"


def test_sampling_memory_counts_weights_and_the_batch_alone():
    """A map through one wide layer: weights, noise, hidden rows, and what space and clamp make of the output."""
    space, n = VectorSpace((3,), (0.0,) * 3, (1.0,) * 3), 64
    wide = nn.Sequential(nn.Linear(3, 4096), nn.Linear(4096, 3))
    transport = Map(lambda z, t, condition: wide(z), space, (3,))
    transport.layers = wide
    weights = 4 * (3 * 4096 + 4096 + 4096 * 3 + 3)
    hidden = 4 * n * 4096
    ballast = torch.zeros(2**24)
    measured = cost.sampling_memory(transport, n)
    assert weights + hidden <= measured <= weights + 1.02 * hidden
    del ballast
    assert cost.sampling_memory(transport, n) == measured, "other tensors in the process do not matter"
    assert cost.sampling_memory(transport, 2 * n) - measured == pytest.approx(hidden, rel=0.02)


def test_memory_of_few_steps_is_that_of_many(monkeypatch):
    """Multistep solvers hold earlier estimates; four steps hold as many as twelve."""
    denoiser = ring(Linear())
    for solver in (Heun(), DPM(order=3), UniPC()):
        flow = Flow(denoiser, solver, 12)
        few = cost.sampling_memory(flow, 50)
        monkeypatch.setattr(cost, "FEW_STEPS", 99)
        assert few == pytest.approx(cost.sampling_memory(flow, 50), rel=0.01)
        monkeypatch.undo()


def test_tensors_held_at_once_are_counted_and_no_others():
    third_tensor = torch.ones(2**18)

    def work():
        first = torch.ones(2**18)
        second = torch.ones(2**19)
        del first
        third = torch.ones(2**16)
        return float(second[0] + third[0] + third_tensor[0])

    assert added_peak(work) == pytest.approx(4 * (2**18 + 2**19), rel=0.001)
    with torch.autograd.profiler.profile():
        assert added_peak(work) is None


def test_shared_weights_are_held_once():
    first, second = nn.Linear(5, 7), nn.Linear(5, 7)
    second.weight = first.weight
    assert held_bytes(first, second, first) == 4 * (35 + 7 + 7)


def test_measuring_memory_prints_nothing():
    """The profiler's library would print two lines for each measurement."""
    file = Path(memory.__file__)
    code = f"import runpy, torch; peak = runpy.run_path({str(file)!r})['added_peak']; print(peak(lambda: torch.ones(1024)))"
    process = forking.run(code)
    assert (process.stdout, process.stderr) == ("4096\n", "")


def test_training_memory_is_the_runs_own_and_leaves_it_alone(tmp_path):
    """At least weights, their average, two moments and gradients, that is five times the network's bytes."""
    data = vectors()
    trainer = prepare("flow", data, steps=2, out=tmp_path / "flow", size="tiny")
    trainer.advance()
    run = finished(trainer)
    before = sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "flow").rglob("*"))
    generator = torch.random.get_rng_state()
    measured = training_memory(run, data)
    assert torch.equal(torch.random.get_rng_state(), generator)
    ballast = torch.ones(2**23)
    other = prepare("vae", data, steps=1, out=tmp_path / "vae", size="tiny")
    assert training_memory(run, data) == measured, "neither other tensors nor other trainings matter"
    assert training_memory(pf.load(tmp_path / "flow"), data) == measured
    assert measured > 5 * held_bytes(run.method)
    assert sorted((path, path.stat().st_mtime_ns) for path in (tmp_path / "flow").rglob("*")) == before
    assert training_memory(run, vectors(340)) is None, "other data"
    del ballast, other


def test_training_memory_takes_no_lock_and_writes_no_cache(tmp_path):
    data = vectors()
    coder = pf.fit("vae", data, steps=1, out=tmp_path / "vae")
    run = pf.fit(pf.training.in_latent("flow", data, coder), data, steps=1, out=tmp_path / "flow")
    shutil.rmtree(run.folder / "cache")
    (run.folder / ".lock").unlink()
    names = sorted(run.folder.rglob("*"))
    assert training_memory(run, data) > 0
    assert sorted(run.folder.rglob("*")) == names
    held = folders.hold(run.folder)
    assert training_memory(run, data) > 0, "while the run is trained further"
    held.release()


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("DefaultCPUAllocator: can't allocate memory"), MemoryError()],
)
def test_training_memory_is_unknown_where_the_memory_does_not_suffice(error, tmp_path, monkeypatch):
    data = vectors()
    run = pf.fit("flow", data, steps=1, out=tmp_path / "flow")

    def step(self):
        raise error

    monkeypatch.setattr(Trainer, "step", step)
    assert training_memory(run, data) is None


# Guesses -----------------------------------------------------------------------------------------------------


def test_a_uniform_guess_needs_the_logarithm_of_the_levels():
    rng = np.random.default_rng(0)
    many = images(rng.integers(0, 256, (40, 1, 9, 8), dtype=np.uint8), rng.integers(0, 256, (5, 1, 9, 8), dtype=np.uint8))
    uniform = guess(many, 5)
    assert (uniform.name, uniform.scores["bpd"].value, uniform.scores["bpd"].spread) == (
        "uniform guess over 256 levels",
        8.0,
        None,
    )
    few = images(17 * rng.integers(0, 16, (40, 1, 9, 8), dtype=np.uint8), 17 * rng.integers(0, 16, (5, 1, 9, 8), dtype=np.uint8))
    assert guess(few, 5, conditions=["given"]) == guess(few, 5), "levels are the same under all conditions"
    assert guess(few, 5).scores["bpd"].value == 4.0
    few.held_out.x[0, 0, 0, 0] = 1
    assert levels_of(few) == 256, "a level that training examples lack has no probability under a guess of theirs"
    zeros_and_ones = Dataset(
        "bits", VectorSpace((3,), (0.5,) * 3, (0.5,) * 3, binary=True), *(Split(np.eye(3, dtype=np.float32)),) * 2
    )
    assert guess(zeros_and_ones, 3, discrete=True).scores["bpd"].value == 1.0


def test_the_guess_for_vectors_is_a_gaussian():
    """Against scipy's density; labelled data has one for each class where the model is given the labels."""
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 400)
    rows = (rng.normal(size=(800, 3)) * [1, 5, 0.2] + 4 * labels[:, None]).astype(np.float32)
    space = VectorSpace((3,), (1.0, 2.0, 3.0), (0.5, 2.0, 4.0), conditions={"label": Label(("a", "b"), (0.5, 0.5))})
    data = Dataset("two", space, Split(rows[::2], labels[::2]), Split(rows[1::2], labels[1::2]))
    train, held = rows[::2].astype(float), rows[1::2].astype(float)
    alone = -multivariate_normal(train.mean(0), np.cov(train.T, bias=True)).logpdf(held) / (3 * math.log(2))
    bpd = guess(data, 400).scores["bpd"]
    assert bpd.value == pytest.approx(alone.mean(), abs=0.01)
    assert bpd.spread == pytest.approx(alone.std(ddof=1) / 20, rel=0.05)
    per_class = guess(data, 400, conditions=["label"])
    assert per_class.name == "one Gaussian per class"
    assert per_class.scores["bpd"].value < bpd.value - 0.1
    assert guess(data, 400, conditions=["label", "given"]) is None, "a Gaussian that is not given it is no fair guess"
    constant = Dataset("flat", VectorSpace((2,), (0.0,) * 2, (1.0,) * 2), *(Split(np.ones((9, 2), np.float32)),) * 2)
    assert guess(constant, 5) is None


def test_bits_come_with_their_guess(monkeypatch):
    data = vectors()
    flow = Flow(ring(Linear(), modes=1, radius=0.0, std=1.0), Heun(), 8)
    comparison = module.evaluate(flow, data, n=20, metrics=["bpd"])
    (base,) = comparison.guesses
    assert base.name == "one Gaussian"
    assert comparison.models[0].scores["bpd"].value == pytest.approx(base.scores["bpd"].value, abs=0.05)
    assert comparison.baseline is None, "nothing was sampled"


@pytest.mark.parametrize("name", ["vae", "gan", "flow"])
def test_the_terminal_counts_what_samples_first_and_what_only_training_needs_apart(name):
    method = recipe_for(name, space_data((2,), labels=False, n=40)).method
    said = announcing._sizes(SimpleNamespace(method=method))
    first, *others = (int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", said))
    assert first == cost.parameters(method.transport())
    assert first + sum(others) == sum(tensor.numel() for tensor in method.parameters())
    assert ("for training only" in said) == (name != "flow")
