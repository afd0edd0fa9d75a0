"""A crash at any moment of a save: the old state or the new one is there, whole, and the next save leaves nothing else."""

import contextlib
import json
import shutil

import pytest
import torch
from programs import forking
from programs.crashing import save, value_in

import pushforward as pf
from pushforward.errors import CheckpointError
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.testing.interruptions import DEATH, Disk, Stopped, damage
from pushforward.training import Silent
from pushforward.training.api import prepare, reopen
from pushforward.training.checkpoint.contents import all_in, fault, latest, write_latest
from pushforward.training.checkpoint.contents import save as save_checkpoint
from pushforward.training.checkpoint.tensors import load
from pushforward.training.runs import log

SAVES = {
    "one stays": {"step": 3, "keep": 1},
    "after an older one": {"step": 2, "after": 1},
}
"""Saves into a folder that holds the checkpoints of steps 1 and 2; the last is of a training that went on from step 1."""


@pytest.fixture
def folder(tmp_path):
    with Disk():
        for step in (1, 2):
            save(tmp_path / "checkpoints", step, float(step))
    return tmp_path / "checkpoints"


@pytest.mark.parametrize(("kind", "power"), [("one stays", False), ("one stays", True), ("after an older one", True)])
def test_after_every_change_of_the_disk_a_whole_state_is_there(kind, power, folder, tmp_path):
    """As a process is killed, or, where what was not flushed is lost, as the power fails."""
    options, old = SAVES[kind], 2.0
    if "after" in options:
        write_latest(folder, "step_000001")
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


def test_a_checkpoint_has_no_steps_that_the_log_loses_with_the_power(tmp_path):

    class Power(Silent):
        def __call__(self, name, clock, samples, losses):
            if clock.step == 4:
                disk.stop()

    data, run, progress = space_data((2,), labels=False), tmp_path / "run", Power()
    with Disk(power=True) as disk, contextlib.suppress(Stopped):
        trainer = prepare(recipe_for("flow", data), data, steps=6, out=run, checkpoint_every=2, progress=progress)
        trainer.saver.beside = False
        trainer.advance()
    assert disk.stopped
    assert latest(run / "checkpoints").name == "step_000002"
    assert log.last_step(run / "metrics.jsonl") == 2


def test_damage_to_any_file_is_noticed_and_the_next_good_checkpoint_named(tmp_path):
    """The values differ from file to file, as they do in a run, so that swapped files differ."""
    inside, crashed = tmp_path / "whole" / "checkpoints", tmp_path / "damaged"
    with Disk():
        for step in (1, 2, 3):
            tensors = {name: {"w": torch.randn(40)} for name in ("method", "average", "optimizer")}
            save_checkpoint(inside, step, tensors, {"step": step, "samples": 0, "seconds": 0.0, "total": None}, keep=3)
    older = inside / "step_000002" / "method.safetensors"
    older.write_bytes(older.read_bytes()[:-1])  # so that step 1 is the next good one
    for number in range(50):
        shutil.copytree(inside, crashed)
        names, what = damage(crashed / "step_000003", number)
        assert latest(crashed).name == "step_000003", what
        with pytest.raises(CheckpointError, match=r"is damaged: .*that is whole: step_000001") as error:
            load(latest(crashed))
        assert any(f"is damaged: {name}" in str(error.value) for name in names), (names, what)
        assert error.value.before == "step_000001"
        shutil.rmtree(crashed)


def test_a_checkpoint_that_takes_anothers_place_is_noticed(folder):
    (folder / "step_000002").rename(folder / "other")
    (folder / "step_000001").rename(folder / "step_000002")
    with pytest.raises(CheckpointError, match=r"state\.json is of step 1"):
        load(folder / "step_000002")


def test_what_a_dead_process_has_left_goes_when_training_goes_on(tmp_path):
    run, data = tmp_path / "run", space_data((2,), labels=False)
    pf.fit(recipe_for("flow", data), data, steps=2, out=run)
    (run / "checkpoints" / ".tmp-step_000002-1").mkdir()
    for name in ("checkpoints/.tmp-1-latest.json", "cache/.tmp-1-prepared.safetensors"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("{")
    reopen(run, data=data).close()
    assert list(run.rglob(".tmp-*")) == []


def test_another_format_is_named(folder):
    path = folder / "step_000002" / "MANIFEST.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(CheckpointError, match=r"MANIFEST\.json says that the format is 2, and this version .* reads 1"):
        load(folder / "step_000002")
