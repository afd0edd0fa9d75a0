"""Runs of a few steps, in folders of their own."""

import dataclasses
import shlex
import shutil
from pathlib import Path

import pushforward as pf
from pushforward.cli import main
from pushforward.evaluation.models import commands
from pushforward.testing import final_state, recipe_for, space_data


def run_folder(tmp_path, steps=4, every=2):
    """A copy of a run that is trained once, with its data."""
    data = space_data((2,), labels=False)
    prepared = tmp_path.parent / f"made-{steps}-{every}"
    if not prepared.exists():
        pf.fit(recipe_for("flow", data), data, steps=steps, out=prepared, checkpoint_every=every)
    return Path(shutil.copytree(prepared, tmp_path / "run")), data


def other(space, **changes):
    return dataclasses.replace(space, **changes)


def trained_by_command(tmp_path, monkeypatch, *words):
    monkeypatch.chdir(tmp_path)
    assert main(["train", *words, "--out", "first"]) == 0
    return pf.load("first")


def repeated(run):
    """The state that a run's own commands lead to."""
    for number, line in enumerate(commands(run)):
        program, *words = shlex.split(line)
        assert program == "pushforward"
        output = ["--out", f"{run.folder}-again"] if number == 0 else []
        if output and "--out" in words:
            place = words.index("--out")
            del words[place : place + 2]
        if number:
            words[1] = f"{run.folder}-again"
        assert main([*words, *output]) == 0
    return final_state(Path(f"{run.folder}-again"))
