"""Finishing a map: penalties by differences, the anchor, the guard, a critic on features,
and runs.
"""

import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

import pushforward as pf
from pushforward.cli import main
from pushforward.data import Batch
from pushforward.denoisers import FlowMap
from pushforward.denoisers.denoiser import network_precision
from pushforward.draws import BlockDraws
from pushforward.errors import UsageError
from pushforward.evaluation.models import of_run
from pushforward.evaluation.results import ModelResult
from pushforward.methods import (
    AdversarialRefinement,
    AnchorPenalty,
    Guard,
    LatentMethod,
    Penalties,
    StepContext,
)
from pushforward.methods.adversarial import Game, differences, slope
from pushforward.methods.flow_map import starts
from pushforward.methods.refinement import FeatureCritic
from pushforward.metrics.manifold import prdc, reached
from pushforward.networks import UNet
from pushforward.networks.gan import FeatureHeads
from pushforward.paths import VP, Linear
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training import Silent
from pushforward.training.api import prepare, reopen
from pushforward.training.checkpoint import latest, load
from pushforward.training.loop.callbacks import StateView
from pushforward.training.monitor.alarms import alarms
from pushforward.training.monitor.health import Variety
from pushforward.training.recipe_argument import in_latent, with_frozen

DATA = space_data((2,), labels=False, n=200)


def finishing(data=DATA, **options):
    def recipe(space, size="small", *, teacher: pf.FlowMap):
        return pf.recipes.finish(space, size, teacher=teacher, **options)

    return recipe_for(recipe, data)


def begun(recipe, data, folder, **options):
    return prepare(recipe, data, out=folder, seed=1, **options)


def now(rows, step=0, progress=0.0):
    return StepContext(BlockDraws(0, step, rows), 0, progress, step)


def test_differences_are_the_squared_slope_in_the_mean_where_a_critic_is_linear():
    """Along each direction they are exact, whatever the step: (w n)^2, whose mean is |w|^2."""
    torch.manual_seed(0)
    w = torch.tensor([0.3, -1.2, 0.5], dtype=torch.float64)
    n = 40_000
    x, noise = torch.randn(2, n, 3, dtype=torch.float64)

    def critic(x):
        return x @ w + 0.7

    scores, squares = differences(critic, x, noise, 0.1)
    assert_close(scores, critic(x))
    assert_close(squares, (noise @ w).square())
    known = slope(critic(x.requires_grad_()), x)
    error = float(squares.std()) / math.sqrt(n)
    assert float(squares.mean()) == pytest.approx(float(known.mean()), abs=4 * error)


class Bent(nn.Module):
    """D(x) = a |x|^2 / 2; for packs the sum over their rows."""

    def __init__(self, pack=1):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.7))
        self.pack = pack

    def forward(self, x, t=None, condition=None):
        return (self.a * x.square().flatten(1).sum(1) / 2).reshape(-1, self.pack).sum(1)


@pytest.mark.parametrize("pack", [1, 2])
@pytest.mark.parametrize(("kind", "parts"), [("r1", (1, 0)), ("r2", (0, 1)), ("r1+r2", (1, 1))])
def test_a_game_takes_differences_in_place_of_slopes(kind, parts, pack):
    torch.manual_seed(0)
    real = torch.randn(64, 3)
    fake = 1.5 * torch.randn(64, 3)
    exact, near = (
        Game(Bent(pack), "relativistic", Penalties(kind, 2.0, difference=step))
        for step in (None, 0.01)
    )
    moment = now(64)
    loss, _ = near.critic_loss(real, fake, None, moment)
    draws = now(64).draws.stream("difference")
    expected = 0.0
    for part, x in zip(parts, (real, fake), strict=True):
        noise = draws.normal((3,))
        d = Bent(pack)
        expected += part * ((d(x + 0.01 * noise) - d(x)) / 0.01).square().mean()
    penalty = moment.notes["penalty"].item()
    assert penalty == pytest.approx(expected.item(), rel=1e-2)
    assert bool(loss.isfinite())
    whole = now(64)
    exact.critic_loss(real, fake, None, whole)
    penalty = float(moment.notes["penalty"])
    assert penalty == pytest.approx(float(whole.notes["penalty"]), rel=0.6)
    (gradient,) = torch.autograd.grad(loss, near.critic.a)
    assert float(gradient) != 0


