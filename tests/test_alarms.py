"""The alarms of training: on planted histories, of real trainings, of posteriors and of maps
between two times.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch
from programs.text_tables import cases, series
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
from pushforward.training.monitor import alarms as rules, health
from pushforward.training.monitor.alarms import alarms
from pushforward.training.monitor.health import FixedNoise, disagreement, measured_in_words


def history_of(every=1, **columns):
    """A history: every so many steps one row, with a value of each column, which is a series."""
    numbers = [series(text) for text in columns.values()]
    history = []
    for row, values in enumerate(zip(*numbers, strict=True), 1):
        health = dict(zip(columns, values, strict=True))
        history.append({"step": row * every, "health": health})
    return history


def measured(values, **more):
    """A history: every 50 steps the given modes held of 8 (or coverage, where below 1)."""
    history = history_of(every=50, coverage=values)
    for row in history:
        health = row["health"]
        health.update(frechet=0.1, **more)
        if isinstance(health["coverage"], int):
            health.update(modes=8, modes_held=health["coverage"])
            health["coverage"] /= 10
    return history


def alarms_of(history):
    """The steps and kinds of the alarms of a history, in words."""
    words = []
    for alarm in alarms(history):
        words.append(f"{alarm.step} {alarm.kind}")
        if alarm.over:
            words[-1] += " over"
    return ", ".join(words)


def test_collapse_begins_after_200_steps_and_is_over_at_once():
    history = measured("2 5x8 6x5 6 8", logit_gap=0.3)
    assert alarms_of(history) == "550 collapse, 650 collapse over"
    begin, end = alarms(history)
    assert begin.sentence.startswith("the generator reaches 5 of 8 modes")
    assert begin.advice == "raise gamma, or set pack to 2"
    assert begin.value == 5
    assert begin.threshold == 6
    assert "reaches 6 of 8 modes" in end.text
    assert alarms_of(history[:10]) == "", "150 steps are not enough"


@cases("""
    values                               raised
    5x8 9x6                              ''            # three quarters of those held are held
    5x6 9x4                              500 collapse  # three quarters of 8 were held
    5x5 9x1                              ''            # too few were ever held
    4x8 9x1                              ''            # not held for 200 steps
    8 1 4x8 1 8 9x1                      ''            # nor in parts
    5x8 4x5 8 4x5 8                      ''            # never lost for 200 steps on end
    5x0.4 9x0.29                         500 collapse
    5x0.4 9x0.3                          ''
    5x0.39 9x0.1                         ''
    0.2 0.4 0.6 0.8 0.97 5x0.9,0.75      ''
""")
def test_what_is_a_collapse(values, raised):
    assert alarms_of(measured(values)) == raised


def test_a_collapse_that_comes_again_is_told_again_and_advice_fits_the_method():
    history = measured("5x0.8 5x0.1 0.8 5x0.1")
    assert alarms_of(history) == "500 collapse, 550 collapse over, 800 collapse"
    assert alarms(history)[0].advice == "lower lr"


def test_modes_that_were_never_found_are_told_of_until_one_is():
    history = measured("0 1 41x3 5 50x4 7", logit_gap=0.3, penalty=0.2)
    raised = "2150 missing, 2200 missing over, 4200 missing, 4750 missing over"
    assert alarms_of(history) == raised
    begin, *_, end = alarms(history)
    assert begin.advice == "raise gamma, or set pack to 2"
    assert begin.value == 3
    assert begin.threshold == 6
    assert end.value == 7


@cases("""
    values   more                               kinds    advice
    41x0     {'logit_gap': 0.3, 'penalty': 0}   missing  set penalty to r1+r2, or set pack
    41x5     {}                                 missing  train longer, or use a larger size
    40x5     {}                                 ''       ''  # not yet 2,000 steps
    99x6     {}                                 ''       ''  # three quarters
    99x0.1   {'logit_gap': 0.3}                 ''       ''  # modes not known
""")
def test_which_modes_are_missing(values, more, kinds, advice):
    raised = alarms(measured(values, **more))
    assert "".join(alarm.kind for alarm in raised) == kinds
    assert advice in "".join(alarm.advice for alarm in raised)


@cases("""
    accuracy  advice
    0.5       lower gamma
    0.56      raise gamma
    1.0       raise gamma
