"""Standard errors of scores of tables against closed forms, jackknives with what was learned held
fixed, and new draws.
"""

from dataclasses import replace

import numpy as np
import pytest
from programs.rows import random, rows, samples_of, table
from scipy.spatial.distance import cdist
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from pushforward.metrics import Samples
from pushforward.metrics.uncertainty import by_blocks
from pushforward.tables.metrics import nearest_rows
from pushforward.tables.metrics.columns import pair_errors
from pushforward.tables.metrics.nearest_rows import (
    Membership,
    NearestRows,
    attack,
    cell_variance,
    distance_ratio,
    nearer,
)
from pushforward.tables.metrics.table import Table, shuffled
from pushforward.tables.metrics.trees import Detection, classifier, inputs, predictor, utility


def normal(*seeds, shape=(200, 4)):
    """An array of normal numbers for each seed."""
    return [random(seed).standard_normal(shape) for seed in seeds]


def squares_mean(values):
    return np.mean(np.square(values))


@pytest.mark.parametrize(("rows", "samples"), [(200, 200), (100, 400)])
def test_the_error_of_a_share_counts_the_cells_of_real_rows(rows, samples):
    """On a line a cell is the mean of two gaps, each exponential: half its mean's square, so 1 /
    16m of the share.
    """
    scores = []
    for seed in range(60):
        draw = random([50, seed])
        sides = [np.tile(draw.random((n, 1)), 4) for n in (samples, rows, rows)]
        scores.append(NearestRows()(samples_of(*sides))["nearer_training"])
    of_real = 1 / (16 * rows)
    of_all = of_real + 1 / (4 * samples)
    real_variance = squares_mean([score.reference_error for score in scores])
    stated_variance = squares_mean([score.error for score in scores])
    variance = np.var([score.value for score in scores], ddof=1)
    assert real_variance == pytest.approx(of_real, rel=0.2)
    assert stated_variance == pytest.approx(of_all, rel=0.1)
    assert variance == pytest.approx(of_all, rel=0.4)


def test_equal_cells_and_copies_add_no_variance():
    equal = np.full(5, 40.0)
    assert cell_variance(equal, equal, 5) == 0, "all cells are equal, or nearly"
    copies = np.array([300.0, 0.0])
    assert cell_variance(copies, np.zeros(2), 2) == 0, "all samples are copies"


def test_the_variance_of_three_cells_is_that_of_their_sizes():
    by_training = np.array([900.0, 100.0])
    by_held_out = np.array([2000.0, 0.0])
    within = 0.3**2 + (1 / 30) ** 2 - (1 / 3) ** 2 / 2
    between = 1 / 2 / 9
    expected = (within + between) * (2 / 3) ** 2
    assert cell_variance(by_training, by_held_out, 2) == pytest.approx(expected, rel=2e-3)


def split_target(given, place):
    """Generated and real rows, each without a column and that column."""
    parts = []
    for side in inputs(given):
        parts += [np.delete(side, place, axis=1), side[:, place]]
    return parts


def without_each(n):
    """For each of n rows, which the others are."""
    return ~np.eye(n, dtype=bool)


def jackknife(scores):
    """The standard error by scores that each leave one row out."""
    last = len(scores) - 1
    return last * np.std(scores) / np.sqrt(last)


def test_the_error_of_a_predicted_number_is_that_of_leaving_out_rows():
    """Of a heavy tail the same rows decide the error and the unit in which it is measured."""
    x = rows(200, 51)
    y = rows(150, 52)
    for seed, side in enumerate((x, y)):
        noise = random([53, seed]).standard_normal(len(side))
        side[:, 1] = np.exp(0.5 * side[:, 0] + 0.8 * noise)
    given = table(x, y, "w")
    _, value, error = utility(given)
    learned, targets, real, wanted = split_target(given, 1)
    order = shuffled(np.column_stack([learned, targets]), 0)
    trees = predictor(given.categorical[[0, 2, 3]], targets, False)
    trees.fit(learned[order], targets[order] / 10)
    squares = (wanted - 10 * trees.predict(real)) ** 2
    scores = []
    for others in without_each(150):
        scores.append(np.sqrt(squares[others].mean()) / wanted[others].std())
    assert value == pytest.approx(np.sqrt(squares.mean()) / wanted.std(), rel=0.03)
    assert error == pytest.approx(jackknife(scores), rel=0.2)


