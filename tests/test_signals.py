"""Signals that end a training: the step is finished and saved, a second one ends at once, and the
run is resumed bit for bit.
"""

import contextlib
import os
import shlex
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
    options = f"--data moons --size tiny --steps {steps} --batch 64 --checkpoint-every 2"
    return main(shlex.split(f"train vae {options} --out {out}"))


def handlers():
    """The handlers of all signals that end a training."""
    return [signal.getsignal(number) for number in (signal.SIGINT, *interrupting.ENDING)]


def last_checkpoint(run):
    return latest(run / "checkpoints").name


@pytest.fixture
def run(tmp_path):
    """The folder of a run that a test starts."""
    return tmp_path / "run"


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
def test_a_signal_lets_the_step_end_and_be_saved(name, at_step, whole, run, capsys):
    at_step(lambda: send(name))
    before = handlers()
    assert train(run) == CODES[name]
    assert handlers() == before
    said = f"stopped and saved at step 3\nnext: pushforward resume {run}"
    assert said in capsys.readouterr().err
    assert last_checkpoint(run) == "step_000003"
    assert_same(resumed(run), whole)


@pytest.mark.parametrize(
    ("second", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGUSR1", 128 + signal.SIGUSR1)]
)
def test_a_second_signal_ends_at_once(second, code, at_step, whole, run, monkeypatch):
    if second != "SIGINT":  # which no launcher repeats
        monkeypatch.setattr(interrupting, "TOGETHER", -1.0)
    at_step(lambda: send("SIGTERM", second))
    assert train(run) == code
    assert last_checkpoint(run) == "step_000002"
    assert_same(resumed(run), whole)


def test_a_signal_that_a_launcher_repeats_is_a_single_one(at_step, run):
    at_step(lambda: send("SIGTERM", "SIGTERM", "SIGHUP"))
    assert train(run) == 75
    assert last_checkpoint(run) == "step_000003"


def test_a_signal_in_the_first_save_ends_after_it(whole, run, monkeypatch):
    fill = storage.fill

    def signalled(*arguments):
        monkeypatch.setattr(storage, "fill", fill)
        send("SIGTERM")
        fill(*arguments)

    monkeypatch.setattr(storage, "fill", signalled)
    assert train(run) == 75
    assert last_checkpoint(run) == "step_000000"
    assert_same(resumed(run), whole)


@pytest.mark.parametrize(
    ("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 128 + signal.SIGHUP)]
)
def test_a_signal_before_training_leaves_nothing(name, code, tmp_path, monkeypatch):
    """While inputs are prepared, such as an autoencoder's codes."""
    preparing = "pushforward.training.loop.trainer.sampler_of"
    monkeypatch.setattr(preparing, lambda *arguments, **named: send(name))
    assert train(tmp_path / "run") == code
    assert list(tmp_path.iterdir()) == []


def fit(out, steps=5):
    moons = pf.data.load("moons")
    return pf.fit(recipe_for("vae", moons), moons, steps=steps, out=out)


def step_of(folder):
    return pf.load(folder).state["step"]


def test_fit_saves_before_it_raises_the_keyboards_interrupt(at_step, run):
    at_step(lambda: send("SIGINT"))
    says = r"saved at step 3; resume with pf.resume\('.*/run'\)"
    with pytest.raises(KeyboardInterrupt, match=says):
        fit(run)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert pf.resume(run).state["step"] == 5
    steps = [row["step"] for row in log.read(run / "metrics.jsonl")]
    assert steps == [1, 2, 3, 4, 5]


def test_fit_leaves_a_handler_of_the_users_own(at_step, run):
    got = []
    before = signal.signal(signal.SIGINT, lambda number, frame: got.append(number))
    try:
        at_step(lambda: send("SIGINT"))
        with contextlib.suppress(KeyboardInterrupt):
            fit(run)
    finally:
        signal.signal(signal.SIGINT, before)
    assert got == [signal.SIGINT]
    assert step_of(run) == 5


def test_a_signal_in_the_last_step_is_no_end_as_usual(at_step, run):
    at_step(lambda: send("SIGINT"))
    says = r"saved at step 3; .* finished, .*pf.load\('.*/run'\)"
    with pytest.raises(KeyboardInterrupt, match=says):
        fit(run, steps=3)
    assert step_of(run) == 3


def test_a_signal_that_is_ignored_ends_no_training(at_step, run):
    """As nohup ignores SIGHUP."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    at_step(lambda: send("SIGHUP"))
    assert train(run) == 0
    assert step_of(run) == 5
