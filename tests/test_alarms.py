"""The alarms of training: on planted histories, of real trainings, of posteriors and of maps
between two times.
"""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from programs.watched import Game, log_of
from torch import nn

import pushforward as pf
from pushforward.data import VectorSpace
from pushforward.denoisers import FlowMap, Preconditioning
from pushforward.errors import Diverged
from pushforward.methods import FlowMapMatching
from pushforward.methods.flow_map_targets import Rule
from pushforward.paths import Linear
from pushforward.recipes import Recipe, Schedule, Training
from pushforward.testing import recipe_for, space_data
from pushforward.training.api import prepare, reopen
from pushforward.training.checkpoint.storage import latest
from pushforward.training.checkpoint.tensors import load
from pushforward.training.loop.callbacks import StateView
from pushforward.training.monitor import alarms as rules, health, health as map_health
from pushforward.training.monitor.alarms import alarms
from pushforward.training.monitor.health import FixedNoise, disagreement, measured_in_words


def measured(values, every=50, **more):
    """A history: at each multiple of ``every`` one row, with the given modes held of 8 (or
    coverage, where below 1).
    """
    rows = []
    for number, value in enumerate(values, 1):
        if isinstance(value, int):
            measures = {"modes": 8, "modes_held": value, "coverage": value / 10}
        else:
            measures = {"coverage": value}
        rows.append({"step": number * every, "health": {**measures, "frechet": 0.1, **more}})
    return rows


def alarms_of(history):
    return [(alarm.kind, alarm.step, alarm.over) for alarm in alarms(history)]


def test_collapse_begins_after_200_steps_and_is_over_at_once():
    history = measured([2, 8, 8, 8, 8, 8, 5, 5, 5, 5, 5, 5, 6, 8], logit_gap=0.3)
    assert alarms_of(history) == [("collapse", 550, False), ("collapse", 650, True)]
    begin, end = alarms(history)
    assert begin.sentence.startswith("the generator reaches 5 of 8 modes")
    assert begin.advice == "raise gamma, or set pack to 2"
    assert (begin.value, begin.threshold) == (5, 6)
    assert "reaches 6 of 8 modes" in end.text
    assert alarms_of(history[:10]) == [], "150 steps are not enough"


@pytest.mark.parametrize(
    ("values", "begins"),
    [
        ([8] * 5 + [6] * 9, None),  # three quarters of those held are held
        ([6] * 5 + [4] * 9, 500),  # three quarters of 8 were held
        ([5] * 5 + [1] * 9, None),  # too few were ever held
        ([8] * 4 + [1] * 9, None),  # not held for 200 steps
        ([8, 1, 8, 8, 8, 8, 1, 8] + [1] * 9, None),  # nor in parts
        ([8] * 5 + [5, 5, 5, 5, 8, 5, 5, 5, 5, 8], None),  # never lost for 200 steps on end
        ([0.4] * 5 + [0.29] * 9, 500),
        ([0.4] * 5 + [0.3] * 9, None),
        ([0.39] * 5 + [0.1] * 9, None),
        ([0.2, 0.4, 0.6, 0.8, 0.97] + [0.9, 0.75] * 5, None),
    ],
)
def test_what_is_a_collapse(values, begins):
    assert alarms_of(measured(values)) == ([] if begins is None else [("collapse", begins, False)])


def test_a_collapse_that_comes_again_is_told_again_and_advice_fits_the_method():
    history = measured([*[0.8] * 5, *[0.1] * 5, 0.8, *[0.1] * 5])
    assert alarms_of(history) == [
        ("collapse", 500, False),
        ("collapse", 550, True),
        ("collapse", 800, False),
    ]
    assert alarms(history)[0].advice == "lower lr"


