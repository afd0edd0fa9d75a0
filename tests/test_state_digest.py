"""One hash of a run's state: any bit of what was computed changes it, and nothing else does."""

import json
import os
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
        flat = tensors[group][max(tensors[group])].view(-1)
        flat[0] = torch.nextafter(flat[0].float(), torch.tensor(torch.inf)).to(flat)

    return change


@pytest.mark.parametrize(
    "change",
    [
        *map(nudged, ("method", "average", "optimizer")),
        lambda tensors, state: state.update(samples=state["samples"] + 1),
    ],
    ids=[*("method", "average", "optimizer"), "counter"],
)
def test_every_bit_of_a_checkpoint_counts(change, run, other):
    rewritten(other, change)
    assert state_digest(other) != state_digest(run)


@pytest.mark.parametrize("name", ["loss", "row"])
def test_every_bit_of_the_log_counts(name, run, other):
    rows = [json.loads(line) for line in (other / "metrics.jsonl").read_text().splitlines()]
    if name == "row":
        rows = rows[1:]
    else:
        loss = rows[0]["loss"]
        loss["denoiser"] = float(
            torch.nextafter(
                torch.tensor(loss["denoiser"]).double(), torch.tensor(torch.inf).double()
            )
        )
    (other / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert state_digest(other) != state_digest(run)


def test_times_places_and_later_rows_do_not_count(run, other):
    """Rows after the checkpoint belong to steps that are computed again."""
    rewritten(
        other, lambda tensors, state: state.update(seconds=state["seconds"] + 1, peak_memory_mb=1.0)
    )
    rows = [
        json.loads(line) | {"seconds": 9.0}
        for line in (other / "metrics.jsonl").read_text().splitlines()
    ]
    (other / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in [*rows, rows[-1] | {"step": 3}])
    )
    assert state_digest(other) == state_digest(run)


def test_the_same_command_ends_in_the_same_state_in_another_process(tmp_path, monkeypatch):
    """From another folder, with another seed of hashes and torch's generators in another state."""
    np.save(tmp_path / "rows.npy", DATA.train.x[:, [0, 1, 0]])  # of three columns nothing is drawn
    words = [
        "train",
        "flow",
        "--data",
        str(tmp_path / "rows.npy"),
        "--steps",
        "2",
        "--size",
        "tiny",
        "--batch",
        "16",
        "--out",
    ]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    torch.manual_seed(9)
    assert main([*words, "mine"]) == 0
    environment = {**os.environ, "PYTHONHASHSEED": "17"}
    command = [sys.executable, "-m", "pushforward", *words, "theirs"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert state_digest("mine") == state_digest(tmp_path / "theirs")
    assert read_spec("mine") == read_spec(tmp_path / "theirs")


def test_a_runs_command_repeats_it(tmp_path, monkeypatch):
    """Every setting that the command line takes has a part in what is trained, or in what is
    stored.
    """
    rows = np.random.default_rng(0).integers(0, 256, size=(90, 10, 12), dtype=np.uint8)
    y = np.arange(90) % 3
    np.savez(tmp_path / "my images.npz", x=rows, y=y)
    words = [
        "vae",
        "--data",
        "my images.npz",
        "--resize",
        "8",
        "--limit",
        "70",
        "--condition",
        "none",
        "--size",
        "tiny",
    ]
    words += [
        "--steps",
        "3",
        "--batch",
        "128",
        "--accumulate",
        "2",
        "--lr",
        "0.002",
        "--ema",
        "700",
        "--precision",
        "float32",
    ]
    words += [
        "--augment",
        "flip,shift",
        "--checkpoint-every",
        "2",
        "--latent-size",
        "5",
        "--seed",
        "3",
    ]
    run = trained_by_command(tmp_path, monkeypatch, *words)
    assert_same(final_state(run.folder), repeated(run))
    again = pf.load(f"{run.folder}-again")
    assert again.spec == run.spec


def test_an_extended_runs_commands_repeat_it(tmp_path, monkeypatch):
    run = trained_by_command(
        tmp_path, monkeypatch, "flow", "--data", "moons", "--size", "tiny", "--steps", "2"
    )
    code = main(
        [
            "train",
            "flow",
            "--data",
            "moons",
            "--size",
            "tiny",
            "--steps",
            "2",
            "--init",
            "first",
            "--out",
            "second",
        ]
    )
    assert code == 0
    assert main(["resume", "second", "--steps", "4"]) == 0
    run = pf.load("second")
    assert [line.split()[1] for line in commands(run)] == ["train", "resume"]
    assert_same(final_state(run.folder), repeated(run))


def test_a_run_from_python_says_that_no_command_repeats_it(tmp_path):
    folder, _ = run_folder(tmp_path)
    assert commands(pf.load(folder))[0].startswith("# ")
    recipe = pf.recipes.flow(pf.data.load("moons").space, "tiny")
    run = pf.fit(recipe, pf.data.load("moons"), steps=1, out=tmp_path / "moons")
    assert commands(run)[0].startswith("# ")
