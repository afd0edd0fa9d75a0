"""Tables and charts of a report: intervals, cost, sweeps, trajectories, settings, classes."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from programs.report_pages import of_toys, toy_content
from programs.reporting import compared, comparison, model, report

from pushforward.evaluation.results import Comparison, ModelResult, Score
from pushforward.report import Report, curves, tables
from pushforward.report.sprites import Look
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


def test_losses_by_noise_level_line_up_by_level(content):
    """The shorter path lacks the noisiest level; the noisier, the further right, and one line for each iterative model."""
    model(content, "flow")["trajectory"]["loss_by_level"].reverse()
    table = tables.levels(comparison(content))
    assert [column.label for column in table.columns] == ["flow", "ddpm"]
    assert [row.name for row in table.rows][::2] == ["0.0111 (log-SNR 9)", "1 (log-SNR 0)", "90.0 (log-SNR −9)"]
    assert [cell.flat for cell in table.rows[-1].cells] == ["1.210 ± 0.012", "–"]
    chart = curves.levels(comparison(content)).svg
    across = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', chart)]
    assert len(across) == 5
    assert across == sorted(across)
    assert chart.count('class="line"') == 2


def test_trajectories_in_the_plane_are_drawn_from_noise_to_sample(content):
    pictures = {name: dict(parts) for name, parts in of_toys().items()}
    lines = pictures["flow"]["paths"] = pictures["flow"]["paths"].copy()
    lines[7, 3] = np.nan
    page = report(toy_content(content), pictures).to_html()
    assert re.findall(r'<svg[^>]*aria-label="Trajectories of (\w+), from noise to data"', page) == ["flow", "ddpm"]
    chart = re.search(r'<svg[^>]*aria-label="Trajectories of flow.*?</svg>', page, re.S)[0]
    assert chart.count('class="way"') == 59, "a line that is not finite is left out"
    limits = Look(comparison({}, pictures).pictures).paths_limits()
    corner = r'd="M([-\d.]+) ([-\d.]+)l4.8'
    for sign, place, off, at in (("from", corner, 2.4, 0), ("to", r'cx="([-\d.]+)" cy="([-\d.]+)"', 0.0, -1)):
        x, y = (float(number) + off for number in re.search(f'class="{sign}" {place}', chart).groups())
        assert limits[0] + x / 320 * (limits[1] - limits[0]) == pytest.approx(lines[0, at, 0], abs=0.02)
        assert limits[3] - y / 320 * (limits[3] - limits[2]) == pytest.approx(lines[0, at, 1], abs=0.02)


# Captions -------------------------------------------------------------------------------------------------------
