"""Distillation: students start as their teacher and learn along its trajectories, by its features
and at scales.
"""

import functools
import shutil

import pytest
import torch
from programs.without_teacher import check_killed
from torch import nn
from torch.nn import functional as F

import pushforward as pf
from pushforward.conditions.kind import hidden
from pushforward.data import Batch, ImageSpace
from pushforward.denoisers import Denoiser, FlowMap, Preconditioning
from pushforward.denoisers.denoiser import SCALE, trained
from pushforward.draws import BlockDraws, ExampleDraws
from pushforward.errors import UsageError
from pushforward.evaluation.curves import teacher_of
from pushforward.methods import (
    Distillation,
    FlowMapMatching,
    LatentMethod,
    StepContext,
    Trajectories,
)
from pushforward.methods.distillation import FeatureDistance
from pushforward.methods.flow_map import Sorted, mean_velocity, straight
from pushforward.methods.flow_map_targets import StartTarget
from pushforward.networks import MLP, UNet
from pushforward.paths import VP, Linear
from pushforward.recipes.students import student_of
from pushforward.testing import assert_same, final_state, space_data
from pushforward.testing.models import teachers_for
from pushforward.training import in_latent
from pushforward.training.api import prepare, reopen
from pushforward.training.recipe_argument import with_frozen
from pushforward.transports import Flow


@pytest.fixture(scope="module", params=["flow", "edm"])
def teacher(request, moons, tmp_path_factory):
    out = tmp_path_factory.mktemp("teacher") / request.param
    return pf.fit(request.param, moons, size="tiny", steps=150, seed=0, out=out)


def test_a_student_starts_as_its_teacher_whatever_the_second_time(teacher):
    denoiser = trained(teacher.transport.denoiser)
    student = student_of(denoiser)
    low, high = student.path.ends
    t = torch.linspace(low + 0.01, high - 0.01, 2000)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 2, generator=generator)
    with torch.no_grad():
        known = straight(denoiser).predict("velocity", x, t)
        for s in (t, t / 2, torch.zeros_like(t)):
            norm = (mean_velocity(student, x, t, s) - known).norm()
            assert norm < 0.12 * known.norm()


def test_what_has_no_student_is_refused(moons, tmp_path):
    gan = pf.fit("gan", moons, size="tiny", steps=2, seed=0, out=tmp_path / "gan")
    with pytest.raises(
        UsageError, match=r"teacher must be a model that samples in steps .* is a run of gan"
    ):
        with_frozen("distil", {"teacher": gan})(moons.space)
    flow = pf.recipes.flow(moons.space, "tiny").method.transport()
    student = pf.recipes.distil(moons.space, teacher=flow, trajectories=4).method.transport()
    with pytest.raises(UsageError, match="already"):
        pf.recipes.distil(moons.space, teacher=student)
    with pytest.raises(UsageError, match="times="):
        student_of(pf.Denoiser(nn.Linear(2, 2), Linear(), "velocity", moons.space))


def test_trajectories_are_the_teachers_own(teacher):
    """Their ends are its samples of the same seeds, and between two of them the stored target leads
    from one to the other.
    """
    flow = teacher.transport.with_solver("dpm:2", 6)
    stored = Trajectories(flow, 300, seed=11)
    stored.fill()
    samples = flow.space.to_model(flow.sample(300, seed=11))
    largest = (stored.states[:, -1].float() - samples).abs().max()
    assert largest < 4e-3
    again = Trajectories(flow, 300, seed=11, ends=True)
    again.fill()
    assert torch.equal(again.states, stored.states[:, [0, -1]])
    assert again.times == (stored.times[0], 0.0)
    (x_t, t), (_, s), _ = stored.draw(ExampleDraws(3, 5000))
    assert bool((s < t).all())
    mean = float((s == 0).float().mean())
    assert mean == pytest.approx(0.5 + 0.5 * 2 / 7, abs=0.03), "one of two places is the last"
    place = [stored.times.index(pytest.approx(float(at), abs=1e-6)) for at in t[:5]]
    assert all(
        (stored.states[:, i].float() == x).all(1).any() for i, x in zip(place, x_t[:5], strict=True)
    )
    k = flow.denoiser.path.at(torch.tensor(float(flow.times[0])))
    start = flow.noise(ExampleDraws(11, 300)) * k.sigma / (k.alpha + k.sigma)
    actual = stored.states[:, 0].float()
    torch.testing.assert_close(actual, start, rtol=1e-3, atol=1e-3)


