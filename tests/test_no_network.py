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


def covariance_of(rows):
    return np.cov(rows.T, bias=True)


def test_the_baseline_has_the_mean_and_covariance_of_each_class():
    x, labels = vectors(4000, d=6)
    data = dataset(x, labels)
    model = GaussianBaseline.fit(data)
    n = 5000
    for label in range(3):
        drawn = model.sample(n, {"label": label}).double().numpy()
        rows = data.train.x[data.train.labels == label].astype(np.float64)
        deviations = rows.std(axis=0)
        drawn /= deviations
        rows /= deviations
        np.testing.assert_allclose(drawn.mean(0), rows.mean(0), atol=5 / np.sqrt(n))
        actual = np.cov(drawn.T)
        np.testing.assert_allclose(actual, covariance_of(rows), atol=4 * np.sqrt(2 / n))


def test_the_model_units_covariance_is_exact_up_to_the_shrinkage():
    x, _ = vectors(900, d=9)
    data = dataset(x)
    model = GaussianBaseline.fit(data)
    factors = model.factors[0].double().numpy()
    residuals = model.residuals[0].double().numpy()
    covariance = factors.T @ factors + np.diag(residuals**2)
    rows = data.space.to_model(data.train.data_units()).double().numpy()
    wanted = covariance_of(rows)
    shrunk = (1 - SHRINKAGE) * wanted + SHRINKAGE * np.diag(np.diag(wanted))
    np.testing.assert_allclose(covariance, shrunk, atol=1e-5)


@pytest.mark.parametrize("kind", ["digits", "without labels", "vectors"])
def test_row_i_of_the_baseline_comes_from_seed_plus_i_alone_bit_for_bit(digits, kind):
    kinds = {
        "digits": digits,
        "without labels": digits.without_labels(),
        "vectors": dataset(*vectors()),
    }
    model = GaussianBaseline.fit(kinds[kind])
    samples = model.sample(9, seed=0)
    assert torch.equal(model.sample(4, seed=4), samples[4:8])
    assert torch.equal(model.sample(9, seed=0, batch=3), samples)
    assert torch.equal(model.sample(1, seed=8), samples[8:])
    assert samples.dtype == torch.float32


@pytest.fixture(scope="module")
def wide_images():
    """Noisy images 3 x 20 x 20 of five dimensions."""
    r = random(5)
    latents = r.standard_normal((400, 5))
    directions = r.standard_normal((5, 1200))
    noise = r.standard_normal((400, 1200))
    levels = 128 + 12 * latents @ directions + 3 * noise
    x = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return dataset(x.reshape(400, 3, 20, 20), held_out=100)


def test_the_baseline_of_wide_images_is_low_rank_with_the_right_variances(wide_images):
    model = GaussianBaseline.fit(wide_images)
    factors = model.factors[0].double()
    residuals = model.residuals[0].double()
    assert factors.shape == (256, 1200)
    rows = wide_images.space.to_model(wide_images.train.data_units()).flatten(1).double()
    variance = factors.square().sum(0) + residuals.square()
    np.testing.assert_allclose(variance, rows.var(0, correction=0), rtol=1e-3)
    centred = rows - rows.mean(0)
    strongest = torch.linalg.svdvals(centred)[:5] / np.sqrt(300)
    np.testing.assert_allclose(torch.linalg.svdvals(factors)[:5], strongest, rtol=1e-2)


def test_the_noise_of_wide_images_is_common_and_of_each_pixel(wide_images):
    model = GaussianBaseline.fit(wide_images)
    factors = model.factors[0]
    residuals = model.residuals[0]
    z = torch.randn(2, *model.noise_shape)
    common = z.clone()
    common[:, 256:] = 0
    own = z - common
    actual = model(common).flatten(1) - model.means
    torch.testing.assert_close(actual, z[:, :256] @ factors, atol=1e-4, rtol=1e-4)
    actual = model(own).flatten(1) - model.means
    torch.testing.assert_close(actual, z[:, 256:] * residuals)
    samples = model.sample(30)
    assert samples.shape == (30, 3, 20, 20)
    assert 0 <= samples.min() <= samples.max() <= 1


SHARES = [[0.05, 0.15, 0.8], [0.8, 0.1, 0.1]]
"""Of the letters, in rows of either kind."""


def two_kinds(n=1000):
    """A number and three categories that are independent within each of two kinds of rows."""
    r = np.random.default_rng(0)
    kind = r.random(n) < 0.3
    columns = [np.where(kind, 1.5, -0.6) + 0.5 * r.normal(size=n)]
    for _ in range(3):
        of_second = r.choice(3, n, p=SHARES[1])
        of_first = r.choice(3, n, p=SHARES[0])
        columns.append(np.where(kind, of_second, of_first))
    return np.column_stack(columns).astype(float)


def fitted(values):
    fields = [Number.measured("number", values[:, 0])]
    for place in (1, 2, 3):
        name = f"letter {place}"
        fields.append(Category.measured(name, values[:, place], ["a", "b", "c"]))
    return TableSpace.of(fields)


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
    shares = mixture.logits[order].exp()
    for start in (1, 4, 7):
        np.testing.assert_allclose(shares[:, start : start + 3], SHARES, atol=0.07)


