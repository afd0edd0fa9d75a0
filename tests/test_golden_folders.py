"""Runs of earlier versions load and resume (``golden/folders.py``)."""

import inspect
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from golden.folders import RECIPES, STEPS, STOPPED, data

import pushforward as pf
from pushforward.registries import PARTS, RENAMED, RETIRED
from pushforward.testing import recipe_for, space_data
from pushforward.training.runs.spec_file import FORMAT

FOLDERS = sorted(
    path.parent for path in (Path(__file__).parent / "golden").glob("*-format-*/spec.json")
)


def test_the_present_format_is_recorded():
    """Where it changes, record it (``python tests/golden/folders.py``) and keep the folders of
    before.
    """
    assert {f"{name}-format-{FORMAT}" for name in RECIPES} <= {folder.name for folder in FOLDERS}


ARGUMENTS = json.loads((Path(__file__).parent / "golden" / "arguments.json").read_text())


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_of_version_0_2_are_known_or_retired(name):
    """Specs store the arguments of classes, which have changed since."""
    name_now = RENAMED.get(name, name)
    parameters = inspect.signature(PARTS[name_now]).parameters
    retired = RETIRED.get(name_now, {})
    assert set(ARGUMENTS[name].split()) <= {*parameters, *retired}


def test_parameters_of_a_likelihood_keep_their_numbers():
    """Stored optimiser states number the parameters in their order."""
    method = recipe_for("hvae", space_data((2,), labels=False)).method
    names = [name.partition(".")[0] for name, _ in method.named_parameters()]
    parts = list(dict.fromkeys(names))
    assert parts == ["encoder", "decoder", "upper_encoder", "upper_decoder", "likelihood"]


@pytest.mark.parametrize("golden", FOLDERS, ids=lambda folder: folder.name)
def test_a_run_of_an_earlier_version_loads_and_ends_as_it_would_have(golden, tmp_path):
    end = json.loads((golden / "end.json").read_text())
    folder = tmp_path / "run"
    shutil.copytree(golden, folder)
    loaded = pf.load(folder)
    assert loaded.state["step"] == STOPPED
    assert loaded.transport.sample(3).shape == (3, 2)
    run = pf.resume(folder, data=data())
    rows = run.losses()
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    for player in end["losses"][0]:
        losses, wanted = (
            [step[player] for step in steps]
            for steps in ([row["loss"] for row in rows], end["losses"])
        )
        np.testing.assert_allclose(losses, wanted, rtol=1e-4)
    actual = run.transport.sample(5, seed=1).numpy()
    np.testing.assert_allclose(actual, end["samples"], rtol=1e-3, atol=1e-4)
