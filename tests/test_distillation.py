"""Distillation: students start as their teacher and learn along its trajectories, by its features and at scales."""

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
from pushforward.denoisers import Denoiser, Preconditioning, trained
from pushforward.draws import BlockDraws, ExampleDraws
from pushforward.errors import UsageError
from pushforward.methods import Distillation, LatentMethod, Mapping, Now, Trajectories
from pushforward.methods.flow_map import mean_velocity, straight
from pushforward.methods.perceptual_distance import Likeness
from pushforward.methods.rules import End, Middle, Start
from pushforward.networks import UNet
from pushforward.paths import VP, Linear
from pushforward.recipes.students import student_of
from pushforward.testing import assert_same, final_state, space_data
from pushforward.testing.models import teachers_for
from pushforward.training import in_latent
from pushforward.training.api import prepare, reopen
from pushforward.training.frozen_recipes import with_frozen
from pushforward.transports import Flow

# Students


@pytest.fixture(scope="module", params=["flow", "edm"])
def teacher(request, moons, tmp_path_factory):
    return pf.fit(request.param, moons, size="tiny", steps=150, seed=0, out=tmp_path_factory.mktemp("teacher") / request.param)


def test_a_student_starts_as_its_teacher_whatever_the_second_time(teacher):
    denoiser = trained(teacher.transport.denoiser)
    student = student_of(denoiser)
    low, high = student.path.ends
    t = torch.linspace(low + 0.01, high - 0.01, 2000)
    x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        known = straight(denoiser).predict("velocity", x, t)
        for s in (t, t / 2, torch.zeros_like(t)):
            assert (mean_velocity(student, x, t, s) - known).norm() < 0.12 * known.norm()


def test_what_has_no_student_is_refused(moons, tmp_path):
    gan = pf.fit("gan", moons, size="tiny", steps=2, seed=0, out=tmp_path / "gan")
    with pytest.raises(UsageError, match="a run of gan; the frozen part teacher must be a model that samples in steps"):
        with_frozen("distil", {"teacher": gan})(moons.space)
    flow = pf.recipes.flow(moons.space, "tiny").method.transport()
    student = pf.recipes.distil(moons.space, teacher=flow, trajectories=4).method.transport()
    with pytest.raises(UsageError, match="already"):
        pf.recipes.distil(moons.space, teacher=student)
    with pytest.raises(UsageError, match="argument times"):
        student_of(pf.Denoiser(nn.Linear(2, 2), Linear(), "velocity", moons.space))


# Trajectories


def test_trajectories_are_the_teachers_own(teacher):
    """Their ends are its samples of the same seeds, and between two of them the stored target leads from one to the other."""
    flow = teacher.transport.with_solver("dpm:2", 6)
    stored = Trajectories(flow, 300, seed=11)
    stored.fill()
    samples = flow.space.to_model(flow.sample(300, seed=11))
    assert (stored.states[:, -1].float() - samples).abs().max() < 4e-3
    again = Trajectories(flow, 300, seed=11, ends=True)
    again.fill()
    assert torch.equal(again.states, stored.states[:, [0, -1]])
    assert again.times == (stored.times[0], 0.0)
    (x_t, t), (_, s), _ = stored.draw(ExampleDraws(3, 5000))
    assert bool((s < t).all())
    assert float((s == 0).float().mean()) == pytest.approx(0.5 + 0.5 * 2 / 7, abs=0.03), "one of two places is the last"
    place = [stored.times.index(pytest.approx(float(at), abs=1e-6)) for at in t[:5]]
    assert all((stored.states[:, i].float() == x).all(1).any() for i, x in zip(place, x_t[:5], strict=True))
    k = flow.denoiser.path.at(torch.tensor(float(flow.times[0])))
    start = flow.noise(ExampleDraws(11, 300)) * k.sigma / (k.alpha + k.sigma)
    torch.testing.assert_close(stored.states[:, 0].float(), start, rtol=1e-3, atol=1e-3)


# Distillation