""")
def test_a_critic_at_chance_needs_less_gamma(accuracy, advice):
    (begin,) = alarms(measured("5x8 5x1", critic_accuracy=accuracy))
    assert advice in begin.advice


def test_a_critic_that_wins_is_told_until_it_does_no_more():
    history = history_of(critic_accuracy="1000x1.0 900x0.9", logit_gap="1900x30.0")
    assert alarms_of(history) == "500 critic, 1100 critic over"
    begin = alarms(history)[0]
    assert begin.value == 1.0
    assert begin.threshold == 0.99
    assert "ranked 100.0%" in begin.sentence


def test_a_critic_does_not_win_while_samples_improve():
    history = history_of(
        critic_accuracy="1500x1.0", logit_gap="1500x30.0", frechet="500x9.0 1x8.0 999x7.7"
    )
    assert alarms_of(history) == "1050 critic", "from 8 to 7.7 is no improvement"


@cases("""
    accuracy    gap       raised
    900x0.99    900x20.0  500 critic
    900x0.9899  900x20.0  ''
    900x1.0     900x19.9  ''
    499x1.0     499x30.0  ''
""")
def test_when_a_critic_wins(accuracy, gap, raised):
    history = history_of(critic_accuracy=accuracy, logit_gap=gap)
    assert alarms_of(history) == raised


@cases("""
    gaps               raised
    5x1.0 49x10001.0   ''
    5x1.0 50x10001.0   55 divergence
    80x10000.0         ''
    50x-2e4            50 divergence
    50xNone            50 divergence
    49x2e4 1.0 49x2e4  ''
""")
def test_divergence_is_a_gap_above_10000_for_50_steps(gaps, raised):
    assert alarms_of(history_of(logit_gap=gaps)) == raised


class Fading(Game):
    """Its generator is the data's own Gaussian; from step 30 it is told to give a single point,
    from step 90 to mend.
    """

    def __init__(self, space):
        super().__init__(space, nn.Linear(3, space.size, bias=False))
        with torch.no_grad():
            self.generator.weight.copy_(torch.eye(space.size, 3))

    def losses(self, batch, now):
        weight = self.generator.weight
        wanted = torch.eye(*weight.shape)
        if 30 <= now.step < 90:
            wanted = torch.zeros_like(wanted)
        now.notes["logit_gap"] = torch.tensor(0.1)
        yield "generator", (weight - wanted).square().sum()


def test_a_resumed_run_raises_the_same_alarms(tmp_path, monkeypatch):
    """Cut in the middle of a collapse, before its alarm and after it: what had been seen is read
    again from the log.
    """
    collapse, _ = rules.RULES["collapse"]
    monkeypatch.setattr(health, "interval", lambda batch: 5)
    monkeypatch.setattr(rules, "HOLDING", 20)
    monkeypatch.setitem(rules.RULES, "collapse", (collapse, 20))
    data = space_data((2,), labels=False, n=200)

    def make():
        method = Fading(data.space)
        schedule = Schedule(warmup=1, decay=0)
        return Recipe(method, Training(batch=64, lr=0.1, schedule=schedule, weight_decay=0))

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
    (begins, begin), (ends, end) = logged_alarms(whole)
    assert (begin["kind"], begin["over"]) == ("collapse", False)
    assert (end["kind"], end["over"]) == ("collapse", True)
    assert 50 < begins < 75 < 90 < ends


def logged_alarms(log):
    """The alarms of a log, each with its step."""
    return [(row["step"], alarm) for row in log for alarm in row.get("alarm", [])]


class Exploding(Fading):
    """A game whose critic runs away after its 33rd step."""

    def losses(self, batch, now):
        gap = 2e4
        if now.step < 33:
            gap = 1.0
        for player, loss in super().losses(batch, now):
            now.notes["logit_gap"] = torch.tensor(gap)
            yield player, loss


def test_a_gap_that_runs_away_ends_the_run_and_keeps_the_checkpoint_before(tmp_path):
    data = space_data((2,), labels=False, n=200)
    recipe = Recipe(Exploding(data.space), Training(batch=64))
    run = tmp_path / "run"
    with pytest.raises(Diverged, match=r"At step 83 .*run/checkpoints"):
        pf.fit(recipe, data, steps=200, out=run, checkpoint_every=10)
    kept = {path.name for path in run.glob("checkpoints/step_*")}
    assert kept == {"step_000020", "step_000030"}
    log = log_of(run)
    ((step, alarm),) = logged_alarms(log)
    assert step == log[-1]["step"] == 83
    assert alarm["kind"] == "divergence"


@cases("""
    active           units  beta  raised
    1200x0           16     None  501 posterior
    1200x1           16     None  501 posterior
    1200x2           16     None  ''
    1200x1           4      None  ''
    1200x0           4      None  501 posterior
    399x0 801x16     16     None  ''
    699x0 501x16     16     None  501 posterior, 700 posterior over
    1200x6           16     4.0   501 posterior
    1200x6           16     1.0   ''
    1200x9           16     4.0   ''
    1200x0           16     4.0   501 posterior
