"""Baselines of tables: mixtures, independent columns, copies."""

import numpy as np
import pytest
import torch
from programs.tables import mixed_table
from scipy import stats

from pushforward.data import Split, TableSpace
from pushforward.data.core.make_dataset import Schema, build
from pushforward.data.tables import Category, Number
from pushforward.evaluation.baselines import RowMixture, drawn_rows
from pushforward.evaluation.evaluator import Judge
from pushforward.evaluation.results import INDEPENDENT_ROWS, ROW_COPIES, Comparison
from pushforward.metrics.memorisation import near_copies

SHARES = [[0.05, 0.15, 0.8], [0.8, 0.1, 0.1]]
"""Of the letters, in rows of either kind."""


def two_kinds(n=1000):
    """A number and three categories that are independent within each of two kinds of rows."""
    r = np.random.default_rng(0)
    kind = r.random(n) < 0.3
    number = np.where(kind, 1.5, -0.6) + 0.5 * r.normal(size=n)
    letters = [np.where(kind, r.choice(3, n, p=SHARES[1]), r.choice(3, n, p=SHARES[0])) for _ in range(3)]
    return np.column_stack([number, *letters]).astype(float)


def fitted(values):
    letters = [Category.measured(f"letter {place}", values[:, place], ["a", "b", "c"]) for place in (1, 2, 3)]
    return TableSpace.of([Number.measured("number", values[:, 0]), *letters])


@pytest.fixture(scope="module")
def data():
    return build("two", Split(two_kinds()), schema=Schema(fit=fitted))


@pytest.fixture(scope="module")
def mixed():
    return mixed_table(400)


def test_a_mixture_recovers_its_components(data):
    mixture = RowMixture.fit(data, 2)
    order = mixture.means[:, 0].argsort()
    np.testing.assert_allclose(mixture.weights[order], [0.7, 0.3], atol=0.05)
    for start in (1, 4, 7):
        np.testing.assert_allclose(mixture.logits[order][:, start : start + 3].exp(), SHARES, atol=0.07)


def test_the_density_of_a_mixture_is_scipys(data):
    mixture, rows = RowMixture.fit(data, 3, 2), data.held_out.data_units()[:5]
    letters = rows[:, 1:].bool().numpy()
    parts = [
        np.log(weight) + stats.norm.logpdf(rows[:, 0], mean[0], deviation[0]) + letters @ logits[1:].numpy()
        for weight, logits, mean, deviation in zip(
            mixture.weights.numpy(), mixture.logits, mixture.means.numpy(), mixture.deviations.numpy(), strict=True
        )
    ]
    np.testing.assert_allclose(mixture.log_prob(rows), np.logaddexp.reduce(parts), rtol=1e-4)


@pytest.mark.parametrize("name", [INDEPENDENT_ROWS, ROW_COPIES, "mixture"])
def test_baselines_sample_row_by_row(mixed, name):
    model = RowMixture.fit(mixed, 3, 2) if name == "mixture" else drawn_rows(mixed)[name]
    rows = model.sample(30, seed=5)
    assert torch.equal(rows, model.sample(30, seed=5, batch=7))
    assert torch.equal(rows[4:], model.sample(26, seed=9))
    np.testing.assert_allclose(mixed.space.quantise(rows)[:, 3:], rows[:, 3:], atol=1e-5) if name != "mixture" else None


def test_independent_columns_keep_each_column_and_nothing_else(mixed):
    real, drawn = (mixed.space.values(x) for x in (mixed.train.x, drawn_rows(mixed)[INDEPENDENT_ROWS].sample(4000)))
    for column in range(5):
        a, b = (np.nan_to_num(values[:, column], nan=-9) for values in (real, drawn))
        assert set(b) <= set(a)
        assert stats.ks_2samp(a, b).statistic < 0.07
    related = [np.corrcoef(values[:, 2], values[:, 4])[0, 1] for values in (real, drawn)]
    assert related[0] > 0.15
    assert abs(related[1]) < 0.06


def test_copies_are_training_rows(mixed):
    drawn = mixed.space.quantise(drawn_rows(mixed)[ROW_COPIES].sample(300))
    training = {row.tobytes() for row in mixed.space.quantise(mixed.train.x)}
    assert {row.tobytes() for row in drawn} <= training
    assert len({row.tobytes() for row in drawn}) > 150
    copies, threshold = near_copies(drawn, mixed.train.x, mixed.held_out.x, mixed.space.scale)
    assert threshold > 0
    assert copies.all()


def test_a_judge_scores_the_baselines_of_a_table(mixed):
    judge = Judge(mixed, repeats=1, metrics=["near_copies"])
    comparison = judge.comparison((), judge.baseline())
    assert comparison.baseline.name == "no network (mixture of 3)"
    assert [row.name for row in comparison.further_baselines] == [INDEPENDENT_ROWS, ROW_COPIES]
    assert comparison.further_baselines[1].scores["near_copies"].value == 1
    assert Comparison.from_json(comparison.to_json()) == comparison
    assert not judge.comparison().further_baselines
