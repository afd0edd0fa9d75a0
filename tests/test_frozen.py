"""Frozen parts, loaded by name from another run, and flows that start from a source of examples."""

import copy
import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.testing import assert_close

import pushforward as pf
from pushforward import spec
from pushforward.cli import main
from pushforward.draws import BlockDraws, ExampleDraws
from pushforward.errors import CheckpointError, DataError, UsageError
from pushforward.methods.method import Freezing
from pushforward.paths import Independent, OptimalTransport, Source
from pushforward.solvers import DEIS, Ancestral, Euler
from pushforward.testing import recipe_for, space_data
from pushforward.training import with_frozen
from pushforward.training.checkpoint.storage import latest
from pushforward.training.checkpoint.tensors import load
from pushforward.training.loop.optimizers import Average
from pushforward.transports.learned_steps import Pairs
from pushforward.transports.likelihood import log_prob

FILE = str(Path(__file__).parent / "distilled.py")


class Holder(Freezing):
    def __init__(self, inner=None):
        super().__init__()
        self.own = nn.Linear(2, 2)
        self.inner = inner


def test_a_frozen_part_is_beside_the_modules():
    part = nn.Sequential(nn.Linear(2, 2), nn.Dropout())
    holder = Holder()
    holder.freeze("teacher", part)
    outer = Holder(holder)
    outer.freeze("other", nn.Linear(3, 3))
    assert holder.teacher is part
    assert not part.training
    assert not any(parameter.requires_grad for parameter in part.parameters())
    assert not any(name.startswith("teacher") for name in holder.state_dict())
    assert part not in list(holder.modules())
    assert dict(outer.parts) == {"other": outer.other, "teacher": part}
    assert copy.deepcopy(outer).parts["teacher"] is part
    assert not holder.train().teacher.training
    assert outer.to(torch.float64) is outer
    assert part[0].weight.dtype == torch.float64
    with pytest.raises(AttributeError):
        holder.pupil
    outer.freeze("teacher", nn.Linear(3, 3))
    with pytest.raises(UsageError, match='Two frozen parts are named "teacher"'):
        _ = outer.parts


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    data = pf.data.load("moons")
    folder = tmp_path_factory.mktemp("runs") / "teacher"
    return pf.fit(recipe_for("flow", data), data, steps=2, out=folder).folder


def train(steps, *words):
    """Train the student of `distilled.py` on moons by the command line."""
    options = ["--data", "moons", "--size", "tiny", "--steps", str(steps)]
    assert main(["train", FILE, *options, *map(str, words)]) == 0


