"""Kinds of data: a plug-in's space from the command line to the report, and what every space must
answer.
"""

import json
import os
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward import recipes, spec
from pushforward.cli import main
from pushforward.data import Split, measure
from pushforward.data.spaces.space import kind_of
from pushforward.evaluation.models import history_of
from pushforward.registries import PARTS
from pushforward.runtime import laid_out
from pushforward.testing import Broken, assert_same, check_space, final_state

FILE = Path(__file__).parents[1] / "docs" / "examples" / "clips.py"


def restore_parts(before):
    PARTS.added.clear()
    PARTS.added.update(before)


@pytest.fixture(scope="module")
def plugin():
    """The plug-in's classes by name; what it registers is forgotten afterwards."""
    before = dict(PARTS.added)
    function = recipes.load_file(FILE)
    module = sys.modules[function.__module__]
    yield vars(module)
    restore_parts(before)


def killed_after_three_steps(folder):
    """A run whose last step was not saved."""
    trainer = pf.training.api.reopen(folder, plugins=["./clips.py"], steps=6)
    trainer.advance(1e-9)
    trainer.save()
    trainer.advance(1e-9)
    trainer.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with the file, the data and two runs: one trained for six steps, one killed after
    three and resumed.
    """
    folder = tmp_path_factory.mktemp("clips")
    before = os.getcwd()
    known = dict(PARTS.added)
    shutil.copy(FILE, folder / "clips.py")
    os.chdir(folder)
    os.environ["PUSHFORWARD_CACHE"] = str(folder / "cache")
    x = runpy.run_path("clips.py")["moving_squares"](240)
    np.savez_compressed("squares.npz", x=x)
    train = shlex.split("train ./clips.py --data squares.npz --batch 32 --width 8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pushforward.training.monitor.standard_callbacks.PICTURES", (0.0, 0.5, 1.0))
        assert main([*train, "--steps", "6", "--out", "whole"]) == 0
    assert main([*train, "--steps", "2", "--out", "cut"]) == 0
    killed_after_three_steps(folder / "cut")
    assert main(["resume", "cut", "--plugin", "./clips.py"]) == 0
    yield folder
    os.chdir(before)
    restore_parts(known)


def test_clips_are_trained_and_resumed_bit_for_bit(runs):
    whole = runs / "whole"
    assert_same(final_state(whole), final_state(runs / "cut"))
    run = pf.load(whole, plugins=["./clips.py"])
    assert type(run.space).__name__ == "VideoSpace"
    assert run.space.shape == (4, 1, 8, 8)
    method = json.loads((whole / "spec.json").read_text())["method"]
    assert method["denoiser"]["space"]["part"] == "VideoSpace"
    assert spec.describe(spec.build(method)) == method
    shapes = {x.shape[1:] for _, x in history_of(run)}
    assert shapes == {(8, 32, 1)}, "pictures of frames side by side"
    assert repr(run.sample(2)) == "Samples(2 of 4x1x8x8, clips in data units)"


def split_of(noun):
    """A split of a kind of data."""
    random = np.random.default_rng(1)
    if noun == "vector":
        return (random.normal(size=(30, 6)) * 3 + 1).astype(np.float32)
    shape = {"image": (3, 4, 5), "clip": (2, 3, 4, 5)}[noun]
    return random.integers(0, 256, (30, *shape), dtype=np.uint8)


@pytest.mark.parametrize("noun", ["image", "vector", "clip"])
def test_what_every_space_answers(plugin, noun):
    x = split_of(noun)
    check_space(kind_of(x), x)
    space = measure(x)
    assert space.noun == noun
    sides = [side for side in range(x.ndim) if side != 1 + space.axis]
    model = space.to_model(Split(x).data_units().double())
    unit = model.std(sides, correction=0)
    assert torch.allclose(unit, torch.ones_like(unit), atol=1e-6)


WRONG_SCALE = "`scale` must be the standard deviations"
WRONG = {
    "scale": (property(lambda self: np.ones(self.size, np.float32)), WRONG_SCALE),
    "log_det": (property(lambda self: 0.0), WRONG_SCALE),
    "axis": (0, "mean 0"),
    "as_points": (True, "drawn as pictures, or as points"),
    "accepts": (classmethod(lambda cls, x: False), "VideoSpace: no other kind may accept"),
}


def measured_along_frames(cls, x):
    return cls(x.shape[1:], (0.3, 0.5), (0.2, 0.1))


@pytest.mark.parametrize("name", WRONG)
def test_a_space_that_answers_wrongly_is_told_what_is_wrong(plugin, monkeypatch, name):
    kind = plugin["VideoSpace"]
    channels = np.linspace(0.2, 1, 3)[:, None, None]
    x = (split_of("clip") * channels).astype(np.uint8)
    check_space(kind, x)
    answer, says = WRONG[name]
    monkeypatch.setattr(kind, name, answer)
    if name == "axis":
        monkeypatch.setattr(kind, "_view", lambda self: (1, -1, 1, 1, 1))
        monkeypatch.setattr(kind, "measured", classmethod(measured_along_frames))
    with pytest.raises(Broken, match=says):
        check_space(kind, x)


def test_kernels_of_other_dimensions_stay_where_they_are():
    flat = nn.Conv2d(3, 4, 3)
    deep = nn.Conv3d(3, 4, 3)
    both = nn.ModuleList([flat, deep])
    weights = [module.weight.detach().clone() for module in both]
    laid_out(both, torch.channels_last)
    assert flat.weight.is_contiguous(memory_format=torch.channels_last)
    laid_out(both, torch.channels_last_3d)
    assert deep.weight.is_contiguous(memory_format=torch.channels_last_3d)
    for module, weight in zip(both, weights, strict=True):
        assert torch.equal(module.weight, weight)
    linear = laid_out(nn.Linear(2, 2), torch.contiguous_format)
    assert linear.weight.is_contiguous()
