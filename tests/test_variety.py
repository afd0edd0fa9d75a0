"""The guard of a finish: what counts as lost variety, and how training ends that loses it."""

import dataclasses

import numpy as np
import pytest
import torch
from programs.finishing import DATA, begun, finishing

import pushforward as pf
from pushforward.evaluation.models import of_run
from pushforward.evaluation.results import ModelResult
from pushforward.methods import (
    AdversarialRefinement,
    Guard,
)
from pushforward.methods.flow_map import starts
from pushforward.metrics.manifold import prdc, reached
from pushforward.testing import assert_same, final_state, recipe_for
from pushforward.training import Silent
from pushforward.training.api import reopen
from pushforward.training.loop.callbacks import StateView
from pushforward.training.monitor.alarms import alarms
from pushforward.training.monitor.health import Diversity


def collapses(monkeypatch, after):
    """From a share of training on, the map is drawn to a single point; until then it stays where it
    is.
    """
    whole = AdversarialRefinement.losses

    def losses(self, batch, now):
        for player, loss in whole(self, batch, now):
            if player == "map":
                start = starts(self.flow_map, batch.x, now.draws)
                x = self.flow_map.jump(*start, torch.zeros_like(start[1]))
                if now.progress >= after:
                    loss = x.square().mean()
                else:
                    loss = self.distance(x, start, batch.condition)
            yield player, loss

    monkeypatch.setattr(AdversarialRefinement, "losses", losses)


FAST = {"lr": 0.05, "players": {}, "ema": 1.0, "ema_share": 0.0}


class Heard(Silent):
    def __init__(self):
        self.lines = []
        self.steps = 0

    def __call__(self, name, clock, samples, losses):
        assert not any("has fallen" in line for line in self.lines), (
            "a step is shown after the reason for which training ends"
        )
        self.steps = clock.step

    def say(self, line):
        self.lines.append(line)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finish whose map collapses from half of training on, and what was said while it trained."""
    folder = tmp_path_factory.mktemp("guard") / "whole"
    heard = Heard()
    with pytest.MonkeyPatch.context() as patch:
        collapses(patch, 0.5)
        trainer = begun(_collapsing(), folder, steps=24, progress=heard, checkpoint_every=5)
        trainer.advance()
    return pf.load(folder), heard


def _collapsing():
    recipe = finishing()
    training = dataclasses.replace(recipe.training, **FAST)
    return dataclasses.replace(recipe, training=training)


def test_a_planted_collapse_ends_the_training_with_the_weights_before(whole):
    run, heard = whole
    rows = run.losses()
    end = rows[-1]["step"]
    good = end - 3
    checks = [row["step"] for row in rows if "coverage_ratio" in row.get("health", {})]
    assert checks == list(range(3, end + 1, 3)), "at equal shares of training"
    assert 12 < end < 24
    (alarm,) = rows[-1]["alarm"]
    assert alarm["kind"] == "variety"
    assert alarm["over"] is False
    assert f"training ends with the weights of step {good}" in alarm["sentence"]
    assert alarm["sentence"] in heard.lines[-1]
    assert "larger anchor or a lower learning rate" in heard.lines[-1]
    assert heard.steps == end, "the reason stands below the last step"
    assert run.state["step"] == end
    assert run.state["weights_step"] == good
    assert of_run(ModelResult(), run).weights_step == good
    assert "weights_step" not in pf.load(run.folder, checkpoint="step_000012").state


@pytest.mark.parametrize("raw", [False, True])
def test_after_a_collapse_a_run_is_loaded_as_it_was_at_its_good_step(whole, raw):
    run, _ = whole
    good = run.state["step"] - 3
    last = pf.load(run.folder, raw=raw)
    before = pf.load(run.folder, raw=raw, checkpoint=f"step_{good:06d}")
    assert torch.equal(last.transport.sample(20), before.transport.sample(20))


def losses_of(run):
    """The rows of a run's losses without their times."""
    rows = run.losses()
    for row in rows:
        del row["seconds"]
    return rows


@pytest.mark.parametrize("kill", [4, 13, 14])
def test_a_killed_training_ends_where_the_whole_one_ends(kill, whole, tmp_path, monkeypatch):
    """It is killed before the collapse, and between the check that was passed and the one that was
    not.
    """
    collapses(monkeypatch, 0.5)
    cut = tmp_path / "cut"
    trainer = begun(_collapsing(), cut, steps=24, checkpoint_every=kill)
    while trainer.clock.step < kill:
        trainer.advance(1e-9)
    del trainer
    reopen(cut, data=DATA).advance()
    run, _ = whole
    assert_same(final_state(run.folder), final_state(cut))
    assert losses_of(pf.load(cut)) == losses_of(run)


