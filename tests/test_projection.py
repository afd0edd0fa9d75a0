"""Projection on the z of one-call models, and variations of them."""

import pytest
import torch
from programs.one_call import linear, normal, perceptron, seeded, space
from scipy import stats
from torch import nn
from torch.testing import assert_close

from pushforward.conditions import Label
from pushforward.draws import ExampleDraws
from pushforward.editing import Nearby, Search, invert
from pushforward.transports import Map


class ByLabel(nn.Module):
    """One linear map for each label."""

    def __init__(self, maps):
        super().__init__()
        self.register_buffer("maps", maps)

    def forward(self, z, t, condition):
        return torch.einsum("nij,nj->ni", self.maps[condition["label"]], z)


def test_projection_solves_a_linear_model_as_least_squares_do():
    model = linear()
    x = model.space.to_data(normal(7, 4, 7))
    inverted = invert(model, x, search=Search(prior=0, starts=2, steps=400))
    inner = model.network.inner
    weight = inner.weight.detach().double()
    bias = inner.bias.detach().double()
    target = model.space.to_model(x).double() - bias
    z = torch.linalg.lstsq(weight, target.T).solution.T
    assert_close(inverted.z.double(), z, atol=1e-3, rtol=1e-3)
    fitted = z @ weight.T
    rest = (fitted - target).square().mean(1).sqrt()
    assert_close(inverted.error.double(), rest, atol=1e-5, rtol=1e-4)
    actual = model.space.to_model(inverted.x).double()
    assert_close(actual, fitted + bias, atol=3e-3, rtol=1e-3)
    assert inverted.condition is None


def test_projection_is_a_function_of_row_and_seed():
    model = perceptron()
    x = model.space.to_data(normal(9, 5, 40))

    def projected(x, **options):
        return invert(model, x, search=Search(steps=30, starts=3), **options)

    together = projected(x)
    for other in (projected(x, batch=7), projected(x)):
        assert_close(other.z, together.z, atol=1e-4, rtol=1e-4)
    alone = projected(x[3:4])
    assert_close(alone.z, together.z[3:4], atol=1e-4, rtol=1e-4)
    apart = projected(x, seed=1).first - together.first
    assert (apart.abs() > 1e-3).all()


@pytest.fixture
def labelled():
    """A linear map for each of three labels."""
    maps = seeded(lambda: torch.randn(3, 7, 2))
    label = Label(("a", "b", "c"), (0.2, 0.3, 0.5))
    return Map(ByLabel(maps), space(conditions={"label": label}), (2,))


def test_without_a_label_projection_keeps_the_one_that_fits(labelled):
    search = Search(prior=0, steps=200)
    labels = [2, 2, 0, 0, 1, 1]
    pairs = []
    for index in (2, 0, 1):
        pair = labelled.sample(2, {"label": index}, seed=50 + index)
        pairs.append(pair)
    x = torch.cat(pairs)
    free = invert(labelled, x, search=search)
    assert free.condition["label"].tolist() == labels
    assert (free.error < 1e-3).all()
    forced = invert(labelled, x, {"label": 1}, search=search)
    assert forced.condition["label"].tolist() == [1] * 6
    assert (forced.error[:4] > 0.1).all()
    each = invert(labelled, x, {"label": [2, 1, 0, 1, 1, 1]}, batch=20, search=search)
    wrong = [1, 3]
    right = [0, 2, 4, 5]
    assert_close(each.error[wrong], forced.error[wrong], atol=1e-4, rtol=1e-3)
    assert (each.error[right] < 1e-3).all()


def test_variations_run_from_z_to_new_samples():
    model = linear()
    z = normal(2, 1, 3)[0]

    def varied(strength, n=5, seed=8):
        return Nearby(model, z, strength).sample(n, seed=seed)

    assert_close(varied(1.0), model.sample(5, seed=8), rtol=0, atol=0)
    noise = ExampleDraws(8, 5).normal((3,))
    with torch.no_grad():
        middle = model.space.to_data(model(z[None]))
        wanted = model.space.to_data(model(0.8 * z + 0.6 * noise))
    assert_close(varied(0.6), wanted)
    gaps = []
    for strength in (1e-3, 0.3, 0.6, 1.0):
        distances = (varied(strength, n=50) - middle).abs()
        gaps.append(float(distances.mean()))
    assert gaps == sorted(gaps)
    assert gaps[0] < 0.01
    assert_close(varied(0.6)[3:4], varied(0.6, n=1, seed=11))


def test_variations_of_samples_keep_the_distribution():
    model = linear()
    samples = []
    for i, centre in enumerate(normal(0, 800, 3)):
        variation = Nearby(model, centre, 0.7)
        samples.append(variation.sample(1, seed=i))
    around = torch.cat(samples)[:, 0]
    new = model.sample(4000, seed=10_000)[:, 0]
    test = stats.ks_2samp(around.numpy(), new.numpy())
    assert test.pvalue > 0.01
