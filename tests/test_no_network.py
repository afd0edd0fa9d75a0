"""The rows of no network, against closed forms: Gaussians of the classes, mixtures, independent
columns, copies.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from programs.gaussian_data import dataset, handwritten, vectors
from programs.rows import random
from programs.tables import fitted_by, mixed_table
from scipy import stats

from pushforward.data import Split, TableSpace
from pushforward.data.core.dataset import build
from pushforward.evaluation.baselines import SHRINKAGE, GaussianBaseline
from pushforward.evaluation.evaluator import Evaluator
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.metrics import Score
from pushforward.metrics.memorisation import near_copies
from pushforward.tables import Category, Number
from pushforward.tables.baselines import (
    INDEPENDENT_ROWS,
    ROW_COPIES,
    DrawnRows,
    RowMixture,
    _Rows,
    drawn_rows,
)


@pytest.fixture(scope="module")
def digits():
    return handwritten()


def test_the_baseline_has_the_mean_and_covariance_of_each_class():
    x, labels = vectors(4000, d=6)
    data = dataset(x, labels)
    model = GaussianBaseline.fit(data)
    n = 5000
    for k in range(3):
        drawn = model.sample(n, {"label": k}).double().numpy()
        rows = data.train.x[data.train.labels == k].astype(np.float64)
        wanted = np.cov(rows.T, bias=True)
        wide = np.sqrt(np.diag(wanted))
        actual = drawn.mean(0) / wide
        expected = rows.mean(0) / wide
        np.testing.assert_allclose(actual, expected, atol=5 / np.sqrt(n))
        actual = np.cov(drawn.T) / np.outer(wide, wide)
        expected = wanted / np.outer(wide, wide)
        np.testing.assert_allclose(actual, expected, atol=4 * np.sqrt(2 / n))


def test_the_model_units_covariance_is_exact_up_to_the_shrinkage():
    x, _ = vectors(900, d=9)
    data = dataset(x)
    model = GaussianBaseline.fit(data)
    rows = data.space.to_model(data.train.data_units()).double().numpy()
    wanted = np.cov(rows.T, bias=True)
    covariance = (model.factors[0].T @ model.factors[0]).double().numpy() + np.diag(
        model.residuals[0].double().numpy() ** 2
    )
    shrunk = (1 - SHRINKAGE) * wanted + SHRINKAGE * np.diag(np.diag(wanted))
    np.testing.assert_allclose(covariance, shrunk, atol=1e-5)


def test_row_i_of_the_baseline_comes_from_seed_plus_i_alone_bit_for_bit(digits):
    for data in (digits, digits.without_labels(), dataset(*vectors())):
        model = GaussianBaseline.fit(data)
        actual = model.sample(8, seed=0)[4:]
        expected = model.sample(4, seed=4)
        assert torch.equal(actual, expected)
        actual = model.sample(8, seed=0)
        expected = model.sample(8, seed=0, batch=3)
        assert torch.equal(actual, expected)
        actual = model.sample(8, seed=3)[5:6]
        expected = model.sample(1, seed=8)
        assert torch.equal(actual, expected)
    assert model.sample(2).dtype == torch.float32


def test_the_baseline_of_wide_images_is_low_rank_with_the_right_variances():
    r = random(5)
    low = (
        r.standard_normal((400, 5)) @ r.standard_normal((5, 1200)) * 12
        + 3 * r.standard_normal((400, 1200))
        + 128
    )
    x = np.clip(np.rint(low), 0, 255).astype(np.uint8).reshape(400, 3, 20, 20)
    data = dataset(x, held_out=100)
    model = GaussianBaseline.fit(data)
    assert model.factors[0].shape == (256, 1200)
    rows = data.space.to_model(data.train.data_units()).flatten(1).double()
    variance = model.factors[0].double().square().sum(0) + model.residuals[0].double().square()
    np.testing.assert_allclose(variance, rows.var(0, correction=0), rtol=1e-3)
    strongest = torch.linalg.svdvals(rows - rows.mean(0))[:5] / np.sqrt(300)
    actual = torch.linalg.svdvals(model.factors[0].double())[:5]
    np.testing.assert_allclose(actual, strongest, rtol=1e-2)
    z = torch.randn(4, *model.noise_shape)
    z[:2, :256] = 0
    z[2:, 256:] = 0
    own, common = (model(z).flatten(1) - model.means).split(2)
    torch.testing.assert_close(own, z[:2, 256:] * model.residuals)
    torch.testing.assert_close(common, z[2:, :256] @ model.factors[0], atol=1e-4, rtol=1e-4)
    samples = model.sample(30)
    assert samples.shape == (30, 3, 20, 20)
    assert 0 <= samples.min() <= samples.max() <= 1


SHARES = [[0.05, 0.15, 0.8], [0.8, 0.1, 0.1]]
"""Of the letters, in rows of either kind."""


def two_kinds(n=1000):
    """A number and three categories that are independent within each of two kinds of rows."""
    r = np.random.default_rng(0)
    kind = r.random(n) < 0.3
    number = np.where(kind, 1.5, -0.6) + 0.5 * r.normal(size=n)
    letters = [
        np.where(kind, r.choice(3, n, p=SHARES[1]), r.choice(3, n, p=SHARES[0])) for _ in range(3)
    ]
    return np.column_stack([number, *letters]).astype(float)


def fitted(values):
    letters = [
        Category.measured(f"letter {place}", values[:, place], ["a", "b", "c"])
        for place in (1, 2, 3)
    ]
    return TableSpace.of([Number.measured("number", values[:, 0]), *letters])


@pytest.fixture(scope="module")
def data():
    return build("two", Split(two_kinds()), schema=fitted_by(fitted))


@pytest.fixture(scope="module")
def mixed():
    return mixed_table(400)


def test_a_mixture_recovers_its_components(data):
    mixture = RowMixture.fit(data, 2)
    order = mixture.means[:, 0].argsort()
    np.testing.assert_allclose(mixture.weights[order], [0.7, 0.3], atol=0.05)
    for start in (1, 4, 7):
        actual = mixture.logits[order][:, start : start + 3].exp()
        np.testing.assert_allclose(actual, SHARES, atol=0.07)


def test_the_density_of_a_mixture_is_scipys(data):
    mixture = RowMixture.fit(data, 3, 2)
    rows = data.held_out.data_units()[:5]
    letters = rows[:, 1:].bool().numpy()
    parts = [
        np.log(weight)
        + stats.norm.logpdf(rows[:, 0], mean[0], deviation[0])
        + letters @ logits[1:].numpy()
        for weight, logits, mean, deviation in zip(
            mixture.weights.numpy(),
            mixture.logits,
            mixture.means.numpy(),
            mixture.deviations.numpy(),
            strict=True,
        )
    ]
    joint = _Rows(rows, mixture.layout).joint(mixture)
    expected = np.logaddexp.reduce(parts)
    np.testing.assert_allclose(joint.logsumexp(1), expected, rtol=1e-4)


@pytest.mark.parametrize("name", [INDEPENDENT_ROWS, ROW_COPIES, "mixture"])
def test_baselines_sample_row_by_row(mixed, name):
    model = RowMixture.fit(mixed, 3, 2) if name == "mixture" else drawn_rows(mixed)[name]
    rows = model.sample(30, seed=5)
    assert torch.equal(rows, model.sample(30, seed=5, batch=7))
    expected = model.sample(26, seed=9)
    assert torch.equal(rows[4:], expected)
    np.testing.assert_allclose(
        mixed.space.quantise(rows)[:, 3:], rows[:, 3:], atol=1e-5
    ) if name != "mixture" else None


def test_independent_columns_keep_each_column_and_nothing_else(mixed):
    real, drawn = (
        mixed.space.values(x)
        for x in (mixed.train.x, drawn_rows(mixed)[INDEPENDENT_ROWS].sample(4000))
    )
    for column in range(5):
        a, b = (np.nan_to_num(values[:, column], nan=-9) for values in (real, drawn))
        assert set(b) <= set(a)
        assert stats.ks_2samp(a, b).statistic < 0.07
    related = [np.corrcoef(values[:, 2], values[:, 4])[0, 1] for values in (real, drawn)]
    assert related[0] > 0.15
    assert abs(related[1]) < 0.06


@pytest.mark.parametrize("name", [INDEPENDENT_ROWS, ROW_COPIES])
def test_every_training_row_is_drawn_as_often(name):
    field = Number.measured("x", np.arange(100.0))
    space = TableSpace.of([field])
    rows = torch.from_numpy(space.encoded(np.arange(100.0)[:, None]))
    drawn = space.values(DrawnRows(space, rows, name == ROW_COPIES).sample(4000).numpy())[:, 0]
    pvalue = stats.ks_1samp(drawn + 0.5, stats.uniform(0, 100).cdf).pvalue
    assert pvalue > 0.01


def test_copies_are_training_rows(mixed):
    drawn = mixed.space.quantise(drawn_rows(mixed)[ROW_COPIES].sample(300))
    training = {row.tobytes() for row in mixed.space.quantise(mixed.train.x)}
    assert {row.tobytes() for row in drawn} <= training
    assert len({row.tobytes() for row in drawn}) > 150
    copies, threshold = near_copies(drawn, mixed.train.x, mixed.held_out.x, mixed.space.scale)
    assert threshold > 0
    assert copies.all()


def test_a_judge_scores_the_baselines_of_a_table(mixed):
    judge = Evaluator(mixed, repeats=1, metrics=["near_copies"])
    comparison = judge.comparison(baselines=True)
    assert comparison.baseline.name == "baseline (mixture of 3)"
    assert [row.name for row in comparison.further_baselines] == [INDEPENDENT_ROWS, ROW_COPIES]
    assert comparison.further_baselines[1].scores["near_copies"].value == 1
    assert Comparison.from_json(comparison.to_json()) == comparison
    assert not judge.comparison().further_baselines
    assert (
        "coverage" in judge.comparison([ModelResult("it", scores={"coverage": Score(1.0)})]).metrics
    )


def test_samples_of_a_mixture_have_its_shares_and_moments(data):
    mixture = RowMixture.fit(data, 2)
    rows = mixture.sample(4000, seed=1)
    shares = (mixture.weights[:, None] * mixture.logits[:, 1:].exp()).sum(0)
    actual = rows[:, 1:].mean(0)
    np.testing.assert_allclose(actual, shares, atol=0.035)
    mean = float(rows[:, 0].mean())
    assert mean == pytest.approx(float(mixture.weights @ mixture.means[:, 0]), abs=0.07)
    high = rows[:, 0] > 0.6
    assert float(rows[high, 1].mean()) > 0.6 > 0.25 > float(rows[~high, 1].mean())


def test_one_component_is_the_table_without_what_columns_have_to_do_with_each_other(data):
    mixture = RowMixture.fit(data, 1)
    rows = data.train.data_units()
    actual = mixture.logits[0, 1:].exp()
    expected = rows[:, 1:].mean(0)
    np.testing.assert_allclose(actual, expected, atol=1e-5)
    expected = rows[:, :1].mean(0)
    np.testing.assert_allclose(mixture.means[0], expected, atol=1e-5)
    expected = rows[:, :1].std(0, correction=0)
    np.testing.assert_allclose(mixture.deviations[0], expected, atol=1e-4)
