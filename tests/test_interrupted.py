"""What a run folder holds after a training was refused or killed: the run as it was, or a run that can be resumed."""

import os
import signal

import pytest

import pushforward as pf
from pushforward.errors import CheckpointError, UsageError
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training import checkpoint
from pushforward.training import options as settings
from pushforward.training.api import prepare, reopen
from pushforward.training.runs import folder as claiming
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


def test_until_an_older_checkpoint_has_been_trained_and_saved_the_run_stays_as_it_was(run):
    whole = (run / "metrics.jsonl").read_text()
    trainer = reopen(run, data=DATA, checkpoint="step_000004", steps=12)
    trainer.advance(1e-9)
    trainer._flush()
    trainer.close()  # as a kill leaves it
    assert (run / "metrics.jsonl").read_text() == whole
    assert pf.resume(run, data=DATA).state["step"] == 12
    assert steps_of(run) == list(range(1, 13))
    assert (run / "metrics.jsonl").read_text().startswith(whole)


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


@pytest.mark.parametrize("at", ["cut", "append", "save"])
def test_a_kill_in_the_first_save_after_an_older_checkpoint_leaves_a_whole_run(at, run, monkeypatch):
    class Killed(BaseException):
        pass

    def dies(*_, **__):
        raise Killed

    trainer = reopen(run, data=DATA, checkpoint="step_000004", steps=12)
    trainer.advance(1e-9)
    monkeypatch.setattr(*{"cut": (log, "cut"), "append": (log, "append"), "save": (checkpoint, "fill")}[at], dies)
    with pytest.raises(Killed):
        trainer.finish()
    monkeypatch.undo()
    assert checkpoint.latest(run / "checkpoints").name == "step_000004"
    assert pf.resume(run, data=DATA).state["step"] == 12
    assert steps_of(run) == list(range(1, 13))


def kill_while_claiming(folder, overwrite=True):
    """A process is killed while its training is set up: it has the folder, and has written no spec."""
    child = os.fork()
    if child == 0:
        folders.claim(folder, "data", "flow", overwrite=overwrite)
        claiming.note(folder, "parts/coder/weights.safetensors")
        (folder / "parts" / "coder").mkdir(parents=True)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def test_a_run_whose_replacement_was_killed_is_resumed(run):
    kill_while_claiming(run)
    assert not (run / "spec.json").exists()
    assert pf.resume(run, data=DATA, steps=9).state["step"] == 9
    assert steps_of(run) == list(range(1, 10))
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_a_kill_between_the_making_of_a_folder_and_its_lock_strands_no_run(run):
    run.rename(run.with_name(".replaced-99999-run"))
    run.mkdir()
    assert pf.resume(run, data=DATA, steps=9).state["step"] == 9


def test_a_replacement_that_was_killed_can_be_made_again(run):
    for _ in range(2):
        kill_while_claiming(run)
    with pytest.raises(UsageError, match=r"exists already.*replace the run"):
        folders.claim(run, "data", "flow")
    assert (run / "spec.json").is_file()
    kill_while_claiming(run)
    assert pf.fit(recipe_for("flow", DATA), DATA, steps=2, out=run, overwrite=True).state["step"] == 2
    assert [path.name for path in run.parent.iterdir()] == ["run"]


def test_a_folder_whose_first_training_was_killed_in_its_set_up_is_free(tmp_path):
    kill_while_claiming(tmp_path / "run", overwrite=False)
    (tmp_path / "run" / "note.txt").write_text("of somebody else")
    with pytest.raises(UsageError, match=r"exists already.*note\.txt"):
        folders.claim(tmp_path / "run", "data", "flow")
    (tmp_path / "run" / "note.txt").unlink()
    folders.claim(tmp_path / "run", "data", "flow").discard()
    assert not (tmp_path / "run").exists()


def test_a_run_that_waits_beside_its_folder_is_named(run):
    kill_while_claiming(run)
    with pytest.raises(CheckpointError, match=r"waits in .*\.replaced-\d+-run.*pushforward resume"):
        pf.load(run)
    assert pf.resume(run, data=DATA).state["step"] == 8
    assert pf.load(run).state["step"] == 8


def test_runs_whose_names_end_alike_are_not_mixed_up(tmp_path):
    (tmp_path / ".replaced-1-my-run").mkdir()
    folders.put_back(tmp_path / "run")
    assert not (tmp_path / "run").exists()


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
