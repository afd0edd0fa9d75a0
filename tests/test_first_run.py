"""What a new user reads: nothing is used silently, nothing is claimed that was not measured, and messages say what helps."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from pushforward.cli.training import _next, closing_notes
from pushforward.data import check, from_arrays, load
from pushforward.errors import DataError, UsageError


def vae_run(step, active, samples=None, budget=None):
    rows = [{"step": step, "health": {"active_units": active, "units": 2.0, "beta": 1.0}}, {"step": step}]
    return SimpleNamespace(
        folder="runs/v",
        losses=lambda: rows,
        state={"step": step, "samples": 10_000 if samples is None else samples},
        spec={"budget": budget or {"steps": None, "samples": None, "seconds": 15.0}},
        space=SimpleNamespace(conditions={"label": None}, shape=(1, 8, 8)),
    )


def test_a_short_training_says_how_to_go_on():
    steps = {"steps": 26, "samples": None, "seconds": None}
    assert closing_notes(vae_run(26, 2.0, budget=steps), 100)[0].endswith("pushforward resume runs/v --steps 2000")
    (note,) = closing_notes(vae_run(900, 2.0, samples=4_900), 1000)
    assert "900 steps, 4.9 passes" in note
    assert note.endswith("pushforward resume runs/v --budget 60s")
    assert "282 steps, 110 passes" in closing_notes(vae_run(282, 2.0, samples=11_000), 100)[0]
    assert closing_notes(vae_run(600, 2.0), 1000) == []


def finish_run(coverage, recall, earlier=(1.0, 1.0), **state):
    """A finish of 600 steps whose guard has measured these shares of the start's at its end, and ``earlier`` at step 7."""
    health = {"coverage_ratio": coverage, "coverage_limit": 0.97, "recall_ratio": recall, "recall_limit": 0.95}
    alarm = {"kind": "variety", "over": False, "sentence": "recall has fallen; training ends with the weights of step 7"}
    return SimpleNamespace(
        folder="runs/f",
        method=None,
        losses=lambda: [
            {"step": 7, "health": {"coverage_ratio": earlier[0], "coverage_limit": 0.97, "recall_ratio": earlier[1]}},
            {"step": 599, "health": {"coverage_ratio": 0.5, "coverage_limit": 0.4, "recall_ratio": 0.5, "recall_limit": 0.4}},
            {"step": 600, "health": health} | ({"alarm": [alarm]} if state else {}),
        ],
        state={"step": 600, "samples": 10_000, **state},
        spec={"budget": {"steps": 600}, "asked": {"frozen": ["teacher=runs/m"]}},
        space=SimpleNamespace(conditions={}, shape=(2,), names=()),
    )


def test_a_finish_says_what_it_lost_and_what_to_use_instead(monkeypatch):
    monkeypatch.setattr("pushforward.samples.usual_ending", lambda space: ".csv")
    assert closing_notes(finish_run(0.98, 0.999), 1000) == []
    assert _next(finish_run(0.98, 0.999)) == "sample runs/f --n 64 --out samples.csv"
    (taken,) = closing_notes(finish_run(0.98, 0.8, weights_step=7), 1000)
    assert "the weights of step 7" in taken
    (note,) = closing_notes(finish_run(0.98, 0.8, weights_step=0), 1000)
    assert "Use runs/m instead" in note  # why, the alarm has said
    assert _next(finish_run(0.98, 0.8, weights_step=0)) == "sample runs/m --n 64 --out samples.csv"


def test_arrays_that_are_not_used_are_named(tmp_path):
    file = tmp_path / "a.npz"
    np.savez(file, x=np.random.default_rng(0).normal(size=(90, 2)), labels=np.arange(90) % 3)
    ((name, reason),) = load(file).skipped
    assert name == "a.npz: labels"
    assert "label (or y)" in reason
    numbers = np.random.default_rng(0).normal(size=(90, 2))
    np.savez(file, x=numbers, label=np.arange(90) % 3, y=np.zeros(90, int))
    assert [name for name, _ in load(file).skipped] == ["a.npz: y"]
    np.savez(file, images=np.ones((9, 2)), digits=np.zeros(9))
    with pytest.raises(DataError, match=r"images, digits\. Rename .* np.savez\(file, x=images, label=\.\.\.\)"):
        load(file)


