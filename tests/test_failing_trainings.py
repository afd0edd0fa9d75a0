"""Trainings that fail, are cut or whose data change, and what is saved of them."""

import json
import math
import shutil

import pytest
import torch
from programs.photos import photos
from programs.trained import run_folder

import pushforward as pf
from pushforward.errors import CheckpointError, DataError, Diverged
from pushforward.evaluation import Evaluator
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training.api import prepare, reopen, train_in_turns
from pushforward.training.checkpoint import storage
from pushforward.training.checkpoint.checkpointer import Checkpointer
from pushforward.training.checkpoint.storage import latest
from pushforward.training.loop.state import TrainState
from pushforward.training.runs.folder import hold

DATA = space_data((2,), labels=False)


def prepared(folder, *names, **options):
    """Prepare a training for each recipe, in a folder of its name."""
    trainers = []
    for name in names:
        recipe = recipe_for(name, DATA)
        trainers.append(prepare(recipe, DATA, out=folder / name, **options))
    return trainers


def advance_to(trainer, step):
    while trainer.clock.step < step:
        trainer.advance(1e-9)


def break_average(trainer):
    """Let the next update of the averaged weights put a NaN into them."""

    def update(*samples):
        first = next(trainer.average.method.parameters())
        first.data.fill_(math.nan)

    trainer.average.update = update


def test_weights_that_are_not_finite_stop_the_run_and_keeps_the_checkpoint(tmp_path):
    (trainer,) = prepared(tmp_path, "flow", steps=9, checkpoint_every=2)
    advance_to(trainer, 2)
    break_average(trainer)
    with pytest.raises(Diverged, match=r"averaged weights .* not finite after step 4"):
        trainer.advance()
    assert latest(trainer.folder / "checkpoints").name == "step_000002"


def test_a_short_budget_is_saved_in_quarters(tmp_path, monkeypatch):
    saved = []
    save = Checkpointer.save
    advance = TrainState.advance

    def noted(checkpointer, state, *how, **more):
        saved.append(state.step)
        save(checkpointer, state, *how, **more)

    monkeypatch.setattr(TrainState, "advance", lambda state, seconds: advance(state, 1.0))
    monkeypatch.setattr(Checkpointer, "save", noted)
    pf.fit(recipe_for("flow", DATA), DATA, seconds=8, out=tmp_path / "run")
    assert saved == [0, 2, 4, 6, 8]


def test_a_full_disk_loses_nothing(tmp_path, monkeypatch):
    folder, data = run_folder(tmp_path)
    before = final_state(folder)
    spec = (folder / "spec.json").read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    for part in ("flush", "fill"):
        trainer = reopen(folder, data=data, steps=6)
        monkeypatch.setattr(storage, part, full)
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
    (extension,) = content["extended"]
    assert extension["step"] == 4
    assert extension["budget"]["steps"] == 4


def test_weights_that_are_not_finite_are_not_saved(tmp_path):
    """Loss and gradient are finite, and the update is not: training ends at once, before anything
    is saved.
    """
    (trainer,) = prepared(tmp_path, "flow", steps=6, checkpoint_every=2)
    advance_to(trainer, 4)
    trainer.state.optimizers["denoiser"].lr = math.inf
    with pytest.raises(Diverged, match=r"weights .* not finite after step 5.*step 4 is saved"):
        trainer.advance()
    assert latest(trainer.folder / "checkpoints").name == "step_000004"


def test_a_broken_training_leaves_the_others_theirs(tmp_path):
    """One model diverges: the rest finish, and the fallen one is judged at its last checkpoint,
    with a warning.
    """
    trainers = prepared(tmp_path, "vae", "flow", "ddpm", steps=5, checkpoint_every=2)
    broken = trainers[1]
    advance_to(broken, 3)
    break_average(broken)
    vae, flow, ddpm = train_in_turns(trainers, turn=1e-9)
    assert [run.name for run in (vae, flow, ddpm)] == ["vae", "flow", "ddpm"]
    for run in (vae, ddpm):
        assert run.state["step"] == 5
        assert len(run.warnings) == 0
    assert flow.state["step"] == 2
    (warning,) = flow.warnings
    assert "not finite" in warning
    assert "step 2" in warning
    assert torch.isfinite(flow.transport.sample(4)).all()
    result, _ = Evaluator(DATA, repeats=1).evaluate("flow", flow, curve=False)
    assert result.warnings == flow.warnings


