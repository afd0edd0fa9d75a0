"""What a report of trainings for several budgets says of its scores, its samples and its commands."""

from __future__ import annotations

import dataclasses

from programs.reporting import said

from pushforward.evaluation.measurements import SweepPoint, TrainingCost
from pushforward.evaluation.results import Comparison, ModelResult, Settings
from pushforward.metrics import MetricInfo, Score
from pushforward.report import Report
from pushforward.report.facts import commands, subtitle
from pushforward.report.sweep import sweep, sweep_note

INFO = {"frechet": MetricInfo("Fréchet distance", "lower", "A distance.", role="quality")}


def swept(rows, budgets):
    """Fréchet distances of each recipe after each budget."""
    points = {
        name: tuple(
            SweepPoint(budget, 9, 0, {"frechet": Score(value, 0.01)}, budget)
            for budget, value in zip(budgets, values, strict=True)
        )
        for name, values in rows.items()
    }
    models = tuple(ModelResult(name, scores={"frechet": Score(values[-1], 0.01)}) for name, values in rows.items())
    return Comparison("it", metrics=INFO, models=models, sweep=points, floors={"frechet": Score(0.1, 0.01)})


def test_a_sweep_says_which_trainings_its_scores_and_samples_are_of():
    comparison = swept({"gan": (0.5, 0.4, 0.39), "flow": (1.5, 0.41, 0.2)}, budgets=(3, 6, 12))
    trained = tuple(
        dataclasses.replace(model, training=TrainingCost(seconds=11.9), commands=("pushforward train gan --budget 12.0s",))
        for model in comparison.models
    )
    points = {
        name: tuple(dataclasses.replace(p, commands=(f"train {p.budget}",)) for p in some[:2]) + some[2:]
        for name, some in comparison.sweep.items()
    }
    settings = Settings(n=360, repeats=3, budget="--budget 3s,6s,12s")
    comparison = dataclasses.replace(comparison, models=trained, settings=settings, sweep=points)
    assert "trained with --budget 3s,6s,12s · scores and samples: trainings of 12 s" in subtitle(comparison)
    assert said(comparison, "training") == ["Scores and samples are those of the trainings of 12 s; these took about 11.9 s."]
    assert sweep_note(comparison).endswith("Scores and samples elsewhere in this report: trainings of 12 s.")
    assert sweep_note(comparison) in Report(comparison).to_markdown()
    assert commands(comparison) == ["train 3", "train 6", "pushforward train gan --budget 12.0s"]
    some = dataclasses.replace(comparison, sweep={"gan": points["gan"]})
    assert "scores and samples: trainings of 12 s (gan)" in subtitle(some)
    legend = sweep(some).split('class="legend"')[1].split("</ul>")[0]
    assert "gan" in legend
    assert "flow" not in legend, "it has no point"
