"""Runs that were never saved, and weights that are not drawn twice."""

import copy
from pathlib import Path

import pytest
import torch

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import CheckpointError, UsageError
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training.api import prepare
from pushforward.training.checkpoint import contents

DATA = space_data((2,), labels=False)
TINY = ["--data", "moons", "--limit", "200", "--size", "tiny", "--batch", "16"]


def full(*_, **__):
    raise OSError(28, "No space left on device")


def test_a_run_that_was_never_saved_is_started_by_resume(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["train", "gan", *TINY, "--steps", "3", "--seed", "4"]
    assert main([*words, "--out", "whole"]) == 0
    monkeypatch.setattr(contents, "fill", full)
    assert main([*words, "--out", "run"]) == 4
    assert "No space left" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="pushforward resume run"):
        pf.load("run")
    assert main(["resume", "run"]) == 0
    assert "never saved" in capsys.readouterr().err
    assert_same(final_state(Path("whole")), final_state(Path("run")))


@pytest.mark.parametrize("kind", ["name", "init"])
def test_a_run_from_python_that_was_never_saved_is_started(kind, tmp_path, monkeypatch):
    options = {"steps": 3, "seed": 2}
    if kind == "init":
        options["init"] = pf.fit("flow", DATA, steps=2, out=tmp_path / "first").folder
    whole = pf.fit("flow", DATA, out=tmp_path / "whole", **options)
    monkeypatch.setattr(contents, "fill", full)
    with pytest.raises(CheckpointError, match="No space left"):
        pf.fit("flow", DATA, out=tmp_path / "run", **options)
    monkeypatch.undo()
    pf.resume(tmp_path / "run", data=DATA)
    assert_same(final_state(whole.folder), final_state(tmp_path / "run"))


def test_lost_weights_and_lost_checkpoints_are_not_replaced(tmp_path, monkeypatch):
    method = recipe_for("flow", DATA).method
    monkeypatch.setattr(contents, "fill", full)
    with pytest.raises(CheckpointError, match="No space left"):
        pf.fit(method, DATA, steps=3, out=tmp_path / "given")
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="are lost"):
        pf.resume(tmp_path / "given", data=DATA)
    assert pf.resume(tmp_path / "given", data=DATA, method=method).state["step"] == 3
    for path in (tmp_path / "given" / "checkpoints").iterdir():
        path.rename(tmp_path / path.name)
    with pytest.raises(CheckpointError, match="checkpoints are gone"):
        pf.resume(tmp_path / "given", data=DATA, method=method)


class Own(torch.nn.Module):
    """Cannot be rebuilt: it keeps none of its arguments."""

    def __init__(self, width):
        super().__init__()
        self.inner = torch.nn.Sequential(torch.nn.Linear(3, width), torch.nn.SiLU(), torch.nn.Linear(width, 2))

    def forward(self, x, t=None, condition=None):
        return self.inner(torch.cat([x, t[:, None]], 1))


def own():
    return pf.recipes.flow(DATA.space, network=Own(8))


def test_a_module_that_cannot_be_rebuilt_is_trained_once(tmp_path):
    recipe = own()
    pf.fit(recipe, DATA, steps=2, out=tmp_path / "0", seed=0)
    for again in (recipe, copy.deepcopy(recipe), pf.recipes.flow(DATA.space, network=recipe.method.denoiser.network)):
        with pytest.raises(UsageError, match="given to a training before"):
            prepare(again, DATA, steps=2, out=tmp_path / "1", seed=1)
        with pytest.raises(UsageError, match="before"):
            prepare(lambda again=again: again, DATA, steps=2, out=tmp_path / "1", seed=1)
    assert not (tmp_path / "1").exists()
    assert pf.fit(recipe.method, DATA, steps=2, out=tmp_path / "2").state["step"] == 2, "on purpose, it goes on"
