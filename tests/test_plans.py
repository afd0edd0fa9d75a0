"""How much of a comparison is measured: plans from given seconds, and what is stored and said of
them.
"""

from dataclasses import replace

import pushforward as pf
from pushforward.evaluation import Evaluator
from pushforward.evaluation.baselines import GaussianBaseline
from pushforward.evaluation.measurements import Plan
from pushforward.evaluation.plans import REDUCTIONS, estimator, planned

SIZES = [2000, 1000, 500]
SAMPLINGS = [5, 4, 3, 2, 1]


def seconds_of(plan):
    extra = plan.sweep + 6 * plan.memory + (plan.turns or 7)
    return 5 + extra + plan.repeats * plan.n * 0.008


def _left_out(plan, full):
    parts = {
        "sweep": not plan.sweep,
        "memory": not plan.memory,
        "turns": plan.turns is not None,
        "repeats": plan.repeats < full.repeats,
        "n": plan.n < full.n,
    }
    return [name for name, less in parts.items() if less]


def test_without_a_limit_everything_is_measured():
    plan = planned(seconds_of, float("inf"), SIZES, SAMPLINGS)
    assert (plan.n, plan.repeats, plan.memory, plan.turns) == (2000, 5, True, None)
    assert plan.sweep == Plan().sweep
    assert plan.limit is None
    assert plan.estimate > 60


def test_less_time_leaves_out_more_in_a_fixed_order():
    full = planned(seconds_of, float("inf"), SIZES, SAMPLINGS)
    order = ["sweep", "memory", "turns", "repeats", "n"]
    seen = set()
    last = full
    for limit in range(round(full.estimate) + 1, 0, -1):
        plan = planned(seconds_of, limit, SIZES, SAMPLINGS)
        missing = _left_out(plan, full)
        assert missing == order[: len(missing)], limit
        assert plan.estimate <= min(limit, last.estimate) or plan.n == SIZES[-1]
        seen.add(len(missing))
        last = plan
    assert seen == set(range(len(order) + 1))
    assert (last.n, last.repeats) == (500, 1)


def test_given_numbers_are_kept_in_any_time():
    plan = planned(seconds_of, 1.0, [2000], [4])
    assert (plan.n, plan.repeats, plan.sweep, plan.memory) == (2000, 4, 0.0, False)
    assert plan.estimate > 1.0, "the estimate is honest where the limit cannot be met"


def test_reductions_that_save_no_time_are_skipped():
    plan = planned(lambda plan: plan.repeats * plan.n, 600.0, SIZES, SAMPLINGS)
    assert (plan.sweep, plan.memory, plan.turns) == (Plan().sweep, True, None)
    assert (plan.n, plan.repeats) == (500, 1)


def test_every_reduction_saves_time(monkeypatch, tmp_path):
    """And stored scores of real data cost nothing, so that all of their draws are used."""
    monkeypatch.setenv("PUSHFORWARD_CACHE", str(tmp_path / "cache"))
    run = pf.fit("flow", "ring", size="tiny", steps=1, out=tmp_path / "run", progress=False)
    judge = Evaluator(pf.data.load("ring"), 100, 2, metrics=["energy"])
    seconds = estimator(judge, [run], curve=True)
    full = Plan(n=100, repeats=2, turns=7, redraws=10)
    for reduction in (*REDUCTIONS, {"repeats": 1}, {"n": 50}):
        assert seconds(replace(full, **reduction)) < seconds(full), reduction
    stored = judge.floors
    again = estimator(judge, [run], curve=True)
    assert again(full) == again(replace(full, redraws=1))
    fewer = Evaluator(judge.data, 100, 2, metrics=["energy"])
    fewer.follow(replace(full, redraws=1))
    assert fewer.floors == stored


def test_quality_in_few_calls_costs_time_in_an_evaluation(tmp_path):
    run = pf.fit("meanflow", "ring", size="tiny", steps=1, out=tmp_path / "run", progress=False)
    full = Plan(n=50, repeats=1, redraws=1)
    none = replace(full, sweep=0.0)
    judge = Evaluator(pf.data.load("ring"), 50, 1)
    seconds = estimator(judge, [run], curve=False)
    assert seconds(full) - seconds(none) > full.sweep
    chosen = Evaluator(judge.data, 50, 1, metrics=["energy"])
    seconds = estimator(chosen, [run], curve=False)
    assert seconds(full) == seconds(none)


def test_models_of_one_comparison_are_measured_alike(monkeypatch, tmp_path):
    """Fewer samples and samplings, the same for all; the report stores the choice, and a later run
    takes its n.
    """
    monkeypatch.setattr("pushforward.evaluation.plans.LEAST", 0.0)
    monkeypatch.setattr("pushforward.evaluation.plans.SIZES", (100, 50))
    data = pf.data.load("ring")
    baseline = GaussianBaseline.fit(data)
    lines = []
    comparison = pf.compare({"a": baseline, "b": baseline}, data, tell=lines.append)
    plan = comparison.settings.plan
    assert (comparison.settings.n, comparison.settings.repeats) == (plan.n, plan.repeats) == (50, 1)
    assert comparison["a"].scores == comparison["b"].scores
    assert comparison["a"].sampling.memory.mb is None
    assert plan.took > 0
    assert any(plan.words in line for line in lines)
    assert plan.words in pf.Report(comparison).to_markdown()
    stored = pf.Comparison.from_json(comparison.to_json())
    assert stored.settings.plan == plan
    both = pf.compare({"earlier": stored, "c": baseline}, data)
    assert both.protocol.n == 50


def test_thorough_measures_everything(monkeypatch):
    monkeypatch.setattr("pushforward.evaluation.plans.LEAST", 0.0)
    data = pf.data.load("ring")
    baseline = GaussianBaseline.fit(data)
    lines = []
    comparison = pf.compare(
        {"a": baseline}, data, n=50, repeats=2, thorough=True, tell=lines.append
    )
    assert comparison.settings.plan.limit is None
    assert comparison["a"].sampling.memory.mb > 0


def test_reports_of_earlier_versions_have_no_plan():
    old = pf.Comparison().to_plain()
    del old["settings"]["plan"]
    assert pf.Comparison.from_plain(old).settings.plan == Plan()
