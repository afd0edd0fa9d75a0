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
        each = self.a * x.square().flatten(1).sum(1) / 2
        return each.reshape(-1, self.pack).sum(1)


@pytest.mark.parametrize("pack", [1, 2])
@pytest.mark.parametrize(("kind", "parts"), [("r1", (1, 0)), ("r2", (0, 1)), ("r1+r2", (1, 1))])
def test_a_game_takes_differences_in_place_of_slopes(kind, parts, pack):
    torch.manual_seed(0)
    real = torch.randn(64, 3)
    fake = 1.5 * torch.randn(64, 3)

    def played(difference):
        """The loss of the critic, its penalty, and the critic."""
        game = Game(Bent(pack), "relativistic", Penalties(kind, 2.0, difference=difference))
        moment = now(64)
        loss, _ = game.critic_loss(real, fake, None, moment)
        return loss, float(moment.notes["penalty"]), game.critic

    loss, penalty, critic = played(0.01)
    draws = now(64).draws.stream("difference")
    expected = 0.0
    for part, x in zip(parts, (real, fake), strict=True):
        noise = draws.normal((3,))
        slopes = (critic(x + 0.01 * noise) - critic(x)) / 0.01
        expected += part * slopes.square().mean().item()
    assert penalty == pytest.approx(expected, rel=1e-2)
    assert loss.isfinite()
    _, exact, _ = played(None)
    assert penalty == pytest.approx(exact, rel=0.6)
    (gradient,) = torch.autograd.grad(loss, critic.a)
    assert gradient != 0


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
    share = float(noise.float().mean())
    assert share == pytest.approx(1 - inside, abs=0.05)
    assert (t >= low).all()
    assert x[noise].abs().max() < 10, "at the end of the path there is noise alone, as in sampling"
    signal = x[~noise].mean(1) / 100
    assert_close(signal, 1 - t[~noise], rtol=0, atol=0.05)
    noisy = SimpleNamespace(path=VP(), source=flow_map.source)  # whose end is not all noise
    x, t = starts(noisy, far * 1e6, BlockDraws(0, 0, n), inside)
    at_end = t == VP().ends[1]
    assert x[at_end].abs().max() < 10


def test_a_jump_from_a_start_is_a_sample():
    flow_map = recipe_for("meanflow", DATA).method.flow_map
    n = 2000
    far = torch.full((n, 2), 100.0)
    transport = pf.Flow(flow_map, pf.solvers.Jump(), 1)
    z = BlockDraws(0, 0, n).normal((2,))
    start = starts(flow_map, far, BlockDraws(0, 0, n))
    with torch.no_grad():
        sample = transport(z)
        jumped = flow_map.jump(*start, torch.zeros(n))
    assert_close(jumped, sample, rtol=0, atol=1e-5)


def loss_of_map(method, x, progress=0.0):
    """The loss of the map, and how far it is from its anchor."""
    moment = now(32, progress=progress)
    losses = dict(method.turns(Batch(x), moment))
    return losses["map"].item(), float(moment.notes["anchor_distance"])


@pytest.fixture
def finish(tmp_path):
    """The method of a finish that begins."""
    trainer = begun(finishing(anchor=3.0), DATA, tmp_path / "run", steps=2)
    yield trainer.method
    trainer.close()


def test_a_finish_starts_as_its_teacher(finish):
    samples = finish.transport().sample(8)
    assert torch.equal(samples, finish.reference().sample(8))


def test_the_anchor_is_zero_at_the_start_and_pulls_to_the_map_as_it_was(finish):
    x = finish.space.to_model(DATA.train.data_units(slice(32)))
    start = starts(finish.flow_map, x, now(32).draws, 0.5)
    jumped = finish.flow_map.jump(*start, torch.zeros(32))
    assert finish.distance(jumped, start, None).item() == 0
    apart = finish.distance(jumped + 0.5, start, None).item()
    assert apart == pytest.approx(0.25, rel=1e-4)
    anchored, distance = loss_of_map(finish, x)
    assert distance == 0
    finish.anchor = AnchorPenalty(0.0)
    free, _ = loss_of_map(finish, x)
    assert free == pytest.approx(anchored)
    with torch.no_grad():
        for parameter in finish.flow_map.parameters():
            parameter.mul_(1.1)
    assert finish.distance(jumped, start, None).item() == 0, "it is that to the map as it was"
    free, _ = loss_of_map(finish, x, progress=0.5)
    finish.anchor = AnchorPenalty(2.0)
    anchored, distance = loss_of_map(finish, x, progress=0.5)
    pull = anchored - free
    assert pull == pytest.approx(2 * distance, rel=1e-3)
    assert pull > 1e-3


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    for name in ("flow", "meanflow"):
        pf.fit(recipe_for(name, DATA), DATA, steps=2, out=folder / name)
    return folder


def start_of(folder):
    """The transport of a run before its first step."""
    return pf.load(folder, checkpoint="step_000000").transport


