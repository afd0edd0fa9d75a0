"""Runs that were never saved, and weights that are not drawn twice."""

import copy
import dataclasses
from pathlib import Path

import pytest
import torch

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import CheckpointError, UsageError
from pushforward.recipes import Training
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


def test_an_unsaved_run_whose_start_is_gone_says_what_to_do(tmp_path, monkeypatch):
    first = pf.fit("flow", DATA, steps=2, out=tmp_path / "first").folder
    monkeypatch.setattr(contents, "fill", full)
    with pytest.raises(CheckpointError, match="No space left"):
        pf.fit("flow", DATA, steps=3, out=tmp_path / "run", init=first)
    monkeypatch.undo()
    for steps in (4, 6):
        pf.resume(first, data=DATA, steps=steps)
    with pytest.raises(CheckpointError, match="no checkpoint step_000002"):
        pf.resume(tmp_path / "run", data=DATA)


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


def first_weights(recipe, seed, out):
    trainer = prepare(recipe, DATA, steps=2, out=out, seed=seed)
    return torch.cat([parameter.detach().flatten() for parameter in trainer.method.parameters()])


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


def test_a_function_makes_modules_anew_from_each_seed(tmp_path):
    weights = [first_weights(own, seed, tmp_path / str(i)) for i, seed in enumerate((0, 0, 1))]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert pf.fit(lambda: own().method, DATA, steps=2, out=tmp_path / "method").state["step"] == 2


@pytest.mark.parametrize(("given", "says"), [(lambda: 3, "got 3"), (3, "got 3")])
def test_what_is_no_recipe_is_refused(given, says, tmp_path):
    with pytest.raises(UsageError, match=says):
        pf.fit(given, DATA, steps=2, out=tmp_path / "run")


def test_a_players_own_rate_follows_the_common_one():
    lazy = pf.recipes.gan(space_data((1, 28, 28), labels=False).space, "tiny").training
    changed = lazy.changed(lr=0.005, batch=16)
    share = 4 / 5
    assert changed.of("generator", "lr") == 0.005
    assert changed.of("critic", "lr") == pytest.approx(share * 0.005)
    assert changed.of("critic", "betas") == pytest.approx([0, 0.99**share])
    assert changed.batch == 16
    own = Training(players={"critic": {"clip": 3.0, "lr": 0.002}}).changed(clip=None)
    assert own.of("critic", "clip") is None
    assert own.of("critic", "lr") == 0.002


def test_the_option_lr_keeps_the_correction_of_a_lazy_critic(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "gan", *TINY, "--penalty-interval", "4", "--lr", "0.005", "--steps", "1", "--out", "run"]) == 0
    training = pf.load("run").spec["training"]
    assert training["lr"] == 0.005
    assert training["players"]["critic"]["lr"] == pytest.approx(0.8 * 0.005)
    assert dataclasses.replace(Training(), lr=0.005).players == {}


def test_the_method_of_a_loaded_run_is_not_trained_in_place(tmp_path):
    data = pf.data.load("moons")
    run = pf.fit("flow", data, size="tiny", steps=2, out=tmp_path / "first")
    with pytest.raises(UsageError, match=r"frozen, as those of a loaded run are.*init=run"):
        pf.fit(run.method, data, steps=2, out=tmp_path / "second")
    assert pf.fit("flow", data, size="tiny", init=run, steps=2, out=tmp_path / "third").state["step"] == 2


def test_a_run_with_other_given_columns_is_no_start(tmp_path):
    (tmp_path / "t.csv").write_text("x,y,age,income\n" + "\n".join(f"{i * 0.7 % 3},{i * 0.3 % 2},{i},{i % 7}" for i in range(60)))
    first, second = (pf.data.load(tmp_path / "t.csv", given=names) for names in (["age", "income"], ["income", "age"]))
    run = pf.fit("flow", first, size="tiny", steps=1, out=tmp_path / "first")
    with pytest.raises(UsageError, match=r"init=.*was trained by another method"):
        pf.fit("flow", second, size="tiny", steps=1, init=run, out=tmp_path / "second")
    assert pf.fit("flow", first, size="tiny", steps=1, init=run, out=tmp_path / "third").state["step"] == 1
