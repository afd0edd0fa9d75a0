"""How much of a comparison is measured, and what is stored and said of it."""

import pytest

import pushforward as pf
from pushforward.evaluation import Evaluator
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.measurements import Plan

LIMITS = "pushforward.evaluation.evaluator"


@pytest.fixture
def judge(monkeypatch):
    """Every sample takes half a millisecond to score, and so does that of a baseline."""
    monkeypatch.setattr(f"{LIMITS}.SIZES", (100, 50))
    monkeypatch.setattr(Evaluator, "_scoring_seconds", lambda self: 5e-4)
    return Evaluator(pf.data.load("ring"), 200, 5, metrics=["energy"])


def _plan(judge, monkeypatch, limit, n=None, repeats=None):
    monkeypatch.setattr(f"{LIMITS}.LEAST", limit)
    judge.follow(Plan(200, 5))
    judge.save_time([], n, repeats)
    return judge.n, judge.repeats


def test_less_time_means_fewer_samplings_and_then_fewer_samples(judge, monkeypatch):
    """A sampling of 200 samples takes 0.2 s; samplings take half of the time, if there are
    several.
    """
    assert _plan(judge, monkeypatch, 2.0) == (200, 5)
    assert _plan(judge, monkeypatch, 0.9) == (200, 2)
    assert _plan(judge, monkeypatch, 0.3) == (200, 1)
    assert _plan(judge, monkeypatch, 0.15) == (100, 1)
    assert _plan(judge, monkeypatch, 0.0) == (50, 1)
    assert judge.plan.sweep == 0.0


def test_given_numbers_are_kept_in_any_time(judge, monkeypatch):
    assert _plan(judge, monkeypatch, 0.0, n=200, repeats=5) == (200, 5)


def test_real_data_is_drawn_less_often_in_a_short_time(judge, monkeypatch):
    _plan(judge, monkeypatch, 100.0)
    assert judge.plan.redraws is None
    _plan(judge, monkeypatch, 0.0)
    assert judge.plan.redraws == 5


def test_stored_scores_of_real_data_have_all_of_their_draws(monkeypatch, tmp_path):
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    stored = Evaluator(pf.data.load("ring"), 100, 2, metrics=["energy"]).real_data_scores
    fewer = Evaluator(pf.data.load("ring"), 100, 2, metrics=["energy"])
    fewer.follow(Plan(100, 2, redraws=1))
    assert fewer.real_data_scores == stored


def test_models_of_one_comparison_are_measured_alike(monkeypatch):
    """Fewer samples and samplings, the same for all; the report stores the choice, and a later run
    takes its n.
    """
    monkeypatch.setattr(f"{LIMITS}.LEAST", 0.0)
    monkeypatch.setattr(f"{LIMITS}.SIZES", (100, 50))
    data = pf.data.load("ring")
    baseline = GaussianBaseline.fit(data)
    lines = []
    comparison = pf.compare({"a": baseline, "b": baseline}, data, tell=lines.append)
    plan = comparison.settings.plan
    assert (comparison.settings.n, comparison.settings.repeats) == (plan.n, plan.repeats) == (50, 1)
    assert comparison["a"].scores == comparison["b"].scores
    assert plan.took > 0
    assert any(f"{plan.words}, which takes up to about" in line for line in lines)
    assert plan.words in pf.Report(comparison).to_markdown()
    stored = pf.Comparison.from_json(comparison.to_json())
    assert stored.settings.plan == plan
    both = pf.compare({"earlier": stored, "c": baseline}, data)
    assert both.protocol.n == 50


def test_thorough_measures_everything(monkeypatch):
    monkeypatch.setattr(f"{LIMITS}.LEAST", 0.0)
    data = pf.data.load("ring")
    baseline = GaussianBaseline.fit(data)
    comparison = pf.compare({"a": baseline}, data, n=50, repeats=2, thorough=True)
    assert comparison.settings.plan.limit is None
    assert comparison["a"].sampling.memory.mb > 0


def test_reports_of_earlier_versions_have_no_plan():
    old = pf.Comparison().to_plain()
    del old["settings"]["plan"]
    assert pf.Comparison.from_plain(old).settings.plan == Plan()
