"""Features and their extractors: closed forms, laws, identity and cache, several spaces side by
side.
"""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import re

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from programs.gaussian_data import dataset, handwritten, vectors
from programs.rows import random
from programs.text_tables import read_cases
from torch import nn

import pushforward as pf
from pushforward.cli import main
from pushforward.data.core.dataset import Split
from pushforward.errors import DataError, Diverged, UsageError
from pushforward.evaluation import features as module
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.evaluator import Evaluator
from pushforward.evaluation.features import cache_folder, fit_features, quantised
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.extractors import Extractor
from pushforward.extractors.pretrained import EfficientNet, Inception
from pushforward.extractors.self_supervised import SelfSupervised, variance_invariance_covariance
from pushforward.metrics.subsets import principal_axes
from pushforward.registries import EXTRACTORS
from pushforward.testing import Broken, check_features, space_data


class Means(nn.Module):
    """A user's network for examples: weighted sums of the 64 numbers of an example.

    Args:
        weight: A factor of all features.
        features: How many there are.
    """

    def __init__(self, weight: float = 1.0, features: int = 5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(64, features)
        self.weight = weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, features)."""
        sums: torch.Tensor = self.weight * self.layer(x.flatten(1))
        return sums


SMALL = {"self-supervised": SelfSupervised(200), "efficientnet": EfficientNet(32)}
"""Extractors that are faster with other settings."""


@pytest.mark.parametrize("name", sorted(set(EXTRACTORS) - {"inception"}))
def test_every_extractor_obeys_the_laws(name, monkeypatch):
    monkeypatch.setattr("pushforward.extractors.classifier.SEEN", 200)
    if name == "efficientnet":
        pytest.importorskip("timm")
    check_features(SMALL.get(name, name))


@pytest.mark.parametrize("name", ["self-supervised", "pca", "raw"])
def test_extractors_of_vectors_obey_the_laws(name):
    check_features(SMALL.get(name, name), space_data((6,), labels=False))


def test_networks_of_the_users_own_obey_the_laws():
    check_features(Means())


class Batched(nn.Module):
    def forward(self, x):
        return x.flatten(1) - x.flatten(1).mean()


class Random(nn.Module):
    def forward(self, x):
        return x.flatten(1) + torch.rand(1)


class Silent(Extractor):
    def preprocessing(self, space):
        return ""

    def network(self, space):
        return nn.Flatten()

    def describe(self, sure=""):
        return "pixels"


@pytest.mark.parametrize(
    ("network", "says"),
    [
        (Batched(), "the other examples in the batch"),
        (Random(), "generator|other examples in the batch"),
        (Silent(), "describe itself and its preprocessing"),
    ],
)
def test_planted_mistakes_break_a_law(network, says):
    with pytest.raises(Broken, match=says):
        check_features(network)


def test_the_key_and_the_identity_follow_data_settings_weights_and_seed():
    data = space_data((1, 8, 8), labels=True)
    data = data.without_labels()  # no classifier is trained beside the features
    other_data = space_data((1, 8, 8), labels=False, seed=1)
    fitted = [
        fit_features(data, "pca", cache=False),
        fit_features(data, "raw", cache=False),
        fit_features(data, Means(), cache=False),
        fit_features(data, Means(2.0), cache=False),
        fit_features(data, Means(features=6), cache=False),
        fit_features(data, SelfSupervised(200), cache=False),
        fit_features(data, SelfSupervised(400), cache=False),
        fit_features(data, SelfSupervised(200), cache=False, seed=1),
        fit_features(other_data, "pca", cache=False),
    ]
    keys = {features.key for features in fitted}
    assert len(keys) == len(fitted)
    identities = {features.identity for features in fitted}
    assert len(identities) == len(fitted)
    for identity in identities:
        assert re.fullmatch("[0-9a-f]{16}", identity)


def flipped(content, bits):
    """A file's content with some bits of its ninth last byte changed."""
    damaged = bytearray(content)
    damaged[-9] ^= bits
    return bytes(damaged)


def test_features_of_real_data_are_read_from_the_cache_and_a_damaged_file_is_made_anew(
    tmp_path, monkeypatch
):
    data = space_data((1, 8, 8), labels=True)
    calls = []
    features = fit_features(data, Means(), cache=tmp_path)
    usual = module.extracted

    def counted(*given):
        calls.append(given)
        return usual(*given)

    monkeypatch.setattr(module, "extracted", counted)
    x = data.held_out.data_units()
    fresh = features(x, 20, real=True)
    assert len(calls) == 1
    assert_array_equal(features(x, 20, real=True), fresh)
    assert len(calls) == 1, "real data comes from the disk"
    assert_array_equal(features(x, 20), fresh, "samples are computed, to the same bits")
    assert len(calls) == 2
    stored = tmp_path / "features" / "real"
    (file,) = stored.iterdir()
    file.write_bytes(flipped(file.read_bytes(), 1))
    assert_array_equal(features(x, 20, real=True), fresh)
    assert len(calls) == 3
    other = fit_features(data, Means(2.0), cache=tmp_path)
    other(x, 20, real=True)
    assert len(list(stored.iterdir())) == 2, "other weights have files of their own"