def test_modes_that_were_never_found_are_told_of_until_one_is():
    history = measured([0, 1, *[3] * 41, 5, *[4] * 50, 7], logit_gap=0.3, penalty=0.2)
    assert alarms_of(history) == [
        ("missing", 2150, False),
        ("missing", 2200, True),
        ("missing", 4200, False),
        ("missing", 4750, True),
    ]
    begin, *_, end = alarms(history)
    assert begin.advice == "raise gamma, or set pack to 2"
    assert (begin.value, begin.threshold, end.value) == (3, 6, 7)


@pytest.mark.parametrize(
    ("values", "more", "says"),
    [
        ([0] * 41, {"logit_gap": 0.3, "penalty": 0.0}, "set penalty to r1+r2, or set pack"),
        ([5] * 41, {}, "train longer, or use a larger size"),
        ([5] * 40, {}, None),  # not yet 2,000 steps
        ([6] * 99, {}, None),  # three quarters
        ([0.1] * 99, {"logit_gap": 0.3}, None),  # modes not known
    ],
)
def test_which_modes_are_missing(values, more, says):
    raised = alarms(measured(values, **more))
    assert [alarm.kind for alarm in raised] == ([] if says is None else ["missing"])
    assert says is None or says in raised[0].advice


@pytest.mark.parametrize(
    ("accuracy", "word"), [(0.5, "lower gamma"), (0.56, "raise gamma"), (1.0, "raise gamma")]
)
def test_a_critic_at_chance_needs_less_gamma(accuracy, word):
    (begin,) = alarms(measured([8] * 5 + [1] * 5, critic_accuracy=accuracy))
    assert word in begin.advice


def played(steps, accuracy, gap):
    return [
        {"step": s, "health": {"critic_accuracy": accuracy(s), "logit_gap": gap(s)}}
        for s in range(1, steps + 1)
    ]


def test_a_critic_that_wins_is_told_until_it_does_no_more():
    history = played(1900, lambda s: 1.0 if s <= 1000 else 0.9, lambda s: 30.0)
    assert alarms_of(history) == [("critic", 500, False), ("critic", 1100, True)]
    begin = alarms(history)[0]
    assert (begin.value, begin.threshold) == (1.0, 0.99)
    assert "ranked 100.0%" in begin.sentence


@pytest.mark.parametrize(
    ("accuracy", "gap", "steps", "wins"),
    [
        (0.99, 20.0, 900, True),
        (0.9899, 20.0, 900, False),
        (1.0, 19.9, 900, False),
        (1.0, 30.0, 499, False),
    ],
)
def test_when_a_critic_wins(accuracy, gap, steps, wins):
    raised = alarms_of(played(steps, lambda s: accuracy, lambda s: gap))
    assert raised == ([("critic", 500, False)] if wins else [])


@pytest.mark.parametrize(
    ("gaps", "begins"),
    [
        ([1.0] * 5 + [10_001.0] * 49, None),
        ([1.0] * 5 + [10_001.0] * 50, 55),
        ([10_000.0] * 80, None),
        ([-2e4] * 50, 50),
        ([None] * 50, 50),
        ([2e4] * 49 + [1.0] + [2e4] * 49, None),
    ],
)
def test_divergence_is_a_gap_above_10000_for_50_steps(gaps, begins):
    history = [{"step": s, "health": {"logit_gap": gap}} for s, gap in enumerate(gaps, 1)]
    assert alarms_of(history) == ([] if begins is None else [("divergence", begins, False)])


class Fading(Game):
    """Its generator is the data's own Gaussian; from step 30 it is told to give a single point,
    from step 90 to mend.
    """

    def __init__(self, space):
        super().__init__(space, nn.Linear(3, space.size, bias=False))
        with torch.no_grad():
            self.generator.weight.copy_(torch.eye(space.size, 3))

    def losses(self, batch, now):
        wanted = torch.eye(*self.generator.weight.shape) * (0.0 if 30 <= now.step < 90 else 1.0)
        now.notes["logit_gap"] = torch.tensor(0.1)
        yield "generator", (self.generator.weight - wanted).square().sum()


