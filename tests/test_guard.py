"""The guard of a finish: what it measures, and how a training ends that loses variety."""

import dataclasses

import numpy as np
import pytest
import torch
from programs.finishes import DATA, begun, finishing

import pushforward as pf
from pushforward.evaluation.results import ModelResult
from pushforward.evaluation.run_results import of_run
from pushforward.methods import Finish, Guard
from pushforward.methods.flow_map import starts
from pushforward.metrics.manifold import prdc, reached
from pushforward.testing import assert_same, final_state, recipe_for
from pushforward.training import Silent
from pushforward.training.api import reopen
from pushforward.training.loop.callbacks import Moment
from pushforward.training.monitor.alarms import alarms
from pushforward.training.monitor.diversity_monitor import Variety

# The guard


def collapses(monkeypatch, after):
    """From a share of training on, the map is drawn to a single point; until then it stays where it is."""
    whole = Finish.losses

    def losses(self, batch, now):
        for player, loss in whole(self, batch, now):
            if player == "map":
                start = starts(self.flow_map, batch.x, now.draws)
                x = self.flow_map.jump(*start, torch.zeros_like(start[1]))
                loss = x.square().mean() if now.progress >= after else self.distance(x, start, batch.condition)
            yield player, loss

    monkeypatch.setattr(Finish, "losses", losses)


FAST = {"lr": 0.05, "players": {}, "ema": 1.0, "ema_share": 0.0}


