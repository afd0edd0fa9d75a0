"""Laws of training: resuming, batches in parts, averages and rates; what a training accepts and
refuses.
"""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from programs.digest import state_digest
from programs.trained import other
from torch.nn.utils import parameters_to_vector

import pushforward as pf
from pushforward import spec
from pushforward.conditions import Label
from pushforward.denoisers import Denoiser
from pushforward.draws import BLOCK, ExampleDraws
from pushforward.errors import CheckpointError, UsageError
from pushforward.methods import Denoising
from pushforward.methods.method import StepContext, answered
from pushforward.networks import UNet
from pushforward.registries import RECIPES
from pushforward.testing import assert_same, final_state, recipe_for, shape_for, space_data
from pushforward.training import Budget, Silent
from pushforward.training.api import prepare, reopen
from pushforward.training.checkpoint.storage import latest
from pushforward.training.loop.callbacks import Observer
from pushforward.training.loop.optimizers import Average
from pushforward.training.loop.state import Clock, TrainState


@pytest.mark.parametrize("name", RECIPES)
def test_a_resumed_run_ends_bit_for_bit(name, tmp_path):
    """Stopped at an epoch's edge (64 rows, batch 32: after step 2) and mid-epoch, in float32 or
    bfloat16 by turns.

    What draws beside the resumed training changes nothing either: its streams have names of their
        own.
    """
    data = space_data(shape_for(name), labels=True, n=64)
    number = list(RECIPES).index(name)
    precision = ("float32", "bfloat16")[number % 2]

    def recipe():
        return recipe_for(name, data, batch=32, precision=precision)

    whole = pf.fit(recipe(), data, steps=5, out=tmp_path / "whole", seed=3)
    trainer = prepare(recipe(), data, steps=5, out=tmp_path / "cut", seed=3)
    for stop in (2, 3):
        consumed(trainer)
        while trainer.clock.step < stop:
            trainer.advance(1e-9)
        trainer.finish()
        trainer = reopen(tmp_path / "cut", data=data)
        assert trainer.clock.step == stop
    consumed(trainer)
    trainer.advance()
    cut = pf.load(tmp_path / "cut")
    assert_same(final_state(whole.folder), final_state(cut.folder))
    losses = exact_losses(whole)
    assert exact_losses(cut) == losses
    assert len(losses) == 5
    assert state_digest(whole.folder) == state_digest(cut.folder)


def exact_losses(run):
    """Rows of the log but for times; floats are hexadecimal: JSON keeps every bit of them."""
    rows = []
    for row in run.losses():
        losses = {name: value.hex() for name, value in row["loss"].items()}
        rows.append({**row, "seconds": 0.0, "loss": losses})
    return rows


class Consumer(Observer):
    """Draws after every step, from the generators of torch and numpy and from those of a
    sampling.
    """

    def due(self, moment):
        return True

    def observe(self, moment):
        torch.rand(3), np.random.rand(3)
        ExampleDraws(0, 2, "train").normal((3,))
        return {}


def consumed(trainer):
    """Beside a training others draw: before each turn from a stream of the step's own, between
    steps, and batches to come.

    One more frozen part is used.
    """
    losses = trainer.method.losses
    trainer.method.freeze("another", torch.nn.Linear(3, 2))

    def drawing(batch, now):
        game = losses(batch, now)
        reply = None
        while True:
            now.draws.stream("another").uniform()
            noise = now.draws.stream("another").normal((3,))
            trainer.method.another(noise)
            move = answered(game, reply)
            if move is None:
                return
            trainer.sampler.batch(trainer.clock.step + 9)
            reply = yield move

    trainer.method.losses = drawing
    trainer.callbacks.observers.append(Consumer())


SEEN_BY_PARTS = ("autoencoder",)
"""Estimates of spectral norms move once for each part of a batch."""


