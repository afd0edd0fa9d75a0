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


def total_variation(x, y):
    """The distance of the distributions of two lists of values."""
    shares_of_x = Counter(x)
    shares_of_y = Counter(y)
    total = 0
    for value in shares_of_x | shares_of_y:
        total += abs(shares_of_x[value] / len(x) - shares_of_y[value] / len(y))
    return total / 2


def known(column):
    """Categories of which missing ones are one more."""
    return np.nan_to_num(column, nan=7).tolist()


def test_shapes_are_the_kolmogorov_smirnov_distance_and_total_variation():
    x = rows(60, 0)
    y = rows(80, 1)
    errors, *terms = shape_errors(table(x, y))
    expected = [ks_2samp(x[:, column], y[:, column]).statistic for column in (0, 1)]
    variation = total_variation(known(x[:, 2]), known(y[:, 2]))
    difference = abs(x[:, 3].mean() - y[:, 3].mean())
    expected += [variation, difference]
    assert errors == pytest.approx(expected)
    total = terms[0].mean() + terms[1].mean()
    assert total == pytest.approx(errors.mean()), "the terms add up to the score"


# --- pairs ---


def correlation(rows):
    """The correlation of the first two columns."""
    return np.corrcoef(rows[:, 0], rows[:, 1])[0, 1]


def cells_of(side, reference):
    """The columns of a side as categories: numbers by ten bins of the reference."""
    cells = []
    for column in (0, 1):
        edges = np.histogram_bin_edges(reference[:, column], 10)
        cells.append(np.digitize(side[:, column], edges).tolist())
    cells += [known(side[:, 2]), known(side[:, 3])]
    return cells


def test_pair_errors_are_those_of_correlations_and_of_joint_shares():
    x = rows(60, 4)
    y = rows(90, 5)
    pairs, errors, *terms = pair_errors(table(x, y))
    assert pairs == list(combinations(range(4), 2))
    expected = [abs(correlation(x) - correlation(y)) / 2]
    cells_of_x = cells_of(x, y)
    cells_of_y = cells_of(y, y)
    for first, second in pairs[1:]:
        joint_x = list(zip(cells_of_x[first], cells_of_x[second], strict=True))
        joint_y = list(zip(cells_of_y[first], cells_of_y[second], strict=True))
        expected.append(total_variation(joint_x, joint_y))
    assert errors == pytest.approx(expected)
    assert len(terms[0]) == 60
    assert len(terms[1]) == 90


def test_the_terms_of_a_correlation_are_its_derivative():
    """Leaving a row out moves the score by its term over n, to first order."""
    x = rows(200, 6, missing=0)[:, :2]
    y = rows(200, 7, missing=0)[:, :2]

    def errors(x):
        columns = Table(x, y, ("x", "w"), ("number", "number"), ((), ()))
        return pair_errors(columns)

    _, score, terms, _ = errors(x)
    for out in (0, 50):
        others = np.delete(x, out, 0)
        moved = score - errors(others)[1]
        assert moved[0] == pytest.approx(terms[out] / 199, rel=0.1)


# --- areas ---


def test_an_area_is_the_mean_of_its_terms_and_has_delongs_error():
    x = np.round(random(10).normal(0.4, 1, 40), 1)
    y = np.round(random(11).normal(0, 1, 30), 1)
    above, below = area(x, y)
    pairs = x[:, None] - y
    wins = (pairs > 0) + 0.5 * (pairs == 0)
    share_of_x = wins.mean(1)
    share_of_y = wins.mean(0)
    assert above == pytest.approx(share_of_x)
    assert below == pytest.approx(share_of_y)
    labels = np.repeat([1, 0], [40, 30])
    expected = roc_auc_score(labels, np.r_[x, y])
    assert above.mean() == pytest.approx(expected)
    variance_of_x = np.cov(share_of_x) / 40
    variance_of_y = np.cov(share_of_y) / 30
    error, error_of_y = area_errors(above, below)
    assert error == pytest.approx(np.sqrt(variance_of_x + variance_of_y))
    assert error_of_y == pytest.approx(np.sqrt(variance_of_y))


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


def distances(points, others):
    """The distance of each point (rows) from each other one (columns)."""
    return np.linalg.norm(points[:, None] - others, axis=2)


