"""Which step of a map's training is best, what the end of a training says, and the demo."""

from __future__ import annotations

import json
import shlex
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


def health(*distances):
    """Distances in one, two and four calls; fewer were not measured."""
    names = ("frechet", "frechet_2", "frechet_4")
    return dict(zip(names, distances, strict=False))


def row(step, *distances):
    return {"step": step, "loss": {}, "health": health(*distances)}


def test_quality_counts_three_numbers_of_calls_alike():
    assert quality(health(0.1, 0.2, 0.4)) == pytest.approx(0.2)
    assert quality(health(0.0, 0.1, 0.1)) > 0
    for lost in ({}, None, health(0.1), health(0.1, None, 0.1)):
        assert quality(lost) is None


HISTORY = [row(200, 0.2, 0.2, 0.2), row(250, 0.01), row(400, 0.1, 0.1, 0.08)]


def test_the_best_in_one_call_is_not_the_best_where_two_calls_are_worse():
    best = best_of([*HISTORY, row(600, 0.08, 0.3, 0.1)])
    assert best.step == 400
    assert best.last == 600
    assert "step 400 is the best by the geometric mean" in best.sentence
    assert "0.69 times that of step 600" in best.sentence


def test_a_gain_of_less_than_a_hundredth_is_worth_no_checkpoint():
    assert "no step is more than 1 % better than step 400" in best_of(HISTORY).sentence
    factor = 0.995 * BETTER**0.3
    slightly_better = row(800, factor * 0.1, factor * 0.1, factor * 0.08)
    assert best_of([*HISTORY, slightly_better]).step == 400


def test_without_a_whole_measurement_no_step_is_the_best():
    assert best_of([row(1, 0.1)]) is None


@pytest.fixture
def measured(monkeypatch):
    """Measurements of a map every second step, of which that at step 4 is the best."""
    healths = {
        2: health(0.3, 0.3, 0.3),
        4: health(0.2, 0.1, 0.1),
        6: health(0.1, 0.3, 0.1),
        8: health(0.1, 0.29, 0.1),
        10: health(0.2, 0.2, 0.2),
    }

    def observe(self, moment):
        return healths.get(moment.step, {})

    monkeypatch.setattr(FixedNoise, "due", lambda self, moment: moment.step % 2 == 0)
    monkeypatch.setattr(FixedNoise, "observe", observe)
    monkeypatch.setattr(FixedNoise, "decides", True)


def prepare_map(out, **options):
    recipe = recipe_for("meanflow", DATA)
    return prepare(recipe, DATA, steps=10, out=out, **options)


def advance_to(trainer, step):
    while trainer.clock.step < step:
        trainer.advance(1e-9)


def test_the_best_checkpoint_stays_and_is_read(measured, tmp_path, capsys):
    plain = prepare_map(tmp_path / "plain")
    advance_to(plain, 4)
    plain.finish()
    folder = tmp_path / "run"
    prepare_map(folder, checkpoint_every=3).advance()
    names = sorted(path.name for path in (folder / "checkpoints").glob("step_*"))
    assert names == ["step_000004", "step_000009", "step_000010"]
    assert pf.load(folder, checkpoint="best").state["step"] == 4
    newest = pf.load(folder)
    assert newest.state["step"] == 10
    best = pf.load(folder, checkpoint="best", raw=True)
    at_step_4 = pf.load(plain.folder, raw=True)
    assert (best.sample(4) == at_step_4.sample(4)).all(), "weights are those of step 4"
    csv = tmp_path / "x.csv"
    assert main(shlex.split(f"sample {folder}@best --n 2 --out {csv} --json")) == 0
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(1, 11))
    measurements, _ = health_of(newest)
    assert "step 4 is the best by the geometric mean" in measurements.best
    assert Health.from_plain(measurements.to_plain()) == measurements


def test_only_maps_have_a_best_checkpoint(tmp_path):
    flow = pf.fit(recipe_for("flow", DATA), DATA, steps=1, out=tmp_path / "flow")
    with pytest.raises(CheckpointError, match="not a map between two times"):
        pf.load(flow.folder, checkpoint="best")


def test_a_killed_training_chooses_the_same_step(measured, tmp_path):
    folder = tmp_path / "run"
    trainer = prepare_map(folder, checkpoint_every=1)
    advance_to(trainer, 5)
    del trainer  # a kill
    reopen(folder, data=DATA).advance()
    step = pf.load(folder, checkpoint="best").state["step"]
    assert step == 4


def vae_run(step, samples=10_000, budget=None):
    health = {"active_units": 2.0, "units": 2.0, "beta": 1.0}
    rows = [{"step": step, "health": health}, {"step": step}]
    seconds = {"steps": None, "samples": None, "seconds": 15.0}
    return SimpleNamespace(
        folder="runs/v",
        losses=lambda: rows,
        state={"step": step, "samples": samples},
        spec={"budget": budget or seconds},
        space=SimpleNamespace(conditions={"label": None}, shape=(1, 8, 8)),
    )


