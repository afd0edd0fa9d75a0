"""Finishing a map: penalties by differences, the anchor, the guard that ends a training, and distribution matching."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.cli import main
from pushforward.data import Batch
from pushforward.denoiser import Preconditioning
from pushforward.draws import BlockDraws
from pushforward.errors import Diverged, UsageError
from pushforward.methods import Anchor, CriticInput, DistributionMatching, Finish, Guard, LatentMethod, Now, Penalties
from pushforward.methods.distribution_matching import at_level, estimate
from pushforward.methods.game import Game
from pushforward.methods.penalties import differences, slope
from pushforward.methods.starts import starts
from pushforward.metrics.manifold import prdc, reached
from pushforward.paths import VE, VP, Linear
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training import Silent
from pushforward.training.alarms import alarms
from pushforward.training.frozen import with_frozen
from pushforward.training.latent_data import in_latent
from pushforward.training.observing import Moment
from pushforward.training.resuming import reopen
from pushforward.training.start import prepare
from pushforward.training.variety import Variety

DATA = space_data((2,), labels=False, rows=200)


def now(rows, step=0, progress=0.0):
    return Now(BlockDraws(0, step, rows), 0, progress, step)


# Penalties by finite differences


def test_differences_are_the_squared_slope_in_the_mean_where_a_critic_is_linear():
    """Along each direction they are exact, whatever the step: (w n)^2, whose mean is |w|^2."""
    torch.manual_seed(0)
    w, n = torch.tensor([0.3, -1.2, 0.5], dtype=torch.float64), 40_000
    x, noise = torch.randn(2, n, 3, dtype=torch.float64)

    def critic(x):
        return x @ w + 0.7

    scores, squares = differences(critic, x, noise, 0.1)
    torch.testing.assert_close(scores, critic(x))
    torch.testing.assert_close(squares, (noise @ w).square())
    known = slope(critic(x.requires_grad_()), x)
    error = float(squares.std()) / math.sqrt(n)
    assert float(squares.mean()) == pytest.approx(float(known.mean()), abs=4 * error)


class Bent(nn.Module):
    """D(x) = a |x|^2 / 2; for packs the sum over their rows."""

    def __init__(self, pack=1):
        super().__init__()
        self.a, self.pack = nn.Parameter(torch.tensor(0.7)), pack

    def forward(self, x, t=None, condition=None):
        return (self.a * x.square().flatten(1).sum(1) / 2).reshape(-1, self.pack).sum(1)


@pytest.mark.parametrize("pack", [1, 2])
@pytest.mark.parametrize(("kind", "parts"), [("r1", (1, 0)), ("r2", (0, 1)), ("r1+r2", (1, 1))])
def test_a_game_takes_differences_in_place_of_slopes(kind, parts, pack):
    torch.manual_seed(0)
    real, fake = torch.randn(64, 3), 1.5 * torch.randn(64, 3)
    exact, near = (Game(Bent(pack), "relativistic", Penalties(kind, 2.0, difference=step)) for step in (None, 0.01))
    moment = now(64)
    loss, _ = near.critic_loss(real, fake, None, moment)
    draws = now(64).draws.stream("difference")
    expected = 0.0
    for part, x in zip(parts, (real, fake), strict=True):
        noise, d = draws.normal((3,)), Bent(pack)
        expected += part * ((d(x + 0.01 * noise) - d(x)) / 0.01).square().mean()
    assert moment.notes["penalty"].item() == pytest.approx(expected.item(), rel=1e-2)
    assert bool(loss.isfinite())
    whole = now(64)
    exact.critic_loss(real, fake, None, whole)
    assert float(moment.notes["penalty"]) == pytest.approx(float(whole.notes["penalty"]), rel=0.6)
    (gradient,) = torch.autograd.grad(loss, near.critic.a)
    assert float(gradient) != 0


def test_what_differences_cannot_be():
    for wrong in ({"difference": 0.0}, {"difference": -1.0}, {"kind": "r1+gradient", "difference": 0.1}):
        with pytest.raises(UsageError, match=r"ifferences"):
            Penalties(**wrong)
    several = lambda x: x.repeat(2, 1).sum(1)  # noqa: E731
    with pytest.raises(UsageError, match="scores a row"):
        differences(several, torch.randn(4, 2), torch.randn(4, 2), 0.1)
    assert pf.recipes.gan(DATA.space, "tiny", difference=0.05).method.penalties.difference == 0.05


# Where jumps start


@pytest.mark.parametrize("inside", [0.0, 0.4])
def test_jumps_start_at_noise_or_on_the_way(inside):
    flow_map, n = recipe_for("meanflow", DATA).method.flow_map, 2000
    low, high = flow_map.path.ends
    far = torch.full((n, 2), 100.0)
    x, t = starts(flow_map, far, BlockDraws(0, 0, n), inside)
    noise = t == high
    assert float(noise.float().mean()) == pytest.approx(1 - inside, abs=0.05)
    assert bool((t >= low).all())
    assert x[noise].abs().max() < 10, "at the end of the path there is noise alone, as in sampling"
    torch.testing.assert_close(x[~noise].mean(1) / 100, 1 - t[~noise], rtol=0, atol=0.05)
    transport = pf.Flow(flow_map, pf.solvers.Jump(), 1)
    z = BlockDraws(0, 0, n).normal((2,))
    with torch.no_grad():
        whole = transport(z)
        mine = flow_map.jump(*starts(flow_map, far, BlockDraws(0, 0, n)), torch.zeros(n))
    torch.testing.assert_close(mine, whole, rtol=0, atol=1e-5)


# Finish


def finishing(data=DATA, **options):
    def recipe(space, size="small", *, teacher: pf.FlowMap):
        return pf.recipes.finish(space, size, teacher=teacher, **options)

    return recipe_for(recipe, data)


def begun(recipe, data, folder, **options):
    return prepare(recipe, data, out=folder, seed=1, **options)


def test_a_finish_starts_as_its_teacher_where_the_anchor_is_zero(tmp_path):
    trainer = begun(finishing(anchor=3.0), DATA, tmp_path / "run", steps=2)
    method = trainer.method
    x = method.space.to_model(DATA.train.data_units(slice(32)))
    assert torch.equal(method.transport().sample(8), method.reference().sample(8))
    start = starts(method.flow_map, x, now(32).draws, 0.5)
    jumped = method.flow_map.jump(*start, torch.zeros(32))
    assert float(method.distance(jumped, start, None)) == 0
    assert float(method.distance(jumped + 0.5, start, None)) == pytest.approx(0.25, rel=1e-4)
    losses = dict(method.turns(Batch(x), moment := now(32)))
    (anchored,) = (float(losses["map"]),)
    method.anchor = Anchor(0.0)
    assert float(dict(method.turns(Batch(x), now(32)))["map"]) == pytest.approx(anchored)
    assert float(moment.notes["anchor_distance"]) == 0
    trainer.close()


def test_the_anchor_falls_over_training():
    anchor = Anchor(2.0, 0.5)
    assert [anchor.at(now(4, progress=share)) for share in (0, 0.5, 1)] == pytest.approx([2, 1.25, 0.5])
    assert Anchor(2.0).at(now(4, progress=0.9)) == 2.0
    for wrong in ({"weight": -1.0}, {"end": -1.0}, {"inside": 1.5}):
        with pytest.raises(UsageError):
            Anchor(**wrong)


def test_what_cannot_be_finished():
    flow = recipe_for("flow", DATA).method.denoiser
    flow_map = recipe_for("meanflow", DATA).method.flow_map
    with pytest.raises(UsageError, match="FlowMap"):
        Finish(flow_map, Bent(), teacher=flow)
    with pytest.raises(UsageError, match="ada_target"):
        Finish(flow_map, Bent(), teacher=flow_map, critic_input=CriticInput(ada_target=0.5))
    for wrong in ({"coverage": 1.5}, {"recall": -0.1}, {"checks": 0}, {"samples": 0}):
        with pytest.raises(UsageError):
            Guard(**wrong)


def test_a_finish_of_codes_is_guarded_as_images():
    data = space_data((1, 8, 8), labels=False)

    def recipe(space, size):
        return pf.recipes.finish(space, size, teacher=pf.recipes.meanflow(space, size).method.flow_map, checks=3)

    method = in_latent(recipe, data, recipe_for("vae", data).method.autoencoder(), "tiny").method
    assert isinstance(method, LatentMethod)
    assert method.guard == Guard(checks=3)
    assert method.reference().sample(3).shape == (3, 1, 8, 8)


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
        self.lines = []

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
    assert any(alarm["sentence"] in line and "larger anchor" in line for line in heard.lines)
    assert run.state["step"] == rows[-1]["step"]
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


def test_a_training_without_a_guard_measures_nothing(tmp_path):
    run = pf.fit(finishing(coverage=0.0, recall=0.0), DATA, steps=2, out=tmp_path / "run")
    assert run.method.guard is None
    assert not any("coverage_ratio" in row.get("health", {}) for row in run.losses())


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
    assert alarm.sentence == "recall has fallen to 0.900 of the start's, below 0.950: training ends with the weights of step 5"


# Distribution matching


class Gaussian(nn.Module):
    """The posterior mean of data from N(mean, variance), which is the best denoiser."""

    def __init__(self, path, mean, variance):
        super().__init__()
        self.path = path
        self.mean, self.variance = (nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in (mean, variance))

    def forward(self, x, t, condition=None):
        k = self.path.at(t).over(x)
        gain = k.alpha * self.variance / (k.alpha**2 * self.variance + k.sigma**2)
        return self.mean + gain * (x - k.alpha * self.mean)


def denoiser(mean, variance, path=None):
    path = path or Linear()
    return pf.Denoiser(Gaussian(path, mean, variance), path, "data", DATA.space, preconditioning=Preconditioning(False))


def score(x, k, mean, variance):
    return -(x - k.alpha * mean) / (k.alpha**2 * variance + k.sigma**2)


def matching(real, fake, path=None, **options):
    flow_map = recipe_for("meanflow", DATA).method.flow_map
    teacher = pf.Flow(denoiser(*real, path), "heun", 4)
    return DistributionMatching(flow_map, denoiser(*fake, path), teacher=teacher, **options)


@pytest.mark.parametrize("path", [Linear(), VP(), VE()], ids=["linear", "vp", "ve"])
def test_the_step_is_the_difference_of_the_scores(path):
    """x_fake - x_real = sigma^2 / alpha (score_fake - score_real), in closed form, over the mean distance to x_real."""
    real, fake = (0.3, 0.5), (-0.4, 1.2)
    method = matching(real, fake, path)
    torch.manual_seed(0)
    x, moment = torch.randn(64, 2, dtype=torch.float64) * 1.1 - 0.4, now(64)
    step = method.step(x, None, moment.draws)
    z, levels = now(64).draws.stream("noise").normal((2,)), method._levels(now(64).draws)
    assert 0.02 <= float(levels.min()) < 0.1 < 0.9 < float(levels.max()) <= 0.98
    t = at_level(path, levels)
    k = path.at(t).over(x)
    torch.testing.assert_close((k.sigma / (k.alpha + k.sigma))[:, 0], levels, rtol=1e-6, atol=1e-6)
    x_t = k.alpha * x + k.sigma * z
    apart = k.sigma**2 / k.alpha * (score(x_t, k, *fake) - score(x_t, k, *real))
    away = (x - estimate(method.teacher.denoiser, x, z, levels, None)).abs().mean(1, keepdim=True)
    torch.testing.assert_close(step, (apart / away).clamp(-10, 10), rtol=1e-5, atol=1e-6)


def test_samples_are_moved_against_the_step_and_stay_where_the_scores_agree():
    x = torch.zeros(256, 2, dtype=torch.float64)
    off = matching((0.0, 0.25), (1.5, 0.25)).step(x + 1.5, None, now(256).draws)
    assert float(off.mean()) > 0.1, "samples above the teacher's mean move down"
    same = matching((0.3, 0.5), (0.3, 0.5)).step(torch.randn(256, 2, dtype=torch.float64), None, now(256).draws)
    assert float(same.abs().max()) < 1e-12
    far = matching((0.0, 1e-4), (50.0, 4.0)).step(x + 50, None, now(256).draws)
    assert float(far.abs().max()) <= 10


def test_the_loss_has_the_step_as_its_gradient_and_the_denoiser_of_samples_has_its_turns(tmp_path):
    trainer = begun(recipe_for("dmd", DATA), DATA, tmp_path / "run", steps=2)
    method, x = trainer.method, DATA.space.to_model(DATA.train.data_units(slice(64)))
    with torch.no_grad():
        for parameter in method.fake.parameters():
            parameter.mul_(1.1)
    seen, jumped = [], {}
    jump = type(method.flow_map).jump

    def noted(self, *given):
        jumped["x"] = jump(self, *given)
        return jumped["x"]

    type(method.flow_map).jump = noted
    try:
        for player, loss in method.turns(Batch(x), now(64)):
            seen.append(player)
    finally:
        type(method.flow_map).jump = jump
    assert seen == ["fake"] * 5 + ["map"]
    (gradient,) = torch.autograd.grad(loss, jumped["x"])
    step = method.step(jumped["x"].detach(), None, now(64).draws)
    torch.testing.assert_close(gradient * x.numel(), step, rtol=1e-4, atol=1e-6)
    assert len(list(method.averaged)) == 1
    trainer.close()


def test_the_denoiser_of_samples_learns_their_score():
    """Its loss is least, among Gaussians of its mean, where it is that of the samples."""
    torch.manual_seed(0)
    x = 0.5 * torch.randn(4000, 2, dtype=torch.float64) + 0.7
    losses = [float(matching((0, 1), (mean, 0.25)).fake_loss(x, None, now(4000).draws)) for mean in (0.4, 0.7, 1.0)]
    assert losses[1] < min(losses[0], losses[2])


def test_a_step_that_is_not_finite_stops_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(DistributionMatching, "step", lambda self, x, condition, draws: x * float("nan"))
    with pytest.raises(Diverged, match="not finite"):
        pf.fit(recipe_for("dmd", DATA), DATA, steps=2, out=tmp_path / "run")


def test_what_distribution_matching_cannot_be():
    for wrong in ({"ends": (0.5, 0.2)}, {"ends": (0.0, 0.9)}, {"inside": 2.0}, {"rounds": 0}):
        with pytest.raises(UsageError):
            matching((0, 1), (0, 1), **wrong)
    with pytest.raises(UsageError, match="FlowMap"):
        DistributionMatching(denoiser(0, 1), denoiser(0, 1), teacher=pf.Flow(denoiser(0, 1), "heun", 2))
    gan = recipe_for("gan", DATA).method.transport()
    with pytest.raises(UsageError, match="samples in steps"):
        pf.recipes.dmd(DATA.space, teacher=gan)


# Runs


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A flow and a map between two times, hardly trained."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("flow", "meanflow"):
        pf.fit(recipe_for(name, DATA), DATA, steps=2, out=folder / name)
    return folder


def test_runs_are_finished_and_matched(runs, tmp_path):
    pairs = {"teacher": runs / "meanflow"}
    run = pf.fit(with_frozen("finish", pairs)(DATA.space, "tiny", checks=2), DATA, steps=2, out=tmp_path / "finish")
    z = torch.randn(20, 2)
    first = pf.load(tmp_path / "finish", checkpoint="step_000000").transport
    assert torch.equal(first(z), pf.load(runs / "meanflow").transport(z))
    assert not torch.equal(run.transport(z), first(z))
    with pytest.raises(UsageError, match="the teacher of finish must be a FlowMap"):
        with_frozen("finish", {"teacher": runs / "flow"})(DATA.space, "tiny")
    starting = {"teacher": runs / "flow", "start": runs / "meanflow"}
    for name, parts in {"from": starting, "own": pairs}.items():
        folder = tmp_path / name
        pf.fit(with_frozen("dmd", parts)(DATA.space, rounds=1), DATA, steps=1, checkpoint_every=1, out=folder)
        first = pf.load(folder, checkpoint="step_000000").transport
        assert torch.equal(first(z), pf.load(runs / "meanflow").transport(z)), "a map starts as itself"


def test_the_command_line_finishes_and_says_why_it_ended(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", DATA.train.data_units(slice(None)).numpy())
    words = ["--data", "x.npy", "--size", "tiny", "--steps", "2"]
    assert main(["train", "meanflow", *words, "--out", "map"]) == 0
    capsys.readouterr()
    collapses(monkeypatch, 0.0)
    wild = ["--teacher", "map", "--lr", "1.0", "--ema", "0", "--checks", "10", "--batch", "64"]
    assert main(["train", "finish", *words[:-1], "40", *wild, "--out", "run"]) == 0
    said = capsys.readouterr().err
    assert "has fallen to" in said
    assert "Go on with" not in said, "a training that has ended is not short"
    assert main(["resume", "run"]) == 0
    assert "ended by itself at step" in capsys.readouterr().err
    assert json.loads((tmp_path / "run" / "spec.json").read_text())["method"]["guard"]["checks"] == 10
