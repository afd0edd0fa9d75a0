"""Features, the no-network row, floors and cost: closed forms, planted damage, and what may not change."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pushforward.conditions import Label
from pushforward.data import ImageSpace, VectorSpace
from pushforward.data.dataset import Dataset, Split
from pushforward.data.truth import Truth
from pushforward.errors import DataError, Diverged, UsageError
from pushforward.evaluation import cost
from pushforward.evaluation import features as module
from pushforward.evaluation.baseline import SHRINKAGE, GaussianBaseline
from pushforward.evaluation.cache import cache_folder
from pushforward.evaluation.features import fit_features, quantised
from pushforward.evaluation.halves import halves
from pushforward.evaluation.reduction import principal
from pushforward.evaluation.scoring import compared, deviation, floors, ratio, score
from pushforward.metrics import MetricInfo, Score
from pushforward.metrics.frechet import frechet_distance
from pushforward.metrics.manifold import Manifold


def random(seed: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def dataset(x, labels=None, held_out=200, truth=None, name="made", **space):
    flat = x.reshape(*x.shape[:2], -1).astype(np.float64) / (255 if x.ndim == 4 else 1)
    train, rest = (
        Split(x[held_out:], None if labels is None else labels[held_out:]),
        Split(x[:held_out], None if labels is None else labels[:held_out]),
    )
    if labels is not None:
        share = np.bincount(train.labels) / len(train)
        space |= {"conditions": {"label": Label(tuple(map(str, range(len(share)))), tuple(share.tolist()))}}
    mean, std = flat.mean((0, 2)), flat.std((0, 2))
    units = (VectorSpace if x.ndim == 2 else ImageSpace)(
        x.shape[1:], tuple(mean.tolist()), tuple(np.where(std > 0, std, 1).tolist()), **space
    )
    if x.ndim == 4:
        units = dataclasses.replace(units, low=(0.0,) * x.shape[1], high=(1.0,) * x.shape[1])
    return Dataset(name, units, train, rest, truth)


def vectors(n=1200, d=12, classes=3, seed=0):
    r = random(seed)
    labels = r.integers(0, classes, n)
    centres = 3 * r.standard_normal((classes, d))
    return (centres[labels] + r.standard_normal((n, d)) * r.uniform(0.3, 2, d)).astype(np.float32), labels


@pytest.fixture(scope="module")
def digits():
    from sklearn.datasets import load_digits

    source = load_digits()
    order = random(1).permutation(len(source.target))
    x = np.round(source.images * 255 / 16).astype(np.uint8)[order, None]
    return dataset(x, source.target[order].astype(np.int64), held_out=360, name="digits")


@pytest.fixture(scope="module")
def of_digits(digits, tmp_path_factory, as_usual):
    with as_usual():
        return fit_features(digits, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def labelled():
    return dataset(*vectors())


@pytest.fixture(scope="module")
def of_labelled():
    """Features of `labelled`, which scores and floors leave as they are."""
    return fit_features(dataset(*vectors()), cache=False)


# --- features ---


def test_the_classifier_of_digits_is_right_and_its_features_tell_classes_apart(digits, of_digits):
    assert of_digits.name == "classifier"
    assert of_digits.accuracy > 0.97
    x, labels = digits.held_out.data_units(), digits.held_out.labels
    assert (of_digits.classify(x) == labels).mean() == of_digits.accuracy
    assert (of_digits.classify(digits.held_out.x) == of_digits.classify(x)).all(), "uint8 and data units are the same rows"
    features = of_digits(x, 360)
    centres = np.stack([features[labels == k].mean(0) for k in range(10)])
    between = ((centres - centres.mean(0)) ** 2).sum(1).mean()
    within = np.mean([features[labels == k].var(0).sum() for k in range(10)])
    assert between > within, "raw pixels reach about 0.8 of it"
    assert "accuracy" in of_digits.describe(360)


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


@pytest.mark.parametrize("truth", [None, Truth(np.zeros((2, 7)), 1.0, np.ones(2) / 2)])
def test_toys_are_compared_as_they_are(truth, tmp_path):
    d = 2 if truth is None else 7
    x, labels = vectors(d=d)
    data = dataset(x, labels, truth=truth)
    features = fit_features(data, cache=tmp_path)
    assert len(features.halves.drawn) == len(data.train) == len(fit_features(data, cache=tmp_path).halves.fitted)
    assert features.name == "raw"
    assert features.dims(10) == d
    assert features.classifies, "labelled toys still have a classifier"
    rows = data.space.to_model(data.train.data_units()).double().numpy()
    np.testing.assert_allclose(
        features(data.train.data_units(), 10), (rows - rows.mean(0)) / np.sqrt(rows.var(0).sum()), atol=1e-6
    )


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
    files = sorted(path.suffix for path in (tmp_path / "features").iterdir())
    assert files == [".json", ".safetensors"]
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


@pytest.mark.parametrize("damage", ["cut", "flip", "json", "no json", "other key"])
def test_a_damaged_cache_is_made_anew(labelled, tmp_path, damage):
    fresh = fit_features(labelled, cache=tmp_path)
    tensors, description = (tmp_path / "features" / f"{fresh.key}{end}" for end in (".safetensors", ".json"))
    content = tensors.read_bytes()
    if damage == "cut":
        tensors.write_bytes(content[:-100])
    elif damage == "flip":
        tensors.write_bytes(content[:-9] + bytes([content[-9] ^ 64]) + content[-8:])
    elif damage == "json":
        description.write_text(description.read_text()[:20])
    elif damage == "no json":
        description.unlink()
    else:
        description.write_text(json.dumps(json.loads(description.read_text()) | {"key": "0" * 32}))
    again = fit_features(labelled, cache=tmp_path)
    np.testing.assert_array_equal(fresh(labelled.held_out.x, 200), again(labelled.held_out.x, 200))
    assert tensors.read_bytes() == content
    assert json.loads(description.read_text())["key"] == fresh.key


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


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 13, 21), (4, 32, 32), (1, 1, 9), (2, 50, 40)])
def test_any_image_shape_has_features(shape):
    r = random(3)
    labels = r.integers(0, 2, 48)
    x = (r.integers(0, 100, (48, *shape)) + 100 * labels[:, None, None, None]).astype(np.uint8)
    for data in (dataset(x, labels, held_out=16), dataset(x, held_out=16)):
        features = fit_features(data, cache=False)(data.held_out.x, 16)
        assert features.shape == (16, 1)
        assert np.isfinite(features).all()


# --- the no-network row ---


def test_the_baseline_has_the_mean_and_covariance_of_each_class():
    x, labels = vectors(4000, d=6)
    data = dataset(x, labels)
    model, n = GaussianBaseline.fit(data), 5000
    for k in range(3):
        mine = model.sample(n, {"label": k}).double().numpy()
        rows = data.train.x[data.train.labels == k].astype(np.float64)
        wanted = np.cov(rows.T, bias=True)
        wide = np.sqrt(np.diag(wanted))
        np.testing.assert_allclose(mine.mean(0) / wide, rows.mean(0) / wide, atol=5 / np.sqrt(n))
        np.testing.assert_allclose(np.cov(mine.T) / np.outer(wide, wide), wanted / np.outer(wide, wide), atol=4 * np.sqrt(2 / n))


def test_the_model_units_covariance_is_exact_up_to_the_shrinkage():
    x, _ = vectors(900, d=9)
    data = dataset(x)
    model = GaussianBaseline.fit(data)
    rows = data.space.to_model(data.train.data_units()).double().numpy()
    wanted = np.cov(rows.T, bias=True)
    covariance = (model.factors[0].T @ model.factors[0]).double().numpy() + np.diag(model.residuals[0].double().numpy() ** 2)
    shrunk = (1 - SHRINKAGE) * wanted + SHRINKAGE * np.diag(np.diag(wanted))
    np.testing.assert_allclose(covariance, shrunk, atol=1e-5)


def test_row_i_of_the_baseline_comes_from_seed_plus_i_alone_bit_for_bit(digits):
    for data in (digits, digits.without_labels(), dataset(*vectors())):
        model = GaussianBaseline.fit(data)
        assert torch.equal(model.sample(8, seed=0)[4:], model.sample(4, seed=4))
        assert torch.equal(model.sample(8, seed=0), model.sample(8, seed=0, batch=3))
        assert torch.equal(model.sample(8, seed=3)[5:6], model.sample(1, seed=8))
    assert model.sample(2).dtype == torch.float32


def test_the_baseline_draws_labels_with_the_training_frequencies():
    r = random(4)
    labels = r.choice(3, 2000, p=[0.6, 0.3, 0.1])
    x = (10 * labels[:, None] + r.standard_normal((2000, 4))).astype(np.float32)
    data = dataset(x, labels)
    samples = GaussianBaseline.fit(data).sample(3000).numpy()
    share = np.bincount(np.rint(samples.mean(1) / 10).astype(int), minlength=3) / 3000
    np.testing.assert_allclose(share, data.space.label.frequencies, atol=0.03)


def test_the_baseline_of_wide_images_is_low_rank_with_the_right_variances():
    r = random(5)
    low = r.standard_normal((400, 5)) @ r.standard_normal((5, 1200)) * 12 + 3 * r.standard_normal((400, 1200)) + 128
    x = np.clip(np.rint(low), 0, 255).astype(np.uint8).reshape(400, 3, 20, 20)
    data = dataset(x, held_out=100)
    model = GaussianBaseline.fit(data)
    assert model.factors[0].shape == (256, 1200)
    rows = data.space.to_model(data.train.data_units()).flatten(1).double()
    variance = model.factors[0].double().square().sum(0) + model.residuals[0].double().square()
    np.testing.assert_allclose(variance, rows.var(0, correction=0), rtol=1e-3)
    strongest = torch.linalg.svdvals(rows - rows.mean(0))[:5] / np.sqrt(300)
    np.testing.assert_allclose(torch.linalg.svdvals(model.factors[0].double())[:5], strongest, rtol=1e-2)
    z = torch.randn(4, *model.noise_shape)
    z[:2, :256], z[2:, 256:] = 0, 0
    own, common = (model(z).flatten(1) - model.means).split(2)
    torch.testing.assert_close(own, z[:2, 256:] * model.residuals)
    torch.testing.assert_close(common, z[2:, :256] @ model.factors[0], atol=1e-4, rtol=1e-4)
    samples = model.sample(30)
    assert samples.shape == (30, 3, 20, 20)
    assert 0 <= samples.min() <= samples.max() <= 1


def test_a_class_without_rows_and_one_with_a_single_row_still_sample():
    x, labels = vectors(300, d=4)
    labels = np.where(labels == 2, 0, labels)
    labels[-1] = 3
    model = GaussianBaseline.fit(dataset(x, labels))
    assert torch.isfinite(model.sample(40, {"label": 2})).all()
    assert torch.isfinite(model.sample(40, {"label": 3})).all()
    assert model.calls == 0


# --- scores and floors ---


def test_a_score_compares_equally_many_rows_and_uses_the_first_ones(labelled, of_labelled):
    features = of_labelled
    samples = GaussianBaseline.fit(labelled).sample(250)
    mine = score(samples, labelled, features, n=200, metrics=["frechet"])
    assert set(mine) == {"frechet"}
    wanted = frechet_distance(features(samples[:200], 200), features(labelled.held_out.x, 200))
    assert mine["frechet"].value == pytest.approx(wanted, rel=1e-9)
    assert score(samples, labelled, features)["frechet"].value == mine["frechet"].value, "n is the held-out size by default"
    first, second = (score(samples, labelled, features, n=60, redraw_seed=s)["frechet"].value for s in (0, 1))
    assert first != second
    assert score(samples, labelled, features, n=60, redraw_seed=1)["frechet"].value == second


def test_single_scores_whole_metrics_and_objects_can_be_asked_for(labelled, of_labelled):
    features, samples = of_labelled, labelled.train.x[:200]
    assert list(score(samples, labelled, features, metrics=["coverage", "kid"])) == ["coverage", "kid"]
    assert list(score(samples, labelled, features, metrics=["manifold"])) == ["precision", "recall", "density", "coverage"]

    class Mine:
        scores = {"mine": MetricInfo("mine", "higher", "mine")}  # noqa: RUF012

        def applies(self, samples):
            return True

        def __call__(self, samples):
            return {"mine": Score(float(len(samples.training)))}

    assert score(samples, labelled, features, metrics=[Mine()])["mine"].value == 1000
    assert floors(labelled, features, metrics=[Mine()], redraws=2, cache=False)["mine"].values == (800.0, 800.0)
    with pytest.raises(UsageError, match='Did you mean "coverage"'):
        score(samples, labelled, features, metrics=["coverge"])


def test_memorising_is_seen_and_the_floor_is_clean(labelled, of_labelled):
    features = of_labelled
    assert score(labelled.train.x[:200], labelled, features)["near_copies"].value == 1
    assert score(labelled.held_out.x, labelled, features)["frechet"].value == pytest.approx(0, abs=1e-9)
    floor = floors(labelled, features, redraws=3, cache=False)
    assert floor["near_copies"].value == 0, "the generated examples of a floor are no part of its training set"


def test_features_in_a_floor_belong_to_its_rows(labelled, of_labelled):
    features = of_labelled

    class Paired:
        scores = {"paired": MetricInfo("paired", "lower", "paired")}  # noqa: RUF012

        def applies(self, samples):
            return True

        def __call__(self, samples):
            sides = ((samples.generated, samples.generated_features), (samples.reference, samples.reference_features))
            return {"paired": Score(max(float(np.abs(features(x, 150) - f).max()) for x, f in sides))}

    assert max(floors(labelled, features, n=150, metrics=[Paired()], redraws=3, cache=False)["paired"].values) < 1e-5


def test_cached_floors_know_the_metrics_arguments(labelled, of_labelled, tmp_path):
    features = of_labelled
    given = [["coverage"], ["density"], [Manifold(3)], [Manifold(5)]]
    first = [floors(labelled, features, redraws=2, metrics=metrics, cache=tmp_path) for metrics in given]
    assert first == [floors(labelled, features, redraws=2, metrics=metrics, cache=False) for metrics in given]


def test_floors_are_reproducible_cached_and_made_anew_when_damaged(labelled, of_labelled, tmp_path, monkeypatch):
    features = of_labelled
    first = floors(labelled, features, n=150, redraws=2, cache=tmp_path)
    assert first == floors(labelled, features, n=150, redraws=2, cache=False)
    (path,) = (tmp_path / "floors").iterdir()
    content = path.read_text()
    import pushforward.evaluation.scoring as scoring

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "_Redraws", None)
        assert floors(labelled, features, n=150, redraws=2, cache=tmp_path) == first
        for other in ({"n": 149, "redraws": 2}, {"n": 150, "redraws": 3}, {"n": 150, "redraws": 2, "metrics": ["kid"]}):
            with pytest.raises(TypeError):
                floors(labelled, features, cache=tmp_path, **other)
    for damaged in (content[:60], "{}", content.replace(path.stem, "0" * 32)):
        path.write_text(damaged)
        assert floors(labelled, features, n=150, redraws=2, cache=tmp_path) == first
        assert path.read_text() == content


def test_a_floor_is_the_mean_and_spread_of_scores_of_training_rows(labelled, of_labelled):
    features = of_labelled
    floor = floors(labelled, features, redraws=6, metrics=["frechet", "coverage"], cache=False)
    values = np.array(floor["frechet"].values)
    assert len(set(values)) == 6
    assert floor["frechet"].value == pytest.approx(values.mean())
    assert floor["frechet"].spread == pytest.approx(values.std(ddof=1) / np.sqrt(1 - 200 / 500)), "200 of 500 rows overlap"
    reference = features(labelled.held_out.x, 200)
    rows = features(labelled.train.x[features.halves.drawn], 200)
    draws = [frechet_distance(rows[random(s + 50).permutation(500)[:200]], reference) for s in range(40)]
    assert values.mean() == pytest.approx(np.mean(draws), abs=3 * np.std(draws))
    worse = GaussianBaseline.fit(labelled.without_labels()).sample(200)
    assert score(worse, labelled, features)["frechet"].value > floor["frechet"].value + 3 * floor["frechet"].spread


def test_modes_of_a_toy_come_with_its_scores():
    r = random(6)
    centres = np.array([[-2.0, 0], [2, 0], [0, 3]])
    x = (centres[r.integers(0, 3, 1500)] + 0.1 * r.standard_normal((1500, 2))).astype(np.float32)
    data = dataset(x, truth=Truth(centres, 0.1, np.ones(3) / 3), held_out=500)
    features = fit_features(data, cache=False)
    floor = floors(data, features, redraws=3, cache=False)
    assert floor["modes_held"].values == (3.0, 3.0, 3.0)
    scores = score(GaussianBaseline.fit(data).sample(500), data, features)
    assert scores["bridges"].value > 0.5
    assert scores["modes_held"].value < 3
    assert "sharpness" not in scores


def test_how_many_rows_are_compared(labelled, of_labelled):
    assert compared(labelled) == 200
    assert compared(labelled, 77) == 77
    few = dataclasses.replace(labelled, train=Split(labelled.train.x[:90]))
    assert compared(few) == 23, "floors are drawn from 45 rows: half of them, so that redraws differ"
    assert compared(few, 44) == 44
    with pytest.raises(UsageError, match=r"from 2 to 44 .*90 training examples, of which real data's scores take half"):
        compared(few, 45)
    toy = dataclasses.replace(few, truth=Truth(np.zeros((2, 12)), 1.0, np.ones(2) / 2))
    assert compared(toy) == 45, "toys have no features to fit"
    for rows, wrong in ((5, False), (4, True)):
        small = dataclasses.replace(labelled, train=Split(labelled.train.x[:rows], labelled.train.labels[:rows]))
        if wrong:
            with pytest.raises(DataError, match="at least 5 and 2"):
                compared(small)
        else:
            assert floors(small, fit_features(small, cache=False), n=2, cache=False)["frechet"].value > 0
    for wrong in (1, 201):
        with pytest.raises(UsageError, match="from 2 to 200"):
            compared(labelled, wrong)
    with pytest.raises(DataError, match="1 held-out"):
        compared(dataclasses.replace(labelled, held_out=Split(labelled.held_out.x[:1])))
    with pytest.raises(UsageError, match="30 examples were generated"):
        score(labelled.train.x[:30], labelled, of_labelled)
    spoiled = labelled.train.x[:200].copy()
    spoiled[5:8, 3] = np.inf
    with pytest.raises(Diverged, match="3 of 200"):
        score(spoiled, labelled, of_labelled)


def test_a_ratio_needs_a_floor_that_is_not_zero():
    assert ratio(3.0, Score(2.0, 0.1)) == 1.5
    assert ratio(3.0, Score(-1e-4, 2e-3)) is None
    assert ratio(1.0, Score(0.0, 0.0)) is None


# --- floors beside rows that nothing has seen ---


def mixture(rows, seed, d=64):
    """Classes that overlap in many columns, which a classifier learns by heart."""
    r, fixed = random(seed), random(99)
    centres, shapes = 0.15 * fixed.standard_normal((4, d)), fixed.standard_normal((4, d, d)) / np.sqrt(d)
    labels = r.integers(0, 4, rows)
    return (centres[labels] + np.einsum("nij,nj->ni", shapes[labels], r.standard_normal((rows, d)))).astype(np.float32), labels


def test_floors_are_what_unseen_real_rows_score():
    """Floors of the rows that the classifier was trained on have .14 less recall and .1 less coverage than unseen examples."""
    n, names, gaps = 100, ("recall", "coverage", "precision"), []
    for seed in range(5):
        x, classes = mixture(500 + 2 * n, seed)
        data = dataset(x[n:], classes[n:], held_out=n)
        features = fit_features(data, cache=False)
        floor = floors(data, features, n=n, redraws=4, metrics=names, cache=False)
        unseen = score(x[:n], data, features, n=n, metrics=names)
        gaps.append([floor[name].value - unseen[name].value for name in names])
    assert np.abs(np.mean(gaps, axis=0)).max() < 0.05


def test_floors_come_from_rows_on_which_nothing_was_fitted(labelled, of_labelled):
    features = of_labelled
    assert not np.intersect1d(features.halves.fitted, features.halves.drawn).size
    changed = labelled.train.x.copy()
    changed[features.halves.drawn] += 1
    hashes = labelled.train.hashes  # by which the halves are chosen, and which stay as they are
    other = dataclasses.replace(labelled, train=Split(changed, labelled.train.labels, hashes))
    x = labelled.held_out.x
    np.testing.assert_array_equal(features(x, 200), fit_features(other, cache=False)(x, 200))
    changed = labelled.train.x.copy()
    changed[features.halves.fitted] += 1
    other = dataclasses.replace(labelled, train=Split(changed, labelled.train.labels, hashes))
    how = {"metrics": ["frechet", "manifold"], "redraws": 3, "cache": False}
    assert floors(labelled, features, **how) == floors(other, features, **how)


def test_every_class_is_in_the_half_of_the_features():
    x, labels = vectors(700, classes=2)
    labels[200:240] = np.arange(2, 42)  # forty classes of one training example
    rows = halves(dataset(x, labels))
    assert set(labels[200:][rows.fitted]) == set(labels[200:])
    assert sorted([*rows.fitted, *rows.drawn]) == list(range(500))
    assert len(rows.fitted) == 250
    alone = halves(dataset(x, np.concatenate([labels[:200], np.arange(500)])))  # every row a class of its own
    assert len(alone.fitted) == len(alone.drawn) == 250
    toy = dataset(x, labels, truth=Truth(np.zeros((2, 12)), 1.0, np.ones(2) / 2))
    assert len(halves(toy).fitted) == len(halves(toy).drawn) == 500


def test_copies_move_with_the_row_of_a_class_that_moves():
    """A class of two examples with fifteen copies each, which is in the half of the features whatever the hashes say."""
    for seed in range(12):
        common, rare = random(seed).normal(size=(400, 4)), np.repeat(random(99 + seed).normal(9, 1, size=(2, 4)), 15, axis=0)
        x, labels = np.concatenate([common, rare]).astype(np.float32), np.r_[np.arange(400) % 3, np.full(30, 3)]
        data = dataset(x, labels, held_out=1)
        rows = halves(data)
        assert not np.isin(data.train.hashes[rows.drawn], data.train.hashes[rows.fitted]).any()
        assert set(labels) == set(data.train.labels[rows.fitted])


def test_copies_of_a_row_are_in_one_half():
    """Of a doubled file, half of the floor's rows would else have a twin on which the classifier was trained."""
    x, labels = vectors(700)
    data = dataset(np.repeat(x, 2, axis=0), np.repeat(labels, 2), held_out=400)
    rows = halves(data)
    assert not np.isin(data.train.hashes[rows.drawn], data.train.hashes[rows.fitted]).any()
    assert abs(len(rows.drawn) - len(rows.fitted)) <= 4
    shuffled = dataclasses.replace(data, train=data.train.take(random(0).permutation(len(data.train))))
    assert set(shuffled.train.hashes[halves(shuffled).drawn]) == set(data.train.hashes[rows.drawn])
    constant = halves(dataset(np.ones((50, 8), np.float32)))
    assert abs(len(constant.drawn) - len(constant.fitted)) <= 1


