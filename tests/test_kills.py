"""SIGKILL at two seeded events for each recipe, one within a save: no checkpoint is lost, and the
end is the same.

A failure names its kill, which replays: ``Kill(kind, number)`` of the same recipe is the same
    event.
"""

import json

import pytest
from programs import forking
from programs.digest import state_digest
from programs.interruptions import KINDS

import pushforward as pf
from pushforward.registries import RECIPES

SEED = 21
KINDS_OF = {name: list(KINDS[:: 1 if number % 2 else -1]) for number, name in enumerate(RECIPES)}
"""What each recipe is doing as it dies, time after time."""
CODE = "import sys; from pathlib import Path; from programs.killing import main; main(Path.cwd())"


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """The folder, and by recipe what happened at each kill and at the end; every other run keeps
    one checkpoint.
    """
    folder = tmp_path_factory.mktemp("kills")
    cases = []
    for number, (name, kinds) in enumerate(KINDS_OF.items()):
        keep = 1 if number % 2 else None
        cases.append((name, keep, kinds, f"{SEED}/{name}"))
    done = forking.run(CODE, given=json.dumps(cases), cwd=folder)
    assert done.returncode == 0, done.stderr
    outcomes = dict(map(json.loads, done.stdout.splitlines()))
    return folder, outcomes, done.stderr


@pytest.mark.parametrize("name", KINDS_OF)
def test_a_killed_run_loses_nothing_and_ends_bit_for_bit(name, killed):
    """After each kill: it died there, the newest checkpoint is whole and none that was saved is
    gone. Then the end.
    """
    folder, outcomes, said = killed
    kills = outcomes[name]
    kinds = [kill["kind"] for kill in kills]
    assert kinds == [*KINDS_OF[name], "end"]
    wrong = [kill for kill in kills if kill["wrong"]]
    assert wrong == [], said
    cut = folder / name / "cut"
    whole = folder / name / "whole"
    assert state_digest(cut) == state_digest(whole)
    steps = [row["step"] for row in pf.load(cut).losses()]
    assert steps == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("name", ["consistency", "flow"])
def test_a_run_that_keeps_one_checkpoint_has_one(name, killed):
    folder, *_ = killed
    checkpoints = folder / name / "cut" / "checkpoints"
    assert len(list(checkpoints.glob("step_*"))) == 1
