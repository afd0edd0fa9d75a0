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


def coupling_of(flow):
    """The coupling of a reflow with 40 pairs of a teacher."""
    recipe = pf.recipes.flow(flow.space, "tiny", coupling="reflow", teacher=flow, pairs=40)
    return recipe.method.couple


def test_pairs_are_the_teachers_noise_its_samples_and_their_labels():
    data = space_data((17,), labels=True)
    flow = teachers_for(pf.recipes.named("distil"), data.space)["teacher"]
    couple = coupling_of(flow)
    assert couple.trajectories.bytes == 40 * 2 * 2 * 17
    zeros = torch.zeros(64, 17)
    x, z, condition = couple.examples(zeros, None, ExampleDraws(3, 64))
    with torch.no_grad():
        ends = flow.with_solver("unipc", 16)(z, condition)
    assert (x - ends).abs().max() < 5e-3
    assert len(z.unique(dim=0)) > 20
    again, noise, *_ = couple(zeros, None, ExampleDraws(3, 64))
    assert torch.equal(again, x)
    assert torch.equal(noise, z)


def test_a_reflow_needs_fewer_steps_than_its_teacher(teacher, moons, tmp_path):
    recipe = reflow(teacher, pairs=2000)(moons.space, "tiny")
    run = pf.fit(recipe, moons, steps=250, seed=0, out=tmp_path / "run")
    assert str(teacher.folder) in [str(name) for name, _ in recipe.builds_on]
    z = torch.randn(500, 2)

    def error_of_two_steps(transport):
        end = Flow(transport.denoiser, "euler", 2)(z)
        return float((end - ends).square().mean())

    with torch.no_grad():
        ends = teacher.transport.with_solver("dpm:2", 30)(z)
        error = error_of_two_steps(run.transport)
        assert error < 0.5 * error_of_two_steps(teacher.transport)


def test_a_killed_reflow_ends_in_the_same_bits_without_its_teacher(moons, tmp_path):
    folder = tmp_path / "teacher"
    whole = tmp_path / "whole"
    cut = tmp_path / "cut"
    options = {"steps": 4, "seed": 3, "checkpoint_every": 1}
    pf.fit("ddpm", moons, size="tiny", steps=5, seed=0, out=folder)
    recipe = reflow(folder, pairs=300)
    pf.fit(recipe(moons.space, "tiny"), moons, out=whole, **options)
    trainer = prepare(recipe(moons.space, "tiny"), moons, out=cut, **options)
    trainer.advance(1e-9)
    assert trainer.average.method.couple.trajectories is trainer.method.couple.trajectories
    del trainer
    shutil.rmtree(folder)
    reopen(cut, data=moons).advance()
    state = final_state(cut)
    assert_same(final_state(whole), state)
    assert all(name.startswith("denoiser") for name in state[0]["average"])
    stored = list((cut / "cache" / "trajectories").glob("*.safetensors"))
    assert len(stored) == 2


def test_starts_on_the_straight_path_are_the_noise_of_a_curved_one(moons):
    """Whose first state holds a little of the data, so that it is no noise of the straight path."""
    flow = pf.recipes.ddpm(moons.space, "tiny").method.transport()
    couple = coupling_of(flow)
    _, z, _ = couple.examples(torch.zeros(64, 2), None, ExampleDraws(3, 64))
    trajectories = couple.trajectories
    noise = flow.training_noise(ExampleDraws(trajectories.seed, 40))
    assert trajectories.times[0] < 0.995
    nearest = torch.cdist(z, noise).amin(1)
    rounding = 1.5e-3 * z.norm(dim=1) + 1e-4
    assert (nearest < rounding).all()
