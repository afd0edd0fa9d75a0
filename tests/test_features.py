"""Features: closed forms, planted damage, and what may not change."""

from __future__ import annotations

import dataclasses
import io
import logging

import numpy as np
import pytest
import torch
from programs.gaussian_data import dataset, handwritten, vectors
from programs.rows import random

from pushforward.data.core.dataset import Split
from pushforward.errors import DataError, Diverged
from pushforward.evaluation import features as module
from pushforward.evaluation.features import cache_folder, fit_features, principal, quantised


@pytest.fixture(scope="module")
def digits():
    return handwritten()


@pytest.fixture(scope="module")
def of_digits(digits, tmp_path_factory, as_usual):
    with as_usual():
        return fit_features(digits, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def labelled():
    return dataset(*vectors())


def test_dimensions_follow_n_and_the_total_variance_is_one(digits, of_digits):
    assert [of_digits.dims(n) for n in (5, 30, 360, 640, 10_000)] == [1, 3, 36, 64, 64]
    fitted = digits.train.x[of_digits.halves.fitted]
    whole = of_digits(fitted, 10_000)
    assert whole.dtype == np.float64
    assert whole.shape == (len(digits.train) // 2, 64)
    assert 0.97 < whole.var(0).sum() <= 1 + 1e-9
    np.testing.assert_allclose(whole.mean(0), 0, atol=1e-6)
    assert (np.diff(whole.var(0)) <= 1e-12).all(), "the axes come by falling variance"
    np.testing.assert_allclose(of_digits(fitted[:50], 70), whole[:50, :7], atol=1e-6)


def test_features_of_unlabelled_data_are_principal_components():
    x, _ = vectors(d=20)
    data = dataset(x)
    features = fit_features(data, cache=False)
    assert (features.name, features.classifies, features.accuracy) == ("pca", False, None)
    half = features.halves.fitted
    rows = data.space.to_model(data.train.data_units(half)).double().numpy()
    rows = (rows - rows.mean(0)) / np.sqrt(rows.var(0).sum())
    _, singular, _ = np.linalg.svd(rows, full_matrices=False)
    mine = features(data.train.data_units(half), 1000)
    assert mine.shape[1] == 20
    np.testing.assert_allclose(mine.var(0), singular**2 / len(rows), rtol=1e-6)
    gram = rows[:40] @ rows[:40].T
    np.testing.assert_allclose(mine[:40] @ mine[:40].T, gram, atol=1e-6), "a rotation keeps all inner products"
    with pytest.raises(DataError, match="no labels"):
        features.classify(x)


def test_the_principal_axes_of_wide_data_are_nearly_exact():
    r = random(2)
    centred = r.standard_normal((300, 90)) * 0.97 ** np.arange(90) @ r.standard_normal((90, 1500))
    axes = principal(centred, 64)
    _, singular, _ = np.linalg.svd(centred, full_matrices=False)
    assert axes.shape == (1500, 64)
    np.testing.assert_allclose(axes.T @ axes, np.eye(64), atol=1e-10)
    assert ((centred @ axes) ** 2).sum() > 0.999 * (singular[:64] ** 2).sum()


def test_fitting_is_reproducible_and_leaves_the_global_generator_alone(labelled):
    threads = torch.get_num_threads()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    torch.set_num_threads(threads + 1)
    try:
        first = fit_features(labelled, cache=False)
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    second, other = fit_features(labelled, cache=False), fit_features(labelled, seed=1, cache=False)
    x = labelled.held_out.x
    np.testing.assert_array_equal(first(x, 200), second(x, 200))
    assert np.abs(first(x, 200) - other(x, 200)).max() > 1e-3


def test_the_held_out_split_does_not_touch_the_features(labelled):
    changed = dataclasses.replace(labelled, held_out=Split(labelled.held_out.x[:50] * 3, labelled.held_out.labels[:50]))
    x = labelled.train.x[:99]
    np.testing.assert_array_equal(fit_features(labelled, cache=False)(x, 200), fit_features(changed, cache=False)(x, 200))


def test_a_cache_hit_equals_a_fresh_fit_and_trains_nothing(labelled, tmp_path, monkeypatch):
    fresh = fit_features(labelled, cache=tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(module, "fit_on", None)
        cached = fit_features(labelled, cache=tmp_path)
        with pytest.raises(TypeError):
            fit_features(labelled, cache=tmp_path, seed=1)
        with pytest.raises(TypeError):
            fit_features(labelled.without_labels(), cache=tmp_path)
    x = labelled.held_out.x
    np.testing.assert_array_equal(fresh(x, 200), cached(x, 200))
    np.testing.assert_array_equal(fresh.classify(x), cached.classify(x))
    assert cached.accuracy == fresh.accuracy


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_cache_is_made_anew(labelled, tmp_path, damage):
    fresh = fit_features(labelled, cache=tmp_path)
    (path,) = (tmp_path / "features").iterdir()
    content = path.read_bytes()
    damaged = {"cut": content[:-100], "flip": content[:-9] + bytes([content[-9] ^ 64]) + content[-8:], "empty": b""}[damage]
    path.write_bytes(damaged)
    again = fit_features(labelled, cache=tmp_path)
    np.testing.assert_array_equal(fresh(labelled.held_out.x, 200), again(labelled.held_out.x, 200))
    assert path.read_bytes() == content


def test_the_cache_folder_is_the_environments_and_a_full_disk_costs_only_the_cache(labelled, tmp_path, monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(logging.getLogger("pushforward"), "handlers", [logging.StreamHandler(said)])
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    (tmp_path / "file").write_text("in the way")
    assert fit_features(labelled, cache=tmp_path / "file").classifies
    assert "cannot be written" in said.getvalue()
    assert (tmp_path / "file").read_text() == "in the way"


def test_rows_are_rounded_as_files_would_and_bad_rows_are_counted(digits, of_digits):
    x = torch.tensor([-0.5, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 3.0]).repeat(2, 11)[:, :64].reshape(2, 1, 8, 8)
    assert sorted((quantised(x, digits.space).unique() * 255).tolist()) == pytest.approx([0, 1, 255])
    whole = dataset(vectors()[0], integer=(2,))
    rounded = quantised(torch.full((3, 12), 1.4), whole.space)
    assert rounded[:, 2].tolist() == [1, 1, 1]
    assert rounded[:, 3].tolist() == pytest.approx([1.4] * 3)
    x[1, 0, 3, 3] = float("nan")
    with pytest.raises(Diverged, match="1 of 2 generated examples"):
        of_digits(x, 360)
    with pytest.raises(DataError, match="shape"):
        of_digits(np.zeros((3, 1, 8, 9), np.float32), 360)
    with pytest.raises(DataError, match="at least one example"):
        of_digits(np.zeros((0, 1, 8, 8), np.float32), 360)
