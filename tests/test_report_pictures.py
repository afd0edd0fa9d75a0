"""Numbers, captions, charts and pictures of the report."""

from __future__ import annotations

import re

import numpy as np
import pytest
from programs.reporting import comparison

from pushforward.evaluation.results import ModelResult
from pushforward.numbers import duration, measured, percent, plain, quantity
from pushforward.pictures import grid_picture, scatter_picture, tick_texts, write_gif
from pushforward.report import captions
from pushforward.report.charts import Series, line_chart


def test_captions_follow_the_family(content):
    heads = {result.name: captions.loss_caption(result) for result in comparison(content).models}
    assert "no measure of quality" in heads["gan"]
    assert "negative ELBO per dimension" in heads["vae"]
    assert "never reaches zero" in heads["ddpm"]
    assert "velocity" in heads["flow"]
    assert captions.family_of(ModelResult()) == "other"


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
    with pytest.raises(ValueError, match="uint8"):
        grid_picture(images.astype(float))


def test_scatter_puts_points_where_they_are():
    picture = np.asarray(scatter_picture(np.array([[0.5, -0.5], [np.nan, 0]]), limits=(-1, 1, -1, 1), size=200))
    rows, columns = np.nonzero((picture != 255).any(-1))
    assert abs(rows.mean() - 149.5) < 1
    assert abs(columns.mean() - 149.5) < 1


@pytest.mark.parametrize("values", [[2015, 2017.5, 2020], [1234565, 1234567, 1234569], [-0.05, 0.0, 0.05], [1e-5, 2e-5]])
def test_ticks_read_back_as_themselves(values):
    assert [float(text) for text in tick_texts(values)] == pytest.approx(values)


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