def test_an_error_of_few_blocks_is_widened_for_being_unsure():
    """Of a difference of means, whose error is known, 1.96 errors hold in 95 % of repeats; four
    blocks as they are in 89 %.
    """

    def difference(x, y):
        return np.array([x.mean() - y.mean()])

    held = 0
    for seed in range(600):
        x, y = random([62, seed]).standard_normal((2, 80, 1))
        error = by_blocks(difference, x, y, 20)[0]
        held += abs(difference(x, y)) < 1.96 * error
    assert 0.925 < held / 600 < 0.975


@pytest.mark.parametrize(("target", "place"), [("y", 3), ("c", 2)])
def test_the_error_of_predicted_classes_is_that_of_leaving_out_rows(target, place):
    """Of one class against the other, and of the mean over each of three against the rest."""
    x = rows(150, 57, missing=0)
    y = rows(120, 58, missing=0)
    x[:, 0] += random(59).standard_normal(150)
    given = table(x, y, target)
    _, value, error = utility(given)
    learned, classes, real, wanted = split_target(given, place)
    order = shuffled(np.column_stack([learned, classes]), 0)
    trees = classifier(np.delete(given.categorical, place))
    trees.fit(learned[order], classes[order])
    shares = trees.predict_proba(real)
    if place == 3:
        shares = shares[:, 1]
    scores = []
    for others in without_each(120):
        scores.append(roc_auc_score(wanted[others], shares[others], multi_class="ovr"))
    assert value == pytest.approx(roc_auc_score(wanted, shares, multi_class="ovr"))
    assert error == pytest.approx(jackknife(scores), rel=0.1)


def test_the_error_of_a_correlation_counts_rows_that_have_both_values():
    x, y = random(60).standard_normal((2, 90, 2))
    x[:, 1] += x[:, 0]
    x[random(61).random((90, 2)) < 0.3] = np.nan
    given = Table(x, y, ("a", "b"), ("number",) * 2, ((),) * 2)
    scores = []
    for others in without_each(90):
        fewer = replace(given, generated=x[others])
        scores.append(pair_errors(fewer)[1][0])
    error = np.std(pair_errors(given)[2], ddof=1) / np.sqrt(90)
    assert error == pytest.approx(jackknife(scores), rel=0.15)


def test_a_ratio_of_distances_has_errors_of_both_means():
    generated = np.array([1.0, 2.0, 3.0])
    real = np.array([3.0, 5.0])
    value, (error, real_error) = distance_ratio(generated, real)
    assert value == pytest.approx(0.5)
    assert real_error == pytest.approx(2 / 4**2)
    assert error == pytest.approx(np.hypot(1 / np.sqrt(3) / 4, 2 / 4**2))


def test_equal_distances_count_half():
    values = nearer(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0]))
    assert values.tolist() == [1.0, 0.5, 0.0]


def nearest(generated, held, train):
    """The scores of generated rows by their nearest rows."""
    return NearestRows()(samples_of(generated, held, train))


def agrees(score, value):
    """Whether a score is a value up to three standard errors."""
    return score.value == pytest.approx(value, abs=3 * score.error)


def test_copies_are_nearer_to_training_rows():
    train, held = normal(26, 27)
    scores = nearest(train[:150], held, train)
    assert scores["nearest_ratio"].value == 0
    assert scores["nearer_training"].value == 1
    of_copies = nearest(train, train[:50], train)
    assert "nearest_ratio" not in of_copies, "copies of training rows have no distance"


