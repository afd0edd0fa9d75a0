"""Budgets in seconds, on a simulated clock: where training ends, how the rate moves, and what a
resumed run repeats.
"""

import functools
import math
import random

import numpy as np
import pytest

import pushforward as pf
from pushforward.methods.method import Now
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training import Budget, Silent
from pushforward.training.api import prepare, reopen
from pushforward.training.checkpoint import latest, load
from pushforward.training.loop.budget import SETTLE, Clock


def rate(clock, warmup=100, end=0.01):
    return pf.Schedule(warmup=warmup, decay=1 / 3, lr_end=end).rate(
        clock, Now(None, 0, clock.progress)
    )


STEPS = [(60.0, 1.0), (75.0, 0.11), (600.0, 0.2)]
"""Budgets and seconds a step at the start."""
SPEEDS = {
    "steady": lambda used: 1.0,
    "drift": lambda used: 1 + used,
    "waves": lambda used: 1 + int(12 * used) % 2,
}
for _at in (0.1, 0.3, 0.5, 0.6, 0.66, 0.68, 0.75, 0.8, 0.89):
    SPEEDS[f"half from {_at}"] = lambda used, at=_at: 1.0 if used < at else 2.0
    SPEEDS[f"double from {_at}"] = lambda used, at=_at: 1.0 if used < at else 0.5


def simulate(limit, base, speed, jitter=0.0, warmup=100):
    """The clock at the end, and (progress, rate) before each step."""
    clock = Clock(Budget(seconds=limit), 1)
    noise = random.Random(0)
    path = []
    while not clock.done:
        path.append((clock.progress, rate(clock, warmup)))
        clock.tick(base * speed(clock.seconds / limit) * math.exp(jitter * noise.gauss(0, 1)))
    return clock, np.array(path)


@functools.cache
def simulated(limit, base, speed):
    """As `simulate`, of a speed by name."""
    return simulate(limit, base, SPEEDS[speed])


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize(("limit", "base"), STEPS)
def test_training_ends_within_3_percent_of_its_seconds(limit, base, speed):
    clock, path = simulated(limit, base, speed)
    assert clock.seconds == pytest.approx(limit, rel=0.03)
    assert (np.diff(path[:, 0]) >= 0).all()
    assert clock.progress == 1


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize(("limit", "base"), STEPS)
def test_the_rate_is_a_continuous_function_of_progress(limit, base, speed):
    """In the fall it never rises, and it moves no faster than a cosine does, whenever the number of
    steps is corrected.
    """
    progress, rate = simulated(limit, base, speed)[1].T
    falls = progress[1:] > SETTLE
    change = np.diff(rate)
    assert (change[falls] <= 1e-12).all()
    assert (abs(change[falls]) <= math.pi / 2 * 3 * np.diff(progress)[falls] + 1e-12).all()
    plateau = (progress > 0.2) & (progress < SETTLE)
    assert (rate[plateau] == 1).all()
    assert (change[: int(plateau.argmax())] >= 0).all()


def test_few_slow_steps_are_not_starved():
    """At one second a step the warm-up of 100 steps would take all of 60 seconds."""
    seconds = simulate(60.0, 1.0, SPEEDS["steady"])[1][:, 1].mean()
    clock = Clock(Budget(steps=60), 1)
    rates = []
    while not clock.done:
        rates.append(rate(clock))
        clock.tick(1.0)
    assert np.mean(rates) == pytest.approx(0.80, abs=0.01)
    assert seconds == pytest.approx(np.mean(rates), abs=0.03)


