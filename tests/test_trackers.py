"""Trackers receive each step once, change nothing of a training, and may fail."""

import functools
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


def begun(folder, *trackers, **options):
    recipe = recipe_for("flow", DATA)
    return prepare(recipe, DATA, steps=4, out=folder, trackers=trackers, seed=1, **options)


def stopped_and_resumed(folder, tracker, between=lambda: None):
    """Train two steps with a tracker, stop, and resume to the end."""
    up_to(begun(folder, tracker), 2).finish()
    between()
    reopen(folder, data=DATA, trackers=tracker).advance()


def up_to(trainer, step):
    while trainer.clock.step < step:
        trainer.advance(1e-9)
    return trainer


def test_each_step_is_logged_once_and_nothing_changes(pictured, tmp_path):
    alone = tmp_path / "alone"
    folder = tmp_path / "run"
    begun(alone).advance()
    notes = Notes()
    stopped_and_resumed(folder, notes)
    assert_same(final_state(alone), final_state(folder))
    assert notes.calls == [
        ("start", None),
        ("finish", "stopped"),
        ("start", "first-1"),
        ("finish", "finished"),
    ]
    assert notes.steps == [1, 2, 3, 4]
    assert notes.drawn == [4]
    rows = read(folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == notes.steps
    logged = [numbers for _, numbers in notes.rows]
    for row, numbers in zip(rows, logged, strict=True):
        assert numbers["loss/denoiser"] == row["loss"]["denoiser"]
        assert numbers["progress/samples"] == row["samples"]
        assert numbers["progress/seconds"] == row["seconds"]
        assert 0 < numbers["lr/denoiser"] <= 1e-2
    gradient_norm = logged[0]["health/gradient_norm/denoiser"]
    assert gradient_norm == rows[0]["health"]["gradient_norm/denoiser"]
    rates = [numbers["lr/denoiser"] for numbers in logged]
    assert rates[-1] < rates[0], "the rate of the step, which falls at the end"


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
    folder = tmp_path / "run"
    notes = Notes()
    elsewhere = "../../elsewhere"
    identities = json.dumps({"runs": {"notes": elsewhere}})
    stopped_and_resumed(folder, notes, lambda: (folder / "trackers.json").write_text(identities))
    assert ("start", elsewhere) not in notes.calls
    trackers = folder / "trackers"
    trackers.mkdir()
    (trackers / "tensorboard").symlink_to(tmp_path)
    with pytest.raises(CheckpointError, match="is not a regular file"):
        reopen(folder, data=DATA, trackers=notes)


def test_tensorboard_reads_what_was_written(pictured, tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    folder = tmp_path / "run"
    stopped_and_resumed(folder, "tensorboard")
    written = folder / "trackers" / "tensorboard"
    events = accumulator.EventAccumulator(str(written)).Reload()
    scalars = events.Scalars("loss/denoiser")
    for event, row in zip(scalars, read(folder / "metrics.jsonl"), strict=True):
        assert event.step == row["step"]
        assert event.value == pytest.approx(row["loss"]["denoiser"])
    assert [event.step for event in events.Images("pictures/samples")] == [4]


def test_wandb_is_offline_and_goes_on_with_its_run(tmp_path, monkeypatch):
    wandb = MagicMock()
    run = wandb.init.return_value
    run.id = "abc123"
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    online = functools.partial(monkeypatch.setenv, "WANDB_MODE", "online")
    stopped_and_resumed(tmp_path / "run", "wandb", online)
    begins = [call.kwargs for call in wandb.init.call_args_list]
    assert [options["mode"] for options in begins] == ["offline", "online"]
    assert [options["id"] for options in begins] == [None, "abc123"]
    losses = [call for call in run.log.call_args_list if "loss/denoiser" in call.args[0]]
    assert [call.kwargs["step"] for call in losses] == [1, 2, 3, 4]


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
    folder = tmp_path / "run"
    stopped_and_resumed(folder, "mlflow")
    address = (folder / "trackers/mlruns").as_uri()
    assert {call.args for call in mlflow.MlflowClient.call_args_list} == {(address,)}
    assert client.create_run.call_count == 1
    steps = []
    for call in client.log_batch.call_args_list:
        steps += [step for name, step in call.kwargs["metrics"] if name == "loss/denoiser"]
    assert steps == [1, 2, 3, 4]
    ends = [call.args for call in client.set_terminated.call_args_list]
    assert ends == [("abc123", "KILLED"), ("abc123", "FINISHED")]


def test_a_tracker_that_joins_later_receives_the_steps_before(tmp_path):
    notes = Notes()
    folder = tmp_path / "run"
    up_to(begun(folder), 2).finish()
    reopen(folder, data=DATA, trackers=notes).advance()
    assert notes.steps == [1, 2, 3, 4]