def test_new_rows_are_as_near_to_held_out_rows():
    train, held = normal(26, 27)
    (new,) = normal(28, shape=(150, 4))
    scores = nearest(new, held, train)
    assert agrees(scores["nearest_ratio"], 1)
    assert agrees(scores["nearer_training"], 0.5)
    (many,) = normal(25, shape=(900, 4))
    scores = nearest(new, held, many)
    assert agrees(scores["nearer_training"], 0.5), "of as many training rows"


def test_repeating_rows_are_counted():
    points = np.array([[0, 1], [-0.0, 1], [2, 3], [4, 5]], np.float32)
    assert nearest_rows.repeating(points) == 0.5


def test_distances_have_no_score_where_rows_repeat():
    train, held = normal(47, 48)
    train[:8] = train[8:16]
    assert nearest(held, held, train) == {}
    train[:5] = random(49).standard_normal((5, 4))
    scores = nearest(held[:90], held[90:], train)
    assert scores.keys() == {"nearest_ratio", "nearer_training"}


def test_an_attack_ranks_rows_by_their_nearest_sample():
    sides = np.float32(normal(29, 30, 31, 32, shape=(30, 2)))
    members, others, samples, known = sides
    labels = np.repeat([1.0, 0.0], 30)
    candidates = np.concatenate([members, others])
    to_samples = cdist(candidates, samples).min(axis=1)
    to_known = cdist(candidates, known).min(axis=1)
    mean = attack(members, others, samples)[0].mean()
    assert mean == pytest.approx(roc_auc_score(labels, -to_samples))
    mean = attack(members, others, samples, known)[0].mean()
    assert mean == pytest.approx(roc_auc_score(labels, to_known / to_samples), abs=1e-3)


def test_the_attack_sees_a_model_that_repeats_200_rows():
    train, held = normal(33, 34)
    noise = random(37).standard_normal((400, 4))
    copied = random(36).integers(200, size=400)
    repeated = train[copied] + 0.05 * noise
    for name, score in Membership()(samples_of(repeated, held, train)).items():
        assert score.value >= 0.8, name


def test_the_attack_lets_new_draws_pass():
    train, held, new = normal(33, 34, 35)
    for name, score in Membership()(samples_of(new, held, train)).items():
        difference = abs(score.value - 0.5)
        assert difference < 1.96 * score.error, name
        assert score.error == score.reference_error, "all samplings share the candidates"


def test_the_attack_uses_all_samples_that_there_are():
    train, held = normal(38, 39)
    some = samples_of(train[:40], held, train)
    more = replace(some, generated_more=train.astype(np.float32))
    few = Membership()(some)["membership"].value
    many = Membership()(more)["membership"].value
    assert few < 0.75 < 0.95 < many


def few_trees(categorical):
    return HistGradientBoostingClassifier(
        early_stopping=False, categorical_features=categorical, random_state=0, max_iter=3
    )


def test_the_error_of_trees_holds_what_they_vary_by(monkeypatch):
    """Trees that learned from other rows rank otherwise, beside what new rows change in the ranks
    of given trees.
    """
    trees = "pushforward.tables.metrics.trees"
    monkeypatch.setattr(f"{trees}.classifier", few_trees)
    # takes longer, and is not looked at
    monkeypatch.setattr(f"{trees}._falls", lambda *_: 0.0)
    scores = []
    for repeat in range(40):
        x, y = random([15, repeat]).standard_normal((2, 200, 10))
        x[:, 0] = 0.8 * x[:, 1] + 0.6 * x[:, 0]
        generated, real = np.float32([x, y])
        given = Table(x, y, tuple("abcdefghij"), ("number",) * 10, ((),) * 10)
        samples = Samples(generated, real, real, x, y, (10,), table=given)
        scores.append(Detection()(samples)["detection"])
    stated = np.sqrt(squares_mean([score.error for score in scores]))
    deviation = np.std([score.value for score in scores], ddof=1)
    assert 0.6 * stated < deviation < stated
