"""Which samples that a run stored are shown, and which files of samples are refused."""

from __future__ import annotations

import io

import numpy as np
import pytest

import pushforward as pf
from pushforward.errors import CheckpointError
from pushforward.evaluation.models import history_of
from pushforward.training.monitor.standard_callbacks import SIDE


@pytest.fixture
def flow_run(tmp_path, pictured):
    return pf.fit("flow", "moons", size="tiny", steps=2, out=tmp_path / "a" / "flow")


def test_pictures_of_a_checkpoint_end_at_its_step(flow_run):
    actual = [step for step, _ in history_of(flow_run)][-1]
    assert actual == 2
    assert history_of(pf.load(flow_run.folder, checkpoint="step_000000")) == []


def test_files_that_hold_no_samples_of_the_data_are_refused(flow_run):
    last = flow_run.folder / "samples" / "step_000002.npz"
    whole = last.read_bytes()
    array = io.BytesIO()
    arrays = [np.zeros(shape, np.float32) for shape in ((), (100,), (0, 2), (100, 3), (1001, 2))]
    arrays += [
        np.full((100, 2), filling, kind)
        for filling, kind in ((0, complex), ("a", None), (None, None))
    ]
    damaged = [b"no archive", whole[: len(whole) // 2]]
    for x in arrays:
        np.savez(last, x=x)
        damaged.append(last.read_bytes())
    np.save(array, np.zeros((100, 2), np.float32))
    last.write_bytes(whole)
    raw = np.zeros((9, 2))
    scores = np.zeros((SIDE, SIDE + 1))
    np.savez(last, **dict(np.load(last)), limits=np.zeros(4), raw=raw, scores=scores)
    for content in (*damaged, array.getvalue(), last.read_bytes()):
        last.write_bytes(content)
        with pytest.raises(CheckpointError, match="valid samples"):
            history_of(flow_run)
