"""The arrays that a report draws of one model: samples, how they form, and how they changed over training."""

from __future__ import annotations

import numpy as np
import torch

from pushforward.evaluation.figures import Pictures
from pushforward.evaluation.trajectories import TRACED, trace
from pushforward.training import Run
from pushforward.transports import Latent, Transport, has_levels, has_steps

__all__ = ["SHOWN", "pictures_of"]

SHOWN = {False: 64, True: 1000}
"""Samples that are drawn, by whether they are points."""
FORMING = {False: 16, True: 600}
"""Samples whose formation is drawn."""
DRAWN = 60
"""Trajectories in a picture."""


def pictures_of(transport: Transport, run: Run | None) -> Pictures:
    """Samples of a transport, how they form, and those that its run stored while it was trained."""
    space = transport.space
    return Pictures(
        grid=space.drawing(space.quantise(transport.sample(SHOWN[space.as_points]))),
        formation=_formation(transport),
        paths=_paths(transport),
        training=_history(run) if run else [],
    )


def _formation(transport: Transport) -> list[tuple[float, np.ndarray]] | None:
    space = transport.space
    if has_steps(transport) or (isinstance(transport, Latent) and has_steps(transport.inner)):
        return [(t, space.drawing(space.quantise(x))) for t, x in transport.trajectory(FORMING[space.as_points])]
    return None


def _paths(transport: Transport) -> np.ndarray | None:
    """The trajectories (n, steps + 1, 2) of points in the plane, from noise to data; None for anything else."""
    if not has_levels(transport) or tuple(transport.space.shape) != (2,):
        return None
    _, states = trace(transport, DRAWN, steps=TRACED[True][1])
    return torch.stack([transport.space.to_data(x) for x in states], dim=1).numpy()


def _history(run: Run) -> list[tuple[int, np.ndarray]]:
    frames = []
    for path in sorted((run.folder / "samples").glob("step_*.npz")):
        with np.load(path, allow_pickle=False) as file:
            rows = run.space.drawing(file["x"][: SHOWN[run.space.as_points]])
            frames.append((int(path.stem.removeprefix("step_")), rows))
    return frames
