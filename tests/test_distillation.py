"""Distillation: students start as their teacher and learn along its trajectories, by its features
and at scales.
"""

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
from pushforward.denoisers.denoiser import SCALE, trained_denoiser
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
    denoiser = trained_denoiser(teacher.transport.denoiser)
    student = student_of(denoiser)
    low, high = student.path.ends
    t = torch.linspace(low + 0.01, high - 0.01, 2000)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 2, generator=generator)
    with torch.no_grad():
        known = straight(denoiser).predict("velocity", x, t)
        for s in (t, t / 2, torch.zeros_like(t)):
            difference = mean_velocity(student, x, t, s) - known
            assert difference.norm() < 0.12 * known.norm()


def test_what_has_no_student_is_refused(moons, tmp_path):
    gan = pf.fit("gan", moons, size="tiny", steps=2, seed=0, out=tmp_path / "gan")
    says = r"teacher must be a model that samples in steps .* is a run of gan"
    with pytest.raises(UsageError, match=says):
        with_frozen("distil", {"teacher": gan})(moons.space)
    flow = pf.recipes.flow(moons.space, "tiny").method.transport()
    student = pf.recipes.distil(moons.space, teacher=flow, trajectories=4).method.transport()
    with pytest.raises(UsageError, match="already"):
        pf.recipes.distil(moons.space, teacher=student)
    denoiser = pf.Denoiser(nn.Linear(2, 2), Linear(), "velocity", moons.space)
    with pytest.raises(UsageError, match="times="):
        student_of(denoiser)


def filled(*arguments, **options):
    """Trajectories that are computed at once."""
    stored = Trajectories(*arguments, **options)
    stored.fill()
    return stored


def largest(difference):
    return difference.abs().max().item()


@pytest.fixture
def flow(teacher):
    return teacher.transport.with_solver("dpm:2", 6)


def test_trajectories_are_the_teachers_own(flow):
    stored = filled(flow, 300, seed=11)
    samples = flow.space.to_model(flow.sample(300, seed=11))
    assert largest(stored.states[:, -1].float() - samples) < 4e-3
    k = flow.denoiser.path.at(torch.tensor(float(flow.times[0])))
    start = flow.noise(ExampleDraws(11, 300)) * k.sigma / (k.alpha + k.sigma)
    actual = stored.states[:, 0].float()
    torch.testing.assert_close(actual, start, rtol=1e-3, atol=1e-3)


def test_trajectories_may_hold_their_ends_alone(flow):
    stored = filled(flow, 300, seed=11)
    ends = filled(flow, 300, seed=11, ends=True)
    assert torch.equal(ends.states, stored.states[:, [0, -1]])
    assert ends.times == (stored.times[0], 0.0)


def test_two_times_of_a_trajectory_are_drawn(flow):
    stored = filled(flow, 300, seed=11)
    (x_t, t), (_, s), _ = stored.draw(ExampleDraws(3, 5000))
    assert (s < t).all()
    to_data = (s == 0).float().mean().item()
    assert to_data == pytest.approx(0.5 + 0.5 * 2 / 7, abs=0.03), "one of two places is the last"
    for x, time in zip(x_t[:5], t[:5].tolist(), strict=True):
        place = stored.times.index(pytest.approx(time, abs=1e-6))
        same = stored.states[:, place].float() == x
        assert same.all(dim=1).any()


def test_a_student_comes_nearer_to_its_teacher_than_one_step_of_it(teacher, moons, tmp_path):
    recipe = with_frozen("distil", {"teacher": teacher})(moons.space, trajectories=600)
    run = pf.fit(recipe, moons, steps=200, seed=0, out=tmp_path / "student")
    student = run.transport
    assert student.calls == 1
    denoiser = teacher.transport.denoiser
    z = torch.randn(500, 2)
    with torch.no_grad():
        ends = Flow(denoiser, "dpm:2", 30)(z)

        def error(model):
            return (model(z) - ends).square().mean()

        of_teacher = error(Flow(straight(denoiser), "euler", 1))
        assert error(student.with_solver("jump", 1)) < 0.3 * of_teacher
        assert error(student.with_solver("jump", 4)) < 0.1 * of_teacher


