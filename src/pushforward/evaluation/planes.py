"""Arrays of models of points in the plane: how a flow moves every part of it, and what a map makes of a grid of noise."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from pushforward.conditions import Request
from pushforward.data import Dataset
from pushforward.denoisers import Condition, Repathed
from pushforward.evaluation.figures import Field2D
from pushforward.evaluation.trajectories import trace, trace_from
from pushforward.paths import Linear
from pushforward.pictures import Limits, limits_of, square
from pushforward.transports import Flow, Map, Transport

__all__ = ["field_of", "formation_of", "mesh_of", "seen_limits"]

FRAMES = 24
"""Moments of a formation."""
STEPS = 32
"""Steps of a formation and of a trajectory."""
CELLS = 22
"""Trajectories start at the middles of so many cells along each side."""
ARROWS = 15
"""Velocities along each side."""
MOMENTS = 13
"""Times at which velocities are taken."""
CLASSES = 3
"""Classes whose fields are drawn, at most."""
NOISE = 2.2
"""Standard deviations of noise that are shown on either side."""
MESH = (17, 65)
"""Lines of a grid of noise along each axis, and points on a line."""
EDGE = 2.0
"""How far a grid of noise reaches, in standard deviations."""


def seen_limits(data: Dataset) -> Limits:
    """The square that holds nearly all data, and noise of `NOISE` standard deviations in data units."""
    space = data.space
    corners = space.to_data(torch.tensor([[-NOISE, -NOISE], [NOISE, NOISE]])).numpy().astype(float)
    left, right, low, high = limits_of(data.held_out.data_units(slice(0, 2000)).numpy())
    points = np.concatenate([corners, [[left, low], [right, high]]])
    return square(points.min(0), points.max(0))


def formation_of(flow: Flow, samples: Tensor, n: int) -> list[tuple[float, np.ndarray]]:
    """Points at evenly spaced times on the straight path, the same times for every model, and at t = 0 the samples themselves.

    Args:
        flow: Of points in the plane.
        samples: What `Transport.sample` draws from seed 0, (at least n, 2), data units.
        n: How many points.

    Returns:
        (t, points (n, 2) in data units), from noise to data.
    """
    times, states = trace(flow, n, steps=STEPS)
    wanted = np.linspace(1.0, 0.0, FRAMES)[:-1]
    frames = [(float(t), flow.space.to_data(_between(times, states, float(t))).numpy()) for t in wanted]
    return [*frames, (0.0, samples[:n].numpy())]


def _between(times: Tensor, states: Tensor, t: float) -> Tensor:
    """The states (steps + 1, n, 2) at a time between those of the solve, by linear interpolation."""
    at = int((times >= t).sum().clamp(1, len(times) - 1))
    before, after = float(times[at - 1]), float(times[at])
    share = min(1.0, max(0.0, (before - t) / (before - after)))
    return torch.lerp(states[at - 1], states[at], share)


def field_of(flow: Flow, data: Dataset) -> Field2D:
    """Velocities and trajectories on grids over the plane, for each class of a model with labels, the first three at most."""
    limits = seen_limits(data)
    straight, times = Repathed(flow.denoiser, Linear()), np.linspace(1.0, 0.0, MOMENTS)
    low, high = straight.path.ends
    places, starts = (flow.space.to_model(_middles(limits, side)).to(flow.device) for side in (ARROWS, CELLS))
    width = torch.as_tensor(flow.space.scale, device=flow.device)
    velocities, ways, classes = [], [], []
    way_times = torch.zeros(0)
    for name, number in _labels(flow):
        given = _given(flow, len(places), number)
        with torch.no_grad():
            moved = [
                -width
                * straight.predict("velocity", places, torch.full((len(places),), min(max(t, low), high)).to(places), given)
                for t in times.tolist()
            ]
        velocities.append(torch.stack(moved).reshape(MOMENTS, ARROWS, ARROWS, 2).cpu().numpy())
        way_times, states = trace_from(flow, starts, STEPS, _given(flow, len(starts), number))
        points = torch.stack([flow.space.to_data(x) for x in states], dim=1)
        ways.append(points.reshape(CELLS, CELLS, STEPS + 1, 2).numpy())
        classes.append(name)
    return Field2D(limits, times, np.stack(velocities), way_times.numpy(), np.stack(ways), tuple(classes))


def _middles(limits: Limits, side: int) -> Tensor:
    """The middles of side x side cells, (side^2, 2), data units; rows from the least to the greatest y."""
    share = (np.arange(side) + 0.5) / side
    xs, ys = (low + share * (high - low) for low, high in (limits[:2], limits[2:]))
    return torch.from_numpy(np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2).astype(np.float32))


def _labels(flow: Flow) -> Iterator[tuple[str, int | None]]:
    classes = flow.space.classes if "label" in flow.space.conditions else ()
    yield from ((str(name), number) for number, name in enumerate(classes[:CLASSES]))
    if not classes:
        yield "", None


def _given(transport: Transport, n: int, label: int | None) -> Condition:
    """One condition for all n examples: a class, and of everything else what seed 0 draws."""
    kinds = transport.space.conditions
    examples = Request(kinds).values(1, {} if label is None else {"label": label}, 0)
    return None if examples is None else {name: v.expand(n, *v.shape[1:]).to(transport.device) for name, v in examples.items()}


def mesh_of(transport: Transport) -> np.ndarray | None:
    """Straight lines through the noise of a model of one call, as it maps them: (lines, points, 2), data units.

    The lines lie in the plane of the noise's first two numbers, where the others are 0, and of labels they have the first. Half
    of them run along either axis.

    Returns:
        None for models in steps and models whose noise is a single number or no vector.
    """
    if not isinstance(transport, Map) or len(transport.noise_shape) != 1 or transport.noise_shape[0] < 2:
        return None
    lines, points = MESH
    across, along = np.meshgrid(np.linspace(-EDGE, EDGE, lines), np.linspace(-EDGE, EDGE, points), indexing="ij")
    z = torch.zeros(2 * lines * points, transport.noise_shape[0])
    z[:, :2] = torch.from_numpy(np.concatenate([np.stack([across, along], -1), np.stack([along, across], -1)]).reshape(-1, 2))
    label = 0 if "label" in transport.space.conditions else None
    with torch.no_grad():
        x = transport.space.to_data(transport(z.to(transport.device), _given(transport, len(z), label))).float().cpu()
    return x.reshape(2 * lines, points, 2).numpy()
