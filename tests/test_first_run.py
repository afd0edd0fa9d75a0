"""What a new user reads: nothing is used silently, nothing is claimed that was not measured, and messages say what helps."""

from __future__ import annotations

from types import SimpleNamespace

from pushforward.cli.summary import _next, closing_notes


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
    monkeypatch.setattr("pushforward.outputs.usual_ending", lambda space: ".csv")
    (note,) = closing_notes(finish_run(0.98, 0.999), 1000)
    assert "coverage 0.98, recall 1.00: below 1: worse than runs/m, or chance" in note
    assert _next(finish_run(0.98, 0.999)) == "compare runs/f runs/m"
    for ratios in ((1.0, 1.0), (0.999, 1.0), (0.98, 1.02)):
        assert closing_notes(finish_run(*ratios), 1000)[0].endswith("no variety was lost") == (min(ratios) > 0.99)
        assert _next(finish_run(*ratios)) == "sample runs/f --n 64 --out samples.csv"
    taken, shares = closing_notes(finish_run(0.98, 0.8, weights_step=7), 1000)
    assert "the weights of step 7" in taken
    assert "coverage 1.00, recall 1.00: no variety was lost" in shares
    assert _next(finish_run(0.98, 0.8, weights_step=7)).startswith("sample runs/f ")
    worse = finish_run(0.98, 0.8, (0.98, 1.0), weights_step=7)
    assert "coverage 0.98, recall 1.00: below 1: worse than runs/m" in closing_notes(worse, 1000)[1]
    assert _next(worse) == "compare runs/f runs/m"
    (note,) = closing_notes(finish_run(0.98, 0.8, weights_step=0), 1000)
    assert "Use runs/m instead" in note  # why, the alarm has said
    assert _next(finish_run(0.98, 0.8, weights_step=0)) == "sample runs/m --n 64 --out samples.csv"
