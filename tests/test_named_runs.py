"""What is said of a path that is no run, or of a run whose training has not ended."""

import json

import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import CheckpointError
from pushforward.training.api import prepare
from pushforward.training.runs.folder import NAMED, check_run, claim


def runs(place, *names):
    for name in names:
        (place / name).mkdir(parents=True)
        (place / name / "spec.json").write_text("{}")


@pytest.mark.parametrize("words", [["evaluate"], ["evaluate", "--data", "moons"], ["sample"]])
def test_of_a_folder_of_runs_the_runs_are_named(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs(tmp_path / "all of it", "vae", "flow")
    assert main([words[0], "all of it", *words[1:]]) == 2
    assert "Runs in it: all of it/flow, all of it/vae." in capsys.readouterr().err


def test_of_many_runs_in_a_folder_some_are_named(tmp_path):
    runs(tmp_path, *(f"r{number}" for number in range(NAMED + 3)))
    with pytest.raises(CheckpointError, match=r"r0, .*, \.\.\."):
        check_run(tmp_path)


@pytest.mark.parametrize(
    ("verb", "wrong"), [("sample", "sweep/flwo"), ("evaluate", "moons-flw"), ("resume", "moons-flw"), ("report", "sweep/flwo")]
)
def test_a_suggested_run_is_a_path_that_can_be_pasted(tmp_path, monkeypatch, capsys, verb, wrong):
    monkeypatch.chdir(tmp_path)
    runs(tmp_path / "runs", "moons-flow")
    runs(tmp_path / "sweep", "flow")
    assert main([verb, wrong]) == 2
    right = "sweep/flow" if "/" in wrong else "runs/moons-flow"
    assert f'Did you mean "{right}"?' in capsys.readouterr().err


def test_samples_of_a_run_whose_training_has_not_ended_say_of_which_step_they_are(tmp_path, capsys):
    trainer = prepare("flow", pf.data.load("moons"), size="tiny", steps=9, out=tmp_path / "run", checkpoint_every=1)
    trainer.advance(1e-9)
    words = ["sample", str(trainer.folder), "--n", "4", "--json"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith(f"{trainer.folder}, step 1: it is unfinished: 1 of 9 steps of training.")
    assert json.loads(printed.out)["n"] == 4
    trainer.advance()
    assert main(words) == 0
    assert capsys.readouterr().err == ""


def test_a_run_whose_training_is_just_starting_is_to_be_tried_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    begun = claim("new", "data", "flow")
    assert main(["sample", "new"]) == 4
    assert "its training is just starting, or was interrupted" in capsys.readouterr().err
    begun.discard()
    assert main(["sample", "new"]) == 2
    assert "There is no folder new" in capsys.readouterr().err
