"""Finishing a map: penalties by differences, the anchor, and runs that are finished."""

import math

import pytest
import torch
from programs.finishes import DATA, begun, finishing
from torch import nn

import pushforward as pf
from pushforward.cli import main
from pushforward.data import Batch
from pushforward.denoisers.precision import network_precision
from pushforward.draws import BlockDraws
from pushforward.errors import UsageError
from pushforward.methods import Anchor, LatentMethod, Now, Penalties
from pushforward.methods.adversarial import Game, differences, slope
from pushforward.methods.flow_map import starts
from pushforward.testing import recipe_for
from pushforward.training.frozen_recipes import in_latent, with_frozen


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


def test_differences_are_computed_in_float32():
    """In bfloat16 the difference of two scores would be its rounding."""
    torch.manual_seed(0)
    critic, real, fake = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 1)), torch.randn(32, 3), torch.randn(32, 3)
    penalties = []
    for precision in ("float32", "bfloat16"):
        moment = now(32)
        with network_precision(precision):
            Game(lambda x, t, condition: critic(x), "relativistic", Penalties("r1+r2", difference=0.01)).critic_loss(
                real, fake, None, moment
            )
        penalties.append(moment.notes["penalty"].item())
    assert penalties[0] == penalties[1]


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


def test_a_finish_starts_as_its_teacher_where_the_anchor_is_zero(tmp_path):
    trainer = begun(finishing(anchor=3.0), DATA, tmp_path / "run", steps=2)
    method = trainer.method
    x = method.space.to_model(DATA.train.data_units(slice(32)))
    assert torch.equal(method.transport().sample(8), method.reference().sample(8))
    start = starts(method.flow_map, x, now(32).draws, 0.5)
    jumped = method.flow_map.jump(*start, torch.zeros(32))
    assert method.distance(jumped, start, None).item() == 0
    assert method.distance(jumped + 0.5, start, None).item() == pytest.approx(0.25, rel=1e-4)
    losses = dict(method.turns(Batch(x), moment := now(32)))
    anchored = losses["map"].item()
    method.anchor = Anchor(0.0)
    assert dict(method.turns(Batch(x), now(32)))["map"].item() == pytest.approx(anchored)
    assert float(moment.notes["anchor_distance"]) == 0
    trainer.close()


def test_the_anchor_falls_over_training():
    anchor = Anchor(2.0, 0.5)
    assert [anchor.at(now(4, progress=share)) for share in (0, 0.5, 1)] == pytest.approx([2, 1.25, 0.5])
    assert Anchor(2.0).at(now(4, progress=0.9)) == 2.0
    for wrong in ({"weight": -1.0}, {"end": -1.0}, {"inside": 1.5}):
        with pytest.raises(UsageError):
            Anchor(**wrong)


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
    with pytest.raises(UsageError, match=r"the frozen part teacher must be a map between two times .* Distil it first"):
        with_frozen("finish", {"teacher": runs / "flow"})(DATA.space, "tiny")
    starting = {"teacher": runs / "flow", "start": runs / "meanflow"}
    for name, parts in {"from": starting, "own": pairs}.items():
        folder = tmp_path / name
        pf.fit(with_frozen("dmd", parts)(DATA.space, rounds=1), DATA, steps=1, checkpoint_every=1, out=folder)
        first = pf.load(folder, checkpoint="step_000000").transport
        assert torch.equal(first(z), pf.load(runs / "meanflow").transport(z)), "a map starts as itself"


@pytest.mark.parametrize("name", ["consistency", "meanflow"])
def test_what_sharpens_a_map_keeps_how_it_is_sampled(name, tmp_path):
    """A consistency model knows no end but data: in two calls it is noised again, also as a teacher that is read from its run."""
    before = pf.fit(recipe_for(name, DATA), DATA, steps=1, out=tmp_path / "map")
    assert before.transport.solver.renoise == (name == "consistency")
    pf.fit(recipe_for("flow", DATA), DATA, steps=1, out=tmp_path / "flow")
    start = {"teacher": tmp_path / "flow", "start": before}
    recipes = {
        "finish": with_frozen("finish", {"teacher": before})(DATA.space, "tiny", coverage=0, recall=0, calls=2),
        "dmd": with_frozen("dmd", start)(DATA.space, rounds=1, calls=2),
    }
    for verb, recipe in recipes.items():
        pf.fit(recipe, DATA, steps=1, checkpoint_every=1, out=tmp_path / verb)
        first = pf.load(tmp_path / verb, checkpoint="step_000000").transport
        assert torch.equal(first.sample(6), before.sample(6, steps=2))
        if verb == "finish":
            assert torch.equal(pf.load(tmp_path / verb).method.reference().sample(6), before.sample(6, steps=2))


def test_latent_students_are_finished_on_their_codes(tmp_path, capsys):
    data = pf.data.load("digits", limit=200)
    vae = pf.fit("vae", data, size="tiny", steps=2, out=tmp_path / "vae", progress=False)
    teacher = pf.fit(in_latent("flow", data, vae, "tiny"), data, steps=2, out=tmp_path / "flow", progress=False)
    few = ["--trajectories", "40", "--teacher-steps", "2", "--steps", "2", "--out", str(tmp_path / "student")]
    assert main(["distil", str(teacher.folder), *few, "--finish", ".1s"]) == 0
    run, student = pf.load(tmp_path / "student-finished"), pf.load(tmp_path / "student")
    method = run.method
    assert isinstance(method, LatentMethod)
    codes = student.transport.inner.space.shape
    assert method.method.scores(torch.zeros(5, *codes)).shape == (5,)
    assert run.sample(3).shape == (3, *data.space.shape)
