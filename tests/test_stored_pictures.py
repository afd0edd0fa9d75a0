"""Whose stored samples are shown where reports are joined, and which files of samples are refused."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
from programs.compared import compared

import pushforward as pf
from pushforward.evaluation.cost import solver_title
from pushforward.evaluation.measurements import Pictures, SamplingCost
from pushforward.evaluation.merge import stored
from pushforward.evaluation.results import DataInfo, ModelResult, Protocol
from pushforward.evaluation.run_results import history_of, of_run
from pushforward.metrics import Score
from pushforward.report import Report
from pushforward.training.monitor.critic_landscape import SIDE
from pushforward.transports import has_steps


def scored(run, name="flow"):
    """The result of a run as a comparison has it, with a score that was not computed."""
    flow, steps = run.transport, has_steps(run.transport)
    cost = SamplingCost(solver_title(flow) if steps else None, flow.steps if steps else None, calls=1)
    return of_run(ModelResult(name, scores={"frechet": Score(0.2, 0.01)}, sampling=cost), run)


def stored_report(path, run, *models):
    """A stored comparison of models on the data of a run, as it is read."""
    data = DataInfo("moons", (2,), "vector", fingerprint=run.spec["fingerprint"])
    comparison = compared({}, data=data, protocol=Protocol("it", "it", 20))
    Report(dataclasses.replace(comparison, models=models)).save(path)
    return stored(path)


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
    arrays += [
        np.full((100, 2), filling, kind) for filling, kind in ((0, complex), ("a", None), (np.nan, np.float32), (None, None))
    ]
    for x in arrays:
        np.savez(last, x=x)
        assert stored_report(tmp_path / "it.json", flow_run, model).pictures["flow"] == Pictures(), (x.shape, x.dtype)
    np.save(array, np.zeros((100, 2), np.float32))
    for damaged in (b"no archive", whole[: len(whole) // 2], array.getvalue()):
        last.write_bytes(damaged)
        assert stored_report(tmp_path / "it.json", flow_run, model).pictures["flow"].grid is None
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
