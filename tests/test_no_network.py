"""The row of no network: Gaussians of the classes, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from programs.gaussian_data import dataset, handwritten, vectors
from programs.rows import random

from pushforward.evaluation.baselines import SHRINKAGE, GaussianBaseline


@pytest.fixture(scope="module")
def digits():
    return handwritten()


def test_the_baseline_has_the_mean_and_covariance_of_each_class():
    x, labels = vectors(4000, d=6)
    data = dataset(x, labels)
    model, n = GaussianBaseline.fit(data), 5000
    for k in range(3):
        drawn = model.sample(n, {"label": k}).double().numpy()
        rows = data.train.x[data.train.labels == k].astype(np.float64)
        wanted = np.cov(rows.T, bias=True)
        wide = np.sqrt(np.diag(wanted))
        np.testing.assert_allclose(drawn.mean(0) / wide, rows.mean(0) / wide, atol=5 / np.sqrt(n))
        np.testing.assert_allclose(np.cov(drawn.T) / np.outer(wide, wide), wanted / np.outer(wide, wide), atol=4 * np.sqrt(2 / n))


def test_the_model_units_covariance_is_exact_up_to_the_shrinkage():
    x, _ = vectors(900, d=9)
    data = dataset(x)
    model = GaussianBaseline.fit(data)
    rows = data.space.to_model(data.train.data_units()).double().numpy()
    wanted = np.cov(rows.T, bias=True)
    covariance = (model.factors[0].T @ model.factors[0]).double().numpy() + np.diag(model.residuals[0].double().numpy() ** 2)
    shrunk = (1 - SHRINKAGE) * wanted + SHRINKAGE * np.diag(np.diag(wanted))
    np.testing.assert_allclose(covariance, shrunk, atol=1e-5)


def test_row_i_of_the_baseline_comes_from_seed_plus_i_alone_bit_for_bit(digits):
    for data in (digits, digits.without_labels(), dataset(*vectors())):
        model = GaussianBaseline.fit(data)
        assert torch.equal(model.sample(8, seed=0)[4:], model.sample(4, seed=4))
        assert torch.equal(model.sample(8, seed=0), model.sample(8, seed=0, batch=3))
        assert torch.equal(model.sample(8, seed=3)[5:6], model.sample(1, seed=8))
    assert model.sample(2).dtype == torch.float32


def test_the_baseline_of_wide_images_is_low_rank_with_the_right_variances():
    r = random(5)
    low = r.standard_normal((400, 5)) @ r.standard_normal((5, 1200)) * 12 + 3 * r.standard_normal((400, 1200)) + 128
    x = np.clip(np.rint(low), 0, 255).astype(np.uint8).reshape(400, 3, 20, 20)
    data = dataset(x, held_out=100)
    model = GaussianBaseline.fit(data)
    assert model.factors[0].shape == (256, 1200)
    rows = data.space.to_model(data.train.data_units()).flatten(1).double()
    variance = model.factors[0].double().square().sum(0) + model.residuals[0].double().square()
    np.testing.assert_allclose(variance, rows.var(0, correction=0), rtol=1e-3)
    strongest = torch.linalg.svdvals(rows - rows.mean(0))[:5] / np.sqrt(300)
    np.testing.assert_allclose(torch.linalg.svdvals(model.factors[0].double())[:5], strongest, rtol=1e-2)
    z = torch.randn(4, *model.noise_shape)
    z[:2, :256], z[2:, 256:] = 0, 0
    own, common = (model(z).flatten(1) - model.means).split(2)
    torch.testing.assert_close(own, z[:2, 256:] * model.residuals)
    torch.testing.assert_close(common, z[2:, :256] @ model.factors[0], atol=1e-4, rtol=1e-4)
    samples = model.sample(30)
    assert samples.shape == (30, 3, 20, 20)
    assert 0 <= samples.min() <= samples.max() <= 1
