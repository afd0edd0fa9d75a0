"""Reflow: a flow that is trained on a teacher's noise and samples."""

import functools
import shutil

import pytest
import torch

import pushforward as pf
from pushforward.draws import ExampleDraws
from pushforward.testing import assert_same, final_state, space_data
from pushforward.testing.models import teachers_for
from pushforward.training import with_frozen
from pushforward.training.api import prepare, reopen
from pushforward.transports import Flow


@pytest.fixture(scope="module")
def teacher(moons, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "teacher"
    return pf.fit("flow", moons, size="tiny", steps=250, seed=0, out=out)


def reflow(run, **options):
    return functools.partial(with_frozen("flow", {"teacher": run}), coupling="reflow", **options)


def test_pairs_are_the_teachers_noise_its_samples_and_their_labels():
    data = space_data((17,), labels=True)
    flow = teachers_for(pf.recipes.named("distil"), data.space)["teacher"]
    couple = pf.recipes.flow(
        data.space, "tiny", coupling="reflow", teacher=flow, pairs=40
    ).method.couple
    assert couple.trajectories.bytes == 40 * 2 * 2 * 17
    x, z, condition = couple.examples(torch.zeros(64, 17), None, ExampleDraws(3, 64))
    with torch.no_grad():
        wanted = flow.with_solver("unipc", 16)(z, condition)
    assert (x - wanted).abs().max() < 5e-3
    assert len(z.unique(dim=0)) > 20
    again = couple(torch.zeros(64, 17), None, ExampleDraws(3, 64))
    assert torch.equal(again[0], x)
    assert torch.equal(again[1], z)


def test_a_reflow_needs_fewer_steps_than_its_teacher(teacher, moons, tmp_path):
    recipe = reflow(teacher, pairs=2000)(moons.space, "tiny")
    run = pf.fit(recipe, moons, steps=250, seed=0, out=tmp_path / "run")
    z = torch.randn(500, 2)
    with torch.no_grad():
        ends = teacher.transport.with_solver("dpm:2", 30)(z)
        missed = [
            float((Flow(flow.denoiser, "euler", 2)(z) - ends).square().mean())
            for flow in (run.transport, teacher.transport)
        ]
    assert missed[0] < 0.5 * missed[1]
    assert str(teacher.folder) in [str(name) for name, _ in recipe.builds_on]


def test_a_killed_reflow_ends_in_the_same_bits_without_its_teacher(moons, tmp_path):
    folder = tmp_path / "teacher"
    options = {"steps": 4, "seed": 3, "checkpoint_every": 1}
    pf.fit("ddpm", moons, size="tiny", steps=5, seed=0, out=folder)
    recipe = reflow(folder, pairs=300)
    pf.fit(recipe(moons.space, "tiny"), moons, out=tmp_path / "whole", **options)
    trainer = prepare(recipe(moons.space, "tiny"), moons, out=tmp_path / "cut", **options)
    trainer.advance(1e-9)
    assert trainer.average.method.couple.trajectories is trainer.method.couple.trajectories
    del trainer
    shutil.rmtree(folder)
    reopen(tmp_path / "cut", data=moons).advance()
    whole = final_state(tmp_path / "whole")
    cut = final_state(tmp_path / "cut")
    assert_same(whole, cut)
    assert all(name.startswith("denoiser") for name in cut[0]["average"])
    count = len(list((tmp_path / "cut" / "cache" / "trajectories").glob("*.safetensors")))
    assert count == 2


def test_starts_on_the_straight_path_are_the_noise_of_a_curved_one(moons):
    """Whose first state holds a little of the data, so that it is no noise of the straight path."""
    flow = pf.recipes.ddpm(moons.space, "tiny").method.transport()
    couple = pf.recipes.flow(
        moons.space, "tiny", coupling="reflow", teacher=flow, pairs=40
    ).method.couple
    _, z, _ = couple.examples(torch.zeros(64, 2), None, ExampleDraws(3, 64))
    noise = flow.training_noise(ExampleDraws(couple.trajectories.seed, 40))
    assert couple.trajectories.times[0] < 0.995
    assert (torch.cdist(z, noise).amin(1) < 1.5e-3 * z.norm(dim=1) + 1e-4).all()
