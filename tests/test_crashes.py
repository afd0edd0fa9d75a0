"""A crash at any moment of a save: the old state or the new one is there, whole, and the next save leaves nothing else."""

import contextlib
import json
import os
import shutil

import pytest
import torch
from programs import forking
from programs.crashing import save, value_in

import pushforward as pf
from pushforward.errors import CheckpointError
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.testing.interruptions import DEATH, Disk, Stopped, damage
from pushforward.training import Silent, checkpoint, journal, log
from pushforward.training.resuming import reopen
from pushforward.training.start import prepare
from pushforward.training.verifying import all_in, fault

SAVES = {
    "one stays": {"step": 3, "keep": 1},
    "the same step": {"step": 2, "keep": 1},
    "after an older one": {"step": 2, "after": 1},
}
"""Saves into a folder that holds the checkpoints of steps 1 and 2; the last is of a training that went on from step 1."""


@pytest.fixture
def folder(tmp_path):
    with Disk():
        for step in (1, 2):
            save(tmp_path / "checkpoints", step, float(step))
    return tmp_path / "checkpoints"


@pytest.mark.parametrize(("kind", "power"), [("one stays", True), ("the same step", False), ("after an older one", True)])
def test_after_every_change_of_the_disk_a_whole_state_is_there(kind, power, folder, tmp_path):
    """As a process is killed, or, where what was not flushed is lost, as the power fails."""
    options, old = SAVES[kind], 2.0
    if "after" in options:
        checkpoint.write_latest(folder, "step_000001")
        old = 1.0
    values, last = [], 0
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
                save(crashed, 9, 9.0, keep=1, after=options.get("after"))
            assert sorted(path.name for path in crashed.iterdir()) == ["latest.json", "step_000009"]
        shutil.rmtree(crashed)
    assert values == sorted(values)
    assert set(values) == {old, 5.0}
    assert len(values) > 25


def test_a_crash_while_training_goes_on_costs_nothing(tmp_path):
    """The process dies in the save of step 2, which is written beside the next steps or while they wait."""
    cases = [(str(tmp_path / f"{last}-{beside}"), last, beside) for beside in (False, True) for last in (10, 22, 27)]
    trainings = json.dumps([(str(tmp_path / "whole"), None, True), *cases])
    code = f"import json; from programs.crashing import main; main(json.loads({trainings!r}))"
    done = forking.run(code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[0, 0], *([DEATH, 0] for _ in cases)]
    for folder, *_ in cases:
        assert_same(final_state(tmp_path / "whole"), final_state(tmp_path / folder))
        assert not list((tmp_path / folder).rglob(".tmp*"))


def test_a_checkpoint_has_no_steps_that_the_log_loses_with_the_power(tmp_path, monkeypatch):
    said = []

    class Power(Silent):
        def __call__(self, name, clock, samples, losses):
            if clock.step == 4:
                disk.stop()

        def say(self, line):
            said.append(line)

    data, run, progress = space_data((2,), labels=False), tmp_path / "run", Power()
    with Disk(power=True) as disk, contextlib.suppress(Stopped):
        trainer = prepare(recipe_for("flow", data), data, steps=6, out=run, checkpoint_every=2, progress=progress)
        trainer.saver.beside = False
        trainer.advance()
    assert disk.stopped
    assert checkpoint.latest(run / "checkpoints").name == "step_000002"
    assert log.last_step(run / "metrics.jsonl") == 2
    monkeypatch.setattr(journal, "FLUSH", 2)
    for name in ("whole", "lacking"):
        shutil.copytree(run, tmp_path / name)
        (tmp_path / "lacking" / "metrics.jsonl").unlink(missing_ok=True)
        reopen(tmp_path / name, data=data, progress=progress).close()
    assert len(said) == 1
    assert "lacks the rows of the steps 1 to 2, which" in said[0]


def test_damage_to_any_file_is_noticed_and_the_next_good_checkpoint_named(tmp_path):
    """The values differ from file to file, as they do in a run, so that swapped files differ."""
    inside, crashed = tmp_path / "whole" / "checkpoints", tmp_path / "damaged"
    with Disk():
        for step in (1, 2, 3):
            tensors = {name: {"w": torch.randn(40)} for name in ("method", "average", "optimizer")}
            checkpoint.save(inside, step, tensors, {"step": step, "samples": 0, "seconds": 0.0, "total": None}, keep=3)
    older = inside / "step_000002" / "method.safetensors"
    older.write_bytes(older.read_bytes()[:-1])  # so that step 1 is the next good one
    for number in range(50):
        shutil.copytree(inside, crashed)
        names, what = damage(crashed / "step_000003", number)
        assert checkpoint.latest(crashed).name == "step_000003", what
        with pytest.raises(CheckpointError, match=r"is damaged: .*The checkpoint before it: step_000001") as error:
            checkpoint.load(checkpoint.latest(crashed))
        assert any(f"is damaged: {name}" in str(error.value) for name in names), (names, what)
        assert error.value.before == "step_000001"
        shutil.rmtree(crashed)


@pytest.mark.parametrize("file", ["latest.json", "step_000002"])
def test_a_checkpoint_that_takes_anothers_place_is_noticed(file, folder):
    """The name in `latest.json` is checked by a hash, and a checkpoint's folder by its step."""
    if file == "latest.json":
        path = folder / file
        path.write_text(path.read_text().replace("step_000002", "step_000001"))
        assert value_in(folder) == 2.0
        return
    (folder / file).rename(folder / "other")
    (folder / "step_000001").rename(folder / file)
    (folder / "other").rename(folder / "step_000001")
    with pytest.raises(CheckpointError, match=r"state\.json is of step 1"):
        checkpoint.load(folder / file)


def test_what_a_dead_process_has_left_goes_when_training_goes_on(tmp_path):
    run, data = tmp_path / "run", space_data((2,), labels=False)
    pf.fit(recipe_for("flow", data), data, steps=2, out=run)
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    (run / "checkpoints" / f".tmp-step_000002-{os.getpid()}").mkdir()
    names = (f".tmp-{child}-spec.json", f"checkpoints/.tmp-{child}-latest.json", f".tmp-{os.getpid()}-grids.json")
    strays = [run / name for name in names]
    for path in strays:
        path.write_text("{")
    reopen(run, data=data).close()
    assert list(run.rglob(".tmp-*")) == strays[2:]


def test_another_format_is_named(folder):
    path = folder / "step_000002" / "MANIFEST.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(CheckpointError, match=r"MANIFEST\.json says that the format is 2, and this version .* reads 1"):
        checkpoint.load(folder / "step_000002")
