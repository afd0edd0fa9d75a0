"""Budgets in seconds, on a simulated clock: where training ends, how the rate moves, and
what a resumed run keeps.
"""

import numpy as np
import pytest

import pushforward as pf
from pushforward.methods.method import StepContext
from pushforward.testing import recipe_for, space_data
from pushforward.training import Budget, Silent
from pushforward.training.api import prepare, reopen
from pushforward.training.checkpoint import latest, load, storage
from pushforward.training.loop.state import Clock, TrainState


def rate(clock, warmup=100, end=0.01):
    return pf.Schedule(warmup=warmup, decay=1 / 3, lr_end=end).rate(
        clock, StepContext(None, 0, clock.progress)
    )


SPEEDS = {
    "steady": lambda used: 1.0,
    "drift": lambda used: 1 + used,
    "waves": lambda used: 1 + int(12 * used) % 2,
    "half": lambda used: 1.0 if used < 0.7 else 2.0,
    "double": lambda used: 1.0 if used < 0.7 else 0.5,
}


def simulate(limit, base, speed):
    """The clock at the end, and (progress, rate) before each step."""
    clock = Clock(TrainState(None, {}, None), Budget(seconds=limit), 1)
    path = []
    while not clock.done:
        path.append((clock.progress, rate(clock)))
        clock.state.advance(base * speed(clock.seconds / limit))
    return clock, np.array(path)


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize(("limit", "base"), [(60.0, 1.0), (75.0, 0.11), (600.0, 0.2)])
def test_training_ends_with_the_step_that_uses_up_its_seconds(limit, base, speed):
    clock, path = simulate(limit, base, SPEEDS[speed])
    assert limit <= clock.seconds <= limit + 2 * base
    assert clock.progress == 1
    progress, rates = path.T
    assert (np.diff(progress) > 0).all()
    falls = progress > 2 / 3
    assert (np.diff(rates[falls]) < 0).all()
    assert rates[-1] == pytest.approx(0.01, abs=0.05)
    assert (rates[(progress > 0.1) & ~falls] == 1).all()


def test_few_slow_steps_are_not_starved():
    """At one second a step the warm-up of 100 steps would take all of 60 seconds."""
    seconds = simulate(60.0, 1.0, SPEEDS["steady"])[1][:, 1].mean()
    clock = Clock(TrainState(None, {}, None), Budget(steps=60), 1)
    rates = []
    while not clock.done:
        rates.append(rate(clock))
        clock.state.advance(1.0)
    assert np.mean(rates) == pytest.approx(0.80, abs=0.01)
    assert seconds == pytest.approx(np.mean(rates), abs=0.03)


def test_a_run_of_steps_that_is_extended_by_seconds_has_warmed_up():
    state = TrainState(None, {}, None)
    state.step = 20
    state.seconds = 20.0
    clock = Clock(state, Budget(seconds=80.0), 1)
    assert rate(clock) == 1


class Killed(Exception):
    """The process is gone."""


class Deadly(Silent):
    def __init__(self, step):
        self.step = step

    def __call__(self, name, clock, samples, losses):
        if clock.step == self.step:
            raise Killed


@pytest.fixture
def one_second_a_step(monkeypatch):
    advance = TrainState.advance
    monkeypatch.setattr(TrainState, "advance", lambda state, measured: advance(state, 1.0))


def test_a_killed_run_goes_on_with_its_elapsed_time(tmp_path, one_second_a_step):
    """It is saved in quarters of its budget; the killed run has lost the steps after the
    last save, not their number.
    """
    data = space_data((2,), labels=False)
    out = tmp_path / "run"
    trainer = prepare(recipe_for("flow", data), data, seconds=20.0, out=out, progress=Deadly(13))
    with pytest.raises(Killed):
        trainer.advance()
    trainer.close()
    again = reopen(out, data=data)
    assert (again.clock.step, again.clock.seconds, again.clock.progress) == (10, 10.0, 0.5)
    again.advance()
    state = load(latest(out / "checkpoints")).state
    assert (state["step"], state["seconds"], state["total"]) == (20, 20.0, None)
    assert [row["seconds"] for row in pf.load(out).losses()] == list(range(1, 21))
    assert reopen(out, data=data).done


def test_a_run_that_an_earlier_version_has_finished_stays_finished(tmp_path, one_second_a_step):
    """Earlier versions fixed the number of steps before the end, and then missed the
    seconds a little.
    """
    data = space_data((2,), labels=False)
    out = tmp_path / "run"
    pf.fit(recipe_for("flow", data), data, seconds=4.0, out=out)
    newest = load(latest(out / "checkpoints"))
    state = {**newest.state, "seconds": 3.9, "total": 4}
    storage.save(out / "checkpoints", 4, newest.tensors, state)
    assert reopen(out, data=data).done
    assert not reopen(out, data=data, seconds=8.0).done
