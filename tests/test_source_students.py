"""Students of flows that start from other data than noise: they start where their teacher does, in
training from its examples.
"""

import shutil
from pathlib import Path

import pytest
import torch
from programs.without_teacher import check_killed

import pushforward as pf
from pushforward.data import Batch
from pushforward.denoisers import Denoiser, FlowMap
from pushforward.draws import BlockDraws, ExampleDraws
from pushforward.errors import UsageError
from pushforward.methods import FlowMapMatching, Guard, StepContext, Trajectories
from pushforward.methods.distillation import FeatureDistance
from pushforward.methods.flow_map import starts
from pushforward.methods.refinement import FeatureCritic
from pushforward.networks import MLP, UNet
from pushforward.paths import Linear, Source
from pushforward.testing import space_data
from pushforward.training.api import distil
from pushforward.training.loop.callbacks import StateView
from pushforward.training.monitor.health import Diversity, FixedNoise, starts_of
from pushforward.training.recipe_argument import with_frozen
from pushforward.transports import Flow

GAUSSIANS = "8gaussians-c2ot"


@pytest.fixture(scope="module")
def teacher(moons, tmp_path_factory):
    recipe = pf.recipes.flow(moons.space, "tiny", source=GAUSSIANS)
    out = tmp_path_factory.mktemp("runs") / "teacher"
    return pf.fit(recipe, moons, steps=150, seed=0, out=out, progress=False)


@pytest.fixture(scope="module")
def student(teacher, moons, tmp_path_factory):
    settings = {"trajectories": 600, "teacher_steps": 16}
    out = tmp_path_factory.mktemp("runs") / "student"
    return distil(teacher, steps=250, settings=settings, out=out, progress=False)


def from_training(x, source):
    """Whether x (n, *shape) are training examples of a source, up to rounding to float16."""
    return bool(
        (
            torch.cdist(x.flatten(1).double(), source.examples.flatten(1).double()).amin(1) < 5e-3
        ).all()
    )


def moment_of(method, data):
    return StateView(Path(), 0, 0.0, 0.5, method, method, data)


def test_trajectories_start_at_training_examples_and_end_where_the_teacher_leads_them(teacher):
    flow = teacher.transport
    stored = Trajectories(flow.with_solver("unipc", 32, "time"), 200)
    stored.fill()
    first = stored.states[:, 0].float() / stored.times[0]
    assert from_training(first, flow.source)
    with torch.no_grad():
        ends = flow.with_solver("heun", 100, "time")(first)
    mean = (stored.states[:, -1].float() - ends).square().mean()
    assert mean < 1e-4


def test_a_student_starts_at_its_teachers_source_and_jumps_where_it_leads(teacher, student):
    flow = teacher.transport
    loaded = pf.load(student.folder).transport
    assert (loaded.calls, loaded.source.data) == (1, GAUSSIANS)
    z = loaded.noise(ExampleDraws(3, 400))
    assert torch.isin(z, loaded.source.held_out).all(), (
        "samples start from what training has not seen"
    )
    with torch.no_grad():
        ends = flow.with_solver("heun", 50, "time")(z)
        missed, once = (
            float((move(z) - ends).square().mean())
            for move in (loaded, flow.with_solver("euler", 1, "time"))
        )
    assert missed < 0.1 * once
    assert f"the source {GAUSSIANS}" in student.spec["rows"]["builds_on"]


@pytest.mark.parametrize("rule", ["stored", "start", "middle", "end", "progressive"])
def test_all_rules_mix_data_with_training_examples_of_the_source(teacher, moons, rule):
    recipe = with_frozen("distil", {"teacher": teacher})(
        moons.space, rule=rule, stored=None, trajectories=64, teacher_steps=2
    )
    method = recipe.method
    assert method.couple.source.data == GAUSSIANS
    mixed = []
    known = method.couple.source
    method.couple.source = lambda draws: mixed.append(known(draws)) or mixed[-1]
    x = moons.space.to_model(moons.train.data_units(slice(0, 64)))
    for _ in method.losses(Batch(x, None), StepContext(BlockDraws(0, 0, 64), 0, 0.9)):
        pass
    assert from_training(torch.cat(mixed), known)


def test_a_killed_student_ends_in_the_same_bits_without_its_teacher(teacher, moons, tmp_path):
    folder = tmp_path / "teacher"
    shutil.copytree(teacher.folder, folder)
    settings = {"trajectories": 50, "teacher_steps": 4}
    check_killed(
        lambda: with_frozen("distil", {"teacher": folder})(moons.space, **settings),
        moons,
        folder,
        tmp_path,
    )


# What training looks at


