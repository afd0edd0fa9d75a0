"""What a method is trained on instead of data: computed once by frozen parts, by name, drawn by
each example's place.
"""

import functools
import json
import shutil
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.draws import ExampleDraws
from pushforward.evaluation.models import of_run
from pushforward.evaluation.results import ModelResult
from pushforward.methods import Trajectories, trajectories
from pushforward.registries import PARTS
from pushforward.testing import assert_same, final_state, space_data
from pushforward.training import Budget, Progress
from pushforward.training.api import prepare, reopen
from pushforward.training.distributed.processes import Processes
from pushforward.training.loop import model_setup as preparing, model_setup as storing
from pushforward.training.loop.model_setup import Store, prepared
from pushforward.training.recipe_argument import with_frozen


class Shift(nn.Module):
    """A teacher with one weight."""

    def __init__(self, width=17):
        super().__init__()
        self.width = width
        self.weight = nn.Parameter(torch.full((width,), 0.5))

    def forward(self, z):
        return z + self.weight


class Pairs(pf.Method):
    """A student that is to take a teacher's noise to the teacher's sample."""

    def __init__(self, student, teacher, space, scale=1.0):
        super().__init__()
        self.student = student
        self.space = space
        self.scale = scale
        self.seen = []
        self.freeze("teacher", teacher)

    @property
    def players(self):
        return {"student": self.student}

    def prepared(self, x, condition, draws):
        z = draws.normal(x.shape[1:])
        return {
            "x": self.scale * self.teacher(z),
            "z": z,
            "place": draws.stream("other").uniform(),
            "own": x,
        }

    def losses(self, batch, now):
        self.seen.append(batch)
        yield "student", (self.student(batch["z"]) - batch.x).square().mean()

    def transport(self):
        return pf.Map(Of(self.student), self.space, self.space.shape)


class Of(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, z, t=None, condition=None):
        return self.network(z)


class Affine(nn.Linear):
    def __init__(self, width):
        super().__init__(width, width)
        self.width = width


@pytest.fixture(autouse=True)
def _own_classes(monkeypatch):
    monkeypatch.setattr(PARTS, "added", dict(PARTS.added))
    pf.spec.register(Pairs, Shift, Affine)
    monkeypatch.setattr(preparing, "_last", None)


def data_of(n=300, labels=True):
    return space_data((17,), labels=labels, n=n)


def recipe(data, batch=128, scale=1.0, **training):
    return pf.Recipe(
        Pairs(Affine(17), Shift(), data.space, scale),
        pf.Training(batch=batch, **training),
        "pairs",
        "pairs",
    )


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2}], ids=["whole", "parts"])
def test_batches_hold_what_was_prepared_of_their_examples(changes, tmp_path):
    data = data_of()
    trainer = prepare(recipe(data, **changes), data, steps=3, out=tmp_path / "run", seed=1)
    trainer.advance()
    fields = prepared(trainer.method, data)
    seen = trainer.method.seen
    together = {name: torch.cat([batch[name] for batch in seen]) for name in ("z", "place", "own")}
    _, places = trainer.sampler.positions(0, 3 * 128)
    for name, value in together.items():
        assert torch.equal(value, fields[name][places]), name
    expected = data.space.to_model(data.train.data_units())[places]
    assert torch.equal(together["own"], expected)
    actual = torch.cat([batch.x for batch in seen])
    assert torch.equal(actual, together["z"] + 0.5)
    label = torch.cat([batch.condition["label"] for batch in seen])
    expected = torch.from_numpy(data.train.labels)[places]
    assert torch.equal(label, expected)


def test_what_is_drawn_is_keyed_by_the_example_s_place(monkeypatch):
    data = data_of()
    method = recipe(data).method
    whole = prepared(method, data)
    monkeypatch.setattr(preparing, "CHUNK", 70)
    monkeypatch.setattr(preparing, "_last", None)
    parts = prepared(method, data)
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    expected = ExampleDraws([7, 8], name="prepared").normal((17,))
    assert torch.equal(whole["z"][7:9], expected)
    std = float(whole["z"].std())
    assert std == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("cache", [True, False], ids=["stored", "lost"])
def test_a_run_that_is_killed_ends_in_the_same_bits(cache, tmp_path, monkeypatch):
    data = data_of()
    pf.fit(recipe(data), data, steps=4, out=tmp_path / "whole", seed=3)
    trainer = prepare(recipe(data), data, steps=4, out=tmp_path / "cut", checkpoint_every=1, seed=3)
    trainer.advance(1e-9)
    assert 0 < trainer.clock.step < 4
    del trainer
    monkeypatch.setattr(preparing, "_last", None)
    if not cache:
        shutil.rmtree(tmp_path / "cut" / "cache")
    calls = []
    forward = Shift.forward
    monkeypatch.setattr(Shift, "forward", lambda self, z: calls.append(len(z)) or forward(self, z))
    reopen(tmp_path / "cut", data=data).advance()
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "cut"))
    assert sum(calls) == (0 if cache else len(data.train)), "all fields are stored"


def test_settings_and_weights_of_frozen_parts_tell_prepared_inputs_apart():
    data = data_of(n=70)
    first = prepared(recipe(data).method, data)
    assert prepared(recipe(data).method, data) is first, "the same again is not computed again"
    actual = prepared(recipe(data, scale=2.0).method, data)["x"]
    assert torch.equal(actual, 2 * first["x"])