def test_a_disk_that_refuses_one_model_leaves_the_others_saved_and_free(tmp_path, monkeypatch):
    trainers = prepared(tmp_path, "vae", "flow", steps=9)

    def full(batch):
        raise CheckpointError("disk full")

    monkeypatch.setattr(trainers[1], "train_step", full)
    with pytest.raises(CheckpointError, match="disk full"):
        train_in_turns(trainers, turn=1e-9)
    for name in ("vae", "flow"):
        hold(tmp_path / name).release()
    assert pf.load(tmp_path / "vae").state["step"] == 1


def test_a_diverged_model_is_not_saved_when_another_one_fails(tmp_path, monkeypatch):
    trainers = prepared(tmp_path, "vae", "flow", steps=9, checkpoint_every=2)
    diverging, failing = trainers
    advance_to(diverging, 3)

    def explode(batch):
        raise Diverged("The loss is not finite.")

    def full(batch):
        raise CheckpointError("disk full")

    monkeypatch.setattr(diverging, "train_step", explode)
    monkeypatch.setattr(failing, "train_step", full)
    with pytest.raises(CheckpointError, match="disk full"):
        train_in_turns(trainers, turn=1e-9)
    assert pf.load(tmp_path / "vae").state["step"] == 2


def test_if_all_models_fall_the_comparison_does(tmp_path):
    trainers = prepared(tmp_path, "vae", "flow", steps=3)
    for trainer in trainers:
        with torch.no_grad():
            next(trainer.method.parameters()).fill_(math.nan)
    with pytest.raises(Diverged):
        train_in_turns(trainers)


@pytest.fixture
def folder(tmp_path):
    return photos(tmp_path / "photos", 12)


def test_a_run_of_changed_files_is_not_resumed(folder, tmp_path):
    data = pf.data.load(folder, stream=True, resize=4)
    pf.fit(recipe_for("flow", data), data, steps=1, out=tmp_path / "run")
    pictures = data.train.x
    first, second = (pictures.store.names[place] for place in pictures.places[:2])
    shutil.copy(folder / second, folder / first)
    with pytest.raises(DataError, match="The data has changed"):
        pf.resume(tmp_path / "run", steps=2)


def test_a_file_that_vanishes_costs_no_step(folder, tmp_path):
    """The steps so far are saved, and the run ends where the undisturbed one ends once the file is
    there again.
    """
    data = pf.data.load(folder, stream=True)
    recipe = recipe_for("flow", data)
    whole = pf.fit(recipe, data, steps=6, out=tmp_path / "whole")
    trainer = prepare(recipe, data, steps=6, out=tmp_path / "run")
    advance_to(trainer, 2)
    (folder / "cats").rename(tmp_path / "away")
    with pytest.raises(DataError, match=r"photos/cats/0\d\d\.png has") as caught:
        trainer.advance()
    step = trainer.clock.step
    words = str(caught.value)
    assert step >= 2
    assert f"Step {step} is saved" in words
    assert words.endswith(f"pushforward resume {tmp_path}/run")
    assert pf.load(tmp_path / "run").state["step"] == step
    (tmp_path / "away").rename(folder / "cats")
    resumed = pf.resume(tmp_path / "run")
    assert_same(final_state(resumed.folder), final_state(whole.folder))


def test_of_models_that_train_in_turns_all_are_saved(tmp_path):
    data = space_data((2,), labels=False)
    trainers = [
        prepare(recipe_for("flow", data), data, steps=6, out=tmp_path / name) for name in "ab"
    ]
    batch = trainers[1].sampler.batch

    def read(number, *where):
        if number == 3:
            raise DataError("x is gone.")
        return batch(number, *where)

    trainers[1].sampler.batch = read
    with pytest.raises(DataError, match=r"x is gone\. Step 3 is saved\. .*resume .*/b$"):
        train_in_turns(trainers, 1e-9)
    assert [pf.load(tmp_path / name).state["step"] for name in "ab"] == [4, 3]
