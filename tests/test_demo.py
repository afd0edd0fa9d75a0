"""The demo: its models in two dimensions, its small pictures, and which data it takes."""

import json

import pytest

import pushforward as pf
from pushforward.cli import demo as demonstration
from pushforward.cli import main
from pushforward.cli.demo import demo_folder
from pushforward.data.core import load as sources
from pushforward.errors import CheckpointError
from pushforward.evaluation import comparison
from pushforward.evaluation.comparison import CAST, story_trainers


def test_the_story_trains_each_family_and_the_original_game(tmp_path):
    trainers = story_trainers(tmp_path, 1.0, seed=3)
    try:
        methods = {name: trainer.method for name, trainer in zip(CAST, trainers, strict=True)}
        assert [type(method).__name__ for method in methods.values()] == ["GAN", "GAN", "VAE", "Denoising", "Denoising"]
        assert (methods["original GAN"].loss, methods["original GAN"].penalties.kind) == ("non_saturating", "none")
        assert json.loads((trainers[1].folder / "spec.json").read_text())["training"]["lr"] == 0.02
    finally:
        for trainer in trainers:
            trainer.close()


@pytest.mark.parametrize("installed", [True, False])
def test_the_demo_takes_mnist_where_it_is_installed(monkeypatch, capsys, installed):
    monkeypatch.setattr(sources, "installed", lambda name: installed)
    assert demonstration._demo_data() == ("mnist-5k" if installed else "digits")
    assert ("pip install 'pushforward[demo]'" in capsys.readouterr().err) == (not installed)


def test_an_interrupted_demo_goes_on_shows_pictures_and_writes_one_report(tmp_path, monkeypatch, capsys, pictured):
    """The whole verb on few models and few samples: what is trained and measured is tested elsewhere."""
    monkeypatch.setattr(demonstration, "FAMILIES", ("vae",))
    monkeypatch.setattr("pushforward.evaluation.comparison.CAST", {"flow": CAST["flow"]})
    compare = comparison.compare
    few = {"n": 20, "repeats": 1, "curve": False}
    monkeypatch.setattr(comparison, "compare", lambda *models, **options: compare(*models, **{**options, **few}))
    monkeypatch.chdir(tmp_path)
    words = ["demo", "--data", "digits", "--size", "tiny", "--budget", "1.5s", "--story", "0.1s"]
    train_all = demonstration.train_all

    def interrupted(trainers, *rest):
        """A signal after the first steps of the images."""
        if trainers[0].data.name == "digits":
            trainers[0].stop = trainers[0].advance(0.05) or True
            trainers[0].finish()
            raise SystemExit(130)
        return train_all(trainers, *rest)

    monkeypatch.setattr(demonstration, "train_all", interrupted)
    assert main(words) == 130
    folder = tmp_path / "runs" / "compare-digits-report"
    first = {name: pf.load(folder / name).losses() for name in ("vae", "two-dimensions/flow")}
    assert all(first.values()), "both have been trained before the interruption"
    assert not (folder / "report.html").exists()
    assert f"pushforward {' '.join(words)}" in capsys.readouterr().err
    monkeypatch.setattr(demonstration, "train_all", train_all)
    assert main(words) == 0, "the same command goes on"
    assert "it goes on" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [folder.name]
    again = {name: pf.load(folder / name).losses() for name in first}
    assert again["two-dimensions/flow"] == first["two-dimensions/flow"], "finished models are not trained again"
    assert again["vae"][: len(first["vae"])] == first["vae"], (
        "steps before the interruption are not repeated: seconds are in the log"
    )
    assert len(again["vae"]) > len(first["vae"])
    assert pf.load(folder / "vae").state["seconds"] >= 0.9 * 1.5
    page = (folder / "report.html").read_text()
    assert 'id="story"' in page
    assert page.index('id="story"') < page.index('id="verdict"')
    assert (folder / "two-dimensions" / "report.json").exists()
    assert pf.load(folder / "two-dimensions" / "flow").state["step"] > 0


def test_a_demo_that_still_runs_is_not_taken_for_an_interrupted_one(tmp_path):
    folder = tmp_path / "demo"
    with demo_folder(str(folder), "digits", {"seed": 0}) as first:
        (first / "vae" / "checkpoints" / "step_000001").mkdir(parents=True)
        held = pytest.raises(CheckpointError, match="is being trained at this moment")
        with held, demo_folder(str(folder), "digits", {"seed": 0}):
            pass
    with demo_folder(str(folder), "digits", {"seed": 0}) as again:
        assert again == first
