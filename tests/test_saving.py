"""Checkpoints written beside training, on disks that refuse, and training that goes on from the
newest whole one.
"""

import os
import resource
import shutil
import threading
import time
from collections import namedtuple

import pytest

import pushforward as pf
from pushforward.errors import CheckpointError, UsageError
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training import Silent
from pushforward.training.api import prepare
from pushforward.training.checkpoint import checkpointer as saving, storage
from pushforward.training.checkpoint.tensors import load
from pushforward.training.runs.folder import RunLock

DATA = space_data((2,), labels=False)
WAIT = 20.0
"""Seconds that a test waits for what should come at once."""


class At(Silent):
    """Does something after steps, and remembers what was said."""

    def __init__(self, **works):
        self.works = works
        self.said = []

    def __call__(self, name, clock, samples, losses):
        self.works.get(f"step_{clock.step}", int)()

    def say(self, line):
        self.said.append(line)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 6 steps with the checkpoints of 4 and 6."""
    return pf.fit(
        recipe_for("flow", DATA),
        DATA,
        steps=6,
        checkpoint_every=2,
        out=tmp_path_factory.mktemp("runs") / "run",
    ).folder


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def filled(monkeypatch, work):
    """Call `work(step, in the background)` before a checkpoint's files are written."""
    fill = storage.fill

    def watched(folder, tensors, state):
        work(state["step"], threading.current_thread() is not threading.main_thread())
        fill(folder, tensors, state)

    monkeypatch.setattr(storage, "fill", watched)


def names(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_a_checkpoint_holds_its_step_while_training_goes_on(tmp_path, monkeypatch):
    """The first and the last are waited for; that of step 2 is written after step 3."""
    later = threading.Event()
    beside = []
    filled(
        monkeypatch,
        lambda step, background: beside.append(
            (step, background, later.wait(WAIT) if background else None)
        ),
    )
    recipe = recipe_for("flow", DATA)
    pf.fit(
        recipe,
        DATA,
        steps=4,
        checkpoint_every=2,
        out=tmp_path / "beside",
        progress=At(step_3=later.set),
    )
    assert beside == [(0, False, None), (2, True, True), (4, False, None)]
    monkeypatch.setattr(saving, "free_memory", lambda: 1)
    pf.fit(recipe, DATA, steps=4, checkpoint_every=2, out=tmp_path / "waits")
    assert beside[3:] == [(step, False, None) for step in (0, 2, 4)]
    for step in (2, 4):
        stored = [
            load(tmp_path / name / "checkpoints" / f"step_{step:06d}").tensors
            for name in ("beside", "waits")
        ]
        assert_same(*((tensors, {}) for tensors in stored))


def test_an_error_beside_training_ends_it_at_the_next_step(tmp_path, monkeypatch):
    def full(step, background):
        if background:
            raise OSError(28, "No space left on device")

    filled(monkeypatch, full)
    trainer = prepare(
        recipe_for("flow", DATA),
        DATA,
        steps=6,
        checkpoint_every=2,
        out=tmp_path / "run",
        progress=At(),
    )
    trainer.progress.works = {"step_3": trainer.checkpointer.finish_write}
    with pytest.raises(
        CheckpointError, match=r"step_000002 could not be written: No space left.*is intact"
    ):
        trainer.advance()
    assert trainer.clock.step in (2, 3)
    assert trainer.checkpointer.step == 0
    assert names(tmp_path / "run") == ["latest.json", "step_000000"]
    monkeypatch.undo()
    actual = pf.resume(tmp_path / "run", data=DATA).state["step"]
    assert actual == 6


def test_the_lock_is_given_back_after_the_write(tmp_path, monkeypatch):
    stopped = threading.Event()
    order = []
    close = RunLock.close

    def slow(step, background):
        if background:
            stopped.wait(WAIT)
            time.sleep(0.1)
            order.append("written")

    def interrupt():
        stopped.set()
        raise KeyboardInterrupt

    filled(monkeypatch, slow)
    monkeypatch.setattr(RunLock, "close", lambda self: (order.append("free"), close(self)))
    watch = At(step_3=interrupt)
    trainer = prepare(
        recipe_for("flow", DATA),
        DATA,
        steps=6,
        checkpoint_every=2,
        out=tmp_path / "run",
        progress=watch,
    )
    with pytest.raises(KeyboardInterrupt):
        trainer.advance()
    assert order == ["written", "free"]
    assert names(tmp_path / "run") == ["latest.json", "step_000000", "step_000002"]
    for thread in threading.enumerate():
        if thread.name.startswith("pushforward-save"):
            thread.join(WAIT)
            assert not thread.is_alive()


def test_no_process_is_forked_in_the_middle_of_a_write():
    done = []
    written = saving.in_background(lambda: (time.sleep(0.05), done.append(1)))
    child = os.fork()
    if child == 0:
        os._exit(len(done))
    actual = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert actual == 1
    assert written.done()


def test_a_file_that_may_not_grow_is_an_error_and_nothing_is_lost(run):
    before = final_state(run)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    largest = max(path.stat().st_size for path in run.rglob("*.safetensors"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest - 1, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"step_000008 could not be written.*intact"):
            pf.resume(run, data=DATA, steps=8)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert_same(final_state(run), before)
    assert names(run) == ["latest.json", "step_000004", "step_000006"]
    assert pf.resume(run, data=DATA).state["step"] == 8


def test_a_disk_without_space_is_named_before_anything_is_written(run, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100_000))
    with pytest.raises(
        CheckpointError, match=r"step_000008 was not written: .* MB.* 0\.1 MB are free.*intact"
    ):
        pf.resume(run, data=DATA, steps=8)
    assert names(run) == ["latest.json", "step_000004", "step_000006"]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9))
    assert pf.resume(run, data=DATA).state["step"] == 8


def hurt(run, *steps):
    for step in steps:
        path = run / "checkpoints" / f"step_{step:06d}" / "method.safetensors"
        path.write_bytes(path.read_bytes()[:-1])


def test_training_goes_on_from_the_newest_whole_checkpoint_where_it_may(run, trained):
    hurt(run, 6)
    with pytest.raises(
        CheckpointError, match=r"method\.safetensors .*changed.*step_000004.*`fallback=True`"
    ):
        pf.resume(run, data=DATA)
    with pytest.raises(UsageError, match="`fallback=True`"):
        pf.resume(run, data=DATA, checkpoint="step_000004", fallback=True)
    assert names(run) == ["latest.json", "step_000004", "step_000006"]
    pf.resume(run, data=DATA, fallback=True)
    assert names(run) == ["latest.json", "step_000004", "step_000006"]
    assert_same(final_state(run), final_state(trained))
    assert [row["step"] for row in pf.load(run).losses()] == list(range(1, 7))
    pf.resume(run, data=DATA, fallback=True)
    hurt(run, 4, 6)
    with pytest.raises(
        CheckpointError, match=r"step_000006 is damaged.*no other undamaged checkpoint\.$"
    ):
        pf.resume(run, data=DATA, fallback=True)