def test_fidelity_agrees_with_its_definition_in_loops():
    x = random(16).standard_normal((40, 2))
    y = random(17).standard_normal((40, 2)) * 1.3
    levels = np.linspace(0, 1, 30)
    between = distances(y, y)
    np.fill_diagonal(between, np.inf)
    own = between.min(1)
    across = distances(y, x)
    nearest = across.argmin(1)
    close = across.min(1) <= own
    reference = np.linalg.norm(y - y.mean(0), axis=1)
    generated = np.linalg.norm(x - y.mean(0), axis=1)
    out = np.linalg.norm(x[nearest] - x.mean(0), axis=1)
    precision = 0.0
    recall = 0.0
    for level in levels:
        radius = np.quantile(reference, level)
        inside = np.mean(generated <= radius)
        precision += abs(inside - level)
        edge = np.quantile(out, level)
        covered = np.mean(close & (out <= edge))
        recall += abs(covered - level)
    gaps = np.array([precision, recall])
    assert fidelity(x, y) == pytest.approx(1 - gaps / levels.sum())


# --- use ---


def fitted_trees(inputs, classes):
    """Trees that learn classes from two numbers and a category."""
    categorical = np.array([False, False, True])
    return classifier(categorical).fit(inputs, classes)


def test_use_is_the_area_of_trees_that_learn_from_samples():
    x = rows(200, 20)
    y = rows(150, 21)
    name, value, error = utility(table(x, y))
    known = np.nan_to_num(x, nan=3)
    test = np.nan_to_num(y, nan=3)
    known = known[shuffled(known, 0)]
    trees = fitted_trees(known[:, :3], known[:, 3])
    chances = trees.predict_proba(test[:, :3])[:, 1]
    expected = roc_auc_score(y[:, 3], chances)
    assert name == "utility_auc"
    assert value == pytest.approx(expected)
    assert 0 <= error < 0.05
    x[:, 3] = 1
    assert utility(table(x, y))[1] == 0.5, "a single class teaches nothing"
    x[:, 3] = np.nan
    assert utility(table(x, y))[1] == 0.5, "nor does a target that is always missing"


def test_use_of_several_classes_is_the_mean_of_each_against_the_rest():
    x = rows(200, 22)
    y = rows(150, 23)
    name, value, _ = utility(table(x, y, "c"))
    order = [0, 1, 3, 2]
    x = x[~np.isnan(x[:, 2])][:, order]
    y = y[~np.isnan(y[:, 2])][:, order]
    x = x[shuffled(x, 0)]
    trees = fitted_trees(x[:, :3], x[:, 3])
    chances = trees.predict_proba(y[:, :3])
    expected = roc_auc_score(y[:, 3], chances, multi_class="ovr")
    assert name == "utility_auc"
    assert value == pytest.approx(expected)


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
    samples = table_samples()
    applying = {name for name, metric in METRICS.items() if metric().applies(samples)}
    own = (
        "column_shapes pair_trends detection fidelity utility nearest_rows membership unique_texts"
    )
    general = "two_sample copying memorisation classes distinct"
    assert applying == {*own.split(), *general.split()}
    two_sample = METRICS["two_sample"]()
    assert set(two_sample(samples)) == {"energy"}
    assert Utility().scores.keys() == {"utility_auc", "utility_rmse"}


def test_missing_numbers_count_as_the_least():
    y = np.array([1.0, 2.0, 1.0, 2.0])
    x = y.copy()
    x[:2] = np.nan
    assert kolmogorov_smirnov(x, y) == (0.5, -np.inf, 1.0)
    assert kolmogorov_smirnov(y, x)[2] == -1
    assert kolmogorov_smirnov(x, x)[0] == 0