def test_runs_are_finished(runs, tmp_path):
    make = with_frozen("finish", {"teacher": runs / "meanflow"})
    run = pf.fit(make(DATA.space, "tiny"), DATA, steps=2, out=tmp_path / "finish")
    z = torch.randn(20, 2)
    first = start_of(run.folder)(z)
    assert torch.equal(first, pf.load(runs / "meanflow").transport(z))
    assert not torch.equal(run.transport(z), first)
    stored = load(latest(run.folder / "checkpoints")).tensors
    assert stored["average"].keys() == stored["method"].keys(), "the critic is averaged too"


def test_only_maps_are_finished(runs):
    make = with_frozen("finish", {"teacher": runs / "flow"})
    words = r"The frozen part teacher must be a map between two times .* Distil it first"
    with pytest.raises(UsageError, match=words):
        make(DATA.space, "tiny")


@pytest.mark.parametrize("start", [True, False], ids=["a map", "the teacher itself"])
def test_a_map_that_is_matched_starts_as_itself(runs, tmp_path, start):
    if start:
        parts = {"teacher": runs / "flow", "start": runs / "meanflow"}
    else:
        parts = {"teacher": runs / "meanflow"}
    recipe = with_frozen("dmd", parts)(DATA.space, rounds=1)
    pf.fit(recipe, DATA, steps=1, checkpoint_every=1, out=tmp_path)
    z = torch.randn(20, 2)
    expected = pf.load(runs / "meanflow").transport(z)
    assert torch.equal(start_of(tmp_path)(z), expected)


@pytest.mark.parametrize("name", ["consistency", "meanflow"])
def test_what_sharpens_a_map_keeps_how_it_is_sampled(name, tmp_path):
    """A consistency model knows no end but data: in two calls it is noised again, also as a teacher
    that is read from its run.
    """
    before = pf.fit(recipe_for(name, DATA), DATA, steps=1, out=tmp_path / "map")
    assert before.transport.solver.renoise == (name == "consistency")
    expected = before.sample(6, steps=2)
    make = with_frozen("finish", {"teacher": before})
    finish = make(DATA.space, "tiny", coverage=0, recall=0, calls=2)
    finished = pf.fit(finish, DATA, steps=1, checkpoint_every=1, out=tmp_path / "finish")
    assert torch.equal(start_of(finished.folder).sample(6), expected)
    teacher = pf.load(finished.folder).method.reference()
    assert torch.equal(teacher.sample(6), expected)
    pf.fit(recipe_for("flow", DATA), DATA, steps=1, out=tmp_path / "flow")
    make = with_frozen("dmd", {"teacher": tmp_path / "flow", "start": before})
    matching = make(DATA.space, rounds=1, calls=2)
    matched = pf.fit(matching, DATA, steps=1, checkpoint_every=1, out=tmp_path / "dmd")
    assert torch.equal(start_of(matched.folder).sample(6), expected)


