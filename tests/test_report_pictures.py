"""Numbers, charts and pictures of the report, and what is drawn over points in the plane."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from pushforward.data import ImageSpace, VectorSpace
from pushforward.data.core.dataset import Dataset, Split
from pushforward.evaluation.pictures import field_of, formation_of, mesh_of, pictures_of
from pushforward.numbers import bounded, duration, measured, percent, plain, quantity, shortened
from pushforward.paths import VP
from pushforward.pictures import grid_picture, scatter_picture, write_gif
from pushforward.report.charts import Axis, Plot, Series, line_chart, padded
from pushforward.solvers import Heun
from pushforward.testing import Mixture
from pushforward.transports import Flow, Map

MEAN, STD = (0.5, -0.3), 0.4


def test_numbers_read_well():
    assert measured(0.12345, 0.0082) == ("0.123", "0.008")
    assert measured(12.345, 1.23) == ("12.3", "1.2")
    assert measured(1234.5, 40.2) == ("1,234", "40")
    assert measured(None, 1.0) == ("–", "")
    assert measured(0.5, None) == ("0.500", "")
    assert measured(0.858, 0.0) == ("0.858", "0.000")
    assert measured(8.0, 0.0) == ("8", "0")
    assert [plain(x) for x in (0, 8.0, 0.00123, -2.5, float("nan"), "x")] == ["0", "8", "0.00123", "−2.50", "–", "–"]
    assert [duration(x) for x in (2.1e-4, 3.2, 600, 7201, None)] == ["210 µs", "3.20 s", "10 min", "2.00 h", "–"]
    assert [percent(x) for x in (0, 0.004, 0.123)] == ["0 %", "0.4 %", "12 %"]
    assert [quantity(x) for x in (999, 402_314, 3.1e9)] == ["999", "402 k", "3.10 G"]


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_grids_put_each_image_in_its_place(channels):
    images = np.random.default_rng(0).integers(0, 256, (5, 7, 4, channels), dtype=np.uint8)
    grid = np.asarray(grid_picture(images, columns=3, gap=1))
    assert grid.shape[:2] == (2 * 7 + 1, 3 * 4 + 2)
    grid = grid.reshape(*grid.shape[:2], channels)
    np.testing.assert_array_equal(grid[8:15, 5:9], images[4])
    assert (grid[7] == 255).all()


def test_scatter_puts_points_where_they_are():
    picture = np.asarray(scatter_picture(np.array([[0.5, -0.5], [np.nan, 0]]), limits=(-1, 1, -1, 1), size=200))
    rows, columns = np.nonzero((picture != 255).any(-1))
    assert abs(rows.mean() - 149.5) < 1
    assert abs(columns.mean() - 149.5) < 1


def test_animations_keep_frames_and_time(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 256, (4, 6, 9, 3), dtype=np.uint8) for _ in range(3)]
    points = [rng.normal(size=(20, 2)) for _ in range(3)]
    for number, frames in enumerate((batches, points)):
        path = tmp_path / f"{number}.gif"
        write_gif(path, frames, ms=120)
        with Image.open(path) as animation:
            assert animation.n_frames == 3
            assert animation.info["duration"] == 120
            assert animation.info["loop"] == 0


@pytest.mark.parametrize(("x", "whole"), [(range(1, 17), True), ((0.0, 0.5, 1.0), False)])
def test_what_is_counted_has_ticks_at_whole_numbers(x, whole):
    chart = line_chart([Series("vae", 1, [*x], [1000.0 * number for number in x])], "unit", "KL")
    ticks = [float(number) for number in re.findall(r'text-anchor="middle">([0-9.]+)</text>', chart)]
    assert len(ticks) > 2
    assert all(tick.is_integer() for tick in ticks) == whole


@pytest.mark.parametrize(
    ("value", "interval", "shown"),
    [
        (0.13, (0.112, 0.148), ("0.130", "[0.112, 0.148]")),
        (0.13, (0.10, 0.16), ("0.13", "[0.10, 0.16]")),
        (-0.0001, (-0.0002, 0.01), ("0.000", "[0.000, 0.010]")),
        (1234.5, (1100.0, 1369.0), ("1,234", "[1,100, 1,369]")),
    ],
)
def test_a_value_and_its_interval_have_the_same_decimals(value, interval, shown):
    assert bounded(value, interval) == shown


@pytest.mark.parametrize(("value", "text"), [(0.997, "1.0"), (1.04, "1.0"), (0.98, "0.98"), (0.0999, "0.10")])
def test_a_number_that_rounds_up_to_a_further_digit_has_no_further_decimal(value, text):
    assert plain(value, 2) == text


def test_names_are_cut_in_the_middle_and_stay_distinct():
    names = [f"vae (compare-digits-report{end})" for end in ("", "-2", "-3")]
    assert shortened(names, 20) == ["vae (comp…ts-report)", "vae (comp…-report-2)", "vae (comp…-report-3)"]
    deep = ["x" * 20 + middle + "y" * 20 for middle in "ab"]
    assert shortened(deep, 12) == deep, "rather long than alike"


# Axes and bars --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "log", "note"),
    [
        (0.0, 1.0, False, ""),
        (0.2, 1.0, False, ""),
        (0.8, 1.0, False, " · axis does not start at\u00a00"),
        (0.1, 9.0, True, " · log scale"),
    ],
)
def test_axes_say_where_they_do_not_start_at_0(low, high, log, note):
    ends = (low, high) if log else padded(low, high)
    assert Axis(*ends, 0, 100, log=log).note == note


def test_a_chart_makes_room_for_its_bars_and_draws_them_to_scale():
    chart = line_chart([Series("it", 0, [1, 2], [1.0, 2.0], bars=[(0.0, 3.0), None])], "x", "y")
    lines = [float(y) for y in re.findall(r'class="gridline" [^>]*y1="([\d.]+)"', chart)]
    values = [float(text) for text in re.findall(r'text-anchor="end">([\d.]+)</text>', chart)]
    ((low, high),) = re.findall(r'class="whisker" [^>]*y1="([\d.]+)" [^>]*y2="([\d.]+)"', chart)
    unit = (lines[0] - lines[-1]) / (values[-1] - values[0])
    assert float(low) - float(high) == pytest.approx(3 * unit, abs=0.3)
    assert values[-1] >= 2.5


def test_values_about_zero_do_not_take_the_log_scale_from_the_others():
    lines = [Series("a", 0, (1, 4, 16), (0.5, 0.02, -0.0001))]
    chart = line_chart(lines, "calls", "Distance", Plot(log_x=True, log_y=True), floor=(0.0, 0.001))
    heights = [float(place) for place in re.findall(r'class="dot e0"><title>[^<]*</title><circle cx="[^"]*" cy="([^"]*)"', chart)]
    assert np.diff(heights).min() > 60
    assert "log scale" in chart


def test_real_data_are_rings_and_samples_are_dots():
    """A colour-blind reader tells them apart: rings are empty inside, dots are not."""
    real, points = np.array([[-0.5, 0.0]]), np.array([[0.5, 0.0]])
    picture = np.asarray(scatter_picture(points, real, limits=(-1, 1, -1, 1), size=240, transparent=True))[..., 3]
    assert picture[120, 180] > 200
    assert picture[120, 60] == 0
    assert picture[120, 50:70].max() > 100, "the ring itself"


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


class Shear(nn.Module):
    """Noise of three numbers to the plane: (a, b, c) to (a + 2 b, b + 7 c)."""

    def forward(self, z, t=None, condition=None):
        return torch.stack([z[:, 0] + 2 * z[:, 1], z[:, 1] + 7 * z[:, 2]], dim=1)


def test_a_mesh_is_a_grid_of_noise_as_the_map_sees_it():
    space = VectorSpace((2,), (1.0, 0.0), (2.0, 1.0))
    mesh = mesh_of(Map(Shear(), space, (3,)))
    half = len(mesh) // 2
    assert mesh.shape == (34, 65, 2)
    np.testing.assert_allclose(mesh[0, :, 1], np.linspace(-2, 2, 65), atol=1e-5)
    np.testing.assert_allclose(mesh[0, :, 0], 1 + 2 * (-2 + 2 * np.linspace(-2, 2, 65)), atol=1e-5)
    np.testing.assert_allclose(mesh[half:, :, 1], np.linspace(-2, 2, 17)[:, None] * np.ones(65), atol=1e-5)
    assert mesh_of(plane()) is None


class Fixed(nn.Module):
    """Always the image that it holds, in model units."""

    def __init__(self, image):
        super().__init__()
        self.image = image

    def forward(self, z, t=None, condition=None):
        return self.image.expand(len(z), *self.image.shape)


def test_the_nearest_training_image_is_drawn_beside_a_sample():
    rng = np.random.default_rng(2)
    train, held = (rng.integers(0, 256, (n, 1, 4, 4), dtype=np.uint8) for n in (30, 12))
    space = ImageSpace((1, 4, 4), (0.0,), (0.5,))
    data = Dataset("images", space, Split(train), Split(held))
    changed = train[7].astype(float) / 255
    changed[0, 0, 0] += 0.25 if changed[0, 0, 0] < 0.5 else -0.25
    model = Map(Fixed(torch.from_numpy(2 * changed).float()), space, (3,))
    nearest = pictures_of(model, None, data).nearest
    assert (nearest.x[0, :, :, 0] == train[7, 0]).all()
    assert nearest.distances[0] == pytest.approx(0.5, abs=0.01), "a quarter over a standard deviation of a half"
    flat = [array.reshape(len(array), -1) / 255 / 0.5 for array in (held, train)]
    gaps = np.linalg.norm(flat[0][:, None] - flat[1][None], axis=2).min(1)
    assert nearest.usual == pytest.approx(float(np.median(gaps)))