def test_a_resumed_run_raises_the_same_alarms(tmp_path, monkeypatch):
    """Cut in the middle of a collapse, before its alarm and after it: what had been seen is read
    again from the log.
    """
    monkeypatch.setattr(health, "interval", lambda batch: 5)
    monkeypatch.setattr(rules, "HOLDING", 20)
    monkeypatch.setitem(rules.RULES, "collapse", (rules.RULES["collapse"][0], 20))
    data = space_data((2,), labels=False, n=200)

    def make():
        return Recipe(
            Fading(data.space),
            Training(batch=64, lr=0.1, schedule=Schedule(warmup=1, decay=0), weight_decay=0),
        )

    pf.fit(make(), data, steps=130, out=tmp_path / "whole")
    run = prepare(make(), data, steps=130, out=tmp_path / "cut")
    for stop in (50, 75):
        while run.clock.step < stop:
            run.advance(1e-9)
        run.finish()
        run = reopen(tmp_path / "cut", data=data, method=make().method)
    run.advance()
    whole = log_of(tmp_path / "whole")
    cut = log_of(tmp_path / "cut")
    assert whole == cut
    raised = [(alarm["kind"], alarm["over"]) for row in whole for alarm in row.get("alarm", [])]
    assert raised == [("collapse", False), ("collapse", True)]
    begin, end = [row["step"] for row in whole if "alarm" in row]
    assert 50 < begin < 75 < 90 < end


class Exploding(Fading):
    """A game whose critic runs away after its 33rd step."""

    def losses(self, batch, now):
        for player, loss in super().losses(batch, now):
            now.notes["logit_gap"] = torch.tensor(1.0 if now.step < 33 else 2e4)
            yield player, loss


def test_a_gap_that_runs_away_ends_the_run_and_keeps_the_checkpoint_before(tmp_path):
    data = space_data((2,), labels=False, n=200)
    with pytest.raises(Diverged, match=r"At step 83 .*run/checkpoints"):
        pf.fit(
            Recipe(Exploding(data.space), Training(batch=64)),
            data,
            steps=200,
            out=tmp_path / "run",
            checkpoint_every=10,
        )
    assert [path.name for path in sorted((tmp_path / "run" / "checkpoints").glob("step_*"))] == [
        "step_000020",
        "step_000030",
    ]
    last = log_of(tmp_path / "run")[-1]
    assert (last["step"], [alarm["kind"] for alarm in last["alarm"]]) == (83, ["divergence"])


def history(active, units=16, steps=1200, **more):
    """One row a step; ``active`` is a number or a function of the step."""
    of = active if callable(active) else lambda step: active
    return [
        {"step": step, "health": {"active_units": of(step), "units": units, **more}}
        for step in range(1, steps + 1)
    ]


def used(codes, size, steps=1200):
    of = codes if callable(codes) else lambda step: codes
    return [
        {"step": step, "health": {"perplexity": of(step), "book": size}}
        for step in range(1, steps + 1)
    ]


def told(rows):
    return [(alarm.kind, alarm.step, alarm.over) for alarm in alarms(rows)]


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (history(0), [("posterior", 501, False)]),
        (history(1), [("posterior", 501, False)]),
        (history(2), []),
        (history(1, units=4), []),
        (history(0, units=4), [("posterior", 501, False)]),
        (history(lambda step: 0 if step < 400 else 16), []),
        (
            history(lambda step: 0 if step < 700 else 16),
            [("posterior", 501, False), ("posterior", 700, True)],
        ),
        (history(6, beta=4.0), [("posterior", 501, False)]),
        (history(6, beta=1.0), []),
        (history(9, beta=4.0), []),
        (history(0, beta=4.0), [("posterior", 501, False)]),
        (used(5.0, 256), [("book", 501, False)]),
        (used(5.3, 256), []),
        (used(2.0, 8), [("book", 501, False)]),
        (used(2.1, 8), []),
        (used(lambda step: 3.0 if step < 400 else 90.0, 256), []),
        (
            used(lambda step: 3.0 if step < 700 else 90.0, 256),
            [("book", 501, False), ("book", 700, True)],
        ),
    ],
)
def test_when_a_code_is_silent(rows, wanted):
    assert told(rows) == wanted


