"""Runs of earlier versions load and resume (``golden/folders.py``)."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from golden.folders import RECIPES, STEPS, STOPPED, data

import pushforward as pf
from pushforward.training.runs.spec_file import FORMAT

FOLDERS = sorted(
    path.parent for path in (Path(__file__).parent / "golden").glob("*-format-*/spec.json")
)


def test_the_present_format_is_recorded():
    """Where it changes, record it (``python tests/golden/folders.py``) and keep the folders of
    before.
    """
    assert {f"{name}-format-{FORMAT}" for name in RECIPES} <= {folder.name for folder in FOLDERS}


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