def test_a_student_comes_nearer_to_its_teacher_than_one_step_of_it(teacher, moons, tmp_path):
    recipe = with_frozen("distil", {"teacher": teacher})(moons.space, trajectories=600)
    run = pf.fit(recipe, moons, steps=200, seed=0, out=tmp_path / "student")
    z = torch.randn(500, 2)
    flow = teacher.transport
    with torch.no_grad():
        ends = Flow(flow.denoiser, "dpm:2", 30)(z)
        student = run.transport
        assert student.calls == 1
        missed = {steps: float((student.with_solver("jump", steps)(z) - ends).square().mean()) for steps in (1, 4)}
        once = float((Flow(straight(flow.denoiser), "euler", 1)(z) - ends).square().mean())
    assert missed[1] < 0.3 * once
    assert missed[4] < 0.1 * once


def test_a_killed_distillation_ends_in_the_same_bits_without_its_teacher(moons, tmp_path):
    folder = tmp_path / "teacher"
    pf.fit("flow", moons, size="tiny", steps=20, seed=0, out=folder)
    state = check_killed(
        lambda: with_frozen("distil", {"teacher": folder})(moons.space, trajectories=50), moons, folder, tmp_path
    )
    assert not (tmp_path / "cut" / "parts" / "trajectories").exists()
    assert not any("states" in name for group in state[0].values() for name in group)


# Conditions


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
    assert float(stored.hidden.float().mean()) == pytest.approx(0.4, abs=0.12)
    condition = stored.condition(torch.arange(200))
    assert torch.equal(condition["label_null"], stored.hidden)
    z = flow.noise(ExampleDraws(stored.seed, 200))
    labels = {"label": condition["label"]}
    with torch.no_grad():
        given, without = flow(z, labels), flow(z, hidden(labels, torch.ones(200, dtype=torch.bool)))
    wanted = torch.where(stored.hidden[:, None], without, given)
    assert (stored.states[:, -1].float() - wanted).abs().max() < 2e-3 < 0.1 * (given - without).abs().max()

    method = pf.recipes.distil(labelled.space, "tiny", teacher=stirred_flow, trajectories=64).method
    assert (method.label_dropout, method.trajectories.unconditional) == (0.1, 0.1)
    method.label_dropout = 0.5
    x, label = torch.randn(64, 17), torch.arange(64) % 3
    (x_t, t), (x_s, s), own = method.trajectories.draw(ExampleDraws(5, 64))
    equal = torch.arange(64) % 2 == 0
    now = Now(BlockDraws(0, 0, 64), 0, 0.0)
    held = method._held(Batch(x, {"label": label}), now, equal, (x_t, t, s, x_s, own))
    states, at, _, target, condition = held
    assert torch.equal(condition["label_null"][~equal], own["label_null"][~equal])
    assert 4 < int(condition["label_null"][equal].sum()) < 28
    with torch.no_grad():
        velocity = method.teacher.denoiser.predict("velocity", states, at, condition)
    torch.testing.assert_close(target[equal], velocity[equal])


def test_guidance_is_learned_as_if_the_teacher_had_it(stirred_flow, labelled, tmp_path):
    recipe = pf.recipes.distil(labelled.space, "tiny", teacher=stirred_flow, trajectories=40, guidance=3.0)
    guided = Flow(pf.Guided(stirred_flow.denoiser, 3.0), "unipc", 8, "time")
    store = recipe.method.trajectories
    store.fill()
    samples = labelled.space.to_model(guided.sample(40, seed=store.seed))
    assert (store.states[:, -1].float() - samples).abs().max() < 4e-3
    assert not recipe.method.flow_map.unconditional
    assert store.unconditional == recipe.method.label_dropout == 0
    run = pf.fit(recipe, labelled, steps=2, out=tmp_path / "run")
    assert run.transport.calls == 1
    with pytest.raises(UsageError, match="without one"):
        run.configured(scale=2.0)


# Choices


def test_rules_of_a_student(stirred_flow, labelled):
    for rule, part in {"start": Start, "middle": Middle, "end": End}.items():
        method = pf.recipes.distil(labelled.space, "tiny", teacher=stirred_flow, rule=rule, trajectories=4, average=100.0).method
        assert type(method.rule) is part
        assert (method.stored, method.rule.average) == (0.5, 100.0)
    stages = pf.recipes.distil(labelled.space, "tiny", teacher=stirred_flow, rule="progressive").method
    assert (type(stages), stages.rule.stages, stages.pairs.levels) == (Mapping, 5, 4)
    alone = pf.recipes.distil(labelled.space, "tiny", teacher=stirred_flow, rule="end", stored=0.0, derivative="forward").method
    assert type(alone) is Mapping
    assert alone.teacher.steps == 8