def test_a_killed_distillation_ends_in_the_same_bits_without_its_teacher(moons, tmp_path):
    folder = tmp_path / "teacher"
    pf.fit("flow", moons, size="tiny", steps=20, seed=0, out=folder)

    def make():
        return with_frozen("distil", {"teacher": folder})(moons.space, trajectories=50)

    state = check_killed(make, moons, folder, tmp_path)
    assert not (tmp_path / "cut" / "parts" / "trajectories").exists()
    assert not any("states" in name for group in state[0].values() for name in group)


def test_what_has_no_condition_is_led_by_the_teacher_without_one(stirred_flow):
    flow = stirred_flow.with_solver("unipc", 4)
    stored = filled(flow, 200, unconditional=0.4)
    without_condition = stored.hidden
    assert without_condition.float().mean().item() == pytest.approx(0.4, abs=0.12)
    condition = stored.condition(torch.arange(200))
    assert torch.equal(condition["label_null"], without_condition)
    z = flow.noise(ExampleDraws(stored.seed, 200))
    labels = {"label": condition["label"]}
    no_labels = hidden(labels, torch.ones(200, dtype=torch.bool))
    with torch.no_grad():
        given = flow(z, labels)
        without = flow(z, no_labels)
    wanted = torch.where(without_condition[:, None], without, given)
    error = largest(stored.states[:, -1].float() - wanted)
    assert error < 2e-3 < 0.1 * largest(given - without)


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
    method = pf.recipes.distil(labelled.space, "tiny", teacher=stirred_flow, trajectories=64).method
    assert method.label_dropout == 0.1
    assert method.trajectories.unconditional == 0.1
    method.label_dropout = 0.5
    batch = Batch(torch.randn(64, 17), {"label": torch.arange(64) % 3})
    (x_t, t), (x_s, s), own = method.trajectories.draw(ExampleDraws(5, 64))
    equal = torch.arange(64) % 2 == 0
    now = StepContext(BlockDraws(0, 0, 64), 0, 0.0)
    held = method._held(batch, now, equal, (x_t, t, s, x_s, own))
    states, at, _, target, condition = held
    without_condition = condition["label_null"]
    assert torch.equal(without_condition[~equal], own["label_null"][~equal])
    assert 4 < without_condition[equal].sum() < 28
    with torch.no_grad():
        velocity = method.teacher.denoiser.predict("velocity", states, at, condition)
    torch.testing.assert_close(target[equal], velocity[equal])


def test_guidance_is_learned_as_if_the_teacher_had_it(stirred_flow, labelled, tmp_path):
    space = labelled.space
    recipe = pf.recipes.distil(space, "tiny", teacher=stirred_flow, trajectories=40, guidance=3.0)
    guided = Flow(pf.Guided(stirred_flow.denoiser, 3.0), "unipc", 8, "time")
    store = recipe.method.trajectories
    store.fill()
    samples = space.to_model(guided.sample(40, seed=store.seed))
    assert largest(store.states[:, -1].float() - samples) < 4e-3
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

    def bound():
        return with_frozen("distil", {"teacher": latent})(data.space, trajectories=40)

    whole = tmp_path / "whole"
    cut = tmp_path / "cut"
    run = pf.fit(bound(), data, steps=3, seed=1, out=whole)
    assert isinstance(run.method, LatentMethod)
    inner = run.method.method
    assert isinstance(inner, Distillation)
    assert inner.space.shape == latent.transport.inner.space.shape
    assert run.sample(3).shape == (3, *data.space.shape)
    trainer = prepare(bound(), data, steps=3, seed=1, checkpoint_every=1, out=cut)
    trainer.advance(1e-9)
    del trainer
    shutil.rmtree(tmp_path / "flow")
    reopen(cut).advance()
    assert_same(final_state(whole), final_state(cut))


PIXELS = ImageSpace((1, 8, 8), mean=(0.0,), std=(1.0,))


class Same(nn.Module):
    def features(self, x, t=None, condition=None):
        return [x, (1 + t.view(-1, 1, 1, 1)) * x]


