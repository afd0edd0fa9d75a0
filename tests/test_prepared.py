"""What a method is trained on instead of data: computed once by frozen parts, by name, drawn by
each example's place.
"""

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
from pushforward.training.loop import model_setup as preparing
from pushforward.training.loop.model_setup import TrajectoryStore, prepare_inputs
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
    method = Pairs(Affine(17), Shift(), data.space, scale)
    return pf.Recipe(method, pf.Training(batch=batch, **training), "pairs", "pairs")


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2}], ids=["whole", "parts"])
def test_batches_hold_what_was_prepared_of_their_examples(changes, tmp_path):
    data = data_of()
    trainer = prepare(recipe(data, **changes), data, steps=3, out=tmp_path / "run", seed=1)
    trainer.advance()
    fields = prepare_inputs(trainer.method, data)
    seen = trainer.method.seen
    _, places = trainer.sampler.positions(0, 3 * 128)
    together = {}
    for name in ("z", "place", "own"):
        together[name] = torch.cat([batch[name] for batch in seen])
        assert torch.equal(together[name], fields[name][places]), name
    examples = data.space.to_model(data.train.data_units())
    assert torch.equal(together["own"], examples[places])
    x = torch.cat([batch.x for batch in seen])
    assert torch.equal(x, together["z"] + 0.5)
    labels = torch.cat([batch.condition["label"] for batch in seen])
    assert torch.equal(labels, torch.from_numpy(data.train.labels)[places])


def test_what_is_drawn_is_keyed_by_the_example_s_place(monkeypatch):
    data = data_of()
    method = recipe(data).method
    whole = prepare_inputs(method, data)
    monkeypatch.setattr(preparing, "CHUNK", 70)
    monkeypatch.setattr(preparing, "_last", None)
    parts = prepare_inputs(method, data)
    for name, values in whole.items():
        assert torch.equal(values, parts[name]), name
    z = whole["z"]
    expected = ExampleDraws([7, 8], name="prepared").normal((17,))
    assert torch.equal(z[7:9], expected)
    assert z.std().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("cache", [True, False], ids=["stored", "lost"])
def test_a_run_that_is_killed_ends_in_the_same_bits(cache, tmp_path, monkeypatch):
    data = data_of()
    whole = tmp_path / "whole"
    cut = tmp_path / "cut"
    pf.fit(recipe(data), data, steps=4, out=whole, seed=3)
    trainer = prepare(recipe(data), data, steps=4, out=cut, checkpoint_every=1, seed=3)
    trainer.advance(1e-9)
    assert 0 < trainer.clock.step < 4
    del trainer
    monkeypatch.setattr(preparing, "_last", None)
    computed_again = 0
    if not cache:
        shutil.rmtree(cut / "cache")
        computed_again = len(data.train)
    computed = []
    forward = Shift.forward

    def counted(self, z):
        computed.append(len(z))
        return forward(self, z)

    monkeypatch.setattr(Shift, "forward", counted)
    reopen(cut, data=data).advance()
    assert_same(final_state(whole), final_state(cut))
    assert sum(computed) == computed_again, "all fields are stored"


def test_settings_and_weights_of_frozen_parts_tell_prepared_inputs_apart():
    data = data_of(n=70)
    first = prepare_inputs(recipe(data).method, data)
    assert prepare_inputs(recipe(data).method, data) is first, (
        "the same again is not computed again"
    )
    scaled = prepare_inputs(recipe(data, scale=2.0).method, data)
    assert torch.equal(scaled["x"], 2 * first["x"])


def test_modules_that_are_neither_frozen_nor_trained_tell_prepared_inputs_apart():
    class Scaled(Pairs):
        def __init__(self, student, teacher, space, scale, fixed):
            super().__init__(student, teacher, space, scale)
            self.fixed = fixed.requires_grad_(False)

        def prepared(self, x, condition, draws):
            fields = super().prepared(x, condition, draws)
            return {**fields, "x": self.fixed(x)}

    data = data_of(n=70)
    torch.manual_seed(0)
    first = Scaled(Affine(17), Shift(), data.space, 1.0, Affine(17))
    second = Scaled(Affine(17), Shift(), data.space, 1.0, Affine(17))
    assert not torch.equal(prepare_inputs(first, data)["x"], prepare_inputs(second, data)["x"])


