"""What is said of a comparison that was interrupted: what is finished, where it lies, and the command that goes on."""

import os
import signal

import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.methods.vae import VAE

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


def test_where_training_is_interrupted_finished_runs_are_told_from_those_to_resume(here, monkeypatch, capsys):
    play = VAE.losses

    def losses(method, batch, now):
        for move in play(method, batch, now):
            if now.step == 1:
                os.kill(os.getpid(), signal.SIGINT)
            yield move

    monkeypatch.setattr(VAE, "losses", losses)
    assert main(["compare", "flow", "vae", *WORDS, "--out", "both"]) == 130
    assert [line for line in lines(capsys, "both", "stopped", "next", "interrupted") if "parameters" not in line] == [
        "both/flow is finished, at step 4",
        "stopped and saved at step 2",
        "next: pushforward resume both/vae",
        "interrupted; when all trainings are finished, for the report: pushforward compare both/flow both/vae --repeats 5 "
        "--out both/report",
    ]
    assert [pf.load(here / "both" / name).state["step"] for name in ("flow", "vae")] == [4, 2]