def test_differences_are_computed_in_float32():
    """In bfloat16 the difference of two scores would be its rounding."""
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1))
    real = torch.randn(32, 3)
    fake = torch.randn(32, 3)
    penalties = []
    for precision in ("float32", "bfloat16"):
        moment = now(32)
        with network_precision(precision):
            Game(
                lambda x, t, condition: critic(x),
                "relativistic",
                Penalties("r1+r2", difference=0.01),
            ).critic_loss(real, fake, None, moment)
        penalties.append(moment.notes["penalty"].item())
    assert penalties[0] == penalties[1]


@pytest.mark.parametrize("inside", [0.0, 0.4])
def test_jumps_start_at_noise_or_on_the_way(inside):
    flow_map = recipe_for("meanflow", DATA).method.flow_map
    n = 2000
    low, high = flow_map.path.ends
    far = torch.full((n, 2), 100.0)
    x, t = starts(flow_map, far, BlockDraws(0, 0, n), inside)
    noise = t == high
    mean = float(noise.float().mean())
    assert mean == pytest.approx(1 - inside, abs=0.05)
    assert bool((t >= low).all())
    assert x[noise].abs().max() < 10, "at the end of the path there is noise alone, as in sampling"
    noisy = SimpleNamespace(path=VP(), source=flow_map.source)  # whose end is not all noise
    x_end, t_end = starts(noisy, far * 1e6, BlockDraws(0, 0, n), inside)
    largest = x_end[t_end == VP().ends[1]].abs().max()
    assert largest < 10
    actual = x[~noise].mean(1) / 100
    assert_close(actual, 1 - t[~noise], rtol=0, atol=0.05)
    transport = pf.Flow(flow_map, pf.solvers.Jump(), 1)
    z = BlockDraws(0, 0, n).normal((2,))
    with torch.no_grad():
        whole = transport(z)
        mine = flow_map.jump(*starts(flow_map, far, BlockDraws(0, 0, n)), torch.zeros(n))
    assert_close(mine, whole, rtol=0, atol=1e-5)


def test_a_finish_starts_as_its_teacher_where_the_anchor_is_zero(tmp_path):
    trainer = begun(finishing(anchor=3.0), DATA, tmp_path / "run", steps=2)
    method = trainer.method
    x = method.space.to_model(DATA.train.data_units(slice(32)))
    actual = method.transport().sample(8)
    expected = method.reference().sample(8)
    assert torch.equal(actual, expected)
    start = starts(method.flow_map, x, now(32).draws, 0.5)
    jumped = method.flow_map.jump(*start, torch.zeros(32))
    assert method.distance(jumped, start, None).item() == 0
    actual = method.distance(jumped + 0.5, start, None).item()
    assert actual == pytest.approx(0.25, rel=1e-4)
    losses = dict(method.turns(Batch(x), moment := now(32)))
    anchored = losses["map"].item()
    method.anchor = AnchorPenalty(0.0)
    actual = dict(method.turns(Batch(x), now(32)))["map"].item()
    assert actual == pytest.approx(anchored)
    assert float(moment.notes["anchor_distance"]) == 0
    with torch.no_grad():
        for parameter in method.flow_map.parameters():
            parameter.mul_(1.1)
    assert method.distance(jumped, start, None).item() == 0, "it is that to the map as it was"
    method.anchor = AnchorPenalty(2.0)
    half = now(32, progress=0.5)
    anchored = dict(method.turns(Batch(x), half))["map"].item()
    method.anchor = AnchorPenalty(0.0)
    free = dict(method.turns(Batch(x), now(32, progress=0.5)))["map"].item()
    assert anchored - free == pytest.approx(2 * float(half.notes["anchor_distance"]), rel=1e-3)
    assert anchored - free > 1e-3
    trainer.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("flow", "meanflow"):
        pf.fit(recipe_for(name, DATA), DATA, steps=2, out=folder / name)
    return folder


