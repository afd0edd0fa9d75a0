"""Which step of a map's training is best, what the end of a training says, and the demo."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from types import SimpleNamespace

import pytest

import pushforward as pf
from pushforward.cli import demo as demonstration, main
from pushforward.cli.demo import DEMO_MODELS, demo_folder
from pushforward.cli.training import closing_notes
from pushforward.errors import CheckpointError, UsageError
from pushforward.evaluation import comparison
from pushforward.evaluation.measurements import Health
from pushforward.evaluation.models import health_of
from pushforward.testing import recipe_for, space_data
from pushforward.training.api import prepare, reopen
from pushforward.training.monitor.health import FixedNoise
from pushforward.training.runs.log import BETTER, best_of, quality

DATA = space_data((2,), labels=False, n=200)


def row(step, *distances):
    names = ("frechet", "frechet_2", "frechet_4")
    return {"step": step, "loss": {}, "health": dict(zip(names, distances, strict=False))}


def test_quality_counts_three_numbers_of_calls_alike():
    actual = quality(row(1, 0.1, 0.2, 0.4)["health"])
    assert actual == pytest.approx(0.2)
    for lost in ({}, None, {"frechet": 0.1}, {"frechet": 0.1, "frechet_2": None, "frechet_4": 0.1}):
        assert quality(lost) is None
    actual = quality(row(1, 0.0, 0.1, 0.1)["health"])
    assert actual > 0


def test_the_best_in_one_call_is_not_the_best_where_two_calls_are_worse():
    history = [
        row(200, 0.2, 0.2, 0.2),
        row(250, 0.01),
        row(400, 0.1, 0.1, 0.08),
        row(600, 0.08, 0.3, 0.1),
    ]
    best = best_of(history)
    assert (best.step, best.last) == (400, 600)
    assert "step 400 is the best by the geometric mean" in best.sentence
    assert "0.69 times that of step 600" in best.sentence
    assert "no step is more than 1 % better than step 400" in best_of(history[:-1]).sentence
    slightly = [*history[:3], row(800, *(0.995 * BETTER**0.3 * x for x in (0.1, 0.1, 0.08)))]
    assert best_of(slightly).step == 400, "a gain of less than a hundredth is worth no checkpoint"
    assert best_of([row(1, 0.1)]) is None


@pytest.fixture
def measured(monkeypatch):
    """Measurements of a map every second step, of which that at step 4 is the best."""
    distances = {
        2: (0.3, 0.3, 0.3),
        4: (0.2, 0.1, 0.1),
        6: (0.1, 0.3, 0.1),
        8: (0.1, 0.29, 0.1),
        10: (0.2, 0.2, 0.2),
    }

    def look(self, moment):
        if moment.step in distances:
            return row(0, *distances[moment.step])["health"]
        return {}

    monkeypatch.setattr(FixedNoise, "due", lambda self, moment: moment.step % 2 == 0)
    monkeypatch.setattr(FixedNoise, "look", look)
    monkeypatch.setattr(FixedNoise, "decides", True)


def test_the_best_checkpoint_stays_and_is_read(measured, tmp_path, capsys):
    plain = prepare(recipe_for("meanflow", DATA), DATA, steps=10, out=tmp_path / "plain")
    while plain.clock.step < 4:
        plain.advance(1e-9)
    plain.finish()
    trainer = prepare(
        recipe_for("meanflow", DATA), DATA, steps=10, out=tmp_path / "run", checkpoint_every=3
    )
    trainer.advance()
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("step_*"))
    assert names == ["step_000004", "step_000009", "step_000010"]
    best = pf.load(tmp_path / "run", checkpoint="best")
    newest = pf.load(tmp_path / "run")
    assert (best.state["step"], newest.state["step"]) == (4, 10)
    raw = pf.load(tmp_path / "run", checkpoint="best", raw=True), pf.load(plain.folder, raw=True)
    assert (raw[0].sample(4) == raw[1].sample(4)).all(), "weights are those of step 4"
    words = [
        "sample",
        f"{tmp_path / 'run'}@best",
        "--n",
        "2",
        "--out",
        str(tmp_path / "x.csv"),
        "--json",
    ]
    assert main(words) == 0
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    ]
    assert [r["step"] for r in rows] == list(range(1, 11))
    health, _ = health_of(newest)
    assert "step 4 is the best by the geometric mean" in health.best
    assert Health.from_plain(health.to_plain()) == health
    flow = pf.fit(recipe_for("flow", DATA), DATA, steps=1, out=tmp_path / "flow")
    with pytest.raises(CheckpointError, match="not a map between two times"):
        pf.load(flow.folder, checkpoint="best")


def test_a_killed_training_chooses_the_same_step(measured, tmp_path):
    trainer = prepare(
        recipe_for("meanflow", DATA), DATA, steps=10, out=tmp_path / "run", checkpoint_every=1
    )
    while trainer.clock.step < 5:
        trainer.advance(1e-9)
    del trainer  # a kill
    reopen(tmp_path / "run", data=DATA).advance()
    step = pf.load(tmp_path / "run", checkpoint="best").state["step"]
    assert step == 4


def vae_run(step, active, samples=None, budget=None):
    rows = [
        {"step": step, "health": {"active_units": active, "units": 2.0, "beta": 1.0}},
        {"step": step},
    ]
    space = SimpleNamespace(conditions={"label": None}, shape=(1, 8, 8))
    return SimpleNamespace(
        folder="runs/v",
        losses=lambda: rows,
        state={"step": step, "samples": 10_000 if samples is None else samples},
        spec={"budget": budget or {"steps": None, "samples": None, "seconds": 15.0}},
        space=space,
    )


def test_a_short_training_says_how_to_go_on():
    steps = {"steps": 26, "samples": None, "seconds": None}
    assert closing_notes(vae_run(26, 2.0, budget=steps), 100)[0].endswith(
        "pushforward resume runs/v --steps 2000"
    )
    (note,) = closing_notes(vae_run(900, 2.0, samples=4_900), 1000)
    assert "900 steps, 4.9 passes" in note
    assert note.endswith("pushforward resume runs/v --budget 60s")
    assert "282 steps, 110 passes" in closing_notes(vae_run(282, 2.0, samples=11_000), 100)[0]
    assert closing_notes(vae_run(600, 2.0), 1000) == []


def finish_run(coverage, recall, earlier=(1.0, 1.0), **state):
    """A finish of 600 steps whose guard has measured these shares of the start's at its end, and
    ``earlier`` at step 7.
    """
    health = {
        "coverage_ratio": coverage,
        "coverage_limit": 0.97,
        "recall_ratio": recall,
        "recall_limit": 0.95,
    }
    alarm = {
        "kind": "variety",
        "over": False,
        "sentence": "recall has fallen; training ends with the weights of step 7",
    }
    space = SimpleNamespace(conditions={}, shape=(2,), names=())
    return SimpleNamespace(
        folder="runs/f",
        method=None,
        losses=lambda: [
            {
                "step": 7,
                "health": {
                    "coverage_ratio": earlier[0],
                    "coverage_limit": 0.97,
                    "recall_ratio": earlier[1],
                },
            },
            {
                "step": 599,
                "health": {
                    "coverage_ratio": 0.5,
                    "coverage_limit": 0.4,
                    "recall_ratio": 0.5,
                    "recall_limit": 0.4,
                },
            },
            {"step": 600, "health": health} | ({"alarm": [alarm]} if state else {}),
        ],
        state={"step": 600, "samples": 10_000, **state},
        spec={"budget": {"steps": 600}, "asked": {"frozen": ["teacher=runs/m"]}},
        space=space,
    )


def test_a_finish_says_what_it_lost():
    assert closing_notes(finish_run(0.98, 0.999), 1000) == []
    (taken,) = closing_notes(finish_run(0.98, 0.8, weights_step=7), 1000)
    assert "the weights of step 7" in taken


def test_an_interrupted_demo_goes_on_shows_pictures_and_writes_one_report(
    tmp_path, monkeypatch, capsys, pictured
):
    """The whole verb on few models and few samples: what is trained and measured is tested
    elsewhere.
    """
    monkeypatch.setattr(demonstration, "FAMILIES", ("vae",))
    monkeypatch.setattr("pushforward.cli.demo.DEMO_MODELS", {"flow": DEMO_MODELS["flow"]})
    compare = comparison.compare
    few = {"n": 20, "repeats": 1, "curve": False}
    monkeypatch.setattr(
        comparison, "compare", lambda *models, **options: compare(*models, **{**options, **few})
    )
    monkeypatch.chdir(tmp_path)
    words = ["demo", "--data", "digits", "--size", "tiny", "--budget", "1.5s", "--story", "0.1s"]
    train_all = demonstration.train_all

    def interrupted(trainers, *rest):
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
    monkeypatch.setattr(demonstration, "train_all", train_all)
    assert main(words) == 0, "the same command goes on"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [folder.name]
    again = {name: pf.load(folder / name).losses() for name in first}
    assert again["two-dimensions/flow"] == first["two-dimensions/flow"], (
        "finished models are not trained again"
    )
    vae = again["vae"][: len(first["vae"])]
    assert vae == first["vae"], "steps before are not repeated: seconds are in the log"
    assert len(again["vae"]) > len(first["vae"])
    seconds = pf.load(folder / "vae").state["seconds"]
    assert seconds >= 0.9 * 1.5
    page = (folder / "report.html").read_text()
    assert page.index('href="live.html"') < page.index('id="answers"') < page.index('id="story"')
    (folder / "report.html").unlink()
    (folder / "live.html").unlink()
    capsys.readouterr()
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(words) == 0, "without the extra it ends without the page"
    assert "pip install 'pushforward[onnx]'" in capsys.readouterr().err
    assert "live.html" not in (folder / "report.html").read_text()
    assert not (folder / "live.html").exists()


def test_a_demo_that_still_runs_is_not_taken_for_an_interrupted_one(tmp_path):
    folder = str(tmp_path / "demo")
    with closing(demo_folder(folder, "digits", {"seed": 0})) as first:
        with pytest.raises(CheckpointError, match="is being trained"):
            demo_folder(folder, "digits", {"seed": 0})
        (first.folder / "vae").mkdir()
    with closing(demo_folder(folder, "digits", {"seed": 0})) as again:
        assert again.folder == first.folder
    with pytest.raises(UsageError, match="already exists"):
        demo_folder(folder, "digits", {"seed": 1})
