"""Trackers receive each step once, change nothing of a training, and may fail."""

import json
import sys
from unittest.mock import MagicMock

import pytest
import torch

from pushforward.errors import CheckpointError
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.trackers import Tracker
from pushforward.training.api import prepare, reopen
from pushforward.training.runs.log import read

DATA = space_data((2,), labels=False)


class Notes(Tracker):
    """Writes down what it receives, draws random numbers, and fails where it is told to."""

    def __init__(self, fails=None):
        self.fails = fails
        self.calls = []
        self.rows = []
        self.drawn = []

    def start(self, folder, facts, config, known):
        assert facts["seed"] == config["seed"] == 1
        self._note("start", known)
        return known or "first-1"

    def log(self, step, numbers):
        torch.rand(3)
        self._note("log")
        self.rows.append((step, numbers))

    def pictures(self, step, paths):
        assert all(path.is_file() and path.suffix == ".png" for path in paths)
        self.drawn.append(step)

    def finish(self, status):
        self._note("finish", status)

    def _note(self, call, *said):
        if call == self.fails:
            raise OSError("no connection")
        if call != "log":
            self.calls.append((call, *said))

    @property
    def steps(self):
        return [step for step, _ in self.rows]


def begun(folder, *trackers, steps=4, **options):
    return prepare(
        recipe_for("flow", DATA),
        DATA,
        steps=steps,
        out=folder,
        trackers=trackers,
        seed=1,
        **options,
    )


def up_to(trainer, step):
    while trainer.clock.step < step:
        trainer.advance(1e-9)
    return trainer


def test_each_step_is_logged_once_and_nothing_changes(pictured, tmp_path):
    begun(tmp_path / "alone").advance()
    notes = Notes()
    up_to(begun(tmp_path / "run", notes), 2).finish()
    reopen(tmp_path / "run", data=DATA, trackers=notes).advance()
    assert_same(final_state(tmp_path / "alone"), final_state(tmp_path / "run"))
    assert notes.calls == [
        ("start", None),
        ("finish", "stopped"),
        ("start", "first-1"),
        ("finish", "finished"),
    ]
    rows = read(tmp_path / "run" / "metrics.jsonl")
    assert notes.steps == [row["step"] for row in rows] == [1, 2, 3, 4]
    for row, (_, numbers) in zip(rows, notes.rows, strict=True):
        assert numbers["loss/denoiser"] == row["loss"]["denoiser"]
        assert (numbers["progress/samples"], numbers["progress/seconds"]) == (
            row["samples"],
            row["seconds"],
        )
        assert 0 < numbers["lr/denoiser"] <= 1e-2
    assert (
        notes.rows[0][1]["health/gradient_norm/denoiser"]
        == rows[0]["health"]["gradient_norm/denoiser"]
    )
    assert notes.rows[-1][1]["lr/denoiser"] < notes.rows[0][1]["lr/denoiser"], (
        "the rate of the step, which falls at the end"
    )
    assert notes.drawn == [4]


@pytest.mark.parametrize("fails", ["start", "log", "finish"])
def test_a_tracker_that_fails_is_dropped_with_one_warning(fails, tmp_path):
    class Others(Notes):
        pass

    bad = Notes(fails)
    good = Others()
    with pytest.warns(UserWarning, match="notes failed .* no connection") as given:
        begun(tmp_path / "run", bad, good).advance()
    assert len(given) == 1
    assert good.steps == [1, 2, 3, 4]


def test_identities_are_not_taken_from_a_folder_unchecked(tmp_path):
    notes = Notes()
    up_to(begun(tmp_path / "run", notes), 2).finish()
    (tmp_path / "run" / "trackers.json").write_text(
        json.dumps({"runs": {"notes": "../../elsewhere"}})
    )
    reopen(tmp_path / "run", data=DATA, trackers=notes).advance()
    assert ("start", "../../elsewhere") not in notes.calls
    (tmp_path / "run" / "trackers").mkdir()
    (tmp_path / "run" / "trackers" / "tensorboard").symlink_to(tmp_path)
    with pytest.raises(CheckpointError, match="is not a regular file"):
        reopen(tmp_path / "run", data=DATA, trackers=notes)


def test_tensorboard_reads_what_was_written(pictured, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    up_to(begun(tmp_path / "run", "tensorboard"), 2).finish()
    reopen(tmp_path / "run", data=DATA, trackers="tensorboard").advance()
    events = accumulator.EventAccumulator(
        str(tmp_path / "run" / "trackers" / "tensorboard")
    ).Reload()
    rows = read(tmp_path / "run" / "metrics.jsonl")
    written = [(event.step, event.value) for event in events.Scalars("loss/denoiser")]
    assert written == [(row["step"], pytest.approx(row["loss"]["denoiser"])) for row in rows]
    assert [event.step for event in events.Images("pictures/samples")] == [4]


def test_wandb_is_offline_and_goes_on_with_its_run(tmp_path, monkeypatch):
    wandb = MagicMock()
    wandb.init.return_value.id = "abc123"
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    up_to(begun(tmp_path / "run", "wandb"), 2).finish()
    monkeypatch.setenv("WANDB_MODE", "online")
    reopen(tmp_path / "run", data=DATA, trackers="wandb").advance()
    begins = [call.kwargs for call in wandb.init.call_args_list]
    assert [(options["mode"], options["id"]) for options in begins] == [
        ("offline", None),
        ("online", "abc123"),
    ]
    rows = wandb.init.return_value.log.call_args_list
    assert [call.kwargs["step"] for call in rows if "loss/denoiser" in call.args[0]] == [1, 2, 3, 4]


def test_mlflow_writes_into_the_folder_and_goes_on_with_its_run(tmp_path, monkeypatch):
    mlflow = MagicMock()
    entities = MagicMock()
    entities.Metric = lambda name, value, time, step: (name, step)
    client = mlflow.MlflowClient.return_value
    client.create_run.return_value.info.run_id = "abc123"
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    up_to(begun(tmp_path / "run", "mlflow"), 2).finish()
    reopen(tmp_path / "run", data=DATA, trackers="mlflow").advance()
    assert {call.args for call in mlflow.MlflowClient.call_args_list} == {
        ((tmp_path / "run/trackers/mlruns").as_uri(),)
    }
    assert client.create_run.call_count == 1
    logged = [
        metric for call in client.log_batch.call_args_list for metric in call.kwargs["metrics"]
    ]
    assert [step for name, step in logged if name == "loss/denoiser"] == [1, 2, 3, 4]
    assert [call.args for call in client.set_terminated.call_args_list] == [
        ("abc123", "KILLED"),
        ("abc123", "FINISHED"),
    ]


def test_a_tracker_that_joins_later_receives_the_steps_before(tmp_path):
    notes = Notes()
    up_to(begun(tmp_path / "run"), 2).finish()
    reopen(tmp_path / "run", data=DATA, trackers=notes).advance()
    assert notes.steps == [1, 2, 3, 4]
