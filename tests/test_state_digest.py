"""One hash of a run's state: any bit of what was computed changes it, and nothing else does."""

import json
import math
import os
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from programs.digest import state_digest
from programs.trained import repeated, run_folder, trained_by_command

import pushforward as pf
from pushforward.cli import main
from pushforward.evaluation.models import commands
from pushforward.testing import assert_same, final_state, recipe_for, space_data
from pushforward.training.checkpoint.storage import fill, latest, seal
from pushforward.training.checkpoint.tensors import load
from pushforward.training.runs.spec_file import read_spec

DATA = space_data((2,), labels=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("digest") / "run"
    return pf.fit(recipe_for("flow", DATA), DATA, steps=2, out=folder).folder


@pytest.fixture
def other(run, tmp_path):
    return shutil.copytree(run, tmp_path / "other")


def rewritten(folder, change):
    """The newest checkpoint of a run is written again with its tensors and its state changed, and
    valid.
    """
    stored = load(latest(folder / "checkpoints"))
    change(stored.tensors, stored.state)
    shutil.rmtree(stored.folder)
    stored.folder.mkdir()
    fill(stored.folder, stored.tensors, stored.state)
    seal(stored.folder)


def nudged(group):
    """The first number of a group's last tensor moves by one unit in the last place."""

    def change(tensors, state):
        last = max(tensors[group])
        flat = tensors[group][last].view(-1)
        flat[0] = torch.nextafter(flat[0].float(), torch.tensor(torch.inf)).to(flat)

    return change


def counted(tensors, state):
    state["samples"] += 1


CHANGES = {
    "method": nudged("method"),
    "average": nudged("average"),
    "optimizer": nudged("optimizer"),
    "counter": counted,
}


def read_log(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def write_log(folder, rows):
    lines = [json.dumps(row) + "\n" for row in rows]
    (folder / "metrics.jsonl").write_text("".join(lines))


@pytest.mark.parametrize("change", CHANGES)
def test_every_bit_of_a_checkpoint_counts(change, run, other):
    rewritten(other, CHANGES[change])
    assert state_digest(other) != state_digest(run)


def test_every_bit_of_a_loss_counts(run, other):
    rows = read_log(other)
    loss = rows[0]["loss"]
    loss["denoiser"] = math.nextafter(loss["denoiser"], math.inf)
    write_log(other, rows)
    assert state_digest(other) != state_digest(run)


def test_every_row_of_the_log_counts(run, other):
    rows = read_log(other)
    write_log(other, rows[1:])
    assert state_digest(other) != state_digest(run)


def take_longer(tensors, state):
    state["seconds"] += 1
    state["peak_memory_mb"] = 1.0


def test_times_places_and_later_rows_do_not_count(run, other):
    """Rows after the checkpoint belong to steps that are computed again."""
    rewritten(other, take_longer)
    rows = read_log(other)
    for row in rows:
        row["seconds"] = 9.0
    later = {**rows[-1], "step": 3}
    write_log(other, [*rows, later])
    assert state_digest(other) == state_digest(run)


def test_the_same_command_ends_in_the_same_state_in_another_process(tmp_path, monkeypatch):
    """From another folder, with another seed of hashes and torch's generators in another state."""
    rows = tmp_path / "rows.npy"
    np.save(rows, DATA.train.x[:, [0, 1, 0]])  # of three columns nothing is drawn
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    words = shlex.split(f"train flow --data {rows} --steps 2 --size tiny --batch 16 --out")
    torch.manual_seed(9)
    assert main([*words, "mine"]) == 0
    environment = {**os.environ, "PYTHONHASHSEED": "17"}
    command = [sys.executable, "-m", "pushforward", *words, "theirs"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs = tmp_path / "theirs"
    assert state_digest("mine") == state_digest(theirs)
    assert read_spec("mine") == read_spec(theirs)


VAE = """
    vae --data 'my images.npz' --resize 8 --limit 70 --condition none --size tiny
    --steps 3 --batch 128 --accumulate 2 --lr 0.002 --ema 700 --precision float32
    --augment flip,shift --checkpoint-every 2 --latent-size 5 --seed 3
"""


def test_a_runs_command_repeats_it(tmp_path, monkeypatch):
    """Every setting that the command line takes has a part in what is trained, or in what is
    stored.
    """
    rows = np.random.default_rng(0).integers(0, 256, size=(90, 10, 12), dtype=np.uint8)
    np.savez(tmp_path / "my images.npz", x=rows, y=np.arange(90) % 3)
    run = trained_by_command(tmp_path, monkeypatch, *shlex.split(VAE))
    assert_same(final_state(run.folder), repeated(run))
    again = pf.load(f"{run.folder}-again")
    assert again.spec == run.spec


def test_an_extended_runs_commands_repeat_it(tmp_path, monkeypatch):
    words = shlex.split("flow --data moons --size tiny --steps 2")
    trained_by_command(tmp_path, monkeypatch, *words)
    assert main(["train", *words, "--init", "first", "--out", "second"]) == 0
    assert main(["resume", "second", "--steps", "4"]) == 0
    run = pf.load("second")
    verbs = [line.split()[1] for line in commands(run)]
    assert verbs == ["train", "resume"]
    assert_same(final_state(run.folder), repeated(run))


def test_a_run_from_python_says_that_no_command_repeats_it(tmp_path):
    folder, _ = run_folder(tmp_path)
    assert commands(pf.load(folder))[0].startswith("# ")
    moons = pf.data.load("moons")
    recipe = pf.recipes.flow(moons.space, "tiny")
    run = pf.fit(recipe, moons, steps=1, out=tmp_path / "moons")
    assert commands(run)[0].startswith("# ")
