"""A change of the trainer changes no training: 50 steps of every recipe against losses recorded before (``golden/losses.py``)."""

import json
from pathlib import Path

import numpy as np
import pytest
from golden.losses import CASES, GAMES, trained

GOLDEN = json.loads((Path(__file__).parent / "golden" / "losses.json").read_text())
ROUNDING = 1e-6
"""A game whose control hardly drifts is held to this."""


def test_every_recipe_is_recorded():
    assert GOLDEN.keys() == CASES.keys()


@pytest.mark.parametrize("case", CASES)
def test_fifty_steps_end_in_the_same_losses(case, tmp_path):
    """To 1e-4; a game amplifies rounding, so its first gradients agree to 1e-5 and its losses within three times the drift."""
    losses, gradients = trained(case, tmp_path / "run")
    golden = GOLDEN[case]
    assert losses.keys() == golden["losses"].keys()
    for player, values in losses.items():
        recorded = np.array(golden["losses"][player])
        apart = np.abs(np.array(values) - recorded) / np.abs(recorded)
        if case not in GAMES:
            assert apart.max() < 1e-4, player
            continue
        drift = np.abs(np.array(golden["control"][player]) - recorded) / np.abs(recorded)
        allowed = 3 * np.maximum.accumulate(np.maximum(drift, ROUNDING))
        assert (apart <= allowed).all(), player
        mine, first = np.array(gradients[player]), np.array(golden["gradients"][player])
        assert np.abs(mine - first).max() < 1e-5 * first[0], player