@pytest.mark.parametrize("name", RECIPES)
def test_accumulation_changes_nothing_but_rounding(name, tmp_path):
    data = space_data(shape_for(name), labels=True, n=300)
    finals = []
    for parts in (1, 2):
        recipe = recipe_for(name, data, batch=4 * BLOCK, accumulate=parts, precision="float32")
        run = pf.fit(recipe, data, steps=2, out=tmp_path / str(parts), seed=0)
        state, *_ = final_state(run.folder)
        finals.append(state["method"])
    whole, in_parts = finals
    tolerance = {"rtol": 1e-3, "atol": 2e-5}
    if name in SEEN_BY_PARTS:
        tolerance = {"rtol": 0.1, "atol": 0.03}
    for key, tensor in whole.items():
        # estimates of singular vectors move once for every part, and far while they are young
        young = name in SEEN_BY_PARTS and key.endswith(("._u", "._v"))
        # pairing cancels the critic's last bias: its gradient is rounding, which Adam blows up
        cancelled = key.startswith("critic.") and key.endswith("leave.bias")
        if not (young or cancelled):
            torch.testing.assert_close(in_parts[key], tensor, **tolerance)


def test_a_run_is_saved_before_its_first_step(tmp_path):
    """And a trainer that has not begun costs no checkpoint."""
    data = space_data((2,), labels=False)
    trainer = prepare(recipe_for("flow", data), data, steps=3, out=tmp_path / "run")
    assert latest(tmp_path / "run" / "checkpoints") is None
    trainer.advance(1e-9)
    assert latest(tmp_path / "run" / "checkpoints").name == "step_000000"
    trainer.close()
    assert reopen(tmp_path / "run", data=data).clock.step == 0


def test_dropout_is_repeated_and_resumed(tmp_path):
    """A U-Net drops features by a function, not by a module that a search would find."""
    data = space_data((1, 8, 8), labels=False)

    def recipe():
        return dropping(recipe_for("flow", data, batch=16))

    for number in range(2):
        torch.manual_seed(number)
        pf.fit(recipe(), data, steps=4, out=tmp_path / str(number))
    assert_same(final_state(tmp_path / "0"), final_state(tmp_path / "1"))
    trainer = prepare(recipe(), data, steps=4, out=tmp_path / "cut", checkpoint_every=2)
    trainer.advance(1e-9)
    trainer.advance(1e-9)
    trainer.close()
    torch.manual_seed(9)
    pf.resume(tmp_path / "cut", data=data)
    assert_same(final_state(tmp_path / "0"), final_state(tmp_path / "cut"))


class Dropping(UNet):
    def forward(self, x, t=None, condition=None):
        return torch.nn.functional.dropout(super().forward(x, t, condition), 0.3, self.training)


def dropping(recipe):
    spec.register(Dropping)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Dropping.sized("tiny", shape=(1, 8, 8))
    old = recipe.method.denoiser
    method = Denoising(Denoiser(network, old.path, old.prediction, old.space))
    return dataclasses.replace(recipe, method=method)


def test_init_starts_from_another_runs_average(tmp_path):
    data = space_data((2,), labels=False)
    first = pf.fit(recipe_for("flow", data), data, steps=3, out=tmp_path / "first")
    recipe = recipe_for("flow", data)
    trainer = prepare(recipe, data, steps=3, out=tmp_path / "second", init=first.folder)
    weights = trainer.method.state_dict()
    for name, tensor in first.method.state_dict().items():
        assert torch.equal(weights[name], tensor)


def test_the_average_is_the_stated_one():
    data = space_data((2,), labels=False)
    method = recipe_for("flow", data).method
    average = Average(method, half_life=100, share=0.5)
    parameter = next(method.parameters())
    mine = next(average.method.parameters())
    expected = mine.clone()
    for step in range(1, 6):
        with torch.no_grad():
            parameter.add_(step)
        average.update(samples=40 * step, batch=40)
        weight = 1 - 0.5 ** (40 / min(100, 0.5 * 40 * step))
        expected = expected + weight * (parameter.detach() - expected)
        torch.testing.assert_close(mine, expected)


def test_buffers_are_averaged_and_counts_copied():
    data = space_data((2,), labels=False)
    method = recipe_for("flow", data).method
    method.denoiser.network.norm = torch.nn.BatchNorm1d(2)
    average = Average(method, half_life=1e9, share=1.0)
    norm = method.denoiser.network.norm
    mine = average.method.denoiser.network.norm
    norm.running_mean += 1
    norm.num_batches_tracked += 7
    average.update(samples=100, batch=50)
    expected = torch.full((2,), 1 - 0.5**0.5)
    torch.testing.assert_close(mine.running_mean, expected)
    assert mine.num_batches_tracked == 7


