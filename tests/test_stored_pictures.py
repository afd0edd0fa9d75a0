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
    *_, (step, _) = history_of(flow_run)
    assert step == 2
    assert history_of(pf.load(flow_run.folder, checkpoint="step_000000")) == []


def test_files_that_hold_no_samples_of_the_data_are_refused(flow_run):
    last = flow_run.folder / "samples" / "step_000002.npz"
    whole = last.read_bytes()
    stored = dict(np.load(last))
    half = whole[: len(whole) // 2]
    array = io.BytesIO()
    np.save(array, np.zeros((100, 2), np.float32))
    for content in (b"no archive", half, array.getvalue()):
        last.write_bytes(content)
        check_refused(flow_run)
    for shape in ((), (100,), (0, 2), (100, 3), (1001, 2)):
        np.savez(last, x=np.zeros(shape, np.float32))
        check_refused(flow_run)
    for value, dtype in ((0, complex), ("a", None), (None, None)):
        np.savez(last, x=np.full((100, 2), value, dtype))
        check_refused(flow_run)
    limits = np.zeros(4)
    raw = np.zeros((9, 2))
    scores = np.zeros((SIDE, SIDE + 1))
    np.savez(last, **stored, limits=limits, raw=raw, scores=scores)
    check_refused(flow_run)


def check_refused(run):
    with pytest.raises(CheckpointError, match="valid samples"):
        history_of(run)