def test_a_column_of_text_is_named_with_what_helps(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("a,kind,note\n" + "".join(f"{i},{'uv'[i % 2]},word {i}\n" for i in range(40)))
    with pytest.raises(DataError, match=r'column "kind": .*make it the label: `target="kind"`'):
        load(file, table=False)
    with pytest.raises(DataError, match=r'column "note": .* and 35 more: .* drop the column\.$'):
        load(file, target="kind", table=False)


def test_classes_are_counted_on_both_sides_and_small_ones_named(tmp_path):
    rng, label = np.random.default_rng(0), np.repeat([0, 1], [100, 3])
    file = tmp_path / "a.npz"
    np.savez(file, x=rng.normal(size=(103, 2)), label=label, x_test=rng.normal(size=(12, 2)), label_test=np.zeros(12, dtype=int))
    report = check(file)
    assert (report["classes"], report["held_out_classes"]) == ({"0": 100, "1": 3}, {"0": 12, "1": 0})
    assert any("fewer than 20 training examples of 1 (3)" in warning for warning in report["warnings"])
    assert any("no held-out examples of 1" in warning for warning in report["warnings"])


def test_one_label_at_a_time_and_no_picture_of_three_columns(tmp_path):
    from pushforward.cli.sampling import condition_of
    from pushforward.samples import check_target

    data = from_arrays(np.random.default_rng(0).normal(size=(99, 3)), np.arange(99) % 3)
    with pytest.raises(UsageError, match='takes one class at a time, got "0,1"'):
        condition_of(SimpleNamespace(space=data.space), "0,1")
    with pytest.raises(UsageError, match="data of 2 columns can be drawn"):
        check_target(tmp_path / "a.png", data.space, 4)


def test_unfinished_runs_say_how_far_they_are(tmp_path):
    from pushforward.training.checkpoint.contents import unfinished

    for state, budget, words in (
        ({"step": 26, "total": 200, "seconds": 1.0}, {}, "26 of 200 steps"),
        ({"step": 200, "total": 200, "seconds": 1.0}, {}, None),
        ({"step": 26, "total": None, "seconds": 3.0}, {"seconds": 60.0}, "3 of 60 s"),
        ({"step": 26}, {}, None),
    ):
        (tmp_path / "state.json").write_text(json.dumps(state))
        assert unfinished(tmp_path, budget) == words


def test_a_signal_after_the_last_step_changes_nothing(monkeypatch):
    import os
    import signal

    import pushforward.training.api  # noqa: F401 - imported only under the patch below, it would keep it
    from pushforward.cli import training as loop
    from pushforward.training.loop import trainer as ending

    class Done:
        folder, content, done, stop = "runs/a", {}, True, False
        clock, progress = SimpleNamespace(step=9), SimpleNamespace(close=lambda: None)

        def advance(self):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(ending, "finished", lambda trainer: "run")
    assert loop.train_all([Done()]) == ["run"]
    Done.done = False
    with pytest.raises(SystemExit):
        loop.train_all([Done()])


def test_points_are_drawn_over_axes_of_the_data_in_the_colours_of_their_classes():
    """The frame is the data's, whatever the samples are: a collapsed model's samples stay a small spot in it."""
    from pushforward.pictures import columns_picture

    rng = np.random.default_rng(0)
    space = from_arrays(rng.normal(size=(200, 2)), np.arange(200) % 2).space
    tight = np.concatenate([np.full((20, 2), -0.5), np.full((20, 2), 0.5)]) + 0.01 * rng.normal(size=(40, 2))
    picture = np.asarray(columns_picture(tight, space, np.repeat([0, 1], 20))).astype(int)
    blue, orange = (np.argwhere(np.abs(picture - colour).sum(2) < 60) for colour in ((31, 119, 180), (255, 127, 14)))
    spot = blue[blue[:, 0] > 200]
    assert 0 < np.ptp(spot, axis=0).max() < 40, "a spot, not the whole frame"
    assert len(orange)
    assert (picture[-60:].min(axis=2) < 100).any(), "ticks and names below"


def test_charts_say_their_natural_width():
    from pushforward.report.charts import svg

    assert 'style="--w:480px"' in svg(480, 200, "label", [])
