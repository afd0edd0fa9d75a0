"""Runs on the command line: training, resuming, signals."""

import json
import os
import shutil
from pathlib import Path

from programs import forking
from programs.command_line import TINY, run

from pushforward.cli import main


def signalled(code):
    """Exit code and stderr of ``run(name)`` for each signal, in processes forked from one that has loaded torch."""
    forks = """
for name in ("SIGINT", "SIGTERM"):
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs inherit that it is ignored
        os.dup2(os.open(name + ".txt", os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 2)
        sys.exit(run(name))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    head = (
        "import os, signal, sys, threading, time\nfrom pushforward.cli import main\nfrom pushforward import recipes, training\n"
    )
    done = forking.run(head + code + forks)
    assert done.returncode == 0, done.stderr
    return [
        (int(code), Path(f"{name}.txt").read_text())
        for code, name in zip(done.stdout.split(), ("SIGINT", "SIGTERM"), strict=True)
    ]


def test_a_signal_ends_sampling_and_leaves_nothing(here):
    code = """
from pushforward import transports
drawn = transports.Transport._begun
def cut(self, start, *args):
    if start == 20:
        assert [name for name in os.listdir() if name.startswith(".tmp-")]
        os.kill(os.getpid(), getattr(signal, transports.name))
    return drawn(self, start, *args)
transports.Transport._begun = cut
def run(name):
    transports.name = name
    return main(["sample", "flow", "--n", "400", "--batch", "10", "--steps", "2", "--out", f"cut-{name}.npz"])
"""
    for (exit_code, err), wanted, says in zip(signalled(code), (130, 143), ("interrupted", ""), strict=True):
        assert exit_code == wanted, err
        assert says in err
        assert "Traceback" not in err
    assert not [name for name in os.listdir() if "cut-SIG" in name]


def test_resume_says_a_finished_run_is_finished_and_extends_it(here, capsys):
    assert main(["train", "vae", "--data", "moons", "--out", "long", *TINY]) == 0
    code, _, err = run(capsys, "resume", "long")
    assert code == 0
    assert "finished" in err
    code, out, _ = run(capsys, "resume", "long", "--steps", "6", "--json")
    assert (code, json.loads(out)["step"]) == (0, 6)


def test_ctrl_c_saves_and_resume_goes_on(here):
    code = """
import torch._dynamo  # which optimisers import
def soon(name):
    while not os.path.exists(f"cut-{name}/metrics.jsonl"): time.sleep(.02)
    os.kill(os.getpid(), getattr(signal, name))
def run(name):
    threading.Thread(target=soon, args=[name], daemon=True).start()
    words = ["--data", "moons", "--size", "tiny", "--steps", "1000000", "--batch", "64", "--out", f"cut-{name}"]
    return main(["train", "vae", *words])
"""
    for (exit_code, err), wanted, folder in zip(signalled(code), (130, 75), ("cut-SIGINT", "cut-SIGTERM"), strict=True):
        assert exit_code == wanted, err
        assert f"next: pushforward resume {folder}" in err
        assert os.listdir(f"{folder}/checkpoints")
        step = int(max(os.listdir(f"{folder}/checkpoints")).removeprefix("step_").removesuffix(".json"))
        assert main(["resume", folder, "--steps", str(step + 1), "--json"]) == 0
        shutil.rmtree(folder)
