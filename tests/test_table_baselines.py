"""Baselines of tables: mixtures, independent columns, copies."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from programs.tables import mixed_table
from scipy import stats

from pushforward.data import Split, TableSpace
from pushforward.data.core.make_dataset import Schema, build
from pushforward.data.tables import Category, Number
from pushforward.data.tables.constraints import Constraint
from pushforward.evaluation.judge import Judge
from pushforward.evaluation.results import INDEPENDENT_ROWS, ROW_COPIES, Comparison, ModelResult, Score
from pushforward.evaluation.row_mixture import RowMixture
from pushforward.evaluation.table_baselines import drawn_rows
from pushforward.metrics.memorisation import near_copies
from pushforward.metrics.score import MetricInfo
from pushforward.report.findings import findings
from pushforward.report.statistics import groups
from pushforward.report.tables import score_column, scorecards

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


def test_one_component_is_the_table_without_what_columns_have_to_do_with_each_other(data):
    mixture, rows = RowMixture.fit(data, 1), data.train.data_units()
    np.testing.assert_allclose(mixture.logits[0, 1:].exp(), rows[:, 1:].mean(0), atol=1e-5)
    np.testing.assert_allclose(mixture.means[0], rows[:, :1].mean(0), atol=1e-5)
    np.testing.assert_allclose(mixture.deviations[0], rows[:, :1].std(0, correction=0), atol=1e-4)


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


def test_each_iteration_of_a_fit_is_at_least_as_likely(mixed):
    rows = mixed.train.data_units()
    likely = [float(RowMixture.fit(mixed, 4, iterations).log_prob(rows).mean()) for iterations in (0, 1, 3, 10)]
    assert all(later >= earlier - 0.01 for earlier, later in pairwise(likely))
    assert likely[-1] > likely[0] + 0.05


def test_samples_of_a_mixture_have_its_shares_and_moments(data):
    mixture = RowMixture.fit(data, 2)
    rows = mixture.sample(4000, seed=1)
    shares = (mixture.weights[:, None] * mixture.logits[:, 1:].exp()).sum(0)
    np.testing.assert_allclose(rows[:, 1:].mean(0), shares, atol=0.035)
    assert float(rows[:, 0].mean()) == pytest.approx(float(mixture.weights @ mixture.means[:, 0]), abs=0.07)
    high = rows[:, 0] > 0.6
    assert float(rows[high, 1].mean()) > 0.6 > 0.25 > float(rows[~high, 1].mean())


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


def test_each_training_row_has_an_equal_share_of_the_noise(mixed):
    model, n = drawn_rows(mixed)[ROW_COPIES], len(mixed.train)
    places = torch.from_numpy(stats.norm.ppf((np.arange(n) + 0.5) / n)).float()[:, None]
    drawn = mixed.space.quantise(mixed.space.to_data(model(places)))
    np.testing.assert_allclose(drawn, mixed.train.x, atol=1e-6)


def test_a_judge_scores_the_baselines_of_a_table(mixed):
    judge = Judge(mixed, repeats=1, metrics=["near_copies"])
    comparison = judge.comparison((), judge.baseline())
    assert comparison.baseline.name == "no network (mixture of 3)"
    assert [row.name for row in comparison.further_baselines] == [INDEPENDENT_ROWS, ROW_COPIES]
    assert comparison.further_baselines[1].scores["near_copies"].value == 1
    assert Comparison.from_json(comparison.to_json()) == comparison
    assert not judge.comparison().further_baselines


def test_a_score_without_a_floor_has_its_title(mixed):
    judge = Judge(mixed, repeats=1, metrics=["near_copies"])
    comparison = judge.comparison([ModelResult("it", scores={"utility_auc": Score(0.6)})])
    assert "utility_auc" not in comparison.floors
    column = score_column(comparison, "utility_auc")
    assert column.named == "AUC of a learner from samples ↑"
    assert [heading for heading, _ in groups(comparison)] == ["Memorisation", "Use"]


@pytest.mark.filterwarnings("error")
def test_nobody_is_warned_of_constraints_that_rows_of_no_network_break(mixed):
    mixture = RowMixture.fit(mixed, 1, 1)
    mixture.space = replace(mixture.space, constraints=(Constraint(f"{next(iter(mixture.space.columns))} >= 1e9"),))
    judge = Judge(mixed, n=20, repeats=1, metrics=["near_copies"])
    assert not mixture.space.valid(judge.draw(mixture, 0, 5)[0]).any()


def test_the_verdict_names_copies_and_ranks_only_models():
    def row(name, energy, near):
        return ModelResult(name, scores={"energy": Score(energy, 0.01), "near_copies": Score(near, 0.01)})

    comparison = Comparison(
        metrics={
            "energy": MetricInfo("Energy distance", "lower", role="quality"),
            "near_copies": MetricInfo("Near-copies", unit="%"),
        },
        models=(row("a", 0.2, 0.0), row("b", 0.5, 0.0)),
        baseline=row("no network (mixture of 3)", 0.7, 0.0),
        further_baselines=(row(INDEPENDENT_ROWS, 0.9, 0.0), row(ROW_COPIES, 0.0, 0.97)),
        floors={"energy": Score(0.01, 0.01)},
    )
    texts = [finding.text for finding in findings(comparison)]
    assert texts[0].startswith("Best in energy distance: a (0.20")
    assert any(text.startswith("copied rows are training rows drawn again") for text in texts)
    named = [row.name for _, table in scorecards(comparison) for row in table.rows if row.kind == "baseline"]
    assert named[:3] == ["no network (mixture of 3)", INDEPENDENT_ROWS, ROW_COPIES]
    without = replace(comparison, further_baselines=())
    assert not any("drawn again" in finding.text for finding in findings(without))