def test_modules_that_are_neither_frozen_nor_trained_tell_prepared_inputs_apart():
    class Scaled(Pairs):
        def __init__(self, student, teacher, space, scale, fixed):
            super().__init__(student, teacher, space, scale)
            self.fixed = fixed.requires_grad_(False)

        def prepared(self, x, condition, draws):
            return {**super().prepared(x, condition, draws), "x": self.fixed(x)}

    data = data_of(n=70)
    torch.manual_seed(0)
    first, second = (
        prepared(Scaled(Affine(17), Shift(), data.space, 1.0, Affine(17)), data)["x"]
        for _ in range(2)
    )
    assert not torch.equal(first, second)


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(trajectories, "CHUNK", 16)


@pytest.fixture(scope="module")
def flow(moons, tmp_path_factory):
    """A run that is hardly trained."""
    out = tmp_path_factory.mktemp("runs") / "flow"
    return pf.fit("flow", moons, size="tiny", steps=5, seed=0, out=out)


@pytest.mark.parametrize("damage", ["no tensors", "those of another part"])
def test_a_training_that_is_killed_among_its_trajectories_goes_on_with_the_next(
    damage, flow, moons, small_parts, tmp_path, monkeypatch
):
    recipe = functools.partial(with_frozen("distil", {"teacher": flow}), trajectories=50)
    options = {"steps": 3, "seed": 3}
    pf.fit(recipe(moons.space), moons, out=tmp_path / "whole", **options)
    own = Trajectories.part
    computed = []

    def part(self, rows):
        computed.append(rows.start)
        if len(computed) == 3:
            raise KeyboardInterrupt
        return own(self, rows)

    monkeypatch.setattr(Trajectories, "part", part)
    with pytest.raises(KeyboardInterrupt):
        pf.fit(recipe(moons.space), moons, out=tmp_path / "cut", **options)
    store = tmp_path / "cut" / "cache" / "trajectories"
    assert [path.name for path in sorted(store.glob("*.safetensors"))] == [
        "000000.safetensors",
        "000001.safetensors",
    ]
    another = (store / "000000.safetensors").read_bytes()
    (store / "000001.safetensors").write_bytes(b"damaged" if damage == "no tensors" else another)
    seconds = json.loads((store / "index.json").read_text())["seconds"]
    pf.resume(tmp_path / "cut")
    assert computed == [0, 16, 32, 16, 32, 48]
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "cut"))
    run = pf.load(tmp_path / "cut")
    assert run.state["store_seconds"] > seconds > 0
    result = of_run(ModelResult("map"), run)
    assert result.training.trajectory_seconds == run.state["store_seconds"]
    assert result.other_parameters == {}, "the trajectories have no parameters"
    again = reopen(tmp_path / "cut", data=moons, steps=4)
    assert again.store.whole
    assert again.store.trajectories.ready == 50
    again.close()
    again.store.trajectories.ready = 0
    shared = Store(again.method, tmp_path / "cut", processes=Second())
    assert (shared.trajectories.ready, shared.whole) == (32, False), (
        "what one process cannot read is missing in all"
    )


class Second(Processes):
    """One of two processes, of which the other can read two parts."""

    def gathered(self, value):
        return [2, value]


def test_a_budget_in_seconds_counts_trajectories_and_ends_them_at_a_quarter(
    flow, moons, small_parts, tmp_path, monkeypatch, capsys
):
    ticks = iter(range(100))
    monkeypatch.setattr(storing, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    recipe = with_frozen("distil", {"teacher": flow})(moons.space, trajectories=80)
    trainer = prepare(recipe, moons, seconds=12, out=tmp_path / "run")
    left = trainer.store.completed("run", Budget(seconds=12), Progress(interval=0), lambda: False)
    assert left == Budget(seconds=9)
    assert trainer.store.trajectories.ready == 48
    assert trainer.store.whole
    assert "60 %  48/80 teacher trajectories  0:03" in capsys.readouterr().err
    trainer.save()
    trainer.close()
    resumed = reopen(tmp_path / "run", data=moons)
    assert resumed.clock.budget == left
    assert resumed.budget == Budget(seconds=12), "what was given, as a finished run states it"
    assert resumed.store.trajectories.ready == 48
    resumed.close()
    assert Budget(seconds=4).after(100) == Budget(seconds=1)
    assert Budget(steps=4).after(100) == Budget(steps=4)


@pytest.mark.parametrize("single", [0.5, 0.8])
def test_legs_are_the_jumps_of_samplings_in_one_two_and_four(flow, single):
    stored = Trajectories(
        flow.transport.with_solver("dpm:2", 8),
        40,
        seed=5,
        legs=1.0 if single == 0.5 else (single, 1 - single),
    )
    (_, t), (_, s), _ = stored.draw(ExampleDraws(0, 4000))
    rest = 1 - single
    legs = {(1, 0): single, (1, 1 / 2): rest / 4, (1 / 2, 0): rest / 4}
    legs |= {(a / 4, (a - 1) / 4): rest / 8 for a in (1, 2, 3, 4)}
    times = {float(torch.tensor(time)): (8 - place) / 8 for place, time in enumerate(stored.times)}
    pairs = Counter(zip((times[float(a)] for a in t), (times[float(b)] for b in s), strict=True))
    assert pairs.keys() == legs.keys()
    assert all(
        abs(pairs[leg] / 4000 - share) < 4 * (share / 4000) ** 0.5 for leg, share in legs.items()
    )