def test_a_training_that_has_ended_does_not_go_on(whole):
    run, _ = whole
    trainer = reopen(run.folder, data=DATA)
    before = final_state(run.folder)
    assert trainer.done
    assert "has fallen to" in trainer.ended
    trainer.advance()
    assert_same(before, final_state(run.folder))


class Cloud(pf.transports.Transport):
    """Draws from a normal distribution of a given width, or a fixed set."""

    def __init__(self, width):
        super().__init__()
        self.width = width
        self.space = DATA.space
        self.noise_shape = (2,)
        self.calls = 1

    calls = 1

    def forward(self, z, condition=None, draws=None):
        return self.width * z


@dataclasses.dataclass
class Played:
    width: float
    guard: Guard = dataclasses.field(default_factory=Guard)

    def transport(self):
        return Cloud(self.width)

    def reference(self):
        return Cloud(1.0)


def moment(width, before, progress, guard=None):
    average = Played(width, guard or Guard())
    now = Played(1.0, average.guard)
    return StateView(None, 1, before, progress, now, average, DATA)


def real_rows():
    return DATA.space.to_model(DATA.train.data_units(slice(None))).numpy()


def rows_of(width):
    """Samples of a cloud, as the watch draws them."""
    samples = Cloud(width).sample(200, seed=0)
    return DATA.space.to_model(samples).numpy()


def test_measures_are_the_metrics_own_beside_the_reference():
    watch = Diversity(DATA)
    same = watch.observe(moment(1.0, 0, 0.2))
    assert same["coverage_ratio"] == 1
    assert same["coverage_limit"] == 0.97
    assert same["recall_ratio"] == 1
    assert same["recall_limit"] == 0.95
    narrow = watch.observe(moment(0.2, 0, 0.2))
    assert narrow.keys() == same.keys()
    real = real_rows()
    before = prdc(rows_of(1.0), real)
    after = prdc(rows_of(0.2), real)
    for name in ("coverage", "recall"):
        ratio = narrow[f"{name}_ratio"]
        assert ratio == pytest.approx(after[name] / before[name])
        assert ratio < narrow[f"{name}_limit"] < 0.97


def test_samples_that_are_not_finite_have_lost_all_variety():
    watch = Diversity(DATA)
    watch.observe(moment(1.0, 0, 0.2))
    lost = watch.observe(moment(float("inf"), 0.2, 0.4))
    for name in ("coverage", "recall"):
        assert lost[f"{name}_ratio"] == 0
        assert lost[f"{name}_limit"] > 0.5


def test_samples_of_the_reference_are_drawn_once(monkeypatch):
    drawn = []

    def reference(played):
        drawn.append(played)
        return Cloud(1.0)

    monkeypatch.setattr(Played, "reference", reference)
    watch = Diversity(DATA)
    for progress in (0.2, 0.4):
        watch.observe(moment(1.0, 0, progress))
    assert len(drawn) == 1


def test_a_fall_that_chance_explains_does_not_count():
    """A wider cloud covers some examples and loses others: the limit is two standard errors of the
    paired difference below 1.
    """
    watch = Diversity(DATA)
    measures = watch.observe(moment(1.4, 0, 0.2))
    real = real_rows()
    before = reached(rows_of(1.0), real)["coverage"]
    after = reached(rows_of(1.4), real)["coverage"]
    changed = (before != after).sum()
    assert changed > 0
    error = np.sqrt(changed) / 200 / before.mean()
    limit = min(0.97, 1 - 2 * error)
    assert measures["coverage_limit"] == pytest.approx(limit)


def test_checks_fall_at_equal_shares_of_training():
    watch = Diversity(DATA)
    guard = Guard(checks=4)
    due = []
    for step in range(10):
        if watch.due(moment(1.0, step / 10, (step + 1) / 10, guard)):
            due.append(step)
    assert due == [2, 4, 7, 9]
    assert not watch.due(moment(1.0, 0, 1, Guard(samples=5)))
    none = StateView(None, 1, 0, 1, recipe_for("flow", DATA).method, None, DATA)
    assert not watch.due(none)


def measured(step, coverage, recall):
    """A row of a check of variety."""
    health = {
        "coverage_ratio": coverage,
        "coverage_limit": 0.97,
        "recall_ratio": recall,
        "recall_limit": 0.95,
    }
    return {"step": step, "health": health}


def test_the_alarm_names_what_fell_furthest():
    history = [
        measured(5, coverage=0.98, recall=1.1),
        {"step": 6, "health": {"logit_gap": 0.1}},
        measured(9, coverage=0.96, recall=0.9),
    ]
    (alarm,) = alarms(history)
    assert (alarm.step, alarm.value, alarm.threshold) == (9, 0.9, 0.95)
    assert alarm.sentence.startswith(
        "recall has fallen to 0.900 of its initial value, below the limit of 0.950"
    )
    assert alarm.sentence.endswith("training ends with the weights of step 5")
