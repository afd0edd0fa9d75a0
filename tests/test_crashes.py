"""Crashes and interruptions: the old state or the new one is there, whole, and the run can be
resumed.
"""

import contextlib
import json
import os
import shutil
import signal

import pytest
import torch
from programs import forking
from programs.crashing import save, value_in
from programs.interruptions import DEATH, Disk, Stopped, damage

import pushforward as pf
from pushforward.errors import CheckpointError, UsageError
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training import Silent
from pushforward.training.api import prepare, reopen
from pushforward.training.checkpoint import checkpointer as settings, storage
from pushforward.training.checkpoint.storage import (
    all_in,
    fault,
    latest,
    save as save_checkpoint,
    write_latest,
)
from pushforward.training.checkpoint.tensors import load
from pushforward.training.runs import folder as folders, log

SAVES = {"one stays": {"step": 3, "keep": 1}, "after an older one": {"step": 2, "previous": 1}}
"""Saves into a folder that holds the checkpoints of steps 1 and 2; the last is of a training that
went on from step 1.
"""


@pytest.fixture
def folder(tmp_path):
    with Disk():
        for step in (1, 2):
            save(tmp_path / "checkpoints", step, float(step))
    return tmp_path / "checkpoints"


@pytest.mark.parametrize(
    ("kind", "power"), [("one stays", False), ("one stays", True), ("after an older one", True)]
)
def test_after_every_change_of_the_disk_a_whole_state_is_there(kind, power, folder, tmp_path):
    """As a process is killed, or, where what was not flushed is lost, as the power fails."""
    options = SAVES[kind]
    old = 2.0
    if "previous" in options:
        write_latest(folder, "step_000001")
        old = 1.0
    values = []
    last = 0
    while True:
        last += 1
        crashed = shutil.copytree(folder, tmp_path / "crashed")
        with Disk(last, power=power) as disk, contextlib.suppress(Stopped):
            save(crashed, value=5.0, **options)
        if not disk.stopped:
            break
        values.append(value_in(crashed))
        assert not [path for path in all_in(crashed)[:-1] if fault(path)]
        if last % 3 == 0:
            (crashed / ".tmp-1-latest.json").write_text("{")  # of another process
            with Disk():
                save(crashed, 9, 9.0, keep=1, previous=options.get("previous"))
            names = sorted(path.name for path in crashed.iterdir())
            assert names == ["latest.json", "step_000009"]
        shutil.rmtree(crashed)
    assert values == sorted(values)
    assert set(values) == {old, 5.0}
    assert len(values) > 25


def test_a_crash_while_training_goes_on_costs_nothing(tmp_path):
    """The process dies in the save of step 2, which is written beside the next steps or while they
    wait.
    """
    cases = [
        (str(tmp_path / f"{last}-{beside}"), last, beside)
        for beside in (False, True)
        for last in (10, 22, 27)
    ]
    trainings = json.dumps([(str(tmp_path / "whole"), None, True), *cases])
    code = f"import json; from programs.crashing import main; main(json.loads({trainings!r}))"
    done = forking.run(code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[0, 0], *([DEATH, 0] for _ in cases)]
    for folder, *_ in cases:
        assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / folder))
        assert not list((tmp_path / folder).rglob(".tmp*"))


def test_a_checkpoint_has_no_steps_that_the_log_loses_with_the_power(tmp_path):

    class Power(Silent):
        def __call__(self, name, clock, samples, losses):
            if clock.step == 4:
                disk.stop()

    data = space_data((2,), labels=False)
    run = tmp_path / "run"
    progress = Power()
    with Disk(power=True) as disk, contextlib.suppress(Stopped):
        trainer = prepare(
            recipe_for("flow", data), data, steps=6, out=run, checkpoint_every=2, progress=progress
        )
        trainer.checkpointer.background = False
        trainer.advance()
    assert disk.stopped
    assert latest(run / "checkpoints").name == "step_000002"
    assert log.last_step(run / "metrics.jsonl") == 2