""")
def test_when_a_posterior_is_silent(active, units, beta, raised):
    history = history_of(active_units=active, units=f"1200x{units}")
    for row in history:
        if beta is not None:
            row["health"]["beta"] = beta
    assert alarms_of(history) == raised


@cases("""
    perplexity        book  raised
    1200x5.0          256   501 book
    1200x5.3          256   ''
    1200x2.0          8     501 book
    1200x2.1          8     ''
    399x3.0 801x90.0  256  ''
    699x3.0 501x90.0  256  501 book, 700 book over
""")
def test_when_a_book_is_silent(perplexity, book, raised):
    history = history_of(perplexity=perplexity, book=f"1200x{book}")
    assert alarms_of(history) == raised


MEAN = 0.3
VARIANCE = 0.25


def test_jumps_that_disagree_for_1000_steps_are_told_until_they_agree():
    history = history_of(every=100, disagreement="0.2 22x0.5 0.29")
    assert alarms_of(history) == "1200 disagreement, 2400 disagreement over"
    begin, end = alarms(history)
    assert begin.advice.startswith("sample it in more calls")
    assert begin.value == 0.5
    assert begin.threshold == 0.3
    assert end.value == 0.29
    interrupted = history_of(every=100, disagreement="10x0.5 0.29 10x0.5")
    assert alarms_of(interrupted) == "", "never for 1,000 steps on end"


@cases("""
    apart             raised
    600x1.51          500 off_diagonal
    600x1.49          ''
    200x0.4,0.4,1e6   ''                # spikes of single steps
    200x2.0,2.0,0.4   500 off_diagonal
    499x9.0           ''
    600xNone          ''
""")
def test_when_the_loss_between_two_times_has_outgrown_that_at_equal_times(apart, raised):
    steps = len(series(apart))
    history = history_of(diagonal_loss=f"{steps}x0.5", off_diagonal_loss=apart)
    assert alarms_of(history) == raised


@cases("""
    low     middle  high    raised       sentence
    8x0.9   8x1.0   8x3.1   600 targets  targets are 3.1 times
    8x3.2   8xNone  8x1.0   600 targets  diverge
    8x0.01  8x0.02  8x0.09  600 targets  the network has died: targets are 0.09 times
    8x0.01  8x0.02  8x0.2   ''           ''
    8x1.5   8x2.0   8x2.9   ''           ''
    5x9.0   5x9.0   5x9.0   ''           ''  # not for 500 steps
    8xNone  8xNone  8xNone  ''           ''
