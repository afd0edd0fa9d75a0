"""Processes that are lost and started again: who is named, what is said, and that nothing of their group outlives it."""

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import torch

from pushforward.cli import launching as command
from pushforward.cli.launching import _killed, _next
from pushforward.launched import Launch
from pushforward.training import launching
from pushforward.training.launching import news
from pushforward.training.processes import Processes


class Sharded(Processes):
    """One of two processes that share weights."""

    count, sharded = 2, True


def test_a_killed_process_is_named_with_what_goes_on(tmp_path, monkeypatch):
    assert _killed({0: 1, 1: -9}) == 1
    assert _killed({0: 1, 1: -15}) is None, "the launcher has ended it"
    assert _killed({0: -15, 1: -15}) == 0
    monkeypatch.chdir(tmp_path)
    for name, launch in (("other", "first"), ("own", "second")):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "spec.json").write_text("{}")
        (tmp_path / "runs" / name / "manifest.json").write_text(json.dumps({"launch": launch}))
    words = ["train", "mine.py", "--plugin", "other.py", "--shard"]
    assert _next(words, "second", 2).endswith("resume runs/own --devices 2 --plugin mine.py --plugin other.py --shard")
    assert _next(["resume", "--steps", "9", "runs/other"], "second", 3).endswith("pushforward resume runs/other --devices 3")
    assert _next(["train", "flow"], "none", 2) == _next(["sample", "runs/own"], "second", 2) == "next: the same command again"


@pytest.mark.parametrize(("code", "rank", "ended"), [(2, 0, True), (1, 0, False), (4, 0, False), (75, 0, True), (2, 1, False)])
def test_torchrun_is_ended_where_no_restart_can_help(code, rank, ended, monkeypatch):
    """A process with a word of torchrun's command line stands for it."""
    monkeypatch.setattr(command, "_ENDED", 0.0)
    met = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1", "TORCHELASTIC_MAX_RESTARTS": "3"}
    for name, value in {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", **met}.items():
        monkeypatch.setenv(name, value)
    with subprocess.Popen([sys.executable, "-Sc", "print(flush=True); input()", "torchrun"], stdin=-1, stdout=-1) as parent:
        parent.stdout.readline()
        monkeypatch.setattr(os, "getppid", lambda: parent.pid)
        command.stop_launcher(code)
        parent.communicate(b"1\n")
    assert parent.returncode == (-signal.SIGTERM if ended else 0)


def test_what_is_new_of_the_processes_of_a_run(tmp_path, monkeypatch):
    stored = tmp_path / "checkpoints" / "step_000004"
    stored.mkdir(parents=True)
    assert news(Processes(), tmp_path, 4) == []
    (stored / "shard-00001-model-00001-of-00001.safetensors").touch()
    assert "on this process holds all of them" in news(Processes(), tmp_path, 4)[0]
    assert news(Sharded(), tmp_path, 4) == []
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RESTART_COUNT": "2"}.items():
        monkeypatch.setenv(name, value)
    assert news(Sharded(), tmp_path, 4) == ["restart 2, from step 4"]
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    assert news(Sharded(), tmp_path, 4) == ["restart 2 of 3, from step 4"]


def test_each_start_has_a_name_of_its_own_that_all_processes_know():
    """Whatever earlier starts have left in the store, which outlives them."""
    store = torch.distributed.HashStore()
    store.set_timeout(timedelta(seconds=9))

    def started(count):
        with ThreadPoolExecutor(count) as pool:
            return set(pool.map(lambda rank: launching._start(store, rank, count, 3.0), range(count)))

    names = [started(count) for count in (3, 3, 2)]
    assert [len(name) for name in names] == [1, 1, 1]
    assert len(set.union(*names)) == 3
    with pytest.raises(RuntimeError, match="waiting for process 1"):
        launching._start(store, 0, 2, 0.0)


def test_a_run_that_the_launch_has_begun_is_no_obstacle_where_a_launcher_counts_anew(tmp_path, monkeypatch):
    (tmp_path / "manifest.json").write_text('{"launch": "photos"}')
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "photos"}.items():
        monkeypatch.setenv(name, value)
    assert not command.is_first_start(tmp_path)
    assert command.is_first_start(tmp_path / "other")
    assert command.is_first_start()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "faces")
    assert command.is_first_start(tmp_path)
    for other in ('{"launch": "photos of faces", "data": "photos"}', '["photos"]', '{"launch": "photos"', ""):
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", "photos")
        (tmp_path / "manifest.json").write_text(other)
        assert command.is_first_start(tmp_path)


def test_no_module_holds_the_group(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch.distributed.nn.functional", raising=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    for name, value in {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "RANK": "0", "WORLD_SIZE": "1"}.items():
        monkeypatch.setenv(name, value)
    launching._meet(Launch(), "gloo", timedelta(seconds=9))
    try:
        from torch.distributed.nn.functional import all_reduce  # as torch's optimisers import it

        assert all_reduce.__defaults__[-1] is None
    finally:
        torch.distributed.destroy_process_group()
