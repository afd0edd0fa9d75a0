"""Streams that nobody reads or that are closed: the work goes on to its end, and its exit code is that of the work."""

import json
import os
import subprocess
import sys

import pytest
from programs import forking

import pushforward as pf
from pushforward.testing import recipe_for, space_data

TRAIN = ["train", "flow", "--data", "moons", "--size", "tiny", "--steps", "3", "--batch", "32", "--out", "run"]
LOST = """
import os, sys
from pathlib import Path
from pushforward.cli import main
reading, writing = os.pipe()
os.close(reading)
for number in {broken}:
    os.dup2(writing, number)
for number in {closed}:
    os.close(number)
sys.stdout, sys.stderr = (None if number in {closed} else open(number, "w", closefd=False) for number in (1, 2))
code = main({words})
for number in {closed}:
    assert os.path.samestat(os.fstat(number), os.stat(os.devnull)), "another file has the number of a closed stream"
Path("code").write_text(str(code))
"""


@pytest.mark.parametrize(("broken", "closed"), [((1, 2), ()), ((2,), (1,)), ((), (1, 2))])
def test_a_training_is_finished_whether_anybody_reads_of_it(broken, closed, tmp_path):
    done = forking.run(LOST.format(broken=broken, closed=closed, words=TRAIN), cwd=tmp_path)
    assert (tmp_path / "code").read_text() == "0", done.stderr
    assert json.loads((tmp_path / "run/checkpoints/latest.json").read_text())["checkpoint"] == "step_000003"


@pytest.mark.parametrize("words", [["data", "list"], ["--help"]])
def test_a_list_that_is_read_in_part_is_no_error(words):
    reading, writing = os.pipe()
    os.close(reading)
    call = [sys.executable, "-m", "pushforward", *words]
    done = subprocess.run(call, stdout=writing, stderr=subprocess.PIPE, text=True)
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&- <&-"])
def test_a_closed_stream_is_no_bug(closed):
    done = subprocess.run(["sh", "-c", f'"{sys.executable}" -m pushforward data list {closed}'], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


class Broken:
    """A stream that nobody reads."""

    def write(self, text):
        raise BrokenPipeError

    def flush(self):
        raise BrokenPipeError

    def isatty(self):
        return False


@pytest.mark.parametrize("stream", [None, Broken()])
def test_progress_that_nobody_reads_does_not_stop_a_training(stream, monkeypatch, tmp_path, capsys):
    data = space_data((2,), labels=False)
    monkeypatch.setattr(sys, "stderr", stream)
    run = pf.fit(recipe_for("flow", data), data, steps=2, out=tmp_path / "run", progress=pf.Progress(interval=0.0))
    assert run.state["step"] == 2
    assert pf.resume(run.folder, data=data, steps=3).state["step"] == 3
    assert capsys.readouterr().out == ""
