"""The arrays that a report draws of one model: samples, how they form, and how they changed over training."""

from __future__ import annotations

import numpy as np
import torch

from pushforward.data import Dataset
from pushforward.data.core.keys import permutation
from pushforward.evaluation.features import quantised
from pushforward.evaluation.figures import NearestImages, Pictures
from pushforward.evaluation.moments import moments_of
from pushforward.evaluation.neighbours import nearest_examples
from pushforward.evaluation.planes import field_of, formation_of, mesh_of
from pushforward.evaluation.trajectories import TRACED, trace
from pushforward.training import Run
from pushforward.transports import Flow, Latent, Transport, has_levels, has_steps
from pushforward.transports.rejection import unmet_kept

__all__ = ["FORMING", "SHOWN", "history_of", "pictures_of", "real_pictures"]

SHOWN = {False: 64, True: 1000}
"""Samples that are drawn, by whether they are points."""
FORMING = {False: 25, True: 600}
"""Samples whose formation is drawn, and of images those whose nearest training image is."""
DRAWN = 60
"""Trajectories in a picture."""
JUDGED = 200
"""Held-out images that say how far from the training images an image usually is."""


def pictures_of(transport: Transport, run: Run | None, data: Dataset | None = None) -> Pictures:
    """Samples of a transport, how they form, and those that its run stored while it was trained.

    Args:
        transport: What is drawn.
        run: Where samples of earlier moments lie; None where there are none.
        data: In which the images nearest to samples are looked for, and which says what part of the plane is shown.
    """
    space, plane = transport.space, tuple(transport.space.shape) == (2,)
    with unmet_kept():
        x = transport.sample(SHOWN[space.as_points])
    moving = transport if plane and has_levels(transport) else None
    return Pictures(
        grid=space.drawing(space.quantise(x)),
        formation=_formation(transport) if moving is None else formation_of(moving, x, FORMING[True]),
        paths=None if moving is None else _paths(moving),
        training=history_of(run) if run else [],
        nearest=_nearest(x[: FORMING[False]], data) if data is not None and space.has_pixels else None,
        field=None if data is None or moving is None else field_of(moving, data),
        mesh=mesh_of(transport) if plane else None,
    )


def _formation(transport: Transport) -> list[tuple[float, np.ndarray]] | None:
    space = transport.space
    if has_steps(transport) or (isinstance(transport, Latent) and has_steps(transport.inner)):
        return [(t, space.drawing(space.quantise(x))) for t, x in transport.trajectory(FORMING[space.as_points])]
    return None


def _paths(transport: Flow) -> np.ndarray:
    """The trajectories (n, steps + 1, 2) of points in the plane, from noise to data."""
    _, states = trace(transport, DRAWN, steps=TRACED[True][1])
    return torch.stack([transport.space.to_data(x) for x in states], dim=1).numpy()


def real_pictures(data: Dataset) -> Pictures:
    """Held-out examples, as many as samples are drawn."""
    picked = permutation(len(data.held_out), 0)[: SHOWN[data.space.as_points]]
    return Pictures(data.space.drawing(data.space.quantise(data.held_out.data_units(picked))))


def history_of(run: Run) -> list[tuple[int, np.ndarray]]:
    """The samples that a run stored while it was trained, up to its own step, from the same noise: step and samples.

    Raises:
        CheckpointError: If a file holds other arrays than those of samples.
    """
    frames = []
    for step, arrays in moments_of(run):
        if "x" in arrays and step <= run.state["step"]:
            frames.append((step, run.space.drawing(arrays["x"][: SHOWN[run.space.as_points]])))
    return frames


def _nearest(x: torch.Tensor, data: Dataset) -> NearestImages:
    """The training images nearest to samples in data units, beside the distance that held-out images have to theirs."""
    scale = data.space.scale
    unit = torch.from_numpy(scale)
    examples, distances = nearest_examples(quantised(x, data.space).flatten(1) / unit, data, 1, scale)
    held_out = data.held_out.data_units(permutation(len(data.held_out), 0)[:JUDGED])
    _, usual = nearest_examples(held_out.flatten(1) / unit, data, 1, scale)
    images = data.space.drawing(data.space.quantise(data.train.data_units(examples[:, 0])))
    return NearestImages(images, distances[:, 0], float(np.median(usual)))
