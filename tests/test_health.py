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
    for name in ("with", "without"):
        if name == "without":
            monkeypatch.setattr(FixedNoise, "look", lambda self, moment: {})
            monkeypatch.setattr(steps, "NORMS", 10**9)
            monkeypatch.setattr(observers, "landscape", lambda method, data: {})
        monkeypatch.setattr(health, "interval", lambda batch: 5)
        torch.manual_seed(1)
        pf.fit(
            Recipe(Game(data.space), Training(batch=64)),
            data,
            steps=21,
            out=tmp_path / name,
            seed=2,
        )
        finals.append(load(latest(tmp_path / name / "checkpoints")).tensors)
    (mine, other) = finals
    measured = log_of(tmp_path / "with")
    assert any("running_mean" in key for key in mine["method"])
    for group in mine:
        for key, tensor in mine[group].items():
            assert torch.equal(tensor, other[group][key]), f"{group}/{key}"
    assert [row["step"] for row in measured if "frechet" in row["health"]] == [5, 10, 15, 20]
    assert [row["step"] for row in measured if "gradient_norm/critic" in row["health"]] == [
        1,
        11,
        21,
    ]
    assert all({"logit_gap", "critic_accuracy"} <= row["health"].keys() for row in measured)


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


def test_measures_are_those_of_the_metrics(monkeypatch):
    monkeypatch.setattr(health, "BATCH", 1000)
    truth = Truth(np.array([[0.0, 0.0], [4.0, 1.0], [0.0, 5.0]]), 0.3, np.full(3, 1 / 3))
    rng = np.random.default_rng(0)
    rows = truth.centres[rng.integers(3, size=120)] + 0.3 * rng.normal(size=(120, 2))
    data = pf.data.core.dataset.build("three", pf.data.Split(rows.astype(np.float32)), truth=truth)
    samples = truth.centres[rng.integers(2, size=120)] + 0.5 * rng.normal(size=(120, 2))
    samples = torch.tensor(samples[: len(data.train)], dtype=torch.float32)
    measures = measures_of(data, samples)
    of = count_modes(samples.numpy(), truth.centres, truth.std)
    assert (measures["modes"], measures["modes_held"]) == (3, 2)
    assert measures["bridges"] == pytest.approx(of.bridges, abs=1e-6)
    assert measures["spread"] == pytest.approx(of.spread, rel=1e-4)
    mine, real = (
        data.space.to_model(x).numpy().astype(float) for x in (samples, data.train.data_units())
    )
    assert measures["coverage"] == pytest.approx(prdc(mine, real, k=5)["coverage"])
    assert measures["frechet"] == pytest.approx(
        frechet_distance(mine, real) / real.var(0).sum(), rel=1e-4
    )
    near = torch.tensor(
        truth.centres[rng.integers(3, size=len(data.train))]
        + 0.6 * rng.normal(size=(len(data.train), 2))
    ).float()
    clouds = [data.space.to_model(x).numpy().astype(float) for x in (near, data.train.data_units())]
    coverage = measures_of(data, near)["coverage"]
    assert coverage == pytest.approx(prdc(*clouds, k=5)["coverage"])
    assert 0.1 < prdc(*clouds, k=4)["coverage"] < prdc(*clouds, k=5)["coverage"] < 1, (
        "a value that depends on k"
    )
    middle = measures_of(data, data.train.data_units().mean(0).expand(len(data.train), 2))
    assert middle["frechet"] == pytest.approx(1, rel=0.02), (
        "one point in the middle: all variance is missing"
    )


def test_images_are_compared_on_their_principal_axes(monkeypatch):
    from sklearn.decomposition import PCA

    monkeypatch.setattr(health, "BATCH", 1000)
    data = space_data((1, 8, 8), labels=False, n=90)
    train = data.space.to_model(data.train.data_units()).flatten(1).numpy().astype(float)
    generator = torch.Generator().manual_seed(3)
    samples = torch.rand(90, 1, 8, 8, generator=generator)
    oracle = PCA(32, svd_solver="full").fit(train)
    mine, real = (
        oracle.transform(rows) for rows in (data.space.to_model(samples).flatten(1).numpy(), train)
    )
    measures = measures_of(data, samples)
    assert measures["frechet"] == pytest.approx(
        frechet_distance(mine, real) / real.var(0).sum(), rel=1e-4
    )
    assert measures["coverage"] == pytest.approx(prdc(mine, real, k=5)["coverage"])
    assert measures_of(data, torch.full_like(samples, math.nan)) == {}


def test_gradient_norms_are_those_before_clipping(tmp_path):
    layer = nn.Linear(3, 5)
    (layer(torch.randn(7, 3)) ** 2).sum().backward()
    flat = torch.cat([p.grad.flatten() for p in layer.parameters()])
    actual = gradient_norm(list(layer.parameters()))
    torch.testing.assert_close(actual, flat.norm())
    data = space_data((2,), labels=False)
    pf.fit(
        Recipe(Game(data.space), Training(batch=64, clip=1e-7)), data, steps=1, out=tmp_path / "run"
    )
    actual = log_of(tmp_path / "run")[0]["health"]["gradient_norm/critic"]
    assert actual > 1e-3


@pytest.mark.parametrize(("steps", "together"), [((7, 7), 7), ((7, 5), None), ((7, None), None)])
def test_the_weights_of_several_trainings_have_a_step_where_all_have_it(steps, together):
    models = [
        ModelResult(f"gan-{seed}", seed=seed, weights_step=step) for seed, step in enumerate(steps)
    ]
    pooled = aggregated(Comparison(models=tuple(models))).models[0]
    assert pooled.weights_step == together
    assert tuple(training.weights_step for training in pooled.trainings) == steps
