"""Runs that were never saved, and weights that are not drawn twice."""

from pathlib import Path

import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import CheckpointError
from pushforward.testing import assert_same, final_state, recipe_for, space_data
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
