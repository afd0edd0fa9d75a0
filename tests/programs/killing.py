"""Trainings of every recipe that are killed several times: run by ``test_kills.py``, in a process that has trained nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

# loaded once, before processes are forked
import safetensors.torch  # noqa: F401
import scipy.optimize  # noqa: F401
import sklearn.neighbors  # noqa: F401
import torch
import torch._dynamo

from pushforward import spec
from pushforward.methods import trajectories
from pushforward.testing import recipe_for, shape_for, space_data
from pushforward.testing.kills import Chain, forked
from pushforward.training import observers

STEPS = {"steps": 6, "checkpoint_every": 2}


def chain(name, folder, keep):
    """An epoch is two steps of two parts; a checkpoint is written every second step."""
    data = space_data(shape_for(name), labels=True, n=256)
    folder.mkdir()
    return Chain(lambda: recipe_for(name, data, batch=128, accumulate=2), data, folder, STEPS, keep)


def main(root):
    """The kills of each case that is given, as JSON."""
    torch.set_num_threads(1)
    spec.registered()
    trajectories.CHUNK = 16  # a teacher's trajectories are written in four parts
    observers.PICTURES, observers.SAMPLES = (0.3,), dict.fromkeys((False, True), 4)
    for name, keep, kinds, seed in json.load(sys.stdin):
        outcome = chain(name, root / name, keep).killed(kinds, seed, forked)
        print(json.dumps([name, outcome]), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