def test_a_student_comes_nearer_to_its_teacher_than_one_step_of_it(teacher, moons, tmp_path):
    recipe = with_frozen("distil", {"teacher": teacher})(moons.space, trajectories=600)
    run = pf.fit(recipe, moons, steps=200, seed=0, out=tmp_path / "student")
    z = torch.randn(500, 2)
    flow = teacher.transport
    with torch.no_grad():
        ends = Flow(flow.denoiser, "dpm:2", 30)(z)
        student = run.transport
        assert student.calls == 1
        missed = {
            steps: float((student.with_solver("jump", steps)(z) - ends).square().mean())
            for steps in (1, 4)
        }
        once = float((Flow(straight(flow.denoiser), "euler", 1)(z) - ends).square().mean())
    assert missed[1] < 0.3 * once
    assert missed[4] < 0.1 * once


def test_a_killed_distillation_ends_in_the_same_bits_without_its_teacher(moons, tmp_path):
    folder = tmp_path / "teacher"
    pf.fit("flow", moons, size="tiny", steps=20, seed=0, out=folder)
    state = check_killed(
        lambda: with_frozen("distil", {"teacher": folder})(moons.space, trajectories=50),
        moons,
        folder,
        tmp_path,
    )
    assert not (tmp_path / "cut" / "parts" / "trajectories").exists()
    assert not any("states" in name for group in state[0].values() for name in group)


@pytest.fixture(scope="module")
def labelled():
    return space_data((17,), labels=True)


@pytest.fixture(scope="module")
def stirred_flow(labelled):
    torch.manual_seed(1)
    flow = teachers_for(pf.recipes.named("distil"), labelled.space)["teacher"]
    for parameter in flow.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return flow


def test_what_has_no_condition_learns_from_the_teacher_without_one(stirred_flow, labelled):
    flow = stirred_flow.with_solver("unipc", 4)
    stored = Trajectories(flow, 200, unconditional=0.4)
    stored.fill()
    mean = float(stored.hidden.float().mean())
    assert mean == pytest.approx(0.4, abs=0.12)
    condition = stored.condition(torch.arange(200))
    assert torch.equal(condition["label_null"], stored.hidden)
    z = flow.noise(ExampleDraws(stored.seed, 200))
    labels = {"label": condition["label"]}
    with torch.no_grad():
        given = flow(z, labels)
        without = flow(z, hidden(labels, torch.ones(200, dtype=torch.bool)))
    wanted = torch.where(stored.hidden[:, None], without, given)
    assert (
        (stored.states[:, -1].float() - wanted).abs().max()
        < 2e-3
        < 0.1 * (given - without).abs().max()
    )

    method = pf.recipes.distil(labelled.space, "tiny", teacher=stirred_flow, trajectories=64).method
    assert (method.label_dropout, method.trajectories.unconditional) == (0.1, 0.1)
    method.label_dropout = 0.5
    x = torch.randn(64, 17)
    label = torch.arange(64) % 3
    (x_t, t), (x_s, s), own = method.trajectories.draw(ExampleDraws(5, 64))
    equal = torch.arange(64) % 2 == 0
    now = StepContext(BlockDraws(0, 0, 64), 0, 0.0)
    held = method._held(Batch(x, {"label": label}), now, equal, (x_t, t, s, x_s, own))
    states, at, _, target, condition = held
    assert torch.equal(condition["label_null"][~equal], own["label_null"][~equal])
    assert 4 < int(condition["label_null"][equal].sum()) < 28
    with torch.no_grad():
        velocity = method.teacher.denoiser.predict("velocity", states, at, condition)
    torch.testing.assert_close(target[equal], velocity[equal])


