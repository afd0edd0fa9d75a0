"""The health of maps between two times: what is measured while they are trained, and the alarms that come of it."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.data import VectorSpace
from pushforward.denoisers import FlowMap, Preconditioning
from pushforward.methods import Mapping
from pushforward.methods.rules import Rule
from pushforward.metrics.frechet import frechet_distance
from pushforward.metrics.manifold import prdc
from pushforward.paths import Linear
from pushforward.testing import recipe_for, space_data
from pushforward.training.checkpoint.integrity import latest
from pushforward.training.checkpoint.stored import load
from pushforward.training.loop.callbacks import Moment
from pushforward.training.monitor import flow_map_monitor as map_health
from pushforward.training.monitor.alarms import alarms
from pushforward.training.monitor.flow_map_monitor import Jumps, disagreement
from pushforward.training.monitor.health import in_words

MEAN, VARIANCE = 0.3, 0.25


def alarms_of(history):
    return [(alarm.kind, alarm.step, alarm.over) for alarm in alarms(history)]


# Alarms on planted histories


def marks(values, name="disagreement", every=100):
    return [{"step": number * every, "health": {name: value}} for number, value in enumerate(values, 1)]


def test_jumps_that_disagree_for_1000_steps_are_told_until_they_agree():
    history = marks([0.2, *[0.5] * 22, 0.29])
    assert alarms_of(history) == [("disagreement", 1200, False), ("disagreement", 2400, True)]
    begin, end = alarms(history)
    assert begin.advice.startswith("sample it in more calls")
    assert (begin.value, begin.threshold, end.value) == (0.5, 0.3, 0.29)
    assert alarms_of(marks([*[0.5] * 10, 0.29, *[0.5] * 10])) == [], "never for 1,000 steps on end"


def losses(equal, apart, steps=600):
    return [{"step": s, "health": {"diagonal_loss": equal, "off_diagonal_loss": apart(s)}} for s in range(1, steps + 1)]


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
        (sizes(0.9, 1.0, 3.1), "targets run away: targets are 3.1 times the size of velocities"),
        (sizes(3.2, None, 1.0), "run away"),
        (sizes(0.01, 0.02, 0.09), "the network has died: targets are 0.09 times the size of velocities at all times"),
        (sizes(0.01, 0.02, 0.2), None),
        (sizes(1.5, 2.0, 2.9), None),
        (sizes(9.0, 9.0, 9.0, count=5), None),  # not for 500 steps
        (sizes(9.0, 9.0, 9.0, count=3) + [dict(row, step=row["step"] + 300) for row in sizes(0.0, 0.0, 0.0, count=5)], None),
        (sizes(None, None, None), None),
    ],
)
def test_when_targets_have_the_wrong_size(history, says):
    raised = alarms(history)
    assert [alarm.kind for alarm in raised] == ([] if says is None else ["targets"])
    assert says is None or (says in raised[0].sentence and raised[0].step == 600)


# What is measured


class Exact(nn.Module):
    """The mean velocity of the flow from N(0, 1) to N(MEAN, VARIANCE); without ``agreeing`` its velocity at t, whatever s."""

    def __init__(self, agreeing=True):
        super().__init__()
        self.agreeing, self.unused = agreeing, nn.Parameter(torch.zeros(1))

    def forward(self, x, t, condition=None):
        t, s = t[:, :1], (t[:, 1:] if self.agreeing else t[:, :1])
        here, there = (torch.sqrt((1 - at) ** 2 * VARIANCE + at**2) for at in (t, s))
        slope = (VARIANCE * (t + s - 2) + t + s) / (here * (here + there))
        return slope * (x - (1 - t) * MEAN) - MEAN


class Times(Rule):
    """A multiple of the velocity."""

    def __init__(self, factor):
        self.factor = factor

    def target(self, where):
        return self.factor * where.velocity


def mapping(agreeing=True, rule=None, rows=90, centre=MEAN):
    space = VectorSpace((2,), (0, 0), (1, 1))
    rng = np.random.default_rng(0)
    x = (centre + VARIANCE**0.5 * rng.normal(size=(rows + 24, 2))).astype(np.float32)
    data = pf.data.from_arrays(x[:rows], held_out=x[rows:])
    flow_map = FlowMap(Exact(agreeing), Linear(), "velocity", space, preconditioning=Preconditioning(scale_input=False))
    return Mapping(flow_map, rule), dataclasses.replace(data, space=space)


def test_an_exact_map_agrees_with_itself_and_a_velocity_does_not():
    method, data = mapping()
    measured = Jumps(data, 512).of(method, [1, 2, 4])
    assert measured["disagreement"] < 1e-5
    assert measured["frechet"] == pytest.approx(measured["frechet_4"], abs=1e-5)
    method, data = mapping(agreeing=False)
    jumps = Jumps(data, 512)
    measured = jumps.of(method, [1, 2])
    flow = method.transport()
    first, second = (flow.with_solver("jump", steps)(jumps._starts[0]) for steps in (1, 2))
    spread = (first.var(0, correction=0).mean() + second.var(0, correction=0).mean()) / 2
    assert measured["disagreement"] == pytest.approx(float(((first - second).square().mean() / spread).sqrt()), rel=1e-3)
    assert measured["disagreement"] > 0.1
    assert math.isnan(disagreement(torch.zeros(3, 2), torch.zeros(3, 2)))


def test_measures_of_jumps_are_those_of_the_metrics():
    method, data = mapping(agreeing=False)
    jumps = Jumps(data, 512)
    measured = jumps.of(method, [1, 2, 4])
    clouds = {steps: jumps._samples(method, steps).double().numpy() for steps in (1, 2, 4)}
    real = data.train.data_units().double().numpy()
    of = {steps: prdc(cloud, real, k=5) for steps, cloud in clouds.items()}
    distances = {steps: frechet_distance(cloud, real) / real.var(0).sum() for steps, cloud in clouds.items()}
    assert measured["recall"] == pytest.approx(of[1]["recall"])
    assert measured["coverage_1"] == pytest.approx(of[1]["coverage"])
    for name, steps in (("frechet", 1), ("frechet_2", 2), ("frechet_4", 4)):
        assert measured[name] == pytest.approx(distances[steps], rel=1e-4)
    best = min(distances, key=distances.get)
    assert best > 1
    assert measured["coverage"] == pytest.approx(of[best]["coverage"]) != measured["coverage_1"]
    assert "coverage" not in jumps.of(method, [1, 2]), "alarms read it where four calls were measured"
    method, data = mapping(centre=0.8)
    jumps = Jumps(data, 512)
    jumps._prepare(method)
    samples = jumps._samples(method, 1).double().numpy()
    recall = prdc(samples, data.train.data_units().double().numpy(), k=5)["recall"]
    assert jumps.of(method, [1])["recall"] == pytest.approx(recall)
    assert 0.5 < recall < 0.9


def moment(method, data, step, progress=0.5):
    return Moment(None, step, 0.0, progress, method, method, data, False)


@pytest.mark.parametrize("factor", [1.0, 2.5])
def test_targets_are_measured_over_velocities(factor):
    method, data = mapping(rule=Times(factor))
    measured = dict(Jumps(data, 512)._targets(moment(method, data, 50)))
    assert measured == pytest.approx({f"target_size_{name}": factor for name in ("low", "middle", "high")}, rel=1e-5)
    method.stored = 0.6
    assert dict(Jumps(data, 512)._targets(moment(method, data, 50))) == {}, "targets are stored states"


def test_measuring_a_map_changes_no_bit(tmp_path, monkeypatch):
    data, finals = space_data((2,), labels=True), []
    monkeypatch.setattr(map_health, "interval", lambda batch: 2)
    for name in ("with", "without"):
        if name == "without":
            monkeypatch.setattr(Jumps, "look", lambda self, moment: {})
        pf.fit(recipe_for("meanflow", data), data, steps=8, out=tmp_path / name)
        finals.append(load(latest(tmp_path / name / "checkpoints")).tensors)
    mine, other = finals
    for group in mine:
        assert all(torch.equal(tensor, other[group][key]) for key, tensor in mine[group].items())
    rows = [json.loads(line)["health"] for line in (tmp_path / "with" / "metrics.jsonl").read_text().splitlines()]
    assert ["disagreement" in row for row in rows] == [False, True] * 4
    assert ["frechet_4" in row for row in rows] == [False] * 7 + [True]
    assert all({"diagonal_loss", "off_diagonal_loss"} <= row.keys() for row in rows)
    assert {"target_size_low", "target_size_high", "coverage_1", "recall"} <= rows[1].keys()
    assert in_words(rows[1]) == f"coverage {rows[1]['coverage_1']:.2f} in one call"
