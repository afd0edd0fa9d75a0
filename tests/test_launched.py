"""Processes that a launcher starts: they train one run, one error is that of all, and none waits for one that is lost."""

import json
import os
import sys

import numpy as np
import pytest
from filelock import FileLock
from programs import forking

import pushforward as pf
from pushforward.errors import UsageError
from pushforward.launched import Launch, launched
from pushforward.testing import recipe_for, space_data
from pushforward.testing.models import assert_same, final_state
from pushforward.trackers import Tracker
from pushforward.training import launching
from pushforward.training.launching import check_devices, restarted
from pushforward.training.processes import Processes
from pushforward.training.resuming import reopen
from pushforward.training.start import prepare
from pushforward.training.taking_up import _newest, _stored, _whole

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


CODES = {"whole": 0, "full": 4, "unread": 3, "unlike": 3, "turned": 1, "stopped": 75, "lacking": 6, "hanging": 1, "restarted": 0}


@pytest.mark.parametrize("case", CODES)
def test_all_processes_end_with_the_same_code_and_the_first_one_speaks(case, results):
    codes, printed, _ = results[case]
    assert codes == [CODES[case]] * 2, printed
    assert printed[0]
    assert printed[0].count("error:") == (CODES[case] not in (0, 75))
    assert not printed[1], printed[1]


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("full", "No space left on device"),
        ("unread", "In process 1: moons cannot be read here."),
        ("unlike", "differ in data: process 0 has"),
        ("turned", "At step 4 the weights of process 1 are no longer those of process 0"),
        ("stopped", "stopped and saved at step 3"),
        ("lacking", "error: In process 1: the memory does not suffice for step 3 (out of memory). Use a smaller --batch"),
        ("hanging", "within 4 seconds"),
        ("killed", "another process of this training has ended"),
    ],
)
def test_the_first_process_says_what_happened(case, words, results):
    assert words in results[case][1][0]


def test_a_killed_process_ends_the_others_and_the_run_goes_on_where_it_was_saved(folder, results):
    codes, _, seconds = results["killed"]
    assert codes == [1, -9]
    assert seconds < 60
    assert_same(final_state(folder / "whole"), final_state(folder / "killed"))
    assert [row["step"] for row in pf.load(folder / "killed").losses()] == list(range(1, 7))


def test_a_stopped_run_is_that_of_all_processes(folder):
    assert pf.load(folder / "stopped").state["step"] == 3


def test_the_launcher_starts_killed_processes_again(folder, results):
    assert results["again"] == 0
    assert_same(final_state(folder / "whole"), final_state(folder / "again"))
    manifest = json.loads((folder / "again" / "manifest.json").read_text())
    assert len(manifest["launch"]) == 32
    printed = (folder / "again-0.txt").read_text()
    assert "has ended, as a process that is killed does. What was saved is intact: the launcher starts all" in printed
    assert "again: restart 1 of 1, from step 2\n" in printed


@pytest.mark.skipif(sys.platform != "linux", reason="the sockets of a process are listed where Linux lists them")
def test_processes_of_one_machine_listen_to_no_other_one(folder, results):
    """Neither they nor their launcher, whatever the network's name in the environment."""
    assert results["again"] == 0
    own, launcher = zip(*(json.loads((folder / f"listening-{rank}.json").read_text()) for rank in range(2)), strict=True)
    assert all(own), "each listens to the other one"
    loopback = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
    assert {address for process in (*own, *launcher) for address in process} <= loopback


def test_data_that_one_process_cannot_read_cost_no_step_of_any(folder, results):
    """Two batches were decoded ahead."""
    codes, printed, _ = results["vanished"]
    assert codes == [3, 3]
    words = f"In process 1: cats/001.png is gone. Step 5 is saved as {folder}/vanished/checkpoints/step_000005. Once the data is"
    assert printed[0] == printed[1]
    assert printed[0].startswith(words)
    assert pf.load(folder / "vanished").state["step"] == 5


