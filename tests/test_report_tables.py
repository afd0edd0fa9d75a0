"""Tables and charts of a report: intervals, cost, sweeps, trajectories, settings, classes."""

from __future__ import annotations

import dataclasses

import pytest
from programs.reporting import compared

from pushforward.evaluation.results import Comparison, ModelResult, Score
from pushforward.report import Report, tables
from pushforward.report.statistics import statistic

HALF = 1.96 * (0.01**2 + (0.02**2 - 0.01**2) / 3) ** 0.5


def bare(model):
    return dataclasses.replace(model, scores={name: Score(score.value, score.spread) for name, score in model.scores.items()})


def test_tables_show_intervals_where_there_are_any():
    results = compared({"flow": (0.2, 0.9, 0.1), "gan": (0.5, 0.8, 0.1)})
    cells = {row.kind + row.name: row.cells for _, table in tables.scorecards(results)[:1] for row in table.rows}
    assert cells["modelflow"][0].flat == "0.200 [0.172, 0.228]"
    assert cells["modelflow"][1].flat == "90.0 [87.2, 92.8] %"
    assert cells["baselineno network"][0].flat == "2.000 ± 0.010"
    assert "**0.200 [0.172, 0.228]**" in Report(results).to_markdown().replace("\\", "")
    page = Report(results).to_html()
    assert '<span class="value">0.200</span> <span class="interval">[0.172, 0.228]</span>' in page
    assert "flow,frechet,0.2,0.01,0.17" in page.replace("%2C", ","), "the CSV has both"
    assert "0.200 ± 0.010" in Report(dataclasses.replace(results, models=tuple(map(bare, results.models)))).to_markdown()


def test_error_bars_are_the_intervals():
    results = compared({"flow": (0.2, 0.9, 0.1)})
    assert statistic(results, results["flow"], "frechet").bar == pytest.approx((0.2 - HALF, 0.2 + HALF))
    assert statistic(results, bare(results["flow"]), "frechet").bar == pytest.approx((0.19, 0.21)), "else one spread"
    assert statistic(results, ModelResult("it", scores={"frechet": Score(0.2)}), "frechet").bar is None


# Cost and settings ----------------------------------------------------------------------------------------------


def test_settings_that_differ_are_listed_and_others_are_not():
    def config(lr, width):
        method = {"part": "Denoising", "network": {"part": "MLP", "widths": [width, width]}}
        return {"method": method, "recipe": "flow", "training": {"lr": lr, "batch": 64, "clip": None}}

    models = tuple(ModelResult(name, config=config(lr, width)) for name, lr, width in (("a", 0.001, 8), ("b", 0.003, 16)))
    rows = tables.differences(Comparison(models=models)).rows
    assert [(row.name, [cell.value for cell in row.cells]) for row in rows] == [
        ("training.lr", ["0.001", "0.003"]),
        ("method.network.widths", ["[8, 8]", "[16, 16]"]),
    ]
    assert tables.differences(Comparison(models=models[:1])) is None


# Charts ---------------------------------------------------------------------------------------------------------


# Captions -------------------------------------------------------------------------------------------------------
