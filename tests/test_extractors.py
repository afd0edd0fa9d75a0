"""Features and their extractors: closed forms, laws, identity and cache, several spaces side by side."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from programs.means import Means
from torch import nn

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import UsageError
from pushforward.evaluation import features as module
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.evaluator import Judge
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.extractors import Extractor, named_extractors
from pushforward.extractors.efficientnet import EfficientNet
from pushforward.extractors.inception import Inception
from pushforward.extractors.self_supervised import SelfSupervised, variance_invariance_covariance
from pushforward.registries import EXTRACTORS
from pushforward.testing import Broken, check_features, space_data

SMALL = {"self-supervised": SelfSupervised(200), "efficientnet": EfficientNet(32)}
"""Extractors that are faster with other settings."""


# --- laws ---


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
        (Batched(), "the others of its batch"),
        (Random(), "generator|others of its batch"),
        (Silent(), "describe itself and its preprocessing"),
    ],
)
def test_planted_mistakes_break_a_law(network, says):
    with pytest.raises(Broken, match=says):
        check_features(network)


# --- identity and cache ---


def test_the_key_and_the_identity_follow_data_settings_weights_and_seed():
    data = space_data((1, 8, 8), labels=True)
    data = data.without_labels()  # no classifier is trained beside the features
    spaces = {
        "pca": "pca",
        "raw": "raw",
        "a": Means(),
        "other weight": Means(2.0),
        "other layer": Means(features=6),
        "seen": SelfSupervised(200),
        "seen more": SelfSupervised(400),
    }
    fitted = {name: fit_features(data, space, cache=False) for name, space in spaces.items()}
    fitted["other seed"] = fit_features(data, SelfSupervised(200), cache=False, seed=1)
    fitted["other data"] = fit_features(space_data((1, 8, 8), labels=False, seed=1), "pca", cache=False)
    assert len({features.key for features in fitted.values()}) == len(fitted)
    assert len({features.identity for features in fitted.values()}) == len(fitted)
    assert all(len(features.identity) == 16 and int(features.identity, 16) for features in fitted.values())


def test_features_of_real_data_are_read_from_the_cache_and_a_damaged_file_is_made_anew(tmp_path, monkeypatch):
    data, calls = space_data((1, 8, 8), labels=True), []
    features = fit_features(data, Means(), cache=tmp_path)
    usual = module.extracted
    monkeypatch.setattr(module, "extracted", lambda *given: calls.append(1) or usual(*given))
    x = data.held_out.data_units()
    fresh = features(x, 20, real=True)
    assert len(calls) == 1
    assert np.array_equal(fresh, features(x, 20, real=True))
    assert len(calls) == 1, "real data comes from the disk"
    assert np.array_equal(fresh, features(x, 20)), "samples are computed, to the same bits"
    assert len(calls) == 2
    (file,) = (tmp_path / "features" / "real").iterdir()
    content = file.read_bytes()
    file.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    assert np.array_equal(fresh, features(x, 20, real=True))
    assert len(calls) == 3
    other = fit_features(data, Means(2.0), cache=tmp_path)
    other(x, 20, real=True)
    assert len(list((tmp_path / "features" / "real").iterdir())) == 2, "other weights have files of their own"


def test_a_learned_space_of_a_toy_is_fitted_on_one_half_and_floors_come_from_the_other():
    data = space_data((2,), labels=False)
    raw, learned = (fit_features(data, space, cache=False) for space in ("raw", SelfSupervised(100)))
    assert len(raw.halves.drawn) == len(data.train)
    assert not set(learned.halves.fitted) & set(learned.halves.drawn)


# --- self-supervision ---


def test_the_loss_is_the_papers():
    r = np.random.default_rng(0)
    a, b = r.normal(size=(2, 7, 3)) * [0.5, 1.5, 0.8]
    terms = [25 * ((a - b) ** 2).mean()]
    for z in (a, b):
        covariance = np.cov(z.T)
        terms.append(25 * np.maximum(0, 1 - np.sqrt(np.diag(covariance) + 1e-4)).mean())
        terms.append((covariance**2).sum() / 3 - (np.diag(covariance) ** 2).sum() / 3)
    loss = variance_invariance_covariance(torch.tensor(a), torch.tensor(b))
    assert loss.item() == pytest.approx(sum(terms))
    assert variance_invariance_covariance(torch.zeros(7, 3), torch.zeros(7, 3)).item() == pytest.approx(2 * 25 * 0.99)


# --- networks that answer wrongly ---


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
        return nn.functional.conv2d(x, torch.ones(1, 3, 3, 3)) if self.kind == "channels" else answers[self.kind]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("nan", "Wrong are NaN or infinite for 1 of 3[0-9] examples"),
        ("fewer", "gave a tensor .* for 3[0-9] examples"),
        ("mean", "gave a tensor"),
        ("tuple", "gave a tuple"),
        ("channels", r"cannot read float32 examples \(3[0-9], 1, 8, 8\): RuntimeError"),
    ],
)
def test_a_network_that_answers_wrongly_is_named(kind, says):
    with pytest.raises(UsageError, match=says):
        fit_features(space_data((1, 8, 8), labels=False), Wrong(kind), cache=False)


class Tuned(Extractor):
    """Fine-tunes a network that it was given; its settings do not tell such networks apart."""

    learns = True

    def __init__(self, network):
        self.given = network

    def describe(self, sure=""):
        return "a tuned network"

    def preprocessing(self, space):
        return "raw"

    def network(self, space):
        return nn.Sequential(nn.Flatten(), self.given)

    def fit(self, network, data, index, seed):
        pass


def test_extractors_that_learn_from_other_first_weights_share_neither_identity_nor_cache(tmp_path):
    data = space_data((2,), labels=False)
    networks = [nn.Linear(2, 8), nn.Linear(2, 8)]
    fitted = [fit_features(data, Tuned(network), cache=tmp_path) for network in networks]
    assert fitted[0].identity != fitted[1].identity
    assert fitted[0].weights != fitted[1].weights


@pytest.fixture(scope="module")
def plain_digits():
    return pf.data.load("digits")


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A file of weights, and a small network in the place of Inception v3 that reads it as torch-fidelity does."""
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
    torch.save({"fc.weight": torch.ones(4, 3) * torch.arange(1.0, 5.0)[:, None], "fc.bias": torch.zeros(4)}, file)
    return file