def test_an_error_that_no_restart_can_cure_ends_all_with_its_exit_code(folder, results):
    assert results["lasting"] == 3
    printed = [(folder / f"lasting-{rank}.txt").read_text() for rank in range(2)]
    assert [text.count("started") for text in printed] == [1, 1]
    assert [text.count("error: In process 1: moons cannot be read here.") for text in printed] == [1, 0]


def test_the_first_line_says_how_many_processes_train(results):
    assert results["whole"][1][0].splitlines()[0].endswith("; 2 processes, gloo, all weights in each")
    assert "pair.cc" not in results["killed"][1][0]


def test_samples_of_several_processes_are_those_of_one(folder, results):
    assert results["drawn"][0] == [0, 0]
    assert results["drawn"][1] == [f"{folder / 'drawn.npz'}\n", ""]
    assert [path.name for path in folder.glob("writes-*")] == ["writes-0"]
    with np.load(folder / "drawn.npz") as file:
        np.testing.assert_allclose(file["x"], pf.load(folder / "whole").sample(11), rtol=1e-5, atol=1e-6)


def test_processes_share_the_time_of_a_budget_in_seconds(folder, results):
    assert results["timed"][0] == [0, 0], results["timed"]
    state = pf.load(folder / "timed").state
    assert state["seconds"] > 0, "how much of the budget, depends on the machine's speed while the number of steps is fixed"
    assert state["step"] > 1


@pytest.mark.parametrize("kind", ["plain", "sharded"])
def test_no_example_is_repeated_or_left_out_where_the_number_of_processes_changes(kind, folder, results, tmp_path):
    assert [codes for codes, _ in results[kind]] == [[0] * 2, [0] * 4, [0]], results[kind]
    data = space_data((17,), labels=True, n=300)
    seen = {}
    for count in (2, 4, 1):
        for rank in range(count):
            for step, positions in json.loads((folder / kind / f"{count}-{rank}.json").read_text()):
                seen.setdefault(step, []).extend(positions)
    run = pf.fit(recipe_for("flow", data, batch=256, precision="float32"), data, steps=6, seed=4, out=tmp_path / "one")
    everything = [position for step in range(6) for position in seen[step]]
    assert list(seen) == list(range(6))
    assert len(set(everything)) == len(everything) == 6 * 256
    assert set(everything[:1500]) == set(range(1500)), "five epochs are whole"
    (single, _), (several, _) = final_state(run.folder), final_state(folder / kind / "run")
    for group, tensors in single.items():
        for name, tensor in tensors.items():
            np.testing.assert_allclose(several[group][name], tensor, rtol=1e-4, atol=1e-5, err_msg=name)


def test_the_variables_of_launchers():
    met = {"MASTER_ADDR": "here", "MASTER_PORT": "1"}
    torch = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2", **met}
    elastic = {"TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_RESTART_COUNT": "2"}
    assert launched({**torch, **elastic}) == Launch(3, 4, 1, 2, "x", 2)
    slurm = {"SLURM_PROCID": "5", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1", "SLURM_NTASKS_PER_NODE": "4", "SLURM_JOB_ID": "7"}
    assert launched({**slurm, **met}) == Launch(5, 8, 1, 4, "slurm-7", 0)
    assert launched(slurm) == launched({}) == Launch()
    with pytest.raises(UsageError, match="not MASTER_PORT"):
        launched({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "here"})
    with pytest.raises(UsageError, match="expected a rank from 0 to 3"):
        launched({**torch, "RANK": "4"})


def test_python_starts_no_processes():
    with pytest.raises(UsageError, match="under torchrun with 4 processes"):
        check_devices(4)
    check_devices(1)
    with pytest.raises(UsageError, match="this is one"):
        pf.fit(recipe_for("flow", DATA), DATA, steps=1, shard=True)


DATA = space_data((2,), labels=False)


@pytest.mark.parametrize("kind", ["plain", "sharded"])
def test_no_thread_of_the_group_outlives_it(kind, folder, results):
    """torch aborts a process whose interpreter ends while such a thread runs."""
    left = [json.loads(path.read_text()) for path in (folder / kind).glob("threads-*.json")]
    assert len(left) == 7
    assert not [name for names in left for name in names if "gloo" in name], results[kind]


def test_a_run_is_continued_only_by_the_launch_that_began_it(tmp_path, monkeypatch):
    begun, other = tmp_path / "begun", tmp_path / "other"
    for where, name in ((begun, "a"), (other, "b")):
        where.mkdir()
        (where / "spec.json").write_text("{}")
        (where / "manifest.json").write_text(json.dumps({"launch": name, "command": "it"}))
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "a")
    assert restarted(begun, "", "", "it") == begun, "a launcher that has lost another machine counts from 0"
    launching.note_here(begun)
    assert restarted(begun, "", "", "it") is None, "this process has begun it itself"
    launching._here.clear()
    assert restarted(begun, "", "", "something else") is None
    assert restarted(other, "", "", "it") is None