def test_runs_are_finished_and_matched(runs, tmp_path):
    pairs = {"teacher": runs / "meanflow"}
    run = pf.fit(
        with_frozen("finish", pairs)(DATA.space, "tiny"), DATA, steps=2, out=tmp_path / "finish"
    )
    z = torch.randn(20, 2)
    first = pf.load(tmp_path / "finish", checkpoint="step_000000").transport
    expected = pf.load(runs / "meanflow").transport(z)
    assert torch.equal(first(z), expected)
    assert not torch.equal(run.transport(z), first(z))
    stored = load(latest(run.folder / "checkpoints")).tensors
    assert stored["average"].keys() == stored["method"].keys(), (
        "stored runs hold an averaged critic"
    )
    with pytest.raises(
        UsageError,
        match=r"The frozen part teacher must be a map between two times .* Distil it first",
    ):
        with_frozen("finish", {"teacher": runs / "flow"})(DATA.space, "tiny")
    starting = {"teacher": runs / "flow", "start": runs / "meanflow"}
    for name, parts in {"from": starting, "own": pairs}.items():
        folder = tmp_path / name
        pf.fit(
            with_frozen("dmd", parts)(DATA.space, rounds=1),
            DATA,
            steps=1,
            checkpoint_every=1,
            out=folder,
        )
        first = pf.load(folder, checkpoint="step_000000").transport
        expected = pf.load(runs / "meanflow").transport(z)
        assert torch.equal(first(z), expected), "a map starts as itself"


@pytest.mark.parametrize("name", ["consistency", "meanflow"])
def test_what_sharpens_a_map_keeps_how_it_is_sampled(name, tmp_path):
    """A consistency model knows no end but data: in two calls it is noised again, also as a teacher
    that is read from its run.
    """
    before = pf.fit(recipe_for(name, DATA), DATA, steps=1, out=tmp_path / "map")
    assert before.transport.solver.renoise == (name == "consistency")
    pf.fit(recipe_for("flow", DATA), DATA, steps=1, out=tmp_path / "flow")
    start = {"teacher": tmp_path / "flow", "start": before}
    recipes = {
        "finish": with_frozen("finish", {"teacher": before})(
            DATA.space, "tiny", coverage=0, recall=0, calls=2
        ),
        "dmd": with_frozen("dmd", start)(DATA.space, rounds=1, calls=2),
    }
    for verb, recipe in recipes.items():
        pf.fit(recipe, DATA, steps=1, checkpoint_every=1, out=tmp_path / verb)
        first = pf.load(tmp_path / verb, checkpoint="step_000000").transport
        expected = before.sample(6, steps=2)
        assert torch.equal(first.sample(6), expected)
        if verb == "finish":
            actual = pf.load(tmp_path / verb).method.reference().sample(6)
            expected = before.sample(6, steps=2)
            assert torch.equal(actual, expected)


def test_latent_students_are_finished_on_their_codes(tmp_path, capsys):
    data = pf.data.load("digits", limit=200)
    vae = pf.fit("vae", data, size="tiny", steps=2, out=tmp_path / "vae", progress=False)
    teacher = pf.fit(
        in_latent("flow", data, vae, "tiny"), data, steps=2, out=tmp_path / "flow", progress=False
    )
    few = [
        "--trajectories",
        "40",
        "--teacher-steps",
        "2",
        "--steps",
        "2",
        "--out",
        str(tmp_path / "student"),
    ]
    code = main(["distil", str(teacher.folder), *few, "--finish", ".1s"])
    assert code == 0
    run = pf.load(tmp_path / "student-finished")
    student = pf.load(tmp_path / "student")
    method = run.method
    assert isinstance(method, LatentMethod)
    codes = student.transport.inner.space.shape
    shape = method.method.scores(torch.zeros(5, *codes)).shape
    assert shape == (5,)
    assert run.sample(3).shape == (3, *data.space.shape)


IMAGES = space_data((1, 8, 8), labels=True)
NET = {"widths": (16, 32), "blocks": 1, "heads": 2}