@pytest.mark.parametrize("base", [0.1, 0.3, 1.0])
@pytest.mark.parametrize(
    ("at", "pause"),
    [(10, 30), (30, 20), (3, 40), (25, 10), (39, 1.5), (41, 15), (50, 5), (52, 2), (15, 43)],
)
def test_a_suspended_machine_neither_ends_training_early_nor_drops_the_rate(at, pause, base):
    """A single step takes the pause. The rate falls to its end all the same, over the steps for
    which there is time.
    """
    pauses = [pause / base]
    clock, path = simulate(
        60.0, base, lambda used: pauses.pop() if pauses and 60 * used >= at else 1.0, warmup=1
    )
    assert clock.seconds == pytest.approx(60, rel=0.03)
    progress, rate = path.T
    assert (np.diff(progress) >= 0).all()
    fall = min(1, 5 * base / min(20, 60 - at - pause))
    assert np.diff(rate).min() >= -fall
    assert rate[-1] <= 0.01 + fall


def test_a_run_of_steps_that_is_extended_by_seconds_has_warmed_up():
    """A steps budget notes no share of seconds; the rate would creep up from a fifth of its
    value.
    """
    clock = Clock(Budget(seconds=80.0), 1)
    clock.restore({"step": 20, "seconds": 20.0}, [])
    assert rate(clock) == 1
    new = Clock(Budget(seconds=80.0), 1)
    new.restore({"step": 0, "seconds": 0.0}, [])
    assert new.warmed == 0


class Killed(Exception):
    """The process is gone."""


class Deadly(Silent):
    def __init__(self, step):
        self.step = step

    def __call__(self, name, clock, samples, losses):
        if clock.step == self.step:
            raise Killed


def slower(step, at=140):
    """Seconds of a step: the machine's speed halves at a step."""
    if step < at:
        return 0.3
    return 0.6


@pytest.fixture
def seconds_of(monkeypatch):
    """Sets how long a step takes, as a function of its number."""
    tick = Clock.tick

    def use(seconds):
        monkeypatch.setattr(Clock, "tick", lambda clock, measured: tick(clock, seconds(clock.step)))

    return use


def trained(out, seconds_of, seconds=slower, kill=None):
    seconds_of(seconds)
    data = space_data((2,), labels=False)
    progress = None if kill is None else Deadly(kill)
    if out.exists():
        trainer = reopen(out, data=data, progress=progress)
    else:
        trainer = prepare(recipe_for("flow", data), data, seconds=60.0, out=out, progress=progress)
    trainer.advance()
    return trainer


def stages(folder):
    return load(latest(folder / "checkpoints")).state["stages"]


def losses(folder):
    return [row["loss"] for row in pf.load(folder).losses()]


def test_a_kill_after_any_stage_repeats_what_was_recorded(tmp_path, seconds_of):
    """The resumed process is 2 % slower, so that forecasts made again would differ, and none need
    be corrected.
    """
    whole = trained(tmp_path / "whole", seconds_of)
    recorded = stages(tmp_path / "whole")
    assert len(recorded) > 2
    assert recorded[-1]["total"] == whole.clock.step
    assert whole.clock.seconds == pytest.approx(60, rel=0.03)
    for number in (1, 2, len(recorded)):
        out = tmp_path / str(number)
        with pytest.raises(Killed):
            trained(out, seconds_of, kill=recorded[number - 1]["step"] + 1)
        assert stages(out) == recorded[:number]
        again = trained(out, seconds_of, lambda step: 1.02 * slower(step))
        assert stages(out)[:number] == recorded[:number]
        assert again.clock.seconds == pytest.approx(60, rel=0.03)
        same = min(
            [entry["step"] for entry in (*recorded[number:], *stages(out)[number:])], default=None
        )
        assert losses(out)[:same] == losses(tmp_path / "whole")[:same]
    assert again.clock.total == whole.clock.total
    assert_same(final_state(tmp_path / "whole"), final_state(out))


def test_the_step_at_which_steps_are_fixed_is_saved(tmp_path, seconds_of):
    with pytest.raises(Killed):
        trained(tmp_path / "run", seconds_of, kill=137)
    first = stages(tmp_path / "run")[0]["step"]
    assert first == 134
    assert reopen(tmp_path / "run", data=space_data((2,), labels=False)).clock.step == first
