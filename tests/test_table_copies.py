"""Copies of training rows, and attacks on membership: closed forms, models that repeat rows, and new draws."""

import dataclasses

import numpy as np
import pytest
from programs.rows import random, samples_of
from sklearn.metrics import roc_auc_score

from pushforward.metrics import nearest_rows
from pushforward.metrics.nearest_rows import Membership, NearestRows, attack, distance_ratio, nearer


def test_ratios_of_distances_and_shares_are_plain():
    value, (error, shared) = distance_ratio(np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0]))
    assert (value, shared) == pytest.approx((0.5, 2 / 4**2))
    assert error == pytest.approx(np.hypot(1 / np.sqrt(3) / 4, 2 / 4**2))
    assert nearer(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])).tolist() == [1.0, 0.5, 0.0]


def test_copies_are_nearer_to_training_rows_and_new_rows_are_not():
    train, held = (random(seed).standard_normal((200, 4)) for seed in (26, 27))
    copies, new = (NearestRows()(samples_of(side, held, train)) for side in (train[:150], random(28).standard_normal((150, 4))))
    assert copies["nearest_ratio"].value == 0
    assert copies["nearer_training"].value == 1
    assert new["nearest_ratio"].value == pytest.approx(1, abs=3 * new["nearest_ratio"].error)
    assert new["nearer_training"].value == pytest.approx(0.5, abs=3 * new["nearer_training"].error)
    assert "nearest_ratio" not in NearestRows()(samples_of(train, train[:50], train)), "copies of training rows have no distance"


def test_distances_have_no_score_where_rows_repeat():
    assert nearest_rows.repeating(np.array([[0, 1], [-0.0, 1], [2, 3], [4, 5]], np.float32)) == 0.5
    train, held = (random(seed).standard_normal((200, 4)) for seed in (47, 48))
    train[:8] = train[8:16]
    assert NearestRows()(samples_of(held, held, train)) == {}
    train[:5] = random(49).standard_normal((5, 4))
    assert NearestRows()(samples_of(held[:90], held[90:], train)).keys() == {"nearest_ratio", "nearer_training"}


def test_an_attack_ranks_rows_by_their_nearest_sample():
    members, others, samples, known = (random(seed).standard_normal((30, 2)).astype(np.float32) for seed in range(29, 33))
    labels, both = np.r_[np.ones(30), np.zeros(30)], np.concatenate([members, others])
    near = {name: np.linalg.norm(both[:, None] - side, axis=2).min(1) for name, side in (("own", samples), ("known", known))}
    assert attack(members, others, samples)[0].mean() == pytest.approx(roc_auc_score(labels, -near["own"]))
    ratio = attack(members, others, samples, known)[0].mean()
    assert ratio == pytest.approx(roc_auc_score(labels, near["known"] / near["own"]), abs=1e-3)


def test_the_attack_sees_a_model_that_repeats_200_rows_and_lets_new_draws_pass():
    train, held, new = (random(seed).standard_normal((200, 4)) for seed in (33, 34, 35))
    repeated = train[random(36).integers(200, size=400)] + 0.05 * random(37).standard_normal((400, 4))
    for name, score in Membership()(samples_of(repeated, held, train)).items():
        assert score.value >= 0.8, name
    for name, score in Membership()(samples_of(new, held, train)).items():
        assert abs(score.value - 0.5) < 1.96 * score.error, name
        assert score.error == score.reference_error, "all samplings share the candidates"


def test_the_attack_uses_all_samples_that_there_are():
    train, held = (random(seed).standard_normal((200, 4)) for seed in (38, 39))
    some = samples_of(train[:40], held, train)
    more = dataclasses.replace(some, generated_more=train.astype(np.float32))
    few, many = (Membership()(side)["membership"].value for side in (some, more))
    assert few < 0.75 < 0.95 < many
