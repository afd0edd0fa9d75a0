"""Metrics of tables against closed forms, the formulas of other packages written out anew, and
planted faults.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from programs.rows import random, rows, samples_of, table, table_samples
from scipy.stats import ks_2samp
from sklearn.metrics import roc_auc_score

from pushforward.metrics.uncertainty import area, area_errors
from pushforward.registries import METRICS
from pushforward.tables.metrics.columns import (
    ColumnShapes,
    PairTrends,
    histograms,
    kolmogorov_smirnov,
    pair_errors,
    shape_errors,
)
from pushforward.tables.metrics.nearest_rows import Fidelity, fidelity
from pushforward.tables.metrics.table import Table, embedded, shuffled
from pushforward.tables.metrics.trees import (
    TO_PREDICT,
    Detection,
    Utility,
    classifier,
    inputs,
    most_rows,
    predictor,
    utility,
)

# --- columns alone ---


def test_shapes_are_the_kolmogorov_smirnov_distance_and_total_variation():
    x = rows(60, 0)
    y = rows(80, 1)
    each, *terms = shape_errors(table(x, y))
    shares = [Counter(np.nan_to_num(side[:, 2], nan=-1).tolist()) for side in (x, y)]
    variation = sum(abs(shares[0][v] / 60 - shares[1][v] / 80) for v in shares[0] | shares[1]) / 2
    wanted = [ks_2samp(x[:, 0], y[:, 0]).statistic, ks_2samp(x[:, 1], y[:, 1]).statistic, variation]
    assert each == pytest.approx([*wanted, abs(x[:, 3].mean() - y[:, 3].mean())])
    assert terms[0].mean() + terms[1].mean() == pytest.approx(each.mean()), (
        "the terms add up to the score"
    )


# --- pairs ---


def test_pair_errors_are_those_of_correlations_and_of_joint_shares():
    x = rows(60, 4)
    y = rows(90, 5)
    pairs, each, *terms = pair_errors(table(x, y))
    assert pairs == list(combinations(range(4), 2))
    gap = abs(np.corrcoef(x[:, 0], x[:, 1])[0, 1] - np.corrcoef(y[:, 0], y[:, 1])[0, 1]) / 2
    wanted = {(0, 1): gap}
    edges = {column: np.histogram_bin_edges(y[:, column], 10) for column in (0, 1)}
    for first, second in pairs[1:]:
        joint = []
        for side in (x, y):
            cells = [
                np.digitize(side[:, c], edges[c]) if c < 2 else np.nan_to_num(side[:, c], nan=7)
                for c in (first, second)
            ]
            joint.append(
                {
                    pair: count / len(side)
                    for pair, count in Counter(zip(*map(list, cells), strict=True)).items()
                }
            )
        wanted[first, second] = (
            sum(abs(joint[0].get(p, 0) - joint[1].get(p, 0)) for p in joint[0] | joint[1]) / 2
        )
    assert each == pytest.approx([wanted[pair] for pair in pairs])
    assert len(terms[0]) == 60
    assert len(terms[1]) == 90


def test_the_terms_of_a_correlation_are_its_derivative():
    """Leaving a row out moves the score by its term over n, to first order."""
    x = rows(200, 6, missing=0)[:, :2]
    y = rows(200, 7, missing=0)[:, :2]
    names = ("x", "w"), ("number", "number"), ((), ())
    _, whole, terms, _ = pair_errors(Table(x, y, *names))
    for out in (0, 50):
        less = pair_errors(Table(np.delete(x, out, 0), y, *names))[1]
        assert (whole - less)[0] == pytest.approx(terms[out] / 199, rel=0.1)


# --- areas ---


def test_an_area_is_the_mean_of_its_terms_and_has_delongs_error():
    x = np.round(random(10).normal(0.4, 1, 40), 1)
    y = np.round(random(11).normal(0, 1, 30), 1)
    above, below = area(x, y)
    wins = (x[:, None] > y) + 0.5 * (x[:, None] == y)
    assert above == pytest.approx(wins.mean(1))
    assert below == pytest.approx(wins.mean(0))
    labels = np.r_[np.ones(40), np.zeros(30)]
    assert above.mean() == pytest.approx(roc_auc_score(labels, np.r_[x, y]))
    of_x = np.cov(wins.mean(1)) / 40
    of_y = np.cov(wins.mean(0)) / 30
    assert area_errors(above, below) == pytest.approx((np.sqrt(of_x + of_y), np.sqrt(of_y)))


# --- detection ---


def test_trees_tell_rows_apart_by_the_columns_that_differ():
    x = rows(150, 12)
    y = rows(150, 13)
    same = Detection()(samples_of(x, y))["detection"]
    assert same.value > 0.7
    x[:, 1] += 40
    apart = Detection()(samples_of(x, y))["detection"]
    assert apart.value == pytest.approx(0, abs=0.02)
    falls = dict(zip(apart.extra["columns"], apart.extra["falls"], strict=True))
    assert max(falls, key=falls.get) == "w"
    assert falls["w"] > 0.3
    assert abs(falls["c"]) < 0.05
    assert apart.extra["auc"] == pytest.approx(1, abs=0.01)
    assert same.error > apart.error >= apart.reference_error >= 0


# --- fidelity ---


def test_fidelity_agrees_with_its_definition_in_loops():
    x = random(16).standard_normal((40, 2))
    y = random(17).standard_normal((40, 2)) * 1.3
    levels = np.linspace(0, 1, 30)
    gaps = {"precision": 0.0, "recall": 0.0}
    own = [min(np.linalg.norm(y[i] - y[j]) for j in range(40) if j != i) for i in range(40)]
    nearest = [min(range(40), key=lambda j, i=i: np.linalg.norm(y[i] - x[j])) for i in range(40)]
    out = [np.linalg.norm(x[j] - x.mean(0)) for j in nearest]
    for level in levels:
        radius = np.quantile([np.linalg.norm(p - y.mean(0)) for p in y], level)
        gaps["precision"] += abs(
            np.mean([np.linalg.norm(p - y.mean(0)) <= radius for p in x]) - level
        )
        edge = np.quantile(out, level)
        hit = [np.linalg.norm(y[i] - x[nearest[i]]) <= own[i] and out[i] <= edge for i in range(40)]
        gaps["recall"] += abs(np.mean(hit) - level)
    assert fidelity(x, y) == pytest.approx([1 - gap / levels.sum() for gap in gaps.values()])


# --- use ---


def test_use_is_the_area_of_trees_that_learn_from_samples():
    x = rows(200, 20)
    y = rows(150, 21)
    name, value, error = utility(table(x, y))
    known, test = (np.nan_to_num(side, nan=3) for side in (x, y))
    known = known[shuffled(known, 0)]
    trees = classifier(np.array([False, False, True])).fit(known[:, :3], known[:, 3])
    assert (name, value) == (
        "utility_auc",
        pytest.approx(roc_auc_score(y[:, 3], trees.predict_proba(test[:, :3])[:, 1])),
    )
    assert 0 <= error < 0.05
    x[:, 3] = 1
    assert utility(table(x, y))[1] == 0.5, "a single class teaches nothing"
    x[:, 3] = np.nan
    assert utility(table(x, y))[1] == 0.5, "nor does a target that is always missing"


def test_use_of_several_classes_is_the_mean_of_each_against_the_rest():
    x = rows(200, 22)
    y = rows(150, 23)
    name, value, _ = utility(table(x, y, "c"))
    (x, y) = (side[~np.isnan(side[:, 2])] for side in (x, y))
    order = None
    columns = [0, 1, 3]
    order = shuffled(np.column_stack([x[:, columns], x[:, 2]]), 0)
    trees = classifier(np.array([False, False, True])).fit(x[order][:, columns], x[order][:, 2])
    wanted = roc_auc_score(y[:, 2], trees.predict_proba(y[:, columns]), multi_class="ovr")
    assert (name, value) == ("utility_auc", pytest.approx(wanted))


def test_the_error_of_a_number_is_in_its_standard_deviations():
    x = rows(200, 24)
    y = rows(150, 25)
    name, value, error = utility(table(x, y, "w"))
    assert name == "utility_rmse"
    assert 0.2 < value < 0.6  # the noise alone is 1 / sqrt(10) of it
    assert error < 0.1
    x[:, 1] = y[:, 1].mean()
    actual = utility(table(x, y, "w"))[1]
    assert actual == pytest.approx(1), "the mean alone has an error of one standard deviation"
    y[:, 1] = 3
    assert utility(table(x, y, "w")) is None


# --- all of them ---


def test_errors_have_the_size_of_what_new_rows_change():
    """Over repeats with new rows on both sides scores vary by no more than twice their error, and
    by a fifth at least.
    """
    scored = {}
    for repeat in range(12):
        x = rows(150, 100 + repeat)
        y = rows(150, 200 + repeat)
        x[:, 0] *= 1.5
        for metric in (ColumnShapes(), PairTrends(), Fidelity()):
            for name, score in metric(samples_of(x, y)).items():
                scored.setdefault(name, []).append((score.value, score.error))
    for name, pairs in scored.items():
        values, stated = np.array(pairs).T
        assert 0.2 * stated.mean() < values.std(ddof=1) < 2 * stated.mean(), name


def test_only_metrics_that_suit_tables_apply_to_them():
    rows_of_table = table_samples()
    applying = {name for name, metric in METRICS.items() if metric().applies(rows_of_table)}
    own = {
        "column_shapes",
        "pair_trends",
        "detection",
        "fidelity",
        "utility",
        "nearest_rows",
        "membership",
        "unique_texts",
    }
    assert applying == own | {"two_sample", "copying", "memorisation", "classes", "distinct"}
    assert set(METRICS["two_sample"]()(rows_of_table)) == {"energy"}
    assert Utility().scores.keys() == {"utility_auc", "utility_rmse"}


def test_missing_numbers_count_as_the_least():
    x = np.array([np.nan, np.nan, 1.0, 2.0])
    y = np.array([1.0, 2.0, 1.0, 2.0])
    assert kolmogorov_smirnov(x, y) == (0.5, -np.inf, 1.0)
    assert kolmogorov_smirnov(y, x)[2] == -1
    assert kolmogorov_smirnov(x, x)[0] == 0


def test_histograms_hold_all_rows_and_name_their_bins():
    x = rows(50, 2)
    y = rows(400, 3)
    drawn = histograms(table(x, y))
    ends = np.cumsum(drawn["counts"])
    for side in ("share", "real"):
        assert [sum(part) for part in np.split(np.array(drawn[side]), ends[:-1])] == pytest.approx(
            [1, 1, 1, 1]
        )
    assert drawn["texts"][:2] == ((), ())
    actual = set(drawn["texts"][2])
    assert actual == {"a", "b", "d", "missing"}
    assert drawn["real"][ends[1]] == max(drawn["real"][ends[1] : ends[2] - 1]), (
        "the most frequent category stands first"
    )
    whole = np.array(drawn["edges"][drawn["counts"][0] + 1 :])
    assert np.all(whole % 1 == 0.5), "bins of whole numbers lie around them"
    may_miss = histograms(replace(table(x, y), missing=(True, False, True, False)))["texts"]
    assert [texts[-1:] == ("missing",) for texts in may_miss] == [True, False, True, False]


def test_numbers_are_points_in_their_ranges_and_missing_ones_are_below_all_for_trees():
    x = np.array([[3.0], [9.0], [np.nan]])
    y = np.array([[2.0], [6.0], [4.0]])
    given = Table(x, y, ("a",), ("number",), ((),))
    assert [side[:, 0].tolist() for side in embedded(given)] == [[-0.25, 1.25, 0], [-0.5, 0.5, 0]]
    values = inputs(given)[0][:, 0].tolist()
    assert values == [3, 9, 1]
    assert np.isnan(x[2, 0]), "what trees read is a copy"


def test_rows_are_shuffled_by_their_values_in_whatever_order_they_come():
    random = np.random.default_rng(0)
    rows = random.integers(0, 4, (50, 3)).astype(float)
    again = rows[random.permutation(50)]
    actual = rows[shuffled(rows, 1)]
    expected = again[shuffled(again, 1)]
    assert np.array_equal(actual, expected)
    assert not np.array_equal(rows[shuffled(rows, 1)], rows[shuffled(rows, 2)])


def test_pairs_count_a_column_that_is_constant_on_one_side_and_tell_missing_numbers_from_low_ones():
    x = rows(60, 26, missing=0)
    y = rows(90, 27, missing=0)
    x[:, 1] = 3
    gap = abs(np.corrcoef(y[:, 0], y[:, 1])[0, 1]) / 2
    actual = pair_errors(table(x, y))[1][0]
    assert actual == pytest.approx(gap), "a constant column has a correlation of 0"
    y[:, 1] = 3
    assert (0, 1) not in pair_errors(table(x, y))[0], "constant on both sides it has none"
    x[:, 0] = -99
    x[:, 2] = 0
    y[:, 0] = np.arange(90)
    y[:, 2] = 0
    y[:45, 0] = np.nan
    actual = dict(zip(*pair_errors(table(x, y))[:2], strict=True))[0, 2]
    assert actual == 1


def test_trees_learn_from_all_rows_that_there_are_up_to_a_number_of_cells():
    x = rows(200, 28)
    y = rows(150, 29)
    actual = utility(replace(table(x[::-1] * [1, 1, 1, 0], y), learned=x))
    assert actual == utility(table(x, y))
    assert [most_rows(columns, TO_PREDICT) for columns in (2, 60, 10**4)] == [50_000, 25_000, 1000]
    classes = np.r_[np.arange(2000) % 2, 2.0]
    assert predictor(np.zeros(1, bool), classes[:-1], True).early_stopping
    assert not predictor(np.zeros(1, bool), classes, True).early_stopping, (
        "a class of a single row has no part to stop by"
    )
    assert predictor(np.zeros(1, bool), classes, False).early_stopping


def test_the_rarest_of_many_categories_are_one_for_trees():
    y = np.repeat(np.arange(300), np.arange(300)[::-1] + 1).astype(float)[:, None]
    given = Table(
        np.array([[0.0], [5.0], [248.0], [249.0], [299.0]]),
        y,
        ("a",),
        ("category",),
        (("",) * 300,),
    )
    values = inputs(given)[0][:, 0].tolist()
    assert values == [0, 5, 248, 249, 249]
