"""Kinds of data: a plug-in's space from the command line to the report, and what every space must
answer.
"""

import json
import os
import runpy
import shutil
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


@pytest.fixture(scope="module")
def plugin():
    """The plug-in's classes by name; what it registers is forgotten afterwards."""
    before = dict(PARTS.added)
    function = recipes.load_file(FILE)
    yield {**vars(__import__("sys").modules[function.__module__])}
    PARTS.added.clear()
    PARTS.added.update(before)


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
    train = ["train", "./clips.py", "--data", "squares.npz", "--batch", "32", "--width", "8"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pushforward.training.monitor.standard_callbacks.PICTURES", (0.0, 0.5, 1.0))
        assert main([*train, "--steps", "6", "--out", "whole"]) == 0
    assert main([*train, "--steps", "2", "--out", "cut"]) == 0
    trainer = pf.training.api.reopen(folder / "cut", plugins=["./clips.py"], steps=6)
    trainer.advance(1e-9)
    trainer.save()
    trainer.advance(1e-9)
    trainer.close()
    del trainer  # a kill: the last step was not saved
    assert main(["resume", "cut", "--plugin", "./clips.py"]) == 0
    yield folder
    os.chdir(before)
    PARTS.added.clear()
    PARTS.added.update(known)


def test_clips_are_trained_and_resumed_bit_for_bit(runs):
    assert_same(final_state(runs / "whole"), final_state(runs / "cut"))
    run = pf.load(runs / "whole", plugins=["./clips.py"])
    assert type(run.space).__name__ == "VideoSpace"
    assert run.space.shape == (4, 1, 8, 8)
    content = json.loads((runs / "whole" / "spec.json").read_text())
    assert content["method"]["denoiser"]["space"]["part"] == "VideoSpace"
    description = spec.describe(spec.build(content["method"]))
    assert description == content["method"]
    assert {x.shape[1:] for _, x in history_of(run)} == {(8, 32, 1)}, (
        "pictures of frames side by side"
    )
    assert repr(run.sample(2)) == "Samples(2 of 4x1x8x8, clips in data units)"


def spaces(plugin):
    """A split of each kind of data."""
    random = np.random.default_rng(1)
    return {
        "image": random.integers(0, 256, (30, 3, 4, 5)).astype(np.uint8),
        "vector": (random.normal(size=(30, 6)) * 3 + 1).astype(np.float32),
        "clip": random.integers(0, 256, (30, 2, 3, 4, 5)).astype(np.uint8),
    }


@pytest.mark.parametrize("noun", ["image", "vector", "clip"])
def test_what_every_space_answers(plugin, noun):
    x = spaces(plugin)[noun]
    check_space(kind_of(x), x)
    space = measure(x)
    assert space.noun == noun
    sides = [side for side in range(x.ndim) if side != 1 + space.axis]
    unit = space.to_model(Split(x).data_units().double()).std(sides, correction=0)
    assert torch.allclose(unit, torch.ones_like(unit), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "wrong", "says"),
    [
        (
            "scale",
            property(lambda self: np.ones(self.size, np.float32)),
            "`scale` must be the standard deviations",
        ),
        ("log_det", property(lambda self: 0.0), "`scale` must be the standard deviations"),
        ("axis", 0, "mean 0"),
        ("as_points", True, "drawn as pictures, or as points"),
        ("accepts", classmethod(lambda cls, x: False), "VideoSpace: no other kind may accept"),
    ],
)
def test_a_space_that_answers_wrongly_is_told_what_is_wrong(plugin, monkeypatch, name, wrong, says):
    kind = plugin["VideoSpace"]
    x = spaces(plugin)["clip"]
    x = (x * np.linspace(0.2, 1, 3)[:, None, None]).astype(np.uint8)  # channels that differ
    check_space(kind, x)
    monkeypatch.setattr(kind, name, wrong)
    if name == "axis":
        monkeypatch.setattr(kind, "_view", lambda self: (1, -1, 1, 1, 1))
        monkeypatch.setattr(
            kind, "measured", classmethod(lambda cls, x: cls(x.shape[1:], (0.3, 0.5), (0.2, 0.1)))
        )
    with pytest.raises(Broken, match=says):
        check_space(kind, x)


def test_kernels_of_other_dimensions_stay_where_they_are():
    both = nn.ModuleList([nn.Conv2d(3, 4, 3), nn.Conv3d(3, 4, 3)])
    weights = [module.weight.detach().clone() for module in both]
    for memory_format, changed in ((torch.channels_last, 0), (torch.channels_last_3d, 1)):
        laid_out(both, memory_format)
        assert both[changed].weight.is_contiguous(memory_format=memory_format)
    assert all(
        torch.equal(module.weight, weight) for module, weight in zip(both, weights, strict=True)
    )
    assert laid_out(nn.Linear(2, 2), torch.contiguous_format).weight.is_contiguous()
