"""Standard errors of scores of tables against closed forms, jackknives with what was learned held
fixed, and new draws.
"""

import dataclasses
from dataclasses import replace

import numpy as np
import pytest
from programs.rows import random, rows, samples_of, table
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
    of_samples = 1 / (4 * samples)
    mean = np.mean([score.reference_error**2 for score in scores])
    assert mean == pytest.approx(of_real, rel=0.2)
    mean = np.mean([score.error**2 for score in scores])
    assert mean == pytest.approx(of_real + of_samples, rel=0.1)
    actual = np.var([score.value for score in scores], ddof=1)
    assert actual == pytest.approx(of_real + of_samples, rel=0.4)
    actual = cell_variance(np.full(5, 40.0), np.full(5, 40.0), 5)
    assert actual == 0, "all cells are equal, or nearly"
    actual = cell_variance(np.array([300.0, 0.0]), np.array([0.0, 0.0]), 2)
    assert actual == 0, "all samples are copies"
    alone = np.array([900.0, 100.0]), np.array([2000.0])
    wanted = (0.3**2 + (1 / 30) ** 2 - (1 / 3) ** 2 / 2) * (2 / 3) ** 2
    actual = cell_variance(alone[0], np.append(alone[1], 0), 2)
    assert actual == pytest.approx(wanted + ((2 / 3) ** 2 / 2) / 9, rel=2e-3)


def test_the_error_of_a_predicted_number_is_that_of_leaving_out_rows():
    """Of a heavy tail the same rows decide the error and the unit in which it is measured."""
    x = rows(200, 51)
    y = rows(150, 52)
    for seed, side in enumerate((x, y)):
        side[:, 1] = np.exp(0.5 * side[:, 0] + 0.8 * random([53, seed]).standard_normal(len(side)))
    given = table(x, y, "w")
    columns = [0, 2, 3]
    _, value, error = utility(given)
    learned, real = ((side[:, columns], side[:, 1]) for side in inputs(given))
    order = shuffled(np.column_stack(learned), 0)
    trees = predictor(given.categorical[columns], learned[1], False).fit(
        learned[0][order], learned[1][order] / 10
    )
    squares = (real[1] - 10 * trees.predict(real[0])) ** 2
    others = ~np.eye(150, dtype=bool)
    without = [np.sqrt(squares[other].mean()) / real[1][other].std() for other in others]
    assert value == pytest.approx(np.sqrt(squares.mean()) / real[1].std(), rel=0.03)
    assert error == pytest.approx(149 * np.std(without) / np.sqrt(149), rel=0.2)


def test_an_error_of_few_blocks_is_widened_for_being_unsure():
    """Of a difference of means, whose error is known, 1.96 errors hold in 95 % of repeats; four
    blocks as they are in 89 %.
    """
    held = 0
    for seed in range(600):
        x, y = random([62, seed]).standard_normal((2, 80, 1))
        error = by_blocks(lambda a, b: np.array([a.mean() - b.mean()]), x, y, 20)[0]
        held += abs(x.mean() - y.mean()) < 1.96 * error
    assert 0.925 < held / 600 < 0.975


@pytest.mark.parametrize(("target", "place"), [("y", 3), ("c", 2)])
def test_the_error_of_predicted_classes_is_that_of_leaving_out_rows(target, place):
    """Of one class against the other, and of the mean over each of three against the rest."""
    x = rows(150, 57, missing=0)
    y = rows(120, 58, missing=0)
    x[:, 0] += random(59).standard_normal(150)
    given = table(x, y, target)
    columns = [at for at in range(4) if at != place]
    _, value, error = utility(given)
    learned, real = ((side[:, columns], side[:, place]) for side in inputs(given))
    order = shuffled(np.column_stack(learned), 0)
    shares = (
        classifier(given.categorical[columns])
        .fit(learned[0][order], learned[1][order])
        .predict_proba(real[0])
    )
    if place == 3:
        shares = shares[:, 1]
    without = [
        roc_auc_score(real[1][other], shares[other], multi_class="ovr")
        for other in ~np.eye(120, dtype=bool)
    ]
    assert value == pytest.approx(roc_auc_score(real[1], shares, multi_class="ovr"))
    assert error == pytest.approx(119 * np.std(without) / np.sqrt(119), rel=0.1)


def test_the_error_of_a_correlation_counts_rows_that_have_both_values():
    x, y = random(60).standard_normal((2, 90, 2))
    x[:, 1] += x[:, 0]
    x[random(61).random((90, 2)) < 0.3] = np.nan
    given = Table(x, y, ("a", "b"), ("number",) * 2, ((),) * 2)
    without = [
        pair_errors(replace(given, generated=x[other]))[1][0] for other in ~np.eye(90, dtype=bool)
    ]
    assert np.std(pair_errors(given)[2], ddof=1) / np.sqrt(90) == pytest.approx(
        89 * np.std(without) / np.sqrt(89), rel=0.15
    )