class Quiet(Tracker):
    """A tracker that keeps nothing."""

    def start(self, folder, facts, config, known):
        return "1"

    def log(self, step, numbers):
        pass

    def finish(self, status):
        pass


def test_a_training_that_is_started_again_keeps_its_trackers(tmp_path, monkeypatch):
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "a"}.items():
        monkeypatch.setenv(name, value)
    options = {"out": tmp_path / "run", "steps": 2}
    prepare(recipe_for("flow", DATA), DATA, **options).close()
    with pytest.raises(UsageError, match="exists already"):
        prepare(recipe_for("flow", DATA), DATA, **options)
    launching._here.clear()  # as in a process that was started again
    tracker = Quiet()
    trainer = prepare(recipe_for("flow", DATA), DATA, trackers=[tracker], **options)
    trainer.close()
    assert trainer.settings.trackers == (tracker,)
    launching._here.clear()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "b")
    with pytest.raises(UsageError, match="exists already"):
        prepare(recipe_for("flow", DATA), DATA, **options)


def test_a_launch_that_went_back_to_a_checkpoint_goes_on_from_there_when_it_is_started_again(tmp_path, monkeypatch):
    run = tmp_path / "run"
    pf.fit(recipe_for("flow", DATA), DATA, out=run, steps=4, checkpoint_every=2, progress=False)
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "a"}.items():
        monkeypatch.setenv(name, value)

    def taken_up(train=False):
        launching._here.clear()  # as in a process that was started again
        trainer = reopen(run, data=DATA, checkpoint="step_000002", progress=False)
        step = trainer.clock.step
        if train:
            trainer.advance()
            trainer.finish()
        trainer.close()
        return step

    assert taken_up() == 2
    assert taken_up(train=True) == 2, "nothing was saved since"
    with pytest.warns(UserWarning, match="gone on from step_000002 already"):
        assert taken_up() == 4
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "b")
    assert taken_up() == 2


class Second(Processes):
    """The second of two processes that share weights, which the first one tells these values."""

    rank, count, sharded = 1, 2, True

    def __init__(self, *values):
        self.values = list(values)

    def first(self, value):
        return self.values.pop(0)


def test_the_first_process_alone_reads_sharded_checkpoints_for_a_whole_one(tmp_path):
    (tmp_path / "step_000002").mkdir()
    (tmp_path / "step_000002" / "shard-00001.safetensors").touch()
    processes = Second("step_000002", {"step": 2})
    stored, _ = _stored(tmp_path / "step_000004", "cpu", {"fallback": True}, processes)
    assert (stored.folder, stored.tensors, stored.state) == (tmp_path / "step_000002", {}, {"step": 2})
    run = tmp_path / "run"
    pf.fit(recipe_for("flow", DATA), DATA, out=run, steps=4, checkpoint_every=2, progress=False)
    assert [_newest(run, each).name for each in (Processes(), Second("step_000002"))] == ["step_000004", "step_000002"]
    (run / "checkpoints" / "step_000004" / "average.safetensors").write_bytes(b"")
    where, damage = _whole(run / "checkpoints" / "step_000004", Processes())
    assert (where.name, damage.before) == ("step_000002", "step_000002")
