"""Several processes that train while a checkpoint is written: its content, a disk that refuses, a
process that is killed.
"""

import json

import pytest
from programs import forking
from programs.saving_beside import KINDS, REFUSALS

import pushforward as pf
from pushforward.testing import assert_same, space_data
from pushforward.training.api import reopen
from pushforward.training.checkpoint.storage import latest
from pushforward.training.checkpoint.tensors import load

CODE = "from pathlib import Path; from programs.saving_beside import main; main(Path.cwd())"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What pairs of processes have left."""
    where = tmp_path_factory.mktemp("beside")
    done = forking.run(CODE, cwd=where)
    assert done.returncode == 0, done.stderr[-4000:]
    return where


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text())


def names(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_processes_train_on_while_their_checkpoint_is_written(kind, folder, results):
    """Those of steps 2 and 4 are written after step 3, and hold what trainings save that wait for
    them.
    """
    for name in ("later", "waiting"):
        codes, *_ = results[f"{name}-{kind}"]
        assert codes == [0, 0], results
    by_first = (folder / f"later-{kind}-0.json").read_text()
    assert json.loads(by_first) == [True, True]
    by_second = (folder / f"later-{kind}-1.json").read_text()
    assert json.loads(by_second) == []
    for step in ("step_000004", "step_000006"):
        later = load(folder / f"later-{kind}" / "checkpoints" / step)
        waiting = load(folder / f"waiting-{kind}" / "checkpoints" / step)
        assert_same((later.tensors, {}), (waiting.tensors, {}))


@pytest.mark.parametrize("case", ["-".join(refusal) for refusal in REFUSALS])
def test_a_disk_that_refuses_one_process_ends_all_with_one_error(case, folder, results):
    codes, printed, _ = results[f"refused-{case}"]
    assert codes == [4, 4], printed
    assert printed[0] == printed[1]
    assert printed[0].count("In process ") == 1
    assert "No space left on device" in printed[0]
    assert "In process 0: " in printed[0]
    assert printed[0].endswith("\n3 steps, saved 0\n"), "before the next save"
    actual = names(folder / f"refused-{case}")
    assert actual == ["latest.json", "step_000000"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_process_that_is_killed_while_it_writes_leaves_the_checkpoint_before(
    kind, folder, results
):
    codes, printed, _ = results[f"killed-{kind}"]
    assert codes == [-9, 1], printed
    assert "checkpoints are intact" in printed[1]
    run = folder / f"killed-{kind}"
    assert latest(run / "checkpoints").name == "step_000000"
    trainer = reopen(run, data=space_data((17,), labels=True, n=300))
    trainer.advance()
    assert pf.load(run).state["step"] == 6


def test_an_error_of_one_process_ends_all_while_another_one_writes(folder, results):
    """The other process finds it gone; the checkpoint that was being written is whole or
    not there.
    """
    codes, printed, _ = results["broken"]
    assert codes == [1, 2], printed
    assert printed[1] == "PushforwardError: broken\n"
    assert "another process was lost" in printed[0]
    run = folder / "broken"
    assert latest(run / "checkpoints").name in ("step_000000", "step_000002")
    reopen(run, data=space_data((17,), labels=True, n=300)).advance()
    assert pf.load(run).state["step"] == 6