def test_ratios_of_distances_and_shares_are_plain():
    value, (error, shared) = distance_ratio(np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0]))
    assert (value, shared) == pytest.approx((0.5, 2 / 4**2))
    assert error == pytest.approx(np.hypot(1 / np.sqrt(3) / 4, 2 / 4**2))
    values = nearer(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])).tolist()
    assert values == [1.0, 0.5, 0.0]


def test_copies_are_nearer_to_training_rows_and_new_rows_are_not():
    train, held = (random(seed).standard_normal((200, 4)) for seed in (26, 27))
    copies, new = (
        NearestRows()(samples_of(side, held, train))
        for side in (train[:150], random(28).standard_normal((150, 4)))
    )
    assert copies["nearest_ratio"].value == 0
    assert copies["nearer_training"].value == 1
    assert new["nearest_ratio"].value == pytest.approx(1, abs=3 * new["nearest_ratio"].error)
    assert new["nearer_training"].value == pytest.approx(0.5, abs=3 * new["nearer_training"].error)
    assert "nearest_ratio" not in NearestRows()(samples_of(train, train[:50], train)), (
        "copies of training rows have no distance"
    )
    many = NearestRows()(
        samples_of(random(28).standard_normal((150, 4)), held, random(25).standard_normal((900, 4)))
    )
    assert many["nearer_training"].value == pytest.approx(
        0.5, abs=3 * many["nearer_training"].error
    ), "of as many training rows"


def test_distances_have_no_score_where_rows_repeat():
    actual = nearest_rows.repeating(np.array([[0, 1], [-0.0, 1], [2, 3], [4, 5]], np.float32))
    assert actual == 0.5
    train, held = (random(seed).standard_normal((200, 4)) for seed in (47, 48))
    train[:8] = train[8:16]
    assert NearestRows()(samples_of(held, held, train)) == {}
    train[:5] = random(49).standard_normal((5, 4))
    actual = NearestRows()(samples_of(held[:90], held[90:], train)).keys()
    assert actual == {"nearest_ratio", "nearer_training"}


def test_an_attack_ranks_rows_by_their_nearest_sample():
    members, others, samples, known = (
        random(seed).standard_normal((30, 2)).astype(np.float32) for seed in range(29, 33)
    )
    labels = np.r_[np.ones(30), np.zeros(30)]
    both = np.concatenate([members, others])
    near = {
        name: np.linalg.norm(both[:, None] - side, axis=2).min(1)
        for name, side in (("own", samples), ("known", known))
    }
    mean = attack(members, others, samples)[0].mean()
    assert mean == pytest.approx(roc_auc_score(labels, -near["own"]))
    ratio = attack(members, others, samples, known)[0].mean()
    assert ratio == pytest.approx(roc_auc_score(labels, near["known"] / near["own"]), abs=1e-3)


def test_the_attack_sees_a_model_that_repeats_200_rows_and_lets_new_draws_pass():
    train, held, new = (random(seed).standard_normal((200, 4)) for seed in (33, 34, 35))
    repeated = train[random(36).integers(200, size=400)] + 0.05 * random(37).standard_normal(
        (400, 4)
    )
    for name, score in Membership()(samples_of(repeated, held, train)).items():
        assert score.value >= 0.8, name
    for name, score in Membership()(samples_of(new, held, train)).items():
        difference = abs(score.value - 0.5)
        assert difference < 1.96 * score.error, name
        assert score.error == score.reference_error, "all samplings share the candidates"


def test_the_attack_uses_all_samples_that_there_are():
    train, held = (random(seed).standard_normal((200, 4)) for seed in (38, 39))
    some = samples_of(train[:40], held, train)
    more = dataclasses.replace(some, generated_more=train.astype(np.float32))
    few, many = (Membership()(side)["membership"].value for side in (some, more))
    assert few < 0.75 < 0.95 < many


def test_the_error_of_trees_holds_what_they_vary_by(monkeypatch):
    """Trees that learned from other rows rank otherwise, beside what new rows change in the ranks
    of given trees.
    """

    def few(categorical):
        return HistGradientBoostingClassifier(
            early_stopping=False, categorical_features=categorical, random_state=0, max_iter=3
        )

    monkeypatch.setattr("pushforward.tables.metrics.trees.classifier", few)
    monkeypatch.setattr(
        "pushforward.tables.metrics.trees._falls", lambda *_: 0.0
    )  # takes longer, and is not looked at
    scores = []
    for repeat in range(40):
        x, y = random([15, repeat]).standard_normal((2, 200, 10))
        x[:, 0] = 0.8 * x[:, 1] + 0.6 * x[:, 0]
        parts = [side.astype(np.float32) for side in (x, y, y)]
        given = Table(x, y, tuple("abcdefghij"), ("number",) * 10, ((),) * 10)
        scores.append(Detection()(Samples(*parts, x, y, (10,), table=given))["detection"])
    stated = np.sqrt(np.mean([score.error**2 for score in scores]))
    assert 0.6 * stated < np.std([score.value for score in scores], ddof=1) < stated
