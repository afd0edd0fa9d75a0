"""Numbers, charts and pictures of the report, and what is drawn over points in the plane."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pushforward.data.core.dataset import Dataset, Split
from pushforward.evaluation.pictures import field_of, formation_of
from pushforward.paths import VP
from pushforward.pictures import grid_picture
from pushforward.solvers import Heun
from pushforward.testing import Mixture
from pushforward.transports import Flow

MEAN, STD = (0.5, -0.3), 0.4


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grids_put_each_image_in_its_place(channels):
    images = np.random.default_rng(0).integers(0, 256, (5, 7, 4, channels), dtype=np.uint8)
    grid = np.asarray(grid_picture(images, columns=3, gap=1))
    assert grid.shape[:2] == (2 * 7 + 1, 3 * 4 + 2)
    grid = grid.reshape(*grid.shape[:2], channels)
    np.testing.assert_array_equal(grid[8:15, 5:9], images[4])
    assert (grid[7] == 255).all()
    with pytest.raises(ValueError, match="uint8"):
        grid_picture(images.astype(float))


# Axes and bars --------------------------------------------------------------------------------------------------


# Points in the plane --------------------------------------------------------------------------------------------


def plane(steps=8):
    return Flow(Mixture(VP(), [list(MEAN)], STD), Heun(), steps)


def rows_of(space, n=60):
    split = Split((np.array(MEAN) + STD * np.random.default_rng(0).normal(size=(n, 2))).astype(np.float32))
    return Dataset("rows", space, split, split)


def test_velocities_and_trajectories_are_those_of_the_closed_form():
    """x_t = (1 - t) m + s(t) z with s^2 = (1 - t)^2 std^2 + t^2, on the straight path, whatever path the model knows."""
    flow = plane()
    field = field_of(flow, rows_of(flow.space))
    left, right, low, high = field.limits
    assert right - left == pytest.approx(high - low)
    side, mean = field.velocities.shape[2], np.array(MEAN)
    share = (np.arange(side) + 0.5) / side
    x = np.stack(np.meshgrid(left + share * (right - left), low + share * (high - low)), axis=-1)
    for number, t in enumerate(field.times[1:-1], 1):
        s = math.hypot((1 - t) * STD, t)
        moved = -mean + (t - (1 - t) * STD**2) / s**2 * (x - (1 - t) * mean)
        np.testing.assert_allclose(field.velocities[0, number], -moved, atol=2e-3)
    starts, ends = field.ways[0, :, :, 0], field.ways[0, :, :, -1]
    np.testing.assert_allclose(ends, mean + STD * starts, atol=0.03)
    assert field.classes == ("",)


def test_points_form_at_the_same_times_and_end_as_the_samples():
    flow = plane()
    samples = flow.sample(5)
    frames = formation_of(flow, samples, 5)
    assert [t for t, _ in frames] == pytest.approx(np.linspace(1, 0, 24).tolist())
    np.testing.assert_array_equal(frames[-1][1], samples.numpy())
    half = {round(t, 3): x for t, x in frames}[round(12 / 23, 3)]
    z = frames[0][1]
    t = 12 / 23
    np.testing.assert_allclose(half, (1 - t) * np.array(MEAN) + math.hypot((1 - t) * STD, t) * z, atol=0.02)