def test_the_spread_of_a_floor_stays_bounded_at_large_n():
    x, labels = mixture(900, 0)
    data = dataset(x, labels, held_out=400)
    features = fit_features(data, cache=False)
    spread = [floors(data, features, n=n, metrics=["recall"], cache=False)["recall"].spread for n in (125, 248)]
    assert spread[1] < 2 * spread[0]


def test_near_copies_of_the_floor_are_counted_among_all_other_training_rows(monkeypatch):
    """Half of the rows have a twin; a redraw of 200 of 800 rows would take every fourth twin away."""
    r = random(8)
    x = r.standard_normal((1000, 12)).astype(np.float32)
    twins = 200 + r.permutation(800)[:400]
    x[twins[:200]] = x[twins[200:]] + 1e-3
    data = dataset(x)
    monkeypatch.setattr("pushforward.evaluation.scoring.REDRAWS", 20)
    floor = floors(data, fit_features(data, cache=False), n=200, metrics=["near_copies"], cache=False)["near_copies"]
    assert floor.value == pytest.approx(np.isin(200 + halves(data).drawn, twins).mean(), abs=0.03)


# --- cost ---


def test_parameters_count_shared_tensors_once():
    first, second = nn.Linear(5, 7), nn.Linear(5, 7)
    second.weight = first.weight
    assert cost.parameters(nn.ModuleList([first, second])) == 35 + 7 + 7
    assert set(cost.named_parameters(first)) & set(cost.named_parameters(second)) == {id(first.weight)}


def test_flops_of_a_product_and_a_convolution():
    layer, picture = nn.Linear(5, 7, bias=False), nn.Conv2d(2, 3, 3, padding=1, bias=False)
    assert cost.flops(layer, torch.randn(11, 5)) == 2 * 11 * 5 * 7
    with torch.no_grad():
        assert cost.flops(lambda: picture(torch.randn(4, 2, 6, 8))) == 2 * 4 * 3 * 2 * 9 * 6 * 8


def test_peak_memory_is_what_the_kernel_counts():
    status = Path("/proc/self/status")
    if not status.exists():
        pytest.skip("only Linux says it in two ways")
    peak = next(int(line.split()[1]) * 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    assert cost.peak_memory() == pytest.approx(peak, rel=0.02)


def test_equal_scores_deviate_by_nothing():
    assert np.std([0.97] * 3, ddof=1) > 0, "or this test proves nothing"
    assert deviation([0.97] * 3) == 0
    assert deviation([1.0, 2.0, 4.0]) == pytest.approx(1.5275252)
    assert np.isnan(deviation([1.0, float("nan")]))
    assert np.isnan(deviation([float("nan")] * 2))