def test_guidance_is_learned_as_if_the_teacher_had_it(stirred_flow, labelled, tmp_path):
    recipe = pf.recipes.distil(
        labelled.space, "tiny", teacher=stirred_flow, trajectories=40, guidance=3.0
    )
    guided = Flow(pf.Guided(stirred_flow.denoiser, 3.0), "unipc", 8, "time")
    store = recipe.method.trajectories
    store.fill()
    samples = labelled.space.to_model(guided.sample(40, seed=store.seed))
    largest = (store.states[:, -1].float() - samples).abs().max()
    assert largest < 4e-3
    assert not recipe.method.flow_map.unconditional
    assert store.unconditional == recipe.method.label_dropout == 0
    run = pf.fit(recipe, labelled, steps=2, out=tmp_path / "run")
    assert run.transport.calls == 1
    with pytest.raises(UsageError, match="without one"):
        run.configured(scale=2.0)


def test_a_latent_teacher_has_a_latent_student(tmp_path, capsys):
    data = pf.data.load("digits")
    vae = pf.fit("vae", data, size="tiny", steps=2, out=tmp_path / "vae")
    latent = pf.fit(in_latent("flow", data, vae, "tiny"), data, steps=3, out=tmp_path / "flow")
    bound = functools.partial(with_frozen("distil", {"teacher": latent}), trajectories=40)
    run = pf.fit(bound(data.space), data, steps=3, seed=1, out=tmp_path / "whole")
    method = run.method
    assert isinstance(method, LatentMethod)
    assert isinstance(method.method, Distillation)
    assert method.method.space.shape == latent.transport.inner.space.shape
    assert run.sample(3).shape == (3, *data.space.shape)
    trainer = prepare(
        bound(data.space), data, steps=3, seed=1, checkpoint_every=1, out=tmp_path / "cut"
    )
    trainer.advance(1e-9)
    del trainer
    shutil.rmtree(tmp_path / "flow")
    reopen(tmp_path / "cut").advance()
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "cut"))


PIXELS = ImageSpace((1, 8, 8), mean=(0.0,), std=(1.0,))


class Same(nn.Module):
    def features(self, x, t=None, condition=None):
        return [x, (1 + t[:, None, None, None]) * x]


