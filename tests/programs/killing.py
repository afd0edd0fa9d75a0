"""Trainings of every recipe that are killed several times: run by ``test_kills.py``, in a process
that has trained nothing.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from programs.interruptions import Chain, forked

from pushforward.methods import trajectories
from pushforward.testing import recipe_for, shape_for, space_data
from pushforward.training.monitor import standard_callbacks as observers

STEPS = {"steps": 6, "checkpoint_every": 2}


def chain(name, folder, keep):
    """An epoch is two steps of two parts; a checkpoint is written every second step."""
    data = space_data(shape_for(name), labels=True, n=256)
    folder.mkdir()
    return Chain(lambda: recipe_for(name, data, batch=128, accumulate=2), data, folder, STEPS, keep)


def main(root):
    """The kills of each case that is given, as JSON."""
    torch.set_num_threads(1)
    trajectories.CHUNK = 16  # a teacher's trajectories are written in four parts
    observers.PICTURES = (0.3,)
    observers.SAMPLES = dict.fromkeys((False, True), 4)
    cases = json.load(sys.stdin)
    chains = {name: chain(name, root / name, keep) for name, keep, *_ in cases}
    _, wholes = forked(
        lambda: {name: undisturbed.run("whole") for name, undisturbed in chains.items()}
    )
    for name, _, kinds, seed in cases:
        chains[name].whole = wholes[name]
        outcome = chains[name].killed(kinds, seed, forked)
        print(json.dumps([name, outcome]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
