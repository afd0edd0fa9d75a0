"""Signals that end a training: the step is finished and saved, a second one ends at once, and the
run is resumed bit for bit.
"""

import contextlib
import os
import signal

import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.methods.vae import VAE
from pushforward.testing import assert_same, final_state, recipe_for
from pushforward.training.checkpoint import storage
from pushforward.training.checkpoint.storage import latest
from pushforward.training.loop import signals as interrupting
from pushforward.training.runs import log

CODES = {"SIGINT": 130, "SIGTERM": 75, "SIGHUP": 75, "SIGUSR1": 75}


def train(out, steps=5):
    """The exit code of a training."""
    words = [
        "--data",
        "moons",
        "--size",
        "tiny",
        "--steps",
        str(steps),
        "--batch",
        "64",
        "--checkpoint-every",
        "2",
    ]
    return main(["train", "vae", *words, "--out", str(out)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert train(folder) == 0
    return final_state(folder)


@pytest.fixture(autouse=True)
def usual_handlers():
    """Signals do what they usually do, however the tests were started: in the background SIGINT is
    ignored, by nohup SIGHUP.
    """
    usual = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGHUP: signal.SIG_DFL,
        signal.SIGTERM: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def at_step(monkeypatch):
    """Calls a function inside the third step of each training, once."""
    play = VAE.losses
    left = []

    def losses(method, batch, now):
        for move in play(method, batch, now):
            if now.step == 2 and left:
                left.pop()()
            yield move

    monkeypatch.setattr(VAE, "losses", losses)
    return left.append


def send(*names):
    for name in names:
        os.kill(os.getpid(), getattr(signal, name))


def resumed(folder):
    assert main(["resume", str(folder), "--json"]) == 0
    return final_state(folder)


@pytest.mark.parametrize("name", CODES)
def test_a_signal_lets_the_step_end_and_be_saved(name, at_step, whole, tmp_path, capsys):
    at_step(lambda: send(name))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *interrupting.ENDING)}
    assert train(tmp_path / "run") == CODES[name]
    assert {number: signal.getsignal(number) for number in before} == before
    assert (
        f"stopped and saved at step 3\nnext: pushforward resume {tmp_path}/run"
        in capsys.readouterr().err
    )
    assert latest(tmp_path / "run" / "checkpoints").name == "step_000003"
    assert_same(resumed(tmp_path / "run"), whole)


@pytest.mark.parametrize(
    ("second", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 128 + signal.SIGUSR1)]
)
def test_a_second_signal_ends_at_once(second, code, at_step, whole, tmp_path, monkeypatch):
    if second != "SIGINT":  # which no launcher repeats
        monkeypatch.setattr(interrupting, "TOGETHER", -1.0)
    at_step(lambda: send("SIGTERM", second))
    assert train(tmp_path / "run") == code
    assert latest(tmp_path / "run" / "checkpoints").name == "step_000002"
    assert_same(resumed(tmp_path / "run"), whole)


def test_a_signal_that_a_launcher_repeats_is_a_single_one(at_step, tmp_path):
    at_step(lambda: send("SIGTERM", "SIGTERM", "SIGHUP"))
    assert train(tmp_path / "run") == 75
    assert latest(tmp_path / "run" / "checkpoints").name == "step_000003"


def test_a_signal_in_the_first_save_ends_after_it(whole, tmp_path, monkeypatch):
    fill = storage.fill

    def signalled(*arguments):
        monkeypatch.setattr(storage, "fill", fill)
        send("SIGTERM")
        fill(*arguments)

    monkeypatch.setattr(storage, "fill", signalled)
    assert train(tmp_path / "run") == 75
    assert latest(tmp_path / "run" / "checkpoints").name == "step_000000"
    assert_same(resumed(tmp_path / "run"), whole)


@pytest.mark.parametrize(
    ("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 128 + signal.SIGHUP)]
)
def test_a_signal_before_training_leaves_nothing(name, code, tmp_path, monkeypatch):
    """While inputs are prepared, such as an autoencoder's codes."""
    monkeypatch.setattr(
        "pushforward.training.loop.trainer.sampler_of", lambda *arguments, **named: send(name)
    )
    assert train(tmp_path / "run") == code
    assert list(tmp_path.iterdir()) == []


def test_fit_saves_before_it_raises_the_keyboards_interrupt(at_step, tmp_path):
    moons = pf.data.load("moons")
    at_step(lambda: send("SIGINT"))
    with pytest.raises(
        KeyboardInterrupt, match=r"saved at step 3; resume with pf.resume\('.*/run'\)"
    ):
        pf.fit(recipe_for("vae", moons), moons, steps=5, out=tmp_path / "run")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert pf.resume(tmp_path / "run").state["step"] == 5
    assert [row["step"] for row in log.read(tmp_path / "run" / "metrics.jsonl")] == [1, 2, 3, 4, 5]


def test_fit_leaves_a_handler_of_the_users_own(at_step, tmp_path):
    got = []
    moons = pf.data.load("moons")
    before = signal.signal(signal.SIGINT, lambda number, frame: got.append(number))
    try:
        at_step(lambda: send("SIGINT"))
        with contextlib.suppress(KeyboardInterrupt):
            pf.fit(recipe_for("vae", moons), moons, steps=5, out=tmp_path / "run")
    finally:
        signal.signal(signal.SIGINT, before)
    assert got == [signal.SIGINT]
    assert pf.load(tmp_path / "run").state["step"] == 5


def test_a_signal_in_the_last_step_is_no_end_as_usual(at_step, tmp_path):
    moons = pf.data.load("moons")
    at_step(lambda: send("SIGINT"))
    with pytest.raises(KeyboardInterrupt, match="saved at step 3"):
        pf.fit(recipe_for("vae", moons), moons, steps=3, out=tmp_path / "run")
    assert pf.load(tmp_path / "run").state["step"] == 3


def test_a_signal_that_is_ignored_ends_no_training(at_step, tmp_path):
    """As nohup ignores SIGHUP."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    at_step(lambda: send("SIGHUP"))
    assert train(tmp_path / "run") == 0
    assert pf.load(tmp_path / "run").state["step"] == 5