def test_histograms_hold_all_rows_and_name_their_bins():
    x = rows(50, 2)
    y = rows(400, 3)
    drawn = histograms(table(x, y))
    ends = np.cumsum(drawn["counts"])
    for side in ("share", "real"):
        columns = np.split(np.array(drawn[side]), ends[:-1])
        totals = [column.sum() for column in columns]
        assert totals == pytest.approx([1, 1, 1, 1])
    texts = drawn["texts"]
    assert texts[:2] == ((), ())
    assert set(texts[2]) == {"a", "b", "d", "missing"}
    known = drawn["real"][ends[1] : ends[2] - 1]
    assert known[0] == max(known), "the most frequent category stands first"
    first_edge = drawn["counts"][0] + 1
    edges = np.array(drawn["edges"][first_edge:])
    assert np.all(edges % 1 == 0.5), "bins of whole numbers lie around them"
    missing = (True, False, True, False)
    may_miss = replace(table(x, y), missing=missing)
    last = [texts[-1:] for texts in histograms(may_miss)["texts"]]
    assert [text == ("missing",) for text in last] == list(missing)


def column_table(generated, reference, kind="number", texts=()):
    """A table of one column."""
    x = np.array(generated)[:, None]
    y = np.array(reference)[:, None]
    return Table(x, y, ("a",), (kind,), (texts,))


def generated_inputs(table):
    """The only column of the generated rows as trees read it."""
    generated = inputs(table)[0]
    return generated[:, 0].tolist()


def test_numbers_are_points_in_their_ranges_and_missing_ones_are_below_all_for_trees():
    given = column_table([3.0, 9.0, np.nan], [2.0, 6.0, 4.0])
    generated, reference = embedded(given)
    assert generated[:, 0].tolist() == [-0.25, 1.25, 0]
    assert reference[:, 0].tolist() == [-0.5, 0.5, 0]
    assert generated_inputs(given) == [3, 9, 1]
    assert np.isnan(given.generated[2, 0]), "what trees read is a copy"


def test_rows_are_shuffled_by_their_values_in_whatever_order_they_come():
    random = np.random.default_rng(0)
    rows = random.integers(0, 4, (50, 3)).astype(float)
    again = rows[random.permutation(50)]
    first = rows[shuffled(rows, 1)]
    assert np.array_equal(first, again[shuffled(again, 1)])
    second = rows[shuffled(rows, 2)]
    assert not np.array_equal(first, second)


def test_pairs_count_a_column_that_is_constant_on_one_side():
    x = rows(60, 26, missing=0)
    y = rows(90, 27, missing=0)
    x[:, 1] = 3
    expected = abs(correlation(y)) / 2
    errors = pair_errors(table(x, y))[1]
    assert errors[0] == pytest.approx(expected), "a constant column has a correlation of 0"
    y[:, 1] = 3
    pairs = pair_errors(table(x, y))[0]
    assert (0, 1) not in pairs, "constant on both sides it has none"


def test_pairs_tell_missing_numbers_from_low_ones():
    x = rows(60, 26, missing=0)
    y = rows(90, 27, missing=0)
    x[:, 0] = -99
    x[:, 2] = 0
    y[:, 0] = np.arange(90)
    y[:, 2] = 0
    y[:45, 0] = np.nan
    pairs, errors, *_ = pair_errors(table(x, y))
    place = pairs.index((0, 2))
    assert errors[place] == 1


def test_trees_learn_from_all_rows_that_there_are_up_to_a_number_of_cells():
    x = rows(200, 28)
    y = rows(150, 29)
    shown = x[::-1] * [1, 1, 1, 0]
    learned = replace(table(shown, y), learned=x)
    assert utility(learned) == utility(table(x, y))
    counts = [most_rows(columns, TO_PREDICT) for columns in (2, 60, 10**4)]
    assert counts == [50_000, 25_000, 1000]


def test_trees_stop_early_unless_a_class_has_a_single_row():
    classes = np.arange(2000) % 2
    one_more = np.r_[classes, 2.0]
    numeric = np.zeros(1, bool)
    assert predictor(numeric, classes, True).early_stopping
    assert not predictor(numeric, one_more, True).early_stopping
    assert predictor(numeric, one_more, False).early_stopping


def test_the_rarest_of_many_categories_are_one_for_trees():
    categories = np.arange(300.0)
    reference = np.repeat(categories, np.arange(300, 0, -1))
    generated = [0.0, 5.0, 248.0, 249.0, 299.0]
    given = column_table(generated, reference, "category", ("",) * 300)
    assert generated_inputs(given) == [0, 5, 248, 249, 249]