MEAN = 0.3
VARIANCE = 0.25


def marks(values, name="disagreement", every=100):
    return [
        {"step": number * every, "health": {name: value}} for number, value in enumerate(values, 1)
    ]


def test_jumps_that_disagree_for_1000_steps_are_told_until_they_agree():
    history = marks([0.2, *[0.5] * 22, 0.29])
    assert alarms_of(history) == [("disagreement", 1200, False), ("disagreement", 2400, True)]
    begin, end = alarms(history)
    assert begin.advice.startswith("sample it in more calls")
    assert (begin.value, begin.threshold, end.value) == (0.5, 0.3, 0.29)
    actual = alarms_of(marks([*[0.5] * 10, 0.29, *[0.5] * 10]))
    assert actual == [], "never for 1,000 steps on end"


def losses(equal, apart, steps=600):
    return [
        {"step": s, "health": {"diagonal_loss": equal, "off_diagonal_loss": apart(s)}}
        for s in range(1, steps + 1)
    ]


@pytest.mark.parametrize(
    ("history", "begins"),
    [
        (losses(0.5, lambda s: 1.51), 500),
        (losses(0.5, lambda s: 1.49), None),
        (losses(0.5, lambda s: 1e6 if s % 3 == 0 else 0.4), None),  # spikes of single steps
        (losses(0.5, lambda s: 0.4 if s % 3 == 0 else 2.0), 500),
        (losses(0.5, lambda s: 9.0, steps=499), None),
        (losses(0.5, lambda s: None), None),
    ],
)
def test_when_the_loss_between_two_times_has_outgrown_that_at_equal_times(history, begins):
    assert alarms_of(history) == ([] if begins is None else [("off_diagonal", begins, False)])


def sizes(low, middle, high, count=8):
    health = {"target_size_low": low, "target_size_middle": middle, "target_size_high": high}
    return [{"step": number * 100, "health": health} for number in range(1, count + 1)]


@pytest.mark.parametrize(
    ("history", "says"),
    [
        (sizes(0.9, 1.0, 3.1), "targets are 3.1 times"),
        (sizes(3.2, None, 1.0), "diverge"),
        (sizes(0.01, 0.02, 0.09), "the network has died: targets are 0.09 times"),
        (sizes(0.01, 0.02, 0.2), None),
        (sizes(1.5, 2.0, 2.9), None),
        (sizes(9.0, 9.0, 9.0, count=5), None),  # not for 500 steps
        (sizes(None, None, None), None),
    ],
)
def test_when_targets_have_the_wrong_size(history, says):
    raised = alarms(history)
    assert [alarm.kind for alarm in raised] == ([] if says is None else ["targets"])
    assert says is None or (says in raised[0].sentence and raised[0].step == 600)


class Exact(nn.Module):
    """The mean velocity of the flow from N(0, 1) to N(MEAN, VARIANCE); without ``agreeing`` its
    velocity at t, whatever s.
    """

    def __init__(self, agreeing=True):
        super().__init__()
        self.agreeing = agreeing
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x, t, condition=None):
        t, s = t[:, :1], (t[:, 1:] if self.agreeing else t[:, :1])
        here, there = (torch.sqrt((1 - at) ** 2 * VARIANCE + at**2) for at in (t, s))
        slope = (VARIANCE * (t + s - 2) + t + s) / (here * (here + there))
        return slope * (x - (1 - t) * MEAN) - MEAN


class Times(Rule):
    def __init__(self, factor):
        self.factor = factor

    def target(self, where):
        return self.factor * where.velocity