class Heard(Silent):
    def __init__(self):
        self.lines, self.steps = [], 0

    def __call__(self, name, clock, samples, losses):
        assert not any("has fallen" in line for line in self.lines), "a step is shown after the reason for which training ends"
        self.steps = clock.step

    def say(self, line):
        self.lines.append(line)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finish whose map collapses from half of training on, and what was said while it trained."""
    folder, heard = tmp_path_factory.mktemp("guard") / "whole", Heard()
    with pytest.MonkeyPatch.context() as patch:
        collapses(patch, 0.5)
        trainer = begun(_collapsing(), DATA, folder, steps=24, progress=heard, checkpoint_every=5)
        trainer.advance()
    return pf.load(folder), heard


def _collapsing():
    recipe = finishing(checks=8)
    return dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, **FAST))


def test_a_planted_collapse_ends_the_training_with_the_weights_before(whole):
    run, heard = whole
    rows = run.losses()
    checks = [row["step"] for row in rows if "coverage_ratio" in row.get("health", {})]
    assert checks == list(range(3, rows[-1]["step"] + 1, 3)), "at equal shares of training"
    assert 12 < rows[-1]["step"] < 24
    (alarm,) = rows[-1]["alarm"]
    assert (alarm["kind"], alarm["over"]) == ("variety", False)
    assert f"training ends with the weights of step {rows[-1]['step'] - 3}" in alarm["sentence"]
    assert alarm["sentence"] in heard.lines[-1]
    assert "larger anchor or a lower learning rate" in heard.lines[-1]
    assert heard.steps == rows[-1]["step"], "the reason stands below the last step"
    assert (run.state["step"], run.state["weights_step"]) == (rows[-1]["step"], rows[-1]["step"] - 3)
    assert of_run(ModelResult(), run).weights_step == rows[-1]["step"] - 3
    assert "weights_step" not in pf.load(run.folder, checkpoint="step_000012").state
    for raw in (False, True):
        last, good = (pf.load(run.folder, raw=raw, checkpoint=name) for name in (None, f"step_{run.state['step'] - 3:06d}"))
        assert torch.equal(last.transport.sample(20), good.transport.sample(20))


@pytest.mark.parametrize("kill", [4, 13, 14])
def test_a_killed_training_ends_where_the_whole_one_ends(kill, whole, tmp_path, monkeypatch):
    """It is killed before the collapse, and between the check that was passed and the one that was not."""
    collapses(monkeypatch, 0.5)
    trainer = begun(_collapsing(), DATA, tmp_path / "cut", steps=24, checkpoint_every=kill)
    while trainer.clock.step < kill:
        trainer.advance(1e-9)
    del trainer
    run = reopen(tmp_path / "cut", data=DATA)
    run.advance()
    assert_same(final_state(whole[0].folder), final_state(tmp_path / "cut"))
    without = [{name: value for name, value in row.items() if name != "seconds"} for row in pf.load(tmp_path / "cut").losses()]
    assert without == [{name: value for name, value in row.items() if name != "seconds"} for row in whole[0].losses()]


def test_a_training_that_has_ended_does_not_go_on(whole):
    trainer = reopen(whole[0].folder, data=DATA)
    before = final_state(whole[0].folder)
    assert trainer.done
    assert "has fallen to" in trainer.ended
    trainer.advance()
    assert_same(before, final_state(whole[0].folder))


class Cloud(pf.transports.Transport):
    """Draws from a normal distribution of a given width, or a fixed set."""

    def __init__(self, width):
        super().__init__()
        self.width, self.space, self.noise_shape, self.calls = width, DATA.space, (2,), 1

    calls = 1

    def forward(self, z, condition=None, draws=None):
        return self.width * z


@dataclasses.dataclass
class Played:
    """What the guard asks of a method."""

    width: float
    guard: Guard = dataclasses.field(default_factory=Guard)

    def transport(self):
        return Cloud(self.width)

    def reference(self):
        return Cloud(1.0)


def moment(width, before, progress, guard=None):
    played = Played(width, guard or Guard())
    return Moment(None, 1, before, progress, played, played, DATA)


def test_measures_are_the_metrics_own_beside_the_reference():
    watch = Variety(DATA)
    same = watch.look(moment(1.0, 0, 0.2))
    assert same == {"coverage_ratio": 1, "coverage_limit": 0.97, "recall_ratio": 1, "recall_limit": 0.95}
    narrow = watch.look(moment(0.2, 0, 0.2))
    real = DATA.space.to_model(DATA.train.data_units(slice(None))).numpy()
    scores = [prdc(DATA.space.to_model(Cloud(width).sample(200, seed=0)).numpy(), real) for width in (1.0, 0.2)]
    for name in ("coverage", "recall"):
        assert narrow[f"{name}_ratio"] == pytest.approx(scores[1][name] / scores[0][name])
        assert narrow[f"{name}_ratio"] < narrow[f"{name}_limit"] < 0.97


def test_samples_that_are_not_finite_have_lost_all_variety():
    watch = Variety(DATA)
    watch.look(moment(1.0, 0, 0.2))
    lost = watch.look(moment(float("inf"), 0.2, 0.4))
    assert (lost["coverage_ratio"], lost["recall_ratio"]) == (0, 0)
    assert min(lost["coverage_limit"], lost["recall_limit"]) > 0.5


def test_samples_of_the_reference_are_drawn_once(monkeypatch):
    drawn = []
    monkeypatch.setattr(Played, "reference", lambda played: drawn.append(played) or Cloud(1.0))
    watch = Variety(DATA)
    for progress in (0.2, 0.4):
        watch.look(moment(1.0, 0, progress))
    assert len(drawn) == 1


def test_a_fall_that_chance_explains_does_not_count():
    """A wider cloud covers some examples and loses others: the limit is two standard errors of the paired difference below 1."""
    watch, width = Variety(DATA), 1.4
    measures = watch.look(moment(width, 0, 0.2))
    real = DATA.space.to_model(DATA.train.data_units(slice(None))).numpy()
    first, then = (
        reached(DATA.space.to_model(Cloud(width).sample(200, seed=0)).numpy(), real)["coverage"] for width in (1.0, width)
    )
    assert (first != then).any()
    error = np.sqrt((first != then).sum()) / 200 / first.mean()
    assert measures["coverage_limit"] == pytest.approx(min(0.97, 1 - 2 * error))


def test_checks_fall_at_equal_shares_of_training():
    watch, guard = Variety(DATA), Guard(checks=4)
    due = [step for step in range(10) if watch.due(moment(1.0, step / 10, (step + 1) / 10, guard))]
    assert due == [2, 4, 7, 9]
    assert not watch.due(moment(1.0, 0, 1, Guard(samples=5)))
    none = Moment(None, 1, 0, 1, recipe_for("flow", DATA).method, None, DATA)
    assert not watch.due(none)


def test_the_alarm_names_what_fell_furthest():
    history = [
        {"step": 5, "health": {"coverage_ratio": 0.98, "coverage_limit": 0.97, "recall_ratio": 1.1, "recall_limit": 0.95}},
        {"step": 6, "health": {"logit_gap": 0.1}},
        {"step": 9, "health": {"coverage_ratio": 0.96, "coverage_limit": 0.97, "recall_ratio": 0.9, "recall_limit": 0.95}},
    ]
    (alarm,) = alarms(history)
    assert (alarm.step, alarm.value, alarm.threshold) == (9, 0.9, 0.95)
    assert alarm.sentence.startswith("recall has fallen to 0.900 of the start's, below the limit of 0.950")
    assert alarm.sentence.endswith("training ends with the weights of step 5")
