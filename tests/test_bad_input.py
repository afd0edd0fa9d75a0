"""Input that cannot be scored is refused by evaluate and compare: what happened, what was expected, what to do."""

import numpy as np
import pytest
import torch
from PIL import Image

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import DataError, Diverged, UsageError
from pushforward.evaluation.baselines import GaussianBaseline


def folder_of(path, count, size=(8, 8), mode="L", last=None):
    path.mkdir()
    random = np.random.default_rng(0)
    for number in range(count):
        wide = size if last is None or number < count - 1 else last
        shape = (*wide, 3) if mode == "RGB" else wide
        Image.fromarray(random.integers(0, 255, shape, dtype=np.uint8), mode).save(path / f"{number}.png")
    return path


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("empty", {"count": 0}, "There are no images in"),
        ("single", {"count": 1}, "too few samples, 1: scores need at least 2"),
        ("larger", {"count": 4, "size": (9, 9)}, "samples of shape (1, 9, 9), and digits has examples of shape (1, 8, 8)"),
        ("coloured", {"count": 4, "mode": "RGB"}, "samples of shape (3, 8, 8), and digits has examples of shape (1, 8, 8)"),
        ("unequal", {"count": 4, "last": (9, 9)}, "size"),
    ],
)
def test_folders_that_cannot_be_scored(name, options, words, tmp_path, capsys):
    folder = folder_of(tmp_path / name, **options)
    assert main(["evaluate", str(folder), "--data", "digits"]) == 3
    err = capsys.readouterr().err
    assert words in err
    assert "Traceback" not in err


def test_files_that_cannot_be_scored(tmp_path, capsys):
    spoiled = np.zeros((5, 8, 8, 1), np.float32)
    spoiled[2, 0, 0] = np.nan
    for name, x, code, words in (
        ("nan", spoiled, 3, "NaN"),
        ("none", np.zeros((0, 8, 8, 1), np.uint8), 3, "(0, 8, 8, 1)"),
        ("far", np.full((5, 8, 8, 1), 7.5, np.float32), 3, "0 to 1"),
    ):
        np.save(tmp_path / f"{name}.npy", x)
        assert main(["evaluate", str(tmp_path / f"{name}.npy"), "--data", "digits"]) == code, name
        err = capsys.readouterr().err
        assert words in err
        assert "Traceback" not in err


@pytest.mark.parametrize("n", ["1", "0", "-3", "100000"])
def test_n_that_cannot_be_compared(n, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.zeros((5, 8, 8, 1), np.uint8))
    assert main(["evaluate", "x.npy", "--data", "digits", "--n", n]) == 2
    err = capsys.readouterr().err
    assert "--n" in err
    assert n in err
    assert main(["compare", "flow", "--data", "digits", "--n", n, "--steps", "1"]) == 2
    err = capsys.readouterr().err
    assert "--n" in err
    assert n in err
    assert not (tmp_path / "runs").exists(), "nothing was trained"


def test_a_data_set_of_a_few_images_cannot_be_compared_with(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "few", 3)
    assert main(["compare", "flow", "--data", "few", "--steps", "1"]) == 3
    assert "few" in capsys.readouterr().err
    folder_of(tmp_path / "none", 0)
    assert main(["compare", "flow", "--data", "none", "--steps", "1"]) == 3
    assert "none" in capsys.readouterr().err


class Broken:
    """A transport whose samples are not finite, or of another shape."""

    def __init__(self, inner, spoil):
        self.inner, self.spoil = inner, spoil

    def stream(self, n, **options):
        for x, condition in self.inner.stream(n, **options):
            yield self.spoil(x.clone()), condition


def test_samples_of_a_model_that_are_not_finite_are_counted(tmp_path, monkeypatch):
    from pushforward.evaluation import Judge

    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    data = pf.data.from_arrays(np.random.default_rng(0).normal(size=(400, 2)).astype(np.float32), name="cloud")
    judge = Judge(data, 10, 1, ["frechet"])

    def spoil(x):
        x[3] = torch.inf
        return x

    with pytest.raises(Diverged, match="1 of 10 generated examples hold NaN"):
        judge.scores(Broken(GaussianBaseline.fit(data), spoil))
    with pytest.raises(DataError, match=r"shape \(2,\), got \(10, 1\)"):
        judge.scores(Broken(GaussianBaseline.fit(data), lambda x: x[:, :1]))
    with pytest.raises(UsageError, match="`repeats` must be at least 1, got 0"):
        Judge(data, 10, 0)
