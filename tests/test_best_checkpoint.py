"""Which step of a map's training is best: by samples in 1, 2 and 4 calls together, and its checkpoint."""

import json

import pytest

import pushforward as pf
from pushforward.cli import main
from pushforward.errors import CheckpointError
from pushforward.evaluation.measurements import Health
from pushforward.evaluation.run_results import health_of
from pushforward.testing import recipe_for, space_data
from pushforward.training.api import prepare, reopen
from pushforward.training.checkpoint.best import BETTER, best_of, quality
from pushforward.training.monitor.flow_map_monitor import Jumps

DATA = space_data((2,), labels=False, n=200)


def row(step, *distances):
    names = ("frechet", "frechet_2", "frechet_4")
    return {"step": step, "loss": {}, "health": dict(zip(names, distances, strict=False))}


def test_quality_counts_three_numbers_of_calls_alike():
    assert quality(row(1, 0.1, 0.2, 0.4)["health"]) == pytest.approx(0.2)
    for lost in ({}, None, {"frechet": 0.1}, {"frechet": 0.1, "frechet_2": None, "frechet_4": 0.1}):
        assert quality(lost) is None
    assert quality(row(1, 0.0, 0.1, 0.1)["health"]) > 0


def test_the_best_in_one_call_is_not_the_best_where_two_calls_are_worse():
    history = [row(200, 0.2, 0.2, 0.2), row(250, 0.01), row(400, 0.1, 0.1, 0.08), row(600, 0.08, 0.3, 0.1)]
    best = best_of(history)
    assert (best.step, best.last) == (400, 600)
    assert "step 400 is the best by the geometric mean" in best.sentence
    assert "0.69 times that of step 600" in best.sentence
    assert "the last one, 400, is the best" in best_of(history[:-1]).sentence
    slightly = [*history[:3], row(800, *(0.995 * BETTER**0.3 * x for x in (0.1, 0.1, 0.08)))]
    assert best_of(slightly).step == 400, "a gain of less than a hundredth is worth no checkpoint"
    assert best_of([row(1, 0.1)]) is None


@pytest.fixture
def measured(monkeypatch):
    """Measurements of a map every second step, of which that at step 4 is the best."""
    distances = {2: (0.3, 0.3, 0.3), 4: (0.2, 0.1, 0.1), 6: (0.1, 0.3, 0.1), 8: (0.1, 0.29, 0.1), 10: (0.2, 0.2, 0.2)}

    def look(self, moment):
        return row(0, *distances[moment.step])["health"] if moment.step in distances else {}

    monkeypatch.setattr(Jumps, "due", lambda self, moment: moment.step % 2 == 0)
    monkeypatch.setattr(Jumps, "look", look)
    monkeypatch.setattr(Jumps, "decides", True)


def test_the_best_checkpoint_stays_and_is_read(measured, tmp_path, capsys):
    plain = prepare(recipe_for("meanflow", DATA), DATA, steps=10, out=tmp_path / "plain")
    while plain.clock.step < 4:
        plain.advance(1e-9)
    plain.finish()
    trainer = prepare(recipe_for("meanflow", DATA), DATA, steps=10, out=tmp_path / "run", checkpoint_every=3)
    trainer.advance()
    names = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("step_*"))
    assert names == ["step_000004", "step_000009", "step_000010"]
    best, newest = pf.load(tmp_path / "run", checkpoint="best"), pf.load(tmp_path / "run")
    assert (best.state["step"], newest.state["step"]) == (4, 10)
    raw = pf.load(tmp_path / "run", checkpoint="best", raw=True), pf.load(plain.folder, raw=True)
    assert (raw[0].sample(4) == raw[1].sample(4)).all(), "weights are those of step 4"
    words = ["sample", str(tmp_path / "run"), "--n", "2", "--checkpoint", "best", "--out", str(tmp_path / "x.csv"), "--json"]
    assert main(words) == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows] == list(range(1, 11))
    health, _ = health_of(newest)
    assert "step 4 is the best by the geometric mean" in health.best
    assert Health.from_plain(health.to_plain()) == health
    flow = pf.fit(recipe_for("flow", DATA), DATA, steps=1, out=tmp_path / "flow")
    with pytest.raises(CheckpointError, match="no map between two times, or was trained too briefly"):
        pf.load(flow.folder, checkpoint="best")


def test_a_killed_training_chooses_the_same_step(measured, tmp_path):
    trainer = prepare(recipe_for("meanflow", DATA), DATA, steps=10, out=tmp_path / "run", checkpoint_every=1)
    while trainer.clock.step < 5:
        trainer.advance(1e-9)
    del trainer  # a kill
    reopen(tmp_path / "run", data=DATA).advance()
    assert pf.load(tmp_path / "run", checkpoint="best").state["step"] == 4
