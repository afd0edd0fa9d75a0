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


def test_joined_reports_show_the_samples_that_their_runs_stored(tmp_path, flow_run):
    folder, model = flow_run.folder, scored(flow_run)
    stored_report(tmp_path / "a" / "flow.json", flow_run, model)
    stored_report(tmp_path / "a" / "gone.json", flow_run, dataclasses.replace(model, name="gone", run=str(tmp_path / "gone")))
    both = pf.compare([tmp_path / "a" / "flow.json", tmp_path / "a" / "gone.json"])
    samples = np.load(folder / "samples" / "step_000002.npz")["x"]
    assert np.array_equal(both.pictures["flow"].grid, samples[: len(both.pictures["flow"].grid)])
    assert [step for step, _ in both.pictures["flow"].training][-1] == 2
    assert both.pictures["real"].grid.shape == both.pictures["flow"].grid.shape
    for text in (Report(both).to_text(True), Report(both).to_markdown(), Report(both).to_html()):
        assert "samples of gone" in " ".join(text.split())
    (tmp_path / "a").rename(tmp_path / "moved")
    alone = tmp_path / "moved" / "flow.json"
    assert stored(alone).pictures["flow"].grid is not None, "the run lies beside the report"
    pf.resume(tmp_path / "moved" / "flow", steps=3)
    assert stored(alone).pictures == {"flow": Pictures()}, "samples of another step were not scored"


def test_files_that_hold_no_samples_of_the_data_are_not_shown(tmp_path, flow_run):
    model, last = scored(flow_run), flow_run.folder / "samples" / "step_000002.npz"
    whole, array = last.read_bytes(), io.BytesIO()
    arrays = [np.zeros(shape, np.float32) for shape in ((), (100,), (0, 2), (100, 3), (1001, 2))]
    arrays += [np.full((100, 2), filling, kind) for filling, kind in ((0, complex), ("a", None), (None, None))]
    damaged = [b"no archive", whole[: len(whole) // 2]]
    for x in arrays:
        np.savez(last, x=x)
        damaged.append(last.read_bytes())
    np.save(array, np.zeros((100, 2), np.float32))
    last.write_bytes(whole)
    samples = dict(np.load(last))
    for corners, count in (((0.0, 1.0, 0.0, 1.0), 1), ((1.0, 1.0, 0.0, 1.0), 0), ((0.0, np.nan, 0.0, 1.0), 0)):
        raw, scores = np.zeros((9, 2), np.float32), np.zeros((SIDE, SIDE), np.float32)
        np.savez(last, **samples, limits=np.array(corners), raw=raw, scores=scores)
        drawn = stored_report(tmp_path / "it.json", flow_run, model).pictures["flow"]
        assert drawn.grid is not None
        assert len(drawn.landscapes) == count
    np.savez(last, **samples, limits=np.zeros(4), raw=raw, scores=np.zeros((SIDE, SIDE + 1)))
    assert stored_report(tmp_path / "it.json", flow_run, model).pictures["flow"].grid is None


def test_pictures_of_a_checkpoint_end_at_its_step(flow_run):
    assert [step for step, _ in history_of(flow_run)][-1] == 2
    assert history_of(pf.load(flow_run.folder, checkpoint="step_000000")) == []
