"""Trainings that fail or are cut, and what is saved of them."""

import json
import math
import os

import pytest
import torch
from programs.trained import run_folder

import pushforward as pf
from pushforward.errors import CheckpointError, Diverged
from pushforward.evaluation import Judge, train_in_turns
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training import Trainer
from pushforward.training.api import prepare, reopen
from pushforward.training.checkpoint import contents
from pushforward.training.checkpoint.integrity import latest
from pushforward.training.loop.budget import Clock, Stage
from pushforward.training.runs.run_lock import hold


def test_weights_that_are_not_finite_stop_the_run_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    data = space_data((2,), labels=False)
    trainer = prepare(recipe_for("flow", data), data, steps=9, out=tmp_path / "run", checkpoint_every=2)
    trainer.advance(1e-9)
    trainer.advance(1e-9)
    trainer.average.update = lambda *samples: next(trainer.average.method.parameters()).data.fill_(math.nan)
    with pytest.raises(Diverged, match=r"averaged weights .* not finite after step 4"):
        trainer.advance()
    assert latest(tmp_path / "run" / "checkpoints").name == "step_000002"


def test_a_short_budget_is_saved_in_quarters(tmp_path, monkeypatch):
    saved, save, tick = [], Trainer.save, Clock.tick
    monkeypatch.setattr(Clock, "tick", lambda self, seconds: tick(self, 1.0))
    monkeypatch.setattr(Trainer, "save", lambda self, **how: (saved.append(self.clock.step), save(self, **how))[1])
    data = space_data((2,), labels=False)
    pf.fit(recipe_for("flow", data), data, seconds=8, out=tmp_path / "run")
    assert saved == [0, 2, 4, 6, 8]


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    folder, data = run_folder(tmp_path)
    before, spec = final_state(folder), (folder / "spec.json").read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    for part in ("flush", "fill"):
        trainer = reopen(folder, data=data, steps=6)
        monkeypatch.setattr(contents, part, full)
        with pytest.raises(CheckpointError, match="No space left"):
            trainer.advance()
        with pytest.raises(CheckpointError, match="No space left"):
            pf.resume(folder, data=data, steps=9 if part == "flush" else 6)
        monkeypatch.undo()
        assert not list(folder.rglob(".tmp*"))
        assert_same(final_state(folder), before)
        assert (folder / "spec.json").read_bytes() != spec
    assert pf.resume(folder, data=data).state["step"] == 6


def test_an_extension_is_kept_when_it_is_killed(tmp_path):
    folder, data = run_folder(tmp_path)
    reopen(folder, data=data, steps=9).advance(1e-9)
    assert pf.resume(folder, data=data).state["step"] == 9
    content = json.loads((folder / "spec.json").read_text())
    assert content["budget"]["steps"] == 9
    assert [(extension["step"], extension["budget"]["steps"]) for extension in content["extended"]] == [(4, 4)]


def test_an_extension_in_seconds_keeps_its_settled_number_of_steps(tmp_path):
    """Before it is settled, the number of steps of the shorter budget must not come back; from then on it must."""
    data = space_data((2,), labels=False)
    trainer = prepare(recipe_for("flow", data), data, seconds=1e-3, out=tmp_path / "run")
    trainer.advance()
    first = trainer.clock.total
    trainer = reopen(tmp_path / "run", data=data, seconds=1e6)
    assert trainer.clock.total is None
    trainer.close()
    trainer = reopen(tmp_path / "run", data=data)
    assert trainer.clock.total is None
    assert not trainer.done
    trainer.clock.stages = [Stage(first, 0.5, first + 7)]
    trainer.save()
    trainer.close()
    trainer = reopen(tmp_path / "run", data=data)
    assert trainer.clock.total == first + 7


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """Loss and gradient are finite, and the update is not."""
    data = space_data((2,), labels=False)
    trainer = prepare(recipe_for("flow", data), data, steps=6, out=tmp_path / "run", checkpoint_every=2)
    while trainer.clock.step < 5:
        trainer.advance(1e-9)
    trainer.players["denoiser"].lr = math.inf
    with pytest.raises(Diverged, match=r"weights .* not finite after step 6.*keeps step 4"):
        trainer.advance()
    assert latest(tmp_path / "run" / "checkpoints").name == "step_000004"


def test_a_broken_training_leaves_the_others_theirs(tmp_path):
    """One model diverges: the rest finish, and the fallen one is judged at its last checkpoint, with a warning."""
    data = space_data((2,), labels=False)
    trainers = [
        prepare(recipe_for(name, data), data, steps=5, out=tmp_path / name, checkpoint_every=2)
        for name in ("vae", "flow", "ddpm")
    ]
    broken = trainers[1]
    while broken.clock.step < 3:
        broken.advance(1e-9)
    broken.average.update = lambda *samples: next(broken.average.method.parameters()).data.fill_(math.nan)
    runs = train_in_turns(trainers, turn=1e-9)
    assert [(run.name, run.state["step"]) for run in runs] == [("vae", 5), ("flow", 2), ("ddpm", 5)]
    assert [len(run.warnings) for run in runs] == [0, 1, 0]
    assert "not finite" in runs[1].warnings[0]
    assert "step 2" in runs[1].warnings[0]
    assert torch.isfinite(runs[1].transport.sample(4)).all()
    result, _ = Judge(data, repeats=1).judge("flow", runs[1], curve=False)
    assert result.warnings == runs[1].warnings


def test_a_disk_that_refuses_one_model_leaves_the_others_saved_and_free(tmp_path, monkeypatch):
    data = space_data((2,), labels=False)
    trainers = [prepare(recipe_for(name, data), data, steps=9, out=tmp_path / name) for name in ("vae", "flow")]

    def full():
        raise CheckpointError("disk full")

    monkeypatch.setattr(trainers[1], "_advance_once", full)
    with pytest.raises(CheckpointError, match="disk full"):
        train_in_turns(trainers, turn=1e-9)
    for name in ("vae", "flow"):
        hold(tmp_path / name).release()
    assert pf.load(tmp_path / "vae").state["step"] == 1


def test_memory_is_each_runs_own(tmp_path):
    """What the process held before a run's steps is not the run's."""
    if not os.path.exists("/proc/self/clear_refs"):
        pytest.skip("only Linux counts again")
    data = space_data((2,), labels=False)
    trainers = [prepare(recipe_for("flow", data), data, steps=3, out=tmp_path / str(i)) for i in range(2)]
    losses, large = trainers[0].method.losses, 400

    def greedy(batch, now):
        torch.ones(large * 2**18)
        yield from losses(batch, now)

    trainers[0].method.losses = greedy
    for trainer in trainers:
        trainer.advance()
    first, second = (pf.load(tmp_path / str(i)).state["peak_memory_mb"] for i in range(2))
    assert first > second + large / 2
    assert reopen(tmp_path / "0", data=data, steps=4).saver.peak / 2**20 == pytest.approx(first)


def test_if_all_models_fall_the_comparison_does(tmp_path):
    data = space_data((2,), labels=False)
    trainers = [prepare(recipe_for(name, data), data, steps=3, out=tmp_path / name) for name in ("vae", "flow")]
    for trainer in trainers:
        with torch.no_grad():
            next(trainer.method.parameters()).fill_(math.nan)
    with pytest.raises(Diverged):
        train_in_turns(trainers)