@pytest.fixture(scope="module")
def trained(teacher, tmp_path_factory):
    """A run of a method with two networks and a teacher, whose folder has moved away since."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    moved = teacher.parent / "moved"
    shutil.copytree(teacher, moved)
    train(4, "--teacher", moved, "--out", folder)
    shutil.rmtree(moved)
    return folder


def test_a_recipe_learns_from_the_run_that_is_named(trained, teacher):
    run = pf.load(trained, plugins=[FILE])
    copied = run.method.parts["teacher"].state_dict()
    for name, tensor in pf.load(teacher).transport.state_dict().items():
        assert torch.equal(copied[name], tensor)
    assert run.transport.sample(3).isfinite().all()


def test_a_spec_says_which_parts_are_frozen_and_where_they_were(trained):
    content = json.loads((trained / "spec.json").read_text())
    assert content["parts"].keys() == {"teacher"}
    (ancestor,) = content["rows"]["builds_on"]
    assert str(ancestor).endswith("moved")
    assert content["asked"]["frozen"][0].startswith("teacher=")
    description = spec.describe(spec.build(content["method"]))
    assert description == content["method"]


def test_checkpoints_hold_no_frozen_part(trained):
    stored = load(latest(trained / "checkpoints"))
    for group in stored.tensors.values():
        assert not any("teacher" in name for name in group)
    assert all(name.startswith("student") for name in stored.tensors["average"])
    assert any(name.startswith("second") for name in stored.tensors["method"])


def test_a_run_with_a_teacher_resumes_bit_for_bit(trained, teacher, tmp_path):
    cut = tmp_path / "cut"
    train(2, "--frozen", f"teacher={teacher}", "--out", cut)
    assert main(["resume", str(cut), "--steps", "4", "--plugin", FILE]) == 0
    whole = tmp_path / "whole"
    train(2, "--teacher", teacher, "--out", whole)
    trainer = pf.training.api.reopen(whole, plugins=[FILE], steps=4)
    trainer.advance(1e-9)
    trainer.save()
    trainer.close()
    pf.resume(whole, plugins=[FILE])
    resumed = load(latest(cut / "checkpoints")).tensors
    uninterrupted = load(latest(whole / "checkpoints")).tensors
    for group, tensors in resumed.items():
        assert tensors.keys() == uninterrupted[group].keys()
        for name, tensor in tensors.items():
            assert torch.equal(tensor, uninterrupted[group][name])


def test_what_is_not_averaged_is_the_methods_own(trained):
    method = pf.load(trained, plugins=[FILE], raw=True).method.requires_grad_(True)
    average = Average(method, half_life=1e9, share=1.0)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(1.0)
    average.update(samples=100, batch=50)
    for (name, mine), theirs in zip(
        average.method.named_parameters(), method.parameters(), strict=True
    ):
        expected = torch.full_like(mine, 0.5**0.5 if name.startswith("student") else 0.0)
        assert_close(theirs - mine, expected)
    assert all(name.startswith("student") for name in average.state_dict())


def test_parts_that_do_not_fit_are_refused(teacher, tmp_path, capsys):
    data = space_data((2,), labels=False)
    with pytest.raises(UsageError, match='The recipe ddpm has no frozen part "teacher"'):
        with_frozen("ddpm", {"teacher": teacher})
    function = pf.recipes.load_file(FILE)
    with pytest.raises(UsageError, match=r'no frozen part "techer".*Did you mean "teacher"'):
        with_frozen(function, {"techer": teacher})
    with pytest.raises(UsageError, match=r"on data of shape \(2,\)"):
        with_frozen(function, {"teacher": teacher})(space_data((17,), labels=False).space)
    with pytest.raises(CheckpointError):
        with_frozen(function, {"teacher": tmp_path / "nothing"})
    with pytest.raises(UsageError, match="the same training split"):
        with_frozen(function, {"teacher": teacher})(data.space)
    recipe = with_frozen(function, {"teacher": pf.load(teacher)})(
        pf.data.load("moons").space, "tiny"
    )
    assert recipe.builds_on[0][0] == str(teacher)


@pytest.mark.parametrize("coupling", [Independent, OptimalTransport])
def test_a_source_takes_the_place_of_noise(coupling):
    """Every row is one of the source's, in the model units of the data."""
    space = pf.data.load("moons-c2ot", limit=100).space
    source = Source("8gaussians-c2ot", space)
    couple = coupling(source=source)
    _, z = couple(torch.randn(128, 2), None, BlockDraws(0, 3, 128))
    equal = (z[:, None] == source.examples).all(2)
    assert equal.any(1).all()
    angles = torch.arange(8) * math.pi / 4
    centres = 5 * torch.stack([angles.cos(), angles.sin()], 1)
    nearest = torch.cdist(space.to_data(z), centres).min(1).values
    assert nearest.mean() < 1.5


def test_plans_permute_the_rows_of_a_source():
    space = pf.data.load("moons-c2ot", limit=100).space
    couple = OptimalTransport(64, Source("8gaussians-c2ot", space))
    x, z = couple(torch.randn(128, 2), None, BlockDraws(0, 3, 128))
    for part in (slice(0, 64), slice(64, 128)):
        costs = torch.cdist(x[part], z[part]).square()
        shuffled = costs[:, torch.randperm(64)]
        assert costs.diagonal().sum() <= shuffled.diagonal().sum()


@pytest.fixture(scope="module")
def from_source(tmp_path_factory):
    """A run of a flow that starts from a source."""
    data = pf.data.load("moons-c2ot", limit=2_000)
    recipe = pf.recipes.flow(data.space, "tiny", coupling="ot", source="8gaussians-c2ot")
    return pf.fit(recipe, data, steps=5, out=tmp_path_factory.mktemp("source") / "run")


def test_a_flow_from_a_source_starts_at_its_held_out_examples(from_source):
    flow = pf.load(from_source.folder).transport
    assert flow.source.data == "8gaussians-c2ot"
    z = flow.noise(ExampleDraws(3, 4))
    assert torch.isin(z, flow.source.held_out).all()
    of_training = torch.isin(z, flow.source.examples).all(1)
    assert not of_training.any(), "samples start from what training has not seen"
    samples = flow.sample(4, seed=3)
    assert_close(samples, flow.space.to_data(flow(z)), rtol=0, atol=1e-5)
    assert_close(flow.sample(6, seed=1)[2:], samples, rtol=0, atol=1e-5)
    assert_close(from_source.transport.sample(4), flow.sample(4))


