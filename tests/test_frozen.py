"""Frozen parts: stored once with the run, trained by nobody, loaded by name from another run."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward import spec
from pushforward.cli import main
from pushforward.errors import CheckpointError, UsageError
from pushforward.methods.method import Freezing
from pushforward.testing import recipe_for, space_data
from pushforward.training import with_frozen
from pushforward.training.checkpoint.integrity import latest
from pushforward.training.checkpoint.stored import load
from pushforward.training.loop.ema import Average

FILE = str(Path(__file__).parent / "distilled.py")
TRAIN = ["train", FILE, "--data", "moons", "--size", "tiny", "--steps", "4"]


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


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    data = pf.data.load("moons")
    return pf.fit(recipe_for("flow", data), data, steps=2, out=tmp_path_factory.mktemp("runs") / "teacher").folder


@pytest.fixture(scope="module")
def trained(teacher, tmp_path_factory):
    """A run of a method with two networks and a teacher, whose folder has moved away since."""
    folder, moved = tmp_path_factory.mktemp("runs") / "run", teacher.parent / "moved"
    shutil.copytree(teacher, moved)
    assert main([*TRAIN, "--teacher", str(moved), "--out", str(folder)]) == 0
    shutil.rmtree(moved)
    return folder


def test_a_recipe_learns_from_the_run_that_is_named(trained, teacher, capsys):
    run = pf.load(trained, plugins=[FILE])
    for name, tensor in pf.load(teacher).transport.state_dict().items():
        assert torch.equal(run.method.parts["teacher"].state_dict()[name], tensor)
    content = json.loads((trained / "spec.json").read_text())
    assert content["parts"].keys() == {"teacher"}
    assert str(content["rows"]["builds_on"][0]).endswith("moved")
    assert content["asked"]["frozen"][0].startswith("teacher=")
    assert spec.describe(spec.build(content["method"])) == content["method"]
    stored = load(latest(trained / "checkpoints"))
    assert not any("teacher" in name for group in stored.tensors.values() for name in group)
    assert all(name.startswith("student") for name in stored.tensors["average"])
    assert any(name.startswith("second") for name in stored.tensors["method"])
    assert torch.isfinite(run.transport.sample(3)).all()


def test_a_run_with_a_teacher_resumes_bit_for_bit(trained, teacher, tmp_path):
    cut = tmp_path / "cut"
    assert main([*TRAIN[:-1], "2", "--frozen", f"teacher={teacher}", "--out", str(cut)]) == 0
    assert main(["resume", str(cut), "--steps", "4", "--plugin", FILE]) == 0
    whole = tmp_path / "whole"
    assert main([*TRAIN[:-1], "2", "--teacher", str(teacher), "--out", str(whole)]) == 0
    trainer = pf.training.api.reopen(whole, plugins=[FILE], steps=4)
    trainer.advance(1e-9)
    trainer.save()
    trainer.close()
    pf.resume(whole, plugins=[FILE])
    resumed, uninterrupted = (load(latest(folder / "checkpoints")).tensors for folder in (cut, whole))
    for group in resumed:
        assert resumed[group].keys() == uninterrupted[group].keys()
        assert all(torch.equal(tensor, uninterrupted[group][name]) for name, tensor in resumed[group].items())


def test_what_is_not_averaged_is_the_methods_own(trained):
    method = pf.load(trained, plugins=[FILE], raw=True).method.requires_grad_(True)
    average = Average(method, half_life=1e9, share=1.0)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(1.0)
    average.update(samples=100, batch=50)
    for (name, mine), theirs in zip(average.method.named_parameters(), method.parameters(), strict=True):
        torch.testing.assert_close(theirs - mine, torch.full_like(mine, 0.5**0.5 if name.startswith("student") else 0.0))
    assert all(name.startswith("student") for name in average.state_dict())


def test_parts_that_do_not_fit_are_refused(teacher, tmp_path, capsys):
    data = space_data((2,), labels=False)
    with pytest.raises(UsageError, match='The recipe ddpm has no frozen part "teacher"; it takes none'):
        with_frozen("ddpm", {"teacher": teacher})
    function = pf.recipes.load_file(FILE)
    with pytest.raises(UsageError, match=r'no frozen part "techer"; it takes teacher\. Did you mean "teacher"'):
        with_frozen(function, {"techer": teacher})
    with pytest.raises(UsageError, match=r"is for data of shape \(2,\)"):
        with_frozen(function, {"teacher": teacher})(space_data((17,), labels=False).space)
    with pytest.raises(CheckpointError):
        with_frozen(function, {"teacher": tmp_path / "nothing"})
    with pytest.raises(UsageError, match="learned from data of another mean"):
        with_frozen(function, {"teacher": teacher})(data.space)
    recipe = with_frozen(function, {"teacher": pf.load(teacher)})(pf.data.load("moons").space, "tiny")
    assert recipe.builds_on[0][0] == str(teacher)
