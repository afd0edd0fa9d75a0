"""The commands that repeat a run."""

import numpy as np
from programs.trained import repeated, run_folder, trained_by_command

import pushforward as pf
from pushforward.cli import main
from pushforward.evaluation.models import commands
from pushforward.testing import assert_same, final_state


def test_a_runs_command_repeats_it(tmp_path, monkeypatch):
    """Every setting that the command line takes has a part in what is trained, or in what is stored."""
    rows = np.random.default_rng(0).integers(0, 256, size=(90, 10, 12), dtype=np.uint8)
    np.savez(tmp_path / "my images.npz", x=rows, y=np.arange(90) % 3)
    words = ["vae", "--data", "my images.npz", "--resize", "8", "--limit", "70", "--condition", "none", "--size", "tiny"]
    words += ["--steps", "3", "--batch", "128", "--accumulate", "2", "--lr", "0.002", "--ema", "700", "--precision", "float32"]
    words += ["--augment", "flip,shift", "--checkpoint-every", "2", "--latent-size", "5", "--seed", "3"]
    run = trained_by_command(tmp_path, monkeypatch, *words)
    assert_same(final_state(run.folder), repeated(run))
    again = pf.load(f"{run.folder}-again")
    assert again.spec == run.spec


def test_an_extended_runs_commands_repeat_it(tmp_path, monkeypatch):
    run = trained_by_command(tmp_path, monkeypatch, "flow", "--data", "moons", "--size", "tiny", "--steps", "2")
    assert main(["train", "flow", "--data", "moons", "--size", "tiny", "--steps", "2", "--init", "first", "--out", "second"]) == 0
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