def test_a_learned_space_of_a_toy_is_fitted_on_one_half_and_floors_come_from_the_other():
    data = space_data((2,), labels=False)
    raw, learned = (
        fit_features(data, space, cache=False) for space in ("raw", SelfSupervised(100))
    )
    assert len(raw.halves.drawn) == len(data.train)
    assert not set(learned.halves.fitted) & set(learned.halves.drawn)


def test_the_loss_is_the_papers():
    r = np.random.default_rng(0)
    a, b = r.normal(size=(2, 7, 3)) * [0.5, 1.5, 0.8]
    expected = 25 * ((a - b) ** 2).mean()
    for z in (a, b):
        covariance = np.cov(z.T)
        variance = np.diag(covariance)
        std = np.sqrt(variance + 1e-4)
        expected += 25 * np.maximum(0, 1 - std).mean()
        expected += (covariance**2).sum() / 3 - (variance**2).sum() / 3
    loss = variance_invariance_covariance(torch.tensor(a), torch.tensor(b))
    assert loss.item() == pytest.approx(expected)
    still = torch.zeros(7, 3)
    loss = variance_invariance_covariance(still, still)
    assert loss.item() == pytest.approx(2 * 25 * 0.99)


class Wrong(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, x):
        flat = x.flatten(1)
        answers = {
            "nan": torch.where(torch.arange(len(flat))[:, None] == 1, torch.nan, flat),
            "fewer": flat[1:],
            "mean": flat.mean(),
            "tuple": (flat,),
        }
        if self.kind == "channels":
            return nn.functional.conv2d(x, torch.ones(1, 3, 3, 3))
        return answers[self.kind]


WRONG = """
nan   | Wrong are NaN or infinite for 1 of 3[0-9] examples
fewer | a Tensor .* for 3[0-9] examples
mean  | a Tensor
tuple | a tuple
"""


@pytest.mark.parametrize(("kind", "says"), read_cases(WRONG))
def test_a_network_that_answers_wrongly_is_named(kind, says):
    data = space_data((1, 8, 8), labels=False)
    with pytest.raises(UsageError, match=says):
        fit_features(data, Wrong(kind), cache=False)