def test_a_flow_from_a_source_knows_no_noise(from_source):
    flow = from_source.transport
    denoiser = from_source.denoiser
    x = torch.zeros(2, 2)
    t = torch.full((2,), 0.5)
    for kind in ("noise", "score"):
        with pytest.raises(UsageError, match="instead of noise"):
            denoiser.predict(kind, x, t)
    assert denoiser.predict("velocity", x, t).isfinite().all()
    for solver, grid in ((Euler(), "log_snr"), (Ancestral(), "time"), (DEIS(), None)):
        with pytest.raises(UsageError, match="instead of noise"):
            flow.with_solver(solver, 5, grid)
    with pytest.raises(UsageError, match="standard normal"):
        log_prob(flow, x)


def test_samples_take_each_held_out_example_of_the_source_once():
    space = pf.data.load("moons", limit=100).space
    source = Source("8gaussians-c2ot", space)
    n = len(source.held_out)

    def starts(seed):
        return source.starts(ExampleDraws(seed, n)).tolist()

    first = starts(1_000_000)
    second = starts(2_000_000)
    later = starts(2_000_007)
    for rows in (first, second, later):
        assert sorted(rows) == sorted(source.held_out.tolist())
    assert first != second
    assert second[7:] == later[:-7], "a function of the seed alone"
    edge = source.starts(ExampleDraws(999_998, 4))
    expected = source.starts(ExampleDraws(1_000_000, 2))
    assert_close(edge[2:], expected, rtol=0, atol=0)


def normal_rows(path, seed, n=300):
    """A file of standard normal rows."""
    rows = np.random.default_rng(seed).standard_normal((n, 2)).astype(np.float32)
    np.save(path, rows)
    return rows


def test_a_source_that_was_replaced_is_noticed_by_resume_and_by_sampling(tmp_path):
    normal_rows(tmp_path / "data.npy", 0)
    file = tmp_path / "source.npy"
    normal_rows(file, 1)
    data = pf.data.load(tmp_path / "data.npy")
    recipe = pf.recipes.flow(data.space, "tiny", source=str(file))
    folder = tmp_path / "run"
    pf.fit(recipe, data, steps=2, out=folder)
    assert pf.resume(folder, steps=3).state["step"] == 3
    normal_rows(file, 2)
    words = r"source\.npy has changed since the model was trained"
    with pytest.raises(DataError, match=words):
        pf.resume(folder, steps=4)
    with pytest.raises(DataError, match=words):
        pf.load(folder).transport.sample(2)
    file.unlink()
    words = r"no file or folder .* The model starts from examples of .*source\.npy"
    with pytest.raises(DataError, match=words):
        pf.load(folder).transport.sample(2)
    normal_rows(file, 1)
    assert pf.resume(folder, steps=4).state["step"] == 4


def test_a_source_is_read_with_the_limit_and_the_size_of_the_data(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    def pixels(seed, side):
        return np.random.default_rng(seed).integers(0, 256, (200, side, side), dtype=np.uint8)

    np.save("data.npy", pixels(0, 12))
    np.save("source.npy", pixels(1, 16))
    settings = ["--size", "tiny", "--steps", "1", "--data", "data.npy", "--source", "source.npy"]
    code = main(["train", "flow", *settings, "--resize", "6", "--limit", "50", "--out", "run"])
    assert code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    source = pf.load(tmp_path / "run").transport.source
    assert source.examples.shape == (50, 1, 6, 6)
    limited = pf.data.load(tmp_path / "source.npy", resize=6, limit=50)
    expected = source.space.to_model(limited.train.data_units())
    assert_close(source.examples, expected, rtol=0, atol=0)
    expected = source.space.to_model(limited.held_out.data_units())
    assert_close(source.held_out, expected, rtol=0, atol=0)
    assert source.fingerprint == limited.examples_fingerprint
    actual = pf.load(tmp_path / "run").spec["asked"]["source"]
    assert actual == "source.npy"


def test_a_source_that_holds_the_datas_held_out_examples_is_named(tmp_path):
    x = normal_rows(tmp_path / "data.npy", 0, n=600)
    other = normal_rows(tmp_path / "other.npy", 1, n=50)
    source = tmp_path / "source.npz"
    np.savez(source, x=x, x_test=other)
    data = pf.data.load(tmp_path / "data.npy")
    recipe = pf.recipes.flow(data.space, "tiny", source=str(source))
    run = pf.fit(recipe, data, steps=1, out=tmp_path / "run")
    results = pf.evaluate(run, data, repeats=1)
    said, _ = results.models[0].warnings
    n = len(data.held_out)
    assert said.startswith(f"{n} of the {n} held-out examples of data were training examples")
    assert "the source" in said


def test_times_are_learned_from_the_training_examples_of_the_source():
    data = pf.data.load("moons", limit=300)
    recipe = pf.recipes.flow(data.space, "tiny", source="8gaussians-c2ot")
    flow = recipe.method.transport()
    noise = Pairs.of(flow, flow, 16, 3).noise
    assert torch.isin(noise, flow.source.examples).all()
