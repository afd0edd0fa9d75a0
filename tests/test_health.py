"""What is measured while training, and what reports and the progress bar show of it."""

import math

import numpy as np
import pytest
import torch
from programs.watched import Game, log_of
from torch import nn

import pushforward as pf
from pushforward.data.core.named_set import Truth
from pushforward.evaluation.joined import aggregated
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics.manifold import prdc
from pushforward.metrics.modes import count_modes
from pushforward.metrics.two_sample import frechet_distance
from pushforward.recipes import Recipe, Training
from pushforward.testing import space_data
from pushforward.training.checkpoint.storage import latest
from pushforward.training.checkpoint.tensors import gradient_norm, load
from pushforward.training.loop import trainer as steps
from pushforward.training.monitor import health, standard_callbacks as observers
from pushforward.training.monitor.health import FixedNoise
from pushforward.transports import Map


def test_measuring_changes_no_bit(tmp_path, monkeypatch):
    """Weights, averages, running statistics and optimisers after dropout, with samples, norms and
    landscapes, and without.
    """
    data = space_data((2,), labels=False)
    finals = []
    monkeypatch.setattr(health, "interval", lambda batch: 5)
    for name in ("with", "without"):
        if name == "without":
            monkeypatch.setattr(FixedNoise, "observe", lambda self, moment: {})
            monkeypatch.setattr(steps, "NORM_STEPS", 10**9)
            monkeypatch.setattr(observers, "landscape", lambda method, data: {})
        torch.manual_seed(1)
        recipe = Recipe(Game(data.space), Training(batch=64))
        pf.fit(recipe, data, steps=21, out=tmp_path / name, seed=2)
        checkpoint = latest(tmp_path / name / "checkpoints")
        finals.append(load(checkpoint).tensors)
    mine, other = finals
    assert any("running_mean" in key for key in mine["method"])
    torch.testing.assert_close(mine, other, rtol=0, atol=0)
    log = log_of(tmp_path / "with")
    measured = [row["step"] for row in log if "frechet" in row["health"]]
    assert measured == [5, 10, 15, 20]
    normed = [row["step"] for row in log if "gradient_norm/critic" in row["health"]]
    assert normed == [1, 11, 21]
    for row in log:
        assert {"logit_gap", "critic_accuracy"} <= row["health"].keys()


def relative_frechet(x, y):
    """The Fréchet distance as a fraction of the data's variance."""
    return frechet_distance(x, y) / y.var(0).sum()


def coverage_of(x, y, k=5):
    return prdc(x, y, k=k)["coverage"]


def in_model_units(data, x):
    """Rows in the units that measures compare, as float64."""
    return data.space.to_model(x).flatten(1).numpy().astype(float)


TRUTH = Truth(np.array([[0.0, 0.0], [4.0, 1.0], [0.0, 5.0]]), 0.3, np.full(3, 1 / 3))


def scattered(seed, modes, std, n=120):
    """Points about the first centres."""
    rng = np.random.default_rng(seed)
    centres = TRUTH.centres[rng.integers(modes, size=n)]
    return np.float32(centres + std * rng.normal(size=(n, 2)))


@pytest.fixture
def three(monkeypatch):
    """Data of three modes; batches of measures hold all of them."""
    monkeypatch.setattr(health, "BATCH", 1000)
    rows = pf.data.Split(scattered(0, 3, 0.3))
    return pf.data.core.dataset.build("three", rows, truth=TRUTH)


class Placed(nn.Module):
    def __init__(self, rows):
        super().__init__()
        self.register_buffer("rows", rows)

    def forward(self, z, t=None, condition=None):
        return self.rows[: len(z)]


def measures_of(data, rows):
    """What is measured of a generator that makes these rows, in data units."""
    game = Game(data.space)
    game.transport = lambda: Map(Placed(data.space.to_model(rows)), data.space, (3,))
    return FixedNoise(data, 128).of(game)


def test_measures_are_those_of_the_metrics(three):
    samples = torch.from_numpy(scattered(1, 2, 0.5, len(three.train)))
    measures = measures_of(three, samples)
    counts = count_modes(samples.numpy(), TRUTH.centres, TRUTH.std)
    assert measures["modes"] == 3
    assert measures["modes_held"] == 2
    assert measures["bridges"] == pytest.approx(counts.bridges, abs=1e-6)
    assert measures["spread"] == pytest.approx(counts.spread, rel=1e-4)
    x = in_model_units(three, samples)
    y = in_model_units(three, three.train.data_units())
    assert measures["coverage"] == pytest.approx(coverage_of(x, y))
    assert measures["frechet"] == pytest.approx(relative_frechet(x, y), rel=1e-4)


def test_coverage_counts_five_neighbours(three):
    samples = torch.from_numpy(scattered(2, 3, 0.6, len(three.train)))
    x = in_model_units(three, samples)
    y = in_model_units(three, three.train.data_units())
    coverage = measures_of(three, samples)["coverage"]
    assert coverage == pytest.approx(coverage_of(x, y))
    assert 0.1 < coverage_of(x, y, k=4) < coverage < 1, "a value that depends on k"


def test_one_point_in_the_middle_lacks_all_variance(three):
    middle = three.train.data_units().mean(0)
    measures = measures_of(three, middle.expand(len(three.train), 2))
    assert measures["frechet"] == pytest.approx(1, rel=0.02)


def test_images_are_compared_on_their_principal_axes(monkeypatch):
    from sklearn.decomposition import PCA

    monkeypatch.setattr(health, "BATCH", 1000)
    data = space_data((1, 8, 8), labels=False, n=90)
    train = in_model_units(data, data.train.data_units())
    generator = torch.Generator().manual_seed(3)
    samples = torch.rand(90, 1, 8, 8, generator=generator)
    oracle = PCA(32, svd_solver="full").fit(train)
    x = oracle.transform(in_model_units(data, samples))
    y = oracle.transform(train)
    measures = measures_of(data, samples)
    assert measures["frechet"] == pytest.approx(relative_frechet(x, y), rel=1e-4)
    assert measures["coverage"] == pytest.approx(coverage_of(x, y))
    broken = torch.full_like(samples, math.nan)
    assert measures_of(data, broken) == {}


def test_gradient_norms_are_those_of_all_parameters():
    layer = nn.Linear(3, 5)
    outputs = layer(torch.randn(7, 3))
    outputs.square().sum().backward()
    parameters = list(layer.parameters())
    flat = torch.cat([parameter.grad.flatten() for parameter in parameters])
    torch.testing.assert_close(gradient_norm(parameters), flat.norm())


def test_gradient_norms_are_those_before_clipping(tmp_path):
    data = space_data((2,), labels=False)
    recipe = Recipe(Game(data.space), Training(batch=64, clip=1e-7))
    pf.fit(recipe, data, steps=1, out=tmp_path / "run")
    (row,) = log_of(tmp_path / "run")
    assert row["health"]["gradient_norm/critic"] > 1e-3


@pytest.mark.parametrize(("steps", "together"), [((7, 7), 7), ((7, 5), None), ((7, None), None)])
def test_the_weights_of_several_trainings_have_a_step_where_all_have_it(steps, together):
    models = []
    for seed, step in enumerate(steps):
        models.append(ModelResult(f"gan-{seed}", seed=seed, weights_step=step))
    (pooled,) = aggregated(Comparison(models=tuple(models))).models
    assert pooled.weights_step == together
    assert tuple(training.weights_step for training in pooled.trainings) == steps