def test_latent_students_are_finished_on_their_codes(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = pf.data.load("digits", limit=200)
    vae = pf.fit("vae", data, size="tiny", steps=2, out="vae", progress=False)
    recipe = in_latent("flow", data, vae, "tiny")
    pf.fit(recipe, data, steps=2, out="flow", progress=False)
    line = "distil flow --trajectories 40 --teacher-steps 2 --steps 2 --out student --finish .1s"
    assert main(line.split()) == 0
    run = pf.load("student-finished")
    assert isinstance(run.method, LatentMethod)
    codes = pf.load("student").transport.inner.space.shape
    scores = run.method.method.scores(torch.zeros(5, *codes))
    assert scores.shape == (5,)
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
    label = {"label": torch.zeros(n, dtype=torch.long)}
    seen, mixed = critic.noised(label, BlockDraws(0, 0, n), lambda x: 2 * x)
    assert set(label) == {"label"}
    (t,) = (seen[name] for name in seen if name != "label")
    assert 0.1 <= t.min() < 0.11
    assert 0.59 < t.max() <= 0.6
    x = torch.full((n, 1, 8, 8), 1.5)
    first = mixed(x)
    assert not torch.equal(first, mixed(x))
    time = t[:, None, None, None]
    noise = (first - 3 * (1 - time)) / time
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(1, abs=0.01)
    r = torch.hypot(1 - time, time)  # networks receive inputs of unit variance
    scores = critic(first, None, seen).detach()
    assert_close(scores, (first / r).flatten(1).mean(1) + t)
    alone = critic(x, None, label).detach()
    expected = torch.tensor(1.5 / math.hypot(0.9, 0.1) + 0.1)
    assert_close(alone, expected.expand(n))


@pytest.mark.parametrize(
    ("shape", "stem", "widths"), [((1, 28, 28), 2, (16, 32)), ((3, 9, 20), 1, (16, 16, 32))]
)
def test_the_heads_fit_the_features_of_any_unet_and_know_conditions(shape, stem, widths):
    conditions = IMAGES.space.conditions
    network = UNet(shape, widths=widths, blocks=1, stem=stem, heads=2, conditions=conditions)
    heads = FeatureHeads.of(network, hidden=8)
    x = torch.randn(3, *shape)
    features = network.features(x, torch.rand(3), {"label": torch.tensor([0, 1, 2])})
    sides = [max(h.shape[2:]) for h in features]
    assert sides == list(heads.sides)
    first = heads(features, None, {"label": torch.full((3,), 0)})
    second = heads(features, None, {"label": torch.full((3,), 1)})
    assert first.shape == (3,)
    assert not torch.equal(first, second)


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


def test_only_the_small_critics_learn():
    method = pf.recipes.finish(IMAGES.space, "tiny", teacher=unet_map()).method
    assert isinstance(method, AdversarialRefinement)
    assert isinstance(method.critic, FeatureCritic)
    assert method.critic.teacher is method.teacher
    assert set(method.parts) == {"teacher"}
    for name, _ in method.critic.named_parameters():
        assert name.startswith("heads.")
    assert method.penalties.gamma == 0
    assert method.anchor.still == 0.05


def test_both_players_see_noise(monkeypatch):
    method = pf.recipes.finish(IMAGES.space, "tiny", teacher=unet_map()).method
    calls = []
    score = method.critic.forward

    def scored(x, t, condition):
        calls.append((x.detach(), condition))
        return score(x, t, condition)

    monkeypatch.setattr(method.critic, "forward", scored)
    x = method.space.to_model(IMAGES.train.data_units(slice(64)))
    batch = Batch(x, {"label": torch.arange(64) % 3})
    losses = dict(method.turns(batch, StepContext(BlockDraws(0, 0, 64), 0, 0.5)))
    losses["map"].backward()
    gradients = [parameter.grad for parameter in method.flow_map.parameters()]
    assert any(gradient is not None and gradient.any() for gradient in gradients)
    assert len(calls) == 3, "both at once, the samples, the data"
    for seen, condition in calls:
        assert len(condition) == 2
        assert "label" in condition
        for part in seen.split(64):
            assert not torch.equal(part, x)


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
    trainer = begun(_collapsing(), DATA, cut, steps=24, checkpoint_every=kill)
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
    return StateView(
        None, 1, before, progress, dataclasses.replace(average, width=1.0), average, DATA
    )


def real_rows():
    return DATA.space.to_model(DATA.train.data_units(slice(None))).numpy()


def rows_of(width):
    """Samples of a cloud, as the watch draws them."""
    samples = Cloud(width).sample(200, seed=0)
    return DATA.space.to_model(samples).numpy()


def test_measures_are_the_metrics_own_beside_the_reference():
    watch = Variety(DATA)
    same = watch.look(moment(1.0, 0, 0.2))
    assert same["coverage_ratio"] == 1
    assert same["coverage_limit"] == 0.97
    assert same["recall_ratio"] == 1
    assert same["recall_limit"] == 0.95
    narrow = watch.look(moment(0.2, 0, 0.2))
    assert narrow.keys() == same.keys()
    real = real_rows()
    before = prdc(rows_of(1.0), real)
    after = prdc(rows_of(0.2), real)
    for name in ("coverage", "recall"):
        ratio = narrow[f"{name}_ratio"]
        assert ratio == pytest.approx(after[name] / before[name])
        assert ratio < narrow[f"{name}_limit"] < 0.97


def test_samples_that_are_not_finite_have_lost_all_variety():
    watch = Variety(DATA)
    watch.look(moment(1.0, 0, 0.2))
    lost = watch.look(moment(float("inf"), 0.2, 0.4))
    for name in ("coverage", "recall"):
        assert lost[f"{name}_ratio"] == 0
        assert lost[f"{name}_limit"] > 0.5


def test_samples_of_the_reference_are_drawn_once(monkeypatch):
    drawn = []

    def reference(played):
        drawn.append(played)
        return Cloud(1.0)

    monkeypatch.setattr(Played, "reference", reference)
    watch = Variety(DATA)
    for progress in (0.2, 0.4):
        watch.look(moment(1.0, 0, progress))
    assert len(drawn) == 1


def test_a_fall_that_chance_explains_does_not_count():
    """A wider cloud covers some examples and loses others: the limit is two standard errors of the
    paired difference below 1.
    """
    watch = Variety(DATA)
    measures = watch.look(moment(1.4, 0, 0.2))
    real = real_rows()
    before = reached(rows_of(1.0), real)["coverage"]
    after = reached(rows_of(1.4), real)["coverage"]
    changed = (before != after).sum()
    assert changed > 0
    error = np.sqrt(changed) / 200 / before.mean()
    limit = min(0.97, 1 - 2 * error)
    assert measures["coverage_limit"] == pytest.approx(limit)


def test_checks_fall_at_equal_shares_of_training():
    watch = Variety(DATA)
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
