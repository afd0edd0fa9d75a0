"""What a run folder holds after a training was refused or killed: the run as it was, or a run that can be resumed."""

import os
import signal

import pytest

import pushforward as pf
from pushforward.errors import CheckpointError, UsageError
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training.api import prepare, reopen
from pushforward.training.checkpoint import contents
from pushforward.training.checkpoint import saver as settings
from pushforward.training.checkpoint.contents import latest
from pushforward.training.runs import folder as folders
from pushforward.training.runs import log

DATA = space_data((2,), labels=False)


def steps_of(folder):
    return [entry["step"] for entry in pf.load(folder).losses()]


@pytest.fixture
def run(tmp_path):
    return pf.fit(recipe_for("flow", DATA), DATA, steps=8, checkpoint_every=4, out=tmp_path / "run").folder


def test_a_refused_resume_from_an_older_checkpoint_changes_nothing(run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="is trained for"):
        pf.resume(run, data=DATA, checkpoint="step_000004", seconds=1e-9)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_kill_in_the_first_save_after_an_older_checkpoint_leaves_a_whole_run(run, monkeypatch):
    class Killed(BaseException):
        pass

    def dies(*_, **__):
        raise Killed

    trainer = reopen(run, data=DATA, checkpoint="step_000004", steps=12)
    trainer.advance(1e-9)
    monkeypatch.setattr(contents, "fill", dies)
    with pytest.raises(Killed):
        trainer.finish()
    monkeypatch.undo()
    assert latest(run / "checkpoints").name == "step_000004"
    assert pf.resume(run, data=DATA).state["step"] == 12
    assert steps_of(run) == list(range(1, 13))


def test_a_folder_whose_first_training_was_killed_in_its_set_up_is_free(tmp_path):
    run, child = tmp_path / "run", os.fork()
    if child == 0:
        folders.claim(run, "data", "flow")
        (run / "parts" / "coder").mkdir(parents=True)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (run / "note.txt").write_text("of somebody else")
    with pytest.raises(UsageError, match="exists already"):
        folders.claim(run, "data", "flow")
    (run / "note.txt").unlink()
    assert pf.fit(recipe_for("flow", DATA), DATA, steps=2, out=run).state["step"] == 2


def test_a_replacement_that_could_not_be_set_up_gives_the_run_its_place_again(run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="multiple of"):
        pf.fit(recipe_for("flow", DATA, batch=96, accumulate=2), DATA, steps=1, out=run, overwrite=True)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert pf.fit(recipe_for("flow", DATA), DATA, steps=2, out=run, overwrite=True).state["step"] == 2
    assert [path.name for path in run.parent.iterdir()] == ["run"]


@pytest.mark.parametrize("budget", [{"steps": 5}, {"samples": 100}])
def test_a_budget_that_is_used_up_already_is_refused_and_changes_nothing(budget, run):
    before = (run / "spec.json").read_text()
    with pytest.raises(UsageError, match=r"is trained for .* already, and .* is less"):
        pf.resume(run, data=DATA, **budget)
    assert (run / "spec.json").read_text() == before
    assert pf.resume(run, data=DATA, steps=8).state["step"] == 8


def test_checkpoints_by_the_clock_change_nothing(run, tmp_path, monkeypatch):
    """The default rule: saved after each step, killed, and saved no more before the end."""
    with monkeypatch.context() as patch:
        patch.setattr(settings, "CHECKPOINT_SECONDS", 0.0)
        trainer = prepare(recipe_for("flow", DATA), DATA, steps=8, out=tmp_path / "cut")
        for _ in range(3):
            trainer.advance(1e-9)
        assert trainer.saver.step == 3
        del trainer
    pf.resume(tmp_path / "cut", data=DATA)
    assert_same(final_state(run), final_state(tmp_path / "cut"))


def test_rows_are_dropped_in_one_move(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    log.append(path, [{"step": step, "loss": {}} for step in (1, 2, 3)])
    whole = path.read_text()

    def refuses(*_):
        raise OSError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuses)
        with pytest.raises(CheckpointError, match="no space"):
            log.cut(path, 2)
    assert path.read_text() == whole
    log.cut(path, 2)
    assert [row["step"] for row in log.read(path)] == [1, 2]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.jsonl"]
