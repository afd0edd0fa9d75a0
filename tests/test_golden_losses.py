"""A change of the trainer changes no training: 50 steps of every recipe against losses recorded
before (``golden/losses.py``).
"""

from __future__ import annotations

import collections
import contextlib
import json
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from golden.losses import AMPLIFYING, CASES, STEPS, trained

from pushforward.draws import BlockDraws


@contextlib.contextmanager
def consumers():
    """A dict, filled within: for each stream, the functions that have drawn from it, each with its
    file.
    """
    drawn = collections.defaultdict(set)

    def noted(call):
        def draw(draws, *arguments):
            frame = sys._getframe(1)
            drawn[draws.name].add(f"{Path(frame.f_code.co_filename).name} {frame.f_code.co_name}")
            return call(draws, *arguments)

        return draw

    with (
        patch.object(BlockDraws, "normal", noted(BlockDraws.normal)),
        patch.object(BlockDraws, "uniform", noted(BlockDraws.uniform)),
    ):
        yield drawn


GOLDEN = json.loads((Path(__file__).parent / "golden" / "losses.json").read_text())
ROUNDING = 1e-6
"""Where the controls hardly drift, losses are held to this."""
AHEAD = np.minimum(np.arange(STEPS) + 2, STEPS - 1)
"""Processors do not part from one another in the same step: a loss may drift as much as controls do
two steps later.
"""
SHARED = {
    "train": {"couplings.py training_noise", "path.py numbers"},
    "train/augment": {
        "adversarial.py forward",
        "adversarial.py <genexpr>",
        "adversarial.py _translation",
    },
}
"""Streams of several consumers that only their order tells apart: noise comes before times, and one
augmentation after another. No other part can come in between; names of their own would change all
trainings."""


def test_every_recipe_is_recorded():
    assert GOLDEN.keys() == CASES.keys()


@pytest.mark.parametrize("case", CASES)
def test_fifty_steps_end_in_the_same_losses(case, tmp_path):
    """To 1e-4; what amplifies rounding agrees in its first gradients to 1e-5, and in its losses to
    three times the drift.

    Each stream of draws has one consumer, so that no new one shifts another's numbers.
    """
    with consumers() as drawn:
        losses, gradients = trained(case, tmp_path / "run")
    for name, places in drawn.items():
        assert len(places) == 1 or places <= SHARED.get(name, set()), name
    assert any(name.startswith("train") for name in drawn)
    golden = GOLDEN[case]
    assert losses.keys() == golden["losses"].keys()
    for player, values in losses.items():
        recorded = np.array(golden["losses"][player])
        apart = np.abs(np.array(values) - recorded) / np.abs(recorded)
        if case not in AMPLIFYING:
            assert apart.max() < 1e-4, player
            continue
        controls = np.array([control[player] for control in golden["controls"]])
        drift = (np.abs(controls - recorded) / np.abs(recorded)).max(axis=0)
        allowed = 3 * np.maximum.accumulate(np.maximum(drift, ROUNDING))[AHEAD]
        late = np.flatnonzero(apart > allowed)
        assert not len(late), (
            f"{player}, steps {late.tolist()}: {apart[late]} where {allowed[late]} are allowed"
        )
        mine = np.array(gradients[player])
        first = np.array(golden["gradients"][player])
        largest = np.abs(mine - first).max()
        assert largest < 1e-5 * first[0], player