def test_what_decides_in_training_starts_at_training_examples(teacher, student, moons):
    """The best checkpoint and the end of a finish are chosen without the examples that samples are
    scored from.
    """
    source = teacher.transport.source
    noise, _ = starts_of(student.transport, 50)
    assert from_training(noise, source)
    jumps = FixedNoise(moons, 64)
    method = student.method
    jumps.observe(moment_of(method, moons))
    assert from_training(jumps._starts[0], source)
    assert len(noise.unique(dim=0)) == 50, "no start stands twice"
    diversity = Diversity(moons)
    sampled = []
    transport = student.transport
    forward = transport.forward
    transport.forward = lambda z, *others: sampled.append(z) or forward(z, *others)
    diversity._prepare(Guard(samples=64), transport)
    assert from_training(torch.cat(sampled), source)


# Finishing and reflow


def test_a_finish_starts_at_training_examples_of_the_source(student, moons):
    x = moons.space.to_model(moons.train.data_units(slice(0, 64)))
    first, t = starts(student.denoiser, x, BlockDraws(0, 0, 64))
    assert from_training(first / t[:, None], student.transport.source)


def test_a_reflow_starts_where_its_teacher_starts(teacher, moons, tmp_path):
    recipe = with_frozen("flow", {"teacher": teacher})(
        moons.space, "tiny", coupling="reflow", pairs=300
    )
    x, z, _ = recipe.method.couple.examples(torch.zeros(32, 2), None, ExampleDraws(3, 32))
    assert from_training(z, teacher.transport.source)
    with torch.no_grad():
        ends = teacher.transport.with_solver("heun", 100, "time")(z)
    mean = (x - ends).square().mean()
    expected = 0.02 * (z - ends).square().mean()
    assert mean < expected
    assert recipe.method.couple.trajectories.teacher.steps == 32
    run = pf.fit(recipe, moons, steps=2, out=tmp_path / "run", progress=False)
    assert pf.load(run.folder).transport.source.data == GAUSSIANS


def test_targets_are_measured_between_data_and_the_source(teacher, moons):
    method = with_frozen("distil", {"teacher": teacher})(
        moons.space, rule="middle", stored=0.0, teacher_steps=2
    ).method
    measured = []
    target = method.target
    method.target = lambda where, velocity, *others: (
        measured.append((where, velocity)) or target(where, velocity, *others)
    )
    FixedNoise(moons, 64).targets(moment_of(method, moons))
    (x_t, t, _), velocity = measured[0]
    assert from_training(x_t + (1 - t[:, None]) * velocity, method.couple.source)


def test_a_map_and_its_coupling_start_from_the_same_data(moons):
    source = Source(GAUSSIANS, moons.space)
    flow_map = FlowMap(
        MLP(2, 2, width=8, depth=1, times=2), Linear(), "velocity", moons.space, source=source
    )
    assert FlowMapMatching(flow_map).couple.source is source


def test_teachers_of_other_data_take_more_steps(moons):
    def usual(**choices):
        return pf.recipes.flow(moons.space, "tiny", **choices).method.transport()

    steps = [
        pf.recipes.distil(
            moons.space, teacher=flow, trajectories=4
        ).method.trajectories.teacher.steps
        for flow in (usual(), usual(source=GAUSSIANS))
    ]
    assert steps == [8, 32]


@pytest.fixture(scope="module")
def images():
    """An untrained U-Net that moves digits to pictures of the same shape."""
    data = space_data((1, 8, 8), labels=False)
    source = Source("digits", data.space)
    network = UNet((1, 8, 8), widths=(16,), blocks=1, heads=2)
    return Denoiser(network, Linear(), "velocity", data.space, unconditional=False, source=source)


def test_the_likeness_of_a_student_of_images_mixes_with_the_source(images, monkeypatch):
    actual = Flow(images, "euler", 2, "time")
    recipe = pf.recipes.distil(images.space, teacher=actual, trajectories=16, teacher_steps=2)
    x = torch.zeros(16, 1, 8, 8)
    sources = []
    noised = FeatureDistance.noised
    monkeypatch.setattr(
        FeatureDistance, "noised", lambda *given: sources.append(given[-1]) or noised(*given)
    )
    for _ in recipe.method.losses(Batch(x, None), StepContext(BlockDraws(0, 0, 16), 0, 0.0)):
        pass
    assert [source.data for source in sources] == ["digits"]


def test_features_see_examples_mixed_with_the_source(images):
    _, noise = FeatureDistance().noised((1, 8, 8), BlockDraws(0, 0, 32), images.source)
    assert from_training(noise, images.source)
    critic = FeatureCritic(torch.nn.Identity(), low=0.5, high=0.5)
    critic.look_through(images)
    _, mixed = critic.noised(None, BlockDraws(0, 0, 32), lambda x: x)
    assert from_training(2 * mixed(torch.zeros(32, 1, 8, 8)), images.source)


def test_a_flow_from_other_data_than_noise_cannot_be_matched(moons):
    flow = pf.recipes.flow(moons.space, "tiny", source=GAUSSIANS).method.transport()
    with pytest.raises(
        UsageError, match=f"The teacher was trained from {GAUSSIANS} .*no score to match"
    ):
        pf.recipes.dmd(moons.space, teacher=flow)
