"""Trajectories of a teacher in a run's folder: written part by part, taken up after a kill, counted by budgets."""

import functools
import json
from types import SimpleNamespace

import pytest

import pushforward as pf
from pushforward.evaluation.results import ModelResult
from pushforward.evaluation.run_results import of_run
from pushforward.methods import Trajectories
from pushforward.methods import distillation as trajectories
from pushforward.testing import assert_same, final_state
from pushforward.training import Budget, Progress
from pushforward.training.api import prepare, reopen
from pushforward.training.distributed.processes import Processes
from pushforward.training.frozen_recipes import with_frozen
from pushforward.training.runs import precompute as storing
from pushforward.training.runs.precompute import Store


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(trajectories, "CHUNK", 16)


@pytest.fixture(scope="module")
def flow(moons, tmp_path_factory):
    """A run that is hardly trained."""
    return pf.fit("flow", moons, size="tiny", steps=5, seed=0, out=tmp_path_factory.mktemp("runs") / "flow")


@pytest.mark.parametrize("damage", ["no tensors", "those of another part"])
def test_a_training_that_is_killed_among_its_trajectories_goes_on_with_the_next(
    damage, flow, moons, small_parts, tmp_path, monkeypatch
):
    recipe, options = functools.partial(with_frozen("distil", {"teacher": flow}), trajectories=50), {"steps": 3, "seed": 3}
    pf.fit(recipe(moons.space), moons, out=tmp_path / "whole", **options)
    own, computed = Trajectories.part, []

    def part(self, rows):
        computed.append(rows.start)
        if len(computed) == 3:
            raise KeyboardInterrupt
        return own(self, rows)

    monkeypatch.setattr(Trajectories, "part", part)
    with pytest.raises(KeyboardInterrupt):
        pf.fit(recipe(moons.space), moons, out=tmp_path / "cut", **options)
    store = tmp_path / "cut" / "cache" / "trajectories"
    assert [path.name for path in sorted(store.glob("*.safetensors"))] == ["000000.safetensors", "000001.safetensors"]
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
    assert (shared.trajectories.ready, shared.whole) == (32, False), "what one process cannot read is missing in all"


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
    assert "60 %  48/80 trajectories of the teacher  0:03" in capsys.readouterr().err
    trainer.save()
    trainer.close()
    resumed = reopen(tmp_path / "run", data=moons)
    assert resumed.clock.budget == left
    assert resumed.budget == Budget(seconds=12), "what was given, as a finished run states it"
    assert resumed.store.trajectories.ready == 48
    resumed.close()
    assert Budget(seconds=4).after(100) == Budget(seconds=1)
    assert Budget(steps=4).after(100) == Budget(steps=4)