def test_damage_to_any_file_is_noticed_and_the_next_good_checkpoint_named(tmp_path):
    """The values differ from file to file, as they do in a run, so that swapped files differ."""
    inside = tmp_path / "whole" / "checkpoints"
    crashed = tmp_path / "damaged"
    with Disk():
        for step in (1, 2, 3):
            tensors = {name: {"w": torch.randn(40)} for name in ("method", "average", "optimizer")}
            save_checkpoint(
                inside,
                step,
                tensors,
                {"step": step, "samples": 0, "seconds": 0.0, "total": None},
                keep=3,
            )
    older = inside / "step_000002" / "method.safetensors"
    older.write_bytes(older.read_bytes()[:-1])  # so that step 1 is the next good one
    for number in range(50):
        shutil.copytree(inside, crashed)
        names, what = damage(crashed / "step_000003", number)
        assert latest(crashed).name == "step_000003", what
        with pytest.raises(
            CheckpointError, match=r"is damaged: .*checkpoint: step_000001"
        ) as error:
            load(latest(crashed))
        named = any(f"is damaged: {name}" in str(error.value) for name in names)
        assert named or "MANIFEST.json" in names, (names, what)
        assert error.value.before == "step_000001"
        shutil.rmtree(crashed)


def test_a_checkpoint_that_takes_anothers_place_is_noticed(folder):
    (folder / "step_000002").rename(folder / "other")
    (folder / "step_000001").rename(folder / "step_000002")
    with pytest.raises(CheckpointError, match=r"damaged: state\.json"):
        load(folder / "step_000002")


def test_what_a_dead_process_has_left_goes_when_training_goes_on(tmp_path):
    run = tmp_path / "run"
    data = space_data((2,), labels=False)
    pf.fit(recipe_for("flow", data), data, steps=2, out=run)
    (run / "checkpoints" / ".tmp-step_000002-1").mkdir()
    names = ("checkpoints/.tmp-1-latest.json", "cache/.tmp-1-prepared.safetensors")
    for name in (
        *names,
        "checkpoints/.tmp-abc/latest.json",
        "cache/deep/.tmp-abc/prepared.safetensors",
    ):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("{")
    reopen(run, data=data).close()
    assert list(run.rglob(".tmp-*")) == []


def test_another_format_is_refused(folder):
    path = folder / "step_000002" / "MANIFEST.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(CheckpointError, match=r"written by another version .*format 2"):
        load(folder / "step_000002")


DATA = space_data((2,), labels=False)


def steps_of(folder):
    return [entry["step"] for entry in pf.load(folder).losses()]


@pytest.fixture
def run(tmp_path):
    return pf.fit(
        recipe_for("flow", DATA), DATA, steps=8, checkpoint_every=4, out=tmp_path / "run"
    ).folder


def test_a_refused_resume_from_an_older_checkpoint_changes_nothing(run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="is already trained for"):
        pf.resume(run, data=DATA, checkpoint="step_000004", seconds=1e-9)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_kill_in_the_first_save_after_an_older_checkpoint_leaves_a_whole_run(run, monkeypatch):
    class Killed(BaseException):
        pass

    def dies(*_, **__):
        raise Killed

    trainer = reopen(run, data=DATA, checkpoint="step_000004", steps=12)
    trainer.advance(1e-9)
    monkeypatch.setattr(storage, "fill", dies)
    with pytest.raises(Killed):
        trainer.finish()
    monkeypatch.undo()
    assert latest(run / "checkpoints").name == "step_000004"
    assert pf.resume(run, data=DATA).state["step"] == 12
    assert steps_of(run) == list(range(1, 13))


def test_a_folder_whose_first_training_was_killed_in_its_set_up_is_free(tmp_path):
    run = tmp_path / "run"
    child = os.fork()
    if child == 0:
        folders.claim(run, "data", "flow")
        (run / "parts" / "coder").mkdir(parents=True)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    (run / "note.txt").write_text("of somebody else")
    with pytest.raises(UsageError, match="already exists"):
        folders.claim(run, "data", "flow")
    (run / "note.txt").unlink()
    step = pf.fit(recipe_for("flow", DATA), DATA, steps=2, out=run).state["step"]
    assert step == 2


def test_a_replacement_that_could_not_be_set_up_gives_the_run_its_place_again(run):
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="multiples of"):
        pf.fit(
            recipe_for("flow", DATA, batch=96, accumulate=2), DATA, steps=1, out=run, overwrite=True
        )
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    step = pf.fit(recipe_for("flow", DATA), DATA, steps=2, out=run, overwrite=True).state["step"]
    assert step == 2
    assert [path.name for path in run.parent.iterdir()] == ["run"]


@pytest.mark.parametrize("budget", [{"steps": 5}, {"samples": 100}])
def test_a_budget_that_is_used_up_already_is_refused_and_changes_nothing(budget, run):
    before = (run / "spec.json").read_text()
    with pytest.raises(UsageError, match=r"already trained for .* the budget"):
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
        assert trainer.checkpointer.step == 3
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
