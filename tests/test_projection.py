"""Projection on the z of one-call models, and variations of them."""

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
    weight, bias = (
        part.detach().double() for part in (model.network.inner.weight, model.network.inner.bias)
    )
    target = model.space.to_model(x).double() - bias
    z = torch.linalg.lstsq(weight, target.T).solution.T
    assert_close(inverted.z.double(), z, atol=1e-3, rtol=1e-3)
    rest = (z @ weight.T - target).square().mean(1).sqrt()
    assert_close(inverted.error.double(), rest, atol=1e-5, rtol=1e-4)
    actual = model.space.to_model(inverted.x).double()
    assert_close(actual, z @ weight.T + bias, atol=3e-3, rtol=1e-3)
    assert inverted.condition is None


def test_projection_is_a_function_of_row_and_seed():
    model = perceptron()
    x = model.space.to_data(normal(9, 5, 40))
    options = {"steps": 30, "starts": 3}
    together = invert(model, x, search=Search(**options))
    for other in (
        invert(model, x, batch=7, search=Search(**options)),
        invert(model, x, search=Search(**options)),
    ):
        assert_close(other.z, together.z, atol=1e-4, rtol=1e-4)
    actual = invert(model, x[3:4], search=Search(**options)).z
    assert_close(actual, together.z[3:4], atol=1e-4, rtol=1e-4)
    assert (
        (invert(model, x, seed=1, search=Search(**options)).first - together.first).abs() > 1e-3
    ).all()


def test_without_a_label_projection_keeps_the_one_that_fits():
    maps = seeded(lambda: torch.randn(3, 7, 2))
    labelled = Map(
        ByLabel(maps), space(conditions={"label": Label(("a", "b", "c"), (0.2, 0.3, 0.5))}), (2,)
    )
    x = torch.cat([labelled.sample(2, {"label": label}, seed=50 + label) for label in (2, 0, 1)])
    free = invert(labelled, x, search=Search(prior=0, steps=200))
    actual = free.condition["label"].tolist()
    assert actual == [2, 2, 0, 0, 1, 1]
    assert (free.error < 1e-3).all()
    forced = invert(labelled, x, {"label": 1}, search=Search(prior=0, steps=200))
    assert forced.condition["label"].tolist() == [1] * 6
    assert (forced.error[:4] > 0.1).all()
    each = invert(
        labelled, x, {"label": [2, 1, 0, 1, 1, 1]}, batch=20, search=Search(prior=0, steps=200)
    )
    assert_close(each.error[[1, 3]], forced.error[[1, 3]], atol=1e-4, rtol=1e-3)
    assert (each.error[[0, 2, 4, 5]] < 1e-3).all()


def test_variations_run_from_z_to_new_samples_and_keep_the_distribution():
    model = linear()
    z = normal(2, 1, 3)[0]
    actual = Nearby(model, z, 1.0).sample(5, seed=8)
    expected = model.sample(5, seed=8)
    assert_close(actual, expected, rtol=0, atol=0)
    with torch.no_grad():
        middle = model.space.to_data(model(z[None]))
        wanted = model(0.8 * z + 0.6 * ExampleDraws(8, 5).normal((3,)))
    actual = Nearby(model, z, 0.6).sample(5, seed=8)
    expected = model.space.to_data(wanted)
    assert_close(actual, expected)
    gaps = [
        float((Nearby(model, z, s).sample(50, seed=8) - middle).abs().mean())
        for s in (1e-3, 0.3, 0.6, 1.0)
    ]
    assert gaps == sorted(gaps)
    assert gaps[0] < 0.01
    actual = Nearby(model, z, 0.6).sample(5, seed=8)[3:4]
    expected = Nearby(model, z, 0.6).sample(1, seed=11)
    assert_close(actual, expected)
    around = torch.cat(
        [Nearby(model, centre, 0.7).sample(1, seed=i) for i, centre in enumerate(normal(0, 800, 3))]
    )
    pvalue = stats.ks_2samp(
        around[:, 0].numpy(), model.sample(4000, seed=10_000)[:, 0].numpy()
    ).pvalue
    assert pvalue > 0.01
