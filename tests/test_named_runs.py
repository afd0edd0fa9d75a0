"""What is said of a path that is no run, or of a run whose training has not ended."""

import json
import os
import signal

import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.methods.vae import VAE
from pushforward.training.api import prepare
from pushforward.training.checkpoint.storage import unfinished


def runs(place, *names):
    for name in names:
        (place / name).mkdir(parents=True)
        (place / name / "spec.json").write_text("{}")


@pytest.mark.parametrize("words", [["evaluate"], ["evaluate", "--data", "moons"], ["sample"]])
def test_of_a_folder_of_runs_the_runs_are_named(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    runs(tmp_path / "all of it", "vae", "flow")
    code = main([words[0], "all of it", *words[1:]])
    assert code == 2
    assert "Runs in it: all of it/flow, all of it/vae." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("verb", "wrong"),
    [
        ("sample", "sweep/flwo"),
        ("evaluate", "moons-flw"),
        ("resume", "moons-flw"),
        ("report", "sweep/flwo"),
    ],
)
def test_a_suggested_run_is_a_path_that_can_be_pasted(tmp_path, monkeypatch, capsys, verb, wrong):
    monkeypatch.chdir(tmp_path)
    runs(tmp_path / "runs", "moons-flow")
    runs(tmp_path / "sweep", "flow")
    assert main([verb, wrong]) == 2
    right = "sweep/flow" if "/" in wrong else "runs/moons-flow"
    assert f'Did you mean "{right}"?' in capsys.readouterr().err


def test_samples_of_a_run_whose_training_has_not_ended_say_of_which_step_they_are(tmp_path, capsys):
    trainer = prepare(
        "flow",
        pf.data.load("moons"),
        size="tiny",
        steps=9,
        out=tmp_path / "run",
        checkpoint_every=1,
    )
    trainer.advance(1e-9)
    words = ["sample", str(trainer.folder), "--n", "4", "--json"]
    assert main(words) == 0
    printed = capsys.readouterr()
    assert printed.err.startswith(
        f"{trainer.folder}, step 1: training is unfinished: 1 of 9 steps."
    )
    assert json.loads(printed.out)["n"] == 4
    trainer.advance()
    assert main(words) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("seconds", "words"), [(3.0, None), (2.0, "2 of 3 s")])
def test_seconds_of_trajectories_count_towards_a_budget(seconds, words, tmp_path):
    state = {"step": 5, "total": None, "seconds": seconds, "store_seconds": 1.0}
    (tmp_path / "state.json").write_text(json.dumps(state))
    assert unfinished(tmp_path, {"seconds": 4.0}) == words


WORDS = ["--data", "moons", "--size", "tiny", "--steps", "4", "--batch", "64"]


@pytest.fixture(autouse=True)
def usual_handlers():
    """SIGINT does what it usually does, however the tests were started."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def lines(capsys, *starts):
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith(starts)]


def test_where_training_is_interrupted_finished_runs_are_told_from_those_to_resume(
    here, monkeypatch, capsys
):
    play = VAE.losses

    def losses(method, batch, now):
        for move in play(method, batch, now):
            if now.step == 1:
                os.kill(os.getpid(), signal.SIGINT)
            yield move

    monkeypatch.setattr(VAE, "losses", losses)
    code = main(["compare", "flow", "vae", *WORDS, "--out", "both"])
    assert code == 130
    said = [
        line
        for line in lines(capsys, "both", "stopped", "next", "to write")
        if "parameters" not in line
    ]
    assert [line.partition(" ")[0] for line in said] == ["both/flow", "stopped", "next:", "to"]
    assert said[0].endswith("step 4")
    assert said[1].endswith("step 2")
    assert said[2].endswith("pushforward resume both/vae")
    assert said[3].endswith("pushforward compare both/* --out both/report")
    assert [pf.load(here / "both" / name).state["step"] for name in ("flow", "vae")] == [4, 2]
