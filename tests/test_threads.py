"""How threads wait, and how many there are: chosen before torch, measured in steps, kept with the
run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from pushforward import runtime
from pushforward.testing import recipe_for, space_data
from pushforward.training.api import prepare, reopen
from pushforward.training.monitor import threads
from pushforward.training.monitor.threads import ROUNDS, Threads

CPU = torch.device("cpu")
REPOSITORY = Path(__file__).parents[1]
ENTRIES = {
    "import pushforward": "import pushforward",
    "console script": "from pushforward.cli import main; assert main(['--help']) == 0",
    "python -m pushforward": "import contextlib, runpy\nwith contextlib.suppress(SystemExit):\n"
    "    runpy.run_module('pushforward', run_name='__main__')",
    "tests": "import sys; sys.path.insert(0, 'tests'); import conftest",
}


def python(code, stderr=subprocess.PIPE):
    """What a process prints whose user has set nothing for OpenMP."""
    clean = {
        name: value for name, value in os.environ.items() if name not in runtime.THREAD_VARIABLES
    }
    path = os.pathsep.join([str(REPOSITORY / "src"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**clean, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
        cwd=REPOSITORY,
        check=True,
    )
    return done.stdout.strip()


SHOW = """
import os, sys
names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
print([os.environ.get(name) for name in names], "torch" in sys.modules)
"""


@pytest.mark.parametrize("entry", ENTRIES)
def test_entries_choose_before_torch_is_imported(entry):
    actual = python(ENTRIES[entry] + SHOW).splitlines()[-1]
    assert actual == f"[None, '{runtime.SPINS}', None] False"


@pytest.fixture
def free(monkeypatch):
    """A machine of four cores on which the user has set nothing; the numbers that torch is given,
    in order.
    """
    current = [4]
    given = []
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: current[0])
    monkeypatch.setattr(
        torch, "set_num_threads", lambda n: (given.append(n), current.__setitem__(0, n))
    )
    monkeypatch.setattr(threads, "_defaults", lambda: {4})
    return current


def simulate(measured, start, end, seconds):
    """The threads of steps start to end, if a step with n threads takes ``seconds(n, step)``."""
    used = []
    for step in range(start, end):
        used.append(measured.threads_for(step))
        assert used[-1] == measured.at(step)
        measured.measured(step, seconds(used[-1], step))
    return used


def test_the_fastest_number_is_chosen_and_written_before_its_first_step(tmp_path, free):
    measured = Threads(tmp_path, CPU)
    length = 3 * (ROUNDS + 1)
    used = simulate(measured, 0, length, lambda n, step: {4: 3.0, 2: 1.0, 1: 2.0}[n])
    assert used == [4, 2, 1] * (ROUNDS + 1)
    stages = json.loads((tmp_path / "threads.json").read_text())["stages"]
    assert stages == [{"step": 0, "threads": [4, 2, 1]}]
    assert measured.threads_for(length) == 2
    stages = json.loads((tmp_path / "threads.json").read_text())["stages"][1]
    assert stages == {"step": length, "threads": [2]}


@pytest.mark.parametrize("cut", [0, 5, 17, 18, 40, 249, 255, 290])
def test_a_resumed_run_uses_the_same_threads(tmp_path, free, cut):
    """Whatever its steps take now: what was written is replayed."""
    whole = simulate(Threads(tmp_path, CPU), 0, 400, lambda n, step: n if step < 100 else 1 / n)
    free[0] = 4
    again = Threads(tmp_path, CPU)
    again.resume(cut)
    actual = simulate(again, cut, 400, lambda n, step: abs(n - 2))
    assert actual == whole[cut:]


def test_training_keeps_its_threads_with_the_run_and_gives_torch_its_own_back(
    tmp_path, monkeypatch
):
    """Two threads or one, where a step with one takes half the time."""
    monkeypatch.setattr(threads, "_numbers", lambda device: [2, 1])
    used = []
    measured = Threads.measured

    def simulated(self, step, seconds):
        used.append(torch.get_num_threads())
        measured(self, step, float(used[-1]))

    monkeypatch.setattr(Threads, "measured", simulated)
    before = torch.get_num_threads()
    data = space_data((2,), labels=False)
    turns = 2 * (ROUNDS + 1)
    trainer = prepare(recipe_for("flow", data), data, steps=turns + 8, out=tmp_path / "run")
    trainer.advance()
    assert torch.get_num_threads() == before
    assert used == [2, 1] * (ROUNDS + 1) + [1] * 8
    stages = json.loads((tmp_path / "run/threads.json").read_text())["stages"]
    assert stages == [{"step": 0, "threads": [2, 1]}, {"step": turns, "threads": [1]}]
    used.clear()
    reopen(tmp_path / "run", steps=turns + 12, data=data).advance()
    assert used == [1] * 4