class Mean(nn.Module):
    """Scores that are the mean of the first map of features, times a weight."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, features, t=None, condition=None):
        return self.weight * features[0].flatten(1).mean(1)


class Shown(nn.Module):
    """A network whose features are its input, and its two times."""

    times = 2

    def features(self, x, t=None, condition=None):
        assert condition is None or set(condition) == {"label"}
        assert torch.equal(t[:, 0], t[:, 1])
        return [x + t[:, :1, None, None]]

    def forward(self, x, t, condition=None):
        return x


def unet_map(seed=0):
    torch.manual_seed(seed)
    network = UNet((1, 8, 8), **NET, conditions=IMAGES.space.conditions, times=2)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.05)
    return FlowMap(network, Linear(), "velocity", IMAGES.space)


def test_examples_are_mixed_with_noise_at_the_time_that_the_denoiser_reads():
    critic = FeatureCritic(Mean(), low=0.1, high=0.6)
    critic.look_through(FlowMap(Shown(), Linear(), "velocity", IMAGES.space))
    n = 1024
    label = {"label": torch.zeros(1024, dtype=torch.long)}
    seen, mixed = critic.noised(label, BlockDraws(0, 0, n), lambda x: 2 * x)
    assert set(label) == {"label"}
    (t,) = (seen[name] for name in seen if name != "label")
    assert 0.1 <= t.min() < 0.11
    assert 0.59 < t.max() <= 0.6
    x = torch.full((n, 1, 8, 8), 1.5)
    first = mixed(x)
    second = mixed(x)
    noise = (first - 3 * (1 - t)[:, None, None, None]) / t[:, None, None, None]
    assert abs(float(noise.mean())) < 0.01
    assert abs(float(noise.std()) - 1) < 0.01
    assert not torch.equal(first, second)
    r = torch.hypot(1 - t, t)[:, None, None, None]  # networks receive inputs of unit variance
    scores = critic(first, None, seen).detach()
    expected = (first / r).flatten(1).mean(1) + t
    assert_close(scores, expected)
    alone = critic(x, None, label).detach()
    expected = torch.full((n,), 1.5 / (0.9**2 + 0.1**2) ** 0.5 + 0.1)
    assert_close(alone, expected)


def test_the_heads_fit_the_features_of_any_unet_and_know_conditions():
    for shape, stem, widths in (((1, 28, 28), 2, (16, 32)), ((3, 9, 20), 1, (16, 16, 32))):
        network = UNet(
            shape, widths=widths, blocks=1, stem=stem, heads=2, conditions=IMAGES.space.conditions
        )
        heads = FeatureHeads.of(network, hidden=8)
        x = torch.randn(3, *shape)
        features = network.features(x, torch.rand(3), {"label": torch.tensor([0, 1, 2])})
        assert [max(h.shape[2:]) for h in features] == list(heads.sides)
        scores = [heads(features, None, {"label": torch.full((3,), label)}) for label in (0, 1)]
        assert scores[0].shape == (3,)
        assert not torch.equal(*scores)


def test_only_the_small_critics_learn_and_both_players_see_noise():
    method = pf.recipes.finish(IMAGES.space, "tiny", teacher=unet_map()).method
    assert isinstance(method, AdversarialRefinement)
    assert isinstance(method.critic, FeatureCritic)
    assert method.critic.teacher is method.teacher
    assert set(method.parts) == {"teacher"}
    assert {name.split(".")[0] for name, _ in method.critic.named_parameters()} == {"heads"}
    assert (method.penalties.gamma, method.anchor.still) == (0.0, 0.05)
    calls = []
    score = method.critic.forward
    method.critic.forward = lambda x, t, condition: (
        calls.append((x.detach(), condition)) or score(x, t, condition)
    )
    x = method.space.to_model(IMAGES.train.data_units(slice(64)))
    batch = Batch(x, {"label": torch.arange(64) % 3})
    turns = dict(method.turns(batch, StepContext(BlockDraws(0, 0, 64), 0, 0.5)))
    turns["map"].backward()
    assert any(p.grad is not None and p.grad.any() for p in method.flow_map.parameters())
    assert len(calls) == 3, "both at once, the samples, the data"
    assert all(len(condition) == 2 and "label" in condition for _, condition in calls)
    assert not any(torch.equal(part, x) for seen, _ in calls for part in seen.split(64))


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
        trainer = begun(_collapsing(), DATA, folder, steps=24, progress=heard, checkpoint_every=5)
        trainer.advance()
    return pf.load(folder), heard


def _collapsing():
    recipe = finishing()
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
    assert (run.state["step"], run.state["weights_step"]) == (
        rows[-1]["step"],
        rows[-1]["step"] - 3,
    )
    weights_step = of_run(ModelResult(), run).weights_step
    assert weights_step == rows[-1]["step"] - 3
    assert "weights_step" not in pf.load(run.folder, checkpoint="step_000012").state
    for raw in (False, True):
        last, good = (
            pf.load(run.folder, raw=raw, checkpoint=name)
            for name in (None, f"step_{run.state['step'] - 3:06d}")
        )
        actual = last.transport.sample(20)
        expected = good.transport.sample(20)
        assert torch.equal(actual, expected)


@pytest.mark.parametrize("kill", [4, 13, 14])
def test_a_killed_training_ends_where_the_whole_one_ends(kill, whole, tmp_path, monkeypatch):
    """It is killed before the collapse, and between the check that was passed and the one that was
    not.
    """
    collapses(monkeypatch, 0.5)
    trainer = begun(_collapsing(), DATA, tmp_path / "cut", steps=24, checkpoint_every=kill)
    while trainer.clock.step < kill:
        trainer.advance(1e-9)
    del trainer
    run = reopen(tmp_path / "cut", data=DATA)
    run.advance()
    assert_same(final_state(whole[0].folder), final_state(tmp_path / "cut"))
    without = [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in pf.load(tmp_path / "cut").losses()
    ]
    assert without == [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in whole[0].losses()
    ]


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
    return StateView(
        None, 1, before, progress, dataclasses.replace(average, width=1.0), average, DATA
    )


def test_measures_are_the_metrics_own_beside_the_reference():
    watch = Variety(DATA)
    same = watch.look(moment(1.0, 0, 0.2))
    assert same == {
        "coverage_ratio": 1,
        "coverage_limit": 0.97,
        "recall_ratio": 1,
        "recall_limit": 0.95,
    }
    narrow = watch.look(moment(0.2, 0, 0.2))
    real = DATA.space.to_model(DATA.train.data_units(slice(None))).numpy()
    scores = [
        prdc(DATA.space.to_model(Cloud(width).sample(200, seed=0)).numpy(), real)
        for width in (1.0, 0.2)
    ]
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
    """A wider cloud covers some examples and loses others: the limit is two standard errors of the
    paired difference below 1.
    """
    watch = Variety(DATA)
    width = 1.4
    measures = watch.look(moment(width, 0, 0.2))
    real = DATA.space.to_model(DATA.train.data_units(slice(None))).numpy()
    first, then = (
        reached(DATA.space.to_model(Cloud(width).sample(200, seed=0)).numpy(), real)["coverage"]
        for width in (1.0, width)
    )
    assert (first != then).any()
    error = np.sqrt((first != then).sum()) / 200 / first.mean()
    assert measures["coverage_limit"] == pytest.approx(min(0.97, 1 - 2 * error))


def test_checks_fall_at_equal_shares_of_training():
    watch = Variety(DATA)
    guard = Guard(checks=4)
    due = [step for step in range(10) if watch.due(moment(1.0, step / 10, (step + 1) / 10, guard))]
    assert due == [2, 4, 7, 9]
    assert not watch.due(moment(1.0, 0, 1, Guard(samples=5)))
    none = StateView(None, 1, 0, 1, recipe_for("flow", DATA).method, None, DATA)
    assert not watch.due(none)


def test_the_alarm_names_what_fell_furthest():
    history = [
        {
            "step": 5,
            "health": {
                "coverage_ratio": 0.98,
                "coverage_limit": 0.97,
                "recall_ratio": 1.1,
                "recall_limit": 0.95,
            },
        },
        {"step": 6, "health": {"logit_gap": 0.1}},
        {
            "step": 9,
            "health": {
                "coverage_ratio": 0.96,
                "coverage_limit": 0.97,
                "recall_ratio": 0.9,
                "recall_limit": 0.95,
            },
        },
    ]
    (alarm,) = alarms(history)
    assert (alarm.step, alarm.value, alarm.threshold) == (9, 0.9, 0.95)
    assert alarm.sentence.startswith(
        "recall has fallen to 0.900 of its initial value, below the limit of 0.950"
    )
    assert alarm.sentence.endswith("training ends with the weights of step 5")
