"""Whose stored samples are shown where reports are joined, and which files of samples are refused."""

from __future__ import annotations

import dataclasses
import io
import shutil

import numpy as np
import pytest
from programs.compared import compared

import pushforward as pf
from pushforward.evaluation.cost import solver_title
from pushforward.evaluation.drawing import history_of
from pushforward.evaluation.figures import Absent, Pictures
from pushforward.evaluation.joining import stored
from pushforward.evaluation.measurements import SamplingCost
from pushforward.evaluation.protocol import Protocol
from pushforward.evaluation.results import DataInfo, ModelResult, Score
from pushforward.evaluation.run_results import of_run
from pushforward.report import Report
from pushforward.report.facts import absent
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
    assert stored(alone).pictures == {"flow": Pictures(absent=Absent.TRAINED)}, "samples of another step were not scored"


def test_pictures_of_a_checkpoint_end_at_its_step(flow_run):
    assert [step for step, _ in history_of(flow_run)][-1] == 2
    assert history_of(pf.load(flow_run.folder, checkpoint="step_000000")) == []


def test_samples_of_a_run_are_those_of_the_model_that_was_scored(tmp_path, flow_run):
    def absent(model):
        return stored_report(tmp_path / "it.json", flow_run, model).pictures["flow"].absent

    model = scored(flow_run)
    hashed, settled = dataclasses.replace(model, config={}), dataclasses.replace(model, origin={})
    assert [absent(same) for same in (model, hashed, settled)] == [None] * 3
    assert absent(dataclasses.replace(hashed, origin={})) == Absent.OTHER, "nothing says that it is the same run"
    folder = flow_run.folder
    others = (
        flow_run.configured(steps=1),
        flow_run.configured(solver="heun"),
        flow_run.configured(weaker=folder),
        pf.load(folder, raw=True),
    )
    assert [absent(scored(other)) for other in others] == [Absent.SAMPLING] * 4
    assert absent(dataclasses.replace(model, run=None)) == Absent.NO_RUN
    unmarked_steps = dataclasses.replace(scored(others[0]), origin=model.origin)
    assert absent(unmarked_steps) == Absent.SAMPLING, "an earlier version did not mark options"
    (folder / "samples" / "step_000002.npz").rename(folder / "samples" / "step_000001.npz")
    assert absent(model) == Absent.NOT_STORED
    shutil.rmtree(folder)
    assert absent(model) == Absent.GONE
    assert absent(dataclasses.replace(model, run="a" * 300)) == Absent.GONE
    pf.fit("gan", "moons", size="tiny", steps=2, out=folder)
    assert [absent(other) for other in (model, hashed, settled)] == [Absent.OTHER] * 3


def test_arrays_that_are_no_samples_of_the_data_are_not_shown(tmp_path, flow_run):
    shapes = ((), (100,), (0, 2), (100, 3), (1001, 2))
    arrays = [np.zeros(shape, np.float32) for shape in shapes]
    arrays += [
        np.full((100, 2), filling, kind) for filling, kind in ((0, complex), ("a", None), (np.nan, np.float32), (None, None))
    ]
    for x in arrays:
        np.savez(flow_run.folder / "samples" / "step_000002.npz", x=x)
        report = stored_report(tmp_path / "it.json", flow_run, scored(flow_run))
        assert report.pictures == {"flow": Pictures(absent=Absent.UNREADABLE)}, (x.shape, x.dtype)


def test_damaged_files_of_samples_are_not_shown(tmp_path, flow_run):
    model, last = scored(flow_run), flow_run.folder / "samples" / "step_000002.npz"
    whole = last.read_bytes()
    array = io.BytesIO()
    np.save(array, np.zeros((100, 2), np.float32))
    for damaged in (b"no archive", whole[: len(whole) // 2], array.getvalue()):
        last.write_bytes(damaged)
        assert stored_report(tmp_path / "it.json", flow_run, model).pictures["flow"].absent == Absent.UNREADABLE
    last.write_bytes(whole)
    samples = dict(np.load(last))
    for corners, count in (((0.0, 1.0, 0.0, 1.0), 1), ((1.0, 1.0, 0.0, 1.0), 0), ((0.0, np.nan, 0.0, 1.0), 0)):
        raw, scores = np.zeros((9, 2), np.float32), np.zeros((SIDE, SIDE), np.float32)
        np.savez(last, **samples, limits=np.array(corners), raw=raw, scores=scores)
        drawn = stored_report(tmp_path / "it.json", flow_run, model).pictures["flow"]
        assert drawn.grid is not None
        assert len(drawn.landscapes) == count
    np.savez(last, **samples, limits=np.zeros(4), raw=raw, scores=np.zeros((SIDE, SIDE + 1)))
    assert stored_report(tmp_path / "it.json", flow_run, model).pictures["flow"].absent == Absent.UNREADABLE


def test_a_stored_model_named_real_is_not_taken_for_real_data(tmp_path, flow_run):
    report = stored_report(tmp_path / "it.json", flow_run, scored(flow_run, "real"), scored(flow_run, "real (model)"))
    assert [model.name for model in report.models] == ["real (model 2)", "real (model)"]
    assert np.array_equal(report.pictures["real (model 2)"].grid, report.pictures["real (model)"].grid)
    assert not np.array_equal(report.pictures["real"].grid, report.pictures["real (model)"].grid)


def test_the_report_says_why_samples_of_stored_models_are_not_shown():
    models = (*(ModelResult(name, run=name) for name in ("flow", "gan", "vae", "edm")), ModelResult("bare"))
    whys = {"flow": Absent.TRAINED, "gan": Absent.GONE, "vae": Absent.GONE}
    pictures = {name: Pictures(absent=why) for name, why in whys.items()}
    comparison = compared({}, data=DataInfo(shape=(2,)))
    assert absent(dataclasses.replace(comparison, models=models, pictures=pictures)).endswith(
        "flow (its run has been trained further since); gan, vae (the folders of their runs are not where they were); edm."
    )
    assert absent(dataclasses.replace(comparison, models=models[-1:])) == "", "samples alone have no run"
