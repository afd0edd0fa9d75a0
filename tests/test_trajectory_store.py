"""Trajectories of a teacher in a run's folder: written part by part, taken up after a kill, counted by budgets."""

import functools
import json
from types import SimpleNamespace

import pytest

import pushforward as pf
from pushforward.methods import Trajectories, trajectories
from pushforward.testing import assert_same, final_state
from pushforward.training import Budget, Progress, storing
from pushforward.training.frozen import with_frozen
from pushforward.training.resuming import reopen
from pushforward.training.start import prepare


@pytest.fixture(scope="module")
def moons():
    return pf.data.load("moons")


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(trajectories, "ROWS", 16)


@pytest.fixture(scope="module")
def flow(moons, tmp_path_factory):
    """A run that is hardly trained."""
    return pf.fit("flow", moons, size="tiny", steps=5, seed=0, out=tmp_path_factory.mktemp("runs") / "flow")


def test_a_training_that_is_killed_among_its_trajectories_goes_on_with_the_next(flow, moons, small_parts, tmp_path, monkeypatch):
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
    (store / "000001.safetensors").write_bytes(b"damaged")
    seconds = json.loads((store / "index.json").read_text())["seconds"]
    pf.resume(tmp_path / "cut")
    assert computed == [0, 16, 32, 16, 32, 48]
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "cut"))
    assert pf.load(tmp_path / "cut").state["store_seconds"] > seconds > 0
    again = reopen(tmp_path / "cut", data=moons, steps=4)
    assert again.store.whole
    assert again.store.trajectories.ready == 50
    again.close()


def test_a_budget_in_seconds_counts_trajectories_and_ends_them_at_half(flow, moons, small_parts, tmp_path, monkeypatch, capsys):
    ticks = iter(range(100))
    monkeypatch.setattr(storing, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    recipe = with_frozen("distil", {"teacher": flow})(moons.space, trajectories=80)
    trainer = prepare(recipe, moons, seconds=5, out=tmp_path / "run")
    left = trainer.store.completed("run", Budget(seconds=5), Progress(interval=0), lambda: False)
    assert left == Budget(seconds=2)
    assert trainer.store.trajectories.ready == 48
    assert trainer.store.whole
    assert "60 %  48/80 trajectories of the teacher  0:03 of the budget" in capsys.readouterr().err
    trainer.save()
    trainer.close()
    resumed = reopen(tmp_path / "run", data=moons)
    assert resumed.clock.budget == left
    assert resumed.store.trajectories.ready == 48
    resumed.close()
    assert Budget(seconds=4).after(100) == Budget(seconds=1)
    assert Budget(steps=4).after(100) == Budget(steps=4)


def test_a_training_that_is_stopped_among_its_trajectories_can_go_on(flow, moons, small_parts, tmp_path):
    trainer = prepare(
        with_frozen("distil", {"teacher": flow})(moons.space, trajectories=50), moons, steps=2, out=tmp_path / "run"
    )
    trainer.stop = True
    trainer.advance()
    assert trainer.store.trajectories.ready == 0
    assert pf.resume(tmp_path / "run", data=moons).state["step"] == 2