def test_the_rate_rises_stays_and_falls():
    clock = Clock(TrainState(None, {}, None), Budget(steps=1000), 1)
    schedule = pf.Schedule(warmup=100, decay=1 / 3, lr_end=0.1)
    rates = []
    while not clock.done:
        now = StepContext(None, 0, clock.progress)
        rates.append(schedule.rate(clock, now))
        clock.state.advance(0.01)
    assert rates[0] == pytest.approx(0.01)
    assert rates[99:660] == pytest.approx([1.0] * 561)
    assert rates[-1] == pytest.approx(0.1, abs=0.01)
    assert np.all(np.diff(rates[667:]) < 0)


def test_amounts_are_read_with_their_units_and_others_are_refused():
    seconds = {"90": 90, "60s": 60, "10m": 600, "1.5h": 5400, 12: 12, "5 minutes": 300}
    for text, expected in seconds.items():
        assert Budget.duration(text) == expected
    counts = {"5000": 5000, "200k": 200_000, "1M": 1_000_000, "1.5k": 1500}
    for text, expected in counts.items():
        assert Budget.count(text) == expected
    with pytest.raises(UsageError):
        Budget.duration("soon")
    with pytest.raises(UsageError):
        Budget.duration("1_000s")
    with pytest.raises(UsageError):
        Budget.count("-3")


@pytest.mark.parametrize("amounts", [{}, {"steps": 1, "samples": 2}, {"steps": 0}])
def test_a_budget_is_one_positive_amount(amounts):
    with pytest.raises(UsageError):
        Budget(**amounts)


def test_a_budget_below_what_is_trained_is_refused(tmp_path):
    data = space_data((2,), labels=False)
    run = pf.fit(recipe_for("flow", data), data, steps=3, out=tmp_path / "run")
    with pytest.raises(UsageError, match=r"seconds.*leaves nothing to do.*give more"):
        pf.resume(run, seconds=1e-6, data=data)
    assert pf.resume(run, steps=4, data=data).state["step"] == 4


class Own(torch.nn.Module):
    """A network whose arguments, a function or a module, cannot be stored."""

    def __init__(self, activation, width=8):
        super().__init__()
        self.activation = activation
        self.width = width
        self.inner = torch.nn.Linear(3, width)
        self.outer = torch.nn.Linear(width, 2)

    def forward(self, x, t=None, condition=None):
        inputs = torch.cat([x, t[:, None]], 1)
        return self.outer(self.activation(self.inner(inputs)))


def of_a_function():
    return Own(lambda x: x.relu())


def of_a_module():
    return Own(torch.nn.Linear(8, 8))


class CountsWarnings(Silent):
    """Notes how many warnings there are at each moment of a training."""

    def __init__(self, caught):
        self.caught = caught
        self.counts = []

    def __call__(self, *moment):
        self.counts.append(len(self.caught))