@pytest.fixture(scope="module")
def plain_digits():
    return pf.data.load("digits")


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file of weights, and a small network in the place of Inception v3 that reads it as
    torch-fidelity does.
    """
    kind = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")

    class Small(nn.Module):
        def __init__(self, name, wanted, file):
            super().__init__()
            assert (name, wanted) == ("inception", ["2048"])
            self.fc = nn.Linear(3, 4)
            self.load_state_dict(torch.load(file, weights_only=False))
            self.eval()

        def forward(self, x):
            assert x.dtype == torch.uint8
            assert x.shape[1] == 3
            return (self.fc(x.float().mean((2, 3))),)

    monkeypatch.setattr(kind, "FeatureExtractorInceptionV3", Small)
    torch.save(nn.Linear(3, 4).state_dict() | {}, tmp_path / "linear.pth")
    file = tmp_path / "weights.pth"
    torch.save(
        {
            "fc.weight": torch.ones(4, 3) * torch.arange(1.0, 5.0)[:, None],
            "fc.bias": torch.zeros(4),
        },
        file,
    )
    return file


def test_scores_in_a_second_space_stand_beside_the_first_and_equal_those_of_it_alone(plain_digits):
    plain_digits = plain_digits.without_labels()
    sampler = GaussianBaseline.fit(plain_digits)
    judge = Evaluator(
        plain_digits,
        n=60,
        repeats=1,
        metrics=["frechet", "precision", "sharpness"],
        spaces="pca,raw",
    )
    alone = Evaluator(plain_digits, n=60, repeats=1, metrics=["frechet", "precision"], spaces="raw")
    scores = judge.scores(sampler)[0]
    own = alone.scores(sampler)[0]
    assert {"frechet", "precision", "frechet (raw)", "precision (raw)"} <= set(scores)
    assert "sharpness (raw)" not in scores
    for name in own:
        assert scores[f"{name} (raw)"].value == own[name].value
        assert judge.real_data_scores[f"{name} (raw)"].value == alone.real_data_scores[name].value
    assert scores["frechet"].value != scores["frechet (raw)"].value
    comparison = judge.comparison([ModelResult("it", scores=scores)])
    assert comparison.settings.spaces == ("pca", "raw")
    info = comparison.info("frechet (raw)")
    assert (info.label, info.role, info.group) == (
        "Fréchet distance (raw)",
        None,
        "In other features: raw",
    )
    assert Comparison.from_json(comparison.to_json()) == comparison
    assert {"frechet", "frechet (raw)"} <= set(comparison.metrics)


def test_inception_obeys_the_laws(weights):
    check_features(Inception(weights))


def test_a_file_of_weights_is_needed_is_there_and_holds_the_right_ones(weights, tmp_path):
    data = space_data((1, 8, 8), labels=False)
    with pytest.raises(UsageError, match=r"never downloaded.*`features=inception:FILE`"):
        fit_features(data, "inception", cache=False)
    with pytest.raises(UsageError, match="does not contain the weights"):
        fit_features(data, f"inception:{tmp_path / 'linear.pth'}", cache=False)
    first = fit_features(data, f"inception:{weights}", cache=tmp_path / "cache")
    moved = tmp_path / "moved.pth"
    moved.write_bytes(weights.read_bytes())
    key = fit_features(data, Inception(moved), cache=tmp_path / "cache").key
    assert key == first.key, "where the file lies does not matter"
    torch.save({"fc.weight": 2 * torch.ones(4, 3), "fc.bias": torch.zeros(4)}, weights)
    changed = fit_features(data, f"inception:{weights}", cache=tmp_path / "cache")
    assert changed.key != first.key
    assert changed.identity != first.identity


def test_a_file_of_weights_runs_no_code(tmp_path):
    pytest.importorskip("torch_fidelity")

    class Evil:
        def __reduce__(self):
            return (tmp_path.joinpath("ran").touch, ())

    torch.save({"fc.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UsageError, match="does not contain the weights"):
        Inception(tmp_path / "evil.pth").network(space_data((1, 8, 8), labels=False).space)
    assert not (tmp_path / "ran").exists()


PLUGIN = '''
from pushforward.extractors import Extractor
from torch import nn


class Quarters(Extractor):
    """Means of the four quarters of an image."""

    def network(self, space):
        return nn.AdaptiveAvgPool2d(2)

    def describe(self, sure=""):
        return "means of the four quarters"
'''


def test_a_file_adds_features_for_the_command_line(tmp_path, capsys):
    file = tmp_path / "quarters.py"
    samples = tmp_path / "samples.npz"
    file.write_text(PLUGIN)
    x = pf.data.load("digits").held_out.x[:40]
    np.savez(samples, x=x)
    options = [
        "--n",
        "20",
        "--metrics",
        "frechet",
        "--json",
        "--features",
        "pca,quarters",
        "--plugin",
        str(file),
    ]
    main(["evaluate", str(samples), "--data", "digits", *options])
    result = json.loads(capsys.readouterr().out)
    scores = set(result["models"][0]["scores"])
    assert scores == {"frechet", "frechet (quarters)"}
    main(["list", "features", "--plugin", str(file)])
    assert "Means of the four quarters" in capsys.readouterr().out
    code = main(["evaluate", str(samples), "--data", "digits", "--features", "quarter"])
    assert code == 2
    assert 'Did you mean "quarters"' in capsys.readouterr().err


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
    dimensions = [of_digits.dims(n) for n in (5, 30, 360, 640, 10_000)]
    assert dimensions == [1, 3, 36, 64, 64]
    fitted = digits.train.x[of_digits.halves.fitted]
    whole = of_digits(fitted, 10_000)
    assert whole.dtype == np.float64
    assert whole.shape == (len(digits.train) // 2, 64)
    variances = whole.var(0)
    assert 0.97 < variances.sum() <= 1 + 1e-9
    assert_allclose(whole.mean(0), 0, atol=1e-6)
    assert (np.diff(variances) <= 1e-12).all(), "the axes come by falling variance"
    few = of_digits(fitted[:50], 70)
    assert_allclose(few, whole[:50, :7], atol=1e-6)


def test_features_of_unlabelled_data_are_principal_components():
    x, _ = vectors(d=20)
    data = dataset(x)
    features = fit_features(data, cache=False)
    assert features.name == "pca"
    assert features.classifies is False
    assert features.accuracy is None
    fitted = data.train.data_units(features.halves.fitted)
    rows = data.space.to_model(fitted).double().numpy()
    rows = rows - rows.mean(0)
    rows = rows / np.sqrt(rows.var(0).sum())
    singular = np.linalg.svd(rows, compute_uv=False)
    mine = features(fitted, 1000)
    assert mine.shape[1] == 20
    assert_allclose(mine.var(0), singular**2 / len(rows), rtol=1e-6)
    gram = rows[:40] @ rows[:40].T  # a rotation keeps all inner products
    assert_allclose(mine[:40] @ mine[:40].T, gram, atol=1e-6)


def test_the_principal_axes_of_wide_data_are_nearly_exact():
    r = random(2)
    falling = r.standard_normal((300, 90)) * 0.97 ** np.arange(90)
    centred = falling @ r.standard_normal((90, 1500))
    variances, axes = principal_axes(centred, 64)
    exact = np.linalg.svd(centred, compute_uv=False)[:64] ** 2
    assert axes.shape == (1500, 64)
    assert_allclose(axes.T @ axes, np.eye(64), atol=1e-10)
    total = ((centred @ axes) ** 2).sum()
    assert total > 0.999 * exact.sum()
    assert_allclose(variances[:5], exact[:5] / 300, rtol=1e-3)


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
    second = fit_features(labelled, cache=False)
    other = fit_features(labelled, seed=1, cache=False)
    x = labelled.held_out.x
    assert_array_equal(first(x, 200), second(x, 200))
    largest = np.abs(first(x, 200) - other(x, 200)).max()
    assert largest > 1e-3


def test_the_held_out_split_does_not_touch_the_features(labelled):
    held_out = Split(labelled.held_out.x[:50] * 3, labelled.held_out.labels[:50])
    changed = dataclasses.replace(labelled, held_out=held_out)
    x = labelled.train.x[:99]
    actual = fit_features(labelled, cache=False)(x, 200)
    expected = fit_features(changed, cache=False)(x, 200)
    assert_array_equal(actual, expected)


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
    assert_array_equal(fresh(x, 200), cached(x, 200))
    assert_array_equal(fresh.classify(x), cached.classify(x))
    assert cached.accuracy == fresh.accuracy


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_cache_is_made_anew(labelled, tmp_path, damage):
    fresh = fit_features(labelled, cache=tmp_path)
    (path,) = (tmp_path / "features").iterdir()
    content = path.read_bytes()
    damaged = {"cut": content[:-100], "flip": flipped(content, 64), "empty": b""}
    path.write_bytes(damaged[damage])
    again = fit_features(labelled, cache=tmp_path)
    x = labelled.held_out.x
    assert_array_equal(again(x, 200), fresh(x, 200))
    assert path.read_bytes() == content


def test_the_cache_folder_is_the_environments_and_a_full_disk_costs_only_the_cache(
    labelled, tmp_path, monkeypatch
):
    said = io.StringIO()
    monkeypatch.setattr(logging.getLogger("pushforward"), "handlers", [logging.StreamHandler(said)])
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "here"))
    assert cache_folder() == tmp_path / "here"
    (tmp_path / "file").write_text("in the way")
    assert fit_features(labelled, cache=tmp_path / "file").classifies
    assert "cache file" in said.getvalue()
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("space", ["pca", Means(), SelfSupervised(200)])
def test_other_weights_have_another_hash_and_their_rounding_keeps_the_identity(space):
    features = fit_features(space_data((1, 8, 8), labels=True), space, cache=False, reads=False)
    weights = features.weights
    identity = features.identity
    del features.weights
    tensors = []
    for tensor in features._network.state_dict().values():
        if tensor.is_floating_point() and tensor.numel():
            tensors.append(tensor)
    if tensors:
        tensors[-1].view(-1)[0] += 1
    else:
        features.tensors["mean"][0] += 1
    assert features.weights != weights
    assert features.identity == identity or not features.determined


def test_pixels_are_rounded_to_the_levels_of_files(digits):
    levels = torch.tensor([-0.5, 0.0, 0.4999 / 255, 0.5001 / 255, 1.0, 3.0])
    x = torch.zeros(64)
    x[:6] = levels
    rounded = 255 * quantised(x.reshape(1, 1, 8, 8), digits.space)
    assert rounded.flatten()[:6].tolist() == pytest.approx([0, 0, 0, 1, 255, 255])


def test_integer_columns_are_rounded():
    x, _ = vectors()
    data = dataset(x, integer=(2,))
    rounded = quantised(torch.full((3, 12), 1.4), data.space)
    assert rounded[:, 2].tolist() == [1, 1, 1]
    assert rounded[:, 3].tolist() == pytest.approx([1.4] * 3)


def test_bad_rows_are_counted(of_digits):
    x = torch.zeros(2, 1, 8, 8)
    x[1, 0, 3, 3] = float("nan")
    with pytest.raises(Diverged, match="1 of 2 generated examples"):
        of_digits(x, 360)


@pytest.mark.parametrize(
    ("shape", "says"), [((3, 1, 8, 9), "shape"), ((0, 1, 8, 8), "at least one example")]
)
def test_examples_of_other_shapes_are_refused(of_digits, shape, says):
    x = np.zeros(shape, np.float32)
    with pytest.raises(DataError, match=says):
        of_digits(x, 360)