def test_the_density_of_a_mixture_is_scipys(data):
    mixture = RowMixture.fit(data, 3, 2)
    rows = data.held_out.data_units()[:5]
    numbers = rows[:, :1].numpy()
    letters = rows[:, 1:].bool().numpy()
    of_numbers = stats.norm.logpdf(numbers, mixture.means[:, 0], mixture.deviations[:, 0])
    of_letters = letters @ mixture.logits[:, 1:].numpy().T
    parts = np.log(mixture.weights.numpy()) + of_numbers + of_letters
    joint = _Rows(rows, mixture.layout).joint(mixture)
    expected = np.logaddexp.reduce(parts, axis=1)
    np.testing.assert_allclose(joint.logsumexp(1), expected, rtol=1e-4)


@pytest.mark.parametrize("name", [INDEPENDENT_ROWS, ROW_COPIES, "mixture"])
def test_baselines_sample_row_by_row(mixed, name):
    if name == "mixture":
        model = RowMixture.fit(mixed, 3, 2)
    else:
        model = drawn_rows(mixed)[name]
    rows = model.sample(30, seed=5)
    assert torch.equal(rows, model.sample(30, seed=5, batch=7))
    assert torch.equal(rows[4:], model.sample(26, seed=9))
    if name != "mixture":
        quantised = mixed.space.quantise(rows)
        np.testing.assert_allclose(quantised[:, 3:], rows[:, 3:], atol=1e-5)


def correlation(values):
    """The correlation of two columns that belong together."""
    return np.corrcoef(values[:, 2], values[:, 4])[0, 1]


def test_independent_columns_keep_each_column_and_nothing_else(mixed):
    samples = drawn_rows(mixed)[INDEPENDENT_ROWS].sample(4000)
    real = np.nan_to_num(mixed.space.values(mixed.train.x), nan=-9)
    drawn = np.nan_to_num(mixed.space.values(samples), nan=-9)
    for real_column, column in zip(real.T, drawn.T, strict=True):
        assert set(column) <= set(real_column)
        assert stats.ks_2samp(real_column, column).statistic < 0.07
    assert correlation(real) > 0.15
    assert abs(correlation(drawn)) < 0.06


@pytest.mark.parametrize("name", [INDEPENDENT_ROWS, ROW_COPIES])
def test_every_training_row_is_drawn_as_often(name):
    numbers = np.arange(100.0)
    space = TableSpace.of([Number.measured("x", numbers)])
    rows = torch.from_numpy(space.encoded(numbers[:, None]))
    model = DrawnRows(space, rows, name == ROW_COPIES)
    drawn = space.values(model.sample(4000).numpy())[:, 0]
    uniform = stats.uniform(0, 100)
    assert stats.ks_1samp(drawn + 0.5, uniform.cdf).pvalue > 0.01


def test_copies_are_training_rows(mixed):
    train = mixed.train.x
    drawn = mixed.space.quantise(drawn_rows(mixed)[ROW_COPIES].sample(300))
    known = set(map(bytes, mixed.space.quantise(train)))
    different = set(map(bytes, drawn))
    assert different <= known
    assert len(different) > 150
    copies, threshold = near_copies(drawn, train, mixed.held_out.x, mixed.space.scale)
    assert threshold > 0
    assert copies.all()


def test_a_judge_scores_the_baselines_of_a_table(mixed):
    judge = Evaluator(mixed, repeats=1, metrics=["near_copies"])
    comparison = judge.comparison(baselines=True)
    assert comparison.baseline.name == "baseline (mixture of 3)"
    independent, copies = comparison.further_baselines
    assert independent.name == INDEPENDENT_ROWS
    assert copies.name == ROW_COPIES
    assert copies.scores["near_copies"].value == 1
    assert Comparison.from_json(comparison.to_json()) == comparison
    assert not judge.comparison().further_baselines
    scored = ModelResult("it", scores={"coverage": Score(1.0)})
    assert "coverage" in judge.comparison([scored]).metrics


def test_samples_of_a_mixture_have_its_shares_and_moments(data):
    mixture = RowMixture.fit(data, 2)
    rows = mixture.sample(4000, seed=1)
    numbers = rows[:, 0]
    shares = mixture.weights @ mixture.logits[:, 1:].exp()
    np.testing.assert_allclose(rows[:, 1:].mean(0), shares, atol=0.035)
    mean = mixture.weights @ mixture.means[:, 0]
    np.testing.assert_allclose(numbers.mean(), mean, rtol=0, atol=0.07)
    high = numbers > 0.6
    first_letter = rows[:, 1]
    assert first_letter[high].mean() > 0.6
    assert first_letter[~high].mean() < 0.25


def test_one_component_is_the_table_without_what_columns_have_to_do_with_each_other(data):
    mixture = RowMixture.fit(data, 1)
    rows = data.train.data_units()
    numbers = rows[:, :1]
    shares = mixture.logits[0, 1:].exp()
    np.testing.assert_allclose(shares, rows[:, 1:].mean(0), atol=1e-5)
    np.testing.assert_allclose(mixture.means[0], numbers.mean(0), atol=1e-5)
    deviation = numbers.std(0, correction=0)
    np.testing.assert_allclose(mixture.deviations[0], deviation, atol=1e-4)
