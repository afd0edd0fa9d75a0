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
    cases = [
        (name, 1 if number % 2 else None, kinds, f"{SEED}/{name}")
        for number, (name, kinds) in enumerate(KINDS_OF.items())
    ]
    done = forking.run(CODE, given=json.dumps(cases), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, dict(map(json.loads, done.stdout.splitlines())), done.stderr


@pytest.mark.parametrize("name", KINDS_OF)
def test_a_killed_run_loses_nothing_and_ends_bit_for_bit(name, killed):
    """After each kill: it died there, the newest checkpoint is whole and none that was saved is
    gone. Then the end.
    """
    folder, outcomes, said = killed
    assert [kill["kind"] for kill in outcomes[name]] == [*KINDS_OF[name], "end"]
    assert [kill for kill in outcomes[name] if kill["wrong"]] == [], said
    actual = state_digest(folder / name / "cut")
    assert actual == state_digest(folder / name / "whole")
    assert [row["step"] for row in pf.load(folder / name / "cut").losses()] == list(range(1, 7))


def test_a_run_that_keeps_one_checkpoint_has_one(killed):
    folder = killed[0]
    counts = {
        name: len([*(folder / name / "cut" / "checkpoints").glob("step_*")])
        for name in ("consistency", "flow")
    }
    assert counts == {"consistency": 1, "flow": 1}
