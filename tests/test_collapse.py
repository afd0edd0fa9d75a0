"""Collapse of a posterior, planted and reported."""

import dataclasses

import pytest

import pushforward as pf
from pushforward.evaluation.features import fit_features
from pushforward.evaluation.pictures import latent_statistics
from pushforward.report.findings import findings
from pushforward.training.monitor.alarms import RULES, alarms


def history(active, units=16, steps=1200, **more):
    """One row a step; ``active`` is a number or a function of the step."""
    of = active if callable(active) else lambda step: active
    return [{"step": step, "health": {"active_units": of(step), "units": units, **more}} for step in range(1, steps + 1)]


def used(codes, size, steps=1200):
    """One row a step of a book of codes."""
    of = codes if callable(codes) else lambda step: codes
    return [{"step": step, "health": {"perplexity": of(step), "book": size}} for step in range(1, steps + 1)]


def told(rows):
    return [(alarm.kind, alarm.step, alarm.over) for alarm in alarms(rows)]


@pytest.mark.parametrize(
    ("rows", "wanted"),
    [
        (history(0), [("posterior", 501, False)]),
        (history(1), [("posterior", 501, False)]),
        (history(2), []),
        (history(1, units=4), []),
        (history(0, units=4), [("posterior", 501, False)]),
        (history(lambda step: 0 if step < 400 else 16), []),
        (history(lambda step: 0 if step < 700 else 16), [("posterior", 501, False), ("posterior", 700, True)]),
        (history(6, beta=4.0), [("regularised", 501, False)]),
        (history(6, beta=1.0), []),
        (history(9, beta=4.0), []),
        (history(0, beta=4.0), [("posterior", 501, False)]),
        (used(5.0, 256), [("book", 501, False)]),
        (used(5.3, 256), []),
        (used(2.0, 8), [("book", 501, False)]),
        (used(2.1, 8), []),
        (used(lambda step: 3.0 if step < 400 else 90.0, 256), []),
        (used(lambda step: 3.0 if step < 700 else 90.0, 256), [("book", 501, False), ("book", 700, True)]),
    ],
)
def test_when_a_code_is_silent(rows, wanted):
    assert told(rows) == wanted


@pytest.fixture
def soon(monkeypatch):
    """A code must be silent for 200 steps, not 500: more than the 150 of a sound training."""
    for kind in ("posterior", "regularised"):
        monkeypatch.setitem(RULES, kind, (RULES[kind][0], 200))


def trained(data, folder, steps=260, batch=64, **options):
    recipe = pf.recipes.vae(data.space, "tiny", **options)
    small = dataclasses.replace(recipe, training=dataclasses.replace(recipe.training, batch=batch))
    return pf.fit(small, data, steps=steps, out=folder)


def kinds(run):
    return {alarm["kind"] for row in run.losses() for alarm in row.get("alarm", [])}


def test_a_weight_that_is_too_high_collapses_the_posterior_and_is_told(tmp_path, soon):
    data = pf.data.load("digits", limit=400)
    run = trained(data, tmp_path / "high", beta=400.0)
    assert kinds(run) == {"posterior"}
    assert latent_statistics(run, data, fit_features(data)).code.active <= 1
    said = [
        sentence.text
        for sentence in findings(pf.compare({"high": run}, data, n=40, repeats=1, curve=False))
        if "posterior has collapsed" in sentence.text
    ]
    assert said
