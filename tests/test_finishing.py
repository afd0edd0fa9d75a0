"""Finishing a map: penalties by differences, the anchor, a critic on features, and runs."""

import math
from types import SimpleNamespace

import pytest
import torch
from programs.finishing import DATA, begun, finishing
from torch import nn
from torch.testing import assert_close

import pushforward as pf
from pushforward.cli import main
from pushforward.data import Batch
from pushforward.denoisers import FlowMap
from pushforward.denoisers.denoiser import network_precision
from pushforward.draws import BlockDraws
from pushforward.errors import UsageError
from pushforward.methods import (
    AdversarialRefinement,
    AnchorPenalty,
    LatentMethod,
    Penalties,
    StepContext,
)
from pushforward.methods.adversarial import Game, differences, slope
from pushforward.methods.flow_map import starts
from pushforward.methods.refinement import FeatureCritic
from pushforward.networks import UNet
from pushforward.networks.gan import FeatureHeads
from pushforward.paths import VP, Linear
from pushforward.testing import recipe_for, space_data
from pushforward.training.checkpoint import latest, load
from pushforward.training.recipe_argument import in_latent, with_frozen


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
    share = noise.float().mean().item()
    assert share == pytest.approx(1 - inside, abs=0.05)
    assert (t >= low).all()
    assert x[noise].abs().max() < 10, "at the end of the path there is noise alone, as in sampling"
    signal = x[~noise].mean(1) / 100
    assert_close(signal, 1 - t[~noise], rtol=0, atol=0.05)


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
    trainer = begun(finishing(anchor=3.0), tmp_path / "run", steps=2)
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
    signal = (1 - time) * 3
    noise = (first - signal) / time
    assert noise.mean().item() == pytest.approx(0, abs=0.01)
    assert noise.std().item() == pytest.approx(1, abs=0.01)
    # networks receive inputs of unit variance
    scaled = first / torch.hypot(1 - time, time)
    scores = critic(first, None, seen).detach()
    assert_close(scores, scaled.flatten(1).mean(1) + t)
    # without noise of its own, an example is read at the earliest time
    earliest = 1.5 / math.hypot(0.9, 0.1) + 0.1
    scores = critic(x, None, label).detach()
    assert_close(scores, torch.tensor(earliest).expand(n))


@pytest.mark.parametrize(
    ("shape", "stem", "widths"), [((1, 28, 28), 2, (16, 32)), ((3, 9, 20), 1, (16, 16, 32))]
)
def test_the_heads_fit_the_features_of_any_unet_and_know_conditions(shape, stem, widths):
    conditions = IMAGES.space.conditions
    network = UNet(shape, widths=widths, blocks=1, stem=stem, heads=2, conditions=conditions)
    heads = FeatureHeads.of(network, hidden=8)
    x = torch.randn(3, *shape)
    labels = torch.tensor([0, 1, 2])
    features = network.features(x, torch.rand(3), {"label": labels})
    for h, side in zip(features, heads.sides, strict=True):
        assert max(h.shape[2:]) == side
    of_zero = heads(features, None, {"label": 0 * labels})
    of_one = heads(features, None, {"label": 0 * labels + 1})
    assert of_zero.shape == (3,)
    assert not torch.equal(of_zero, of_one)


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


@pytest.mark.parametrize("inside", [0.0, 0.4])
def test_jumps_start_at_noise_alone_on_a_path_whose_end_is_not_all_noise(inside):
    path = VP()
    source = recipe_for("meanflow", DATA).method.flow_map.source
    noisy = SimpleNamespace(path=path, source=source)
    far = torch.full((2000, 2), 1e8)
    x, t = starts(noisy, far, BlockDraws(0, 0, 2000), inside)
    _, high = path.ends
    assert x[t == high].abs().max() < 10