@pytest.mark.parametrize("path", [Linear(), VP()], ids=lambda path: type(path).__name__)
def test_the_distance_is_that_of_normalised_features_of_equally_noised_images(path):
    scaling = Preconditioning(scale_input=True)
    denoiser = Denoiser(Same(), path, "noise", PIXELS, preconditioning=scaling)
    x, y, noise = torch.randn(3, 5, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([0.05, 0.1, 0.2, 0.3, 0.4])
    share = t.view(-1, 1, 1, 1)

    def normalised(image):
        # noise of the straight path, in the scale of unit variance that a network receives on any
        # path; its norm drops the scale
        return F.group_norm((1 - share) * image + share * noise, 1, eps=0.0)

    def distance(*images):
        return FeatureDistance().distance(denoiser, images, (t, noise), None)

    difference = normalised(x) - normalised(y)
    expected = difference.square().flatten(1).mean(1)
    torch.testing.assert_close(distance(x, y), expected, rtol=2e-3, atol=1e-4)
    assert largest(distance(x, x.clone())) == 0


@pytest.fixture(scope="module")
def unet_teacher():
    torch.manual_seed(0)
    network = UNet((1, 8, 8), widths=(16, 32), blocks=1, heads=2)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    denoiser = Denoiser(network, Linear(), "velocity", PIXELS, unconditional=False)
    return pf.Flow(denoiser, "euler", 4)


def test_only_jumps_to_data_are_compared_and_the_weight_is_that_of_their_loss(unet_teacher):
    recipe = pf.recipes.distil(PIXELS, teacher=unet_teacher, trajectories=16, teacher_steps=4)
    usual = recipe.method
    assert isinstance(usual, Distillation)
    assert usual.likeness == FeatureDistance(2.0)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(64, 1, 8, 8, generator=generator)

    def loss(weight=None):
        usual.likeness = None
        if weight is not None:
            usual.likeness = FeatureDistance(weight)
        now = StepContext(BlockDraws(0, 0, 64), 0, 0.0)
        ((_, value),) = usual.losses(Batch(x), now)
        return value.detach(), now.notes

    none, plain_notes = loss()
    single, notes = loss(1.0)
    double, _ = loss(2.0)
    assert "unlikeness" not in plain_notes
    assert notes["unlikeness"] > 0
    torch.testing.assert_close(double - none, 2 * (single - none))
    assert single - none > 1e-3
    usual.trajectories.draw = _inside(usual.trajectories.draw)
    with_likeness, _ = loss(1.0)
    without, _ = loss()
    torch.testing.assert_close(with_likeness, without, rtol=0, atol=0)


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
            no_label = torch.zeros(len(x), dtype=torch.bool)
            seen = ~condition.get("label_null", no_label)
            mean = (seen * class_means(condition["label"])).to(x)[:, None]
        gain = k.alpha * VARIANCE / (k.alpha**2 * VARIANCE + k.sigma**2)
        return mean + gain * (x - k.alpha * mean)


def class_means(labels):
    return (2 * labels - 1) * MEAN


def guided(path, scale=1.0):
    scaling = Preconditioning(scale_input=False)
    denoiser = pf.Denoiser(TwoGaussians(path), path, "data", SPACE, preconditioning=scaling)
    return pf.Flow(pf.Guided(denoiser, scale), "heun", 24)


@pytest.mark.parametrize("path", [Linear(), VP()], ids=["linear", "vp"])
def test_a_trajectory_is_that_of_its_own_scale(path):
    teacher = guided(path)
    stored = filled(teacher, 40, seed=3, guidance=RANGE)
    condition = stored.condition(torch.arange(40))
    scales = condition[SCALE]
    labels = condition["label"]
    assert RANGE[0] <= scales.min() < 1.5
    assert 3.5 < scales.max() <= RANGE[1]
    ends = stored.states[:, -1].float()
    means = scales * class_means(labels)
    exact = means[:, None] + VARIANCE**0.5 * teacher.noise(ExampleDraws(3, 40))
    assert largest(ends - exact) < 0.08, "the map of N(w mean, variance) in closed form"
    for row in (0, 7):
        alone = guided(path, scales[row].item())
        samples = alone.sample(40, {"label": labels.tolist()}, seed=3)
        assert largest(samples[row] - ends[row]) < 4e-3


@pytest.mark.parametrize("number", [1, 5])
@pytest.mark.parametrize("common", [0.0, 1.0, 2.5])
def test_scales_of_single_examples_take_the_place_of_the_common_one(number, common):
    x = torch.randn(number, 2)
    t = torch.rand(number) * 0.8 + 0.1
    labels = torch.arange(number) % 2
    scales = torch.linspace(1, 3, number)
    given = {"label": labels, SCALE: scales}
    rows = guided(Linear(), common).denoiser.predict("velocity", x, t, given)
    for i, scale in enumerate(scales.tolist()):
        row = slice(i, i + 1)
        one_scale = guided(Linear(), scale).denoiser
        alone = one_scale.predict("velocity", x[row], t[row], {"label": labels[row]})
        torch.testing.assert_close(rows[row], alone)


def student():
    torch.manual_seed(0)
    network = MLP(2, 2, width=32, depth=2, conditions=LABELS, times=3)
    scaling = Preconditioning(guidance=RANGE)
    return FlowMap(
        network, Linear(), "velocity", SPACE, preconditioning=scaling, unconditional=False
    )


def along_trajectories():
    trajectories = Trajectories(guided(Linear()), 2000, guidance=RANGE)
    times = Sorted(diagonal=0.15)
    return Distillation(student(), StartTarget(), times, trajectories=trajectories, stored=1.0)


def by_velocity():
    """A method of a rule with the teacher's velocity alone."""
    times = Sorted(diagonal=0.25, to_data=0.5)
    return FlowMapMatching(student(), StartTarget(0.5, 0.05), times, teacher=guided(Linear()))


def two_gaussians(draws):
    """A batch of labelled points of both Gaussians."""
    labels = (draws.stream("label").uniform() < 0.5).long()
    noise = draws.stream("data").normal((2,))
    x = class_means(labels)[:, None] + VARIANCE**0.5 * noise
    return Batch(x, {"label": labels})


def train_on_two_gaussians(method, steps):
    optimizer = torch.optim.Adam(method.flow_map.parameters(), 4e-3)
    for step in range(steps):
        draws = BlockDraws(0, step, 256)
        now = StepContext(draws, 0, step / steps, step)
        for _, loss in method.turns(two_gaussians(draws), now):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


@pytest.mark.parametrize(
    ("method", "absolute", "relative"),
    [(along_trajectories, 0.25, 0.0), (by_velocity, 0.0, 0.35)],
)
def test_a_student_learns_every_scale_in_one_call(method, absolute, relative):
    learned = method()
    train_on_two_gaussians(learned, 200)
    flow_map = learned.flow_map.requires_grad_(False)
    plain = pf.Flow(flow_map, "jump", 1)
    z = torch.randn(400, 2)
    for label in (0, 1):
        condition = {"label": torch.full((400,), label)}
        samples = {}
        for scale in (1.0, 2.0, 4.0):
            samples[scale] = pf.Flow(pf.AtScale(flow_map, scale), "jump", 1)(z, condition)
            wanted = scale * class_means(label)
            error = abs(samples[scale].mean() - wanted)
            assert error < absolute + relative * abs(wanted)
        assert torch.equal(plain(z, condition), samples[1.0])


@pytest.fixture(scope="module")
def scaled_run(tmp_path_factory):
    """A student of scales from 1 to 4, whose weights of the scale are scattered, and its
    teacher.
    """
    folder = tmp_path_factory.mktemp("scaled")
    data = space_data((2,), labels=True, n=200)
    teacher = pf.fit("flow", data, size="tiny", steps=3, out=folder / "flow", progress=False)
    distil = with_frozen("distil", {"teacher": teacher})
    recipe = distil(data.space, guidance="1,4", trajectories=64, teacher_steps=2, diagonal=0.5)
    pf.fit(recipe, data, steps=4, out=folder / "run", checkpoint_every=1, progress=False)
    run = pf.resume(folder / "run", data=data, steps=30, progress=False)
    torch.manual_seed(0)
    run.method.flow_map.network.conditioning.time.inner.weight.data.normal_(std=0.3)
    return run, teacher


def test_a_run_is_sampled_at_any_scale_of_its_range(scaled_run):
    run, _ = scaled_run
    strong = run.configured(scale=3.0)
    assert run.transport.calls == strong.transport.calls == 1
    samples = run.sample(8)
    assert not torch.equal(strong.sample(8), samples)
    assert torch.equal(run.sample(8, scale=1.0), samples)
    again = strong.configured(scale=2.0)
    assert torch.equal(again.sample(8), run.sample(8, scale=2.0))
    for scale in (0.5, 4.1):
        with pytest.raises(UsageError, match=r"scales from 1 to 4"):
            run.sample(2, scale=scale)
    with pytest.raises(UsageError, match="`interval`"):
        run.sample(2, scale=2.0, interval=(0.1, 1.0))


def test_reports_compare_a_run_with_its_teacher_at_the_same_scale(scaled_run):
    run, teacher = scaled_run
    taught = teacher_of(run.configured(scale=3.0))
    own = pf.Flow(pf.Guided(teacher.denoiser, 3.0), "unipc", 2, "time")
    assert torch.equal(taught.sample(6), own.sample(6))