@pytest.mark.parametrize("path", [Linear(), VP()], ids=lambda path: type(path).__name__)
def test_the_distance_is_that_of_normalised_features_of_equally_noised_images(path):
    denoiser = Denoiser(
        Same(), path, "noise", PIXELS, preconditioning=Preconditioning(scale_input=True)
    )
    x, y, noise = torch.randn(3, 5, 1, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()
    at = torch.tensor([0.05, 0.1, 0.2, 0.3, 0.4])
    distance = FeatureDistance().distance(denoiser, (x, y), (at, noise), None)
    share = at[:, None, None, None]
    # noise of the straight path, in the scale of unit variance that a network receives on any path;
    # its norm drops the scale
    given, wanted = (
        F.group_norm((1 - share) * image + share * noise, 1, eps=0.0) for image in (x, y)
    )
    expected = (given - wanted).square().flatten(1).mean(1)
    torch.testing.assert_close(distance, expected, rtol=2e-3, atol=1e-4)
    largest = FeatureDistance().distance(denoiser, (x, x.clone()), (at, noise), None).abs().max()
    assert largest == 0


@pytest.fixture(scope="module")
def unet_teacher():
    torch.manual_seed(0)
    network = UNet((1, 8, 8), widths=(16, 32), blocks=1, heads=2)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return pf.Flow(Denoiser(network, Linear(), "velocity", PIXELS, unconditional=False), "euler", 4)


def test_only_jumps_to_data_are_compared_and_the_weight_is_that_of_their_loss(unet_teacher):
    usual = pf.recipes.distil(PIXELS, teacher=unet_teacher, trajectories=16, teacher_steps=4).method
    assert isinstance(usual, Distillation)
    assert usual.likeness == FeatureDistance(2.0)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(64, 1, 8, 8, generator=generator)

    def loss(likeness):
        usual.likeness = likeness
        now = StepContext(BlockDraws(0, 0, 64), 0, 0.0)
        ((_, value),) = usual.losses(Batch(x), now)
        return value.detach(), now.notes

    none, alone = loss(None)
    single, notes = loss(FeatureDistance(1.0))
    double, _ = loss(FeatureDistance(2.0))
    assert "unlikeness" not in alone
    assert float(notes["unlikeness"]) > 0
    torch.testing.assert_close(double - none, 2 * (single - none))
    assert float(single - none) > 1e-3
    usual.trajectories.draw = _inside(usual.trajectories.draw)
    actual = loss(FeatureDistance(1.0))[0]
    expected = loss(None)[0]
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def _inside(draw):
    def drawn(draws):
        (x_t, t), (x_s, s), condition = draw(draws)
        return (x_t, t + 0.001), (x_s, s + 0.0005), condition

    return drawn


MEAN = 0.8
VARIANCE = 0.25
LABELS = {"label": pf.conditions.Label(("a", "b"), (0.5, 0.5))}
SPACE = pf.data.VectorSpace((2,), (0, 0), (1, 1), conditions=LABELS)
RANGE = (1.0, 4.0)


class TwoGaussians(nn.Module):
    """The data estimate of N(+-MEAN, VARIANCE) given the label, and of N(0, VARIANCE) without it.

    An estimate is linear in the mean, so that guidance at scale w is N(+-w MEAN, VARIANCE).
    """

    def __init__(self, path):
        super().__init__()
        self.path = path

    def forward(self, x, t, condition=None):
        k = self.path.at(t).over(x)
        mean = torch.zeros_like(x[:, :1])
        if condition is not None:
            seen = ~condition.get("label_null", torch.zeros(len(x), dtype=torch.bool))
            mean = (seen * MEAN * (2 * condition["label"] - 1))[:, None].to(x)
        return mean + k.alpha * VARIANCE / (k.alpha**2 * VARIANCE + k.sigma**2) * (
            x - k.alpha * mean
        )


def guided(path, scale=1.0):
    denoiser = pf.Denoiser(
        TwoGaussians(path), path, "data", SPACE, preconditioning=Preconditioning(scale_input=False)
    )
    return pf.Flow(pf.Guided(denoiser, scale), "heun", 24)


@pytest.mark.parametrize("path", [Linear(), VP()], ids=["linear", "vp"])
def test_a_trajectory_is_that_of_its_own_scale(path):
    teacher = guided(path)
    stored = Trajectories(teacher, 40, seed=3, guidance=RANGE)
    stored.fill()
    condition = stored.condition(torch.arange(40))
    scale = condition[SCALE]
    sign = 2 * condition["label"] - 1
    assert RANGE[0] <= float(scale.min()) < 1.5 < 3.5 < float(scale.max()) <= RANGE[1]
    ends = stored.states[:, -1].float()
    exact = (scale * sign * MEAN)[:, None] + VARIANCE**0.5 * teacher.noise(ExampleDraws(3, 40))
    assert (ends - exact).abs().max() < 0.08, "the map of N(w mean, variance) in closed form"
    for row in (0, 7):
        alone = guided(path, float(scale[row]))
        own = alone.sample(40, {"label": condition["label"].tolist()}, seed=3)[row]
        assert (own - ends[row]).abs().max() < 4e-3


@pytest.mark.parametrize("number", [1, 5])
def test_scales_of_single_examples_take_the_place_of_the_common_one(number):
    x = torch.randn(number, 2)
    t = torch.rand(number) * 0.8 + 0.1
    label = torch.arange(number) % 2
    scales = torch.linspace(1, 3, number)
    given = {"label": label, SCALE: scales}
    for common in (0.0, 1.0, 2.5):
        rows = guided(Linear(), common).denoiser.predict("velocity", x, t, given)
        for i in range(number):
            one_scale = guided(Linear(), float(scales[i])).denoiser
            alone = one_scale.predict(
                "velocity", x[i : i + 1], t[i : i + 1], {"label": label[i : i + 1]}
            )
            torch.testing.assert_close(rows[i : i + 1], alone)


def student():
    torch.manual_seed(0)
    network = MLP(2, 2, width=32, depth=2, conditions=LABELS, times=3)
    return FlowMap(
        network,
        Linear(),
        "velocity",
        SPACE,
        preconditioning=Preconditioning(guidance=RANGE),
        unconditional=False,
    )


@pytest.mark.parametrize("stored", [1.0, 0.0])
def test_a_student_learns_every_scale_in_one_call(stored):
    """Along trajectories, and by a rule with the teacher's velocity alone."""
    if stored:
        trajectories = Trajectories(guided(Linear()), 2000, guidance=RANGE)
        method = Distillation(
            student(), StartTarget(), Sorted(diagonal=0.15), trajectories=trajectories, stored=1.0
        )
    else:
        method = FlowMapMatching(
            student(),
            StartTarget(0.5, 0.05),
            Sorted(diagonal=0.25, to_data=0.5),
            teacher=guided(Linear()),
        )
    optimizer = torch.optim.Adam(method.flow_map.parameters(), 4e-3)
    for step in range(200):
        draws = BlockDraws(0, step, 256)
        label = (draws.stream("label").uniform() < 0.5).long()
        x = ((2 * label - 1) * MEAN)[:, None] + VARIANCE**0.5 * draws.stream("data").normal((2,))
        for _, loss in method.turns(
            Batch(x, {"label": label}), StepContext(draws, 0, step / 200, step)
        ):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    flow_map = method.flow_map.requires_grad_(False)
    z = torch.randn(400, 2)
    for label, sign in ((0, -1), (1, 1)):
        condition = {"label": torch.full((400,), label)}
        for scale in (1.0, 2.0, 4.0):
            x = pf.Flow(pf.AtScale(flow_map, scale), "jump", 1)(z, condition)
            assert float(x.mean()) == pytest.approx(
                sign * scale * MEAN, abs=0.25 if stored else 0.35 * scale * MEAN
            )
        plain = pf.Flow(flow_map, "jump", 1)
        expected = pf.Flow(pf.AtScale(flow_map, 1.0), "jump", 1)(z, condition)
        assert torch.equal(plain(z, condition), expected)


def test_a_run_is_sampled_at_any_scale_of_its_range(tmp_path, capsys):
    data = space_data((2,), labels=True, n=200)
    teacher = pf.fit("flow", data, size="tiny", steps=3, out=tmp_path / "flow", progress=False)
    recipe = with_frozen("distil", {"teacher": teacher})(
        data.space, guidance="1,4", trajectories=64, teacher_steps=2, diagonal=0.5
    )
    pf.fit(recipe, data, steps=4, out=tmp_path / "run", checkpoint_every=1, progress=False)
    run = pf.resume(tmp_path / "run", data=data, steps=30, progress=False)
    run.method.flow_map.network.conditioning.time.inner.weight.data.normal_(std=0.3)
    strong = run.configured(scale=3.0)
    assert run.transport.calls == strong.transport.calls == 1
    assert not torch.equal(run.sample(8), strong.sample(8))
    expected = run.sample(8, scale=1.0)
    assert torch.equal(run.sample(8), expected)
    actual = strong.configured(scale=2.0).sample(8)
    expected = run.sample(8, scale=2.0)
    assert torch.equal(actual, expected)
    taught = teacher_of(strong)
    own = pf.Flow(pf.Guided(teacher.denoiser, 3.0), "unipc", 2, "time")
    assert torch.equal(taught.sample(6), own.sample(6)), (
        "reports compare it with its teacher at the same scale"
    )
    for scale in (0.5, 4.1):
        with pytest.raises(UsageError, match=r"scales from 1 to 4"):
            run.sample(2, scale=scale)
    with pytest.raises(UsageError, match="`interval`"):
        run.sample(2, scale=2.0, interval=(0.1, 1.0))
