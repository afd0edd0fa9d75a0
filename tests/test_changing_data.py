"""Data that change or vanish after a training has begun: nothing is lost, and what changed is named."""

import shutil

import pytest
from programs.photos import photos

import pushforward as pf
from pushforward.errors import DataError
from pushforward.evaluation.cost import train_in_turns
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training.api import prepare


@pytest.fixture
def folder(tmp_path):
    return photos(tmp_path / "photos", 12)


def test_a_run_of_changed_files_is_not_resumed(folder, tmp_path):
    data = pf.data.load(folder, stream=True, resize=4)
    pf.fit(recipe_for("flow", data), data, steps=1, out=tmp_path / "run")
    name = data.train.x.store.names[data.train.x.places[0]]
    shutil.copy(folder / data.train.x.store.names[data.train.x.places[1]], folder / name)
    with pytest.raises(DataError, match="The data has changed"):
        pf.resume(tmp_path / "run", steps=2)


def test_a_file_that_vanishes_costs_no_step(folder, tmp_path):
    """The steps so far are saved, and the run ends where the undisturbed one ends once the file is there again."""
    data = pf.data.load(folder, stream=True)
    recipe = recipe_for("flow", data)
    whole = pf.fit(recipe, data, steps=6, out=tmp_path / "whole")
    trainer = prepare(recipe, data, steps=6, out=tmp_path / "run")
    while trainer.clock.step < 2:
        trainer.advance(1e-9)
    (folder / "cats").rename(tmp_path / "away")
    with pytest.raises(DataError, match=r"photos/cats/0\d\d\.png is gone") as caught:
        trainer.advance()
    step, words = trainer.clock.step, str(caught.value)
    assert step >= 2
    assert f"Step {step} is saved" in words
    assert words.endswith(f"pushforward resume {tmp_path}/run")
    assert pf.load(tmp_path / "run").state["step"] == step
    (tmp_path / "away").rename(folder / "cats")
    assert_same(final_state(pf.resume(tmp_path / "run").folder), final_state(whole.folder))


def test_of_models_that_train_in_turns_all_are_saved(tmp_path):
    data = space_data((2,), labels=False)
    trainers = [prepare(recipe_for("flow", data), data, steps=6, out=tmp_path / name) for name in "ab"]
    batch = trainers[1].sampler.batch

    def read(number, *where):
        if number == 3:
            raise DataError("x is gone.")
        return batch(number, *where)

    trainers[1].sampler.batch = read
    with pytest.raises(DataError, match=r"x is gone\. Step 3 is saved\. .*resume .*/b$"):
        train_in_turns(trainers, 1e-9)
    assert [pf.load(tmp_path / name).state["step"] for name in "ab"] == [4, 3]