""")
def test_when_targets_have_the_wrong_size(low, middle, high, raised, sentence):
    sizes = {"target_size_low": low, "target_size_middle": middle, "target_size_high": high}
    history = history_of(every=100, **sizes)
    assert alarms_of(history) == raised
    assert sentence in "".join(alarm.sentence for alarm in alarms(history))


class Exact(nn.Module):
    """The mean velocity of the flow from N(0, 1) to N(MEAN, VARIANCE); without ``agreeing`` its
    velocity at t, whatever s.
    """

    def __init__(self, agreeing=True):
        super().__init__()
        self.agreeing = agreeing
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x, t, condition=None):
        start = t[:, :1]
        end = start
        if self.agreeing:
            end = t[:, 1:]
        here = self._deviation(start)
        there = self._deviation(end)
        numerator = VARIANCE * (start + end - 2) + start + end
        slope = numerator / (here * (here + there))
        centre = (1 - start) * MEAN
        return slope * (x - centre) - MEAN

    @staticmethod
    def _deviation(t):
        return torch.sqrt((1 - t) ** 2 * VARIANCE + t**2)


class Times(Rule):
    def __init__(self, factor):
        self.factor = factor

    def target(self, where):
        return self.factor * where.velocity


def mapping(agreeing=True, rule=None):
    space = VectorSpace((2,), (0, 0), (1, 1))
    noise = np.random.default_rng(0).normal(size=(114, 2))
    x = np.float32(MEAN + VARIANCE**0.5 * noise)
    data = pf.data.from_arrays(x[:90], held_out=x[90:])
    scaling = Preconditioning(scale_input=False)
    flow_map = FlowMap(Exact(agreeing), Linear(), "velocity", space, preconditioning=scaling)
    return FlowMapMatching(flow_map, rule), dataclasses.replace(data, space=space)


def test_an_exact_map_agrees_with_itself():
    method, data = mapping()
    measured = FixedNoise(data, 512).of(method, [1, 2, 4])
    assert measured["disagreement"] < 1e-5
    assert measured["frechet"] == pytest.approx(measured["frechet_4"], abs=1e-5)


def test_a_velocity_disagrees_with_itself():
    method, data = mapping(agreeing=False)
    jumps = FixedNoise(data, 512)
    measured = jumps.of(method, [1, 2])
    flow = method.transport()
    noise = jumps._starts[0]
    first = flow.with_solver("jump", 1)(noise)
    second = flow.with_solver("jump", 2)(noise)
    variances = [samples.var(0, correction=0).mean() for samples in (first, second)]
    variance = sum(variances) / 2
    expected = ((first - second).square().mean() / variance).sqrt()
    assert measured["disagreement"] == pytest.approx(expected.item(), rel=1e-3)
    assert measured["disagreement"] > 0.1


def test_a_single_point_has_no_disagreement():
    point = torch.zeros(3, 2)
    assert math.isnan(disagreement(point, point))


@pytest.mark.parametrize("factor", [1.0, 2.5])
def test_targets_are_measured_over_velocities(factor):
    method, data = mapping(rule=Times(factor))
    moment = StateView(None, 50, 0.0, 0.5, method, method, data, False)
    measured = FixedNoise(data, 512).targets(moment)
    names = {"target_size_low", "target_size_middle", "target_size_high"}
    assert measured == pytest.approx(dict.fromkeys(names, factor), rel=1e-5)
    method.stored = 0.6
    measured = FixedNoise(data, 512).targets(moment)
    assert measured == {}, "targets are stored states"


def test_skipped_steps_are_told_until_a_hundred_steps_were_not():
    history = history_of(**{"gradient_norm/map": "300x1.0"})
    for step in (50, 60):
        history[step - 1]["health"] = {"skipped/map": 1}
    assert alarms_of(history) == "50 skipped, 160 skipped over"
    begin, end = alarms(history)
    assert "of map is not finite" in begin.sentence
    assert end.sentence == "steps skipped so far: 2"


def test_measuring_a_map_changes_no_bit(tmp_path, monkeypatch):
    data = space_data((2,), labels=True)
    finals = []
    monkeypatch.setattr(health, "interval", lambda batch: 2)
    for name in ("with", "without"):
        if name == "without":
            monkeypatch.setattr(FixedNoise, "observe", lambda self, moment: {})
        pf.fit(recipe_for("meanflow", data), data, steps=8, out=tmp_path / name)
        checkpoint = latest(tmp_path / name / "checkpoints")
        finals.append(load(checkpoint).tensors)
    mine, other = finals
    torch.testing.assert_close(mine, other, rtol=0, atol=0)
    rows = [row["health"] for row in log_of(tmp_path / "with")]
    assert ["disagreement" in row for row in rows] == [False, True] * 4
    assert ["frechet_4" in row for row in rows] == [False] * 7 + [True]
    for row in rows:
        assert {"diagonal_loss", "off_diagonal_loss"} <= row.keys()
    second = rows[1]
    assert {"target_size_low", "target_size_high", "coverage_1", "recall"} <= second.keys()
    coverage = second["coverage_1"]
    assert measured_in_words(second) == f"coverage {coverage:.2f} in one call"
