"""Processes that a launcher starts: they train one run, one error is that of all, and none waits
for one that is lost.
"""

import itertools
import json
import os
import sys

import numpy as np
import pytest
from filelock import FileLock
from programs import forking
from programs.text_tables import read_cases

import pushforward as pf
from pushforward.cli.entry import _killed
from pushforward.errors import UsageError
from pushforward.runtime import Launch, launched
from pushforward.testing import recipe_for, space_data
from pushforward.testing.models import assert_same, final_state
from pushforward.training.checkpoint import latest

CODE = "from pathlib import Path; from programs.ranks import main; main(Path.cwd())"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the processes have left; computed once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    where = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "ranks"
    with FileLock(f"{where}.lock"):
        if not (where / "results.json").exists():
            where.mkdir()
            done = forking.run(CODE, cwd=where)
            assert done.returncode == 0, done.stderr[-4000:]
    return where


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text())


CASES = """
whole    | [0, 0]   | 0 | ""
resumed  | [0, 0]   | 0 | ""
full     | [4, 4]   | 0 | No space left on device
unread   | [1, 3]   | 1 | moons cannot be read here.
unlike   | [3, 3]   | 0 | differ in data
stopped  | [75, 75] | 0 | stopped and saved at step 3
lacking  | [1, 6]   | 1 | error: out of memory in step 3
hanging  | [1, 1]   | 0 | within 4 seconds
killed   | [1, -9]  | 0 | another process was lost
"""


@pytest.mark.parametrize(("case", "expected", "speaks", "words"), read_cases(CASES))
def test_the_process_that_fails_says_why_with_its_exit_code(case, expected, speaks, words, results):
    codes, printed, seconds = results[case]
    assert codes == expected, printed
    assert words in printed[speaks]
    errors = printed[1].count("error:")
    assert errors == (speaks == 1 or case in ("unlike", "full")), (
        "others are silent but the first one"
    )
    assert seconds < 60


def test_a_killed_run_goes_on_where_it_was_saved(folder):
    assert_same(final_state(folder / "whole"), final_state(folder / "killed"))
    rows = pf.load(folder / "killed").losses()
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]


def test_the_launcher_ends_with_the_code_of_the_process_that_failed_first(folder, results):
    assert results["started"] == 3
    assert "moons cannot be read any more" in (folder / "started-1.txt").read_text()


def test_the_variables_of_launchers():
    met = variables("MASTER_ADDR=here MASTER_PORT=1")
    torch = variables("RANK=3 WORLD_SIZE=4 LOCAL_RANK=1 LOCAL_WORLD_SIZE=2")
    assert launched(torch | met) == Launch(3, 4, 1, 2)
    slurm = variables("SLURM_PROCID=5 SLURM_NTASKS=8 SLURM_LOCALID=1 SLURM_NTASKS_PER_NODE=4")
    slurm |= variables("SLURM_JOB_ID=7")
    assert launched(slurm | met) == Launch(5, 8, 1, 4)
    assert launched(slurm) == Launch()
    assert launched({}) == Launch()
    portless = variables("RANK=0 WORLD_SIZE=2 MASTER_ADDR=here")
    with pytest.raises(UsageError, match="not MASTER_PORT"):
        launched(portless)


def variables(text):
    """The variables of an environment, from NAME=VALUE words."""
    return dict(word.split("=") for word in text.split())


def test_a_killed_process_is_named():
    assert _killed({0: 1, 1: -9}) == 1
    assert _killed({0: 1, 1: -15}) is None, "the launcher has ended it"
    assert _killed({0: -15, 1: -15}) == 0


def test_a_stopped_run_is_that_of_all_processes(folder):
    assert pf.load(folder / "stopped").state["step"] == 3


@pytest.mark.skipif(
    sys.platform != "linux", reason="the sockets of a process are listed where Linux lists them"
)
def test_processes_of_one_machine_listen_to_no_other_one(folder, results):
    """Neither they nor their launcher, whatever the network's name in the environment."""
    loopback = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
    for rank in range(2):
        text = (folder / f"listening-{rank}.json").read_text()
        own, launcher = json.loads(text)
        assert own, "each listens to the other one"
        assert {*own, *launcher} <= loopback


def test_data_that_one_process_cannot_read_cost_no_step_of_any(folder, results):
    """Two batches were decoded ahead."""
    codes, printed, _ = results["vanished"]
    assert codes == [3, 3]
    assert printed[0] == printed[1]
    assert printed[0].startswith("In process 1: cats/001.png is gone. Step 5 is saved.")
    assert pf.load(folder / "vanished").state["step"] == 5


def test_the_first_line_says_how_many_processes_train(results):
    _, printed, *_ = results["whole"]
    first, *_ = printed[0].splitlines()
    assert first.endswith("; 2 processes, gloo, all weights in each")


def test_samples_of_several_processes_are_those_of_one(folder, results):
    codes, printed, *_ = results["drawn"]
    out = folder / "drawn.npz"
    assert codes == [0, 0]
    assert printed == [f"{out}\n", ""]
    assert [path.name for path in folder.glob("writes-*")] == ["writes-0"]
    expected = pf.load(folder / "whole").sample(11)
    with np.load(out) as file:
        np.testing.assert_allclose(file["x"], expected, rtol=1e-5, atol=1e-6)


def test_processes_share_the_time_of_a_budget_in_seconds(folder, results):
    codes, *_ = results["timed"]
    assert codes == [0, 0], results["timed"]
    state = pf.load(folder / "timed").state
    assert state["seconds"] > 0, (
        "how much of the budget, depends on the machine's speed while the number of steps is fixed"
    )
    assert state["step"] >= 1


@pytest.mark.parametrize("kind", ["plain", "sharded"])
def test_no_example_is_repeated_or_left_out_where_the_number_of_processes_changes(
    kind, folder, results, tmp_path
):
    assert [codes for codes, _ in results[kind]] == [[0] * 2, [0] * 4, [0]], results[kind]
    seen = {}
    for count in (2, 4, 1):
        for rank in range(count):
            text = (folder / kind / f"{count}-{rank}.json").read_text()
            for step, positions in json.loads(text):
                seen.setdefault(step, []).extend(positions)
    assert list(seen) == [0, 1, 2, 3, 4, 5]
    everything = list(itertools.chain.from_iterable(seen.values()))
    assert len(everything) == 6 * 256
    assert len(set(everything)) == 6 * 256
    assert set(everything[:1500]) == set(range(1500)), "five epochs are whole"
    data = space_data((17,), labels=True, n=300)
    recipe = recipe_for("flow", data, batch=256, precision="float32")
    run = pf.fit(recipe, data, steps=6, seed=4, out=tmp_path / "one")
    single, _ = final_state(run.folder)
    several, _ = final_state(folder / kind / "run")
    for group, tensors in single.items():
        for name, tensor in tensors.items():
            actual = several[group][name]
            np.testing.assert_allclose(actual, tensor, rtol=1e-4, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("kind", ["plain", "sharded"])
def test_no_thread_of_the_group_outlives_it(kind, folder, results):
    """torch aborts a process whose interpreter ends while such a thread runs."""
    left = [path.read_text() for path in (folder / kind).glob("threads-*.json")]
    assert len(left) == 7
    assert "gloo" not in " ".join(left), results[kind]


def test_sharded_weights_are_saved_as_whole_ones(folder):
    checkpoint = latest(folder / "sharded" / "run" / "checkpoints")
    names = {path.name for path in checkpoint.glob("*.safetensors")}
    assert names == {"method.safetensors", "average.safetensors", "optimizer.safetensors"}