# --- spaces side by side ---


def test_scores_in_a_second_space_stand_beside_the_first_and_equal_those_of_it_alone(plain_digits):
    plain_digits = plain_digits.without_labels()
    sampler = GaussianBaseline.fit(plain_digits)
    judge = Judge(plain_digits, n=60, repeats=1, metrics=["frechet", "precision", "sharpness"], spaces="pca,raw")
    alone = Judge(plain_digits, n=60, repeats=1, metrics=["frechet", "precision"], spaces="raw")
    scores, own = judge.scores(sampler)[0], alone.scores(sampler)[0]
    assert {"frechet", "precision", "frechet (raw)", "precision (raw)"} <= set(scores)
    assert "sharpness (raw)" not in scores
    for name in own:
        assert scores[f"{name} (raw)"].value == own[name].value
        assert judge.floors[f"{name} (raw)"].value == alone.floors[name].value
    assert scores["frechet"].value != scores["frechet (raw)"].value
    comparison = judge.comparison([ModelResult("it", scores=scores)])
    assert comparison.settings.spaces == ("pca", "raw")
    info = comparison.info("frechet (raw)")
    assert (info.label, info.role, info.group) == ("Fréchet distance (raw)", None, "In other features: raw")
    assert Comparison.from_json(comparison.to_json()) == comparison
    assert {"frechet", "frechet (raw)"} <= set(comparison.metrics)


# --- inception ---


def test_inception_obeys_the_laws(weights):
    check_features(Inception(weights))


# --- bad input ---


@pytest.mark.parametrize(
    ("spaces", "says"),
    [
        ("pcs", 'Unknown feature space "pcs"; known: classifier, efficientnet, .*Did you mean "pca"'),
        ("self-supervised:many", "is no number"),
        ("pca,pca", "named twice"),
    ],
)
def test_wrong_names_are_refused(spaces, says):
    with pytest.raises(UsageError, match=says):
        named_extractors(spaces)


def test_a_file_of_weights_is_needed_is_there_and_holds_the_right_ones(weights, tmp_path):
    data = space_data((1, 8, 8), labels=False)
    with pytest.raises(UsageError, match="never downloaded: give its path, `features=inception:FILE`"):
        fit_features(data, "inception", cache=False)
    with pytest.raises(UsageError, match="does not hold the weights"):
        fit_features(data, f"inception:{tmp_path / 'linear.pth'}", cache=False)
    first = fit_features(data, f"inception:{weights}", cache=tmp_path / "cache")
    moved = tmp_path / "moved.pth"
    moved.write_bytes(weights.read_bytes())
    assert fit_features(data, Inception(moved), cache=tmp_path / "cache").key == first.key, "where the file lies does not matter"
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
    with pytest.raises(UsageError, match="does not hold the weights"):
        Inception(tmp_path / "evil.pth").network(space_data((1, 8, 8), labels=False).space)
    assert not (tmp_path / "ran").exists()


# --- plug-ins and the command line ---

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
    file, samples = tmp_path / "quarters.py", tmp_path / "samples.npz"
    file.write_text(PLUGIN)
    np.savez(samples, x=pf.data.load("digits").held_out.x[:40])
    options = ["--n", "20", "--metrics", "frechet", "--json", "--features", "pca,quarters", "--plugin", str(file)]
    main(["evaluate", str(samples), "--data", "digits", *options])
    result = json.loads(capsys.readouterr().out)
    assert set(result["models"][0]["scores"]) == {"frechet", "frechet (quarters)"}
    main(["list", "features", "--plugin", str(file)])
    assert "Means of the four quarters" in capsys.readouterr().out
    assert main(["evaluate", str(samples), "--data", "digits", "--features", "quarter"]) == 2
    assert 'Did you mean "quarters"' in capsys.readouterr().err