@pytest.fixture
def interrupted(monkeypatch):
    """The parts of trajectories that are computed, of which the third is interrupted once."""
    own = Trajectories.part
    computed = []

    def part(self, rows):
        computed.append(rows.start)
        if len(computed) == 3:
            raise KeyboardInterrupt
        return own(self, rows)

    monkeypatch.setattr(Trajectories, "part", part)
    return computed


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
    damage, flow, moons, small_parts, tmp_path, request
):
    whole = tmp_path / "whole"
    cut = tmp_path / "cut"

    def fit(out):
        distilled = with_frozen("distil", {"teacher": flow})(moons.space, trajectories=50)
        pf.fit(distilled, moons, out=out, steps=3, seed=3)

    fit(whole)
    computed = request.getfixturevalue("interrupted")
    with pytest.raises(KeyboardInterrupt):
        fit(cut)
    store = cut / "cache" / "trajectories"
    first, second = sorted(store.glob("*.safetensors"))
    assert first.name == "000000.safetensors"
    assert second.name == "000001.safetensors"
    content = b"damaged"
    if damage == "those of another part":
        content = first.read_bytes()
    second.write_bytes(content)
    seconds = json.loads((store / "index.json").read_text())["seconds"]
    pf.resume(cut)
    assert computed == [0, 16, 32, 16, 32, 48]
    assert_same(final_state(whole), final_state(cut))
    run = pf.load(cut)
    assert run.state["store_seconds"] > seconds > 0
    result = of_run(ModelResult("map"), run)
    assert result.training.trajectory_seconds == run.state["store_seconds"]
    assert result.other_parameters == {}, "the trajectories have no parameters"
    again = reopen(cut, data=moons, steps=4)
    assert again.trajectory_store.whole
    assert again.trajectory_store.trajectories.ready == 50
    again.close()
    again.trajectory_store.trajectories.ready = 0
    shared = TrajectoryStore(again.method, cut, processes=Second())
    assert shared.trajectories.ready == 32, "what one process cannot read is missing in all"
    assert not shared.whole


class Second(Processes):
    """One of two processes, of which the other can read two parts."""

    def gather(self, value):
        return [2, value]


def test_a_budget_in_seconds_counts_trajectories_and_ends_them_at_a_quarter(
    flow, moons, small_parts, tmp_path, monkeypatch, capsys
):
    ticks = iter(range(100))
    clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr(preparing, "time", clock)
    recipe = with_frozen("distil", {"teacher": flow})(moons.space, trajectories=80)
    given = Budget(seconds=12)
    trainer = prepare(recipe, moons, seconds=12, out=tmp_path / "run")
    left = trainer.trajectory_store.complete("run", given, Progress(interval=0), lambda: False)
    assert left == Budget(seconds=9)
    assert trainer.trajectory_store.trajectories.ready == 48
    assert trainer.trajectory_store.whole
    assert "60 %  48/80 teacher trajectories  0:03" in capsys.readouterr().err
    trainer.save()
    trainer.close()
    resumed = reopen(tmp_path / "run", data=moons)
    assert resumed.clock.budget == left
    assert resumed.budget == given, "what was given, as a finished run states it"
    assert resumed.trajectory_store.trajectories.ready == 48
    resumed.close()


def test_trajectories_take_time_and_no_steps_of_a_budget():
    assert Budget(seconds=4).after(100) == Budget(seconds=1)
    assert Budget(steps=4).after(100) == Budget(steps=4)


@pytest.mark.parametrize("single", [0.5, 0.8])
def test_legs_are_the_jumps_of_samplings_in_one_two_and_four(flow, single):
    rest = 1 - single
    weights = (single, rest)
    if single == 0.5:
        weights = 1.0
    teacher = flow.transport.with_solver("dpm:2", 8)
    stored = Trajectories(teacher, 40, seed=5, legs=weights)
    n = 4000
    (_, t), (_, s), _ = stored.draw(ExampleDraws(0, n))
    shares = {(8, 0): single, (8, 4): rest / 4, (4, 0): rest / 4}
    for start in (2, 4, 6, 8):
        shares[start, start - 2] = rest / 8
    # how many of 8 steps are left at each time
    left = {torch.tensor(time).item(): 8 - place for place, time in enumerate(stored.times)}
    counts = Counter()
    for start, end in zip(t.tolist(), s.tolist(), strict=True):
        counts[left[start], left[end]] += 1
    assert counts.keys() == shares.keys()
    for leg, share in shares.items():
        assert abs(counts[leg] / n - share) < 4 * (share / n) ** 0.5
