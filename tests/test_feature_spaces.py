"""Feature spaces side by side, networks with weights of files, bad input, plug-ins and the command line."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import UsageError
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.evaluator import Judge
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.results import Comparison, ModelResult
from pushforward.extractors import named_extractors
from pushforward.extractors.inception import Inception
from pushforward.testing import check_features, space_data


@pytest.fixture(scope="module")
def digits():
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


def test_scores_in_a_second_space_stand_beside_the_first_and_equal_those_of_it_alone(digits):
    digits = digits.without_labels()
    sampler = GaussianBaseline.fit(digits)
    judge = Judge(digits, n=60, repeats=1, metrics=["frechet", "precision", "sharpness"], spaces="pca,raw")
    alone = Judge(digits, n=60, repeats=1, metrics=["frechet", "precision"], spaces="raw")
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