@pytest.mark.parametrize("make", [of_a_function, of_a_module])
def test_a_network_that_cannot_be_stored_is_warned_of_before_the_first_step(make, tmp_path):
    data = space_data((2,), labels=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        progress = CountsWarnings(caught)
        recipe = pf.recipes.flow(data.space, network=make())
        pf.fit(recipe, data, steps=2, out=tmp_path / "run", progress=progress)
    assert len(caught) == 1
    assert progress.counts[0] == 1
    assert "network=" in str(caught[0].message)


@pytest.mark.parametrize("make", [of_a_function, of_a_module])
def test_a_network_that_cannot_be_stored_is_handed_over_again(make, tmp_path):
    data = space_data((2,), labels=False)

    def recipe():
        return pf.recipes.flow(data.space, network=make())

    run = pf.fit(recipe, data, steps=2, out=tmp_path / "run")
    with pytest.raises(CheckpointError, match=r"network=.*method="):
        pf.load(run.folder)
    expected = run.transport.sample(3)
    network = make()
    before = parameters_to_vector(network.parameters()).clone()
    again = pf.load(run.folder, network=network)
    assert torch.equal(again.transport.sample(3), expected)
    after = parameters_to_vector(network.parameters())
    assert torch.equal(before, after), "a copy was used"
    again = pf.load(run.folder, method=recipe().method)
    assert torch.equal(again.transport.sample(3), expected)
    for unlike in (Own(make().activation, width=9), torch.nn.Linear(2, 2)):
        with pytest.raises(UsageError, match="trained with another"):
            pf.load(run.folder, network=unlike)
    whole = pf.fit(recipe, data, steps=4, out=tmp_path / "whole")
    resumed = pf.resume(run.folder, steps=4, network=network, data=data)
    assert torch.equal(resumed.sample(3), whole.sample(3))


def test_a_network_of_pushforward_is_not_warned_of_and_may_be_handed_over(tmp_path, recwarn):
    data = space_data((2,), labels=False)
    run = pf.fit(recipe_for("flow", data), data, steps=2, out=tmp_path / "run")
    assert not recwarn.list
    actual = pf.load(tmp_path / "run", network=run.denoiser.network).sample(3)
    assert torch.equal(actual, run.sample(3))
    with pytest.raises(UsageError, match="trained with another"):
        pf.load(tmp_path / "run", network=Own(torch.relu))


@pytest.mark.parametrize(
    ("stored", "says"), [({"width": 3}, "'width': 3"), ({"opaque": True}, "not stored")]
)
def test_a_network_that_differs_is_compared_with_what_the_run_stores(stored, says):
    network = {"part": "Linear", **stored}
    method = {"part": "Denoiser", "network": network}
    with pytest.raises(UsageError, match=says):
        spec.with_network({"method": method}, Own(torch.relu))


class Encoder(Own):
    """A network with the name of another one of pushforward; its arguments can be stored."""

    def __init__(self, channels=8):
        super().__init__(torch.tanh, channels)
        self.channels = channels


class EDMWeight(pf.paths.Weight):
    """A weight with the name of another one of pushforward, and fewer arguments."""

    def on_data(self, k):
        return torch.ones_like(k.r)


def test_an_own_class_with_a_name_of_pushforward_is_trained_and_handed_over_again(tmp_path):
    data = space_data((2,), labels=False)

    def make():
        denoiser = pf.recipes.flow(data.space, "tiny").method.denoiser
        return pf.Denoising(denoiser, weight=EDMWeight())

    with pytest.warns(UserWarning, match="your own"):
        run = pf.fit(pf.Recipe(make()), data, steps=2, out=tmp_path / "weighted")
    assert isinstance(run.method.weight, EDMWeight)
    actual = pf.load(tmp_path / "weighted", method=make()).sample(3)
    assert torch.equal(actual, run.sample(3))
    with pytest.warns(UserWarning, match="your own"):
        run = pf.fit("flow", data, steps=2, network=Encoder(), out=tmp_path / "run")
    assert isinstance(run.denoiser.network, Encoder)
    with pytest.raises(CheckpointError, match=r"network=.*method="):
        pf.load(tmp_path / "run")
    actual = pf.load(tmp_path / "run", network=Encoder()).sample(3)
    assert torch.equal(actual, run.sample(3))
    with pytest.raises(UsageError, match="trained with another"):
        pf.load(tmp_path / "run", network=Encoder(9))


@pytest.mark.parametrize(
    "changes",
    [
        {"mean": (5.0, 6.0)},
        {"std": (3.0, 1.0)},
        {"low": (0.0, 0.0), "high": (1.0, 1.0)},
        {"columns": ("a", "b")},
        {"conditions": {"label": Label(("a", "c", "b"), (0.5, 0.25, 0.25))}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_a_method_of_another_space_is_refused(changes, tmp_path):
    data = space_data((2,), labels=True)
    space = other(data.space, **changes)
    recipe = recipe_for("flow", dataclasses.replace(data, space=space))
    first, *_ = changes
    with pytest.raises(UsageError, match=f"differs in {first}"):
        pf.fit(recipe, data, steps=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