def test_a_short_training_says_how_to_go_on():
    steps = {"steps": 26, "samples": None, "seconds": None}
    note = closing_notes(vae_run(26, budget=steps), 100)[0]
    assert note.endswith("pushforward resume runs/v --steps 2000")
    (note,) = closing_notes(vae_run(900, samples=4_900), 1000)
    assert "900 steps, 4.9 passes" in note
    assert note.endswith("pushforward resume runs/v --budget 60s")
    note = closing_notes(vae_run(282, samples=11_000), 100)[0]
    assert "282 steps, 110 passes" in note
    assert closing_notes(vae_run(600), 1000) == []


def shares(coverage, recall, **limits):
    """Coverage and recall as shares of those of the start."""
    return {"coverage_ratio": coverage, "recall_ratio": recall, **limits}


def finish_run(coverage, recall, **state):
    """A finish of 600 steps whose guard has measured these shares of the start's at its end, and
    all of them at step 7.
    """
    early = shares(1.0, 1.0, coverage_limit=0.97)
    late = shares(0.5, 0.5, coverage_limit=0.4, recall_limit=0.4)
    last = shares(coverage, recall, coverage_limit=0.97, recall_limit=0.95)
    rows = [{"step": 7, "health": early}, {"step": 599, "health": late}]
    rows.append({"step": 600, "health": last})
    if state:
        sentence = "recall has fallen; training ends with the weights of step 7"
        rows[-1]["alarm"] = [{"kind": "variety", "over": False, "sentence": sentence}]
    return SimpleNamespace(
        folder="runs/f",
        method=None,
        losses=lambda: rows,
        state={"step": 600, "samples": 10_000, **state},
        spec={"budget": {"steps": 600}, "asked": {"frozen": ["teacher=runs/m"]}},
        space=SimpleNamespace(conditions={}, shape=(2,), names=()),
    )


def test_a_finish_says_what_it_lost():
    assert closing_notes(finish_run(0.98, 0.999), 1000) == []
    (taken,) = closing_notes(finish_run(0.98, 0.8, weights_step=7), 1000)
    assert "the weights of step 7" in taken


DEMO = shlex.split("demo --data digits --size tiny --budget 1.5s --story 0.1s")


@pytest.fixture
def small_demo(monkeypatch, tmp_path, pictured):
    """A demo of few models and few samples: what is trained and measured is tested elsewhere."""
    monkeypatch.setattr(demonstration, "FAMILIES", ("vae",))
    monkeypatch.setattr(demonstration, "DEMO_MODELS", {"flow": DEMO_MODELS["flow"]})
    compare = comparison.compare

    def quick_compare(*models, **options):
        few = {"n": 20, "repeats": 1, "curve": False}
        return compare(*models, **{**options, **few})

    monkeypatch.setattr(comparison, "compare", quick_compare)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "runs" / "compare-digits-report"


def interrupt_demo(monkeypatch):
    """Run the demo up to an interruption of the training on digits."""
    train_all = demonstration.train_all

    def interrupted(trainers, *rest):
        first = trainers[0]
        if first.data.name == "digits":
            first.stop = first.advance(0.05) or True
            first.finish()
            raise SystemExit(130)
        return train_all(trainers, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(demonstration, "train_all", interrupted)
        assert main(DEMO) == 130


def test_an_interrupted_demo_goes_on_shows_pictures_and_writes_one_report(
    small_demo, monkeypatch, capsys
):
    folder = small_demo
    interrupt_demo(monkeypatch)
    vae = pf.load(folder / "vae").losses()
    flow = pf.load(folder / "two-dimensions/flow").losses()
    assert vae, "trained before the interruption"
    assert flow, "trained before the interruption"
    assert main(DEMO) == 0, "the same command goes on"
    assert list(folder.parent.iterdir()) == [folder]
    finished = pf.load(folder / "two-dimensions/flow").losses()
    assert finished == flow, "finished models are not trained again"
    resumed = pf.load(folder / "vae")
    rows = resumed.losses()
    assert len(rows) > len(vae)
    assert rows[: len(vae)] == vae, "steps before are not repeated: seconds are in the log"
    assert resumed.state["seconds"] >= 0.9 * 1.5
    page = folder / "report.html"
    text = page.read_text()
    assert text.index('href="live.html"') < text.index('id="answers"') < text.index('id="story"')
    live = folder / "live.html"
    page.unlink()
    live.unlink()
    capsys.readouterr()
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(DEMO) == 0, "without the extra it ends without the page"
    assert "pip install 'pushforward[onnx]'" in capsys.readouterr().err
    assert "live.html" not in page.read_text()
    assert not live.exists()


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