def mapping(agreeing=True, rule=None, rows=90, centre=MEAN):
    space = VectorSpace((2,), (0, 0), (1, 1))
    rng = np.random.default_rng(0)
    x = (centre + VARIANCE**0.5 * rng.normal(size=(rows + 24, 2))).astype(np.float32)
    data = pf.data.from_arrays(x[:rows], held_out=x[rows:])
    flow_map = FlowMap(
        Exact(agreeing),
        Linear(),
        "velocity",
        space,
        preconditioning=Preconditioning(scale_input=False),
    )
    return FlowMapMatching(flow_map, rule), dataclasses.replace(data, space=space)


def test_an_exact_map_agrees_with_itself_and_a_velocity_does_not():
    method, data = mapping()
    measured = FixedNoise(data, 512).of(method, [1, 2, 4])
    assert measured["disagreement"] < 1e-5
    assert measured["frechet"] == pytest.approx(measured["frechet_4"], abs=1e-5)
    method, data = mapping(agreeing=False)
    jumps = FixedNoise(data, 512)
    measured = jumps.of(method, [1, 2])
    flow = method.transport()
    first, second = (flow.with_solver("jump", steps)(jumps._starts[0]) for steps in (1, 2))
    spread = (first.var(0, correction=0).mean() + second.var(0, correction=0).mean()) / 2
    assert measured["disagreement"] == pytest.approx(
        float(((first - second).square().mean() / spread).sqrt()), rel=1e-3
    )
    assert measured["disagreement"] > 0.1
    assert math.isnan(disagreement(torch.zeros(3, 2), torch.zeros(3, 2)))


def moment(method, data, step, progress=0.5):
    return StateView(None, step, 0.0, progress, method, method, data, False)


@pytest.mark.parametrize("factor", [1.0, 2.5])
def test_targets_are_measured_over_velocities(factor):
    method, data = mapping(rule=Times(factor))
    measured = FixedNoise(data, 512).targets(moment(method, data, 50))
    assert measured == pytest.approx(
        {f"target_size_{name}": factor for name in ("low", "middle", "high")}, rel=1e-5
    )
    method.stored = 0.6
    actual = FixedNoise(data, 512).targets(moment(method, data, 50))
    assert actual == {}, "targets are stored states"


def test_skipped_steps_are_told_until_a_hundred_steps_were_not():
    history = [{"step": step, "health": {"gradient_norm/map": 1.0}} for step in range(1, 301)]
    for step in (50, 60):
        history[step - 1]["health"] = {"skipped/map": 1}
    assert alarms_of(history) == [("skipped", 50, False), ("skipped", 160, True)]
    begin, end = alarms(history)
    assert "of map is not finite" in begin.sentence
    assert end.sentence == "steps skipped so far: 2"


def test_measuring_a_map_changes_no_bit(tmp_path, monkeypatch):
    data = space_data((2,), labels=True)
    finals = []
    monkeypatch.setattr(map_health, "interval", lambda batch: 2)
    for name in ("with", "without"):
        if name == "without":
            monkeypatch.setattr(FixedNoise, "look", lambda self, moment: {})
        pf.fit(recipe_for("meanflow", data), data, steps=8, out=tmp_path / name)
        finals.append(load(latest(tmp_path / name / "checkpoints")).tensors)
    mine, other = finals
    for group in mine:
        assert all(torch.equal(tensor, other[group][key]) for key, tensor in mine[group].items())
    rows = [
        json.loads(line)["health"]
        for line in (tmp_path / "with" / "metrics.jsonl").read_text().splitlines()
    ]
    assert ["disagreement" in row for row in rows] == [False, True] * 4
    assert ["frechet_4" in row for row in rows] == [False] * 7 + [True]
    assert all({"diagonal_loss", "off_diagonal_loss"} <= row.keys() for row in rows)
    assert {"target_size_low", "target_size_high", "coverage_1", "recall"} <= rows[1].keys()
    assert measured_in_words(rows[1]) == f"coverage {rows[1]['coverage_1']:.2f} in one call"
