"""Trajectories and losses by noise level against closed forms: one Gaussian and one point, on every
path.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from pushforward.data.core.dataset import Dataset, Split
from pushforward.draws import ExampleDraws
from pushforward.evaluation.trajectories import (
    loss_by_level,
    path_energy,
    straightness,
    trace,
    transport_cost,
)
from pushforward.paths import VE, VP, Cosine, Linear, Shifted
from pushforward.solvers import Heun
from pushforward.testing import Mixture, ring
from pushforward.transports import Flow

PATHS = [Linear(), Cosine(), VP(), VE(0.01, 100.0), Shifted(Linear(), 3.0)]
MEAN = (1.5, -0.4, 0.8)
STD = 0.3


def gaussian(path, mean=MEAN, std=STD):
    return Flow(Mixture(path, [mean], std), Heun(), 4)


def dataset(flow, rows):
    split = Split(np.asarray(rows, dtype=np.float32))
    return Dataset("rows", flow.space, split, split)


def closed_form(times, states, mean=MEAN, std=STD):
    """E |z - x|^2 and E int |v|^2 of the ideal flow, whose trajectories are x_t = (1 - t) m + s(t)
    z with s(t)^2 = (1 - t)^2 std^2 + t^2, hence v = s'(t) z - m; z is that of the trajectories on
    which the states start."""
    start = float(times[0])
    m = torch.tensor(mean, dtype=torch.float64)
    width = math.hypot((1 - start) * std, start)
    z = (states[0].double() - (1 - start) * m) / width

    def square_of_slope(t):
        slope = t - (1 - t) * std**2
        return slope**2 / ((1 - t) ** 2 * std**2 + t**2)

    cross = -2 * (1 - std) * float((z @ m).mean()) + float(m @ m)
    square = float(z.square().sum(1).mean())
    integral, _ = quad(square_of_slope, 0, 1, points=[0.1 * std, min(std, 0.9)])
    return (1 - std) ** 2 * square + cross, integral * square + cross


@pytest.mark.parametrize("path", PATHS)
def test_a_gaussian_flow_has_the_straightness_and_energy_of_its_closed_form(path):
    """The same numbers on all paths, whatever solver and steps the flow itself has."""
    check_closed_form(path, STD)


def test_a_wide_gaussian_flow_has_the_straightness_and_energy_of_its_closed_form():
    check_closed_form(VP(), 2.0)


def check_closed_form(path, std):
    flow = gaussian(path, std=std)
    moved, energy = closed_form(*trace(flow, 60), std=std)
    assert path_energy(flow, 60) == pytest.approx(energy, rel=5e-3)
    assert straightness(flow, 60) == pytest.approx(energy / moved - 1, abs=5e-3)


def test_trajectories_start_from_the_noise_of_sampling_and_end_at_its_samples():
    """In parts of 256 rows, each row by its own seed; the end is that of a fine solve on the flow's
    own path.
    """
    flow = Flow(ring(VP()), Heun(), 60)
    times, states = trace(flow, 300, seed=11)
    assert states.shape == (65, 300, 2)
    assert times[-1] == 0
    noise = ExampleDraws(11, 300).normal((2,))
    torch.testing.assert_close(states[0], noise * float(times[0]))
    _, last_rows = trace(flow, 10, seed=301)
    torch.testing.assert_close(states[:, 290:], last_rows)
    gaps = (states[-1] - flow.sample(300, seed=11)).norm(dim=1)
    assert float(gaps.median()) < 0.02, "few rows lie between two modes, where a small step decides"


def test_the_least_is_found_among_all_rows():
    """Data that is the noise itself, moved and shuffled: nothing is less than to move each row
    back, |m|^2.
    """
    mean = (0.5, -0.2)
    flow = gaussian(Linear(), mean, 1.0)
    rows = ExampleDraws(7, 200).normal((2,)).numpy() + np.float32(mean)
    shuffled = np.random.default_rng(0).permutation(rows)
    cost = transport_cost(flow, dataset(flow, shuffled), 200, seed=7)
    least = np.square(mean).sum()
    energy = path_energy(flow, 200, seed=7)
    assert cost == pytest.approx(energy / least - 1, rel=1e-4)


@pytest.mark.parametrize("path", PATHS)
def test_loss_at_a_level_is_the_posterior_variance_of_v(path):
    """Given x_t, v = const - x r / sigma, and x has variance s^2 sigma^2 / (alpha^2 s^2 +
    sigma^2).
    """
    rows = np.random.default_rng(2).normal(size=(2_000, 3)) * STD + MEAN
    flow = gaussian(path)
    levels = loss_by_level(flow.denoiser, dataset(flow, rows), examples=2_000)
    assert len(levels) == 13
    for level in levels:
        snr = math.exp(level.log_snr)
        exact = (1 + snr) * STD**2 / (snr * STD**2 + 1)
        standard_error = exact * math.sqrt(2 / 3 / 2_000)
        assert abs(level.error - exact) < 4 * standard_error