# Latent spaces


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
    trainer = prepare(bound(data.space), data, steps=3, seed=1, checkpoint_every=1, out=tmp_path / "cut")
    trainer.advance(1e-9)
    del trainer
    shutil.rmtree(tmp_path / "flow")
    reopen(tmp_path / "cut").advance()
    assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / "cut"))


PIXELS = ImageSpace((1, 8, 8), mean=(0.0,), std=(1.0,))


class Same(nn.Module):
    """A network whose features are its inputs."""

    def features(self, x, t=None, condition=None):
        return [x, (1 + t[:, None, None, None]) * x]


@pytest.mark.parametrize("path", [Linear(), VP()], ids=lambda path: type(path).__name__)
def test_the_distance_is_that_of_normalised_features_of_equally_noised_images(path):
    denoiser = Denoiser(Same(), path, "noise", PIXELS, preconditioning=Preconditioning(scale_input=True))
    x, y, noise = torch.randn(3, 5, 1, 8, 8, generator=torch.Generator().manual_seed(0)).unbind()
    at = torch.tensor([0.05, 0.1, 0.2, 0.3, 0.4])
    distance = Likeness().distance(denoiser, (x, y), (at, noise), None)
    share = at[:, None, None, None]
    # noise of the straight path, in the scale of unit variance that a network receives on any path; its norm drops the scale
    given, wanted = (F.group_norm((1 - share) * image + share * noise, 1, eps=0.0) for image in (x, y))
    torch.testing.assert_close(distance, (given - wanted).square().flatten(1).mean(1), rtol=2e-3, atol=1e-4)
    assert Likeness().distance(denoiser, (x, x.clone()), (at, noise), None).abs().max() == 0


def test_features_of_a_unet_are_its_levels_and_its_middle():
    network = UNet((1, 8, 8), widths=(16, 32), blocks=1)
    x, t, seen = torch.randn(2, 1, 8, 8), torch.rand(2), []
    for level in (*network.down, network.middle):
        level.register_forward_hook(lambda module, given, output: seen.append(output))
    with torch.no_grad():
        network(x, t)
        features = network.features(x, t)
    assert [tuple(h.shape) for h in features] == [(2, 16, 8, 8), (2, 32, 4, 4)]
    assert all(torch.equal(a, b) for a, b in zip(features, seen[:2], strict=True))


@pytest.fixture(scope="module")
def unet_teacher():
    torch.manual_seed(0)
    network = UNet((1, 8, 8), widths=(16, 32), blocks=1, heads=2)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return pf.Flow(Denoiser(network, Linear(), "velocity", PIXELS, unconditional=False), "euler", 4)


def test_only_jumps_to_data_are_compared_and_the_weight_is_that_of_their_loss(unet_teacher):
    usual = pf.recipes.distil(PIXELS, unet_teacher=unet_teacher, trajectories=16, teacher_steps=4).method
    assert isinstance(usual, Distillation)
    assert usual.likeness == Likeness(2.0)
    x = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(1))

    def loss(likeness):
        usual.likeness = likeness
        now = Now(BlockDraws(0, 0, 64), 0, 0.0)
        ((_, value),) = usual.losses(Batch(x), now)
        return value.detach(), now.notes

    none, alone = loss(None)
    single, notes = loss(Likeness(1.0))
    double, _ = loss(Likeness(2.0))
    assert "unlikeness" not in alone
    assert float(notes["unlikeness"]) > 0
    torch.testing.assert_close(double - none, 2 * (single - none))
    assert float(single - none) > 1e-3
    usual.trajectories.draw = _inside(usual.trajectories.draw)
    torch.testing.assert_close(loss(Likeness(1.0))[0], loss(None)[0], rtol=0, atol=0)


def _inside(draw):
    """Pairs of times of which none ends at the data."""

    def drawn(draws):
        (x_t, t), (x_s, s), condition = draw(draws)
        return (x_t, t + 0.001), (x_s, s + 0.0005), condition

    return drawn
